/* SPDX-License-Identifier: Apache-2.0 */
/* Which policy selects a pod: the most specific one, ties by name. */
#include "policy/set.h"

#include <stdlib.h>

/* Namespace and labels (or service account), then namespace, then labels alone, then everything. */
unsigned int eg_selector_rank(const struct selector *s)
{
	return (s->namespace_count ? 2u : 0u) +
	       (s->label_count || s->service_account_count ? 1u : 0u);
}

static bool has(const char *const *list, size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i], text))
			return true;
	return false;
}

static const char *label_value(const struct eg_label *labels, size_t count, const char *key)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(labels[i].key, key))
			return labels[i].value;
	return NULL;
}

static bool selects(const struct selector *s, const struct eg_identity *pod)
{
	if (s->namespace_count && !has(s->namespaces, s->namespace_count, pod->namespace_name))
		return false;
	if (s->service_account_count &&
	    !has(s->service_accounts, s->service_account_count, pod->service_account))
		return false;
	for (size_t i = 0; i < s->label_count; i++) {
		const char *v = label_value(pod->labels, pod->label_count, s->labels[i].key);

		if (!v || strcmp(v, s->labels[i].value))
			return false;
	}
	return true;
}

static bool lists_meet(const char *const *a, size_t an, const char *const *b, size_t bn)
{
	if (!an || !bn)
		return true;
	for (size_t i = 0; i < an; i++)
		if (has(b, bn, a[i]))
			return true;
	return false;
}

bool eg_selectors_overlap(const struct selector *a, const struct selector *b)
{
	if (!lists_meet(a->namespaces, a->namespace_count, b->namespaces, b->namespace_count) ||
	    !lists_meet(a->service_accounts, a->service_account_count, b->service_accounts,
			b->service_account_count))
		return false;
	for (size_t i = 0; i < a->label_count; i++) {
		const char *v = label_value(b->labels, b->label_count, a->labels[i].key);

		if (v && strcmp(v, a->labels[i].value))
			return false;
	}
	return true;
}

static int compare(const void *pa, const void *pb, void *ctx)
{
	const struct eg_policy_set *s = ctx;
	uint32_t a = *(const uint32_t *)pa, b = *(const uint32_t *)pb;
	unsigned int ra = eg_selector_rank(&s->selectors[a]);
	unsigned int rb = eg_selector_rank(&s->selectors[b]);

	if (ra != rb)
		return ra < rb ? 1 : -1;
	return strcmp(s->policies[a].name, s->policies[b].name);
}

int eg_select_build(struct eg_policy_set *set)
{
	set->order = eg_arena_alloc(&set->memory, (set->policy_count + 1) * sizeof(*set->order));
	if (!set->order)
		return -ENOMEM;
	for (size_t i = 0; i < set->policy_count; i++)
		set->order[i] = (uint32_t)i;
	if (set->policy_count)
		qsort_r(set->order, set->policy_count, sizeof(*set->order), compare, set);
	return 0;
}

/* Asked when a pod appears or changes, not for requests: a walk in order is good enough. */
const struct eg_policy *eg_policy_select(const struct eg_policy_set *s,
					 const struct eg_identity *pod)
{
	for (size_t i = 0; i < s->policy_count; i++)
		if (selects(&s->selectors[s->order[i]], pod))
			return &s->policies[s->order[i]];
	return NULL;
}
