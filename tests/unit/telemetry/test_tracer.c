/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that somebody watches: who gets which, what is bounded, what is counted, what is never
 * in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "telemetry/telemetry.h"
#include "telemetry/tracer.h"

static struct eg_tracer tracer;
static struct eg_telemetry *t;
static atomic_uint woken;

static void wake(void *ctx)
{
	atomic_fetch_add((atomic_uint *)ctx, 1);
}

static int setup(void **state)
{
	eg_tracer_init(&tracer, wake, &woken);
	t = eg_telemetry_create("test", NULL);
	assert_non_null(t);
	eg_telemetry_trace(t, &tracer);
	assert_ptr_equal(eg_telemetry_tracer(t), &tracer);
	return 0;
}

static int teardown(void **state)
{
	eg_telemetry_destroy(t);
	eg_tracer_fini(&tracer);
	return 0;
}

static void watch(uint32_t place, uint32_t epoch, const char *pod, const char *host)
{
	struct eg_trace_filter f = {.pod = ""};

	eg_str_copy(f.pod, sizeof(f.pod), eg_str_from(pod));
	eg_str_copy(f.host, sizeof(f.host), eg_str_from(host));
	eg_tracer_watch(&tracer, place, epoch, &f);
}

static void step(struct eg_traced *d, const char *what, const char *format, ...) EG_PRINTF(3, 4);
static void step(struct eg_traced *d, const char *what, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	eg_traced_step(d, 7, what, EG_REASON_OK, format, ap);
	va_end(ap);
}

static const struct eg_record *record_to(const char *host)
{
	static _Thread_local struct eg_record r;

	r = (struct eg_record){.request_id = "0123",
			       .pod_namespace = "shop",
			       .pod_name = "a",
			       .server_name = eg_str_from(host)};
	return &r;
}

/* The next one, as it is read; NULL: none. */
static json_t *next(struct eg_trace_head *head)
{
	struct eg_buf out;
	json_t *record = NULL;

	eg_buf_init(&out, EG_TRACE_RECORD);
	if (eg_tracer_take(&tracer, head, &out)) {
		assert_int_equal(head->bytes, out.length);
		record = json_loadb(eg_buf_data(&out), out.length, 0, NULL);
		assert_non_null(record);
	}
	eg_buf_fini(&out);
	return record;
}

static uint32_t places_of(const char *pod_namespace, const char *name, const char *host)
{
	struct eg_traced *d = eg_traced_begin(&tracer, pod_namespace, name);
	uint32_t places = 0;

	if (d && eg_traced_wanted(&tracer, d, eg_str_from(host)))
		places = d->places;
	eg_traced_end(d);
	return places;
}

static void who_watches_gets_it(void **state)
{
	assert_false(eg_tracer_on(NULL));
	assert_false(eg_tracer_on(&tracer));
	assert_int_equal(places_of("shop", "a", "h"), 0);
	watch(0, 1, "", "");
	watch(1, 2, "shop/a", "");
	watch(3, 3, "shop/a", "api.openai.com");
	assert_true(eg_tracer_on(&tracer));
	assert_int_equal(places_of("shop", "a", "API.openai.com"), 1 | 2 | 8);
	assert_int_equal(places_of("shop", "a", "other"), 1 | 2);
	assert_int_equal(places_of("shop", "ab", "other"), 1);
	assert_int_equal(places_of("sho", "p/a", "other"), 1);
	assert_int_equal(places_of("", "shop/a", "other"), 1);
	assert_int_equal(places_of(NULL, NULL, "other"), 1);
	eg_tracer_watch(&tracer, 0, 4, NULL);
	assert_int_equal(places_of(NULL, NULL, "other"), 0);
	eg_tracer_watch(&tracer, EG_TRACERS, 5, NULL); /* no place */
	eg_tracer_watch(&tracer, 1, 6, NULL);
	eg_tracer_watch(&tracer, 3, 7, NULL);
	assert_false(eg_tracer_on(&tracer));
}

static void a_record_with_its_steps(void **state)
{
	struct eg_trace_head head;
	struct eg_traced *d;
	json_t *record, *steps;

	watch(2, 9, "shop/a", "");
	d = eg_traced_begin(&tracer, "shop", "a");
	assert_non_null(d);
	step(d, "policy", "decided before the body was read");
	eg_traced_again(d);
	step(d, "policy", "prod \"%s\"", "\x1b[31m\n");
	step(d, "route", "with sk-proj-plantedplantedplantedplanted0123456789");
	watch(1, 10, "", ""); /* later: not its */
	eg_telemetry_traced(t, record_to("h"), false, d);
	eg_traced_end(d);
	assert_int_equal(woken, 1);
	record = next(&head);
	assert_non_null(record);
	assert_int_equal(head.places, 4);
	assert_int_equal(head.epoch, 9);
	assert_string_equal(json_string_value(json_object_get(record, "type")), "request");
	assert_string_equal(json_string_value(json_object_get(record, "request_id")), "0123");
	steps = json_object_get(record, "steps");
	assert_int_equal(json_array_size(steps), 2);
	assert_string_equal(json_string_value(json_object_get(json_array_get(steps, 0), "text")),
			    "prod \"\x1b[31m\n\"");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(steps, 0), "ms")), 7);
	assert_string_equal(json_string_value(json_object_get(json_array_get(steps, 1), "text")),
			    "with [redacted]");
	json_decref(record);
	assert_null(next(&head));
}

