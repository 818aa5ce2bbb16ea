/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ClientHellos: those of real clients (fixtures/, hex, recorded by fixtures/capture.mjs), and ones
 * built here for each rule; each is cut at every byte and cut into records of every size.
 */
#include "proto_test.h"

#include "proto/client_hello.h"

#define FIXTURES "tests/unit/proto/fixtures/"

/* ---- building ---- */

struct build {
	unsigned char p[80 * 1024];
	size_t n;
};

static void u8(struct build *b, unsigned int v)
{
	assert_true(b->n < sizeof(b->p));
	b->p[b->n++] = (unsigned char)v;
}

static void u16(struct build *b, unsigned int v)
{
	u8(b, v >> 8);
	u8(b, v & 0xff);
}

static void bytes(struct build *b, const void *p, size_t n)
{
	assert_true(b->n + n <= sizeof(b->p));
	memcpy(b->p + b->n, p, n);
	b->n += n;
}

/* Leaves room for a 16-bit length; end16() fills it in. */
static size_t begin16(struct build *b)
{
	u16(b, 0);
	return b->n;
}

static void end16(struct build *b, size_t from)
{
	b->p[from - 2] = (unsigned char)((b->n - from) >> 8);
	b->p[from - 1] = (unsigned char)(b->n - from);
}

static void extension(struct build *b, unsigned int type, const char *body, size_t n)
{
	u16(b, type);
	u16(b, (unsigned int)n);
	bytes(b, body, n);
}
#define EXT(b, type, literal) extension(b, type, literal, sizeof(literal) - 1)

static void server_name(struct build *b, const char *name, size_t n)
{
	u16(b, 0);
	u16(b, (unsigned int)n + 5);
	u16(b, (unsigned int)n + 3);
	u8(b, 0);
	u16(b, (unsigned int)n);
	bytes(b, name, n);
}

/* The message up to its extensions. */
static void hello_head(struct build *b)
{
	b->n = 0;
	u8(b, 1);
	u8(b, 0);
	u16(b, 0); /* length: hello_end() */
	u16(b, 0x0303);
	for (int i = 0; i < 32; i++)
		u8(b, (unsigned int)i);
	u8(b, 0);
	u16(b, 2);
	u16(b, 0x1301);
	u8(b, 1);
	u8(b, 0);
}

static void hello_end(struct build *b)
{
	size_t n = b->n - 4;

	b->p[1] = (unsigned char)(n >> 16);
	b->p[2] = (unsigned char)(n >> 8);
	b->p[3] = (unsigned char)n;
}

/* The message in records of `size` bytes. */
static void records(struct build *out, const struct build *message, size_t size)
{
	out->n = 0;
	for (size_t at = 0; at < message->n; at += size) {
		size_t n = EG_MIN(size, message->n - at);

		u8(out, 22);
		u16(out, 0x0301);
		u16(out, (unsigned int)n);
		bytes(out, message->p + at, n);
	}
}

/* ---- checking ---- */

/* Every prefix must say AGAIN, or FAIL as the whole does, and then go on saying it. */
static enum eg_io parse_cut(struct eg_str whole, struct eg_client_hello *out)
{
	struct eg_client_hello ignored;
	enum eg_io end = eg_client_hello_parse(whole, out);
	enum eg_io last = EG_IO_AGAIN;

	for (size_t n = 0; n <= whole.n; n++) {
		struct eg_str part = exact_copy((struct eg_str){whole.p, n});
		enum eg_io io = eg_client_hello_parse(part, &ignored);

		exact_free(part);
		if (last != EG_IO_AGAIN)
			assert_int_equal(io, last);
		last = io;
	}
	assert_int_equal(last, end);
	return end;
}

static struct eg_client_hello hello;

/* The message under construction in one record, and in records of other sizes. */
static enum eg_io parse_message(struct build *message)
{
	static struct build wire;
	static const size_t sizes[] = {1, 2, 3, 4, 5, 7, 50, 16384};
	struct eg_client_hello first;
	enum eg_io io;

