/* SPDX-License-Identifier: Apache-2.0 */
#include "front/h2_stream.h"

#include <stdlib.h>

#include "base/state.h"
#include "front/h2_answer.h"

#define OUT_HIGH    (64u * 1024u) /* above it the provider is not read */
#define OUT_CROWDED (4u * 1024u)  /* the same, where the pod holds much already */
#define OUT_LOW	    (16u * 1024u)
#define OUT_CAP	    (4 * EG_UPSTREAM_READ_BYTES)
#define IN_CAP	    (64u * 1024u) /* the window: a client can't send more */
#define CUT_MS	    1000u
/* What a request takes beside its head and its body: the exchange, its arena, nghttp2's stream. */
#define STREAM_BYTES (8u * 1024u)

static const uint32_t receive_successors[] = {
	[H2_RECEIVE_HOLD] =
		EG_TO(H2_RECEIVE_BODY) | EG_TO(H2_RECEIVE_COMPLETE) | EG_TO(H2_RECEIVE_DISCARD),
	[H2_RECEIVE_BODY] =
		EG_TO(H2_RECEIVE_HOLD) | EG_TO(H2_RECEIVE_COMPLETE) | EG_TO(H2_RECEIVE_DISCARD),
	[H2_RECEIVE_COMPLETE] = 0,
	[H2_RECEIVE_DISCARD] = 0,
};

static const uint32_t answer_successors[] = {
	[H2_ANSWER_WAIT] = EG_TO(H2_ANSWER_BODY) | EG_TO(H2_ANSWER_CUT) | EG_TO(H2_ANSWER_RESET),
	[H2_ANSWER_BODY] = EG_TO(H2_ANSWER_ENDED) | EG_TO(H2_ANSWER_CUT) | EG_TO(H2_ANSWER_RESET),
	[H2_ANSWER_ENDED] = EG_TO(H2_ANSWER_RESET),
	[H2_ANSWER_CUT] = EG_TO(H2_ANSWER_RESET),
	[H2_ANSWER_RESET] = 0,
};

static void set_receive(struct h2_stream *st, enum h2_receive to)
{
	eg_state_check("h2 receive", receive_successors, st->receive, to);
	st->receive = to;
}

static void set_answer(struct h2_stream *st, enum h2_answer to)
{
	eg_state_check("h2 answer", answer_successors, st->answer, to);
	st->answer = to;
}

static nghttp2_session *session(const struct h2_stream *st)
{
	return st->server->session;
}

/* Work for the end of the tick. */
static void todo(struct h2_stream *st)
{
	if (eg_list_empty(&st->todo))
		eg_list_append(&st->server->todo, &st->todo);
	h2_server_wake(st->server);
}

static void count(struct h2_stream *st)
{
	h2_server_count(st->server, &st->in_counted, st->in.size);
	h2_server_count(st->server, &st->out_counted, st->out.size);
}

/* ---- the end ---- */

/* What is left of the body is of no use; the window stays shut, so that little of it comes. */
static void discard(struct h2_stream *st)
{
	if (st->receive == H2_RECEIVE_HOLD || st->receive == H2_RECEIVE_BODY)
		set_receive(st, H2_RECEIVE_DISCARD);
	eg_buf_clear(&st->in);
	eg_buf_release(&st->in);
	count(st);
}

static void drop_exchange(struct h2_stream *st, enum eg_reason reason)
{
	struct eg_exchange *x = st->exchange;

	st->exchange = NULL;
	if (!x)
		return;
	eg_exchange_abandon(x, reason);
	eg_exchange_destroy(x);
}

/* Now: what nghttp2 has not sent of this stream is lost. */
static void reset(struct h2_stream *st, uint32_t error, enum eg_reason reason)
{
	if (st->answer == H2_ANSWER_RESET)
		return;
	drop_exchange(st, reason);
	set_answer(st, H2_ANSWER_RESET);
	discard(st);
	(void)h2_server_failed(st->server, nghttp2_submit_rst_stream(session(st), NGHTTP2_FLAG_NONE,
								     st->id, error));
	h2_server_wake(st->server);
}

