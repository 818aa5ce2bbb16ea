/* SPDX-License-Identifier: Apache-2.0 */
/* What a TLS connection becomes, by its ClientHello and the pod's policy: terminated, passed
 * through or refused. */
#include <string.h>

#include "front/connection_impl.h"

#define FREE_HELLO 4096u /* of a ClientHello that is not complete */

static enum eg_reason judge_hello(const struct connection *c, enum eg_io parsed,
				  const struct eg_client_hello *h, enum eg_name_verdict v)
{
	if (parsed == EG_IO_FAIL)
		return EG_REASON_BAD_CLIENT_HELLO;
	if (h->sni_is_ip)
		return EG_REASON_IP_LITERAL;
	if (h->sni_invalid)
		return EG_REASON_BAD_CLIENT_HELLO;
	if (h->encrypted && v == EG_NAME_UNGOVERNED)
		return EG_REASON_ECH;
	if (!h->has_sni)
		return EG_REASON_NO_SNI;
	if (v == EG_NAME_UNGOVERNED &&
	    eg_policy_fronts(eg_snapshot_policies(c->worker->engine.snapshot), eg_str_from(h->sni)))
		return EG_REASON_DOMAIN_FRONTING;
	return EG_REASON_OK;
}

/* A policy in shadow mode that looks at names only: what would have been, and on it goes. */
static void shadow_name(struct connection *c, enum eg_reason bad, enum eg_name_verdict v,
			bool otherwise_pass)
{
	if (bad != EG_REASON_OK)
		connection_pass_through(c, bad);
	else if (v == EG_NAME_OTHERWISE && !otherwise_pass)
		connection_pass_through(c, EG_REASON_NO_ROUTE);
	else
		connection_pass_through(c, v == EG_NAME_ROUTED ? EG_REASON_OK
							       : EG_REASON_PASS_THROUGH);
}

static void decide(struct connection *c, const struct eg_pod_view *pod, enum eg_io parsed,
		   const struct eg_client_hello *h)
{
	const struct eg_policy *p = pod->policy;
	enum eg_name_verdict v = EG_NAME_UNGOVERNED;
	enum eg_reason bad;

	if (!p) {
		connection_pass_through(c, EG_REASON_PASS_UNGOVERNED);
		return;
	}
	if (parsed == EG_IO_DONE && h->has_sni)
		v = eg_policy_name(eg_snapshot_policies(c->worker->engine.snapshot), p,
				   eg_str_from(h->sni));
	bad = judge_hello(c, parsed, h, v);
	c->shadow = p->mode != EG_MODE_ENFORCE;
	if (p->mode == EG_MODE_SHADOW_SNI ||
	    (p->mode == EG_MODE_SHADOW_FULL && bad != EG_REASON_OK)) {
		shadow_name(c, bad, v, p->otherwise_pass);
		return;
	}
	if (bad != EG_REASON_OK)
		connection_deny(c, bad, NULL);
	else if (v == EG_NAME_UNGOVERNED || (v == EG_NAME_OTHERWISE && p->otherwise_pass))
		connection_pass_through(c, EG_REASON_PASS_THROUGH);
	else
		connection_terminate(c);
}

void connection_peek(struct connection *c)
{
	struct eg_snapshot *s = c->worker->engine.snapshot;
	const struct eg_pod_view *pod = eg_snapshot_pod(s, &c->peer.source.address);
	struct eg_client_hello hello = {.sni = ""};
	struct eg_str bytes;
	enum eg_io r = eg_stream_peek(c->stream, CONNECTION_PEEK_MAX, &bytes);

	if (r == EG_IO_AGAIN)
		return;
	if (r != EG_IO_DONE) {
		/* Came and went without a ClientHello: a probe, or a client that gave up. */
		connection_deny(c, EG_REASON_BAD_CLIENT_HELLO,
				"the client closed before its ClientHello was complete");
		return;
	}
	r = eg_client_hello_parse(bytes, &hello);
	if (r == EG_IO_AGAIN && bytes.n < CONNECTION_PEEK_MAX) {
		/* Half a hello is held like half a head; what an ordinary one needs is free. */
		enum eg_reason full =
			eg_account_hold(&c->worker->engine, c->peer.account, &c->charged,
					bytes.n > FREE_HELLO ? 2 * bytes.n : 0);

		if (full != EG_REASON_OK)
			connection_deny(c, full, NULL);
		return;
	}
	(void)eg_account_hold(&c->worker->engine, c->peer.account, &c->charged, 0);
	if (r != EG_IO_DONE)
		r = EG_IO_FAIL;
	if (!pod || pod->held) {
		connection_deny(c, EG_REASON_UNKNOWN_POD, NULL);
		return;
	}
	if (r == EG_IO_DONE && hello.has_sni) {
		c->server_name = strdup(hello.sni);
		c->peer.server_name = c->server_name;
		if (!c->server_name) {
			connection_deny(c, EG_REASON_OVERLOADED, NULL);
			return;
		}
	}
	decide(c, pod, r, &hello);
}
