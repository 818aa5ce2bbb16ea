/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of one request. No I/O, no allocation; every look-up is by hash (index.c). */
#include "policy/set.h"

struct deciding {
	const struct eg_policy_set *set;
	const struct eg_policy *policy;
	const struct eg_request_facts *facts;
	const struct eg_trace *trace;
	struct eg_decision *out;
	const struct bucket *buckets[COVER_MAX];
	size_t bucket_count;
	struct eg_str model; /* .p NULL: the request has none */
	uint32_t operation;  /* that a route has to allow: an id or OP_INFERENCE */
	bool stateful;
};

#define STEP(d, what, reason, ...)                                                        \
	do {                                                                              \
		if ((d)->trace)                                                           \
			(d)->trace->step((d)->trace->ctx, (what), (reason), __VA_ARGS__); \
	} while (0)

void eg_policy_rules_of(const struct eg_policy_set *s, const struct eg_policy *p,
			struct eg_str host, struct eg_name_rules *out)
{
	uint32_t ids[COVER_MAX];
	char text[256];
	size_t n = eg_index_cover(s, eg_normal_host(host, text), ids);

	out->count = 0;
	for (size_t i = 0; i < n; i++) {
		const struct bucket *b = eg_index_bucket(s, p->id, ids[i]);

		if (b && out->count < EG_NAME_RULES)
			out->bucket[out->count] = b;
		out->count += b != NULL;
	}
	out->verdict = out->count ? EG_NAME_ROUTED : n ? EG_NAME_OTHERWISE : EG_NAME_UNGOVERNED;
}

enum eg_name_verdict eg_policy_name(const struct eg_policy_set *s, const struct eg_policy *p,
				    struct eg_str host)
{
	struct eg_name_rules rules;

	eg_policy_rules_of(s, p, host, &rules);
	return rules.verdict;
}

bool eg_decision_fits_form(const struct eg_decision *d, const struct eg_body_facts *body)
{
	for (size_t i = 0; i < d->target_count; i++)
		if (d->targets[i].model &&
		    !eg_form_takes_model(body, eg_str_from(d->targets[i].model)))
			return false;
	return true;
}

static void find_buckets(struct deciding *d)
{
	const struct eg_request_facts *f = d->facts;
	uint32_t ids[COVER_MAX];
	char text[256];
	size_t n = 1;

	if (f->rules && f->rules->count <= EG_NAME_RULES) {
		for (; d->bucket_count < f->rules->count; d->bucket_count++)
			d->buckets[d->bucket_count] = f->rules->bucket[d->bucket_count];
		return;
	}
	if (f->gateway_address)
		ids[0] = GATEWAY_NAME(f->dialect);
	else
		n = eg_index_cover(d->set, eg_normal_host(f->host, text), ids);
	for (size_t i = 0; i < n; i++) {
		d->buckets[d->bucket_count] = eg_index_bucket(d->set, d->policy->id, ids[i]);
		d->bucket_count += d->buckets[d->bucket_count] != NULL;
	}
}

static uint32_t find_route(const struct deciding *d, uint32_t operation)
{
	uint32_t best = NO_ROUTE;

	for (size_t i = 0; i < d->bucket_count; i++)
		best = EG_MIN(best, eg_index_route(d->set, d->buckets[i], operation, d->model));
	return best;
}

static bool operation_possible(const struct deciding *d, uint32_t operation)
{
	for (size_t i = 0; i < d->bucket_count; i++)
		if (eg_index_operation(d->set, d->buckets[i], operation))
			return true;
	return false;
}

/* ---- operation ---- */
static bool refers_to_state(const struct eg_request_facts *f)
{
	return f->operation && f->operation->may_hold_state && f->body_read &&
	       f->body.store_or_state;
}

/* OK, or why no route could ever allow it. Sets d->operation and d->stateful. */
static enum eg_reason judge_operation(struct deciding *d)
{
	const struct eg_request_facts *f = d->facts;
	const struct eg_operation *op = f->operation;

