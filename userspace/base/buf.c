/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/blocks.h"
#include "base/secret.h"

#define SMALLEST 512u

void eg_buf_init(struct eg_buf *b, size_t cap_bytes)
{
	*b = (struct eg_buf){.cap = cap_bytes};
}

void eg_buf_init_secret(struct eg_buf *b, size_t cap_bytes)
{
	*b = (struct eg_buf){.cap = cap_bytes, .secret = true};
}

/* A secret's are wiped whole and given back: it is never as large. */
static bool is_block(const struct eg_buf *b)
{
	return b->size >= EG_BLOCK_SMALLEST && !b->secret;
}

static void drop(struct eg_buf *b)
{
	if (b->secret && b->p)
		eg_wipe(b->p, b->size);
	if (is_block(b))
		eg_block_give(b->p);
	else
		free(b->p);
}

void eg_buf_free(struct eg_buf *b)
{
	drop(b);
	*b = (struct eg_buf){.cap = b->cap, .secret = b->secret};
}

void eg_buf_release(struct eg_buf *b)
{
	if (!b->length)
		eg_buf_fini(b);
}

/* Memory for `size` bytes with the content of the buffer, whose own is gone; NULL: it is as it was.
 */
static char *enlarge(struct eg_buf *b, size_t size)
{
	char *p;

	if (is_block(b) && !b->head)
		return eg_block_room(b->p) >= size ? b->p : realloc(b->p, size);
	p = size >= EG_BLOCK_SMALLEST && !b->secret ? eg_block_take(size) : malloc(size);
	if (!p)
		return NULL;
	if (b->length)
		memcpy(p, b->p + b->head, b->length);
	drop(b);
	return p;
}

/*
 * Makes room for `n` bytes after the content, and for `spare` more that are never content: 0,
 * -ENOBUFS, -ENOMEM.
 */
static int make_room(struct eg_buf *b, size_t n, size_t spare)
{
	size_t need, size;
	char *p;

	if (n > b->cap || b->length > b->cap - n)
		return -ENOBUFS;
	need = b->length + n + spare;
	if (b->head + need <= b->size)
		return 0;
	/* Moves down when at least half is free in front, so that each byte moves about once. */
	if (need <= b->size && (b->head >= b->size / 2 || b->size >= b->cap)) {
		memmove(b->p, b->p + b->head, b->length);
		b->head = 0;
		return 0;
	}
	size = b->size ? b->size * 2 : SMALLEST;
	while (size < need)
		size *= 2;
	if (size > b->cap)
		size = EG_MAX(b->cap, need);
	p = enlarge(b, size);
	if (!p)
		return -ENOMEM;
	b->p = p;
	b->head = 0;
	b->size = size;
	return 0;
}

int eg_buf_append_grown(struct eg_buf *b, const void *bytes, size_t n)
{
	int r;

	if (!n)
		return 0;
	r = make_room(b, n, 0);
	if (r)
		return r;
	memcpy(b->p + b->head + b->length, bytes, n);
	b->length += n;
	return 0;
}

int eg_buf_append_u64(struct eg_buf *b, uint64_t v)
{
	char digits[EG_DECIMAL_MAX];
	size_t n = eg_decimal(digits, v);

	return eg_buf_append(b, digits, n);
}

int eg_buf_printf(struct eg_buf *b, const char *format, ...)
{
	/* Into the room that there is: mostly it is enough, and the text is formatted once. */
	size_t room = b->size - b->head - b->length;
	va_list ap, again;
	int n, r;

	va_start(ap, format);
	va_copy(again, ap);
	n = vsnprintf(room ? b->p + b->head + b->length : NULL, room, format, ap);
	r = n < 0 ? -EINVAL : make_room(b, (size_t)n, 1);
	if (!r && (size_t)n >= room)
		vsnprintf(b->p + b->head + b->length, (size_t)n + 1, format, again);
	if (!r)
		b->length += (size_t)n;
	va_end(again);
	va_end(ap);
	return r;
}

char *eg_buf_reserve(struct eg_buf *b, size_t want, size_t *room)
{
	size_t left = b->cap - b->length;
	int r;

	if (!left) {
		errno = ENOBUFS;
		return NULL;
	}
	want = EG_MIN(EG_MAX(want, (size_t)1), left);
	r = make_room(b, want, 0);
	if (r) {
		errno = -r;
		return NULL;
	}
	*room = EG_MIN(b->size - b->head - b->length, left);
	return b->p + b->head + b->length;
}

void eg_buf_commit(struct eg_buf *b, size_t n)
{
	b->length += n;
}

void eg_buf_consume(struct eg_buf *b, size_t n)
{
	b->head += n;
	b->length -= n;
	if (!b->length)
		b->head = 0;
}

void eg_buf_clear_content(struct eg_buf *b)
{
	if (b->secret && b->length)
		eg_wipe(b->p + b->head, b->length);
	b->head = b->length = 0;
}

void eg_buf_clear(struct eg_buf *b)
{
	if (b->secret && b->p)
		eg_wipe(b->p, b->size);
	b->head = b->length = 0;
}
