/* SPDX-License-Identifier: Apache-2.0 */
/* The authority: what each tier contains, what the signer signs, and what it refuses. */
#include "net_lib.h"

#include "certs.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <time.h>

#include "net/ca.h"

static const char *const names[] = {"api.openai.com", "*.openai.azure.com"};
static struct eg_buf root_cert, root_key, cert, key;

static X509 *parse(const struct eg_buf *pem)
{
	BIO *b = BIO_new_mem_buf(eg_buf_data(pem), (int)pem->length);
	X509 *x = PEM_read_bio_X509(b, NULL, NULL, NULL);

	BIO_free(b);
	assert_non_null(x);
	return x;
}

static EVP_PKEY *p256(struct eg_buf *der)
{
	EVP_PKEY *k = EVP_EC_gen("P-256");
	unsigned char *p = NULL;
	int n = i2d_PUBKEY(k, &p);

	eg_buf_init(der, 4096);
	assert_int_equal(eg_buf_append(der, p, (size_t)n), 0);
	OPENSSL_free(p);
	return k;
}

static struct eg_signer *signer_for(const char *const *list, size_t n)
{
	struct eg_error e = {""};
	struct eg_signer *s = eg_signer_create(eg_buf_str(&cert), eg_buf_str(&key), &e);

	assert_string_equal(e.text, "");
	assert_int_equal(eg_signer_set_names(s, list, n), 0);
	return s;
}

/* OpenSSL's verdict on leaf <- intermediate <- root; with a name also strictly RFC 5280, and for
 * it. */
static int verdict(X509 *leaf, const char *name)
{
	X509 *root = parse(&root_cert), *middle = parse(&cert);
	STACK_OF(X509) *chain = sk_X509_new_null();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	X509_STORE *store = X509_STORE_new();
	X509_VERIFY_PARAM *param;
	int r;

	X509_STORE_add_cert(store, root);
	sk_X509_push(chain, middle);
	X509_STORE_CTX_init(ctx, store, leaf, chain);
	X509_STORE_CTX_set_default(ctx, "ssl_server");
	param = X509_STORE_CTX_get0_param(ctx);
	if (name) {
		X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
		X509_VERIFY_PARAM_set1_host(param, name, 0);
	}
	r = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	sk_X509_free(chain);
	X509_free(middle);
	X509_free(root);
	return r;
}

static void leaf_is_what_it_must_be(void **state)
{
	struct eg_signer *s = signer_for(names, 2);
	const unsigned char *p;
	struct eg_error e = {""};
	struct eg_buf spki, der;
	EVP_PKEY *k = p256(&spki);
	int critical = -1, days, seconds;
	GENERAL_NAMES *san;
	X509 *x;

	eg_buf_init(&der, 65536);
	assert_int_equal(eg_signer_sign(s, EG_STR("API.OpenAI.com"), eg_buf_str(&spki), &der, &e),
			 0);
	p = (const unsigned char *)eg_buf_data(&der);
	x = d2i_X509(NULL, &p, (long)der.length);
	assert_non_null(x);
	assert_ptr_equal(p, eg_buf_data(&der) + der.length);
	assert_int_equal(X509_check_private_key(x, k), 1);
	assert_int_equal(X509_get_version(x), X509_VERSION_3);
	assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(x)), 0);
	san = X509_get_ext_d2i(x, NID_subject_alt_name, &critical, NULL);
	assert_non_null(san);
	assert_int_equal(critical, 1);
	assert_int_equal(sk_GENERAL_NAME_num(san), 1);
	assert_int_equal(X509_check_host(x, "api.openai.com", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(x, "x.api.openai.com", 0, 0, NULL), 0);
	GENERAL_NAMES_free(san);
	assert_int_equal(X509_get_extended_key_usage(x), XKU_SSL_SERVER);
	assert_int_equal(X509_get_key_usage(x), KU_DIGITAL_SIGNATURE);
	assert_non_null(X509_get0_subject_key_id(x));
	assert_non_null(X509_get0_authority_key_id(x));
	assert_int_equal(ASN1_INTEGER_get(X509_get_serialNumber(x)) == 0, 0);
	assert_int_equal(ASN1_STRING_length(X509_get_serialNumber(x)), 16);
	assert_int_equal(
		ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(x), X509_get0_notAfter(x)), 1);
	assert_true(days * 86400 + seconds <= 86400);
	assert_true(days * 86400 + seconds > 23 * 3600);
	assert_true(X509_cmp_current_time(X509_get0_notBefore(x)) < 0);
	assert_int_equal(verdict(x, "api.openai.com"), X509_V_OK);
	assert_int_equal(verdict(x, "api.anthropic.com"), X509_V_ERR_HOSTNAME_MISMATCH);
	X509_free(x);
	/* Another of the same name has another serial, and is below the wildcard all the same. */
	eg_buf_clear(&der);
	assert_int_equal(
		eg_signer_sign(s, EG_STR("acme-se.openai.azure.com"), eg_buf_str(&spki), &der, &e),
		0);
	p = (const unsigned char *)eg_buf_data(&der);
	x = d2i_X509(NULL, &p, (long)der.length);
	assert_int_equal(verdict(x, "acme-se.openai.azure.com"), X509_V_OK);
	X509_free(x);
	EVP_PKEY_free(k);
	eg_buf_fini(&der);
	eg_buf_fini(&spki);
	eg_signer_destroy(s);
}

