/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/h1_call.h"

#include <stdio.h>

#include "base/state.h"
#include "upstream/pool.h"

#define HEAD_CAP    (160u * 1024u) /* what a head of ours may have: the client's and ours */
#define INTERIM_MAX 8u		   /* 1xx heads before the answer */
#define READ_BYTES  (16u * 1024u)
#define TURN_BYTES  (256u * 1024u) /* read at one event: other connections have their turn */

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

void eg_h1_call_init(struct eg_h1_call *c, const struct eg_h1_call_ops *ops, void *ctx,
		     struct eg_h1_head *scratch)
{
	*c = (struct eg_h1_call){.ops = ops, .ctx = ctx, .scratch = scratch};
	eg_buf_init_secret(&c->head, HEAD_CAP);
}

static void want(struct eg_h1_call *c)
{
	eg_stream_want(c->conn->stream, !c->paused, c->writing);
}

static void fail(struct eg_h1_call *c, enum eg_reason reason, const char *text)
{
	set_receive(c, EG_H1_RECEIVE_FAILED);
	if (c->send != EG_H1_SEND_DONE && c->send != EG_H1_SEND_STOPPED)
		set_send(c, EG_H1_SEND_STOPPED);
	c->ops->failed(c->ctx, reason, text);
}

/* ---- the request ---- */

