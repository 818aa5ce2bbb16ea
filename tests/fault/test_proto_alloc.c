/* SPDX-License-Identifier: Apache-2.0 */
/* Every function of proto that allocates, when memory runs out at every place it can. */
#include "fault.h"

#include "encode.h"
#include "proto/decode.h"
#include "proto/json_scan.h"
#include "proto/sse.h"
#include "proto/uri.h"

static int targets(void)
{
	struct eg_str drop = EG_STR("key"), q;
	struct eg_target t = {.port = 7};
	struct eg_arena a;
	int r;

	eg_arena_init(&a, 0);
	r = eg_target_parse(&a, EG_STR("/v1/chat%20x?a=1"), &t);
	if (r) {
		assert_int_equal(r, -ENOMEM);
		assert_int_equal(t.port, 7);
	}
	eg_arena_fini(&a); /* so that the next one must allocate too */
	q = eg_query_without(&a, EG_STR("a=1&key=2"), &drop, 1);
	if (!q.p)
		r = -ENOMEM;
	else
		assert_true(eg_str_eq(q, EG_STR("a=1")));
	eg_arena_fini(&a);
	return r;
}

static void test_targets(void **state)
{
	fault_each(targets);
}

static char *body;
static size_t body_length;

static int count(void *ctx, const struct eg_json_member *m)
{
	++*(size_t *)ctx;
	return 0;
}

static int members(void)
{
	struct eg_error e = {.text = ""};
	size_t n = 0;
	int r = eg_json_members((struct eg_str){body, body_length}, count, &n, &e);

	if (r)
		assert_int_equal(r, -ENOMEM);
	else
		assert_int_equal(n, 501);
	return r;
}

/* Escaped keys, an object that needs the table, and enough keys to make both grow. */
static void test_json_members(void **state)
{
	body = malloc(1 << 20);
	assert_non_null(body);
	body_length = (size_t)sprintf(body, "{\"o\":{\"\\u0061\":[");
	for (int i = 0; i < 40; i++)
		body_length += (size_t)sprintf(body + body_length, "%s{\"\\t\":1}", i ? "," : "");
	body_length += (size_t)sprintf(body + body_length, "]}");
	for (int i = 0; i < 500; i++)
		body_length += (size_t)sprintf(body + body_length, ",\"\\u0061%d\":%d", i, i);
	body_length += (size_t)sprintf(body + body_length, "}");
	fault_each(members);
	free(body);
}

static int strings(void)
{
	static const char *const path[] = {"a", "b"};
	struct eg_arena a;
	struct eg_str s, got;

	eg_arena_init(&a, 0);
	s = eg_json_string(&a, EG_STR("\"a\\n\""));
	if (s.p)
		assert_true(eg_str_eq(s, EG_STR("a\n")));
	eg_arena_fini(&a);
	got = eg_json_get(EG_STR("{\"\\u0061\":{\"\\u0062\":17}}"), path, 2);
	if (got.p)
		assert_true(eg_str_eq(got, EG_STR("17")));
	return s.p && got.p ? 0 : -ENOMEM;
}

static void test_json_strings(void **state)
{
	fault_each(strings);
}

static int check(void)
{
	struct eg_error e = {.text = ""};
	int r = eg_json_check((struct eg_str){body, body_length}, &e);

	if (r)
		assert_int_equal(r, -ENOMEM);
	return r;
}

static void test_json_check(void **state)
{
	body = malloc(1 << 16);
	assert_non_null(body);
	body_length = (size_t)sprintf(body, "[{");
	for (int i = 0; i < 500; i++)
		body_length += (size_t)sprintf(body + body_length, "\"\\u0061%d\":%d,", i, i);
	body_length += (size_t)sprintf(body + body_length, "\"z\":[]}]");
	fault_each(check);
	free(body);
}

static size_t events;
static bool wrong_event;

static void note(void *ctx, struct eg_str event, struct eg_str data)
{
	events++;
	wrong_event |= !eg_str_eq(data, EG_STR("0123456789\nabc"));
}

static int stream(void)
{
	static const char text[] = "data: 0123456789\nid: 1\ndata: abc\n\n";
	struct eg_sse s;
	int failed = 0;

	eg_sse_init(&s, 1000, note, NULL);
	events = 0;
	wrong_event = false;
	for (int round = 0; round < 5; round++)
		for (size_t i = 0; i < sizeof(text) - 1; i++) { /* byte by byte: lines are copied */
			int r = eg_sse_feed(&s, (struct eg_str){text + i, 1});

			if (r) {
				assert_int_equal(r, -ENOMEM);
				failed++;
			}
		}
	assert_false(s.overflow);
	/* an event is whole or missing, never half */
	assert_false(wrong_event);
	if (!failed)
		assert_int_equal(events, 5);
	if (fault_only_one && failed)
		assert_int_equal(events, 4);
	eg_sse_fini(&s);
	return failed ? -ENOMEM : 0;
}

static void test_sse(void **state)
{
	fault_each(stream);
}

static enum eg_coding coding;
static struct coded coded;

static int decode(void)
{
	struct eg_decoder_limits limits = {.output_bytes = 64, .memory_bytes = EG_DECODER_MEMORY};
	struct eg_decoder *d = eg_decoder_create(coding, &limits);
	struct eg_str in = coded_str(&coded);
	enum eg_decode r;
	char out[64];
	size_t n;

	if (!d)
		return -ENOMEM;
	r = eg_decoder_run(d, &in, out, sizeof(out), &n);
	if (r == EG_DECODE_FAIL)
		assert_int_equal(eg_decoder_fault(d), EG_DECODE_MEMORY);
	else
		assert_true(eg_decoder_end(d) && n == 2);
	eg_decoder_destroy(d);
	return r == EG_DECODE_FAIL ? -ENOMEM : 0;
}

static void test_decode(void **state)
{
	static const enum eg_coding all[] = {EG_CODING_GZIP, EG_CODING_DEFLATE, EG_CODING_BR,
					     EG_CODING_ZSTD};

	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		coding = all[i];
		coded = encode(coding, EG_STR("{}"));
		fault_each(decode);
		free(coded.p);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets),	   cmocka_unit_test(test_json_members),
		cmocka_unit_test(test_json_check), cmocka_unit_test(test_json_strings),
		cmocka_unit_test(test_sse),	   cmocka_unit_test(test_decode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
