/* SPDX-License-Identifier: Apache-2.0 */
/* classify_xdp, what it hands to egress_tc, and guard_xdp. */
#include <netinet/in.h>
#include <linux/bpf.h>
#include <string.h>

#include "harness.h"

struct result {
	int retval;
	struct eg_xdp_meta meta;
	bool has_meta;
	uint8_t out[PACKET_MAX + 64];
	uint32_t length; /* with metadata */
};

/*
 * The ingress device of a test run is chosen with its queue; test runs of XDP know only devices
 * with XDP queues, which a veth has. data_meta = 0, data = 0: no metadata on entry.
 */
static void run_xdp(int prog, uint32_t ifindex, const struct frame *f, struct result *res)
{
	uint8_t frame[PACKET_MAX];
	uint32_t length = (uint32_t)frame_build(f, frame);
	struct xdp_md in = {.data_end = length, .ingress_ifindex = ifindex}, out = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = length,
		    .data_out = res->out, .data_size_out = sizeof(res->out), .ctx_in = &in,
		    .ctx_size_in = sizeof(in), .ctx_out = &out, .ctx_size_out = sizeof(out),
		    .repeat = 1);

	memset(res, 0, sizeof(*res));
	if (bpf_prog_test_run_opts(prog, &opts)) {
		check(false, "xdp test run", "failed");
		return;
	}
	res->retval = (int)opts.retval;
	res->length = opts.data_size_out;
	res->has_meta = out.data - out.data_meta == sizeof(res->meta);
	if (res->has_meta)
		memcpy(&res->meta, res->out, sizeof(res->meta));
}

static void test_classify(void)
{
	struct frame f = {.source = POD4, .destination = PROVIDER4}, g;
	struct result r;

	world_reset();
	run_xdp(progs.xdp, POD, &f, &r);
	check(r.retval == XDP_PASS && r.has_meta && r.meta.magic == EG_XDP_MAGIC &&
		      r.meta.action == EG_ACTION_REDIRECT && r.meta.name_id == 5 &&
		      r.meta.pod_id == 1,
	      "xdp", "a redirect is handed over (%d, metadata %d)", r.retval, r.has_meta);
	check(count_all() == 0, "xdp", "egress_tc counts it");
	g = f;
	g.protocol = IPPROTO_UDP;
	run_xdp(progs.xdp, POD, &g, &r);
	check(r.retval == XDP_DROP && count_of(EG_REASON_QUIC_REFUSED, EG_HOOK_XDP) == 1, "xdp",
	      "QUIC");
	g = f;
	g.source = "10.0.0.9";
	run_xdp(progs.xdp, POD, &g, &r);
	check(r.retval == XDP_DROP && count_of(EG_REASON_SPOOFED_SOURCE, EG_HOOK_XDP) == 1, "xdp",
	      "spoofed");
	g = f;
	g.dport = 22;
	run_xdp(progs.xdp, POD, &g, &r);
	check(r.retval == XDP_DROP && count_of(EG_REASON_PORT_DENIED, EG_HOOK_XDP) == 1, "xdp",
	      "port");
	g = f;
	g.fragment = 1;
	run_xdp(progs.xdp, POD, &g, &r);
	check(r.retval == XDP_DROP && count_of(EG_REASON_FRAGMENT, EG_HOOK_XDP) == 1, "xdp",
	      "fragment");
	g = f;
	g.vlans = 2;
	run_xdp(progs.xdp, POD, &g, &r);
	check(r.retval == XDP_DROP && count_of(EG_REASON_UNPARSEABLE, EG_HOOK_XDP) == 1, "xdp",
	      "QinQ");
	g = f;
	g.ethertype = 0x8847;
	run_xdp(progs.xdp, POD_SHADOW, &g, &r);
	check(r.retval == XDP_PASS, "xdp", "MPLS of a pod that is only watched");
	g = f;
	g.source = "10.0.0.77";
	run_xdp(progs.xdp, POD_SHADOW, &g, &r);
	check(r.retval == XDP_PASS && !r.has_meta, "xdp", "its other sources");
	g = f;
	g.destination = ELSEWHERE4;
	run_xdp(progs.xdp, POD, &g, &r);
	check(r.retval == XDP_PASS && !r.has_meta, "xdp", "elsewhere");
	g.destination = DENIED4;
	run_xdp(progs.xdp, POD, &g, &r);
	check(r.retval == XDP_PASS && !r.has_meta, "xdp", "a reset is left to egress_tc");
	g = f;
	g.source = "10.0.0.3";
	run_xdp(progs.xdp, POD_UNGOVERNED, &g, &r);
	check(r.retval == XDP_PASS && !r.has_meta, "xdp", "ungoverned");
	run_xdp(progs.xdp, POD_ABSENT, &f, &r);
	check(r.retval == XDP_PASS && !r.has_meta, "xdp", "a link that is no pod's");
	g = (struct frame){.source = POD6, .destination = PROVIDER6};
	run_xdp(progs.xdp, POD, &g, &r);
	check(r.retval == XDP_PASS && r.has_meta && r.meta.name_id == 5, "xdp", "v6");
	/* A flow on record is followed. */
	run_frame(progs.egress, POD, &f);
	f.tcp_flags = ACK;
	run_xdp(progs.xdp, POD, &f, &r);
	check(r.retval == XDP_PASS && !r.has_meta, "xdp", "a known flow needs no metadata");
}

