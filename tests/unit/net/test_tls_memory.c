/* SPDX-License-Identifier: Apache-2.0 */
/* Record buffers come back as they were given, with room for what is asked for, and nothing else
 * does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <pthread.h>

#include "freed.h"
#include "net/tls.h"

static bool keeps; /* not under ASan */

static void test_comes_back(void **state)
{
	void *a = OPENSSL_malloc(16704), *b;

	OPENSSL_free(a);
	b = OPENSSL_malloc(16600);
	if (keeps)
		assert_ptr_equal(a, b);
	memset(b, 1, 16600);
	OPENSSL_free(b);
	(void)state;
}

static void test_has_room(void **state)
{
	static const size_t sizes[] = {1, 16383, 16384, 16704, 17000, 18432, 18433, 40000};
	void *block[64];

	for (size_t round = 0; round < 100; round++) {
		for (size_t i = 0; i < EG_ARRAY_SIZE(block); i++) {
			size_t n = sizes[(i * 7 + round) % EG_ARRAY_SIZE(sizes)];

			block[i] = OPENSSL_malloc(n);
			assert_non_null(block[i]);
			assert_true(malloc_usable_size(block[i]) >= n);
			memset(block[i], (int)i, n);
		}
		for (size_t i = 0; i < EG_ARRAY_SIZE(block); i++) {
			assert_int_equal(*(unsigned char *)block[i], i); /* nobody else has it */
			if (i % 5 == round % 5) {
				block[i] = OPENSSL_realloc(block[i], 17000);
				assert_non_null(block[i]);
			}
			OPENSSL_free(block[i]);
		}
	}
	OPENSSL_free(NULL);
	(void)state;
}

static void *other_thread(void *arg)
{
	OPENSSL_free(arg);
	return NULL;
}

/* What another thread gives back is that thread's. */
static void test_threads(void **state)
{
	void *a = OPENSSL_malloc(16704);
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, other_thread, a), 0);
	assert_int_equal(pthread_join(t, NULL), 0);
	for (size_t i = 0; i < 16; i++) {
		void *b = OPENSSL_malloc(16704);

		if (keeps)
			assert_ptr_not_equal(a, b);
		OPENSSL_free(b);
	}
	(void)state;
}

/* Nor is what stood in one left in what malloc() has again. */
static void test_wiped(void **state)
{
	static const char key[] = "sk-proj-0123456789abcdefghijklmnopqrstuvwxyz";
	void *block[64];

	freed_watch(key);
	for (size_t i = 0; i < EG_ARRAY_SIZE(block); i++) {
		block[i] = OPENSSL_malloc(16704);
		assert_non_null(block[i]);
		memset(block[i], 0, 16704);
		memcpy((char *)block[i] + 16704 - sizeof(key), key, sizeof(key));
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(block); i++)
		OPENSSL_free(block[i]);
	assert_int_equal(freed_count, 0);
	freed_watch(NULL);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_comes_back),
		cmocka_unit_test(test_has_room),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_wiped),
	};

	keeps = eg_tls_memory_keep();
#if !defined(__SANITIZE_ADDRESS__)
	if (!keeps)
		return 1;
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
