/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath/visit.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "datapath/datapath.h"
#include "datapath/internal.h"
#include "datapath/netlink.h"

/* ---- the namespace ---- */

static int find_behind(struct nl_sock *s, uint32_t ifindex, int *netns_fd, struct eg_error *error)
{
	struct eg_netlink_link l;

	if (eg_netlink_link_by_index(s, ifindex, &l))
		return eg_error_set(error, -ENODEV, "its link (number %u) is not there", ifindex);
	if (l.peer_nsid < 0)
		return eg_error_set(error, -EOPNOTSUPP,
				    "its link %s is no veth that leads into another namespace",
				    l.name);
	*netns_fd = eg_namespace_find_number(s, l.peer_nsid);
	return *netns_fd >= 0
		       ? 0
		       : eg_error_set(error, -ENOENT,
				      "no process and no mount that is seen here has the namespace "
				      "behind its link %s (run it in the node's own pid and mount "
				      "namespaces, as root)",
				      l.name);
}

int eg_visit_find(uint32_t ifindex, int *netns_fd, struct eg_error *error)
{
	struct nl_sock *s = eg_netlink_open();
	int r;

	*netns_fd = -1;
	if (!s)
		return eg_error_set(error, -errno, "cannot open netlink: %s", strerror(errno));
	r = find_behind(s, ifindex, netns_fd, error);
	eg_netlink_close(s);
	return r;
}

struct visit {
	int (*f)(void *context, struct eg_error *error);
	void *context;
	bool entered;
};

static int inside(void *context, struct eg_error *error)
{
	struct visit *v = context;

	v->entered = true;
	return v->f(v->context, error);
}

int eg_visit(int netns_fd, int (*f)(void *context, struct eg_error *error), void *context,
	     struct eg_error *error)
{
	struct visit v = {.f = f, .context = context};
	int r = eg_namespace_call(netns_fd, inside, &v, error);

	if (r == -EPERM && !v.entered)
		return eg_error_set(error, -EPERM,
				    "its namespace can't be entered: CAP_SYS_ADMIN is missing");
	return r;
}

/* ---- the route ---- */

struct question {
	struct nlmsghdr head;
	struct rtmsg route;
	struct rtattr destination;
	uint8_t address[16];
};

/* A pod may call its links anything: only what is plain to read goes on to a terminal or JSON. */
static void name_of_link(uint32_t ifindex, char out[IF_NAMESIZE])
{
	if (!if_indextoname(ifindex, out))
		out[0] = '\0';
	for (char *c = out; *c; c++)
		if (*c <= ' ' || *c > '~')
			*c = '?';
}

/* One request, one answer; *out has what of it matters. -errno: it could not be asked. */
static int ask(int fd, const struct eg_address *to, unsigned int flags, struct eg_visit_route *out)
{
	const bool is4 = eg_address_is4(to);
	const size_t bytes = is4 ? 4 : 16;
	struct question q = {
		.head = {.nlmsg_len =
				 (uint32_t)(NLMSG_LENGTH(sizeof(struct rtmsg)) + RTA_LENGTH(bytes)),
			 .nlmsg_type = RTM_GETROUTE,
			 .nlmsg_flags = NLM_F_REQUEST},
		.route = {.rtm_family = is4 ? AF_INET : AF_INET6,
			  .rtm_dst_len = is4 ? 32 : 128,
			  .rtm_flags = flags},
		.destination = {.rta_len = (uint16_t)RTA_LENGTH(bytes), .rta_type = RTA_DST},
	};
	union {
		struct nlmsghdr head;
		char room[4096];
	} in;
	const struct rtmsg *route;
	ssize_t n;

	memcpy(q.address, is4 ? &to->word_be[3] : &to->word_be[0], bytes);
	if (send(fd, &q, q.head.nlmsg_len, 0) < 0 || (n = recv(fd, &in, sizeof(in), 0)) < 0)
		return -errno;
	if (!NLMSG_OK(&in.head, n))
		return -EPROTO;
	if (in.head.nlmsg_type == NLMSG_ERROR) {
		if (in.head.nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr)))
			return -EPROTO;
		out->error = ((const struct nlmsgerr *)NLMSG_DATA(&in.head))->error;
		return 0;
	}
	if (in.head.nlmsg_len < NLMSG_LENGTH(sizeof(*route)))
		return -EPROTO;
	route = NLMSG_DATA(&in.head);
	out->local = route->rtm_type == RTN_LOCAL;
	out->bits = route->rtm_dst_len;
	out->on_link = !out->local;
	n = (ssize_t)RTM_PAYLOAD(&in.head);
	for (const struct rtattr *a = RTM_RTA(route); RTA_OK(a, n); a = RTA_NEXT(a, n)) {
		if (a->rta_type == RTA_GATEWAY || a->rta_type == RTA_VIA)
			out->on_link = false;
		else if (a->rta_type == RTA_OIF && RTA_PAYLOAD(a) >= sizeof(uint32_t))
			name_of_link(*(const uint32_t *)RTA_DATA(a), out->link);
	}
	return 0;
}

int eg_visit_route(const struct eg_address *to, struct eg_visit_route *out, struct eg_error *error)
{
	const struct timeval limit = {.tv_sec = 2};
	EG_CLEANUP_FD int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct eg_visit_route matched = {.error = 0};
	int r = fd < 0 ? -errno : 0;

	*out = (struct eg_visit_route){.bits = -1};
	if (!r && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
		r = -errno;
	if (!r)
		r = ask(fd, to, 0, out);
	/* The first answer is of one destination; which prefix it came from is another question,
	 * and where a kernel does not answer it a person sees one word less. */
	out->bits = -1;
	if (!r && !out->error && !ask(fd, to, RTM_F_FIB_MATCH, &matched) && !matched.error)
		out->bits = matched.bits;
	return r ? eg_error_set(error, r, "cannot ask for the route: %s", strerror(-r)) : 0;
}
