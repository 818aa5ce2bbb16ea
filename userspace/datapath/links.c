/* SPDX-License-Identifier: Apache-2.0 */
/* Links as they come and go (rtnetlink), and what is to be attached to each. */
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/handlers.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "datapath/internal.h"

#define EVENTS_AT_ONCE 64 /* datagrams a call */

struct eg_link *eg_links_find(struct eg_datapath *d, uint32_t ifindex)
{
	for (size_t i = 0; i < d->link_count; i++)
		if (d->links[i].ifindex == ifindex)
			return &d->links[i];
	return NULL;
}

struct eg_link *eg_links_get(struct eg_datapath *d, uint32_t ifindex)
{
	struct eg_link *l = eg_links_find(d, ifindex);

	if (l)
		return l;
	if (d->link_count == d->link_room) {
		size_t room = d->link_room ? d->link_room * 2 : 64;
		struct eg_link *bigger = reallocarray(d->links, room, sizeof(*bigger));

		if (!bigger)
			return NULL;
		d->links = bigger;
		d->link_room = room;
	}
	l = &d->links[d->link_count++];
	*l = (struct eg_link){.ifindex = ifindex};
	return l;
}

static uint32_t wanted(const struct eg_datapath *d, const struct eg_link *l)
{
	uint32_t programs = 0;

	if (l->roles & EG_ROLE_POD)
		programs |= eg_observes(d) ? 1U << EG_PROGRAM_OBSERVE_UP_TC |
						     1U << EG_PROGRAM_OBSERVE_DOWN_TC
					   : 1U << EG_PROGRAM_EGRESS_TC | 1U << EG_PROGRAM_DNS_TC;
	if (l->roles & EG_ROLE_UPLINK)
		programs |= 1U << EG_PROGRAM_GUARD_TC;
	if (l->roles & EG_ROLE_AGENT)
		programs |= 1U << EG_PROGRAM_REPLY_TC;
	if (l->roles & EG_ROLE_XDP)
		programs |= 1U << (l->xdp_uplink ? EG_PROGRAM_GUARD_XDP : EG_PROGRAM_CLASSIFY_XDP);
	return programs;
}

static uint32_t missing(const struct eg_datapath *d, const struct eg_link *l)
{
	uint32_t todo = wanted(d, l) & ~l->attached;

	for (unsigned int i = 0; i < EG_PROGRAM_COUNT; i++)
		if (d->program[i] < 0)
			todo &= ~(1U << i);
	return todo;
}

bool eg_links_lack(const struct eg_datapath *d, const struct eg_link *l)
{
	return missing(d, l) != 0;
}

int eg_links_attach(struct eg_datapath *d, struct eg_link *l, struct eg_error *error)
{
	uint32_t todo = missing(d, l);

	for (unsigned int i = 0; i < EG_PROGRAM_COUNT; i++) {
		int r;

		if (!(todo & 1U << i))
			continue;
		r = eg_attach(d, (enum eg_program_id)i, l->ifindex, l->xdp, error);
		if (r == -EOPNOTSUPP && l->xdp == EG_XDP_AUTO &&
		    eg_program_table[i].kind == EG_KIND_XDP) {
			l->xdp_refused = true;
			l->roles &= (uint8_t)~EG_ROLE_XDP;
			continue;
		}
		if (r)
			return eg_error_prefix(error, r, "link %s", l->name[0] ? l->name : "?");
		l->attached |= 1U << i;
	}
	return 0;
}

void eg_links_drop(struct eg_datapath *d, struct eg_link *l)
{
	/* Not only what this process attached: of a link that goes before its pod is known here, an
	 * earlier one's pins would stay. */
	for (unsigned int i = 0; i < EG_PROGRAM_COUNT; i++)
		if (eg_program_table[i].kind != EG_KIND_NETNS) {
			eg_datapath_busy(d);
			eg_detach(d->pin_dir, (enum eg_program_id)i, l->ifindex);
		}
	l->attached = 0;
	l->roles = 0;
}

static bool is_physical(const struct eg_netlink_link *l)
{
	return !l->kind[0] && !(l->flags & IFF_LOOPBACK);
}

/* What the options want of a link, by its name. */
static void assign_roles(struct eg_datapath *d, struct eg_link *l, const struct eg_netlink_link *n)
{
	if (eg_uplinks_have(d, n->name))
		l->roles |= EG_ROLE_UPLINK;
	for (size_t i = 0; i < d->o.xdp_count; i++) {
		const struct eg_xdp_link *x = &d->xdp[i];

		if (strcmp(x->name, n->name) || x->mode == EG_XDP_OFF || l->xdp_refused)
			continue;
		if (x->mode == EG_XDP_AUTO && !is_physical(n)) {
			l->xdp_refused = true;
			eg_datapath_notice(
				d,
				"XDP on link %s: auto was asked for, and it is a virtual "
				"link (%s): off; native or generic must be asked for by name",
				n->name, n->kind[0] ? n->kind : "loopback");
			continue;
		}
		l->roles |= EG_ROLE_XDP;
		l->xdp = x->mode;
		l->xdp_uplink = x->uplink;
	}
	if (d->agent_ifindex && n->ifindex == d->agent_ifindex)
		l->roles |= EG_ROLE_AGENT;
}

