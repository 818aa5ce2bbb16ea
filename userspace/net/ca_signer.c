/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signer's half of the authority: one leaf for one governed name. The leaf is written as DER
 * by hand (RFC 5280 section 4.1; ITU-T X.690): all but serial, times, key and name is fixed, and
 * signing is then what it costs.
 */
#include <ctype.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

#include "net/ca.h"

#define LEAF_PAST_SECONDS   3600
#define LEAF_FUTURE_SECONDS (23 * 3600)
#define LEAF_LEAST_SECONDS  60 /* an intermediate that ends sooner signs no more */
#define LEAF_DER_MAX	    4096u
#define CHAIN_DER_MAX	    (48u << 10) /* with a leaf it fits one message: mint_wire.h */

struct eg_signer {
	X509 *cert;
	EVP_PKEY *key;
	unsigned char *chain_der; /* certificates one after the other */
	size_t chain_bytes;
	unsigned int issuers;	   /* that stand behind it in the file */
	unsigned char *issuer_der; /* its subject: the leaf's issuer */
	size_t issuer_bytes;
	unsigned char key_id[20];
	int64_t not_before, not_after;
	char **permitted; /* of the constraints; below or equal */
	size_t permitted_count;
	char **names; /* governed; exact or "*.below" */
	size_t name_count;
	unsigned char good_key[128]; /* the last SubjectPublicKeyInfo found valid */
	size_t good_key_bytes;
};

static void free_strings(char **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(list[i]);
	free(list);
}

/* ---- loading ---- */

static int time_of(const ASN1_TIME *t, int64_t *out)
{
	struct tm tm;

	if (!ASN1_TIME_to_tm(t, &tm))
		return -EINVAL;
	*out = (int64_t)timegm(&tm);
	return 0;
}

/*
 * Critical constraints with permitted DNS names are a must: they bound what a stolen key can do.
 * Those that refuse subjects as well can't be critical (ca.h), and bound it further.
 */
static int read_constraints(struct eg_signer *s, struct eg_error *e)
{
	int critical = 0, r = -EINVAL;
	NAME_CONSTRAINTS *nc = X509_get_ext_d2i(s->cert, NID_name_constraints, &critical, NULL);
	int n = nc && nc->permittedSubtrees ? sk_GENERAL_SUBTREE_num(nc->permittedSubtrees) : 0;

	s->permitted = n ? calloc((size_t)n, sizeof(*s->permitted)) : NULL;
	for (int i = 0; s->permitted && i < n; i++) {
		const GENERAL_NAME *g = sk_GENERAL_SUBTREE_value(nc->permittedSubtrees, i)->base;
		char *text;

		if (g->type != GEN_DNS)
			continue;
		text = strndup((const char *)ASN1_STRING_get0_data(g->d.dNSName),
			       (size_t)ASN1_STRING_length(g->d.dNSName));
		if (!text)
			break;
		s->permitted[s->permitted_count++] = text;
	}
	if ((critical == 1 || (critical == 0 && eg_ca_refuses_subjects(nc))) && s->permitted_count)
		r = 0;
	else
		r = eg_error_set(e, -EINVAL,
				 "intermediate certificate: no critical name constraints with "
				 "permitted DNS names; a stolen key would sign any name");
	NAME_CONSTRAINTS_free(nc);
	return r;
}

