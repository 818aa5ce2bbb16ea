/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath/netlink.h"

#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <sys/socket.h>

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

static void free_message(struct nl_msg **m)
{
	nlmsg_free(*m);
}
#define CLEANUP_MESSAGE __attribute__((cleanup(free_message)))

/*
 * libnl's own codes lose the kernel's errno, which callers here need (EEXIST, ENOENT): the error
 * handler below keeps it.
 */
struct answer {
	int error; /* -errno of the kernel */
	int (*each)(struct answer *a, const struct nlmsghdr *h);
	bool stop; /* the caller has seen enough */
	bool done; /* the ack, the end of the dump, or an error was read */
	void *context;
	bool (*each_link)(void *context, const struct eg_netlink_link *l);
	bool (*each_address)(void *context, const struct eg_netlink_address *ad);
	bool (*each_way)(void *context, uint32_t ifindex);
	uint32_t ifindex;
	int32_t nsid;
};

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *e, void *context)
{
	struct answer *a = context;

	(void)from;
	a->error = e->error;
	a->done = true;
	return NL_STOP;
}

static int on_message(struct nl_msg *m, void *context)
{
	struct answer *a = context;

	/* The rest of a dump is read to its end, so that it does not answer the next request. */
	if (a->each && !a->stop) {
		int r = a->each(a, nlmsg_hdr(m));

		if (r && !a->error)
			a->error = r;
	}
	return NL_OK;
}

static int on_end(struct nl_msg *m, void *context)
{
	(void)m;
	((struct answer *)context)->done = true;
	return NL_STOP;
}

/* Sends and waits for the ack or the end of the dump. */
static int talk(struct nl_sock *s, struct nl_msg *m, struct answer *a)
{
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int r;

	if (!cb)
		return -ENOMEM;
	if (!(nlmsg_hdr(m)->nlmsg_flags & NLM_F_DUMP))
		nlmsg_hdr(m)->nlmsg_flags |= NLM_F_ACK;
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, a);
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_message, a);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_end, a);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_end, a);
	r = nl_send_auto(s, m);
	while (r >= 0 && !a->done)
		r = nl_recvmsgs(s, cb);
	nl_cb_put(cb);
	if (a->error)
		return a->error;
	return r < 0 ? (r == -NLE_NOMEM ? -ENOMEM : -EIO) : 0;
}

static struct nl_msg *message(uint16_t type, int flags, const void *head, size_t n)
{
	struct nl_msg *m = nlmsg_alloc_simple(type, NLM_F_REQUEST | flags);

	if (m && nlmsg_append(m, (void *)(uintptr_t)head, n, NLMSG_ALIGNTO) < 0) {
		nlmsg_free(m);
		return NULL;
	}
	return m;
}

struct nl_sock *eg_netlink_open(void)
{
	struct nl_sock *s = nl_socket_alloc();
	int one = 1;
	int r;

	if (!s) {
		errno = ENOMEM;
		return NULL;
	}
	r = nl_connect(s, NETLINK_ROUTE);
	if (r < 0) {
		int e = errno ? errno : EIO;

		nl_socket_free(s);
		errno = e;
		return NULL;
	}
	/* For IFA_TARGET_NETNSID; where the kernel does not know it, that request fails alone. */
	if (setsockopt(nl_socket_get_fd(s), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof(one)))
		errno = 0;
	return s;
}

void eg_netlink_close(struct nl_sock *s)
{
	if (s)
		nl_socket_free(s);
}

