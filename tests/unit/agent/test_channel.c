/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between the processes: only whole ones of a known kind, with their descriptors. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/channel.h"

static int ends[2];

static int set_up(void **state)
{
	return eg_channel_pair(ends);
}

static int tear_down(void **state)
{
	eg_fd_close(&ends[0]);
	eg_fd_close(&ends[1]);
	return 0;
}

static void test_message_with_memory(void **state)
{
	struct eg_message m = {.type = EG_WIRE_POLICY, .value = 5}, got;
	int memory, fds[EG_WIRE_FDS];
	char *bytes;

	assert_int_equal(eg_memory_seal("t", EG_STR("hello"), &memory), 0);
	assert_int_equal(eg_channel_send(ends[0], &m, &memory, 1), 0);
	close(memory);
	assert_int_equal(eg_channel_receive(ends[1], &got, fds), 1);
	assert_int_equal(got.type, EG_WIRE_POLICY);
	assert_true(fds[0] >= 0);
	assert_int_equal(fds[1], -1);
	assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(eg_memory_read(fds[0], 5, &bytes), 0);
	assert_string_equal(bytes, "hello");
	free(bytes);
	assert_int_equal(eg_memory_read(fds[0], 6, &bytes), -EPROTO); /* says more than it holds */
	assert_int_equal(write(fds[0], "x", 1), -1);		      /* sealed */
	assert_int_equal(ftruncate(fds[0], 1), -1);
	eg_channel_close_fds(fds);
}

static void test_unsealed_memory_is_refused(void **state)
{
	int fd = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char *bytes;

	assert_int_equal(write(fd, "hello", 5), 5);
	assert_int_equal(eg_memory_read(fd, 5, &bytes), -EPROTO);
	close(fd);
}

static void test_descriptors_must_fit_the_kind(void **state)
{
	struct eg_message m = {.type = EG_WIRE_POLICY}, none = {.type = EG_WIRE_PING};
	int two[2] = {ends[0], ends[1]};

	assert_int_equal(eg_channel_send(ends[0], &m, NULL, 0), -EINVAL);
	assert_int_equal(eg_channel_send(ends[0], &m, two, 2), -EINVAL);
	assert_int_equal(eg_channel_send(ends[0], &none, two, 1), -EINVAL);
	m.type = 0;
	assert_int_equal(eg_channel_send(ends[0], &m, NULL, 0), -EINVAL);
	m.type = EG_WIRE_TYPES;
	assert_int_equal(eg_channel_send(ends[0], &m, NULL, 0), -EINVAL);
}

static void raw(const void *bytes, size_t n)
{
	assert_int_equal(send(ends[0], bytes, n, 0), (ssize_t)n);
}

static void test_other_bytes_are_refused(void **state)
{
	struct eg_message m = {.type = EG_WIRE_PING}, got;
	int fds[EG_WIRE_FDS];
	char large[sizeof(struct eg_message) + 100] = {0};

	raw("x", 1);
	assert_int_equal(eg_channel_receive(ends[1], &got, fds), -EPROTO);
	raw(&m, eg_wire_size(EG_WIRE_PING) - 1);
	assert_int_equal(eg_channel_receive(ends[1], &got, fds), -EPROTO);
	raw(&m, eg_wire_size(EG_WIRE_PING) + 1);
	assert_int_equal(eg_channel_receive(ends[1], &got, fds), -EPROTO);
	m.type = EG_WIRE_STATS;
	memcpy(large, &m.type, sizeof(m.type));
	raw(large, sizeof(large));
	assert_int_equal(eg_channel_receive(ends[1], &got, fds), -EPROTO);
	m.type = EG_WIRE_TYPES + 5;
	raw(&m, 32);
	assert_int_equal(eg_channel_receive(ends[1], &got, fds), -EPROTO);
	/* a kind that needs a descriptor, without one */
	m.type = EG_WIRE_CHAIN;
	raw(&m, eg_wire_size(EG_WIRE_CHAIN));
	assert_int_equal(eg_channel_receive(ends[1], &got, fds), -EPROTO);
	assert_int_equal(eg_channel_receive(ends[1], &got, fds), -EAGAIN);
}

/* A descriptor that this process may not have is not taken for the other side's end. */
static void test_no_room_for_a_descriptor(void **state)
{
	struct eg_message m = {.type = EG_WIRE_CREDENTIAL, .number = 7}, got;
	struct rlimit all, few;
	int fds[EG_WIRE_FDS];

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	few = (struct rlimit){3, all.rlim_max};
	assert_int_equal(eg_channel_send(ends[0], &m, &ends[0], 1), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(eg_channel_receive(ends[1], &got, fds), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	assert_int_equal(got.type, EG_WIRE_CREDENTIAL);
	assert_int_equal(got.number, 7);
	assert_int_equal(fds[0], -1);
	/* What comes next is whole. */
	assert_int_equal(eg_channel_send(ends[0], &m, &ends[0], 1), 0);
	assert_int_equal(eg_channel_receive(ends[1], &got, fds), 1);
	eg_channel_close_fds(fds);
}

static void test_end(void **state)
{
	struct eg_message m = {.type = EG_WIRE_PING}, got;
	int fds[EG_WIRE_FDS];

	eg_fd_close(&ends[0]);
	assert_int_equal(eg_channel_receive(ends[1], &got, fds), 0);
	assert_int_equal(eg_channel_send(ends[1], &m, NULL, 0), -EPIPE);
}

static void test_full(void **state)
{
	struct eg_message m = {.type = EG_WIRE_DNS};
	int r = 0;

	for (int i = 0; i < 100000 && !r; i++)
		r = eg_channel_send(ends[0], &m, NULL, 0);
	assert_int_equal(r, -EAGAIN); /* never waits for a process that hangs */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_message_with_memory),
		TEST(test_unsealed_memory_is_refused),
		TEST(test_descriptors_must_fit_the_kind),
		TEST(test_other_bytes_are_refused),
		TEST(test_no_room_for_a_descriptor),
		TEST(test_end),
		TEST(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
