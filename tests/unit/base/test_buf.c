/* SPDX-License-Identifier: Apache-2.0 */
#include "base_test.h"

#include "base/buf.h"

static void a_queue(void **state)
{
	struct eg_buf b;

	eg_buf_init(&b, 100);
	assert_str(eg_buf_str(&b), "");
	assert_int_equal(eg_buf_append(&b, "", 0), 0);
	assert_int_equal(eg_buf_append_str(&b, EG_STR("hello ")), 0);
	assert_int_equal(eg_buf_printf(&b, "%s %d", "world", 7), 0);
	assert_str(eg_buf_str(&b), "hello world 7");
	eg_buf_consume(&b, 6);
	assert_str(eg_buf_str(&b), "world 7");
	assert_ptr_equal(eg_buf_data(&b), eg_buf_str(&b).p);
	eg_buf_release(&b); /* not empty: nothing happens */
	assert_str(eg_buf_str(&b), "world 7");
	eg_buf_clear(&b);
	assert_int_equal(b.length, 0);
	assert_true(b.size > 0);
	eg_buf_release(&b);
	assert_int_equal(b.size, 0);
	eg_buf_fini(&b);
}

static void cap_is_hard(void **state)
{
	static const size_t caps[] = {0, 1, 10, 511, 512, 513, 1000, 5000};
	volatile size_t huge = SIZE_MAX; /* a compiler that knew would refuse it */

	for (size_t c = 0; c < EG_ARRAY_SIZE(caps); c++) {
		struct eg_buf b;
		char *filler = calloc(1, caps[c] + 2);
		size_t room;

		assert_non_null(filler);
		eg_buf_init(&b, caps[c]);
		assert_int_equal(eg_buf_append(&b, filler, caps[c] + 1), -ENOBUFS);
		assert_int_equal(b.length, 0);
		assert_int_equal(eg_buf_append(&b, filler, huge), -ENOBUFS);
		assert_int_equal(eg_buf_append(&b, filler, caps[c]), 0);
		assert_int_equal(b.length, caps[c]);
		assert_int_equal(eg_buf_append(&b, "x", 1), -ENOBUFS);
		assert_int_equal(eg_buf_printf(&b, "x"), -ENOBUFS);
		errno = 0;
		assert_null(eg_buf_reserve(&b, 1, &room));
		assert_int_equal(errno, ENOBUFS);
		assert_int_equal(b.length, caps[c]);
		if (caps[c] > 1) {
			eg_buf_consume(&b, 1);
			assert_int_equal(eg_buf_append(&b, "x", 1), 0);
			assert_int_equal(eg_buf_append(&b, "x", 1), -ENOBUFS);
			assert_true(b.size <= caps[c]);
		}
		eg_buf_fini(&b);
		free(filler);
	}
}

static void printf_to_the_brim(void **state)
{
	struct eg_buf b;

	eg_buf_init(&b, 5);
	assert_int_equal(eg_buf_printf(&b, "%d", 123456), -ENOBUFS);
	assert_int_equal(eg_buf_printf(&b, "%d", 12345), 0); /* its NUL is not counted */
	assert_str(eg_buf_str(&b), "12345");
	assert_int_equal(eg_buf_printf(&b, "%s", ""), 0);
	eg_buf_fini(&b);
}

static void reserve_and_commit(void **state)
{
	struct eg_buf b;
	size_t room, total = 0;

	eg_buf_init(&b, 10000);
	while (total < 10000) {
		char *p = eg_buf_reserve(&b, 700, &room);

		assert_non_null(p);
		assert_in_range(room, 1, 10000 - total);
		memset(p, 'a', room);
		room = EG_MIN(room, (size_t)333);
		eg_buf_commit(&b, room);
		total += room;
	}
	assert_int_equal(b.length, 10000);
	for (size_t i = 0; i < b.length; i++)
		assert_int_equal(eg_buf_data(&b)[i], 'a');
	eg_buf_consume(&b, 10000);
	assert_int_equal(b.head, 0);
	assert_non_null(eg_buf_reserve(&b, 0, &room)); /* at least one byte */
	assert_true(room >= 1);
	eg_buf_fini(&b);
}

/* Any mix of operations against a plain array. */
static void model(void **state)
{
	static unsigned char expected[200000];
	size_t from = 0, to = 0;
	uint64_t seed = 99;
	struct eg_buf b;

	eg_buf_init(&b, 3000);
	while (to + 1000 < sizeof(expected)) {
		size_t n;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		n = (seed >> 33) % 900;
		if (seed >> 63) {
			int r;

			for (size_t i = 0; i < n; i++)
				expected[to + i] = (unsigned char)(to + i);
			r = eg_buf_append(&b, expected + to, n);
			assert_int_equal(r, to - from + n > 3000 ? -ENOBUFS : 0);
			to += r ? 0 : n;
		} else {
			n = EG_MIN(n, b.length);
			eg_buf_consume(&b, n);
			from += n;
		}
		assert_int_equal(b.length, to - from);
		assert_true(b.head + b.length <= b.size && b.size <= 3000);
		if (b.length)
			assert_memory_equal(eg_buf_data(&b), expected + from, b.length);
	}
	eg_buf_fini(&b);
}

/* A full buffer that gives and takes a little must not copy itself each time. */
static void steady_state_is_cheap(void **state)
{
	struct eg_buf b;
	char chunk[64] = "";
	size_t moves = 0;

	eg_buf_init(&b, 1 << 20);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(eg_buf_append(&b, chunk, sizeof(chunk)), 0);
	for (size_t i = 0; i < 100000; i++) {
		size_t head = b.head;
		char *p = b.p;

		eg_buf_consume(&b, sizeof(chunk));
		assert_int_equal(eg_buf_append(&b, chunk, sizeof(chunk)), 0);
		moves += b.p != p || b.head < head;
	}
	assert_in_range(moves, 0, 1000);
	eg_buf_fini(&b);
}

static void secrets_are_wiped(void **state)
{
	struct eg_buf b;
	char *p;

	eg_buf_init_secret(&b, 1000);
	assert_int_equal(eg_buf_append_str(&b, EG_STR("planted-secret")), 0);
	p = eg_buf_data(&b);
	eg_buf_clear(&b); /* keeps the memory, so it can be looked at */
	for (size_t i = 0; i < sizeof("planted-secret") - 1; i++)
		assert_int_equal(p[i], 0);
	eg_buf_fini(&b);
	assert_true(b.secret);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_queue),
		cmocka_unit_test(cap_is_hard),
		cmocka_unit_test(printf_to_the_brim),
		cmocka_unit_test(reserve_and_commit),
		cmocka_unit_test(model),
		cmocka_unit_test(steady_state_is_cheap),
		cmocka_unit_test(secrets_are_wiped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
