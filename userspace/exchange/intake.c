/* SPDX-License-Identifier: Apache-2.0 */
/* The request's head: what is copied of it, what must hold, what policy says. */
#include <stdio.h>

#include "exchange/exchange_impl.h"
#include "proto/websocket.h"

#define VIA EG_STR("x-egret-via")

/* ---- the copy ---- */

static struct eg_str rebase(struct eg_str s, struct eg_str from, const char *to)
{
	return s.p ? (struct eg_str){to + (s.p - from.p), s.n} : s;
}

/* Ours to write, or for this connection only. A tag is looked at whatever Connection names; who
 * writes it again is upstream_head.c. */
static bool stays_here(const struct eg_h1_head *head, enum eg_field f, struct eg_str name)
{
	if (f == EG_FIELD_X_EGRET_VIA)
		return false;
	return f == EG_FIELD_HOST || f == EG_FIELD_CONTENT_LENGTH ||
	       (f == EG_FIELD_EXPECT && !head->expect_other) || eg_h1_hop_by_hop(head, f, name);
}

/* A browser's WebSocket has no other place for a key than a subprotocol. */
static void look_at_subprotocols(struct eg_exchange *x, struct eg_str list)
{
	struct eg_str token, secret;

	while (eg_h1_list_next(&list, &token)) {
		if (!eg_subprotocol_credential(token, &secret)) {
			x->odd_subprotocol |= !eg_subprotocol_defined(token);
			continue;
		}
		x->placeholder |= secret.n > 0;
		x->real_credential |= eg_credential_looks_real(EG_STR("x-api-key"), secret);
	}
}

static void look_at(struct eg_exchange *x, enum eg_field f, const struct eg_header *h)
{
	if (f == EG_FIELD_USER_AGENT)
		x->user_agent = h->value;
	else if (f == EG_FIELD_CONTENT_TYPE) /* two: none that any body has */
		x->content_type = x->content_type.p ? EG_STR("two") : h->value;
	else if (f == EG_FIELD_CONTENT_ENCODING)
		x->coding = eg_coding_join(x->coding, eg_coding_parse(h->value));
	else if (f == EG_FIELD_ORIGIN)
		x->origin = true;
	else if (f == EG_FIELD_X_EGRET_VIA)
		x->via = h->value;
	else if (f == EG_FIELD_SEC_WEBSOCKET_PROTOCOL && x->websocket)
		look_at_subprotocols(x, h->value);
	else if (f == EG_FIELD_AUTHORIZATION || f == EG_FIELD_X_API_KEY)
		x->placeholder |= h->value.n > 0;
	if (eg_field_in(f, eg_credential_fields) && eg_credential_looks_real(h->name, h->value))
		x->real_credential = true;
}

int exchange_copy_head(struct eg_exchange *x, const struct eg_h1_head *head, struct eg_str bytes)
{
	char *copy = eg_arena_dup(&x->arena, (struct eg_str){bytes.p, head->head_bytes});

	x->headers = eg_arena_alloc(&x->arena, (head->header_count + 1) * sizeof(*x->headers));
	if (copy)
		x->head_bytes = (struct eg_str){copy, head->head_bytes};
	if (!copy || !x->headers)
		return -ENOMEM;
	x->have_head = true;
	x->method = rebase(head->method, bytes, copy);
	x->raw_target = rebase(head->target, bytes, copy);
	x->host_field = rebase(head->host, bytes, copy);
	x->host_name = rebase(head->host_name, bytes, copy);
	x->host_port = head->host_port;
	x->minor = head->minor;
	x->body_kind = head->body;
	x->content_length = head->content_length;
	x->expect_other = head->expect_other;
	/* HTTP/1.0 has no place for them. */
	x->te_trailers = head->minor && eg_h1_list_has(head, EG_STR("te"), EG_STR("trailers"));
	x->websocket = eg_websocket_wanted(head);
	x->websocket_wrong = x->websocket ? eg_websocket_wrong(head) : NULL;
	for (size_t i = 0; i < head->header_count; i++) {
		struct eg_header h = {rebase(head->headers[i].name, bytes, copy),
				      rebase(head->headers[i].value, bytes, copy)};

		enum eg_field f = eg_field_of(h.name);

		/* A header that Connection names is looked at all the same, and goes no further. */
		look_at(x, f, &h);
		if (!stays_here(head, f, h.name))
			x->headers[x->header_count++] = h;
	}
	return 0;
}

