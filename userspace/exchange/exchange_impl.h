/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the room: the exchange and who does what. exchange.c: life, states, what the front calls;
 * intake.c: the head's checks and the decision; body.c: what is held or streamed of the request;
 * coded_body.c: what a compressed one says; turns.c: whose body is decoded or read now;
 * coded_answer.c: likewise of an answer; attempt.c: targets and failover; upstream_head.c: the head
 * a provider gets; answer.c: what the client gets; grpc_denial.c: a refusal of gRPC; trailers.c:
 * what follows an answer's body; quote.c: of that, what quotes the credential; redirect.c:
 * redirects that would leave the regions; preamble.c: streams that have not said anything yet;
 * report.c: the record; steps.c: what was decided, for who watches; shed.c: whose requests are
 * refused when the loop is late.
 */
#ifndef EGRET_EXCHANGE_EXCHANGE_IMPL_H
#define EGRET_EXCHANGE_EXCHANGE_IMPL_H

#include "base/arena.h"
#include "base/state.h"
#include "exchange/exchange.h"
#include "proto/decode.h"
#include "upstream/any_call.h"

enum request_state {
	REQUEST_HEAD,	  /* not decided */
	REQUEST_HOLD,	  /* the body is collected, to be read and replayed */
	REQUEST_STREAM,	  /* the body goes on as it comes */
	REQUEST_COMPLETE, /* all of it is here */
	REQUEST_IGNORED,  /* answered before it was complete */
};

enum answer_state {
	ANSWER_NONE,
	ANSWER_CONNECT,	 /* a target was chosen; a connection is on its way */
	ANSWER_WAIT,	 /* the request goes to a target, or went; no head yet */
	ANSWER_COLLECT,	 /* an error's body is read, to know what kind it is */
	ANSWER_PREAMBLE, /* a stream has begun and said nothing yet: held, so that an error goes to
			    the next target */
	ANSWER_PASS,	 /* the head went to the client; the body follows */
	ANSWER_DONE,
	ANSWER_CUT, /* the client saw, or will see, a reset; or it went away */
};

#define ARENA_BUDGET   (512u * 1024u)
#define HOLD_STEP      (16u * 1024u) /* budgets are asked for in steps of this */
#define STREAM_WINDOW  (64u * 1024u) /* of a streamed body: above it the client is not read */
#define ERROR_BODY_MAX (64u * 1024u) /* of a provider's error, read before it is judged */
#define ERROR_BODY_MS  2000u
#define PREAMBLE_MAX   (64u * 1024u) /* of a stream, held until it says something */
#define FRESH_IDLE_MS  1000u	     /* replay "never": no connection that was idle for longer */
#define VIA_MAX	       512u
#define REFUSALS_MAX   3u  /* of one target, which did nothing each time: then it is a failure */
#define OVER_LIMIT_MAX 16u /* likewise, since it allows fewer streams than were open */

struct eg_exchange {
	struct eg_engine *engine;
	const struct eg_sink_ops *sink;
	void *sink_ctx;
	const struct eg_peer *peer;
	struct eg_snapshot *snapshot; /* a reference; NULL: not ready */
	const struct eg_pod_view *pod;
	const struct eg_policy *policy;
	enum request_state request;
	enum answer_state answer;
	bool destroyed, recorded;
	struct eg_account *counted; /* among its requests; NULL: none is known */
	bool reused;		    /* not the first request of the pod's connection */
	struct eg_defer bury;

	/* the request's head; strings in the arena */
	bool have_head;
	struct eg_str head_bytes; /* all of it: wiped, since a key of the client's may be in it */
	struct eg_str method, raw_target, user_agent, via;
	char *host; /* lower case, without port */
	struct eg_header *headers;
	size_t header_count; /* without hop-by-hop, Host, framing and Expect */
	unsigned int minor;
	enum eg_h1_body body_kind;
	uint64_t content_length;
	bool expect_other, origin, placeholder, real_credential;
	bool te_trailers;	     /* the client reads trailers, and said so */
	enum eg_coding coding;	     /* of the body */
	bool websocket;		     /* one is asked for */
	const char *websocket_wrong; /* in that; NULL: nothing */
	bool odd_subprotocol;	     /* among those offered is one that no API defines */
	struct eg_str host_field, host_name, content_type;
	uint16_t host_port;
	struct eg_target target;
	struct eg_str rest; /* of the decoded path: goes after an endpoint's base path */
	enum eg_dialect dialect;
	const struct eg_operation *operation;
	bool content_refused;	    /* it takes none of this Content-Type */
	const char *rules_of;	    /* this name, or NULL; what policy has for it: */
	struct eg_name_rules rules; /* see exchange_decide() */
	struct eg_body_facts body;
	struct eg_decision decision;
	bool shadow;   /* the policy only watches */
	bool pass_on;  /* with the pod's own credential to where the pod wanted to go */
	bool released; /* nothing governs its connection any more */

