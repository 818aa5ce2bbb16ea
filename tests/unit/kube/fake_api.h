/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An API server on the test's own loop: TLS by a CA of its own at a port of 127.0.0.1, one request
 * a connection. What it answers is the test's business: `answer` is called for each request whose
 * head is whole, and writes what it likes, now or later.
 */
#ifndef EGRET_TESTS_FAKE_API_H
#define EGRET_TESTS_FAKE_API_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../net/certs.h" /* needs cmocka */
#include "net/stream.h"
#include "net/tls.h"
#include "proto/chunked.h"

struct api_conn {
	struct eg_list link;
	struct eg_stream *stream; /* NULL: over */
	struct eg_buf in, out;
	bool asked; /* the head is whole */
	bool end;   /* close when all is written */
	char target[512], token[64], host[64];
	bool pods; /* else namespaces */
};

struct api {
	struct eg_loop *loop;
	struct eg_watch listener;
	uint16_t port;
	struct made ca, cert;
	struct eg_tls_server *tls;
	struct eg_leaf *leaf;
	struct eg_list conns; /* newest last; they stay until the end, so that a test may look */
	size_t requests;
	bool plain_garbage; /* it speaks something else than TLS */
	void (*answer)(struct api *a, struct api_conn *c);
};

static void api_close(struct api_conn *c)
{
	if (c->stream)
		eg_stream_destroy(c->stream);
	c->stream = NULL;
}

__attribute__((unused)) static void api_reset(struct api_conn *c)
{
	if (c->stream)
		eg_stream_reset(c->stream);
	c->stream = NULL;
}

static void api_flush(struct api_conn *c)
{
	while (c->stream && c->out.length) {
		struct iovec v = {eg_buf_data(&c->out), c->out.length};
		size_t written = 0;
		enum eg_io r = eg_stream_write(c->stream, &v, 1, &written);

		eg_buf_consume(&c->out, written);
		if (r == EG_IO_DONE)
			continue;
		if (r == EG_IO_AGAIN)
			eg_stream_want(c->stream, true, true);
		else
			api_close(c);
		return;
	}
	if (c->stream && c->end)
		api_close(c);
}

static void api_send(struct api_conn *c, struct eg_str bytes)
{
	if (!c->stream)
		return;
	assert_int_equal(eg_buf_append_str(&c->out, bytes), 0);
	api_flush(c);
}

__attribute__((unused)) static void api_say(struct api_conn *c, const char *text)
{
	api_send(c, eg_str_from(text));
}

__attribute__((unused)) static void api_end(struct api_conn *c)
{
	c->end = true;
	api_flush(c);
}

#define API_OK \
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"

/* A line of a watch, as a chunk of its own. */
__attribute__((unused)) static void api_line(struct api_conn *c, const char *line)
{
	char head[EG_CHUNK_HEAD_MAX];

	api_send(c, (struct eg_str){head, eg_chunked_head(head, strlen(line) + 1)});
	api_say(c, line);
	api_say(c, "\n\r\n");
}

/* A whole answer with a length. */
__attribute__((unused)) static void api_answer(struct api_conn *c, const char *status,
					       const char *fields, const char *body)
{
	char head[400];

	snprintf(head, sizeof(head),
		 "HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n",
		 status, fields, strlen(body));
	api_say(c, head);
	api_say(c, body);
}

static void copy_field(struct api_conn *c, const char *name, char *out, size_t cap)
{
	char *at = memmem(eg_buf_data(&c->in), c->in.length, name, strlen(name));

	if (at) {
		at += strlen(name);
		eg_str_copy(out, cap, (struct eg_str){at, strcspn(at, "\r\n")});
	}
}

static void api_event(struct eg_stream *s, unsigned int events, void *ctx);
static const struct eg_stream_handler api_handler = {api_event};
static struct api *the_api;

