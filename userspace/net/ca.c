/* SPDX-License-Identifier: Apache-2.0 */
/* The authority's two tiers, as `egretctl ca` makes them. Blocking; OpenSSL does the encoding. */
#include "net/ca.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#define DAY_SECONDS   86400L
#define ROOT_DAYS_MAX 36500u

static bool label_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_';
}

/* A last label that is a number (also 0x...) makes resolvers read the name as an IPv4 address. */
static bool number(struct eg_str label)
{
	const char *digits = "0123456789";

	if (eg_str_istarts(label, EG_STR("0x"))) {
		label = (struct eg_str){label.p + 2, label.n - 2};
		digits = "0123456789abcdefABCDEF";
	}
	for (size_t i = 0; i < label.n; i++)
		if (!strchr(digits, label.p[i]))
			return false;
	return true;
}

bool eg_ca_name_valid(struct eg_str name, bool wildcard)
{
	/* "*.com" would be a whole top level, and so would "com" in a constraint. */
	size_t start = 0, dots = 0, least = wildcard ? 1 : 0;

	if (wildcard && eg_str_starts(name, EG_STR("*.")))
		name = (struct eg_str){name.p + 2, name.n - 2};
	if (!name.n || name.n > 253)
		return false;
	for (size_t i = 0; i <= name.n; i++) {
		if (i < name.n && name.p[i] != '.') {
			if (!label_char(name.p[i]))
				return false;
			continue;
		}
		if (i == start || i - start > 63 || name.p[start] == '-' || name.p[i - 1] == '-')
			return false;
		if (i < name.n) {
			start = i + 1;
			dots++;
		}
	}
	return dots >= least && !number((struct eg_str){name.p + start, name.n - start});
}

/* What OpenSSL says, after our own words; empties its queue. */
static int openssl_error(struct eg_error *e, int code, const char *doing)
{
	unsigned long last = ERR_peek_last_error();
	const char *why = last ? ERR_reason_error_string(last) : NULL;

	ERR_clear_error();
	return eg_error_set(e, code, "%s: %s", doing, why ? why : "out of memory");
}

static int append_bio(struct eg_buf *out, BIO *b)
{
	char *p = NULL;
	long n = BIO_get_mem_data(b, &p);

	return n > 0 ? eg_buf_append(out, p, (size_t)n) : -ENOMEM;
}

static int append_pem(struct eg_buf *cert_pem, struct eg_buf *key_pem, X509 *cert, EVP_PKEY *key)
{
	/* Freed mem BIOs are wiped by OpenSSL, and grow without leaving copies. */
	BIO *c = BIO_new(BIO_s_mem()), *k = BIO_new(BIO_s_mem());
	int r = -ENOMEM;

	if (c && k && PEM_write_bio_X509(c, cert) == 1 &&
	    PEM_write_bio_PKCS8PrivateKey(k, key, NULL, NULL, 0, NULL, NULL) == 1) {
		r = append_bio(cert_pem, c);
		if (!r)
			r = append_bio(key_pem, k);
	}
	BIO_free(c);
	BIO_free(k);
	return r;
}

static bool set_serial(X509 *x)
{
	unsigned char bytes[16];
	BIGNUM *n;
	bool ok;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return false;
	bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); /* positive, always 16 bytes */
	n = BN_bin2bn(bytes, sizeof(bytes), NULL);
	ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));
	BN_free(n);
	return ok;
}

static bool extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *ext;
	X509V3_CTX ctx;
	bool ok;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(x, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return ok;
}

/* A certificate with serial, names, times and key, no extensions, not signed. */
static X509 *draft(const char *common_name, X509 *issuer, EVP_PKEY *key, unsigned int days)
{
	X509 *x = X509_new();
	X509_NAME *name = x ? X509_get_subject_name(x) : NULL;

	if (x && X509_set_version(x, X509_VERSION_3) && set_serial(x) &&
	    X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)"Egret", -1,
				       -1, 0) &&
	    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
				       (const unsigned char *)common_name, -1, -1, 0) &&
	    X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : name) &&
	    X509_gmtime_adj(X509_getm_notBefore(x), -3600) &&
	    X509_gmtime_adj(X509_getm_notAfter(x), (long)days * DAY_SECONDS) &&
	    X509_set_pubkey(x, key))
		return x;
	X509_free(x);
	return NULL;
}

int eg_ca_create_root(const char *common_name, unsigned int days, struct eg_buf *cert_pem,
		      struct eg_buf *key_pem, struct eg_error *e)
{
	EVP_PKEY *key;
	X509 *x;
	int r;

