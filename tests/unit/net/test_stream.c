/* SPDX-License-Identifier: Apache-2.0 */
/* Plain streams: progress, back-pressure, half-close, reset against end, peeking, detaching. */
#include <sys/epoll.h>

#include "net_lib.h"

#include "net/stream_impl.h"

static void ends_of(struct pair *p)
{
	pair_open(p);
	side_watch(&p->a, p->loop, p->fd[0]);
}

static void echo_one_byte_at_a_time(void **state)
{
	const char text[] = "every byte in its own segment, none lost, none twice";
	struct pair p;
	struct eg_buf got;

	ends_of(&p);
	eg_buf_init(&got, 4096);
	eg_stream_want(p.a.stream, true, false);
	for (size_t i = 0; i < sizeof(text); i++) {
		assert_int_equal(write(p.fd[1], text + i, 1), 1);
		turn_until(&p, p.a.events & EG_STREAM_READ);
		assert_int_equal(eg_stream_read(p.a.stream, &got, 100), EG_IO_DONE);
		assert_int_equal(got.length, i + 1);
		assert_int_equal(eg_stream_read(p.a.stream, &got, 100), EG_IO_AGAIN);
		p.a.events = 0;
	}
	assert_memory_equal(eg_buf_data(&got), text, sizeof(text));
	eg_buf_fini(&got);
	pair_close(&p);
}

static void small_writes_leave_together(void **state)
{
	char head[] = "head", body[] = "body";
	struct iovec v[2] = {{head, 4}, {body, 4}};
	char in[64];
	size_t n = 0;
	struct pair p;

	ends_of(&p);
	assert_int_equal(eg_stream_write(p.a.stream, v, 2, &n), EG_IO_DONE);
	assert_int_equal(n, 8);
	assert_int_equal(eg_stream_write(p.a.stream, v, 1, &n), EG_IO_DONE);
	assert_int_equal(recv(p.fd[1], in, sizeof(in), MSG_DONTWAIT), -1);
	assert_int_equal(eg_loop_turn(p.loop, 0), 0); /* the end of the tick sends all */
	assert_int_equal(recv(p.fd[1], in, sizeof(in), MSG_DONTWAIT), 12);
	assert_memory_equal(in, "headbodyhead", 12);
	pair_close(&p);
}

static void back_pressure(void **state)
{
	enum { TOTAL = 8 << 20 };
	unsigned char *block = malloc(1 << 20);
	size_t sent = 0, received = 0, n;
	bool again = false;
	struct pair p;

	ends_of(&p);
	for (size_t i = 0; i < 1 << 20; i++)
		block[i] = (unsigned char)(i * 131 + (i >> 8));
	while (received < TOTAL) {
		unsigned char in[50000];
		ssize_t r;

		while (sent < TOTAL) {
			size_t at = sent % (1 << 20);
			struct iovec v = {block + at, (1 << 20) - at};
			enum eg_io io = eg_stream_write(p.a.stream, &v, 1, &n);

			sent += n;
			if (io == EG_IO_AGAIN) {
				again = true;
				break;
			}
			assert_int_equal(io, EG_IO_DONE);
		}
		p.a.events = 0;
		r = recv(p.fd[1], in, sizeof(in), MSG_DONTWAIT);
		for (ssize_t i = 0; i < r; i++)
			assert_int_equal(in[i], block[(received + i) % (1 << 20)]);
		received += r > 0 ? r : 0;
		assert_int_equal(eg_loop_turn(p.loop, 0), 0);
	}
	assert_true(again);
	assert_int_equal(sent, TOTAL);
	free(block);
	pair_close(&p);
}

static void again_is_followed_by_write(void **state)
{
	static char block[1 << 20];
	struct iovec v = {block, sizeof(block)};
	size_t n = 0, received = 0;
	struct pair p;
	ssize_t r;

	ends_of(&p);
	while (eg_stream_write(p.a.stream, &v, 1, &n) == EG_IO_DONE)
		;
	assert_int_equal(eg_stream_flush(p.a.stream), EG_IO_AGAIN);
	for (int i = 0; i < 3; i++)
		assert_int_equal(eg_loop_turn(p.loop, 0), 0);
	assert_int_equal(p.a.events, 0); /* no room: no event, no spinning */
	while (!(p.a.events & EG_STREAM_WRITE)) {
		r = recv(p.fd[1], block, sizeof(block), MSG_DONTWAIT);
		received += r > 0 ? r : 0;
		assert_int_equal(eg_loop_turn(p.loop, 0), 0);
	}
	assert_int_equal(eg_stream_flush(p.a.stream), EG_IO_DONE);
	assert_true(received > 0);
	pair_close(&p);
}

