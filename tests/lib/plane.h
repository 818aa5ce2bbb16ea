/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data plane in one thread for unit tests: a loop, an engine with a policy, pods' connections
 * over loopback TCP, and a fake provider whose every byte the test writes. Nothing sleeps: what is
 * awaited is awaited by turning the loop.
 */
#ifndef EGRET_TESTS_PLANE_H
#define EGRET_TESTS_PLANE_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "credential/credential.h"
#include "exchange/engine.h"
#include "exchange/exchange.h"
#include "net/resolver.h"
#include "net/stream.h"

#define PLANE __attribute__((unused)) static
#define PLANE_TURNS                                                                  \
	20000 /* of a millisecond at most, before an awaited thing counts as missing \
	       */
#define PLANE_KEY "sk-real-0123456789abcdefghijklmnop"

struct plane {
	struct eg_loop *loop;
	struct eg_upstream *upstream;
	struct eg_telemetry *telemetry;
	struct eg_cooldowns cooldowns;
	struct eg_budgets budgets;
	struct eg_engine engine;
	struct eg_dial_rules rules;
	struct eg_lines *log; /* to log_fd, without a thread: see plane_records() */
	int log_fd;
	int provider[4]; /* listeners of the fake providers p0..p3 */
	uint16_t port[4];
	bool labels_unknown; /* of pod a, in snapshots that are made from now on */
};

/*
 * The resolver: every name is 127.0.0.1, but "nowhere.internal", which does not exist, and
 * "two.internal", whose first address nobody listens on. Defined here, so that the real one is not
 * linked.
 */
struct eg_resolver {
	int unused;
};
static struct eg_resolver plane_resolver;

struct eg_resolver *eg_resolver_create(struct eg_loop *l, const char *servers, struct eg_error *e)
{
	(void)l;
	(void)servers;
	(void)e;
	return &plane_resolver;
}

void eg_resolver_destroy(struct eg_resolver *r)
{
	(void)r;
}

void eg_resolver_lookup(struct eg_resolver *r, const char *host, struct eg_resolve *q)
{
	struct eg_addresses a = {.ttl_s = 60};

	(void)r;
	if (!strcmp(host, "two.internal"))
		assert_int_equal(eg_address_parse(EG_STR("127.99.0.1"), &a.item[a.count++]), 0);
	assert_int_equal(eg_address_parse(EG_STR("127.0.0.1"), &a.item[a.count++]), 0);
	if (!strcmp(host, "nowhere.internal"))
		q->done(q, NULL, "NXDOMAIN");
	else
		q->done(q, &a, NULL);
}

void eg_resolver_cancel(struct eg_resolver *r, struct eg_resolve *q)
{
	(void)r;
	(void)q;
}

/* ---- sockets ---- */

PLANE int plane_listen(uint16_t *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 1024), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

/* A connected, non-blocking client's end. */
PLANE int plane_connect(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				.sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

PLANE void plane_turn(struct plane *p)
{
	assert_int_equal(eg_loop_turn(p->loop, 1), 0);
}

PLANE void plane_turns(struct plane *p, int n)
{
	while (n--)
		assert_int_equal(eg_loop_turn(p->loop, 0), 0);
}

PLANE int plane_accept(struct plane *p, int listener)
{
	int on = 1;

	for (int i = 0; i < PLANE_TURNS; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);

		if (fd >= 0) {
			assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)),
					 0);
			return fd;
		}
		plane_turn(p);
	}
	fail_msg("no connection came");
	return -1;
}

PLANE bool plane_nobody(struct plane *p, int listener)
{
	int fd;

	plane_turns(p, 20);
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	if (fd >= 0)
		close(fd);
	return fd < 0;
}

PLANE void plane_send_n(struct plane *p, int fd, const char *text, size_t n)
{
	for (int i = 0; n && i < PLANE_TURNS; i++) {
		ssize_t w = send(fd, text, n, MSG_NOSIGNAL);

		if (w > 0) {
			text += w;
			n -= (size_t)w;
			continue;
		}
		assert_int_equal(errno, EAGAIN);
		plane_turn(p);
	}
	assert_int_equal(n, 0);
}

PLANE void plane_send(struct plane *p, int fd, const char *text)
{
	plane_send_n(p, fd, text, strlen(text));
}

/* One byte a turn. */
PLANE void plane_trickle(struct plane *p, int fd, const char *text)
{
	for (; *text; text++) {
		plane_send_n(p, fd, text, 1);
		plane_turns(p, 2);
	}
}

/* What has come on a socket so far. */
struct inbox {
	int fd;
	char *text;
	size_t n, size;
	bool end, reset;
};

PLANE void inbox_init(struct inbox *b, int fd)
{
	*b = (struct inbox){.fd = fd, .text = calloc(1, 1), .size = 1};
}

PLANE void inbox_fini(struct inbox *b)
{
	free(b->text);
	close(b->fd);
}

PLANE void inbox_forget(struct inbox *b)
{
	b->n = 0;
	b->text[0] = '\0';
}

