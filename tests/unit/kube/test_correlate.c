/* SPDX-License-Identifier: Apache-2.0 */
/* How few Kubernetes Events become of how many reports, and what they look like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kube/correlate.h"
#include "kube/event_text.h"

#define WALL 1700000000123u /* 2023-11-14T22:13:20.123Z */

static struct kube_correlator c;
static uint64_t now;

static int setup(void **state)
{
	now = 5000;
	kube_correlator_init(&c, 0);
	return 0;
}

static int teardown(void **state)
{
	kube_correlator_fini(&c);
	return 0;
}

static int report(const char *uid, const char *reason, const char *note, uint64_t count)
{
	const struct eg_kube_report r = {
		.namespace_name = "shop",
		.name = "web",
		.uid = uid,
		.reason = reason,
		.action = "Deny",
		.warning = true,
		.note = note,
		.count = count,
	};

	return kube_correlate(&c, &r, now, WALL + now);
}

static void put(const char *uid, const char *note, uint64_t count)
{
	assert_int_equal(report(uid, "PolicyDenied", note, count), 0);
}

static struct kube_series *take(void)
{
	uint64_t wait;

	return kube_correlator_take(&c, now, &wait);
}

static uint64_t wait_ms(void)
{
	uint64_t wait;

	assert_null(kube_correlator_take(&c, now, &wait));
	return wait;
}

static void done(struct kube_series *s, enum kube_written how)
{
	kube_correlator_done(&c, s, how, now);
}

/* Everything that can be written now is. How many writes. */
static size_t drain(void)
{
	struct kube_series *s;
	size_t n = 0;

	while ((s = take())) {
		done(s, KUBE_WRITTEN);
		n++;
	}
	return n;
}

static void equal_reports_are_one_series(void **state)
{
	struct kube_series *s;

	assert_int_equal(wait_ms(), UINT64_MAX);
	put("u1", "no", 3);
	s = take();
	assert_non_null(s);
	assert_false(s->posted);
	assert_int_equal(s->taken, 3);
	put("u1", "no", 4); /* while it is being written */
	done(s, KUBE_WRITTEN);
	assert_int_equal(wait_ms(), KUBE_UPDATE_MS);
	assert_int_equal(kube_correlator_waiting(&c), 1);
	now += KUBE_UPDATE_MS;
	s = take();
	assert_non_null(s);
	assert_true(s->posted);
	assert_int_equal(s->taken, 7);
	done(s, KUBE_WRITTEN);
	assert_int_equal(wait_ms(), UINT64_MAX);
	put("u1", "no", 1);
	assert_int_equal(wait_ms(), 2 * KUBE_UPDATE_MS);
	put("u2", "no", 1); /* another object does not wait */
	assert_int_equal(drain(), 1);
	assert_int_equal(kube_correlator_waiting(&c), 1);
}

static void ten_thousand_are_a_handful(void **state)
{
	size_t writes = 0;

	for (size_t i = 0; i < 10000; i++) {
		put("u1", "no", 1);
		writes += drain();
		now += 6; /* a minute of it */
	}
	assert_in_range(writes, 3, 4);
	now += KUBE_UPDATE_MOST;
	assert_int_equal(drain(), 1);
	assert_int_equal(kube_correlator_waiting(&c), 0);
	assert_int_equal(c.series_count, 1);
}

static void the_tenth_note_begins_the_combined_series(void **state)
{
	char note[32];
	struct kube_series *s;

	for (size_t i = 0; i < 1000; i++) {
		snprintf(note, sizeof(note), "host %zu", i);
		put("u1", note, 1);
	}
	assert_int_equal(c.series_count, KUBE_OWN_NOTES + 1);
	for (size_t i = 0; i < KUBE_OWN_NOTES; i++) {
		s = take();
		assert_false(s->combined);
		assert_int_equal(s->taken, 1);
		done(s, KUBE_WRITTEN);
	}
	s = take();
	assert_true(s->combined);
	assert_int_equal(s->taken, 1000 - KUBE_OWN_NOTES);
	assert_string_equal(s->note, "host 9");
	done(s, KUBE_WRITTEN);
	put("u1", "host 3", 1); /* its own goes on */
	assert_int_equal(c.series_count, KUBE_OWN_NOTES + 1);
	assert_int_equal(report("u1", "CARejected", "another reason", 1), 0);
	assert_int_equal(c.series_count, KUBE_OWN_NOTES + 2);
	/* Notes that are over leave room. */
	now += KUBE_FORGET_MS + KUBE_UPDATE_MOST;
	drain();
	now += KUBE_FORGET_MS;
	put("u1", "new", 1);
	assert_int_equal(c.series_count, 1);
}

