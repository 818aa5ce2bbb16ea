/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two tiers of Egret's certificate authority (DESIGN section 5.1; RFC 5280) and the leaves:
 *   root          offline; pods trust it; ECDSA P-256, pathlen 1
 *   intermediate  on the node, held by the signer alone; pathlen 0; critical name constraints:
 *                 permitted DNS = governed names, excluded IPv4 and IPv6 all
 *   leaf          one server name; critical SAN, SKI, AKI, serverAuth, notBefore an hour ago,
 *                 at most 24 h
 * Used by `egretctl ca` (files) and by the signer process (memory). Blocking; not for a loop.
 */
#ifndef EGRET_NET_CA_H
#define EGRET_NET_CA_H

#include "base/base.h"
#include "base/buf.h"
#include "base/error.h"

/* "api.openai.com", or with `wildcard` also "*.openai.azure.com" (two labels at least, of either):
 * letters, digits, '-' and '_', no final dot, nothing that could be read as an IP address. */
bool eg_ca_name_valid(struct eg_str name, bool wildcard);

/* PEM outputs are appended; key buffers must be eg_buf_init_secret(). */
int eg_ca_create_root(const char *common_name, unsigned int days, struct eg_buf *cert_pem,
		      struct eg_buf *key_pem, struct eg_error *e) EG_MUST;
/*
 * names: "api.openai.com" or "*.openai.azure.com". RFC 5280 section 4.2.1.10: a permitted name
 * permits what is below it too, so the wildcard becomes "openai.azure.com" (a leading dot, which
 * would leave the name itself out, is not in the RFC, and clients differ); the signer refuses the
 * name itself. No name is -EINVAL: it would be an intermediate without bounds. Ends no later than
 * the root.
 */
int eg_ca_create_intermediate(struct eg_str root_cert_pem, struct eg_str root_key_pem,
			      const char *const *names, size_t count, unsigned int days,
			      struct eg_buf *cert_pem, struct eg_buf *key_pem,
			      struct eg_error *e) EG_MUST;
/*
 * Takes an intermediate that was just made and signs it anew with one exclusion more: every subject
 * that is not empty. DNS constraints bind the SAN; clients that find none take the name from the
 * subject, and check it against them at best where it looks like a DNS name ("*.example.com" does
 * not). The constraints are not critical then: Go refuses a critical one with a form that it does
 * not know, and knows none of directories. rustls refuses the form, whatever it stands in.
 */
int eg_ca_refuse_subjects(struct eg_str root_key_pem, struct eg_buf *cert_pem,
			  struct eg_error *e) EG_MUST;
/* Whether the constraints of the certificate (struct x509_st) refuse every subject. */
struct NAME_CONSTRAINTS_st;
bool eg_ca_refuses_subjects(const struct NAME_CONSTRAINTS_st *nc);
/* A private key in PEM; NULL also for one with a passphrase, which nobody is asked for. */
struct bio_st;
struct evp_pkey_st *eg_ca_key(struct bio_st *pem);

/* The signer's half: holds the intermediate key. `cert_pem`: the intermediate; behind it, in order,
 * the certificates of those between it and the root, if there are any. */
struct eg_signer;
struct eg_signer *eg_signer_create(struct eg_str cert_pem, struct eg_str key_pem,
				   struct eg_error *e) EG_MUST;
void eg_signer_destroy(struct eg_signer *s);
/* The intermediate and what stands between it and the root, each as DER, one after the other: to be
 * sent after each leaf; borrowed. */
struct eg_str eg_signer_chain(const struct eg_signer *s);
/* 0, or -EKEYEXPIRED: it signs nothing now. */
int eg_signer_usable(const struct eg_signer *s, struct eg_error *e) EG_MUST;
/* Does the intermediate permit this name, now? */
bool eg_signer_permits(const struct eg_signer *s, struct eg_str name);
/* Names beyond which it refuses to sign, besides the constraints: the governed names of policy.
 * Until the first call it signs nothing. -EINVAL (nothing changes) or -ENOMEM. */
int eg_signer_set_names(struct eg_signer *s, const char *const *names, size_t count) EG_MUST;
/* `public_key_der`: SubjectPublicKeyInfo, P-256 only. Appends the leaf's DER. -EPERM: a name that
 * is not governed or not permitted; -EINVAL: not a DNS name, an IP; -EKEYEXPIRED. */
int eg_signer_sign(struct eg_signer *s, struct eg_str name, struct eg_str public_key_der,
		   struct eg_buf *leaf_der, struct eg_error *e) EG_MUST;

#endif
