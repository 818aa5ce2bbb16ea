/* SPDX-License-Identifier: Apache-2.0 */
#include "front/h1_server.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/state.h"
#include "front/h1_answer.h"

#define IN_CAP		  (96u * 1024u) /* over the largest head */
#define READ_BYTES	  (16u * 1024u)
#define TURN_BYTES	  (256u * 1024u)
#define READ_AHEAD	  (16u * 1024u) /* of the next request while one is at work */
#define DISCARD_MAX	  (64u * 1024u) /* of a refused body: more, and the connection ends */
#define LINGER_BYTES	  (1024u * 1024u)
#define LINGER_MS	  2000u
#define CUT_MS		  1000u
#define CUT_STEP_MS	  5u
#define IDLE_GIVE_BACK_MS 1000u
#define UNCHARGED	  (16u * 1024u) /* of each buffer: what every connection may have */

static const uint32_t receive_successors[] = {
	[H1_RECEIVE_HEAD] = EG_TO(H1_RECEIVE_HOLD) | EG_TO(H1_RECEIVE_COMPLETE) |
			    EG_TO(H1_RECEIVE_LINGER) | EG_TO(H1_RECEIVE_CLOSED),
	[H1_RECEIVE_HOLD] = EG_TO(H1_RECEIVE_BODY) | EG_TO(H1_RECEIVE_DISCARD) |
			    EG_TO(H1_RECEIVE_LINGER) | EG_TO(H1_RECEIVE_CLOSED),
	[H1_RECEIVE_BODY] = EG_TO(H1_RECEIVE_HOLD) | EG_TO(H1_RECEIVE_COMPLETE) |
			    EG_TO(H1_RECEIVE_DISCARD) | EG_TO(H1_RECEIVE_LINGER) |
			    EG_TO(H1_RECEIVE_CLOSED),
	[H1_RECEIVE_DISCARD] =
		EG_TO(H1_RECEIVE_HEAD) | EG_TO(H1_RECEIVE_LINGER) | EG_TO(H1_RECEIVE_CLOSED),
	[H1_RECEIVE_COMPLETE] = EG_TO(H1_RECEIVE_HEAD) | EG_TO(H1_RECEIVE_BODY) /* 101 */ |
				EG_TO(H1_RECEIVE_LINGER) | EG_TO(H1_RECEIVE_CLOSED),
	[H1_RECEIVE_LINGER] = EG_TO(H1_RECEIVE_CLOSED),
	[H1_RECEIVE_CLOSED] = 0,
};

static const uint32_t answer_successors[] = {
	[H1_ANSWER_NONE] = EG_TO(H1_ANSWER_WAIT),
	[H1_ANSWER_WAIT] = EG_TO(H1_ANSWER_BODY) | EG_TO(H1_ANSWER_CUT),
	[H1_ANSWER_BODY] = EG_TO(H1_ANSWER_ENDED) | EG_TO(H1_ANSWER_CUT),
	[H1_ANSWER_ENDED] = EG_TO(H1_ANSWER_NONE),
	[H1_ANSWER_CUT] = 0,
};

static void advance(struct h1_server *s);
static void arm(struct h1_server *s);

static void set_receive(struct h1_server *s, enum h1_receive to)
{
	eg_state_check("h1 receive", receive_successors, s->receive, to);
	s->receive = to;
}

static void set_answer(struct h1_server *s, enum h1_answer to)
{
	eg_state_check("h1 answer", answer_successors, s->answer, to);
	s->answer = to;
}

static uint64_t now_ms(const struct h1_server *s)
{
	return eg_loop_now_ms(s->engine->loop);
}

static void drop_exchange(struct h1_server *s, enum eg_reason reason)
{
	if (!s->exchange)
		return;
	eg_exchange_abandon(s->exchange, reason);
	eg_exchange_destroy(s->exchange);
	s->exchange = NULL;
}

