/* SPDX-License-Identifier: Apache-2.0 */
/* base and loop when memory runs out at every place it can, and when reads come byte by byte. */
#include "fault.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/secret.h"
#include "loop/loop.h"

static int arena(void)
{
	struct eg_arena a;
	int failed = 0;

	eg_arena_init(&a, 0);
	for (size_t n = 1; n < 300000; n = n * 3) {
		size_t used = a.used_bytes;
		char *p = eg_arena_alloc(&a, n);

		if (p) {
			memset(p, 'x', n);
		} else {
			failed++;
			assert_int_equal(a.used_bytes, used);
		}
	}
	failed += !eg_arena_zalloc(&a, 70000);
	failed += !eg_arena_dup(&a, EG_STR("abc"));
	failed += !eg_arena_printf(&a, "%05000d", 1);
	eg_arena_fini(&a);
	return failed ? -ENOMEM : 0;
}

static void test_arena(void **state)
{
	fault_each(arena);
}

static int buffer(bool secret)
{
	struct eg_buf b;
	size_t room;
	int r, failed = 0;

	if (secret)
		eg_buf_init_secret(&b, 100000);
	else
		eg_buf_init(&b, 100000);
	for (int i = 0; i < 2000; i++) {
		struct eg_str before = eg_buf_str(&b);
		char last = before.n ? before.p[before.n - 1] : 0;

		if (i % 3)
			r = eg_buf_append(&b, "0123456789", 10);
		else
			r = eg_buf_printf(&b, "%010d", i);
		if (r) { /* as it was */
			assert_int_equal(r, -ENOMEM);
			assert_int_equal(b.length, before.n);
			if (before.n)
				assert_int_equal(eg_buf_data(&b)[b.length - 1], last);
			failed++;
		}
	}
	errno = 0;
	if (!eg_buf_reserve(&b, 70000, &room)) {
		assert_int_equal(errno, ENOMEM);
		failed++;
	}
	eg_buf_fini(&b);
	return failed ? -ENOMEM : 0;
}

static int plain_buffer(void)
{
	return buffer(false);
}

static int secret_buffer(void)
{
	return buffer(true);
}

static void test_buffer(void **state)
{
	fault_each(plain_buffer);
	fault_each(secret_buffer);
}

static int quoting(void)
{
	struct eg_buf b;
	int r;

	eg_buf_init(&b, 10000);
	r = eg_json_quote(&b, EG_STR("a\"\\\x01\xff\xc3\xa4 and so on"), 100);
	if (r)
		assert_int_equal(r, -ENOMEM);
	eg_buf_fini(&b);
	return r;
}

static int logging(void)
{
	errno = 33;
	eg_log(EG_LOG_ERROR, "an entry that may be lost, but nothing else with it");
	assert_int_equal(errno, 33);
	return 0;
}

static void test_log(void **state)
{
	int null = dup(STDERR_FILENO);

	fault_each(quoting);
	assert_non_null(freopen("/dev/null", "w", stderr));
	fault_each(logging);
	dup2(null, STDERR_FILENO);
	close(null);
}

static int secret_fd = -1;

static int secrets(void)
{
	struct eg_secret *a = eg_secret_create("planted", 7), *b = NULL;
	int r = eg_secret_read_fd(secret_fd, 100, &b);

	if (r) {
		assert_int_equal(r, -ENOMEM);
		assert_null(b);
	} else {
		assert_true(eg_secret_equal(b, "planted", 7));
	}
	eg_secret_unref(b);
	if (!a)
		return -ENOMEM;
	eg_secret_unref(a);
	return r;
}

static void test_secrets(void **state)
{
	secret_fd = memfd_create("secret", MFD_CLOEXEC);
	assert_int_equal(write(secret_fd, "planted\n", 8), 8);
	fault_each(secrets);
	/* a byte at a time, with interruptions, it is the same secret */
	for (size_t step = 1; step < 9; step++) {
		struct eg_secret *s = NULL;

		fault_trickle(step);
		assert_int_equal(eg_secret_read_fd(secret_fd, 100, &s), 0);
		fault_trickle(0);
		assert_true(eg_secret_equal(s, "planted", 7));
		eg_secret_unref(s);
	}
	close(secret_fd);
}

static void fire(struct eg_timer *t)
{
}

static int loops(void)
{
	static struct eg_timer timers[300];
	struct eg_loop *l = eg_loop_create();
	int failed = 0;

	if (!l)
		return -ENOMEM;
	for (size_t i = 0; i < EG_ARRAY_SIZE(timers); i++) {
		int r;

		eg_timer_init(&timers[i], fire);
		r = eg_timer_set(l, &timers[i], 0);
		assert_int_equal(eg_timer_armed(&timers[i]), !r);
		if (r) {
			assert_int_equal(r, -ENOMEM);
			failed++;
		}
	}
	assert_int_equal(eg_loop_turn(l, 0), 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(timers); i++)
		assert_false(eg_timer_armed(&timers[i]));
	eg_loop_destroy(l);
	return failed ? -ENOMEM : 0;
}

static void test_loop(void **state)
{
	fault_each(loops);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arena), cmocka_unit_test(test_buffer),
		cmocka_unit_test(test_log),   cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
