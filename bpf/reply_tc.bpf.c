/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * TC ingress on the host side of the agent's veth (netns mode): what the agent's namespace sends
 * goes straight into the pod whose address it is for.
 */
#include "lib/skb.h"
#include "lib/steer.h"

/* Neighbour discovery and the like between the two ends of the veth itself. */
static __always_inline int is_own_link(const struct eg_packet *p)
{
	__u32 a = bpf_ntohl(p->destination.word_be[0]);

	if (p->family == 6)
		return (a & 0xffc00000) == 0xfe800000 || (a >> 24) == 0xff;
	return (bpf_ntohl(p->destination.word_be[3]) >> 28) == 14;
}

SEC("tc")
int reply_tc(struct __sk_buff *skb)
{
	struct eg_scene s = {};
	struct eg_address destination;
	__u32 *link;

	s.config = eg_config();
	if (!s.config)
		return EG_TC_NEXT;
	eg_skb_parse(skb, &s.packet);
	if (s.packet.status == EG_PACKET_OTHER)
		return EG_TC_NEXT;
	if (s.packet.status == EG_PACKET_IP) {
		destination = s.packet.destination;
		link = bpf_map_lookup_elem(&pod_links, &destination);
		if (link)
			return eg_peer(skb, *link);
		if (is_own_link(&s.packet))
			return EG_TC_NEXT;
	}
	s.ifindex = skb->ifindex;
	s.length = skb->len;
	s.now_ns = bpf_ktime_get_coarse_ns();
	s.decision.flags = EG_DECISION_NEW;
	decide(&s, EG_ACTION_DROP, EG_REASON_REPLY_UNKNOWN_POD);
	eg_note(EG_HOOK_REPLY, &s);
	return EG_TC_SHOT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
