/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* TC ingress on the host side of each pod's link: what the pod sends is classified here. */
#include "lib/backstop.h"
#include "lib/bridged.h"
#include "lib/known.h"
#include "lib/offload.h"
#include "lib/queries.h"
#include "lib/skb.h"
#include "lib/steer.h"

/* 0: ClientHellos are not read. */
const volatile __u8 sni_backstop = 1;

/*
 * What classify_xdp left. Only a redirect is taken over: whoever else could write there gains
 * no more than being sent to the agent.
 */
static __always_inline void read_handed(struct __sk_buff *skb, struct eg_scene *s)
{
	struct eg_xdp_meta *meta = (void *)(long)skb->data_meta;

	if ((void *)(meta + 1) > (void *)(long)skb->data || meta->magic != EG_XDP_MAGIC ||
	    meta->action != EG_ACTION_REDIRECT || !s->pod || meta->pod_id != s->pod->pod_id)
		return;
	s->handed = 1;
	s->handed_name_id = meta->name_id;
}

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
	read_handed(skb, &s);
	eg_skb_parse(skb, &s.packet);
	eg_classify(&s);
	eg_gate(&s);
	eg_bridged(skb, &s);
	eg_known(skb, &s);
	eg_offload(skb, &s);
	if (sni_backstop)
		eg_backstop(skb, &s);
	eg_record(&s);
	eg_ask(skb, &s);
	eg_note(EG_HOOK_EGRESS, &s);
	return eg_steer(skb, &s);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
