/* SPDX-License-Identifier: Apache-2.0 */
/* What the first bytes of a connection make of it; limits; the gateway address; drain. */
#include <openssl/ssl.h>

#include "front/connection.h"
#include "net/ca.h"
#include "plane.h"

#define POLICY(mode, otherwise)                                                                \
	"{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER(                         \
		"p0") ",\"f\":{\"kind\":\"openai\",\"endpoint\":\"https://f.example.com\","    \
		      "\"fronts\":[\"*.front.example\",\"one.example.net\"]}},"                \
		      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}}," \
		      "\"policies\": [{\"name\": \"shop\", " mode                              \
		      ", \"pods\": {\"namespaces\": [\"shop\"]},"                              \
		      "\"routes\": [{\"name\": \"chat\", \"match\": {\"hosts\": "              \
		      "[\"api.openai.com\"]},"                                                 \
		      "\"targets\": [{\"provider\": \"p0\"}]}], \"otherwise\": \"" otherwise   \
		      "\"}]}"

static const char enforce[] = POLICY("\"mode\": \"enforce\"", "deny");

struct world {
	struct plane plane; /* its engine is not used: the worker has its own */
	struct eg_worker *worker;
	int signer;
	uint16_t port;
	struct inbox in;
	struct eg_loop *first_loop;
	struct eg_cooldowns cooldowns;
	struct eg_budgets budgets;
};

static struct eg_str chain(void)
{
	static const char *const names[] = {"api.openai.com"};
	static struct eg_buf pem;
	struct eg_buf root, root_key, key;
	struct eg_error e = {""};

	if (pem.length)
		return eg_buf_str(&pem);
	eg_buf_init(&pem, 1 << 16);
	eg_buf_init(&root, 1 << 16);
	eg_buf_init_secret(&root_key, 1 << 16);
	eg_buf_init_secret(&key, 1 << 16);
	assert_int_equal(eg_ca_create_root("test", 1, &root, &root_key, &e), 0);
	assert_int_equal(eg_ca_create_intermediate(eg_buf_str(&root), eg_buf_str(&root_key), names,
						   1, 1, &pem, &key, &e),
			 0);
	eg_buf_fini(&root);
	eg_buf_fini(&root_key);
	eg_buf_fini(&key);
	return eg_buf_str(&pem);
}

static struct world *begin(const char *policy, const char *gateway, size_t pod_descriptors)
{
	struct world *w = calloc(1, sizeof(*w));
	struct eg_worker_options o = {.resolvers = "127.0.0.1",
				      .tag = "test-tag",
				      .limits = eg_default_limits,
				      .chain_pem = chain()};
	struct eg_address gateway_address;
	struct eg_snapshot *s;
	struct eg_error e = {""};
	int ends[2];

	plane_up(&w->plane, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
	w->signer = ends[0];
	o.signer_fd = ends[1];
	o.listener_fd = plane_listen(&w->port);
	o.telemetry = w->plane.telemetry;
	o.cooldowns = &w->cooldowns;
	o.budgets = &w->budgets;
	o.limits.pod_descriptors = pod_descriptors;
	o.limits.handshake_ms = 60;
	if (gateway) {
		gateway_address = plane_address(gateway);
		o.gateway4 = &gateway_address;
	}
	w->worker = eg_worker_create(&o, &e);
	if (!w->worker)
		fail_msg("%s", e.text);
	w->first_loop = w->plane.loop; /* from here on the worker's is turned */
	w->plane.loop = w->worker->loop;
	s = plane_snapshot(&w->plane, policy, true);
	eg_worker_publish(w->worker, s);
	eg_snapshot_unref(s);
	plane_turns(&w->plane, 3);
	return w;
}

static void finish(struct world *w)
{
	if (w->in.text)
		inbox_fini(&w->in);
	plane_turns(&w->plane, 3);
	w->plane.loop = NULL;
	eg_upstream_destroy(w->plane.upstream);
	eg_worker_destroy(w->worker);
	eg_loop_destroy(w->first_loop);
	eg_telemetry_destroy(w->plane.telemetry);
	assert_true(eg_lines_destroy(w->plane.log, 0));
	close(w->signer);
	close(w->plane.log_fd);
	for (int i = 0; i < 4; i++)
		close(w->plane.provider[i]);
	free(w);
}

static void dial(struct world *w)
{
	inbox_init(&w->in, plane_connect(w->port));
}

/* A real ClientHello of OpenSSL's. */
static size_t hello(const char *name, unsigned char *out, size_t cap)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *in = BIO_new(BIO_s_mem()), *sent = BIO_new(BIO_s_mem());
	int n;

