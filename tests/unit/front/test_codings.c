/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies in a content coding: requests are read for policy and go on byte for byte. */

#include "targets.h"

#include "encode.h"

static const enum eg_coding all[] = {EG_CODING_GZIP, EG_CODING_DEFLATE, EG_CODING_BR,
				     EG_CODING_ZSTD};
/* gpt-4o at p0; "mapped" at p1, which calls it "own-name"; other models nowhere. */
static const char by_model[] = "{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER(
	"p0") ",\"p1\": {\"kind\": \"openai\", \"endpoint\": "
	      "\"http://provider.internal:%u/v1\", \"region\": \"cluster\", "
	      "\"credential\": \"key\", \"models\": {\"mapped\": \"own-name\"}}," PLANE_PROVIDER(
		      "p2") "},"
			    "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"
			    "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", \"pods\": "
			    "{\"namespaces\": [\"shop\"]}, \"routes\": ["
			    "{\"name\": \"own\", \"match\": {\"hosts\": [\"api.openai.com\"], "
			    "\"models\": [\"gpt-4o*\"]}, \"targets\": [{\"provider\": \"p0\"}, "
			    "{\"provider\": \"p2\"}]},"
			    "{\"name\": \"map\", \"match\": {\"hosts\": [\"api.openai.com\"], "
			    "\"models\": [\"mapped\"]}, \"targets\": [{\"provider\": \"p1\"}, "
			    "{\"provider\": \"p2\"}]}]}]}";

static void post_head(struct world *w, const char *path, const char *coding, size_t length)
{
	char head[512];

	snprintf(head, sizeof(head),
		 "POST %s HTTP/1.1\r\n" HEADERS JSON "Content-Encoding: %s\r\n"
		 "Content-Length: %zu\r\n\r\n",
		 path, coding, length);
	pod_send(&w->pod, head);
}

/* Sends a body with that Content-Encoding, in pieces of `piece`. */
static void post(struct world *w, const char *path, const char *coding, struct eg_str body,
		 size_t piece)
{
	post_head(w, path, coding, body.n);
	for (size_t at = 0; at < body.n; at += piece) {
		plane_send_n(&w->plane, w->pod.in.fd, body.p + at, EG_MIN(piece, body.n - at));
		if (piece < body.n)
			plane_turns(&w->plane, 2);
	}
}

#define CHAT "/v1/chat/completions"

static void await_bytes(struct world *w, struct inbox *b, struct eg_str bytes)
{
	for (int i = 0; i < PLANE_TURNS && !memmem(b->text, b->n, bytes.p, bytes.n); i++) {
		inbox_poll(b);
		plane_turn(&w->plane);
	}
	assert_non_null(memmem(b->text, b->n, bytes.p, bytes.n));
}

/* Provider i got these bytes, and this of the head. */
static void got(struct world *w, int i, struct eg_str body, const char *coding)
{
	char text[64];

	called(w, i, "\r\n\r\n", NULL);
	await_bytes(w, &w->up[i], body);
	snprintf(text, sizeof(text), "content-length: %zu\r\n", body.n);
	assert_true(inbox_has(&w->up[i], text));
	snprintf(text, sizeof(text), "Content-Encoding: %s\r\n", coding ? coding : "");
	assert_int_equal(inbox_has(&w->up[i], "Content-Encoding"), coding != NULL);
	assert_true(!coding || inbox_has(&w->up[i], text));
}

/* Read for its model, and passed on as it came, also to the next target. */
static void test_read(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++)
		for (size_t piece = 1; piece < 2000; piece += 999) {
			struct coded c = encode(all[i], EG_STR(BODY));
			const char *name = coding_name(all[i]);
			struct world *w = begin(by_model);

			post(w, CHAT, name, coded_str(&c), piece);
			got(w, 0, coded_str(&c), name);
			plane_send(&w->plane, w->up[0].fd,
				   "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
			got(w, 2, coded_str(&c), name);
			plane_send(&w->plane, w->up[2].fd, OK(2, "{}"));
			inbox_await(&w->plane, &w->pod.in, "{}");
			assert_true(plane_recorded(&w->plane, "\"model\":\"gpt-4o\""));
			assert_true(plane_recorded(&w->plane, "\"route\":\"own\""));
			finish(w);
			free(c.p);
		}
	(void)state;
}

