/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of docs/policy.md for one request, written down route by route, apart from
 * policy/decide.c: no index, no trace. The body is always there.
 */
#ifndef EGRET_TESTS_FUZZ_POLICY_REFERENCE_H
#define EGRET_TESTS_FUZZ_POLICY_REFERENCE_H

#include "fuzz.h"
#include "policy/policy.h"

static inline bool ref_host(const struct eg_route *r, const struct eg_request_facts *f)
{
	for (size_t i = 0; i < r->host_count && !f->gateway_address; i++) {
		struct eg_str p = eg_str_from(r->hosts[i]);

		if (p.p[0] == '*' ? f->host.n > p.n - 1 &&
					    eg_str_ends(f->host, (struct eg_str){p.p + 1, p.n - 1})
				  : eg_str_eq(p, f->host))
			return true;
	}
	for (size_t i = 0; i < r->target_count && f->gateway_address; i++)
		if (r->targets[i].provider->dialect == f->dialect)
			return true;
	return false;
}

static inline bool ref_model(const struct eg_route *r, struct eg_str model)
{
	for (size_t i = 0; i < r->model_count; i++)
		if (model.p && eg_glob(eg_str_from(r->models[i]), model))
			return true;
	return !r->model_count;
}

/* `operation` NULL: inference, which every route allows. */
static inline bool ref_operation(const struct eg_route *r, const char *operation)
{
	for (size_t i = 0; i < r->operation_count && operation; i++)
		if (!strcmp(r->operations[i]->name, operation))
			return true;
	return !operation;
}

static inline enum eg_reason ref_target(const struct eg_policy *p, const struct eg_provider *t,
					const struct eg_request_facts *f, bool stateful,
					struct eg_chosen_target *out)
{
	struct eg_str model = f->body.model;

	out->provider = t;
	for (size_t i = 0; i < t->model_count && model.p && !out->model; i++)
		if (eg_str_eq(eg_str_from(t->models[i].from), f->body.model))
			out->model = t->models[i].to;
	if (out->model)
		model = eg_str_from(out->model);
	if (t->dialect != f->dialect)
		return EG_REASON_KIND_MISMATCH;
	eg_region_of_request(t->dialect, eg_str_from(t->host), &t->region, t->region_stated, model,
			     &f->body, &out->region);
	for (size_t k = 0; k < p->region_count; k++) {
		if (eg_region_satisfies(&out->region, &p->regions[k]))
			break;
		if (k + 1 == p->region_count)
			return *out->region.code ? EG_REASON_REGION_DENIED
						 : EG_REASON_REGION_UNKNOWN;
	}
	if (stateful && (!t->credential || !t->credential->owner_namespace ||
			 strcmp(t->credential->owner_namespace, f->pod_namespace) != 0))
		return EG_REASON_STATEFUL_DENIED;
	return EG_REASON_OK;
}

static inline void ref_targets(const struct eg_policy *p, const struct eg_request_facts *f,
			       bool stateful, struct eg_decision *out)
{
	static const enum eg_reason telling[] = {EG_REASON_STATEFUL_DENIED, EG_REASON_REGION_DENIED,
						 EG_REASON_REGION_UNKNOWN};
	bool seen[EG_REASON_MAX] = {false};

	for (size_t i = 0; i < out->route->target_count; i++) {
		struct eg_chosen_target target = {0};
		enum eg_reason reason =
			ref_target(p, out->route->targets[i].provider, f, stateful, &target);

		seen[reason] = true;
		if (reason == EG_REASON_OK && (!stateful || !out->target_count))
			out->targets[out->target_count++] = target;
	}
	out->reason = EG_REASON_KIND_MISMATCH;
	for (size_t i = EG_ARRAY_SIZE(telling); i-- > 0;)
		if (seen[telling[i]])
			out->reason = telling[i];
	if (out->target_count)
		out->reason = EG_REASON_OK;
}

static inline enum eg_reason ref_class(enum eg_operation_class class)
{
	switch (class) {
	case EG_CLASS_UNKNOWN:
		return EG_REASON_UNKNOWN_OPERATION;
	case EG_CLASS_CREDENTIAL:
		return EG_REASON_CREDENTIAL_MINTING;
	case EG_CLASS_ADMIN:
		return EG_REASON_OPERATION_DENIED;
	case EG_CLASS_INFERENCE:
	case EG_CLASS_METADATA:
	case EG_CLASS_STATEFUL:
		break;
	}
	return EG_REASON_OK;
}

static inline void policy_reference(const struct eg_policy *p, const struct eg_request_facts *f,
				    struct eg_decision *out)
{
	const struct eg_operation *op = f->operation;
	const char *operation = op->class == EG_CLASS_INFERENCE ? NULL : op->name;
	bool state = op->may_hold_state && f->body.store_or_state;
	bool stateful = op->class == EG_CLASS_STATEFUL || state;
	bool named = false, possible = false, fits = false;

	*out = (struct eg_decision){0};
	if (state)
		operation = !strncmp(op->name, "responses", 9) ? "responses.stored" : "files";
	for (size_t i = 0; i < p->route_count; i++) {
		const struct eg_route *r = &p->routes[i];

		if (!ref_host(r, f))
			continue;
		named = true;
		possible |= ref_operation(r, operation);
		fits |= ref_model(r, f->body.model);
		if (!out->route && ref_operation(r, operation) && ref_model(r, f->body.model))
			out->route = r;
	}
	out->pass = !named && p->otherwise_pass && !f->gateway_address;
	if (!named)
		out->reason = out->pass ? EG_REASON_PASS_THROUGH : EG_REASON_NO_ROUTE;
	else if (ref_class(op->class) != EG_REASON_OK)
		out->reason = ref_class(op->class);
	else if (out->route)
		ref_targets(p, f, stateful, out);
	else if (!possible || fits)
		out->reason = stateful ? EG_REASON_STATEFUL_DENIED : EG_REASON_OPERATION_DENIED;
	else
		out->reason = f->body.model.p ? EG_REASON_MODEL_DENIED : EG_REASON_NO_MODEL;
	if (ref_class(op->class) != EG_REASON_OK)
		out->route = NULL;
}

#endif
