/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is given back with a text in it: from there it reaches whoever asks for memory next,
 * an arena too. For one program, which it gives a free() of its own. Under a sanitizer, whose
 * free() it has to be, nothing is seen.
 */
#ifndef EGRET_TESTS_FREED_H
#define EGRET_TESTS_FREED_H

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static const char *freed_text;
static size_t freed_count; /* blocks that had it */

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FREED_SEEN 1

void __libc_free(void *p); /* NOLINT(bugprone-reserved-identifier): glibc's name */

__attribute__((visibility("default"))) void free(void *p)
{
	if (p && freed_text && memmem(p, malloc_usable_size(p), freed_text, strlen(freed_text)))
		freed_count++;
	__libc_free(p);
}
#else
#define FREED_SEEN 0
#endif

/* From now on; NULL: not any more. */
static inline void freed_watch(const char *text)
{
	freed_text = text;
	freed_count = 0;
}

#endif
