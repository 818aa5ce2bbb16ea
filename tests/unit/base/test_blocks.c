/* SPDX-License-Identifier: Apache-2.0 */
/* Large memory comes back to who asks next, is nobody's twice, and is given back at rest. */
#include "base_test.h"

#include <pthread.h>

#include "base/blocks.h"
#include "base/buf.h"

#if defined(__SANITIZE_ADDRESS__)
#define KEEPS false
#else
#define KEEPS true
#endif

static void comes_back(void **state)
{
	void *p = eg_block_take(1u << 20), *q;

	assert_non_null(p);
	assert_true(eg_block_room(p) >= 1u << 20);
	eg_block_give(p);
	q = eg_block_take(EG_BLOCK_SMALLEST); /* less is asked for: it does */
	assert_int_equal(q == p, KEEPS);
	eg_block_give(q);
	q = eg_block_take(2u << 20); /* more */
	assert_ptr_not_equal(q, p);
	eg_block_give(q);
	(void)state;
}

static void no_more_than_so_much(void **state)
{
	void *p[40];

	for (size_t i = 0; i < EG_ARRAY_SIZE(p); i++)
		p[i] = eg_block_take(8u << 20);
	for (size_t i = 0; i < EG_ARRAY_SIZE(p); i++) {
		assert_non_null(p[i]);
		for (size_t j = 0; j < i; j++)
			assert_ptr_not_equal(p[i], p[j]);
		eg_block_give(p[i]);
		assert_true(eg_blocks_kept() <= EG_BLOCKS_KEPT);
	}
	assert_int_equal(eg_blocks_kept() > 0, KEEPS);
	(void)state;
}

static void rests(void **state)
{
	eg_blocks_trim(1000);
	eg_block_give(eg_block_take(1u << 20));
	eg_blocks_trim(5000);
	assert_int_equal(eg_blocks_kept() > 0, KEEPS); /* asked for since */
	eg_blocks_trim(5000 + EG_BLOCKS_REST_MS - 1);
	assert_int_equal(eg_blocks_kept() > 0, KEEPS);
	eg_blocks_trim(5000 + EG_BLOCKS_REST_MS);
	assert_int_equal(eg_blocks_kept(), 0);
	(void)state;
}

static void *busy(void *arg)
{
	unsigned char mark = *(unsigned char *)arg;

	for (size_t i = 0; i < 2000; i++) {
		size_t n = EG_BLOCK_SMALLEST << (i + mark) % 4;
		unsigned char *p = eg_block_take(n);

		if (!p || eg_block_room(p) < n)
			return arg;
		p[0] = p[n - 1] = mark;
		sched_yield();
		if (p[0] != mark || p[n - 1] != mark)
			return arg; /* somebody else has it, too */
		eg_block_give(p);
	}
	return NULL;
}

static void threads(void **state)
{
	static unsigned char mark[4] = {1, 2, 3, 4};
	pthread_t t[4];

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, busy, &mark[i]), 0);
	for (size_t i = 0; i < 4; i++) {
		void *wrong;

		assert_int_equal(pthread_join(t[i], &wrong), 0);
		assert_null(wrong);
	}
	eg_blocks_trim(100000);
	eg_blocks_trim(100000 + EG_BLOCKS_REST_MS);
	assert_int_equal(eg_blocks_kept(), 0);
	(void)state;
}

/* A buffer that grows through it keeps what it holds, also when its front was consumed. */
static void buffers(void **state)
{
	for (int round = 0; round < 3; round++) {
		struct eg_buf b;
		uint32_t put = 0, got = 0;

		eg_buf_init(&b, 8u << 20);
		while (put < 1u << 20) {
			assert_int_equal(eg_buf_append(&b, &put, sizeof(put)), 0);
			put++;
			if (round && put % (unsigned int)(7 * round) == 0) {
				assert_memory_equal(eg_buf_data(&b), &got, sizeof(got));
				eg_buf_consume(&b, sizeof(got));
				got++;
			}
		}
		assert_int_equal(b.length, (put - got) * sizeof(put));
		while (got < put) {
			assert_memory_equal(eg_buf_data(&b), &got, sizeof(got));
			eg_buf_consume(&b, sizeof(got));
			got++;
		}
		eg_buf_fini(&b);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_back), cmocka_unit_test(no_more_than_so_much),
		cmocka_unit_test(rests),      cmocka_unit_test(threads),
		cmocka_unit_test(buffers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
