/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gateway's half of minting: a cache of leaves by server name, one a worker, filled by asking
 * the signer process over a SOCK_SEQPACKET socket (wire form in mint_wire.h). One key pair (P-256)
 * of the process serves all leaves and is renewed daily.
 */
#ifndef EGRET_NET_MINT_H
#define EGRET_NET_MINT_H

#include "base/base.h"
#include "base/error.h"
#include "loop/loop.h"
#include "net/tls.h"

struct eg_mint;
struct eg_mint_wait {
	/* leaf (a reference for the callee to keep) or NULL with a reason (CA_NAME, INTERNAL). */
	void (*done)(struct eg_mint_wait *w, struct eg_leaf *leaf, enum eg_reason reason);
	struct eg_list link; /* internal */
};

/* `signer_fd` is taken. `chain_pem`: the intermediate's certificate, sent after the leaf. */
struct eg_mint *eg_mint_create(struct eg_loop *l, int signer_fd, struct eg_str chain_pem,
			       struct eg_error *e) EG_MUST;
void eg_mint_destroy(struct eg_mint *m);
/* Cached: returns the leaf (a reference) at once. Else NULL, and w->done is called later; a second
 * wait for the same name joins the first. At most 10 s, then EG_REASON_INTERNAL. */
struct eg_leaf *eg_mint_get(struct eg_mint *m, const char *name, struct eg_mint_wait *w);
/* Forgets a wait (the connection is gone). */
void eg_mint_cancel(struct eg_mint *m, struct eg_mint_wait *w);

/* The signer process: answers on every descriptor until all are closed. Never returns on error
 * without a reason logged. The control descriptor may bring new names and certificates; see
 * mint_wire.h. Returns an exit code. */
int eg_mint_serve(int control_fd);

#endif
