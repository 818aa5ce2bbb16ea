/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The room kube as the supervisor has it, for tests/net/kube_api.sh:
 *   kube_driver HOST PORT NODE TOKEN_FILE CA_FILE STATE_FILE [SERVER_NAME]
 * STATE_FILE is replaced with what is known, whenever that or the status is another. Sentences go
 * to stderr. Each line of stdin is reported: {"namespace", "name", "uid", "reason", "note",
 * "count"}, without a namespace of the node. Ends with SIGTERM, or when its parent does.
 */
#include <inttypes.h>
#include <jansson.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "kube/kube_impl.h"

#define LOOK_MS 50u

static struct eg_loop *loop;
static struct eg_kube *kube;
static const char *state_file;
static char *written;
static uint64_t changes, largest_turn_us;
static struct eg_timer look;
static volatile sig_atomic_t over;

static void on_signal(int n)
{
	(void)n;
	over = 1;
}

static json_t *labels_of(const struct eg_label *labels, size_t count)
{
	json_t *o = json_object();

	for (size_t i = 0; i < count; i++)
		json_object_set_new(o, labels[i].key, json_string(labels[i].value));
	return o;
}

static json_t *pods_of(void)
{
	size_t count;
	const struct eg_kube_pod *const *pods = eg_kube_pods(kube, &count);
	json_t *all = json_object();

	for (size_t i = 0; i < count; i++) {
		const struct eg_identity *id = &pods[i]->identity;

		json_object_set_new(
			all, id->uid,
			json_pack("{ss ss ss so sb sb}", "namespace", id->namespace_name, "name",
				  id->name, "serviceAccount", id->service_account, "labels",
				  labels_of(id->labels, id->label_count), "hostNetwork",
				  pods[i]->host_network, "finished", pods[i]->finished));
	}
	return all;
}

static json_t *namespace_of(const char *name)
{
	const struct eg_label *labels;
	size_t count;

	return eg_kube_namespace_labels(kube, name, &labels, &count) ? labels_of(labels, count)
								     : json_null();
}

static void write_state(void)
{
	struct eg_kube_events_status e;
	struct eg_kube_status s;
	char temporary[512], *text;
	json_t *o;
	FILE *f;

	eg_kube_status(kube, &s);
	eg_kube_events_status(kube, &e);
	o = json_pack("{so so sb sb sI sI sI ss s{sb sI sI sI sI sI ss}}", "pods", pods_of(),
		      "shop", namespace_of("shop"), "synced", s.synced, "current", s.current,
		      "failures", (json_int_t)s.failures, "passed_over", (json_int_t)s.passed_over,
		      "largest_turn_us", (json_int_t)largest_turn_us, "error", s.error, "events",
		      "forbidden", e.forbidden, "written", (json_int_t)e.written, "failures",
		      (json_int_t)e.failures, "not_taken", (json_int_t)e.not_taken, "dropped",
		      (json_int_t)e.dropped, "waiting", (json_int_t)e.waiting, "error", e.error);
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!text || (written && !strcmp(text, written))) {
		free(text);
		return;
	}
	free(written);
	written = text;
	snprintf(temporary, sizeof(temporary), "%s.new", state_file);
	f = fopen(temporary, "w");
	if (!f || fputs(text, f) < 0 || fclose(f) || rename(temporary, state_file)) {
		perror(state_file);
		exit(1);
	}
}

/* Is something other than it was when this was asked last? */
static bool is_news(void)
{
	static struct eg_kube_events_status former_events;
	static struct eg_kube_status former;
	static uint64_t former_changes = UINT64_MAX;
	struct eg_kube_events_status e;
	struct eg_kube_status s;
	bool news;

	eg_kube_status(kube, &s);
	eg_kube_events_status(kube, &e);
	s.heard_ms = 0;
	news = changes != former_changes || s.synced != former.synced ||
	       s.current != former.current || s.failures != former.failures ||
	       s.passed_over != former.passed_over || strcmp(s.error, former.error) != 0 ||
	       e.written != former_events.written || e.failures != former_events.failures ||
	       e.dropped != former_events.dropped || e.waiting != former_events.waiting;
	former_events = e;
	former = s;
	former_changes = changes;
	return news;
}