void h2_stream_malformed(struct h2_stream *st, enum eg_reason reason, const char *detail)
{
	if (st->exchange)
		eg_exchange_reject(st->exchange, reason, detail);
	reset(st, NGHTTP2_PROTOCOL_ERROR, reason);
}

void h2_stream_lost(struct h2_stream *st)
{
	reset(st, NGHTTP2_INTERNAL_ERROR, EG_REASON_INTERNAL);
}

void h2_stream_give_up(struct h2_stream *st, enum eg_reason reason)
{
	drop_exchange(st, reason);
}

static void drop_trailers(struct h2_stream *st)
{
	free(st->trailers);
	st->trailers = NULL;
	h2_server_count(st->server, &st->trailers_counted, 0);
}

void h2_stream_closed(struct h2_stream *st, enum eg_reason reason)
{
	struct h2_server *s = st->server;

	drop_exchange(st, reason);
	eg_list_remove(&st->link);
	eg_list_remove(&st->todo);
	eg_buf_fini(&st->in);
	eg_buf_fini(&st->out);
	count(st);
	drop_trailers(st);
	h2_server_count(s, &st->own_counted, 0);
	if (!--s->stream_count)
		s->idle_since_ms = h2_server_now(s);
	free(st);
}

/* ---- the exchange's sink ---- */

static void sink_head(void *ctx, const struct eg_answer *a)
{
	struct h2_stream *st = ctx;
	struct h2_server *s = st->server;

	st->no_body = a->no_body || a->whole || st->head_method;
	st->taken_ms = h2_server_now(s);
	set_answer(st, H2_ANSWER_BODY);
	if (h2_server_failed(s, h2_submit_answer(session(st), st->id, a, st->no_body)))
		return;
	if (a->last || (s->engine->draining && !s->engine->drains_gently))
		h2_server_end(s);
	else if (s->engine->draining)
		h2_server_end_gently(s);
	h2_server_wake(s);
}

static void more_data(struct h2_stream *st)
{
	if (!st->deferred)
		return;
	st->deferred = false;
	(void)h2_server_failed(st->server, nghttp2_session_resume_data(session(st), st->id));
}

/* An answer can't be refused any more: it counts against what comes next. */
static size_t out_high(const struct h2_stream *st)
{
	return eg_account_half(st->server->engine, st->server->peer->account) ? OUT_CROWDED
									      : OUT_HIGH;
}

static size_t out_low(const struct h2_stream *st)
{
	return EG_MIN((size_t)OUT_LOW, out_high(st) / 4);
}

/* Some of it would wait for the client to open a window, or to read. */
static bool is_left(const struct h2_stream *st)
{
	const struct h2_server *s = st->server;
	int32_t own = nghttp2_session_get_stream_remote_window_size(s->session, st->id);
	int32_t all = nghttp2_session_get_remote_window_size(s->session);

	return s->full || (int64_t)st->out.length > EG_MAX(EG_MIN(own, all), 0);
}

static bool sink_data(void *ctx, struct eg_str data)
{
	struct h2_stream *st = ctx;
	enum eg_reason reason;

	if (st->no_body || !data.n)
		return true;
	if (st->out.length + data.n > st->out.size)
		h2_server_count(st->server, &st->out_counted, st->out.length + data.n);
	if (!st->out.length)
		st->taken_ms = h2_server_now(st->server); /* the client's time begins here */
	if (eg_buf_append_str(&st->out, data)) {
		reset(st, NGHTTP2_INTERNAL_ERROR, EG_REASON_OVERLOADED);
		return true;
	}
	count(st);
	reason = eg_account_excess(st->server->engine, st->server->peer->account);
	if (reason != EG_REASON_OK && is_left(st)) {
		reset(st, NGHTTP2_ENHANCE_YOUR_CALM, reason);
		return true;
	}
	more_data(st);
	todo(st);
	st->stopped = st->out.length >= out_high(st);
	return !st->stopped;
}

static void sink_trailers(void *ctx, const struct eg_header *fields, size_t count)
{
	struct h2_stream *st = ctx;

	if (st->no_body)
		return;
	st->trailers = h2_trailers_copy(fields, count);
	if (!st->trailers)
		reset(st, NGHTTP2_INTERNAL_ERROR, EG_REASON_OVERLOADED);
	else
		h2_server_count(st->server, &st->trailers_counted, st->trailers->bytes);
}

