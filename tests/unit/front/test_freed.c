/* SPDX-License-Identifier: Apache-2.0 */
/* A client's own key is in no memory that a request gave back: malloc() would hand it to the next
 * arena. HTTP/1.1 is in test_spare.c, OpenSSL's records are in test_tls_memory.c. */
#include "pod2.h"

#include "freed.h"

#define OWN_KEY "sk-proj-0123456789abcdefghijklmnopqrstuvwxyz"

/* Twice: in a field that HPACK's table takes (RFC 7541 section 6.2.1), and in one that it doesn't;
 * the second time the table alone has it. */
static void test_http2(void **state)
{
	static const char rest[] = ":method|POST\n:scheme|https\n:authority|api.openai.com\n"
				   ":path|/v1/chat/completions?api_key=" OWN_KEY "\n"
				   "cookie|a=" OWN_KEY "\ncookie|b=" OWN_KEY "\n"
				   "content-type|application/json\nx-api-key|" OWN_KEY "\n";
	static const char body[] = "{\"model\":\"gpt-4o\",\"messages\":[]}";
	struct plane *plane = calloc(1, sizeof(*plane));
	struct pod2 *pod = calloc(1, sizeof(*pod));
	struct inbox up;
	char block[4096], *field;
	size_t n;

	plane_up(plane, PLANE_POLICY);
	pod2_open(pod, plane, "api.openai.com");
	freed_watch(OWN_KEY);
	pod2_begin(pod);
	raw_begin(pod);
	n = raw_block(block, rest);
	field = block + n;
	n += raw_field(field, "authorization", "Bearer " OWN_KEY, strlen("Bearer " OWN_KEY));
	field[0] = 0x40;
	for (uint32_t id = 1; id <= 3; id += 2) {
		raw_frame(pod, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id, block, n);
		raw_frame(pod, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, id, body, strlen(body));
		n = raw_block(block, rest);
		block[n++] = (char)0xbe; /* the table's newest (section 6.1) */
	}
	inbox_init(&up, plane_accept(plane, plane->provider[0]));
	for (int i = 0; i < PLANE_TURNS && !inbox_has(&up, body); i++) {
		plane_turn(plane);
		inbox_poll(&up);
	}
	assert_true(inbox_has(&up, "Authorization: Bearer " PLANE_KEY "\r\n"));
	assert_false(inbox_has(&up, OWN_KEY));
	plane_send(
		plane, up.fd,
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
	for (int i = 0; i < PLANE_TURNS && !raw_find(pod, NGHTTP2_DATA, 0); i++)
		plane_turn(plane);
	assert_non_null(raw_find(pod, NGHTTP2_DATA, 0));
	inbox_fini(&up);
	pod2_close(pod);
	plane_down(plane);
	assert_int_equal(freed_count, 0);
	freed_watch(NULL);
	free(pod);
	free(plane);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_http2)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
