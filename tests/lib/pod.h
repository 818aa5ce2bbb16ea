/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's connection to an h1_server of the plane, over loopback TCP. */
#ifndef EGRET_TESTS_POD_H
#define EGRET_TESTS_POD_H

#include "front/h1_server.h"
#include "plane.h"

struct pod {
	struct plane *plane;
	struct inbox in; /* the client's end */
	struct h1_server server;
	struct eg_stream *stream;
	struct eg_peer peer;
	bool over, reset;
};

PLANE void pod_over(void *ctx, bool reset)
{
	struct pod *pod = ctx;

	pod->over = true;
	pod->reset = reset;
	h1_server_fini(&pod->server, EG_REASON_CLIENT_CLOSED);
	if (reset)
		eg_stream_reset(pod->stream);
	else
		eg_stream_destroy(pod->stream);
}

PLANE void pod_event(struct eg_stream *s, unsigned int events, void *ctx)
{
	(void)s;
	(void)events;
	(void)ctx;
}

/* `server_name`: as if TLS had been ended for it (443); NULL: plain HTTP on port 80. */
PLANE void pod_open(struct pod *pod, struct plane *p, const char *server_name)
{
	static const struct eg_stream_handler handler = {pod_event};
	uint16_t port;
	int listener = plane_listen(&port), fd;

	*pod = (struct pod){.plane = p};
	inbox_init(&pod->in, plane_connect(port));
	fd = plane_accept(p, listener);
	close(listener);
	pod->stream = eg_stream_accept(p->loop, fd, &handler, pod);
	assert_non_null(pod->stream);
	pod->peer.source = (struct eg_endpoint){plane_address("127.0.0.1"), 40000};
	pod->peer.destination =
		(struct eg_endpoint){plane_address("198.51.100.10"), server_name ? 443 : 80};
	pod->peer.server_name = server_name;
	pod->peer.pod_uid = "uid-a";
	pod->peer.account = eg_account_acquire(&p->engine, 1);
	h1_server_init(&pod->server, &p->engine, &pod->peer, pod_over, pod);
	h1_server_begin(&pod->server, pod->stream);
}

PLANE void pod_send(struct pod *pod, const char *text)
{
	plane_send(pod->plane, pod->in.fd, text);
}

PLANE void pod_close(struct pod *pod)
{
	if (!pod->over) {
		h1_server_fini(&pod->server, EG_REASON_CLIENT_CLOSED);
		eg_stream_destroy(pod->stream);
	}
	eg_account_release(&pod->plane->engine, pod->peer.account);
	inbox_fini(&pod->in);
	plane_turns(pod->plane, 3);
}

#define HEADERS "Host: api.openai.com\r\nAuthorization: Bearer placeholder\r\n"
#define JSON	"Content-Type: application/json\r\n"
#define POST(body_length, more)                                                               \
	"POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON "Content-Length: " #body_length \
	"\r\n" more "\r\n"
/* 32 bytes */
#define BODY "{\"model\":\"gpt-4o\",\"messages\":[]}"
#define ASK  POST(32, "") BODY
#define OK(body_length, body)                                                                \
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " #body_length \
	"\r\n\r\n" body

#endif
