/* SPDX-License-Identifier: Apache-2.0 */
/* The resolver against a DNS server of the test, on a loopback UDP port, that counts questions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ares.h>
#include <arpa/inet.h>
#include <dlfcn.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "net/resolver.h"
#include "net/stream.h"

static unsigned int walks; /* over all queries that are open */

/* c-ares', for this program: it counts. */
struct timeval *ares_timeout(ares_channel channel, struct timeval *most, struct timeval *out)
{
	static struct timeval *(*real)(ares_channel, struct timeval *, struct timeval *);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "ares_timeout");
	walks++;
	return real(channel, most, out);
}

enum behaviour { ANSWER, NXDOMAIN, SILENT };

static struct {
	struct eg_loop *loop;
	struct eg_watch watch;
	int fd;
	char text[32]; /* its address for eg_resolver_create() */
	enum behaviour behaviour;
	uint32_t ttl;
	unsigned int questions;
} server;

/* Answers A with 192.0.2.1 and 192.0.2.2, AAAA with 2001:db8::1. */
static size_t reply(unsigned char *m, size_t n)
{
	size_t at = 12, type;
	static const unsigned char v6[16] = {0x20, 1, 0x0d, 0xb8, [15] = 1};

	while (at < n && m[at])
		at += m[at] + 1u;
	type = m[at + 2];
	at += 5;
	m[2] = 0x81;
	m[3] = server.behaviour == NXDOMAIN ? 0x83 : 0x80;
	m[6] = m[7] = m[8] = m[9] = m[10] = m[11] = 0;
	if (server.behaviour == NXDOMAIN)
		return at;
	m[7] = type == 1 ? 2 : 1;
	for (unsigned int i = 0; i < m[7]; i++) {
		unsigned char head[12] = {0xc0, 12, 0, (unsigned char)type, 0, 1, 0, 0, 0, 0, 0, 0};
		uint32_t ttl = htonl(server.ttl);

		memcpy(head + 6, &ttl, 4);
		head[11] = type == 1 ? 4 : 16;
		memcpy(m + at, head, 12);
		at += 12;
		if (type == 1) {
			memcpy(m + at, (unsigned char[]){192, 0, 2, (unsigned char)(i + 1)}, 4);
			at += 4;
		} else {
			memcpy(m + at, v6, 16);
			at += 16;
		}
	}
	return at;
}

static void server_ready(struct eg_watch *w, uint32_t events)
{
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	unsigned char m[1500];
	ssize_t n = recvfrom(server.fd, m, 512, MSG_DONTWAIT, (void *)&from, &length);

	(void)w;
	(void)events;
	if (n < 17)
		return;
	server.questions++;
	if (server.behaviour == SILENT)
		return;
	/* no EDNS in the answer: cut what follows the question */
	n = (ssize_t)reply(m, (size_t)n);
	assert_int_equal(sendto(server.fd, m, (size_t)n, 0, (void *)&from, length), n);
}

static int set_up(void **state)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);

	(void)state;
	memset(&server, 0, sizeof(server));
	server.loop = eg_loop_create();
	server.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	server.ttl = 60;
	server.watch = (struct eg_watch){.fd = -1, .ready = server_ready};
	if (!server.loop || bind(server.fd, (void *)&a, n) ||
	    getsockname(server.fd, (void *)&a, &n) ||
	    eg_watch_add(server.loop, &server.watch, server.fd, EPOLLIN))
		return -1;
	snprintf(server.text, sizeof(server.text), "127.0.0.1:%u", ntohs(a.sin_port));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	eg_watch_remove(server.loop, &server.watch);
	close(server.fd);
	eg_loop_destroy(server.loop);
	return 0;
}

struct asked {
	struct eg_resolve q;
	unsigned int calls;
	bool ok;
	struct eg_addresses found;
	char why[64];
};

static void done(struct eg_resolve *q, const struct eg_addresses *a, const char *why)
{
	struct asked *x = eg_container_of(q, struct asked, q);

	x->calls++;
	x->ok = a;
	if (a)
		x->found = *a;
	else
		snprintf(x->why, sizeof(x->why), "%s", why);
}

static void ask(struct eg_resolver *r, const char *host, struct asked *x)
{
	memset(x, 0, sizeof(*x));
	x->q.done = done;
	eg_resolver_lookup(r, host, &x->q);
}

static void wait_for(struct asked *x)
{
	for (int i = 0; i < 2000 && !x->calls; i++)
		assert_int_equal(eg_loop_turn(server.loop, 10), 0);
	assert_int_equal(x->calls, 1);
}

