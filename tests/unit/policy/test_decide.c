/* SPDX-License-Identifier: Apache-2.0 */
/* Decisions: the rules one by one, then random policies against a slow, obvious reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fixture.h"

/* Rows leave out what they don't need. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

struct ask {
	const char *host;		  /* NULL: the gateway address */
	const char *method, *path, *body; /* body NULL: only the head is known */
	const char *ns;
};

static struct eg_arena arena;

static void fill_facts(const struct ask *a, struct eg_request_facts *f)
{
	struct eg_error e = {0};
	struct eg_str rest;

	*f = (struct eg_request_facts){.host = eg_str_from(a->host ? a->host : ""),
				       .gateway_address = !a->host,
				       .method = eg_str_from(a->method),
				       .pod_namespace = a->ns ? a->ns : "shop"};
	assert_int_equal(eg_target_parse(&arena, eg_str_from(a->path), &f->target), 0);
	f->dialect = eg_dialect_of_request(f->host, f->target.decoded);
	f->operation = eg_operation_find(f->dialect, f->method, f->target.decoded, &rest);
	if (!a->body)
		return;
	if (f->operation->form_body
		    ? eg_form_read(&arena, f->operation, EG_STR("multipart/form-data; boundary=x"),
				   eg_str_from(a->body), &f->body, &e)
		    : eg_body_read(&arena, f->operation, eg_str_from(a->body), &f->body, &e))
		fail_msg("%s", e.text);
	f->body_read = true;
}

static void decide(const struct eg_policy_set *s, const struct ask *a, struct eg_decision *d)
{
	struct eg_request_facts f;
	struct eg_name_rules rules;
	struct eg_decision again;
	const struct eg_policy *p;
	size_t n;

	fill_facts(a, &f);
	p = &eg_policies(s, &n)[0];
	eg_policy_decide(s, p, &f, NULL, d);
	if (f.gateway_address)
		return;
	/* The same from what was found for the name before. */
	eg_policy_rules_of(s, p, f.host, &rules);
	assert_int_equal(rules.verdict, eg_policy_name(s, p, f.host));
	f.rules = &rules;
	eg_policy_decide(s, p, &f, NULL, &again);
	assert_int_equal(again.reason, d->reason);
	assert_ptr_equal(again.route, d->route);
	assert_int_equal(again.need_body, d->need_body);
	assert_int_equal(again.pass, d->pass);
	assert_int_equal(again.target_count, d->target_count);
	for (size_t i = 0; i < d->target_count; i++)
		assert_ptr_equal(again.targets[i].provider, d->targets[i].provider);
}

static struct eg_policy_set *routes(const char *before, const char *list)
{
	char text[8192];

	snprintf(text, sizeof(text),
		 "{%s,\"policies\":[{\"name\":\"p\",\"pods\":{},%s\"routes\":[%s]}]}", BASE, before,
		 list);
	return must_load(text);
}

#define ROUTE(name, match, targets) \
	"{\"name\":\"" name "\",\"match\":{" match "},\"targets\":[" targets "]}"
#define T(provider)	  "{\"provider\":\"" provider "\"}"
#define OPENAI_HOST	  "\"hosts\":[\"api.openai.com\"]"
#define CLAUDE_HOST	  "\"hosts\":[\"api.anthropic.com\"]"
#define CHAT		  "POST", "/v1/chat/completions"
#define ASKS(model, more) "{\"model\":\"" model "\"," more "}"
#define GPT		  "{\"model\":\"gpt-4o\",\"messages\":[]}"

/* As many rules for a name as fit, and more: each is found, whichever they are kept or not. */
static void names_with_many_rules(void **state)
{
	static const char *const hosts[] = {"a.b.c.d.e.f.com", "*.b.c.d.e.f.com", "*.c.d.e.f.com",
					    "*.d.e.f.com",     "*.e.f.com",	  "*.f.com"};

	eg_arena_init(&arena, 0);
	for (size_t count = 1; count <= EG_ARRAY_SIZE(hosts); count++) {
		char list[4096] = "";
		struct eg_policy_set *s;
		struct eg_name_rules rules;
		struct eg_decision d;
		size_t n;

		for (size_t i = 0; i < count; i++)
			snprintf(list + strlen(list), sizeof(list) - strlen(list),
				 "%s{\"name\":\"r%zu\",\"match\":{\"hosts\":[\"%s\"],\"models\":"
				 "[\"m%zu\"]},\"targets\":[{\"provider\":\"eu\"}]}",
				 i ? "," : "", i, hosts[i], i);
		s = routes("", list);
		eg_policy_rules_of(s, &eg_policies(s, &n)[0], EG_STR("a.b.c.d.e.f.com"), &rules);
		assert_int_equal(rules.count, count);
		for (size_t i = 0; i < count; i++) {
			char body[64];
			struct ask ask = {"a.b.c.d.e.f.com", CHAT, body, NULL};

			snprintf(body, sizeof(body), "{\"model\":\"m%zu\"}", i);
			decide(s, &ask, &d);
			assert_int_equal(d.reason, EG_REASON_OK);
			assert_string_equal(d.route->hosts[0], hosts[i]);
		}
		eg_policy_set_unref(s);
	}
	eg_arena_fini(&arena);
	(void)state;
}

/* One policy, many questions: expected reason, route ("" none) and targets ("" none). */
struct row {
	struct ask ask;
	enum eg_reason reason;
	const char *route, *targets;
};

static void check_rows(const struct eg_policy_set *s, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct row *r = &rows[i];
		struct eg_decision d;
		char targets[256] = "";

		decide(s, &r->ask, &d);
		for (size_t t = 0; t < d.target_count; t++) {
			strcat(targets, t ? " " : "");
			strcat(targets, d.targets[t].provider->name);
		}
		if (d.reason != r->reason || strcmp(d.route ? d.route->name : "", r->route) ||
		    strcmp(targets, r->targets))
			fprintf(stderr, "row %zu (%s %s %s): %s, route %s, targets %s\n", i,
				r->ask.host ? r->ask.host : "gateway", r->ask.method, r->ask.path,
				eg_reason_label(d.reason), d.route ? d.route->name : "-", targets);
		assert_int_equal(d.reason, r->reason);
		assert_string_equal(d.route ? d.route->name : "", r->route);
		assert_string_equal(targets, r->targets);
	}
}

