/* SPDX-License-Identifier: Apache-2.0 */
/* What was recorded of a real API server, where it lies beside the clone; it is never in it. */
#ifndef EGRET_TESTS_KUBE_DATA_H
#define EGRET_TESTS_KUBE_DATA_H

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/files.h"

/* The file's bytes, to be freed; without its head when it has one. NULL: it is not there. */
static inline char *recorded(const char *name, size_t *n)
{
	char path[PATH_MAX], *bytes = NULL, *body;

	snprintf(path, sizeof(path), "../shared/data/kubernetes/%s", name);
	if (eg_file_read(AT_FDCWD, path, 1 << 20, &bytes, n, NULL))
		return NULL;
	if (strncmp(bytes, "HTTP/", 5))
		return bytes;
	body = strstr(bytes, "\r\n\r\n");
	assert_non_null(body);
	body += 4;
	*n -= (size_t)(body - bytes);
	memmove(bytes, body, *n + 1);
	return bytes;
}

#define RECORDED_OR_SKIP(bytes, name, n)                                                  \
	do {                                                                              \
		(bytes) = recorded(name, n);                                              \
		if (!(bytes)) {                                                           \
			print_message("%s: not beside this clone (shared/data)\n", name); \
			skip();                                                           \
		}                                                                         \
	} while (0)

#endif