	/* An escape in the path of a known operation has no honest use; another reader may not undo
	 * it, or undo it twice. */
	if (!op || op->class == EG_CLASS_UNKNOWN ||
	    (f->target.path.n && !eg_str_eq(f->target.path, f->target.decoded)))
		return EG_REASON_UNKNOWN_OPERATION;
	switch (op->class) {
	case EG_CLASS_UNKNOWN:
		return EG_REASON_UNKNOWN_OPERATION;
	case EG_CLASS_CREDENTIAL:
		return EG_REASON_CREDENTIAL_MINTING;
	case EG_CLASS_ADMIN:
		return EG_REASON_OPERATION_DENIED;
	case EG_CLASS_INFERENCE:
		d->operation = OP_INFERENCE;
		break;
	case EG_CLASS_STATEFUL:
		d->stateful = true;
		d->operation = op->id;
		break;
	case EG_CLASS_METADATA:
		d->operation = op->id;
		break;
	}
	/* The body refers to what the provider keeps: as if the operation itself were stateful. */
	if (refers_to_state(f)) {
		d->stateful = true;
		d->operation = eg_operation_for_state(op)->id;
	}
	if (operation_possible(d, d->operation))
		return EG_REASON_OK;
	return d->stateful ? EG_REASON_STATEFUL_DENIED : EG_REASON_OPERATION_DENIED;
}

static enum eg_reason judge_query(struct deciding *d)
{
	const struct eg_request_facts *f = d->facts;
	struct eg_str key;

	if (!eg_query_unknown(f->dialect, f->operation, f->target.query, &key))
		return EG_REASON_OK;
	STEP(d, "query", EG_REASON_UNKNOWN_QUERY, "%s's API defines no key \"%.*s\"",
	     eg_dialect_label(f->dialect), (int)EG_MIN(key.n, (size_t)60), key.p);
	return EG_REASON_UNKNOWN_QUERY;
}

static enum eg_reason judge_model(struct deciding *d)
{
	const struct eg_request_facts *f = d->facts;

	if (f->operation->model_in_path)
		d->model = eg_path_model(f->target.decoded);
	else if (f->body_read && !f->body.model_not_string)
		d->model = f->body.model;
	if (f->body_read && f->body.model_not_string) {
		STEP(d, "model", EG_REASON_BAD_BODY, "%s", EG_MODEL_NOT_STRING);
		return EG_REASON_BAD_BODY;
	}
	if (d->model.p)
		STEP(d, "model", EG_REASON_OK, "%.*s", (int)EG_MIN(d->model.n, (size_t)MODEL_MAX),
		     d->model.p);
	else
		STEP(d, "model", EG_REASON_OK, "the request names none");
	return EG_REASON_OK;
}

/* No route takes operation and model together: which of the two is it? */
static enum eg_reason why_no_route(const struct deciding *d)
{
	if (find_route(d, OP_ALL) != NO_ROUTE)
		return d->stateful ? EG_REASON_STATEFUL_DENIED : EG_REASON_OPERATION_DENIED;
	return d->model.p ? EG_REASON_MODEL_DENIED : EG_REASON_NO_MODEL;
}

/* ---- targets ---- */
static const char *mapped_model(const struct eg_provider *p, struct eg_str model)
{
	for (size_t i = 0; model.p && i < p->model_count; i++)
		if (eg_str_eq(eg_str_from(p->models[i].from), model))
			return p->models[i].to;
	return NULL;
}

bool eg_policy_allows_region(const struct eg_policy *p, const struct eg_region *where)
{
	for (size_t i = 0; i < p->region_count; i++)
		if (eg_region_satisfies(where, &p->regions[i]))
			return true;
	return !p->region_count;
}

static enum eg_reason judge_region(const struct deciding *d, const struct eg_provider *p,
				   struct eg_str model, struct eg_region *where)
{
	eg_region_of_request(p->dialect, eg_str_from(p->host), &p->region, p->region_stated, model,
			     &d->facts->body, where);
	if (eg_policy_allows_region(d->policy, where))
		return EG_REASON_OK;
	return *where->code ? EG_REASON_REGION_DENIED : EG_REASON_REGION_UNKNOWN;
}

static bool owned_by_pod(const struct deciding *d, const struct eg_provider *p)
{
	return p->credential && p->credential->owner_namespace && d->facts->pod_namespace &&
	       !strcmp(p->credential->owner_namespace, d->facts->pod_namespace);
}

static enum eg_reason judge_target(struct deciding *d, const struct eg_provider *p,
				   struct eg_chosen_target *target)
{
	const char *mapped = mapped_model(p, d->model);
	struct eg_region where;
	enum eg_reason reason;