static void models_and_hosts(void **state)
{
	struct eg_policy_set *s = routes(
		"", ROUTE("mini",
			  "\"hosts\":[\"api.openai.com\",\"*.openai.com\"],\"models\":"
			  "[\"gpt-*-mini\",\"o?\"]",
			  T("world")) "," ROUTE("gpt",
						OPENAI_HOST ",\"models\":[\"gpt-4o*\",\"exact\"]",
						T("eu") "," T("world")) "," ROUTE("sub",
										  "\"hosts\":[\"*."
										  "openai.com\"]",
										  T("eu")));
	static const struct row rows[] = {
		{{"api.openai.com", CHAT, "{\"model\":\"gpt-4o-mini\"}"},
		 EG_REASON_OK,
		 "mini",
		 "world"},
		{{"api.openai.com", CHAT, "{\"model\":\"gpt-4o\"}"},
		 EG_REASON_OK,
		 "gpt",
		 "eu world"},
		{{"API.OpenAI.com.", CHAT, "{\"model\":\"gpt-4o\"}"},
		 EG_REASON_OK,
		 "gpt",
		 "eu world"},
		{{"api.openai.com", CHAT, "{\"mod\\u0065l\":\"exac\\u0074\"}"},
		 EG_REASON_OK,
		 "gpt",
		 "eu world"},
		{{"api.openai.com", CHAT, "{\"model\":\"o3\"}"}, EG_REASON_OK, "mini", "world"},
		/* The wildcard route has no models: it takes what the others leave. */
		{{"api.openai.com", CHAT, "{\"model\":\"exactly\"}"}, EG_REASON_OK, "sub", "eu"},
		{{"api.openai.com", CHAT, "{}"}, EG_REASON_OK, "sub", "eu"},
		{{"a.b.openai.com", CHAT, "{\"model\":\"gpt-5-mini\"}"},
		 EG_REASON_OK,
		 "mini",
		 "world"},
		{{"openai.com", CHAT, GPT}, EG_REASON_NO_ROUTE, "", ""},
		{{"xopenai.com", CHAT, GPT}, EG_REASON_NO_ROUTE, "", ""},
		{{"api.openai.com.evil.example", CHAT, GPT}, EG_REASON_NO_ROUTE, "", ""},
		{{"", CHAT, GPT}, EG_REASON_NO_ROUTE, "", ""},
	};

	check_rows(s, rows, EG_ARRAY_SIZE(rows));
	eg_policy_set_unref(s);
}

#define SOUND "POST", "/v1/audio/transcriptions"
#define FIELD(name, value) \
	"--x\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"

static void a_route_with_models_needs_a_model(void **state)
{
	struct eg_policy_set *s =
		routes("", ROUTE("m", OPENAI_HOST ",\"models\":[\"*\"],\"operations\":[\"models\"]",
				 T("world")));
	char longest[400] = "{\"model\":\"";
	struct eg_decision d;
	struct ask long_ask = {"api.openai.com", CHAT, longest, NULL};
	static const struct row rows[] = {
		{{"api.openai.com", CHAT, "{\"model\":\"x\"}"}, EG_REASON_OK, "m", "world"},
		{{"api.openai.com", CHAT, "{}"}, EG_REASON_NO_MODEL, "", ""},
		{{"api.openai.com", CHAT, "{\"model\":7}"}, EG_REASON_BAD_BODY, "", ""},
		{{"api.openai.com", CHAT, "{\"model\":null}"}, EG_REASON_BAD_BODY, "", ""},
		{{"api.openai.com", "GET", "/v1/models"}, EG_REASON_NO_MODEL, "", ""},
		{{"api.openai.com", "GET", "/v1/models/x"}, EG_REASON_OK, "m", "world"},
		{{"api.openai.com", SOUND, FIELD("model", "x") "--x--"},
		 EG_REASON_OK,
		 "m",
		 "world"},
		{{"api.openai.com", SOUND, FIELD("n", "x") "--x--"}, EG_REASON_NO_MODEL, "", ""},
		{{"api.openai.com", SOUND, FIELD("model", "x") FIELD("file_id", "f") "--x--"},
		 EG_REASON_STATEFUL_DENIED,
		 "",
		 ""},
	};

	check_rows(s, rows, EG_ARRAY_SIZE(rows));
	memset(longest + 10, 'x', 257);
	memcpy(longest + 267, "\"}", 3);
	decide(s, &long_ask, &d);
	assert_int_equal(d.reason, EG_REASON_MODEL_DENIED);
	longest[10 + 256] = '"';
	longest[10 + 257] = '}';
	longest[10 + 258] = '\0';
	decide(s, &long_ask, &d);
	assert_int_equal(d.reason, EG_REASON_OK);
	eg_policy_set_unref(s);
}

static void operations(void **state)
{
	struct eg_policy_set *s = routes(
		"", ROUTE("r",
			  OPENAI_HOST ",\"operations\":[\"models\",\"files\",\"responses.stored\"]",
			  T("world") "," T("own")) "," ROUTE("c", CLAUDE_HOST, T("claude")));
	static const struct row rows[] = {
		{{"api.openai.com", "GET", "/v1/models"}, EG_REASON_OK, "r", "world own"},
		/* A key of the query that the API does not define; the head says so. */
		{{"api.openai.com", "GET", "/v1/models?limit=1&key=sk&x=1"},
		 EG_REASON_UNKNOWN_QUERY,
		 "",
		 ""},
		{{"api.openai.com", "GET", "/v1/models?limit=1&key=sk"},
		 EG_REASON_OK,
		 "r",
		 "world own"},
		{{"api.openai.com", "POST", "/v1/embeddings?beta=true"},
		 EG_REASON_UNKNOWN_QUERY,
		 "",
		 ""},
		{{"api.anthropic.com", "POST", "/v1/messages?beta=true", "{\"model\":\"c\"}"},
		 EG_REASON_OK,
		 "c",
		 "claude"},
		{{"api.openai.com", "POST", "/v1/realtime/client_secrets?x=1"},
		 EG_REASON_CREDENTIAL_MINTING,
		 "",
		 ""},
		{{"api.openai.com", "POST", "/v1/embeddings", "{\"model\":\"e\"}"},
		 EG_REASON_OK,
		 "r",
		 "world own"},
		/* Stateful: only where the credential is the pod's namespace's own. */
		{{"api.openai.com", "GET", "/v1/files"}, EG_REASON_OK, "r", "own"},
		{{"api.openai.com", "GET", "/v1/files", NULL, "other"},
		 EG_REASON_STATEFUL_DENIED,
		 "r",
		 ""},
		{{"api.openai.com", "DELETE", "/v1/files/file-1"}, EG_REASON_OK, "r", "own"},
		{{"api.openai.com", "GET", "/v1/batches"}, EG_REASON_STATEFUL_DENIED, "", ""},
		{{"api.openai.com", "GET", "/v1/responses/resp_1"}, EG_REASON_OK, "r", "own"},
		{{"api.openai.com", "POST", "/v1/responses", "{\"model\":\"m\",\"input\":\"x\"}"},
		 EG_REASON_OK,
		 "r",
		 "world own"},
		{{"api.openai.com", "POST", "/v1/responses",
		  "{\"model\":\"m\",\"previous_response_id\":\"resp_1\"}"},
		 EG_REASON_OK,
		 "r",
		 "own"},
		{{"api.openai.com", "POST", "/v1/responses",
		  "{\"model\":\"m\",\"previous_response_id\":\"resp_1\"}", "other"},
		 EG_REASON_STATEFUL_DENIED,
		 "r",
		 ""},
		{{"api.openai.com", CHAT,
		  "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
		  "\"file\","
		  "\"file\":{\"file_id\":\"file-1\"}}]}]}",
		  "other"},
		 EG_REASON_STATEFUL_DENIED,
		 "r",
		 ""},
		{{"api.anthropic.com", "POST", "/v1/messages",
		  "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
		  "\"document\","
		  "\"source\":{\"type\":\"file\",\"f\\u0069le_id\":\"file-1\"}}]}]}"},
		 EG_REASON_STATEFUL_DENIED,
		 "",
		 ""},
		/* Never. */
		{{"api.openai.com", "POST", "/v1/realtime/client_secrets"},
		 EG_REASON_CREDENTIAL_MINTING,
		 "",
		 ""},
		{{"api.openai.com", "PUT", "/v1/realtime/sessions"},
		 EG_REASON_CREDENTIAL_MINTING,
		 "",
		 ""},
		{{"api.openai.com", "GET", "/v1/organization/admin_api_keys"},
		 EG_REASON_CREDENTIAL_MINTING,
		 "",
		 ""},
		{{"api.openai.com", "POST", "/v1/organization/projects/p/service_accounts"},
		 EG_REASON_CREDENTIAL_MINTING,
		 "",
		 ""},
		{{"api.openai.com", "GET", "/v1/organization/users"},
		 EG_REASON_OPERATION_DENIED,
		 "",
		 ""},
		{{"api.anthropic.com", "GET", "/v1/organizations/api_keys"},
		 EG_REASON_CREDENTIAL_MINTING,
		 "",
		 ""},
		/* Not listed, not known. */
		{{"api.anthropic.com", "GET", "/v1/models"}, EG_REASON_OPERATION_DENIED, "", ""},
		{{"api.anthropic.com", "POST", "/v1/messages/count_tokens", "{\"model\":\"m\"}"},
		 EG_REASON_OPERATION_DENIED,
		 "",
		 ""},
		{{"api.openai.com", "GET", "/v1/chat/completions/"},
		 EG_REASON_UNKNOWN_OPERATION,
		 "",
		 ""},
		{{"api.openai.com", "POST", "/v1/Chat/completions"},
		 EG_REASON_UNKNOWN_OPERATION,
		 "",
		 ""},
		{{"api.openai.com", "PUT", "/v1/chat/completions"},
		 EG_REASON_UNKNOWN_OPERATION,
		 "",
		 ""},
		{{"api.openai.com", "POST", "/v1/ch%61t/completions"},
		 EG_REASON_UNKNOWN_OPERATION,
		 "",
		 ""},
		{{"api.openai.com", "POST", "/v2/chat/completions"},
		 EG_REASON_UNKNOWN_OPERATION,
		 "",
		 ""},
		{{"api.openai.com", "POST", "/v1/messages"}, EG_REASON_UNKNOWN_OPERATION, "", ""},
	};

	check_rows(s, rows, EG_ARRAY_SIZE(rows));
	eg_policy_set_unref(s);
}