	hello_end(message);
	records(&wire, message, 16384);
	io = parse_cut((struct eg_str){(char *)wire.p, wire.n}, &first);
	for (size_t i = 0; i < EG_ARRAY_SIZE(sizes); i++) {
		records(&wire, message, sizes[i]);
		memset(&hello, 0x5a, sizeof(hello));
		assert_int_equal(parse_cut((struct eg_str){(char *)wire.p, wire.n}, &hello), io);
		if (io == EG_IO_DONE)
			assert_memory_equal(&hello, &first, sizeof(hello));
	}
	return io;
}

static struct build message;

static enum eg_io with_extensions(void (*add)(struct build *b))
{
	size_t from;

	hello_head(&message);
	from = begin16(&message);
	add(&message);
	end16(&message, from);
	return parse_message(&message);
}

static enum eg_io with_name(const char *name, size_t n)
{
	size_t from;

	hello_head(&message);
	from = begin16(&message);
	server_name(&message, name, n);
	end16(&message, from);
	return parse_message(&message);
}

/* ---- real clients ---- */

static size_t read_fixture(const char *name, unsigned char *out, size_t cap)
{
	char path[200];
	size_t n = 0;
	unsigned int byte;
	FILE *f;

	snprintf(path, sizeof(path), FIXTURES "%s.hex", name);
	f = fopen(path, "r");
	assert_non_null(f);
	while (n < cap && fscanf(f, "%2x", &byte) == 1)
		out[n++] = (unsigned char)byte;
	fclose(f);
	assert_true(n > 100);
	return n;
}

static void real_clients(void **state)
{
	static const struct {
		const char *file;
		bool sni, tls13, h2, http11;
	} rows[] = {
		{"openssl-tls12", true, false, false, false},
		{"openssl-tls13", true, true, true, true},
		{"openssl-no-sni", false, true, false, false},
		{"openssl-many-groups", true, true, false, false},
		{"curl", true, true, true, true},
		{"python", true, true, false, false},
		{"java", true, true, false, false},
		{"node", true, true, false, true},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		unsigned char raw[8192];
		size_t n = read_fixture(rows[i].file, raw, sizeof(raw));
		struct eg_client_hello h;
		static struct build again;

		assert_int_equal(parse_cut((struct eg_str){(char *)raw, n}, &h), EG_IO_DONE);
		assert_string_equal(h.sni, rows[i].sni ? "api.example.com" : "");
		assert_int_equal(h.has_sni, rows[i].sni);
		assert_int_equal(h.tls13, rows[i].tls13);
		assert_int_equal(h.alpn_h2, rows[i].h2);
		assert_int_equal(h.alpn_http11, rows[i].http11);
		assert_false(h.encrypted || h.sni_invalid || h.sni_is_ip);
		assert_int_equal(h.legacy_version, 0x0303);
		/* the same message in small records, as an evasive client may send it */
		memcpy(message.p, raw + 5, n - 5);
		message.n = n - 5;
		for (size_t size = 1; size < 40; size += 3) {
			struct eg_client_hello parted;

			records(&again, &message, size);
			assert_int_equal(
				eg_client_hello_parse((struct eg_str){(char *)again.p, again.n},
						      &parted),
				EG_IO_DONE);
			assert_memory_equal(&parted, &h, sizeof(h));
		}
	}
}

/* ---- names ---- */

static void names(void **state)
{
	static const struct {
		const char *name, *sni;
		bool invalid, ip;
	} rows[] = {
		{"api.openai.com", "api.openai.com", false, false},
		{"API.OpenAI.com.", "api.openai.com", false, false},
		{"a_b.example", "a_b.example", false, false},
		{"localhost", "localhost", false, false},
		{"192.0.2.1", "192.0.2.1", true, true},
		{"0x7f.1", "0x7f.1", true, true},
		{"2001:db8::1", "2001:db8::1", true, true},
		{"[2001:DB8::1]", "[2001:db8::1]", true, true},
		{"fe80::1%25\n", "", true, true},
		{"api.openai.com:443", "", true, false},
		{"api openai.com", "", true, false},
		{"*.openai.com", "", true, false},
		{"api..com", "", true, false},
		{"\xc3\xa4.com", "", true, false},
		{".", "", true, false},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		assert_int_equal(with_name(rows[i].name, strlen(rows[i].name)), EG_IO_DONE);
		assert_true(hello.has_sni);
		assert_string_equal(hello.sni, rows[i].sni);
		assert_int_equal(hello.sni_invalid, rows[i].invalid);
		assert_int_equal(hello.sni_is_ip, rows[i].ip);
	}
	/* a NUL cuts no name short */
	assert_int_equal(with_name("api.openai.com\0.evil.example", 28), EG_IO_DONE);
	assert_true(hello.sni_invalid);
	assert_string_equal(hello.sni, "");
	/* 253 bytes are a name, 300 are none */
	char longest[300];

	memset(longest, 'a', sizeof(longest));
	for (size_t i = 50; i < 253; i += 51)
		longest[i] = '.';
	assert_int_equal(with_name(longest, 253), EG_IO_DONE);
	assert_false(hello.sni_invalid);
	assert_int_equal(strlen(hello.sni), 253);
	assert_int_equal(with_name(longest, 300), EG_IO_DONE);
	assert_true(hello.sni_invalid);
}

