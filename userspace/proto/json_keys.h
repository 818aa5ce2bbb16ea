/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of the JSON objects that are open at one place of a text, to find one that occurs twice.
 * One stack for all depths: only the innermost object gets keys, and they go when it ends. An
 * object with few keys is searched one by one; one with more lies in a hash table, keyed per
 * process, so that nobody can choose keys that collide: linear expected time for any text. Memory:
 * nothing for 64 keys; at most EG_JSON_KEYS_MAX of them, about 9 MiB, given back at the end.
 */
#ifndef EGRET_PROTO_JSON_KEYS_H
#define EGRET_PROTO_JSON_KEYS_H

#include "base/base.h"

#define EG_JSON_KEYS_MAX    (1u << 18)
#define EG_JSON_KEYS_INLINE 64u

/* A key's identity: its bytes up to 16 of them, else a 128-bit keyed hash (SipHash-1-3). */
struct eg_json_key {
	uint64_t word[2];
	uint32_t n;
	uint32_t owner; /* 1 + base of its object when it lies in the table, else 0 */
};

struct eg_json_keys {
	struct eg_json_key *stack; /* `few`, or from the heap */
	uint32_t count, size;
	uint32_t *table; /* 1 + index into the stack, or 0 */
	uint32_t table_size, table_used;
	uint64_t secret[2];
	struct eg_json_key few[EG_JSON_KEYS_INLINE];
};

void eg_json_keys_init(struct eg_json_keys *k);
void eg_json_keys_fini(struct eg_json_keys *k);
/*
 * Adds the unescaped key to the object whose first key is at `base` (k->count when it began).
 * 0, -EEXIST: it has that key, -E2BIG: over EG_JSON_KEYS_MAX, -ENOMEM.
 */
int eg_json_keys_add(struct eg_json_keys *k, uint32_t base, struct eg_str key) EG_MUST;
/* Forgets the keys of the innermost object. */
void eg_json_keys_drop(struct eg_json_keys *k, uint32_t base);

#endif