/* Reads what is there. */
PLANE void inbox_poll(struct inbox *b)
{
	ssize_t r;

	do {
		if (b->n + 65536 + 1 > b->size) {
			b->size = 2 * b->size + 65536 + 1;
			b->text = realloc(b->text, b->size);
			assert_non_null(b->text);
		}
		r = recv(b->fd, b->text + b->n, 65536, MSG_DONTWAIT);
		if (r > 0)
			b->n += (size_t)r;
		b->text[b->n] = '\0';
	} while (r > 0);
	if (r == 0)
		b->end = true;
	else if (errno == ECONNRESET)
		b->reset = true;
}

PLANE bool inbox_has(const struct inbox *b, const char *text)
{
	return memmem(b->text, b->n, text, strlen(text)) != NULL;
}

/* Turns until `text` has come. */
PLANE void inbox_await(struct plane *p, struct inbox *b, const char *text)
{
	for (int i = 0; i < PLANE_TURNS; i++) {
		inbox_poll(b);
		if (inbox_has(b, text))
			return;
		if (b->end || b->reset)
			break;
		plane_turn(p);
	}
	fail_msg("awaited \"%s\", %s after: %s", text,
		 b->reset ? "reset"
		 : b->end ? "end"
			  : "nothing more",
		 b->text);
}

PLANE void inbox_await_bytes(struct plane *p, struct inbox *b, size_t n)
{
	for (int i = 0; i < PLANE_TURNS && b->n < n && !b->end && !b->reset; i++) {
		inbox_poll(b);
		if (b->n < n)
			plane_turn(p);
	}
	assert_true(b->n >= n);
}

/* Turns until the other side has ended, in order or not. */
PLANE void inbox_await_end(struct plane *p, struct inbox *b)
{
	for (int i = 0; i < PLANE_TURNS; i++) {
		inbox_poll(b);
		if (b->end || b->reset)
			return;
		plane_turn(p);
	}
	fail_msg("no end came after: %s", b->text);
}

PLANE void close_reset(int fd)
{
	struct linger l = {1, 0};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)), 0);
	close(fd);
}

/* ---- the snapshot ---- */

/* `format` is a policy with %u for the ports of the fake providers, in order. */
PLANE struct eg_policy_set *plane_policy(struct plane *p, const char *format)
{
	struct eg_policy_errors errors = {NULL, 0};
	struct eg_policy_set *set = NULL;
	struct eg_policy_file file = {.name = EG_STR("test.json")};
	char text[16384];
	int r;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, sizeof(text), format, p->port[0], p->port[1], p->port[2], p->port[3]);
#pragma GCC diagnostic pop
	file.text = eg_str_from(text);
	r = eg_policy_load(&file, 1, &set, &errors);
	for (size_t i = 0; r && i < errors.count; i++)
		print_error("%s: %s\n", errors.item[i].path, errors.item[i].text);
	eg_policy_errors_fini(&errors);
	assert_int_equal(r, 0);
	return set;
}

