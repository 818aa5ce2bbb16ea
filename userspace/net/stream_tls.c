/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS inside a stream: a BIO of our own over the stream's raw buffers, so that the bytes peeked are
 * what TLS begins with, a read takes all the socket has and a turn of the loop ends in one write.
 */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/secret.h"
#include "net/stream_impl.h"
#include "net/tls_impl.h"

/* Before each call into OpenSSL, which judges its result by this thread's queue of errors. Nearly
 * always that is empty, and to look costs a fifth of clearing all its places. */
static void forget_errors(void)
{
	if (ERR_peek_error())
		ERR_clear_error();
}

/* ---- the BIO ---- */

static int bio_read(BIO *b, char *to, int n)
{
	struct eg_stream *s = BIO_get_data(b);
	size_t take;

	BIO_clear_retry_flags(b);
	if (n <= 0)
		return 0;
	if (!s->in.length) {
		enum eg_io r = stream_fill(s);

		s->starved = r == EG_IO_AGAIN;
		if (r == EG_IO_AGAIN)
			BIO_set_retry_read(b);
		if (r != EG_IO_DONE)
			return r == EG_IO_EOF ? 0 : -1;
	}
	take = EG_MIN((size_t)n, s->in.length);
	memcpy(to, eg_buf_data(&s->in), take);
	eg_buf_consume(&s->in, take);
	return (int)take;
}

static int bio_write(BIO *b, const char *from, int n)
{
	struct eg_stream *s = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	/* Writers look at the mark first; only a peer that floods control messages gets here. */
	if (s->broken || n <= 0 || eg_buf_append(&s->out, from, (size_t)n))
		return -1;
	return n;
}

static long bio_ctrl(BIO *b, int command, long number, void *pointer)
{
	struct eg_stream *s = BIO_get_data(b);

	(void)number;
	(void)pointer;
	switch (command) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_EOF:
		return s->raw_end == EG_IO_EOF && !s->in.length;
	default:
		return 0;
	}
}

static BIO_METHOD *bio_method;

static void make_bio_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "egret stream");

	if (m && BIO_meth_set_read(m, bio_read) && BIO_meth_set_write(m, bio_write) &&
	    BIO_meth_set_ctrl(m, bio_ctrl))
		bio_method = m;
	else
		BIO_meth_free(m);
}

static int begin(struct eg_stream *s, SSL *ssl)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	BIO *b;

	pthread_once(&once, make_bio_method);
	b = bio_method ? BIO_new(bio_method) : NULL;
	if (!b) {
		SSL_free(ssl);
		return -ENOMEM;
	}
	BIO_set_data(b, s);
	BIO_set_init(b, 1);
	SSL_set_bio(ssl, b, b);
	s->ssl = ssl;
	s->in.secret = false;
	s->out.secret = false; /* ciphertext from now on */
	s->shown = 0;
	if (!s->connecting) {
		s->stage = EG_STAGE_HANDSHAKE;
		stream_tls_handshake(s);
		stream_settle(s);
	}
	return 0;
}

static bool can_begin(const struct eg_stream *s)
{
	return !s->closed && !s->ssl && !s->broken && !s->fin_wanted && !s->out.length &&
	       (s->stage == EG_STAGE_OPEN || s->connecting);
}

int eg_stream_tls_accept(struct eg_stream *s, struct eg_tls_server *tls, struct eg_leaf *leaf,
			 const char *peeked_sni)
{
	int error = 0;
	SSL *ssl;

	if (!can_begin(s))
		return -EINVAL;
	ssl = tls_server_ssl(tls, leaf, peeked_sni, &error);
	if (!ssl)
		return error;
	s->server = true;
	return begin(s, ssl);
}

int eg_stream_tls_connect(struct eg_stream *s, struct eg_tls_client *tls, const char *host,
			  uint16_t port)
{
	static const unsigned char h2_first[] = "\x02h2\x08http/1.1";
	struct tls_origin *o;
	int error = 0;
	SSL *ssl;

	if (!can_begin(s) || !*host || strlen(host) >= sizeof(o->host))
		return -EINVAL;
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	o->port = port;
	eg_str_copy(o->host, sizeof(o->host), eg_str_from(host));
	ssl = tls_client_ssl(tls, o, &error);
	if (!ssl) {
		free(o);
		return error;
	}
	if (s->offer_http2 && SSL_set_alpn_protos(ssl, h2_first, sizeof(h2_first) - 1)) {
		SSL_free(ssl); /* 0 is success here */
		free(o);
		return -ENOMEM;
	}
	s->origin = o; /* freed after the SSL that points to it */
	error = begin(s, ssl);
	if (error) {
		s->origin = NULL;
		free(o);
	}
	return error;
}

/* ---- the handshake ---- */

