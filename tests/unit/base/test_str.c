/* SPDX-License-Identifier: Apache-2.0 */
/* Strings with a length, lists, descriptors, reasons. */
#include "base_test.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"

#define NONE ((struct eg_str){NULL, 0})

static void comparing(void **state)
{
	assert_true(eg_str_eq(EG_STR("a\0b"), EG_STR("a\0b")));
	assert_false(eg_str_eq(EG_STR("a\0b"), EG_STR("a\0c")));
	assert_false(eg_str_eq(EG_STR("a"), EG_STR("A")));
	assert_false(eg_str_eq(EG_STR("a"), EG_STR("ab")));
	assert_true(eg_str_eq(NONE, EG_STR("")));
	assert_true(eg_str_ieq(EG_STR("Content-LENGTH"), EG_STR("content-length")));
	assert_false(eg_str_ieq(EG_STR("@["), EG_STR("`{"))); /* only letters have two cases */
	assert_false(eg_str_ieq(EG_STR("\xc4"), EG_STR("\xe4")));
	assert_true(eg_str_ieq(NONE, NONE));
	assert_true(eg_str_starts(EG_STR("abc"), EG_STR("ab")));
	assert_true(eg_str_starts(EG_STR("abc"), NONE));
	assert_false(eg_str_starts(EG_STR("a"), EG_STR("ab")));
	assert_true(eg_str_istarts(EG_STR("ABC"), EG_STR("ab")));
	assert_false(eg_str_istarts(EG_STR("ABC"), EG_STR("b")));
	assert_true(eg_str_ends(EG_STR("abc"), EG_STR("bc")));
	assert_true(eg_str_ends(EG_STR("abc"), EG_STR("abc")));
	assert_false(eg_str_ends(EG_STR("bc"), EG_STR("abc")));
	assert_true(eg_str_ends(NONE, NONE));
	assert_str(eg_str_from(NULL), "");
	assert_str(eg_str_from("x"), "x");
}

static void finding_and_trimming(void **state)
{
	assert_int_equal(eg_str_find(EG_STR("a:b:c"), ':'), 1);
	assert_int_equal(eg_str_find(EG_STR("abc"), ':'), -1);
	assert_int_equal(eg_str_find(NONE, ':'), -1);
	assert_str(eg_str_trim(EG_STR(" \t a b\t ")), "a b");
	assert_str(eg_str_trim(EG_STR(" \t ")), "");
	assert_str(eg_str_trim(EG_STR("\n a\r")), "\n a\r");
	assert_str(eg_str_trim(NONE), "");
}

