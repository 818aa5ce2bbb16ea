/* SPDX-License-Identifier: Apache-2.0 */
/* Budgets, cooldowns, request ids. */
#include "plane.h"

static void test_budgets(void **state)
{
	struct plane p;
	struct eg_account *a, *b;
	size_t one = 0, two = 0, three = 0, nobody = 0;

	plane_up(&p, NULL);
	p.engine.limits.pod_bytes = 100;
	p.engine.limits.node_bytes = 150;
	a = eg_account_acquire(&p.engine, 1);
	b = eg_account_acquire(&p.engine, 2);
	assert_ptr_equal(eg_account_acquire(&p.engine, 1), a);
	eg_account_release(&p.engine, a);
	assert_int_equal(eg_account_hold(&p.engine, a, &one, 60), EG_REASON_OK);
	assert_int_equal(eg_account_hold(&p.engine, a, &two, 41), EG_REASON_POD_BUDGET);
	assert_int_equal(two, 0);
	assert_int_equal(eg_account_hold(&p.engine, a, &two, 40), EG_REASON_OK);
	assert_int_equal(eg_account_hold(&p.engine, b, &three, 51), EG_REASON_OVERLOADED);
	assert_int_equal(eg_account_hold(&p.engine, b, &three, 50), EG_REASON_OK);
	assert_int_equal(eg_account_hold(&p.engine, NULL, &nobody, 1), EG_REASON_OVERLOADED);
	assert_int_equal(eg_account_hold(&p.engine, a, &one, SIZE_MAX), EG_REASON_POD_BUDGET);
	assert_int_equal(eg_account_hold(&p.engine, a, &one, 10),
			 EG_REASON_OK); /* smaller: always */
	assert_int_equal(eg_account_hold(&p.engine, NULL, &nobody, 50), EG_REASON_OK);
	assert_int_equal(p.engine.held_bytes, 150);
	assert_int_equal(a->budget->used.held_bytes, 50);
	assert_int_equal(eg_account_hold(&p.engine, a, &one, 0), EG_REASON_OK);
	assert_int_equal(eg_account_hold(&p.engine, a, &two, 0), EG_REASON_OK);
	assert_int_equal(eg_account_hold(&p.engine, b, &three, 0), EG_REASON_OK);
	assert_int_equal(eg_account_hold(&p.engine, NULL, &nobody, 0), EG_REASON_OK);
	eg_account_release(&p.engine, a);
	eg_account_release(&p.engine, b);
	plane_down(&p);
	(void)state;
}

/* Two workers, one pod: one budget, wherever its connections fell. */
static void test_budget_over_workers(void **state)
{
	struct plane p, q;
	struct eg_account *a, *b;
	size_t one = 0, two = 0, fds = 0, more = 0;

	plane_up(&p, NULL);
	plane_up(&q, NULL);
	q.engine.budgets = &p.budgets;
	p.engine.limits.pod_bytes = q.engine.limits.pod_bytes = 100;
	p.engine.limits.pod_descriptors = q.engine.limits.pod_descriptors = 3;
	a = eg_account_acquire(&p.engine, 7);
	b = eg_account_acquire(&q.engine, 7);
	assert_ptr_equal(a->budget, b->budget);
	assert_int_equal(eg_account_hold(&p.engine, a, &one, 100), EG_REASON_OK);
	assert_int_equal(eg_account_hold(&q.engine, b, &two, 1), EG_REASON_POD_BUDGET);
	assert_int_equal(eg_account_state(&q.engine, b), EG_REASON_POD_BUDGET);
	eg_account_charge(&q.engine, b, &two, 50); /* in use already: counts, is not refused */
	assert_int_equal(p.budgets.node.held_bytes, 150);
	assert_int_equal(eg_account_hold(&p.engine, a, &one, 0), EG_REASON_OK);
	assert_int_equal(eg_account_state(&q.engine, b), EG_REASON_OK);
	eg_account_charge(&q.engine, b, &two, 0);
	assert_int_equal(eg_account_descriptors(&p.engine, a, &fds, 2), EG_REASON_OK);
	assert_int_equal(eg_account_descriptors(&q.engine, b, &more, 2), EG_REASON_POD_BUDGET);
	assert_int_equal(eg_account_descriptors(&q.engine, b, &more, 1), EG_REASON_OK);
	p.engine.limits.descriptors = 3;
	assert_int_equal(eg_account_descriptors(&p.engine, NULL, &one, 1), EG_REASON_OVERLOADED);
	assert_int_equal(eg_account_descriptors(&p.engine, a, &fds, 0), EG_REASON_OK);
	assert_int_equal(eg_account_descriptors(&q.engine, b, &more, 0), EG_REASON_OK);
	assert_int_equal(p.budgets.node.descriptors, 0);
	eg_account_release(&p.engine, a);
	eg_account_release(&q.engine, b);
	plane_down(&q);
	plane_down(&p);
	(void)state;
}

