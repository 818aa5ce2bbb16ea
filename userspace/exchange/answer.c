/* SPDX-License-Identifier: Apache-2.0 */
/* What the client gets: a provider's answer, or Egret's own. */
#include <stdio.h>

#include "exchange/exchange_impl.h"
#include "proto/websocket.h"
#include "provider/bedrock_error.h"
#include "provider/error_form.h"

const struct eg_call_ops exchange_call_ops = {
	.body = exchange_body_pieces,
	.body_sent = exchange_body_sent,
	.request_sent = exchange_attempt_request_sent,
	.head = exchange_on_head,
	.data = exchange_on_data,
	.trailers = exchange_on_trailers,
	.end = exchange_on_end,
	.failed = exchange_attempt_failed,
};

#define OWN_HEADERS 7

static void add_header(struct eg_exchange *x, struct eg_str name, struct eg_str value)
{
	x->answer_headers[x->answer_header_count++] = (struct eg_header){name, value};
}

void exchange_give_head(struct eg_exchange *x)
{
	/* An answer that begins early says nothing about the rest of the request: gRPC talks both
	 * ways at once. */
	x->duplex = exchange_streams_both_ways(x);
	if (x->request != REQUEST_COMPLETE && !x->tunnel && !x->duplex)
		exchange_set_request(x, REQUEST_IGNORED);
	exchange_set_answer(x, ANSWER_PASS);
	x->status = x->out.status;
	x->first_byte_ms = eg_loop_now_ms(x->engine->loop);
	exchange_step(x, "answer", x->reason, "begins, with status %u", x->status);
	x->out.headers = x->answer_headers;
	x->out.header_count = x->answer_header_count;
	x->sink->head(x->sink_ctx, &x->out);
}

static void give_end(struct eg_exchange *x)
{
	exchange_give_trailers(x);
	if (exchange_over(x))
		return;
	exchange_set_answer(x, ANSWER_DONE);
	exchange_finish(x);
	x->sink->end(x->sink_ctx);
}

/* ---- Egret's own answers ---- */

/* An error object in the caller's dialect, or as the API's own. 0 or -errno. */
static int describe_denial(struct eg_exchange *x, enum eg_reason reason, struct eg_buf *body)
{
	unsigned int status = eg_reason_status(reason);
	const char *host = x->peer->server_name ? x->peer->server_name : x->host;
	enum eg_error_form form =
		eg_error_form_of(eg_str_from(x->peer->gateway ? NULL : host), x->target.decoded);
	int r = eg_error_write(body, form, x->dialect, reason, eg_str_from(x->detail),
			       eg_str_from(x->id));

	if (r)
		return r;
	add_header(x, EG_STR("content-type"), EG_STR("application/json"));
	if (form == EG_ERROR_BEDROCK) {
		add_header(x, EG_STR("x-amzn-errortype"),
			   eg_str_from(eg_bedrock_error_type(reason)));
		add_header(x, EG_STR("x-amzn-requestid"), eg_str_from(x->id));
	}
	if (!eg_reason_retryable(reason))
		add_header(x, EG_STR("x-should-retry"), EG_STR("false"));
	else if (status == 503)
		add_header(x, EG_STR("retry-after"), EG_STR("1"));
	if (reason == EG_REASON_CONTENT_ENCODING) /* RFC 9110 section 15.5.16 */
		add_header(x, EG_STR("accept-encoding"), EG_STR(EG_CODINGS_READ));
	x->out = (struct eg_answer){
		.status = status ? status : 403,
		.length_known = true,
		.length = body->length,
		.no_body = eg_str_eq(x->method, EG_STR("HEAD")),
	};
	return 0;
}