	SSL_set_bio(ssl, in, sent);
	SSL_set_connect_state(ssl);
	if (name)
		SSL_set_tlsext_host_name(ssl, name);
	(void)SSL_do_handshake(ssl);
	n = BIO_read(sent, out, (int)cap);
	assert_true(n > 0);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return (size_t)n;
}

static void expect_reset(struct world *w, const char *reason)
{
	char text[64];

	inbox_await_end(&w->plane, &w->in);
	assert_true(w->in.reset);
	assert_int_equal(w->in.n, 0);
	snprintf(text, sizeof(text), "\"reason\":\"%s\"", reason);
	if (!plane_recorded(&w->plane, text))
		fail_msg("no record says %s: %s", reason, plane_records(&w->plane));
	assert_int_equal(plane_record_count(&w->plane), 1);
}

static void test_first_bytes(void **state)
{
	static const struct {
		const char *name, *raw, *reason;
	} cases[] = {
		{NULL, NULL, "no_sni"},
		{NULL, "GET / HTTP/1.1\r\nHost: api.openai.com\r\n\r\n", "bad_client_hello"},
		{NULL, "SSH-2.0-x\r\n", "bad_client_hello"},
		{"10.1.2.3", NULL, "ip_literal"},
		{"a.b.front.example", NULL, "domain_fronting"},
		{"ONE.example.net", NULL, "domain_fronting"},
		{"front.example", NULL,
		 "forbidden_destination"}, /* "*." is not the suffix itself */
		/* Ungoverned: to be passed through to 127.0.0.1, which is never dialled. */
		{"www.example.org", NULL, "forbidden_destination"},
	};
	unsigned char bytes[4096];

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct world *w = begin(enforce, NULL, 100);
		size_t n;

		dial(w);
		if (cases[i].raw) {
			plane_send(&w->plane, w->in.fd, cases[i].raw);
		} else {
			n = hello(cases[i].name, bytes, sizeof(bytes));
			plane_send_n(&w->plane, w->in.fd, (char *)bytes, n);
		}
		expect_reset(w, cases[i].reason);
		finish(w);
	}
	(void)state;
}

static void publish(struct world *w, const char *policy, bool labels_unknown)
{
	struct eg_snapshot *s;

	w->plane.labels_unknown = labels_unknown;
	s = plane_snapshot(&w->plane, policy, true);
	eg_worker_publish(w->worker, s);
	eg_snapshot_unref(s);
	plane_turns(&w->plane, 3);
}

/* A pod that a policy perhaps selects is refused by name, TLS and the gateway's address alike; once
 * it is known that none does, it is untouched. */
static void test_held_pod(void **state)
{
	static const char by_label[] = "{\"version\": \"egret/v1\", \"policies\": [{\"name\": "
				       "\"a\", \"pods\": {\"labels\": "
				       "{\"app\": \"x\"}}, \"routes\": []}]}";
	static const char *const gateways[] = {NULL, "127.0.0.1"};
	unsigned char bytes[4096];
	size_t n = hello("www.example.org", bytes, sizeof(bytes));

	for (size_t i = 0; i < EG_ARRAY_SIZE(gateways); i++) {
		struct world *w = begin(enforce, gateways[i], 100);

		publish(w, by_label, true);
		dial(w);
		if (gateways[i]) {
			plane_send(&w->plane, w->in.fd,
				   "GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n"
				   "Authorization: Bearer x\r\n\r\n");
			inbox_await(&w->plane, &w->in, " 403 ");
			inbox_await(&w->plane, &w->in, "unknown_pod");
		} else {
			plane_send_n(&w->plane, w->in.fd, (char *)bytes, n);
			expect_reset(w, "unknown_pod");
		}
		assert_true(plane_recorded(&w->plane, "\"namespace\":\"shop\",\"name\":\"a\""));
		finish(w);
	}
	for (int unknown = 0; unknown < 2; unknown++) {
		struct world *w = begin(enforce, NULL, 100);

		publish(w, unknown ? "{\"version\": \"egret/v1\"}" : by_label, unknown);
		dial(w);
		plane_send_n(&w->plane, w->in.fd, (char *)bytes, n);
		expect_reset(w, "forbidden_destination"); /* on to where it wanted, here refused */
		finish(w);
	}
	(void)state;
}

