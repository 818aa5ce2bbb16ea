/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the gateway answers on the page of --metrics. Of the supervisor's figures it has none
 * itself: it asks for them, and says so when they do not come.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/gateway_impl.h"
#include "agent/page_server.h"
#include "base/log.h"

#define STATS_WAIT_MS 1000u

struct eg_page {
	struct eg_gateway *gateway;
	struct eg_page_server *server;
	struct eg_timer stats_limit;
	struct eg_wire_stats stats; /* the last ones */
	bool silent;		    /* the supervisor gave none in time */
};

static void answer_metrics(void *ctx, struct eg_page_visitor *v)
{
	struct eg_page *p = ctx;
	struct eg_gateway *g = p->gateway;
	struct eg_telemetry *slots[EG_MAX_WORKERS];
	struct eg_buf body;
	int r;

	for (uint32_t i = 0; i < g->config.worker_count; i++)
		slots[i] = g->workers[i].telemetry;
	eg_buf_init(&body, EG_PAGE_ANSWER_BYTES - 1024);
	r = eg_telemetry_render(slots, g->config.worker_count, &body);
	if (!r)
		r = eg_metrics_supervisor(&body, &p->stats);
	if (r)
		eg_page_say(v, "500 Internal Server Error", "the metrics could not be written\n");
	else
		eg_page_answer(v, "200 OK", "text/plain; version=0.0.4; charset=utf-8",
			       eg_buf_str(&body));
	eg_buf_fini(&body);
}

static void answer_ready(void *ctx, struct eg_page_visitor *v)
{
	struct eg_page *p = ctx;
	char text[EG_WIRE_TEXT + 1];

	if (p->silent) {
		eg_page_say(v, "503 Service Unavailable",
			    "the supervisor does not answer: the kernel applies the fail policy; "
			    "restart egretd\n");
	} else if (!p->gateway->snapshot || !p->stats.policy_generation) {
		/* Not here, or not in the kernel, which gets it after us. */
		eg_page_say(v, "503 Service Unavailable", "no policy is in force yet\n");
	} else if (*p->stats.trouble) {
		snprintf(text, sizeof(text), "%s\n", p->stats.trouble);
		eg_page_say(v, "503 Service Unavailable", text);
	} else {
		eg_page_say(v, "200 OK", "ok\n");
	}
}

static void answer_waiting(struct eg_page *p, bool silent)
{
	p->silent = silent;
	eg_timer_cancel(p->gateway->loop, &p->stats_limit);
	eg_page_answer_waiting(p->server);
}

static void stats_late(struct eg_timer *t)
{
	answer_waiting(eg_container_of(t, struct eg_page, stats_limit), true);
}

void eg_page_stats(struct eg_page *p, const struct eg_wire_stats *s)
{
	p->stats = *s;
	p->stats.policy_version[sizeof(p->stats.policy_version) - 1] = '\0';
	p->stats.trouble[sizeof(p->stats.trouble) - 1] = '\0';
	p->stats.uplink_count = EG_MIN(p->stats.uplink_count, EG_WIRE_UPLINKS);
	for (uint32_t i = 0; i < p->stats.uplink_count; i++)
		p->stats.uplink[i].name[sizeof(p->stats.uplink[i].name) - 1] = '\0';
	answer_waiting(p, false);
}

/* Asks the supervisor for its figures; `with` answers when they are there, or are late. */
static void ask_stats(struct eg_page *p, struct eg_page_visitor *v,
		      void (*with)(void *ctx, struct eg_page_visitor *v))
{
	struct eg_message m = {.type = EG_WIRE_WANT_STATS};

	if (!eg_timer_armed(&p->stats_limit) &&
	    eg_timer_set(p->gateway->loop, &p->stats_limit, STATS_WAIT_MS)) {
		eg_page_say(v, "500 Internal Server Error", "out of memory\n");
		return;
	}
	eg_page_wait(v, with);
	eg_gateway_say(&m);
}

static void metrics(void *ctx, struct eg_page_visitor *v)
{
	ask_stats(ctx, v, answer_metrics);
}

static void ready(void *ctx, struct eg_page_visitor *v)
{
	ask_stats(ctx, v, answer_ready);
}

static bool wants_token(void *ctx)
{
	const struct eg_page *p = ctx;

	return p->gateway->config.flags & EG_CONFIG_PAGE_TOKEN;
}

static bool token_opens(void *ctx, struct eg_str authorization)
{
	const struct eg_gateway *g = ((const struct eg_page *)ctx)->gateway;

	return g->page_token_known && eg_page_token_opens(g->page_token, authorization);
}

static const struct eg_page_owner owner = {wants_token, token_opens, metrics, ready};

struct eg_page *eg_page_create(struct eg_gateway *g, int listener, struct eg_error *e)
{
	struct eg_page *p = calloc(1, sizeof(*p));

	if (!p) {
		eg_fd_close(&listener);
		eg_error_set(e, -ENOMEM, "metrics page: out of memory");
		return NULL;
	}
	p->gateway = g;
	eg_timer_init(&p->stats_limit, stats_late);
	p->server = eg_page_server_create(g->loop, listener, &owner, p);
	if (!p->server) {
		eg_error_set(e, -ENOMEM, "metrics page: out of memory");
	} else if (!(g->config.flags & EG_CONFIG_SHARED) && eg_page_server_begin(p->server)) {
		/* One that is shared is another gateway's until ACCEPT. */
		eg_error_set(e, -EIO, "metrics page: epoll failed");
		eg_page_server_destroy(p->server);
		p->server = NULL;
	}
	if (!p->server) {
		free(p);
		return NULL;
	}
	return p;
}

void eg_page_begin(struct eg_page *p)
{
	if (eg_page_server_begin(p->server))
		eg_error("metrics page: epoll failed");
}

void eg_page_leave(struct eg_page *p)
{
	eg_page_server_leave(p->server);
}
