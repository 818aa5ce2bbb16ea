/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of this room share: the cmocka includes in their order, and exact-size copies. */
#ifndef EGRET_TESTS_UNIT_PROTO_TEST_H
#define EGRET_TESTS_UNIT_PROTO_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/base.h"

/*
 * A copy on the heap of exactly s.n bytes, without NUL, so that a sanitizer sees a read past the
 * end. Freed by the caller.
 */
static inline struct eg_str exact_copy(struct eg_str s)
{
	char *p = malloc(s.n ? s.n : 1);

	assert_non_null(p);
	if (s.n)
		memcpy(p, s.p, s.n);
	return (struct eg_str){p, s.n};
}

static inline void exact_free(struct eg_str s)
{
	union {
		const char *in;
		char *out;
	} u = {.in = s.p};

	free(u.out);
}

#define assert_str(s, literal)                                                     \
	do {                                                                       \
		struct eg_str got_ = (s);                                          \
		assert_int_equal(got_.n, sizeof(literal) - 1);                     \
		if (got_.n)                                                        \
			assert_memory_equal(got_.p, literal, sizeof(literal) - 1); \
	} while (0)

/* xorshift: the same inputs in each run. */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
