/* SPDX-License-Identifier: Apache-2.0 */
#include "base/state.h"
#include "front/h1_impl.h"

#define IN_CAP	     (96u * 1024u) /* over the largest head */
#define READ_BYTES   (16u * 1024u)
#define TURN_BYTES   (256u * 1024u)
#define LINGER_BYTES (1024u * 1024u)

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

void h1_set_receive(struct h1_server *s, enum h1_receive to)
{
	eg_state_check("h1 receive", receive_successors, s->receive, to);
	s->receive = to;
}

void h1_set_answer(struct h1_server *s, enum h1_answer to)
{
	eg_state_check("h1 answer", answer_successors, s->answer, to);
	s->answer = to;
}

static void drop_exchange(struct h1_server *s, enum eg_reason reason)
{
	if (!s->exchange)
		return;
	eg_exchange_abandon(s->exchange, reason);
	eg_exchange_destroy(s->exchange);
	s->exchange = NULL;
}

void h1_over(struct h1_server *s, bool reset, enum eg_reason reason)
{
	if (s->receive == H1_RECEIVE_CLOSED)
		return;
	h1_set_receive(s, H1_RECEIVE_CLOSED);
	s->reset_wanted = reset;
	drop_exchange(s, reason);
	eg_timer_cancel(s->engine->loop, &s->timer);
	/* Our caller may be inside an exchange or h1_advance(): the owner hears of it at the end.
	 */
	eg_loop_defer(s->engine->loop, &s->push);
}

/* ---- requests ---- */

static bool create_exchange(struct h1_server *s, const struct eg_h1_head *head)
{
	s->peer->reused = s->requests > 0;
	s->exchange =
		eg_exchange_create(s->engine, s->peer, head, eg_buf_str(&s->in), &h1_sink_ops, s);
	if (!s->exchange) {
		h1_over(s, true, EG_REASON_OVERLOADED);
		return false;
	}
	if (s->head_began_ms)
		eg_exchange_began(s->exchange, s->head_began_ms);
	s->head_began_ms = 0;
	s->requests++;
	h1_set_answer(s, H1_ANSWER_WAIT);
	return true;
}

/* `wrong`: with what, a part of a sentence; or NULL. */
void h1_refuse(struct h1_server *s, enum eg_reason reason, const char *wrong)
{
	s->keep_alive = false;
	s->http10 = false;
	s->expect_continue = false;
	s->body = EG_H1_BODY_NONE;
	if (!create_exchange(s, NULL))
		return;
	h1_set_receive(s, H1_RECEIVE_COMPLETE);
	eg_exchange_refuse(s->exchange, reason, wrong, true);
}

static void begin_request(struct h1_server *s, const struct eg_h1_head *head)
{
	bool no_byte = head->body == EG_H1_BODY_LENGTH && !head->content_length;

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
	h1_set_receive(s, head->body == EG_H1_BODY_NONE || no_byte ? H1_RECEIVE_COMPLETE
								   : H1_RECEIVE_HOLD);
	eg_exchange_start(s->exchange);
	/* A length is of a body all the same, and nobody else will say that it is over. */
	if (no_byte && s->exchange)
		eg_exchange_data_end(s->exchange);
}

