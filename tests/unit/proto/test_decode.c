/* SPDX-License-Identifier: Apache-2.0 */
/* Content codings, made by the real encoders: whole, cut everywhere, broken, too large. */
#include "proto_test.h"

#include "encode.h"
#include "proto/decode.h"

static const enum eg_coding all[] = {EG_CODING_GZIP, EG_CODING_DEFLATE, EG_CODING_BR,
				     EG_CODING_ZSTD};
#define TEXT_BYTES 5000u

struct result {
	bool sound;
	enum eg_decode_fault fault;
	char *p;
	size_t n, size, used; /* used: of the input, when it failed */
	size_t granted;	      /* of memory */
	size_t charges, refuse_at;
};

static bool charge(void *ctx, size_t bytes)
{
	struct result *r = ctx;

	if (++r->charges == r->refuse_at)
		return false;
	assert_true(bytes > r->granted);
	r->granted = bytes;
	return true;
}

/* Feeds in pieces of `piece` (0: cut once, at `at`), takes out at most `room` at a time. */
static struct result decode(enum eg_coding coding, struct eg_str in, size_t at, size_t piece,
			    size_t room, uint64_t limit, size_t refuse_at)
{
	struct result r = {.refuse_at = refuse_at};
	struct eg_decoder_limits limits = {limit, EG_DECODER_MEMORY, charge, &r};
	struct eg_decoder *d;
	enum eg_decode state = EG_DECODE_MORE;
	size_t done = 0;
	char out[4096];

	d = eg_decoder_create(coding, &limits);
	if (!d) {
		r.fault = EG_DECODE_MEMORY;
		return r;
	}
	while (done < in.n && state != EG_DECODE_FAIL) {
		size_t n = piece ? EG_MIN(piece, in.n - done) : done < at ? at - done : in.n - done;
		struct eg_str copy = exact_copy((struct eg_str){in.p + done, n}), left = copy;

		do {
			size_t got;

			state = eg_decoder_run(d, &left, out, EG_MIN(room, sizeof(out)), &got);
			assert_true(got <= EG_MIN(room, sizeof(out)));
			if (r.n + got > r.size) {
				r.size = 2 * (r.n + got);
				r.p = realloc(r.p, r.size);
				assert_non_null(r.p);
			}
			if (got)
				memcpy(r.p + r.n, out, got);
			r.n += got;
		} while (state == EG_DECODE_ROOM);
		if (state == EG_DECODE_MORE)
			assert_int_equal(left.n, 0);
		done += n - left.n;
		exact_free(copy);
	}
	r.used = done;
	r.sound = eg_decoder_end(d);
	r.fault = eg_decoder_fault(d);
	assert_int_equal(r.sound, r.fault == EG_DECODE_SOUND);
	if (!r.sound) { /* for good */
		size_t got;
		struct eg_str more = EG_STR("x");

		assert_int_equal(eg_decoder_run(d, &more, out, 1, &got), EG_DECODE_FAIL);
		assert_int_equal(got, 0);
	}
	eg_decoder_destroy(d);
	return r;
}

static struct result decode_whole(enum eg_coding coding, struct eg_str in)
{
	return decode(coding, in, in.n, 0, 4096, 1 << 20, 0);
}

/* Something with matches and without. */
static struct eg_str text(void)
{
	static char t[TEXT_BYTES];
	uint64_t x = 88172645463325252ull;

	for (size_t i = 0; i < sizeof(t); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		t[i] = i % 1000 < 300 ? (char)x : "{\"model\":\"gpt-4o\"}, "[i % 20];
	}
	return (struct eg_str){t, sizeof(t)};
}

static void same(const struct result *r, struct eg_str want)
{
	if (!r->sound)
		fail_msg("%s", eg_decode_fault_text(r->fault));
	assert_int_equal(r->n, want.n);
	assert_memory_equal(r->p, want.p, want.n);
}

