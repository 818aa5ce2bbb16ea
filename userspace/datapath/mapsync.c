/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps names, destinations and verdicts equal to the policy. */
#include <bpf/bpf.h>
#include <stdlib.h>

#include "datapath/internal.h"
#include "egret/abi/name_hash.h"

/* ---- names ---- */

struct eg_known_name *eg_name_by_id(struct eg_datapath *d, uint32_t id)
{
	for (size_t i = 0; i < d->name_count; i++)
		if (d->names[i].name.name_id == id)
			return &d->names[i];
	return NULL;
}

struct eg_known_name *eg_name_new(struct eg_datapath *d)
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
	n = eg_name_new(d);
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
	struct eg_walk w = {0};
	size_t kept = 0;
	int r;

	sorted = calloc(p->verdict_count + 1, sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	if (p->verdict_count)
		memcpy(sorted, p->verdicts, p->verdict_count * sizeof(*sorted));
	qsort(sorted, p->verdict_count, sizeof(*sorted), compare_rule);
	r = eg_walk_keys(d->map[EG_MAP_VERDICTS], sizeof(*key), &w);
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
		struct eg_known_name *n = eg_name_by_id(d, p->names[i]);
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
	n = eg_name_by_id(d, p->value.name_id);
	return !n || n->stale;
}

static bool is_excluded(void *context, const struct eg_place *p)
{
	(void)context;
	return p->value.origin == EG_DESTINATION_RESOLVED && p->stale;
}

static bool learned_is_stale(void *context, const struct eg_learned_key *k,
			     const struct eg_learned *l)
{
	struct eg_known_name *n = eg_name_by_id(context, l->name_id);

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
	eg_places_mark_excluded(d);
	if (!r)
		r = eg_places_remove_if(d, is_excluded, NULL);
	if (!r)
		r = eg_learned_remove_if(d, learned_is_stale, d);
	for (size_t i = 0; !r && i < d->stale_verdict_count; i++)
		bpf_map_delete_elem(d->map[EG_MAP_VERDICTS], &d->stale_verdicts[i]);
	d->stale_verdict_count = 0;
	return r ? eg_error_set(error, r, "cannot remove what the policy no longer has: %s",
				strerror(-r))
		 : 0;
}