/* The hello in pieces: nothing is decided before it is whole. */
static void test_split_hello(void **state)
{
	struct world *w = begin(enforce, NULL, 100);
	unsigned char bytes[4096];
	size_t n = hello("www.example.org", bytes, sizeof(bytes));

	dial(w);
	for (size_t i = 0; i + 1 < n; i++) {
		plane_send_n(&w->plane, w->in.fd, (char *)bytes + i, 1);
		plane_turns(&w->plane, 1);
	}
	assert_int_equal(plane_record_count(&w->plane), 0);
	plane_send_n(&w->plane, w->in.fd, (char *)bytes + n - 1, 1);
	expect_reset(w, "forbidden_destination");
	assert_true(plane_recorded(&w->plane, "www.example.org"));
	finish(w);
	(void)state;
}

/* In two pieces, the connection perhaps gone after the first. */
static void send_cut(struct world *w, const char *bytes, size_t n, size_t cut)
{
	if (send(w->in.fd, bytes, cut, MSG_NOSIGNAL) != (ssize_t)cut)
		fail_msg("%zu bytes could not be sent", cut);
	plane_turns(&w->plane, 3);
	if (send(w->in.fd, bytes + cut, n - cut, MSG_NOSIGNAL) < 0)
		w->in.reset = errno == ECONNRESET; /* it is told once */
}

/* Cut at every byte, what comes first makes the same of each connection. */
static void test_first_bytes_cut(void **state)
{
	static const struct {
		const char *name, *raw, *reason;
	} cases[] = {
		{"www.example.org", NULL, "forbidden_destination"},
		{"one.example.net", NULL, "domain_fronting"},
		{NULL, NULL, "no_sni"},
		{NULL, "GET / HTTP/1.1\r\nHost: api.openai.com\r\n\r\n", "bad_client_hello"},
	};
	unsigned char bytes[4096];
	char text[64];

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct world *w = begin(enforce, NULL, 100);
		size_t n = cases[i].raw ? strlen(cases[i].raw)
					: hello(cases[i].name, bytes, sizeof(bytes));
		char *records, *at;
		size_t found = 0;

		if (cases[i].raw)
			memcpy(bytes, cases[i].raw, n);
		snprintf(text, sizeof(text), "\"reason\":\"%s\"", cases[i].reason);
		for (size_t cut = 1; cut < n; cut++) {
			dial(w);
			send_cut(w, (char *)bytes, n, cut);
			inbox_await_end(&w->plane, &w->in);
			if (!w->in.reset || w->in.n)
				fail_msg("%s, cut at %zu: no reset", cases[i].reason, cut);
			inbox_fini(&w->in);
			w->in.text = NULL;
		}
		records = plane_records(&w->plane);
		for (at = records; (at = strstr(at, text)); at++)
			found++;
		free(records);
		assert_int_equal(found, n - 1);
		assert_int_equal(plane_record_count(&w->plane), n - 1);
		finish(w);
	}
	(void)state;
}

/* A governed name is terminated: the worker asks the signer for a leaf, by name. */
static void expect_minted(const char *policy)
{
	struct world *w = begin(policy, NULL, 100);
	unsigned char bytes[4096];
	size_t n = hello("api.openai.com", bytes, sizeof(bytes));
	char message[4096];
	ssize_t got = -1;

	dial(w);
	plane_send_n(&w->plane, w->in.fd, (char *)bytes, n);
	for (int i = 0; i < PLANE_TURNS && got < 0; i++) {
		plane_turn(&w->plane);
		got = recv(w->signer, message, sizeof(message), MSG_DONTWAIT);
	}
	assert_true(got > 0);
	assert_non_null(memmem(message, (size_t)got, "api.openai.com", 14));
	finish(w);
}

