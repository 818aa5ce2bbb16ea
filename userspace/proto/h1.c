/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two phases. find_end() walks line by line to the empty line and fails at the first byte that can
 * be no part of a head, so that its answer does not depend on how the input was cut; then the head
 * is parsed in one go, because every string must point into the bytes of this call.
 */
#include "proto/h1.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "proto/uri.h"

const struct eg_h1_limits eg_h1_default_limits = {
	.head_bytes = 64 * 1024,
	.target_bytes = 16 * 1024,
	.header_count = EG_H1_MAX_HEADERS,
};

#define EMPTY_LINES_MAX 2u
#define NEAR_BYTES	64 /* of a line: looked at before memchr() is called */

/* Bytes of a token (RFC 9110 section 5.6.2). */
static const unsigned char token_byte[256] = {
	['!'] = 1, ['#'] = 1, ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1,
	['-'] = 1, ['.'] = 1, ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1,  ['~'] = 1, ['0'] = 1,
	['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1,  ['7'] = 1, ['8'] = 1,
	['9'] = 1, ['A'] = 1, ['B'] = 1, ['C'] = 1, ['D'] = 1, ['E'] = 1,  ['F'] = 1, ['G'] = 1,
	['H'] = 1, ['I'] = 1, ['J'] = 1, ['K'] = 1, ['L'] = 1, ['M'] = 1,  ['N'] = 1, ['O'] = 1,
	['P'] = 1, ['Q'] = 1, ['R'] = 1, ['S'] = 1, ['T'] = 1, ['U'] = 1,  ['V'] = 1, ['W'] = 1,
	['X'] = 1, ['Y'] = 1, ['Z'] = 1, ['a'] = 1, ['b'] = 1, ['c'] = 1,  ['d'] = 1, ['e'] = 1,
	['f'] = 1, ['g'] = 1, ['h'] = 1, ['i'] = 1, ['j'] = 1, ['k'] = 1,  ['l'] = 1, ['m'] = 1,
	['n'] = 1, ['o'] = 1, ['p'] = 1, ['q'] = 1, ['r'] = 1, ['s'] = 1,  ['t'] = 1, ['u'] = 1,
	['v'] = 1, ['w'] = 1, ['x'] = 1, ['y'] = 1, ['z'] = 1,
};

bool eg_h1_token_byte(unsigned char c)
{
	return token_byte[c];
}

/* What one parse carries around. */
struct parse {
	const struct eg_h1_limits *limits;
	struct eg_h1_head *head;
	enum eg_reason reason; /* of the failure */
	bool request;
	bool has_length, has_coding, has_host, has_upgrade;
	bool close, keep, upgrade_token; /* of Connection */
	unsigned int listed;		 /* in all fields of that name */
	struct eg_str after;		 /* what of a field's line follows its value */
};

static bool fail(struct parse *x, enum eg_reason reason, const char *wrong)
{
	x->reason = reason;
	x->head->wrong = wrong;
	return false;
}

/* The first line feed, or NULL. Lines are short, and what memchr() takes to be called is as much as
 * they do. */
static inline const char *line_feed(const char *p, size_t n)
{
	const char *end = p + n, *near = n > NEAR_BYTES ? p + NEAR_BYTES : end;

#if defined(__SSE2__)
	while (near - p >= 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		unsigned int mask =
			(unsigned int)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\n')));

		if (mask)
			return p + __builtin_ctz(mask);
		p += 16;
	}
#endif
	for (; p < near; p++)
		if (*p == '\n')
			return p;
	return p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
}

/* Number of CRLF pairs at the beginning, at most three. */
static unsigned int leading_empty(struct eg_str bytes, size_t n)
{
	unsigned int lines = 0;

	while (lines <= EMPTY_LINES_MAX && 2 * lines + 2 <= n && bytes.p[2 * lines] == '\r' &&
	       bytes.p[2 * lines + 1] == '\n')
		lines++;
	return lines;
}

/*
 * Finds the end of the head: DONE with x->head->head_bytes. Only the first limits->head_bytes bytes
 * are ever looked at.
 */
static enum eg_io find_end(struct parse *x, struct eg_h1_scan *scan, struct eg_str bytes)
{
	size_t limit = x->limits->head_bytes;
	size_t n = EG_MIN(bytes.n, limit);
	unsigned int skipped;

	while (scan->at < n) {
		const char *lf = line_feed(bytes.p + scan->at, n - scan->at);
		size_t i;

		if (!lf) {
			scan->at = n;
			break;
		}
		i = (size_t)(lf - bytes.p);
		if (!i || bytes.p[i - 1] != '\r') {
			fail(x, EG_REASON_BAD_REQUEST, "a line ends with LF alone; expected CRLF");
			return EG_IO_FAIL;
		}
		scan->at = i + 1;
		if (i > 1 && bytes.p[i - 2] != '\n')
			continue;
		skipped = leading_empty(bytes, i + 1);
		if (2 * skipped != i + 1) {
			x->head->head_bytes = i + 1;
			return EG_IO_DONE;
		}
		if (!x->request || skipped > EMPTY_LINES_MAX) {
			fail(x, EG_REASON_BAD_REQUEST, "it begins with empty lines");
			return EG_IO_FAIL;
		}
	}
	if (bytes.n < limit)
		return EG_IO_AGAIN;
	skipped = leading_empty(bytes, n);
	fail(x,
	     memchr(bytes.p + 2 * skipped, '\n', n - 2 * skipped) ? EG_REASON_HEADER_TOO_LARGE
								  : EG_REASON_URI_TOO_LONG,
	     NULL);
	return EG_IO_FAIL;
}

/* ---- fields ---- */

/*
 * White space by RFC 9110, but some readers take a tab here for a part of the value: then it is no
 * number, or a coding that they don't know, and what follows is framed otherwise.
 */
static bool tab_after(const struct parse *x)
{
	return x->after.n && memchr(x->after.p, '\t', x->after.n);
}

static bool take_length(struct parse *x, struct eg_str value)
{
	/* One field with one number: also equal copies are refused, for who reads which? */
	if (x->has_length)
		return fail(x, EG_REASON_SMUGGLING, "Content-Length is there twice");
	if (eg_str_u64(value, &x->head->content_length) || x->head->content_length > INT64_MAX ||
	    value.n > 19 || tab_after(x))
		return fail(x, EG_REASON_SMUGGLING, "Content-Length is not one decimal number");
	x->has_length = true;
	return true;
}

static bool take_coding(struct parse *x, struct eg_str value)
{
	if (x->has_coding || !eg_str_ieq(value, EG_STR("chunked")) || tab_after(x))
		return fail(x, EG_REASON_SMUGGLING,
			    "Transfer-Encoding is not \"chunked\" once and alone");
	x->has_coding = true;
	return true;
}

static bool take_host(struct parse *x, struct eg_str value)
{
	struct eg_h1_head *head = x->head;

	if (!x->request)
		return true;
	/* RFC 9112 section 3.2: repeated or invalid is answered with 400. */
	if (x->has_host)
		return fail(x, EG_REASON_BAD_REQUEST, "Host is there twice");
	if (eg_authority_parse(value, &head->host_name, &head->host_port))
		return fail(x, EG_REASON_BAD_REQUEST, "Host is not a host and a port");
	x->has_host = true;
	head->host = value;
	return true;
}

bool eg_h1_list_next(struct eg_str *list, struct eg_str *member)
{
	while (list->n) {
		ssize_t comma = eg_str_find(*list, ',');
		size_t n = comma < 0 ? list->n : (size_t)comma;
		size_t step = comma < 0 ? n : n + 1;

		*member = eg_str_trim((struct eg_str){list->p, n});
		list->p += step;
		list->n -= step;
		if (member->n)
			return true;
	}
	return false;
}

/* Each of the other fields is looked for among them. */
static bool take_connection(struct parse *x, struct eg_str value)
{
	struct eg_str member;

	x->head->has_connection = true;
	x->listed++;
	for (size_t i = 0; i < value.n; i++)
		x->listed += value.p[i] == ',';
	if (x->listed > EG_H1_MAX_LISTED)
		return fail(x, EG_REASON_HEADER_TOO_LARGE, NULL);
	while (eg_h1_list_next(&value, &member)) {
		x->close |= eg_str_ieq(member, EG_STR("close"));
		x->keep |= eg_str_ieq(member, EG_STR("keep-alive"));
		x->upgrade_token |= eg_str_ieq(member, EG_STR("upgrade"));
	}
	return true;
}

static void take_expect(struct parse *x, struct eg_str value)
{
	struct eg_str member;

	while (eg_h1_list_next(&value, &member)) {
		if (eg_str_ieq(member, EG_STR("100-continue")))
			x->head->expect_continue = true;
		else
			x->head->expect_other = true;
	}
}

/* Looks at the fields that decide framing. Only the name's length is compared for the others. */
static bool take_field(struct parse *x, struct eg_str name, struct eg_str value)
{
	switch (name.n) {
	case 4:
		if (eg_str_ieq(name, EG_STR("host")))
			return take_host(x, value);
		break;
	case 6:
		if (x->request && eg_str_ieq(name, EG_STR("expect")))
			take_expect(x, value);
		break;
	case 7:
		if (eg_str_ieq(name, EG_STR("upgrade")))
			x->has_upgrade |= value.n > 0;
		break;
	case 10:
		if (eg_str_ieq(name, EG_STR("connection")))
			return take_connection(x, value);
		break;
	case 14:
		if (eg_str_ieq(name, EG_STR("content-length")))
			return take_length(x, value);
		break;
	case 17:
		if (eg_str_ieq(name, EG_STR("transfer-encoding")))
			return take_coding(x, value);
		break;
	default:
		break;
	}
	return true;
}

#define ONES  0x0101010101010101ull
#define HIGHS 0x8080808080808080ull

/* Eight bytes at a time. */
bool eg_h1_value_bytes(const char *p, size_t n)
{
	size_t i = 0;

	while (i < n) {
		size_t end;

		if (n - i >= 8) {
			uint64_t w, low, del;

			memcpy(&w, p + i, sizeof(w));
			low = (w - ONES * 0x20) & ~w;
			del = w ^ (ONES * 0x7f);
			del = (del - ONES) & ~del;
			if (!((low | del) & HIGHS)) {
				i += 8;
				continue;
			}
		}
		for (end = EG_MIN(n, i + 8); i < end; i++) {
			unsigned char c = (unsigned char)p[i];

			if ((c < 0x20 && c != '\t') || c == 0x7f)
				return false;
		}
	}
	return true;
}

/* eg_h1_value_bytes() of a whole line of 16 bytes and more: its name has no byte that a value may
 * not have. */
static inline bool line_bytes(const char *p, size_t n)
{
#if defined(__SSE2__)
	const __m128i least = _mm_set1_epi8(0x20), tab = _mm_set1_epi8('\t'),
		      del = _mm_set1_epi8(0x7f);

	for (size_t i = 0;; i += 16) {
		bool last = n - i <= 16;
		/* The last sixteen, some of which may have been seen. */
		const char *at = last ? p + n - 16 : p + i;
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)at);
		__m128i ok = _mm_cmpeq_epi8(_mm_max_epu8(v, least), v);

		ok = _mm_andnot_si128(_mm_cmpeq_epi8(v, del), ok);
		ok = _mm_or_si128(ok, _mm_cmpeq_epi8(v, tab));
		if (_mm_movemask_epi8(ok) != 0xffff)
			return false;
		if (last)
			return true;
	}
