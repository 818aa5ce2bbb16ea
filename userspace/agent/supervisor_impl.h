/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's state and its parts. Private to supervisor.c, children.c, renewal.c,
 * heartbeat.c, offer.c, reload.c, status.c and admin.c. One thread. */
#ifndef EGRET_AGENT_SUPERVISOR_IMPL_H
#define EGRET_AGENT_SUPERVISOR_IMPL_H

#include "agent/flight.h"
#include "agent/handover.h"
#include "agent/keys.h"
#include "agent/options.h"
#include "agent/pod_source.h"
#include "agent/sources.h"
#include "agent/spawner.h"
#include "agent/table.h"
#include "agent/watch.h"
#include "agent/wire.h"
#include "loop/loop.h"
#include "net/mint_wire.h"

#define EG_TICK_MS	 250u	/* between heartbeats */
#define EG_HANG_MS	 1000u	/* a ping unanswered for so long: gateway or signer is replaced */
#define EG_COMPILE_MS	 5000u	/* the same, while it may be compiling a policy that it was given */
#define EG_BUSY_MS	 10000u /* so long it is told so in the middle of other work */
#define EG_REPLACE_MS	 2000u	/* so long the kernel is told "alive" while the gateway is */
#define EG_SPAWNER_MS	 10000u /* so long the spawner may take over what it is asked for */
#define EG_DOWN_GRACE_MS 10000u /* open connections live so long without a heartbeat */
#define EG_START_MS	 20000u /* from spawn to READY */

struct eg_supervisor;

/* One ping at a time. */
struct eg_beat {
	uint32_t serial;    /* of the last one sent */
	uint64_t asked_ms;  /* when, as long as it is unanswered; 0: none is */
	uint64_t waited_ns; /* for a CPU, until then (agent/cpu_wait.h) */
	bool starved;	    /* it is unanswered for want of a CPU, and that was said */
};

/* An unprivileged process, and its next incarnation. */
struct eg_child {
	struct eg_supervisor *supervisor;
	enum eg_role role;
	pid_t pid;	       /* 0: none */
	uint32_t serial;       /* of the spawn that is awaited, or of the one that runs */
	int control;	       /* our end; -1: none */
	struct eg_watch watch; /* of control */
	struct eg_timer again; /* back-off before the next start */
	uint64_t started_ms;
	uint64_t awaited_ms; /* since when the spawner owes its start or its end; 0: neither */
	struct eg_beat beat;
	uint64_t restarts, hangs;
	unsigned int failures; /* in a row, each soon after its start */
	bool killed;	       /* we asked for its end */
	/* Of a gateway only. */
	struct eg_flight *flight;	 /* of the one that runs, or ran last; NULL: none yet */
	int signer_ends[EG_MAX_WORKERS]; /* by worker: what the signer answers on; outlive it */
	uint64_t node_hash;		 /* of the node's addresses that it was told not to dial */
	struct eg_buf traced;		 /* pieces of a record that somebody watches */
	bool traced_cut;		 /* the rest of it is not kept */
	uint32_t traced_unsaid;		 /* pieces that were read, and it has not been told so */
};

/* A gateway that is replaced while it is well (renewal.c). */
enum eg_renewal {
	EG_RENEWAL_NONE,
	EG_RENEWAL_PREPARING, /* `former` serves; `gateway` is to, and does not accept yet */
	EG_RENEWAL_DRAINING,  /* `gateway` serves; `former` finishes what it has */
	EG_RENEWAL_DROPPING,  /* it failed: `gateway` is the one that was; `former` must end */
};

/* A policy set with the text it was compiled from, which the gateway compiles again. */
struct eg_loaded {
	unsigned int references;
	struct eg_source source;
	struct eg_policy_set *set;
};

/* What one generation consists of, held from offer to the next one applied. */
struct eg_generation {
	uint32_t number;     /* 0: none */
	uint64_t offered_ms; /* when the gateway was given it */
	struct eg_loaded *loaded;
	struct eg_policy_set *policies; /* of loaded; borrowed */
	struct eg_table *table;
	uint64_t credentials; /* state of the files it was made with */
	uint32_t *policy_ids; /* by index of eg_policies(); numbers of the kernel */
	uint32_t *name_ids;   /* by index of eg_watched_names() */
};