	*target = (struct eg_chosen_target){.provider = p, .model = mapped};
	if (p->dialect != d->facts->dialect) {
		STEP(d, "target", EG_REASON_KIND_MISMATCH, "%s speaks %s, the client %s", p->name,
		     eg_dialect_label(p->dialect), eg_dialect_label(d->facts->dialect));
		return EG_REASON_KIND_MISMATCH;
	}
	reason = judge_region(d, p, mapped ? eg_str_from(mapped) : d->model, &where);
	target->region = where;
	if (reason == EG_REASON_OK && d->stateful && !owned_by_pod(d, p))
		reason = EG_REASON_STATEFUL_DENIED;
	STEP(d, "target", reason, "%s (%s, region %s%s), credential %s%s%s", p->name, p->host,
	     *where.code ? where.code : "unknown", p->region_stated ? ", stated by policy" : "",
	     p->credential ? p->credential->name : "none", mapped ? ", model " : "",
	     mapped ? mapped : "");
	return reason;
}

/* A body that leaves the choice of model or processor to the provider says nothing that a rule
 * about it could be held against. */
static enum eg_reason judge_fallbacks(struct deciding *d, const struct eg_route *route)
{
	const struct eg_body_facts *b = &d->facts->body;

	if (d->facts->operation->places_unread && d->policy->region_count) {
		STEP(d, "target", EG_REASON_REGION_UNKNOWN,
		     "each request of a batch may say where it runs, and they are not read");
		return EG_REASON_REGION_UNKNOWN;
	}
	if (!d->facts->body_read)
		return EG_REASON_OK;
	if ((b->other_models || b->tool_models) && route->model_count) {
		STEP(d, "model", EG_REASON_MODEL_DENIED, "%s, and the route is by model",
		     b->other_models ? "the body's \"models\" or \"fallbacks\" names others to "
				       "fall back to"
				     : "a tool of the body names a model of its own");
		return EG_REASON_MODEL_DENIED;
	}
	if ((b->other_models || b->other_providers) && d->policy->region_count) {
		STEP(d, "target", EG_REASON_REGION_UNKNOWN,
		     "the body's \"%s\" lets the provider choose who processes it",
		     b->other_providers ? "provider" : "models\" or \"fallbacks");
		return EG_REASON_REGION_UNKNOWN;
	}
	return EG_REASON_OK;
}

/* The reason when no target is left: the most telling one of what was found. */
static enum eg_reason worst_of(const unsigned int *seen)
{
	static const enum eg_reason order[] = {
		EG_REASON_STATEFUL_DENIED,
		EG_REASON_REGION_DENIED,
		EG_REASON_REGION_UNKNOWN,
		EG_REASON_KIND_MISMATCH,
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(order); i++)
		if (seen[order[i]])
			return order[i];
	return EG_REASON_NO_ROUTE;
}

static enum eg_reason choose_targets(struct deciding *d, const struct eg_route *route)
{
	unsigned int seen[EG_REASON_MAX] = {0};
	struct eg_decision *out = d->out;

	for (size_t i = 0; i < route->target_count && i < EG_MAX_TARGETS; i++) {
		enum eg_reason reason = judge_target(d, route->targets[i].provider,
						     &out->targets[out->target_count]);

		seen[reason]++;
		out->target_count += reason == EG_REASON_OK;
		/* State lies with the provider that made it: never at the next one. */
		if (d->stateful && out->target_count)
			break;
	}
	return out->target_count ? EG_REASON_OK : worst_of(seen);
}

/* ---- for `egretctl explain`: why each route was or was not the one ---- */
static bool host_matches(struct eg_str pattern, struct eg_str host)
{
	return pattern.p[0] == '*'
		       ? host.n >= pattern.n &&
				 eg_str_ends(host, (struct eg_str){pattern.p + 1, pattern.n - 1})
		       : eg_str_eq(pattern, host);
}

static bool route_has_host(const struct deciding *d, const struct eg_route *r)
{
	char text[256];
	struct eg_str host = eg_normal_host(d->facts->host, text);

	for (size_t i = 0; i < r->host_count; i++)
		if (host_matches(eg_str_from(r->hosts[i]), host))
			return true;
	return false;
}

