/* SPDX-License-Identifier: Apache-2.0 */
/* The one access record of a request. */
#include "exchange/exchange_impl.h"
#include "telemetry/tracer.h"

#define ENDPOINT_TEXT (EG_ADDRESS_TEXT + 8)

static const char *endpoint_text(const struct eg_endpoint *e, char out[ENDPOINT_TEXT])
{
	bool bracket = !eg_address_is_v4(&e->address);
	char *at = out;

	if (bracket)
		*at++ = '[';
	eg_address_text(&e->address, at);
	at += strlen(at);
	if (bracket)
		*at++ = ']';
	*at++ = ':';
	at += eg_decimal(at, e->port);
	*at = '\0';
	return out;
}

static void describe_pod(struct eg_record *r, const struct eg_pod_view *pod)
{
	if (!pod)
		return;
	r->pod_namespace = pod->identity.namespace_name;
	r->pod_name = pod->identity.name;
	r->service_account = pod->identity.service_account;
	r->pod_uid = pod->identity.uid;
}

/* What policy took for the model: of body or query, or the path's last segment. */
static struct eg_str asked_model(const struct eg_exchange *x)
{
	return x->operation && x->operation->model_in_path ? eg_path_model(x->target.decoded)
							   : x->body.model;
}

/* The rule's pattern that the model matched, so that a client can't make new metric labels. */
static const char *model_label(const struct eg_exchange *x, struct eg_str model)
{
	const struct eg_route *route = x->decision.route;

	for (size_t i = 0; route && model.p && i < route->model_count; i++)
		if (eg_glob(eg_str_from(route->models[i]), model))
			return route->models[i];
	return NULL;
}

static void describe_usage(struct eg_record *r, const struct eg_usage *u)
{
	r->usage_known = u->known;
	r->response_model = eg_str_from(u->response_model);
	r->input_tokens = u->input_tokens;
	r->output_tokens = u->output_tokens;
	r->cache_read_tokens = u->cache_read_tokens;
	r->cache_write_tokens = u->cache_write_tokens;
	r->reasoning_tokens = u->reasoning_tokens;
}

static void describe_upstream(struct eg_record *r, const struct eg_exchange *x)
{
	r->upstream_status = x->upstream_status;
	r->replayed = x->replayed;
	r->possibly_billed_twice = x->billed_twice;
	r->upstream_reused = x->upstream_reused;
	r->upstream_protocol = x->upstream_protocol;
	r->response_encoding = x->answer_encoding;
	r->response_unread = x->unread;
	r->upstream_connect_ms = x->connect_ms;
	r->attempts = x->attempts;
	r->attempt_count = x->attempt_count;
	if (!x->provider)
		return;
	r->provider = x->provider->name;
	r->provider_kind = x->provider->kind;
	r->region = exchange_attempt_region(x);
}

/* A provider that moved does so for every request: one line a second says it. */
static void say_violation(const struct eg_exchange *x, struct eg_str said)
{
	uint64_t now = eg_loop_now_ms(x->engine->loop);

	if (x->engine->violation_said_ms && now - x->engine->violation_said_ms < 1000)
		return;
	x->engine->violation_said_ms = now;
	eg_warn("request %s: provider %s says it was processed in \"%.*s\", which policy %s does "
		"not "
		"allow; is the region stated for it right?",
		x->id, x->provider->name, (int)EG_MIN(said.n, (size_t)64), said.p, x->policy->name);
}

/* The check after the one before: does the answer say it came from where policy allows? */
static void judge_evidence(struct eg_record *r, const struct eg_exchange *x, struct eg_str said)
{
	struct eg_region where;

	if (!x->provider || !eg_region_of_evidence(said, &where) || r->region_violation)
		return;
	r->region_evidence = said;
	if (!x->policy || eg_policy_allows_region(x->policy, &where))
		return;
	r->region_violation = true;
	eg_telemetry_count(x->engine->telemetry, EG_COUNT_REGION_VIOLATIONS, 1);
	say_violation(x, said);
}

/*
 * Why, for the record. Under a policy that only watches it is what would have been, however what
 * was passed on ended; but what Egret refused all the same was refused for that.
 */
static enum eg_reason why(const struct eg_exchange *x)
{
	bool passed_on = x->reason == EG_REASON_OK || x->reason == EG_REASON_CLIENT_CLOSED ||
			 x->upstream_status;

	return x->shadow && passed_on && x->shadow_reason != EG_REASON_OK ? x->shadow_reason
									  : x->reason;
}

/* ---- what records have in common ---- */

static bool is_of(const struct eg_record_memo *m, const struct eg_record_memo *key)
{
	return m->base && m->snapshot == key->snapshot && m->pod == key->pod &&
	       m->policy == key->policy && m->route == key->route && m->provider == key->provider &&
	       !strcmp(m->region.code, key->region.code);
}

/*
 * The text of what `r` has in common with the records before it: all of it is the snapshot's, and
 * follows from the pod and where the request went. NULL: there is none, or no memory; then it is
 * written anew.
 */
static struct eg_record_base *base_of(const struct eg_exchange *x, const struct eg_record *r)
{
	struct eg_account *a = x->peer->account;
	struct eg_record_memo key = {
		.pod = x->pod,
		.policy = x->policy,
		.route = x->decision.route,
		.provider = x->provider,
	};
	size_t i = 0;

