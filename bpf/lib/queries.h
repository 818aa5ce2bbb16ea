/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What pods asked their resolvers: written by egress_tc, taken by dns_tc, which believes only an
 * answer that is on record here. A map of its own, not `flows`: there any pod's connections would
 * push out the record of another's query. Here a link has EG_QUERY_SETS entries whatever it sends;
 * in each the oldest query gives way, so that a pod which asks too much forgets only its own.
 */
#ifndef EGRET_BPF_QUERIES_H
#define EGRET_BPF_QUERIES_H

#include "lib/classify.h"

#define EG_QUERY_NS 30000000000ull /* resolvers and their clients have given up long before */
/* Over TCP: how far a segment may lie from what is known of its connection (a resolver has less on
 * its way), and how much a pod may have sent with its SYN and right behind it. */
#define EG_QUERY_WINDOW (1u << 20)
#define EG_QUERY_OPENED (1u << 16)

static __always_inline int is_resolver(const struct eg_config *cfg, const struct eg_address *a)
{
	struct eg_address key = *a;

	return cfg->any_resolver || bpf_map_lookup_elem(&resolvers, &key);
}

static __always_inline int query_equal(const struct eg_query *a, const struct eg_query *b)
{
	return a->source_port_be == b->source_port_be && a->id_be == b->id_be &&
	       a->protocol == b->protocol && eg_address_equal(&a->source, &b->source) &&
	       eg_address_equal(&a->resolver, &b->resolver);
}

static __always_inline void query_key(struct eg_query_key *key, const struct eg_query *q,
				      __u32 ifindex)
{
	__u32 h = ((__u32)q->source_port_be << 16 | q->id_be) ^ q->resolver.word_be[3];

	key->ifindex = ifindex;
	key->set = (h * 0x9e3779b1u >> 16) % EG_QUERY_SETS;
}

/* Sequence numbers wrap. */
static __always_inline int query_near(__u32 sequence, __u32 next)
{
	return sequence - next + EG_QUERY_WINDOW <= 2 * EG_QUERY_WINDOW;
}

/*
 * Whether this segment is of the connection on record, by what only its ends know: addresses and
 * ports alone a neighbour could guess, and teach the pod what it likes.
 */
static __always_inline int eg_query_answers(const struct eg_query *q, const struct eg_packet *p)
{
	if (!(p->tcp_flags & EG_TCP_ACK))
		return 0;
	if (q->opened)
		return p->acknowledged - q->next <= EG_QUERY_OPENED;
	return !(p->tcp_flags & EG_TCP_SYN) && query_near(p->sequence, q->next);
}

/* Where in the set the query is, or where it is to go; -1: nowhere, and it is only looked for.
 * Global, as is the next: verified once, with a stack of its own. */
__noinline int eg_query_find(struct eg_queries *set, struct eg_query *want, int place)
{
	__u64 oldest_ns = ~0ull;
	__u32 i, oldest = 0;

	if (!set || !want)
		return -1;
	for (i = 0; i < EG_QUERY_WAYS; i++) {
		struct eg_query *q = &set->query[i];

		if (q->asked_ns && query_equal(q, want))
			return (int)i;
		if (q->asked_ns < oldest_ns) {
			oldest_ns = q->asked_ns;
			oldest = i;
		}
	}
	return place ? (int)oldest : -1;
}

/*
 * Puts a query on record; `again`: what is known of the connection stays. Two CPUs that do so for
 * one link at once may spoil one entry of it: an answer is then not believed, which is the pod's
 * own loss and no other's.
 */
