/* SPDX-License-Identifier: Apache-2.0 */
/* The cmocka includes in their order. */
#ifndef EGRET_TESTS_UNIT_BASE_TEST_H
#define EGRET_TESTS_UNIT_BASE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/base.h"

#define assert_str(s, literal)                                                     \
	do {                                                                       \
		struct eg_str got_ = (s);                                          \
		assert_int_equal(got_.n, sizeof(literal) - 1);                     \
		if (got_.n)                                                        \
			assert_memory_equal(got_.p, literal, sizeof(literal) - 1); \
	} while (0)

#endif
