/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of a pod, from accept to its end, and the worker that owns it. The first bytes
 * decide what it becomes: HTTP, TLS that is terminated, or bytes relayed to where the pod wanted
 * to go. docs/internals/front.md.
 */
#ifndef EGRET_FRONT_CONNECTION_H
#define EGRET_FRONT_CONNECTION_H

#include <stdatomic.h>

#include "base/fair.h"
#include "front/h1_server.h"
#include "front/h2_server.h"
#include "front/relay.h"
#include "front/worker.h"
#include "net/mint.h"
#include "net/resolver.h"
#include "proto/client_hello.h"

enum connection_state {
	CONNECTION_PEEK,      /* the first bytes are awaited, or half a ClientHello is there */
	CONNECTION_MINT,      /* waits for a leaf */
	CONNECTION_TURN,      /* has one, and waits for its turn */
	CONNECTION_HANDSHAKE, /* TLS with the pod */
	CONNECTION_PREFACE,   /* plain: does it begin as HTTP/2 does? */
	CONNECTION_HTTP,
	CONNECTION_DIAL, /* to the original destination */
	CONNECTION_RELAY,
	CONNECTION_CLOSED,
};

struct connection {
	struct eg_worker *worker;
	struct eg_list link;
	enum connection_state state;
	struct eg_stream *stream; /* NULL once detached or closed */
	struct eg_stream *onward; /* being dialled for the relay */
	struct eg_timer timer;
	struct eg_defer bury;
	struct eg_peer peer;
	char *pod_uid;	   /* owned; peer.pod_uid */
	char *server_name; /* owned; peer.server_name */
	struct eg_mint_wait mint;
	struct eg_leaf *leaf;
	struct eg_fair turn;	    /* of the worker's handshakes, while it waits */
	struct h1_server *http;	    /* NULL until HTTP/1.1 */
	struct h2_server *http2;    /* NULL until HTTP/2 */
	struct relay *relay;	    /* NULL until relayed */
	enum eg_reason pass_reason; /* of the record, when relayed */
	bool shadow;
	size_t descriptors, charged; /* to the pod and the node; bytes */
	size_t unread;		     /* likewise: what the pod does not read, below HTTP */
	struct eg_defer excess;	     /* that is too much */
	uint64_t began_ms;
};

struct worker_forbidden {
	size_t count;
	struct eg_cidr list[];
};

struct eg_worker {
	int index;
	struct eg_loop *loop;
	struct eg_resolver *resolver;
	struct eg_upstream *upstream;
	struct eg_mint *mint;
	struct eg_tls_server *tls;
	struct eg_telemetry *telemetry;
	struct eg_engine engine;
	struct eg_dial_rules rules;
	struct worker_forbidden *forbidden; /* what the rules borrow */
	struct eg_address gateway[2];
	size_t gateway_count;
	struct eg_watch listener;
	int listener_fd;
	bool listening, hold;
	struct eg_timer accept_again; /* out of descriptors */
	struct eg_list connections;
	size_t connection_count;
	/* handshakes.c */
	struct eg_list handshakes; /* struct connection.turn.link: that wait */
	struct eg_defer handshakes_soon;
	uint64_t handshakes_at; /* the turn that handshakes_left is of */
	unsigned int handshakes_left;
	uint64_t handshake_round; /* of the last that was begun */
	int64_t late_ms;	  /* as it was last told */
	bool late_said;		  /* that it is overloaded */
	bool stopped;
	struct eg_timer drain_timer;
	uint64_t drain_began_ms, drain_end_ms, drain_quiet_ms;
	/* written by other threads */
	_Atomic(struct eg_snapshot *) published;
	atomic_ullong drain; /* 0: not asked for; else (limit in ms + 1) * 2, + 1: gently */
	_Atomic(unsigned char *) new_ticket_key;
	_Atomic(struct worker_forbidden *) new_forbidden;
	atomic_bool accept; /* hold no longer */
	atomic_ullong turns;
};

/* Takes the descriptor of an accepted connection. */
void connection_open(struct eg_worker *w, int fd);
/* The worker drains: those of HTTP/1.1 that have been idle for `quiet_ms` end now, the rest as they
 * finish. HTTP/2 is told; gently: in two steps, so that nothing that is on its way is lost. */
void connections_drain(struct eg_worker *w, uint64_t quiet_ms, bool gently);
/* All of them, now, with a reset. */
void connections_end(struct eg_worker *w, enum eg_reason reason);

#endif
