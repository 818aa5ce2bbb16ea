/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /metrics, /healthz and /readyz, plain HTTP/1.1, one request a connection. There is no secret on
 * it. On a loopback port without authentication a web page must not be able to read it either: Host
 * must be the loopback's (a name that a browser was made to resolve to it is refused) and an Origin
 * is refused. With --metrics-token it is for who has the token, from wherever.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/gateway_impl.h"
#include "base/log.h"
#include "proto/h1.h"

#define VISITORS      16u
#define HEAD_BYTES    8192u
#define ANSWER_BYTES  ((size_t)32 << 20)
#define VISIT_MS      5000u
#define STATS_WAIT_MS 1000u

struct visitor {
	struct eg_page *page;
	int fd; /* -1: free */
	struct eg_watch watch;
	struct eg_timer limit;
	struct eg_buf in, out;
	struct eg_h1_scan scan;
	/* What is to be written when the supervisor's figures come; NULL: none is waited for. */
	void (*waiting)(struct visitor *v);
};

struct eg_page {
	struct eg_gateway *gateway;
	int listener;
	struct eg_watch watch;
	struct eg_timer stats_limit;
	struct eg_wire_stats stats; /* the last ones */
	bool silent;		    /* the supervisor gave none in time */
	struct visitor visitors[VISITORS];
};

static void leave(struct visitor *v)
{
	eg_timer_cancel(v->page->gateway->loop, &v->limit);
	eg_watch_remove(v->page->gateway->loop, &v->watch);
	eg_fd_close(&v->fd);
	eg_buf_fini(&v->in);
	eg_buf_fini(&v->out);
	v->waiting = NULL;
	/* There is room again for one who waits in the backlog. */
	if (v->page->watch.fd >= 0 &&
	    eg_watch_set(v->page->gateway->loop, &v->page->watch, EPOLLIN))
		eg_error("metrics page: epoll failed");
}

static void write_on(struct visitor *v)
{
	while (v->out.length) {
		ssize_t n = send(v->fd, eg_buf_data(&v->out), v->out.length, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (eg_watch_set(v->page->gateway->loop, &v->watch, EPOLLOUT))
				leave(v);
			return;
		}
		if (n <= 0)
			break;
		eg_buf_consume(&v->out, (size_t)n);
	}
	shutdown(v->fd, SHUT_WR);
	leave(v);
}

static void answer(struct visitor *v, unsigned int status, const char *phrase, const char *type,
		   struct eg_str body)
{
	int r = eg_buf_printf(&v->out,
			      "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
			      "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
			      "Connection: close\r\n\r\n",
			      status, phrase, type, body.n);

	if (!r)
		r = eg_buf_append_str(&v->out, body);
	if (r)
		leave(v);
	else
		write_on(v);
}

static void say(struct visitor *v, unsigned int status, const char *phrase, const char *sentence)
{
	answer(v, status, phrase, "text/plain; charset=utf-8", eg_str_from(sentence));
}

static void answer_metrics(struct visitor *v)
{
	struct eg_gateway *g = v->page->gateway;
	struct eg_telemetry *slots[EG_MAX_WORKERS];
	struct eg_buf body;
	int r;

	for (uint32_t i = 0; i < g->config.worker_count; i++)
		slots[i] = g->workers[i].telemetry;
	eg_buf_init(&body, ANSWER_BYTES - 1024);
	r = eg_telemetry_render(slots, g->config.worker_count, &body);
	if (!r)
		r = eg_metrics_supervisor(&body, &v->page->stats);
	if (r)
		say(v, 500, "Internal Server Error", "the metrics could not be written\n");
	else
		answer(v, 200, "OK", "text/plain; version=0.0.4; charset=utf-8", eg_buf_str(&body));
	eg_buf_fini(&body);
}

