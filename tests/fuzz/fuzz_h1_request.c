/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 request heads. Oracles: the answer does not depend on cuts; framing is that of a second,
 * plain reading of the RFC; what was read, written again, reads the same.
 */
#include "h1_reference.h"
#include "proto/websocket.h"

static enum eg_io parse(struct eg_h1_scan *scan, const char *p, size_t n, struct eg_h1_head *head,
			enum eg_reason *reason)
{
	return eg_h1_parse_request(scan, (struct eg_str){p, n}, &eg_h1_default_limits, head,
				   reason);
}

static void write_again(const struct eg_h1_head *head)
{
	static char text[512 * 1024];
	static struct eg_h1_head again;
	struct eg_h1_scan scan = {0};
	enum eg_reason reason;
	size_t n = 0;

	FUZZ_CHECK(head->head_bytes + 4 * head->header_count + 64 < sizeof(text));
	n += (size_t)sprintf(text, "%.*s %.*s HTTP/1.%u\r\n", EG_STR_ARG(head->method),
			     EG_STR_ARG(head->target), head->minor);
	for (size_t i = 0; i < head->header_count; i++) {
		n += (size_t)sprintf(text + n, "%.*s: ", EG_STR_ARG(head->headers[i].name));
		memcpy(text + n, head->headers[i].value.p, head->headers[i].value.n);
		n += head->headers[i].value.n;
		memcpy(text + n, "\r\n", 2);
		n += 2;
	}
	memcpy(text + n, "\r\n", 2);
	n += 2;
	if (n > eg_h1_default_limits.head_bytes) /* ": " may be one byte longer than it was */
		return;
	FUZZ_CHECK(parse(&scan, text, n, &again, &reason) == EG_IO_DONE);
	FUZZ_CHECK(again.head_bytes == n);
	heads_same(head, &again);
}

static void same_handshake(const struct eg_h1_head *a, const struct eg_h1_head *b)
{
	const char *wrong = eg_websocket_wrong(a);

	FUZZ_CHECK(eg_websocket_wanted(a) == eg_websocket_wanted(b));
	FUZZ_CHECK(wrong == eg_websocket_wrong(b)); /* static texts */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct eg_h1_head whole, parted;
	struct eg_h1_scan scan = {0}, parts = {0};
	enum eg_reason reason = EG_REASON_OK, part_reason = EG_REASON_OK;
	char *bytes = fuzz_copy(data, size);
	uint64_t seed = fuzz_seed(data, size);
	struct reference ref = reference_parse(bytes, size, NULL);
	enum eg_io io = parse(&scan, bytes, size, &whole, &reason), part = EG_IO_AGAIN;

	reference_check(&ref, io, &whole);
	for (size_t n = 0; part == EG_IO_AGAIN && n < size;) {
		char *prefix;

		n += fuzz_step(&seed, size - n);
		prefix = fuzz_copy(bytes, n);
		part = parse(&parts, prefix, n, &parted, &part_reason);
		if (part == EG_IO_DONE) {
			heads_same(&whole, &parted);
			same_handshake(&whole, &parted);
		}
		free(prefix);
	}
	if (size) {
		FUZZ_CHECK(part == io);
		FUZZ_CHECK(io != EG_IO_FAIL || reason == part_reason);
	}
	if (io == EG_IO_DONE)
		write_again(&whole);
	free(bytes);
	return 0;
}