static void over(struct h1_server *s, bool reset, enum eg_reason reason)
{
	if (s->receive == H1_RECEIVE_CLOSED)
		return;
	set_receive(s, H1_RECEIVE_CLOSED);
	s->reset_wanted = reset;
	drop_exchange(s, reason);
	eg_timer_cancel(s->engine->loop, &s->timer);
	/* Our caller may be inside an exchange or advance(): the owner hears of it at the end. */
	eg_loop_defer(s->engine->loop, &s->push);
}

/* ---- memory ---- */

static size_t in_use(const struct h1_server *s)
{
	return (s->in.size > UNCHARGED ? s->in.size : 0) +
	       (s->out.size > UNCHARGED ? s->out.size : 0);
}

/* An answer that waits for a slow reader can't be refused any more: it counts against what comes
 * next. */
static void charge(struct h1_server *s)
{
	size_t bytes = in_use(s);

	if (bytes != s->charged)
		eg_account_charge(s->engine, s->peer->account, &s->charged, bytes);
}

/* ---- output ---- */

static void interest(struct h1_server *s)
{
	bool read = s->receive == H1_RECEIVE_HEAD || s->receive == H1_RECEIVE_BODY ||
		    s->receive == H1_RECEIVE_DISCARD || s->receive == H1_RECEIVE_LINGER ||
		    s->in.length < READ_AHEAD;

	if (s->receive == H1_RECEIVE_CLOSED)
		return;
	eg_stream_want(s->stream, read && !s->eof && s->answer != H1_ANSWER_CUT, s->out.length > 0);
}

/* Writes what waits and these pieces; what the socket does not take waits. False: it is full. */
static bool write_pieces(struct h1_server *s, const struct iovec *pieces, int count)
{
	struct iovec v[5];
	size_t written = 0, total = 0;
	bool waited = s->out.length > 0;
	int n = 0;
	enum eg_io r;

	if (s->receive == H1_RECEIVE_CLOSED)
		return true;
	if (s->out.length)
		v[n++] = (struct iovec){eg_buf_data(&s->out), s->out.length};
	for (int i = 0; i < count; i++)
		v[n++] = pieces[i];
	for (int i = 0; i < n; i++)
		total += v[i].iov_len;
	if (!total)
		return true;
	r = eg_stream_write(s->stream, v, n, &written);
	if (r == EG_IO_FAIL) {
		over(s, true, EG_REASON_CLIENT_CLOSED);
		return true;
	}
	if (written || !waited)
		s->activity_ms = now_ms(s); /* the client's time to read begins here */
	if (waited) {
		size_t old = EG_MIN(written, s->out.length);

		eg_buf_consume(&s->out, old);
		written -= old;
	}
	for (int i = 0; i < count; i++) {
		size_t gone = EG_MIN(written, pieces[i].iov_len);

		written -= gone;
		if (gone < pieces[i].iov_len &&
		    eg_buf_append(&s->out, (char *)pieces[i].iov_base + gone,
				  pieces[i].iov_len - gone)) {
			over(s, true, EG_REASON_OVERLOADED);
			return true;
		}
	}
	interest(s);
	charge(s);
	if (s->out.length && !waited)
		arm(s);
	return !s->out.length;
}

/* At the end of the tick: what a head left waiting for its body; or the news that it is over. */
static void push(struct eg_defer *d)
{
	struct h1_server *s = eg_container_of(d, struct h1_server, push);

	if (s->receive != H1_RECEIVE_CLOSED) {
		(void)write_pieces(s, NULL, 0);
		if (s->receive != H1_RECEIVE_CLOSED) {
			advance(s);
			return;
		}
	}
	if (!s->over_called) {
		s->over_called = true;
		s->over(s->ctx, s->reset_wanted);
	}
}

/* ---- the exchange's sink ---- */

static bool body_left_small(const struct h1_server *s)
{
	if (s->receive == H1_RECEIVE_COMPLETE)
		return true;
	if (s->expect_continue)
		return false; /* the client may, or may not, send it */
	return s->body == EG_H1_BODY_LENGTH && s->left <= DISCARD_MAX;
}

