/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange/budget.h"

#define PROBES 64u

static struct eg_pod_budget *place(struct eg_budgets *b, uint32_t pod_id, size_t probe)
{
	return &b->pod[((pod_id * 2654435761u >> 12) + probe) % EG_BUDGET_PODS];
}

static bool claim(struct eg_pod_budget *p, uint64_t seen, uint64_t to)
{
	return atomic_compare_exchange_strong(&p->owner, &seen, to);
}

struct eg_pod_budget *eg_budgets_join(struct eg_budgets *b, uint32_t pod_id)
{
	/* First where the pod is counted already, then where nobody is. */
	for (int known = 1; known >= 0; known--) {
		for (size_t i = 0; i < PROBES; i++) {
			struct eg_pod_budget *p = place(b, pod_id, i);
			uint64_t owner = atomic_load(&p->owner);

			while (known && owner >> 32 == pod_id && (uint32_t)owner) {
				if (claim(p, owner, owner + 1))
					return p;
				owner = atomic_load(&p->owner);
			}
			if (!known && !(uint32_t)owner &&
			    claim(p, owner, (uint64_t)pod_id << 32 | 1))
				return p;
		}
	}
	return NULL;
}

void eg_budgets_leave(struct eg_pod_budget *p)
{
	atomic_fetch_sub(&p->owner, 1);
}

bool eg_budget_take(atomic_size_t *used, size_t n, size_t limit)
{
	size_t before = atomic_load_explicit(used, memory_order_relaxed);

	do {
		if (n > limit || before > limit - n)
			return false;
	} while (!atomic_compare_exchange_weak(used, &before, before + n));
	return true;
}
