/* SPDX-License-Identifier: Apache-2.0 */
/* Flows: a connection keeps its verdict; a dead agent and what the kernel does without it. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "harness.h"

static void drop_destination(const char *address)
{
	struct eg_lpm4 key = {.prefix_bits = 32, .address_be = address_of(address).word_be[3]};

	bpf_map_delete_elem(map_fd("destinations4"), &key);
}

static void test_follow(void)
{
	struct frame syn = {.source = POD4, .destination = PROVIDER4}, ack = syn, other = syn;
	struct eg_flow flow;

	ack.tcp_flags = ACK;
	other.tcp_flags = ACK;
	other.sport = 40001;
	world_reset();
	check(run_frame(progs.egress, POD, &syn) == REDIRECT, "flow", "SYN");
	check(find_flow(POD, &syn, &flow) && flow.action == EG_ACTION_REDIRECT &&
		      flow.name_id == 5 && flow.pod_id == 1 && flow.generation == 11 &&
		      flow.packets == 1,
	      "flow", "entry");
	/* The destination goes (an expired TTL), the policy changes: the flow stays. */
	drop_destination(PROVIDER4);
	set_verdict(3, 5, IPPROTO_TCP, 443, EG_ACTION_RESET, EG_REASON_DENY);
	world_config()->generation = 12;
	check(run_frame(progs.egress, POD, &ack) == REDIRECT, "flow", "follows");
	check(find_flow(POD, &syn, &flow) && flow.packets == 2 && flow.generation == 11, "flow",
	      "counted");
	check(count_of(EG_REASON_REDIRECT, EG_HOOK_EGRESS) == 1, "flow", "counted once");
	/* Another connection to it is new. */
	check(run_frame(progs.egress, POD, &other) == NEXT, "flow", "another is ungoverned now");
	/* The same flow from another link is another flow. */
	check(run_frame(progs.egress, POD_OTHER, &ack) == NEXT, "flow", "another link");
	/* A new SYN of the same ports is decided anew. */
	set_destination(PROVIDER4 "/32", 5, EG_DESTINATION_RESOLVED);
	check(run_frame(progs.egress, POD, &syn) == RESET, "flow", "a new SYN is decided anew");
	check(find_flow(POD, &syn, &flow) && flow.action == EG_ACTION_RESET &&
		      flow.generation == 12,
	      "flow", "replaced");
	check(run_frame(progs.egress, POD, &ack) == RESET, "flow", "the reset flow stays reset");
}

/* A connection that passed before its address became governed is not cut, whatever taught it. */
static void test_passing_stays(void)
{
	struct frame syn = {.source = POD4, .destination = ELSEWHERE4}, ack = syn, fresh = syn;

	ack.tcp_flags = ACK;
	fresh.sport = 40001;
	world_reset();
	check(run_frame(progs.egress, POD, &syn) == NEXT, "passing", "SYN");
	set_learned(POD, ELSEWHERE4, 5, 0);
	check(run_frame(progs.egress, POD, &ack) == NEXT, "passing", "stays");
	check(run_frame(progs.egress, POD, &fresh) == REDIRECT, "passing", "a new one is captured");
	fresh.source = "10.0.0.9";
	check(run_frame(progs.egress, POD_OTHER, &fresh) == NEXT, "learned", "judges only its pod");
}

