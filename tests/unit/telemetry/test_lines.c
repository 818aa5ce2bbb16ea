/* SPDX-License-Identifier: Apache-2.0 */
/* The access log where it takes less than it is given: lines stay whole, and each is there or
 * counted as lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "telemetry/telemetry.h"

/* Half a kilobyte as a line. */
static struct eg_record sample(void)
{
	return (struct eg_record){
		.request_id = "0123456789abcdef0123456789abcdef",
		.pod_namespace = "shop",
		.pod_name = "assistant-1",
		.service_account = "assistant",
		.policy = "eu-chat",
		.route = "chat",
		.provider = "openai-eu",
		.server_name = EG_STR("api.openai.com"),
		.protocol = "HTTP/2",
		.method = EG_STR("POST"),
		.path = EG_STR("/v1/chat/completions"),
		.model = EG_STR("gpt-4o"),
		.operation = "chat.completions",
		.status = 200,
		.reason = EG_REASON_OK,
		.duration_ms = 95,
	};
}

static int lost(struct eg_telemetry *t)
{
	static const char name[] = "egret_access_records_lost_total{";
	struct eg_buf out;
	char *at;
	int n;

	eg_buf_init(&out, 1 << 20);
	assert_int_equal(eg_telemetry_render(&t, 1, &out), 0);
	assert_int_equal(eg_buf_append(&out, "", 1), 0);
	at = strstr(eg_buf_data(&out), name);
	assert_non_null(at);
	n = atoi(strchr(at, '}') + 1);
	eg_buf_fini(&out);
	return n;
}

/* Each line is one JSON value; how many there are. */
static int whole_lines(char *text)
{
	int lines = 0;

	for (char *end; (end = strchr(text, '\n')); text = end + 1, lines++) {
		json_t *line;

		*end = '\0';
		line = json_loads(text, 0, NULL);
		if (!line)
			fail_msg("line %d is torn: %s", lines, text);
		json_decref(line);
	}
	assert_string_equal(text, "");
	return lines;
}

static void drain(int reader, struct eg_buf *to)
{
	char chunk[4096];

	for (ssize_t n; (n = read(reader, chunk, sizeof(chunk))) > 0;)
		assert_int_equal(eg_buf_append(to, chunk, (size_t)n), 0);
}

static int lines_of(const struct eg_buf *text)
{
	int n = 0;

	for (size_t i = 0; i < text->length; i++)
		n += eg_buf_data(text)[i] == '\n';
	return n;
}

static struct eg_lines *log_to(int fd)
{
	struct eg_lines *l = eg_lines_create(fd);

	assert_non_null(l);
	assert_int_equal(eg_lines_start(l), 0);
	return l;
}

/* Two workers, one log, a reader that takes a little at a time: no line of one stands inside
 * another's. */
static void share(int fd, int reader, size_t step)
{
	struct eg_lines *log = log_to(fd);
	struct eg_telemetry *worker[] = {eg_telemetry_create("one", log),
					 eg_telemetry_create("two", log)};
	struct eg_record r = sample();
	struct eg_buf whole;
	char chunk[4096];
	ssize_t n;

	eg_buf_init(&whole, 1 << 24);
	for (int i = 0; i < 600; i++) {
		/* Batches of several lines, as a turn of a loop has them. */
		for (int k = 0; k < 7; k++)
			eg_telemetry_record(worker[i % 2], &r);
		eg_telemetry_flush(worker[i % 2]);
		n = read(reader, chunk, step);
		if (n > 0)
			assert_int_equal(eg_buf_append(&whole, chunk, (size_t)n), 0);
	}
	for (int i = 0; i < 10000 && lines_of(&whole) < 600 * 7; i++) {
		drain(reader, &whole);
		usleep(1000);
	}
	assert_int_equal(eg_buf_append(&whole, "", 1), 0);
	assert_int_equal(whole_lines(eg_buf_data(&whole)), 600 * 7);
	assert_int_equal(lost(worker[0]) + lost(worker[1]), 0);
	eg_buf_fini(&whole);
	eg_telemetry_destroy(worker[0]);
	eg_telemetry_destroy(worker[1]);
	assert_true(eg_lines_destroy(log, 1000));
	close(reader);
}

