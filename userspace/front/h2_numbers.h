/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which numbers of streams a client has used. One that it skipped is closed from then on, and to
 * use it all the same is the connection's error (RFC 9113 section 5.1.1), whereas what comes for a
 * stream that was there may have been on its way when it was closed, and is dropped. nghttp2 tells
 * the two apart by nothing and drops both. Pure.
 */
#ifndef EGRET_FRONT_H2_NUMBERS_H
#define EGRET_FRONT_H2_NUMBERS_H

#include "base/base.h"

struct h2_numbers {
	int32_t last;  /* the highest; 0: none yet */
	uint64_t used; /* bit i: the i-th odd number below `last`; of older ones nothing is known */
};

/* HEADERS came on an odd number. False: it had been skipped. */
static inline bool h2_number_used(struct h2_numbers *n, int32_t id)
{
	uint32_t back = (uint32_t)(id > n->last ? id - n->last : n->last - id) / 2;

	if (id <= n->last)
		return back >= 64 || n->used >> back & 1;
	n->used = (n->last && back < 64 ? n->used << back : 0) | 1;
	n->last = id;
	return true;
}

#endif
