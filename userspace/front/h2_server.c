/* SPDX-License-Identifier: Apache-2.0 */
#include "front/h2_server.h"

#include "base/state.h"
#include "front/h2_stream.h"

#define READ_BYTES	  (16u * 1024u)
#define TURN_BYTES	  (256u * 1024u) /* read, and written, before others have their turn */
#define OUT_CAP		  (512u * 1024u) /* H2_OUT_HIGH and the largest head of an answer */
#define QUEUE_MAX	  256u		 /* frames of nghttp2's that wait: nothing is read above */
#define LINGER_BYTES	  (1024u * 1024u)
#define LINGER_MS	  2000u
#define NOTICE_MS	  1000u /* for a client to say that it has read the first GOAWAY */
#define IDLE_GIVE_BACK_MS 1000u
#define UNCHARGED	  (32u * 1024u) /* what every connection may have */

/* Frames that carry nothing: more than that at once, and so many a second, is a flood. */
#define CONTROL_BURST	   1000u
#define CONTROL_PER_SECOND 100u
/* Requests that were reset without an answer. */
#define RESETS_BURST	  (2 * H2_STREAMS)
#define RESETS_PER_SECOND 20u

static const uint32_t successors[] = {
	[H2_OPEN] = EG_TO(H2_ENDING) | EG_TO(H2_LINGER) | EG_TO(H2_CLOSED),
	[H2_ENDING] = EG_TO(H2_LINGER) | EG_TO(H2_CLOSED),
	[H2_LINGER] = EG_TO(H2_CLOSED),
	[H2_CLOSED] = 0,
};

static void set_state(struct h2_server *s, enum h2_state to)
{
	eg_state_check("h2 server", successors, s->state, to);
	s->state = to;
}

/* ---- the end ---- */

/* nghttp2 may be on the stack: streams and session stay, exchanges go. */
static void give_up(struct h2_server *s, enum eg_reason reason)
{
	struct eg_list *it;

	eg_list_for_each (it, &s->streams)
		h2_stream_give_up(eg_container_of(it, struct h2_stream, link), reason);
}

void h2_server_over(struct h2_server *s, bool reset, enum eg_reason reason)
{
	if (s->state == H2_CLOSED)
		return;
	set_state(s, H2_CLOSED);
	s->reset_wanted = reset;
	give_up(s, reason);
	eg_timer_cancel(s->engine->loop, &s->timer);
	eg_timer_cancel(s->engine->loop, &s->later);
	eg_loop_defer(s->engine->loop, &s->push);
}

bool h2_server_failed(struct h2_server *s, int nghttp2_error)
{
	/* What is said to a stream that is gone, or ends, is no failure. */
	if (!nghttp2_error || nghttp2_error == NGHTTP2_ERR_INVALID_ARGUMENT ||
	    nghttp2_error == NGHTTP2_ERR_STREAM_CLOSED)
		return false;
	h2_server_over(s, true, EG_REASON_OVERLOADED);
	return true;
}

void h2_server_violation(struct h2_server *s, uint32_t http2_error, const char *detail)
{
	if (s->violated || s->state >= H2_LINGER)
		return;
	s->violated = true;
	eg_exchange_connection_record(s->engine, s->peer,
				      s->peer->server_name ? s->peer->server_name : "",
				      EG_REASON_BAD_REQUEST, detail, s->began_ms, 0, 0, false);
	(void)h2_server_failed(s, nghttp2_session_terminate_session(s->session, http2_error));
	h2_server_wake(s);
}

void h2_server_end(struct h2_server *s)
{
	if (s->state != H2_OPEN)
		return;
	set_state(s, H2_ENDING);
	s->goodbye = nghttp2_session_get_last_proc_stream_id(s->session);
	(void)h2_server_failed(s, nghttp2_submit_goaway(s->session, NGHTTP2_FLAG_NONE, s->goodbye,
							NGHTTP2_NO_ERROR, NULL, 0));
	h2_server_wake(s);
}

void h2_server_end_gently(struct h2_server *s)
{
	if (s->state != H2_OPEN || s->notice ||
	    h2_server_failed(s, nghttp2_submit_shutdown_notice(s->session)))
		return;
	s->notice = h2_server_ping(s);
	s->notice_ms = h2_server_now(s);
	h2_server_due(s, s->notice_ms + NOTICE_MS);
	h2_server_wake(s);
}

void h2_server_ponged(struct h2_server *s)
{
	if (s->notice && s->pongs >= s->notice)
		h2_server_end(s);
}

static void end_idle(struct h2_server *s)
{
	s->quiet_end = true;
	h2_server_end(s);
}