/* A target with its own name for the model gets it decoded, the next one as it came. */
static void test_mapped(void **state)
{
	static const struct eg_str body = EG_STR("{\"model\": \"mapped\", \"x\":[]}"),
				   sent = EG_STR("{\"model\": \"own-name\", \"x\":[]}");

	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded c = encode(all[i], body);
		const char *name = coding_name(all[i]);
		struct world *w = begin(by_model);

		post(w, CHAT, name, coded_str(&c), 7);
		got(w, 1, sent, NULL);
		plane_send(&w->plane, w->up[1].fd,
			   "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
		got(w, 2, coded_str(&c), name);
		plane_send(&w->plane, w->up[2].fd, OK(2, "{}"));
		inbox_await(&w->plane, &w->pod.in, "{}");
		assert_true(plane_recorded(&w->plane, "\"route\":\"map\""));
		finish(w);
		free(c.p);
	}
	(void)state;
}

#define PART(name, value) \
	"--b0123\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"

/* A form is read as it comes, too, and mapped in what comes out. */
static void test_form(void **state)
{
	static const struct eg_str form = EG_STR(PART("x", "1") PART("model", "mapped")
							 PART("y", "2") "--b0123--\r\n"),
				   sent = EG_STR(PART("x", "1") PART("model", "own-name")
							 PART("y", "2") "--b0123--\r\n");

	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded c = encode(all[i], form);
		const char *name = coding_name(all[i]);
		struct world *w = begin(by_model);
		char head[512];

		snprintf(head, sizeof(head),
			 "POST /v1/audio/transcriptions HTTP/1.1\r\n" HEADERS
			 "Content-Type: multipart/form-data; boundary=b0123\r\n"
			 "Content-Encoding: %s\r\nContent-Length: %zu\r\n\r\n",
			 name, c.n);
		pod_send(&w->pod, head);
		for (size_t at = 0; at < c.n; at++) {
			plane_send_n(&w->plane, w->pod.in.fd, c.p + at, 1);
			plane_turns(&w->plane, 2);
		}
		got(w, 1, sent, NULL);
		plane_send(&w->plane, w->up[1].fd,
			   "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
		got(w, 2, coded_str(&c), name);
		finish(w);
		free(c.p);
	}
	(void)state;
}

/* Bytes that a server which knows of no codings could read too, as something else, go decoded. */
static void test_two_readings(void **state)
{
#define EXTRA PART("model", "o3") "--b0123--\r\n"
	static const struct eg_str form = EG_STR(PART("model", "gpt-4o") "--b0123--\r\n");
	static const struct {
		size_t length; /* which is what the first bytes say */
		const char *begins;
	} br[] = {{0x7b3, " {"}, {0x7b1, "\0{"}}; /* UTF-8; UTF-16 */
	static char json[0x7b3];
	struct coded c = encode(EG_CODING_GZIP, form), head = {malloc(512), 10};
	struct world *w = begin(by_model);
	char text[512];

	/* Another form in the extra field of gzip's header. */
	assert_non_null(head.p);
	memcpy(head.p, c.p, 10);
	head.p[3] = 4;
	head.p[head.n++] = sizeof(EXTRA) - 1;
	head.p[head.n++] = 0;
	memcpy(head.p + head.n, EXTRA, sizeof(EXTRA) - 1);
	head.n += sizeof(EXTRA) - 1;
	memmove(c.p, c.p + 10, c.n - 10);
	c.n -= 10;
	c = coded_join(head, c);
	snprintf(text, sizeof(text),
		 "POST /v1/audio/transcriptions HTTP/1.1\r\n" HEADERS
		 "Content-Type: multipart/form-data; boundary=b0123\r\n"
		 "Content-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n",
		 c.n);
	pod_send(&w->pod, text);
	plane_send_n(&w->plane, w->pod.in.fd, c.p, c.n);
	got(w, 0, form, NULL);
	assert_false(inbox_has(&w->up[0], "o3"));
	finish(w);
	free(c.p);

	/* A brotli stream that begins as JSON does. */
	memset(json, ' ', sizeof(json));
	memcpy(json, BODY, strlen(BODY));
	for (size_t i = 0; i < EG_ARRAY_SIZE(br); i++) {
		BrotliEncoderState *b = BrotliEncoderCreateInstance(NULL, NULL, NULL);
		size_t in = br[i].length, none = 0, room = 4096;
		const uint8_t *from = (const uint8_t *)json;
		uint8_t out[4096], *to = out;

		assert_true(b && BrotliEncoderSetParameter(b, BROTLI_PARAM_LGWIN, 16) &&
			    BrotliEncoderCompressStream(b, BROTLI_OPERATION_FLUSH, &in, &from,
							&room, &to, NULL) &&
			    BrotliEncoderCompressStream(b, BROTLI_OPERATION_FINISH, &none, &from,
							&room, &to, NULL));
		BrotliEncoderDestroyInstance(b);
		assert_memory_equal(out, br[i].begins, 2);
		w = begin(by_model);
		post(w, CHAT, "br", (struct eg_str){(char *)out, sizeof(out) - room}, SIZE_MAX);
		got(w, 0, (struct eg_str){json, br[i].length}, NULL);
		finish(w);
	}
	(void)state;
}

