/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_exchange_alloc.c with providers that speak HTTP/2: memory runs out at every place it can,
 * nghttp2's own included (it asks through h2_mem.c), and reads and writes move few bytes. The
 * client gets the whole answer, an error in dialect, or a reset. Nothing is left behind.
 */
#include "pod.h"

#include "fault.h"

#define H2P_RECV __real_recv
#define H2P_SEND __real_send
#include "h2_provider.h"

#define EVENTS "data: {}\n\ndata: [DONE]\n\n"

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

#define CONNECTIONS 8

enum does { ANSWERS, FAILS, REFUSES, SAYS_GOODBYE, TRAILS };
#define ASK_TRAILERS POST(32, "TE: trailers\r\nConnection: TE\r\n") BODY
#define END	     "\r\n0\r\n\r\n"
#define END_TRAILERS "\r\n0\r\nx-sum: abc\r\nx-more: d\r\n\r\n"

struct drive {
	struct plane plane;
	struct pod pod;
	struct h2p provider[2][CONNECTIONS];
	int answered[2][CONNECTIONS]; /* streams */
	char got[4096];
	size_t got_n;
	const char *ends; /* a whole answer */
	bool end, reset, refused;
};

static void answer(struct h2p *s, int i, enum does does)
{
	static const nghttp2_nv trailers[] = {H2P_FIELD("x-sum", "abc"), H2P_FIELD("x-more", "d")};
	static const nghttp2_nv ok[] = {H2P_FIELD(":status", "200"),
					H2P_FIELD("content-type", "text/event-stream")};
	static const nghttp2_nv busy[] = {H2P_FIELD(":status", "503"),
					  H2P_FIELD("content-length", "4")};

	if (does == TRAILS)
		h2p_trailers(s, i, trailers, 2);
	if (does != FAILS)
		h2p_answer_n(s, i, ok, 2, EVENTS, sizeof(EVENTS) - 1, true);
	else
		h2p_answer_n(s, i, busy, 2, "busy", 4, true);
}

static void connection_turn(struct drive *d, int i, int j, enum does does)
{
	struct h2p *s = &d->provider[i][j];
	int *at = &d->answered[i][j];

	h2p_poll(s);
	if (s->end) { /* given up, perhaps to come again */
		h2p_fini(s);
		s->fd = -1;
		return;
	}
	for (; *at < s->count && s->stream[*at].ended; ++*at) {
		if (s->stream[*at].closed)
			continue;
		if (does == REFUSES && !d->refused)
			h2p_reset(s, *at, NGHTTP2_REFUSED_STREAM);
		else if (does == SAYS_GOODBYE && !d->refused)
			h2p_goaway(s, 0, NGHTTP2_NO_ERROR);
		else
			answer(s, *at, does);
		d->refused = true;
	}
}

static void provider_turn(struct drive *d, int i, enum does does)
{
	int fd = accept4(d->plane.provider[i], NULL, NULL, SOCK_NONBLOCK);

	for (int j = 0; j < CONNECTIONS; j++) {
		if (d->provider[i][j].fd < 0 && fd >= 0) {
			h2p_init(&d->provider[i][j], fd);
			d->answered[i][j] = 0;
			fd = -1;
		}
		if (d->provider[i][j].fd >= 0)
			connection_turn(d, i, j, does);
	}
	assert_true(fd < 0);
}

static void client_turn(struct drive *d)
{
	ssize_t n = __real_recv(d->pod.in.fd, d->got + d->got_n, sizeof(d->got) - d->got_n - 1,
				MSG_DONTWAIT);

	if (n > 0)
		d->got_n += (size_t)n;
	else if (n == 0)
		d->end = true;
	else if (errno == ECONNRESET)
		d->reset = true;
}

static bool whole(const struct drive *d)
{
	return strstr(d->got, d->ends) ||
	       (strstr(d->got, "\"error\"") && !strstr(d->got, "HTTP/1.1 200"));
}

static void check(struct drive *d, bool tripped)
{
	if (!tripped)
		assert_non_null(strstr(d->got, "HTTP/1.1 200 OK"));
	if (!d->reset && !whole(d))
		fail_msg("neither whole nor reset: \"%s\" (receive %d, answer %d, asked %d %d)",
			 d->got, d->pod.server.receive, d->pod.server.answer,
			 d->provider[0][0].count, d->provider[1][0].count);
	if (strstr(d->got, "HTTP/1.1 200") && !strstr(d->got, d->ends))
		assert_true(d->reset);
}

static bool run(unsigned long i, bool only_one, enum does does, size_t step)
{
	struct drive *d = __real_calloc(1, sizeof(*d));
	const char *ask = does == TRAILS ? ASK_TRAILERS : ASK;
	bool tripped;

	plane_up(&d->plane, policy);
	pod_open(&d->pod, &d->plane, "api.openai.com");
	for (int j = 0; j < CONNECTIONS; j++)
		d->provider[0][j].fd = d->provider[1][j].fd = -1;
	d->ends = does == TRAILS ? END_TRAILERS : END;
	(void)!__real_send(d->pod.in.fd, ask, strlen(ask), MSG_NOSIGNAL);
	if (only_one)
		fault_arm_one(i);
	else
		fault_arm(i);
	fault_trickle(step);
	for (int turn = 0; turn < 3000 && !d->reset && !whole(d); turn++) {
		(void)!eg_loop_turn(d->plane.loop, step || turn < 50 ? 0 : 1);
		provider_turn(d, 0, does);
		provider_turn(d, 1, does == TRAILS ? TRAILS : ANSWERS);
		client_turn(d);
		/* Memory that comes back: what gave up must not come back to life. */
		if (turn == 200 && !step)
			fault_at = 0;
	}
	fault_trickle(0);
	tripped = fault_disarm();
	check(d, tripped);
	pod_close(&d->pod);
	for (int j = 0; j < 2 * CONNECTIONS; j++)
		if (d->provider[j % 2][j / 2].fd >= 0)
			h2p_fini(&d->provider[j % 2][j / 2]);
	plane_down(&d->plane); /* asserts that nothing is in flight or charged */
	free(d);
	return tripped;
}

static void each(enum does does)
{
	for (int only_one = 0; only_one < 2; only_one++) {
		unsigned long i = 1;

		while (run(i, only_one, does, 0))
			assert_true(++i < 5000);
		assert_true(i > 10); /* or there was nothing to fail */
	}
}

static void test_answered(void **state)
{
	each(ANSWERS);
	(void)state;
}

static void test_failing_over(void **state)
{
	each(FAILS);
	(void)state;
}

static void test_refused(void **state)
{
	each(REFUSES);
	(void)state;
}

static void test_goodbye(void **state)
{
	each(SAYS_GOODBYE);
	(void)state;
}

static void test_trailers(void **state)
{
	each(TRAILS);
	(void)state;
}

static void test_trickle(void **state)
{
	for (size_t step = 1; step < 12; step++)
		for (int does = ANSWERS; does <= TRAILS; does++)
			assert_false(run(0, false, (enum does)does, step));
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answered), cmocka_unit_test(test_failing_over),
		cmocka_unit_test(test_refused),	 cmocka_unit_test(test_goodbye),
		cmocka_unit_test(test_trailers), cmocka_unit_test(test_trickle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
