/* SPDX-License-Identifier: Apache-2.0 */
/* Loading policies from text, for the tests of this folder. Include after cmocka's headers. */
#ifndef TESTS_POLICY_FIXTURE_H
#define TESTS_POLICY_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"

/* A valid head: providers and credentials that the policies of the tests refer to. */
#define BASE                                                                             \
	"\"version\":\"egret/v1\","                                                      \
	"\"providers\":{"                                                                \
	"\"eu\":{\"kind\":\"openai\",\"endpoint\":\"https://eu.api.openai.com/v1\","     \
	"\"credential\":\"k\"},"                                                         \
	"\"world\":{\"kind\":\"openai\",\"endpoint\":\"https://api.openai.com/v1\","     \
	"\"credential\":\"k\"},"                                                         \
	"\"own\":{\"kind\":\"openai\",\"endpoint\":\"https://api.openai.com/v1\","       \
	"\"credential\":\"own\"},"                                                       \
	"\"odd\":{\"kind\":\"openai\",\"endpoint\":\"https://llm.example.org/v1\"},"     \
	"\"claude\":{\"kind\":\"anthropic\",\"endpoint\":\"https://api.anthropic.com\"," \
	"\"credential\":\"c\"}},"                                                        \
	"\"credentials\":{\"k\":{\"type\":\"bearer\",\"file\":\"k\"},"                   \
	"\"own\":{\"type\":\"bearer\",\"file\":\"own\",\"namespace\":\"shop\"},"         \
	"\"c\":{\"type\":\"header\",\"header\":\"x-api-key\",\"file\":\"c\"}}"

static inline int load_text(const char *text, struct eg_policy_set **set,
			    struct eg_policy_errors *errors)
{
	struct eg_policy_file file = {EG_STR("test.json"), eg_str_from(text)};

	*set = NULL;
	return eg_policy_load(&file, 1, set, errors);
}

static inline void print_errors(const struct eg_policy_errors *e)
{
	for (size_t i = 0; i < e->count; i++)
		fprintf(stderr, "  %s:%d:%d: %s: %s%s\n", e->item[i].file, e->item[i].line,
			e->item[i].column, e->item[i].path, e->item[i].warning ? "warning: " : "",
			e->item[i].text);
}

/* The set; fails the test when it does not load. */
static inline struct eg_policy_set *must_load(const char *text)
{
	struct eg_policy_errors errors;
	struct eg_policy_set *set;
	int r = load_text(text, &set, &errors);

	if (r)
		print_errors(&errors);
	assert_int_equal(r, 0);
	eg_policy_errors_fini(&errors);
	return set;
}

/* Number of warnings (or errors) whose text holds `needle`. */
static inline size_t count_reports(const struct eg_policy_errors *e, bool warning,
				   const char *needle)
{
	size_t n = 0;

	for (size_t i = 0; i < e->count; i++)
		n += e->item[i].warning == warning && strstr(e->item[i].text, needle);
	return n;
}

/* Text of a file of the repository; the tests run at its top. */
static inline char *read_file(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = malloc(1u << 20);
	size_t n;

	if (!f)
		fprintf(stderr, "%s: not found; run the test at the top of the repository\n", path);
	assert_non_null(f);
	assert_non_null(text);
	n = fread(text, 1, (1u << 20) - 1, f);
	fclose(f);
	text[n] = '\0';
	return text;
}

#endif
