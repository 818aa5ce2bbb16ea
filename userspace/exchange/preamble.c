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

static void let_go(struct eg_exchange *x)
{
	if (exchange_collected_quotes_key(x)) {
		exchange_note_quote(x);
		exchange_deny(x, EG_REASON_UPSTREAM_AUTH, EXCHANGE_WITHHELD, false);
		return;
	}
	exchange_give_head(x);
	exchange_give_collected(x);
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
	let_go(x);
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
	let_go(x);
	if ((!held || !room) && x->answer == ANSWER_PASS)
		exchange_give_data(x, data);
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
		let_go(x);
	}
	if (x->answer == ANSWER_PASS)
		exchange_finish_pass(x);
}