struct eg_credential_state {
	struct eg_file_mark *marks; /* credentials, then CA files of providers */
	size_t count;
	uint64_t version; /* grows with each change */
	size_t missing, roots_missing;
};

/* A pod in the node's own network, with --host-network-pods deny (host_pods.c). */
struct eg_host_guarded {
	char uid[129]; /* of its cgroup */
	char namespace_name[64], name[254], service_account[254];
	uint32_t pod_id;
	enum eg_host_guard guard;
};

struct eg_supervisor {
	const struct eg_options *o;
	struct eg_loop *loop;
	struct eg_watch signals;
	int signal_fd;

	struct eg_spawner spawner;
	struct eg_watch spawner_watch;
	struct eg_beat spawner_beat;
	bool spawner_hung; /* and it has been said */
	struct eg_child gateways[2], signer;
	struct eg_child *gateway; /* one of the two: who serves, or is to */
	struct eg_child *former;  /* the other one; NULL: no renewal goes on */
	enum eg_renewal renewal;
	struct eg_timer renewal_limit;
	uint64_t renewals;		  /* that succeeded */
	char renewal_error[EG_WIRE_TEXT]; /* of the last one; "": it succeeded, or goes on */
	uint64_t requests_lost;		  /* that were in flight on gateways when they died */
	uint64_t connections_lost;	  /* of pods, that were open on them */
	bool signer_answers;		  /* this incarnation has answered a ping */
	bool signer_answered;		  /* one has; before that we are not ready */
	uint64_t signer_lost_ms;	  /* since when none answers; 0: one does */
	bool signer_was_fit;		  /* one had a CA that it could sign with */
	char signer_unfit[EG_WIRE_TEXT];  /* why the one that answers can't sign; "": it can */

	struct eg_datapath *datapath;
	struct eg_watch datapath_watch;
	const int *listeners;
	size_t listener_count;
	int metrics_fd, access_fd;
	uint8_t page_token[EG_PAGE_DIGEST]; /* of --metrics-token, as it was read last */
	bool page_token_lost;		    /* its file can't be used, and that was said */
	uint32_t signer_sequence;
	struct eg_file_mark ca_marks[2];
	uint32_t ca_changed; /* the message with a CA that came later; 0: none was sent */
	bool ca_not_now;     /* it was refused for its time: sent again, since time goes on */

	/* heartbeat.c */
	struct eg_timer tick, sweep, poll;
	uint64_t ticked_ms;
	uint64_t kept_ms;   /* when the kernel was told between two ticks */
	uint64_t served_ms; /* when the gateway served last, as far as a tick could tell */
	bool beating;	    /* it was told "alive" last, and not otherwise by a tick since */
	bool ready;	    /* the gateway is READY */
	bool serving;	    /* and has acknowledged a generation */
	uint64_t lost_ms; /* when the last serving gateway was lost; 0: one serves, or none ever did
			   */

	/* reload.c: what should be served */
	struct eg_loaded *loaded;    /* last good; NULL: none yet */
	struct eg_source bad_source; /* the text that was refused last */
	bool bad_known;
	struct eg_table *table;
	struct eg_credential_state credentials;
	struct eg_pod_source *pods;
	struct eg_timer pods_again;
	struct eg_dir_watch policy_watch, credential_watch;
	struct eg_timer credentials_again;
	bool policy_valid; /* the directory's content is what is served or on its way */
	uint64_t rejected;
	uint64_t loaded_wall_ms;
	char last_error[EG_WIRE_TEXT];

	/* offer.c: what is on its way, what holds */
	uint32_t generation;	    /* the last number given */
	bool dirty;		    /* the last offer is out of date */
	struct eg_keys keys, roots; /* that the gateway has, or will have with what is offered */
	struct eg_keys former_keys, former_roots; /* while another is prepared: who serves has */
	struct eg_timer keys_timer;		  /* the grace of one is over */
	uint64_t node_hash;			  /* of the node's addresses that are applied */
	struct eg_generation offered, applied;

	/* host_pods.c */
	struct {
		struct eg_host_guarded *pods; /* that policy selects, or may */
		size_t count;
		char error[EG_WIRE_TEXT]; /* why not all are guarded; "": they are */
	} host;

