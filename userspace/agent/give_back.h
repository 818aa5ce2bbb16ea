/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the gateway should hand free memory back to the kernel. malloc keeps what a burst of large
 * bodies took, in arenas that small pieces still live in, so the process stays as large as it ever
 * was. Handing back walks the arenas under their locks, so it is done after a burst, and rarely.
 * Pure: the clock is the caller's.
 */
#ifndef EGRET_AGENT_GIVE_BACK_H
#define EGRET_AGENT_GIVE_BACK_H

#include "base/base.h"

#define EG_GIVE_BACK_BYTES    ((uint64_t)8 << 20) /* that came free since the last time */
#define EG_GIVE_BACK_EVERY_MS 10000u		  /* at most */

struct eg_give_back {
	uint64_t peak;	  /* bytes in use, the most since the last time */
	uint64_t last_ms; /* 0: never yet */
};

/* `used`: what is in use now. True: hand back now. */
bool eg_give_back_due(struct eg_give_back *g, uint64_t used, uint64_t now_ms);

#endif
