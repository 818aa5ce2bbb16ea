/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of names: resolved by the agent for every pod, learned for one; and their end. */
#include <bpf/bpf.h>
#include <stdlib.h>

#include "datapath/internal.h"

#define LEARNED_SWEEP_NS  10000000000u
#define RESOLVED_GRACE(d) ((uint64_t)(d)->o.learned_grace_ms * 1000000u)

#define BATCH 1024

struct batch {
	struct eg_learned_key key[BATCH];
	struct eg_learned value[BATCH];
};

static void remove_one(struct eg_datapath *d, const struct eg_learned_key *k)
{
	uint32_t count;

	if (bpf_map_delete_elem(d->map[EG_MAP_LEARNED], k))
		return;
	/* The kernel may count at this moment; one too many or too few does no harm, and the
	 * quota's purpose is the order of magnitude. */
	if (!bpf_map_lookup_elem(d->map[EG_MAP_LEARNED_COUNT], &k->ifindex, &count) && count) {
		count--;
		bpf_map_update_elem(d->map[EG_MAP_LEARNED_COUNT], &k->ifindex, &count, BPF_EXIST);
	}
}

/*
 * Removes from `learned` what f says, and makes learned_count right again. In batches: entry by
 * entry a full map would hold the caller, whose heartbeat is due, for longer than it may.
 */
int eg_learned_remove_if(struct eg_datapath *d,
			 bool (*f)(void *context, const struct eg_learned_key *k,
				   const struct eg_learned *l),
			 void *context)
{
	EG_CLEANUP_FREE struct batch *b = malloc(sizeof(*b));
	uint32_t token, *at = NULL;
	int r;

	if (!b)
		return -ENOMEM;
	do {
		uint32_t count = BATCH;

		r = bpf_map_lookup_batch(d->map[EG_MAP_LEARNED], at, &token, b->key, b->value,
					 &count, NULL)
			    ? -errno
			    : 0;
		if (r && r != -ENOENT) /* ENOENT: these were the last */
			return r;
		for (uint32_t i = 0; i < count; i++)
			if (f(context, &b->key[i], &b->value[i]))
				remove_one(d, &b->key[i]);
		at = &token;
	} while (!r);
	return 0;
}

/* ---- addresses of names ---- */

int eg_datapath_set_resolved(struct eg_datapath *d, uint32_t name_id,
			     const struct eg_address *addresses, size_t count, uint64_t ttl_ms,
			     size_t *refused, struct eg_error *error)
{
	uint64_t until = eg_now_ns() + EG_MIN(ttl_ms, 86400000u) * 1000000u + RESOLVED_GRACE(d);
	size_t out = 0;
	int r = 0;

	for (size_t i = 0; !r && i < count; i++) {
		struct eg_place p = {
			.address = addresses[i],
			.bits = 128,
			.value = {.name_id = name_id,
				  .origin = EG_DESTINATION_RESOLVED,
				  .expires_ns = until},
		};

		if (eg_address_never_governed(&addresses[i]) ||
		    eg_places_excluded(d, &addresses[i]))
			out++;
		else
			r = eg_places_add(d, &p);
	}
	if (refused)
		*refused = out;
	return r ? eg_error_set(error, r, "cannot store an address of a name: %s",
				r == -ENOSPC ? "the map is full" : strerror(-r))
		 : 0;
}

static bool is_pod_address(struct eg_datapath *d, const struct eg_address *a)
{
	uint32_t ifindex;

	return !bpf_map_lookup_elem(d->map[EG_MAP_POD_LINKS], a, &ifindex);
}

int eg_datapath_learn(struct eg_datapath *d, uint32_t ifindex, uint32_t name_id,
		      const struct eg_address *addresses, size_t count, uint64_t ttl_ms,
		      struct eg_error *error)
{
	struct eg_learned value = {.name_id = name_id, .from = EG_LEARNED_EVENT};
	uint32_t had = 0;

