/* SPDX-License-Identifier: Apache-2.0 */
/* TLS streams: our server against our client, against plain sockets, against another OpenSSL. */
#include "net_lib.h"

#include "certs.h"

#include <fcntl.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>

#include "proto/client_hello.h"

static int record_buffers; /* that OpenSSL has: 16 KiB and what a record has besides */

static bool is_record_buffer(void *p)
{
	return p && malloc_usable_size(p) >= 16384 && malloc_usable_size(p) <= 18432;
}

static void *count_malloc(size_t n, const char *file, int line)
{
	void *p = malloc(n);

	record_buffers += is_record_buffer(p);
	return p;
}

static void *count_realloc(void *old, size_t n, const char *file, int line)
{
	void *p;

	record_buffers -= is_record_buffer(old);
	p = realloc(old, n);
	record_buffers += is_record_buffer(p ? p : old);
	return p;
}

static void count_free(void *p, const char *file, int line)
{
	record_buffers -= is_record_buffer(p);
	free(p);
}

static struct made ca, other_ca;
static struct eg_trust *trust;

static struct eg_trust *trust_of(const struct made *m)
{
	struct eg_error e = {""};
	struct eg_trust *t;
	struct eg_buf pem;

	eg_buf_init(&pem, 1 << 16);
	cert_pem(&pem, m->cert);
	t = eg_trust_create(eg_buf_str(&pem), &e);
	assert_string_equal(e.text, "");
	eg_buf_fini(&pem);
	return t;
}

static struct eg_leaf *leaf_of(const char *name, const struct made *m)
{
	struct eg_buf cert, key;
	struct eg_error e = {""};
	struct eg_leaf *l;

	eg_buf_init(&cert, 1 << 16);
	eg_buf_init_secret(&key, 1 << 16);
	cert_pem(&cert, m->cert);
	key_pem(&key, m->key);
	l = eg_leaf_create_pem(name, eg_buf_str(&cert), eg_buf_str(&key), &e);
	assert_string_equal(e.text, "");
	eg_buf_fini(&cert);
	eg_buf_fini(&key);
	return l;
}

static struct eg_leaf *good_leaf(const char *name)
{
	char san[300];
	struct eg_leaf *l;
	struct made m;

	snprintf(san, sizeof(san), "DNS:%s", name);
	m = make_cert("leaf", san, &ca, -3600, 3600);
	l = leaf_of(name, &m);
	unmake(&m);
	return l;
}

/* Server on a, client on b. */
struct tls_pair {
	struct pair p;
	struct eg_tls_server *server;
	struct eg_tls_client *client;
};

static void tls_make(struct tls_pair *t)
{
	memset(t, 0, sizeof(*t));
	t->server = eg_tls_server_create(NULL);
	t->client = eg_tls_client_create(trust, NULL);
	assert_non_null(t->server);
	assert_non_null(t->client);
}

static void tls_open(struct tls_pair *t)
{
	pair_open(&t->p);
	side_watch(&t->p.a, t->p.loop, t->p.fd[0]);
	side_watch(&t->p.b, t->p.loop, t->p.fd[1]);
}

static void tls_free(struct tls_pair *t)
{
	eg_tls_server_destroy(t->server);
	eg_tls_client_destroy(t->client);
}

static void begin(struct tls_pair *t, struct eg_leaf *leaf, const char *host)
{
	tls_open(t);
	assert_int_equal(eg_stream_tls_connect(t->p.b.stream, t->client, host, 443), 0);
	assert_int_equal(eg_stream_tls_accept(t->p.a.stream, t->server, leaf, host), 0);
	assert_int_equal(t->p.a.events | t->p.b.events, 0); /* never from inside a call */
}

static void handshake(struct tls_pair *t, struct eg_leaf *leaf, const char *host)
{
	begin(t, leaf, host);
	turn_until(&t->p, t->p.a.events && t->p.b.events);
	assert_int_equal(t->p.a.events, EG_STREAM_CONNECTED);
	assert_int_equal(t->p.b.events, EG_STREAM_CONNECTED);
	t->p.a.events = t->p.b.events = 0;
}

static void take(struct pair *p, struct side *from, struct eg_buf *into, size_t n)
{
	eg_stream_want(from->stream, true, false);
	for (int i = 0; into->length < n; i++) {
		assert_true(i < 100000);
		turn_until(p, from->events & EG_STREAM_READ);
		from->events = 0;
		assert_int_not_equal(eg_stream_read(from->stream, into, n - into->length),
				     EG_IO_FAIL);
	}
	eg_stream_want(from->stream, false, false);
}

/* The client reads once, so that it has the ticket. */
static void round_trip(struct tls_pair *t)
{
	char ping[] = "ping", pong[] = "pong";
	struct iovec out = {ping, 4}, back = {pong, 4};
	struct eg_buf got;
	size_t n;

	eg_buf_init(&got, 64);
	assert_int_equal(eg_stream_write(t->p.b.stream, &out, 1, &n), EG_IO_DONE);
	take(&t->p, &t->p.a, &got, 4);
	assert_int_equal(eg_stream_write(t->p.a.stream, &back, 1, &n), EG_IO_DONE);
	take(&t->p, &t->p.b, &got, 8);
	assert_memory_equal(eg_buf_data(&got), "pingpong", 8);
	eg_buf_fini(&got);
}

static void data_both_ways_and_close_notify(void **state)
{
	struct eg_leaf *leaf = good_leaf("api.example");
	struct eg_buf got;
	struct tls_pair t;

	tls_make(&t);
	handshake(&t, leaf, "api.example");
	assert_true(eg_stream_is_tls(t.p.a.stream));
	round_trip(&t);
	assert_true(eg_stream_reusable(t.p.b.stream)); /* the ticket is taken in, not counted */
	assert_true(eg_stream_rests(t.p.b.stream));
	eg_stream_shutdown(t.p.a.stream);
	eg_buf_init(&got, 64);
	eg_stream_want(t.p.b.stream, true, false);
	turn_until(&t.p, t.p.b.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_read(t.p.b.stream, &got, 10), EG_IO_EOF);
	assert_false(eg_stream_truncated(t.p.b.stream));
	assert_false(eg_stream_reusable(t.p.b.stream));
	assert_false(eg_stream_rests(t.p.b.stream));
	eg_buf_fini(&got);
	pair_close(&t.p);
	tls_free(&t);
	eg_leaf_unref(leaf);
}

