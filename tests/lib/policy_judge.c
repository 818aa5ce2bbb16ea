/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thousands of policies judged in one process: each line of stdin is one, each line of the answer
 * `null` (the parser takes it) or the list of the texts of its errors. A tool of the tests.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "policy/policy.h"
#include "base/log.h"

/* A text may quote what is no UTF-8. */
static int print_errors(const struct eg_policy_errors *errors)
{
	struct eg_buf out;
	int r;

	eg_buf_init(&out, 64u << 20);
	r = eg_buf_append(&out, "[", 1);
	for (size_t i = 0; i < errors->count && !r; i++) {
		if (errors->item[i].warning)
			continue;
		if (out.length > 1)
			r = eg_buf_append(&out, ",", 1);
		if (!r)
			r = eg_json_quote(&out, eg_str_from(errors->item[i].text),
					  sizeof(errors->item[i].text));
	}
	if (!r && fwrite(eg_buf_data(&out), out.length, 1, stdout) != 1)
		r = -EIO;
	eg_buf_fini(&out);
	return r || putchar(']') == EOF;
}

int main(void)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	while ((n = getline(&line, &room, stdin)) > 0) {
		struct eg_policy_file file = {EG_STR("-"), {line, (size_t)n}};
		struct eg_policy_errors errors = {0};
		struct eg_policy_set *set = NULL;
		int r = eg_policy_load(&file, 1, &set, &errors);

		if (r && r != -EINVAL) {
			fprintf(stderr, "policy_judge: %s\n", strerror(-r));
			return 2;
		}
		if (r ? print_errors(&errors) : fputs("null", stdout) < 0)
			return 2;
		putchar('\n');
		eg_policy_set_unref(set);
		eg_policy_errors_fini(&errors);
	}
	free(line);
	return ferror(stdin) || fflush(stdout) ? 2 : 0;
}
