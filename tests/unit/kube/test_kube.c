/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two watches against an API server that does what one does, and what one should not. Times are
 * short and only ever waited for; nothing here asserts how long anything took.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fake_api.h"
#include "kube/kube_impl.h"
#include "kube_data.h"

static const struct kube_times quick = {
	.head_ms = 3000,
	.refusal_ms = 300,
	.silence_ms = 60000,
	.list_ms = 60000,
	.first_ms = 2,
	.most_ms = 8,
	.well_ms = 10,
	.watch_s = 300,
};

static struct eg_loop *loop;
static struct api api;
static struct eg_kube *kube;
static struct eg_kube_options options;
static struct kube_times times;
static char dir[64], token_file[96], ca_file[96];

/* ---- what was told ---- */

static size_t changes, turns, sentences_bad, sentences_good;
static char last_bad[1024], last_good[1024];
static size_t turn_of_change;
static bool close_in_changed, close_in_said;

static void on_changed(void *context)
{
	assert_ptr_equal(context, &api);
	assert_int_not_equal(turn_of_change, turns + 1); /* once a turn */
	turn_of_change = turns + 1;
	changes++;
	if (close_in_changed) {
		eg_kube_close(kube);
		kube = NULL;
	}
}

static void on_said(void *context, bool bad, const char *sentence)
{
	assert_ptr_equal(context, &api);
	assert_null(strpbrk(sentence, "\r\n\x1b"));
	assert_null(strstr(sentence, "tok-"));
	snprintf(bad ? last_bad : last_good, sizeof(last_bad), "%s", sentence);
	sentences_bad += bad;
	sentences_good += !bad;
	if (close_in_said) {
		eg_kube_close(kube);
		kube = NULL;
	}
}

static const struct eg_kube_calls calls = {on_changed, on_said, &api};

/* ---- files, turns ---- */

static void write_file(const char *path, const char *bytes, size_t n)
{
	char temporary[128];
	FILE *f;

	snprintf(temporary, sizeof(temporary), "%s.new", path);
	f = fopen(temporary, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	fclose(f);
	assert_int_equal(rename(temporary, path), 0);
}

static void write_token(const char *token)
{
	write_file(token_file, token, strlen(token));
}

static void write_ca(const struct made *ca)
{
	struct eg_buf pem;

	eg_buf_init(&pem, 1 << 16);
	cert_pem(&pem, ca->cert);
	write_file(ca_file, eg_buf_data(&pem), pem.length);
	eg_buf_fini(&pem);
}

static void turn(int ms)
{
	assert_int_equal(eg_loop_turn(loop, ms), 0);
	turns++;
}

#define until(condition)                                                       \
	do {                                                                   \
		uint64_t end_ = eg_now_ms() + 120000;                          \
		while (!(condition)) {                                         \
			if (eg_now_ms() > end_)                                \
				fail_msg("never became true: %s", #condition); \
			turn(5);                                               \
		}                                                              \
	} while (0)

static void some_turns(int n)
{
	for (int i = 0; i < n; i++)
		turn(1);
}

static struct eg_kube_status status(void)
{
	struct eg_kube_status s;

	eg_kube_status(kube, &s);
	return s;
}

static const char *label_of(const char *uid)
{
	const struct eg_kube_pod *p = eg_kube_pod(kube, uid);

	return !p ? "none" : p->identity.label_count ? p->identity.labels[0].value : "";
}

/* "a=x b=y ": the uid and the label of each pod. */
static const char *pods(void)
{
	static char text[512];
	size_t count, n = 0;
	const struct eg_kube_pod *const *p = eg_kube_pods(kube, &count);

	text[0] = '\0';
	for (size_t i = 0; i < count; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s=%s ", p[i]->identity.uid,
				      label_of(p[i]->identity.uid));
	return text;
}

static const char *namespace_label(const char *name)
{
	const struct eg_label *labels;
	size_t count;

	if (!eg_kube_namespace_labels(kube, name, &labels, &count))
		return "none";
	return count ? labels[0].value : "";
}

/* ---- what the server says ---- */

#define META(name, uid, version, label)                                \
	"{\"name\":\"" name "\",\"namespace\":\"shop\",\"uid\":\"" uid \
	"\",\"resourceVersion\":\"" version "\",\"labels\":{\"app\":\"" label "\"}}"
#define POD_OBJECT(uid, version, label)                  \
	"{\"metadata\":" META(                           \
		"p-" uid, uid, version,                  \
		label) ",\"spec\":{\"nodeName\":\"n1\"," \
		       "\"serviceAccountName\":\"robot\"},\"status\":{\"phase\":\"Running\"}}"
#define EVENT(type, object)			"{\"type\":\"" type "\",\"object\":" object "}"
#define POD(type, uid, version, label)		EVENT(type, POD_OBJECT(uid, version, label))
#define SPACE_OBJECT(name, uid, version, label) "{\"metadata\":" META(name, uid, version, label) "}"
#define SPACE(type, name, uid, version, label)	EVENT(type, SPACE_OBJECT(name, uid, version, label))
#define MARK(version) \
	"{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" version "\"}}}"
#define ENDMARK(version)                                                                  \
	"{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"" version \
	"\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}"
#define EXPIRED                                                                        \
	"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"message\":\"too old\"," \
	"\"reason\":\"Expired\",\"code\":410}}"

static bool initial(const struct api_conn *c)
{
	return strstr(c->target, "&sendInitialEvents=true") != NULL;
}

static const char *listed_pods[6]; /* lines before the end mark */
static const char *list_mark;

/* What a good one does. */
static void answer_well(struct api *a, struct api_conn *c)
{
	api_say(c, API_OK);
	if (!initial(c))
		return;
	if (!c->pods)
		api_line(c, SPACE("ADDED", "shop", "n1", "3", "blue"));
	for (size_t i = 0; c->pods && listed_pods[i]; i++)
		api_line(c, listed_pods[i]);
	api_line(c, c->pods ? list_mark : ENDMARK("100"));
}

/* What the next so many requests for pods get. */
static void (*special)(struct api_conn *c);
static int special_count;

static void answer(struct api *a, struct api_conn *c)
{
	if (special && special_count && c->pods) {
		special_count--;
		special(c);
		return;
	}
	answer_well(a, c);
}

static void next_gets(void (*what)(struct api_conn *c), int count)
{
	special = what;
	special_count = count;
}

static struct api_conn *watch_of(bool of_pods)
{
	struct api_conn *c = api_watch(&api, of_pods);

	if (c)
		return c;
	fail_msg("nobody watches");
	abort();
}

static struct api_conn *pod_watch(void)
{
	return watch_of(true);
}

static struct api_conn *namespace_watch(void)
{
	return watch_of(false);
}

static bool another_watch(const struct api_conn *than)
{
	const struct api_conn *c = api_watch(&api, true);

	return c && c != than;
}

/* ---- begin and end ---- */

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/egret-kube-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(token_file, sizeof(token_file), "%s/token", dir);
	snprintf(ca_file, sizeof(ca_file), "%s/ca.crt", dir);
	loop = eg_loop_create();
	assert_non_null(loop);
	api_start(&api, loop, answer);
	write_token("tok-1\n");
	write_ca(&api.ca);
	kube = NULL;
	times = quick;
	options = (struct eg_kube_options){.host = "127.0.0.1",
					   .port = api.port,
					   .node_name = "n1",
					   .token_file = token_file,
					   .ca_file = ca_file};
	changes = turns = sentences_bad = sentences_good = turn_of_change = 0;
	last_bad[0] = last_good[0] = '\0';
	close_in_changed = close_in_said = false;
	memset(listed_pods, 0, sizeof(listed_pods));
	listed_pods[0] = POD("ADDED", "a", "10", "x");
	listed_pods[1] = POD("ADDED", "b", "20", "y");
	list_mark = ENDMARK("100");
	next_gets(NULL, 0);
	return 0;
}

