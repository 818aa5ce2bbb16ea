/* SPDX-License-Identifier: Apache-2.0 */
/* Names of providers that are known without a policy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "egret/abi/name_hash.h"
#include "provider/provider.h"

static bool has(const char *name)
{
	char text[EG_KNOWN_NAME];

	for (size_t i = 0; eg_known_name(i, text); i++)
		if (!strcmp(text, name))
			return true;
	return false;
}

static void each_can_be_watched_and_is_somebodys(void **state)
{
	char text[EG_KNOWN_NAME];
	size_t n = 0;

	for (; eg_known_name(n, text); n++) {
		__u64 hash;
		__u8 suffix;

		assert_int_equal(eg_name_hash(text, 3, &hash, &suffix), 0);
		assert_string_not_equal(eg_known_provider(eg_str_from(text)), "other");
	}
	assert_true(n > 100 && n < 2000); /* the kernel's table has 16384 places */
}

static void each_table_is_in_it(void **state)
{
	static const char *const names[] = {
		"*.openai.azure.com",
		"api.openai.com",
		"*.api.openai.com",
		"eu.api.openai.com",
		"api.z.ai",
		"api.anthropic.com",
		"bedrock-runtime.eu-central-1.amazonaws.com",
		"bedrock-mantle.us-east-1.api.aws",
		"bedrock-runtime.cn-north-1.amazonaws.com.cn",
		"aiplatform.googleapis.com",
		"europe-west4-aiplatform.googleapis.com",
		"aiplatform.us.rep.googleapis.com",
		"generativelanguage.googleapis.com",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++)
		if (!has(names[i]))
			fail_msg("%s is not known", names[i]);
	assert_false(has("example.com"));
}

static void providers_by_the_end_of_a_name(void **state)
{
	static const struct {
		const char *host, *provider;
	} rows[] = {
		{"api.openai.com", "openai"},
		{"API.OpenAI.com", "openai"},
		{"acme.openai.azure.com", "azure"},
		{"*.openai.azure.com", "azure"},
		{"bedrock-runtime.us-east-1.amazonaws.com", "bedrock"},
		{"bedrock-runtime.cn-north-1.amazonaws.com.cn", "bedrock"},
		{"us-central1-aiplatform.googleapis.com", "vertex"},
		{"generativelanguage.googleapis.com", "gemini"},
		{"api.x.ai", "xai"},
		{"api.z.ai", "zai"},
		{"notopenai.com", "other"},
		{"openai.com.example", "other"},
		{"storage.googleapis.com", "other"},
		{"llm.corp.example", "other"},
		{"", "other"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++)
		assert_string_equal(eg_known_provider(eg_str_from(rows[i].host)), rows[i].provider);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_can_be_watched_and_is_somebodys),
		cmocka_unit_test(each_table_is_in_it),
		cmocka_unit_test(providers_by_the_end_of_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