#else
	return eg_h1_value_bytes(p, n);
#endif
}

/* Of the name that a field begins with: the run of token bytes, whatever follows it. */
static inline size_t name_length(const char *p, size_t n)
{
	size_t i = 0;

#if defined(__SSE2__)
	/* Letters, digits and '-', which is all that nearly any name has. */
	if (n >= 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i letter = _mm_sub_epi8(_mm_or_si128(v, _mm_set1_epi8(0x20)),
					      _mm_set1_epi8((char)('a' - 128)));
		__m128i digit = _mm_sub_epi8(v, _mm_set1_epi8((char)('0' - 128)));
		__m128i ok = _mm_cmplt_epi8(letter, _mm_set1_epi8(26 - 128));

		ok = _mm_or_si128(ok, _mm_cmplt_epi8(digit, _mm_set1_epi8(10 - 128)));
		ok = _mm_or_si128(ok, _mm_cmpeq_epi8(v, _mm_set1_epi8('-')));
		i = (size_t)__builtin_ctz(~(unsigned int)_mm_movemask_epi8(ok));
	}
#endif
	while (i < n && token_byte[(unsigned char)p[i]])
		i++;
	return i;
}

static bool parse_field(struct parse *x, const char *p, size_t n)
{
	struct eg_h1_head *head = x->head;
	struct eg_str name, value;
	size_t i = name_length(p, n);

	/* Also obs-fold and white space before the colon end here. */
	if (!i || i == n || p[i] != ':')
		return fail(x, EG_REASON_BAD_REQUEST,
			    "a field does not begin with its name and a colon (white space before "
			    "the colon, a folded line, a byte that no name may have)");
	if (n >= 16 ? !line_bytes(p, n) : !eg_h1_value_bytes(p + i + 1, n - i - 1))
		return fail(x, EG_REASON_BAD_REQUEST, "a field's value has a control character");
	if (head->header_count == EG_MIN(x->limits->header_count, (size_t)EG_H1_MAX_HEADERS))
		return fail(x, EG_REASON_HEADER_TOO_LARGE, NULL);
	name = (struct eg_str){p, i};
	value = eg_str_trim((struct eg_str){p + i + 1, n - i - 1});
	head->headers[head->header_count++] = (struct eg_header){name, value};
	x->after = (struct eg_str){value.p + value.n, (size_t)(p + n - (value.p + value.n))};
	return take_field(x, name, value);
}

