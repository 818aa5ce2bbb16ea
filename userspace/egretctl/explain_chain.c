/* SPDX-License-Identifier: Apache-2.0 */
/* The chain of decisions of one request, as the gateway would make them: what of it is asked, in
 * which order, and what each step says. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "egretctl/explain.h"
#include "proto/uri.h"

#define BODY_MAX (32u << 20)

static void add_step(void *ctx, const char *what, enum eg_reason reason, const char *format, ...)
	EG_PRINTF(4, 5);
static void add_step(void *ctx, const char *what, enum eg_reason reason, const char *format, ...)
{
	struct explanation *x = ctx;
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	json_array_append_new(x->steps,
			      json_pack("{s:s, s:b, s:s, s:o}", "step", what, "ok",
					reason == EG_REASON_OK, "reason", eg_reason_label(reason),
					"text", eg_json_text(eg_str_from(text))));
}

static void conclude(struct explanation *x, enum eg_reason reason, bool allowed, const char *format,
		     ...) EG_PRINTF(4, 5);
static void conclude(struct explanation *x, enum eg_reason reason, bool allowed, const char *format,
		     ...)
{
	va_list ap;

	x->reason = reason;
	x->allowed = allowed;
	va_start(ap, format);
	vsnprintf(x->answer, sizeof(x->answer), format, ap);
	va_end(ap);
}

/* ", labels a=b,c=d"; what says nothing is nothing. */
static void write_labels(char out[256], const char *what, const struct eg_label *labels,
			 size_t count)
{
	size_t n = 0;

	*out = '\0';
	for (size_t i = 0; i < count && n < 256; i++)
		n += (size_t)snprintf(out + n, 256 - n, "%s%s=%s", i ? "," : what, labels[i].key,
				      labels[i].value);
}

static void show_pod(struct explanation *x, const struct eg_identity *pod)
{
	char labels[256], of_namespace[256];

	write_labels(labels, ", labels ", pod->labels, pod->label_count);
	write_labels(of_namespace, ", labels of its namespace ", pod->namespace_labels,
		     pod->namespace_label_count);
	add_step(x, "pod", EG_REASON_OK, "%s/%s%s%s", pod->namespace_name, pod->name, labels,
		 of_namespace);
}

/* Of a pod of the agent's the feeders will tell; of any pod like this it has to be said. */
static int explain_perhaps(struct explanation *x, const struct eg_selected *s)
{
	add_step(x, "policy", EG_REASON_UNKNOWN_POD,
		 "%s perhaps (%s): it depends on the labels of the namespace, which are not known",
		 s->policy->name, s->policy->mode == EG_MODE_ENFORCE ? "enforce" : "shadow");
	conclude(x, EG_REASON_UNKNOWN_POD, false,
		 "Which policy selects the pod depends on its namespace: give --namespace-labels "
		 "(\"\" for none).");
	return EG_EXIT_OK;
}

static int refuse_body(struct explanation *x, enum eg_reason reason, const char *why)
{
	add_step(x, "body", reason, "%s", why);
	conclude(x, reason, false, "%s (HTTP %u)", eg_reason_text(reason),
		 eg_reason_status(reason));
	return EG_EXIT_NO;
}

static int read_facts(struct explanation *x, struct eg_request_facts *f, struct eg_str text,
		      struct eg_error *e)
{
	if (f->operation->form_body)
		return eg_form_read(&x->arena, f->operation, eg_str_from(x->q->content_type), text,
				    &f->body, e);
	return eg_body_read(&x->arena, f->operation, text, &f->body, e);
}

/* What the head says of the body: the query's model, and as what it would be read. */
static int read_head(struct explanation *x, struct eg_request_facts *f)
{
	const struct eg_operation *as;
	int r;

	if (x->q->model || x->q->body) {
		as = eg_operation_for_content(f->operation, eg_str_from(x->q->content_type));
		f->operation = as ? as : f->operation;
	}
	if (!f->operation->model_in_query)
		return EG_EXIT_OK;
	f->body_read = true;
	r = eg_query_value(&x->arena, f->target.query, EG_STR("model"), &f->body.model);
	if (!r || r == -ENOENT)
		return EG_EXIT_OK;
	conclude(x, EG_REASON_BAD_REQUEST, false,
		 "the query's \"model\" comes twice, or is malformed");
	return EG_EXIT_NO;
}

