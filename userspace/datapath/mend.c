/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's way in, which anybody with NET_ADMIN can take away from a running agent: its veth
 * pair, in mark mode rules and routes, the pin of listener_lookup. It is looked at when a link
 * message makes it suspect and in each sweep, and put back with the rights that the supervisor
 * keeps. What can't be put back is told by calls.lost.
 */
#include <linux/if.h>
#include <stdio.h>
#include <sys/stat.h>

#include "datapath/internal.h"

#define PATIENCE_NS 3000000000u /* a failure may be of the moment: want of memory, a race */

/* 1: it is; 0: it is not; -errno: it can't be told. */
static int pair_is_whole(struct eg_datapath *d)
{
	struct eg_netlink_link host, inside;
	int r;

	if (!d->agent_ifindex)
		return 0;
	r = eg_netlink_link_by_index(d->netlink, d->agent_ifindex, &host);
	if (!r)
		r = eg_netlink_link_by_name(d->agent_netlink, d->agent_link, &inside);
	if (r)
		return r == -ENODEV ? 0 : r;
	return (host.flags & IFF_UP) && (inside.flags & IFF_UP) &&
	       inside.peer_ifindex == host.ifindex;
}

static int mend_pair(struct eg_datapath *d, struct eg_error *error)
{
	int whole = pair_is_whole(d), r = 0;

	if (whole < 0)
		return eg_error_set(error, whole, "cannot look at the link %s: %s", d->host_link,
				    strerror(-whole));
	/* It is whole, and not in use yet, when the last attempt came no further. */
	if (whole && (!d->listener_count || d->config->agent_ifindex == d->agent_ifindex))
		return 0;
	/* Without a way in it is the fail policy's turn (bpf/lib/steer.h). */
	__atomic_store_n(&d->config->agent_ifindex, 0, __ATOMIC_RELEASE);
	if (!whole)
		r = eg_namespace_mend(d, error);
	if (!r)
		r = eg_attach_agent(d, error);
	if (r)
		return eg_error_prefix(error, r,
				       "the link %s into the agent's namespace was taken away and "
				       "can't be put back",
				       d->host_link);
	if (d->listener_count)
		__atomic_store_n(&d->config->agent_ifindex, d->agent_ifindex, __ATOMIC_RELEASE);
	eg_datapath_notice(d,
			   "the link %s into the agent's namespace had been removed, set down or "
			   "cut off; it is made again. Until then new connections of pods met the "
			   "fail policy",
			   d->host_link);
	return 0;
}

static int mend_rules(struct eg_datapath *d, struct eg_error *error)
{
	bool was_gone = false;
	int r = eg_mark_mend(d, &was_gone, error);

	if (r)
		return eg_error_prefix(
			error, r, "the rules of mark mode were taken away and can't be put back");
	if (was_gone)
		eg_datapath_notice(d,
				   "rules or routes of mark mode (`ip rule`, table %u) had been "
				   "removed; they are put back. Until then connections of pods did "
				   "not reach the agent",
				   d->o.mark_table);
	return 0;
}

/* The supervisor can't mount it again without SYS_ADMIN; and it lives on by our descriptor. */
static void look_at_mount(struct eg_datapath *d)
{
	struct stat at, ours;
	bool is = !stat(d->namespace_path, &at) && !fstat(d->agent_netns, &ours) &&
		  at.st_ino == ours.st_ino && at.st_dev == ours.st_dev;

	if (d->namespace_mounted && !is)
		eg_datapath_notice(d,
				   "the agent's namespace is not mounted at %s any more: all goes "
				   "on, but the namespace ends with this process, and open "
				   "connections of pods with it. The next start makes another",
				   d->namespace_path);
	d->namespace_mounted = is;
}

void eg_way_check(struct eg_datapath *d)
{
	struct eg_error error = {""};
	int r;

	d->way_suspect = false;
	if (d->way_lost || eg_observes(d))
		return;
	if (d->o.mode == EG_MODE_NETNS) {
		look_at_mount(d);
		r = mend_pair(d, &error);
		if (!r)
			r = eg_attach_netns(d, d->agent_netns, &error);
	} else {
		r = mend_rules(d, &error);
		if (!r)
			r = eg_attach_agent(d, &error);
	}
	if (!r) {
		d->way_failed_ns = 0;
		return;
	}
	if (!d->way_failed_ns)
		d->way_failed_ns = eg_now_ns();
	if (eg_now_ns() - d->way_failed_ns < PATIENCE_NS)
		return;
	d->way_lost = true;
	eg_datapath_stop(d);
	if (d->o.calls.lost)
		d->o.calls.lost(d->o.calls.context, error.text);
}
