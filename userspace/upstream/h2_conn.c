/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/h2_conn.h"

#include <stdlib.h>

#include "base/secret.h"
#include "base/state.h"
#include "upstream/h2_mem.h"

#define READ_BYTES (16u * 1024u)
#define TURN_BYTES (256u * 1024u) /* read at one event: other connections have their turn */
#define OUT_CAP	   (192u * 1024u) /* a head of ours whole, and the rest of a frame */

static const uint32_t successors[] = {
	[H2_OPEN] = EG_TO(H2_DRAINING) | EG_TO(H2_DEAD),
	[H2_DRAINING] = EG_TO(H2_DEAD),
	[H2_DEAD] = 0,
};

static void set_state(struct eg_h2_conn *h, enum h2_state to)
{
	eg_state_check("upstream h2 connection", successors, h->state, to);
	h->state = to;
}

static struct eg_loop *loop_of(struct eg_h2_conn *h)
{
	return h->conn->owner->o.loop;
}

static void drain(struct eg_h2_conn *h)
{
	if (h->state == H2_OPEN)
		set_state(h, H2_DRAINING);
}

/* The connection is over: all that is on it fails. */
static void fail(struct eg_h2_conn *h, enum eg_reason reason, const char *text)
{
	if (h->state == H2_DEAD)
		return;
	drain(h); /* no lease from here on, whatever the owners do now */
	while (!eg_list_empty(&h->calls)) {
		struct eg_h2_call *c = eg_container_of(h->calls.next, struct eg_h2_call, link);

		/* Never serialised: the provider has not seen it. */
		h2_call_failed(c,
			       c->send == EG_H2_SEND_HEAD ? EG_CALL_LOSS_UNPROCESSED
							  : EG_CALL_LOSS_CONNECTION,
			       reason, text);
	}
	if (h->state != H2_DEAD && !h->leases)
		h2_conn_close(h);
}

void h2_conn_detach(struct eg_h2_conn *h, struct eg_h2_call *c)
{
	eg_list_remove(&c->link);
	if (h->run_of == c)
		h->run_of = NULL;
	if (c->id && h->state != H2_DEAD)
		(void)nghttp2_session_set_stream_user_data(h->session, c->id, NULL);
}

/* ---- out ---- */

/* Gives `out`, then the pieces, to the stream; keeps what it does not take. */
static bool write_out(struct eg_h2_conn *h, struct iovec *v, int count)
{
	struct iovec all[EG_CALL_SEGMENTS + 2];
	size_t had = h->out.length, total = had, written = 0;
	int n = 0;

	if (had)
		all[n++] = (struct iovec){eg_buf_data(&h->out), had};
	for (int i = 0; i < count; i++) {
		all[n++] = v[i];
		total += v[i].iov_len;
	}
	if (!total)
		return true;
	if (eg_stream_write(h->conn->stream, all, n, &written) == EG_IO_FAIL)
		return false;
	eg_buf_consume(&h->out, EG_MIN(written, had));
	h->blocked = written < total;
	written -= EG_MIN(written, had);
	for (int i = 0; i < count; i++) {
		size_t gone = EG_MIN(written, v[i].iov_len);

		written -= gone;
		if (gone < v[i].iov_len &&
		    eg_buf_append(&h->out, (char *)v[i].iov_base + gone, v[i].iov_len - gone))
			return false;
	}
	if (!h->out.length)
		eg_buf_release(&h->out);
	return true;
}

/* The first `length` bytes of the body's pieces; returns how many pieces. */
static int limit_pieces(struct iovec *v, int n, size_t length)
{
	for (int i = 0; i < n; i++) {
		v[i].iov_len = EG_MIN(v[i].iov_len, length);
		length -= v[i].iov_len;
	}
	return length ? -1 : n;
}

/* A DATA frame: straight from the owner's memory into the stream. */
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
	if (!write_out(h, v, n + 1)) {
		h->write_failed = true;
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
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

/* One turn of serialising. Frames with heads are wiped where nghttp2 made them: its buffers live as
 * long as the session. */
static int serialise(struct eg_h2_conn *h)
{
	while (!h->blocked && h->state != H2_DEAD) {
		const uint8_t *p = NULL;
		ssize_t n = nghttp2_session_mem_send(h->session, &p);

		if (n <= 0)
			return (int)n;
		if (eg_buf_append(&h->out, p, (size_t)n))
			return NGHTTP2_ERR_NOMEM;
		if (n > 9 && (p[3] == NGHTTP2_HEADERS || p[3] == NGHTTP2_CONTINUATION))
			eg_wipe((void *)(uintptr_t)p, (size_t)n);
		if (h->out.length >= READ_BYTES && !write_out(h, NULL, 0)) {
			h->write_failed = true;
			return NGHTTP2_ERR_CALLBACK_FAILURE;
		}
	}
	return 0;
}

static void read_some(struct eg_h2_conn *h);

static void violated(struct eg_h2_conn *h)
{
	fail(h, EG_REASON_UPSTREAM_PROTOCOL,
	     h->violation ? h->violation : "what the provider sent is not valid HTTP/2");
}

static void flush(struct eg_h2_conn *h)
{
	int r;

	if (h->state == H2_DEAD || h->sending)
		return;
	h->sending = true;
	r = serialise(h);
	h->sending = false;
	if (h->state == H2_DEAD)
		return;
	if (!r && !h->blocked && !write_out(h, NULL, 0))
		h->write_failed = true;
	if (h->write_failed) {
		/* What the provider said before it closed counts first. */
		read_some(h);
		fail(h, EG_REASON_UPSTREAM_RESET, "the provider closed the connection");
		return;
	}
	if (r) {
		fail(h, EG_REASON_UPSTREAM_RESET, "the request could not be written");
		return;
	}
	eg_stream_want(h->conn->stream, true, h->blocked);
	if (h->violated)
		violated(h);
	else if (!nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session))
		fail(h, EG_REASON_UPSTREAM_RESET, "the provider ended the connection");
}

