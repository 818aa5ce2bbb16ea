/* SPDX-License-Identifier: Apache-2.0 */
/* What both sides of TLS share: settings, leaves, trust roots, errors in words. */
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "base/files.h"
#include "net/tls_impl.h"

#define CA_FILE_BYTES ((size_t)1 << 20)

int tls_error_text(char *out, size_t cap)
{
	unsigned long code = ERR_get_error();
	const char *words = code ? ERR_reason_error_string(code) : NULL;

	if (words)
		eg_str_copy(out, cap, eg_str_from(words));
	else
		eg_str_copy(out, cap, eg_str_from(code ? "an error of OpenSSL" : "no error"));
	ERR_clear_error();
	return code ? ERR_GET_REASON(code) : 0;
}

/* ---- settings ---- */

static bool has_aes(void)
{
#if defined(__x86_64__)
	return __builtin_cpu_supports("aes");
#elif defined(__aarch64__)
	return getauxval(AT_HWCAP) & HWCAP_AES;
#else
	return false;
#endif
}

int tls_ctx_setup(SSL_CTX *ctx, struct eg_error *e)
{
	/* AES-256-GCM is the slowest of the three with AES instructions, and ChaCha20 the fastest
	 * without (DESIGN section 8). */
	bool aes = has_aes();
	const char *tls13 =
		aes ? "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"
		    : "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
	const char *tls12 = aes ? "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
				  "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
				  "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
				: "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
				  "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
				  "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
	char text[120];

	if (!SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) ||
	    !SSL_CTX_set_ciphersuites(ctx, tls13) || !SSL_CTX_set_cipher_list(ctx, tls12) ||
	    !SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384")) {
		(void)tls_error_text(text, sizeof(text));
		return eg_error_set(e, -EINVAL, "TLS settings: %s", text);
	}
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
					 SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* A read ends behind each message that is none of ours, so that they can be counted. */
	SSL_CTX_clear_mode(ctx, SSL_MODE_AUTO_RETRY);
	return 0;
}

/* ---- leaves ---- */

struct eg_leaf {
	atomic_uint refs;
	X509 *cert;
	STACK_OF(X509) * chain;
	EVP_PKEY *key;
	int64_t renew_at;
	char name[256];
};

struct eg_leaf *tls_leaf_create(const char *name, X509 *cert, STACK_OF(X509) * chain, EVP_PKEY *key,
				int64_t renew_at)
{
	struct eg_leaf *l = calloc(1, sizeof(*l));

	if (!l) {
		X509_free(cert);
		sk_X509_pop_free(chain, X509_free);
		EVP_PKEY_free(key);
		return NULL;
	}
	atomic_init(&l->refs, 1);
	l->cert = cert;
	l->chain = chain;
	l->key = key;
	l->renew_at = renew_at;
	eg_str_copy(l->name, sizeof(l->name), eg_str_from(name));
	return l;
}

struct eg_leaf *eg_leaf_ref(struct eg_leaf *l)
{
	atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
	return l;
}

void eg_leaf_unref(struct eg_leaf *l)
{
	if (!l || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
		return;
	X509_free(l->cert);
	sk_X509_pop_free(l->chain, X509_free);
	EVP_PKEY_free(l->key);
	free(l);
}

const char *eg_leaf_name(const struct eg_leaf *l)
{
	return l->name;
}

int64_t eg_leaf_renew_at(const struct eg_leaf *l)
{
	return l->renew_at;
}

int tls_leaf_use(SSL *ssl, struct eg_leaf *l)
{
	return SSL_use_cert_and_key(ssl, l->cert, l->key, l->chain, 1) == 1 ? 0 : -EINVAL;
}

static STACK_OF(X509) * read_chain(BIO *b)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	X509 *x;

	while (chain && (x = PEM_read_bio_X509(b, NULL, NULL, NULL)))
		if (!sk_X509_push(chain, x)) {
			X509_free(x);
			sk_X509_pop_free(chain, X509_free);
			chain = NULL;
		}
	ERR_clear_error();
	return chain;
}

