/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange/cooldown.h"

#define PROBES 8u

static uint64_t mix(uint64_t h, const char *s)
{
	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3u;
	return h;
}

/* By name, endpoint and secret: a reload that points a provider elsewhere, or a new key, begins
 * anew. */
static uint64_t key_of(const struct eg_provider *p, uint64_t secret)
{
	uint64_t h = mix(mix(0xcbf29ce484222325u, p->name) * 31, p->host) + p->port;

	h ^= secret * 0x9e3779b97f4a7c15u;

	return h ? h : 1;
}

static size_t place_of(uint64_t key, size_t probe)
{
	return (size_t)((key ^ key >> 29) + probe) % EG_COOLDOWNS;
}

static uint64_t load(const atomic_uint_fast64_t *v)
{
	return atomic_load_explicit(v, memory_order_acquire);
}

/* Nobody was ever in cooldown: so it is nearly always. */
static bool none(const struct eg_cooldowns *c)
{
	return !atomic_load_explicit(&c->used, memory_order_acquire);
}

/* Where the key stands, or EG_COOLDOWNS. */
static size_t find(const struct eg_cooldowns *c, uint64_t key)
{
	for (size_t i = 0; i < PROBES; i++)
		if (load(&c->place[place_of(key, i)].key) == key)
			return place_of(key, i);
	return EG_COOLDOWNS;
}

uint64_t eg_cooldowns_until(struct eg_cooldowns *c, const struct eg_provider *p, uint64_t secret,
			    uint64_t now_ms, bool *stated)
{
	size_t at = none(c) ? EG_COOLDOWNS : find(c, key_of(p, secret));
	uint64_t until = at < EG_COOLDOWNS ? load(&c->place[at].until) : 0;

	*stated = until & 1;
	return until / 2 > now_ms ? until / 2 : 0;
}

/* A place for a key that has none: free, or the one that ends first. */
static size_t claim(struct eg_cooldowns *c, uint64_t key)
{
	size_t best = place_of(key, 0);
	uint64_t old;

	for (size_t i = 1; i < PROBES; i++) {
		size_t at = place_of(key, i);

		if (load(&c->place[at].until) < load(&c->place[best].until))
			best = at;
	}
	/* The time goes first, so that the new key never stands beside the old one's. */
	atomic_store_explicit(&c->place[best].until, 0, memory_order_release);
	old = load(&c->place[best].key);
	if (!atomic_compare_exchange_strong(&c->place[best].key, &old, key) && old != key)
		return EG_COOLDOWNS; /* another worker was faster */
	return best;
}

void eg_cooldowns_set(struct eg_cooldowns *c, const struct eg_provider *p, uint64_t secret,
		      uint64_t now_ms, uint64_t for_ms, bool stated)
{
	uint64_t until = 2 * (now_ms + EG_MIN(for_ms, (uint64_t)EG_COOLDOWN_MAX_MS)) + stated, old;
	uint64_t key = key_of(p, secret);
	size_t at = find(c, key);

	if (none(c))
		atomic_store_explicit(&c->used, true, memory_order_release);

	if (at == EG_COOLDOWNS)
		at = claim(c, key);
	if (at == EG_COOLDOWNS)
		return;
	atomic_store_explicit(&c->place[at].set_ms, now_ms, memory_order_release);
	old = load(&c->place[at].until);
	while (old < until && !atomic_compare_exchange_weak(&c->place[at].until, &old, until))
		;
}

void eg_cooldowns_clear(struct eg_cooldowns *c, const struct eg_provider *p, uint64_t secret,
			uint64_t began_ms)
{
	size_t at = none(c) ? EG_COOLDOWNS : find(c, key_of(p, secret));

	if (at < EG_COOLDOWNS && load(&c->place[at].until) && load(&c->place[at].set_ms) < began_ms)
		atomic_store_explicit(&c->place[at].until, 0, memory_order_release);
}
