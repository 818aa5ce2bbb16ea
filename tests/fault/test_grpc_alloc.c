/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC when memory runs out at every place it can, and when reads and writes move few bytes: a call
 * that is refused, and one that is passed on over HTTP/2 with its status in trailers. The client
 * gets the whole answer, a status that is no success, or a reset. Nothing is left behind.
 */
#include "original.h"

#include "pod2.h"

#include "fault.h"

#define H2P_RECV __real_recv
#define H2P_SEND __real_send
#include "h2_provider.h"

#define METHOD	    "/a.Service/Method"
#define CONNECTIONS 8

static const char policy[] = "{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER(
	"p0") "},"
	      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"
	      "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", \"pods\": "
	      "{\"namespaces\": [\"shop\"]},"
	      "\"routes\": [{\"name\": \"any\", \"match\": {\"hosts\": "
	      "[\"api.openai.com\"]}, \"targets\": [{\"provider\": \"p0\"}]}], "
	      "\"otherwise\": \"deny\"}]}";

struct drive {
	struct plane plane;
	struct pod2 pod;
	struct h2p server[CONNECTIONS];
	int answered[CONNECTIONS];
};

static void server_turn(struct drive *d)
{
	static const nghttp2_nv head[] = {H2P_FIELD(":status", "200"),
					  H2P_FIELD("content-type", "application/grpc")};
	static const nghttp2_nv done[] = {H2P_FIELD("grpc-status", "0"), H2P_FIELD("x", "y")};
	int fd = accept4(d->plane.provider[1], NULL, NULL, SOCK_NONBLOCK);

	for (int i = 0; i < CONNECTIONS; i++) {
		struct h2p *s = &d->server[i];

		if (s->fd < 0 && fd >= 0) {
			h2p_init(s, fd);
			d->answered[i] = 0;
			fd = -1;
		}
		if (s->fd < 0)
			continue;
		h2p_poll(s);
		if (s->end) {
			h2p_fini(s);
			s->fd = -1;
			continue;
		}
		for (; d->answered[i] < s->count && s->stream[d->answered[i]].ended;
		     d->answered[i]++) {
			if (s->stream[d->answered[i]].closed)
				continue;
			h2p_trailers(s, d->answered[i], done, 2);
			h2p_answer_n(s, d->answered[i], head, 2, "answer", 6, true);
		}
	}
	assert_true(fd < 0);
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

static void check(const struct drive *d, bool tripped, bool passed)
{
	const struct reply *r = &d->pod.reply[0];

	if (!over(d))
		fail_msg("neither answered nor reset: status %u, %s", r->status, r->head);
	if (!tripped)
		assert_int_equal(r->head_ended, !passed);
	if (!r->ended)
		return;
	assert_int_equal(r->error, NGHTTP2_NO_ERROR);
	if (r->head_ended) {
		assert_int_equal(r->status, 200);
		assert_non_null(strstr(r->head, "grpc-status: "));
		assert_null(strstr(r->head, "grpc-status: 0"));
		assert_non_null(strstr(r->head, "x-egret-reason: "));
		return;
	}
	if (r->status != 200) { /* not even its head could be copied */
		assert_int_equal(r->status, 503);
		return;
	}
	assert_true(passed);
	assert_string_equal(r->body, "answer");
	assert_string_equal(r->trailers, "grpc-status: 0\nx: y\n");
}

static bool run(unsigned long i, bool only_one, bool passed, size_t step)
{
	struct drive *d = __real_calloc(1, sizeof(*d));
	uint64_t limit_ms = eg_now_ms() + 10000; /* single bytes wait for the kernel's ACKs */
	bool tripped;

	plane_http2 = false;
	plane_up(&d->plane, policy);
	pod2_open(&d->pod, &d->plane, passed ? NULL : "api.openai.com");
	if (passed)
		d->pod.peer.destination.port = d->plane.port[1];
	pod2_client(&d->pod, 1 << 20, true);
	for (int j = 0; j < CONNECTIONS; j++)
		d->server[j].fd = -1;
	(void)pod2_grpc(&d->pod, passed ? "grpc.example" : "api.openai.com", METHOD,
			"application/grpc", "message", false);
	if (only_one)
		fault_arm_one(i);
	else
		fault_arm(i);
	fault_trickle(step);
	if (h2_server_begin(&d->pod.server, d->pod.stream)) {
		assert_true(fault_tripped);
		pod2_over(&d->pod, true); /* as the connection does */
	}
	for (int turn = 0; !over(d) && (turn < 4000 || eg_now_ms() < limit_ms); turn++) {
		(void)!eg_loop_turn(d->plane.loop, turn < 50 ? 0 : 1);
		server_turn(d);
		client_turn(d);
		/* Memory that comes back: what gave up must not come back to life. */
		if (turn == 200 && !step)
			fault_at = 0;
	}
	fault_trickle(0);
	tripped = fault_disarm();
	check(d, tripped, passed);
	pod2_close(&d->pod);
	for (int j = 0; j < CONNECTIONS; j++)
		if (d->server[j].fd >= 0)
			h2p_fini(&d->server[j]);
	plane_down(&d->plane); /* asserts that nothing is in flight or charged */
	free(d);
	return tripped;
}

static void each(bool passed)
{
	for (int only_one = 0; only_one < 2; only_one++) {
		unsigned long i = 1;

		while (run(i, only_one, passed, 0))
			assert_true(++i < 5000);
		assert_true(i > 10); /* or there was nothing to fail */
	}
}

static void test_refused(void **state)
{
	each(false);
	(void)state;
}

static void test_passed_on(void **state)
{
	each(true);
	(void)state;
}

static void test_trickle(void **state)
{
	for (size_t step = 1; step < 12; step++)
		for (int passed = 0; passed < 2; passed++)
			assert_false(run(0, false, passed, step));
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_passed_on),
		cmocka_unit_test(test_trickle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