struct eg_leaf *eg_leaf_create_pem(const char *name, struct eg_str chain_pem, struct eg_str key_pem,
				   struct eg_error *e)
{
	BIO *cb = BIO_new_mem_buf(chain_pem.p, (int)chain_pem.n);
	BIO *kb = BIO_new_mem_buf(key_pem.p, (int)key_pem.n);
	STACK_OF(X509) *chain = cb ? read_chain(cb) : NULL;
	EVP_PKEY *key = kb ? PEM_read_bio_PrivateKey(kb, NULL, NULL, NULL) : NULL;
	X509 *cert = chain && sk_X509_num(chain) ? sk_X509_shift(chain) : NULL;
	struct eg_leaf *l = NULL;
	struct tm end;

	BIO_free(cb);
	BIO_free(kb);
	if (cert && key && X509_check_private_key(cert, key) == 1 &&
	    ASN1_TIME_to_tm(X509_get0_notAfter(cert), &end)) {
		l = tls_leaf_create(name, cert, chain, key, (int64_t)timegm(&end));
		if (!l)
			(void)eg_error_set(e, -ENOMEM, "leaf for %s: out of memory", name);
		return l;
	}
	(void)eg_error_set(e, -EINVAL,
			   "leaf for %s: expected a PEM certificate and the key that belongs to it",
			   name);
	X509_free(cert);
	sk_X509_pop_free(chain, X509_free);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return NULL;
}

/* ---- trust ---- */

struct eg_trust {
	atomic_uint refs;
	X509_STORE *store;
	unsigned char digest[SHA256_DIGEST_LENGTH]; /* of the text */
};

/* The number of certificates added, or -errno. */
static int add_roots(X509_STORE *store, BIO *b, struct eg_error *e)
{
	unsigned long code;
	int count = 0;
	X509 *x;

	while ((x = PEM_read_bio_X509(b, NULL, NULL, NULL))) {
		int ok = X509_STORE_add_cert(store, x);

		/* What OpenSSL keeps of its extensions is found now, not by the first of the
		 * workers that verifies with it while the others do. */
		(void)X509_check_purpose(x, -1, 0);
		X509_free(x);
		if (!ok)
			return eg_error_set(e, -ENOMEM, "trust roots: certificate %d: not added",
					    count + 1);
		count++;
	}
	code = ERR_peek_last_error();
	ERR_clear_error();
	if (ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
		return eg_error_set(e, -EINVAL,
				    "trust roots: certificate %d is damaged (%s); expected PEM",
				    count + 1, ERR_reason_error_string(code));
	if (!count)
		return eg_error_set(e, -ENODATA,
				    "trust roots: no certificate; expected a PEM bundle");
	return count;
}

struct eg_trust *eg_trust_create(struct eg_str pem, struct eg_error *e)
{
	struct eg_trust *t = calloc(1, sizeof(*t));
	BIO *b = pem.n <= INT32_MAX ? BIO_new_mem_buf(pem.p ? pem.p : "", (int)pem.n) : NULL;

	if (t)
		t->store = X509_STORE_new();
	if (!t || !b || !t->store ||
	    EVP_Digest(pem.p, pem.n, t->digest, NULL, EVP_sha256(), NULL) != 1) {
		(void)eg_error_set(e, -ENOMEM, "trust roots: out of memory");
		goto fail;
	}
	atomic_init(&t->refs, 1);
	/* A ca_file may name an intermediate: what is given is what is trusted. */
	X509_STORE_set_flags(t->store, X509_V_FLAG_PARTIAL_CHAIN);
	if (add_roots(t->store, b, e) < 0)
		goto fail;
	BIO_free(b);
	return t;
fail:
	BIO_free(b);
	if (t)
		X509_STORE_free(t->store);
	free(t);
	ERR_clear_error();
	return NULL;
}

int eg_trust_read(int dir_fd, const char *path, char **pem, size_t *n, struct eg_error *e)
{
	struct eg_trust *trust;
	int r = eg_file_read(dir_fd, path, CA_FILE_BYTES, pem, n, e);

	if (r)
		return r;
	trust = eg_trust_create((struct eg_str){*pem, *n}, e);
	eg_trust_unref(trust);
	return trust ? 0 : eg_error_prefix(e, *n ? -EINVAL : -ENODATA, "%s", path);
}

struct eg_trust *eg_trust_ref(struct eg_trust *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void eg_trust_unref(struct eg_trust *t)
{
	if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
		return;
	X509_STORE_free(t->store);
	free(t);
}

bool eg_trust_same(const struct eg_trust *a, const struct eg_trust *b)
{
	return !memcmp(a->digest, b->digest, sizeof(a->digest));
}

X509_STORE *tls_trust_store(struct eg_trust *t)
{
	return t->store;
}
