/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts, flags and ranges out of policy. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/plan.h"

static const struct eg_verdict *verdict(const struct eg_verdict_rule *rules, size_t n,
					uint8_t protocol, uint16_t port)
{
	for (size_t i = 0; i < n; i++)
		if (rules[i].key.protocol == protocol && rules[i].key.port_be == htons(port))
			return &rules[i].verdict;
	fail_msg("no rule for protocol %u port %u", protocol, port);
	return &rules[0].verdict;
}

static void test_enforce(void **state)
{
	struct eg_policy p = {.mode = EG_MODE_ENFORCE};
	struct eg_verdict_rule r[EG_PLAN_RULES];
	size_t n = eg_plan_verdicts(&p, 7, r);

	assert_int_equal(verdict(r, n, IPPROTO_TCP, 443)->action, EG_ACTION_REDIRECT);
	assert_int_equal(verdict(r, n, IPPROTO_TCP, 80)->action, EG_ACTION_REDIRECT);
	assert_int_equal(verdict(r, n, IPPROTO_TCP, 0)->action, EG_ACTION_DROP);
	assert_int_equal(verdict(r, n, IPPROTO_TCP, 0)->reason, EG_REASON_PORT_DENIED);
	assert_int_equal(verdict(r, n, IPPROTO_UDP, 443)->action, EG_ACTION_DROP);
	assert_int_equal(verdict(r, n, IPPROTO_UDP, 443)->reason, EG_REASON_QUIC_REFUSED);
	assert_int_equal(verdict(r, n, 0, 0)->action, EG_ACTION_DROP);
	assert_int_equal(verdict(r, n, 0, 0)->reason, EG_REASON_PROTOCOL_DENIED);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(r[i].key.policy_id, 7);
		assert_int_equal(r[i].key.name_id, 0);
		assert_int_equal(r[i].key.pad, 0); /* part of the hash */
	}
}

static void test_shadow_changes_nothing(void **state)
{
	static const enum eg_policy_mode modes[] = {EG_MODE_SHADOW_SNI, EG_MODE_SHADOW_FULL};

	for (size_t m = 0; m < EG_ARRAY_SIZE(modes); m++) {
		struct eg_policy p = {.mode = modes[m], .strict = true};
		struct eg_verdict_rule r[EG_PLAN_RULES];
		size_t n = eg_plan_verdicts(&p, 1, r);

		for (size_t i = 0; i < n; i++)
			assert_int_not_equal(r[i].verdict.action, EG_ACTION_DROP);
		assert_int_equal(verdict(r, n, IPPROTO_TCP, 443)->action, EG_ACTION_REDIRECT);
		assert_int_equal(verdict(r, n, IPPROTO_UDP, 443)->action, EG_ACTION_PASS);
		struct eg_selected of = {EG_SELECTION_POLICY, &p, false};

		assert_int_equal(eg_plan_flags(&of, EG_FAIL_CLOSED),
				 EG_POD_FAIL_OPEN | EG_POD_SHADOW);
		p.fail_stated = true; /* and says closed: nothing is closed by what only watches */
		assert_int_equal(eg_plan_flags(&of, EG_FAIL_CLOSED),
				 EG_POD_FAIL_OPEN | EG_POD_SHADOW);
		/* Nor is it while it is not known whether it watches at all. */
		of.what = EG_SELECTION_PERHAPS;
		assert_int_equal(eg_plan_flags(&of, EG_FAIL_CLOSED),
				 EG_POD_UNKNOWN_ALLOW | EG_POD_SHADOW);
	}
}

static void test_flags(void **state)
{
	struct eg_policy p = {.mode = EG_MODE_ENFORCE};
	struct eg_selected of = {EG_SELECTION_POLICY, &p, true}, none = {EG_SELECTION_NONE},
			   perhaps = {EG_SELECTION_PERHAPS, &p, true};

	assert_int_equal(eg_plan_state(&of), EG_POD_GOVERNED);
	assert_int_equal(eg_plan_state(&none), EG_POD_UNGOVERNED);
	assert_int_equal(eg_plan_state(&perhaps), EG_POD_HELD);
	assert_int_equal(eg_plan_flags(&none, EG_FAIL_OPEN), 0);
	assert_int_equal(eg_plan_flags(&perhaps, EG_FAIL_OPEN), 0);
	assert_int_equal(eg_plan_flags(&of, EG_FAIL_CLOSED), 0);
	/* what a policy states wins, both ways */
	assert_int_equal(eg_plan_flags(&of, EG_FAIL_OPEN), EG_POD_FAIL_OPEN);
	p.fail_stated = true;
	assert_int_equal(eg_plan_flags(&of, EG_FAIL_OPEN), 0);
	p.fail_open = true;
	assert_int_equal(eg_plan_flags(&of, EG_FAIL_CLOSED), EG_POD_FAIL_OPEN);
	p.fail_open = false;
	p.strict = p.capture_all_tls = true;
	assert_int_equal(eg_plan_flags(&of, EG_FAIL_OPEN), EG_POD_STRICT | EG_POD_CAPTURE_ALL_TLS);
}