static void megabytes_with_back_pressure(void **state)
{
	enum { TOTAL = 6 << 20 };
	struct eg_leaf *leaf = good_leaf("api.example");
	unsigned char *block = malloc(1 << 20);
	size_t sent = 0, received = 0, n;
	bool again = false;
	struct eg_buf got;
	struct tls_pair t;

	for (size_t i = 0; i < 1 << 20; i++)
		block[i] = (unsigned char)(i * 7 + (i >> 9));
	tls_make(&t);
	handshake(&t, leaf, "api.example");
	eg_buf_init(&got, 40000);
	eg_stream_want(t.p.b.stream, true, false);
	while (received < TOTAL) {
		while (sent < TOTAL) {
			size_t at = sent % (1 << 20);
			/* many short pieces and a long one */
			struct iovec v[4] = {{block + at, EG_MIN(10u, (1u << 20) - at)}, {NULL, 0}};
			enum eg_io io;

			v[2].iov_base = block + at + v[0].iov_len;
			v[2].iov_len = EG_MIN(70000u, (1u << 20) - at - v[0].iov_len);
			v[3].iov_base = block + at + v[0].iov_len + v[2].iov_len;
			v[3].iov_len = EG_MIN(3u, (1u << 20) - at - v[0].iov_len - v[2].iov_len);
			io = eg_stream_write(t.p.a.stream, v, 4, &n);
			sent += n;
			if (io == EG_IO_AGAIN) {
				again = true;
				break;
			}
			assert_int_equal(io, EG_IO_DONE);
		}
		assert_int_equal(eg_loop_turn(t.p.loop, 1), 0);
		if (!(t.p.b.events & EG_STREAM_READ))
			continue;
		t.p.b.events = 0;
		if (eg_stream_read(t.p.b.stream, &got, 40000) != EG_IO_DONE)
			continue;
		for (size_t i = 0; i < got.length; i++)
			if ((unsigned char)eg_buf_data(&got)[i] !=
			    block[(received + i) % (1 << 20)])
				fail_msg("byte %zu is not what was sent", received + i);
		received += got.length;
		eg_buf_clear(&got);
	}
	assert_true(again);
	free(block);
	eg_buf_fini(&got);
	pair_close(&t.p);
	tls_free(&t);
	eg_leaf_unref(leaf);
}

/* What a provider sends unasked ends its pooled connection, also while it is not there as a whole:
 * the rest would be the answer to the next request. */
/* OpenSSL takes a buffer for a record before it knows whether one comes. */
static void idle_streams_hold_no_record_buffers(void **state)
{
	struct eg_leaf *leaf = good_leaf("api.example");
	struct eg_buf none;
	struct tls_pair t;

	tls_make(&t);
	handshake(&t, leaf, "api.example");
	round_trip(&t);
	eg_buf_init(&none, 64);
	for (int i = 0; i < 2; i++) {
		struct eg_stream *s = i ? t.p.a.stream : t.p.b.stream;

		eg_stream_look(s);
		assert_int_equal(eg_stream_read(s, &none, 10), EG_IO_AGAIN);
	}
	assert_true(record_buffers > 0);
	eg_stream_idle(t.p.a.stream);
	eg_stream_idle(t.p.b.stream);
	assert_int_equal(record_buffers, 0);
	round_trip(&t);
	eg_buf_fini(&none);
	pair_close(&t.p);
	tls_free(&t);
	eg_leaf_unref(leaf);
}

/* A record of which the first `cut` bytes came: not quiet, and idleness gives nothing of it up.
 * False: it has no more bytes than that. */
static bool half_a_record(struct eg_leaf *leaf, ssize_t cut)
{
	char said[] = "unasked", record[256];
	struct iovec out = {said, 7};
	struct tls_pair t;
	struct eg_buf got;
	ssize_t all = 0;
	size_t n;

	tls_make(&t);
	handshake(&t, leaf, "api.example");
	round_trip(&t);
	assert_true(eg_stream_reusable(t.p.b.stream));
	assert_int_equal(eg_stream_write(t.p.a.stream, &out, 1, &n), EG_IO_DONE);
	turn_until(&t.p, (all = recv(t.p.fd[1], record, sizeof(record), MSG_DONTWAIT)) > 0);
	assert_true(all > cut);
	assert_int_equal(send(t.p.fd[0], record, (size_t)cut, 0), cut);
	if (eg_stream_reusable(t.p.b.stream) || eg_stream_rests(t.p.b.stream))
		fail_msg("quiet after %zd bytes of a record", cut);
	eg_stream_idle(t.p.b.stream);
	assert_int_equal(send(t.p.fd[0], record + cut, (size_t)(all - cut), 0), all - cut);
	eg_buf_init(&got, 64);
	take(&t.p, &t.p.b, &got, 7);
	assert_memory_equal(eg_buf_data(&got), "unasked", 7);
	eg_buf_fini(&got);
	pair_close(&t.p);
	tls_free(&t);
	return cut + 1 < all;
}

static void half_a_record_is_not_quiet(void **state)
{
	struct eg_leaf *leaf = good_leaf("api.example");
	ssize_t cut = 1;

	while (half_a_record(leaf, cut))
		cut++;
	eg_leaf_unref(leaf);
}

