/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials and providers: maps by name, one namespace over all files. */
#include "policy/source.h"

#include <stdio.h>
#include <stdlib.h>

static size_t count_map(const struct loading *l, const char *key)
{
	size_t n = 0;

	for (size_t i = 0; i < l->document_count; i++)
		n += json_object_size(source_object(l->documents[i].root, key));
	return n;
}

/* Which earlier file has the same name; NULL: none. */
static const struct document *earlier(const struct loading *l, const struct document *d,
				      const char *map, const char *name)
{
	for (const struct document *e = l->documents; e < d; e++)
		if (json_object_get(source_object(e->root, map), name))
			return e;
	return NULL;
}

static bool new_name(const struct place *at, const char *map, const char *name)
{
	const struct document *e = earlier(at->l, at->document, map, name);

	if (!source_name(at, name))
		return false;
	if (e)
		source_key_error(at, "\"%s\" is defined in %.*s too; expected different names",
				 name, EG_STR_ARG(e->name));
	return !e;
}

/* ---- credentials ---- */
static bool header_allowed(const struct place *at, const char *name)
{
	static const char *const refused[] = {
		"host",
		"content-length",
		"transfer-encoding",
		"connection",
		"te",
		"trailer",
		"upgrade",
		"keep-alive",
		"expect",
		"cookie",
		"set-cookie",
		"proxy-connection",
		"content-type",
		"content-encoding",
		"user-agent",
		"accept-encoding",
		"accept",
		"proxy-authorization",
		"origin",
		"referer",
		"proxy-authenticate",
		"www-authenticate",
		"http2-settings",
		"date",
		"age",
		"via",
		"range",
		"if-range",
		"if-match",
		"if-none-match",
		"max-forwards",
		"cache-control",
		"forwarded",
		"anthropic-version",
		"anthropic-beta",
		"openai-beta",
		"openai-organization",
		"openai-project",
		"idempotency-key",
		"traceparent",
		"tracestate",
	};
	bool token = *name;

	for (const char *c = name; *c; c++)
		token = token && ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
				  (*c >= '0' && *c <= '9') || *c == '-' || *c == '_');
	for (size_t i = 0; i < EG_ARRAY_SIZE(refused); i++)
		token = token && !eg_str_ieq(eg_str_from(name), eg_str_from(refused[i]));
	/* Ours, what proxies add, and a WebSocket's handshake. */
	token = token && !eg_str_istarts(eg_str_from(name), EG_STR("x-egret-")) &&
		!eg_str_istarts(eg_str_from(name), EG_STR("x-forwarded-")) &&
		!eg_str_istarts(eg_str_from(name), EG_STR("sec-websocket-"));
	if (!token)
		source_error(at,
			     "\"%.64s\" can't carry a credential; expected a header such as "
			     "x-api-key (letters, digits, '-', '_')",
			     name);
	return token;
}

static const char *lower_dup(struct loading *l, const char *text)
{
	char *copy = eg_arena_dup(&l->set->memory, eg_str_from(text));

	if (!copy)
		l->out_of_memory = true;
	for (char *c = copy; c && *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c + 32);
	return copy;
}

static void credential_file(const struct place *at, json_t *v, struct eg_credential_spec *c)
{
	const char *file = source_string(v, "file");
	const char *header = source_string(v, "header");
	struct place file_at = place_key(at, "file"), header_at = place_key(at, "header");

	if (c->type == EG_CREDENTIAL_NONE && (file || header))
		source_error(at, "is of type none and has a \"%s\"; expected only one of the two",
			     file ? "file" : "header");
	if (c->type == EG_CREDENTIAL_NONE)
		return;
	if (!file && !json_object_get(v, "file"))
		source_error(at, "has no \"file\"; expected the path of its secret below the "
				 "credentials directory");
	if (file && source_path(&file_at, file))
		c->file = source_dup(at->l, file);
	if (c->type == EG_CREDENTIAL_BEARER && header)
		source_error(&header_at, "a bearer credential always goes into Authorization; "
					 "expected none, or type header");
	if (c->type == EG_CREDENTIAL_HEADER && !json_object_get(v, "header"))
		source_error(at, "has no \"header\"; expected the name of one, such as x-api-key");
	if (c->type == EG_CREDENTIAL_HEADER && header && header_allowed(&header_at, header))
		c->header = lower_dup(at->l, header);
}