static int read_cert(struct eg_signer *s, struct eg_error *e)
{
	const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(s->cert);
	int n;

	if (!(X509_get_extension_flags(s->cert) & EXFLAG_CA))
		return eg_error_set(e, -EINVAL, "intermediate certificate: is not a CA");
	if (!EVP_PKEY_is_a(s->key, "EC") || EVP_PKEY_get_bits(s->key) != 256)
		return eg_error_set(e, -EINVAL, "intermediate key: expected ECDSA with P-256");
	if (X509_check_private_key(s->cert, s->key) != 1)
		return eg_error_set(e, -EINVAL,
				    "intermediate key: does not belong to the certificate");
	if (!id || ASN1_STRING_length(id) != sizeof(s->key_id))
		return eg_error_set(e, -EINVAL,
				    "intermediate certificate: expected a subject key identifier "
				    "of 20 bytes");
	memcpy(s->key_id, ASN1_STRING_get0_data(id), sizeof(s->key_id));
	if (time_of(X509_get0_notBefore(s->cert), &s->not_before) ||
	    time_of(X509_get0_notAfter(s->cert), &s->not_after))
		return eg_error_set(e, -EINVAL, "intermediate certificate: unreadable times");
	n = i2d_X509_NAME(X509_get_subject_name(s->cert), &s->issuer_der);
	s->issuer_bytes = n > 0 ? (size_t)n : 0;
	if (!s->issuer_bytes)
		return eg_error_set(e, -ENOMEM, "intermediate certificate: out of memory");
	if (s->issuer_bytes > 512)
		return eg_error_set(e, -EFBIG,
				    "intermediate certificate: a subject of %zu bytes; at most 512",
				    s->issuer_bytes);
	return read_constraints(s, e);
}

/* To what is sent after each leaf. */
static int add_to_chain(struct eg_signer *s, X509 *x, struct eg_error *e)
{
	int n = i2d_X509(x, NULL);
	unsigned char *bigger, *p;

	if (n <= 0 || (size_t)n > CHAIN_DER_MAX - s->chain_bytes)
		return eg_error_set(e, -EFBIG,
				    "intermediate certificate: more than %u bytes, with those of "
				    "its issuers behind it",
				    CHAIN_DER_MAX);
	bigger = OPENSSL_realloc(s->chain_der, s->chain_bytes + (size_t)n);
	if (!bigger)
		return eg_error_set(e, -ENOMEM, "intermediate certificate: out of memory");
	s->chain_der = bigger;
	p = bigger + s->chain_bytes;
	s->chain_bytes += (size_t)i2d_X509(x, &p);
	return 0;
}

/*
 * An authority between the intermediate and the root stands behind it, each one before its issuer
 * (RFC 8446 section 4.4.2): pods trust the root alone. The root itself may stand there, and is not
 * sent.
 */
