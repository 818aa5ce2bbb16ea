/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/h2_call.h"

#include <stdio.h>

#include "base/state.h"
#include "proto/trailers.h"
#include "upstream/h2_conn.h"

#define PAIRS_MAX (EG_H1_MAX_HEADERS + 16u) /* the client's and ours */

static const uint32_t send_successors[] = {
	[EG_H2_SEND_IDLE] = EG_TO(EG_H2_SEND_HEAD) | EG_TO(EG_H2_SEND_STOPPED),
	[EG_H2_SEND_HEAD] = EG_TO(EG_H2_SEND_BODY) | EG_TO(EG_H2_SEND_STOPPED),
	[EG_H2_SEND_BODY] = EG_TO(EG_H2_SEND_DONE) | EG_TO(EG_H2_SEND_STOPPED),
	[EG_H2_SEND_DONE] = 0,
	[EG_H2_SEND_STOPPED] = 0,
};

static const uint32_t receive_successors[] = {
	[EG_H2_RECEIVE_IDLE] = EG_TO(EG_H2_RECEIVE_HEAD) | EG_TO(EG_H2_RECEIVE_FAILED),
	[EG_H2_RECEIVE_HEAD] = EG_TO(EG_H2_RECEIVE_BODY) | EG_TO(EG_H2_RECEIVE_FAILED),
	[EG_H2_RECEIVE_BODY] = EG_TO(EG_H2_RECEIVE_DONE) | EG_TO(EG_H2_RECEIVE_FAILED),
	[EG_H2_RECEIVE_DONE] = 0,
	[EG_H2_RECEIVE_FAILED] = 0,
};

static void set_send(struct eg_h2_call *c, enum eg_h2_send to)
{
	eg_state_check("upstream h2 send", send_successors, c->send, to);
	c->send = to;
}

static void set_receive(struct eg_h2_call *c, enum eg_h2_receive to)
{
	eg_state_check("upstream h2 receive", receive_successors, c->receive, to);
	c->receive = to;
}

static struct eg_h2_call *of(struct eg_call *call)
{
	return eg_container_of(call, struct eg_h2_call, base);
}

/* Leaves the stream: the connection tells this call nothing more, and the lease is given back.
 * `code`: what the provider is told, if the stream is still open. */
static void leave(struct eg_h2_call *c, bool tell, uint32_t code)
{
	struct eg_upstream_conn *conn = c->base.conn;
	struct eg_h2_conn *h = conn->h2;

	c->base.conn = NULL;
	if (c->send != EG_H2_SEND_DONE && c->send != EG_H2_SEND_STOPPED)
		set_send(c, EG_H2_SEND_STOPPED);
	h2_conn_detach(h, c);
	if (c->id && c->receive != EG_H2_RECEIVE_DONE)
		h->late += H2_STREAM_WINDOW;
	if (c->id && tell && h->state != H2_DEAD) {
		/* Out of memory: the stream stays open there until the connection ends; what comes
		 * on it is dropped. */
		(void)nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, c->id, code);
		h2_conn_flush_later(h);
	}
	eg_buf_fini(&c->text);
	eg_upstream_release(conn, true);
}

void h2_call_failed(struct eg_h2_call *c, enum eg_call_loss loss, enum eg_reason reason,
		    const char *text)
{
	set_receive(c, EG_H2_RECEIVE_FAILED);
	c->base.failed = true;
	c->base.loss = loss;
	leave(c, false, 0);
	c->base.ops->failed(c->base.ctx, reason, text);
}

/* The provider's fault, and only this stream's: it is told so. */
static void refuse(struct eg_h2_call *c, const char *text)
{
	(void)nghttp2_submit_rst_stream(c->base.conn->h2->session, NGHTTP2_FLAG_NONE, c->id,
					NGHTTP2_PROTOCOL_ERROR);
	h2_conn_flush_later(c->base.conn->h2);
	h2_call_failed(c, EG_CALL_LOSS_STREAM, EG_REASON_UPSTREAM_PROTOCOL, text);
}

