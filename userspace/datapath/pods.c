/* SPDX-License-Identifier: Apache-2.0 */
/* Pods and the ways back to them: the maps `pods` and `pod_links`, and which link is whose. */
#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/if_arp.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "datapath/internal.h"

static bool has_address(const struct eg_pod *pod, const struct eg_address *a)
{
	for (unsigned int i = 0; i < pod->address_count && i < EG_POD_ADDRESSES; i++)
		if (!memcmp(&pod->address[i], a, sizeof(*a)))
			return true;
	return false;
}

/* Removes the way back unless it leads to another link by now. */
static void remove_way(struct eg_datapath *d, const struct eg_address *a, uint32_t ifindex)
{
	uint32_t at;

	if (!bpf_map_lookup_elem(d->map[EG_MAP_POD_LINKS], a, &at) && at == ifindex)
		bpf_map_delete_elem(d->map[EG_MAP_POD_LINKS], a);
}

/* Whether the other end of the link has the address. */
static bool is_behind(struct eg_datapath *d, uint32_t ifindex, const struct eg_address *a)
{
	struct eg_address there[64];
	size_t count = 0;

	if (eg_datapath_pod_addresses(d, ifindex, there, EG_ARRAY_SIZE(there), &count, NULL))
		return false;
	for (size_t i = 0; i < count && i < EG_ARRAY_SIZE(there); i++)
		if (!memcmp(&there[i], a, sizeof(*a)))
			return true;
	return false;
}

/*
 * A pod may have several links, and an address is believed on each of them, but its answers come in
 * by the one that has it: by another a pod with rp_filter drops them. Where none is known to have
 * it, the first set has.
 */
static bool is_siblings(struct eg_datapath *d, uint32_t ifindex, const struct eg_pod *pod,
			const struct eg_address *a)
{
	struct eg_pod other;
	uint32_t at;

	return !bpf_map_lookup_elem(d->map[EG_MAP_POD_LINKS], a, &at) && at != ifindex &&
	       !bpf_map_lookup_elem(d->map[EG_MAP_PODS], &at, &other) &&
	       other.pod_id == pod->pod_id && has_address(&other, a) && !is_behind(d, ifindex, a);
}

static bool is_untouched(const struct eg_pod *p)
{
	return p->state == EG_POD_UNGOVERNED || p->state == EG_POD_FOREIGN;
}

/* Neither is known whole: the grace of the one that ends is the other's, or a pod whose feeders
 * come and go would be held for ever. */
static bool same_wait(const struct eg_pod *a, const struct eg_pod *b)
{
	return a->state == b->state || (a->state <= EG_POD_HELD && b->state <= EG_POD_HELD);
}

/* A process that takes over, or a start, gives pods other numbers. */
static bool same_pod(const struct eg_pod *a, const struct eg_pod *b)
{
	return a->pod_id == b->pod_id || (a->name[0] && !strncmp(a->name, b->name, EG_POD_NAME));
}

static int store(struct eg_datapath *d, uint32_t ifindex, const struct eg_pod *pod,
		 struct eg_error *error)
{
	struct eg_pod old, fresh = *pod;
	bool had = !bpf_map_lookup_elem(d->map[EG_MAP_PODS], &ifindex, &old);

	if (fresh.address_count > EG_POD_ADDRESSES)
		return eg_error_set(error, -EINVAL,
				    "pod %.*s has %u addresses, at most %d are possible",
				    EG_POD_NAME, fresh.name, fresh.address_count, EG_POD_ADDRESSES);
	fresh.name[EG_POD_NAME - 1] = 0;
	if (!fresh.since_ns)
		fresh.since_ns = had && same_wait(&old, &fresh) ? old.since_ns : eg_now_ns();
	/* A pod that is no longer governed: its connections that are with the agent stay there. */
	if (had && old.pod_id && is_untouched(&fresh) &&
	    (!is_untouched(&old) || (old.flags & EG_POD_FOLLOW_FLOWS)) && same_pod(&old, &fresh))
		fresh.flags |= EG_POD_FOLLOW_FLOWS;
	/* The way back first: an answer must find it as soon as a SYN is redirected. */
	for (unsigned int i = 0; i < fresh.address_count; i++)
		if (!is_siblings(d, ifindex, &fresh, &fresh.address[i]) &&
		    bpf_map_update_elem(d->map[EG_MAP_POD_LINKS], &fresh.address[i], &ifindex,
					BPF_ANY))
			return eg_error_set(error, -errno,
					    "cannot store the way back to pod %s: %s", fresh.name,
					    strerror(errno));
	if (bpf_map_update_elem(d->map[EG_MAP_PODS], &ifindex, &fresh, BPF_ANY))
		return eg_error_set(error, -errno, "cannot store pod %s: %s", fresh.name,
				    errno == E2BIG ? "the map is full" : strerror(errno));
	if (had && old.pod_id != fresh.pod_id)
		d->counters_swept = false;
	for (unsigned int i = 0; had && i < old.address_count && i < EG_POD_ADDRESSES; i++)
		if (!has_address(&fresh, &old.address[i]))
			remove_way(d, &old.address[i], ifindex);
	return 0;
}