	/* reports.c */
	struct {
		uint64_t second_ms;  /* when the one began that `messages` are of */
		uint64_t messages;   /* of a gateway */
		uint64_t lost;	     /* denials that nobody is told of */
		bool policy_refused; /* was reported; that it is mended was not */
	} reports;

	uint64_t dns_events, dns_lost, addresses_refused;
	struct eg_pins *pins; /* counters, opened when first asked for */
	struct eg_admin *admin;
	struct eg_trace_sessions *traces; /* NULL: nobody has watched yet */
	enum eg_charge charge;
	bool half_written; /* the tables hold a part of a set that could not be written */
	bool resync; /* the tables hold another one's entries: the next generation goes whole */
	bool undo;   /* a first start that failed while it had all its rights */
	bool former_left; /* links of an earlier one's pods are kept, as files can't be used */
	struct eg_handover handover;
	bool stopping;
	uint64_t end_ms; /* when stopping: no later than that */
	struct eg_timer stop_timer;
	int exit_code;
};

/* children.c */
int eg_children_start(struct eg_supervisor *s, struct eg_error *e) EG_MUST;
void eg_child_start(struct eg_child *c);
/* SIGKILL; its end is noticed by the spawner. `why` is logged. */
void eg_child_kill(struct eg_child *c, const char *why);
/* A failure means that it does not read, or is gone: it is replaced. */
bool eg_child_send(struct eg_child *c, const struct eg_message *m, const int *fds,
		   unsigned int count);
/* To the gateway that serves, or is to. */
bool eg_gateway_send(struct eg_supervisor *s, const struct eg_message *m, const int *fds,
		     unsigned int count);
/* Who accepts connections now: the gateway, or the former one while that is prepared. */
struct eg_child *eg_gateway_serving(struct eg_supervisor *s);
void eg_children_close(struct eg_supervisor *s);

/* renewal.c */
void eg_renewal_open(struct eg_supervisor *s);
/* Prepares another gateway beside the one that serves. 0; or -errno, and nothing has begun. */
int eg_renewal_begin(struct eg_supervisor *s, struct eg_error *e) EG_MUST;
/* The new one has a generation: it accepts from now on, and the former one drains. */
void eg_renewal_acknowledged(struct eg_supervisor *s);
/* The new one can't be had: the one that serves goes on. `why` is logged. */
void eg_renewal_failed(struct eg_supervisor *s, const char *why);
/* Whether the one that is prepared would be without what the one that serves has of such a file
 * (NULL: not asked). Then it has been given up. */
bool eg_renewal_would_lose(struct eg_supervisor *s, const char *key_file, const char *ca_file);
/* That gateway has ended (c->pid is 0). True: that is all, no other one is to be started for it. */
bool eg_renewal_ended(struct eg_supervisor *s, struct eg_child *c);
void eg_renewal_close(struct eg_supervisor *s);

/* gateway_start.c: all that comes before START, and the signer's sockets. */
int eg_gateway_configure(struct eg_supervisor *s, struct eg_error *e) EG_MUST;
/* The node's addresses may have changed: what is never dialled, to each gateway that has it not. */
void eg_gateways_forbid(struct eg_supervisor *s);
/* The token's file may have changed. One that can't be used leaves the former token. */
void eg_gateways_page_token(struct eg_supervisor *s);
int eg_signer_configure(struct eg_supervisor *s, struct eg_error *e) EG_MUST;
/* The sockets of a gateway's workers to the signer that runs. */
void eg_signer_clients(struct eg_supervisor *s, const struct eg_child *gateway);
int eg_signer_ca(struct eg_supervisor *s, struct eg_error *e) EG_MUST;
void eg_signer_ca_changed(struct eg_supervisor *s);
/* False: it is gone, or sent what is no answer. */
bool eg_signer_replies(struct eg_supervisor *s);
/* Names the signer may sign from now on: those of the offered and the applied generation. */
void eg_signer_names(struct eg_supervisor *s);

/* trace.c: who watches requests (egretctl trace). */
/* Takes the client's socket over, unless it fails: what is asked for, and *why it can't be. */
bool eg_trace_begin(struct eg_supervisor *s, int *fd, const char *pod, const char *host,
		    const char **why) EG_MUST;
