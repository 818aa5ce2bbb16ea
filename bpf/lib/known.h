/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Mark mode, a redirect of what is no SYN and in no flow: does the agent have the connection? It is
 * asked here, where the packet still has the pod's address: what the node has masqueraded from its
 * SYN on would have the node's by the time that the kernel looks for a socket. And the node sends
 * no reset over IPv4 from an address that is in no table `local`, so it is sent from here.
 */
#ifndef EGRET_BPF_KNOWN_H
#define EGRET_BPF_KNOWN_H

#include "lib/classify.h"

__noinline int eg_agent_knows(struct __sk_buff *skb, struct eg_packet *p)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;
	int known;

	if (!p)
		return 1;
	if (p->family == 4) {
		t.ipv4.saddr = p->source.word_be[3];
		t.ipv4.daddr = p->destination.word_be[3];
		t.ipv4.sport = p->source_port_be;
		t.ipv4.dport = p->destination_port_be;
		sk = bpf_skc_lookup_tcp(skb, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	} else {
		__builtin_memcpy(t.ipv6.saddr, &p->source, sizeof(t.ipv6.saddr));
		__builtin_memcpy(t.ipv6.daddr, &p->destination, sizeof(t.ipv6.daddr));
		t.ipv6.sport = p->source_port_be;
		t.ipv6.dport = p->destination_port_be;
		sk = bpf_skc_lookup_tcp(skb, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sk)
		return 0;
	known = sk->state != BPF_TCP_LISTEN; /* of the node, on that port */
	bpf_sk_release(sk);
	return known;
}

static __always_inline void eg_known(struct __sk_buff *skb, struct eg_scene *s)
{
	if (s->config->mode != EG_MODE_MARK || s->decision.action != EG_ACTION_REDIRECT ||
	    !(s->decision.flags & EG_DECISION_NEW) || is_syn(&s->packet) ||
	    eg_agent_knows(skb, &s->packet))
		return;
	s->decision.flags &= ~EG_DECISION_RECORD;
	decide(s, EG_ACTION_RESET, EG_REASON_FLOW_UNKNOWN);
}

#endif
