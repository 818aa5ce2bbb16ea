/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/multipart.h"

#include "proto/form_params.h"

#define CRLF_N 2u

enum state {
	BEGIN,	      /* the first delimiter, perhaps after one empty line */
	CONTENT,      /* of a part; looks for the delimiter */
	DELIMITED,    /* after a delimiter: CRLF, or "--" */
	DELIMITED_CR, /* ... its LF */
	CLOSING,      /* ... its second '-' */
	HEAD,	      /* of a part, up to the empty line */
	CLOSED,	      /* all that may come is one CRLF */
	CLOSED_CR,
	OVER,
	FAILED,
};

static __attribute__((cold)) int bad(struct eg_multipart *m, uint64_t at, struct eg_error *e,
				     const char *what)
{
	m->state = FAILED;
	return eg_error_set(e, -EINVAL, "form, byte %llu: %s", (unsigned long long)at, what);
}

/* ---- begin ---- */

/* Knuth, Morris and Pratt's table for "--" boundary: how much is still matched when the next byte
 * is not the one hoped for. */
static void make_table(struct eg_multipart *m, const char *word, size_t n)
{
	size_t k = 0;

	m->back[0] = 0;
	for (size_t i = 1; i < n; i++) {
		while (k && word[i] != word[k])
			k = m->back[k - 1];
		k += word[i] == word[k];
		m->back[i] = (unsigned char)k;
	}
}

void eg_multipart_init(struct eg_multipart *m, struct eg_str boundary,
		       int (*on_part)(void *ctx, const struct eg_part *part), void *ctx)
{
	size_t n = EG_MIN(boundary.n, (size_t)EG_MULTIPART_BOUNDARY_MAX);

	/* Field by field: the head is large, and is written before it is read. */
	m->state = BEGIN;
	m->at = m->head_at = 0;
	m->head_n = m->matched = 0;
	m->announced = UINT64_MAX;
	memset(m->before, 0, sizeof(m->before));
	memset(&m->part, 0, sizeof(m->part));
	m->on_part = on_part;
	m->ctx = ctx;
	memcpy(m->needle, "\r\n--", 4);
	memcpy(m->needle + 4, boundary.p, n);
	m->needle_n = n + 4;
	make_table(m, m->needle + CRLF_N, m->needle_n - CRLF_N);
}

/* ---- content ---- */

/* The byte at an offset from the beginning of `in`, which may be one of those before it that still
 * matter: `matched` of them were matched, two more are kept. */
static char byte_at(const struct eg_multipart *m, struct eg_str in, size_t matched, ssize_t offset)
{
	ssize_t before = offset + (ssize_t)matched; /* what was matched then */

	if (offset >= 0)
		return in.p[offset];
	return before >= 0 ? m->needle[CRLF_N + before] : m->before[before + 2];
}

/* Goes to the end of the next boundary, or of the input; returns the bytes consumed. */
static size_t find_boundary(struct eg_multipart *m, struct eg_str in)
{
	const char *word = m->needle + CRLF_N;
	size_t n = m->needle_n - CRLF_N, i = 0, matched = m->matched;
	char before[2];
	ssize_t from;

	while (i < in.n && matched < n) {
		if (!matched) {
			const char *dash = memchr(in.p + i, '-', in.n - i);

			i = dash ? (size_t)(dash - in.p) + 1 : in.n;
			matched = dash != NULL;
			continue;
		}
		while (matched && word[matched] != in.p[i])
			matched = m->back[matched - 1];
		matched += word[matched] == in.p[i++];
	}
	from = (ssize_t)i - (ssize_t)matched;
	before[0] = byte_at(m, in, m->matched, from - 2);
	before[1] = byte_at(m, in, m->matched, from - 1);
	memcpy(m->before, before, sizeof(before));
	m->matched = matched;
	return i;
}

