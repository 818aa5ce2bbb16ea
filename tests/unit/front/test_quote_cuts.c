/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider's answer that quotes the credential, or whose content-length is wrong, cut at every
 * byte, and with each byte alone; over HTTP/2 also with its body in two frames, wherever they part.
 * Whatever the cuts, the pod gets the same bytes and the same end, and none of the key; the record
 * gives the same reason.
 */
#include "targets.h"

#include "h2_frames.h"
#include "h2_provider.h"

#define ALONE SIZE_MAX
#define NOT   SIZE_MAX

static const char policy[] = THREE "\"targets\": [{\"provider\": \"p0\"}]}], "
				   "\"otherwise\": \"deny\"}]}";

#define WORD "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n"

static const struct answer {
	const char *name, *status, *type, *body;
	int length;	 /* content-length, beside the body's own; NONE: without */
	const char *got; /* the pod's status */
	const char *reason;
} answers[] = {
#define NONE 1000
	{"in a JSON body", "200", "application/json", "{\"choices\":[],\"x\":\"" PLANE_KEY "\"}", 0,
	 " 200 ", "upstream_auth"},
	{"the same without a length", "200", "application/json",
	 "{\"choices\":[],\"x\":\"" PLANE_KEY "\"}", NONE, " 200 ", "upstream_auth"},
	{"at the beginning of what is no JSON", "200", "text/plain", PLANE_KEY " is it", 0, " 200 ",
	 "upstream_auth"},
	{"at the end", "200", "text/plain", "it is " PLANE_KEY, 0, " 200 ", "upstream_auth"},
	{"behind its own beginning", "200", "text/plain", "sk-real-sk-re" PLANE_KEY, NONE, " 200 ",
	 "upstream_auth"},
	{"in a JSON error of a 200", "200", "application/json",
	 "{\"error\":{\"message\":\"" PLANE_KEY "\"}}", 0, " 502 ", "upstream_auth"},
	{"in an error", "400", "application/json", "{\"error\":{\"message\":\"" PLANE_KEY "\"}}", 0,
	 " 502 ", "upstream_auth"},
	{"in the first event", "200", "text/event-stream",
	 ": hi\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"" PLANE_KEY "\"}}]}\n\n" WORD, NONE,
	 " 502 ", "upstream_auth"},
	{"in a comment before it", "200", "text/event-stream", ": " PLANE_KEY "\n\n" WORD, NONE,
	 " 502 ", "upstream_auth"},
	{"in a later event", "200", "text/event-stream",
	 WORD "data: {\"choices\":[{\"delta\":{\"content\":\"" PLANE_KEY "\"}}]}\n\n", NONE,
	 " 200 ", "upstream_auth"},
	{"a length that is right", "200", "application/json", "{\"choices\":[]}", 0, " 200 ", "ok"},
	{"one that is too long", "200", "text/plain", "eleven bytes", 3, " 200 ", "upstream_"},
};

struct told {
	char pod[4096], reasons[256];
	bool reset;
};

static size_t frame(char *to, uint8_t type, uint8_t flags, const char *bytes, size_t n)
{
	memcpy(to, (const char[]){0, (char)(n >> 8), (char)n, (char)type, (char)flags, 0, 0, 0, 1},
	       9);
	memcpy(to + 9, bytes, n);
	return 9 + n;
}

/* `part`: where the body's first frame ends, or its first chunk; NOT: there is one. */
static size_t write_answer(const struct answer *a, size_t part, char *to)
{
	size_t all = strlen(a->body), first = EG_MIN(all, part), n;
	char fields[256], block[512], length[64] = "";

	if (a->length != NONE)
		snprintf(length, sizeof(length),
			 plane_http2 ? "content-length|%d\n" : "Content-Length: %d\r\n",
			 (int)all + a->length);
	if (!plane_http2) {
		n = (size_t)sprintf(to, "HTTP/1.1 %s X\r\nContent-Type: %s\r\n%s", a->status,
				    a->type,
				    a->length == NONE ? "Transfer-Encoding: chunked\r\n" : length);
		if (a->length != NONE)
			return n + (size_t)sprintf(to + n, "\r\n%s", a->body);
		n += (size_t)sprintf(to + n, "\r\n%zx\r\n%.*s\r\n", first, (int)first, a->body);
		if (first < all)
			n += (size_t)sprintf(to + n, "%zx\r\n%s\r\n", all - first, a->body + first);
		return n + (size_t)sprintf(to + n, "0\r\n\r\n");
	}
	snprintf(fields, sizeof(fields), ":status|%s\ncontent-type|%s\n%s", a->status, a->type,
		 length);
	n = frame(to, NGHTTP2_HEADERS, EOH, block, raw_block(block, fields));
	n += frame(to + n, NGHTTP2_DATA, first == all ? END : 0, a->body, first);
	return first == all ? n
			    : n + frame(to + n, NGHTTP2_DATA, END, a->body + first, all - first);
}

static void mask(char *text, const char *before, char until)
{
	while ((text = strstr(text, before)))
		for (text += strlen(before); *text && *text != until; text++)
			*text = '*';
}

