/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request of the Kubernetes API, over a connection of its own (TLS, HTTP/1.1): a GET, or
 * something that is sent. The token and the CA are read for it; the token is gone as soon as the
 * server has taken it. Redirects are not followed.
 */
#ifndef EGRET_KUBE_GET_H
#define EGRET_KUBE_GET_H

#include "base/buf.h"
#include "base/secret.h"
#include "kube/kube.h"
#include "net/stream.h"
#include "net/tls.h"
#include "proto/chunked.h"
#include "proto/h1.h"

/* What went wrong; each is told once, until all is well again. */
enum kube_trouble {
	KUBE_WELL,
	KUBE_CONNECT,
	KUBE_TLS,
	KUBE_TOKEN,
	KUBE_CA,
	KUBE_UNAUTHORIZED, /* 401 */
	KUBE_FORBIDDEN,	   /* 403 */
	KUBE_TERMINATING,  /* 403, for the namespace is being deleted */
	KUBE_THROTTLED,	   /* 429 */
	KUBE_SERVER,	   /* 5xx */
	KUBE_STATUS,	   /* any other, also as an ERROR in a stream */
	KUBE_EXPIRED,	   /* 410, likewise */
	KUBE_PROTOCOL,	   /* HTTP or JSON that can't be understood */
	KUBE_BROKEN,	   /* the connection, before the answer was whole */
	KUBE_SILENT,	   /* nothing came for too long */
	KUBE_ENDED,	   /* too soon */
	KUBE_MEMORY,
	KUBE_STOPPED, /* by the owner */
};

struct kube_outcome {
	enum kube_trouble trouble;
	unsigned int status;	 /* of HTTP, or of an ERROR; 0: none */
	uint64_t retry_after_ms; /* 0: not said */
	char text[400];		 /* a sentence for the log; "" when all is well */
};

/* In tests they are shorter. */
struct kube_times {
	uint64_t head_ms;	    /* until the answer's head is there */
	uint64_t refusal_ms;	    /* until the body of a refusal is */
	uint64_t silence_ms;	    /* between two reads of an answer */
	uint64_t list_ms;	    /* a page of a list, or the initial events of a watch */
	uint64_t first_ms, most_ms; /* back-off */
	uint64_t well_ms;	    /* a watch that ran so long is no accident */
	uint64_t watch_s;	    /* half of the longest that a watch is asked to run */
	uint64_t gap_ms;	    /* between two Events */
	uint64_t forbidden_ms;	    /* after a 403 for one */
	uint64_t keep_ms;	    /* from a change until it is in keep_file */
};
extern const struct kube_times kube_times;

struct kube_api {
	struct eg_loop *loop;
	struct kube_times times;
	struct eg_endpoint to;
	char *tls_name; /* what the certificate must be for */
	char *token_file, *ca_file;
	char where[EG_ADDRESS_TEXT + 8]; /* "10.96.0.1:443", "[fd00::1]:443" */
	char *ca;			 /* what `tls` was made of */
	size_t ca_bytes;
	struct eg_tls_client *tls;
};

struct kube_get_calls {
	/* The head of a 200, or of a 201 to what was sent, came. */
	void (*begun)(void *ctx);
	/* Bytes of its body, valid during the call. Not 0: no more is wanted. */
	int (*data)(void *ctx, struct eg_str bytes);
	/* Last of all, the connection being gone. */
	void (*done)(void *ctx, const struct kube_outcome *o);
};

struct kube_get {
	struct kube_api *api;
	const struct kube_get_calls *calls;
	void *ctx;
	const char *what;	  /* "pods": what is asked for, for sentences */
	const char *method;	  /* static */
	struct eg_stream *stream; /* NULL: nothing is under way */
	struct eg_timer timer;
	uint64_t deadline_ms; /* of the whole answer */
	bool sent;
	struct eg_buf out;	 /* secret: the request */
	struct eg_secret *token; /* until the head of the answer; a refusal must not quote it */
	struct eg_buf in;
	struct eg_h1_scan scan;
	unsigned int interim;
	bool in_body;
	enum eg_h1_body body;
	uint64_t left;
	struct eg_chunked chunked;
	struct eg_buf refusal;
	struct kube_outcome outcome;
};

/* Before the first; what is in `api` is borrowed for as long as the get. */
void kube_get_init(struct kube_get *g, struct kube_api *api, const char *what,
		   const struct kube_get_calls *calls, void *ctx);
/* What is under way is given up; `done` is not called. Both are safe in any callback but data(). */
void kube_get_stop(struct kube_get *g);
void kube_get_fini(struct kube_get *g);
/*
 * Asks for `target`; the answer may take limit_ms. None may be under way. True: `done` will be
 * called, from the loop. False: it will not, and *o says why.
 */
bool kube_get_begin(struct kube_get *g, struct eg_str target, uint64_t limit_ms,
		    struct kube_outcome *o) EG_MUST;

/* What is sent: POST, PATCH... (static), the media type and the content, which are copied. */
struct kube_content {
	const char *method, *type;
	struct eg_str bytes;
};
/* Likewise. */
bool kube_send_begin(struct kube_get *g, struct eg_str target, const struct kube_content *content,
		     uint64_t limit_ms, struct kube_outcome *o) EG_MUST;

#endif
