/* SPDX-License-Identifier: Apache-2.0 */
/* A set as large as it may be: what it takes to find a target's provider. In a supervisor that
 * compares for seconds nobody says that the agent lives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "fixture.h"

#define PROVIDERS 4000
#define ROUTES	  2000
#define TARGETS	  8

static size_t compared;

/* libc's, for this program: it counts. */
int strcmp(const char *a, const char *b)
{
	compared++;
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (unsigned char)*a - (unsigned char)*b;
}

/* Not in the order of their names, and route r's target t is the provider that this says. */
static int wanted(int r, int t)
{
	return (r * TARGETS + t) * 7 % PROVIDERS;
}

static void targets_find_their_providers(void **state)
{
	struct eg_buf text;
	struct eg_policy_set *set;
	const struct eg_policy *p;
	size_t n;

	eg_buf_init(&text, 8u << 20);
	assert_int_equal(eg_buf_printf(&text, "{\"version\":\"egret/v1\",\"providers\":{"), 0);
	for (int i = 0; i < PROVIDERS; i++)
		assert_int_equal(eg_buf_printf(&text,
					       "%s\"p%d\":{\"kind\":\"openai\",\"endpoint\":"
					       "\"https://llm.example.org/v1\"}",
					       i ? "," : "", i * 3 % PROVIDERS),
				 0);
	assert_int_equal(eg_buf_printf(&text, "},\"policies\":[{\"name\":\"p\",\"pods\":{},"
					      "\"routes\":["),
			 0);
	for (int r = 0; r < ROUTES; r++) {
		assert_int_equal(eg_buf_printf(&text,
					       "%s{\"name\":\"r%d\",\"match\":{\"hosts\":"
					       "[\"h%d.example.org\"]},\"targets\":[",
					       r ? "," : "", r, r),
				 0);
		for (int t = 0; t < TARGETS; t++)
			assert_int_equal(eg_buf_printf(&text, "%s{\"provider\":\"p%d\"}",
						       t ? "," : "", wanted(r, t)),
					 0);
		assert_int_equal(eg_buf_printf(&text, "]}"), 0);
	}
	assert_int_equal(eg_buf_append(&text, "]}]}", 5), 0);
	compared = 0;
	set = must_load(eg_buf_data(&text));
	/* One by one it were more than thirty million. */
	assert_in_range(compared, PROVIDERS, 2000000);
	p = eg_policies(set, &n);
	assert_int_equal(p->route_count, ROUTES);
	for (int r = 0; r < ROUTES; r++)
		for (int t = 0; t < TARGETS; t++) {
			char name[16];

			snprintf(name, sizeof(name), "p%d", wanted(r, t));
			assert_string_equal(p->routes[r].targets[t].provider->name, name);
		}
	eg_policy_set_unref(set);
	eg_buf_fini(&text);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(targets_find_their_providers)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
