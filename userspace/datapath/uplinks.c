/* SPDX-License-Identifier: Apache-2.0 */
/* The uplinks that the options name: is each there, and does the guard stand on it? The kernel is
 * asked, never our memory. */
#include <net/if.h>

#include "datapath/internal.h"

/* 0: there is none. An alternative name does not count: links are matched by their own. */
static uint32_t by_own_name(const char *name)
{
	uint32_t ifindex = if_nametoindex(name);
	char own[IF_NAMESIZE];

	return ifindex && if_indextoname(ifindex, own) && !strcmp(own, name) ? ifindex : 0;
}

static bool named_before(const struct eg_datapath *d, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (!strcmp(d->uplinks[k], d->uplinks[i]))
			return true;
	return false;
}

size_t eg_datapath_uplinks(struct eg_datapath *d, struct eg_datapath_uplink *out, size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < d->o.uplink_count && n < room; i++) {
		uint32_t ifindex = by_own_name(d->uplinks[i]);

		if (named_before(d, i))
			continue;
		out[n++] = (struct eg_datapath_uplink){
			.name = d->uplinks[i],
			.present = ifindex != 0,
			.guarded = ifindex &&
				   eg_attach_holds(d, EG_PROGRAM_GUARD_TC, ifindex) != EG_HOLD_LOST,
		};
	}
	return n;
}

/* ---- the links that default routes lead over ---- */

struct follow {
	struct eg_datapath *d;
	bool full;
};

bool eg_uplinks_have(const struct eg_datapath *d, const char *name)
{
	for (size_t i = 0; i < d->o.uplink_count; i++)
		if (!strcmp(d->uplinks[i], name))
			return true;
	return false;
}

static void guard(struct eg_datapath *d, uint32_t ifindex)
{
	struct eg_link *l = eg_links_find(d, ifindex);
	struct eg_error e = {""};

	if (!l) /* it is yet to be attached to, with its roles */
		return;
	l->roles |= EG_ROLE_UPLINK;
	eg_pods_release(d, ifindex);
	if (eg_links_attach(d, l, &e))
		eg_datapath_notice(d, "uplink %s: %s", l->name, e.text);
}

static bool follow_way(void *context, uint32_t ifindex)
{
	struct follow *f = context;
	struct eg_datapath *d = f->d;
	char name[IF_NAMESIZE], *copy;

	if (ifindex == d->agent_ifindex || !if_indextoname(ifindex, name) ||
	    eg_uplinks_have(d, name))
		return true;
	copy = d->o.uplink_count < EG_UPLINKS_MAX ? strdup(name) : NULL;
	if (!copy) {
		f->full = true;
		return true;
	}
	d->uplinks[d->o.uplink_count++] = copy;
	if (!eg_observes(d))
		eg_datapath_notice(
			d, "uplink %s: a default route leads over it; it is guarded from now on",
			name);
	guard(d, ifindex);
	return true;
}

void eg_uplinks_follow(struct eg_datapath *d)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct follow f = {.d = d};

	for (size_t i = 0; d->o.uplink_auto && i < EG_ARRAY_SIZE(families); i++) {
		int r = eg_netlink_each_default(d->netlink, families[i], follow_way, &f);

		if (r && r != -EAFNOSUPPORT && r != -EOPNOTSUPP)
			eg_datapath_notice(d, "uplinks: the routes can't be listed: %s",
					   strerror(-r));
	}
	if (f.full && !d->uplinks_full)
		eg_datapath_notice(d,
				   "uplinks: default routes lead over more than %d links; on the "
				   "others no guard stands",
				   EG_UPLINKS_MAX);
	d->uplinks_full = f.full;
}

bool eg_datapath_is_outside(struct eg_datapath *d, const struct eg_address *a)
{
	int family = eg_address_is4(a) ? AF_INET : AF_INET6;
	const void *bytes = family == AF_INET ? &a->word_be[3] : a->word_be;
	struct eg_netlink_way way;

	if (eg_netlink_way_to(d->netlink, family, bytes, &way) || !way.router)
		return false;
	for (size_t i = 0; i < d->o.uplink_count; i++)
		if (by_own_name(d->uplinks[i]) == way.ifindex)
			return true;
	return false;
}

void eg_uplinks_say_missing(struct eg_datapath *d)
{
	if (eg_observes(d)) /* no guard is to stand anywhere */
		return;
	for (size_t i = 0; i < d->o.uplink_count; i++)
		if (!named_before(d, i) && !by_own_name(d->uplinks[i]))
			eg_datapath_notice(
				d,
				"uplink %s: there is no interface of that name, so no guard stands "
				"there; it is attached as soon as the interface appears. `ip route "
				"get` to a provider's address names the interface that --uplink "
				"should name",
				d->uplinks[i]);
	for (size_t i = 0; i < d->o.xdp_count; i++)
		if (d->xdp[i].mode != EG_XDP_OFF && !by_own_name(d->xdp[i].name))
			eg_datapath_notice(
				d,
				"XDP on link %s: there is no interface of that name; the program "
				"is attached as soon as it appears",
				d->xdp[i].name);
}

void eg_uplinks_say_namesakes(struct eg_datapath *d)
{
	for (size_t i = 0; i < d->o.uplink_count; i++) {
		uint32_t ifindex = by_own_name(d->uplinks[i]);
		uint32_t other = ifindex ? eg_attach_namesake(d, EG_PROGRAM_GUARD_TC, ifindex) : 0;

		if (other && !named_before(d, i))
			eg_datapath_notice(
				d,
				"uplink %s: another Egret's guard stands there too (`bpftool prog "
				"show id %u`), not pinned in %s: each drops what the other lets "
				"by. Remove that one: `egretd --uninstall --pin-dir DIR`, with its "
				"directory",
				d->uplinks[i], other, d->pin_dir);
	}
}