static void cuts(enum eg_coding coding, struct coded c, struct eg_str want)
{
	for (size_t at = 0; at <= c.n; at++) {
		struct result r = decode(coding, coded_str(&c), at, 0, 4096, TEXT_BYTES * 4, 0);

		same(&r, want);
		free(r.p);
	}
	for (size_t piece = 1; piece < 8; piece++) {
		struct result r = decode(coding, coded_str(&c), 0, piece, piece, want.n, 0);

		same(&r, want);
		free(r.p);
	}
	free(c.p);
}

static void test_cut_everywhere(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		cuts(all[i], encode(all[i], text()), text());
		cuts(all[i], encode(all[i], EG_STR("")), EG_STR(""));
	}
	(void)state;
}

#define SKIPPED                            \
	"\x5a\x2a\x4d\x18\x03\x00\x00\x00" \
	"abc"

/* Members and frames follow one another; deflate and br have one. */
static void test_several(void **state)
{
	static const struct eg_str a = EG_STR("{\"a\":"), b = EG_STR("1}"),
				   both = EG_STR("{\"a\":1}");
	struct coded skipped = {malloc(sizeof(SKIPPED) - 1), sizeof(SKIPPED) - 1};

	assert_non_null(skipped.p);
	memcpy(skipped.p, SKIPPED, skipped.n);
	cuts(EG_CODING_GZIP, coded_join(encode(EG_CODING_GZIP, a), encode(EG_CODING_GZIP, b)),
	     both);
	cuts(EG_CODING_ZSTD,
	     coded_join(coded_join(encode(EG_CODING_ZSTD, a), skipped), encode(EG_CODING_ZSTD, b)),
	     both);
	for (size_t i = 1; i < 3; i++) {
		struct coded c = coded_join(encode(all[i], a), encode(all[i], b));
		struct result r = decode_whole(all[i], coded_str(&c));

		assert_int_equal(r.fault, EG_DECODE_TRAILING);
		free(r.p);
		free(c.p);
	}
	(void)state;
}

static void test_truncated(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded c = encode(all[i], text());

		for (size_t n = 0; n < c.n; n++) {
			struct result r = decode_whole(all[i], (struct eg_str){c.p, n});

			assert_int_equal(r.fault, EG_DECODE_TRUNCATED);
			free(r.p);
		}
		free(c.p);
	}
	(void)state;
}

static void test_trailing(void **state)
{
	static const char *const rest[] = {"x", "{\"model\":\"other\"}", "\n"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++)
		for (size_t k = 0; k < EG_ARRAY_SIZE(rest); k++) {
			struct coded c = encode(all[i], text()),
				     more = {malloc(64), strlen(rest[k])};

			assert_non_null(more.p);
			memcpy(more.p, rest[k], more.n);
			c = coded_join(c, more);
			for (size_t piece = 1; piece < 9000; piece += 4099) {
				struct result r =
					decode(all[i], coded_str(&c), 0, piece, 999, 1 << 20, 0);

				assert_int_equal(r.fault, EG_DECODE_TRAILING);
				free(r.p);
			}
			free(c.p);
		}
	(void)state;
}

/* Each byte changed: sound or not, and to what, does not depend on cuts; what has a checksum over
 * all of it is never taken for something else. */
static void test_corrupt(void **state)
{
	static const struct eg_str small =
		EG_STR("{\"model\":\"gpt-4o\",\"messages\":[]} {} {} {}");

	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded c = encode(all[i], small);

		for (size_t at = 0; at < c.n * 8; at++) {
			struct result whole, parted;

			c.p[at / 8] = (char)(c.p[at / 8] ^ 1 << at % 8);
			whole = decode(all[i], coded_str(&c), 0, c.n, 4096, 1 << 20, 0);
			parted = decode(all[i], coded_str(&c), 0, 1, 7, 1 << 20, 0);
			assert_int_equal(whole.sound, parted.sound);
			if (whole.sound) {
				assert_int_equal(whole.n, parted.n);
				assert_memory_equal(whole.p, parted.p, whole.n);
			}
			/* Beside fields of the header that say nothing of the content. */
			if (whole.sound && all[i] == EG_CODING_GZIP)
				same(&whole, small);
			free(whole.p);
			free(parted.p);
			c.p[at / 8] = (char)(c.p[at / 8] ^ 1 << at % 8);
		}
		free(c.p);
	}
	(void)state;
}

