/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/uri.h"

#include <arpa/inet.h>

#include "proto/utf8.h"

/* RFC 3986 appendix A: where a byte may stand as it is. */
#define IN_PATH	 1u /* pchar and "/" */
#define IN_QUERY 2u /* pchar, "/", "?"; also "[" and "]", which every client sends as they are */
#define BOTH	 (IN_PATH | IN_QUERY)

static const unsigned char allowed[256] = {
	['!'] = BOTH,	  ['$'] = BOTH, ['&'] = BOTH, ['\''] = BOTH,	['('] = BOTH,
	[')'] = BOTH,	  ['*'] = BOTH, ['+'] = BOTH, [','] = BOTH,	['-'] = BOTH,
	['.'] = BOTH,	  ['/'] = BOTH, ['0'] = BOTH, ['1'] = BOTH,	['2'] = BOTH,
	['3'] = BOTH,	  ['4'] = BOTH, ['5'] = BOTH, ['6'] = BOTH,	['7'] = BOTH,
	['8'] = BOTH,	  ['9'] = BOTH, [':'] = BOTH, [';'] = BOTH,	['='] = BOTH,
	['?'] = IN_QUERY, ['@'] = BOTH, ['A'] = BOTH, ['B'] = BOTH,	['C'] = BOTH,
	['D'] = BOTH,	  ['E'] = BOTH, ['F'] = BOTH, ['G'] = BOTH,	['H'] = BOTH,
	['I'] = BOTH,	  ['J'] = BOTH, ['K'] = BOTH, ['L'] = BOTH,	['M'] = BOTH,
	['N'] = BOTH,	  ['O'] = BOTH, ['P'] = BOTH, ['Q'] = BOTH,	['R'] = BOTH,
	['S'] = BOTH,	  ['T'] = BOTH, ['U'] = BOTH, ['V'] = BOTH,	['W'] = BOTH,
	['X'] = BOTH,	  ['Y'] = BOTH, ['Z'] = BOTH, ['['] = IN_QUERY, [']'] = IN_QUERY,
	['_'] = BOTH,	  ['a'] = BOTH, ['b'] = BOTH, ['c'] = BOTH,	['d'] = BOTH,
	['e'] = BOTH,	  ['f'] = BOTH, ['g'] = BOTH, ['h'] = BOTH,	['i'] = BOTH,
	['j'] = BOTH,	  ['k'] = BOTH, ['l'] = BOTH, ['m'] = BOTH,	['n'] = BOTH,
	['o'] = BOTH,	  ['p'] = BOTH, ['q'] = BOTH, ['r'] = BOTH,	['s'] = BOTH,
	['t'] = BOTH,	  ['u'] = BOTH, ['v'] = BOTH, ['w'] = BOTH,	['x'] = BOTH,
	['y'] = BOTH,	  ['z'] = BOTH, ['~'] = BOTH,
};

static int hex(unsigned char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	ch |= 0x20;
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* The byte that "%XX" at s.p[i] stands for, or -1. */
static int escape_at(struct eg_str s, size_t i)
{
	int high, low;

	if (s.n - i < 3)
		return -1;
	high = hex((unsigned char)s.p[i + 1]);
	low = hex((unsigned char)s.p[i + 2]);
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* -EINVAL: a byte not allowed there, a bad escape, an escaped NUL. */
static int check_bytes(struct eg_str s, unsigned int where)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '%') {
			if (escape_at(s, i) < 1)
				return -EINVAL;
			i += 2;
		} else if (!(allowed[(unsigned char)s.p[i]] & where)) {
			return -EINVAL;
		}
	}
	return 0;
}

/* "." and "..", also with path parameters, which some servers cut off before they look. */
static bool dot_segment(struct eg_str segment)
{
	ssize_t semicolon;

	if (!segment.n || segment.p[0] != '.')
		return false;
	semicolon = eg_str_find(segment, ';');
	if (semicolon >= 0)
		segment.n = (size_t)semicolon;
	return eg_str_eq(segment, EG_STR(".")) || eg_str_eq(segment, EG_STR(".."));
}