static void test_learned(void)
{
	struct frame f = {.source = POD4, .destination = ELSEWHERE4};
	struct eg_flow flow;

	world_reset();
	set_learned(POD, ELSEWHERE4, 5, now_ns() + 100 * SECOND);
	check(run_frame(progs.egress, POD, &f) == REDIRECT, "learned", "captured");
	check(find_flow(POD, &f, &flow) && flow.name_id == 5, "learned", "name in the flow");
	world_reset();
	set_learned(POD, ELSEWHERE4, 5, now_ns() - SECOND);
	check(run_frame(progs.egress, POD, &f) == NEXT, "learned", "expired");
	/* After the agent's last proof of life nothing expires: closed must not become open. */
	world_config()->heartbeat_ns = now_ns() - 121 * SECOND;
	set_learned(POD, ELSEWHERE4, 5, now_ns() - 60 * SECOND);
	check(run_frame(progs.egress, POD, &f) == RESET, "learned", "expired with no agent there");
	set_learned(POD, ELSEWHERE4, 5, now_ns() - 62 * SECOND);
	check(run_frame(progs.egress, POD, &f) == NEXT, "learned", "expired before that");
	/* An exclusion is stronger than what a pod says. */
	world_reset();
	set_learned(POD, EXCLUDED4, 5, 0);
	f.destination = EXCLUDED4;
	check(run_frame(progs.egress, POD, &f) == NEXT, "learned", "excluded");
	/* In every protocol. */
	world_reset();
	set_learned(POD, ELSEWHERE4, 5, 0);
	f.destination = ELSEWHERE4;
	f.protocol = IPPROTO_UDP;
	check(run_frame(progs.egress, POD, &f) == DROP, "learned", "QUIC");
}

/* What can't be read follows no flow: a fragment of an open connection is judged like any other. */
static void test_defects_follow_nothing(void)
{
	static const struct {
		const char *name;
		struct frame frame;
		enum eg_reason reason;
	} of[] = {
		{"first fragment",
		 {.source = POD4, .destination = PROVIDER4, .tcp_flags = ACK, .fragment = 1},
		 EG_REASON_FRAGMENT},
		{"later fragment",
		 {.source = POD4, .destination = PROVIDER4, .tcp_flags = ACK, .fragment = 16},
		 EG_REASON_FRAGMENT},
		{"data offset 16",
		 {.source = POD4, .destination = PROVIDER4, .tcp_flags = ACK, .tcp_header = 16},
		 EG_REASON_UNPARSEABLE},
		{"data offset past the end",
		 {.source = POD4, .destination = PROVIDER4, .tcp_flags = ACK, .tcp_header = 60},
		 EG_REASON_UNPARSEABLE},
	};
	struct frame syn = {.source = POD4, .destination = PROVIDER4};
	struct eg_flow flow;
	size_t i;
	int passed;

	for (i = 0; i < 2 * sizeof(of) / sizeof(*of); i++) {
		const struct frame *f = &of[i / 2].frame;
		const char *name = of[i / 2].name;

		passed = i & 1; /* before its address was governed; else it was redirected */
		world_reset();
		if (passed)
			drop_destination(PROVIDER4);
		check(run_frame(progs.egress, POD, &syn) == (passed ? NEXT : REDIRECT), name,
		      "SYN");
		set_destination(PROVIDER4 "/32", 5, EG_DESTINATION_RESOLVED);
		check(run_frame(progs.egress, POD, f) == DROP, name,
		      "of an open connection that %s", passed ? "passes" : "is redirected");
		check(count_of(of[i / 2].reason, EG_HOOK_EGRESS) == 1, name, "reason");
		check(find_flow(POD, &syn, &flow) && flow.packets == 1, name, "in the flow");
	}
}

/* Policy went from governed to ungoverned while a redirected connection is open. */
static void test_ungoverned_later(void)
{
	struct frame syn = {.source = POD4, .destination = PROVIDER4}, ack = syn, fresh = syn;
	struct eg_pod pod = pod_of(1, EG_POD_UNGOVERNED, EG_POD_FOLLOW_FLOWS, POD4, NULL);
	struct eg_pod before = pod_of(1, EG_POD_GOVERNED, 0, POD4, NULL);
	struct eg_flow flow;

	ack.tcp_flags = ACK;
	fresh.sport = 40001;
	world_reset();
	run_frame(progs.egress, POD, &syn);
	set_pod(POD, &pod);
	check(run_frame(progs.egress, POD, &ack) == REDIRECT, "ungoverned later",
	      "open one goes on");
	check(run_frame(progs.egress, POD, &fresh) == NEXT, "ungoverned later", "new one passes");
	check(!find_flow(POD, &fresh, &flow), "ungoverned later", "and takes no place");
	/* A new one from the same port: the whole of it. */
	check(run_frame(progs.egress, POD, &syn) == NEXT, "ungoverned later", "same port: SYN");
	check(run_frame(progs.egress, POD, &ack) == NEXT, "ungoverned later",
	      "same port: the rest");
	check(count_of(EG_REASON_PASS_UNGOVERNED, EG_HOOK_EGRESS) == 0, "ungoverned later",
	      "not counted");
	/* Nor what was refused before. */
	syn.dport = ack.dport = 8443;
	set_pod(POD, &before);
	check(run_frame(progs.egress, POD, &syn) == DROP, "ungoverned later", "refused");
	set_pod(POD, &pod);
	check(run_frame(progs.egress, POD, &syn) == NEXT, "ungoverned later", "refused: SYN");
	check(run_frame(progs.egress, POD, &ack) == NEXT, "ungoverned later", "refused: the rest");
}