static void regions(void **state)
{
	struct eg_policy_set *s = routes(
		"\"regions\":{\"allow\":[\"EU\"]},",
		ROUTE("two", OPENAI_HOST ",\"models\":[\"a\"]", T("world") "," T("eu")) "," ROUTE(
			"global", OPENAI_HOST ",\"models\":[\"b\"]",
			T("world")) "," ROUTE("unknown", OPENAI_HOST ",\"models\":[\"c\"]",
					      T("odd")) "," ROUTE("mixed",
								  OPENAI_HOST ",\"models\":[\"d\"]",
								  T("odd") "," T(
									  "world")) "," ROUTE("clau"
											      "de",
											      CLAUDE_HOST,
											      T("cl"
												"au"
												"d"
												"e")));
	static const struct row rows[] = {
		{{"api.openai.com", CHAT, "{\"model\":\"a\"}"}, EG_REASON_OK, "two", "eu"},
		{{"api.openai.com", CHAT, "{\"model\":\"b\"}"},
		 EG_REASON_REGION_DENIED,
		 "global",
		 ""},
		{{"api.openai.com", CHAT, "{\"model\":\"c\"}"},
		 EG_REASON_REGION_UNKNOWN,
		 "unknown",
		 ""},
		{{"api.openai.com", CHAT, "{\"model\":\"d\"}"},
		 EG_REASON_REGION_DENIED,
		 "mixed",
		 ""},
		{{"api.anthropic.com", "POST", "/v1/messages",
		  "{\"model\":\"m\",\"inference_geo\":\"us\"}"},
		 EG_REASON_REGION_DENIED,
		 "claude",
		 ""},
	};
	struct eg_policy_set *us = routes("\"regions\":{\"allow\":[\"US\"]},",
					  ROUTE("claude", CLAUDE_HOST, T("claude")));
	static const struct row us_rows[] = {
		{{"api.anthropic.com", "POST", "/v1/messages",
		  "{\"model\":\"m\",\"inference_geo\":\"us\"}"},
		 EG_REASON_OK,
		 "claude",
		 "claude"},
		{{"api.anthropic.com", "POST", "/v1/messages",
		  "{\"model\":\"m\",\"inference_geo\":\"global\"}"},
		 EG_REASON_REGION_DENIED,
		 "claude",
		 ""},
		{{"api.anthropic.com", "POST", "/v1/messages", "{\"model\":\"m\"}"},
		 EG_REASON_REGION_DENIED,
		 "claude",
		 ""},
		{{"api.anthropic.com", "POST", "/v1/messages",
		  "{\"model\":\"m\",\"inference_geo\":\"US\"}"},
		 EG_REASON_REGION_UNKNOWN,
		 "claude",
		 ""},
		{{"api.anthropic.com", "POST", "/v1/messages",
		  "{\"model\":\"m\",\"inference_geo\":[\"us\"]}"},
		 EG_REASON_REGION_UNKNOWN,
		 "claude",
		 ""},
	};

	check_rows(s, rows, EG_ARRAY_SIZE(rows));
	check_rows(us, us_rows, EG_ARRAY_SIZE(us_rows));
	{ /* what is recorded is where this request lands, not where the endpoint is */
		struct eg_decision d;

		decide(us, &us_rows[0].ask, &d);
		assert_string_equal(d.targets[0].region.code, "US");
		assert_string_equal(d.targets[0].provider->region.code, "GLOBAL");
	}
	eg_policy_set_unref(s);
	eg_policy_set_unref(us);
}

static void kinds_are_not_translated(void **state)
{
	struct eg_policy_set *s =
		routes("", ROUTE("both", "\"hosts\":[\"api.openai.com\",\"api.anthropic.com\"]",
				 T("claude") "," T("eu")) "," ROUTE("late",
								    OPENAI_HOST
								    ",\"operations\":[\"models\"]",
								    T("claude")));
	static const struct row rows[] = {
		{{"api.openai.com", CHAT, GPT}, EG_REASON_OK, "both", "eu"},
		{{"api.anthropic.com", "POST", "/v1/messages", "{}"},
		 EG_REASON_OK,
		 "both",
		 "claude"},
		{{"api.openai.com", "GET", "/v1/models"}, EG_REASON_KIND_MISMATCH, "late", ""},
	};

	check_rows(s, rows, EG_ARRAY_SIZE(rows));
	eg_policy_set_unref(s);
}

