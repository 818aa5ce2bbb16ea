/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client of `make bench`: one thread, HTTP/1.1 over TLS 1.3 or plain, one JSON line of what
 *became of it.
 *
 *	closed    each connection sends its next request when it has the answer
 *	rate      requests are due at fixed times whatever the answers do; latency counts from when
 *a request was due, so that a slow proxy can't slow down its own measurement connect   a new
 *connection for each request; --resume offers the ticket of the one before idle      opens the
 *connections, one request on each, then holds them until standard input says or ends sse closed,
 *and each event holds the time at which the provider wrote it until     one connection, one request
 *after the other, until the status is --status: when was the first such one sent raw       plain
 *TCP: --size bytes there and the same back
 *
 * Answers are counted between the end of the warm-up and the end of the time. A run with an error
 *is no measurement.
 */
#include "conn.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <dirent.h>
#include <unistd.h>

#include "h1.h"

#define NS	   1000000000ULL
#define PROCESSES  64
#define HEAD_BYTES 4096

enum mode { CLOSED, RATE, CONNECT, IDLE, SSE, UNTIL, RAW };
static const char *const mode_names[] = {"closed", "rate",  "connect", "idle",
					 "sse",	   "until", "raw"};

static struct {
	enum mode mode;
	const char *address, *name, *ca, *path, *model, *key, *host;
	uint16_t port;
	size_t connections, pad, size;
	double seconds, warm, rate;
	bool plain, resume, stream;
	int status;
	int pid[PROCESSES], pid_count;
} opt = {
	.address = "127.0.0.1",
	.port = 443,
	.connections = 64,
	.seconds = 5,
	.warm = 1,
	.rate = 1000,
	.path = "/v1/chat/completions",
	.model = "gpt-4o",
	.key = "placeholder",
	.size = 1024,
	.status = 403,
};

enum state { CLOSED_STATE, HANDSHAKE, READY, HEAD, BODY, HELD };

struct client {
	struct bench_conn c;
	enum state state;
	struct bench_head head;
	size_t used; /* of text, while in HEAD; of the event's line, while in BODY */
	char text[HEAD_BYTES];
	uint64_t due_ns;
	SSL_SESSION *session;
	struct client *next_free;
};

static struct {
	uint64_t requests, errors, other_status, bytes, sent, events, resumed, handshakes,
		reconnects;
	uint64_t *sample_ns;
	size_t samples, room;
	uint64_t found_ns;
	int last_status;
	char first_error[200];
} result;

static int epoll = -1;
static SSL_CTX *ctx;
static struct client *clients, *free_first, **free_last = &free_first;
static char *request;
static size_t request_length, opened, held;
static uint64_t first_due_ns, issued;
static bool measuring, stopping;

static void sample(uint64_t ns)
{
	if (!measuring)
		return;
	if (result.samples == result.room) {
		result.room = result.room ? result.room * 2 : 1 << 16;
		result.sample_ns =
			realloc(result.sample_ns, result.room * sizeof(*result.sample_ns));
		if (!result.sample_ns)
			bench_die("memory", strerror(errno));
	}
	result.sample_ns[result.samples++] = ns;
}

static void failed(const char *why)
{
	result.errors++;
	if (!result.first_error[0])
		snprintf(result.first_error, sizeof(result.first_error), "%s", why);
}

/* ---- requests ---- */

#define BOUNDARY "egret-bench-boundary"

/* What stands before and after the padding: a chat completion, or a form with a file to transcribe.
 */
static void body_frame(bool form, char *start, size_t size, const char **tail)
{
	if (form) {
		snprintf(start, size,
			 "--" BOUNDARY
			 "\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n%s\r\n"
			 "--" BOUNDARY "\r\nContent-Disposition: form-data; name=\"file\"; "
			 "filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n",
			 opt.model);
		*tail = "\r\n--" BOUNDARY "--\r\n";
	} else {
		snprintf(start, size,
			 "{\"model\":\"%s\",%s\"messages\":[{\"role\":\"user\",\"content\":\"",
			 opt.model, opt.stream ? "\"stream\":true," : "");
		*tail = "\"}]}";
	}
}

