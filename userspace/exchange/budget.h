/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What pods and the whole node have in use, over all workers of a gateway: a pod's limit must not
 * depend on how many CPUs a node has, nor on which of them its connections fell. Thread-safe
 * without a lock. What a race can cost: two workers that meet a pod for the first time in the same
 * instant may count it in two places, for as long as both know it.
 */
#ifndef EGRET_EXCHANGE_BUDGET_H
#define EGRET_EXCHANGE_BUDGET_H

#include <stdatomic.h>

#include "base/base.h"

#define EG_BUDGET_PODS 4096u /* pods with connections at once; kubelet's own limit is 110 */

struct eg_budget {
	atomic_size_t held_bytes, descriptors;
};

struct eg_pod_budget {
	atomic_uint_fast64_t owner; /* pod id << 32 | workers that count here; none: free */
	struct eg_budget used;
};

/* Zeroed memory is an empty one. */
struct eg_budgets {
	struct eg_budget node;
	struct eg_pod_budget pod[EG_BUDGET_PODS];
};

/* This worker begins to count that pod. NULL: too many pods. */
struct eg_pod_budget *eg_budgets_join(struct eg_budgets *b, uint32_t pod_id) EG_MUST;
/* What it had taken must have been given back. */
void eg_budgets_leave(struct eg_pod_budget *p);

/* Takes `n` if no more than `limit` are in use then; false: nothing was taken. */
bool eg_budget_take(atomic_size_t *used, size_t n, size_t limit) EG_MUST;
static inline void eg_budget_give(atomic_size_t *used, size_t n)
{
	atomic_fetch_sub_explicit(used, n, memory_order_relaxed);
}

#endif
