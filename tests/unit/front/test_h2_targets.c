/* SPDX-License-Identifier: Apache-2.0 */
/* Providers that speak HTTP/2 behind a pod that speaks HTTP/1.1: what is asked again, where, and
 * when not; what a slow pod makes us hold. */
#include "targets.h"

#include "h2_provider.h"

static const char three[] = THREE TARGETS("");
static const char never[] = THREE TARGETS(", \"replay\": \"never\"");

static const char stateful[] =
	THREE_OF(", \"operations\": [\"batches\", \"files\", \"responses.stored\"]",
		 ", \"namespace\": \"shop\"") TARGETS("");

static const nghttp2_nv json[] = {H2P_FIELD(":status", "200"),
				  H2P_FIELD("content-type", "application/json")};

/* Provider i is called by a new connection, and gets the body. */
static struct h2p *asked(struct world *w, int i)
{
	struct h2p *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	h2p_init(s, plane_accept(&w->plane, w->plane.provider[i]));
	h2p_await(&w->plane, s, 1);
	assert_memory_equal(s->stream[0].body, BODY, sizeof(BODY) - 1);
	assert_non_null(strstr(s->stream[0].head, "authorization: Bearer " PLANE_KEY "\n"));
	return s;
}

static void gone(struct h2p *s)
{
	h2p_fini(s);
	free(s);
}

static void served(struct world *w, struct h2p *s, int stream)
{
	h2p_answer(s, stream, "{\"fine\": 1}", true);
	for (int i = 0; i < PLANE_TURNS && !inbox_has(&w->pod.in, "{\"fine\": 1}"); i++) {
		h2p_poll(s);
		plane_turn(&w->plane);
		inbox_poll(&w->pod.in);
	}
	assert_true(inbox_has(&w->pod.in, "HTTP/1.1 200 OK"));
	inbox_await(&w->plane, &w->pod.in, "\r\n0\r\n\r\n");
}

/* A way to say "I did nothing with it". */
enum how { REFUSED, GOODBYE, OLD };

static void say(struct h2p *s, enum how how)
{
	if (how == REFUSED)
		h2p_reset(s, 0, NGHTTP2_REFUSED_STREAM);
	else if (how == GOODBYE)
		h2p_goaway(s, 0, NGHTTP2_NO_ERROR);
	else
		h2p_reset(s, 0, NGHTTP2_HTTP_1_1_REQUIRED);
}

/* The same target again, at once, whatever the route says of replay; it is no failure of its. */
static void test_unprocessed(void **state)
{
	for (int how = REFUSED; how <= OLD; how++) {
		for (int may = 0; may < 2; may++) {
			struct world *w = begin(may ? three : never);
			struct h2p *first, *second;
			bool stated;

			pod_send(&w->pod, ASK);
			first = asked(w, 0);
			say(first, (enum how)how);
			second = asked(w, 0);
			served(w, second, 0);
			assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
			assert_true(plane_recorded(&w->plane, "\"replayed\":true"));
			assert_true(plane_recorded(&w->plane, "\"upstream_protocol\":\"HTTP/2\""));
			assert_false(plane_recorded(&w->plane, "billed"));
			assert_false(plane_recorded(&w->plane, "upstream_reset"));
			assert_int_equal(
				eg_cooldown_until(&w->plane.engine, w->plane.engine.snapshot,
						  &eg_providers(eg_snapshot_policies(
									w->plane.engine.snapshot),
								&(size_t){0})[0],
						  &stated),
				0);
			gone(first);
			gone(second);
			finish(w);
		}
	}
	(void)state;
}

