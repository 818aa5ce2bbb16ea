/* SPDX-License-Identifier: Apache-2.0 */
#include "plane.h"

static void test_pods(void **state)
{
	struct plane p;
	struct eg_snapshot *s;
	const struct eg_pod_view *pod;
	struct eg_address a = plane_address("127.0.0.1"), b = plane_address("127.0.0.2"),
			  none = plane_address("127.0.0.3"), six = plane_address("2001:db8::1");

	plane_up(&p, NULL);
	s = plane_snapshot(&p, PLANE_POLICY, true);
	pod = eg_snapshot_pod(s, &a);
	assert_non_null(pod);
	assert_string_equal(pod->identity.name, "a");
	assert_non_null(pod->policy);
	assert_string_equal(pod->policy->name, "shop");
	pod = eg_snapshot_pod(s, &b);
	assert_non_null(pod);
	assert_null(pod->policy); /* no policy selects it */
	assert_null(eg_snapshot_pod(s, &none));
	assert_null(eg_snapshot_pod(s, &six));
	eg_snapshot_unref(s);
	plane_down(&p);
	(void)state;
}

/* Also of one that lies where another lay. */
static void test_serials(void **state)
{
	struct plane p;
	uint64_t last = 0;

	plane_up(&p, NULL);
	for (int i = 0; i < 8; i++) {
		struct eg_snapshot *s = plane_snapshot(&p, PLANE_POLICY, true);

		assert_true(eg_snapshot_serial(s) > last);
		last = eg_snapshot_serial(s);
		eg_snapshot_unref(s);
	}
	plane_down(&p);
	(void)state;
}

/* Thousands of pods with colliding addresses, v4 and v6: each is found, and only by its own. */
static void test_many_pods(void **state)
{
	enum { COUNT = 4000 };
	struct plane p;
	struct eg_pod_view *pods = calloc(COUNT, sizeof(*pods));
	char(*names)[32] = calloc(COUNT, sizeof(*names));
	struct eg_policy_set *set;
	struct eg_snapshot *s;

	plane_up(&p, NULL);
	set = plane_policy(&p, PLANE_POLICY);
	for (unsigned int i = 0; i < COUNT; i++) {
		char text[64];

		snprintf(names[i], sizeof(names[i]), "pod-%u", i);
		pods[i].identity = (struct eg_identity){.namespace_name = i % 2 ? "shop" : "x",
							.name = names[i],
							.uid = names[i],
							.service_account = ""};
		pods[i].pod_id = i;
		snprintf(text, sizeof(text), "10.%u.%u.9", i / 256, i % 256);
		pods[i].address[0] = plane_address(text);
		snprintf(text, sizeof(text), "fd00:%x::1", i);
		pods[i].address[1] = plane_address(text);
		pods[i].address_count = 2;
	}
	s = eg_snapshot_create(7, set, plane_credentials(set, true), NULL, pods, COUNT);
	assert_non_null(s);
	memset(names, 'x', COUNT * sizeof(*names)); /* the strings were copied */
	for (unsigned int i = 0; i < COUNT; i++) {
		for (int j = 0; j < 2; j++) {
			const struct eg_pod_view *pod = eg_snapshot_pod(s, &pods[i].address[j]);

			assert_non_null(pod);
			assert_int_equal(pod->pod_id, i);
			assert_int_equal(pod->policy != NULL, i % 2);
			assert_memory_equal(pod->identity.name, "pod-", 4);
		}
	}
	assert_int_equal(eg_snapshot_generation(s), 7);
	eg_snapshot_unref(s);
	free(pods);
	free(names);
	plane_down(&p);
	(void)state;
}

/* An address that a new pod took over belongs to the new one. */
static void test_address_taken_over(void **state)
{
	struct plane p;
	struct eg_policy_set *set;
	struct eg_pod_view pods[2] = {
		{.identity = {"shop", "old", "1", "", NULL, 0}, .pod_id = 1, .address_count = 1},
		{.identity = {"shop", "new", "2", "", NULL, 0}, .pod_id = 2, .address_count = 1},
	};
	struct eg_snapshot *s;

	plane_up(&p, NULL);
	set = plane_policy(&p, PLANE_POLICY);
	pods[0].address[0] = pods[1].address[0] = plane_address("10.0.0.1");
	s = eg_snapshot_create(1, set, plane_credentials(set, true), NULL, pods, 2);
	assert_string_equal(eg_snapshot_pod(s, &pods[0].address[0])->identity.name, "new");
	eg_snapshot_unref(eg_snapshot_ref(s));
	eg_snapshot_unref(s);
	plane_down(&p);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pods),
		cmocka_unit_test(test_serials),
		cmocka_unit_test(test_many_pods),
		cmocka_unit_test(test_address_taken_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
