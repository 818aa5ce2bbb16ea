/* SPDX-License-Identifier: Apache-2.0 */
/* What nghttp2 asks and tells of a connection to a provider; h2_conn.c calls it with bytes. */
#include "upstream/h2_conn.h"
#include "upstream/h2_continuations.h"
#include "upstream/h2_mem.h"
#include "upstream/h2_unknown.h"

/* ---- out ---- */

/* The first `length` bytes of the body's pieces; returns how many pieces. */
static int limit_pieces(struct iovec *v, int n, size_t length)
{
	for (int i = 0; i < n; i++) {
		v[i].iov_len = EG_MIN(v[i].iov_len, length);
		length -= v[i].iov_len;
	}
	return length ? -1 : n;
}

static void earn(struct eg_h2_conn *h, unsigned int frames)
{
	h->earned = EG_MIN(h->earned + frames, H2_EARNED_MAX);
}

/* Small frames of one turn share a record: each of its own would cost more than the copy. */
static int gather(struct eg_h2_conn *h, const struct iovec *v, int n)
{
	int r = 0;

	for (int i = 0; i < n && !r; i++)
		r = eg_buf_append(&h->out, v[i].iov_base, v[i].iov_len);
	return r;
}

/* A DATA frame: a large one goes straight from the owner's memory into the stream. */
static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
		     size_t length, nghttp2_data_source *source, void *ctx)
{
	struct eg_h2_conn *h = ctx;
	struct eg_h2_call *c = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	struct iovec v[EG_CALL_SEGMENTS + 1];
	bool last;
	int n;

	(void)source;
	if (h->blocked)
		return NGHTTP2_ERR_WOULDBLOCK;
	if (!c)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* ended meanwhile */
	v[0] = (struct iovec){(void *)(uintptr_t)head, 9};
	n = limit_pieces(v + 1, c->base.ops->body(c->base.ctx, v + 1, &last), length);
	if (n < 0)
		return NGHTTP2_ERR_CALLBACK_FAILURE; /* the owner took bytes back */
	if (length <= H2_GATHER_BYTES) {
		if (gather(h, v, n + 1))
			return NGHTTP2_ERR_CALLBACK_FAILURE;
	} else if (!h2_conn_write(h, v, n + 1)) {
		h->write_failed = true;
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	earn(h, H2_EARN_DATA);
	if (length)
		c->base.ops->body_sent(c->base.ctx, length);
	/* The owner may have ended the call. */
	c = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (c && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		h2_call_request_sent(c);
	return 0;
}

static ssize_t frame_bytes(nghttp2_session *session, uint8_t type, int32_t id, int32_t window,
			   int32_t stream_window, uint32_t max_frame, void *ctx)
{
	int32_t n = EG_MIN(window, stream_window);

	(void)session;
	(void)type;
	(void)id;
	(void)ctx;
	return EG_MIN((ssize_t)n, (ssize_t)EG_MIN((uint32_t)H2_FRAME_BYTES, max_frame));
}

/* ---- in ---- */

void h2_session_end_run(struct eg_h2_conn *h)
{
	struct eg_h2_call *c = h->run_of;

	h->run_of = NULL;
	if (c)
		h2_call_data(c, (struct eg_str){h->run, h->run_length});
}

static struct eg_h2_call *call_of(struct eg_h2_conn *h, int32_t id)
{
	return id > 0 ? nghttp2_session_get_stream_user_data(h->session, id) : NULL;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct eg_h2_conn *h = ctx;
	struct eg_h2_call *c;

	(void)session;
	h2_session_end_run(h);
	c = call_of(h, frame->hd.stream_id);
	if (c)
		h2_call_headers_begin(c);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
		     void *ctx)
{
	struct eg_h2_call *c = call_of(ctx, frame->hd.stream_id);

	(void)session;
	(void)flags;
	if (c)
		(void)h2_call_header(c, (struct eg_str){(const char *)name, name_length},
				     (struct eg_str){(const char *)value, value_length});
	return 0;
}

/* A field that nghttp2 would leave out in silence. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
			     const uint8_t *name, size_t name_length, const uint8_t *value,
			     size_t value_length, uint8_t flags, void *ctx)
{
	(void)session;
	(void)frame;
	(void)name;
	(void)name_length;
	(void)value;
	(void)value_length;
	(void)flags;
	(void)ctx;
	return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* the stream is reset */
}

/* Of a call's own, or paid for by what was sent (h2_conn.h). */
static bool is_paid(struct eg_h2_conn *h, int32_t id)
{
	if (call_of(h, id))
		return true;
	if (!h->earned)
		return false;
	h->earned--;
	return true;
}

/* What costs us an answer, or brings nothing: a provider gets so many in a while. Heads and ends of
 * a call are bounded by what they are for. */
static bool counts(struct eg_h2_conn *h, const nghttp2_frame_hd *hd)
{
	bool last = hd->flags & NGHTTP2_FLAG_END_STREAM;

	h->only_padding = false;
	switch (hd->type) {
	case NGHTTP2_DATA:
		if (last)
			return !is_paid(h, hd->stream_id);
		h->only_padding = hd->flags & NGHTTP2_FLAG_PADDED; /* or so it seems: on_data() */
		return !hd->length || h->only_padding;
	case NGHTTP2_HEADERS:
	case NGHTTP2_CONTINUATION:
	case NGHTTP2_RST_STREAM:
		return !is_paid(h, hd->stream_id);
	case NGHTTP2_PING: /* gRPC's servers measure with one for each DATA frame */
		return hd->flags & NGHTTP2_FLAG_ACK || !is_paid(h, 0);
	case NGHTTP2_WINDOW_UPDATE:
		return !is_paid(h, 0);
	default:
		return true;
	}
}

static bool flooded(struct eg_h2_conn *h)
{
	uint64_t now = eg_loop_now_ms(h->conn->owner->o.loop);

	if (now - h->control_since_ms > H2_CONTROL_MS) {
		h->control_since_ms = now;
		h->control = 0;
	}
	return ++h->control > H2_CONTROL_MAX;
}

/* More than the answer's length allows: none of it is passed on. nghttp2 says so of a piece of the
 * frame, so that what had come before would depend on where TCP cut it. */
static void look_at_length(struct eg_h2_conn *h, const nghttp2_frame_hd *hd)
{
	struct eg_h2_call *c = hd->type == NGHTTP2_DATA ? call_of(h, hd->stream_id) : NULL;
	size_t least = hd->length, waits;

	if (!c)
		return;
	if (hd->flags & NGHTTP2_FLAG_PADDED) /* with its length, 256 bytes at most */
		least -= EG_MIN(least, (size_t)256);
	waits = h->run_of == c ? h->run_length : 0;
	if (!h2_call_overruns(c, waits + least))
		return;
	h2_session_end_run(h);
	if (call_of(h, hd->stream_id) == c)
		h2_call_overrun(c);
}

/*
 * nghttp2 drops DATA of streams that are over and tells nobody; what shows is the connection's
 * window, which it opens again for them. What was on its way when a call was given up is no more
 * than that stream's window (h2_call.c).
 */
bool h2_session_flooded_with_data(const struct eg_h2_conn *h)
{
	return h->opened > h->data + h->late;
}

/* Also of frames that nghttp2 ignores and tells nothing more of. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *ctx)
{
	struct eg_h2_conn *h = ctx;

	(void)session;
	if (!h2_continuations_allow(&h->continuations, hd->type))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (hd->type == NGHTTP2_DATA)
		h->data += hd->length;
	if (counts(ctx, hd) && flooded(ctx))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	look_at_length(h, hd);
	return 0;
}

/* What it allows now is the best guess for the origin's next connection, too. */
static void take_settings(struct eg_h2_conn *h)
{
	stream_limit_set(&h->conn->owner->stream_limits, h->conn->origin->hash,
			 h2_conn_stream_limit(h));
	h2_conn_settle(h);
	upstream_tell_waiting(h->conn->owner, h->conn->origin);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct eg_h2_conn *h = ctx;
	bool last = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	struct eg_h2_call *c;

	(void)session;
	if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
		take_settings(h);
	if (frame->hd.type == NGHTTP2_GOAWAY)
		h2_conn_drain(h);
	if (last || frame->hd.type == NGHTTP2_HEADERS)
		h2_session_end_run(h);
	c = call_of(h, frame->hd.stream_id);
	if (c && frame->hd.type == NGHTTP2_HEADERS)
		h2_call_headers_end(c, last);
	else if (c && frame->hd.type == NGHTTP2_DATA && last)
		h2_call_ended(c);
	else if (c && frame->hd.type == NGHTTP2_RST_STREAM)
		c->peer_reset = true;
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t n, void *ctx)
{
	struct eg_h2_conn *h = ctx;
	struct eg_h2_call *c = call_of(h, id);

	(void)flags;
	if (n && h->only_padding) {
		h->only_padding = false;
		h->control -= h->control > 0;
	}
	/* Out of memory: the window is opened again with the next bytes. */
	(void)nghttp2_session_consume_connection(session, n);
	if (!c)
		return 0;
	if (h->run_of != c)
		h2_session_end_run(h);
	if (!n || call_of(h, id) != c)
		return 0;
	if (!h->run_of) {
		h->run_of = c;
		h->run = (char *)(uintptr_t)data; /* it lies in our own buffer, and was read */
		h->run_length = 0;
	} else {
		memmove(h->run + h->run_length, data, n);
	}
	h->run_length += n;
	return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct eg_h2_conn *h = ctx;
	struct eg_h2_call *c = call_of(h, frame->hd.stream_id);

	(void)session;
	if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
		h->violated = true;
	if (frame->hd.type == NGHTTP2_WINDOW_UPDATE && !frame->hd.stream_id)
		h->opened += (uint32_t)frame->window_update.window_size_increment;
	if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	h->streams++;
	earn(h, H2_EARN_STREAM);
	if (c)
		c->open = h->streams;
	if (c)
		h2_call_head_sent(c);
	return 0;
}

static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error,
			     void *ctx)
{
	struct eg_h2_call *c = call_of(ctx, frame->hd.stream_id);

	(void)session;
	(void)error;
	if (c && frame->hd.type == NGHTTP2_HEADERS)
		h2_call_failed(c, EG_CALL_LOSS_UNPROCESSED, EG_REASON_UPSTREAM_RESET,
			       "the provider takes no more streams on this connection");
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *ctx)
{
	struct eg_h2_conn *h = ctx;
	struct eg_h2_call *c;

	h2_session_end_run(h);
	if (nghttp2_session_find_stream(session, id) && h->streams)
		h->streams--; /* else: it was cancelled before it was sent */
	c = call_of(h, id);
	if (!c)
		return 0;
	if (!c->base.first_byte_seen && code == NGHTTP2_REFUSED_STREAM) {
		upstream_count(h->conn->owner, EG_COUNT_UPSTREAM_STREAMS_REFUSED);
		c->base.over_limit = c->open > h2_conn_stream_limit(h);
		h2_call_failed(c, EG_CALL_LOSS_UNPROCESSED, EG_REASON_UPSTREAM_RESET,
			       "the provider refused the stream");
	} else if (!c->base.first_byte_seen && code == NGHTTP2_HTTP_1_1_REQUIRED) {
		upstream_keep_http1(h->conn->owner, h->conn->origin);
		h2_conn_drain(h);
		h2_call_failed(c, EG_CALL_LOSS_UNPROCESSED, EG_REASON_UPSTREAM_RESET,
			       "the provider wants HTTP/1.1");
	} else if (c->peer_reset || code == NGHTTP2_NO_ERROR) {
		h2_call_failed(c, EG_CALL_LOSS_STREAM, EG_REASON_UPSTREAM_RESET,
			       c->base.first_byte_seen
				       ? "the provider reset the stream inside its answer"
				       : "the provider reset the stream before it answered");
	} else {
		h2_call_failed(c, EG_CALL_LOSS_STREAM, EG_REASON_UPSTREAM_PROTOCOL,
			       "the answer is not valid HTTP/2");
	}
	return 0;
}