	/* the request's body */
	struct eg_buf held;
	size_t charged;	      /* with the budgets */
	size_t body_limit;    /* of what is held */
	struct eg_form *form; /* being read as it comes; NULL: none, or at its end */
	struct eg_buf plain;  /* `held`, decoded: only what is read, unless the model is mapped */
	bool coded_refused;   /* it can't be read, for this reason, said at its end */
	enum eg_reason coded_reason;
	const char *coded_detail;
	bool plain_out; /* it goes out instead, since `held` could be read in two ways */
	struct eg_decoder *decoder;	 /* from `held` to `plain`; NULL: not begun, or done */
	size_t decoded;			 /* of `held` */
	bool decode_room;		 /* more comes out of that */
	bool boundary_in_coded;		 /* the form's boundary occurs in `held` as it came */
	struct eg_body_reading *reading; /* all is here, and being read; NULL: not yet, or done */
	bool turn_waits;		 /* for its turn, in the engine's queue */
	struct eg_exchange *turn_next;
	size_t decoder_bytes, plain_charged;
	enum eg_reason decoder_refused; /* what the budgets said to it */
	bool decide_again;		/* with the body */
	struct eg_defer go_on;		/* what came of a streamed body in small pieces goes on */
	bool paused_client;
	uint64_t bytes_in;
	size_t sent;		 /* of the held body, in this attempt */
	struct eg_str model_now; /* what goes out instead of body.model_raw; .p NULL: unchanged */
	bool streaming;		 /* as it comes: `held` is a window, what has left is gone */
	bool consumed;		 /* streamed bytes have left: no replay */
	bool tunnel;		 /* a WebSocket that the provider granted: bytes both ways */
	bool duplex;		 /* HTTP/2 on both sides: the body goes on beside the answer */

	/* attempts */
	size_t target_at;		    /* of decision.targets, in use */
	uint32_t tried;			    /* bits */
	size_t descriptors;		    /* charged: the connection to a provider */
	const struct eg_provider *provider; /* in use; NULL: passing on */
	struct eg_upstream_wait wait;
	union eg_any_call call;
	struct eg_timer timer;
	size_t attempt_count;			 /* of `attempts` */
	bool noted;				 /* the attempt in use is among them */
	uint64_t attempt_began_ms, last_data_ms; /* of the answer; in a tunnel: either way */
	uint64_t last_sent_ms;			 /* the request's last progress, or its end */
	struct eg_defer step; /* connects: never from inside a call's own callback */
	bool fresh;	      /* the connection must be a new one */
	unsigned int refusals, over_limits;
	const char *upstream_protocol;
	bool replayed, billed_twice, upstream_reused, request_sent;
	uint32_t connect_ms;
	char fail_text[200]; /* of the last failure */
	enum eg_reason fail_reason;

