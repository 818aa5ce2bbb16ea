/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A TC packet to struct eg_packet: pulls in headers that lie outside the linear part. */
#ifndef EGRET_BPF_SKB_H
#define EGRET_BPF_SKB_H

#include "lib/pkt.h"

#define EG_TC_NEXT (-1) /* TC_ACT_UNSPEC, TCX_NEXT: the next program, never TC_ACT_OK */

#define EG_PULL 1024 /* headers longer than this count as unparseable */

/*
 * Global on purpose: the verifier checks it once and knows nothing of what it wrote, so the paths
 * through the parser don't multiply with those of the classifier.
 */
__noinline int eg_skb_parse_once(struct __sk_buff *skb, struct eg_packet *p)
{
	if (!p)
		return 1;
	return eg_packet_parse((void *)(long)skb->data, (void *)(long)skb->data_end, 0, p);
}

/* Bytes that a MAC header has. What the network header begins with has to differ from them. */
struct eg_first {
	__u32 word[3];
	__u16 type;
} __attribute__((packed));

/*
 * As above for an uplink, which may have no MAC header (WireGuard, a tunnel, PPP): then the packet
 * begins with its network header. No field alone tells: where the type of an Ethernet header would
 * stand, IP has a part of its source address, which may be written like that type.
 */
__noinline int eg_skb_parse_uplink_once(struct __sk_buff *skb, struct eg_packet *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct eg_first *first = data, network;
	__u8 bare = 0;

	if (!p)
		return 1;
	if (data + sizeof(*first) <= end &&
	    !bpf_skb_load_bytes_relative(skb, 0, &network, sizeof(network), BPF_HDR_START_NET) &&
	    first->word[0] == network.word[0] && first->word[1] == network.word[1] &&
	    first->word[2] == network.word[2] && first->type == network.type) {
		if (skb->protocol == bpf_htons(ETH_P_IP))
			bare = 4;
		else if (skb->protocol == bpf_htons(ETH_P_IPV6))
			bare = 6;
	}
	return eg_packet_parse(data, end, bare, p);
}

/* Whether bytes of the packet are outside the linear part; pulls in what a parser may want. */
static __always_inline int skb_pull(struct __sk_buff *skb)
{
	return skb->data_end - skb->data < skb->len &&
	       !bpf_skb_pull_data(skb, skb->len < EG_PULL ? skb->len : EG_PULL);
}

static __always_inline void eg_skb_parse(struct __sk_buff *skb, struct eg_packet *p)
{
	int cut = eg_skb_parse_once(skb, p);

	if (cut && skb_pull(skb))
		cut = eg_skb_parse_once(skb, p);
	/* What was not pulled in may hold a routing header, as what is past EG_EXT_MAX may. */
	if (cut && (p->flags & EG_PACKET_OPTIONS) && skb->data_end - skb->data < skb->len)
		p->flags |= EG_PACKET_SOURCE_ROUTED;
	/* The outermost tag, when a driver or the stack has taken it out of the bytes. */
	if (skb->vlan_present && ((skb->vlan_tci & 0x0fff) || p->tags))
		p->flags |= EG_PACKET_TAGGED;
}

static __always_inline void eg_skb_parse_uplink(struct __sk_buff *skb, struct eg_packet *p)
{
	if (eg_skb_parse_uplink_once(skb, p) && skb_pull(skb))
		eg_skb_parse_uplink_once(skb, p);
}

#endif
