/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every BPF test stands on: the programs, loaded once with shared maps, in a network
 * namespace of the test's own; a world of pods and destinations that is set up anew for each
 * case; and a check that counts.
 */
#ifndef EGRET_TESTS_BPF_HARNESS_H
#define EGRET_TESTS_BPF_HARNESS_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "packet.h"

enum verdict { NEXT, REDIRECT, DROP, RESET, OTHER };

/* Host-side links of the test's pods (veth in the test's namespace). */
enum link {
	POD = 10, /* governed by policy 3; 10.0.0.2, fd00:1::2 */
	POD_UNKNOWN = 11,
	POD_UNGOVERNED = 12,
	POD_FOREIGN = 13,
	POD_HELD = 14,
	POD_ALL_TLS = 15,
	POD_STRICT = 16,
	POD_ABSENT = 17, /* a link without an entry in pods */
	POD_OPEN = 18,	 /* fail policy open */
	POD_OTHER = 19,	 /* a second governed pod: 10.0.0.9 */
	POD_SHADOW = 20, /* its policy only watches, all_tls: 10.0.0.10, fd00:1::10 */
	UPLINK = 21,
};

#define POD4	   "10.0.0.2"
#define POD6	   "fd00:1::2"
#define PROVIDER4  "198.51.100.7"   /* name 5 */
#define PROVIDER6  "2001:db8:2::7"  /* name 5 */
#define CIDR4	   "203.0.113.20"   /* in 203.0.113.0/24, name 0 */
#define CIDR6	   "2001:db8:1::20" /* in 2001:db8:1::/48, name 0 */
#define EXCLUDED4  "203.0.113.200"  /* 203.0.113.128/25 is taken out of the CIDR */
#define SHADOW4	   "192.0.2.66"	    /* name 6: everything passes, reason shadow */
#define DENIED4	   "192.0.2.77"	    /* name 7: reset, denied */
#define ELSEWHERE4 "192.0.2.1"	    /* nobody's */
#define ELSEWHERE6 "2001:db8:ffff::1"
#define GATEWAY4   "169.254.77.1"
#define GATEWAY6   "fd00:77::1"
#define RESOLVER4  "10.96.0.10"
#define RESOLVER6  "fd00:10::10"

#define SECOND 1000000000ull
#define STAMP  0x4747

struct progs {
	int egress, reply, dns, guard, lookup, xdp, guard_xdp;
	int dns_raw, egress_plain; /* in_kernel_names off, sni_backstop off */
	int peer_type, type;	   /* of peer_type.bpf.c */
	int observe_up, observe_down;
};
extern struct progs progs;

/* Results. */
void check(bool ok, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int summary(void);
const char *verdict_text(enum verdict v);

/* The world. */
void world_load(void); /* once: namespace, links, programs */
void world_unload(void);
void world_reset(void);		      /* before each case */
struct eg_config *world_config(void); /* mapped: stores take effect at once */
uint64_t now_ns(void);
int map_fd(const char *name);
void map_set(const char *name, const void *key, const void *value);
void map_clear(const char *name);
void set_destination(const char *cidr, uint32_t name_id, uint8_t origin);
void set_verdict(uint32_t policy, uint32_t name_id, uint8_t protocol, uint16_t port,
		 enum eg_action action, enum eg_reason reason);
void set_pod(uint32_t ifindex, const struct eg_pod *pod);
struct eg_pod pod_of(uint32_t id, enum eg_pod_state state, uint8_t flags, const char *a4,
		     const char *a6);
void set_watched(const char *text, uint32_t name_id);
void set_learned(uint32_t ifindex, const char *address, uint32_t name_id, uint64_t expires_ns);
bool is_learned(uint32_t ifindex, const char *address, struct eg_learned *out);
bool find_flow(uint32_t ifindex, const struct frame *f, struct eg_flow *out);
void listener_add(uint32_t slot);
void listener_clear(void);
uint64_t count_of(enum eg_reason reason, enum eg_hook hook); /* packets, any pod and name */
uint64_t count_all(void);

/* Events: those of one type since the last call; the last one's header is stored. */
int events_drain(uint32_t type, struct eg_event *last);

/* Running a program. */
struct run {
	uint32_t ifindex;
	uint32_t ingress_ifindex;
	uint32_t mark;
	uint32_t gso_size, gso_segs;
	/* results */
	int retval;
	uint8_t out[PACKET_MAX + 256];
	uint32_t out_length;
	uint32_t mark_out;
};
enum verdict run_tc(int prog, const uint8_t *frame, size_t length, struct run *r);
enum verdict run_frame(int prog, uint32_t ifindex, const struct frame *f);

/* Of observe_up_tc (0) or observe_down_tc (1), with all that it calls. */
const struct bpf_insn *observe_insns(int which, size_t *count);
/* A ClientHello that names the server; its length. */
uint32_t hello_bytes(const char *server, uint8_t out[3000]);

void test_egress(void);
void test_verdicts(void);
void test_parse(void);
void test_flows(void);
void test_counters(void);
void test_fail(void);
void test_dns(void);
void test_learn(void);
void test_dns_stream(void);
void test_dns_chain(void);
void test_sni(void);
void test_observe(void);
void test_guard(void);
void test_xdp(void);
void test_lookup(void);
void test_reply(void);
void test_live(void);
void test_cost(void);

#endif