static void explain_failure(struct eg_stream *s)
{
	long verify = SSL_get_verify_result(s->ssl);
	char text[120];
	int reason = tls_error_text(text, sizeof(text));

	s->failure.peer_rejected_ca =
		s->server && (reason == SSL_R_TLSV1_ALERT_UNKNOWN_CA ||
			      reason == SSL_R_SSLV3_ALERT_BAD_CERTIFICATE ||
			      reason == SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN);
	if (!s->server && verify != X509_V_OK) {
		s->failure.certificate = true;
		stream_fail(s, 0, "%s", X509_verify_cert_error_string(verify));
	} else if (reason == SSL_R_NO_APPLICATION_PROTOCOL) {
		stream_fail(s, 0, "the client offers neither h2 nor http/1.x by ALPN");
	} else if (reason > SSL_AD_REASON_OFFSET) {
		stream_fail(s, 0, "the peer sent an alert: %s", text);
	} else if (s->raw_end == EG_IO_EOF) {
		stream_fail(s, 0, "the peer closed the connection during the handshake");
	} else {
		stream_fail(s, 0, "%s", reason ? text : "the TLS handshake failed");
	}
}

void stream_tls_handshake(struct eg_stream *s)
{
	int r;

	forget_errors();
	r = SSL_do_handshake(s->ssl);
	if (r == 1 && !tls_client_accepts(s->ssl)) {
		s->failure.certificate = true;
		stream_fail(s, 0, "hostname mismatch");
		tls_client_failed(s->ssl);
		stream_announce(s, EG_STREAM_FAILED);
	} else if (r == 1) {
		s->stage = EG_STAGE_OPEN;
		eg_buf_release(&s->in);
		tls_client_done(s->ssl);
		stream_announce(s, EG_STREAM_CONNECTED);
	} else if (SSL_get_error(s->ssl, r) != SSL_ERROR_WANT_READ) {
		explain_failure(s);
		tls_client_failed(s->ssl);
		if (s->out.length && !s->blocked) /* the alert, before whoever hears of it resets */
			(void)!stream_send(s);
		stream_announce(s, EG_STREAM_FAILED);
	}
	stream_send_later(s);
}

/* ---- plaintext ---- */

/* What SSL_read's failure means; latched, since OpenSSL must not be asked again after one. */
static enum eg_io read_end(struct eg_stream *s, int r)
{
	char text[120];

	switch (SSL_get_error(s->ssl, r)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return EG_IO_AGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return s->plain_end = EG_IO_EOF;
	default:
		break;
	}
	s->truncated = s->raw_end == EG_IO_EOF;
	if (s->truncated)
		stream_fail(s, 0, "the peer closed the connection without a TLS close_notify");
	else
		stream_fail(s, 0, "%s", tls_error_text(text, sizeof(text)) ? text : "TLS failed");
	ERR_clear_error();
	return s->plain_end = EG_IO_FAIL;
}

/* Is there time for another record in this turn? */
static bool has_time(struct eg_stream *s)
{
	uint64_t now = eg_loop_now_ms(s->loop);

	if (s->turn_ms != now) {
		s->turn_ms = now;
		s->turn_records = 0;
	}
	return s->turn_records++ < STREAM_TURN_RECORDS;
}

/* OpenSSL took in a message of its own, and nothing for us: new keys cost it much and a peer that
 * has made its records beforehand nothing, and it would go on as long as they come. */
static enum eg_io took_message(struct eg_stream *s)
{
	uint64_t now = eg_loop_now_ms(s->loop);

	if (now - s->messages_ms >= STREAM_MESSAGES_MS) {
		s->messages_ms = now;
		s->messages = 0;
	}
	if (++s->messages <= STREAM_MESSAGES)
		return EG_IO_AGAIN;
	stream_fail(s, 0, "the peer sends one TLS message after the other, and no data");
	return s->plain_end = EG_IO_FAIL;
}

enum eg_io stream_tls_read(struct eg_stream *s, struct eg_buf *into, size_t want)
{
	enum eg_io end = s->plain_end;
	/* Of a record that had no room last time. */
	bool rest = s->unread && SSL_pending(s->ssl) > 0, late = false;
	size_t got = 0;

	while (end == EG_IO_AGAIN && got < want) {
		size_t room, n = 0;
		char *p;
		int r;

		/* Neither the socket nor we have more: OpenSSL would only say so at length. */
		if (s->raw_end == EG_IO_AGAIN && s->drained && !s->in.length &&
		    !SSL_pending(s->ssl))
			break;
		p = eg_buf_reserve(into, EG_MIN(want - got, (size_t)STREAM_RECORD), &room);
		late = p && !has_time(s);
		if (!p || late)
			break;
		forget_errors();
		s->starved = false;
		r = SSL_read_ex(s->ssl, p, EG_MIN(room, want - got), &n);
		if (r != 1) {
			end = read_end(s, r);
			if (end != EG_IO_AGAIN || s->starved)
				break;
			end = took_message(s);
			continue;
		}
		eg_buf_commit(into, n);
		got += n;
		/* The next one would be cut as well, and each after it: it gets the whole room. */
		if (rest && !SSL_pending(s->ssl))
			break;
	}
	s->unread = late || SSL_pending(s->ssl) > 0;
	stream_send_later(s); /* an answer to KeyUpdate, an alert */
	return got ? EG_IO_DONE : end;
}