static void run_flush(struct eg_defer *d)
{
	flush(eg_container_of(d, struct eg_h2_conn, flush));
}

void h2_conn_flush_later(struct eg_h2_conn *h)
{
	if (h->state != H2_DEAD && !h->blocked)
		eg_loop_defer(loop_of(h), &h->flush);
}

/* ---- in ---- */

static void end_run(struct eg_h2_conn *h)
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
	end_run(h);
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

/* What costs us an answer, or brings nothing: a provider gets so many in a while. */
static bool counts(const nghttp2_frame *f)
{
	switch (f->hd.type) {
	case NGHTTP2_SETTINGS:
	case NGHTTP2_PING:
		return !(f->hd.flags & NGHTTP2_FLAG_ACK);
	case NGHTTP2_DATA:
		return !f->hd.length && !(f->hd.flags & NGHTTP2_FLAG_END_STREAM);
	case NGHTTP2_PRIORITY:
	case NGHTTP2_ALTSVC:
	case NGHTTP2_ORIGIN:
		return true;
	default:
		return false;
	}
}

static bool flooded(struct eg_h2_conn *h)
{
	uint64_t now = eg_loop_now_ms(loop_of(h));

	if (now - h->control_since_ms > H2_CONTROL_MS) {
		h->control_since_ms = now;
		h->control = 0;
	}
	return ++h->control > H2_CONTROL_MAX;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct eg_h2_conn *h = ctx;
	bool last = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	struct eg_h2_call *c;

	(void)session;
	if (counts(frame) && flooded(h))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (frame->hd.type == NGHTTP2_GOAWAY)
		drain(h);
	if (last || frame->hd.type == NGHTTP2_HEADERS)
		end_run(h);
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
	/* Out of memory: the window is opened again with the next bytes. */
	(void)nghttp2_session_consume_connection(session, n);
	if (!c)
		return 0;
	if (h->run_of != c)
		end_run(h);
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
	if (frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	h->streams++;
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

	end_run(h);
	if (nghttp2_session_find_stream(session, id) && h->streams)
		h->streams--; /* else: it was cancelled before it was sent */
	c = call_of(h, id);
	if (!c)
		return 0;
	if (!c->base.first_byte_seen && code == NGHTTP2_REFUSED_STREAM) {
		upstream_count(h->conn->owner, EG_COUNT_UPSTREAM_STREAMS_REFUSED);
		h2_call_failed(c, EG_CALL_LOSS_UNPROCESSED, EG_REASON_UPSTREAM_RESET,
			       "the provider refused the stream");
	} else if (!c->base.first_byte_seen && code == NGHTTP2_HTTP_1_1_REQUIRED) {
		upstream_keep_http1(h->conn->owner, h->conn->origin);
		drain(h);
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

/* After a negative answer of nghttp2. */
static void receive_failed(struct eg_h2_conn *h, ssize_t r)
{
	if (r == NGHTTP2_ERR_NOMEM) {
		fail(h, EG_REASON_UPSTREAM_RESET, "out of memory while the answer was read");
		return;
	}
	if (r == NGHTTP2_ERR_CALLBACK_FAILURE || r == NGHTTP2_ERR_FLOODED)
		h->violation = "the provider floods the connection with control frames";
	/* Best effort: it is told why. */
	if (!nghttp2_session_terminate_session(h->session, h->violation ? NGHTTP2_ENHANCE_YOUR_CALM
									: NGHTTP2_PROTOCOL_ERROR) &&
	    !h->write_failed)
		flush(h);
	violated(h);
}

static void read_ended(struct eg_h2_conn *h, enum eg_io r)
{
	fail(h, EG_REASON_UPSTREAM_RESET,
	     r == EG_IO_EOF || eg_stream_truncated(h->conn->stream)
		     ? "the provider closed the connection"
		     : "the provider reset the connection");
}

static void read_some(struct eg_h2_conn *h)
{
	struct eg_buf *in = &h->conn->in;
	size_t total = 0;

	while (h->state != H2_DEAD && total < TURN_BYTES) {
		enum eg_io r = eg_stream_read(h->conn->stream, in, READ_BYTES);
		ssize_t n;

		if (r == EG_IO_AGAIN)
			break;
		if (r != EG_IO_DONE) {
			read_ended(h, r);
			return;
		}
		h->heard_ms = eg_loop_now_ms(loop_of(h));
		h->pinged = false;
		total += in->length;
		n = nghttp2_session_mem_recv(h->session, (const uint8_t *)eg_buf_data(in),
					     in->length);
		end_run(h); /* what came before a mistake came in order */
		if (h->state == H2_DEAD)
			return;
		eg_buf_clear(in);
		if (n < 0) {
			receive_failed(h, n);
			return;
		}
	}
	if (h->state == H2_DEAD)
		return;
	if (eg_list_empty(&h->calls))
		eg_buf_release(in);
	if (nghttp2_session_want_write(h->session) || !nghttp2_session_want_read(h->session))
		h2_conn_flush_later(h);
}

static void on_event(struct eg_stream *s, unsigned int events, void *ctx)
{
	struct eg_h2_conn *h = ctx;

	(void)s;
	if (events & EG_STREAM_WRITE) {
		h->blocked = false;
		flush(h);
	}
	if (h->state != H2_DEAD && events & (EG_STREAM_READ | EG_STREAM_FAILED))
		read_some(h);
}

static const struct eg_stream_handler handler = {on_event};

void h2_conn_poll(struct eg_h2_conn *h)
{
	eg_stream_look(h->conn->stream);
	read_some(h);
}

/* ---- silence ---- */

static void arm(struct eg_h2_conn *h, uint64_t ms)
{
	if (eg_timer_set(loop_of(h), &h->silence, ms))
		eg_warn("out of memory: the silence of a connection to %s is not watched",
			h->conn->origin->host);
}

static void on_silence(struct eg_timer *t)
{
	struct eg_h2_conn *h = eg_container_of(t, struct eg_h2_conn, silence);
	uint64_t now = eg_loop_now_ms(loop_of(h)), quiet = now - h->heard_ms;

	if (!h->leases)
		return;
	if (h->pinged && now - h->pinged_ms >= H2_PING_MS) {
		fail(h, EG_REASON_UPSTREAM_RESET, "the connection is dead: no answer to a PING");
		return;
	}
	if (!h->pinged && quiet >= H2_SILENCE_MS &&
	    !nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL)) {
		h->pinged = true;
		h->pinged_ms = now;
		h2_conn_flush_later(h);
	}
	arm(h, h->pinged ? h->pinged_ms + H2_PING_MS - now
			 : EG_MAX(H2_SILENCE_MS - EG_MIN(quiet, (uint64_t)H2_SILENCE_MS),
				  (uint64_t)1000));
}

void h2_conn_leased(struct eg_h2_conn *h)
{
	if (!eg_timer_armed(&h->silence))
		arm(h, H2_SILENCE_MS);
}

/* ---- life ---- */

static nghttp2_session *new_session(struct eg_h2_conn *h)
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
	nghttp2_session_callbacks_set_send_data_callback(call, send_data);
	nghttp2_session_callbacks_set_data_source_read_length_callback(call, frame_bytes);
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

static void bury(struct eg_defer *d)
{
	struct eg_h2_conn *h = eg_container_of(d, struct eg_h2_conn, bury);

	nghttp2_session_del(h->session);
	eg_buf_fini(&h->out);
	eg_buf_fini(&h->conn->in);
	free(h->conn);
	free(h);
}

int h2_conn_create(struct eg_upstream_conn *c)
{
	struct eg_h2_conn *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->conn = c;
	eg_list_init(&h->calls);
	eg_buf_init_secret(&h->out, OUT_CAP);
	eg_timer_init(&h->silence, on_silence);
	h->flush.run = run_flush;
	h->bury.run = bury;
	h->heard_ms = h->control_since_ms = eg_loop_now_ms(loop_of(h));
	h->session = new_session(h);
	if (!h->session) {
		free(h);
		return -ENOMEM;
	}
	c->h2 = h;
	eg_stream_set_handler(c->stream, &handler, h);
	eg_stream_want(c->stream, true, false);
	h2_conn_flush_later(h);
	return 0;
}

void h2_conn_close(struct eg_h2_conn *h)
{
	struct eg_loop *loop = loop_of(h);

	set_state(h, H2_DEAD);
	eg_timer_cancel(loop, &h->silence);
	upstream_conn_forget(h->conn);
	/* `flush` may be queued before it, and looks at the state; nghttp2 may be calling us. */
	eg_loop_defer(loop, &h->bury);
}

bool h2_conn_room(struct eg_h2_conn *h)
{
	uint32_t allowed = nghttp2_session_get_remote_settings(
		h->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

	if (nghttp2_session_get_next_stream_id(h->session) > INT32_MAX - 2 * H2_STREAMS_MAX)
		drain(h);
	return h->state == H2_OPEN &&
	       EG_MAX(h->leases, h->streams) < EG_MIN(allowed, (uint32_t)H2_STREAMS_MAX);
}