static void gateway_address(void **state)
{
	struct eg_policy_set *s = routes(
		"\"otherwise\":\"pass\",",
		ROUTE("gpt", OPENAI_HOST ",\"models\":[\"gpt*\"]", T("world")) "," ROUTE(
			"nohost", "\"models\":[\"llama*\"]",
			T("odd")) "," ROUTE("claude", CLAUDE_HOST ",\"models\":[\"claude*\"]",
					    T("claude")));
	static const struct row rows[] = {
		{{NULL, CHAT, GPT}, EG_REASON_OK, "gpt", "world"},
		{{NULL, CHAT, "{\"model\":\"llama-3\"}"}, EG_REASON_OK, "nohost", "odd"},
		{{NULL, CHAT, "{\"model\":\"claude-3\"}"}, EG_REASON_MODEL_DENIED, "", ""},
		{{NULL, "POST", "/v1/messages", "{\"model\":\"claude-3\"}"},
		 EG_REASON_OK,
		 "claude",
		 "claude"},
		{{NULL, "GET", "/metrics"}, EG_REASON_NO_ROUTE, "", ""},
		/* A route without hosts is reached by no host. */
		{{"api.openai.com", CHAT, "{\"model\":\"llama-3\"}"},
		 EG_REASON_MODEL_DENIED,
		 "",
		 ""},
	};
	struct eg_decision d;
	struct ask metrics = {NULL, "GET", "/metrics", NULL, NULL};

	check_rows(s, rows, EG_ARRAY_SIZE(rows));
	/* `otherwise: pass` has nowhere to pass to from the gateway's own address. */
	decide(s, &metrics, &d);
	assert_false(d.pass);
	eg_policy_set_unref(s);
}

static void otherwise_and_names(void **state)
{
	static const char both[] =
		"{" BASE ",\"policies\":["
		"{\"name\":\"a\",\"pods\":{\"namespaces\":[\"a\"]},\"otherwise\":\"%s\",\"routes\":"
		"[" ROUTE("r", OPENAI_HOST,
			  T("world")) "]},"
				      "{\"name\":\"b\",\"pods\":{\"namespaces\":[\"b\"]},"
				      "\"routes\":[" ROUTE("r", "\"hosts\":[\"*.groq.com\"]",
							   T("world")) "]}]}";

	for (int pass = 0; pass < 2; pass++) {
		char text[4096];
		struct eg_policy_set *s;
		const struct eg_policy *p;
		struct eg_decision d;
		struct ask other = {"api.groq.com", CHAT, GPT, NULL};
		struct ask minting = {"api.openai.com", "POST", "/v1/realtime/sessions", NULL,
				      NULL};
		size_t n;

		snprintf(text, sizeof(text), both, pass ? "pass" : "deny");
		s = must_load(text);
		p = eg_policies(s, &n);
		assert_int_equal(eg_policy_name(s, p, EG_STR("api.openai.com")), EG_NAME_ROUTED);
		assert_int_equal(eg_policy_name(s, p, EG_STR("API.OPENAI.COM.")), EG_NAME_ROUTED);
		assert_int_equal(eg_policy_name(s, p, EG_STR("api.groq.com")), EG_NAME_OTHERWISE);
		assert_int_equal(eg_policy_name(s, p, EG_STR("groq.com")), EG_NAME_UNGOVERNED);
		assert_int_equal(eg_policy_name(s, p + 1, EG_STR("api.groq.com")), EG_NAME_ROUTED);
		assert_int_equal(eg_policy_name(s, p + 1, EG_STR("api.openai.com")),
				 EG_NAME_OTHERWISE);
		assert_int_equal(eg_policy_name(s, p, EG_STR("")), EG_NAME_UNGOVERNED);
		decide(s, &other, &d);
		assert_int_equal(d.pass, pass);
		assert_int_equal(d.reason, pass ? EG_REASON_PASS_THROUGH : EG_REASON_NO_ROUTE);
		/* What a route governs is never passed. */
		decide(s, &minting, &d);
		assert_false(d.pass);
		assert_int_equal(d.reason, EG_REASON_CREDENTIAL_MINTING);
		eg_policy_set_unref(s);
	}
}

static void fronts_are_listed(void **state)
{
	static const struct {
		const char *name;
		bool front;
	} cases[] = {
		{"cdn.example.net", true},    {"CDN.example.net.", true},
		{"a.edge.example", true},     {"a.b.edge.example", true},
		{"edge.example", false},      {"xedge.example", false},
		{"cdn.example.net.x", false}, {"", false},
		{"api.openai.com", false},
	};
	static const char text[] =
		"{\"version\":\"egret/v1\",\"providers\":{"
		"\"a\":{\"kind\":\"openai\",\"endpoint\":\"https://api.openai.com\","
		"\"fronts\":[\"zz.example.net\",\"*.edge.example\"]},"
		"\"b\":{\"kind\":\"anthropic\",\"endpoint\":\"https://api.anthropic.com\","
		"\"fronts\":[\"cdn.example.net\"]}}}";
	struct eg_policy_set *s = must_load(text);

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++)
		assert_int_equal(eg_policy_fronts(s, eg_str_from(cases[i].name)), cases[i].front);
	eg_policy_set_unref(s);
	s = routes("", ROUTE("r", OPENAI_HOST, T("eu")));
	assert_false(eg_policy_fronts(s, EG_STR("cdn.example.net")));
	eg_policy_set_unref(s);
	(void)state;
}

/* A provider's own host is governed for every pod with a policy, whoever's route leads there. */
static void endpoints_are_governed(void **state)
{
	struct eg_policy_set *s = routes("", ROUTE("r", OPENAI_HOST, T("eu")));
	struct ask direct = {"eu.api.openai.com", CHAT, GPT, NULL};
	struct eg_decision d;
	size_t n;
	const struct eg_policy *p = eg_policies(s, &n);

	assert_int_equal(eg_policy_name(s, p, EG_STR("eu.api.openai.com")), EG_NAME_OTHERWISE);
	decide(s, &direct, &d);
	assert_int_equal(d.reason, EG_REASON_NO_ROUTE);
	eg_policy_set_unref(s);
}

/* Bodies that leave the choice to the provider (OpenRouter's "models" and "provider"), or name more
 * models than one (Anthropic's "fallbacks", tools that ask a model of their own). */
