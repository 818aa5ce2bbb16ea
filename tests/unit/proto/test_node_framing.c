/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Framing against another implementation: 20,000 mutated messages, made here, are framed by us and
 * by Node's parser (node_framing.mjs). Where both take one they must agree on its end, its body and
 * whether the connection goes on; where only one takes it, a row of `explained` must say why. The
 * mutations are the same in each run.
 */
#include "proto_test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "proto/chunked.h"
#include "proto/h1.h"

#define MESSAGES 20000u
#define SCRIPT	 "tests/unit/proto/node_framing.mjs"

enum outcome { COMPLETE, PARTIAL, REFUSED, NOT_REFUSED /* in the table of differences */ };

struct framing {
	enum outcome outcome;
	bool head; /* it was whole */
	size_t end, length;
	uint32_t hash;
	bool keep_alive, upgrade;
	char code[40]; /* why it was refused */
};

/* ---- messages ---- */

struct message {
	bool response;
	size_t n;
	char p[1200];
};

static const char *const seeds[] = {
	"GET /v1/models HTTP/1.1\r\nHost: a.example\r\nAccept: */*\r\n\r\n",
	"POST /v1/chat?x=1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 11\r\n\r\n{\"a\": true}",
	"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: "
	"chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n"
	"5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n",
	"POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
	"PUT /x HTTP/1.1\r\nHost: a.example:8080\r\nConnection: close\r\nContent-Length: "
	"2\r\n\r\nokGET / HTTP/1.1\r\n",
	"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
	"\r\nHEAD / HTTP/1.1\r\nHost:a.example\r\nX-Long:   value with  spaces \t\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nTransfer-Encoding: "
	"chunked\r\n\r\n0\r\n\r\n",
};
static const char *const answers[] = {
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1c\r\ndata: "
	"0123456789012345678\r\n\r\n\r\n0\r\n\r\n",
	"HTTP/1.0 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
	"HTTP/1.1 204 No Content\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
	"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
	"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
};

static uint64_t random_state = 424242;

static size_t choose(size_t n)
{
	return next_random(&random_state) % n;
}

static void insert(struct message *m, size_t at, const char *p, size_t n)
{
	if (m->n + n > sizeof(m->p))
		return;
	memmove(m->p + at + n, m->p + at, m->n - at);
	memcpy(m->p + at, p, n);
	m->n += n;
}

static void cut(struct message *m, size_t at, size_t n)
{
	n = EG_MIN(n, m->n - at);
	memmove(m->p + at, m->p + at + n, m->n - at - n);
	m->n -= n;
}

/* The start of a random line, so that whole fields are added, doubled and dropped too. */
static size_t line_start(const struct message *m)
{
	size_t at = choose(m->n);

	while (at && m->p[at - 1] != '\n')
		at--;
	return at;
}

static void mutate(struct message *m)
{
	static const char *const pieces[] = {
		"Content-Length: 3\r\n",
		"Content-Length: 0\r\n",
		"Content-Length: +3\r\n",
		"Content-Length: 0x3\r\n",
		"Content-Length: 3, 3\r\n",
		"content-length: 003\r\n",
		"Content-Length : 3\r\n",
		"Content-Length:\r\n",
		"Content-Length: 99999999999999999999\r\n",
		"Transfer-Encoding: chunked\r\n",
		"Transfer-Encoding: identity\r\n",
		"Transfer-Encoding: gzip, chunked\r\n",
		"Transfer-Encoding: xchunked\r\n",
		"Transfer-Encoding : chunked\r\n",
		"Transfer-Encoding:\tchunked\r\n",
		"transfer-ENCODING: ChUnKeD\r\n",
		"Transfer-Encoding:\r\n chunked\r\n",
		"Host: b.example\r\n",
		"Connection: close\r\n",
		"Connection: keep-alive, x\r\n",
		" folded\r\n",
		"NoColon\r\n",
		"X: \x01\r\n",
		"\r\n",
		"\n",
		"\r",
		"\r\r\n",
		" ",
		"\t",
		"\0",
		"\x7f",
		"\xff",
		"0",
		"1",
		"a",
		":",
		";",
		";x=\"y\"",
		",",
		"HTTP/1.1",
		"HTTP/1.0",
		"HTTP/2.0",
	};
	static const char bytes[] = "\r\n\t :;,=\"0159afxX+-\0\x7f\x80";
	size_t at = choose(m->n), n;
	const char *piece;

	switch (choose(9)) {
	case 0:
		m->p[at] = (char)(m->p[at] ^ 1 << choose(8));
		break;
	case 1:
		m->p[at] = bytes[choose(sizeof(bytes) - 1)];
		break;
	case 2:
		cut(m, at, 1 + choose(3));
		break;
	case 3:
		insert(m, at, &bytes[choose(sizeof(bytes) - 1)], 1);
		break;
	case 4:
	case 5:
		piece = pieces[choose(EG_ARRAY_SIZE(pieces))];
		insert(m, line_start(m), piece, strlen(piece));
		break;
	case 6: /* a line twice, or gone */
		at = line_start(m);
		for (n = 1; at + n < m->n && m->p[at + n - 1] != '\n'; n++)
			;
		if (choose(2) && n < 200) {
			char line[200];

			memcpy(line, m->p + at, n);
			insert(m, at, line, n);
		} else if (n < m->n) {
			cut(m, at, n);
		}
		break;
	case 7:
		piece = pieces[choose(EG_ARRAY_SIZE(pieces))];
		insert(m, at, piece, strlen(piece) ? strlen(piece) : 1);
		break;
	default: /* cut off, but seldom */
		if (choose(4) == 0)
			m->n = at + 1;
		break;
	}
}

