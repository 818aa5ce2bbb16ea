/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of pods and namespaces, through lists and changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kube/store.h"

static struct kube_store store;

static int setup(void **state)
{
	kube_store_init(&store, KUBE_PODS);
	return 0;
}

static int setup_namespaces(void **state)
{
	kube_store_init(&store, KUBE_NAMESPACES);
	return 0;
}

static int teardown(void **state)
{
	kube_store_fini(&store);
	return 0;
}

/* Whether something changed. */
static bool put(const char *uid, const char *name, const char *label, const char *version)
{
	struct kube_event e = {.type = KUBE_CHANGED, .version = version};
	bool changed = false;

	e.labels[0] = (struct eg_label){"app", label};
	e.object.identity = (struct eg_identity){.uid = uid,
						 .name = name,
						 .namespace_name = "s",
						 .service_account = "r",
						 .labels = e.labels,
						 .label_count = 1};
	assert_int_equal(kube_store_put(&store, &e, &changed), 0);
	return changed;
}

static const char *label_of(const char *key)
{
	const struct eg_kube_pod *p = kube_store_find(&store, key);

	return p ? p->identity.labels[0].value : "none";
}

static void pods_come_change_and_go(void **state)
{
	assert_true(put("u2", "a", "x", "1"));
	assert_true(put("u1", "b", "y", "2"));
	assert_true(put("u3", "c", "z", "3"));
	assert_int_equal(store.count, 3);
	for (size_t i = 0; i + 1 < store.count; i++) /* in order */
		assert_true(strcmp(store.items[i]->identity.uid, store.items[i + 1]->identity.uid) <
			    0);
	assert_string_equal(label_of("u2"), "x");
	assert_string_equal(kube_store_find(&store, "u2")->identity.name, "a");
	assert_string_equal(kube_store_find(&store, "u2")->identity.service_account, "r");
	assert_true(put("u2", "a", "w", "4"));
	assert_string_equal(label_of("u2"), "w");
	assert_false(put("u2", "a", "w", "5"));
	assert_true(kube_store_remove(&store, "u2", "u2"));
	assert_false(kube_store_remove(&store, "u2", "u2"));
	assert_string_equal(label_of("u2"), "none");
	assert_string_equal(label_of("u1"), "y");
	assert_string_equal(label_of("u3"), "z");
	assert_null(kube_store_find(&store, ""));
	assert_null(kube_store_find(&store, "u4"));
}

/* Each field by itself is a change. */
static void what_is_a_change(void **state)
{
	struct eg_label labels[2] = {{"a", "1"}, {"b", "2"}};
	struct kube_event e = {.version = ""};
	struct eg_kube_pod *p = &e.object;
	bool changed = false;

#define CHANGES(what)                                                      \
	do {                                                               \
		what;                                                      \
		changed = false;                                           \
		assert_int_equal(kube_store_put(&store, &e, &changed), 0); \
		assert_true(changed);                                      \
		changed = false;                                           \
		assert_int_equal(kube_store_put(&store, &e, &changed), 0); \
		assert_false(changed);                                     \
	} while (0)
	CHANGES(p->identity = ((struct eg_identity){.uid = "u",
						    .name = "n",
						    .namespace_name = "s",
						    .service_account = "",
						    .labels = labels,
						    .label_count = 1}));
	CHANGES(p->identity.name = "m");
	CHANGES(p->identity.namespace_name = "t");
	CHANGES(p->identity.service_account = "r");
	CHANGES(p->host_network = true);
	CHANGES(p->finished = true);
	CHANGES(p->mirror_of = "0123");
	CHANGES(p->mirror_of = "0124");
	CHANGES(p->mirror_of = NULL);
	CHANGES(p->identity.label_count = 2);
	CHANGES(labels[1].value = "3");
	CHANGES(labels[1].key = "c");
	CHANGES(p->identity.label_count = 0);
	assert_int_equal(store.count, 1);
#undef CHANGES
}

