/* SPDX-License-Identifier: Apache-2.0 */
#include "front/connection_impl.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/state.h"

#define HTTP_PORT 80
#define WAITING_BYTES                                                               \
	8192u /* of who waits for its handshake: the connection and its ClientHello \
	       */

static const uint32_t successors[] = {
	[CONNECTION_PEEK] = EG_TO(CONNECTION_MINT) | EG_TO(CONNECTION_TURN) |
			    EG_TO(CONNECTION_HANDSHAKE) | EG_TO(CONNECTION_PREFACE) |
			    EG_TO(CONNECTION_DIAL) | EG_TO(CONNECTION_CLOSED),
	[CONNECTION_MINT] =
		EG_TO(CONNECTION_TURN) | EG_TO(CONNECTION_HANDSHAKE) | EG_TO(CONNECTION_CLOSED),
	[CONNECTION_TURN] = EG_TO(CONNECTION_HANDSHAKE) | EG_TO(CONNECTION_CLOSED),
	[CONNECTION_HANDSHAKE] = EG_TO(CONNECTION_HTTP) | EG_TO(CONNECTION_CLOSED),
	[CONNECTION_PREFACE] = EG_TO(CONNECTION_HTTP) | EG_TO(CONNECTION_CLOSED),
	[CONNECTION_HTTP] = EG_TO(CONNECTION_CLOSED),
	[CONNECTION_DIAL] = EG_TO(CONNECTION_RELAY) | EG_TO(CONNECTION_CLOSED),
	[CONNECTION_RELAY] = EG_TO(CONNECTION_CLOSED),
	[CONNECTION_CLOSED] = 0,
};

void connection_set_state(struct connection *c, enum connection_state to)
{
	eg_state_check("connection", successors, c->state, to);
	c->state = to;
}

void connection_count_up(struct connection *c, enum eg_count what, uint64_t n)
{
	eg_telemetry_count(c->worker->telemetry, what, n);
}

/* ---- the end ---- */

static void bury(struct eg_defer *d)
{
	struct connection *c = eg_container_of(d, struct connection, bury);

	free(c->http);
	free(c->http2);
	free(c->relay);
	free(c->pod_uid);
	free(c->server_name);
	free(c);
}

static void close_stream(struct eg_stream **s, bool reset)
{
	if (!*s)
		return;
	if (reset)
		eg_stream_reset(*s);
	else
		eg_stream_destroy(*s);
	*s = NULL;
}

void connection_close(struct connection *c, bool reset, enum eg_reason reason)
{
	struct eg_worker *w = c->worker;

	if (c->state == CONNECTION_CLOSED)
		return;
	connection_set_state(c, CONNECTION_CLOSED);
	eg_timer_cancel(w->loop, &c->timer);
	eg_mint_cancel(w->mint, &c->mint);
	eg_list_remove(&c->turn.link);
	if (c->http)
		h1_server_fini(c->http, reason);
	if (c->http2)
		h2_server_fini(c->http2, reason);
	if (c->relay)
		relay_fini(c->relay, reset);
	close_stream(&c->onward, true);
	close_stream(&c->stream, reset);
	eg_leaf_unref(c->leaf);
	c->leaf = NULL;
	(void)eg_account_descriptors(&w->engine, c->peer.account, &c->descriptors, 0);
	(void)eg_account_hold(&w->engine, c->peer.account, &c->charged, 0);
	(void)eg_account_hold(&w->engine, c->peer.account, &c->unread, 0);
	eg_account_release(&w->engine, c->peer.account);
	eg_list_remove(&c->link);
	w->connection_count--;
	eg_telemetry_gauge(w->telemetry, EG_GAUGE_CLIENT_CONNECTIONS, -1);
	eg_loop_defer(w->loop, &c->bury);
}

void connection_record(struct connection *c, enum eg_reason reason, const char *detail)
{
	uint64_t in = c->relay ? c->relay->way[0].bytes : 0;
	uint64_t out = c->relay ? c->relay->way[1].bytes : 0;

	eg_exchange_connection_record(&c->worker->engine, &c->peer,
				      c->server_name ? c->server_name : "", reason, detail,
				      c->began_ms, in, out, c->shadow);
}

void connection_deny(struct connection *c, enum eg_reason reason, const char *detail)
{
	connection_record(c, reason, detail);
	connection_close(c, true, reason);
}

/* ---- what the pod does not read ---- */

/* Behind whatever wrote. */
static void end_excess(struct eg_defer *d)
{
	struct connection *c = eg_container_of(d, struct connection, excess);
	enum eg_reason reason = eg_account_excess(&c->worker->engine, c->peer.account);

	if (c->state != CONNECTION_CLOSED && c->unread && reason != EG_REASON_OK)
		connection_deny(c, reason, "its pod does not read, and holds too much already");
}