static void read_credential(const struct place *at, const char *name, json_t *v)
{
	struct eg_policy_set *s = at->l->set;
	struct eg_credential_spec *c = &s->credentials[s->credential_count];
	const char *type = source_string(v, "type");
	const char *owner = source_string(v, "namespace");
	struct place owner_at = place_key(at, "namespace");

	if (!new_name(at, "credentials", name))
		return;
	*c = (struct eg_credential_spec){.name = source_dup(at->l, name),
					 .index = s->credential_count};
	if (type && !strcmp(type, "bearer"))
		c->type = EG_CREDENTIAL_BEARER;
	else if (type && !strcmp(type, "header"))
		c->type = EG_CREDENTIAL_HEADER;
	if (type && (c->type != EG_CREDENTIAL_NONE || !strcmp(type, "none")))
		credential_file(at, v, c);
	if (owner && source_namespace(&owner_at, owner))
		c->owner_namespace = source_dup(at->l, owner);
	/* One file that is both shared and a namespace's own would break the owner's promise. */
	for (size_t i = 0; i < s->credential_count && c->file; i++) {
		const struct eg_credential_spec *o = &s->credentials[i];

		if (o->file && !strcmp(o->file, c->file) &&
		    strcmp(o->owner_namespace ? o->owner_namespace : "",
			   c->owner_namespace ? c->owner_namespace : ""))
			source_error(at,
				     "uses the file of credential \"%s\" for another owner; "
				     "expected one owner (namespace) a file",
				     o->name);
	}
	s->credential_count++;
}

void read_credentials(struct loading *l)
{
	size_t count = count_map(l, "credentials");

	if (count > EG_POLICY_MAX_PROVIDERS) {
		source_file_error(l, NULL, "%zu credentials; expected at most %u", count,
				  EG_POLICY_MAX_PROVIDERS);
		return;
	}
	l->set->credentials = source_alloc(l, count, sizeof(*l->set->credentials));
	for (size_t i = 0; i < l->document_count && l->set->credentials; i++) {
		struct place root = {.l = l, .document = &l->documents[i]};
		struct place map = place_key(&root, "credentials");
		const char *name;
		json_t *v;

		json_object_foreach(source_object(l->documents[i].root, "credentials"), name, v)
		{
			struct place at = place_key(&map, name);

			set_busy(l->set);
			read_credential(&at, name, v);
		}
	}
}

/* ---- providers ---- */
static const struct eg_credential_spec *find_credential(const struct eg_policy_set *s,
							const char *name)
{
	for (size_t i = 0; i < s->credential_count; i++)
		if (!strcmp(s->credentials[i].name, name))
			return &s->credentials[i];
	return NULL;
}

static bool ipv4_literal(const char *host)
{
	unsigned int part[4];
	char rest;

	if (strspn(host, "0123456789.") != strlen(host) ||
	    sscanf(host, "%3u.%3u.%3u.%3u%c", &part[0], &part[1], &part[2], &part[3], &rest) != 4)
		return false;
	return part[0] < 256 && part[1] < 256 && part[2] < 256 && part[3] < 256;
}

static bool endpoint_path(const struct place *at, struct eg_provider *p, const char *path)
{
	size_t n = strlen(path);

	for (const char *c = path; *c; c++)
		if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
		      (*c >= '0' && *c <= '9') || strchr("/-._~", *c)) ||
		    (c[0] == '/' && (c[1] == '/' || c[1] == '.'))) {
			source_error(at, "has a path that is not plain; expected segments of "
					 "letters, digits, '-', '.', '_', '~' and no query");
			return false;
		}
	while (n && path[n - 1] == '/')
		n--;
	p->base_path = eg_arena_dup(&at->l->set->memory, (struct eg_str){path, n});
	if (!p->base_path)
		at->l->out_of_memory = true;
	return true;
}

static bool endpoint_port(const struct place *at, struct eg_provider *p, const char *text)
{
	uint64_t port;
	size_t n = strcspn(text, "/");

	if (eg_str_u64((struct eg_str){text, n}, &port) || !port || port > 65535) {
		source_error(at, "port \"%.*s\" is not one; expected 1 to 65535",
			     (int)EG_MIN(n, 20u), text);
		return false;
	}
	p->port = (uint16_t)port;
	return true;
}