/* Who asks and goes on reading hears of what was found there: epoll says nothing more of it. */
static void what_is_not_quiet_is_read(void **state)
{
	struct eg_leaf *leaf = good_leaf("api.example");
	char said[] = "unasked";
	struct iovec out = {said, 7};
	struct eg_buf got;
	struct tls_pair t;
	struct pollfd ready;
	size_t n;

	(void)state;
	tls_make(&t);
	handshake(&t, leaf, "api.example");
	round_trip(&t);
	eg_buf_init(&got, 64);
	eg_stream_want(t.p.b.stream, true, false);
	assert_true(eg_stream_reusable(t.p.b.stream));
	assert_int_equal(eg_stream_write(t.p.a.stream, &out, 1, &n), EG_IO_DONE);
	assert_int_equal(eg_stream_flush(t.p.a.stream), EG_IO_DONE);
	ready = (struct pollfd){.fd = t.p.fd[1], .events = POLLIN};
	assert_int_equal(poll(&ready, 1, 10000), 1);
	assert_false(eg_stream_reusable(t.p.b.stream));
	t.p.b.events = 0;
	turn_until(&t.p, t.p.b.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_read(t.p.b.stream, &got, 64), EG_IO_DONE);
	assert_memory_equal(eg_buf_data(&got), "unasked", 7);
	eg_buf_fini(&got);
	pair_close(&t.p);
	tls_free(&t);
	eg_leaf_unref(leaf);
}

/* A relay that cuts the conversation into single bytes, both ways. */
static void every_byte_in_its_own_segment(void **state)
{
	struct eg_leaf *leaf = good_leaf("api.example");
	struct pair left, right;
	struct tls_pair t;
	struct side client = {0}, server = {0};

	tls_make(&t);
	pair_open(&left);
	pair_open(&right);
	side_watch(&server, left.loop, left.fd[0]);
	side_watch(&client, left.loop, right.fd[0]);
	assert_int_equal(eg_stream_tls_connect(client.stream, t.client, "api.example", 443), 0);
	assert_int_equal(eg_stream_tls_accept(server.stream, t.server, leaf, "api.example"), 0);
	for (int i = 0; !(client.events && server.events); i++) {
		bool moved = false;
		char byte;

		assert_true(i < 50000);
		if (recv(right.fd[1], &byte, 1, MSG_DONTWAIT) == 1) {
			assert_int_equal(send(left.fd[1], &byte, 1, 0), 1);
			moved = true;
		}
		if (recv(left.fd[1], &byte, 1, MSG_DONTWAIT) == 1) {
			assert_int_equal(send(right.fd[1], &byte, 1, 0), 1);
			moved = true;
		}
		/* Now and then one waits for a delayed ACK, far longer than many turns. */
		assert_int_equal(eg_loop_turn(left.loop, moved ? 0 : 1), 0);
	}
	assert_int_equal(client.events, EG_STREAM_CONNECTED);
	assert_int_equal(server.events, EG_STREAM_CONNECTED);
	eg_stream_destroy(client.stream);
	eg_stream_destroy(server.stream);
	assert_int_equal(eg_loop_turn(left.loop, 0), 0);
	pair_close(&left);
	pair_close(&right);
	tls_free(&t);
	eg_leaf_unref(leaf);
}

static void peeked_hello_is_what_tls_begins_with(void **state)
{
	struct eg_leaf *leaf = good_leaf("api.example");
	struct eg_str seen;
	struct tls_pair t;

	tls_make(&t);
	tls_open(&t);
	assert_int_equal(eg_stream_tls_connect(t.p.b.stream, t.client, "api.example", 443), 0);
	eg_stream_want(t.p.a.stream, true, false);
	turn_until(&t.p, t.p.a.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_peek(t.p.a.stream, 65536, &seen), EG_IO_DONE);
	assert_int_equal(seen.p[0], 22);
	t.p.a.events = 0;
	assert_int_equal(eg_stream_tls_accept(t.p.a.stream, t.server, leaf, "api.example"), 0);
	turn_until(&t.p, t.p.a.events && t.p.b.events);
	assert_int_equal(t.p.a.events & EG_STREAM_FAILED, 0);
	assert_int_equal(eg_stream_detach(t.p.a.stream, NULL), -1);
	assert_int_equal(errno, EINVAL);
	round_trip(&t);
	pair_close(&t.p);
	tls_free(&t);
	eg_leaf_unref(leaf);
}

static void client_refuses(const struct made *m, const char *host, const char *why, bool ca_alert)
{
	struct eg_leaf *leaf = leaf_of(host, m);
	const struct eg_stream_failure *f;
	struct tls_pair t;

	tls_make(&t);
	begin(&t, leaf, host);
	turn_until(&t.p, t.p.a.events && t.p.b.events);
	assert_int_equal(t.p.b.events, EG_STREAM_FAILED);
	f = eg_stream_failure(t.p.b.stream);
	assert_int_equal(f->stage, EG_STAGE_HANDSHAKE);
	assert_true(f->certificate);
	assert_string_equal(f->text, why);
	assert_int_equal(t.p.a.events, EG_STREAM_FAILED);
	f = eg_stream_failure(t.p.a.stream);
	assert_int_equal(f->peer_rejected_ca, ca_alert);
	assert_non_null(strstr(f->text, "alert"));
	pair_close(&t.p);
	tls_free(&t);
	eg_leaf_unref(leaf);
}

static void certificates_that_are_refused(void **state)
{
	struct made m;

	m = make_cert("x", "DNS:api.example", &ca, -7200, -3600);
	client_refuses(&m, "api.example", "certificate has expired", false);
	unmake(&m);
	m = make_cert("x", "DNS:api.example", &ca, 3600, 7200);
	client_refuses(&m, "api.example", "certificate is not yet valid", true);
	unmake(&m);
	m = make_cert("api.example", "DNS:other.example", &ca, -3600, 3600);
	client_refuses(&m, "api.example", "hostname mismatch", true);
	unmake(&m);
	m = make_cert("api.example", "DNS:api.example", &other_ca, -3600, 3600);
	client_refuses(&m, "api.example", "unable to get local issuer certificate", true);
	unmake(&m);
	m = make_cert("api.example", "DNS:api.example", NULL, -3600, 3600);
	client_refuses(&m, "api.example", "self-signed certificate", true);
	unmake(&m);
	m = make_cert("x", "DNS:*.example", &ca, -3600, 3600);
	client_refuses(&m, "10.1.2.3", "IP address mismatch", true);
	unmake(&m);
}