/* A provider that never begins: a few times, then it counts as failed, and the next is asked. */
static void test_always_refused(void **state)
{
	struct world *w = begin(never);
	struct h2p *s[4], *last;

	pod_send(&w->pod, ASK);
	for (int i = 0; i < 4; i++) {
		s[i] = asked(w, 0);
		h2p_reset(s[i], 0, NGHTTP2_REFUSED_STREAM);
	}
	last = asked(w, 1);
	served(w, last, 0);
	assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
	assert_false(plane_recorded(&w->plane, "billed"));
	assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_reset\""));
	for (int i = 0; i < 4; i++)
		gone(s[i]);
	gone(last);
	finish(w);
	(void)state;
}

/* The next that calls provider 0; what `before` has to say is said meanwhile. */
static int next_call(struct world *w, struct h2p *before)
{
	for (int i = 0; i < PLANE_TURNS; i++) {
		int fd = accept4(w->plane.provider[0], NULL, NULL, SOCK_NONBLOCK);

		if (fd >= 0)
			return fd;
		if (before)
			h2p_turns(&w->plane, before, 1);
		plane_turn(&w->plane);
	}
	fail_msg("nobody calls");
	return -1;
}

/* Refused because the provider allows fewer streams than were open: that does not count among the
 * few tries, and is nobody's failure; not for ever, though. (nghttp2 itself refuses what is over
 * its limit.) */
static void test_refused_over_limit(void **state)
{
	static const nghttp2_settings_entry none[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 0}};

	for (int times = 6; times <= 17; times += 11) {
		struct world *w = begin(never);
		struct h2p *before = NULL, *last;

		pod_send(&w->pod, ASK);
		for (int i = 0; i < times; i++) {
			struct h2p *s = calloc(1, sizeof(*s));

			assert_non_null(s);
			h2p_init_with(s, next_call(w, before), true, none, 1);
			if (before)
				gone(before);
			before = s;
		}
		if (times == 6) {
			last = calloc(1, sizeof(*last));
			assert_non_null(last);
			h2p_init(last, next_call(w, before));
			h2p_await(&w->plane, last, 1);
		} else {
			for (int i = 0; i < 20; i++)
				h2p_turns(&w->plane, before, 1);
			last = asked(w, 1);
		}
		served(w, last, 0);
		assert_true(plane_nobody(&w->plane, w->plane.provider[times == 6 ? 1 : 0]));
		assert_int_equal(plane_rests(&w->plane), times != 6);
		assert_int_equal(plane_recorded(&w->plane, "upstream_reset"), times != 6);
		gone(before);
		gone(last);
		finish(w);
	}
	(void)state;
}

/* It waits for a place: a stream that has become free does. */
static void test_refused_over_limit_finds_a_place(void **state)
{
	static const nghttp2_settings_entry one[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1}};
	struct world *w = begin(never);
	struct pod other;
	struct h2p *s;

	pod_send(&w->pod, ASK);
	s = asked(w, 0);
	pod_open(&other, &w->plane, "api.openai.com");
	pod_send(&other, ASK);
	h2p_await(&w->plane, s, 2);
	/* In one go: one stream from now on, the second refused, the first answered. */
	assert_int_equal(nghttp2_submit_settings(s->session, 0, one, 1), 0);
	assert_int_equal(
		nghttp2_submit_rst_stream(s->session, 0, s->stream[1].id, NGHTTP2_REFUSED_STREAM),
		0);
	h2p_answer(s, 0, "{\"fine\": 1}", true);
	h2p_await(&w->plane, s, 3);
	h2p_answer(s, 2, "{\"fine\": 2}", true);
	for (int i = 0; i < PLANE_TURNS && !inbox_has(&other.in, "{\"fine\": 2}"); i++) {
		h2p_poll(s);
		plane_turn(&w->plane);
		inbox_poll(&other.in);
	}
	assert_true(inbox_has(&other.in, "{\"fine\": 2}"));
	assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
	pod_close(&other);
	gone(s);
	finish(w);
	(void)state;
}

