/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the Kubernetes API says of this node's pods and of all namespaces, kept current by two
 * watches (https://kubernetes.io/docs/reference/using-api/api-concepts/, "Efficient detection of
 * changes", "Streaming lists"). One loop, one thread. Never asks for anything but pods of one node
 * and namespaces, and writes nothing but Events.
 *
 * While the API is away, or says what can't be understood, what it said last holds. An object that
 * has become one that can't be understood is forgotten: it is not what it was.
 */
#ifndef EGRET_KUBE_KUBE_H
#define EGRET_KUBE_KUBE_H

#include "base/base.h"
#include "base/error.h"
#include "loop/loop.h"
#include "policy/identity.h"

struct eg_kube;

/* All strings are copied. */
struct eg_kube_options {
	const char *host; /* an IP address without brackets, as KUBERNETES_SERVICE_HOST is */
	uint16_t port;
	const char *server_name; /* NULL: `host`; what the certificate must be for */
	const char *node_name;	 /* spec.nodeName of the pods that are asked for */
	const char *token_file;	 /* read anew for each request; never kept longer */
	const char *ca_file;	 /* PEM; read anew at each connection */
	bool events;		 /* what is reported becomes Kubernetes Events */
	/* NULL: none. What the API says is kept there, and is what it said last for a start that it
	 * does not answer. */
	const char *keep_file;
};

struct eg_kube_pod {
	struct eg_identity identity; /* labels (in order of their keys), service account known */
	bool host_network;	     /* spec.hostNetwork: has no link of its own */
	bool finished; /* phase Succeeded or Failed: its addresses may be another's already */
	/*
	 * NULL: not said. It says of itself that it is the mirror of the static pod with this uid,
	 * 32 hexadecimal digits (annotation kubernetes.io/config.mirror). Whoever may create pods
	 * can say so, once, at creation.
	 */
	const char *mirror_of;
};

/* What happened to a pod or to this node, for people: becomes a Kubernetes Event, or counts in one
 * that is there. Strings are copied, but for reason and action, which are static. */
struct eg_kube_report {
	const char *namespace_name; /* NULL: it is of this node; name and uid are not looked at */
	const char *name, *uid;
	const char *reason, *action; /* as Events have them: "PolicyDenied", "Deny" */
	bool warning;
	const char *note; /* sentences; no number that changes, or each is another Event */
	uint64_t count;	  /* how often, since it was reported last; not 0 */
};

/* Both come at the end of a turn, never from inside a call; both may close. */
struct eg_kube_calls {
	/* What pods() or namespace_labels() give has changed, or a list is whole for the first
	 * time; many changes are told at once. */
	void (*changed)(void *context);
	/* A sentence for the log, once for each state, not once a try. bad: something is wrong. */
	void (*said)(void *context, bool bad, const char *sentence);
	void *context;
};

struct eg_kube_status {
	bool synced;	      /* both lists were whole once */
	bool current;	      /* both watches run now */
	bool kept;	      /* what is known is of keep_file: not synced yet */
	uint64_t heard_ms;    /* eg_now_ms() of the last event or bookmark of the watch that heard
				 something longer ago; 0: one never did */
	uint64_t failures;    /* tries that failed, since open */
	uint64_t passed_over; /* objects and lines that could not be understood */
	char error[160];      /* why it is not current; "" */
};

/* What became of what was reported. */
struct eg_kube_events_status {
	bool on;
	bool forbidden;	   /* the API refuses Events for want of rights; it is asked now and then */
	uint64_t written;  /* requests that the API took */
	uint64_t failures; /* that it did not, or that did not reach it */
	uint64_t not_taken; /* of these, for which no other try is made */
	uint64_t dropped;   /* reports that found no place in the queue */
	size_t waiting;	    /* Events with something that the API has not */
	char error[400];    /* why the last request failed; "": it did not */
};

/* Begins at once; nothing is known before `changed`. 0 or -errno: options that can't be used. */
int eg_kube_open(struct eg_loop *l, const struct eg_kube_options *options,
		 const struct eg_kube_calls *calls, struct eg_kube **out,
		 struct eg_error *error) EG_MUST;
/* NULL is allowed. The memory goes at the end of the turn. */
void eg_kube_close(struct eg_kube *k);
/* Borrowed until the caller returns to the loop. Of this node, by uid in order. */
const struct eg_kube_pod *const *eg_kube_pods(const struct eg_kube *k, size_t *count);
/* Of the pod with that uid, or NULL. Borrowed likewise. */
const struct eg_kube_pod *eg_kube_pod(const struct eg_kube *k, const char *uid);
/* The one that says of itself that it mirrors the static pod `uid`; NULL unless *claims is 1: how
 * many say so. Borrowed likewise. */
const struct eg_kube_pod *eg_kube_mirror(const struct eg_kube *k, const char *uid, size_t *claims);
/* False: no such namespace is known, which is not one without labels. Borrowed likewise. */
bool eg_kube_namespace_labels(const struct eg_kube *k, const char *name,
			      const struct eg_label **labels, size_t *count);
void eg_kube_status(const struct eg_kube *k, struct eg_kube_status *out);
/* Never waits and never fails: what can't be kept is counted. Without options.events: nothing. */
void eg_kube_report(struct eg_kube *k, const struct eg_kube_report *r);
void eg_kube_events_status(const struct eg_kube *k, struct eg_kube_events_status *out);

#endif