static int read_issuers(struct eg_signer *s, BIO *pem, struct eg_error *e)
{
	X509 *former = s->cert, *x = NULL;
	int r = add_to_chain(s, former, e);

	for (unsigned int i = 2; !r && (x = PEM_read_bio_X509(pem, NULL, NULL, NULL)); i++) {
		if (X509_check_issued(x, former) != X509_V_OK ||
		    X509_get_extension_flags(former) & EXFLAG_SS)
			r = eg_error_set(e, -EINVAL,
					 "intermediate certificate: certificate %u: is not of the "
					 "issuer of the one before",
					 i);
		else if (!(X509_get_extension_flags(x) & EXFLAG_SS))
			r = add_to_chain(s, x, e);
		if (former != s->cert)
			X509_free(former);
		former = x;
		s->issuers = i - 1;
	}
	if (former != s->cert)
		X509_free(former);
	if (!r && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		r = eg_error_set(e, -EINVAL,
				 "intermediate certificate: certificate %u: expected PEM",
				 s->issuers + 2);
	return r;
}

struct eg_signer *eg_signer_create(struct eg_str cert_pem, struct eg_str key_pem,
				   struct eg_error *e)
{
	struct eg_signer *s = calloc(1, sizeof(*s));
	BIO *c = BIO_new_mem_buf(cert_pem.p ? cert_pem.p : "", (int)cert_pem.n);
	BIO *k = BIO_new_mem_buf(key_pem.p ? key_pem.p : "", (int)key_pem.n);
	int r = 0;

	if (!s || !c || !k) {
		r = eg_error_set(e, -ENOMEM, "signer: out of memory");
	} else if (!(s->cert = PEM_read_bio_X509(c, NULL, NULL, NULL))) {
		r = eg_error_set(e, -EINVAL, "intermediate certificate: expected PEM");
	} else if (!(s->key = eg_ca_key(k))) {
		r = eg_error_set(e, -EINVAL, "intermediate key: expected PEM without a passphrase");
	} else {
		r = read_cert(s, e);
		if (!r)
			r = read_issuers(s, c, e);
	}
	BIO_free(c);
	BIO_free(k);
	ERR_clear_error();
	if (!r)
		return s;
	eg_signer_destroy(s);
	return NULL;
}

void eg_signer_destroy(struct eg_signer *s)
{
	if (!s)
		return;
	X509_free(s->cert);
	EVP_PKEY_free(s->key); /* wiped by OpenSSL */
	OPENSSL_free(s->chain_der);
	OPENSSL_free(s->issuer_der);
	free_strings(s->permitted, s->permitted_count);
	free_strings(s->names, s->name_count);
	free(s);
}

struct eg_str eg_signer_chain(const struct eg_signer *s)
{
	return (struct eg_str){(const char *)s->chain_der, s->chain_bytes};
}

/* ---- which names ---- */

static bool below(struct eg_str name, struct eg_str parent)
{
	struct eg_str tail;

	if (name.n <= parent.n + 1 || name.p[name.n - parent.n - 1] != '.')
		return false;
	tail = (struct eg_str){name.p + name.n - parent.n, parent.n};
	return eg_str_ieq(tail, parent);
}

static bool constraints_permit(const struct eg_signer *s, struct eg_str name)
{
	for (size_t i = 0; i < s->permitted_count; i++) {
		struct eg_str p = eg_str_from(s->permitted[i]);

		if (eg_str_starts(p, EG_STR("."))) { /* not in the RFC; OpenSSL: only below */
			if (below(name, (struct eg_str){p.p + 1, p.n - 1}))
				return true;
		} else if (eg_str_ieq(name, p) || below(name, p)) {
			return true;
		}
	}
	return false;
}

static bool in_time(const struct eg_signer *s, int64_t now)
{
	return now >= s->not_before && now + LEAF_LEAST_SECONDS < s->not_after;
}

int eg_signer_usable(const struct eg_signer *s, struct eg_error *e)
{
	if (in_time(s, (int64_t)time(NULL)))
		return 0;
	return eg_error_set(e, -EKEYEXPIRED,
			    "the intermediate certificate is not valid now (expired, or the clock "
			    "is wrong)");
}

bool eg_signer_permits(const struct eg_signer *s, struct eg_str name)
{
	return eg_ca_name_valid(name, false) && constraints_permit(s, name) &&
	       in_time(s, (int64_t)time(NULL));
}

int eg_signer_set_names(struct eg_signer *s, const char *const *names, size_t count)
{
	char **list = calloc(count ? count : 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		int r = eg_ca_name_valid(eg_str_from(names[i]), true) ? -ENOMEM : -EINVAL;

		list[i] = r == -ENOMEM ? strdup(names[i]) : NULL;
		if (!list[i]) {
			free_strings(list, i);
			return r;
		}
	}
	free_strings(s->names, s->name_count);
	s->names = list;
	s->name_count = count;
	return 0;
}

static bool governed(const struct eg_signer *s, struct eg_str name)
{
	for (size_t i = 0; i < s->name_count; i++) {
		struct eg_str g = eg_str_from(s->names[i]);

		if (eg_str_starts(g, EG_STR("*."))) {
			if (below(name, (struct eg_str){g.p + 2, g.n - 2}))
				return true;
		} else if (eg_str_ieq(name, g)) {
			return true;
		}
	}
	return false;
}

/* ---- the leaf ---- */

/* Appends forwards; seal() puts tag and length before what came since `from`. */
struct der {
	unsigned char p[LEAF_DER_MAX];
	size_t n;
	bool full;
};

static void put(struct der *d, const void *bytes, size_t n)
{
	if (d->full || n > sizeof(d->p) - d->n) {
		d->full = true;
		return;
	}
	memcpy(d->p + d->n, bytes, n);
	d->n += n;
}

static void seal(struct der *d, size_t from, unsigned char tag)
{
	size_t n = d->n - from, head = n < 0x80 ? 2 : n < 0x100 ? 3 : 4;

	if (d->full || head > sizeof(d->p) - d->n) {
		d->full = true;
		return;
	}
	memmove(d->p + from + head, d->p + from, n);
	d->n += head;
	d->p[from] = tag;
	if (head > 2)
		d->p[from + 1] = (unsigned char)(0x80 | (head - 2));
	if (head == 4)
		d->p[from + 2] = (unsigned char)(n >> 8);
	d->p[from + head - 1] = (unsigned char)n;
}

#define SEQUENCE       0x30
#define INTEGER	       0x02
#define BIT_STRING     0x03
#define OCTET_STRING   0x04
#define UTC_TIME       0x17
#define GENERALIZED    0x18
#define SAN_DNS	       0x82
#define TBS_EXTENSIONS 0xa3
static const unsigned char version3[] = {0xa0, 0x03, INTEGER, 0x01, 0x02};
static const unsigned char ecdsa_sha256[] = {SEQUENCE, 0x0a, 0x06, 0x08, 0x2a, 0x86,
					     0x48,     0xce, 0x3d, 0x04, 0x03, 0x02};
static const unsigned char empty_subject[] = {SEQUENCE, 0x00};
static const unsigned char id_san_critical[] = {0x06, 0x03, 0x55, 0x1d, 0x11, 0x01, 0x01, 0xff};
/* keyUsage, critical: digitalSignature */
static const unsigned char key_usage[] = {SEQUENCE, 0x0e, 0x06, 0x03, 0x55,	  0x1d, 0x0f, 0x01,
					  0x01,	    0xff, 0x04, 0x04, BIT_STRING, 0x02, 0x07, 0x80};
/* extKeyUsage: serverAuth */
static const unsigned char server_auth[] = {SEQUENCE, 0x13, 0x06, 0x03, 0x55, 0x1d, 0x25,
					    0x04,     0x0c, 0x30, 0x0a, 0x06, 0x08, 0x2b,
					    0x06,     0x01, 0x05, 0x05, 0x07, 0x03, 0x01};
static const unsigned char id_ski[] = {SEQUENCE, 0x1d, 0x06, 0x03,	   0x55, 0x1d,
				       0x0e,	 0x04, 0x16, OCTET_STRING, 0x14};
static const unsigned char id_aki[] = {SEQUENCE, 0x1f, 0x06, 0x03, 0x55, 0x1d, 0x23,
				       0x04,	 0x18, 0x30, 0x16, 0x80, 0x14};
/* SubjectPublicKeyInfo of an uncompressed point on P-256, up to the point (RFC 5480). */
static const unsigned char p256_key[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
					 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
					 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00};
#define POINT_BYTES 65u

/* RFC 5280 section 4.1.2.5: two digits of year up to 2049. */
static void put_time(struct der *d, int64_t at)
{
	time_t t = (time_t)at;
	char text[40];
	size_t from = d->n, century;
	struct tm tm;

	gmtime_r(&t, &tm);
	century = tm.tm_year < 150 ? 2 : 0;
	strftime(text, sizeof(text), "%Y%m%d%H%M%SZ", &tm);
	put(d, text + century, strlen(text) - century);
	seal(d, from, century ? UTC_TIME : GENERALIZED);
}

static void put_san(struct der *d, struct eg_str name)
{
	size_t whole = d->n, octets, list, dns;

	put(d, id_san_critical, sizeof(id_san_critical)); /* critical: the subject is empty */
	octets = list = dns = d->n;
	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)tolower((unsigned char)name.p[i]);

		put(d, &c, 1);
	}
	seal(d, dns, SAN_DNS);
	seal(d, list, SEQUENCE);
	seal(d, octets, OCTET_STRING);
	seal(d, whole, SEQUENCE);
}

