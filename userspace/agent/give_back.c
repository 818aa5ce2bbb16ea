/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/give_back.h"

bool eg_give_back_due(struct eg_give_back *g, uint64_t used, uint64_t now_ms)
{
	g->peak = EG_MAX(g->peak, used);
	if (g->peak - used < EG_GIVE_BACK_BYTES ||
	    (g->last_ms && now_ms - g->last_ms < EG_GIVE_BACK_EVERY_MS))
		return false;
	g->peak = used;
	g->last_ms = now_ms;
	return true;
}
