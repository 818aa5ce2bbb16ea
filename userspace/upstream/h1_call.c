/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/h1_call.h"

#include <stdio.h>

#include "base/state.h"
#include "proto/trailers.h"
#include "upstream/pool.h"

#define READ_BYTES (16u * 1024u)
#define TURN_BYTES (256u * 1024u) /* read at one event: other connections have their turn */

static const uint32_t send_successors[] = {
	[EG_H1_SEND_IDLE] = EG_TO(EG_H1_SEND_HEAD),
	[EG_H1_SEND_HEAD] = EG_TO(EG_H1_SEND_BODY) | EG_TO(EG_H1_SEND_STOPPED),
	[EG_H1_SEND_BODY] =
		EG_TO(EG_H1_SEND_END) | EG_TO(EG_H1_SEND_DONE) | EG_TO(EG_H1_SEND_STOPPED),
	[EG_H1_SEND_END] = EG_TO(EG_H1_SEND_DONE) | EG_TO(EG_H1_SEND_STOPPED),
	[EG_H1_SEND_DONE] = 0,
	[EG_H1_SEND_STOPPED] = 0,
};

static const uint32_t receive_successors[] = {
	[EG_H1_RECEIVE_IDLE] = EG_TO(EG_H1_RECEIVE_HEAD) | EG_TO(EG_H1_RECEIVE_FAILED),
	[EG_H1_RECEIVE_HEAD] =
		EG_TO(EG_H1_RECEIVE_BODY) | EG_TO(EG_H1_RECEIVE_DONE) | EG_TO(EG_H1_RECEIVE_FAILED),
	[EG_H1_RECEIVE_BODY] = EG_TO(EG_H1_RECEIVE_DONE) | EG_TO(EG_H1_RECEIVE_FAILED),
	[EG_H1_RECEIVE_DONE] = 0,
	[EG_H1_RECEIVE_FAILED] = 0,
};

static void set_send(struct eg_h1_call *c, enum eg_h1_send to)
{
	eg_state_check("upstream send", send_successors, c->send, to);
	c->send = to;
}

static void set_receive(struct eg_h1_call *c, enum eg_h1_receive to)
{
	eg_state_check("upstream receive", receive_successors, c->receive, to);
	c->receive = to;
}

static struct eg_h1_call *of(struct eg_call *call)
{
	return eg_container_of(call, struct eg_h1_call, base);
}

static void want(struct eg_h1_call *c)
{
	eg_stream_want(c->base.conn->stream, !c->base.paused, c->writing);
}

static void fail(struct eg_h1_call *c, enum eg_reason reason, const char *text)
{
	set_receive(c, EG_H1_RECEIVE_FAILED);
	if (c->send != EG_H1_SEND_DONE && c->send != EG_H1_SEND_STOPPED)
		set_send(c, EG_H1_SEND_STOPPED);
	c->base.failed = true;
	c->base.loss = EG_CALL_LOSS_CONNECTION;
	c->base.ops->failed(c->base.ctx, reason, text);
}

/* ---- the request ---- */

/* What is to be written next; returns the count. *last: these pieces end the body. */
static int gather(struct eg_h1_call *c, struct iovec *v, bool *last)
{
	struct iovec body[EG_CALL_SEGMENTS];
	size_t at_hand = 0;
	int n = 0, pieces;

	if (c->base.head.length)
		v[n++] = (struct iovec){eg_buf_data(&c->base.head), c->base.head.length};
	if (c->send == EG_H1_SEND_END) {
		v[n++] = (struct iovec){c->frame + c->frame_at, c->frame_length - c->frame_at};
		return n;
	}
	pieces = c->base.ops->body(c->base.ctx, body, last);
	for (int i = 0; i < pieces; i++)
		at_hand += body[i].iov_len;
	if (!c->chunked_out) {
		memcpy(v + n, body, (size_t)pieces * sizeof(*body));
		return n + pieces;
	}
	if (c->frame_at == c->frame_length && !c->frame_left && at_hand) {
		/* A new chunk: the end of the former one, the size of this one. */
		c->frame_length = 0;
		c->frame_at = 0;
		if (c->body_sent_any) {
			memcpy(c->frame, "\r\n", 2);
			c->frame_length = 2;
		}
		c->frame_length += eg_chunked_head(c->frame + c->frame_length, at_hand);
		c->frame_left = at_hand;
		c->body_sent_any = true;
	}
	if (c->frame_at < c->frame_length)
		v[n++] = (struct iovec){c->frame + c->frame_at, c->frame_length - c->frame_at};
	c->frame_short = at_hand > c->frame_left;
	*last = *last && !c->frame_short;
	for (int i = 0; i < pieces && c->frame_left; i++) {
		v[n] = body[i];
		v[n].iov_len = EG_MIN(v[n].iov_len, (size_t)c->frame_left);
		n++;
		if (v[n - 1].iov_len < body[i].iov_len)
			break;
	}
	return n;
}

