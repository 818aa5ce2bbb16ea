/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packet to decision: the one classifier of egress_tc and classify_xdp. Reads maps, changes
 * none, and knows nothing of the agent's being alive: that is steer.h's.
 * docs/verdicts.md is this file as a table.
 */
#ifndef EGRET_BPF_CLASSIFY_H
#define EGRET_BPF_CLASSIFY_H

#include "lib/maps.h"
#include "lib/pkt.h"

enum eg_decision_flags {
	EG_DECISION_NEW = 1 << 0,    /* decided now, not taken from flows */
	EG_DECISION_RECORD = 1 << 1, /* to be written to flows */
	EG_DECISION_SILENT = 1 << 2, /* nothing was judged: neither counted nor reported */
};

struct eg_decision {
	__u32 pod_id;
	__u32 name_id;
	__u8 action;	 /* enum eg_action */
	__u8 reason;	 /* enum eg_reason */
	__u8 flags;	 /* enum eg_decision_flags */
	__u8 origin;	 /* enum eg_destination_origin; 0: learned or none */
	__u8 flow_flags; /* enum eg_flow_flags to be set on the flow */
	__u8 pad[3];
};

/* What a destination address is. */
enum eg_target {
	EG_TARGET_NONE = 0,
	EG_TARGET_GOVERNED = 1,
	EG_TARGET_EXCLUDED = 2, /* policy or the node says: never governed */
};

/* Everything one packet is judged by. */
struct eg_scene {
	struct eg_packet packet;
	struct eg_decision decision;
	struct eg_config *config;
	struct eg_pod *pod;   /* NULL: no entry, treated as unknown for ever */
	struct eg_flow *flow; /* of flows, if there is one */
	__u64 now_ns;
	__u32 ifindex;
	__u32 length; /* bytes of the packet, for counters */
	__u8 state;   /* enum eg_pod_state */
	__u8 pod_flags;
	__u8 handed;	/* XDP decided on a redirect, of this name */
	__u8 elsewhere; /* what decided it is that the destination is not governed */
	__u8 renewed;	/* a SYN on the ports of a flow on record, which is over */
	__u8 pad[3];
	__u32 handed_name_id;
};

static __always_inline void decide(struct eg_scene *s, __u8 action, __u8 reason)
{
	s->decision.action = action;
	s->decision.reason = reason;
}

/* Dropped without a verdict of policy's. What only watches loses nothing for it either. */
static __always_inline void decide_drop(struct eg_scene *s, __u8 reason)
{
	if (s->pod_flags & EG_POD_SHADOW)
		decide(s, EG_ACTION_PASS, EG_REASON_SHADOW);
	else
		decide(s, EG_ACTION_DROP, reason);
}

static __always_inline int address_is4(const struct eg_address *a)
{
	return !a->word_be[0] && !a->word_be[1] && a->word_be[2] == bpf_htonl(0xffff);
}

/*
 * The IPv4 address inside an IPv6 one, by which a packet could reach an IPv4 destination under
 * another name. Returns 1 for a translation prefix (RFC 6052 64:ff9b::/96: a NAT64 will take it
 * there, so it is that destination); 2 for forms no honest packet carries towards a provider
 * (mapped, compatible, 6to4 2002::/16: RFC 4291 2.5.5, RFC 3056); 0 for neither.
 */
static __always_inline int address_embedded4(const struct eg_address *a, __be32 *out)
{
	*out = a->word_be[3];
	if (a->word_be[0] == bpf_htonl(0x0064ff9b) && !a->word_be[1] && !a->word_be[2])
		return 1;
	if (!a->word_be[0] && !a->word_be[1] &&
	    (a->word_be[2] == bpf_htonl(0xffff) ||
	     (!a->word_be[2] && (a->word_be[3] & bpf_htonl(0xffff0000)))))
		return 2;
	if ((a->word_be[0] & bpf_htonl(0xffff0000)) == bpf_htonl(0x20020000)) {
		*out = bpf_htonl((bpf_ntohl(a->word_be[0]) << 16) |
				 (bpf_ntohl(a->word_be[1]) >> 16));
		return 2;
	}
	return 0;
}