static void addresses_are_verified_as_addresses(void **state)
{
	struct made m = make_cert("x", "IP:10.1.2.3", &ca, -3600, 3600);
	struct eg_leaf *leaf = leaf_of("10.1.2.3", &m);
	struct tls_pair t;

	tls_make(&t);
	handshake(&t, leaf, "10.1.2.3");
	pair_close(&t.p);
	tls_free(&t);
	eg_leaf_unref(leaf);
	unmake(&m);
	/* In any form that it may be written in. */
	m = make_cert("x", "IP:fd00:0:0::1", &ca, -3600, 3600);
	leaf = leaf_of("fd00::1", &m);
	tls_make(&t);
	handshake(&t, leaf, "fd00::1");
	pair_close(&t.p);
	handshake(&t, leaf, "FD00:0::1");
	pair_close(&t.p);
	tls_free(&t);
	eg_leaf_unref(leaf);
	client_refuses(&m, "fd00::2", "IP address mismatch", true);
	unmake(&m);
	/* An address that is written as a name is none. */
	m = make_cert("10.1.2.3", "DNS:10.1.2.3", &ca, -3600, 3600);
	client_refuses(&m, "10.1.2.3", "IP address mismatch", true);
	unmake(&m);
}

/* RFC 6066 section 3: no address is sent as a server's name. */
static void addresses_are_sent_as_no_name(void **state)
{
	static const struct {
		const char *host;
		bool sent;
	} hosts[] = {{"10.1.2.3", false}, {"fd00::1", false}, {"api.example", true}};

	for (size_t i = 0; i < EG_ARRAY_SIZE(hosts); i++) {
		struct eg_client_hello hello;
		struct eg_str bytes;
		struct tls_pair t;

		tls_make(&t);
		tls_open(&t);
		assert_int_equal(eg_stream_tls_connect(t.p.b.stream, t.client, hosts[i].host, 443),
				 0);
		eg_stream_want(t.p.a.stream, true, false);
		turn_until(&t.p,
			   eg_stream_peek(t.p.a.stream, EG_CLIENT_HELLO_MAX, &bytes) == EG_IO_DONE);
		assert_int_equal(eg_client_hello_parse(bytes, &hello), EG_IO_DONE);
		assert_int_equal(hello.has_sni, hosts[i].sent);
		pair_close(&t.p);
		tls_free(&t);
	}
}

static void cut_without_close_notify(void **state)
{
	struct eg_leaf *leaf = good_leaf("api.example");
	struct eg_buf got;
	struct tls_pair t;

	tls_make(&t);
	handshake(&t, leaf, "api.example");
	round_trip(&t);
	shutdown(t.p.fd[0], SHUT_WR); /* below TLS: what an attacker can do */
	eg_buf_init(&got, 64);
	eg_stream_want(t.p.b.stream, true, false);
	turn_until(&t.p, t.p.b.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_read(t.p.b.stream, &got, 10), EG_IO_FAIL);
	assert_true(eg_stream_truncated(t.p.b.stream));
	assert_int_equal(eg_stream_read(t.p.b.stream, &got, 10), EG_IO_FAIL);
	eg_buf_fini(&got);
	pair_close(&t.p);
	tls_free(&t);
	eg_leaf_unref(leaf);
}

static void reset_under_tls_is_no_truncation(void **state)
{
	struct eg_leaf *leaf = good_leaf("api.example");
	struct eg_buf got;
	struct tls_pair t;

	tls_make(&t);
	handshake(&t, leaf, "api.example");
	round_trip(&t);
	eg_stream_reset(t.p.a.stream);
	t.p.a.stream = NULL;
	eg_buf_init(&got, 64);
	eg_stream_want(t.p.b.stream, true, false);
	turn_until(&t.p, t.p.b.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_read(t.p.b.stream, &got, 10), EG_IO_FAIL);
	assert_false(eg_stream_truncated(t.p.b.stream));
	assert_int_equal(eg_stream_failure(t.p.b.stream)->error, ECONNRESET);
	eg_buf_fini(&got);
	pair_close(&t.p);
	tls_free(&t);
	eg_leaf_unref(leaf);
}

static void garbage_instead_of_tls(void **state)
{
	static const char *const junk[] = {
		"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n",
		"\x16\x03\x01\xff\xff",
		"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
		"\x15\x03\x01\x00\x02\x02\x28",
		"\x80\x2e\x01\x00\x02",
		"",
	};
	struct eg_leaf *leaf = good_leaf("api.example");
	struct tls_pair t;

	tls_make(&t);
	for (size_t i = 0; i < EG_ARRAY_SIZE(junk); i++) {
		size_t n = i == 2 ? 10 : i == 3 ? 7 : i == 4 ? 5 : strlen(junk[i]);

		pair_open(&t.p);
		side_watch(&t.p.a, t.p.loop, t.p.fd[0]);
		assert_int_equal(eg_stream_tls_accept(t.p.a.stream, t.server, leaf, "api.example"),
				 0);
		assert_int_equal(send(t.p.fd[1], junk[i], n, 0), n);
		shutdown(t.p.fd[1], SHUT_WR);
		turn_until(&t.p, t.p.a.events);
		assert_int_equal(t.p.a.events, EG_STREAM_FAILED);
		assert_int_equal(eg_stream_failure(t.p.a.stream)->stage, EG_STAGE_HANDSHAKE);
		assert_string_not_equal(eg_stream_failure(t.p.a.stream)->text, "");
		assert_false(eg_stream_failure(t.p.a.stream)->peer_rejected_ca);
		for (int turn = 0; turn < 3; turn++)
			assert_int_equal(eg_loop_turn(t.p.loop, 0), 0);
		assert_int_equal(t.p.a.calls, 1);
		pair_close(&t.p);
	}
	/* and towards the client's side */
	pair_open(&t.p);
	side_watch(&t.p.a, t.p.loop, t.p.fd[0]);
	assert_int_equal(eg_stream_tls_connect(t.p.a.stream, t.client, "api.example", 443), 0);
	assert_int_equal(send(t.p.fd[1], junk[0], 20, 0), 20);
	turn_until(&t.p, t.p.a.events);
	assert_int_equal(t.p.a.events, EG_STREAM_FAILED);
	assert_false(eg_stream_failure(t.p.a.stream)->certificate);
	pair_close(&t.p);
	tls_free(&t);
	eg_leaf_unref(leaf);
}

