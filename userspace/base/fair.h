/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for what is scarce, in an order that is fair to those it is for (start-time fair
 * queueing): an entry stands behind as many rounds as its own owner has waiting, however many
 * others have. An owner is a pointer, which is only compared. Adding looks from the end on: at once
 * for an owner who has many there, past all that wait for one who has none. Pure.
 */
#ifndef EGRET_BASE_FAIR_H
#define EGRET_BASE_FAIR_H

#include "base/base.h"

struct eg_fair {
	struct eg_list link;
	const void *of;
	uint64_t round;
};

/* `waiting`: struct eg_fair.link, the next one first. `round`: of the last that was taken out to be
 * served. */
static inline void eg_fair_add(struct eg_list *waiting, uint64_t round, struct eg_fair *e)
{
	struct eg_list *at = waiting->prev;

	e->round = round + 1;
	for (; at != waiting; at = at->prev) {
		const struct eg_fair *other = eg_container_of(at, struct eg_fair, link);

		if (other->of != e->of)
			continue;
		e->round = EG_MAX(other->round, round) + 1;
		break;
	}
	for (at = waiting->prev; at != waiting; at = at->prev)
		if (eg_container_of(at, struct eg_fair, link)->round <= e->round)
			break;
	eg_list_append(at->next, &e->link);
}

#endif