static int teardown(void **state)
{
	eg_kube_close(kube);
	api_stop(&api);
	some_turns(3);
	eg_loop_destroy(loop);
	(void)unlink(token_file);
	(void)unlink(ca_file);
	rmdir(dir);
	return 0;
}

static void begin(void)
{
	struct eg_error e = {""};

	assert_int_equal(kube_open(loop, &options, &calls, &times, &kube, &e), 0);
}

static void begin_synced(void)
{
	begin();
	until(status().synced && status().current);
	some_turns(2);
}

/* ---- as it should be ---- */

static void both_are_known(void **state)
{
	struct eg_kube_status s;
	const struct eg_kube_pod *p;

	begin();
	s = status();
	assert_false(s.synced || s.current);
	assert_int_equal(s.heard_ms, 0);
	assert_true(*s.error);
	assert_int_equal(changes, 0);
	until(status().synced && status().current);
	some_turns(2);
	assert_string_equal(pods(), "a=x b=y ");
	p = eg_kube_pod(kube, "a");
	assert_string_equal(p->identity.name, "p-a");
	assert_string_equal(p->identity.namespace_name, "shop");
	assert_string_equal(p->identity.service_account, "robot");
	assert_string_equal(namespace_label("shop"), "blue");
	assert_string_equal(namespace_label("other"), "none");
	s = status();
	assert_true(s.synced && s.current && s.heard_ms);
	assert_int_equal(s.failures + s.passed_over, 0);
	assert_string_equal(s.error, "");
	assert_true(changes > 0);
	assert_int_equal(sentences_bad + sentences_good, 0);
}

static void what_is_asked_for(void **state)
{
	struct api_conn *c;
	char where[32];

	begin_synced();
	c = pod_watch();
	snprintf(where, sizeof(where), "127.0.0.1:%u", api.port);
	assert_string_equal(c->token, "tok-1");
	assert_string_equal(c->host, where);
	assert_int_equal(
		strncmp(c->target,
			"/api/v1/"
			"pods?fieldSelector=spec.nodeName%3Dn1&watch=1&allowWatchBookmarks=true"
			"&timeoutSeconds=",
			92),
		0);
	assert_non_null(
		strstr(c->target, "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"));
	assert_null(strstr(c->target, "resourceVersion="));
	c = namespace_watch();
	assert_int_equal(strncmp(c->target, "/api/v1/namespaces?watch=1&", 27), 0);
	assert_null(strstr(c->target, "fieldSelector"));
	assert_int_equal(api.requests, 2);
}

static void a_cluster_with_nothing_is_whole_too(void **state)
{
	listed_pods[0] = NULL;
	begin_synced();
	assert_true(changes > 0);
	assert_string_equal(pods(), "");
}

static void changes_come_as_they_are(void **state)
{
	size_t before;

	begin_synced();
	api_line(pod_watch(), POD("ADDED", "c", "101", "z"));
	until(!strcmp(pods(), "a=x b=y c=z "));
	api_line(pod_watch(), POD("MODIFIED", "a", "102", "w"));
	until(!strcmp(pods(), "a=w b=y c=z "));
	api_line(pod_watch(), POD("DELETED", "b", "103", "y"));
	until(!strcmp(pods(), "a=w c=z "));
	some_turns(3);
	before = changes;
	api_line(pod_watch(), POD("MODIFIED", "a", "104", "w")); /* only what is not kept */
	api_line(pod_watch(), MARK("105"));
	some_turns(20);
	assert_int_equal(changes, before);
	api_line(namespace_watch(), SPACE("MODIFIED", "shop", "n1", "106", "green"));
	until(!strcmp(namespace_label("shop"), "green"));
	api_line(namespace_watch(), SPACE("DELETED", "shop", "n1", "107", "green"));
	until(!strcmp(namespace_label("shop"), "none"));
	assert_int_equal(sentences_bad + sentences_good, 0);
}

static void being_deleted_is_not_gone(void **state)
{
	begin_synced();
	api_line(pod_watch(), "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"p-a\","
			      "\"namespace\":\"shop\",\"uid\":\"a\",\"resourceVersion\":\"101\","
			      "\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"labels\":{\"app\":"
			      "\"v\"}},\"spec\":{\"nodeName\":\"n1\"},\"status\":{\"phase\":"
			      "\"Succeeded\"}}}");
	until(!strcmp(pods(), "a=v b=y "));
	assert_true(eg_kube_pod(kube, "a")->finished);
	assert_false(eg_kube_pod(kube, "b")->finished);
}