static void answers_and_caches(void **state)
{
	struct eg_resolver *r = eg_resolver_create(server.loop, server.text, NULL);
	struct asked a, b, c;
	char text[EG_ADDRESS_TEXT];

	(void)state;
	assert_non_null(r);
	ask(r, "api.openai.com", &a);
	ask(r, "API.OpenAI.com", &b); /* joins the first */
	wait_for(&a);
	wait_for(&b);
	assert_true(a.ok);
	assert_int_equal(a.found.count, 3);
	assert_int_equal(a.found.ttl_s, 60);
	assert_string_equal(eg_address_text(&a.found.item[2], text), "2001:db8::1");
	assert_int_equal(server.questions, 2); /* A and AAAA, once */
	ask(r, "api.openai.com", &c);
	assert_int_equal(c.calls, 1); /* at once, from the cache */
	assert_true(c.ok);
	assert_int_equal(server.questions, 2);
	eg_resolver_destroy(r);
}

static void literals_need_no_server(void **state)
{
	struct eg_resolver *r = eg_resolver_create(server.loop, server.text, NULL);
	struct asked a;

	(void)state;
	ask(r, "203.0.113.7", &a);
	assert_int_equal(a.calls, 1);
	assert_true(a.ok);
	ask(r, "not a name!", &a);
	assert_int_equal(a.calls, 1);
	assert_false(a.ok);
	assert_int_equal(server.questions, 0);
	eg_resolver_destroy(r);
}

static void failure_is_told_and_remembered(void **state)
{
	struct eg_resolver *r = eg_resolver_create(server.loop, server.text, NULL);
	struct asked a, b;
	unsigned int questions;

	(void)state;
	server.behaviour = NXDOMAIN;
	ask(r, "nowhere.example", &a);
	wait_for(&a);
	assert_false(a.ok);
	assert_true(a.why[0]);
	questions = server.questions;
	ask(r, "nowhere.example", &b);
	assert_int_equal(b.calls, 1);
	assert_false(b.ok);
	assert_int_equal(server.questions, questions);
	eg_resolver_destroy(r);
}

static void silent_server_times_out(void **state)
{
	struct eg_resolver *r = eg_resolver_create(server.loop, server.text, NULL);
	struct asked a;

	(void)state;
	server.behaviour = SILENT;
	ask(r, "slow.example", &a);
	wait_for(&a);
	assert_false(a.ok);
	eg_resolver_destroy(r);
}

static void cancelled_look_up_is_not_called(void **state)
{
	struct eg_resolver *r = eg_resolver_create(server.loop, server.text, NULL);
	struct asked a, b;

	(void)state;
	ask(r, "one.example", &a);
	ask(r, "one.example", &b);
	eg_resolver_cancel(r, &a.q);
	wait_for(&b);
	assert_int_equal(a.calls, 0);
	eg_resolver_destroy(r);
	/* destroyed with a question under way */
	r = eg_resolver_create(server.loop, server.text, NULL);
	ask(r, "two.example", &a);
	eg_resolver_destroy(r);
	assert_int_equal(a.calls, 0);
}

/* As many as a policy may have, and more: names whose answer is fresh keep no other one out. */
static void many_names(void **state)
{
	struct eg_resolver *r = eg_resolver_create(server.loop, server.text, NULL);
	struct asked a;
	char host[32];

	(void)state;
	server.ttl = 300;
	for (int i = 0; i < 4096 + 50; i++) { /* a reload may bring others */
		snprintf(host, sizeof(host), "n%d.example.org", i);
		ask(r, host, &a);
		wait_for(&a);
		if (!a.ok)
			fail_msg("%s: %s", host, a.why);
	}
	eg_resolver_destroy(r);
}

/* A reload may bring thousands of names: their beginning costs no look at all others each. */
static void names_at_once(void **state)
{
	struct eg_resolver *r = eg_resolver_create(server.loop, server.text, NULL);
	static struct asked a[100];
	char host[32];

	(void)state;
	walks = 0;
	for (size_t i = 0; i < EG_ARRAY_SIZE(a); i++) {
		snprintf(host, sizeof(host), "n%zu.example.org", i);
		ask(r, host, &a[i]);
	}
	assert_in_range(walks, 0, 3);
	for (size_t i = 0; i < EG_ARRAY_SIZE(a); i++) {
		wait_for(&a[i]);
		assert_true(a[i].ok);
	}
	assert_in_range(walks, 0, 20);
	eg_resolver_destroy(r);
}

static void bad_servers_are_refused(void **state)
{
	struct eg_error e;

	(void)state;
	assert_null(eg_resolver_create(server.loop, "", &e));
	assert_null(eg_resolver_create(server.loop, "not-an-address", &e));
	assert_non_null(strstr(e.text, "not-an-address"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(answers_and_caches, set_up, tear_down),
		cmocka_unit_test_setup_teardown(literals_need_no_server, set_up, tear_down),
		cmocka_unit_test_setup_teardown(failure_is_told_and_remembered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(silent_server_times_out, set_up, tear_down),
		cmocka_unit_test_setup_teardown(cancelled_look_up_is_not_called, set_up, tear_down),
		cmocka_unit_test_setup_teardown(many_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(names_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bad_servers_are_refused, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