static void sink_head(void *ctx, const struct eg_answer *a)
{
	struct h1_server *s = ctx;
	int r;

	s->tunnel = a->status == 101;
	s->no_body = a->no_body;
	s->last_chunk = false;
	s->chunked_out = !a->length_known && !a->no_body && !s->http10 && !s->tunnel;
	s->close_after = a->close || s->tunnel || !s->keep_alive || s->engine->draining ||
			 !body_left_small(s) || (!a->length_known && !a->no_body && s->http10);
	set_answer(s, H1_ANSWER_BODY);
	s->activity_ms = now_ms(s);
	if (s->tunnel)
		set_receive(s, H1_RECEIVE_BODY);
	r = h1_write_answer_head(&s->out, a, s->chunked_out, s->close_after, s->http10);
	if (r)
		over(s, true, EG_REASON_OVERLOADED);
	else
		eg_loop_defer(s->engine->loop, &s->push);
}

static bool sink_data(void *ctx, struct eg_str data)
{
	static char crlf[] = "\r\n";
	struct h1_server *s = ctx;
	char frame[EG_CHUNK_HEAD_MAX];
	/* iovec has no const form; the bytes are only read. */
	struct iovec body = {(void *)(uintptr_t)data.p, data.n};
	struct iovec v[3] = {{frame, 0}, body, {crlf, 2}};

	if (s->no_body || !data.n)
		return true;
	if (!s->chunked_out)
		return write_pieces(s, &body, 1);
	v[0].iov_len = eg_chunked_head(frame, data.n);
	return write_pieces(s, v, 3);
}

static void sink_trailers(void *ctx, const struct eg_header *fields, size_t count)
{
	struct h1_server *s = ctx;

	if (s->receive == H1_RECEIVE_CLOSED || !s->chunked_out || s->no_body)
		return;
	s->last_chunk = true;
	if (h1_write_trailers(&s->out, fields, count))
		over(s, true, EG_REASON_OVERLOADED);
}

static void sink_end(void *ctx)
{
	struct h1_server *s = ctx;
	struct eg_str end = s->last_chunk ? EG_STR("\r\n") : EG_STR(EG_CHUNKED_END);

	if (s->receive == H1_RECEIVE_CLOSED)
		return;
	if (s->chunked_out && !s->no_body && eg_buf_append_str(&s->out, end)) {
		over(s, true, EG_REASON_OVERLOADED);
		return;
	}
	set_answer(s, H1_ANSWER_ENDED);
	eg_loop_defer(s->engine->loop, &s->push);
}

static void sink_cut(void *ctx)
{
	struct h1_server *s = ctx;

	if (s->receive == H1_RECEIVE_CLOSED)
		return;
	set_answer(s, H1_ANSWER_CUT);
	s->ended_ms = now_ms(s);
	eg_loop_defer(s->engine->loop, &s->push);
}

static void sink_want(void *ctx)
{
	struct h1_server *s = ctx;

	if (s->receive != H1_RECEIVE_HOLD)
		return;
	set_receive(s, H1_RECEIVE_BODY);
	s->activity_ms = now_ms(s);
	if (s->expect_continue && !s->in.length &&
	    eg_buf_append_str(&s->out, EG_STR("HTTP/1.1 100 Continue\r\n\r\n")))
		over(s, true, EG_REASON_OVERLOADED);
	s->expect_continue = false;
	eg_loop_defer(s->engine->loop, &s->push);
}

static const struct eg_sink_ops sink_ops = {
	.head = sink_head,
	.data = sink_data,
	.trailers = sink_trailers,
	.end = sink_end,
	.cut = sink_cut,
	.want = sink_want,
};

/* ---- requests ---- */

