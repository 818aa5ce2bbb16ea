/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 heads: what the header file promises, clause by clause, and cutting at every byte. */
#include <ctype.h>

#include "proto_test.h"

#include "proto/h1.h"

#define OK ((enum eg_reason)EG_REASON_OK)

struct answer {
	enum eg_io io;
	enum eg_reason reason;
};

static struct eg_h1_head head; /* large; each test is single-threaded */

static struct answer parse(struct eg_str bytes, bool request, const struct eg_h1_limits *limits,
			   const char *method)
{
	struct eg_h1_scan scan = {0};
	struct answer a = {.reason = OK};

	if (request)
		a.io = eg_h1_parse_request(&scan, bytes, limits, &head, &a.reason);
	else
		a.io = eg_h1_parse_response(&scan, bytes, limits, eg_str_from(method), &head,
					    &a.reason);
	/* Where a limit is not the whole story, it says what is wrong. */
	if (a.io == EG_IO_FAIL &&
	    (!request || a.reason == EG_REASON_BAD_REQUEST || a.reason == EG_REASON_SMUGGLING))
		assert_true(head.wrong || a.reason == EG_REASON_UPSTREAM_PROTOCOL);
	else
		assert_null(head.wrong);
	return a;
}

/* The same head in all ways of cutting it once, and byte by byte with one scan. */
static struct answer parse_cut(struct eg_str text, bool request, const char *method)
{
	struct answer whole, part;
	struct eg_h1_scan scan = {0};
	struct eg_str bytes = exact_copy(text);
	size_t ended = 0;

	for (size_t n = 0; n <= bytes.n; n++) {
		struct eg_str prefix = exact_copy((struct eg_str){bytes.p, n});
		struct answer fresh = parse(prefix, request, &eg_h1_default_limits, method);

		part.reason = OK;
		if (request)
			part.io = eg_h1_parse_request(&scan, prefix, &eg_h1_default_limits, &head,
						      &part.reason);
		else
			part.io = eg_h1_parse_response(&scan, prefix, &eg_h1_default_limits,
						       eg_str_from(method), &head, &part.reason);
		exact_free(prefix);
		assert_int_equal(fresh.io, part.io);
		assert_int_equal(fresh.reason, part.reason);
		if (part.io != EG_IO_AGAIN) {
			ended = n;
			break;
		}
	}
	whole = parse(bytes, request, &eg_h1_default_limits, method);
	assert_int_equal(whole.io, part.io);
	assert_int_equal(whole.reason, part.reason);
	if (whole.io == EG_IO_DONE)
		assert_int_equal(head.head_bytes, ended);
	exact_free(bytes);
	return whole;
}

static struct answer request(const char *text)
{
	return parse_cut(eg_str_from(text), true, NULL);
}

static struct answer response(const char *text, const char *method)
{
	return parse_cut(eg_str_from(text), false, method);
}

/* The head's strings live in the bytes, so those stay with the test. */
static struct eg_h1_head *good(const char *text)
{
	struct eg_str bytes = eg_str_from(text);
	struct answer a = request(text);

	if (a.io != EG_IO_DONE)
		print_message("not parsed (%s): %s\n", eg_reason_label(a.reason), text);
	assert_int_equal(a.io, EG_IO_DONE);
	a = parse(bytes, true, &eg_h1_default_limits, NULL);
	assert_int_equal(a.io, EG_IO_DONE);
	return &head;
}

static struct eg_h1_head *good_response(const char *text, const char *method)
{
	struct answer a = response(text, method);

	if (a.io != EG_IO_DONE)
		print_message("not parsed: %s\n", text);
	assert_int_equal(a.io, EG_IO_DONE);
	a = parse(eg_str_from(text), false, &eg_h1_default_limits, method);
	assert_int_equal(a.io, EG_IO_DONE);
	return &head;
}

#define H "Host: a.example\r\n"

