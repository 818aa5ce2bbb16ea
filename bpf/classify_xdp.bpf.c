/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * classify_xdp: the classifier of egress_tc at the earliest point, for links that pay for it.
 * Drops what is denied; a redirect is handed to egress_tc in the packet's metadata, and all else
 * (resets, holds that end, the fail policy) is left to it.
 *
 * guard_xdp: on uplinks, drops what comes from outside and claims the gateway's own address.
 *
 * Neither is to be attached generic with frags: metadata arrives corrupt.
 */
#include "lib/note.h"

__noinline int eg_xdp_parse_once(struct xdp_md *ctx, struct eg_packet *p)
{
	if (!p)
		return 1;
	return eg_packet_parse((void *)(long)ctx->data, (void *)(long)ctx->data_end, 0, p);
}

/* Leaves the decision before the packet. A failure costs nothing: egress_tc decides again. */
static __always_inline void hand_over(struct xdp_md *ctx, const struct eg_scene *s)
{
	struct eg_xdp_meta *meta;
	void *data;

	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*meta)))
		return;
	meta = (void *)(long)ctx->data_meta;
	data = (void *)(long)ctx->data;
	if ((void *)(meta + 1) > data)
		return;
	meta->magic = EG_XDP_MAGIC;
	meta->action = s->decision.action;
	meta->reason = s->decision.reason;
	meta->pad = 0;
	meta->name_id = s->decision.name_id;
	meta->pod_id = s->decision.pod_id;
}

SEC("xdp")
int classify_xdp(struct xdp_md *ctx)
{
	struct eg_scene s = {};
	__u32 ifindex = ctx->ingress_ifindex;

	s.config = eg_config();
	if (!s.config || !s.config->enabled)
		return XDP_PASS;
	s.pod = bpf_map_lookup_elem(&pods, &ifindex);
	if (!s.pod || s.pod->state == EG_POD_UNGOVERNED || s.pod->state == EG_POD_FOREIGN)
		return XDP_PASS;
	s.ifindex = ifindex;
	s.length = (__u32)(ctx->data_end - ctx->data);
	s.now_ns = bpf_ktime_get_coarse_ns();
	eg_xdp_parse_once(ctx, &s.packet);
	eg_classify(&s);
	if (s.decision.action == EG_ACTION_DROP) {
		eg_note(EG_HOOK_XDP, &s);
		return XDP_DROP;
	}
	if (s.decision.action == EG_ACTION_REDIRECT && (s.decision.flags & EG_DECISION_NEW))
		hand_over(ctx, &s);
	return XDP_PASS;
}

/* RFC 826 over Ethernet: 8 bytes of header and the sender's MAC precede its IPv4 address. */
#define EG_ARP_SENDER (sizeof(struct ethhdr) + 8 + ETH_ALEN)

static __always_inline int arp_claims(struct xdp_md *ctx, __be32 address_be)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	__be32 *sender = data + EG_ARP_SENDER;

	if ((void *)(sender + 1) > end || eth->h_proto != bpf_htons(ETH_P_ARP))
		return 0;
	return *sender == address_be;
}

static __always_inline int is_gateway(const struct eg_config *cfg, __u8 family,
				      const struct eg_address *address)
{
	struct eg_address gateway;

	if (family == 4)
		return cfg->gateway4_be && address->word_be[3] == cfg->gateway4_be;
	__builtin_memcpy(&gateway, cfg->gateway6_be, sizeof(gateway));
	return (gateway.word_be[0] || gateway.word_be[3]) && eg_address_equal(address, &gateway);
}

#define EG_ICMP6_SOLICITATION  135 /* RFC 4861 4.3, 4.4: 8 bytes, then the address it is about */
#define EG_ICMP6_ADVERTISEMENT 136

struct eg_discovery {
	__u8 type;
	__u8 header[7];
	struct eg_address target;
};

/* Who advertises it, or asks from the unspecified address whether it is taken (RFC 4862 5.4.3). */
static __always_inline int discovery_claims(struct xdp_md *ctx, const struct eg_config *cfg,
					    const struct eg_packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct eg_discovery *d = data + (p->l4_offset & EG_OFFSET_MASK);
	const struct eg_address none = {};
	struct eg_address target;

	if (p->family != 6 || p->protocol != IPPROTO_ICMPV6 || p->defect || (void *)(d + 1) > end)
		return 0;
	if (d->type != EG_ICMP6_ADVERTISEMENT &&
	    (d->type != EG_ICMP6_SOLICITATION || !eg_address_equal(&p->source, &none)))
		return 0;
	__builtin_memcpy(&target, &d->target, sizeof(target));
	return is_gateway(cfg, 6, &target);
}

SEC("xdp")
int guard_xdp(struct xdp_md *ctx)
{
	struct eg_scene s = {};
	struct eg_packet *p = &s.packet;

	s.config = eg_config();
	if (!s.config || !s.config->enabled)
		return XDP_PASS;
	eg_xdp_parse_once(ctx, p);
	if (p->status == EG_PACKET_HIDDEN)
		return XDP_PASS;
	if (p->status == EG_PACKET_OTHER) {
		if (!s.config->gateway4_be || !arp_claims(ctx, s.config->gateway4_be))
			return XDP_PASS;
	} else if (!is_gateway(s.config, p->family, &p->source) &&
		   !is_gateway(s.config, p->family, &p->destination) &&
		   !discovery_claims(ctx, s.config, p)) {
		return XDP_PASS;
	}
	s.ifindex = ctx->ingress_ifindex;
	s.length = (__u32)(ctx->data_end - ctx->data);
	s.now_ns = bpf_ktime_get_coarse_ns();
	s.decision.flags = EG_DECISION_NEW;
	decide(&s, EG_ACTION_DROP, EG_REASON_INGRESS_SPOOF);
	eg_note(EG_HOOK_XDP, &s);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
