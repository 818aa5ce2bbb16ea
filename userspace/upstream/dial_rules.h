/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses the agent may dial. A pod chooses where it connects to and what a name resolves
 * to, so without rules it could make the agent, which sits in the node's own namespace, its deputy.
 * An IPv6 address that stands for an IPv4 one (NAT64, 6to4, ::a.b.c.d) is judged as both.
 */
#ifndef EGRET_UPSTREAM_DIAL_RULES_H
#define EGRET_UPSTREAM_DIAL_RULES_H

#include "base/base.h"
#include "egret/abi/maps.h"

struct eg_cidr {
	struct eg_address address;
	unsigned int prefix_bits; /* of the 128-bit (v4-mapped) form */
};

struct eg_dial_rules {
	const struct eg_cidr *forbidden; /* node, pod and service ranges; borrowed */
	size_t forbidden_count;
};

bool eg_cidr_holds(const struct eg_cidr *c, const struct eg_address *a);
/* RFC 1918, RFC 6598 (100.64/10), RFC 4193 (fc00::/7), RFC 2544 (198.18/15). */
bool eg_address_private(const struct eg_address *a);
/* A provider's address. `allow_private`: policy names an endpoint inside the cluster, so that the
 * private and forbidden ranges and loopback are allowed; link-local addresses, metadata services,
 * multicast and unspecified addresses never are: whoever answers for its name may not choose them.
 */
bool eg_may_dial_provider(const struct eg_dial_rules *r, const struct eg_address *a,
			  bool allow_private);
/* An original destination, on behalf of a pod that chose it: neither loopback and the like, nor a
 * forbidden range. Other private addresses are allowed: the pod could have reached them. */
bool eg_may_dial_original(const struct eg_dial_rules *r, const struct eg_address *a);

#endif
