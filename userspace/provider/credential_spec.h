/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What policy says of a credential: where its secret lies and how it is written into a request.
 * Never the secret itself. Here, below both rooms, because policy makes it and credential uses it.
 */
#ifndef EGRET_PROVIDER_CREDENTIAL_SPEC_H
#define EGRET_PROVIDER_CREDENTIAL_SPEC_H

#include "base/base.h"

enum eg_credential_type {
	EG_CREDENTIAL_NONE,   /* nothing is added to the request */
	EG_CREDENTIAL_BEARER, /* Authorization: Bearer <secret> */
	EG_CREDENTIAL_HEADER, /* <header>: <secret> */
};

struct eg_credential_spec {
	const char *name;
	enum eg_credential_type type;
	const char *file;	     /* relative to --credentials-dir; never absolute, no "..";
				      * NULL for NONE */
	const char *header;	     /* HEADER: its name, lower case; else NULL */
	const char *owner_namespace; /* the one namespace it belongs to; NULL: shared */
	size_t index;		     /* 0.. within the policy set */
};

#endif