static void lines_of_two_workers_stay_whole(void **state)
{
	int fds[2], small = 1;

	(void)state;
	for (size_t step = 1500; step <= 3500; step += 500) {
		assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
		share(fds[1], fds[0], step);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
		(void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
		share(fds[1], fds[0], step);
	}
}

/* The log is opened anew while half a line is out: the new one gets it whole, and nothing else
 * twice. */
static void torn_line_begins_anew_in_a_new_log(void **state)
{
	struct eg_record r = sample();
	struct eg_buf before, after;
	struct eg_telemetry *t;
	struct eg_lines *log;
	int old[2], new[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, old), 0);
	assert_int_equal(pipe2(new, O_NONBLOCK), 0);
	assert_int_equal(fcntl(new[1], F_SETPIPE_SZ, 1 << 20), 1 << 20);
	eg_buf_init(&before, 1 << 24);
	eg_buf_init(&after, 1 << 24);
	log = eg_lines_create(old[1]); /* without its thread: nothing happens in between */
	assert_non_null(log);
	t = eg_telemetry_create("egret", log);
	for (int i = 0; i < 700; i++)
		eg_telemetry_record(t, &r);
	eg_telemetry_flush(t);
	assert_int_equal(eg_lines_turn(log), -EAGAIN);
	drain(old[0], &before);
	assert_true(before.length && eg_buf_data(&before)[before.length - 1] != '\n');
	eg_lines_reopen(log, new[1]);
	assert_int_equal(eg_lines_turn(log), 1);
	drain(new[0], &after);
	assert_int_equal(eg_buf_append(&after, "", 1), 0);
	assert_int_equal(lines_of(&before) + whole_lines(eg_buf_data(&after)), 700);
	assert_int_equal(lost(t), 0);
	eg_telemetry_destroy(t);
	assert_true(eg_lines_destroy(log, 0));
	eg_buf_fini(&before);
	eg_buf_fini(&after);
	close(old[0]);
	close(new[0]);
}

/* ---- a disk that stalls: a terminal that nobody reads, whose writes wait as a disk's do ---- */

