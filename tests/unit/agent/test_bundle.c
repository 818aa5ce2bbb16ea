/* SPDX-License-Identifier: Apache-2.0 */
/* Policy and pods as one run of bytes: what is put in comes out, and nothing else is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/bundle.h"

static const struct eg_label labels[] = {{"app", "assistant"}, {"tier", ""}};

static void fill(struct eg_buf *b)
{
	struct eg_bundle_pod pods[2] = {
		{.identity = {"shop", "a", "u-1", "sa", labels, 2},
		 .pod_id = 7,
		 .address_count = 1},
		{.identity = {.namespace_name = "n",
			      .name = "b",
			      .uid = "u-2",
			      .service_account = "",
			      .namespace_labels = labels,
			      .namespace_label_count = 1},
		 .pod_id = 9},
	};

	pods[0].address[0].word_be[3] = 0x01020304;
	eg_buf_init(b, EG_BUNDLE_BYTES);
	assert_int_equal(eg_bundle_put_pods(b, pods, 2), 0);
}

static void test_pods(void **state)
{
	struct eg_bundle_pod *pods;
	struct eg_arena a;
	struct eg_buf b;
	size_t n;

	fill(&b);
	eg_arena_init(&a, 0);
	assert_int_equal(eg_bundle_get_pods(&a, eg_buf_str(&b), &pods, &n), 0);
	assert_int_equal(n, 2);
	assert_string_equal(pods[0].identity.namespace_name, "shop");
	assert_string_equal(pods[0].identity.uid, "u-1");
	assert_string_equal(pods[0].identity.labels[0].value, "assistant");
	assert_string_equal(pods[0].identity.labels[1].value, "");
	assert_int_equal(pods[0].pod_id, 7);
	assert_int_equal(pods[0].address[0].word_be[3], 0x01020304);
	assert_string_equal(pods[1].identity.service_account, "");
	assert_int_equal(pods[1].identity.label_count, 0);
	assert_int_equal(pods[0].identity.namespace_label_count, 0);
	assert_int_equal(pods[1].identity.namespace_label_count, 1);
	assert_string_equal(pods[1].identity.namespace_labels[0].key, "app");
	assert_string_equal(pods[1].identity.namespace_labels[0].value, "assistant");
	eg_arena_fini(&a);
	eg_buf_fini(&b);
}

/* Each alone and all together: none is another. */
static void test_unknown(void **state)
{
	for (unsigned int what = 0; what < 8; what++) {
		struct eg_bundle_pod in = {.identity = {"n", "b", "u", "", NULL, 0}}, *out;
		struct eg_arena a;
		struct eg_buf b;
		size_t n;

		in.identity.labels_unknown = what & 1;
		in.identity.service_account_unknown = what & 2;
		in.identity.namespace_labels_unknown = what & 4;
		eg_buf_init(&b, EG_BUNDLE_BYTES);
		eg_arena_init(&a, 0);
		assert_int_equal(eg_bundle_put_pods(&b, &in, 1), 0);
		assert_int_equal(eg_bundle_get_pods(&a, eg_buf_str(&b), &out, &n), 0);
		assert_int_equal(out->identity.labels_unknown, (what & 1) != 0);
		assert_int_equal(out->identity.service_account_unknown, (what & 2) != 0);
		assert_int_equal(out->identity.namespace_labels_unknown, (what & 4) != 0);
		eg_arena_fini(&a);
		eg_buf_fini(&b);
	}
}

static void test_policy(void **state)
{
	const struct eg_policy_file in[] = {{EG_STR("10.json"), EG_STR("{}")},
					    {EG_STR("20.json"), EG_STR("")}};
	struct eg_policy_file *out;
	struct eg_arena a;
	struct eg_buf b;
	size_t n;

	eg_buf_init(&b, EG_BUNDLE_BYTES);
	assert_int_equal(eg_bundle_put_policy(&b, in, 2), 0);
	eg_arena_init(&a, 0);
	assert_int_equal(eg_bundle_get_policy(&a, eg_buf_str(&b), &out, &n), 0);
	assert_int_equal(n, 2);
	assert_true(eg_str_eq(out[0].text, in[0].text));
	assert_true(eg_str_eq(out[1].name, in[1].name));
	assert_int_equal(out[1].text.n, 0);
	eg_arena_fini(&a);
	eg_buf_fini(&b);
}

/* Each prefix, and each byte set to 0xff: never taken as whole, never read past its end. */
static void test_damaged(void **state)
{
	struct eg_buf b;
	size_t n, refused = 0;

	fill(&b);
	for (size_t cut = 0; cut < b.length; cut++) {
		struct eg_bundle_pod *pods;
		struct eg_arena a;
		char *copy = malloc(cut ? cut : 1); /* exact: the sanitizer sees a read beyond */

		memcpy(copy, eg_buf_data(&b), cut);
		eg_arena_init(&a, 0);
		assert_int_not_equal(eg_bundle_get_pods(&a, (struct eg_str){copy, cut}, &pods, &n),
				     0);
		eg_arena_fini(&a);
		free(copy);
	}
	for (size_t at = 0; at < b.length; at++) {
		struct eg_bundle_pod *pods;
		struct eg_arena a;
		char *copy = malloc(b.length);

		memcpy(copy, eg_buf_data(&b), b.length);
		copy[at] = (char)0xff;
		eg_arena_init(&a, (size_t)1 << 20); /* a count of 4 billion allocates nothing */
		refused += eg_bundle_get_pods(&a, (struct eg_str){copy, b.length}, &pods, &n) != 0;
		eg_arena_fini(&a);
		free(copy);
	}
	assert_true(refused > 20); /* magic, counts and lengths */
	eg_buf_fini(&b);
}

static void test_kinds_are_told_apart(void **state)
{
	struct eg_policy_file *files;
	struct eg_arena a;
	struct eg_buf b;
	size_t n;

	fill(&b);
	eg_arena_init(&a, 0);
	assert_int_equal(eg_bundle_get_policy(&a, eg_buf_str(&b), &files, &n), -EPROTO);
	assert_int_equal(eg_buf_append(&b, "x", 1), 0);
	assert_int_equal(
		eg_bundle_get_pods(&a, eg_buf_str(&b), (struct eg_bundle_pod *[]){NULL}, &n),
		-EPROTO);
	eg_arena_fini(&a);
	eg_buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pods),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_kinds_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