static void fallbacks_in_the_body(void **state)
{
	static const char models[] = "{\"model\":\"gpt-4o\",\"models\":[\"o1-pro\"]}";
	static const char provider[] = "{\"model\":\"gpt-4o\",\"provider\":{\"only\":[\"x\"]}}";
	struct eg_policy_set *by_model =
		routes("", ROUTE("r", OPENAI_HOST ",\"models\":[\"gpt-4o*\"]", T("world")));
	struct eg_policy_set *any = routes(
		"", ROUTE("r", OPENAI_HOST, T("world")) "," ROUTE("c", CLAUDE_HOST, T("claude")));
	struct eg_policy_set *claude =
		routes("", ROUTE("c", CLAUDE_HOST ",\"models\":[\"claude-h*\"]", T("claude")));
	struct eg_policy_set *region =
		routes("\"regions\":{\"allow\":[\"EU\"]},", ROUTE("r", OPENAI_HOST, T("eu")));
	struct eg_policy_set *us =
		routes("\"regions\":{\"allow\":[\"US\"]},", ROUTE("c", CLAUDE_HOST, T("claude")));
	static const char form_models[] =
		FIELD("model", "gpt-4o") FIELD("models[]", "o1-pro") "--x--";
	static const char form_provider[] =
		FIELD("model", "gpt-4o") FIELD("provider", "{\"only\":[\"x\"]}") "--x--";
	const struct {
		struct eg_policy_set *set;
		const char *body;
		enum eg_reason reason;
	} rows[] = {
		{by_model, form_models, EG_REASON_MODEL_DENIED},
		{by_model, form_provider, EG_REASON_OK},
		{any, form_models, EG_REASON_OK},
		{region, form_models, EG_REASON_REGION_UNKNOWN},
		{region, form_provider, EG_REASON_REGION_UNKNOWN},
		{by_model, models, EG_REASON_MODEL_DENIED},
		{by_model, provider, EG_REASON_OK},
		{any, models, EG_REASON_OK},
		{any, provider, EG_REASON_OK},
		{region, models, EG_REASON_REGION_UNKNOWN},
		{region, provider, EG_REASON_REGION_UNKNOWN},
		{region, "{\"model\":\"gpt-4o\",\"models\":null}", EG_REASON_OK},
		{by_model,
		 ASKS("gpt-4o", "\"tools\":[{\"type\":\"image_generation\",\"model\":\"x\"}]"),
		 EG_REASON_MODEL_DENIED},
		{by_model,
		 ASKS("gpt-4o",
		      "\"input\":[\"a\",{\"type\":\"additional_tools\",\"tools\":[{\"type\":\"x\"},"
		      "{\"type\":\"image_generation\",\"model\":\"x\"}]}]"),
		 EG_REASON_MODEL_DENIED},
		{by_model,
		 ASKS("gpt-4o",
		      "\"input\":[{\"tools\":[]},{\"type\":\"tool_search_output\",\"t\\u006fols\": "
		      "[{\"model\":\"x\"}]}]"),
		 EG_REASON_MODEL_DENIED},
		{any, ASKS("gpt-4o", "\"input\":[{\"tools\":[{\"model\":\"x\"}]}]"), EG_REASON_OK},
		{by_model,
		 ASKS("gpt-4o",
		      "\"input\":[{\"tools\":[{\"model\":null,\"parameters\":{\"model\":{}}}],"
		      "\"content\":[{\"model\":\"x\"}]},{\"model\":\"x\",\"content\":[{\"tools\":"
		      "[{\"model\":\"x\"}]}]},{\"tools\":{\"a\":{\"model\":\"x\"}}},"
		      "[[{\"model\":\"x\"}]]]"),
		 EG_REASON_OK},
		{claude, ASKS("claude-h", "\"fallbacks\":[{\"model\":\"claude-o\"}]"),
		 EG_REASON_MODEL_DENIED},
		{claude, ASKS("claude-h", "\"fallb\\u0061cks\":\"default\""),
		 EG_REASON_MODEL_DENIED},
		{claude, ASKS("claude-h", "\"fallbacks\":null"), EG_REASON_OK},
		{claude, ASKS("claude-h", "\"models\":[\"claude-o\"]"), EG_REASON_MODEL_DENIED},
		{claude,
		 ASKS("claude-h", "\"tools\":[{\"name\":\"a\"}, {\"mod\\u0065l\":\"claude-o\"}]"),
		 EG_REASON_MODEL_DENIED},
		{claude,
		 ASKS("claude-h",
		      "\"tools\":[{\"name\":\"model\",\"input_schema\":{\"model\":{}}}, []]"),
		 EG_REASON_OK},
		{claude,
		 ASKS("claude-h",
		      "\"tools\":[{\"a\":[\"model\"],\"b\":\"model\"},{\"model\" : null}]"),
		 EG_REASON_OK},
		{claude,
		 ASKS("claude-h", "\"tools\":[[1],{\"a\":{\"model\":1}},{ \"model\" : \"x\"}]"),
		 EG_REASON_MODEL_DENIED},
		{any, ASKS("claude-h", "\"fallbacks\":[{\"model\":\"claude-o\"}]"), EG_REASON_OK},
		{any, ASKS("claude-h", "\"tools\":[{\"model\":\"claude-o\"}]"), EG_REASON_OK},
		{us, ASKS("claude-h", "\"inference_geo\":\"us\""), EG_REASON_OK},
		{us,
		 ASKS("claude-h", "\"inference_geo\":\"us\",\"tools\":[{\"model\":\"claude-o\"}]"),
		 EG_REASON_OK},
		{us, ASKS("claude-h", "\"inference_geo\":\"us\",\"provider\":{\"only\":[\"x\"]}"),
		 EG_REASON_REGION_UNKNOWN},
		{us, ASKS("claude-h", "\"inference_geo\":\"us\",\"fallbacks\":\"default\""),
		 EG_REASON_REGION_UNKNOWN},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct ask a = {"api.openai.com", CHAT, rows[i].body, NULL};
		struct eg_decision d;

		if (*rows[i].body == '-')
			a.path = "/v1/audio/transcriptions";
		if (strstr(rows[i].body, "\"input\""))
			a.path = "/v1/responses";
		if (strstr(rows[i].body, "claude-h"))
			a = (struct ask){"api.anthropic.com", "POST", "/v1/messages", rows[i].body,
					 NULL};
		decide(rows[i].set, &a, &d);
		if (d.reason != rows[i].reason)
			fail_msg("row %zu: %s", i, eg_reason_label(d.reason));
	}
	eg_policy_set_unref(by_model);
	eg_policy_set_unref(any);
	eg_policy_set_unref(claude);
	eg_policy_set_unref(region);
	eg_policy_set_unref(us);
}

/* Each request of a batch may say where it runs, and none is read. */
static void batches_and_regions(void **state)
{
	static const char text[] =
		"{\"version\":\"egret/v1\",\"providers\":{\"mine\":{\"kind\":\"anthropic\","
		"\"endpoint\":\"https://"
		"api.anthropic.com\",\"region\":\"US\",\"credential\":\"own\"}},"
		"\"credentials\":{\"own\":{\"type\":\"bearer\",\"file\":\"k\",\"namespace\":"
		"\"shop\"}},"
		"\"policies\":[{\"name\":\"p\",\"pods\":{},\"regions\":{\"allow\":[\"US\"]},"
		"\"routes\":[" ROUTE("c", CLAUDE_HOST ",\"operations\":[\"messages.batches\"]",
				     T("mine")) "]}]}";
	static const struct row rows[] = {
		{{"api.anthropic.com", "POST", "/v1/messages", "{\"model\":\"m\"}"},
		 EG_REASON_OK,
		 "c",
		 "mine"},
		{{"api.anthropic.com", "POST", "/v1/messages/batches"},
		 EG_REASON_REGION_UNKNOWN,
		 "c",
		 ""},
		{{"api.anthropic.com", "GET", "/v1/messages/batches"}, EG_REASON_OK, "c", "mine"},
		{{"api.anthropic.com", "POST", "/v1/messages/batches/b_1/cancel"},
		 EG_REASON_OK,
		 "c",
		 "mine"},
	};
	struct eg_policy_set *s = must_load(text);

	check_rows(s, rows, EG_ARRAY_SIZE(rows));
	eg_policy_set_unref(s);
}