static bool parse_fields(struct parse *x, const char *p, const char *end)
{
	/* Every line in here ends with CRLF and the last one is empty: find_end() saw to it. */
	while (end - p > 2) {
		const char *lf = line_feed(p, (size_t)(end - p));

		if (!lf || !parse_field(x, p, (size_t)(lf - p - 1)))
			return lf ? false : fail(x, EG_REASON_BAD_REQUEST, NULL);
		p = lf + 1;
	}
	return true;
}

/* ---- start lines ---- */

/* "HTTP/1.0" or "HTTP/1.1"; another version of the right shape is VERSION. */
static bool parse_version(struct parse *x, const char *p)
{
	if (memcmp(p, "HTTP/", 5) != 0 || p[5] < '0' || p[5] > '9' || p[6] != '.' || p[7] < '0' ||
	    p[7] > '9')
		return fail(x, EG_REASON_BAD_REQUEST, "the start line has no HTTP version");
	if (p[5] != '1' || p[7] > '1')
		return fail(x, EG_REASON_VERSION, NULL);
	x->head->minor = (unsigned int)(p[7] - '0');
	return true;
}

static bool parse_request_line(struct parse *x, const char *p, size_t n)
{
	struct eg_h1_head *head = x->head;
	size_t m = 0, t;

	while (m < n && token_byte[(unsigned char)p[m]])
		m++;
	if (!m || m == n || p[m] != ' ')
		return fail(x, EG_REASON_BAD_REQUEST,
			    "the request line does not begin with a method and one space");
	t = m + 1;
	while (t < n && p[t] > 0x20 && p[t] < 0x7f)
		t++;
	if (t - (m + 1) > x->limits->target_bytes)
		return fail(x, EG_REASON_URI_TOO_LONG, NULL);
	if (t == m + 1 || n - t != 9 || p[t] != ' ')
		return fail(x, EG_REASON_BAD_REQUEST,
			    "the request line is not a method, a target and a version, with one "
			    "space between");
	head->method = (struct eg_str){p, m};
	head->target = (struct eg_str){p + m + 1, t - (m + 1)};
	return parse_version(x, p + t + 1);
}

