/* SPDX-License-Identifier: Apache-2.0 */
/* Forms: what is read, what is refused and why; each input whole, and cut at every byte. */
#include "proto_test.h"

#include "proto/multipart.h"

/* ---- Content-Type ---- */

static void test_boundary(void **state)
{
	static const struct {
		const char *type, *boundary;
	} good[] = {
		{"multipart/form-data; boundary=x", "x"},
		{"Multipart/Form-Data;BOUNDARY=----WebKitFormBoundaryA1b2",
		 "----WebKitFormBoundaryA1b2"},
		{"multipart/form-data; boundary=\"0b2f1c3e-1d\"", "0b2f1c3e-1d"},
		{"multipart/form-data ;\tboundary=\"a b'()+_,-./:=?c\"", "a b'()+_,-./:=?c"},
		{"multipart/form-data; charset=UTF-8; boundary=x", "x"},
		{"multipart/form-data; boundary=x; charset=\"utf-8\"", "x"},
		{"multipart/form-data; boundary="
		 "0123456789012345678901234567890123456789012345678901234567890123456789",
		 "0123456789012345678901234567890123456789012345678901234567890123456789"},
	};
	static const struct {
		const char *type, *word;
	} refused[] = {
		{"multipart/form-data", "no boundary"},
		{"multipart/form-data; charset=utf-8", "no boundary"},
		{"multipart/form-data; boundary=", "malformed"},
		{"multipart/form-data; boundary=\"\"", "expected 1 to 70"},
		{"multipart/form-data; boundary=x; boundary=x", "more than once"},
		{"multipart/form-data; boundary=\"boundary=x\"", "more than once"},
		{"multipart/form-data; boundary=x; Boundary=y", "more than once"},
		{"multipart/form-data; x=\"boundary=y\"; boundary=x", "more than once"},
		{"multipart/form-data; boundary=x boundary=y", "more than once"},
		{"multipart/form-data; boundary*=utf-8''x", "extended"},
		{"multipart/form-data; boundary*0=x", "extended"},
		{"multipart/form-data; boundary=\"x \"", "a space"},
		{"multipart/form-data; boundary=\" x\"", "a space"},
		{"multipart/form-data; boundary=\"x", "malformed"},
		{"multipart/form-data; boundary=\"a\\\"b\"", "RFC 2046"},
		{"multipart/form-data; boundary=\"a\\b\"", "RFC 2046"},
		{"multipart/form-data; boundary=a:b", "malformed"},
		{"multipart/form-data; boundary=a b", "malformed"},
		{"multipart/form-data; boundary=a,b", "malformed"},
		{"multipart/form-data; boundary = x", "malformed"},
		{"multipart/form-data; boundary= x", "malformed"},
		{"multipart/form-data; boundary=x;", "malformed"},
		{"multipart/form-data;; boundary=x", "malformed"},
		{"multipart/form-data, boundary=x", "malformed"},
		{"multipart/form-data; boundary=a*b", "RFC 2046"},
		{"multipart/form-data; boundary=a\xc3\xa4", "malformed"},
		{"multipart/form-data; charset=utf-16; boundary=x", "charset"},
		{"multipart/form-data; charset=utf-8; charset=utf-8; boundary=x", "charset"},
		{"multipart/form-data; charset*=utf-8''utf-8; boundary=x", "charset"},
		{"multipart/mixed; boundary=x", "expected multipart/form-data"},
		{"multipart/form-data; boundary="
		 "01234567890123456789012345678901234567890123456789012345678901234567890",
		 "expected 1 to 70"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(good); i++) {
		struct eg_str type = exact_copy(eg_str_from(good[i].type)), got;
		struct eg_error e = {""};

		if (eg_multipart_boundary(type, &got, &e))
			fail_msg("%s: %s", good[i].type, e.text);
		if (!eg_str_eq(got, eg_str_from(good[i].boundary)))
			fail_msg("%s: \"%.*s\"", good[i].type, EG_STR_ARG(got));
		exact_free(type);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(refused); i++) {
		struct eg_str type = exact_copy(eg_str_from(refused[i].type)), got = {NULL, 7};
		struct eg_error e = {""};

		if (eg_multipart_boundary(type, &got, &e) != -EINVAL)
			fail_msg("taken: %s", refused[i].type);
		if (!strstr(e.text, refused[i].word))
			fail_msg("%s: \"%s\", expected \"%s\"", refused[i].type, e.text,
				 refused[i].word);
		assert_int_equal(got.n, 7);
		exact_free(type);
	}
	(void)state;
}

/* ---- bodies ---- */

struct reading {
	struct eg_str body;
	char text[1024]; /* what came out */
	size_t n;
	int r;
	struct eg_error e;
};

static int note(void *ctx, const struct eg_part *part)
{
	struct reading *r = ctx;

	assert_true(part->from + part->length <= r->body.n);
	r->n += (size_t)snprintf(r->text + r->n, sizeof(r->text) - r->n, "%.*s%s%s%s%.*s=%.*s|",
				 EG_STR_ARG(part->name), part->file ? "!" : "",
				 part->sized ? "#" : "", part->content_type.p ? "@" : "",
				 EG_STR_ARG(part->content_type), (int)part->length,
				 r->body.p + part->from);
	assert_true(r->n < sizeof(r->text));
	return 0;
}

/* Cut at the two places; each piece on the heap, exactly. */
static struct reading read_cut(struct eg_str boundary, struct eg_str body, size_t a, size_t b)
{
	struct reading r = {.body = body};
	struct eg_multipart *m = malloc(sizeof(*m));
	size_t from[] = {0, a, b, body.n};

	assert_non_null(m);
	eg_multipart_init(m, boundary, note, &r);
	for (size_t i = 0; i < 3 && !r.r; i++) {
		struct eg_str piece =
			exact_copy((struct eg_str){body.p + from[i], from[i + 1] - from[i]});

		r.r = eg_multipart_feed(m, piece, &r.e);
		exact_free(piece);
	}
	if (!r.r)
		r.r = eg_multipart_end(m, &r.e);
	free(m);
	return r;
}

static struct reading read_bytes(struct eg_str boundary, struct eg_str body)
{
	struct reading r = {.body = body};
	struct eg_multipart *m = malloc(sizeof(*m));

	assert_non_null(m);
	eg_multipart_init(m, boundary, note, &r);
	for (size_t i = 0; i < body.n && !r.r; i++) {
		struct eg_str piece = exact_copy((struct eg_str){body.p + i, 1});

		r.r = eg_multipart_feed(m, piece, &r.e);
		exact_free(piece);
	}
	if (!r.r)
		r.r = eg_multipart_end(m, &r.e);
	free(m);
	return r;
}

static void same(const struct reading *a, const struct reading *b)
{
	assert_int_equal(a->r, b->r);
	assert_string_equal(a->text, b->text);
	assert_string_equal(a->e.text, b->e.text);
}

static struct reading read_all_ways(struct eg_str boundary, struct eg_str body)
{
	struct reading whole = read_cut(boundary, body, 0, 0), parted;

	parted = read_bytes(boundary, body);
	same(&whole, &parted);
	for (size_t a = 0; a <= body.n; a++)
		for (size_t b = a; b <= body.n; b += 1 + body.n / 40) {
			parted = read_cut(boundary, body, a, b);
			same(&whole, &parted);
		}
	return whole;
}

#define CD(params)		  "Content-Disposition: form-data; " params "\r\n"
#define PART(params, more, value) "--x\r\n" CD(params) more "\r\n" value "\r\n"
#define END			  "--x--\r\n"

static void test_good(void **state)
{
	static const struct {
		const char *body, *out;
	} cases[] = {
		{PART("name=\"model\"", "", "whisper-1") END, "model=whisper-1|"},
		{PART("name=\"model\"", "", "whisper-1") "--x--", "model=whisper-1|"},
		{"\r\n" PART("name=\"model\"", "", "m") END, "model=m|"},
		{END, ""},
		{PART("name=\"a\"", "", "") END, "a=|"},
		{PART("name=\"a\"", "", "\r\n") END, "a=\r\n|"},
		{PART("name=\"a\"", "", "1\n2\r3-\r\n--") END, "a=1\n2\r3-\r\n--|"},
		/* what begins like the delimiter */
		{PART("name=\"a\"", "", "\r\n-\r\n--\r\r\n--\r\n-x-y") END,
		 "a=\r\n-\r\n--\r\r\n--\r\n-x-y|"},
		{PART("name=\"a\"", "", "1") PART("name=\"b\"", "", "2") END, "a=1|b=2|"},
		/* the openai SDK on Node.js */
		{PART("name=\"file\"; filename=\"a.mp3\"", "Content-Type: audio/mpeg\r\n", "ID3")
			 PART("name=\"include[]\"", "", "logprobs") END,
		 "file!@audio/mpeg=ID3|include[]=logprobs|"},
		/* .NET */
		{"--x\r\nContent-Type: text/plain; charset=utf-8\r\n" CD(
			 "name=model") "\r\nm\r\n"
				       "--x\r\n" CD("name=file; filename=a.wav; "
						    "filename*=utf-8''a.wav") "\r\nRIFF\r\n" END,
		 "model@text/plain; charset=utf-8=m|file!=RIFF|"},
		/* Ruby's multipart-post, OkHttp 3 */
		{PART("name=\"file\"; filename=\"a b.wav\"",
		      "Content-Length: 4\r\nContent-Type: audio/wav\r\n"
		      "Content-Transfer-Encoding: binary\r\n",
		      "RIFF") END,
		 "file!#@audio/wav=RIFF|"},
		/* browsers' escapes, Internet Explorer's and Go's backslashes, curl's quotes */
		{PART("name=\"a%22b%0D%0a\"; filename=\"C:\\dir\\x%22.wav\"", "", "1") END,
		 "a%22b%0D%0a!=1|"},
		{PART("name=\"f\"; filename=\"C:\\\\dir\\\\x.wav\"", "", "1") END, "f!=1|"},
		{PART("name=\"f\"; filename=\"a\\\"b.wav\"", "", "1") END, "f!=1|"},
		{PART("name=\"f\"; filename=\"a;b.wav\"", "", "1") END, "f!=1|"},
		{PART("name=\"f\"; filename=\"\xff.wav\"", "", "1") END, "f!=1|"},
		{PART("name=\"\xc3\xbc"
		      "1\"",
		      "X-Other: 1\r\n", "1") END,
		 "\xc3\xbc"
		 "1=1|"},
		{"--x\r\ncontent-disposition:FORM-DATA ; NAME=a\r\n\r\n1\r\n--x--", "a=1|"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct reading r = read_all_ways(EG_STR("x"), eg_str_from(cases[i].body));

		if (r.r || strcmp(r.text, cases[i].out) != 0)
			fail_msg("%s\n%d \"%s\" \"%s\"", cases[i].body, r.r, r.e.text, r.text);
	}
	(void)state;
}

#define A PART("name=\"a\"", "", "1")

static void test_refused(void **state)
{
	static const struct {
		const char *body, *word;
	} cases[] = {
		/* the frame */
		{"", "ends here"},
		{"--", "ends here"},
		{"--x", "ends here"},
		{"--x\r\n", "ends here"},
		{"--x-", "ends here"},
		{A "--x", "ends here"},
		{A "--x-", "ends here"},
		{PART("name=\"a\"", "", "1"), "ends here"},
		{"preamble\r\n" A END, "begin with the boundary"},
		{" " A END, "begin with the boundary"},
		{"\n" A END, "begin with the boundary"},
		{"\r\n\r\n" A END, "begin with the boundary"},
		{"--y\r\n" CD("name=\"a\"") "\r\n1\r\n--y--\r\n", "begin with the boundary"},
		{"--x \r\n" CD("name=\"a\"") "\r\n1\r\n" END, "after a boundary"},
		{"--x\n" CD("name=\"a\"") "\r\n1\r\n" END, "after a boundary"},
		{"--xy\r\n" CD("name=\"a\"") "\r\n1\r\n" END, "after a boundary"},
		{A "--x\t\r\n" CD("name=\"b\"") "\r\n1\r\n" END, "after a boundary"},
		{A "--x-\r\n", "after a boundary"},
		{A END "\r\n", "after the last boundary"},
		{A "--x-- ", "after the last boundary"},
		{A "--x--\n", "after the last boundary"},
		{A END A END, "after the last boundary"},
		/* the boundary where it does not belong: readers that only search for it find it */
		{"--x\r\n" CD("name=\"a\"") "\r\n1--x--\r\n", "inside a part"},
		{"--x\r\n" CD("name=\"a\"") "\r\n1\n--x--\r\n", "inside a part"},
		{"--x\r\n" CD("name=\"a\"") "\r\n1\r--x--\r\n", "inside a part"},
		{"--x\r\n" CD("name=\"a\"") "\r\n1\r\n---x--\r\n", "inside a part"},
		{"--x\r\n" CD("name=\"a\"") "\r\n--x--\r\n", "inside a part"},
		{"--x\r\n" CD("name=\"a\"") "\r\n1\r\n--xyz\r\n" END, "after a boundary"},
		/* heads */
		{"--x\r\n\r\n1\r\n" END, "without Content-Disposition"},
		{"--x\r\nContent-Type: text/plain\r\n\r\n1\r\n" END, "without Content-Disposition"},
		{"--x\r\nContent-Disposition: form-data; name=\"a\"\n\r\n1\r\n" END,
		 "bare CR or LF"},
		{"--x\r\n" CD("name=\"a\"") "\n1\r\n" END, "bare CR or LF"},
		{"--x\r\nContent-Disposition: form-data; name=\"a\rb\"\r\n\r\n1\r\n" END,
		 "bare CR or LF"},
		{"--x\r\nContent-Disposition: form-data;\r\n name=\"a\"\r\n\r\n1\r\n" END,
		 "not the name"},
		{"--x\r\n" CD("name=\"a\"") " folded\r\n\r\n1\r\n" END, "is no field"},
		{"--x\r\nContent-Disposition : form-data; name=\"a\"\r\n\r\n1\r\n" END,
		 "is no field"},
		{"--x\r\n" CD("name=\"a\"") "junk\r\n\r\n1\r\n" END, "is no field"},
		{"--x\r\n" CD("name=\"a\"") ": junk\r\n\r\n1\r\n" END, "is no field"},
		{PART("name=\"a\"", CD("name=\"b\""), "1") END, "second Content-Disposition"},
		{PART("name=\"a\"", "Content-Type: a/b\r\nContent-Type: a/b\r\n", "1") END,
		 "second Content-Type"},
		{PART("name=\"a\"", "Content-Type: multipart/mixed; boundary=y\r\n", "1") END,
		 "parts of its own"},
		{PART("name=\"a\"", "Content-Type: Message/RFC822\r\n", "1") END,
		 "parts of its own"},
		{PART("name=\"a\"", "Content-Transfer-Encoding: base64\r\n", "bQ==") END,
		 "Content-Transfer-Encoding"},
		{PART("name=\"a\"",
		      "Content-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: 8bit\r\n", "1")
			 END,
		 "second Content-Transfer-Encoding"},
		{PART("name=\"a\"", "Content-Encoding: gzip\r\n", "1") END, "doesn't have"},
		{PART("name=\"a\"", "Content-Length: 2\r\n", "1") END, "not the length"},
		{PART("name=\"a\"", "Content-Length: 0\r\n", "1") END, "not the length"},
		{PART("name=\"a\"", "Content-Length: 1, 1\r\n", "1") END, "no number"},
		{PART("name=\"a\"", "Content-Length: 1\r\nContent-Length: 1\r\n", "1") END,
		 "second Content-Length"},
		{PART("name=\"a\"", "X: \x01\r\n", "1") END, "control character"},
		{PART("name=\"a\"", "X: --x--\r\n", "1") END, "inside a part's head"},
		{PART("name=\"a--x\"", "", "1") END, "inside a part's head"},
		/* names */
		{"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n" END, "not the name"},
		{"--x\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n1\r\n" END,
		 "other than form-data"},
		{"--x\r\nContent-Disposition: form-datax; name=\"a\"\r\n\r\n1\r\n" END,
		 "not the name"},
		{PART("name*=utf-8''model", "", "1") END, "not the name"},
		{PART("filename=\"b\"; name=\"a\"", "", "1") END, "not the name"},
		{PART("name=\"a\"; name=\"b\"", "", "1") END, "other parameters"},
		{PART("name=\"a\"; name*=utf-8''b", "", "1") END, "other parameters"},
		{PART("name=\"a\"; filename=\"1\"; filename=\"2\"", "", "1") END,
		 "other parameters"},
		{PART("name=\"a\"; filename*=utf-8''1", "", "1") END, "other parameters"},
		{PART("name=\"a\"; filename=\"1\"; filename*=utf-8''", "", "1") END,
		 "other parameters"},
		{PART("name=\"a\"; filename=\"1\"; filename*=utf-16''2", "", "1") END,
		 "other parameters"},
		{PART("name=\"a\"; size=1", "", "1") END, "other parameters"},
		{PART("name=\"a\";", "", "1") END, "other parameters"},
		{PART("name=\"a\" filename=\"b\"", "", "1") END, "other parameters"},
		{PART("name=\"\"", "", "1") END, "without a name"},
		{PART("name=", "", "1") END, "not the name"},
		{PART("name=\"a", "", "1") END, "not the name"},
		{PART("name='a b'", "", "1") END, "other parameters"},
		{PART("name=\" model\"", "", "1") END, "a space"},
		{PART("name=\"model \"", "", "1") END, "a space"},
		{PART("name=\"mo\\del\"", "", "1") END, "readers take differently"},
		{PART("name=\"x\\\"; name=\\\"model\"", "", "1") END, "readers take differently"},
		{PART("name=\"a;b\"", "", "1") END, "readers take differently"},
		{PART("name=\"mod%65l\"", "", "1") END, "an escape"},
		{PART("name=\"a\xff\"", "", "1") END, "not UTF-8"},
		{PART("name=\"_Charset_\"", "", "utf-16") END, "_charset_"},
		{PART("name=\"a\"; filename=\"\"", "", "1") END, "empty filename"},
		{PART("name=\"a\"; filename=\"b\\\"; name=\\\"model\"", "", "1") END,
		 "backslash before a quote"},
		{PART("name=\"a\"; filename=\"b\\\\\"; filename*=utf-8''b", "", "1") END,
		 "backslash before a quote"},
		{PART("name=\"a\"; filename=\"b\\\"", "", "1") END, "other parameters"},
		{PART("name=\"a\"; filename=\"b; name=model\"", "", "1") END, "another parameter"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct reading r = read_all_ways(EG_STR("x"), eg_str_from(cases[i].body));

		if (r.r != -EINVAL || !strstr(r.e.text, cases[i].word))
			fail_msg("%s\n%d \"%s\", expected \"%s\"", cases[i].body, r.r, r.e.text,
				 cases[i].word);
	}
	(void)state;
}

static void test_nul(void **state)
{
	struct reading r = read_all_ways(
		EG_STR("x"),
		EG_STR("--x\r\nContent-Disposition: form-data; name=\"a\0b\"\r\n\r\n1\r\n"
		       "--x--\r\n"));

	assert_int_equal(r.r, -EINVAL);
	r = read_all_ways(EG_STR("x"), EG_STR("--x\r\n" CD("name=\"a\"") "\r\n\0\0\r\n--x--\r\n"));
	assert_int_equal(r.r, 0);
	(void)state;
}

/* A part's head is bounded: 4096 bytes with its empty line are the most. */
static void test_long_head(void **state)
{
	static const char before[] = "--x\r\n" CD("name=\"a\"") "X: ";
	static const char after[] = "\r\n\r\n1\r\n--x--\r\n";
	size_t fixed = strlen(before) - strlen("--x\r\n") + strlen("\r\n\r\n");

	for (size_t over = 0; over < 2; over++) {
		size_t pad = EG_MULTIPART_HEAD_MAX - fixed + over;
		size_t n = strlen(before) + pad + strlen(after);
		char *body = malloc(n + 1);
		struct reading r;

		assert_non_null(body);
		memset(body, 'x', n);
		memcpy(body, before, strlen(before));
		memcpy(body + strlen(before) + pad, after, sizeof(after));
		r = read_cut(EG_STR("x"), (struct eg_str){body, n}, 17, 3000);
		assert_int_equal(r.r, over ? -EINVAL : 0);
		assert_int_equal(over, strstr(r.e.text, "4096") != NULL);
		free(body);
	}
	(void)state;
}

/* Boundaries of few letters against contents of the same letters: where a search goes wrong, if it
 * does. A plain search says where the boundary is. */
static void test_repetitive(void **state)
{
	uint64_t seed = 88172645463325252u;

	for (int round = 0; round < 20000; round++) {
		static const char letters[] = "-\r\nab";
		char boundary[8], body[160];
		size_t bn = 1 + next_random(&seed) % 6, n, pad, from;
		struct reading r, parted;
		const char *found;

		for (size_t i = 0; i < bn; i++)
			boundary[i] = "-ab"[next_random(&seed) % 3];
		n = (size_t)snprintf(body, sizeof(body), "--%.*s\r\n" CD("name=\"n\"") "\r\n",
				     (int)bn, boundary);
		from = n;
		pad = next_random(&seed) % 40;
		for (size_t i = 0; i < pad; i++)
			body[n++] = letters[next_random(&seed) % 5];
		n += (size_t)snprintf(body + n, sizeof(body) - n, "\r\n--%.*s--", (int)bn,
				      boundary);
		r = read_cut((struct eg_str){boundary, bn}, (struct eg_str){body, n}, 0, 0);
		parted = read_bytes((struct eg_str){boundary, bn}, (struct eg_str){body, n});
		same(&r, &parted);
		/* The first "--" boundary of the content is the last one of the body, or it is
		 * refused. */
		for (found = body + from; found < body + n; found++)
			if ((size_t)(body + n - found) >= bn + 2 && !memcmp(found, "--", 2) &&
			    !memcmp(found + 2, boundary, bn))
				break;
		if (found == body + from + pad + 2) {
			assert_int_equal(r.r, 0);
			assert_int_equal(r.n, 3 + pad);
		} else {
			assert_int_equal(r.r, -EINVAL);
		}
	}
	(void)state;
}

static int stop(void *ctx, const struct eg_part *part)
{
	++*(int *)ctx;
	return -ENOMEM;
}

static void test_stop(void **state)
{
	struct eg_multipart m;
	struct eg_error e = {""};
	int parts = 0;

	eg_multipart_init(&m, EG_STR("x"), stop, &parts);
	assert_int_equal(eg_multipart_feed(&m, EG_STR(A A END), &e), -ENOMEM);
	assert_int_equal(parts, 1);
	assert_int_equal(eg_multipart_feed(&m, EG_STR(A), &e), -EINVAL);
	assert_int_equal(eg_multipart_end(&m, NULL), -EINVAL);
	(void)state;
}

static void test_charsets(void **state)
{
	static const struct {
		const char *type;
		bool utf8;
	} cases[] = {
		{NULL, true},
		{"text/plain", true},
		{"application/json", true},
		{"text/plain; charset=utf-8", true},
		{"text/plain;Charset=\"US-ASCII\"", true},
		{"text/plain; format=flowed; charset=UTF-8", true},
		{"text/plain; charset=utf-16", false},
		{"text/plain; charset*=utf-8''utf-8", false},
		{"text/plain; charset=utf-8; charset=utf-7", false},
		{"text/plain; charset", false},
		{"text/plain;", false},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct eg_part part = {.content_type = eg_str_from(cases[i].type)};

		if (eg_part_is_utf8(&part) != cases[i].utf8)
			fail_msg("%s", cases[i].type);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_boundary),  cmocka_unit_test(test_good),
		cmocka_unit_test(test_refused),	  cmocka_unit_test(test_nul),
		cmocka_unit_test(test_long_head), cmocka_unit_test(test_repetitive),
		cmocka_unit_test(test_stop),	  cmocka_unit_test(test_charsets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
