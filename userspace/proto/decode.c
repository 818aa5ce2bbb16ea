/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/decode.h"

#include <brotli/decode.h>
#include <stddef.h>
#include <stdlib.h>
#define ZLIB_CONST
#include <zlib.h>
/* For its allocator: only that part of the API says where the memory comes from. */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

#define ZSTD_WINDOW_LOG	  23 /* 8 MiB */
#define ZSTD_BLOCK_HEADER 3u
#define ZSTD_FRAME_HEADER 18u /* at most (RFC 8878 section 3.1.1) */

struct eg_decoder {
	enum eg_coding coding;
	struct eg_decoder_limits limits;
	enum eg_decode_fault fault;
	uint64_t produced;
	size_t in_use, granted; /* of memory */
	bool starved;		/* the codec was refused memory */
	bool between;		/* members or frames: nothing of the next one has come */
	bool begun;		/* one of them has ended */
	bool skipping;		/* zstd: a frame that says nothing */
	size_t wanted;		/* zstd: bytes until it can go on, and the next block's header */
	size_t head_left;	/* zstd: bytes that may still be of the frame's header */
	union {
		z_stream zlib;
		BrotliDecoderState *brotli;
		ZSTD_DCtx *zstd;
	} u;
};

/* ---- memory ---- */

/* Before each block: the codecs don't say how large it was when they give it back. */
struct block {
	size_t bytes;
	max_align_t p[];
};

/* Limits first, so that what is refused was never asked of malloc. */
static struct block *grant(struct eg_decoder *d, size_t bytes)
{
	if (bytes > d->limits.memory_bytes - d->in_use)
		return NULL;
	if (d->in_use + bytes > d->granted && d->limits.charge) {
		if (!d->limits.charge(d->limits.ctx, d->in_use + bytes))
			return NULL;
		d->granted = d->in_use + bytes;
	}
	return malloc(bytes);
}

static void *take(void *ctx, size_t n)
{
	struct eg_decoder *d = ctx;
	size_t bytes = sizeof(struct block) + n;
	struct block *b = bytes < n ? NULL : grant(d, bytes);

	if (!b) {
		d->starved = true; /* whatever the codec says or asks for then */
		return NULL;
	}
	d->in_use += bytes;
	b->bytes = bytes;
	return b->p;
}

static void give(void *ctx, void *p)
{
	struct eg_decoder *d = ctx;
	struct block *b;

	if (!p)
		return;
	b = (struct block *)((char *)p - offsetof(struct block, p));
	d->in_use -= b->bytes;
	free(b);
}

static void *zlib_take(void *ctx, unsigned int items, unsigned int size)
{
	return take(ctx, (size_t)items * size);
}

/* ---- life ---- */

static bool open_codec(struct eg_decoder *d)
{
	ZSTD_customMem memory = {take, give, d};

	switch (d->coding) {
	case EG_CODING_GZIP:
	case EG_CODING_DEFLATE:
		d->u.zlib.zalloc = zlib_take;
		d->u.zlib.zfree = give;
		d->u.zlib.opaque = d;
		/* 16: gzip's framing, and no other. */
		return inflateInit2(&d->u.zlib, d->coding == EG_CODING_GZIP ? 16 + 15 : 15) == Z_OK;
	case EG_CODING_BR:
		d->u.brotli = BrotliDecoderCreateInstance(take, give, d);
		return d->u.brotli != NULL;
	case EG_CODING_ZSTD:
		d->u.zstd = ZSTD_createDCtx_advanced(memory);
		return d->u.zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(
					    d->u.zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG));
	case EG_CODING_IDENTITY:
	case EG_CODING_OTHER:
		break;
	}
	return false;
}

struct eg_decoder *eg_decoder_create(enum eg_coding coding, const struct eg_decoder_limits *limits)
{
	struct eg_decoder *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->coding = coding;
	d->limits = *limits;
	d->between = true;
	if (open_codec(d))
		return d;
	eg_decoder_destroy(d);
	return NULL;
}