static void refused(struct world *w, const char *reason, const char *text)
{
	inbox_await(&w->plane, &w->pod.in, "\"}}");
	if (!inbox_has(&w->pod.in, reason) || !inbox_has(&w->pod.in, text))
		fail_msg("expected %s and \"%s\": %s", reason, text, w->pod.in.text);
	for (int i = 0; i < 3; i++)
		assert_true(plane_nobody(&w->plane, w->plane.provider[i]));
}

/* What policy says is said of what is inside. */
static void test_denied(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded c = encode(all[i], EG_STR("{\"model\":\"o3\"}"));
		struct world *w = begin(by_model);

		post(w, CHAT, coding_name(all[i]), coded_str(&c), SIZE_MAX);
		refused(w, "HTTP/1.1 403 ", "egret_model_denied");
		finish(w);
		free(c.p);
	}
	(void)state;
}

static void test_broken(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded c = encode(all[i], EG_STR(BODY));
		struct coded more = {malloc(2), 2};
		struct world *w = begin(by_model);

		post(w, CHAT, coding_name(all[i]), (struct eg_str){c.p, c.n - 1}, SIZE_MAX);
		refused(w, "HTTP/1.1 400 ", "decoded: its end is missing.");
		finish(w);
		assert_non_null(more.p);
		memcpy(more.p, "{}", 2);
		c = coded_join(c, more);
		w = begin(by_model);
		post(w, CHAT, coding_name(all[i]), coded_str(&c), SIZE_MAX);
		refused(w, "HTTP/1.1 400 ", "decoded: bytes follow its end.");
		finish(w);
		w = begin(by_model);
		post(w, CHAT, coding_name(all[i]), EG_STR(BODY BODY), SIZE_MAX);
		refused(w, "HTTP/1.1 400 ", "decoded: it is not what its Content-Encoding says.");
		finish(w);
		free(c.p);
	}
	(void)state;
}

/* 24 MiB, heap, nearly all of it white space. */
static struct eg_str large_body(void)
{
	size_t n = (size_t)24 << 20;
	char *p = malloc(n);

	assert_non_null(p);
	memset(p, ' ', n);
	memcpy(p, BODY, strlen(BODY));
	return (struct eg_str){p, n};
}

/*
 * 24 MiB that came as a few kilobytes are not decoded in one turn, nor are those of four at once in
 * four: others have theirs between.
 */
static void test_in_pieces(void **state)
{
	struct eg_str large = large_body();

	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded c = encode(all[i], large);
		struct world *w = begin(by_model);

		post(w, CHAT, coding_name(all[i]), coded_str(&c), SIZE_MAX);
		assert_in_range(plane_turns_until_called(&w->plane), 20, 10000);
		got(w, 0, coded_str(&c), coding_name(all[i]));
		finish(w);
		free(c.p);
	}
	free((char *)(uintptr_t)large.p);
	(void)state;
}

