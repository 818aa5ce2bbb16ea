/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The one exit: what was decided is counted, and reported to user space within a rate.
 * Counted are flows when they are decided and every packet that is dropped or reset; the
 * packets of a flow that passes or is redirected are counted in flows.
 */
#ifndef EGRET_BPF_NOTE_H
#define EGRET_BPF_NOTE_H

#include "lib/classify.h"

#define EG_EVENTS_PER_WINDOW 64
#define EG_EVENT_WINDOW_NS   1000000000ull

/* Global functions here and below: their stack is their own, and they are verified once. */
__noinline int eg_count(__u32 pod_id, __u32 name_id, __u32 reason, __u32 hook, __u32 bytes)
{
	struct eg_counter_key key = {
		.pod_id = pod_id,
		.name_id = name_id,
		.reason = reason,
		.hook = hook,
	};
	struct eg_counter *c = bpf_map_lookup_elem(&counters, &key);

	if (!c) {
		struct eg_counter zero = {};

		bpf_map_update_elem(&counters, &key, &zero, BPF_NOEXIST);
		c = bpf_map_lookup_elem(&counters, &key);
	}
	if (!c) { /* full; user space made these before */
		key.pod_id = 0;
		key.name_id = 0;
		key.reason = EG_REASON_UNCOUNTED;
		c = bpf_map_lookup_elem(&counters, &key);
		if (!c)
			return -1;
	}
	c->packets++;
	c->bytes += bytes;
	return 0;
}

/*
 * One link can't drown the events of the others: so many a second each. DNS_RAW has as many of its
 * own: the others are news, but from that the agent learns.
 */
__noinline int eg_event_allowed(__u32 ifindex, __u64 now_ns, __u32 type)
{
	struct eg_event_rate *rate = bpf_map_lookup_elem(&event_rate, &ifindex);

	if (!rate) {
		struct eg_event_rate fresh = {.window_ns = now_ns};

		bpf_map_update_elem(&event_rate, &ifindex, &fresh, BPF_NOEXIST);
		rate = bpf_map_lookup_elem(&event_rate, &ifindex);
		if (!rate)
			return 0;
	}
	if (now_ns - rate->window_ns > EG_EVENT_WINDOW_NS) {
		rate->window_ns = now_ns;
		rate->count = 0;
		rate->dns_count = 0;
	}
	if (type == EG_EVENT_DNS_RAW)
		return rate->dns_count++ < EG_EVENTS_PER_WINDOW;
	return rate->count++ < EG_EVENTS_PER_WINDOW;
}

static __always_inline void eg_event_fill(struct eg_event *e, __u8 type, __u8 hook,
					  const struct eg_scene *s)
{
	e->time_ns = s->now_ns;
	e->type = type;
	e->ifindex = s->ifindex;
	e->pod_id = s->decision.pod_id;
	e->name_id = s->decision.name_id;
	e->data_length = 0;
	e->reason = s->decision.reason;
	e->hook = hook;
	e->protocol = s->packet.protocol;
	e->from = 0;
	e->source_port_be = s->packet.source_port_be;
	e->destination_port_be = s->packet.destination_port_be;
	e->pad = 0;
	e->source = s->packet.source;
	e->destination = s->packet.destination;
}

static __always_inline void eg_event_send(__u8 type, __u8 hook, const struct eg_scene *s)
{
	struct eg_event *e;

	if (!eg_event_allowed(s->ifindex, s->now_ns, type))
		return;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e)
		return;
	eg_event_fill(e, type, hook, s);
	bpf_ringbuf_submit(e, 0);
}

static __always_inline void eg_note(__u8 hook, const struct eg_scene *s)
{
	const struct eg_decision *d = &s->decision;
	int stopped = d->action == EG_ACTION_DROP || d->action == EG_ACTION_RESET;

	if (d->flags & EG_DECISION_SILENT)
		return;
	if (!stopped && !(d->flags & EG_DECISION_NEW))
		return;
	eg_count(d->pod_id, d->name_id, d->reason, hook, s->length);
	if (d->reason == EG_REASON_PASS_UNGOVERNED || !(d->flags & EG_DECISION_NEW))
		return;
	eg_event_send(EG_EVENT_VERDICT, hook, s);
}

#endif
