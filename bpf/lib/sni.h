/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Reads the server name of a TLS ClientHello (RFC 8446 4.1.2, RFC 6066 3) that lies in map
 * memory, and finds the watched name it is. Best effort by design: one segment, one record, the
 * outer name. Pure but for the lookup of names; compiled natively by tests/fuzz/fuzz_sni.c.
 */
#ifndef EGRET_BPF_SNI_H
#define EGRET_BPF_SNI_H

#include "lib/names.h"

#define EG_HELLO_BYTES	    2048 /* power of two; a hello with a post-quantum share has about 1800 */
#define EG_HELLO_MASK	    (EG_HELLO_BYTES - 1)
#define EG_HELLO_LEAST	    44	/* headers, version, random, session id length */
#define EG_HELLO_EXTENSIONS 512 /* more than EG_HELLO_BYTES hold, four bytes each */

/* In map memory: the loop's state is where the verifier does not track it (see dns.h). */
struct eg_hello {
	__u8 bytes[EG_HELLO_BYTES];
	struct eg_names names;
	__u32 length;
	__u32 at;
	__u32 end;
	__u32 pad;
};

static __always_inline __u32 hello_byte(const struct eg_hello *h, __u32 at)
{
	return h->bytes[at & EG_HELLO_MASK];
}

static __always_inline __u32 hello_word(const struct eg_hello *h, __u32 at)
{
	return hello_byte(h, at) << 8 | hello_byte(h, at + 1);
}

/* What the bytes begin with; `b` holds at least six. */
static __always_inline int eg_is_hello(const __u8 *b)
{
	return b[0] == 22 && b[1] == 3 && b[5] == 1;
}

/* One character of the name; returns 1 after the last. Global: see dns.h. */
__noinline int eg_hello_step(struct eg_hello *h)
{
	__u8 c;

	if (!h || h->at >= h->end)
		return 1;
	c = h->bytes[h->at & EG_HELLO_MASK];
	h->at++;
	if (c == '.')
		eg_names_label(&h->names);
	else
		eg_names_put(&h->names, c);
	return 0;
}

static __always_inline int hello_name(struct eg_hello *h, __u32 at, __u32 size)
{
	__u32 i;

	if (size && hello_byte(h, at + size - 1) == '.')
		size--;
	/* Below a suffix is a label with something in it: ".example.com" is no name. */
	if (!size || size > EG_NAME_MAX || at + size > h->length || hello_byte(h, at) == '.')
		return 0;
	eg_names_begin(&h->names);
	eg_names_label(&h->names);
	h->at = at;
	h->end = at + size;
	for (i = 0; i < EG_NAME_MAX; i++)
		if (eg_hello_step(h))
			break;
	return eg_names_match(&h->names);
}

/* Past one extension; returns 1 at server_name, or with h->end 0 where there is none. See dns.h. */
__noinline int eg_hello_extension(struct eg_hello *h)
{
	__u32 at;

	if (!h)
		return 1;
	at = h->at;
	if (at + 4 > h->length || at + 4 > h->end) {
		h->end = 0;
		return 1;
	}
	if (hello_word(h, at) == 0)
		return 1;
	h->at = at + 4 + hello_word(h, at + 2);
	return 0;
}

/* The number of the watched name, 0 for none or if it can't be read. */
__noinline int eg_hello_read(struct eg_hello *h)
{
	__u32 at, i;

	if (!h || h->length < EG_HELLO_LEAST || h->length > EG_HELLO_BYTES ||
	    !eg_is_hello(h->bytes))
		return 0;
	at = EG_HELLO_LEAST - 1;
	at += 1 + hello_byte(h, at); /* session id */
	if (at + 2 > h->length)
		return 0;
	at += 2 + hello_word(h, at); /* cipher suites */
	if (at + 1 > h->length)
		return 0;
	at += 1 + hello_byte(h, at); /* compression methods */
	if (at + 2 > h->length)
		return 0;
	h->end = at + 2 + hello_word(h, at);
	h->at = at + 2;
	for (i = 0; i < EG_HELLO_EXTENSIONS; i++)
		if (eg_hello_extension(h))
			break;
	at = h->at; /* list length, type, name length, name */
	if (!h->end || at + 9 > h->length || hello_byte(h, at + 6) != 0)
		return 0;
	return hello_name(h, at + 9, hello_word(h, at + 7));
}

#endif
