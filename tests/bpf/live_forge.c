/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames as no socket sends them, and what others may have written into a packet before Egret sees
 * it: metadata in classify_xdp's name, another's stamp. The programs that write it are made here,
 * of instructions.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "insn.h"
#include "live.h"

#define EG_ARRAY(a) (sizeof(a) / sizeof((a)[0]))

/* XDP that puts these bytes into the metadata of every packet. */
static int forge_xdp(const struct eg_xdp_meta *meta)
{
	int32_t word[4];

	_Static_assert(sizeof(word) == sizeof(*meta), "all of it");
	memcpy(word, meta, sizeof(word));
	struct bpf_insn program[] = {
		MOVE(BPF_REG_6, BPF_REG_1),
		SET(BPF_REG_2, -(int)sizeof(*meta)),
		CALL(BPF_FUNC_xdp_adjust_meta),
		IF_NOT_0(BPF_REG_0, 9),
		LOAD32(BPF_REG_1, BPF_REG_6, offsetof(struct xdp_md, data_meta)),
		LOAD32(BPF_REG_2, BPF_REG_6, offsetof(struct xdp_md, data)),
		MOVE(BPF_REG_3, BPF_REG_1),
		ADD(BPF_REG_3, sizeof(*meta)),
		IF_GREATER(BPF_REG_3, BPF_REG_2, 4),
		STORE32(BPF_REG_1, 0, word[0]),
		STORE32(BPF_REG_1, 4, word[1]),
		STORE32(BPF_REG_1, 8, word[2]),
		STORE32(BPF_REG_1, 12, word[3]),
		SET(BPF_REG_0, XDP_PASS),
		END,
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "forge", "GPL", program, EG_ARRAY(program), NULL);

	must(fd >= 0, "forge_xdp");
	return fd;
}

/* TC that gives every packet this stamp. */
static int forge_stamp(uint16_t stamp)
{
	struct bpf_insn program[] = {
		SET(BPF_REG_2, stamp),
		STORE32_REG(BPF_REG_1, offsetof(struct __sk_buff, tc_index), BPF_REG_2),
		SET(BPF_REG_0, -1),
		END,
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "forge", "GPL", program, EG_ARRAY(program),
			       NULL);

	must(fd >= 0, "forge_stamp");
	return fd;
}

#define HANDED(reason_of)                                                                 \
	{                                                                                 \
		.magic = EG_XDP_MAGIC, .action = EG_ACTION_REDIRECT, .reason = reason_of, \
		.name_id = 77, .pod_id = 1                                                \
	}
#define TO(d)	      .source = POD4, .destination = d
#define REDIRECT_META HANDED(EG_REASON_REDIRECT)