/* What a provider keeps is with it alone: the first owned target, and none after it. */
static void state_has_one_target(void **state)
{
	static const char text[] =
		"{\"version\":\"egret/v1\",\"providers\":{"
		"\"shared\":{\"kind\":\"openai\",\"endpoint\":\"https://a.example.org\"},"
		"\"one\":{\"kind\":\"openai\",\"endpoint\":\"https://"
		"b.example.org\",\"credential\":\"own\"},"
		"\"two\":{\"kind\":\"openai\",\"endpoint\":\"https://"
		"c.example.org\",\"credential\":\"own\"}},"
		"\"credentials\":{\"own\":{\"type\":\"bearer\",\"file\":\"k\",\"namespace\":"
		"\"shop\"}},"
		"\"policies\":[{\"name\":\"p\",\"pods\":{},\"routes\":[" ROUTE(
			"r", OPENAI_HOST ",\"operations\":[\"files\"]",
			T("shared") "," T("one") "," T("two")) "]}]}";
	static const char with_file[] =
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"file\","
		"\"file\":{\"file_id\":\"file-1\"}}]}]}";
	struct ask files = {"api.openai.com", "GET", "/v1/files", NULL, NULL};
	struct ask refers = {"api.openai.com", CHAT, with_file, NULL};
	struct ask plain = {"api.openai.com", CHAT, GPT, NULL};
	struct eg_policy_set *s = must_load(text);
	struct ask *stateful[] = {&files, &refers};
	struct eg_decision d;

	for (size_t i = 0; i < EG_ARRAY_SIZE(stateful); i++) {
		decide(s, stateful[i], &d);
		assert_int_equal(d.reason, EG_REASON_OK);
		assert_int_equal(d.target_count, 1);
		assert_string_equal(d.targets[0].provider->name, "one");
	}
	decide(s, &plain, &d);
	assert_int_equal(d.target_count, 3);
	eg_policy_set_unref(s);
}

static void shadow_and_no_policy(void **state)
{
	struct eg_policy_set *s = routes("\"mode\":\"shadow\",\"shadow\":\"full\",",
					 ROUTE("r", OPENAI_HOST ",\"models\":[\"x\"]", T("world")));
	struct ask denied = {"api.openai.com", CHAT, GPT, NULL};
	struct eg_request_facts f;
	struct eg_decision d;

	decide(s, &denied, &d);
	assert_true(d.shadow);
	assert_int_equal(d.reason, EG_REASON_MODEL_DENIED);
	fill_facts(&denied, &f);
	eg_policy_decide(s, NULL, &f, NULL, &d);
	assert_int_equal(d.reason, EG_REASON_NO_POLICY);
	assert_false(d.shadow);
	eg_policy_set_unref(s);
}

static void head_first(void **state)
{
	struct eg_policy_set *s = routes("", ROUTE("r", OPENAI_HOST, T("world")));
	struct ask head = {"api.openai.com", CHAT, NULL, NULL};
	struct ask denied = {"api.openai.com", "GET", "/v1/files", NULL, NULL};
	struct ask form = {"api.openai.com", SOUND, NULL, NULL};
	struct eg_decision d;

	decide(s, &head, &d);
	assert_true(d.need_body);
	assert_int_equal(d.reason, EG_REASON_OK);
	assert_int_equal(d.target_count, 0);
	decide(s, &form, &d);
	assert_true(d.need_body);
	/* A denial that the head decides does not wait for a body. */
	decide(s, &denied, &d);
	assert_false(d.need_body);
	assert_int_equal(d.reason, EG_REASON_STATEFUL_DENIED);
	eg_policy_set_unref(s);
}

static void models_are_mapped(void **state)
{
	struct eg_policy_set *s = must_load(
		"{\"version\":\"egret/v1\",\"providers\":{\"p\":{\"kind\":\"openai\",\"endpoint\":"
		"\"https://bedrock-mantle.eu-central-1.api.aws/v1\",\"models\":{\"gpt-4o\":"
		"\"global.openai.gpt-oss\",\"small\":\"openai.gpt-oss\"}}},\"policies\":[{\"name\":"
		"\"p\","
		"\"pods\":{},\"regions\":{\"allow\":[\"EU\"]},\"routes\":[" ROUTE("r", OPENAI_HOST,
										  T("p")) "]}]}");
	struct ask mapped = {"api.openai.com", CHAT, "{\"model\":\"small\"}", NULL};
	struct ask away = {"api.openai.com", CHAT, GPT, NULL};
	struct ask as_is = {"api.openai.com", CHAT, "{\"model\":\"openai.gpt-oss\"}", NULL};
	struct eg_decision d;

	decide(s, &mapped, &d);
	assert_int_equal(d.reason, EG_REASON_OK);
	assert_string_equal(d.targets[0].model, "openai.gpt-oss");
	/* The region is judged by the model that is sent, not by the one that was asked for. */
	decide(s, &away, &d);
	assert_int_equal(d.reason, EG_REASON_REGION_DENIED);
	decide(s, &as_is, &d);
	assert_int_equal(d.reason, EG_REASON_OK);
	assert_null(d.targets[0].model);
	eg_policy_set_unref(s);
}

/* ---- random policies against the reference ---- */
static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint32_t pick(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 33) % n;
}

#define PICK(list) ((list)[pick(EG_ARRAY_SIZE(list))])

static const char *const host_patterns[] = {"api.openai.com", "a.example.org",	  "b.example.org",
					    "*.example.org",  "*.b.example.org",  "x.b.example.org",
					    "*.openai.com",   "api.anthropic.com"};
static const char *const hosts[] = {"api.openai.com", "a.example.org",	 "b.example.org",
				    "c.example.org",  "x.b.example.org", "y.x.b.example.org",
				    "example.org",    "eu.openai.com",	 "api.anthropic.com"};
static const char *const globs[] = {"m1",     "m2",	  "m*",	     "*",	"m?",
				    "*2",     "gpt-*",	  "gpt-4o*", "g*-mini", "gpt-?o*mini",
				    "gpt-4o", "claude-*", "m11"};
static const char *const models[] = {"m1",   "m2",     "m11",	   "x2", "gpt-4o", "gpt-4o-mini",
				     "gpt-", "g-mini", "claude-3", "M1", ""};
static const char *const listed_operations[] = {"models", "files", "batches", "responses.stored",
						"messages.count_tokens"};
