/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Bytes of a packet to struct eg_packet. Pure: no map, no helper, so it is also compiled
 * natively and fuzzed (tests/fuzz/fuzz_packet.c).
 *
 * A parser that skips what it doesn't understand is a bypass. So the destination is read first,
 * and whatever comes after it that can't be read is a *defect* of a packet whose destination is
 * known: the classifier drops it if that destination is governed and lets it go otherwise.
 * Only a packet whose destination is hidden (below) is judged without one.
 */
#ifndef EGRET_BPF_PKT_H
#define EGRET_BPF_PKT_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "egret/abi/maps.h"

#define EG_TAGS_MAX    2      /* VLAN tags in the bytes of the frame */
#define EG_EXT_MAX     6      /* IPv6 extension headers */
#define EG_OPTIONS_MAX 16     /* IPv4 options, NOPs included */
#define EG_OFFSET_MASK 0x3fff /* headers lie within this; EG_EXT_MAX of the longest do */

enum eg_packet_status {
	EG_PACKET_OTHER = 0, /* not IP (ARP, LLDP, ...): nothing to judge */
	EG_PACKET_IP = 1,    /* source and destination are valid */
	EG_PACKET_HIDDEN =
		2, /* IP whose destination can't be read, or IP inside a label or session */
};

enum eg_packet_flags {
	EG_PACKET_PORTS = 1 << 0, /* the ports (and for TCP the flags) are valid */
	EG_PACKET_LATER_FRAGMENT = 1 << 1,
	/* The true destination is not the one in the header, or may not be: too many headers. */
	EG_PACKET_SOURCE_ROUTED = 1 << 2,
	EG_PACKET_OPTIONS = 1 << 3, /* IP options or extension headers lie before the payload */
	EG_PACKET_TAGGED = 1 << 4,  /* a VLAN tag other than one of id 0 (priority only) */
	EG_PACKET_PRIORITY_TAG = 1 << 5, /* a VLAN tag in the bytes of the frame */
	EG_PACKET_NO_LENGTH = 1 << 6,	 /* BIG TCP: the IP header does not tell it */
};

#define EG_TCP_FIN 0x01
#define EG_TCP_SYN 0x02
#define EG_TCP_RST 0x04
#define EG_TCP_ACK 0x10

struct eg_packet {
	struct eg_address source;
	struct eg_address destination;
	__u32 l3_offset;
	__u32 l4_offset;      /* of the TCP or UDP header; valid with EG_PACKET_PORTS */
	__u32 payload_offset; /* of what follows that header */
	__u32 payload_length; /* by the IP header's own length; 0 for BIG TCP, whose length is 0 */
	__u32 sequence;	      /* TCP, host order */
	__u32 acknowledged;
	__be16 source_port_be;
	__be16 destination_port_be;
	__u8 status;   /* enum eg_packet_status */
	__u8 family;   /* 4 or 6; 0 unless status is EG_PACKET_IP */
	__u8 protocol; /* IPPROTO_*, past extension headers */
	__u8 tcp_flags;
	__u8 defect; /* 0, EG_REASON_UNPARSEABLE, EG_REASON_FRAGMENT */
	__u8 flags;  /* enum eg_packet_flags */
	__u8 tags;   /* VLAN tags in the bytes of the frame */
	__u8 pad;
};

struct eg_vlan_tag {
	__be16 tci_be;
	__be16 type_be;
};

/* RFC 8200 4.2: the first two octets of every extension header but Fragment's mean this. */
struct eg_ext {
	__u8 next;
	__u8 length;
	__u8 routing_type;
	__u8 segments_left;
};

struct eg_fragment {
	__u8 next;
	__u8 reserved;
	__be16 offset_be;
	__be32 identification;
};

static __always_inline void eg_address_from4(struct eg_address *out, __be32 address_be)
{
	out->word_be[0] = 0;
	out->word_be[1] = 0;
	out->word_be[2] = bpf_htonl(0xffff);
	out->word_be[3] = address_be;
}

static __always_inline int eg_address_equal(const struct eg_address *a, const struct eg_address *b)
{
	return a->word_be[0] == b->word_be[0] && a->word_be[1] == b->word_be[1] &&
	       a->word_be[2] == b->word_be[2] && a->word_be[3] == b->word_be[3];
}

#define EG_LEFT_UNKNOWN 0xffffffffu /* BIG TCP: the length in the IP header is 0 */

