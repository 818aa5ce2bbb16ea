/* SPDX-License-Identifier: Apache-2.0 */
/* The way back (reply_tc) and the choice of a listener (sk_lookup). */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"

/* The frames' address is none of the links': without us the far end would drop them. */
static void test_type(void)
{
	struct frame f = {.source = POD4, .destination = PROVIDER4};
	struct run r = {.ifindex = POD};
	uint8_t frame[PACKET_MAX];
	size_t length = frame_build(&f, frame);

	run_tc(progs.type, frame, length, &r);
	check(r.retval == PACKET_OTHERHOST, "packet type", "comes as %d", r.retval);
	run_tc(progs.peer_type, frame, length, &r);
	check(r.retval == PACKET_HOST, "packet type", "goes on as %d", r.retval);
}

void test_reply(void)
{
	struct frame f = {.source = PROVIDER4, .destination = POD4, .tcp_flags = SYN | ACK};
	struct frame six = {.source = PROVIDER6, .destination = POD6, .tcp_flags = SYN | ACK};
	struct frame nd = {
		.source = "fe80::1", .destination = "fe80::77", .protocol = IPPROTO_ICMPV6};

	world_reset();
	test_type();
	check(run_frame(progs.reply, UPLINK, &f) == REDIRECT, "reply", "v4");
	check(run_frame(progs.reply, UPLINK, &six) == REDIRECT, "reply", "v6");
	check(count_all() == 0, "reply", "not counted");
	f.destination = "10.0.0.200";
	check(run_frame(progs.reply, UPLINK, &f) == DROP, "reply", "no such pod");
	six.destination = "::ffff:10.0.0.200";
	check(run_frame(progs.reply, UPLINK, &six) == DROP, "reply", "no such pod v6");
	check(count_of(EG_REASON_REPLY_UNKNOWN_POD, EG_HOOK_REPLY) == 2, "reply", "counted");
	check(run_frame(progs.reply, UPLINK, &nd) == NEXT, "reply", "neighbour discovery");
	nd.destination = "ff02::1:ff00:77";
	check(run_frame(progs.reply, UPLINK, &nd) == NEXT, "reply", "multicast v6");
	nd = (struct frame){
		.source = GATEWAY4, .destination = "224.0.0.22", .protocol = IPPROTO_IGMP};
	check(run_frame(progs.reply, UPLINK, &nd) == NEXT, "reply", "multicast v4");
	nd.destination = "239.255.255.255";
	check(run_frame(progs.reply, UPLINK, &nd) == NEXT, "reply", "last multicast v4");
	nd.destination = "240.0.0.1";
	check(run_frame(progs.reply, UPLINK, &nd) == DROP, "reply", "behind multicast v4");
	nd.vlans = 3;
	nd.destination = POD4;
	check(run_frame(progs.reply, UPLINK, &nd) == DROP, "reply", "three tags");
	check(count_of(EG_REASON_REPLY_UNKNOWN_POD, EG_HOOK_REPLY) == 4, "reply", "counted");
	f.ethertype = 0x0806;
	check(run_frame(progs.reply, UPLINK, &f) == NEXT, "reply", "ARP");
}

/* The slot whose listener is chosen for a connection; -1: none. */
static int chosen(const char *remote, uint16_t port, const char *local, uint16_t local_port,
		  uint32_t protocol)
{
	struct bpf_sk_lookup in = {.protocol = protocol};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = &in, .ctx_size_in = sizeof(in),
		    .ctx_out = &in, .ctx_size_out = sizeof(in));
	struct eg_address r = address_of(remote), l = address_of(local);
	int slot;

	in.family = strchr(remote, ':') ? AF_INET6 : AF_INET;
	if (in.family == AF_INET) {
		in.remote_ip4 = r.word_be[3];
		in.local_ip4 = l.word_be[3];
	} else {
		memcpy(in.remote_ip6, &r, 16);
		memcpy(in.local_ip6, &l, 16);
	}
	in.remote_port = htons(port);
	in.local_port = local_port;
	if (bpf_prog_test_run_opts(progs.lookup, &opts)) {
		perror("sk_lookup test run");
		return -2;
	}
	if (opts.retval != SK_PASS)
		return -3;
	for (slot = 0; in.cookie && slot < EG_MAX_WORKERS; slot++) {
		uint64_t cookie = 0;

		if (!bpf_map_lookup_elem(map_fd("listeners"), &slot, &cookie) &&
		    cookie == in.cookie)
			return slot;
	}
	return -1;
}

