/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/h2_conn.h"

#include <stdlib.h>

#include "base/secret.h"
#include "base/state.h"

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

void h2_conn_drain(struct eg_h2_conn *h)
{
	if (h->state == H2_OPEN)
		set_state(h, H2_DRAINING);
}

/* The connection is over: all that is on it fails. */
static void fail(struct eg_h2_conn *h, enum eg_reason reason, const char *text)
{
	if (h->state == H2_DEAD)
		return;
	h2_conn_drain(h); /* no lease from here on, whatever the owners do now */
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
bool h2_conn_write(struct eg_h2_conn *h, struct iovec *v, int count)
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
		if (h->out.length >= READ_BYTES && !h2_conn_write(h, NULL, 0)) {
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
	if (!r && !h->blocked && !h2_conn_write(h, NULL, 0))
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
		h2_session_end_run(h); /* what came before a mistake came in order */
		if (h->state == H2_DEAD)
			return;
		eg_buf_clear(in);
		if (n >= 0 && h2_session_flooded_with_data(h))
			n = NGHTTP2_ERR_CALLBACK_FAILURE;
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
	/* Passed on for a pod: nobody there expects PINGs that the pod did not send, and gRPC's
	 * servers end a connection that has some on it while they are silent. */
	if (h->conn->origin->has_fixed)
		return;
	if (!eg_timer_armed(&h->silence))
		arm(h, H2_SILENCE_MS);
}

/* ---- life ---- */

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
	h->late = H2_CONN_WINDOW + H2_LATE_BYTES;
	h->session = h2_conn_session_create(h);
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
	upstream_dial_lost(h->conn);
	upstream_conn_forget(h->conn);
	/* `flush` may be queued before it, and looks at the state; nghttp2 may be calling us. */
	eg_loop_defer(loop, &h->bury);
}

static uint32_t remembered(const struct eg_h2_conn *h)
{
	return stream_limit_get(&h->conn->owner->stream_limits, h->conn->origin->hash);
}

bool h2_conn_untold(const struct eg_h2_conn *h)
{
	return !h->settled && remembered(h) == STREAM_LIMIT_UNKNOWN;
}

void h2_conn_settle(struct eg_h2_conn *h)
{
	h->settled = true;
	upstream_dial_settled(h->conn);
}

uint32_t h2_conn_stream_limit(const struct eg_h2_conn *h)
{
	return nghttp2_session_get_remote_settings(h->session,
						   NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

/* What was said on this connection, else what the origin said last. */
static uint32_t allowed_streams(const struct eg_h2_conn *h)
{
	uint32_t n = h->settled ? h2_conn_stream_limit(h) : EG_MAX(remembered(h), 1u);

	return EG_MIN(n, (uint32_t)H2_STREAMS_MAX);
}

bool h2_conn_room(struct eg_h2_conn *h)
{
	if (nghttp2_session_get_next_stream_id(h->session) > INT32_MAX - 2 * H2_STREAMS_MAX)
		h2_conn_drain(h);
	return h->state == H2_OPEN && EG_MAX(h->leases, h->streams) < allowed_streams(h);
}
