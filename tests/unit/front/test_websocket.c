/* SPDX-License-Identifier: Apache-2.0 */
/* A WebSocket from a pod to a provider: who may open one, what goes through, how it ends. */
#include "pod.h"

#define POLICY(operations, more)                                                                  \
	"{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER("p0") ", " PLANE_PROVIDER(  \
		"p1") "},"                                                                        \
		      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"    \
		      "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", \"pods\": "     \
		      "{\"namespaces\": [\"shop\"]},"                                             \
		      "\"routes\": [{\"name\": \"live\", \"match\": {\"hosts\": "                 \
		      "[\"api.openai.com\"], " operations "\"models\": [\"gpt-realtime*\"]},"     \
		      "\"targets\": [{\"provider\": \"p0\"}, {\"provider\": \"p1\"}]" more "}], " \
		      "\"otherwise\": \"deny\"}]}"
#define LISTED "\"operations\": [\"realtime\", \"models\"], "

#define KEY    "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" /* RFC 6455 section 1.3 */
#define OPEN_WITH(path, more)                                                        \
	"GET " path " HTTP/1.1\r\n" HEADERS                                          \
	"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" \
	"Sec-WebSocket-Key: " KEY "\r\n" more "\r\n"
#define OPEN OPEN_WITH("/v1/realtime?model=gpt-realtime", "")
#define GRANT                                                                               \
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
	"Sec-WebSocket-Accept: " ACCEPT "\r\n\r\n"

struct world {
	struct plane plane;
	struct pod pod;
	struct inbox up;
};

static int begin(void **state, const char *policy)
{
	struct world *w = calloc(1, sizeof(*w));

	plane_up(&w->plane, policy);
	pod_open(&w->pod, &w->plane, "api.openai.com");
	w->up.fd = -1;
	*state = w;
	return 0;
}

static int setup(void **state)
{
	return begin(state,
		     POLICY(LISTED,
			    ", \"timeouts\": {\"connect_ms\": 1000, \"first_byte_ms\": 1000, "
			    "\"idle_ms\": 1000, \"total_ms\": 1500}"));
}

/* Policy's own times are long. */
static int setup_patient(void **state)
{
	return begin(state, POLICY(LISTED, ""));
}

static int teardown(void **state)
{
	struct world *w = *state;

	pod_close(&w->pod);
	if (w->up.text)
		inbox_fini(&w->up);
	plane_down(&w->plane);
	free(w);
	return 0;
}

static void accept_upstream(struct world *w, int which)
{
	if (w->up.text)
		inbox_fini(&w->up);
	inbox_init(&w->up, plane_accept(&w->plane, w->plane.provider[which]));
}

/* Until both sides have their 101. */
static void open_socket(struct world *w, const char *request)
{
	pod_send(&w->pod, request);
	accept_upstream(w, 0);
	inbox_await(&w->plane, &w->up, "\r\n\r\n");
	plane_send(&w->plane, w->up.fd, GRANT);
	inbox_await(&w->plane, &w->pod.in, "\r\n\r\n");
}

static void test_handshake(void **state)
{
	struct world *w = *state;

	open_socket(
		w,
		OPEN_WITH(
			"/v1/realtime?model=gpt-realtime",
			"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk-of-the-pod, "
			"openai-organization.org-1\r\nSec-WebSocket-Extensions: "
			"permessage-deflate\r\n"
			"Origin: https://app.example\r\nOpenAI-Beta: realtime=v1\r\n"));
	assert_true(inbox_has(&w->up, "GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\n"));
	assert_true(inbox_has(&w->up, "connection: upgrade\r\nupgrade: websocket\r\n"));
	assert_true(inbox_has(&w->up, "Sec-WebSocket-Key: " KEY "\r\n"));
	assert_true(inbox_has(&w->up, "Sec-WebSocket-Version: 13\r\n"));
	assert_true(inbox_has(&w->up, "Sec-WebSocket-Protocol: realtime\r\n"));
	assert_false(inbox_has(&w->up, "Extensions")); /* compressed, a quoted key is not seen */
	assert_true(inbox_has(&w->up, "OpenAI-Beta: realtime=v1\r\n"));
	assert_true(inbox_has(&w->up, "Authorization: Bearer " PLANE_KEY "\r\n"));
	assert_false(inbox_has(&w->up, "sk-of-the-pod"));
	assert_false(inbox_has(&w->up, "org-1"));
	assert_false(inbox_has(&w->up, "placeholder"));
	assert_false(inbox_has(&w->up, "content-length"));
	assert_true(inbox_has(&w->pod.in, "HTTP/1.1 101 Switching Protocols\r\n"));
	assert_true(inbox_has(&w->pod.in, "connection: upgrade\r\nupgrade: websocket\r\n"));
	assert_true(inbox_has(&w->pod.in, "Sec-WebSocket-Accept: " ACCEPT "\r\n"));
	assert_false(inbox_has(&w->pod.in, "transfer-encoding"));
}

