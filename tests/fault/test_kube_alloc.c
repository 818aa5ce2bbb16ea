/* SPDX-License-Identifier: Apache-2.0 */
/* The Kubernetes API's objects when memory runs out at every place it can. */
#include "fault.h"

#include "kube/objects.h"
#include "kube/split.h"
#include "kube/store.h"

static const char *const lines[] = {
	"{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"namespace\":\"s\",\"uid\":"
	"\"u\",\"resourceVersion\":\"1\",\"labels\":{\"app\":\"x\",\"b\":\"y\"}},\"spec\":{"
	"\"nodeName\":\"n\",\"serviceAccountName\":\"r\"},\"status\":{\"phase\":\"Running\"}}}",
	"{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"2\"}}}",
	"{\"type\":\"ERROR\",\"object\":{\"message\":\"no\",\"code\":410}}",
	"{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"3\"},"
	"\"x\":\"\xff\"}}", /* malformed: it is named by other means */
};

/* A line that could not be read for want of memory is never taken for one that is wrong. */
static int events(void)
{
	int failed = 0;

	for (size_t i = 0; i < EG_ARRAY_SIZE(lines); i++) {
		struct kube_event e;
		int r = kube_event_read(KUBE_PODS, "n", eg_str_from(lines[i]), &e);

		if (r == -ENOMEM)
			failed++;
		else
			assert_int_equal(r, i == 3 ? -EINVAL : 0);
		if (i == 3 && r != -ENOMEM)
			assert_string_equal(e.whose, "u");
		kube_event_fini(&e);
	}
	return failed ? -ENOMEM : 0;
}

static int cut(void)
{
	struct kube_event e;
	int r = kube_cut_read(KUBE_PODS, eg_str_from(lines[0]), &e);

	if (r)
		assert_int_equal(r, -ENOMEM);
	else
		assert_string_equal(e.whose, "u");
	kube_event_fini(&e);
	return r;
}

static int list(void)
{
	struct kube_list l;
	int r = kube_list_read(
		EG_STR("{\"metadata\":{\"resourceVersion\":\"8\",\"continue\":\"c\"},"
		       "\"items\":[]}"),
		&l);

	if (r)
		assert_int_equal(r, -ENOMEM);
	else
		assert_string_equal(l.go_on, "c");
	return r;
}

static void test_objects(void **state)
{
	fault_each(events);
	fault_each(cut);
	fault_each(list);
}

static int note(void *ctx, struct eg_str text, bool was_cut)
{
	size_t *count = ctx;

	(*count)++;
	return 0;
}

static int pieces(void)
{
	static const char text[] = "{\"metadata\":{},\"items\":[{\"a\":1},{\"b\":2}]}";
	struct kube_split s;
	size_t count = 0;
	int r;

	kube_split_init(&s, true, note, &count);
	r = kube_split_feed(&s, EG_STR(text));
	if (!r)
		r = kube_split_end(&s);
	kube_split_fini(&s);
	if (r)
		assert_int_equal(r, -ENOMEM);
	else
		assert_int_equal(count, 2);
	if (r)
		return r;
	kube_split_init(&s, false, note, &count);
	r = kube_split_feed(&s, EG_STR("a\nb\nc"));
	if (!r)
		r = kube_split_end(&s);
	kube_split_fini(&s);
	if (r)
		assert_int_equal(r, -ENOMEM);
	else
		assert_int_equal(count, 5);
	return r;
}

static void test_split(void **state)
{
	fault_each(pieces);
}

static int fill(struct kube_store *s, const char *label)
{
	int failed = 0;

	for (size_t i = 0; i < 200; i++) {
		struct kube_event e = {.version = ""};
		struct eg_kube_pod former = {0};
		bool changed = false, known;
		char uid[8];
		int r;

		snprintf(uid, sizeof(uid), "%zu", i);
		known = kube_store_find(s, uid);
		if (known)
			former = *kube_store_find(s, uid);
		e.labels[0] = (struct eg_label){"app", label};
		e.object.identity = (struct eg_identity){.uid = uid,
							 .name = "a",
							 .namespace_name = "s",
							 .service_account = "",
							 .labels = e.labels,
							 .label_count = 1};
		r = kube_store_put(s, &e, &changed);
		if (!r)
			continue;
		assert_int_equal(r, -ENOMEM); /* all is as before */
		assert_false(changed);
		assert_int_equal(kube_store_find(s, uid) != NULL, known);
		if (known)
			assert_ptr_equal(kube_store_find(s, uid)->identity.labels,
					 former.identity.labels);
		failed++;
	}
	return failed;
}

static int store(void)
{
	struct kube_store s;
	int failed;

	kube_store_init(&s, KUBE_PODS);
	failed = fill(&s, "x");
	failed += fill(&s, "y");
	kube_store_fini(&s);
	return failed ? -ENOMEM : 0;
}

static void test_store(void **state)
{
	fault_each(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_objects),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
