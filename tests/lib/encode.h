/* SPDX-License-Identifier: Apache-2.0 */
/* Real encoders of the content codings, for tests. Link with -lz -lbrotlienc -lzstd. */
#ifndef EGRET_TESTS_ENCODE_H
#define EGRET_TESTS_ENCODE_H

#include <stdlib.h>

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

#include "base/base.h"
#include "proto/coding.h"

#define ENCODE		__attribute__((unused)) static
#define ENCODE_BOMB_MAX (8u << 20)

/* Bytes on the heap, of the test. */
struct coded {
	char *p;
	size_t n;
};

ENCODE void encode_need(bool what)
{
	if (!what)
		abort();
}

ENCODE struct eg_str coded_str(const struct coded *c)
{
	return (struct eg_str){c->p, c->n};
}

ENCODE struct coded encode_zlib(struct eg_str s, int window_bits)
{
	struct coded out = {.n = s.n + s.n / 8 + 256};
	z_stream z = {.zalloc = NULL};

	out.p = malloc(out.n);
	encode_need(out.p && deflateInit2(&z, 6, Z_DEFLATED, window_bits, 8, 0) == Z_OK);
	z.next_in = (unsigned char *)(uintptr_t)s.p;
	z.avail_in = (unsigned int)s.n;
	z.next_out = (unsigned char *)out.p;
	z.avail_out = (unsigned int)out.n;
	encode_need(deflate(&z, Z_FINISH) == Z_STREAM_END);
	out.n = z.total_out;
	deflateEnd(&z);
	return out;
}

ENCODE struct coded encode_br(struct eg_str s, int quality, int window)
{
	struct coded out = {.n = s.n + s.n / 8 + 1024};

	out.p = malloc(out.n);
	encode_need(out.p && BrotliEncoderCompress(quality, window, BROTLI_MODE_GENERIC, s.n,
						   (const uint8_t *)s.p, &out.n, (uint8_t *)out.p));
	return out;
}

ENCODE struct coded encode_zstd(struct eg_str s)
{
	struct coded out = {.n = ZSTD_compressBound(s.n)};

	out.p = malloc(out.n);
	out.n = ZSTD_compress(out.p, out.n, s.p, s.n, 3);
	encode_need(!ZSTD_isError(out.n));
	return out;
}

ENCODE struct coded encode(enum eg_coding coding, struct eg_str s)
{
	switch (coding) {
	case EG_CODING_GZIP:
		return encode_zlib(s, 16 + 15);
	case EG_CODING_DEFLATE:
		return encode_zlib(s, 15);
	case EG_CODING_BR:
		return encode_br(s, 5, 22);
	case EG_CODING_ZSTD:
		return encode_zstd(s);
	case EG_CODING_IDENTITY:
	case EG_CODING_OTHER:
		break;
	}
	abort();
}

/* "gzip"... */
ENCODE const char *coding_name(enum eg_coding coding)
{
	static const char *const names[] = {"identity", "gzip", "deflate", "br", "zstd", "other"};

	return names[coding];
}

/* a and b, one after the other; both are freed. */
ENCODE struct coded coded_join(struct coded a, struct coded b)
{
	struct coded out = {malloc(a.n + b.n), a.n + b.n};

	encode_need(out.p);
	memcpy(out.p, a.p, a.n);
	memcpy(out.p + a.n, b.p, b.n);
	free(a.p);
	free(b.p);
	return out;
}

/* A bomb of `bytes` zeros. */
ENCODE struct coded encode_zeros(enum eg_coding coding, size_t bytes)
{
	static const char zeros[1 << 20];
	struct coded out = {malloc(ENCODE_BOMB_MAX), 0};
	z_stream z = {.zalloc = NULL};
	BrotliEncoderState *b = NULL;
	ZSTD_CCtx *s = NULL;

	encode_need(out.p && bytes % sizeof(zeros) == 0);
	z.next_out = (unsigned char *)out.p;
	z.avail_out = ENCODE_BOMB_MAX;
	switch (coding) {
	case EG_CODING_BR:
		b = BrotliEncoderCreateInstance(NULL, NULL, NULL);
		encode_need(b && BrotliEncoderSetParameter(b, BROTLI_PARAM_QUALITY, 2));
		break;
	case EG_CODING_ZSTD:
		s = ZSTD_createCCtx();
		break;
	case EG_CODING_IDENTITY:
	case EG_CODING_OTHER:
	case EG_CODING_GZIP:
	case EG_CODING_DEFLATE:
		encode_need(deflateInit2(&z, 1, Z_DEFLATED, coding == EG_CODING_GZIP ? 31 : 15, 8,
					 0) == Z_OK);
		break;
	}
	while (bytes) {
		bool last = (bytes -= sizeof(zeros)) == 0;
		size_t in = sizeof(zeros), room = (ENCODE_BOMB_MAX)-out.n;
		const uint8_t *from = (const uint8_t *)zeros;
		uint8_t *to = (uint8_t *)out.p + out.n;
		ZSTD_inBuffer zi = {zeros, in, 0};
		ZSTD_outBuffer zo = {out.p, ENCODE_BOMB_MAX, out.n};

		if (b) {
			do
				encode_need(BrotliEncoderCompressStream(
					b,
					last ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_PROCESS,
					&in, &from, &room, &to, NULL));
			while (in || BrotliEncoderHasMoreOutput(b));
			out.n = (ENCODE_BOMB_MAX)-room;
		} else if (s) {
			while (ZSTD_compressStream2(s, &zo, &zi,
						    last ? ZSTD_e_end : ZSTD_e_continue) &&
			       (last || zi.pos < zi.size))
				;
			out.n = zo.pos;
		} else {
			z.next_in = (unsigned char *)(uintptr_t)zeros;
			z.avail_in = sizeof(zeros);
			encode_need(deflate(&z, last ? Z_FINISH : Z_NO_FLUSH) ==
				    (last ? Z_STREAM_END : Z_OK));
			out.n = z.total_out;
		}
	}
	if (b)
		BrotliEncoderDestroyInstance(b);
	else if (s)
		ZSTD_freeCCtx(s);
	else
		deflateEnd(&z);
	return out;
}

#endif
