/* SPDX-License-Identifier: Apache-2.0 */
/* observe_up_tc and observe_down_tc: what they see, and that they do nothing else. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "dns_message.h"

#define NAME	   5 /* api.openai.com */
#define OTHER_NAME 26

static void observe(void)
{
	world_reset();
	map_clear("inventory");
	map_clear("observed");
	world_config()->enabled = 0;
	world_config()->mode = EG_MODE_OBSERVE;
	set_watched("api.openai.com", NAME);
	set_watched("*.openai.azure.com", OTHER_NAME);
}

static struct eg_talk row_of(uint32_t ifindex, uint32_t name_id, enum eg_known_by by)
{
	struct eg_talk_key key = {.ifindex = ifindex, .name_id = name_id, .by = by};
	struct eg_talk t = {0};
	struct eg_pod pod;

	if (!bpf_map_lookup_elem(map_fd("pods"), &ifindex, &pod))
		key.pod_id = pod.pod_id;
	if (bpf_map_lookup_elem(map_fd("inventory"), &key, &t))
		memset(&t, 0, sizeof(t));
	return t;
}

static int rows(void)
{
	struct eg_talk_key key, *previous = NULL;
	int n = 0;

	for (; !bpf_map_get_next_key(map_fd("inventory"), previous, &key); previous = &key)
		n++;
	return n;
}

/* Through a program that must give it back as it was. */
static void pass(int program, uint32_t ifindex, const struct frame *f, const char *what)
{
	struct run r = {.ifindex = ifindex, .mark = 0x77};
	uint8_t bytes[PACKET_MAX];
	size_t n = frame_build(f, bytes);
	enum verdict v = run_tc(program, bytes, n, &r);

	check(v == NEXT, "observe", "%s: %s", what, verdict_text(v));
	check(r.out_length == n && !memcmp(r.out, bytes, n) && r.mark_out == 0x77, "observe",
	      "%s: untouched", what);
}

static void up(uint32_t ifindex, const struct frame *f, const char *what)
{
	pass(progs.observe_up, ifindex, f, what);
}

static void talk(uint32_t ifindex, const char *from, const char *to, const void *payload,
		 uint32_t length)
{
	struct frame f = {.source = from, .destination = to};

	up(ifindex, &f, "SYN");
	f.tcp_flags = ACK;
	up(ifindex, &f, "ACK");
	f.tcp_flags = ACK | PSH;
	f.payload = payload;
	f.payload_length = length;
	up(ifindex, &f, "first bytes");
}

static void answer(uint32_t ifindex, const char *from, const char *to)
{
	struct frame f = {.source = from,
			  .destination = to,
			  .sport = 443,
			  .dport = 40000,
			  .tcp_flags = ACK | PSH,
			  .payload = "hello",
			  .payload_length = 5};

	pass(progs.observe_down, ifindex, &f, "answer");
}

static void test_known_by_dns(void)
{
	static const char *const ends[][2] = {{POD4, "192.0.2.10"}, {POD6, "2001:db8:9::1"}};

	for (size_t i = 0; i < 2; i++) {
		struct eg_talk t;

		observe();
		set_learned(POD, ends[i][1], NAME, 0);
		talk(POD, ends[i][0], ends[i][1], "GET", 3);
		answer(POD, ends[i][1], ends[i][0]);
		t = row_of(POD, NAME, EG_KNOWN_DNS);
		check(t.connections == 1, "observe", "%s: one connection", ends[i][1]);
		check(t.packets_up == 1 && t.packets_down == 1, "observe", "%s: packets",
		      ends[i][1]);
		check(t.bytes_up == 14u + (i ? 40 : 20) + 20 + 3 &&
			      t.bytes_down == 14u + (i ? 40 : 20) + 20 + 5,
		      "observe", "%s: bytes %llu %llu", ends[i][1], t.bytes_up, t.bytes_down);
		check(t.first_seen_ns && t.last_seen_ns >= t.first_seen_ns, "observe", "times");
		check(rows() == 1, "observe", "%s: one row", ends[i][1]);
		/* another connection from the same ports */
		talk(POD, ends[i][0], ends[i][1], "GET", 3);
		check(row_of(POD, NAME, EG_KNOWN_DNS).connections == 2, "observe", "a second one");
	}
	/* what one pod was taught is nothing to another */
	talk(POD_OTHER, "10.0.0.9", "192.0.2.10", "GET", 3);
	check(!row_of(POD_OTHER, NAME, EG_KNOWN_DNS).connections && rows() == 1, "observe",
	      "only the pod's own lessons");
	/* SYNs that nobody answers are no connections */
	observe();
	set_learned(POD, "192.0.2.10", NAME, 0);
	up(POD, &(struct frame){.source = POD4, .destination = "192.0.2.10"}, "a SYN alone");
	check(!rows(), "observe", "a SYN alone is not counted");
}