int eg_netlink_add_veth(struct nl_sock *s, const char *name, const uint8_t mac[EG_MAC_BYTES],
			const char *peer, const uint8_t peer_mac[EG_MAC_BYTES], int netns_fd)
{
	struct ifinfomsg head = {.ifi_family = AF_UNSPEC};
	struct answer a = {0};
	struct nlattr *info, *data, *other;
	CLEANUP_MESSAGE struct nl_msg *m =
		message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof(head));

	if (!m || nla_put_string(m, IFLA_IFNAME, name) ||
	    nla_put(m, IFLA_ADDRESS, EG_MAC_BYTES, mac))
		return -ENOMEM;
	info = nla_nest_start(m, IFLA_LINKINFO);
	if (!info || nla_put_string(m, IFLA_INFO_KIND, "veth"))
		return -ENOMEM;
	data = nla_nest_start(m, IFLA_INFO_DATA);
	other = data ? nla_nest_start(m, VETH_INFO_PEER) : NULL;
	if (!other || nlmsg_append(m, &head, sizeof(head), NLMSG_ALIGNTO) ||
	    nla_put_string(m, IFLA_IFNAME, peer) ||
	    nla_put(m, IFLA_ADDRESS, EG_MAC_BYTES, peer_mac) ||
	    nla_put_u32(m, IFLA_NET_NS_FD, (uint32_t)netns_fd))
		return -ENOMEM;
	nla_nest_end(m, other);
	nla_nest_end(m, data);
	nla_nest_end(m, info);
	return talk(s, m, &a);
}

int eg_netlink_delete_link(struct nl_sock *s, uint32_t ifindex)
{
	struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = (int)ifindex};
	struct answer a = {0};
	CLEANUP_MESSAGE struct nl_msg *m = message(RTM_DELLINK, 0, &head, sizeof(head));

	return m ? talk(s, m, &a) : -ENOMEM;
}

int eg_netlink_link_up(struct nl_sock *s, uint32_t ifindex)
{
	struct ifinfomsg head = {
		.ifi_family = AF_UNSPEC,
		.ifi_index = (int)ifindex,
		.ifi_flags = IFF_UP,
		.ifi_change = IFF_UP,
	};
	struct answer a = {0};
	CLEANUP_MESSAGE struct nl_msg *m = message(RTM_NEWLINK, 0, &head, sizeof(head));

	return m ? talk(s, m, &a) : -ENOMEM;
}

int eg_netlink_parse_link(const struct nlmsghdr *h, struct eg_netlink_link *out)
{
	struct nlattr *tb[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1];
	struct nlmsghdr *head = (struct nlmsghdr *)(uintptr_t)h;
	const struct ifinfomsg *i;

	if (nlmsg_parse(head, sizeof(*i), tb, IFLA_MAX, NULL) < 0)
		return -EPROTO;
	i = nlmsg_data(head);
	*out = (struct eg_netlink_link){
		.ifindex = (uint32_t)i->ifi_index,
		.flags = i->ifi_flags,
		.type = i->ifi_type,
		.family = i->ifi_family,
		.peer_nsid = -1,
	};
	if (tb[IFLA_IFNAME])
		nla_strlcpy(out->name, tb[IFLA_IFNAME], sizeof(out->name));
	if (tb[IFLA_LINK] && nla_len(tb[IFLA_LINK]) >= 4)
		out->peer_ifindex = nla_get_u32(tb[IFLA_LINK]);
	if (tb[IFLA_LINK_NETNSID] && nla_len(tb[IFLA_LINK_NETNSID]) >= 4)
		out->peer_nsid = (int32_t)nla_get_u32(tb[IFLA_LINK_NETNSID]);
	if (tb[IFLA_LINKINFO] &&
	    nla_parse_nested(info, IFLA_INFO_MAX, tb[IFLA_LINKINFO], NULL) >= 0 &&
	    info[IFLA_INFO_KIND])
		nla_strlcpy(out->kind, info[IFLA_INFO_KIND], sizeof(out->kind));
	return 0;
}

static int one_link(struct answer *a, const struct nlmsghdr *h)
{
	struct eg_netlink_link l;
	int r;

	if (h->nlmsg_type != RTM_NEWLINK)
		return 0;
	r = eg_netlink_parse_link(h, &l);
	if (!r)
		a->stop = !a->each_link(a->context, &l);
	return r;
}