static void a_name_used_again_is_another_pod(void **state)
{
	begin_synced();
	api_line(pod_watch(),
		 EVENT("ADDED", "{\"metadata\":" META("p-a", "a2", "101",
						      "new") ","
							     "\"spec\":{\"nodeName\":\"n1\"}}"));
	until(!strcmp(pods(), "a=x a2=new b=y "));
	api_line(pod_watch(), POD("DELETED", "a", "102", "x"));
	until(!strcmp(pods(), "a2=new b=y "));
}

static void pods_of_other_nodes_are_passed_over(void **state)
{
	listed_pods[2] =
		EVENT("ADDED",
		      "{\"metadata\":" META("q", "q", "30", "z") ","
								 "\"spec\":{\"nodeName\":\"n2\"}}");
	begin_synced();
	assert_string_equal(pods(), "a=x b=y ");
	assert_int_equal(status().passed_over, 0);
}

static void many_changes_are_one_call(void **state)
{
	struct eg_buf all;
	size_t before;

	begin_synced();
	eg_buf_init(&all, 1 << 20);
	for (int i = 0; i < 100; i++)
		assert_int_equal(
			eg_buf_printf(&all,
				      "{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{"
				      "\"name\":\"n\",\"namespace\":\"s\",\"uid\":\"a\","
				      "\"labels\":{\"app\":\"%d\"}},\"spec\":{\"nodeName\":"
				      "\"n1\"}}}\n",
				      i),
			0);
	assert_int_equal(eg_buf_append(&all, "", 1), 0);
	before = changes;
	api_line(pod_watch(), eg_buf_data(&all));
	until(!strcmp(label_of("a"), "99"));
	some_turns(2);
	assert_true(changes - before <= 3); /* of records, not of lines */
	eg_buf_fini(&all);
}

/* ---- breaks ---- */

static void resumes_where_it_was(void **state)
{
	struct api_conn *c;

	begin_synced();
	c = pod_watch();
	api_line(c, POD("MODIFIED", "a", "150", "w"));
	until(!strcmp(label_of("a"), "w"));
	api_reset(c);
	until(another_watch(c));
	c = pod_watch();
	assert_non_null(strstr(c->target, "&resourceVersion=150"));
	assert_null(strstr(c->target, "sendInitialEvents"));
	assert_null(strstr(c->target, "resourceVersionMatch"));
	assert_non_null(strstr(c->target, "&allowWatchBookmarks=true"));
	assert_string_equal(pods(), "a=w b=y "); /* all that time */
	until(status().current);
	api_line(c, MARK("170"));
	api_line(c, POD("DELETED", "b", "160", "y")); /* behind the mark: not back */
	until(!strcmp(pods(), "a=w "));
	api_say(c, "0\r\n\r\n");
	until(another_watch(c));
	assert_non_null(strstr(pod_watch()->target, "&resourceVersion=170"));
}

/* Its end is no trouble when it ran for a while. */
static void an_end_in_time_is_life(void **state)
{
	begin_synced();
	for (int i = 0; i < 3; i++) {
		struct api_conn *c = pod_watch();

		until(!kube->watches[KUBE_PODS].tries &&
		      !eg_timer_armed(&kube->watches[KUBE_PODS].settle));
		api_say(c, "0\r\n\r\n");
		until(another_watch(c) && status().current);
	}
	assert_int_equal(status().failures, 0);
	assert_int_equal(sentences_bad, 0);
}

static void cut_off(struct api_conn *c)
{
	api_say(c, API_OK);
	if (initial(c)) {
		api_line(c, POD("ADDED", "a", "10", "x"));
		api_line(c, POD("ADDED", "z", "90", "z"));
	}
	api_reset(c);
}

/* What stands in half a list is no place to resume from. */
static void a_list_cut_off_begins_anew(void **state)
{
	next_gets(cut_off, 3);
	begin();
	until(status().synced && status().current);
	assert_true(initial(pod_watch()));
	assert_string_equal(pods(), "a=x b=y "); /* z was of the half list only */
	assert_int_equal(status().failures, 3);
	assert_int_equal(sentences_bad, 1); /* once, not for each try */
	assert_non_null(strstr(last_bad, "broke the connection for the pods off"));
	until(sentences_good);
	assert_non_null(strstr(last_good, "pods and namespaces are current"));
}

static void expired_inside(struct api_conn *c)
{
	assert_false(initial(c));
	api_say(c, API_OK);
	api_line(c, EXPIRED);
}

static void expired_status(struct api_conn *c)
{
	assert_false(initial(c));
	api_answer(c, "410 Gone", "", "{\"message\":\"too old\",\"code\":410}");
}

static void expired(void (*how)(struct api_conn *c))
{
	struct api_conn *c;

	begin_synced();
	c = pod_watch();
	next_gets(how, 1);
	listed_pods[0] = POD("ADDED", "b", "200", "w");
	listed_pods[1] = POD("ADDED", "d", "210", "v");
	list_mark = MARK("220"); /* not the end yet */
	api_reset(c);
	until(another_watch(c) && initial(pod_watch()));
	c = pod_watch();
	until(!strcmp(pods(), "a=x b=w d=v ")); /* new ones at once, old ones until the end */
	some_turns(10);
	assert_string_equal(pods(), "a=x b=w d=v ");
	assert_true(status().synced);
	assert_false(status().current);
	api_line(c, ENDMARK("230"));
	until(!strcmp(pods(), "b=w d=v "));
	until(status().current);
	list_mark = ENDMARK("230");
	api_reset(c);
	until(another_watch(c));
	assert_non_null(strstr(pod_watch()->target, "&resourceVersion=230"));
}

static void expired_as_an_event(void **state)
{
	expired(expired_inside);
}

static void expired_as_a_status(void **state)
{
	expired(expired_status);
}

static void too_new(struct api_conn *c)
{
	assert_false(initial(c));
	api_answer(c, "504 Gateway Timeout", "",
		   "{\"message\":\"Too large resource version: 100, current: 5\",\"code\":504}");
}