/* TCP and UDP headers at `cursor`. `left` is what the IP header says is left. */
static __always_inline int parse_transport(void *data, void *cursor, void *end, __u32 left,
					   struct eg_packet *p)
{
	p->l4_offset = (__u32)(cursor - data);
	if (left == EG_LEFT_UNKNOWN)
		p->flags |= EG_PACKET_NO_LENGTH;
	if (p->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = cursor;
		__u32 header;

		if (cursor + sizeof(*tcp) > end) {
			p->defect = EG_REASON_UNPARSEABLE;
			return 1;
		}
		header = (((__u8 *)cursor)[12] >> 4) * 4u;
		p->tcp_flags = ((__u8 *)cursor)[13];
		p->source_port_be = tcp->source;
		p->destination_port_be = tcp->dest;
		p->sequence = bpf_ntohl(tcp->seq);
		p->acknowledged = bpf_ntohl(tcp->ack_seq);
		p->flags |= EG_PACKET_PORTS;
		p->payload_offset = p->l4_offset + header;
		if (header < sizeof(*tcp) || left < header)
			p->defect = EG_REASON_UNPARSEABLE;
		else if (left != EG_LEFT_UNKNOWN)
			p->payload_length = left - header;
		return 0;
	}
	if (p->protocol == IPPROTO_UDP) {
		struct udphdr *udp = cursor;

		if (cursor + sizeof(*udp) > end) {
			p->defect = EG_REASON_UNPARSEABLE;
			return 1;
		}
		p->source_port_be = udp->source;
		p->destination_port_be = udp->dest;
		p->flags |= EG_PACKET_PORTS;
		p->payload_offset = p->l4_offset + sizeof(*udp);
		if (left < sizeof(*udp))
			p->defect = EG_REASON_UNPARSEABLE;
		else if (left != EG_LEFT_UNKNOWN)
			p->payload_length = left - (__u32)sizeof(*udp);
	}
	return 0;
}

/*
 * RFC 791 3.1: looks for a source route (the destination in the header is then only the next
 * hop). A list that is malformed or longer than the bound may hide one.
 */
static __always_inline int parse_options4(void *cursor, void *end, __u32 length,
					  struct eg_packet *p)
{
	int i;

	p->flags |= EG_PACKET_OPTIONS;
	p->l4_offset = 0; /* here: how far; in *p for the verifier's sake, see parse_ip6 */
	for (i = 0; i < EG_OPTIONS_MAX; i++) {
		__u32 at = p->l4_offset & 63;
		__u8 *option = cursor + at;
		__u32 size = 1;

		if (at >= length)
			return 0;
		if ((void *)(option + 1) > end)
			return 1;
		if (option[0] == 0)
			return 0;
		if (option[0] != 1) {
			if ((void *)(option + 2) > end)
				return 1;
			size = option[1];
			if (size < 2 || at + size > length || option[0] == 131 || option[0] == 137)
				break;
		}
		p->l4_offset = at + size;
	}
	if (p->l4_offset < length) {
		p->flags |= EG_PACKET_SOURCE_ROUTED;
		p->defect = EG_REASON_UNPARSEABLE;
	}
	return 0;
}

static __always_inline int parse_ip4(void *data, void *cursor, void *end, struct eg_packet *p)
{
	struct iphdr *ip = cursor;
	__u32 header, total, left;
	__u16 fragment;

	p->status = EG_PACKET_HIDDEN;
	if (cursor + sizeof(*ip) > end)
		return 1;
	if (ip->version != 4)
		return 0;
	p->status = EG_PACKET_IP;
	p->family = 4;
	eg_address_from4(&p->source, ip->saddr);
	eg_address_from4(&p->destination, ip->daddr);
	p->protocol = ip->protocol;
	header = ip->ihl * 4u;
	total = bpf_ntohs(ip->tot_len);
	fragment = bpf_ntohs(ip->frag_off);
	if (header < sizeof(*ip) || (total && total < header)) {
		p->defect = EG_REASON_UNPARSEABLE;
		return 0;
	}
	if (fragment & 0x3fff) /* more fragments, or an offset */
		p->defect = EG_REASON_FRAGMENT;
	if (header > sizeof(*ip) &&
	    parse_options4(cursor + sizeof(*ip), end, header - (__u32)sizeof(*ip), p)) {
		p->defect = EG_REASON_UNPARSEABLE;
		return 1;
	}
	if (fragment & 0x1fff) {
		p->flags |= EG_PACKET_LATER_FRAGMENT;
		return 0;
	}
	left = total ? total - header : EG_LEFT_UNKNOWN;
	return parse_transport(data, cursor + (header & 63), end, left, p);
}

static __always_inline int is_extension(__u8 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS ||
	       next == IPPROTO_FRAGMENT || next == IPPROTO_AH || next == IPPROTO_MH ||
	       next == 139 /* HIP */ || next == 140 /* Shim6 */;
}

/*
 * RFC 8200 4.1. The loop's state lives in *p (protocol: the next header; l4_offset: where it is),
 * which the verifier does not track: so every way round the loop looks the same to it.
 */
