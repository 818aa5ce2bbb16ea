/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A DNS message over TCP whose end is in a later segment: what has come of it waits here, so that
 * the whole is read with the segment that completes it, before the pod has that segment.
 *
 * A link has EG_DNS_PARTS entries whatever it does, by port of its connection; a second message
 * that falls into one takes its place. Only what comes in order is put together: framing is exact
 * only there (dns_stream.h), and of anything else the first part has been read already.
 */
#ifndef EGRET_BPF_DNS_PARTS_H
#define EGRET_BPF_DNS_PARTS_H

#include "lib/dns_stream.h"

#define EG_DNS_PARTS 2 /* power of two */

struct eg_dns_part_key {
	__u32 ifindex;
	__u32 slot; /* below EG_DNS_PARTS */
};

struct eg_dns_part {
	struct eg_address source; /* the pod */
	struct eg_address resolver;
	__be16 source_port_be;
	__u16 pad;
	__u32 next;   /* sequence number that it goes on with */
	__u32 length; /* bytes that are here */
	__u32 want;   /* of the whole; 0: nothing waits */
	/* Twice what a message may be: the verifier sees an offset and a length, each below that.
	 */
	__u8 message[2 * EG_DNS_MESSAGE];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 256); /* 128 links' */
	__type(key, struct eg_dns_part_key);
	__type(value, struct eg_dns_part);
} dns_parts SEC(".maps");

/* What a new entry is made of: too large for a stack. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct eg_dns_part);
} dns_no_part SEC(".maps");

/* The entry of this packet's connection, whosever message is in it; NULL: there is none. */
static __always_inline struct eg_dns_part *dns_part_of(const struct eg_packet *p, __u32 ifindex,
						       int make)
{
	struct eg_dns_part_key key = {
		.ifindex = ifindex,
		.slot = bpf_ntohs(p->destination_port_be) & (EG_DNS_PARTS - 1),
	};
	struct eg_dns_part *part = bpf_map_lookup_elem(&dns_parts, &key);
	__u32 zero = 0;
	void *none;

	if (part || !make)
		return part;
	none = bpf_map_lookup_elem(&dns_no_part, &zero);
	if (none)
		bpf_map_update_elem(&dns_parts, &key, none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&dns_parts, &key);
}

static __always_inline int dns_part_waits(const struct eg_dns_part *part, const struct eg_packet *p)
{
	return part->want && part->source_port_be == p->destination_port_be &&
	       eg_address_equal(&part->source, &p->destination) &&
	       eg_address_equal(&part->resolver, &p->source);
}

/*
 * `take` bytes of the packet at `at` become the part's bytes from `length` on. 0, or 1 when they
 * could not. Two CPUs with the same bytes write the same; the next number is set, not added to.
 */
__noinline int eg_dns_part_add(struct __sk_buff *skb, struct eg_dns_part *part, __u32 at,
			       __u32 take)
{
	__u32 length;

	if (!part)
		return 1;
	length = part->length;
	if (length > EG_DNS_MASK || !take || take > EG_DNS_MESSAGE ||
	    bpf_skb_load_bytes(skb, at, part->message + length, take))
		return 1;
	part->length = length + take;
	return 0;
}

/* The whole message, which becomes *d's. */
static __always_inline void dns_part_read(const struct eg_dns_part *part, struct eg_dns *d)
{
	const __u64 *from = (const __u64 *)part->message;
	__u64 *to = (__u64 *)d->message;
	__u32 i;

	for (i = 0; i < EG_DNS_MESSAGE / 8; i++) {
		if (i * 8 >= part->length)
			break;
		to[i] = from[i];
	}
	d->length = i * 8 < part->length ? i * 8 : part->length;
}

/*
 * Keeps what was loaded last of this packet, if the rest may follow. 0: it is not kept; 1: it is;
 * 2: and another that waited gave way. Global, as is the next: verified once, with a stack of its
 * own.
 */
__noinline int eg_dns_part_keep(struct __sk_buff *skb, struct eg_packet *p,
				struct eg_dns_stream *st, __u32 ifindex)
{
	struct eg_dns_part *part;
	int kept;

	if (!p || !st)
		return 0;
	if (!st->cut || st->loose || p->defect || st->whole > EG_DNS_MESSAGE)
		return 0;
	part = dns_part_of(p, ifindex, 1);
	if (!part)
		return 0;
	kept = part->want ? 2 : 1;
	part->want = 0;
	part->length = 0;
	if (eg_dns_part_add(skb, part, st->begin, st->end - st->begin))
		return 0;
	part->source = p->destination;
	part->resolver = p->source;
	part->source_port_be = p->destination_port_be;
	part->next = p->sequence + (st->end - p->payload_offset);
	part->want = st->whole;
	return kept;
}

/* The connection begins anew, or where its messages begin is not known: nothing goes on. */
static __always_inline void eg_dns_part_forget(const struct eg_packet *p, __u32 ifindex)
{
	struct eg_dns_part *part = dns_part_of(p, ifindex, 0);

	if (part && dns_part_waits(part, p))
		part->want = 0;
}

enum eg_dns_went { EG_DNS_OTHER, EG_DNS_WAITS, EG_DNS_WHOLE, EG_DNS_GAP };

/*
 * What this packet is to a message that waits: nothing; more of it; its end, and then the message
 * is in *d and the stream stands behind it; or something behind its end that came too early, and
 * then it waits no more.
 */
__noinline int eg_dns_part_go_on(struct __sk_buff *skb, struct eg_packet *p,
				 struct eg_dns_stream *st, struct eg_dns *d, __u32 ifindex)
{
	struct eg_dns_part *part;
	__u32 here, skip, take;

	if (!p || !st || !d)
		return EG_DNS_OTHER;
	part = dns_part_of(p, ifindex, 0);
	here = st->end - p->payload_offset;
	if (!part || !dns_part_waits(part, p))
		return EG_DNS_OTHER;
	skip = part->next - p->sequence; /* of what was sent again, before what is new */
	if (skip >= here) {
		if ((__s32)skip > 0)
			return EG_DNS_OTHER;
		part->want = 0;
		return EG_DNS_GAP;
	}
	take = part->want - part->length;
	if (take > here - skip)
		take = here - skip;
	if (p->defect || eg_dns_part_add(skb, part, p->payload_offset + skip, take)) {
		part->want = 0;
		return EG_DNS_GAP;
	}
	part->next = p->sequence + skip + take;
	if (part->length < part->want)
		return EG_DNS_WAITS;
	dns_part_read(part, d);
	part->want = 0;
	st->at = p->payload_offset + skip + take;
	st->prefix = 0;
	st->prefix_bytes = 0;
	st->loose = 0;
	st->cut = 0;
	st->loaded = 1;
	return EG_DNS_WHOLE;
}

#endif