/* scheme://host[:port][/path]: the form that SDKs call a base URL. */
static bool read_endpoint(const struct place *at, struct eg_provider *p, const char *text)
{
	const char *host, *path;
	char name[256];
	size_t n;

	if (!strncmp(text, "https://", 8) || !strncmp(text, "http://", 7)) {
		p->tls = text[4] == 's';
	} else {
		source_error(at,
			     "\"%.80s\" is not a base URL; expected https://host[:port][/path] "
			     "(or http:// inside the cluster)",
			     text);
		return false;
	}
	if (!source_no_secret(at, text, false, "https://host[:port][/path]"))
		return false;
	host = text + (p->tls ? 8 : 7);
	n = strcspn(host, ":/");
	if (host[0] == '[') {
		source_error(at, "IPv6 addresses as endpoints are not supported by this version; "
				 "expected a host name");
		return false;
	}
	/* What stands there is often a key, so it is not repeated. */
	if (strcspn(host, "@?#") < strlen(host)) {
		source_error(at, "the URL has a user, query or fragment; expected "
				 "https://host[:port][/path]");
		return false;
	}
	if (n >= sizeof(name)) {
		source_error(at, "the host has %zu bytes; expected at most 253", n);
		return false;
	}
	memcpy(name, host, n);
	name[n] = '\0';
	if (ipv4_literal(name) && p->tls) {
		source_error(at, "an address can't be verified by TLS; expected a host name");
		return false;
	}
	if (!ipv4_literal(name) && !source_host(at, name, false))
		return false;
	p->host = source_dup(at->l, name);
	p->port = p->tls ? 443 : 80;
	path = host + n;
	if (*path == ':' && !endpoint_port(at, p, path + 1))
		return false;
	path += strcspn(path, "/");
	if (*path)
		return endpoint_path(at, p, path);
	/* No path at all: what the clients of that API use. "/" is the root. */
	{
		struct eg_str base = p->dialect == EG_DIALECT_ANTHROPIC
					     ? EG_STR("/v1")
					     : eg_client_base_path(eg_str_from(name));

		p->base_path = eg_arena_dup(&at->l->set->memory, base);
		if (!p->base_path)
			at->l->out_of_memory = true;
	}
	return true;
}

static void read_region(const struct place *at, struct eg_provider *p, const char *stated)
{
	struct place region_at = place_key(at, "region");
	struct eg_region known = {0}, r;

	if (p->host && p->base_path)
		eg_region_of_endpoint(eg_str_from(p->host), eg_str_from(p->base_path), &known);
	p->region = known;
	if (!stated)
		return;
	if (eg_region_parse(eg_str_from(stated), &r)) {
		source_error(&region_at,
			     "region \"%.40s\" is not known; expected a code such as "
			     "EU, DE, US, UK, CH, JP, \"cluster\", or a provider's own "
			     "region name such as eu-central-1",
			     stated);
		return;
	}
	p->region_stated = true;
	p->region = r;
	if (*known.code && strcmp(known.code, "GLOBAL") && strcmp(known.code, r.code) &&
	    !eg_region_satisfies(&known, &r) && !eg_region_satisfies(&r, &known))
		source_error(&region_at, "says %s, but %s is in %s; expected them to agree", r.code,
			     p->host, known.code);
}

static void read_models(const struct place *at, struct eg_provider *p, json_t *map)
{
	struct eg_model_map *m = source_alloc(at->l, json_object_size(map), sizeof(*m));
	const char *from;
	json_t *to;

	json_object_foreach(map, from, to)
	{
		struct place key_at = place_key(at, from);

		if (!m || !json_is_string(to))
			continue;
		if (!*from || strlen(from) > MODEL_MAX || strpbrk(from, "*?"))
			source_key_error(&key_at,
					 "\"%.60s\" is not a model name; expected an exact "
					 "name of 1 to %u bytes, no wildcards",
					 from, MODEL_MAX);
		for (const char *c = json_string_value(to); *c; c++)
			if ((unsigned char)*c <= ' ' || *c == '"' || *c == '\\' || *c == 0x7f) {
				source_error(&key_at, "is not a model name; expected no spaces, "
						      "quotes, backslashes or control characters");
				break;
			}
		m[p->model_count].from = source_dup(at->l, from);
		m[p->model_count].to = source_dup(at->l, json_string_value(to));
		p->model_count++;
	}
	p->models = m;
}