/* "--" boundary has just been read. */
static int end_part(struct eg_multipart *m, struct eg_error *e)
{
	uint64_t word_at = m->at - (m->needle_n - CRLF_N);
	int r;

	if (memcmp(m->before, "\r\n", 2) != 0)
		return bad(m, word_at, e,
			   "the boundary inside a part, or without the CRLF that belongs before "
			   "it; expected it at the beginning of a line only");
	m->part.length = word_at - CRLF_N - m->part.from;
	if (m->announced != UINT64_MAX && m->announced != m->part.length)
		return bad(m, m->head_at, e,
			   "a part's Content-Length is not the length of its content");
	m->state = DELIMITED;
	r = m->on_part(m->ctx, &m->part);
	if (r)
		m->state = FAILED;
	return r;
}

/* ---- head ---- */

static bool is_multiple(struct eg_str type)
{
	return eg_str_istarts(type, EG_STR("multipart/")) ||
	       eg_str_istarts(type, EG_STR("message/"));
}

/* Encodings that leave the bytes as they are (RFC 2045 section 6.2). */
static bool is_identity(struct eg_str encoding)
{
	return eg_str_ieq(encoding, EG_STR("7bit")) || eg_str_ieq(encoding, EG_STR("8bit")) ||
	       eg_str_ieq(encoding, EG_STR("binary"));
}

struct seen {
	bool disposition, type, encoding;
};

/* NULL, or what is wrong with the field. */
static const char *take_field(struct eg_multipart *m, struct seen *seen, struct eg_str name,
			      struct eg_str value)
{
	if (eg_str_ieq(name, EG_STR("content-disposition"))) {
		if (seen->disposition)
			return "a second Content-Disposition";
		seen->disposition = true;
		return eg_form_disposition(value, &m->part.name, &m->part.file);
	}
	if (eg_str_ieq(name, EG_STR("content-type"))) {
		if (seen->type)
			return "a second Content-Type";
		seen->type = true;
		m->part.content_type = value;
		return is_multiple(value) ? "a part that has parts of its own; expected none"
					  : NULL;
	}
	if (eg_str_ieq(name, EG_STR("content-length"))) {
		if (m->part.sized)
			return "a second Content-Length";
		m->part.sized = true;
		return eg_str_u64(value, &m->announced) || m->announced == UINT64_MAX
			       ? "a Content-Length that is no number"
			       : NULL;
	}
	if (eg_str_ieq(name, EG_STR("content-transfer-encoding"))) {
		if (seen->encoding)
			return "a second Content-Transfer-Encoding";
		seen->encoding = true;
		return is_identity(value)
			       ? NULL
			       : "a Content-Transfer-Encoding; expected none (or binary, "
				 "8bit, 7bit)";
	}
	/* Others "MUST be ignored" (RFC 7578 section 4.8), but these say what the content is. */
	if (eg_str_istarts(name, EG_STR("content-")))
		return "a Content-... field that a form's part doesn't have";
	return NULL;
}

/* One line without its CRLF. */
static const char *take_line(struct eg_multipart *m, struct seen *seen, struct eg_str line)
{
	struct eg_str name = {line.p, eg_form_token_length(line)}, value;

	if (!name.n || name.n == line.n || line.p[name.n] != ':')
		return "a part's head with a line that is no field (name, ':', value)";
	value = eg_str_trim((struct eg_str){line.p + name.n + 1, line.n - name.n - 1});
	for (size_t i = 0; i < value.n; i++)
		if (((unsigned char)value.p[i] < 0x20 && value.p[i] != '\t') || value.p[i] == 0x7f)
			return "a control character in a part's head";
	return take_field(m, seen, name, value);
}

/* The head is whole, its empty line included. */
static int end_head(struct eg_multipart *m, struct eg_error *e)
{
	struct eg_str rest = {m->head, m->head_n - CRLF_N};
	struct seen seen = {0};

	if (memmem(rest.p, rest.n, m->needle + CRLF_N, m->needle_n - CRLF_N))
		return bad(m, m->head_at, e, "the boundary inside a part's head");
	memset(&m->part, 0, sizeof(m->part));
	m->announced = UINT64_MAX;
	while (rest.n) {
		const char *end = memmem(rest.p, rest.n, "\r\n", 2);
		size_t n = end ? (size_t)(end - rest.p) : rest.n;
		const char *wrong = take_line(m, &seen, (struct eg_str){rest.p, n});

		if (wrong)
			return bad(m, m->head_at + (size_t)(rest.p - m->head), e, wrong);
		n = EG_MIN(n + CRLF_N, rest.n);
		rest = (struct eg_str){rest.p + n, rest.n - n};
	}
	if (!seen.disposition)
		return bad(m, m->head_at, e, "a part without Content-Disposition");
	m->state = CONTENT;
	m->part.from = m->at;
	m->matched = 0;
	/* The head's own line end is not the one before a delimiter. */
	memset(m->before, 0, sizeof(m->before));
	return 0;
}