static void on_held(void *ctx, size_t bytes)
{
	struct connection *c = ctx;
	bool more = bytes > c->unread;

	if (c->state == CONNECTION_CLOSED)
		return;
	eg_account_charge(&c->worker->engine, c->peer.account, &c->unread, bytes);
	if (more && eg_account_excess(&c->worker->engine, c->peer.account) != EG_REASON_OK)
		eg_loop_defer(c->worker->loop, &c->excess);
}

enum eg_reason connection_more_descriptors(struct connection *c, size_t n)
{
	return eg_account_descriptors(&c->worker->engine, c->peer.account, &c->descriptors,
				      c->descriptors + n);
}

/* ---- HTTP ---- */

/* One that never had a request is on record as a connection. */
static void record_unused(struct connection *c, enum eg_reason reason)
{
	bool used = c->http && c->http->requests;

	if (c->http2) /* what it was broken off for is on record already */
		used = c->http2->requests || c->http2->violated;
	if (!used)
		connection_record(c, reason, "no request came");
}

static void http_over(void *ctx, bool reset)
{
	struct connection *c = ctx;
	bool client = reset || (c->http2 ? c->http2->eof : c->http->eof);
	enum eg_reason reason = client			     ? EG_REASON_CLIENT_CLOSED
				: c->worker->engine.draining ? EG_REASON_DRAINING
							     : EG_REASON_REQUEST_TIMEOUT;

	record_unused(c, reason);
	connection_close(c, reset, EG_REASON_CLIENT_CLOSED);
}

static void begin_http1(struct connection *c)
{
	c->http = calloc(1, sizeof(*c->http));
	if (!c->http) {
		connection_deny(c, EG_REASON_OVERLOADED, NULL);
		return;
	}
	connection_set_state(c, CONNECTION_HTTP);
	h1_server_init(c->http, &c->worker->engine, &c->peer, http_over, c);
	h1_server_begin(c->http, c->stream);
}

static void begin_http2(struct connection *c)
{
	c->http2 = calloc(1, sizeof(*c->http2));
	if (!c->http2) {
		connection_deny(c, EG_REASON_OVERLOADED, NULL);
		return;
	}
	connection_set_state(c, CONNECTION_HTTP);
	h2_server_init(c->http2, &c->worker->engine, &c->peer, http_over, c);
	if (h2_server_begin(c->http2, c->stream))
		connection_deny(c, EG_REASON_OVERLOADED, NULL);
}

static void begin_http(struct connection *c, bool http2)
{
	eg_timer_cancel(c->worker->loop, &c->timer);
	if (http2)
		begin_http2(c);
	else
		begin_http1(c);
}

/* Without TLS there is no ALPN: who knows beforehand that we speak HTTP/2 just begins (RFC 9113
 * section 3.3). No HTTP/1.1 request looks like it. */
static void peek_preface(struct connection *c)
{
	struct eg_str preface = H2_PREFACE, bytes;
	enum eg_io r = eg_stream_peek(c->stream, preface.n, &bytes);
	size_t n = EG_MIN(bytes.n, preface.n);

	if (r == EG_IO_AGAIN)
		return;
	if (!bytes.n) { /* it came and went */
		record_unused(c, EG_REASON_CLIENT_CLOSED);
		connection_close(c, r == EG_IO_FAIL, EG_REASON_CLIENT_CLOSED);
	} else if (n == preface.n || memcmp(bytes.p, preface.p, n) || r != EG_IO_DONE) {
		begin_http(c, !memcmp(bytes.p, preface.p, n) && n == preface.n);
	}
}

/* Nothing within the time, or part of a preface: the HTTP/1.1 server says what is to be said. */
static void preface_timeout(struct connection *c)
{
	struct eg_str bytes;

	(void)eg_stream_peek(c->stream, H2_PREFACE.n, &bytes);
	if (bytes.n) {
		begin_http(c, false);
	} else {
		record_unused(c, EG_REASON_REQUEST_TIMEOUT);
		connection_close(c, false, EG_REASON_REQUEST_TIMEOUT);
	}
}

static void begin_plain(struct connection *c)
{
	connection_set_state(c, CONNECTION_PREFACE);
	eg_stream_want(c->stream, true, false);
	if (eg_timer_set(c->worker->loop, &c->timer, c->worker->engine.limits.head_ms))
		connection_deny(c, EG_REASON_OVERLOADED, NULL);
}

/* ---- TLS ---- */

