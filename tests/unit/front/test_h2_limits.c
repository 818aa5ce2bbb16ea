/* SPDX-License-Identifier: Apache-2.0 */
/* What one HTTP/2 connection may cost: floods, slow clients, memory, time. docs/limits.md. */
#include <signal.h>
#include <sys/wait.h>

#include "pod2.h"

#define CHAT   "/v1/chat/completions"
#define MODELS ":method|GET\n:scheme|https\n:authority|api.openai.com\n:path|/v1/models\n"

struct world {
	struct plane plane;
	struct pod2 pod;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	plane_up(&w->plane, PLANE_POLICY);
	pod2_open(&w->pod, &w->plane, "api.openai.com");
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	pod2_close(&w->pod);
	plane_down(&w->plane);
	free(w);
	return 0;
}

static void begin_raw(struct world *w)
{
	pod2_begin(&w->pod);
	raw_begin(&w->pod);
}

/* ---- floods ---- */

static void ping(struct pod2 *pod, uint32_t i)
{
	raw_frame(pod, NGHTTP2_PING, 0, 0, "12345678", 8);
	(void)i;
}

static void settings(struct pod2 *pod, uint32_t i)
{
	raw_frame(pod, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
	(void)i;
}

static void priority(struct pod2 *pod, uint32_t i)
{
	raw_frame(pod, NGHTTP2_PRIORITY, 0, 1 + 2 * (i % 1000), "\0\0\0\0\1", 5);
}

/* Types that nobody reads: GREASE, and the extensions that are registered. */
static void unknown(struct pod2 *pod, uint32_t i)
{
	static const uint8_t types[] = {0x0a, 0x0c, 0x10, 0x0b, 0x2a, 0xff};

	raw_frame(pod, types[i % sizeof(types)], 0, 0, "GREASE", 6);
}

static void unknown_of_stream(struct pod2 *pod, uint32_t i)
{
	if (!i)
		raw_headers(pod, 1, RAW_HEAD, false);
	raw_frame(pod, 0x2a, 0, 1, NULL, 0);
}

static void window_update(struct pod2 *pod, uint32_t i)
{
	raw_frame(pod, NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4);
	(void)i;
}

static void empty_data(struct pod2 *pod, uint32_t i)
{
	if (!i)
		raw_headers(pod, 1, RAW_HEAD, false);
	raw_frame(pod, NGHTTP2_DATA, 0, 1, NULL, 0);
}

/* Carries padding and nothing else. */
static void padded_data(struct pod2 *pod, uint32_t i)
{
	if (!i)
		raw_headers(pod, 1, RAW_HEAD, false);
	raw_frame(pod, NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, "\1\0", 2);
}

static void continuation(struct pod2 *pod, uint32_t i)
{
	char block[1024];

	if (!i)
		raw_frame(pod, NGHTTP2_HEADERS, 0, 1, block, raw_block(block, MODELS));
	raw_frame(pod, NGHTTP2_CONTINUATION, 0, 1, NULL, 0);
}

/* No request: the stream was reset long ago, and what comes for it is dropped. */
static void closed_stream(struct pod2 *pod, uint32_t i)
{
	if (!i) {
		raw_headers(pod, 1, RAW_HEAD, false);
		raw_frame(pod, NGHTTP2_RST_STREAM, 0, 1, "\0\0\0\x8", 4);
	}
	raw_headers(pod, 1, "x-a|b\n", true);
}

/* Trailers again and again: the first are the end of it. */
static void trailers_again(struct pod2 *pod, uint32_t i)
{
	if (!i)
		raw_headers(pod, 1, RAW_HEAD, false);
	raw_headers(pod, 1, "x-a|b\n", false);
}

/* Streams beyond the limit, by a client that does not acknowledge it. */
static void refused_stream(struct pod2 *pod, uint32_t i)
{
	raw_headers(pod, 2 * i + 1, RAW_HEAD, false);
}

/* Rapid reset: a request, taken back at once. */
static void rapid_reset(struct pod2 *pod, uint32_t i)
{
	raw_headers(pod, 2 * i + 1, RAW_HEAD, false);
	raw_frame(pod, NGHTTP2_RST_STREAM, 0, 2 * i + 1, "\0\0\0\x8", 4);
}

/* The same by our own hand: each of these we must reset ourselves. */
static void made_to_reset(struct pod2 *pod, uint32_t i)
{
	raw_headers(pod, 2 * i + 1, MODELS "te|gzip\n", true);
}

static void made_to_reset_by_window(struct pod2 *pod, uint32_t i)
{
	raw_headers(pod, 2 * i + 1, RAW_HEAD, false);
	raw_frame(pod, NGHTTP2_WINDOW_UPDATE, 0, 2 * i + 1, "\x7f\xff\xff\xff", 4);
}

/* A field of 4 KiB, and then 16,000 times the byte that stands for it, in each frame. */
static void hpack_bomb(struct pod2 *pod, uint32_t i)
{
	static const char head[] = "\x40\x01"
				   "a\x7f\xbd\x1d";
	char block[16000];

	if (i) {
		memset(block, 0xbe, sizeof(block));
		raw_frame(pod, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM | NGHTTP2_FLAG_END_HEADERS,
			  2 * i + 1, block, sizeof(block));
		return;
	}
	memset(block, 'x', sizeof(block));
	memcpy(block, head, sizeof(head) - 1);
	raw_frame(pod, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM | NGHTTP2_FLAG_END_HEADERS, 1,
		  block, sizeof(head) - 1 + 3900);
}

static void test_floods(void **state)
{
	static const struct {
		const char *name;
		void (*send)(struct pod2 *pod, uint32_t i);
		uint32_t count; /* that must be enough */
	} floods[] = {
		{"PING", ping, 3000},
		{"SETTINGS", settings, 3000},
		{"PRIORITY", priority, 3000},
		{"unknown types", unknown, 3000},
		{"an unknown type on a stream", unknown_of_stream, 3000},
		{"WINDOW_UPDATE", window_update, 3000},
		{"empty DATA", empty_data, 3000},
		{"padded DATA", padded_data, 3000},
		{"CONTINUATION", continuation, 3000},
		{"HEADERS on a closed stream", closed_stream, 3000},
		{"trailers again and again", trailers_again, 3000},
		{"streams beyond the limit", refused_stream, 3000},
		{"rapid reset", rapid_reset, 600},
		{"malformed requests", made_to_reset, 600},
		{"windows that overflow", made_to_reset_by_window, 600},
		{"heads of 64 MiB in 16 KiB", hpack_bomb, 40},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(floods); i++) {
		struct world *w;

		print_message("%s\n", floods[i].name);
		setup((void **)&w);
		begin_raw(w);
		for (uint32_t n = 0; n < floods[i].count && !w->pod.in.reset; n++) {
			floods[i].send(&w->pod, n);
			if (n % 20 == 0) {
				plane_turns(&w->plane, 1);
				if (raw_find(&w->pod, NGHTTP2_GOAWAY, 0))
					break;
			}
		}
		assert_int_equal(raw_u32(raw_await(&w->pod, NGHTTP2_GOAWAY, 0) + 4),
				 NGHTTP2_ENHANCE_YOUR_CALM);
		shutdown(w->pod.in.fd, SHUT_WR);
		for (int t = 0; t < PLANE_TURNS && !w->pod.over; t++)
			plane_turn(&w->plane);
		assert_true(w->pod.over);
		assert_true(plane_recorded(&w->plane, "\"type\":\"connection\""));
		teardown((void **)&w);
	}
	(void)state;
}

/* RFC 9113 section 5.5: they are read over, as many as an honest client may send. */
static void test_some_unknown_frames_pass(void **state)
{
	struct world *w = *state;

	begin_raw(w);
	for (uint32_t i = 0; i < 500; i++) {
		unknown(&w->pod, i);
		if (i % 20 == 0)
			plane_turns(&w->plane, 1);
	}
	raw_frame(&w->pod, NGHTTP2_PING, 0, 0, "12345678", 8);
	assert_memory_equal(raw_await(&w->pod, NGHTTP2_PING, 0), "12345678", 8);
	assert_null(raw_find(&w->pod, NGHTTP2_GOAWAY, 0));
}

/* What an honest client sends in a long life is no flood: it pays by what it does. */
static void test_honest_clients_are_no_flood(void **state)
{
	struct world *w = *state;

	pod2_client(&w->pod, 1 << 20, true);
	pod2_begin(&w->pod);
	for (int i = 0; i < 3000; i++) {
		struct reply *r;

		w->pod.replies = 0;
		r = pod2_reply(&w->pod, pod2_ask(&w->pod, "GET", "/nothing", NULL, NULL));
		assert_int_equal(nghttp2_submit_ping(w->pod.client, 0, NULL), 0);
		POD2_AWAIT(&w->pod, r->closed);
		assert_int_equal(r->status, 403);
		free(r->body);
		r->body = NULL;
	}
	assert_false(w->pod.goaway);
	w->pod.replies = 0;
}

/* A client of gRPC's measures its bandwidth: a PING for each DATA frame that it gets, and windows
 * that it opens. All of one answer, which has no end yet. */
static void test_measured(void **state)
{
	static const char word[] =
		"2f\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n\r\n";
	struct world *w = *state;
	struct inbox up;
	struct reply *r;

	pod2_client(&w->pod, 1 << 20, true);
	pod2_begin(&w->pod);
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "POST", CHAT, BODY, NULL));
	inbox_init(&up, plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &up, BODY);
	plane_send(&w->plane, up.fd,
		   "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
		   "Transfer-Encoding: chunked\r\n\r\n");
	for (size_t i = 1; i <= 1500; i++) {
		plane_send(&w->plane, up.fd, word);
		POD2_AWAIT(&w->pod, r->n >= 47 * i || w->pod.goaway);
		assert_false(w->pod.goaway);
		assert_int_equal(nghttp2_submit_ping(w->pod.client, 0, NULL), 0);
		assert_int_equal(nghttp2_submit_window_update(w->pod.client, 0, 0, 1), 0);
		assert_int_equal(nghttp2_submit_window_update(w->pod.client, 0, r->id, 1), 0);
	}
	plane_send(&w->plane, up.fd, "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->error, 0);
	inbox_fini(&up);
}