static __always_inline struct eg_destination *destination4(__be32 address_be)
{
	struct eg_lpm4 key = {.prefix_bits = 32, .address_be = address_be};

	return bpf_map_lookup_elem(&destinations4, &key);
}

static __always_inline struct eg_destination *destination6(const struct eg_address *address)
{
	struct eg_lpm6 key = {.prefix_bits = 128};

	__builtin_memcpy(key.address_be, address, sizeof(key.address_be));
	return bpf_map_lookup_elem(&destinations6, &key);
}

/*
 * What the node knows of an address, without what pods taught. `family` is the packet's: an
 * IPv6 packet to a mapped address must not be taken for IPv4. On EG_TARGET_GOVERNED *name_id and
 * *origin are set; *odd when it is governed only by an address inside it that no honest
 * packet has.
 */
static __always_inline __u8 eg_target_of(struct eg_config *cfg, __u8 family,
					 const struct eg_address *address, __u32 *name_id,
					 __u8 *origin, __u8 *odd)
{
	struct eg_destination *found;
	__be32 inner;
	int embedded;

	*name_id = 0;
	*origin = 0;
	*odd = 0;
	if (family == 4) {
		inner = address->word_be[3];
		found = destination4(inner);
		if (!found && cfg->gateway4_be && inner == cfg->gateway4_be) {
			*origin = EG_DESTINATION_GATEWAY;
			return EG_TARGET_GOVERNED;
		}
	} else {
		found = destination6(address);
		if (!found && (cfg->gateway6_be[0] || cfg->gateway6_be[3]) &&
		    address->word_be[0] == cfg->gateway6_be[0] &&
		    address->word_be[1] == cfg->gateway6_be[1] &&
		    address->word_be[2] == cfg->gateway6_be[2] &&
		    address->word_be[3] == cfg->gateway6_be[3]) {
			*origin = EG_DESTINATION_GATEWAY;
			return EG_TARGET_GOVERNED;
		}
		embedded = found ? 0 : address_embedded4(address, &inner);
		if (embedded) {
			found = destination4(inner);
			*odd = embedded == 2;
			if (!found && cfg->gateway4_be && inner == cfg->gateway4_be) {
				*odd = 1;
				*origin = EG_DESTINATION_GATEWAY;
				return EG_TARGET_GOVERNED;
			}
		}
	}
	/* Its expiry is user space's, which removes it: with no agent there, it stays. */
	if (!found)
		return EG_TARGET_NONE;
	*origin = found->origin;
	if (found->origin == EG_DESTINATION_EXCLUDED)
		return EG_TARGET_EXCLUDED;
	*name_id = found->name_id;
	return EG_TARGET_GOVERNED;
}

/*
 * Time stands still with the agent's heart: what expires while nobody is there to renew it would
 * turn fail: closed into open.
 */
static __always_inline __u64 expiry_clock(const struct eg_config *cfg, __u64 now_ns)
{
	__u64 alive_ns = cfg->heartbeat_ns + cfg->heartbeat_max_ns;

	return now_ns < alive_ns ? now_ns : alive_ns;
}

static __always_inline struct eg_learned *learned_at(const struct eg_learned_key *key,
						     __u64 clock_ns)
{
	struct eg_learned *found = bpf_map_lookup_elem(&learned, key);

	if (found && found->expires_ns && found->expires_ns < clock_ns)
		return 0;
	return found;
}

/*
 * What the pod of this link was taught of an address, or of the IPv4 address inside it, which is
 * one way to the same place. *odd as in eg_target_of; not touched when nothing is found.
 */
static __always_inline struct eg_learned *learned_find(__u32 ifindex, __u8 family,
						       const struct eg_address *address,
						       __u64 clock_ns, __u8 *odd)
{
	struct eg_learned_key key = {.ifindex = ifindex, .address = *address};
	struct eg_learned *found = learned_at(&key, clock_ns);
	__be32 inner;
	int embedded;

	if (family != 6)
		return found;
	embedded = address_embedded4(address, &inner);
	if (!found && embedded) {
		eg_address_from4(&key.address, inner);
		found = learned_at(&key, clock_ns);
	}
	if (found)
		*odd = embedded == 2;
	return found;
}