int eg_netlink_each_link(struct nl_sock *s,
			 bool (*each)(void *context, const struct eg_netlink_link *l),
			 void *context)
{
	struct ifinfomsg head = {.ifi_family = AF_UNSPEC};
	struct answer a = {.each = one_link, .each_link = each, .context = context};
	CLEANUP_MESSAGE struct nl_msg *m = message(RTM_GETLINK, NLM_F_DUMP, &head, sizeof(head));

	return m ? talk(s, m, &a) : -ENOMEM;
}

static bool copy_link(void *context, const struct eg_netlink_link *l)
{
	*(struct eg_netlink_link *)context = *l;
	return false;
}

static int link_get(struct nl_sock *s, const char *name, uint32_t ifindex,
		    struct eg_netlink_link *out)
{
	struct ifinfomsg head = {.ifi_family = AF_UNSPEC, .ifi_index = (int)ifindex};
	struct eg_netlink_link found = {0};
	struct answer a = {.each = one_link, .each_link = copy_link, .context = &found};
	CLEANUP_MESSAGE struct nl_msg *m = message(RTM_GETLINK, 0, &head, sizeof(head));
	int r;

	if (!m || (name && nla_put_string(m, IFLA_IFNAME, name)))
		return -ENOMEM;
	r = talk(s, m, &a);
	if (r)
		return r;
	if (!found.ifindex)
		return -ENODEV;
	*out = found;
	return 0;
}

int eg_netlink_link_by_name(struct nl_sock *s, const char *name, struct eg_netlink_link *out)
{
	return link_get(s, name, 0, out);
}

int eg_netlink_link_by_index(struct nl_sock *s, uint32_t ifindex, struct eg_netlink_link *out)
{
	return link_get(s, NULL, ifindex, out);
}

static int route(struct nl_sock *s, const struct eg_netlink_route *r, uint16_t type, int flags)
{
	struct rtmsg head = {
		.rtm_family = (unsigned char)r->family,
		.rtm_table = RT_TABLE_UNSPEC,
		.rtm_protocol = type == RTM_NEWROUTE ? RTPROT_STATIC : RTPROT_UNSPEC,
		.rtm_scope = r->type == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE,
		.rtm_type = r->type,
		.rtm_flags = r->gateway ? RTNH_F_ONLINK : 0,
	};
	struct answer a = {0};
	CLEANUP_MESSAGE struct nl_msg *m = message(type, flags, &head, sizeof(head));

	if (!m || nla_put_u32(m, RTA_TABLE, r->table) || nla_put_u32(m, RTA_OIF, r->ifindex) ||
	    (r->gateway && nla_put(m, RTA_GATEWAY, r->family == AF_INET ? 4 : 16, r->gateway)))
		return -ENOMEM;
	return talk(s, m, &a);
}

static int one_way(struct answer *a, const struct nlmsghdr *h)
{
	struct nlattr *tb[RTA_MAX + 1];
	struct eg_netlink_way *out = a->context;

	if (h->nlmsg_type != RTM_NEWROUTE)
		return 0;
	if (nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof(struct rtmsg), tb, RTA_MAX, NULL) <
	    0)
		return -EPROTO;
	if (tb[RTA_OIF] && nla_len(tb[RTA_OIF]) >= 4)
		out->ifindex = nla_get_u32(tb[RTA_OIF]);
	out->router = tb[RTA_GATEWAY] || tb[RTA_VIA];
	return 0;
}

int eg_netlink_way_to(struct nl_sock *s, int family, const void *address,
		      struct eg_netlink_way *out)
{
	int bytes = family == AF_INET ? 4 : 16;
	struct rtmsg head = {.rtm_family = (unsigned char)family,
			     .rtm_dst_len = (unsigned char)(bytes * 8)};
	struct answer a = {.each = one_way, .context = out};
	CLEANUP_MESSAGE struct nl_msg *m = message(RTM_GETROUTE, 0, &head, sizeof(head));