static void put_extensions(const struct eg_signer *s, struct der *d, struct eg_str name,
			   const unsigned char *point)
{
	unsigned char key_id[SHA_DIGEST_LENGTH];
	size_t from = d->n;

	put_san(d, name);
	put(d, key_usage, sizeof(key_usage));
	put(d, server_auth, sizeof(server_auth));
	if (EVP_Digest(point, POINT_BYTES, key_id, NULL, EVP_sha1(), NULL) != 1)
		d->full = true;
	put(d, id_ski, sizeof(id_ski)); /* RFC 5280 section 4.2.1.2, method 1 */
	put(d, key_id, sizeof(key_id));
	put(d, id_aki, sizeof(id_aki));
	put(d, s->key_id, sizeof(s->key_id));
	seal(d, from, SEQUENCE);
	seal(d, from, TBS_EXTENSIONS);
}

static int put_tbs(const struct eg_signer *s, struct der *d, struct eg_str name,
		   struct eg_str public_key, int64_t now)
{
	const unsigned char *point = (const unsigned char *)public_key.p + sizeof(p256_key);
	unsigned char serial[16];
	size_t from = d->n, at;

	if (RAND_bytes(serial, sizeof(serial)) != 1)
		return -EIO;
	serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40);
	put(d, version3, sizeof(version3));
	at = d->n;
	put(d, serial, sizeof(serial));
	seal(d, at, INTEGER);
	put(d, ecdsa_sha256, sizeof(ecdsa_sha256));
	put(d, s->issuer_der, s->issuer_bytes);
	at = d->n;
	put_time(d, EG_MAX(now - LEAF_PAST_SECONDS, s->not_before));
	put_time(d, EG_MIN(now + LEAF_FUTURE_SECONDS, s->not_after));
	seal(d, at, SEQUENCE);
	put(d, empty_subject, sizeof(empty_subject));
	put(d, public_key.p, public_key.n);
	put_extensions(s, d, name, point);
	seal(d, from, SEQUENCE);
	return d->full ? -ENOBUFS : 0;
}

