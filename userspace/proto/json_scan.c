/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass, no recursion: a stack of what is open, and a loop that takes one value and then
 * whatever may follow it. Runs of plain string bytes are skipped 16 at a time.
 */
#include "proto/json_scan.h"

#include <stdlib.h>
#if defined(__SSE2__) && !defined(EG_JSON_NO_SIMD)
#include <emmintrin.h>
#define WITH_SSE2 1
#else
#define WITH_SSE2 0
#endif

#include "proto/json_keys.h"
#include "proto/json_text.h"
#include "proto/utf8.h"

#define DEPTH_MAX 128u
#define ONES	  0x0101010101010101ull
#define HIGHS	  0x8080808080808080ull

struct frame {
	bool object;
	uint32_t keys; /* of k.count when the object began */
};

struct eg_json_reading {
	const unsigned char *start, *p, *end;
	struct eg_error *error;
	struct eg_json_keys keys;
	unsigned int depth;
	struct frame frames[DEPTH_MAX];
	/* Of the member of the top-level object being read. */
	struct eg_str key; /* with escapes */
	bool key_escaped;
	const unsigned char *value;
	enum eg_json_type type;
	bool began; /* its first value was */
	bool told;  /* the member was emitted, and nothing behind it is read yet */
	int (*member)(void *ctx, const struct eg_json_member *m);
	void *ctx;
};

static __attribute__((noinline, cold)) int bad(const struct eg_json_reading *s,
					       const unsigned char *at, const char *what)
{
	if (at >= s->end)
		return eg_error_set(s->error, -EINVAL, "JSON ends at byte %zu: %s",
				    (size_t)(s->end - s->start), what);
	return eg_error_set(s->error, -EINVAL, "JSON, byte %zu: %s", (size_t)(at - s->start), what);
}

/* ---- tokens ---- */

static inline void skip_space(struct eg_json_reading *s)
{
	const unsigned char *p = s->p;

	while (p < s->end && *p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
		p++;
#if WITH_SSE2
		/* Indentation. */
		while (s->end - p >= 16) {
			__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);

			if (_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8(' '))) != 0xffff)
				break;
			p += 16;
		}
#endif
	}
	s->p = p;
}

/* The first byte at or after p that is not plain ASCII of a string: quote, backslash, control,
 * 0x80 and up; or the end. */
static inline const unsigned char *skip_plain(const unsigned char *p, const unsigned char *end)
{
#if WITH_SSE2
	const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\');
	const __m128i space = _mm_set1_epi8(0x20);

	while (end - p >= 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash));
		unsigned int mask;

		/* Signed: bytes from 0x80 up are below 0x20 too. */
		stop = _mm_or_si128(stop, _mm_cmplt_epi8(v, space));
		mask = (unsigned int)_mm_movemask_epi8(stop);
		if (mask)
			return p + __builtin_ctz(mask);
		p += 16;
	}
#else
	while (end - p >= 8) {
		uint64_t w, quote, backslash, low;

		memcpy(&w, p, sizeof(w));
		quote = w ^ (ONES * '"');
		backslash = w ^ (ONES * '\\');
		low = w - ONES * 0x20;
		if (((quote - ONES) | (backslash - ONES) | low | w) & HIGHS)
			break; /* perhaps: the loop below looks at each */
		p += 8;
	}
#endif
	while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
		p++;
	return p;
}

/* Past what is not ASCII, as far as it is valid UTF-8 (RFC 3629 section 4). */
static inline const unsigned char *skip_utf8(const unsigned char *p, const unsigned char *end)
{
	while (p < end && *p >= 0x80) {
		size_t n = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
		if (end - p >= 4) { /* the common lengths by one load */
			uint32_t w;

			memcpy(&w, p, sizeof(w));
			if ((w & 0xc0c0f0) == 0x8080e0 && (w & 0x200f) && (w & 0x200f) != 0x200d)
				n = 3; /* not overlong, not a surrogate */
			else if ((w & 0xc0e0) == 0x80c0 && (w & 0x1e))
				n = 2;
		}
#endif
		if (!n)
			n = eg_utf8_length(p, (size_t)(end - p));
		if (!n)
			break;
		p += n;
	}
	return p;
}

static const bool short_escape[256] = {
	['"'] = true, ['\\'] = true, ['/'] = true, ['b'] = true,
	['f'] = true, ['n'] = true,  ['r'] = true, ['t'] = true,
};

static inline int escape(struct eg_json_reading *s)
{
	size_t n;

	if (s->end - s->p >= 2 && short_escape[s->p[1]]) {
		s->p += 2;
		return 0;
	}
	n = eg_json_escape(s->p, (size_t)(s->end - s->p), NULL);

	if (!n)
		return bad(s, s->p, "a bad escape, or half a surrogate pair");
	s->p += n;
	return 0;
}