static bool create_exchange(struct h1_server *s, const struct eg_h1_head *head)
{
	s->peer->reused = s->requests > 0;
	s->exchange =
		eg_exchange_create(s->engine, s->peer, head, eg_buf_str(&s->in), &sink_ops, s);
	if (!s->exchange) {
		over(s, true, EG_REASON_OVERLOADED);
		return false;
	}
	if (s->head_began_ms)
		eg_exchange_began(s->exchange, s->head_began_ms);
	s->head_began_ms = 0;
	s->requests++;
	set_answer(s, H1_ANSWER_WAIT);
	return true;
}

/* `wrong`: with what, a part of a sentence; or NULL. */
static void refuse(struct h1_server *s, enum eg_reason reason, const char *wrong)
{
	s->keep_alive = false;
	s->http10 = false;
	s->expect_continue = false;
	s->body = EG_H1_BODY_NONE;
	if (!create_exchange(s, NULL))
		return;
	set_receive(s, H1_RECEIVE_COMPLETE);
	eg_exchange_refuse(s->exchange, reason, wrong, true);
}

static void begin_request(struct h1_server *s, const struct eg_h1_head *head)
{
	s->keep_alive = head->keep_alive;
	s->http10 = head->minor == 0;
	s->expect_continue = head->expect_continue && head->body != EG_H1_BODY_NONE && !s->http10;
	s->body = head->body;
	s->left = head->content_length;
	s->scan = (struct eg_h1_scan){0};
	if (head->body == EG_H1_BODY_CHUNKED)
		eg_chunked_init(&s->chunked);
	if (!create_exchange(s, head))
		return;
	eg_buf_consume(&s->in, head->head_bytes);
	set_receive(s, head->body == EG_H1_BODY_NONE ||
				       (head->body == EG_H1_BODY_LENGTH && !head->content_length)
			       ? H1_RECEIVE_COMPLETE
			       : H1_RECEIVE_HOLD);
	eg_exchange_start(s->exchange);
}

/* True: something was done. */
static bool take_head(struct h1_server *s)
{
	struct eg_h1_head *head = &s->engine->scratch;
	enum eg_reason reason = EG_REASON_BAD_REQUEST;
	const char *wrong = NULL;

	if (!s->in.length)
		return false;
	if (!s->head_began_ms)
		s->head_began_ms = now_ms(s);
	switch (eg_h1_parse_request(&s->scan, eg_buf_str(&s->in), &eg_h1_default_limits, head,
				    &reason)) {
	case EG_IO_AGAIN:
		/* Half a head is held like half a body. */
		reason = eg_account_hold(s->engine, s->peer->account, &s->charged, in_use(s));
		if (reason == EG_REASON_OK)
			return false;
		break;
	case EG_IO_DONE:
		reason = eg_account_state(s->engine, s->peer->account);
		if (reason != EG_REASON_OK)
			break;
		begin_request(s, head);
		return true;
	case EG_IO_FAIL:
		wrong = head->wrong;
		break;
	case EG_IO_EOF:
		break;
	}
	refuse(s, reason, wrong);
	return true;
}

/* The next run of body bytes; *ended: the body ends with it. False: malformed. */
static bool next_run(struct h1_server *s, struct eg_str *run, size_t *used, bool *ended)
{
	struct eg_str in = eg_buf_str(&s->in);
	enum eg_io r;

	if (s->tunnel) {
		*run = in;
		*used = in.n;
		*ended = s->eof;
		return true;
	}
	if (s->body == EG_H1_BODY_LENGTH) {
		in.n = (size_t)EG_MIN((uint64_t)in.n, s->left);
		*run = in;
		*used = in.n;
		s->left -= in.n;
		*ended = !s->left;
		return true;
	}
	r = eg_chunked_decode(&s->chunked, in, used, run);
	*ended = r == EG_IO_DONE;
	return r != EG_IO_FAIL;
}