void connection_handshake(struct connection *c)
{
	connection_set_state(c, CONNECTION_HANDSHAKE);
	if (c->charged)
		(void)eg_account_hold(&c->worker->engine, c->peer.account, &c->charged, 0);
	if (eg_stream_tls_accept(c->stream, c->worker->tls, c->leaf, c->server_name))
		connection_deny(c, EG_REASON_INTERNAL, "TLS could not be begun");
}

static void begin_handshake(struct connection *c)
{
	enum eg_reason full;

	if (!handshake_waits(c)) {
		connection_handshake(c);
		return;
	}
	connection_set_state(c, CONNECTION_TURN);
	full = eg_account_hold(&c->worker->engine, c->peer.account, &c->charged, WAITING_BYTES);
	if (full != EG_REASON_OK)
		connection_deny(c, full, NULL);
}

static void on_minted(struct eg_mint_wait *m, struct eg_leaf *leaf, enum eg_reason reason)
{
	struct connection *c = eg_container_of(m, struct connection, mint);

	if (!leaf) {
		connection_deny(c, reason, NULL);
		return;
	}
	connection_count_up(c, EG_COUNT_LEAVES_MINTED, 1);
	c->leaf = leaf;
	begin_handshake(c);
}

void connection_terminate(struct connection *c)
{
	eg_stream_want(c->stream, false, false);
	c->mint.done = on_minted;
	c->leaf = eg_mint_get(c->worker->mint, c->server_name, &c->mint);
	if (c->leaf)
		begin_handshake(c);
	else if (c->state == CONNECTION_PEEK)
		connection_set_state(c, CONNECTION_MINT);
}

static void handshake_failed(struct connection *c)
{
	const struct eg_stream_failure *f = eg_stream_failure(c->stream);

	connection_count_up(c, EG_COUNT_HANDSHAKES_FAILED, 1);
	if (f->peer_rejected_ca)
		connection_count_up(c, EG_COUNT_CA_REJECTED, 1);
	connection_deny(c,
			f->peer_rejected_ca ? EG_REASON_CLIENT_REJECTED_CA : EG_REASON_CLIENT_TLS,
			f->text);
}

static void handshake_done(struct connection *c)
{
	connection_count_up(c, EG_COUNT_HANDSHAKES, 1);
	if (eg_stream_resumed(c->stream))
		connection_count_up(c, EG_COUNT_HANDSHAKES_RESUMED, 1);
	eg_leaf_unref(c->leaf);
	c->leaf = NULL;
	begin_http(c, eg_str_eq(eg_stream_alpn(c->stream), EG_STR("h2")));
}

/* ---- events ---- */

static void on_event(struct eg_stream *s, unsigned int events, void *ctx)
{
	struct connection *c = ctx;

	(void)s;
	switch (c->state) {
	case CONNECTION_PEEK:
		connection_peek(c);
		break;
	case CONNECTION_PREFACE:
		peek_preface(c);
		break;
	case CONNECTION_HANDSHAKE:
		if (events & EG_STREAM_FAILED)
			handshake_failed(c);
		else if (events & EG_STREAM_CONNECTED)
			handshake_done(c);
		break;
	case CONNECTION_MINT:
	case CONNECTION_TURN:
	case CONNECTION_DIAL:
		/* Nothing is read now; a failure means the pod is gone. */
		if (events & EG_STREAM_FAILED)
			connection_deny(c, EG_REASON_CLIENT_CLOSED, NULL);
		break;
	case CONNECTION_HTTP:
	case CONNECTION_RELAY:
	case CONNECTION_CLOSED:
		break;
	}
}

static const struct eg_stream_handler handler = {on_event};

static void on_timer(struct eg_timer *t)
{
	struct connection *c = eg_container_of(t, struct connection, timer);

	if (c->state == CONNECTION_DIAL) {
		connection_deny(c, EG_REASON_PASS_THROUGH_FAILED, "timed out");
		return;
	}
	if (c->state == CONNECTION_PREFACE) {
		preface_timeout(c);
		return;
	}
	if (c->state == CONNECTION_TURN) {
		connection_deny(c, EG_REASON_OVERLOADED,
				"handshakes that came before took too long");
		return;
	}
	if (c->state == CONNECTION_HANDSHAKE)
		connection_count_up(c, EG_COUNT_HANDSHAKES_FAILED, 1);
	connection_deny(c,
			c->state == CONNECTION_PEEK   ? EG_REASON_BAD_CLIENT_HELLO
			: c->state == CONNECTION_MINT ? EG_REASON_INTERNAL
						      : EG_REASON_CLIENT_TLS,
			"timed out");
}

/* ---- the beginning ---- */

static bool is_gateway(const struct eg_worker *w, const struct eg_address *a)
{
	for (size_t i = 0; i < w->gateway_count; i++)
		if (!memcmp(&w->gateway[i], a, sizeof(*a)))
			return true;
	return false;
}

