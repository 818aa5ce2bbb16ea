/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ClientHellos through the kernel's reader (bpf/lib/sni.h). Oracles: what the agent's own parser
 * (proto/client_hello.h) accepts, in one record, the kernel matches to the same rule; and what the
 * kernel matches is a host_name that a plain reading finds there, whatever the agent makes of it.
 */
#include "fuzz_bpf.h"
#include "lib/sni.h"
#include "proto/client_hello.h"

static void *fuzz_lookup(void *map, const void *key)
{
	return map == &watched_names ? fuzz_name(key) : NULL;
}

/* The rule of the first server_name, if it is a host_name (RFC 6066 section 3); lengths are
 * believed. */
static uint32_t plain_match(const uint8_t *b, size_t size)
{
	size_t at = 43, n;

	for (int vector = 0; vector < 3; vector++) { /* session id, suites, compression */
		size_t bytes = vector == 1 ? 2 : 1;

		if (at + bytes > size)
			return 0;
		at += bytes + (bytes == 2 ? (size_t)b[at] << 8 | b[at + 1] : b[at]);
	}
	for (at += 2; at + 4 <= size; at += 4 + ((size_t)b[at + 2] << 8 | b[at + 3]))
		if (!b[at] && !b[at + 1])
			break;
	if (at + 9 > size || b[at + 6])
		return 0;
	n = (size_t)b[at + 7] << 8 | b[at + 8];
	if (at + 9 + n > size)
		return 0;
	n -= n && b[at + 9 + n - 1] == '.';
	return fuzz_match((const char *)b + at + 9, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct eg_client_hello hello;
	struct eg_hello *h;
	uint32_t name_id;
	enum eg_io io;
	char *bytes;

	if (size > EG_HELLO_BYTES)
		return 0;
	bpf_map_lookup_elem = fuzz_lookup;
	h = calloc(1, sizeof(*h));
	if (!h)
		abort();
	memset(h->bytes, 0xa5, sizeof(h->bytes));
	memcpy(h->bytes, data, size);
	h->length = (uint32_t)size;
	eg_names_prepare(&h->names, FUZZ_BASE);
	name_id = (uint32_t)eg_hello_read(h);
	FUZZ_CHECK(!name_id || name_id == plain_match(data, size));
	bytes = fuzz_copy(data, size);
	memset(&hello, 0, sizeof(hello));
	io = eg_client_hello_parse((struct eg_str){bytes, size}, &hello);
	if (io == EG_IO_DONE && hello.has_sni && !hello.sni_invalid &&
	    5 + ((size_t)data[3] << 8 | data[4]) >= 9 + ((size_t)data[7] << 8 | data[8]) &&
	    !data[6])
		FUZZ_CHECK(name_id == fuzz_match(hello.sni, strlen(hello.sni)));
	free(bytes);
	free(h);
	return 0;
}
