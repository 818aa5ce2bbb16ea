/* SPDX-License-Identifier: Apache-2.0 */
/* Answers going by: the first byte picks dialect and form; the counts don't depend on how it was
 * cut. */
#include "fuzz.h"
#include "provider/provider.h"

struct result {
	struct eg_usage usage;
	bool end, error;
};

static struct result watch(uint8_t form, struct eg_str body, uint64_t seed)
{
	enum eg_dialect d = form & 1 ? EG_DIALECT_ANTHROPIC : EG_DIALECT_OPENAI;
	struct eg_usage_watch *w = eg_usage_watch_create(d, NULL, form & 2);
	struct result r;

	if (!w)
		abort();
	for (size_t at = 0; at < body.n;) {
		size_t n = seed ? fuzz_step(&seed, body.n - at) : body.n - at;
		char *piece = fuzz_copy(body.p + at, n);

		eg_usage_watch_feed(w, (struct eg_str){piece, n});
		free(piece);
		at += n;
	}
	eg_usage_watch_end(w, &r.usage, &r.end, &r.error);
	eg_usage_watch_destroy(w);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct eg_str body;
	struct result whole, cut;

	if (!size)
		return 0;
	body = (struct eg_str){(const char *)data + 1, size - 1};
	whole = watch(data[0], body, 0);
	cut = watch(data[0], body, fuzz_seed(data, size));
	FUZZ_CHECK(whole.usage.known == cut.usage.known && whole.end == cut.end &&
		   whole.error == cut.error);
	FUZZ_CHECK(whole.usage.input_tokens == cut.usage.input_tokens &&
		   whole.usage.output_tokens == cut.usage.output_tokens &&
		   whole.usage.cache_read_tokens == cut.usage.cache_read_tokens &&
		   whole.usage.cache_write_tokens == cut.usage.cache_write_tokens &&
		   whole.usage.reasoning_tokens == cut.usage.reasoning_tokens);
	FUZZ_CHECK(!strcmp(whole.usage.response_model, cut.usage.response_model));
	return 0;
}
