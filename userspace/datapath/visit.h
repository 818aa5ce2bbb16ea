/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look into the network namespace of one pod, for egretctl: found from the pod's link, entered by
 * one thread, and nothing is changed there. The caller is in the node's namespace.
 */
#ifndef EGRET_DATAPATH_VISIT_H
#define EGRET_DATAPATH_VISIT_H

#include "base/base.h"
#include "base/error.h"
#include "egret/abi/maps.h"

/* The namespace behind the node's link `ifindex`. *netns_fd is the caller's to close. 0, or -errno
 * with *error saying why it can't be had: -ENODEV the link is gone; -EOPNOTSUPP nothing tells what
 * is behind it (no veth); -ENOENT no mount and no process that is seen here has it. */
int eg_visit_find(uint32_t ifindex, int *netns_fd, struct eg_error *error) EG_MUST;
/* Runs f inside, on a thread of its own, and returns what it returned. -EPERM, with f not run:
 * CAP_SYS_ADMIN is missing. */
int eg_visit(int netns_fd, int (*f)(void *context, struct eg_error *error), void *context,
	     struct eg_error *error) EG_MUST;

/* The kernel's own answer to: where would a packet to `to` go? */
struct eg_visit_route {
	int error;     /* 0; else -errno: there is no route (-ENETUNREACH), or one that refuses */
	bool on_link;  /* no router: the address itself is looked for on the link */
	bool local;    /* the address is the namespace's own */
	char link[16]; /* the way out, '?' for what is no printable ASCII; "" when there is none */
	int bits;      /* length of the prefix that matched: 0 is a default route; -1: not known */
};
/* Of the calling thread's namespace. 0, or -errno with *error: it could not be asked. */
int eg_visit_route(const struct eg_address *to, struct eg_visit_route *out,
		   struct eg_error *error) EG_MUST;

#endif
