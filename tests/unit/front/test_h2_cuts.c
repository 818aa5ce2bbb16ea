/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 of a pod cut at every byte, and with each byte alone. Whatever the cuts, the provider gets
 * the same bytes, each stream ends the same way, and the records give the same reasons.
 */
#include "pod2.h"
#include "upstream/h2_continuations.h"

#define ALONE SIZE_MAX

#define END_STREAM  NGHTTP2_FLAG_END_STREAM
#define END_HEADERS NGHTTP2_FLAG_END_HEADERS
#define STREAMS	    4

/* What a pod sends. */
struct wire {
	size_t n;
	char p[2048];
};

static void frame(struct wire *s, uint8_t type, uint8_t flags, uint32_t id, const char *payload,
		  size_t n)
{
	char head[9] = {(char)(n >> 16),  (char)(n >> 8),  (char)n,
			(char)type,	  (char)flags,	   (char)(id >> 24),
			(char)(id >> 16), (char)(id >> 8), (char)id};

	assert_true(s->n + 9 + n <= sizeof(s->p));
	memcpy(s->p + s->n, head, 9);
	if (n)
		memcpy(s->p + s->n + 9, payload, n);
	s->n += 9 + n;
}

static void headers(struct wire *s, uint8_t flags, uint32_t id, const char *fields)
{
	char block[1024];
	size_t n = raw_block(block, fields);

	frame(s, NGHTTP2_HEADERS, (uint8_t)(flags | END_HEADERS), id, block, n);
}

static void data(struct wire *s, uint8_t flags, uint32_t id, const char *text)
{
	frame(s, NGHTTP2_DATA, flags, id, text, strlen(text));
}

