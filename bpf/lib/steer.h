/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Decision to deed at TC: is the agent alive, what is recorded, and how a packet is redirected,
 * passed, dropped or answered with a reset.
 */
#ifndef EGRET_BPF_STEER_H
#define EGRET_BPF_STEER_H

#include "lib/note.h"
#include "lib/skb.h"

#define EG_TC_SHOT	    2
#define EG_PACKET_HOST_TYPE 0 /* PACKET_HOST of linux/if_packet.h */

/* A filled listener slot. The kernel empties a slot when its socket closes. */
static __always_inline int listener_present(const struct eg_config *cfg)
{
	__u32 i;

	for (i = 0; i < EG_MAX_WORKERS; i++) {
		__u32 slot = i;
		struct bpf_sock *sk;

		if (i >= cfg->listener_count)
			break;
		sk = bpf_map_lookup_elem(&listeners, &slot);
		if (sk) {
			bpf_sk_release(sk);
			return 1;
		}
	}
	return 0;
}

static __always_inline __u64 heartbeat_age(const struct eg_scene *s)
{
	__u64 beat = s->config->heartbeat_ns;

	return s->now_ns > beat ? s->now_ns - beat : 0; /* the clock here is a tick coarse */
}

/* Applies the fail policy to a redirect when there is no agent to redirect to. */
static __always_inline void eg_gate(struct eg_scene *s)
{
	struct eg_config *cfg = s->config;
	__u64 age;

	if (s->decision.action != EG_ACTION_REDIRECT)
		return;
	age = heartbeat_age(s);
	if (!(s->decision.flags & EG_DECISION_NEW)) {
		/* A flow of an agent that is gone for good; nobody else would answer. */
		if (age > cfg->heartbeat_max_ns + cfg->down_grace_ns)
			decide(s, EG_ACTION_RESET, EG_REASON_AGENT_DOWN_RESET);
		return;
	}
	if (age <= cfg->heartbeat_max_ns && (cfg->mode != EG_MODE_NETNS || cfg->agent_ifindex) &&
	    listener_present(cfg))
		return;
	if ((s->pod_flags & EG_POD_FAIL_OPEN) || cfg->fail_policy == EG_FAIL_OPEN) {
		decide(s, EG_ACTION_PASS, EG_REASON_PASS_FAIL_OPEN);
		return;
	}
	s->decision.flags &= ~EG_DECISION_RECORD;
	if (age > cfg->heartbeat_max_ns + cfg->down_grace_ns)
		decide(s, EG_ACTION_RESET, EG_REASON_AGENT_DOWN_RESET);
	else
		decide(s, EG_ACTION_DROP, EG_REASON_AGENT_DOWN);
}

/* Writes or refreshes the flow. Counts are approximate where two CPUs share one. */
static __always_inline void eg_record(struct eg_scene *s)
{
	struct eg_flow_key key;
	struct eg_flow fresh = {};

	if (!(s->decision.flags & EG_DECISION_NEW)) {
		if (s->flow) {
			s->flow->last_seen_ns = s->now_ns;
			s->flow->packets++;
			s->flow->bytes += s->length;
			s->flow->flags |= s->decision.flow_flags;
		}
		return;
	}
	if (!(s->decision.flags & EG_DECISION_RECORD) || !(s->packet.flags & EG_PACKET_PORTS))
		return;
	flow_key(&key, &s->packet, s->ifindex);
	fresh.last_seen_ns = s->now_ns;
	fresh.packets = 1;
	fresh.bytes = s->length;
	fresh.pod_id = s->decision.pod_id;
	fresh.name_id = s->decision.name_id;
	fresh.generation = s->config->generation;
	fresh.action = s->decision.action;
	fresh.reason = s->decision.reason;
	fresh.flags = s->decision.flow_flags;
	bpf_map_update_elem(&flows, &key, &fresh, BPF_ANY);
}

/* The ones' complement sum of a pseudo header (RFC 9293 3.1, RFC 8200 8.1), not yet folded. */
static __always_inline __u64 pseudo_sum(const struct eg_packet *p, __u32 l4_length)
{
	__u64 sum = bpf_htonl(l4_length) + (__u64)bpf_htonl(IPPROTO_TCP);
	int i;

	if (p->family == 4)
		return sum + p->source.word_be[3] + (__u64)p->destination.word_be[3];
	for (i = 0; i < 4; i++)
		sum += p->source.word_be[i] + (__u64)p->destination.word_be[i];
	return sum;
}

static __always_inline __u16 sum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

struct eg_reset4 {
	struct iphdr ip;
	struct tcphdr tcp;
};

struct eg_reset6 {
	struct ipv6hdr ip;
	struct tcphdr tcp;
};

/* RFC 9293 3.5.2: a reset that answers the packet, as a closed port would send it. */
static __always_inline void reset_tcp(const struct eg_packet *p, struct tcphdr *tcp)
{
	__u32 used = p->payload_length;

	if (p->tcp_flags & EG_TCP_SYN)
		used++;
	if (p->tcp_flags & EG_TCP_FIN)
		used++;
	tcp->source = p->destination_port_be;
	tcp->dest = p->source_port_be;
	tcp->doff = sizeof(*tcp) / 4;
	tcp->rst = 1;
	if (p->tcp_flags & EG_TCP_ACK) {
		tcp->seq = bpf_htonl(p->acknowledged);
	} else {
		tcp->ack = 1;
		tcp->ack_seq = bpf_htonl(p->sequence + used);
	}
}

/*
 * The checksum field. A packet that came from a local stack has only its pseudo header summed
 * (CHECKSUM_PARTIAL), and stays so: the field must then hold that sum. BPF can't see which it
 * is, but the field of the packet being answered tells.
 */
