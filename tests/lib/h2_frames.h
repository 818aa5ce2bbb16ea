/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 frames as a test writes them by hand: header blocks of literals, and the steps of a rule,
 * a line each. For tests of what no library would send.
 */
#ifndef EGRET_TESTS_H2_FRAMES_H
#define EGRET_TESTS_H2_FRAMES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#define H2_FRAMES __attribute__((unused)) static

H2_FRAMES uint32_t raw_u32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* A literal without indexing (RFC 7541 section 6.2.2); returns its size. */
H2_FRAMES size_t raw_field(char *out, const char *name, const char *value, size_t value_n)
{
	size_t n = strlen(name);

	assert_true(n < 127 && value_n < 127);
	out[0] = 0;
	out[1] = (char)n;
	memcpy(out + 2, name, n);
	out[2 + n] = (char)value_n;
	memcpy(out + 3 + n, value, value_n);
	return 3 + n + value_n;
}

/* `fields`: "name|value\n" each. */
H2_FRAMES size_t raw_block(char *out, const char *fields)
{
	size_t n = 0;

	while (*fields) {
		const char *bar = strchr(fields, '|'), *end = strchr(fields, '\n');
		char name[128];

		snprintf(name, sizeof(name), "%.*s", (int)(bar - fields), fields);
		n += raw_field(out + n, name, bar + 1, (size_t)(end - bar - 1));
		fields = end + 1;
	}
	return n;
}

/* A frame of ours, by its head of 9 bytes: a type of RFC 9113, no flag that means nothing in it,
 * the reserved bit unset (section 4.1), and no larger than everybody takes (4.2). */
H2_FRAMES void raw_check(const unsigned char *head)
{
	static const uint8_t flags[] = {
		[NGHTTP2_DATA] = 0x09,	     [NGHTTP2_HEADERS] = 0x2d,
		[NGHTTP2_PRIORITY] = 0,	     [NGHTTP2_RST_STREAM] = 0,
		[NGHTTP2_SETTINGS] = 0x01,   [NGHTTP2_PUSH_PROMISE] = 0,
		[NGHTTP2_PING] = 0x01,	     [NGHTTP2_GOAWAY] = 0,
		[NGHTTP2_WINDOW_UPDATE] = 0, [NGHTTP2_CONTINUATION] = 0x04,
	};

	assert_true(raw_u32(head) >> 8 <= 16384);
	assert_true(head[3] < sizeof(flags) && head[3] != NGHTTP2_PUSH_PROMISE);
	assert_false(head[4] & ~flags[head[3]]);
	assert_false(raw_u32(head + 5) >> 31);
}

/* The payload of our first SETTINGS: each value is one that may be sent (section 6.5.2). */
H2_FRAMES void raw_check_settings(const unsigned char *p, size_t n, bool client)
{
	bool push_seen = false;

	assert_int_equal(n % 6, 0);
	for (size_t i = 0; i < n; i += 6) {
		uint32_t id = (uint32_t)p[i] << 8 | p[i + 1], value = raw_u32(p + i + 2);

		push_seen |= id == NGHTTP2_SETTINGS_ENABLE_PUSH;
		assert_int_not_equal(id, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL);
		if (id == NGHTTP2_SETTINGS_ENABLE_PUSH)
			assert_int_equal(value, 0);
		if (id == NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE)
			assert_true(value >= 65535 &&
				    value <= 0x7fffffff); /* 6.9.3: none reduced */
		if (id == NGHTTP2_SETTINGS_MAX_FRAME_SIZE)
			assert_true(value >= 16384 && value <= 16777215);
		/* 4.3.1: what is not reduced need not be checked afterwards. */
		if (id == NGHTTP2_SETTINGS_HEADER_TABLE_SIZE)
			assert_true(value >= 4096);
	}
	assert_int_equal(push_seen, client);
}

/* ---- a rule's steps ---- */

#define END  NGHTTP2_FLAG_END_STREAM
#define EOH  NGHTTP2_FLAG_END_HEADERS
#define PAD  NGHTTP2_FLAG_PADDED
#define PRIO NGHTTP2_FLAG_PRIORITY

/* No frames: bytes as they are; a head that must have come; a few turns. */
enum { RAW = 0xf0, AWAIT, TURN };

struct step {
	uint8_t type, flags;
	uint32_t id;
	const char *fields; /* of a block, as literals; then the bytes */
	const char *bytes;
	size_t n;
	int more; /* times that it is sent again */
};

#define F(type, flags, id, b)                              \
	{                                                  \
		type, flags, id, NULL, b, sizeof(b) - 1, 0 \
	}
#define H(flags, id, f)                                         \
	{                                                       \
		NGHTTP2_HEADERS, (flags) | EOH, id, f, "", 0, 0 \
	}
#define HB(flags, id, f, b)                                                \
	{                                                                  \
		NGHTTP2_HEADERS, (flags) | EOH, id, f, b, sizeof(b) - 1, 0 \
	}
/* A block without an end. */
#define BEGUN(f)                                     \
	{                                            \
		NGHTTP2_HEADERS, END, 1, f, "", 0, 0 \
	}
#define DATA(flags, id, b) F(NGHTTP2_DATA, flags, id, b)
#define RST(id, b)	   F(NGHTTP2_RST_STREAM, 0, id, b)
#define SET(b)		   F(NGHTTP2_SETTINGS, 0, 0, b)
#define WIN(id, b)	   F(NGHTTP2_WINDOW_UPDATE, 0, id, b)
#define HEAD_OF(id)	   F(AWAIT, 0, id, "")

#define PROTOCOL    NGHTTP2_PROTOCOL_ERROR
#define SIZE	    NGHTTP2_FRAME_SIZE_ERROR
#define FLOW	    NGHTTP2_FLOW_CONTROL_ERROR
#define COMPRESSION NGHTTP2_COMPRESSION_ERROR
#define CLOSED	    NGHTTP2_STREAM_CLOSED

#endif
