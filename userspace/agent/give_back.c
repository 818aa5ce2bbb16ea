/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/give_back.h"

static bool after_burst(const struct eg_give_back *g, uint64_t used, uint64_t now_ms)
{
	return g->peak - used >= EG_GIVE_BACK_BYTES &&
	       (!g->last_ms || now_ms - g->last_ms >= EG_GIVE_BACK_EVERY_MS);
}

static bool in_silence(const struct eg_give_back *g, uint64_t now_ms)
{
	return g->requests - g->requests_then >= EG_GIVE_BACK_REQUESTS &&
	       now_ms - g->request_ms >= EG_GIVE_BACK_QUIET_MS;
}

bool eg_give_back_due(struct eg_give_back *g, uint64_t used, uint64_t requests, uint64_t now_ms)
{
	g->peak = EG_MAX(g->peak, used);
	if (requests != g->requests)
		g->request_ms = now_ms;
	g->requests = requests;
	if (!after_burst(g, used, now_ms) && !in_silence(g, now_ms))
		return false;
	g->requests_then = requests;
	g->peak = used;
	g->last_ms = now_ms;
	return true;
}
