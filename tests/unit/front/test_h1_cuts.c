/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 cut at every byte, and with each byte alone: what a pod sends, and what a provider
 * answers. Whatever the cuts, the provider gets the same bytes, the pod gets the same answer, and
 * the records give the same reasons.
 */
#include "pod.h"

#include "proto/chunked.h"

#define ALONE SIZE_MAX

static const char policy[] = "{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER(
	"p0") "},"
	      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"
	      "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", \"pods\": "
	      "{\"namespaces\": [\"shop\"]},"
	      "\"routes\": [{\"name\": \"live\", \"match\": {\"hosts\": "
	      "[\"api.openai.com\"], \"operations\": [\"realtime\"]},"
	      "\"targets\": [{\"provider\": \"p0\"}]},"
	      "{\"name\": \"chat\", \"match\": {\"hosts\": [\"api.openai.com\"]},"
	      "\"targets\": [{\"provider\": \"p0\"}]}], \"otherwise\": \"deny\"}]}";

#define OPEN                                                                         \
	"GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\n" HEADERS                   \
	"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
#define GRANT                                                                               \
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
#define CHUNKED \
	"POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON "Transfer-Encoding: chunked\r\n"
#define CHUNKED_OK \
	"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
#define EVENTS \
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
#define WORD "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n" /* 47 bytes */

struct exchange {
	const char *name;
	struct eg_str request;
	const char *asked; /* the provider has it when it answers; NULL: nobody asks it */
	struct eg_str answer;
	const char *got; /* the pod has it at the end; NULL: the connection ends */
	int times;	 /* asked, and answered, so often */
	bool closes;	 /* the provider, after its answer */
	bool torn;	 /* how much of the answer the pod has got depends on cuts */
};
#define TEXT(s)                  \
	{                        \
		s, sizeof(s) - 1 \
	}

static const struct exchange requests[] = {
	{"two with lengths", TEXT(ASK ASK), BODY, TEXT(OK(2, "{}")), "{}", 2, false, false},
	{"chunks, extensions, trailers",
	 TEXT(CHUNKED
	      "\r\n10;a=\"b;\";c\r\n{\"model\":\"gpt-4o\r\n1\r\n\"\r\n0f\r\n,\"messages\":[]}\r\n"
	      "0;x\r\nX-Sum: abc\r\nX-Other:\r\n\r\n"),
	 BODY, TEXT(OK(2, "{}")), "{}", 1, false, false},
	{"WebSocket and its first frames",
	 TEXT(OPEN "\x81\x85"
		   "abcdefghi"),
	 "abcdefghi", TEXT(GRANT "\x81\x02hi"), "hi", 1, false, false},
	{"a size that is none", TEXT(CHUNKED "\r\n1x\r\n"), NULL, TEXT(""), NULL, 0, false, false},
	{"a chunk without its end", TEXT(CHUNKED "\r\n2\r\n{}}\r\n"), NULL, TEXT(""), NULL, 0,
	 false, false},
	{"a folded field", TEXT("GET /v1/models HTTP/1.1\r\n" HEADERS "X: y\r\n z\r\n\r\n"), NULL,
	 TEXT(""), NULL, 0, false, false},
	{"two lengths", TEXT(POST(32, "Content-Length: 31\r\n") BODY), NULL, TEXT(""), NULL, 0,
	 false, false},
	{"LF alone", TEXT("GET /v1/models HTTP/1.1\r\n" HEADERS "X: y\n\r\n"), NULL, TEXT(""), NULL,
	 0, false, false},
};

