/* SPDX-License-Identifier: Apache-2.0 */
/* The log: one JSON line an entry, whatever is in the message. jansson is the second reader. */
#include "base_test.h"

#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/redact.h"

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

/* What looks like a key is taken out of whatever anybody logs. */
static void no_keys(void **state)
{
	char *line;

	eg_log_init("gateway", EG_LOG_INFO);
	line = captured(EG_LOG_WARN, "said sk-ant-api03-0123456789abcdef, and sk-short");
	assert_non_null(line);
	assert_non_null(strstr(line, "said [redacted], and sk-short"));
	assert_null(strstr(line, "api03"));
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
	eg_buf_clear(&b);
	/* C1 controls are controls: CSI is one of them. U+00A0 and what follows is not. */
	assert_int_equal(eg_json_quote(&b, EG_STR("a\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0"), 100), 0);
	assert_str(eg_buf_str(&b), "\"a\\u0080\\u009b\\u009f\xc2\xa0\"");
	eg_buf_fini(&b);
	eg_buf_init(&b, 4);
	assert_int_equal(eg_json_quote(&b, EG_STR("abcdef"), 100), -ENOBUFS);
	eg_buf_fini(&b);
}

/* What a terminal would act upon is shown instead; all else stays as it is. */
static void printable(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"", ""},
		{"plain \"text\" \\ with caf\xc3\xa9 \xe6\x97\xa5 \xf0\x9f\x90\xa6", NULL},
		{"a\x1b[2K\rvalid: 0 errors", "a\\u001b[2K\\u000dvalid: 0 errors"},
		{"\n\t\x7f", "\\u000a\\u0009\\u007f"},
		{"\xc2\x9b"
		 "31m",
		 "\\u009b31m"}, /* CSI as one character */
		{"\x9b"
		 "31m",
		 "\\u009b31m"}, /* and as a byte of Latin-1 */
		{"\xe2\x80\xae"
		 "cba",
		 "\\u202ecba"},			     /* right-to-left override */
		{"\xe2\x80\xa8x", "\\u2028x"},	     /* line separator */
		{"\xf3\xa0\x81\x81", "\\U000e0041"}, /* a tag character, which nobody sees */
		{"\xed\xa0\x80\xc3", "\\u00ed\\u00a0\\u0080\\u00c3"}, /* no UTF-8 */
	};
	struct eg_buf b;

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		eg_buf_init(&b, 1000);
		assert_int_equal(eg_text_printable(&b, eg_str_from(cases[i].in)), 0);
		assert_true(eg_str_eq(eg_buf_str(&b),
				      eg_str_from(cases[i].out ? cases[i].out : cases[i].in)));
		eg_buf_fini(&b);
	}
	for (int c = 0; c < 65536; c++) { /* no two bytes leave a control behind */
		char two[2] = {(char)(c >> 8), (char)c};

		eg_buf_init(&b, 1000);
		assert_int_equal(eg_text_printable(&b, (struct eg_str){two, 2}), 0);
		for (size_t i = 0; i < b.length; i++) {
			unsigned char byte = (unsigned char)eg_buf_data(&b)[i];

			assert_true(byte >= 0x20 && byte != 0x7f);
			assert_false(byte == 0xc2 && (unsigned char)eg_buf_data(&b)[i + 1] < 0xa0);
		}
		eg_buf_fini(&b);
	}
	eg_buf_init(&b, 4);
	assert_int_equal(eg_text_printable(&b, EG_STR("\x1b")), -ENOBUFS);
	eg_buf_fini(&b);
}

/* Two bytes at each place among eight are quoted as they are alone: words hide nothing. */
static void quoting_by_words(void **state)
{
	for (int c = 0; c < 65536; c++) {
		char two[2] = {(char)(c >> 8), (char)c}, long_one[19];
		struct eg_buf alone, inside;

		eg_buf_init(&alone, 1000);
		eg_buf_init(&inside, 1000);
		assert_int_equal(eg_json_quote(&alone, (struct eg_str){two, 2}, 100), 0);
		assert_int_equal(eg_json_plain((struct eg_str){two, 2}),
				 alone.length == 4 && (c >> 8) < 0x80 && (c & 0xff) < 0x80);
		for (size_t at = 0; at < 9; at++) {
			size_t n = alone.length - 2;

			memset(long_one, 'x', sizeof(long_one));
			memcpy(long_one + at, two, 2);
			eg_buf_clear(&inside);
			assert_int_equal(eg_json_quote(&inside, (struct eg_str){long_one, 19}, 100),
					 0);
			assert_int_equal(inside.length, 2 + 17 + n);
			assert_int_equal(eg_json_plain((struct eg_str){long_one, 19}),
					 eg_json_plain((struct eg_str){two, 2}));
			assert_memory_equal(eg_buf_data(&inside) + 1 + at, eg_buf_data(&alone) + 1,
					    n);
		}
		eg_buf_fini(&alone);
		eg_buf_fini(&inside);
	}
}

