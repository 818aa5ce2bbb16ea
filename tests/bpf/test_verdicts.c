/* SPDX-License-Identifier: Apache-2.0 */
/* What verdicts, destinations and the configuration mean at their edges, for egress_tc. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"

#define T4(d) .source = POD4, .destination = d
#define T6(d) .source = POD6, .destination = d

/*
 * A verdict for another protocol than TCP, or for every one, lets a packet pass or does nothing:
 * there is no reset and no listener for it. And one for TCP says nothing of TCP that can't be read.
 */
static void test_verdict_protocols(void)
{
	static const struct {
		const char *name;
		struct frame frame;
		uint8_t protocol; /* of the verdict, with port 443 if it is not 0 */
		enum eg_action action;
		enum verdict verdict;
		enum eg_reason reason;
	} of[] = {
		{"UDP redirect",
		 {T4(PROVIDER4), .protocol = IPPROTO_UDP},
		 IPPROTO_UDP,
		 EG_ACTION_REDIRECT,
		 DROP,
		 EG_REASON_QUIC_REFUSED},
		{"UDP reset",
		 {T4(PROVIDER4), .protocol = IPPROTO_UDP},
		 IPPROTO_UDP,
		 EG_ACTION_RESET,
		 DROP,
		 EG_REASON_QUIC_REFUSED},
		{"UDP pass",
		 {T4(PROVIDER4), .protocol = IPPROTO_UDP},
		 IPPROTO_UDP,
		 EG_ACTION_PASS,
		 NEXT,
		 EG_REASON_SHADOW},
		{"any redirect, QUIC",
		 {T6(PROVIDER6), .protocol = IPPROTO_UDP},
		 0,
		 EG_ACTION_REDIRECT,
		 DROP,
		 EG_REASON_QUIC_REFUSED},
		{"any redirect, ICMP",
		 {T4(PROVIDER4), .protocol = IPPROTO_ICMP},
		 0,
		 EG_ACTION_REDIRECT,
		 DROP,
		 EG_REASON_PROTOCOL_DENIED},
		{"any redirect, fragment",
		 {T4(PROVIDER4), .fragment = 1},
		 0,
		 EG_ACTION_REDIRECT,
		 DROP,
		 EG_REASON_FRAGMENT},
		{"any redirect, data offset 16",
		 {T4(PROVIDER4), .tcp_header = 16},
		 0,
		 EG_ACTION_REDIRECT,
		 DROP,
		 EG_REASON_UNPARSEABLE},
		{"TCP pass, fragment",
		 {T4(PROVIDER4), .fragment = 1},
		 IPPROTO_TCP,
		 EG_ACTION_PASS,
		 DROP,
		 EG_REASON_FRAGMENT},
		{"any pass, fragment",
		 {T4(PROVIDER4), .fragment = 1},
		 0,
		 EG_ACTION_PASS,
		 NEXT,
		 EG_REASON_SHADOW},
	};
	size_t i;

	for (i = 0; i < sizeof(of) / sizeof(*of); i++) {
		bool pass = of[i].action == EG_ACTION_PASS;
		char name[64];
		enum verdict v;

		snprintf(name, sizeof(name), "verdict for %s", of[i].name);
		world_reset();
		set_verdict(3, 5, of[i].protocol, of[i].protocol ? 443 : 0, of[i].action,
			    pass ? EG_REASON_SHADOW : EG_REASON_DENY);
		v = run_frame(progs.egress, POD, &of[i].frame);
		check(v == of[i].verdict, name, "verdict %s", verdict_text(v));
		check(count_all() == 1 && count_of(of[i].reason, EG_HOOK_EGRESS) == 1, name,
		      "reason");
		check(pass || !find_flow(POD, &of[i].frame, NULL), name, "a flow");
	}
}

/* Addresses that stand for "there is none" in the configuration are nobody's gateway. */
static void test_no_gateway(void)
{
	struct frame four = {T4("0.0.0.0")}, six = {T6("::")}, inside = {T6("64:ff9b::")};

	world_reset();
	world_config()->gateway4_be = 0;
	memset(world_config()->gateway6_be, 0, sizeof(world_config()->gateway6_be));
	check(run_frame(progs.egress, POD, &four) == NEXT, "no gateway", "0.0.0.0");
	check(run_frame(progs.egress, POD, &six) == NEXT, "no gateway", "::");
	check(run_frame(progs.egress, POD, &inside) == NEXT, "no gateway", "0.0.0.0 in NAT64");
	check(count_of(EG_REASON_PASS_UNGOVERNED, EG_HOOK_EGRESS) == 3, "no gateway", "reason");
}

/* An address of a name is governed until user space removes it, so that it stays when nobody is
 * there to resolve the name again; an entry of its own wins over one inside. */
static void test_destinations(void)
{
	struct eg_lpm4 key = {.prefix_bits = 32, .address_be = address_of(ELSEWHERE4).word_be[3]};
	struct eg_destination d = {.name_id = 5, .origin = EG_DESTINATION_RESOLVED};
	struct frame f = {T4(ELSEWHERE4)}, six = {T6("64:ff9b::c633:6407")};

	world_reset();
	d.expires_ns = now_ns() + 100 * SECOND;
	map_set("destinations4", &key, &d);
	check(run_frame(progs.egress, POD, &f) == REDIRECT, "destination", "not expired");
	world_reset();
	d.expires_ns = now_ns() - SECOND;
	map_set("destinations4", &key, &d);
	check(run_frame(progs.egress, POD, &f) == REDIRECT, "destination", "not removed yet");
	world_config()->heartbeat_ns = now_ns() - 121 * SECOND;
	check(run_frame(progs.egress, POD, &f) == RESET, "destination",
	      "nor when no agent is there");
	world_reset();
	set_destination("64:ff9b::c633:6407/128", 0, EG_DESTINATION_EXCLUDED);
	check(run_frame(progs.egress, POD, &six) == NEXT, "destination",
	      "the NAT64 form excluded, the address inside governed");
	six.destination = "64:ff9b:1::c633:6407";
	set_destination("64:ff9b:1::/48", 0, EG_DESTINATION_CIDR);
	check(run_frame(progs.egress, POD, &six) == REDIRECT, "destination",
	      "a NAT64 prefix listed as a CIDR");
}

/* Its flows are followed, but what can't be read is none of ours. */
static void test_ungoverned_hidden(void)
{
	struct eg_pod pod = pod_of(1, EG_POD_UNGOVERNED, EG_POD_FOLLOW_FLOWS, POD4, NULL);
	struct frame f = {T4(PROVIDER4), .vlans = 3};

	world_reset();
	set_pod(POD, &pod);
	check(run_frame(progs.egress, POD, &f) == NEXT && !count_all(), "ungoverned",
	      "three tags, flows followed");
}

void test_verdicts(void)
{
	test_verdict_protocols();
	test_no_gateway();
	test_destinations();
	test_ungoverned_hidden();
}
