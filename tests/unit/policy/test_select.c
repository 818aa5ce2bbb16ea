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
	struct eg_selected one = eg_policy_select(s, &pod);

	assert_int_equal(one.what, one.policy ? EG_SELECTION_POLICY : EG_SELECTION_NONE);
	return one.policy ? one.policy->name : "";
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

/* ---- what is not known, against all that it may be ---- */

/* Selectors over two namespaces, one label of a namespace, one label, three accounts: all there
 * are, by number. */
#define SELECTORS (2 * 2 * 3 * 3)

static const char *write_selector(unsigned int n, char out[200])
{
	static const char *const namespaces[] = {"", ",\"namespaces\":[\"n1\"]"};
	static const char *const of_namespace[] = {"", ",\"namespaceLabels\":{\"t\":\"x\"}"};
	static const char *const labels[] = {"", ",\"labels\":{\"a\":\"x\"}",
					     ",\"labels\":{\"a\":\"y\"}"};
	static const char *const accounts[] = {"", ",\"serviceAccounts\":[\"s1\"]",
					       ",\"serviceAccounts\":[\"s1\",\"s2\"]"};
	char all[200];

	snprintf(all, sizeof(all), "%s%s%s%s", namespaces[n % 2], of_namespace[n / 2 % 2],
		 labels[n / 4 % 3], accounts[n / 12]);
	snprintf(out, 200, "%s", *all ? all + 1 : "");
	return out;
}

/* A pod by number: what can be told of it. */
#define IDENTITIES (2 * 2 * 3 * 3)

static struct eg_identity identity(unsigned int n)
{
	static const struct eg_label values[] = {{"a", "x"}, {"a", "y"}}, team = {"t", "x"};
	static const char *const accounts[] = {"s1", "s2", "s3"};
	unsigned int label = n / 4 % 3;

	return (struct eg_identity){.namespace_name = n % 2 ? "n1" : "n2",
				    .name = "a",
				    .uid = "u",
				    .namespace_labels = &team,
				    .namespace_label_count = n / 2 % 2,
				    .labels = &values[label == 2],
				    .label_count = label != 0,
				    .service_account = accounts[n / 12]};
}

/* Whether both are the same pod, but for what is not known. */
static bool may_be(unsigned int a, unsigned int b, unsigned int unknown)
{
	return a % 2 == b % 2 && (unknown & 1 || a / 2 % 2 == b / 2 % 2) &&
	       (unknown & 2 || a / 4 % 3 == b / 4 % 3) && (unknown & 4 || a / 12 == b / 12);
}

/* If the answer is the same whatever the unknown is, it is the answer; else it is "perhaps". */
static void against_all(const struct eg_policy_set *s, unsigned int n, unsigned int unknown)
{
	struct eg_identity pod = identity(n);
	struct eg_selected one, first = {.what = EG_SELECTION_PERHAPS};
	bool agree = true, enforced = false, named = false;

	pod.namespace_labels_unknown = unknown & 1;
	pod.labels_unknown = unknown & 2;
	pod.service_account_unknown = unknown & 4;
	one = eg_policy_select(s, &pod);
	for (unsigned int k = 0; k < IDENTITIES; k++) {
		struct eg_identity whole = identity(k);
		struct eg_selected may;

		if (!may_be(n, k, unknown))
			continue;
		may = eg_policy_select(s, &whole);
		assert_int_not_equal(may.what, EG_SELECTION_PERHAPS);
		if (first.what == EG_SELECTION_PERHAPS)
			first = may;
		agree &= may.policy == first.policy;
		enforced |= may.policy && may.policy->mode == EG_MODE_ENFORCE;
		named |= may.policy == one.policy;
	}
	assert_int_equal(one.what, agree ? first.what : EG_SELECTION_PERHAPS);
	assert_true(named); /* among them is the one that is said */
	/* One that is never reached, behind a wider one, may count as enforced. */
	assert_true(one.may_enforce || !enforced);
	assert_true(one.may_enforce == enforced || one.what == EG_SELECTION_PERHAPS);
}

static void perhaps_is_exact(void **state)
{
	static const char *const modes[] = {"enforce", "shadow"};
	unsigned int seed = 1;

	/* All pairs, and of the triples some thousands. */
	for (unsigned int i = 0; i < SELECTORS * SELECTORS + 3000; i++) {
		unsigned int count = i < SELECTORS * SELECTORS ? 2 : 3;
		unsigned int which[3] = {i % SELECTORS, i / SELECTORS};
		char list[1024] = "", one[200];
		struct eg_policy_set *s;
		size_t n = 0;

		for (unsigned int k = 0; k < count; k++) {
			seed = seed * 1103515245u + 12345u;
			if (count == 3)
				which[k] = (seed >> 16) % SELECTORS;
			n += (size_t)snprintf(list + n, sizeof(list) - n,
					      "%s{\"name\":\"p%u\",\"mode\":\"%s\",\"routes\":[],"
					      "\"pods\":{%s}}",
					      k ? "," : "", k, modes[seed >> 30 & 1],
					      write_selector(which[k], one));
		}
		s = load_policies(list);
		for (unsigned int pod = 0; pod < IDENTITIES; pod++)
			for (unsigned int unknown = 0; unknown < 8; unknown++)
				against_all(s, pod, unknown);
		eg_policy_set_unref(s);
	}
}

/* By hand, what the enumeration shows by number. */
static void perhaps(void **state)
{
	static const char list[] = P("team", "\"namespaceLabels\":{\"team\":\"x\"}") "," P(
		"bots",
		"\"namespaces\":[\"shop\"],\"labels\":{\"app\":\"bot\"}") "," P("shop",
										"\"namespaces\":["
										"\"shop\"]");
	struct eg_policy_set *s = load_policies(list);
	struct eg_label label = {"app", "web"};
	struct eg_identity pod = {.namespace_name = "shop",
				  .name = "a",
				  .uid = "u",
				  .service_account = "",
				  .labels = &label,
				  .label_count = 1,
				  .labels_unknown = true};
	struct eg_selected one = eg_policy_select(s, &pod);

	/* A more specific one may be its; which, is said. What stands in the struct is not
	 * believed. */
	assert_int_equal(one.what, EG_SELECTION_PERHAPS);
	assert_string_equal(one.policy->name, "bots");
	assert_true(one.may_enforce);
	/* No policy of this namespace asks for a pod's labels; that it has none itself is known. */
	pod.namespace_name = "web";
	assert_int_equal(eg_policy_select(s, &pod).what, EG_SELECTION_NONE);
	pod.namespace_labels_unknown = true;
	one = eg_policy_select(s, &pod);
	assert_int_equal(one.what, EG_SELECTION_PERHAPS);
	assert_string_equal(one.policy->name, "team");
	/* The first by name is sure: what comes behind it is not asked. */
	pod.namespace_name = "shop";
	pod.labels_unknown = false;
	one = eg_policy_select(s, &pod);
	assert_int_equal(one.what, EG_SELECTION_POLICY);
	assert_string_equal(one.policy->name, "shop");
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
		cmocka_unit_test(perhaps_is_exact),
		cmocka_unit_test(perhaps),
		cmocka_unit_test(attributes),
		cmocka_unit_test(references),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