/* m->at is past the byte. */
static int head_byte(struct eg_multipart *m, char c, struct eg_error *e)
{
	bool after_cr = m->head_n && m->head[m->head_n - 1] == '\r';

	if (after_cr != (c == '\n') || !c)
		return bad(m, m->at - 1, e,
			   "a bare CR or LF, or a NUL, in a part's head; expected CRLF");
	if (m->head_n == EG_MULTIPART_HEAD_MAX)
		return bad(m, m->at - 1, e, "a part's head is over 4096 bytes");
	m->head[m->head_n++] = c;
	if (c == '\n' &&
	    (m->head_n == CRLF_N || (m->head_n >= 2 * CRLF_N && m->head[m->head_n - 3] == '\n')))
		return end_head(m, e);
	return 0;
}

/* ---- delimiters ---- */

static int begin_byte(struct eg_multipart *m, char c, struct eg_error *e)
{
	if (m->at == 1 && c == '-')
		m->matched = CRLF_N; /* without an empty line */
	if (c != m->needle[m->matched])
		return bad(m, m->at - 1, e,
			   "does not begin with the boundary that Content-Type names");
	if (++m->matched == m->needle_n)
		m->state = DELIMITED;
	return 0;
}

static int delimiter_byte(struct eg_multipart *m, char c, struct eg_error *e)
{
	static const struct {
		enum state from;
		char c;
		enum state to;
	} steps[] = {
		{DELIMITED, '\r', DELIMITED_CR}, {DELIMITED, '-', CLOSING},
		{DELIMITED_CR, '\n', HEAD},	 {CLOSING, '-', CLOSED},
		{CLOSED, '\r', CLOSED_CR},	 {CLOSED_CR, '\n', OVER},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(steps); i++)
		if (m->state == steps[i].from && c == steps[i].c) {
			m->state = steps[i].to;
			m->head_n = 0;
			m->head_at = m->at;
			return 0;
		}
	if (m->state == CLOSED || m->state == CLOSED_CR || m->state == OVER)
		return bad(m, m->at - 1, e, "bytes after the last boundary; expected CRLF or none");
	return bad(m, m->at - 1, e,
		   "bytes after a boundary; expected CRLF, or \"--\" after the last one");
}

/* ---- the whole ---- */

int eg_multipart_feed(struct eg_multipart *m, struct eg_str bytes, struct eg_error *e)
{
	size_t i = 0;
	int r = 0;

	while (i < bytes.n && !r) {
		if (m->state == CONTENT) {
			size_t n = find_boundary(m, (struct eg_str){bytes.p + i, bytes.n - i});

			i += n;
			m->at += n;
			if (m->matched == m->needle_n - CRLF_N)
				r = end_part(m, e);
			continue;
		}
		m->at++;
		if (m->state == BEGIN)
			r = begin_byte(m, bytes.p[i++], e);
		else if (m->state == HEAD)
			r = head_byte(m, bytes.p[i++], e);
		else if (m->state == FAILED)
			r = eg_error_set(e, -EINVAL, "the form was refused before");
		else
			r = delimiter_byte(m, bytes.p[i++], e);
	}
	return r;
}

int eg_multipart_end(const struct eg_multipart *m, struct eg_error *e)
{
	if (m->state == CLOSED || m->state == OVER)
		return 0;
	return eg_error_set(e, -EINVAL,
			    "form, byte %llu: ends here, without the boundary that closes it",
			    (unsigned long long)m->at);
}