/* -EPERM for what another reader of the path may understand differently. */
static int check_escapes(struct eg_str path)
{
	for (size_t i = 0; i < path.n; i++) {
		int c;

		if (path.p[i] != '%')
			continue;
		c = escape_at(path, i);
		if (c == '/' || c == '\\' || c < 0x20 || c == 0x7f)
			return -EPERM;
		i += 2;
	}
	return 0;
}

/* Of what had escapes; without any it is ASCII, or it would not have been taken. */
static int check_decoded(struct eg_str path)
{
	const unsigned char *p = (const unsigned char *)path.p;

	/* What is not UTF-8 may be an overlong slash or dot to a lax reader. */
	for (size_t i = 0, step; i < path.n; i += step) {
		step = eg_utf8_length(p + i, path.n - i);
		if (!step || (p[i] == '%' && escape_at(path, i) >= 0)) /* escaped twice */
			return -EPERM;
	}
	return 0;
}

static int check_segments(struct eg_str path)
{
	size_t segment = 1;

	for (size_t i = 1; i <= path.n; i++) {
		if (i < path.n && path.p[i] != '/')
			continue;
		if ((i == segment && i < path.n) ||
		    dot_segment((struct eg_str){path.p + segment, i - segment}))
			return -EPERM;
		segment = i + 1;
	}
	return 0;
}

static size_t decode(char *out, struct eg_str s)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		int c = s.p[i] == '%' ? escape_at(s, i) : -1;

		out[n++] = c < 0 ? s.p[i] : (char)c;
		if (c >= 0)
			i += 2;
	}
	return n;
}

/* Takes scheme and authority off an absolute-form target. */
static int take_origin(struct eg_str *rest, struct eg_target *t)
{
	struct eg_str authority;
	size_t n = 0;

	if (eg_str_istarts(*rest, EG_STR("http://")))
		t->scheme = EG_STR("http");
	else if (eg_str_istarts(*rest, EG_STR("https://")))
		t->scheme = EG_STR("https");
	else
		return -EINVAL;
	rest->p += t->scheme.n + 3;
	rest->n -= t->scheme.n + 3;
	while (n < rest->n && rest->p[n] != '/' && rest->p[n] != '?')
		n++;
	authority = (struct eg_str){rest->p, n};
	rest->p += n;
	rest->n -= n;
	t->absolute = true;
	return eg_authority_parse(authority, &t->host, &t->port);
}

int eg_target_parse(struct eg_arena *a, struct eg_str target, struct eg_target *out)
{
	struct eg_target t = {.absolute = false};
	ssize_t mark;
	char *copy;

	if (!target.n || (target.p[0] != '/' && take_origin(&target, &t)))
		return -EINVAL;
	mark = eg_str_find(target, '?');
	t.path = (struct eg_str){target.p, mark < 0 ? target.n : (size_t)mark};
	if (mark >= 0)
		t.query = (struct eg_str){target.p + mark + 1, target.n - (size_t)mark - 1};
	if (!t.path.n) /* RFC 9112 section 3.2.2: no path means "/" */
		t.path = EG_STR("/");
	if (check_bytes(t.path, IN_PATH) || check_bytes(t.query, IN_QUERY))
		return -EINVAL;
	copy = eg_arena_dup(a, t.path);
	if (!copy)
		return -ENOMEM;
	t.decoded = (struct eg_str){copy, t.path.n};
	if (eg_str_find(t.path, '%') >= 0) {
		t.decoded.n = decode(copy, t.path);
		copy[t.decoded.n] = '\0';
		if (check_escapes(t.path) || check_decoded(t.decoded))
			return -EPERM;
	}
	if (check_segments(t.decoded))
		return -EPERM;
	*out = t;
	return 0;
}

/* ---- authority and host ---- */

static int parse_port(struct eg_str s, uint16_t *port)
{
	uint64_t v;

	if (s.n > 5 || eg_str_u64(s, &v) || !v || v > UINT16_MAX || s.p[0] == '0')
		return -EINVAL;
	*port = (uint16_t)v;
	return 0;
}

static bool ipv6(struct eg_str s)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (!s.n || s.n >= sizeof(text) || memchr(s.p, '\0', s.n))
		return false;
	eg_str_copy(text, sizeof(text), s);
	return inet_pton(AF_INET6, text, &address) == 1;
}

