/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that somebody watches, to the supervisor, in pieces. It says how many it has read, and
 * EG_TRACE_WINDOW may be unread: so whoever watches takes no room from the answer to a ping. What
 * waits meanwhile is bounded by the tracer.
 */
#include "agent/channel.h"
#include "agent/gateway_impl.h"
#include "agent/spawner.h"

static void wake(void *ctx)
{
	struct eg_gateway *g = ctx;

	eg_loop_wake(g->loop);
}

void eg_gateway_trace_init(struct eg_gateway *g)
{
	eg_tracer_init(&g->tracer, wake, g);
	eg_buf_init(&g->trace, EG_TRACE_RECORD);
}

static void watch(struct eg_gateway *g, const struct eg_message *m)
{
	struct eg_trace_filter f = {.pod = ""};

	_Static_assert(sizeof(f.pod) == sizeof(m->u.trace.pod) &&
			       sizeof(f.host) == sizeof(m->u.trace.host),
		       "each fits");
	memcpy(f.pod, m->u.trace.pod, sizeof(f.pod) - 1);
	memcpy(f.host, m->u.trace.host, sizeof(f.host) - 1);
	eg_tracer_watch(&g->tracer, (uint32_t)m->value, m->number, &f);
}

void eg_gateway_trace(struct eg_gateway *g, const struct eg_message *m)
{
	if (m->type == EG_WIRE_TRACE_TAKEN)
		g->trace_unread -= EG_MIN(m->number, g->trace_unread);
	else if (m->value < 0 || m->value >= (int64_t)EG_TRACERS)
		return;
	else if (m->type == EG_WIRE_TRACE)
		watch(g, m);
	else
		eg_tracer_watch(&g->tracer, (uint32_t)m->value, m->number, NULL);
	eg_gateway_traced(g);
}

/* False: it is not on its way. */
static bool send_piece(struct eg_gateway *g, const struct eg_message *m)
{
	/* Of other failures whoever sends next hears, too. */
	if (eg_channel_send(EG_CONTROL_FD, m, NULL, 0))
		return false;
	g->trace_unread++;
	return true;
}

static void send_lost(struct eg_gateway *g, struct eg_message *m)
{
	for (uint32_t i = 0; i < EG_TRACERS; i++) {
		uint64_t lost;

		if (g->trace_unread >= EG_TRACE_WINDOW)
			return;
		lost = eg_tracer_lost(&g->tracer, i);
		m->u.traced = (struct eg_wire_traced){
			.places = 1u << i, .epoch = UINT32_MAX, .lost = lost};
		if (lost && !send_piece(g, m))
			return; /* a number less: the next losses are said */
	}
}

void eg_gateway_traced(struct eg_gateway *g)
{
	static struct eg_message m; /* large; one thread */

	m.type = EG_WIRE_TRACED;
	while (g->trace_unread < EG_TRACE_WINDOW) {
		size_t n;

		if (!g->trace.length && !eg_tracer_take(&g->tracer, &g->trace_head, &g->trace))
			break;
		n = EG_MIN(g->trace.length, (size_t)EG_TRACE_PIECE);
		m.u.traced = (struct eg_wire_traced){
			.places = g->trace_head.places,
			.epoch = g->trace_head.epoch,
			.length = (uint32_t)n,
			.more = n < g->trace.length,
		};
		memcpy(m.u.traced.text, eg_buf_data(&g->trace), n);
		if (!send_piece(g, &m))
			return;
		eg_buf_consume(&g->trace, n);
	}
	if (!g->trace.length)
		eg_buf_release(&g->trace);
	send_lost(g, &m);
}