/* ---- what it speaks, where nothing is known of it yet ---- */

/* The path of a target as it was sent, or what stands in its place, at the beginning of `s`. */
static struct eg_str rough_path(struct eg_str s)
{
	size_t n = 0;

	while (n < s.n && !strchr("?# \r\n", s.p[n])) /* NUL ends it, too */
		n++;
	s.n = n;
	for (size_t i = 0; i + 3 < s.n && s.p[0] != '/'; i++) {
		if (memcmp(s.p + i, "://", 3))
			continue;
		s = (struct eg_str){s.p + i + 3, s.n - i - 3};
		while (s.n && s.p[0] != '/')
			s = (struct eg_str){s.p + 1, s.n - 1};
	}
	return s;
}

enum eg_dialect exchange_spoken(const struct eg_exchange *x)
{
	enum eg_dialect d = EG_DIALECT_NONE;

	if (x->host && !x->peer->gateway)
		d = eg_dialect_from_host(eg_str_from(x->host));
	return d == EG_DIALECT_NONE ? eg_dialect_from_path(rough_path(x->raw_target)) : d;
}

enum eg_dialect exchange_spoken_unread(struct eg_str bytes)
{
	size_t i = 0;

	while (i < bytes.n && strchr("\r\n", bytes.p[i]) && bytes.p[i])
		i++;
	while (i < bytes.n && bytes.p[i] != ' ' && bytes.p[i] != '\n')
		i++;
	i += i < bytes.n; /* the space after the method */
	return eg_dialect_from_path(rough_path((struct eg_str){bytes.p + i, bytes.n - i}));
}

struct eg_str exchange_path_unread(const struct eg_exchange *x)
{
	struct eg_str path = rough_path(x->raw_target);

	return eg_str_starts(path, EG_STR("/")) ? path : (struct eg_str){NULL, 0};
}

/* ---- who ---- */

static enum eg_reason identify(struct eg_exchange *x, const char **detail)
{
	if (!x->engine->snapshot)
		return EG_REASON_NOT_READY;
	x->snapshot = eg_snapshot_ref(x->engine->snapshot);
	x->pod = eg_snapshot_pod(x->snapshot, &x->peer->source.address);
	if (!x->pod)
		return EG_REASON_UNKNOWN_POD;
	if (x->peer->pod_uid && strcmp(x->peer->pod_uid, x->pod->identity.uid)) {
		*detail = "another pod has this address now";
		return EG_REASON_POLICY_CHANGED;
	}
	if (x->pod->held) {
		*detail = "its labels are not known yet, and a policy selects by them";
		return EG_REASON_UNKNOWN_POD;
	}
	x->policy = x->pod->policy;
	x->shadow = x->policy && x->policy->mode != EG_MODE_ENFORCE;
	return EG_REASON_OK;
}

enum eg_reason exchange_identify(struct eg_exchange *x, const char **detail)
{
	enum eg_reason r = identify(x, detail);

	exchange_watched(x);
	return r;
}

/* ---- what must hold ---- */

static char *lower(struct eg_exchange *x, struct eg_str s)
{
	char *out = eg_arena_dup(&x->arena, s);

	for (char *p = out; p && *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 32);
	return out;
}

/* The gateway's own address, as the pod reached it. */
static bool names_gateway(const struct eg_exchange *x, struct eg_str host)
{
	struct eg_address a;

	if (host.n > 2 && host.p[0] == '[')
		host = (struct eg_str){host.p + 1, host.n - 2};
	return !eg_address_parse(host, &a) && !memcmp(&a, &x->peer->destination.address, sizeof(a));
}

static enum eg_reason check_host(struct eg_exchange *x, const char **detail)
{
	struct eg_str host = x->host_name; /* well-formed, or the head would not have been read */

