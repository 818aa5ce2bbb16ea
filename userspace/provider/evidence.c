/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an answer says it came from: the check after the one before (DESIGN section 4). A provider
 * that moves requests, or a table of ours that is out of date, shows here.
 */
#include "provider/provider.h"

/* Groq: seen in recorded answers; Azure: x-ms-region ("Sweden Central") of its OpenAI API. */
static const struct eg_str evidence_headers[] = {
	EG_STR("x-groq-region"), EG_STR("x-ms-region"), EG_STR("x-ppl-region"), /* Perplexity */
};

struct eg_str eg_region_evidence_header(const struct eg_h1_head *head)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(evidence_headers); i++) {
		const struct eg_header *h = eg_h1_find(head, evidence_headers[i]);

		if (h)
			return eg_str_trim(h->value);
	}
	return (struct eg_str){0};
}

/* As the tables have it: "Sweden Central" is swedencentral. */
static size_t squeeze(char out[64], struct eg_str text)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n && n < 63; i++)
		if (text.p[i] != ' ')
			out[n++] = text.p[i] >= 'A' && text.p[i] <= 'Z' ? (char)(text.p[i] + 32)
									: text.p[i];
	out[n] = '\0';
	return n;
}

bool eg_region_of_evidence(struct eg_str text, struct eg_region *out)
{
	char name[64];
	struct eg_str squeezed = {name, squeeze(name, text)};

	*out = (struct eg_region){""};
	if (!squeezed.n || eg_str_eq(squeezed, EG_STR("not_available")) ||
	    eg_str_eq(squeezed, EG_STR("unknown")))
		return false;
	if (eg_str_eq(squeezed, EG_STR("global")))
		*out = (struct eg_region){"GLOBAL"};
	else if (eg_region_parse(squeezed, out) && eg_region_parse(eg_str_trim(text), out))
		*out = (struct eg_region){""};
	return true;
}