/* The last call of an exchange: it needs no more than the tick. */
static void finished(struct h2_stream *st)
{
	struct eg_exchange *x = st->exchange;

	st->exchange = NULL;
	eg_exchange_destroy(x);
	discard(st);
	more_data(st);
	todo(st);
}

static void sink_end(void *ctx)
{
	struct h2_stream *st = ctx;

	set_answer(st, H2_ANSWER_ENDED);
	h2_bucket_earn(&st->server->control, 4);
	h2_bucket_earn(&st->server->resets, 1);
	finished(st);
}

static void sink_cut(void *ctx)
{
	struct h2_stream *st = ctx;
	bool begun = st->answer != H2_ANSWER_WAIT;

	set_answer(st, H2_ANSWER_CUT);
	st->taken_ms = h2_server_now(st->server);
	finished(st);
	if (!begun)
		reset(st, NGHTTP2_INTERNAL_ERROR, EG_REASON_OVERLOADED);
}

static void sink_want(void *ctx)
{
	struct h2_stream *st = ctx;

	if (st->receive != H2_RECEIVE_HOLD)
		return;
	set_receive(st, H2_RECEIVE_BODY);
	st->got_ms = h2_server_now(st->server);
	if (st->expect_continue && !st->in.length && !st->ended)
		(void)h2_server_failed(st->server, h2_submit_continue(session(st), st->id));
	st->expect_continue = false;
	todo(st);
}

static const struct eg_sink_ops sink_ops = {
	.head = sink_head,
	.data = sink_data,
	.trailers = sink_trailers,
	.end = sink_end,
	.cut = sink_cut,
	.want = sink_want,
};

/* ---- the request ---- */

static bool create_exchange(struct h2_stream *st, const struct eg_h1_head *head,
			    struct eg_str bytes)
{
	struct h2_server *s = st->server;

	s->peer->reused = s->requests++ > 0;
	st->exchange = eg_exchange_create(s->engine, s->peer, head, bytes, &sink_ops, st);
	if (!st->exchange)
		reset(st, NGHTTP2_REFUSED_STREAM, EG_REASON_OVERLOADED);
	else if (head) /* just after its block ended */
		eg_exchange_began(st->exchange, s->block_began_ms);
	return st->exchange;
}

static void refuse(struct h2_stream *st, enum eg_reason reason, const char *detail)
{
	if (st->exchange || create_exchange(st, NULL, EG_STR("")))
		eg_exchange_refuse(st->exchange, reason, detail, false);
}

static void begin(struct h2_stream *st, const struct eg_h1_head *head, struct eg_str bytes)
{
	struct h2_server *s = st->server;
	struct eg_str scheme = h2_head_value(&s->head, H2_SCHEME);
	enum eg_reason reason = eg_account_state(s->engine, s->peer->account);

	if (!create_exchange(st, head, bytes))
		return;
	st->length_known = head->body == EG_H1_BODY_LENGTH;
	st->left = head->content_length;
	st->expect_continue = head->expect_continue;
	if (st->ended && st->length_known && st->left) {
		h2_stream_malformed(st, EG_REASON_SMUGGLING,
				    "content-length announced a body that did not come");
		return;
	}
	if (head->body == EG_H1_BODY_NONE)
		set_receive(st, H2_RECEIVE_COMPLETE);
	if (reason != EG_REASON_OK)
		refuse(st, reason, NULL);
	else if (!eg_str_ieq(scheme, s->peer->server_name ? EG_STR("https") : EG_STR("http")))
		refuse(st, EG_REASON_BAD_REQUEST, "the :scheme is not the connection's");
	else
		eg_exchange_start(st->exchange);
}

static void read_head(struct h2_stream *st)
{
	struct h2_server *s = st->server;
	struct eg_h1_head *head = &s->engine->scratch;
	enum eg_reason reason = EG_REASON_BAD_REQUEST;
	struct eg_h1_scan scan = {0};
	struct eg_str bytes = eg_buf_str(&s->head.text);

	if (eg_h1_parse_request(&scan, bytes, &eg_h1_default_limits, head, &reason) == EG_IO_DONE)
		begin(st, head, bytes);
	else
		refuse(st, reason, head->wrong);
}

