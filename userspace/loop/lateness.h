/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How late a loop is: the time between when an event was ready and when it was handled. One late
 * moment is none of anybody's business; a loop that is late without a break has more to do than it
 * can, and says so (as CoDel does of a queue). Reads no clock, owns nothing; all zero is a loop
 * that was never late.
 */
#ifndef EGRET_LOOP_LATENESS_H
#define EGRET_LOOP_LATENESS_H

#include "base/base.h"

/*
 * A second's answers wait for no quarter of one, and a container's CPU limit alone, which stops it
 * for most of each 100 ms, is not taken for overload.
 */
#define EG_LATENESS_TARGET_MS	250u  /* what an event may wait */
#define EG_LATENESS_INTERVAL_MS 1000u /* above the target so long without a break: overloaded */
#define EG_LATENESS_AGAIN_MS	250u  /* the same, soon after the last time */
#define EG_LATENESS_SOON_MS	5000u /* that soon */
#define EG_LATENESS_LEAVE_MS	250u  /* below the target so long: not overloaded any more */

struct eg_lateness {
	bool overloaded;
	bool turning; /* the last samples speak against `overloaded`, since_ms says from when */
	uint64_t since_ms;    /* CLOCK_MONOTONIC, as all times here */
	uint64_t left_ms;     /* when it was overloaded last; 0: never */
	unsigned int entered; /* how often it became so */
	uint64_t eighths_ms;  /* smoothed, in eighths of a millisecond */
};

/* An event was handled, or could have been, after it had been ready for late_ms. */
void eg_lateness_note(struct eg_lateness *l, uint64_t now_ms, uint64_t late_ms);
/* Nothing was ready since then: what was late before says nothing of now. */
void eg_lateness_idle(struct eg_lateness *l, uint64_t since_ms, uint64_t now_ms);
/* Smoothed over some eight samples. */
static inline uint64_t eg_lateness_ms(const struct eg_lateness *l)
{
	return l->eighths_ms / 8;
}

#endif
