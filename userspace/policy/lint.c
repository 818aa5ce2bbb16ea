/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lint.h"

#include <stdio.h>
#include <stdlib.h>

/* Policies are numbered in the order of documents and elements: finds the place of policy i. */
struct where {
	struct place root, list, at;
};

static bool place_of_policy(struct loading *l, size_t policy, struct where *w)
{
	for (size_t i = 0; i < l->document_count; i++) {
		json_t *array = source_array(l->documents[i].root, "policies");
		size_t n = json_array_size(array);

		if (policy >= n) {
			policy -= n;
			continue;
		}
		w->root = (struct place){.l = l, .document = &l->documents[i]};
		w->list = place_key(&w->root, "policies");
		w->at = place_index(&w->list, policy);
		return true;
	}
	return false;
}

/* ---- ties ---- */
/* A set that is huge is not worth minutes for a warning: the work is bounded, and said to be. */
#define LINT_WORK_MAX 20000000u

static size_t overlap_work(const struct selector *a, const struct selector *b)
{
	return (a->namespace_count + 1) * (b->namespace_count + 1) +
	       (a->service_account_count + 1) * (b->service_account_count + 1) +
	       (a->namespace_label_count + 1) * (b->namespace_label_count + 1) +
	       (a->label_count + 1) * (b->label_count + 1);
}

static void too_large(struct loading *l)
{
	struct where w;

	if (place_of_policy(l, 0, &w))
		source_warning(&w.list, "too many policies and routes to look for all ties and "
					"unreachable routes");
}

/* A policy under each of its namespaces (once under "" when it names none). */
struct under {
	const char *name;
	unsigned int rank;
	uint32_t place; /* in set->order */
};

static int by_rank_and_namespace(const void *a, const void *b)
{
	const struct under *x = a, *y = b;
	int r;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	r = strcmp(x->name, y->name);
	return r ? r : (x->place > y->place) - (x->place < y->place);
}

/* Two policies that share several namespaces are reported at the first one of the one that wins;
 * one that names none (but its labels, say) shares all of the other's. */
static bool first_shared(const struct selector *a, const struct selector *b, const char *name)
{
	const struct selector *only = a->namespace_count ? a : b;

	if (!a->namespace_count || !b->namespace_count)
		return !only->namespace_count || !strcmp(only->namespaces[0], name);
	for (size_t i = 0; i < a->namespace_count; i++)
		for (size_t k = 0; k < b->namespace_count; k++)
			if (!strcmp(a->namespaces[i], b->namespaces[k]))
				return !strcmp(a->namespaces[i], name);
	return true;
}

static void lint_tie(struct loading *l, uint32_t wins, uint32_t loses, const char *name)
{
	const struct eg_policy_set *s = l->set;
	const struct selector *a = &s->selectors[wins], *b = &s->selectors[loses];
	struct where w;

	if (eg_selectors_overlap(a, b) && first_shared(a, b, name) && place_of_policy(l, loses, &w))
		source_warning(
			&w.at,
			"policy \"%s\" can select the same pods as \"%s\" and is as specific; "
			"\"%s\" wins by name",
			s->policies[loses].name, s->policies[wins].name, s->policies[wins].name);
}

static size_t list_namespaces(const struct eg_policy_set *s, struct under *out)
{
	size_t n = 0;

	for (size_t i = 0; i < s->policy_count; i++) {
		const struct selector *x = &s->selectors[s->order[i]];

		for (size_t k = 0; k < EG_MAX(x->namespace_count, (size_t)1); k++, n++)
			if (out)
				out[n] = (struct under){x->namespace_count ? x->namespaces[k] : "",
							eg_selector_rank(x), (uint32_t)i};
	}
	return n;
}

static void lint_ties(struct loading *l)
{
	const struct eg_policy_set *s = l->set;
	size_t n = list_namespaces(s, NULL), work = 0;
	struct under *list = calloc(n + 1, sizeof(*list));

	if (!list) {
		l->out_of_memory = true;
		return;
	}
	list_namespaces(s, list);
	if (n)
		qsort(list, n, sizeof(*list), by_rank_and_namespace);
	/* Within a rank those that name no namespace come first: all others may be of theirs. */
	for (size_t i = 0; i < n && work <= LINT_WORK_MAX; i++, set_busy(s))
		for (size_t k = i + 1; k < n && work <= LINT_WORK_MAX; k++) {
			uint32_t a = s->order[EG_MIN(list[i].place, list[k].place)];
			uint32_t b = s->order[EG_MAX(list[i].place, list[k].place)];

			if (list[i].rank != list[k].rank ||
			    (*list[i].name && strcmp(list[i].name, list[k].name) != 0))
				break;
			work += overlap_work(&s->selectors[a], &s->selectors[b]);
			lint_tie(l, a, b, list[k].name);
		}
	if (work > LINT_WORK_MAX)
		too_large(l);
	free(list);
}