static bool take_body(struct h1_server *s)
{
	bool discard = s->receive == H1_RECEIVE_DISCARD, ended = false, more = true;
	struct eg_str run = {NULL, 0};
	size_t used = 0;

	if (!s->in.length && !(s->tunnel && s->eof))
		return false;
	if (!next_run(s, &run, &used, &ended)) {
		s->keep_alive = false;
		if (discard || s->answer != H1_ANSWER_WAIT) {
			over(s, true, EG_REASON_SMUGGLING);
			return true;
		}
		eg_exchange_refuse(s->exchange, EG_REASON_SMUGGLING,
				   "The request's chunks are malformed.", true);
		return true;
	}
	if (run.n && !discard && s->exchange)
		more = eg_exchange_data(s->exchange, run);
	if (s->receive == H1_RECEIVE_CLOSED)
		return true;
	eg_buf_consume(&s->in, used);
	if (discard && (s->lingered += used) > 2 * DISCARD_MAX) {
		over(s, true, EG_REASON_BODY_TOO_LARGE);
	} else if (ended && discard) {
		set_receive(s, H1_RECEIVE_HEAD);
	} else if (ended) {
		set_receive(s, H1_RECEIVE_COMPLETE);
		if (s->exchange)
			eg_exchange_data_end(s->exchange);
	} else if (!more && s->receive == H1_RECEIVE_BODY) {
		set_receive(s, H1_RECEIVE_HOLD);
	}
	return used > 0 || ended;
}

/* ---- the end of an answer ---- */

static void linger(struct h1_server *s)
{
	s->ended_ms = now_ms(s);
	s->lingered = 0;
	set_receive(s, H1_RECEIVE_LINGER);
	eg_stream_shutdown(s->stream);
	eg_buf_clear(&s->in);
	eg_buf_release(&s->in);
	if (s->eof)
		over(s, false, EG_REASON_OK);
}

static bool finish_answer(struct h1_server *s)
{
	if (s->out.length)
		return false;
	eg_exchange_destroy(s->exchange);
	s->exchange = NULL;
	set_answer(s, H1_ANSWER_NONE);
	/* Its head may have gone before the drain began, and said nothing of an end. */
	if (s->close_after || s->eof || (s->engine->draining && !s->in.length)) {
		linger(s);
	} else if (s->receive == H1_RECEIVE_COMPLETE) {
		set_receive(s, H1_RECEIVE_HEAD);
	} else {
		s->lingered = 0;
		set_receive(s, H1_RECEIVE_DISCARD);
	}
	return true;
}

/* All that was written must have arrived, or a reset could take it away again. */
static bool delivered(struct h1_server *s)
{
	struct tcp_info info = {0};
	socklen_t n = sizeof(info);

	if (s->out.length || eg_stream_flush(s->stream) != EG_IO_DONE)
		return false;
	if (getsockopt(eg_stream_fd(s->stream), IPPROTO_TCP, TCP_INFO, &info, &n))
		return true;
	return !info.tcpi_unacked && !info.tcpi_notsent_bytes;
}

static bool finish_cut(struct h1_server *s)
{
	if (delivered(s) || now_ms(s) - s->ended_ms >= CUT_MS) {
		over(s, true, EG_REASON_UPSTREAM_RESET);
		return true;
	}
	if (eg_timer_set(s->engine->loop, &s->timer, CUT_STEP_MS))
		over(s, true, EG_REASON_OVERLOADED);
	return false;
}

/* ---- time ---- */

/* When the state ends by itself; UINT64_MAX: it is not the client's turn. */
static uint64_t deadline(const struct h1_server *s)
{
	const struct eg_limits *l = &s->engine->limits;

	if (s->receive == H1_RECEIVE_LINGER)
		return s->ended_ms + LINGER_MS;
	if (s->out.length)
		return s->activity_ms + l->write_idle_ms;
	if (s->tunnel) /* the exchange knows both directions, and has their limit */
		return UINT64_MAX;
	if (s->receive == H1_RECEIVE_BODY && s->answer == H1_ANSWER_BODY)
		return UINT64_MAX; /* answered early: what is left of it is not waited for */
	if (s->receive == H1_RECEIVE_BODY || s->receive == H1_RECEIVE_DISCARD)
		return s->activity_ms + l->body_idle_ms;
	if (s->receive != H1_RECEIVE_HEAD)
		return UINT64_MAX;
	if (s->head_began_ms)
		return s->head_began_ms + l->head_ms;
	return s->activity_ms + (s->requests ? l->idle_ms : l->head_ms);
}

