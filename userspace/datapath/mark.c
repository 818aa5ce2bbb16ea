/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mark mode: what egress_tc marked is local to the node, in both families, by a table of its own:
 *	pref 99   fwmark M/mask iif lo lookup main   what we send never is (src_valid_mark,
 *	                                             tcp_fwmark_accept)
 *	pref 100  fwmark M/mask lookup T             local default dev lo
 */
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include "datapath/internal.h"

#define OUT_PREFERENCE 99
#define IN_PREFERENCE  100

static void fill(const struct eg_datapath_options *o, int family, struct eg_netlink_rule rule[2],
		 struct eg_netlink_route *here)
{
	rule[0] = (struct eg_netlink_rule){
		.family = family,
		.preference = OUT_PREFERENCE,
		.table = RT_TABLE_MAIN,
		.iif = "lo",
		.mark = o->mark,
		.mask = o->mark_mask,
	};
	rule[1] = rule[0];
	rule[1].preference = IN_PREFERENCE;
	rule[1].table = o->mark_table;
	rule[1].iif = NULL;
	*here = (struct eg_netlink_route){
		.family = family,
		.type = RTN_LOCAL,
		.table = o->mark_table,
		.ifindex = if_nametoindex("lo"),
	};
}

static int open_family(struct eg_datapath *d, int family)
{
	struct eg_netlink_rule rule[2];
	struct eg_netlink_route here;
	int r;

	fill(&d->o, family, rule, &here);
	r = eg_netlink_set_default(d->netlink, &here);
	for (int i = 0; !r && i < 2; i++) {
		r = eg_netlink_add_rule(d->netlink, &rule[i]);
		if (r == -EEXIST)
			r = 0;
	}
	return r;
}

/* The node's sysctls are the node's: what matters is said, never changed. */
static void note_sysctl(struct eg_datapath *d)
{
	EG_CLEANUP_FD int fd = open("/proc/sys/net/ipv4/ip_early_demux", O_RDONLY | O_CLOEXEC);
	char value;

	if (fd >= 0 && read(fd, &value, 1) == 1 && value == '0')
		eg_datapath_note(
			d, "net.ipv4.ip_early_demux is 0 on this node: in mark mode each packet "
			   "of a captured connection costs about a tenth more; set it to 1, its "
			   "default");
}

int eg_mark_open(struct eg_datapath *d, struct eg_error *error)
{
	int r = open_family(d, AF_INET);

	note_sysctl(d);

	if (r)
		return eg_error_set(error, r, "cannot add the rules and the route of mark 0x%x: %s",
				    d->o.mark, strerror(-r));
	r = open_family(d, AF_INET6);
	d->mark_has6 = !r;
	if (r)
		eg_datapath_note(
			d,
			"IPv6 connections of pods are not captured: the node takes no IPv6 "
			"rules (%s)",
			strerror(-r));
	return 0;
}

/* *was_gone becomes true when r says that something was added. 0, or -errno. */
static int was_there(int r, bool *was_gone)
{
	*was_gone |= !r;
	return r == -EEXIST ? 0 : r;
}

int eg_mark_mend(struct eg_datapath *d, bool *was_gone, struct eg_error *error)
{
	static const int families[] = {AF_INET, AF_INET6};

	for (size_t f = 0; f < (d->mark_has6 ? 2 : 1); f++) {
		struct eg_netlink_rule rule[2];
		struct eg_netlink_route here;
		int r;

		fill(&d->o, families[f], rule, &here);
		r = was_there(eg_netlink_add_default(d->netlink, &here), was_gone);
		for (int i = 0; !r && i < 2; i++)
			r = was_there(eg_netlink_add_rule(d->netlink, &rule[i]), was_gone);
		if (r)
			return eg_error_set(error, r, "%s", strerror(-r));
	}
	return 0;
}

int eg_mark_remove(const struct eg_datapath_options *o, struct eg_error *error)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct nl_sock *s = eg_netlink_open();
	int first = 0;

	if (!s)
		return eg_error_set(error, -errno, "cannot open netlink: %s", strerror(errno));
	for (size_t f = 0; f < EG_ARRAY_SIZE(families); f++) {
		struct eg_netlink_rule rule[2];
		struct eg_netlink_route here;
		int r;

		fill(o, families[f], rule, &here);
		for (int i = 0; i < 2; i++) {
			r = eg_netlink_delete_rule(s, &rule[i]);
			if (r && r != -ENOENT && r != -EAFNOSUPPORT && !first)
				first = r;
		}
		r = eg_netlink_delete_default(s, &here);
		if (r && r != -ESRCH && r != -ENOENT && r != -EAFNOSUPPORT && !first)
			first = r;
	}
	eg_netlink_close(s);
	return first ? eg_error_set(error, first, "cannot remove the rules of mark 0x%x: %s",
				    o->mark, strerror(-first))
		     : 0;
}
