/* SPDX-License-Identifier: Apache-2.0 */
/* Memory is handed back after a burst, and rarely. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/give_back.h"

#define MIB ((uint64_t)1 << 20)

static void test_after_a_burst(void **state)
{
	struct eg_give_back g = {0};

	assert_false(eg_give_back_due(&g, 0, 1000));
	assert_false(eg_give_back_due(&g, 60 * MIB, 1250)); /* while it lasts */
	assert_false(eg_give_back_due(&g, 53 * MIB, 1500)); /* not worth it */
	assert_true(eg_give_back_due(&g, 1 * MIB, 1750));
	assert_false(eg_give_back_due(&g, 0, 60000)); /* once */
	(void)state;
}

static void test_rarely(void **state)
{
	struct eg_give_back g = {0};
	int times = 0;

	/* Up and down for 100 s: as often as that would be a walk through all arenas each time. */
	for (uint64_t now = 1000; now < 101000; now += 250)
		times += eg_give_back_due(&g, now / 250 % 2 ? 60 * MIB : 0, now);
	assert_int_equal(times, 10);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_after_a_burst),
		cmocka_unit_test(test_rarely),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