static void numbers(void **state)
{
	uint64_t v = 5;

	assert_int_equal(eg_str_u64(EG_STR("0"), &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(eg_str_u64(EG_STR("18446744073709551615"), &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(eg_str_u64(EG_STR("18446744073709551616"), &v), -ERANGE);
	assert_int_equal(eg_str_u64(EG_STR("99999999999999999999"), &v), -ERANGE);
	assert_true(v == UINT64_MAX); /* untouched */
	static const char *const bad[] = {"",	"-1", "+1",  " 1", "1 ", "0x1",
					  "1a", "a",  "1_0", "/",  ":"};
	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++)
		assert_int_equal(eg_str_u64(eg_str_from(bad[i]), &v), -EINVAL);
	assert_int_equal(eg_str_u64(EG_STR("1\0"), &v), -EINVAL);
	assert_int_equal(eg_str_u64(EG_STR("00000000000000000000000000001"), &v), 0);
	assert_int_equal(v, 1);
}

static void globs(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool match;
	} rows[] = {
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"*", "abc", true},
		{"a*", "abc", true},
		{"*c", "abc", true},
		{"a*c", "ac", true},
		{"a*c", "abd", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"?", "", false},
		{"**a**", "bab", true},
		{"gpt-4*", "gpt-4o-mini", true},
		{"gpt-4*", "gpt-3.5", false},
		{"*a*b*c*", "xaxbxcx", true},
		{"*a*b*c*", "xaxcxbx", false},
		{"[a]", "a", false},
		{"[a]", "[a]", true},
		{"a\\*", "a*", false},
		{"A", "a", false},
		{"*ab", "aab", true},
		{"*aab", "aaab", true},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++)
		assert_int_equal(eg_glob(eg_str_from(rows[i].pattern), eg_str_from(rows[i].text)),
				 rows[i].match);
	assert_true(eg_glob(EG_STR("a?b"), EG_STR("a\0b")));
}

static void copying(void **state)
{
	char out[4];

	assert_int_equal(eg_str_copy(out, sizeof(out), EG_STR("ab")), 2);
	assert_string_equal(out, "ab");
	assert_int_equal(eg_str_copy(out, sizeof(out), EG_STR("abcdef")), 3);
	assert_string_equal(out, "abc");
	assert_int_equal(eg_str_copy(out, 1, EG_STR("abc")), 0);
	assert_string_equal(out, "");
	assert_int_equal(eg_str_copy(out, sizeof(out), NONE), 0);
}

static void lists(void **state)
{
	struct item {
		int value;
		struct eg_list link;
	} items[4] = {{.value = 0}, {.value = 1}, {.value = 2}, {.value = 3}};
	struct eg_list head, *it, *tmp;
	int sum = 0, order = 0;

	eg_list_init(&head);
	assert_true(eg_list_empty(&head));
	for (int i = 1; i < 4; i++)
		eg_list_append(&head, &items[i].link);
	eg_list_prepend(&head, &items[0].link);
	eg_list_for_each (it, &head)
		assert_int_equal(eg_container_of(it, struct item, link)->value, order++);
	assert_int_equal(order, 4);
	eg_list_remove(&items[1].link);
	eg_list_remove(&items[1].link); /* in no list: harmless */
	eg_list_for_each_safe (it, tmp, &head) {
		sum += eg_container_of(it, struct item, link)->value;
		eg_list_remove(it);
	}
	assert_int_equal(sum, 5);
	assert_true(eg_list_empty(&head));
}

static void descriptors(void **state)
{
	int taken, fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	{
		EG_CLEANUP_FD int owned = fd;

		taken = eg_fd_take(&owned);
		assert_int_equal(owned, -1);
	}
	assert_int_equal(fcntl(taken, F_GETFD), FD_CLOEXEC); /* lives on */
	{
		EG_CLEANUP_FD int owned = taken;

		errno = 77;
		(void)owned;
	}
	assert_int_equal(errno, 77); /* kept */
	assert_int_equal(fcntl(taken, F_GETFD), -1);
	assert_int_equal(errno, EBADF);
	fd = -1;
	eg_fd_close(&fd);
	assert_int_equal(fd, -1);
}

static void errors(void **state)
{
	struct eg_error e;
	char longer[1000];

	assert_int_equal(eg_error_set(&e, -EINVAL, "%s: %d", "a.json", 3), -EINVAL);
	assert_string_equal(e.text, "a.json: 3");
	assert_int_equal(eg_error_prefix(&e, -EIO, "policy %s", "x"), -EIO);
	assert_string_equal(e.text, "policy x: a.json: 3");
	assert_int_equal(eg_error_set(NULL, -EIO, "x"), -EIO);
	assert_int_equal(eg_error_prefix(NULL, -EIO, "x"), -EIO);
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	eg_error_set(&e, 0, "%s", longer);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	for (size_t n = sizeof(e.text) - 5; n < sizeof(e.text) + 5; n++) {
		longer[n] = '\0';
		eg_error_set(&e, 0, "tail");
		eg_error_prefix(&e, 0, "%s", longer);
		assert_true(strlen(e.text) < sizeof(e.text));
		longer[n] = 'a';
	}
}

static void reasons(void **state)
{
	/* STYLE: 0 is a denial; numbers are labels of metrics, so no two share one */
	assert_int_equal(EG_REASON_DENY, 0);
	assert_string_equal(eg_reason_label(EG_REASON_SMUGGLING), "request_smuggling");
	assert_int_equal(eg_reason_status(EG_REASON_SMUGGLING), 400);
	assert_string_equal(eg_reason_label((enum eg_reason)9999), "unknown");
	assert_string_equal(eg_reason_label((enum eg_reason) - 1), "unknown");
	assert_string_equal(eg_reason_label((enum eg_reason)29), "unknown"); /* a hole */
	for (int i = 0; i < EG_REASON_MAX; i++) {
		assert_non_null(eg_reason_text((enum eg_reason)i));
		for (int j = 0; j < i; j++)
			if (strcmp(eg_reason_label((enum eg_reason)i), "unknown") != 0)
				assert_string_not_equal(eg_reason_label((enum eg_reason)i),
							eg_reason_label((enum eg_reason)j));
	}
}

static void clocks(void **state)
{
	uint64_t a = eg_now_ns(), b = eg_now_ms();

	assert_true(eg_now_ns() >= a && eg_now_ms() >= b);
	assert_true(b >= a / 1000000 && b - a / 1000000 < 60000); /* one clock, two units */
	assert_true(eg_wall_ms() > 1600000000000u);
}

static void decimals(void **state)
{
	uint64_t v = 0;
	char expected[32], got[EG_DECIMAL_MAX + 1];

	/* Each number of digits, and both sides of each step. */
	for (int i = 0; i < 64; i++) {
		for (uint64_t near = v ? v - 1 : 0; near <= v + 1 && near >= v - (v > 0); near++) {
			snprintf(expected, sizeof(expected), "%llu", (unsigned long long)near);
			got[eg_decimal(got, near)] = '\0';
			assert_string_equal(got, expected);
		}
		v = v * 2 + 1 + (uint64_t)i % 7;
	}
	got[eg_decimal(got, UINT64_MAX)] = '\0';
	assert_string_equal(got, "18446744073709551615");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comparing),   cmocka_unit_test(finding_and_trimming),
		cmocka_unit_test(numbers),     cmocka_unit_test(globs),
		cmocka_unit_test(copying),     cmocka_unit_test(lists),
		cmocka_unit_test(descriptors), cmocka_unit_test(errors),
		cmocka_unit_test(reasons),     cmocka_unit_test(clocks),
		cmocka_unit_test(decimals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
