/* SPDX-License-Identifier: Apache-2.0 */
#include "base_test.h"

#include "base/arena.h"

static void nothing_before_the_first(void **state)
{
	struct eg_arena a;

	eg_arena_init(&a, 100);
	assert_int_equal(a.used_bytes, 0);
	assert_null(a.blocks);
	eg_arena_fini(&a);
	eg_arena_fini(&a);
}

static void aligned_and_apart(void **state)
{
	struct eg_arena a;
	unsigned char *p[500];

	eg_arena_init(&a, 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(p); i++) {
		p[i] = eg_arena_alloc(&a, i * 3);
		assert_non_null(p[i]);
		assert_int_equal((uintptr_t)p[i] % 16, 0);
		memset(p[i], (int)i, i * 3);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(p); i++)
		for (size_t k = 0; k < i * 3; k++)
			assert_int_equal(p[i][k], (unsigned char)i);
	assert_true(eg_arena_alloc(&a, 0) != eg_arena_alloc(&a, 0));
	eg_arena_fini(&a);
	assert_int_equal(a.used_bytes, 0);
	assert_non_null(eg_arena_alloc(&a, 1)); /* usable again */
	eg_arena_fini(&a);
}

static void zeroed(void **state)
{
	struct eg_arena a;
	char *p;

	eg_arena_init(&a, 0);
	memset(eg_arena_alloc(&a, 1000), 0xff, 1000);
	p = eg_arena_zalloc(&a, 5000);
	for (size_t i = 0; i < 5000; i++)
		assert_int_equal(p[i], 0);
	eg_arena_fini(&a);
}

static void budget_is_kept(void **state)
{
	static const size_t budgets[] = {1, 16, 100, 4096, 5000, 65536, 1 << 20};

	for (size_t b = 0; b < EG_ARRAY_SIZE(budgets); b++)
		for (size_t size = 1; size < 100000; size = size * 3 + 1) {
			struct eg_arena a;
			size_t given = 0;
			void *p = NULL;

			eg_arena_init(&a, budgets[b]);
			for (int i = 0; i < 10000 && (p = eg_arena_alloc(&a, size)); i++)
				given += size;
			assert_true(given <= budgets[b]);
			assert_true(a.used_bytes <= budgets[b]);
			/* refused only when it and a block's head did not fit any more */
			if (!p)
				assert_true(a.used_bytes + (size + 15) / 16 * 16 + 16 > budgets[b]);
			assert_null(eg_arena_alloc(&a, budgets[b]));
			eg_arena_fini(&a);
		}
}

static void absurd_sizes(void **state)
{
	struct eg_arena a;

	eg_arena_init(&a, 0);
	assert_null(eg_arena_alloc(&a, SIZE_MAX));
	assert_null(eg_arena_alloc(&a, SIZE_MAX - 15));
	assert_null(eg_arena_zalloc(&a, SIZE_MAX));
	assert_non_null(eg_arena_alloc(&a, 1));
	eg_arena_fini(&a);
}

static void copies(void **state)
{
	struct eg_arena a, tiny;

	eg_arena_init(&a, 0);
	assert_string_equal(eg_arena_dup(&a, EG_STR("abc")), "abc");
	assert_string_equal(eg_arena_dup(&a, (struct eg_str){NULL, 0}), "");
	assert_memory_equal(eg_arena_dup(&a, EG_STR("a\0b")), "a\0b", 4);
	assert_string_equal(eg_arena_printf(&a, "%d %s", 42, "x"), "42 x");
	assert_int_equal(strlen(eg_arena_printf(&a, "%09000d", 1)), 9000);
	eg_arena_init(&tiny, 8);
	assert_null(eg_arena_dup(&tiny, EG_STR("abc")));
	assert_null(eg_arena_printf(&tiny, "%d", 1));
	eg_arena_fini(&tiny);
	eg_arena_fini(&a);
}

/* What is kept is the first block, and no budget is won or lost by it. */
static void reset_keeps_the_first(void **state)
{
	struct eg_arena a, fresh;
	char *first;

	eg_arena_init(&a, 32768);
	eg_arena_reset(&a);
	assert_null(a.blocks);
	first = eg_arena_alloc(&a, 10);
	assert_non_null(eg_arena_alloc(&a, 4000));
	assert_non_null(eg_arena_alloc(&a, 9000));
	assert_non_null(eg_arena_alloc(&a, 3000));
	eg_arena_reset(&a);
	assert_int_equal(a.used_bytes, 4096);
	for (int round = 0; round < 3; round++) {
		eg_arena_init(&fresh, 32768);
		assert_ptr_equal(eg_arena_alloc(&a, 10), first);
		assert_non_null(eg_arena_alloc(&fresh, 10));
		for (size_t n = 100; n < 32768; n += 700) {
			bool got = eg_arena_alloc(&a, n), wanted = eg_arena_alloc(&fresh, n);

			assert_int_equal(got, wanted);
			assert_int_equal(a.used_bytes, fresh.used_bytes);
		}
		eg_arena_fini(&fresh);
		eg_arena_reset(&a);
	}
	eg_arena_fini(&a);
	assert_non_null(eg_arena_alloc(&a, 9000)); /* no ordinary block */
	assert_non_null(eg_arena_alloc(&a, 10));
	eg_arena_reset(&a);
	assert_int_equal(a.used_bytes, 0);
	assert_non_null(eg_arena_alloc(&a, 10));
	eg_arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_before_the_first),
		cmocka_unit_test(aligned_and_apart),
		cmocka_unit_test(zeroed),
		cmocka_unit_test(budget_is_kept),
		cmocka_unit_test(absurd_sizes),
		cmocka_unit_test(copies),
		cmocka_unit_test(reset_keeps_the_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
