/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/vendor.h"

#include "proto/fields.h"

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
static const uint64_t common_request_headers =
	EG_FIELD_BIT(EG_FIELD_ACCEPT) | EG_FIELD_BIT(EG_FIELD_ACCEPT_LANGUAGE) |
	EG_FIELD_BIT(EG_FIELD_CONTENT_TYPE) | EG_FIELD_BIT(EG_FIELD_USER_AGENT) |
	EG_FIELD_BIT(EG_FIELD_IDEMPOTENCY_KEY) | EG_FIELD_BIT(EG_FIELD_TRACEPARENT) |
	EG_FIELD_BIT(EG_FIELD_TRACESTATE) | EG_FIELD_BIT(EG_FIELD_RANGE) |
	EG_FIELD_BIT(EG_FIELD_IF_MATCH) | EG_FIELD_BIT(EG_FIELD_IF_NONE_MATCH) |
	EG_FIELD_BIT(EG_FIELD_CACHE_CONTROL) | EG_FIELD_BIT(EG_FIELD_LAST_EVENT_ID);

bool eg_request_header_allowed(enum eg_dialect d, struct eg_str name)
{
	const struct eg_vendor *v = eg_vendor_of(d);

	/* What the official SDKs say of themselves: language, version, retry count, timeout. */
	if (eg_str_istarts(name, EG_STR("x-stainless-")))
		return true;
	if (eg_field_in(eg_field_of(name), common_request_headers))
		return true;
	return v && listed(v->request_headers, v->request_header_count, name);
}

/* Hop-by-hop (RFC 9110 section 7.6.1), framing, what would change the client's later behaviour
 * towards the provider, and whose account it is. */
static const uint64_t refused_response_headers =
	EG_FIELDS_HOP_BY_HOP | EG_FIELD_BIT(EG_FIELD_PROXY_AUTHENTICATION_INFO) |
	EG_FIELD_BIT(EG_FIELD_CONTENT_LENGTH) | EG_FIELD_BIT(EG_FIELD_SET_COOKIE) |
	EG_FIELD_BIT(EG_FIELD_SET_COOKIE2) | EG_FIELD_BIT(EG_FIELD_ALT_SVC) |
	EG_FIELD_BIT(EG_FIELD_ALT_USED) | EG_FIELD_BIT(EG_FIELD_CLEAR_SITE_DATA) |
	EG_FIELD_BIT(EG_FIELD_STRICT_TRANSPORT_SECURITY) | EG_FIELD_BIT(EG_FIELD_PUBLIC_KEY_PINS) |
	EG_FIELD_BIT(EG_FIELD_EXPECT_CT) | EG_FIELD_BIT(EG_FIELD_NEL) |
	EG_FIELD_BIT(EG_FIELD_REPORT_TO) | EG_FIELD_BIT(EG_FIELD_REPORTING_ENDPOINTS) |
	EG_FIELD_BIT(EG_FIELD_OPENAI_ORGANIZATION) | EG_FIELD_BIT(EG_FIELD_OPENAI_PROJECT) |
	EG_FIELD_BIT(EG_FIELD_ANTHROPIC_ORGANIZATION_ID) |
	EG_FIELD_BIT(EG_FIELD_ANTHROPIC_WORKSPACE_ID);

bool eg_response_header_allowed(enum eg_dialect d, struct eg_str name)
{
	(void)d;
	/* Nobody but this agent speaks for Egret. */
	if (eg_str_istarts(name, EG_STR("x-egret-")))
		return false;
	return !eg_field_in(eg_field_of(name), refused_response_headers);
}

const uint64_t eg_credential_fields =
	EG_FIELD_BIT(EG_FIELD_AUTHORIZATION) | EG_FIELD_BIT(EG_FIELD_PROXY_AUTHORIZATION) |
	EG_FIELD_BIT(EG_FIELD_X_API_KEY) | EG_FIELD_BIT(EG_FIELD_API_KEY) |
	EG_FIELD_BIT(EG_FIELD_X_GOOG_API_KEY) | EG_FIELD_BIT(EG_FIELD_OCP_APIM_SUBSCRIPTION_KEY);

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

static unsigned int distinct_bytes(struct eg_str s)
{
	bool seen[256] = {false};
	unsigned int distinct = 0;

	for (size_t i = 0; i < s.n; i++) {
		distinct += !seen[(unsigned char)s.p[i]];
		seen[(unsigned char)s.p[i]] = true;
	}
	return distinct;
}

/* Of what may be a key: a head has room for 64 KiB of it, and each byte is compared with every
 * word. */
#define LOOKED_AT 256u

bool eg_credential_looks_real(struct eg_str name, struct eg_str value)
{
	ssize_t space;

	if (!eg_field_in(eg_field_of(name), eg_credential_fields))
		return false;
	value = eg_str_trim(value);
	space = eg_str_find(value, ' ');
	if (space >= 0) /* "Bearer ..." */
		value = eg_str_trim((struct eg_str){value.p + space, value.n - (size_t)space});
	/* The shortest keys that providers give out have 32 characters and more. */
	if (value.n < 24)
		return false;
	value.n = EG_MIN(value.n, (size_t)LOOKED_AT);
	for (size_t i = 0; i < EG_ARRAY_SIZE(placeholder_words); i++)
		if (contains_word(value, placeholder_words[i]))
			return false;
	return distinct_bytes(value) >= 12;
}
