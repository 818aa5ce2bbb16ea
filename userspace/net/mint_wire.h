/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between supervisor, signer and gateway: SOCK_SEQPACKET sockets, one message a packet, host byte
 * order (both ends are one binary on one machine).
 *
 *   supervisor -> signer, "control":  eg_mint_control + at most two descriptors (SCM_RIGHTS)
 *       EG_MINT_CA      fd 0: intermediate certificate (PEM), fd 1: its key (PEM); memfds
 *       EG_MINT_NAMES   fd 0: governed names, one a line ("api.openai.com", "*.openai.azure.com")
 *       EG_MINT_CLIENT  fd 0: the signer's end of a worker's socket
 *       EG_MINT_PING    no descriptor: proves that the signer's one loop turns; answered with what
 *                       keeps it from signing (-ENOKEY: it has no CA; -EKEYEXPIRED), or 0
 *     each is answered by one eg_mint_control_reply, in order. A CA or a list of names that is not
 *     good is refused whole, and the former one stays; -EKEYEXPIRED: a CA that is not valid now,
 *     while the former one is.
 *   gateway worker -> signer, "client":  eg_mint_request + name + SubjectPublicKeyInfo
 *     answered by eg_mint_reply + leaf DER + intermediate DER. Requests may come more than once
 *     (a worker asks again when no answer came); ids are the worker's own, and never 0.
 *   signer -> gateway worker: eg_mint_reply with id 0, without a leaf, + intermediate DER: to each
 *     worker that comes, and to all when there is another intermediate.
 *
 * The supervisor keeps the signer's ends of the workers' socketpairs. When a signer dies it starts
 * another and sends CA, NAMES and every CLIENT again: workers see nothing of it but a delay. It
 * closes them when their gateway ends, so that the signer sees it too.
 */
#ifndef EGRET_NET_MINT_WIRE_H
#define EGRET_NET_MINT_WIRE_H

#include "base/base.h"
#include "base/error.h"

#define EG_MINT_MESSAGE_MAX (64u << 10)
#define EG_MINT_KEY_MAX	    128u
#define EG_MINT_CLIENTS_MAX 64u	       /* at one time: workers of two gateways */
#define EG_MINT_NAMES_BYTES (4u << 20) /* of two sets, each with as many as it may have */

enum eg_mint_control_type {
	EG_MINT_CA = 1,
	EG_MINT_NAMES = 2,
	EG_MINT_CLIENT = 3,
	EG_MINT_PING = 4
};

struct eg_mint_control {
	uint32_t type; /* enum eg_mint_control_type */
	uint32_t sequence;
};

struct eg_mint_control_reply {
	uint32_t type;
	uint32_t sequence;
	int32_t error;	/* 0 or -errno */
	char text[508]; /* the sentence for the log when it failed; NUL-terminated */
};

struct eg_mint_request {
	uint32_t id;
	uint16_t name_bytes; /* <= 255 */
	uint16_t key_bytes;  /* <= EG_MINT_KEY_MAX */
};

struct eg_mint_reply {
	uint32_t id;   /* 0: nobody asked, there is another intermediate */
	int32_t error; /* as eg_signer_sign(); -ENOKEY: the signer has no CA yet */
	uint16_t leaf_bytes;
	uint16_t chain_bytes;
	uint32_t pad;
};

_Static_assert(sizeof(struct eg_mint_control) == 8, "wire");
_Static_assert(sizeof(struct eg_mint_control_reply) == 520, "wire");
_Static_assert(sizeof(struct eg_mint_request) == 8, "wire");
_Static_assert(sizeof(struct eg_mint_reply) == 16, "wire");

/*
 * The supervisor's half. Descriptors stay the caller's. Each sends one message without blocking and
 * returns 0 or -errno (-EAGAIN: the signer is behind; -EPIPE: it is gone); the answer comes later.
 */
int eg_mint_control_ca(int control_fd, uint32_t sequence, int cert_fd, int key_fd) EG_MUST;
int eg_mint_control_names(int control_fd, uint32_t sequence, const char *const *names,
			  size_t count) EG_MUST;
int eg_mint_control_client(int control_fd, uint32_t sequence, int client_fd) EG_MUST;
int eg_mint_control_ping(int control_fd, uint32_t sequence) EG_MUST;
/* One answer: 0, -EAGAIN when none is there, -EPIPE when the signer is gone, -EPROTO. */
int eg_mint_control_receive(int control_fd, struct eg_mint_control_reply *out) EG_MUST;
/* Waits up to timeout_ms for the answer to `sequence` (others before it are dropped): what it said,
 * with its sentence in *e, or -ETIMEDOUT, -EPIPE. Blocks: for starting up and for tests. */
int eg_mint_control_wait(int control_fd, uint32_t sequence, int timeout_ms,
			 struct eg_error *e) EG_MUST;

#endif