/* ---- how many, how large ---- */

static void test_streams_at_once(void **state)
{
	struct world *w = *state;

	begin_raw(w);
	for (uint32_t i = 0; i < H2_STREAMS; i++)
		raw_headers(&w->pod, 2 * i + 1, RAW_HEAD, false);
	raw_headers(&w->pod, 2 * H2_STREAMS + 1, RAW_HEAD, false);
	assert_int_equal(raw_u32(raw_await(&w->pod, NGHTTP2_RST_STREAM, 2 * H2_STREAMS + 1)),
			 NGHTTP2_REFUSED_STREAM);
	assert_int_equal(w->pod.server.stream_count, H2_STREAMS);
	assert_int_equal(w->plane.engine.active, H2_STREAMS);
	assert_null(raw_find(&w->pod, NGHTTP2_GOAWAY, 0));
}

static void test_header_list(void **state)
{
	static char value[40000], path[17000];
	struct world *w = *state;
	struct reply *r;

	memset(value, 'x', sizeof(value) - 1);
	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	pod2_client(&w->pod, 1 << 20, true);
	pod2_begin(&w->pod);
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "GET", "/v1/models", NULL,
					 (const char *[]){"a", value, "b", value, NULL}));
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 431);
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "GET", path, NULL, NULL));
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 414);
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "GET", "/nothing", NULL,
					 (const char *[]){"a", value, NULL}));
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 403); /* large, and no larger than it may be */
	assert_false(w->pod.goaway);
}

