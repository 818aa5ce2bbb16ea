/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Destinations: the table that destinations4 and destinations6 are made from. Several claims may
 * stand on one prefix (a CIDR of the policy, two names that resolve to one address); the map has
 * one value for a prefix, the first claim in order. Sorted by prefix, then by rank.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <stdlib.h>

#include "datapath/internal.h"

/* What the policy names beats what is excluded, and that what a name resolved to. */
static int rank(uint8_t origin)
{
	switch ((enum eg_destination_origin)origin) {
	case EG_DESTINATION_GATEWAY:
		return 0;
	case EG_DESTINATION_CIDR:
		return 1;
	case EG_DESTINATION_EXCLUDED:
		return 2;
	case EG_DESTINATION_RESOLVED:
		return 3;
	}
	return 4;
}

static int compare_prefix(const struct eg_place *a, const struct eg_place *b)
{
	int r = memcmp(&a->address, &b->address, sizeof(a->address));

	return r ? r : (int)a->bits - (int)b->bits;
}

static int compare(const struct eg_place *a, const struct eg_place *b)
{
	int r = compare_prefix(a, b);

	if (!r)
		r = rank(a->value.origin) - rank(b->value.origin);
	if (!r)
		r = a->value.name_id < b->value.name_id ? -1 : a->value.name_id > b->value.name_id;
	return r;
}

