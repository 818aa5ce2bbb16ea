/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/give_back.h"

static bool rested(const struct eg_give_back *g, uint64_t now_ms)
{
	return !g->last_ms || now_ms - g->last_ms >= EG_GIVE_BACK_EVERY_MS;
}

static bool after_burst(const struct eg_give_back *g, uint64_t used, uint64_t now_ms)
{
	return g->peak - used >= EG_GIVE_BACK_BYTES && rested(g, now_ms);
}

static void begin_window(struct eg_give_back *g, uint64_t requests, uint64_t now_ms)
{
	g->window_requests = requests;
	g->window_ms = now_ms;
}

/* Few have asked for anything in a whole window, and many before it. */
static bool in_quiet(struct eg_give_back *g, uint64_t requests, uint64_t now_ms)
{
	uint64_t few = requests - g->window_requests;

	if (few >= EG_GIVE_BACK_REQUESTS) {
		begin_window(g, requests, now_ms);
		return false;
	}
	if (now_ms - g->window_ms < EG_GIVE_BACK_QUIET_MS)
		return false;
	if (requests - g->requests_then < EG_GIVE_BACK_REQUESTS) {
		begin_window(g, requests, now_ms);
		return false;
	}
	return !few || rested(g, now_ms);
}

bool eg_give_back_due(struct eg_give_back *g, uint64_t used, uint64_t requests, uint64_t now_ms)
{
	g->peak = EG_MAX(g->peak, used);
	/* A burst's end is no quiet: its connections have their buffers still. */
	if (in_quiet(g, requests, now_ms)) {
		g->requests_then = requests;
		begin_window(g, requests, now_ms);
	} else if (!after_burst(g, used, now_ms)) {
		return false;
	}
	g->peak = used;
	g->last_ms = now_ms;
	return true;
}