static void broken_name_lists(void **state)
{
	/* RFC 6066 section 3; body of the extension */
	static const struct eg_str rows[] = {
#define ROW(s) {s, sizeof(s) - 1}
		ROW(""),
		ROW("\0"),
		ROW("\0\0"),
		ROW("\0\3\0\0\0"),	     /* an empty name */
		ROW("\0\4\1\0\1a"),	     /* not a host_name */
		ROW("\0\x08\0\0\1a\0\0\1b"), /* two names */
		ROW("\0\x08\0\0\1a\1\0\1b"), /* two types */
		ROW("\0\5\0\0\1a"),	     /* list longer than the extension */
		ROW("\0\3\0\0\1a"),	     /* shorter */
		ROW("\0\4\0\0\2a"),	     /* name longer than the list */
		ROW("\0\4\0\0\1ab"),	     /* bytes after the list */
		ROW("\0\5\0\0\1ab"),	     /* bytes after the name */
#undef ROW
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		size_t from;
		enum eg_io io;

		hello_head(&message);
		from = begin16(&message);
		extension(&message, 0, rows[i].p, rows[i].n);
		end16(&message, from);
		io = parse_message(&message);
		if (io != EG_IO_FAIL)
			print_message("row %zu\n", i);
		assert_int_equal(io, EG_IO_FAIL);
	}
}

/* ---- extensions ---- */

static void add_ech(struct build *b)
{
	server_name(b, "public.example", 14);
	EXT(b, 0xfe0d, "\0\0\1\0\1\1\0\1x\0\1y");
}
static void add_esni(struct build *b)
{
	EXT(b, 0xffce, "x");
}
static void add_grease(struct build *b)
{
	EXT(b, 0x0a0a, "");
	server_name(b, "a.example", 9);
	EXT(b, 43, "\x06\xfa\xfa\x03\x04\x03\x03");
	EXT(b, 16, "\0\x0c\x02h2\x08http/1.1");
	EXT(b, 0xdada, "\0");
	EXT(b, 21, "\0\0\0\0");
}
static void add_ticket(struct build *b)
{
	EXT(b, 35, "ticket");
}
static void add_empty_ticket(struct build *b)
{
	EXT(b, 35, "");
}
static void add_psk(struct build *b)
{
	EXT(b, 43, "\2\3\4");
	EXT(b, 41, "psk");
}
static void add_psk_not_last(struct build *b)
{
	EXT(b, 41, "psk");
	EXT(b, 43, "\2\3\4");
}
static void add_other_alpn(struct build *b)
{
	EXT(b, 16, "\0\7\2h3\3foo");
}
static void add_nothing(struct build *b)
{
}
static void add_twice(struct build *b)
{
	EXT(b, 10, "a");
	EXT(b, 10, "a");
}
static void add_two_grease(struct build *b)
{
	EXT(b, 0x0a0a, "");
	EXT(b, 0x0a0a, "");
}
static void add_two_names(struct build *b)
{
	server_name(b, "a.example", 9);
	server_name(b, "b.example", 9);
}
static void add_last(struct build *b)
{
	EXT(b, 0xffff, "");
	EXT(b, 0xffff, "");
}