/* etcd was set back: no try with that version will ever do. */
static void a_version_that_never_does_is_given_up(void **state)
{
	struct api_conn *c;

	begin_synced();
	c = pod_watch();
	next_gets(too_new, 3);
	listed_pods[0] = POD("ADDED", "a", "4", "old"); /* also its numbers are */
	list_mark = ENDMARK("5");
	api_reset(c);
	until(!strcmp(label_of("a"), "old"));
	until(status().current);
	api_line(pod_watch(), POD("MODIFIED", "a", "6", "next"));
	until(!strcmp(label_of("a"), "next"));
}

static void stays_silent(struct api_conn *c)
{
	if (!initial(c))
		api_say(c, API_OK);
	else
		answer_well(&api, c);
}

static void silence_ends_a_watch(void **state)
{
	size_t before;

	times.silence_ms = 100;
	next_gets(stays_silent, 1000);
	begin_synced();
	before = api.requests;
	until(api.requests > before + 4);
	assert_string_equal(pods(), "a=x b=y ");
	until(another_watch(NULL));
	assert_non_null(strstr(pod_watch()->target, "&resourceVersion=100"));
}

static void no_answer(struct api_conn *c)
{
}

static void an_answer_that_never_comes(void **state)
{
	times.head_ms = 150;
	next_gets(no_answer, 2);
	begin();
	until(status().synced);
	assert_non_null(strstr(last_bad, "did not answer within"));
}

static void nobody_listens(void **state)
{
	api_deaf(&api);
	begin();
	until(status().failures > 6);
	assert_int_equal(sentences_bad, 1); /* for both watches */
	assert_non_null(strstr(last_bad, "can't be reached"));
	assert_non_null(strstr(status().error, "can't be reached"));
	assert_int_equal(kube->watches[0].tries + kube->watches[1].tries, status().failures);
	api_listen(&api);
	until(status().current);
	until(sentences_good == 1);
	assert_string_equal(pods(), "a=x b=y ");
	api_deaf(&api);
	api_reset(pod_watch());
	until(sentences_bad >= 2); /* a new state, so a new sentence */
	assert_string_equal(pods(), "a=x b=y ");
}

/* ---- lists page by page ---- */

static const char *no_streams_status;
static int page_faults; /* the second page is refused so often */

static void answer_pages(struct api *a, struct api_conn *c)
{
	if (initial(c) && no_streams_status) {
		api_answer(c, no_streams_status, "",
			   "{\"kind\":\"Status\",\"message\":\"sendInitialEvents: Forbidden\"}");
		return;
	}
	if (initial(c)) { /* one that ignores what it doesn't know */
		api_say(c, API_OK);
		if (c->pods)
			api_line(c, POD("ADDED", "a", "10", "x"));
		return;
	}
	if (strstr(c->target, "watch=1")) {
		api_say(c, API_OK);
		return;
	}
	assert_non_null(strstr(c->target, "limit=500"));
	if (!c->pods)
		api_answer(c, "200 OK", "",
			   "{\"metadata\":{\"resourceVersion\":\"100\"},\"items\":[" SPACE_OBJECT(
				   "shop", "n1", "3", "blue") "]}");
	else if (!strstr(c->target, "&continue="))
		api_answer(c, "200 OK", "",
			   "{\"metadata\":{\"resourceVersion\":\"100\",\"continue\":\"a/b+c=\"},"
			   "\"items\":[" POD_OBJECT("a", "10", "x") "]}");
	else if (page_faults && page_faults--)
		api_answer(c, "410 Gone", "", "{\"reason\":\"Expired\",\"code\":410}");
	else {
		assert_non_null(strstr(c->target, "&continue=a%2Fb%2Bc%3D"));
		api_answer(c, "200 OK", "",
			   "{\"items\":[" POD_OBJECT("b", "20", "y") "],\"metadata\":{"
								     "\"resourceVersion\":\"105\"}"
								     "}");
	}
}

static void reads_pages(const char *status_line, int faults)
{
	api.answer = answer_pages;
	no_streams_status = status_line;
	page_faults = faults;
	times.list_ms = 200;
	begin_synced();
	assert_string_equal(pods(), "a=x b=y ");
	assert_string_equal(namespace_label("shop"), "blue");
	/* From where the first page was. */
	assert_non_null(strstr(pod_watch()->target, "watch=1"));
	assert_non_null(strstr(pod_watch()->target, "&resourceVersion=100"));
	assert_int_equal(sentences_good, 1);
	assert_non_null(strstr(last_good, "does not stream lists"));
	assert_string_equal(last_bad, "");
	api_line(pod_watch(), POD("DELETED", "a", "106", "x"));
	until(!strcmp(pods(), "b=y "));
	/* And stays with that. */
	api_line(pod_watch(), EXPIRED);
	until(!strcmp(pods(), "a=x b=y "));
	until(status().current);
	assert_string_equal(last_bad, "");
}

static void pages_where_streams_are_forbidden(void **state)
{
	reads_pages("422 Unprocessable Entity", 0);
}

static void pages_where_streams_are_unknown(void **state)
{
	reads_pages("400 Bad Request", 0);
}

static void pages_where_no_end_comes(void **state)
{
	reads_pages(NULL, 0);
}

static void pages_that_expire_begin_anew(void **state)
{
	reads_pages("422 Unprocessable Entity", 2);
}

static void no_list(struct api_conn *c)
{
	api_answer(c, "200 OK", "", "{\"items\":[{\"metadata\":{\"uid\":\"a\"}}");
}

static void half_a_list_is_none(void **state)
{
	reads_pages("422 Unprocessable Entity", 0);
	api.answer = answer;
	next_gets(no_list, 100000);
	api_line(pod_watch(), EXPIRED);
	until(sentences_bad);
	assert_non_null(strstr(last_bad, "is not a list"));
	some_turns(10);
	/* "a" could not be read and is not what it was, "b" is as it was. */
	assert_string_equal(pods(), "b=y ");
}

/* ---- refusals ---- */

static const char *refusal_status, *refusal_fields, *refusal_body;

static void refuse(struct api_conn *c)
{
	api_answer(c, refusal_status, refusal_fields, refusal_body);
}

