/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * sk_lookup: gives a new connection on any port to one worker's listener.
 *
 * netns mode: attached in the agent's namespace, where nothing arrives but what egress_tc sent:
 * every TCP packet without a socket of its own is a listener's.
 * mark mode: attached in the node's namespace, where everything else arrives too, and sk_lookup
 * sees neither the mark nor, behind a bridge, the pod's link. So the packet's flow is looked up:
 * egress_tc has just recorded it, and only what it decided to redirect is taken.
 */
#include "lib/maps.h"
#include "lib/classify.h"

#ifndef AF_INET
#define AF_INET 2
#endif

static __always_inline struct eg_flow *redirected_flow(const struct eg_packet *p)
{
	struct eg_address source = p->source;
	struct eg_flow_key key;
	struct eg_flow *flow;
	__u32 *link;

	link = bpf_map_lookup_elem(&pod_links, &source);
	if (!link)
		return 0;
	flow_key(&key, p, *link);
	flow = bpf_map_lookup_elem(&flows, &key);
	return flow && flow->action == EG_ACTION_REDIRECT ? flow : 0;
}

/*
 * A packet that has a socket does not come here: so one that is not its flow's first is of a
 * connection that nobody has. In netns mode the kernel answers it with a reset; in mark mode it
 * does not over IPv4, since the provider's address is in no table `local` (__ip_dev_find()), and
 * the pod would wait for as long as TCP does. So egress_tc answers what comes after the third. Not
 * the first already: with SYN cookies the packet that ends a handshake has no socket either, and is
 * sent again while the listener has no room.
 */
static __always_inline void note_stray(struct eg_flow *flow)
{
	if (flow->packets < 2)
		return;
	if (!(flow->flags & EG_FLOW_STRAY)) {
		flow->flags |= EG_FLOW_STRAY;
	} else if (!(flow->flags & EG_FLOW_STRAY_AGAIN)) {
		flow->flags |= EG_FLOW_STRAY_AGAIN;
	} else {
		flow->reason = EG_REASON_FLOW_UNKNOWN;
		flow->action = EG_ACTION_RESET;
	}
}

/* Spreads connections over workers: the pod's address and port vary, the rest hardly. */
static __always_inline __u32 spread(const struct eg_packet *p)
{
	__u32 h = p->source.word_be[3] ^ ((__u32)p->source_port_be << 16 | p->destination_port_be);

	h ^= p->destination.word_be[3];
	h *= 0x9e3779b1u;
	h ^= h >> 15;
	h *= 0x85ebca77u;
	return h ^ h >> 13;
}

/* Every field is read, whatever the family: one branch's load can't be merged with another's. */
static __always_inline void lookup_addresses(volatile struct bpf_sk_lookup *ctx,
					     struct eg_packet *p)
{
	struct eg_address remote = {.word_be = {ctx->remote_ip6[0], ctx->remote_ip6[1],
						ctx->remote_ip6[2], ctx->remote_ip6[3]}};
	struct eg_address local = {.word_be = {ctx->local_ip6[0], ctx->local_ip6[1],
					       ctx->local_ip6[2], ctx->local_ip6[3]}};
	__be32 remote4 = ctx->remote_ip4, local4 = ctx->local_ip4;

	p->source = remote;
	p->destination = local;
	if (ctx->family == AF_INET) {
		eg_address_from4(&p->source, remote4);
		eg_address_from4(&p->destination, local4);
	}
	p->source_port_be = ctx->remote_port;
	p->destination_port_be = bpf_htons((__u16)ctx->local_port);
}

SEC("sk_lookup")
int listener_lookup(struct bpf_sk_lookup *ctx)
{
	struct eg_packet p = {};
	struct eg_config *cfg;
	__u32 count, first, i;

	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	cfg = eg_config();
	if (!cfg)
		return SK_PASS;
	count = cfg->listener_count;
	if (!count || count > EG_MAX_WORKERS)
		return SK_PASS;
	p.protocol = IPPROTO_TCP;
	lookup_addresses(ctx, &p);
	if (cfg->mode == EG_MODE_MARK) {
		struct eg_flow *flow = redirected_flow(&p);

		if (!flow)
			return SK_PASS;
		note_stray(flow);
	}
	first = spread(&p);
	for (i = 0; i < EG_MAX_WORKERS; i++) {
		struct bpf_sock *sk;
		__u32 slot;
		long failed;

		if (i >= count)
			break;
		slot = (first + i) % count;
		sk = bpf_map_lookup_elem(&listeners, &slot);
		if (!sk)
			continue; /* this worker is gone; another takes its share */
		failed = bpf_sk_assign(ctx, sk, BPF_SK_LOOKUP_F_NO_REUSEPORT);
		bpf_sk_release(sk);
		if (!failed)
			return SK_PASS;
	}
	return SK_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
