/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets share. Each target is one file fuzz_<name>.c with LLVMFuzzerTestOneInput();
 * it is built with libFuzzer (make fuzz) and with replay_main.c (make fuzz-replay).
 */
#ifndef EGRET_TESTS_FUZZ_FUZZ_H
#define EGRET_TESTS_FUZZ_FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An oracle said no: both libFuzzer and the replay count an abort as a failure. */
#define FUZZ_CHECK(condition)                                                                   \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                \
		}                                                                               \
	} while (0)

/* Heap copy of exactly n bytes, so that reading past the end is seen. */
static inline char *fuzz_copy(const void *p, size_t n)
{
	char *copy = malloc(n ? n : 1);

	if (!copy)
		abort();
	copy[0] = '\0';
	if (n)
		memcpy(copy, p, n);
	return copy;
}

static inline bool fuzz_same(struct eg_str a, struct eg_str b)
{
	return eg_str_eq(a, b);
}

/*
 * How fuzz_step() cuts: by the seed, each byte alone, or (any other number) once, so many bytes
 * before the end of what is cut. `replay --cuts` goes through them; all else leaves it at the seed.
 */
#define FUZZ_CUT_SEEDED SIZE_MAX
#define FUZZ_CUT_ALONE	(SIZE_MAX - 1)
__attribute__((weak)) size_t fuzz_cut = FUZZ_CUT_SEEDED;
__attribute__((weak)) size_t fuzz_cuts_made; /* inputs were taken in pieces so often */

/* Where to cut next: a small generator seeded by the input itself, so that a run can be repeated.
 */
static inline size_t fuzz_step(uint64_t *state, size_t left)
{
	fuzz_cuts_made++;
	if (fuzz_cut == FUZZ_CUT_ALONE)
		return EG_MIN((size_t)1, left);
	if (fuzz_cut != FUZZ_CUT_SEEDED)
		return left > fuzz_cut ? left - fuzz_cut : left;
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	switch (*state % 4) {
	case 0:
		return EG_MIN((size_t)1, left);
	case 1:
		return EG_MIN((size_t)(1 + (*state >> 8) % 7), left);
	default:
		return EG_MIN((size_t)(1 + (*state >> 8) % 300), left);
	}
}

static inline uint64_t fuzz_seed(const uint8_t *data, size_t size)
{
	uint64_t h = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < size; i++)
		h = (h ^ data[i]) * 0x100000001b3ull;
	return h | 1;
}

#endif