static void check_transport(const struct place *at, const struct eg_provider *p)
{
	struct place endpoint_at = place_key(at, "endpoint");

	if (!p->tls && !p->allow_private)
		source_error(&endpoint_at, "plain http would send prompts and keys in the clear; "
					   "expected https, or region \"cluster\" or "
					   "\"allow_private\": true for an endpoint inside the "
					   "cluster");
	if (!p->tls && p->ca_file)
		source_error(at, "has a \"ca_file\" and a plain http endpoint; expected only one "
				 "of the two");
	if (!strcmp(p->host, "localhost") ||
	    eg_str_ends(eg_str_from(p->host), EG_STR(".localhost")) ||
	    (ipv4_literal(p->host) && (!strncmp(p->host, "127.", 4) || !strncmp(p->host, "0.", 2) ||
				       !strncmp(p->host, "169.254.", 8))))
		source_error(&endpoint_at,
			     "\"%s\" is the node itself or link-local; expected an "
			     "endpoint elsewhere",
			     p->host);
}

static void read_provider(const struct place *at, const char *name, json_t *v)
{
	struct eg_policy_set *s = at->l->set;
	struct eg_provider *p = &s->providers[s->provider_count];
	const char *kind = source_string(v, "kind"), *endpoint = source_string(v, "endpoint");
	const char *credential = source_string(v, "credential"), *ca = source_string(v, "ca_file");
	struct place endpoint_at = place_key(at, "endpoint"), models_at = place_key(at, "models");
	struct place credential_at = place_key(at, "credential"), ca_at = place_key(at, "ca_file");
	struct place fronts_at = place_key(at, "fronts");
	bool usable;

	if (!new_name(at, "providers", name))
		return;
	*p = (struct eg_provider){.name = source_dup(at->l, name), .index = s->provider_count};
	s->provider_count++; /* also a broken one, so that references to it don't dangle */
	if (kind) {
		p->kind = source_dup(at->l, kind);
		p->dialect = eg_dialect_from_kind(eg_str_from(kind));
	}
	usable = endpoint && read_endpoint(&endpoint_at, p, endpoint);
	read_region(at, p, source_string(v, "region"));
	p->allow_private = source_bool(v, "allow_private", !strcmp(p->region.code, "cluster"));
	p->http2 = source_bool(v, "http2", true);
	if (ca && source_path(&ca_at, ca))
		p->ca_file = source_dup(at->l, ca);
	if (usable && p->host)
		check_transport(at, p);
	if (credential) {
		p->credential = find_credential(s, credential);
		if (!p->credential && source_map_read(at->l, "credentials"))
			source_error(&credential_at,
				     "credential \"%.63s\" is not defined; expected a "
				     "name under \"credentials\" of some file",
				     credential);
	}
	read_models(&models_at, p, source_object(v, "models"));
	p->fronts = source_strings(&fronts_at, source_array(v, "fronts"), &p->front_count,
				   source_pattern);
}

static int by_name(const void *a, const void *b)
{
	const struct eg_provider *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

/* Targets of thousands of routes look for thousands of them. */
static void sort_providers(struct loading *l)
{
	size_t n = l->set->provider_count;

	l->providers = source_alloc(l, n, sizeof(*l->providers));
	for (size_t i = 0; i < n && !l->out_of_memory; i++)
		l->providers[i] = &l->set->providers[i];
	if (n && !l->out_of_memory)
		qsort(l->providers, n, sizeof(*l->providers), by_name);
}

const struct eg_provider *find_provider(const struct loading *l, const char *name)
{
	const struct eg_provider key = {.name = name}, *at = &key, *const *found = NULL;

	if (l->providers && l->set->provider_count)
		found = bsearch(&at, l->providers, l->set->provider_count, sizeof(at), by_name);
	return found ? *found : NULL;
}

void read_providers(struct loading *l)
{
	size_t count = count_map(l, "providers");

	if (count > EG_POLICY_MAX_PROVIDERS) {
		source_file_error(l, NULL, "%zu providers; expected at most %u", count,
				  EG_POLICY_MAX_PROVIDERS);
		return;
	}
	l->set->providers = source_alloc(l, count, sizeof(*l->set->providers));
	for (size_t i = 0; i < l->document_count && l->set->providers; i++) {
		struct place root = {.l = l, .document = &l->documents[i]};
		struct place map = place_key(&root, "providers");
		const char *name;
		json_t *v;

		json_object_foreach(source_object(l->documents[i].root, "providers"), name, v)
		{
			struct place at = place_key(&map, name);

			set_busy(l->set);
			read_provider(&at, name, v);
		}
	}
	if (!l->out_of_memory)
		sort_providers(l);
}
