/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redirects under a region rule. A client's HTTP library follows one by itself, with the prompt
 * (307, 308): to a host that nothing governs nobody would judge it any more.
 */
#include "exchange/exchange_impl.h"

/* A path below the host that was called, also to readers that take "\" for "/" and drop tabs (the
 * WHATWG's URLs). */
static bool is_path(struct eg_str to)
{
	for (size_t i = 0; i < to.n; i++)
		if ((unsigned char)to.p[i] <= ' ' || to.p[i] == '\\')
			return false;
	return to.n && to.p[0] == '/' && !(to.n > 1 && to.p[1] == '/');
}

/* What follows "://": `host`, at the scheme's own port, and a path or nothing. */
static bool is_at(struct eg_str rest, const char *host, struct eg_str port)
{
	struct eg_str h = eg_str_from(host);

	if (!h.n || !eg_str_istarts(rest, h))
		return false;
	rest = (struct eg_str){rest.p + h.n, rest.n - h.n};
	if (eg_str_starts(rest, port))
		rest = (struct eg_str){rest.p + port.n, rest.n - port.n};
	return !rest.n || is_path(rest);
}

/* To the host that the client called or to the provider's own: the next request is judged as this
 * one was. */
static bool stays(const struct eg_exchange *x, struct eg_str to)
{
	static const struct eg_str schemes[] = {EG_STR("https://"), EG_STR("http://")};
	static const struct eg_str ports[] = {EG_STR(":443"), EG_STR(":80")};

	for (size_t i = 0; i < EG_ARRAY_SIZE(schemes); i++) {
		struct eg_str rest;

		if (!eg_str_istarts(to, schemes[i]))
			continue;
		rest = (struct eg_str){to.p + schemes[i].n, to.n - schemes[i].n};
		return is_at(rest, x->host, ports[i]) ||
		       (!x->provider->allow_private && is_at(rest, x->provider->host, ports[i]));
	}
	return is_path(to);
}

bool exchange_leads_away(const struct eg_exchange *x)
{
	const struct eg_h1_head *head = x->error_head;

	if (!x->policy || !x->policy->region_count || head->status < 300 || head->status > 399)
		return false;
	for (size_t i = 0; i < head->header_count; i++)
		if (eg_str_ieq(head->headers[i].name, EG_STR("location")) &&
		    !stays(x, eg_str_trim(head->headers[i].value)))
			return true;
	return false;
}