static void what_the_signer_refuses(void **state)
{
	static const char *const wide[] = {"api.openai.com", "*.openai.azure.com",
					   "api.anthropic.com"};
	static const struct {
		const char *name;
		int r;
		const char *why;
	} rows[] = {
		{"api.openai.com", 0, ""},
		{"x.openai.azure.com", 0, ""},
		{"api.anthropic.com", -EPERM, "name constraints"}, /* governed, not permitted */
		{"x.api.openai.com", -EPERM, "no policy governs"}, /* permitted, not governed */
		{"openai.azure.com", -EPERM, "no policy governs"},
		{"evilopenai.azure.com", -EPERM, "no policy governs"},
		{"kubernetes.default.svc", -EPERM, "no policy governs"},
		{"api.openai.com.evil.example", -EPERM, "no policy governs"},
		{"10.0.0.1", -EINVAL, "not a DNS name"},
		{"::1", -EINVAL, "not a DNS name"},
		{"*.openai.azure.com", -EINVAL, "not a DNS name"},
		{"", -EINVAL, "not a DNS name"},
		{"localhost", -EPERM, "no policy governs"},
		{"openai.0x7f", -EINVAL, "not a DNS name"},
		{"2130706433", -EINVAL, "not a DNS name"},
		{"api..openai.com", -EINVAL, "not a DNS name"},
		{"api.openai.com.", -EINVAL, "not a DNS name"},
		{".api.openai.com", -EINVAL, "not a DNS name"},
		{"-a.openai.azure.com", -EINVAL, "not a DNS name"},
		{"a-.openai.azure.com", -EINVAL, "not a DNS name"},
		{"a b.openai.azure.com", -EINVAL, "not a DNS name"},
		{"a,DNS:evil.example", -EINVAL, "not a DNS name"},
	};
	struct eg_signer *s = signer_for(wide, 3);
	struct eg_buf spki, der;
	EVP_PKEY *k = p256(&spki);

	eg_buf_init(&der, 65536);
	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_error e = {""};
		int r = eg_signer_sign(s, eg_str_from(rows[i].name), eg_buf_str(&spki), &der, &e);

		if (r != rows[i].r || !strstr(e.text, rows[i].why))
			fail_msg("%s: %d (%s); expected %d (%s)", rows[i].name, r, e.text,
				 rows[i].r, rows[i].why);
		assert_int_equal(der.length > 0, r == 0);
		eg_buf_clear(&der);
	}
	assert_true(eg_signer_permits(s, EG_STR("api.openai.com")));
	assert_false(eg_signer_permits(s, EG_STR("api.anthropic.com")));
	assert_false(eg_signer_permits(s, EG_STR("10.1.2.3")));
	/* An embedded NUL is part of the name, and no letter. */
	assert_int_equal(eg_signer_sign(s, (struct eg_str){"api.openai.com\0.x", 17},
					eg_buf_str(&spki), &der, NULL),
			 -EINVAL);
	EVP_PKEY_free(k);
	eg_buf_fini(&der);
	eg_buf_fini(&spki);
	eg_signer_destroy(s);
}