__noinline int eg_query_put(struct eg_query *asked, __u32 ifindex, int again)
{
	static const struct eg_queries none;
	struct eg_query_key key;
	struct eg_queries *set;
	struct eg_query *q;
	int at;

	if (!asked)
		return 0;
	query_key(&key, asked, ifindex);
	set = bpf_map_lookup_elem(&queries, &key);
	if (!set) {
		bpf_map_update_elem(&queries, &key, &none, BPF_NOEXIST);
		set = bpf_map_lookup_elem(&queries, &key);
	}
	if (!set)
		return 0;
	at = eg_query_find(set, asked, 1);
	if (at < 0)
		return 0;
	q = &set->query[at & (EG_QUERY_WAYS - 1)];
	if (again && q->asked_ns && query_equal(q, asked)) {
		/* Two questions may have one number, and a socket that repeats one two answers. */
		if (asked->asked_ns > q->asked_ns + EG_QUERY_NS)
			q->more = 0;
		else if (asked->protocol == IPPROTO_UDP && q->more < 255)
			q->more++;
		/* The pod has had what went by unseen. */
		if (asked->protocol == IPPROTO_TCP && !q->opened &&
		    !query_near(asked->next, q->next)) {
			q->next = asked->next;
			q->synced = 0;
		}
		q->asked_ns = asked->asked_ns;
	} else {
		*q = *asked;
	}
	return 0;
}

/*
 * UDP of which the messages can't be told: a query in fragments, or many in one packet that is
 * still to be cut (UDP_SEGMENT). The pod that asks so has what this resolver answers believed, and
 * harms itself alone if somebody else answers.
 */
static __always_inline int is_loose(const struct __sk_buff *skb, const struct eg_packet *p)
{
	return p->protocol == IPPROTO_UDP &&
	       (p->defect == EG_REASON_FRAGMENT || (!p->defect && skb->gso_size));
}

/* Records what this packet asks, if it passes and goes to a resolver whose answers are believed. */
static __always_inline void eg_ask(struct __sk_buff *skb, const struct eg_scene *s)
{
	const struct eg_packet *p = &s->packet;
	int loose = is_loose(skb, p), ports = p->flags & EG_PACKET_PORTS;
	struct eg_query asked = {};

	if (ports ? p->destination_port_be != bpf_htons(53) : !loose)
		return;
	if ((p->defect && !loose) || s->decision.action != EG_ACTION_PASS ||
	    s->state == EG_POD_UNGOVERNED || s->state == EG_POD_FOREIGN ||
	    !is_resolver(s->config, &p->destination))
		return;
	if (p->protocol == IPPROTO_UDP && !loose &&
	    bpf_skb_load_bytes(skb, p->payload_offset, &asked.id_be, sizeof(asked.id_be)))
		return;
	if (p->protocol == IPPROTO_TCP) {
		asked.opened = is_syn(p);
		if (!asked.opened && !(p->tcp_flags & EG_TCP_ACK))
			return;
		asked.next = asked.opened ? p->sequence + 1 : p->acknowledged;
	}
	asked.source = p->source;
	asked.resolver = p->destination;
	asked.asked_ns = s->now_ns;
	asked.source_port_be = loose ? 0 : p->source_port_be;
	asked.protocol = p->protocol;
	eg_query_put(&asked, s->ifindex, !is_syn(p));
}

/* The query on record of this port and DNS id (0 over TCP); NULL: the pod asked no such. */
static __always_inline struct eg_query *eg_asked(const struct eg_scene *s, __be16 port_be,
						 __be16 id_be)
{
	const struct eg_packet *p = &s->packet;
	struct eg_query want = {
		.source = p->destination,
		.resolver = p->source,
		.source_port_be = port_be,
		.id_be = id_be,
		.protocol = p->protocol,
	};
	struct eg_query_key key;
	struct eg_queries *set;
	struct eg_query *q;
	int at;

	query_key(&key, &want, s->ifindex);
	set = bpf_map_lookup_elem(&queries, &key);
	if (!set)
		return 0;
	at = eg_query_find(set, &want, 0);
	if (at < 0)
		return 0;
	q = &set->query[at & (EG_QUERY_WAYS - 1)];
	/* The clock here is a tick coarse: asked_ns may lie ahead of it. */
	return s->now_ns > q->asked_ns && s->now_ns - q->asked_ns > EG_QUERY_NS ? 0 : q;
}

#endif
