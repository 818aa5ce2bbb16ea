/* SPDX-License-Identifier: Apache-2.0 */
/* Frames cut at every length, and the resets that answer them. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/*
 * A governed destination: no prefix of the frame may pass. An ungoverned one: the prefix may be
 * dropped only while its destination can't be read.
 */
static void cut(const char *name, const struct frame *f, size_t readable)
{
	uint8_t frame[PACKET_MAX];
	size_t length = frame_build(f, frame), n;
	bool governed = readable == 0;

	/*
	 * The kernel refuses to test-run less than an IP header; tests/fuzz/fuzz_packet.c has those
	 * lengths. Behind a tag it does not look.
	 */
	n = f->vlans ? 15 : strchr(f->source, ':') ? 14 + 40 : 14 + 20;
	for (; n < length; n++) {
		struct run r = {.ifindex = POD};
		enum verdict v;

		world_reset();
		v = run_tc(progs.egress, frame, n, &r);
		if (governed || n < readable)
			check(v == DROP, name, "%zu of %zu bytes: %s", n, length, verdict_text(v));
		else
			check(v == NEXT, name, "%zu of %zu bytes: %s", n, length, verdict_text(v));
		check(count_of(EG_REASON_UNPARSEABLE, EG_HOOK_EGRESS) == (v == DROP), name,
		      "%zu of %zu bytes: reason", n, length);
	}
}

static void test_truncated(void)
{
	struct frame four = {.source = POD4, .destination = PROVIDER4};
	struct frame six = {.source = POD6, .destination = PROVIDER6};
	struct frame options = {.source = POD4,
				.destination = PROVIDER4,
				.options = {148, 4, 0, 0},
				.options_length = 12};
	struct frame headers = {.source = POD6,
				.destination = PROVIDER6,
				.extensions = 3,
				.extension = {{0}, {60, .length = 1}, {44}}};
	struct frame tagged = {.source = POD4, .destination = PROVIDER4, .vlans = 2};
	struct frame elsewhere = {.source = POD4, .destination = ELSEWHERE4};
	struct frame elsewhere6 = {.source = POD6,
				   .destination = ELSEWHERE6,
				   .extensions = 2,
				   .extension = {{0}, {60}}};

	cut("truncated v4", &four, 0);
	cut("truncated v6", &six, 0);
	cut("truncated v4 options", &options, 0);
	cut("truncated v6 headers", &headers, 0);
	cut("truncated tags", &tagged, 0);
	cut("truncated elsewhere v4", &elsewhere, 14 + 20);
	cut("truncated elsewhere v6", &elsewhere6, 14 + 40);
}

#define DENIED6 "2001:db8:7::7"

/* What a reset must be: from the far end, to the pod, acceptable to the pod's TCP. */
static void reset_is_right(const char *name, const struct frame *f, uint32_t seq, uint32_t ack)
{
	uint8_t frame[PACKET_MAX], *tcp;
	struct run r = {.ifindex = POD};
	size_t length = frame_build(f, frame), header = strchr(f->source, ':') ? 40 : 20;
	size_t at = strchr(f->source, ':') ? 8 : 12, size = header == 40 ? 16 : 4;
	uint32_t word;
	enum verdict v;

	world_reset();
	set_destination(DENIED6 "/128", 7, EG_DESTINATION_RESOLVED);
	v = run_tc(progs.egress, frame, length, &r);
	check(v == RESET, name, "verdict %s", verdict_text(v));
	check(count_all() == 1 && count_of(EG_REASON_DENY, EG_HOOK_EGRESS) == 1, name, "counted");
	check(r.out_length == 14 + header + 20, name, "length %u", r.out_length);
	check(!memcmp(r.out + 14 + at, frame + 14 + at + size, size) &&
		      !memcmp(r.out + 14 + at + size, frame + 14 + at, size),
	      name, "addresses");
	tcp = r.out + 14 + header;
	check(!memcmp(tcp, frame + 14 + header + 2, 2) && !memcmp(tcp + 2, frame + 14 + header, 2),
	      name, "ports");
	memcpy(&word, tcp + 4, 4);
	check(ntohl(word) == seq, name, "sequence %u, expected %u", ntohl(word), seq);
	memcpy(&word, tcp + 8, 4);
	check(ntohl(word) == ack, name, "acknowledged %u, expected %u", ntohl(word), ack);
	check(tcp[13] == (ack ? RST | ACK : RST), name, "flags %#x", tcp[13]);
	check(frame_checksums_ok(r.out, r.out_length, f->partial), name, "checksum");
}

/* Every shape of what is answered, from this frame's pod. */
static void reset_shapes(const char *family, struct frame f)
{
	static const char data[] = "0123456789abcdefghijk";
	char name[64];
	int partial;

	for (partial = 0; partial < 2; partial++) {
		snprintf(name, sizeof(name), "reset %s%s", family, partial ? ", sum left" : "");
		f.partial = partial != 0;
		f.payload_length = 0;
		f.sequence = 0xfffffffe;
		f.acknowledged = 0;
		f.tcp_flags = SYN;
		reset_is_right(name, &f, 0, 0xffffffff);
		f.tcp_flags = ACK;
		f.acknowledged = 12345;
		reset_is_right(name, &f, 12345, 0);
		f.tcp_flags = FIN;
		f.payload = data;
		f.payload_length = 21; /* an odd length */
		f.sequence = 100;
		reset_is_right(name, &f, 0, 122);
	}
}

static void test_resets(void)
{
	reset_shapes("v4", (struct frame){.source = POD4, .destination = DENIED4});
	reset_shapes("v6", (struct frame){.source = POD6, .destination = DENIED6});
}

