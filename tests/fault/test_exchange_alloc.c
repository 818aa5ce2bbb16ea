/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request through front, exchange and upstream when memory runs out at every place it can, and
 * when reads and writes move few bytes. The client gets the whole answer, an error in dialect, or a
 * reset: never part of an answer that ends in order. Nothing is left behind.
 */
#include "pod.h"

#include "encode.h"
#include "fault.h"

#define STREAM                                                                                     \
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" \
	"6\r\ndata: \r\n12\r\n{}\n\ndata: [DONE]\n\n\r\n0\r\n\r\n"
#define BUSY "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"

/* A form whose model is mapped at the first target; one of its fields is JSON. */
#define PART(name, value) \
	"--form0123\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define FORM_END "--form0123--\r\n"
#define FORM                                                                               \
	"POST /v1/audio/transcriptions HTTP/1.1\r\n" HEADERS                               \
	"Content-Type: multipart/form-data; boundary=form0123\r\nTransfer-Encoding: "      \
	"chunked\r\n\r\n"                                                                  \
	"a1\r\n" PART("model", "gpt-4o") PART("x", "{\"\\u0061\":[\"\\u0062\"]}") FORM_END \
		"\r\n0\r\n\r\n"

static const char policy[] =
	"{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER("p0") "," PLANE_PROVIDER(
		"p1") "},"
		      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"
		      "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", \"pods\": "
		      "{\"namespaces\": [\"shop\"]},"
		      "\"routes\": [{\"name\": \"any\", \"match\": {\"hosts\": "
		      "[\"api.openai.com\"]},"
		      "\"targets\": [{\"provider\": \"p0\"}, {\"provider\": \"p1\"}]}], "
		      "\"otherwise\": \"deny\"}]}";
static const char mapping[] =
	"{\"version\": \"egret/v1\", \"providers\": {\"p0\": {\"kind\": \"openai\", \"endpoint\": "
	"\"http://provider.internal:%u/v1\", \"region\": \"cluster\", \"credential\": \"key\", "
	"\"models\": {\"gpt-4o\": \"own-name\"}}," PLANE_PROVIDER(
		"p1") "},"
		      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"
		      "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", \"pods\": "
		      "{\"namespaces\": [\"shop\"]},"
		      "\"routes\": [{\"name\": \"any\", \"match\": {\"hosts\": "
		      "[\"api.openai.com\"], \"models\": [\"gpt-*\"]},"
		      "\"targets\": [{\"provider\": \"p0\"}, {\"provider\": \"p1\"}]}], "
		      "\"otherwise\": \"deny\"}]}";

/* A JSON body whose model the second target calls otherwise, if it is asked. */
static const char mapping_later[] = "{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER(
	"p0") ",\"p1\": {\"kind\": \"openai\", \"endpoint\": "
	      "\"http://provider.internal:%u/v1\", \"region\": \"cluster\", "
	      "\"credential\": \"key\", \"models\": {\"gpt-4o\": \"own-name\"}}},"
	      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"
	      "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", \"pods\": "
	      "{\"namespaces\": [\"shop\"]},"
	      "\"routes\": [{\"name\": \"any\", \"match\": {\"hosts\": "
	      "[\"api.openai.com\"], \"models\": [\"gpt-*\"]},"
	      "\"targets\": [{\"provider\": \"p0\"}, {\"provider\": \"p1\"}]}], "
	      "\"otherwise\": \"deny\"}]}";

/* What is asked, by which policy, and what ends its body. */
struct asking {
	const char *policy;
	struct eg_str request, end;
	bool coded; /* so are the answers */
};
static const struct asking json = {policy, EG_STR(ASK), EG_STR(BODY), false};
static const struct asking form = {mapping, EG_STR(FORM), EG_STR(FORM_END), false};
static const struct asking later = {mapping_later, EG_STR(ASK), EG_STR("\"messages\":[]}"), false};
static const struct eg_str stream = EG_STR(STREAM), busy = EG_STR(BUSY);

