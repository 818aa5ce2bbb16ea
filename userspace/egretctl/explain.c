/* SPDX-License-Identifier: Apache-2.0 */
/* egretctl explain: what is asked, of which pod, and how it is shown. The chain of decisions itself
 * is explain_chain.c; all comes from files, and nothing is sent. */
#include "egretctl/explain.h"

#include <getopt.h>
#include <stdio.h>

#include "datapath/pods_dir.h"
#include "egretctl/policy_files.h"
#include "proto/uri.h"

static const char usage[] =
	"Usage: egretctl explain --policy-dir DIR POD --host H --path P [OPTION...]\n"
	"\n"
	"Says what Egret would do with a request, step by step, by the policy in DIR. No\n"
	"traffic is sent and no credential is read.\n"
	"\n"
	"POD, one of:\n"
	"  --pods-dir DIR --pod NAMESPACE/NAME     a pod of the agent's --pods-dir\n"
	"  --namespace NS [--labels K=V,...] [--service-account SA] [--namespace-labels K=V,...]\n"
	"                                          any pod like that; without --namespace-labels\n"
	"                                          those of NS are not known\n"
	"\n"
	"  --host H         the server's name as the client wrote it, with its port if it had\n"
	"                   one; --gateway instead: the gateway's own address\n"
	"  --path P         path of the URL (/v1/chat/completions)\n"
	"  --method M       default POST\n"
	"  --model M        the model that the body names\n"
	"  --body FILE      the whole body (- for stdin) instead of --model\n"
	"  --content-type T the body's, with the boundary of a form; default application/json\n"
	"  --json           one JSON document\n"
	"  -h, --help       this text\n"
	"\n"
	"Exit codes: 0 allowed or untouched, 1 denied (or undecided without a body), 2 wrong\n"
	"arguments or something could not be read.\n";

#define LABELS_MAX 64

/* ---- the pod ---- */
/* "k=v,k=v" of the option `name` into labels[LABELS_MAX]; `list` may be NULL. */
static int parse_labels(struct explanation *x, const char *name, const char *list,
			struct eg_label *labels, size_t *count)
{
	char *text = eg_arena_dup(&x->arena, eg_str_from(list ? list : "")), *save = NULL;

