/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/*
 * The contract between the BPF programs and user space: keys and values of every pinned map.
 * Compiled by both sides. All objects are pinned under EG_PIN_DIR; the version is in the path.
 * Field names are what an operator reads in `bpftool map dump`, so they are words.
 * Byte order: fields named *_be (and every address) are network order; all else is host order.
 * Layout: no implicit padding (asserted below), so that keys hash alike on both sides.
 */
#ifndef EGRET_ABI_MAPS_H
#define EGRET_ABI_MAPS_H

#include <linux/types.h>

#include "egret/abi/reasons.h"

#define EG_ABI_VERSION 1
#define EG_PIN_ROOT    "/sys/fs/bpf/egret"
#define EG_PIN_DIR     EG_PIN_ROOT "/v1"

#define EG_POD_ADDRESSES 8 /* addresses of one link */
#define EG_POD_NAME	 64 /* "namespace/name", NUL-terminated; of a longer one without its middle */
#define EG_DNS_NAME	 128 /* a watched name in text, NUL-terminated, cut: for people only */
#define EG_MAX_WORKERS	 16  /* listener slots */
#define EG_LEARN_QUOTA	 256 /* addresses one pod may teach */

/* An IPv6 address, or an IPv4 one mapped into ::ffff:0:0/96 (RFC 4291 2.5.5.2). */
struct eg_address {
	__be32 word_be[4];
};

/* ---- pods: HASH, key __u32 ifindex of the host side of the pod's link ---- */
enum eg_pod_state {
	EG_POD_UNKNOWN = 0,    /* a link with no identity yet: governed destinations held */
	EG_POD_HELD = 1,       /* identity known in part (labels missing): held likewise */
	EG_POD_GOVERNED = 2,   /* a policy selects it */
	EG_POD_UNGOVERNED = 3, /* known, and no policy selects it: untouched */
	EG_POD_FOREIGN = 4,    /* not a pod's link (no record of it): untouched */
};

enum eg_pod_flags {
	EG_POD_FAIL_OPEN = 1 << 0,	 /* fail policy of this pod is open; else closed */
	EG_POD_CAPTURE_ALL_TLS = 1 << 1, /* redirect every TCP/443, known address or not */
	EG_POD_STRICT = 1 << 2, /* deny TCP/443 and UDP/443 to addresses that are not known */
	EG_POD_UNKNOWN_ALLOW = 1 << 3, /* unknown pods pass */
	EG_POD_UNKNOWN_DENY = 1 << 4,  /* unknown pods are reset at once instead of held */
	EG_POD_FOLLOW_FLOWS = 1 << 5,  /* was governed before: what flows holds of it is followed */
	EG_POD_SHADOW = 1 << 6,	       /* its policy only watches: it loses no packet by it */
	EG_POD_NAMED = 1 << 7, /* of an unknown one: a pod's it was once, so never foreign */
};

struct eg_pod {
	__u32 pod_id;	 /* number of the pod in the agent's table; 0: none */
	__u32 policy_id; /* number of its policy's verdicts, which policies share; 0: none */
	__u8 state;	 /* enum eg_pod_state */
	__u8 flags;	 /* enum eg_pod_flags */
	__u8 address_count;
	__u8 pad[5];
	__u64 since_ns; /* CLOCK_MONOTONIC when this state began (unknown and held are one): the
			   hold grace runs from it */
	struct eg_address address[EG_POD_ADDRESSES];
	char name[EG_POD_NAME];
};

/*
 * ---- host_pods: HASH, key __u64 cgroup id, value struct eg_pod without addresses: pods in the
 * node's own network that policy selects, or may. With --host-network-pods deny alone. ----
 * In flows and events their ifindex is this and the pod's number; a flow has no source.
 */
#define EG_HOST_POD_LINK 0x80000000u

/* ---- pod_links: HASH, key struct eg_address, value __u32 ifindex: the way back into a pod ---- */

/* ---- destinations4, destinations6: LPM_TRIE, value struct eg_destination ---- */
struct eg_lpm4 {
	__u32 prefix_bits; /* 0..32 */
	__be32 address_be;
};

struct eg_lpm6 {
	__u32 prefix_bits; /* 0..128 */
	__be32 address_be[4];
};

enum eg_destination_origin {
	EG_DESTINATION_CIDR = 1,     /* a policy's CIDR */
	EG_DESTINATION_RESOLVED = 2, /* the agent resolved a watched name */
	EG_DESTINATION_GATEWAY = 3,  /* the gateway's own address */
	EG_DESTINATION_EXCLUDED =
		4, /* node, service, loopback...: never governed by a shorter prefix */
};

