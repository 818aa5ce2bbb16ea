/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BPF programs by test run: make bpf-test, as root. An argument runs only the suite it names.
 * `cost` measures and is run only when named. What a test run can't show (redirect_peer, the stamp)
 * is in live.c.
 */
#include <stdio.h>
#include <string.h>

#include "harness.h"

static const struct {
	const char *name;
	void (*run)(void);
} suites[] = {
	{"egress", test_egress},   {"verdicts", test_verdicts}, {"parse", test_parse},
	{"flows", test_flows},	   {"fail", test_fail},		{"counters", test_counters},
	{"reply", test_reply},	   {"lookup", test_lookup},	{"guard", test_guard},
	{"dns", test_dns},	   {"learn", test_learn},	{"sni", test_sni},
	{"observe", test_observe}, {"xdp", test_xdp},		{"live", test_live},
	{"cost", test_cost},
};

int main(int argc, char **argv)
{
	int i, ran = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	world_load();
	for (i = 0; i < (int)(sizeof(suites) / sizeof(*suites)); i++) {
		if (argc > 1 ? strcmp(argv[1], suites[i].name) != 0 : suites[i].run == test_cost)
			continue;
		suites[i].run();
		ran++;
	}
	check(ran > 0, "suite", "no suite named %s", argc > 1 ? argv[1] : "");
	world_unload();
	return summary();
}
