/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request over HTTP/2 when memory runs out at every place it can, nghttp2's own among them, and
 * when reads and writes move few bytes. The client gets the whole answer, an error in dialect, or a
 * reset of the stream or the connection: never a part that ends in order. Nothing is left behind.
 */
#include "pod2.h"

#include "fault.h"

#define STREAM                                                                                     \
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" \
	"6\r\ndata: \r\n12\r\n{}\n\ndata: [DONE]\n\n\r\n0\r\n\r\n"
#define PART                                                                                       \
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" \
	"2f\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n\r\n"
#define TRAILED                                                                                    \
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" \
	"6\r\ndata: \r\n12\r\n{}\n\ndata: [DONE]\n\n\r\n0\r\nx-sum: abc\r\nx-more: d\r\n\r\n"
#define BUSY "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"

static const char policy[] =
	"{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER("p0") "," PLANE_PROVIDER(
		"p1") "},"
		      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"
		      "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", \"pods\": "
		      "{\"namespaces\": [\"shop\"]},"
		      "\"routes\": [{\"name\": \"any\", \"match\": {\"hosts\": "
		      "[\"api.openai.com\"]},"
		      "\"targets\": [{\"provider\": \"p0\"}, {\"provider\": \"p1\"}]}], "
		      "\"otherwise\": \"deny\"}]}";

struct drive {
	struct plane plane;
	struct pod2 pod;
	int provider[2]; /* -1: not called */
	char asked[2][4096];
	size_t asked_n[2];
	bool answered[2];
};

static void provider_turn(struct drive *d, int i, const char *answer)
{
	ssize_t n;

	if (d->provider[i] < 0)
		d->provider[i] = accept4(d->plane.provider[i], NULL, NULL, SOCK_NONBLOCK);
	if (d->provider[i] < 0)
		return;
	n = __real_recv(d->provider[i], d->asked[i] + d->asked_n[i],
			sizeof(d->asked[i]) - d->asked_n[i] - 1, 0);
	if (n > 0)
		d->asked_n[i] += (size_t)n;
	if (n == 0) { /* given up, perhaps to come again */
		close(d->provider[i]);
		d->provider[i] = -1;
		d->asked_n[i] = 0;
		memset(d->asked[i], 0, sizeof(d->asked[i]));
		d->answered[i] = false;
		return;
	}
	if (d->answered[i] || !strstr(d->asked[i], BODY))
		return;
	d->answered[i] = true;
	(void)!__real_send(d->provider[i], answer, strlen(answer), MSG_NOSIGNAL);
	if (!strcmp(answer, PART))
		shutdown(d->provider[i], SHUT_WR);
}

/* The client's own memory and calls are not what is tested. */
static void client_turn(struct drive *d)
{
	unsigned long at = fault_at;
	size_t step = fault_step;

	fault_at = 0;
	fault_step = 0;
	pod2_client_turn(&d->pod);
	fault_at = at;
	fault_step = step;
}

static bool over(const struct drive *d)
{
	return d->pod.reply[0].closed || d->pod.in.reset || d->pod.in.end;
}

static void check(struct drive *d, bool tripped, bool cut, bool trailed)
{
	const struct reply *r = &d->pod.reply[0];
	const char *body = r->body ? r->body : "";

	if (!over(d))
		fail_msg("neither answered nor reset: status %u, %s", r->status, body);
	if (!tripped)
		assert_int_equal(r->status, 200);
	if (!tripped && !cut)
		assert_true(r->ended && strstr(body, "data: {}"));
	if (!tripped && cut)
		assert_true(strstr(body, "\"content\":\"x\"") && strstr(body, "event: error"));
	if (r->ended && r->status == 200)
		assert_non_null(strstr(body, "[DONE]"));
	/* All of them, or no end in order. */
	if (r->ended && r->status == 200)
		assert_string_equal(r->trailers, trailed ? "x-sum: abc\nx-more: d\n" : "");
	if (r->ended && r->status != 200)
		assert_non_null(strstr(body, "\"error\""));
	if (r->ended)
		assert_int_equal(r->error, NGHTTP2_NO_ERROR);
}

static bool run(unsigned long i, bool only_one, const char *first_answer, size_t step)
{
	struct drive *d = __real_calloc(1, sizeof(*d));
	bool tripped, trailed = !strcmp(first_answer, TRAILED);

	plane_up(&d->plane, policy);
	pod2_open(&d->pod, &d->plane, "api.openai.com");
	pod2_client(&d->pod, 1 << 20, true);
	d->provider[0] = d->provider[1] = -1;
	(void)pod2_ask(&d->pod, "POST", "/v1/chat/completions", BODY, NULL);
	if (only_one)
		fault_arm_one(i);
	else
		fault_arm(i);
	fault_trickle(step);
	if (h2_server_begin(&d->pod.server, d->pod.stream)) {
		assert_true(fault_tripped);
		pod2_over(&d->pod, true); /* as the connection does */
	}
	for (int turn = 0; turn < 4000 && !over(d); turn++) {
		(void)!eg_loop_turn(d->plane.loop, step || turn < 50 ? 0 : 1);
		provider_turn(d, 0, first_answer);
		provider_turn(d, 1, trailed ? TRAILED : STREAM);
		client_turn(d);
		/* Memory that comes back: what gave up must not come back to life. */
		if (turn == 200 && !step)
			fault_at = 0;
	}
	fault_trickle(0);
	tripped = fault_disarm();
	check(d, tripped, !strcmp(first_answer, PART), trailed);
	pod2_close(&d->pod);
	for (int j = 0; j < 2; j++)
		if (d->provider[j] >= 0)
			close(d->provider[j]);
	plane_down(&d->plane); /* asserts that nothing is in flight or charged */
	free(d);
	return tripped;
}

static void each(const char *first_answer)
{
	for (int only_one = 0; only_one < 2; only_one++) {
		unsigned long i = 1;

		while (run(i, only_one, first_answer, 0))
			assert_true(++i < 5000);
		assert_true(i > 10); /* or there was nothing to fail */
	}
}

static void test_answered(void **state)
{
	each(STREAM);
	(void)state;
}

static void test_failing_over(void **state)
{
	each(BUSY);
	(void)state;
}

static void test_cut(void **state)
{
	each(PART);
	(void)state;
}

static void test_trailers(void **state)
{
	each(TRAILED);
	(void)state;
}

static void test_trickle(void **state)
{
	for (size_t step = 1; step < 12; step++) {
		assert_false(run(0, false, STREAM, step));
		assert_false(run(0, false, BUSY, step));
		assert_false(run(0, false, PART, step));
		assert_false(run(0, false, TRAILED, step));
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answered), cmocka_unit_test(test_failing_over),
		cmocka_unit_test(test_cut),	 cmocka_unit_test(test_trailers),
		cmocka_unit_test(test_trickle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
