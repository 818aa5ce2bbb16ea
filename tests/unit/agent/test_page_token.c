/* SPDX-License-Identifier: Apache-2.0 */
/* --metrics-token: which files are one, and what opens the page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/page_token.h"

#define TOKEN "s3cret-of-the-page"

static int read_text(const char *text, uint8_t digest[EG_PAGE_DIGEST], struct eg_error *e)
{
	char path[] = "/tmp/egret-token-XXXXXX";
	int fd = mkstemp(path), r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	*e = (struct eg_error){""};
	r = eg_page_token_read(path, digest, e);
	unlink(path);
	return r;
}

static bool opens(const uint8_t digest[EG_PAGE_DIGEST], const char *authorization)
{
	return eg_page_token_opens(digest, eg_str_from(authorization));
}

static void test_files(void **state)
{
	static const char *const refused[] = {"",
					      "\n",
					      "too-short",
					      "two words of one token",
					      "s3cret-of-the-p\xc3\xa4ge",
					      TOKEN "\n" TOKEN "\n"};
	uint8_t digest[EG_PAGE_DIGEST];
	struct eg_error e;

	assert_int_equal(read_text(" " TOKEN "\r\n", digest, &e), 0);
	assert_true(opens(digest, "Bearer " TOKEN));
	for (size_t i = 0; i < EG_ARRAY_SIZE(refused); i++) {
		assert_int_equal(read_text(refused[i], digest, &e), -EINVAL);
		assert_non_null(strstr(e.text, "expected a token of 16"));
		assert_null(strstr(e.text, "s3cret"));
	}
	assert_int_equal(eg_page_token_read("/nonexistent/token", digest, &e), -ENOENT);
}

static void test_opens(void **state)
{
	static const char *const shut[] = {"",
					   "Bearer",
					   "Bearer ",
					   TOKEN,
					   "Basic " TOKEN,
					   "Bearer " TOKEN "x",
					   "Bearer s3cret-of-the-pag",
					   "Bearer  " TOKEN};
	uint8_t digest[EG_PAGE_DIGEST];
	struct eg_error e;

	assert_int_equal(read_text(TOKEN, digest, &e), 0);
	assert_true(opens(digest, "bearer " TOKEN));
	for (size_t i = 0; i < EG_ARRAY_SIZE(shut); i++)
		assert_false(opens(digest, shut[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_files),
					   cmocka_unit_test(test_opens)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
