/* SPDX-License-Identifier: Apache-2.0 */
/* The log: one JSON line an entry, whatever is in the message. jansson is the second reader. */
#include "base_test.h"

#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"

/* What eg_log() wrote to stderr: NULL for nothing. */
static char *captured(enum eg_log_level level, const char *message)
{
	static char text[20000];
	int pipe_fds[2], keep = dup(STDERR_FILENO);
	ssize_t n;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
	fflush(stderr);
	dup2(pipe_fds[1], STDERR_FILENO);
	errno = 99;
	eg_log(level, "%s", message);
	assert_int_equal(errno, 99);
	dup2(keep, STDERR_FILENO);
	n = read(pipe_fds[0], text, sizeof(text) - 1);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	close(keep);
	text[n > 0 ? n : 0] = '\0';
	return n > 0 ? text : NULL;
}

static void one_line(void **state)
{
	char *line;
	json_t *j;

	eg_log_init("gateway", EG_LOG_INFO);
	line = captured(EG_LOG_WARN, "a \"quoted\"\nline \x1b[31m \xff\xc3\xa4");
	assert_non_null(line);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	j = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(j);
	assert_string_equal(json_string_value(json_object_get(j, "level")), "warn");
	assert_string_equal(json_string_value(json_object_get(j, "role")), "gateway");
	assert_string_equal(json_string_value(json_object_get(j, "message")),
			    "a \"quoted\"\nline \x1b[31m \xc3\xbf\xc3\xa4"); /* \u00ff stands for
										the bad byte */
	assert_int_equal(strlen(json_string_value(json_object_get(j, "time"))), 24);
	json_decref(j);
	assert_null(strchr(line, 0x1b)); /* no terminal escapes */
}

static void levels(void **state)
{
	eg_log_init("x", EG_LOG_WARN);
	assert_null(captured(EG_LOG_DEBUG, "m"));
	assert_null(captured(EG_LOG_INFO, "m"));
	assert_non_null(captured(EG_LOG_WARN, "m"));
	assert_non_null(strstr(captured(EG_LOG_ERROR, "m"), "\"error\""));
}

static void long_messages_are_cut(void **state)
{
	char *message = malloc(10000);
	char *line;
	json_t *j;

	assert_non_null(message);
	memset(message, 1, 9999);
	message[9999] = '\0';
	line = captured(EG_LOG_ERROR, message);
	assert_non_null(line);
	j = json_loads(line, 0, NULL);
	assert_non_null(j);
	assert_int_equal(strlen(json_string_value(json_object_get(j, "message"))), 2047);
	json_decref(j);
	free(message);
}

static void quoting(void **state)
{
	struct eg_buf b;

	for (int c = 0; c < 256; c++)
		for (int d = 0; d < 256; d++) { /* each pair is valid JSON */
			char two[2] = {(char)c, (char)d};
			json_t *j;

			eg_buf_init(&b, 100);
			assert_int_equal(eg_json_quote(&b, (struct eg_str){two, 2}, 100), 0);
			j = json_loadb(eg_buf_data(&b), b.length, JSON_DECODE_ANY | JSON_ALLOW_NUL,
				       NULL);
			assert_non_null(j);
			json_decref(j);
			eg_buf_fini(&b);
		}
	eg_buf_init(&b, 100);
	assert_int_equal(eg_json_quote(&b, EG_STR("abcdef"), 3), 0);
	assert_str(eg_buf_str(&b), "\"abc\"");
	eg_buf_clear(&b);
	assert_int_equal(eg_json_quote(&b, EG_STR("a\xc3\xa4"), 2), 0); /* cut inside a character */
	assert_str(eg_buf_str(&b), "\"a\\u00c3\"");
	eg_buf_fini(&b);
	eg_buf_init(&b, 4);
	assert_int_equal(eg_json_quote(&b, EG_STR("abcdef"), 100), -ENOBUFS);
	eg_buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_line),
		cmocka_unit_test(levels),
		cmocka_unit_test(long_messages_are_cut),
		cmocka_unit_test(quoting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
