/* SPDX-License-Identifier: Apache-2.0 */
/* Brotli whose every byte costs its decoder a microsecond or so, by hand: no encoder writes such.
 */
#ifndef EGRET_TESTS_DEAR_BROTLI_H
#define EGRET_TESTS_DEAR_BROTLI_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/base.h"

struct bits {
	unsigned char *p;
	size_t n; /* bits */
};

static void put(struct bits *b, unsigned int value, unsigned int width)
{
	for (unsigned int i = 0; i < width; i++, b->n++)
		b->p[b->n / 8] |= (unsigned char)((value >> i & 1) << b->n % 8);
}

/* Of an alphabet whose symbols have `width` bits: this one alone, which then has none (RFC 7932
 * section 3.4). */
static void put_only(struct bits *b, unsigned int symbol, unsigned int width)
{
	put(b, 1, 2);
	put(b, 0, 2);
	put(b, symbol, width);
}

/* A byte, in half a kilobyte of brotli: 256 types of literals and 256 trees for them, and a map
 * from 16,384 contexts to these, none of which has a bit, but each is moved to the front of 255
 * others.
 */
static void put_dear_block(struct bits *b)
{
	put(b, 0, 1 + 2 + 16 + 1); /* not the last; one byte */
	put(b, 0x7ff, 11);	   /* 256 types of literals */
	put_only(b, 0, 9);
	put_only(b, 0, 5);
	put(b, 0, 2);
	put(b, 0, 1 + 1 + 2 + 4); /* one type of commands, and of distances */
	for (int i = 0; i < 256; i++)
		put(b, 0, 2);
	put(b, 0x7ff, 11); /* 256 trees */
	put(b, 0, 1);
	put_only(b, 255, 8);
	put(b, 1, 1); /* moved to the front */
	put(b, 0, 1);
	for (int i = 0; i < 256; i++)
		put_only(b, 'a', 8);
	put_only(b, 8, 10); /* one literal */
	put_only(b, 0, 6);
}

__attribute__((unused)) static struct eg_str dear_brotli(size_t blocks)
{
	struct bits b = {calloc(blocks, 512), 0};

	assert_non_null(b.p);
	put(&b, 0, 1);
	while (blocks--)
		put_dear_block(&b);
	put(&b, 3, 2);
	return (struct eg_str){(char *)b.p, (b.n + 7) / 8};
}

#endif