void eg_decoder_destroy(struct eg_decoder *d)
{
	if (!d)
		return;
	switch (d->coding) {
	case EG_CODING_GZIP:
	case EG_CODING_DEFLATE:
		(void)inflateEnd(&d->u.zlib);
		break;
	case EG_CODING_BR:
		if (d->u.brotli)
			BrotliDecoderDestroyInstance(d->u.brotli);
		break;
	case EG_CODING_ZSTD:
		(void)ZSTD_freeDCtx(d->u.zstd);
		break;
	case EG_CODING_IDENTITY:
	case EG_CODING_OTHER:
		break;
	}
	free(d);
}

/* ---- one step of a codec ---- */

static enum eg_decode fail(struct eg_decoder *d, enum eg_decode_fault fault)
{
	d->fault = d->starved ? EG_DECODE_MEMORY : fault;
	return EG_DECODE_FAIL;
}

/* The first byte after the end of a gzip member: of another one, or of something else. */
static bool begins_member(const struct eg_decoder *d, struct eg_str in)
{
	return !d->begun || (d->coding == EG_CODING_GZIP && (unsigned char)in.p[0] == 0x1f);
}

static enum eg_decode run_zlib(struct eg_decoder *d, struct eg_str *in, char *out, size_t room,
			       size_t *n)
{
	z_stream *z = &d->u.zlib;
	int r = Z_OK;

	z->next_out = (unsigned char *)out;
	z->avail_out = (unsigned int)EG_MIN(room, (size_t)1 << 30);
	do {
		size_t given = EG_MIN(in->n, (size_t)1 << 30);

		if (d->between && in->n) {
			if (!begins_member(d, *in))
				return fail(d, EG_DECODE_TRAILING);
			if (d->begun && inflateReset(z) != Z_OK)
				return fail(d, EG_DECODE_CORRUPT);
			d->between = false;
		}
		if (d->between)
			break;
		z->next_in = (const unsigned char *)in->p;
		z->avail_in = (unsigned int)given;
		r = inflate(z, Z_NO_FLUSH);
		in->p += given - z->avail_in;
		in->n -= given - z->avail_in;
		if (r == Z_STREAM_END)
			d->between = d->begun = true;
		else if (r != Z_OK && r != Z_BUF_ERROR)
			return fail(d, EG_DECODE_CORRUPT);
	} while (in->n && z->avail_out);
	*n = (size_t)((char *)z->next_out - out);
	return z->avail_out ? EG_DECODE_MORE : EG_DECODE_ROOM;
}

static enum eg_decode run_brotli(struct eg_decoder *d, struct eg_str *in, char *out, size_t room,
				 size_t *n)
{
	const uint8_t *from = (const uint8_t *)in->p;
	uint8_t *to = (uint8_t *)out;
	size_t left = room;
	BrotliDecoderResult r = BROTLI_DECODER_RESULT_SUCCESS;

	if (!d->begun)
		r = BrotliDecoderDecompressStream(d->u.brotli, &in->n, &from, &left, &to, NULL);
	in->p = (const char *)from;
	*n = room - left;
	d->between = d->begun = r == BROTLI_DECODER_RESULT_SUCCESS;
	if (r == BROTLI_DECODER_RESULT_ERROR)
		return fail(d, EG_DECODE_CORRUPT);
	if (r == BROTLI_DECODER_RESULT_SUCCESS && in->n)
		return fail(d, EG_DECODE_TRAILING);
	return r == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT ? EG_DECODE_ROOM : EG_DECODE_MORE;
}

/* The first byte of a frame, or of one that is skipped. What libzstd can read beside them are
 * formats from before the RFC, with memory of their own. */
static bool begins_frame(struct eg_str in)
{
	unsigned char c = (unsigned char)in.p[0];

	return c == 0x28 || (c & 0xf0) == 0x50;
}

static enum eg_decode_fault zstd_fault(size_t r)
{
	return ZSTD_getErrorCode(r) == ZSTD_error_frameParameter_windowTooLarge ? EG_DECODE_WINDOW
										: EG_DECODE_CORRUPT;
}