static void extensions(void **state)
{
	assert_int_equal(with_extensions(add_ech), EG_IO_DONE);
	assert_true(hello.encrypted);
	assert_string_equal(hello.sni, "public.example");
	assert_int_equal(with_extensions(add_esni), EG_IO_DONE);
	assert_true(hello.encrypted && !hello.has_sni);
	assert_int_equal(with_extensions(add_grease), EG_IO_DONE);
	assert_true(hello.tls13 && hello.alpn_h2 && hello.alpn_http11 && !hello.encrypted);
	assert_string_equal(hello.sni, "a.example");
	assert_false(hello.resumption);
	assert_int_equal(with_extensions(add_ticket), EG_IO_DONE);
	assert_true(hello.resumption && !hello.tls13);
	assert_int_equal(with_extensions(add_empty_ticket), EG_IO_DONE);
	assert_false(hello.resumption);
	assert_int_equal(with_extensions(add_psk), EG_IO_DONE);
	assert_true(hello.resumption && hello.tls13);
	assert_int_equal(with_extensions(add_psk_not_last), EG_IO_FAIL);
	assert_int_equal(with_extensions(add_other_alpn), EG_IO_DONE);
	assert_false(hello.alpn_h2 || hello.alpn_http11);
	assert_int_equal(with_extensions(add_nothing), EG_IO_DONE);
	assert_false(hello.has_sni);
	assert_int_equal(with_extensions(add_twice), EG_IO_FAIL);
	assert_int_equal(with_extensions(add_two_grease), EG_IO_FAIL);
	assert_int_equal(with_extensions(add_two_names), EG_IO_FAIL);
	assert_int_equal(with_extensions(add_last), EG_IO_FAIL);
}

static void broken_extensions(void **state)
{
	static const struct {
		unsigned int type;
		struct eg_str body;
	} rows[] = {
#define ROW(t, s)                        \
	{                                \
		t,                       \
		{                        \
			s, sizeof(s) - 1 \
		}                        \
	}
		ROW(16, ""),	     ROW(16, "\0\0"),	   ROW(16, "\0\1\0"),  ROW(16, "\0\4\2h2"),
		ROW(16, "\0\3\3h2"), ROW(16, "\0\3\2h2x"), ROW(43, ""),	       ROW(43, "\0"),
		ROW(43, "\3\3\4"),   ROW(43, "\3\3\4\3"),  ROW(43, "\2\3\4x"),
#undef ROW
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		size_t from;
		enum eg_io io;

		hello_head(&message);
		from = begin16(&message);
		extension(&message, rows[i].type, rows[i].body.p, rows[i].body.n);
		end16(&message, from);
		io = parse_message(&message);
		if (io != EG_IO_FAIL)
			print_message("row %zu\n", i);
		assert_int_equal(io, EG_IO_FAIL);
	}
	/* lengths that disagree: the list one byte longer and shorter than what is there */
	for (int off = -1; off < 2; off += 2) {
		size_t from;

		hello_head(&message);
		from = begin16(&message);
		EXT(&message, 10, "abc");
		end16(&message, from);
		message.p[from - 1] = (unsigned char)(message.p[from - 1] + off);
		assert_int_equal(parse_message(&message), EG_IO_FAIL);
	}
}

static void fixed_part(void **state)
{
	/* without extensions at all, as an old client sends it */
	hello_head(&message);
	assert_int_equal(parse_message(&message), EG_IO_DONE);
	assert_false(hello.has_sni || hello.tls13 || hello.resumption);
	/* a session id */
	hello_head(&message);
	memmove(message.p + 39 + 32, message.p + 39, message.n - 39);
	message.n += 32;
	message.p[38] = 32;
	assert_int_equal(parse_message(&message), EG_IO_DONE);
	assert_true(hello.resumption);
	message.p[38] = 33;
	assert_int_equal(parse_message(&message), EG_IO_FAIL);
	/* version 2, no suites, half a suite, no compression, cut short, one byte too many */
	hello_head(&message);
	message.p[4] = 2;
	assert_int_equal(parse_message(&message), EG_IO_FAIL);
	hello_head(&message);
	message.p[40] = 0;
	assert_int_equal(parse_message(&message), EG_IO_FAIL);
	hello_head(&message);
	message.p[40] = 3;
	assert_int_equal(parse_message(&message), EG_IO_FAIL);
	hello_head(&message);
	message.p[43] = 0;
	assert_int_equal(parse_message(&message), EG_IO_FAIL);
	for (size_t n = 4; n < 45; n++) {
		hello_head(&message);
		assert_int_equal(message.n, 45);
		message.n = n;
		assert_int_equal(parse_message(&message), EG_IO_FAIL);
	}
	hello_head(&message);
	u8(&message, 0);
	assert_int_equal(parse_message(&message), EG_IO_FAIL);
}

