/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Reads a DNS answer (RFC 1035 4.1) that lies in map memory: which watched name it is about,
 * and every address in it. Pure but for the lookup of names; compiled natively by
 * tests/fuzz/fuzz_dns.c.
 *
 * Of the answer section every address counts. Of the additional section, where a server also puts
 * what nobody asked for, only those of names that the asked one leads to by CNAME or HTTPS records:
 * the chain. It is read only if there is more of it than the question.
 *
 * A state machine of small steps, all of whose state is in struct eg_dns, that is in map memory,
 * which the verifier does not track. eg_dns_step is a global function, so it is verified once and
 * the loop around it costs the verifier one call a turn: neither bpf_loop (5.17) is needed nor a
 * bound on what the loop may do.
 */
#ifndef EGRET_BPF_DNS_H
#define EGRET_BPF_DNS_H

#include "lib/names.h"
#include "lib/pkt.h"

#define EG_DNS_MESSAGE	 4096 /* power of two: offsets are masked by it */
#define EG_DNS_MASK	 (EG_DNS_MESSAGE - 1)
#define EG_DNS_ADDRESSES 256 /* power of two; what a pod may teach at all */
#define EG_DNS_STEPS	 1024
#define EG_DNS_HEADER	 12
#define EG_DNS_CHAIN	 8 /* power of two: names that are followed */

enum eg_dns_phase {
	EG_DNS_QUESTION = 0, /* a label of the question's name */
	EG_DNS_OWNER = 1,    /* skipping the name of a record */
	EG_DNS_RECORD = 2,   /* its fixed part */
	EG_DNS_TARGET = 3,   /* a label of a CNAME's target */
	EG_DNS_SVC_NAME = 4, /* a label of an HTTPS record's target name (RFC 9460 2.2) */
	EG_DNS_SVC = 5,	     /* a parameter of it */
	EG_DNS_HINT = 6,     /* an address of an ipv4hint or ipv6hint */
	EG_DNS_WHOSE = 7,    /* a label of the name of a record, after all */
	EG_DNS_DATA = 8,     /* what a record says */
	EG_DNS_DONE = 9,
	EG_DNS_BAD = 10,   /* malformed */
	EG_DNS_SHORT = 11, /* ran past the end of what is there */
};

enum eg_dns_type {
	EG_DNS_A = 1,
	EG_DNS_CNAME = 5,
	EG_DNS_AAAA = 28,
	EG_DNS_SVCB = 64,
	EG_DNS_HTTPS = 65,
};

struct eg_dns_answer {
	struct eg_address address;
	__u32 ttl;
};

struct eg_dns {
	/* A struct eg_event: as DNS_RAW it is sent with the message that follows it. */
	__u64 event[sizeof(struct eg_event) / 8];
	__u8 message[EG_DNS_MESSAGE];
	struct eg_dns_answer answer[EG_DNS_ADDRESSES];
	struct eg_names names;
	__u64 chain[EG_DNS_CHAIN]; /* hashes; the asked name's first */
	__u32 chain_length;
	__u32 linked;	 /* a record of the chain leads on */
	__u32 behind;	 /* the answer section */
	__u32 authority; /* records there that are skipped */
	__u32 further;	 /* records behind the answer section; 0: nothing that is wanted */
	__u32 owner;	 /* where the record begins */
	__u32 known;	 /* its name is of the chain */
	__u32 type;
	__u32 data;
	__u32 length; /* bytes of the message that are there */
	__u32 at;
	__u32 resume; /* where to go on after a name that jumped; 0: it has not */
	__u32 limit;  /* a pointer must lead before this: no loops */
	__u32 end;    /* of the record's data */
	__u32 hint_end;
	__u32 hint_size;
	__u32 left; /* records */
	__u32 ttl;
	__u32 count;  /* addresses */
	__u32 missed; /* addresses for which there was no room */
	__u32 name_id;
	__u32 phase; /* enum eg_dns_phase */
};

static __always_inline struct eg_event *eg_dns_event(struct eg_dns *d)
{
	return (struct eg_event *)d->event;
}

static __always_inline __u32 dns_byte(const struct eg_dns *d, __u32 at)
{
	return d->message[at & EG_DNS_MASK];
}