static __always_inline __u16 reset_check(const struct eg_packet *p, __u16 was, const void *tcp)
{
	const __u32 *word = tcp;
	__u32 length = p->payload_offset - p->l4_offset + p->payload_length;
	__u64 sum = pseudo_sum(p, sizeof(struct tcphdr));
	int i;

	if (was == sum_fold(pseudo_sum(p, length)))
		return sum_fold(sum);
	for (i = 0; i < 5; i++)
		sum += word[i];
	return (__u16)~sum_fold(sum);
}

static __always_inline int reset_build4(struct __sk_buff *skb, const struct eg_packet *p, __u16 was)
{
	struct eg_reset4 r = {};
	__u64 sum = 0;
	const __u32 *word = (const void *)&r.ip;
	int i;

	r.ip.version = 4;
	r.ip.ihl = 5;
	r.ip.tot_len = bpf_htons(sizeof(r));
	r.ip.frag_off = bpf_htons(0x4000);
	r.ip.ttl = 64;
	r.ip.protocol = IPPROTO_TCP;
	r.ip.saddr = p->destination.word_be[3];
	r.ip.daddr = p->source.word_be[3];
	for (i = 0; i < 5; i++)
		sum += word[i];
	r.ip.check = (__u16)~sum_fold(sum);
	reset_tcp(p, &r.tcp);
	r.tcp.check = reset_check(p, was, &r.tcp);
	if (bpf_skb_change_tail(skb, p->l3_offset + (__u32)sizeof(r), 0))
		return -1;
	return bpf_skb_store_bytes(skb, p->l3_offset, &r, sizeof(r), 0) ? -1 : 0;
}

static __always_inline int reset_build6(struct __sk_buff *skb, const struct eg_packet *p, __u16 was)
{
	struct eg_reset6 r = {};

	r.ip.version = 6;
	r.ip.payload_len = bpf_htons(sizeof(r.tcp));
	r.ip.nexthdr = IPPROTO_TCP;
	r.ip.hop_limit = 64;
	__builtin_memcpy(&r.ip.saddr, &p->destination, sizeof(r.ip.saddr));
	__builtin_memcpy(&r.ip.daddr, &p->source, sizeof(r.ip.daddr));
	reset_tcp(p, &r.tcp);
	r.tcp.check = reset_check(p, was, &r.tcp);
	if (bpf_skb_change_tail(skb, p->l3_offset + (__u32)sizeof(r), 0))
		return -1;
	return bpf_skb_store_bytes(skb, p->l3_offset, &r, sizeof(r), 0) ? -1 : 0;
}

/* Turns the packet into its own answer and sends it back out of the link it came in by. */
__noinline int eg_reset(struct __sk_buff *skb, struct eg_packet *p)
{
	__u8 mac[12], swapped[12];
	__u16 was = 0;

	if (!p)
		return EG_TC_SHOT;
	/* Headers between IP and TCP would move the checksum's place; those are dropped. */
	if (p->protocol != IPPROTO_TCP || p->defect || !(p->flags & EG_PACKET_PORTS) ||
	    (p->flags & EG_PACKET_OPTIONS) || p->tags || (p->tcp_flags & EG_TCP_RST))
		return EG_TC_SHOT;
	if (bpf_skb_load_bytes(skb, p->l4_offset + 16, &was, sizeof(was)) ||
	    bpf_skb_load_bytes(skb, 0, mac, sizeof(mac)))
		return EG_TC_SHOT;
	__builtin_memcpy(swapped, mac + 6, 6);
	__builtin_memcpy(swapped + 6, mac, 6);
	if (p->family == 4 ? reset_build4(skb, p, was) : reset_build6(skb, p, was))
		return EG_TC_SHOT;
	if (bpf_skb_store_bytes(skb, 0, swapped, sizeof(swapped), 0))
		return EG_TC_SHOT;
	return (int)bpf_redirect(skb->ifindex, 0);
}

/*
 * Into the namespace behind a veth. On a bridge port a packet is addressed to another host, and its
 * stack would drop it as such: before 6.15 redirect_peer leaves that as it is (skb_do_redirect(),
 * net/core/filter.c).
 */
static __always_inline int eg_peer(struct __sk_buff *skb, __u32 ifindex)
{
	bpf_skb_change_type(skb, EG_PACKET_HOST_TYPE);
	return (int)bpf_redirect_peer(ifindex, 0);
}

static __always_inline int eg_redirect(struct __sk_buff *skb, const struct eg_scene *s)
{
	struct eg_config *cfg = s->config;

	skb->tc_index = 0; /* whatever goes astray is not stamped */
	if (cfg->mode == EG_MODE_MARK) {
		skb->mark = (skb->mark & ~cfg->mark_mask) | cfg->mark;
		return EG_TC_NEXT;
	}
	/* A tag of id 0 is only a priority; the way into the namespace has none. */
	if ((skb->vlan_present || s->packet.tags) && bpf_skb_vlan_pop(skb))
		return EG_TC_SHOT;
	return eg_peer(skb, cfg->agent_ifindex);
}

static __always_inline int eg_steer(struct __sk_buff *skb, struct eg_scene *s)
{
	switch (s->decision.action) {
	case EG_ACTION_REDIRECT:
		return eg_redirect(skb, s);
	case EG_ACTION_PASS:
		/* What goes elsewhere needs none, and must not have one where DNAT takes it to a
		 * governed destination after all. */
		skb->tc_index = s->elsewhere ? 0 : s->config->stamp;
		return EG_TC_NEXT;
	case EG_ACTION_RESET:
		return eg_reset(skb, &s->packet);
	default:
		return EG_TC_SHOT;
	}
}

#endif
