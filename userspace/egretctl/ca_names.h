/* SPDX-License-Identifier: Apache-2.0 */
/* The DNS names that the node's intermediate certificate permits (RFC 5280 section 4.2.1.10). */
#ifndef EGRET_EGRETCTL_CA_NAMES_H
#define EGRET_EGRETCTL_CA_NAMES_H

#include "base/base.h"
#include "base/error.h"

struct ca_names {
	void *constraints; /* NAME_CONSTRAINTS */
};

/* Reads <dir>/intermediate.crt (PEM). 0 or -errno with *e. */
int ca_names_read(const char *dir, struct ca_names *out, struct eg_error *e) EG_MUST;
void ca_names_fini(struct ca_names *n);
/* "api.openai.com" or "*.example.com" (which needs example.com to be permitted). */
bool ca_names_permit(const struct ca_names *n, const char *name);

#endif