void exchange_deny(struct eg_exchange *x, enum eg_reason reason, const char *detail, bool close)
{
	const char *text = detail ? detail : eg_reason_text(reason);
	struct eg_buf body;

	if (x->answer == ANSWER_PASS) {
		exchange_cut_answer(x, reason);
		return;
	}
	if (exchange_over(x))
		return;
	exchange_attempt_stop(x);
	eg_usage_watch_destroy(x->watch); /* of an answer that is not passed on */
	x->watch = NULL;
	x->sse = false;
	x->trailer_count = 0;
	x->reason = reason;
	x->detail = detail;
	exchange_step(x, "answer", reason, "refused by Egret: %s", text);
	if (x->dialect == EG_DIALECT_NONE) /* refused before it was looked up */
		x->dialect = exchange_spoken(x);
	eg_buf_init(&body, 8192);
	x->answer_headers = eg_arena_alloc(&x->arena, OWN_HEADERS * sizeof(*x->answer_headers));
	x->answer_header_count = 0;
	if (!x->answer_headers ||
	    (exchange_speaks_grpc(x) ? exchange_grpc_denial(x, reason, eg_str_from(text))
				     : describe_denial(x, reason, &body))) {
		/* No memory even for the answer: the client sees a reset. */
		eg_buf_fini(&body);
		exchange_set_answer(x, ANSWER_CUT);
		exchange_finish(x);
		x->sink->cut(x->sink_ctx);
		return;
	}
	add_header(x, EG_STR("x-egret-reason"), eg_str_from(eg_reason_label(reason)));
	add_header(x, EG_STR("x-egret-request-id"), eg_str_from(x->id));
	x->out.close = close || x->released;
	x->out.last = reason == EG_REASON_POLICY_CHANGED || x->released;
	exchange_give_head(x);
	if (!x->out.no_body && !x->out.whole && !exchange_over(x)) {
		x->bytes_out += body.length;
		(void)x->sink->data(x->sink_ctx, eg_buf_str(&body));
	}
	eg_buf_fini(&body);
	if (!exchange_over(x))
		give_end(x);
}

static void note_tail(struct eg_exchange *x, struct eg_str data)
{
	size_t all = sizeof(x->tail), n = EG_MIN(data.n, all);

	memmove(x->tail, x->tail + n, all - n);
	memcpy(x->tail + all - n, data.p + data.n - n, n);
}

/* An empty line is what ends an event; lines end with LF, CR or both. */
static bool between_events(const struct eg_exchange *x)
{
	const char *end = x->tail + sizeof(x->tail);

	return !memcmp(end - 2, "\n\n", 2) || !memcmp(end - 2, "\r\r", 2) ||
	       !memcmp(end - 3, "\n\r\n", 3);
}

void exchange_cut_answer(struct eg_exchange *x, enum eg_reason reason)
{
	struct eg_buf event;

	exchange_attempt_stop(x);
	x->reason = reason;
	eg_buf_init(&event, 8192);
	/* Inside an event there is nothing to be said that a client would read as an error. */
	if (x->sse && x->answer_coding == EG_CODING_IDENTITY && between_events(x) &&
	    !x->out.length_known && !x->pass_on &&
	    !eg_dialect_error_event(&event, x->dialect, reason, eg_str_from(x->id)) &&
	    event.length) {
		x->bytes_out += event.length;
		(void)x->sink->data(x->sink_ctx, eg_buf_str(&event));
	}
	eg_buf_fini(&event);
	if (exchange_over(x))
		return;
	exchange_set_answer(x, ANSWER_CUT);
	exchange_finish(x);
	x->sink->cut(x->sink_ctx);
}

/* ---- a provider's answer ---- */

static bool header_passes(const struct eg_exchange *x, const struct eg_h1_head *head,
			  struct eg_str name)
{
	enum eg_field f = eg_field_of(name);

	if (f == EG_FIELD_CONTENT_LENGTH || eg_h1_hop_by_hop(head, f, name))
		return false;
	return !x->provider || eg_response_header_allowed(x->provider->dialect, name);
}