/* A body that waits is the pod's to pay, before it is held. */
static void test_bodies_are_charged(void **state)
{
	static char body[300000];
	struct world *w = *state;
	struct reply *r;

	memset(body, ' ', sizeof(body) - 1);
	w->plane.engine.limits.pod_bytes = 200000;
	pod2_client(&w->pod, 1 << 20, true);
	pod2_begin(&w->pod);
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "POST", CHAT, body, NULL));
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 503);
	assert_non_null(strstr(r->head, "x-egret-reason: pod_budget\n"));
	assert_true(w->plane.engine.held_bytes <= 200000);
}

/* A request that waits for its body costs memory, too: a pod can't have 100 for nothing on each of
 * its connections. */
static void test_streams_are_charged(void **state)
{
	struct world *w = *state;

	w->plane.engine.limits.pod_bytes = 100000;
	begin_raw(w);
	for (uint32_t i = 0; i < 20; i++)
		raw_headers(&w->pod, 2 * i + 1, RAW_HEAD, false);
	(void)raw_await(&w->pod, NGHTTP2_RST_STREAM, 39); /* answered early */
	assert_true(plane_recorded(&w->plane, "\"reason\":\"pod_budget\""));
	assert_in_range(w->plane.engine.active, 5, 15);
	assert_in_range(w->plane.engine.held_bytes, 50000, 100000 + 20 * 9000);
}

