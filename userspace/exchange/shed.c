/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose requests are refused while the loop is late. What runs goes on. So many may run as did when
 * it became late, less a quarter, and again a quarter less for each further while that it stays so;
 * each pod that has any running has an even share of them, and at least one: whoever asks for one
 * thing at a time is served, whatever another does.
 */
#include "exchange/exchange_impl.h"

#define LESS_AGAIN_MS 500u

void exchange_count(struct eg_exchange *x)
{
	struct eg_engine *e = x->engine;

	e->active++;
	x->counted = x->peer->account;
	if (x->counted && !x->counted->requests++)
		e->active_pods++;
}

void exchange_uncount(struct eg_exchange *x)
{
	struct eg_engine *e = x->engine;

	e->active--;
	if (x->counted && !--x->counted->requests)
		e->active_pods--;
	x->counted = NULL;
}

/* Of what runs beside the request in hand. */
static void set_allowed(struct eg_engine *e, unsigned int episode)
{
	struct eg_shed *s = &e->shed;
	uint64_t now = eg_loop_now_ms(e->loop);

	if (s->episode == episode && now - s->since_ms < LESS_AGAIN_MS)
		return;
	s->requests = s->episode == episode ? EG_MIN(s->requests, e->active - 1) : e->active - 1;
	s->requests -= (s->requests + 3) / 4;
	s->episode = episode;
	s->since_ms = now;
}

enum eg_reason exchange_shed(struct eg_exchange *x, const char **detail)
{
	const struct eg_lateness *l = eg_loop_lateness(x->engine->loop);
	struct eg_engine *e = x->engine;
	size_t share;

	if (!l->overloaded)
		return EG_REASON_OK;
	set_allowed(e, l->entered);
	share = e->shed.requests / EG_MAX(e->active_pods, (size_t)1);
	if (x->counted && x->counted->requests <= EG_MAX(share, (size_t)1))
		return EG_REASON_OK;
	if (e->telemetry)
		eg_telemetry_count(e->telemetry, EG_COUNT_REQUESTS_SHED, 1);
	*detail = "this worker is late, and the pod has its share of running requests";
	return EG_REASON_OVERLOADED;
}
