/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS settings shared by streams (OpenSSL 3, TLS 1.2 and 1.3). A server or client object belongs to
 * one worker; leaves and trust stores may be shared by all (immutable, atomic reference counts).
 */
#ifndef EGRET_NET_TLS_H
#define EGRET_NET_TLS_H

#include "base/base.h"
#include "base/error.h"

struct eg_tls_server;
struct eg_tls_client;
struct eg_leaf;

/* Before anything else of OpenSSL's in this process: each thread keeps a few of its record buffers
 * for the next use (until the process ends). False: it does not, which changes nothing else. */
bool eg_tls_memory_keep(void);

/* ---- towards the pod ---- */
/*
 * Session tickets are keyed by keys that rotate hourly and carry no identity; a session resumed
 * under another server name than the peeked one is refused to resume (full handshake). ALPN:
 * h2, then http/1.1, then http/1.0. One ticket a handshake.
 */
struct eg_tls_server *eg_tls_server_create(struct eg_error *e) EG_MUST;
void eg_tls_server_destroy(struct eg_tls_server *s);
/* The same keys in every worker: 80 bytes random, from the owner; call at start and each hour. The
 * former key still opens tickets. Bytes are copied and wiped when replaced. */
int eg_tls_server_ticket_key(struct eg_tls_server *s, const unsigned char key[80]) EG_MUST;

/* A leaf certificate with its chain and key, parsed once. */
struct eg_leaf *eg_leaf_ref(struct eg_leaf *l);
void eg_leaf_unref(struct eg_leaf *l);
const char *eg_leaf_name(const struct eg_leaf *l);
/* Wall time in seconds at which it should be minted anew (before its notAfter). */
int64_t eg_leaf_renew_at(const struct eg_leaf *l);

/* From PEM (leaf first, then its chain) and its key; NULL with *e. Minted ones come from mint.h. */
struct eg_leaf *eg_leaf_create_pem(const char *name, struct eg_str chain_pem, struct eg_str key_pem,
				   struct eg_error *e) EG_MUST;

/* ---- towards the provider ---- */
/* Trust roots, parsed once: PEM bundle bytes (system roots or a ca_file). NULL with *e. */
struct eg_trust;
struct eg_trust *eg_trust_create(struct eg_str pem, struct eg_error *e) EG_MUST;
struct eg_trust *eg_trust_ref(struct eg_trust *t);
void eg_trust_unref(struct eg_trust *t);
/* Made of the same text. */
bool eg_trust_same(const struct eg_trust *a, const struct eg_trust *b);
/* Reads a provider's ca_file below `dir_fd` (base/files.h; at most 1 MiB) and makes sure that it
 * has roots: those who check and those who send agree. The caller frees *pem, also after an error.
 * -ENODATA: empty; -EINVAL: it has none; otherwise as eg_file_read(). */
int eg_trust_read(int dir_fd, const char *path, char **pem, size_t *n, struct eg_error *e) EG_MUST;
/* Verifies always (chain, name, time); ALPN http/1.1, or what a stream
 * offers beside it (eg_stream_offer_http2); keeps at most one session an origin to
 * resume. */
struct eg_tls_client *eg_tls_client_create(struct eg_trust *trust, struct eg_error *e) EG_MUST;
void eg_tls_client_destroy(struct eg_tls_client *c);

#endif