	if (!host.n && x->peer->server_name) { /* HTTP/1.0 without Host */
		host = eg_str_from(x->peer->server_name);
	} else if (!host.n) {
		*detail = "a Host is needed";
		return EG_REASON_BAD_REQUEST;
	}
	x->host = lower(x, host);
	if (!x->host)
		return EG_REASON_OVERLOADED;
	if (x->host_port && x->host_port != x->peer->destination.port) {
		*detail = "the port in Host is not the port of the connection";
		return EG_REASON_HOST_MISMATCH;
	}
	if (x->peer->gateway) {
		if (names_gateway(x, host))
			return EG_REASON_OK;
		*detail = "the gateway address answers to its own address as Host only";
		return EG_REASON_HOST_MISMATCH;
	}
	if (x->peer->server_name)
		return strcmp(x->host, x->peer->server_name) ? EG_REASON_HOST_MISMATCH
							     : EG_REASON_OK;
	if (eg_host_is_ip(host) || !eg_host_valid(host)) {
		*detail = "the Host is not a DNS name";
		return eg_host_is_ip(host) ? EG_REASON_HOST_MISMATCH : EG_REASON_BAD_REQUEST;
	}
	return EG_REASON_OK;
}

static enum eg_reason check_gateway_rules(const struct eg_exchange *x)
{
	if (!x->peer->gateway)
		return EG_REASON_OK;
	if (x->origin)
		return EG_REASON_ORIGIN_REFUSED;
	return x->placeholder ? EG_REASON_OK : EG_REASON_NO_PLACEHOLDER;
}

static bool via_has(struct eg_str list, struct eg_str tag)
{
	struct eg_str member;

	while (eg_h1_list_next(&list, &member))
		if (eg_str_eq(member, tag))
			return true;
	return false;
}

/* Every field of that name: one that comes twice must not hide the tag. No more is looked through
 * than there may be. */
static bool loops(const struct eg_exchange *x)
{
	size_t all = 0;

	for (size_t i = 0; x->via.p && i < x->header_count; i++) {
		if (!eg_str_ieq(x->headers[i].name, VIA))
			continue;
		all += x->headers[i].value.n;
		if (all > VIA_MAX || via_has(x->headers[i].value, eg_str_from(x->engine->tag)))
			return true;
	}
	return false;
}

static enum eg_reason check_target(struct eg_exchange *x, const char **detail)
{
	const char *scheme = x->peer->server_name ? "https" : "http";
	struct eg_str host = eg_str_from(x->host);

	switch (eg_target_parse(&x->arena, x->raw_target, &x->target)) {
	case 0:
		break;
	case -ENOMEM:
		return EG_REASON_OVERLOADED;
	case -EPERM:
		return EG_REASON_PATH_UNSAFE;
	default:
		*detail = "the request target is malformed";
		return EG_REASON_BAD_REQUEST;
	}
	if (!x->target.absolute)
		return EG_REASON_OK;
	if (!eg_str_ieq(x->target.scheme, eg_str_from(scheme)) ||
	    !eg_str_ieq(x->target.host, host) ||
	    (x->target.port && x->target.port != x->peer->destination.port)) {
		*detail = "the absolute target disagrees with Host";
		return EG_REASON_BAD_REQUEST;
	}
	return EG_REASON_OK;
}

static void find_operation(struct eg_exchange *x)
{
	struct eg_str host = eg_str_from(x->host);
	const struct eg_operation *read_as;

	x->dialect = x->peer->gateway ? EG_DIALECT_NONE : eg_dialect_from_host(host);
	if (x->dialect == EG_DIALECT_NONE)
		x->dialect = eg_dialect_from_path(x->target.decoded);
	x->operation = eg_operation_find(x->dialect, x->method, x->target.decoded, &x->rest);
	/* One with another content is refused once policy has had its say (body.c). */
	read_as = eg_operation_for_content(x->operation, x->content_type);
	x->content_refused = !read_as;
	if (read_as)
		x->operation = read_as;
}

/* What has no body says the model in its query. */
static enum eg_reason read_query_model(struct eg_exchange *x, const char **detail)
{
	if (!x->operation->model_in_query)
		return EG_REASON_OK;
	switch (eg_query_value(&x->arena, x->target.query, EG_STR("model"), &x->body.model)) {
	case 0:
	case -ENOENT:
		return EG_REASON_OK;
	case -ENOMEM:
		return EG_REASON_OVERLOADED;
	default:
		*detail = "the query's \"model\" comes twice, or is malformed";
		return EG_REASON_BAD_REQUEST;
	}
}

/* ---- policy ---- */