/* Counts `written` bytes off what gather() gave. */
static void account(struct eg_h1_call *c, size_t written)
{
	size_t n = EG_MIN(written, c->base.head.length);

	eg_buf_consume(&c->base.head, n);
	written -= n;
	if (!c->base.head.length && c->send == EG_H1_SEND_HEAD) {
		eg_buf_fini(&c->base.head); /* wiped: the credential is with TLS now */
		set_send(c, EG_H1_SEND_BODY);
	}
	n = EG_MIN(written, c->frame_length - c->frame_at);
	c->frame_at += n;
	written -= n;
	if (!written)
		return;
	if (c->chunked_out)
		c->frame_left -= EG_MIN((uint64_t)written, c->frame_left);
	else
		c->body_sent_any = true;
	c->base.ops->body_sent(c->base.ctx, written);
}

static void sent(struct eg_h1_call *c)
{
	set_send(c, EG_H1_SEND_DONE);
	c->writing = false;
	want(c);
	if (c->base.upgrade)
		eg_stream_shutdown(c->base.conn->stream);
	c->base.ops->request_sent(c->base.ctx);
}

/* After a write: true when there is more to do at once. */
static bool advance(struct eg_h1_call *c, bool last)
{
	bool empty = c->frame_at == c->frame_length && !c->frame_left;

	if (c->send == EG_H1_SEND_HEAD)
		return false;
	if (c->send == EG_H1_SEND_END) {
		if (c->frame_at == c->frame_length)
			sent(c);
		return false;
	}
	if (!last || !empty)
		return !empty || c->frame_short;
	if (!c->chunked_out) {
		sent(c);
		return false;
	}
	c->frame_at = 0;
	c->frame_length = (size_t)snprintf(c->frame, sizeof(c->frame), "%s0\r\n\r\n",
					   c->body_sent_any ? "\r\n" : "");
	set_send(c, EG_H1_SEND_END);
	return true;
}

static void pump(struct eg_h1_call *c)
{
	while (c->base.conn && c->send >= EG_H1_SEND_HEAD && c->send < EG_H1_SEND_DONE) {
		struct iovec v[EG_CALL_SEGMENTS + 2];
		size_t total = 0, written = 0;
		bool last = true;
		int n = gather(c, v, &last);
		enum eg_io r = EG_IO_DONE;

		for (int i = 0; i < n; i++)
			total += v[i].iov_len;
		if (total)
			r = eg_stream_write(c->base.conn->stream, v, n, &written);
		if (r == EG_IO_FAIL) {
			set_send(c, EG_H1_SEND_STOPPED);
			c->writing = false;
			want(c);
			eg_loop_defer(c->base.conn->owner->o.loop, &c->write_failed);
			return;
		}
		account(c, written);
		if (written < total) {
			c->writing = true;
			want(c);
			return;
		}
		/* `last` says that the pieces gathered are the end; all of them are written. */
		if (c->writing) {
			c->writing = false;
			want(c);
		}
		if (!advance(c, last))
			return;
	}
}

static void body_ready(struct eg_call *call)
{
	struct eg_h1_call *c = of(call);

	if (!c->writing)
		pump(c);
}

/* ---- the answer ---- */

static void answered(struct eg_h1_call *c)
{
	set_receive(c, EG_H1_RECEIVE_DONE);
	if (c->send != EG_H1_SEND_DONE && c->send != EG_H1_SEND_STOPPED)
		set_send(c, EG_H1_SEND_STOPPED);
	c->base.ops->end(c->base.ctx);
}

static void begin_body(struct eg_h1_call *c, const struct eg_h1_head *head)
{
	c->keep_alive = head->keep_alive && head->body != EG_H1_BODY_CLOSE;
	c->body = head->body;
	c->left = head->content_length;
	if (head->body == EG_H1_BODY_CHUNKED) {
		eg_chunked_init(&c->chunked);
		if (c->base.trailers != EG_CALL_TRAILERS_DROPPED && c->base.ops->trailers)
			c->chunked.trailers = &c->trailers;
	}
	c->base.whole = head->body == EG_H1_BODY_NONE ||
			(head->body == EG_H1_BODY_LENGTH && !head->content_length);
	set_receive(c, EG_H1_RECEIVE_BODY);
	c->base.answer_head = (struct eg_str){eg_buf_data(&c->base.conn->in), head->head_bytes};
	c->base.ops->head(c->base.ctx, head);
}