static void only_p256_keys_are_signed(void **state)
{
	struct eg_signer *s = signer_for(names, 2);
	struct eg_error e = {""};
	struct eg_buf spki, der;
	EVP_PKEY *k = p256(&spki), *other;
	unsigned char *p = NULL;
	int n;

	eg_buf_init(&der, 65536);
	eg_buf_data(&spki)[60] ^= 1; /* off the curve */
	assert_int_equal(eg_signer_sign(s, EG_STR("api.openai.com"), eg_buf_str(&spki), &der, &e),
			 -EINVAL);
	assert_non_null(strstr(e.text, "P-256"));
	other = EVP_EC_gen("P-384");
	n = i2d_PUBKEY(other, &p);
	assert_int_equal(eg_signer_sign(s, EG_STR("api.openai.com"),
					(struct eg_str){(char *)p, (size_t)n}, &der, &e),
			 -EINVAL);
	assert_int_equal(eg_signer_sign(s, EG_STR("api.openai.com"), EG_STR(""), &der, &e),
			 -EINVAL);
	assert_int_equal(der.length, 0);
	OPENSSL_free(p);
	EVP_PKEY_free(other);
	EVP_PKEY_free(k);
	eg_buf_fini(&der);
	eg_buf_fini(&spki);
	eg_signer_destroy(s);
}

static void names_come_first(void **state)
{
	struct eg_signer *s = eg_signer_create(eg_buf_str(&cert), eg_buf_str(&key), NULL);
	static const char *const bad[] = {"api.openai.com", "not a name"};
	struct eg_buf spki, der;
	EVP_PKEY *k = p256(&spki);

	eg_buf_init(&der, 65536);
	assert_int_equal(eg_signer_sign(s, EG_STR("api.openai.com"), eg_buf_str(&spki), &der, NULL),
			 -EPERM);
	assert_int_equal(eg_signer_set_names(s, bad, 2), -EINVAL);
	assert_int_equal(eg_signer_sign(s, EG_STR("api.openai.com"), eg_buf_str(&spki), &der, NULL),
			 -EPERM);
	EVP_PKEY_free(k);
	eg_buf_fini(&der);
	eg_buf_fini(&spki);
	eg_signer_destroy(s);
}

static void a_stolen_key_signs_nothing_else(void **state)
{
	static const char *const rogue[] = {"DNS:api.anthropic.com", "DNS:evil.example",
					    "IP:10.0.0.1", "IP:2001:db8::1",
					    "DNS:api.openai.com,IP:10.0.0.1"};
	X509 *middle = parse(&cert);
	BIO *b = BIO_new_mem_buf(eg_buf_data(&key), (int)key.length);
	struct made by = {middle, PEM_read_bio_PrivateKey(b, NULL, NULL, NULL)};
	struct made m;

	BIO_free(b);
	m = make_cert("x", "DNS:api.openai.com", &by, -60, 600);
	assert_int_equal(verdict(m.cert, NULL),
			 X509_V_OK); /* so that the refusals mean something */
	unmake(&m);
	for (size_t i = 0; i < EG_ARRAY_SIZE(rogue); i++) {
		int r;

		m = make_cert("x", rogue[i], &by, -60, 600);
		r = verdict(m.cert, NULL);
		if (r != X509_V_ERR_PERMITTED_VIOLATION && r != X509_V_ERR_EXCLUDED_VIOLATION)
			fail_msg("%s: verdict %d (%s)", rogue[i], r,
				 X509_verify_cert_error_string(r));
		unmake(&m);
	}
	unmake(&by);
}