	/* the answer */
	struct eg_header *answer_headers;
	size_t answer_header_count;
	struct eg_header *trailers; /* of the answer, what the client gets of them; in the arena */
	size_t trailer_count;
	struct eg_answer out;
	struct eg_buf collected;       /* of an error's body, or of a preamble */
	struct eg_h1_head *error_head; /* in the arena */
	unsigned int upstream_status, status;
	struct eg_defer unpause;
	bool sse, json, answer_paused, error_complete;
	char tail[4];	      /* the last bytes that went out of the answer's body */
	struct eg_buf unsure; /* given back later: it may be the beginning of the credential */
	bool key_quoted;      /* the answer in hand does, somewhere */
	enum eg_coding answer_coding;
	struct eg_str answer_encoding; /* its name, of the header; .n 0: none */
	struct eg_decoder *reader;     /* of a coded answer; NULL: it is not coded, or not read */
	size_t reader_charged;
	size_t reader_said;	 /* bytes that came out of the last piece of it */
	uint64_t reader_bytes;	 /* coded ones that it took */
	uint64_t reader_cpu_ns;	 /* and what they cost */
	struct eg_buf readable;	 /* of a coded answer: its beginning, decoded */
	struct eg_buf key_begun; /* likewise its end, if the credential may begin there */
	bool coded_quote;	 /* what was decoded quotes the credential */
	const char *unread;	 /* why a coded answer was not read to its end; NULL: it was */
	struct eg_str region_evidence; /* of the answer's head; .p NULL: none */
	struct eg_usage_watch *watch;
	struct eg_usage usage;
	uint64_t bytes_out;

	/* the record */
	struct eg_traced *traced; /* somebody watches it; NULL: nobody does (steps.c) */
	char id[33];
	enum eg_reason reason;
	enum eg_reason shadow_reason; /* what would have been */
	const char *detail;
	uint64_t began_ms, wall_ms, first_byte_ms;

	/* From here on nothing is cleared when another request gets this memory (exchange.c). */
	struct eg_attempt attempts[EG_ATTEMPTS];
	struct eg_arena arena;
	struct eg_exchange *spare; /* of the engine's spare ones, the next */
};

/* exchange.c */
void exchange_set_request(struct eg_exchange *x, enum request_state to);
void exchange_set_answer(struct eg_exchange *x, enum answer_state to);
/* Everything is over but the memory: lets go of the connection, the body, the snapshot's use. */
void exchange_finish(struct eg_exchange *x);
/* A body that goes on as it comes, over HTTP/2 on both sides: it and the answer don't wait for each
 * other. */
static inline bool exchange_streams_both_ways(const struct eg_exchange *x)
{
	const struct eg_upstream_conn *conn = x->call.base.conn;

	return x->request == REQUEST_STREAM && x->peer->http2 && conn && conn->h2;
}
static inline bool exchange_over(const struct eg_exchange *x)
{
	return x->answer == ANSWER_DONE || x->answer == ANSWER_CUT;
}

/* intake.c */
int exchange_copy_head(struct eg_exchange *x, const struct eg_h1_head *head,
		       struct eg_str bytes) EG_MUST;
/* What a request speaks whose operation was not looked up: by its host, else by its path as it was
 * sent; and one whose head could not be read. For the form of the answer. */
enum eg_dialect exchange_spoken(const struct eg_exchange *x);
enum eg_dialect exchange_spoken_unread(struct eg_str bytes);
/* The path of a target that was never read, for the record; empty where there is none in it. */
struct eg_str exchange_path_unread(const struct eg_exchange *x);
/* The current snapshot, the pod of the socket's address and its policy. */
enum eg_reason exchange_identify(struct eg_exchange *x, const char **detail);
/* Checks the head and asks policy. OK: go on. */
enum eg_reason exchange_intake(struct eg_exchange *x, const char **detail);
/* Asks policy with what is known of the body; takes the decision over. What the policy has for the
 * host is kept from the first time to the second. */
enum eg_reason exchange_decide(struct eg_exchange *x, bool body_read, const char **detail);

/* steps.c: writes down what is decided, for a request that somebody watches. */
void exchange_watched(struct eg_exchange *x);
void exchange_step_write(const struct eg_exchange *x, const char *what, enum eg_reason reason,
			 const char *format, ...) EG_PRINTF(4, 5);
#define exchange_step(x, ...)                                \
	do {                                                 \
		if ((x)->traced)                             \
			exchange_step_write(x, __VA_ARGS__); \
	} while (0)
/* The steps of policy's decision, for eg_policy_decide(); NULL: nobody watches. */
const struct eg_trace *exchange_steps(struct eg_exchange *x, struct eg_trace *room);
/* To whom the target in use is connected, and with which credential. */
void exchange_step_connected(const struct eg_exchange *x, const struct eg_upstream_conn *conn);

/* shed.c: begins to count among the pod's requests, and ends that. */
void exchange_count(struct eg_exchange *x);
void exchange_uncount(struct eg_exchange *x);
/* OVERLOADED: the loop is late, and this pod has more than its share. OK: go on. */
enum eg_reason exchange_shed(struct eg_exchange *x, const char **detail);