/* True: go on with what is in the buffer. */
static bool parse_head(struct eg_h1_call *c)
{
	struct eg_h1_head *head = c->base.scratch;
	enum eg_reason reason = EG_REASON_UPSTREAM_PROTOCOL;
	char text[200];
	size_t length;

	switch (eg_h1_parse_response(&c->scan, eg_buf_str(&c->base.conn->in), &eg_h1_default_limits,
				     c->base.head_method ? EG_STR("HEAD") : EG_STR("GET"), head,
				     &reason)) {
	case EG_IO_AGAIN:
		return false;
	case EG_IO_DONE:
		break;
	case EG_IO_EOF:
	case EG_IO_FAIL:
		snprintf(text, sizeof(text), "the answer's head is not valid HTTP/1.1%s%s",
			 head->wrong ? ": " : "", head->wrong ? head->wrong : "");
		fail(c, EG_REASON_UPSTREAM_PROTOCOL, text);
		return false;
	}
	c->scan = (struct eg_h1_scan){0};
	length = head->head_bytes;
	if (head->status == 101 && c->base.upgrade) {
		head->body = EG_H1_BODY_CLOSE;
	} else if (head->status < 200) {
		if (head->status == 101 || ++c->interim > EG_CALL_INTERIM_MAX) {
			fail(c, EG_REASON_UPSTREAM_PROTOCOL,
			     head->status == 101 ? "101 was not asked for"
						 : "too many 1xx answers");
			return false;
		}
		eg_buf_consume(&c->base.conn->in, length);
		return true;
	}
	begin_body(c, head);
	if (!c->base.conn)
		return false;
	eg_buf_consume(&c->base.conn->in, length);
	if (c->body == EG_H1_BODY_NONE || (c->body == EG_H1_BODY_LENGTH && !c->left)) {
		answered(c);
		return false;
	}
	return true;
}

/* False: the call is over. */
static bool take_trailers(struct eg_h1_call *c)
{
	struct eg_header *fields = c->base.scratch->headers;
	size_t n = 0;

	if (!c->trailers.length)
		return true;
	if (eg_trailers_read(eg_buf_str(&c->trailers), fields, EG_H1_MAX_HEADERS, &n)) {
		fail(c, EG_REASON_UPSTREAM_PROTOCOL, "the answer has too many trailers");
		return false;
	}
	if (n)
		c->base.ops->trailers(c->base.ctx, fields, n);
	return c->base.conn;
}

/* Decodes the chunks at hand; moves their data together, so that a burst of events is one write. */
static bool take_chunks(struct eg_h1_call *c)
{
	struct eg_buf *in = &c->base.conn->in;
	char *start = NULL;
	size_t length = 0, at = 0;
	enum eg_io r = EG_IO_AGAIN;

	while (at < in->length && r == EG_IO_AGAIN) {
		struct eg_str rest = {eg_buf_data(in) + at, in->length - at}, data = {NULL, 0};
		size_t used = 0;

		r = eg_chunked_decode(&c->chunked, rest, &used, &data);
		if (data.n) {
			if (!start)
				start = eg_buf_data(in) + (data.p - eg_buf_data(in));
			else
				memmove(start + length, data.p, data.n);
			length += data.n;
		}
		at += used;
		if (!used)
			break;
	}
	if (length) {
		c->base.ops->data(c->base.ctx, (struct eg_str){start, length});
		if (!c->base.conn)
			return false;
	}
	eg_buf_consume(in, at);
	if (r == EG_IO_FAIL) {
		fail(c,
		     c->chunked.no_memory ? EG_REASON_UPSTREAM_RESET : EG_REASON_UPSTREAM_PROTOCOL,
		     c->chunked.no_memory ? "out of memory for the answer's trailers"
					  : "the answer's chunks are malformed");
		return false;
	}
	if (r == EG_IO_DONE && take_trailers(c))
		answered(c);
	return r == EG_IO_AGAIN;
}

static bool take_plain(struct eg_h1_call *c)
{
	struct eg_str data = eg_buf_str(&c->base.conn->in);

	if (c->body == EG_H1_BODY_LENGTH) {
		data.n = (size_t)EG_MIN((uint64_t)data.n, c->left);
		c->left -= data.n;
	}
	if (data.n)
		c->base.ops->data(c->base.ctx, data);
	if (!c->base.conn)
		return false;
	eg_buf_consume(&c->base.conn->in, data.n);
	if (c->body == EG_H1_BODY_LENGTH && !c->left) {
		answered(c);
		return false;
	}
	return true;
}