static const struct exchange answers[] = {
	{"length", TEXT(ASK), BODY, TEXT(OK(15, "{\"object\":\"x\"}\n")), "\"x\"}\n", 1, false,
	 false},
	{"chunks and trailers", TEXT(POST(32, "TE: trailers\r\nConnection: TE\r\n") BODY), BODY,
	 TEXT(CHUNKED_OK
	      "8;a=b\r\n{\"object\r\n00001\r\n\"\r\n5\r\n:\"x\"}\r\n0\r\nX-Sum: abc\r\n\r\n"),
	 "X-Sum: abc\r\n\r\n", 1, false, false},
	{"others before it", TEXT(ASK), BODY,
	 TEXT("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK(2,
											    "{}")),
	 "{}", 1, false, false},
	{"events", TEXT(ASK), BODY,
	 TEXT(EVENTS "2f\r\n" WORD "\r\n1\r\n:\r\n3\r\nx\r\n\r\n2f\r\n\n\n"
		     "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\r\n"
		     "10\r\n\n\ndata: [DONE]\n\n\r\n0\r\n\r\n"),
	 "0\r\n\r\n", 1, false, false},
	{"until its end", TEXT(ASK), BODY,
	 TEXT("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"object\":1}"),
	 "0\r\n\r\n", 1, true, false},
	{"WebSocket and its first frames", TEXT(OPEN), "\r\n\r\n",
	 TEXT(GRANT "\x81\x04"
		    "four"),
	 "four", 1, false, false},
	{"no head", TEXT(ASK), BODY, TEXT("HTTP/1.1 200 OK\r\nX : y\r\n\r\n"), "}}", 1, true,
	 false},
	{"a tab behind the coding", TEXT(ASK), BODY,
	 TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n"), "}}", 1, true,
	 false},
	{"a chunk without its end", TEXT(ASK), BODY, TEXT(CHUNKED_OK "2\r\n{}}\r\n0\r\n\r\n"), NULL,
	 1, true, true},
	{"the credential, as the first name", TEXT(ASK), BODY,
	 TEXT(OK(40, "{\"" PLANE_KEY "\":1}")), NULL, 1, false, false},
	{"the credential, later", TEXT(ASK), BODY,
	 TEXT(OK(57, "{\"choices\":[],\"x\":\"" PLANE_KEY "\"}  ")), NULL, 1, false, false},
	{"the credential, in an error", TEXT(ASK), BODY,
	 TEXT("HTTP/1.1 400 Bad\r\nContent-Length: 40\r\n\r\n{\"" PLANE_KEY "\":1}"),
	 "are withheld.", 1, false, false},
	{"the credential, before the stream says anything", TEXT(ASK), BODY,
	 TEXT(EVENTS "57\r\n: ping\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"" PLANE_KEY
		     "\"}}]}\n\r\n1\r\n\n\r\n0\r\n\r\n"),
	 "are withheld.", 1, false, false},
	{"the credential, in the next event", TEXT(ASK), BODY,
	 TEXT(EVENTS "2f\r\n" WORD "\r\n25\r\n: " PLANE_KEY "\n\r\n0\r\n\r\n"), NULL, 1, false,
	 false},
	{"less than its length", TEXT(ASK), BODY, TEXT(OK(20, "{\"object\":1}")), NULL, 1, true,
	 false},
};

struct told {
	char up[4096], pod[4096], reasons[1024];
	bool ended, reset;
};

/* ---- an exchange ---- */

static void send_cut(struct plane *p, int fd, struct eg_str text, size_t cut)
{
	size_t step = cut == ALONE ? 1 : cut ? cut : text.n;

	for (size_t at = 0; at < text.n; at += step) {
		if (at && cut != ALONE)
			step = text.n - at;
		step = EG_MIN(step, text.n - at);
		/* It may have been refused, and the connection ended, before this. */
		if (send(fd, text.p + at, step, MSG_NOSIGNAL) != (ssize_t)step)
			return;
		plane_turns(p, 3);
	}
}

static int count_of(const struct inbox *b, const char *text)
{
	const char *at = b->text;
	int n = 0;

	while ((at = memmem(at, b->n - (size_t)(at - b->text), text, strlen(text)))) {
		at += strlen(text);
		n++;
	}
	return n;
}

static void await_times(struct plane *p, struct inbox *b, const char *text, int times)
{
	for (int i = 0; i < PLANE_TURNS && count_of(b, text) < times; i++) {
		inbox_poll(b);
		if (count_of(b, text) < times)
			plane_turn(p);
	}
	if (count_of(b, text) < times)
		fail_msg("awaited \"%s\" after: %s", text, b->text);
}

/* ---- what was told, without what differs from run to run ---- */

/* Chunks are as the bytes came: their data only. */
static size_t without_chunks(struct eg_str in, char *out)
{
	struct eg_chunked c;
	struct eg_buf trailers;
	enum eg_io io = EG_IO_AGAIN;
	size_t n = 0;

	eg_chunked_init(&c);
	eg_buf_init(&trailers, 1024);
	c.trailers = &trailers;
	while (io == EG_IO_AGAIN && in.n) {
		struct eg_str data;
		size_t used;

		io = eg_chunked_decode(&c, in, &used, &data);
		assert_int_not_equal(io, EG_IO_FAIL);
		memcpy(out + n, data.p, data.n);
		n += data.n;
		in.p += used;
		in.n -= used;
	}
	memcpy(out + n, "|", 1);
	if (trailers.length)
		memcpy(out + n + 1, eg_buf_data(&trailers), trailers.length);
	n += 1 + trailers.length;
	eg_buf_fini(&trailers);
	return n;
}