/* Verdict keys: exact port, any port, any protocol; the name before any name. */
static void test_verdict_order(void)
{
	struct frame f = {.source = POD4, .destination = PROVIDER4, .dport = 8000};

	world_reset();
	set_verdict(3, 0, 0, 0, EG_ACTION_PASS, EG_REASON_SHADOW);
	check(run_frame(progs.egress, POD, &f) == NEXT, "verdict order", "any name, any protocol");
	set_verdict(3, 0, IPPROTO_TCP, 0, EG_ACTION_RESET, EG_REASON_DENY);
	check(run_frame(progs.egress, POD, &f) == RESET, "verdict order", "any name, TCP");
	set_verdict(3, 0, IPPROTO_TCP, 8000, EG_ACTION_DROP, EG_REASON_DENY);
	check(run_frame(progs.egress, POD, &f) == DROP, "verdict order", "any name, port");
	set_verdict(3, 5, 0, 0, EG_ACTION_PASS, EG_REASON_SHADOW);
	check(run_frame(progs.egress, POD, &f) == NEXT, "verdict order", "name, any protocol");
	set_verdict(3, 5, IPPROTO_TCP, 0, EG_ACTION_RESET, EG_REASON_DENY);
	check(run_frame(progs.egress, POD, &f) == RESET, "verdict order", "name, TCP");
	set_verdict(3, 5, IPPROTO_TCP, 8000, EG_ACTION_REDIRECT, EG_REASON_REDIRECT);
	check(run_frame(progs.egress, POD, &f) == REDIRECT, "verdict order", "name, port");
	/* Another policy's entries are another's. */
	world_reset();
	set_verdict(4, 5, IPPROTO_TCP, 8000, EG_ACTION_PASS, EG_REASON_SHADOW);
	check(run_frame(progs.egress, POD, &f) == DROP, "verdict order", "another policy");
}

void test_flows(void)
{
	test_follow();
	test_passing_stays();
	test_defects_follow_nothing();
	test_learned();
	test_ungoverned_later();
	test_verdict_order();
}

/* As if the flow's last packet had come so much earlier. */
static void age_flow(const struct frame *f, uint64_t by_ns)
{
	struct eg_flow_key key = {.source = address_of(f->source),
				  .destination = address_of(f->destination),
				  .source_port_be = htons(40000),
				  .destination_port_be = htons(443),
				  .ifindex = POD,
				  .protocol = IPPROTO_TCP};
	struct eg_flow flow = {0};

	check(find_flow(POD, f, &flow), "aged flow", "there is none");
	flow.last_seen_ns -= by_ns;
	map_set("flows", &key, &flow);
}

/*
 * A SYN of ports that a flow let pass for lack of an agent: within 8 s it is that connection's own,
 * sent again; later, or after an answered one, it is another's.
 */