static void api_event(struct eg_stream *s, unsigned int events, void *ctx)
{
	struct api_conn *c = ctx;
	const char *at;

	if (events & EG_STREAM_FAILED) {
		api_close(c);
		return;
	}
	if (events & EG_STREAM_WRITE) {
		eg_stream_want(s, true, false);
		api_flush(c);
	}
	if (!c->stream || !(events & EG_STREAM_READ))
		return;
	switch (eg_stream_read(s, &c->in, 65536)) {
	case EG_IO_AGAIN:
		return;
	case EG_IO_DONE:
		break;
	case EG_IO_EOF:
	case EG_IO_FAIL:
		api_close(c);
		return;
	}
	assert_int_equal(eg_buf_append(&c->in, "", 1), 0); /* NUL, for strstr() */
	c->in.length--;
	at = eg_buf_data(&c->in);
	if (c->asked || !strstr(at, "\r\n\r\n"))
		return;
	c->asked = true;
	assert_memory_equal(at, "GET /", 5);
	eg_str_copy(c->target, sizeof(c->target), (struct eg_str){at + 4, strcspn(at + 4, " ")});
	assert_memory_equal(at + 4 + strlen(c->target), " HTTP/1.1\r\n", 11);
	copy_field(c, "\r\nAuthorization: Bearer ", c->token, sizeof(c->token));
	copy_field(c, "\r\nHost: ", c->host, sizeof(c->host));
	c->pods = !strncmp(c->target, "/api/v1/pods?", 13);
	assert_true(c->pods || !strncmp(c->target, "/api/v1/namespaces?", 19));
	the_api->requests++;
	the_api->answer(the_api, c);
}

static void api_accept(struct eg_watch *w, uint32_t events)
{
	struct api *a = eg_container_of(w, struct api, listener);
	int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct api_conn *c = calloc(1, sizeof(*c));

	assert_true(fd >= 0);
	eg_buf_init(&c->in, 1 << 20);
	eg_buf_init(&c->out, 512u << 20);
	eg_list_append(&a->conns, &c->link);
	c->stream = eg_stream_accept(a->loop, fd, &api_handler, c);
	assert_non_null(c->stream);
	if (a->plain_garbage) {
		api_say(c, "SSH-2.0-OpenSSH_9.2\r\n");
		return;
	}
	assert_int_equal(eg_stream_tls_accept(c->stream, a->tls, a->leaf, "api"), 0);
	eg_stream_want(c->stream, true, false);
}

/* What it shows of itself from now on. */
static void api_certify(struct api *a, const char *san)
{
	struct eg_error e = {""};
	struct eg_buf cert, key;

	eg_leaf_unref(a->leaf);
	unmake(&a->cert);
	a->cert = make_cert("kube-apiserver", san, &a->ca, -3600, 3600);
	eg_buf_init(&cert, 1 << 16);
	eg_buf_init(&key, 1 << 16);
	cert_pem(&cert, a->cert.cert);
	key_pem(&key, a->cert.key);
	a->leaf = eg_leaf_create_pem("api", eg_buf_str(&cert), eg_buf_str(&key), &e);
	assert_string_equal(e.text, "");
	eg_buf_fini(&cert);
	eg_buf_fini(&key);
}

static void api_listen(struct api *a)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons(a->port)};
	socklen_t n = sizeof(in);
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
	a->port = ntohs(in.sin_port);
	a->listener.ready = api_accept;
	assert_int_equal(eg_watch_add(a->loop, &a->listener, fd, EPOLLIN), 0);
}

static void api_deaf(struct api *a)
{
	int fd = a->listener.fd;

	if (fd < 0)
		return;
	eg_watch_remove(a->loop, &a->listener);
	close(fd);
	a->listener.fd = -1;
}

static void api_start(struct api *a, struct eg_loop *l,
		      void (*answer)(struct api *a, struct api_conn *c))
{
	memset(a, 0, sizeof(*a));
	the_api = a;
	a->loop = l;
	a->answer = answer;
	eg_list_init(&a->conns);
	a->ca = make_cert("fake cluster", NULL, NULL, -3600, 3600);
	a->tls = eg_tls_server_create(NULL);
	assert_non_null(a->tls);
	api_certify(a, "IP:127.0.0.1,DNS:kubernetes.default.svc");
	api_listen(a);
}

static void api_stop(struct api *a)
{
	struct eg_list *i, *next;

	eg_list_for_each_safe (i, next, &a->conns) {
		struct api_conn *c = eg_container_of(i, struct api_conn, link);

		api_close(c);
		eg_buf_fini(&c->in);
		eg_buf_fini(&c->out);
		eg_list_remove(&c->link);
		free(c);
	}
	api_deaf(a);
	eg_leaf_unref(a->leaf);
	eg_tls_server_destroy(a->tls);
	unmake(&a->cert);
	unmake(&a->ca);
}

/* The newest connection for that kind which is open and has asked; NULL: none. */
__attribute__((unused)) static struct api_conn *api_watch(struct api *a, bool pods)
{
	struct eg_list *i;

	for (i = a->conns.prev; i != &a->conns; i = i->prev) {
		struct api_conn *c = eg_container_of(i, struct api_conn, link);

		if (c->asked && c->stream && c->pods == pods)
			return c;
	}
	return NULL;
}

#endif