/* Chunks are as the bytes came: without their sizes and ends. */
static void note(struct told *t, struct inbox *in)
{
	char *text = calloc(1, in->n + 1), *at;
	size_t n = 0;

	memcpy(text, in->text, in->n);
	mask(text, "x-egret-request-id: ", '\r');
	mask(text, "\"request_id\":\"", '"');
	at = strstr(text, "\r\n\r\n");
	assert_non_null(at);
	assert_true(in->n < sizeof(t->pod));
	at += 4;
	n = (size_t)(at - text);
	memcpy(t->pod, text, n);
	if (strstr(t->pod, "chunked")) {
		while (*at) {
			size_t size = strtoul(at, &at, 16);

			at += 2;
			size = EG_MIN(size, strlen(at));
			memcpy(t->pod + n, at, size);
			n += size;
			at += EG_MIN(size + 2, strlen(at));
		}
	} else {
		strcpy(t->pod + n, at);
	}
	free(text);
}

static struct told *run(const struct answer *a, size_t part, size_t cut)
{
	static char wire[4096];
	struct told *t = calloc(1, sizeof(*t));
	struct world *w = begin(policy);
	size_t all = write_answer(a, part, wire), step = cut == ALONE ? 1 : cut ? cut : all;
	int fd;

	pod_send(&w->pod, ASK);
	fd = plane_accept(&w->plane, w->plane.provider[0]);
	inbox_init(&w->up[0], fd);
	if (plane_http2)
		plane_send_n(&w->plane, fd, "\0\0\0\4\0\0\0\0\0", 9);
	inbox_await(&w->plane, &w->up[0], BODY);
	for (size_t at = 0; at < all; at += step) {
		if (at && cut != ALONE)
			step = all - at;
		if (send(fd, wire + at, EG_MIN(step, all - at), MSG_NOSIGNAL) < 0)
			break;
		plane_turns(&w->plane, 3);
	}
	if (a->length > 0 && a->length != NONE)
		shutdown(fd, SHUT_WR);
	for (int i = 0; i < PLANE_TURNS && !plane_record_count(&w->plane); i++)
		plane_turn(&w->plane);
	if (!strcmp(a->got, " 200 ") && strcmp(a->reason, "ok") != 0)
		inbox_await_end(&w->plane, &w->pod.in);
	plane_turns(&w->plane, 5);
	inbox_poll(&w->pod.in);
	t->reset = w->pod.in.reset;
	note(t, &w->pod.in);
	plane_reasons(&w->plane, t->reasons, sizeof(t->reasons));
	finish(w);
	return t;
}

static void same(const struct answer *a, size_t part, size_t cut, const struct told *whole)
{
	struct told *t = run(a, part, cut);

	if (memcmp(t, whole, sizeof(*t)) != 0)
		fail_msg("%s: parted at %zd, cut at %zd: \"%s\", not \"%s\"; %s, not %s; reset %d, "
			 "not %d",
			 a->name, (ssize_t)part, (ssize_t)cut, t->pod, whole->pod, t->reasons,
			 whole->reasons, t->reset, whole->reset);
	free(t);
}

static void judge(const struct answer *a)
{
	static char wire[4096];
	struct told *whole = run(a, NOT, 0);
	size_t n = write_answer(a, NOT, wire);

	print_message("%s\n", a->name);
	if (!strstr(whole->pod, a->got) || strstr(whole->pod, "sk-real-0") ||
	    !strstr(whole->reasons, a->reason))
		fail_msg("%s: \"%s\", %s", a->name, whole->pod, whole->reasons);
	for (size_t cut = 1; cut < n; cut++)
		same(a, NOT, cut, whole);
	same(a, NOT, ALONE, whole);
	for (size_t part = 1; part < strlen(a->body); part++) {
		same(a, part, 0, whole);
		if (part % 7 == 0)
			same(a, part, ALONE, whole);
	}
	free(whole);
}

static void test_http1(void **state)
{
	(void)state;
	plane_http2 = false;
	for (size_t i = 0; i < EG_ARRAY_SIZE(answers); i++)
		judge(&answers[i]);
}

/* Over HTTP/1.1 what is behind the length belongs to nothing; over HTTP/2 a frame that goes beyond
 * it is malformed (RFC 9113 section 8.1.1), and none of that frame is passed on. */
static void test_length_too_short(void **state)
{
	static const struct answer a = {"short", "200",	  "text/plain",	      "eleven bytes",
					-3,	 " 200 ", "upstream_protocol"};
	static char wire[4096];
	struct told *whole;

	(void)state;
	plane_http2 = true;
	whole = run(&a, NOT, 0);
	if (!strstr(whole->pod, "\r\n\r\n") || strstr(whole->pod, "eleven") ||
	    !strstr(whole->reasons, a.reason))
		fail_msg("\"%s\", %s", whole->pod, whole->reasons);
	for (size_t cut = 1; cut < write_answer(&a, NOT, wire); cut++)
		same(&a, NOT, cut, whole);
	same(&a, NOT, ALONE, whole);
	free(whole);
}

static void test_http2(void **state)
{
	(void)state;
	plane_http2 = true;
	for (size_t i = 0; i < EG_ARRAY_SIZE(answers); i++)
		judge(&answers[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_http1),
		cmocka_unit_test(test_http2),
		cmocka_unit_test(test_length_too_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
