/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --metrics-token: who asks for the metrics page from another machine says `Authorization: Bearer
 * TOKEN` (RFC 6750, section 2.1). The supervisor reads the file; a gateway is told of the token's
 * SHA-256 alone, so that there is nothing to steal from it.
 */
#ifndef EGRET_AGENT_PAGE_TOKEN_H
#define EGRET_AGENT_PAGE_TOKEN_H

#include "base/base.h"
#include "base/error.h"

#define EG_PAGE_DIGEST 32 /* bytes */

/* White space around the token is not of it. -EINVAL: it is shorter than 16 bytes or not what fits
 * into a header; -ENOENT and others: the file can't be read. The sentence never has the token. */
int eg_page_token_read(const char *file, uint8_t digest[EG_PAGE_DIGEST],
		       struct eg_error *e) EG_MUST;
/* Whether the value of an Authorization field has the token; takes the same time for any other. */
bool eg_page_token_opens(const uint8_t digest[EG_PAGE_DIGEST], struct eg_str authorization);

#endif