static void expire(struct h1_server *s)
{
	if (s->receive == H1_RECEIVE_LINGER || s->receive == H1_RECEIVE_DISCARD) {
		over(s, false, EG_REASON_OK);
	} else if (s->out.length) {
		over(s, true, EG_REASON_CLIENT_SLOW);
	} else if (s->receive == H1_RECEIVE_BODY) {
		s->keep_alive = false;
		if (s->answer == H1_ANSWER_WAIT)
			eg_exchange_refuse(s->exchange, EG_REASON_REQUEST_TIMEOUT, NULL, true);
		else
			over(s, true, EG_REASON_REQUEST_TIMEOUT);
	} else if (s->head_began_ms) {
		refuse(s, EG_REASON_REQUEST_TIMEOUT, NULL);
	} else {
		over(s, false, EG_REASON_OK); /* idle */
	}
}

static bool quiet(const struct h1_server *s)
{
	bool waits = s->receive == H1_RECEIVE_HEAD || (s->tunnel && s->receive == H1_RECEIVE_BODY);

	return waits && !s->in.length && !s->out.length;
}

/* Never later than the deadline; earlier costs a look. */
static void arm(struct h1_server *s)
{
	uint64_t now = now_ms(s), due = deadline(s);
	uint64_t delay = due == UINT64_MAX ? 30000 : due > now ? due - now : 0;

	if (quiet(s) && (s->in.p || s->out.p))
		delay = EG_MIN(delay, (uint64_t)IDLE_GIVE_BACK_MS);
	if (s->receive == H1_RECEIVE_CLOSED ||
	    (eg_timer_armed(&s->timer) && s->timer.due_ms <= now + delay))
		return;
	if (eg_timer_set(s->engine->loop, &s->timer, delay))
		over(s, true, EG_REASON_OVERLOADED);
}

static void on_timer(struct eg_timer *t)
{
	struct h1_server *s = eg_container_of(t, struct h1_server, timer);

	if (s->answer == H1_ANSWER_CUT) {
		advance(s);
		return;
	}
	if (deadline(s) <= now_ms(s)) {
		expire(s);
	} else if (quiet(s) && now_ms(s) - s->activity_ms >= IDLE_GIVE_BACK_MS) {
		eg_buf_release(&s->in);
		eg_buf_release(&s->out);
		eg_stream_idle(s->stream);
		charge(s);
	}
	advance(s);
}

/* ---- the engine of it ---- */

static bool take_one(struct h1_server *s)
{
	if (s->answer == H1_ANSWER_CUT)
		return finish_cut(s);
	if (s->answer == H1_ANSWER_ENDED)
		return finish_answer(s);
	switch (s->receive) {
	case H1_RECEIVE_HEAD:
		return take_head(s);
	case H1_RECEIVE_BODY:
	case H1_RECEIVE_DISCARD:
		return take_body(s);
	case H1_RECEIVE_LINGER:
		s->lingered += s->in.length;
		eg_buf_clear(&s->in);
		if (s->eof || s->lingered > LINGER_BYTES)
			over(s, false, EG_REASON_OK);
		return false;
	case H1_RECEIVE_HOLD:
	case H1_RECEIVE_COMPLETE:
	case H1_RECEIVE_CLOSED:
		break;
	}
	return false;
}

/* Does all that can be done with what has been read and written. The only place that calls into
 * the exchange with input; nested calls only ask it to go round again. */