/* Most of a pod's requests ask for the name that the one before asked for. */
static void look_up_rules(struct eg_exchange *x, const char *name)
{
	struct eg_account *a = x->peer->account;
	struct eg_name_memo *m = a ? &a->name : NULL;
	uint64_t snapshot = eg_snapshot_serial(x->snapshot);

	if (m && m->snapshot == snapshot && m->policy == x->policy && !strcmp(m->name, name)) {
		x->rules = m->rules;
		return;
	}
	eg_policy_rules_of(eg_snapshot_policies(x->snapshot), x->policy, eg_str_from(name),
			   &x->rules);
	if (!m || strlen(name) >= sizeof(m->name))
		return;
	m->snapshot = snapshot;
	m->policy = x->policy;
	m->rules = x->rules;
	eg_str_copy(m->name, sizeof(m->name), eg_str_from(name));
}

/* What the policy, of which there is one, has for a name: asked for several times by each request,
 * mostly with the same. `name` stays where it is. */
static const struct eg_name_rules *rules_of(struct eg_exchange *x, const char *name)
{
	if (x->rules_of == name || (x->rules_of && !strcmp(x->rules_of, name)))
		return &x->rules;
	x->rules_of = name;
	look_up_rules(x, name);
	return &x->rules;
}

static enum eg_name_verdict verdict_of(struct eg_exchange *x, const char *name)
{
	return rules_of(x, name)->verdict;
}

enum eg_reason exchange_decide(struct eg_exchange *x, bool body_read, const char **detail)
{
	struct eg_request_facts facts = {
		.host = x->peer->gateway ? (struct eg_str){0} : eg_str_from(x->host),
		.gateway_address = x->peer->gateway,
		.method = x->method,
		.target = x->target,
		.operation = x->operation,
		.dialect = x->dialect,
		.body_read = body_read,
		.body = x->body,
		.pod_namespace = x->pod->identity.namespace_name,
	};
	struct eg_policy_set *set = eg_snapshot_policies(x->snapshot);
	struct eg_trace trace;

	if (x->policy && !x->peer->gateway)
		facts.rules = rules_of(x, x->host);
	eg_policy_decide(set, x->policy, &facts, exchange_steps(x, &trace), &x->decision);
	if (body_read)
		exchange_step(x, "body", EG_REASON_OK, "read for the decision, %llu bytes",
			      (unsigned long long)x->bytes_in);
	x->decide_again = x->decision.need_body && !body_read;
	if (x->decision.shadow) {
		if (x->peer->gateway) {
			*detail = "the policy is in shadow mode, and the gateway address is served "
				  "by enforced policies only";
			return EG_REASON_NO_ROUTE;
		}
		x->pass_on = true;
		x->shadow_reason = x->decision.reason;
		exchange_step(x, "shadow", x->decision.reason,
			      "the policy only watches: passed on to where the pod wanted to go");
		return EG_REASON_OK;
	}
	if (x->decision.pass && !x->peer->gateway) {
		x->pass_on = true;
		return EG_REASON_OK;
	}
	if (x->decide_again)
		return EG_REASON_OK;
	if (x->decision.need_body)
		return EG_REASON_NO_MODEL; /* there is no more to be known */
	return x->decision.reason;
}

/* An operation is either a WebSocket or none; what is only passed on is neither ours to judge. */
static enum eg_reason judge_upgrade(struct eg_exchange *x, const char **detail)
{
	bool asked = x->operation->websocket == x->websocket;

	if (asked && !(x->websocket && x->odd_subprotocol))
		return EG_REASON_OK;
	if (x->pass_on) {
		if (x->decision.shadow && x->shadow_reason == EG_REASON_OK)
			x->shadow_reason =
				asked || !x->websocket ? EG_REASON_BAD_REQUEST : EG_REASON_UPGRADE;
		return EG_REASON_OK;
	}
	if (x->websocket && !asked)
		return EG_REASON_UPGRADE;
	*detail = asked ? "Sec-WebSocket-Protocol has a name that the API does not define"
			: "this operation is a WebSocket: \"Upgrade: websocket\" is needed";
	return EG_REASON_BAD_REQUEST;
}

/* Port 80 of an address that is shared: a Host that nothing watches is none of Egret's. */
static bool ungoverned_host(struct eg_exchange *x)
{
	return !x->peer->gateway && !x->peer->server_name && x->policy &&
	       verdict_of(x, x->host) == EG_NAME_UNGOVERNED;
}