static void make(struct message *m)
{
	const char *seed;

	m->response = choose(3) == 0;
	seed = m->response ? answers[choose(EG_ARRAY_SIZE(answers))]
			   : seeds[choose(EG_ARRAY_SIZE(seeds))];
	m->n = strlen(seed);
	memcpy(m->p, seed, m->n);
	for (size_t n = 1 + choose(3); n; n--)
		mutate(m);
}

/* ---- our framing ---- */

static struct eg_h1_head head;

static void take(struct framing *f, struct eg_str data)
{
	f->length += data.n;
	for (size_t i = 0; i < data.n; i++)
		f->hash = (f->hash ^ (unsigned char)data.p[i]) * 0x01000193u;
}

static void our_chunks(struct framing *f, struct eg_str rest)
{
	struct eg_chunked c;
	enum eg_io io = EG_IO_AGAIN;

	eg_chunked_init(&c);
	while (io == EG_IO_AGAIN && rest.n) {
		struct eg_str data;
		size_t used;

		io = eg_chunked_decode(&c, rest, &used, &data);
		take(f, data);
		f->end += used;
		rest.p += used;
		rest.n -= used;
	}
	f->outcome = io == EG_IO_DONE ? COMPLETE : io == EG_IO_FAIL ? REFUSED : PARTIAL;
	if (io == EG_IO_FAIL)
		strcpy(f->code, "chunked");
}

static struct framing our_framing(const struct message *m)
{
	struct framing f = {.outcome = PARTIAL, .hash = 0x811c9dc5u};
	struct eg_str bytes = {m->p, m->n}, rest;
	enum eg_reason reason = EG_REASON_OK;
	struct eg_h1_scan scan = {0};
	enum eg_io io = m->response ? eg_h1_parse_response(&scan, bytes, &eg_h1_default_limits,
							   EG_STR("GET"), &head, &reason)
				    : eg_h1_parse_request(&scan, bytes, &eg_h1_default_limits,
							  &head, &reason);

	strcpy(f.code, "head");
	if (io == EG_IO_AGAIN)
		return f;
	if (io == EG_IO_FAIL) {
		f.outcome = REFUSED;
		snprintf(f.code, sizeof(f.code), "%s", eg_reason_label(reason));
		return f;
	}
	f.head = true;
	strcpy(f.code, "body");
	f.end = head.head_bytes;
	f.keep_alive = head.keep_alive;
	f.upgrade = head.upgrade;
	rest = (struct eg_str){m->p + f.end, m->n - f.end};
	switch (head.body) {
	case EG_H1_BODY_NONE:
		f.outcome = COMPLETE;
		break;
	case EG_H1_BODY_LENGTH:
		f.outcome = head.content_length <= rest.n ? COMPLETE : PARTIAL;
		rest.n = EG_MIN(rest.n, (size_t)head.content_length);
		take(&f, rest);
		f.end += rest.n;
		break;
	case EG_H1_BODY_CLOSE:
		take(&f, rest);
		f.end += rest.n;
		break;
	case EG_H1_BODY_CHUNKED:
		our_chunks(&f, rest);
		break;
	}
	return f;
}

