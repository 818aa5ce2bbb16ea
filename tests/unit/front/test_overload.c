/* SPDX-License-Identifier: Apache-2.0 */
/* The loop is late: whose requests are refused, how, and that it ends by itself. */
#include "pod.h"

static const char policy[] = "{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER(
	"p0") "},"
	      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"
	      "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", \"pods\": "
	      "{\"namespaces\": [\"shop\", \"other\"]},"
	      "\"routes\": [{\"name\": \"chat\", \"match\": {\"hosts\": [\"api.openai.com\"], "
	      "\"models\": [\"gpt-4o*\"]},"
	      "\"targets\": [{\"provider\": \"p0\"}], \"timeouts\": "
	      "{\"connect_ms\": 1000, \"first_byte_ms\": 1000}}], \"otherwise\": \"deny\"}]}";

#define FLOOD 8

struct world {
	struct plane plane;
	struct pod flood[FLOOD], other;
	struct inbox up[FLOOD];
	struct eg_defer busy;
	bool stop;
	uint64_t slept_ms;
};

static struct world *here;

/* Turns of this loop take longer than an event may wait; now and then is enough for it to stay so.
 */
static void be_busy(struct eg_defer *d)
{
	if (!eg_loop_lateness(here->plane.loop)->overloaded ||
	    eg_now_ms() - here->slept_ms > EG_LATENESS_LEAVE_MS / 2) {
		usleep((EG_LATENESS_TARGET_MS + 20) * 1000);
		here->slept_ms = eg_now_ms();
	} else {
		usleep(2000);
	}
	if (!here->stop)
		eg_loop_soon(here->plane.loop, d);
}

static void overload(struct world *w)
{
	w->stop = false;
	eg_loop_soon(w->plane.loop, &w->busy);
	for (int i = 0; i < 100 && !eg_loop_lateness(w->plane.loop)->overloaded; i++)
		plane_turn(&w->plane);
	assert_true(eg_loop_lateness(w->plane.loop)->overloaded);
}

static void calm(struct world *w)
{
	w->stop = true;
	for (int i = 0; i < PLANE_TURNS && eg_loop_lateness(w->plane.loop)->overloaded; i++)
		plane_turn(&w->plane);
	assert_false(eg_loop_lateness(w->plane.loop)->overloaded);
}

static int setup(void **state)
{
	struct world *w = here = calloc(1, sizeof(*w));

	plane_up(&w->plane, policy);
	w->busy.run = be_busy;
	for (int i = 0; i < FLOOD; i++)
		pod_open(&w->flood[i], &w->plane, "api.openai.com");
	pod_open(&w->other, &w->plane, "api.openai.com");
	eg_account_release(&w->plane.engine, w->other.peer.account);
	w->other.peer.source.address = plane_address("127.0.0.2");
	w->other.peer.pod_uid = "uid-b";
	w->other.peer.account = eg_account_acquire(&w->plane.engine, 2);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < FLOOD; i++) {
		pod_close(&w->flood[i]);
		if (w->up[i].text)
			inbox_fini(&w->up[i]);
	}
	pod_close(&w->other);
	assert_int_equal(w->plane.engine.active_pods, 0);
	plane_down(&w->plane);
	free(w);
	return 0;
}

static void accept_upstream(struct world *w, int i)
{
	inbox_init(&w->up[i], plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &w->up[i], BODY);
}

static void await_shed(struct world *w, struct pod *pod)
{
	inbox_await(&w->plane, &pod->in, "\"error\"");
	assert_true(inbox_has(&pod->in, "HTTP/1.1 503 "));
	assert_true(inbox_has(&pod->in, "x-egret-reason: overloaded\r\n"));
	assert_true(inbox_has(&pod->in, "retry-after: 1\r\n"));
	assert_false(inbox_has(&pod->in, "x-should-retry"));
	inbox_forget(&pod->in);
}

static int64_t shed(struct world *w)
{
	struct eg_buf out;
	const char *at;
	int64_t n;

	eg_buf_init(&out, 1 << 20);
	assert_int_equal(eg_telemetry_render(&w->plane.telemetry, 1, &out), 0);
	assert_int_equal(eg_buf_append(&out, "", 1), 0);
	at = strstr(eg_buf_data(&out), "egret_requests_shed_total{gateway=\"test\"} ");
	assert_non_null(at);
	n = strtoll(strchr(at, '}') + 2, NULL, 10);
	eg_buf_fini(&out);
	return n;
}

/* Four of the flood run when the worker becomes late. */
static void overload_of_four(struct world *w)
{
	for (int i = 0; i < 4; i++) {
		pod_send(&w->flood[i], ASK);
		accept_upstream(w, i);
	}
	overload(w);
}

/* Four of the flood run; what it asks for more is refused, the other pod's one request is not. */
static void test_the_flood_is_shed(void **state)
{
	struct world *w = *state;

	overload_of_four(w);
	for (int i = 4; i < FLOOD; i++) {
		pod_send(&w->flood[i], ASK);
		await_shed(w, &w->flood[i]);
	}
	assert_int_equal(shed(w), FLOOD - 4);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"overloaded\""));
	assert_int_equal(plane_record_count(&w->plane), FLOOD - 4);
	pod_send(&w->other, ASK);
	accept_upstream(w, 4);
	assert_true(eg_loop_lateness(w->plane.loop)->overloaded);
	/* What runs goes on. */
	for (int i = 0; i < 5; i++) {
		struct pod *pod = i < 4 ? &w->flood[i] : &w->other;

		plane_send(&w->plane, w->up[i].fd, OK(2, "{}"));
		inbox_await(&w->plane, &pod->in, "{}");
		assert_true(inbox_has(&pod->in, "HTTP/1.1 200 OK\r\n"));
		inbox_forget(&pod->in);
	}
	assert_int_equal(shed(w), FLOOD - 4);
}

