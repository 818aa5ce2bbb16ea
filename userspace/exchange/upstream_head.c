/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head that a provider gets. What the client sent goes by an allow list; the credential is
 * written by its own room into this secret buffer and nowhere else.
 */
#include <stdio.h>

#include "exchange/exchange_impl.h"

static int write_str(struct eg_buf *out, const char *s)
{
	return eg_buf_append(out, s, strlen(s));
}

static int write_header(struct eg_buf *out, struct eg_str name, struct eg_str value)
{
	int r = eg_buf_append(out, name.p, name.n);

	if (!r)
		r = eg_buf_append(out, ": ", 2);
	if (!r)
		r = eg_buf_append(out, value.p, value.n);
	return r ? r : eg_buf_append(out, "\r\n", 2);
}

/* The model's name at this target, where the query says the model. .p NULL: out of memory. */
static struct eg_str map_query_model(struct eg_exchange *x, struct eg_str query)
{
	static const struct eg_str model = EG_STR("model");
	const char *name = x->decision.targets[x->target_at].model;

	if (!name || !x->operation->model_in_query)
		return query;
	query = eg_query_without(&x->arena, query, &model, 1);
	return query.p ? eg_query_with(&x->arena, query, model, eg_str_from(name)) : query;
}

static int write_query(struct eg_exchange *x, struct eg_buf *out)
{
	struct eg_str query = x->target.query;
	int r;

	if (!query.n)
		return 0;
	if (x->provider) {
		query = eg_query_without(&x->arena, query, eg_credential_query_keys,
					 eg_credential_query_key_count);
		if (!query.p)
			return -ENOMEM;
		query = map_query_model(x, query);
		if (!query.p)
			return -ENOMEM;
		if (!query.n)
			return 0;
	}
	r = eg_buf_append(out, "?", 1);
	return r ? r : eg_buf_append_str(out, query);
}

static int write_request_line(struct eg_exchange *x, struct eg_buf *out)
{
	int r = eg_buf_append_str(out, x->method);

	if (!r)
		r = eg_buf_append(out, " ", 1);
	if (!r && x->provider)
		r = write_str(out, x->provider->base_path);
	if (!r)
		r = x->provider ? eg_operation_write_path(out, x->operation, x->rest,
							  x->decision.targets[x->target_at].model)
				: eg_buf_append_str(out, x->target.path);
	if (!r)
		r = write_query(x, out);
	return r ? r : write_str(out, " HTTP/1.1\r\n");
}

static int write_host(struct eg_exchange *x, struct eg_buf *out)
{
	const struct eg_provider *p = x->provider;
	const char *host = p ? p->host : x->host;
	uint16_t port = p ? p->port : x->peer->destination.port;
	bool tls = p ? p->tls : x->peer->server_name != NULL;

	if (!p && x->host_field.n) /* passed on: as it was sent */
		return write_header(out, EG_STR("host"), x->host_field);
	if (port == (tls ? 443 : 80))
		return write_header(out, EG_STR("host"), eg_str_from(host));
	return eg_buf_printf(out, "host: %s:%u\r\n", host, port);
}

/* Under the credential's own name only the credential goes out, whatever else that name is for. */
static bool carries_credential(const struct eg_exchange *x, struct eg_str name)
{
	const struct eg_credential_spec *c = x->provider ? x->provider->credential : NULL;

	return c && c->type == EG_CREDENTIAL_HEADER && eg_str_ieq(eg_str_from(c->header), name);
}

static int write_client_headers(struct eg_exchange *x, struct eg_buf *out)
{
	enum eg_dialect d = x->provider ? x->provider->dialect : EG_DIALECT_NONE;
	int r = 0;

	for (size_t i = 0; i < x->header_count && !r; i++) {
		struct eg_str name = x->headers[i].name;

		if (eg_str_ieq(name, EG_STR("x-egret-via")) || carries_credential(x, name))
			continue;
		if (!x->provider || eg_request_header_allowed(d, name) ||
		    (exchange_body_coded(x) && eg_str_ieq(name, EG_STR("content-encoding"))))
			r = write_header(out, name, x->headers[i].value);
	}
	return r;
}

/* The subprotocols that carry no credential; .p NULL: out of memory. */
static struct eg_str plain_subprotocols(struct eg_exchange *x, struct eg_str list)
{
	char *out = eg_arena_alloc(&x->arena, list.n + 1);
	struct eg_str token, secret;
	size_t n = 0;

	while (out && eg_h1_list_next(&list, &token)) {
		if (eg_subprotocol_credential(token, &secret))
			continue;
		if (n)
			out[n++] = ',';
		memcpy(out + n, token.p, token.n);
		n += token.n;
	}
	return (struct eg_str){out, n};
}

/* Hop by hop, so ours to write; the key is the client's, who checks the answer to it too. No
 * extension is offered: what is compressed can't be searched for the credential. */