/* ---- unused ---- */
static void lint_unused_map(struct loading *l, const char *map, const bool *used)
{
	size_t n = 0;

	for (size_t i = 0; i < l->document_count; i++) {
		struct place root = {.l = l, .document = &l->documents[i]};
		struct place map_at = place_key(&root, map);
		const char *name;
		json_t *v;

		json_object_foreach(source_object(l->documents[i].root, map), name, v)
		{
			struct place at = place_key(&map_at, name);

			if (!used[n++])
				source_warning(&at, "\"%s\" is used by nothing", name);
		}
	}
}

static void lint_unused(struct loading *l)
{
	const struct eg_policy_set *s = l->set;
	bool *providers = calloc(s->provider_count + 1, sizeof(bool));
	bool *credentials = calloc(s->credential_count + 1, sizeof(bool));

	for (size_t i = 0; providers && i < s->policy_count; i++)
		for (size_t k = 0; k < s->policies[i].route_count; k++)
			for (size_t t = 0; t < s->policies[i].routes[k].target_count; t++)
				providers[s->policies[i].routes[k].targets[t].provider->index] =
					true;
	for (size_t i = 0; credentials && i < s->provider_count; i++)
		if (s->providers[i].credential)
			credentials[s->providers[i].credential->index] = true;
	if (providers && credentials) {
		lint_unused_map(l, "providers", providers);
		lint_unused_map(l, "credentials", credentials);
	}
	free(providers);
	free(credentials);
}

/* ---- routes ---- */
/* Does an earlier route of the bucket take everything that (operation, model glob) takes? */
static bool covered(const struct eg_policy_set *s, uint32_t policy, uint32_t name,
		    uint32_t operation, const char *model, uint32_t route)
{
	const struct bucket *b = eg_index_bucket(s, policy, name);
	struct eg_str glob = eg_str_from(model), text;

	if (!b)
		return false;
	if (!model)
		return eg_index_route(s, b, operation, (struct eg_str){0}) < route;
	/* An exact name is looked up as itself. For a glob only a route without models is sure to
	 * take all that it takes. */
	if (eg_index_model_kind(glob, &text) == RULE_EXACT)
		return eg_index_route(s, b, operation, glob) < route;
	return eg_index_route(s, b, operation, (struct eg_str){0}) < route;
}

static bool name_covered(const struct eg_policy_set *s, const struct eg_policy *p, uint32_t name,
			 uint32_t route)
{
	const struct eg_route *r = &p->routes[route];

	for (size_t o = 0; o <= r->operation_count; o++) {
		uint32_t operation = o ? r->operations[o - 1]->id : OP_INFERENCE;

		if (!r->model_count && !covered(s, p->id, name, operation, NULL, route))
			return false;
		for (size_t m = 0; m < r->model_count; m++)
			if (!covered(s, p->id, name, operation, r->models[m], route))
				return false;
	}
	return true;
}

static bool host_covered(const struct eg_policy_set *s, const struct eg_policy *p, const char *host,
			 uint32_t route)
{
	uint32_t ids[COVER_MAX];
	size_t n;

	if (host[0] == '*') /* by the same wildcard; shorter ones are left to the reader */
		return name_covered(s, p, eg_index_name(s, eg_str_from(host)), route);
	n = eg_index_cover(s, eg_str_from(host), ids);
	for (size_t i = 0; i < n; i++)
		if (name_covered(s, p, ids[i], route))
			return true;
	return false;
}

static void lint_reach(const struct place *at, const struct eg_policy *p, uint32_t route)
{
	const struct eg_policy_set *s = at->l->set;
	const struct eg_route *r = &p->routes[route];

	for (size_t h = 0; h < r->host_count; h++)
		if (!host_covered(s, p, r->hosts[h], route))
			return;
	for (size_t t = 0; t < r->target_count; t++)
		if (!name_covered(s, p, GATEWAY_NAME(r->targets[t].provider->dialect), route))
			return;
	source_warning(at, "route \"%s\" can never match: earlier routes take everything it names",
		       r->name);
}

