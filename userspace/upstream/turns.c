/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/turns.h"

#include "base/log.h"

static void leave(struct upstream_turns *all, struct upstream_turn *t)
{
	if (!t->waiting && !t->running)
		return;
	eg_list_remove(&t->fair.link);
	all->running_count -= t->running;
	t->waiting = t->running = false;
}

static void run(struct upstream_turns *all, struct upstream_turn *t)
{
	leave(all, t);
	t->running = true;
	all->running_count++;
	eg_list_append(&all->running, &t->fair.link);
}

static void next(struct upstream_turns *all)
{
	while (all->running_count < UPSTREAM_TURNS && !eg_list_empty(&all->waiting)) {
		struct upstream_turn *t =
			eg_container_of(all->waiting.next, struct upstream_turn, fair.link);

		all->round = t->fair.round;
		run(all, t);
		t->go(t);
	}
	if (eg_list_empty(&all->waiting))
		eg_timer_cancel(all->loop, &all->timer);
}

static void again(struct eg_timer *timer)
{
	struct upstream_turns *all = eg_container_of(timer, struct upstream_turns, timer);

	/* It was armed a moment ago, so its place is there. */
	if (eg_timer_set(all->loop, timer, UPSTREAM_TURNS_MS))
		eg_warn("those that wait for their turn to dial wait for another's end");
	while (!eg_list_empty(&all->running))
		leave(all, eg_container_of(all->running.next, struct upstream_turn, fair.link));
	next(all);
}

void upstream_turns_init(struct upstream_turns *all, struct eg_loop *loop)
{
	all->loop = loop;
	all->running_count = 0;
	all->round = 0;
	eg_list_init(&all->waiting);
	eg_list_init(&all->running);
	eg_timer_init(&all->timer, again);
}

void upstream_turns_fini(struct upstream_turns *all)
{
	eg_timer_cancel(all->loop, &all->timer);
}

bool upstream_turn_take(struct upstream_turns *all, struct upstream_turn *t)
{
	if (all->running_count < UPSTREAM_TURNS ||
	    (!eg_timer_armed(&all->timer) &&
	     eg_timer_set(all->loop, &all->timer, UPSTREAM_TURNS_MS))) {
		run(all, t);
		return true;
	}
	t->waiting = true;
	eg_fair_add(&all->waiting, all->round, &t->fair);
	return false;
}

void upstream_turn_end(struct upstream_turns *all, struct upstream_turn *t)
{
	leave(all, t);
	next(all);
}
