/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small server behind --metrics: /metrics, /healthz and /readyz over plain HTTP/1.1, GET, one
 * request a connection. There is no secret on it. On a loopback port without authentication a web
 * page must not be able to read it either: Host must be the loopback's (a name that a browser was
 * made to resolve to it is refused) and an Origin is refused. With --metrics-token it is for who
 * has the token, from wherever.
 */
#ifndef EGRET_AGENT_PAGE_SERVER_H
#define EGRET_AGENT_PAGE_SERVER_H

#include "base/base.h"
#include "loop/loop.h"

struct eg_page_server;
struct eg_page_visitor;

/* Each of `metrics` and `ready` answers by eg_page_answer() or eg_page_say(), or by eg_page_wait().
 */
struct eg_page_owner {
	bool (*wants_token)(void *ctx);
	/* `authorization`: the field's value; of length 0 where there is none. */
	bool (*token_opens)(void *ctx, struct eg_str authorization);
	void (*metrics)(void *ctx, struct eg_page_visitor *v);
	void (*ready)(void *ctx, struct eg_page_visitor *v);
};

/* The most that an answer may have, its head included. */
#define EG_PAGE_ANSWER_BYTES ((size_t)32 << 20)

/* The listener is the server's from now on, in any case. NULL: no memory. Accepts nobody yet. */
struct eg_page_server *eg_page_server_create(struct eg_loop *loop, int listener,
					     const struct eg_page_owner *owner, void *ctx) EG_MUST;
/* Accepts from now on; harmless twice. 0 or -errno. */
int eg_page_server_begin(struct eg_page_server *s) EG_MUST;
/* Accepts no more, and closes the listener; who has begun is answered. */
void eg_page_server_leave(struct eg_page_server *s);
/* NULL is nothing. */
void eg_page_server_destroy(struct eg_page_server *s);

/* `status`: "200 OK". The visitor is gone afterwards, or writes what is left of the answer. */
void eg_page_answer(struct eg_page_visitor *v, const char *status, const char *type,
		    struct eg_str body);
/* The same, of plain text. */
void eg_page_say(struct eg_page_visitor *v, const char *status, const char *sentence);
/* `with` answers when eg_page_answer_waiting() is called. */
void eg_page_wait(struct eg_page_visitor *v, void (*with)(void *ctx, struct eg_page_visitor *v));
void eg_page_answer_waiting(struct eg_page_server *s);

#endif
