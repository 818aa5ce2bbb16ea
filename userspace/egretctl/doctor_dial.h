/* SPDX-License-Identifier: Apache-2.0 */
/* One request to the gateway's address, as a pod would make it, and what came of it. */
#ifndef EGRET_EGRETCTL_DOCTOR_DIAL_H
#define EGRET_EGRETCTL_DOCTOR_DIAL_H

#include "base/base.h"
#include "egret/abi/maps.h"

/* For connecting, asking and reading the answer together: a SYN that is lost while an agent is
 * replaced is sent again after 1 s and 3 s. */
#define DOCTOR_DIAL_MS 5000

enum doctor_dial_end {
	DOCTOR_DIAL_EGRET,    /* Egret answered */
	DOCTOR_DIAL_OTHER,    /* HTTP, of somebody else */
	DOCTOR_DIAL_NO_HTTP,  /* bytes that are no HTTP */
	DOCTOR_DIAL_CLOSED,   /* connected, and closed without an answer */
	DOCTOR_DIAL_SILENT,   /* connected, and nothing came */
	DOCTOR_DIAL_RESET,    /* connected, and reset */
	DOCTOR_DIAL_REFUSED,  /* reset at once */
	DOCTOR_DIAL_LOST,     /* no answer to the SYN */
	DOCTOR_DIAL_NO_WAY,   /* no route, or nobody on the link has the address: see error */
	DOCTOR_DIAL_ELSEWHERE /* `from` is no address of this namespace */
};

struct doctor_dial {
	enum doctor_dial_end end;
	int error;	       /* NO_WAY: errno */
	unsigned int status;   /* EGRET, OTHER */
	enum eg_reason reason; /* EGRET */
	unsigned int ms;
	__be16 port_be; /* our own */
};

/* In the calling thread's namespace, within DOCTOR_DIAL_MS. No socket is left behind. */
void doctor_dial(const struct eg_address *from, const struct eg_address *to,
		 struct doctor_dial *out);

#endif
