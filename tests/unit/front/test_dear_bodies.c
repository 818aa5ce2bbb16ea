/* SPDX-License-Identifier: Apache-2.0 */
/* Large bodies whose every byte is dear to read: they are read in pieces, and others have their
 * turn between. */

#include <time.h>

#include "targets.h"

#include "dear_brotli.h"
#include "encode.h"

#define CHAT_HEAD \
	"POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON "Content-Length: %zu\r\n\r\n"

static const char policy[] = THREE TARGETS("");

/* Objects of more keys than are compared one by one, up to the limit of a body: heap. */
static struct eg_str dear_body(size_t n, const char *end)
{
	static const char begin_with[] = "{\"model\":\"gpt-4o\",\"messages\":[{}";
	static const char one[] =
		",{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,"
		"\"i\":1,\"j\":1,\"k\":1,\"l\":1,\"m\":1,\"n\":1,\"o\":1,\"p\":1,"
		"\"q\":1,\"r\":1,\"s\":1,\"t\":1}";
	size_t at = strlen(begin_with);
	char *p = malloc(n);

	assert_non_null(p);
	memcpy(p, begin_with, at);
	for (; at + strlen(one) + strlen(end) <= n; at += strlen(one))
		memcpy(p + at, one, strlen(one));
	memcpy(p + at, end, strlen(end));
	return (struct eg_str){p, at + strlen(end)};
}

/* All but the last byte, which is still to come. */
static void post_nearly(struct world *w, struct eg_str body)
{
	char head[512];

	snprintf(head, sizeof(head), CHAT_HEAD, body.n);
	pod_send(&w->pod, head);
	plane_send_n(&w->plane, w->pod.in.fd, body.p, body.n - 1);
	for (int i = 0; i < PLANE_TURNS && w->plane.engine.held_bytes < body.n - 1; i++)
		plane_turn(&w->plane);
	plane_turns(&w->plane, 50);
}

static void last_byte(struct world *w, struct eg_str body)
{
	plane_send_n(&w->plane, w->pod.in.fd, body.p + body.n - 1, 1);
}

/* Each byte is read twice (as JSON, and for what refers to state), a MiB of both in a turn. */
static void test_in_pieces(void **state)
{
	struct eg_str body = dear_body((size_t)8 << 20, "]}");
	struct world *w = begin(policy);

	post_nearly(w, body);
	last_byte(w, body);
	assert_in_range(plane_turns_until_called(&w->plane), 10, 1000);
	called(w, 0, "\"t\":1}]}", OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
	finish(w);
	free((char *)(uintptr_t)body.p);
	(void)state;
}

/* The pod leaves meanwhile. */
static void test_left_while_waiting(void **state)
{
	struct eg_str body = dear_body((size_t)8 << 20, "]}");
	struct world *w = begin(policy);

	post_nearly(w, body);
	last_byte(w, body);
	plane_turns(&w->plane, 3);
	assert_true(w->plane.engine.held_bytes > 0);
	assert_non_null(w->plane.engine.turns.first);
	assert_int_equal(shutdown(w->pod.in.fd, SHUT_RDWR), 0);
	plane_turns(&w->plane, 4);
	assert_int_equal(w->plane.engine.held_bytes, 0);
	assert_null(w->plane.engine.turns.first);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"client_closed\""));
	finish(w);
	free((char *)(uintptr_t)body.p);
	(void)state;
}

/* What stands at the end counts: a key that comes twice, and a file, which no route allows. */
static void test_what_is_at_the_end(void **state)
{
	static const struct {
		const char *end, *reason;
	} ends[] = {
		{",{\"a\":1,\"a\":2}]}", "x-egret-reason: bad_body\r\n"},
		{",{\"file_id\":\"file-1\"}]}", "x-egret-reason: stateful_denied\r\n"},
		{"],\"model\":\"gpt-4o\"}", "x-egret-reason: bad_body\r\n"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(ends); i++) {
		struct eg_str body = dear_body((size_t)2 << 20, ends[i].end);
		struct world *w = begin(policy);

		post_nearly(w, body);
		last_byte(w, body);
		inbox_await(&w->plane, &w->pod.in, ends[i].reason);
		assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
		finish(w);
		free((char *)(uintptr_t)body.p);
	}
	(void)state;
}

static uint64_t cpu_us(void)
{
	struct timespec t;

	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), 0);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* One turn's; *all grows by it. */
