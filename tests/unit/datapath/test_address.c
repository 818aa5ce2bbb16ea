/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, prefixes and names of pins: the parts of the datapath that need no kernel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "datapath/internal.h"

static struct eg_address parse(const char *text)
{
	struct eg_address a;

	if (eg_address_from_text(text, &a))
		fail_msg("not an address: %s", text);
	return a;
}

static void text_round_trips(void **state)
{
	static const char *const rows[] = {
		"1.2.3.4", "255.255.255.255", "0.0.0.0",	  "::",
		"::1",	   "2001:db8::1",     "64:ff9b::102:304", "::1.2.3.4"};
	char text[EG_ADDRESS_TEXT];

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_address a = parse(rows[i]);

		assert_string_equal(eg_address_format(&a, text), rows[i]);
	}
}

static void one_form_for_mapped(void **state)
{
	struct eg_address a = parse("::ffff:1.2.3.4"), b = parse("1.2.3.4");

	assert_memory_equal(&a, &b, sizeof(a));
	assert_true(eg_address_is4(&a));
	a = parse("::1.2.3.4");
	assert_false(eg_address_is4(&a));
}

static void refuses_what_is_no_address(void **state)
{
	static const char *const rows[] = {
		"",	    "1.2.3",	  "1.2.3.4.5",	      "01.2.3.4", "1.2.3.256",
		" 1.2.3.4", "1.2.3.4/32", "2001:db8::1%eth0", "::g",	  "localhost"};
	struct eg_address a = {{1, 2, 3, 4}}, before = a;

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		if (!eg_address_from_text(rows[i], &a))
			fail_msg("accepted: %s", rows[i]);
		assert_memory_equal(&a, &before, sizeof(a));
	}
}

static void prefixes(void **state)
{
	static const struct {
		const char *address, *prefix;
		unsigned int bits;
		bool in;
	} rows[] = {
		{"10.1.2.3", "10.0.0.0", 96 + 8, true},
		{"11.1.2.3", "10.0.0.0", 96 + 8, false},
		{"10.1.2.3", "10.1.2.3", 128, true},
		{"10.1.2.2", "10.1.2.3", 128, false},
		{"10.1.2.2", "10.1.2.3", 127, true},
		{"1.2.3.4", "0.0.0.0", 96, true},
		{"2001:db8::1", "0.0.0.0", 96, false},
		{"2001:db8::1", "::", 0, true},
		{"2001:db8:8000::1", "2001:db8::", 33, false},
		{"2001:db8:7000::1", "2001:db8::", 33, true},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_address a = parse(rows[i].address), p = parse(rows[i].prefix);

		if (eg_address_in(&a, &p, rows[i].bits) != rows[i].in)
			fail_msg("%s in %s/%u", rows[i].address, rows[i].prefix, rows[i].bits);
	}
}

static void masks(void **state)
{
	static const struct {
		const char *address, *want;
		unsigned int bits;
	} rows[] = {
		{"10.1.2.3", "10.1.2.3", 128},
		{"10.1.2.3", "10.1.2.0", 96 + 24},
		{"10.1.255.3", "10.1.254.0", 96 + 23},
		{"10.1.2.3", "0.0.0.0", 96},
		{"2001:db8:ffff::1", "2001:db8:8000::", 33},
		{"2001:db8::1", "::", 0},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", 64},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_address a = parse(rows[i].address), want = parse(rows[i].want);

		eg_address_mask(&a, rows[i].bits);
		assert_memory_equal(&a, &want, sizeof(a));
	}
}

static void what_names_never_govern(void **state)
{
	static const char *const never[] = {"0.1.2.3",	       "127.0.0.1", "127.255.255.255",
					    "169.254.169.254", "224.0.0.1", "240.0.0.1",
					    "255.255.255.255", "::",	    "::1",
					    "::1.2.3.4",       "fe80::1",   "febf::1",
					    "fec0::1",	       "ff02::1",   "2002:102:304::1"};
	static const char *const may[] = {"1.1.1.1",	 "10.0.0.1",	"126.255.255.255",
					  "128.0.0.1",	 "169.253.1.1", "223.255.255.255",
					  "2001:db8::1", "fd00::1",	"64:ff9b::102:304"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(never); i++) {
		struct eg_address a = parse(never[i]);

		if (!eg_address_never_governed(&a))
			fail_msg("%s may be governed", never[i]);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(may); i++) {
		struct eg_address a = parse(may[i]);

		if (eg_address_never_governed(&a))
			fail_msg("%s may not be governed", may[i]);
	}
}

static void names_of_pins(void **state)
{
	static const char *const bad[] = {"",
					  "-",
					  "egress_tc",
					  "egress_tc-",
					  "egress_tc-x",
					  "egress_tc-1x",
					  "egress_tc--1",
					  "egress_tc-99999999999",
					  "egress-1",
					  "other-1",
					  "egress_tc-1-tcx",
					  "egress_tc2-1",
					  "-1"};
	struct eg_pin_name p;

	assert_true(eg_pin_name_parse("egress_tc-17", &p));
	assert_int_equal(p.program, EG_PROGRAM_EGRESS_TC);
	assert_int_equal(p.ifindex, 17);
	assert_false(p.clsact);
	assert_true(eg_pin_name_parse("guard_tc-3-tc", &p));
	assert_int_equal(p.program, EG_PROGRAM_GUARD_TC);
	assert_true(p.clsact);
	assert_true(eg_pin_name_parse("qdisc-3", &p));
	assert_int_equal(p.program, EG_PROGRAM_COUNT);
	assert_true(eg_pin_name_parse("listener_lookup-0", &p));
	assert_int_equal(p.ifindex, 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++)
		if (eg_pin_name_parse(bad[i], &p))
			fail_msg("accepted: %s", bad[i]);
}

static void tables_are_whole(void **state)
{
	for (int i = 0; i < EG_MAP_COUNT; i++)
		assert_non_null(eg_map_table[i].name);
	for (int i = 0; i < EG_PROGRAM_COUNT; i++) {
		assert_non_null(eg_program_table[i].name);
		assert_non_null(eg_program_table[i].without);
		assert_non_null(eg_program_table[i].elf);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_round_trips),
		cmocka_unit_test(one_form_for_mapped),
		cmocka_unit_test(refuses_what_is_no_address),
		cmocka_unit_test(prefixes),
		cmocka_unit_test(masks),
		cmocka_unit_test(what_names_never_govern),
		cmocka_unit_test(names_of_pins),
		cmocka_unit_test(tables_are_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