	*out = (struct eg_netlink_way){0};
	if (!m || nla_put(m, RTA_DST, bytes, address))
		return -ENOMEM;
	return talk(s, m, &a);
}

/* RTA_MULTIPATH: a list of struct rtnexthop, each with attributes of its own. */
static void each_path(struct answer *a, const struct nlattr *list)
{
	const char *at = nla_data(list);
	size_t left = (size_t)nla_len(list);

	while (!a->stop && left >= sizeof(struct rtnexthop)) {
		struct rtnexthop n;
		size_t step;

		memcpy(&n, at, sizeof(n));
		step = RTNH_ALIGN((size_t)n.rtnh_len);
		if (n.rtnh_len < sizeof(n) || step > left)
			return;
		a->stop = !a->each_way(a->context, (uint32_t)n.rtnh_ifindex);
		at += step;
		left -= step;
	}
}

static int one_default(struct answer *a, const struct nlmsghdr *h)
{
	struct nlattr *tb[RTA_MAX + 1];

	if (h->nlmsg_type != RTM_NEWROUTE)
		return 0;
	if (nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof(struct rtmsg), tb, RTA_MAX, NULL) <
	    0)
		return -EPROTO;
	if (!eg_netlink_is_default(h))
		return 0;
	if (tb[RTA_OIF] && nla_len(tb[RTA_OIF]) >= 4)
		a->stop = !a->each_way(a->context, nla_get_u32(tb[RTA_OIF]));
	if (tb[RTA_MULTIPATH])
		each_path(a, tb[RTA_MULTIPATH]);
	return 0;
}

bool eg_netlink_is_default(const struct nlmsghdr *h)
{
	const struct rtmsg *r = nlmsg_data(h);

	return nlmsg_valid_hdr(h, sizeof(*r)) && !r->rtm_dst_len && !r->rtm_src_len &&
	       r->rtm_type == RTN_UNICAST;
}

int eg_netlink_each_default(struct nl_sock *s, int family,
			    bool (*each)(void *context, uint32_t ifindex), void *context)
{
	struct rtmsg head = {.rtm_family = (unsigned char)family};
	struct answer a = {.each = one_default, .each_way = each, .context = context};
	CLEANUP_MESSAGE struct nl_msg *m = message(RTM_GETROUTE, NLM_F_DUMP, &head, sizeof(head));

	return m ? talk(s, m, &a) : -ENOMEM;
}