/* Copies the head's bytes: its fields outlive the connection's buffer. */
static int copy_headers(struct eg_exchange *x, const struct eg_h1_head *head)
{
	x->answer_header_count = 0;
	x->key_quoted = false;
	x->answer_headers = eg_arena_alloc(&x->arena, (head->header_count + OWN_HEADERS) *
							      sizeof(*x->answer_headers));
	if (!x->answer_headers)
		return -ENOMEM;
	for (size_t i = 0; i < head->header_count; i++) {
		const struct eg_header *h = &head->headers[i];
		char *copy;

		if (!header_passes(x, head, h->name))
			continue;
		if (exchange_quotes_key(x, h->value) || exchange_quotes_key(x, h->name)) {
			exchange_note_quote(x);
			continue;
		}
		copy = eg_arena_alloc(&x->arena, h->name.n + h->value.n);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, h->name.p, h->name.n);
		if (h->value.n)
			memcpy(copy + h->name.n, h->value.p, h->value.n);
		add_header(x, (struct eg_str){copy, h->name.n},
			   (struct eg_str){copy + h->name.n, h->value.n});
	}
	if (x->provider)
		add_header(x, EG_STR("x-egret-request-id"), eg_str_from(x->id));
	return 0;
}

static void describe_answer(struct eg_exchange *x, const struct eg_h1_head *head)
{
	const struct eg_header *type = eg_h1_find(head, EG_STR("content-type"));
	const struct eg_header *length = eg_h1_find(head, EG_STR("content-length"));

	x->out = (struct eg_answer){
		.status = head->status,
		.no_body = head->body == EG_H1_BODY_NONE,
		.length_known = head->body == EG_H1_BODY_LENGTH,
		.length = head->content_length,
		.whole = x->call.base.whole,
		.close = x->released,
		.last = x->released,
	};
	if (x->out.no_body && length && !eg_str_u64(length->value, &x->out.length))
		x->out.length_known = head->status != 204;
	x->sse = type && eg_str_istarts(type->value, EG_STR("text/event-stream"));
	x->json = type && eg_str_istarts(type->value, EG_STR("application/json"));
	memset(x->tail, '\n', sizeof(x->tail));
	if (x->provider && !x->unread && (x->sse || x->json) && head->status < 300)
		x->watch = eg_usage_watch_create(x->dialect, x->operation, x->sse);
}

static int copy_error_head(struct eg_exchange *x, const struct eg_h1_head *head)
{
	struct eg_h1_head *copy = eg_arena_alloc(&x->arena, sizeof(*copy));
	struct eg_str from = x->call.base.answer_head;
	char *bytes = eg_arena_dup(&x->arena, from);

	if (!copy || !bytes)
		return -ENOMEM;
	*copy = *head;
	for (size_t i = 0; i < copy->header_count; i++) {
		copy->headers[i].name.p = bytes + (head->headers[i].name.p - from.p);
		copy->headers[i].value.p = bytes + (head->headers[i].value.p - from.p);
	}
	x->error_head = copy;
	return 0;
}

static struct eg_str websocket_key(const struct eg_exchange *x)
{
	for (size_t i = 0; i < x->header_count; i++)
		if (eg_str_ieq(x->headers[i].name, EG_STR("sec-websocket-key")))
			return x->headers[i].value;
	return (struct eg_str){NULL, 0};
}

/* NULL, or why this 101 opens nothing. What is only passed on is between its ends. */
static const char *wrong_grant(const struct eg_exchange *x, const struct eg_h1_head *head)
{
	if (!eg_websocket_granted(head, websocket_key(x)))
		return "the 101 does not grant the WebSocket that was asked for";
	if (x->provider && eg_websocket_extended(head))
		return "the 101 has an extension that was not asked for";
	return NULL;
}

