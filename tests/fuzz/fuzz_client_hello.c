/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ClientHellos. Oracles: no prefix of a hello is refused or complete, and a refusal stays; the same
 * message in records of another size reads the same; a name that is given is clean; a whole message
 * is taken, and read, as by a second parser.
 */
#include "client_hello_reference.h"
#include "fuzz.h"
#include "proto/client_hello.h"
#include "proto/uri.h"

static void prefixes(const char *bytes, size_t size, enum eg_io end)
{
	uint64_t seed = fuzz_seed((const uint8_t *)bytes, size);
	enum eg_io last = EG_IO_AGAIN;

	for (size_t n = 0;; n += fuzz_step(&seed, size - n)) {
		struct eg_client_hello hello;
		char *part = fuzz_copy(bytes, n);
		enum eg_io io = eg_client_hello_parse((struct eg_str){part, n}, &hello);

		free(part);
		FUZZ_CHECK(last == EG_IO_AGAIN || io == last);
		last = io;
		if (n == size)
			break;
	}
	FUZZ_CHECK(last == end);
}

/* A message that was read, put into records of `step` bytes. */
static void other_records(const unsigned char *message, size_t n,
			  const struct eg_client_hello *hello, size_t step)
{
	static char wire[EG_CLIENT_HELLO_MAX * 7];
	struct eg_client_hello again;
	size_t m = 0;
	enum eg_io io;

	for (size_t at = 0; at < n; at += step) {
		size_t body = EG_MIN(step, n - at);

		memcpy(wire + m, "\x16\x03\x01", 3);
		wire[m + 3] = (char)(body >> 8);
		wire[m + 4] = (char)body;
		memcpy(wire + m + 5, message + at, body);
		m += 5 + body;
	}
	io = eg_client_hello_parse((struct eg_str){wire, m}, &again);
	if (m > EG_CLIENT_HELLO_MAX) {
		FUZZ_CHECK(io == EG_IO_FAIL);
		return;
	}
	FUZZ_CHECK(io == EG_IO_DONE);
	FUZZ_CHECK(!memcmp(&again, hello, sizeof(again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned char message[EG_CLIENT_HELLO_MAX];
	struct eg_client_hello hello, reference;
	size_t n = ref_hello_gather(data, size, message);
	char *bytes = fuzz_copy(data, size);
	enum eg_io io;

	memset(&hello, 0, sizeof(hello));
	io = eg_client_hello_parse((struct eg_str){bytes, size}, &hello);
	FUZZ_CHECK(io != EG_IO_EOF);
	if (size < 4096)
		prefixes(bytes, size, io);
	if (n) {
		bool good = ref_hello_read(message, n, &reference);

		FUZZ_CHECK((io == EG_IO_DONE) == good);
		FUZZ_CHECK(!good || !memcmp(&hello, &reference, sizeof(hello)));
	} else {
		FUZZ_CHECK(io != EG_IO_DONE);
	}
	if (io == EG_IO_DONE) {
		struct eg_str sni = eg_str_from(hello.sni);

		for (const char *c = hello.sni; *c; c++)
			FUZZ_CHECK(*c > ' ' && *c < 0x7f && !(*c >= 'A' && *c <= 'Z'));
		FUZZ_CHECK(hello.has_sni || !sni.n);
		FUZZ_CHECK(!sni.n || hello.sni_is_ip == eg_host_is_ip(sni));
		FUZZ_CHECK(!hello.has_sni || hello.sni_invalid == !eg_host_valid(sni));
		other_records(message, n, &hello, 1 + data[size - 1] % 100);
		other_records(message, n, &hello, 16384);
	} else {
		FUZZ_CHECK(!hello.has_sni && !hello.sni[0]);
	}
	free(bytes);
	return 0;
}