int eg_pods_unknown(struct eg_datapath *d, uint32_t ifindex, struct eg_error *error)
{
	const struct eg_pod unknown = {.state = EG_POD_UNKNOWN};
	struct eg_pod old;

	/* What an earlier start knew of this link holds until something newer is said. */
	if (!bpf_map_lookup_elem(d->map[EG_MAP_PODS], &ifindex, &old))
		return 0;
	return store(d, ifindex, &unknown, error);
}

/* Over these no pod sends: what a file of pods calls "eth0" is the pod's own name of its link. */
static const char *ours(const struct eg_datapath *d, const struct eg_netlink_link *l)
{
	if (l->ifindex == d->agent_ifindex)
		return "the agent's own";
	return eg_uplinks_have(d, l->name) ? "an uplink of this node" : NULL;
}

/*
 * The programs read a MAC header first: bytes that begin with IP would be none of IP to them, and
 * pass. And bpf_redirect_peer(), the way back in netns mode, drops what has no peer to go to.
 */
static int can_be_pods(const struct eg_datapath *d, const struct eg_netlink_link *l,
		       struct eg_error *error)
{
	const char *whose = ours(d, l);

	if (whose)
		return eg_error_set(error, -EINVAL,
				    "the link %s is %s; expected the node's end of the pod's link",
				    l->name, whose);
	if (l->type != ARPHRD_ETHER)
		return eg_error_set(error, -EINVAL,
				    "the link %s is no Ethernet link (its type is %u), and what a "
				    "pod sends can't be read there",
				    l->name, l->type);
	if (d->o.mode == EG_MODE_NETNS && strcmp(l->kind, "veth") != 0 &&
	    strcmp(l->kind, "netkit") != 0)
		return eg_error_set(
			error, -EINVAL,
			"the link %s is no veth, and in netns mode a pod gets no answer "
			"over another one; --mode mark can do that",
			l->name);
	return 0;
}

int eg_datapath_can_be_pods(struct eg_datapath *d, uint32_t ifindex, struct eg_error *error)
{
	struct eg_netlink_link l;
	int r = eg_netlink_link_by_index(d->netlink, ifindex, &l);

	return r ? eg_error_set(error, r, "there is no link %u: %s", ifindex, strerror(-r))
		 : can_be_pods(d, &l, error);
}

int eg_datapath_set_pod(struct eg_datapath *d, uint32_t ifindex, const struct eg_pod *pod,
			struct eg_error *error)
{
	struct eg_netlink_link seen;
	struct eg_link *l;
	int r;

	if (!ifindex)
		return eg_error_set(error, -EINVAL, "link %u cannot be a pod's", ifindex);
	r = eg_netlink_link_by_index(d->netlink, ifindex, &seen);
	if (r)
		return eg_error_set(error, r, "pod %.*s: there is no link %u: %s", EG_POD_NAME,
				    pod->name, ifindex, strerror(-r));
	r = can_be_pods(d, &seen, error);
	if (r)
		return r;
	r = store(d, ifindex, pod, error);
	if (r)
		return r;
	l = eg_links_get(d, ifindex);
	if (!l)
		return eg_error_set(error, -ENOMEM, "out of memory");
	eg_str_copy(l->name, sizeof(l->name), eg_str_from(seen.name));
	l->roles |= EG_ROLE_POD;
	return eg_links_attach(d, l, error);
}

int eg_datapath_get_pod(const struct eg_datapath *d, uint32_t ifindex, struct eg_pod *out)
{
	return bpf_map_lookup_elem(d->map[EG_MAP_PODS], &ifindex, out) ? -errno : 0;
}

void eg_pods_forget(struct eg_datapath *d, uint32_t ifindex)
{
	struct eg_pod old;

	d->counters_swept = false;
	if (!bpf_map_lookup_elem(d->map[EG_MAP_PODS], &ifindex, &old)) {
		bpf_map_delete_elem(d->map[EG_MAP_PODS], &ifindex);
		for (unsigned int i = 0; i < old.address_count && i < EG_POD_ADDRESSES; i++)
			remove_way(d, &old.address[i], ifindex);
	}
	eg_mapsync_forget_link(d, ifindex);
}

