/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange/engine.h"

#include <endian.h>
#include <stdlib.h>
#include <sys/random.h>

#define EXCESS_LEAST (1u << 20) /* bytes of a pod that is not to blame for the others' */

const struct eg_limits eg_default_limits = {
	.request_body_bytes = 32u << 20,
	.pod_bytes = 64u << 20,
	.node_bytes = 512u << 20,
	.descriptors = 16384,
	.pod_descriptors = 4096,
	.handshake_ms = 10000,
	.tunnel_end_ms = 10000,
	.passed_connect_ms = 10000,
	.passed_idle_ms = 600000, /* as total_ms where policy says nothing */
	.head_ms = 15000,
	.idle_ms = 180000,
	.body_idle_ms = 30000,
	.write_idle_ms = 60000,
};

int eg_engine_init(struct eg_engine *e, struct eg_loop *loop, struct eg_upstream *upstream,
		   struct eg_telemetry *telemetry, const struct eg_limits *limits,
		   struct eg_cooldowns *cooldowns, struct eg_budgets *budgets, const char *tag)
{
	uint64_t random[2];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -errno;
	*e = (struct eg_engine){.loop = loop, .upstream = upstream, .telemetry = telemetry};
	eg_turns_init(&e->turns, loop);
	e->limits = *limits;
	e->cooldowns = cooldowns;
	e->budgets = budgets;
	e->tag = tag;
	e->id_high = random[0];
	e->id_low = random[1];
	return 0;
}

void eg_engine_fini(struct eg_engine *e)
{
	eg_exchange_spare_free(e);
	eg_snapshot_unref(e->snapshot);
	e->snapshot = NULL;
}

void eg_engine_publish(struct eg_engine *e, struct eg_snapshot *s)
{
	struct eg_snapshot *old = e->snapshot;

	e->snapshot = eg_snapshot_ref(s);
	eg_snapshot_unref(old);
}

/* ---- budgets ---- */

static struct eg_account **bucket(struct eg_engine *e, uint32_t pod_id)
{
	return &e->accounts[(pod_id * 2654435761u >> 16) % EG_ACCOUNT_BUCKETS];
}

struct eg_account *eg_account_acquire(struct eg_engine *e, uint32_t pod_id)
{
	struct eg_account **head = bucket(e, pod_id), *a;

	for (a = *head; a; a = a->next) {
		if (a->pod_id == pod_id) {
			a->users++;
			return a;
		}
	}
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->budget = eg_budgets_join(e->budgets, pod_id);
	if (!a->budget) {
		free(a);
		return NULL;
	}
	a->pod_id = pod_id;
	a->users = 1;
	a->next = *head;
	*head = a;
	return a;
}

void eg_account_release(struct eg_engine *e, struct eg_account *a)
{
	struct eg_account **at;

	if (!a || --a->users)
		return;
	for (at = bucket(e, a->pod_id); *at != a; at = &(*at)->next)
		;
	*at = a->next;
	for (size_t i = 0; i < EG_ACCOUNT_RECORDS; i++)
		eg_record_base_destroy(a->records[i].base);
	eg_budgets_leave(a->budget);
	free(a);
}

/* Of what both the pod and the node have a limit for: *held becomes `to`, or stays. */
static enum eg_reason adjust(atomic_size_t *pod, size_t pod_limit, atomic_size_t *node,
			     size_t node_limit, size_t *held, size_t to)
{
	if (to > *held) {
		size_t more = to - *held;

		if (pod && !eg_budget_take(pod, more, pod_limit))
			return EG_REASON_POD_BUDGET;
		if (!eg_budget_take(node, more, node_limit)) {
			if (pod)
				eg_budget_give(pod, more);
			return EG_REASON_OVERLOADED;
		}
	} else if (to < *held) {
		if (pod)
			eg_budget_give(pod, *held - to);
		eg_budget_give(node, *held - to);
	}
	*held = to;
	return EG_REASON_OK;
}

static enum eg_reason set_held(struct eg_engine *e, struct eg_account *a, size_t *held,
			       size_t bytes, size_t pod_limit, size_t node_limit)
{
	size_t before = *held;
	enum eg_reason r = adjust(a ? &a->budget->used.held_bytes : NULL, pod_limit,
				  &e->budgets->node.held_bytes, node_limit, held, bytes);

	if (e->telemetry && *held != before)
		eg_telemetry_gauge(e->telemetry, EG_GAUGE_HELD_BYTES,
				   (int64_t)*held - (int64_t)before);
	e->held_bytes += *held - before;
	return r;
}

enum eg_reason eg_account_hold(struct eg_engine *e, struct eg_account *a, size_t *held,
			       size_t bytes)
{
	return set_held(e, a, held, bytes, e->limits.pod_bytes, e->limits.node_bytes);
}

