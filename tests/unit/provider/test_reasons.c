/* SPDX-License-Identifier: Apache-2.0 */
/* docs/reasons.md is what tools/gen-reasons writes, and labels are fit to be metric labels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/base.h"

static void documentation_is_current(void **state)
{
	assert_int_equal(system("tools/gen-reasons --check"), 0);
}

static void labels(void **state)
{
	size_t known = 0;

	for (int r = 0; r < EG_REASON_MAX; r++) {
		const char *label = eg_reason_label((enum eg_reason)r);

		if (!strcmp(label, "unknown"))
			continue;
		known++;
		assert_int_equal(strspn(label, "abcdefghijklmnopqrstuvwxyz0123456789_"),
				 strlen(label));
		assert_true(
			eg_str_ends(eg_str_from(eg_reason_text((enum eg_reason)r)), EG_STR(".")));
		for (int other = 0; other < r; other++)
			assert_string_not_equal(label, eg_reason_label((enum eg_reason)other));
	}
	assert_true(known >= 75);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(documentation_is_current),
		cmocka_unit_test(labels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
