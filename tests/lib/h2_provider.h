/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider that speaks HTTP/2, by nghttp2's server side, over a socket that the test accepted. It
 * answers only what the test tells it to. Unit tests have no TLS towards it: the test that includes
 * this says in place of eg_stream_http2() that ALPN gave h2.
 */
#ifndef EGRET_TESTS_H2_PROVIDER_H
#define EGRET_TESTS_H2_PROVIDER_H

#include <nghttp2/nghttp2.h>

#include "plane.h"

/* A fault test, whose recv() and send() fail on demand, names the real ones. */
#ifndef H2P_RECV
#define H2P_RECV recv
#define H2P_SEND send
#endif

#define H2P	    __attribute__((unused)) static
#define H2P_STREAMS 128
#define H2P_FIELD(n, v)                                                              \
	{                                                                            \
		(uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), sizeof(n) - 1, \
			sizeof(v) - 1, NGHTTP2_NV_FLAG_NONE                          \
	}

static bool plane_http2 = true;
bool eg_stream_http2(const struct eg_stream *s)
{
	(void)s;
	return plane_http2;
}

void eg_stream_offer_http2(struct eg_stream *s)
{
	(void)s;
}

struct h2p_stream {
	int32_t id;
	char head[4096]; /* name: value\n */
	size_t head_n;
	char body[4096];
	size_t body_n; /* all of it; the first bytes are kept */
	bool ended, closed;
	uint32_t code; /* of the close */
	const char *answer;
	size_t answer_n, answer_at;
	bool answer_ends;	    /* no more will be added */
	const nghttp2_nv *trailers; /* that end the answer, set before it; NULL: none */
	size_t trailer_count;
};

struct h2p {
	int fd;
	nghttp2_session *session;
	struct h2p_stream stream[H2P_STREAMS];
	int count;
	bool end;
	unsigned int pings, goaways, never_indexed;
	uint32_t goaway_code;
};

H2P struct h2p_stream *h2p_find(struct h2p *s, int32_t id)
{
	for (int i = 0; i < s->count; i++)
		if (s->stream[i].id == id)
			return &s->stream[i];
	return NULL;
}

H2P struct h2p_stream *h2p_get(struct h2p *s, int32_t id)
{
	struct h2p_stream *t = h2p_find(s, id);

	if (!t)
		abort();
	return t;
}

static int h2p_on_begin(nghttp2_session *session, const nghttp2_frame *f, void *ctx)
{
	struct h2p *s = ctx;

	(void)session;
	assert_true(s->count < H2P_STREAMS);
	s->stream[s->count] = (struct h2p_stream){.id = f->hd.stream_id};
	s->count++;
	return 0;
}

static int h2p_on_header(nghttp2_session *session, const nghttp2_frame *f, const uint8_t *name,
			 size_t nn, const uint8_t *value, size_t vn, uint8_t flags, void *ctx)
{
	struct h2p_stream *t = h2p_get(ctx, f->hd.stream_id);
	int room = (int)(sizeof(t->head) - t->head_n);

	(void)session;
	if (flags & NGHTTP2_NV_FLAG_NO_INDEX)
		((struct h2p *)ctx)->never_indexed++;
	t->head_n += (size_t)snprintf(t->head + t->head_n, (size_t)room, "%.*s: %.*s\n", (int)nn,
				      name, (int)EG_MIN(vn, (size_t)1000), value);
	assert_true(t->head_n < sizeof(t->head));
	return 0;
}

static int h2p_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		       size_t n, void *ctx)
{
	struct h2p_stream *t = h2p_get(ctx, id);

	(void)session;
	(void)flags;
	if (t->body_n + n < sizeof(t->body))
		memcpy(t->body + t->body_n, data, n);
	t->body_n += n;
	return 0;
}

static int h2p_on_frame(nghttp2_session *session, const nghttp2_frame *f, void *ctx)
{
	struct h2p *s = ctx;
	struct h2p_stream *t = h2p_find(s, f->hd.stream_id);

	(void)session;
	if (t && f->hd.flags & NGHTTP2_FLAG_END_STREAM)
		t->ended = true;
	if (f->hd.type == NGHTTP2_PING && !(f->hd.flags & NGHTTP2_FLAG_ACK))
		s->pings++;
	if (f->hd.type == NGHTTP2_GOAWAY) {
		s->goaways++;
		s->goaway_code = f->goaway.error_code;
	}
	return 0;
}

static int h2p_on_close(nghttp2_session *session, int32_t id, uint32_t code, void *ctx)
{
	struct h2p_stream *t = h2p_find(ctx, id);

	(void)session;
	if (t) {
		t->closed = true;
		t->code = code;
	}
	return 0;
}

