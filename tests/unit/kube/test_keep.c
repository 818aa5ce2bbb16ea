/* SPDX-License-Identifier: Apache-2.0 */
/* What the API said last, to a file and back: the same, or nothing with a reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "kube/keep.h"

static struct kube_store pods, namespaces, pods_again, namespaces_again;
static struct eg_buf text;

static void put(struct kube_store *s, const struct eg_kube_pod *p)
{
	struct kube_event e = {.type = KUBE_CHANGED, .version = "7", .object = *p};
	bool changed = false;

	assert_int_equal(kube_store_put(s, &e, &changed), 0);
}

static const struct eg_label labels[] = {
	{"a/b", ""}, {"app", "as\"sist\\ant"}, {"\xc3\xbc", "a\tb"}};

static int setup(void **state)
{
	const struct eg_kube_pod assistant = {.identity = {.uid = "u-1",
							   .name = "a",
							   .namespace_name = "shop",
							   .service_account = "sa",
							   .labels = labels,
							   .label_count = 3}};
	const struct eg_kube_pod host = {.identity = {.uid = "u-2",
						      .name = "b",
						      .namespace_name = "kube-system",
						      .service_account = ""},
					 .mirror_of = "0123456789abcdef0123456789abcdef",
					 .host_network = true,
					 .finished = true};
	const struct eg_kube_pod shop = {.identity = {.uid = "n-1",
						      .name = "shop",
						      .namespace_name = "",
						      .service_account = "",
						      .labels = labels,
						      .label_count = 2}};

	kube_store_init(&pods, KUBE_PODS);
	kube_store_init(&pods_again, KUBE_PODS);
	kube_store_init(&namespaces, KUBE_NAMESPACES);
	kube_store_init(&namespaces_again, KUBE_NAMESPACES);
	put(&pods, &assistant);
	put(&pods, &host);
	put(&namespaces, &shop);
	eg_buf_init(&text, 1u << 20);
	assert_int_equal(kube_keep_write(&pods, &namespaces, "node-1", &text), 0);
	return 0;
}

static int teardown(void **state)
{
	kube_store_fini(&pods);
	kube_store_fini(&pods_again);
	kube_store_fini(&namespaces);
	kube_store_fini(&namespaces_again);
	eg_buf_fini(&text);
	return 0;
}

static int back(struct eg_str s, const char *node, struct eg_error *e)
{
	return kube_keep_read(s, node, &pods_again, &namespaces_again, e);
}

/* By what it writes, which is all that it has. */
static void assert_same(void)
{
	struct eg_buf second;

	eg_buf_init(&second, 1u << 20);
	assert_int_equal(kube_keep_write(&pods_again, &namespaces_again, "node-1", &second), 0);
	assert_true(eg_str_eq(eg_buf_str(&text), eg_buf_str(&second)));
	eg_buf_fini(&second);
}

static void it_comes_back(void **state)
{
	const struct eg_kube_pod *p;
	struct eg_error e;

	assert_int_equal(back(eg_buf_str(&text), "node-1", &e), 0);
	assert_same();
	p = kube_store_find(&pods_again, "u-1");
	assert_non_null(p);
	assert_string_equal(p->identity.labels[1].value, "as\"sist\\ant");
	assert_string_equal(p->identity.labels[2].value, "a\tb");
	assert_false(p->host_network);
	p = kube_store_find(&pods_again, "u-2");
	assert_true(p->host_network && p->finished);
	assert_string_equal(p->mirror_of, "0123456789abcdef0123456789abcdef");
	assert_string_equal(kube_store_find(&namespaces_again, "shop")->identity.labels[0].key,
			    "a/b");
	/* The next list is what counts. */
	kube_store_begin(&pods_again);
	assert_true(kube_store_end(&pods_again, "9"));
	assert_int_equal(pods_again.count, 0);
	(void)state;
}

/* Whatever is cut off or changed: all that was written, or nothing. */
static void damaged_is_nothing(void **state)
{
	struct eg_str whole = eg_buf_str(&text);
	EG_CLEANUP_FREE char *copy = malloc(whole.n + 1);
	struct eg_error e;

	for (size_t n = 0; n < whole.n; n++) {
		e.text[0] = '\0';
		assert_int_equal(back((struct eg_str){whole.p, n}, "node-1", &e), -EINVAL);
		assert_true(e.text[0]);
		assert_int_equal(pods_again.count + namespaces_again.count, 0);
	}
	for (size_t i = 0; i < whole.n; i++) {
		memcpy(copy, whole.p, whole.n);
		copy[i] = '}';
		if (back((struct eg_str){copy, whole.n}, "node-1", &e))
			assert_int_equal(pods_again.count + namespaces_again.count, 0);
		kube_store_fini(&pods_again);
		kube_store_fini(&namespaces_again);
	}
	memcpy(copy, whole.p, whole.n);
	copy[whole.n] = 'x';
	assert_int_equal(back((struct eg_str){copy, whole.n + 1}, "node-1", &e), -EINVAL);
	(void)state;
}

static void anothers_is_nothing(void **state)
{
	struct eg_error e;

	assert_int_equal(back(eg_buf_str(&text), "node-2", &e), -EINVAL);
	assert_string_equal(e.text, "it is of the node node-1; expected node-2");
	assert_int_equal(back(EG_STR("{\"version\":2,\"node\":\"node-1\"}\n"), "node-1", &e),
			 -EINVAL);
	assert_string_equal(e.text, "it is of version 2; expected 1");
	assert_int_equal(back(EG_STR("{\"version\":1,\"pods\":99999999,\"node\":\"node-1\"}\n"),
			      "node-1", &e),
			 -EINVAL);
	(void)state;
}

static void the_file(void **state)
{
	char dir[] = "/tmp/egkeep.XXXXXX", path[64];
	struct eg_error e;
	struct stat st;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/kubernetes.jsonl", dir);
	assert_int_equal(kube_keep_load(path, "node-1", &pods_again, &namespaces_again, &e),
			 -ENOENT);
	assert_int_equal(kube_keep_save(path, "node-1", &pods, &namespaces, &e), 0);
	assert_int_equal(kube_keep_save(path, "node-1", &pods, &namespaces, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(kube_keep_load(path, "node-1", &pods_again, &namespaces_again, &e), 0);
	assert_same();
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0); /* nothing else is left */
	assert_int_equal(kube_keep_save(path, "node-1", &pods, &namespaces, &e), -ENOENT);
	assert_non_null(strstr(e.text, path));
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_is_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(anothers_is_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(the_file, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
