/* SPDX-License-Identifier: Apache-2.0 */
#include "egretctl/rows.h"

#include <stdio.h>

#include "base/buf.h"

static const char *cell(const json_t *row, const char *column, char number[24])
{
	const json_t *v = json_object_get(row, column);
	const char *text = json_string_value(v);

	if (json_is_integer(v)) {
		snprintf(number, 24, "%lld", (long long)json_integer_value(v));
		return number;
	}
	return text && *text ? text : "-";
}

static void print_row(const json_t *row, const char *const *columns, const size_t *width)
{
	char number[24];
	struct eg_buf b;
	int r = 0;

	eg_buf_init(&b, 65536);
	for (size_t c = 0; columns[c] && !r; c++)
		r = eg_buf_printf(&b, "%-*s  ", (int)width[c],
				  row ? cell(row, columns[c], number) : columns[c]);
	eg_line("%.*s", EG_STR_ARG(eg_buf_str(&b)));
	eg_buf_fini(&b);
}

void rows_print(const json_t *rows, const char *const *columns)
{
	size_t width[ROWS_COLUMNS] = {0}, i, c;
	const json_t *row;
	char number[24];

	for (c = 0; columns[c]; c++) {
		width[c] = strlen(columns[c]);
		json_array_foreach(rows, i, row) width[c] =
			EG_MAX(width[c], strlen(cell(row, columns[c], number)));
	}
	print_row(NULL, columns, width);
	json_array_foreach(rows, i, row) print_row(row, columns, width);
}

bool rows_add_name(void *names, const struct eg_name *n)
{
	char key[16], name[EG_DNS_NAME + 3];

	snprintf(key, sizeof(key), "%u", n->name_id);
	snprintf(name, sizeof(name), "%s%.*s", n->suffix && n->text[0] != '*' ? "*." : "",
		 EG_DNS_NAME - 1, n->text);
	json_object_set_new(names, key, eg_json_text(eg_str_from(name)));
	return true;
}
