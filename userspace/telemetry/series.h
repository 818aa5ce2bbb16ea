/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Labelled counters of one slot: written by its owner without a lock, read by whoever renders. A
 * series is never removed; past SERIES_MAX new label sets share one series labelled "overflow".
 */
#ifndef EGRET_TELEMETRY_SERIES_H
#define EGRET_TELEMETRY_SERIES_H

#include <stdatomic.h>

#include "base/base.h"

#define EG_SERIES_MAX	    4096u
#define EG_DURATION_BUCKETS 14

/* Upper bounds in seconds: OpenTelemetry gen_ai.client.operation.duration (v1.41). */
extern const double eg_duration_bounds[EG_DURATION_BUCKETS];

enum eg_label_index {
	EG_LABEL_ROUTE,
	EG_LABEL_BACKEND,
	EG_LABEL_NAMESPACE,
	EG_LABEL_SERVICE_ACCOUNT,
	EG_LABEL_POLICY,
	EG_LABEL_MODEL,
	EG_LABEL_OPERATION,
	EG_LABEL_REASON,
	EG_LABEL_CODE,
	EG_LABELS
};

enum eg_token_type {
	EG_TOKENS_INPUT,
	EG_TOKENS_OUTPUT,
	EG_TOKENS_CACHE_READ,
	EG_TOKENS_CACHE_WRITE,
	EG_TOKENS_REASONING,
	EG_TOKEN_TYPES
};

struct eg_series {
	const char *label[EG_LABELS]; /* immutable, NUL-terminated, inside the same allocation */
	uint64_t hash;
	bool attempt; /* counts attempts at a target rather than requests */
	atomic_uint_fast64_t requests;
	atomic_uint_fast64_t duration_ms;
	atomic_uint_fast64_t bucket[EG_DURATION_BUCKETS + 1];
	atomic_uint_fast64_t first_byte_ms;
	atomic_uint_fast64_t first_bytes;
	atomic_uint_fast64_t bytes_in, bytes_out;
	atomic_uint_fast64_t tokens[EG_TOKEN_TYPES];
};

struct eg_series_table {
	_Atomic(struct eg_series *) slot[2 * EG_SERIES_MAX]; /* open addressing */
	struct eg_series *last[2]; /* owner only: of requests and of attempts, the one found last */
	size_t count;		   /* owner only */
	atomic_uint_fast64_t overflowed;
};

/* Finds or adds; never NULL unless memory is out. Owner's thread. */
struct eg_series *eg_series_get(struct eg_series_table *t, bool attempt,
				const char *const label[EG_LABELS]);
void eg_series_table_fini(struct eg_series_table *t);

/* Relaxed add by the only writer. */
static inline void eg_series_add(atomic_uint_fast64_t *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

#endif
