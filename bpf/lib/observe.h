/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Observe mode: which connections of a pod go to a watched name, and how much they carry. Nothing
 * here changes a packet or decides on one.
 */
#ifndef EGRET_BPF_OBSERVE_H
#define EGRET_BPF_OBSERVE_H

#include "lib/backstop.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct eg_talk_key);
	__type(value, struct eg_talk);
} inventory SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct eg_flow_key);
	__type(value, struct eg_observed);
} observed SEC(".maps");

/* Bytes of this packet towards what `seen` says. Global: its own stack, verified once. */
__noinline int eg_observe_add(struct eg_observed *seen, __u32 ifindex, __u32 bytes, __u32 down,
			      __u32 begins)
{
	struct eg_talk_key key = {.ifindex = ifindex};
	__u64 now_ns = bpf_ktime_get_coarse_ns();
	struct eg_talk *t;

	if (!seen)
		return 0;
	key.pod_id = seen->pod_id;
	key.name_id = seen->name_id;
	key.by = seen->by;
	t = bpf_map_lookup_elem(&inventory, &key);
	if (!t) {
		struct eg_talk fresh = {.first_seen_ns = now_ns};
		struct eg_pod *pod = bpf_map_lookup_elem(&pods, &ifindex);

		if (pod && pod->pod_id == key.pod_id)
			__builtin_memcpy(fresh.pod, pod->name, sizeof(fresh.pod));
		bpf_map_update_elem(&inventory, &key, &fresh, BPF_NOEXIST);
		t = bpf_map_lookup_elem(&inventory, &key);
	}
	if (!t)
		return 0;
	t->last_seen_ns = now_ns;
	if (begins)
		__sync_fetch_and_add(&t->connections, 1);
	if (down) {
		__sync_fetch_and_add(&t->packets_down, 1);
		__sync_fetch_and_add(&t->bytes_down, bytes);
	} else {
		__sync_fetch_and_add(&t->packets_up, 1);
		__sync_fetch_and_add(&t->bytes_up, bytes);
	}
	return 0;
}

/* What is known of the destination without this packet's own bytes; .by 0: nothing. */
static __always_inline void observe_address(const struct eg_scene *s, struct eg_observed *out)
{
	const struct eg_packet *p = &s->packet;
	__u8 odd, origin;
	struct eg_learned *l = learned_find(s->ifindex, p->family, &p->destination,
					    expiry_clock(s->config, s->now_ns), &odd);

	if (l) {
		out->name_id = l->name_id;
		out->by = l->from == EG_LEARNED_SNI ? EG_KNOWN_ADDRESS : EG_KNOWN_DNS;
		return;
	}
	if (eg_target_of(s->config, p->family, &p->destination, &out->name_id, &origin, &odd) ==
	    EG_TARGET_GOVERNED)
		out->by = EG_KNOWN_ADDRESS;
}

/* The watched name in the first bytes of a connection, which are learned like a DNS answer. */
static __always_inline __u32 observe_hello(struct __sk_buff *skb, const struct eg_scene *s)
{
	struct eg_backstop_scratch *scratch;
	__u32 name_id, zero = 0;

	scratch = bpf_map_lookup_elem(&hello_scratch, &zero);
	if (!scratch)
		return 0;
	name_id = hello_of(skb, s, &scratch->hello);
	if (name_id)
		(void)hello_learn(s, &scratch->lesson, name_id);
	return name_id;
}

static __always_inline int observe_has_ports(const struct eg_packet *p)
{
	return (p->flags & EG_PACKET_PORTS) && !p->defect &&
	       (p->protocol == IPPROTO_TCP || p->protocol == IPPROTO_UDP);
}

/* What the pod sends. */
static __always_inline void eg_observe_up(struct __sk_buff *skb, const struct eg_scene *s)
{
	const struct eg_packet *p = &s->packet;
	__u32 here, named = 0, begins;
	struct eg_observed now = {};
	struct eg_observed *seen;
	struct eg_flow_key key;

	if (!observe_has_ports(p))
		return;
	flow_key(&key, p, s->ifindex);
	seen = bpf_map_lookup_elem(&observed, &key);
	/* The ports are used again: what was there before is over. */
	if (seen && !(p->protocol == IPPROTO_TCP && is_syn(p)))
		now = *seen;
	if (!now.by) {
		now.pod_id = s->pod ? s->pod->pod_id : 0;
		observe_address(s, &now);
	}
	here = payload_here(skb, p);
	begins = here && !now.counted;
	/* The connection's own word is more exact than the address, which others may share. */
	if (begins && p->protocol == IPPROTO_TCP)
		named = observe_hello(skb, s);
	if (named && named != now.name_id) {
		now.name_id = named;
		now.by = EG_KNOWN_SNI;
	}
	if (!now.by)
		return;
	now.counted |= begins;
	if (!seen || begins || seen->counted != now.counted)
		bpf_map_update_elem(&observed, &key, &now, BPF_ANY);
	if (now.counted)
		eg_observe_add(&now, s->ifindex, s->length, 0, begins);
}

/* What comes back. */
static __always_inline void eg_observe_down(const struct eg_scene *s)
{
	const struct eg_packet *p = &s->packet;
	struct eg_observed *seen, now;
	struct eg_flow_key key = {};

	if (!observe_has_ports(p))
		return;
	key.source = p->destination;
	key.destination = p->source;
	key.source_port_be = p->destination_port_be;
	key.destination_port_be = p->source_port_be;
	key.ifindex = s->ifindex;
	key.protocol = p->protocol;
	seen = bpf_map_lookup_elem(&observed, &key);
	if (!seen || !seen->counted)
		return;
	now = *seen;
	eg_observe_add(&now, s->ifindex, s->length, 1, 0);
}

#endif
