/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request's body: held whole, read, and given to as many targets as it takes (JSON, forms), or
 * streamed through a window (all else). Held bytes are charged to the pod and the worker.
 */
#include <stdio.h>

#include "exchange/exchange_impl.h"

#define PREALLOCATE  (64u * 1024u)
#define TOGETHER     4096u	   /* pieces of a streamed body below this go on together */
#define READ_AT_ONCE (16u * 1024u) /* bodies up to this wait for no turn */

/* ---- what a provider gets ---- */

bool exchange_body_chunked(const struct eg_exchange *x)
{
	return x->streaming && x->body_kind == EG_H1_BODY_CHUNKED;
}

/* A changed body goes decoded: to code it again would be work that nobody asked for. */
bool exchange_body_coded(const struct eg_exchange *x)
{
	return x->coding != EG_CODING_IDENTITY && !x->model_now.p && !x->plain_out;
}

/* A held body, before a model is put into it. */
static struct eg_str outgoing(const struct eg_exchange *x)
{
	return exchange_body_coded(x) ? eg_buf_str(&x->held) : exchange_body_said(x);
}

uint64_t exchange_body_length(const struct eg_exchange *x)
{
	if (x->streaming)
		return x->content_length;
	if (x->model_now.p)
		return exchange_body_said(x).n - x->body.model_raw.n + x->model_now.n;
	return outgoing(x).n;
}

bool exchange_body_replayable(const struct eg_exchange *x)
{
	return !x->consumed;
}

static int add_piece(struct iovec *v, int count, const char *p, size_t n, size_t *skip)
{
	size_t skipped = EG_MIN(*skip, n);

	*skip -= skipped;
	if (skipped == n)
		return count;
	/* iovec has no const form; the bytes are only read. */
	v[count].iov_base = (void *)(uintptr_t)(p + skipped);
	v[count].iov_len = n - skipped;
	return count + 1;
}

int exchange_body_pieces(void *ctx, struct iovec *v, bool *last)
{
	struct eg_exchange *x = ctx;
	struct eg_str all = x->streaming ? eg_buf_str(&x->held) : outgoing(x),
		      raw = x->body.model_raw;
	size_t skip = x->streaming ? 0 : x->sent, before;
	int n = 0;

	*last = !x->streaming || x->request == REQUEST_COMPLETE;
	if (x->websocket && !x->tunnel) {
		*last = false; /* frames wait for the 101 */
		return 0;
	}
	if (x->streaming || !x->model_now.p)
		return add_piece(v, 0, all.p, all.n, &skip);
	before = (size_t)(raw.p - all.p);
	n = add_piece(v, n, all.p, before, &skip);
	n = add_piece(v, n, x->model_now.p, x->model_now.n, &skip);
	return add_piece(v, n, raw.p + raw.n, all.n - before - raw.n, &skip);
}

void exchange_body_sent(void *ctx, size_t n)
{
	struct eg_exchange *x = ctx;

	x->last_sent_ms = eg_loop_now_ms(x->engine->loop);
	if (!x->streaming) {
		x->sent += n;
		return;
	}
	eg_buf_consume(&x->held, n);
	x->consumed = true;
	if (x->paused_client && x->held.length <= STREAM_WINDOW / 2) {
		x->paused_client = false;
		x->sink->want(x->sink_ctx);
	}
}

/* ---- memory ---- */

void exchange_body_free(struct eg_exchange *x)
{
	exchange_turn_leave(x);
	eg_body_end(x->reading);
	x->reading = NULL;
	exchange_decode_free(x);
	eg_buf_fini(&x->held);
	(void)eg_account_hold(x->engine, x->peer->account, &x->charged, 0);
}

/* Charges what is about to be held; also what the buffer takes beyond its content. */
static enum eg_reason charge(struct eg_exchange *x, size_t bytes)
{
	size_t round = (EG_MAX(bytes, x->held.size) + HOLD_STEP - 1) / HOLD_STEP * HOLD_STEP;

	if (round <= x->charged)
		return EG_REASON_OK;
	return eg_account_hold(x->engine, x->peer->account, &x->charged, round);
}

static enum eg_reason append(struct eg_exchange *x, struct eg_str data)
{
	enum eg_reason r = charge(x, x->held.length + data.n);
	size_t room;