/* Exactly the limit is sound, one byte less is not. */
static void test_limit(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded c = encode(all[i], text());

		for (size_t piece = 1; piece < 9000; piece += 4099) {
			struct result r =
				decode(all[i], coded_str(&c), 0, piece, 333, TEXT_BYTES, 0);

			same(&r, text());
			free(r.p);
			r = decode(all[i], coded_str(&c), 0, piece, 333, TEXT_BYTES - 1, 0);
			assert_int_equal(r.fault, EG_DECODE_TOO_LARGE);
			assert_int_equal(r.n, TEXT_BYTES - 1);
			free(r.p);
		}
		free(c.p);
	}
	(void)state;
}

/* A gibibyte of zeros ends at the limit, with the memory of any other body. */
static void test_bombs(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded c = encode_zeros(all[i], (size_t)1 << 30);
		struct result r;

		assert_true(c.n < ENCODE_BOMB_MAX);
		r = decode(all[i], coded_str(&c), 0, 16384, 4096, 1 << 20, 0);
		assert_int_equal(r.fault, EG_DECODE_TOO_LARGE);
		assert_int_equal(r.n, 1 << 20);
		assert_true(r.used <= 16384);
		assert_true(r.granted < (10u << 20));
		free(r.p);
		free(c.p);
	}
	(void)state;
}

static void refused(enum eg_coding coding, struct eg_str in, enum eg_decode_fault fault)
{
	for (size_t piece = 1; piece <= in.n; piece += EG_MAX(in.n - 1, (size_t)1)) {
		struct result r = decode(coding, in, 0, piece, 4096, 1 << 20, 0);

		assert_int_equal(r.fault, fault);
		assert_true(r.granted < (1u << 20));
		free(r.p);
	}
}

/* 300 times 'a', in one block, with that window. */
#define ZSTD_FRAME(window)                                   \
	"\x28\xb5\x2f\xfd\x40" window "\x2c\x00\x63\x09\x00" \
	"a"

static void test_windows(void **state)
{
	static const struct eg_str plain = EG_STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	struct coded c = encode_br(plain, 5, 24);
	struct result r = decode_whole(EG_CODING_BR, coded_str(&c));
	BrotliEncoderState *b = BrotliEncoderCreateInstance(NULL, NULL, NULL);
	const uint8_t *from = (const uint8_t *)plain.p;
	uint8_t large[256], *to = large;
	size_t in = plain.n, room = sizeof(large);

	same(&r, plain);
	assert_true(r.granted < (1u << 20)); /* as much as is needed, not as much as it says */
	free(r.p);
	free(c.p);
	assert_true(b && BrotliEncoderSetParameter(b, BROTLI_PARAM_LARGE_WINDOW, 1) &&
		    BrotliEncoderSetParameter(b, BROTLI_PARAM_LGWIN, 30) &&
		    BrotliEncoderCompressStream(b, BROTLI_OPERATION_FINISH, &in, &from, &room, &to,
						NULL));
	refused(EG_CODING_BR, (struct eg_str){(char *)large, sizeof(large) - room},
		EG_DECODE_CORRUPT);
	BrotliEncoderDestroyInstance(b);

	r = decode_whole(EG_CODING_ZSTD, EG_STR(ZSTD_FRAME("\x68"))); /* 8 MiB */
	assert_true(r.sound && r.n == 300);
	free(r.p);
	refused(EG_CODING_ZSTD, EG_STR(ZSTD_FRAME("\x69")), EG_DECODE_WINDOW); /* 9 MiB */
	refused(EG_CODING_ZSTD, EG_STR(ZSTD_FRAME("\x70")), EG_DECODE_WINDOW); /* 16 MiB */
	(void)state;
}