static int write_upgrade(struct eg_exchange *x, struct eg_buf *out)
{
	int r = write_str(out, "connection: upgrade\r\nupgrade: websocket\r\n");

	for (size_t i = 0; i < x->header_count && !r && x->provider; i++) {
		struct eg_str name = x->headers[i].name, value = x->headers[i].value;

		if (!eg_str_istarts(name, EG_STR("sec-websocket-")))
			continue;
		if (eg_str_ieq(name, EG_STR("sec-websocket-protocol"))) {
			value = plain_subprotocols(x, value);
			if (!value.p)
				return -ENOMEM;
			if (!value.n)
				continue;
		} else if (!eg_str_ieq(name, EG_STR("sec-websocket-key")) &&
			   !eg_str_ieq(name, EG_STR("sec-websocket-version"))) {
			continue;
		}
		r = write_header(out, name, value);
	}
	return r;
}

/* Where content is what the method is for, that there is none has to be said (RFC 9110
 * section 8.6). Over HTTP/2 the client said it by a flag; what is passed on over HTTP/1.1 goes as
 * it was sent. */
static bool says_nothing(const struct eg_exchange *x)
{
	if (!x->provider && !x->peer->http2)
		return false;
	return eg_str_eq(x->method, EG_STR("POST")) || eg_str_eq(x->method, EG_STR("PUT")) ||
	       eg_str_eq(x->method, EG_STR("PATCH"));
}

static int write_framing(struct eg_exchange *x, struct eg_buf *out)
{
	if (exchange_body_chunked(x))
		return write_str(out, "transfer-encoding: chunked\r\n");
	if (x->body_kind != EG_H1_BODY_NONE || x->held.length) {
		char digits[EG_DECIMAL_MAX];
		size_t n = eg_decimal(digits, exchange_body_length(x));

		return write_header(out, EG_STR("content-length"), (struct eg_str){digits, n});
	}
	if (says_nothing(x))
		return write_str(out, "content-length: 0\r\n");
	return 0;
}

static int write_credential(struct eg_exchange *x, struct eg_buf *out, const char **why)
{
	const struct eg_credential_spec *spec = x->provider ? x->provider->credential : NULL;
	const struct eg_secret *secret;

	if (!spec || spec->type == EG_CREDENTIAL_NONE)
		return 0;
	secret = eg_credential_set_get(eg_snapshot_credentials(x->snapshot), spec->index, why);
	return secret ? eg_credential_write(out, spec, secret) : -ENOKEY;
}

/* All fields of a name are one list. .p NULL: there is none; with a length: no memory for it. */
static struct eg_str joined(struct eg_exchange *x, struct eg_str name)
{
	struct eg_str only = {NULL, 0};
	size_t count = 0, n = 0;
	char *out;

	for (size_t i = 0; i < x->header_count; i++) {
		if (!eg_str_ieq(x->headers[i].name, name))
			continue;
		only = x->headers[i].value;
		n += only.n + 1;
		count++;
	}
	if (count < 2)
		return only;
	out = eg_arena_alloc(&x->arena, n);
	if (!out)
		return (struct eg_str){NULL, n};
	n = 0;
	for (size_t i = 0; i < x->header_count; i++) {
		struct eg_str value = x->headers[i].value;

		if (!eg_str_ieq(x->headers[i].name, name))
			continue;
		memcpy(out + n, value.p, value.n);
		n += value.n;
		out[n++] = ',';
	}
	return (struct eg_str){out, n};
}

/* What the client accepts and is read here. */
static int write_accept_encoding(struct eg_exchange *x, struct eg_buf *out)
{
	struct eg_str accept = {NULL, 0};
	int r = write_str(out, "accept-encoding: ");

	if (!x->websocket)
		accept = joined(x, EG_STR("accept-encoding"));
	if (!accept.p && accept.n)
		return -ENOMEM;
	if (!r)
		r = eg_coding_write_accept(out, accept);
	return r ? r : write_str(out, "\r\n");
}

/* Of what TE may say, the one thing that does not concern this connection alone. HTTP/2 leaves
 * Connection out; HTTP/1.1 wants it (RFC 9110 section 10.1.4). */
static int write_te(const struct eg_exchange *x, struct eg_buf *out)
{
	if (!x->te_trailers || x->websocket)
		return 0;
	return write_str(out, "te: trailers\r\nconnection: te\r\n");
}

/* Through whom it came before, and us. */
static int write_via(const struct eg_exchange *x, struct eg_buf *out)
{
	if (x->via.n)
		return eg_buf_printf(out, "x-egret-via: %.*s, %s\r\n", EG_STR_ARG(x->via),
				     x->engine->tag);
	return write_header(out, EG_STR("x-egret-via"), eg_str_from(x->engine->tag));
}

int exchange_write_head(struct eg_exchange *x, struct eg_buf *head, const char **why)
{
	int r = write_request_line(x, head);

	if (!r)
		r = write_host(x, head);
	if (!r)
		r = write_client_headers(x, head);
	/* What comes back has to be readable here too. When passing on, nothing is changed. */
	if (!r && x->provider)
		r = write_accept_encoding(x, head);
	if (!r)
		r = write_via(x, head);
	if (!r)
		r = x->websocket ? write_upgrade(x, head) : write_framing(x, head);
	if (!r)
		r = write_te(x, head);
	if (!r)
		r = write_credential(x, head, why);
	return r ? r : eg_buf_append(head, "\r\n", 2);
}
