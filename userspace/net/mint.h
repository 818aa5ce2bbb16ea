/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gateway's half of minting: a cache of leaves by server name, one a worker, filled by asking
 * the signer process over a SOCK_SEQPACKET socket (wire form in mint_wire.h). One key pair (P-256)
 * of the worker serves all its leaves and is renewed daily. Belongs to one loop and its thread.
 *
 * A leaf is minted anew in the background when it is asked for near its end, or after the
 * intermediate changed; until then the one that is there serves. A signer that dies and comes back
 * on the same socket costs a delay: what was not answered is asked again each second.
 */
#ifndef EGRET_NET_MINT_H
#define EGRET_NET_MINT_H

#include "base/base.h"
#include "base/error.h"
#include "loop/loop.h"
#include "net/tls.h"

/* Leaves that are kept unless said otherwise; each is some 6 KiB. */
#define EG_MINT_LEAVES 4096u

struct eg_mint;
struct eg_mint_wait {
	/* leaf (a reference for the callee to keep) or NULL with a reason (CA_NAME, NO_LEAF,
	 * INTERNAL). */
	void (*done)(struct eg_mint_wait *w, struct eg_leaf *leaf, enum eg_reason reason);
	struct eg_list link; /* internal */
};

/* `signer_fd` is taken, on failure too; it is made non-blocking. `chain_pem`: the intermediate's
 * certificate, sent after the leaf; the signer's answers bring later ones. */
struct eg_mint *eg_mint_create(struct eg_loop *l, int signer_fd, struct eg_str chain_pem,
			       struct eg_error *e) EG_MUST;
/* At most so many are kept (1 or more): the one that was not used for longest goes. */
void eg_mint_set_room(struct eg_mint *m, size_t leaves);
/* Waits that are open are forgotten, their `done` is not called. */
void eg_mint_destroy(struct eg_mint *m);
/* Cached: returns the leaf (a reference) at once. Else NULL, and w->done is called later, from the
 * loop; a second wait for the same name joins the first. At most 8 s, then EG_REASON_NO_LEAF.
 * EG_REASON_CA_NAME: the signer refuses the name. Names are compared without case. */
struct eg_leaf *eg_mint_get(struct eg_mint *m, const char *name, struct eg_mint_wait *w);
/* Forgets a wait (the connection is gone). Harmless when `done` was called. */
void eg_mint_cancel(struct eg_mint *m, struct eg_mint_wait *w);
/* Another socket to the signer, when the former one broke: taken; what is open is asked again. */
int eg_mint_signer(struct eg_mint *m, int signer_fd) EG_MUST;

/* The signer process: answers on every descriptor until all are closed (`control_fd` is taken).
 * Never returns on error without a reason logged. The control descriptor brings the CA, the
 * governed names and the workers' sockets; see mint_wire.h. The caller made the process
 * non-dumpable and closed what it doesn't need. Returns an exit code. */
int eg_mint_serve(int control_fd);

#endif