/* Formats that libzstd also reads, or that are another coding's. */
static void test_not_that(void **state)
{
	static const char *const not_zstd[] = {"\x27\xb5\x2f\xfd",
					       "\x25\xb5\x2f\xfd",
					       "\x1e\xb5\x2f\xfd",
					       "\x37\xa4\x30\xec",
					       "{}",
					       "P{}"};
	struct coded raw = encode_zlib(text(), -15), z = encode_zlib(text(), 15);

	for (size_t i = 0; i < EG_ARRAY_SIZE(not_zstd); i++) {
		char frame[32] = "";

		memcpy(frame, not_zstd[i], strlen(not_zstd[i]));
		refused(EG_CODING_ZSTD, (struct eg_str){frame, sizeof(frame)}, EG_DECODE_CORRUPT);
	}
	refused(EG_CODING_GZIP, EG_STR("{\"model\":\"gpt-4o\"}"), EG_DECODE_CORRUPT);
	refused(EG_CODING_BR, EG_STR("{\"model\":\"gpt-4o\"}"), EG_DECODE_CORRUPT);
	refused(EG_CODING_DEFLATE, coded_str(&raw), EG_DECODE_CORRUPT);
	refused(EG_CODING_GZIP, coded_str(&z), EG_DECODE_CORRUPT);
	free(raw.p);
	free(z.p);
	(void)state;
}

/* A frame of a format from before the RFC, whose decoder takes memory of its own, behind a part of
 * the magic number of today's: libzstd took what it was given last for the beginning. */
static void test_old_frames_behind(void **state)
{
	static const char old[] = "\x27\xb5\x2f\xfd\0\0\xee\xb8\x79";
	static const char magic[] = "\x28\xb5\x2f\xfd\x08";

	for (size_t n = 1; n < sizeof(magic); n++) {
		struct eg_str in;
		char frame[32];

		memcpy(frame, magic, n);
		memcpy(frame + n, old, sizeof(old) - 1);
		in = (struct eg_str){frame, n + sizeof(old) - 1};
		for (size_t at = 0; at <= in.n; at++) {
			struct result r = decode(EG_CODING_ZSTD, in, at, 0, 4096, 1 << 20, 0);

			if (r.fault != EG_DECODE_CORRUPT)
				fail_msg("behind %zu bytes, cut at %zu: %s", n, at,
					 eg_decode_fault_text(r.fault));
			free(r.p);
		}
	}
	(void)state;
}

/* Every time that memory is asked for, it may be refused. */
static void test_refused_memory(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded c = encode(all[i], text());

		for (size_t at = 1;; at++) {
			struct result r = decode(all[i], coded_str(&c), 0, 100, 333, 1 << 20, at);
			bool sound = r.sound;

			if (!sound)
				assert_int_equal(r.fault, EG_DECODE_MEMORY);
			else
				same(&r, text());
			free(r.p);
			if (sound) {
				assert_true(at > 2);
				break;
			}
		}
		free(c.p);
	}
	(void)state;
}

static void test_memory_limit(void **state)
{
	struct eg_decoder_limits any = {.output_bytes = 1, .memory_bytes = 1 << 20};

	assert_null(eg_decoder_create(EG_CODING_OTHER, &any));
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded c = encode(all[i], text());
		struct eg_decoder_limits limits = {.output_bytes = 1 << 20, .memory_bytes = 1024};
		struct eg_decoder *d = eg_decoder_create(all[i], &limits);
		struct eg_str in = coded_str(&c);
		char out[4096];
		size_t n;

		if (d) {
			enum eg_decode r;

			do
				r = eg_decoder_run(d, &in, out, sizeof(out), &n);
			while (r == EG_DECODE_ROOM);
			assert_int_equal(r, EG_DECODE_FAIL);
			assert_int_equal(eg_decoder_fault(d), EG_DECODE_MEMORY);
		}
		eg_decoder_destroy(d);
		free(c.p);
	}
	(void)state;
}