	if (!days || days > ROOT_DAYS_MAX)
		return eg_error_set(e, -EINVAL, "root: %u days; expected 1 to %u", days,
				    ROOT_DAYS_MAX);
	key = EVP_EC_gen("P-256");
	x = key ? draft(common_name, NULL, key, days) : NULL;
	if (x && extend(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:1") &&
	    extend(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") &&
	    extend(x, x, NID_subject_key_identifier, "hash") && X509_sign(x, key, EVP_sha256()) > 0)
		r = append_pem(cert_pem, key_pem, x, key);
	else
		r = -ENOMEM;
	if (r)
		(void)openssl_error(e, r, "root");
	X509_free(x);
	EVP_PKEY_free(key);
	return r;
}

/* ---- keys ---- */

static int no_passphrase(char *text, int room, int writing, void *ctx)
{
	(void)text, (void)room, (void)writing, (void)ctx;
	return -1;
}

EVP_PKEY *eg_ca_key(BIO *pem)
{
	return PEM_read_bio_PrivateKey(pem, NULL, no_passphrase, NULL);
}

/* ---- the intermediate ---- */

struct root {
	X509 *cert;
	EVP_PKEY *key;
};

static int read_root(struct eg_str cert_pem, struct eg_str key_pem, struct root *out,
		     struct eg_error *e)
{
	BIO *c = BIO_new_mem_buf(cert_pem.p ? cert_pem.p : "", (int)cert_pem.n);
	BIO *k = BIO_new_mem_buf(key_pem.p ? key_pem.p : "", (int)key_pem.n);

	out->cert = c ? PEM_read_bio_X509(c, NULL, NULL, NULL) : NULL;
	out->key = k ? eg_ca_key(k) : NULL;
	BIO_free(c);
	BIO_free(k);
	if (!out->cert)
		return openssl_error(e, -EINVAL, "root certificate: expected PEM");
	if (!out->key)
		return openssl_error(e, -EINVAL, "root key: expected PEM without a passphrase");
	if (X509_check_private_key(out->cert, out->key) != 1)
		return openssl_error(e, -EINVAL, "root key: does not belong to the certificate");
	if (!(X509_get_extension_flags(out->cert) & EXFLAG_CA) || X509_get_pathlen(out->cert) == 0)
		return eg_error_set(e, -EINVAL,
				    "root certificate: not a CA that may have an intermediate "
				    "(expected CA:TRUE, pathlen 1 or none)");
	if (X509_cmp_current_time(X509_get0_notAfter(out->cert)) <= 0)
		return eg_error_set(e, -EKEYEXPIRED, "root certificate: has expired");
	return 0;
}

/* The extension's value in OpenSSL's own notation; names are checked, so none can add to it. */
static int constraints_text(const char *const *names, size_t count, struct eg_buf *out,
			    struct eg_error *e)
{
	int r = eg_buf_printf(out, "critical");

	if (!count)
		return eg_error_set(e, -EINVAL,
				    "intermediate: no name is governed, so it would sign for any");
	for (size_t i = 0; !r && i < count; i++) {
		struct eg_str name = eg_str_from(names[i]);

		if (!eg_ca_name_valid(name, true))
			return eg_error_set(e, -EINVAL,
					    "intermediate: \"%.100s\" is not a DNS name; expected "
					    "api.example.com or *.example.com",
					    names[i]);
		if (name.p[0] == '*')
			name = (struct eg_str){name.p + 2, name.n - 2};
		r = eg_buf_printf(out, ",permitted;DNS:%.*s", EG_STR_ARG(name));
	}
	if (!r)
		r = eg_buf_printf(out, ",excluded;IP:0.0.0.0/0.0.0.0"
				       ",excluded;IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0");
	if (!r)
		r = eg_buf_append(out, "", 1);
	return r ? eg_error_set(e, r, "intermediate: %zu names are too many", count) : 0;
}

/* What it signs ends with it, and it ends with the root. */
static bool end_with_root(X509 *x, X509 *root)
{
	return ASN1_TIME_compare(X509_get0_notAfter(x), X509_get0_notAfter(root)) <= 0 ||
	       X509_set1_notAfter(x, X509_get0_notAfter(root));
}

int eg_ca_create_intermediate(struct eg_str root_cert_pem, struct eg_str root_key_pem,
			      const char *const *names, size_t count, unsigned int days,
			      struct eg_buf *cert_pem, struct eg_buf *key_pem, struct eg_error *e)
{
	struct root root = {NULL, NULL};
	EVP_PKEY *key = NULL;
	struct eg_buf constraints;
	X509 *x = NULL;
	int r;

	eg_buf_init(&constraints, 64u << 10);
	if (!days || days > ROOT_DAYS_MAX)
		r = eg_error_set(e, -EINVAL, "intermediate: %u days; expected 1 to %u", days,
				 ROOT_DAYS_MAX);
	else
		r = constraints_text(names, count, &constraints, e);
	if (!r)
		r = read_root(root_cert_pem, root_key_pem, &root, e);
	if (r)
		goto out;
	key = EVP_EC_gen("P-256");
	x = key ? draft("Egret node intermediate", root.cert, key, days) : NULL;
	if (x && end_with_root(x, root.cert) &&
	    extend(x, root.cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
	    extend(x, root.cert, NID_key_usage, "critical,keyCertSign") &&
	    extend(x, root.cert, NID_ext_key_usage, "serverAuth") &&
	    extend(x, root.cert, NID_name_constraints, eg_buf_data(&constraints)) &&
	    extend(x, root.cert, NID_subject_key_identifier, "hash") &&
	    extend(x, root.cert, NID_authority_key_identifier, "keyid:always") &&
	    X509_sign(x, root.key, EVP_sha256()) > 0)
		r = append_pem(cert_pem, key_pem, x, key);
	else
		r = -ENOMEM;
	if (r)
		(void)openssl_error(e, r, "intermediate");
out:
	eg_buf_fini(&constraints);
	X509_free(root.cert);
	EVP_PKEY_free(root.key);
	X509_free(x);
	EVP_PKEY_free(key);
	return r;
}

static bool is_every_subject(const GENERAL_NAME *g)
{
	return g->type == GEN_DIRNAME && !X509_NAME_entry_count(g->d.directoryName);
}

bool eg_ca_refuses_subjects(const NAME_CONSTRAINTS *nc)
{
	for (int i = 0; nc && i < sk_GENERAL_SUBTREE_num(nc->excludedSubtrees); i++)
		if (is_every_subject(sk_GENERAL_SUBTREE_value(nc->excludedSubtrees, i)->base))
			return true;
	return false;
}

/* RFC 5280 section 4.2.1.10: a directory's subtree is what begins with it; everything begins with
 * nothing. */
static bool exclude_subjects(X509 *x)
{
	NAME_CONSTRAINTS *nc = X509_get_ext_d2i(x, NID_name_constraints, NULL, NULL);
	GENERAL_SUBTREE *tree = GENERAL_SUBTREE_new();
	X509_NAME *nothing = X509_NAME_new();
	bool ok = nc && nc->excludedSubtrees && tree && nothing;

	if (ok) {
		GENERAL_NAME_set0_value(tree->base, GEN_DIRNAME, nothing);
		nothing = NULL;
		ok = sk_GENERAL_SUBTREE_push(nc->excludedSubtrees, tree) > 0;
		if (ok)
			tree = NULL;
	}
	ok = ok && X509_add1_ext_i2d(x, NID_name_constraints, nc, 0, X509V3_ADD_REPLACE) == 1;
	X509_NAME_free(nothing);
	GENERAL_SUBTREE_free(tree);
	NAME_CONSTRAINTS_free(nc);
	return ok;
}

int eg_ca_refuse_subjects(struct eg_str root_key_pem, struct eg_buf *cert_pem, struct eg_error *e)
{
	struct eg_str made = eg_buf_str(cert_pem);
	BIO *in = BIO_new_mem_buf(made.p, (int)made.n);
	BIO *key_in = BIO_new_mem_buf(root_key_pem.p, (int)root_key_pem.n);
	X509 *x = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
	EVP_PKEY *key = key_in ? eg_ca_key(key_in) : NULL;
	BIO *out = BIO_new(BIO_s_mem());
	char *text;
	long n;
	int r = -ENOMEM;

	if (x && key && out && exclude_subjects(x) && X509_sign(x, key, EVP_sha256()) > 0 &&
	    PEM_write_bio_X509(out, x) == 1 && (n = BIO_get_mem_data(out, &text)) > 0) {
		eg_buf_clear(cert_pem);
		r = eg_buf_append(cert_pem, text, (size_t)n);
	}
	if (r)
		(void)openssl_error(e, r, "intermediate");
	BIO_free(in);
	BIO_free(key_in);
	BIO_free(out);
	X509_free(x);
	EVP_PKEY_free(key);
	return r;
}