static void answer_ready(struct visitor *v)
{
	struct eg_page *p = v->page;
	char text[EG_WIRE_TEXT + 1];

	if (p->silent) {
		say(v, 503, "Service Unavailable",
		    "the supervisor does not answer: the kernel applies the fail policy; "
		    "restart egretd\n");
	} else if (!p->gateway->snapshot || !p->stats.policy_generation) {
		/* Not here, or not in the kernel, which gets it after us. */
		say(v, 503, "Service Unavailable", "no policy is in force yet\n");
	} else if (*p->stats.trouble) {
		snprintf(text, sizeof(text), "%s\n", p->stats.trouble);
		say(v, 503, "Service Unavailable", text);
	} else {
		say(v, 200, "OK", "ok\n");
	}
}

static void answer_waiting(struct eg_page *p, bool silent)
{
	p->silent = silent;
	eg_timer_cancel(p->gateway->loop, &p->stats_limit);
	for (size_t i = 0; i < VISITORS; i++) {
		void (*with)(struct visitor * v) = p->visitors[i].waiting;

		p->visitors[i].waiting = NULL;
		if (with)
			with(&p->visitors[i]);
	}
}

static void stats_late(struct eg_timer *t)
{
	answer_waiting(eg_container_of(t, struct eg_page, stats_limit), true);
}

void eg_page_stats(struct eg_page *p, const struct eg_wire_stats *s)
{
	p->stats = *s;
	p->stats.policy_version[sizeof(p->stats.policy_version) - 1] = '\0';
	p->stats.trouble[sizeof(p->stats.trouble) - 1] = '\0';
	p->stats.uplink_count = EG_MIN(p->stats.uplink_count, EG_WIRE_UPLINKS);
	for (uint32_t i = 0; i < p->stats.uplink_count; i++)
		p->stats.uplink[i].name[sizeof(p->stats.uplink[i].name) - 1] = '\0';
	answer_waiting(p, false);
}

/* Asks the supervisor for its figures; `with` is called when they are there, or are late. */
static void ask_stats(struct visitor *v, void (*with)(struct visitor *v))
{
	struct eg_message m = {.type = EG_WIRE_WANT_STATS};

	if (!eg_timer_armed(&v->page->stats_limit) &&
	    eg_timer_set(v->page->gateway->loop, &v->page->stats_limit, STATS_WAIT_MS)) {
		say(v, 500, "Internal Server Error", "out of memory\n");
		return;
	}
	v->waiting = with;
	eg_gateway_say(&m);
}

static bool loopback_host(struct eg_str host)
{
	static const struct eg_str names[] = {{"localhost", 9}, {"127.0.0.1", 9}, {"[::1]", 5}};

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++)
		if (eg_str_istarts(host, names[i]) &&
		    (host.n == names[i].n || host.p[names[i].n] == ':'))
			return true;
	return false;
}

static bool has_token(const struct eg_gateway *g, const struct eg_h1_head *h)
{
	const struct eg_header *f = eg_h1_find(h, EG_STR("authorization"));

	return g->page_token_known && f && eg_page_token_opens(g->page_token, f->value);
}

static void serve(struct visitor *v, const struct eg_h1_head *h)
{
	const struct eg_gateway *g = v->page->gateway;
	bool head = eg_str_eq(h->method, EG_STR("HEAD"));

	if (g->config.flags & EG_CONFIG_PAGE_TOKEN && !has_token(g, h))
		answer(v, 401, "Unauthorized",
		       "text/plain; charset=utf-8\r\nWWW-Authenticate: Bearer",
		       EG_STR("only for who has the token of --metrics-token\n"));
	else if (!(g->config.flags & EG_CONFIG_PAGE_TOKEN) &&
		 (!loopback_host(h->host) || eg_h1_find(h, EG_STR("origin"))))
		say(v, 403, "Forbidden",
		    "only for programs on this node: Host must be localhost\n");
	else if (head || !eg_str_eq(h->method, EG_STR("GET")))
		say(v, 405, "Method Not Allowed", head ? "" : "only GET\n");
	else if (eg_str_eq(h->target, EG_STR("/metrics")))
		ask_stats(v, answer_metrics);
	else if (eg_str_eq(h->target, EG_STR("/healthz")))
		say(v, 200, "OK", "ok\n");
	else if (eg_str_eq(h->target, EG_STR("/readyz")))
		ask_stats(v, answer_ready);
	else
		say(v, 404, "Not Found", "there are /metrics, /healthz and /readyz\n");
}

