/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: origins and the pool (pool.c), and the way to a new connection (dial.c). */
#ifndef EGRET_UPSTREAM_POOL_H
#define EGRET_UPSTREAM_POOL_H

#include "upstream/stream_limit.h"
#include "upstream/turns.h"
#include "upstream/upstream.h"

/* TLS settings of one trust, with their sessions to resume. */
struct upstream_tls {
	struct eg_list link;
	struct eg_trust *trust; /* referenced */
	struct eg_tls_client *client;
	unsigned int origins;
};

struct eg_upstream_origin {
	struct eg_list link; /* in a bucket */
	uint64_t hash;
	char *host, *binding;
	uint16_t port;
	bool allow_private, has_fixed, http2, prior_knowledge;
	uint64_t http1_until_ms; /* it answered HTTP_1_1_REQUIRED: kept so long, without users; 0 */
	bool speaks_http1;	 /* what ALPN gave last was not h2 */
	struct upstream_dial *dial; /* its connection may become one for many; NULL: none is made */
	struct eg_list shared;	    /* HTTP/2 connections, idle or not */
	struct eg_endpoint fixed;
	struct upstream_tls *tls; /* NULL: plain */
	struct eg_list idle;	  /* most recently used first */
	size_t idle_count;
	struct upstream_turns turns; /* of its dials */
	unsigned int users;	     /* connections and dials */
};

#define UPSTREAM_BUCKETS 64u

struct eg_upstream {
	struct eg_upstream_options o;
	struct eg_list buckets[UPSTREAM_BUCKETS];
	struct eg_list tls;
	struct eg_timer sweep;
	struct stream_limits stream_limits;
	size_t idle_count, kept_count; /* connections; origins by http1_until_ms */
};

/* Counts a user; NULL with errno. */
struct eg_upstream_origin *upstream_origin_acquire(struct eg_upstream *u,
						   const struct eg_origin_spec *spec) EG_MUST;
void upstream_origin_release(struct eg_upstream *u, struct eg_upstream_origin *origin);
/* Begins; takes over the user count of `origin`. 0 or -ENOMEM (then not taken over). */
int upstream_dial(struct eg_upstream *u, struct eg_upstream_origin *origin, uint64_t max_idle_ms,
		  uint64_t connect_ms, struct eg_upstream_wait *w) EG_MUST;
/* There is an idle connection, or room on one: who waits for a turn to dial may have it instead, at
 * the end of the tick. */
void upstream_tell_waiting(struct eg_upstream *u, struct eg_upstream_origin *origin);
/* SETTINGS came on a connection, or were waited for long enough: who waits for it is served at the
 * end of the tick. */
void upstream_dial_settled(struct eg_upstream_conn *c);
/* It ends: whoever waits for its SETTINGS goes another way. */
void upstream_dial_lost(struct eg_upstream_conn *c);
/* Does anybody wait who would take it? */
bool upstream_waited_for(const struct eg_upstream_origin *origin);
/* A lease of a pooled connection, or NULL. */
struct eg_upstream_conn *upstream_take_pooled(struct eg_upstream *u,
					      struct eg_upstream_origin *origin,
					      uint64_t max_idle_ms) EG_MUST;
/* A leased connection over a connected stream; takes over stream and user count. NULL: -ENOMEM,
 * nothing is taken over. */
struct eg_upstream_conn *upstream_conn_create(struct eg_upstream *u,
					      struct eg_upstream_origin *origin,
					      struct eg_stream *stream) EG_MUST;
/* Begins HTTP/2 on a connection that nobody has leased yet. 0 or -ENOMEM. */
int upstream_conn_share(struct eg_upstream_conn *c) EG_MUST;
/* A lease of an HTTP/2 connection of that origin with room, heard of within max_idle_ms; or NULL.
 */
struct eg_upstream_conn *upstream_take_shared(struct eg_upstream *u,
					      struct eg_upstream_origin *origin,
					      uint64_t max_idle_ms) EG_MUST;
/* One lease more of an HTTP/2 connection. */
void upstream_lease(struct eg_upstream_conn *c);
/* It wants HTTP/1.1, and gets no other for a while. */
void upstream_keep_http1(struct eg_upstream *u, struct eg_upstream_origin *origin);
/* Lets go of an HTTP/2 connection's stream and its places; its memory stays. */
void upstream_conn_forget(struct eg_upstream_conn *c);
static inline void upstream_count(struct eg_upstream *u, enum eg_count c)
{
	if (u->o.telemetry)
		eg_telemetry_count(u->o.telemetry, c, 1);
}

#endif