static void note_held(void *ctx, size_t bytes)
{
	*(size_t *)ctx = bytes;
}

/* What waits for a peer that does not read is told, and that it waits no more. */
static void what_waits_for_the_peer_is_told(void **state)
{
	static char block[1 << 20];
	struct iovec v = {block, sizeof(block)};
	size_t n = 0, held = 0;
	struct pair p;

	ends_of(&p);
	eg_stream_on_held(p.a.stream, note_held, &held);
	assert_int_equal(eg_stream_write(p.a.stream, &(struct iovec){block, 100}, 1, &n),
			 EG_IO_DONE);
	assert_int_equal(eg_loop_turn(p.loop, 0), 0);
	assert_int_equal(held, 0);
	while (eg_stream_write(p.a.stream, &v, 1, &n) == EG_IO_DONE)
		;
	assert_int_equal(eg_loop_turn(p.loop, 0), 0);
	assert_in_range(held, 1, 2 * STREAM_OUT_CAP);
	for (int i = 0; i < 1000 && held; i++) {
		(void)!recv(p.fd[1], block, sizeof(block), MSG_DONTWAIT);
		assert_int_equal(eg_loop_turn(p.loop, 0), 0);
	}
	assert_int_equal(held, 0);
	pair_close(&p);
}

static void half_close(void **state)
{
	char words[] = "last words";
	struct iovec v = {words, 10};
	struct eg_buf got;
	char in[32];
	size_t n;
	struct pair p;

	ends_of(&p);
	eg_buf_init(&got, 64);
	eg_stream_want(p.a.stream, true, false);
	assert_int_equal(eg_stream_write(p.a.stream, &v, 1, &n), EG_IO_DONE);
	eg_stream_shutdown(p.a.stream);
	assert_int_equal(eg_stream_write(p.a.stream, &v, 1, &n), EG_IO_FAIL);
	assert_int_equal(recv(p.fd[1], in, sizeof(in), 0), 10);
	assert_int_equal(recv(p.fd[1], in, sizeof(in), 0), 0);
	assert_int_equal(write(p.fd[1], "answer", 6), 6);
	shutdown(p.fd[1], SHUT_WR);
	turn_until(&p, p.a.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_read(p.a.stream, &got, 64), EG_IO_DONE);
	assert_int_equal(got.length, 6);
	turn_until(&p, p.a.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_read(p.a.stream, &got, 64), EG_IO_EOF);
	assert_int_equal(eg_stream_read(p.a.stream, &got, 64), EG_IO_EOF);
	assert_false(eg_stream_truncated(p.a.stream));
	p.a.events = 0;
	for (int i = 0; i < 3; i++)
		assert_int_equal(eg_loop_turn(p.loop, 0), 0);
	assert_int_equal(p.a.events, 0); /* told once */
	eg_buf_fini(&got);
	pair_close(&p);
}