static void tiers(void **state)
{
	X509 *root = parse(&root_cert), *middle = parse(&cert);
	int critical = -1;
	NAME_CONSTRAINTS *nc = X509_get_ext_d2i(middle, NID_name_constraints, &critical, NULL);

	assert_int_equal(X509_get_pathlen(root), 1);
	assert_int_equal(X509_get_pathlen(middle), 0);
	assert_int_equal(critical, 1);
	assert_int_equal(sk_GENERAL_SUBTREE_num(nc->permittedSubtrees), 2);
	assert_int_equal(sk_GENERAL_SUBTREE_num(nc->excludedSubtrees), 2);
	assert_int_equal(X509_get_key_usage(root), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	assert_int_equal(X509_get_key_usage(middle), KU_KEY_CERT_SIGN);
	assert_int_equal(verdict(middle, NULL) == X509_V_OK ||
				 verdict(middle, NULL) == X509_V_ERR_INVALID_PURPOSE,
			 1);
	NAME_CONSTRAINTS_free(nc);
	X509_free(root);
	X509_free(middle);
}

/* Signed anew with every subject refused: not critical, and the signer takes it all the same. */
static void no_subjects(void **state)
{
	struct eg_buf c;
	struct eg_error e = {""};
	struct eg_signer *s;
	NAME_CONSTRAINTS *nc;
	int critical = -1;
	X509 *x, *root = parse(&root_cert);

	eg_buf_init(&c, 65536);
	assert_int_equal(eg_buf_append(&c, eg_buf_str(&cert).p, eg_buf_str(&cert).n), 0);
	x = parse(&c);
	nc = X509_get_ext_d2i(x, NID_name_constraints, NULL, NULL);
	assert_false(eg_ca_refuses_subjects(nc));
	assert_false(eg_ca_refuses_subjects(NULL));
	NAME_CONSTRAINTS_free(nc);
	X509_free(x);
	assert_int_equal(eg_ca_refuse_subjects(eg_buf_str(&root_key), &c, &e), 0);
	x = parse(&c);
	nc = X509_get_ext_d2i(x, NID_name_constraints, &critical, NULL);
	assert_int_equal(critical, 0);
	assert_true(eg_ca_refuses_subjects(nc));
	assert_int_equal(sk_GENERAL_SUBTREE_num(nc->permittedSubtrees), 2);
	assert_int_equal(sk_GENERAL_SUBTREE_num(nc->excludedSubtrees), 3);
	assert_int_equal(X509_verify(x, X509_get0_pubkey(root)), 1);
	s = eg_signer_create(eg_buf_str(&c), eg_buf_str(&key), &e);
	assert_non_null(s);
	eg_signer_destroy(s);
	NAME_CONSTRAINTS_free(nc);
	X509_free(x);
	X509_free(root);
	/* What is no certificate stays as it was. */
	eg_buf_clear(&c);
	assert_int_equal(eg_buf_append(&c, "junk", 4), 0);
	assert_int_not_equal(eg_ca_refuse_subjects(eg_buf_str(&root_key), &c, &e), 0);
	assert_int_equal(eg_buf_str(&c).n, 4);
	eg_buf_fini(&c);
}

static void bad_orders_for_tiers(void **state)
{
	static const char *const bad[] = {"api.openai.com", "a,permitted;DNS:com"};
	static const char *const ip[] = {"10.0.0.1"};
	/* A constraint holds all that lies below its name. */
	static const char *const top[] = {"*.com", "com", "localhost", "-.com"};
	struct eg_buf c, k, other_cert, other_key;
	struct eg_error e = {""};

	eg_buf_init(&c, 65536);
	eg_buf_init_secret(&k, 65536);
	eg_buf_init(&other_cert, 65536);
	eg_buf_init_secret(&other_key, 65536);
	assert_int_equal(eg_ca_create_root("x", 0, &c, &k, &e), -EINVAL);
	assert_non_null(strstr(e.text, "0 days"));
	assert_int_equal(eg_ca_create_intermediate(eg_buf_str(&root_cert), eg_buf_str(&root_key),
						   NULL, 0, 30, &c, &k, &e),
			 -EINVAL);
	assert_non_null(strstr(e.text, "no name is governed"));
	assert_int_equal(eg_ca_create_intermediate(eg_buf_str(&root_cert), eg_buf_str(&root_key),
						   bad, 2, 30, &c, &k, &e),
			 -EINVAL);
	assert_non_null(strstr(e.text, "a,permitted;DNS:com"));
	assert_int_equal(eg_ca_create_intermediate(eg_buf_str(&root_cert), eg_buf_str(&root_key),
						   ip, 1, 30, &c, &k, &e),
			 -EINVAL);
	for (size_t i = 0; i < EG_ARRAY_SIZE(top); i++) {
		assert_int_equal(eg_ca_create_intermediate(eg_buf_str(&root_cert),
							   eg_buf_str(&root_key), &top[i], 1, 30,
							   &c, &k, &e),
				 -EINVAL);
		assert_non_null(strstr(e.text, top[i]));
	}
	assert_int_equal(eg_ca_create_root("Other", 10, &other_cert, &other_key, &e), 0);
	assert_int_equal(eg_ca_create_intermediate(eg_buf_str(&root_cert), eg_buf_str(&other_key),
						   names, 2, 30, &c, &k, &e),
			 -EINVAL);
	assert_non_null(strstr(e.text, "does not belong"));
	/* An intermediate can't have an intermediate. */
	assert_int_equal(eg_ca_create_intermediate(eg_buf_str(&cert), eg_buf_str(&key), names, 2,
						   30, &c, &k, &e),
			 -EINVAL);
	assert_non_null(strstr(e.text, "not a CA that may have an intermediate"));
	assert_int_equal(
		eg_ca_create_intermediate(EG_STR("junk"), EG_STR("junk"), names, 2, 30, &c, &k, &e),
		-EINVAL);
	assert_int_equal(c.length + k.length, 0);
	/* The signer takes only an intermediate with constraints, and its own key. */
	assert_null(eg_signer_create(eg_buf_str(&root_cert), eg_buf_str(&root_key), &e));
	assert_non_null(strstr(e.text, "no critical name constraints"));
	assert_null(eg_signer_create(eg_buf_str(&cert), eg_buf_str(&root_key), &e));
	assert_non_null(strstr(e.text, "does not belong"));
	assert_null(eg_signer_create(EG_STR("junk"), eg_buf_str(&key), &e));
	assert_null(eg_signer_create(eg_buf_str(&cert), EG_STR("junk"), &e));
	eg_buf_fini(&c);
	eg_buf_fini(&k);
	eg_buf_fini(&other_cert);
	eg_buf_fini(&other_key);
}

static void intermediate_ends_with_the_root(void **state)
{
	struct eg_buf rc, rk, c, k;
	X509 *root, *middle;

	eg_buf_init(&rc, 65536);
	eg_buf_init_secret(&rk, 65536);
	eg_buf_init(&c, 65536);
	eg_buf_init_secret(&k, 65536);
	assert_int_equal(eg_ca_create_root("Short", 5, &rc, &rk, NULL), 0);
	assert_int_equal(eg_ca_create_intermediate(eg_buf_str(&rc), eg_buf_str(&rk), names, 2, 90,
						   &c, &k, NULL),
			 0);
	root = parse(&rc);
	middle = parse(&c);
	assert_int_equal(ASN1_TIME_compare(X509_get0_notAfter(root), X509_get0_notAfter(middle)),
			 0);
	X509_free(root);
	X509_free(middle);
	eg_buf_fini(&rc);
	eg_buf_fini(&rk);
	eg_buf_fini(&c);
	eg_buf_fini(&k);
}

/* An intermediate near its end, with constraints given or not critical. */
static struct eg_signer *signer_until(long until, const char *permitted, struct eg_error *e)
{
	struct made ca = make_cert("root", NULL, NULL, -7200, 86400);
	struct made m = make_intermediate(&ca, permitted, until);
	struct eg_buf c, k;
	struct eg_signer *s;

	eg_buf_init(&c, 65536);
	eg_buf_init_secret(&k, 65536);
	cert_pem(&c, m.cert);
	key_pem(&k, m.key);
	s = eg_signer_create(eg_buf_str(&c), eg_buf_str(&k), e);
	if (s)
		assert_int_equal(eg_signer_set_names(s, names, 2), 0);
	eg_buf_fini(&c);
	eg_buf_fini(&k);
	unmake(&m);
	unmake(&ca);
	return s;
}

static void an_intermediate_near_its_end(void **state)
{
	static const char permitted[] = "critical,permitted;DNS:api.openai.com";
	const unsigned char *p;
	struct eg_error e = {""};
	struct eg_buf spki, der;
	EVP_PKEY *k = p256(&spki);
	struct eg_signer *s;
	int days, seconds;
	X509 *x;

	eg_buf_init(&der, 65536);
	s = signer_until(-10, permitted, &e);
	assert_non_null(s);
	assert_false(eg_signer_permits(s, EG_STR("api.openai.com")));
	assert_int_equal(eg_signer_usable(s, &e), -EKEYEXPIRED);
	assert_int_equal(eg_signer_sign(s, EG_STR("api.openai.com"), eg_buf_str(&spki), &der, &e),
			 -EKEYEXPIRED);
	assert_int_equal(der.length, 0);
	eg_signer_destroy(s);
	s = signer_until(600, permitted, &e); /* its leaves end with it */
	assert_int_equal(eg_signer_sign(s, EG_STR("api.openai.com"), eg_buf_str(&spki), &der, &e),
			 0);
	p = (const unsigned char *)eg_buf_data(&der);
	x = d2i_X509(NULL, &p, (long)der.length);
	assert_int_equal(ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x)), 1);
	assert_int_equal(days, 0);
	assert_true(seconds <= 600);
	X509_free(x);
	eg_signer_destroy(s);
	EVP_PKEY_free(k);
	eg_buf_fini(&der);
	eg_buf_fini(&spki);
}