struct eg_destination {
	__u32 name_id; /* number of the watched name; 0: a CIDR or the gateway */
	__u8 origin;   /* enum eg_destination_origin */
	__u8 pad[3];
	__u64 expires_ns; /* CLOCK_MONOTONIC; 0: never. For user space, which removes it then. */
};

/* ---- learned: HASH, what one pod's own DNS answers and SNI taught; judges only that pod ---- */
struct eg_learned_key {
	__u32 ifindex;
	struct eg_address address;
};

enum eg_learned_from {
	EG_LEARNED_DNS = 1,
	EG_LEARNED_SNI = 2,
	EG_LEARNED_EVENT = 3, /* user space, from an answer that the kernel could not parse */
};

struct eg_learned {
	__u32 name_id;
	__u8 from; /* enum eg_learned_from */
	__u8 pad[3];
	__u64 expires_ns; /* CLOCK_MONOTONIC: TTL and grace; not before the agent's last proof of
			     life is as old */
};

/* ---- learned_count: HASH, key __u32 ifindex, value __u32: quota of `learned` ---- */

/* ---- verdicts: HASH. Looked up with the exact port, then with port 0; name 0 is "any". ---- */
struct eg_verdict_key {
	__u32 policy_id;
	__u32 name_id;
	__u8 protocol; /* IPPROTO_TCP, ... ; 0: any */
	__u8 pad;
	__be16 port_be;
};

enum eg_action {
	EG_ACTION_DROP = 0, /* zeroed memory denies */
	EG_ACTION_REDIRECT = 1,
	EG_ACTION_PASS = 2,
	EG_ACTION_RESET = 3, /* TCP: answered with a reset */
};

struct eg_verdict {
	__u8 action; /* enum eg_action */
	__u8 reason; /* enum eg_reason */
	__u8 pad[2];
};

/* ---- flows: LRU_HASH ---- */
struct eg_flow_key {
	struct eg_address source;
	struct eg_address destination;
	__be16 source_port_be;
	__be16 destination_port_be;
	__u32 ifindex; /* host side of the pod's link */
	__u8 protocol;
	__u8 pad[3];
};

struct eg_flow {
	__u64 last_seen_ns;
	__u64 packets;
	__u64 bytes;
	__u32 pod_id;
	__u32 name_id;
	__u32 generation; /* eg_config.generation when it was decided */
	__u8 action;	  /* enum eg_action */
	__u8 reason;	  /* enum eg_reason */
	__u8 flags;	  /* enum eg_flow_flags */
	__u8 pad;
};

enum eg_flow_flags {
	EG_FLOW_PAYLOAD = 1 << 0, /* the pod sent bytes: its ClientHello is no longer awaited */
	/* Mark mode: a later packet of it found no socket of the agent; once, twice. */
	EG_FLOW_STRAY = 1 << 1,
	EG_FLOW_STRAY_AGAIN = 1 << 2,
};

/*
 * ---- queries: LRU_HASH: what pods asked their resolvers and have no answer to. Each link has
 * EG_QUERY_SETS entries and no more, so that no pod's queries push out another's. ----
 */
#define EG_QUERY_SETS 32
#define EG_QUERY_WAYS 8

struct eg_query_key {
	__u32 ifindex;
	__u32 set; /* below EG_QUERY_SETS: a hash of the query */
};

struct eg_query {
	struct eg_address source; /* the pod */
	struct eg_address resolver;
	__u64 asked_ns; /* CLOCK_MONOTONIC; 0: no query, or it was answered */
	__be16 source_port_be;
	__be16 id_be; /* of the DNS message; 0 over TCP, where a connection is one entry. With port
			 0 UDP whose messages could not be told: whatever its resolver answers */
	/* TCP only: where in what the resolver sends the next message begins. */
	__u32 next;	   /* sequence number of the first byte not seen yet, behind the message;
			      until `synced` where it may be; while `opened` what the resolver is to
			      acknowledge */
	__u16 prefix;	   /* of the two bytes of length before it, those that were seen */
	__u8 prefix_bytes; /* how many: 0..2 */
	__u8 synced;	   /* the three fields before are valid */
	__u8 protocol;
	__u8 more;   /* UDP only: how often it was asked again; so many answers more are believed */
	__u8 opened; /* TCP only: the pod's SYN is on record, and nothing that answers it */
	__u8 pad;
};