/* A subprotocol is the one thing of a handshake that may hold anything: what carries a key goes no
 * further, and what no API defines is not sent. */
static void test_subprotocols(void **state)
{
#define OFFER(list) \
	OPEN_WITH("/v1/realtime?model=gpt-realtime", "Sec-WebSocket-Protocol: " list "\r\n")
	static const char *const refused[] = {
		OFFER("realtime, sk-of-the-pod"),
		OFFER("realtime, authorization.sk-of-the-pod"),
		OFFER("realtime, \"openai-insecure-api-key.sk-of-the-pod\""),
		OFFER("realtime\r\nSec-WebSocket-Protocol: bearer.sk-of-the-pod"),
		OFFER("Realtime"),
		OFFER("realtime, openai-agents-sdk.sk-of-the-pod"),
		OFFER("realtime, openai-agents-sdk.0123456789abcdefghijklmnopqrstuvwxyz"),
	};
	struct world *w = *state;

	for (size_t i = 0; i < EG_ARRAY_SIZE(refused); i++) {
		pod_send(&w->pod, refused[i]);
		inbox_await(&w->plane, &w->pod.in, "\r\n\r\n");
		assert_true(inbox_has(&w->pod.in, "HTTP/1.1 400 "));
		assert_true(inbox_has(&w->pod.in, "x-egret-reason: bad_request"));
		assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
		pod_close(&w->pod);
		pod_open(&w->pod, &w->plane, "api.openai.com");
	}
	open_socket(w, OFFER("realtime, openai-beta.realtime-v1, openai-agents-sdk.0.4.2-beta.1, "
			     "xai-client-secret.sk-of-the-pod, "
			     "openai-insecure-api-key.sk-of-the-pod"));
	assert_true(inbox_has(
		&w->up, "Sec-WebSocket-Protocol: "
			"realtime,openai-beta.realtime-v1,openai-agents-sdk.0.4.2-beta.1\r\n"));
	assert_false(inbox_has(&w->up, "sk-of-the-pod"));
}

/* Frames that came with the handshake wait for the 101; then bytes go both ways as they are. */
static void test_bytes_both_ways(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, OPEN "early");
	accept_upstream(w, 0);
	inbox_await(&w->plane, &w->up, "\r\n\r\n");
	plane_turns(&w->plane, 20);
	inbox_poll(&w->up);
	assert_false(inbox_has(&w->up, "early"));
	plane_send(&w->plane, w->up.fd, GRANT "\x81\x05hello");
	inbox_await(&w->plane, &w->up, "\r\n\r\nearly");
	inbox_await(&w->plane, &w->pod.in, "\r\n\r\n\x81\x05hello");
	for (int i = 0; i < 50; i++) {
		inbox_forget(&w->up);
		inbox_forget(&w->pod.in);
		plane_trickle(&w->plane, w->pod.in.fd, "GET / HTTP/1.1");
		inbox_await(&w->plane, &w->up, "GET / HTTP/1.1");
		assert_int_equal(w->up.n, 14);
		plane_trickle(&w->plane, w->up.fd, "HTTP/1.1 500 no\r\n\r\n");
		inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 500 no\r\n\r\n");
		assert_int_equal(w->pod.in.n, 19);
	}
}

