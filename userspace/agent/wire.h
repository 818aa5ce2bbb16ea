/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the processes of egretd say to each other, over SOCK_SEQPACKET pairs that the supervisor
 * makes. Every message has the fixed size of its type; descriptors travel beside it (SCM_RIGHTS).
 * A receiver drops the connection on anything else: no length that a sender chose is believed.
 * All processes are the same binary, so byte order and padding are the compiler's.
 *
 * Supervisor -> gateway, at start: CONFIG, FLIGHT, WORKER x n, CHAIN, DEFAULT_TRUST, START; then
 * comes READY.
 * A snapshot: POLICY, PODS, CREDENTIAL or KEEP x n, PROVIDER_TRUST or KEEP_TRUST x n, COMMIT -> ACK
 * or NACK.
 * Nothing of it is used before COMMIT, and all of it from then on.
 */
#ifndef EGRET_AGENT_WIRE_H
#define EGRET_AGENT_WIRE_H

#include "base/base.h"
#include "agent/page_token.h"
#include "egret/abi/maps.h"

#define EG_WIRE_FDS	  3u   /* the most descriptors beside one message */
#define EG_WIRE_TEXT	  400u /* a sentence, NUL-terminated */
#define EG_WIRE_NAME	  256u /* a DNS name, NUL-terminated */
#define EG_WIRE_ADDRESSES 16u
#define EG_WIRE_REASONS	  128u
#define EG_WIRE_HOOKS	  9u
#define EG_WIRE_UPLINKS	  16u
#define EG_WIRE_DENIED	  16u

enum eg_wire_type {
	/* supervisor -> spawner */
	EG_WIRE_SPAWN = 1, /* number: serial; role; fd 0: the child's control socket */
	EG_WIRE_SIGNAL,	   /* pid: a child of the spawner; value: the signal */
	/* spawner -> supervisor */
	EG_WIRE_SPAWNED, /* number: serial; pid; value: 0 or -errno */
	EG_WIRE_EXITED,	 /* pid; value: wait status */
	/* supervisor -> gateway */
	EG_WIRE_CONFIG,	       /* fds as flags say: access log, metrics listener */
	EG_WIRE_FORBIDDEN,     /* value: bytes; fd: struct eg_wire_cidr, any number */
	EG_WIRE_FLIGHT,	       /* fd: flight.h */
	EG_WIRE_WORKER,	       /* number: index; fds: listener, signer */
	EG_WIRE_CHAIN,	       /* value: bytes; fd: PEM of the intermediate */
	EG_WIRE_DEFAULT_TRUST, /* value: bytes; fd: PEM of the roots */
	EG_WIRE_START,
	EG_WIRE_POLICY,		/* value: bytes; fd: bundle.h */
	EG_WIRE_PODS,		/* value: bytes; fd: bundle.h */
	EG_WIRE_CREDENTIAL,	/* number: index; fd: the secret, sealed */
	EG_WIRE_KEEP,		/* number: index; the secret in force of the same file stays */
	EG_WIRE_PROVIDER_TRUST, /* number: index of the provider; value: bytes; fd: PEM */
	EG_WIRE_KEEP_TRUST,	/* number: likewise; its roots in force of the same file stay */
	EG_WIRE_COMMIT,		/* number: generation */
	EG_WIRE_PING,		/* number: serial; to the spawner, too */
	EG_WIRE_DNS,		/* number: ifindex; a DNS answer that the kernel could not parse */
	EG_WIRE_STATS,		/* answer to WANT_STATS */
	EG_WIRE_DRAIN,		/* value: milliseconds; number: 1 when another gateway serves on */
	EG_WIRE_ACCESS_LOG,	/* fd: the file, opened anew */
	EG_WIRE_ACCEPT,		/* the listeners are this gateway's alone now */
	EG_WIRE_PAGE_TOKEN,	/* what opens the metrics page, from now on */
	EG_WIRE_TRACE,		/* number: epoch; value: place, and who watches there in u.trace */
	EG_WIRE_TRACE_END,	/* number: epoch; value: place, where nobody watches any more */
	EG_WIRE_TRACE_TAKEN,	/* number: so many EG_WIRE_TRACED have been read */
	/* gateway -> supervisor */
	EG_WIRE_READY,	    /* workers turn, the system call filter is in place */
	EG_WIRE_ACK,	    /* number: generation */
	EG_WIRE_NACK,	    /* number: generation; text: why */
	EG_WIRE_PONG,	    /* number: serial; every worker's loop has turned since the ping.
				   The spawner's: it has done what it was asked for before */
	EG_WIRE_RESOLVED,   /* addresses of a watched name */
	EG_WIRE_LEARNED,    /* number: ifindex; likewise, out of an EG_WIRE_DNS of that pod */
	EG_WIRE_WANT_STATS, /* somebody scrapes the metrics */
	EG_WIRE_FAILED,	    /* text: why START could not be followed; it exits */
	EG_WIRE_DENIALS,    /* with EG_CONFIG_DENIALS: what was denied since the last one */
	EG_WIRE_TRACED,	    /* a piece of what somebody watches; EG_TRACE_WINDOW unread at most */
	EG_WIRE_TYPES
};

enum eg_role { EG_ROLE_SUPERVISOR, EG_ROLE_SPAWNER, EG_ROLE_SIGNER, EG_ROLE_GATEWAY };

