/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * DNS answers on their way to a pod: the addresses of a watched name are in `learned` before the
 * pod has the answer. For dns_tc and observe_down_tc. No packet is changed or kept back.
 */
#ifndef EGRET_BPF_ANSWERS_H
#define EGRET_BPF_ANSWERS_H

#include "lib/dns_parts.h"
#include "lib/learn.h"
#include "lib/queries.h"
#include "lib/skb.h"

/* 0: the kernel reads no names; every answer goes to user space by ring buffer. */
const volatile __u8 in_kernel_names = 1;

struct eg_dns_scratch {
	struct eg_dns dns;
	struct eg_dns_stream stream;
	struct eg_lesson lesson;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct eg_dns_scratch);
} dns_scratch SEC(".maps");

static __always_inline void count(const struct eg_scene *s, const struct eg_dns *d, __u32 reason)
{
	eg_count(s->decision.pod_id, d->name_id, reason, EG_HOOK_DNS, s->length);
}

static __always_inline void send_raw(struct eg_scene *s, struct eg_dns *d)
{
	__u32 size = d->length;

	if (in_kernel_names && !eg_event_allowed(s->ifindex, s->now_ns, EG_EVENT_DNS_RAW)) {
		count(s, d, EG_REASON_DNS_LOST);
		return;
	}
	if (size > EG_EVENT_DATA)
		size = EG_EVENT_DATA;
	eg_event_fill(eg_dns_event(d), EG_EVENT_DNS_RAW, EG_HOOK_DNS, s);
	eg_dns_event(d)->data_length = size;
	if (bpf_ringbuf_output(&events, eg_dns_event(d), sizeof(struct eg_event) + size, 0))
		count(s, d, EG_REASON_DNS_LOST);
}

/* Global: see note.h. */
__noinline int eg_dns_teach(struct eg_dns *d, struct eg_lesson *l)
{
	__u32 i;

	if (!d || !l)
		return 0;
	for (i = 0; i < EG_DNS_ADDRESSES; i++) {
		if (i >= d->count)
			break;
		l->address = d->answer[i].address;
		l->ttl = d->answer[i].ttl;
		eg_learn(l);
	}
	return 0;
}

static __always_inline void learn_all(struct eg_scene *s, struct eg_dns *d, struct eg_lesson *l)
{
	s->decision.name_id = d->name_id;
	s->decision.reason = EG_REASON_OK;
	count(s, d, EG_REASON_OK);
	eg_event_send(EG_EVENT_NAME_SEEN, EG_HOOK_DNS, s);
	l->source = s->packet.source;
	l->now_ns = s->now_ns;
	l->ifindex = s->ifindex;
	l->name_id = d->name_id;
	l->bytes = s->length;
	l->hook = EG_HOOK_DNS;
	l->from = EG_LEARNED_DNS;
	l->protocol = s->packet.protocol;
	eg_dns_teach(d, l);
	if (d->missed)
		count(s, d, EG_REASON_LEARN_QUOTA);
}

/* One message that is believed. `waits`: it will be read again, as a whole. */
static __always_inline void read_message(struct eg_scene *s, struct eg_dns_scratch *x, int waits)
{
	int cut = x->stream.cut || s->packet.defect == EG_REASON_FRAGMENT;
	struct eg_dns *d = &x->dns;

	d->name_id = 0;
	s->decision.name_id = 0;
	if (!d->length) { /* not even its header is here */
		if (!waits)
			count(s, d, EG_REASON_UNPARSEABLE);
		return;
	}
	if (eg_dns_begin(d, s->config->name_hash_base))
		return;
	if (!in_kernel_names) {
		if (!waits)
			send_raw(s, d);
		return;
	}
	eg_dns_read(d);
	if (d->name_id && d->count &&
	    (d->phase == EG_DNS_DONE || (d->phase == EG_DNS_SHORT && cut)))
		learn_all(s, d, &x->lesson);
	if (d->phase != EG_DNS_DONE && !waits) {
		s->decision.reason = EG_REASON_UNPARSEABLE;
		count(s, d, EG_REASON_UNPARSEABLE);
		send_raw(s, d);
	}
}