static void test_cidr(void **state)
{
	static const struct {
		const char *text, *address;
		int bits;
	} good[] = {
		{"10.0.0.0/8", "10.0.0.0", 8},
		{"10.1.2.3/8", "10.0.0.0", 8},
		{"10.1.2.3", "10.1.2.3", 32},
		{"0.0.0.0/0", "0.0.0.0", 0},
		{"255.255.255.255/31", "255.255.255.254", 31},
		{"fd00:1::5/64", "fd00:1::", 64},
		{"fd00::1", "fd00::1", 128},
		{"::/0", "::", 0},
		{"2001:db8:ff::/33", "2001:db8::", 33},
	};
	static const char *const bad[] = {
		"",	    "/8",	  "10.0.0.0/33", "10.0.0.0/",	"10.0.0.0/x",
		"10.0.0/8", "fd00::/129", "name/8",	 "10.0.0.0/-1", "10.0.0.0/8/8"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(good); i++) {
		struct eg_cidr c;
		struct eg_address want;

		assert_int_equal(eg_plan_cidr(eg_str_from(good[i].text), true, &c), 0);
		assert_int_equal(eg_address_from_text(good[i].address, &want), 0);
		/* "::" is not the mapped 0.0.0.0 */
		assert_memory_equal(&c.address, &want, sizeof(want));
		assert_int_equal(c.prefix_bits, good[i].bits);
		assert_true(c.excluded);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		struct eg_cidr c;

		if (eg_plan_cidr(eg_str_from(bad[i]), false, &c) != -EINVAL)
			fail_msg("'%s' was taken as a range", bad[i]);
	}
}

static void test_covers(void **state)
{
	static const struct {
		const char *range, *address;
		bool covers;
	} cases[] = {
		{"10.0.0.0/8", "10.255.255.255", true},
		{"10.0.0.0/8", "11.0.0.0", false},
		{"10.0.0.0/31", "10.0.0.1", true},
		{"10.0.0.0/31", "10.0.0.2", false},
		{"10.0.0.1", "10.0.0.1", true},
		{"0.0.0.0/0", "192.0.2.1", true},
		{"0.0.0.0/0", "2001:db8::1", false},
		{"::/0", "2001:db8::1", true},
		{"::/0", "192.0.2.1", false},
		{"2001:db8::/33", "2001:db8:7fff::1", true},
		{"2001:db8::/33", "2001:db8:8000::1", false},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct eg_address a;
		struct eg_cidr c;

		assert_int_equal(eg_plan_cidr(eg_str_from(cases[i].range), false, &c), 0);
		assert_int_equal(eg_address_from_text(cases[i].address, &a), 0);
		if (eg_plan_covers(&c, &a) != cases[i].covers)
			fail_msg("%s, %s", cases[i].range, cases[i].address);
	}
	(void)state;
}

static void test_pod_name(void **state)
{
	static const struct {
		const char *namespace_name, *name, *want;
	} cases[] = {
		{"shop", "podA", "shop/podA"},
		/* 63 bytes, which fit, and 64 */
		{"n", "abcdefghi-abcdefghi-abcdefghi-abcdefghi-abcdefghi-abcdefghi-x",
		 "n/abcdefghi-abcdefghi-abcdefghi-abcdefghi-abcdefghi-abcdefghi-x"},
		{"n", "abcdefghi-abcdefghi-abcdefghi-abcdefghi-abcdefghi-abcdefghi--x",
		 "n/abcdefghi-abcdefghi-abcdefgh...cdefghi-abcdefghi-abcdefghi--x"},
		{"production-platform", "assistant-frontend-recommendation-7d9f8b6c5d-x2x4z",
		 "production-platform/assistant-...ecommendation-7d9f8b6c5d-x2x4z"},
		{"production-platform", "assistant-frontend-recommendation-7d9f8b6c5d-q8v7k",
		 "production-platform/assistant-...ecommendation-7d9f8b6c5d-q8v7k"},
		{"a-namespace-with-a-name-of-sixty-three-characters-as-is-allowed", "p",
		 "a-namespace-with-a-name-of-six...p"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		const struct eg_identity id = {.namespace_name = cases[i].namespace_name,
					       .name = cases[i].name};
		char name[EG_POD_NAME];

		eg_plan_pod_name(&id, name);
		assert_string_equal(name, cases[i].want);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_enforce), cmocka_unit_test(test_shadow_changes_nothing),
		cmocka_unit_test(test_flags),	cmocka_unit_test(test_cidr),
		cmocka_unit_test(test_covers),	cmocka_unit_test(test_pod_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
