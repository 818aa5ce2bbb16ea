/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_BLOCK   4096u
#define LARGEST_BLOCK (64u * 1024u)
#define ALIGN	      16u

struct eg_arena_block {
	struct eg_arena_block *next;
	size_t bytes; /* of the payload; keeps the payload 16-byte aligned */
};

void eg_arena_init(struct eg_arena *a, size_t budget_bytes)
{
	*a = (struct eg_arena){.budget_bytes = budget_bytes, .block_bytes = FIRST_BLOCK};
}

void eg_arena_fini(struct eg_arena *a)
{
	struct eg_arena_block *b = a->blocks;

	while (b) {
		struct eg_arena_block *next = b->next;

		free(b);
		b = next;
	}
	eg_arena_init(a, a->budget_bytes);
}

void eg_arena_reset(struct eg_arena *a)
{
	struct eg_arena_block *b = a->blocks;

	while (b && b->next) {
		struct eg_arena_block *next = b->next;

		free(b);
		b = next;
	}
	if (b && b->bytes != FIRST_BLOCK - sizeof(*b)) { /* it was made for something large */
		free(b);
		b = NULL;
	}
	eg_arena_init(a, a->budget_bytes);
	if (!b)
		return;
	a->blocks = b;
	a->used_bytes = FIRST_BLOCK;
	a->block_bytes = 2 * FIRST_BLOCK;
	a->at = (char *)(b + 1);
	a->end = a->at + b->bytes;
}

static bool add_block(struct eg_arena *a, size_t payload)
{
	struct eg_arena_block *b;
	size_t total = payload + sizeof(*b);

	if (total < payload)
		return false;
	if (a->budget_bytes && (total > a->budget_bytes || a->used_bytes > a->budget_bytes - total))
		return false;
	b = malloc(total);
	if (!b)
		return false;
	b->next = a->blocks;
	b->bytes = payload;
	a->blocks = b;
	a->used_bytes += total;
	a->at = (char *)(b + 1);
	a->end = a->at + payload;
	return true;
}

void *eg_arena_alloc(struct eg_arena *a, size_t bytes)
{
	size_t need = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	char *p;

	if (need < bytes)
		return NULL;
	if (!need)
		need = ALIGN;
	if ((size_t)(a->end - a->at) < need) {
		size_t block = EG_MAX(need, a->block_bytes - sizeof(struct eg_arena_block));

		/* Near the budget's end an exact block may still fit. */
		if (!add_block(a, block) && (block == need || !add_block(a, need)))
			return NULL;
		if (a->block_bytes < LARGEST_BLOCK)
			a->block_bytes *= 2;
	}
	p = a->at;
	a->at += need;
	return p;
}

void *eg_arena_zalloc(struct eg_arena *a, size_t bytes)
{
	void *p = eg_arena_alloc(a, bytes);

	return p ? memset(p, 0, bytes) : NULL;
}

char *eg_arena_dup(struct eg_arena *a, struct eg_str s)
{
	char *p = eg_arena_alloc(a, s.n + 1);

	if (!p)
		return NULL;
	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

char *eg_arena_printf(struct eg_arena *a, const char *format, ...)
{
	va_list ap, again;
	char *p = NULL;
	int n;

	va_start(ap, format);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, format, ap);
	if (n >= 0)
		p = eg_arena_alloc(a, (size_t)n + 1);
	if (p)
		vsnprintf(p, (size_t)n + 1, format, again);
	va_end(again);
	va_end(ap);
	return p;
}