static __always_inline __u32 dns_word(const struct eg_dns *d, __u32 at)
{
	return dns_byte(d, at) << 8 | dns_byte(d, at + 1);
}

static __always_inline __u32 dns_long(const struct eg_dns *d, __u32 at)
{
	return dns_word(d, at) << 16 | dns_word(d, at + 2);
}

static __always_inline void dns_next_record(struct eg_dns *d, __u32 at)
{
	d->at = at;
	if (d->left)
		d->left--;
	if (!d->left && !d->behind && d->linked && d->name_id) {
		d->behind = 1;
		d->left = d->further;
	}
	d->owner = at;
	d->phase = d->left ? EG_DNS_OWNER : EG_DNS_DONE;
}

static __always_inline int dns_in_chain(const struct eg_dns *d)
{
	__u32 i;

	for (i = 0; i < EG_DNS_CHAIN; i++) {
		if (i >= d->chain_length)
			break;
		if (d->chain[i] == d->names.sum)
			return 1;
	}
	return 0;
}

/* The name read last. */
static __always_inline void dns_chain_add(struct eg_dns *d)
{
	__u32 slot = d->chain_length;

	if (slot >= EG_DNS_CHAIN)
		return;
	d->chain[slot & (EG_DNS_CHAIN - 1)] = d->names.sum;
	d->chain_length = slot + 1;
}

static __always_inline void dns_take_address(struct eg_dns *d, __u32 at, __u32 size)
{
	struct eg_dns_answer *a;
	__u32 i, slot = d->count;

	if (slot >= EG_DNS_ADDRESSES) {
		d->missed++;
		return;
	}
	a = &d->answer[slot & (EG_DNS_ADDRESSES - 1)];
	if (size == 4) {
		eg_address_from4(&a->address, bpf_htonl(dns_long(d, at)));
	} else {
		for (i = 0; i < 4; i++)
			a->address.word_be[i] = bpf_htonl(dns_long(d, at + 4 * i));
	}
	a->ttl = d->ttl;
	d->count = slot + 1;
}

static __always_inline void dns_name_begin(struct eg_dns *d, __u32 phase)
{
	eg_names_begin(&d->names);
	d->resume = 0;
	d->limit = d->at;
	d->phase = phase;
}

/* The bytes of one label: wire form, where a dot is an ordinary byte and must not read as one. */
static __always_inline void dns_hash_label(struct eg_dns *d, __u32 at, __u32 size)
{
	struct eg_names *n = &d->names;
	__u64 sum, power, inverse_power;
	__u32 i;

	eg_names_label(n);
	sum = n->sum;
	power = n->power;
	inverse_power = n->inverse_power;
	for (i = 0; i < EG_LABEL_MAX; i++) {
		__u8 c;

		if (i >= size)
			break;
		c = d->message[(at + i) & EG_DNS_MASK];
		if (c == '.')
			c = 0;
		sum += eg_name_term(c, power);
		power *= n->base;
		inverse_power *= n->inverse;
	}
	n->sum = sum;
	n->power = power;
	n->inverse_power = inverse_power;
	n->length += size;
}

/* A name is complete; `at` is what follows it. */
static __always_inline void dns_name_end(struct eg_dns *d, __u32 at)
{
	__u32 phase = d->phase;

	if (d->resume)
		at = d->resume;
	if (phase == EG_DNS_WHOSE) {
		d->known = dns_in_chain(d);
		d->phase = EG_DNS_DATA;
		return;
	}
	if (phase != EG_DNS_SVC_NAME && !d->name_id)
		d->name_id = (__u32)eg_names_match(&d->names);
	/* An HTTPS record's "." is its owner (RFC 9460 2.5), which is there. */
	if (phase == EG_DNS_QUESTION || (d->known && d->names.labels))
		dns_chain_add(d);
	if (phase == EG_DNS_TARGET) {
		dns_next_record(d, d->end);
		return;
	}
	d->at = at;
	if (phase == EG_DNS_SVC_NAME) {
		d->phase = EG_DNS_SVC;
		return;
	}
	if (at + 4 > d->length) {
		d->phase = EG_DNS_SHORT;
		return;
	}
	d->at = at + 4; /* type and class of the question */
	d->owner = d->at;
	d->phase = d->left ? EG_DNS_OWNER : EG_DNS_DONE;
}