void eg_account_charge(struct eg_engine *e, struct eg_account *a, size_t *held, size_t bytes)
{
	(void)set_held(e, a, held, bytes, SIZE_MAX, SIZE_MAX);
}

static size_t held_by_pod(const struct eg_account *a)
{
	return a ? atomic_load_explicit(&a->budget->used.held_bytes, memory_order_relaxed) : 0;
}

static size_t held_by_all(const struct eg_engine *e)
{
	return atomic_load_explicit(&e->budgets->node.held_bytes, memory_order_relaxed);
}

enum eg_reason eg_account_state(const struct eg_engine *e, const struct eg_account *a)
{
	if (a && held_by_pod(a) >= e->limits.pod_bytes)
		return EG_REASON_POD_BUDGET;
	return held_by_all(e) >= e->limits.node_bytes ? EG_REASON_OVERLOADED : EG_REASON_OK;
}

bool eg_account_half(const struct eg_engine *e, const struct eg_account *a)
{
	return held_by_pod(a) >= e->limits.pod_bytes / 2 ||
	       held_by_all(e) >= e->limits.node_bytes / 2;
}

enum eg_reason eg_account_excess(const struct eg_engine *e, const struct eg_account *a)
{
	size_t pod = held_by_pod(a);

	if (pod > e->limits.pod_bytes + e->limits.pod_bytes / 4)
		return EG_REASON_POD_BUDGET;
	if (pod > EXCESS_LEAST && held_by_all(e) > e->limits.node_bytes + e->limits.node_bytes / 4)
		return EG_REASON_OVERLOADED;
	return EG_REASON_OK;
}

enum eg_reason eg_account_descriptors(struct eg_engine *e, struct eg_account *a, size_t *held,
				      size_t count)
{
	return adjust(a ? &a->budget->used.descriptors : NULL, e->limits.pod_descriptors,
		      &e->budgets->node.descriptors, e->limits.descriptors, held, count);
}

/* ---- cooldowns ---- */

static uint64_t secret_of(const struct eg_snapshot *s, const struct eg_provider *p)
{
	const struct eg_credential_spec *c = p->credential;
	const struct eg_secret *secret =
		c && c->type != EG_CREDENTIAL_NONE
			? eg_credential_set_get(eg_snapshot_credentials(s), c->index, NULL)
			: NULL;

	return secret ? eg_secret_serial(secret) : 0;
}

uint64_t eg_cooldown_until(const struct eg_engine *e, const struct eg_snapshot *s,
			   const struct eg_provider *p, bool *stated)
{
	return eg_cooldowns_until(e->cooldowns, p, secret_of(s, p), eg_loop_now_ms(e->loop),
				  stated);
}

void eg_cooldown_set(struct eg_engine *e, const struct eg_snapshot *s, const struct eg_provider *p,
		     enum eg_response_class how, uint64_t retry_after_ms)
{
	bool quota = how == EG_RESPONSE_QUOTA;
	uint64_t least = quota ? EG_COOLDOWN_QUOTA_MS : retry_after_ms ? 0 : EG_COOLDOWN_DEFAULT_MS;

	eg_cooldowns_set(e->cooldowns, p, secret_of(s, p), eg_loop_now_ms(e->loop),
			 EG_MAX(least, retry_after_ms), quota || retry_after_ms);
}

void eg_cooldown_clear(struct eg_engine *e, const struct eg_snapshot *s,
		       const struct eg_provider *p, uint64_t began_ms)
{
	eg_cooldowns_clear(e->cooldowns, p, secret_of(s, p), began_ms);
}

/* ---- ids ---- */

/* splitmix64: a bijection, so that a counter gives no id twice. */
static uint64_t permute(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* Eight digits at once: a nibble to a byte, the first in front; then '0', and from ten on what 'a'
 * is above ':'. */
static void put_hex8(char out[8], uint32_t v)
{
	const uint64_t ones = 0x0101010101010101u;
	uint64_t w = v;

	w = (w | w << 16) & 0x0000ffff0000ffffu;
	w = (w | w << 8) & 0x00ff00ff00ff00ffu;
	w = (w | w << 4) & 0x0f0f0f0f0f0f0f0fu;
	w = htobe64(w);
	w += ones * '0' + ((w + ones * 6) >> 4 & ones) * ('a' - '0' - 10);
	memcpy(out, &w, sizeof(w));
}

static void put_hex(char out[16], uint64_t v)
{
	put_hex8(out, (uint32_t)(v >> 32));
	put_hex8(out + 8, (uint32_t)v);
}

void eg_engine_request_id(struct eg_engine *e, char out[33])
{
	e->id_low += 0x9e3779b97f4a7c15u;
	put_hex(out, permute(e->id_high ^ e->id_low));
	put_hex(out + 16, permute(e->id_low));
	out[32] = '\0';
}
