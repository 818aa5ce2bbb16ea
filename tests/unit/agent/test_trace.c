/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a gateway that belongs to an attacker says of a trace: pieces of any length, bytes and
 * number, for places that nobody has. Who watches gets lines of four shapes, and each record that
 * was for it or the number of those that it did not get; nothing else happens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/supervisor_impl.h"
#include "base/log.h"
#include "telemetry/tracer.h"

#ifndef ROUNDS
#define ROUNDS 20000
#endif
#define READ_ROOM ((size_t)1 << 20)

struct reader {
	int fd;
	char *text;
	size_t n;
	uint64_t records, slow, lost, ended; /* as it was told */
	uint64_t due;			     /* whole records that were for it */
};

struct world {
	struct eg_supervisor s;
	struct eg_child *gateway;
	int gateway_end; /* what the supervisor sends it is read, and forgotten */
	struct reader reader[EG_TRACERS];
	uint64_t random;
};

static uint64_t next(struct world *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random;
}

static void begin(struct world *w)
{
	int end[2];

	memset(w, 0, sizeof(*w));
	w->random = 88172645463325252u;
	w->s.loop = eg_loop_create();
	assert_non_null(w->s.loop);
	w->gateway = &w->s.gateways[0];
	w->s.gateway = w->gateway;
	w->s.gateways[1].control = -1;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, end),
			 0);
	w->gateway->control = end[0];
	w->gateway->supervisor = w->s.gateways[1].supervisor = &w->s;
	w->gateway_end = end[1];
	for (size_t i = 0; i < EG_TRACERS; i++)
		w->reader[i].fd = -1;
}