/* Index of the first place that is not before `p`. */
static size_t lower_bound(const struct eg_datapath *d, const struct eg_place *p)
{
	size_t low = 0, high = d->place_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(&d->places[middle], p) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int map_and_key(struct eg_datapath *d, const struct eg_place *p, struct eg_lpm4 *k4,
		       struct eg_lpm6 *k6, const void **key)
{
	if (eg_address_is4(&p->address) && p->bits >= 96) {
		*k4 = (struct eg_lpm4){(uint32_t)p->bits - 96, p->address.word_be[3]};
		*key = k4;
		return d->map[EG_MAP_DESTINATIONS4];
	}
	k6->prefix_bits = p->bits;
	memcpy(k6->address_be, &p->address, sizeof(k6->address_be));
	*key = k6;
	return d->map[EG_MAP_DESTINATIONS6];
}

/* Makes the map's value of the prefix that the place `at` (or, when none is left, `was`) has. */
static int write_prefix(struct eg_datapath *d, const struct eg_place *was)
{
	struct eg_place probe = *was;
	struct eg_destination value;
	struct eg_lpm4 k4;
	struct eg_lpm6 k6;
	const void *key;
	size_t i;
	int map;

	probe.value.origin = EG_DESTINATION_GATEWAY; /* the lowest rank */
	probe.value.name_id = 0;
	i = lower_bound(d, &probe);
	map = map_and_key(d, was, &k4, &k6, &key);
	if (i == d->place_count || compare_prefix(&d->places[i], was)) {
		if (bpf_map_delete_elem(map, key) && errno != ENOENT)
			return -errno;
		return 0;
	}
	value = d->places[i].value;
	/* Names that share an address: governed while one of them has it. */
	for (size_t k = i + 1; k < d->place_count && !compare_prefix(&d->places[k], was); k++)
		if (value.origin == EG_DESTINATION_RESOLVED &&
		    d->places[k].value.expires_ns > value.expires_ns)
			value.expires_ns = d->places[k].value.expires_ns;
	return bpf_map_update_elem(map, key, &value, BPF_ANY) ? -errno : 0;
}

int eg_places_add(struct eg_datapath *d, const struct eg_place *p)
{
	size_t i = lower_bound(d, p);

	if (i < d->place_count && !compare(&d->places[i], p)) {
		if (p->value.expires_ns > d->places[i].value.expires_ns || !p->value.expires_ns)
			d->places[i].value.expires_ns = p->value.expires_ns;
		d->places[i].stale = false;
		return write_prefix(d, p);
	}
	if (d->place_count == d->place_room) {
		size_t room = d->place_room ? d->place_room * 2 : 256;
		struct eg_place *bigger = reallocarray(d->places, room, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		d->places = bigger;
		d->place_room = room;
	}
	memmove(&d->places[i + 1], &d->places[i], (d->place_count - i) * sizeof(*d->places));
	d->places[i] = *p;
	d->place_count++;
	return write_prefix(d, p);
}

int eg_places_remove_if(struct eg_datapath *d, bool (*f)(void *context, const struct eg_place *p),
			void *context)
{
	int first = 0;

	for (size_t i = 0; i < d->place_count;) {
		struct eg_place gone = d->places[i];
		int r;

		if (!f(context, &gone)) {
			i++;
			continue;
		}
		d->place_count--;
		memmove(&d->places[i], &d->places[i + 1],
			(d->place_count - i) * sizeof(*d->places));
		r = write_prefix(d, &gone);
		if (r && !first)
			first = r;
	}
	return first;
}

bool eg_address_in(const struct eg_address *a, const struct eg_address *prefix, unsigned int bits)
{
	for (int i = 0; i < 4 && bits; i++) {
		unsigned int n = EG_MIN(bits, 32U);
		uint32_t mask = n == 32 ? 0xffffffffu : ~(0xffffffffu >> n);

		if ((ntohl(a->word_be[i]) ^ ntohl(prefix->word_be[i])) & mask)
			return false;
		bits -= n;
	}
	return true;
}

void eg_address_mask(struct eg_address *a, unsigned int bits)
{
	for (int i = 0; i < 4; i++) {
		unsigned int n = EG_MIN(bits, 32U);
		uint32_t mask = n == 32 ? 0xffffffffu : ~(0xffffffffu >> n);

		a->word_be[i] &= htonl(mask);
		bits -= n;
	}
}

bool eg_places_excluded(const struct eg_datapath *d, const struct eg_address *a)
{
	const struct eg_place *best = NULL;

	for (size_t i = 0; i < d->place_count; i++) {
		const struct eg_place *p = &d->places[i];

		if (p->value.origin == EG_DESTINATION_RESOLVED ||
		    !eg_address_in(a, &p->address, p->bits))
			continue;
		if (!best || p->bits > best->bits ||
		    (p->bits == best->bits && rank(p->value.origin) < rank(best->value.origin)))
			best = p;
	}
	return best && best->value.origin == EG_DESTINATION_EXCLUDED;
}

/* In order a range stands before what is in it, the wider one first. */
void eg_places_mark_excluded(struct eg_datapath *d)
{
	const struct eg_place *around[129]; /* one of each length at most */
	size_t depth = 0;

	for (size_t i = 0; i < d->place_count; i++) {
		struct eg_place *p = &d->places[i];

		while (depth && !eg_address_in(&p->address, &around[depth - 1]->address,
					       around[depth - 1]->bits))
			depth--;
		if (p->value.origin == EG_DESTINATION_RESOLVED)
			p->stale =
				depth && around[depth - 1]->value.origin == EG_DESTINATION_EXCLUDED;
		else if (!depth || compare_prefix(around[depth - 1], p))
			around[depth++] = p;
	}
}

bool eg_address_never_governed(const struct eg_address *a)
{
	uint32_t first = ntohl(a->word_be[0]), last = ntohl(a->word_be[3]);

	if (eg_address_is4(a))
		return !(last >> 24) || last >> 24 == 127 || last >> 16 == 0xa9fe ||
		       last >> 28 >= 14;
	if (!a->word_be[0] && !a->word_be[1] && (!a->word_be[2] || a->word_be[2] == htonl(0xffff)))
		return true; /* unspecified, loopback, IPv4-compatible */
	return first >> 24 == 0xff || (first & 0xff800000) == 0xfe800000 || first >> 16 == 0x2002;
}