/* As the gateway: what the head alone decides is said before the body is read, and passes or is
 * denied with it unread. */
static bool head_decides(const struct eg_policy_set *s, const struct eg_policy *p,
			 const struct eg_request_facts *f)
{
	struct eg_decision d;

	if (f->gateway_address && p->mode != EG_MODE_ENFORCE)
		return true;
	eg_policy_decide(s, p, f, NULL, &d);
	return !d.need_body && (d.pass || d.reason != EG_REASON_OK);
}

/* The facts borrow from the text: keep what is asked of it for as long as they live. */
static void keep_facts(struct explanation *x, struct eg_body_facts *b)
{
	if (b->model.p)
		b->model.p = eg_arena_dup(&x->arena, b->model);
	b->model_raw = b->form_boundary.p ? b->model : (struct eg_str){0};
	if (b->inference_geo.p)
		b->inference_geo.p = eg_arena_dup(&x->arena, b->inference_geo);
}

static int read_body(struct explanation *x, const struct eg_policy *p, struct eg_request_facts *f)
{
	const struct question *q = x->q;
	struct eg_error e = {0};
	struct eg_str text;
	int r;

	bool reads = eg_operation_reads_body(f->operation);

	if (q->model && reads) {
		f->body_read = true;
		f->body.model = eg_str_from(q->model);
	}
	if (!q->model && !q->body)
		return EG_EXIT_OK;
	if (!eg_operation_for_content(f->operation, eg_str_from(q->content_type)))
		return refuse_body(x, EG_REASON_BAD_BODY,
				   "the operation takes no body of this Content-Type");
	if (!q->body)
		return EG_EXIT_OK;
	r = eg_read_file(q->body, BODY_MAX, &text, &e);
	if (r)
		return eg_usage_error("explain", "--body %s", e.text);
	x->body_bytes = text.n;
	if (p->mode == EG_MODE_ENFORCE && reads && text.n > p->largest_body_bytes) {
		free((char *)(uintptr_t)text.p);
		return refuse_body(x, EG_REASON_BODY_TOO_LARGE,
				   "larger than every route of the policy allows");
	}
	if (!reads) { /* what the head said stands */
		free((char *)(uintptr_t)text.p);
		return EG_EXIT_OK;
	}
	r = read_facts(x, f, text, &e);
	f->body_read = true;
	if (!r)
		keep_facts(x, &f->body);
	free((char *)(uintptr_t)text.p);
	return r ? refuse_body(x, EG_REASON_BAD_BODY, e.text) : EG_EXIT_OK;
}

/* What the gateway asks of a body once its route is known (exchange/body.c). */
static enum eg_reason judge_body(struct explanation *x, const struct eg_decision *d,
				 const struct eg_body_facts *body)
{
	if (x->body_bytes > d->route->max_body_bytes) {
		add_step(x, "body", EG_REASON_BODY_TOO_LARGE,
			 "%llu bytes; route %s allows %llu (max_body_bytes)",
			 (unsigned long long)x->body_bytes, d->route->name,
			 (unsigned long long)d->route->max_body_bytes);
		return EG_REASON_BODY_TOO_LARGE;
	}
	if (!eg_decision_fits_form(d, body)) {
		add_step(x, "body", EG_REASON_BAD_BODY, "%s", EG_MODEL_NOT_REPLACED);
		return EG_REASON_BAD_BODY;
	}
	return EG_REASON_OK;
}

static void show_targets(struct explanation *x, const struct eg_decision *d,
			 const struct eg_request_facts *f, struct eg_str rest)
{
	char list[400] = "";
	struct eg_buf path;
	size_t n = 0;

	eg_buf_init(&path, sizeof(list));
	for (size_t i = 0; i < d->target_count && n < sizeof(list); i++) {
		const struct eg_provider *p = d->targets[i].provider;

		/* What has no room would be cut below. */
		eg_buf_clear(&path);
		(void)!eg_operation_write_path(&path, f->operation, rest, d->targets[i].model);
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s://%s:%u%s%.*s (%s)",
				      i ? ", then " : "", p->tls ? "https" : "http", p->host,
				      p->port, p->base_path, EG_STR_ARG(eg_buf_str(&path)),
				      p->credential ? p->credential->name : "no credential");
	}
	eg_buf_fini(&path);
	conclude(x, EG_REASON_OK, true, "Allowed by route %s: goes to %s.", d->route->name, list);
}

