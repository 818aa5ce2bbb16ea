/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to providers, pooled by origin: one a worker, on its loop. An origin is (host, port,
 * TLS and its trust, whose credential the connection carries, fixed address): a connection is only
 * ever used again for the same. docs/internals/upstream.md.
 *
 * A connection is leased to one user at a time, who drives HTTP over conn->stream (call.h) and
 * gives it back with eg_upstream_release(). One that speaks HTTP/2 has many leases at once.
 */
#ifndef EGRET_UPSTREAM_UPSTREAM_H
#define EGRET_UPSTREAM_UPSTREAM_H

#include "base/base.h"
#include "base/buf.h"
#include "loop/loop.h"
#include "net/resolver.h"
#include "net/stream.h"
#include "net/tls.h"
#include "telemetry/telemetry.h"
#include "upstream/dial_rules.h"

#define EG_UPSTREAM_IDLE_MS	    50000u /* below the 60 s of common load balancers */
#define EG_UPSTREAM_IDLE_PER_ORIGIN 256u
#define EG_UPSTREAM_READ_BYTES	    (64u * 1024u) /* read and not consumed, a connection */

struct eg_upstream;
struct eg_upstream_origin;
struct upstream_dial;

struct eg_upstream_options {
	struct eg_loop *loop;
	struct eg_resolver *resolver;	/* borrowed; NULL: IP literals and fixed addresses only */
	struct eg_trust *default_trust; /* a reference is taken; NULL: TLS needs an own trust */
	struct eg_telemetry *telemetry; /* borrowed; NULL: nothing is counted */
	struct eg_dial_rules rules;	/* borrowed until others come */
	size_t response_head_bytes;	/* 0: 64 KiB */
	size_t idle_max; /* pooled connections of all origins; 0: each origin's limit only */
};

struct eg_origin_spec {
	const char *host; /* to resolve; SNI and the name to verify */
	uint16_t port;
	bool tls;
	struct eg_trust *trust; /* NULL: the default */
	const char *binding;	/* whose credential: its name in policy, a pod; "" none */
	bool allow_private;
	bool http2;	      /* offered by ALPN under TLS; without TLS nothing is */
	bool prior_knowledge; /* without TLS: HTTP/2 from the first byte (RFC 9113 section 3.3) */
	const struct eg_endpoint *fixed; /* dial this and never resolve: a pod's own destination */
};

struct eg_h2_conn;
struct eg_upstream_conn {
	struct eg_stream *stream;
	struct eg_h2_conn *h2; /* HTTP/2: many lease it at once; NULL: HTTP/1.1 */
	struct eg_buf in;      /* read and not yet consumed */
	/* Of the lease just given out: */
	bool reused;	     /* the connection served a request before */
	uint32_t connect_ms; /* what dialling took; 0 when reused */
	bool tls_resumed;
	/* internal */
	struct eg_upstream *owner;
	struct eg_upstream_origin *origin;
	struct upstream_dial *dial; /* HTTP/2: it waits for the first SETTINGS; or NULL */
	struct eg_list link;	    /* while idle */
	struct eg_list shared;	    /* HTTP/2: in the origin's, to the end */
	uint64_t idle_since_ms;
};

struct eg_upstream_wait {
	/* conn (leased), or NULL with a reason (UPSTREAM_DNS, _CONNECT, _TLS, _TIMEOUT,
	 * FORBIDDEN_DESTINATION, INTERNAL) and a short text without secrets, borrowed. */
	void (*done)(struct eg_upstream_wait *w, struct eg_upstream_conn *conn,
		     enum eg_reason reason, const char *text);
	/* For whom: those that wait for their turn to dial take turns by that. Only compared. */
	const void *of;
	void *dial; /* internal; NULL when not waiting */
};

/* NULL with errno. */
struct eg_upstream *eg_upstream_create(const struct eg_upstream_options *o) EG_MUST;
/* No lease and no wait may be left. */
void eg_upstream_destroy(struct eg_upstream *u);
/* For what is dialled from now on; connections that are there stay. Borrowed likewise. */
void eg_upstream_set_rules(struct eg_upstream *u, const struct eg_dial_rules *rules);

/*
 * A pooled connection at once (most recently used first, none idle for longer than max_idle_ms;
 * 0: only a new one), else NULL and w->done is called later, never from inside this call, within
 * connect_ms. The addresses of a name are tried in order. NULL with w->dial NULL: nothing was begun
 * (out of memory, or TLS without any trust), and done is not called.
 */
struct eg_upstream_conn *eg_upstream_acquire(struct eg_upstream *u, const struct eg_origin_spec *o,
					     uint64_t max_idle_ms, uint64_t connect_ms,
					     struct eg_upstream_wait *w);
/* Harmless when not waiting. */
void eg_upstream_cancel(struct eg_upstream_wait *w);
/* Ends a lease. `clean`: both directions ended in order and nothing unasked was read: it may be
 * used again. */
void eg_upstream_release(struct eg_upstream_conn *c, bool clean);
/* Pooled and idle, for tests and the drain. */
size_t eg_upstream_idle(const struct eg_upstream *u);
void eg_upstream_close_idle(struct eg_upstream *u);

#endif