static void test_known_by_sni(void)
{
	uint8_t hello[3000];
	uint32_t n = hello_bytes("api.openai.com", hello);
	struct eg_learned l;

	observe();
	talk(POD, POD4, ELSEWHERE4, hello, n);
	check(row_of(POD, NAME, EG_KNOWN_SNI).connections == 1 && rows() == 1, "observe", "by SNI");
	check(is_learned(POD, ELSEWHERE4, &l) && l.from == EG_LEARNED_SNI, "observe",
	      "its address is learned");
	answer(POD, ELSEWHERE4, POD4);
	check(row_of(POD, NAME, EG_KNOWN_SNI).packets_down == 1, "observe", "and what comes back");
	/* the next one says nothing that can be read */
	talk(POD, POD4, ELSEWHERE4, "\x17\x03\x03\x00\x01x", 6);
	check(row_of(POD, NAME, EG_KNOWN_ADDRESS).connections == 1, "observe", "by address");
	talk(POD, POD6, ELSEWHERE6, hello, n);
	check(row_of(POD, NAME, EG_KNOWN_SNI).connections == 2, "observe", "IPv6");
	/* The connection's own word holds, where the address is shared. */
	observe();
	set_learned(POD, "192.0.2.10", NAME, 0);
	n = hello_bytes("acme.openai.azure.com", hello);
	talk(POD, POD4, "192.0.2.10", hello, n);
	check(row_of(POD, OTHER_NAME, EG_KNOWN_SNI).connections == 1 &&
		      !row_of(POD, NAME, EG_KNOWN_DNS).connections,
	      "observe", "SNI before DNS");
	observe();
	n = hello_bytes("www.example.com", hello);
	talk(POD, POD4, ELSEWHERE4, hello, n);
	check(!rows(), "observe", "another name");
}

static void test_others(void)
{
	struct frame quic = {.source = POD4,
			     .destination = "192.0.2.10",
			     .protocol = IPPROTO_UDP,
			     .payload = "x",
			     .payload_length = 1};

	observe();
	set_learned(POD, "192.0.2.10", NAME, 0);
	up(POD, &quic, "QUIC");
	up(POD, &quic, "QUIC again");
	check(row_of(POD, NAME, EG_KNOWN_DNS).connections == 1 &&
		      row_of(POD, NAME, EG_KNOWN_DNS).packets_up == 2,
	      "observe", "QUIC to an address that DNS taught");
	talk(POD, POD4, CIDR4, "GET", 3);
	check(row_of(POD, 0, EG_KNOWN_ADDRESS).connections == 1, "observe", "a range of policy");
	talk(POD, POD4, EXCLUDED4, "GET", 3);
	check(rows() == 2, "observe", "an excluded one is not seen");
	/* a link of nobody, and one without an entry */
	observe();
	set_learned(POD_UNKNOWN, "192.0.2.10", NAME, 0);
	set_learned(POD_ABSENT, "192.0.2.10", NAME, 0);
	talk(POD_UNKNOWN, "10.0.0.3", "192.0.2.10", "GET", 3);
	talk(POD_ABSENT, "10.0.0.4", "192.0.2.10", "GET", 3);
	check(row_of(POD_UNKNOWN, NAME, EG_KNOWN_DNS).connections == 1 &&
		      row_of(POD_ABSENT, NAME, EG_KNOWN_DNS).connections == 1,
	      "observe", "links of pods that are not known");
	/* governing, they do nothing */
	observe();
	world_config()->mode = EG_MODE_NETNS;
	set_learned(POD, "192.0.2.10", NAME, 0);
	talk(POD, POD4, "192.0.2.10", "GET", 3);
	answer(POD, "192.0.2.10", POD4);
	check(!rows(), "observe", "in another mode nothing is counted");
}

