/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the room: whose turn it is to dial. So many ways to new connections of one origin are
 * under way at once; the others wait, in turns of those they are for. One that takes long waits for
 * somebody else, and costs nothing meanwhile: after a while those that wait have theirs beside it.
 */
#ifndef EGRET_UPSTREAM_TURNS_H
#define EGRET_UPSTREAM_TURNS_H

#include "base/base.h"
#include "base/fair.h"
#include "loop/loop.h"

#define UPSTREAM_TURNS	  16u  /* of an origin, on one worker */
#define UPSTREAM_TURNS_MS 250u /* then as many again */

struct upstream_turns {
	struct eg_loop *loop;		 /* borrowed */
	struct eg_list waiting, running; /* struct upstream_turn.fair.link */
	uint64_t round;			 /* of the last that waited and went */
	size_t running_count;
	struct eg_timer timer; /* while one waits */
};

struct upstream_turn {
	struct eg_fair fair; /* .of: for whom */
	bool waiting, running;
	void (*go)(struct upstream_turn *t); /* it is its turn; may give it back at once */
};

void upstream_turns_init(struct upstream_turns *all, struct eg_loop *loop);
/* None waits and none runs. */
void upstream_turns_fini(struct upstream_turns *all);
/* True: it is its turn now. False: it waits, and `go` is called later. Never fails: without memory
 * for the timer nobody is made to wait. */
bool upstream_turn_take(struct upstream_turns *all, struct upstream_turn *t) EG_MUST;
/* Waits no more, or is done; the next ones go. Harmless if it is neither. */
void upstream_turn_end(struct upstream_turns *all, struct upstream_turn *t);

#endif
