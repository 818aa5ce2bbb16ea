/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fronts: server names that nothing governs, which share a provider's addresses and behind which
 * its servers answer to the provider's own Host. Asked of names that pass through only, so a search
 * in a sorted list is fast enough.
 */
#include <stdio.h>
#include <stdlib.h>

#include "policy/keys.h"
#include "policy/set.h"

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int eg_fronts_build(struct eg_policy_set *set)
{
	size_t count = 0;

	for (size_t i = 0; i < set->provider_count; i++)
		count += set->providers[i].front_count;
	if (count > EG_POLICY_MAX_NAMES)
		return -E2BIG;
	if (!count)
		return 0;
	set->fronts = eg_arena_alloc(&set->memory, count * sizeof(*set->fronts));
	if (!set->fronts)
		return -ENOMEM;
	for (size_t i = 0; i < set->provider_count; i++)
		for (size_t k = 0; k < set->providers[i].front_count; k++)
			set->fronts[set->front_count++] = set->providers[i].fronts[k];
	qsort(set->fronts, set->front_count, sizeof(*set->fronts), compare);
	return 0;
}

static bool listed(const struct eg_policy_set *s, const char *text)
{
	return bsearch(&text, s->fronts, s->front_count, sizeof(*s->fronts), compare);
}

bool eg_policy_fronts(const struct eg_policy_set *s, struct eg_str host)
{
	char name[256], pattern[260];
	struct eg_str n = eg_normal_host(host, name);

	if (!s->front_count || !n.n)
		return false;
	name[n.n] = '\0';
	if (listed(s, name))
		return true;
	for (size_t i = 1; i < n.n; i++) {
		if (name[i] != '.')
			continue;
		snprintf(pattern, sizeof(pattern), "*%s", name + i);
		if (listed(s, pattern))
			return true;
	}
	return false;
}
