/* SPDX-License-Identifier: Apache-2.0 */
#include "front/h2_head.h"

#include "proto/h1.h"

#define TEXT_MAX (2 * H2_HEAD_LIST_MAX) /* never reached: the list is smaller */

void h2_head_init(struct h2_head *h)
{
	*h = (struct h2_head){.verdict = H2_HEAD_OK};
	eg_buf_init_secret(&h->text, TEXT_MAX);
	eg_buf_init_secret(&h->cookie, TEXT_MAX);
	eg_buf_init_secret(&h->pseudo, TEXT_MAX);
}

void h2_head_fini(struct h2_head *h)
{
	eg_buf_fini(&h->text);
	eg_buf_fini(&h->cookie);
	eg_buf_fini(&h->pseudo);
}

size_t h2_head_size(const struct h2_head *h)
{
	return h->text.size + h->cookie.size + h->pseudo.size;
}

static void fail(struct h2_head *h, enum h2_head_verdict verdict, const char *wrong)
{
	if (h->verdict != H2_HEAD_OK)
		return;
	h->verdict = verdict;
	h->wrong = wrong;
}

static void malformed(struct h2_head *h, const char *wrong)
{
	fail(h, H2_HEAD_MALFORMED, wrong);
}

static void put(struct eg_buf *b, struct eg_str s, struct h2_head *h)
{
	if (h->verdict == H2_HEAD_OK && s.n && eg_buf_append_str(b, s))
		fail(h, H2_HEAD_NO_MEMORY, NULL);
}

struct eg_str h2_head_value(const struct h2_head *h, enum h2_head_pseudo which)
{
	if (!h->part[which].seen)
		return (struct eg_str){NULL, 0};
	return (struct eg_str){h->pseudo.p ? eg_buf_data(&h->pseudo) + h->part[which].at : NULL,
			       h->part[which].n};
}

/* ---- what may be in a field ---- */

static const char *name_wrong(struct eg_str name)
{
	if (!name.n)
		return "a field without a name";
	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)name.p[i];

		if (c >= 'A' && c <= 'Z')
			return "a field name in upper case";
		if (!eg_h1_token_byte(c))
			return "a field name that is not a token";
	}
	return NULL;
}

/* Section 8.2.1. Other control characters are the HTTP/1.1 reader's to refuse. */
static const char *value_wrong(struct eg_str value)
{
	if (!value.n)
		return NULL;
	if (memchr(value.p, '\0', value.n) || memchr(value.p, '\r', value.n) ||
	    memchr(value.p, '\n', value.n))
		return "a line break or NUL in a field value";
	if (eg_str_trim(value).n != value.n)
		return "white space around a field value";
	return NULL;
}

/* Section 8.2.2. */
static const char *connection_specific(struct eg_str name, struct eg_str value)
{
	static const struct eg_str names[] = {
		{"connection", 10},	   {"proxy-connection", 16}, {"keep-alive", 10},
		{"transfer-encoding", 17}, {"upgrade", 7},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++)
		if (eg_str_eq(name, names[i]))
			return "a field that belongs to an HTTP/1.1 connection";
	if (eg_str_eq(name, EG_STR("te")) && !eg_str_ieq(value, EG_STR("trailers")))
		return "te other than trailers";
	return NULL;
}

static bool visible(struct eg_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= 0x20 || s.p[i] >= 0x7f)
			return false;
	return s.n > 0;
}

static bool token(struct eg_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!eg_h1_token_byte((unsigned char)s.p[i]))
			return false;
	return s.n > 0;
}

/* ---- pseudo-headers (section 8.3) ---- */

static void take_pseudo(struct h2_head *h, struct eg_str name, struct eg_str value)
{
	static const struct eg_str names[H2_PSEUDOS] = {
		[H2_METHOD] = {":method", 7},
		[H2_SCHEME] = {":scheme", 7},
		[H2_AUTHORITY] = {":authority", 10},
		[H2_PATH] = {":path", 5},
	};

	for (size_t i = 0; i < H2_PSEUDOS; i++) {
		if (!eg_str_eq(name, names[i]))
			continue;
		if (h->fields_begun) {
			malformed(h, "a pseudo-header after a field");
		} else if (h->part[i].seen) {
			malformed(h, "a pseudo-header that came twice");
		} else {
			h->part[i].at = h->pseudo.length;
			put(&h->pseudo, value, h);
			h->part[i].n = value.n;
			h->part[i].seen = h->verdict == H2_HEAD_OK;
		}
		return;
	}
	malformed(h, "an unknown pseudo-header");
}

static void check_pseudo(struct h2_head *h)
{
	struct eg_str method = h2_head_value(h, H2_METHOD), path = h2_head_value(h, H2_PATH);
	struct eg_str scheme = h2_head_value(h, H2_SCHEME);
	struct eg_str authority = h2_head_value(h, H2_AUTHORITY);

	if (!token(method))
		malformed(h, "a :method that is missing or not a token");
	else if (eg_str_eq(method, EG_STR("CONNECT")))
		malformed(h, "CONNECT");
	else if (!eg_str_ieq(scheme, EG_STR("https")) && !eg_str_ieq(scheme, EG_STR("http")))
		malformed(h, "a :scheme that is missing or not http or https");
	else if (!visible(path) || (path.p[0] != '/' && !(eg_str_eq(path, EG_STR("*")) &&
							  eg_str_eq(method, EG_STR("OPTIONS")))))
		malformed(h, "a :path that is missing or not a path");
	else if (h->part[H2_AUTHORITY].seen &&
		 (!visible(authority) || memchr(authority.p, '@', authority.n)))
		malformed(h, "an :authority that is empty or not one");
}