/* Of an earlier start with other options: an uplink or an XDP mode that is not asked for any more,
 * and what only looked. Programs of pods go with their pods. */
static void drop_unwanted(struct eg_datapath *d, const struct eg_link *l)
{
	static const enum eg_program_id optional[] = {
		EG_PROGRAM_GUARD_TC, EG_PROGRAM_CLASSIFY_XDP, EG_PROGRAM_GUARD_XDP,
		EG_PROGRAM_OBSERVE_UP_TC, EG_PROGRAM_OBSERVE_DOWN_TC};

	for (size_t i = 0; i < EG_ARRAY_SIZE(optional); i++)
		if (!((wanted(d, l) | l->attached) & 1U << optional[i]))
			eg_detach(d->pin_dir, optional[i], l->ifindex);
}

static bool is_pods(const struct eg_datapath *d, const struct eg_netlink_link *n)
{
	return d->link_prefix && !strcmp(n->kind, "veth") && n->ifindex != d->agent_ifindex &&
	       !strncmp(n->name, d->link_prefix, strlen(d->link_prefix));
}

static int link_present(struct eg_datapath *d, const struct eg_netlink_link *n,
			struct eg_error *error)
{
	struct eg_link *l = eg_links_get(d, n->ifindex);
	bool is_new, was_uplink;
	int r = 0;

	eg_datapath_busy(d);
	if (!l)
		return eg_error_set(error, -ENOMEM, "out of memory");
	is_new = strcmp(l->name, n->name) != 0;
	eg_str_copy(l->name, sizeof(l->name), eg_str_from(n->name));
	was_uplink = l->roles & EG_ROLE_UPLINK;
	assign_roles(d, l, n);
	if (is_new)
		drop_unwanted(d, l);
	if (!was_uplink && (l->roles & EG_ROLE_UPLINK))
		eg_pods_release(d, n->ifindex);
	if (is_pods(d, n) && !(l->roles & (EG_ROLE_POD | EG_ROLE_UPLINK))) {
		r = eg_pods_unknown(d, n->ifindex, error);
		l = eg_links_get(d, n->ifindex);
		if (!r && l)
			l->roles |= EG_ROLE_POD;
	}
	if (!r && l)
		r = eg_links_attach(d, l, error);
	if (!r && l && d->attached && !eg_observes(d) && !was_uplink && (l->roles & EG_ROLE_UPLINK))
		eg_datapath_notice(d, "the uplink %s is there now; the guard is attached to it",
				   l->name);
	if (is_new && d->o.calls.link)
		d->o.calls.link(d->o.calls.context, n->ifindex, n->name, true);
	return r;
}

static void link_gone(struct eg_datapath *d, uint32_t ifindex, const char *name)
{
	struct eg_link *l = eg_links_find(d, ifindex);

	if (!l)
		return;
	if (ifindex == d->agent_ifindex) {
		/* Connections meet the fail policy while it is made again. */
		__atomic_store_n(&d->config->agent_ifindex, 0, __ATOMIC_RELEASE);
		d->way_suspect = true;
	}
	if ((l->roles & EG_ROLE_UPLINK) && !eg_observes(d))
		eg_datapath_notice(d,
				   "the uplink %s is gone, and its guard with it; the guard is "
				   "attached again when an interface of that name appears",
				   l->name);
	eg_links_drop(d, l);
	*l = d->links[--d->link_count];
	eg_pods_forget(d, ifindex);
	if (d->o.calls.link)
		d->o.calls.link(d->o.calls.context, ifindex, name, false);
}

struct scan {
	struct eg_datapath *d;
	struct eg_error *error;
	int result;
	uint32_t *seen;
	size_t count, room;
};

static bool scan_link(void *context, const struct eg_netlink_link *n)
{
	struct scan *s = context;

	if (s->count == s->room) {
		size_t room = s->room ? s->room * 2 : 64;
		uint32_t *bigger = reallocarray(s->seen, room, sizeof(*bigger));

		if (!bigger) {
			s->result = -ENOMEM;
			return false;
		}
		s->seen = bigger;
		s->room = room;
	}
	s->seen[s->count++] = n->ifindex;
	return true;
}

static bool present_link(void *context, const struct eg_netlink_link *n)
{
	struct scan *s = context;
	struct eg_error error;
	int r = link_present(s->d, n, &error);

	/* One bad link (gone meanwhile, say) does not keep the others from being attached. */
	if (r && r != -ENODEV) {
		eg_datapath_notice(s->d, "%s", error.text);
		if (!s->result) {
			s->result = r;
			if (s->error)
				*s->error = error;
		}
	}
	return true;
}

