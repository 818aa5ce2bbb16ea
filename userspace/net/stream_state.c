/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: interest, half-close, idling, and what can be asked of one. */
#include <netinet/in.h>
#include <sys/socket.h>

#include "net/stream_impl.h"

void eg_stream_want(struct eg_stream *s, bool read, bool write)
{
	/* Asked at each step of a request: whatever else is new was settled when it became so. */
	if (read == s->want_read && write == s->want_write && (write || !s->owes_write))
		return;
	if (read && !s->want_read)
		s->shown = 0;
	if (!write)
		s->owes_write = false;
	s->want_read = read;
	s->want_write = write;
	stream_settle(s);
}

void eg_stream_shutdown(struct eg_stream *s)
{
	if (s->closed || s->fin_wanted || s->stage != EG_STAGE_OPEN)
		return;
	if (s->ssl)
		stream_tls_close_notify(s);
	s->fin_wanted = true;
	if (!s->blocked)
		(void)stream_send(s); /* sends the FIN when all is out; else when it is */
	stream_settle(s);
}

void eg_stream_idle(struct eg_stream *s)
{
	eg_buf_release(&s->in);
	eg_buf_release(&s->out);
	if (s->ssl)
		stream_tls_idle(s);
	s->read_size = STREAM_READ_MIN;
}

void eg_stream_look(struct eg_stream *s)
{
	s->drained = false;
}

/* All that was asked of it is over in both directions. */
static bool at_rest(const struct eg_stream *s)
{
	return !s->closed && s->stage == EG_STAGE_OPEN && !s->broken && !s->fin_wanted &&
	       !s->reported && !s->hung_up && s->raw_end == EG_IO_AGAIN &&
	       s->plain_end == EG_IO_AGAIN && !s->out.length;
}

/* Nothing that was read is left: in our buffer, or half a record in OpenSSL's. */
static bool nothing_left(const struct eg_stream *s)
{
	return !s->in.length && !(s->ssl && stream_tls_left(s));
}

bool eg_stream_reusable(struct eg_stream *s)
{
	char byte;
	ssize_t n;

	if (!at_rest(s))
		return false;
	if (nothing_left(s)) {
		n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return true;
	}
	/* TLS 1.3 sends tickets unasked (RFC 8446 section 4.6.1): they must be read, not counted.
	 */
	if (s->ssl && stream_tls_quiet(s))
		return true;
	stream_settle(s); /* what it took off the socket: who goes on reading hears of it */
	return false;
}

bool eg_stream_rests(struct eg_stream *s)
{
	return s->drained && nothing_left(s) ? at_rest(s) : eg_stream_reusable(s);
}

int eg_stream_fd(const struct eg_stream *s)
{
	return s->fd;
}

bool eg_stream_is_tls(const struct eg_stream *s)
{
	return s->ssl;
}

bool eg_stream_resumed(const struct eg_stream *s)
{
	return s->ssl && SSL_session_reused(s->ssl);
}

struct eg_str eg_stream_alpn(const struct eg_stream *s)
{
	const unsigned char *name = NULL;
	unsigned int n = 0;

	if (s->ssl)
		SSL_get0_alpn_selected(s->ssl, &name, &n);
	return (struct eg_str){(const char *)name, n};
}

void eg_stream_on_held(struct eg_stream *s, void (*held)(void *ctx, size_t bytes), void *ctx)
{
	s->held = held;
	s->held_ctx = ctx;
}

const struct eg_stream_failure *eg_stream_failure(const struct eg_stream *s)
{
	return &s->failure;
}

static int endpoint_from(const struct sockaddr_storage *from, struct eg_endpoint *out)
{
	if (from->ss_family == AF_INET) {
		const struct sockaddr_in *four = (const void *)from;

		memset(out, 0, sizeof(*out));
		out->address.word_be[2] = htonl(0xffff);
		out->address.word_be[3] = four->sin_addr.s_addr;
		out->port = ntohs(four->sin_port);
		return 0;
	}
	if (from->ss_family == AF_INET6) {
		const struct sockaddr_in6 *six = (const void *)from;

		memcpy(&out->address, &six->sin6_addr, sizeof(out->address));
		out->port = ntohs(six->sin6_port);
		return 0;
	}
	return -EAFNOSUPPORT;
}

int eg_stream_peer(const struct eg_stream *s, struct eg_endpoint *out)
{
	struct sockaddr_storage from = {0};
	socklen_t n = sizeof(from);

	return getpeername(s->fd, (struct sockaddr *)&from, &n) ? -errno
								: endpoint_from(&from, out);
}

int eg_stream_local(const struct eg_stream *s, struct eg_endpoint *out)
{
	struct sockaddr_storage from = {0};
	socklen_t n = sizeof(from);

	return getsockname(s->fd, (struct sockaddr *)&from, &n) ? -errno
								: endpoint_from(&from, out);
}
