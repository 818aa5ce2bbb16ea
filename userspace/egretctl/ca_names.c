/* SPDX-License-Identifier: Apache-2.0 */
#include "egretctl/ca_names.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

int ca_names_read(const char *dir, struct ca_names *out, struct eg_error *e)
{
	char path[4096];
	X509 *cert;
	FILE *f;

	snprintf(path, sizeof(path), "%s/intermediate.crt", dir);
	f = fopen(path, "re");
	if (!f)
		return eg_error_set(e, -errno, "%s: %s", path, strerror(errno));
	cert = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	if (!cert)
		return eg_error_set(e, -EINVAL, "%s: expected a certificate in PEM", path);
	out->constraints = X509_get_ext_d2i(cert, NID_name_constraints, NULL, NULL);
	X509_free(cert);
	if (!out->constraints)
		return eg_error_set(e, -EINVAL,
				    "%s: has no name constraints; make a new one with "
				    "`egretctl ca`",
				    path);
	return 0;
}

void ca_names_fini(struct ca_names *n)
{
	NAME_CONSTRAINTS_free(n->constraints);
	n->constraints = NULL;
}

bool ca_names_permit(const struct ca_names *n, const char *name)
{
	const NAME_CONSTRAINTS *c = n->constraints;
	struct eg_str host = eg_str_from(name);

	if (eg_str_starts(host, EG_STR("*.")))
		host = (struct eg_str){host.p + 2, host.n - 2};
	for (int i = 0; i < sk_GENERAL_SUBTREE_num(c->permittedSubtrees); i++) {
		const GENERAL_NAME *g = sk_GENERAL_SUBTREE_value(c->permittedSubtrees, i)->base;
		struct eg_str base;

		if (g->type != GEN_DNS)
			continue;
		base = (struct eg_str){(const char *)ASN1_STRING_get0_data(g->d.dNSName),
				       (size_t)ASN1_STRING_length(g->d.dNSName)};
		/* The name itself, or what lies below it at a dot. */
		if (eg_str_ieq(host, base))
			return true;
		if (host.n > base.n && host.p[host.n - base.n - 1] == '.' &&
		    eg_str_ieq((struct eg_str){host.p + host.n - base.n, base.n}, base))
			return true;
	}
	return false;
}