static void test_reset6(void)
{
	struct frame f = {.source = POD6, .destination = PROVIDER6, .sequence = 7};
	uint8_t frame[PACKET_MAX];
	struct run r = {.ifindex = POD};
	size_t length;
	int partial;

	for (partial = 0; partial < 2; partial++) {
		f.partial = partial != 0;
		length = frame_build(&f, frame);
		world_reset();
		world_config()->heartbeat_ns = now_ns() - 121 * SECOND;
		check(run_tc(progs.egress, frame, length, &r) == RESET, "reset v6", "verdict");
		check(r.out_length == 14 + 40 + 20, "reset v6", "length %u", r.out_length);
		check(!memcmp(r.out + 14 + 8, frame + 14 + 24, 16) &&
			      !memcmp(r.out + 14 + 24, frame + 14 + 8, 16),
		      "reset v6", "addresses");
		check(frame_checksums_ok(r.out, r.out_length, f.partial), "reset v6", "checksum");
		check(r.out[14 + 40 + 11] == 8 && r.out[14 + 40 + 13] == (RST | ACK), "reset v6",
		      "acknowledges the SYN");
	}
	/* A frame whose headers the answer could not take over is dropped. */
	f.extensions = 1;
	f.extension[0] = (struct extension){.type = 60};
	world_reset();
	world_config()->heartbeat_ns = now_ns() - 121 * SECOND;
	check(run_frame(progs.egress, POD, &f) == DROP, "reset v6", "with extension headers");
}

/* Segmentation offload: one skb of many segments is one packet here. */
static void test_gso(void)
{
	static uint8_t payload[3000];
	struct frame f = {.source = POD4,
			  .destination = PROVIDER4,
			  .tcp_flags = ACK | PSH,
			  .payload = payload,
			  .payload_length = sizeof(payload)};
	struct run r = {.ifindex = POD, .gso_size = 1448, .gso_segs = 3};
	uint8_t frame[PACKET_MAX];
	struct eg_flow flow = {0};
	enum verdict v;
	size_t length = frame_build(&f, frame);

	world_reset();
	v = run_tc(progs.egress, frame, length, &r);
	check(v == REDIRECT && r.out_length == length, "GSO", "verdict %s", verdict_text(v));
	check(count_all() == 1 && count_of(EG_REASON_REDIRECT, EG_HOOK_EGRESS) == 1, "GSO",
	      "counted");
	check(find_flow(POD, &f, &flow) && flow.packets == 1 && flow.bytes == length, "GSO",
	      "flow: %llu packets, %llu bytes", (unsigned long long)flow.packets,
	      (unsigned long long)flow.bytes);
	f.destination = DENIED4;
	world_reset();
	v = run_tc(progs.egress, frame, frame_build(&f, frame), &r);
	check(v == RESET && r.out_length == 54, "GSO reset", "verdict %s, %u bytes",
	      verdict_text(v), r.out_length);
	check(count_all() == 1 && count_of(EG_REASON_DENY, EG_HOOK_EGRESS) == 1, "GSO reset",
	      "counted");
	f.destination = PROVIDER4;
	f.dport = 22;
	world_reset();
	v = run_tc(progs.egress, frame, frame_build(&f, frame), &r);
	check(v == DROP && count_all() == 1 && count_of(EG_REASON_PORT_DENIED, EG_HOOK_EGRESS) == 1,
	      "GSO port", "verdict %s", verdict_text(v));
	f.dport = 443;
	f.protocol = IPPROTO_UDP; /* UDP segmentation: QUIC's own */
	world_reset();
	v = run_tc(progs.egress, frame, frame_build(&f, frame), &r);
	check(v == DROP && count_all() == 1 &&
		      count_of(EG_REASON_QUIC_REFUSED, EG_HOOK_EGRESS) == 1,
	      "GSO QUIC", "verdict %s", verdict_text(v));
}

/*
 * Random bytes after an IPv4 or IPv6 header with a governed destination: whatever they are, they
 * are redirected as TCP to port 443 or 80, or stopped; never passed on.
 */
static void test_noise(void)
{
	struct frame four = {.source = POD4, .destination = PROVIDER4};
	struct frame six = {.source = POD6, .destination = PROVIDER6};
	uint8_t frame[PACKET_MAX];
	int i, wrong = 0;

	srand(20);
	world_reset();
	for (i = 0; i < 20000; i++) {
		struct run r = {.ifindex = POD};
		bool v6 = i & 1;
		size_t length = frame_build(v6 ? &six : &four, frame), at = v6 ? 54 : 34, n;
		enum verdict v;

		for (n = at; n < at + 96; n++)
			frame[n] = (uint8_t)(rand() >> 8);
		/* header fields too, but version, length's place in the frame and addresses */
		if (v6) {
			frame[14 + 6] = (uint8_t[]){0, 43, 44, 51, 60, 6, 17, 58}[rand() & 7];
			frame[14 + 4] = 0;
			frame[14 + 5] = 96;
		} else {
			frame[14] = (uint8_t)(0x40 | (rand() & 15));
			frame[14 + 3] = (uint8_t)rand();
			frame[14 + 6] = (uint8_t)rand();
			frame[14 + 7] = (uint8_t)rand();
			frame[14 + 9] = (uint8_t[]){6, 6, 17, 1, 132, 47, 4, 0}[rand() & 7];
		}
		length = at + (size_t)(rand() % 96);
		v = run_tc(progs.egress, frame, length, &r);
		if (v != DROP && v != REDIRECT && !wrong++)
			check(false, "noise", "round %d: %s", i, verdict_text(v));
	}
	check(!wrong, "noise", "%d of %d", wrong, i);
}

void test_parse(void)
{
	test_truncated();
	test_resets();
	test_reset6();
	test_gso();
	test_noise();
}
