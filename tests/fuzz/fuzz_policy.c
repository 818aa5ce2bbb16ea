/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy files (cut at NUL bytes into several): a set loads or has an error, never both; the same
 * files give the same answer; and a loaded set decides as a reference does that is read route by
 * route.
 */
#include "fuzz.h"
#include "policy/policy.h"
#include "policy_reference.h"

#define FILES 4

static size_t split(const char *text, size_t n, struct eg_policy_file *files)
{
	static const char *const names[FILES] = {"a.json", "b.json", "c.json", "d.json"};
	size_t count = 0;

	while (count < FILES) {
		const char *nul = n ? memchr(text, '\0', n) : NULL;
		size_t length = nul && count + 1 < FILES ? (size_t)(nul - text) : n;

		files[count].name = eg_str_from(names[count]);
		files[count++].text = (struct eg_str){text, length};
		if (length == n)
			break;
		text += length + 1;
		n -= length + 1;
	}
	return count;
}

static size_t count_errors(const struct eg_policy_errors *e)
{
	size_t n = 0;

	for (size_t i = 0; i < e->count; i++) {
		n += !e->item[i].warning;
		FUZZ_CHECK(*e->item[i].text && *e->item[i].path == '$' && *e->item[i].file);
		FUZZ_CHECK(e->item[i].warning || strstr(e->item[i].text, "expected") ||
			   strstr(e->item[i].text, "more errors"));
		/* What syntax.c lets through, jansson takes. */
		FUZZ_CHECK(strncmp(e->item[i].text, "not read as JSON", 16));
		FUZZ_CHECK(e->item[i].line >= 0 && e->item[i].column >= 0);
	}
	return n;
}

static void no_step(void *ctx, const char *what, enum eg_reason reason, const char *format, ...)
	EG_PRINTF(4, 5);
static void no_step(void *ctx, const char *what, enum eg_reason reason, const char *format, ...)
{
	(void)ctx;
	(void)what;
	(void)reason;
	FUZZ_CHECK(format);
}

static void same_decision(const struct eg_decision *a, const struct eg_decision *b)
{
	FUZZ_CHECK(a->reason == b->reason && a->route == b->route && a->pass == b->pass);
	FUZZ_CHECK(a->need_body == b->need_body && a->target_count == b->target_count);
	for (size_t i = 0; i < a->target_count; i++) {
		FUZZ_CHECK(a->targets[i].provider == b->targets[i].provider);
		FUZZ_CHECK(a->targets[i].model == b->targets[i].model);
		FUZZ_CHECK(!memcmp(&a->targets[i].region, &b->targets[i].region,
				   sizeof(a->targets[i].region)));
	}
}

struct question {
	const char *method, *path;
	bool state; /* the body refers to what the provider keeps */
};

static void ask(const struct eg_policy_set *s, const struct eg_policy *p, const char *host,
		const struct question *q, const char *model)
{
	struct eg_request_facts f = {.host = eg_str_from(host),
				     .gateway_address = !*host,
				     .method = eg_str_from(q->method),
				     .body_read = true,
				     .body.model = eg_str_from(model),
				     .body.store_or_state = q->state,
				     .pod_namespace = "shop"};
	struct eg_trace trace = {no_step, NULL};
	struct eg_decision d, traced, reference;
	struct eg_str rest;

	f.target.path = f.target.decoded = eg_str_from(q->path);
	f.dialect = eg_dialect_of_request(f.host, f.target.decoded);
	f.operation = eg_operation_find(f.dialect, f.method, f.target.decoded, &rest);
	eg_policy_decide(s, p, &f, NULL, &d);
	eg_policy_decide(s, p, &f, &trace, &traced);
	same_decision(&d, &traced);
	policy_reference(p, &f, &reference);
	same_decision(&d, &reference);
}

static void ask_all(const struct eg_policy_set *s)
{
	static const char *const hosts[] = {"api.openai.com", "a.b.example.org",
					    "api.anthropic.com", ""};
	static const char *const models[] = {"gpt-4o-mini", "m", NULL};
	static const struct question questions[] = {
		{"POST", "/v1/chat/completions", false},
		{"POST", "/v1/chat/completions", true},
		{"POST", "/v1/messages", false},
		{"POST", "/v1/messages", true},
		{"POST", "/v1/responses", true},
		{"GET", "/v1/files", false},
		{"GET", "/v1/models", false},
		{"POST", "/v1/realtime/client_secrets", false},
	};
	struct eg_identity pod = {
		.namespace_name = "shop", .name = "a", .uid = "u", .service_account = "sa"};
	size_t count;
	const struct eg_policy *p = eg_policies(s, &count),
			       *chosen = eg_policy_select(s, &pod).policy;

	FUZZ_CHECK(!chosen || (chosen >= p && chosen < p + count));
	for (size_t i = 0; i < EG_MIN(count, (size_t)4); i++)
		for (size_t h = 0; h < EG_ARRAY_SIZE(hosts); h++)
			for (size_t m = 0; m < EG_ARRAY_SIZE(models); m++)
				for (size_t q = 0; q < EG_ARRAY_SIZE(questions); q++)
					ask(s, &p[i], hosts[h], &questions[q], models[m]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_copy(data, size), version[17];
	struct eg_policy_file files[FILES];
	size_t count = split(text, size, files), errors;
	struct eg_policy_errors e;
	struct eg_policy_set *s = NULL;
	int r = eg_policy_load(files, count, &s, &e), again;

	errors = count_errors(&e);
	FUZZ_CHECK((r == 0 && s && !errors) || (r == -EINVAL && !s && errors));
	if (s) {
		eg_str_copy(version, sizeof(version), eg_str_from(eg_policy_version(s)));
		ask_all(s);
	}
	eg_policy_set_unref(s);
	eg_policy_errors_fini(&e);
	s = NULL;
	again = eg_policy_load(files, count, &s, &e);
	FUZZ_CHECK(again == r && count_errors(&e) == errors);
	FUZZ_CHECK(!s || !strcmp(version, eg_policy_version(s)));
	eg_policy_set_unref(s);
	eg_policy_errors_fini(&e);
	free(text);
	return 0;
}
