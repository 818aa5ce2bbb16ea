/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/chunked.h"

#include "proto/h1.h"

/* A size line with its extensions, and all trailers together, are at most this long. */
#define SIZE_LINE_MAX 256u
#define TRAILERS_MAX  8192u
/* 16 hex digits hold any 64-bit size; more, also of zeros, is somebody's trick. */
#define DIGITS_MAX 16u

/* RFC 9112 section 7.1: one state for each place in the grammar. */
enum state {
	SIZE,	   /* digits */
	EXT_BWS,   /* white space that only ";" may follow */
	EXT_START, /* after ";": white space, then a name */
	EXT_NAME,
	EXT_NAME_BWS, /* white space that "=" or ";" may follow */
	EXT_VALUE_START,
	EXT_TOKEN,
	EXT_QUOTED,
	EXT_QUOTED_PAIR,
	EXT_QUOTED_END,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER_START,
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,
	END_LF,
	ENDED,
	FAILED,
};

void eg_chunked_init(struct eg_chunked *c)
{
	*c = (struct eg_chunked){.state = SIZE};
}

static int hex(unsigned char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	ch |= 0x20;
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

static bool text_byte(unsigned char ch)
{
	return ch == '\t' || (ch >= 0x20 && ch != 0x7f);
}

static unsigned int size_byte(struct eg_chunked *c, unsigned char ch)
{
	int digit = hex(ch);

	if (digit >= 0) {
		if (++c->digits > DIGITS_MAX)
			return FAILED;
		c->left = c->left << 4 | (unsigned int)digit;
		return c->left > INT64_MAX ? FAILED : SIZE;
	}
	if (!c->digits)
		return FAILED;
	if (ch == '\r')
		return SIZE_LF;
	if (ch == ';')
		return EXT_START;
	return ch == ' ' || ch == '\t' ? EXT_BWS : FAILED;
}

/* What may follow a whole extension. */
static unsigned int after_ext(unsigned char ch)
{
	if (ch == '\r')
		return SIZE_LF;
	if (ch == ';')
		return EXT_START;
	return ch == ' ' || ch == '\t' ? EXT_BWS : FAILED;
}

static unsigned int ext_byte(unsigned int state, unsigned char ch)
{
	bool space = ch == ' ' || ch == '\t';

	switch (state) {
	case EXT_BWS:
		return space ? EXT_BWS : ch == ';' ? EXT_START : FAILED;
	case EXT_START:
		return space ? EXT_START : eg_h1_token_byte(ch) ? EXT_NAME : FAILED;
	case EXT_NAME:
		if (eg_h1_token_byte(ch))
			return EXT_NAME;
		if (ch == '=')
			return EXT_VALUE_START;
		return space ? EXT_NAME_BWS : after_ext(ch);
	case EXT_NAME_BWS:
		if (ch == '=')
			return EXT_VALUE_START;
		return space ? EXT_NAME_BWS : ch == ';' ? EXT_START : FAILED;
	case EXT_VALUE_START:
		if (ch == '"')
			return EXT_QUOTED;
		return space ? EXT_VALUE_START : eg_h1_token_byte(ch) ? EXT_TOKEN : FAILED;
	case EXT_TOKEN:
		return eg_h1_token_byte(ch) ? EXT_TOKEN : after_ext(ch);
	case EXT_QUOTED:
		if (ch == '"')
			return EXT_QUOTED_END;
		if (ch == '\\')
			return EXT_QUOTED_PAIR;
		return text_byte(ch) ? EXT_QUOTED : FAILED;
	case EXT_QUOTED_PAIR:
		return text_byte(ch) ? EXT_QUOTED : FAILED;
	default: /* EXT_QUOTED_END */
		return after_ext(ch);
	}
}

/* After the LF of a size line. */
static unsigned int begin_chunk(struct eg_chunked *c)
{
	bool last = !c->left;

	c->digits = 0;
	c->overhead = 0;
	return last ? TRAILER_START : DATA;
}

static unsigned int trailer_byte(unsigned int state, unsigned char ch)
{
	switch (state) {
	case TRAILER_START:
		if (ch == '\r')
			return END_LF;
		return eg_h1_token_byte(ch) ? TRAILER_NAME : FAILED;
	case TRAILER_NAME:
		if (ch == ':')
			return TRAILER_VALUE;
		return eg_h1_token_byte(ch) ? TRAILER_NAME : FAILED;
	case TRAILER_VALUE:
		if (ch == '\r')
			return TRAILER_LF;
		return text_byte(ch) ? TRAILER_VALUE : FAILED;
	case TRAILER_LF:
		return ch == '\n' ? TRAILER_START : FAILED;
	default: /* END_LF */
		return ch == '\n' ? ENDED : FAILED;
	}
}

/* One byte that is not data. */
static unsigned int step(struct eg_chunked *c, unsigned char ch)
{
	unsigned int max = c->state >= TRAILER_START ? TRAILERS_MAX : SIZE_LINE_MAX;

	if (++c->overhead > max)
		return FAILED;
	switch (c->state) {
	case SIZE:
		return size_byte(c, ch);
	case SIZE_LF:
		return ch == '\n' ? begin_chunk(c) : FAILED;
	case DATA_CR:
		return ch == '\r' ? DATA_LF : FAILED;
	case DATA_LF:
		c->overhead = 0;
		return ch == '\n' ? SIZE : FAILED;
	default:
		return c->state >= TRAILER_START ? trailer_byte(c->state, ch)
						 : ext_byte(c->state, ch);
	}
}

/* The trailers' lines, as they come; not the empty line that ends them. */
static void keep_trailers(struct eg_chunked *c, const char *p, size_t n)
{
	if (!c->trailers || !n || c->state == FAILED)
		return;
	if (c->state == ENDED || c->state == END_LF)
		n -= EG_MIN(n, (size_t)(c->state == ENDED ? 2 : 1));
	if (n && eg_buf_append(c->trailers, p, n)) {
		c->no_memory = true;
		c->state = FAILED;
	}
}

enum eg_io eg_chunked_decode(struct eg_chunked *c, struct eg_str in, size_t *used,
			     struct eg_str *data)
{
	size_t i = 0, trailers;

	*data = (struct eg_str){in.p, 0};
	while (i < in.n && c->state != DATA && c->state < TRAILER_START)
		c->state = step(c, (unsigned char)in.p[i++]);
	trailers = i;
	while (i < in.n && c->state >= TRAILER_START && c->state < ENDED)
		c->state = step(c, (unsigned char)in.p[i++]);
	keep_trailers(c, in.p + trailers, i - trailers);
	if (c->state == DATA && i < in.n) {
		size_t n = c->left < in.n - i ? (size_t)c->left : in.n - i;

		*data = (struct eg_str){in.p + i, n};
		i += n;
		c->left -= n;
		c->any = true;
		if (!c->left)
			c->state = DATA_CR;
	}
	*used = i;
	if (c->state == FAILED)
		return EG_IO_FAIL;
	return c->state == ENDED ? EG_IO_DONE : EG_IO_AGAIN;
}

size_t eg_chunked_head(char out[EG_CHUNK_HEAD_MAX], uint64_t n)
{
	static const char digits[] = "0123456789abcdef";
	size_t length = 0;
	int shift = 60;

	while (shift && !(n >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		out[length++] = digits[n >> shift & 15];
	out[length++] = '\r';
	out[length++] = '\n';
	return length;
}