/* More pods than places: each that has a place has its own, the rest are refused. */
static void test_many_pods(void **state)
{
	static struct eg_budgets b;
	struct eg_pod_budget *of[EG_BUDGET_PODS + 1];
	size_t placed = 0;

	for (uint32_t i = 0; i <= EG_BUDGET_PODS; i++) {
		of[i] = eg_budgets_join(&b, i + 1);
		placed += of[i] != NULL;
		if (of[i])
			assert_true(eg_budget_take(&of[i]->used.held_bytes, i, SIZE_MAX));
	}
	assert_true(placed > EG_BUDGET_PODS * 9 / 10);
	assert_true(placed <= EG_BUDGET_PODS);
	for (uint32_t i = 0; i <= EG_BUDGET_PODS; i++) {
		if (!of[i])
			continue;
		assert_int_equal(of[i]->used.held_bytes, i);
		eg_budget_give(&of[i]->used.held_bytes, i);
		eg_budgets_leave(of[i]);
	}
	of[0] = eg_budgets_join(&b, 99999);
	assert_non_null(of[0]);
	eg_budgets_leave(of[0]);
	(void)state;
}

static void test_cooldowns(void **state)
{
	struct eg_provider a = {.name = "a", .host = "h", .port = 443},
			   b = {.name = "b", .host = "h", .port = 443},
			   moved = {.name = "a", .host = "elsewhere", .port = 443};
	struct plane p;
	uint64_t now, until;
	bool stated = true;

	plane_up(&p, NULL);
	now = eg_loop_now_ms(p.loop);
	assert_int_equal(eg_cooldown_until(&p.engine, NULL, &a, &stated), 0);
	eg_cooldown_set(&p.engine, NULL, &a, EG_RESPONSE_FAILOVER, 5000);
	until = eg_cooldown_until(&p.engine, NULL, &a, &stated);
	assert_int_equal(until, now + 5000);
	assert_int_equal(eg_cooldown_until(&p.engine, NULL, &b, &stated), 0);
	assert_int_equal(eg_cooldown_until(&p.engine, NULL, &moved, &stated), 0);
	eg_cooldown_set(&p.engine, NULL, &a, EG_RESPONSE_FAILOVER,
			10); /* never shorter than was said */
	assert_int_equal(eg_cooldown_until(&p.engine, NULL, &a, &stated), until);
	eg_cooldown_set(&p.engine, NULL, &a, EG_RESPONSE_FAILOVER,
			1000000000); /* whatever Retry-After says */
	assert_int_equal(eg_cooldown_until(&p.engine, NULL, &a, &stated), now + EG_COOLDOWN_MAX_MS);
	eg_cooldown_clear(&p.engine, NULL, &a,
			  now); /* began before that was said: proves nothing */
	assert_int_equal(eg_cooldown_until(&p.engine, NULL, &a, &stated), now + EG_COOLDOWN_MAX_MS);
	assert_true(stated);
	eg_cooldown_clear(&p.engine, NULL, &a, now + 1);
	assert_int_equal(eg_cooldown_until(&p.engine, NULL, &a, &stated), 0);
	eg_cooldown_set(&p.engine, NULL, &a, EG_RESPONSE_FAILOVER, 0); /* our own guess */
	assert_int_equal(eg_cooldown_until(&p.engine, NULL, &a, &stated),
			 now + EG_COOLDOWN_DEFAULT_MS);
	assert_false(stated);
	eg_cooldown_set(&p.engine, NULL, &a, EG_RESPONSE_FAILOVER, EG_COOLDOWN_DEFAULT_MS);
	assert_int_equal(eg_cooldown_until(&p.engine, NULL, &a, &stated),
			 now + EG_COOLDOWN_DEFAULT_MS);
	assert_true(stated);
	/* A spent quota: a minute, or longer where the provider says so. */
	eg_cooldown_set(&p.engine, NULL, &a, EG_RESPONSE_QUOTA, 3000);
	assert_int_equal(eg_cooldown_until(&p.engine, NULL, &a, &stated),
			 now + EG_COOLDOWN_QUOTA_MS);
	eg_cooldown_set(&p.engine, NULL, &a, EG_RESPONSE_QUOTA, 75000);
	assert_int_equal(eg_cooldown_until(&p.engine, NULL, &a, &stated), now + 75000);
	assert_true(stated);
	plane_down(&p);
	(void)state;
}

