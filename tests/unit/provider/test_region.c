/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "provider/provider.h"
#include "shared.h"

static void names_to_codes(void **state)
{
	static const struct {
		const char *text, *code;
	} cases[] = {
		{"EU", "EU"},
		{"eu", "EU"},
		{"US", "US"},
		{"us", "US"},
		{"UK", "UK"},
		{"GB", "UK"},
		{"DE", "EU:DE"},
		{"EU:DE", "EU:DE"},
		{"cluster", "cluster"},
		{"GLOBAL", "GLOBAL"},
		{"global", "GLOBAL"},
		/* The traps: not the EU. */
		{"eu-west-2", "UK"},
		{"europe-west2", "UK"},
		{"uksouth", "UK"},
		{"eu-central-2", "CH"},
		{"europe-west6", "CH"},
		{"switzerlandnorth", "CH"},
		{"norwayeast", "NO"},
		/* And some that are. */
		{"eu-central-1", "EU:DE"},
		{"eu-north-1", "EU:SE"},
		{"europe-west4", "EU:NL"},
		{"swedencentral", "EU:SE"},
		{"germanywestcentral", "EU:DE"},
		{"eusc-de-east-1", "EU:DE"},
		{"us-gov-west-1", "US-GOV"},
		{"ap-northeast-1", "JP"},
	};
	static const char *const unknown[] = {
		"",	  "Eu",	       "EU:",		"EU:UK",   "EU:XX", "EU:de",
		"europe", "eu-west-9", "eu-central-1 ", "CLUSTER", "USA"};
	struct eg_region r;

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		assert_int_equal(eg_region_parse(eg_str_from(cases[i].text), &r), 0);
		assert_string_equal(r.code, cases[i].code);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(unknown); i++)
		assert_int_equal(eg_region_parse(eg_str_from(unknown[i]), &r), -ENOENT);
}