static int put_signature(const struct eg_signer *s, struct der *d, size_t tbs_bytes)
{
	unsigned char signature[160], none = 0; /* of unused bits */
	size_t n = sizeof(signature), at;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, s->key) == 1 &&
		 EVP_DigestSign(ctx, signature, &n, d->p, tbs_bytes) == 1;

	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	if (!ok)
		return -EIO;
	put(d, ecdsa_sha256, sizeof(ecdsa_sha256));
	at = d->n;
	put(d, &none, 1);
	put(d, signature, n);
	seal(d, at, BIT_STRING);
	seal(d, 0, SEQUENCE);
	return d->full ? -ENOBUFS : 0;
}

/* The gateway's key changes once a day: what was found valid is not looked at again. */
static bool key_is_good(struct eg_signer *s, struct eg_str der)
{
	const unsigned char *p = (const unsigned char *)der.p;
	EVP_PKEY *key;

	if (der.n != sizeof(p256_key) + POINT_BYTES || memcmp(p, p256_key, sizeof(p256_key)) != 0 ||
	    p[sizeof(p256_key)] != 0x04)
		return false;
	if (s->good_key_bytes == der.n && !memcmp(s->good_key, p, der.n))
		return true;
	key = d2i_PUBKEY(NULL, &p, (long)der.n); /* also: is the point on the curve? */
	ERR_clear_error();
	if (!key)
		return false;
	EVP_PKEY_free(key);
	memcpy(s->good_key, der.p, der.n);
	s->good_key_bytes = der.n;
	return true;
}

int eg_signer_sign(struct eg_signer *s, struct eg_str name, struct eg_str public_key_der,
		   struct eg_buf *leaf_der, struct eg_error *e)
{
	struct der d = {.n = 0};
	int r;

	if (!eg_ca_name_valid(name, false))
		return eg_error_set(e, -EINVAL, "\"%.*s\" is not a DNS name",
				    (int)EG_MIN(name.n, (size_t)100), name.p);
	if (!governed(s, name))
		return eg_error_set(e, -EPERM, "%.*s: no policy governs this name",
				    EG_STR_ARG(name));
	if (!constraints_permit(s, name))
		return eg_error_set(e, -EPERM,
				    "%.*s: the intermediate's name constraints don't permit it; "
				    "issue a new intermediate",
				    EG_STR_ARG(name));
	r = eg_signer_usable(s, e);
	if (r)
		return r;
	if (!key_is_good(s, public_key_der))
		return eg_error_set(e, -EINVAL,
				    "%.*s: the public key is not an uncompressed P-256 key",
				    EG_STR_ARG(name));
	r = put_tbs(s, &d, name, public_key_der, (int64_t)time(NULL));
	if (!r)
		r = put_signature(s, &d, d.n);
	if (!r)
		r = eg_buf_append(leaf_der, d.p, d.n);
	return r ? eg_error_set(e, r, "%.*s: signing failed", EG_STR_ARG(name)) : 0;
}
