/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/fields.h"

/* In order of their length: a name is compared with those that are as long. */
static const struct eg_str names[EG_FIELD_COUNT] = {
	[EG_FIELD_TE] = EG_STR("te"),
	[EG_FIELD_NEL] = EG_STR("nel"),
	[EG_FIELD_HOST] = EG_STR("host"),
	[EG_FIELD_RANGE] = EG_STR("range"),
	[EG_FIELD_ACCEPT] = EG_STR("accept"),
	[EG_FIELD_EXPECT] = EG_STR("expect"),
	[EG_FIELD_ORIGIN] = EG_STR("origin"),
	[EG_FIELD_ALT_SVC] = EG_STR("alt-svc"),
	[EG_FIELD_API_KEY] = EG_STR("api-key"),
	[EG_FIELD_TRAILER] = EG_STR("trailer"),
	[EG_FIELD_UPGRADE] = EG_STR("upgrade"),
	[EG_FIELD_ALT_USED] = EG_STR("alt-used"),
	[EG_FIELD_IF_MATCH] = EG_STR("if-match"),
	[EG_FIELD_EXPECT_CT] = EG_STR("expect-ct"),
	[EG_FIELD_REPORT_TO] = EG_STR("report-to"),
	[EG_FIELD_X_API_KEY] = EG_STR("x-api-key"),
	[EG_FIELD_CONNECTION] = EG_STR("connection"),
	[EG_FIELD_KEEP_ALIVE] = EG_STR("keep-alive"),
	[EG_FIELD_SET_COOKIE] = EG_STR("set-cookie"),
	[EG_FIELD_TRACESTATE] = EG_STR("tracestate"),
	[EG_FIELD_USER_AGENT] = EG_STR("user-agent"),
	[EG_FIELD_SET_COOKIE2] = EG_STR("set-cookie2"),
	[EG_FIELD_TRACEPARENT] = EG_STR("traceparent"),
	[EG_FIELD_X_EGRET_VIA] = EG_STR("x-egret-via"),
	[EG_FIELD_CONTENT_TYPE] = EG_STR("content-type"),
	[EG_FIELD_AUTHORIZATION] = EG_STR("authorization"),
	[EG_FIELD_CACHE_CONTROL] = EG_STR("cache-control"),
	[EG_FIELD_IF_NONE_MATCH] = EG_STR("if-none-match"),
	[EG_FIELD_LAST_EVENT_ID] = EG_STR("last-event-id"),
	[EG_FIELD_CONTENT_LENGTH] = EG_STR("content-length"),
	[EG_FIELD_OPENAI_PROJECT] = EG_STR("openai-project"),
	[EG_FIELD_X_GOOG_API_KEY] = EG_STR("x-goog-api-key"),
	[EG_FIELD_ACCEPT_ENCODING] = EG_STR("accept-encoding"),
	[EG_FIELD_ACCEPT_LANGUAGE] = EG_STR("accept-language"),
	[EG_FIELD_CLEAR_SITE_DATA] = EG_STR("clear-site-data"),
	[EG_FIELD_IDEMPOTENCY_KEY] = EG_STR("idempotency-key"),
	[EG_FIELD_PUBLIC_KEY_PINS] = EG_STR("public-key-pins"),
	[EG_FIELD_CONTENT_ENCODING] = EG_STR("content-encoding"),
	[EG_FIELD_PROXY_CONNECTION] = EG_STR("proxy-connection"),
	[EG_FIELD_TRANSFER_ENCODING] = EG_STR("transfer-encoding"),
	[EG_FIELD_PROXY_AUTHENTICATE] = EG_STR("proxy-authenticate"),
	[EG_FIELD_OPENAI_ORGANIZATION] = EG_STR("openai-organization"),
	[EG_FIELD_PROXY_AUTHORIZATION] = EG_STR("proxy-authorization"),
	[EG_FIELD_REPORTING_ENDPOINTS] = EG_STR("reporting-endpoints"),
	[EG_FIELD_ANTHROPIC_WORKSPACE_ID] = EG_STR("anthropic-workspace-id"),
	[EG_FIELD_SEC_WEBSOCKET_PROTOCOL] = EG_STR("sec-websocket-protocol"),
	[EG_FIELD_ANTHROPIC_ORGANIZATION_ID] = EG_STR("anthropic-organization-id"),
	[EG_FIELD_OCP_APIM_SUBSCRIPTION_KEY] = EG_STR("ocp-apim-subscription-key"),
	[EG_FIELD_PROXY_AUTHENTICATION_INFO] = EG_STR("proxy-authentication-info"),
	[EG_FIELD_STRICT_TRANSPORT_SECURITY] = EG_STR("strict-transport-security"),
};

struct eg_str eg_field_name(enum eg_field f)
{
	return names[f].p ? names[f] : EG_STR("");
}

/* The first of each length; 0: there is none. */
static const unsigned char first[] = {
	[2] = EG_FIELD_TE,
	[3] = EG_FIELD_NEL,
	[4] = EG_FIELD_HOST,
	[5] = EG_FIELD_RANGE,
	[6] = EG_FIELD_ACCEPT,
	[7] = EG_FIELD_ALT_SVC,
	[8] = EG_FIELD_ALT_USED,
	[9] = EG_FIELD_EXPECT_CT,
	[10] = EG_FIELD_CONNECTION,
	[11] = EG_FIELD_SET_COOKIE2,
	[12] = EG_FIELD_CONTENT_TYPE,
	[13] = EG_FIELD_AUTHORIZATION,
	[14] = EG_FIELD_CONTENT_LENGTH,
	[15] = EG_FIELD_ACCEPT_ENCODING,
	[16] = EG_FIELD_CONTENT_ENCODING,
	[17] = EG_FIELD_TRANSFER_ENCODING,
	[18] = EG_FIELD_PROXY_AUTHENTICATE,
	[19] = EG_FIELD_OPENAI_ORGANIZATION,
	[22] = EG_FIELD_ANTHROPIC_WORKSPACE_ID,
	[25] = EG_FIELD_ANTHROPIC_ORGANIZATION_ID,
};

/* `field` is as long, and in lower case. */
static inline bool is(struct eg_str name, struct eg_str field)
{
	uint64_t w;
	size_t i = 0;

	if (name.n < 8)
		return eg_str_istarts(name, field);
	for (; i + 8 < name.n; i += 8) {
		memcpy(&w, field.p + i, sizeof(w));
		if (eg_lower_word(name.p + i) != w)
			return false;
	}
	/* The last eight, some of which may have been seen. */
	memcpy(&w, field.p + name.n - 8, sizeof(w));
	return eg_lower_word(name.p + name.n - 8) == w;
}

enum eg_field eg_field_of(struct eg_str name)
{
	unsigned int f;

	if (name.n >= EG_ARRAY_SIZE(first))
		return EG_FIELD_OTHER;
	for (f = first[name.n]; f && f < EG_FIELD_COUNT && names[f].n == name.n; f++)
		if (!((name.p[0] ^ names[f].p[0]) & ~0x20) && is(name, names[f]))
			return (enum eg_field)f;
	return EG_FIELD_OTHER;
}
