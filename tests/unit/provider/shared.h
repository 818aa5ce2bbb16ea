/* SPDX-License-Identifier: Apache-2.0 */
/* Data of public projects that lies beside the repository (../shared/data, its README.md); not part
 * of it. Where it is absent a test says so and is skipped; hand-written fixtures cover the same. */
#ifndef TESTS_PROVIDER_SHARED_H
#define TESTS_PROVIDER_SHARED_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARED "../shared/data/providers/"

/* NULL: absent, and the reason is printed; the caller skips. */
static inline json_t *shared_json(const char *name)
{
	char path[512];
	json_error_t e;
	json_t *v;

	snprintf(path, sizeof(path), SHARED "%s", name);
	v = json_load_file(path, 0, &e);
	if (!v)
		printf("SKIP %s: %s\n", path, e.text);
	return v;
}

static inline const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static inline bool begins(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

#endif