static void build_request(void)
{
	bool form = strstr(opt.path, "transcriptions");
	char head[2048], start[512];
	const char *tail;
	size_t body, head_length, start_length;

	if (opt.mode == RAW) {
		request = bench_alloc(opt.size);
		memset(request, 'r', opt.size);
		request_length = opt.size;
		return;
	}
	body_frame(form, start, sizeof(start), &tail);
	start_length = strlen(start);
	body = start_length + opt.pad + strlen(tail);
	snprintf(head, sizeof(head),
		 "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\n"
		 "User-Agent: egret-bench\r\nAccept: */*\r\nContent-Length: %zu\r\n\r\n",
		 opt.path, opt.host ? opt.host : opt.name, opt.key,
		 form ? "multipart/form-data; boundary=" BOUNDARY : "application/json", body);
	head_length = strlen(head);
	request_length = head_length + body;
	request = bench_alloc(request_length + 1);
	memcpy(request, head, head_length);
	memcpy(request + head_length, start, start_length);
	memset(request + head_length + start_length, 'a', opt.pad);
	memcpy(request + head_length + start_length + opt.pad, tail, strlen(tail));
}

static void open_client(struct client *k);

static void send_request(struct client *k, uint64_t due_ns)
{
	k->due_ns = due_ns;
	k->state = opt.mode == RAW ? BODY : HEAD;
	k->used = 0;
	k->head.body = (struct bench_framing){.kind = BENCH_BODY_LENGTH, .left = opt.size};
	bench_write(&k->c, request, request_length);
	if (bench_flush(&k->c, k) < 0)
		bench_close(&k->c); /* the event that follows finds it closed */
}

static void wait_for_due(struct client *k)
{
	k->state = READY;
	k->next_free = NULL;
	*free_last = k;
	free_last = &k->next_free;
}

static void send_what_is_due(void)
{
	uint64_t now = bench_now_ns();

	while (free_first && !stopping) {
		uint64_t due = first_due_ns + (uint64_t)((double)issued * 1e9 / opt.rate);
		struct client *k = free_first;

		if (due > now)
			return;
		free_first = k->next_free;
		if (!free_first)
			free_last = &free_first;
		issued++;
		send_request(k, due);
	}
}

static void ready(struct client *k)
{
	if (stopping)
		return;
	if (opt.mode == RATE)
		wait_for_due(k);
	else
		send_request(k, bench_now_ns());
}

/* ---- answers ---- */

/* The provider puts its clock into each event: {"t":"NANOSECONDS"... */
static void event_line(struct client *k)
{
	const char *t;

	k->text[k->used] = '\0';
	if (strncmp(k->text, "data: {", 7))
		return;
	if (measuring)
		result.events++;
	t = strstr(k->text, "\"content\":\"t");
	if (t)
		sample(bench_now_ns() - strtoull(t + 12, NULL, 10));
}

static void body_data(void *context, const char *p, size_t n)
{
	struct client *k = context;

	if (measuring)
		result.bytes += n;
	if (opt.mode != SSE)
		return;
	while (n) {
		const char *end = memchr(p, '\n', n);
		size_t run = end ? (size_t)(end - p) : n;

		if (k->used + run < sizeof(k->text)) {
			memcpy(k->text + k->used, p, run);
			k->used += run;
		}
		if (!end)
			return;
		event_line(k);
		k->used = 0;
		n -= run + 1;
		p = end + 1;
	}
}

/* Whether the connection goes on; else on_event() opens another. */
static bool answered(struct client *k)
{
	uint64_t now = bench_now_ns();

	if (measuring)
		result.requests++;
	result.last_status = k->head.status;
	if (opt.mode == UNTIL && k->head.status == opt.status) {
		result.found_ns = k->due_ns;
		stopping = true;
	} else if (opt.mode != RAW && k->head.status != 200) {
		result.other_status++;
		if (opt.mode != UNTIL)
			failed(k->head.status == 401 ? "status 401" : "a status that is not 200");
	}
	if (opt.mode != SSE)
		sample(now - k->due_ns);
	if (opt.mode == IDLE) {
		k->state = HELD;
		held++;
		if (opened < opt.connections)
			open_client(&clients[opened++]);
		return true;
	}
	if (opt.mode == CONNECT || k->head.close) {
		if (opt.mode != CONNECT)
			result.reconnects++;
		return false;
	}
	ready(k);
	return true;
}

