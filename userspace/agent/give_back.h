/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the gateway should hand free memory back to the kernel. malloc keeps what a burst of large
 * bodies took, in arenas that small pieces still live in, so the process stays as large as it ever
 * was; and what a thousand requests took stays between what their idle connections keep. Handing
 * back walks the arenas under their locks, so it is done after a burst, and rarely, or when few
 * ask for anything. Pure: the clock is the caller's.
 */
#ifndef EGRET_AGENT_GIVE_BACK_H
#define EGRET_AGENT_GIVE_BACK_H

#include "base/base.h"

#define EG_GIVE_BACK_BYTES    ((uint64_t)8 << 20) /* that came free since the last time */
#define EG_GIVE_BACK_EVERY_MS 10000u		  /* at most */
#define EG_GIVE_BACK_REQUESTS 64u		  /* since the last quiet, and then */
/* ... fewer than that for so long. Idle connections give their buffers back in the first two
 * seconds of it, and what comes free later stays until the next quiet. */
#define EG_GIVE_BACK_QUIET_MS 2500u

struct eg_give_back {
	uint64_t peak;			     /* bytes in use, the most since the last time */
	uint64_t last_ms;		     /* 0: never yet */
	uint64_t requests_then;		     /* at the last quiet */
	uint64_t window_requests, window_ms; /* when what may be a quiet began */
};

/* `used`: bytes in use now; `requests`: that ever began, and that ever ended, in one sum. True:
 * hand back now. */
bool eg_give_back_due(struct eg_give_back *g, uint64_t used, uint64_t requests, uint64_t now_ms);

#endif