int eg_datapath_remove_pod(struct eg_datapath *d, uint32_t ifindex, struct eg_error *error)
{
	static const enum eg_program_id of_pods[] = {EG_PROGRAM_EGRESS_TC, EG_PROGRAM_DNS_TC,
						     EG_PROGRAM_OBSERVE_UP_TC,
						     EG_PROGRAM_OBSERVE_DOWN_TC};
	struct eg_link *l = eg_links_find(d, ifindex);

	(void)error;
	if (l)
		l->roles = (uint8_t)(l->roles & ~EG_ROLE_POD);
	/* Whether or not this process attached them: of a pod that went while none ran, an earlier
	 * one did. */
	for (size_t k = 0; k < EG_ARRAY_SIZE(of_pods); k++) {
		enum eg_program_id i = of_pods[k];

		eg_datapath_busy(d);
		eg_detach(d->pin_dir, i, ifindex);
		if (l)
			l->attached &= ~(1U << i);
	}
	eg_pods_forget(d, ifindex);
	return 0;
}

void eg_pods_release(struct eg_datapath *d, uint32_t ifindex)
{
	struct eg_error e = {""};
	struct eg_pod pod;

	if (!bpf_map_lookup_elem(d->map[EG_MAP_PODS], &ifindex, &pod) && !pod.pod_id &&
	    eg_datapath_remove_pod(d, ifindex, &e))
		eg_datapath_notice(d, "link %u: %s", ifindex, e.text);
}

/* ---- which link leads where ---- */

struct find {
	const struct eg_datapath *d;
	int32_t nsid;
	uint32_t *ifindexes;
	size_t room, count;
};

static bool find_link(void *context, const struct eg_netlink_link *l)
{
	struct find *f = context;

	if (l->peer_nsid != f->nsid || !l->peer_ifindex || ours(f->d, l))
		return true;
	if (f->count < f->room)
		f->ifindexes[f->count] = l->ifindex;
	f->count++;
	return true;
}

int eg_datapath_find_links(struct eg_datapath *d, const char *netns_path, uint32_t *ifindexes,
			   size_t room, size_t *count, struct eg_error *error)
{
	EG_CLEANUP_FD int fd = open(netns_path, O_RDONLY | O_CLOEXEC);
	struct find f = {.d = d, .nsid = -1, .ifindexes = ifindexes, .room = room};
	int r;

	eg_datapath_busy(d);
	if (fd < 0)
		return eg_error_set(error, -errno, "cannot open the network namespace %s: %s",
				    netns_path, strerror(errno));
	r = eg_netlink_nsid(d->netlink, fd, &f.nsid);
	if (r == -EINVAL)
		return eg_error_set(error, r, "%s is not a network namespace", netns_path);
	if (r)
		return eg_error_set(error, r, "cannot ask for the number of %s: %s", netns_path,
				    strerror(-r));
	if (f.nsid < 0) {
		/* Numbers are given when a link that leads there is listed for the first time. */
		struct find none = {.d = d, .nsid = INT32_MIN};

		r = eg_netlink_each_link(d->netlink, find_link, &none);
		if (!r)
			r = eg_netlink_nsid(d->netlink, fd, &f.nsid);
	}
	if (!r && f.nsid >= 0)
		r = eg_netlink_each_link(d->netlink, find_link, &f);
	if (r)
		return eg_error_set(error, r, "cannot list the links: %s", strerror(-r));
	if (!f.count)
		return eg_error_set(error, -ENOENT, "no link of this namespace leads to %s",
				    netns_path);
	*count = f.count;
	return 0;
}

struct gather {
	struct eg_address *addresses;
	size_t room, count;
};

static bool gather_address(void *context, const struct eg_netlink_address *a)
{
	struct gather *g = context;
	struct eg_address address;

	if (a->scope != RT_SCOPE_UNIVERSE)
		return true;
	if (a->family == AF_INET) {
		__be32 v4;

		memcpy(&v4, a->bytes, sizeof(v4));
		address = eg_address_from4(v4);
	} else {
		memcpy(&address, a->bytes, sizeof(address));
	}
	if (g->count < g->room)
		g->addresses[g->count] = address;
	g->count++;
	return true;
}

int eg_datapath_pod_addresses(struct eg_datapath *d, uint32_t ifindex, struct eg_address *addresses,
			      size_t room, size_t *count, struct eg_error *error)
{
	struct gather g = {.addresses = addresses, .room = room};
	struct eg_netlink_link l;
	int r;

	eg_datapath_busy(d);
	r = eg_netlink_link_by_index(d->netlink, ifindex, &l);
	if (r)
		return eg_error_set(error, r, "there is no link %u: %s", ifindex, strerror(-r));
	if (l.peer_nsid < 0 || !l.peer_ifindex)
		return eg_error_set(error, -EOPNOTSUPP,
				    "link %s does not lead to another namespace", l.name);
	r = eg_netlink_each_address(d->netlink, l.peer_nsid, l.peer_ifindex, gather_address, &g);
	if (r)
		return eg_error_set(error, r, "cannot list the addresses behind link %s: %s",
				    l.name, strerror(-r));
	*count = g.count;
	return 0;
}