/* ---- Node's ---- */

static bool parse_line(const char *line, struct framing *f)
{
	unsigned int keep = 0, upgrade = 0, whole = 0;

	*f = (struct framing){.hash = 0};
	if (sscanf(line, "C %zu %zu %u %u %u", &f->end, &f->length, &f->hash, &keep, &upgrade) ==
	    5) {
		f->outcome = COMPLETE;
		f->head = true;
	} else if (sscanf(line, "I %u %zu %u", &whole, &f->length, &f->hash) == 3) {
		f->outcome = PARTIAL;
		f->head = whole;
	} else if (sscanf(line, "E %39s %zu", f->code, &f->end) == 2) {
		f->outcome = REFUSED;
	} else {
		return false;
	}
	f->keep_alive = keep;
	f->upgrade = upgrade;
	return true;
}

/* ---- the differences that are known ---- */

/* The message's head: up to the first empty line, or all. */
static struct eg_str head_of(const struct message *m)
{
	const char *end = NULL;
	size_t from = 0;

	while (from + 1 < m->n && m->p[from] == '\r' && m->p[from + 1] == '\n')
		from += 2;
	end = memmem(m->p + from, m->n - from, "\r\n\r\n", 4);
	return (struct eg_str){m->p, end ? (size_t)(end - m->p) + 4 : m->n};
}

static bool holds(struct eg_str s, const char *what)
{
	return memmem(s.p, s.n, what, strlen(what)) != NULL;
}

/* A field of that name; how many, and the last one's value. */
static size_t fields(struct eg_str s, const char *name, struct eg_str *value)
{
	size_t n = strlen(name), found = 0;

	for (size_t at = 0; at + n < s.n; at++) {
		const char *end;

		if ((at && s.p[at - 1] != '\n') ||
		    !eg_str_ieq((struct eg_str){s.p + at, n}, eg_str_from(name)) ||
		    s.p[at + n] != ':')
			continue;
		found++;
		end = memchr(s.p + at, '\n', s.n - at);
		*value = eg_str_trim((struct eg_str){
			s.p + at + n + 1, (end ? (size_t)(end - s.p) : s.n) - at - n - 1});
		while (value->n &&
		       (value->p[value->n - 1] == '\r' || value->p[value->n - 1] == ' ' ||
			value->p[value->n - 1] == '\t'))
			value->n--;
	}
	return found;
}

static bool host(struct eg_str s)
{
	struct eg_str v;
	size_t n = fields(s, "host", &v);

	return n != 1 || !(eg_str_eq(v, EG_STR("a.example")) || eg_str_eq(v, EG_STR("b.example")) ||
			   eg_str_eq(v, EG_STR("a.example:8080")));
}

static bool coding(struct eg_str s)
{
	struct eg_str v = {NULL, 0};

	return fields(s, "transfer-encoding", &v) && !eg_str_ieq(v, EG_STR("chunked"));
}

static bool coding_twice(struct eg_str s)
{
	struct eg_str v;

	return fields(s, "transfer-encoding", &v) > 1;
}

static bool coding_in_10(struct eg_str s)
{
	struct eg_str v;

	return fields(s, "transfer-encoding", &v) && holds(s, "HTTP/1.0");
}

static bool empty_lines(struct eg_str s)
{
	return eg_str_starts(s, EG_STR("\r\n")) || eg_str_starts(s, EG_STR("\n")) ||
	       eg_str_starts(s, EG_STR("\r"));
}

static bool bare_lf(struct eg_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '\n' && (!i || s.p[i - 1] != '\r'))
			return true;
	return false;
}

static bool control(struct eg_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (((unsigned char)s.p[i] < 32 && !strchr("\t\r\n", s.p[i])) || s.p[i] == 127 ||
		    !s.p[i])
			return true;
	return false;
}

static bool spaces_in_line(struct eg_str s)
{
	const char *end;
	size_t spaces = 0;

	while (s.n && (*s.p == '\r' || *s.p == '\n')) {
		s.p++;
		s.n--;
	}
	end = memchr(s.p, '\n', s.n);
	for (const char *c = s.p; end && c < end; c++)
		spaces += *c == ' ' || *c == '\t';
	return spaces != 2;
}

static const struct message *current;

static bool status_without_body(struct eg_str s)
{
	struct eg_str v;

	return current->response && (holds(s, " 204 ") || holds(s, " 1")) &&
	       (fields(s, "content-length", &v) || fields(s, "transfer-encoding", &v));
}

