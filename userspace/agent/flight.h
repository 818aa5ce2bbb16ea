/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of pods and requests in flight, in memory that outlives the gateway: its workers
 * write there, the supervisor reads it when that process is gone. Each gateway gets memory of its
 * own, sealed against being cut (a cut would be a SIGBUS for the supervisor). What stands in it is
 * a gateway's word: a number to report, nothing to decide by.
 */
#ifndef EGRET_AGENT_FLIGHT_H
#define EGRET_AGENT_FLIGHT_H

#include <stdatomic.h>

#include "base/base.h"
#include "egret/abi/maps.h"

struct eg_flight_worker {
	_Alignas(64) atomic_int_fast64_t requests; /* one writer; a line of its own */
	atomic_int_fast64_t connections;	   /* of pods; the same writer */
};

struct eg_flight {
	struct eg_flight_worker worker[EG_MAX_WORKERS];
};

/* Supervisor: new memory, all zero; *memfd is the caller's to close. 0 or -errno. */
int eg_flight_create(int *memfd, struct eg_flight **out) EG_MUST;
/* Gateway: maps what the supervisor made. -EPROTO: it is not that. */
int eg_flight_map(int memfd, struct eg_flight **out) EG_MUST;
void eg_flight_close(struct eg_flight *f);
/* Sums over all workers; nonsense counts as none. NULL: 0. */
uint64_t eg_flight_requests(const struct eg_flight *f);
uint64_t eg_flight_connections(const struct eg_flight *f);

#endif