/* All pseudo-headers are here: the request line. */
static void begin_fields(struct h2_head *h)
{
	if (h->fields_begun || h->verdict != H2_HEAD_OK)
		return;
	h->fields_begun = true;
	check_pseudo(h);
	put(&h->text, h2_head_value(h, H2_METHOD), h);
	put(&h->text, EG_STR(" "), h);
	put(&h->text, h2_head_value(h, H2_PATH), h);
	put(&h->text, EG_STR(" HTTP/1.1\r\n"), h);
	if (!h->part[H2_AUTHORITY].seen)
		return;
	put(&h->text, EG_STR("host: "), h);
	put(&h->text, h2_head_value(h, H2_AUTHORITY), h);
	put(&h->text, EG_STR("\r\n"), h);
}

/* ---- fields ---- */

/* Without the scheme's own port (RFC 3986 section 6.2.3). */
static struct eg_str without_port(struct eg_str authority, struct eg_str scheme)
{
	struct eg_str port = eg_str_ieq(scheme, EG_STR("https")) ? EG_STR(":443") : EG_STR(":80");

	if (authority.n > port.n && !memcmp(authority.p + authority.n - port.n, port.p, port.n))
		authority.n -= port.n;
	return authority;
}

/* Section 8.3.1: it must name what :authority names. Then one of them is enough. */
static bool is_spare_host(struct h2_head *h, struct eg_str name, struct eg_str value)
{
	struct eg_str authority = h2_head_value(h, H2_AUTHORITY);
	struct eg_str scheme = h2_head_value(h, H2_SCHEME);

	if (!eg_str_eq(name, EG_STR("host")))
		return false;
	if (h->host_seen)
		malformed(h, "host came twice");
	h->host_seen = true;
	if (!h->part[H2_AUTHORITY].seen)
		return false;
	if (!eg_str_ieq(without_port(value, scheme), without_port(authority, scheme)))
		malformed(h, "an :authority that differs from host");
	return true;
}

static void take_field(struct h2_head *h, struct eg_str name, struct eg_str value)
{
	const char *wrong = connection_specific(name, value);

	if (wrong)
		malformed(h, wrong);
	begin_fields(h);
	if (h->verdict != H2_HEAD_OK || is_spare_host(h, name, value))
		return;
	if (eg_str_eq(name, EG_STR("cookie"))) {
		if (h->cookie.length)
			put(&h->cookie, EG_STR("; "), h);
		put(&h->cookie, value, h);
		return;
	}
	h->length_seen |= eg_str_eq(name, EG_STR("content-length"));
	put(&h->text, name, h);
	put(&h->text, EG_STR(": "), h);
	put(&h->text, value, h);
	put(&h->text, EG_STR("\r\n"), h);
}

void h2_head_field(struct h2_head *h, struct eg_str name, struct eg_str value)
{
	bool pseudo = name.n && name.p[0] == ':';
	const char *wrong;

	h->list_bytes += name.n + value.n + H2_FIELD_OVERHEAD;
	if (h->list_bytes > H2_HEAD_LIST_MAX)
		fail(h, H2_HEAD_TOO_LARGE, NULL);
	if (h->verdict != H2_HEAD_OK)
		return;
	wrong = pseudo ? NULL : name_wrong(name);
	if (!wrong)
		wrong = value_wrong(value);
	if (wrong)
		malformed(h, wrong);
	else if (pseudo)
		take_pseudo(h, name, value);
	else
		take_field(h, name, value);
}

enum h2_head_verdict h2_head_end(struct h2_head *h, bool body)
{
	begin_fields(h);
	if (h->cookie.length) {
		put(&h->text, EG_STR("cookie: "), h);
		put(&h->text, eg_buf_str(&h->cookie), h);
		put(&h->text, EG_STR("\r\n"), h);
	}
	/* The name can't have come: it is connection-specific. */
	if (body && !h->length_seen)
		put(&h->text, EG_STR("transfer-encoding: chunked\r\n"), h);
	put(&h->text, EG_STR("\r\n"), h);
	return h->verdict;
}

const char *h2_trailer(struct h2_head *h, struct eg_str name, struct eg_str value)
{
	const char *wrong = name.n && name.p[0] == ':' ? "a pseudo-header in trailers" : NULL;

	/* One byte of HPACK may stand for 4 KiB: what is looked at must end somewhere. */
	h->list_bytes += name.n + value.n + H2_FIELD_OVERHEAD;
	if (h->list_bytes > H2_HEAD_LIST_MAX)
		return "trailers larger than the limit";
	if (!wrong)
		wrong = name_wrong(name);
	if (!wrong)
		wrong = value_wrong(value);
	return wrong ? wrong : connection_specific(name, value);
}