/* Look-ups that lint_reach() may take, each of up to a hundred lengths of text. */
static size_t reach_work(const struct eg_route *r)
{
	return (r->host_count + 2) * (r->model_count + 1) * (r->operation_count + 1) * 100;
}

static bool region_possible(const struct eg_policy *p, const struct eg_provider *provider)
{
	static const struct eg_region us = {"US"};

	for (size_t i = 0; i < p->region_count; i++)
		if (eg_region_satisfies(&provider->region, &p->regions[i]) ||
		    (provider->dialect == EG_DIALECT_ANTHROPIC && provider->host &&
		     !strcmp(provider->host, "api.anthropic.com") &&
		     eg_region_satisfies(&us, &p->regions[i])))
			return true;
	return !p->region_count;
}

static void lint_targets(const struct place *at, const struct eg_policy *p,
			 const struct eg_route *r)
{
	bool possible = false;

	for (size_t t = 0; t < r->target_count; t++)
		possible = possible || region_possible(p, r->targets[t].provider);
	if (!possible)
		source_warning(at,
			       "no target of route \"%s\" lies in the regions that the policy "
			       "allows: every request will be refused",
			       r->name);
	for (size_t h = 0; h < r->host_count; h++) {
		enum eg_dialect d = eg_dialect_from_host(eg_str_from(r->hosts[h]));
		bool fits = d == EG_DIALECT_NONE;

		for (size_t t = 0; t < r->target_count && !fits; t++)
			fits = r->targets[t].provider->dialect == d;
		if (!fits)
			source_warning(at,
				       "host %s speaks %s and no target of route \"%s\" does: its "
				       "requests will be refused (kind_mismatch)",
				       r->hosts[h], eg_dialect_label(d), r->name);
	}
}

/* Stateful operations need a credential of the pod's own namespace. */
static void lint_state(const struct place *at, const struct selector *selector,
		       const struct eg_route *r)
{
	for (size_t o = 0; o < r->operation_count; o++) {
		bool owned = false;

		if (r->operations[o]->class != EG_CLASS_STATEFUL)
			continue;
		for (size_t t = 0; t < r->target_count && !owned; t++) {
			const struct eg_credential_spec *c = r->targets[t].provider->credential;

			owned = c && c->owner_namespace && selector->namespace_count <= 1 &&
				(!selector->namespace_count ||
				 !strcmp(selector->namespaces[0], c->owner_namespace));
		}
		if (!owned)
			source_warning(
				at,
				"route \"%s\" lists \"%s\", which needs a target whose "
				"credential belongs (\"namespace\") to the pod's namespace: it "
				"will be refused",
				r->name, r->operations[o]->name);
		return;
	}
}

static void lint_owner(const struct place *at, const struct selector *selector,
		       const struct eg_route *r)
{
	for (size_t t = 0; t < r->target_count; t++) {
		const struct eg_credential_spec *c = r->targets[t].provider->credential;

		if (c && c->owner_namespace &&
		    (selector->namespace_count != 1 ||
		     strcmp(selector->namespaces[0], c->owner_namespace)))
			source_warning(at,
				       "route \"%s\" gives pods outside namespace \"%s\" its "
				       "credential \"%s\"",
				       r->name, c->owner_namespace, c->name);
	}
}

static void lint_routes(struct loading *l)
{
	const struct eg_policy_set *s = l->set;
	size_t work = 0;

	for (size_t i = 0; i < s->policy_count; i++) {
		const struct eg_policy *p = &s->policies[i];
		struct where w;
		struct place routes;

		if (!place_of_policy(l, i, &w))
			continue;
		routes = place_key(&w.at, "routes");
		if (!p->route_count && !p->otherwise_pass && p->mode == EG_MODE_ENFORCE)
			source_warning(&w.at,
				       "policy \"%s\" has no routes: its pods reach no governed "
				       "name",
				       p->name);
		for (size_t k = 0; k < p->route_count; k++) {
			struct place at = place_index(&routes, k);

			work += reach_work(&p->routes[k]);
			if (work <= LINT_WORK_MAX)
				lint_reach(&at, p, (uint32_t)k);
			lint_targets(&at, p, &p->routes[k]);
			lint_state(&at, &s->selectors[i], &p->routes[k]);
			lint_owner(&at, &s->selectors[i], &p->routes[k]);
		}
	}
	if (work > LINT_WORK_MAX)
		too_large(l);
}

void policy_lint(struct loading *l)
{
	lint_routes(l);
	lint_ties(l);
	lint_unused(l);
}