static void an_object_has_a_budget(void **state)
{
	static const char *const reasons[] = {"A", "B", "C"};
	char note[32];
	size_t writes;

	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < KUBE_OWN_NOTES; k++) {
			snprintf(note, sizeof(note), "%zu", k);
			assert_int_equal(report("u1", reasons[i], note, 1), 0);
		}
	writes = drain();
	assert_int_equal(writes, KUBE_BURST);
	assert_int_equal(kube_correlator_waiting(&c), 3 * KUBE_OWN_NOTES - KUBE_BURST);
	assert_int_equal(wait_ms(), KUBE_REFILL_MS);
	put("u2", "no", 1);
	assert_int_equal(drain(), 1);
	now += KUBE_REFILL_MS - 1;
	assert_int_equal(drain(), 0);
	now += 1;
	assert_int_equal(drain(), 1);
	now += KUBE_REFILL_MS;
	assert_int_equal(drain(), 1); /* what had to wait is not lost */
	assert_int_equal(kube_correlator_waiting(&c), 0);
	assert_int_equal(c.dropped, 0);
	/* It is remembered though all its series are over: an hour of rest is not 25 more. */
	now += KUBE_FORGET_MS;
	put("u3", "no", 1);
	assert_int_equal(c.subject_count, 2); /* u1 and u3: u2 had spent one only */
}

static void what_fails_is_kept(void **state)
{
	struct kube_series *s;
	char name[KUBE_SERIES_NAME];

	put("u1", "no", 1);
	s = take();
	done(s, KUBE_AGAIN);
	assert_ptr_equal(take(), s);
	strcpy(name, s->name);
	done(s, KUBE_THERE_ALREADY); /* the first time it went through after all */
	assert_true(s->posted);
	assert_int_equal(wait_ms(), UINT64_MAX);
	put("u1", "no", 2);
	assert_ptr_equal(take(), s);
	assert_int_equal(s->taken, 3);
	done(s, KUBE_NOT_THERE);
	assert_false(s->posted);
	assert_string_not_equal(s->name, name);
	assert_ptr_equal(take(), s);
	done(s, KUBE_NOT_TAKEN);
	put("u1", "no", 1);
	assert_int_equal(wait_ms(), KUBE_UPDATE_MOST);
	now += KUBE_UPDATE_MOST;
	assert_ptr_equal(take(), s);
	assert_int_equal(s->taken, 4);
	done(s, KUBE_WRITTEN);
	now += KUBE_FORGET_MS;
	put("u1", "no", 1); /* that one is over */
	s = take();
	assert_false(s->posted);
	assert_int_equal(s->taken, 1);
	done(s, KUBE_WRITTEN);
}

/* Whoever waits longest is written first, also with an API that takes one at a time. */
static void none_is_passed_by(void **state)
{
	struct kube_series *s;

	put("u1", "a", 1);
	put("u1", "b", 1);
	s = take();
	assert_string_equal(s->note, "a");
	done(s, KUBE_WRITTEN);
	now += 60000;
	put("u1", "a", 1);
	s = take();
	assert_string_equal(s->note, "b");
	done(s, KUBE_WRITTEN);
	assert_string_equal(take()->note, "a");
}

static int report_of_node(const char *note)
{
	const struct eg_kube_report r = {.name = "node-1",
					 .uid = "node-1",
					 .reason = "PolicyRefused",
					 .action = "Load",
					 .note = note,
					 .count = 1};

	return kube_correlate(&c, &r, now, WALL + now);
}

static void it_is_bounded(void **state)
{
	char uid[32], note[32];

	for (size_t i = 0; i < KUBE_SUBJECTS_MOST - 1; i++) {
		snprintf(uid, sizeof(uid), "u%zu", i);
		put(uid, "no", 1);
	}
	assert_int_equal(report("one more", "PolicyDenied", "no", 7), -ENOSPC);
	assert_int_equal(c.dropped, 7);
	assert_int_equal(report("u1", "PolicyDenied", "no", 1), 0);
	for (size_t i = 0; i < KUBE_SERIES_MOST; i++) {
		snprintf(uid, sizeof(uid), "u%zu", i % (KUBE_SUBJECTS_MOST - 1));
		snprintf(note, sizeof(note), "note %zu", i);
		(void)!report(uid, "PolicyDenied", note, 1);
	}
	assert_int_equal(c.series_count, KUBE_SERIES_MOST - KUBE_NODE_PLACES);
	assert_int_equal(c.dropped,
			 7 + KUBE_SERIES_MOST -
				 (KUBE_SERIES_MOST - KUBE_NODE_PLACES - (KUBE_SUBJECTS_MOST - 1)));
	/* The node has its place, and does not wait for all these. */
	now++;
	assert_int_equal(report_of_node("refused"), 0);
	assert_string_equal(take()->note, "refused");
	drain();
	now += KUBE_FORGET_MS;
	assert_int_equal(report("one more", "PolicyDenied", "no", 1), 0);
	assert_int_equal(c.series_count, 1);
	assert_int_equal(c.subject_count, 1);
}

/* ---- text ---- */

static struct eg_buf out;

static const char *text(int r)
{
	static char t[8192];

	assert_int_equal(r, 0);
	assert_true(out.length < sizeof(t));
	memcpy(t, eg_buf_data(&out), out.length);
	t[out.length] = '\0';
	eg_buf_clear(&out);
	return t;
}

