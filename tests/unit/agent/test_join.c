/* SPDX-License-Identifier: Apache-2.0 */
/* The CNI cache's pods with what the API says of them: who is joined with whom, and what stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/join.h"
#include "base/arena.h"

static struct eg_label app_x[] = {{"app", "x"}};
static struct eg_label governed[] = {{"egret", "governed"}};

struct world {
	struct eg_kube_pod pods[4];
	size_t pod_count;
	const char *space; /* a namespace that the API knows; NULL: none */
	size_t doubts;
	const char *why;
};

static const struct eg_kube_pod *pod(void *context, const char *uid)
{
	struct world *w = context;

	for (size_t i = 0; i < w->pod_count; i++)
		if (!strcmp(w->pods[i].identity.uid, uid))
			return &w->pods[i];
	return NULL;
}

static bool space(void *context, const char *name, const struct eg_label **labels, size_t *count)
{
	struct world *w = context;

	if (!w->space || strcmp(w->space, name) != 0)
		return false;
	*labels = governed;
	*count = 1;
	return true;
}

static struct eg_identity cached(const char *name, const char *uid)
{
	return (struct eg_identity){.namespace_name = "shop",
				    .name = name,
				    .uid = uid,
				    .service_account = "",
				    .labels_unknown = true,
				    .service_account_unknown = true,
				    .namespace_labels_unknown = true};
}

static struct eg_kube_pod told(const char *name, const char *uid, const struct eg_label *label)
{
	return (struct eg_kube_pod){.identity = {.namespace_name = "shop",
						 .name = name,
						 .uid = uid,
						 .service_account = "sa",
						 .labels = label,
						 .label_count = 1}};
}

static const struct eg_kube_pod *mirror(void *context, const char *uid, size_t *claims)
{
	const struct eg_kube_pod *found = NULL;
	struct world *w = context;

	*claims = 0;
	for (size_t i = 0; i < w->pod_count; i++) {
		if (!w->pods[i].mirror_of || strcmp(w->pods[i].mirror_of, uid) != 0)
			continue;
		found = &w->pods[i];
		++*claims;
	}
	return *claims == 1 ? found : NULL;
}

static void doubted(void *context, const struct eg_identity *id, const char *why)
{
	struct world *w = context;

	w->doubts++;
	w->why = why;
	assert_string_equal(id->uid, "hash");
}

static void join(struct eg_pod_list *list, struct world *w)
{
	const struct eg_join_api api = {.pod = pod,
					.namespace_labels = space,
					.mirror = mirror,
					.doubted = doubted,
					.context = w};

	assert_int_equal(eg_join_pods(list, &api), 0);
}

static void *begin(struct eg_pod_list *list, size_t room)
{
	assert_int_equal(eg_pod_list_init(list, room), 0);
	return NULL;
}

static void test_named(void **state)
{
	struct world w = {.pods = {told("a", "u1", app_x)}, .pod_count = 1, .space = "shop"};
	struct eg_pod_list list;
	struct eg_identity *id;

	begin(&list, 1);
	list.pods[list.count++].identity = cached("a", "u1");
	join(&list, &w);
	id = &list.pods[0].identity;
	assert_false(id->labels_unknown || id->service_account_unknown ||
		     id->namespace_labels_unknown);
	assert_int_equal(id->label_count, 1);
	assert_string_equal(id->labels[0].value, "x");
	assert_ptr_not_equal(id->labels, app_x); /* the list's own */
	assert_string_equal(id->service_account, "sa");
	assert_string_equal(id->namespace_labels[0].value, "governed");
	eg_pod_list_fini(&list);
}

/* A name is given again (a StatefulSet): the new pod is not the old one, in either order. */
static void test_by_uid_alone(void **state)
{
	struct world w = {.pods = {told("web-0", "old", app_x)}, .pod_count = 1};
	struct eg_pod_list list;

	begin(&list, 2);
	list.pods[list.count++].identity = cached("web-0", "new");
	list.pods[list.count++].identity = cached("web-0", "old");
	join(&list, &w);
	assert_true(list.pods[0].identity.labels_unknown);
	assert_true(list.pods[0].identity.service_account_unknown);
	assert_false(list.pods[1].identity.labels_unknown);
	assert_true(list.pods[1].identity.namespace_labels_unknown); /* not known yet */
	eg_pod_list_fini(&list);
}

