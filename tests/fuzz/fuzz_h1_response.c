/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 response heads; the first byte chooses the request's method. Oracles as for requests. */
#include "h1_reference.h"
#include "proto/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const methods[] = {"GET", "HEAD", "CONNECT", "POST"};
	/* of RFC 6455 section 1.3 */
	static const struct eg_str key = {"dGhlIHNhbXBsZSBub25jZQ==", 24};
	static struct eg_h1_head whole, parted;
	struct eg_h1_scan scan = {0}, parts = {0};
	enum eg_reason reason = EG_REASON_OK;
	enum eg_io io, part = EG_IO_AGAIN;
	struct reference ref;
	struct eg_str method;
	uint64_t seed;
	char *bytes;

	if (!size)
		return 0;
	method = eg_str_from(methods[data[0] % 4]);
	data++;
	size--;
	seed = fuzz_seed(data, size);
	bytes = fuzz_copy(data, size);
	ref = reference_parse(bytes, size, method.p);
	io = eg_h1_parse_response(&scan, (struct eg_str){bytes, size}, &eg_h1_default_limits,
				  method, &whole, &reason);
	reference_check(&ref, io, &whole);
	FUZZ_CHECK(io != EG_IO_FAIL || reason == EG_REASON_UPSTREAM_PROTOCOL);
	for (size_t n = 0; part == EG_IO_AGAIN && n < size;) {
		char *prefix;

		n += fuzz_step(&seed, size - n);
		prefix = fuzz_copy(bytes, n);
		part = eg_h1_parse_response(&parts, (struct eg_str){prefix, n},
					    &eg_h1_default_limits, method, &parted, &reason);
		if (part == EG_IO_DONE) {
			heads_same(&whole, &parted);
			FUZZ_CHECK(eg_websocket_granted(&whole, key) ==
				   eg_websocket_granted(&parted, key));
		}
		free(prefix);
	}
	if (size)
		FUZZ_CHECK(part == io);
	free(bytes);
	return 0;
}