static void it_is_what_the_api_wants(void **state)
{
	const struct kube_reporter who = {"node-1", "egretd-node-1"};
	struct kube_series *s;

	eg_buf_init(&out, 8192);
	put("u1", "no \"model\"\n\xc3\xa4", 1);
	s = take();
	assert_string_equal(text(kube_event_target(&out, s, false)),
			    "/apis/events.k8s.io/v1/namespaces/shop/events");
	assert_string_equal(
		text(kube_event_create(&out, s, &who)),
		"{\"apiVersion\":\"events.k8s.io/v1\",\"kind\":\"Event\",\"metadata\":{\"name\":"
		"\"web.18bcfe57c0300001\",\"namespace\":\"shop\"},\"eventTime\":"
		"\"2023-11-14T22:13:25.123000Z\",\"type\":\"Warning\",\"reason\":\"PolicyDenied\","
		"\"action\":\"Deny\",\"reportingController\":\"egretd\",\"reportingInstance\":"
		"\"egretd-node-1\",\"regarding\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\","
		"\"namespace\":\"shop\",\"name\":\"web\",\"uid\":\"u1\"},\"note\":"
		"\"no \\\"model\\\" \?\?\"}");
	done(s, KUBE_WRITTEN);
	now += KUBE_UPDATE_MS;
	put("u1", "no \"model\"\n\xc3\xa4", 4);
	s = take();
	assert_string_equal(text(kube_event_target(&out, s, true)),
			    "/apis/events.k8s.io/v1/namespaces/shop/events/web.18bcfe57c0300001");
	assert_string_equal(text(kube_event_update(&out, s)),
			    "{\"series\":{\"count\":5,\"lastObservedTime\":"
			    "\"2023-11-14T22:13:35.123000Z\"}}");
	done(s, KUBE_NOT_THERE);
	s = take();
	assert_non_null(strstr(text(kube_event_create(&out, s, &who)),
			       "\"series\":{\"count\":5,\"lastObservedTime\":"));
	eg_buf_fini(&out);
}

static void a_node_is_reported_as_the_kubelet_does(void **state)
{
	const struct kube_reporter who = {"node-1", "egretd-node-1"};
	const struct eg_kube_report r = {.name = "node-1",
					 .uid = "node-1",
					 .reason = "PolicyApplied",
					 .action = "Apply",
					 .note = "it is in force",
					 .count = 1};
	struct kube_series *s;
	const char *t;

	eg_buf_init(&out, 8192);
	assert_int_equal(kube_correlate(&c, &r, now, WALL), 0);
	s = take();
	assert_string_equal(text(kube_event_target(&out, s, false)),
			    "/apis/events.k8s.io/v1/namespaces/default/events");
	t = text(kube_event_create(&out, s, &who));
	assert_non_null(strstr(t, "\"regarding\":{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":"
				  "\"node-1\",\"uid\":\"node-1\"}"));
	assert_non_null(strstr(t, "\"type\":\"Normal\""));
	eg_buf_fini(&out);
}

/* The longest of all that the API limits. */
static void nothing_is_too_long(void **state)
{
	char long_name[254], long_note[4000], *note, *end;
	const struct eg_kube_report r = {.namespace_name = "shop",
					 .name = long_name,
					 .uid = "u",
					 .reason = "PolicyDenied",
					 .action = "Deny",
					 .note = long_note,
					 .count = 12345};
	struct kube_reporter who = {"n", long_note};
	struct kube_series *s;
	const char *t;

	memset(long_name, 'a', sizeof(long_name));
	long_name[235] = '.';
	long_name[253] = '\0';
	memset(long_note, 'x', sizeof(long_note));
	long_note[sizeof(long_note) - 1] = '\0';
	eg_buf_init(&out, 8192);
	assert_int_equal(kube_correlate(&c, &r, now, WALL), 0);
	s = take();
	assert_true(strlen(s->name) <= 253);
	assert_null(strstr(s->name, ".."));
	t = text(kube_event_create(&out, s, &who));
	note = strstr(t, "\"note\":\"") + 8;
	end = strchr(note, '"');
	assert_int_equal(end - note, KUBE_NOTE_BYTES);
	assert_non_null(strstr(note, " (12345 times so far)\""));
	note = strstr(t, "\"reportingInstance\":\"") + 21;
	assert_int_equal(strchr(note, '"') - note, KUBE_INSTANCE_BYTES);
	eg_buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(equal_reports_are_one_series, setup, teardown),
		cmocka_unit_test_setup_teardown(ten_thousand_are_a_handful, setup, teardown),
		cmocka_unit_test_setup_teardown(the_tenth_note_begins_the_combined_series, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_object_has_a_budget, setup, teardown),
		cmocka_unit_test_setup_teardown(what_fails_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(none_is_passed_by, setup, teardown),
		cmocka_unit_test_setup_teardown(it_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(it_is_what_the_api_wants, setup, teardown),
		cmocka_unit_test_setup_teardown(a_node_is_reported_as_the_kubelet_does, setup,
						teardown),
		cmocka_unit_test_setup_teardown(nothing_is_too_long, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
