/* SPDX-License-Identifier: Apache-2.0 */
/* The room kube when memory runs out at every place it can. */
#include "fault.h"

#include "../unit/net/certs.h" /* needs cmocka */
#include "kube/event_text.h"
#include "kube/kube_impl.h"

static const char *const lines[] = {
	"{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"namespace\":\"s\",\"uid\":"
	"\"u\",\"resourceVersion\":\"1\",\"labels\":{\"app\":\"x\",\"b\":\"y\"}},\"spec\":{"
	"\"nodeName\":\"n\",\"serviceAccountName\":\"r\"},\"status\":{\"phase\":\"Running\"}}}",
	"{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"2\"}}}",
	"{\"type\":\"ERROR\",\"object\":{\"message\":\"no\",\"code\":410}}",
	"{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"3\"},"
	"\"x\":\"\xff\"}}", /* malformed: it is named by other means */
};

/* A line that could not be read for want of memory is never taken for one that is wrong. */
static int events(void)
{
	int failed = 0;

	for (size_t i = 0; i < EG_ARRAY_SIZE(lines); i++) {
		struct kube_event e;
		int r = kube_event_read(KUBE_PODS, "n", eg_str_from(lines[i]), &e);

		if (r == -ENOMEM)
			failed++;
		else
			assert_int_equal(r, i == 3 ? -EINVAL : 0);
		if (i == 3 && r != -ENOMEM)
			assert_string_equal(e.whose, "u");
		kube_event_fini(&e);
	}
	return failed ? -ENOMEM : 0;
}

static int cut(void)
{
	struct kube_event e;
	int r = kube_cut_read(KUBE_PODS, eg_str_from(lines[0]), &e);

	if (r)
		assert_int_equal(r, -ENOMEM);
	else
		assert_string_equal(e.whose, "u");
	kube_event_fini(&e);
	return r;
}

static int list(void)
{
	struct kube_list l;
	int r = kube_list_read(
		EG_STR("{\"metadata\":{\"resourceVersion\":\"8\",\"continue\":\"c\"},"
		       "\"items\":[]}"),
		&l);

	if (r)
		assert_int_equal(r, -ENOMEM);
	else
		assert_string_equal(l.go_on, "c");
	return r;
}

static void test_objects(void **state)
{
	fault_each(events);
	fault_each(cut);
	fault_each(list);
}

static int note(void *ctx, struct eg_str text, bool was_cut)
{
	size_t *count = ctx;

	(*count)++;
	return 0;
}

static int pieces(void)
{
	static const char text[] = "{\"metadata\":{},\"items\":[{\"a\":1},{\"b\":2}]}";
	struct kube_split s;
	size_t count = 0;
	int r;

	kube_split_init(&s, true, note, &count);
	r = kube_split_feed(&s, EG_STR(text));
	if (!r)
		r = kube_split_end(&s);
	kube_split_fini(&s);
	if (r)
		assert_int_equal(r, -ENOMEM);
	else
		assert_int_equal(count, 2);
	if (r)
		return r;
	kube_split_init(&s, false, note, &count);
	r = kube_split_feed(&s, EG_STR("a\nb\nc"));
	if (!r)
		r = kube_split_end(&s);
	kube_split_fini(&s);
	if (r)
		assert_int_equal(r, -ENOMEM);
	else
		assert_int_equal(count, 5);
	return r;
}

static void test_split(void **state)
{
	fault_each(pieces);
}

static int fill(struct kube_store *s, const char *label)
{
	int failed = 0;

	for (size_t i = 0; i < 200; i++) {
		struct kube_event e = {.version = ""};
		struct eg_kube_pod former = {0};
		bool changed = false, known;
		char uid[8];
		int r;

		snprintf(uid, sizeof(uid), "%zu", i);
		known = kube_store_find(s, uid);
		if (known)
			former = *kube_store_find(s, uid);
		e.labels[0] = (struct eg_label){"app", label};
		e.object.identity = (struct eg_identity){.uid = uid,
							 .name = "a",
							 .namespace_name = "s",
							 .service_account = "",
							 .labels = e.labels,
							 .label_count = 1};
		r = kube_store_put(s, &e, &changed);
		if (!r)
			continue;
		assert_int_equal(r, -ENOMEM); /* all is as before */
		assert_false(changed);
		assert_int_equal(kube_store_find(s, uid) != NULL, known);
		if (known)
			assert_ptr_equal(kube_store_find(s, uid)->identity.labels,
					 former.identity.labels);
		failed++;
	}
	return failed;
}

static int store(void)
{
	struct kube_store s;
	int failed;

	kube_store_init(&s, KUBE_PODS);
	failed = fill(&s, "x");
	failed += fill(&s, "y");
	kube_store_fini(&s);
	return failed ? -ENOMEM : 0;
}

static void test_store(void **state)
{
	fault_each(store);
}

/* ---- the whole ---- */

static char token_file[] = "/tmp/egret-kube-token-XXXXXX", ca_file[] = "/tmp/egret-kube-ca-XXXXXX";

