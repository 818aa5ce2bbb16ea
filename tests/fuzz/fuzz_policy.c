/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy files (cut at NUL bytes into several): a set loads or has an error, never both; the same
 * files give the same answer; and what a loaded set decides keeps to what its own routes say.
 */
#include "fuzz.h"
#include "policy/policy.h"

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

static bool host_of(const struct eg_route *r, struct eg_str host)
{
	for (size_t i = 0; i < r->host_count; i++) {
		struct eg_str p = eg_str_from(r->hosts[i]);

		if (p.p[0] == '*' ? host.n > p.n - 1 &&
					    eg_str_ends(host, (struct eg_str){p.p + 1, p.n - 1})
				  : eg_str_eq(p, host))
			return true;
	}
	return false;
}

static bool model_of(const struct eg_route *r, struct eg_str model)
{
	for (size_t i = 0; i < r->model_count; i++)
		if (model.p && eg_glob(eg_str_from(r->models[i]), model))
			return true;
	return !r->model_count;
}

static void check_targets(const struct eg_policy *p, const struct eg_request_facts *f,
			  const struct eg_decision *d)
{
	FUZZ_CHECK(d->target_count && d->target_count <= EG_MAX_TARGETS && d->route);
	for (size_t i = 0; i < d->target_count; i++) {
		const struct eg_provider *t = d->targets[i].provider;
		struct eg_region where;
		bool in_region = !p->region_count;

		FUZZ_CHECK(t->dialect == f->dialect);
		eg_region_of_request(t->dialect, eg_str_from(t->host), &t->region, t->region_stated,
				     d->targets[i].model ? eg_str_from(d->targets[i].model)
							 : f->body.model,
				     &f->body, &where);
		for (size_t k = 0; k < p->region_count; k++)
			in_region = in_region || eg_region_satisfies(&where, &p->regions[k]);
		FUZZ_CHECK(in_region);
	}
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

static void ask(const struct eg_policy_set *s, const struct eg_policy *p, const char *host,
		const char *method, const char *path, const char *model)
{
	struct eg_request_facts f = {.host = eg_str_from(host),
				     .gateway_address = !*host,
				     .method = eg_str_from(method),
				     .body_read = true,
				     .body.model = eg_str_from(model),
				     .pod_namespace = "shop"};
	struct eg_trace trace = {no_step, NULL};
	struct eg_decision d, traced;
	struct eg_str rest;

	f.target.path = f.target.decoded = eg_str_from(path);
	f.dialect = eg_dialect_of_request(f.host, f.target.decoded);
	f.operation = eg_operation_find(f.dialect, f.method, f.target.decoded, &rest);
	eg_policy_decide(s, p, &f, NULL, &d);
	eg_policy_decide(s, p, &f, &trace, &traced);
	FUZZ_CHECK(d.reason == traced.reason && d.route == traced.route &&
		   d.target_count == traced.target_count && d.pass == traced.pass);
	FUZZ_CHECK(!d.need_body);
	if (d.reason != EG_REASON_OK)
		return;
	FUZZ_CHECK(f.operation->class != EG_CLASS_CREDENTIAL &&
		   f.operation->class != EG_CLASS_ADMIN && f.operation->class != EG_CLASS_UNKNOWN);
	FUZZ_CHECK(f.gateway_address || host_of(d.route, f.host));
	if (f.operation->model_in_body)
		FUZZ_CHECK(model_of(d.route, f.body.model));
	check_targets(p, &f, &d);
}

static void ask_all(const struct eg_policy_set *s)
{
	static const char *const hosts[] = {"api.openai.com", "a.b.example.org",
					    "api.anthropic.com", ""};
	static const char *const models[] = {"gpt-4o-mini", "m", NULL};
	struct eg_identity pod = {
		.namespace_name = "shop", .name = "a", .uid = "u", .service_account = "sa"};
	size_t count;
	const struct eg_policy *p = eg_policies(s, &count), *chosen = eg_policy_select(s, &pod);

	FUZZ_CHECK(!chosen || (chosen >= p && chosen < p + count));
	for (size_t i = 0; i < EG_MIN(count, (size_t)4); i++)
		for (size_t h = 0; h < EG_ARRAY_SIZE(hosts); h++)
			for (size_t m = 0; m < EG_ARRAY_SIZE(models); m++) {
				ask(s, &p[i], hosts[h], "POST", "/v1/chat/completions", models[m]);
				ask(s, &p[i], hosts[h], "POST", "/v1/messages", models[m]);
				ask(s, &p[i], hosts[h], "GET", "/v1/files", NULL);
				ask(s, &p[i], hosts[h], "POST", "/v1/realtime/client_secrets",
				    NULL);
			}
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
