/* SPDX-License-Identifier: Apache-2.0 */
/* A key whose file is not fit for a moment stays, for a while; then it is gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/keys.h"

static enum eg_key_word round_of(struct eg_keys *k, const char *file, bool fit, uint64_t now)
{
	enum eg_key_word w;

	eg_keys_begin(k);
	w = eg_keys_judge(k, file, fit ? 0 : -ENOENT, now);
	eg_keys_end(k);
	return w;
}

static void test_kept_and_then_gone(void **state)
{
	struct eg_keys k = {NULL};

	assert_int_equal(round_of(&k, "a/key", false, 0), EG_KEY_GONE); /* there never was one */
	assert_false(eg_keys_have(&k, "a/key"));
	assert_int_equal(round_of(&k, "a/key", true, 1000), EG_KEY_SEND);
	assert_int_equal(eg_keys_due(&k, 1000), UINT64_MAX);
	assert_true(eg_keys_have(&k, "a/key"));
	assert_int_equal(round_of(&k, "a/key", false, 2000), EG_KEY_KEEP_NEW);
	assert_int_equal(eg_keys_due(&k, 2500), EG_KEY_GRACE_MS - 500);
	/* Asking again does not begin the grace anew. */
	assert_int_equal(round_of(&k, "a/key", false, 2000 + EG_KEY_GRACE_MS - 1), EG_KEY_KEEP);
	assert_int_equal(eg_keys_due(&k, 2000 + 2 * EG_KEY_GRACE_MS), 0);
	assert_int_equal(round_of(&k, "a/key", false, 2000 + EG_KEY_GRACE_MS), EG_KEY_GONE);
	assert_int_equal(eg_keys_due(&k, 2000 + EG_KEY_GRACE_MS), UINT64_MAX);
	assert_int_equal(round_of(&k, "a/key", false, 2001 + EG_KEY_GRACE_MS), EG_KEY_GONE);
	assert_int_equal(round_of(&k, "a/key", true, 90000), EG_KEY_SEND);
	eg_keys_forget(&k);
	(void)state;
}

static void test_fit_again(void **state)
{
	struct eg_keys k = {NULL};

	assert_int_equal(round_of(&k, "a/key", true, 0), EG_KEY_SEND);
	assert_int_equal(round_of(&k, "a/key", false, 100), EG_KEY_KEEP_NEW);
	assert_int_equal(round_of(&k, "a/key", true, 200), EG_KEY_SEND_BACK);
	assert_int_equal(round_of(&k, "a/key", true, 300), EG_KEY_SEND);
	/* Its own grace, not what was left of the last one. */
	assert_int_equal(round_of(&k, "a/key", false, EG_KEY_GRACE_MS), EG_KEY_KEEP_NEW);
	assert_int_equal(round_of(&k, "a/key", false, 2 * EG_KEY_GRACE_MS - 1), EG_KEY_KEEP);
	eg_keys_forget(&k);
	(void)state;
}

/* Nothing is kept of a file that the policy did not name meanwhile, or for another gateway. */
static void test_forgotten(void **state)
{
	struct eg_keys k = {NULL};

	eg_keys_begin(&k);
	assert_int_equal(eg_keys_judge(&k, "a", 0, 0), EG_KEY_SEND);
	assert_int_equal(eg_keys_judge(&k, "b", 0, 0), EG_KEY_SEND);
	assert_int_equal(eg_keys_judge(&k, "a", 0, 0), EG_KEY_SEND); /* two credentials */
	eg_keys_end(&k);
	assert_int_equal(round_of(&k, "a", false, 1), EG_KEY_KEEP_NEW);
	assert_int_equal(round_of(&k, "b", false, 2), EG_KEY_GONE);
	assert_int_equal(round_of(&k, "a", true, 3), EG_KEY_SEND);
	eg_keys_forget(&k);
	assert_int_equal(round_of(&k, "a", false, 4), EG_KEY_GONE);
	eg_keys_forget(&k);
	(void)state;
}

/* A file that is missing, then has something else: both are said, each once. */
static void test_another_reason(void **state)
{
	static const struct {
		int why;
		enum eg_key_word word;
	} rounds[] = {
		{-ENOENT, EG_KEY_KEEP_NEW},   {-ENOENT, EG_KEY_KEEP}, {-EINVAL, EG_KEY_KEEP_OTHER},
		{-EISDIR, EG_KEY_KEEP_OTHER}, {-EISDIR, EG_KEY_KEEP}, {0, EG_KEY_SEND_BACK},
	};
	struct eg_keys k = {NULL};

	assert_int_equal(round_of(&k, "a/key", true, 0), EG_KEY_SEND);
	for (size_t i = 0; i < EG_ARRAY_SIZE(rounds); i++) {
		eg_keys_begin(&k);
		assert_int_equal(eg_keys_judge(&k, "a/key", rounds[i].why, i), rounds[i].word);
		eg_keys_end(&k);
	}
	eg_keys_forget(&k);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept_and_then_gone),
		cmocka_unit_test(test_fit_again),
		cmocka_unit_test(test_forgotten),
		cmocka_unit_test(test_another_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
