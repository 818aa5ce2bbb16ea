/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work for a held body that takes long: it is decoded, and it is read. A hundred kilobytes may say
 * 32 MiB, and every byte of those may be dear: a third of a second of work, or more; and what a
 * coded byte costs is up to who wrote it (of brotli a microsecond each, and more). It is done in
 * pieces, and those who wait for theirs take turns, so that nobody else on the worker waits for
 * long.
 */
#include "exchange/exchange_impl.h"

#define TURN_BYTES  (1u << 20)	/* of all bodies of the worker in one turn of its loop */
#define TURN_MS	    10u		/* likewise: what so many bytes take, if they are ordinary */
#define SLICE_BYTES (16u << 10) /* of one body before the next has its turn */

static void wait_for_turn(struct eg_exchange *x)
{
	struct eg_turns *t = &x->engine->turns;

	x->turn_next = NULL;
	x->turn_waits = true;
	*(t->last ? &t->last->turn_next : &t->first) = x;
	t->last = x;
	eg_loop_soon(x->engine->loop, &t->soon);
}

void exchange_turn_leave(struct eg_exchange *x)
{
	struct eg_turns *t = &x->engine->turns;
	struct eg_exchange **at = &t->first, *before = NULL;

	if (!x->turn_waits)
		return;
	for (; *at != x; at = &(*at)->turn_next)
		before = *at;
	*at = x->turn_next;
	if (t->last == x)
		t->last = before;
	x->turn_waits = false;
}

/* May end the exchange. Returns what is left of `budget`. */
static size_t step(struct eg_exchange *x, size_t budget)
{
	size_t slice = EG_MIN(budget, (size_t)SLICE_BYTES), left = slice;

	if (x->reading ? exchange_read_some(x, &left) : exchange_decode_some(x, &left))
		wait_for_turn(x);
	return budget - (slice - left);
}

static void take_turns(struct eg_defer *d)
{
	struct eg_turns *t = eg_container_of(d, struct eg_turns, soon);
	uint64_t began_ms = eg_now_ms();
	size_t budget = TURN_BYTES;

	while (t->first && budget && eg_now_ms() - began_ms < TURN_MS) {
		struct eg_exchange *x = t->first;

		exchange_turn_leave(x);
		budget = step(x, budget);
	}
	if (t->first)
		eg_loop_soon(t->loop, d);
}

void eg_turns_init(struct eg_turns *t, struct eg_loop *loop)
{
	*t = (struct eg_turns){.loop = loop, .soon.run = take_turns};
}

void exchange_turn(struct eg_exchange *x)
{
	struct eg_turns *t = &x->engine->turns;

	if (x->turn_waits)
		return;
	/* Most bodies are small, and done here; with others there, at the end of this turn. */
	if (t->turn_ms != eg_loop_now_ms(t->loop)) {
		t->turn_ms = eg_loop_now_ms(t->loop);
		t->turn_left = SLICE_BYTES;
	}
	if (t->first || !t->turn_left)
		wait_for_turn(x);
	else
		t->turn_left = step(x, t->turn_left);
}