static void reset_is_not_an_end(void **state)
{
	struct linger now = {1, 0};
	char x[] = "x";
	struct iovec v = {x, 1};
	struct eg_buf got;
	struct pair p;
	size_t n;

	ends_of(&p);
	eg_buf_init(&got, 64);
	assert_int_equal(write(p.fd[1], "partial", 7), 7);
	setsockopt(p.fd[1], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	eg_fd_close(&p.fd[1]);
	/* No interest at all: only the failure is told, once. */
	turn_until(&p, p.a.events);
	assert_int_equal(p.a.events, EG_STREAM_READ);
	/* A write takes the error from the socket; the read side must know of it all the same. */
	(void)eg_stream_write(p.a.stream, &v, 1, &n);
	(void)eg_stream_flush(p.a.stream);
	while (eg_stream_read(p.a.stream, &got, 64) == EG_IO_DONE)
		;
	assert_int_equal(eg_stream_read(p.a.stream, &got, 64), EG_IO_FAIL);
	assert_int_equal(eg_stream_failure(p.a.stream)->error, ECONNRESET);
	assert_string_equal(eg_stream_failure(p.a.stream)->text, "Connection reset by peer");
	assert_false(eg_stream_reusable(p.a.stream));
	eg_buf_fini(&got);
	pair_close(&p);
}

static void our_reset_is_seen(void **state)
{
	char byte;
	struct pair p;

	ends_of(&p);
	eg_stream_reset(p.a.stream);
	p.a.stream = NULL;
	assert_int_equal(recv(p.fd[1], &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	pair_close(&p);
}

static void unsent_bytes_end_in_a_reset(void **state)
{
	static char block[1 << 20];
	struct iovec v = {block, sizeof(block)};
	struct pair p;
	ssize_t r;
	size_t n;

	ends_of(&p);
	while (eg_stream_write(p.a.stream, &v, 1, &n) == EG_IO_DONE)
		;
	eg_stream_destroy(p.a.stream);
	p.a.stream = NULL;
	do
		r = recv(p.fd[1], block, sizeof(block), 0);
	while (r > 0);
	assert_int_equal(r, -1); /* not 0: the message was cut */
	assert_int_equal(errno, ECONNRESET);
	pair_close(&p);
}

static void peeked_bytes_stay(void **state)
{
	struct eg_str seen;
	struct eg_buf got;
	struct pair p;

	ends_of(&p);
	eg_buf_init(&got, 64);
	assert_int_equal(eg_stream_peek(p.a.stream, 100, &seen), EG_IO_AGAIN);
	eg_stream_want(p.a.stream, true, false);
	assert_int_equal(write(p.fd[1], "abc", 3), 3);
	turn_until(&p, p.a.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_peek(p.a.stream, 100, &seen), EG_IO_DONE);
	assert_int_equal(seen.n, 3);
	p.a.events = 0;
	for (int i = 0; i < 3; i++)
		assert_int_equal(eg_loop_turn(p.loop, 0), 0);
	assert_int_equal(p.a.events, 0); /* what was shown is no news */
	assert_int_equal(write(p.fd[1], "def", 3), 3);
	turn_until(&p, p.a.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_peek(p.a.stream, 100, &seen), EG_IO_DONE);
	assert_int_equal(seen.n, 6);
	assert_memory_equal(seen.p, "abcdef", 6);
	/* A new owner is told of them. */
	p.a.events = 0;
	eg_stream_set_handler(p.a.stream, &side_handler, &p.a);
	turn_until(&p, p.a.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_read(p.a.stream, &got, 4), EG_IO_DONE);
	assert_int_equal(eg_stream_read(p.a.stream, &got, 4), EG_IO_DONE);
	assert_memory_equal(eg_buf_data(&got), "abcdef", 6);
	eg_buf_fini(&got);
	pair_close(&p);
}

static void peek_tells_the_end(void **state)
{
	struct eg_str seen;
	struct pair p;

	ends_of(&p);
	assert_int_equal(write(p.fd[1], "GET", 3), 3);
	shutdown(p.fd[1], SHUT_WR);
	eg_stream_want(p.a.stream, true, false);
	turn_until(&p, p.a.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_peek(p.a.stream, 100, &seen), EG_IO_DONE);
	p.a.events = 0;
	turn_until(&p, p.a.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_peek(p.a.stream, 100, &seen), EG_IO_EOF);
	assert_int_equal(seen.n, 3);
	pair_close(&p);
}

/* As many bytes as one read asks for, and the end right behind: the bytes are told first. */
static void peek_tells_bytes_before_their_end(void **state)
{
	static char block[4096];
	struct eg_str seen;
	struct pair p;

	ends_of(&p);
	assert_int_equal(write(p.fd[1], block, sizeof(block)), sizeof(block));
	shutdown(p.fd[1], SHUT_WR);
	eg_stream_want(p.a.stream, true, false);
	turn_until(&p, p.a.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_peek(p.a.stream, 65536, &seen), EG_IO_DONE);
	assert_int_equal(seen.n, sizeof(block));
	p.a.events = 0;
	turn_until(&p, p.a.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_peek(p.a.stream, 65536, &seen), EG_IO_EOF);
	assert_int_equal(seen.n, sizeof(block));
	pair_close(&p);
}

/* Both ends closed is no failure: nothing is told to who asks for nothing, and nothing spins. */
static void both_closed_is_told_on_demand(void **state)
{
	struct eg_buf got;
	struct pair p;

	ends_of(&p);
	eg_buf_init(&got, 64);
	assert_int_equal(write(p.fd[1], "bye", 3), 3);
	eg_stream_shutdown(p.a.stream);
	shutdown(p.fd[1], SHUT_WR);
	for (int i = 0; i < 5; i++)
		assert_int_equal(eg_loop_turn(p.loop, 1), 0);
	assert_int_equal(p.a.events, 0);
	eg_stream_want(p.a.stream, true, false);
	turn_until(&p, p.a.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_read(p.a.stream, &got, 64), EG_IO_DONE);
	assert_int_equal(got.length, 3);
	p.a.events = 0;
	turn_until(&p, p.a.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_read(p.a.stream, &got, 64), EG_IO_EOF);
	eg_buf_fini(&got);
	pair_close(&p);
}

static bool fired;

static void on_timer(struct eg_timer *t)
{
	fired = true;
}

/* Interest that goes off: what comes meanwhile is not told, doesn't spin, and is told when it is
 * on. */
static void what_is_not_wanted_waits(void **state)
{
	struct eg_timer timer;
	struct eg_buf got;
	int turns;
	struct pair p;

	ends_of(&p);
	eg_buf_init(&got, 64);
	for (int round = 0; round < 3; round++) {
		eg_stream_want(p.a.stream, true, false);
		eg_stream_want(p.a.stream, false, false);
		assert_int_equal(write(p.fd[1], "later", 5), 5);
		p.a.events = 0;
		for (int i = 0; i < 3; i++)
			assert_int_equal(eg_loop_turn(p.loop, 1), 0);
		assert_int_equal(p.a.events, 0);
		/* Quiet: the loop sleeps until its timer instead of turning. */
		fired = false;
		eg_timer_init(&timer, on_timer);
		assert_int_equal(eg_timer_set(p.loop, &timer, 30), 0);
		for (turns = 0; !fired; turns++)
			assert_int_equal(eg_loop_turn(p.loop, -1), 0);
		assert_true(turns < 10);
		eg_stream_want(p.a.stream, true, false);
		turn_until(&p, p.a.events & EG_STREAM_READ);
		assert_int_equal(eg_stream_read(p.a.stream, &got, 64), EG_IO_DONE);
		assert_int_equal(got.length, 5);
		eg_buf_clear(&got);
	}
	eg_buf_fini(&got);
	pair_close(&p);
}

static void detach_gives_what_was_peeked(void **state)
{
	struct eg_str seen;
	struct eg_buf got;
	struct pair p;
	char in[8];
	int fd;

	ends_of(&p);
	eg_buf_init(&got, 64);
	assert_int_equal(write(p.fd[1], "hello", 5), 5);
	eg_stream_want(p.a.stream, true, false);
	turn_until(&p, p.a.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_peek(p.a.stream, 100, &seen), EG_IO_DONE);
	fd = eg_stream_detach(p.a.stream, &got);
	p.a.stream = NULL;
	assert_true(fd >= 0);
	assert_memory_equal(eg_buf_data(&got), "hello", 5);
	assert_int_equal(write(p.fd[1], "more", 4), 4);
	assert_int_equal(recv(fd, in, sizeof(in), 0), 4);
	close(fd);
	eg_buf_fini(&got);
	pair_close(&p);
}

static void reusable_only_when_quiet(void **state)
{
	struct pair p;

	ends_of(&p);
	assert_true(eg_stream_reusable(p.a.stream));
	assert_int_equal(write(p.fd[1], "unasked", 7), 7);
	assert_false(eg_stream_reusable(p.a.stream));
	pair_close(&p);
	ends_of(&p);
	shutdown(p.fd[1], SHUT_WR);
	assert_false(eg_stream_reusable(p.a.stream));
	pair_close(&p);
}

static void rests_until_something_was_heard(void **state)
{
	struct eg_buf got;
	struct pair p;

	ends_of(&p);
	eg_buf_init(&got, 64);
	assert_true(eg_stream_rests(p.a.stream)); /* nothing is known: it asks */
	assert_int_equal(write(p.fd[1], "unasked", 7), 7);
	assert_false(eg_stream_rests(p.a.stream));
	eg_stream_want(p.a.stream, true, false);
	turn_until(&p, p.a.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_read(p.a.stream, &got, 3), EG_IO_DONE);
	assert_false(eg_stream_rests(p.a.stream)); /* four of the bytes are with us */
	assert_int_equal(eg_stream_read(p.a.stream, &got, 64), EG_IO_DONE);
	assert_true(eg_stream_rests(p.a.stream));
	/* What comes now is told to whoever waits, and asked for when it is taken. */
	assert_int_equal(write(p.fd[1], "more", 4), 4);
	assert_false(eg_stream_reusable(p.a.stream));
	p.a.events = 0;
	turn_until(&p, p.a.events & EG_STREAM_READ);
	assert_false(eg_stream_rests(p.a.stream));
	eg_buf_fini(&got);
	pair_close(&p);
}

static void connect_refused_and_done(void **state)
{
	struct eg_loop *l = eg_loop_create();
	struct eg_endpoint to = {.port = 0}, peer;
	struct side s = {0};
	int listener = listen_on_loopback(&to);
	char text[EG_ADDRESS_TEXT];

	s.stream = eg_stream_connect(l, &to, &side_handler, &s);
	assert_non_null(s.stream);
	while (!s.events)
		assert_int_equal(eg_loop_turn(l, 1000), 0);
	assert_int_equal(s.events, EG_STREAM_CONNECTED);
	assert_int_equal(eg_stream_peer(s.stream, &peer), 0);
	assert_int_equal(peer.port, to.port);
	assert_string_equal(eg_address_text(&peer.address, text), "127.0.0.1");
	eg_stream_destroy(s.stream);
	close(listener);
	s = (struct side){0};
	s.stream = eg_stream_connect(l, &to, &side_handler, &s);
	assert_non_null(s.stream);
	while (!s.events)
		assert_int_equal(eg_loop_turn(l, 1000), 0);
	assert_int_equal(s.events, EG_STREAM_FAILED);
	assert_int_equal(eg_stream_failure(s.stream)->stage, EG_STAGE_CONNECT);
	assert_int_equal(eg_stream_failure(s.stream)->error, ECONNREFUSED);
	eg_stream_destroy(s.stream);
	assert_int_equal(eg_loop_turn(l, 0), 0);
	eg_loop_destroy(l);
}

static void destroy_in_own_callback(struct eg_stream *s, unsigned int events, void *ctx)
{
	(*(int *)ctx)++;
	eg_stream_destroy(s);
	eg_stream_destroy(s); /* harmless within the tick */
}

static void destroy_from_a_callback(void **state)
{
	static const struct eg_stream_handler h = {destroy_in_own_callback};
	struct pair p;
	int calls = 0;

	ends_of(&p);
	eg_stream_set_handler(p.a.stream, &h, &calls);
	eg_stream_want(p.a.stream, true, true);
	assert_int_equal(write(p.fd[1], "x", 1), 1);
	for (int i = 0; i < 5; i++)
		assert_int_equal(eg_loop_turn(p.loop, 0), 0);
	assert_int_equal(calls, 1);
	p.a.stream = NULL;
	pair_close(&p);
}

/* What a listener of the agent is set to (datapath/listeners.c): a process that dies resets. */
static void listener_resets(int fd)
{
	struct linger reset = {.l_onoff = 1};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
}

/* A pair whose accepted end has it from its listener. */
static void ends_of_resetting(struct pair *p)
{
	struct linger got = {0};
	socklen_t n = sizeof(got);

	listener_prepare = listener_resets;
	pair_open(p);
	listener_prepare = NULL;
	assert_int_equal(getsockopt(p->fd[0], SOL_SOCKET, SO_LINGER, &got, &n), 0);
	assert_int_equal(got.l_onoff, 1);
	assert_int_equal(got.l_linger, 0);
	side_watch(&p->a, p->loop, p->fd[0]);
}

/* All that comes at the client until the end: 0 in order, else errno. */
static int read_to_end(int fd, size_t *total)
{
	char in[65536];
	ssize_t n;

	*total = 0;
	while ((n = recv(fd, in, sizeof(in), 0)) > 0)
		*total += (size_t)n;
	return n < 0 ? errno : 0;
}

static void a_process_that_dies_resets(void **state)
{
	struct pair p;
	size_t total;

	ends_of_resetting(&p);
	/* What the kernel does with the descriptors of a process that is killed. */
	assert_int_equal(close(p.fd[0]), 0);
	assert_int_equal(read_to_end(p.fd[1], &total), ECONNRESET);
	p.a.stream->fd = -1;
	pair_close(&p);
}

/* More than the client's window takes: most of it is not acknowledged when the stream is closed. */
static void an_orderly_end_is_none(void **state)
{
	static char block[1 << 20];

	for (int shutdown_first = 0; shutdown_first < 2; shutdown_first++) {
		struct iovec v = {block, 200000};
		size_t n = 0, sent = 0, total;
		struct pair p;

		ends_of_resetting(&p);
		for (int i = 0; i < 50; i++) {
			(void)eg_stream_write(p.a.stream, &v, 1, &n);
			sent += n;
			if (eg_stream_flush(p.a.stream) != EG_IO_DONE)
				break;
		}
		/* Until all is the kernel's, and part of that still on its way. */
		while (eg_stream_flush(p.a.stream) == EG_IO_AGAIN) {
			char in[4096];

			total = (size_t)recv(p.fd[1], in, sizeof(in), MSG_DONTWAIT);
			sent -= (ssize_t)total > 0 ? total : 0;
			assert_int_equal(eg_loop_turn(p.loop, 0), 0);
		}
		if (shutdown_first)
			eg_stream_shutdown(p.a.stream);
		eg_stream_destroy(p.a.stream);
		p.a.stream = NULL;
		assert_int_equal(eg_loop_turn(p.loop, 0), 0);
		assert_int_equal(read_to_end(p.fd[1], &total), 0);
		assert_int_equal(total, sent);
		pair_close(&p);
	}
}

static void a_process_that_dies_after_the_end_is_none(void **state)
{
	struct pair p;
	size_t total;

	ends_of_resetting(&p);
	eg_stream_shutdown(p.a.stream);
	assert_int_equal(eg_loop_turn(p.loop, 0), 0);
	assert_int_equal(close(p.fd[0]), 0);
	assert_int_equal(read_to_end(p.fd[1], &total), 0);
	p.a.stream->fd = -1;
	pair_close(&p);
}

/* Epoll is told nothing when interest ends behind the last byte; when more comes that nobody wants
 * it is, once, and is quiet until someone wants it. */
static void interest_that_ends_costs_nothing_until_bytes_come(void **state)
{
	struct pair p;
	struct eg_buf got;

	ends_of(&p);
	eg_buf_init(&got, 64);
	eg_stream_want(p.a.stream, true, false);
	assert_int_equal(write(p.fd[1], "one", 3), 3);
	turn_until(&p, p.a.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_read(p.a.stream, &got, 64), EG_IO_DONE);
	eg_stream_want(p.a.stream, false, false);
	assert_int_equal(eg_loop_turn(p.loop, 0), 0);
	assert_int_equal(p.a.stream->watch.events, EPOLLIN);
	p.a.events = 0;
	assert_int_equal(write(p.fd[1], "two", 3), 3);
	assert_int_equal(eg_loop_turn(p.loop, 0), 0);
	assert_int_equal(p.a.stream->watch.events, 0);
	assert_int_equal(p.a.events, 0);
	eg_stream_want(p.a.stream, true, false);
	turn_until(&p, p.a.events & EG_STREAM_READ);
	assert_int_equal(eg_stream_read(p.a.stream, &got, 64), EG_IO_DONE);
	assert_memory_equal(eg_buf_data(&got), "onetwo", 6);
	eg_buf_fini(&got);
	pair_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(interest_that_ends_costs_nothing_until_bytes_come),
		cmocka_unit_test(echo_one_byte_at_a_time),
		cmocka_unit_test(small_writes_leave_together),
		cmocka_unit_test(back_pressure),
		cmocka_unit_test(again_is_followed_by_write),
		cmocka_unit_test(what_waits_for_the_peer_is_told),
		cmocka_unit_test(half_close),
		cmocka_unit_test(reset_is_not_an_end),
		cmocka_unit_test(our_reset_is_seen),
		cmocka_unit_test(unsent_bytes_end_in_a_reset),
		cmocka_unit_test(peeked_bytes_stay),
		cmocka_unit_test(peek_tells_the_end),
		cmocka_unit_test(peek_tells_bytes_before_their_end),
		cmocka_unit_test(both_closed_is_told_on_demand),
		cmocka_unit_test(what_is_not_wanted_waits),
		cmocka_unit_test(detach_gives_what_was_peeked),
		cmocka_unit_test(reusable_only_when_quiet),
		cmocka_unit_test(rests_until_something_was_heard),
		cmocka_unit_test(connect_refused_and_done),
		cmocka_unit_test(destroy_from_a_callback),
		cmocka_unit_test(a_process_that_dies_resets),
		cmocka_unit_test(an_orderly_end_is_none),
		cmocka_unit_test(a_process_that_dies_after_the_end_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
