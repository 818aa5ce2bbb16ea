/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the room: how many streams an origin lets be open on one connection
 * (SETTINGS_MAX_CONCURRENT_STREAMS, RFC 9113 section 6.5.2), as it said last. It is known for a new
 * connection before its SETTINGS are, and survives the origin's connections, in bounded memory: of
 * two origins at one place the later one is remembered.
 */
#ifndef EGRET_UPSTREAM_STREAM_LIMIT_H
#define EGRET_UPSTREAM_STREAM_LIMIT_H

#include "base/base.h"

#define STREAM_LIMITS	     64u
#define STREAM_LIMIT_UNKNOWN 0u

struct stream_limits {
	struct {
		uint64_t
			origin; /* its hash: an accident costs a wrong guess, which SETTINGS mend */
		uint32_t limit; /* at least one: none at all is for a moment only */
	} at[STREAM_LIMITS];
};

static inline uint32_t stream_limit_get(const struct stream_limits *l, uint64_t origin)
{
	size_t i = origin % STREAM_LIMITS;

	return l->at[i].origin == origin ? l->at[i].limit : STREAM_LIMIT_UNKNOWN;
}

static inline void stream_limit_set(struct stream_limits *l, uint64_t origin, uint32_t limit)
{
	size_t i = origin % STREAM_LIMITS;

	l->at[i].origin = origin;
	l->at[i].limit = EG_MAX(limit, 1u);
}

#endif
