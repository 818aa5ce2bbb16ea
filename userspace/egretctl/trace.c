/* SPDX-License-Identifier: Apache-2.0 */
/* egretctl trace: requests and what was decided of them, live or of an access log. */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "egretctl/ask.h"
#include "egretctl/trace_live.h"
#include "egretctl/trace_show.h"

#define LINE_BYTES ((size_t)1 << 20) /* of a file; a longer one is no record */

static const char usage[] =
	"Usage: egretctl trace [--pod NAMESPACE/NAME] [--host HOST] [OPTION...]\n"
	"       egretctl trace --from FILE [REQUEST_ID] [OPTION...]\n"
	"\n"
	"Waits, and shows each request when it is over: its connection, policy and route, each\n"
	"target and why it was taken or passed over, each attempt, the answer. With --from the\n"
	"records of an access log (\"-\": stdin), all of them or one.\n"
	"\n"
	"  --pod NS/NAME   requests of that pod alone\n"
	"  --host HOST     requests with that server name alone\n"
	"  --count N       ends after so many\n"
	"  --timeout S     ends after so many seconds\n"
	"  --from FILE     an access log, as `kubectl logs` prints it; nothing is asked of an "
	"agent\n"
	"  --run-dir DIR   where the agent's control socket is (" ASK_RUN_DIR ")\n"
	"  --json          a JSON object in one line for each\n"
	"  -h, --help      this text\n"
	"\n"
	"Exit codes: 0 shown; 1 nothing to show (or fewer than --count) in that time or file, or\n"
	"no agent that could; 2 wrong arguments, or the file could not be read.\n";

struct trace {
	const char *run_dir, *from, *id;
	const char *pod, *host;
	unsigned long long count; /* 0: without an end */
	unsigned long long timeout_s;
	bool json;
	unsigned long long shown, skipped;
	bool failed; /* stdout */
};

/* ---- a record ---- */

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static bool is_pod(const json_t *pod, const char *name)
{
	size_t n = strlen(text(pod, "namespace"));

	return n && !strncmp(name, text(pod, "namespace"), n) && name[n] == '/' &&
	       !strcmp(name + n + 1, text(pod, "name"));
}

static bool is_wanted(const struct trace *t, const json_t *record)
{
	return (!*t->pod || is_pod(json_object_get(record, "pod"), t->pod)) &&
	       (!*t->host || !strcasecmp(t->host, text(record, "server_name"))) &&
	       (!t->id || !strcmp(t->id, text(record, "request_id")));
}

/* False: that was enough. */
static bool show(struct trace *t, const json_t *record)
{
	if (t->json) {
		char *line = json_dumps(record, JSON_COMPACT | JSON_ENSURE_ASCII);

		if (!line || puts(line) < 0)
			t->failed = true;
		free(line);
	} else {
		trace_show(record);
	}
	t->shown++;
	return !t->failed && (!t->count || t->shown < t->count);
}

/* ---- live ---- */

static bool show_live(void *context, json_t *record)
{
	struct trace *t = context;

	/* What it asked for it gets; but a gateway is not believed in everything. */
	return !trace_is_record(record) || !is_wanted(t, record) || show(t, record);
}

static int watch(struct trace *t)
{
	const struct trace_live l = {
		.run_dir = t->run_dir,
		.pod = t->pod,
		.host = t->host,
		.end_ms = t->timeout_s ? eg_now_ms() + t->timeout_s * 1000 : 0,
		.record = show_live,
		.context = t,
	};
	enum trace_end end = trace_live(&l);

	if (t->failed)
		return EG_EXIT_USAGE;
	if (end == TRACE_TIME)
		eg_complain("trace", "%llu request%s in %llu s", t->shown, t->shown == 1 ? "" : "s",
			    t->timeout_s);
	if (end == TRACE_TIME)
		return t->shown && t->shown >= t->count ? EG_EXIT_OK : EG_EXIT_NO;
	return end == TRACE_FAILED ? EG_EXIT_NO : EG_EXIT_OK;
}

/* ---- an access log ---- */

/* Before it may stand what `kubectl logs --prefix` or a collector writes. */
static json_t *read_record(struct eg_str line)
{
	const char *at = line.n ? memchr(line.p, '{', line.n) : NULL;
	json_t *record = at ? json_loadb(at, line.n - (size_t)(at - line.p), 0, NULL) : NULL;

	if (record && !trace_is_record(record)) {
		json_decref(record);
		return NULL;
	}
	return record;
}

static bool take_line(struct trace *t, struct eg_str line)
{
	json_t *record = read_record(line);
	bool go_on = true;

	if (!record && line.n)
		t->skipped++;
	if (record && is_wanted(t, record))
		go_on = show(t, record);
	json_decref(record);
	return go_on;
}

struct reading {
	struct eg_buf line;
	bool long_line; /* its rest is passed over */
};