/* The whole truth: after a start, and when notifications were lost. */
static int reconcile(struct eg_datapath *d, struct eg_error *error)
{
	struct scan s = {.d = d, .error = error};
	EG_CLEANUP_FREE uint32_t *seen = NULL;
	int r;

	r = eg_netlink_each_link(d->netlink, scan_link, &s);
	seen = s.seen;
	if (r || s.result)
		return eg_error_set(error, r ? r : s.result, "cannot list the links: %s",
				    strerror(-(r ? r : s.result)));
	for (size_t i = 0; i < d->link_count;) {
		struct eg_link *l = &d->links[i];
		bool there = false;

		for (size_t k = 0; k < s.count; k++)
			there |= seen[k] == l->ifindex;
		if (there)
			i++;
		else
			link_gone(d, l->ifindex, "");
	}
	r = eg_netlink_each_link(d->netlink, present_link, &s);
	if (r && !s.result)
		return eg_error_set(error, r, "cannot list the links: %s", strerror(-r));
	return s.result;
}

static int on_link(struct nl_msg *m, void *context)
{
	const struct nlmsghdr *h = nlmsg_hdr(m);
	struct eg_datapath *d = context;
	struct eg_netlink_link n;
	struct eg_error error;

	/* Somebody's rule went; whether it was ours is seen by looking. */
	if (h->nlmsg_type == RTM_DELRULE)
		d->way_suspect = true;
	if (h->nlmsg_type == RTM_NEWROUTE && eg_netlink_is_default(h))
		d->uplinks_suspect = true;
	if ((h->nlmsg_type != RTM_NEWLINK && h->nlmsg_type != RTM_DELLINK) ||
	    eg_netlink_parse_link(h, &n) || n.family == AF_BRIDGE)
		return NL_OK;
	if (n.ifindex == d->agent_ifindex && !(n.flags & IFF_UP))
		d->way_suspect = true;
	if (h->nlmsg_type == RTM_DELLINK)
		link_gone(d, n.ifindex, n.name);
	else if (link_present(d, &n, &error) && if_nametoindex(n.name) == n.ifindex)
		eg_datapath_notice(d, "%s", error.text);
	return NL_OK;
}

int eg_links_open(struct eg_datapath *d, struct eg_error *error)
{
	struct epoll_event e = {.events = EPOLLIN};

	d->link_watch = nl_socket_alloc();
	if (!d->link_watch)
		return eg_error_set(error, -ENOMEM, "out of memory");
	nl_socket_disable_seq_check(d->link_watch);
	nl_socket_modify_cb(d->link_watch, NL_CB_VALID, NL_CB_CUSTOM, on_link, d);
	if (nl_connect(d->link_watch, NETLINK_ROUTE) || nl_socket_set_nonblocking(d->link_watch) ||
	    nl_socket_set_buffer_size(d->link_watch, 1 << 20, 0) ||
	    nl_socket_add_membership(d->link_watch, RTNLGRP_LINK) ||
	    (d->o.mode == EG_MODE_MARK &&
	     (nl_socket_add_membership(d->link_watch, RTNLGRP_IPV4_RULE) ||
	      nl_socket_add_membership(d->link_watch, RTNLGRP_IPV6_RULE))) ||
	    (d->o.uplink_auto && (nl_socket_add_membership(d->link_watch, RTNLGRP_IPV4_ROUTE) ||
				  nl_socket_add_membership(d->link_watch, RTNLGRP_IPV6_ROUTE))) ||
	    epoll_ctl(d->epoll, EPOLL_CTL_ADD, nl_socket_get_fd(d->link_watch), &e))
		return eg_error_set(error, -EIO, "cannot watch the links by rtnetlink: %s",
				    strerror(errno));
	return 0;
}

void eg_links_close(struct eg_datapath *d)
{
	if (d->link_watch)
		nl_socket_free(d->link_watch);
	d->link_watch = NULL;
	free(d->links);
	d->links = NULL;
	d->link_count = d->link_room = 0;
}

static int read_events(struct eg_datapath *d, struct eg_error *error)
{
	for (int i = 0; i < EVENTS_AT_ONCE; i++) {
		int r = nl_recvmsgs_default(d->link_watch);

		if (r == -NLE_AGAIN)
			return 0;
		/* Lost notifications (ENOBUFS) or anything odd: look at everything. */
		if (r < 0) {
			d->uplinks_suspect = true;
			return reconcile(d, error);
		}
	}
	return 0;
}

int eg_links_events(struct eg_datapath *d, struct eg_error *error)
{
	int r = read_events(d, error);

	if (d->uplinks_suspect) {
		d->uplinks_suspect = false;
		eg_uplinks_follow(d);
	}
	return r;
}

int eg_datapath_attach(struct eg_datapath *d, struct eg_error *error)
{
	int r;

	eg_uplinks_follow(d);
	r = reconcile(d, error);
	eg_uplinks_say_missing(d);
	eg_uplinks_say_namesakes(d);
	d->attached = true;
	return r;
}