static void hosts_to_codes(void **state)
{
	static const struct {
		const char *host, *path, *code;
	} cases[] = {
		{"api.openai.com", "/v1", "GLOBAL"},
		{"eu.api.openai.com", "/v1", "EU"},
		{"us.api.openai.com", "/v1", "US"},
		{"ae.api.openai.com", "/v1", "AE"},
		{"jp.api.openai.com", "/v1", "GLOBAL"}, /* storage only */
		{"gb.api.openai.com", "/v1", "GLOBAL"},
		{"xx.api.openai.com", "/v1", ""},
		{"api.anthropic.com", "/v1", "GLOBAL"},
		{"api.eu.mistral.ai", "/v1", "EU"},
		{"api.mistral.ai", "/v1", "GLOBAL"},
		{"eu-west-1.api.x.ai", "/v1", "EU:IE"},
		{"api.x.ai", "/v1", "GLOBAL"},
		{"api.deepseek.com", "", "CN"},
		{"openrouter.ai", "/api/v1", "GLOBAL"},
		{"llm.example.org", "/v1", ""},
		{"eu.api.openai.com.evil.example", "/v1", ""},
		{"evil-eu.api.openai.com", "/v1", ""},
		{"bedrock-mantle.eu-central-1.api.aws", "/v1", "EU:DE"},
		{"bedrock-mantle.eu-central-2.api.aws", "/v1", "CH"},
		{"bedrock-mantle.eu-central-9.api.aws", "/v1", ""},
		{"bedrock-mantle..api.aws", "/v1", ""},
		{"bedrock-mantle.a.eu-central-1.api.aws", "/v1", ""},
		{"bedrock-runtime.us-east-1.amazonaws.com.evil.example", "/openai/v1", ""},
		{"europe-west4-aiplatform.googleapis.com",
		 "/v1/projects/p/locations/europe-west4/endpoints/openapi", "EU:NL"},
		{"europe-west4-aiplatform.googleapis.com",
		 "/v1/projects/p/locations/us-central1/endpoints/openapi", ""},
		{"europe-west4-aiplatform.googleapis.com", "/v1", ""},
		{"europe-west4-aiplatform.googleapis.com",
		 "/v1/locations/europe-west4/locations/us-central1", ""},
		{"aiplatform.googleapis.com",
		 "/v1/projects/p/locations/europe-west4/endpoints/openapi", "GLOBAL"},
		{"aiplatform.eu.rep.googleapis.com",
		 "/v1/projects/p/locations/eu/endpoints/openapi", "EU"},
		{"generativelanguage.googleapis.com", "/v1beta/openai", "GLOBAL"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct eg_region r;

		eg_region_of_endpoint(eg_str_from(cases[i].host), eg_str_from(cases[i].path), &r);
		if (strcmp(r.code, cases[i].code))
			fprintf(stderr, "%s%s: %s\n", cases[i].host, cases[i].path, r.code);
		assert_string_equal(r.code, cases[i].code);
	}
}

static bool satisfies(const char *is, const char *allowed)
{
	struct eg_region r = {0}, a = {0};

	strcpy(r.code, is);
	strcpy(a.code, allowed);
	return eg_region_satisfies(&r, &a);
}

static void satisfying(void **state)
{
	assert_true(satisfies("EU", "EU"));
	assert_true(satisfies("EU:DE", "EU"));
	assert_true(satisfies("EU:DE", "EU:DE"));
	assert_false(satisfies("EU", "EU:DE"));
	assert_false(satisfies("EU:FR", "EU:DE"));
	assert_false(satisfies("UK", "EU"));
	assert_false(satisfies("US-GOV", "US"));
	assert_false(satisfies("cluster", "EU"));
	assert_true(satisfies("cluster", "cluster"));
	/* Nowhere in particular satisfies nothing, not even itself. */
	assert_false(satisfies("GLOBAL", "GLOBAL"));
	assert_false(satisfies("", ""));
	assert_false(satisfies("", "EU"));
	assert_false(satisfies("EU", ""));
}

static const char *of_request(enum eg_dialect d, const char *host, const char *model,
			      const char *geo, bool has_geo)
{
	static struct eg_region out;
	struct eg_body_facts body = {.has_inference_geo = has_geo,
				     .inference_geo = eg_str_from(geo)};
	struct eg_region endpoint;

	eg_region_of_endpoint(eg_str_from(host), EG_STR("/v1"), &endpoint);
	eg_region_of_request(d, eg_str_from(host), &endpoint, false, eg_str_from(model), &body,
			     &out);
	return out.code;
}

static const char *of_stated(const char *host, const char *stated, const char *model)
{
	static struct eg_region out;
	struct eg_body_facts body = {0};
	struct eg_region endpoint;

	assert_int_equal(eg_region_parse(eg_str_from(stated), &endpoint), 0);
	eg_region_of_request(EG_DIALECT_OPENAI, eg_str_from(host), &endpoint, true,
			     eg_str_from(model), &body, &out);
	return out.code;
}

static const char *of_stated_geo(const char *stated, const char *geo)
{
	static struct eg_region out;
	struct eg_body_facts body = {.has_inference_geo = true, .inference_geo = eg_str_from(geo)};
	struct eg_region endpoint;

	assert_int_equal(eg_region_parse(eg_str_from(stated), &endpoint), 0);
	eg_region_of_request(EG_DIALECT_ANTHROPIC, EG_STR("claude.example.org"), &endpoint, true,
			     EG_STR("m"), &body, &out);
	return out.code;
}

static void requests(void **state)
{
	static const char aws[] = "bedrock-runtime.eu-central-1.amazonaws.com";
	static const char mantle[] = "bedrock-mantle.eu-central-1.api.aws";
	static const struct {
		const char *model, *code;
	} models[] = {
		{"anthropic.claude-3-haiku-20240307-v1:0", "EU:DE"},
		{"openai.gpt-oss-120b", "EU:DE"},
		{"ai21.jamba-1-5-mini-v1:0", "EU:DE"},
		{"meta.llama3-70b-instruct-v1:0", "EU:DE"},
		{"qwen.qwen3-32b-v1:0", "EU:DE"},
		{"zai.glm-4.6", "EU:DE"},
		{"meta.x/y", ""},
		{"METAx.y", ""},
		{"META.y", ""},
		{"eu.amazon.nova-lite-v1:0", "EU"},
		{"us.amazon.nova-lite-v1:0", "US"},
		{"global.anthropic.claude-sonnet-4-5", "GLOBAL"},
		{"jp.anthropic.claude-sonnet-4-5", "JP"},
		{"GLOBAL.anthropic.claude-sonnet-4-5", ""},
		{"apac.anthropic.claude", ""},
		{"me.anthropic.claude", ""},
		{"arn:aws:bedrock:eu-central-1::foundation-model/x", ""},
		{"ARN:aws:bedrock:x", ""},
		{"a/b", ""},
		/* Geographies of later, and what only looks like one that is known. */
		{"latam.anthropic.claude-sonnet-4-5", ""},
		{"africa.anthropic.claude-sonnet-4-5", ""},
		{"mideast.anthropic.claude-sonnet-4-5", ""},
		{"eu.x/../us.anthropic.claude", ""},
		{"eu.us.anthropic.claude", ""},
		{"eu.", ""},
		{"gpt-4o", "EU:DE"},
		{NULL, "EU:DE"},
	};
	const enum eg_dialect o = EG_DIALECT_OPENAI, a = EG_DIALECT_ANTHROPIC;

	for (size_t i = 0; i < EG_ARRAY_SIZE(models); i++)
		assert_string_equal(of_request(o, aws, models[i].model, "", false), models[i].code);
	/* Bedrock's compatible hosts: what a geographic id means there is not known (regions.json),
	 * unless policy states where the endpoint is, and the geography lies in that. */
	assert_string_equal(of_request(o, mantle, "openai.gpt-oss-120b", "", false), "EU:DE");
	assert_string_equal(of_request(o, mantle, NULL, "", false), "EU:DE");
	assert_string_equal(of_request(o, mantle, "eu.anthropic.claude-sonnet-4-5", "", false), "");
	assert_string_equal(of_request(o, mantle, "us.amazon.nova-lite-v1:0", "", false), "");
	assert_string_equal(of_request(o, mantle, "global.anthropic.claude", "", false), "GLOBAL");
	assert_string_equal(of_request(o, "bedrock-mantle.us-east-1.api.aws",
				       "us.amazon.nova-lite-v1:0", "", false),
			    "");
	assert_string_equal(of_stated(mantle, "EU", "eu.anthropic.claude-sonnet-4-5"), "EU");
	assert_string_equal(of_stated(mantle, "EU", "openai.gpt-oss-120b"), "EU");
	assert_string_equal(of_stated(mantle, "EU", "us.amazon.nova-lite-v1:0"), "");
	assert_string_equal(of_stated(mantle, "EU", "global.anthropic.claude"), "GLOBAL");
	assert_string_equal(of_stated(mantle, "EU", "arn:aws:bedrock:eu-central-1::x"), "");
	assert_string_equal(of_stated(mantle, "EU:DE", "eu.anthropic.claude-sonnet-4-5"), "");
	assert_string_equal(of_stated("bedrock-mantle.us-east-1.api.aws", "US", "us.amazon.nova"),
			    "US");
	/* Only AWS gives such prefixes a meaning. */
	assert_string_equal(of_request(o, "eu.api.openai.com", "global.x", "", false), "EU");
	assert_string_equal(of_request(a, "api.anthropic.com", "m", "us", true), "US");
	assert_string_equal(of_request(a, "api.anthropic.com", "m", "global", true), "GLOBAL");
	assert_string_equal(of_request(a, "api.anthropic.com", "m", "eu", true), "");
	assert_string_equal(of_request(a, "api.anthropic.com", "m", "", true), "");
	assert_string_equal(of_request(a, "api.anthropic.com", "m", "us", false), "GLOBAL");
	/* Elsewhere "us" proves nothing, and "global" is believed. */
	assert_string_equal(of_request(a, "claude.example.org", "m", "us", true), "");
	assert_string_equal(of_request(o, "api.openai.com", "m", "us", true), "GLOBAL");
	/* What policy states of an endpoint doesn't hold for a request that asks for another place.
	 */
	assert_string_equal(of_stated_geo("US", "us"), "US");
	assert_string_equal(of_stated_geo("EU", "us"), "");
	assert_string_equal(of_stated_geo("EU:DE", "us"), "");
	assert_string_equal(of_stated_geo("cluster", "us"), "");
	assert_string_equal(of_stated_geo("EU", "global"), "GLOBAL");
	assert_string_equal(of_stated_geo("EU", "eu"), "");
}

/* ---- ../shared/data/providers/regions/cases.json ---- */
/* "allow" or "refuse" as this version would: a host that speaks another dialect is refused whole.
 */
static bool allowed_by_us(const char *url, const json_t *body, const char *rule)
{
	const char *host = strstr(url, "://") + 3;
	size_t n = strcspn(host, "/");
	struct eg_str name = {host, n};
	struct eg_body_facts facts = {0};
	struct eg_region endpoint, where, allow;
	const char *geo = text_of(body, "inference_geo");
	enum eg_dialect d;

	if (n && host[n - 1] == '.')
		name.n--;
	d = eg_dialect_from_host(name);
	if (d == EG_DIALECT_NONE)
		return false;
	facts.has_inference_geo = *geo != '\0';
	facts.inference_geo = eg_str_from(geo);
	assert_int_equal(eg_region_parse(eg_str_from(rule), &allow), 0);
	eg_region_of_endpoint(name, eg_client_base_path(name), &endpoint);
	eg_region_of_request(d, name, &endpoint, false, eg_str_from(text_of(body, "model")), &facts,
			     &where);
	return eg_region_satisfies(&where, &allow);
}

static void the_shared_cases_agree(void **state)
{
	json_t *top = shared_json("regions/cases.json"), *row;
	size_t i, ours = 0, refused = 0;

	if (!top)
		skip();
	json_array_foreach(top, i, row)
	{
		const json_t *request = json_object_get(row, "request");
		const char *url = text_of(request, "url"), *expected = text_of(row, "expected");
		bool allowed =
			allowed_by_us(url, json_object_get(request, "body"), text_of(row, "rule"));
		const char *host = strstr(url, "://") + 3;
		struct eg_str name = {host, strcspn(host, "/")};

		/* "alert" is about the response; the request itself is allowed. */
		if (allowed && !strcmp(expected, "refuse"))
			fprintf(stderr, "wrongly allowed: %s (%s)\n", url, text_of(row, "why"));
		assert_false(allowed && !strcmp(expected, "refuse"));
		if (eg_str_ends(name, EG_STR(".")))
			name.n--;
		if (eg_dialect_from_host(name) == EG_DIALECT_NONE) {
			assert_false(allowed);
			refused++;
			continue;
		}
		ours++;
		if (allowed != (strcmp(expected, "refuse") != 0))
			fprintf(stderr, "wrongly refused: %s (%s)\n", url, text_of(row, "why"));
		assert_int_equal(allowed, strcmp(expected, "refuse") != 0);
	}
	printf("%zu cases of this version's kinds, %zu of others refused\n", ours, refused);
	assert_true(ours >= 8 && refused >= 10);
	json_decref(top);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_to_codes),
		cmocka_unit_test(hosts_to_codes),
		cmocka_unit_test(satisfying),
		cmocka_unit_test(requests),
		cmocka_unit_test(the_shared_cases_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
