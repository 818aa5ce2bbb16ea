/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to addresses for dialling and for the watched names (c-ares; RFC 1035). Asks the servers
 * given at start, never opens a file. One a worker, on its loop. Answers are cached for their TTL
 * (5 s..5 min); a failed look-up is remembered for 2 s; the last good answer is served for up to
 * 10 minutes when the servers are away.
 */
#ifndef EGRET_NET_RESOLVER_H
#define EGRET_NET_RESOLVER_H

#include "base/base.h"
#include "base/error.h"
#include "egret/abi/maps.h"
#include "loop/loop.h"

#define EG_RESOLVER_ADDRESSES 16

struct eg_addresses {
	struct eg_address item[EG_RESOLVER_ADDRESSES];
	size_t count;
	uint32_t ttl_s;
};

struct eg_resolver;
struct eg_resolve {
	/* `a` is NULL on failure, with a text for records ("NXDOMAIN"). Borrowed during the call.
	 */
	void (*done)(struct eg_resolve *r, const struct eg_addresses *a, const char *why);
	struct eg_list link; /* internal */
	void *query;	     /* internal */
};

/* servers: comma-separated addresses, each with optional ":port" ("10.0.0.10",
 * "[2001:db8::1]:5353"). */
struct eg_resolver *eg_resolver_create(struct eg_loop *l, const char *servers,
				       struct eg_error *e) EG_MUST;
void eg_resolver_destroy(struct eg_resolver *r);
/* IP literals are answered at once. `done` is called exactly once, possibly before this returns. */
void eg_resolver_lookup(struct eg_resolver *r, const char *host, struct eg_resolve *q);
void eg_resolver_cancel(struct eg_resolver *r, struct eg_resolve *q);

#endif
