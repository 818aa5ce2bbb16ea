/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of content codings (RFC 9110 sections 8.4 and 12.5.3): what a Content-Encoding says, and
 * what of an Accept-Encoding is asked for when the agent has to read the answer. No allocation.
 */
#ifndef EGRET_PROTO_CODING_H
#define EGRET_PROTO_CODING_H

#include "base/base.h"
#include "base/buf.h"

enum eg_coding {
	EG_CODING_IDENTITY,
	EG_CODING_GZIP,	   /* also "x-gzip" */
	EG_CODING_DEFLATE, /* zlib's framing, as the RFC says; raw deflate is not read */
	EG_CODING_BR,
	EG_CODING_ZSTD,
	EG_CODING_OTHER, /* one that is not read here, or several over one another */
};

/* What is read here, as an answer to a body that is not. */
#define EG_CODINGS_READ "gzip, br, zstd, deflate"

/* One field's value; empty: identity. */
enum eg_coding eg_coding_parse(struct eg_str value);
/* Of two fields of one head: they are one list. */
enum eg_coding eg_coding_join(enum eg_coding a, enum eg_coding b);

/*
 * Appends what may be asked of a provider: those codings of the client's `accept` (one field's
 * value, or several joined by commas) that are read here, with the client's weights, in its order;
 * "identity" if there are none. "deflate" is never asked for: servers disagree about its framing.
 * 0 or -errno.
 */
int eg_coding_write_accept(struct eg_buf *out, struct eg_str accept) EG_MUST;

#endif