/* The pod leaves while its body waits for its turn; and what is wrong at the end is seen there. */
static void test_end_while_waiting(void **state)
{
	struct eg_str large = large_body();

	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded c = encode(all[i], large);
		struct world *w = begin(by_model);

		post(w, CHAT, coding_name(all[i]), coded_str(&c), SIZE_MAX);
		plane_turns(&w->plane, 4);
		assert_true(w->plane.engine.held_bytes > 0);
		assert_non_null(w->plane.engine.turns.first);
		assert_int_equal(shutdown(w->pod.in.fd, SHUT_RDWR), 0);
		plane_turns(&w->plane, 4);
		assert_int_equal(w->plane.engine.held_bytes, 0);
		assert_null(w->plane.engine.turns.first);
		assert_true(plane_recorded(&w->plane, "\"reason\":\"client_closed\""));
		finish(w);

		w = begin(by_model);
		post(w, CHAT, coding_name(all[i]), (struct eg_str){c.p, c.n - 1}, SIZE_MAX);
		refused(w, "HTTP/1.1 400 ", "decoded: its end is missing.");
		finish(w);
		free(c.p);
	}
	free((char *)(uintptr_t)large.p);
	(void)state;
}

/* At the limit of what comes out, whatever went in; and nothing stays held. */
static void test_bomb(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded c = encode_zeros(all[i], (size_t)256 << 20);
		struct world *w = begin(by_model);

		w->plane.engine.limits.request_body_bytes = 4 << 20;
		post_head(w, CHAT, coding_name(all[i]), c.n);
		for (size_t at = 0; at < c.n - 1; at += EG_MIN((size_t)16384, c.n - 1 - at)) {
			plane_send_n(&w->plane, w->pod.in.fd, c.p + at,
				     EG_MIN((size_t)16384, c.n - 1 - at));
			plane_turns(&w->plane, 3);
		}
		/* In the middle of an upload nobody reads an answer, and a reset may overtake it.
		 */
		plane_turns(&w->plane, 20); /* it has its turns */
		inbox_poll(&w->pod.in);
		assert_int_equal(w->pod.in.n, 0);
		assert_int_equal(w->plane.engine.held_bytes, 0);
		plane_send_n(&w->plane, w->pod.in.fd, c.p + c.n - 1, 1);
		refused(w, "HTTP/1.1 413 ", "larger than the limit once it is decoded");
		assert_true(inbox_has(&w->pod.in, "x-egret-reason: body_too_large\r\n"));
		assert_int_equal(w->plane.engine.held_bytes, 0);
		finish(w);
		free(c.p);
	}
	(void)state;
}

/* What it holds decoded is the pod's to pay. */
static void test_budget(void **state)
{
	static char large[3 << 20];
	struct coded c;
	struct world *w = begin(by_model);

	memset(large, ' ', sizeof(large));
	memcpy(large, BODY, strlen(BODY));
	c = encode(EG_CODING_GZIP, (struct eg_str){large, sizeof(large)});
	w->plane.engine.limits.pod_bytes = 2 << 20;
	post(w, CHAT, "gzip", coded_str(&c), SIZE_MAX);
	refused(w, "HTTP/1.1 503 ", "egret_pod_budget");
	assert_int_equal(w->plane.engine.held_bytes, 0);
	finish(w);
	w = begin(by_model);
	post_head(w, CHAT, "gzip", c.n);
	plane_send_n(&w->plane, w->pod.in.fd, c.p, c.n - 1);
	plane_turns(&w->plane, 50);
	assert_true(w->plane.engine.held_bytes > sizeof(large));
	plane_send_n(&w->plane, w->pod.in.fd, c.p + c.n - 1, 1);
	got(w, 0, coded_str(&c), "gzip");
	finish(w);
	free(c.p);
	(void)state;
}

