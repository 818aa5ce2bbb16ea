/* SPDX-License-Identifier: Apache-2.0 */
/* A provider that redirects: under a region rule the client is not led to where nobody judges. */
#include "targets.h"

#define REGIONS "\"regions\": {\"allow\": [\"cluster\"]}, "

static char *with_regions(const char *policy)
{
	static const char mode[] = "\"mode\": \"enforce\", ";
	const char *at = strstr(policy, mode);
	char *text = calloc(1, strlen(policy) + sizeof(REGIONS));

	assert_non_null(at);
	assert_non_null(text);
	at += strlen(mode);
	sprintf(text, "%.*s" REGIONS "%s", (int)(at - policy), policy, at);
	return text;
}

static const struct {
	const char *location;
	bool stays;
} rows[] = {
	{"/v1/chat/completions/", true},
	{"/", true},
	{"/v1/x?next=https://evil.example/", true},
	{"https://api.openai.com/v1/chat/completions", true},
	{"HTTPS://API.OpenAI.com:443/v1", true},
	{"http://api.openai.com", true},
	{"https://evil.example/v1/chat/completions", false},
	{"http://203.0.113.7/", false},
	{"//evil.example/v1", false},
	{"/\\evil.example/v1", false},
	{"\\\\evil.example/v1", false},
	{"/\t/evil.example/v1", false},
	{"https:/\\evil.example", false},
	{"https:evil.example", false},
	{"https://api.openai.com.evil.example/", false},
	{"https://api.openai.com@evil.example/", false},
	{"https://api.openai.com:8443/v1", false},
	{"https://api.openai.com:443@evil.example/", false},
	{"https://api.openai.com\\@evil.example/", false},
	{"https://evil.example@api.openai.com/", false},
	{"ftp://api.openai.com/", false},
	{"https://", false},
	{"v1/x", false},
	{"", false},
};

static void redirected(const char *policy, const char *location, int status, bool passes)
{
	struct world *w = begin(policy);
	char answer[300];

	snprintf(answer, sizeof(answer),
		 "HTTP/1.1 %d Over There\r\nLocation: /v1\r\nlocation: %s\r\n"
		 "Content-Length: 2\r\n\r\n{}",
		 status, location);
	pod_send(&w->pod, ASK);
	called(w, 0, BODY, answer);
	if (passes) {
		snprintf(answer, sizeof(answer), "HTTP/1.1 %d ", status);
		inbox_await(&w->plane, &w->pod.in, "{}");
		assert_true(inbox_has(&w->pod.in, answer));
		assert_true(inbox_has(&w->pod.in, location));
	} else {
		inbox_await(&w->plane, &w->pod.in, "redirects the request");
		assert_true(inbox_has(&w->pod.in, "HTTP/1.1 403 "));
		assert_true(inbox_has(&w->pod.in, "x-egret-reason: region_unknown\r\n"));
		assert_false(inbox_has(&w->pod.in, "evil.example"));
		assert_true(plane_recorded(&w->plane, "\"reason\":\"region_unknown\""));
	}
	assert_int_equal(plane_record_count(&w->plane), 1);
	finish(w);
}

static void test_regions(void **state)
{
	char *policy = with_regions(THREE TARGETS(""));

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++)
		redirected(policy, rows[i].location, i % 2 ? 307 : 302, rows[i].stays);
	free(policy);
	(void)state;
}

/* Without a rule about regions it is the provider's answer, as any. */
static void test_no_regions(void **state)
{
	redirected(THREE TARGETS(""), "https://evil.example/v1/chat/completions", 308, true);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_regions),
		cmocka_unit_test(test_no_regions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
