/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all exchanges of one worker share: the current snapshot, the pool, budgets by pod, targets
 * in cooldown. Belongs to one loop and its thread; nothing in it needs a lock.
 */
#ifndef EGRET_EXCHANGE_ENGINE_H
#define EGRET_EXCHANGE_ENGINE_H

#include "base/base.h"
#include "exchange/limits.h"
#include "exchange/snapshot.h"
#include "loop/loop.h"
#include "proto/h1.h"
#include "telemetry/telemetry.h"
#include "upstream/upstream.h"

/* What one pod has on this worker. Exists while anything is counted in it. */
struct eg_account {
	struct eg_account *next;
	uint32_t pod_id;
	unsigned int users;
	size_t connections;
	size_t held_bytes;
};

#define EG_COOLDOWN_DEFAULT_MS 2000u	/* after a failure that names no time */
#define EG_COOLDOWN_MAX_MS     60000u	/* whatever Retry-After says */
#define EG_COOLDOWN_QUOTA_MS   60000u	/* the account's quota is spent */
#define EG_COOLDOWNS	       256u	/* providers remembered at once */

struct eg_cooldown {
	uint64_t key; /* of provider name and endpoint; 0: free */
	uint64_t until_ms;
};

#define EG_ACCOUNT_BUCKETS 256u

struct eg_engine {
	struct eg_loop *loop;	       /* borrowed, as all pointers here but the snapshot */
	struct eg_upstream *upstream;
	struct eg_telemetry *telemetry;
	const char *tag;
	struct eg_limits limits;
	struct eg_snapshot *snapshot;  /* a reference; NULL: none was published yet */
	bool draining;
	size_t held_bytes;
	size_t active; /* exchanges */
	struct eg_account *accounts[EG_ACCOUNT_BUCKETS];
	struct eg_cooldown cooldowns[EG_COOLDOWNS];
	uint64_t id_high, id_low; /* request ids: random start, then a permuted counter */
	struct eg_h1_head scratch; /* heads are parsed here and used up at once */
};

/* 0 or -errno (no random numbers). */
int eg_engine_init(struct eg_engine *e, struct eg_loop *loop, struct eg_upstream *upstream,
		   struct eg_telemetry *telemetry, const struct eg_limits *limits,
		   const char *tag) EG_MUST;
/* No exchange and no account may be left. */
void eg_engine_fini(struct eg_engine *e);
/* New decisions use `s`; a reference is taken. */
void eg_engine_publish(struct eg_engine *e, struct eg_snapshot *s);

/* Adds a user. NULL: out of memory. */
struct eg_account *eg_account_acquire(struct eg_engine *e, uint32_t pod_id) EG_MUST;
void eg_account_release(struct eg_engine *e, struct eg_account *a);
/*
 * Sets the bytes that one user holds from *held to `bytes`. OK; POD_BUDGET or OVERLOADED: nothing
 * was changed. Making it smaller always works. `a` NULL: only the worker's budget counts.
 */
enum eg_reason eg_account_hold(struct eg_engine *e, struct eg_account *a, size_t *held,
			       size_t bytes);

/* When this provider may be asked again, CLOCK_MONOTONIC; 0: now. */
uint64_t eg_cooldown_until(const struct eg_engine *e, const struct eg_provider *p);
/* Cools it for at least that long (capped). */
void eg_cooldown_set(struct eg_engine *e, const struct eg_provider *p, uint64_t for_ms);
/* It answered well. */
void eg_cooldown_clear(struct eg_engine *e, const struct eg_provider *p);

/* 32 hex digits and NUL; unique for this worker, not guessable in order. */
void eg_engine_request_id(struct eg_engine *e, char out[33]);

#endif
