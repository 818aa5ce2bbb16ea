/* SPDX-License-Identifier: Apache-2.0 */
/* The limits and timeouts of one worker; what happens at each: docs/limits.md. */
#ifndef EGRET_EXCHANGE_LIMITS_H
#define EGRET_EXCHANGE_LIMITS_H

#include "base/base.h"

struct eg_limits {
	size_t request_body_bytes; /* held for replay, one request: 32 MiB */
	size_t pod_bytes;	   /* held for one pod on this worker: 64 MiB / workers */
	size_t worker_bytes;	   /* held on this worker */
	size_t connections;	   /* of pods, on this worker */
	size_t pod_connections;	   /* of one pod, on this worker */
	uint64_t handshake_ms, head_ms, idle_ms, body_idle_ms, write_idle_ms;
};
extern const struct eg_limits eg_default_limits;

#endif