static void advance(struct h1_server *s)
{
	if (s->busy) {
		s->again = true;
		return;
	}
	s->busy = true;
	do {
		s->again = false;
		while (s->receive != H1_RECEIVE_CLOSED && take_one(s))
			;
	} while (s->again && s->receive != H1_RECEIVE_CLOSED);
	s->busy = false;
	if (s->receive == H1_RECEIVE_CLOSED)
		return;
	charge(s);
	arm(s);
	interest(s);
}

/* The client ended its direction, or is gone. */
static void on_end(struct h1_server *s, enum eg_io r)
{
	s->eof = true;
	if (s->receive == H1_RECEIVE_LINGER) {
		over(s, false, EG_REASON_OK);
	} else if (s->answer == H1_ANSWER_CUT) {
		over(s, true, EG_REASON_OK);
	} else if (r == EG_IO_EOF && s->answer == H1_ANSWER_ENDED) {
		return; /* the answer is on its way; then we end too */
	} else if (r == EG_IO_EOF && s->tunnel && s->answer == H1_ANSWER_BODY) {
		return; /* only its direction: advance() passes that on */
	} else {
		over(s, r != EG_IO_EOF || s->exchange, EG_REASON_CLIENT_CLOSED);
	}
}

static void read_some(struct h1_server *s)
{
	size_t total = 0;

	while (s->receive != H1_RECEIVE_CLOSED && !s->eof && total < TURN_BYTES) {
		size_t before = s->in.length;
		enum eg_io r;

		if ((s->receive == H1_RECEIVE_HOLD || s->receive == H1_RECEIVE_COMPLETE) &&
		    before >= READ_AHEAD)
			break;
		r = eg_stream_read(s->stream, &s->in, READ_BYTES);
		if (r == EG_IO_AGAIN)
			break;
		if (r != EG_IO_DONE) {
			on_end(s, r);
			break;
		}
		total += s->in.length - before;
		s->activity_ms = now_ms(s);
		advance(s);
	}
	advance(s);
}

static void on_event(struct eg_stream *stream, unsigned int events, void *ctx)
{
	struct h1_server *s = ctx;

	(void)stream;
	if (events & EG_STREAM_FAILED) {
		over(s, true, EG_REASON_CLIENT_CLOSED);
		return;
	}
	if ((events & EG_STREAM_WRITE) && write_pieces(s, NULL, 0) && s->exchange &&
	    s->answer == H1_ANSWER_BODY)
		eg_exchange_resume(s->exchange);
	if (s->receive != H1_RECEIVE_CLOSED && (events & EG_STREAM_READ))
		read_some(s);
	else
		advance(s);
}

static const struct eg_stream_handler handler = {on_event};

void h1_server_init(struct h1_server *s, struct eg_engine *engine, struct eg_peer *peer,
		    void (*over_fn)(void *ctx, bool reset), void *ctx)
{
	*s = (struct h1_server){.engine = engine, .peer = peer, .over = over_fn, .ctx = ctx};
	eg_buf_init(&s->in, IN_CAP);
	eg_buf_init(&s->out, 4 * EG_UPSTREAM_READ_BYTES);
	eg_timer_init(&s->timer, on_timer);
	s->push.run = push;
}

void h1_server_begin(struct h1_server *s, struct eg_stream *stream)
{
	s->stream = stream;
	s->begun = true;
	s->activity_ms = now_ms(s);
	eg_stream_set_handler(stream, &handler, s);
	interest(s);
	arm(s);
}

bool h1_server_idle(const struct h1_server *s)
{
	return s->receive == H1_RECEIVE_HEAD && !s->exchange && !s->out.length && !s->in.length;
}

void h1_server_fini(struct h1_server *s, enum eg_reason reason)
{
	s->over_called = true;
	s->receive = H1_RECEIVE_CLOSED;
	drop_exchange(s, reason);
	eg_timer_cancel(s->engine->loop, &s->timer);
	eg_buf_fini(&s->in);
	eg_buf_fini(&s->out);
	charge(s);
}
