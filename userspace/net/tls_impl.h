/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL objects behind tls.h, for the files of this room alone. */
#ifndef EGRET_NET_TLS_IMPL_H
#define EGRET_NET_TLS_IMPL_H

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "net/tls.h"

/*
 * A leaf from parsed objects: takes one reference each of `cert` and `key`, and the stack `chain`
 * with its references (NULL: none), also on failure. NULL: out of memory.
 */
struct eg_leaf *tls_leaf_create(const char *name, X509 *cert, STACK_OF(X509) * chain, EVP_PKEY *key,
				int64_t renew_at) EG_MUST;
/* Sets certificate, chain and key on `ssl`: 0 or -EINVAL. */
int tls_leaf_use(SSL *ssl, struct eg_leaf *l) EG_MUST;
X509_STORE *tls_trust_store(struct eg_trust *t);

/* What both sides share: versions, cipher order for this machine, modes. 0 or -errno. */
int tls_ctx_setup(SSL_CTX *ctx, struct eg_error *e) EG_MUST;
/* The reason of OpenSSL's oldest queued error in words; the queue is emptied. Returns its reason
 * code, 0 when there was none. */
int tls_error_text(char *out, size_t cap);

/* A new SSL for an accepted connection; its BIO is the caller's to set. NULL: -errno in *error. */
SSL *tls_server_ssl(struct eg_tls_server *t, struct eg_leaf *leaf, const char *sni,
		    int *error) EG_MUST;

/* The key of a client session. Owned by the stream, found by the session callback. */
struct tls_origin {
	uint16_t port;
	char host[256];
};
/* A new SSL for `o` (borrowed as long as the SSL lives), with a session to resume if there is one.
 */
SSL *tls_client_ssl(struct eg_tls_client *t, struct tls_origin *o, int *error) EG_MUST;
/*
 * The handshake is done: is it with whom we meant? Asked again because OpenSSL 3.0 ignores a
 * failure to copy the expected name into the verification (ssl_verify_cert_chain(): out of memory
 * means no name is checked), and because a resumed session is not verified. True on the server's
 * side.
 */
bool tls_client_accepts(SSL *ssl) EG_MUST;
/* The handshake is done: keeps a ticket that was renewed. Harmless on the server's side. */
void tls_client_done(SSL *ssl);
/* The handshake failed: its session is not offered again. */
void tls_client_failed(SSL *ssl);

#endif