/* Both ends without an allocation of their own: what fails is ours to fail. */
struct drive {
	const struct asking *asking;
	struct plane plane;
	struct pod pod;
	int provider[2]; /* -1: not called */
	char asked[2][4096], got[4096];
	size_t asked_n[2], got_n;
	bool end, reset, answered[2];
};

static bool has(const char *p, size_t n, struct eg_str what)
{
	return memmem(p, n, what.p, what.n) != NULL;
}

static void provider_turn(struct drive *d, int i, struct eg_str answer)
{
	ssize_t n;

	if (d->provider[i] < 0)
		d->provider[i] = accept4(d->plane.provider[i], NULL, NULL, SOCK_NONBLOCK);
	if (d->provider[i] < 0)
		return;
	n = __real_recv(d->provider[i], d->asked[i] + d->asked_n[i],
			sizeof(d->asked[i]) - d->asked_n[i] - 1, 0);
	if (n > 0)
		d->asked_n[i] += (size_t)n;
	if (n == 0) { /* given up, perhaps to come again */
		close(d->provider[i]);
		d->provider[i] = -1;
		d->asked_n[i] = 0;
		memset(d->asked[i], 0, sizeof(d->asked[i]));
		d->answered[i] = false;
		return;
	}
	if (!d->answered[i] && has(d->asked[i], d->asked_n[i], d->asking->end)) {
		if (d->asking == &form && !i)
			assert_non_null(strstr(d->asked[i], PART("model", "own-name")));
		if (d->asking == &later && i)
			assert_non_null(strstr(d->asked[i], "{\"model\":\"own-name\","));
		d->answered[i] = true;
		(void)!__real_send(d->provider[i], answer.p, answer.n, MSG_NOSIGNAL);
	}
}

static void client_turn(struct drive *d)
{
	ssize_t n = __real_recv(d->pod.in.fd, d->got + d->got_n, sizeof(d->got) - d->got_n - 1,
				MSG_DONTWAIT);

	if (n > 0)
		d->got_n += (size_t)n;
	else if (n == 0)
		d->end = true;
	else if (errno == ECONNRESET)
		d->reset = true;
}

static bool whole(const struct drive *d)
{
	return has(d->got, d->got_n, EG_STR("\r\n0\r\n\r\n")) ||
	       (strstr(d->got, "\"error\"") && !strstr(d->got, "HTTP/1.1 200"));
}

static void check(struct drive *d, bool tripped, bool trickled)
{
	if (!tripped)
		assert_non_null(strstr(d->got, "HTTP/1.1 200 OK"));
	if (!tripped && !trickled && !d->asking->coded) /* else chunks may come between */
		assert_non_null(strstr(d->got, "data: {}"));
	/* In order only when whole; else it was a reset, and nothing was said or a part. */
	if (!d->reset && !whole(d))
		fail_msg("neither whole nor reset: \"%s\" (receive %d, answer %d, asked %zu %zu, "
			 "answered %d)",
			 d->got, d->pod.server.receive, d->pod.server.answer, d->asked_n[0],
			 d->asked_n[1], d->answered[0]);
	if (strstr(d->got, "HTTP/1.1 200") && !has(d->got, d->got_n, EG_STR("\r\n0\r\n\r\n")))
		assert_true(d->reset);
}

static bool run(const struct asking *asking, unsigned long i, bool only_one,
		struct eg_str first_answer, struct eg_str second, size_t step)
{
	struct drive *d = __real_calloc(1, sizeof(*d));
	bool tripped;