static void who_has_left_gets_nothing(void **state)
{
	struct eg_traced *d;
	struct eg_trace_head head;

	watch(0, 1, "", "");
	d = eg_traced_begin(&tracer, "shop", "a");
	eg_tracer_watch(&tracer, 0, 2, NULL);
	eg_telemetry_traced(t, record_to("h"), false, d);
	eg_traced_end(d);
	assert_null(next(&head));
	/* Nor what was waiting. */
	watch(0, 3, "", "");
	d = eg_traced_begin(&tracer, "shop", "a");
	eg_telemetry_traced(t, record_to("h"), true, d);
	eg_traced_end(d);
	eg_tracer_watch(&tracer, 0, 4, NULL);
	assert_null(next(&head));
	assert_null(tracer.waiting.p);
}

static void steps_are_bounded(void **state)
{
	struct eg_trace_head head;
	struct eg_traced *d;
	json_t *record;

	watch(0, 1, "", "");
	d = eg_traced_begin(&tracer, "shop", "a");
	for (int i = 0; i < 1000; i++)
		step(d, "target", "%0400d", i);
	assert_true(d->steps.length <= EG_TRACE_STEPS);
	eg_telemetry_traced(t, record_to("h"), false, d);
	eg_traced_end(d);
	record = next(&head);
	assert_true(json_is_true(json_object_get(record, "steps_cut")));
	assert_in_range(json_array_size(json_object_get(record, "steps")), 10, 100);
	json_decref(record);
}

static void what_waits_is_bounded_and_counted(void **state)
{
	struct eg_trace_head head;
	unsigned int given = 0, taken = 0;
	json_t *record;

	watch(0, 1, "", "");
	watch(1, 2, "", "");
	for (; given < 5000; given++) {
		struct eg_traced *d = eg_traced_begin(&tracer, "shop", "a");

		for (int i = 0; i < 10; i++)
			step(d, "target", "%0300d", i);
		eg_telemetry_traced(t, record_to("h"), false, d);
		eg_traced_end(d);
	}
	assert_true(tracer.waiting.length <= EG_TRACE_WAIT);
	for (; (record = next(&head)); taken++)
		json_decref(record);
	assert_in_range(taken, 100, 4000);
	assert_int_equal(eg_tracer_lost(&tracer, 0), given - taken);
	assert_int_equal(eg_tracer_lost(&tracer, 0), 0);
	assert_int_equal(eg_tracer_lost(&tracer, 1), given - taken);
	assert_int_equal(eg_tracer_lost(&tracer, 2), 0);
}

#define THREADS 4
#define EACH	500

static void *work(void *argument)
{
	for (int i = 0; i < EACH; i++) {
		struct eg_traced *d =
			eg_tracer_on(&tracer) ? eg_traced_begin(&tracer, "shop", "a") : NULL;

		if (!d)
			continue;
		step(d, "policy", "%d", i);
		eg_telemetry_traced(t, record_to("h"), false, d);
		eg_traced_end(d);
	}
	return argument;
}

/* For a thread sanitizer, too. */
static void many_workers_and_watchers_that_change(void **state)
{
	struct eg_trace_head head;
	pthread_t thread[THREADS];
	uint32_t epoch = 1;
	json_t *record;

	watch(0, epoch, "", "");
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, work, NULL), 0);
	for (int i = 0; i < 200; i++) {
		if (i % 2)
			watch(1, ++epoch, "shop/a", "");
		else
			eg_tracer_watch(&tracer, 1, ++epoch, NULL);
		while ((record = next(&head))) {
			assert_int_equal(head.places & 1, 1);
			json_decref(record);
		}
	}
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_watches_gets_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_record_with_its_steps, setup, teardown),
		cmocka_unit_test_setup_teardown(who_has_left_gets_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(steps_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(what_waits_is_bounded_and_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(many_workers_and_watchers_that_change, setup,
						teardown),
	};

	return cmocka_run_group_tests_name("tracer", tests, NULL, NULL);
}