static const struct forged {
	const char *name;
	struct eg_xdp_meta meta;
	struct frame frame;
	enum eg_reason reason; /* what egress_tc counts: the metadata's redirect, or its own */
} forged[] = {
	{"as classify_xdp writes it", REDIRECT_META, {TO(ELSEWHERE4)}, EG_REASON_REDIRECT},
	{"a priority tag", REDIRECT_META, {TO(ELSEWHERE4), .vlans = 1}, EG_REASON_REDIRECT},
	{"another magic",
	 {.magic = EG_XDP_MAGIC + 1, .action = EG_ACTION_REDIRECT, .name_id = 77, .pod_id = 1},
	 {TO(ELSEWHERE4)},
	 EG_REASON_PASS_UNGOVERNED},
	{"the pod that had this link before",
	 {.magic = EG_XDP_MAGIC, .action = EG_ACTION_REDIRECT, .name_id = 77, .pod_id = 2},
	 {TO(ELSEWHERE4)},
	 EG_REASON_PASS_UNGOVERNED},
	{"pass",
	 {.magic = EG_XDP_MAGIC, .action = EG_ACTION_PASS, .name_id = 77, .pod_id = 1},
	 {TO(ELSEWHERE4)},
	 EG_REASON_PASS_UNGOVERNED},
	{"drop",
	 {.magic = EG_XDP_MAGIC, .action = EG_ACTION_DROP, .name_id = 77, .pod_id = 1},
	 {TO(ELSEWHERE4)},
	 EG_REASON_PASS_UNGOVERNED},
	{"reset",
	 {.magic = EG_XDP_MAGIC, .action = EG_ACTION_RESET, .name_id = 77, .pod_id = 1},
	 {TO(ELSEWHERE4)},
	 EG_REASON_PASS_UNGOVERNED},
	{"pass to a governed address",
	 {.magic = EG_XDP_MAGIC, .action = EG_ACTION_PASS, .name_id = 5, .pod_id = 1},
	 {TO(DENIED4)},
	 EG_REASON_DENY},
	{"a source that is not the pod's",
	 REDIRECT_META,
	 {.source = "10.0.0.66", .destination = ELSEWHERE4},
	 EG_REASON_PASS_UNGOVERNED},
	{"another pod's source to a governed address",
	 REDIRECT_META,
	 {.source = "10.0.0.9", .destination = PROVIDER4},
	 EG_REASON_SPOOFED_SOURCE},
	{"a tag of another network",
	 REDIRECT_META,
	 {TO(ELSEWHERE4), .vlans = 1, .vlan = {5}},
	 EG_REASON_PASS_UNGOVERNED},
	{"UDP", REDIRECT_META, {TO(PROVIDER4), .protocol = IPPROTO_UDP}, EG_REASON_QUIC_REFUSED},
	{"a fragment", REDIRECT_META, {TO(PROVIDER4), .fragment = 1}, EG_REASON_FRAGMENT},
};

static void test_one(const struct forged *c, bool known)
{
	struct eg_pod held = pod_of(1, EG_POD_HELD, 0, POD4, POD6);
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_SKB_MODE);
	int prog = forge_xdp(&c->meta), link = bpf_link_create(prog, POD, BPF_XDP, &opts);
	enum eg_reason reason = c->reason;
	struct eg_flow flow = {0};

	must(link >= 0, "forge_xdp: attach");
	set_agent(live.listener);
	if (!known) { /* nothing that XDP says makes a pod known */
		set_pod(POD, &held);
		reason = EG_REASON_PASS_UNGOVERNED;
	}
	send_frame(live.pod_ns, "eth0", &c->frame, PACKET_MAX);
	check(counted(reason, EG_HOOK_EGRESS), "forged metadata", "%s: %s", c->name,
	      known ? "not judged as it should be" : "of a pod that is not known");
	check(count_all() == 1, "forged metadata", "%s: %llu counted", c->name,
	      (unsigned long long)count_all());
	if (reason == EG_REASON_REDIRECT)
		check(find_flow(POD, &c->frame, &flow) && flow.name_id == 77, "forged metadata",
		      "%s: name %u", c->name, flow.name_id);
	close(link);
	close(prog);
}

/*
 * In mark mode what is redirected stays in the node's own network, and a rule takes it to the
 * agent. Where that is missing it must not have the stamp, whoever gave it one: the guard is next.
 */
static void test_forged_stamp(void)
{
	int prog = forge_stamp(STAMP), other = forge_stamp(STAMP ^ 1), link, fd;

	enter(live.pod_ns);
	link = bpf_link_create(prog, (int)if_nametoindex("eth0"), TCX_EGRESS, NULL);
	enter(live.node_ns);
	must(link >= 0, "forge_stamp: attach");
	set_agent(live.listener);
	world_config()->mode = EG_MODE_MARK;
	fd = dial(live.pod_ns, PROVIDER4, 443, SOCK_STREAM);
	check(counted(EG_REASON_GUARD_NO_STAMP, EG_HOOK_GUARD), "forged stamp",
	      "past the guard: %s", strerror(outcome(fd)));
	close(fd);
	/* That it would have been: with egress_tc away the guard believes it. */
	close(live.egress);
	set_agent(live.listener);
	fd = dial(live.pod_ns, PROVIDER4, 443, SOCK_STREAM);
	check(outcome(fd) == 0 && ready(live.provider, POLLIN), "forged stamp",
	      "the stamp did not come over the link");
	close(accept(live.provider, NULL, NULL));
	close(fd);
	/* Another's index is no stamp. */
	must(!bpf_link_update(link, other, NULL), "forge_stamp: another");
	set_agent(live.listener);
	fd = dial(live.pod_ns, PROVIDER4, 443, SOCK_STREAM);
	check(counted(EG_REASON_GUARD_NO_STAMP, EG_HOOK_GUARD), "forged stamp",
	      "another's was believed: %s", strerror(outcome(fd)));
	close(fd);
	live.egress = attach(progs.egress, POD, TCX_INGRESS);
	close(link);
	close(other);
	close(prog);
}

