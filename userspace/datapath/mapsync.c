/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the maps equal to the policy, and takes over what an earlier start left in them. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "datapath/internal.h"
#include "egret/abi/name_hash.h"

#define RESOLVED_GRACE(d) ((uint64_t)(d)->o.learned_grace_ms * 1000000u)

/* ---- every entry of a map, whatever is deleted meanwhile ---- */

struct walk {
	void *keys;
	size_t count, room;
};

/* Copies all keys first: deleting while walking makes a hash map start again. */
static int walk_keys(int map, size_t key_bytes, struct walk *w)
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

/* ---- names ---- */

static struct eg_known_name *name_by_id(struct eg_datapath *d, uint32_t id)
{
	for (size_t i = 0; i < d->name_count; i++)
		if (d->names[i].name.name_id == id)
			return &d->names[i];
	return NULL;
}

static struct eg_known_name *name_new(struct eg_datapath *d)
{
	if (d->name_count == d->name_room) {
		size_t room = d->name_room ? d->name_room * 2 : 64;
		struct eg_known_name *bigger = reallocarray(d->names, room, sizeof(*bigger));

		if (!bigger)
			return NULL;
		d->names = bigger;
		d->name_room = room;
	}
	d->names[d->name_count] = (struct eg_known_name){0};
	return &d->names[d->name_count++];
}

uint32_t eg_datapath_name_id(struct eg_datapath *d, const char *text)
{
	struct eg_known_name *n;
	uint64_t hash;
	uint8_t suffix;

	if (eg_name_hash(text, d->config->name_hash_base, (__u64 *)&hash, &suffix))
		return 0;
	for (size_t i = 0; i < d->name_count; i++)
		if (d->names[i].hash == hash && d->names[i].name.suffix == suffix)
			return d->names[i].name.name_id;
	n = name_new(d);
	if (!n)
		return 0;
	n->hash = hash;
	n->name.name_id = d->next_name_id++;
	n->name.suffix = suffix;
	eg_str_copy(n->name.text, sizeof(n->name.text), eg_str_from(text));
	return n->name.name_id;
}

uint32_t eg_datapath_new_pod_id(struct eg_datapath *d)
{
	return d->next_pod_id++;
}

uint32_t eg_datapath_new_policy_id(struct eg_datapath *d)
{
	return d->next_policy_id++;
}

/* ---- taking over ---- */