void h2_server_drain(struct h2_server *s)
{
	if (s->stream_count || s->block_of)
		h2_server_end(s);
	else
		end_idle(s);
}

static void linger(struct h2_server *s)
{
	give_up(s, EG_REASON_CLIENT_CLOSED);
	if (s->eof || (s->quiet_end && !s->violated)) {
		h2_server_over(s, false, EG_REASON_OK);
		return;
	}
	set_state(s, H2_LINGER);
	s->ended_ms = h2_server_now(s);
	eg_stream_shutdown(s->stream);
	h2_server_due(s, s->ended_ms + LINGER_MS);
}

/* ---- memory ---- */

static size_t to_charge(size_t bytes)
{
	return bytes > UNCHARGED ? bytes : 0;
}

enum eg_reason h2_server_hold(struct h2_server *s, size_t more)
{
	size_t bytes = to_charge(s->bytes + more);

	if (bytes <= s->charged)
		return EG_REASON_OK;
	return eg_account_hold(s->engine, s->peer->account, &s->charged, bytes);
}

void h2_server_count(struct h2_server *s, size_t *counted, size_t size)
{
	size_t bytes;

	s->bytes += size - *counted;
	*counted = size;
	bytes = to_charge(s->bytes);
	if (bytes != s->charged)
		eg_account_charge(s->engine, s->peer->account, &s->charged, bytes);
}

static void count_own(struct h2_server *s)
{
	h2_server_count(s, &s->own_bytes, s->in.size + s->out.size + h2_head_size(&s->head));
}

/* ---- output ---- */

static bool may_read(const struct h2_server *s)
{
	if (s->eof || s->state == H2_CLOSED)
		return false;
	if (s->state == H2_LINGER)
		return true;
	return !s->violated && s->out.length < H2_OUT_HIGH &&
	       nghttp2_session_get_outbound_queue_size(s->session) < QUEUE_MAX;
}

static void interest(struct h2_server *s)
{
	if (s->state != H2_CLOSED)
		eg_stream_want(s->stream, may_read(s), s->out.length > 0);
}

/* False: the socket is full, or all is over. */
static bool write_out(struct h2_server *s)
{
	struct iovec v = {eg_buf_data(&s->out), s->out.length};
	size_t written = 0;

	if (!s->out.length)
		return true;
	if (eg_stream_write(s->stream, &v, 1, &written) == EG_IO_FAIL) {
		h2_server_over(s, true, EG_REASON_CLIENT_CLOSED);
		return false;
	}
	if (written || !s->waiting)
		s->written_ms = h2_server_now(s); /* the client's time to read begins here */
	eg_buf_consume(&s->out, written);
	s->waiting = s->out.length > 0;
	s->full = s->out.length >= H2_OUT_HIGH;
	return !s->out.length;
}

/* What nghttp2 has, in as few writes as the size of `out` allows; a hundred windows that open at
 * once are megabytes, and the next connection may have as many. */
static void send_frames(struct h2_server *s)
{
	size_t sent = 0;
	bool more = true;

	while (more && s->state < H2_LINGER) {
		const uint8_t *p = NULL;
		ssize_t n = s->full ? 0 : nghttp2_session_mem_send(s->session, &p);

		if (n < 0 || (n > 0 && eg_buf_append(&s->out, p, (size_t)n))) {
			h2_server_over(s, true, EG_REASON_OVERLOADED);
			return;
		}
		s->full |= s->out.length >= H2_OUT_HIGH;
		if (n > 0 && !s->full)
			continue;
		more = s->full;
		sent += s->out.length;
		if (!write_out(s))
			return;
		if (more && sent >= TURN_BYTES) {
			s->again = true;
			return;
		}
	}
}

void h2_server_wake(struct h2_server *s)
{
	if (s->running)
		s->again = true;
	else
		eg_loop_defer(s->engine->loop, &s->push);
}

static void work(struct h2_server *s)
{
	struct eg_list now;

	if (eg_list_empty(&s->todo))
		return;
	/* What comes to the list meanwhile is for the next round. */
	eg_list_init(&now);
	eg_list_append(&s->todo, &now);
	eg_list_remove(&s->todo);
	while (!eg_list_empty(&now) && s->state < H2_LINGER) {
		struct h2_stream *st = eg_container_of(now.next, struct h2_stream, todo);

		eg_list_remove(&st->todo);
		h2_server_due(s, h2_stream_work(st));
	}
	while (!eg_list_empty(&now))
		eg_list_remove(now.next);
}

static bool session_over(const struct h2_server *s)
{
	return s->state < H2_LINGER && !s->out.length && !nghttp2_session_want_read(s->session) &&
	       !nghttp2_session_want_write(s->session);
}

