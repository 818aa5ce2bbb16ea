/* SPDX-License-Identifier: Apache-2.0 */
#include "exchange/snapshot.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/arena.h"

struct slot {
	struct eg_address address;
	const struct eg_pod_view *pod; /* NULL: free */
};

struct eg_snapshot {
	atomic_uint refs;
	uint32_t generation;
	uint64_t serial;
	struct eg_policy_set *policies;
	struct eg_credential_set *credentials;
	struct eg_trust **trust; /* by provider index; NULL: the default */
	size_t trust_count;
	struct eg_pod_view *pods;
	struct slot *slots; /* open addressing; a power of two, at most half full */
	size_t slot_mask;
	struct eg_arena text; /* the pods' strings */
};

static size_t hash(const struct eg_address *a)
{
	uint64_t h = 0x9e3779b97f4a7c15u;

	for (size_t i = 0; i < EG_ARRAY_SIZE(a->word_be); i++)
		h = (h ^ a->word_be[i]) * 0xff51afd7ed558ccdu;
	return (size_t)(h ^ (h >> 32));
}

static bool same(const struct eg_address *a, const struct eg_address *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static int copy_text(struct eg_arena *a, const char **s)
{
	*s = eg_arena_dup(a, eg_str_from(*s ? *s : ""));
	return *s ? 0 : -ENOMEM;
}

static int copy_labels(struct eg_arena *a, const struct eg_label **list, size_t count)
{
	struct eg_label *labels = NULL;

	if (count) {
		labels = eg_arena_alloc(a, count * sizeof(*labels));
		if (!labels)
			return -ENOMEM;
		for (size_t i = 0; i < count; i++) {
			labels[i] = (*list)[i];
			if (copy_text(a, &labels[i].key) || copy_text(a, &labels[i].value))
				return -ENOMEM;
		}
	}
	*list = labels;
	return 0;
}

static int copy_identity(struct eg_arena *a, struct eg_identity *id)
{
	if (copy_text(a, &id->namespace_name) || copy_text(a, &id->name) ||
	    copy_text(a, &id->uid) || copy_text(a, &id->service_account))
		return -ENOMEM;
	return copy_labels(a, &id->labels, id->label_count) ||
			       copy_labels(a, &id->namespace_labels, id->namespace_label_count)
		       ? -ENOMEM
		       : 0;
}

/* A later pod on the same address wins: the feeders hand them over oldest first. */
static void index_pod(struct eg_snapshot *s, const struct eg_pod_view *pod)
{
	for (size_t i = 0; i < pod->address_count; i++) {
		size_t at = hash(&pod->address[i]) & s->slot_mask;

		while (s->slots[at].pod && !same(&s->slots[at].address, &pod->address[i]))
			at = (at + 1) & s->slot_mask;
		s->slots[at] = (struct slot){pod->address[i], pod};
	}
}

static int copy_pods(struct eg_snapshot *s, const struct eg_pod_view *pods, size_t count)
{
	size_t addresses = 0, slots = 16;

	s->pods = calloc(count ? count : 1, sizeof(*s->pods));
	if (!s->pods)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct eg_selected selected;

		s->pods[i] = pods[i];
		s->pods[i].address_count =
			EG_MIN(pods[i].address_count, (size_t)EG_POD_VIEW_ADDRESSES);
		addresses += s->pods[i].address_count;
		if (copy_identity(&s->text, &s->pods[i].identity))
			return -ENOMEM;
		selected = eg_policy_select(s->policies, &s->pods[i].identity);
		s->pods[i].policy = selected.what == EG_SELECTION_POLICY ? selected.policy : NULL;
		s->pods[i].held = selected.what == EG_SELECTION_PERHAPS;
	}
	while (slots < 2 * addresses)
		slots *= 2;
	s->slots = calloc(slots, sizeof(*s->slots));
	if (!s->slots)
		return -ENOMEM;
	s->slot_mask = slots - 1;
	for (size_t i = 0; i < count; i++)
		index_pod(s, &s->pods[i]);
	return 0;
}

static void free_memory(struct eg_snapshot *s)
{
	for (size_t i = 0; i < s->trust_count; i++)
		eg_trust_unref(s->trust[i]);
	free(s->trust);
	free(s->pods);
	free(s->slots);
	eg_arena_fini(&s->text);
	free(s);
}

struct eg_snapshot *eg_snapshot_create(uint32_t generation, struct eg_policy_set *policies,
				       struct eg_credential_set *credentials,
				       struct eg_trust *const *trust,
				       const struct eg_pod_view *pods, size_t pod_count)
{
	static atomic_uint_fast64_t serials;
	struct eg_snapshot *s = calloc(1, sizeof(*s));
	size_t providers = 0;

	if (!s)
		return NULL;
	atomic_init(&s->refs, 1);
	s->generation = generation;
	s->serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
	s->policies = policies;
	s->credentials = credentials;
	eg_arena_init(&s->text, 0);
	(void)eg_providers(policies, &providers);
	s->trust = calloc(providers ? providers : 1, sizeof(struct eg_trust *));
	if (!s->trust || copy_pods(s, pods, pod_count)) {
		free_memory(s);
		return NULL;
	}
	s->trust_count = providers;
	for (size_t i = 0; trust && i < providers; i++)
		s->trust[i] = trust[i] ? eg_trust_ref(trust[i]) : NULL;
	return s;
}

struct eg_snapshot *eg_snapshot_ref(struct eg_snapshot *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void eg_snapshot_unref(struct eg_snapshot *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	eg_policy_set_unref(s->policies);
	eg_credential_set_unref(s->credentials);
	free_memory(s);
}

uint32_t eg_snapshot_generation(const struct eg_snapshot *s)
{
	return s->generation;
}

uint64_t eg_snapshot_serial(const struct eg_snapshot *s)
{
	return s->serial;
}

struct eg_policy_set *eg_snapshot_policies(const struct eg_snapshot *s)
{
	return s->policies;
}

struct eg_credential_set *eg_snapshot_credentials(const struct eg_snapshot *s)
{
	return s->credentials;
}

struct eg_trust *eg_snapshot_trust(const struct eg_snapshot *s, const struct eg_provider *p)
{
	return p->index < s->trust_count ? s->trust[p->index] : NULL;
}

const struct eg_pod_view *eg_snapshot_pod(const struct eg_snapshot *s, const struct eg_address *a)
{
	size_t at = hash(a) & s->slot_mask;

	while (s->slots[at].pod) {
		if (same(&s->slots[at].address, a))
			return s->slots[at].pod;
		at = (at + 1) & s->slot_mask;
	}
	return NULL;
}
