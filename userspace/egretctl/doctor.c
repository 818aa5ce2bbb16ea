/* SPDX-License-Identifier: Apache-2.0 */
/* egretctl doctor: what this node needs, tried one by one; each trouble with its cost and cure. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "datapath/features.h"
#include "datapath/read.h"
#include "egretctl/ask.h"
#include "egretctl/ca_names.h"
#include "egretctl/doctor.h"

static const char usage[] =
	"Usage: egretctl doctor [OPTION...]\n"
	"\n"
	"Tries what Egret needs on this node and says what is missing, what that costs and what\n"
	"to do. Run it as root on the node. Checks: the kernel's features, the pinned programs "
	"and\n"
	"the links they are attached to, heartbeat and listeners, the agent, sysctls, the DNS\n"
	"servers, the clock, the CA's dates and whether it permits every watched name. With an "
	"agent it goes\n"
	"into the network namespaces of governed pods, looks at their routes, and makes a request\n"
	"to the gateway's address from one, which Egret itself refuses: no provider is asked.\n"
	"\n"
	"  --pod NAMESPACE/NAME  the pod that makes the request; else the first that can\n"
	"  --run-dir DIR   where the agent's control socket is (" ASK_RUN_DIR ")\n"
	"  --pin-dir DIR   where its pins are\n"
	"  --mark          judge for mark mode when no agent runs (else netns mode)\n"
	"  --json          one JSON document\n"
	"  -h, --help      this text\n"
	"\n"
	"Exit codes: 0 nothing is broken (there may be warnings); 1 something is; 2 wrong\n"
	"arguments.\n";

struct findings {
	json_t *list;
	size_t broken, warnings;
};

void doctor_say(struct findings *f, enum doctor_level level, const char *what, const char *format,
		...)
{
	static const char *const names[] = {"ok", "warning", "broken"};
	char sentence[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(sentence, sizeof(sentence), format, ap);
	va_end(ap);
	f->warnings += level == DOCTOR_WARNING;
	f->broken += level == DOCTOR_BROKEN;
	json_array_append_new(f->list, json_pack("{s:s, s:s, s:s}", "check", what, "result",
						 names[level], "text", sentence));
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* ---- the kernel ---- */

static void check_features(struct findings *f, const char *pin_dir, bool netns)
{
	struct eg_features *all = calloc(1, sizeof(*all));

	if (!all)
		return;
	eg_features_probe(all, pin_dir, netns);
	for (size_t i = 0; i < EG_FEATURE_COUNT; i++) {
		const struct eg_feature *x = &all->feature[i];

		if (x->present)
			doctor_say(f, DOCTOR_OK, x->label, "present");
		else /* the missing right itself is what is broken */
			doctor_say(f, x->required && !x->unjudged ? DOCTOR_BROKEN : DOCTOR_WARNING,
				   x->label, "%s", *x->sentence ? x->sentence : "missing");
	}
	free(all);
}