/* Random, whichever alphabet of base 64 it is in; names with as many dashes are not. */
static void unmarked(void **state)
{
	static const char *const secret[] = {
		"qiH6Mr8p1W7LEf-lHjEWc4rXgo_82QeNpbITJFmTj8G",
		"openai/qiH6Mr8p1W7LEf-lHjEWc4rXgo_82QeNpbITJFmTj8G",
		"qiH6Mr8p1W7LEf+lHjEWc4rXgo/82QeNpbITJFmTj8G=",
		"0123456789abcdef0123456789abcdef",
	};
	static const char *const name[] = {
		"OpenAI-Production-EU-2025-Frankfurt/key",
		"team-a_openai_EU-West-1_Prod-2_key-Rotated-2026-11",
		"eu.anthropic.claude-sonnet-4-20250514-v1:0",
		"3f2504e0-4f89-41d3-9a0c-0305e82c3301",
		"Meta-Llama-3.1-405B-Instruct-Turbo-128K-FP8-Preview-2024",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(secret); i++)
		if (!eg_redact_found(eg_str_from(secret[i]), true))
			fail_msg("not found: %s", secret[i]);
	for (size_t i = 0; i < EG_ARRAY_SIZE(name); i++)
		if (eg_redact_found(eg_str_from(name[i]), true))
			fail_msg("taken for a secret: %s", name[i]);
	(void)state;
}

/* A pipe that is full, as stderr; what else is open on it blocks. */
static void fill(int fds[2], int *keep)
{
	char page[4096];

	*keep = dup(STDERR_FILENO);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	fflush(stderr);
	dup2(fds[1], STDERR_FILENO);
	memset(page, 'x', sizeof(page));
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	while (write(fds[1], page, sizeof(page)) > 0)
		;
	fcntl(fds[1], F_SETFL, 0);
}

static size_t drain(int fd)
{
	char page[4096];
	size_t n = 0;
	ssize_t got;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while ((got = read(fd, page, sizeof(page))) > 0)
		n += (size_t)got;
	return n;
}

/* Whoever reads the log may stop: nobody waits for it, and what is missing is said afterwards. */
static void stalled_reader(void **state)
{
	static char text[20000];
	int fds[2], keep;
	uint64_t began;
	ssize_t n;

	(void)state;
	eg_log_init("gateway", EG_LOG_INFO);
	fill(fds, &keep);
	eg_log_unblock();
	alarm(10); /* it would be waited for without end */
	began = eg_now_ms();
	for (int i = 0; i < 100; i++)
		eg_log(EG_LOG_WARN, "nobody reads %d", i);
	alarm(0);
	assert_true(eg_now_ms() - began < 2000);
	assert_int_equal(drain(fds[0]), 65536);
	eg_log(EG_LOG_WARN, "somebody reads");
	eg_log(EG_LOG_WARN, "on");
	n = read(fds[0], text, sizeof(text) - 1);
	dup2(keep, STDERR_FILENO);
	close(keep);
	close(fds[0]);
	close(fds[1]);
	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(strstr(text, "100 entries of this log are lost"));
	assert_non_null(strstr(text, "somebody reads"));
	assert_non_null(strstr(text, "\"on\""));
	assert_null(strstr(text, "nobody reads"));
}

/* Half of an entry is out: the next one begins a line of its own. */
static void torn_entry(void **state)
{
	static char text[70000], message[2001];
	int fds[2], keep;
	char *line, *save = NULL;
	ssize_t n;

	(void)state;
	eg_log_init("gateway", EG_LOG_INFO);
	fill(fds, &keep);
	eg_log_unblock();
	assert_int_equal(read(fds[0], text, 4096), 4096); /* room for one page */
	memset(message, 1, sizeof(message) - 1);	  /* six bytes each: more than a page */
	alarm(10);
	eg_log(EG_LOG_WARN, "%s", message);
	alarm(0);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	while ((n = read(fds[0], text, 4096)) == 4096 && text[0] == 'x')
		;
	eg_log(EG_LOG_WARN, "whole");
	n = n > 0 ? n : 0;
	n += EG_MAX(read(fds[0], text + n, sizeof(text) - 1 - (size_t)n), 0);
	dup2(keep, STDERR_FILENO);
	close(keep);
	close(fds[0]);
	close(fds[1]);
	text[n] = '\0';
	line = strtok_r(text, "\n", &save); /* the half, if the kernel took one */
	assert_non_null(line);
	for (line = strtok_r(NULL, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		json_t *j = json_loads(line, 0, NULL);

		assert_non_null(j);
		json_decref(j);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_line),	  cmocka_unit_test(no_keys),
		cmocka_unit_test(levels),	  cmocka_unit_test(long_messages_are_cut),
		cmocka_unit_test(quoting),	  cmocka_unit_test(quoting_by_words),
		cmocka_unit_test(printable),	  cmocka_unit_test(unmarked),
		cmocka_unit_test(stalled_reader), cmocka_unit_test(torn_entry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