PLANE struct eg_credential_set *plane_credentials(const struct eg_policy_set *set, bool present)
{
	struct eg_credential_set *out = NULL;
	size_t count = 0;
	int fds[16];

	(void)eg_credentials(set, &count);
	assert_true(count <= EG_ARRAY_SIZE(fds));
	for (size_t i = 0; i < count; i++) {
		fds[i] = -1;
		if (!present)
			continue;
		fds[i] = memfd_create("key", 0);
		assert_int_equal(write(fds[i], PLANE_KEY, strlen(PLANE_KEY)), strlen(PLANE_KEY));
	}
	assert_int_equal(eg_credential_set_create(fds, count, &out), 0);
	for (size_t i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return out;
}

PLANE struct eg_address plane_address(const char *text)
{
	struct eg_address a;

	assert_int_equal(eg_address_parse(eg_str_from(text), &a), 0);
	return a;
}

/* Two pods: shop/a at 127.0.0.1, other/b at 127.0.0.2. */
PLANE struct eg_snapshot *plane_snapshot(struct plane *p, const char *format, bool credentials)
{
	struct eg_policy_set *set = plane_policy(p, format);
	struct eg_pod_view pods[2] = {
		{.identity = {.namespace_name = "shop",
			      .name = "a",
			      .uid = "uid-a",
			      .service_account = "default",
			      .labels_unknown = p->labels_unknown},
		 .pod_id = 1,
		 .address = {plane_address("127.0.0.1")},
		 .address_count = 1},
		{.identity = {.namespace_name = "other",
			      .name = "b",
			      .uid = "uid-b",
			      .service_account = ""},
		 .pod_id = 2,
		 .address = {plane_address("127.0.0.2")},
		 .address_count = 1},
	};
	struct eg_snapshot *s =
		eg_snapshot_create(1, set, plane_credentials(set, credentials), NULL, pods, 2);

	assert_non_null(s);
	return s;
}

PLANE void plane_publish(struct plane *p, const char *format, bool credentials)
{
	struct eg_snapshot *s = plane_snapshot(p, format, credentials);

	eg_engine_publish(&p->engine, s);
	eg_snapshot_unref(s);
}

/* ---- life ---- */

PLANE void plane_up(struct plane *p, const char *policy)
{
	struct eg_limits limits = eg_default_limits;
	struct eg_upstream_options o = {0};

	*p = (struct plane){.log_fd = memfd_create("access", 0)};
	p->loop = eg_loop_create();
	assert_non_null(p->loop);
	p->log = eg_lines_create(dup(p->log_fd));
	assert_non_null(p->log);
	p->telemetry = eg_telemetry_create("test", p->log);
	assert_non_null(p->telemetry);
	o.loop = p->loop;
	o.telemetry = p->telemetry;
	o.resolver = &plane_resolver;
	p->upstream = eg_upstream_create(&o);
	assert_non_null(p->upstream);
	for (int i = 0; i < 4; i++)
		p->provider[i] = plane_listen(&p->port[i]);
	assert_int_equal(eg_engine_init(&p->engine, p->loop, p->upstream, p->telemetry, &limits,
					&p->cooldowns, &p->budgets, "test-tag"),
			 0);
	if (policy)
		plane_publish(p, policy, true);
}

PLANE void plane_down(struct plane *p)
{
	plane_turns(p, 3);
	assert_int_equal(p->engine.active, 0);
	assert_int_equal(p->engine.held_bytes, 0);
	for (size_t i = 0; i < EG_ACCOUNT_BUCKETS; i++)
		assert_null(p->engine.accounts[i]);
	eg_upstream_destroy(p->upstream);
	plane_turns(p, 2);
	eg_engine_fini(&p->engine);
	eg_telemetry_destroy(p->telemetry);
	assert_true(eg_lines_destroy(p->log, 0));
	eg_loop_destroy(p->loop);
	close(p->log_fd);
	for (int i = 0; i < 4; i++)
		close(p->provider[i]);
}

/* The access records so far; the caller frees. */
PLANE char *plane_records(struct plane *p)
{
	char *out;
	off_t n;

	eg_telemetry_flush(p->telemetry);
	assert_int_equal(eg_lines_turn(p->log), 1);
	n = lseek(p->log_fd, 0, SEEK_END);
	out = calloc(1, (size_t)n + 1);
	assert_int_equal(pread(p->log_fd, out, (size_t)n, 0), n);
	return out;
}

/* Does anybody call provider 0? */
PLANE bool plane_called(struct plane *p)
{
	struct pollfd called_now = {.fd = p->provider[0], .events = POLLIN};

	return poll(&called_now, 1, 0) != 0;
}

/* How many turns the loop makes until provider 0 is called. */
PLANE size_t plane_turns_until_called(struct plane *p)
{
	size_t turns = 0;

	for (; !plane_called(p); turns++) {
		assert_true(turns < 10000);
		plane_turns(p, 1);
	}
	return turns;
}

/* The one that was written last; the caller frees. */
PLANE char *plane_last_record(struct plane *p)
{
	char *all = plane_records(p), *at = all, *last;

	for (char *c = all; *c; c++)
		if (*c == '\n' && c[1])
			at = c + 1;
	last = strdup(at);
	free(all);
	return last;
}

/* The reasons of all records so far, one after the other. */
PLANE void plane_reasons(struct plane *p, char *out, size_t size)
{
	char *all = plane_records(p);
	const char *at = all;
	size_t n = 0;

	while ((at = strstr(at, "\"reason\":\""))) {
		const char *end = strchr(at + 10, '"');

		n += (size_t)snprintf(out + n, size - n, "%.*s ", (int)(end - at - 10), at + 10);
		at = end;
	}
	free(all);
}

PLANE int plane_record_count(struct plane *p)
{
	char *all = plane_records(p);
	int n = 0;

	for (char *c = all; *c; c++)
		n += *c == '\n';
	free(all);
	return n;
}

/* Does any record hold this text? */
PLANE bool plane_recorded(struct plane *p, const char *text)
{
	char *all = plane_records(p);
	bool found = strstr(all, text) != NULL;

	free(all);
	return found;
}

/* Is any provider in cooldown? */
PLANE bool plane_rests(struct plane *p)
{
	const struct eg_provider *all;
	bool stated, rests = false;
	size_t count;

	all = eg_providers(eg_snapshot_policies(p->engine.snapshot), &count);
	for (size_t i = 0; i < count; i++)
		rests |= eg_cooldown_until(&p->engine, p->engine.snapshot, &all[i], &stated) > 0;
	return rests;
}

#define PLANE_PROVIDER(name)                                                                      \
	"\"" name "\": {\"kind\": \"openai\", \"endpoint\": \"http://provider.internal:%u/v1\", " \
	"\"region\": \"cluster\", \"credential\": \"key\"}"
/* One route, of all that is asked of api.openai.com, to the first provider. */
#define PLANE_POLICY                                                                           \
	"{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER(                         \
		"p0") "},"                                                                     \
		      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}}," \
		      "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", \"pods\": "  \
		      "{\"namespaces\": [\"shop\"]},"                                          \
		      "\"routes\": [{\"name\": \"chat\", \"match\": {\"hosts\": "              \
		      "[\"api.openai.com\"]},"                                                 \
		      "\"targets\": [{\"provider\": \"p0\"}]}], \"otherwise\": \"deny\"}]}"

#endif
