/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of every kind for tests, made on the spot; no file, nothing that expires. */
#ifndef EGRET_TESTS_CERTS_H
#define EGRET_TESTS_CERTS_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/buf.h"

struct made {
	X509 *cert;
	EVP_PKEY *key;
};

__attribute__((unused)) static void made_extend(X509 *cert, X509 *issuer, int nid,
						const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *x;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	x = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(x);
	assert_int_equal(X509_add_ext(cert, x, -1), 1);
	X509_EXTENSION_free(x);
}

/* `san` NULL: a CA. `by` NULL: self-signed. Times in seconds from now. */
__attribute__((unused)) static struct made make_cert(const char *cn, const char *san,
						     const struct made *by, long from, long until)
{
	static long serial = 1000;
	struct made m = {X509_new(), EVP_EC_gen("P-256")};
	X509_NAME *name = X509_get_subject_name(m.cert);

	assert_non_null(m.key);
	X509_set_version(m.cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(m.cert), serial++);
	X509_gmtime_adj(X509_getm_notBefore(m.cert), from);
	X509_gmtime_adj(X509_getm_notAfter(m.cert), until);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(m.cert, by ? X509_get_subject_name(by->cert) : name);
	X509_set_pubkey(m.cert, m.key);
	if (san)
		made_extend(m.cert, by ? by->cert : m.cert, NID_subject_alt_name, san);
	else
		made_extend(m.cert, by ? by->cert : m.cert, NID_basic_constraints,
			    "critical,CA:TRUE");
	assert_true(X509_sign(m.cert, by ? by->key : m.key, EVP_sha256()) > 0);
	return m;
}

__attribute__((unused)) static void unmake(struct made *m)
{
	X509_free(m->cert);
	EVP_PKEY_free(m->key);
	*m = (struct made){NULL, NULL};
}

/* An intermediate as ours are, of any life; ends in seconds from now. */
__attribute__((unused)) static struct made make_intermediate(const struct made *by,
							     const char *permitted, long until)
{
	struct made m = {X509_new(), EVP_EC_gen("P-256")};
	X509_NAME *name = X509_get_subject_name(m.cert);

	X509_set_version(m.cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(m.cert), 77);
	X509_gmtime_adj(X509_getm_notBefore(m.cert), -7200);
	X509_gmtime_adj(X509_getm_notAfter(m.cert), until);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"i", -1, -1, 0);
	X509_set_issuer_name(m.cert, X509_get_subject_name(by->cert));
	X509_set_pubkey(m.cert, m.key);
	made_extend(m.cert, by->cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
	made_extend(m.cert, by->cert, NID_name_constraints, permitted);
	made_extend(m.cert, by->cert, NID_subject_key_identifier, "hash");
	assert_true(X509_sign(m.cert, by->key, EVP_sha256()) > 0);
	return m;
}

static inline void append_bio(struct eg_buf *out, BIO *b)
{
	char *p;
	long n = BIO_get_mem_data(b, &p);

	assert_int_equal(eg_buf_append(out, p, (size_t)n), 0);
	BIO_free(b);
}

__attribute__((unused)) static void cert_pem(struct eg_buf *out, X509 *x)
{
	BIO *b = BIO_new(BIO_s_mem());

	assert_int_equal(PEM_write_bio_X509(b, x), 1);
	append_bio(out, b);
}

__attribute__((unused)) static void key_pem(struct eg_buf *out, EVP_PKEY *k)
{
	BIO *b = BIO_new(BIO_s_mem());

	assert_int_equal(PEM_write_bio_PKCS8PrivateKey(b, k, NULL, NULL, 0, NULL, NULL), 1);
	append_bio(out, b);
}

#endif
