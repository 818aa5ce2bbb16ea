/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* TC egress on the host side of each pod's link: what the pod is answered by its resolvers. */
#include "lib/answers.h"

SEC("tc")
int dns_tc(struct __sk_buff *skb)
{
	struct eg_scene s = {};
	__u32 ifindex = skb->ifindex;

	eg_skb_parse(skb, &s.packet);
	if (!eg_is_answer(&s.packet))
		return EG_TC_NEXT;
	s.config = eg_config();
	if (!s.config || !s.config->enabled)
		return EG_TC_NEXT;
	s.pod = bpf_map_lookup_elem(&pods, &ifindex);
	if (!s.pod || s.pod->state == EG_POD_UNGOVERNED || s.pod->state == EG_POD_FOREIGN)
		return EG_TC_NEXT;
	s.ifindex = ifindex;
	s.length = skb->len;
	s.now_ns = bpf_ktime_get_coarse_ns();
	eg_answers(skb, &s);
	return EG_TC_NEXT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