static void test_governed_name_is_minted(void **state)
{
	expect_minted(enforce);
	expect_minted(POLICY("\"mode\": \"shadow\", \"shadow\": \"full\"", "deny"));
	(void)state;
}

static void test_shadow_changes_nothing(void **state)
{
	struct world *w = begin(POLICY("\"mode\": \"shadow\"", "deny"), NULL, 100);
	unsigned char bytes[4096];
	size_t n = hello("api.openai.com", bytes, sizeof(bytes));

	dial(w);
	plane_send_n(&w->plane, w->in.fd, (char *)bytes, n);
	/* Never terminated: it would go on to where the pod wanted, which here is refused. */
	expect_reset(w, "forbidden_destination");
	assert_true(plane_recorded(&w->plane, "\"shadow\":true"));
	finish(w);
	w = begin(POLICY("\"mode\": \"shadow\", \"shadow\": \"full\"", "deny"), NULL, 100);
	n = hello("one.example.net", bytes, sizeof(bytes));
	dial(w);
	plane_send_n(&w->plane, w->in.fd, (char *)bytes, n);
	expect_reset(w, "forbidden_destination"); /* not "domain_fronting": it went on */
	finish(w);
	(void)state;
}

/* What `shadow: full` can't pass on is refused, and the record says what mode it was. */
static void test_shadow_full_is_on_record(void **state)
{
	struct world *w =
		begin(POLICY("\"mode\": \"shadow\", \"shadow\": \"full\"", "deny"), NULL, 100);
	unsigned char bytes[4096];
	size_t n = hello("api.openai.com", bytes, sizeof(bytes));

	dial(w);
	plane_send_n(&w->plane, w->in.fd, (char *)bytes, n);
	inbox_await_end(&w->plane, &w->in); /* the signer never answers */
	assert_true(w->in.reset);
	assert_true(plane_recorded(&w->plane, "\"shadow\":true"));
	assert_int_equal(plane_record_count(&w->plane), 1);
	finish(w);
	(void)state;
}

static void test_half_open_ends(void **state)
{
	struct world *w = begin(enforce, NULL, 100);

	dial(w);
	expect_reset(w, "bad_client_hello");
	finish(w);
	(void)state;
}

/* Hellos that never end fill their pod's budget, and then their connections are reset. */
static void test_half_hellos_are_charged(void **state)
{
	enum { COUNT = 30 };
	static const unsigned char record[] = {22, 3, 1, 0x40, 0, 1, 0, 0xf0, 0, 3, 3};
	static char part[16000];
	struct world *w = begin(enforce, NULL, 100);
	int fd[COUNT];

	w->worker->engine.limits.pod_bytes = 200000;
	for (int i = 0; i < COUNT; i++) {
		fd[i] = plane_connect(w->port);
		(void)!send(fd[i], record, sizeof(record), MSG_NOSIGNAL);
		(void)!send(fd[i], part, sizeof(part), MSG_NOSIGNAL);
		plane_turns(&w->plane, 5);
	}
	assert_true(plane_recorded(&w->plane, "\"reason\":\"pod_budget\""));
	assert_true(w->worker->connection_count >= 3);
	assert_true(w->worker->connection_count < COUNT / 2);
	assert_true(w->budgets.node.held_bytes <= 200000);
	for (int i = 0; i < COUNT; i++)
		close(fd[i]);
	for (int i = 0; i < PLANE_TURNS && w->worker->connection_count; i++)
		plane_turn(&w->plane);
	assert_int_equal(w->budgets.node.held_bytes, 0);
	finish(w);
	(void)state;
}

static void test_pod_connection_limit(void **state)
{
	struct world *w = begin(enforce, NULL, 2);
	int first = plane_connect(w->port), second = plane_connect(w->port);

	plane_turns(&w->plane, 5);
	assert_int_equal(w->worker->connection_count, 2);
	dial(w);
	expect_reset(w, "pod_budget");
	assert_int_equal(w->worker->connection_count, 2);
	assert_int_equal(w->budgets.node.descriptors, 2);
	close(first);
	close(second);
	for (int i = 0; i < PLANE_TURNS && w->worker->connection_count; i++)
		plane_turn(&w->plane);
	assert_int_equal(w->budgets.node.descriptors, 0);
	finish(w);
	(void)state;
}