/* Any other code may mean that it worked: as a connection that was lost. */
static void test_reset(void **state)
{
	static const uint32_t codes[] = {NGHTTP2_NO_ERROR, NGHTTP2_INTERNAL_ERROR, NGHTTP2_CANCEL,
					 NGHTTP2_ENHANCE_YOUR_CALM};

	for (size_t i = 0; i < 2 * EG_ARRAY_SIZE(codes); i++) {
		bool may = i % 2;
		struct world *w = begin(may ? three : never);
		struct h2p *first, *second = NULL;

		pod_send(&w->pod, ASK);
		first = asked(w, 0);
		h2p_reset(first, 0, codes[i / 2]);
		if (may) {
			second = asked(w, 1);
			served(w, second, 0);
			assert_true(plane_recorded(&w->plane, "\"possibly_billed_twice\":true"));
		} else {
			inbox_await(&w->plane, &w->pod.in, "upstream_reset");
			assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
		}
		assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
		gone(first);
		if (second)
			gone(second);
		finish(w);
	}
	(void)state;
}

/* A second request on a connection that then dies without a word: the same target once more, over
 * a new one; reset by itself it goes to the next target. */
static void test_reused(void **state)
{
	for (int how = 0; how < 2; how++) {
		struct world *w = begin(three);
		struct h2p *first, *second;

		pod_send(&w->pod, ASK);
		first = asked(w, 0);
		served(w, first, 0);
		inbox_forget(&w->pod.in);
		pod_send(&w->pod, ASK);
		h2p_await(&w->plane, first, 2);
		if (how) {
			h2p_reset(first, 1, NGHTTP2_INTERNAL_ERROR);
		} else {
			close(first->fd);
			first->fd = -1;
		}
		second = asked(w, how ? 1 : 0);
		served(w, second, 0);
		gone(first);
		gone(second);
		finish(w);
	}
	(void)state;
}

/* What a provider keeps is done once: again only if nothing was done with it. */
static void test_reused_with_state(void **state)
{
	for (int how = 0; how < 2; how++) {
		struct world *w = begin(stateful);
		struct h2p *first, *second = NULL;

		pod_send(&w->pod, ASK);
		first = asked(w, 0);
		served(w, first, 0);
		inbox_forget(&w->pod.in);
		pod_send(&w->pod, "DELETE /v1/files/f HTTP/1.1\r\nHost: api.openai.com\r\n\r\n");
		h2p_await(&w->plane, first, 2);
		if (how) {
			h2p_goaway(first, first->stream[0].id, NGHTTP2_NO_ERROR);
			second = calloc(1, sizeof(*second));
			h2p_init(second, plane_accept(&w->plane, w->plane.provider[0]));
			h2p_await(&w->plane, second, 1);
			served(w, second, 0);
			gone(second);
		} else {
			close(first->fd);
			first->fd = -1;
			inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 502 ");
		}
		assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
		gone(first);
		finish(w);
	}
	(void)state;
}

/* A pod whose body has no byte says so by its length: for HTTP/2 that is an end to be said. */
static void test_no_byte(void **state)
{
	struct world *w = begin(stateful);
	struct h2p s;

	for (int i = 0; i < 2; i++) {
		pod_send(&w->pod, "POST /v1/batches/b/cancel HTTP/1.1\r\nHost: api.openai.com\r\n"
				  "Content-Length: 0\r\n\r\n");
		if (!i)
			h2p_init(&s, plane_accept(&w->plane, w->plane.provider[0]));
		h2p_await(&w->plane, &s, i + 1);
		assert_int_equal(s.stream[i].body_n, 0);
		assert_non_null(strstr(s.stream[i].head, "content-length: 0\n"));
		served(w, &s, i);
		inbox_forget(&w->pod.in);
	}
	h2p_fini(&s);
	finish(w);
	(void)state;
}