int eg_authority_parse(struct eg_str authority, struct eg_str *host, uint16_t *port)
{
	struct eg_str h = authority;
	uint16_t number = 0;
	ssize_t colon;

	if (authority.n && authority.p[0] == '[') {
		ssize_t close = eg_str_find(authority, ']');

		if (close < 0 || !ipv6((struct eg_str){authority.p + 1, (size_t)close - 1}))
			return -EINVAL;
		h.n = (size_t)close + 1;
		colon = h.n < authority.n ? (ssize_t)h.n : -1;
		if (colon >= 0 && authority.p[colon] != ':')
			return -EINVAL;
	} else {
		colon = eg_str_find(authority, ':');
		if (colon >= 0)
			h.n = (size_t)colon;
		if (!eg_host_valid(h) && !eg_host_is_ip(h))
			return -EINVAL;
		if (h.p[h.n - 1] == '.')
			h.n--;
	}
	if (colon >= 0 &&
	    parse_port((struct eg_str){authority.p + colon + 1, authority.n - (size_t)colon - 1},
		       &number))
		return -EINVAL;
	*host = h;
	*port = number;
	return 0;
}

/* Labels of letters, digits, '-' (not at the ends) and '_'. One dot at the end is let pass. */
static bool labels(struct eg_str s)
{
	size_t label = 0;

	if (s.n && s.p[s.n - 1] == '.')
		s.n--;
	if (!s.n || s.n > 253)
		return false;
	for (size_t i = 0; i <= s.n; i++) {
		char c = i < s.n ? s.p[i] : '.';

		if (c == '.') {
			if (i == label || i - label > 63 || s.p[label] == '-' || s.p[i - 1] == '-')
				return false;
			label = i + 1;
		} else if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			     (c >= 'A' && c <= 'Z') || c == '-' || c == '_')) {
			return false;
		}
	}
	return true;
}

/* WHATWG URL, "ends in a number": the last label is of digits, or a number with 0x. */
static bool ends_in_number(struct eg_str s)
{
	size_t from, i;

	if (s.n && s.p[s.n - 1] == '.')
		s.n--;
	for (from = s.n; from && s.p[from - 1] != '.'; from--)
		;
	if (from == s.n)
		return false;
	for (i = from; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
		;
	if (i == s.n)
		return true;
	if (s.n - from < 2 || s.p[from] != '0' || (s.p[from + 1] | 0x20) != 'x')
		return false;
	for (i = from + 2; i < s.n && hex((unsigned char)s.p[i]) >= 0; i++)
		;
	return i == s.n;
}

bool eg_host_is_ip(struct eg_str host)
{
	struct eg_str inner = host;
	ssize_t zone;

	if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
		inner = (struct eg_str){host.p + 1, host.n - 2};
	} else if (eg_str_find(host, ':') < 0) {
		return labels(host) && ends_in_number(host);
	}
	zone = eg_str_find(inner, '%');
	if (zone >= 0)
		inner.n = (size_t)zone;
	return ipv6(inner);
}

bool eg_host_valid(struct eg_str host)
{
	return labels(host) && !ends_in_number(host);
}

/* ---- query ---- */

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Compares the escaped `key`, decoded, with the plain `name`, any case. */
static bool key_is(struct eg_str key, struct eg_str name)
{
	size_t n = 0;

	for (size_t i = 0; i < key.n; i++) {
		int c = key.p[i] == '%' ? escape_at(key, i) : -1;
		char byte = c < 0 ? key.p[i] : (char)c;

		if (c >= 0)
			i += 2;
		if (n == name.n || lower(byte) != lower(name.p[n++]))
			return false;
	}
	return n == name.n;
}