/* The gateway address: plain HTTP with rules of its own. */
static void test_gateway_rules(void **state)
{
	static const struct {
		const char *headers, *status, *reason;
	} cases[] = {
		{"Host: 127.0.0.1\r\n", "401", "no_placeholder"},
		{"Host: 127.0.0.1\r\nAuthorization: Bearer x\r\nOrigin: http://evil\r\n", "403",
		 "origin_refused"},
		{"Host: api.openai.com\r\nAuthorization: Bearer x\r\n", "421", "host_mismatch"},
		{"Host: 127.0.0.2\r\nAuthorization: Bearer x\r\n", "421", "host_mismatch"},
		{"Host: 127.0.0.1:99\r\nAuthorization: Bearer x\r\n", "421", "host_mismatch"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct world *w = begin(enforce, "127.0.0.1", 100);
		char text[512];

		dial(w);
		snprintf(text, sizeof(text), "GET /v1/chat/completions HTTP/1.1\r\n%s\r\n",
			 cases[i].headers);
		plane_send(&w->plane, w->in.fd, text);
		snprintf(text, sizeof(text), "HTTP/1.1 %s ", cases[i].status);
		inbox_await(&w->plane, &w->in, text);
		inbox_await(&w->plane, &w->in, cases[i].reason);
		finish(w);
	}
	(void)state;
}

/* No server name says what the caller speaks; refused before its operation is looked up, or with a
 * head that can't be read at all, it is answered in its own dialect all the same. */
static void test_plain_denials_in_dialect(void **state)
{
	static const struct {
		const char *head, *reason;
		bool anthropic;
	} cases[] = {
		{"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\n", "host_mismatch", true},
		{"POST /v1/messages HTTP/1.1\r\nHost: 127.0.0.1:99\r\n", "host_mismatch", true},
		{"POST /v1/messages HTTP/1.1\r\n", "bad_request", true},
		{"POST /v1/messages?beta=true HTTP/1.1\r\nHost: a\r\nHost: b\r\n", "bad_request",
		 true},
		{"POST /v1/messages/../x HTTP/1.1\r\nHost: 127.0.0.1\r\n", "path_unsafe", true},
		{"POST /v1/messages#x HTTP/1.1\r\nHost: 127.0.0.1\r\n", "bad_request", true},
		{"POST http://x/v1/messages HTTP/1.1\r\nHost: 127.0.0.1\r\n", "bad_request", true},
		{"\r\nPOST /v1/messages HTTP/1.7\r\nHost: 127.0.0.1\r\n", "http_version", true},
		{"POST /v1/messages HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: "
		 "chunked\r\n",
		 "request_smuggling", true},
		{"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n", "host_mismatch",
		 false},
		{"POST /v1/chat/completions HTTP/1.1\r\nX : y\r\n", "bad_request", false},
		{"\001\r\n", "bad_request", false},
		{"POST\r\n", "bad_request", false},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct world *w = begin(enforce, "127.0.0.1", 100);

		dial(w);
		plane_send(&w->plane, w->in.fd, cases[i].head);
		plane_send(&w->plane, w->in.fd, "x-api-key: x\r\n\r\n");
		inbox_await(&w->plane, &w->in, cases[i].reason);
		inbox_await(&w->plane, &w->in, "request_id");
		assert_int_equal(inbox_has(&w->in, "{\"type\":\"error\",\"error\":{"),
				 cases[i].anthropic);
		assert_int_equal(inbox_has(&w->in, "\r\n\r\n{\"error\":{"), !cases[i].anthropic);
		finish(w);
	}
	(void)state;
}

/* HTTP/1.0 needs no Host elsewhere; here it is what a tricked fetch can't set. */
static void test_gateway_needs_host(void **state)
{
	struct world *w = begin(enforce, "127.0.0.1", 100);

	dial(w);
	plane_send(&w->plane, w->in.fd,
		   "GET /v1/models HTTP/1.0\r\nAuthorization: Bearer x\r\n\r\n");
	inbox_await(&w->plane, &w->in, " 400 ");
	inbox_await(&w->plane, &w->in, "bad_request");
	finish(w);
	(void)state;
}

static void test_gateway_serves(void **state)
{
	struct world *w = begin(enforce, "127.0.0.1", 100);
	struct inbox up;
	static const char body[] = "{\"model\":\"gpt-4o\",\"messages\":[]}";
	char text[512];

	dial(w);
	snprintf(text, sizeof(text),
		 "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nx-api-key: x\r\n"
		 "Content-Type: application/json\r\nContent-Length: 32\r\n\r\n%s",
		 w->port, body);
	plane_send(&w->plane, w->in.fd, text);
	inbox_init(&up, plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &up, body);
	assert_true(inbox_has(&up, PLANE_KEY));
	plane_send(&w->plane, up.fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
	inbox_await(&w->plane, &w->in, "{}");
	inbox_fini(&up);
	finish(w);
	(void)state;
}

static bool counted(struct world *w, const char *reason)
{
	struct eg_buf out;
	char line[128];
	bool found;

	snprintf(line, sizeof(line),
		 "egret_connections_ended_total{gateway=\"test\",reason=\"%s\"} 1\n", reason);
	eg_buf_init(&out, 1 << 20);
	assert_int_equal(eg_telemetry_render(&w->plane.telemetry, 1, &out), 0);
	found = memmem(eg_buf_data(&out), out.length, line, strlen(line)) != NULL;
	eg_buf_fini(&out);
	return found;
}

/* Opened and never used: one record, whoever ended it. */
static void test_unused_is_on_record(void **state)
{
	static const char *const reasons[] = {"client_closed", "client_closed", "request_timeout"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(reasons); i++) {
		struct world *w = begin(enforce, "127.0.0.1", 100);
		char text[64];

		w->worker->engine.limits.head_ms = i == 2 ? 20 : 10000;
		dial(w);
		plane_turns(&w->plane, 5);
		assert_int_equal(w->worker->connection_count, 1);
		if (i == 0)
			assert_int_equal(shutdown(w->in.fd, SHUT_WR), 0);
		if (i == 1) {
			close_reset(w->in.fd);
			w->in.fd = dup(0);
		}
		for (int n = 0; n < PLANE_TURNS && w->worker->connection_count; n++)
			plane_turn(&w->plane);
		assert_int_equal(plane_record_count(&w->plane), 1);
		snprintf(text, sizeof(text), "\"reason\":\"%s\"", reasons[i]);
		assert_true(plane_recorded(&w->plane, text));
		assert_true(plane_recorded(&w->plane, "\"type\":\"connection\""));
		assert_true(counted(w, reasons[i]));
		finish(w);
	}
	(void)state;
}

/* One that had a request needs none: its requests are on record. */
static void test_used_is_not(void **state)
{
	struct world *w = begin(enforce, "127.0.0.1", 100);

	dial(w);
	plane_send(&w->plane, w->in.fd, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
	inbox_await(&w->plane, &w->in, "HTTP/1.1 4");
	assert_int_equal(shutdown(w->in.fd, SHUT_WR), 0);
	for (int n = 0; n < PLANE_TURNS && w->worker->connection_count; n++)
		plane_turn(&w->plane);
	assert_int_equal(plane_record_count(&w->plane), 1);
	assert_false(plane_recorded(&w->plane, "\"type\":\"connection\""));
	finish(w);
	(void)state;
}

/* Prior knowledge: the preface, in pieces too, is HTTP/2's and nothing else is. */
static void test_preface(void **state)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	static const char settings[9] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
	static const struct {
		const char *text, *expected;
	} others[] = {
		{"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "http_version"},
		{"PRI * HTTP/1.1\r\nHost: 127.0.0.1\r\nx-api-key: x\r\n\r\n", "bad_request"},
		{"P", NULL},
	};

	for (size_t cut = 1; cut < sizeof(preface) - 1; cut++) {
		struct world *w = begin(enforce, "127.0.0.1", 100);

		dial(w);
		send_cut(w, preface, sizeof(preface) - 1, cut);
		plane_send_n(&w->plane, w->in.fd, settings, sizeof(settings));
		inbox_await_bytes(&w->plane, &w->in, 9);
		assert_int_equal(w->in.text[3], 4); /* SETTINGS */
		finish(w);
	}
	for (size_t piece = 1; piece <= sizeof(preface) - 1; piece += 11) {
		struct world *w = begin(enforce, "127.0.0.1", 100);

		dial(w);
		for (size_t at = 0; at < sizeof(preface) - 1; at += piece) {
			plane_send_n(&w->plane, w->in.fd, preface + at,
				     EG_MIN(piece, sizeof(preface) - 1 - at));
			plane_turns(&w->plane, 3);
		}
		plane_send_n(&w->plane, w->in.fd, settings, sizeof(settings));
		inbox_await_bytes(&w->plane, &w->in, 9);
		assert_int_equal(w->in.text[3], 4); /* SETTINGS */
		finish(w);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(others); i++) {
		struct world *w = begin(enforce, "127.0.0.1", 100);

		for (size_t cut = 1; others[i].expected && cut < strlen(others[i].text); cut++) {
			dial(w);
			send_cut(w, others[i].text, strlen(others[i].text), cut);
			inbox_await(&w->plane, &w->in, others[i].expected);
			inbox_fini(&w->in);
			w->in.text = NULL;
		}
		dial(w);
		plane_send(&w->plane, w->in.fd, others[i].text);
		if (others[i].expected) {
			inbox_await(&w->plane, &w->in, others[i].expected);
		} else { /* half of something, and then the end */
			plane_turns(&w->plane, 5);
			shutdown(w->in.fd, SHUT_WR);
			inbox_await_end(&w->plane, &w->in);
		}
		finish(w);
	}
	(void)state;
}

/* Half a preface, and silence: the time for a head, then the HTTP/1.1 server's word. */
static void test_preface_timeout(void **state)
{
	for (int bytes = 0; bytes < 2; bytes++) {
		struct world *w = begin(enforce, "127.0.0.1", 100);

		w->worker->engine.limits.head_ms = 60;
		dial(w);
		plane_send_n(&w->plane, w->in.fd, "PRI * HT", bytes ? 8 : 0);
		inbox_await_end(&w->plane, &w->in);
		assert_int_equal(inbox_has(&w->in, "HTTP/1.1 408 "), bytes);
		finish(w);
	}
	(void)state;
}

/* Drain: nothing is accepted, idle connections end, run() returns when the last is gone. */
static void test_drain(void **state)
{
	struct world *w = begin(enforce, "127.0.0.1", 100);

	dial(w);
	plane_turns(&w->plane, 5);
	assert_int_equal(w->worker->connection_count, 1);
	eg_worker_drain(w->worker, 60000, false);
	assert_int_equal(eg_worker_run(w->worker), 0);
	inbox_await_end(&w->plane, &w->in);
	assert_true(w->in.end);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"draining\""));
	assert_true(eg_worker_turns(w->worker) > 0);
	finish(w);
	(void)state;
}

/* Another gateway serves on: an idle connection gets its next request answered, which says the
 * last. */
static void test_drain_gently(void **state)
{
	struct world *w = begin(enforce, "127.0.0.1", 100);
	char text[200];

	dial(w);
	plane_turns(&w->plane, 5);
	eg_worker_drain(w->worker, 60000, true);
	plane_turns(&w->plane, 5);
	assert_int_equal(w->worker->connection_count, 1);
	snprintf(text, sizeof(text),
		 "GET /v1/nothing HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nx-api-key: x\r\n\r\n", w->port);
	plane_send(&w->plane, w->in.fd, text);
	inbox_await(&w->plane, &w->in, "\r\nconnection: close\r\n");
	assert_int_equal(eg_worker_run(w->worker), 0);
	inbox_await_end(&w->plane, &w->in);
	finish(w);
	(void)state;
}

/* ... and when none came for a second it ends in order, long before the limit, so that no request
 * begins with less than the time it needs. What is in the middle of a request has it all. */
static void test_drain_gently_idle(void **state)
{
	struct world *w = begin(enforce, "127.0.0.1", 100);
	struct inbox idle;
	uint64_t began;
	char text[200];

	dial(w);
	plane_turns(&w->plane, 5);
	idle = w->in;
	dial(w);
	plane_send(&w->plane, w->in.fd, "GET /v1/nothing HT");
	plane_turns(&w->plane, 5);
	began = eg_now_ms();
	eg_worker_drain(w->worker, 60000, true);
	while (w->worker->connection_count > 1 && eg_now_ms() - began < 5000)
		plane_turn(&w->plane);
	assert_int_equal(w->worker->connection_count, 1);
	assert_true(eg_now_ms() - began >= 1000);
	inbox_await_end(&w->plane, &idle);
	assert_false(idle.reset);
	assert_int_equal(idle.n, 0);
	snprintf(text, sizeof(text), "TP/1.1\r\nHost: 127.0.0.1:%u\r\nx-api-key: x\r\n\r\n",
		 w->port);
	plane_send(&w->plane, w->in.fd, text);
	inbox_await(&w->plane, &w->in, "\r\nconnection: close\r\n");
	assert_int_equal(eg_worker_run(w->worker), 0);
	inbox_fini(&idle);
	finish(w);
	(void)state;
}

/* A request that is there already, and was not read, is no idle connection's. */
static void test_drain_unread(void **state)
{
	struct world *w = begin(enforce, "127.0.0.1", 100);
	char text[200];

	dial(w);
	plane_turns(&w->plane, 5);
	snprintf(text, sizeof(text),
		 "GET /v1/nothing HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nx-api-key: x\r\n\r\n", w->port);
	assert_int_equal(send(w->in.fd, text, strlen(text), MSG_NOSIGNAL), (int)strlen(text));
	eg_worker_drain(w->worker, 60000, false);
	inbox_await(&w->plane, &w->in, "\r\nconnection: close\r\n");
	assert_int_equal(eg_worker_run(w->worker), 0);
	finish(w);
	(void)state;
}

/* ... and ends in order when none came. */
static void test_drain_gently_limit(void **state)
{
	struct world *w = begin(enforce, "127.0.0.1", 100);

	dial(w);
	plane_turns(&w->plane, 5);
	eg_worker_drain(w->worker, 1, true);
	assert_int_equal(eg_worker_run(w->worker), 0);
	inbox_await_end(&w->plane, &w->in);
	assert_int_equal(w->in.n, 0);
	finish(w);
	(void)state;
}

/* ... or after its time, with a reset. */
static void test_drain_limit(void **state)
{
	struct world *w = begin(enforce, "127.0.0.1", 100);

	dial(w);
	plane_send(&w->plane, w->in.fd, "GET / HT");
	plane_turns(&w->plane, 5);
	eg_worker_drain(w->worker, 1, false);
	assert_int_equal(eg_worker_run(w->worker), 0);
	inbox_await_end(&w->plane, &w->in);
	finish(w);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_bytes),
		cmocka_unit_test(test_held_pod),
		cmocka_unit_test(test_split_hello),
		cmocka_unit_test(test_first_bytes_cut),
		cmocka_unit_test(test_governed_name_is_minted),
		cmocka_unit_test(test_shadow_changes_nothing),
		cmocka_unit_test(test_shadow_full_is_on_record),
		cmocka_unit_test(test_half_open_ends),
		cmocka_unit_test(test_half_hellos_are_charged),
		cmocka_unit_test(test_pod_connection_limit),
		cmocka_unit_test(test_gateway_rules),
		cmocka_unit_test(test_plain_denials_in_dialect),
		cmocka_unit_test(test_gateway_needs_host),
		cmocka_unit_test(test_gateway_serves),
		cmocka_unit_test(test_preface),
		cmocka_unit_test(test_preface_timeout),
		cmocka_unit_test(test_unused_is_on_record),
		cmocka_unit_test(test_used_is_not),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_drain_limit),
		cmocka_unit_test(test_drain_gently),
		cmocka_unit_test(test_drain_gently_idle),
		cmocka_unit_test(test_drain_gently_limit),
		cmocka_unit_test(test_drain_unread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