enum eg_config_flags {
	EG_CONFIG_ACCESS_LOG = 1 << 0, /* a descriptor for it is beside the message */
	EG_CONFIG_METRICS = 1 << 1,    /* likewise, after the access log's */
	EG_CONFIG_GATEWAY4 = 1 << 2,   /* gateway4 is set */
	EG_CONFIG_GATEWAY6 = 1 << 3,
	EG_CONFIG_SHARED = 1 << 4,     /* another gateway accepts from the listeners until ACCEPT */
	EG_CONFIG_PAGE_TOKEN = 1 << 5, /* the metrics page is for who has the token alone */
	EG_CONFIG_DENIALS = 1 << 6,    /* somebody wants to hear of what is denied */
};

#define EG_FORBIDDEN_MAX 16384u /* ranges and addresses that are never dialled for a pod */

struct eg_wire_cidr {
	struct eg_address address;
	uint32_t prefix_bits; /* of the 128-bit form */
};

struct eg_wire_config {
	uint32_t flags; /* enum eg_config_flags */
	uint32_t worker_count;
	uint32_t metrics_port;
	uint64_t memory_bytes; /* that there are for it (agent/memory_room.h); 0: unknown */
	struct eg_address gateway4, gateway6;
	char resolvers[256];
	char tag[40];
};

struct eg_wire_addresses {
	char name[EG_WIRE_NAME];
	uint32_t count;
	uint32_t ttl_s;
	struct eg_address address[EG_WIRE_ADDRESSES];
};

struct eg_wire_dns {
	uint32_t length;
	uint8_t message[EG_EVENT_DATA];
};

/* telemetry/denials.h says what is in one. */
struct eg_wire_denial {
	char pod_uid[64], host[EG_WIRE_NAME], provider[64]; /* NUL-terminated */
	uint64_t count;
	uint32_t reason; /* enum eg_reason */
};

struct eg_wire_denials {
	uint32_t count;
	uint64_t lost; /* denials that are in none */
	struct eg_wire_denial item[EG_WIRE_DENIED];
};

/* telemetry/tracer.h says what these are. */
struct eg_wire_trace {
	char pod[320], host[EG_WIRE_NAME]; /* NUL-terminated; "": all */
};

#define EG_TRACE_PIECE	4096u
#define EG_TRACE_WINDOW 64u /* pieces on their way: answers to pings find room beside them */
#define EG_TRACE_ACK	16u /* pieces that are read before the supervisor says so */

struct eg_wire_traced {
	uint32_t places, epoch;
	uint32_t length; /* of text */
	uint32_t more;	 /* 1: the record goes on with the next piece */
	uint64_t lost;	 /* records of these places that are in none */
	char text[EG_TRACE_PIECE];
};

/* As the kernel had it when it was asked. */
struct eg_wire_uplink {
	char name[16]; /* NUL-terminated */
	uint8_t present, guarded;
};

/* What only the supervisor knows, for the metrics page. */
struct eg_wire_stats {
	uint64_t policy_generation;
	uint64_t policy_rejected;  /* sets refused since start */
	uint64_t policy_valid;	   /* 1: what lies in the directory is what is served */
	uint64_t policy_loaded_ms; /* wall time of the last swap */
	uint64_t gateway_restarts, gateway_hangs, signer_restarts, signer_hangs;
	uint64_t gateway_renewals; /* replaced while they were well; nothing failed */
	uint64_t requests_lost;	   /* in flight on gateways that died */
	uint64_t connections_lost; /* of pods, open on gateways that died */
	uint64_t spawner_hung;	   /* 1: it does not answer */
	uint64_t pods, pods_governed, pods_held, pods_refused;
	uint64_t credentials_missing, ca_files_missing;
	/* With --kubernetes (kube: 1). heard_ms: ago. */
	uint64_t kube, kube_synced, kube_current, kube_heard_ms, kube_failures, kube_passed_over;
	uint64_t pods_out_of_reach, host_pods_guarded;
	uint64_t kube_events, kube_events_forbidden, kube_events_written, kube_events_failures;
	uint64_t kube_events_not_taken, kube_events_dropped, kube_events_waiting;
	uint64_t dns_events, dns_events_lost;
	uint64_t addresses_refused;
	char policy_version[20];
	char trouble[EG_WIRE_TEXT]; /* what is wrong, a sentence; "": nothing */
	uint32_t uplink_count;
	struct eg_wire_uplink uplink[EG_WIRE_UPLINKS];
	uint64_t packets[EG_WIRE_HOOKS][EG_WIRE_REASONS];
};

struct eg_message {
	uint32_t type; /* enum eg_wire_type */
	uint32_t number;
	int32_t pid;
	uint32_t role; /* enum eg_role */
	int64_t value;
	union {
		char text[EG_WIRE_TEXT];
		struct eg_wire_config config;
		struct eg_wire_addresses addresses;
		struct eg_wire_dns dns;
		struct eg_wire_denials denials;
		struct eg_wire_stats stats;
		struct eg_wire_trace trace;
		struct eg_wire_traced traced;
		uint8_t page_token[EG_PAGE_DIGEST];
	} u;
};

/* Bytes of a message of this type; 0: no such type. */
size_t eg_wire_size(uint32_t type);
/* How many descriptors come beside it: at least and at most. */
void eg_wire_fds(uint32_t type, unsigned int *least, unsigned int *most);

#endif
