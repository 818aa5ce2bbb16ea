/* SPDX-License-Identifier: Apache-2.0 */
/* nghttp2's memory keeps its content through every change of size, and what a session's frame
 * buffer never used is not resident. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"
#include "freed.h"
#include "upstream/h2_mem.h"

static void fill(unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)(i * 31 + n);
}

static void check(const unsigned char *p, size_t n, size_t was)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(p[i], (unsigned char)(i * 31 + was));
}

/* On both sides of 16 KiB, where the pages become the process's own. */
static void test_content_outlives_a_change(void **state)
{
	static const size_t sizes[] = {1, 100, 16383, 16384, 16394, 20000, 70000};
	nghttp2_mem m = h2_mem();

	for (size_t i = 0; i < EG_ARRAY_SIZE(sizes); i++)
		for (size_t j = 0; j < EG_ARRAY_SIZE(sizes); j++) {
			unsigned char *p = m.malloc(sizes[i], m.mem_user_data);

			assert_non_null(p);
			fill(p, sizes[i]);
			p = m.realloc(p, sizes[j], m.mem_user_data);
			assert_non_null(p);
			check(p, EG_MIN(sizes[i], sizes[j]), sizes[i]);
			fill(p, sizes[j]);
			m.free(p, m.mem_user_data);
		}
	m.free(NULL, m.mem_user_data);
	(void)state;
}

static void test_calloc_is_clear(void **state)
{
	nghttp2_mem m = h2_mem();

	for (size_t n = 1000; n <= 64000; n *= 4) {
		unsigned char *p = m.calloc(n, 1, m.mem_user_data);

		assert_non_null(p);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
		fill(p, n);
		m.free(p, m.mem_user_data);
	}
	(void)state;
}

/* Credentials lie in it. */
static void test_freed_memory_says_nothing(void **state)
{
	static const size_t sizes[] = {40, 400, 16383};
	nghttp2_mem m = h2_mem();
	char *volatile seen; /* else the compiler leaves out what nobody reads */
	char *p;

	freed_watch("sk-planted");
	p = malloc(100);
	assert_non_null(p);
	strcpy(p, "sk-planted");
	seen = p;
	free(seen);
	assert_int_equal(freed_count, FREED_SEEN);
	freed_watch("sk-planted");
	for (size_t i = 0; i < EG_ARRAY_SIZE(sizes); i++) {
		p = m.malloc(sizes[i], m.mem_user_data);
		assert_non_null(p);
		strcpy(p + sizes[i] - 16, "sk-planted");
		p = m.realloc(p, sizes[i] + 8000, m.mem_user_data);
		assert_non_null(p);
		m.free(p, m.mem_user_data);
	}
	assert_int_equal(freed_count, 0);
	freed_watch(NULL);
	(void)state;
}

static void test_too_much_is_refused(void **state)
{
	nghttp2_mem m = h2_mem();
	unsigned char *p = m.malloc(10, m.mem_user_data);

	assert_null(m.malloc(SIZE_MAX, m.mem_user_data));
	assert_null(m.malloc(SIZE_MAX - 100, m.mem_user_data));
	assert_null(m.calloc(SIZE_MAX / 2, 3, m.mem_user_data));
	fill(p, 10);
	assert_null(m.realloc(p, SIZE_MAX - 5, m.mem_user_data));
	check(p, 10, 10); /* it is as it was */
	m.free(p, m.mem_user_data);
	(void)state;
}

/* Of memory that was used before, all would be. */
static void test_unused_pages_are_not_resident(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 16394;
	nghttp2_mem m = h2_mem();
	unsigned char in_core[8];
	void *before[64];

	for (size_t i = 0; i < EG_ARRAY_SIZE(before); i++) {
		before[i] = malloc(n);
		assert_non_null(before[i]);
		memset(before[i], 1, n);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(before); i++)
		free(before[i]);
	for (int i = 0; i < 16; i++) {
		unsigned char *p = m.malloc(n, m.mem_user_data);
		uintptr_t at = (uintptr_t)p & ~(page - 1);

		assert_non_null(p);
		memset(p, 2, 1000);
		assert_int_equal(mincore((void *)at, n, in_core), 0);
		if (FREED_SEEN) { /* else a sanitizer's malloc() is under it */
			assert_int_equal(in_core[0] & 1, 1);
			for (size_t k = 1; k < n / page; k++)
				assert_int_equal(in_core[k] & 1, 0);
		}
		m.free(p, m.mem_user_data);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_content_outlives_a_change),
		cmocka_unit_test(test_calloc_is_clear),
		cmocka_unit_test(test_freed_memory_says_nothing),
		cmocka_unit_test(test_too_much_is_refused),
		cmocka_unit_test(test_unused_pages_are_not_resident),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