/* What is to be written next; returns the count. *last: these pieces end the body. */
static int gather(struct eg_h1_call *c, struct iovec *v, bool *last)
{
	struct iovec body[EG_H1_CALL_SEGMENTS];
	size_t at_hand = 0;
	int n = 0, pieces;

	if (c->head.length)
		v[n++] = (struct iovec){eg_buf_data(&c->head), c->head.length};
	if (c->send == EG_H1_SEND_END) {
		v[n++] = (struct iovec){c->frame + c->frame_at, c->frame_length - c->frame_at};
		return n;
	}
	pieces = c->ops->body(c->ctx, body, last);
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
	*last = *last && at_hand <= c->frame_left;
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
	size_t n = EG_MIN(written, c->head.length);

	eg_buf_consume(&c->head, n);
	written -= n;
	if (!c->head.length && c->send == EG_H1_SEND_HEAD) {
		eg_buf_fini(&c->head); /* wiped: the credential is with TLS now */
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
	c->ops->body_sent(c->ctx, written);
}

static void sent(struct eg_h1_call *c)
{
	set_send(c, EG_H1_SEND_DONE);
	c->writing = false;
	want(c);
	if (c->upgrade)
		eg_stream_shutdown(c->conn->stream);
	c->ops->request_sent(c->ctx);
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
		return !empty;
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
	while (c->conn && c->send >= EG_H1_SEND_HEAD && c->send < EG_H1_SEND_DONE) {
		struct iovec v[EG_H1_CALL_SEGMENTS + 2];
		size_t total = 0, written = 0;
		bool last = true;
		int n = gather(c, v, &last);
		enum eg_io r = EG_IO_DONE;

		for (int i = 0; i < n; i++)
			total += v[i].iov_len;
		if (total)
			r = eg_stream_write(c->conn->stream, v, n, &written);
		if (r == EG_IO_FAIL) {
			set_send(c, EG_H1_SEND_STOPPED);
			c->writing = false;
			want(c);
			eg_loop_defer(c->conn->owner->o.loop, &c->write_failed);
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

void eg_h1_call_body_ready(struct eg_h1_call *c)
{
	if (c->conn && !c->writing)
		pump(c);
}

/* ---- the answer ---- */

static void answered(struct eg_h1_call *c)
{
	set_receive(c, EG_H1_RECEIVE_DONE);
	if (c->send != EG_H1_SEND_DONE && c->send != EG_H1_SEND_STOPPED)
		set_send(c, EG_H1_SEND_STOPPED);
	c->ops->end(c->ctx);
}

static void begin_body(struct eg_h1_call *c, const struct eg_h1_head *head)
{
	c->keep_alive = head->keep_alive && head->body != EG_H1_BODY_CLOSE;
	c->body = head->body;
	c->left = head->content_length;
	if (head->body == EG_H1_BODY_CHUNKED)
		eg_chunked_init(&c->chunked);
	set_receive(c, EG_H1_RECEIVE_BODY);
	c->ops->head(c->ctx, head);
}

/* True: go on with what is in the buffer. */
static bool parse_head(struct eg_h1_call *c)
{
	struct eg_h1_head *head = c->scratch;
	enum eg_reason reason = EG_REASON_UPSTREAM_PROTOCOL;
	size_t length;

	switch (eg_h1_parse_response(&c->scan, eg_buf_str(&c->conn->in), &eg_h1_default_limits,
				     c->head_method ? EG_STR("HEAD") : EG_STR("GET"), head,
				     &reason)) {
	case EG_IO_AGAIN:
		return false;
	case EG_IO_DONE:
		break;
	case EG_IO_EOF:
	case EG_IO_FAIL:
		fail(c, EG_REASON_UPSTREAM_PROTOCOL, "the answer's head is not valid HTTP/1.1");
		return false;
	}
	c->scan = (struct eg_h1_scan){0};
	length = head->head_bytes;
	if (head->status == 101 && c->upgrade) {
		head->body = EG_H1_BODY_CLOSE;
	} else if (head->status < 200) {
		if (head->status == 101 || ++c->interim > INTERIM_MAX) {
			fail(c, EG_REASON_UPSTREAM_PROTOCOL,
			     head->status == 101 ? "101 was not asked for"
						 : "too many 1xx answers");
			return false;
		}
		eg_buf_consume(&c->conn->in, length);
		return true;
	}
	begin_body(c, head);
	if (!c->conn)
		return false;
	eg_buf_consume(&c->conn->in, length);
	if (c->body == EG_H1_BODY_NONE || (c->body == EG_H1_BODY_LENGTH && !c->left)) {
		answered(c);
		return false;
	}
	return true;
}

/* Decodes the chunks at hand; moves their data together, so that a burst of events is one write. */
static bool take_chunks(struct eg_h1_call *c)
{
	struct eg_buf *in = &c->conn->in;
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
		c->ops->data(c->ctx, (struct eg_str){start, length});
		if (!c->conn)
			return false;
	}
	eg_buf_consume(in, at);
	if (r == EG_IO_FAIL) {
		fail(c, EG_REASON_UPSTREAM_PROTOCOL, "the answer's chunks are malformed");
		return false;
	}
	if (r == EG_IO_DONE)
		answered(c);
	return r == EG_IO_AGAIN;
}

static bool take_plain(struct eg_h1_call *c)
{
	struct eg_str data = eg_buf_str(&c->conn->in);

	if (c->body == EG_H1_BODY_LENGTH) {
		data.n = (size_t)EG_MIN((uint64_t)data.n, c->left);
		c->left -= data.n;
	}
	if (data.n)
		c->ops->data(c->ctx, data);
	if (!c->conn)
		return false;
	eg_buf_consume(&c->conn->in, data.n);
	if (c->body == EG_H1_BODY_LENGTH && !c->left) {
		answered(c);
		return false;
	}
	return true;
}

/* Digests what has been read; false: the call is over, or paused with bytes left. */
static bool digest(struct eg_h1_call *c)
{
	while (c->conn && c->conn->in.length && !c->paused) {
		size_t before = c->conn->in.length;
		bool more;

		if (c->receive == EG_H1_RECEIVE_HEAD)
			more = parse_head(c);
		else if (c->receive == EG_H1_RECEIVE_BODY)
			more = c->body == EG_H1_BODY_CHUNKED ? take_chunks(c) : take_plain(c);
		else
			return false;
		if (!more || !c->conn)
			return c->conn && (c->receive == EG_H1_RECEIVE_HEAD ||
					   c->receive == EG_H1_RECEIVE_BODY);
		if (c->conn->in.length == before)
			break;
	}
	return c->conn && !c->paused &&
	       (c->receive == EG_H1_RECEIVE_HEAD || c->receive == EG_H1_RECEIVE_BODY);
}

static void ended(struct eg_h1_call *c, enum eg_io r)
{
	if (r == EG_IO_EOF && c->receive == EG_H1_RECEIVE_BODY && c->body == EG_H1_BODY_CLOSE) {
		answered(c);
		return;
	}
	if (r == EG_IO_EOF || eg_stream_truncated(c->conn->stream))
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
		size_t before = c->conn->in.length;
		enum eg_io r = eg_stream_read(c->conn->stream, &c->conn->in, READ_BYTES);

		if (r == EG_IO_AGAIN)
			return;
		if (r != EG_IO_DONE) {
			ended(c, r);
			return;
		}
		c->first_byte_seen = true;
		total += c->conn->in.length - before;
	}
}

/* The provider may have answered before it closed: the read side tells. It tells nothing where it
 * was our own memory that failed. */
static void on_write_failed(struct eg_defer *d)
{
	struct eg_h1_call *c = eg_container_of(d, struct eg_h1_call, write_failed);
	int error;

	if (!c->conn || c->send != EG_H1_SEND_STOPPED)
		return;
	read_some(c);
	if (!c->conn)
		return;
	error = eg_stream_failure(c->conn->stream)->error;
	if (error == ENOMEM || error == ENOBUFS)
		fail(c, EG_REASON_UPSTREAM_RESET, "out of memory while the request was written");
}

static void on_event(struct eg_stream *s, unsigned int events, void *ctx)
{
	struct eg_h1_call *c = ctx;

	(void)s;
	if (events & EG_STREAM_WRITE)
		pump(c);
	if (c->conn && (events & (EG_STREAM_READ | EG_STREAM_FAILED)))
		read_some(c);
}

static const struct eg_stream_handler handler = {on_event};

void eg_h1_call_pause(struct eg_h1_call *c)
{
	if (!c->conn || c->paused)
		return;
	c->paused = true;
	want(c);
}

void eg_h1_call_resume(struct eg_h1_call *c)
{
	if (!c->conn || !c->paused)
		return;
	c->paused = false;
	want(c);
	/* What was read already is not announced again. */
	read_some(c);
}

void eg_h1_call_begin(struct eg_h1_call *c, struct eg_upstream_conn *conn, bool chunked,
		      bool head_method)
{
	c->conn = conn;
	c->write_failed.run = on_write_failed;
	c->chunked_out = chunked;
	c->head_method = head_method;
	set_send(c, EG_H1_SEND_HEAD);
	set_receive(c, EG_H1_RECEIVE_HEAD);
	eg_stream_set_handler(conn->stream, &handler, c);
	want(c);
	pump(c);
}

void eg_h1_call_end(struct eg_h1_call *c)
{
	struct eg_upstream_conn *conn = c->conn;

	eg_buf_fini(&c->head);
	if (!conn)
		return;
	c->conn = NULL;
	eg_upstream_release(conn, c->receive == EG_H1_RECEIVE_DONE && c->send == EG_H1_SEND_DONE &&
					  c->keep_alive);
}