struct eg_queries {
	struct eg_query query[EG_QUERY_WAYS];
};

/* ---- watched_names: HASH. See name_hash.h for the hash. ---- */
struct eg_name_key {
	__u64 hash; /* eg_name_hash() of the lower-case dotted name; name_hash.h */
};

struct eg_name {
	__u32 name_id;
	__u8 suffix; /* 1: "*.example.com": matches below the name, not the name */
	__u8 pad[3];
	char text[EG_DNS_NAME];
};

/* ---- resolvers: HASH, key struct eg_address, value __u32 1: whose answers dns_tc believes.
 * An empty map (eg_config.any_resolver = 1) means every resolver. ---- */

/* ---- listeners: SOCKMAP, EG_MAX_WORKERS slots: slot w is worker w's dual-stack listener ---- */

/* ---- counters: PERCPU_HASH. What pods that are gone left is added up by user space, which also
 * makes the entries of EG_REASON_UNCOUNTED, of no pod and name, for when the map is full. ---- */
#define EG_POD_GONE 0xffffffffu

struct eg_counter_key {
	__u32 pod_id;  /* 0: not a pod's, or none known; EG_POD_GONE */
	__u32 name_id; /* 0: none */
	__u32 reason;  /* enum eg_reason */
	__u32 hook;    /* enum eg_hook */
};

enum eg_hook {
	EG_HOOK_EGRESS = 1,
	EG_HOOK_DNS = 2,
	EG_HOOK_SNI = 3,
	EG_HOOK_GUARD = 4,
	EG_HOOK_XDP = 5,
	EG_HOOK_REPLY = 6,
	EG_HOOK_LOOKUP = 7,
	EG_HOOK_HOST = 8, /* of cgroups of pods in the node's own network */
	EG_HOOK_COUNT = 9,
};

struct eg_counter {
	__u64 packets;
	__u64 bytes;
};

/* ---- config: ARRAY[1], mmapable: user space stores into it ---- */
enum eg_redirect_mode {
	EG_MODE_NETNS = 1,
	EG_MODE_MARK = 2,
	EG_MODE_OBSERVE = 3, /* no way in: nothing is redirected, nothing judged */
};

enum eg_fail_policy {
	EG_FAIL_CLOSED = 0,
	EG_FAIL_OPEN = 1,
};

/*
 * Order of writes at start: agent_ifindex, listeners, heartbeat_ns; the reverse at stop.
 * The agent is alive while listeners has a filled slot and heartbeat_ns is younger than
 * heartbeat_max_ns.
 */
struct eg_config {
	__u64 heartbeat_ns;	/* CLOCK_MONOTONIC of the last proof of life */
	__u64 heartbeat_max_ns; /* 1 s by default */
	__u64 down_grace_ns; /* fail closed: drop for this long after the last heartbeat, then reset
			      */
	__u64 hold_grace_ns; /* unknown pod: hold for this long, then reset */
	__u64 learned_grace_ns; /* added to a TTL */
	__u64 name_hash_base;	/* odd, random per boot; name_hash.h */
	__u64 agent_cgroup[2];	/* cgroup v2 ids of the agent (two during an upgrade); 0: none */
	__u32 generation;	/* of policy; shown in flows */
	__u32 agent_ifindex;	/* netns mode: host side of the veth into the agent's namespace */
	__u32 mark;		/* mark mode: the mark */
	__u32 mark_mask;
	__u32 listener_count; /* filled slots, from 0 up */
	__u16 stamp;	      /* skb->tc_index of what egress_tc let pass; random per boot, not 0 */
	__u8 mode;	      /* enum eg_redirect_mode */
	__u8 fail_policy; /* enum eg_fail_policy, for pods without a flag and for unknown pods */
	__u8 guard_host_deny; /* 1: node processes but the agent may not reach governed destinations
			       */
	__u8 any_resolver;    /* 1: believe DNS answers of every source */
	__u8 enabled;	      /* 0: programs pass everything (being uninstalled, observe) */
	__u8 unknown_pods;    /* 0 hold, 1 allow, 2 deny */
	__be32 gateway4_be;   /* 0: none */
	__be32 gateway6_be[4];
	__u32 abi_version; /* EG_ABI_VERSION */
};

/* ---- inventory: LRU_HASH, in observe mode only: what each pod talked to, and how much ---- */
enum eg_known_by {
	EG_KNOWN_DNS = 1, /* the pod asked for the name, and then used an address of the answer */
	EG_KNOWN_SNI = 2, /* the connection's own ClientHello names it */
	EG_KNOWN_ADDRESS =
		3, /* a policy's range, or an address that an earlier ClientHello named */
};