static void watch(struct world *w, size_t i)
{
	struct reader *r = &w->reader[i];
	const char *why = NULL;
	int end[2], size = 4096; /* it is slow soon */

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, end),
			 0);
	assert_int_equal(setsockopt(end[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	assert_true(eg_trace_begin(&w->s, &end[0], "shop/a", "api.openai.com", &why));
	assert_null(why);
	*r = (struct reader){.fd = end[1], .text = malloc(READ_ROOM)};
	assert_non_null(r->text);
	if (i == 0)
		eg_trace_tell(w->gateway);
}

/* Each line is one of the four, whatever is in a record. */
static void take_line(struct reader *r, const char *line, size_t n)
{
	unsigned long long slow = 0, lost = 0;
	char own[128] = "";

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			fail_msg("byte %#x in a line", (unsigned int)(unsigned char)line[i]);
	if (n > 10 && !memcmp(line, "{\"record\":", 10)) {
		assert_int_equal(line[n - 1], '}');
		r->records++;
		return;
	}
	assert_true(n < sizeof(own));
	memcpy(own, line, n);
	if (sscanf(own, "{\"not_shown\":{\"slow\":%llu,\"lost\":%llu}}", &slow, &lost) == 2) {
		assert_true(slow || lost);
		r->slow += slow;
		r->lost += lost;
		return;
	}
	if (!strcmp(own, "{\"gateway_ended\":true}"))
		r->ended++;
	else
		assert_string_equal(own, "{\"tracing\":true}");
}

static void read_on(struct reader *r)
{
	ssize_t n;

	while (r->fd >= 0 && (n = read(r->fd, r->text + r->n, READ_ROOM - r->n)) > 0) {
		char *at = r->text, *end;

		r->n += (size_t)n;
		while ((end = memchr(at, '\n', r->n - (size_t)(at - r->text)))) {
			take_line(r, at, (size_t)(end - at));
			at = end + 1;
		}
		r->n -= (size_t)(at - r->text);
		memmove(r->text, at, r->n);
		assert_true(r->n < READ_ROOM);
	}
}

static void turn(struct world *w)
{
	char ignored[sizeof(struct eg_message)];

	assert_int_equal(eg_loop_turn(w->s.loop, 0), 0);
	while (read(w->gateway_end, ignored, sizeof(ignored)) > 0)
		;
}

/* To the end of what it was given. */
static void read_all(struct world *w, struct reader *r)
{
	for (int i = 0; i < 2000; i++) {
		read_on(r);
		turn(w);
	}
	assert_int_equal(r->n, 0);
}

static void end(struct world *w)
{
	eg_trace_gateway_ended(w->gateway);
	eg_trace_close(&w->s);
	for (size_t i = 0; i < EG_TRACERS; i++) {
		if (w->reader[i].fd >= 0)
			close(w->reader[i].fd);
		free(w->reader[i].text);
	}
	close(w->gateway->control);
	close(w->gateway_end);
	assert_int_equal(eg_loop_turn(w->s.loop, 0), 0);
	eg_loop_destroy(w->s.loop);
}

/* ---- tests ---- */

static void test_a_record_in_pieces(void **state)
{
	static struct eg_wire_traced t;
	struct world w;

	begin(&w);
	watch(&w, 0);
	t = (struct eg_wire_traced){
		.places = 1, .epoch = 1, .length = 8, .more = 1, .text = "{\"a\":\n1,"};
	eg_traced(w.gateway, &t);
	t = (struct eg_wire_traced){.places = 1, .epoch = 1, .length = 6, .text = "\"b\":2}"};
	eg_traced(w.gateway, &t);
	read_all(&w, &w.reader[0]);
	assert_int_equal(w.reader[0].records, 1);
	end(&w);
	(void)state;
}

/* The last of a window of pieces says that the gateway may go on, and what is for nobody counts. */
static void test_pieces_are_acknowledged(void **state)
{
	static struct eg_wire_traced t;
	struct eg_message m;
	struct world w;
	unsigned int said = 0;

	begin(&w);
	for (unsigned int i = 0; i < 4 * EG_TRACE_ACK; i++) {
		t = (struct eg_wire_traced){.places = UINT32_MAX, .length = UINT32_MAX};
		eg_traced(w.gateway, &t);
	}
	while (read(w.gateway_end, &m, sizeof(m)) > 0)
		if (m.type == EG_WIRE_TRACE_TAKEN)
			said += (unsigned int)m.number;
	assert_int_equal(said, 4 * EG_TRACE_ACK);
	end(&w);
	(void)state;
}

static void anything(struct world *w, struct eg_wire_traced *t)
{
	static const uint32_t lengths[] = {0,	      1, 100, EG_TRACE_PIECE, EG_TRACE_PIECE + 1,
					   UINT32_MAX};

	t->places = next(w) % 8 ? (uint32_t)next(w) & 15 : (uint32_t)next(w);
	t->epoch = next(w) % 4 ? w->s.traces ? 8 : 0 : (uint32_t)next(w);
	t->length = lengths[next(w) % EG_ARRAY_SIZE(lengths)];
	t->more = next(w) % 5 == 0;
	t->lost = next(w) % 50 ? 0 : next(w) % 2 ? next(w) % 10 + 1 : next(w);
	for (size_t i = 0; i < sizeof(t->text); i += 8) {
		uint64_t r = next(w);

		memcpy(t->text + i, &r, 8);
	}
}

static void test_anything(void **state)
{
	static struct eg_wire_traced t;
	struct world w;

	begin(&w);
	for (size_t i = 0; i < EG_TRACERS; i++)
		watch(&w, i);
	for (int round = 0; round < ROUNDS; round++) {
		anything(&w, &t);
		if (t.lost) {
			for (size_t i = 0; i < EG_TRACERS; i++)
				if (t.places & 1u << i)
					w.reader[i].due += EG_MIN(t.lost, (uint64_t)UINT32_MAX);
		} else {
			for (size_t i = 0; !t.more && i < EG_TRACERS; i++)
				if (t.places & 1u << i &&
				    (int32_t)(t.epoch - (uint32_t)(i + 1)) >= 0)
					w.reader[i].due++;
		}
		eg_traced(w.gateway, &t);
		if (next(&w) % 16 == 0)
			read_on(&w.reader[next(&w) % EG_TRACERS]);
		turn(&w);
		assert_int_equal(w.gateway->killed, false);
	}
	for (size_t i = 0; i < EG_TRACERS; i++) {
		struct reader *r = &w.reader[i];

		read_all(&w, r);
		assert_true(r->records > 0 && r->slow > 0); /* both happened */
		assert_int_equal(r->records + r->slow + r->lost, r->due);
	}
	end(&w);
	(void)state;
}

/* Readers come and go meanwhile: a place is another one's then, who gets nothing of before. */
static void test_readers_come_and_go(void **state)
{
	static struct eg_wire_traced t;
	struct world w;

	begin(&w);
	for (int round = 0; round < ROUNDS / 10; round++) {
		size_t i = next(&w) % EG_TRACERS;
		struct reader *r = &w.reader[i];

		if (r->fd < 0 && next(&w) % 2) {
			const char *why = NULL;
			int pair[2];

			assert_int_equal(socketpair(AF_UNIX,
						    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
						    pair),
					 0);
			if (eg_trace_begin(&w.s, &pair[0], "", "", &why)) {
				free(r->text);
				*r = (struct reader){.fd = pair[1], .text = malloc(READ_ROOM)};
			} else { /* the place of one whose end was not seen yet */
				assert_non_null(why);
				close(pair[0]);
				close(pair[1]);
			}
		} else if (r->fd >= 0 && next(&w) % 8 == 0) {
			close(r->fd);
			r->fd = -1;
		}
		anything(&w, &t);
		eg_traced(w.gateway, &t);
		read_on(r);
		turn(&w);
	}
	end(&w);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_record_in_pieces),
		cmocka_unit_test(test_pieces_are_acknowledged),
		cmocka_unit_test(test_anything),
		cmocka_unit_test(test_readers_come_and_go),
	};

	eg_log_init("test", EG_LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