static void refuses(const char *status_line, const char *fields, const char *body,
		    const char *sentence)
{
	refusal_status = status_line;
	refusal_fields = fields;
	refusal_body = body;
	next_gets(refuse, 5);
	begin();
	until(status().synced && status().current);
	assert_int_equal(status().failures, 5);
	assert_int_equal(sentences_bad, 1);
	if (!strstr(last_bad, sentence))
		fail_msg("\"%s\" is not in \"%s\"", sentence, last_bad);
	until(sentences_good == 1);
	assert_string_equal(pods(), "a=x b=y ");
}

static void refused_401(void **state)
{
	refuses("401 Unauthorized", "", "{\"message\":\"Unauthorized\"}",
		"does not take the token in /tmp/egret-kube-");
}

static void refused_403(void **state)
{
	refuses("403 Forbidden", "",
		"{\"message\":\"pods is forbidden: User \\\"x\\\"\\n\\u001b[31m cannot list\"}",
		"refuses to show pods (403: pods is forbidden: User \"x\"\\u000a\\u001b[31m cannot "
		"list); a ClusterRole has to allow the service account the verbs list and watch "
		"for pods");
}

static void refused_500(void **state)
{
	refuses("500 Internal Server Error", "", "no JSON", "status 500 for the pods");
}

static void redirects_are_not_followed(void **state)
{
	refuses("302 Found", "Location: https://127.0.0.1:1/\r\n", "",
		"status 302 for the pods; redirects are not followed");
}

/* Whoever answers so must not get the token into a log. */
static void a_token_said_aloud(void **state)
{
	refuses("403 Forbidden", "", "{\"message\":\"bad: tok-1\"}",
		"refuses to show pods (403); ");
	assert_null(strstr(last_bad, "tok-1"));
}

static void a_long_refusal(struct api_conn *c)
{
	char *body = malloc(300000);

	memset(body, ' ', 300000);
	memcpy(body, "{\"message\":\"", 12);
	body[299999] = '\0';
	api_answer(c, "403 Forbidden", "", body);
	free(body);
}

static void refusals_are_read_so_far(void **state)
{
	next_gets(a_long_refusal, 2);
	begin();
	until(status().synced);
	assert_non_null(strstr(last_bad, "refuses to show pods (403); "));
}

