/* SPDX-License-Identifier: Apache-2.0 */
/* guard_tc by test run; its stamp and the agent's cgroup, which a test run can't set, are in
 * live.c. */
#include <netinet/in.h>
#include <string.h>

#include "harness.h"

static enum verdict guard(const struct frame *f, bool forwarded)
{
	struct run r = {.ifindex = UPLINK, .ingress_ifindex = forwarded ? POD : 0};
	uint8_t frame[PACKET_MAX];

	return run_tc(progs.guard, frame, frame_build(f, frame), &r);
}

struct row {
	const char *name;
	struct frame frame;
	enum verdict forwarded, own; /* own: of a node process, with guard_host: deny */
	int reason;		     /* of the forwarded one */
};

#define TO(d)  .source = POD4, .destination = d
#define TO6(d) .source = POD6, .destination = d

static const struct row rows[] = {
	{"443", {TO(PROVIDER4)}, DROP, DROP, EG_REASON_GUARD_NO_STAMP},
	{"80", {TO(CIDR4), .dport = 80}, DROP, DROP, EG_REASON_GUARD_NO_STAMP},
	{"443 v6", {TO6(PROVIDER6)}, DROP, DROP, EG_REASON_GUARD_NO_STAMP},
	{"QUIC", {TO(PROVIDER4), .protocol = IPPROTO_UDP}, DROP, DROP, EG_REASON_QUIC_REFUSED},
	{"QUIC v6", {TO6(CIDR6), .protocol = IPPROTO_UDP}, DROP, DROP, EG_REASON_QUIC_REFUSED},
	{"other port", {TO(PROVIDER4), .dport = 22}, NEXT, NEXT, 0},
	{"DNS", {TO(PROVIDER4), .protocol = IPPROTO_UDP, .dport = 53}, NEXT, NEXT, 0},
	{"UDP 80", {TO(PROVIDER4), .protocol = IPPROTO_UDP, .dport = 80}, NEXT, NEXT, 0},
	{"UDP fragment",
	 {TO(PROVIDER4), .protocol = IPPROTO_UDP, .fragment = 1},
	 DROP,
	 DROP,
	 EG_REASON_GUARD_NO_STAMP},
	{"ICMP", {TO(PROVIDER4), .protocol = IPPROTO_ICMP}, NEXT, NEXT, 0},
	{"elsewhere", {TO(ELSEWHERE4)}, NEXT, NEXT, 0},
	{"excluded", {TO(EXCLUDED4)}, NEXT, NEXT, 0},
	{"options",
	 {TO(PROVIDER4), .options = {1}, .options_length = 4},
	 DROP,
	 DROP,
	 EG_REASON_GUARD_NO_STAMP},
	{"fragment", {TO(PROVIDER4), .fragment = 1}, DROP, DROP, EG_REASON_GUARD_NO_STAMP},
	{"later fragment", {TO(PROVIDER4), .fragment = 64}, DROP, DROP, EG_REASON_GUARD_NO_STAMP},
	{"VLAN", {TO(PROVIDER4), .vlans = 1, .vlan = {7}}, DROP, DROP, EG_REASON_GUARD_NO_STAMP},
	{"QinQ", {TO(PROVIDER4), .vlans = 2, .vlan = {7, 8}}, DROP, DROP, EG_REASON_GUARD_NO_STAMP},
	{"extension headers",
	 {TO6(PROVIDER6), .extensions = 2, .extension = {{0}, {60}}},
	 DROP,
	 DROP,
	 EG_REASON_GUARD_NO_STAMP},
	{"too many extension headers",
	 {TO6(PROVIDER6), .extensions = 7, .extension = {{0}, {60}, {60}, {60}, {60}, {60}, {60}}},
	 DROP,
	 DROP,
	 EG_REASON_GUARD_NO_STAMP},
	{"too many extension headers elsewhere",
	 {TO6(ELSEWHERE6), .extensions = 7, .extension = {{0}, {60}, {60}, {60}, {60}, {60}, {60}}},
	 NEXT,
	 NEXT,
	 0},
	{"NAT64", {TO6("64:ff9b::c633:6407")}, DROP, DROP, EG_REASON_GUARD_NO_STAMP},
	{"local NAT64", {TO6("64:ff9b:1::c633:6407")}, NEXT, NEXT, 0},
	{"IPv4-translated", {TO6("::ffff:0:198.51.100.7")}, NEXT, NEXT, 0},
	{"Teredo", {TO6("2001::39cc:9bf8")}, NEXT, NEXT, 0},
	{"gateway address", {TO(GATEWAY4), .dport = 80}, DROP, DROP, EG_REASON_GUARD_NO_STAMP},
	{"bare ACK", {TO(PROVIDER4), .tcp_flags = ACK}, DROP, NEXT, EG_REASON_GUARD_NO_STAMP},
	{"bare RST", {TO(PROVIDER4), .tcp_flags = RST}, DROP, NEXT, EG_REASON_GUARD_NO_STAMP},
	{"bare FIN", {TO(PROVIDER4), .tcp_flags = FIN}, DROP, DROP, EG_REASON_GUARD_NO_STAMP},
	{"bare ACK, fragment",
	 {TO(PROVIDER4), .tcp_flags = ACK, .fragment = 1},
	 DROP,
	 DROP,
	 EG_REASON_GUARD_NO_STAMP},
	{"SYN ACK", {TO(PROVIDER4), .tcp_flags = SYN | ACK}, DROP, DROP, EG_REASON_GUARD_NO_STAMP},
	{"ACK with data",
	 {TO(PROVIDER4), .tcp_flags = ACK, .payload = "x", .payload_length = 1},
	 DROP,
	 DROP,
	 EG_REASON_GUARD_NO_STAMP},
};

void test_guard(void)
{
	struct frame learned = {TO(ELSEWHERE4)};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct row *row = &rows[i];
		enum verdict v;

		world_reset();
		v = guard(&row->frame, true);
		check(v == row->forwarded, row->name, "guard, forwarded: %s", verdict_text(v));
		check(count_all() == (row->reason != 0), row->name, "guard, forwarded: counted");
		if (row->reason)
			check(count_of((enum eg_reason)row->reason, EG_HOOK_GUARD) == 1, row->name,
			      "guard, forwarded: reason");
		world_reset();
		v = guard(&row->frame, false);
		check(v == NEXT, row->name, "guard, node process allowed: %s", verdict_text(v));
		world_config()->guard_host_deny = 1;
		v = guard(&row->frame, false);
		check(v == row->own, row->name, "guard, node process denied: %s", verdict_text(v));
		if (v == DROP)
			check(count_of(EG_REASON_GUARD_HOST, EG_HOOK_GUARD) == 1, row->name,
			      "guard, node process: reason");
		world_config()->enabled = 0;
		check(guard(&row->frame, true) == NEXT, row->name, "guard, disabled");
	}
	/* Without a stamp, a packet that carries none has none. */
	world_reset();
	world_config()->stamp = 0;
	check(guard(&rows[0].frame, true) == DROP, "guard", "no stamp configured");
	/* What a pod taught is not the node's business. */
	world_reset();
	set_learned(POD, ELSEWHERE4, 5, 0);
	check(guard(&learned, true) == NEXT, "guard", "learned addresses are not used");
}
