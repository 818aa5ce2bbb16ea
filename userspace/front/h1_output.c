/* SPDX-License-Identifier: Apache-2.0 */
/* What goes to the client, and how an answer ends: in order, or with a reset that takes nothing of
 * it away. */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "front/h1_answer.h"
#include "front/h1_impl.h"

#define CUT_MS	    1000u
#define CUT_STEP_MS 5u
#define UNCHARGED   (16u * 1024u) /* of each buffer: what every connection may have */

/* ---- memory ---- */

size_t h1_in_use(const struct h1_server *s)
{
	return (s->in.size > UNCHARGED ? s->in.size : 0) +
	       (s->out.size > UNCHARGED ? s->out.size : 0);
}

/* An answer that waits for a slow reader can't be refused any more: it counts against what comes
 * next. */
void h1_charge(struct h1_server *s)
{
	size_t bytes = h1_in_use(s);

	if (bytes != s->charged)
		eg_account_charge(s->engine, s->peer->account, &s->charged, bytes);
}

/* ---- output ---- */

void h1_interest(struct h1_server *s)
{
	bool read = h1_wants_all(s) || s->in.length < H1_READ_AHEAD;

	if (s->receive == H1_RECEIVE_CLOSED)
		return;
	eg_stream_want(s->stream, read && !s->eof && s->answer != H1_ANSWER_CUT, s->out.length > 0);
}

/* Nobody reads, and too much is held: it was ended. */
static bool excess(struct h1_server *s)
{
	enum eg_reason reason = eg_account_excess(s->engine, s->peer->account);

	if (reason != EG_REASON_OK)
		h1_over(s, true, reason);
	return reason != EG_REASON_OK;
}

bool h1_write_pieces(struct h1_server *s, const struct iovec *pieces, int count)
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
		h1_over(s, true, EG_REASON_CLIENT_CLOSED);
		return true;
	}
	if (written || !waited)
		s->activity_ms = h1_now_ms(s); /* the client's time to read begins here */
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
			h1_over(s, true, EG_REASON_OVERLOADED);
			return true;
		}
	}
	h1_interest(s);
	h1_charge(s);
	if (s->out.length && !waited)
		h1_arm(s);
	if (s->out.length && excess(s))
		return true;
	return !s->out.length;
}

void h1_write_waiting(struct h1_server *s)
{
	if (h1_write_pieces(s, NULL, 0) && s->exchange && s->answer == H1_ANSWER_BODY)
		eg_exchange_resume(s->exchange);
}