/* Nor is how such a request looks; the same for a name that no route has, and `otherwise: pass`. */
static bool passes_by_name(struct eg_exchange *x)
{
	return ungoverned_host(x) ||
	       (!x->peer->gateway && !x->peer->server_name && x->policy &&
		x->policy->otherwise_pass && verdict_of(x, x->host) == EG_NAME_OTHERWISE);
}

/* What was begun under a policy, when no policy has anything to say of it any more: the pod, or the
 * name, is nobody's. A new connection would not come to be read, so this one has its last answer.
 */
static bool released(struct eg_exchange *x)
{
	const char *name = x->peer->server_name;

	if (x->peer->gateway || !x->policy)
		return !x->peer->gateway;
	return name && *name && verdict_of(x, name) == EG_NAME_UNGOVERNED &&
	       !eg_policy_fronts(eg_snapshot_policies(x->snapshot), eg_str_from(name));
}

/* A path that Egret would not read goes on as it was sent; another form of target has no one
 * reading, so no one can say where it belongs. */
static bool take_unread_target(struct eg_exchange *x)
{
	if (!eg_str_starts(x->raw_target, EG_STR("/")))
		return false;
	x->target = (struct eg_target){.path = x->raw_target, .decoded = EG_STR("/")};
	return true;
}

/* An HTTP/1.0 request without Host: where it went is its only name. */
static bool take_address_as_host(struct eg_exchange *x)
{
	char address[EG_ADDRESS_TEXT];

	if (!x->host)
		x->host = eg_arena_dup(&x->arena, eg_str_from(eg_address_text(
							  &x->peer->destination.address, address)));
	return x->host != NULL;
}

/* What of the head is judged before policy is asked. */
static enum eg_reason check_rest(struct eg_exchange *x, const char **detail)
{
	if (x->expect_other)
		return EG_REASON_EXPECTATION;
	if (x->websocket_wrong) {
		*detail = x->websocket_wrong;
		return EG_REASON_BAD_REQUEST;
	}
	return read_query_model(x, detail);
}

/* It goes on whatever was found; the first finding is what would have been the answer. */
static enum eg_reason only_watch(struct eg_exchange *x, enum eg_reason found, const char *detail)
{
	x->websocket = x->websocket && !x->websocket_wrong;
	x->pass_on = true;
	if (x->shadow) {
		x->shadow_reason = found;
		x->detail = detail;
	}
	return EG_REASON_OK;
}

enum eg_reason exchange_intake(struct eg_exchange *x, const char **detail)
{
	enum eg_reason r = exchange_identify(x, detail), found;
	const char *found_detail;
	bool watched;

	if (r != EG_REASON_OK)
		return r;
	found = check_host(x, detail);
	found_detail = *detail;
	x->released = released(x);
	watched = !x->peer->gateway &&
		  (x->shadow || x->released || (found == EG_REASON_OK && passes_by_name(x)));
	if (found != EG_REASON_OK && (!watched || !take_address_as_host(x)))
		return found;
	r = check_target(x, detail);
	if (r != EG_REASON_OK && (!watched || !take_unread_target(x)))
		return r;
	if (found == EG_REASON_OK) {
		found = r;
		found_detail = *detail;
	}
	find_operation(x);
	if (loops(x))
		return EG_REASON_LOOP;
	r = check_rest(x, detail);
	if (r != EG_REASON_OK && !watched)
		return r;
	if (found == EG_REASON_OK) {
		found = r;
		found_detail = *detail;
	}
	r = check_gateway_rules(x);
	if (r != EG_REASON_OK)
		return r;
	if (x->released) {
		(void)only_watch(x, EG_REASON_OK, NULL);
		x->detail = "nothing governs this connection any more: passed on, and it ends";
		return EG_REASON_OK;
	}
	if (!x->policy)
		return EG_REASON_NO_POLICY;
	if (found != EG_REASON_OK)
		return only_watch(x, found, found_detail);
	if (ungoverned_host(x)) {
		exchange_step(x, "host", EG_REASON_PASS_THROUGH,
			      "nothing governs this name: passed on to where the pod wanted to go");
		x->pass_on = true;
		return EG_REASON_OK;
	}
	r = exchange_decide(x, x->operation->model_in_query, detail);
	return r == EG_REASON_OK ? judge_upgrade(x, detail) : r;
}