static void open_stream(struct h2_server *s, int32_t id, bool ended)
{
	enum h2_head_verdict verdict = h2_head_end(&s->head, !ended);
	size_t cost = STREAM_BYTES + s->head.text.length; /* the exchange copies the head */
	enum eg_reason full = h2_server_hold(s, cost);
	struct h2_stream *st = calloc(1, sizeof(*st));

	if (!st || nghttp2_session_set_stream_user_data(s->session, id, st)) {
		free(st);
		(void)h2_server_failed(s, nghttp2_submit_rst_stream(s->session, NGHTTP2_FLAG_NONE,
								    id, NGHTTP2_REFUSED_STREAM));
		h2_server_wake(s);
		return;
	}
	st->server = s;
	st->id = id;
	st->ended = ended;
	st->head_method = eg_str_eq(h2_head_value(&s->head, H2_METHOD), EG_STR("HEAD"));
	eg_list_append(&s->streams, &st->link);
	eg_list_init(&st->todo);
	s->stream_count++;
	eg_buf_init(&st->in, IN_CAP);
	eg_buf_init(&st->out, OUT_CAP);
	h2_server_count(s, &st->own_counted, cost);
	switch (verdict) {
	case H2_HEAD_OK:
		if (full == EG_REASON_OK)
			read_head(st);
		else
			refuse(st, full, NULL);
		break;
	case H2_HEAD_MALFORMED:
		if (create_exchange(st, NULL, EG_STR("")))
			h2_stream_malformed(st, EG_REASON_BAD_REQUEST, s->head.wrong);
		break;
	case H2_HEAD_TOO_LARGE:
		refuse(st, EG_REASON_HEADER_TOO_LARGE, NULL);
		break;
	case H2_HEAD_NO_MEMORY:
		refuse(st, EG_REASON_OVERLOADED, NULL);
		break;
	}
}

void h2_stream_open(struct h2_server *s, int32_t id, bool ended)
{
	/* GOAWAY calls it unprocessed (RFC 9113 section 8.7), and may not have been sent yet:
	 * nghttp2 closes the stream when it is. */
	if (s->state != H2_OPEN && id > s->goodbye)
		return;
	open_stream(s, id, ended);
}

/* The client may send as much again. */
static void consumed(struct h2_stream *st, size_t n)
{
	if (n && st->answer != H2_ANSWER_RESET)
		(void)h2_server_failed(st->server,
				       nghttp2_session_consume_stream(session(st), st->id, n));
}

/* Gives it to the exchange, which takes all; true: more is wanted. */
static void give(struct h2_stream *st, struct eg_str data)
{
	bool more = eg_exchange_data(st->exchange, data);

	if (!more && st->receive == H2_RECEIVE_BODY)
		set_receive(st, H2_RECEIVE_HOLD);
	consumed(st, data.n);
}

static void hold(struct h2_stream *st, struct eg_str data)
{
	enum eg_reason r = h2_server_hold(st->server, st->in.length + data.n);

	if (r == EG_REASON_OK && eg_buf_append_str(&st->in, data))
		r = EG_REASON_OVERLOADED;
	count(st);
	if (r == EG_REASON_OK)
		return;
	if (st->answer == H2_ANSWER_WAIT)
		refuse(st, r, NULL);
	else
		reset(st, NGHTTP2_CANCEL, r);
}

void h2_stream_data(struct h2_stream *st, struct eg_str data)
{
	if (st->receive == H2_RECEIVE_DISCARD || st->receive == H2_RECEIVE_COMPLETE)
		return;
	if (st->length_known && data.n > st->left) {
		h2_stream_malformed(st, EG_REASON_SMUGGLING, "more DATA than content-length says");
		return;
	}
	st->left -= st->length_known ? data.n : 0;
	st->got_ms = h2_server_now(st->server);
	if (st->receive == H2_RECEIVE_BODY && !st->in.length && st->exchange)
		give(st, data);
	else
		hold(st, data);
}

