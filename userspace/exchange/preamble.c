/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The beginning of a 200 that may still turn out to be an error. A stream that has said nothing
 * (pings, a role, message_start) is held, so that an error or silence goes to the next target
 * (DESIGN section 5); of a JSON body the first bytes, which tell whether it is an error object.
 * With the first content, the limit, or an end it is let go, and from there on nothing is ever
 * held.
 */
#include "exchange/exchange_impl.h"

bool exchange_preamble_wanted(const struct eg_exchange *x)
{
	return x->provider && (x->sse || x->json) && x->watch && !x->out.no_body &&
	       x->upstream_status < 300;
}

void exchange_preamble_begin(struct eg_exchange *x)
{
	eg_buf_init(&x->collected, PREAMBLE_MAX);
	exchange_set_answer(x, ANSWER_PREAMBLE);
	exchange_attempt_timer(x, exchange_attempt_patience(x));
}

/* How many bytes of a stream say something: as if they came one by one. SIZE_MAX: these don't. */
static size_t stream_says(const struct eg_exchange *x, struct eg_str said)
{
	struct eg_usage_watch *again = eg_usage_watch_create(x->dialect, x->operation, true);
	enum eg_event_class p = EG_EVENT_PREAMBLE;
	enum eg_response_class class = EG_RESPONSE_OK;
	size_t n = 0;

	while (again && p == EG_EVENT_PREAMBLE && n < said.n) {
		eg_usage_watch_feed(again, (struct eg_str){said.p + n++, 1});
		p = eg_usage_watch_progress(again, &class);
	}
	eg_usage_watch_destroy(again);
	return p == EG_EVENT_PREAMBLE ? SIZE_MAX : n;
}

/* The same of a JSON body: the shortest beginning of it that says what it is. */
static size_t body_says(struct eg_str said)
{
	size_t least = 0, most = said.n;

	if (eg_body_begins(said) != EG_EVENT_CONTENT)
		return SIZE_MAX;
	while (most - least > 1) {
		size_t n = least + (most - least) / 2;

		if (eg_body_begins((struct eg_str){said.p, n}) == EG_EVENT_CONTENT)
			most = n;
		else
			least = n;
	}
	return most;
}

bool exchange_quote_comes_first(const struct eg_exchange *x, struct eg_str all)
{
	struct eg_str said =
		x->answer_coding == EG_CODING_IDENTITY ? all : exchange_collected_said(x);
	size_t end = exchange_quote_ends(x, said), says = 0;

	if (end > PREAMBLE_MAX) /* what is behind it is never held */
		return false;
	said.n = EG_MIN(said.n, (size_t)PREAMBLE_MAX);
	if (x->watch)
		says = x->sse ? stream_says(x, said) : body_says(said);
	return end <= says;
}

/* What was held, and what came with it. */
static void let_go(struct eg_exchange *x, struct eg_str more)
{
	struct eg_buf held = x->collected, all;

	eg_buf_init(&x->collected, 0);
	if (held.length && more.n) {
		eg_buf_init(&all, held.length + more.n);
		if (eg_buf_append_str(&all, eg_buf_str(&held)) || eg_buf_append_str(&all, more)) {
			exchange_deny(x, EG_REASON_OVERLOADED, NULL, false);
			eg_buf_fini(&all);
			eg_buf_fini(&held);
			return;
		}
		eg_buf_fini(&held);
		held = all;
	}
	exchange_give_beginning(x, held.length ? eg_buf_str(&held) : more);
	eg_buf_fini(&held);
}

/* An error before anything else: as a status of that meaning would be judged. */
static void judge(struct eg_exchange *x, enum eg_response_class class)
{
	enum eg_reason reason =
		class == EG_RESPONSE_AUTH ? EG_REASON_UPSTREAM_AUTH : EG_REASON_UPSTREAM_ERROR;

	exchange_attempt_note(x, reason, x->upstream_status);
	if (class == EG_RESPONSE_AUTH) {
		/* The provider's own words may quote the key. */
		exchange_deny(x, reason, NULL, false);
		return;
	}
	if (class == EG_RESPONSE_FAILOVER || class == EG_RESPONSE_QUOTA) {
		eg_cooldown_set(x->engine, x->snapshot, x->provider, class, 0);
		if (exchange_attempt_may_replay(x) && exchange_attempt_next(x)) {
			x->billed_twice |= x->request_sent;
			return;
		}
	}
	let_go(x, (struct eg_str){NULL, 0});
	if (x->answer == ANSWER_PASS)
		x->reason = reason; /* it goes out as it came, and is no success */
}

/* What is known of all that came so far. */
static enum eg_event_class progress(struct eg_exchange *x, struct eg_str all,
				    enum eg_response_class *class)
{
	enum eg_event_class p;

	if (x->sse)
		return eg_usage_watch_progress(x->watch, class);
	p = eg_body_begins(all);
	return p == EG_EVENT_ERROR ? EG_EVENT_PREAMBLE : p; /* judged when it is whole */
}

void exchange_preamble_data(struct eg_exchange *x, struct eg_str data)
{
	enum eg_response_class class = EG_RESPONSE_OK;
	bool held = x->collected.length > 0; /* nearly never: the first bytes say something */
	bool room = !held || !eg_buf_append_str(&x->collected, data);
	bool coded = x->answer_coding != EG_CODING_IDENTITY;
	enum eg_event_class p = EG_EVENT_CONTENT; /* what can't be read is taken for that */

	exchange_read_answer(x, data);
	if (x->watch)
		p = progress(x, held || coded ? exchange_collected_said(x) : data, &class);
	if (room && (p == EG_EVENT_PREAMBLE || p == EG_EVENT_ERROR)) {
		if (!held && eg_buf_append_str(&x->collected, data))
			room = false;
		else if (p == EG_EVENT_ERROR)
			judge(x, class);
		if (room)
			return;
	}
	if (p == EG_EVENT_CONTENT)
		eg_cooldown_clear(x->engine, x->snapshot, x->provider, x->attempt_began_ms);
	let_go(x, held && room ? (struct eg_str){NULL, 0} : data);
}

void exchange_preamble_end(struct eg_exchange *x)
{
	struct eg_str said = exchange_collected_said(x);

	if (x->json && eg_body_begins(said) == EG_EVENT_ERROR) {
		judge(x, eg_event_error_class(said));
	} else if (x->sse && eg_stream_has_end(x->operation)) {
		exchange_attempt_failed(x, EG_REASON_UPSTREAM_RESET,
					"the stream ended before it said anything");
	} else {
		let_go(x, (struct eg_str){NULL, 0});
	}
	if (x->answer == ANSWER_PASS)
		exchange_finish_pass(x);
}