/* Digests what has been read; false: the call is over, or paused with bytes left. */
static bool digest(struct eg_h1_call *c)
{
	while (c->base.conn && c->base.conn->in.length && !c->base.paused) {
		size_t before = c->base.conn->in.length;
		bool more;

		if (c->receive == EG_H1_RECEIVE_HEAD)
			more = parse_head(c);
		else if (c->receive == EG_H1_RECEIVE_BODY)
			more = c->body == EG_H1_BODY_CHUNKED ? take_chunks(c) : take_plain(c);
		else
			return false;
		if (!more || !c->base.conn)
			return c->base.conn && (c->receive == EG_H1_RECEIVE_HEAD ||
						c->receive == EG_H1_RECEIVE_BODY);
		if (c->base.conn->in.length == before)
			break;
	}
	return c->base.conn && !c->base.paused &&
	       (c->receive == EG_H1_RECEIVE_HEAD || c->receive == EG_H1_RECEIVE_BODY);
}

static void ended(struct eg_h1_call *c, enum eg_io r)
{
	if (r == EG_IO_EOF && c->receive == EG_H1_RECEIVE_BODY && c->body == EG_H1_BODY_CLOSE) {
		answered(c);
		return;
	}
	if (r == EG_IO_EOF || eg_stream_truncated(c->base.conn->stream))
		fail(c, EG_REASON_UPSTREAM_RESET,
		     c->receive == EG_H1_RECEIVE_HEAD
			     ? "the provider closed the connection before it answered"
			     : "the provider closed the connection inside its answer");
	else
		fail(c, EG_REASON_UPSTREAM_RESET, "the provider reset the connection");
}

static void read_some(struct eg_h1_call *c)
{
	size_t total = 0;

	while (digest(c) && total < TURN_BYTES) {
		size_t before = c->base.conn->in.length;
		enum eg_io r = eg_stream_read(c->base.conn->stream, &c->base.conn->in, READ_BYTES);

		if (r == EG_IO_AGAIN)
			return;
		if (r != EG_IO_DONE) {
			ended(c, r);
			return;
		}
		c->base.first_byte_seen = true;
		total += c->base.conn->in.length - before;
	}
}

/* The provider may have answered before it closed: the read side tells. It tells nothing where it
 * was our own memory that failed. */
static void on_write_failed(struct eg_defer *d)
{
	struct eg_h1_call *c = eg_container_of(d, struct eg_h1_call, write_failed);
	int error;

	if (!c->base.conn || c->send != EG_H1_SEND_STOPPED)
		return;
	read_some(c);
	if (!c->base.conn)
		return;
	error = eg_stream_failure(c->base.conn->stream)->error;
	if (error == ENOMEM || error == ENOBUFS)
		fail(c, EG_REASON_UPSTREAM_RESET, "out of memory while the request was written");
}

static void on_event(struct eg_stream *s, unsigned int events, void *ctx)
{
	struct eg_h1_call *c = ctx;

	(void)s;
	if (events & EG_STREAM_WRITE)
		pump(c);
	if (c->base.conn && (events & (EG_STREAM_READ | EG_STREAM_FAILED)))
		read_some(c);
}

static const struct eg_stream_handler handler = {on_event};

static void pause_call(struct eg_call *call)
{
	call->paused = true;
	want(of(call));
}

static void resume(struct eg_call *call)
{
	call->paused = false;
	want(of(call));
	/* What was read already is not announced again. */
	read_some(of(call));
}

static void begin(struct eg_call *call, bool chunked)
{
	struct eg_h1_call *c = of(call);

	c->write_failed.run = on_write_failed;
	c->chunked_out = chunked;
	eg_buf_init(&c->trailers, call->conn->in.cap); /* the decoder keeps them smaller */
	set_send(c, EG_H1_SEND_HEAD);
	set_receive(c, EG_H1_RECEIVE_HEAD);
	eg_stream_set_handler(call->conn->stream, &handler, c);
	want(c);
	pump(c);
}

static void end(struct eg_call *call)
{
	struct eg_h1_call *c = of(call);
	struct eg_upstream_conn *conn = call->conn;

	call->conn = NULL;
	eg_buf_fini(&c->trailers);
	eg_upstream_release(conn, c->receive == EG_H1_RECEIVE_DONE && c->send == EG_H1_SEND_DONE &&
					  c->keep_alive);
}

const struct eg_call_kind h1_call_kind = {
	.protocol = "HTTP/1.1",
	.begin = begin,
	.body_ready = body_ready,
	.pause = pause_call,
	.resume = resume,
	.end = end,
};
