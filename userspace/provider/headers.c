/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/vendor.h"

static bool listed(const struct eg_str *list, size_t count, struct eg_str name)
{
	for (size_t i = 0; i < count; i++)
		if (eg_str_ieq(list[i], name))
			return true;
	return false;
}

/*
 * Content-Encoding is missing on purpose: a body that policy could not read is refused, not passed.
 * Framing (Content-Length, Transfer-Encoding), Host and Accept-Encoding are the caller's to write.
 */
static const struct eg_str common_request_headers[] = {
	EG_STR("accept"),	 EG_STR("accept-language"), EG_STR("content-type"),
	EG_STR("user-agent"),	 EG_STR("idempotency-key"), EG_STR("traceparent"),
	EG_STR("tracestate"),	 EG_STR("range"),	    EG_STR("if-match"),
	EG_STR("if-none-match"), EG_STR("cache-control"),   EG_STR("last-event-id"),
};

bool eg_request_header_allowed(enum eg_dialect d, struct eg_str name)
{
	const struct eg_vendor *v = eg_vendor_of(d);

	/* What the official SDKs say of themselves: language, version, retry count, timeout. */
	if (eg_str_istarts(name, EG_STR("x-stainless-")))
		return true;
	if (listed(common_request_headers, EG_ARRAY_SIZE(common_request_headers), name))
		return true;
	return v && listed(v->request_headers, v->request_header_count, name);
}

/* Hop-by-hop (RFC 9110 section 7.6.1), framing, what would change the client's later behaviour
 * towards the provider, and whose account it is. */
static const struct eg_str refused_response_headers[] = {
	EG_STR("connection"),
	EG_STR("keep-alive"),
	EG_STR("proxy-connection"),
	EG_STR("proxy-authenticate"),
	EG_STR("proxy-authorization"),
	EG_STR("proxy-authentication-info"),
	EG_STR("te"),
	EG_STR("trailer"),
	EG_STR("transfer-encoding"),
	EG_STR("content-length"),
	EG_STR("upgrade"),
	EG_STR("set-cookie"),
	EG_STR("set-cookie2"),
	EG_STR("alt-svc"),
	EG_STR("alt-used"),
	EG_STR("clear-site-data"),
	EG_STR("strict-transport-security"),
	EG_STR("public-key-pins"),
	EG_STR("expect-ct"),
	EG_STR("nel"),
	EG_STR("report-to"),
	EG_STR("reporting-endpoints"),
	EG_STR("openai-organization"),
	EG_STR("openai-project"),
	EG_STR("anthropic-organization-id"),
	EG_STR("anthropic-workspace-id"),
};

bool eg_response_header_allowed(enum eg_dialect d, struct eg_str name)
{
	(void)d;
	/* Nobody but this agent speaks for Egret. */
	if (eg_str_istarts(name, EG_STR("x-egret-")))
		return false;
	return !listed(refused_response_headers, EG_ARRAY_SIZE(refused_response_headers), name);
}

static const struct eg_str credential_headers[] = {
	EG_STR("authorization"), EG_STR("proxy-authorization"), EG_STR("x-api-key"),
	EG_STR("api-key"),	 EG_STR("x-goog-api-key"),	EG_STR("ocp-apim-subscription-key"),
};

/* Words that documentation, tests and this project put where a key is not needed. */
static const char *const placeholder_words[] = {
	"placeholder", "dummy",	  "fake", "egret", "unused", "not-needed", "notneeded", "no-key",
	"your",	       "example", "xxxx", "0000",  "empty",  "changeme",   "sample",	"mock",
};

static bool contains_word(struct eg_str s, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= s.n; i++)
		if (eg_str_istarts((struct eg_str){s.p + i, s.n - i}, (struct eg_str){word, n}))
			return true;
	return false;
}

bool eg_subprotocol_credential(struct eg_str token, struct eg_str *secret)
{
	static const struct eg_str names[] = {
		EG_STR("openai-insecure-api-key."),
		EG_STR("openai-organization."),
		EG_STR("openai-project."),
		EG_STR("openai-ephemeral-user-token."),
		EG_STR("base64url.bearer.authorization."),
		EG_STR("xai-client-secret."), /* xAI's Voice Agent API */
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++) {
		if (!eg_str_istarts(token, names[i]))
			continue;
		*secret = (struct eg_str){token.p + names[i].n, token.n - names[i].n};
		return true;
	}
	return false;
}

/* "0.1.0-beta.2", and nothing that a key would fit in. */
static bool is_version(struct eg_str s)
{
	if (!s.n || s.n > 20 || s.p[0] < '0' || s.p[0] > '9')
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!(s.p[i] >= '0' && s.p[i] <= '9') && !(s.p[i] >= 'a' && s.p[i] <= 'z') &&
		    s.p[i] != '.' && s.p[i] != '-')
			return false;
	return true;
}

bool eg_subprotocol_defined(struct eg_str token)
{
	static const struct eg_str agents = EG_STR("openai-agents-sdk."); /* outside of Node.js */

	if (eg_str_starts(token, agents))
		return is_version((struct eg_str){token.p + agents.n, token.n - agents.n});
	/* openai-node 6.49.0 and the beta of the API before it. */
	return eg_str_eq(token, EG_STR("realtime")) ||
	       eg_str_eq(token, EG_STR("openai-beta.realtime-v1"));
}

bool eg_credential_looks_real(struct eg_str name, struct eg_str value)
{
	bool seen[256] = {false};
	unsigned int distinct = 0;
	ssize_t space;

	if (!listed(credential_headers, EG_ARRAY_SIZE(credential_headers), name))
		return false;
	value = eg_str_trim(value);
	space = eg_str_find(value, ' ');
	if (space >= 0) /* "Bearer ..." */
		value = eg_str_trim((struct eg_str){value.p + space, value.n - (size_t)space});
	/* The shortest keys that providers give out have 32 characters and more. */
	if (value.n < 24)
		return false;
	for (size_t i = 0; i < EG_ARRAY_SIZE(placeholder_words); i++)
		if (contains_word(value, placeholder_words[i]))
			return false;
	for (size_t i = 0; i < value.n; i++) {
		distinct += !seen[(unsigned char)value.p[i]];
		seen[(unsigned char)value.p[i]] = true;
	}
	return distinct >= 12;
}