static void test_spread(void)
{
	int count[3] = {0}, i, slot;

	world_reset();
	listener_add(1);
	listener_add(2);
	for (i = 0; i < 300; i++) {
		slot = chosen(POD4, (uint16_t)(30000 + i), PROVIDER4, 443, IPPROTO_TCP);
		check(slot >= 0 && slot < 3, "lookup", "slot %d", slot);
		if (slot >= 0 && slot < 3)
			count[slot]++;
		check(slot == chosen(POD4, (uint16_t)(30000 + i), PROVIDER4, 443, IPPROTO_TCP),
		      "lookup", "the same connection goes to the same worker");
	}
	for (i = 0; i < 3; i++)
		check(count[i] > 60 && count[i] < 140, "lookup", "worker %d got %d of 300", i,
		      count[i]);
}

/* Mark mode: packets of a connection that the agent does not have are answered after the third. */
static void test_strays(struct frame syn)
{
	struct frame later = syn;
	struct eg_flow flow;
	int i;

	later.tcp_flags = 0x10;
	for (i = 0; i < 5; i++) { /* a SYN that is sent again finds no socket either */
		check(run_frame(progs.egress, POD, &syn) == NEXT, "stray", "SYN %d", i);
		check(chosen(POD4, 40000, PROVIDER4, 443, IPPROTO_TCP) == 0, "stray", "SYN %d", i);
	}
	for (i = 0; i < 3; i++) {
		check(run_frame(progs.egress, POD, &later) == NEXT, "stray", "packet %d", i);
		check(chosen(POD4, 40000, PROVIDER4, 443, IPPROTO_TCP) == 0, "stray", "packet %d",
		      i);
	}
	check(run_frame(progs.egress, POD, &later) == RESET, "stray", "the fourth");
	check(count_of(EG_REASON_FLOW_UNKNOWN, EG_HOOK_EGRESS) == 1, "stray", "counted");
	check(find_flow(POD, &later, &flow) && flow.reason == EG_REASON_FLOW_UNKNOWN, "stray",
	      "in flows");
	check(run_frame(progs.egress, POD, &syn) == NEXT &&
		      chosen(POD4, 40000, PROVIDER4, 443, IPPROTO_TCP) == 0,
	      "stray", "a new connection");
	/* Without listener_lookup there was a socket: nothing is counted. */
	for (i = 0; i < 9; i++)
		check(run_frame(progs.egress, POD, &later) == NEXT, "stray", "no stray %d", i);
}

void test_lookup(void)
{
	struct frame f = {.source = POD4, .destination = PROVIDER4, .sport = 40000, .dport = 443};
	struct frame six = {.source = POD6, .destination = PROVIDER6, .sport = 40000, .dport = 443};
	int i;

	world_reset();
	check(chosen(POD4, 40000, PROVIDER4, 443, IPPROTO_TCP) == 0, "lookup", "v4");
	check(chosen(POD6, 40000, PROVIDER6, 443, IPPROTO_TCP) == 0, "lookup", "v6");
	check(chosen(POD4, 40000, PROVIDER4, 8443, IPPROTO_TCP) == 0, "lookup", "any port");
	check(chosen(POD4, 40000, PROVIDER4, 443, IPPROTO_UDP) == -1, "lookup", "not UDP");
	listener_clear();
	check(chosen(POD4, 40000, PROVIDER4, 443, IPPROTO_TCP) == -1, "lookup", "no listener");
	test_spread();
	/* A worker whose socket is gone: the others take its share. */
	world_reset();
	listener_clear();
	listener_add(2);
	for (i = 0; i < 50; i++)
		check(chosen(POD4, (uint16_t)(30000 + i), PROVIDER4, 443, IPPROTO_TCP) == 2,
		      "lookup", "slots 0 and 1 empty");
	/* mark mode: only what egress_tc redirected. */
	world_reset();
	world_config()->mode = EG_MODE_MARK;
	check(chosen(POD4, 40000, PROVIDER4, 443, IPPROTO_TCP) == -1, "lookup mark", "no flow");
	run_frame(progs.egress, POD, &f);
	run_frame(progs.egress, POD, &six);
	check(chosen(POD4, 40000, PROVIDER4, 443, IPPROTO_TCP) == 0, "lookup mark",
	      "redirected flow");
	check(chosen(POD6, 40000, PROVIDER6, 443, IPPROTO_TCP) == 0, "lookup mark",
	      "redirected flow v6");
	check(chosen(POD4, 40001, PROVIDER4, 443, IPPROTO_TCP) == -1, "lookup mark",
	      "another flow");
	check(chosen("10.0.0.77", 40000, PROVIDER4, 443, IPPROTO_TCP) == -1, "lookup mark",
	      "not a pod");
	test_strays(f);
	f.destination = ELSEWHERE4;
	run_frame(progs.egress, POD, &f);
	check(chosen(POD4, 40000, ELSEWHERE4, 443, IPPROTO_TCP) == -1, "lookup mark",
	      "a flow that passes");
}
