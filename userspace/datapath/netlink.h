/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few rtnetlink requests that the datapath makes (rtnetlink(7)), each answered by an ack before
 * it returns. A socket acts in the network namespace that it was opened in, whichever thread uses
 * it. Private to this room.
 */
#ifndef EGRET_DATAPATH_NETLINK_H
#define EGRET_DATAPATH_NETLINK_H

#include "base/base.h"
#include "base/error.h"

struct nl_sock;
struct nlmsghdr;

#define EG_MAC_BYTES 6

/* In the calling thread's namespace. NULL with errno. */
struct nl_sock *eg_netlink_open(void) EG_MUST;
void eg_netlink_close(struct nl_sock *s);

/* A pair: `name` here, `peer` in the namespace netns_fd. 0, -EEXIST, -errno. */
int eg_netlink_add_veth(struct nl_sock *s, const char *name, const uint8_t mac[EG_MAC_BYTES],
			const char *peer, const uint8_t peer_mac[EG_MAC_BYTES],
			int netns_fd) EG_MUST;
int eg_netlink_delete_link(struct nl_sock *s, uint32_t ifindex) EG_MUST;
int eg_netlink_link_up(struct nl_sock *s, uint32_t ifindex) EG_MUST;

struct eg_netlink_link {
	uint32_t ifindex;
	uint32_t peer_ifindex; /* IFLA_LINK; 0: none */
	int32_t peer_nsid;     /* IFLA_LINK_NETNSID; -1: this namespace, or none */
	uint32_t flags;	       /* IFF_* */
	uint16_t type;	       /* ARPHRD_* */
	uint8_t family;	       /* AF_BRIDGE: about a bridge's port, not the link itself */
	char name[16];
	char kind[16]; /* "veth", "bridge"...; "" for a physical link */
};
/* Reads one link message (RTM_NEWLINK, RTM_DELLINK). -EPROTO when malformed. */
int eg_netlink_parse_link(const struct nlmsghdr *h, struct eg_netlink_link *out) EG_MUST;
/* Every link; stops when each returns false. */
int eg_netlink_each_link(struct nl_sock *s,
			 bool (*each)(void *context, const struct eg_netlink_link *l),
			 void *context) EG_MUST;
/* 0 or -ENODEV. By name, in the socket's namespace. */
int eg_netlink_link_by_name(struct nl_sock *s, const char *name,
			    struct eg_netlink_link *out) EG_MUST;

/* 0 or -ENODEV. */
int eg_netlink_link_by_index(struct nl_sock *s, uint32_t ifindex,
			     struct eg_netlink_link *out) EG_MUST;

/* Where the kernel would send a packet to the address. -ENETUNREACH and the like: nowhere. */
struct eg_netlink_way {
	uint32_t ifindex;
	bool router; /* not on that link itself */
};
int eg_netlink_way_to(struct nl_sock *s, int family, const void *address,
		      struct eg_netlink_way *out) EG_MUST;

/* Whether a message about a route (RTM_NEWROUTE, RTM_DELROUTE) is about a unicast default route. */
bool eg_netlink_is_default(const struct nlmsghdr *h);
/* The links that unicast default routes lead over, of any table, each path of one that has several.
 * Stops when each returns false. */
int eg_netlink_each_default(struct nl_sock *s, int family,
			    bool (*each)(void *context, uint32_t ifindex), void *context) EG_MUST;

struct eg_netlink_route {
	int family;
	uint8_t type; /* RTN_UNICAST, RTN_LOCAL */
	uint32_t table;
	uint32_t ifindex;
	const void *gateway; /* 4 or 16 bytes; NULL: none. Given: on-link. */
};
/* The default route of a table, replaced when it is there. */
int eg_netlink_set_default(struct nl_sock *s, const struct eg_netlink_route *r) EG_MUST;
/* -EEXIST when the table has one already. */
int eg_netlink_add_default(struct nl_sock *s, const struct eg_netlink_route *r) EG_MUST;
int eg_netlink_delete_default(struct nl_sock *s, const struct eg_netlink_route *r) EG_MUST;

struct eg_netlink_rule {
	int family;
	uint32_t preference;
	uint32_t table;
	const char *iif;     /* NULL: any */
	uint32_t mark, mask; /* mask 0: any */
};
/* -EEXIST when it is there already. */
int eg_netlink_add_rule(struct nl_sock *s, const struct eg_netlink_rule *r) EG_MUST;
/* -ENOENT when it is not. */
int eg_netlink_delete_rule(struct nl_sock *s, const struct eg_netlink_rule *r) EG_MUST;

int eg_netlink_set_neighbour(struct nl_sock *s, int family, uint32_t ifindex, const void *address,
			     const uint8_t mac[EG_MAC_BYTES]) EG_MUST;
/* The number that this namespace has for the one behind netns_fd; *nsid is -1 when it has none. */
int eg_netlink_nsid(struct nl_sock *s, int netns_fd, int32_t *nsid) EG_MUST;

struct eg_netlink_address {
	int family;
	uint8_t scope;
	uint8_t bytes[16];
};
/* Addresses on the link `ifindex` of the namespace numbered nsid (IFA_TARGET_NETNSID, Linux 4.20).
 */
int eg_netlink_each_address(struct nl_sock *s, int32_t nsid, uint32_t ifindex,
			    bool (*each)(void *context, const struct eg_netlink_address *a),
			    void *context) EG_MUST;

#endif