/* Bytes of the payload that are here, without padding. */
static __always_inline __u32 answer_here(const struct __sk_buff *skb, const struct eg_packet *p)
{
	__u32 here;

	if (p->payload_offset >= skb->len)
		return 0;
	here = skb->len - p->payload_offset;
	return p->payload_length && p->payload_length < here ? p->payload_length : here;
}

/* A datagram's query is answered as often as it was asked. */
static __always_inline int take_query(const struct eg_scene *s, const struct eg_dns *d)
{
	struct eg_query *q;

	if (!d->length)
		return 0;
	q = eg_asked(s, s->packet.destination_port_be, bpf_htons((__u16)dns_word(d, 0)));
	if (!q)
		return eg_asked(s, 0, 0) != 0;
	if (q->more)
		q->more--;
	else
		q->asked_ns = 0;
	return 1;
}

/*
 * Believed is only a configured resolver, answering what the pod asked: egress_tc recorded the
 * query, or the connection. So a neighbour can't teach a pod by sending it answers with the
 * resolver's address.
 */
static __always_inline void read_packet(struct __sk_buff *skb, struct eg_scene *s,
					struct eg_dns_scratch *x)
{
	struct eg_packet *p = &s->packet;
	__u32 here = answer_here(skb, p), i;
	struct eg_query *q = 0;
	int waits = 0;

	if (p->protocol == IPPROTO_TCP) {
		q = eg_asked(s, p->destination_port_be, 0);
		if (!q || !eg_query_answers(q, p))
			return;
		if (p->tcp_flags & EG_TCP_SYN) {
			q->opened = 0;
			q->next = p->sequence + 1;
			q->prefix_bytes = 0;
			q->prefix = 0;
			q->synced = 1;
			eg_dns_part_forget(p, s->ifindex);
			return;
		}
	}
	if (!here)
		return;
	eg_dns_open(&x->stream, p, here, q);
	if (q && !q->synced)
		eg_dns_part_forget(p, s->ifindex);
	if (q && q->synced) {
		int went = eg_dns_part_go_on(skb, p, &x->stream, &x->dns, s->ifindex);

		if (went == EG_DNS_WAITS)
			return;
		x->dns.name_id = 0;
		if (went == EG_DNS_GAP)
			count(s, &x->dns, EG_REASON_DNS_LOST);
	}
	for (i = 0; i < EG_DNS_MESSAGES; i++) {
		if (eg_dns_next(skb, &x->stream, &x->dns))
			break;
		if (!q && !take_query(s, &x->dns))
			return;
		if (!i && x->stream.loose && !eg_dns_plausible(&x->dns))
			return;
		if (q)
			waits = eg_dns_part_keep(skb, p, &x->stream, s->ifindex);
		if (waits > 1) {
			x->dns.name_id = 0;
			count(s, &x->dns, EG_REASON_DNS_LOST);
		}
		read_message(s, x, waits);
	}
	if (!q)
		return;
	x->dns.name_id = 0;
	if (x->stream.at < x->stream.end)
		count(s, &x->dns, EG_REASON_DNS_LOST);
	eg_dns_close(&x->stream, p, q);
}

/* Whether the packet, parsed, may be of a resolver. */
static __always_inline int eg_is_answer(const struct eg_packet *p)
{
	return (p->flags & EG_PACKET_PORTS) && p->source_port_be == bpf_htons(53) &&
	       p->defect != EG_REASON_UNPARSEABLE;
}

/* Reads such a packet of a resolver that is believed. All of *s but the decision is filled. */
static __always_inline void eg_answers(struct __sk_buff *skb, struct eg_scene *s)
{
	struct eg_dns_scratch *scratch;
	__u32 zero = 0;

	s->decision.pod_id = s->pod ? s->pod->pod_id : 0;
	scratch = bpf_map_lookup_elem(&dns_scratch, &zero);
	if (scratch && is_resolver(s->config, &s->packet.source))
		read_packet(skb, s, scratch);
}

#endif
