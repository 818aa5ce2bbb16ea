/* SPDX-License-Identifier: Apache-2.0 */
/* DNS answers that the kernel could not read: whose addresses are told, and whose are not. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/channel.h"
#include "agent/gateway_impl.h"
#include "agent/spawner.h"

static const char policy[] =
	"{\"version\":\"egret/v1\",\"providers\":{\"p\":{\"kind\":\"openai\",\"endpoint\":"
	"\"https://api.openai.com/"
	"v1\"}},\"policies\":[{\"name\":\"n\",\"pods\":{\"namespaces\":[\"a\"]},"
	"\"routes\":[{\"name\":\"r\",\"match\":{\"hosts\":[\"api.openai.com\",\"*.openai.azure."
	"com\"]},"
	"\"targets\":[{\"provider\":\"p\"}]}],\"otherwise\":\"deny\"}]}";

static struct eg_policy_set *set;
static int supervisor = -1;

static int set_up(void **state)
{
	struct eg_policy_file file = {EG_STR("p.json"), EG_STR(policy)};
	struct eg_policy_errors errors = {NULL, 0};
	int ends[2], r = eg_policy_load(&file, 1, &set, &errors);

	eg_policy_errors_fini(&errors);
	if (r || eg_channel_pair(ends) || dup2(ends[1], EG_CONTROL_FD) < 0)
		return -1;
	if (ends[0] == EG_CONTROL_FD)
		return -1; /* the pair took our number: run with three descriptors open */
	supervisor = ends[0];
	return 0;
}

static int tear_down(void **state)
{
	eg_policy_set_unref(set);
	eg_fd_close(&supervisor);
	return 0;
}

static unsigned char message[EG_EVENT_DATA];
static size_t length;

static void put(const void *bytes, size_t n)
{
	assert_true(length + n <= sizeof(message));
	memcpy(message + length, bytes, n);
	length += n;
}

static void put16(unsigned int v)
{
	uint16_t be = htons((uint16_t)v);

	put(&be, 2);
}

static void put_name(const char *name)
{
	while (*name) {
		size_t n = strcspn(name, ".");
		unsigned char l = (unsigned char)n;

		put(&l, 1);
		put(name, n);
		name += n + (name[n] == '.');
	}
	put("", 1);
}

/* Header and question of an answer with `answers` records of `type` (A 1, AAAA 28). */
static void begin(const char *name, unsigned int type, unsigned int answers)
{
	length = 0;
	put16(0x1234);
	put16(0x8180);
	put16(1);
	put16(answers);
	put16(0);
	put16(0);
	put_name(name);
	put16(type);
	put16(1);
}

/* A record of the name at `at` (a compression pointer). */
static void record(unsigned int at, unsigned int type, unsigned int ttl, const void *data, size_t n)
{
	put16(0xc000 | at);
	put16(type);
	put16(1);
	put16(ttl >> 16);
	put16(ttl & 0xffff);
	put16((unsigned int)n);
	put(data, n);
}

static int told(struct eg_message *m)
{
	int fds[EG_WIRE_FDS];

	return eg_channel_receive(supervisor, m, fds);
}

static void test_exact_name(void **state)
{
	struct eg_message m;

	begin("API.openai.com", 1, 2);
	record(12, 1, 60, "\x0a\x00\x00\x01", 4);
	record(12, 1, 30, "\x0a\x00\x00\x02", 4);
	eg_names_answer(set, 7, message, length);
	assert_int_equal(told(&m), 1);
	assert_int_equal(m.type, EG_WIRE_LEARNED);
	assert_int_equal(m.number, 7);
	assert_string_equal(m.u.addresses.name, "api.openai.com");
	assert_int_equal(m.u.addresses.count, 2);
	assert_int_equal(m.u.addresses.ttl_s, 30); /* the least */
	assert_int_equal(m.u.addresses.address[1].word_be[3], htonl(0x0a000002));
	assert_int_equal(m.u.addresses.address[1].word_be[2], htonl(0xffff));
	assert_int_equal(told(&m), -EAGAIN);
}

