/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/json_keys.h"

#include <stdlib.h>
#include <sys/auxv.h>

#define FEW_KEYS    16u /* up to here one by one is faster than a table */
#define TABLE_FIRST 256u

static inline uint64_t rotate(uint64_t v, unsigned int bits)
{
	return v << bits | v >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t m)
{
	v[3] ^= m;
	sip_round(v);
	v[0] ^= m;
}

static inline uint64_t sip_end(uint64_t v[4])
{
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static inline void sip_begin(uint64_t v[4], const uint64_t secret[2])
{
	v[0] = secret[0] ^ 0x736f6d6570736575ull;
	v[1] = secret[1] ^ 0x646f72616e646f6dull ^ 0xee;
	v[2] = secret[0] ^ 0x6c7967656e657261ull;
	v[3] = secret[1] ^ 0x7465646279746573ull;
}

/* SipHash-1-3 with 128 bits of output. */
static void sip_bytes(const uint64_t secret[2], struct eg_str s, uint64_t out[2])
{
	uint64_t v[4], m;
	size_t i = 0;

	sip_begin(v, secret);
	for (; s.n - i >= 8; i += 8) {
		memcpy(&m, s.p + i, 8);
		sip_word(v, m);
	}
	m = 0;
	if (s.n > i)
		memcpy(&m, s.p + i, s.n - i);
	sip_word(v, m | (uint64_t)s.n << 56);
	v[2] ^= 0xee;
	out[0] = sip_end(v);
	v[1] ^= 0xdd;
	out[1] = sip_end(v);
}

/*
 * The process's secret comes from the 16 random bytes the kernel gave it at exec: no system call,
 * no descriptor. Hashed once, for the C library uses the same bytes for stack canaries.
 */
static void take_secret(uint64_t secret[2])
{
	const void *random = (const void *)getauxval(AT_RANDOM);
	uint64_t seed[2] = {(uint64_t)(uintptr_t)secret, 0};

	if (random)
		memcpy(seed, random, sizeof(seed));
	sip_bytes(seed, EG_STR("egret json keys"), secret);
}

void eg_json_keys_init(struct eg_json_keys *k)
{
	k->stack = k->few;
	k->count = 0;
	k->size = EG_JSON_KEYS_INLINE;
	k->table = NULL;
	k->table_size = k->table_used = 0;
	k->secret[0] = k->secret[1] = 0; /* until a long key or a large object wants it */
}

void eg_json_keys_fini(struct eg_json_keys *k)
{
	if (k->stack != k->few)
		free(k->stack);
	free(k->table);
	eg_json_keys_init(k);
}

static void want_secret(struct eg_json_keys *k)
{
	if (!k->secret[0] && !k->secret[1])
		take_secret(k->secret);
}

/* All of its bytes, some of them twice: with the length they are the key. A copy of so many would
 * be a call. */
static inline void short_key(struct eg_json_key *id, struct eg_str key)
{
	uint32_t first, last;

	if (key.n >= 8) {
		memcpy(&id->word[0], key.p, 8);
		memcpy(&id->word[1], key.p + key.n - 8, 8);
	} else if (key.n >= 4) {
		memcpy(&first, key.p, 4);
		memcpy(&last, key.p + key.n - 4, 4);
		id->word[0] = first;
		id->word[1] = last;
	} else if (key.n) {
		id->word[0] = (unsigned char)key.p[0] |
			      (uint64_t)(unsigned char)key.p[key.n / 2] << 8 |
			      (uint64_t)(unsigned char)key.p[key.n - 1] << 16;
	}
}

static struct eg_json_key identify(struct eg_json_keys *k, struct eg_str key)
{
	struct eg_json_key id = {.n = (uint32_t)key.n};

	if (key.n <= sizeof(id.word)) {
		short_key(&id, key);
	} else {
		want_secret(k);
		sip_bytes(k->secret, key, id.word);
	}
	return id;
}

static inline bool same(const struct eg_json_key *a, const struct eg_json_key *b)
{
	return !((a->word[0] ^ b->word[0]) | (a->word[1] ^ b->word[1]) | (a->n ^ b->n));
}

/* ---- table: open addressing, linear probing ---- */

static uint32_t slot_of(const struct eg_json_keys *k, const struct eg_json_key *id, uint32_t owner)
{
	uint64_t v[4];

	sip_begin(v, k->secret);
	sip_word(v, id->word[0]);
	sip_word(v, id->word[1]);
	sip_word(v, (uint64_t)owner << 32 | id->n);
	return (uint32_t)sip_end(v) & (k->table_size - 1);
}

static void table_put(struct eg_json_keys *k, uint32_t index)
{
	uint32_t at = slot_of(k, &k->stack[index], k->stack[index].owner);

	while (k->table[at])
		at = (at + 1) & (k->table_size - 1);
	k->table[at] = index + 1;
	k->table_used++;
}

/* Only the key that was put last may be taken out: then its slot can simply be emptied. */
static void table_take_last(struct eg_json_keys *k, uint32_t index)
{
	uint32_t at = slot_of(k, &k->stack[index], k->stack[index].owner);

	while (k->table[at] != index + 1)
		at = (at + 1) & (k->table_size - 1);
	k->table[at] = 0;
	k->table_used--;
}

static bool table_has(const struct eg_json_keys *k, const struct eg_json_key *id, uint32_t owner)
{
	uint32_t at = slot_of(k, id, owner);

	for (; k->table[at]; at = (at + 1) & (k->table_size - 1)) {
		const struct eg_json_key *other = &k->stack[k->table[at] - 1];

		if (other->owner == owner && same(other, id))
			return true;
	}
	return false;
}

/* Room for `more` keys at a load of at most one half. */
static int table_grow(struct eg_json_keys *k, uint32_t more)
{
	uint32_t size = k->table_size ? k->table_size : TABLE_FIRST;
	uint32_t *table;

	while ((k->table_used + more) * 2 > size)
		size *= 2;
	if (size == k->table_size)
		return 0;
	table = calloc(size, sizeof(*table));
	if (!table)
		return -ENOMEM;
	want_secret(k);
	free(k->table);
	k->table = table;
	k->table_size = size;
	k->table_used = 0;
	for (uint32_t i = 0; i < k->count; i++)
		if (k->stack[i].owner)
			table_put(k, i);
	return 0;
}

static int stack_grow(struct eg_json_keys *k)
{
	struct eg_json_key *stack;
	uint32_t size = k->size * 2;

	if (k->size >= EG_JSON_KEYS_MAX)
		return -E2BIG;
	if (k->stack == k->few) {
		stack = malloc(size * sizeof(*stack));
		if (stack)
			memcpy(stack, k->few, sizeof(k->few));
	} else {
		stack = realloc(k->stack, size * sizeof(*stack));
	}
	if (!stack)
		return -ENOMEM;
	k->stack = stack;
	k->size = size;
	return 0;
}

int eg_json_keys_add(struct eg_json_keys *k, uint32_t base, struct eg_str key)
{
	struct eg_json_key id = identify(k, key);
	uint32_t n = k->count - base;
	int r;

	if (n <= FEW_KEYS) {
		for (uint32_t i = base; i < k->count; i++)
			if (same(&k->stack[i], &id))
				return -EEXIST;
	} else if (table_has(k, &id, base + 1)) {
		return -EEXIST;
	}
	r = k->count == k->size ? stack_grow(k) : 0;
	if (!r && n >= FEW_KEYS)
		r = table_grow(k, n == FEW_KEYS ? n + 1 : 1);
	if (r)
		return r;
	k->stack[k->count++] = id;
	if (n < FEW_KEYS)
		return 0;
	/* The first key too many takes the others with it. */
	for (uint32_t i = n == FEW_KEYS ? base : k->count - 1; i < k->count; i++) {
		k->stack[i].owner = base + 1;
		table_put(k, i);
	}
	return 0;
}

void eg_json_keys_drop(struct eg_json_keys *k, uint32_t base)
{
	if (k->count > base && k->stack[base].owner)
		for (uint32_t i = k->count; i > base; i--)
			table_take_last(k, i - 1);
	k->count = base;
}