/* True: something was done. */
static bool take_head(struct h1_server *s)
{
	struct eg_h1_head *head = &s->engine->scratch;
	enum eg_reason reason = EG_REASON_BAD_REQUEST;
	const char *wrong = NULL;

	if (!s->in.length || s->next_turn)
		return false;
	if (!s->head_began_ms)
		s->head_began_ms = h1_now_ms(s);
	switch (eg_h1_parse_request(&s->scan, eg_buf_str(&s->in), &eg_h1_default_limits, head,
				    &reason)) {
	case EG_IO_AGAIN:
		/* Half a head is held like half a body. */
		reason = eg_account_hold(s->engine, s->peer->account, &s->charged, h1_in_use(s));
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
	h1_refuse(s, reason, wrong);
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
			h1_over(s, true, EG_REASON_SMUGGLING);
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
	if (discard && (s->lingered += used) > 2 * H1_DISCARD_MAX) {
		h1_over(s, true, EG_REASON_BODY_TOO_LARGE);
	} else if (ended && discard) {
		h1_set_receive(s, H1_RECEIVE_HEAD);
	} else if (ended) {
		h1_set_receive(s, H1_RECEIVE_COMPLETE);
		if (s->exchange)
			eg_exchange_data_end(s->exchange);
	} else if (!more && s->receive == H1_RECEIVE_BODY) {
		h1_set_receive(s, H1_RECEIVE_HOLD);
	}
	return used > 0 || ended;
}

/* ---- the engine of it ---- */

static bool take_one(struct h1_server *s)
{
	if (s->answer == H1_ANSWER_CUT)
		return h1_finish_cut(s);
	if (s->answer == H1_ANSWER_ENDED)
		return h1_finish_answer(s);
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
			h1_over(s, false, EG_REASON_OK);
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
void h1_advance(struct h1_server *s)
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
	h1_charge(s);
	h1_arm(s);
	h1_interest(s);
}

/* The client ended its direction, or is gone. */
static void on_end(struct h1_server *s, enum eg_io r)
{
	s->eof = true;
	if (s->receive == H1_RECEIVE_LINGER) {
		h1_over(s, false, EG_REASON_OK);
	} else if (s->answer == H1_ANSWER_CUT) {
		h1_over(s, true, EG_REASON_OK);
	} else if (r == EG_IO_EOF && s->answer == H1_ANSWER_ENDED) {
		return; /* the answer is on its way; then we end too */
	} else if (r == EG_IO_EOF && s->tunnel && s->answer == H1_ANSWER_BODY) {
		return; /* only its direction: h1_advance() passes that on */
	} else {
		h1_over(s, r != EG_IO_EOF || s->exchange, EG_REASON_CLIENT_CLOSED);
	}
}

static void read_some(struct h1_server *s)
{
	size_t total = 0;

	while (s->receive != H1_RECEIVE_CLOSED && !s->eof && total < TURN_BYTES) {
		size_t before = s->in.length;
		enum eg_io r;

		if (!h1_wants_all(s) && before >= H1_READ_AHEAD)
			break;
		r = eg_stream_read(s->stream, &s->in, READ_BYTES);
		if (r == EG_IO_AGAIN)
			break;
		if (r != EG_IO_DONE) {
			on_end(s, r);
			break;
		}
		total += s->in.length - before;
		s->activity_ms = h1_now_ms(s);
		h1_advance(s);
	}
	h1_advance(s);
}

static void on_event(struct eg_stream *stream, unsigned int events, void *ctx)
{
	struct h1_server *s = ctx;

	(void)stream;
	if (events & EG_STREAM_FAILED) {
		h1_over(s, true, EG_REASON_CLIENT_CLOSED);
		return;
	}
	if (events & EG_STREAM_WRITE)
		h1_write_waiting(s);
	if (s->receive != H1_RECEIVE_CLOSED && (events & EG_STREAM_READ))
		read_some(s);
	else
		h1_advance(s);
}

static const struct eg_stream_handler handler = {on_event};

void h1_server_init(struct h1_server *s, struct eg_engine *engine, struct eg_peer *peer,
		    void (*over_fn)(void *ctx, bool reset), void *ctx)
{
	*s = (struct h1_server){.engine = engine, .peer = peer, .over = over_fn, .ctx = ctx};
	eg_buf_init_secret(&s->in, IN_CAP); /* a key of the client's */
	eg_buf_init(&s->out, 4 * EG_UPSTREAM_READ_BYTES);
	eg_timer_init(&s->timer, h1_on_timer);
	s->push.run = h1_push;
}

void h1_server_begin(struct h1_server *s, struct eg_stream *stream)
{
	s->stream = stream;
	s->begun = true;
	s->activity_ms = h1_now_ms(s);
	eg_stream_set_handler(stream, &handler, s);
	h1_interest(s);
	h1_arm(s);
}

bool h1_server_idle(const struct h1_server *s, uint64_t quiet_ms)
{
	return s->receive == H1_RECEIVE_HEAD && !s->exchange && !s->out.length && !s->in.length &&
	       h1_now_ms(s) - s->activity_ms >= quiet_ms;
}

void h1_server_fini(struct h1_server *s, enum eg_reason reason)
{
	s->over_called = true;
	s->receive = H1_RECEIVE_CLOSED;
	drop_exchange(s, reason);
	eg_timer_cancel(s->engine->loop, &s->timer);
	eg_buf_fini(&s->in);
	eg_buf_fini(&s->out);
	h1_charge(s);
}