/* ARP: sender address at byte 28 of the frame. */
static void test_uplink(void)
{
	struct frame f = {.source = GATEWAY4, .destination = POD4};
	struct frame six = {.source = GATEWAY6, .destination = POD6};
	struct result r;
	uint8_t arp[42] = {[12] = 8, [13] = 6, [28] = 169, [29] = 254, [30] = 77, [31] = 1};
	struct xdp_md in = {.data_end = sizeof(arp), .ingress_ifindex = UPLINK};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = arp, .data_size_in = sizeof(arp),
		    .ctx_in = &in, .ctx_size_in = sizeof(in), .repeat = 1);

	world_reset();
	run_xdp(progs.guard_xdp, UPLINK, &f, &r);
	check(r.retval == XDP_DROP, "guard_xdp", "claims the gateway");
	run_xdp(progs.guard_xdp, UPLINK, &six, &r);
	check(r.retval == XDP_DROP, "guard_xdp", "claims the gateway, v6");
	f = (struct frame){.source = ELSEWHERE4, .destination = GATEWAY4};
	run_xdp(progs.guard_xdp, UPLINK, &f, &r);
	check(r.retval == XDP_DROP, "guard_xdp", "wants the gateway from outside");
	check(!bpf_prog_test_run_opts(progs.guard_xdp, &opts) && opts.retval == XDP_DROP,
	      "guard_xdp", "ARP for the gateway");
	check(count_of(EG_REASON_INGRESS_SPOOF, EG_HOOK_XDP) == 4, "guard_xdp", "counted");
	arp[31] = 2;
	check(!bpf_prog_test_run_opts(progs.guard_xdp, &opts) && opts.retval == XDP_PASS,
	      "guard_xdp", "other ARP");
	f = (struct frame){.source = PROVIDER4, .destination = POD4, .tcp_flags = SYN | ACK};
	run_xdp(progs.guard_xdp, UPLINK, &f, &r);
	check(r.retval == XDP_PASS, "guard_xdp", "answers come in");
	check(count_all() == 4, "guard_xdp", "and are not counted");
}

/* Neighbour discovery: type at byte 54 of the frame, the target behind the eight bytes of its
 * header. */
static int discovery(uint8_t type, const char *source, const char *target)
{
	struct eg_address address = address_of(target);
	struct frame f = {.source = source,
			  .destination = "ff02::1",
			  .protocol = IPPROTO_ICMPV6,
			  .payload = &address,
			  .payload_length = sizeof(address)};
	uint8_t frame[PACKET_MAX];
	uint32_t length = (uint32_t)frame_build(&f, frame);
	struct xdp_md in = {.data_end = length, .ingress_ifindex = UPLINK};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = length,
		    .ctx_in = &in, .ctx_size_in = sizeof(in), .repeat = 1);

	frame[54] = type;
	return bpf_prog_test_run_opts(progs.guard_xdp, &opts) ? -1 : (int)opts.retval;
}

static void test_discovery(void)
{
	world_reset();
	check(discovery(136, "fe80::9", GATEWAY6) == XDP_DROP, "guard_xdp",
	      "an advertisement of the gateway");
	check(discovery(135, "::", GATEWAY6) == XDP_DROP, "guard_xdp",
	      "who detects whether its address, the gateway's, is taken");
	check(count_of(EG_REASON_INGRESS_SPOOF, EG_HOOK_XDP) == 2, "guard_xdp", "counted");
	check(discovery(135, "fe80::9", GATEWAY6) == XDP_PASS, "guard_xdp", "who only asks for it");
	check(discovery(136, "fe80::9", PROVIDER6) == XDP_PASS, "guard_xdp", "another's");
	check(discovery(128, "fe80::9", GATEWAY6) == XDP_PASS, "guard_xdp", "an echo request");
	check(count_all() == 2, "guard_xdp", "and are not counted");
}

/* Without a gateway address nothing claims it: DHCP, ARP probes and address detection go on. */
static void test_uplink_no_gateway(void)
{
	struct frame dhcp = {.source = "0.0.0.0",
			     .destination = "255.255.255.255",
			     .protocol = IPPROTO_UDP,
			     .dport = 67};
	struct frame detection = {
		.source = "::", .destination = "ff02::1:ff00:1", .protocol = IPPROTO_ICMPV6};
	struct frame claims = {.source = GATEWAY4, .destination = POD4};
	uint8_t probe[42] = {[12] = 8, [13] = 6}; /* RFC 5227 2.1.1: the sender is 0.0.0.0 */
	struct xdp_md in = {.data_end = sizeof(probe), .ingress_ifindex = UPLINK};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = probe, .data_size_in = sizeof(probe),
		    .ctx_in = &in, .ctx_size_in = sizeof(in), .repeat = 1);
	struct result r;

	world_reset();
	world_config()->gateway4_be = 0;
	memset(world_config()->gateway6_be, 0, sizeof(world_config()->gateway6_be));
	run_xdp(progs.guard_xdp, UPLINK, &dhcp, &r);
	check(r.retval == XDP_PASS, "guard_xdp", "no gateway: DHCP");
	run_xdp(progs.guard_xdp, UPLINK, &detection, &r);
	check(r.retval == XDP_PASS, "guard_xdp", "no gateway: duplicate address detection");
	check(!bpf_prog_test_run_opts(progs.guard_xdp, &opts) && opts.retval == XDP_PASS,
	      "guard_xdp", "no gateway: ARP probe");
	check(!count_all(), "guard_xdp", "no gateway: counted");
	/* nor while Egret is turned off */
	world_reset();
	world_config()->enabled = 0;
	run_xdp(progs.guard_xdp, UPLINK, &claims, &r);
	check(r.retval == XDP_PASS, "guard_xdp", "disabled");
	claims = (struct frame){.source = POD4, .destination = PROVIDER4, .protocol = IPPROTO_UDP};
	run_xdp(progs.xdp, POD, &claims, &r);
	check(r.retval == XDP_PASS && !count_all(), "xdp", "disabled");
}

void test_xdp(void)
{
	test_classify();
	test_uplink();
	test_discovery();
	test_uplink_no_gateway();
}
