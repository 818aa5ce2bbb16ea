/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * The hash by which watched_names is keyed: computed by the kernel over DNS answers and
 * ClientHellos, by user space over the names of the policy.
 *
 *     H(c[0..n)) = sum over j of (lower(c[j]) + 1) * B^j     (mod 2^64)
 *
 * over the dotted text without a trailing dot ("api.openai.com"). B is eg_config.name_hash_base:
 * odd (so that it has an inverse) and random per boot. With prefix sums S and powers of the
 * inverse of B, the hash of any suffix c[a..n) is (S[n] - S[a]) * B^-a: one multiplication.
 * A suffix rule ("*.example.com") is stored as the hash of what follows "*." with
 * EG_NAME_SUFFIX_TWEAK, so that it and the exact name can both be in the map.
 */
#ifndef EGRET_ABI_NAME_HASH_H
#define EGRET_ABI_NAME_HASH_H

#include <linux/types.h>

#define EG_NAME_SUFFIX_TWEAK 0x9e3779b97f4a7c15ull
#define EG_NAME_MAX	     253 /* RFC 1035 3.1: 255 octets on the wire, 253 in text */
#define EG_LABEL_MAX	     63	 /* RFC 1035 2.3.4 */
#define EG_NAME_SUFFIXES     16	 /* label starts kept: a suffix rule may have this many labels */

/* One character's share of the hash; `power` is B^j. Only ASCII letters have case (RFC 4343). */
static inline __u64 eg_name_term(__u8 c, __u64 power)
{
	int above = c - 'A', below = 'Z' - c; /* neither is negative for a capital letter */
	__u32 capital = ~((__u32)above | (__u32)below) >> 31;

	/* No branch: the verifier would follow both ways of every character. */
	return ((__u64)(c | capital << 5) + 1) * power;
}

/* The inverse of an odd number mod 2^64 (Newton: each step doubles the bits that are right). */
static inline __u64 eg_name_inverse(__u64 base)
{
	__u64 x = base; /* right in 3 bits */

	x *= 2 - base * x;
	x *= 2 - base * x;
	x *= 2 - base * x;
	x *= 2 - base * x;
	x *= 2 - base * x;
	return x;
}

/*
 * The key of a rule: "api.openai.com", or "*.example.com" for everything below. A trailing dot
 * is ignored. Stores 1 into *suffix for the second form. Returns 0, or -1 when the text is not
 * a name that can be watched (empty or long label, more than EG_NAME_SUFFIXES labels below "*").
 */
static inline int eg_name_hash(const char *text, __u64 base, __u64 *hash, __u8 *suffix)
{
	__u64 sum = 0, power = 1;
	int label = 0, labels = 1, length = 0, wild = 0;

	if (text[0] == '*' && text[1] == '.') {
		wild = 1;
		text += 2;
	}
	for (; *text; text++) {
		if (*text == '.') {
			if (!label)
				return -1;
			if (!text[1])
				break;
			label = 0;
			labels++;
		} else if (++label > EG_LABEL_MAX) {
			return -1;
		}
		if (++length > EG_NAME_MAX)
			return -1;
		sum += eg_name_term((__u8)*text, power);
		power *= base;
	}
	if (!length || !label || (wild && labels >= EG_NAME_SUFFIXES))
		return -1;
	*hash = wild ? sum ^ EG_NAME_SUFFIX_TWEAK : sum;
	*suffix = (__u8)wild;
	return 0;
}

#endif