static const char *const providers[] = {"eu", "world", "own", "odd", "claude"};
static const char *const region_codes[] = {"EU", "US", "cluster", "DE"};
static const struct {
	const char *method, *path;
} paths[] = {{"POST", "/v1/chat/completions"},
	     {"POST", "/v1/responses"},
	     {"POST", "/v1/embeddings"},
	     {"GET", "/v1/models"},
	     {"GET", "/v1/models/m1"},
	     {"GET", "/v1/files"},
	     {"POST", "/v1/batches"},
	     {"POST", "/v1/messages"},
	     {"POST", "/v1/messages/count_tokens"},
	     {"GET", "/v1/responses/r1"},
	     {"POST", "/v1/realtime/client_secrets"},
	     {"GET", "/v1/organization/users"},
	     {"POST", "/v1/nothing"},
	     {"POST", "/v1/audio/transcriptions"}};

struct text {
	char p[65536];
	size_t n;
};

static void put(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct text *t, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	t->n += (size_t)vsnprintf(t->p + t->n, sizeof(t->p) - t->n, format, ap);
	va_end(ap);
	assert_true(t->n < sizeof(t->p));
}

/* A random subset in random order, without repeats, as a JSON array. */
static void put_some(struct text *t, const char *key, const char *const *list, uint32_t count,
		     uint32_t most, const char *open, const char *close)
{
	uint32_t used = 0, n = 1 + pick(most);

	put(t, "\"%s\":[", key);
	for (uint32_t i = 0, first = 1; i < n; i++) {
		uint32_t k = pick(count);

		if (used & (1u << k))
			continue;
		used |= 1u << k;
		put(t, "%s%s%s%s", first ? "" : ",", open, list[k], close);
		first = 0;
	}
	put(t, "]");
}

static void put_route(struct text *t, uint32_t number)
{
	const char *comma = "";

	put(t, "{\"name\":\"r%u\",\"match\":{", number);
	if (pick(8)) {
		put_some(t, "hosts", host_patterns, EG_ARRAY_SIZE(host_patterns), 3, "\"", "\"");
		comma = ",";
	}
	if (pick(3)) {
		put(t, "%s", comma);
		put_some(t, "models", globs, EG_ARRAY_SIZE(globs), 3, "\"", "\"");
		comma = ",";
	}
	if (!pick(3)) {
		put(t, "%s", comma);
		put_some(t, "operations", listed_operations, EG_ARRAY_SIZE(listed_operations), 3,
			 "\"", "\"");
	}
	put(t, "},");
	put_some(t, "targets", providers, EG_ARRAY_SIZE(providers), 3, "{\"provider\":\"", "\"}");
	put(t, "}");
}

static void random_policies(struct text *t)
{
	uint32_t count = 1 + pick(3);

	put(t, "{%s,\"policies\":[", BASE);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t routes_count = pick(12);

		put(t, "%s{\"name\":\"p%u\",\"pods\":{},\"otherwise\":\"%s\",", i ? "," : "", i,
		    pick(2) ? "pass" : "deny");
		if (!pick(3)) {
			put(t, "\"regions\":{");
			put_some(t, "allow", region_codes, EG_ARRAY_SIZE(region_codes), 2, "\"",
				 "\"");
			put(t, "},");
		}
		put(t, "\"routes\":[");
		for (uint32_t r = 0; r < routes_count; r++) {
			put(t, "%s", r ? "," : "");
			put_route(t, r);
		}
		put(t, "]}");
	}
	put(t, "]}");
}

static bool ref_host(const char *pattern, struct eg_str host)
{
	if (pattern[0] != '*')
		return eg_str_eq(eg_str_from(pattern), host);
	return host.n > strlen(pattern) - 1 && eg_str_ends(host, eg_str_from(pattern + 1));
}

static bool ref_has_host(const struct eg_route *r, const struct eg_request_facts *f)
{
	for (size_t i = 0; i < (f->gateway_address ? r->target_count : r->host_count); i++)
		if (f->gateway_address ? r->targets[i].provider->dialect == f->dialect
				       : ref_host(r->hosts[i], f->host))
			return true;
	return false;
}

static bool ref_has_model(const struct eg_route *r, struct eg_str model)
{
	if (!r->model_count)
		return true;
	for (size_t i = 0; i < r->model_count && model.p; i++)
		if (eg_glob(eg_str_from(r->models[i]), model))
			return true;
	return false;
}

static bool ref_lists(const struct eg_route *r, const char *operation)
{
	for (size_t i = 0; i < r->operation_count; i++)
		if (!strcmp(r->operations[i]->name, operation))
			return true;
	return false;
}

/* NULL: inference, allowed by every route. */
static bool ref_allows(const struct eg_route *r, const char *operation)
{
	return !operation || ref_lists(r, operation);
}

static void ref_targets(const struct eg_policy *p, const struct eg_route *r,
			const struct eg_request_facts *f, bool stateful, struct eg_decision *out)
{
	size_t denied = 0, unknown = 0, state = 0;

	for (size_t i = 0; i < r->target_count; i++) {
		const struct eg_provider *t = r->targets[i].provider;
		bool in_region = !p->region_count;

		if (t->dialect != f->dialect)
			continue;
		for (size_t k = 0; k < p->region_count; k++)
			in_region = in_region || eg_region_satisfies(&t->region, &p->regions[k]);
		if (!in_region) {
			denied += *t->region.code != '\0';
			unknown += *t->region.code == '\0';
		} else if (stateful &&
			   !(t->credential && t->credential->owner_namespace &&
			     !strcmp(t->credential->owner_namespace, f->pod_namespace))) {
			state++;
		} else if (!stateful || !out->target_count) {
			out->targets[out->target_count].region = t->region;
			out->targets[out->target_count++].provider = t;
		}
	}
	out->reason = out->target_count ? EG_REASON_OK
		      : state		? EG_REASON_STATEFUL_DENIED
		      : denied		? EG_REASON_REGION_DENIED
		      : unknown		? EG_REASON_REGION_UNKNOWN
					: EG_REASON_KIND_MISMATCH;
}

/* The rules of docs/policy.md, written down route by route. */
static void reference(const struct eg_policy *p, const struct eg_request_facts *f,
		      struct eg_decision *out)
{
	const struct eg_operation *op = f->operation;
	const char *operation = op->class == EG_CLASS_INFERENCE ? NULL : op->name;
	bool stateful = op->class == EG_CLASS_STATEFUL, named = false, possible = false;
	bool model_fits = false;
	struct eg_str model = f->body_read ? f->body.model : (struct eg_str){0};