/* The whole way: a query, its answer, a connection. */
static void test_whole_way(void)
{
	struct message m;
	struct frame f = {.source = POD4,
			  .destination = RESOLVER4,
			  .protocol = IPPROTO_UDP,
			  .sport = 5353,
			  .dport = 53,
			  .payload = "\x12\x34",
			  .payload_length = 2};

	observe();
	message_simple(&m, "api.openai.com", "192.0.2.10");
	up(POD_UNGOVERNED, &f, "a query");
	f = (struct frame){.source = RESOLVER4,
			   .destination = POD4,
			   .protocol = IPPROTO_UDP,
			   .sport = 53,
			   .dport = 5353,
			   .payload = m.bytes,
			   .payload_length = m.length};
	pass(progs.observe_down, POD_OTHER, &f, "an answer that nobody asked for");
	check(!is_learned(POD_OTHER, "192.0.2.10", NULL), "observe", "is not believed");
	pass(progs.observe_down, POD_UNGOVERNED, &f, "its answer");
	check(is_learned(POD_UNGOVERNED, "192.0.2.10", NULL), "observe",
	      "teaches a pod that nothing governs");
	talk(POD_UNGOVERNED, POD4, "192.0.2.10", "GET", 3);
	check(row_of(POD_UNGOVERNED, NAME, EG_KNOWN_DNS).connections == 1, "observe", "by DNS");
}

/* Everything that is dropped elsewhere. */
static void test_passes(void)
{
	static const uint8_t states[] = {EG_POD_UNKNOWN, EG_POD_HELD, EG_POD_GOVERNED,
					 EG_POD_UNGOVERNED, EG_POD_FOREIGN};
	const struct frame frames[] = {
		{.source = POD4, .destination = PROVIDER4},
		{.source = POD6, .destination = PROVIDER6},
		{.source = "10.9.9.9", .destination = PROVIDER4},
		{.source = POD4, .destination = PROVIDER4, .dport = 22},
		{.source = POD4, .destination = PROVIDER4, .protocol = IPPROTO_UDP},
		{.source = POD4, .destination = PROVIDER4, .protocol = IPPROTO_ICMP},
		{.source = POD4, .destination = PROVIDER4, .fragment = 1},
		{.source = POD4, .destination = PROVIDER4, .fragment = 64},
		{.source = POD4, .destination = PROVIDER4, .ihl = 3},
		{.source = POD4, .destination = PROVIDER4, .version = 9},
		{.source = POD4, .destination = PROVIDER4, .total_length = 4000},
		{.source = POD4, .destination = PROVIDER4, .tcp_header = 60},
		{.source = POD4, .destination = PROVIDER4, .vlan = {5, 6, 7}, .vlans = 3},
		{.source = POD4,
		 .destination = PROVIDER4,
		 .options = {131, 7, 4, 1, 2, 3, 4, 0},
		 .options_length = 8},
		{.source = POD6,
		 .destination = PROVIDER6,
		 .extension = {{.type = 43, .length = 2, .segments_left = 1}},
		 .extensions = 1},
		{.source = POD4, .destination = DENIED4},
		{.source = POD4, .destination = PROVIDER4, .ethertype = 0x8847},
	};

	for (size_t s = 0; s < sizeof(states); s++)
		for (size_t i = 0; i < sizeof(frames) / sizeof(*frames); i++) {
			struct eg_pod pod =
				pod_of(1, (enum eg_pod_state)states[s], EG_POD_STRICT, POD4, POD6);
			char what[64];

			observe();
			listener_clear(); /* no agent, as ever */
			world_config()->heartbeat_ns = 0;
			set_pod(POD, &pod);
			snprintf(what, sizeof(what), "state %u, frame %zu", states[s], i);
			up(POD, &frames[i], what);
			pass(progs.observe_down, POD, &frames[i], what);
		}
}

/* What else could change a packet's way is a helper; these are all that are called. */
static void test_helpers(void)
{
	static const int harmless[] = {
		BPF_FUNC_map_lookup_elem, BPF_FUNC_map_update_elem, BPF_FUNC_map_delete_elem,
		BPF_FUNC_skb_load_bytes,  BPF_FUNC_skb_pull_data,   BPF_FUNC_ringbuf_output,
		BPF_FUNC_ringbuf_reserve, BPF_FUNC_ringbuf_submit,  BPF_FUNC_ktime_get_coarse_ns};
	int calls = 0;

	for (int p = 0; p < 2; p++) {
		size_t n;
		const struct bpf_insn *insn = observe_insns(p, &n);

		for (size_t i = 0; i < n; i++) {
			bool known = false;

			if (insn[i].code != (BPF_JMP | BPF_CALL) || insn[i].src_reg)
				continue;
			for (size_t k = 0; k < sizeof(harmless) / sizeof(*harmless); k++)
				known |= insn[i].imm == harmless[k];
			calls++;
			check(known, "observe", "program %d calls helper %d", p, insn[i].imm);
		}
	}
	check(calls > 20, "observe", "%d calls were looked at", calls);
}

void test_observe(void)
{
	test_known_by_dns();
	test_known_by_sni();
	test_others();
	test_whole_way();
	test_passes();
	test_helpers();
	world_reset();
}
