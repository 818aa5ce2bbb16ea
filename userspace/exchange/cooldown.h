/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Providers that failed, each with the key it was asked with, and are left alone for a while. One
 * table for all workers of a gateway, since a Retry-After is said to the whole account: thread-safe
 * without a lock. What a race can cost is one cooldown forgotten, which costs one request.
 */
#ifndef EGRET_EXCHANGE_COOLDOWN_H
#define EGRET_EXCHANGE_COOLDOWN_H

#include <stdatomic.h>

#include "base/base.h"
#include "policy/policy.h"

#define EG_COOLDOWN_DEFAULT_MS 2000u		     /* after a failure that names no time */
#define EG_COOLDOWN_MAX_MS     EG_RETRY_AFTER_MAX_MS /* whatever Retry-After says */
#define EG_COOLDOWN_QUOTA_MS   60000u		     /* the account's quota is spent */
#define EG_COOLDOWNS	       256u		     /* providers remembered at once */

/* Zeroed memory is an empty table. */
struct eg_cooldowns {
	atomic_bool used; /* there was ever one */
	struct {
		atomic_uint_fast64_t key;    /* of provider name, endpoint and secret; 0: free */
		atomic_uint_fast64_t until;  /* 2 x the time in ms, + 1: the provider said it */
		atomic_uint_fast64_t set_ms; /* when it was last said */
	} place[EG_COOLDOWNS];
};

/* Of all: `secret` is the credential's eg_secret_serial(); 0: it has none. With another one the
 * provider is as good as another: a quota that one key has spent says nothing of the next. */

/* When this provider may be asked again, CLOCK_MONOTONIC; 0: now. *stated: it is the provider's own
 * word (Retry-After, a spent quota), no guess of ours. */
uint64_t eg_cooldowns_until(struct eg_cooldowns *c, const struct eg_provider *p, uint64_t secret,
			    uint64_t now_ms, bool *stated);
/* Cools it for at least that long (capped). */
void eg_cooldowns_set(struct eg_cooldowns *c, const struct eg_provider *p, uint64_t secret,
		      uint64_t now_ms, uint64_t for_ms, bool stated);
/* A request that began at `began_ms` was answered well: proof only against what was said before
 * it, not against a 429 that came meanwhile. No store when nothing is to be cleared. */
void eg_cooldowns_clear(struct eg_cooldowns *c, const struct eg_provider *p, uint64_t secret,
			uint64_t began_ms);

#endif
