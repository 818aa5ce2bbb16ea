/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The DNS messages of one packet. Over UDP there is one. Over TCP (RFC 1035 4.2.2, RFC 7766 8) a
 * segment may hold many, part of one, or part of the two bytes of length before one: so the record
 * of the connection (struct eg_query) remembers where the next message begins.
 */
#ifndef EGRET_BPF_DNS_STREAM_H
#define EGRET_BPF_DNS_STREAM_H

#include "lib/dns.h"
#include "lib/queries.h"

#define EG_DNS_MESSAGES 32 /* of one packet; more are not read */

/* In map memory. */
struct eg_dns_stream {
	__u32 at;	    /* the next byte, in the packet; may be behind its end */
	__u32 end;	    /* of the payload */
	__u32 prefix;	    /* length of the next message, as far as it is known */
	__u32 prefix_bytes; /* how many of its bytes that is: 0..2 */
	__u32 cut;	    /* the message that was loaded goes on elsewhere */
	__u32 loose;	    /* that a message begins here is a guess */
	__u32 begin;	    /* where what was loaded last begins */
	__u32 whole;	    /* and the length that it is to have */
	__u32 loaded;	    /* the next message is in *d already (dns_parts.h) */
};

/*
 * Loads the next message into *d, or as much as is here: d->length, which is 0 for one whose
 * header is not. Returns 1 when there is none.
 */
__noinline int eg_dns_next(struct __sk_buff *skb, struct eg_dns_stream *st, struct eg_dns *d)
{
	__u32 here, at, i;
	__u8 byte;

	if (!st || !d)
		return 1;
	if (st->loaded) {
		st->loaded = 0;
		return 0;
	}
	for (i = 0; i < 2; i++) {
		if (st->prefix_bytes >= 2)
			break;
		if (st->at >= st->end || bpf_skb_load_bytes(skb, st->at, &byte, 1))
			return 1;
		st->prefix = st->prefix << 8 | byte;
		st->prefix_bytes++;
		st->at++;
	}
	at = st->at;
	if (at >= st->end)
		return 1;
	here = st->end - at;
	st->cut = st->prefix > here;
	st->begin = at;
	st->whole = st->prefix;
	if (here > st->prefix)
		here = st->prefix;
	if (here > EG_DNS_MESSAGE) {
		here = EG_DNS_MESSAGE;
		st->cut = 1;
	}
	st->at = at + st->prefix;
	st->prefix = 0;
	st->prefix_bytes = 0;
	d->length = 0;
	if (here < EG_DNS_HEADER || here > EG_DNS_MESSAGE ||
	    bpf_skb_load_bytes(skb, at, d->message, here))
		return 0;
	d->length = here;
	return 0;
}

/* Whether what was loaded begins like an answer: QR set, opcode 0, one question. */
static __always_inline int eg_dns_plausible(const struct eg_dns *d)
{
	return d->length && (dns_word(d, 2) & 0xf800) == 0x8000 && dns_word(d, 4) == 1;
}

/* A packet of `here` bytes of payload; `q` is the connection's record, NULL over UDP. */
static __always_inline void eg_dns_open(struct eg_dns_stream *st, const struct eg_packet *p,
					__u32 here, const struct eg_query *q)
{
	__u32 offset;

	st->at = p->payload_offset;
	st->end = p->payload_offset + here;
	st->loose = 0;
	st->loaded = 0;
	if (!q) {
		st->prefix = here;
		st->prefix_bytes = 2;
		return;
	}
	st->prefix = 0;
	st->prefix_bytes = 0;
	offset = q->next - p->sequence;
	if (!q->synced || offset >= here) {
		st->loose = 1; /* sent again, in the midst of a message, or after a gap */
		return;
	}
	st->at += offset;
	st->prefix = q->prefix;
	st->prefix_bytes = q->prefix_bytes;
}

/* Remembers where the next message begins, unless this packet was behind that already. */
static __always_inline void eg_dns_close(const struct eg_dns_stream *st, const struct eg_packet *p,
					 struct eg_query *q)
{
	if (st->loose && q->synced && (__s32)(q->next - p->sequence) >= 0)
		return;
	q->next = p->sequence + (st->at - p->payload_offset);
	q->prefix = (__u16)st->prefix;
	q->prefix_bytes = (__u8)st->prefix_bytes;
	q->opened = 0;
	q->synced = 1;
}

#endif