/* What the agent records of a connection that it does not open (front/connection_hello.c). */
static void conclude_names_only(struct explanation *x, enum eg_name_verdict verdict,
				bool otherwise_pass)
{
	bool plain = x->q->port == 80;
	enum eg_reason recorded = plain			      ? EG_REASON_SHADOW
				  : verdict == EG_NAME_ROUTED ? EG_REASON_OK
				  : otherwise_pass	      ? EG_REASON_PASS_THROUGH
							      : EG_REASON_NO_ROUTE;

	add_step(x, "shadow", EG_REASON_SHADOW,
		 "shadow: sni judges the server's name only: nothing is decrypted, so paths, "
		 "operations and models are never seen");
	conclude(x, recorded, true,
		 "Passed through untouched, with the pod's own credential. Recorded: type "
		 "connection, reason %s%s.",
		 eg_reason_label(recorded),
		 recorded == EG_REASON_OK ? "; whether each request would be allowed is not "
					    "known (shadow: full would tell)"
					  : "");
}

/* The steps under "shadow: sni" are what enforcement would say. */
static void note_enforcement(struct explanation *x, const struct eg_decision *d)
{
	if (d->need_body)
		add_step(x, "enforced", EG_REASON_OK, "it would depend on the body");
	else
		add_step(x, "enforced", d->reason, "it would be: %s", eg_reason_text(d->reason));
}

static void note_shadow(struct explanation *x)
{
	add_step(x, "shadow", EG_REASON_SHADOW,
		 "the policy is in shadow mode: this is recorded and nothing changes");
	x->allowed = true;
}

static void decide(struct explanation *x, const struct eg_policy_set *s, const struct eg_policy *p,
		   struct eg_request_facts *f, struct eg_str rest)
{
	struct eg_trace trace = {add_step, x};
	struct eg_decision d;

	eg_policy_decide(s, p, f, &trace, &d);
	if (d.reason == EG_REASON_OK && d.route)
		d.reason = judge_body(x, &d, &f->body);
	if (d.shadow && x->q->gateway) {
		conclude(x, EG_REASON_NO_ROUTE, false,
			 "The policy is in shadow mode, and the gateway address is served by "
			 "enforced policies only. (HTTP %u)",
			 eg_reason_status(EG_REASON_NO_ROUTE));
		return;
	}
	if (p->mode == EG_MODE_SHADOW_SNI) {
		note_enforcement(x, &d);
		conclude_names_only(x, eg_policy_name(s, p, f->host), p->otherwise_pass);
		return;
	}
	if (d.need_body)
		conclude(x, EG_REASON_OK, false,
			 "The head alone does not decide: give --model or --body.");
	else if (d.pass)
		conclude(x, d.reason, true,
			 "Passed through untouched, with the pod's own credential.");
	else if (d.reason == EG_REASON_OK)
		show_targets(x, &d, f, rest);
	else
		conclude(x, d.reason, false, "%s (HTTP %u)", eg_reason_text(d.reason),
			 eg_reason_status(d.reason));
	if (d.shadow && !d.need_body)
		note_shadow(x);
}

/* Found before policy is asked; a policy in shadow mode lets it pass all the same. */
static void shadow_passes(struct explanation *x, const struct eg_policy_set *s,
			  const struct eg_policy *p)
{
	if (x->q->gateway || p->mode == EG_MODE_ENFORCE)
		return;
	if (p->mode == EG_MODE_SHADOW_SNI)
		conclude_names_only(x, eg_policy_name(s, p, x->q->name), p->otherwise_pass);
	else
		note_shadow(x);
}