static enum eg_decode run_zstd(struct eg_decoder *d, struct eg_str *in, char *out, size_t room,
			       size_t *n)
{
	ZSTD_outBuffer to = {out, room, 0};

	do {
		ZSTD_inBuffer from = {in->p, in->n, 0};
		size_t r;

		if (d->between) {
			if (!in->n)
				break;
			if (!begins_frame(*in))
				return fail(d, d->begun ? EG_DECODE_TRAILING : EG_DECODE_CORRUPT);
			d->between = false;
			d->head_left = ZSTD_FRAME_HEADER;
			d->skipping = (unsigned char)in->p[0] != 0x28;
		}
		/*
		 * A header byte by byte. Of a frame that is all there libzstd does not look at the
		 * window; and when a header is wrong, it looks whether what it was just given,
		 * which need not be the frame's beginning, begins like a format from before the
		 * RFC.
		 */
		if (d->head_left)
			from.size = EG_MIN(from.size, (size_t)1);
		r = ZSTD_decompressStream(d->u.zstd, &to, &from);
		in->p += from.pos;
		in->n -= from.pos;
		d->head_left -= EG_MIN(d->head_left, from.pos);
		*n = to.pos;
		if (ZSTD_isError(r))
			return fail(d, zstd_fault(r));
		d->wanted = r;
		if (!r)
			d->between = d->begun = true;
	} while (in->n && to.pos < to.size);
	return to.pos < to.size ? EG_DECODE_MORE : EG_DECODE_ROOM;
}

static enum eg_decode run(struct eg_decoder *d, struct eg_str *in, char *out, size_t room,
			  size_t *n)
{
	switch (d->coding) {
	case EG_CODING_BR:
		return run_brotli(d, in, out, room, n);
	case EG_CODING_ZSTD:
		return run_zstd(d, in, out, room, n);
	case EG_CODING_GZIP:
	case EG_CODING_DEFLATE:
	case EG_CODING_IDENTITY:
	case EG_CODING_OTHER:
		break;
	}
	return run_zlib(d, in, out, room, n);
}

/* ---- for the caller ---- */

enum eg_decode eg_decoder_run(struct eg_decoder *d, struct eg_str *in, char *out, size_t room,
			      size_t *n)
{
	uint64_t left = d->limits.output_bytes - d->produced;
	enum eg_decode r;
	char past;

	*n = 0;
	if (d->fault != EG_DECODE_SOUND)
		return EG_DECODE_FAIL;
	if (left) {
		r = run(d, in, out, (size_t)EG_MIN((uint64_t)room, left), n);
		d->produced += *n;
		return r;
	}
	/* Nothing may come any more but the end; the place for one byte shows whether it does. */
	r = run(d, in, &past, 1, n);
	if (!*n)
		return r;
	*n = 0;
	return fail(d, EG_DECODE_TOO_LARGE);
}

bool eg_decoder_end(struct eg_decoder *d)
{
	if (d->fault == EG_DECODE_SOUND && !(d->between && d->begun))
		d->fault = EG_DECODE_TRUNCATED;
	return d->fault == EG_DECODE_SOUND;
}

bool eg_decoder_owes(const struct eg_decoder *d)
{
	return d->coding == EG_CODING_ZSTD && !d->skipping && d->wanted > ZSTD_BLOCK_HEADER;
}

enum eg_decode_fault eg_decoder_fault(const struct eg_decoder *d)
{
	return d->fault;
}

const char *eg_decode_fault_text(enum eg_decode_fault f)
{
	switch (f) {
	case EG_DECODE_SOUND:
		return "it is sound";
	case EG_DECODE_CORRUPT:
		return "it is not what its Content-Encoding says";
	case EG_DECODE_TRAILING:
		return "bytes follow its end";
	case EG_DECODE_TRUNCATED:
		return "its end is missing";
	case EG_DECODE_TOO_LARGE:
		return "it is larger than the limit once it is decoded";
	case EG_DECODE_WINDOW:
		return "its window is larger than the 8 MiB of RFC 8878";
	case EG_DECODE_MEMORY:
		return "there is no memory to decode it";
	}
	return "";
}
