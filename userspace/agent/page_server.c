/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/page_server.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "proto/h1.h"

#define VISITORS   16u
#define HEAD_BYTES 8192u
#define VISIT_MS   5000u

struct eg_page_visitor {
	struct eg_page_server *server;
	int fd; /* -1: free */
	struct eg_watch watch;
	struct eg_timer limit;
	struct eg_buf in, out;
	struct eg_h1_scan scan;
	/* NULL: none is waited for */
	void (*waiting)(void *ctx, struct eg_page_visitor *v);
};

struct eg_page_server {
	struct eg_loop *loop;
	const struct eg_page_owner *owner;
	void *ctx;
	int listener;
	struct eg_watch watch;
	struct eg_page_visitor visitors[VISITORS];
};

static void leave(struct eg_page_visitor *v)
{
	struct eg_page_server *s = v->server;

	if (v->fd < 0)
		return;
	eg_timer_cancel(s->loop, &v->limit);
	eg_watch_remove(s->loop, &v->watch);
	eg_fd_close(&v->fd);
	eg_buf_fini(&v->in);
	eg_buf_fini(&v->out);
	v->waiting = NULL;
	/* There is room again for one who waits in the backlog. */
	if (s->watch.fd >= 0 && eg_watch_set(s->loop, &s->watch, EPOLLIN))
		eg_error("metrics page: epoll failed");
}

static void write_on(struct eg_page_visitor *v)
{
	while (v->out.length) {
		ssize_t n = send(v->fd, eg_buf_data(&v->out), v->out.length, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && !eg_watch_set(v->server->loop, &v->watch, EPOLLOUT))
			return;
		if (n <= 0)
			break;
		eg_buf_consume(&v->out, (size_t)n);
	}
	shutdown(v->fd, SHUT_WR);
	leave(v);
}

void eg_page_answer(struct eg_page_visitor *v, const char *status, const char *type,
		    struct eg_str body)
{
	int r = eg_buf_printf(&v->out,
			      "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
			      "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
			      "Connection: close\r\n\r\n",
			      status, type, body.n);

	if (!r)
		r = eg_buf_append_str(&v->out, body);
	if (r)
		leave(v);
	else
		write_on(v);
}

void eg_page_say(struct eg_page_visitor *v, const char *status, const char *sentence)
{
	eg_page_answer(v, status, "text/plain; charset=utf-8", eg_str_from(sentence));
}

void eg_page_wait(struct eg_page_visitor *v, void (*with)(void *ctx, struct eg_page_visitor *v))
{
	v->waiting = with;
}

