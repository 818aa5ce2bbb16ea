/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page of --metrics where there is no gateway to serve it: GET, one answer, closed. Who may ask
 * is as in gateway_page.c: with a token who has it, else a program of this node.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/observe_impl.h"
#include "agent/page_token.h"
#include "base/log.h"
#include "proto/h1.h"

#define VISITORS     8u
#define VISIT_MS     5000u
#define HEAD_BYTES   8192u
#define ANSWER_BYTES ((size_t)1 << 20)

struct visitor {
	struct eg_observe_page *page;
	int fd; /* -1: free */
	struct eg_watch watch;
	struct eg_timer limit;
	struct eg_h1_scan scan;
	struct eg_buf in, out;
};

struct eg_observe_page {
	struct eg_observer *observer;
	int listener;
	struct eg_watch watch;
	struct visitor visitors[VISITORS];
};

static struct eg_loop *loop_of(const struct visitor *v)
{
	return v->page->observer->s.loop;
}

static void leave(struct visitor *v)
{
	if (v->fd < 0)
		return;
	eg_timer_cancel(loop_of(v), &v->limit);
	eg_watch_remove(loop_of(v), &v->watch);
	eg_fd_close(&v->fd);
	eg_buf_fini(&v->in);
	eg_buf_fini(&v->out);
	if (eg_watch_set(loop_of(v), &v->page->watch, EPOLLIN))
		eg_error("metrics page: epoll failed");
}

static void write_on(struct visitor *v)
{
	while (v->out.length) {
		ssize_t n = send(v->fd, eg_buf_data(&v->out), v->out.length, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && !eg_watch_set(loop_of(v), &v->watch, EPOLLOUT))
			return;
		if (n <= 0)
			break;
		eg_buf_consume(&v->out, (size_t)n);
	}
	shutdown(v->fd, SHUT_WR);
	leave(v);
}

static void answer(struct visitor *v, const char *status, const char *type, struct eg_str body)
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

static void say(struct visitor *v, const char *status, const char *sentence)
{
	answer(v, status, "text/plain; charset=utf-8", eg_str_from(sentence));
}

