/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/h2_mem.h"

#include <stdalign.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/base.h"
#include "base/secret.h"

/* In front of each piece: how long it is. */
union size_of {
	size_t n;
	max_align_t align;
};

/*
 * A session's frame buffer: 16 KiB for as long as the session lives, of which frames of a usual
 * size touch the first page. From malloc() it would be memory that was used before, all of it
 * resident.
 */
#define MAPPED_FROM (16u * 1024u)

/* Under ASan what is written behind its end is to be seen. */
#if defined(__SANITIZE_ADDRESS__)
#define MAY_MAP false
#else
#define MAY_MAP true
#endif

static bool is_mapped(size_t n)
{
	return MAY_MAP && n >= MAPPED_FROM;
}

static void *take(size_t n)
{
	void *p;

	if (n > SIZE_MAX - sizeof(union size_of))
		return NULL;
	if (!is_mapped(n))
		return malloc(sizeof(union size_of) + n);
	p = mmap(NULL, sizeof(union size_of) + n, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void *mem_malloc(size_t n, void *unused)
{
	union size_of *p = take(n);

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
	if (is_mapped(p->n)) { /* the kernel clears pages before anyone has them */
		munmap(p, sizeof(*p) + p->n);
		return;
	}
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
