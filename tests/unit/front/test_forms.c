/* SPDX-License-Identifier: Apache-2.0 */
/* Forms on their way: held, read for policy, given byte for byte to as many targets as it takes. */
#include "targets.h"

#define BOUNDARY "----form-0123456789"
#define FORM	 "Content-Type: multipart/form-data; boundary=" BOUNDARY "\r\n"
#define FIELD(name, value) \
	"--" BOUNDARY "\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define SOUND                                                                        \
	"--" BOUNDARY "\r\nContent-Disposition: form-data; name=\"file\"; filename=" \
	"\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n\x80\x7f--\r\n"
#define END "--" BOUNDARY "--\r\n"

static const char policy[] = THREE TARGETS("");
/* By model, and only p2, which calls it otherwise. */
static const char by_model[] =
	"{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER("p0") "," PLANE_PROVIDER(
		"p1") ",\"p2\": {\"kind\": \"openai\", \"endpoint\": "
		      "\"http://provider.internal:%u/v1\", \"region\": \"cluster\", "
		      "\"credential\": "
		      "\"key\", \"models\": {\"whisper-1\": \"whisper-large-v3\"}}},"
		      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"
		      "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", \"pods\": "
		      "{\"namespaces\": [\"shop\"]}, \"routes\": ["
		      "{\"name\": \"own\", \"match\": {\"hosts\": [\"api.openai.com\"], "
		      "\"models\": "
		      "[\"gpt-4o*\"]}, \"targets\": [{\"provider\": \"p0\"}]},"
		      "{\"name\": \"sound\", \"match\": {\"hosts\": [\"api.openai.com\"], "
		      "\"models\": [\"whisper-*\"]}, \"targets\": [{\"provider\": \"p1\"}, "
		      "{\"provider\": \"p2\"}]}]}]}";

/* Sends a form with Content-Length, in two pieces cut at `cut`. */
static void ask_cut(struct world *w, const char *headers, const char *form, size_t cut)
{
	char head[1024];

	snprintf(head, sizeof(head),
		 "POST /v1/audio/transcriptions HTTP/1.1\r\n" HEADERS "%sContent-Length: "
		 "%zu\r\n\r\n",
		 headers, strlen(form));
	pod_send(&w->pod, head);
	cut = EG_MIN(cut, strlen(form));
	plane_send_n(&w->plane, w->pod.in.fd, form, cut);
	plane_turns(&w->plane, 2);
	plane_send_n(&w->plane, w->pod.in.fd, form + cut, strlen(form) - cut);
}

static void ask(struct world *w, const char *form)
{
	ask_cut(w, FORM, form, SIZE_MAX);
}

/* Provider i got the form as it is, with its length. */
static void called_with(struct world *w, int i, const char *form, const char *answer)
{
	char whole[2048];

	snprintf(whole, sizeof(whole), "\r\n\r\n%s", form);
	called(w, i, whole, NULL);
	snprintf(whole, sizeof(whole), "content-length: %zu\r\n", strlen(form));
	assert_true(inbox_has(&w->up[i], whole));
	assert_true(inbox_has(&w->up[i], FORM));
	plane_send(&w->plane, w->up[i].fd, answer);
}

static void refused(struct world *w, const char *reason, const char *text)
{
	inbox_await(&w->plane, &w->pod.in, "\"}}");
	if (!inbox_has(&w->pod.in, reason) || !inbox_has(&w->pod.in, text))
		fail_msg("expected %s and \"%s\": %s", reason, text, w->pod.in.text);
	inbox_forget(&w->pod.in);
	for (int i = 0; i < 3; i++)
		assert_true(plane_nobody(&w->plane, w->plane.provider[i]));
}