void test_forged(void)
{
	size_t i;

	for (i = 0; i < EG_ARRAY(forged); i++)
		test_one(&forged[i], true);
	test_one(&forged[0], false);
	test_forged_stamp();
}

/* ---- frames that the guard must read, although their headers are in page fragments ---- */

static int tap_internet(void)
{
	int fd;

	enter(live.internet_ns);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
	must(fd >= 0, "AF_PACKET");
	enter(live.node_ns);
	return fd;
}

/* Whether a TCP frame of this frame's ports arrives; `l4` is where its TCP header is. */
static bool arrives(int tap, const struct frame *f, size_t l4)
{
	uint8_t bytes[PACKET_MAX];

	while (ready(tap, POLLIN)) {
		ssize_t n = recv(tap, bytes, sizeof(bytes), 0);

		if (n >= (ssize_t)l4 + 4 && bytes[l4 + 2] == f->dport >> 8 &&
		    bytes[l4 + 3] == (f->dport & 0xff))
			return true;
	}
	return false;
}

void test_guard_frames(void)
{
	static uint8_t payload[6000];
	static const uint16_t linear[] = {14, 20, 34, 40, 53};
	struct frame ssh = {.source = "192.0.9.1",
			    .destination = PROVIDER4,
			    .dport = 2222,
			    .tcp_flags = ACK,
			    .payload = payload,
			    .payload_length = sizeof(payload),
			    .partial = true};
	struct frame ssh6 = ssh, web = ssh;
	int tap = tap_internet();
	char uplink[16];
	size_t i;

	snprintf(uplink, sizeof(uplink), "egb%d", UPLINK);
	set_mtu(UPLINK, live.internet_ns, 9000);
	ssh6.source = "2001:db8:9::1";
	ssh6.destination = PROVIDER6;
	ssh6.dport = 2223;
	web.dport = 443;
	for (i = 0; i < EG_ARRAY(linear); i++) {
		set_agent(live.listener);
		world_config()->guard_host_deny = 1;
		send_frame(live.node_ns, uplink, &ssh, linear[i]);
		check(arrives(tap, &ssh, 14 + 20), "guard, headers in fragments",
		      "port 2222, %u linear", linear[i]);
		send_frame(live.node_ns, uplink, &ssh6, linear[i]);
		check(arrives(tap, &ssh6, 14 + 40), "guard, headers in fragments",
		      "port 2223, v6, %u linear", linear[i]);
		check(count_all() == 0, "guard, headers in fragments", "counted, %u linear",
		      linear[i]);
		send_frame(live.node_ns, uplink, &web, linear[i]);
		check(counted(EG_REASON_GUARD_HOST, EG_HOOK_GUARD), "guard, headers in fragments",
		      "port 443, %u linear", linear[i]);
	}
	set_mtu(UPLINK, live.internet_ns, 1500);
	close(tap);
}

/* ---- a checksum that the link is to write, at a place that the pod names (from byte 20 on:
 * virtio_net_hdr_to_skb()) ---- */

static const uint8_t some[64];

#define AWAY4(...)                                                                      \
	{                                                                               \
		.source = POD4, .destination = ELSEWHERE4, .partial = true, __VA_ARGS__ \
	}
#define AWAY6(...)                                                                      \
	{                                                                               \
		.source = POD6, .destination = ELSEWHERE6, .partial = true, __VA_ARGS__ \
	}
#define A_UDP .protocol = IPPROTO_UDP, .payload = some, .payload_length = sizeof(some)