static bool status_below_100(struct eg_str s)
{
	return current->response && s.n > 10 && s.p[9] == '0';
}

static bool chunked(struct eg_str s)
{
	struct eg_str v;

	return fields(s, "transfer-encoding", &v) == 1 && eg_str_ieq(v, EG_STR("chunked"));
}

/* A ';' behind the head: the extensions' form is in play. */
static bool extension(struct eg_str s)
{
	return chunked(s) && memchr(current->p + s.n, ';', current->n - s.n);
}

static bool close_and_keep(struct eg_str s)
{
	struct eg_str v;

	return fields(s, "connection", &v) > 1 && holds(s, "close") && holds(s, "HTTP/1.0");
}

static bool tab_after_length(struct eg_str s)
{
	const char *at = memmem(s.p, s.n, "\t\r\n", 3);

	while (at && at > s.p && at[-1] != '\n')
		at--;
	return at && eg_str_istarts((struct eg_str){at, s.n - (size_t)(at - s.p)},
				    EG_STR("content-length:"));
}

static bool huge(struct eg_str s)
{
	struct eg_str v;

	return fields(s, "content-length", &v) == 1 && v.n >= 19;
}

static bool any(struct eg_str s)
{
	return true;
}

struct row {
	const char *why;
	enum outcome ours, theirs;
	const char *our_code, *their_code; /* NULL: any */
	bool (*is)(struct eg_str head);
	unsigned int count;
};

static struct row explained[] = {
	{"we judge a head when it is whole, Node at the byte", PARTIAL, REFUSED, "head", NULL, any,
	 0},
	{"Node has a list of methods", COMPLETE, REFUSED, NULL, "HPE_INVALID_METHOD", any, 0},
	{"Node has a list of methods", PARTIAL, REFUSED, NULL, "HPE_INVALID_METHOD", any, 0},
	{"the form of targets is eg_target_parse()'s", COMPLETE, REFUSED, NULL, "HPE_INVALID_URL",
	 any, 0},
	{"we drop trailers, Node refuses some names", COMPLETE, REFUSED, NULL,
	 "HPE_INVALID_CONTENT_LENGTH", chunked, 0},
	{"we drop trailers, Node refuses some names", COMPLETE, REFUSED, NULL,
	 "HPE_INVALID_TRANSFER_ENCODING", chunked, 0},
	{"white space after a value may be a tab", COMPLETE, REFUSED, NULL,
	 "HPE_INVALID_CONTENT_LENGTH", tab_after_length, 0},
	{"1.0 with close and keep-alive: we close", COMPLETE, COMPLETE, NULL, NULL, close_and_keep,
	 0},
	{"we take no body on 1xx and 204", REFUSED, NOT_REFUSED, "upstream_protocol", NULL,
	 status_without_body, 0},
	{"we take no status below 100", REFUSED, NOT_REFUSED, "upstream_protocol", NULL,
	 status_below_100, 0},
	{"we check the form of extensions", REFUSED, NOT_REFUSED, "chunked", NULL, extension, 0},
	{"we take lengths below 2^63", REFUSED, NOT_REFUSED, NULL, NULL, huge, 0},
	{"we want one valid Host", REFUSED, NOT_REFUSED, "bad_request", NULL, host, 0},
	{"we know only chunked", REFUSED, NOT_REFUSED, NULL, NULL, coding, 0},
	{"we take one Transfer-Encoding", REFUSED, NOT_REFUSED, NULL, NULL, coding_twice, 0},
	{"we take none in HTTP/1.0", REFUSED, NOT_REFUSED, NULL, NULL, coding_in_10, 0},
	{"we skip two empty lines", REFUSED, NOT_REFUSED, NULL, NULL, empty_lines, 0},
	{"we take no bare LF", REFUSED, NOT_REFUSED, NULL, NULL, bare_lf, 0},
	{"we take no control character", REFUSED, NOT_REFUSED, NULL, NULL, control, 0},
	{"we take two spaces in a request line", REFUSED, NOT_REFUSED, "bad_request", NULL,
	 spaces_in_line, 0},
};