/* Deleted by force, or not to be understood any more: what is not said is not known. */
static void test_said_no_more(void **state)
{
	struct world w = {.pods = {told("a", "u1", app_x)}, .pod_count = 1, .space = "shop"};
	struct eg_pod_list list;

	for (int i = 0; i < 2; i++) {
		begin(&list, 1);
		list.pods[list.count++].identity = cached("a", "u1");
		join(&list, &w);
		assert_int_equal(list.count, 1);
		assert_int_equal(list.pods[0].identity.labels_unknown, i);
		assert_int_equal(list.pods[0].identity.service_account_unknown, i);
		assert_int_equal(list.pods[0].identity.namespace_labels_unknown, i);
		eg_pod_list_fini(&list);
		w = (struct world){.pod_count = 0};
	}
}

static struct eg_kube_pod told_mirror(const char *name, const char *uid)
{
	struct eg_kube_pod p = told(name, uid, app_x);

	p.mirror_of = "hash";
	p.identity.service_account = "";
	return p;
}

/* A static pod: the cache has the kubelet's uid, the API a mirror with another. */
static void test_static(void **state)
{
	struct world w = {.pods = {told_mirror("etcd-n1", "u1")}, .pod_count = 1};
	struct eg_pod_list list;

	begin(&list, 1);
	list.pods[list.count++].identity = cached("etcd-n1", "hash");
	join(&list, &w);
	assert_false(list.pods[0].identity.labels_unknown);
	assert_false(list.pods[0].identity.service_account_unknown);
	assert_string_equal(list.pods[0].identity.labels[0].value, "x");
	assert_string_equal(list.pods[0].identity.uid, "hash");
	assert_int_equal(w.doubts, 0);
	eg_pod_list_fini(&list);
	(void)state;
}

/* What a user wrote: another name, another namespace, a second one. Nobody becomes another by it.
 */
static void test_false_mirrors(void **state)
{
	struct world w = {.pods = {told_mirror("evil", "u1")}, .pod_count = 1};

	for (int i = 0; i < 3; i++) {
		struct eg_pod_list list;

		begin(&list, 1);
		list.pods[list.count++].identity = cached("etcd-n1", "hash");
		join(&list, &w);
		assert_true(list.pods[0].identity.labels_unknown);
		assert_true(list.pods[0].identity.service_account_unknown);
		assert_int_equal(w.doubts, i + 1);
		assert_non_null(strstr(w.why, i < 2 ? "of another name" : "more than one"));
		eg_pod_list_fini(&list);
		w.pods[0] = told_mirror("etcd-n1", "u1");
		if (i == 0) {
			w.pods[0].identity.namespace_name = "evil";
		} else {
			w.pods[1] = told_mirror("evil", "u2");
			w.pod_count = 2;
		}
	}
	(void)state;
}

/* One whose uid the API has is that, whatever another says. */
static void test_no_mirror_of_a_known_one(void **state)
{
	static const struct eg_label app_y[] = {{"app", "y"}};
	struct world w = {.pods = {told_mirror("a", "u1"), told("a", "hash", app_y)},
			  .pod_count = 2};
	struct eg_pod_list list;

	begin(&list, 1);
	list.pods[list.count++].identity = cached("a", "hash");
	join(&list, &w);
	assert_string_equal(list.pods[0].identity.labels[0].value, "y");
	assert_string_equal(list.pods[0].identity.service_account, "sa");
	assert_int_equal(w.doubts, 0);
	eg_pod_list_fini(&list);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_named),
		cmocka_unit_test(test_by_uid_alone),
		cmocka_unit_test(test_said_no_more),
		cmocka_unit_test(test_static),
		cmocka_unit_test(test_false_mirrors),
		cmocka_unit_test(test_no_mirror_of_a_known_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
