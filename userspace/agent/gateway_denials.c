/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/channel.h"
#include "agent/gateway_impl.h"
#include "agent/spawner.h"
#include "base/log.h"
#include "telemetry/denials.h"

#define EVERY_MS 1000u

/* A supervisor that is slow is not told twice: what it does not take is lost, and others come. */
static void send_denials(struct eg_message *m)
{
	if (m->u.denials.count || m->u.denials.lost)
		eg_gateway_say(m);
	m->u.denials.count = 0;
	m->u.denials.lost = 0;
}

static void put(struct eg_message *m, const struct eg_denial *d)
{
	struct eg_wire_denial *w = &m->u.denials.item[m->u.denials.count++];

	_Static_assert(sizeof(w->pod_uid) == sizeof(d->pod_uid) &&
			       sizeof(w->host) == sizeof(d->host) &&
			       sizeof(w->provider) == sizeof(d->provider),
		       "each fits");
	memcpy(w->pod_uid, d->pod_uid, sizeof(w->pod_uid));
	memcpy(w->host, d->host, sizeof(w->host));
	memcpy(w->provider, d->provider, sizeof(w->provider));
	w->reason = d->reason;
	w->count = d->count;
	if (m->u.denials.count == EG_WIRE_DENIED)
		send_denials(m);
}

void eg_gateway_denials(struct eg_gateway *g)
{
	static struct eg_message m; /* large; one thread */
	uint64_t now = eg_now_ms();

	if (now - g->denials_ms < EVERY_MS)
		return;
	g->denials_ms = now;
	m = (struct eg_message){.type = EG_WIRE_DENIALS};
	for (uint32_t i = 0; i < g->config.worker_count; i++) {
		struct eg_denials *d = g->workers[i].denials;
		const struct eg_denial_batch *b = d ? eg_denials_take(d) : NULL;

		if (!b)
			continue;
		m.u.denials.lost += b->lost;
		for (size_t k = 0; k < b->count; k++)
			put(&m, &b->item[k]);
		eg_denials_taken(d);
	}
	send_denials(&m);
}