static struct row *explain(const struct message *m, const struct framing *a,
			   const struct framing *b)
{
	struct eg_str s = head_of(m);

	current = m;
	for (size_t i = 0; i < EG_ARRAY_SIZE(explained); i++) {
		struct row *r = &explained[i];

		if (r->ours == a->outcome &&
		    (r->theirs == b->outcome ||
		     (r->theirs == NOT_REFUSED && b->outcome != REFUSED)) &&
		    (!r->our_code || !strcmp(r->our_code, a->code)) &&
		    (!r->their_code || !strcmp(r->their_code, b->code)) && r->is(s))
			return r;
	}
	return NULL;
}

static bool same(const struct framing *a, const struct framing *b)
{
	if (b->upgrade && a->upgrade && a->head) /* Node hands over at the end of the head */
		return true;
	if (a->outcome != b->outcome)
		return false;
	if (a->outcome == REFUSED)
		return true;
	if (a->outcome == PARTIAL)
		return a->head == b->head &&
		       (!a->head || (a->length == b->length && a->hash == b->hash));
	return a->end == b->end && a->length == b->length && a->hash == b->hash &&
	       a->keep_alive == b->keep_alive;
}

static void show(const struct message *m, const struct framing *a, const struct framing *b)
{
	static const char *const names[] = {"complete", "partial", "refused"};

	print_message("ours %s %s head %d end %zu length %zu keep %d; node %s %s head %d end %zu "
		      "length %zu "
		      "keep %d upgrade %d:\n",
		      names[a->outcome], a->code, a->head, a->end, a->length, a->keep_alive,
		      names[b->outcome], b->code, b->head, b->end, b->length, b->keep_alive,
		      b->upgrade);
	for (size_t i = 0; i < m->n; i++) {
		unsigned char c = (unsigned char)m->p[i];

		if (c == '\r' || c == '\n')
			print_message(c == '\r' ? "\\r" : "\\n");
		else
			print_message(c >= 32 && c < 127 ? "%c" : "\\x%02x", c);
	}
	print_message("\n");
}

static struct message *messages;

static FILE *ask_node(void)
{
	char path[] = "/tmp/framing-XXXXXX", command[200];
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w"), *answer;

	assert_non_null(f);
	for (size_t i = 0; i < MESSAGES; i++) {
		uint32_t n = (uint32_t)messages[i].n;
		unsigned char header[5] = {messages[i].response, (unsigned char)n,
					   (unsigned char)(n >> 8), (unsigned char)(n >> 16),
					   (unsigned char)(n >> 24)};

		assert_int_equal(fwrite(header, 1, 5, f), 5);
		assert_int_equal(fwrite(messages[i].p, 1, n, f), n);
	}
	assert_int_equal(fclose(f), 0);
	snprintf(command, sizeof(command), "node " SCRIPT " %s; rm -f %s", path, path);
	answer = popen(command, "r");
	assert_non_null(answer);
	return answer;
}

static void framing_is_the_same(void **state)
{
	unsigned int agreed[3] = {0}, unexplained = 0;
	FILE *answer;
	char line[200];

	if (system("node --version >/dev/null 2>&1") != 0) {
		print_message("SKIP node is not installed\n");
		skip();
	}
	messages = calloc(MESSAGES, sizeof(*messages));
	assert_non_null(messages);
	for (size_t i = 0; i < MESSAGES; i++)
		make(&messages[i]);
	answer = ask_node();
	for (size_t i = 0; i < MESSAGES; i++) {
		struct framing ours = our_framing(&messages[i]), node;
		struct row *r;

		assert_non_null(fgets(line, sizeof(line), answer));
		assert_true(parse_line(line, &node));
		if (same(&ours, &node)) {
			agreed[ours.outcome]++;
			continue;
		}
		r = explain(&messages[i], &ours, &node);
		if (r)
			r->count++;
		else if (unexplained++ < 12)
			show(&messages[i], &ours, &node);
	}
	pclose(answer);
	free(messages);
	print_message("agreed: %u complete, %u not complete, %u refused\n", agreed[COMPLETE],
		      agreed[PARTIAL], agreed[REFUSED]);
	for (size_t i = 0; i < EG_ARRAY_SIZE(explained); i++) {
		print_message("%5u %s\n", explained[i].count, explained[i].why);
		assert_true(explained[i].count); /* an explanation of nothing goes */
	}
	print_message("%5u unexplained\n", unexplained);
	assert_int_equal(unexplained, 0);
	assert_true(agreed[COMPLETE] > MESSAGES / 10 && agreed[REFUSED] > MESSAGES / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(framing_is_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