static void test_syn_again(void)
{
	struct frame syn = {.source = POD4, .destination = PROVIDER4};
	static const struct {
		uint64_t age_ns;
		enum verdict verdict;
	} ages[] = {{0, NEXT}, {7 * SECOND, NEXT}, {9 * SECOND, REDIRECT}, {60 * SECOND, REDIRECT}};
	size_t i;

	for (i = 0; i < sizeof(ages) / sizeof(*ages); i++) {
		enum verdict v;

		world_reset();
		listener_clear();
		world_config()->fail_policy = EG_FAIL_OPEN;
		check(run_frame(progs.egress, POD, &syn) == NEXT, "SYN again", "fail open");
		listener_add(0);
		age_flow(&syn, ages[i].age_ns);
		v = run_frame(progs.egress, POD, &syn);
		check(v == ages[i].verdict, "SYN again", "after %llu s: %s",
		      (unsigned long long)(ages[i].age_ns / SECOND), verdict_text(v));
	}
	/* A flow that passes for another reason is not waited for. */
	world_reset();
	set_verdict(3, 5, 0, 0, EG_ACTION_PASS, EG_REASON_SHADOW);
	check(run_frame(progs.egress, POD, &syn) == NEXT, "SYN again", "shadow");
	set_verdict(3, 5, 0, 0, EG_ACTION_REDIRECT, EG_REASON_REDIRECT);
	check(run_frame(progs.egress, POD, &syn) == REDIRECT, "SYN again", "after shadow");
}

/* The agent is away. `how`: 0 no listener, 1 no heartbeat, 2 no namespace. */
static void agent_away(int how)
{
	if (how == 0)
		listener_clear();
	else if (how == 1)
		world_config()->heartbeat_ns = now_ns() - 61 * SECOND;
	else
		world_config()->agent_ifindex = 0;
}

static void test_away(int how, const char *name)
{
	struct frame syn = {.source = POD4, .destination = PROVIDER4}, ack = syn, six;
	struct eg_flow flow;

	ack.tcp_flags = ACK;
	six = (struct frame){.source = POD6, .destination = PROVIDER6};
	world_reset();
	agent_away(how);
	check(run_frame(progs.egress, POD, &syn) == DROP, name, "closed: dropped first");
	check(run_frame(progs.egress, POD, &six) == DROP, name, "closed: dropped first, v6");
	check(count_of(EG_REASON_AGENT_DOWN, EG_HOOK_EGRESS) == 2, name, "closed: reason");
	check(!find_flow(POD, &syn, NULL), name,
	      "closed: no flow, so that the retry is decided anew");
	world_config()->heartbeat_ns = now_ns() - 121 * SECOND;
	check(run_frame(progs.egress, POD, &syn) == RESET, name, "closed: reset after the grace");
	check(run_frame(progs.egress, POD, &six) == RESET, name,
	      "closed: reset after the grace, v6");
	check(count_of(EG_REASON_AGENT_DOWN_RESET, EG_HOOK_EGRESS) == 2, name, "closed: reason");
	/* Back: the retry is captured. */
	world_reset();
	agent_away(how);
	run_frame(progs.egress, POD, &syn);
	world_config()->heartbeat_ns = now_ns();
	world_config()->agent_ifindex = 99;
	if (how == 0)
		listener_add(0);
	check(run_frame(progs.egress, POD, &syn) == REDIRECT, name,
	      "closed: the retry is captured");
	/* Open: the whole flow passes, also once the agent is back. */
	world_reset();
	agent_away(how);
	world_config()->fail_policy = EG_FAIL_OPEN;
	check(run_frame(progs.egress, POD, &syn) == NEXT, name, "open: passes");
	check(find_flow(POD, &syn, &flow) && flow.reason == EG_REASON_PASS_FAIL_OPEN, name,
	      "open: flow");
	world_config()->heartbeat_ns = now_ns();
	world_config()->agent_ifindex = 99;
	listener_add(0);
	check(run_frame(progs.egress, POD, &syn) == NEXT, name, "open: its SYN again passes");
	check(run_frame(progs.egress, POD, &ack) == NEXT, name, "open: passes to its end");
	run_frame(progs.egress, POD, &ack);
	check(run_frame(progs.egress, POD, &syn) == REDIRECT, name,
	      "open: a new one of the same ports is captured");
	syn.sport = 40001;
	check(run_frame(progs.egress, POD, &syn) == REDIRECT, name, "open: a new one is captured");
	/* Open never opens what is denied. */
	world_reset();
	agent_away(how);
	world_config()->fail_policy = EG_FAIL_OPEN;
	syn.dport = 22;
	check(run_frame(progs.egress, POD, &syn) == DROP, name, "open: other ports stay denied");
	syn.protocol = IPPROTO_UDP;
	syn.dport = 443;
	check(run_frame(progs.egress, POD, &syn) == DROP, name, "open: QUIC stays refused");
}