static void constraints_must_bind(void **state)
{
	static const char *const bad[] = {
		"permitted;DNS:api.openai.com",	      /* not critical: a client may ignore it */
		"critical,excluded;DNS:evil.example", /* permits all the rest */
		"critical,permitted;email:example.com",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		struct eg_error e = {""};

		assert_null(signer_until(3600, bad[i], &e));
		assert_non_null(strstr(e.text, "no critical name constraints"));
	}
}

static int make_all(void **state)
{
	struct eg_error e = {""};

	eg_buf_init(&root_cert, 65536);
	eg_buf_init_secret(&root_key, 65536);
	eg_buf_init(&cert, 65536);
	eg_buf_init_secret(&key, 65536);
	return eg_ca_create_root("Egret test root", 3650, &root_cert, &root_key, &e) ||
	       eg_ca_create_intermediate(eg_buf_str(&root_cert), eg_buf_str(&root_key), names, 2,
					 90, &cert, &key, &e);
}

static int free_all(void **state)
{
	eg_buf_fini(&root_cert);
	eg_buf_fini(&root_key);
	eg_buf_fini(&cert);
	eg_buf_fini(&key);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tiers),
		cmocka_unit_test(no_subjects),
		cmocka_unit_test(bad_orders_for_tiers),
		cmocka_unit_test(intermediate_ends_with_the_root),
		cmocka_unit_test(leaf_is_what_it_must_be),
		cmocka_unit_test(what_the_signer_refuses),
		cmocka_unit_test(only_p256_keys_are_signed),
		cmocka_unit_test(names_come_first),
		cmocka_unit_test(a_stolen_key_signs_nothing_else),
		cmocka_unit_test(an_intermediate_near_its_end),
		cmocka_unit_test(constraints_must_bind),
	};

	return cmocka_run_group_tests(tests, make_all, free_all);
}