static bool put_mirror(const char *uid, const char *of)
{
	const struct kube_event e = {.version = "1",
				     .object = {.identity = {.uid = uid,
							     .name = "etcd-n1",
							     .namespace_name = "kube-system",
							     .service_account = ""},
						.mirror_of = of}};
	bool changed = false;

	assert_int_equal(kube_store_put(&store, &e, &changed), 0);
	return changed;
}

/* Two that say it: neither is believed. */
static void a_mirror_is_one(void **state)
{
	size_t claims;

	assert_null(kube_store_mirror(&store, "abc", &claims));
	assert_int_equal(claims, 0);
	assert_true(put_mirror("m1", "abc"));
	assert_true(put_mirror("m2", "abd"));
	assert_true(put_mirror("m3", NULL));
	assert_string_equal(kube_store_mirror(&store, "abc", &claims)->identity.uid, "m1");
	assert_int_equal(claims, 1);
	assert_true(put_mirror("m3", "abc"));
	assert_null(kube_store_mirror(&store, "abc", &claims));
	assert_int_equal(claims, 2);
	assert_true(kube_store_remove(&store, "m1", "m1"));
	assert_string_equal(kube_store_mirror(&store, "abc", &claims)->identity.uid, "m3");
	(void)state;
}

/* A StatefulSet's pod: the same name, another uid. */
static void a_name_used_again(void **state)
{
	put("old", "db-0", "x", "10");
	put("new", "db-0", "y", "12");
	assert_int_equal(store.count, 2);
	assert_true(kube_store_remove(&store, "old", "old"));
	assert_string_equal(label_of("new"), "y");
	assert_string_equal(label_of("old"), "none");
}

static void older_news_is_no_news(void **state)
{
	put("u", "a", "new", "10");
	assert_false(put("u", "a", "old", "9"));
	assert_string_equal(label_of("u"), "new");
	assert_true(put("u", "a", "same", "10"));
	assert_true(put("u", "a", "odd", "x")); /* no number: as it comes */
	assert_true(put("u", "a", "next", "3"));
	kube_store_begin(&store); /* a list is what is so, whatever was: etcd may have been set back
				   */
	assert_true(put("u", "a", "listed", "2"));
	assert_string_equal(label_of("u"), "listed");
}

static void a_list_replaces(void **state)
{
	put("gone", "a", "x", "1");
	put("stays", "b", "x", "2");
	put("changes", "c", "x", "3");
	kube_store_begin(&store);
	assert_false(put("stays", "b", "x", "2"));
	assert_true(put("changes", "c", "y", "4")); /* at once */
	assert_true(put("new", "d", "y", "5"));
	assert_string_equal(label_of("gone"), "x"); /* not before its end */
	assert_true(kube_store_end(&store, ""));
	assert_string_equal(label_of("gone"), "none");
	assert_string_equal(label_of("changes"), "y");
	assert_int_equal(store.count, 3);
	kube_store_begin(&store);
	put("stays", "b", "x", "2");
	put("changes", "c", "y", "4");
	put("new", "d", "y", "5");
	assert_false(kube_store_end(&store, ""));
	assert_int_equal(store.count, 3);
}

/* etcd was set back, and has kept an object's number: what follows is news all the same. */
static void numbers_ahead_of_the_list(void **state)
{
	put("u", "a", "x", "117");
	kube_store_begin(&store);
	put("u", "a", "x", "117");
	assert_false(kube_store_end(&store, "5"));
	assert_true(put("u", "a", "y", "6"));
	assert_false(put("u", "a", "x", "5"));
	assert_string_equal(label_of("u"), "y");
}

/* The connection broke in the middle: what the first half had is of no account. */
static void a_list_begun_twice(void **state)
{
	put("a", "a", "x", "1");
	put("b", "b", "x", "1");
	kube_store_begin(&store);
	put("a", "a", "x", "1");
	kube_store_begin(&store);
	put("b", "b", "x", "1");
	assert_int_equal(store.count, 2);
	assert_true(kube_store_end(&store, ""));
	assert_string_equal(label_of("a"), "none");
	assert_string_equal(label_of("b"), "x");
}