/* What is not wanted yet waits, at most the window, and is charged. */
static void test_unwanted_bodies_wait(void **state)
{
	static char piece[16384];
	struct world *w = *state;

	memset(piece, ' ', sizeof(piece));
	w->plane.engine.limits.pod_bytes = 1 << 20;
	begin_raw(w);
	raw_headers(&w->pod, 1,
		    ":method|POST\n:scheme|https\n:authority|api.openai.com\n"
		    ":path|/v1/audio/transcriptions\nauthorization|Bearer placeholder\n"
		    "content-type|multipart/form-data; boundary=x\n",
		    false);
	/* Nobody accepts at the provider: the exchange takes its window, then says stop. */
	for (int i = 0; i < 3; i++)
		raw_frame(&w->pod, NGHTTP2_DATA, 0, 1, piece, sizeof(piece));
	plane_turns(&w->plane, 20);
	assert_true(w->plane.engine.held_bytes >= 3 * sizeof(piece));
	assert_true(w->plane.engine.held_bytes < 400000);
}

/* Answers that nobody reads take what the pod may hold, and a quarter more; those that would take
 * more are ended, and the rest stay. */
static void test_answers_that_nobody_reads_are_bounded(void **state)
{
	enum { COUNT = 10, PART = 50000, LIMIT = 300000 };
	static char part[PART];
	struct world *w = *state;
	struct inbox up[COUNT];
	size_t ended = 0;

	memset(part, 'x', sizeof(part));
	w->plane.engine.limits.pod_bytes = LIMIT;
	begin_raw(w);
	raw_frame(&w->pod, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
	for (uint32_t i = 0; i < COUNT; i++) {
		raw_headers(&w->pod, 2 * i + 1, RAW_HEAD, false);
		raw_frame(&w->pod, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 2 * i + 1, BODY, 32);
		inbox_init(&up[i], plane_accept(&w->plane, w->plane.provider[0]));
		inbox_await(&w->plane, &up[i], BODY);
	}
	for (uint32_t i = 0; i < COUNT; i++) {
		plane_send(&w->plane, up[i].fd, "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n");
		plane_send_n(&w->plane, up[i].fd, part, sizeof(part));
		plane_turns(&w->plane, 10);
		assert_true(w->plane.engine.held_bytes <= LIMIT + LIMIT / 4 + 65536);
	}
	for (uint32_t i = 0; i < COUNT; i++) {
		const unsigned char *reset = raw_find(&w->pod, NGHTTP2_RST_STREAM, 2 * i + 1);

		if (reset)
			assert_int_equal(raw_u32(reset), NGHTTP2_ENHANCE_YOUR_CALM);
		ended += reset != NULL;
		inbox_fini(&up[i]);
	}
	assert_in_range(ended, 1, COUNT - 3);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"pod_budget\""));
	assert_false(w->pod.over);
}

/* ---- time ---- */

static void test_window_that_stays_shut(void **state)
{
	struct world *w = *state;
	struct reply *r;

	w->plane.engine.limits.write_idle_ms = 60;
	pod2_client(&w->pod, 0, true);
	pod2_begin(&w->pod);
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "GET", "/nothing", NULL, NULL));
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 403);
	assert_false(r->ended);
	assert_int_equal(r->error, NGHTTP2_CANCEL);
	assert_false(w->pod.over);
}

/* Wide windows, and a socket that nobody reads: the provider is not read either, and then it ends.
 */
static void test_client_that_does_not_read(void **state)
{
	static char piece[65536];
	struct world *w = *state;
	struct inbox up;

	w->plane.engine.limits.write_idle_ms = 60;
	begin_raw(w);
	raw_frame(&w->pod, NGHTTP2_SETTINGS, 0, 0, "\0\4\x7f\xff\xff\xff", 6);
	raw_frame(&w->pod, NGHTTP2_WINDOW_UPDATE, 0, 0, "\x7f\0\0\0", 4);
	raw_headers(&w->pod, 1, RAW_HEAD, false);
	raw_frame(&w->pod, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, BODY, 32);
	inbox_init(&up, plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &up, BODY);
	plane_send(&w->plane, up.fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
	for (int i = 0; i < PLANE_TURNS && !w->pod.over; i++) {
		(void)!send(up.fd, piece, sizeof(piece), MSG_NOSIGNAL | MSG_DONTWAIT);
		plane_turn(&w->plane);
		assert_true(w->pod.server.bytes < 512u * 1024u);
	}
	assert_true(w->pod.over);
	assert_true(w->pod.reset);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"client_slow\""));
	inbox_fini(&up);
}