static void check_record(struct world *w, const char *what)
{
	plane_turns(&w->plane, 5);
	assert_int_equal(plane_record_count(&w->plane), 1);
	if (!plane_recorded(&w->plane, what))
		fail_msg("%s is not in %s", what, plane_records(&w->plane));
}

static void test_provider_ends(void **state)
{
	struct world *w = *state;

	open_socket(w, OPEN);
	plane_send(&w->plane, w->up.fd, "\x88\x02\x03\xe8");
	shutdown(w->up.fd, SHUT_WR);
	inbox_await(&w->plane, &w->pod.in, "\x88\x02\x03\xe8");
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(w->pod.in.end);
	assert_false(w->pod.in.reset);
	check_record(w, "\"status\":101");
	assert_true(plane_recorded(&w->plane, "\"reason\":\"ok\""));
	assert_true(plane_recorded(&w->plane, "\"model\":\"gpt-realtime\""));
	assert_true(plane_recorded(&w->plane, "\"operation\":\"realtime\""));
}

/* The client's end goes on after its last bytes, and the provider's last bytes still come. */
static void test_client_ends(void **state)
{
	struct world *w = *state;

	open_socket(w, OPEN);
	pod_send(&w->pod, "last words");
	shutdown(w->pod.in.fd, SHUT_WR);
	inbox_await(&w->plane, &w->up, "last words");
	inbox_await_end(&w->plane, &w->up);
	assert_true(w->up.end);
	plane_send(&w->plane, w->up.fd, "good bye");
	shutdown(w->up.fd, SHUT_WR);
	inbox_await(&w->plane, &w->pod.in, "good bye");
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(w->pod.in.end);
	check_record(w, "\"reason\":\"ok\"");
}

/* The client ended, and the provider neither says anything nor ends: docs/limits.md. */
static void test_client_ends_alone(void **state)
{
	struct world *w = *state;

	assert_int_equal(w->plane.engine.limits.tunnel_end_ms, 10000);
	w->plane.engine.limits.tunnel_end_ms = 100;
	open_socket(w, OPEN);
	shutdown(w->pod.in.fd, SHUT_WR);
	inbox_await_end(&w->plane, &w->up);
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(w->pod.in.reset);
	check_record(w, "\"reason\":\"upstream_timeout\"");
}

static void test_resets(void **state)
{
	struct world *w = *state;

	open_socket(w, OPEN);
	close_reset(w->up.fd);
	w->up.fd = -1;
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(w->pod.in.reset);
	check_record(w, "\"reason\":\"upstream_reset\"");
}

static void test_client_resets(void **state)
{
	struct world *w = *state;

	open_socket(w, OPEN);
	close_reset(w->pod.in.fd);
	w->pod.in.fd = socket(AF_INET, SOCK_STREAM, 0);
	inbox_await_end(&w->plane, &w->up);
	check_record(w, "\"reason\":\"client_closed\"");
}

static void turn_for(struct world *w, uint64_t ms)
{
	for (uint64_t end = eg_now_ms() + ms; eg_now_ms() < end;)
		plane_turn(&w->plane);
}

/* Silence of both ends it; traffic of one side keeps it, beyond total_ms. */
static void test_idle(void **state)
{
	struct world *w = *state;

	open_socket(w, OPEN);
	for (int i = 0; i < 5; i++) {
		turn_for(w, 500);
		pod_send(&w->pod, "x");
	}
	inbox_poll(&w->pod.in);
	assert_false(w->pod.in.end || w->pod.in.reset);
	inbox_await_end(&w->plane, &w->pod.in);
	check_record(w, "\"reason\":\"upstream_timeout\"");
	/* Nobody had anything to say: that is no failure of the provider. */
	assert_false(plane_rests(&w->plane));
}

