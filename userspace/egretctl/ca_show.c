/* SPDX-License-Identifier: Apache-2.0 */
#include "egretctl/ca_show.h"

#include <fcntl.h>
#include <jansson.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "base/secret.h"
#include "net/ca.h"

#define SOON_DAYS 14

struct problems {
	json_t *list;
};

static void problem(struct problems *p, const char *format, ...) EG_PRINTF(2, 3);
static void problem(struct problems *p, const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	(void)json_array_append_new(p->list, eg_json_text(eg_str_from(text)));
}

/* All that the file has, one or more; NULL with *e. The caller frees it. */
static STACK_OF(X509) * read_certs(const char *dir, const char *name, struct eg_error *e)
{
	STACK_OF(X509) *all = sk_X509_new_null();
	struct eg_str text;
	char path[4096];
	X509 *x = NULL;
	BIO *b;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (eg_read_file(path, CA_FILE_MAX, &text, e)) {
		sk_X509_free(all);
		return NULL;
	}
	b = BIO_new_mem_buf(text.p, (int)text.n);
	while (all && b && (x = PEM_read_bio_X509(b, NULL, NULL, NULL)))
		if (!sk_X509_push(all, x))
			X509_free(x);
	BIO_free(b);
	free((char *)(uintptr_t)text.p);
	ERR_clear_error();
	if (sk_X509_num(all) > 0)
		return all;
	(void)eg_error_set(e, -EINVAL, "%s: expected a certificate in PEM", path);
	sk_X509_free(all);
	return NULL;
}

static bool signed_by(X509 *x, X509 *by)
{
	EVP_PKEY *key = X509_get0_pubkey(by);

	return key && X509_verify(x, key) == 1;
}

/* By itself, or by the authorities that stand behind it, each signed by the next (docs/ca.md). */
static bool leads_to(X509 *root, STACK_OF(X509) * chain)
{
	X509 *last = sk_X509_value(chain, 0);

	for (int i = 1; i < sk_X509_num(chain); i++) {
		if (!signed_by(last, sk_X509_value(chain, i)))
			return false;
		last = sk_X509_value(chain, i);
	}
	return !X509_cmp(last, root) || signed_by(last, root);
}

/* The key need not be here (a root's should not). */
static const char *key_state(const char *dir, const char *name, struct problems *p)
{
	char path[4096];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (stat(path, &st))
		return "not here";
	if (st.st_mode & 077)
		problem(p, "%s: mode %04o; others than its owner may read it (expected 0600)", path,
			(unsigned int)st.st_mode & 07777);
	return "here";
}

static json_t *constraints_of(X509 *x, bool *ip_excluded, bool *no_subjects)
{
	NAME_CONSTRAINTS *nc = X509_get_ext_d2i(x, NID_name_constraints, NULL, NULL);
	json_t *list = json_array();
	size_t excluded = 0;

	for (int i = 0; nc && i < sk_GENERAL_SUBTREE_num(nc->permittedSubtrees); i++) {
		const GENERAL_NAME *g = sk_GENERAL_SUBTREE_value(nc->permittedSubtrees, i)->base;

		if (g->type == GEN_DNS)
			(void)json_array_append_new(
				list, eg_json_text((struct eg_str){
					      (const char *)ASN1_STRING_get0_data(g->d.dNSName),
					      (size_t)ASN1_STRING_length(g->d.dNSName)}));
	}
	for (int i = 0; nc && i < sk_GENERAL_SUBTREE_num(nc->excludedSubtrees); i++)
		excluded +=
			sk_GENERAL_SUBTREE_value(nc->excludedSubtrees, i)->base->type == GEN_IPADD;
	*ip_excluded = excluded == 2;
	*no_subjects = eg_ca_refuses_subjects(nc);
	NAME_CONSTRAINTS_free(nc);
	return list;
}

static void put_time(json_t *o, const char *key, const ASN1_TIME *t)
{
	char text[40] = "unreadable";
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	(void)json_object_set_new(o, key, json_string(text));
}

static json_t *describe(X509 *x, const char *what, const char *key, struct problems *p)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	char hex[3 * EVP_MAX_MD_SIZE + 1] = "", subject[256];
	int days = 0, seconds = 0;
	unsigned int n = 0;
	json_t *o = json_object();

	X509_NAME_oneline(X509_get_subject_name(x), subject, sizeof(subject));
	if (X509_digest(x, EVP_sha256(), digest, &n))
		for (unsigned int i = 0; i < n; i++)
			snprintf(hex + strlen(hex), 4, i ? ":%02X" : "%02X", digest[i]);
	(void)ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x));
	(void)json_object_set_new(o, "subject", eg_json_text(eg_str_from(subject)));
	put_time(o, "not_before", X509_get0_notBefore(x));
	put_time(o, "not_after", X509_get0_notAfter(x));
	(void)json_object_set_new(o, "days_left", json_integer(days));
	(void)json_object_set_new(o, "sha256", json_string(hex));
	(void)json_object_set_new(o, "key", json_string(key));
	if (X509_cmp_current_time(X509_get0_notAfter(x)) <= 0)
		problem(p, "the %s has expired", what);
	else if (days < SOON_DAYS)
		problem(p, "the %s expires in %d days", what, days);
	if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0)
		problem(p, "the %s is not valid yet (is the clock right?)", what);
	return o;
}

