/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One supervisor takes over from another while that one runs: handover_take.c is the new one's
 * side, handover_give.c the old one's. What they say is in handover_wire.h; docs/internals/agent.md
 * says why it is so. Part of the supervisor: its one thread, its loop.
 */
#ifndef EGRET_AGENT_HANDOVER_H
#define EGRET_AGENT_HANDOVER_H

#include "agent/handover_wire.h"
#include "agent/options.h"
#include "datapath/datapath.h"
#include "loop/loop.h"

/* Whose the kernel's tables are, and who serves. Written by eg_charge_set() alone. */
enum eg_charge {
	EG_CHARGE_MINE,	  /* one supervisor: the tables, the sockets and the gateway */
	EG_CHARGE_TAKING, /* the tables are ours; the former one serves on until our gateway does */
	EG_CHARGE_GIVING, /* we serve; the tables are another's, that is not ready yet */
	EG_CHARGE_GIVEN,  /* another is in charge; we finish what is in flight */
	EG_CHARGES
};

struct eg_supervisor;

/* The old one's side. */
struct eg_give {
	int listener; /* -1: none */
	struct eg_watch listener_watch;
	int caller; /* -1: nobody asks */
	struct eg_watch caller_watch;
	struct eg_timer limit;
	pid_t pid; /* of the caller; 0: not of our pid namespace */
	int pidfd;
	bool withdrawn; /* it was told to end */
	bool stop_wanted;
};

/* The new one's side. */
struct eg_take {
	int former; /* -1: there was none, or it is gone */
	struct eg_watch watch;
	struct eg_timer limit;
	pid_t pid; /* 0: not of our pid namespace */
	char release[32];
	bool asked; /* READY is sent */
	bool happened;
	int lock, agent_netns, metrics;
	int listeners[EG_MAX_WORKERS];
	size_t listener_count;
	struct eg_datapath_handed handed;
};

struct eg_handover {
	char path[108];	 /* of the socket; "": none */
	char later[108]; /* where ours is until the former one's place is free; "": it has it */
	struct eg_give give;
	struct eg_take take;
};

/* May we change the kernel's tables? (The heartbeat is no part of them.) */
bool eg_tables_are_ours(const struct eg_supervisor *s);
void eg_charge_set(struct eg_supervisor *s, enum eg_charge to);

/* handover_take.c */
void eg_handover_init(struct eg_supervisor *s);
/*
 * Before anything else of the kernel's side. Asks who runs for what it has: then the supervisor is
 * EG_CHARGE_TAKING and take.handed is for eg_datapath_open(). 0 also when nobody answers at all;
 * else a sentence: this start must not go on.
 */
int eg_handover_take(struct eg_supervisor *s, struct eg_error *e) EG_MUST;
/* The loop runs from here on: the former one is watched. */
int eg_handover_watch(struct eg_supervisor *s, struct eg_error *e) EG_MUST;
/* The metrics listener at this address that was handed over, or -1. Taken. */
int eg_handover_metrics(struct eg_supervisor *s);
/* The gateway serves and answers. */
void eg_handover_ready(struct eg_supervisor *s);
/* Our gateway or the kernel refuses what we would serve: better the former one goes on. */
void eg_handover_give_up(struct eg_supervisor *s, const char *why);
void eg_take_close(struct eg_supervisor *s);

/* handover_give.c */
void eg_give_init(struct eg_give *g);
int eg_handover_listen_open(struct eg_supervisor *s, struct eg_error *e) EG_MUST;
/* The former one's place is free now. */
void eg_handover_take_place(struct eg_supervisor *s);
/* A signal asks for the end: true when it waits until the hand-over is through. */
bool eg_handover_postpones_stop(struct eg_supervisor *s);
void eg_give_close(struct eg_supervisor *s);
/* --uninstall: the socket that one which died left. */
void eg_handover_remove(const struct eg_options *o);

#endif