static int adopt_names(struct eg_datapath *d)
{
	EG_CLEANUP_FREE void *keys = NULL;
	struct walk w = {0};
	int r = walk_keys(d->map[EG_MAP_WATCHED_NAMES], sizeof(struct eg_name_key), &w);
	const struct eg_name_key *key = w.keys;

	keys = w.keys;
	for (size_t i = 0; !r && i < w.count; i++) {
		struct eg_known_name *n;
		struct eg_name value;

		if (bpf_map_lookup_elem(d->map[EG_MAP_WATCHED_NAMES], &key[i], &value))
			continue;
		n = name_new(d);
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

static int adopt_places(struct eg_datapath *d, enum eg_map_id id)
{
	bool four = id == EG_MAP_DESTINATIONS4;
	size_t bytes = four ? sizeof(struct eg_lpm4) : sizeof(struct eg_lpm6);
	EG_CLEANUP_FREE void *keys = NULL;
	struct walk w = {0};
	int r = walk_keys(d->map[id], bytes, &w);

	keys = w.keys;
	for (size_t i = 0; !r && i < w.count; i++) {
		const void *key = (const char *)w.keys + i * bytes;
		struct eg_place p = {0};

		if (bpf_map_lookup_elem(d->map[id], key, &p.value))
			continue;
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
	EG_CLEANUP_FREE void *k1 = NULL;
	EG_CLEANUP_FREE void *k2 = NULL;
	EG_CLEANUP_FREE void *k3 = NULL;
	struct walk counters = {0}, verdicts = {0}, pods = {0};
	int r = walk_keys(d->map[EG_MAP_COUNTERS], sizeof(struct eg_counter_key), &counters);

	k1 = counters.keys;
	for (size_t i = 0; !r && i < counters.count; i++) {
		const struct eg_counter_key *k = (const struct eg_counter_key *)counters.keys + i;

		d->next_pod_id = EG_MAX(d->next_pod_id, k->pod_id + 1);
		d->next_name_id = EG_MAX(d->next_name_id, k->name_id + 1);
	}
	if (!r)
		r = walk_keys(d->map[EG_MAP_VERDICTS], sizeof(struct eg_verdict_key), &verdicts);
	k2 = verdicts.keys;
	for (size_t i = 0; !r && i < verdicts.count; i++) {
		const struct eg_verdict_key *k = (const struct eg_verdict_key *)verdicts.keys + i;

		d->next_policy_id = EG_MAX(d->next_policy_id, k->policy_id + 1);
	}
	if (!r)
		r = walk_keys(d->map[EG_MAP_PODS], sizeof(uint32_t), &pods);
	k3 = pods.keys;
	for (size_t i = 0; !r && i < pods.count; i++) {
		struct eg_pod pod;

		if (bpf_map_lookup_elem(d->map[EG_MAP_PODS], (const uint32_t *)pods.keys + i, &pod))
			continue;
		d->next_pod_id = EG_MAX(d->next_pod_id, pod.pod_id + 1);
		d->next_policy_id = EG_MAX(d->next_policy_id, pod.policy_id + 1);
	}
	return r;
}

static int set_resolvers(struct eg_datapath *d)
{
	EG_CLEANUP_FREE void *keys = NULL;
	struct walk w = {0};
	uint32_t one = 1;
	int r;

	for (size_t i = 0; i < d->o.resolver_count; i++)
		if (bpf_map_update_elem(d->map[EG_MAP_RESOLVERS], &d->o.resolvers[i], &one,
					BPF_ANY))
			return -errno;
	r = walk_keys(d->map[EG_MAP_RESOLVERS], sizeof(struct eg_address), &w);
	keys = w.keys;
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
	c->agent_cgroup[0] = o->agent_cgroup;
	c->agent_cgroup[1] = 0;
	c->mark = o->mark;
	c->mark_mask = o->mark_mask;
	c->mode = (uint8_t)o->mode;
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
		r = eg_places_remove_if(d, is_old_gateway, NULL);
	if (!r)
		r = add_gateway(d);
	/* Last: with it the programs begin to judge. */
	if (!r)
		__atomic_store_n(&d->config->enabled, !d->o.disabled, __ATOMIC_RELEASE);
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

/* ---- policy ---- */

static int set_verdicts(struct eg_datapath *d, const struct eg_datapath_policy *p)
{
	for (size_t i = 0; i < p->verdict_count; i++)
		if (bpf_map_update_elem(d->map[EG_MAP_VERDICTS], &p->verdicts[i].key,
					&p->verdicts[i].verdict, BPF_ANY))
			return -errno;
	return 0;
}

static int compare_rule(const void *a, const void *b)
{
	return memcmp(&((const struct eg_verdict_rule *)a)->key,
		      &((const struct eg_verdict_rule *)b)->key, sizeof(struct eg_verdict_key));
}

/* Which verdicts prune() is to remove: those in the map that the policy does not have. */
static int find_stale_verdicts(struct eg_datapath *d, const struct eg_datapath_policy *p)
{
	EG_CLEANUP_FREE struct eg_verdict_rule *sorted = NULL;
	struct eg_verdict_key *key;
	struct walk w = {0};
	size_t kept = 0;
	int r;

	sorted = calloc(p->verdict_count + 1, sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	if (p->verdict_count)
		memcpy(sorted, p->verdicts, p->verdict_count * sizeof(*sorted));
	qsort(sorted, p->verdict_count, sizeof(*sorted), compare_rule);
	r = walk_keys(d->map[EG_MAP_VERDICTS], sizeof(*key), &w);
	key = w.keys;
	for (size_t i = 0; i < w.count; i++) {
		struct eg_verdict_rule probe = {.key = key[i]};

		if (!bsearch(&probe, sorted, p->verdict_count, sizeof(*sorted), compare_rule))
			key[kept++] = key[i];
	}
	free(d->stale_verdicts);
	d->stale_verdicts = key;
	d->stale_verdict_count = kept;
	return r;
}

static int set_cidrs(struct eg_datapath *d, const struct eg_datapath_policy *p,
		     struct eg_error *error)
{
	for (size_t i = 0; i < d->place_count; i++) {
		uint8_t origin = d->places[i].value.origin;

		if (origin == EG_DESTINATION_CIDR || origin == EG_DESTINATION_EXCLUDED)
			d->places[i].stale = true;
	}
	for (size_t i = 0; i < p->cidr_count; i++) {
		const struct eg_cidr *c = &p->cidrs[i];
		bool four = eg_address_is4(&c->address);
		struct eg_place place = {
			.address = c->address,
			.bits = (uint8_t)(c->prefix_bits + (four ? 96 : 0)),
			.value.name_id = c->name_id,
			.value.origin = c->excluded ? EG_DESTINATION_EXCLUDED : EG_DESTINATION_CIDR,
		};
		char text[EG_ADDRESS_TEXT];
		int r;

		if (c->prefix_bits > (four ? 32 : 128))
			return eg_error_set(error, -EINVAL,
					    "%s/%u: the prefix has more bits than the "
					    "address",
					    eg_address_format(&c->address, text), c->prefix_bits);
		eg_address_mask(&place.address, place.bits);
		r = eg_places_add(d, &place);
		if (r)
			return eg_error_set(error, r, "cannot store the destination %s/%u: %s",
					    eg_address_format(&c->address, text), c->prefix_bits,
					    r == -ENOSPC ? "the map is full" : strerror(-r));
	}
	return 0;
}

static int set_names(struct eg_datapath *d, const struct eg_datapath_policy *p,
		     struct eg_error *error)
{
	for (size_t i = 0; i < d->name_count; i++)
		d->names[i].stale = true;
	for (size_t i = 0; i < p->name_count; i++) {
		struct eg_known_name *n = name_by_id(d, p->names[i]);
		struct eg_name_key key;

		if (!n)
			return eg_error_set(error, -EINVAL, "no watched name has the number %u",
					    p->names[i]);
		key.hash = n->hash;
		if (bpf_map_update_elem(d->map[EG_MAP_WATCHED_NAMES], &key, &n->name, BPF_ANY))
			return eg_error_set(error, -errno, "cannot watch the name %s: %s",
					    n->name.text,
					    errno == E2BIG ? "the map is full" : strerror(errno));
		n->stale = false;
		n->watched = true;
	}
	return 0;
}

int eg_datapath_set_policy(struct eg_datapath *d, const struct eg_datapath_policy *policy,
			   struct eg_error *error)
{
	int r;

	/* What judges comes before what brings packets to be judged. */
	r = set_verdicts(d, policy);
	if (!r)
		r = find_stale_verdicts(d, policy);
	if (r)
		return eg_error_set(error, r, "cannot store the verdicts: %s",
				    r == -E2BIG ? "the map is full" : strerror(-r));
	r = set_cidrs(d, policy, error);
	if (!r)
		r = set_names(d, policy, error);
	if (!r)
		__atomic_store_n(&d->config->generation, policy->generation, __ATOMIC_RELEASE);
	return r;
}

static bool is_stale(void *context, const struct eg_place *p)
{
	struct eg_datapath *d = context;
	struct eg_known_name *n;

	if (p->value.origin != EG_DESTINATION_RESOLVED)
		return p->stale;
	n = name_by_id(d, p->value.name_id);
	return !n || n->stale;
}

/* Removes from `learned` what f says, and makes learned_count right again. */
static int learned_remove_if(struct eg_datapath *d,
			     bool (*f)(void *context, const struct eg_learned_key *k,
				       const struct eg_learned *l),
			     void *context)
{
	EG_CLEANUP_FREE void *keys = NULL;
	struct walk w = {0};
	int r = walk_keys(d->map[EG_MAP_LEARNED], sizeof(struct eg_learned_key), &w);
	const struct eg_learned_key *k = w.keys;

	keys = w.keys;
	for (size_t i = 0; !r && i < w.count; i++) {
		struct eg_learned value;
		uint32_t count;

		if (bpf_map_lookup_elem(d->map[EG_MAP_LEARNED], &k[i], &value) ||
		    !f(context, &k[i], &value) ||
		    bpf_map_delete_elem(d->map[EG_MAP_LEARNED], &k[i]))
			continue;
		/* The kernel may count at this moment; one too many or too few does no harm, and
		 * the quota's purpose is the order of magnitude. */
		if (!bpf_map_lookup_elem(d->map[EG_MAP_LEARNED_COUNT], &k[i].ifindex, &count) &&
		    count) {
			count--;
			bpf_map_update_elem(d->map[EG_MAP_LEARNED_COUNT], &k[i].ifindex, &count,
					    BPF_EXIST);
		}
	}
	return r;
}

static bool learned_is_stale(void *context, const struct eg_learned_key *k,
			     const struct eg_learned *l)
{
	struct eg_known_name *n = name_by_id(context, l->name_id);

	(void)k;
	return !n || n->stale || !n->watched;
}

int eg_datapath_prune(struct eg_datapath *d, struct eg_error *error)
{
	int r;

	/* What brings packets to be judged goes before what judges them. */
	for (size_t i = 0; i < d->name_count; i++) {
		struct eg_name_key key = {.hash = d->names[i].hash};

		if (!d->names[i].stale || !d->names[i].watched)
			continue;
		bpf_map_delete_elem(d->map[EG_MAP_WATCHED_NAMES], &key);
		d->names[i].watched = false;
	}
	r = eg_places_remove_if(d, is_stale, d);
	if (!r)
		r = learned_remove_if(d, learned_is_stale, d);
	for (size_t i = 0; !r && i < d->stale_verdict_count; i++)
		bpf_map_delete_elem(d->map[EG_MAP_VERDICTS], &d->stale_verdicts[i]);
	d->stale_verdict_count = 0;
	return r ? eg_error_set(error, r, "cannot remove what the policy no longer has: %s",
				strerror(-r))
		 : 0;
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

	if (!name_by_id(d, name_id))
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

int eg_mapsync_sweep(struct eg_datapath *d, struct eg_error *error)
{
	uint64_t now = eg_now_ns();
	int r = eg_places_remove_if(d, place_expired, &now);

	if (!r)
		r = learned_remove_if(d, learned_expired, &now);
	return r ? eg_error_set(error, r, "cannot remove expired addresses: %s", strerror(-r)) : 0;
}

static bool learned_of_link(void *context, const struct eg_learned_key *k,
			    const struct eg_learned *l)
{
	(void)l;
	return k->ifindex == *(const uint32_t *)context;
}

static void forget_flows(struct eg_datapath *d, uint32_t ifindex)
{
	EG_CLEANUP_FREE void *keys = NULL;
	struct walk w = {0};
	const struct eg_flow_key *k;

	if (walk_keys(d->map[EG_MAP_FLOWS], sizeof(*k), &w))
		w.count = 0;
	keys = w.keys;
	k = w.keys;
	for (size_t i = 0; i < w.count; i++)
		if (k[i].ifindex == ifindex)
			bpf_map_delete_elem(d->map[EG_MAP_FLOWS], &k[i]);
}

void eg_mapsync_forget_link(struct eg_datapath *d, uint32_t ifindex)
{
	if (learned_remove_if(d, learned_of_link, &ifindex))
		return; /* the next sweep does it */
	bpf_map_delete_elem(d->map[EG_MAP_LEARNED_COUNT], &ifindex);
	bpf_map_delete_elem(d->map[EG_MAP_EVENT_RATE], &ifindex);
	forget_flows(d, ifindex);
}