/* A client that does not read stops the provider, and the other way round; all arrives. */
static void test_back_pressure(void **state)
{
	enum { BYTES = 8 << 20 };
	static char block[65536];
	struct world *w = *state;
	size_t sent = 0, idle = 0;

	open_socket(w, OPEN);
	inbox_forget(&w->pod.in);
	memset(block, 'b', sizeof(block));
	while (idle < 200) {
		ssize_t r = send(w->up.fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (r > 0)
			sent += (size_t)r;
		idle = r > 0 ? 0 : idle + 1;
		plane_turns(&w->plane, 2);
		assert_true(sent < 64u << 20);
	}
	assert_true(w->pod.server.out.size <= 256u << 10);
	inbox_await_bytes(&w->plane, &w->pod.in, sent);
	assert_int_equal(w->pod.in.n, sent);
	for (sent = idle = 0; idle < 200; plane_turns(&w->plane, 2)) {
		ssize_t r = send(w->pod.in.fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);

		sent += r > 0 ? (size_t)r : 0;
		idle = r > 0 ? 0 : idle + 1;
		assert_true(sent < 64u << 20);
	}
	assert_true(w->plane.engine.held_bytes <= 512u << 10);
	inbox_forget(&w->up);
	inbox_await_bytes(&w->plane, &w->up, sent);
	assert_int_equal(w->up.n, sent);
}

/* Before the 101 a target may fail: the next one is asked. */
static void test_failover(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, OPEN);
	accept_upstream(w, 0);
	inbox_await(&w->plane, &w->up, "\r\n\r\n");
	plane_send(&w->plane, w->up.fd,
		   "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
	accept_upstream(w, 1);
	inbox_await(&w->plane, &w->up, "Sec-WebSocket-Key: " KEY);
	plane_send(&w->plane, w->up.fd, GRANT);
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 101");
}

/* A 101 that does not belong to the handshake opens nothing. */
static void test_false_grant(void **state)
{
	static const char *const grants[] = {
		"HTTP/1.1 101 Ok\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
		"HTTP/1.1 101 Ok\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Accept: " ACCEPT "\r\n\r\n",
	};
	struct world *w = *state;

	pod_send(&w->pod, OPEN);
	for (int i = 0; i < 2; i++) {
		accept_upstream(w, i);
		inbox_await(&w->plane, &w->up, "\r\n\r\n");
		plane_send(&w->plane, w->up.fd, grants[i]);
	}
	inbox_await(&w->plane, &w->pod.in, "upstream_protocol");
	assert_true(inbox_has(&w->pod.in, "HTTP/1.1 502 "));
}

/* Nor does one with an extension, which was not asked for (RFC 6455 section 4.1), though the pod
 * had offered it: what comes then could not be searched for the key. */
static void test_extension_granted(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, OPEN_WITH("/v1/realtime?model=gpt-realtime",
				    "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
	for (int i = 0; i < 2; i++) {
		accept_upstream(w, i);
		inbox_await(&w->plane, &w->up, "\r\n\r\n");
		plane_send(&w->plane, w->up.fd,
			   "HTTP/1.1 101 Ok\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			   "Sec-WebSocket-Accept: " ACCEPT
			   "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
	}
	inbox_await(&w->plane, &w->pod.in, "upstream_protocol");
	assert_true(inbox_has(&w->pod.in, "HTTP/1.1 502 "));
}

/* What refuses an answer with a body; the connection goes on. */
static void test_refused_by_provider(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, OPEN);
	accept_upstream(w, 0);
	inbox_await(&w->plane, &w->up, "\r\n\r\n");
	plane_send(&w->plane, w->up.fd,
		   "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: "
		   "2\r\n\r\n{}");
	inbox_await(&w->plane, &w->pod.in, "{}");
	assert_true(inbox_has(&w->pod.in, "HTTP/1.1 404 "));
	inbox_forget(&w->pod.in);
	pod_send(&w->pod, "GET /v1/nothing HTTP/1.1\r\n" HEADERS "\r\n");
	inbox_await(&w->plane, &w->pod.in, "unknown_operation");
}

static void test_refused(void **state)
{
	static const struct {
		const char *request, *reason;
	} cases[] = {
		{OPEN_WITH("/v1/realtime?model=gpt-4o", ""), "model_denied"},
		{OPEN_WITH("/v1/realtime", ""), "no_model"},
		{OPEN_WITH("/v1/realtime?model=gpt-realtime&call_id=rtc_1", ""), "unknown_query"},
		{OPEN_WITH("/v1/realtime?model=gpt-realtime&model=gpt-realtime", ""),
		 "bad_request"},
		{OPEN_WITH("/v1/realtime?model=gpt-realtime&mode%6c=gpt-4o", ""), "bad_request"},
		{OPEN_WITH("/v1/realtime?mode%6c=gpt-realtime", ""), "unknown_query"},
		{OPEN_WITH("/v1/realtime?model=gpt%252drealtime", ""), "bad_request"},
		{OPEN_WITH("/v1/models/gpt-realtime", ""), "upgrade_refused"},
		{OPEN_WITH("/v1/files", ""), "stateful_denied"},
		{"GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\n" HEADERS "\r\n", "bad_request"},
		{"GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\n" HEADERS
		 "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 12\r\n"
		 "Sec-WebSocket-Key: " KEY "\r\n\r\n",
		 "bad_request"},
		{"GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\n" HEADERS
		 "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
		 "Sec-WebSocket-Key: short\r\n\r\n",
		 "bad_request"},
		{"POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON
		 "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
		 "Sec-WebSocket-Key: " KEY "\r\nContent-Length: 2\r\n\r\n{}",
		 "bad_request"},
	};
	struct world *w = *state;

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct pod pod;
		char line[64];

		pod_open(&pod, &w->plane, "api.openai.com");
		pod_send(&pod, cases[i].request);
		snprintf(line, sizeof(line), "x-egret-reason: %s\r\n", cases[i].reason);
		inbox_await(&w->plane, &pod.in, line);
		pod_close(&pod);
	}
	assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
}

/* A target's own name for the model goes where the client's was. */
static void test_mapped_model(void **state)
{
	struct world *w = *state;

	plane_publish(&w->plane,
		      "{\"version\": \"egret/v1\", \"providers\": {\"p0\": {\"kind\": \"openai\", "
		      "\"endpoint\": \"http://provider.internal:%u/v1\", \"region\": \"cluster\", "
		      "\"models\": {\"gpt-realtime\": \"voice&1\"}}}, \"policies\": [{\"name\": "
		      "\"shop\", \"mode\": \"enforce\", \"pods\": {\"namespaces\": [\"shop\"]}, "
		      "\"routes\": [{\"name\": \"live\", \"match\": {\"hosts\": "
		      "[\"api.openai.com\"], \"operations\": [\"realtime\"]}, \"targets\": "
		      "[{\"provider\": \"p0\"}]}], \"otherwise\": \"deny\"}]}",
		      true);
	open_socket(w, OPEN_WITH("/v1/realtime?model=gpt-realtime", ""));
	assert_true(inbox_has(&w->up, "GET /v1/realtime?model=voice%261 HTTP/1.1\r\n"));
}

static void test_not_listed(void **state)
{
	struct world *w = *state;

	plane_publish(&w->plane, POLICY("", ""), true);
	pod_send(&w->pod, OPEN);
	inbox_await(&w->plane, &w->pod.in, "x-egret-reason: operation_denied\r\n");
	inbox_await(&w->plane, &w->pod.in, "\"error\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_handshake, setup, teardown),
		cmocka_unit_test_setup_teardown(test_subprotocols, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bytes_both_ways, setup, teardown),
		cmocka_unit_test_setup_teardown(test_provider_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_ends_alone, setup_patient, teardown),
		cmocka_unit_test_setup_teardown(test_resets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_resets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_back_pressure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failover, setup, teardown),
		cmocka_unit_test_setup_teardown(test_false_grant, setup, teardown),
		cmocka_unit_test_setup_teardown(test_extension_granted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused_by_provider, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mapped_model, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_listed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
