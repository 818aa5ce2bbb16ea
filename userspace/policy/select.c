/* SPDX-License-Identifier: Apache-2.0 */
/* Which policy selects a pod: the most specific one, ties by name. */
#include "policy/set.h"

#include <stdlib.h>

/* Namespace (by name or label) and labels (or service account), then namespace, then labels alone,
 * then everything. */
unsigned int eg_selector_rank(const struct selector *s)
{
	return (s->namespace_count || s->namespace_label_count ? 2u : 0u) +
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

static bool has_labels(const struct eg_label *asked, size_t count, const struct eg_label *labels,
		       size_t label_count)
{
	for (size_t i = 0; i < count; i++) {
		const char *v = label_value(labels, label_count, asked[i].key);

		if (!v || strcmp(v, asked[i].value))
			return false;
	}
	return true;
}

/*
 * What is not known may be right or wrong for each selector that asks for it: labels may be
 * missing, and there are more names of service accounts than a selector can list. So PERHAPS is
 * exact.
 */
static enum eg_selection selects(const struct selector *s, const struct eg_identity *pod)
{
	if (s->namespace_count && !has(s->namespaces, s->namespace_count, pod->namespace_name))
		return EG_SELECTION_NONE;
	if (!pod->namespace_labels_unknown &&
	    !has_labels(s->namespace_labels, s->namespace_label_count, pod->namespace_labels,
			pod->namespace_label_count))
		return EG_SELECTION_NONE;
	if (!pod->service_account_unknown && s->service_account_count &&
	    !has(s->service_accounts, s->service_account_count, pod->service_account))
		return EG_SELECTION_NONE;
	if (!pod->labels_unknown &&
	    !has_labels(s->labels, s->label_count, pod->labels, pod->label_count))
		return EG_SELECTION_NONE;
	if ((pod->namespace_labels_unknown && s->namespace_label_count) ||
	    (pod->service_account_unknown && s->service_account_count) ||
	    (pod->labels_unknown && s->label_count))
		return EG_SELECTION_PERHAPS;
	return EG_SELECTION_POLICY;
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

/* Whether something can have both. */
static bool labels_meet(const struct eg_label *a, size_t an, const struct eg_label *b, size_t bn)
{
	for (size_t i = 0; i < an; i++) {
		const char *v = label_value(b, bn, a[i].key);

		if (v && strcmp(v, a[i].value))
			return false;
	}
	return true;
}

bool eg_selectors_overlap(const struct selector *a, const struct selector *b)
{
	return lists_meet(a->namespaces, a->namespace_count, b->namespaces, b->namespace_count) &&
	       lists_meet(a->service_accounts, a->service_account_count, b->service_accounts,
			  b->service_account_count) &&
	       labels_meet(a->namespace_labels, a->namespace_label_count, b->namespace_labels,
			   b->namespace_label_count) &&
	       labels_meet(a->labels, a->label_count, b->labels, b->label_count);
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
struct eg_selected eg_policy_select(const struct eg_policy_set *s, const struct eg_identity *pod)
{
	struct eg_selected out = {.what = EG_SELECTION_NONE};

	for (size_t i = 0; i < s->policy_count; i++) {
		const struct eg_policy *p = &s->policies[s->order[i]];
		enum eg_selection one = selects(&s->selectors[s->order[i]], pod);

		if (one == EG_SELECTION_NONE)
			continue;
		if (out.what == EG_SELECTION_NONE)
			out = (struct eg_selected){.what = one, .policy = p};
		out.may_enforce |= p->mode == EG_MODE_ENFORCE;
		if (one == EG_SELECTION_POLICY) /* whatever is asked for behind it */
			break;
	}
	return out;
}
