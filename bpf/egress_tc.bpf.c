/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* TC ingress on the host side of each pod's link: what the pod sends is classified here. */
#include "lib/skb.h"
#include "lib/steer.h"

SEC("tc")
int egress_tc(struct __sk_buff *skb)
{
	struct eg_scene s = {};
	__u32 ifindex = skb->ifindex;

	s.config = eg_config();
	if (!s.config || !s.config->enabled)
		return EG_TC_NEXT;
	s.pod = bpf_map_lookup_elem(&pods, &ifindex);
	if (s.pod && (s.pod->state == EG_POD_UNGOVERNED || s.pod->state == EG_POD_FOREIGN) &&
	    !(s.pod->flags & EG_POD_FOLLOW_FLOWS)) {
		skb->tc_index = s.config->stamp;
		return EG_TC_NEXT;
	}
	s.ifindex = ifindex;
	s.length = skb->len;
	s.now_ns = bpf_ktime_get_coarse_ns();
	eg_skb_parse(skb, &s.packet);
	eg_classify(&s);
	eg_gate(&s);
	eg_record(&s);
	eg_note(EG_HOOK_EGRESS, &s);
	return eg_steer(skb, &s);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