struct eg_talk_key {
	__u32 pod_id; /* 0: nobody knew yet whose link it is */
	__u32 ifindex;
	__u32 name_id; /* 0: an address in a policy's range */
	__u32 by;      /* enum eg_known_by */
};

/* A connection counts from the first bytes that the pod sends on it, and so do its packets. */
struct eg_talk {
	__u64 first_seen_ns; /* CLOCK_MONOTONIC, as the next */
	__u64 last_seen_ns;
	__u64 connections;
	__u64 packets_up; /* from the pod */
	__u64 bytes_up;	  /* of whole frames */
	__u64 packets_down;
	__u64 bytes_down;
	char pod[EG_POD_NAME]; /* as in eg_pod; "" of a link without one */
};

/* ---- observed: LRU_HASH, key struct eg_flow_key, likewise: connections that are in it ---- */
struct eg_observed {
	__u32 pod_id;
	__u32 name_id;
	__u8 by;      /* enum eg_known_by */
	__u8 counted; /* 1: the pod has sent bytes */
	__u8 pad[2];
};

/* ---- events: RINGBUF ---- */
enum eg_event_type {
	EG_EVENT_VERDICT = 1,	/* a flow was decided against (drop, reset), or captured */
	EG_EVENT_LEARNED = 2,	/* an address was learned */
	EG_EVENT_DNS_RAW = 3,	/* a DNS answer that the kernel could not parse; data holds it */
	EG_EVENT_NAME_SEEN = 4, /* a watched name was looked up by a pod */
};

#define EG_EVENT_DATA 1500

struct eg_event {
	__u64 time_ns;
	__u32 type; /* enum eg_event_type */
	__u32 ifindex;
	__u32 pod_id;
	__u32 name_id;
	__u32 data_length; /* DNS_RAW: bytes valid in data, which is sent only as far as needed */
	__u8 reason;
	__u8 hook;
	__u8 protocol;
	__u8 from; /* enum eg_learned_from */
	__be16 source_port_be;
	__be16 destination_port_be;
	__u32 pad;
	struct eg_address source;
	struct eg_address destination;
	/* DNS_RAW only: the DNS message follows */
	__u8 data[];
};

/* XDP leaves this in data_meta for egress_tc. */
struct eg_xdp_meta {
	__u32 magic; /* EG_XDP_MAGIC */
	__u8 action;
	__u8 reason;
	__u16 pad;
	__u32 name_id;
	__u32 pod_id;
};
#define EG_XDP_MAGIC 0x45675231u /* "EgR1" */

#ifdef __cplusplus
#define EG_ABI_ASSERT(x) static_assert(x, #x)
#else
#define EG_ABI_ASSERT(x) _Static_assert(x, #x)
#endif
EG_ABI_ASSERT(sizeof(struct eg_address) == 16);
EG_ABI_ASSERT(sizeof(struct eg_pod) == 24 + 16 * EG_POD_ADDRESSES + EG_POD_NAME);
EG_ABI_ASSERT(sizeof(struct eg_destination) == 16);
EG_ABI_ASSERT(sizeof(struct eg_learned_key) == 20);
EG_ABI_ASSERT(sizeof(struct eg_learned) == 16);
EG_ABI_ASSERT(sizeof(struct eg_verdict_key) == 12);
EG_ABI_ASSERT(sizeof(struct eg_verdict) == 4);
EG_ABI_ASSERT(sizeof(struct eg_flow_key) == 44);
EG_ABI_ASSERT(sizeof(struct eg_flow) == 40);
EG_ABI_ASSERT(sizeof(struct eg_talk_key) == 16);
EG_ABI_ASSERT(sizeof(struct eg_talk) == 56 + EG_POD_NAME);
EG_ABI_ASSERT(sizeof(struct eg_observed) == 12);
EG_ABI_ASSERT(sizeof(struct eg_query) == 56);
EG_ABI_ASSERT(sizeof(struct eg_name) == 8 + EG_DNS_NAME);
EG_ABI_ASSERT(sizeof(struct eg_counter_key) == 16);
EG_ABI_ASSERT(sizeof(struct eg_config) == 120);
EG_ABI_ASSERT(sizeof(struct eg_event) == 72);
EG_ABI_ASSERT(sizeof(struct eg_xdp_meta) == 16);

#endif