void exchange_on_head(void *ctx, const struct eg_h1_head *head)
{
	struct eg_exchange *x = ctx;
	struct eg_str evidence = eg_region_evidence_header(head);
	const char *wrong;

	x->upstream_status = head->status;
	x->last_data_ms = eg_loop_now_ms(x->engine->loop);
	x->tunnel = head->status == 101;
	wrong = x->tunnel ? wrong_grant(x, head) : NULL;
	if (wrong) {
		x->tunnel = false;
		exchange_attempt_failed(x, EG_REASON_UPSTREAM_PROTOCOL, wrong);
		return;
	}
	x->region_evidence = (struct eg_str){eg_arena_dup(&x->arena, evidence), evidence.n};
	if (copy_headers(x, head) || exchange_reading_begin(x, head) ||
	    (evidence.n && !x->region_evidence.p)) {
		exchange_deny(x, EG_REASON_OVERLOADED, NULL, false);
		return;
	}
	/* A redirect too: its body may quote the credential, and no SDK streams one. */
	if (x->provider && head->status >= 300) {
		if (head->status < 400)
			eg_cooldown_clear(x->engine, x->snapshot, x->provider, x->attempt_began_ms);
		if (copy_error_head(x, head)) {
			exchange_deny(x, EG_REASON_OVERLOADED, NULL, false);
			return;
		}
		eg_buf_init(&x->collected, ERROR_BODY_MAX);
		exchange_set_answer(x, ANSWER_COLLECT);
		exchange_attempt_timer(x, ERROR_BODY_MS);
		return;
	}
	describe_answer(x, head);
	if (exchange_preamble_wanted(x)) {
		exchange_preamble_begin(x);
		return;
	}
	if (x->provider)
		eg_cooldown_clear(x->engine, x->snapshot, x->provider, x->attempt_began_ms);
	exchange_attempt_timer(x, exchange_attempt_patience(x));
	exchange_give_head(x);
}

static void give_bytes(struct eg_exchange *x, struct eg_str data)
{
	x->bytes_out += data.n;
	note_tail(x, data);
	if (!x->sink->data(x->sink_ctx, data)) {
		if (exchange_over(x))
			return;
		x->answer_paused = true;
		eg_call_pause(&x->call.base);
	} else if (x->answer_paused && !exchange_over(x)) {
		/* What came after the pause took along all that waited: the sink, which has room,
		 * has nothing to say any more. Not from inside the call's own callback. */
		eg_loop_defer(x->engine->loop, &x->unpause);
	}
}

/* What may go out of a piece; then, if that is not all, the answer's end. */
static void give_checked(struct eg_exchange *x, struct eg_str data, bool all, enum eg_reason reason)
{
	if (data.n)
		give_bytes(x, data);
	if (!all && !exchange_over(x))
		exchange_cut_answer(x, reason);
}

void exchange_give_data(struct eg_exchange *x, struct eg_str data)
{
	enum eg_reason reason = EG_REASON_OK;
	struct eg_buf before;
	bool all = exchange_withhold(x, &before, &data, &reason);

	give_checked(x, data, all, reason);
	eg_buf_fini(&before);
}

void exchange_give_beginning(struct eg_exchange *x, struct eg_str data)
{
	enum eg_reason reason = EG_REASON_OK;
	struct eg_str whole = data;
	struct eg_buf before;
	bool all = exchange_withhold(x, &before, &data, &reason);

	if (!all && reason == EG_REASON_UPSTREAM_AUTH && exchange_quote_comes_first(x, whole)) {
		exchange_deny(x, reason, EXCHANGE_WITHHELD, false);
	} else {
		exchange_give_head(x);
		if (!exchange_over(x))
			give_checked(x, data, all, reason);
	}
	eg_buf_fini(&before);
}