static __always_inline int parse_ip6(void *data, void *cursor, void *end, struct eg_packet *p)
{
	struct ipv6hdr *ip = cursor;
	__u32 left, start;
	int i;

	p->status = EG_PACKET_HIDDEN;
	if (cursor + sizeof(*ip) > end)
		return 1;
	if (ip->version != 6)
		return 0;
	p->status = EG_PACKET_IP;
	p->family = 6;
	__builtin_memcpy(&p->source, &ip->saddr, sizeof(p->source));
	__builtin_memcpy(&p->destination, &ip->daddr, sizeof(p->destination));
	left = bpf_ntohs(ip->payload_len);
	p->protocol = ip->nexthdr;
	start = p->l3_offset + (__u32)sizeof(*ip);
	p->l4_offset = start;
	for (i = 0; i < EG_EXT_MAX; i++) {
		struct eg_ext *ext = data + (p->l4_offset & EG_OFFSET_MASK);
		__u8 next = p->protocol;
		__u32 size;

		if (!is_extension(next))
			break;
		p->flags |= EG_PACKET_OPTIONS;
		if ((void *)ext + 8 > end) {
			p->defect = EG_REASON_UNPARSEABLE;
			return 1;
		}
		size = (ext->length + 1u) * 8;
		if (next == IPPROTO_AH)
			size = (ext->length + 2u) * 4;
		if (next == IPPROTO_ROUTING && ext->segments_left) {
			p->flags |= EG_PACKET_SOURCE_ROUTED;
			p->defect = EG_REASON_UNPARSEABLE;
		}
		if (next == IPPROTO_FRAGMENT) {
			struct eg_fragment *fragment = (void *)ext;
			__u16 offset = bpf_ntohs(fragment->offset_be);

			size = sizeof(*fragment);
			/* RFC 6946: an atomic fragment is a whole packet. */
			if (offset & 0xfff9)
				p->defect = EG_REASON_FRAGMENT;
			if (offset & 0xfff8) {
				p->protocol = ext->next;
				p->flags |= EG_PACKET_LATER_FRAGMENT;
				return 0;
			}
		}
		p->protocol = ext->next;
		p->l4_offset += size;
	}
	start = p->l4_offset - start;
	if (is_extension(p->protocol)) { /* a route may stand behind the bound */
		p->flags |= EG_PACKET_SOURCE_ROUTED;
		p->defect = EG_REASON_UNPARSEABLE;
		return 0;
	}
	if (left && start > left) {
		p->defect = EG_REASON_UNPARSEABLE;
		return 0;
	}
	return parse_transport(data, data + (p->l4_offset & EG_OFFSET_MASK), end,
			       left ? left - start : EG_LEFT_UNKNOWN, p);
}

/*
 * Parses from `data`, which starts with a MAC header, or with the IP header when `bare` is 4 or
 * 6 (devices without one). Returns 1 if bytes were missing: pull them in and call again; if there
 * are no more, *p says what is known all the same.
 */
static __always_inline int eg_packet_parse(void *data, void *end, __u8 bare, struct eg_packet *p)
{
	struct ethhdr *eth = data;
	void *cursor = data;
	__be16 type;
	int i;

	__builtin_memset(p, 0, sizeof(*p));
	if (bare == 4)
		return parse_ip4(data, cursor, end, p);
	if (bare == 6)
		return parse_ip6(data, cursor, end, p);
	if (data + sizeof(*eth) > end) {
		p->status = EG_PACKET_HIDDEN;
		return 1;
	}
	type = eth->h_proto;
	cursor = data + sizeof(*eth);
	for (i = 0; i < EG_TAGS_MAX; i++) {
		struct eg_vlan_tag *tag = cursor;

		if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD) &&
		    type != bpf_htons(ETH_P_QINQ1))
			break;
		if (cursor + sizeof(*tag) > end) {
			p->status = EG_PACKET_HIDDEN;
			return 1;
		}
		p->tags++;
		p->flags |= EG_PACKET_PRIORITY_TAG;
		if ((tag->tci_be & bpf_htons(0x0fff)) || i)
			p->flags |= EG_PACKET_TAGGED;
		type = tag->type_be;
		cursor += sizeof(*tag);
	}
	p->l3_offset = (__u32)(cursor - data);
	switch (type) {
	case bpf_htons(ETH_P_IP):
		return parse_ip4(data, cursor, end, p);
	case bpf_htons(ETH_P_IPV6):
		return parse_ip6(data, cursor, end, p);
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
	case bpf_htons(ETH_P_QINQ1):
	case bpf_htons(ETH_P_MPLS_UC):
	case bpf_htons(ETH_P_MPLS_MC):
	case bpf_htons(ETH_P_PPP_SES):
		p->status = EG_PACKET_HIDDEN;
		return 0;
	default:
		return 0;
	}
}

#endif