/* body.c */
void exchange_body_begin(struct eg_exchange *x);
void exchange_body_go_on(struct eg_defer *d);
void exchange_body_free(struct eg_exchange *x);
extern const struct eg_call_ops exchange_call_ops;
int exchange_body_pieces(void *ctx, struct iovec *v, bool *last);
void exchange_body_sent(void *ctx, size_t n);
/* Bytes a provider gets, for Content-Length. */
uint64_t exchange_body_length(const struct eg_exchange *x);
bool exchange_body_chunked(const struct eg_exchange *x);
/* Does what goes out have the client's Content-Encoding? */
bool exchange_body_coded(const struct eg_exchange *x);
/* Could a target get the whole body (again)? */
bool exchange_body_replayable(const struct eg_exchange *x);

/* Reads on in a body that is all here. True: there is more of it. May end the exchange. */
bool exchange_read_some(struct eg_exchange *x, size_t *budget) EG_MUST;

/* turns.c: decodes, or reads, now if there is not much to do, else when it is its turn. May end the
 * exchange. */
void exchange_turn(struct eg_exchange *x);
void exchange_turn_leave(struct eg_exchange *x);

/* coded_body.c: a held body in a content coding. */
/* What was appended to `held`, to `plain`: some of it, at most *budget, from which that is taken.
 * True: there is more. Else exchange_decoded() was called. */
bool exchange_decode_some(struct eg_exchange *x, size_t *budget) EG_MUST;
/* body.c: all that is here is decoded, or `r` says why it is refused. */
void exchange_decoded(struct eg_exchange *x, enum eg_reason r, const char *detail);
/* It can't be read: nothing of it is held any more, and what still comes is dropped. */
void exchange_decode_refuse(struct eg_exchange *x, enum eg_reason reason, const char *detail);
/* All is here, and decoded: from now on `plain` only. OK, or why it is refused. */
enum eg_reason exchange_decode_end(struct eg_exchange *x, const char **detail) EG_MUST;
void exchange_decode_free(struct eg_exchange *x);
/* After it was read: could who takes no notice of Content-Encoding read something else in it? */
bool exchange_coded_ambiguous(const struct eg_exchange *x);
/* What the body says: as it came, or decoded. */
static inline struct eg_str exchange_body_said(const struct eg_exchange *x)
{
	return eg_buf_str(x->coding == EG_CODING_IDENTITY ? &x->held : &x->plain);
}

/* attempt.c */
void exchange_attempt_first(struct eg_exchange *x);
void exchange_attempt_request_sent(void *ctx);
void exchange_attempt_failed(void *ctx, enum eg_reason reason, const char *text);
/* Notes how the attempt in use ended. */
void exchange_attempt_note(struct eg_exchange *x, enum eg_reason reason, unsigned int status);
/* Does the route allow another attempt after bytes may have been processed? */
bool exchange_attempt_may_replay(const struct eg_exchange *x);
/* The next target; false: there is none, and nothing was done. */
bool exchange_attempt_next(struct eg_exchange *x);
void exchange_attempt_stop(struct eg_exchange *x);
/* Arms the timer for the silence that is allowed now. */
void exchange_attempt_timer(struct eg_exchange *x, uint64_t ms);
/* What is left of the attempt: of the silence allowed, before the answer or in it, and of total_ms;
 * 0: it is over. */
uint64_t exchange_attempt_patience(const struct eg_exchange *x);
/* The region that the request was judged to land in at the target in use; "" none. */
const char *exchange_attempt_region(const struct eg_exchange *x);

/* upstream_head.c: 0; -ENOKEY (*why says more), -EINVAL, -ENOBUFS, -ENOMEM */
int exchange_write_head(struct eg_exchange *x, struct eg_buf *head, const char **why) EG_MUST;