	if (r != EG_REASON_OK)
		return r;
	if (!x->held.p && x->body_kind == EG_H1_BODY_LENGTH && x->content_length > data.n &&
	    x->content_length <= PREALLOCATE &&
	    !eg_buf_reserve(&x->held, (size_t)x->content_length, &room))
		return EG_REASON_OVERLOADED;
	if (eg_buf_append_str(&x->held, data))
		return EG_REASON_OVERLOADED;
	return charge(x, x->held.length);
}

/* ---- held bodies ---- */

static void begin_streaming(struct eg_exchange *x)
{
	x->streaming = true;
	exchange_set_request(x,
			     x->body_kind == EG_H1_BODY_NONE ? REQUEST_COMPLETE : REQUEST_STREAM);
	if (x->request == REQUEST_STREAM)
		x->sink->want(x->sink_ctx);
	if (!exchange_over(x))
		exchange_attempt_first(x);
}

/* A shadow policy changes nothing: what it can't hold or read passes all the same. */
static void shadow_give_up(struct eg_exchange *x, enum eg_reason reason)
{
	x->shadow_reason = reason;
	x->decide_again = false;
	exchange_decode_free(x);
	/* Room for what comes in before the client is held back, and no more: the buffer would be
	 * made twice as large, and charged to the pod. The window keeps it small from here on. */
	x->held.cap = x->held.length + 3 * STREAM_WINDOW;
	x->streaming = true;
	exchange_set_request(x, REQUEST_STREAM);
	exchange_attempt_first(x);
}

/* What an enforced policy refuses now; one that only watches goes on, with the first such on
 * record.
 */
static enum eg_reason unless_watching(struct eg_exchange *x, enum eg_reason reason,
				      const char *detail)
{
	if (!x->pass_on)
		return reason;
	if (x->shadow_reason == EG_REASON_OK) {
		x->shadow_reason = reason;
		x->detail = detail;
	}
	return EG_REASON_OK;
}

static enum eg_reason check_mapped(struct eg_exchange *x, const char **detail)
{
	if (eg_decision_fits_form(&x->decision, &x->body))
		return EG_REASON_OK;
	*detail = EG_MODEL_NOT_REPLACED;
	return unless_watching(x, EG_REASON_BAD_BODY, *detail);
}

/* What the route allows of the body; of one that is read, it is known only at its end. */
static enum eg_reason check_size(struct eg_exchange *x, uint64_t n)
{
	const struct eg_route *route = x->decision.route;

	if (!route || n <= route->max_body_bytes)
		return EG_REASON_OK;
	return unless_watching(x, EG_REASON_BODY_TOO_LARGE, NULL);
}

/* What does policy say to a body that was read, or could not be: for `reason`, or for r and e. */
static void judge_held(struct eg_exchange *x, enum eg_reason reason, const char *detail, int r,
		       const struct eg_error *e)
{
	bool unread = reason != EG_REASON_OK;

	if (r)
		reason = r == -ENOMEM ? EG_REASON_OVERLOADED : EG_REASON_BAD_BODY;
	else if (!unread)
		reason = exchange_decide(x, true, &detail);
	if (reason == EG_REASON_BAD_BODY && !r && x->body.model_not_string)
		detail = EG_MODEL_NOT_STRING;
	if (reason == EG_REASON_OK)
		reason = check_size(x, EG_MAX(x->held.length, exchange_body_said(x).n));
	if (reason == EG_REASON_OK)
		reason = check_mapped(x, &detail);
	if ((r || unread) && x->pass_on) {
		x->shadow_reason = reason;
		reason = EG_REASON_OK;
	}
	if (r && e->text[0])
		detail = eg_arena_dup(&x->arena, eg_str_from(e->text));
	x->plain_out = !x->pass_on && exchange_coded_ambiguous(x);
	if (reason != EG_REASON_OK)
		exchange_deny(x, reason, detail, false);
	else
		exchange_attempt_first(x);
}

static void read_form(struct eg_exchange *x)
{
	struct eg_str body = exchange_body_said(x);
	struct eg_error e = {""};
	int r = x->form ? eg_form_end(x->form, body, &x->body, &e)
			: eg_form_read(&x->arena, x->operation, x->content_type, body, &x->body,
				       &e);

	judge_held(x, EG_REASON_OK, NULL, r, &e);
}

bool exchange_read_some(struct eg_exchange *x, size_t *budget)
{
	struct eg_error e = {""};
	int r = eg_body_go_on(x->reading, budget, &x->body, &e);

	if (r == -EAGAIN)
		return true;
	eg_body_end(x->reading);
	x->reading = NULL;
	judge_held(x, EG_REASON_OK, NULL, r, &e);
	return false;
}

