/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath/skb_layout.h"

#include <bpf/btf.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Members of unnamed structures and unions are members of what holds them (C11 6.7.2.1). */
#define DEPTH_MAX 8

struct place {
	uint32_t bit;
	uint32_t bits; /* of a bit field; 0: not one */
};

/* Past typedefs and qualifiers. */
static const struct btf_type *bare_type(const struct btf *btf, uint32_t id)
{
	const struct btf_type *t = btf__type_by_id(btf, id);

	while (t && (btf_is_mod(t) || btf_is_typedef(t)))
		t = btf__type_by_id(btf, t->type);
	return t;
}

static bool find_member(const struct btf *btf, const struct btf_type *t, const char *name,
			uint32_t base, int depth, struct place *out)
{
	const struct btf_member *m = btf_members(t);

	for (uint32_t i = 0; i < btf_vlen(t); i++) {
		uint32_t at = base + btf_member_bit_offset(t, i);
		const char *text = btf__name_by_offset(btf, m[i].name_off);

		if (text && *text) {
			if (strcmp(text, name) != 0)
				continue;
			*out = (struct place){at, btf_member_bitfield_size(t, i)};
			return true;
		}
		const struct btf_type *inner = bare_type(btf, m[i].type);

		if (inner && btf_is_composite(inner) && depth < DEPTH_MAX &&
		    find_member(btf, inner, name, at, depth + 1, out))
			return true;
	}
	return false;
}

static bool find_byte(const struct btf *btf, const struct btf_type *skb, const char *name,
		      uint16_t *out)
{
	struct place p;

	if (!find_member(btf, skb, name, 0, 0, &p) || p.bits || p.bit % 8 || p.bit / 8 > UINT16_MAX)
		return false;
	*out = (uint16_t)(p.bit / 8);
	return true;
}

int eg_skb_layout_find(struct eg_skb_layout *out)
{
	struct btf *btf = btf__load_vmlinux_btf();
	const struct btf_type *skb = NULL;
	struct place summed = {0, 0};
	uint16_t offset_at = 0;
	int32_t id;
	int r = -ENOENT;

	memset(out, 0, sizeof(*out));
	if (!btf)
		return -errno;
	id = btf__find_by_name_kind(btf, "sk_buff", BTF_KIND_STRUCT);
	if (id > 0)
		skb = btf__type_by_id(btf, (uint32_t)id);
	if (skb && find_byte(btf, skb, "csum_start", &out->csum_start_at) &&
	    find_byte(btf, skb, "csum_offset", &offset_at) && offset_at == out->csum_start_at + 2 &&
	    find_byte(btf, skb, "head", &out->head_at) &&
	    find_byte(btf, skb, "data", &out->data_at) &&
	    find_member(btf, skb, "ip_summed", 0, 0, &summed) && summed.bits == 2 &&
	    summed.bit % 8 <= 6 && summed.bit / 8 <= UINT16_MAX) {
		out->ip_summed_at = (uint16_t)(summed.bit / 8);
		out->ip_summed_shift = (uint16_t)(summed.bit % 8);
		/* Bit fields are counted from the other end there. */
		if (__BYTE_ORDER == __BIG_ENDIAN)
			out->ip_summed_shift = (uint16_t)(6 - out->ip_summed_shift);
		r = 0;
	}
	btf__free(btf);
	if (r)
		memset(out, 0, sizeof(*out));
	return r;
}