static bool read_answer(struct client *k, const char *p, size_t n)
{
	while (n) {
		bool done = false;
		long took;

		if (k->state == HEAD) {
			size_t run = n < sizeof(k->text) - k->used ? n : sizeof(k->text) - k->used;
			int r;

			memcpy(k->text + k->used, p, run);
			r = bench_head_parse(k->text, k->used + run, true, &k->head);
			if (r < 0 || (!r && k->used + run == sizeof(k->text))) {
				failed("an answer that is no HTTP");
				return false;
			}
			took = r ? (long)(k->head.length - k->used) : (long)run;
			k->used += run;
			if (r) {
				k->state = BODY;
				k->used = 0;
				done = k->head.body.kind == BENCH_BODY_NONE;
			}
		} else if (k->state == BODY) {
			took = bench_body_take(&k->head.body, p, n, &done, body_data, k);
		} else {
			failed("bytes that belong to no answer");
			return false;
		}
		if (took < 0) {
			failed("a malformed body");
			return false;
		}
		p += took;
		n -= (size_t)took;
		if (done && !answered(k))
			return false;
	}
	return true;
}

static void lost(struct client *k, const char *why)
{
	bool idle = k->state == READY || k->state == CLOSED_STATE;

	if (!idle)
		failed(why);
	else
		result.reconnects++;
	bench_close(&k->c);
	if (k->state != READY && k->state != HELD && !stopping && result.errors < 1000)
		open_client(k); /* one that waits for its time is opened when that comes */
}

static int on_session(SSL *ssl, SSL_SESSION *s)
{
	struct client *k = SSL_get_app_data(ssl);

	if (!opt.resume)
		return 0;
	SSL_SESSION_free(k->session);
	k->session = s;
	return 1;
}

static void open_client(struct client *k)
{
	k->state = HANDSHAKE;
	if (bench_connect(&k->c, epoll, opt.address, opt.port, opt.plain ? NULL : ctx, opt.name,
			  k->session, k) < 0) {
		failed("connect");
		return;
	}
	if (opt.plain)
		ready(k);
	else
		SSL_set_app_data(k->c.ssl, k);
}

static void reopen(struct client *k)
{
	bench_close(&k->c);
	k->state = CLOSED_STATE;
	if (!stopping && result.errors < 1000)
		open_client(k);
}

static void on_event(struct client *k, uint32_t events)
{
	static char bytes[65536];
	ssize_t n;
	int r;

	if (k->c.fd < 0)
		return;
	if (bench_wake(&k->c, events, k) < 0) {
		lost(k, "a failed send");
		return;
	}
	if (k->state == HANDSHAKE) {
		r = bench_handshake(&k->c);
		if (r <= 0) {
			if (r < 0)
				lost(k, "a failed handshake");
			else if (bench_flush(&k->c, k) < 0)
				lost(k, "a failed send");
			return;
		}
		if (measuring) {
			result.handshakes++;
			result.resumed += (uint64_t)SSL_session_reused(k->c.ssl);
		}
		ready(k);
	}
	while ((n = bench_read(&k->c, bytes, sizeof(bytes))) > 0)
		if (!read_answer(k, bytes, (size_t)n)) {
			reopen(k);
			return;
		}
	if (n == BENCH_EOF && k->state == BODY && k->head.body.kind == BENCH_BODY_UNTIL_END) {
		k->head.close = true;
		(void)answered(k);
		reopen(k);
	} else if (n < 0) {
		lost(k, n == BENCH_EOF ? "an end without an answer" : "a connection that broke");
	}
}

/* ---- time of processors ---- */

/* Nanoseconds on a CPU of all threads of the processes; the kernel's own figure, finer than its
 * ticks. */
static uint64_t cpu_ns(void)
{
	uint64_t sum = 0, ns;
	char path[300];

	for (int i = 0; i < opt.pid_count; i++) {
		struct dirent *e;
		DIR *d;

		snprintf(path, sizeof(path), "/proc/%d/task", opt.pid[i]);
		d = opendir(path);
		while (d && (e = readdir(d))) {
			FILE *f;

			if (e->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", opt.pid[i],
				 e->d_name);
			f = fopen(path, "re");
			if (f && fscanf(f, "%lu", &ns) == 1)
				sum += ns;
			if (f)
				fclose(f);
		}
		if (d)
			closedir(d);
		else
			failed("a process of the proxy has ended");
	}
	return sum;
}