/* ---- names ---- */

static void test_names(void **state)
{
	static const struct {
		const char *value;
		enum eg_coding coding;
	} rows[] = {
		{"", EG_CODING_IDENTITY},	{"identity", EG_CODING_IDENTITY},
		{" GZip ", EG_CODING_GZIP},	{"x-gzip", EG_CODING_GZIP},
		{"br", EG_CODING_BR},		{"zstd", EG_CODING_ZSTD},
		{"deflate", EG_CODING_DEFLATE}, {"compress", EG_CODING_OTHER},
		{"gzip, br", EG_CODING_OTHER},	{"gzip,", EG_CODING_OTHER},
		{"gzip;q=1", EG_CODING_OTHER},	{"identity, gzip", EG_CODING_OTHER},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++)
		assert_int_equal(eg_coding_parse(eg_str_from(rows[i].value)), rows[i].coding);
	assert_int_equal(eg_coding_join(EG_CODING_IDENTITY, EG_CODING_BR), EG_CODING_BR);
	assert_int_equal(eg_coding_join(EG_CODING_BR, EG_CODING_IDENTITY), EG_CODING_BR);
	assert_int_equal(eg_coding_join(EG_CODING_BR, EG_CODING_BR), EG_CODING_OTHER);
	(void)state;
}

#define EIGHT "a,a,a,a,a,a,a,a,"

static void test_accept(void **state)
{
	static const char *const rows[][2] = {
		{"", "identity"},
		{"gzip", "gzip"},
		{"gzip, deflate, br", "gzip, br"},
		{"gzip, deflate, br, zstd", "gzip, br, zstd"},
		{"br;q=1.0, gzip;q=0.8, *;q=0.1", "br, gzip;q=0.800, zstd;q=0.100"},
		{"*", "gzip, br, zstd"},
		{"*;q=0", "identity"},
		{"gzip, *;q=0", "gzip, identity;q=0"},
		{"gzip, identity;q=0", "gzip, identity;q=0"},
		{"identity;q=0.5, br;q=0.25", "br;q=0.250, identity;q=0.500"},
		{"identity", "identity"},
		{"identity;q=0", "identity"},
		{"compress, exi", "identity"},
		{"gzip;q=0, br", "br"},
		{"x-gzip , GZIP;q=0.5", "gzip"},
		{"gzip;q=2", "identity"},
		{"gzip;q=0.0001", "identity"},
		{"gzip;level=9", "identity"},
		{"gzip ; q=0.3", "gzip;q=0.300"},
		{"gzip;q=1.001, ,, br", "br"},
		{"gzip;q=", "identity"},
		/* Sixty-four are read, and what comes then is not said. */
		{EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT "a,a,a,a,a,a,a,gzip, br", "gzip"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_buf out;

		eg_buf_init(&out, 256);
		assert_int_equal(eg_coding_write_accept(&out, eg_str_from(rows[i][0])), 0);
		if (!eg_str_eq(eg_buf_str(&out), eg_str_from(rows[i][1])))
			fail_msg("\"%s\" became \"%.*s\"", rows[i][0],
				 EG_STR_ARG(eg_buf_str(&out)));
		eg_buf_fini(&out);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_everywhere),
		cmocka_unit_test(test_several),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_trailing),
		cmocka_unit_test(test_corrupt),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_bombs),
		cmocka_unit_test(test_windows),
		cmocka_unit_test(test_not_that),
		cmocka_unit_test(test_refused_memory),
		cmocka_unit_test(test_old_frames_behind),
		cmocka_unit_test(test_memory_limit),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_accept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