/* On the connections that were refused before: nothing has to be made anew. */
static void test_it_ends_by_itself(void **state)
{
	struct world *w = *state;

	pod_send(&w->flood[0], ASK);
	accept_upstream(w, 0);
	overload(w);
	pod_send(&w->flood[1], ASK);
	await_shed(w, &w->flood[1]);
	calm(w);
	for (int i = 1; i < FLOOD; i++) {
		pod_send(&w->flood[i], ASK);
		accept_upstream(w, i);
	}
	assert_int_equal(shed(w), 1);
}

/* Whoever asks for one thing at a time is served, however late it is and for however long. */
static void test_one_at_a_time(void **state)
{
	struct world *w = *state;

	overload(w);
	for (int i = 0; i < 6; i++) {
		pod_send(&w->other, ASK);
		if (!i)
			accept_upstream(w, 0);
		else
			inbox_await(&w->plane, &w->up[0], BODY);
		inbox_forget(&w->up[0]);
		plane_send(&w->plane, w->up[0].fd, OK(2, "{}"));
		inbox_await(&w->plane, &w->other.in, "{}");
		inbox_forget(&w->other.in);
	}
	assert_true(eg_loop_lateness(w->plane.loop)->overloaded);
	assert_int_equal(shed(w), 0);
}

/* As long as it stays late, fewer may run: a pod that ends one may not begin another at once. */
static void test_less_and_less(void **state)
{
	struct world *w = *state;

	overload_of_four(w);
	for (int i = 0; i < 2000 && (w->plane.engine.shed.requests > 1 || !i); i++) {
		pod_send(&w->flood[4], ASK);
		await_shed(w, &w->flood[4]);
	}
	assert_true(w->plane.engine.shed.requests <= 1);
	plane_send(&w->plane, w->up[0].fd, OK(2, "{}"));
	inbox_await(&w->plane, &w->flood[0].in, "{}");
	inbox_forget(&w->flood[0].in);
	pod_send(&w->flood[0], ASK);
	await_shed(w, &w->flood[0]);
}

/* A denial is as cheap as shedding, and says more. */
static void test_denials_stay(void **state)
{
	struct world *w = *state;

	pod_send(&w->flood[0], ASK);
	accept_upstream(w, 0);
	overload(w);
	pod_send(&w->flood[1], "POST /v1/organization/admin_api_keys HTTP/1.1\r\n" HEADERS JSON
			       "Content-Length: 2\r\n\r\n{}");
	inbox_await(&w->plane, &w->flood[1].in, "HTTP/1.1 403 ");
	assert_int_equal(shed(w), 0);
}

/* It need not come about. */
static int begin_connect(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				.sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		assert_int_equal(errno, EINPROGRESS);
	return fd;
}

#define STREAM "{\"model\":\"gpt-4o\",\"stream\":true}"

/* Its request for a stream is with the provider, which says nothing until it is refused. */
static void ask_silence(struct world *w, int i)
{
	pod_send(&w->other, "POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON
			    "Content-Length: 32\r\n\r\n" STREAM);
	inbox_init(&w->up[i], plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &w->up[i], STREAM);
}

static void await_timeout(struct world *w)
{
	inbox_await(&w->plane, &w->other.in, "\"error\"");
	assert_true(inbox_has(&w->other.in, "HTTP/1.1 504 "));
	assert_true(inbox_has(&w->other.in, "x-egret-reason: upstream_timeout\r\n"));
	inbox_forget(&w->other.in);
}

/* What the provider sent in time may not have been read yet. */
static void test_silence_is_not_held_against_it(void **state)
{
	struct world *w = *state;

	overload(w);
	ask_silence(w, 0);
	await_timeout(w);
	assert_true(eg_loop_lateness(w->plane.loop)->overloaded);
	assert_false(plane_rests(&w->plane));
	/* As it is while the worker is not late. */
	calm(w);
	ask_silence(w, 1);
	await_timeout(w);
	assert_true(plane_rests(&w->plane));
}

/* Likewise what it would have answered to a connect(). */
static void test_a_connection_too_late(void **state)
{
	struct world *w = *state;
	int fill[8];

	assert_int_equal(listen(w->plane.provider[0], 0), 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(fill); i++)
		fill[i] = begin_connect(w->plane.port[0]);
	overload(w);
	pod_send(&w->other, ASK);
	await_shed(w, &w->other);
	assert_true(plane_recorded(&w->plane, "this worker is late"));
	assert_int_equal(shed(w), 0); /* it was not refused, it came to nothing */
	assert_false(plane_rests(&w->plane));
	for (size_t i = 0; i < EG_ARRAY_SIZE(fill); i++)
		close(fill[i]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_the_flood_is_shed),     T(test_it_ends_by_itself),
		T(test_one_at_a_time),	       T(test_less_and_less),
		T(test_denials_stay),	       T(test_silence_is_not_held_against_it),
		T(test_a_connection_too_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
