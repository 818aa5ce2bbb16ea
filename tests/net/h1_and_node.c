/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How proto/ frames HTTP/1.1 messages, for tests/net/h1_and_node.sh, which compares it with Node's
 * parser. Reads inputs from stdin, each a byte (0: requests; 1, 2: answers to GET, HEAD), its
 * length (32 bits, little endian) and its bytes, and writes a line for each: a JSON array of the
 * messages found in it, one behind the other, as long as the connection would go on:
 *
 *   [outcome, whole, end, keep-alive, upgrade, minor, status, method, target, target's verdict,
 *    fields, body, trailers' lines in hex, reason, what was wrong]
 *
 * outcome: "done", "part" (more bytes are needed), "refused"; whole: the head was; end: where the
 * next message begins. Strings are pairs of offset and length in the input. Each input is parsed in
 * a copy of its exact size, so that a sanitizer sees a read past it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "proto/chunked.h"
#include "proto/h1.h"
#include "proto/uri.h"

#define INPUT_MAX   (1u << 20)
#define PIECES_MAX  4096u
#define AT_ONCE_MAX 8

struct message {
	const char *outcome;
	bool whole;
	size_t end;
	size_t pieces; /* of the body */
	struct eg_str piece[PIECES_MAX];
	struct eg_buf trailers;
	const char *reason, *wrong;
	int target; /* eg_target_parse()'s answer */
};

static struct eg_h1_head head;
static struct message m;

static void die(const char *why)
{
	fprintf(stderr, "h1_and_node: %s\n", why);
	exit(2);
}

static void take(struct eg_str data)
{
	if (!data.n)
		return;
	if (m.pieces == PIECES_MAX)
		die("a body of too many pieces");
	m.piece[m.pieces++] = data;
	m.end += data.n;
}

static void read_chunks(struct eg_str rest)
{
	struct eg_chunked c;
	enum eg_io io = EG_IO_AGAIN;

	eg_chunked_init(&c);
	c.trailers = &m.trailers;
	while (io == EG_IO_AGAIN && rest.n) {
		struct eg_str data;
		size_t used;

		io = eg_chunked_decode(&c, rest, &used, &data);
		take(data);
		m.end += used - data.n;
		rest.p += used;
		rest.n -= used;
	}
	m.outcome = io == EG_IO_DONE ? "done" : io == EG_IO_FAIL ? "refused" : "part";
	if (io == EG_IO_FAIL)
		m.reason = "chunked";
}

static void read_body(struct eg_str rest)
{
	size_t n = rest.n;

	switch (head.body) {
	case EG_H1_BODY_NONE:
		m.outcome = "done";
		return;
	case EG_H1_BODY_LENGTH:
		n = head.content_length < rest.n ? (size_t)head.content_length : rest.n;
		m.outcome = n == head.content_length ? "done" : "part";
		take((struct eg_str){rest.p, n});
		return;
	case EG_H1_BODY_CLOSE: /* the input's end is the connection's */
		m.outcome = "done";
		take(rest);
		return;
	case EG_H1_BODY_CHUNKED:
		read_chunks(rest);
		return;
	}
}

static void frame(unsigned int kind, struct eg_str bytes)
{
	static const char *const methods[] = {"", "GET", "HEAD"};
	enum eg_reason reason = EG_REASON_OK;
	struct eg_h1_scan scan = {0};
	struct eg_target target;
	struct eg_arena arena;
	enum eg_io io;

	m.outcome = "part";
	m.whole = false;
	m.end = 0;
	m.pieces = 0;
	m.reason = m.wrong = "";
	m.target = 0;
	eg_buf_clear(&m.trailers);
	io = kind ? eg_h1_parse_response(&scan, bytes, &eg_h1_default_limits,
					 eg_str_from(methods[kind]), &head, &reason)
		  : eg_h1_parse_request(&scan, bytes, &eg_h1_default_limits, &head, &reason);
	if (io == EG_IO_AGAIN)
		return;
	if (io == EG_IO_FAIL) {
		m.outcome = "refused";
		m.reason = eg_reason_label(reason);
		m.wrong = head.wrong ? head.wrong : "";
		return;
	}
	m.whole = true;
	m.end = head.head_bytes;
	if (!kind) {
		eg_arena_init(&arena, 1 << 20);
		m.target = eg_target_parse(&arena, head.target, &target);
		eg_arena_fini(&arena);
	}
	read_body((struct eg_str){bytes.p + m.end, bytes.n - m.end});
}

static void put_str(const char *from, struct eg_str s)
{
	printf("%td,%zu", s.p ? s.p - from : 0, s.n);
}

static void put(const char *from, size_t at)
{
	struct eg_str trailers = eg_buf_str(&m.trailers);

	printf("[\"%s\",%d,%zu,", m.outcome, m.whole, at + m.end);
	if (!m.whole) {
		printf("0,0,0,0,[],[],0,[],[],\"\",\"%s\",\"", m.reason);
	} else {
		printf("%d,%d,%u,%u,[", head.keep_alive, head.upgrade, head.minor, head.status);
		put_str(from, head.method);
		printf("],[");
		put_str(from, head.target);
		printf("],%d,[", m.target);
		for (size_t i = 0; i < head.header_count; i++) {
			printf(i ? "," : "");
			put_str(from, head.headers[i].name);
			printf(",");
			put_str(from, head.headers[i].value);
		}
		printf("],[");
		for (size_t i = 0; i < m.pieces; i++) {
			printf(i ? "," : "");
			put_str(from, m.piece[i]);
		}
		printf("],\"");
		for (size_t i = 0; i < trailers.n; i++)
			printf("%02x", (unsigned char)trailers.p[i]);
		printf("\",\"%s\",\"", m.reason);
	}
	for (const char *c = m.wrong; *c; c++)
		printf(*c == '"' ? "\\\"" : "%c", *c);
	printf("\"]");
}

/* Does what follows belong to another protocol? */
static bool changes_protocol(unsigned int kind)
{
	return kind ? head.upgrade && head.status == 101
		    : head.upgrade || eg_str_eq(head.method, EG_STR("CONNECT"));
}

/* Every message of one input, until one is not done, or ends the connection. */
static void frame_all(unsigned int kind, struct eg_str bytes)
{
	size_t at = 0;

	printf("[");
	for (int i = 0; i < AT_ONCE_MAX; i++) {
		printf(i ? "," : "");
		frame(kind, (struct eg_str){bytes.p + at, bytes.n - at});
		put(bytes.p, at);
		at += m.end;
		if (strcmp(m.outcome, "done") != 0 || !head.keep_alive || changes_protocol(kind) ||
		    at == bytes.n)
			break;
	}
	printf("]\n");
}

int main(void)
{
	unsigned char header[5];
	size_t n;

	eg_buf_init(&m.trailers, 1 << 16);
	while ((n = fread(header, 1, sizeof(header), stdin)) == sizeof(header)) {
		size_t size = header[1] | (size_t)header[2] << 8 | (size_t)header[3] << 16 |
			      (size_t)header[4] << 24;
		char *bytes;

		if (header[0] > 2 || size > INPUT_MAX)
			die("this is no input");
		bytes = malloc(size ? size : 1);
		if (!bytes || fread(bytes, 1, size, stdin) != size)
			die("an input ends too early");
		frame_all(header[0], (struct eg_str){bytes, size});
		free(bytes);
	}
	eg_buf_fini(&m.trailers);
	if (n || ferror(stdin) || fflush(stdout))
		die("reading or writing failed");
	return 0;
}