/* ---- the request ---- */

/* Fields of the text that mean something to HTTP/1.1 alone (RFC 9113 section 8.2.2). */
static bool connection_specific(struct eg_str name, struct eg_str value)
{
	static const struct eg_str names[] = {
		EG_STR("connection"),	     EG_STR("keep-alive"), EG_STR("proxy-connection"),
		EG_STR("transfer-encoding"), EG_STR("upgrade"),	   EG_STR("http2-settings"),
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++)
		if (eg_str_eq(name, names[i]))
			return true;
	return eg_str_eq(name, EG_STR("te")) && !eg_str_ieq(value, EG_STR("trailers"));
}

/* HPACK's table outlives the request: only what is known to carry no secret may be kept in it.
 * Everything else goes as "never indexed" (RFC 7541 section 7.1.3), which also tells whoever
 * encodes it again. */
static bool may_be_indexed(struct eg_str name)
{
	static const struct eg_str names[] = {
		EG_STR(":method"),	   EG_STR(":scheme"),	   EG_STR(":authority"),
		EG_STR("accept-encoding"), EG_STR("content-type"), EG_STR("anthropic-version"),
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++)
		if (eg_str_eq(name, names[i]))
			return true;
	return false;
}

static nghttp2_nv pair(struct eg_str name, struct eg_str value)
{
	nghttp2_nv v = {
		/* nghttp2 has no const form; the bytes are only read. */
		.name = (uint8_t *)(uintptr_t)name.p,
		.value = (uint8_t *)(uintptr_t)value.p,
		.namelen = name.n,
		.valuelen = value.n,
		.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE,
	};

	if (!may_be_indexed(name))
		v.flags |= NGHTTP2_NV_FLAG_NO_INDEX;
	return v;
}

/* Cuts `*rest` before `end`, which goes, too; false: there is none. */
static bool cut(struct eg_str *rest, char end, struct eg_str *out)
{
	const char *at = rest->n ? memchr(rest->p, end, rest->n) : NULL;

	if (!at)
		return false;
	*out = (struct eg_str){rest->p, (size_t)(at - rest->p)};
	rest->n -= out->n + 1;
	rest->p = at + 1;
	return true;
}

/* A line, without its CRLF. */
static bool cut_line(struct eg_str *rest, struct eg_str *line)
{
	if (!cut(rest, '\n', line) || !line->n || line->p[line->n - 1] != '\r')
		return false;
	line->n--;
	return true;
}

/* Names are lower case in HTTP/2: made so where they lie, in the secret buffer. */
static void lower(struct eg_str name)
{
	char *p = (char *)(uintptr_t)name.p;

	for (size_t i = 0; i < name.n; i++)
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] = (char)(p[i] + ('a' - 'A'));
}

/* The pairs of our own head, which has no obs-fold and one space after each colon. Returns how
 * many, 0: it is not a head. */
static size_t read_pairs(struct eg_str text, bool tls, nghttp2_nv v[PAIRS_MAX])
{
	struct eg_str method, target, line, name;
	size_t n = 4, authority = 0;

	if (!cut(&text, ' ', &method) || !cut(&text, ' ', &target) || !cut_line(&text, &line))
		return 0;
	v[0] = pair(EG_STR(":method"), method);
	v[1] = pair(EG_STR(":scheme"), tls ? EG_STR("https") : EG_STR("http"));
	v[3] = pair(EG_STR(":path"), target);
	while (cut_line(&text, &line) && line.n) {
		if (!cut(&line, ':', &name))
			return 0;
		while (line.n && *line.p == ' ') {
			line.p++;
			line.n--;
		}
		lower(name);
		if (eg_str_eq(name, EG_STR("host"))) {
			v[2] = pair(EG_STR(":authority"), line);
			authority++;
		} else if (!connection_specific(name, line)) {
			if (n == PAIRS_MAX)
				return 0;
			v[n++] = pair(name, line);
		}
	}
	return authority == 1 ? n : 0;
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
			 uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
	struct eg_h2_call *c = nghttp2_session_get_stream_user_data(session, id);
	struct iovec v[EG_CALL_SEGMENTS];
	size_t at_hand = 0;
	bool last = true;
	int n;

	(void)buf;
	(void)source;
	(void)ctx;
	if (!c)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* its RST_STREAM is on the way */
	n = c->base.ops->body(c->base.ctx, v, &last);
	for (int i = 0; i < n; i++)
		at_hand += v[i].iov_len;
	if (!at_hand && !last)
		return NGHTTP2_ERR_DEFERRED;
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (last && at_hand <= length)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)EG_MIN(at_hand, length);
}