static bool parse_status_line(struct parse *x, const char *p, size_t n)
{
	unsigned int status = 0;

	if (n < 12 || !parse_version(x, p) || p[8] != ' ')
		return fail(x, EG_REASON_BAD_REQUEST, "the status line has no version and status");
	for (int i = 9; i < 12; i++) {
		if (p[i] < '0' || p[i] > '9')
			return fail(x, EG_REASON_BAD_REQUEST, "the status is not three digits");
		status = status * 10 + (unsigned int)(p[i] - '0');
	}
	/* The space before an empty reason phrase is often left out: nothing can be mistaken. */
	if (status < 100 || (n > 12 && p[12] != ' ') || !eg_h1_value_bytes(p + 12, n - 12))
		return fail(x, EG_REASON_BAD_REQUEST, "the status line is malformed");
	x->head->status = status;
	return true;
}

/* ---- what the head means ---- */

/* RFC 9112 section 6.3, for both directions. */
static bool check_coding(struct parse *x)
{
	if (x->has_coding && x->has_length)
		return fail(x, EG_REASON_SMUGGLING,
			    "there are both Content-Length and Transfer-Encoding");
	if (x->has_coding && !x->head->minor)
		return fail(x, EG_REASON_SMUGGLING, "HTTP/1.0 has no Transfer-Encoding");
	return true;
}

static void set_connection(struct parse *x)
{
	x->head->keep_alive = !x->close && (x->head->minor || x->keep);
	x->head->upgrade = x->upgrade_token && x->has_upgrade;
}

static bool finish_request(struct parse *x)
{
	struct eg_h1_head *head = x->head;

	if (!check_coding(x))
		return false;
	if (head->minor && !x->has_host)
		return fail(x, EG_REASON_BAD_REQUEST, "a Host is needed");
	/* RFC 9110 section 9.3.6: it has no content. What follows is the tunnel's to some. */
	if (eg_str_eq(head->method, EG_STR("CONNECT")) && (x->has_coding || head->content_length))
		return fail(x, EG_REASON_SMUGGLING, "a CONNECT announces content");
	head->body = x->has_coding   ? EG_H1_BODY_CHUNKED
		     : x->has_length ? EG_H1_BODY_LENGTH
				     : EG_H1_BODY_NONE;
	set_connection(x);
	if (!head->minor) /* RFC 9110 section 10.1.1 */
		head->expect_continue = false;
	return true;
}

