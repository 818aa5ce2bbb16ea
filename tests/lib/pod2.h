/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod's connection to an h2_server of the plane, over loopback TCP: a client by nghttp2, or raw
 * frames where a client of nghttp2's would not do such a thing.
 */
#ifndef EGRET_TESTS_POD2_H
#define EGRET_TESTS_POD2_H

#include "front/h2_server.h"
#include "h2_frames.h"
#include "plane.h"

#define POD2_REPLIES 128

struct reply {
	int32_t id;
	unsigned int status, interim; /* interim: of a 1xx head */
	char head[8192];	      /* "name: value\n" each */
	char trailers[8192];	      /* likewise */
	char never_indexed[1024];     /* "name\n" each, of both */
	bool in_head;		      /* the block has a :status */
	bool head_ended;	      /* END_STREAM came with the head */
	char *body;
	size_t n;
	bool ended, closed;
	uint32_t error; /* of the close */
};

struct pod2 {
	struct plane *plane;
	struct inbox in; /* the client's end; raw frames when there is no client */
	struct h2_server server;
	struct eg_stream *stream;
	struct eg_peer peer;
	bool over, reset;
	nghttp2_session *client;
	struct reply reply[POD2_REPLIES];
	int replies;
	struct reply none; /* of a stream that nobody asked on */
	bool goaway;
	uint32_t goaway_error;
	uint8_t ping[8];
	int pings; /* that want an answer, when the client gives none by itself */
	const char *upload;
	size_t upload_n;
	bool upload_pause; /* the upload never ends by itself */
};

PLANE void pod2_over(void *ctx, bool reset)
{
	struct pod2 *pod = ctx;

	pod->over = true;
	pod->reset = reset;
	h2_server_fini(&pod->server, EG_REASON_CLIENT_CLOSED);
	if (reset)
		eg_stream_reset(pod->stream);
	else
		eg_stream_destroy(pod->stream);
}

PLANE void pod2_event(struct eg_stream *s, unsigned int events, void *ctx)
{
	(void)s;
	(void)events;
	(void)ctx;
}

/* ---- the client ---- */

PLANE struct reply *pod2_reply(struct pod2 *pod, int32_t id)
{
	for (int i = 0; i < pod->replies; i++)
		if (pod->reply[i].id == id)
			return &pod->reply[i];
	return &pod->none;
}

PLANE int pod2_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
			 size_t name_length, const uint8_t *value, size_t value_length,
			 uint8_t flags, void *ctx)
{
	struct reply *r = pod2_reply(ctx, frame->hd.stream_id);
	char *to;
	size_t n;

	if (name_length == 7 && !memcmp(name, ":status", 7)) {
		r->interim = r->status;
		r->status = (unsigned int)atoi((const char *)value);
		r->in_head = true;
	}
	if (flags & NGHTTP2_NV_FLAG_NO_INDEX) {
		n = strlen(r->never_indexed);
		snprintf(r->never_indexed + n, sizeof(r->never_indexed) - n, "%.*s\n",
			 (int)name_length, (const char *)name);
	}
	to = r->in_head ? r->head : r->trailers;
	n = strlen(to);
	snprintf(to + n, sizeof(r->head) - n, "%.*s: %.*s\n", (int)name_length, (const char *)name,
		 (int)value_length, (const char *)value);
	(void)session;
	return 0;
}

PLANE int pod2_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		       size_t n, void *ctx)
{
	struct reply *r = pod2_reply(ctx, id);

	r->body = realloc(r->body, r->n + n + 1);
	memcpy(r->body + r->n, data, n);
	r->n += n;
	r->body[r->n] = '\0';
	(void)session;
	(void)flags;
	return 0;
}

PLANE int pod2_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct reply *r = pod2_reply(ctx, frame->hd.stream_id);
	struct pod2 *pod = ctx;

	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM && frame->hd.type < 2)
		r->ended = true;
	if (frame->hd.type == NGHTTP2_HEADERS) {
		r->head_ended = r->in_head && r->ended;
		r->in_head = false;
	}
	if (frame->hd.type == NGHTTP2_GOAWAY) {
		pod->goaway = true;
		pod->goaway_error = frame->goaway.error_code;
	}
	if (frame->hd.type == NGHTTP2_PING && !(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
		memcpy(pod->ping, frame->ping.opaque_data, 8);
		pod->pings++;
	}
	(void)session;
	return 0;
}

PLANE int pod2_on_close(nghttp2_session *session, int32_t id, uint32_t error, void *ctx)
{
	struct reply *r = pod2_reply(ctx, id);

	r->closed = true;
	r->error = error;
	(void)session;
	return 0;
}

