/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * TC egress of the uplinks: what leaves the node for a governed destination without having been
 * classified. Judges by what the whole node knows (policy CIDRs, names the agent resolved),
 * never by what a pod taught; what is not governed is not touched.
 */
#include "lib/skb.h"
#include "lib/steer.h"

#define EG_CGROUP_LEVELS 8

static __always_inline int is_agents_cgroup(const struct eg_config *cfg, __u64 id)
{
	return id && (id == cfg->agent_cgroup[0] || id == cfg->agent_cgroup[1]);
}

/* The socket's cgroup, or one above it, is the agent's. */
static __always_inline int is_agent(struct __sk_buff *skb, const struct eg_config *cfg)
{
	int level;

	if (is_agents_cgroup(cfg, bpf_skb_cgroup_id(skb)))
		return 1;
	for (level = 1; level < EG_CGROUP_LEVELS; level++)
		if (is_agents_cgroup(cfg, bpf_skb_ancestor_cgroup_id(skb, level)))
			return 1;
	return 0;
}

/*
 * ACK and RST without data. Those of time-wait sockets carry no cgroup or the kernel's own, so they
 * can't be told from another process' by it; and without its SYN and its data neither can do harm.
 */
static __always_inline int is_bare_control(const struct eg_packet *p)
{
	return p->protocol == IPPROTO_TCP && !p->defect && !p->payload_length &&
	       !(p->tcp_flags & EG_TCP_SYN) && (p->tcp_flags & (EG_TCP_ACK | EG_TCP_RST));
}

/* TCP 80 and 443, UDP 443, and what could be one of them but can't be read. */
static __always_inline int is_judged(const struct eg_packet *p)
{
	if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP)
		return p->defect == EG_REASON_UNPARSEABLE;
	if (p->defect || !(p->flags & EG_PACKET_PORTS))
		return 1;
	return p->destination_port_be == bpf_htons(443) ||
	       (p->protocol == IPPROTO_TCP && p->destination_port_be == bpf_htons(80));
}

SEC("tc")
int guard_tc(struct __sk_buff *skb)
{
	struct eg_scene s = {};
	struct eg_packet *p = &s.packet;
	__u8 odd, target;

	s.config = eg_config();
	if (!s.config || !s.config->enabled)
		return EG_TC_NEXT;
	if (s.config->stamp && skb->tc_index == s.config->stamp)
		return EG_TC_NEXT;
	if (!skb->ingress_ifindex && !s.config->guard_host_deny)
		return EG_TC_NEXT;
	eg_skb_parse_uplink(skb, p);
	if (p->status != EG_PACKET_IP || !is_judged(p))
		return EG_TC_NEXT;
	s.now_ns = bpf_ktime_get_coarse_ns();
	target = eg_target_of(s.config, p->family, &p->destination, &s.decision.name_id,
			      &s.decision.origin, &odd);
	if (target != EG_TARGET_GOVERNED)
		return EG_TC_NEXT;
	if (!skb->ingress_ifindex) {
		if (is_agent(skb, s.config) || is_bare_control(p))
			return EG_TC_NEXT;
		decide(&s, EG_ACTION_DROP, EG_REASON_GUARD_HOST);
	} else if (p->protocol == IPPROTO_UDP && !p->defect) {
		decide(&s, EG_ACTION_DROP, EG_REASON_QUIC_REFUSED);
	} else {
		decide(&s, EG_ACTION_DROP, EG_REASON_GUARD_NO_STAMP);
	}
	s.ifindex = skb->ifindex;
	s.length = skb->len;
	s.decision.flags = EG_DECISION_NEW;
	eg_note(EG_HOOK_GUARD, &s);
	return EG_TC_SHOT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