/* What one key has spent says nothing of the next; a reload that brings the same key changes
 * nothing. */
static void test_cooldowns_by_key(void **state)
{
	static struct eg_cooldowns c;
	struct eg_provider a = {.name = "a", .host = "h", .port = 443};
	bool stated;

	eg_cooldowns_set(&c, &a, 7, 1000, 60000, true);
	assert_int_equal(eg_cooldowns_until(&c, &a, 7, 1000, &stated), 61000);
	assert_int_equal(eg_cooldowns_until(&c, &a, 8, 1000, &stated), 0);
	assert_int_equal(eg_cooldowns_until(&c, &a, 0, 1000, &stated), 0);
	eg_cooldowns_clear(&c, &a, 8, 2000);
	assert_int_equal(eg_cooldowns_until(&c, &a, 7, 1000, &stated), 61000);
	eg_cooldowns_clear(&c, &a, 7, 2000);
	assert_int_equal(eg_cooldowns_until(&c, &a, 7, 1000, &stated), 0);
	(void)state;
}

/* More providers than places: none breaks, the newest is remembered. */
static void test_many_cooldowns(void **state)
{
	struct plane p;
	char name[32];
	bool stated;

	plane_up(&p, NULL);
	for (int i = 0; i < 2000; i++) {
		struct eg_provider x = {.name = name, .host = "h", .port = 443};

		snprintf(name, sizeof(name), "provider-%d", i);
		eg_cooldown_set(&p.engine, NULL, &x, EG_RESPONSE_FAILOVER, 1000 + (uint64_t)i);
		assert_true(eg_cooldown_until(&p.engine, NULL, &x, &stated) > 0);
	}
	plane_down(&p);
	(void)state;
}

static void test_request_ids(void **state)
{
	enum { COUNT = 5000 };
	struct plane p;
	char(*ids)[33] = calloc(COUNT, sizeof(*ids));

	plane_up(&p, NULL);
	for (int i = 0; i < COUNT; i++) {
		eg_engine_request_id(&p.engine, ids[i]);
		assert_int_equal(strspn(ids[i], "0123456789abcdef"), 32);
	}
	qsort(ids, COUNT, sizeof(*ids), (int (*)(const void *, const void *))strcmp);
	for (int i = 1; i < COUNT; i++)
		assert_string_not_equal(ids[i - 1], ids[i]);
	free(ids);
	plane_down(&p);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_budgets),		 cmocka_unit_test(test_budget_over_workers),
		cmocka_unit_test(test_many_pods),	 cmocka_unit_test(test_cooldowns),
		cmocka_unit_test(test_cooldowns_by_key), cmocka_unit_test(test_many_cooldowns),
		cmocka_unit_test(test_request_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