void h2_call_head_sent(struct eg_h2_call *c)
{
	eg_buf_fini(&c->base.head); /* wiped: it is serialised */
	set_send(c, EG_H2_SEND_BODY);
	if (c->no_body)
		h2_call_request_sent(c);
}

void h2_call_request_sent(struct eg_h2_call *c)
{
	set_send(c, EG_H2_SEND_DONE);
	c->base.ops->request_sent(c->base.ctx);
}

static void on_begin_failed(struct eg_defer *d)
{
	struct eg_h2_call *c = eg_container_of(d, struct eg_h2_call, begin_failed);

	if (c->base.conn && !c->id)
		h2_call_failed(c, EG_CALL_LOSS_UNPROCESSED, EG_REASON_UPSTREAM_RESET,
			       "no stream could be begun: out of memory, or of stream ids");
}

static void begin(struct eg_call *call, bool chunked)
{
	struct eg_h2_call *c = of(call);
	struct eg_h2_conn *h = call->conn->h2;
	nghttp2_data_provider source = {.read_callback = read_body};
	struct iovec v[EG_CALL_SEGMENTS];
	nghttp2_nv pairs[PAIRS_MAX];
	bool tls = call->conn->origin->tls;
	size_t head_cap = call->conn->in.cap, n = read_pairs(eg_buf_str(&call->head), tls, pairs);
	bool last = true;
	int32_t id;

	(void)chunked; /* DATA frames need no framing of their own */
	eg_buf_init(&c->text, head_cap);
	eg_list_append(&h->calls, &c->link);
	set_send(c, EG_H2_SEND_HEAD);
	set_receive(c, EG_H2_RECEIVE_HEAD);
	c->begin_failed.run = on_begin_failed;
	c->no_body = !call->ops->body(call->ctx, v, &last) && last;
	id = n ? nghttp2_submit_request(h->session, NULL, pairs, n, c->no_body ? NULL : &source, c)
	       : NGHTTP2_ERR_INVALID_ARGUMENT;
	if (id < 0) {
		eg_loop_defer(call->conn->owner->o.loop, &c->begin_failed);
		return;
	}
	c->id = id;
	h2_conn_flush_later(h);
}

static void body_ready(struct eg_call *call)
{
	struct eg_h2_call *c = of(call);
	struct eg_h2_conn *h = call->conn->h2;

	if (c->send > EG_H2_SEND_BODY || !c->id)
		return;
	/* INVALID_ARGUMENT: it is not waiting for any. */
	if (nghttp2_session_resume_data(h->session, c->id) == NGHTTP2_ERR_NOMEM)
		eg_warn("out of memory: a request's body waits");
	h2_conn_flush_later(h);
}

/* ---- the answer ---- */

void h2_call_headers_begin(struct eg_h2_call *c)
{
	c->base.first_byte_seen = true;
	eg_buf_clear(&c->text);
	c->fields = 0;
	if (c->receive != EG_H2_RECEIVE_HEAD)
		return;
	c->status = 0;
	c->has_length = false;
}