	if (!eg_name_by_id(d, name_id))
		return eg_error_set(error, -EINVAL, "no watched name has the number %u", name_id);
	value.expires_ns = eg_now_ns() + EG_MIN(ttl_ms, 86400000u) * 1000000u + RESOLVED_GRACE(d);
	for (size_t i = 0; i < count; i++) {
		struct eg_learned_key key = {.ifindex = ifindex, .address = addresses[i]};
		struct eg_learned old;

		if (eg_address_never_governed(&addresses[i]) ||
		    eg_places_excluded(d, &addresses[i]) || is_pod_address(d, &addresses[i]))
			continue;
		if (bpf_map_lookup_elem(d->map[EG_MAP_LEARNED], &key, &old)) {
			if (bpf_map_lookup_elem(d->map[EG_MAP_LEARNED_COUNT], &ifindex, &had))
				had = 0;
			if (had >= EG_LEARN_QUOTA)
				return eg_error_set(error, -EDQUOT,
						    "link %u has taught %u addresses already",
						    ifindex, had);
			had++;
			bpf_map_update_elem(d->map[EG_MAP_LEARNED_COUNT], &ifindex, &had, BPF_ANY);
		}
		if (bpf_map_update_elem(d->map[EG_MAP_LEARNED], &key, &value, BPF_ANY))
			return eg_error_set(error, -errno,
					    "cannot store what link %u was taught: %s", ifindex,
					    strerror(errno));
	}
	return 0;
}

/* ---- what expires ---- */

static bool place_expired(void *context, const struct eg_place *p)
{
	return p->value.origin == EG_DESTINATION_RESOLVED && p->value.expires_ns &&
	       p->value.expires_ns < *(const uint64_t *)context;
}

static bool learned_expired(void *context, const struct eg_learned_key *k,
			    const struct eg_learned *l)
{
	(void)k;
	return l->expires_ns && l->expires_ns < *(const uint64_t *)context;
}

/* As the programs have it (bpf/lib/classify.h): time stands still while no agent is alive. */
static uint64_t expiry_clock_ns(const struct eg_datapath *d, uint64_t now)
{
	uint64_t beat = __atomic_load_n(&d->config->heartbeat_ns, __ATOMIC_ACQUIRE);

	return EG_MIN(now, beat + d->config->heartbeat_max_ns);
}

int eg_mapsync_sweep(struct eg_datapath *d, struct eg_error *error)
{
	uint64_t now = eg_now_ns(), clock = expiry_clock_ns(d, now);
	int r = eg_places_remove_if(d, place_expired, &clock);

	/* Here the programs look at expires_ns themselves, and removing is housekeeping. */
	if (!r && now >= d->learned_sweep_ns) {
		d->learned_sweep_ns = now + LEARNED_SWEEP_NS;
		r = eg_learned_remove_if(d, learned_expired, &clock);
	}
	if (r)
		return eg_error_set(error, r, "cannot remove expired addresses: %s", strerror(-r));
	r = eg_counters_sweep(d);
	return r ? eg_error_set(error, r, "cannot add up the counters of pods that are gone: %s",
				strerror(-r))
		 : 0;
}

static bool learned_of_link(void *context, const struct eg_learned_key *k,
			    const struct eg_learned *l)
{
	(void)l;
	return k->ifindex == *(const uint32_t *)context;
}

/*
 * Its flows stay: they are keyed by the ifindex, which the kernel does not give again soon, the map
 * drops the oldest by itself, and walking it would take long.
 */
void eg_mapsync_forget_link(struct eg_datapath *d, uint32_t ifindex)
{
	if (eg_learned_remove_if(d, learned_of_link, &ifindex))
		return; /* the next sweep does it */
	bpf_map_delete_elem(d->map[EG_MAP_LEARNED_COUNT], &ifindex);
	bpf_map_delete_elem(d->map[EG_MAP_EVENT_RATE], &ifindex);
}
