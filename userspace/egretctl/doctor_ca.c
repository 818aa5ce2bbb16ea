/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>

#include "egretctl/doctor.h"

#define SOON_DAYS 7

static X509 *read_certificate(const char *path)
{
	FILE *f = fopen(path, "re");
	X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

	if (f)
		fclose(f);
	return x;
}

static void check_dates(struct findings *f, const char *what, X509 *x)
{
	int days = 0, seconds = 0;

	if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0) {
		doctor_say(f, DOCTOR_BROKEN, what, "is not valid yet: check the node's clock");
		return;
	}
	if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0) {
		doctor_say(f, DOCTOR_BROKEN, what,
			   "has expired: every governed TLS connection fails; issue a new one with "
			   "`egretctl ca`");
		return;
	}
	if (!ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x)))
		return;
	if (days < SOON_DAYS)
		doctor_say(f, DOCTOR_WARNING, what,
			   "expires in %d days: issue a new one with "
			   "`egretctl ca`",
			   days);
	else
		doctor_say(f, DOCTOR_OK, what, "valid for %d more days", days);
}

void doctor_ca_dates(struct findings *f, const char *ca_dir)
{
	char path[4096];
	X509 *root, *intermediate;
	EVP_PKEY *key;

	snprintf(path, sizeof(path), "%s/intermediate.crt", ca_dir);
	intermediate = read_certificate(path);
	if (!intermediate) {
		doctor_say(f, DOCTOR_BROKEN, "CA intermediate",
			   "%s: no certificate there; make the CA with `egretctl ca create`", path);
		return;
	}
	check_dates(f, "CA intermediate", intermediate);
	snprintf(path, sizeof(path), "%s/root.crt", ca_dir);
	root = read_certificate(path);
	key = root ? X509_get0_pubkey(root) : NULL;
	if (!root) {
		doctor_say(
			f, DOCTOR_WARNING, "CA root",
			"%s is not on this node, so it can't be checked against the intermediate",
			path);
	} else {
		check_dates(f, "CA root", root);
		if (!key || X509_verify(intermediate, key) != 1)
			doctor_say(
				f, DOCTOR_BROKEN, "CA",
				"the intermediate was not issued by %s: pods that trust this root "
				"refuse every governed connection",
				path);
	}
	X509_free(root);
	X509_free(intermediate);
}
