/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of a request's query: what the operations define passes (each vendor's list), what carries a
 * credential or whose account it is goes, and all else is refused: an unknown key that was dropped
 * would change the request without a word, one that passed might be a carrier nobody thought of.
 */
#include "provider/vendor.h"

#define KEY_MAX 64u /* longer ones are unknown */

const struct eg_str eg_credential_query_keys[] = {
	EG_STR("key"),
	EG_STR("api_key"),
	EG_STR("api-key"),
	EG_STR("apikey"),
	EG_STR("api_token"),
	EG_STR("api-token"),
	EG_STR("x-api-key"),
	EG_STR("x-goog-api-key"),
	EG_STR("x-goog-user-project"),
	EG_STR("x-goog-iam-authority-selector"),
	EG_STR("x-goog-iam-authorization-token"),
	EG_STR("access_token"),
	EG_STR("access-token"),
	EG_STR("auth_token"),
	EG_STR("id_token"),
	EG_STR("oauth_token"),
	EG_STR("refresh_token"),
	EG_STR("token"),
	EG_STR("authorization"),
	EG_STR("bearer"),
	EG_STR("password"),
	EG_STR("secret"),
	EG_STR("sig"),
	EG_STR("signature"),
	EG_STR("subscription-key"),
	EG_STR("ocp-apim-subscription-key"),
	EG_STR("client_secret"),
	EG_STR("x-amz-algorithm"),
	EG_STR("x-amz-credential"),
	EG_STR("x-amz-date"),
	EG_STR("x-amz-expires"),
	EG_STR("x-amz-security-token"),
	EG_STR("x-amz-signature"),
	EG_STR("x-amz-signedheaders"),
	EG_STR("organization"),
	EG_STR("project"),
	EG_STR("openai-organization"),
	EG_STR("openai-project"),
};
const size_t eg_credential_query_key_count = EG_ARRAY_SIZE(eg_credential_query_keys);

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoded once, into out; .p NULL when it is longer than KEY_MAX. */
static struct eg_str decode(struct eg_str key, char out[KEY_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < key.n; i++) {
		bool escape = key.p[i] == '%' && i + 2 < key.n && hex(key.p[i + 1]) >= 0 &&
			      hex(key.p[i + 2]) >= 0;

		if (n == KEY_MAX)
			return (struct eg_str){NULL, 0};
		out[n++] = key.p[i];
		if (escape)
			out[n - 1] = (char)(hex(key.p[i + 1]) * 16 + hex(key.p[i + 2]));
		i += escape ? 2 : 0;
	}
	return (struct eg_str){out, n};
}

/* `name`, or with what the SDKs write for lists and maps: "include[]", "metadata[topic]". */
static bool names(struct eg_str key, struct eg_str name)
{
	if (!eg_str_starts(key, name))
		return false;
	return key.n == name.n || (key.p[name.n] == '[' && key.p[key.n - 1] == ']');
}

static bool known(const struct eg_vendor *v, const struct eg_operation *op, struct eg_str raw)
{
	char text[KEY_MAX];
	struct eg_str key = decode(raw, text);

	for (size_t i = 0; key.p && i < eg_credential_query_key_count; i++)
		if (eg_str_ieq(key, eg_credential_query_keys[i]))
			return true; /* not sent: eg_query_without() */
	for (size_t i = 0; key.p && v && i < v->query_key_count; i++)
		if (names(key, v->query_keys[i]))
			return true;
	return op && op->websocket &&
	       (eg_str_eq(raw, EG_STR("model")) || eg_str_eq(raw, EG_STR("intent")));
}

bool eg_query_unknown(enum eg_dialect d, const struct eg_operation *op, struct eg_str query,
		      struct eg_str *key)
{
	if (!query.n)
		return false; /* its pointer may be NULL */
	/* ';' parts pairs too, as eg_query_without() has it. */
	for (size_t from = 0, i = 0; i <= query.n; i++) {
		struct eg_str pair = {query.p + from, i - from};
		ssize_t equals;

		if (i < query.n && query.p[i] != '&' && query.p[i] != ';')
			continue;
		from = i + 1;
		if (!pair.n)
			continue;
		equals = eg_str_find(pair, '=');
		*key = (struct eg_str){pair.p, equals < 0 ? pair.n : (size_t)equals};
		if (!known(eg_vendor_of(d), op, *key))
			return true;
	}
	return false;
}
