/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Watched names: hashes a name as it is read, label by label, and finds the rule that it
 * matches: the exact name, else the longest "*.suffix". egret/abi/name_hash.h has the arithmetic.
 */
#ifndef EGRET_BPF_NAMES_H
#define EGRET_BPF_NAMES_H

#include "lib/maps.h"
#include "egret/abi/name_hash.h"

/* A name being read. Lives in map memory. */
struct eg_names {
	__u64 base;
	__u64 inverse;
	__u64 sum;
	__u64 power;			   /* base^length */
	__u64 inverse_power;		   /* inverse^length */
	__u64 start_sum[EG_NAME_SUFFIXES]; /* of the last labels, a ring: sum where each began */
	__u64 start_inverse[EG_NAME_SUFFIXES];
	__u32 labels;
	__u32 length;
};

static __always_inline void eg_names_prepare(struct eg_names *n, __u64 base)
{
	n->base = base;
	n->inverse = eg_name_inverse(base);
}

static __always_inline void eg_names_begin(struct eg_names *n)
{
	n->sum = 0;
	n->power = 1;
	n->inverse_power = 1;
	n->labels = 0;
	n->length = 0;
}

static __always_inline void eg_names_put(struct eg_names *n, __u8 c)
{
	n->sum += eg_name_term(c, n->power);
	n->power *= n->base;
	n->inverse_power *= n->inverse;
	n->length++;
}

/* A label begins at the next byte. */
static __always_inline void eg_names_label(struct eg_names *n)
{
	__u32 slot;

	if (n->labels)
		eg_names_put(n, '.');
	slot = n->labels & (EG_NAME_SUFFIXES - 1);
	n->start_sum[slot] = n->sum;
	n->start_inverse[slot] = n->inverse_power;
	n->labels++;
}

/*
 * The number of the rule that the name read so far matches, 0 for none. Global: the verifier
 * checks it once.
 */
__noinline int eg_names_match(struct eg_names *n)
{
	struct eg_name_key key;
	struct eg_name *name;
	__u32 first, i;

	if (!n || !n->labels)
		return 0;
	key.hash = n->sum;
	name = bpf_map_lookup_elem(&watched_names, &key);
	if (name && !name->suffix)
		return (int)name->name_id;
	/* A suffix rule matches below its name, never the name itself: label 0 is left out. */
	first = n->labels > EG_NAME_SUFFIXES ? n->labels - EG_NAME_SUFFIXES : 1;
	for (i = 0; i < EG_NAME_SUFFIXES; i++) {
		__u32 slot = (first + i) & (EG_NAME_SUFFIXES - 1);

		if (first + i >= n->labels)
			break;
		key.hash = ((n->sum - n->start_sum[slot]) * n->start_inverse[slot]) ^
			   EG_NAME_SUFFIX_TWEAK;
		name = bpf_map_lookup_elem(&watched_names, &key);
		if (name && name->suffix)
			return (int)name->name_id;
	}
	return 0;
}

#endif