/* All is here, and decoded: what does it say? */
static void read_held(struct eg_exchange *x)
{
	const char *detail = NULL;
	enum eg_reason reason = exchange_decode_end(x, &detail);
	struct eg_error e = {""};
	struct eg_str body;
	int r;

	if (reason != EG_REASON_OK) {
		judge_held(x, reason, detail, 0, &e);
		return;
	}
	if (x->operation->form_body) {
		read_form(x);
		return;
	}
	body = exchange_body_said(x);
	if (body.n > READ_AT_ONCE)
		x->reading = eg_body_begin(&x->arena, x->operation, body);
	if (x->reading) {
		exchange_turn(x);
		return;
	}
	r = body.n > READ_AT_ONCE ? -ENOMEM
				  : eg_body_read(&x->arena, x->operation, body, &x->body, &e);
	judge_held(x, EG_REASON_OK, NULL, r, &e);
}

static void begin_holding(struct eg_exchange *x)
{
	uint64_t limit = x->engine->limits.request_body_bytes;

	if (!x->pass_on)
		limit = EG_MIN(limit, x->decision.route ? x->decision.route->max_body_bytes
							: x->policy->largest_body_bytes);
	x->body_limit = (size_t)limit;
	x->held.cap = x->body_limit;
	if (x->body_kind == EG_H1_BODY_LENGTH && x->content_length > limit && !x->pass_on) {
		exchange_deny(x, EG_REASON_BODY_TOO_LARGE, NULL, false);
		return;
	}
	exchange_set_request(x, REQUEST_HOLD);
	/* A form is large and its worst bytes are slow: without memory for this it is read at its
	 * end, in one turn. */
	if (x->operation->form_body)
		x->form = eg_form_create(&x->arena, x->operation, x->content_type);
	if (x->body_kind == EG_H1_BODY_NONE ||
	    (x->body_kind == EG_H1_BODY_LENGTH && !x->content_length))
		eg_exchange_data_end(x);
	else
		x->sink->want(x->sink_ctx);
}

/* ---- begin ---- */

/* What the client sends is not wanted before the provider's 101; then it goes on as it comes. */
static void begin_websocket(struct eg_exchange *x)
{
	x->held.cap = 3 * STREAM_WINDOW;
	x->streaming = true;
	exchange_set_request(x, REQUEST_STREAM);
	exchange_attempt_first(x);
}

/* What the head says of the body that an enforced policy would refuse it for; NULL: nothing. */
static const char *unreadable(const struct eg_exchange *x, bool read, enum eg_reason *reason)
{
	*reason = EG_REASON_CONTENT_ENCODING;
	if (read && x->coding == EG_CODING_OTHER)
		return "One of gzip, br, zstd and deflate is read, and only one at a time.";
	*reason = EG_REASON_BAD_BODY;
	if (!x->content_refused)
		return NULL;
	return x->operation->json_body
		       ? "This operation's Content-Type must be application/json, in UTF-8."
		       : "This operation's Content-Type must be multipart/form-data or "
			 "application/json, in UTF-8.";
}

void exchange_body_begin(struct eg_exchange *x)
{
	bool read = x->operation && eg_operation_reads_body(x->operation);
	const char *detail = NULL;
	enum eg_reason r = EG_REASON_OK;

	if (x->websocket) {
		begin_websocket(x);
		return;
	}
	if (x->pass_on) {
		if (x->decision.shadow && (x->decide_again || x->shadow_reason == EG_REASON_OK))
			detail = unreadable(x, read, &r);
		if (detail) {
			x->shadow_reason = r;
			x->detail = detail;
		}
		if (x->decide_again && read && !detail) {
			begin_holding(x);
		} else {
			/* Only on record. */
			if (x->body_kind == EG_H1_BODY_LENGTH)
				(void)check_size(x, x->content_length);
			x->held.cap = 3 * STREAM_WINDOW;
			begin_streaming(x);
		}
		return;
	}
	detail = unreadable(x, read, &r);
	if (detail) {
		exchange_deny(x, r, detail, false);
		return;
	}
	if (read) {
		begin_holding(x);
		return;
	}
	r = x->decide_again ? exchange_decide(x, true, &detail) : EG_REASON_OK;
	if (r == EG_REASON_OK && x->body_kind == EG_H1_BODY_LENGTH)
		r = check_size(x, x->content_length);
	if (r != EG_REASON_OK) {
		exchange_deny(x, r, detail, false);
		return;
	}
	x->held.cap = 3 * STREAM_WINDOW;
	begin_streaming(x);
}

