/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of what costs us and nothing the client, it may send over one HTTP/2 connection: a
 * bucket that is full at first, filled again by time and by work that was done. Pure.
 */
#ifndef EGRET_FRONT_H2_BUCKET_H
#define EGRET_FRONT_H2_BUCKET_H

#include "base/base.h"

struct h2_bucket {
	uint32_t burst;	     /* the most that may be in it */
	uint32_t per_second; /* that comes back by time */
	uint32_t left;
	uint64_t at_ms; /* filled up to then */
};

void h2_bucket_init(struct h2_bucket *b, uint32_t burst, uint32_t per_second, uint64_t now_ms);
/* False: there is not so much left. */
bool h2_bucket_spend(struct h2_bucket *b, uint32_t cost, uint64_t now_ms) EG_MUST;
void h2_bucket_earn(struct h2_bucket *b, uint32_t gain);

#endif