static void request_is_read(void **state)
{
	struct eg_h1_head *h =
		good("POST /v1/chat?x=1 HTTP/1.1\r\nHost: api.example:8443\r\n"
		     "X-Empty:\r\nX-Space: \t a b\t \r\nContent-Length: 12\r\n\r\nBODY");

	assert_str(h->method, "POST");
	assert_str(h->target, "/v1/chat?x=1");
	assert_int_equal(h->minor, 1);
	assert_int_equal(h->header_count, 4);
	assert_str(h->headers[0].name, "Host");
	assert_str(h->headers[1].value, "");
	assert_str(h->headers[2].value, "a b");
	assert_str(h->host, "api.example:8443");
	assert_int_equal(h->body, EG_H1_BODY_LENGTH);
	assert_int_equal(h->content_length, 12);
	assert_true(h->keep_alive);
	assert_false(h->expect_continue || h->expect_other || h->upgrade);
}

static void request_bodies(void **state)
{
	assert_int_equal(good("GET / HTTP/1.1\r\n" H "\r\n")->body, EG_H1_BODY_NONE);
	assert_int_equal(good("POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n")->body,
			 EG_H1_BODY_LENGTH);
	assert_int_equal(good("GET / HTTP/1.1\r\n" H "content-LENGTH:7\r\n\r\n")->content_length,
			 7);
	assert_int_equal(good("POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n")->body,
			 EG_H1_BODY_CHUNKED);
	assert_int_equal(good("POST / HTTP/1.1\r\n" H "Content-Length: 9223372036854775807\r\n\r\n")
				 ->content_length,
			 INT64_MAX);
}

static void empty_lines_before_a_request(void **state)
{
	struct eg_h1_head *h = good("\r\nGET / HTTP/1.1\r\n" H "\r\n");

	assert_str(h->method, "GET");
	assert_int_equal(h->head_bytes, sizeof("\r\nGET / HTTP/1.1\r\n" H "\r\n") - 1);
	good("\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n");
	assert_int_equal(request("\r\n\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n").reason,
			 EG_REASON_BAD_REQUEST);
	assert_int_equal(request("\r\n\r\n").io, EG_IO_AGAIN);
	assert_int_equal(response("\r\nHTTP/1.1 200 OK\r\n\r\n", "GET").io, EG_IO_FAIL);
}

static void connection_persistence(void **state)
{
	/* RFC 9112 section 9.3 */
	assert_true(good("GET / HTTP/1.1\r\n" H "\r\n")->keep_alive);
	assert_false(good("GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n")->keep_alive);
	assert_false(good("GET / HTTP/1.1\r\n" H "Connection: x ,, CLOSE\r\n\r\n")->keep_alive);
	assert_false(
		good("GET / HTTP/1.1\r\n" H "Connection: keep-alive\r\nConnection: close\r\n\r\n")
			->keep_alive);
	assert_true(good("GET / HTTP/1.1\r\n" H "Connection: closed\r\n\r\n")->keep_alive);
	assert_false(good("GET / HTTP/1.0\r\n" H "\r\n")->keep_alive);
	assert_true(good("GET / HTTP/1.0\r\n" H "Connection: Keep-Alive\r\n\r\n")->keep_alive);
}