static const struct offloaded {
	const char *name;
	struct frame frame;
	struct checksum_place place;
	bool stopped;
} offloaded[] = {
	{"TCP's own", AWAY4(.sport = 1), {34, 16}, false},
	{"TCP's own, v6", AWAY6(.sport = 1), {54, 16}, false},
	{"TCP's own, behind options",
	 AWAY4(.options_length = 8, .options = {1, 1, 1, 1, 1, 1, 1, 1}),
	 {42, 16},
	 false},
	{"TCP's own, by another start", AWAY6(.sport = 1), {20, 50}, false},
	{"TCP's own, tagged", AWAY4(.vlans = 1), {38, 16}, false},
	{"behind TCP's header, where a tunnel's inner packet has it",
	 AWAY6(.tcp_flags = ACK, .payload = some, .payload_length = sizeof(some)),
	 {74, 16},
	 false},
	{"the end of the destination, v6", AWAY6(.sport = 1), {52, 0}, true},
	{"the end of the destination, v6, far from its start", AWAY6(.sport = 1), {20, 32}, true},
	{"half of it", AWAY6(.sport = 1), {53, 0}, true},
	{"the destination, v4", AWAY4(.sport = 1), {32, 0}, true},
	{"the protocol", AWAY6(.sport = 1), {20, 0}, true},
	{"TCP's destination port", AWAY6(.sport = 1), {54, 2}, true},
	{"TCP's flags", AWAY6(.tcp_flags = ACK), {54, 12}, true},
	{"TCP's checksum and its neighbour", AWAY6(.sport = 1), {54, 15}, true},
	{"UDP's own, v6", AWAY6(A_UDP), {54, 6}, false},
	{"behind UDP's header", AWAY6(A_UDP), {62, 16}, false},
	{"the end of the destination, UDP", AWAY6(A_UDP), {52, 0}, true},
	{"UDP's destination port", AWAY6(A_UDP), {54, 2}, true},
	{"ICMPv6's own",
	 AWAY6(.protocol = IPPROTO_ICMPV6, .payload = some, .payload_length = sizeof(some)),
	 {54, 2},
	 false},
	{"the end of the destination, ICMPv6",
	 AWAY6(.protocol = IPPROTO_ICMPV6, .payload = some, .payload_length = sizeof(some)),
	 {52, 0},
	 true},
	{"of a fragment",
	 AWAY6(A_UDP, .extensions = 1, .extension = {{.type = 44, .fragment = 1}}),
	 {52, 0},
	 true},
	{"of what is not IP", AWAY6(.ethertype = 0x88b5), {20, 0}, true},
};

/* What passes is not always counted: a packet that is follows it. */
static void test_place(const struct offloaded *c, enum eg_pod_state state, bool stopped)
{
	const struct frame after = {.source = POD4, .destination = DENIED4, .sport = 9999};
	struct eg_pod pod = pod_of(1, state, 1, POD4, POD6);
	uint64_t refused;

	set_agent(live.listener);
	if (state != EG_POD_GOVERNED)
		set_pod(POD, &pod);
	send_offloaded(live.pod_ns, "eth0", &c->frame, PACKET_MAX, &c->place);
	if (stopped) {
		check(counted(EG_REASON_UNPARSEABLE, EG_HOOK_EGRESS), "checksum's place",
		      "%s: passed", c->name);
		return;
	}
	if (state == EG_POD_GOVERNED) {
		send_frame(live.pod_ns, "eth0", &after, PACKET_MAX);
		check(counted(EG_REASON_DENY, EG_HOOK_EGRESS), "checksum's place", "%s: no end",
		      c->name);
	} else {
		usleep(50000);
	}
	refused = count_of(EG_REASON_UNPARSEABLE, EG_HOOK_EGRESS);
	check(refused == 0, "checksum's place", "%s: stopped", c->name);
}

void test_checksum_places(void)
{
	size_t i;

	for (i = 0; i < EG_ARRAY(offloaded); i++)
		test_place(&offloaded[i], EG_POD_GOVERNED, offloaded[i].stopped);
	for (i = 0; i < EG_ARRAY(offloaded); i++)
		test_place(&offloaded[i], EG_POD_UNGOVERNED, false);
}