static void half_a_refusal(struct api_conn *c)
{
	api_say(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\n{\"mess");
}

static void refusals_are_waited_for_so_long(void **state)
{
	next_gets(half_a_refusal, 2);
	begin();
	until(status().synced);
	assert_non_null(strstr(last_bad, "refuses to show pods (403); "));
}

static void too_many_requests(void **state)
{
	uint64_t before;

	refusal_status = "429 Too Many Requests";
	refusal_fields = "Retry-After: 1\r\n";
	refusal_body = "{\"message\":\"slow down\"}";
	next_gets(refuse, 1);
	before = eg_now_ms();
	begin();
	until(status().synced);
	assert_true(eg_now_ms() - before >= 1000); /* not before, however quick it is else */
	assert_non_null(strstr(last_bad, "too much to do for the pods (429: slow down)"));
}

static const char *raw;

static void say_raw(struct api_conn *c)
{
	api_say(c, raw);
	api_end(c);
}

static void what_is_not_http(void **state)
{
	static const struct {
		const char *answer, *sentence;
	} cases[] = {
		{"SSH-2.0\r\n\r\n", "is not HTTP/1.1 for the pods"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
		 "is not HTTP/1.1 for the pods"},
		{API_OK "xyz\r\n", "a chunk is malformed"},
		{"HTTP/1.1 101 Switching Protocols\r\n\r\n", "1xx answers"},
		{"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
		 "content coding"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nabc", "broke the connection"},
		{"HTTP/1.1 200 OK\r\nContent-Le", "broke the connection"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "the server ended the watch"},
		{"HTTP/1.1 204 No Content\r\n\r\n", "status 204"},
	};

	begin_synced();
	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		size_t before = status().failures;

		raw = cases[i].answer;
		last_bad[0] = '\0';
		kube->told[0] = kube->told[1] = 0;
		next_gets(say_raw, 1);
		api_reset(pod_watch());
		kube->told[0] |= 1u << KUBE_BROKEN; /* that was ours */
		if (!strcmp(cases[i].sentence, "broke the connection"))
			kube->told[0] = 0;
		until(status().failures > before + 1 || (*last_bad && !special_count));
		until(status().current);
		if (!strstr(last_bad, cases[i].sentence))
			fail_msg("\"%s\" is not in \"%s\"", cases[i].sentence, last_bad);
		assert_string_equal(pods(), "a=x b=y ");
	}
}

static void interim_answers(struct api_conn *c)
{
	api_say(c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n");
	answer_well(&api, c);
}

static void interim_answers_are_nothing(void **state)
{
	next_gets(interim_answers, 1);
	begin_synced();
	assert_int_equal(status().failures, 0);
}

static void until_closed(struct api_conn *c)
{
	api_say(c, "HTTP/1.1 200 OK\r\n\r\n" POD("ADDED", "a", "10", "x") "\n" ENDMARK("11") "\n");
	eg_stream_shutdown(c->stream);
}

static void a_body_that_ends_with_its_connection(void **state)
{
	listed_pods[0] = NULL;
	next_gets(until_closed, 1);
	begin();
	until(!strcmp(pods(), "a=x "));
	until(another_watch(NULL) && strstr(pod_watch()->target, "&resourceVersion=11"));
}

/* ---- what can't be understood ---- */

static void lines_are_passed_over(void **state)
{
	begin_synced();
	api_line(pod_watch(), "{");
	api_line(pod_watch(), "{\"type\":\"NEW\",\"object\":{}}");
	api_line(pod_watch(), POD("MODIFIED", "a", "101", "w"));
	until(!strcmp(pods(), "a=w b=y "));
	assert_int_equal(status().passed_over, 2);
	some_turns(2);
	assert_int_equal(sentences_bad, 1); /* once */
	assert_non_null(strstr(last_bad, "was passed over"));
	assert_int_equal(status().failures, 0);
}

/* It is not what it was, and what it is nobody knows: unknown is held, the former labels are not.
 */
static void what_became_unreadable_is_forgotten(void **state)
{
	begin_synced();
	api_line(pod_watch(), EVENT("MODIFIED", "{\"metadata\":{\"name\":\"p\",\"namespace\":"
						"\"shop\",\"uid\":\"a\",\"resourceVersion\":"
						"\"101\",\"labels\":{\"app\":7}},\"spec\":{"
						"\"nodeName\":\"n1\"}}"));
	until(!strcmp(pods(), "b=y "));
	assert_int_equal(status().passed_over, 1);
	api_line(pod_watch(), POD("MODIFIED", "a", "102", "ok"));
	until(!strcmp(pods(), "a=ok b=y "));
}

static void a_line_that_is_too_long(void **state)
{
	struct eg_buf line;
	struct api_conn *c;

	begin_synced();
	eg_buf_init(&line, 4 << 20);
	assert_int_equal(eg_buf_printf(&line, "{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Pod\","
					      "\"metadata\":{\"name\":\"p\",\"namespace\":\"shop\","
					      "\"uid\":\"a\",\"resourceVersion\":\"101\",\"x\":\""),
			 0);
	for (int i = 0; i < 3000; i++)
		assert_int_equal(eg_buf_printf(&line, "%0500d", i), 0);
	assert_int_equal(eg_buf_append(&line, "\"}}}", 5), 0);
	api_line(pod_watch(), eg_buf_data(&line));
	api_line(pod_watch(), POD("MODIFIED", "b", "102", "w"));
	until(!strcmp(pods(), "b=w ")); /* the watch went on */
	assert_int_equal(status().passed_over, 1);
	assert_int_equal(status().failures, 0);
	some_turns(2);
	assert_non_null(strstr(last_bad, "longer than 1 MiB"));
	c = pod_watch();
	api_reset(c);
	until(another_watch(c));
	assert_non_null(strstr(pod_watch()->target, "&resourceVersion=102"));
	eg_buf_fini(&line);
}

static void a_bookmark_that_goes_back(void **state)
{
	struct api_conn *c;

	begin_synced();
	c = pod_watch();
	api_line(c, POD("MODIFIED", "a", "200", "w"));
	api_line(c, MARK("150"));
	api_line(c, POD("MODIFIED", "a", "120", "old")); /* and what it said already */
	api_line(c, POD("MODIFIED", "b", "201", "z"));
	until(!strcmp(label_of("b"), "z"));
	assert_string_equal(label_of("a"), "w");
	api_line(c, MARK("150"));
	some_turns(5);
	api_reset(c);
	until(another_watch(c));
	assert_non_null(strstr(pod_watch()->target, "&resourceVersion=201"));
}

static void an_odd_version_is_encoded(void **state)
{
	struct api_conn *c;

	list_mark = ENDMARK("1&watch=0 #\\u00e4");
	begin_synced();
	c = pod_watch();
	api_reset(c);
	until(another_watch(c));
	assert_non_null(strstr(pod_watch()->target, "&resourceVersion=1%26watch%3D0%20%23%C3%A4"));
}

/* ---- token and CA ---- */

static void the_token_is_read_each_time(void **state)
{
	struct api_conn *c;

	begin_synced();
	assert_string_equal(pod_watch()->token, "tok-1");
	write_token("tok-2 \r\n\n");
	c = pod_watch();
	api_reset(c);
	until(another_watch(c));
	assert_string_equal(pod_watch()->token, "tok-2");
}

static void tokens_that_are_none(void **state)
{
	static const struct {
		const char *token, *sentence;
	} cases[] = {
		{"", "the file is empty"},
		{"\n\n", "the file is empty"},
		{"tok-3\r\nX: y", "no header may have"},
		{"tok 3", "no header may have"},
		{"tok-\xc3\xa4", "no header may have"},
		{NULL, "No such file"},
	};

	begin_synced();
	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		size_t before = api.requests, failures = status().failures;

		last_bad[0] = '\0';
		kube->told[0] = kube->told[1] = 1u << KUBE_BROKEN;
		if (cases[i].token)
			write_token(cases[i].token);
		else
			unlink(token_file);
		api_reset(pod_watch());
		until(status().failures > failures + 3);
		some_turns(2);
		assert_non_null(strstr(last_bad, "the token for the Kubernetes API can't be used"));
		assert_non_null(strstr(last_bad, cases[i].sentence));
		assert_int_equal(api.requests, before);
		write_token("tok-4");
		until(another_watch(NULL) && status().current);
		assert_string_equal(pod_watch()->token, "tok-4");
	}
}

static void a_token_that_is_too_long(void **state)
{
	char *token = malloc(9000);

	memset(token, 'x', 8999);
	token[8999] = '\0';
	write_token(token);
	free(token);
	begin();
	until(sentences_bad);
	assert_non_null(strstr(last_bad, "expected at most 8192"));
}

static void a_ca_that_is_changed(void **state)
{
	struct made other = make_cert("another", NULL, NULL, -3600, 3600);

	write_ca(&other);
	begin();
	until(status().failures > 4);
	assert_int_equal(sentences_bad, 1);
	assert_non_null(strstr(last_bad, "is not for 127.0.0.1 by the CA in /tmp/egret-kube-"));
	write_ca(&api.ca);
	until(status().current);
	until(sentences_good);
	unmake(&other);
}

static void cas_that_are_none(void **state)
{
	write_file(ca_file, "no PEM\n", 7);
	begin();
	until(status().failures > 4);
	assert_int_equal(sentences_bad, 1);
	assert_non_null(strstr(last_bad, "the Kubernetes API's CA can't be used"));
	unlink(ca_file);
	until(status().failures > 8);
	write_ca(&api.ca);
	until(status().current);
}

static void a_certificate_for_another_address(void **state)
{
	api_certify(&api, "IP:127.0.0.2,DNS:127.0.0.1,DNS:kubernetes.default.svc");
	begin();
	until(status().failures > 4);
	assert_int_equal(api.requests, 0); /* no token was sent */
	assert_non_null(strstr(last_bad, "is not for 127.0.0.1"));
	api_certify(&api, "IP:127.0.0.1");
	until(status().current);
}

static void a_server_name(void **state)
{
	options.server_name = "kubernetes.default.svc";
	api_certify(&api, "DNS:kubernetes.default.svc");
	begin_synced();
	eg_kube_close(kube); /* with its TLS sessions */
	some_turns(2);
	api_certify(&api, "IP:127.0.0.1");
	begin();
	until(strstr(last_bad, "is not for kubernetes.default.svc"));
}

static void no_tls_at_all(void **state)
{
	api.plain_garbage = true;
	begin();
	until(sentences_bad);
	assert_non_null(strstr(last_bad, "TLS with the Kubernetes API at 127.0.0.1"));
	assert_int_equal(api.requests, 0);
	api.plain_garbage = false;
	until(status().current);
}

/* ---- options, closing ---- */

static void options_that_are_refused(void **state)
{
	static const char *const hosts[] = {"", "kubernetes", "1.2.3", "[::1]", "1.2.3.4:5", "::g"};
	static const char *const nodes[] = {"",	  "N1",	  "a b",  "a&b",  "-a",	 "a-", ".a",
					    "a.", "a..b", "a.-b", "a%3D", "a\n", "a_b"};
	struct eg_kube_options o = options;
	struct eg_error e;
	char name[256];

	for (size_t i = 0; i < EG_ARRAY_SIZE(hosts); i++) {
		o.host = hosts[i];
		assert_int_equal(eg_kube_open(loop, &o, &calls, &kube, &e), -EINVAL);
		assert_non_null(strstr(e.text, "expected an IP address"));
	}
	o = options;
	for (size_t i = 0; i < EG_ARRAY_SIZE(nodes); i++) {
		o.node_name = nodes[i];
		assert_int_equal(eg_kube_open(loop, &o, &calls, &kube, &e), -EINVAL);
		assert_non_null(strstr(e.text, "the node's name"));
	}
	memset(name, 'a', 254);
	name[254] = '\0';
	o.node_name = name;
	assert_int_equal(eg_kube_open(loop, &o, &calls, &kube, &e), -EINVAL);
	o = options;
	o.port = 0;
	assert_int_equal(eg_kube_open(loop, &o, &calls, &kube, &e), -EINVAL);
	o = options;
	o.server_name = "a b";
	assert_int_equal(eg_kube_open(loop, &o, &calls, &kube, &e), -EINVAL);
	o = options;
	o.token_file = NULL;
	assert_int_equal(eg_kube_open(loop, &o, &calls, &kube, &e), -EINVAL);
	o = options;
	o.ca_file = "";
	assert_int_equal(eg_kube_open(loop, &o, &calls, &kube, &e), -EINVAL);
	assert_null(kube);
	o = options;
	o.host = "fd00::1";
	name[253] = '\0';
	o.node_name = name;
	assert_int_equal(eg_kube_open(loop, &o, &calls, &kube, &e), 0);
	assert_string_equal(kube->api.where + strlen("[fd00::1]"),
			    strchr(kube->api.where, ']') + 1);
	eg_kube_close(kube);
	kube = NULL;
	eg_kube_close(NULL);
}

static void closed_in_changed(void **state)
{
	close_in_changed = true;
	begin();
	until(!kube);
	some_turns(5);
	assert_int_equal(changes, 1);
}

static void closed_in_said(void **state)
{
	close_in_said = true;
	api_deaf(&api);
	begin();
	until(!kube);
	some_turns(5);
	assert_int_equal(sentences_bad, 1);
}

static void closed_at_any_time(void **state)
{
	for (int n = 0; n < 40; n++) {
		begin();
		for (int i = 0; i < n; i++)
			turn(0);
		eg_kube_close(kube);
		kube = NULL;
		some_turns(2);
	}
	begin_synced();
}

/* ---- cut anywhere ---- */

static size_t cut_at;
static bool cut_breaks;
static struct eg_timer cut_timer;
static struct api_conn *cut_conn;
static const char cut_answer[] =
	API_OK "5\r\n{\"typ\r\n" /* and no line ends where a chunk does */
	       "215\r\ne\":\"ADDED\",\"object\":" POD_OBJECT("a", "10", "x") "}\n" POD(
		       "ADDED", "b", "20", "y") "\n" ENDMARK("30") "\n\r\n";

static void cut_goes_on(struct eg_timer *t)
{
	api_say(cut_conn, cut_answer + cut_at);
}

static void cut_here(struct api_conn *c)
{
	api_send(c, (struct eg_str){cut_answer, cut_at});
	cut_conn = c;
	if (cut_breaks)
		api_reset(c);
	else
		assert_int_equal(eg_timer_set(loop, &cut_timer, 2), 0);
}

static void cut_anywhere(bool breaks)
{
	eg_timer_init(&cut_timer, cut_goes_on);
	cut_breaks = breaks;
	for (cut_at = 1; cut_at < sizeof(cut_answer) - 1; cut_at += breaks ? 3 : 1) {
		next_gets(cut_here, 1);
		begin();
		until(status().synced && !strcmp(pods(), "a=x b=y ") && !special_count);
		assert_int_equal(status().passed_over, 0);
		assert_int_equal(status().failures, breaks ? 1 : 0);
		eg_timer_cancel(loop, &cut_timer);
		eg_kube_close(kube);
		kube = NULL;
		some_turns(1);
	}
}

static void cut_at_every_byte(void **state)
{
	size_t head = strlen(API_OK "5\r\n{\"typ\r\n");

	/* That the hand-written chunk is as long as it says. */
	assert_int_equal(strtoul(cut_answer + head, NULL, 16),
			 sizeof(cut_answer) - 1 - head - strlen("215\r\n\r\n"));
	cut_anywhere(false);
}

static void broken_at_every_third_byte(void **state)
{
	cut_anywhere(true);
}

/* ---- a lot ---- */

enum { FLOOD_PODS = 5000, FLOOD_UPDATES = 50000 };

/* None is lost, and no turn of the loop takes more than its share. */
static void a_flood(void **state)
{
	struct eg_buf all;
	size_t count, before, bytes;
	char head[EG_CHUNK_HEAD_MAX], uid[16];

	begin_synced();
	eg_buf_init(&all, 64 << 20);
	for (int i = 0; i < FLOOD_PODS + FLOOD_UPDATES; i++)
		assert_int_equal(
			eg_buf_printf(&all,
				      "{\"type\":\"%s\",\"object\":{\"metadata\":{\"name\":"
				      "\"n\",\"namespace\":\"s\",\"uid\":\"u%04d\","
				      "\"resourceVersion\":\"%d\",\"labels\":{\"app\":\"%d\""
				      "},\"annotations\":{\"pad\":\"%0100d\"}},\"spec\":{"
				      "\"nodeName\":\"n1\"}}}\n",
				      i < FLOOD_PODS ? "ADDED" : "MODIFIED", i * 7 % FLOOD_PODS,
				      1000 + i, i, i),
			0);
	bytes = all.length;
	before = turns;
	api_send(pod_watch(), (struct eg_str){head, eg_chunked_head(head, bytes)});
	api_send(pod_watch(), eg_buf_str(&all));
	snprintf(uid, sizeof(uid), "u%04d", (FLOOD_PODS + FLOOD_UPDATES - 1) * 7 % FLOOD_PODS);
	until(!strcmp(label_of(uid), "54999"));
	assert_true(turns - before >= bytes / (2 * 65536)); /* what a turn reads has a bound */
	(void)eg_kube_pods(kube, &count);
	assert_int_equal(count, FLOOD_PODS + 2);
	for (int i = FLOOD_UPDATES; i < FLOOD_PODS + FLOOD_UPDATES; i++) {
		char label[16];

		snprintf(uid, sizeof(uid), "u%04d", i * 7 % FLOOD_PODS);
		snprintf(label, sizeof(label), "%d", i);
		assert_string_equal(label_of(uid), label);
	}
	assert_int_equal(status().passed_over + status().failures, 0);
	assert_int_equal(sentences_bad, 0);
	eg_buf_fini(&all);
}

static void one_too_many(struct api_conn *c)
{
	if (initial(c)) {
		api_say(c, API_OK);
		for (int i = 0; i < 3; i++)
			api_line(c, POD("ADDED", "a", "10", "x"));
		api_line(c, ENDMARK("11"));
	} else {
		api_say(c, API_OK);
		api_line(c, MARK("12"));
	}
	api_say(c, "0\r\n\r\n");
}

/* A server that ends each watch at once is not asked without end. */
static void a_watch_that_ends_at_once(void **state)
{
	times.well_ms = 5000;
	next_gets(one_too_many, 1000000);
	begin();
	until(sentences_bad);
	assert_non_null(strstr(last_bad, "the server ended the watch"));
	until(kube->watches[KUBE_PODS].tries > 4);
	assert_string_equal(pods(), "a=x ");
}

/* ---- what was recorded ---- */

static char *recorded_bytes;

static void play(struct api_conn *c)
{
	char *line = recorded_bytes, *end;

	api_say(c, API_OK);
	if (!initial(c))
		return;
	for (; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		api_line(c, line);
		*end = '\n';
	}
}

static void a_recorded_stream(void **state)
{
	size_t n, count;

	RECORDED_OR_SKIP(recorded_bytes, "watch-stream.jsonl", &n);
	options.node_name = "node1";
	next_gets(play, 1000);
	begin_synced();
	until(eg_kube_pods(kube, &count) && count == 2);
	until(!strcmp(kube->watches[KUBE_PODS].version, "1873"));
	assert_string_equal(label_of("1e2a45ee-d764-4a45-8d96-a1f01c93fa55"), "web");
	assert_true(eg_kube_pod(kube, "39bc91a8-3bea-4f6f-94ad-48e62c1ddca9")->host_network);
	assert_int_equal(status().passed_over, 0);
	free(recorded_bytes);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(both_are_known),
		TEST(what_is_asked_for),
		TEST(a_cluster_with_nothing_is_whole_too),
		TEST(changes_come_as_they_are),
		TEST(being_deleted_is_not_gone),
		TEST(a_name_used_again_is_another_pod),
		TEST(pods_of_other_nodes_are_passed_over),
		TEST(many_changes_are_one_call),
		TEST(resumes_where_it_was),
		TEST(an_end_in_time_is_life),
		TEST(a_list_cut_off_begins_anew),
		TEST(expired_as_an_event),
		TEST(expired_as_a_status),
		TEST(a_version_that_never_does_is_given_up),
		TEST(silence_ends_a_watch),
		TEST(an_answer_that_never_comes),
		TEST(nobody_listens),
		TEST(pages_where_streams_are_forbidden),
		TEST(pages_where_streams_are_unknown),
		TEST(pages_where_no_end_comes),
		TEST(pages_that_expire_begin_anew),
		TEST(half_a_list_is_none),
		TEST(refused_401),
		TEST(refused_403),
		TEST(refused_500),
		TEST(redirects_are_not_followed),
		TEST(a_token_said_aloud),
		TEST(refusals_are_read_so_far),
		TEST(refusals_are_waited_for_so_long),
		TEST(too_many_requests),
		TEST(what_is_not_http),
		TEST(interim_answers_are_nothing),
		TEST(a_body_that_ends_with_its_connection),
		TEST(lines_are_passed_over),
		TEST(what_became_unreadable_is_forgotten),
		TEST(a_line_that_is_too_long),
		TEST(a_bookmark_that_goes_back),
		TEST(an_odd_version_is_encoded),
		TEST(the_token_is_read_each_time),
		TEST(tokens_that_are_none),
		TEST(a_token_that_is_too_long),
		TEST(a_ca_that_is_changed),
		TEST(cas_that_are_none),
		TEST(a_certificate_for_another_address),
		TEST(a_server_name),
		TEST(no_tls_at_all),
		TEST(options_that_are_refused),
		TEST(closed_in_changed),
		TEST(closed_in_said),
		TEST(closed_at_any_time),
		TEST(cut_at_every_byte),
		TEST(broken_at_every_third_byte),
		TEST(a_flood),
		TEST(a_watch_that_ends_at_once),
		TEST(a_recorded_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