static void host_rules(void **state)
{
	static const char *const bad[] = {
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\n" H H "\r\n",
		"GET / HTTP/1.1\r\n" H "host: b.example\r\n\r\n",
		"GET / HTTP/1.0\r\n" H H "\r\n",
		"GET / HTTP/1.1\r\nHost:\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: user@a.example\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.example/x\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.example:99999\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++)
		assert_int_equal(request(bad[i]).reason, EG_REASON_BAD_REQUEST);
	assert_str(good("GET / HTTP/1.0\r\n\r\n")->host, "");
	assert_str(good("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n")->host, "[::1]:80");
}

static void expectations(void **state)
{
	struct eg_h1_head *h =
		good("POST / HTTP/1.1\r\n" H "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n");

	assert_true(h->expect_continue);
	/* RFC 9110 section 10.1.1: ignored in 1.0 */
	h = good("POST / HTTP/1.0\r\n" H "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n");
	assert_false(h->expect_continue);
	/* anything else is the caller's to refuse, in the client's dialect */
	h = good("POST / HTTP/1.1\r\n" H "Expect: tea\r\n\r\n");
	assert_true(h->expect_other && !h->expect_continue);
	h = good("POST / HTTP/1.1\r\n" H "Expect: 100-continue, x\r\n\r\n");
	assert_true(h->expect_other);
}

static void upgrades(void **state)
{
	assert_true(good("GET / HTTP/1.1\r\n" H
			 "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n")
			    ->upgrade);
	assert_false(good("GET / HTTP/1.1\r\n" H "Upgrade: websocket\r\n\r\n")->upgrade);
	assert_false(good("GET / HTTP/1.1\r\n" H "Connection: upgrade\r\n\r\n")->upgrade);
	assert_false(
		good("GET / HTTP/1.1\r\n" H "Connection: upgrade\r\nUpgrade: \t\r\n\r\n")->upgrade);
}

static void versions(void **state)
{
	assert_int_equal(request("GET / HTTP/2.0\r\n" H "\r\n").reason, EG_REASON_VERSION);
	assert_int_equal(request("PRI * HTTP/2.0\r\n\r\n").reason, EG_REASON_VERSION);
	assert_int_equal(request("GET / HTTP/1.2\r\n" H "\r\n").reason, EG_REASON_VERSION);
	assert_int_equal(request("GET / HTTP/0.9\r\n" H "\r\n").reason, EG_REASON_VERSION);
	assert_int_equal(request("GET / http/1.1\r\n" H "\r\n").reason, EG_REASON_BAD_REQUEST);
	assert_int_equal(request("GET / HTTP/11\r\n" H "\r\n").reason, EG_REASON_BAD_REQUEST);
	assert_int_equal(request("GET / HTTP/1.10\r\n" H "\r\n").reason, EG_REASON_BAD_REQUEST);
	assert_int_equal(request("GET /\r\n\r\n").reason, EG_REASON_BAD_REQUEST);
}

static void malformed_requests(void **state)
{
	static const char *const bad[] = {
		"GET  / HTTP/1.1\r\n" H "\r\n", /* two spaces */
		"GET /  HTTP/1.1\r\n" H "\r\n",
		"GET\t/ HTTP/1.1\r\n" H "\r\n",
		"GET / HTTP/1.1 \r\n" H "\r\n", /* space at the end */
		" GET / HTTP/1.1\r\n" H "\r\n",
		"G(T / HTTP/1.1\r\n" H "\r\n", /* not a token */
		"GET /a\x01 HTTP/1.1\r\n" H "\r\n",
		"GET /\xc3\xa4 HTTP/1.1\r\n" H "\r\n",
		"GET /a\x7f HTTP/1.1\r\n" H "\r\n",
		"GET / HTTP/1.1\n" H "\r\n", /* bare LF */
		"GET / HTTP/1.1\r\nHost: a.example\n\r\n",
		"GET / HTTP/1.1\r\n" H "\n",
		"GET / HTTP/1.1\r\r\n" H "\r\n", /* bare CR */
		"GET / HTTP/1.1\r\n" H "X: a\rb\r\n\r\n",
		"GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n", /* obs-fold */
		"GET / HTTP/1.1\r\n" H "X: a\r\n\tb\r\n\r\n",
		"GET / HTTP/1.1\r\n " H "\r\n",
		"GET / HTTP/1.1\r\n" H "X : a\r\n\r\n", /* white space before the colon */
		"GET / HTTP/1.1\r\n" H "X\t: a\r\n\r\n",
		"GET / HTTP/1.1\r\n" H "no colon\r\n\r\n",
		"GET / HTTP/1.1\r\n" H "nocolon\r\n\r\n",
		"GET / HTTP/1.1\r\n" H ": no name\r\n\r\n",
		"GET / HTTP/1.1\r\n" H "X@Y: a\r\n\r\n",
		"GET / HTTP/1.1\r\n" H "X: a\x01"
		"b\r\n\r\n",
		"GET / HTTP/1.1\r\n" H "X: a\x7f\r\n\r\n",
		"GET / HTTP/1.1\r\n" H "X: 12345678\x0b"
		"12345678\r\n\r\n",
		"\r\r\nGET / HTTP/1.1\r\n" H "\r\n",
	};
	static const char nul[] = "GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n";
	static const char nul_name[] = "GET / HTTP/1.1\r\n" H "X\0: a\r\n\r\n";

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		struct answer a = request(bad[i]);

		if (a.io != EG_IO_FAIL || a.reason != EG_REASON_BAD_REQUEST)
			print_message("row %zu\n", i);
		assert_int_equal(a.io, EG_IO_FAIL);
		assert_int_equal(a.reason, EG_REASON_BAD_REQUEST);
	}
	assert_int_equal(parse_cut((struct eg_str){nul, sizeof(nul) - 1}, true, NULL).reason,
			 EG_REASON_BAD_REQUEST);
	assert_int_equal(
		parse_cut((struct eg_str){nul_name, sizeof(nul_name) - 1}, true, NULL).reason,
		EG_REASON_BAD_REQUEST);
	/* every control byte in a value, at every place of a word of eight */
	for (int c = 0; c < 256; c++)
		for (size_t at = 0; at < 17; at++) {
			char text[] = "GET / HTTP/1.1\r\n" H "X: aaaaaaaaaaaaaaaaaaa\r\n\r\n";
			bool allowed = c == '\t' || (c >= 0x20 && c != 0x7f);

			text[sizeof("GET / HTTP/1.1\r\n" H "X: a") - 1 + at] = (char)c;
			assert_int_equal(parse((struct eg_str){text, sizeof(text) - 1}, true,
					       &eg_h1_default_limits, NULL)
						 .io,
					 allowed ? EG_IO_DONE : EG_IO_FAIL);
		}
}

