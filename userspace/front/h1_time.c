/* SPDX-License-Identifier: Apache-2.0 */
/* How long a client may take for what, and what becomes of a connection where nothing happens. */
#include "front/h1_impl.h"

#define LINGER_MS	  2000u
#define IDLE_GIVE_BACK_MS 1000u

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
		h1_over(s, false, EG_REASON_OK);
	} else if (s->out.length) {
		h1_over(s, true, EG_REASON_CLIENT_SLOW);
	} else if (s->receive == H1_RECEIVE_BODY) {
		s->keep_alive = false;
		if (s->answer == H1_ANSWER_WAIT)
			eg_exchange_refuse(s->exchange, EG_REASON_REQUEST_TIMEOUT, NULL, true);
		else
			h1_over(s, true, EG_REASON_REQUEST_TIMEOUT);
	} else if (s->head_began_ms) {
		h1_refuse(s, EG_REASON_REQUEST_TIMEOUT, NULL);
	} else {
		h1_over(s, false, EG_REASON_OK); /* idle */
	}
}

static bool quiet(const struct h1_server *s)
{
	bool waits = s->receive == H1_RECEIVE_HEAD || (s->tunnel && s->receive == H1_RECEIVE_BODY);

	return waits && !s->in.length && !s->out.length;
}

void h1_arm(struct h1_server *s)
{
	uint64_t now = h1_now_ms(s), due = deadline(s);
	uint64_t delay = due == UINT64_MAX ? 30000 : due > now ? due - now : 0;

	if (quiet(s) && (s->in.p || s->out.p))
		delay = EG_MIN(delay, (uint64_t)IDLE_GIVE_BACK_MS);
	if (s->receive == H1_RECEIVE_CLOSED ||
	    (eg_timer_armed(&s->timer) && s->timer.due_ms <= now + delay))
		return;
	if (eg_timer_set(s->engine->loop, &s->timer, delay))
		h1_over(s, true, EG_REASON_OVERLOADED);
}

void h1_on_timer(struct eg_timer *t)
{
	struct h1_server *s = eg_container_of(t, struct h1_server, timer);

	s->next_turn = false;
	if (s->answer == H1_ANSWER_CUT) {
		h1_advance(s);
		return;
	}
	if (deadline(s) <= h1_now_ms(s)) {
		expire(s);
	} else if (quiet(s) && h1_now_ms(s) - s->activity_ms >= IDLE_GIVE_BACK_MS) {
		eg_buf_release(&s->in);
		eg_buf_release(&s->out);
		eg_stream_idle(s->stream);
		h1_charge(s);
	}
	h1_advance(s);
}