/* ---- resumption: an OpenSSL client whose version and offered name the test decides ---- */

struct other {
	SSL_CTX *ctx;
	SSL_SESSION *session;
};

static int other_keep(SSL *ssl, SSL_SESSION *session)
{
	struct other *o = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	SSL_SESSION_free(o->session);
	o->session = session;
	return 1;
}

static void other_make(struct other *o, int version)
{
	o->ctx = SSL_CTX_new(TLS_client_method());
	o->session = NULL;
	SSL_CTX_set_min_proto_version(o->ctx, version);
	SSL_CTX_set_max_proto_version(o->ctx, version);
	SSL_CTX_set_app_data(o->ctx, o);
	SSL_CTX_set_session_cache_mode(o->ctx, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(o->ctx, other_keep);
}

static void other_free(struct other *o)
{
	SSL_SESSION_free(o->session);
	SSL_CTX_free(o->ctx);
}

/* One connection with `sni`, offering the session kept; did both sides resume? */
static bool other_connect(struct other *o, struct tls_pair *t, const char *sni)
{
	struct eg_leaf *leaf = good_leaf(sni);
	SSL *ssl = SSL_new(o->ctx);
	char byte[] = "!";
	struct iovec v = {byte, 1};
	int r = -1;
	bool reused;
	size_t n;

	pair_open(&t->p);
	side_watch(&t->p.a, t->p.loop, t->p.fd[0]);
	assert_int_equal(fcntl(t->p.fd[1], F_SETFL, O_NONBLOCK), 0);
	SSL_set_fd(ssl, t->p.fd[1]);
	SSL_set_tlsext_host_name(ssl, sni);
	if (o->session)
		assert_int_equal(SSL_set_session(ssl, o->session), 1);
	assert_int_equal(eg_stream_tls_accept(t->p.a.stream, t->server, leaf, sni), 0);
	for (int i = 0; i < 2000 && (r != 1 || !t->p.a.events); i++) {
		ERR_clear_error();
		r = SSL_connect(ssl);
		assert_int_equal(eg_loop_turn(t->p.loop, 1), 0);
	}
	assert_int_equal(r, 1);
	assert_int_equal(t->p.a.events, EG_STREAM_CONNECTED);
	reused = SSL_session_reused(ssl);
	if (reused && SSL_version(ssl) == TLS1_2_VERSION) {
		SSL_SESSION_free(o->session);
		o->session = SSL_get1_session(ssl); /* no callback for a renewed ticket */
	}
	assert_int_equal(eg_stream_resumed(t->p.a.stream), reused);
	/* The certificate shown is that of the name asked for, resumed or not. */
	{
		X509 *x = SSL_get1_peer_certificate(ssl);

		assert_int_equal(X509_check_host(x, sni, 0, 0, NULL), 1);
		X509_free(x);
	}
	assert_int_equal(eg_stream_write(t->p.a.stream, &v, 1, &n), EG_IO_DONE);
	for (r = 0; r != 1;) {
		assert_int_equal(eg_loop_turn(t->p.loop, 1), 0);
		r = SSL_read(ssl, byte, 1);
	}
	SSL_shutdown(ssl);
	SSL_free(ssl);
	pair_close(&t->p);
	eg_leaf_unref(leaf);
	return reused;
}

/* A client of TLS 1.3 after its handshake; what it sends is the test's to decide. */
static SSL *other_open(struct other *o, struct tls_pair *t, struct eg_leaf *leaf)
{
	SSL *ssl = SSL_new(o->ctx);
	int r = -1;

	pair_open(&t->p);
	side_watch(&t->p.a, t->p.loop, t->p.fd[0]);
	assert_int_equal(fcntl(t->p.fd[1], F_SETFL, O_NONBLOCK), 0);
	SSL_set_fd(ssl, t->p.fd[1]);
	assert_int_equal(eg_stream_tls_accept(t->p.a.stream, t->server, leaf, "api.example"), 0);
	for (int i = 0; i < 2000 && (r != 1 || !t->p.a.events); i++) {
		ERR_clear_error();
		r = SSL_connect(ssl);
		assert_int_equal(eg_loop_turn(t->p.loop, 1), 0);
	}
	assert_int_equal(r, 1);
	t->p.a.events = 0;
	eg_stream_want(t->p.a.stream, true, false);
	return ssl;
}

/* New keys without end: each costs the server some work, and none of it is a byte that was read. */
static void messages_without_data(void **state)
{
	struct eg_leaf *leaf = good_leaf("api.example");
	struct tls_pair t;
	struct other o;

	tls_make(&t);
	other_make(&o, TLS1_3_VERSION);
	for (int n = 32; n <= 1032; n += 1000) {
		SSL *ssl = other_open(&o, &t, leaf);
		enum eg_io r = EG_IO_AGAIN;
		struct eg_buf got;

		for (int i = 0; i < n; i++) {
			assert_int_equal(SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
			assert_int_equal(SSL_do_handshake(ssl), 1);
		}
		assert_int_equal(SSL_write(ssl, "x", 1), 1);
		eg_buf_init(&got, 100);
		for (int i = 0; i < 2000 && r == EG_IO_AGAIN; i++) {
			assert_int_equal(eg_loop_turn(t.p.loop, 1), 0);
			if (t.p.a.events & EG_STREAM_READ)
				r = eg_stream_read(t.p.a.stream, &got, 100);
		}
		assert_int_equal(r, n == 32 ? EG_IO_DONE : EG_IO_FAIL);
		assert_int_equal(got.length, n == 32);
		if (r == EG_IO_FAIL)
			assert_non_null(strstr(eg_stream_failure(t.p.a.stream)->text,
					       "one TLS message after the other"));
		eg_buf_fini(&got);
		SSL_free(ssl);
		pair_close(&t.p);
	}
	other_free(&o);
	tls_free(&t);
	eg_leaf_unref(leaf);
	(void)state;
}

/* A byte a record: many turns of the loop are made of what a large read would take in one. */
static void a_byte_in_each_record(void **state)
{
	struct eg_leaf *leaf = good_leaf("api.example");
	size_t total = 5000, most = 0;
	struct tls_pair t;
	struct eg_buf got;
	struct other o;
	SSL *ssl;

	tls_make(&t);
	other_make(&o, TLS1_3_VERSION);
	ssl = other_open(&o, &t, leaf);
	for (size_t i = 0; i < total; i++)
		assert_int_equal(SSL_write(ssl, "x", 1), 1);
	eg_buf_init(&got, 16384);
	/* So many a millisecond; a turn may be much shorter. */
	for (int i = 0; i < 10000000 && got.length < total; i++) {
		size_t before = got.length;

		t.p.a.events = 0;
		assert_int_equal(eg_loop_turn(t.p.loop, 1), 0);
		while (t.p.a.events & EG_STREAM_READ &&
		       eg_stream_read(t.p.a.stream, &got, 16384 - got.length) == EG_IO_DONE)
			;
		most = EG_MAX(most, got.length - before);
	}
	assert_int_equal(got.length, total);
	assert_in_range(most, 1, 1024);
	eg_buf_fini(&got);
	SSL_free(ssl);
	pair_close(&t.p);
	other_free(&o);
	tls_free(&t);
	eg_leaf_unref(leaf);
	(void)state;
}

static void resumption(int version)
{
	unsigned char key[80];
	struct tls_pair t;
	struct other o;

	tls_make(&t);
	other_make(&o, version);
	memset(key, 1, sizeof(key));
	assert_int_equal(eg_tls_server_ticket_key(t.server, key), 0);
	assert_false(other_connect(&o, &t, "one.example"));
	assert_non_null(o.session);
	assert_true(other_connect(&o, &t, "one.example"));
	/* Another name: full handshake, and the certificate of that name. */
	assert_false(other_connect(&o, &t, "two.example"));
	/* The session is now two's; it must not open one. */
	assert_false(other_connect(&o, &t, "one.example"));
	assert_true(other_connect(&o, &t, "one.example"));
	/* A rotated key: the former one still opens, and the ticket is renewed. */
	memset(key, 2, sizeof(key));
	assert_int_equal(eg_tls_server_ticket_key(t.server, key), 0);
	assert_int_equal(eg_tls_server_ticket_key(t.server, key), 0);
	assert_true(other_connect(&o, &t, "one.example"));
	memset(key, 3, sizeof(key));
	assert_int_equal(eg_tls_server_ticket_key(t.server, key), 0);
	assert_true(other_connect(&o, &t, "one.example"));
	/* Two rotations without a visit: forgotten. */
	memset(key, 4, sizeof(key));
	assert_int_equal(eg_tls_server_ticket_key(t.server, key), 0);
	memset(key, 5, sizeof(key));
	assert_int_equal(eg_tls_server_ticket_key(t.server, key), 0);
	assert_false(other_connect(&o, &t, "one.example"));
	/* One name for two keys would break open tickets. */
	key[20] ^= 1;
	assert_int_equal(eg_tls_server_ticket_key(t.server, key), -EINVAL);
	other_free(&o);
	tls_free(&t);
}

static void resumption_tls12(void **state)
{
	resumption(TLS1_2_VERSION);
}

static void resumption_tls13(void **state)
{
	resumption(TLS1_3_VERSION);
}

static void a_ticket_of_another_worker_opens(void **state)
{
	unsigned char key[80];
	struct tls_pair t, u;
	struct other o;

	tls_make(&t);
	tls_make(&u);
	other_make(&o, TLS1_3_VERSION);
	memset(key, 9, sizeof(key));
	assert_int_equal(eg_tls_server_ticket_key(t.server, key), 0);
	assert_int_equal(eg_tls_server_ticket_key(u.server, key), 0);
	assert_false(other_connect(&o, &t, "one.example"));
	assert_true(other_connect(&o, &u, "one.example"));
	other_free(&o);
	tls_free(&t);
	tls_free(&u);
}

static void our_client_resumes(void **state)
{
	struct eg_leaf *leaf = good_leaf("api.example");
	struct tls_pair t;

	tls_make(&t);
	handshake(&t, leaf, "api.example");
	assert_false(eg_stream_resumed(t.p.b.stream));
	round_trip(&t);
	pair_close(&t.p);
	for (int i = 0; i < 3; i++) {
		handshake(&t, leaf, "api.example");
		assert_true(eg_stream_resumed(t.p.b.stream));
		assert_true(eg_stream_resumed(t.p.a.stream));
		round_trip(&t);
		pair_close(&t.p);
	}
	tls_free(&t);
	eg_leaf_unref(leaf);
}

static void old_versions_are_refused(void **state)
{
	struct eg_leaf *leaf = good_leaf("api.example");
	struct tls_pair t;
	struct other o;
	SSL *ssl;

	tls_make(&t);
	other_make(&o, TLS1_1_VERSION);
	SSL_CTX_set_security_level(o.ctx, 0);
	pair_open(&t.p);
	side_watch(&t.p.a, t.p.loop, t.p.fd[0]);
	assert_int_equal(fcntl(t.p.fd[1], F_SETFL, O_NONBLOCK), 0);
	ssl = SSL_new(o.ctx);
	SSL_set_fd(ssl, t.p.fd[1]);
	assert_int_equal(eg_stream_tls_accept(t.p.a.stream, t.server, leaf, "api.example"), 0);
	assert_true(SSL_connect(ssl) <= 0);
	turn_until(&t.p, t.p.a.events);
	assert_int_equal(t.p.a.events, EG_STREAM_FAILED);
	SSL_free(ssl);
	pair_close(&t.p);
	other_free(&o);
	tls_free(&t);
	eg_leaf_unref(leaf);
}

/* As the front does: a handshake that failed ends in a reset, from inside the event. */
static void reset_on_event(struct eg_stream *s, unsigned int events, void *ctx)
{
	struct side *side = ctx;

	side->events |= events;
	if (events & EG_STREAM_FAILED) {
		eg_stream_reset(s);
		side->stream = NULL;
	}
}

static const struct eg_stream_handler resetting = {reset_on_event};

static void alpn_of(const char *offer, unsigned int n, const char *agreed)
{
	struct eg_leaf *leaf = good_leaf("api.example");
	const unsigned char *got = NULL;
	unsigned int got_n = 0;
	struct tls_pair t;
	struct other o;
	SSL *ssl;
	int r = 0;

	tls_make(&t);
	other_make(&o, TLS1_3_VERSION);
	pair_open(&t.p);
	side_watch(&t.p.a, t.p.loop, t.p.fd[0]);
	assert_int_equal(fcntl(t.p.fd[1], F_SETFL, O_NONBLOCK), 0);
	ssl = SSL_new(o.ctx);
	SSL_set_fd(ssl, t.p.fd[1]);
	assert_int_equal(SSL_set_alpn_protos(ssl, (const unsigned char *)offer, n), 0);
	assert_int_equal(eg_stream_tls_accept(t.p.a.stream, t.server, leaf, "api.example"), 0);
	for (int i = 0; i < 2000 && !t.p.a.events; i++) {
		r = SSL_connect(ssl);
		assert_int_equal(eg_loop_turn(t.p.loop, 1), 0);
	}
	if (agreed) {
		assert_int_equal(r, 1);
		SSL_get0_alpn_selected(ssl, &got, &got_n);
		assert_int_equal(got_n, strlen(agreed));
		assert_memory_equal(got, agreed, got_n);
	} else {
		assert_int_equal(t.p.a.events, EG_STREAM_FAILED);
		assert_string_equal(eg_stream_failure(t.p.a.stream)->text,
				    "the client offers neither h2 nor http/1.x by ALPN");
	}
	SSL_free(ssl);
	pair_close(&t.p);
	other_free(&o);
	tls_free(&t);
	eg_leaf_unref(leaf);
}

/* The client is told why by an alert, which comes before the reset. */
static void alert_before_reset(void **state)
{
	struct eg_leaf *leaf = good_leaf("api.example");
	struct tls_pair t;
	struct other o;
	SSL *ssl;
	int r = 0;

	tls_make(&t);
	other_make(&o, TLS1_3_VERSION);
	pair_open(&t.p);
	side_watch(&t.p.a, t.p.loop, t.p.fd[0]);
	eg_stream_set_handler(t.p.a.stream, &resetting, &t.p.a);
	assert_int_equal(fcntl(t.p.fd[1], F_SETFL, O_NONBLOCK), 0);
	ssl = SSL_new(o.ctx);
	SSL_set_fd(ssl, t.p.fd[1]);
	assert_int_equal(SSL_set_alpn_protos(ssl, (const unsigned char *)"\x02h3", 3), 0);
	assert_int_equal(eg_stream_tls_accept(t.p.a.stream, t.server, leaf, "api.example"), 0);
	for (int i = 0; i < 2000 && !t.p.a.events; i++) {
		(void)SSL_connect(ssl);
		assert_int_equal(eg_loop_turn(t.p.loop, 1), 0);
	}
	assert_int_equal(t.p.a.events, EG_STREAM_FAILED);
	ERR_clear_error();
	for (int i = 0; i < 2000 && r != SSL_ERROR_SSL && r != SSL_ERROR_SYSCALL; i++) {
		r = SSL_get_error(ssl, SSL_connect(ssl));
		usleep(500);
	}
	assert_int_equal(r, SSL_ERROR_SSL);
	assert_int_equal(ERR_GET_REASON(ERR_peek_error()),
			 SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
	SSL_free(ssl);
	pair_close(&t.p);
	other_free(&o);
	tls_free(&t);
	eg_leaf_unref(leaf);
	(void)state;
}

static void alpn(void **state)
{
	alpn_of("\x02h2\x08http/1.1", 12, "h2");
	alpn_of("\x08http/1.1\x02h2", 12, "h2");
	alpn_of("\x08http/1.1", 9, "http/1.1");
	alpn_of("\x02h2", 3, "h2");
	alpn_of("\x08http/1.0", 9, "http/1.0"); /* curl --http1.0 */
	alpn_of("\x08http/1.0\x08http/1.1", 18, "http/1.1");
	alpn_of("\x08http/0.9", 9, NULL);
	alpn_of("\x02h3", 3, NULL);
}

static void trust_that_is_refused(void **state)
{
	struct eg_error e = {""};
	struct eg_buf pem;

	assert_null(eg_trust_create((struct eg_str){NULL, 0}, &e));
	assert_string_equal(e.text, "trust roots: no certificate; expected a PEM bundle");
	assert_null(eg_trust_create(EG_STR("not a certificate\n"), &e));
	eg_buf_init(&pem, 1 << 16);
	cert_pem(&pem, ca.cert);
	assert_int_equal(eg_buf_append_str(&pem, EG_STR("-----BEGIN CERTIFICATE-----\nAAAA\n"
							"-----END CERTIFICATE-----\n")),
			 0);
	assert_null(eg_trust_create(eg_buf_str(&pem), &e));
	assert_non_null(strstr(e.text, "certificate 2 is damaged"));
	eg_buf_fini(&pem);
}

static void trust_that_is_the_same(void **state)
{
	struct eg_trust *a, *b, *other;
	struct eg_buf pem;
	struct eg_error e;

	eg_buf_init(&pem, 1 << 16);
	cert_pem(&pem, ca.cert);
	a = eg_trust_create(eg_buf_str(&pem), &e);
	b = eg_trust_create(eg_buf_str(&pem), &e);
	cert_pem(&pem, ca.cert);
	other = eg_trust_create(eg_buf_str(&pem), &e);
	assert_true(a && b && other && eg_trust_same(a, b) && !eg_trust_same(a, other));
	eg_trust_unref(a);
	eg_trust_unref(b);
	eg_trust_unref(other);
	eg_buf_fini(&pem);
}

static void leaf_that_is_refused(void **state)
{
	struct eg_buf cert, key;
	struct eg_error e = {""};

	eg_buf_init(&cert, 1 << 16);
	eg_buf_init_secret(&key, 1 << 16);
	cert_pem(&cert, ca.cert);
	key_pem(&key, other_ca.key);
	assert_null(eg_leaf_create_pem("x", eg_buf_str(&cert), eg_buf_str(&key), &e));
	assert_non_null(strstr(e.text, "the key that belongs to it"));
	assert_null(eg_leaf_create_pem("x", EG_STR(""), EG_STR(""), &e));
	eg_buf_fini(&cert);
	eg_buf_fini(&key);
}

static void addresses(void **state)
{
	static const struct {
		const char *text;
		int r;
		bool v4, never;
	} rows[] = {
		{"10.1.2.3", 0, true, false},
		{"127.0.0.1", 0, true, true},
		{"169.254.169.254", 0, true, true},
		{"0.0.0.0", 0, true, true},
		{"224.0.0.1", 0, true, true},
		{"255.255.255.255", 0, true, true},
		{"2001:db8::1", 0, false, false},
		{"::", 0, false, true},
		{"::1", 0, false, true},
		{"fe80::1", 0, false, true},
		{"ff02::1", 0, false, true},
		{"fd00:ec2::254", 0, false, true},
		{"::ffff:127.0.0.1", 0, true, true},
		{"::ffff:8.8.8.8", 0, true, false},
		{"::127.0.0.1", 0, false, true},
		{"64:ff9b::7f00:1", 0, false, true},
		{"64:ff9b::808:808", 0, false, false},
		{"2002:7f00:1::", 0, false, true},
		{"2002:a9fe:a9fe::", 0, false, true},
		{"", -EINVAL, false, false},
		{"1.2.3", -EINVAL, false, false},
		{"1.2.3.4 ", -EINVAL, false, false},
		{"api.openai.com", -EINVAL, false, false},
		{"1::2::3", -EINVAL, false, false},
	};
	char text[EG_ADDRESS_TEXT];

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_address a;

		assert_int_equal(eg_address_parse(eg_str_from(rows[i].text), &a), rows[i].r);
		if (rows[i].r)
			continue;
		assert_int_equal(eg_address_is_v4(&a), rows[i].v4);
		if (eg_address_never_dialled(&a) != rows[i].never)
			fail_msg("%s: never_dialled is not %d", rows[i].text, rows[i].never);
		if (strncmp(rows[i].text, "::ffff:", 7) != 0 &&
		    strncmp(rows[i].text, "::127", 5) != 0)
			assert_string_equal(eg_address_text(&a, text), rows[i].text);
	}
}

static int make_all(void **state)
{
	ca = make_cert("Test CA", NULL, NULL, -7200, 86400);
	other_ca = make_cert("Other CA", NULL, NULL, -7200, 86400);
	trust = trust_of(&ca);
	return 0;
}

static int free_all(void **state)
{
	eg_trust_unref(trust);
	unmake(&ca);
	unmake(&other_ca);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_both_ways_and_close_notify),
		cmocka_unit_test(what_is_not_quiet_is_read),
		cmocka_unit_test(half_a_record_is_not_quiet),
		cmocka_unit_test(idle_streams_hold_no_record_buffers),
		cmocka_unit_test(megabytes_with_back_pressure),
		cmocka_unit_test(every_byte_in_its_own_segment),
		cmocka_unit_test(peeked_hello_is_what_tls_begins_with),
		cmocka_unit_test(certificates_that_are_refused),
		cmocka_unit_test(addresses_are_verified_as_addresses),
		cmocka_unit_test(addresses_are_sent_as_no_name),
		cmocka_unit_test(cut_without_close_notify),
		cmocka_unit_test(reset_under_tls_is_no_truncation),
		cmocka_unit_test(garbage_instead_of_tls),
		cmocka_unit_test(messages_without_data),
		cmocka_unit_test(a_byte_in_each_record),
		cmocka_unit_test(resumption_tls12),
		cmocka_unit_test(resumption_tls13),
		cmocka_unit_test(a_ticket_of_another_worker_opens),
		cmocka_unit_test(our_client_resumes),
		cmocka_unit_test(old_versions_are_refused),
		cmocka_unit_test(alpn),
		cmocka_unit_test(alert_before_reset),
		cmocka_unit_test(trust_that_is_refused),
		cmocka_unit_test(trust_that_is_the_same),
		cmocka_unit_test(leaf_that_is_refused),
		cmocka_unit_test(addresses),
	};

	if (!CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free)) {
		fprintf(stderr, "OpenSSL allocated before main()\n");
		return 1;
	}
	return cmocka_run_group_tests(tests, make_all, free_all);
}
