/* SPDX-License-Identifier: Apache-2.0 */
/* A connection that is none of Egret's: dialled on to where the pod wanted to go, and relayed. */
#include <stdlib.h>

#include "front/connection_impl.h"

#define DIAL_MS 10000u

static void relay_over(void *ctx, bool failed)
{
	struct connection *c = ctx;
	/* After one side's end a reset is how many clients close: nothing worth a word. */
	bool cut = failed && !c->relay->way[0].eof && !c->relay->way[1].eof;

	connection_count_up(c, EG_COUNT_PASS_THROUGH_BYTES,
			    c->relay->way[0].bytes + c->relay->way[1].bytes);
	connection_record(c, c->pass_reason,
			  cut ? "ended by a reset, an error or the idle limit" : NULL);
	connection_close(c, failed, c->pass_reason);
}

static bool relay_may_have(void *ctx, size_t descriptors)
{
	return connection_more_descriptors(ctx, descriptors) == EG_REASON_OK;
}

static void relay_holds(void *ctx, size_t bytes)
{
	struct connection *c = ctx;

	eg_account_charge(&c->worker->engine, c->peer.account, &c->charged, bytes);
}

static bool relay_crowded(void *ctx)
{
	const struct connection *c = ctx;

	return eg_account_half(&c->worker->engine, c->peer.account);
}

static const struct relay_owner relay_owner = {relay_over, relay_may_have, relay_holds,
					       relay_crowded};

static void begin_relay(struct connection *c)
{
	struct eg_buf first, none;
	int pod_fd, onward_fd;

	eg_timer_cancel(c->worker->loop, &c->timer);
	c->relay = calloc(1, sizeof(*c->relay));
	if (!c->relay) {
		connection_deny(c, EG_REASON_OVERLOADED, NULL);
		return;
	}
	eg_buf_init(&first, 2 * CONNECTION_PEEK_MAX);
	eg_buf_init(&none, 1);
	pod_fd = eg_stream_detach(c->stream, &first);
	if (pod_fd < 0) {
		eg_buf_fini(&first);
		connection_deny(c, EG_REASON_OVERLOADED, NULL);
		return;
	}
	c->stream = NULL;
	onward_fd = eg_stream_detach(c->onward, &none);
	if (onward_fd < 0) {
		eg_fd_close(&pod_fd);
		eg_buf_fini(&first);
		connection_deny(c, EG_REASON_PASS_THROUGH_FAILED, NULL);
		return;
	}
	c->onward = NULL;
	connection_set_state(c, CONNECTION_RELAY);
	connection_count_up(c, EG_COUNT_PASS_THROUGH, 1);
	if (relay_begin(c->relay, c->worker->loop, pod_fd, onward_fd, &first, &relay_owner, c))
		connection_deny(c, EG_REASON_OVERLOADED, NULL);
}

static void onward_event(struct eg_stream *s, unsigned int events, void *ctx)
{
	struct connection *c = ctx;

	if (events & EG_STREAM_FAILED)
		connection_deny(c, EG_REASON_PASS_THROUGH_FAILED, eg_stream_failure(s)->text);
	else if (events & EG_STREAM_CONNECTED)
		begin_relay(c);
}

static const struct eg_stream_handler onward_handler = {onward_event};

void connection_pass_through(struct connection *c, enum eg_reason reason)
{
	struct eg_worker *w = c->worker;
	enum eg_reason full;

	c->pass_reason = reason;
	connection_set_state(c, CONNECTION_DIAL);
	if (c->peer.gateway || !eg_may_dial_original(&w->rules, &c->peer.destination.address)) {
		connection_deny(c, EG_REASON_FORBIDDEN_DESTINATION, NULL);
		return;
	}
	full = eg_account_state(&w->engine, c->peer.account);
	if (full == EG_REASON_OK)
		full = connection_more_descriptors(c, 1);
	if (full != EG_REASON_OK) {
		connection_deny(c, full, NULL);
		return;
	}
	eg_stream_want(c->stream, false, false);
	c->onward = eg_stream_connect(w->loop, &c->peer.destination, &onward_handler, c);
	if (!c->onward)
		connection_deny(c, EG_REASON_PASS_THROUGH_FAILED, NULL);
	else if (eg_timer_set(w->loop, &c->timer, DIAL_MS))
		connection_deny(c, EG_REASON_OVERLOADED, NULL);
}