/* Nothing goes on before the form is whole and allowed. */
static void test_held(void **state)
{
	static const char form[] = SOUND FIELD("model", "whisper-1") END;
	struct world *w = begin(policy);

	pod_send(&w->pod, "POST /v1/audio/transcriptions HTTP/1.1\r\n" HEADERS FORM
			  "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
	inbox_await(&w->plane, &w->pod.in, "100 Continue");
	pod_send(&w->pod, "16\r\n--" BOUNDARY "\r\r\n"); /* of the first line, all but the LF */
	assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
	assert_true(w->plane.engine.held_bytes > 0);
	pod_close(&w->pod);
	assert_int_equal(w->plane.engine.held_bytes, 0);
	pod_open(&w->pod, &w->plane, "api.openai.com");
	ask_cut(w, FORM, form, 40);
	called_with(w, 0, form, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 200 OK");
	assert_true(plane_recorded(&w->plane, "\"model\":\"whisper-1\""));
	finish(w);
	(void)state;
}

/* The next target gets the same bytes. */
static void test_failover(void **state)
{
	static const char form[] = FIELD("model", "whisper-1") SOUND END;
	struct world *w = begin(policy);

	ask(w, form);
	called_with(w, 0, form, "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
	called_with(w, 1, form, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 200 OK");
	assert_false(inbox_has(&w->pod.in, "busy"));
	assert_true(plane_recorded(&w->plane, "\"replayed\":true"));
	finish(w);
	(void)state;
}

/* The model chooses the route, wherever it stands; a target's own name for it goes in its place,
 * and all other bytes go as they came. */
static void test_model(void **state)
{
	static const char form[] = FIELD("language", "de") SOUND FIELD("model", "whisper-1")
		FIELD("prompt", "whisper-1") END;
	static const char mapped[] = FIELD("language", "de")
		SOUND FIELD("model", "whisper-large-v3") FIELD("prompt", "whisper-1") END;
	struct world *w = begin(by_model);

	ask(w, form);
	called_with(w, 1, form, "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
	called_with(w, 2, mapped, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 200 OK");
	assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
	assert_true(plane_recorded(&w->plane, "\"route\":\"sound\""));
	inbox_forget(&w->pod.in);
	ask(w, FIELD("model", "gpt-4o-transcribe") SOUND END);
	called_with(w, 0, FIELD("model", "gpt-4o-transcribe") SOUND END, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 200 OK");
	inbox_forget(&w->pod.in);
	finish(w);
	(void)state;
}

static void test_refused(void **state)
{
	static const struct {
		const char *policy, *headers, *form, *reason, *text;
	} cases[] = {
		{by_model, FORM, FIELD("model", "tts-1") SOUND END, "egret_model_denied", ""},
		{by_model, FORM, SOUND END, "egret_no_model", ""},
		{policy, FORM, FIELD("model", "m") FIELD("image[file_id]", "file-1") END,
		 "egret_stateful_denied", ""},
		{policy, FORM, FIELD("model", "m") FIELD("model", "n") END, "egret_bad_body",
		 "second"},
		{policy, FORM, FIELD("model", "m"), "egret_bad_body", "boundary that closes it"},
		{policy, FORM, "", "egret_bad_body", "boundary that closes it"},
		{policy, FORM, "{\"model\":\"m\"}", "egret_bad_body", "does not begin"},
		{policy, "Content-Type: multipart/form-data\r\n", SOUND END, "egret_bad_body",
		 "no boundary"},
		{policy, "Content-Type: multipart/form-data; boundary=a; boundary=b\r\n", SOUND END,
		 "egret_bad_body", "more than once"},
		{policy, FORM "Content-Encoding: gzip\r\n", SOUND END, "egret_bad_body",
		 "Content-Encoding"},
		/* The part says how long its content is: another name would make that a lie. */
		{by_model, FORM,
		 "--" BOUNDARY "\r\nContent-Disposition: form-data; name=\"model\"\r\n"
		 "Content-Length: 9\r\n\r\nwhisper-1\r\n" END,
		 "egret_bad_body", "can't be replaced"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct world *w = begin(cases[i].policy);

		ask_cut(w, cases[i].headers, cases[i].form, SIZE_MAX);
		refused(w, cases[i].reason, cases[i].text);
		assert_int_equal(plane_record_count(&w->plane), 1);
		finish(w);
	}
	(void)state;
}

/* Held like JSON: over the limit it is 413, with Content-Length before a byte of it is read; what
 * is held is the pod's budget. */
static void test_limits(void **state)
{
	struct world *w = begin(policy);
	static char part[20000];

	memset(part, 'x', sizeof(part));
	pod_send(&w->pod, "POST /v1/audio/transcriptions HTTP/1.1\r\n" HEADERS FORM
			  "Content-Length: 33554433\r\n\r\n");
	refused(w, "body_too_large", "413");
	finish(w);
	w = begin(policy);
	w->plane.engine.limits.request_body_bytes = 30000;
	pod_send(&w->pod, "POST /v1/audio/transcriptions HTTP/1.1\r\n" HEADERS FORM
			  "Transfer-Encoding: chunked\r\n\r\n4e20\r\n");
	plane_send_n(&w->plane, w->pod.in.fd, part, sizeof(part));
	pod_send(&w->pod, "\r\n4e20\r\n");
	plane_send_n(&w->plane, w->pod.in.fd, part, sizeof(part));
	refused(w, "body_too_large", "413");
	finish(w);
	w = begin(policy);
	w->plane.engine.limits.pod_bytes = 30000;
	pod_send(&w->pod, "POST /v1/audio/transcriptions HTTP/1.1\r\n" HEADERS FORM
			  "Content-Length: 40000\r\n\r\n");
	plane_send_n(&w->plane, w->pod.in.fd, part, sizeof(part));
	plane_send_n(&w->plane, w->pod.in.fd, part, sizeof(part));
	refused(w, "pod_budget", "503");
	finish(w);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_held),   cmocka_unit_test(test_failover),
		cmocka_unit_test(test_model),  cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