/* One label, or pointer, of a name that is wanted. */
static __always_inline void dns_step_name(struct eg_dns *d)
{
	__u32 at = d->at, size, to;

	if (at >= d->length) {
		d->phase = EG_DNS_SHORT;
		return;
	}
	size = dns_byte(d, at);
	if (!size) {
		dns_name_end(d, at + 1);
		return;
	}
	if (size >= 0xc0) {
		if (at + 2 > d->length) {
			d->phase = EG_DNS_SHORT;
			return;
		}
		to = dns_word(d, at) & 0x3fff;
		if (to >= d->limit || to < EG_DNS_HEADER) { /* only backwards: RFC 1035 4.1.4 */
			d->phase = EG_DNS_BAD;
			return;
		}
		if (!d->resume)
			d->resume = at + 2;
		d->limit = to;
		d->at = to;
		return;
	}
	if (size > EG_LABEL_MAX ||
	    d->names.length + size + (d->names.labels ? 1 : 0) > EG_NAME_MAX) {
		d->phase = EG_DNS_BAD;
		return;
	}
	if (at + 1 + size > d->length) {
		d->phase = EG_DNS_SHORT;
		return;
	}
	dns_hash_label(d, at + 1, size & 63);
	d->at = at + 1 + size;
}

/* One label of a name that is not wanted: it ends with a zero or a pointer. */
static __always_inline void dns_step_skip(struct eg_dns *d)
{
	__u32 at = d->at, size;

	if (at >= d->length) {
		d->phase = EG_DNS_SHORT;
		return;
	}
	size = dns_byte(d, at);
	if (size && size <= EG_LABEL_MAX) {
		d->at = at + 1 + size;
		return;
	}
	if (size && size < 0xc0) {
		d->phase = EG_DNS_BAD;
		return;
	}
	d->at = at + (size ? 2 : 1);
	d->phase = EG_DNS_RECORD;
}

static __always_inline int dns_is_address(__u32 type)
{
	return type == EG_DNS_A || type == EG_DNS_AAAA;
}

static __always_inline int dns_leads_on(__u32 type)
{
	return type == EG_DNS_CNAME || type == EG_DNS_HTTPS || type == EG_DNS_SVCB;
}

/* RFC 1035 4.1.3: type, class, TTL, length, data. */
static __always_inline void dns_step_record(struct eg_dns *d)
{
	__u32 at = d->at, type, size;

	if (at + 10 > d->length) {
		d->phase = EG_DNS_SHORT;
		return;
	}
	type = dns_word(d, at);
	d->ttl = dns_long(d, at + 4);
	size = dns_word(d, at + 8);
	if (d->ttl >> 31) /* RFC 2181 8: not a TTL */
		d->ttl = 0;
	d->data = at + 10;
	d->end = at + 10 + size;
	d->type = type;
	d->known = 0;
	if (d->end > d->length) {
		d->phase = EG_DNS_SHORT;
		return;
	}
	if (d->behind && d->authority) {
		d->authority--;
		dns_next_record(d, d->end);
		return;
	}
	if (dns_word(d, at + 2) != 1) { /* class IN */
		dns_next_record(d, d->end);
		return;
	}
	if ((type == EG_DNS_A && size != 4) || (type == EG_DNS_AAAA && size != 16)) {
		d->phase = EG_DNS_BAD;
		return;
	}
	d->phase = EG_DNS_DATA;
	if ((dns_leads_on(type) && d->further) || (dns_is_address(type) && d->behind)) {
		d->at = d->owner;
		dns_name_begin(d, EG_DNS_WHOSE);
	}
}

static __always_inline void dns_step_data(struct eg_dns *d)
{
	__u32 type = d->type, at = d->data;

	if (d->known && dns_leads_on(type))
		d->linked = 1;
	if (d->behind && !d->known) {
		dns_next_record(d, d->end);
	} else if (dns_is_address(type)) {
		dns_take_address(d, at, d->end - at);
		dns_next_record(d, d->end);
	} else if (type == EG_DNS_CNAME && (!d->name_id || d->known)) {
		d->at = at;
		dns_name_begin(d, EG_DNS_TARGET);
	} else if ((type == EG_DNS_HTTPS || type == EG_DNS_SVCB) && d->end - at >= 3) {
		d->at = at + 2; /* priority */
		dns_name_begin(d, EG_DNS_SVC_NAME);
	} else {
		dns_next_record(d, d->end);
	}
}