void eg_page_answer_waiting(struct eg_page_server *s)
{
	for (size_t i = 0; i < VISITORS; i++) {
		struct eg_page_visitor *v = &s->visitors[i];
		void (*with)(void *ctx, struct eg_page_visitor *v) = v->waiting;

		v->waiting = NULL;
		if (with)
			with(s->ctx, v);
	}
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

static bool has_token(const struct eg_page_server *s, const struct eg_h1_head *h)
{
	const struct eg_header *f = eg_h1_find(h, EG_STR("authorization"));

	return s->owner->token_opens(s->ctx, f ? f->value : (struct eg_str){NULL, 0});
}

static void serve(struct eg_page_visitor *v, const struct eg_h1_head *h)
{
	const struct eg_page_server *s = v->server;
	bool head = eg_str_eq(h->method, EG_STR("HEAD")), token = s->owner->wants_token(s->ctx);

	if (token && !has_token(s, h))
		eg_page_answer(v, "401 Unauthorized",
			       "text/plain; charset=utf-8\r\nWWW-Authenticate: Bearer",
			       EG_STR("only for who has the token of --metrics-token\n"));
	else if (!token && (!loopback_host(h->host) || eg_h1_find(h, EG_STR("origin"))))
		eg_page_say(v, "403 Forbidden",
			    "only for programs on this node: Host must be localhost\n");
	else if (head || !eg_str_eq(h->method, EG_STR("GET")))
		eg_page_say(v, "405 Method Not Allowed", head ? "" : "only GET\n");
	else if (eg_str_eq(h->target, EG_STR("/metrics")))
		s->owner->metrics(s->ctx, v);
	else if (eg_str_eq(h->target, EG_STR("/healthz")))
		eg_page_say(v, "200 OK", "ok\n");
	else if (eg_str_eq(h->target, EG_STR("/readyz")))
		s->owner->ready(s->ctx, v);
	else
		eg_page_say(v, "404 Not Found", "there are /metrics, /healthz and /readyz\n");
}

static void read_on(struct eg_page_visitor *v)
{
	static struct eg_h1_head head; /* large; one thread */
	enum eg_reason reason;
	size_t room;
	char *to = eg_buf_reserve(&v->in, HEAD_BYTES, &room);
	ssize_t n;

	if (!to) {
		eg_page_say(v, "431 Request Header Fields Too Large",
			    "the request head is too large\n");
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
		if (eg_watch_set(v->server->loop, &v->watch, 0))
			leave(v);
		else
			serve(v, &head);
		break;
	case EG_IO_AGAIN:
		break;
	case EG_IO_EOF:
	case EG_IO_FAIL:
		eg_page_say(v, "400 Bad Request", "not an HTTP request\n");
		break;
	}
}

static void visitor_ready(struct eg_watch *w, uint32_t events)
{
	struct eg_page_visitor *v = eg_container_of(w, struct eg_page_visitor, watch);

	if (v->out.length)
		write_on(v);
	else if (events & EPOLLIN)
		read_on(v);
	else
		leave(v);
}

static void visitor_slow(struct eg_timer *t)
{
	leave(eg_container_of(t, struct eg_page_visitor, limit));
}

static void welcome(struct eg_watch *w, uint32_t events)
{
	struct eg_page_server *s = eg_container_of(w, struct eg_page_server, watch);
	struct eg_page_visitor *v = NULL;
	int fd;

	(void)events;
	for (size_t i = 0; i < VISITORS; i++)
		if (s->visitors[i].fd < 0)
			v = &s->visitors[i];
	if (!v) { /* those who come now wait in the backlog until one leaves */
		if (eg_watch_set(s->loop, w, 0))
			eg_error("metrics page: epoll failed");
		return;
	}
	fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	v->fd = fd;
	v->scan = (struct eg_h1_scan){0};
	eg_buf_init(&v->in, HEAD_BYTES);
	eg_buf_init(&v->out, EG_PAGE_ANSWER_BYTES);
	if (eg_watch_add(s->loop, &v->watch, fd, EPOLLIN) ||
	    eg_timer_set(s->loop, &v->limit, VISIT_MS))
		leave(v);
}

struct eg_page_server *eg_page_server_create(struct eg_loop *loop, int listener,
					     const struct eg_page_owner *owner, void *ctx)
{
	struct eg_page_server *s = calloc(1, sizeof(*s));

	if (!s) {
		eg_fd_close(&listener);
		return NULL;
	}
	s->loop = loop;
	s->listener = listener;
	s->owner = owner;
	s->ctx = ctx;
	s->watch.fd = -1;
	s->watch.ready = welcome;
	for (size_t i = 0; i < VISITORS; i++) {
		s->visitors[i].server = s;
		s->visitors[i].fd = -1;
		s->visitors[i].watch.fd = -1;
		s->visitors[i].watch.ready = visitor_ready;
		eg_timer_init(&s->visitors[i].limit, visitor_slow);
	}
	return s;
}

int eg_page_server_begin(struct eg_page_server *s)
{
	if (s->watch.fd >= 0 || s->listener < 0)
		return 0;
	return eg_watch_add(s->loop, &s->watch, s->listener, EPOLLIN);
}

void eg_page_server_leave(struct eg_page_server *s)
{
	eg_watch_remove(s->loop, &s->watch);
	eg_fd_close(&s->listener);
}

void eg_page_server_destroy(struct eg_page_server *s)
{
	if (!s)
		return;
	eg_page_server_leave(s);
	for (size_t i = 0; i < VISITORS; i++)
		leave(&s->visitors[i]);
	free(s);
}