static bool finish_response(struct parse *x, struct eg_str method)
{
	struct eg_h1_head *head = x->head;
	bool head_method = eg_str_eq(method, EG_STR("HEAD"));
	bool never = head->status < 200 || head->status == 204;

	if (!check_coding(x))
		return false;
	/* A body announced where there can be none: somebody will read it as the next answer. */
	if (never && (x->has_coding || head->content_length))
		return fail(x, EG_REASON_SMUGGLING, "it announces a body where there is none");
	set_connection(x);
	if (never || head_method || head->status == 304 ||
	    (eg_str_eq(method, EG_STR("CONNECT")) && head->status < 300)) {
		head->body = EG_H1_BODY_NONE;
	} else if (x->has_coding) {
		head->body = EG_H1_BODY_CHUNKED;
	} else if (x->has_length) {
		head->body = EG_H1_BODY_LENGTH;
	} else {
		head->body = EG_H1_BODY_CLOSE;
		head->keep_alive = false;
	}
	return true;
}

/* Everything but the field array, which is large and read only up to header_count. */
static void clear(struct eg_h1_head *head)
{
	memset(head, 0, offsetof(struct eg_h1_head, headers));
	memset(&head->header_count, 0, sizeof(*head) - offsetof(struct eg_h1_head, header_count));
}

/* The start line's bytes without CRLF, and where the fields begin. */
static struct eg_str start_line(struct eg_str bytes, size_t from, const char **fields)
{
	const char *p = bytes.p + from;
	const char *lf = line_feed(p, bytes.n - from);

	if (!lf) /* cannot be: find_end() saw one */
		lf = p + 1;
	*fields = lf + 1;
	return (struct eg_str){p, (size_t)(lf - p - 1)};
}

enum eg_io eg_h1_parse_request(struct eg_h1_scan *scan, struct eg_str bytes,
			       const struct eg_h1_limits *limits, struct eg_h1_head *head,
			       enum eg_reason *reason)
{
	struct parse x = {.limits = limits, .head = head, .request = true};
	struct eg_str line;
	const char *fields;
	enum eg_io io;

	clear(head);
	io = find_end(&x, scan, bytes);
	if (io == EG_IO_DONE) {
		line = start_line(bytes, 2 * (size_t)leading_empty(bytes, head->head_bytes),
				  &fields);
		if (!parse_request_line(&x, line.p, line.n) ||
		    !parse_fields(&x, fields, bytes.p + head->head_bytes) || !finish_request(&x))
			io = EG_IO_FAIL;
	}
	if (io == EG_IO_FAIL)
		*reason = x.reason;
	return io;
}

enum eg_io eg_h1_parse_response(struct eg_h1_scan *scan, struct eg_str bytes,
				const struct eg_h1_limits *limits, struct eg_str request_method,
				struct eg_h1_head *head, enum eg_reason *reason)
{
	struct parse x = {.limits = limits, .head = head};
	struct eg_str line;
	const char *fields;
	enum eg_io io;

	clear(head);
	io = find_end(&x, scan, bytes);
	if (io == EG_IO_DONE) {
		line = start_line(bytes, 0, &fields);
		if (!parse_status_line(&x, line.p, line.n) ||
		    !parse_fields(&x, fields, bytes.p + head->head_bytes) ||
		    !finish_response(&x, request_method))
			io = EG_IO_FAIL;
	}
	if (io == EG_IO_FAIL)
		*reason = EG_REASON_UPSTREAM_PROTOCOL;
	return io;
}

/* ---- questions about a head ---- */

const struct eg_header *eg_h1_find(const struct eg_h1_head *head, struct eg_str name)
{
	for (size_t i = 0; i < head->header_count; i++)
		if (eg_str_ieq(head->headers[i].name, name))
			return &head->headers[i];
	return NULL;
}

bool eg_h1_list_has(const struct eg_h1_head *head, struct eg_str name, struct eg_str token)
{
	for (size_t i = 0; i < head->header_count; i++) {
		struct eg_str list = head->headers[i].value, member;

		if (!eg_str_ieq(head->headers[i].name, name))
			continue;
		while (eg_h1_list_next(&list, &member))
			if (eg_str_ieq(member, token))
				return true;
	}
	return false;
}

bool eg_h1_hop_by_hop(const struct eg_h1_head *head, enum eg_field f, struct eg_str name)
{
	return eg_field_in(f, EG_FIELDS_HOP_BY_HOP) ||
	       (head->has_connection && eg_h1_list_has(head, EG_STR("connection"), name));
}
