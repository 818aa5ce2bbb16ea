/* SPDX-License-Identifier: Apache-2.0 */
/* Links that are no pod's, though they look like one: found by what nobody says of them. */
#include <bpf/bpf.h>
#include <stdlib.h>

#include "datapath/internal.h"

/* One link of the map `pods`. */
struct candidate {
	uint32_t ifindex;
	bool waits; /* unknown for long enough */
	bool pods;  /* some pod's */
	bool there;
	int32_t nsid; /* where it leads; -1: nowhere else */
	char name[16];
};

struct look {
	struct candidate *list;
	size_t count;
};

static int read_candidates(struct eg_datapath *d, uint64_t grace_ms, struct look *out)
{
	EG_CLEANUP_WALK struct eg_walk walk = {NULL};
	uint64_t now = eg_now_ns();
	int r = eg_walk_keys(d->map[EG_MAP_PODS], sizeof(uint32_t), &walk);

	if (r)
		return r;
	out->list = calloc(walk.count + 1, sizeof(*out->list));
	if (!out->list)
		return -ENOMEM;
	for (size_t i = 0; i < walk.count; i++) {
		struct candidate *c = &out->list[out->count];
		struct eg_pod pod;

		c->ifindex = ((const uint32_t *)walk.keys)[i];
		if (bpf_map_lookup_elem(d->map[EG_MAP_PODS], &c->ifindex, &pod))
			continue;
		c->nsid = -1;
		c->pods = pod.pod_id;
		c->waits = pod.state == EG_POD_UNKNOWN && !pod.pod_id &&
			   !(pod.flags & EG_POD_NAMED) && now > pod.since_ns &&
			   now - pod.since_ns > grace_ms * 1000000;
		out->count++;
	}
	return 0;
}

static bool see_link(void *context, const struct eg_netlink_link *l)
{
	struct look *look = context;

	for (size_t i = 0; i < look->count; i++)
		if (look->list[i].ifindex == l->ifindex) {
			look->list[i].there = true;
			look->list[i].nsid = l->peer_nsid;
			eg_str_copy(look->list[i].name, sizeof(look->list[i].name),
				    eg_str_from(l->name));
		}
	return true;
}

/* A second link of a pod's that is not among those that are looked after, say. */
static bool leads_to_pod(const struct look *look, const struct candidate *c)
{
	for (size_t i = 0; c->nsid >= 0 && i < look->count; i++)
		if (look->list[i].pods && look->list[i].nsid == c->nsid)
			return true;
	return false;
}

static int let_go(struct eg_datapath *d, const struct look *look, struct eg_error *error)
{
	const struct eg_pod foreign = {.state = EG_POD_FOREIGN};
	struct eg_error e = {""};
	int first = 0;

	for (size_t i = 0; i < look->count; i++) {
		const struct candidate *c = &look->list[i];
		int r;

		if (!c->waits || !c->there || leads_to_pod(look, c))
			continue;
		r = eg_datapath_set_pod(d, c->ifindex, &foreign, &e);
		if (r && r != -ENODEV && !first) {
			first = r;
			*error = e;
		}
		if (!r)
			eg_datapath_notice(d,
					   "the link %s is no pod's, as nothing names it or where "
					   "it leads: what it sends passes",
					   c->name);
	}
	return first;
}

int eg_datapath_set_foreign(struct eg_datapath *d, uint64_t grace_ms, struct eg_error *error)
{
	struct look look = {.list = NULL};
	bool any = false;
	int r = read_candidates(d, grace_ms, &look);

	for (size_t i = 0; !r && i < look.count; i++)
		any |= look.list[i].waits;
	if (!r && any)
		r = eg_netlink_each_link(d->netlink, see_link, &look);
	if (r)
		eg_error_set(error, r, "cannot look for links that are no pod's: %s", strerror(-r));
	else if (any)
		r = let_go(d, &look, error);
	free(look.list);
	return r;
}