void exchange_on_data(void *ctx, struct eg_str data)
{
	struct eg_exchange *x = ctx;

	x->last_data_ms = eg_loop_now_ms(x->engine->loop);
	if (x->answer == ANSWER_COLLECT) {
		/* Exactly as much as is collected, wherever it was cut. */
		struct eg_str part = {data.p,
				      EG_MIN(data.n, x->collected.cap - x->collected.length)};

		if (!eg_buf_append_str(&x->collected, part)) {
			exchange_read_answer(x, part);
			data.p += part.n;
			data.n -= part.n;
			if (!data.n)
				return;
		}
		exchange_judge_error(x);
	}
	if (x->answer == ANSWER_PREAMBLE) {
		exchange_preamble_data(x, data);
	} else if (x->answer == ANSWER_PASS) {
		exchange_read_answer(x, data);
		exchange_give_data(x, data);
	}
}

void exchange_give_collected(struct eg_exchange *x)
{
	struct eg_buf collected = x->collected;

	/* The sink may let go of the exchange: what it is given stays until it is done. */
	eg_buf_init(&x->collected, 0);
	if (!exchange_over(x) && collected.length)
		exchange_give_data(x, eg_buf_str(&collected));
	eg_buf_fini(&collected);
}

/* Inside a block that nobody can read: what of it was held back may be the credential. */
static bool ended_in_block(const struct eg_exchange *x)
{
	return x->unsure.length && x->reader && eg_decoder_owes(x->reader);
}

/* A stream that ended without its mark was cut, however its connection ended; one that carried an
 * error is no success. */
static enum eg_reason judge_end(const struct eg_exchange *x, bool saw_end, bool saw_error)
{
	if (ended_in_block(x))
		return EG_REASON_UPSTREAM_RESET;
	if (!x->watch || !x->sse || x->upstream_status >= 300)
		return EG_REASON_OK;
	if (saw_error)
		return EG_REASON_UPSTREAM_ERROR;
	return saw_end || !eg_stream_has_end(x->operation) ? EG_REASON_OK
							   : EG_REASON_UPSTREAM_RESET;
}

static void give_rest(struct eg_exchange *x)
{
	struct eg_buf rest = x->unsure; /* no more comes: it was not the credential */

	eg_buf_init(&x->unsure, 0);
	if (rest.length)
		give_bytes(x, eg_buf_str(&rest));
	eg_buf_fini(&rest);
	if (!exchange_over(x))
		give_end(x);
}

/* The answer came to an end that is no success: on record, and whether the provider rests. */
static void note_failed_end(struct eg_exchange *x, enum eg_reason reason, bool saw_error)
{
	enum eg_response_class class = EG_RESPONSE_FAILOVER;

	if (saw_error)
		(void)eg_usage_watch_progress(x->watch, &class);
	if (class == EG_RESPONSE_FAILOVER || class == EG_RESPONSE_QUOTA)
		eg_cooldown_set(x->engine, x->snapshot, x->provider, EG_RESPONSE_FAILOVER, 0);
	x->reason = reason;
	snprintf(x->fail_text, sizeof(x->fail_text), "%s",
		 reason == EG_REASON_UPSTREAM_ERROR ? "an error event inside the stream"
		 : ended_in_block(x) ? "the answer ended inside a block of its encoding"
				     : "the stream ended without its end mark");
}

/*
 * What the provider itself told as an error and then ended in order goes out as it came, end
 * included: the SDKs raise at the event, and a reset may come before they have read that. What was
 * cut has no such event, and no such end.
 */
void exchange_finish_pass(struct eg_exchange *x)
{
	bool saw_end = false, saw_error = false;
	enum eg_reason reason;

	exchange_read_answer_end(x);
	if (x->watch)
		eg_usage_watch_end(x->watch, &x->usage, &saw_end, &saw_error);
	reason = x->provider ? judge_end(x, saw_end, saw_error) : EG_REASON_OK;
	if (x->provider && x->upstream_status < 400)
		exchange_attempt_note(x, reason, x->upstream_status);
	if (reason != EG_REASON_OK)
		note_failed_end(x, reason, saw_error);
	if (reason == EG_REASON_OK || reason == EG_REASON_UPSTREAM_ERROR)
		give_rest(x);
	else
		exchange_cut_answer(x, reason);
}