/* A gateway begins: it is told who watches. */
void eg_trace_tell(struct eg_child *gateway);
void eg_trace_gateway_ended(struct eg_child *gateway);
void eg_traced(struct eg_child *gateway, const struct eg_wire_traced *t);
/* Ends all of them: another agent is in charge, which they may ask. */
void eg_trace_end(struct eg_supervisor *s);
/* The same for good, outside the loop. */
void eg_trace_close(struct eg_supervisor *s);

/* heartbeat.c */
int eg_heartbeat_start(struct eg_supervisor *s) EG_MUST;
/* The gateway serves, as was seen just now: the kernel is told. */
void eg_heartbeat_serves(struct eg_supervisor *s);
void eg_heartbeat_pong(struct eg_child *gateway, uint32_t serial);
/* It has an answer to what it was offered: a ping that waited behind it has waited from now on. */
void eg_heartbeat_compiled(struct eg_child *gateway);
/* In the middle of work that grows with the number of pods: to attach to one link takes the kernel
 * some 30 ms. Whoever served before it is told as alive meanwhile, EG_BUSY_MS at most and unless it
 * has hung up. */
void eg_heartbeat_keep(struct eg_supervisor *s);
/* The first question to an incarnation, behind all that it is configured with. */
void eg_heartbeat_ask_signer(struct eg_supervisor *s);
void eg_heartbeat_signer_pong(struct eg_supervisor *s, const struct eg_mint_control_reply *reply);
void eg_heartbeat_spawner_pong(struct eg_supervisor *s, uint32_t serial);
/* It is gone, or must go: from now on it does not count as alive. */
void eg_heartbeat_lost(struct eg_child *gateway);
void eg_heartbeat_signer_lost(struct eg_supervisor *s);

/* reload.c */
int eg_reload_open(struct eg_supervisor *s, struct eg_error *e) EG_MUST;
void eg_reload_policy(struct eg_supervisor *s);
void eg_reload_pods(struct eg_supervisor *s);
/* 1: the pods are others than s->table has, and *changed is their table, the caller's; 0: they are
 * as they were; -errno: they are not known, which was said. */
int eg_read_pods(struct eg_supervisor *s, bool log, struct eg_table **changed) EG_MUST;
void eg_reload_credentials(struct eg_supervisor *s);
void eg_reload_all(struct eg_supervisor *s);
/* A link came or went: the table is looked up again a moment later. */
void eg_reload_links(struct eg_supervisor *s);
/* Forgets a set that was refused: what is applied is what should be served. */
void eg_reload_back(struct eg_supervisor *s);
struct eg_loaded *eg_loaded_ref(struct eg_loaded *l);
void eg_loaded_unref(struct eg_loaded *l);
void eg_reload_close(struct eg_supervisor *s);

/* offer_secrets.c */
/* The timer of what is kept; offers nothing. */
void eg_offer_open(struct eg_supervisor *s);
void eg_offer_close(struct eg_supervisor *s);
/* Credentials and CA files to the gateway, as they are now. 0 or -errno; -EPIPE: it is lost. */
int eg_offer_secrets(struct eg_supervisor *s) EG_MUST;

/* offer.c */
/* Bytes to the gateway as sealed memory. 0 or -errno; -EPIPE: it is lost. */
int eg_offer_memory(struct eg_supervisor *s, enum eg_wire_type type, uint32_t number,
		    struct eg_str bytes) EG_MUST;
void eg_offer(struct eg_supervisor *s);
void eg_offer_acknowledged(struct eg_supervisor *s, uint32_t number);
void eg_offer_refused(struct eg_supervisor *s, uint32_t number, const char *why);
/* The gateway is gone: what was on its way must be offered again. */
void eg_offer_lost(struct eg_supervisor *s);
/* What the gateway resolved, or read out of an answer for the pod behind ifindex (0: all pods). */
void eg_offer_addresses(struct eg_supervisor *s, const struct eg_wire_addresses *a,
			uint32_t ifindex);
void eg_generation_fini(struct eg_generation *g);
/* One of those that --link-prefix attaches to. */
bool eg_link_is_prefixed(const struct eg_supervisor *s, uint32_t link);
/* What the operator forbids, and the node's own addresses, EG_FORBIDDEN_MAX together; the caller
 * frees. NULL and 0: out of memory. */