static void judge_intermediate(X509 *root, STACK_OF(X509) * chain, json_t *o, struct problems *p)
{
	bool ip_excluded = false, no_subjects = false;
	json_t *names = constraints_of(sk_X509_value(chain, 0), &ip_excluded, &no_subjects);

	if (!leads_to(root, chain))
		problem(p, "the intermediate was not signed by this root, nor by what stands "
			   "behind it in intermediate.crt");
	if (!json_array_size(names))
		problem(p, "the intermediate has no permitted DNS names: it could sign any name");
	else if (!ip_excluded)
		problem(p, "the intermediate does not exclude IP addresses");
	(void)json_object_set_new(o, "permitted", names);
	(void)json_object_set_new(o, "subjects", json_string(no_subjects ? "none" : "any"));
	ERR_clear_error();
}

/* NULL: it is not here, or can't be read. */
static struct eg_secret *read_secret(const char *dir, const char *name)
{
	struct eg_secret *secret = NULL;
	char path[4096];
	EG_CLEANUP_FD int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 || eg_secret_read_fd(fd, CA_FILE_MAX, &secret) ? NULL : secret;
}

/* As the signer takes the pair, where the key is here. */
static void judge_pair(const char *dir, struct problems *p)
{
	struct eg_secret *cert = read_secret(dir, "intermediate.crt");
	struct eg_secret *key = read_secret(dir, "intermediate.key");
	struct eg_error e = {""};
	struct eg_signer *signer = NULL;

	if (cert && key) {
		signer = eg_signer_create(eg_secret_bytes(cert), eg_secret_bytes(key), &e);
		if (!signer)
			problem(p, "the signer refuses it: %s", e.text);
	}
	eg_signer_destroy(signer);
	eg_secret_unref(cert);
	eg_secret_unref(key);
}

static void print_one(const char *what, const json_t *o)
{
	const json_t *names = json_object_get(o, "permitted");
	size_t i;
	json_t *name;

	eg_line("%s", what);
	eg_line("  subject    %s", json_string_value(json_object_get(o, "subject")));
	eg_line("  valid      %s to %s (%lld days left)",
		json_string_value(json_object_get(o, "not_before")),
		json_string_value(json_object_get(o, "not_after")),
		(long long)json_integer_value(json_object_get(o, "days_left")));
	eg_line("  sha256     %s", json_string_value(json_object_get(o, "sha256")));
	eg_line("  key        %s", json_string_value(json_object_get(o, "key")));
	json_array_foreach(names, i, name) eg_line(
		"  %s%s and below", i ? "           " : "permits    ", json_string_value(name));
	if (names)
		eg_line("  subjects   %s", json_string_value(json_object_get(o, "subjects")));
}

int ca_show(const char *dir, bool json)
{
	struct problems p = {json_array()};
	struct eg_error e = {""};
	json_t *all, *r, *m, *text;
	STACK_OF(X509) * root, *chain = NULL;
	size_t i;
	int code;

	root = read_certs(dir, "root.crt", &e);
	if (root)
		chain = read_certs(dir, "intermediate.crt", &e);
	if (!root || !chain) {
		sk_X509_pop_free(root, X509_free);
		json_decref(p.list);
		return eg_usage_error("ca", "%s", e.text);
	}
	r = describe(sk_X509_value(root, 0), "root", key_state(dir, "root.key", &p), &p);
	m = describe(sk_X509_value(chain, 0), "intermediate",
		     key_state(dir, "intermediate.key", &p), &p);
	judge_intermediate(sk_X509_value(root, 0), chain, m, &p);
	judge_pair(dir, &p);
	sk_X509_pop_free(root, X509_free);
	sk_X509_pop_free(chain, X509_free);
	all = json_pack("{s:o, s:o, s:o}", "root", r, "intermediate", m, "problems", p.list);
	if (!all) {
		eg_complain("ca", "out of memory");
		return EG_EXIT_USAGE;
	}
	if (json) {
		(void)eg_print_json(all);
	} else {
		print_one("root", r);
		print_one("intermediate", m);
	}
	json_array_foreach(p.list, i, text) eg_complain("ca", "%s", json_string_value(text));
	code = json_array_size(p.list) ? EG_EXIT_NO : EG_EXIT_OK;
	json_decref(all);
	return fflush(stdout) ? EG_EXIT_USAGE : code;
}
