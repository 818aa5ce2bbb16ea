/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all exchanges of one worker share: the current snapshot, the pool, budgets by pod, targets
 * in cooldown. Belongs to one loop and its thread, but for the cooldowns, which all workers share.
 */
#ifndef EGRET_EXCHANGE_ENGINE_H
#define EGRET_EXCHANGE_ENGINE_H

#include "base/base.h"
#include "exchange/budget.h"
#include "exchange/cooldown.h"
#include "exchange/limits.h"
#include "exchange/snapshot.h"
#include "loop/loop.h"
#include "proto/h1.h"
#include "telemetry/telemetry.h"
#include "upstream/upstream.h"

/* What records of a pod had in common lately (report.c). The pointers are only compared, with those
 * of that snapshot, which may be gone. */
#define EG_ACCOUNT_RECORDS 4u
struct eg_record_memo {
	struct eg_record_base *base; /* owned; NULL: free, as all that follow */
	uint64_t snapshot;	     /* its serial */
	const struct eg_pod_view *pod;
	const struct eg_policy *policy;
	const struct eg_route *route;
	const struct eg_provider *provider;
	struct eg_region region;
};

/* What a pod's policy has for the name it asked for last (intake.c); good while the snapshot and
 * the policy, which are only compared, are the request's. */
struct eg_name_memo {
	uint64_t snapshot;
	const struct eg_policy *policy;
	char name[64]; /* longer ones are looked up each time */
	struct eg_name_rules rules;
};

/* What one pod has on this worker. Exists while anything is counted in it. */
struct eg_account {
	struct eg_account *next;
	uint32_t pod_id;
	unsigned int users;
	size_t requests;				   /* of it, running on this worker */
	struct eg_pod_budget *budget;			   /* of the pod, over all workers */
	struct eg_record_memo records[EG_ACCOUNT_RECORDS]; /* the one used last first */
	struct eg_name_memo name;
};

/* Bodies that are being decoded or read, a piece a turn of the loop each (turns.c). */
struct eg_turns {
	struct eg_loop *loop;
	struct eg_exchange *first, *last;
	struct eg_defer soon;
	uint64_t turn_ms; /* the turn that turn_left is of */
	size_t turn_left; /* bytes, of what is done at once as a body comes */
};
void eg_turns_init(struct eg_turns *t, struct eg_loop *loop);

#define EG_ACCOUNT_BUCKETS 256u

/* While the loop is overloaded: shed.c. */
struct eg_shed {
	unsigned int episode; /* of eg_lateness.entered */
	size_t requests;      /* that may run */
	uint64_t since_ms;    /* when that was last made less */
};

struct eg_engine {
	struct eg_loop *loop; /* borrowed, as all pointers here but the snapshot */
	struct eg_upstream *upstream;
	struct eg_telemetry *telemetry;
	struct eg_cooldowns *cooldowns; /* of all workers: thread-safe */
	struct eg_budgets *budgets;	/* likewise */
	const char *tag;
	struct eg_limits limits;
	struct eg_snapshot *snapshot; /* a reference; NULL: none was published yet */
	bool draining;
	bool drains_gently; /* another process serves: a connection may have one more request */
	size_t held_bytes;  /* on this worker */
	size_t active;	    /* exchanges */
	size_t active_pods; /* accounts that have some of them */
	struct eg_shed shed;
	uint64_t violation_said_ms; /* when a region violation was last logged */
	uint64_t quote_said_ms;	    /* and an answer that quotes the credential */
	struct eg_turns turns;
	struct eg_account *accounts[EG_ACCOUNT_BUCKETS];
	struct eg_exchange *spare; /* their memory, for the next requests (exchange.c) */
	size_t spare_count;
	uint64_t id_high, id_low;  /* request ids: random start, then a permuted counter */
	struct eg_h1_head scratch; /* heads are parsed here and used up at once */
};

/* `cooldowns`, `budgets`: one for all engines of a process, zeroed at first. 0 or -errno (no random
 * numbers). */
int eg_engine_init(struct eg_engine *e, struct eg_loop *loop, struct eg_upstream *upstream,
		   struct eg_telemetry *telemetry, const struct eg_limits *limits,
		   struct eg_cooldowns *cooldowns, struct eg_budgets *budgets,
		   const char *tag) EG_MUST;
/* No exchange and no account may be left. */
void eg_engine_fini(struct eg_engine *e);
/* exchange.c: gives memory back that is kept for the next requests. */
void eg_exchange_spare_free(struct eg_engine *e);
/* New decisions use `s`; a reference is taken. */
void eg_engine_publish(struct eg_engine *e, struct eg_snapshot *s);

/* Adds a user. NULL: out of memory, or more pods than can be counted. */
struct eg_account *eg_account_acquire(struct eg_engine *e, uint32_t pod_id) EG_MUST;
void eg_account_release(struct eg_engine *e, struct eg_account *a);
/*
 * Sets the bytes that one user holds from *held to `bytes`. OK; POD_BUDGET or OVERLOADED: nothing
 * was changed. Making it smaller always works. `a` NULL: only the node's budget counts.
 */
enum eg_reason eg_account_hold(struct eg_engine *e, struct eg_account *a, size_t *held,
			       size_t bytes);
/* The same for memory that is in use already: it counts, whatever the limits. */
void eg_account_charge(struct eg_engine *e, struct eg_account *a, size_t *held, size_t bytes);
/* POD_BUDGET or OVERLOADED when a limit has been reached: nothing new should be begun. */
enum eg_reason eg_account_state(const struct eg_engine *e, const struct eg_account *a);
/* Half of what the pod, or all pods together, may hold is held: the rest is for requests. */
bool eg_account_half(const struct eg_engine *e, const struct eg_account *a);
/*
 * POD_BUDGET or OVERLOADED when answers that nobody reads have taken a quarter more than all that
 * the pod may hold, or, where all pods together have, when this one holds a mebibyte: who grows
 * then is ended. `a` NULL: OK.
 */
enum eg_reason eg_account_excess(const struct eg_engine *e, const struct eg_account *a);
/* As eg_account_hold, for descriptors. */
enum eg_reason eg_account_descriptors(struct eg_engine *e, struct eg_account *a, size_t *held,
				      size_t count);

/* As eg_cooldowns_until(), now; the secret is that of the snapshot, which the provider is of. */
uint64_t eg_cooldown_until(const struct eg_engine *e, const struct eg_snapshot *s,
			   const struct eg_provider *p, bool *stated);
/* It failed in this way (EG_RESPONSE_FAILOVER, EG_RESPONSE_QUOTA), and said that much of when to
 * come back (0: nothing): left alone for at least so long. */
void eg_cooldown_set(struct eg_engine *e, const struct eg_snapshot *s, const struct eg_provider *p,
		     enum eg_response_class how, uint64_t retry_after_ms);
/* A request that began then was answered well: what was said of it before is over. */
void eg_cooldown_clear(struct eg_engine *e, const struct eg_snapshot *s,
		       const struct eg_provider *p, uint64_t began_ms);

/* 32 hex digits and NUL; unique for this worker, not guessable in order. */
void eg_engine_request_id(struct eg_engine *e, char out[33]);

#endif