static void deleted_while_listed(void **state)
{
	put("a", "a", "x", "1");
	kube_store_begin(&store);
	put("a", "a", "x", "1");
	assert_true(kube_store_remove(&store, "a", "a"));
	assert_false(kube_store_end(&store, ""));
	assert_int_equal(store.count, 0);
}

static void namespaces_go_by_name_and_uid(void **state)
{
	put("u1", "shop", "x", "9");
	assert_string_equal(label_of("shop"), "x");
	assert_true(put("u2", "shop", "y", "5")); /* another one: its number is its own */
	assert_int_equal(store.count, 1);
	assert_false(kube_store_remove(&store, "shop", "u1")); /* the former one's end comes late */
	assert_string_equal(label_of("shop"), "y");
	assert_true(kube_store_remove(&store, "shop", "u2"));
	put("u3", "shop", "z", "11");
	assert_true(kube_store_remove(&store, "shop", ""));
}

static void full(void **state)
{
	struct kube_event e = {.version = ""};
	bool changed = false;
	char uid[24];

	for (size_t i = 0; i < KUBE_STORE_MOST; i++) {
		snprintf(uid, sizeof(uid), "%08zx", i);
		put(uid, "a", "x", "1");
	}
	e.object.identity = (struct eg_identity){
		.uid = "z", .name = "n", .namespace_name = "s", .service_account = ""};
	assert_int_equal(kube_store_put(&store, &e, &changed), -ENOSPC);
	assert_false(changed);
	assert_int_equal(store.count, KUBE_STORE_MOST);
	assert_true(put("00000005", "a", "y", "2")); /* what is known may change */
	assert_true(kube_store_remove(&store, "00000007", "00000007"));
	assert_int_equal(kube_store_put(&store, &e, &changed), 0);
}

/* 5,000 pods and 50,000 changes in no order, against a table that anybody can see is right. */
static void many(void **state)
{
	enum { PODS = 5000, CHANGES = 50000 };
	static unsigned char label[PODS]; /* 0: not there */
	uint64_t random = 88172645463325252ull;
	size_t count = 0;

	for (size_t i = 0; i < CHANGES; i++) {
		char uid[24], value[2] = "";
		size_t at;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		at = random % PODS;
		snprintf(uid, sizeof(uid), "%04zx-%zu", at * 40503 % 65536, at);
		if (random >> 40 & 3) {
			value[0] = (char)('a' + (random >> 50) % 20);
			assert_int_equal(put(uid, "a", value, ""), label[at] != value[0]);
			count += !label[at];
			label[at] = (unsigned char)value[0];
		} else {
			assert_int_equal(kube_store_remove(&store, uid, uid), label[at] != 0);
			count -= label[at] != 0;
			label[at] = 0;
		}
		assert_int_equal(store.count, count);
	}
	for (size_t at = 0; at < PODS; at++) {
		char uid[24], value[2] = {(char)label[at], 0};

		snprintf(uid, sizeof(uid), "%04zx-%zu", at * 40503 % 65536, at);
		assert_string_equal(label_of(uid), label[at] ? value : "none");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pods_come_change_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(a_mirror_is_one, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_a_change, setup, teardown),
		cmocka_unit_test_setup_teardown(a_name_used_again, setup, teardown),
		cmocka_unit_test_setup_teardown(older_news_is_no_news, setup, teardown),
		cmocka_unit_test_setup_teardown(a_list_replaces, setup, teardown),
		cmocka_unit_test_setup_teardown(numbers_ahead_of_the_list, setup, teardown),
		cmocka_unit_test_setup_teardown(a_list_begun_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(deleted_while_listed, setup, teardown),
		cmocka_unit_test_setup_teardown(namespaces_go_by_name_and_uid, setup_namespaces,
						teardown),
		cmocka_unit_test_setup_teardown(full, setup, teardown),
		cmocka_unit_test_setup_teardown(many, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
