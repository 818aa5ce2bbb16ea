/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The SNI backstop of egress_tc: the first bytes a pod sends on a connection that passes. If they
 * are a ClientHello for a watched name, its address is one that nobody knew (DNS over HTTPS, a
 * hard-coded address, an answer dns_tc couldn't read): the address is learned and the connection
 * reset, so that the retry is captured.
 */
#ifndef EGRET_BPF_BACKSTOP_H
#define EGRET_BPF_BACKSTOP_H

#include "lib/learn.h"
#include "lib/sni.h"

struct eg_backstop_scratch {
	struct eg_hello hello;
	struct eg_lesson lesson;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct eg_backstop_scratch);
} hello_scratch SEC(".maps");

/* Bytes of the connection in this packet: what pads a frame to the least a link takes is none. */
static __always_inline __u32 payload_here(struct __sk_buff *skb, const struct eg_packet *p)
{
	__u32 here;

	if (skb->len <= p->payload_offset)
		return 0;
	here = skb->len - p->payload_offset;
	if (p->flags & EG_PACKET_NO_LENGTH)
		return here;
	return p->payload_length < here ? p->payload_length : here;
}

/* The watched name of the ClientHello in this packet, 0 for none. */
static __always_inline __u32 hello_of(struct __sk_buff *skb, const struct eg_scene *s,
				      struct eg_hello *h)
{
	__u32 at = s->packet.payload_offset, size;
	__u8 first[6];

	if (skb->len < at + EG_HELLO_LEAST || bpf_skb_load_bytes(skb, at, first, sizeof(first)) ||
	    !eg_is_hello(first))
		return 0;
	size = skb->len - at;
	if (size > EG_HELLO_BYTES)
		size = EG_HELLO_BYTES;
	h->length = size;
	if (size < EG_HELLO_LEAST || bpf_skb_load_bytes(skb, at, h->bytes, size))
		return 0;
	eg_names_prepare(&h->names, s->config->name_hash_base);
	return (__u32)eg_hello_read(h);
}

/* What a ClientHello for a watched name teaches; as eg_learn(). */
static __always_inline int hello_learn(const struct eg_scene *s, struct eg_lesson *l, __u32 name_id)
{
	l->address = s->packet.destination;
	l->source = s->packet.source;
	l->now_ns = s->now_ns;
	l->ifindex = s->ifindex;
	l->name_id = name_id;
	l->ttl = EG_SNI_TTL;
	l->bytes = s->length;
	l->hook = EG_HOOK_SNI;
	l->from = EG_LEARNED_SNI;
	l->protocol = IPPROTO_TCP;
	return eg_learn(l);
}

static __always_inline void eg_backstop(struct __sk_buff *skb, struct eg_scene *s)
{
	struct eg_packet *p = &s->packet;
	struct eg_backstop_scratch *scratch;
	struct eg_verdict *v;
	__u32 name_id, zero = 0;
	int outcome;

	if (s->decision.reason != EG_REASON_PASS_UNGOVERNED || p->protocol != IPPROTO_TCP ||
	    p->defect || !(p->flags & EG_PACKET_PORTS) || !payload_here(skb, p) ||
	    (s->flow && (s->flow->flags & EG_FLOW_PAYLOAD)))
		return;
	if (s->state == EG_POD_UNGOVERNED || s->state == EG_POD_FOREIGN)
		return;
	s->decision.flow_flags = EG_FLOW_PAYLOAD;
	scratch = bpf_map_lookup_elem(&hello_scratch, &zero);
	if (!scratch)
		return;
	name_id = hello_of(skb, s, &scratch->hello);
	if (!name_id)
		return;
	if (s->state == EG_POD_GOVERNED && s->pod) {
		v = eg_verdict_find(s->pod->policy_id, name_id, IPPROTO_TCP,
				    p->destination_port_be);
		if (v && v->action == EG_ACTION_PASS)
			return;
	} else if ((s->pod_flags & EG_POD_UNKNOWN_ALLOW) || s->config->unknown_pods == 1) {
		return;
	}
	outcome = hello_learn(s, &scratch->lesson, name_id);
	if (outcome == EG_REASON_LEARN_REFUSED)
		return; /* loopback, node, pod or service: not the provider's own address */
	if (s->pod_flags & EG_POD_SHADOW)
		return; /* the next connection is seen; this one is not cut for it */
	s->decision.name_id = name_id;
	s->decision.flags = EG_DECISION_NEW | EG_DECISION_RECORD;
	decide(s, EG_ACTION_RESET,
	       outcome == EG_REASON_LEARN_QUOTA ? EG_REASON_LEARN_QUOTA : EG_REASON_SNI_LEARNED);
}

#endif
