/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header fields that somebody here asks for by name. Each field of a head is held against some
 * sixty names on its way (hop by hop, credentials, what may pass); so it is looked up once, and
 * what belongs together is a set of bits.
 */
#ifndef EGRET_PROTO_FIELDS_H
#define EGRET_PROTO_FIELDS_H

#include "base/base.h"

enum eg_field {
	EG_FIELD_OTHER, /* none of these; its bit is in no set */
	EG_FIELD_TE,
	EG_FIELD_NEL,
	EG_FIELD_HOST,
	EG_FIELD_RANGE,
	EG_FIELD_ACCEPT,
	EG_FIELD_EXPECT,
	EG_FIELD_ORIGIN,
	EG_FIELD_ALT_SVC,
	EG_FIELD_API_KEY,
	EG_FIELD_TRAILER,
	EG_FIELD_UPGRADE,
	EG_FIELD_ALT_USED,
	EG_FIELD_IF_MATCH,
	EG_FIELD_EXPECT_CT,
	EG_FIELD_REPORT_TO,
	EG_FIELD_X_API_KEY,
	EG_FIELD_CONNECTION,
	EG_FIELD_KEEP_ALIVE,
	EG_FIELD_SET_COOKIE,
	EG_FIELD_TRACESTATE,
	EG_FIELD_USER_AGENT,
	EG_FIELD_SET_COOKIE2,
	EG_FIELD_TRACEPARENT,
	EG_FIELD_X_EGRET_VIA,
	EG_FIELD_CONTENT_TYPE,
	EG_FIELD_AUTHORIZATION,
	EG_FIELD_CACHE_CONTROL,
	EG_FIELD_IF_NONE_MATCH,
	EG_FIELD_LAST_EVENT_ID,
	EG_FIELD_CONTENT_LENGTH,
	EG_FIELD_OPENAI_PROJECT,
	EG_FIELD_X_GOOG_API_KEY,
	EG_FIELD_ACCEPT_ENCODING,
	EG_FIELD_ACCEPT_LANGUAGE,
	EG_FIELD_CLEAR_SITE_DATA,
	EG_FIELD_IDEMPOTENCY_KEY,
	EG_FIELD_PUBLIC_KEY_PINS,
	EG_FIELD_CONTENT_ENCODING,
	EG_FIELD_PROXY_CONNECTION,
	EG_FIELD_TRANSFER_ENCODING,
	EG_FIELD_PROXY_AUTHENTICATE,
	EG_FIELD_OPENAI_ORGANIZATION,
	EG_FIELD_PROXY_AUTHORIZATION,
	EG_FIELD_REPORTING_ENDPOINTS,
	EG_FIELD_ANTHROPIC_WORKSPACE_ID,
	EG_FIELD_SEC_WEBSOCKET_PROTOCOL,
	EG_FIELD_ANTHROPIC_ORGANIZATION_ID,
	EG_FIELD_OCP_APIM_SUBSCRIPTION_KEY,
	EG_FIELD_PROXY_AUTHENTICATION_INFO,
	EG_FIELD_STRICT_TRANSPORT_SECURITY,
	EG_FIELD_COUNT
};
_Static_assert(EG_FIELD_COUNT <= 64, "a set of fields is 64 bits");

#define EG_FIELD_BIT(f) (1ull << (f))

/* Hop by hop: RFC 9110 section 7.6.1, and those that authenticate to a proxy. What Trailer
 * announces may be left out on the way (trailers.h). */
#define EG_FIELDS_HOP_BY_HOP                                                           \
	(EG_FIELD_BIT(EG_FIELD_CONNECTION) | EG_FIELD_BIT(EG_FIELD_PROXY_CONNECTION) | \
	 EG_FIELD_BIT(EG_FIELD_KEEP_ALIVE) | EG_FIELD_BIT(EG_FIELD_TE) |               \
	 EG_FIELD_BIT(EG_FIELD_TRANSFER_ENCODING) | EG_FIELD_BIT(EG_FIELD_UPGRADE) |   \
	 EG_FIELD_BIT(EG_FIELD_TRAILER) | EG_FIELD_BIT(EG_FIELD_PROXY_AUTHENTICATE) |  \
	 EG_FIELD_BIT(EG_FIELD_PROXY_AUTHORIZATION))

static inline bool eg_field_in(enum eg_field f, uint64_t set)
{
	return set >> f & 1;
}

/* In any case of letters. */
enum eg_field eg_field_of(struct eg_str name);
/* In lower case; "" for EG_FIELD_OTHER. */
struct eg_str eg_field_name(enum eg_field f);

#endif