static __always_inline struct eg_verdict *verdict_at(__u32 policy_id, __u32 name_id, __u8 protocol,
						     __be16 port_be)
{
	struct eg_verdict_key key = {
		.policy_id = policy_id,
		.name_id = name_id,
		.protocol = protocol,
		.port_be = port_be,
	};

	return bpf_map_lookup_elem(&verdicts, &key);
}

/* Exact port, any port, any protocol; first of the name, then of any name. */
static __always_inline struct eg_verdict *eg_verdict_find(__u32 policy_id, __u32 name_id,
							  __u8 protocol, __be16 port_be)
{
	struct eg_verdict *v;
	int i;

	for (i = 0; i < 2; i++) {
		if (port_be) {
			v = verdict_at(policy_id, name_id, protocol, port_be);
			if (v)
				return v;
		}
		if (protocol) {
			v = verdict_at(policy_id, name_id, protocol, 0);
			if (v)
				return v;
		}
		v = verdict_at(policy_id, name_id, 0, 0);
		if (v)
			return v;
		if (!name_id)
			break;
		name_id = 0;
	}
	return 0;
}

static __always_inline int source_is_pods(const struct eg_pod *pod, const struct eg_packet *p)
{
	int i;

	for (i = 0; i < EG_POD_ADDRESSES; i++) {
		if (i >= pod->address_count)
			break;
		if (eg_address_equal(&pod->address[i], &p->source))
			/* ::ffff:a.b.c.d as an IPv6 source is not the pod's IPv4 address. */
			return p->family == 4 || !address_is4(&p->source);
	}
	return 0;
}

static __always_inline void flow_key(struct eg_flow_key *key, const struct eg_packet *p,
				     __u32 ifindex)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->source = p->source;
	key->destination = p->destination;
	key->source_port_be = p->source_port_be;
	key->destination_port_be = p->destination_port_be;
	key->ifindex = ifindex;
	key->protocol = p->protocol;
}

static __always_inline int is_syn(const struct eg_packet *p)
{
	return (p->tcp_flags & (EG_TCP_SYN | EG_TCP_ACK)) == EG_TCP_SYN;
}

/*
 * A SYN sent again (after 1, 3 and 7 s, RFC 6298) while the flow it opened passes for lack of an
 * agent: don't move it to the agent half open. A connection that had more than SYNs is over.
 */
#define EG_SYN_AGAIN_NS	     8000000000ull
#define EG_SYN_AGAIN_PACKETS 4

static __always_inline int is_syn_again(const struct eg_scene *s)
{
	return s->flow->reason == EG_REASON_PASS_FAIL_OPEN &&
	       s->flow->packets < EG_SYN_AGAIN_PACKETS &&
	       s->now_ns - s->flow->last_seen_ns < EG_SYN_AGAIN_NS;
}

/* Whether the flow on record decides this packet. */
static __always_inline int follow_flow(struct eg_scene *s)
{
	struct eg_packet *p = &s->packet;
	struct eg_flow_key key;

	s->flow = 0;
	if (p->protocol != IPPROTO_TCP || p->defect || !(p->flags & EG_PACKET_PORTS))
		return 0;
	flow_key(&key, p, s->ifindex);
	s->flow = bpf_map_lookup_elem(&flows, &key);
	if (!s->flow)
		return 0;
	if (is_syn(p) && !is_syn_again(s)) {
		s->flow = 0;
		s->renewed = 1;
		return 0;
	}
	s->decision.name_id = s->flow->name_id;
	decide(s, s->flow->action, s->flow->reason);
	return 1;
}

static __always_inline int unknown_passes(const struct eg_scene *s)
{
	return (s->pod_flags & EG_POD_UNKNOWN_ALLOW) ||
	       (s->config->unknown_pods == 1 && !(s->pod_flags & EG_POD_UNKNOWN_DENY));
}

