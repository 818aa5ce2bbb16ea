/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose handshake is begun next. Each is a signature and a key exchange, the dearest event there
 * is, and a pod may open connections as fast as it likes: so many are begun in a turn of the loop,
 * and the pods that have some waiting take turns, however many each has (start-time fair queueing:
 * one that comes is behind as many rounds as its own pod has waiting).
 */
#include "front/connection_impl.h"

#define HANDSHAKES_TURN 16u
#define HANDSHAKES_LATE 8u /* while the loop is late: what runs goes on */

/* So many more may be begun in this turn of the loop. */
static void begin_turn(struct eg_worker *w)
{
	w->handshakes_at = eg_worker_turns(w);
	w->handshakes_left =
		eg_loop_lateness(w->loop)->overloaded ? HANDSHAKES_LATE : HANDSHAKES_TURN;
}

static void begin_some(struct eg_defer *d)
{
	struct eg_worker *w = eg_container_of(d, struct eg_worker, handshakes_soon);

	begin_turn(w); /* this comes once a turn, at its end */
	while (!eg_list_empty(&w->handshakes) && w->handshakes_left) {
		struct connection *c =
			eg_container_of(w->handshakes.next, struct connection, turn.link);

		w->handshakes_left--;
		w->handshake_round = c->turn.round;
		eg_list_remove(&c->turn.link);
		connection_handshake(c);
	}
	if (!eg_list_empty(&w->handshakes))
		eg_loop_soon(w->loop, d);
}

bool handshake_waits(struct connection *c)
{
	struct eg_worker *w = c->worker;

	if (w->handshakes_at != eg_worker_turns(w))
		begin_turn(w);
	if (eg_list_empty(&w->handshakes) && w->handshakes_left) {
		w->handshakes_left--;
		return false;
	}
	c->turn.of = c->peer.account;
	eg_fair_add(&w->handshakes, w->handshake_round, &c->turn);
	eg_loop_soon(w->loop, &w->handshakes_soon);
	return true;
}

void handshakes_init(struct eg_worker *w)
{
	eg_list_init(&w->handshakes);
	w->handshakes_soon.run = begin_some;
}
