/* SPDX-License-Identifier: Apache-2.0 */
#include "conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* What the last recv brought; every event reads it to its end, so one is enough for all. */
static struct {
	struct bench_conn *of;
	size_t begin, end;
	char bytes[65536];
} in;

uint64_t bench_sent_bytes;

void bench_die(const char *what, const char *why)
{
	fprintf(stderr, "bench: %s: %s\n", what, why);
	exit(2);
}

void *bench_alloc(size_t n)
{
	void *p = calloc(1, n);

	if (!p)
		bench_die("memory", strerror(errno));
	return p;
}

uint64_t bench_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

char *bench_read_word(const char *path)
{
	FILE *f = fopen(path, "re");
	char *p = bench_alloc(8192);

	if (!f || !fgets(p, 8192, f))
		bench_die(path, "cannot be read");
	fclose(f);
	p[strcspn(p, " \t\r\n")] = '\0';
	return p;
}

/* ---- the BIO ---- */

static int bio_read(BIO *b, char *p, int room)
{
	struct bench_conn *c = BIO_get_data(b);
	size_t n = in.of == c ? in.end - in.begin : 0;

	BIO_clear_retry_flags(b);
	if (!n && !c->received) {
		ssize_t r = recv(c->fd, in.bytes, sizeof(in.bytes), 0);

		c->received = true;
		in.of = c;
		in.begin = 0;
		in.end = r > 0 ? (size_t)r : 0;
		if (!r)
			c->ended = true;
		else if (r < 0 && errno != EAGAIN && errno != EINTR)
			return -1;
		n = in.end;
	}
	if (!n) {
		if (c->ended)
			return 0;
		BIO_set_retry_read(b);
		return -1;
	}
	if (n > (size_t)room)
		n = (size_t)room;
	memcpy(p, in.bytes + in.begin, n);
	in.begin += n;
	return (int)n;
}

static void append(struct bench_conn *c, const char *p, size_t n)
{
	if (c->out_end + n > c->out_room) {
		size_t room = c->out_room ? c->out_room * 2 : 4096;

		while (room < c->out_end + n)
			room *= 2;
		c->out = realloc(c->out, room);
		if (!c->out)
			bench_die("memory", strerror(errno));
		c->out_room = room;
	}
	memcpy(c->out + c->out_end, p, n);
	c->out_end += n;
}

static int bio_write(BIO *b, const char *p, int n)
{
	BIO_clear_retry_flags(b);
	append(BIO_get_data(b), p, (size_t)n);
	return n;
}

static long bio_control(BIO *b, int command, long a, void *p)
{
	(void)b;
	(void)a;
	(void)p;
	return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *bio_method(void)
{
	static BIO_METHOD *m;

	if (m)
		return m;
	m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "bench");
	if (!m || !BIO_meth_set_read(m, bio_read) || !BIO_meth_set_write(m, bio_write) ||
	    !BIO_meth_set_ctrl(m, bio_control))
		bench_die("BIO", "out of memory");
	return m;
}

/* ---- contexts ---- */

static SSL_CTX *context(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(ctx, BENCH_CIPHERS) ||
	    !SSL_CTX_set1_groups_list(ctx, "X25519"))
		bench_die("TLS", "cannot make a context");
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return ctx;
}

SSL_CTX *bench_server_context(const char *pem)
{
	SSL_CTX *ctx = context(TLS_server_method());

	if (SSL_CTX_use_certificate_chain_file(ctx, pem) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, pem, SSL_FILETYPE_PEM) != 1)
		bench_die(pem, ERR_reason_error_string(ERR_peek_last_error()));
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	return ctx;
}

SSL_CTX *bench_client_context(const char *ca_file)
{
	SSL_CTX *ctx = context(TLS_client_method());

	if (SSL_CTX_load_verify_locations(ctx, ca_file, NULL) != 1)
		bench_die(ca_file, ERR_reason_error_string(ERR_peek_last_error()));
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	return ctx;
}

/* ---- connections ---- */

int bench_listen(uint16_t port)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, off = 0;

	if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 4096))
		bench_die("listen", strerror(errno));
	return fd;
}

static void begin(struct bench_conn *c, int epoll, int fd, SSL_CTX *ctx, void *event_data)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = event_data};
	int on = 1;
	BIO *b;

	memset(c, 0, sizeof(*c));
	c->fd = fd;
	c->epoll = epoll;
	c->received = true; /* another's event may be going on: read at our own */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e))
		bench_die("epoll", strerror(errno));
	if (!ctx)
		return;
	c->ssl = SSL_new(ctx);
	b = BIO_new(bio_method());
	if (!c->ssl || !b)
		bench_die("TLS", "out of memory");
	BIO_set_data(b, c);
	BIO_set_init(b, 1);
	SSL_set_bio(c->ssl, b, b);
}

void bench_accept(struct bench_conn *c, int epoll, int fd, SSL_CTX *ctx, void *event_data)
{
	begin(c, epoll, fd, ctx, event_data);
	if (ctx)
		SSL_set_accept_state(c->ssl);
	else
		c->established = true;
}

