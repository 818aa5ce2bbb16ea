/* SPDX-License-Identifier: Apache-2.0 */
/* The control thread of the gateway. Private to gateway*.c. Nothing here is touched by a worker. */
#ifndef EGRET_AGENT_GATEWAY_IMPL_H
#define EGRET_AGENT_GATEWAY_IMPL_H

#include <pthread.h>

#include "agent/bundle.h"
#include "agent/flight.h"
#include "agent/give_back.h"
#include "agent/wire.h"
#include "front/worker.h"
#include "loop/loop.h"
#include "net/resolver.h"
#include "telemetry/tracer.h"

#define EG_STAGED_MAX 4096u /* credentials, and providers, of one snapshot */

struct eg_names;
struct eg_page;

struct eg_staged_credential {
	struct eg_credential_set *read; /* of this one; NULL: none came */
	bool keep;			/* what is in force of that file stays */
};

struct eg_staged_trust {
	struct eg_trust *roots; /* NULL: none came */
	bool keep;		/* what is in force of that file stays */
};

/* A snapshot on its way: complete at COMMIT, thrown away whole if anything is wrong with it. */
struct eg_staged {
	char *policy, *pods; /* heap */
	size_t policy_bytes, pods_bytes;
	struct eg_staged_credential *credentials; /* by index */
	size_t credential_count;
	struct eg_staged_trust *trust; /* by index of the provider */
	size_t trust_count;
	char failure[EG_WIRE_TEXT]; /* "": none so far */
};

struct eg_gateway_worker {
	struct eg_gateway *gateway;
	struct eg_worker *worker;
	struct eg_telemetry *telemetry;
	struct eg_denials *denials; /* of telemetry; NULL: nobody wants them */
	pthread_t thread;
	int listener, signer; /* until the worker has them */
	uint64_t turns;	      /* at the last ping */
	int result;
	bool running, ended; /* ended: written by the thread, under lock */
};

struct eg_gateway {
	struct eg_loop *loop;
	struct eg_watch control;
	struct eg_wire_config config;
	bool configured, draining;
	struct eg_lines *access_log; /* NULL: none */
	int metrics;
	struct eg_flight *flight; /* read by the supervisor when this process is gone */
	char *chain;
	size_t chain_bytes;
	struct eg_trust *default_trust, *nobody; /* nobody: trusts no provider */
	struct eg_gateway_worker workers[EG_MAX_WORKERS];
	struct eg_cidr *forbidden; /* NULL: not said yet */
	size_t forbidden_count;
	struct eg_cooldowns cooldowns; /* of all workers */
	struct eg_budgets budgets;     /* likewise */
	pthread_mutex_t lock;
	struct eg_staged staged;
	struct eg_snapshot *snapshot; /* in force; NULL: none yet */
	struct eg_give_back give_back;
	uint64_t denials_ms;	 /* when they were handed on last */
	struct eg_tracer tracer; /* of all workers */
	struct eg_buf trace;	 /* a record on its way to the supervisor, what is left of it */
	struct eg_trace_head trace_head; /* of that */
	uint32_t trace_unread; /* pieces that the supervisor has not taken, as far as known */
	uint32_t ping;	       /* being answered; 0: none */
	struct eg_timer ping_timer, ticket_timer;
	struct eg_names *names;
	struct eg_page *page;
	uint8_t page_token[EG_PAGE_DIGEST]; /* with EG_CONFIG_PAGE_TOKEN: what opens it */
	bool page_token_known;
};

/* To the supervisor. A failure ends the process: without it there is no gateway. */
void eg_gateway_say(const struct eg_message *m);

/* gateway_stage.c */
void eg_stage_message(struct eg_gateway *g, const struct eg_message *m, int fds[EG_WIRE_FDS]);
/* Of this message the descriptor is missing. True: it is of a snapshot, which will be refused. */
bool eg_stage_cut(struct eg_gateway *g, const struct eg_message *m);
void eg_stage_commit(struct eg_gateway *g, uint32_t generation);
void eg_stage_fini(struct eg_staged *s);

/* gateway_names.c: the watched names of the snapshot in force, resolved again and again. */
struct eg_names *eg_names_create(struct eg_loop *l, const char *resolvers,
				 struct eg_error *e) EG_MUST;
void eg_names_follow(struct eg_names *n, struct eg_policy_set *set);
/* A DNS answer on its way to a pod that the kernel could not read. */
void eg_names_answer(struct eg_policy_set *set, uint32_t ifindex, const unsigned char *message,
		     size_t length);

/* gateway_denials.c: what workers denied, to the supervisor; at each ping, and once a second. */
void eg_gateway_denials(struct eg_gateway *g);

/* gateway_trace.c: who watches, and what they get. */
void eg_gateway_trace_init(struct eg_gateway *g);
void eg_gateway_trace(struct eg_gateway *g, const struct eg_message *m);
/* What waits for the supervisor, as much as may be on its way. */
void eg_gateway_traced(struct eg_gateway *g);

/* gateway_page.c: /metrics, /healthz, /readyz on loopback. */
struct eg_page *eg_page_create(struct eg_gateway *g, int listener, struct eg_error *e) EG_MUST;
/* Answers from now on, where another gateway did so until now. Idempotent. */
void eg_page_begin(struct eg_page *p);
/* Another gateway answers: those who come now are its. */
void eg_page_leave(struct eg_page *p);
void eg_page_stats(struct eg_page *p, const struct eg_wire_stats *s);

/* metrics.c: what the supervisor knows, in Prometheus text. Pure. */
int eg_metrics_supervisor(struct eg_buf *out, const struct eg_wire_stats *s) EG_MUST;

#endif