	d->asking = asking;
	plane_up(&d->plane, asking->policy);
	pod_open(&d->pod, &d->plane, "api.openai.com");
	d->provider[0] = d->provider[1] = -1;
	(void)!__real_send(d->pod.in.fd, asking->request.p, asking->request.n, MSG_NOSIGNAL);
	if (only_one)
		fault_arm_one(i);
	else
		fault_arm(i);
	fault_trickle(step);
	for (int turn = 0; turn < 3000 && !d->reset && !whole(d); turn++) {
		(void)!eg_loop_turn(d->plane.loop, step || turn < 50 ? 0 : 1);
		provider_turn(d, 0, first_answer);
		provider_turn(d, 1, second);
		client_turn(d);
		/* Memory that comes back: what gave up must not come back to life. */
		if (turn == 200 && !step)
			fault_at = 0;
	}
	fault_trickle(0);
	tripped = fault_disarm();
	check(d, tripped, step > 0);
	pod_close(&d->pod);
	for (int j = 0; j < 2; j++)
		if (d->provider[j] >= 0)
			close(d->provider[j]);
	plane_down(&d->plane); /* asserts that nothing is in flight or charged */
	free(d);
	return tripped;
}

static void each(const struct asking *asking, struct eg_str first_answer, struct eg_str second)
{
	for (int only_one = 0; only_one < 2; only_one++) {
		unsigned long i = 1;

		while (run(asking, i, only_one, first_answer, second, 0))
			assert_true(++i < 5000);
		assert_true(i > 10); /* or there was nothing to fail */
	}
}

static void test_answered(void **state)
{
	each(&json, stream, stream);
	(void)state;
}

static void test_failing_over(void **state)
{
	each(&json, busy, stream);
	(void)state;
}

static void test_form(void **state)
{
	each(&form, stream, stream);
	each(&form, busy, stream);
	(void)state;
}

static void test_mapped_later(void **state)
{
	each(&later, busy, stream);
	(void)state;
}

/* Bytes with a head before them, on the heap. */
static struct coded with_head(const char *format, const char *name, struct coded body,
			      const char *tail)
{
	struct coded out = {malloc(body.n + 1024), 0};

	encode_need(out.p);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	out.n = (size_t)snprintf(out.p, 1024, format, name, body.n);
#pragma GCC diagnostic pop
	memcpy(out.p + out.n, body.p, body.n);
	memcpy(out.p + out.n + body.n, tail, strlen(tail));
	out.n += body.n + strlen(tail);
	return out;
}

/* The request coded, an error coded, the stream coded: the same, with what decoding allocates. */
static void test_coded(void **state)
{
	static const enum eg_coding all[] = {EG_CODING_GZIP, EG_CODING_BR, EG_CODING_ZSTD};

	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		const char *name = coding_name(all[i]);
		struct coded body = encode(all[i], EG_STR(BODY)),
			     said = encode(all[i], EG_STR("data: {}\n\ndata: [DONE]\n\n")),
			     wrong = encode(all[i], EG_STR("{\"error\":{\"type\":\"busy\"}}"));
		struct coded request =
			with_head("POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON
				  "Accept-Encoding: gzip, br, zstd\r\nContent-Encoding: %s\r\n"
				  "Content-Length: %zu\r\n\r\n",
				  name, body, "");
		struct coded answer = with_head(
			"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
			"Content-Encoding: %s\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n",
			name, said, "\r\n0\r\n\r\n");
		struct coded failing = with_head("HTTP/1.1 503 Busy\r\nContent-Encoding: %s\r\n"
						 "Content-Length: %zu\r\n\r\n",
						 name, wrong, "");
		struct asking coded = {policy, coded_str(&request), coded_str(&body), true};

		each(&coded, coded_str(&answer), coded_str(&answer));
		each(&coded, coded_str(&failing), coded_str(&answer));
		free(body.p);
		free(said.p);
		free(wrong.p);
		free(request.p);
		free(answer.p);
		free(failing.p);
	}
	(void)state;
}

static void test_trickle(void **state)
{
	for (size_t step = 1; step < 12; step++) {
		assert_false(run(&json, 0, false, stream, stream, step));
		assert_false(run(&json, 0, false, busy, stream, step));
		assert_false(run(&form, 0, false, busy, stream, step));
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answered), cmocka_unit_test(test_failing_over),
		cmocka_unit_test(test_form),	 cmocka_unit_test(test_coded),
		cmocka_unit_test(test_trickle),	 cmocka_unit_test(test_mapped_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