/* OK, or why the connection is one too many. */
static enum eg_reason admit(struct connection *c, const struct eg_pod_view *pod)
{
	struct eg_worker *w = c->worker;

	if (pod) {
		c->pod_uid = strdup(pod->identity.uid);
		c->peer.pod_uid = c->pod_uid;
		c->peer.account = eg_account_acquire(&w->engine, pod->pod_id);
		if (!c->pod_uid || !c->peer.account)
			return EG_REASON_OVERLOADED;
	}
	return connection_more_descriptors(c, 1);
}

static void begin(struct connection *c)
{
	struct eg_worker *w = c->worker;
	const struct eg_pod_view *pod =
		eg_snapshot_pod(w->engine.snapshot, &c->peer.source.address);
	enum eg_reason r = admit(c, pod);
	bool names_only =
		pod && !pod->held && (!pod->policy || pod->policy->mode == EG_MODE_SHADOW_SNI);

	c->peer.gateway = is_gateway(w, &c->peer.destination.address);
	if (r != EG_REASON_OK) {
		connection_deny(c, r, NULL);
		return;
	}
	if (c->peer.gateway || c->peer.destination.port == HTTP_PORT) {
		c->shadow = pod && pod->policy && pod->policy->mode != EG_MODE_ENFORCE;
		if (names_only && !c->peer.gateway)
			connection_pass_through(c, pod->policy ? EG_REASON_SHADOW
							       : EG_REASON_PASS_UNGOVERNED);
		else
			begin_plain(c);
		return;
	}
	eg_stream_want(c->stream, true, false);
	if (eg_timer_set(w->loop, &c->timer, w->engine.limits.handshake_ms))
		connection_deny(c, EG_REASON_OVERLOADED, NULL);
}

void connection_open(struct eg_worker *w, int fd)
{
	struct connection *c = calloc(1, sizeof(*c));

	if (!c || !(c->stream = eg_stream_accept(w->loop, fd, &handler, c))) {
		close(fd);
		free(c);
		return;
	}
	c->worker = w;
	c->began_ms = eg_loop_now_ms(w->loop);
	c->bury.run = bury;
	c->excess.run = end_excess;
	eg_list_init(&c->mint.link);
	eg_list_init(&c->turn.link);
	eg_timer_init(&c->timer, on_timer);
	eg_list_append(&w->connections, &c->link);
	w->connection_count++;
	eg_telemetry_gauge(w->telemetry, EG_GAUGE_CLIENT_CONNECTIONS, 1);
	connection_count_up(c, EG_COUNT_CONNECTIONS, 1);
	if (eg_stream_peer(c->stream, &c->peer.source) ||
	    eg_stream_local(c->stream, &c->peer.destination)) {
		connection_close(c, true, EG_REASON_CLIENT_CLOSED); /* gone already */
		return;
	}
	eg_stream_on_held(c->stream, on_held, c);
	begin(c);
}

/* Plain, and not a byte has come. */
static bool silent(struct connection *c)
{
	struct eg_str bytes;

	(void)eg_stream_peek(c->stream, H2_PREFACE.n, &bytes);
	return !bytes.n;
}

static bool idle(struct connection *c, uint64_t quiet_ms)
{
	if (c->state == CONNECTION_PREFACE) {
		if (eg_loop_now_ms(c->worker->loop) - c->began_ms < quiet_ms || !silent(c))
			return false;
	} else if (!c->http || !h1_server_idle(c->http, quiet_ms)) {
		return false;
	}
	/* What came and was not read yet is a request: to close now would throw it away. */
	return eg_stream_reusable(c->stream);
}

void connections_drain(struct eg_worker *w, uint64_t quiet_ms, bool gently)
{
	struct eg_list *it, *next;

	eg_list_for_each_safe (it, next, &w->connections) {
		struct connection *c = eg_container_of(it, struct connection, link);

		if (c->http2 && gently) {
			h2_server_end_gently(c->http2);
		} else if (c->http2) {
			h2_server_drain(c->http2);
		} else if (idle(c, quiet_ms)) {
			record_unused(c, EG_REASON_DRAINING);
			connection_close(c, false, EG_REASON_DRAINING);
		}
	}
}

void connections_end(struct eg_worker *w, enum eg_reason reason)
{
	while (!eg_list_empty(&w->connections)) {
		struct connection *c =
			eg_container_of(w->connections.next, struct connection, link);

		if (c->state == CONNECTION_HTTP)
			record_unused(c, reason);
		else
			connection_record(c, reason, NULL);
		connection_close(c, true, reason);
	}
}