/* The other ends of both connections: as fast as they can, in a process of their own. */
static pid_t pump(int provider, int client)
{
	static char piece[262144];
	pid_t pid = fork();

	assert_true(pid >= 0);
	while (!pid) {
		if (send(provider, piece, sizeof(piece), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
		    errno != EAGAIN)
			_exit(0);
		if (recv(client, piece, sizeof(piece), MSG_DONTWAIT) == 0)
			_exit(0);
	}
	return pid;
}

/* However fast a provider and a client are, a turn of the loop ends: others wait for theirs, and so
 * does the watchdog. */
static void test_turns_end(void **state)
{
	struct world *w = *state;
	int32_t before, most = 0;
	struct inbox up;
	pid_t pid;

	begin_raw(w);
	raw_frame(&w->pod, NGHTTP2_SETTINGS, 0, 0, "\0\4\x7f\xff\xff\xff", 6);
	raw_frame(&w->pod, NGHTTP2_WINDOW_UPDATE, 0, 0, "\x7f\0\0\0", 4);
	raw_headers(&w->pod, 1, RAW_HEAD, false);
	raw_frame(&w->pod, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, BODY, 32);
	inbox_init(&up, plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &up, BODY);
	plane_send(&w->plane, up.fd, "HTTP/1.1 200 OK\r\nContent-Length: 4000000000\r\n\r\n");
	plane_turns(&w->plane, 5);
	pid = pump(up.fd, w->pod.in.fd);
	before = nghttp2_session_get_remote_window_size(w->pod.server.session);
	for (int i = 0; i < PLANE_TURNS && before > (2000 << 20); i++) {
		int32_t now;

		plane_turn(&w->plane);
		now = nghttp2_session_get_remote_window_size(w->pod.server.session);
		most = EG_MAX(most, before - now);
		before = now;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_true(most > 0);
	assert_in_range(most, 1, 1 << 20);
	inbox_fini(&up);
}

/* Forty answers that waited for their windows, which open at once: they go out a part in each turn,
 * for as many connections may do the same. */
static void test_windows_open_at_once(void **state)
{
	enum { STREAMS = 40, ANSWER = 60000 };
	static char answer[ANSWER];
	struct world *w = *state;
	struct inbox up = {.fd = -1};
	int32_t before, most = 0, shut;
	char head[100];

	begin_raw(w);
	raw_frame(&w->pod, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\0", 6);
	raw_frame(&w->pod, NGHTTP2_WINDOW_UPDATE, 0, 0, "\x7f\0\0\0", 4);
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", ANSWER);
	for (uint32_t i = 0; i < STREAMS; i++) {
		raw_headers(&w->pod, 2 * i + 1, RAW_HEAD, false);
		raw_frame(&w->pod, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 2 * i + 1, BODY, 32);
		if (!i)
			inbox_init(&up, plane_accept(&w->plane, w->plane.provider[0]));
		inbox_await(&w->plane, &up, BODY);
		inbox_forget(&up);
		plane_send(&w->plane, up.fd, head);
		plane_send_n(&w->plane, up.fd, answer, ANSWER);
		plane_turns(&w->plane, 10);
	}
	before = shut = nghttp2_session_get_remote_window_size(w->pod.server.session);
	raw_frame(&w->pod, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\x10\0\0", 6);
	for (int i = 0; i < PLANE_TURNS && shut - before < STREAMS * ANSWER; i++) {
		int32_t now;

		plane_turn(&w->plane);
		inbox_poll(&w->pod.in);
		now = nghttp2_session_get_remote_window_size(w->pod.server.session);
		most = EG_MAX(most, before - now);
		before = now;
	}
	assert_int_equal(shut - before, STREAMS * ANSWER);
	assert_in_range(most, 1, 512 << 10);
	inbox_fini(&up);
}

static void test_head_that_does_not_end(void **state)
{
	struct world *w = *state;
	char block[1024];

	w->plane.engine.limits.head_ms = 60;
	begin_raw(w);
	raw_frame(&w->pod, NGHTTP2_HEADERS, 0, 1, block, raw_block(block, MODELS));
	assert_int_equal(raw_u32(raw_await(&w->pod, NGHTTP2_GOAWAY, 0) + 4),
			 NGHTTP2_ENHANCE_YOUR_CALM);
	assert_true(plane_recorded(&w->plane, "head took too long"));
}

static void test_body_that_does_not_come(void **state)
{
	struct world *w = *state;
	struct reply *r;

	w->plane.engine.limits.body_idle_ms = 60;
	pod2_client(&w->pod, 1 << 20, true);
	pod2_begin(&w->pod);
	w->pod.upload_pause = true;
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "POST", CHAT, "{", NULL));
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 408);
	assert_non_null(strstr(r->head, "request_timeout"));
	assert_false(w->pod.goaway);
}

/* Without a request: as long as for a first head, then as between two. PINGs don't prolong it. */
static void test_idle(void **state)
{
	for (int asked = 0; asked < 2; asked++) {
		struct world *w;

		setup((void **)&w);
		w->plane.engine.limits.head_ms = asked ? 60000 : 60;
		w->plane.engine.limits.idle_ms = asked ? 60 : 60000;
		pod2_client(&w->pod, 1 << 20, true);
		pod2_begin(&w->pod);
		if (asked) {
			struct reply *r = pod2_reply(
				&w->pod, pod2_ask(&w->pod, "GET", "/nothing", NULL, NULL));

			POD2_AWAIT(&w->pod, r->closed);
		}
		for (int i = 0; i < PLANE_TURNS && !w->pod.over; i++) {
			if (i % 10 == 0)
				(void)nghttp2_submit_ping(w->pod.client, 0, NULL);
			pod2_turn(&w->pod);
		}
		assert_true(w->pod.over);
		assert_false(w->pod.reset);
		assert_true(w->pod.goaway);
		assert_int_equal(w->pod.goaway_error, NGHTTP2_NO_ERROR);
		teardown((void **)&w);
	}
	(void)state;
}

/* An idle connection gives its buffers back. */
static void test_idle_memory(void **state)
{
	struct world *w = *state;
	struct reply *r;

	pod2_client(&w->pod, 1 << 20, true);
	pod2_begin(&w->pod);
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "GET", "/nothing", NULL, NULL));
	POD2_AWAIT(&w->pod, r->closed);
	assert_true(w->pod.server.bytes > 0);
	POD2_AWAIT(&w->pod, !w->pod.server.bytes);
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "GET", "/nothing", NULL, NULL));
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 403);
}