	if (!a || !x->pod)
		return NULL;
	key.snapshot = eg_snapshot_serial(x->snapshot);
	eg_str_copy(key.region.code, sizeof(key.region.code), eg_str_from(r->region));
	if (is_of(&a->records[0], &key))
		return a->records[0].base;
	while (i < EG_ACCOUNT_RECORDS && !is_of(&a->records[i], &key))
		i++;
	if (i < EG_ACCOUNT_RECORDS) {
		key = a->records[i];
	} else {
		key.base = eg_record_base_create(r);
		if (!key.base)
			return NULL;
		eg_record_base_destroy(a->records[--i].base);
	}
	memmove(&a->records[1], &a->records[0], i * sizeof(key));
	a->records[0] = key;
	return key.base;
}

/* A connection that carried no request, to who watches. */
static void trace_connection(struct eg_engine *e, const struct eg_record *r)
{
	struct eg_tracer *t = eg_telemetry_tracer(e->telemetry);
	struct eg_traced *d =
		eg_tracer_on(t) ? eg_traced_begin(t, r->pod_namespace, r->pod_name) : NULL;

	if (d)
		eg_telemetry_traced(e->telemetry, r, true, d);
	eg_traced_end(d);
}

void exchange_record(struct eg_exchange *x)
{
	struct eg_telemetry *t = x->engine->telemetry;
	char source[ENDPOINT_TEXT], destination[ENDPOINT_TEXT];
	uint64_t now = eg_loop_now_ms(x->engine->loop);
	struct eg_record r = {.wall_ms = x->wall_ms};

	if (x->recorded)
		return;
	x->recorded = true;
	if (!t)
		return;
	memcpy(r.request_id, x->id, sizeof(r.request_id));
	describe_pod(&r, x->pod);
	r.source = endpoint_text(&x->peer->source, source);
	r.destination = endpoint_text(&x->peer->destination, destination);
	if (x->policy)
		r.policy = x->policy->name;
	if (x->snapshot)
		r.policy_version = eg_policy_version(eg_snapshot_policies(x->snapshot));
	if (x->decision.route)
		r.route = x->decision.route->name;
	r.server_name = eg_str_from(x->peer->server_name ? x->peer->server_name : x->host);
	r.protocol = x->peer->http2		 ? "HTTP/2"
		     : x->have_head && !x->minor ? "HTTP/1.0"
						 : "HTTP/1.1";
	r.method = x->method;
	r.path = x->target.path.n ? x->target.path : exchange_path_unread(x);
	r.model = asked_model(x);
	r.user_agent = x->user_agent;
	r.operation = x->operation ? x->operation->name : NULL;
	r.dialect = eg_dialect_label(x->dialect);
	r.model_label = model_label(x, r.model);
	r.status = x->status;
	r.shadow = x->shadow;
	r.reason = why(x);
	r.detail = x->detail;
	if (!r.detail && x->fail_text[0] && x->reason != EG_REASON_OK)
		r.detail = x->fail_text;
	r.streamed = x->sse;
	r.connection_reused = x->reused;
	r.client_credential_real = x->real_credential;
	r.bytes_in = x->bytes_in;
	r.bytes_out = x->bytes_out;
	r.first_byte_seen = x->first_byte_ms > 0;
	if (r.first_byte_seen)
		r.first_byte_ms = (uint32_t)(x->first_byte_ms - x->began_ms);
	r.duration_ms = (uint32_t)(now - x->began_ms);
	if (x->attempt_count || x->attempt_began_ms)
		r.queue_ms = x->attempt_began_ms > x->began_ms && x->attempt_count <= 1
				     ? (uint32_t)(x->attempt_began_ms - x->began_ms)
				     : 0;
	describe_upstream(&r, x);
	describe_usage(&r, &x->usage);
	if (exchange_quotes_key(x, r.response_model))
		r.response_model = EG_STR("[redacted]");
	judge_evidence(&r, x, x->region_evidence);
	judge_evidence(&r, x, eg_str_from(x->usage.inference_geo));
	r.base = base_of(x, &r);
	eg_telemetry_record(t, &r);
	if (x->traced)
		eg_telemetry_traced(t, &r, false, x->traced);
}

void eg_exchange_connection_record(struct eg_engine *e, const struct eg_peer *peer,
				   const char *server_name, enum eg_reason reason,
				   const char *detail, uint64_t began_ms, uint64_t bytes_in,
				   uint64_t bytes_out, bool shadow)
{
	char source[ENDPOINT_TEXT], destination[ENDPOINT_TEXT];
	uint64_t now = eg_loop_now_ms(e->loop);
	const struct eg_pod_view *pod =
		e->snapshot ? eg_snapshot_pod(e->snapshot, &peer->source.address) : NULL;
	struct eg_record r = {
		.wall_ms = eg_wall_ms() - (now - began_ms),
		.source = endpoint_text(&peer->source, source),
		.destination = endpoint_text(&peer->destination, destination),
		.server_name = eg_str_from(server_name),
		.reason = reason,
		.detail = detail,
		.shadow = shadow,
		.bytes_in = bytes_in,
		.bytes_out = bytes_out,
		.duration_ms = (uint32_t)(now - began_ms),
	};

	if (!e->telemetry)
		return;
	eg_engine_request_id(e, r.request_id);
	describe_pod(&r, pod);
	if (pod && pod->policy)
		r.policy = pod->policy->name;
	if (e->snapshot)
		r.policy_version = eg_policy_version(eg_snapshot_policies(e->snapshot));
	eg_telemetry_connection(e->telemetry, &r);
	trace_connection(e, &r);
}
