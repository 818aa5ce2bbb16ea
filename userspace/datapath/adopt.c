/* SPDX-License-Identifier: Apache-2.0 */
/* The maps at start: what an earlier start left in them is taken over, the options are written. */
#include <bpf/bpf.h>
#include <stdlib.h>
#include <sys/random.h>

#include "datapath/internal.h"

/* ---- every entry of a map, whatever is deleted meanwhile ---- */

void eg_walk_fini(struct eg_walk *w)
{
	free(w->keys);
}

/* Copies all keys first: deleting while walking makes a hash map start again. */
int eg_walk_keys(int map, size_t key_bytes, struct eg_walk *w)
{
	const void *previous = NULL;
	char *at;

	for (;;) {
		if (w->count == w->room) {
			size_t room = w->room ? w->room * 2 : 256;
			void *bigger = reallocarray(w->keys, room, key_bytes);

			if (!bigger)
				return -ENOMEM;
			w->keys = bigger;
			w->room = room;
			previous = w->count ? (char *)w->keys + (w->count - 1) * key_bytes : NULL;
		}
		at = (char *)w->keys + w->count * key_bytes;
		if (bpf_map_get_next_key(map, previous, at))
			return errno == ENOENT ? 0 : -errno;
		w->count++;
		previous = at;
		if (w->count > 1U << 22)
			return 0; /* somebody fills it faster than we read */
	}
}

static int adopt_names(struct eg_datapath *d)
{
	EG_CLEANUP_WALK struct eg_walk w = {0};
	int r = eg_walk_keys(d->map[EG_MAP_WATCHED_NAMES], sizeof(struct eg_name_key), &w);
	const struct eg_name_key *key = w.keys;

	for (size_t i = 0; !r && i < w.count; i++) {
		struct eg_known_name *n;
		struct eg_name value;

		if (bpf_map_lookup_elem(d->map[EG_MAP_WATCHED_NAMES], &key[i], &value))
			continue;
		n = eg_name_new(d);
		if (!n)
			return -ENOMEM;
		n->hash = key[i].hash;
		n->name = value;
		n->watched = true;
		if (value.name_id >= d->next_name_id)
			d->next_name_id = value.name_id + 1;
	}
	return r;
}

/*
 * An address of a name that ran out meanwhile did so while nobody was there to resolve the name
 * again, and one that has a moment left has only that for it. Both count as resolved now: else the
 * destination would be open until the name is.
 */
static void renew(const struct eg_datapath *d, struct eg_destination *v)
{
	uint64_t least = eg_now_ns() + d->o.learned_grace_ms * 1000000ull;

	if (v->origin == EG_DESTINATION_RESOLVED && v->expires_ns && v->expires_ns < least)
		v->expires_ns = least;
}

static int adopt_places(struct eg_datapath *d, enum eg_map_id id)
{
	bool four = id == EG_MAP_DESTINATIONS4;
	size_t bytes = four ? sizeof(struct eg_lpm4) : sizeof(struct eg_lpm6);
	EG_CLEANUP_WALK struct eg_walk w = {0};
	int r = eg_walk_keys(d->map[id], bytes, &w);

	for (size_t i = 0; !r && i < w.count; i++) {
		const void *key = (const char *)w.keys + i * bytes;
		struct eg_place p = {0};

		if (bpf_map_lookup_elem(d->map[id], key, &p.value))
			continue;
		renew(d, &p.value);
		if (four) {
			const struct eg_lpm4 *k = key;

			p.address = eg_address_from4(k->address_be);
			p.bits = (uint8_t)(k->prefix_bits + 96);
		} else {
			const struct eg_lpm6 *k = key;

			memcpy(&p.address, k->address_be, sizeof(p.address));
			p.bits = (uint8_t)k->prefix_bits;
		}
		r = eg_places_add(d, &p);
	}
	return r;
}

/* Numbers that pods, policies and names had must not be given again while counters show them. */
static int adopt_numbers(struct eg_datapath *d)
{
	EG_CLEANUP_WALK struct eg_walk counters = {0};
	EG_CLEANUP_WALK struct eg_walk verdicts = {0};
	EG_CLEANUP_WALK struct eg_walk pods = {0};
	EG_CLEANUP_WALK struct eg_walk host_pods = {0};
	int r = eg_walk_keys(d->map[EG_MAP_COUNTERS], sizeof(struct eg_counter_key), &counters);

	for (size_t i = 0; !r && i < counters.count; i++) {
		const struct eg_counter_key *k = (const struct eg_counter_key *)counters.keys + i;

		if (k->pod_id != EG_POD_GONE)
			d->next_pod_id = EG_MAX(d->next_pod_id, k->pod_id + 1);
		d->next_name_id = EG_MAX(d->next_name_id, k->name_id + 1);
	}
	if (!r)
		r = eg_walk_keys(d->map[EG_MAP_VERDICTS], sizeof(struct eg_verdict_key), &verdicts);
	for (size_t i = 0; !r && i < verdicts.count; i++) {
		const struct eg_verdict_key *k = (const struct eg_verdict_key *)verdicts.keys + i;

		d->next_policy_id = EG_MAX(d->next_policy_id, k->policy_id + 1);
	}
	if (!r)
		r = eg_walk_keys(d->map[EG_MAP_PODS], sizeof(uint32_t), &pods);
	for (size_t i = 0; !r && i < pods.count; i++) {
		struct eg_pod pod;

		if (bpf_map_lookup_elem(d->map[EG_MAP_PODS], (const uint32_t *)pods.keys + i, &pod))
			continue;
		d->next_pod_id = EG_MAX(d->next_pod_id, pod.pod_id + 1);
		d->next_policy_id = EG_MAX(d->next_policy_id, pod.policy_id + 1);
	}
	if (!r && d->map[EG_MAP_HOST_PODS] >= 0)
		r = eg_walk_keys(d->map[EG_MAP_HOST_PODS], sizeof(uint64_t), &host_pods);
	for (size_t i = 0; !r && i < host_pods.count; i++) {
		struct eg_pod pod;

		if (bpf_map_lookup_elem(d->map[EG_MAP_HOST_PODS],
					(const uint64_t *)host_pods.keys + i, &pod))
			continue;
		d->next_pod_id = EG_MAX(d->next_pod_id, pod.pod_id + 1);
		d->next_policy_id = EG_MAX(d->next_policy_id, pod.policy_id + 1);
	}
	return r;
}

