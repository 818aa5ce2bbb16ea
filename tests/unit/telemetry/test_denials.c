/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker denied gets to another thread: counted, bounded, and without what must not be said.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "telemetry/denials.h"

static struct eg_telemetry *t;
static struct eg_denials *denials;

static int setup(void **state)
{
	t = eg_telemetry_create("test", NULL);
	assert_non_null(t);
	denials = eg_telemetry_keep_denials(t);
	assert_non_null(denials);
	assert_ptr_equal(eg_telemetry_keep_denials(t), denials);
	return 0;
}

static int teardown(void **state)
{
	eg_telemetry_destroy(t);
	return 0;
}

static void deny(const char *uid, enum eg_reason reason, const char *host)
{
	const struct eg_record r = {.pod_uid = uid,
				    .reason = reason,
				    .provider = "openai",
				    .server_name = eg_str_from(host),
				    .path = EG_STR("/v1/chat?key=planted"),
				    .model = EG_STR("planted")};

	eg_telemetry_record(t, &r);
}

static const struct eg_denial_batch *take(void)
{
	eg_telemetry_flush(t);
	return eg_denials_take(denials);
}

static void equal_ones_are_counted(void **state)
{
	const struct eg_denial_batch *b;

	assert_null(take());
	for (int i = 0; i < 3; i++)
		deny("u1", EG_REASON_MODEL_DENIED, "api.openai.com");
	deny("u1", EG_REASON_NO_ROUTE, "api.openai.com");
	deny("u2", EG_REASON_MODEL_DENIED, "api.openai.com");
	b = take();
	assert_non_null(b);
	assert_int_equal(b->count, 3);
	assert_int_equal(b->lost, 0);
	assert_string_equal(b->item[0].pod_uid, "u1");
	assert_string_equal(b->item[0].host, "api.openai.com");
	assert_string_equal(b->item[0].provider, "openai");
	assert_int_equal(b->item[0].reason, EG_REASON_MODEL_DENIED);
	assert_int_equal(b->item[0].count, 3);
	deny("u3", EG_REASON_MODEL_DENIED, "api.openai.com"); /* while it is read */
	assert_ptr_equal(take(), b);
	assert_int_equal(b->count, 3);
	eg_denials_taken(denials);
	assert_null(eg_denials_take(denials));
	b = take();
	assert_int_equal(b->count, 1);
	assert_string_equal(b->item[0].pod_uid, "u3");
	eg_denials_taken(denials);
	assert_null(take());
}

static void only_what_policy_refused(void **state)
{
	struct eg_record r = {.pod_uid = "u1", .reason = EG_REASON_MODEL_DENIED, .shadow = true};
	static const enum eg_reason others[] = {
		EG_REASON_OK,		EG_REASON_UPSTREAM_STATUS, EG_REASON_CLIENT_CLOSED,
		EG_REASON_OVERLOADED,	EG_REASON_CLIENT_TLS,	   EG_REASON_NO_CREDENTIAL,
		EG_REASON_PASS_THROUGH, EG_REASON_SHADOW,	   EG_REASON_BAD_REQUEST};

	for (size_t i = 0; i < EG_ARRAY_SIZE(others); i++) {
		assert_false(eg_denial_is_told(others[i]));
		deny("u1", others[i], "api.openai.com");
	}
	assert_false(eg_denial_is_told((enum eg_reason)EG_REASON_MAX));
	assert_false(eg_denial_is_told((enum eg_reason) - 1));
	deny(NULL, EG_REASON_MODEL_DENIED, "api.openai.com"); /* of no pod */
	eg_telemetry_record(t, &r);			      /* it was passed on */
	assert_null(take());
	r.reason = EG_REASON_CLIENT_REJECTED_CA;
	eg_telemetry_connection(t, &r);
	assert_int_equal(take()->item[0].reason, EG_REASON_CLIENT_REJECTED_CA);
}

static void what_must_not_be_said_is_not(void **state)
{
	static const char *const hosts[] = {
		"sk-ant-api03-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example.com",
		"x.aaaa1bbbb2cccc3dddd4eeee5ffff6gggg7hhhh8.example.com", "a\1b"};
	char longest[400];
	const struct eg_denial_batch *b;

	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	deny("u1", EG_REASON_NO_ROUTE, hosts[0]);
	deny("u1", EG_REASON_NO_ROUTE, hosts[1]);
	deny("u1", EG_REASON_NO_ROUTE, longest);
	b = take();
	assert_int_equal(b->count, 1);
	assert_string_equal(b->item[0].host, "");
	assert_int_equal(b->item[0].count, 3);
	for (size_t i = 0; i < sizeof(*b); i++) /* nowhere in what another thread reads */
		assert_false(i + 7 < sizeof(*b) && !memcmp((const char *)b + i, "planted", 7));
}

static void one_pod_leaves_room_for_others(void **state)
{
	const struct eg_denial_batch *b;
	char text[32];

	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "h%d.example", i);
		deny("u1", EG_REASON_NO_ROUTE, text);
	}
	deny("u2", EG_REASON_NO_ROUTE, "h.example");
	b = take();
	assert_int_equal(b->count, EG_DENIAL_HOSTS + 2);
	assert_int_equal(b->lost, 0);
	assert_string_equal(b->item[EG_DENIAL_HOSTS].host, "");
	assert_int_equal(b->item[EG_DENIAL_HOSTS].count, 1000 - EG_DENIAL_HOSTS);
	eg_denials_taken(denials);
	for (unsigned int i = 0; i < EG_DENIALS + 5; i++) {
		snprintf(text, sizeof(text), "u%u", i);
		deny(text, EG_REASON_NO_ROUTE, "h.example");
	}
	memset(text, 'u', sizeof(text));
	b = take();
	assert_int_equal(b->count, EG_DENIALS);
	assert_int_equal(b->lost, 5);
	eg_denials_taken(denials);
	deny("a-uid-that-is-longer-than-those-of-pods-are-0123456789-0123456789",
	     EG_REASON_NO_ROUTE, "h.example");
	assert_int_equal(take()->lost, 1);
}

/* ---- two threads ---- */

static atomic_bool over;
static uint64_t seen;

static void *reader(void *context)
{
	bool last = false;

	while (!last) {
		const struct eg_denial_batch *b;

		last = atomic_load(&over);
		b = eg_denials_take(denials);
		if (!b)
			continue;
		for (size_t i = 0; i < b->count; i++)
			seen += b->item[i].count;
		seen += b->lost;
		eg_denials_taken(denials);
		last = false;
	}
	return NULL;
}

static void none_is_lost_between_threads(void **state)
{
	const uint64_t all = 200000;
	pthread_t thread;
	char uid[16];

	atomic_store(&over, false);
	seen = 0;
	assert_int_equal(pthread_create(&thread, NULL, reader, NULL), 0);
	for (uint64_t i = 0; i < all; i++) {
		snprintf(uid, sizeof(uid), "u%u", (unsigned int)(i % 20));
		deny(uid, EG_REASON_NO_ROUTE, "h.example");
		eg_telemetry_flush(t);
	}
	while (denials->batch[denials->filling].count)
		eg_telemetry_flush(t);
	atomic_store(&over, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(seen, all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(equal_ones_are_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(only_what_policy_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(what_must_not_be_said_is_not, setup, teardown),
		cmocka_unit_test_setup_teardown(one_pod_leaves_room_for_others, setup, teardown),
		cmocka_unit_test_setup_teardown(none_is_lost_between_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