/* To write thousands of pods is dear, and not what is tested: it has a fifth of the time. */
static void looked(struct eg_timer *t)
{
	uint64_t began_ms = eg_now_ms();

	if (is_news())
		write_state();
	if (eg_timer_set(loop, t, LOOK_MS + 4 * (eg_now_ms() - began_ms)))
		exit(1);
}

static void changed(void *context)
{
	(void)context;
	changes++;
}

static void said(void *context, bool bad, const char *sentence)
{
	(void)context;
	if (bad)
		eg_warn("%s", sentence);
	else
		eg_info("%s", sentence);
}

static const char *text_of(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s ? s : "";
}

static void report(const char *line)
{
	json_t *o = json_loads(line, 0, NULL);
	const char *reason = text_of(o, "reason");

	if (!o) {
		eg_error("no report: %s", line);
		return;
	}
	eg_kube_report(kube,
		       &(struct eg_kube_report){
			       .namespace_name = json_string_value(json_object_get(o, "namespace")),
			       .name = text_of(o, "name"),
			       .uid = text_of(o, "uid"),
			       .reason = !strcmp(reason, "A")	? "A"
					 : !strcmp(reason, "B") ? "B"
								: "C",
			       .action = "Try",
			       .warning = true,
			       .note = text_of(o, "note"),
			       .count = (uint64_t)json_integer_value(json_object_get(o, "count"))});
	json_decref(o);
}

static void lines_ready(struct eg_watch *w, uint32_t events)
{
	static char in[1 << 16];
	static size_t length;
	ssize_t n = read(w->fd, in + length, sizeof(in) - 1 - length);
	char *end;

	(void)events;
	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			eg_watch_remove(loop, w);
		return;
	}
	length += (size_t)n;
	in[length] = '\0';
	while ((end = strchr(in, '\n'))) {
		*end = '\0';
		report(in);
		length -= (size_t)(end + 1 - in);
		memmove(in, end + 1, length + 1);
	}
}

int main(int argc, char **argv)
{
	const struct eg_kube_calls calls = {changed, said, NULL};
	struct kube_times times = kube_times;
	struct eg_watch lines = {.fd = -1, .ready = lines_ready};
	struct eg_kube_options o;
	struct eg_error e;

	times.gap_ms = 20;
	times.forbidden_ms = 1500;
	times.first_ms = 50;
	times.most_ms = 400;
	times.well_ms = 200;
	times.list_ms = 4000;
	if (argc < 7)
		return 2;
	o = (struct eg_kube_options){.host = argv[1],
				     .port = (uint16_t)atoi(argv[2]),
				     .node_name = argv[3],
				     .token_file = argv[4],
				     .ca_file = argv[5],
				     .events = true,
				     .server_name = argc > 7 ? argv[7] : NULL};
	state_file = argv[6];
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN);
	eg_log_init("kube_driver", EG_LOG_DEBUG);
	loop = eg_loop_create();
	if (!loop || kube_open(loop, &o, &calls, &times, &kube, &e)) {
		fprintf(stderr, "%s\n", loop ? e.text : "no loop");
		return 1;
	}
	eg_timer_init(&look, looked);
	if (eg_timer_set(loop, &look, 0))
		return 1;
	/* Not a file, which epoll does not take: then nothing is reported. */
	if (fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK) == 0)
		(void)!eg_watch_add(loop, &lines, STDIN_FILENO, EPOLLIN);
	while (!over) {
		bool due = eg_timer_armed(&look) && look.due_ms <= eg_now_ms() + 1;
		uint64_t before = eg_cpu_ns();

		if (eg_loop_turn(loop, LOOK_MS))
			break;
		if (!due) /* what is written of it is no work of the room's */
			largest_turn_us = EG_MAX(largest_turn_us, (eg_cpu_ns() - before) / 1000);
	}
	eg_kube_close(kube);
	(void)!eg_loop_turn(loop, 0);
	(void)!eg_loop_turn(loop, 0);
	eg_loop_destroy(loop);
	free(written);
	return 0;
}
