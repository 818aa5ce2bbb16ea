/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

int eg_error_set(struct eg_error *e, int code, const char *format, ...)
{
	va_list ap;

	if (!e)
		return code;
	va_start(ap, format);
	vsnprintf(e->text, sizeof(e->text), format, ap);
	va_end(ap);
	return code;
}

int eg_error_prefix(struct eg_error *e, int code, const char *format, ...)
{
	struct eg_error whole;
	va_list ap;
	size_t n;
	int m;

	if (!e)
		return code;
	va_start(ap, format);
	m = vsnprintf(whole.text, sizeof(whole.text), format, ap);
	va_end(ap);
	n = m < 0 ? 0 : EG_MIN((size_t)m, sizeof(whole.text) - 1);
	if (n + 2 < sizeof(whole.text)) {
		memcpy(whole.text + n, ": ", 3);
		n += 2;
		eg_str_copy(whole.text + n, sizeof(whole.text) - n, eg_str_from(e->text));
	}
	*e = whole;
	return code;
}
