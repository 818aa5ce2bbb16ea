/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that runs out: the i-th allocation inside OpenSSL fails, for i = 1, 2, ... until the work
 * succeeds untouched. Each time it must end in an error or in success; never in a crash, a leak, or
 * a certificate accepted that is not good.
 */
#include "net_lib.h"

#include "certs.h"

#include <openssl/err.h>
#include <stdio.h>

#include "net/ca.h"

#ifndef STRIDE
#define STRIDE 23
#endif

static long countdown; /* 0: never fails */
static bool fired;

static bool fails(void)
{
	if (!countdown || --countdown)
		return false;
	fired = true;
	return true;
}

static void *count_malloc(size_t n, const char *file, int line)
{
	return fails() ? NULL : malloc(n);
}

static void *count_realloc(void *p, size_t n, const char *file, int line)
{
	return fails() ? NULL : realloc(p, n);
}

static void count_free(void *p, const char *file, int line)
{
	free(p);
}

static void arm(long i)
{
	countdown = i;
	fired = false;
}

/* Runs work(i) until an i that is never reached; how many times that was. */
static long until_untouched(bool (*work)(void))
{
	/* Each of the first, where settings and parsing are; then one in 23 (-DSTRIDE=1: each). */
	for (long i = 1; i < 40000; i += i < 300 ? 1 : STRIDE) {
		bool ok;

		arm(i);
		ok = work();
		countdown = 0;
		ERR_clear_error();
		if (!fired) {
			assert_true(ok);
			return i;
		}
	}
	fail_msg("still failing after 40000 allocations");
	return 0;
}

static struct eg_buf root_cert, root_key, cert, key, spki, pem;
static const char *const names[] = {"api.openai.com"};

static bool make_authority(void)
{
	struct eg_buf a, b, c, d;
	struct eg_error e = {""};
	bool ok;

	eg_buf_init(&a, 65536);
	eg_buf_init_secret(&b, 65536);
	eg_buf_init(&c, 65536);
	eg_buf_init_secret(&d, 65536);
	ok = !eg_ca_create_root("x", 5, &a, &b, &e) &&
	     !eg_ca_create_intermediate(eg_buf_str(&a), eg_buf_str(&b), names, 1, 5, &c, &d, &e);
	assert_true(ok || e.text[0]);
	eg_buf_fini(&a);
	eg_buf_fini(&b);
	eg_buf_fini(&c);
	eg_buf_fini(&d);
	return ok;
}

static bool sign_one(void)
{
	struct eg_error e = {""};
	struct eg_signer *s = eg_signer_create(eg_buf_str(&cert), eg_buf_str(&key), &e);
	struct eg_buf der;
	bool ok = s && !eg_signer_set_names(s, names, 1);

	eg_buf_init(&der, 65536);
	ok = ok && !eg_signer_sign(s, EG_STR("api.openai.com"), eg_buf_str(&spki), &der, &e);
	assert_true(ok || e.text[0]);
	assert_int_equal(der.length > 0, ok);
	eg_buf_fini(&der);
	eg_signer_destroy(s);
	return ok;
}

static bool make_settings(void)
{
	struct eg_error e = {""};
	struct eg_trust *t = eg_trust_create(eg_buf_str(&root_cert), &e);
	struct eg_tls_client *c = t ? eg_tls_client_create(t, &e) : NULL;
	struct eg_tls_server *s = c ? eg_tls_server_create(&e) : NULL;
	struct eg_leaf *l =
		s ? eg_leaf_create_pem("x", eg_buf_str(&pem), eg_buf_str(&key), &e) : NULL;
	bool ok = l != NULL;

	assert_true(ok || e.text[0]);
	eg_leaf_unref(l);
	eg_tls_server_destroy(s);
	eg_tls_client_destroy(c);
	eg_trust_unref(t);
	return ok;
}

/* A whole conversation; the certificate is good or not by `host`. */
static struct eg_tls_server *server;
static struct eg_tls_client *client;
static struct eg_leaf *leaf, *good, *expired, *stranger;

static bool converse(const char *host)
{
	char hello[] = "hello";
	struct iovec v = {hello, 5};
	bool ok = false;
	struct pair p;
	size_t n;

	pair_open(&p);
	side_watch(&p.a, p.loop, p.fd[0]);
	side_watch(&p.b, p.loop, p.fd[1]);
	if (eg_stream_tls_connect(p.b.stream, client, host, 443) ||
	    eg_stream_tls_accept(p.a.stream, server, leaf, host))
		goto out;
	turn_until(&p, (p.a.events && p.b.events) || (p.a.events | p.b.events) & EG_STREAM_FAILED);
	ok = (p.a.events | p.b.events) == EG_STREAM_CONNECTED;
	if (ok) {
		struct eg_buf got;
		enum eg_io r = EG_IO_AGAIN;

		eg_buf_init(&got, 64);
		ok = eg_stream_write(p.a.stream, &v, 1, &n) == EG_IO_DONE;
		eg_stream_shutdown(p.a.stream);
		eg_stream_want(p.b.stream, true, false);
		for (int i = 0; ok && i < 50 && r != EG_IO_EOF && r != EG_IO_FAIL; i++) {
			assert_int_equal(eg_loop_turn(p.loop, 5), 0);
			r = eg_stream_read(p.b.stream, &got, 64);
		}
		ok = ok && r == EG_IO_EOF && got.length == 5;
		eg_buf_fini(&got);
	}
out:
	pair_close(&p);
	return ok;
}

