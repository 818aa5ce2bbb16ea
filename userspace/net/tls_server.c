/* SPDX-License-Identifier: Apache-2.0 */
/* TLS towards the pod: one SSL_CTX a worker, the certificate set on each connection. */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>

#include "base/secret.h"
#include "net/tls_impl.h"

#define SESSION_SECONDS 7200L /* at most two rotations of the ticket keys */

/* As eg_tls_server_ticket_key() takes it. */
struct ticket_key {
	unsigned char name[16];
	unsigned char aes[32];
	unsigned char mac[32];
};
_Static_assert(sizeof(struct ticket_key) == 80, "the bytes of eg_tls_server_ticket_key()");

struct eg_tls_server {
	SSL_CTX *ctx;
	struct ticket_key now, former;
	bool has_former;
	bool given; /* `now` came from the owner, not from us at start */
};

static int set_keys(EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, const struct ticket_key *key,
		    const unsigned char *iv, int encrypt)
{
	static char digest[] = "SHA256";
	unsigned char mac_key[32];
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, mac_key, sizeof(mac_key)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};
	int ok;

	memcpy(mac_key, key->mac, sizeof(mac_key));
	ok = EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->aes, iv, encrypt) == 1 &&
	     EVP_MAC_CTX_set_params(mac, params) == 1;
	eg_wipe(mac_key, sizeof(mac_key));
	return ok;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): -1 error, 0 unknown key, 1 good, 2 good but renew. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
		     EVP_MAC_CTX *mac, int encrypt)
{
	struct eg_tls_server *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	if (!t)
		return -1;
	if (encrypt) {
		if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
			return -1;
		memcpy(name, t->now.name, sizeof(t->now.name));
		return set_keys(cipher, mac, &t->now, iv, 1) ? 1 : -1;
	}
	if (!memcmp(name, t->now.name, sizeof(t->now.name))) {
		/* A TLS 1.3 ticket is used once (RFC 8446 appendix C.4): another must follow. */
		int good = SSL_version(ssl) == TLS1_3_VERSION ? 2 : 1;

		return set_keys(cipher, mac, &t->now, iv, 0) ? good : -1;
	}
	if (t->has_former && !memcmp(name, t->former.name, sizeof(t->former.name)))
		return set_keys(cipher, mac, &t->former, iv, 0) ? 2 : -1;
	return 0;
}

/* RFC 7301 section 3.2: ours is the order; no protocol in common is a fatal
 * no_application_protocol. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_length,
		   const unsigned char *in, unsigned int in_length, void *ctx)
{
	static const struct eg_str ours[] = {{"h2", 2}, {"http/1.1", 8}, {"http/1.0", 8}};

	(void)ssl;
	(void)ctx;
	for (size_t o = 0; o < EG_ARRAY_SIZE(ours); o++) {
		for (unsigned int i = 0; i < in_length && in[i] < in_length - i; i += in[i] + 1u) {
			if (in[i] == ours[o].n && !memcmp(in + i + 1, ours[o].p, in[i])) {
				*out = in + i + 1;
				*out_length = in[i];
				return SSL_TLSEXT_ERR_OK;
			}
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

struct eg_tls_server *eg_tls_server_create(struct eg_error *e)
{
	struct eg_tls_server *t = calloc(1, sizeof(*t));

	if (!t || !(t->ctx = SSL_CTX_new(TLS_server_method())) ||
	    RAND_bytes((unsigned char *)&t->now, sizeof(t->now)) != 1) {
		(void)eg_error_set(e, -ENOMEM, "TLS server: out of memory or of randomness");
		eg_tls_server_destroy(t);
		return NULL;
	}
	if (tls_ctx_setup(t->ctx, e)) {
		eg_tls_server_destroy(t);
		return NULL;
	}
	SSL_CTX_set_app_data(t->ctx, t);
	SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF); /* tickets only */
	SSL_CTX_set_timeout(t->ctx, SESSION_SECONDS);
	SSL_CTX_set_num_tickets(t->ctx, 1);
	SSL_CTX_set_max_early_data(t->ctx, 0);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(t->ctx, on_ticket);
	SSL_CTX_set_alpn_select_cb(t->ctx, on_alpn, NULL);
	return t;
}

void eg_tls_server_destroy(struct eg_tls_server *t)
{
	if (!t)
		return;
	if (t->ctx)
		SSL_CTX_set_app_data(t->ctx, NULL); /* connections may outlive us */
	SSL_CTX_free(t->ctx);
	eg_wipe(t, sizeof(*t));
	free(t);
}

int eg_tls_server_ticket_key(struct eg_tls_server *t, const unsigned char key[80])
{
	if (!memcmp(&t->now, key, sizeof(t->now)))
		return 0; /* given twice: the former one stays */
	if (!memcmp(t->now.name, key, sizeof(t->now.name)))
		return -EINVAL; /* another key under the same name would break open tickets */
	t->former = t->now;
	t->has_former = t->given;
	memcpy(&t->now, key, sizeof(t->now));
	t->given = true;
	return 0;
}

SSL *tls_server_ssl(struct eg_tls_server *t, struct eg_leaf *leaf, const char *sni, int *error)
{
	unsigned char name[32]; /* SSL_MAX_SID_CTX_LENGTH */
	unsigned int n = 0;
	SSL *ssl;

	*error = -ENOMEM;
	ssl = SSL_new(t->ctx);
	if (!ssl)
		return NULL;
	/*
	 * The name goes into the session's context: a ticket that was given under another name
	 * doesn't resume (TLS 1.2 would go on and report the old name), a full handshake follows.
	 */
	if (EVP_Digest(sni, strlen(sni), name, &n, EVP_sha256(), NULL) != 1 ||
	    SSL_set_session_id_context(ssl, name, n) != 1) {
		SSL_free(ssl);
		return NULL;
	}
	*error = tls_leaf_use(ssl, leaf);
	if (*error) {
		SSL_free(ssl);
		return NULL;
	}
	SSL_set_accept_state(ssl);
	return ssl;
}