static void begin(struct wire *s)
{
	memcpy(s->p, H2_PREFACE.p, H2_PREFACE.n);
	s->n = H2_PREFACE.n;
	frame(s, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\1\0\0", 6);
}

/* ---- scripts ---- */

/* A head in three frames, a body in two, one of them padded, with trailers; other frames between.
 */
static void write_whole(struct wire *s)
{
	char block[1024];
	size_t n = raw_block(block, RAW_HEAD "content-length|32\nte|trailers\n");

	frame(s, NGHTTP2_HEADERS, 0, 1, block, 50);
	frame(s, NGHTTP2_CONTINUATION, END_HEADERS, 1, block + 50, n - 50);
	frame(s, NGHTTP2_PING, 0, 0, "12345678", 8);
	data(s, 0, 1, "{\"model\":\"");
	frame(s, NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, "\3gpt-4o\",\"messages\":[]}\0\0\0", 26);
	frame(s, NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\1\0", 4);
	headers(s, END_STREAM, 1, "x-sum|abc\n");
}

/* As many CONTINUATIONs as a head may have, and one more. */
static void write_continuations(struct wire *s, int count)
{
	char block[1024];
	size_t n = raw_block(block, RAW_HEAD);

	frame(s, NGHTTP2_HEADERS, END_STREAM, 1, block, n);
	for (int i = 1; i <= count; i++)
		frame(s, NGHTTP2_CONTINUATION, i < count ? 0 : END_HEADERS, 1, NULL, 0);
}

static void write_most_continuations(struct wire *s)
{
	write_continuations(s, H2_CONTINUATIONS);
}

static void write_too_many_continuations(struct wire *s)
{
	write_continuations(s, H2_CONTINUATIONS + 1);
}

/* Of two streams the second is reset for its fault, wherever that is seen. */
static void write_body(struct wire *s, const char *body, uint8_t flags)
{
	headers(s, 0, 1, RAW_HEAD);
	headers(s, 0, 3, RAW_HEAD "content-length|32\n");
	data(s, flags, 3, body);
	data(s, END_STREAM, 1, BODY);
}

static void write_more_than_its_length(struct wire *s)
{
	write_body(s, BODY " ", END_STREAM);
}

static void write_less_than_its_length(struct wire *s)
{
	write_body(s, "{\"model\":\"gpt-4o\"}", END_STREAM);
}

static void write_bad_trailers(struct wire *s)
{
	write_body(s, BODY, 0);
	headers(s, END_STREAM, 3, ":path|/x\n");
}

static void write_bad_head(struct wire *s)
{
	headers(s, END_STREAM, 1, RAW_HEAD "X-Upper|1\n");
	headers(s, END_STREAM, 3, RAW_HEAD "connection|close\n");
}

static void write_refused(struct wire *s)
{
	headers(s, 0, 1, RAW_HEAD "content-length|5\n");
	data(s, END_STREAM, 1, "{\"a\"}");
}

/* Frames that end the connection. */
static void write_data_on_no_stream(struct wire *s)
{
	data(s, 0, 0, "x");
}

static void write_settings_of_a_wrong_size(struct wire *s)
{
	frame(s, NGHTTP2_SETTINGS, 0, 0, "\0\4\0", 3);
}

static void write_no_continuation(struct wire *s)
{
	char block[1024];
	size_t n = raw_block(block, RAW_HEAD);

	frame(s, NGHTTP2_HEADERS, 0, 1, block, n);
	frame(s, NGHTTP2_PING, 0, 0, "12345678", 8);
}

struct script {
	const char *name;
	void (*write)(struct wire *s);
	bool asks;	    /* the provider gets a request */
	uint32_t stream[2]; /* each is answered, or reset; none: the connection ends */
};

static const struct script scripts[] = {
	{"a whole request", write_whole, true, {1}},
	{"more than its length", write_more_than_its_length, true, {1, 3}},
	{"less than its length", write_less_than_its_length, true, {1, 3}},
	{"bad trailers", write_bad_trailers, true, {1, 3}},
	{"bad heads", write_bad_head, false, {1, 3}},
	{"a body that is no JSON", write_refused, false, {1}},
	{"8 CONTINUATIONs", write_most_continuations, false, {1}},
	{"9 CONTINUATIONs", write_too_many_continuations, false, {0}},
	{"DATA on no stream", write_data_on_no_stream, false, {0}},
	{"SETTINGS of a wrong size", write_settings_of_a_wrong_size, false, {0}},
	{"a head that does not go on", write_no_continuation, false, {0}},
};

/* ---- one run ---- */

struct told {
	char up[4096], reasons[1024];
	struct {
		int heads;
		bool end;
		uint32_t reset; /* its code + 1 */
		size_t n;
		char data[512];
	} stream[STREAMS];
	uint32_t goaway; /* its code + 1 */
	int pongs;
	bool ended;
};

/* The pod's frames, but for those that keep windows. */
static void note_frames(struct told *t, const struct inbox *in)
{
	const unsigned char *p = (const unsigned char *)in->text;

	memset(t->stream, 0, sizeof(t->stream));
	t->goaway = 0;
	t->pongs = 0;
	for (size_t at = 0, n; at + 9 <= in->n; at += 9 + n) {
		const unsigned char *f = p + at;
		uint32_t id = raw_u32(f + 5) & 0x7fffffff;

		n = (size_t)f[0] << 16 | (size_t)f[1] << 8 | f[2];
		if (at + 9 + n > in->n)
			break;
		if (f[3] == NGHTTP2_GOAWAY)
			t->goaway = raw_u32(f + 13) + 1;
		t->pongs += f[3] == NGHTTP2_PING && f[4] & NGHTTP2_FLAG_ACK;
		assert_true(id < STREAMS);
		if (f[3] == NGHTTP2_RST_STREAM)
			t->stream[id].reset = raw_u32(f + 9) + 1;
		if (f[3] == NGHTTP2_HEADERS)
			t->stream[id].heads++;
		if (f[3] == NGHTTP2_HEADERS || f[3] == NGHTTP2_DATA)
			t->stream[id].end |= f[4] & END_STREAM;
		if (f[3] == NGHTTP2_DATA) {
			assert_true(t->stream[id].n + n < sizeof(t->stream[id].data));
			memcpy(t->stream[id].data + t->stream[id].n, f + 9, n);
			t->stream[id].n += n;
		}
	}
}

static bool all_over(struct told *t, const struct script *s, struct inbox *in)
{
	inbox_poll(in);
	note_frames(t, in);
	if (!s->stream[0])
		return in->end || in->reset;
	for (size_t i = 0; i < EG_ARRAY_SIZE(s->stream) && s->stream[i]; i++)
		if (!t->stream[s->stream[i]].end && !t->stream[s->stream[i]].reset)
			return false;
	return true;
}

/* What differs from run to run. */
static void mask(char *text, const char *before, char until)
{
	while ((text = strstr(text, before)))
		for (text += strlen(before); *text && *text != until; text++)
			*text = '*';
}

static void send_cut(struct plane *p, int fd, const struct wire *s, size_t cut)
{
	for (size_t at = 0, step; at < s->n; at += step) {
		step = cut == ALONE ? 1 : at || !cut ? s->n - at : cut;
		if (send(fd, s->p + at, step, MSG_NOSIGNAL) != (ssize_t)step)
			return;
		plane_turns(p, 3);
	}
}

static struct told *run(const struct script *s, const struct wire *w, size_t cut)
{
	struct told *t = calloc(1, sizeof(*t));
	struct plane *p = calloc(1, sizeof(*p));
	struct pod2 *pod = calloc(1, sizeof(*pod));
	struct inbox up = {.fd = -1};

	plane_up(p, PLANE_POLICY);
	pod2_open(pod, p, "api.openai.com");
	pod2_begin(pod);
	send_cut(p, pod->in.fd, w, cut);
	if (s->asks) {
		inbox_init(&up, plane_accept(p, p->provider[0]));
		inbox_await(p, &up, BODY);
		plane_send(p, up.fd, OK(2, "{}"));
	}
	for (int i = 0; i < PLANE_TURNS && !all_over(t, s, &pod->in); i++)
		plane_turn(p);
	if (!all_over(t, s, &pod->in))
		fail_msg("%s, cut at %zd: it is not over", s->name, (ssize_t)cut);
	t->ended = pod->in.end || pod->in.reset;
	if (s->asks) {
		inbox_poll(&up);
		assert_true(up.n < sizeof(t->up));
		memcpy(t->up, up.text, up.n);
		mask(t->up, "host: provider.internal:", '\r');
		inbox_fini(&up);
	}
	assert_true(plane_nobody(p, p->provider[0]));
	for (int i = 0; i < STREAMS; i++)
		mask(t->stream[i].data, "\"request_id\":\"", '"');
	pod2_close(pod);
	plane_reasons(p, t->reasons, sizeof(t->reasons));
	plane_down(p);
	free(pod);
	free(p);
	return t;
}

static void show(const struct told *t)
{
	print_message("provider \"%s\"; reasons %s; GOAWAY %d, %d pongs, ended %d\n", t->up,
		      t->reasons, (int)t->goaway - 1, t->pongs, t->ended);
	for (int i = 0; i < STREAMS; i++)
		if (t->stream[i].heads || t->stream[i].reset)
			print_message("stream %d: %d heads, end %d, reset %d, \"%s\"\n", i,
				      t->stream[i].heads, t->stream[i].end,
				      (int)t->stream[i].reset - 1, t->stream[i].data);
}

static void same(const struct script *s, size_t cut, const struct told *whole, struct told *t)
{
	if (memcmp(whole, t, sizeof(*t)) != 0) {
		show(t);
		show(whole);
		fail_msg("%s, cut at %zd: the first, not the second", s->name, (ssize_t)cut);
	}
	free(t);
}

static void test_frames(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(scripts); i++) {
		const struct script *s = &scripts[i];
		struct wire w;
		struct told *whole;

		begin(&w);
		s->write(&w);
		whole = run(s, &w, 0);
		assert_int_equal(whole->goaway != 0, !s->stream[0]);
		for (size_t cut = 1; cut < w.n; cut++)
			same(s, cut, whole, run(s, &w, cut));
		same(s, ALONE, whole, run(s, &w, ALONE));
		free(whole);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