static void read_on(struct visitor *v)
{
	static struct eg_h1_head head; /* large; one thread */
	enum eg_reason reason;
	size_t room;
	char *to = eg_buf_reserve(&v->in, HEAD_BYTES, &room);
	ssize_t n;

	if (!to) {
		say(v, 431, "Request Header Fields Too Large", "the request head is too large\n");
		return;
	}
	n = recv(v->fd, to, room, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		leave(v);
		return;
	}
	eg_buf_commit(&v->in, (size_t)n);
	switch (eg_h1_parse_request(&v->scan, eg_buf_str(&v->in), &eg_h1_default_limits, &head,
				    &reason)) {
	case EG_IO_DONE:
		if (eg_watch_set(v->page->gateway->loop, &v->watch, 0))
			leave(v);
		else
			serve(v, &head);
		break;
	case EG_IO_AGAIN:
		break;
	case EG_IO_EOF:
	case EG_IO_FAIL:
		say(v, 400, "Bad Request", "not an HTTP request\n");
		break;
	}
}

static void visitor_ready(struct eg_watch *w, uint32_t events)
{
	struct visitor *v = eg_container_of(w, struct visitor, watch);

	if (v->out.length)
		write_on(v);
	else if (events & EPOLLIN)
		read_on(v);
	else
		leave(v);
}

static void visitor_slow(struct eg_timer *t)
{
	leave(eg_container_of(t, struct visitor, limit));
}

static void welcome(struct eg_watch *w, uint32_t events)
{
	struct eg_page *p = eg_container_of(w, struct eg_page, watch);
	struct visitor *v = NULL;
	int fd;

	(void)events;
	for (size_t i = 0; i < VISITORS; i++)
		if (p->visitors[i].fd < 0)
			v = &p->visitors[i];
	if (!v) { /* those who come now wait in the backlog until one leaves */
		if (eg_watch_set(p->gateway->loop, w, 0))
			eg_error("metrics page: epoll failed");
		return;
	}
	fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	v->fd = fd;
	v->scan = (struct eg_h1_scan){0};
	eg_buf_init(&v->in, HEAD_BYTES);
	eg_buf_init(&v->out, ANSWER_BYTES);
	if (eg_watch_add(p->gateway->loop, &v->watch, fd, EPOLLIN) ||
	    eg_timer_set(p->gateway->loop, &v->limit, VISIT_MS))
		leave(v);
}

struct eg_page *eg_page_create(struct eg_gateway *g, int listener, struct eg_error *e)
{
	struct eg_page *p = calloc(1, sizeof(*p));

	if (!p) {
		eg_error_set(e, -ENOMEM, "metrics page: out of memory");
		return NULL;
	}
	p->gateway = g;
	p->listener = listener;
	p->watch.fd = -1;
	p->watch.ready = welcome;
	eg_timer_init(&p->stats_limit, stats_late);
	for (size_t i = 0; i < VISITORS; i++) {
		p->visitors[i].page = p;
		p->visitors[i].fd = -1;
		p->visitors[i].watch.fd = -1;
		p->visitors[i].watch.ready = visitor_ready;
		eg_timer_init(&p->visitors[i].limit, visitor_slow);
	}
	/* A listener that is shared is another gateway's until ACCEPT. */
	if (!(g->config.flags & EG_CONFIG_SHARED) &&
	    eg_watch_add(g->loop, &p->watch, listener, EPOLLIN)) {
		eg_error_set(e, -errno, "metrics page: epoll failed");
		free(p);
		return NULL;
	}
	return p;
}

void eg_page_begin(struct eg_page *p)
{
	if (p->watch.fd < 0 && p->listener >= 0 &&
	    eg_watch_add(p->gateway->loop, &p->watch, p->listener, EPOLLIN))
		eg_error("metrics page: epoll failed");
}

void eg_page_leave(struct eg_page *p)
{
	eg_watch_remove(p->gateway->loop, &p->watch);
	eg_fd_close(&p->listener);
}
