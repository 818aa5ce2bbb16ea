/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growable byte queue with a hard cap: append at the end, consume at the front. The cap is set
 * when it is created, so no input can make it grow past what its owner decided. A failure leaves
 * the buffer as it was. One thread.
 */
#ifndef EGRET_BASE_BUF_H
#define EGRET_BASE_BUF_H

#include "base/base.h"

struct eg_buf {
	char *p;       /* start of the allocation */
	size_t head;   /* offset of the first byte not consumed */
	size_t length; /* bytes held */
	size_t size;   /* bytes allocated */
	size_t cap;    /* the most it may hold */
	bool secret;   /* wiped on free and on growth */
};

void eg_buf_init(struct eg_buf *b, size_t cap_bytes);
/* Like init; memory is wiped before it is given back. */
void eg_buf_init_secret(struct eg_buf *b, size_t cap_bytes);
/* The rest of eg_buf_fini(). */
void eg_buf_free(struct eg_buf *b);
/* Most of a request's buffers never had anything: then all is as it should be. */
static inline void eg_buf_fini(struct eg_buf *b)
{
	if (b->p)
		eg_buf_free(b);
}

static inline char *eg_buf_data(const struct eg_buf *b)
{
	return b->p + b->head;
}
static inline struct eg_str eg_buf_str(const struct eg_buf *b)
{
	return (struct eg_str){b->p ? b->p + b->head : NULL, b->length};
}

/* What eg_buf_append() does when there is no room yet. */
int eg_buf_append_grown(struct eg_buf *b, const void *bytes, size_t n) EG_MUST;
/* 0, -ENOBUFS past the cap, -ENOMEM. In place, since it is called for every few bytes. */
EG_MUST static inline int eg_buf_append(struct eg_buf *b, const void *bytes, size_t n)
{
	if (!n || n > b->size - b->head - b->length || n > b->cap - b->length)
		return eg_buf_append_grown(b, bytes, n);
	memcpy(b->p + b->head + b->length, bytes, n);
	b->length += n;
	return 0;
}
EG_MUST static inline int eg_buf_append_str(struct eg_buf *b, struct eg_str s)
{
	return eg_buf_append(b, s.p, s.n);
}
/* In decimal; what "%llu" would write, without a format to read. */
int eg_buf_append_u64(struct eg_buf *b, uint64_t v) EG_MUST;
int eg_buf_printf(struct eg_buf *b, const char *format, ...) EG_PRINTF(2, 3) EG_MUST;
/*
 * Room for writing in place: at least 1 byte and up to `want` past the end; *room is what there
 * is. NULL when full or out of memory (errno ENOBUFS or ENOMEM). Follow with eg_buf_commit().
 */
char *eg_buf_reserve(struct eg_buf *b, size_t want, size_t *room) EG_MUST;
void eg_buf_commit(struct eg_buf *b, size_t n);
void eg_buf_consume(struct eg_buf *b, size_t n);
/* Forgets the content, keeps the memory; a secret's is wiped whole. */
void eg_buf_clear(struct eg_buf *b);
/* The same, but wipes the content alone: for who fills and forgets, and consumes nothing. What lay
 * there before is wiped already, then. */
void eg_buf_clear_content(struct eg_buf *b);
/* Gives the memory of an empty buffer back (idle connections). */
void eg_buf_release(struct eg_buf *b);

#endif