	*out = (struct eg_decision){0};
	if (f->body_read && f->body.store_or_state) {
		stateful = true;
		operation = !strncmp(op->name, "responses", 9) ? "responses.stored" : "files";
	}
	if (op->model_in_path)
		model = EG_STR("m1");
	for (size_t i = 0; i < p->route_count; i++) {
		const struct eg_route *r = &p->routes[i];

		if (!ref_has_host(r, f))
			continue;
		named = true;
		possible = possible || ref_allows(r, operation);
		model_fits = model_fits || ref_has_model(r, model);
		if (!out->route && ref_has_model(r, model) && ref_allows(r, operation))
			out->route = r;
	}
	if (!named) {
		out->pass = p->otherwise_pass && !f->gateway_address;
		out->reason = out->pass ? EG_REASON_PASS_THROUGH : EG_REASON_NO_ROUTE;
		return;
	}
	if (op->class == EG_CLASS_UNKNOWN || op->class == EG_CLASS_CREDENTIAL ||
	    op->class == EG_CLASS_ADMIN || !possible) {
		out->reason = op->class == EG_CLASS_UNKNOWN	 ? EG_REASON_UNKNOWN_OPERATION
			      : op->class == EG_CLASS_CREDENTIAL ? EG_REASON_CREDENTIAL_MINTING
			      : stateful			 ? EG_REASON_STATEFUL_DENIED
								 : EG_REASON_OPERATION_DENIED;
		out->route = NULL;
		return;
	}
	out->need_body = (op->json_body || op->form_body) && !f->body_read;
	out->reason = EG_REASON_OK;
	if (out->need_body) {
		out->route = NULL;
		return;
	}
	if (out->route)
		ref_targets(p, out->route, f, stateful, out);
	else if (model_fits)
		out->reason = stateful ? EG_REASON_STATEFUL_DENIED : EG_REASON_OPERATION_DENIED;
	else
		out->reason = model.p ? EG_REASON_MODEL_DENIED : EG_REASON_NO_MODEL;
}

static void random_ask(struct ask *a, char *body, size_t cap)
{
	static const char part[] = "Content-Disposition: form-data; name=\"";
	uint32_t path = pick(EG_ARRAY_SIZE(paths));
	static const char *const namespaces[] = {"shop", "other"};

	*a = (struct ask){.host = pick(6) ? PICK(hosts) : NULL,
			  .method = paths[path].method,
			  .path = paths[path].path,
			  .ns = PICK(namespaces)};
	if (!pick(4))
		return;
	a->body = body;
	if (!strcmp(a->path, "/v1/audio/transcriptions")) {
		const char *model = PICK(models);

		snprintf(body, cap, "--x\r\n%s%s\"\r\n\r\n%s\r\n%s--x--", part,
			 pick(5) ? "model" : "x", *model ? model : "z",
			 pick(4) ? "" : FIELD("image[file_id]", "1"));
		return;
	}
	snprintf(body, cap, "{%s%s%s%s}", pick(5) ? "\"model\":\"" : "\"x\":\"", PICK(models), "\"",
		 pick(4) ? "" : ",\"previous_response_id\":\"r\",\"file_ids\":[1]");
}

static void compare(const struct eg_policy_set *s, const char *text)
{
	size_t n;
	const struct eg_policy *policies = eg_policies(s, &n);
	struct eg_decision got, expected;
	struct eg_request_facts f;
	struct ask a;
	char body[256];

	random_ask(&a, body, sizeof(body));
	fill_facts(&a, &f);
	policies += pick((uint32_t)n);
	eg_policy_decide(s, policies, &f, NULL, &got);
	reference(policies, &f, &expected);
	if (got.reason != expected.reason || got.route != expected.route ||
	    got.pass != expected.pass || got.need_body != expected.need_body ||
	    got.target_count != expected.target_count ||
	    memcmp(got.targets, expected.targets, sizeof(got.targets[0]) * got.target_count) != 0) {
		fprintf(stderr, "%s\n%s: %s %s %s %s in %s: got %s (%s), expected %s (%s)\n", text,
			policies->name, a.host ? a.host : "gateway", a.method, a.path,
			a.body ? a.body : "-", a.ns, eg_reason_label(got.reason),
			got.route ? got.route->name : "-", eg_reason_label(expected.reason),
			expected.route ? expected.route->name : "-");
		fail();
	}
}

static void random_policies_agree_with_the_reference(void **state)
{
	static struct text text;

	for (int i = 0; i < 400; i++) {
		struct eg_policy_set *s;

		text.n = 0;
		random_policies(&text);
		s = must_load(text.p);
		for (int k = 0; k < 250; k++)
			compare(s, text.p);
		eg_policy_set_unref(s);
		eg_arena_fini(&arena);
		eg_arena_init(&arena, 0);
	}
}

/* Ten thousand policies, one of them asked: its decision is right, and found by hash. */
static void large_sets(void **state)
{
	size_t size = 4u << 20, n = 0;
	char *text = malloc(size);
	struct eg_policy_errors e;
	struct eg_policy_set *s;
	const struct eg_policy *p;
	struct ask a = {"api.openai.com", CHAT, "{\"model\":\"m9000-x\"}", NULL};
	struct eg_request_facts f;
	struct eg_decision d;

	assert_non_null(text);
	n += (size_t)snprintf(text, size, "{%s,\"policies\":[", BASE);
	for (int i = 0; i < 10000; i++)
		n += (size_t)snprintf(text + n, size - n,
				      "%s{\"name\":\"p%d\",\"pods\":{\"namespaces\":[\"n%d\"]},"
				      "\"routes\":[{\"name\":\"r\",\"match\":{\"hosts\":"
				      "[\"api.openai.com\"],\"models\":[\"m%d-*\"]},\"targets\":"
				      "[{\"provider\":\"eu\"}]}]}",
				      i ? "," : "", i, i, i);
	n += (size_t)snprintf(text + n, size - n, "]}");
	assert_true(n < size);
	assert_int_equal(load_text(text, &s, &e), 0);
	p = eg_policies(s, &n);
	assert_int_equal(n, 10000);
	fill_facts(&a, &f);
	for (size_t i = 8999; i < 9002; i++) {
		eg_policy_decide(s, &p[i], &f, NULL, &d);
		assert_int_equal(d.reason, i == 9000 ? EG_REASON_OK : EG_REASON_MODEL_DENIED);
	}
	eg_policy_set_unref(s);
	eg_policy_errors_fini(&e);
	free(text);
}

static int set_up(void **state)
{
	eg_arena_init(&arena, 0);
	return 0;
}

static int tear_down(void **state)
{
	eg_arena_fini(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_with_many_rules),
		cmocka_unit_test_setup_teardown(models_and_hosts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_route_with_models_needs_a_model, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(operations, set_up, tear_down),
		cmocka_unit_test_setup_teardown(regions, set_up, tear_down),
		cmocka_unit_test_setup_teardown(kinds_are_not_translated, set_up, tear_down),
		cmocka_unit_test_setup_teardown(gateway_address, set_up, tear_down),
		cmocka_unit_test_setup_teardown(otherwise_and_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(endpoints_are_governed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(fronts_are_listed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(fallbacks_in_the_body, set_up, tear_down),
		cmocka_unit_test_setup_teardown(batches_and_regions, set_up, tear_down),
		cmocka_unit_test_setup_teardown(state_has_one_target, set_up, tear_down),
		cmocka_unit_test_setup_teardown(shadow_and_no_policy, set_up, tear_down),
		cmocka_unit_test_setup_teardown(head_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(models_are_mapped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(random_policies_agree_with_the_reference, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(large_sets, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