/* At the opening quote. *escaped is set when there is a backslash in it. */
static inline int string(struct eg_json_reading *s, bool *escaped)
{
	s->p++;
	for (;;) {
		s->p = skip_plain(s->p, s->end);
		if (s->p == s->end)
			return bad(s, s->p, "a string is not ended");
		if (*s->p == '"') {
			s->p++;
			return 0;
		}
		if (*s->p == '\\') {
			*escaped = true;
			if (escape(s))
				return -EINVAL;
			continue;
		}
		if (*s->p < 0x20)
			return bad(s, s->p, "a control character in a string");
		s->p = skip_utf8(s->p, s->end);
		if (s->p < s->end && *s->p >= 0x80)
			return bad(s, s->p, "invalid UTF-8");
	}
}

static inline bool digit(const struct eg_json_reading *s)
{
	return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

static inline int digits(struct eg_json_reading *s)
{
	if (!digit(s))
		return bad(s, s->p, "expected a digit");
	while (s->end - s->p >= 8) {
		uint64_t w;

		memcpy(&w, s->p, sizeof(w));
		if (((w & (ONES * 0xf0)) | (((w + ONES * 6) & (ONES * 0xf0)) >> 4)) != ONES * 0x33)
			break;
		s->p += 8;
	}
	while (digit(s))
		s->p++;
	return 0;
}

/* RFC 8259 section 6. */
static int number(struct eg_json_reading *s)
{
	if (*s->p == '-')
		s->p++;
	if (s->p < s->end && *s->p == '0') {
		s->p++;
		if (digit(s))
			return bad(s, s->p, "a number with a leading zero");
	} else if (digits(s)) {
		return -EINVAL;
	}
	if (s->p < s->end && *s->p == '.') {
		s->p++;
		if (digits(s))
			return -EINVAL;
	}
	if (s->p < s->end && (*s->p | 0x20) == 'e') {
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		return digits(s);
	}
	return 0;
}

static int literal(struct eg_json_reading *s, const char *word, size_t n)
{
	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
		return bad(s, s->p, "expected a value");
	s->p += n;
	return 0;
}

/* ---- structure ---- */

/* Enters the key into its object; the unescaped form of an escaped one is made for that. */
static int remember(struct eg_json_reading *s, struct eg_str key, bool escaped)
{
	EG_CLEANUP_FREE char *copy = NULL;
	const unsigned char *at = (const unsigned char *)key.p;
	int r;

	if (escaped) {
		copy = malloc(key.n);
		if (!copy)
			return -ENOMEM;
		key.n = (size_t)eg_json_unescape(copy, key);
		key.p = copy;
	}
	r = eg_json_keys_add(&s->keys, s->frames[s->depth - 1].keys, key);
	if (r == -EEXIST)
		return bad(s, at, "a key that its object has already");
	if (r == -E2BIG)
		return bad(s, at, "more than 262144 keys in the objects around this place");
	return r;
}

/* A key, the colon, and the space after it. */
static inline int member_key(struct eg_json_reading *s)
{
	const unsigned char *from = s->p + 1;
	bool escaped = false;
	struct eg_str key;
	int r;

	if (s->p == s->end || *s->p != '"')
		return bad(s, s->p, "expected a key");
	if (string(s, &escaped))
		return -EINVAL;
	key = (struct eg_str){(const char *)from, (size_t)(s->p - 1 - from)};
	r = remember(s, key, escaped);
	if (r)
		return r;
	if (s->depth == 1) {
		s->key = key;
		s->key_escaped = escaped;
	}
	skip_space(s);
	if (s->p == s->end || *s->p != ':')
		return bad(s, s->p, "expected ':'");
	s->p++;
	skip_space(s);
	if (s->depth == 1)
		s->value = s->p;
	return 0;
}

/* Opens a container and goes to its first value; *closed when there is none. */
static inline int open_container(struct eg_json_reading *s, bool *closed)
{
	bool object = *s->p == '{';

	if (s->depth == DEPTH_MAX)
		return bad(s, s->p, "nested deeper than 128");
	s->frames[s->depth++] = (struct frame){.object = object, .keys = s->keys.count};
	s->p++;
	skip_space(s);
	*closed = s->p < s->end && *s->p == (object ? '}' : ']');
	if (*closed) {
		s->p++;
		s->depth--;
		return 0;
	}
	return object ? member_key(s) : 0;
}

/* A scalar, whole, or the beginning of a container. *done when the value has ended. */
static inline int value(struct eg_json_reading *s, bool *done)
{
	enum eg_json_type type;
	bool escaped, top = s->depth == 1;
	int r;

	*done = true;
	if (s->p == s->end)
		return bad(s, s->p, "expected a value");
	switch (*s->p) {
	case '{':
		type = EG_JSON_OBJECT;
		r = open_container(s, done);
		break;
	case '[':
		type = EG_JSON_ARRAY;
		r = open_container(s, done);
		break;
	case '"':
		type = EG_JSON_STRING;
		r = string(s, &escaped);
		break;
	case 't':
		type = EG_JSON_TRUE;
		r = literal(s, "true", 4);
		break;
	case 'f':
		type = EG_JSON_FALSE;
		r = literal(s, "false", 5);
		break;
	case 'n':
		type = EG_JSON_NULL;
		r = literal(s, "null", 4);
		break;
	default:
		if (*s->p != '-' && !digit(s))
			return bad(s, s->p, "expected a value");
		type = EG_JSON_NUMBER;
		r = number(s);
		break;
	}
	if (top)
		s->type = type;
	return r;
}

/* A member of the top-level object has ended. */
static int emit(struct eg_json_reading *s)
{
	EG_CLEANUP_FREE char *copy = NULL;
	struct eg_json_member m = {
		.key = s->key,
		.raw = {(const char *)s->value, (size_t)(s->p - s->value)},
		.type = s->type,
	};

	if (s->key_escaped) {
		copy = malloc(m.key.n);
		if (!copy)
			return -ENOMEM;
		m.key.n = (size_t)eg_json_unescape(copy, m.key);
		m.key.p = copy;
	}
	return s->member(s->ctx, &m);
}

/* After a value: closes what ends here, and goes to the next value. Depth 0: all has ended. */
static inline int after_value(struct eg_json_reading *s)
{
	while (s->depth) {
		const struct frame *f = &s->frames[s->depth - 1];
		int r = s->depth == 1 && s->member && !s->told ? emit(s) : 0;

		s->told = r == -EAGAIN;
		if (r)
			return r;
		skip_space(s);
		if (s->p == s->end)
			return bad(s, s->p,
				   f->object ? "an object is not ended" : "an array is not ended");
		if (*s->p == ',') {
			s->p++;
			skip_space(s);
			return f->object ? member_key(s) : 0;
		}
		if (*s->p != (f->object ? '}' : ']'))
			return bad(s, s->p,
				   f->object ? "expected ',' or '}'" : "expected ',' or ']'");
		s->p++;
		if (f->object)
			eg_json_keys_drop(&s->keys, f->keys);
		s->depth--;
	}
	return 0;
}

static int check_beginning(struct eg_json_reading *s)
{
	size_t n = (size_t)(s->end - s->start);

	if (n > UINT32_MAX)
		return bad(s, s->p, "longer than 4 GiB");
	if (n >= 3 && !memcmp(s->start, "\xef\xbb\xbf", 3))
		return bad(s, s->p, "a byte order mark");
	skip_space(s);
	if (s->p == s->end || (*s->p != '{' && (s->member || *s->p != '[')))
		return bad(s, s->p, "expected an object");
	return 0;
}

static int read_on(struct eg_json_reading *s, size_t budget)
{
	const unsigned char *from = s->p;
	bool done;
	int r = s->told ? after_value(s) : s->began ? 0 : check_beginning(s);

	while (!r && (s->depth || !s->began)) {
		if ((size_t)(s->p - from) >= budget)
			return -EAGAIN;
		s->began = true;
		r = value(s, &done);
		if (!r && done)
			r = after_value(s);
	}
	if (r)
		return r;
	skip_space(s);
	return s->p == s->end ? 0 : bad(s, s->p, "bytes after the value");
}

/* Without `member`: any object or array, and nothing is handed out. */
static void begin(struct eg_json_reading *s, struct eg_str text,
		  int (*member)(void *ctx, const struct eg_json_member *m), void *ctx,
		  struct eg_error *e)
{
	/* Field by field: the arrays in it are large, and are written before they are read. */
	s->start = s->p = (const unsigned char *)text.p;
	s->end = text.n ? s->start + text.n : s->start;
	s->error = e;
	s->depth = 0;
	s->key = (struct eg_str){NULL, 0};
	s->key_escaped = s->began = s->told = false;
	s->value = NULL;
	s->type = EG_JSON_NULL;
	s->member = member;
	s->ctx = ctx;
	eg_json_keys_init(&s->keys);
}

static int read_text(struct eg_str text, int (*member)(void *ctx, const struct eg_json_member *m),
		     void *ctx, struct eg_error *e)
{
	struct eg_json_reading s;
	int r;

	begin(&s, text, member, ctx, e);
	r = read_on(&s, SIZE_MAX);
	eg_json_keys_fini(&s.keys);
	return r;
}

int eg_json_members(struct eg_str text, int (*member)(void *ctx, const struct eg_json_member *m),
		    void *ctx, struct eg_error *e)
{
	return read_text(text, member, ctx, e);
}

int eg_json_check(struct eg_str text, struct eg_error *e)
{
	return read_text(text, NULL, NULL, e);
}

struct eg_json_reading *eg_json_begin(struct eg_str text,
				      int (*member)(void *ctx, const struct eg_json_member *m),
				      void *ctx, struct eg_error *e)
{
	struct eg_json_reading *s = malloc(sizeof(*s));

	if (s)
		begin(s, text, member, ctx, e);
	return s;
}

int eg_json_go_on(struct eg_json_reading *s, size_t *budget)
{
	const unsigned char *from = s->p;
	int r = read_on(s, *budget);

	*budget -= EG_MIN(*budget, (size_t)(s->p - from));
	return r;
}

void eg_json_end(struct eg_json_reading *s)
{
	if (!s)
		return;
	eg_json_keys_fini(&s->keys);
	free(s);
}