static void check_sysctl(struct findings *f, const char *name, long want, const char *cost)
{
	char path[256], value[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/sys/%s", name);
	file = fopen(path, "re");
	if (!file)
		return;
	if (fgets(value, sizeof(value), file) && strtol(value, NULL, 10) != want)
		doctor_say(f, DOCTOR_WARNING, name, "is %ld; expected %ld: %s",
			   strtol(value, NULL, 10), want, cost);
	else
		doctor_say(f, DOCTOR_OK, name, "%ld", want);
	fclose(file);
}

static void check_alive(struct findings *f, struct eg_pins *pins, const struct eg_config *c)
{
	uint64_t age_ms = c->heartbeat_ns ? (eg_now_ns() - c->heartbeat_ns) / 1000000 : 0;
	struct eg_error e = {""};
	unsigned int filled = 0;

	if (!c->heartbeat_ns || age_ms * 1000000 > c->heartbeat_max_ns)
		doctor_say(
			f, DOCTOR_BROKEN, "heartbeat",
			"no agent feeds it: the kernel applies each pod's fail policy (`egretctl "
			"status` counts them); start egretd");
	else
		doctor_say(f, DOCTOR_OK, "heartbeat", "%llu ms old", (unsigned long long)age_ms);
	if (eg_pins_listeners(pins, &filled, &e))
		doctor_say(f, DOCTOR_WARNING, "listeners", "%s", e.text);
	else
		doctor_say(f, filled ? DOCTOR_OK : DOCTOR_BROKEN, "listeners", "%u are open%s",
			   filled, filled ? "" : "; start egretd");
	if (!c->enabled)
		doctor_say(f, DOCTOR_BROKEN, "enabled",
			   "the programs are switched off and pass everything");
}

static void check_pins(struct findings *f, const char *pin_dir, const json_t *agent,
		       const json_t *pods, const char *pod)
{
	struct eg_pins *pins;
	struct eg_config c;
	struct eg_error e = {""};

	if (eg_pins_open(pin_dir, &pins, &e)) {
		doctor_say(f, DOCTOR_BROKEN, "pins", "%s; start egretd", e.text);
		return;
	}
	if (eg_pins_config(pins, &c, &e)) {
		doctor_say(f, DOCTOR_BROKEN, "pins", "%s", e.text);
	} else if (c.abi_version != EG_ABI_VERSION) {
		doctor_say(f, DOCTOR_BROKEN, "pins",
			   "%s holds layout %u, this is %d: run the egretd that made it with "
			   "--uninstall, then start this one",
			   pin_dir, c.abi_version, EG_ABI_VERSION);
	} else {
		doctor_say(f, DOCTOR_OK, "pins", "%s, generation %u", pin_dir, c.generation);
		check_alive(f, pins, &c);
		doctor_way_in(f, &c, agent);
		doctor_links(f, pins, agent);
		doctor_path(f, pins, &c, json_object_get(pods, "pods"), pod);
	}
	eg_pins_close(pins);
}

/* ---- the agent ---- */

/* Of what a pod sends by a link that is not known nothing is captured. */
static void check_pod_links(struct findings *f, const json_t *answer, const struct eg_error *e)
{
	const json_t *pod, *first = NULL;
	size_t i, n = 0;

	json_array_foreach(json_object_get(answer, "pods"), i, pod)
	{
		if (strcmp(text(pod, "state"), "no_link") != 0)
			continue;
		first = first ? first : pod;
		n++;
	}
	if (!answer)
		doctor_say(f, DOCTOR_WARNING, "pod links", "%s", e->text);
	else if (first)
		doctor_say(f, DOCTOR_WARNING, "pod links",
			   "%zu pods are known whose link is not there (first: %s/%s, by %s): "
			   "nothing of them is captured, and only the guard on the uplink stops "
			   "them; correct `interface` or `netns` of the file",
			   n, text(first, "namespace"), text(first, "name"), text(first, "file"));
	else
		doctor_say(f, DOCTOR_OK, "pod links", "all are there");
}

static void check_agent(struct findings *f, const json_t *a, const struct eg_error *e)
{
	const json_t *policy = json_object_get(a, "policy"), *pods = json_object_get(a, "pods");
	long long n;

	if (!a) {
		doctor_say(f, DOCTOR_BROKEN, "agent", "%s; start egretd", e->text);
		return;
	}
	if (json_is_true(json_object_get(a, "ready")))
		doctor_say(f, DOCTOR_OK, "agent", "serving, version %s", text(a, "version"));
	else
		doctor_say(f, DOCTOR_BROKEN, "agent", "%s%s%s",
			   strcmp(text(a, "state"), "degraded") ? "not serving: " : "",
			   text(a, "state"), *text(a, "trouble") ? "; see `egretctl status`" : "");
	if (json_is_true(json_object_get(policy, "valid")))
		doctor_say(f, DOCTOR_OK, "policy", "%s", text(policy, "version"));
	else
		doctor_say(f, DOCTOR_BROKEN, "policy",
			   "what lies in %s is refused, the last good set stays: %s; run `egretctl "
			   "check %s`",
			   text(policy, "directory"), text(policy, "last_error"),
			   text(policy, "directory"));
	n = json_integer_value(json_object_get(a, "credentials_missing"));
	doctor_say(f, n ? DOCTOR_BROKEN : DOCTOR_OK, "credentials",
		   n ? "%lld files are missing or not usable: requests that need them are refused "
		       "(no_credential); egretd's log names each"
		     : "%lld missing",
		   n);
	n = json_integer_value(json_object_get(a, "ca_files_missing"));
	doctor_say(
		f, n ? DOCTOR_BROKEN : DOCTOR_OK, "roots",
		n ? "%lld ca_file are missing or have no roots: requests for their providers are "
		    "refused (upstream_tls); egretd's log names each"
		  : "%lld missing",
		n);
	n = json_integer_value(json_object_get(pods, "refused"));
	doctor_say(f, n ? DOCTOR_WARNING : DOCTOR_OK, "pod files",
		   n ? "%lld are refused; egretd's log names each" : "%lld refused", n);
	n = json_integer_value(json_object_get(json_object_get(a, "gateway"), "restarts"));
	if (n)
		doctor_say(
			f, DOCTOR_WARNING, "gateway",
			"replaced %lld times since the start; each time what was in flight failed",
			n);
}

static void check_events(struct findings *f, const json_t *e)
{
	long long n = json_integer_value(json_object_get(e, "not_taken"));

	if (!json_is_true(json_object_get(e, "on")))
		return;
	if (json_is_true(json_object_get(e, "forbidden")))
		doctor_say(f, DOCTOR_WARNING, "events", "none are written: %s", text(e, "error"));
	else if (n)
		doctor_say(f, DOCTOR_WARNING, "events",
			   "the API did not take %lld Kubernetes Events; egretd's log has the "
			   "first of them",
			   n);
	else
		doctor_say(f, DOCTOR_OK, "events", "%lld Kubernetes Events were written",
			   (long long)json_integer_value(json_object_get(e, "written")));
}

/* With --kubernetes: who can't be told apart, and why. */
static void check_kubernetes(struct findings *f, const json_t *agent)
{
	const json_t *k = json_object_get(agent, "kubernetes");
	const char *error = text(k, "error");
	long long ago = json_integer_value(json_object_get(k, "heard_ms_ago")) / 1000, n;

	if (!k)
		return;
	if (!json_is_true(json_object_get(k, "synced")))
		doctor_say(f, DOCTOR_BROKEN, "kubernetes",
			   "the API at %s has not been read yet%s%s: pods that a policy may select "
			   "by label or service account are held",
			   text(k, "api"), *error ? ": " : "", error);
	else if (!json_is_true(json_object_get(k, "current")))
		doctor_say(f, DOCTOR_WARNING, "kubernetes",
			   "the API at %s is away, and was heard of %lld s ago%s%s: what it said "
			   "last holds, and new pods that a policy may select by label are held",
			   text(k, "api"), ago, *error ? ": " : "", error);
	else
		doctor_say(f, DOCTOR_OK, "kubernetes",
			   "the API at %s is current, heard of %lld s "
			   "ago",
			   text(k, "api"), ago);
	check_events(f, json_object_get(k, "events"));
	n = json_integer_value(json_object_get(k, "pods_out_of_reach"));
	if (n)
		doctor_say(f, DOCTOR_WARNING, "host network",
			   "%lld pods that policy selects are in the node's own network, where "
			   "nothing is captured: `egretctl pods` names them",
			   n);
	error = text(k, "host_network_error");
	if (*error)
		doctor_say(f, DOCTOR_BROKEN, "host network guard",
			   "--host-network-pods deny can't be had for all: %s", error);
	else if (!strcmp(text(k, "host_network_pods"), "deny"))
		doctor_say(f, DOCTOR_OK, "host network guard",
			   "%lld pods in the node's own network are refused governed destinations",
			   json_integer_value(json_object_get(k, "host_pods_guarded")));
	n = json_integer_value(json_object_get(json_object_get(agent, "pods"), "held"));
	if (n)
		doctor_say(f, DOCTOR_WARNING, "held pods",
			   "%lld pods are held until more is known of them: `egretctl pods --json` "
			   "says what (null)",
			   n);
}

/* ---- CA and DNS ---- */

struct permitted {
	struct findings *findings;
	const struct ca_names *names;
	size_t refused, seen;
};

static bool see_name(void *context, const struct eg_name *n)
{
	struct permitted *p = context;
	char name[EG_DNS_NAME + 3];

	snprintf(name, sizeof(name), "%s%.*s", n->suffix && n->text[0] != '*' ? "*." : "",
		 EG_DNS_NAME - 1, n->text);
	p->seen++;
	if (ca_names_permit(p->names, name))
		return true;
	p->refused++;
	doctor_say(
		p->findings, DOCTOR_BROKEN, "CA",
		"the intermediate does not permit %s, which the policy governs: its connections "
		"are refused (ca_name_not_permitted); issue a new intermediate with `egretctl ca`",
		name);
	return true;
}

static void check_ca(struct findings *f, const char *ca_dir, const char *pin_dir)
{
	struct permitted p = {.findings = f};
	struct ca_names names = {NULL};
	struct eg_pins *pins;
	struct eg_error e = {""};

	doctor_ca_dates(f, ca_dir);
	if (ca_names_read(ca_dir, &names, &e)) {
		doctor_say(f, DOCTOR_BROKEN, "CA", "%s", e.text);
		return;
	}
	p.names = &names;
	if (!eg_pins_open(pin_dir, &pins, &e)) {
		if (!eg_pins_names(pins, see_name, &p, &e) && !p.refused)
			doctor_say(f, DOCTOR_OK, "CA", "permits all %zu watched names", p.seen);
		eg_pins_close(pins);
	}
	ca_names_fini(&names);
}

static void check_resolvers(struct findings *f, const char *servers)
{
	char copy[256], *save = NULL;

	snprintf(copy, sizeof(copy), "%s", servers);
	for (char *s = strtok_r(copy, ",", &save); s; s = strtok_r(NULL, ",", &save)) {
		struct eg_error e = {""};

		if (doctor_dns_answers(s, &e))
			doctor_say(
				f, DOCTOR_BROKEN, "resolver",
				"%s: %s; names can't be resolved by the agent, and providers can't "
				"be reached",
				s, e.text);
		else
			doctor_say(f, DOCTOR_OK, "resolver", "%s answers", s);
	}
}

/* What is pinned observes: also when no agent answers. NULL: it governs, or nothing is pinned. */
static struct eg_pins *open_observing(const char *pin_dir)
{
	struct eg_error e = {""};
	struct eg_pins *pins;
	struct eg_config c;

	if (eg_pins_open(pin_dir, &pins, &e))
		return NULL;
	if (!eg_pins_config(pins, &c, &e) && c.mode == EG_MODE_OBSERVE)
		return pins;
	eg_pins_close(pins);
	return NULL;
}

static void check_governing(struct findings *f, const char *pin_dir, const json_t *agent,
			    const json_t *pods, const struct eg_error *e, const char *pod)
{
	check_sysctl(f, "net/ipv4/ip_early_demux", 1,
		     "every packet of a captured connection then takes a full route lookup");
	check_agent(f, agent, e);
	check_kubernetes(f, agent);
	if (agent)
		check_pod_links(f, pods, e);
	check_pins(f, pin_dir, agent, pods, pod);
	doctor_clock(f);
	check_ca(f, agent ? text(agent, "ca_dir") : "/etc/egret/ca", pin_dir);
}

static void print(const struct findings *f)
{
	const json_t *one;
	size_t i;

	json_array_foreach(f->list, i, one)
		printf("%-8s %-28s %s\n",
		       !strcmp(text(one, "result"), "ok")	? "ok"
		       : !strcmp(text(one, "result"), "broken") ? "BROKEN"
								: "warning",
		       text(one, "check"), text(one, "text"));
	printf("%zu broken, %zu warnings\n", f->broken, f->warnings);
}

int eg_cmd_doctor(int argc, char **argv)
{
	static const char *const own[] = {"mark", "pod=", NULL};
	struct findings f = {.list = NULL};
	struct ask_options o;
	struct eg_error e = {""};
	struct eg_pins *observing;
	char pin_dir[4096];
	bool given[2] = {false, false}, mark;
	json_t *agent, *pods = NULL;
	int code, r = ask_parse(argc, argv, usage, own, given, &o);

	if (r >= 0)
		return r;
	if (o.value && (!strchr(o.value, '/') || strchr(o.value, '/') != strrchr(o.value, '/')))
		return eg_usage_error(argv[0], "--pod '%s': expected NAMESPACE/NAME", o.value);
	mark = given[0];
	f.list = json_array();
	agent = ask_agent(o.run_dir, "status", &code, &e);
	if (agent)
		mark = !strcmp(text(agent, "mode"), "mark");
	ask_pin_dir(o.pin_dir ? o.pin_dir
		    : agent   ? text(agent, "pin_dir")
			      : NULL,
		    o.run_dir, pin_dir, sizeof(pin_dir));
	observing = open_observing(pin_dir);
	check_features(&f, pin_dir, !mark && !observing);
	if (agent)
		pods = ask_agent(o.run_dir, "pods", &code, &e);
	if (observing) {
		doctor_observe(&f, observing, agent, pods);
		check_kubernetes(&f, agent);
		eg_pins_close(observing);
	} else {
		check_governing(&f, pin_dir, agent, pods, &e, o.value);
	}
	if (agent && *text(agent, "resolver"))
		check_resolvers(&f, text(agent, "resolver"));
	json_decref(pods);
	json_decref(agent);
	if (o.json) {
		json_t *all = json_pack("{s:I, s:I, s:O}", "broken", (json_int_t)f.broken,
					"warnings", (json_int_t)f.warnings, "checks", f.list);

		json_dumpf(all, stdout, JSON_INDENT(2));
		printf("\n");
		json_decref(all);
	} else {
		print(&f);
	}
	json_decref(f.list);
	return f.broken ? EG_EXIT_NO : EG_EXIT_OK;
}