/* The route's limit counts what comes out, too, also where it is only known by then. */
static void test_limit_of_route(void **state)
{
#define LIMITED                                                                                    \
	"{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER(                             \
		"p0") "}, \"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}}, " \
		      "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", \"pods\": "      \
		      "{\"namespaces\": [\"shop\"]}, \"routes\": [{\"name\": \"small\", "          \
		      "\"match\": "                                                                \
		      "{\"hosts\": [\"api.openai.com\"], \"models\": [\"gpt-4o\"]}, "              \
		      "\"max_body_bytes\": 200, \"targets\": [{\"provider\": \"p0\"}]}, "          \
		      "{\"name\": \"large\", \"match\": {\"hosts\": [\"api.openai.com\"], "        \
		      "\"models\": [\"x\"]}, \"targets\": [{\"provider\": \"p0\"}]}]}]}"
	static char large[201];

	memset(large, ' ', sizeof(large));
	memcpy(large, BODY, strlen(BODY));
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++)
		for (size_t n = 200; n <= 201; n++) {
			struct coded c = encode(all[i], (struct eg_str){large, n});
			struct world *w = begin(LIMITED);

			post(w, CHAT, coding_name(all[i]), coded_str(&c), SIZE_MAX);
			if (n == 200)
				got(w, 0, coded_str(&c), coding_name(all[i]));
			else
				refused(w, "HTTP/1.1 413 ", "egret_body_too_large");
			finish(w);
			free(c.p);
		}
	(void)state;
}

/* 415 says what would be read; what need not be read passes. */
static void test_unknown(void **state)
{
	static const char *const codings[] = {"compress", "gzip, br", "x\r\nContent-Encoding: gzip",
					      "gzip\r\nContent-Encoding: gzip", "identity, gzip"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(codings); i++) {
		struct world *w = begin(by_model);

		post(w, CHAT, codings[i], EG_STR(BODY), SIZE_MAX);
		refused(w, "HTTP/1.1 415 ", "\"type\":\"invalid_request_error\"");
		assert_true(inbox_has(&w->pod.in, "x-egret-reason: content_encoding\r\n"));
		assert_true(inbox_has(&w->pod.in, "accept-encoding: gzip, br, zstd, deflate\r\n"));
		assert_true(plane_recorded(&w->plane, "\"reason\":\"content_encoding\""));
		finish(w);
	}
	(void)state;
}

static void test_identity(void **state)
{
	struct world *w = begin(by_model);

	post(w, CHAT, "identity", EG_STR(BODY), SIZE_MAX);
	got(w, 0, EG_STR(BODY), NULL);
	finish(w);
	(void)state;
}

/* An operation whose body is not read: untouched, with its header. */
static void test_not_read(void **state)
{
	static const char files[] = "{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER(
		"p0") "}, \"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": "
		      "\"key\", \"namespace\": \"shop\"}}, \"policies\": [{\"name\": \"shop\", "
		      "\"mode\": \"enforce\", \"pods\": {\"namespaces\": [\"shop\"]}, "
		      "\"routes\": [{\"name\": \"any\", \"match\": {\"hosts\": "
		      "[\"api.openai.com\"], \"operations\": [\"files\"]}, \"targets\": "
		      "[{\"provider\": \"p0\"}]}]}]}";
	static const char *const codings[] = {"gzip", "compress", "gzip, br"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(codings); i++) {
		struct world *w = begin(files);

		post(w, "/v1/files", codings[i], EG_STR("not coded at all"), SIZE_MAX);
		got(w, 0, EG_STR("not coded at all"), codings[i]);
		finish(w);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),	       cmocka_unit_test(test_mapped),
		cmocka_unit_test(test_denied),	       cmocka_unit_test(test_broken),
		cmocka_unit_test(test_bomb),	       cmocka_unit_test(test_budget),
		cmocka_unit_test(test_limit_of_route), cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_identity),       cmocka_unit_test(test_form),
		cmocka_unit_test(test_two_readings),   cmocka_unit_test(test_not_read),
		cmocka_unit_test(test_in_pieces),      cmocka_unit_test(test_end_while_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
