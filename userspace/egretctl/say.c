/* SPDX-License-Identifier: Apache-2.0 */
/* The one place where egretctl writes lines for people: what comes from a file, a certificate or
 * the agent is data, and a terminal acts on nothing of it. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "egretctl/command.h"

static void line(FILE *to, const char *prefix, const char *format, va_list ap)
	__attribute__((format(printf, 3, 0)));
static void line(FILE *to, const char *prefix, const char *format, va_list ap)
{
	char *text = NULL;
	struct eg_buf b;

	eg_buf_init(&b, SIZE_MAX / 2);
	if (vasprintf(&text, format, ap) < 0 || eg_text_printable(&b, eg_str_from(text)) ||
	    eg_buf_append(&b, "\n", 1)) {
		fprintf(stderr, "egretctl: out of memory\n");
	} else {
		struct eg_str s = eg_buf_str(&b);

		fputs(prefix, to);
		fwrite(s.p, 1, s.n, to);
	}
	free(text);
	eg_buf_fini(&b);
}

void eg_line(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	line(stdout, "", format, ap);
	va_end(ap);
}

static void complain(const char *command, const char *format, va_list ap) EG_PRINTF(2, 0);
static void complain(const char *command, const char *format, va_list ap)
{
	char prefix[64];

	snprintf(prefix, sizeof(prefix), "egretctl%s%s: ", *command ? " " : "", command);
	line(stderr, prefix, format, ap);
}

void eg_complain(const char *command, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	complain(command, format, ap);
	va_end(ap);
}

int eg_usage_error(const char *command, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	complain(command, format, ap);
	va_end(ap);
	fprintf(stderr, "Try `egretctl%s%s --help`.\n", *command ? " " : "", command);
	return EG_EXIT_USAGE;
}

int eg_bad_option(const char *command, char *const *argv)
{
	return eg_usage_error(command, "'%s' is not an option, or lacks its value",
			      argv[optind - 1]);
}

int eg_print_json(const json_t *document)
{
	char *text = document ? json_dumps(document, JSON_INDENT(2) | JSON_ENSURE_ASCII) : NULL;
	bool written;

	if (!text) {
		eg_complain("", "a value is not UTF-8, or out of memory");
		return EG_EXIT_USAGE;
	}
	written = puts(text) >= 0 && !fflush(stdout);
	free(text);
	if (written)
		return EG_EXIT_OK;
	eg_complain("", "stdout: %s", strerror(errno));
	return EG_EXIT_USAGE;
}

json_t *eg_json_text(struct eg_str s)
{
	json_t *v = json_stringn(s.p, s.n);
	struct eg_buf b;

	if (v)
		return v;
	eg_buf_init(&b, SIZE_MAX / 2);
	if (!eg_text_printable(&b, s))
		v = json_stringn(eg_buf_data(&b), b.length);
	eg_buf_fini(&b);
	return v;
}