/* Work, then what came of it goes out. What that makes possible is for the next turn: a fast client
 * of a fast provider must not keep this one from its end. */
static void run(struct h2_server *s)
{
	s->running = true;
	s->again = false;
	work(s);
	send_frames(s);
	s->running = false;
	if (s->state < H2_LINGER && (s->again || !eg_list_empty(&s->todo)) &&
	    eg_timer_set(s->engine->loop, &s->later, 0))
		h2_server_over(s, true, EG_REASON_OVERLOADED);
	if (session_over(s))
		linger(s);
	count_own(s);
	if (s->out.length)
		h2_server_due(s, s->written_ms + s->engine->limits.write_idle_ms);
	if (!s->stream_count && (s->in.p || s->out.p))
		h2_server_due(s, h2_server_now(s) + IDLE_GIVE_BACK_MS);
	interest(s);
}

static void push(struct eg_defer *d)
{
	struct h2_server *s = eg_container_of(d, struct h2_server, push);

	if (s->state != H2_CLOSED)
		run(s);
	if (s->state != H2_CLOSED || s->over_called)
		return;
	s->over_called = true;
	s->over(s->ctx, s->reset_wanted);
}

static void on_later(struct eg_timer *t)
{
	h2_server_wake(eg_container_of(t, struct h2_server, later));
}

uint64_t h2_server_ping(struct h2_server *s)
{
	uint64_t number = s->pings + 1;
	uint8_t payload[8];

	memcpy(payload, &number, sizeof(payload));
	if (h2_server_failed(s, nghttp2_submit_ping(s->session, NGHTTP2_FLAG_NONE, payload)))
		return 0;
	h2_server_wake(s);
	return s->pings = number;
}

/* ---- time ---- */

void h2_server_due(struct h2_server *s, uint64_t due_ms)
{
	uint64_t now = h2_server_now(s);

	if (s->state == H2_CLOSED || due_ms == UINT64_MAX ||
	    (eg_timer_armed(&s->timer) && s->timer.due_ms <= due_ms))
		return;
	if (eg_timer_set(s->engine->loop, &s->timer, due_ms > now ? due_ms - now : 0))
		h2_server_over(s, true, EG_REASON_OVERLOADED);
}

/* When the connection's own patience ends. */
static uint64_t deadline(const struct h2_server *s)
{
	const struct eg_limits *l = &s->engine->limits;

	if (s->state == H2_LINGER)
		return s->ended_ms + LINGER_MS;
	if (s->out.length)
		return s->written_ms + l->write_idle_ms;
	if (s->block_of)
		return s->block_began_ms + l->head_ms;
	if (s->stream_count)
		return UINT64_MAX;
	return s->idle_since_ms + (s->requests ? l->idle_ms : l->head_ms);
}

static void expire(struct h2_server *s)
{
	if (s->state == H2_LINGER)
		h2_server_over(s, false, EG_REASON_OK);
	else if (s->out.length)
		h2_server_over(s, true, EG_REASON_CLIENT_SLOW);
	else if (s->block_of)
		h2_server_violation(s, NGHTTP2_ENHANCE_YOUR_CALM,
				    "HTTP/2: a request's head took too long");
	else if (s->state == H2_OPEN)
		end_idle(s);
	else
		h2_server_over(s, false, EG_REASON_OK);
}

static void expire_streams(struct h2_server *s)
{
	uint64_t now = h2_server_now(s);
	struct eg_list *it;

	eg_list_for_each (it, &s->streams)
		h2_server_due(s,
			      h2_stream_expire(eg_container_of(it, struct h2_stream, link), now));
}

static void give_back(struct h2_server *s)
{
	if (s->stream_count || s->block_of || s->out.length)
		return;
	eg_buf_release(&s->in);
	eg_buf_release(&s->out);
	eg_stream_idle(s->stream);
	count_own(s);
}

static void on_timer(struct eg_timer *t)
{
	struct h2_server *s = eg_container_of(t, struct h2_server, timer);

	if (deadline(s) <= h2_server_now(s))
		expire(s);
	if (s->state == H2_CLOSED)
		return;
	if (h2_server_now(s) - s->read_ms >= IDLE_GIVE_BACK_MS)
		give_back(s);
	if (s->state < H2_LINGER)
		expire_streams(s);
	if (s->notice && s->state == H2_OPEN) {
		if (h2_server_now(s) - s->notice_ms >= NOTICE_MS)
			h2_server_end(s);
		else
			h2_server_due(s, s->notice_ms + NOTICE_MS);
	}
	h2_server_due(s, deadline(s));
	h2_server_wake(s);
}

/* ---- input ---- */