static void mask(char *text, const char *before, char until)
{
	while ((text = strstr(text, before)))
		for (text += strlen(before); *text && *text != until; text++)
			*text = '*';
}

static void note_pod(struct told *t, const struct inbox *in)
{
	static const char chunked[] = "transfer-encoding: chunked";
	char *text = calloc(1, in->n + 1), *body;
	size_t n = in->n;

	assert_true(n < sizeof(t->pod));
	memcpy(text, in->text, n);
	mask(text, "x-egret-request-id: ", '\r');
	mask(text, "\"request_id\":\"", '"');
	body = strstr(text, "\r\n\r\n");
	if (body && memmem(text, (size_t)(body - text), chunked, sizeof(chunked) - 1)) {
		size_t head = (size_t)(body + 4 - text);

		memcpy(t->pod, text, head);
		(void)without_chunks((struct eg_str){text + head, n - head}, t->pod + head);
	} else {
		memcpy(t->pod, text, n);
	}
	free(text);
}

static struct told *run(const struct exchange *x, size_t request_cut, size_t answer_cut)
{
	struct told *t = calloc(1, sizeof(*t));
	struct plane *p = calloc(1, sizeof(*p));
	struct pod *pod = calloc(1, sizeof(*pod));
	struct inbox up = {.fd = -1};

	plane_up(p, policy);
	pod_open(pod, p, "api.openai.com");
	send_cut(p, pod->in.fd, x->request, request_cut);
	for (int i = 1; i <= x->times; i++) {
		if (!up.text)
			inbox_init(&up, plane_accept(p, p->provider[0]));
		await_times(p, &up, x->asked, i);
		send_cut(p, up.fd, x->answer, answer_cut);
		if (x->closes)
			shutdown(up.fd, SHUT_WR);
		if (x->got)
			await_times(p, &pod->in, x->got, i);
	}
	if (!x->got)
		inbox_await_end(p, &pod->in);
	plane_turns(p, 3);
	inbox_poll(&pod->in);
	if (!x->times)
		assert_true(plane_nobody(p, p->provider[0]));
	if (up.text) {
		inbox_poll(&up);
		assert_true(up.n < sizeof(t->up));
		memcpy(t->up, up.text, up.n);
		mask(t->up, "host: provider.internal:", '\r');
		inbox_fini(&up);
	}
	t->ended = pod->in.end;
	t->reset = pod->in.reset;
	if (!x->torn)
		note_pod(t, &pod->in);
	pod_close(pod);
	plane_reasons(p, t->reasons, sizeof(t->reasons));
	plane_down(p);
	free(pod);
	free(p);
	return t;
}

static void same(const struct exchange *x, const char *what, size_t cut, const struct told *whole,
		 struct told *t)
{
	if (memcmp(whole, t, sizeof(*t)) != 0)
		fail_msg("%s, the %s cut at %zd: provider \"%s\", not \"%s\"; pod \"%s\", not "
			 "\"%s\"; "
			 "reasons %s, not %s; ended %d, not %d; reset %d, not %d",
			 x->name, what, (ssize_t)cut, t->up, whole->up, t->pod, whole->pod,
			 t->reasons, whole->reasons, t->ended, whole->ended, t->reset,
			 whole->reset);
	free(t);
}

static void test_requests(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(requests); i++) {
		const struct exchange *x = &requests[i];
		struct told *whole = run(x, 0, 0);

		for (size_t cut = 1; cut < x->request.n; cut++)
			same(x, "request", cut, whole, run(x, cut, 0));
		same(x, "request", ALONE, whole, run(x, ALONE, 0));
		free(whole);
	}
	(void)state;
}

static void test_answers(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(answers); i++) {
		const struct exchange *x = &answers[i];
		struct told *whole = run(x, 0, 0);

		for (size_t cut = 1; cut < x->answer.n; cut++)
			same(x, "answer", cut, whole, run(x, 0, cut));
		same(x, "answer", ALONE, whole, run(x, 0, ALONE));
		free(whole);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