static void limits_hold(void **state)
{
	struct eg_h1_limits l = {.head_bytes = 100, .target_bytes = 10, .header_count = 2};
	char text[400];
	int n;

	assert_int_equal(parse(EG_STR("GET /123456789 HTTP/1.1\r\n" H "\r\n"), true, &l, NULL).io,
			 EG_IO_DONE);
	assert_int_equal(
		parse(EG_STR("GET /1234567890 HTTP/1.1\r\n" H "\r\n"), true, &l, NULL).reason,
		EG_REASON_URI_TOO_LONG);
	assert_int_equal(
		parse(EG_STR("GET / HTTP/1.1\r\n" H "A: 1\r\nB: 2\r\n\r\n"), true, &l, NULL).reason,
		EG_REASON_HEADER_TOO_LARGE);
	/* exactly at the limit, one over, and when the end never comes */
	n = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n" H "A: %*s\r\n\r\n", 60, "x");
	assert_int_equal(n, 100);
	assert_int_equal(parse((struct eg_str){text, 100}, true, &l, NULL).io, EG_IO_DONE);
	assert_int_equal(parse((struct eg_str){text, 99}, true, &l, NULL).io, EG_IO_AGAIN);
	snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n" H "A: %*s\r\n\r\n", 61, "x");
	assert_int_equal(parse((struct eg_str){text, 101}, true, &l, NULL).reason,
			 EG_REASON_HEADER_TOO_LARGE);
	assert_int_equal(parse((struct eg_str){text, 100}, true, &l, NULL).reason,
			 EG_REASON_HEADER_TOO_LARGE);
	assert_int_equal(parse((struct eg_str){text, 99}, true, &l, NULL).io, EG_IO_AGAIN);
	memset(text, 'a', sizeof(text));
	assert_int_equal(parse((struct eg_str){text, 100}, true, &l, NULL).reason,
			 EG_REASON_URI_TOO_LONG);
	assert_int_equal(parse((struct eg_str){text, 100}, false, &l, "GET").reason,
			 EG_REASON_UPSTREAM_PROTOCOL);
}

