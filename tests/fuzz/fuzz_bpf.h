/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel half compiled natively: map lookups go to fuzz_lookup(), which each target defines.
 * (libbpf's helpers are static function pointers, and out here they can be set.)
 */
#ifndef EGRET_TESTS_FUZZ_BPF_H
#define EGRET_TESTS_FUZZ_BPF_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <strings.h>

#include "egret/abi/name_hash.h"
#include "fuzz.h"
#include "lib/maps.h"
#include "lib/names.h"

#define FUZZ_BASE 0x1234567890abcdefull

/* The watched names; their text is what the oracles match by. */
static const struct {
	const char *text;
	uint32_t name_id;
} fuzz_watched[] = {
	{"api.openai.com", 5}, {"*.openai.azure.com", 6}, {"com", 7}, {"*.a", 8}, {"a", 9},
	{"*.a.a", 10},
};

static inline void *fuzz_name(const struct eg_name_key *key)
{
	static struct eg_name found;
	__u64 hash;

	for (size_t i = 0; i < EG_ARRAY_SIZE(fuzz_watched); i++) {
		if (eg_name_hash(fuzz_watched[i].text, FUZZ_BASE, &hash, &found.suffix))
			abort();
		found.name_id = fuzz_watched[i].name_id;
		if (hash == key->hash)
			return &found;
	}
	return NULL;
}

/* The rule that `name` matches, by text: exact, else the longest suffix. */
static inline uint32_t fuzz_match(const char *name, size_t length)
{
	uint32_t best = 0;
	size_t best_length = 0;

	for (size_t i = 0; i < EG_ARRAY_SIZE(fuzz_watched); i++) {
		const char *text = fuzz_watched[i].text;
		size_t n = strlen(text);

		if (text[0] != '*') {
			if (n == length && !strncasecmp(name, text, n))
				return fuzz_watched[i].name_id;
			continue;
		}
		text++; /* ".example.com" */
		n--;
		if (length > n && n > best_length && !strncasecmp(name + length - n, text, n)) {
			best = fuzz_watched[i].name_id;
			best_length = n;
		}
	}
	return best;
}

#endif