	if (!text)
		return eg_usage_error("explain", "out of memory");
	for (char *part = strtok_r(text, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
		char *equals = strchr(part, '=');

		if (!equals || equals == part || *count == LABELS_MAX)
			return eg_usage_error("explain", "--%s: \"%s\" is not KEY=VALUE", name,
					      part);
		*equals = '\0';
		labels[(*count)++] = (struct eg_label){part, equals + 1};
	}
	return EG_EXIT_OK;
}

static const struct eg_pod_entry *find_pod(const struct eg_pod_list *list, const char *name)
{
	const char *slash = strchr(name, '/');

	for (size_t i = 0; i < list->count; i++) {
		const struct eg_identity *id = &list->pods[i].identity;

		if (slash ? !strncmp(id->namespace_name, name, (size_t)(slash - name)) &&
				    !id->namespace_name[slash - name] &&
				    !strcmp(id->name, slash + 1)
			  : !strcmp(id->name, name))
			return &list->pods[i];
	}
	return NULL;
}

/* ---- output ---- */
static int print(const struct explanation *x, const struct eg_policy_set *s)
{
	size_t i;
	json_t *step;

	if (x->q->json) {
		json_t *top = json_pack("{s:b, s:s, s:i, s:o, s:s, s:O}", "allowed", x->allowed,
					"reason", eg_reason_label(x->reason), "status",
					(int)eg_reason_status(x->reason), "answer",
					eg_json_text(eg_str_from(x->answer)), "policy_version",
					eg_policy_version(s), "steps", x->steps);
		int code = eg_print_json(top);

		json_decref(top);
		if (code)
			return code;
	} else {
		json_array_foreach(x->steps, i, step)
		{
			const char *reason = json_string_value(json_object_get(step, "reason"));
			bool ok = json_is_true(json_object_get(step, "ok"));

			eg_line("%-10s %s%s%s%s", json_string_value(json_object_get(step, "step")),
				json_string_value(json_object_get(step, "text")), ok ? "" : "  [",
				ok ? "" : reason, ok ? "" : "]");
		}
		eg_line("%s", "");
		eg_line("%s", x->answer);
		if (x->reason != EG_REASON_OK)
			eg_line("reason: %s", eg_reason_label(x->reason));
	}
	return x->allowed ? EG_EXIT_OK : EG_EXIT_NO;
}

static int with_pod(struct explanation *x, const struct eg_policy_set *s)
{
	const struct question *q = x->q;
	struct eg_label labels[LABELS_MAX], namespace_labels[LABELS_MAX];
	struct eg_identity pod = {.namespace_name = q->namespace_name,
				  .name = "(any)",
				  .uid = "",
				  .service_account = q->service_account ? q->service_account : "",
				  .labels = labels,
				  .namespace_labels = namespace_labels,
				  .namespace_labels_unknown = !q->namespace_labels};
	struct eg_pods_dir *dir;
	struct eg_pod_list list;
	const struct eg_pod_entry *found;
	struct eg_error e = {0};
	int code;

	if (!q->pods_dir) {
		code = parse_labels(x, "labels", q->labels, labels, &pod.label_count);
		if (!code)
			code = parse_labels(x, "namespace-labels", q->namespace_labels,
					    namespace_labels, &pod.namespace_label_count);
		return code ? code : explain_pod(x, s, &pod);
	}
	if (eg_pods_dir_open(q->pods_dir, &dir, &e))
		return eg_usage_error("explain", "--pods-dir %s", e.text);
	code = eg_pods_dir_read(dir, &list, &e);
	eg_pods_dir_close(dir);
	if (code)
		return eg_usage_error("explain", "--pods-dir %s", e.text);
	found = find_pod(&list, q->pod);
	code = found ? explain_pod(x, s, &found->identity)
		     : eg_usage_error("explain", "--pods-dir %s has no pod %s", q->pods_dir,
				      q->pod);
	eg_pod_list_fini(&list);
	return code;
}

static int explain(const struct question *q)
{
	struct explanation x = {.q = q, .steps = json_array()};
	struct policy_files files;
	struct eg_policy_errors errors = {0};
	struct eg_policy_set *s = NULL;
	struct eg_error e = {0};
	int code = EG_EXIT_OK;

	if (policy_files_read(q->policy_dir, &files, &e)) {
		code = eg_usage_error("explain", "%s", e.text);
	} else if (eg_policy_load(files.files, files.count, &s, &errors)) {
		code = eg_usage_error(
			"explain", "the policy in %s is not valid: %s: %s: %s (egretctl check %s)",
			q->policy_dir, errors.count ? errors.item[0].file : "",
			errors.count ? errors.item[0].path : "",
			errors.count ? errors.item[0].text : "out of memory", q->policy_dir);
	} else {
		eg_arena_init(&x.arena, 0);
		code = with_pod(&x, s);
		if (!code)
			code = print(&x, s);
		eg_arena_fini(&x.arena);
	}
	json_decref(x.steps);
	eg_policy_set_unref(s);
	eg_policy_errors_fini(&errors);
	policy_files_fini(&files);
	return code;
}

/* "host[:port]" as a Host field has it. */
static int parse_host(struct question *q, char lower[256])
{
	struct eg_str host;

	if (strstr(q->host, "://") || strchr(q->host, '/'))
		return eg_usage_error("explain",
				      "--host %s: expected a server's name, with a port or without "
				      "(the rest of a URL goes into --path)",
				      q->host);
	if (eg_authority_parse(eg_str_from(q->host), &host, &q->port) || host.n > 255)
		return eg_usage_error("explain",
				      "--host %s: expected a server's name, with a port "
				      "or without",
				      q->host);
	if (eg_host_is_ip(host))
		return eg_usage_error("explain",
				      "--host %s: an address; expected a server's name (under a "
				      "policy that enforces, TLS to an address is %s)",
				      q->host, eg_reason_label(EG_REASON_IP_LITERAL));
	for (size_t i = 0; i < host.n; i++)
		lower[i] =
			host.p[i] >= 'A' && host.p[i] <= 'Z' ? (char)(host.p[i] + 32) : host.p[i];
	q->name = (struct eg_str){lower, host.n};
	return EG_EXIT_OK;
}

static int check_question(const struct question *q)
{
	if (!q->policy_dir)
		return eg_usage_error("explain", "expected --policy-dir");
	if (!q->pods_dir == !q->namespace_name || !q->pods_dir != !q->pod)
		return eg_usage_error("explain", "expected --pods-dir and --pod, or --namespace");
	if ((q->namespace_name && !*q->namespace_name) || (q->pod && !*q->pod))
		return eg_usage_error("explain", "expected a name behind --namespace and --pod; "
						 "found nothing (an unset variable?)");
	if (q->gateway == (q->host != NULL))
		return eg_usage_error("explain", "expected one of --host and --gateway");
	if (!q->path || q->path[0] != '/')
		return eg_usage_error("explain", "expected --path with a leading '/'");
	if (q->model && q->body)
		return eg_usage_error("explain", "expected --model or --body, not both");
	if (q->content_type && !q->body)
		return eg_usage_error("explain", "--content-type is for --body");
	return EG_EXIT_OK;
}

int eg_cmd_explain(int argc, char **argv)
{
	static const struct option table[] = {
		{"policy-dir", required_argument, NULL, 'p'},
		{"pods-dir", required_argument, NULL, 'd'},
		{"pod", required_argument, NULL, 'n'},
		{"namespace", required_argument, NULL, 's'},
		{"labels", required_argument, NULL, 'l'},
		{"service-account", required_argument, NULL, 'a'},
		{"namespace-labels", required_argument, NULL, 'L'},
		{"host", required_argument, NULL, 'H'},
		{"gateway", no_argument, NULL, 'g'},
		{"path", required_argument, NULL, 'P'},
		{"method", required_argument, NULL, 'X'},
		{"model", required_argument, NULL, 'm'},
		{"body", required_argument, NULL, 'b'},
		{"content-type", required_argument, NULL, 'c'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct question q = {.method = "POST", .name = EG_STR("")};
	char lower[256];
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "h", table, NULL)) != -1) {
		const char **slot = NULL;

		switch (c) {
		case 'p':
			slot = &q.policy_dir;
			break;
		case 'd':
			slot = &q.pods_dir;
			break;
		case 'n':
			slot = &q.pod;
			break;
		case 's':
			slot = &q.namespace_name;
			break;
		case 'l':
			slot = &q.labels;
			break;
		case 'a':
			slot = &q.service_account;
			break;
		case 'L':
			slot = &q.namespace_labels;
			break;
		case 'H':
			slot = &q.host;
			break;
		case 'P':
			slot = &q.path;
			break;
		case 'X':
			slot = &q.method;
			break;
		case 'm':
			slot = &q.model;
			break;
		case 'b':
			slot = &q.body;
			break;
		case 'c':
			slot = &q.content_type;
			break;
		case 'g':
			q.gateway = true;
			break;
		case 'j':
			q.json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return EG_EXIT_OK;
		default:
			return eg_bad_option("explain", argv);
		}
		if (slot)
			*slot = optarg;
	}
	if (optind != argc)
		return eg_usage_error("explain", "'%s' is not expected", argv[optind]);
	c = check_question(&q);
	if (!c && q.host)
		c = parse_host(&q, lower);
	return c ? c : explain(&q);
}
