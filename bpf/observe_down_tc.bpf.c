/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Observe mode, TC egress on the host side of each pod's link: DNS answers teach, and what
 * providers send back is counted. One answer, as observe_up_tc.
 */
#include "lib/answers.h"
#include "lib/observe.h"

SEC("tc")
int observe_down_tc(struct __sk_buff *skb)
{
	struct eg_scene s = {};
	__u32 ifindex = skb->ifindex;

	s.config = eg_config();
	if (!s.config || s.config->mode != EG_MODE_OBSERVE)
		return EG_TC_NEXT;
	eg_skb_parse(skb, &s.packet);
	s.pod = bpf_map_lookup_elem(&pods, &ifindex);
	s.ifindex = ifindex;
	s.length = skb->len;
	s.now_ns = bpf_ktime_get_coarse_ns();
	eg_observe_down(&s);
	if (eg_is_answer(&s.packet))
		eg_answers(skb, &s);
	return EG_TC_NEXT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
