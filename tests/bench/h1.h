/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of HTTP/1.1 as the programs of `make bench` need of each other: heads that are well
 * formed, bodies by length, in chunks or until the end. Nothing here refuses what an attacker would
 * send; proto/h1.h does that.
 */
#ifndef EGRET_BENCH_H1_H
#define EGRET_BENCH_H1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bench_body { BENCH_BODY_NONE, BENCH_BODY_LENGTH, BENCH_BODY_CHUNKED, BENCH_BODY_UNTIL_END };

struct bench_framing {
	enum bench_body kind;
	uint64_t left; /* of the body or the chunk */
	int step;      /* inside the chunk coding */
};

struct bench_head {
	size_t length; /* with the empty line */
	int status;
	bool close;
	const char *authorization; /* its whole line, in the bytes that were parsed; NULL: none */
	size_t authorization_length;
	struct bench_framing body;
};

/* 1 read, 0 incomplete, -1 malformed. */
int bench_head_parse(const char *p, size_t n, bool response, struct bench_head *out);

/* Bytes of p that belong to the body, or -1; *done when it is whole. data() gets what is decoded,
 * and may be NULL. */
long bench_body_take(struct bench_framing *f, const char *p, size_t n, bool *done,
		     void (*data)(void *context, const char *p, size_t n), void *context);

#endif