/* A link whose pod is not (wholly) known, towards a governed destination. */
static __always_inline void judge_unknown(struct eg_scene *s)
{
	struct eg_config *cfg = s->config;
	__u64 since = s->pod ? s->pod->since_ns : s->now_ns;

	if (unknown_passes(s)) {
		decide(s, EG_ACTION_PASS, EG_REASON_PASS_UNGOVERNED);
		s->decision.flags |= EG_DECISION_RECORD;
		return;
	}
	decide(s, EG_ACTION_DROP, EG_REASON_UNKNOWN_POD);
	/* The clock here is a tick coarse: `since` may lie ahead of it. */
	if ((s->pod_flags & EG_POD_UNKNOWN_DENY) || cfg->unknown_pods == 2 ||
	    (s->now_ns > since && s->now_ns - since > cfg->hold_grace_ns))
		s->decision.action = EG_ACTION_RESET;
}

/* A governed pod towards a governed destination. */
static __always_inline void judge_governed(struct eg_scene *s)
{
	struct eg_packet *p = &s->packet;
	struct eg_verdict *v;
	__u8 protocol = p->protocol;
	__be16 port_be = p->destination_port_be;

	if (p->defect) { /* only a verdict for every protocol lets it pass (shadow, allow) */
		protocol = 0;
		port_be = 0;
	}
	v = eg_verdict_find(s->pod->policy_id, s->decision.name_id, protocol, port_be);
	if (v && (v->action == EG_ACTION_PASS || (protocol == IPPROTO_TCP && !p->defect))) {
		decide(s, v->action, v->reason);
		s->decision.flags |= EG_DECISION_RECORD;
		return;
	}
	if (p->defect)
		decide(s, EG_ACTION_DROP, p->defect);
	else if (protocol == IPPROTO_UDP && port_be == bpf_htons(443))
		decide(s, EG_ACTION_DROP, EG_REASON_QUIC_REFUSED);
	else if (protocol == IPPROTO_TCP)
		decide(s, EG_ACTION_DROP, EG_REASON_PORT_DENIED);
	else
		decide(s, EG_ACTION_DROP, EG_REASON_PROTOCOL_DENIED);
	if (protocol == IPPROTO_TCP)
		s->decision.flags |= EG_DECISION_RECORD;
}

/*
 * A governed pod with all_tls or strict, towards an address that nobody knows: its port 443 is
 * governed too, and so is whatever could hide a port 443. Returns 1 if it judged.
 */
static __always_inline int judge_all_tls(struct eg_scene *s)
{
	struct eg_packet *p = &s->packet;
	int tls = p->destination_port_be == bpf_htons(443);

	/* What only watches takes TLS that it can see, and nothing else is lost for it. */
	if ((s->pod_flags & EG_POD_SHADOW) && (p->protocol != IPPROTO_TCP || p->defect))
		return 0;
	if (p->protocol == IPPROTO_TCP && p->defect) {
		decide(s, EG_ACTION_DROP, p->defect);
		return 1;
	}
	if (p->defect == EG_REASON_UNPARSEABLE) {
		decide(s, EG_ACTION_DROP, p->defect);
		return 1;
	}
	if (!(p->flags & EG_PACKET_PORTS) || !tls)
		return 0;
	if (p->protocol == IPPROTO_UDP) {
		decide(s, EG_ACTION_DROP, EG_REASON_QUIC_REFUSED);
		return 1;
	}
	s->decision.flags |= EG_DECISION_RECORD;
	if (s->pod_flags & EG_POD_STRICT)
		decide(s, EG_ACTION_RESET, EG_REASON_DENY);
	else
		decide(s, EG_ACTION_REDIRECT, EG_REASON_REDIRECT);
	return 1;
}

/*
 * Fills s->decision from the rest of *s. Link-local, loopback and multicast destinations are
 * the node's own affair and never all_tls; the gateway's own address is in the maps.
 */
static __always_inline int is_local_scope(const struct eg_packet *p)
{
	__u32 a = bpf_ntohl(p->destination.word_be[0]);

	if (p->family == 6)
		return (a & 0xffc00000) == 0xfe800000 || (a >> 24) == 0xff;
	a = bpf_ntohl(p->destination.word_be[3]);
	return (a >> 16) == 0xa9fe || (a >> 24) == 127 || (a >> 28) >= 14;
}