/* ---- the bucket by itself ---- */

static void test_bucket(void **state)
{
	struct h2_bucket b;

	h2_bucket_init(&b, 10, 5, 1000);
	assert_true(h2_bucket_spend(&b, 10, 1000));
	assert_false(h2_bucket_spend(&b, 1, 1000));
	assert_false(h2_bucket_spend(&b, 1, 1199));
	assert_true(h2_bucket_spend(&b, 1, 1200)); /* the fifth of a second was not lost */
	assert_false(h2_bucket_spend(&b, 1, 1200));
	h2_bucket_earn(&b, 3);
	assert_true(h2_bucket_spend(&b, 3, 1200));
	h2_bucket_earn(&b, UINT32_MAX); /* never more than the burst */
	assert_false(h2_bucket_spend(&b, 11, 1200));
	assert_true(h2_bucket_spend(&b, 10, 1200));
	assert_true(h2_bucket_spend(&b, 10, UINT64_MAX / 100)); /* a long sleep */
	assert_false(h2_bucket_spend(&b, 1, UINT64_MAX / 100));
	(void)state;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bucket),
		cmocka_unit_test(test_floods),
		TEST(test_some_unknown_frames_pass),
		TEST(test_honest_clients_are_no_flood),
		TEST(test_measured),
		TEST(test_streams_at_once),
		TEST(test_header_list),
		TEST(test_bodies_are_charged),
		TEST(test_streams_are_charged),
		TEST(test_unwanted_bodies_wait),
		TEST(test_answers_that_nobody_reads_are_bounded),
		TEST(test_window_that_stays_shut),
		TEST(test_client_that_does_not_read),
		TEST(test_turns_end),
		TEST(test_windows_open_at_once),
		TEST(test_head_that_does_not_end),
		TEST(test_body_that_does_not_come),
		cmocka_unit_test(test_idle),
		TEST(test_idle_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