static int explain_request(struct explanation *x, const struct eg_policy_set *s,
			   const struct eg_policy *p, const struct eg_identity *pod)
{
	const struct question *q = x->q;
	struct eg_request_facts f = {.gateway_address = q->gateway,
				     .host = q->name,
				     .method = eg_str_from(q->method),
				     .pod_namespace = pod->namespace_name};
	struct eg_str rest = {0};
	int r;

	/* By its name alone: nothing of the request is seen. */
	if (!q->gateway && p->otherwise_pass && eg_policy_name(s, p, f.host) == EG_NAME_OTHERWISE) {
		decide(x, s, p, &f, rest);
		return EG_EXIT_OK;
	}
	r = eg_target_parse(&x->arena, eg_str_from(q->path), &f.target);
	if (r) {
		enum eg_reason reason = r == -EPERM ? EG_REASON_PATH_UNSAFE : EG_REASON_BAD_REQUEST;

		add_step(x, "path", reason, "%s", q->path);
		conclude(x, reason, false, "%s (HTTP %u)", eg_reason_text(reason),
			 eg_reason_status(reason));
		shadow_passes(x, s, p);
		return EG_EXIT_OK;
	}
	f.dialect = eg_dialect_of_request(f.host, f.target.decoded);
	f.operation = eg_operation_find(f.dialect, f.method, f.target.decoded, &rest);
	r = read_head(x, &f);
	if (!r && !head_decides(s, p, &f))
		r = read_body(x, p, &f);
	if (r == EG_EXIT_NO)
		shadow_passes(x, s, p);
	if (r)
		return r == EG_EXIT_NO ? EG_EXIT_OK : r;
	decide(x, s, p, &f, rest);
	return EG_EXIT_OK;
}

/* The name alone does not tell where it leads: said of where it matters. */
static void explain_front(struct explanation *x, const struct eg_policy *p)
{
	bool shadow = p->mode != EG_MODE_ENFORCE;

	add_step(x, "policy", EG_REASON_OK, "%s (%s)", p->name, shadow ? "shadow" : "enforce");
	add_step(x, "host", EG_REASON_DOMAIN_FRONTING, "a provider lists %.*s under \"fronts\"",
		 EG_STR_ARG(x->q->name));
	conclude(x, EG_REASON_DOMAIN_FRONTING, shadow,
		 "%s at an address that is captured (a provider's); untouched at any other.",
		 shadow ? "Recorded" : "Refused");
	if (shadow)
		note_shadow(x);
}

int explain_pod(struct explanation *x, const struct eg_policy_set *s, const struct eg_identity *pod)
{
	struct eg_selected selected = eg_policy_select(s, pod);
	const struct eg_policy *p = selected.policy;
	const struct question *q = x->q;
	enum eg_name_verdict verdict;

	show_pod(x, pod);
	if (selected.what == EG_SELECTION_PERHAPS)
		return explain_perhaps(x, &selected);
	if (!p) {
		add_step(x, "policy", EG_REASON_PASS_UNGOVERNED, "no policy selects the pod");
		conclude(x, EG_REASON_PASS_UNGOVERNED, !q->gateway,
			 q->gateway
				 ? "Denied: the gateway address answers only pods that a policy "
				   "selects."
				 : "Untouched: no policy selects this pod, so its traffic is not "
				   "captured at all.");
		return EG_EXIT_OK;
	}
	if (q->gateway)
		return explain_request(x, s, p, pod);
	verdict = eg_policy_name(s, p, q->name);
	if (verdict == EG_NAME_UNGOVERNED && q->port != 80 && eg_policy_fronts(s, q->name)) {
		explain_front(x, p);
		return EG_EXIT_OK;
	}
	if (verdict == EG_NAME_UNGOVERNED) {
		add_step(x, "policy", EG_REASON_OK, "%s", p->name);
		add_step(x, "host", EG_REASON_PASS_UNGOVERNED,
			 "%.*s: no route of any policy names it", EG_STR_ARG(q->name));
		conclude(x, EG_REASON_PASS_UNGOVERNED, true, "Untouched: %.*s is not governed.%s",
			 EG_STR_ARG(q->name),
			 p->strict ? " Under capture: strict its address is denied unless learned."
				   : "");
		return EG_EXIT_OK;
	}
	if (q->port && q->port != 443 && q->port != 80) {
		bool shadow = p->mode != EG_MODE_ENFORCE;

		add_step(x, "policy", EG_REASON_OK, "%s (%s)", p->name,
			 shadow ? "shadow" : "enforce");
		add_step(x, "port", shadow ? EG_REASON_SHADOW : EG_REASON_PORT_DENIED,
			 "%.*s is governed, and %u is neither 443 nor 80", EG_STR_ARG(q->name),
			 q->port);
		conclude(x, shadow ? EG_REASON_SHADOW : EG_REASON_PORT_DENIED, shadow, "%s",
			 shadow ? "Passes: the policy is in shadow mode."
				: eg_reason_text(EG_REASON_PORT_DENIED));
		return EG_EXIT_OK;
	}
	return explain_request(x, s, p, pod);
}