/* The client ended its direction, or is gone. */
static void on_end(struct h2_server *s, enum eg_io r)
{
	s->eof = true;
	h2_server_over(s, s->state != H2_LINGER && (r != EG_IO_EOF || s->stream_count),
		       EG_REASON_CLIENT_CLOSED);
}

static const char *what_was_wrong(int error)
{
	if (error == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
		return "HTTP/2: no connection preface";
	if (error == NGHTTP2_ERR_FLOODED)
		return "HTTP/2: a flood of frames that want an answer";
	return nghttp2_strerror(error);
}

static void digest(struct h2_server *s)
{
	struct eg_str in = eg_buf_str(&s->in);
	ssize_t n;

	if (s->state == H2_LINGER) {
		s->lingered += in.n;
		if (s->lingered > LINGER_BYTES)
			h2_server_over(s, false, EG_REASON_OK);
	} else {
		n = nghttp2_session_mem_recv(s->session, (const uint8_t *)in.p, in.n);
		if (n == NGHTTP2_ERR_NOMEM)
			h2_server_over(s, true, EG_REASON_OVERLOADED);
		else if (n < 0 && s->state != H2_CLOSED)
			h2_server_violation(s,
					    n == NGHTTP2_ERR_BAD_CLIENT_MAGIC
						    ? NGHTTP2_PROTOCOL_ERROR
						    : NGHTTP2_ENHANCE_YOUR_CALM,
					    what_was_wrong((int)n));
	}
	eg_buf_clear_content(&s->in);
}

static void read_some(struct h2_server *s)
{
	size_t total = 0;

	while (may_read(s) && total < TURN_BYTES) {
		enum eg_io r = eg_stream_read(s->stream, &s->in, READ_BYTES);

		if (r == EG_IO_AGAIN)
			break;
		if (r != EG_IO_DONE) {
			on_end(s, r);
			return;
		}
		total += s->in.length;
		s->read_ms = h2_server_now(s);
		digest(s);
		/* What it wants answered goes out before more is read. */
		if (s->state < H2_LINGER && !may_read(s))
			send_frames(s);
	}
}

static void on_event(struct eg_stream *stream, unsigned int events, void *ctx)
{
	struct h2_server *s = ctx;

	(void)stream;
	if (events & EG_STREAM_FAILED) {
		h2_server_over(s, true, EG_REASON_CLIENT_CLOSED);
		return;
	}
	if (events & EG_STREAM_WRITE)
		(void)write_out(s);
	if (s->state != H2_CLOSED && (events & EG_STREAM_READ))
		read_some(s);
	h2_server_wake(s);
}

/* ---- life ---- */

static const struct eg_stream_handler handler = {on_event};

void h2_server_init(struct h2_server *s, struct eg_engine *engine, struct eg_peer *peer,
		    void (*over)(void *ctx, bool reset), void *ctx)
{
	*s = (struct h2_server){.engine = engine, .peer = peer, .over = over, .ctx = ctx};
	peer->http2 = true;
	eg_list_init(&s->streams);
	eg_list_init(&s->todo);
	h2_head_init(&s->head);
	eg_buf_init_secret(&s->in, READ_BYTES); /* a key of the client's */
	eg_buf_init(&s->out, OUT_CAP);
	eg_timer_init(&s->timer, on_timer);
	s->push.run = push;
	eg_timer_init(&s->later, on_later);
}

int h2_server_begin(struct h2_server *s, struct eg_stream *stream)
{
	uint64_t now = h2_server_now(s);

	s->stream = stream;
	s->began_ms = s->idle_since_ms = s->read_ms = now;
	h2_bucket_init(&s->control, CONTROL_BURST, CONTROL_PER_SECOND, now);
	h2_bucket_init(&s->resets, RESETS_BURST, RESETS_PER_SECOND, now);
	if (h2_session_create(s) || eg_timer_set(s->engine->loop, &s->timer, IDLE_GIVE_BACK_MS))
		return -ENOMEM;
	eg_stream_set_handler(stream, &handler, s);
	interest(s);
	h2_server_wake(s);
	return 0;
}

void h2_server_fini(struct h2_server *s, enum eg_reason reason)
{
	s->over_called = true;
	s->state = H2_CLOSED;
	while (!eg_list_empty(&s->streams))
		h2_stream_closed(eg_container_of(s->streams.next, struct h2_stream, link), reason);
	nghttp2_session_del(s->session);
	s->session = NULL;
	eg_timer_cancel(s->engine->loop, &s->timer);
	eg_timer_cancel(s->engine->loop, &s->later);
	h2_head_fini(&s->head);
	eg_buf_fini(&s->in);
	eg_buf_fini(&s->out);
	count_own(s);
}
