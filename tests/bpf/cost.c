/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bpf-test cost`: nanoseconds a packet of each path, by repeated test runs, and what the verifier
 * had to process for each program (docs/internals/bpf.md quotes both). Asserts nothing.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"

static void cost(const char *name, int prog, uint32_t ifindex, uint32_t ingress,
		 const struct frame *f)
{
	uint8_t frame[PACKET_MAX];
	struct __sk_buff in = {.ifindex = ifindex, .ingress_ifindex = ingress};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame,
		    .data_size_in = (uint32_t)frame_build(f, frame), .ctx_in = &in,
		    .ctx_size_in = sizeof(in), .repeat = 200000);
	uint32_t best = ~0u;
	int i;

	for (i = 0; i < 7; i++)
		if (!bpf_prog_test_run_opts(prog, &opts) && opts.duration < best)
			best = opts.duration;
	printf("%-44s %5u ns\n", name, best);
}

static void verified(const char *name, int prog)
{
	struct bpf_prog_info info = {0};
	uint32_t n = sizeof(info);

	if (!bpf_obj_get_info_by_fd(prog, &info, &n))
		printf("%-44s %7u instructions processed\n", name, info.verified_insns);
}

void test_cost(void)
{
	struct frame ack = {.source = POD4, .destination = PROVIDER4, .tcp_flags = ACK};
	struct frame f = ack;

	world_reset();
	run_frame(progs.egress, POD, &ack);
	cost("egress: packet of a redirected flow", progs.egress, POD, 0, &ack);
	f.destination = ELSEWHERE4;
	run_frame(progs.egress, POD, &f);
	cost("egress: packet of a flow that passes", progs.egress, POD, 0, &f);
	f = (struct frame){.source = POD6, .destination = ELSEWHERE6, .tcp_flags = ACK};
	run_frame(progs.egress, POD, &f);
	cost("egress: the same, IPv6", progs.egress, POD, 0, &f);
	f = (struct frame){.source = POD4, .destination = PROVIDER4};
	cost("egress: SYN, redirected", progs.egress, POD, 0, &f);
	f.destination = ELSEWHERE4;
	cost("egress: SYN, passes", progs.egress, POD, 0, &f);
	f.protocol = IPPROTO_UDP;
	f.dport = 9999;
	cost("egress: UDP elsewhere", progs.egress, POD, 0, &f);
	f.source = "10.0.0.3";
	cost("egress: ungoverned pod", progs.egress, POD_UNGOVERNED, 0, &f);
	f = (struct frame){.source = PROVIDER4, .destination = POD4, .tcp_flags = ACK};
	cost("reply", progs.reply, UPLINK, 0, &f);
	cost("dns: not DNS", progs.dns, POD, 0, &f);
	f = (struct frame){.source = POD4, .destination = ELSEWHERE4, .tcp_flags = ACK};
	cost("guard: forwarded 443 elsewhere, no stamp", progs.guard, UPLINK, POD, &f);
	cost("guard: node process", progs.guard, UPLINK, 0, &f);
	world_config()->mode = EG_MODE_OBSERVE;
	world_config()->enabled = 0;
	f = (struct frame){.source = POD4,
			   .destination = ELSEWHERE4,
			   .tcp_flags = ACK | PSH,
			   .payload = "some bytes",
			   .payload_length = 10};
	cost("observe: what a pod sends elsewhere", progs.observe_up, POD, 0, &f);
	f.destination = PROVIDER4;
	cost("observe: to a provider", progs.observe_up, POD, 0, &f);
	f = (struct frame){.source = PROVIDER4,
			   .destination = POD4,
			   .sport = 443,
			   .dport = 40000,
			   .tcp_flags = ACK};
	cost("observe: from a provider", progs.observe_down, POD, 0, &f);
	f.source = ELSEWHERE4;
	cost("observe: from elsewhere", progs.observe_down, POD, 0, &f);
	verified("egress_tc", progs.egress);
	verified("dns_tc", progs.dns);
	verified("observe_up_tc", progs.observe_up);
	verified("observe_down_tc", progs.observe_down);
	verified("guard_tc", progs.guard);
	verified("reply_tc", progs.reply);
	verified("listener_lookup", progs.lookup);
	verified("classify_xdp", progs.xdp);
	verified("guard_xdp", progs.guard_xdp);
}
