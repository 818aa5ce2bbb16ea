/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/stream.h"
#include "upstream/dial_rules.h"

static struct eg_address address(const char *text)
{
	struct eg_address a;

	assert_int_equal(eg_address_parse(eg_str_from(text), &a), 0);
	return a;
}

static void test_table(void **state)
{
	static const struct {
		const char *address;
		bool provider, inside, original;
	} cases[] = {
		/*		      provider allow_private original */
		{"8.8.8.8", true, true, true},
		{"2606:4700::1", true, true, true},
		{"10.1.2.3", false, true, true},
		{"172.16.0.1", false, true, true},
		{"172.32.0.1", true, true, true},
		{"192.168.1.1", false, true, true},
		{"100.64.0.1", false, true, true},
		{"100.128.0.1", true, true, true},
		{"198.18.0.1", false, true, true},
		{"198.20.0.1", true, true, true},
		{"fd00::1", false, true, true},
		{"fe00::1", true, true, true},
		{"127.0.0.1", false, true, false},
		{"::1", false, true, false},
		{"169.254.169.254", false, false, false},
		{"fe80::1", false, false, false},
		{"0.0.0.0", false, false, false},
		{"::", false, false, false},
		{"224.0.0.1", false, false, false},
		{"ff02::1", false, false, false},
		{"255.255.255.255", false, false, false},
		{"fd00:ec2::254", false, false, false},
		{"fd00:ec2::253", false, true, true},
		{"fec0::1", false, false, false},
		{"169.253.0.1", true, true, true},
		{"64:ff9b:1::169.254.169.254", false, false, false},
		{"::ffff:169.254.169.254", false, false, false},
		{"::ffff:0:169.254.169.254", false, false, false},
		{"2002:a9fe:a9fe::1", false, false, false},
		/* IPv4 in IPv6: judged as the address it leads to, too */
		{"::ffff:8.8.8.8", true, true, true},
		{"::ffff:10.1.2.3", false, true, true},
		{"::ffff:127.0.0.1", false, true, false},
		{"64:ff9b::8.8.8.8", true, true, true},
		{"64:ff9b::10.1.2.3", false, true, true},
		{"64:ff9b::203.0.113.7", false, true, false},
		{"64:ff9b::169.254.169.254", false, false, false},
		{"64:ff9b:1::8.8.8.8", true, true, true},
		{"64:ff9b:1::10.1.2.3", false, true, true},
		{"64:ff9b:1::203.0.113.7", false, true, false},
		{"64:ff9b:1:cb00:71:700::", false, true, false},    /* 203.0.113.7 after 48 bits */
		{"64:ff9b:1:808:8:800::", true, true, true},	    /* 8.8.8.8 */
		{"64:ff9b:1:22cb:0:7107::", false, true, false},    /* after 56 */
		{"64:ff9b:1:2222:cb:71:700:0", false, true, false}, /* after 64 */
		{"64:ff9b:1:2222:a:102:300:0", false, true, true},  /* 10.1.2.3 */
		{"64:ff9b:1:2222:8:808:800:0", true, true, true},
		{"::10.1.2.3", false, true, true},
		{"::203.0.113.7", false, true, false},
		{"::ffff:0:10.1.2.3", false, true, true},
		{"::ffff:0:203.0.113.7", false, true, false},
		{"2002:a01:203::1", false, true, true},
		{"2002:cb00:7107::1", false, true, false},
		{"2002:808:808::1", true, true, true},
		/* forbidden ranges of this test */
		{"203.0.113.7", false, true, false},
		{"203.0.113.200", true, true, true},
		{"2001:db8:5::1", false, true, false},
		{"2001:db8:6::1", true, true, true},
	};
	struct eg_cidr forbidden[] = {{address("203.0.113.0"), 96 + 25},
				      {address("2001:db8:5::"), 48}};
	struct eg_dial_rules rules = {forbidden, 2};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct eg_address a = address(cases[i].address);

		if (eg_may_dial_provider(&rules, &a, false) != cases[i].provider ||
		    eg_may_dial_provider(&rules, &a, true) != cases[i].inside ||
		    eg_may_dial_original(&rules, &a) != cases[i].original)
			fail_msg("%s", cases[i].address);
	}
	(void)state;
}

static void test_prefixes(void **state)
{
	struct eg_address a = address("10.1.2.3");

	assert_true(eg_cidr_holds(&(struct eg_cidr){a, 128}, &a));
	assert_true(eg_cidr_holds(&(struct eg_cidr){address("::"), 0}, &a));
	assert_true(eg_cidr_holds(&(struct eg_cidr){address("10.0.0.0"), 104}, &a));
	assert_false(eg_cidr_holds(&(struct eg_cidr){address("10.1.2.2"), 128}, &a));
	assert_true(eg_cidr_holds(&(struct eg_cidr){address("10.1.2.2"), 127}, &a));
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_prefixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
