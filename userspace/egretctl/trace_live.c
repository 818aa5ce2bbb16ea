/* SPDX-License-Identifier: Apache-2.0 */
#include "egretctl/trace_live.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "egretctl/ask.h"

#define LINE_BYTES ((size_t)1 << 20) /* more than any line has */
#define AGAIN_MS   200u
#define PATIENCE   10000u /* so long another agent is looked for */

struct live {
	const struct trace_live *l;
	struct eg_buf in;
	bool begun; /* the agent has said so once */
};

/* ---- a line of the agent's ---- */

static void say_not_shown(const json_t *missed)
{
	long long slow = json_integer_value(json_object_get(missed, "slow"));
	long long lost = json_integer_value(json_object_get(missed, "lost"));

	if (slow > 0)
		eg_complain("trace", "%lld request%s not shown: this terminal is too slow", slow,
			    slow == 1 ? " was" : "s were");
	if (lost > 0)
		eg_complain("trace",
			    "%lld request%s not shown: more came at once than are kept for a trace",
			    lost, lost == 1 ? " was" : "s were");
}

static void say_begun(struct live *v)
{
	const struct trace_live *l = v->l;

	if (v->begun)
		eg_complain("trace", "an agent answers again");
	else
		eg_complain("trace", "waiting for requests of %s%s%s%s",
			    *l->pod ? l->pod : "every pod", *l->host ? " to " : "", l->host,
			    l->end_ms ? "" : " (^C ends)");
	v->begun = true;
}

/* -1: go on. */
static int take(struct live *v, json_t *line)
{
	json_t *record = json_object_get(line, "record");
	const char *error = json_string_value(json_object_get(line, "error"));

	if (record)
		return v->l->record(v->l->context, record) ? -1 : TRACE_ENOUGH;
	if (error) {
		eg_complain("trace", "%s", error);
		return TRACE_FAILED;
	}
	if (json_object_get(line, "tracing"))
		say_begun(v);
	if (json_object_get(line, "gateway_ended"))
		eg_complain("trace", "the gateway process has ended: requests that were in flight "
				     "on it are not shown; the trace goes on with the next one");
	say_not_shown(json_object_get(line, "not_shown"));
	return -1;
}

static int take_lines(struct live *v)
{
	const char *end;

	while (v->in.length && (end = memchr(eg_buf_data(&v->in), '\n', v->in.length))) {
		size_t n = (size_t)(end - eg_buf_data(&v->in));
		json_t *line = json_loadb(eg_buf_data(&v->in), n, 0, NULL);
		int r = line ? take(v, line) : -1;

		if (!line)
			eg_complain("trace", "one request was not shown: what came is not JSON");
		json_decref(line);
		eg_buf_consume(&v->in, n + 1);
		if (r >= 0)
			return r;
	}
	return -1;
}

/* ---- the socket ---- */

static int wait_ms(const struct trace_live *l, uint64_t most)
{
	uint64_t now = eg_now_ms();

	if (!l->end_ms)
		return most == UINT64_MAX ? -1 : (int)most;
	if (now >= l->end_ms)
		return 0;
	return (int)EG_MIN(EG_MIN(l->end_ms - now, most), (uint64_t)INT32_MAX);
}

static bool is_time(const struct trace_live *l)
{
	return l->end_ms && eg_now_ms() >= l->end_ms;
}

/* Until the socket has something. -1: it has. */
static int await(const struct trace_live *l, int fd)
{
	struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = STDOUT_FILENO}};

	for (;;) {
		int n = poll(p, 2, wait_ms(l, UINT64_MAX));

		if (p[1].revents & (POLLERR | POLLHUP | POLLNVAL))
			return TRACE_NO_READER;
		if (n > 0 && p[0].revents)
			return -1;
		if (is_time(l))
			return TRACE_TIME;
	}
}

static bool ask(const struct trace_live *l, int fd)
{
	json_t *request =
		json_pack("{s:s, s:s, s:s}", "command", "trace", "pod", l->pod, "host", l->host);
	char *text = request ? json_dumps(request, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	bool sent = text && send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_MORE) > 0 &&
		    send(fd, "\n", 1, MSG_NOSIGNAL) == 1;

	free(text);
	json_decref(request);
	return sent;
}

/* -1: the agent has gone. */
static int follow(struct live *v, int fd)
{
	int r = -1;

	while (r < 0) {
		size_t room;
		char *to = eg_buf_reserve(&v->in, 65536, &room);
		ssize_t n;

		r = to ? await(v->l, fd) : TRACE_FAILED;
		if (r >= 0)
			break;
		n = recv(fd, to, room, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return -1;
		eg_buf_commit(&v->in, (size_t)n);
		r = take_lines(v);
		if (fflush(stdout))
			return TRACE_NO_READER;
		if (r < 0 && is_time(v->l))
			return TRACE_TIME;
	}
	return r;
}

static int open_agent(const struct live *v, struct eg_error *e)
{
	uint64_t until = v->begun ? eg_now_ms() + PATIENCE : 0;

	for (;;) {
		int fd = ask_connect(v->l->run_dir, e);
		struct pollfd out = {.fd = STDOUT_FILENO};

		if (fd >= 0 || eg_now_ms() >= until || is_time(v->l))
			return fd;
		if (poll(&out, 1, wait_ms(v->l, AGAIN_MS)) > 0)
			return fd;
	}
}

enum trace_end trace_live(const struct trace_live *l)
{
	struct live v = {.l = l};
	struct eg_error e = {""};
	int r = -1;

	eg_buf_init(&v.in, LINE_BYTES);
	while (r < 0) {
		EG_CLEANUP_FD int fd = open_agent(&v, &e);

		if (fd < 0) {
			r = is_time(l) ? TRACE_TIME : TRACE_FAILED;
			if (r == TRACE_FAILED)
				eg_complain("trace", "%s", e.text);
			break;
		}
		eg_buf_clear(&v.in);
		if (!ask(l, fd) || (r = follow(&v, fd)) >= 0)
			continue;
		if (!v.begun) {
			eg_complain("trace", "%s: the agent does not answer", l->run_dir);
			r = TRACE_FAILED;
			break;
		}
		eg_complain("trace",
			    "the agent has ended, or another is in charge: looking for it");
	}
	eg_buf_fini(&v.in);
	return (enum trace_end)r;
}