/* ---- records ---- */

static void not_a_hello(void **state)
{
	static const struct eg_str rows[] = {
#define ROW(s) {s, sizeof(s) - 1}
		ROW("GET / HTTP/1.1\r\n\r\n"),
		ROW("\x16\x02"),		     /* SSL 2 */
		ROW("\x80\x2e\x01\x03\x01"),	     /* an SSL 2 hello for TLS 1.0 */
		ROW("\x15\x03\x01\x00\x02\x02\x28"), /* an alert */
		ROW("\x17\x03\x03\x00\x05hello"),
		ROW("\x16\x03\x05\x00\x04"),		     /* a version that there is not */
		ROW("\x16\x03\x01\x00\x00"),		     /* an empty record */
		ROW("\x16\x03\x01\x40\x01"),		     /* longer than 2^14 */
		ROW("\x16\x03\x01\x00\x04\x02"),	     /* a ServerHello */
		ROW("\x16\x03\x01\x00\x05\x01\0\0\0x"),	     /* more than its message */
		ROW("\x16\x03\x01\x00\x04\x01\x01\x00\x00"), /* longer than may be */
		ROW("\x16\x03\x01\x00\x01\x01\x15\x03\x01"), /* another type in between */
#undef ROW
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		enum eg_io io = parse_cut(rows[i], &hello);

		if (io != EG_IO_FAIL)
			print_message("row %zu\n", i);
		assert_int_equal(io, EG_IO_FAIL);
		assert_false(hello.has_sni);
	}
	assert_int_equal(parse_cut(EG_STR("\x16\x03\x01"), &hello), EG_IO_AGAIN);
	assert_int_equal(eg_client_hello_parse((struct eg_str){NULL, 0}, &hello), EG_IO_AGAIN);
}

static void bytes_after_it(void **state)
{
	static struct build wire;

	hello_head(&message);
	hello_end(&message);
	records(&wire, &message, 16384);
	bytes(&wire, "\x14\x03\x03\x00\x01\x01 early data", 17);
	assert_int_equal(parse_cut((struct eg_str){(char *)wire.p, wire.n}, &hello), EG_IO_DONE);
	/* in the same record they are not right */
	u8(&message, 0);
	records(&wire, &message, 16384);
	assert_int_equal(parse_cut((struct eg_str){(char *)wire.p, wire.n}, &hello), EG_IO_FAIL);
}

static void the_largest(void **state)
{
	static struct build wire;
	static char padding[65536];
	size_t from, fits = 0;

	/* grows until it is refused; up to there it was read, however many records it took */
	for (size_t n = 65300; n < 65500; n++) {
		enum eg_io io;

		hello_head(&message);
		from = begin16(&message);
		server_name(&message, "a.example", 9);
		extension(&message, 21, padding, n);
		end16(&message, from);
		hello_end(&message);
		records(&wire, &message, 16384);
		io = eg_client_hello_parse((struct eg_str){(char *)wire.p, wire.n}, &hello);
		assert_int_equal(io, wire.n <= EG_CLIENT_HELLO_MAX ? EG_IO_DONE : EG_IO_FAIL);
		fits += io == EG_IO_DONE;
	}
	assert_in_range(fits, 1, 199);
	/* in one-byte records the headers count too */
	message.n = EG_CLIENT_HELLO_MAX / 6 + 50;
	hello_end(&message);
	records(&wire, &message, 1);
	assert_int_equal(eg_client_hello_parse((struct eg_str){(char *)wire.p, wire.n}, &hello),
			 EG_IO_FAIL);
	assert_int_equal(eg_client_hello_parse(
				 (struct eg_str){(char *)wire.p, EG_CLIENT_HELLO_MAX - 1}, &hello),
			 EG_IO_AGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(real_clients),	     cmocka_unit_test(names),
		cmocka_unit_test(broken_name_lists), cmocka_unit_test(extensions),
		cmocka_unit_test(broken_extensions), cmocka_unit_test(fixed_part),
		cmocka_unit_test(not_a_hello),	     cmocka_unit_test(bytes_after_it),
		cmocka_unit_test(the_largest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