static bool converse_well(void)
{
	return converse("api.openai.com");
}

/* The certificate is not good: no failure on the way may turn into trust. */
static bool never_trusts_another_name(void)
{
	assert_false(converse("api.anthropic.com"));
	return true;
}

static bool never_trusts(void)
{
	assert_false(converse("api.openai.com"));
	return true;
}

static void authority(void **state)
{
	assert_true(until_untouched(make_authority) > 10);
}

static void signing(void **state)
{
	assert_true(until_untouched(sign_one) > 10);
}

static void settings(void **state)
{
	assert_true(until_untouched(make_settings) > 10);
}

static void conversation(void **state)
{
	assert_true(until_untouched(converse_well) > 10);
}

static void wrong_name_is_never_trusted(void **state)
{
	assert_true(until_untouched(never_trusts_another_name) > 10);
}

static void expired_is_never_trusted(void **state)
{
	leaf = expired;
	assert_true(until_untouched(never_trusts) > 10);
	leaf = good;
}

static void stranger_is_never_trusted(void **state)
{
	leaf = stranger;
	assert_true(until_untouched(never_trusts) > 10);
	leaf = good;
}

static struct eg_leaf *leaf_by(const struct made *ca, long until)
{
	struct made m = make_cert("leaf", "DNS:api.openai.com", ca, -7200, until);
	struct eg_leaf *l;
	struct eg_buf c, k;

	eg_buf_init(&c, 65536);
	eg_buf_init_secret(&k, 65536);
	cert_pem(&c, m.cert);
	key_pem(&k, m.key);
	l = eg_leaf_create_pem("api.openai.com", eg_buf_str(&c), eg_buf_str(&k), NULL);
	eg_buf_fini(&c);
	eg_buf_fini(&k);
	unmake(&m);
	return l;
}

static int make_all(void **state)
{
	EVP_PKEY *k = EVP_EC_gen("P-256");
	unsigned char *der = NULL;
	struct made ca, other;
	struct eg_trust *t;
	struct eg_buf r;
	int n = i2d_PUBKEY(k, &der);

	eg_buf_init(&root_cert, 65536);
	eg_buf_init_secret(&root_key, 65536);
	eg_buf_init(&cert, 65536);
	eg_buf_init_secret(&key, 65536);
	eg_buf_init(&spki, 4096);
	eg_buf_init(&pem, 65536);
	if (eg_ca_create_root("root", 5, &root_cert, &root_key, NULL) ||
	    eg_ca_create_intermediate(eg_buf_str(&root_cert), eg_buf_str(&root_key), names, 1, 5,
				      &cert, &key, NULL) ||
	    eg_buf_append(&spki, der, (size_t)n) || eg_buf_append_str(&pem, eg_buf_str(&cert)))
		return -1;
	OPENSSL_free(der);
	EVP_PKEY_free(k);
	ca = make_cert("CA", NULL, NULL, -60, 3600);
	other = make_cert("Other", NULL, NULL, -60, 3600);
	leaf = good = leaf_by(&ca, 3600);
	expired = leaf_by(&ca, -3600);
	stranger = leaf_by(&other, 3600);
	eg_buf_init(&r, 65536);
	cert_pem(&r, ca.cert);
	t = eg_trust_create(eg_buf_str(&r), NULL);
	eg_buf_fini(&r);
	server = eg_tls_server_create(NULL);
	client = eg_tls_client_create(t, NULL);
	eg_trust_unref(t);
	unmake(&ca);
	unmake(&other);
	/* What OpenSSL loads once is loaded. */
	return leaf && server && client && converse_well() && make_settings() && sign_one() ? 0
											    : -1;
}

static int free_all(void **state)
{
	eg_leaf_unref(good);
	eg_leaf_unref(expired);
	eg_leaf_unref(stranger);
	eg_tls_server_destroy(server);
	eg_tls_client_destroy(client);
	eg_buf_fini(&root_cert);
	eg_buf_fini(&root_key);
	eg_buf_fini(&cert);
	eg_buf_fini(&key);
	eg_buf_fini(&spki);
	eg_buf_fini(&pem);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(authority),
		cmocka_unit_test(signing),
		cmocka_unit_test(settings),
		cmocka_unit_test(conversation),
		cmocka_unit_test(wrong_name_is_never_trusted),
		cmocka_unit_test(expired_is_never_trusted),
		cmocka_unit_test(stranger_is_never_trusted),
	};

	if (!CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free)) {
		fprintf(stderr, "OpenSSL allocated before main()\n");
		return 1;
	}
	return cmocka_run_group_tests(tests, make_all, free_all);
}
