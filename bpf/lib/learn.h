/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The only writer of `learned`: what one pod's DNS answers and ClientHellos teach. Keyed by the
 * pod's link, with a quota, so that a pod can poison only itself.
 */
#ifndef EGRET_BPF_LEARN_H
#define EGRET_BPF_LEARN_H

#include "lib/note.h"

#define EG_TTL_MAX 86400u /* seconds; RFC 2181 8 allows 68 years */
#define EG_SNI_TTL 3600u  /* an address learned from a ClientHello has no TTL of its own */

/* Loopback, link-local, multicast, "this network", and IPv6 forms of them. */
static __always_inline int never_learned4(__u32 a)
{
	return (a >> 24) == 0 || (a >> 24) == 127 || (a >> 16) == 0xa9fe || (a >> 28) >= 14;
}

static __always_inline int never_learned(const struct eg_address *address)
{
	__u32 a = bpf_ntohl(address->word_be[0]);
	__be32 inner = 0;
	int embedded;

	if (address_is4(address))
		return never_learned4(bpf_ntohl(address->word_be[3]));
	embedded = address_embedded4(address, &inner);
	if (embedded)
		return embedded == 2 || never_learned4(bpf_ntohl(inner));
	return (a >> 24) == 0 || (a & 0xff800000) == 0xfe800000 || (a >> 24) == 0xff;
}

static __always_inline int is_own_address(const struct eg_pod *pod,
					  const struct eg_address *address)
{
	int i;

	for (i = 0; i < EG_POD_ADDRESSES; i++) {
		if (i >= pod->address_count)
			break;
		if (eg_address_equal(&pod->address[i], address))
			return 1;
	}
	return 0;
}

/* Any pod's address, or this one's. */
static __always_inline int is_pods(const struct eg_pod *pod, struct eg_address *address)
{
	return bpf_map_lookup_elem(&pod_links, address) || (pod && is_own_address(pod, address));
}

/* What is to be learned, and by whom. In map memory, or small enough for a stack. */
struct eg_lesson {
	struct eg_address address;
	struct eg_address source; /* who said so: resolver, or the pod itself */
	__u64 now_ns;
	__u32 ifindex;
	__u32 name_id;
	__u32 ttl;   /* seconds */
	__u32 bytes; /* of the packet, for counters */
	__u8 hook;   /* enum eg_hook */
	__u8 from;   /* enum eg_learned_from */
	__u8 protocol;
	__u8 pad[5];
};

/* Addresses that are never learned. Global for its own stack. */
__noinline int eg_learn_refused(struct eg_lesson *l)
{
	struct eg_address address, inside;
	struct eg_config *cfg = eg_config();
	struct eg_pod *pod;
	__be32 inner;
	__u32 name_id;
	__u8 origin, odd, target;

	if (!l || !cfg)
		return 1;
	address = l->address;
	pod = bpf_map_lookup_elem(&pods, &l->ifindex);
	if (never_learned(&address) || is_pods(pod, &address))
		return 1;
	if (address_embedded4(&address, &inner)) {
		eg_address_from4(&inside, inner);
		if (is_pods(pod, &inside))
			return 1;
	}
	target =
		eg_target_of(cfg, address_is4(&address) ? 4 : 6, &address, &name_id, &origin, &odd);
	return target == EG_TARGET_EXCLUDED || origin == EG_DESTINATION_GATEWAY;
}

__noinline int eg_learn_report(struct eg_lesson *l, __u32 pod_id, __u32 reason)
{
	struct eg_event *e;

	if (!l)
		return 0;
	if (reason != EG_REASON_OK)
		eg_count(pod_id, l->name_id, reason, l->hook, l->bytes);
	if (!eg_event_allowed(l->ifindex, l->now_ns, EG_EVENT_LEARNED))
		return 0;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e)
		return 0;
	__builtin_memset(e, 0, sizeof(*e));
	e->time_ns = l->now_ns;
	e->type = EG_EVENT_LEARNED;
	e->ifindex = l->ifindex;
	e->pod_id = pod_id;
	e->name_id = l->name_id;
	e->reason = (__u8)reason;
	e->hook = l->hook;
	e->protocol = l->protocol;
	e->from = l->from;
	e->source = l->source;
	e->destination = l->address; /* what was taught, not where the packet went */
	bpf_ringbuf_submit(e, 0);
	return 0;
}

/*
 * Teaches one address. Returns EG_REASON_OK (known now, new or not), EG_REASON_LEARN_REFUSED or
 * EG_REASON_LEARN_QUOTA; counts and reports by itself.
 */
__noinline int eg_learn(struct eg_lesson *l)
{
	struct eg_config *cfg = eg_config();
	struct eg_learned_key key = {};
	struct eg_learned fresh = {};
	struct eg_learned *old;
	struct eg_pod *pod;
	__u32 ttl, pod_id, ifindex, reason = EG_REASON_OK, *count;

	if (!l || !cfg)
		return EG_REASON_LEARN_REFUSED;
	ifindex = l->ifindex;
	pod = bpf_map_lookup_elem(&pods, &ifindex);
	pod_id = pod ? pod->pod_id : 0;
	if (eg_learn_refused(l)) {
		eg_learn_report(l, pod_id, EG_REASON_LEARN_REFUSED);
		return EG_REASON_LEARN_REFUSED;
	}
	ttl = l->ttl > EG_TTL_MAX ? EG_TTL_MAX : l->ttl;
	fresh.name_id = l->name_id;
	fresh.from = l->from;
	fresh.expires_ns = l->now_ns + ttl * 1000000000ull + cfg->learned_grace_ns;
	key.ifindex = ifindex;
	key.address = l->address;
	old = bpf_map_lookup_elem(&learned, &key);
	if (old) {
		if (fresh.expires_ns > old->expires_ns)
			old->expires_ns = fresh.expires_ns;
		old->name_id = fresh.name_id;
		return EG_REASON_OK;
	}
	count = bpf_map_lookup_elem(&learned_count, &ifindex);
	if (!count) {
		__u32 zero = 0;

		bpf_map_update_elem(&learned_count, &ifindex, &zero, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&learned_count, &ifindex);
	}
	if (!count || *count >= EG_LEARN_QUOTA) {
		reason = EG_REASON_LEARN_QUOTA;
	} else {
		__sync_fetch_and_add(count, 1);
		if (bpf_map_update_elem(&learned, &key, &fresh, BPF_NOEXIST)) {
			__sync_fetch_and_add(count, -1);
			reason = EG_REASON_LEARN_QUOTA; /* the map as a whole is full */
		}
	}
	eg_learn_report(l, pod_id, reason);
	return (int)reason;
}

#endif