PLANE ssize_t pod2_read(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
			uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
	struct pod2 *pod = ctx;
	size_t n = EG_MIN(room, pod->upload_n);

	(void)session;
	(void)id;
	(void)source;
	memcpy(to, pod->upload, n);
	pod->upload += n;
	pod->upload_n -= n;
	if (!pod->upload_n && !pod->upload_pause)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	else if (!n)
		return NGHTTP2_ERR_DEFERRED;
	return (ssize_t)n;
}

PLANE void pod2_client(struct pod2 *pod, uint32_t window, bool pongs)
{
	nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window}};
	nghttp2_session_callbacks *c;
	nghttp2_option *o;

	assert_int_equal(nghttp2_option_new(&o), 0);
	nghttp2_option_set_no_auto_ping_ack(o, !pongs);
	nghttp2_option_set_max_send_header_block_length(o, 1 << 20);
	nghttp2_option_set_no_auto_window_update(o, window < 65535);
	assert_int_equal(nghttp2_session_callbacks_new(&c), 0);
	nghttp2_session_callbacks_set_on_header_callback(c, pod2_on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, pod2_on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, pod2_on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, pod2_on_close);
	assert_int_equal(nghttp2_session_client_new2(&pod->client, c, pod, o), 0);
	nghttp2_session_callbacks_del(c);
	nghttp2_option_del(o);
	assert_int_equal(nghttp2_submit_settings(pod->client, 0, settings, 1), 0);
}

/* The client reads and writes what it can. */
PLANE void pod2_client_turn(struct pod2 *pod)
{
	const uint8_t *p;
	ssize_t n;

	inbox_poll(&pod->in);
	if (pod->in.n)
		assert_int_equal(
			nghttp2_session_mem_recv(pod->client, (uint8_t *)pod->in.text, pod->in.n),
			pod->in.n);
	inbox_forget(&pod->in);
	while (!pod->in.end && !pod->in.reset &&
	       (n = nghttp2_session_mem_send(pod->client, &p)) > 0)
		while (n > 0) {
			ssize_t w = send(pod->in.fd, p, (size_t)n, MSG_NOSIGNAL);

			if (w < 0 && errno == EAGAIN) {
				plane_turn(pod->plane);
				continue;
			}
			if (w < 0)
				return; /* it is over */
			p += w;
			n -= w;
		}
}

PLANE void pod2_turn(struct pod2 *pod)
{
	pod2_client_turn(pod);
	plane_turn(pod->plane);
	pod2_client_turn(pod);
}

PLANE void pod2_turns(struct pod2 *pod, int n)
{
	while (n--) {
		pod2_client_turn(pod);
		plane_turns(pod->plane, 1);
	}
	pod2_client_turn(pod);
}

#define POD2_AWAIT(pod, condition)                                                 \
	do {                                                                       \
		int left_ = PLANE_TURNS;                                           \
		while (!(condition) && left_--)                                    \
			pod2_turn(pod);                                            \
		if (!(condition))                                                  \
			fail_msg("%d: awaited in vain: %s", __LINE__, #condition); \
	} while (0)

PLANE nghttp2_nv pod2_nv(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
			    strlen(value), NGHTTP2_NV_FLAG_NONE};
}

/* `more`: name, value, ..., NULL. `body` NULL: the head ends the stream. */
PLANE int32_t pod2_ask(struct pod2 *pod, const char *method, const char *path, const char *body,
		       const char *const *more)
{
	bool tls = pod->peer.server_name;
	nghttp2_data_provider data = {.read_callback = pod2_read};
	nghttp2_nv nv[64] = {
		pod2_nv(":method", method),
		pod2_nv(":scheme", tls ? "https" : "http"),
		pod2_nv(":authority", tls ? pod->peer.server_name : "198.51.100.10"),
		pod2_nv(":path", path),
		pod2_nv("authorization", "Bearer placeholder"),
		pod2_nv("content-type", "application/json"),
	};
	struct reply *r = &pod->reply[pod->replies];
	size_t n = 6;

	assert_true(pod->replies < POD2_REPLIES);
	for (; more && *more; more += 2)
		nv[n++] = pod2_nv(more[0], more[1]);
	if (body) {
		pod->upload = body;
		pod->upload_n = strlen(body);
	}
	*r = (struct reply){0};
	r->id = nghttp2_submit_request(pod->client, NULL, nv, n, body ? &data : NULL, NULL);
	assert_true(r->id > 0);
	pod->replies++;
	/* One upload at a time: it is read now. */
	pod2_client_turn(pod);
	return r->id;
}

