/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between two supervisors, which may be of different builds; the socket they meet at. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/channel.h"
#include "agent/handover_wire.h"

static int ends[2];
static char dir[64], path[108];

static int set_up(void **state)
{
	strcpy(dir, "/tmp/eg-handover-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/handover.sock", dir);
	return eg_channel_pair(ends);
}

static int tear_down(void **state)
{
	eg_fd_close(&ends[0]);
	eg_fd_close(&ends[1]);
	unlink(path);
	return rmdir(dir);
}

static int null(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void test_each_type(void **state)
{
	static const struct {
		enum eg_handover_type type;
		uint32_t flags;
		unsigned int fds;
	} rows[] = {
		{EG_HANDOVER_HELLO, 0, 0},
		{EG_HANDOVER_REFUSE, 0, 0},
		{EG_HANDOVER_BASE, 0, 1},
		{EG_HANDOVER_BASE, EG_HANDOVER_NAMESPACE, 2},
		{EG_HANDOVER_BASE, EG_HANDOVER_METRICS, 2},
		{EG_HANDOVER_BASE, EG_HANDOVER_NAMESPACE | EG_HANDOVER_METRICS, 3},
		{EG_HANDOVER_LISTENER, 0, 1},
		{EG_HANDOVER_READY, 0, 0},
		{EG_HANDOVER_GO, 0, 0},
	};
	int given[EG_WIRE_FDS] = {null(), null(), null()};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_handover_message m, got;
		int fds[EG_WIRE_FDS];

		eg_handover_message_init(&m, rows[i].type);
		m.flags = rows[i].flags;
		m.number = 7;
		strcpy(m.text, "why");
		assert_int_equal(eg_handover_send(ends[0], &m, given, rows[i].fds), 0);
		assert_int_equal(eg_handover_receive(ends[1], &got, fds), 1);
		assert_memory_equal(&got, &m, sizeof(m));
		for (unsigned int k = 0; k < EG_WIRE_FDS; k++)
			assert_int_equal(fds[k] >= 0, k < rows[i].fds);
		if (rows[i].fds)
			assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
		eg_channel_close_fds(fds);
		/* One too few or too many is refused before it is sent. */
		assert_int_equal(eg_handover_send(ends[0], &m, given, rows[i].fds ? 0 : 1),
				 -EINVAL);
	}
	for (size_t i = 0; i < EG_WIRE_FDS; i++)
		close(given[i]);
	assert_int_equal(eg_handover_receive(ends[1], &(struct eg_handover_message){0}, given),
			 -EAGAIN);
	eg_fd_close(&ends[0]);
	assert_int_equal(eg_handover_receive(ends[1], &(struct eg_handover_message){0}, given), 0);
}

/* Raw bytes in, what the receiver makes of them out; descriptors that came must be closed. */
static int receive_raw(const void *bytes, size_t n, const int *given, unsigned int count,
		       struct eg_handover_message *got)
{
	int fds[EG_WIRE_FDS], before = dup(0), after, r;

	close(before);
	assert_int_equal(eg_channel_send_bytes(ends[0], bytes, n, given, count), 0);
	r = eg_handover_receive(ends[1], got, fds);
	after = dup(0);
	close(after);
	if (r != 1)
		assert_int_equal(after, before);
	else
		eg_channel_close_fds(fds);
	return r;
}

static void test_what_is_no_message(void **state)
{
	struct eg_handover_message m, got;
	char longer[sizeof(m) + 8] = {0};
	int fd = null();

	assert_int_equal(receive_raw("x", 1, NULL, 0, &got), -EPROTO);
	assert_int_equal(receive_raw(longer, sizeof(longer), &fd, 1, &got), -EPROTO);
	eg_handover_message_init(&m, EG_HANDOVER_HELLO);
	assert_int_equal(receive_raw(&m, sizeof(m), NULL, 0, &got), 1);
	assert_int_equal(receive_raw(&m, sizeof(m) - 1, NULL, 0, &got), -EPROTO);
	assert_int_equal(receive_raw(&m, sizeof(m), &fd, 1, &got), -EPROTO);
	memset(m.pin_dir, 'x', sizeof(m.pin_dir)); /* without an end */
	assert_int_equal(receive_raw(&m, sizeof(m), NULL, 0, &got), -EPROTO);
	eg_handover_message_init(&m, EG_HANDOVER_TYPES);
	assert_int_equal(receive_raw(&m, sizeof(m), NULL, 0, &got), -EPROTO);
	m.type = 0;
	assert_int_equal(receive_raw(&m, sizeof(m), NULL, 0, &got), -EPROTO);
	eg_handover_message_init(&m, EG_HANDOVER_BASE);
	m.flags = 1u << 7;
	assert_int_equal(receive_raw(&m, sizeof(m), &fd, 1, &got), -EPROTO);
	m.flags = 0;
	m.magic++;
	assert_int_equal(receive_raw(&m, sizeof(m), &fd, 1, &got), -EPROTO);
	close(fd);
}