/* What nghttp2 lets through is a name in lower case without control bytes, a value without CR, LF
 * and NUL, and no field that belongs to a connection; the reader after us looks again. */
static int append_field(struct eg_h2_call *c, struct eg_str name, struct eg_str value)
{
	int r = eg_buf_append_str(&c->text, name);

	if (!r)
		r = eg_buf_append(&c->text, ": ", 2);
	if (!r)
		r = eg_buf_append_str(&c->text, value);
	return r ? r : eg_buf_append(&c->text, "\r\n", 2);
}

static int append_status(struct eg_h2_call *c, struct eg_str digits)
{
	int r = eg_buf_append(&c->text, "HTTP/1.1 ", 9);

	if (!r)
		r = eg_buf_append_str(&c->text, digits);
	return r ? r : eg_buf_append(&c->text, " \r\n", 3);
}

static bool trailers_wanted(const struct eg_h2_call *c)
{
	return c->base.trailers != EG_CALL_TRAILERS_DROPPED && c->base.ops->trailers;
}

/* Bounded as a head is. */
static bool take_trailer(struct eg_h2_call *c, struct eg_str name, struct eg_str value)
{
	int r = !trailers_wanted(c)		   ? 0
		: ++c->fields <= EG_H1_MAX_HEADERS ? append_field(c, name, value)
						   : -ENOBUFS;

	if (r)
		refuse(c, r == -ENOBUFS ? "the answer's trailers are too large"
					: "out of memory for the answer's trailers");
	return !r;
}

bool h2_call_header(struct eg_h2_call *c, struct eg_str name, struct eg_str value)
{
	uint64_t status = 0;
	int r;

	if (c->receive != EG_H2_RECEIVE_HEAD)
		return take_trailer(c, name, value);
	if (eg_str_eq(name, EG_STR(":status"))) {
		if (c->status || value.n != 3 || eg_str_u64(value, &status) || status < 100) {
			refuse(c, "the answer has no valid :status");
			return false;
		}
		c->status = (unsigned int)status;
		r = append_status(c, value);
	} else {
		c->has_length |= eg_str_eq(name, EG_STR("content-length"));
		/* One is left for the framing that is written at the end. */
		r = ++c->fields < EG_H1_MAX_HEADERS ? append_field(c, name, value) : -ENOBUFS;
	}
	if (!r)
		return true;
	if (r == -ENOBUFS)
		refuse(c, "the answer's head is too large");
	else
		refuse(c, "out of memory for the answer's head");
	return false;
}

static void answered(struct eg_h2_call *c)
{
	set_receive(c, EG_H2_RECEIVE_DONE);
	/* An answer before the request is whole: the rest of it isn't wanted (RFC 9113 section
	 * 8.1), and the connection goes on. */
	leave(c, c->send != EG_H2_SEND_DONE, NGHTTP2_NO_ERROR);
	c->base.ops->end(c->base.ctx);
}

/* What HTTP/1.1 has to say about the body's end and HTTP/2 need not. */
static int append_framing(struct eg_h2_call *c, bool last)
{
	bool none = c->base.head_method || c->status == 204 || c->status == 304;

	if (c->has_length || none)
		return 0;
	return last ? append_field(c, EG_STR("content-length"), EG_STR("0"))
		    : append_field(c, EG_STR("transfer-encoding"), EG_STR("chunked"));
}

static void interim(struct eg_h2_call *c, bool last)
{
	if (last)
		refuse(c, "the answer ended with a 1xx");
	else if (c->status == 101)
		refuse(c, "101 was not asked for");
	else if (++c->interim > EG_CALL_INTERIM_MAX)
		refuse(c, "too many 1xx answers");
}

/* The block after the body. One that does not end the stream is no trailers, and nghttp2 resets
 * it. */
