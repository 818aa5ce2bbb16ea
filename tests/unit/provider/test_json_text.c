/* SPDX-License-Identifier: Apache-2.0 */
/* Small steps over JSON text (provider/json.c), against the plain way to take them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "provider/vendor.h"

static size_t token_length(const char *s, size_t n)
{
	size_t i = 1;

	while (i < n && s[i] != '"')
		i += s[i] == '\\' ? 2 : 1;
	return i + 1 < n ? i + 1 : n;
}

/* Every text of up to nine bytes of a quote, a backslash and a letter, in memory that ends with it.
 */
static void string_tokens(void **state)
{
	static const char bytes[] = "\"\\a";

	for (size_t n = 1; n <= 9; n++) {
		size_t all = 1;
		char *text = malloc(n);

		for (size_t i = 1; i < n; i++)
			all *= 3;
		text[0] = '"';
		for (size_t code = 0; code < all; code++) {
			for (size_t i = 1, rest = code; i < n; i++, rest /= 3)
				text[i] = bytes[rest % 3];
			if (eg_json_token_length((struct eg_str){text, n}) != token_length(text, n))
				fail_msg("%.*s", (int)n, text);
		}
		free(text);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(string_tokens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
