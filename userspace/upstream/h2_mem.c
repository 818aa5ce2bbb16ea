/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/h2_mem.h"

#include <stdalign.h>
#include <stdlib.h>

#include "base/base.h"
#include "base/secret.h"

/* In front of each piece: how long it is. */
union size_of {
	size_t n;
	max_align_t align;
};

static void *mem_malloc(size_t n, void *unused)
{
	union size_of *p = n <= SIZE_MAX - sizeof(*p) ? malloc(sizeof(*p) + n) : NULL;

	(void)unused;
	if (!p)
		return NULL;
	p->n = n;
	return p + 1;
}

static void mem_free(void *bytes, void *unused)
{
	union size_of *p = bytes;

	(void)unused;
	if (!p)
		return;
	p--;
	eg_wipe(p, sizeof(*p) + p->n);
	free(p);
}

static void *mem_calloc(size_t count, size_t size, void *unused)
{
	size_t n;
	void *p;

	if (__builtin_mul_overflow(count, size, &n))
		return NULL;
	p = mem_malloc(n, unused);
	if (p)
		memset(p, 0, n);
	return p;
}

static void *mem_realloc(void *bytes, size_t n, void *unused)
{
	union size_of *old = bytes;
	void *p = mem_malloc(n, unused);

	if (!p || !old)
		return p;
	memcpy(p, old, EG_MIN(n, old[-1].n));
	mem_free(old, unused);
	return p;
}

nghttp2_mem h2_mem(void)
{
	return (nghttp2_mem){NULL, mem_malloc, mem_free, mem_calloc, mem_realloc};
}