int bench_connect(struct bench_conn *c, int epoll, const char *address, uint16_t port, SSL_CTX *ctx,
		  const char *name, SSL_SESSION *session, void *event_data)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || inet_pton(AF_INET, address, &a.sin_addr) != 1)
		bench_die(address, fd < 0 ? strerror(errno) : "not an IPv4 address");
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) && errno != EINPROGRESS) {
		close(fd);
		c->fd = -1;
		return BENCH_FAIL;
	}
	begin(c, epoll, fd, ctx, event_data);
	if (!ctx) {
		c->established = true;
		return 0;
	}
	if (!SSL_set_tlsext_host_name(c->ssl, name) || !SSL_set1_host(c->ssl, name))
		bench_die(name, "not a name");
	if (session)
		SSL_set_session(c->ssl, session);
	SSL_set_connect_state(c->ssl);
	return bench_handshake(c) == BENCH_FAIL ? BENCH_FAIL : bench_flush(c, event_data);
}

static void arm(struct bench_conn *c, void *event_data)
{
	struct epoll_event e = {.data.ptr = event_data};

	e.events = (c->paused ? 0 : EPOLLIN) | (c->armed_write ? EPOLLOUT : 0);
	epoll_ctl(c->epoll, EPOLL_CTL_MOD, c->fd, &e);
}

int bench_wake(struct bench_conn *c, uint32_t events, void *event_data)
{
	c->received = false;
	in.of = c;
	in.begin = in.end = 0;
	return (events & EPOLLOUT) ? bench_flush(c, event_data) : 0;
}

int bench_handshake(struct bench_conn *c)
{
	int r;

	if (c->established)
		return 1;
	ERR_clear_error();
	r = SSL_do_handshake(c->ssl);
	if (r == 1) {
		c->established = true;
		return 1;
	}
	return SSL_get_error(c->ssl, r) == SSL_ERROR_WANT_READ ? BENCH_AGAIN : BENCH_FAIL;
}

ssize_t bench_read(struct bench_conn *c, char *p, size_t room)
{
	ssize_t r;

	if (c->ssl) {
		int n, e;

		ERR_clear_error();
		n = SSL_read(c->ssl, p, (int)room);
		if (n > 0)
			return n;
		e = SSL_get_error(c->ssl, n);
		return e == SSL_ERROR_WANT_READ	    ? BENCH_AGAIN
		       : e == SSL_ERROR_ZERO_RETURN ? BENCH_EOF
						    : BENCH_FAIL;
	}
	if (c->received)
		return BENCH_AGAIN;
	r = recv(c->fd, p, room, 0);
	c->received = r < (ssize_t)room;
	if (r > 0)
		return r;
	if (!r)
		return BENCH_EOF;
	return errno == EAGAIN || errno == EINTR ? BENCH_AGAIN : BENCH_FAIL;
}

void bench_write(struct bench_conn *c, const char *p, size_t n)
{
	if (!c->ssl) {
		append(c, p, n);
		return;
	}
	while (n) {
		int r = SSL_write(c->ssl, p, (int)(n > 16384 ? 16384 : n));

		if (r <= 0) /* the BIO takes everything; the connection is over */
			return;
		p += r;
		n -= (size_t)r;
	}
}

size_t bench_unsent(const struct bench_conn *c)
{
	return c->out_end - c->out_begin;
}

int bench_flush(struct bench_conn *c, void *event_data)
{
	bool more;

	if (bench_unsent(c)) {
		ssize_t r = send(c->fd, c->out + c->out_begin, bench_unsent(c), MSG_NOSIGNAL);

		if (r < 0 && errno != EAGAIN && errno != EINTR)
			return BENCH_FAIL;
		if (r > 0) {
			c->out_begin += (size_t)r;
			bench_sent_bytes += (uint64_t)r;
		}
	}
	more = bench_unsent(c) > 0;
	if (!more && c->out) { /* idle connections hold nothing */
		free(c->out);
		c->out = NULL;
		c->out_begin = c->out_end = c->out_room = 0;
	}
	if (more != c->armed_write) {
		c->armed_write = more;
		arm(c, event_data);
	}
	return 0;
}

void bench_pause(struct bench_conn *c, bool paused, void *event_data)
{
	if (c->paused == paused)
		return;
	c->paused = paused;
	arm(c, event_data);
}

void bench_close(struct bench_conn *c)
{
	if (c->fd < 0)
		return;
	if (c->ssl) {
		if (c->established && !c->ended) {
			ERR_clear_error();
			SSL_shutdown(c->ssl);
			if (bench_unsent(c))
				(void)!send(c->fd, c->out + c->out_begin, bench_unsent(c),
					    MSG_NOSIGNAL);
		}
		SSL_free(c->ssl);
	}
	close(c->fd);
	free(c->out);
	memset(c, 0, sizeof(*c));
	c->fd = -1;
}
