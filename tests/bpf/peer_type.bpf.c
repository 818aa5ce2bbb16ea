/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What eg_peer() leaves a packet's type at, as the verdict: a test run reports that and not the
 * type, and with real packets it can't be seen since 6.15, where redirect_peer scrubs the type
 * itself.
 */
#include "lib/skb.h"
#include "lib/steer.h"

SEC("tc")
int peer_type(struct __sk_buff *skb)
{
	eg_peer(skb, 1);
	return (int)skb->pkt_type;
}

SEC("tc")
int type(struct __sk_buff *skb)
{
	return (int)skb->pkt_type;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