static uint64_t own_cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return ((uint64_t)u.ru_utime.tv_sec + (uint64_t)u.ru_stime.tv_sec) * NS +
	       ((uint64_t)u.ru_utime.tv_usec + (uint64_t)u.ru_stime.tv_usec) * 1000;
}

/* ---- the run ---- */

static void turn(uint64_t until_ns)
{
	struct epoll_event e[256];
	uint64_t now = bench_now_ns(), wake = until_ns;
	struct timespec t;
	int n;

	if (opt.mode == RATE && free_first) {
		uint64_t due = first_due_ns + (uint64_t)((double)issued * 1e9 / opt.rate);

		wake = due < wake ? due : wake;
	}
	wake = wake > now ? wake - now : 0;
	t = (struct timespec){.tv_sec = (time_t)(wake / NS), .tv_nsec = (long)(wake % NS)};
	n = epoll_pwait2(epoll, e, 256, &t, NULL);
	for (int i = 0; i < n; i++)
		on_event(e[i].data.ptr, e[i].events);
	if (opt.mode == RATE) {
		for (size_t i = 0; i < opt.connections; i++)
			if (clients[i].c.fd < 0 && clients[i].state == READY)
				failed("an idle connection was closed");
		send_what_is_due();
	}
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static double quantile_us(double q)
{
	if (!result.samples)
		return 0;
	return (double)result.sample_ns[(size_t)(q * (double)(result.samples - 1))] / 1000;
}

static void print_result(double seconds, uint64_t cpu, uint64_t own)
{
	if (result.samples)
		qsort(result.sample_ns, result.samples, sizeof(*result.sample_ns), compare);
	printf("{\"mode\":\"%s\",\"seconds\":%.6f,\"requests\":%lu,\"errors\":%lu,\"error\":\"%s\","
	       "\"other_status\":%lu,\"last_status\":%d,\"bytes\":%lu,\"sent\":%lu,\"events\":%lu,"
	       "\"handshakes\":%lu,\"resumed\":%lu,\"reconnects\":%lu,\"samples\":%zu,"
	       "\"p50_us\":%.3f,\"p99_us\":%.3f,\"max_us\":%.3f,\"cpu_ns\":%lu,\"client_cpu_ns\":%"
	       "lu,"
	       "\"found_ns\":%lu}\n",
	       mode_names[opt.mode], seconds, result.requests, result.errors, result.first_error,
	       result.other_status, result.last_status, result.bytes, result.sent, result.events,
	       result.handshakes, result.resumed, result.reconnects, result.samples,
	       quantile_us(0.5), quantile_us(0.99), quantile_us(1), cpu, own, result.found_ns);
	fflush(stdout);
}

static void run_idle(void)
{
	uint64_t end = bench_now_ns() + (uint64_t)(opt.seconds * 1e9);
	char c;

	measuring = true;
	while (held < opt.connections && bench_now_ns() < end && result.errors < 100)
		turn(bench_now_ns() + NS / 10);
	if (held < opt.connections)
		failed("not all connections could be opened in time");
	print_result(opt.seconds, 0, 0);
	(void)!read(0, &c, 1);
	/* Whoever was closed meanwhile was not idle and alive, so its memory was not counted. */
	turn(bench_now_ns());
	for (size_t i = 0; i < opt.connections; i++)
		if (clients[i].c.fd < 0)
			failed("an idle connection was closed");
	printf("{\"closed_while_idle\":%lu}\n", result.errors);
}

static void run(void)
{
	uint64_t begin = bench_now_ns(), start = begin + (uint64_t)(opt.warm * 1e9), end, cpu, own,
		 sent;

	first_due_ns = begin + NS / 10;
	while (bench_now_ns() < start && !stopping)
		turn(start);
	cpu = cpu_ns();
	own = own_cpu_ns();
	start = bench_now_ns();
	end = start + (uint64_t)(opt.seconds * 1e9);
	sent = bench_sent_bytes;
	measuring = true;
	while (bench_now_ns() < end && !stopping)
		turn(end);
	end = bench_now_ns();
	cpu = cpu_ns() - cpu;
	own = own_cpu_ns() - own;
	measuring = false;
	stopping = true;
	result.sent = bench_sent_bytes - sent;
	if (opt.mode == UNTIL && !result.found_ns)
		failed("the status never came");
	print_result((double)(end - start) / 1e9, cpu, own);
}

static void parse_pids(char *list)
{
	for (char *t = strtok(list, ","); t && opt.pid_count < PROCESSES; t = strtok(NULL, ","))
		opt.pid[opt.pid_count++] = atoi(t);
}

static void parse_mode(const char *text)
{
	for (size_t i = 0; i < sizeof(mode_names) / sizeof(mode_names[0]); i++)
		if (!strcmp(mode_names[i], text)) {
			opt.mode = (enum mode)i;
			return;
		}
	bench_die(text, "no such mode");
}

static void parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{"mode", 1, NULL, 'm'},	       {"address", 1, NULL, 'a'},  {"port", 1, NULL, 'p'},
		{"name", 1, NULL, 'n'},	       {"ca", 1, NULL, 'c'},	   {"path", 1, NULL, 'P'},
		{"model", 1, NULL, 'M'},       {"key-file", 1, NULL, 'k'}, {"host", 1, NULL, 'H'},
		{"connections", 1, NULL, 'C'}, {"pad", 1, NULL, 'd'},	   {"size", 1, NULL, 's'},
		{"seconds", 1, NULL, 'S'},     {"warm", 1, NULL, 'w'},	   {"rate", 1, NULL, 'r'},
		{"plain", 0, NULL, 'x'},       {"resume", 0, NULL, 'R'},   {"stream", 0, NULL, 't'},
		{"status", 1, NULL, 'u'},      {"pids", 1, NULL, 'i'},	   {NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'm':
			parse_mode(optarg);
			break;
		case 'a':
			opt.address = optarg;
			break;
		case 'p':
			opt.port = (uint16_t)atoi(optarg);
			break;
		case 'n':
			opt.name = optarg;
			break;
		case 'c':
			opt.ca = optarg;
			break;
		case 'P':
			opt.path = optarg;
			break;
		case 'M':
			opt.model = optarg;
			break;
		case 'k':
			opt.key = bench_read_word(optarg);
			break;
		case 'H':
			opt.host = optarg;
			break;
		case 'C':
			opt.connections = (size_t)atol(optarg);
			break;
		case 'd':
			opt.pad = (size_t)atol(optarg);
			break;
		case 's':
			opt.size = (size_t)atol(optarg);
			break;
		case 'S':
			opt.seconds = atof(optarg);
			break;
		case 'w':
			opt.warm = atof(optarg);
			break;
		case 'r':
			opt.rate = atof(optarg);
			break;
		case 'x':
			opt.plain = true;
			break;
		case 'R':
			opt.resume = true;
			break;
		case 't':
			opt.stream = true;
			break;
		case 'u':
			opt.status = atoi(optarg);
			break;
		case 'i':
			parse_pids(optarg);
			break;
		default:
			bench_die("load", "unknown option");
		}
	}
	opt.plain |= opt.mode == RAW;
	if (!opt.plain && (!opt.ca || !opt.name))
		bench_die("load", "TLS needs --ca and --name");
	if (!opt.name)
		opt.name = opt.address;
}

int main(int argc, char **argv)
{
	parse_options(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!opt.plain) {
		ctx = bench_client_context(opt.ca);
		SSL_CTX_sess_set_new_cb(ctx, on_session);
	}
	build_request();
	clients = bench_alloc(opt.connections * sizeof(*clients));
	for (size_t i = 0; i < opt.connections; i++)
		clients[i].c.fd = -1;
	/* Idle ones are opened as the ones before are answered, so that no backlog overflows. */
	for (; opened < opt.connections && (opt.mode != IDLE || opened < 32); opened++)
		open_client(&clients[opened]);
	if (opt.mode == IDLE)
		run_idle();
	else
		run();
	return result.errors > 0;
}