static void trailers_end(struct eg_h2_call *c)
{
	struct eg_header *fields = c->base.scratch->headers;
	size_t n = 0;

	if (eg_trailers_read(eg_buf_str(&c->text), fields, EG_H1_MAX_HEADERS, &n)) {
		refuse(c, "the answer's trailers are not valid");
		return;
	}
	if (n)
		c->base.ops->trailers(c->base.ctx, fields, n);
	if (c->base.conn)
		answered(c);
}

/* By its length it is whole: END_STREAM may come in a frame of its own, later than the client goes.
 * Unless it is waiting for what may come with that. */
static bool whole_by_length(const struct eg_h2_call *c)
{
	return !c->left && !(trailers_wanted(c) && c->base.trailers == EG_CALL_TRAILERS_AWAITED);
}

void h2_call_headers_end(struct eg_h2_call *c, bool last)
{
	struct eg_h1_head *head = c->base.scratch;
	enum eg_reason reason = EG_REASON_UPSTREAM_PROTOCOL;
	struct eg_h1_scan scan = {0};

	if (c->receive != EG_H2_RECEIVE_HEAD) {
		if (last)
			trailers_end(c);
		return;
	}
	if (c->status && c->status < 200) {
		interim(c, last);
		return;
	}
	if (append_framing(c, last) || eg_buf_append(&c->text, "\r\n", 2)) {
		refuse(c, "the answer's head is too large");
		return;
	}
	if (eg_h1_parse_response(&scan, eg_buf_str(&c->text), &eg_h1_default_limits,
				 c->base.head_method ? EG_STR("HEAD") : EG_STR("GET"), head,
				 &reason) != EG_IO_DONE) {
		refuse(c, "the answer's head is not valid");
		return;
	}
	set_receive(c, EG_H2_RECEIVE_BODY);
	c->left = head->body == EG_H1_BODY_LENGTH ? head->content_length : UINT64_MAX;
	c->base.answer_head = eg_buf_str(&c->text);
	c->base.whole = last || whole_by_length(c);
	c->base.ops->head(c->base.ctx, head);
	if (!c->base.conn)
		return;
	eg_buf_fini(&c->text);
	if (c->base.whole)
		answered(c);
}

/* The connection's window was opened again as the bytes came: a paused stream starves no other. */
static void consume(struct eg_h2_call *c)
{
	struct eg_h2_conn *h = c->base.conn->h2;

	if (!c->unconsumed)
		return;
	/* Out of memory: the WINDOW_UPDATE leaves with the next bytes that are consumed. */
	(void)nghttp2_session_consume_stream(h->session, c->id, c->unconsumed);
	c->unconsumed = 0;
	h2_conn_flush_later(h);
}

void h2_call_data(struct eg_h2_call *c, struct eg_str data)
{
	c->unconsumed += data.n;
	c->base.ops->data(c->base.ctx, data);
	if (!c->base.conn)
		return;
	if (!c->base.paused)
		consume(c);
	if (c->left != UINT64_MAX)
		c->left -= EG_MIN(c->left, (uint64_t)data.n);
	if (whole_by_length(c))
		answered(c);
}

bool h2_call_overruns(const struct eg_h2_call *c, uint64_t more)
{
	return c->receive == EG_H2_RECEIVE_BODY && c->left != UINT64_MAX && more > c->left;
}

void h2_call_overrun(struct eg_h2_call *c)
{
	refuse(c, "the answer is longer than its content-length");
}

void h2_call_ended(struct eg_h2_call *c)
{
	if (c->receive == EG_H2_RECEIVE_BODY)
		answered(c);
}

static void pause_call(struct eg_call *call)
{
	call->paused = true;
}

static void resume(struct eg_call *call)
{
	call->paused = false;
	consume(of(call));
}

static void end(struct eg_call *call)
{
	leave(of(call), true, NGHTTP2_CANCEL);
}

const struct eg_call_kind h2_call_kind = {
	.protocol = "HTTP/2",
	.begin = begin,
	.body_ready = body_ready,
	.pause = pause_call,
	.resume = resume,
	.end = end,
};