/* RFC 9460 2.2: key, length, value; 7.3: keys 4 and 6 hold addresses. */
static __always_inline void dns_step_svc(struct eg_dns *d)
{
	__u32 at = d->at, key, size;

	if (at >= d->end) {
		if (at == d->end)
			dns_next_record(d, at);
		else
			d->phase = EG_DNS_BAD;
		return;
	}
	if (at + 4 > d->end) {
		d->phase = EG_DNS_BAD;
		return;
	}
	key = dns_word(d, at);
	size = dns_word(d, at + 2);
	at += 4;
	if (at + size > d->end) {
		d->phase = EG_DNS_BAD;
		return;
	}
	d->at = at;
	d->hint_end = at + size;
	d->hint_size = key == 4 ? 4 : 16;
	if (key == 4 || key == 6)
		d->phase = EG_DNS_HINT;
	else
		d->at = d->hint_end;
}

static __always_inline void dns_step_hint(struct eg_dns *d)
{
	__u32 at = d->at, size = d->hint_size;

	if (at >= d->hint_end) {
		d->phase = EG_DNS_SVC;
		return;
	}
	if (at + size > d->hint_end) {
		d->phase = EG_DNS_BAD;
		return;
	}
	dns_take_address(d, at, size);
	d->at = at + size;
}

/* One step; returns 1 when there is nothing more to do. */
__noinline int eg_dns_step(struct eg_dns *d)
{
	if (!d)
		return 1;
	if (d->phase == EG_DNS_RECORD)
		dns_step_record(d);
	switch (d->phase) {
	case EG_DNS_QUESTION:
	case EG_DNS_TARGET:
	case EG_DNS_SVC_NAME:
	case EG_DNS_WHOSE:
		dns_step_name(d);
		break;
	case EG_DNS_OWNER:
		dns_step_skip(d);
		break;
	case EG_DNS_DATA:
		dns_step_data(d);
		break;
	case EG_DNS_SVC:
		dns_step_svc(d);
		break;
	case EG_DNS_HINT:
		dns_step_hint(d);
		break;
	default:
		break;
	}
	/* What is wrong there does not take back what the answer section said. */
	if (d->behind && d->phase > EG_DNS_DONE)
		d->phase = EG_DNS_DONE;
	return d->phase >= EG_DNS_DONE;
}

/*
 * Prepares *d, whose message and length are set. Returns 0 when there is an answer to read, 1
 * when the message is a whole one that teaches nothing (a query, an error, no records).
 */
static __always_inline int eg_dns_begin(struct eg_dns *d, __u64 base)
{
	__u32 flags = dns_word(d, 2);

	d->count = 0;
	d->missed = 0;
	d->name_id = 0;
	d->left = dns_word(d, 6);
	d->authority = dns_word(d, 8);
	d->further = dns_word(d, 10);
	if (d->further)
		d->further += d->authority;
	d->behind = 0;
	d->linked = 0;
	d->known = 0;
	d->chain_length = 0;
	/* QR set, opcode 0, no error (RFC 1035 4.1.1); other bits don't matter here. */
	if (d->length < EG_DNS_HEADER || (flags & 0xf80f) != 0x8000 || !d->left) {
		d->phase = EG_DNS_DONE;
		return 1;
	}
	if (dns_word(d, 4) != 1) { /* questions */
		d->phase = EG_DNS_BAD;
		return 0;
	}
	eg_names_prepare(&d->names, base);
	d->at = EG_DNS_HEADER;
	dns_name_begin(d, EG_DNS_QUESTION);
	return 0;
}

/* Reads to the end. Afterwards phase is DONE, BAD or SHORT, and name_id, answer, count are set. */
__noinline int eg_dns_read(struct eg_dns *d)
{
	int i;

	if (!d)
		return 0;
	for (i = 0; i < EG_DNS_STEPS; i++)
		if (eg_dns_step(d))
			return 0;
	d->phase = d->behind ? EG_DNS_DONE : EG_DNS_BAD;
	return 0;
}

#endif