/* ---- what the front brings ---- */

void exchange_body_go_on(struct eg_defer *d)
{
	struct eg_exchange *x = eg_container_of(d, struct eg_exchange, go_on);

	if (!exchange_over(x))
		eg_call_body_ready(&x->call.base);
}

/* Of many small chunks or frames there is one record of TLS at the end of the tick, and not one of
 * each: they may be a byte. */
static void send_on(struct eg_exchange *x, size_t n)
{
	if (n < TOGETHER && x->held.length < 4 * TOGETHER)
		eg_loop_defer(x->engine->loop, &x->go_on);
	else
		eg_call_body_ready(&x->call.base);
}

static bool stream_data(struct eg_exchange *x, struct eg_str data)
{
	enum eg_reason r = append(x, data);

	if (x->tunnel || x->duplex)
		x->last_data_ms = eg_loop_now_ms(x->engine->loop);
	if (!x->tunnel && r == EG_REASON_OK)
		r = check_size(x, x->bytes_in);
	if (r != EG_REASON_OK) {
		eg_exchange_refuse(x, r, NULL, true);
		return false;
	}
	send_on(x, data.n);
	if (exchange_over(x))
		return true;
	x->paused_client = x->held.length >= STREAM_WINDOW;
	return !x->paused_client;
}

void exchange_decoded(struct eg_exchange *x, enum eg_reason r, const char *detail)
{
	bool complete = x->request == REQUEST_COMPLETE;

	if (r == EG_REASON_OK && x->form)
		eg_form_feed(x->form, exchange_body_said(x));
	if (r != EG_REASON_OK && x->pass_on && !complete) {
		shadow_give_up(x, r);
		return;
	}
	/* An answer in the middle of an upload is seldom read (the reset may overtake it): at its
	 * end. */
	if (r != EG_REASON_OK)
		exchange_decode_refuse(x, r, detail);
	if (complete)
		read_held(x);
}

static bool hold_data(struct eg_exchange *x, struct eg_str data)
{
	enum eg_reason r;

	if (x->coded_refused) {
		if (x->bytes_in > x->body_limit)
			exchange_deny(x, EG_REASON_BODY_TOO_LARGE, NULL, true);
		return true;
	}
	if (data.n > x->body_limit - x->held.length) {
		if (!x->pass_on) {
			exchange_deny(x, EG_REASON_BODY_TOO_LARGE, NULL, true);
			return true;
		}
		shadow_give_up(x, EG_REASON_BODY_TOO_LARGE);
		return exchange_over(x) || stream_data(x, data);
	}
	r = append(x, data);
	if (r == EG_REASON_OK && x->coding != EG_CODING_IDENTITY) {
		exchange_turn(x);
		/* A shadow policy gave it up: all of it is in the window. */
		return !x->streaming || exchange_over(x) || stream_data(x, EG_STR(""));
	}
	if (r == EG_REASON_OK && x->form)
		eg_form_feed(x->form, exchange_body_said(x));
	if (r == EG_REASON_OK)
		return true;
	if (x->pass_on) {
		shadow_give_up(x, r);
		return exchange_over(x) || stream_data(x, data);
	}
	exchange_deny(x, r, NULL, true);
	return true;
}

bool eg_exchange_data(struct eg_exchange *x, struct eg_str data)
{
	if (exchange_over(x) || !data.n)
		return true;
	x->bytes_in += data.n;
	switch (x->request) {
	case REQUEST_HOLD:
		return hold_data(x, data);
	case REQUEST_STREAM:
		return stream_data(x, data);
	case REQUEST_HEAD:
	case REQUEST_COMPLETE:
	case REQUEST_IGNORED:
		break;
	}
	return true;
}

void eg_exchange_data_end(struct eg_exchange *x)
{
	if (exchange_over(x))
		return;
	if (x->request == REQUEST_HOLD) {
		exchange_set_request(x, REQUEST_COMPLETE);
		if (!x->turn_waits)
			read_held(x);
	} else if (x->request == REQUEST_STREAM) {
		exchange_set_request(x, REQUEST_COMPLETE);
		eg_call_body_ready(&x->call.base);
		if (x->tunnel && !exchange_over(x))
			exchange_attempt_timer(x, exchange_attempt_patience(x));
	}
}