/* Who hangs up without reading what we said has not unsaid what it said before. */
static void test_last_words(void **state)
{
	struct eg_handover_message m, got;
	int fds[EG_WIRE_FDS];

	eg_handover_message_init(&m, EG_HANDOVER_HELLO);
	assert_int_equal(eg_handover_send(ends[1], &m, NULL, 0), 0);
	eg_handover_message_init(&m, EG_HANDOVER_REFUSE);
	assert_int_equal(eg_handover_send(ends[0], &m, NULL, 0), 0);
	eg_fd_close(&ends[0]);
	assert_int_equal(eg_handover_receive(ends[1], &got, fds), 1);
	assert_int_equal(got.type, EG_HANDOVER_REFUSE);
	assert_int_equal(eg_handover_receive(ends[1], &got, fds), 0);
}

/* A later version may have another length, and descriptors of its own. */
static void test_another_version(void **state)
{
	struct {
		struct eg_handover_message m;
		char more[300];
	} later = {.more = {0}};
	struct eg_handover_message got = {.version = 0};
	int fd = null();

	eg_handover_message_init(&later.m, EG_HANDOVER_HELLO);
	later.m.version = 9;
	assert_int_equal(receive_raw(&later, sizeof(later), &fd, 1, &got), -EPROTONOSUPPORT);
	assert_int_equal(got.version, 9);
	assert_int_equal(receive_raw(&later, 16, NULL, 0, &got), -EPROTONOSUPPORT);
	close(fd);
}

static void test_meeting(void **state)
{
	struct eg_error e = {""};
	struct stat st;
	int listener, fd, again;
	pid_t pid;
	uid_t uid;

	assert_int_equal(eg_handover_connect(path, &fd, &e), -ENOENT);
	assert_int_equal(eg_handover_listen(path, &listener, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(eg_handover_connect(path, &fd, &e), 0);
	assert_true(eg_handover_peer_is_root(fd, &pid, &uid));
	assert_int_equal(pid, getpid());
	close(fd);
	close(listener);
	assert_int_equal(eg_handover_connect(path, &fd, &e), -ENOENT); /* left by one that died */
	assert_int_equal(eg_handover_listen(path, &again, &e), 0);
	close(again);
}

static void test_what_lies_in_the_place(void **state)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct eg_error e = {""};
	char longer[200];
	int fd, stream;

	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	assert_int_equal(eg_handover_connect(path, &fd, &e), -ENOTSOCK);
	assert_non_null(strstr(e.text, "is not a socket"));
	assert_int_equal(eg_handover_listen(path, &fd, &e), -ENOTSOCK);
	assert_int_equal(access(path, F_OK), 0); /* it is not ours to remove */
	unlink(path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(eg_handover_listen(path, &fd, &e), -ENOTSOCK);
	unlink(path);
	strcpy(a.sun_path, path);
	stream = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(stream, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(stream, 1), 0);
	assert_int_equal(eg_handover_connect(path, &fd, &e), -EPROTOTYPE);
	assert_non_null(strstr(e.text, "something else"));
	close(stream);
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(eg_handover_connect(longer, &fd, &e), -ENAMETOOLONG);
	assert_int_equal(eg_handover_listen(longer, &fd, &e), -ENAMETOOLONG);
}

/* Who listens there is not root: nothing is believed. */
static void test_a_stranger_listens(void **state)
{
	struct eg_error e = {""};
	int fd, ready[2], status;
	char byte;
	pid_t child;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(dir, 0777), 0);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	child = fork();
	if (!child) {
		int listener;

		close(ready[0]);
		if (setresuid(65534, 65534, 65534) || eg_handover_listen(path, &listener, &e))
			_exit(1);
		(void)!write(ready[1], "x", 1);
		pause();
		_exit(0);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	assert_int_equal(eg_handover_connect(path, &fd, &e), -EPERM);
	assert_non_null(strstr(e.text, "not root"));
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_type, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_no_message, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_another_version, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_last_words, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_meeting, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_lies_in_the_place, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_stranger_listens, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
