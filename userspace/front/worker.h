/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker of the gateway: one loop on one thread with everything of its own (pool, leaf cache,
 * resolver, counters). Nothing mutable is shared with other workers but what is named thread-safe.
 */
#ifndef EGRET_FRONT_WORKER_H
#define EGRET_FRONT_WORKER_H

#include "base/base.h"
#include "base/error.h"
#include "exchange/budget.h"
#include "exchange/cooldown.h"
#include "exchange/limits.h"
#include "exchange/snapshot.h"
#include "net/tls.h"
#include "telemetry/telemetry.h"
#include "upstream/dial_rules.h"

struct eg_worker_options {
	int index;
	int listener_fd;		/* taken; already listening, non-blocking, dual-stack */
	int signer_fd;			/* taken */
	struct eg_str chain_pem;	/* the intermediate's certificate; borrowed during create */
	struct eg_trust *default_trust; /* system roots; a reference is taken */
	const char *resolvers;		/* see net/resolver.h; borrowed during create */
	const char *tag;		/* this agent's tag against loops; borrowed for good */
	const struct eg_address *gateway4, *gateway6; /* NULL: none; borrowed during create */
	const struct eg_cidr *forbidden; /* node, pod and service ranges: never dialled unless
					    policy names them */
	size_t forbidden_count;
	struct eg_limits limits;
	struct eg_cooldowns
		*cooldowns;	    /* one for all workers, zeroed at first; borrowed for good */
	struct eg_budgets *budgets; /* likewise */
	struct eg_telemetry *telemetry; /* this worker's slot; borrowed for good */
	unsigned char ticket_key[80];
	bool hold; /* another process accepts from the listener; ours from eg_worker_accept() on */
};

struct eg_worker;
struct eg_worker *eg_worker_create(const struct eg_worker_options *o, struct eg_error *e) EG_MUST;
/* The thread's body; returns when stopped and drained. 0 or -errno. */
int eg_worker_run(struct eg_worker *w) EG_MUST;
void eg_worker_destroy(struct eg_worker *w);

/* ---- thread-safe ---- */
/* From now on new decisions use `s` (a reference is taken). */
void eg_worker_publish(struct eg_worker *w, struct eg_snapshot *s);
/* The listener is this process's alone from now on. */
void eg_worker_accept(struct eg_worker *w);
/* Counts turns of the loop: a watchdog asks for one and sees whether it grows. */
void eg_worker_poke(struct eg_worker *w);
uint64_t eg_worker_turns(const struct eg_worker *w);
/*
 * Accept no more; finish what is in flight for at most that long; then run() returns. Idle
 * connections are closed at once; `gently`, when another process accepts what comes next, they are
 * given the whole time for one more request, which is answered with "Connection: close": a close
 * that crosses a request on its way would be a request lost.
 */
void eg_worker_drain(struct eg_worker *w, uint64_t milliseconds, bool gently);
/* What is never dialled is this from now on. 0 or -ENOMEM. */
int eg_worker_forbid(struct eg_worker *w, const struct eg_cidr *list, size_t count) EG_MUST;
void eg_worker_ticket_key(struct eg_worker *w, const unsigned char key[80]);

#endif
