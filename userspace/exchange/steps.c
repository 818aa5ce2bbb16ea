/* SPDX-License-Identifier: Apache-2.0 */
/* What is decided of a request, written down while somebody watches it (egretctl trace). */
#include <stdarg.h>

#include "exchange/exchange_impl.h"
#include "telemetry/tracer.h"

void exchange_watched(struct eg_exchange *x)
{
	struct eg_tracer *t =
		x->engine->telemetry ? eg_telemetry_tracer(x->engine->telemetry) : NULL;

	if (!eg_tracer_on(t) || x->traced)
		return;
	x->traced = eg_traced_begin(t, x->pod ? x->pod->identity.namespace_name : NULL,
				    x->pod ? x->pod->identity.name : NULL);
}

static uint64_t since_began(const struct eg_exchange *x)
{
	return eg_loop_now_ms(x->engine->loop) - x->began_ms;
}

void exchange_step_write(const struct eg_exchange *x, const char *what, enum eg_reason reason,
			 const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	eg_traced_step(x->traced, since_began(x), what, reason, format, ap);
	va_end(ap);
}

static void decided(void *ctx, const char *what, enum eg_reason reason, const char *format, ...)
	EG_PRINTF(4, 5);
static void decided(void *ctx, const char *what, enum eg_reason reason, const char *format, ...)
{
	struct eg_exchange *x = ctx;
	va_list ap;

	va_start(ap, format);
	eg_traced_step(x->traced, since_began(x), what, reason, format, ap);
	va_end(ap);
}

const struct eg_trace *exchange_steps(struct eg_exchange *x, struct eg_trace *room)
{
	if (!x->traced)
		return NULL;
	eg_traced_again(x->traced); /* with the body all is decided anew */
	*room = (struct eg_trace){decided, x};
	return room;
}

void exchange_step_connected(const struct eg_exchange *x, const struct eg_upstream_conn *conn)
{
	const struct eg_credential_spec *c = x->provider ? x->provider->credential : NULL;
	char text[EG_ADDRESS_TEXT] = "?";
	struct eg_endpoint to = {0};

	if (!x->traced)
		return;
	if (!eg_stream_peer(conn->stream, &to))
		eg_address_text(&to.address, text);
	exchange_step(x, "connect", EG_REASON_OK,
		      "%s: address %s port %u, %s, %s connection (connecting took %u ms), %s%s",
		      x->provider ? x->provider->name : "passed on", text, to.port,
		      x->call.base.kind->protocol, conn->reused ? "a kept" : "a new",
		      conn->connect_ms, c ? "credential " : "no credential of Egret's",
		      c ? c->name : "");
}