/* Inside the answer: the pod sees that it is not whole. */
static void test_cut(void **state)
{
	for (int how = 0; how < 3; how++) {
		struct world *w = begin(three);
		struct h2p *s;

		pod_send(&w->pod, ASK);
		s = asked(w, 0);
		h2p_answer_n(s, 0, json, 2, "{\"half\": \"aaaaaaaaaaaaaaaaaaaaaaaa", 32, false);
		inbox_await(&w->plane, &w->pod.in, "half");
		if (how == 0)
			h2p_reset(s, 0, NGHTTP2_INTERNAL_ERROR);
		else if (how == 1)
			h2p_reset(s, 0, NGHTTP2_REFUSED_STREAM); /* a lie by now */
		else
			shutdown(s->fd, SHUT_RDWR);
		inbox_await_end(&w->plane, &w->pod.in);
		assert_true(w->pod.in.reset);
		assert_false(inbox_has(&w->pod.in, "\r\n0\r\n"));
		assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
		assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
		assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_reset\""));
		gone(s);
		finish(w);
	}
	(void)state;
}

/* Of what is too long to be searched again and again. */
static bool ends(const struct inbox *in)
{
	return in->n > 5 && !memcmp(in->text + in->n - 5, "0\r\n\r\n", 5);
}

/* A pod that does not read holds up its own stream, not the connection's others; what waits for it
 * is bounded and charged to it. */
static void test_slow_pod(void **state)
{
	static char big[16u << 20]; /* more than the kernel's buffers hold */
	struct world *w = begin(three);
	struct pod other;
	struct h2p *s;
	size_t held;

	memset(big, ' ', sizeof(big));
	pod_send(&w->pod, ASK);
	s = asked(w, 0);
	pod_open(&other, &w->plane, "api.openai.com");
	pod_send(&other, ASK);
	h2p_await(&w->plane, s, 2);
	h2p_answer_n(s, 0, json, 2, big, sizeof(big), true);
	h2p_turns(&w->plane, s, 2000);
	held = w->plane.engine.held_bytes;
	assert_true(s->stream[0].answer_at < sizeof(big)); /* it was told to wait */
	assert_true(held > 0);
	assert_true(held <= 512u * 1024u);
	h2p_answer_n(s, 1, json, 2, big, sizeof(big), true);
	for (int i = 0; i < PLANE_TURNS && !ends(&other.in); i++) {
		h2p_poll(s);
		plane_turns(&w->plane, 1);
		inbox_poll(&other.in);
	}
	assert_true(ends(&other.in));
	assert_true(other.in.n > sizeof(big));
	/* It reads after all. */
	for (int i = 0; i < PLANE_TURNS && !ends(&w->pod.in); i++) {
		h2p_poll(s);
		plane_turn(&w->plane);
		inbox_poll(&w->pod.in);
	}
	assert_true(ends(&w->pod.in));
	assert_true(w->pod.in.n > sizeof(big));
	pod_close(&other);
	gone(s);
	finish(w);
	(void)state;
}

/* The pod goes: RST_STREAM(CANCEL), and the connection serves the next. */
static void test_pod_goes(void **state)
{
	struct world *w = begin(three);
	struct h2p *s;

	pod_send(&w->pod, ASK);
	s = asked(w, 0);
	pod_close(&w->pod);
	h2p_turns(&w->plane, s, 10);
	assert_true(s->stream[0].closed);
	assert_int_equal(s->stream[0].code, NGHTTP2_CANCEL);
	pod_open(&w->pod, &w->plane, "api.openai.com");
	pod_send(&w->pod, ASK);
	h2p_await(&w->plane, s, 1);
	for (int i = 0; i < PLANE_TURNS && s->count < 2; i++)
		h2p_turns(&w->plane, s, 1);
	h2p_await(&w->plane, s, 2);
	served(w, s, 1);
	gone(s);
	finish(w);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unprocessed),
		cmocka_unit_test(test_always_refused),
		cmocka_unit_test(test_refused_over_limit),
		cmocka_unit_test(test_refused_over_limit_finds_a_place),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_reused),
		cmocka_unit_test(test_reused_with_state),
		cmocka_unit_test(test_no_byte),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_slow_pod),
		cmocka_unit_test(test_pod_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