static bool route_has_dialect(const struct deciding *d, const struct eg_route *r)
{
	for (size_t i = 0; i < r->target_count; i++)
		if (r->targets[i].provider->dialect == d->facts->dialect)
			return true;
	return false;
}

static bool route_has_operation(const struct deciding *d, const struct eg_route *r)
{
	for (size_t i = 0; i < r->operation_count; i++)
		if (r->operations[i]->id == d->operation)
			return true;
	return d->operation == OP_INFERENCE;
}

static const char *why_not(const struct deciding *d, const struct eg_route *r)
{
	if (d->facts->gateway_address && !route_has_dialect(d, r))
		return "no target speaks the client's dialect";
	if (!d->facts->gateway_address && !route_has_host(d, r))
		return "it names other hosts";
	if (!route_has_operation(d, r))
		return "it does not list the operation";
	return d->model.p ? "it names other models" : "it is by model, and the request has none";
}

static void trace_routes(struct deciding *d, uint32_t chosen)
{
	const struct eg_policy *p = d->policy;

	if (!d->trace)
		return;
	for (uint32_t i = 0; i < p->route_count; i++) {
		const struct eg_route *r = &p->routes[i];

		if (i > chosen) {
			STEP(d, "route", EG_REASON_OK, "later ones are not asked (%zu)",
			     p->route_count - i);
			break;
		}
		if (i == chosen)
			STEP(d, "route", EG_REASON_OK, "%s matches", r->name);
		else
			STEP(d, "route", EG_REASON_NO_ROUTE, "%s: %s", r->name, why_not(d, r));
	}
}

/* ---- the whole ---- */
static enum eg_reason decide(struct deciding *d)
{
	const struct eg_request_facts *f = d->facts;
	enum eg_reason reason;
	uint32_t route;

	if (!d->policy) {
		STEP(d, "policy", EG_REASON_NO_POLICY, "no policy selects the pod");
		return EG_REASON_NO_POLICY;
	}
	STEP(d, "policy", EG_REASON_OK, "%s (%s)", d->policy->name,
	     d->policy->mode == EG_MODE_ENFORCE ? "enforce" : "shadow");
	find_buckets(d);
	if (!d->bucket_count) {
		d->out->pass = !f->gateway_address && d->policy->otherwise_pass;
		reason = d->out->pass ? EG_REASON_PASS_THROUGH : EG_REASON_NO_ROUTE;
		if (f->gateway_address)
			STEP(d, "host", reason, "the policy has no target that speaks %s",
			     eg_dialect_label(f->dialect));
		else
			STEP(d, "host", reason, "no route of the policy names %.*s (otherwise: %s)",
			     EG_STR_ARG(f->host), d->policy->otherwise_pass ? "pass" : "deny");
		return reason;
	}
	reason = judge_operation(d);
	STEP(d, "operation", reason, "%s%s%s", f->operation ? f->operation->name : "unknown",
	     refers_to_state(f) ? ", whose body refers to what the provider keeps: needs " : "",
	     refers_to_state(f) ? eg_operation_for_state(f->operation)->name : "");
	if (reason != EG_REASON_OK)
		return reason;
	reason = judge_query(d);
	if (reason != EG_REASON_OK)
		return reason;
	if (eg_operation_reads_body(f->operation) && !f->body_read) {
		d->out->need_body = true;
		return EG_REASON_OK;
	}
	reason = judge_model(d);
	if (reason != EG_REASON_OK)
		return reason;
	route = find_route(d, d->operation);
	trace_routes(d, route);
	if (route == NO_ROUTE)
		return why_no_route(d);
	d->out->route = &d->policy->routes[route];
	reason = judge_fallbacks(d, d->out->route);
	return reason == EG_REASON_OK ? choose_targets(d, d->out->route) : reason;
}

void eg_policy_decide(const struct eg_policy_set *s, const struct eg_policy *p,
		      const struct eg_request_facts *facts, const struct eg_trace *trace,
		      struct eg_decision *out)
{
	struct deciding d = {.set = s, .policy = p, .facts = facts, .trace = trace, .out = out};

	*out = (struct eg_decision){.shadow = p && p->mode != EG_MODE_ENFORCE};
	out->reason = decide(&d);
	out->stateful = d.stateful;
}