struct eg_str eg_query_without(struct eg_arena *a, struct eg_str query, const struct eg_str *drop,
			       size_t drop_count)
{
	char *out = eg_arena_alloc(a, query.n + 1);
	size_t n = 0;

	if (!out)
		return (struct eg_str){NULL, 0};
	if (!query.n)
		query = EG_STR(""); /* its pointer may be NULL */
	/* ';' parts pairs too: some servers read it so, and would find the key behind it. */
	for (size_t from = 0, i = 0; i <= query.n; i++) {
		struct eg_str key = {query.p + from, i - from};
		ssize_t equals;
		bool dropped = false;

		if (i < query.n && query.p[i] != '&' && query.p[i] != ';')
			continue;
		equals = eg_str_find(key, '=');
		if (equals >= 0)
			key.n = (size_t)equals;
		for (size_t d = 0; d < drop_count && !dropped; d++)
			dropped = key_is(key, drop[d]);
		if (!dropped) {
			/* The separator before it; none in front of the first that stays. */
			if (n)
				out[n++] = query.p[from - 1];
			if (i > from)
				memcpy(out + n, query.p + from, i - from);
			n += i - from;
		}
		from = i + 1;
	}
	out[n] = '\0';
	return (struct eg_str){out, n};
}

/* The value decoded into out (value.n bytes): its length, or -1 where two readers may differ. */
static ssize_t decode_value(struct eg_str value, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < value.n; i++) {
		int c = (unsigned char)value.p[i];

		if (c == '+')
			return -1; /* a space, or not */
		if (c == '%') {
			c = escape_at(value, i);
			i += 2;
			if (c < 0x20 || c == 0x7f || c == '%')
				return -1;
		}
		out[n++] = (char)c;
	}
	for (size_t i = 0, step; i < n; i += step) {
		step = eg_utf8_length((const unsigned char *)out + i, n - i);
		if (!step)
			return -1;
	}
	return (ssize_t)n;
}

int eg_query_value(struct eg_arena *a, struct eg_str query, struct eg_str name,
		   struct eg_str *value)
{
	struct eg_str found = {NULL, 0};
	ssize_t n;
	char *out;

	for (size_t from = 0, i = 0; query.n && i <= query.n; i++) {
		struct eg_str pair = {query.p + from, i - from};
		ssize_t equals;

		if (i < query.n && query.p[i] != '&' && query.p[i] != ';')
			continue;
		from = i + 1;
		equals = eg_str_find(pair, '=');
		if (!key_is((struct eg_str){pair.p, equals < 0 ? pair.n : (size_t)equals}, name))
			continue;
		if (found.p || equals < 0)
			return -EINVAL;
		found = (struct eg_str){pair.p + equals + 1, pair.n - (size_t)equals - 1};
	}
	if (!found.p)
		return -ENOENT;
	out = eg_arena_alloc(a, found.n + 1);
	if (!out)
		return -ENOMEM;
	n = decode_value(found, out);
	if (n < 0)
		return -EINVAL;
	*value = (struct eg_str){out, (size_t)n};
	return 0;
}

struct eg_str eg_query_with(struct eg_arena *a, struct eg_str query, struct eg_str key,
			    struct eg_str value)
{
	static const char digits[] = "0123456789ABCDEF";
	char *out = eg_arena_alloc(a, query.n + key.n + 3 * value.n + 2);
	size_t n = 0;

	if (!out)
		return (struct eg_str){NULL, 0};
	if (query.n) {
		memcpy(out, query.p, query.n);
		n = query.n;
		out[n++] = '&';
	}
	memcpy(out + n, key.p, key.n);
	n += key.n;
	out[n++] = '=';
	for (size_t i = 0; i < value.n; i++) {
		unsigned char c = (unsigned char)value.p[i];
		bool plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
			     c == '-' || c == '.' || c == '_' || c == '~' || c == ':' || c == '/';

		if (plain) {
			out[n++] = (char)c;
			continue;
		}
		out[n++] = '%';
		out[n++] = digits[c >> 4];
		out[n++] = digits[c & 15];
	}
	return (struct eg_str){out, n};
}

int eg_percent_encode(struct eg_buf *out, struct eg_str text, bool (*plain)(unsigned char c))
{
	static const char hex[] = "0123456789ABCDEF";
	size_t from = 0;
	int r = 0;

	for (size_t i = 0; i < text.n && !r; i++) {
		unsigned char c = (unsigned char)text.p[i];
		char escape[3] = {'%', hex[c >> 4], hex[c & 15]};

		if (plain(c))
			continue;
		r = eg_buf_append(out, text.p + from, i - from);
		if (!r)
			r = eg_buf_append(out, escape, sizeof(escape));
		from = i + 1;
	}
	return r ? r : eg_buf_append(out, text.p + from, text.n - from);
}