void h2_stream_ended(struct h2_stream *st)
{
	st->ended = true;
	if (st->length_known && st->left && st->receive != H2_RECEIVE_DISCARD)
		h2_stream_malformed(st, EG_REASON_SMUGGLING, "less DATA than content-length says");
	else
		todo(st);
}

static void take_body(struct h2_stream *st)
{
	while (st->receive == H2_RECEIVE_BODY && st->in.length && st->exchange) {
		struct eg_buf now = st->in;

		/* The exchange may end inside, and what is in `in` with it. */
		eg_buf_init(&st->in, IN_CAP);
		give(st, eg_buf_str(&now));
		eg_buf_fini(&now);
		count(st);
	}
	if (st->receive == H2_RECEIVE_BODY && st->ended && st->exchange) {
		set_receive(st, H2_RECEIVE_COMPLETE);
		eg_exchange_data_end(st->exchange);
	}
}

/* ---- the answer goes out ---- */

void h2_stream_taken(struct h2_stream *st, size_t n)
{
	eg_buf_consume(&st->out, n);
	st->taken_ms = h2_server_now(st->server);
	if (!st->out.length || (st->stopped && st->out.length <= out_low(st)))
		todo(st);
}

bool h2_stream_end_body(struct h2_stream *st, int *error)
{
	*error = 0;
	if (!st->trailers)
		return false;
	*error = h2_submit_trailers(session(st), st->id, st->trailers);
	if (!*error)
		drop_trailers(st);
	return !*error;
}

void h2_stream_end_sent(struct h2_stream *st)
{
	st->end_sent = true;
	st->taken_ms = h2_server_now(st->server);
	todo(st);
}

/*
 * RST_STREAM is due once the client has read all that was sent before it: nghttp2 drops what it
 * still has of a stream that is reset, and so do clients with what they have not given on yet. The
 * answer to a PING says that it was read; an acknowledgement of TCP's would not.
 */
static bool reset_due(const struct h2_stream *st, uint32_t *error)
{
	*error = st->answer == H2_ANSWER_CUT ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_NO_ERROR;
	/* An answer before the body's end: RFC 9113 section 8.1. */
	return st->answer == H2_ANSWER_CUT ||
	       (st->answer == H2_ANSWER_ENDED && st->end_sent && !st->ended);
}

static void finish(struct h2_stream *st)
{
	uint32_t error;

	if (!reset_due(st, &error) || st->out.length)
		return;
	if (!st->ping)
		st->ping = h2_server_ping(st->server);
	else if (st->server->pongs >= st->ping)
		reset(st, error, EG_REASON_OK);
}

static uint64_t deadline(const struct h2_stream *st)
{
	const struct eg_limits *l = &st->server->engine->limits;
	uint32_t error;

	if (st->answer == H2_ANSWER_RESET)
		return UINT64_MAX;
	if (reset_due(st, &error))
		return st->taken_ms + CUT_MS;
	if (st->out.length || st->answer == H2_ANSWER_ENDED)
		return st->taken_ms + l->write_idle_ms;
	/* Answered early, what is left of it is not waited for. */
	if (st->receive == H2_RECEIVE_BODY && st->answer == H2_ANSWER_WAIT &&
	    !(st->exchange && eg_exchange_patient(st->exchange)))
		return st->got_ms + l->body_idle_ms;
	return UINT64_MAX;
}

uint64_t h2_stream_expire(struct h2_stream *st, uint64_t now_ms)
{
	uint32_t error;

	if (deadline(st) > now_ms)
		return deadline(st);
	if (reset_due(st, &error))
		reset(st, error, EG_REASON_OK);
	else if (st->out.length || st->answer == H2_ANSWER_ENDED)
		reset(st, NGHTTP2_CANCEL, EG_REASON_CLIENT_SLOW);
	else
		refuse(st, EG_REASON_REQUEST_TIMEOUT, NULL);
	return deadline(st);
}

uint64_t h2_stream_work(struct h2_stream *st)
{
	take_body(st);
	if (st->stopped && st->out.length <= out_low(st) && st->exchange) {
		st->stopped = false;
		eg_exchange_resume(st->exchange);
	}
	finish(st);
	return deadline(st);
}