static void make_files(void)
{
	struct made ca = make_cert("fake cluster", NULL, NULL, -3600, 3600);
	int token = mkstemp(token_file), pem = mkstemp(ca_file);
	struct eg_buf b;

	assert_true(token >= 0 && pem >= 0);
	eg_buf_init(&b, 1 << 16);
	cert_pem(&b, ca.cert);
	assert_int_equal(write(token, "tok\n", 4), 4);
	assert_int_equal(write(pem, eg_buf_data(&b), b.length), b.length);
	eg_buf_fini(&b);
	unmake(&ca);
	close(token);
	close(pem);
}

static void nothing_changed(void *context)
{
	fail_msg("nobody answers, and something changed");
}

static void heard(void *context, bool bad, const char *sentence)
{
	assert_true(bad && *sentence);
}

/* Whatever it had no memory for, it tries again when there is some. */
static int tries(void)
{
	const struct eg_kube_options options = {.host = "127.0.0.1",
						.port = 1, /* nobody listens there */
						.node_name = "n",
						.token_file = token_file,
						.ca_file = ca_file,
						.events = true};
	const struct eg_kube_report report = {
		.reason = "PolicyRefused", .action = "LoadPolicy", .note = "no", .count = 1};
	const struct eg_kube_calls calls = {nothing_changed, heard, NULL};
	struct kube_times times = kube_times;
	struct eg_loop *l = eg_loop_create();
	struct eg_kube_events_status events;
	struct eg_kube_status before, now;
	struct eg_kube *k = NULL;
	uint64_t failures;
	int r;

	times.first_ms = 1;
	times.most_ms = 2;
	if (!l)
		return -ENOMEM;
	r = kube_open(l, &options, &calls, &times, &k, NULL);
	if (r) {
		assert_int_equal(r, -ENOMEM);
		assert_null(k);
		eg_loop_destroy(l);
		return r;
	}
	eg_kube_report(k, &report);
	for (int i = 0; i < 8; i++)
		assert_int_equal(eg_loop_turn(l, 2), 0);
	(void)fault_disarm();
	eg_kube_report(k, &report);
	eg_kube_events_status(k, &events);
	assert_int_equal(events.waiting, 1);
	assert_true(events.dropped <= 1); /* the first */
	failures = events.failures;
	eg_kube_status(k, &before);
	for (int kind = 0; kind < 2; kind++) { /* each of the two */
		unsigned int had = k->watches[kind].tries;

		for (int i = 0; k->watches[kind].tries < had + 2; i++) {
			assert_true(i < 5000);
			assert_int_equal(eg_loop_turn(l, 2), 0);
		}
	}
	eg_kube_status(k, &now);
	assert_true(now.failures >= before.failures + 4);
	assert_non_null(strstr(now.error, "can't be reached"));
	for (int i = 0; events.failures < failures + 2; i++) {
		assert_true(i < 5000);
		assert_int_equal(eg_loop_turn(l, 2), 0);
		eg_kube_events_status(k, &events);
	}
	assert_int_equal(events.waiting, 1);
	assert_non_null(strstr(events.error, "can't be reached"));
	eg_kube_close(k);
	for (int i = 0; i < 3; i++)
		assert_int_equal(eg_loop_turn(l, 0), 0);
	eg_loop_destroy(l);
	return 0;
}

/* What could not be kept is counted, and of what is there nothing is lost. */
static int correlated(void)
{
	static const char *const notes[] = {"a", "b", "a"};
	struct eg_kube_report report = {.namespace_name = "s",
					.name = "web",
					.uid = "u",
					.reason = "PolicyDenied",
					.action = "Deny",
					.count = 1};
	const struct kube_reporter who = {"n", "egretd-n"};
	struct kube_correlator c;
	struct kube_series *s;
	uint64_t sum = 0, wait;
	int failed = 0;

	kube_correlator_init(&c, 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(notes); i++) {
		int r;

		report.note = notes[i];
		r = kube_correlate(&c, &report, 1000, 1000);
		if (r)
			assert_int_equal(r, -ENOMEM);
		failed += r != 0;
	}
	assert_int_equal(c.dropped, failed);
	while ((s = kube_correlator_take(&c, 1000, &wait))) {
		struct eg_buf out;
		int r;

		eg_buf_init(&out, 8192);
		r = kube_event_create(&out, s, &who);
		if (r)
			assert_int_equal(r, -ENOMEM);
		failed += r != 0;
		eg_buf_fini(&out);
		sum += s->taken;
		kube_correlator_done(&c, s, KUBE_WRITTEN, 1000);
	}
	assert_int_equal(sum + c.dropped, EG_ARRAY_SIZE(notes));
	kube_correlator_fini(&c);
	return failed ? -ENOMEM : 0;
}

static void test_correlated(void **state)
{
	fault_each(correlated);
}

static void test_watches(void **state)
{
	make_files();
	fault_each(tries);
	unlink(token_file);
	unlink(ca_file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_objects), cmocka_unit_test(test_split),
		cmocka_unit_test(test_store),	cmocka_unit_test(test_correlated),
		cmocka_unit_test(test_watches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