static int set_resolvers(struct eg_datapath *d)
{
	EG_CLEANUP_WALK struct eg_walk w = {0};
	uint32_t one = 1;
	int r;

	for (size_t i = 0; i < d->o.resolver_count; i++)
		if (bpf_map_update_elem(d->map[EG_MAP_RESOLVERS], &d->o.resolvers[i], &one,
					BPF_ANY))
			return -errno;
	r = eg_walk_keys(d->map[EG_MAP_RESOLVERS], sizeof(struct eg_address), &w);
	for (size_t i = 0; !r && i < w.count; i++) {
		const struct eg_address *a = (const struct eg_address *)w.keys + i;
		bool keep = false;

		for (size_t k = 0; k < d->o.resolver_count; k++)
			keep |= !memcmp(a, &d->o.resolvers[k], sizeof(*a));
		if (!keep)
			bpf_map_delete_elem(d->map[EG_MAP_RESOLVERS], a);
	}
	return r;
}

static int add_gateway(struct eg_datapath *d)
{
	struct eg_place p = {.bits = 128, .value.origin = EG_DESTINATION_GATEWAY};
	int r = 0;

	if (d->o.gateway4_be) {
		p.address = eg_address_from4(d->o.gateway4_be);
		r = eg_places_add(d, &p);
	}
	memcpy(&p.address, d->o.gateway6_be, sizeof(p.address));
	if (!r && (d->o.gateway6_be[0] || d->o.gateway6_be[3]))
		r = eg_places_add(d, &p);
	return r;
}

/* The gateway of an earlier start that this one does not have. */
static bool is_old_gateway(void *context, const struct eg_place *p)
{
	(void)context;
	return p->value.origin == EG_DESTINATION_GATEWAY;
}

static int set_config(struct eg_datapath *d)
{
	struct eg_config *c = d->config;
	const struct eg_datapath_options *o = &d->o;

	if (!d->adopted || !c->name_hash_base) {
		uint64_t random[2];

		if (getrandom(random, sizeof(random), 0) != sizeof(random))
			return -EIO;
		c->name_hash_base = random[0] | 1;
		c->stamp = (uint16_t)(random[1] ? random[1] | 1 : 1);
	}
	c->heartbeat_max_ns = o->heartbeat_max_ms * 1000000ull;
	c->down_grace_ns = o->down_grace_ms * 1000000ull;
	c->hold_grace_ns = o->hold_grace_ms * 1000000ull;
	c->learned_grace_ns = o->learned_grace_ms * 1000000ull;
	/* In this order the one who hands over is in the set all the time. */
	__atomic_store_n(&c->agent_cgroup[1], d->former_cgroup, __ATOMIC_RELEASE);
	__atomic_store_n(&c->agent_cgroup[0], o->agent_cgroup, __ATOMIC_RELEASE);
	/* mode, mark and mark_mask: when the way in is made, eg_datapath_open(). */
	c->fail_policy = (uint8_t)o->fail_policy;
	c->guard_host_deny = o->guard_host_deny;
	c->any_resolver = !o->resolver_count;
	c->unknown_pods = (uint8_t)o->unknown_pods;
	c->gateway4_be = o->gateway4_be;
	memcpy(c->gateway6_be, o->gateway6_be, sizeof(c->gateway6_be));
	c->abi_version = EG_ABI_VERSION;
	return 0;
}

int eg_mapsync_open(struct eg_datapath *d, struct eg_error *error)
{
	int r;

	d->next_name_id = d->next_pod_id = d->next_policy_id = 1;
	r = set_config(d);
	if (!r)
		r = adopt_names(d);
	if (!r)
		r = adopt_places(d, EG_MAP_DESTINATIONS4);
	if (!r)
		r = adopt_places(d, EG_MAP_DESTINATIONS6);
	if (!r)
		r = adopt_numbers(d);
	if (!r)
		r = set_resolvers(d);
	if (!r)
		r = eg_counters_open(d);
	if (!r)
		r = eg_places_remove_if(d, is_old_gateway, NULL);
	if (!r)
		r = add_gateway(d);
	/* Last: with it the programs begin to judge. */
	if (!r)
		__atomic_store_n(&d->config->enabled, !eg_observes(d), __ATOMIC_RELEASE);
	return r ? eg_error_set(error, r, "cannot fill the maps in %s: %s", d->pin_dir,
				strerror(-r))
		 : 0;
}

void eg_mapsync_close(struct eg_datapath *d)
{
	free(d->places);
	free(d->names);
	free(d->stale_verdicts);
	d->places = NULL;
	d->names = NULL;
	d->stale_verdicts = NULL;
	d->place_count = d->name_count = d->stale_verdict_count = 0;
	d->place_room = d->name_room = 0;
}
