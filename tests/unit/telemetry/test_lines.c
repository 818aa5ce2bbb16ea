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
#include <stdlib.h>
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

/* Two workers, one log, a reader that takes a little at a time: no line of one stands inside
 * another's. */
static void share(int log, int reader, size_t step)
{
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
	for (int i = 0; i < 4000; i++) {
		eg_telemetry_flush(worker[i % 2]);
		while ((n = read(reader, chunk, sizeof(chunk))) > 0)
			assert_int_equal(eg_buf_append(&whole, chunk, (size_t)n), 0);
	}
	assert_int_equal(eg_buf_append(&whole, "", 1), 0);
	assert_int_equal(whole_lines(eg_buf_data(&whole)) + lost(worker[0]) + lost(worker[1]),
			 600 * 7);
	eg_buf_fini(&whole);
	eg_telemetry_destroy(worker[0]);
	eg_telemetry_destroy(worker[1]);
	close(log);
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

static int lines_of(struct eg_buf *text)
{
	int n = 0;

	for (size_t i = 0; i < text->length; i++)
		n += eg_buf_data(text)[i] == '\n';
	return n;
}

static void read_all(int fd, struct eg_buf *to)
{
	char chunk[4096];

	for (ssize_t n; (n = read(fd, chunk, sizeof(chunk))) > 0;)
		assert_int_equal(eg_buf_append(to, chunk, (size_t)n), 0);
}

/* The log is opened anew while half a line is out: the new one gets it whole, and nothing else
 * twice. */
static void torn_line_begins_anew_in_a_new_log(void **state)
{
	struct eg_record r = sample();
	struct eg_buf before, after;
	struct eg_telemetry *t;
	int old[2], new[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, old), 0);
	assert_int_equal(pipe2(new, O_NONBLOCK), 0);
	assert_int_equal(fcntl(new[1], F_SETPIPE_SZ, 1 << 20), 1 << 20);
	eg_buf_init(&before, 1 << 24);
	eg_buf_init(&after, 1 << 24);
	t = eg_telemetry_create("egret", old[1]);
	for (int i = 0; i < 700; i++)
		eg_telemetry_record(t, &r);
	eg_telemetry_flush(t);
	read_all(old[0], &before);
	assert_true(before.length && eg_buf_data(&before)[before.length - 1] != '\n');
	assert_int_equal(dup2(new[1], old[1]), old[1]);
	eg_telemetry_flush(t);
	read_all(new[0], &after);
	assert_int_equal(eg_buf_append(&after, "", 1), 0);
	assert_int_equal(lines_of(&before) + whole_lines(eg_buf_data(&after)) + lost(t), 700);
	eg_telemetry_destroy(t);
	eg_buf_fini(&before);
	eg_buf_fini(&after);
	for (int i = 0; i < 2; i++) {
		close(old[i]);
		close(new[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_of_two_workers_stay_whole),
		cmocka_unit_test(torn_line_begins_anew_in_a_new_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
