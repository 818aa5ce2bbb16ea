/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: peeking, reading and writing. */
#include <sys/socket.h>

#include "net/stream_impl.h"

#define COPY_BELOW 4096u /* plain writes up to this are gathered into one send a turn */

enum eg_io eg_stream_peek(struct eg_stream *s, size_t cap, struct eg_str *bytes)
{
	size_t had = s->in.length;
	enum eg_io r = EG_IO_AGAIN;

	*bytes = (struct eg_str){NULL, 0};
	cap = EG_MIN(cap, (size_t)STREAM_IN_CAP);
	if (s->closed || s->ssl || s->stage != EG_STAGE_OPEN)
		return EG_IO_FAIL;
	while (s->in.length < cap) {
		r = stream_fill(s);
		if (r != EG_IO_DONE)
			break;
	}
	*bytes = eg_buf_str(&s->in);
	bytes->n = EG_MIN(bytes->n, cap);
	s->shown = s->in.length;
	/* An end that came with bytes is told by the next call, after they were looked at. */
	if ((r == EG_IO_EOF || r == EG_IO_FAIL) && s->in.length == had) {
		s->reported = !s->in.length; /* bytes before it may still be read */
		return r;
	}
	return bytes->n ? EG_IO_DONE : EG_IO_AGAIN;
}

static enum eg_io plain_read(struct eg_stream *s, struct eg_buf *into, size_t want)
{
	size_t room, n;
	enum eg_io r;
	char *p;

	p = eg_buf_reserve(into, want, &room);
	if (!p)
		return EG_IO_AGAIN;
	room = EG_MIN(room, want);
	if (!s->in.length) {
		r = stream_fill(s);
		if (r != EG_IO_DONE)
			return r;
	}
	n = EG_MIN(room, s->in.length);
	memcpy(p, eg_buf_data(&s->in), n);
	eg_buf_commit(into, n);
	eg_buf_consume(&s->in, n);
	return EG_IO_DONE;
}

enum eg_io eg_stream_read(struct eg_stream *s, struct eg_buf *into, size_t want)
{
	enum eg_io r;

	if (s->closed || s->stage != EG_STAGE_OPEN)
		return EG_IO_FAIL;
	s->shown = 0;
	if (!want)
		return EG_IO_AGAIN;
	r = s->ssl ? stream_tls_read(s, into, want) : plain_read(s, into, want);
	if (r == EG_IO_EOF || r == EG_IO_FAIL) {
		s->plain_end = r;
		s->reported = true;
	}
	stream_settle(s);
	return r;
}

bool eg_stream_truncated(const struct eg_stream *s)
{
	return s->truncated;
}

/* Sends straight from the caller's memory; what the kernel doesn't take, up to the mark, is kept.
 */
static enum eg_io write_large(struct eg_stream *s, const char *p, size_t n, size_t *taken)
{
	ssize_t sent;

	do
		sent = send(s->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0 && errno != EAGAIN)
		return stream_broken(s, errno);
	*taken = sent > 0 ? (size_t)sent : 0;
	s->blocked = *taken < n;
	return EG_IO_DONE;
}

static enum eg_io write_piece(struct eg_stream *s, const char *p, size_t n, size_t *taken)
{
	if (!s->out.length && n > COPY_BELOW) {
		enum eg_io r = write_large(s, p, n, taken);

		if (r != EG_IO_DONE || *taken)
			return r;
	}
	if (s->out.length >= STREAM_OUT_HIGH) {
		enum eg_io r = s->blocked ? EG_IO_AGAIN : stream_send(s);

		if (r != EG_IO_DONE)
			return r;
	}
	*taken = EG_MIN(n, (size_t)STREAM_OUT_HIGH - s->out.length);
	return eg_buf_append(&s->out, p, *taken) ? stream_broken(s, ENOMEM) : EG_IO_DONE;
}

static enum eg_io plain_write(struct eg_stream *s, const struct iovec *v, int count,
			      size_t *written)
{
	for (int i = 0; i < count; i++) {
		const char *p = v[i].iov_base;
		size_t taken = 0;

		for (size_t at = 0; at < v[i].iov_len; at += taken) {
			enum eg_io r = write_piece(s, p + at, v[i].iov_len - at, &taken);

			if (r != EG_IO_DONE)
				return r;
			*written += taken;
		}
	}
	stream_send_later(s);
	return EG_IO_DONE;
}

enum eg_io eg_stream_write(struct eg_stream *s, const struct iovec *v, int count, size_t *written)
{
	enum eg_io r;

	*written = 0;
	if (s->closed || s->broken || s->fin_wanted || s->stage != EG_STAGE_OPEN)
		return EG_IO_FAIL;
	s->flushing = false;
	r = s->ssl ? stream_tls_write(s, v, count, written) : plain_write(s, v, count, written);
	s->owes_write = r == EG_IO_AGAIN;
	stream_settle(s);
	return r;
}

enum eg_io eg_stream_flush(struct eg_stream *s)
{
	enum eg_io r;

	if (s->closed || s->broken)
		return EG_IO_FAIL;
	r = s->blocked ? EG_IO_AGAIN : stream_send(s);
	s->flushing = s->owes_write = r == EG_IO_AGAIN;
	stream_settle(s);
	return r;
}