void test_fail(void)
{
	struct frame syn = {.source = POD4, .destination = PROVIDER4}, ack = syn, open = syn;
	int how;

	ack.tcp_flags = ACK;
	test_away(0, "no listener");
	test_away(1, "no heartbeat");
	test_away(2, "no namespace");
	test_syn_again();
	/* A pod's own flag. */
	world_reset();
	agent_away(1);
	open.source = "10.0.0.8";
	check(run_frame(progs.egress, POD_OPEN, &open) == NEXT, "fail open pod", "passes");
	check(run_frame(progs.egress, POD, &syn) == DROP, "fail open pod", "another does not");
	/* Connections of an agent that is gone for good are reset, not left to time out. */
	world_reset();
	run_frame(progs.egress, POD, &syn);
	agent_away(1);
	check(run_frame(progs.egress, POD, &ack) == REDIRECT, "open redirected flow",
	      "within the grace");
	world_config()->heartbeat_ns = now_ns() - 121 * SECOND;
	check(run_frame(progs.egress, POD, &ack) == RESET, "open redirected flow",
	      "after the grace");
	/* Nor are they moved to the provider, which does not know them, by a fail policy of open.
	 */
	for (how = 0; how < 2; how++) {
		struct frame old = how ? open : syn;
		uint32_t link = how ? POD_OPEN : POD;

		world_reset();
		if (!how)
			world_config()->fail_policy = EG_FAIL_OPEN;
		run_frame(progs.egress, link, &old);
		old.tcp_flags = ACK;
		agent_away(1);
		check(run_frame(progs.egress, link, &old) == REDIRECT, "open redirected flow",
		      "fail open, within the grace (%d)", how);
		world_config()->heartbeat_ns = now_ns() - 121 * SECOND;
		check(run_frame(progs.egress, link, &old) == RESET, "open redirected flow",
		      "fail open, after the grace (%d)", how);
		check(count_of(EG_REASON_AGENT_DOWN_RESET, EG_HOOK_EGRESS) == 1,
		      "open redirected flow", "fail open: counted (%d)", how);
	}
	/* One worker of two gone: still alive. */
	world_reset();
	listener_add(1);
	listener_clear();
	listener_add(1);
	check(run_frame(progs.egress, POD, &syn) == REDIRECT, "one worker",
	      "slot 1 of 2 is filled");
	/* mark mode needs no namespace. */
	world_reset();
	world_config()->mode = EG_MODE_MARK;
	world_config()->agent_ifindex = 0;
	check(run_frame(progs.egress, POD, &syn) == NEXT && find_flow(POD, &syn, NULL), "mark",
	      "alive");
}

/* A full map of counters: what finds no place in it is counted as that. */
void test_counters(void)
{
	static struct eg_counter zero[256];
	struct eg_counter_key key = {.reason = EG_REASON_UNCOUNTED, .hook = EG_HOOK_EGRESS};
	struct frame quic = {.source = POD4, .destination = PROVIDER4, .protocol = IPPROTO_UDP};
	int i;

	world_reset();
	check(run_frame(progs.egress, POD, &quic) == DROP, "counters", "a place of its own");
	check(!bpf_map_update_elem(map_fd("counters"), &key, zero, BPF_NOEXIST), "counters",
	      "user space makes one");
	key = (struct eg_counter_key){.pod_id = 1u << 20, .hook = EG_HOOK_EGRESS};
	while (!bpf_map_update_elem(map_fd("counters"), &key, zero, BPF_NOEXIST))
		key.pod_id++;
	for (i = 0; i < 3; i++)
		run_frame(progs.egress, POD, &quic);
	check(count_of(EG_REASON_QUIC_REFUSED, EG_HOOK_EGRESS) == 4, "counters", "goes on");
	quic.source = "10.0.0.9";
	check(run_frame(progs.egress, POD, &quic) == DROP, "counters", "full");
	check(count_of(EG_REASON_UNCOUNTED, EG_HOOK_EGRESS) == 1, "counters",
	      "counted all the same");
	world_reset();
}
