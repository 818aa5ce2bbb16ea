/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Mark mode needs the node to route: a mark says nothing to a bridge, which takes a frame for a
 * neighbour straight to it. So what is to be redirected, and lies on the link by which the pod
 * itself is reached, is refused, or passes where policy only watches. (netns mode takes it before
 * the bridge does.)
 */
#ifndef EGRET_BPF_BRIDGED_H
#define EGRET_BPF_BRIDGED_H

#include "lib/classify.h"

#define EG_PACKET_OTHERHOST 3 /* linux/if_packet.h: on a bridge's port every unicast frame */
#define EG_LOOPBACK_IFINDEX 1 /* net/flow.h: routes are asked for as the node itself would */
#define EG_FAMILY4	    2 /* sys/socket.h */
#define EG_FAMILY6	    10

/* The link towards an address by the node's routes; 0: none, or the node's own. */
static __always_inline __u32 link_towards(struct __sk_buff *skb, __u8 family,
					  const struct eg_address *a)
{
	struct bpf_fib_lookup f = {.ifindex = EG_LOOPBACK_IFINDEX};
	long r;

	if (family == 4) {
		f.family = EG_FAMILY4;
		f.ipv4_dst = a->word_be[3];
	} else {
		f.family = EG_FAMILY6;
		__builtin_memcpy(f.ipv6_dst, a, sizeof(f.ipv6_dst));
	}
	r = bpf_fib_lookup(skb, &f, sizeof(f), 0);
	return r == BPF_FIB_LKUP_RET_SUCCESS || r == BPF_FIB_LKUP_RET_NO_NEIGH ? f.ifindex : 0;
}

__noinline int eg_on_own_link(struct __sk_buff *skb, struct eg_packet *p)
{
	__u32 link;

	if (!p)
		return 0;
	link = link_towards(skb, p->family, &p->destination);
	return link && link == link_towards(skb, p->family, &p->source);
}

static __always_inline void eg_bridged(struct __sk_buff *skb, struct eg_scene *s)
{
	if (s->config->mode != EG_MODE_MARK || s->decision.action != EG_ACTION_REDIRECT ||
	    !(s->decision.flags & EG_DECISION_NEW) || skb->pkt_type != EG_PACKET_OTHERHOST ||
	    !eg_on_own_link(skb, &s->packet))
		return;
	s->decision.flags &= ~EG_DECISION_RECORD;
	if (s->pod_flags & EG_POD_SHADOW)
		decide(s, EG_ACTION_PASS, EG_REASON_SHADOW);
	else
		decide(s, EG_ACTION_RESET, EG_REASON_DENY);
}

#endif
