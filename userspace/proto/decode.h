/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decodes one body in a content coding, as it comes: gzip (RFC 1952, several members too), deflate
 * (RFC 1950), br (RFC 7932), zstd (RFC 8878, several frames too). Memory and output are bounded:
 * by the caller's limits, by a window of 8 MiB for zstd (section 3.1.1.1.2) and of 16 MiB for br
 * (large windows are not read). What follows the coded body is refused.
 *
 * Whether a body can be decoded, and what comes out then, does not depend on how it was cut. Of one
 * that can't be, how much came out before it was seen does, and so may which of several faults is
 * named. It opens nothing and starts no thread: it allocates memory, and no more. One thread.
 */
#ifndef EGRET_PROTO_DECODE_H
#define EGRET_PROTO_DECODE_H

#include "proto/coding.h"

#define EG_DECODER_MEMORY (20u << 20) /* enough for any body that is read at all */

struct eg_decoder_limits {
	uint64_t output_bytes; /* one more is a fault */
	size_t memory_bytes;   /* of the codec at once */
	/* NULL, or asked before the codec has more memory than it ever had: `bytes` in all. False
	 * refuses it. What was granted is the decoder's until it is destroyed. */
	bool (*charge)(void *ctx, size_t bytes);
	void *ctx;
};

enum eg_decode {
	EG_DECODE_MORE, /* all of the input was used, all that it gives came out */
	EG_DECODE_ROOM, /* the output is full: call again, with what is left of the input */
	EG_DECODE_FAIL, /* for good; eg_decoder_fault() says why */
};

enum eg_decode_fault {
	EG_DECODE_SOUND,
	EG_DECODE_CORRUPT,
	EG_DECODE_TRAILING,  /* bytes after the end */
	EG_DECODE_TRUNCATED, /* the end is missing */
	EG_DECODE_TOO_LARGE, /* more comes out than output_bytes */
	EG_DECODE_WINDOW,    /* zstd: a window larger than 8 MiB */
	EG_DECODE_MEMORY,    /* malloc or a limit of memory said no */
};

struct eg_decoder;

/* `coding`: one that is decoded. NULL: out of memory, or `charge` said no. */
struct eg_decoder *eg_decoder_create(enum eg_coding coding,
				     const struct eg_decoder_limits *limits) EG_MUST;
/* NULL is harmless. */
void eg_decoder_destroy(struct eg_decoder *d);
/* Takes from the front of *in, writes up to `room` (at least 1) bytes to `out`: *n of them. */
enum eg_decode eg_decoder_run(struct eg_decoder *d, struct eg_str *in, char *out, size_t room,
			      size_t *n) EG_MUST;
/* No more input comes. False: it was not whole, which is a fault from here on. */
bool eg_decoder_end(struct eg_decoder *d) EG_MUST;
/* Has it taken bytes that will only come out with what follows them (a block of zstd)? */
bool eg_decoder_owes(const struct eg_decoder *d);
enum eg_decode_fault eg_decoder_fault(const struct eg_decoder *d);
/* A sentence for a person, without any byte of the body. */
const char *eg_decode_fault_text(enum eg_decode_fault f);

#endif