/* As a gRPC client begins a call. `body` NULL: nothing follows; `pause`: it does not end. */
PLANE struct reply *pod2_grpc(struct pod2 *pod, const char *authority, const char *path,
			      const char *type, const char *body, bool pause)
{
	nghttp2_data_provider data = {.read_callback = pod2_read};
	nghttp2_nv nv[] = {
		pod2_nv(":method", "POST"),
		pod2_nv(":scheme", pod->peer.server_name ? "https" : "http"),
		pod2_nv(":path", path),
		pod2_nv(":authority", authority),
		pod2_nv("te", "trailers"),
		pod2_nv("content-type", type),
		pod2_nv("grpc-timeout", "5S"),
	};
	struct reply *r = &pod->reply[pod->replies++];

	*r = (struct reply){0};
	pod->upload = body;
	pod->upload_n = body ? strlen(body) : 0;
	pod->upload_pause = pause;
	r->id = nghttp2_submit_request(pod->client, NULL, nv, EG_ARRAY_SIZE(nv),
				       body ? &data : NULL, NULL);
	assert_true(r->id > 0);
	pod2_client_turn(pod);
	return r;
}

/* ---- raw frames ---- */

PLANE void raw_frame(struct pod2 *pod, uint8_t type, uint8_t flags, uint32_t id,
		     const void *payload, size_t n)
{
	char head[9] = {(char)(n >> 16),  (char)(n >> 8),  (char)n,
			(char)type,	  (char)flags,	   (char)(id >> 24),
			(char)(id >> 16), (char)(id >> 8), (char)id};

	if (pod->over)
		return;
	plane_send_n(pod->plane, pod->in.fd, head, 9);
	plane_send_n(pod->plane, pod->in.fd, payload ? payload : "", n);
}

#define RAW_HEAD                                                         \
	":method|POST\n:scheme|https\n:authority|api.openai.com\n"       \
	":path|/v1/chat/completions\nauthorization|Bearer placeholder\n" \
	"content-type|application/json\n"

PLANE void raw_headers(struct pod2 *pod, uint32_t id, const char *fields, bool end)
{
	char block[4096];
	size_t n = raw_block(block, fields);

	raw_frame(pod, NGHTTP2_HEADERS,
		  (uint8_t)(NGHTTP2_FLAG_END_HEADERS | (end ? NGHTTP2_FLAG_END_STREAM : 0)), id,
		  block, n);
}

PLANE void raw_begin(struct pod2 *pod)
{
	plane_send(pod->plane, pod->in.fd, H2_PREFACE.p);
	raw_frame(pod, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
}

/* The payload of the first such frame that came (id 0: of any stream), or NULL. */
PLANE const unsigned char *raw_find(struct pod2 *pod, uint8_t type, uint32_t id)
{
	const unsigned char *p = (const unsigned char *)pod->in.text;
	size_t at = 0;

	inbox_poll(&pod->in);
	p = (const unsigned char *)pod->in.text;
	while (at + 9 <= pod->in.n) {
		size_t n = (size_t)p[at] << 16 | (size_t)p[at + 1] << 8 | p[at + 2];
		uint32_t of = (uint32_t)p[at + 5] << 24 | (uint32_t)p[at + 6] << 16 |
			      (uint32_t)p[at + 7] << 8 | p[at + 8];

		if (at + 9 + n > pod->in.n)
			return NULL;
		if (p[at + 3] == type && (!id || of == id))
			return p + at + 9;
		at += 9 + n;
	}
	return NULL;
}

PLANE const unsigned char *raw_await(struct pod2 *pod, uint8_t type, uint32_t id)
{
	for (int i = 0; i < PLANE_TURNS; i++) {
		const unsigned char *p = raw_find(pod, type, id);

		if (p)
			return p;
		if (pod->in.end || pod->in.reset)
			break;
		plane_turn(pod->plane);
	}
	fail_msg("no frame of type %u came on stream %u", type, id);
	return NULL;
}

/* ---- life ---- */

/* `server_name`: as if TLS had been ended for it (443); NULL: plain HTTP on port 80. */
PLANE void pod2_open(struct pod2 *pod, struct plane *p, const char *server_name)
{
	static const struct eg_stream_handler handler = {pod2_event};
	uint16_t port;
	int listener = plane_listen(&port), fd;

	*pod = (struct pod2){.plane = p};
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
	h2_server_init(&pod->server, &p->engine, &pod->peer, pod2_over, pod);
}

PLANE void pod2_begin(struct pod2 *pod)
{
	assert_int_equal(h2_server_begin(&pod->server, pod->stream), 0);
}

PLANE void pod2_close(struct pod2 *pod)
{
	if (!pod->over) {
		h2_server_fini(&pod->server, EG_REASON_CLIENT_CLOSED);
		eg_stream_destroy(pod->stream);
	}
	eg_account_release(&pod->plane->engine, pod->peer.account);
	nghttp2_session_del(pod->client);
	for (int i = 0; i < pod->replies; i++)
		free(pod->reply[i].body);
	free(pod->none.body);
	inbox_fini(&pod->in);
	plane_turns(pod->plane, 3);
}

#define BODY "{\"model\":\"gpt-4o\",\"messages\":[]}"
#define OK(body_length, body)                                                                \
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " #body_length \
	"\r\n\r\n" body

#endif
