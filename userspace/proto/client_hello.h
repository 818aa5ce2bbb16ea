/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a TLS ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3) from the first bytes of a
 * connection, over as many records as it takes, without consuming anything. */
#ifndef EGRET_PROTO_CLIENT_HELLO_H
#define EGRET_PROTO_CLIENT_HELLO_H

#include "base/base.h"

/* The most bytes a ClientHello with its record headers may take before it is refused. */
#define EG_CLIENT_HELLO_MAX (64 * 1024)

struct eg_client_hello {
	char sni[256]; /* lower case, NUL-terminated, no trailing dot; "" when absent */
	bool has_sni;
	bool sni_invalid; /* not a valid DNS name (then sni is ""), or an address: see sni_is_ip */
	bool sni_is_ip;
	bool encrypted;	 /* encrypted_client_hello (GREASE has it too), or the ESNI draft */
	bool tls13;	 /* supported_versions offers 1.3 */
	bool resumption; /* pre_shared_key, a session ticket, or a legacy session id */
	bool alpn_h2, alpn_http11;
	uint16_t legacy_version;
};

/* EG_IO_DONE, EG_IO_AGAIN (call again with the same bytes and more), EG_IO_FAIL (not a ClientHello,
 * duplicate extensions, two names in SNI, lengths that disagree, over the maximum). A refusal comes
 * at the first byte that can't be right, and more bytes never change it. Linear time. *out is
 * zeroed unless it is DONE. */
enum eg_io eg_client_hello_parse(struct eg_str bytes, struct eg_client_hello *out);

#endif