/*
 * The next record's plaintext: straight from the caller's memory, or, when the next piece is short
 * and others follow it, gathered: a head and its body share a record.
 */
static struct eg_str next_record(const struct iovec *v, int count, int at, size_t offset,
				 char *scratch)
{
	size_t n = EG_MIN(v[at].iov_len - offset, (size_t)STREAM_RECORD);

	if (n == STREAM_RECORD || at + 1 == count)
		return (struct eg_str){(char *)v[at].iov_base + offset, n};
	memcpy(scratch, (char *)v[at].iov_base + offset, n);
	for (at++; at < count && n < STREAM_RECORD; at++) {
		size_t m = EG_MIN(v[at].iov_len, STREAM_RECORD - n);

		if (m)
			memcpy(scratch + n, v[at].iov_base, m);
		n += m;
	}
	return (struct eg_str){scratch, n};
}

enum eg_io stream_tls_write(struct eg_stream *s, const struct iovec *v, int count, size_t *written)
{
	static _Thread_local char scratch[STREAM_RECORD];
	size_t offset = 0, wiped = 0;
	enum eg_io end = EG_IO_DONE;
	int at = 0;

	for (;;) {
		struct eg_str record;
		size_t n = 0;

		while (at < count && offset == v[at].iov_len) {
			at++;
			offset = 0;
		}
		if (at == count)
			break;
		if (s->out.length >= STREAM_OUT_HIGH) {
			end = s->blocked ? EG_IO_AGAIN : stream_send(s);
			if (end != EG_IO_DONE)
				break;
		}
		record = next_record(v, count, at, offset, scratch);
		if (record.p == scratch)
			wiped = EG_MAX(wiped, record.n);
		forget_errors();
		if (SSL_write_ex(s->ssl, record.p, record.n, &n) != 1) {
			char text[120];

			stream_fail(s, 0, "%s",
				    tls_error_text(text, sizeof(text)) ? text : "TLS failed");
			s->broken = s->broken ? s->broken : EIO;
			end = EG_IO_FAIL;
			break;
		}
		*written += n;
		while (n) {
			size_t step = EG_MIN(n, v[at].iov_len - offset);

			offset += step;
			n -= step;
			if (offset == v[at].iov_len && n) {
				at++;
				offset = 0;
			}
		}
	}
	if (wiped)
		eg_wipe(scratch, wiped); /* a head may hold a credential */
	stream_send_later(s);
	return end;
}

bool stream_tls_left(const struct eg_stream *s)
{
	/* The header of a record and nothing of its body is not pending, for OpenSSL: "read body"
	 * is what says so. */
	return SSL_has_pending(s->ssl) || SSL_rstate_string(s->ssl)[1] == 'B';
}

void stream_tls_idle(struct eg_stream *s)
{
	/* Before 3.0.14 OpenSSL gave up what a record's header lay in (CVE-2024-4741). */
	if (!stream_tls_left(s))
		(void)SSL_free_buffers(s->ssl); /* refused while something is to be sent */
}

bool stream_tls_quiet(struct eg_stream *s)
{
	size_t n = 0;
	char byte;

	s->drained = false;
	do {
		forget_errors();
		s->starved = false;
		if (SSL_peek_ex(s->ssl, &byte, 1, &n) == 1) {
			s->unread = true;
			return false;
		}
		if (read_end(s, 0) != EG_IO_AGAIN ||
		    (!s->starved && took_message(s) != EG_IO_AGAIN))
			return false;
	} while (!s->starved);
	stream_send_later(s);
	return !s->in.length && s->raw_end == EG_IO_AGAIN && !stream_tls_left(s);
}

void stream_tls_close_notify(struct eg_stream *s)
{
	if (s->broken || s->plain_end == EG_IO_FAIL || !SSL_is_init_finished(s->ssl))
		return;
	ERR_clear_error();
	(void)SSL_shutdown(s->ssl); /* 0: sent, the peer's is not waited for */
	ERR_clear_error();
}

void stream_tls_fini(struct eg_stream *s)
{
	if (!s->ssl)
		return;
	/* Else OpenSSL would mark the session that we keep as not resumable. */
	if (s->stage == EG_STAGE_OPEN)
		SSL_set_shutdown(s->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(s->ssl);
	s->ssl = NULL;
	free(s->origin);
	s->origin = NULL;
	ERR_clear_error();
}