H2P void h2p_init_with(struct h2p *s, int fd, bool auto_window, const nghttp2_settings_entry *e,
		       size_t count)
{
	nghttp2_session_callbacks *call = NULL;
	nghttp2_option *option = NULL;

	memset(s, 0, sizeof(*s));
	s->fd = fd;
	assert_int_equal(nghttp2_session_callbacks_new(&call), 0);
	assert_int_equal(nghttp2_option_new(&option), 0);
	nghttp2_option_set_no_http_messaging(option, 1); /* it may answer nonsense */
	nghttp2_option_set_max_send_header_block_length(option, 1 << 20);
	nghttp2_option_set_no_auto_window_update(option, !auto_window);
	nghttp2_session_callbacks_set_on_begin_headers_callback(call, h2p_on_begin);
	nghttp2_session_callbacks_set_on_header_callback(call, h2p_on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(call, h2p_on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(call, h2p_on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(call, h2p_on_close);
	assert_int_equal(nghttp2_session_server_new2(&s->session, call, s, option), 0);
	assert_int_equal(nghttp2_submit_settings(s->session, 0, e, count), 0);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(call);
}

H2P void h2p_init(struct h2p *s, int fd)
{
	h2p_init_with(s, fd, true, NULL, 0);
}

H2P void h2p_fini(struct h2p *s)
{
	nghttp2_session_del(s->session);
	if (s->fd >= 0)
		close(s->fd);
}

H2P void h2p_write(struct h2p *s)
{
	const uint8_t *p;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(s->session, &p)) > 0) {
		ssize_t at = 0;

		for (int i = 0; at < n && i < 100000; i++) {
			ssize_t w = H2P_SEND(s->fd, p + at, (size_t)(n - at), MSG_NOSIGNAL);

			if (w < 0 && errno != EAGAIN)
				return;
			at += w > 0 ? w : 0;
		}
	}
}

/* Reads and writes what there is. */
H2P void h2p_poll(struct h2p *s)
{
	uint8_t bytes[65536];
	ssize_t n;

	while (!s->end && (n = H2P_RECV(s->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) >= 0) {
		if (!n || nghttp2_session_mem_recv(s->session, bytes, (size_t)n) < 0)
			s->end = true;
	}
	if (!s->end && errno != EAGAIN)
		s->end = true;
	h2p_write(s);
}

static ssize_t h2p_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
			uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
	struct h2p_stream *t = h2p_get(ctx, id);
	size_t n = EG_MIN(length, t->answer_n - t->answer_at);

	(void)source;
	memcpy(buf, t->answer + t->answer_at, n);
	t->answer_at += n;
	if (t->answer_ends && t->answer_at == t->answer_n) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (t->trailers) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			assert_int_equal(
				nghttp2_submit_trailer(session, id, t->trailers, t->trailer_count),
				0);
		}
	} else if (!n)
		return NGHTTP2_ERR_DEFERRED;
	return (ssize_t)n;
}

/* The head, and the body as far as it goes; `body` NULL: the head ends the stream. */
H2P void h2p_answer_n(struct h2p *s, int i, const nghttp2_nv *nv, size_t count, const char *body,
		      size_t n, bool ends)
{
	struct h2p_stream *t = &s->stream[i];
	nghttp2_data_provider from = {.read_callback = h2p_read};

	t->answer = body;
	t->answer_n = n;
	t->answer_ends = ends;
	assert_int_equal(nghttp2_submit_response(s->session, t->id, nv, count, body ? &from : NULL),
			 0);
	h2p_write(s);
}

H2P void h2p_answer(struct h2p *s, int i, const char *body, bool ends)
{
	static const nghttp2_nv ok[] = {H2P_FIELD(":status", "200"),
					H2P_FIELD("content-type", "application/json")};

	h2p_answer_n(s, i, ok, 2, body, strlen(body), ends);
}

/* Before the answer: what will end it. */
H2P void h2p_trailers(struct h2p *s, int i, const nghttp2_nv *nv, size_t count)
{
	s->stream[i].trailers = nv;
	s->stream[i].trailer_count = count;
}

/* More of an answer that was left open. */
H2P void h2p_more(struct h2p *s, int i, const char *body, bool ends)
{
	struct h2p_stream *t = &s->stream[i];

	t->answer = body;
	t->answer_at = 0;
	t->answer_n = strlen(body);
	t->answer_ends = ends;
	assert_int_equal(nghttp2_session_resume_data(s->session, t->id), 0);
	h2p_write(s);
}

H2P void h2p_reset(struct h2p *s, int i, uint32_t code)
{
	assert_int_equal(nghttp2_submit_rst_stream(s->session, 0, s->stream[i].id, code), 0);
	h2p_write(s);
}

H2P void h2p_goaway(struct h2p *s, int32_t last, uint32_t code)
{
	assert_int_equal(nghttp2_submit_goaway(s->session, 0, last, code, NULL, 0), 0);
	h2p_write(s);
}

/* Turns until so many requests have come whole. */
H2P void h2p_await(struct plane *p, struct h2p *s, int count)
{
	for (int i = 0; i < PLANE_TURNS; i++) {
		int whole = 0;

		h2p_poll(s);
		for (int j = 0; j < s->count; j++)
			whole += s->stream[j].ended;
		if (whole >= count)
			return;
		plane_turn(p);
	}
	fail_msg("%d requests came, awaited %d", s->count, count);
}

/* Both sides have their turns. */
H2P void h2p_turns(struct plane *p, struct h2p *s, int n)
{
	while (n--) {
		h2p_poll(s);
		plane_turns(p, 1);
	}
}

#endif