static __always_inline void eg_classify(struct eg_scene *s)
{
	struct eg_packet *p = &s->packet;
	struct eg_learned *taught;
	__u8 target, odd;
	int known;

	s->state = s->pod ? s->pod->state : EG_POD_UNKNOWN;
	s->pod_flags = s->pod ? s->pod->flags : 0;
	s->decision.pod_id = s->pod ? s->pod->pod_id : 0;
	known = s->state == EG_POD_GOVERNED;
	decide(s, EG_ACTION_PASS, EG_REASON_PASS_UNGOVERNED);
	s->decision.flags = EG_DECISION_SILENT;
	if (p->status == EG_PACKET_OTHER)
		return;
	if (p->status == EG_PACKET_HIDDEN) {
		if (s->state == EG_POD_UNGOVERNED || s->state == EG_POD_FOREIGN)
			return;
		s->decision.flags = EG_DECISION_NEW;
		decide_drop(s, EG_REASON_UNPARSEABLE);
		return;
	}
	s->decision.flags = 0;
	if (follow_flow(s))
		return;
	if (s->state == EG_POD_UNGOVERNED || s->state == EG_POD_FOREIGN) {
		s->decision.flags = EG_DECISION_SILENT;
		/* Else the rest of it would follow what was there before. */
		if (s->renewed)
			s->decision.flags |= EG_DECISION_NEW | EG_DECISION_RECORD;
		return;
	}
	s->decision.flags = EG_DECISION_NEW;
	if (s->handed && known && p->protocol == IPPROTO_TCP && !p->defect &&
	    !(p->flags & EG_PACKET_TAGGED) && source_is_pods(s->pod, p)) {
		s->decision.name_id = s->handed_name_id;
		s->decision.flags |= EG_DECISION_RECORD;
		decide(s, EG_ACTION_REDIRECT, EG_REASON_REDIRECT);
		return;
	}
	target = eg_target_of(s->config, p->family, &p->destination, &s->decision.name_id,
			      &s->decision.origin, &odd);
	if (target == EG_TARGET_NONE) {
		taught = learned_find(s->ifindex, p->family, &p->destination,
				      expiry_clock(s->config, s->now_ns), &odd);
		if (taught) {
			target = EG_TARGET_GOVERNED;
			s->decision.name_id = taught->name_id;
		}
	}
	if (p->flags & EG_PACKET_SOURCE_ROUTED) {
		decide_drop(s, EG_REASON_UNPARSEABLE);
		return;
	}
	if (target == EG_TARGET_NONE && known && !is_local_scope(p) &&
	    (s->pod_flags & (EG_POD_CAPTURE_ALL_TLS | EG_POD_STRICT)) && judge_all_tls(s)) {
		if (!source_is_pods(s->pod, p)) {
			decide_drop(s, EG_REASON_SPOOFED_SOURCE);
			s->decision.flags = EG_DECISION_NEW;
		}
		return;
	}
	if (target != EG_TARGET_GOVERNED) {
		/* Of a connection the SYN; what was open before its address was governed goes on.
		 */
		s->elsewhere = !(s->pod_flags & EG_POD_SHADOW) && (known || !unknown_passes(s)) &&
			       (p->protocol != IPPROTO_TCP || p->defect || is_syn(p));
		/* Recorded, so that a name learned later doesn't cut what is open now. */
		if ((p->flags & EG_PACKET_PORTS) && !p->defect && p->protocol == IPPROTO_TCP)
			s->decision.flags |= EG_DECISION_RECORD;
		else
			s->decision.flags |= EG_DECISION_SILENT;
		return;
	}
	if (s->pod && (known || s->pod->address_count) && !source_is_pods(s->pod, p)) {
		decide_drop(s, EG_REASON_SPOOFED_SOURCE);
		return;
	}
	if (!known) {
		judge_unknown(s);
		return;
	}
	if ((odd || (p->flags & EG_PACKET_TAGGED)) && !p->defect)
		p->defect = EG_REASON_UNPARSEABLE;
	judge_governed(s);
}

#endif