/* Whole lines out of `n` bytes. False: enough. */
static bool take_bytes(struct trace *t, struct reading *r, const char *bytes, size_t n)
{
	while (n) {
		const char *end = memchr(bytes, '\n', n);
		size_t part = end ? (size_t)(end - bytes) : n;

		r->long_line |= eg_buf_append(&r->line, bytes, part) != 0;
		bytes += part + (end != NULL);
		n -= part + (end != NULL);
		if (!end)
			break;
		if (r->long_line)
			t->skipped++;
		else if (!take_line(t, eg_buf_str(&r->line)))
			return false;
		r->long_line = false;
		eg_buf_clear(&r->line);
	}
	return true;
}

static int read_all(struct trace *t, int fd)
{
	static char bytes[65536];
	struct reading r = {.long_line = false};
	bool go_on = true;
	ssize_t n = 1;

	eg_buf_init(&r.line, LINE_BYTES);
	while (go_on && n > 0) {
		n = read(fd, bytes, sizeof(bytes));
		if (n < 0 && errno == EINTR) {
			n = 1;
			continue;
		}
		go_on = n <= 0 || take_bytes(t, &r, bytes, (size_t)n);
		if (fflush(stdout))
			t->failed = true;
		go_on &= !t->failed;
	}
	if (go_on && !n && (r.long_line || r.line.length)) /* without an end */
		(void)take_bytes(t, &r, "\n", 1);
	eg_buf_fini(&r.line);
	return n < 0 ? -errno : 0;
}

static int read_log(struct trace *t)
{
	EG_CLEANUP_FD int fd =
		strcmp(t->from, "-") ? open(t->from, O_RDONLY | O_CLOEXEC) : dup(STDIN_FILENO);
	int r = fd < 0 ? -errno : read_all(t, fd);

	if (r) {
		eg_complain("trace", "%s: %s", t->from, strerror(-r));
		return EG_EXIT_USAGE;
	}
	if (t->skipped)
		eg_complain("trace", "%llu line%s no record, and %s passed over", t->skipped,
			    t->skipped == 1 ? " is" : "s are", t->skipped == 1 ? "was" : "were");
	if (t->failed)
		return EG_EXIT_USAGE;
	if (!t->shown && t->id)
		eg_complain("trace", "no record of request %s is there", t->id);
	else if (!t->shown)
		eg_complain("trace", "no record to show is there");
	return t->shown && t->shown >= t->count ? EG_EXIT_OK : EG_EXIT_NO;
}

/* ---- options ---- */

static int number(const char *name, const char *value, unsigned long long *out)
{
	char *end;

	errno = 0;
	*out = strtoull(value, &end, 10);
	if (errno || *end || *value < '0' || *value > '9' || !*out || *out > 1000000000)
		return eg_usage_error("trace", "--%s %s: expected a number from 1 to 1000000000",
				      name, value);
	return -1;
}

static int check(const struct trace *t)
{
	const char *slash = strchr(t->pod, '/');

	if (*t->pod && (!slash || slash == t->pod || !slash[1]))
		return eg_usage_error("trace", "--pod %s: expected NAMESPACE/NAME", t->pod);
	if (t->id && !t->from)
		return eg_usage_error("trace",
				      "'%s': a request that is over is found in an access "
				      "log; expected --from FILE",
				      t->id);
	if (t->from && t->timeout_s)
		return eg_usage_error("trace", "--timeout is of live requests, not of --from");
	return -1;
}

static int parse(int argc, char **argv, struct trace *t)
{
	static const struct option known[] = {{"pod", required_argument, NULL, 'o'},
					      {"host", required_argument, NULL, 's'},
					      {"count", required_argument, NULL, 'c'},
					      {"timeout", required_argument, NULL, 't'},
					      {"from", required_argument, NULL, 'f'},
					      {"run-dir", required_argument, NULL, 'r'},
					      {"json", no_argument, NULL, 'j'},
					      {"help", no_argument, NULL, 'h'},
					      {NULL, 0, NULL, 0}};
	int id, r = -1;

	opterr = 0;
	while (r < 0 && (id = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (id == 'o')
			t->pod = optarg;
		else if (id == 's')
			t->host = optarg;
		else if (id == 'c')
			r = number("count", optarg, &t->count);
		else if (id == 't')
			r = number("timeout", optarg, &t->timeout_s);
		else if (id == 'f')
			t->from = optarg;
		else if (id == 'r')
			t->run_dir = optarg;
		else if (id == 'j')
			t->json = true;
		else if (id == 'h')
			return fputs(usage, stdout) < 0 ? EG_EXIT_USAGE : EG_EXIT_OK;
		else
			return eg_bad_option(argv[0], argv);
	}
	if (r >= 0)
		return r;
	if (optind < argc)
		t->id = argv[optind++];
	if (optind < argc)
		return eg_usage_error("trace", "'%s': one request at a time", argv[optind]);
	return check(t);
}

int eg_cmd_trace(int argc, char **argv)
{
	struct trace t = {.run_dir = ASK_RUN_DIR, .pod = "", .host = ""};
	int r = parse(argc, argv, &t);

	if (r >= 0)
		return r;
	return t.from ? read_log(&t) : watch(&t);
}