static int stalled_disk(int *reader)
{
	struct termios raw;
	int fd;

	assert_int_equal(openpty(reader, &fd, NULL, NULL, NULL), 0);
	assert_int_equal(tcgetattr(fd, &raw), 0);
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(fd, TCSANOW, &raw), 0);
	assert_int_equal(fcntl(*reader, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

/* What is said meanwhile. */
static int said_fd, stderr_fd;

static int listen_to_log(void **state)
{
	(void)state;
	stderr_fd = dup(STDERR_FILENO);
	said_fd = memfd_create("said", MFD_CLOEXEC);
	return dup2(said_fd, STDERR_FILENO) < 0;
}

static int listen_no_more(void **state)
{
	(void)state;
	(void)dup2(stderr_fd, STDERR_FILENO);
	close(stderr_fd);
	close(said_fd);
	return 0;
}

static int said(const char *words)
{
	char text[1 << 16];
	ssize_t n = pread(said_fd, text, sizeof(text) - 1, 0);
	int count = 0;

	assert_true(n >= 0);
	text[n] = '\0';
	for (char *at = text; (at = strstr(at, words)); at++)
		count++;
	return count;
}

static void stalled_disk_is_not_waited_for(void **state)
{
	struct eg_record r = sample();
	struct eg_telemetry *worker[2];
	struct eg_lines *log;
	struct eg_buf whole;
	char text[80];
	int reader;

	(void)state;
	alarm(60); /* who waits for the disk waits for ever */
	log = log_to(stalled_disk(&reader));
	worker[0] = eg_telemetry_create("one", log);
	worker[1] = eg_telemetry_create("two", log);
	for (int i = 0; i < 20000; i++) {
		eg_telemetry_record(worker[i % 2], &r);
		if (i % 7 < 2)
			eg_telemetry_flush(worker[i % 2]);
	}
	/* Bounded, and counted. */
	assert_in_range(lost(worker[0]) + lost(worker[1]), 5000, 15000);
	assert_int_equal(said("the access log takes nothing"), 1);
	/* Somebody reads: all that was not counted as lost is there. */
	eg_buf_init(&whole, 1 << 24);
	for (int i = 0; i < 30000 && lines_of(&whole) + lost(worker[0]) + lost(worker[1]) < 20000;
	     i++) {
		eg_telemetry_flush(worker[i % 2]);
		drain(reader, &whole);
		usleep(1000);
	}
	assert_int_equal(eg_buf_append(&whole, "", 1), 0);
	assert_int_equal(whole_lines(eg_buf_data(&whole)) + lost(worker[0]) + lost(worker[1]),
			 20000);
	snprintf(text, sizeof(text), "is written again; %d records are lost",
		 lost(worker[0]) + lost(worker[1]));
	for (int i = 0; i < 1000 && !said(text); i++)
		usleep(10000);
	assert_int_equal(said(text), 1);
	eg_telemetry_destroy(worker[0]);
	eg_telemetry_destroy(worker[1]);
	assert_true(eg_lines_destroy(log, 1000));
	assert_int_equal(said("are lost"), 2);
	eg_buf_fini(&whole);
	close(reader);
	alarm(0);
}

static void end_does_not_wait_for_ever(void **state)
{
	struct eg_record r = sample();
	struct eg_telemetry *t;
	struct eg_lines *log;
	int reader;

	(void)state;
	alarm(60);
	log = log_to(stalled_disk(&reader));
	t = eg_telemetry_create("egret", log);
	for (int i = 0; i < 100; i++)
		eg_telemetry_record(t, &r);
	eg_telemetry_destroy(t);
	assert_false(eg_lines_destroy(log, 50));
	assert_int_equal(said("records that waited for it are lost"), 1);
	close(reader); /* and the write comes back */
	assert_true(eg_lines_destroy(log, 10000));
	alarm(0);
}

static void failure_is_said_once_and_its_end(void **state)
{
	struct eg_record r = sample();
	struct eg_telemetry *t;
	struct eg_lines *log;
	struct eg_buf text;
	int file = memfd_create("log", MFD_CLOEXEC), full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_true(file >= 0 && full >= 0);
	log = log_to(full);
	t = eg_telemetry_create("egret", log);
	for (int i = 0; i < 50; i++) {
		eg_telemetry_record(t, &r);
		eg_telemetry_flush(t);
		usleep(10000);
	}
	assert_int_equal(said("can't be written: No space left on device"), 1);
	eg_lines_reopen(log, dup(file));
	for (int i = 0; i < 1000 && !said("is written again; 0 records"); i++)
		usleep(10000);
	assert_int_equal(said("is written again; 0 records"), 1);
	eg_telemetry_destroy(t);
	assert_true(eg_lines_destroy(log, 1000));
	eg_buf_init(&text, 1 << 20);
	assert_int_equal(lseek(file, 0, SEEK_SET), 0);
	drain(file, &text);
	assert_int_equal(lines_of(&text), 50);
	eg_buf_fini(&text);
	close(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_of_two_workers_stay_whole),
		cmocka_unit_test(torn_line_begins_anew_in_a_new_log),
		cmocka_unit_test_setup_teardown(stalled_disk_is_not_waited_for, listen_to_log,
						listen_no_more),
		cmocka_unit_test_setup_teardown(end_does_not_wait_for_ever, listen_to_log,
						listen_no_more),
		cmocka_unit_test_setup_teardown(failure_is_said_once_and_its_end, listen_to_log,
						listen_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
