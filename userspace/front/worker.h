/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker of the gateway: one loop on one thread with everything of its own (pool, leaf cache,
 * resolver, counters). Nothing mutable is shared with other workers but what is named thread-safe.
 */
#ifndef EGRET_FRONT_WORKER_H
#define EGRET_FRONT_WORKER_H

#include "base/base.h"
#include "base/error.h"
#include "exchange/snapshot.h"
#include "net/tls.h"
#include "telemetry/telemetry.h"

struct eg_cidr {
	struct eg_address address;
	unsigned int prefix_bits; /* of the 128-bit (v4-mapped) form */
};

struct eg_limits {
	size_t request_body_bytes; /* held for replay, one request: 32 MiB */
	size_t pod_bytes;	   /* held for one pod on this worker: 64 MiB / workers */
	size_t worker_bytes;	   /* held on this worker */
	size_t connections;	   /* of pods, on this worker */
	size_t pod_connections;	   /* of one pod, on this worker */
	uint64_t handshake_ms, head_ms, idle_ms, body_idle_ms, write_idle_ms;
};
extern const struct eg_limits eg_default_limits;

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
	struct eg_telemetry *telemetry; /* this worker's slot; borrowed for good */
	unsigned char ticket_key[80];
};

struct eg_worker;
struct eg_worker *eg_worker_create(const struct eg_worker_options *o, struct eg_error *e) EG_MUST;
/* The thread's body; returns when stopped and drained. 0 or -errno. */
int eg_worker_run(struct eg_worker *w) EG_MUST;
void eg_worker_destroy(struct eg_worker *w);

/* ---- thread-safe ---- */
/* From now on new decisions use `s` (a reference is taken). */
void eg_worker_publish(struct eg_worker *w, struct eg_snapshot *s);
/* Counts turns of the loop: a watchdog asks for one and sees whether it grows. */
void eg_worker_poke(struct eg_worker *w);
uint64_t eg_worker_turns(const struct eg_worker *w);
/* Accept no more; finish what is in flight for at most that long, idle connections at once; then
 * run() returns. */
void eg_worker_drain(struct eg_worker *w, uint64_t milliseconds);
void eg_worker_ticket_key(struct eg_worker *w, const unsigned char key[80]);

#endif
