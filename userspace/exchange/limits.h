/* SPDX-License-Identifier: Apache-2.0 */
/* The limits and timeouts of a gateway; what happens at each: docs/limits.md. */
#ifndef EGRET_EXCHANGE_LIMITS_H
#define EGRET_EXCHANGE_LIMITS_H

#include "base/base.h"

struct eg_limits {
	size_t request_body_bytes; /* held for replay, one request: 32 MiB */
	size_t pod_bytes;	   /* held for one pod, over all workers: 64 MiB */
	size_t node_bytes;	   /* held for all pods: 512 MiB */
	size_t descriptors;	   /* for connections of pods and what they lead to */
	size_t pod_descriptors;	   /* of these, for one pod */
	size_t idle_upstream; /* pooled connections to providers, one worker; 0: each origin's limit
			       */
	size_t leaves;	      /* certificates that are kept, one worker; 0: EG_MINT_LEAVES */
	uint64_t handshake_ms, head_ms, idle_ms, body_idle_ms, write_idle_ms;
	/* Where no timeouts of policy hold, since it is passed on as it came: connecting; silence.
	 */
	uint64_t passed_connect_ms, passed_idle_ms;
	uint64_t tunnel_end_ms; /* for a WebSocket's provider to end after the client did */
};
extern const struct eg_limits eg_default_limits;

#endif
