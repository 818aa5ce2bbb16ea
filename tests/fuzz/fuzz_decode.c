/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content codings; the first byte chooses coding and limit. Oracles: whether a body is sound, and
 * what comes out of a sound one, does not depend on cuts, nor on the room there is; nothing is past
 * the limit; no more memory is taken than was granted; what zlib makes of one gzip member by
 * itself.
 */
#include "fuzz.h"

#include <zlib.h>

#include "proto/decode.h"

#define OUT_MAX 70000u

struct out {
	char *p;
	size_t n;
	size_t granted;
	bool sound;
	enum eg_decode_fault fault;
};

static bool grant(void *ctx, size_t bytes)
{
	struct out *o = ctx;

	FUZZ_CHECK(bytes > o->granted && bytes <= EG_DECODER_MEMORY);
	o->granted = bytes;
	return true;
}

static struct out decode(enum eg_coding coding, const char *p, size_t size, size_t limit,
			 uint64_t cut)
{
	struct out o = {.p = malloc(OUT_MAX)};
	struct eg_decoder_limits limits = {limit, EG_DECODER_MEMORY, grant, &o};
	struct eg_decoder *d = eg_decoder_create(coding, &limits);
	enum eg_decode r = EG_DECODE_MORE;

	FUZZ_CHECK(d && o.p);
	for (size_t at = 0; at < size && r != EG_DECODE_FAIL;) {
		size_t n = cut ? fuzz_step(&cut, size - at) : size;
		char *piece = fuzz_copy(p + at, n);
		struct eg_str in = {piece, n};

		do {
			size_t room = cut ? fuzz_step(&cut, 4096) : OUT_MAX - o.n, got;
			char *to = malloc(room);

			FUZZ_CHECK(to);
			r = eg_decoder_run(d, &in, to, room, &got);
			FUZZ_CHECK(got <= room && o.n + got <= limit);
			FUZZ_CHECK(r != EG_DECODE_MORE || !in.n);
			if (got)
				memcpy(o.p + o.n, to, got);
			o.n += got;
			free(to);
		} while (r == EG_DECODE_ROOM);
		free(piece);
		at += n;
	}
	o.sound = eg_decoder_end(d);
	o.fault = eg_decoder_fault(d);
	FUZZ_CHECK(o.sound == (o.fault == EG_DECODE_SOUND));
	FUZZ_CHECK(o.fault != EG_DECODE_MEMORY);
	eg_decoder_destroy(d);
	return o;
}

/* zlib alone, in one call: what it takes whole is sound. */
static void compare(const struct out *o, const char *p, size_t size, size_t limit)
{
	z_stream z = {.zalloc = NULL};
	unsigned char *out = malloc(OUT_MAX);
	int r;

	FUZZ_CHECK(out && inflateInit2(&z, 31) == Z_OK);
	z.next_in = (unsigned char *)(uintptr_t)p;
	z.avail_in = (unsigned int)size;
	z.next_out = out;
	z.avail_out = OUT_MAX;
	r = inflate(&z, Z_FINISH);
	if (r == Z_STREAM_END && !z.avail_in) {
		FUZZ_CHECK(o->sound == (z.total_out <= limit));
		FUZZ_CHECK(!o->sound || (o->n == z.total_out && !memcmp(o->p, out, z.total_out)));
	}
	inflateEnd(&z);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum eg_coding codings[] = {EG_CODING_GZIP, EG_CODING_DEFLATE, EG_CODING_BR,
						 EG_CODING_ZSTD};
	static const size_t limits[] = {OUT_MAX - 1, 0, 1, 1000};
	struct out whole, parted;
	enum eg_coding coding;
	size_t limit;
	char *bytes;

	if (!size)
		return 0;
	coding = codings[data[0] % 4];
	limit = limits[data[0] / 4 % 4];
	data++;
	size--;
	bytes = fuzz_copy(data, size);
	whole = decode(coding, bytes, size, limit, 0);
	parted = decode(coding, bytes, size, limit, fuzz_seed(data, size));
	FUZZ_CHECK(whole.sound == parted.sound);
	if (whole.sound) {
		FUZZ_CHECK(whole.n == parted.n);
		FUZZ_CHECK(!whole.n || !memcmp(whole.p, parted.p, whole.n));
	}
	if (coding == EG_CODING_GZIP)
		compare(&whole, bytes, size, limit);
	free(whole.p);
	free(parted.p);
	free(bytes);
	return 0;
}