/* answer.c */
void exchange_deny(struct eg_exchange *x, enum eg_reason reason, const char *detail, bool close);
void exchange_on_head(void *ctx, const struct eg_h1_head *head);
void exchange_on_data(void *ctx, struct eg_str data);
void exchange_on_end(void *ctx);
/* The error collected so far is all there will be: judge it. */
void exchange_judge_error(struct eg_exchange *x);
/* The head, then what was collected. */
void exchange_give_head(struct eg_exchange *x);
void exchange_give_data(struct eg_exchange *x, struct eg_str data);
void exchange_give_collected(struct eg_exchange *x);
/* The head, and all that came behind it until now; instead of it an error, if the credential is
 * quoted before anything that would have let the head go. */
void exchange_give_beginning(struct eg_exchange *x, struct eg_str data);
/* The provider's body has ended. */
void exchange_finish_pass(struct eg_exchange *x);
/* After the head went out: error event where the dialect has one, then a reset. */
void exchange_cut_answer(struct eg_exchange *x, enum eg_reason reason);

/* grpc_denial.c */
/* Does the client, as its request's head says? */
bool exchange_speaks_grpc(const struct eg_exchange *x);
/* The refusal's first headers, and x->out. 0 or -ENOMEM. */
int exchange_grpc_denial(struct eg_exchange *x, enum eg_reason reason, struct eg_str text) EG_MUST;

/* trailers.c */
enum eg_call_trailers exchange_trailers_wanted(const struct eg_exchange *x);
void exchange_on_trailers(void *ctx, const struct eg_header *fields, size_t count);
/* To the client, if there are any. May end the exchange. */
void exchange_give_trailers(struct eg_exchange *x);

/* quote.c */
#define EXCHANGE_WITHHELD                                                                       \
	"The provider's answer quotes the credential that Egret sent, so the provider's words " \
	"are "                                                                                  \
	"withheld."
/* Do these bytes hold the credential of the target in use? */
bool exchange_quotes_key(const struct eg_exchange *x, struct eg_str bytes);
/* It does: counted, and said in the log; once an answer. */
void exchange_note_quote(struct eg_exchange *x);
/*
 * Of an answer's body, in order: true, and *data is what may go out now (perhaps nothing); it lies
 * in *before, which the caller frees, or where it was. False, for *reason: the answer ends here,
 * and *data is what stands before the credential.
 */
bool exchange_withhold(struct eg_exchange *x, struct eg_buf *before, struct eg_str *data,
		       enum eg_reason *reason) EG_MUST;

/* Where in what quotes the credential the quote ends; SIZE_MAX: it is not in these bytes. */
size_t exchange_quote_ends(const struct eg_exchange *x, struct eg_str said);

/* Of a coded answer, what was decoded: coded_quote, key_begun. 0 or -errno. */
int exchange_look_for_key(struct eg_exchange *x, struct eg_str said) EG_MUST;
/* Does what was collected? */
bool exchange_collected_quotes_key(const struct eg_exchange *x);

/* coded_answer.c */
/* 0 or -ENOMEM */
int exchange_reading_begin(struct eg_exchange *x, const struct eg_h1_head *head) EG_MUST;
/* Bytes of the answer, before they go anywhere: read, as far as somebody reads them. May end the
 * watch. */
void exchange_read_answer(struct eg_exchange *x, struct eg_str data);
void exchange_read_answer_end(struct eg_exchange *x);
void exchange_reading_reset(struct eg_exchange *x);
void exchange_reading_free(struct eg_exchange *x);
/* What was collected of an answer, as it is said. */
static inline struct eg_str exchange_collected_said(const struct eg_exchange *x)
{
	return eg_buf_str(x->answer_coding == EG_CODING_IDENTITY ? &x->collected : &x->readable);
}

/* redirect.c: does the error collected lead the client elsewhere, where policy has regions? */
bool exchange_leads_away(const struct eg_exchange *x);

/* preamble.c */
/* A stream or JSON body whose beginning can be held; describe_answer has been done. */
bool exchange_preamble_wanted(const struct eg_exchange *x);
void exchange_preamble_begin(struct eg_exchange *x);
void exchange_preamble_data(struct eg_exchange *x, struct eg_str data);
void exchange_preamble_end(struct eg_exchange *x);
/* Of an answer that quotes the credential, with all that came of it: it does so in what is held.
 * Says the same wherever the bytes were cut. */
bool exchange_quote_comes_first(const struct eg_exchange *x, struct eg_str all);

/* report.c */
void exchange_record(struct eg_exchange *x);

#endif