int eg_netlink_set_default(struct nl_sock *s, const struct eg_netlink_route *r)
{
	return route(s, r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
}

int eg_netlink_add_default(struct nl_sock *s, const struct eg_netlink_route *r)
{
	return route(s, r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
}

int eg_netlink_delete_default(struct nl_sock *s, const struct eg_netlink_route *r)
{
	return route(s, r, RTM_DELROUTE, 0);
}

static int rule(struct nl_sock *s, const struct eg_netlink_rule *r, uint16_t type, int flags)
{
	struct fib_rule_hdr head = {
		.family = (uint8_t)r->family,
		.action = FR_ACT_TO_TBL,
		.table = RT_TABLE_UNSPEC,
	};
	struct answer a = {0};
	CLEANUP_MESSAGE struct nl_msg *m = message(type, flags, &head, sizeof(head));

	if (!m || nla_put_u32(m, FRA_PRIORITY, r->preference) ||
	    nla_put_u32(m, FRA_TABLE, r->table) ||
	    (r->iif && nla_put_string(m, FRA_IIFNAME, r->iif)) ||
	    (r->mask &&
	     (nla_put_u32(m, FRA_FWMARK, r->mark) || nla_put_u32(m, FRA_FWMASK, r->mask))))
		return -ENOMEM;
	return talk(s, m, &a);
}

int eg_netlink_add_rule(struct nl_sock *s, const struct eg_netlink_rule *r)
{
	return rule(s, r, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL);
}

int eg_netlink_delete_rule(struct nl_sock *s, const struct eg_netlink_rule *r)
{
	return rule(s, r, RTM_DELRULE, 0);
}

int eg_netlink_set_neighbour(struct nl_sock *s, int family, uint32_t ifindex, const void *address,
			     const uint8_t mac[EG_MAC_BYTES])
{
	struct ndmsg head = {
		.ndm_family = (uint8_t)family,
		.ndm_ifindex = (int)ifindex,
		.ndm_state = NUD_PERMANENT,
	};
	struct answer a = {0};
	CLEANUP_MESSAGE struct nl_msg *m =
		message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &head, sizeof(head));

	if (!m || nla_put(m, NDA_DST, family == AF_INET ? 4 : 16, address) ||
	    nla_put(m, NDA_LLADDR, EG_MAC_BYTES, mac))
		return -ENOMEM;
	return talk(s, m, &a);
}

static int one_nsid(struct answer *a, const struct nlmsghdr *h)
{
	struct nlattr *tb[NETNSA_MAX + 1];

	if (h->nlmsg_type != RTM_NEWNSID)
		return 0;
	if (nlmsg_parse((struct nlmsghdr *)(uintptr_t)h, sizeof(struct rtgenmsg), tb, NETNSA_MAX,
			NULL) < 0)
		return -EPROTO;
	if (tb[NETNSA_NSID] && nla_len(tb[NETNSA_NSID]) >= 4)
		a->nsid = (int32_t)nla_get_u32(tb[NETNSA_NSID]);
	return 0;
}

int eg_netlink_nsid(struct nl_sock *s, int netns_fd, int32_t *nsid)
{
	/* The header is rtgenmsg, one byte, padded. */
	struct {
		struct rtgenmsg g;
		uint8_t pad[3];
	} head = {.g.rtgen_family = AF_UNSPEC};
	struct answer a = {.each = one_nsid, .nsid = -1};
	CLEANUP_MESSAGE struct nl_msg *m = message(RTM_GETNSID, 0, &head, sizeof(head));
	int r;

	if (!m || nla_put_u32(m, NETNSA_FD, (uint32_t)netns_fd))
		return -ENOMEM;
	r = talk(s, m, &a);
	if (!r)
		*nsid = a.nsid;
	return r;
}

static int one_address(struct answer *a, const struct nlmsghdr *h)
{
	struct nlattr *tb[IFA_MAX + 1], *at;
	struct nlmsghdr *head = (struct nlmsghdr *)(uintptr_t)h;
	struct eg_netlink_address out = {0};
	const struct ifaddrmsg *i;
	int want;

	if (h->nlmsg_type != RTM_NEWADDR)
		return 0;
	if (nlmsg_parse(head, sizeof(*i), tb, IFA_MAX, NULL) < 0)
		return -EPROTO;
	i = nlmsg_data(head);
	if (i->ifa_index != a->ifindex || (i->ifa_family != AF_INET && i->ifa_family != AF_INET6))
		return 0;
	want = i->ifa_family == AF_INET ? 4 : 16;
	at = tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS];
	if (!at || nla_len(at) != want)
		return 0;
	out.family = i->ifa_family;
	out.scope = i->ifa_scope;
	memcpy(out.bytes, nla_data(at), (size_t)want);
	a->stop = !a->each_address(a->context, &out);
	return 0;
}

int eg_netlink_each_address(struct nl_sock *s, int32_t nsid, uint32_t ifindex,
			    bool (*each)(void *context, const struct eg_netlink_address *a),
			    void *context)
{
	struct ifaddrmsg head = {.ifa_family = AF_UNSPEC};
	struct answer a = {
		.each = one_address,
		.each_address = each,
		.context = context,
		.ifindex = ifindex,
	};
	CLEANUP_MESSAGE struct nl_msg *m = message(RTM_GETADDR, NLM_F_DUMP, &head, sizeof(head));

	if (!m || nla_put_s32(m, IFA_TARGET_NETNSID, nsid))
		return -ENOMEM;
	return talk(s, m, &a);
}
