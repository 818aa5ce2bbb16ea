/* SPDX-License-Identifier: Apache-2.0 */
/* Names of providers that Egret knows without any policy: what `egretd --observe` watches. */
#include <stdio.h>

#include "provider/provider.h"

/* Whose host names have a part that the customer chooses, so that no table of hosts has them. */
static const char *const chosen[] = {"*.openai.azure.com", "*.cognitiveservices.azure.com",
				     "*.services.ai.azure.com", "*.models.ai.azure.com"};

/* By the end of the name; the first that fits. */
static const struct {
	const char *end, *provider;
} providers[] = {
	{"openai.azure.com", "azure"},
	{"cognitiveservices.azure.com", "azure"},
	{"ai.azure.com", "azure"},
	{"openai.com", "openai"},
	{"anthropic.com", "anthropic"},
	{"generativelanguage.googleapis.com", "gemini"},
	{"aiplatform.googleapis.com", "vertex"},
	{"rep.googleapis.com", "vertex"},
	{"amazonaws.com", "bedrock"},
	{"amazonaws.com.cn", "bedrock"},
	{"amazonaws.eu", "bedrock"},
	{"api.aws", "bedrock"},
	{"mistral.ai", "mistral"},
	{"x.ai", "xai"},
	{"groq.com", "groq"},
	{"deepseek.com", "deepseek"},
	{"cohere.com", "cohere"},
	{"cohere.ai", "cohere"},
	{"openrouter.ai", "openrouter"},
	{"perplexity.ai", "perplexity"},
	{"together.xyz", "together"},
	{"together.ai", "together"},
	{"fireworks.ai", "fireworks"},
	{"huggingface.co", "huggingface"},
	{"cerebras.ai", "cerebras"},
	{"z.ai", "zai"},
};

bool eg_known_name(size_t index, char out[EG_KNOWN_NAME])
{
	size_t n = 0;
	char skipped[EG_KNOWN_NAME];

	if (index < EG_ARRAY_SIZE(chosen))
		return snprintf(out, EG_KNOWN_NAME, "%s", chosen[index]) > 0;
	index -= EG_ARRAY_SIZE(chosen);
	if (eg_dialect_host(index, out))
		return true;
	while (eg_dialect_host(n, skipped))
		n++;
	return eg_region_host(index - n, out);
}

/* "-aiplatform.googleapis.com" has the location before a hyphen. */
static bool ends_with(struct eg_str host, const char *end)
{
	struct eg_str e = eg_str_from(end);
	char before;

	if (host.n < e.n || !eg_str_ieq((struct eg_str){host.p + host.n - e.n, e.n}, e))
		return false;
	if (host.n == e.n)
		return true;
	before = host.p[host.n - e.n - 1];
	return before == '.' || before == '-';
}

const char *eg_known_provider(struct eg_str host)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(providers); i++)
		if (ends_with(host, providers[i].end))
			return providers[i].provider;
	return "other";
}