static void test_suffix_and_six(void **state)
{
	static const unsigned char six[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
	struct eg_message m;

	begin("acme.openai.azure.com", 28, 1);
	record(12, 28, 60, six, 16);
	eg_names_answer(set, 7, message, length);
	assert_int_equal(told(&m), 1);
	assert_string_equal(m.u.addresses.name, "*.openai.azure.com");
	assert_memory_equal(&m.u.addresses.address[0], six, 16);
}

static void test_alias(void **state)
{
	struct eg_message m;
	unsigned int target;

	/* www.example.com is an alias of api.openai.com, which is watched. */
	begin("www.example.com", 1, 2);
	put16(0xc00c);
	put16(5);
	put16(1);
	put16(0);
	put16(60);
	put16(16);
	target = (unsigned int)length;
	put_name("api.openai.com");
	record(target, 1, 60, "\x0a\x00\x00\x01", 4);
	eg_names_answer(set, 7, message, length);
	assert_int_equal(told(&m), 1);
	assert_string_equal(m.u.addresses.name, "api.openai.com");
}

static void test_more_than_the_kernel_reads(void **state)
{
	struct eg_message m;
	size_t all = 0;

	begin("api.openai.com", 1, 80);
	for (unsigned int i = 0; i < 80; i++)
		record(12, 1, 60, (unsigned char[]){10, 0, 1, (unsigned char)i}, 4);
	eg_names_answer(set, 7, message, length);
	while (told(&m) == 1)
		all += m.u.addresses.count;
	assert_int_equal(all, 80);
}

static void test_cut(void **state)
{
	struct eg_message m;

	begin("api.openai.com", 1, 3);
	record(12, 1, 60, "\x0a\x00\x00\x01", 4);
	record(12, 1, 60, "\x0a\x00\x00\x02", 4);
	record(12, 1, 60, "\x0a\x00\x00\x03", 4);
	eg_names_answer(set, 7, message, length - 1);
	assert_int_equal(told(&m), 1);
	assert_int_equal(m.u.addresses.count, 2); /* what came before the cut */
}

static void test_not_watched_or_not_an_answer(void **state)
{
	static const char *const names[] = {"example.com", "openai.azure.com", "xapi.openai.com",
					    "api.openai.com.evil.example", "evilopenai.azure.com"};
	struct eg_message m;

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++) {
		begin(names[i], 1, 1);
		record(12, 1, 60, "\x0a\x00\x00\x01", 4);
		eg_names_answer(set, 7, message, length);
		assert_int_equal(told(&m), -EAGAIN);
	}
	/* Every prefix of an answer with one record, and junk: nothing is told, nothing is read
	 * beyond. */
	begin("api.openai.com", 1, 1);
	record(12, 1, 60, "\x0a\x00\x00\x01", 4);
	for (size_t n = 0; n < length; n++) {
		unsigned char *exact = malloc(n ? n : 1);

		memcpy(exact, message, n);
		eg_names_answer(set, 7, exact, n);
		free(exact);
	}
	/* a question is not an answer, whatever follows it */
	message[2] = 0x01;
	eg_names_answer(set, 7, message, length);
	memset(message, 0xff, sizeof(message));
	eg_names_answer(set, 7, message, sizeof(message));
	memset(message, 0xc0, sizeof(message));
	eg_names_answer(set, 7, message, sizeof(message));
	eg_names_answer(set, 7, message, 0);
	assert_int_equal(told(&m), -EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact_name),
		cmocka_unit_test(test_suffix_and_six),
		cmocka_unit_test(test_alias),
		cmocka_unit_test(test_more_than_the_kernel_reads),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_not_watched_or_not_an_answer),
	};

	/* The control socket's number must not be in the way of the pair. */
	if (dup2(STDERR_FILENO, EG_CONTROL_FD) < 0)
		return 1;
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
