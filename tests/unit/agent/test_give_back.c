/* SPDX-License-Identifier: Apache-2.0 */
/* Memory is handed back after a burst, and rarely. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/give_back.h"

#define MIB ((uint64_t)1 << 20)

static bool due(struct eg_give_back *g, uint64_t used, uint64_t now_ms)
{
	return eg_give_back_due(g, used, 0, now_ms);
}

static void test_after_a_burst(void **state)
{
	struct eg_give_back g = {0};

	assert_false(due(&g, 0, 1000));
	assert_false(due(&g, 60 * MIB, 1250)); /* while it lasts */
	assert_false(due(&g, 53 * MIB, 1500)); /* not worth it */
	assert_true(due(&g, 1 * MIB, 1750));
	assert_false(due(&g, 0, 60000)); /* once */
	(void)state;
}

static void test_rarely(void **state)
{
	struct eg_give_back g = {0};
	int times = 0;

	/* Up and down for 100 s: as often as that would be a walk through all arenas each time. */
	for (uint64_t now = 1000; now < 101000; now += 250)
		times += due(&g, now / 250 % 2 ? 60 * MIB : 0, now);
	assert_int_equal(times, 10);
	(void)state;
}

/* Once, when nobody has asked for anything for a while, and many had before. */
static void test_in_silence(void **state)
{
	struct eg_give_back g = {0};
	uint64_t now;

	for (now = 1000; now < 5000; now += 250) /* while they come */
		assert_false(eg_give_back_due(&g, MIB, now, now));
	now -= 250;
	assert_false(eg_give_back_due(&g, MIB, now, now + EG_GIVE_BACK_QUIET_MS - 1));
	assert_true(eg_give_back_due(&g, MIB, now, now + EG_GIVE_BACK_QUIET_MS));
	assert_false(eg_give_back_due(&g, MIB, now, 60000));
	assert_false(eg_give_back_due(&g, MIB, now + EG_GIVE_BACK_REQUESTS - 1, 61000)); /* few */
	assert_false(eg_give_back_due(&g, MIB, now + EG_GIVE_BACK_REQUESTS - 1, 70000));
	assert_false(eg_give_back_due(&g, MIB, now + EG_GIVE_BACK_REQUESTS, 71000));
	assert_true(eg_give_back_due(&g, MIB, now + EG_GIVE_BACK_REQUESTS,
				     71000 + EG_GIVE_BACK_QUIET_MS));
	(void)state;
}

/* Buffers of idle connections come free a second after the last that was done on them, and up to a
 * second later where a timer was late: silence is longer than that, since it counts once. */
static void test_silence_is_longer_than_buffers_stay(void **state)
{
	struct eg_give_back g = {0};

	assert_false(eg_give_back_due(&g, MIB, 1000, 1000));
	assert_false(eg_give_back_due(&g, MIB, 1000, 3000));
	assert_true(eg_give_back_due(&g, MIB, 1000, 4000));
	(void)state;
}

/* What was held comes free with the last answers, what their connections hold later. */
static void test_silence_after_a_burst(void **state)
{
	struct eg_give_back g = {0};

	assert_false(eg_give_back_due(&g, 60 * MIB, 600, 1000));
	assert_true(eg_give_back_due(&g, 0, 1200, 1250));
	assert_false(eg_give_back_due(&g, 0, 1200, 1250 + EG_GIVE_BACK_QUIET_MS - 1));
	assert_true(eg_give_back_due(&g, 0, 1200, 1250 + EG_GIVE_BACK_QUIET_MS));
	assert_false(eg_give_back_due(&g, 0, 1200, 60000)); /* once */
	(void)state;
}

/* A node is never quite silent: a request each second keeps nobody's memory. */
static void test_few_requests(void **state)
{
	struct eg_give_back g = {0};
	uint64_t now = 1000, requests = 2000;
	int times = 0;

	assert_false(eg_give_back_due(&g, MIB, requests, now));
	for (; now < 5000; now += 250)
		times += eg_give_back_due(&g, MIB, requests += now % 1000 ? 0 : 2, now);
	assert_int_equal(times, 1);
	/* As often as every ten seconds at most, also where there are nearly as many as would be
	 * many. */
	for (times = 0; now < 105000; now += 250)
		times += eg_give_back_due(&g, MIB, requests += 6, now);
	assert_in_range(times, 5, 10);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_after_a_burst),
		cmocka_unit_test(test_rarely),
		cmocka_unit_test(test_in_silence),
		cmocka_unit_test(test_silence_is_longer_than_buffers_stay),
		cmocka_unit_test(test_silence_after_a_burst),
		cmocka_unit_test(test_few_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