/* ---- life ---- */

nghttp2_session *h2_conn_session_create(struct eg_h2_conn *h)
{
	static const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 64 * 1024},
	};
	nghttp2_session_callbacks *call = NULL;
	nghttp2_option *option = NULL;
	nghttp2_session *s = NULL;
	nghttp2_mem mem = h2_mem();

	if (nghttp2_session_callbacks_new(&call) || nghttp2_option_new(&option))
		goto out;
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_max_send_header_block_length(option, 2 * EG_CALL_HEAD_CAP);
	nghttp2_option_set_peer_max_concurrent_streams(option, H2_STREAMS_MAX);
	h2_continuations_option(option);
	h2_unknown_option(option);
	h2_unknown_callbacks(call);
	nghttp2_session_callbacks_set_send_data_callback(call, send_data);
	nghttp2_session_callbacks_set_data_source_read_length_callback(call, frame_bytes);
	nghttp2_session_callbacks_set_on_begin_frame_callback(call, on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(call, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(call, on_header);
	nghttp2_session_callbacks_set_on_invalid_header_callback(call, on_invalid_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(call, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(call, on_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(call, on_frame_send);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(call, on_frame_not_send);
	nghttp2_session_callbacks_set_on_stream_close_callback(call, on_stream_close);
	if (nghttp2_session_client_new3(&s, call, h, option, &mem)) {
		s = NULL;
		goto out;
	}
	if (nghttp2_submit_settings(s, NGHTTP2_FLAG_NONE, settings, EG_ARRAY_SIZE(settings)) ||
	    nghttp2_session_set_local_window_size(s, NGHTTP2_FLAG_NONE, 0, H2_CONN_WINDOW)) {
		nghttp2_session_del(s);
		s = NULL;
	}
out:
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(call);
	return s;
}
