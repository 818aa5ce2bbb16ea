/* SPDX-License-Identifier: Apache-2.0 */
/* Which policy governs a pod: the most specific one, ties by name, exactly one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fixture.h"

#define P(name, pods) "{\"name\":\"" name "\",\"routes\":[],\"pods\":{" pods "}}"

static struct eg_policy_set *load_policies(const char *list)
{
	char text[8192];

	snprintf(text, sizeof(text), "{\"version\":\"egret/v1\",\"policies\":[%s]}", list);
	return must_load(text);
}

static const char *selected(const struct eg_policy_set *s, const char *ns, const char *account,
			    const char *app)
{
	struct eg_label labels[] = {{"other", "x"}, {"app", app ? app : ""}};
	struct eg_identity pod = {.namespace_name = ns,
				  .name = "a",
				  .uid = "u",
				  .service_account = account,
				  .labels = labels,
				  .label_count = app ? 2 : 1};
	const struct eg_policy *p = eg_policy_select(s, &pod);

	return p ? p->name : "";
}

static void the_most_specific_wins(void **state)
{
	struct eg_policy_set *s = load_policies(
		P("everything", "") "," P("by-label", "\"labels\":{\"app\":\"bot\"}") "," P(
			"by-namespace",
			"\"namespaces\":[\"shop\",\"web\"]") "," P("by-both",
								   "\"namespaces\":["
								   "\"shop\"],"
								   "\"labels\":{\"app\":"
								   "\"bot\"}") "," P("by"
										     "-a"
										     "cc"
										     "ou"
										     "n"
										     "t",
										     "\""
										     "na"
										     "me"
										     "sp"
										     "ac"
										     "es"
										     "\""
										     ":["
										     "\""
										     "we"
										     "b"
										     "\""
										     "],"
										     "\""
										     "se"
										     "rv"
										     "ic"
										     "eA"
										     "cc"
										     "ou"
										     "nt"
										     "s"
										     "\""
										     ":["
										     "\""
										     "ru"
										     "nn"
										     "er"
										     "\""
										     "]"));

	assert_string_equal(selected(s, "other", "", NULL), "everything");
	assert_string_equal(selected(s, "other", "", "bot"), "by-label");
	assert_string_equal(selected(s, "shop", "", NULL), "by-namespace");
	assert_string_equal(selected(s, "shop", "", "bot"), "by-both");
	assert_string_equal(selected(s, "shop", "", "Bot"), "by-namespace");
	assert_string_equal(selected(s, "web", "", "bot"), "by-namespace");
	assert_string_equal(selected(s, "web", "runner", "bot"), "by-account");
	assert_string_equal(selected(s, "shop", "runner", NULL), "by-namespace");
	assert_string_equal(selected(s, "sho", "", NULL), "everything");
	assert_string_equal(selected(s, "", "", NULL), "everything");
	eg_policy_set_unref(s);
}

static void what_nothing_selects(void **state)
{
	struct eg_policy_set *s = load_policies(
		P("a", "\"namespaces\":[\"shop\"],\"labels\":{\"app\":\"bot\",\"other\":\"x\"}"));

	assert_string_equal(selected(s, "shop", "", "bot"), "a");
	assert_string_equal(selected(s, "shop", "", NULL), "");
	assert_string_equal(selected(s, "web", "", "bot"), "");
	eg_policy_set_unref(s);
	s = load_policies("");
	assert_string_equal(selected(s, "shop", "", "bot"), "");
	eg_policy_set_unref(s);
}

/* Whatever the order in the file: by name. */
static void ties_go_by_name(void **state)
{
	struct eg_policy_set *s = load_policies(P("b", "\"namespaces\":[\"shop\"]") "," P(
		"a", "\"namespaces\":[\"shop\",\"web\"]") "," P("c", "\"namespaces\":[\"web\"]"));

	assert_string_equal(selected(s, "shop", "", NULL), "a");
	assert_string_equal(selected(s, "web", "", NULL), "a");
	eg_policy_set_unref(s);
}

static void attributes(void **state)
{
	struct eg_policy_set *s = load_policies(
		"{\"name\":\"a\",\"pods\":{},\"routes\":[]},"
		"{\"name\":\"b\",\"pods\":{},\"routes\":[],\"mode\":\"shadow\",\"fail\":\"open\","
		"\"otherwise\":\"pass\",\"capture\":\"all_tls\"},"
		"{\"name\":\"c\",\"pods\":{},\"routes\":[],\"mode\":\"shadow\",\"shadow\":\"full\","
		"\"capture\":\"strict\"}");
	size_t n;
	const struct eg_policy *p = eg_policies(s, &n);

	assert_int_equal(n, 3);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(p[i].id, i + 1);
	/* What is not said is the careful choice. */
	assert_int_equal(p[0].mode, EG_MODE_ENFORCE);
	assert_false(p[0].fail_open || p[0].otherwise_pass || p[0].capture_all_tls || p[0].strict);
	assert_int_equal(p[1].mode, EG_MODE_SHADOW_SNI);
	assert_true(p[1].fail_open && p[1].otherwise_pass && p[1].capture_all_tls);
	assert_false(p[1].strict);
	assert_int_equal(p[2].mode, EG_MODE_SHADOW_FULL);
	assert_true(p[2].strict && !p[2].capture_all_tls);
	eg_policy_set_unref(s);
}

static void references(void **state)
{
	struct eg_policy_set *s = load_policies(P("a", ""));

	assert_ptr_equal(eg_policy_set_ref(s), s);
	eg_policy_set_unref(s);
	assert_string_equal(selected(s, "x", "", NULL), "a");
	eg_policy_set_unref(s);
	eg_policy_set_unref(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_most_specific_wins),
		cmocka_unit_test(what_nothing_selects),
		cmocka_unit_test(ties_go_by_name),
		cmocka_unit_test(attributes),
		cmocka_unit_test(references),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
