/* SPDX-License-Identifier: Apache-2.0 */
/* Policy, provider and credential when memory runs out at every place it can. */
#include "fault.h"

#include <sys/mman.h>

#include "credential/credential.h"
#include "policy/policy.h"

/*
 * jansson's own allocations are not failed: its lexer reports some of them as a text that is not
 * valid JSON. Such a set is refused all the same, and the last good one stays.
 */
static const char *policy_text;
static int expected;

static int load(void)
{
	struct eg_policy_file file = {EG_STR("x.json"), eg_str_from(policy_text)};
	struct eg_policy_set *s = NULL;
	struct eg_policy_errors e;
	int r = eg_policy_load(&file, 1, &s, &e);

	if (r != expected)
		assert_int_equal(r, -ENOMEM);
	assert_true(!s == (r != 0));
	eg_policy_set_unref(s);
	eg_policy_errors_fini(&e);
	return r == expected ? 0 : r;
}

/* The arena asks for blocks: a name that grows moves where in the reading each of them is asked
 * for. */
static void policies(void **state)
{
	static const char format[] =
		"{\"version\":\"egret/"
		"v1\",\"credentials\":{\"c%.*s\":{\"type\":\"bearer\",\"file\":\"f\"}},"
		"\"providers\":{\"p\":{\"kind\":\"openai\",\"endpoint\":\"https://"
		"eu.api.openai.com\","
		"\"models\":{\"a\":\"b\"},\"ca_file\":\"ca\"},\"q\":{\"kind\":\"anthropic\","
		"\"endpoint\":"
		"\"https://api.anthropic.com\"}},\"destinations\":[{\"cidr\":\"10.0.0.0/"
		"8\",\"hosts\":"
		"[\"d.example.org\"]}],\"policies\":[{\"name\":\"a\",\"pods\":{\"namespaces\":["
		"\"n\",\"m\"],"
		"\"labels\":{\"k\":\"v\"},\"serviceAccounts\":[\"s\"],"
		"\"namespaceLabels\":{\"t\":\"v\"}},\"regions\":{\"allow\":["
		"\"EU\",\"US\"]},"
		"\"routes\":[{\"name\":\"r\",\"match\":{\"hosts\":[\"a.example.org\",\"*.b.example."
		"org\"],"
		"\"models\":[\"x\",\"y*\",\"z*z\"],\"operations\":[\"models\",\"files\"]},"
		"\"targets\":"
		"[{\"provider\":\"p\"},{\"provider\":\"q\"}]},{\"name\":\"r2\",\"match\":{},"
		"\"targets\":"
		"[{\"provider\":\"q\"}]}]},{\"name\":\"b\",\"pods\":{\"namespaces\":[\"n\"],"
		"\"labels\":"
		"{\"k\":\"v\"}},\"routes\":[]}]}";
	static const char pad[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
	static char text[4096]; /* policy_text points at it */

	expected = 0;
	policy_text = text;
	for (int n = 0; n < 60; n += 7) {
		snprintf(text, sizeof(text), format, n, pad);
		fault_each(load);
	}
}

static void broken_policies(void **state)
{
	expected = -EINVAL;
	policy_text =
		"{\"version\":\"egret/v2\",\"x\":1,\"providers\":{\"p\":{\"kind\":\"azure\"}},"
		"\"policies\":[{\"name\":\"a\",\"pods\":{},\"routes\":[{}]}]}";
	fault_each(load);
	policy_text = "{\"version\":";
	fault_each(load);
}

static int body(void)
{
	static const char text[] =
		"{\"mod\\u0065l\":\"g\\u0070t\",\"messages\":[{\"f\\u0069le_id\":1}],"
		"\"inference_geo\":\"us\"}";
	struct eg_error e = {.text = ""};
	struct eg_body_facts f = {.stream = true};
	const struct eg_operation *op;
	struct eg_str rest;
	struct eg_arena a;
	int r;

	op = eg_operation_find(EG_DIALECT_ANTHROPIC, EG_STR("POST"), EG_STR("/v1/messages"), &rest);
	eg_arena_init(&a, 0);
	r = eg_body_read(&a, op, EG_STR(text), &f, &e);
	if (r) {
		assert_int_equal(r, -ENOMEM);
		assert_true(f.stream); /* untouched */
	} else {
		assert_true(eg_str_eq(f.model, EG_STR("gpt")) && f.store_or_state);
	}
	eg_arena_fini(&a);
	return r;
}

static void bodies(void **state)
{
	fault_each(body);
}

/* Counts may be lost, never invented. */
static int usage(bool sse, const char *text)
{
	struct eg_usage_watch *w = eg_usage_watch_create(EG_DIALECT_OPENAI, NULL, sse);
	struct eg_usage u;
	bool end, error;

	if (!w)
		return -ENOMEM;
	for (const char *c = text; *c; c++)
		eg_usage_watch_feed(w, (struct eg_str){c, 1});
	eg_usage_watch_end(w, &u, &end, &error);
	eg_usage_watch_destroy(w);
	assert_false(error);
	if (u.known)
		assert_int_equal(u.input_tokens, 3);
	return u.known ? 0 : -ENOMEM;
}

static int usage_plain(void)
{
	return usage(false, "{\"model\":\"m\",\"usage\":{\"prompt_tokens\":3}}");
}

static int usage_sse(void)
{
	return usage(true, "data: {\"model\":\"m\",\"usage\":{\"prompt_tokens\":3}}\n\n");
}

static void usages(void **state)
{
	fault_each(usage_plain);
	fault_each(usage_sse);
}

static int memfd = -1;

static int credential(void)
{
	struct eg_credential_spec spec = {.name = "c", .type = EG_CREDENTIAL_BEARER};
	struct eg_credential_set *s = NULL;
	const struct eg_secret *secret;
	const char *why;
	struct eg_buf b;
	int r = eg_credential_set_create(&memfd, 1, &s);

	if (r) {
		assert_int_equal(r, -ENOMEM);
		assert_null(s);
		return r;
	}
	secret = eg_credential_set_get(s, 0, &why);
	assert_true(!secret == (why != NULL));
	eg_buf_init_secret(&b, 4096);
	r = secret ? eg_credential_write(&b, &spec, secret) : -ENOMEM;
	if (r)
		assert_int_equal(r, -ENOMEM);
	assert_int_equal(b.length, r ? 0 : strlen("Authorization: Bearer sk\r\n"));
	eg_buf_fini(&b);
	eg_credential_set_unref(s);
	return r;
}

static void credentials(void **state)
{
	memfd = memfd_create("test", MFD_CLOEXEC);
	assert_true(memfd >= 0);
	assert_int_equal(write(memfd, "sk", 2), 2);
	fault_each(credential);
	eg_fd_close(&memfd);
}

/* One byte at a time, and interrupted: the same secret. */
static void trickled(void **state)
{
	memfd = memfd_create("test", MFD_CLOEXEC);
	assert_true(memfd >= 0);
	assert_int_equal(write(memfd, "sk", 2), 2);
	fault_trickle(1);
	assert_int_equal(credential(), 0);
	fault_trickle(0);
	eg_fd_close(&memfd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policies),    cmocka_unit_test(broken_policies),
		cmocka_unit_test(bodies),      cmocka_unit_test(usages),
		cmocka_unit_test(credentials), cmocka_unit_test(trickled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