size_t eg_forbidden(const struct eg_options *o, struct eg_cidr **out);
/* Changes when the node's own addresses do. */
uint64_t eg_node_addresses_hash(void);
/* Pods of the table that no generation governs yet are held. */
void eg_offer_hold_new(struct eg_supervisor *s);
/* Links of --link-prefix that have been there for a while, and of which a table that has every pod
 * says nothing, are let go. */
void eg_offer_foreign(struct eg_supervisor *s);

/* supervisor.c: a first start that came to nothing leaves nothing. */
void eg_undo_start(const struct eg_options *o);

/* reports.c: what becomes Kubernetes Events; without --kubernetes, or with --kube-events off, it is
 * nothing. */
/* A gateway's word: what in it can't be so is left out. */
void eg_report_denials(struct eg_supervisor *s, const struct eg_wire_denials *d);
/* One that the kernel counted: of a pod in the node's own network, to a name or an address. */
void eg_report_host_denial(struct eg_supervisor *s, const struct eg_host_guarded *p, const char *to,
			   enum eg_reason reason);
/* The set in the directory is not taken; holds: what is in force; why: the first of what is wrong,
 * with its place. */
void eg_report_policy_refused(struct eg_supervisor *s, const char *holds, const char *why);
/* What is in the directory may be in force now: if it was refused before, that is reported. */
void eg_report_policy_mended(struct eg_supervisor *s);

/* status.c */
/* What is wrong with processes or uplinks, a sentence for who is on call; "": nothing is. */
void eg_trouble(const struct eg_supervisor *s, char out[EG_WIRE_TEXT]);
void eg_stats_fill(struct eg_supervisor *s, struct eg_wire_stats *out);
int eg_status_json(struct eg_supervisor *s, struct eg_buf *out) EG_MUST;
int eg_pods_json(struct eg_supervisor *s, struct eg_buf *out) EG_MUST;
int eg_policy_json(struct eg_supervisor *s, struct eg_buf *out) EG_MUST;

/* status_kube.c: what --kubernetes adds; without it they do nothing, or say that there is none. */
/* True: the API is what is wrong, and out says how. */
bool eg_kube_trouble(const struct eg_supervisor *s, char out[EG_WIRE_TEXT]);
void eg_kube_stats(const struct eg_supervisor *s, struct eg_wire_stats *out);
/* A member "kubernetes" with a comma behind it. */
int eg_kube_status_json(const struct eg_supervisor *s, const struct eg_wire_stats *stats,
			struct eg_buf *out) EG_MUST;
/* A member "out_of_reach" with a comma before it: pods in the node's own network that policy names.
 */
int eg_kube_out_of_reach_json(const struct eg_supervisor *s, struct eg_buf *out) EG_MUST;

/* host_pods.c: without --host-network-pods deny nothing. */
/* The kernel guards those that this generation selects; before the former one's verdicts go. */
void eg_host_pods_set(struct eg_supervisor *s, const struct eg_generation *g);
/* The same of what is applied: pods, labels or cgroups may have changed. */
void eg_host_pods_follow(struct eg_supervisor *s);
/* The kernel tells of a connection that it refused. */
void eg_host_pods_denied(struct eg_supervisor *s, const struct eg_event *event);
enum eg_host_guard eg_host_pod_guard(const struct eg_supervisor *s, const struct eg_kube_pod *p);
void eg_host_pods_forget(struct eg_supervisor *s);

/* admin.c */
int eg_admin_open(struct eg_supervisor *s, struct eg_admin **out, struct eg_error *e) EG_MUST;
/* Ours becomes the one at RUN_DIR/egretd.sock, where a former supervisor's was until now. */
void eg_admin_take_place(struct eg_admin *a);
/* Another supervisor's has our place: nothing more is answered. */
void eg_admin_yield(struct eg_admin *a);
void eg_admin_close(struct eg_admin *a);

/* supervisor.c */
void eg_datapath_options_fill(const struct eg_options *o, struct eg_datapath_options *out);
void eg_supervisor_stop(struct eg_supervisor *s);
/* Likewise with exit code 1, so that what started egretd starts it anew; `why` is logged. */
void eg_supervisor_fail(struct eg_supervisor *s, const char *why);
/* Another one is in charge: what is in flight is finished, the rest is its. */
void eg_supervisor_yield(struct eg_supervisor *s);

#endif