static void answer_metrics(struct visitor *v)
{
	struct eg_buf body;

	eg_observe_look(v->page->observer);
	eg_buf_init(&body, ANSWER_BYTES - 1024);
	if (eg_observe_metrics(v->page->observer, &body))
		say(v, "500 Internal Server Error", "the metrics could not be written\n");
	else
		answer(v, "200 OK", "text/plain; version=0.0.4; charset=utf-8", eg_buf_str(&body));
	eg_buf_fini(&body);
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

/* The file is read anew for each: it may have been replaced. */
static bool has_token(const struct visitor *v, const struct eg_h1_head *h)
{
	const struct eg_header *f = eg_h1_find(h, EG_STR("authorization"));
	uint8_t digest[EG_PAGE_DIGEST];
	struct eg_error e = {""};

	if (eg_page_token_read(v->page->observer->s.o->metrics_token, digest, &e)) {
		eg_warn("--metrics-token: %s; nobody is let in", e.text);
		return false;
	}
	return f && eg_page_token_opens(digest, f->value);
}

static void serve(struct visitor *v, const struct eg_h1_head *h)
{
	bool token = v->page->observer->s.o->metrics_token;

	if (token && !has_token(v, h))
		answer(v, "401 Unauthorized",
		       "text/plain; charset=utf-8\r\nWWW-Authenticate: Bearer",
		       EG_STR("only for who has the token of --metrics-token\n"));
	else if (!token && (!loopback_host(h->host) || eg_h1_find(h, EG_STR("origin"))))
		say(v, "403 Forbidden", "only for programs on this node: Host must be localhost\n");
	else if (!eg_str_eq(h->method, EG_STR("GET")))
		say(v, "405 Method Not Allowed",
		    eg_str_eq(h->method, EG_STR("HEAD")) ? "" : "only GET\n");
	else if (eg_str_eq(h->target, EG_STR("/metrics")))
		answer_metrics(v);
	else if (eg_str_eq(h->target, EG_STR("/healthz")))
		say(v, "200 OK", "ok\n");
	else if (eg_str_eq(h->target, EG_STR("/readyz")) && v->page->observer->synced)
		say(v, "200 OK", "ok: it observes, and enforces nothing\n");
	else if (eg_str_eq(h->target, EG_STR("/readyz")))
		say(v, "503 Service Unavailable", "the pods are not known yet\n");
	else
		say(v, "404 Not Found", "there are /metrics, /healthz and /readyz\n");
}

static void read_on(struct visitor *v)
{
	static struct eg_h1_head head; /* large; one thread */
	enum eg_reason reason;
	size_t room;
	char *to = eg_buf_reserve(&v->in, HEAD_BYTES, &room);
	ssize_t n;

	if (!to) {
		say(v, "431 Request Header Fields Too Large", "the request head is too large\n");
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
		serve(v, &head);
		break;
	case EG_IO_AGAIN:
		break;
	case EG_IO_EOF:
	case EG_IO_FAIL:
		say(v, "400 Bad Request", "not an HTTP request\n");
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
	struct eg_observe_page *p = eg_container_of(w, struct eg_observe_page, watch);
	struct visitor *v = NULL;
	int fd;

	(void)events;
	for (size_t i = 0; i < VISITORS; i++)
		if (p->visitors[i].fd < 0)
			v = &p->visitors[i];
	if (!v) { /* those who come now wait in the backlog until one leaves */
		if (eg_watch_set(p->observer->s.loop, w, 0))
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
	if (eg_watch_add(loop_of(v), &v->watch, fd, EPOLLIN) ||
	    eg_timer_set(loop_of(v), &v->limit, VISIT_MS))
		leave(v);
}

static int listen_at(const struct eg_options *o, struct eg_error *e)
{
	EG_CLEANUP_FD int fd =
		socket(o->metrics.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1;

	if (fd < 0)
		return eg_error_set(e, -errno, "--metrics: %s", strerror(errno));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&o->metrics, o->metrics_length) < 0 ||
	    listen(fd, 64) < 0)
		return eg_error_set(e, -errno,
				    "--metrics: port %u: %s; choose another with --metrics "
				    "ADDR:PORT, or --metrics none",
				    o->metrics_port, strerror(errno));
	return eg_fd_take(&fd);
}

int eg_observe_page_open(struct eg_observer *ob, struct eg_error *e)
{
	const struct eg_options *o = ob->s.o;
	uint8_t digest[EG_PAGE_DIGEST];
	struct eg_observe_page *p;
	struct eg_error why = {""};
	int r;

	if (!o->metrics_length)
		return 0;
	if (o->metrics_token && eg_page_token_read(o->metrics_token, digest, &why))
		return eg_error_set(e, -EINVAL, "--metrics-token: %s", why.text);
	p = calloc(1, sizeof(*p));
	if (!p)
		return eg_error_set(e, -ENOMEM, "metrics page: out of memory");
	p->observer = ob;
	p->watch.fd = -1;
	p->watch.ready = welcome;
	for (size_t i = 0; i < VISITORS; i++) {
		p->visitors[i].page = p;
		p->visitors[i].fd = -1;
		p->visitors[i].watch.fd = -1;
		p->visitors[i].watch.ready = visitor_ready;
		eg_timer_init(&p->visitors[i].limit, visitor_slow);
	}
	p->listener = listen_at(o, e);
	ob->page = p;
	if (p->listener < 0)
		return p->listener;
	r = eg_watch_add(ob->s.loop, &p->watch, p->listener, EPOLLIN);
	return r ? eg_error_set(e, r, "metrics page: epoll failed") : 0;
}

void eg_observe_page_close(struct eg_observer *ob)
{
	struct eg_observe_page *p = ob->page;

	if (!p)
		return;
	for (size_t i = 0; i < VISITORS; i++)
		leave(&p->visitors[i]);
	eg_watch_remove(ob->s.loop, &p->watch);
	eg_fd_close(&p->listener);
	free(p);
	ob->page = NULL;
}
