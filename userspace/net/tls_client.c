/* SPDX-License-Identifier: Apache-2.0 */
/* TLS towards the provider: verification always, one session an origin kept to resume. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

#include "net/tls_impl.h"

#define BUCKETS		64u
#define SESSIONS_MAX	1024u
#define SESSION_SECONDS 7200 /* a certificate is verified anew at least this often */

struct session {
	struct eg_list bucket; /* first: of its hash */
	struct eg_list used;   /* in order of use, the newest last */
	struct tls_origin origin;
	SSL_SESSION *session;
};

struct eg_tls_client {
	SSL_CTX *ctx;
	struct eg_trust *trust;
	struct eg_list bucket[BUCKETS];
	struct eg_list used;
	size_t count;
};

static struct eg_list *bucket_of(struct eg_tls_client *t, const struct tls_origin *o)
{
	uint32_t h = 2166136261u ^ o->port; /* FNV-1a */

	for (const char *p = o->host; *p; p++)
		h = (h ^ (unsigned char)*p) * 16777619u;
	return &t->bucket[h % BUCKETS];
}

static struct session *find(struct eg_tls_client *t, const struct tls_origin *o)
{
	struct eg_list *head = bucket_of(t, o), *i;

	eg_list_for_each (i, head) {
		struct session *s = eg_container_of(i, struct session, bucket);

		if (s->origin.port == o->port && !strcmp(s->origin.host, o->host))
			return s;
	}
	return NULL;
}

static void forget(struct eg_tls_client *t, struct session *s)
{
	eg_list_remove(&s->bucket);
	eg_list_remove(&s->used);
	SSL_SESSION_free(s->session);
	free(s);
	t->count--;
}

/* OpenSSL gives us a reference; 1 keeps it. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct eg_tls_client *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	struct tls_origin *o = SSL_get_app_data(ssl);
	struct session *s;

	if (!t || !o || !SSL_SESSION_is_resumable(session))
		return 0;
	s = find(t, o);
	if (s) {
		SSL_SESSION_free(s->session);
		s->session = session;
		eg_list_remove(&s->used);
		eg_list_append(&t->used, &s->used);
		return 1;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return 0;
	if (t->count >= SESSIONS_MAX)
		forget(t, eg_container_of(t->used.next, struct session, used));
	s->origin = *o;
	s->session = session;
	eg_list_append(bucket_of(t, o), &s->bucket);
	eg_list_append(&t->used, &s->used);
	t->count++;
	return 1;
}

/* OpenSSL doesn't look at the certificate again when it resumes: its time is looked at here. */
static bool still_good(SSL_SESSION *session)
{
	X509 *peer = SSL_SESSION_get0_peer(session);
	int64_t age = (int64_t)time(NULL) - (int64_t)SSL_SESSION_get_time(session);

	return peer && age >= 0 && age < SESSION_SECONDS &&
	       X509_cmp_current_time(X509_get0_notAfter(peer)) > 0;
}

struct eg_tls_client *eg_tls_client_create(struct eg_trust *trust, struct eg_error *e)
{
	struct eg_tls_client *t = calloc(1, sizeof(*t));
	static const unsigned char alpn[] = "\x08http/1.1";

	if (!t || !(t->ctx = SSL_CTX_new(TLS_client_method()))) {
		(void)eg_error_set(e, -ENOMEM, "TLS client: out of memory");
		free(t);
		ERR_clear_error();
		return NULL;
	}
	t->trust = eg_trust_ref(trust);
	eg_list_init(&t->used);
	for (size_t i = 0; i < BUCKETS; i++)
		eg_list_init(&t->bucket[i]);
	if (tls_ctx_setup(t->ctx, e)) {
		eg_tls_client_destroy(t);
		return NULL;
	}
	if (SSL_CTX_set_alpn_protos(t->ctx, alpn, sizeof(alpn) - 1)) { /* 0 is success here */
		(void)eg_error_set(e, -ENOMEM, "TLS client: out of memory");
		eg_tls_client_destroy(t);
		return NULL;
	}
	SSL_CTX_set1_cert_store(t->ctx, tls_trust_store(trust));
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_app_data(t->ctx, t);
	SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(t->ctx, on_session);
	return t;
}

void eg_tls_client_destroy(struct eg_tls_client *t)
{
	struct eg_list *i, *next;

	if (!t)
		return;
	eg_list_for_each_safe (i, next, &t->used)
		forget(t, eg_container_of(i, struct session, used));
	SSL_CTX_set_app_data(t->ctx, NULL); /* connections may outlive us */
	SSL_CTX_free(t->ctx);
	eg_trust_unref(t->trust);
	free(t);
}

/* RFC 9525: names come from the SAN, and a wildcard is a whole label. */
#define HOST_FLAGS (X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT)

/* 4 or 16 bytes in `ip`; 0: `host` is a name. */
static size_t ip_bytes(const char *host, unsigned char ip[16])
{
	if (inet_pton(AF_INET, host, ip) == 1)
		return 4;
	return inet_pton(AF_INET6, host, ip) == 1 ? 16 : 0;
}

static bool set_name(SSL *ssl, const char *host)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	unsigned char ip[16];
	size_t n = ip_bytes(host, ip);

	if (n)
		return X509_VERIFY_PARAM_set1_ip(param, ip, n) == 1;
	X509_VERIFY_PARAM_set_hostflags(param, HOST_FLAGS);
	return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 &&
	       SSL_set_tlsext_host_name(ssl, host) == 1;
}

bool tls_client_accepts(SSL *ssl)
{
	const struct tls_origin *o = SSL_get_app_data(ssl);
	X509 *peer = SSL_get0_peer_certificate(ssl);
	unsigned char ip[16];
	size_t n;

	if (SSL_is_server(ssl))
		return true;
	if (!o || !peer || SSL_get_verify_result(ssl) != X509_V_OK)
		return false;
	n = ip_bytes(o->host, ip);
	return n ? X509_check_ip(peer, ip, n, 0) == 1
		 : X509_check_host(peer, o->host, 0, HOST_FLAGS, NULL) == 1;
}

SSL *tls_client_ssl(struct eg_tls_client *t, struct tls_origin *o, int *error)
{
	struct session *s = find(t, o);
	SSL *ssl = SSL_new(t->ctx);

	*error = -ENOMEM;
	if (!ssl || !set_name(ssl, o->host)) {
		SSL_free(ssl);
		ERR_clear_error();
		return NULL;
	}
	SSL_set_app_data(ssl, o);
	if (s && !still_good(s->session)) {
		forget(t, s);
		s = NULL;
	}
	if (s)
		(void)SSL_set_session(ssl, s->session); /* else: a full handshake */
	SSL_set_connect_state(ssl);
	return ssl;
}

void tls_client_done(SSL *ssl)
{
	SSL_SESSION *session;

	/* OpenSSL doesn't call back for a ticket renewed while TLS 1.2 resumes. */
	if (SSL_is_server(ssl) || SSL_version(ssl) != TLS1_2_VERSION || !SSL_session_reused(ssl))
		return;
	session = SSL_get1_session(ssl);
	if (session && !on_session(ssl, session))
		SSL_SESSION_free(session);
}

void tls_client_failed(SSL *ssl)
{
	struct eg_tls_client *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	struct tls_origin *o = SSL_get_app_data(ssl);
	struct session *s;

	if (SSL_is_server(ssl) || !t || !o)
		return;
	s = find(t, o);
	if (s)
		forget(t, s);
}
