/* SPDX-License-Identifier: Apache-2.0 */
/* The opening handshake of a WebSocket, RFC 6455 section 4. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/websocket.h"

#define KEY    "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" /* both of section 1.3 */

static struct eg_h1_head head;

static void read_request(const char *text)
{
	struct eg_h1_scan scan = {0};
	enum eg_reason reason;

	assert_int_equal(eg_h1_parse_request(&scan, eg_str_from(text), &eg_h1_default_limits, &head,
					     &reason),
			 EG_IO_DONE);
}

static void read_answer(const char *text)
{
	struct eg_h1_scan scan = {0};
	enum eg_reason reason;

	assert_int_equal(eg_h1_parse_response(&scan, eg_str_from(text), &eg_h1_default_limits,
					      EG_STR("GET"), &head, &reason),
			 EG_IO_DONE);
}

#define OPEN(line, connection, upgrade, version, key, more)                                  \
	line "\r\nHost: h\r\nConnection: " connection "\r\nUpgrade: " upgrade                \
	     "\r\nSec-WebSocket-Version: " version "\r\nSec-WebSocket-Key: " key "\r\n" more \
	     "\r\n"
#define GET "GET / HTTP/1.1"

static void requests(void **state)
{
	static const struct {
		const char *text;
		bool wanted, wrong;
	} rows[] = {
		{OPEN(GET, "Upgrade", "websocket", "13", KEY, ""), true, false},
		{OPEN(GET, "keep-alive, upgrade", "WebSocket", "13", KEY, ""), true, false},
		{OPEN(GET, "close", "websocket", "13", KEY, ""), false, false},
		{OPEN(GET, "Upgrade", "h2c", "13", KEY, ""), false, false},
		{OPEN(GET, "Upgrade", "h2c, websocket", "13", KEY, ""), true, true},
		{OPEN(GET, "Upgrade", "websocket", "13", KEY, "Upgrade: websocket\r\n"), true,
		 true},
		{OPEN(GET, "Upgrade", "websocket", "8", KEY, ""), true, true},
		{OPEN(GET, "Upgrade", "websocket", "13", KEY, "Sec-WebSocket-Version: 13\r\n"),
		 true, true},
		{OPEN(GET, "Upgrade", "websocket", "13", "", ""), true, true},
		{OPEN(GET, "Upgrade", "websocket", "13", "dGhlIHNhbXBsZSBub25jZQ==x", ""), true,
		 true},
		{OPEN(GET, "Upgrade", "websocket", "13", "dGhlIHNhbXBs\tSBub25jZQ==", ""), true,
		 true},
		{OPEN(GET, "Upgrade", "websocket", "13", "dGhlIHNhbXBsZSBub25jZQxx", ""), true,
		 true},
		{OPEN(GET, "Upgrade", "websocket", "13", KEY, "Sec-WebSocket-Key: " KEY "\r\n"),
		 true, true},
		{OPEN("POST / HTTP/1.1", "Upgrade", "websocket", "13", KEY, ""), true, true},
		{OPEN("GET / HTTP/1.0", "Upgrade", "websocket", "13", KEY, ""), true, true},
		{OPEN(GET, "Upgrade", "websocket", "13", KEY, "Content-Length: 5\r\n"), true, true},
		{OPEN(GET, "Upgrade", "websocket", "13", KEY, "Transfer-Encoding: chunked\r\n"),
		 true, true},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		read_request(rows[i].text);
		if (eg_websocket_wanted(&head) != rows[i].wanted ||
		    (rows[i].wanted && (eg_websocket_wrong(&head) != NULL) != rows[i].wrong))
			fail_msg("row %zu: %s", i, rows[i].text);
	}
}

#define GRANT(status, connection, upgrade, accept)                                 \
	"HTTP/1.1 " status " x\r\nConnection: " connection "\r\nUpgrade: " upgrade \
	"\r\nSec-WebSocket-Accept: " accept "\r\n"

static void answers(void **state)
{
	static const struct {
		const char *text;
		bool granted;
	} rows[] = {
		{GRANT("101", "Upgrade", "websocket", ACCEPT) "\r\n", true},
		{GRANT("101", "upgrade", "WebSocket", ACCEPT) "\r\n", true},
		{GRANT("200", "Upgrade", "websocket", ACCEPT) "\r\n", false},
		{GRANT("101", "close", "websocket", ACCEPT) "\r\n", false},
		{GRANT("101", "Upgrade", "h2c", ACCEPT) "\r\n", false},
		{GRANT("101", "Upgrade", "websocket", "") "\r\n", false},
		{GRANT("101", "Upgrade", "websocket", "s3pPLMBiTxaQ9kYGzzhZRbK+xOO=") "\r\n",
		 false},
		{GRANT("101", "Upgrade", "websocket", ACCEPT "=") "\r\n", false},
		{GRANT("101", "Upgrade", "websocket", ACCEPT) "Sec-WebSocket-Accept: " ACCEPT
							      "\r\n\r\n",
		 false},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		read_answer(rows[i].text);
		if (eg_websocket_granted(&head, EG_STR(KEY)) != rows[i].granted)
			fail_msg("row %zu: %s", i, rows[i].text);
	}
	read_answer(rows[0].text);
	assert_false(eg_websocket_granted(&head, EG_STR("AAAAAAAAAAAAAAAAAAAAAA==")));
	assert_false(eg_websocket_granted(&head, EG_STR("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests),
		cmocka_unit_test(answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