static void many_headers(void **state)
{
	char text[8192];
	size_t n = 0;

	n += (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n" H);
	for (int i = 1; i < EG_H1_MAX_HEADERS; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "X-%d: %d\r\n", i, i);
	snprintf(text + n, sizeof(text) - n, "\r\n");
	assert_int_equal(good(text)->header_count, EG_H1_MAX_HEADERS);
	snprintf(text + n, sizeof(text) - n, "Y: 1\r\n\r\n");
	assert_int_equal(request(text).reason, EG_REASON_HEADER_TOO_LARGE);
}

/* Connection lists names that are compared with each field. */
static void many_names_in_connection(void **state)
{
	static const char *const lists[] = {"a,", ","};

	for (size_t i = 0; i < EG_ARRAY_SIZE(lists); i++)
		for (unsigned int last = 0; last < 2; last++) {
			char text[1024] =
				"GET / HTTP/1.1\r\n" H "Connection: close\r\nConnection: ";

			for (unsigned int n = 2; n < EG_H1_MAX_LISTED + last; n++)
				strcat(text, lists[i]);
			strcat(text, "b\r\n\r\n");
			if (last)
				assert_int_equal(request(text).reason, EG_REASON_HEADER_TOO_LARGE);
			else
				assert_false(good(text)->keep_alive);
		}
	(void)state;
}

static void response_is_read(void **state)
{
	struct eg_h1_head *h = good_response(
		"HTTP/1.1 200 Very \xc3\xa4 fine\r\nContent-Length: 3\r\nX: y\r\n\r\nabc", "POST");

	assert_int_equal(h->status, 200);
	assert_int_equal(h->body, EG_H1_BODY_LENGTH);
	assert_int_equal(h->content_length, 3);
	assert_true(h->keep_alive);
	assert_int_equal(good_response("HTTP/1.1 204 \r\n\r\n", "GET")->status, 204);
	assert_int_equal(good_response("HTTP/1.1 999\r\n\r\n", "GET")->status, 999);
	assert_int_equal(good_response("HTTP/1.0 200 OK\r\n\r\n", "GET")->minor, 0);
}

static void response_bodies(void **state)
{
	static const struct {
		const char *text, *method;
		enum eg_h1_body body;
		bool keep_alive;
	} rows[] = {
		{"HTTP/1.1 200 OK\r\n\r\n", "GET", EG_H1_BODY_CLOSE, false},
		{"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", "GET", EG_H1_BODY_CLOSE,
		 false},
		{"HTTP/1.1 200 OK\r\n\r\n", "HEAD", EG_H1_BODY_NONE, true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", EG_H1_BODY_NONE, true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "head", EG_H1_BODY_LENGTH, true},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", EG_H1_BODY_NONE,
		 true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", EG_H1_BODY_LENGTH, true},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", EG_H1_BODY_CHUNKED,
		 true},
		{"HTTP/1.1 204 No\r\n\r\n", "GET", EG_H1_BODY_NONE, true},
		{"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", "GET", EG_H1_BODY_NONE, true},
		{"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", "GET", EG_H1_BODY_NONE, true},
		{"HTTP/1.1 100 Continue\r\n\r\n", "POST", EG_H1_BODY_NONE, true},
		{"HTTP/1.1 200 OK\r\n\r\n", "CONNECT", EG_H1_BODY_NONE, true},
		{"HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\n", "CONNECT", EG_H1_BODY_LENGTH,
		 true},
		{"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n", "GET", EG_H1_BODY_LENGTH, false},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_h1_head *h = good_response(rows[i].text, rows[i].method);

		if (h->body != rows[i].body || h->keep_alive != rows[i].keep_alive)
			print_message("row %zu\n", i);
		assert_int_equal(h->body, rows[i].body);
		assert_int_equal(h->keep_alive, rows[i].keep_alive);
	}
}

static void malformed_responses(void **state)
{
	static const char *const bad[] = {
		"HTTP/1.1 099 x\r\n\r\n",
		"HTTP/1.1 20 x\r\n\r\n",
		"HTTP/1.1 2000 x\r\n\r\n",
		"HTTP/1.1  200 x\r\n\r\n",
		"HTTP/1.1 -20 x\r\n\r\n",
		"HTTP/1.1\r\n\r\n",
		"HTTP/2 200\r\n\r\n",
		"HTTP/1.2 200 x\r\n\r\n",
		"ICY 200 OK\r\n\r\n",
		"HTTP/1.1 200 a\x01z\r\n\r\n",
		"HTTP/1.1 200 OK\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 103 Early\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		struct answer a = response(bad[i], "GET");

		if (a.io != EG_IO_FAIL)
			print_message("row %zu\n", i);
		assert_int_equal(a.io, EG_IO_FAIL);
		assert_int_equal(a.reason, EG_REASON_UPSTREAM_PROTOCOL);
	}
}

static bool hop_by_hop(const struct eg_h1_head *h, struct eg_str name)
{
	return eg_h1_hop_by_hop(h, eg_field_of(name), name);
}

static void questions(void **state)
{
	struct eg_h1_head *h =
		good("GET / HTTP/1.1\r\n" H "Accept: a\r\naccept: b\r\nTE: trailers\r\n"
		     "Connection: authorization, X-Own\r\nConnection: te\r\n"
		     "Authorization: Bearer x\r\n\r\n");

	assert_str(eg_h1_find(h, EG_STR("ACCEPT"))->value, "a");
	assert_null(eg_h1_find(h, EG_STR("accep")));
	assert_true(eg_h1_list_has(h, EG_STR("connection"), EG_STR("x-OWN")));
	assert_true(eg_h1_list_has(h, EG_STR("connection"), EG_STR("te")));
	assert_false(eg_h1_list_has(h, EG_STR("connection"), EG_STR("x")));
	assert_false(eg_h1_list_has(h, EG_STR("connection"), EG_STR("")));
	assert_true(eg_h1_list_has(h, EG_STR("accept"), EG_STR("b")));
	assert_true(hop_by_hop(h, EG_STR("Authorization"))); /* named by Connection */
	assert_true(hop_by_hop(h, EG_STR("x-own")));
	assert_false(hop_by_hop(h, EG_STR("accept")));
	assert_false(hop_by_hop(h, EG_STR("content-type")));
	static const char *const fixed[] = {
		"Connection", "Proxy-Connection",   "Keep-Alive",
		"TE",	      "Transfer-Encoding",  "Upgrade",
		"Trailer",    "Proxy-Authenticate", "Proxy-Authorization"};
	h = good("GET / HTTP/1.1\r\n" H "\r\n");
	for (size_t i = 0; i < EG_ARRAY_SIZE(fixed); i++)
		assert_true(hop_by_hop(h, eg_str_from(fixed[i])));
	assert_true(eg_h1_token_byte('~') && eg_h1_token_byte('a'));
	assert_false(eg_h1_token_byte(' ') || eg_h1_token_byte(':') || eg_h1_token_byte(0x80));
}

/* Each is found by its own name in any case, and by no other. */
static void fields(void **state)
{
	static const char *const others[] = {"",
					     "t",
					     "tf",
					     "hosts",
					     "hos",
					     "accepts",
					     "x-api-kez",
					     "content-typ",
					     "set-cookie3",
					     "an-extremely-long-name-of-a-field-that-nobody-has"};
	char text[64];

	for (unsigned int f = 1; f < EG_FIELD_COUNT; f++) {
		struct eg_str name = eg_field_name((enum eg_field)f);

		assert_in_range(name.n, 1, sizeof(text) - 1);
		assert_int_equal(eg_field_of(name), f);
		for (size_t i = 0; i < name.n; i++) {
			memcpy(text, name.p, name.n);
			text[i] = (char)toupper(text[i]);
			assert_int_equal(eg_field_of((struct eg_str){text, name.n}), f);
			text[i] ^= 1;
			assert_int_not_equal(eg_field_of((struct eg_str){text, name.n}), f);
		}
		assert_int_not_equal(eg_field_of((struct eg_str){name.p, name.n - 1}), f);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(others); i++)
		assert_int_equal(eg_field_of(eg_str_from(others[i])), EG_FIELD_OTHER);
	assert_int_equal(eg_field_name(EG_FIELD_OTHER).n, 0);
}

static void pipelined(void **state)
{
	static const char two[] = "GET /a HTTP/1.1\r\n" H "\r\nGET /b HTTP/1.1\r\n" H "\r\n";
	struct eg_h1_head *h = good(two);
	size_t first = h->head_bytes;

	assert_str(h->target, "/a");
	h = good(two + first);
	assert_str(h->target, "/b");
	assert_int_equal(first + h->head_bytes, sizeof(two) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_is_read),
		cmocka_unit_test(request_bodies),
		cmocka_unit_test(empty_lines_before_a_request),
		cmocka_unit_test(connection_persistence),
		cmocka_unit_test(host_rules),
		cmocka_unit_test(expectations),
		cmocka_unit_test(upgrades),
		cmocka_unit_test(versions),
		cmocka_unit_test(malformed_requests),
		cmocka_unit_test(limits_hold),
		cmocka_unit_test(many_headers),
		cmocka_unit_test(many_names_in_connection),
		cmocka_unit_test(response_is_read),
		cmocka_unit_test(response_bodies),
		cmocka_unit_test(malformed_responses),
		cmocka_unit_test(questions),
		cmocka_unit_test(fields),
		cmocka_unit_test(pipelined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