static uint64_t turn_cost(struct plane *p, uint64_t *all)
{
	uint64_t before = cpu_us(), took;

	plane_turn(p);
	took = cpu_us() - before;
	*all += took;
	return took;
}

/* What a byte costs a codec is up to who wrote it: a turn has so many, and so long. */
static void test_dear_codec(void **state)
{
	enum { PODS = 8 };
	struct eg_str body = dear_brotli(200); /* some 90 KiB */
	struct world *w = begin(policy);
	uint64_t all = 0, longest = 0;
	struct pod pod[PODS];
	size_t sent[PODS] = {0};
	char head[512];
	int answered = 0;

	snprintf(head, sizeof(head),
		 "POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON
		 "Content-Encoding: br\r\nContent-Length: %zu\r\n\r\n",
		 body.n);
	for (int i = 0; i < PODS; i++) {
		pod_open(&pod[i], &w->plane, "api.openai.com");
		pod_send(&pod[i], head);
	}
	for (int turns = 0; turns < PLANE_TURNS && answered < PODS; turns++) {
		for (int i = 0; i < PODS; i++) {
			ssize_t n = send(pod[i].in.fd, body.p + sent[i], body.n - sent[i],
					 MSG_NOSIGNAL | MSG_DONTWAIT);

			sent[i] += n > 0 ? (size_t)n : 0;
		}
		longest = EG_MAX(longest, turn_cost(&w->plane, &all));
		answered = 0;
		for (int i = 0; i < PODS; i++) {
			inbox_poll(&pod[i].in);
			answered += inbox_has(&pod[i].in, "x-egret-reason: bad_body\r\n");
		}
	}
	assert_int_equal(answered, PODS);
	/* A share of the whole, so that it holds on any machine. */
	if (longest > all / 6)
		fail_msg("one turn of all took %u of %u us", (unsigned int)longest,
			 (unsigned int)all);
	for (int i = 0; i < PODS; i++)
		pod_close(&pod[i]);
	finish(w);
	free((char *)(uintptr_t)body.p);
	(void)state;
}

/* A form in some kilobytes of zstd whose fields are dear JSON: read as it is decoded, a field at
 * a time, and not all of them when the last byte came out. */
static void test_dear_form(void **state)
{
	static const char field[] = "--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\n";
	static const char model[] = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n"
				    "whisper-1\r\n--b--\r\n";
	enum { FIELDS = 16, LENGTH = 1000000 };
	struct eg_str json = dear_body(LENGTH, "]}");
	struct world *w = begin(policy);
	uint64_t all = 0, longest = 0;
	struct coded body;
	struct eg_buf form;
	char head[512];

	eg_buf_init(&form, (size_t)FIELDS * 2 * LENGTH);
	for (int i = 0; i < FIELDS; i++) {
		assert_int_equal(eg_buf_append(&form, field, sizeof(field) - 1), 0);
		assert_int_equal(eg_buf_append_str(&form, json), 0);
		assert_int_equal(eg_buf_append(&form, "\r\n", 2), 0);
	}
	assert_int_equal(eg_buf_append(&form, model, sizeof(model) - 1), 0);
	body = encode(EG_CODING_ZSTD, eg_buf_str(&form));
	snprintf(head, sizeof(head),
		 "POST /v1/images/edits HTTP/1.1\r\n" HEADERS
		 "Content-Type: multipart/form-data; boundary=b\r\n"
		 "Content-Encoding: zstd\r\nContent-Length: %zu\r\n\r\n",
		 body.n);
	pod_send(&w->pod, head);
	plane_send_n(&w->plane, w->pod.in.fd, body.p, body.n);
	for (int i = 0; i < PLANE_TURNS && !plane_called(&w->plane); i++)
		longest = EG_MAX(longest, turn_cost(&w->plane, &all));
	assert_true(plane_called(&w->plane));
	if (longest > all / 4)
		fail_msg("one turn of all took %u of %u us", (unsigned int)longest,
			 (unsigned int)all);
	eg_buf_fini(&form);
	free(body.p);
	free((char *)(uintptr_t)json.p);
	finish(w);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_pieces),
		cmocka_unit_test(test_left_while_waiting),
		cmocka_unit_test(test_what_is_at_the_end),
		cmocka_unit_test(test_dear_codec),
		cmocka_unit_test(test_dear_form),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
