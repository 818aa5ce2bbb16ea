/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of OpenSSL's record buffers. A connection has them only while something is on its way
 * (SSL_MODE_RELEASE_BUFFERS, or an idle one would hold 33 KiB), so that a request takes four of
 * them and gives them back; for that size malloc() is slow, and its lists are cold. A few are kept
 * by each thread, for records only. They are ordinary memory of malloc(), told by how much of it
 * there is. What is given back to malloc() is wiped: a client's key may stand in it.
 */
#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>

#include "base/secret.h"
#include "net/tls.h"

/* 16 KiB of plaintext, and what OpenSSL adds for headers, tags and alignment. */
#define SMALLEST (16u * 1024u)
#define LARGEST	 (18u * 1024u)
#define KEPT	 8u

static _Thread_local struct {
	void *block[KEPT];
	size_t count;
} kept;

static void *take(size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	if (n < SMALLEST || n > LARGEST)
		return malloc(n);
	for (size_t i = kept.count; i--;) {
		void *p = kept.block[i];

		if (malloc_usable_size(p) < n)
			continue;
		kept.block[i] = kept.block[--kept.count];
		return p;
	}
	return malloc(n);
}

static void *change(void *p, size_t n, const char *file, int line)
{
	(void)file;
	(void)line;
	return realloc(p, n);
}

static void give(void *p, const char *file, int line)
{
	size_t n = p ? malloc_usable_size(p) : 0;
	bool record = n >= SMALLEST && n <= LARGEST;

	(void)file;
	(void)line;
	if (record && kept.count < KEPT) {
		kept.block[kept.count++] = p;
		return;
	}
	if (record)
		eg_wipe(p, n);
	free(p);
}

/* Under ASan each use of what is gone is to be seen. */
#if defined(__SANITIZE_ADDRESS__)
#define MAY_KEEP false
#else
#define MAY_KEEP true
#endif

bool eg_tls_memory_keep(void)
{
	return MAY_KEEP && CRYPTO_set_mem_functions(take, change, give);
}
