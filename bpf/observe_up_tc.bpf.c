/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Observe mode, TC ingress on the host side of each pod's link: what the pod sends is looked at. It
 * has one answer, "next", and calls nothing that writes to a packet, marks or redirects it.
 */
#include "lib/observe.h"
#include "lib/queries.h"
#include "lib/skb.h"

SEC("tc")
int observe_up_tc(struct __sk_buff *skb)
{
	struct eg_scene s = {};
	__u32 ifindex = skb->ifindex;

	s.config = eg_config();
	if (!s.config || s.config->mode != EG_MODE_OBSERVE)
		return EG_TC_NEXT;
	s.pod = bpf_map_lookup_elem(&pods, &ifindex);
	s.ifindex = ifindex;
	s.length = skb->len;
	s.now_ns = bpf_ktime_get_coarse_ns();
	eg_skb_parse(skb, &s.packet);
	if (s.packet.status == EG_PACKET_OTHER || s.packet.status == EG_PACKET_HIDDEN)
		return EG_TC_NEXT;
	/* As if of a pod whose queries count, whatever is known of it. */
	s.state = EG_POD_GOVERNED;
	s.decision.action = EG_ACTION_PASS;
	eg_ask(skb, &s);
	eg_observe_up(skb, &s);
	return EG_TC_NEXT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