void h1_push(struct eg_defer *d)
{
	struct h1_server *s = eg_container_of(d, struct h1_server, push);

	if (s->receive != H1_RECEIVE_CLOSED) {
		h1_write_waiting(s);
		if (s->receive != H1_RECEIVE_CLOSED) {
			h1_advance(s);
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
	return s->body == EG_H1_BODY_LENGTH && s->left <= H1_DISCARD_MAX;
}

/* The next request is here already, in part at least: the end is said in its answer. */
static bool next_is_here(const struct h1_server *s)
{
	return s->receive == H1_RECEIVE_COMPLETE && s->in.length;
}

static void sink_head(void *ctx, const struct eg_answer *a)
{
	struct h1_server *s = ctx;
	int r;

	s->tunnel = a->status == 101;
	s->no_body = a->no_body;
	s->last_chunk = false;
	s->chunked_out = !a->length_known && !a->no_body && !s->http10 && !s->tunnel;
	s->close_after = a->close || s->tunnel || !s->keep_alive ||
			 (s->engine->draining && !next_is_here(s)) || !body_left_small(s) ||
			 (!a->length_known && !a->no_body && s->http10);
	h1_set_answer(s, H1_ANSWER_BODY);
	s->activity_ms = h1_now_ms(s);
	if (s->tunnel)
		h1_set_receive(s, H1_RECEIVE_BODY);
	r = h1_write_answer_head(&s->out, a, s->chunked_out, s->close_after, s->http10);
	if (r)
		h1_over(s, true, EG_REASON_OVERLOADED);
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
		return h1_write_pieces(s, &body, 1);
	v[0].iov_len = eg_chunked_head(frame, data.n);
	return h1_write_pieces(s, v, 3);
}

static void sink_trailers(void *ctx, const struct eg_header *fields, size_t count)
{
	struct h1_server *s = ctx;

	if (s->receive == H1_RECEIVE_CLOSED || !s->chunked_out || s->no_body)
		return;
	s->last_chunk = true;
	if (h1_write_trailers(&s->out, fields, count))
		h1_over(s, true, EG_REASON_OVERLOADED);
}

static void sink_end(void *ctx)
{
	struct h1_server *s = ctx;
	struct eg_str end = s->last_chunk ? EG_STR("\r\n") : EG_STR(EG_CHUNKED_END);

	if (s->receive == H1_RECEIVE_CLOSED)
		return;
	if (s->chunked_out && !s->no_body && eg_buf_append_str(&s->out, end)) {
		h1_over(s, true, EG_REASON_OVERLOADED);
		return;
	}
	h1_set_answer(s, H1_ANSWER_ENDED);
	eg_loop_defer(s->engine->loop, &s->push);
}

static void sink_cut(void *ctx)
{
	struct h1_server *s = ctx;

	if (s->receive == H1_RECEIVE_CLOSED)
		return;
	h1_set_answer(s, H1_ANSWER_CUT);
	s->ended_ms = h1_now_ms(s);
	eg_loop_defer(s->engine->loop, &s->push);
}

static void sink_want(void *ctx)
{
	struct h1_server *s = ctx;

	if (s->receive != H1_RECEIVE_HOLD)
		return;
	h1_set_receive(s, H1_RECEIVE_BODY);
	s->activity_ms = h1_now_ms(s);
	if (s->expect_continue && !s->in.length &&
	    eg_buf_append_str(&s->out, EG_STR("HTTP/1.1 100 Continue\r\n\r\n")))
		h1_over(s, true, EG_REASON_OVERLOADED);
	s->expect_continue = false;
	eg_loop_defer(s->engine->loop, &s->push);
}

const struct eg_sink_ops h1_sink_ops = {
	.head = sink_head,
	.data = sink_data,
	.trailers = sink_trailers,
	.end = sink_end,
	.cut = sink_cut,
	.want = sink_want,
};

/* ---- the end of an answer ---- */

void h1_linger(struct h1_server *s)
{
	s->ended_ms = h1_now_ms(s);
	s->lingered = 0;
	h1_set_receive(s, H1_RECEIVE_LINGER);
	eg_stream_shutdown(s->stream);
	eg_buf_clear(&s->in);
	eg_buf_release(&s->in);
	if (s->eof)
		h1_over(s, false, EG_REASON_OK);
}

/* One request of a connection in a turn of the loop: hundreds are read at once, if they are small,
 * and what is answered here without asking anybody would go on to the last of them. */
static void wait_for_turn(struct h1_server *s)
{
	if (!s->in.length)
		return;
	s->next_turn = true;
	if (eg_timer_set(s->engine->loop, &s->timer, 0))
		h1_over(s, true, EG_REASON_OVERLOADED);
}

bool h1_finish_answer(struct h1_server *s)
{
	if (s->out.length)
		return false;
	eg_exchange_destroy(s->exchange);
	s->exchange = NULL;
	h1_set_answer(s, H1_ANSWER_NONE);
	/* Its head may have gone before the drain began, and said nothing of an end: the client may
	 * be sending its next request, which a gentle drain still answers. */
	if (s->close_after || s->eof ||
	    (s->engine->draining && !s->engine->drains_gently && !s->in.length)) {
		h1_linger(s);
	} else if (s->receive == H1_RECEIVE_COMPLETE) {
		h1_set_receive(s, H1_RECEIVE_HEAD);
		wait_for_turn(s);
	} else {
		s->lingered = 0;
		h1_set_receive(s, H1_RECEIVE_DISCARD);
		wait_for_turn(s);
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

bool h1_finish_cut(struct h1_server *s)
{
	if (delivered(s) || h1_now_ms(s) - s->ended_ms >= CUT_MS) {
		h1_over(s, true, EG_REASON_UPSTREAM_RESET);
		return true;
	}
	if (eg_timer_set(s->engine->loop, &s->timer, CUT_STEP_MS))
		h1_over(s, true, EG_REASON_OVERLOADED);
	return false;
}
