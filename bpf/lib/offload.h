/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A checksum that is still to be written. Whoever sends through a packet socket says where
 * (PACKET_VNET_HDR: csum_start, csum_offset), and the driver of the uplink, or skb_checksum_help(),
 * writes two bytes there behind every program: over the destination of an IPv6 packet, if that is
 * where the pod says they belong. So a checksum may only be written where its protocol has it, or
 * behind all that is judged, where a tunnel's inner packet has its own.
 *
 * struct __sk_buff does not tell; struct sk_buff does, and a program's context is one. Where its
 * fields lie is user space's to find (userspace/datapath/skb_layout.c).
 */
#ifndef EGRET_BPF_OFFLOAD_H
#define EGRET_BPF_OFFLOAD_H

#include "egret/abi/skb_layout.h"
#include "lib/classify.h"

/* csum_start_at 0: not known, and nothing is looked at. */
const volatile struct eg_skb_layout skb_layout = {};

#define EG_CHECKSUM_PARTIAL 3 /* linux/skbuff.h */

static __always_inline int kernel_read(void *to, __u32 bytes, const struct __sk_buff *skb, __u32 at)
{
	return (int)bpf_probe_read_kernel(to, bytes, (const char *)skb + at);
}

/* Where in the packet two bytes are to be written; below 0: nowhere. */
static __always_inline long checksum_place(const struct __sk_buff *skb)
{
	struct {
		__u16 start, offset;
	} checksum;
	__u64 head, data;
	__u8 summed;

	if (kernel_read(&summed, sizeof(summed), skb, skb_layout.ip_summed_at))
		return -1;
	if (((summed >> skb_layout.ip_summed_shift) & 3) != EG_CHECKSUM_PARTIAL)
		return -1;
	if (kernel_read(&checksum, sizeof(checksum), skb, skb_layout.csum_start_at) ||
	    kernel_read(&head, sizeof(head), skb, skb_layout.head_at) ||
	    kernel_read(&data, sizeof(data), skb, skb_layout.data_at))
		return 0;
	return (long)(head - data) + checksum.start + checksum.offset;
}

static __always_inline int is_checksums_place(const struct eg_packet *p, long at)
{
	if (p->status != EG_PACKET_IP || p->defect || !p->l4_offset)
		return 0;
	if (p->protocol == IPPROTO_TCP)
		return at == p->l4_offset + 16L || at >= (long)p->payload_offset;
	if (p->protocol == IPPROTO_UDP)
		return at == p->l4_offset + 6L || at >= (long)p->payload_offset;
	return at >= (long)p->l4_offset;
}

/* A packet that would pass and whose headers would be other ones when it leaves. */
__noinline int eg_offload_alters(struct __sk_buff *skb, struct eg_packet *p)
{
	long at;

	if (!p || !skb_layout.csum_start_at)
		return 0;
	at = checksum_place(skb);
	return at >= 0 && !is_checksums_place(p, at);
}

static __always_inline void eg_offload(struct __sk_buff *skb, struct eg_scene *s)
{
	if (s->decision.action != EG_ACTION_PASS || (s->pod_flags & EG_POD_SHADOW) ||
	    s->state == EG_POD_UNGOVERNED || s->state == EG_POD_FOREIGN ||
	    (s->state != EG_POD_GOVERNED && unknown_passes(s)))
		return;
	if (!eg_offload_alters(skb, &s->packet))
		return;
	s->decision.flags = EG_DECISION_NEW;
	decide(s, EG_ACTION_DROP, EG_REASON_UNPARSEABLE);
}

#endif