void exchange_on_end(void *ctx)
{
	struct eg_exchange *x = ctx;

	if (x->answer == ANSWER_COLLECT) {
		x->error_complete = true;
		exchange_judge_error(x);
		return;
	}
	/* Back to the pool before the client's next request may want it. */
	eg_call_end(&x->call.base);
	if (x->answer == ANSWER_PREAMBLE)
		exchange_preamble_end(x);
	else if (x->answer == ANSWER_PASS)
		exchange_finish_pass(x);
}

/* ---- errors of a provider ---- */

/* "never": after these the provider said itself that it did nothing. */
static bool unprocessed(unsigned int status)
{
	return status == 408 || status == 429 || status == 503 || status == 529;
}

static void pass_error(struct eg_exchange *x, enum eg_reason reason)
{
	struct eg_h1_head *head = x->error_head;
	size_t collected = x->collected.length;
	bool complete = x->error_complete;

	if (x->key_quoted || exchange_collected_quotes_key(x)) {
		exchange_note_quote(x);
		exchange_deny(x, EG_REASON_UPSTREAM_AUTH, EXCHANGE_WITHHELD, false);
		return;
	}
	describe_answer(x, head);
	if (complete && !x->out.no_body) {
		x->out.length_known = true;
		x->out.length = collected;
	}
	x->reason = reason;
	if (reason != EG_REASON_OK)
		add_header(x, EG_STR("x-egret-reason"), eg_str_from(eg_reason_label(reason)));
	/* Every target has been tried: a client that retries would do it all again. */
	if (x->attempt_count > 1 && !eg_h1_find(head, EG_STR("x-should-retry")))
		add_header(x, EG_STR("x-should-retry"), EG_STR("false"));
	exchange_attempt_timer(x, exchange_attempt_patience(x));
	exchange_give_head(x);
	exchange_give_collected(x);
	if (exchange_over(x))
		return;
	if (complete) {
		eg_call_end(&x->call.base);
		exchange_finish_pass(x);
	} else if (x->call.base.failed) {
		exchange_cut_answer(x, EG_REASON_UPSTREAM_RESET);
	}
}

void exchange_judge_error(struct eg_exchange *x)
{
	const struct eg_provider *p = x->provider;
	struct eg_response_signal signal = {0};
	bool failover, next;

	eg_response_classify(p->dialect, x->error_head, exchange_collected_said(x), eg_wall_ms(),
			     &signal);
	failover = signal.class == EG_RESPONSE_FAILOVER || signal.class == EG_RESPONSE_QUOTA;
	exchange_attempt_note(x,
			      failover				 ? EG_REASON_UPSTREAM_STATUS
			      : signal.class == EG_RESPONSE_AUTH ? EG_REASON_UPSTREAM_AUTH
								 : EG_REASON_OK,
			      x->upstream_status);
	if (signal.class == EG_RESPONSE_AUTH) {
		/* The provider's own words may quote the key. */
		exchange_deny(x, EG_REASON_UPSTREAM_AUTH, NULL, false);
		return;
	}
	if (exchange_leads_away(x)) {
		exchange_deny(x, EG_REASON_REGION_UNKNOWN,
			      "the provider redirects the request to another host, which may be "
			      "outside of the regions that the policy allows",
			      false);
		return;
	}
	if (!failover) {
		pass_error(x, EG_REASON_OK);
		return;
	}
	eg_cooldown_set(x->engine, x->snapshot, p, signal.class, signal.retry_after_ms);
	next = exchange_attempt_may_replay(x) || unprocessed(x->upstream_status);
	if (next && exchange_attempt_next(x))
		return;
	pass_error(x, EG_REASON_UPSTREAM_STATUS);
}
