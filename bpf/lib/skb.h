/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* A TC packet to struct eg_packet: pulls in headers that lie outside the linear part. */
#ifndef EGRET_BPF_SKB_H
#define EGRET_BPF_SKB_H

#include "lib/pkt.h"

#define EG_PULL 1024 /* more than every header that the parser accepts */

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

static __always_inline void eg_skb_parse(struct __sk_buff *skb, struct eg_packet *p)
{
	if (eg_skb_parse_once(skb, p) && skb->data_end - skb->data < skb->len &&
	    !bpf_skb_pull_data(skb, skb->len < EG_PULL ? skb->len : EG_PULL))
		eg_skb_parse_once(skb, p);
	/* The outermost tag, when a driver or the stack has taken it out of the bytes. */
	if (skb->vlan_present && ((skb->vlan_tci & 0x0fff) || p->tags))
		p->flags |= EG_PACKET_TAGGED;
}

#endif
