/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parsers cost, as time and as a ratio to jansson doing the same to the same bytes.
 * Nothing is asserted; docs/internals/proto.md keeps a run. `make bench-proto`.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "proto/client_hello.h"
#include "proto/h1.h"
#include "proto/json_scan.h"
#include "proto/sse.h"

#define ROUNDS 7 /* the best is shown: the others were disturbed */

static volatile size_t sink;

/* Of this thread's CPU: others on the machine don't count. */
static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Nanoseconds of one call, best of ROUNDS batches of about 50 ms. */
static double measure(void (*run)(struct eg_str), struct eg_str bytes)
{
	double best = 1e18;
	unsigned long n = 1;

	for (int round = 0; round < ROUNDS;) {
		uint64_t from = cpu_ns(), took;

		for (unsigned long i = 0; i < n; i++)
			run(bytes);
		took = cpu_ns() - from;
		if (took < 20000000u) {
			n *= 2;
			continue;
		}
		best = EG_MIN(best, (double)took / (double)n);
		round++;
	}
	return best;
}

static int member(void *ctx, const struct eg_json_member *m)
{
	sink += m->raw.n;
	return 0;
}

static void ours(struct eg_str body)
{
	if (eg_json_members(body, member, NULL, NULL))
		abort();
}

static void theirs(struct eg_str body)
{
	json_t *j = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, NULL);

	if (!j)
		abort();
	json_decref(j);
}

static void request_head(struct eg_str bytes)
{
	static struct eg_h1_head head;
	struct eg_h1_scan scan = {0};
	enum eg_reason reason;

	if (eg_h1_parse_request(&scan, bytes, &eg_h1_default_limits, &head, &reason) != EG_IO_DONE)
		abort();
	sink += head.header_count;
}

static void hello(struct eg_str bytes)
{
	struct eg_client_hello h;

	if (eg_client_hello_parse(bytes, &h) != EG_IO_DONE)
		abort();
	sink += h.has_sni;
}

static void event(void *ctx, struct eg_str type, struct eg_str data)
{
	sink += data.n;
}

static void events(struct eg_str bytes)
{
	struct eg_sse s;

	eg_sse_init(&s, 1 << 20, event, NULL);
	if (eg_sse_feed(&s, bytes))
		abort();
	eg_sse_fini(&s);
}

static char *text;
static size_t length;

/* A chat request of about `bytes`, its messages made of `sentence`. */
static struct eg_str chat(size_t bytes, const char *sentence, const char *space)
{
	length = (size_t)sprintf(
		text,
		"{%s\"model\":\"gpt-4o-mini\",%s\"temperature\":0.7,%s\"stream\":true,"
		"\"max_tokens\":1024,\"messages\":[",
		space, space, space);
	for (int i = 0; length < bytes - 100; i++) {
		length += (size_t)sprintf(text + length, "%s%s{\"role\":\"%s\",%s\"content\":\"",
					  i ? "," : "", space, i % 2 ? "user" : "assistant", space);
		for (size_t from = length; length < bytes - 100 && length - from < 700;)
			length += (size_t)sprintf(text + length, "%s", sentence);
		length += (size_t)sprintf(text + length, "\"}");
	}
	length += (size_t)sprintf(text + length, "]}");
	return (struct eg_str){text, length};
}

static struct eg_str embeddings(size_t bytes)
{
	uint64_t seed = 7;

	length = (size_t)sprintf(text, "{\"object\":\"list\",\"data\":[{\"embedding\":[0");
	while (length < bytes) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		length += (size_t)sprintf(text + length, ",%.9f", (double)(int64_t)seed / 1e19);
	}
	length += (size_t)sprintf(text + length, "]}]}");
	return (struct eg_str){text, length};
}

static struct eg_str keys(size_t bytes)
{
	length = (size_t)sprintf(text, "{\"logit_bias\":{\"a\":1");
	for (int i = 0; length < bytes; i++)
		length += (size_t)sprintf(text + length, ",\"%d\":-1", i);
	length += (size_t)sprintf(text + length, "}}");
	return (struct eg_str){text, length};
}

static void json(const char *name, struct eg_str body)
{
	double a = measure(ours, body), b = measure(theirs, body);

	printf("%-28s %8zu B %10.2f us %6.2f GB/s   jansson %10.2f us   ratio %6.1f\n", name,
	       body.n, a / 1000, (double)body.n / a, b / 1000, b / a);
}

static void other(const char *name, void (*run)(struct eg_str), struct eg_str bytes)
{
	double a = measure(run, bytes);

	printf("%-28s %8zu B %10.2f us %6.2f GB/s\n", name, bytes.n, a / 1000, (double)bytes.n / a);
}

int main(void)
{
	static const char english[] = "The quick brown fox jumps over the lazy dog. ";
	static const char code[] = "int main(void)\\n{\\n\\tputs(\\\"hello\\\");\\n}\\n";
	static const char chinese[] =
		"\xe6\x95\x8f\xe6\x8d\xb7\xe7\x9a\x84\xe6\xa3\x95\xe8\x89\xb2 ";
	static const char german[] = "Zw\xc3\xb6lf Boxk\xc3\xa4mpfer jagen Viktor quer \xc3\xbc"
				     "ber den Deich. ";
	static const char request[] =
		"POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nAccept: "
		"application/json\r\n"
		"Content-Type: application/json\r\nUser-Agent: OpenAI/JS 4.77.0\r\n"
		"X-Stainless-Lang: js\r\nX-Stainless-Package-Version: 4.77.0\r\nX-Stainless-OS: "
		"Linux\r\n"
		"X-Stainless-Arch: x64\r\nX-Stainless-Runtime: "
		"node\r\nX-Stainless-Runtime-Version: v20.20.2\r\n"
		"X-Stainless-Retry-Count: 0\r\nX-Stainless-Timeout: 600\r\n"
		"Authorization: Bearer "
		"sk-placeholder-0123456789abcdef0123456789abcdef0123456789abcdef\r\n"
		"OpenAI-Organization: org-0123456789\r\nAccept-Encoding: gzip,deflate\r\n"
		"Accept-Language: *\r\nSec-Fetch-Mode: cors\r\nConnection: "
		"keep-alive\r\nContent-Length: 2048\r\n\r\n";
	static const char chunk[] = "data: "
				    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\","
				    "\"created\":1,\"model\":\"gpt-4o\","
				    "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" "
				    "word\"},\"finish_reason\":null}]}\n\n";
	static unsigned char raw[8192];
	struct eg_str stream;
	size_t n = 0;
	unsigned int byte;
	FILE *f;

	text = malloc(4 << 20);
	if (!text)
		return 1;
	json("chat, English", chat(2048, english, ""));
	json("chat, English", chat(64 << 10, english, ""));
	json("chat, English", chat(1 << 20, english, ""));
	json("chat, indented", chat(64 << 10, english, "\n          "));
	json("chat, source code", chat(64 << 10, code, ""));
	json("chat, German", chat(64 << 10, german, ""));
	json("chat, Chinese", chat(64 << 10, chinese, ""));
	json("embeddings", embeddings(64 << 10));
	json("2,000 keys in one object", keys(20 << 10));
	other("request head", request_head, EG_STR(request));
	f = fopen("tests/unit/proto/fixtures/curl.hex", "r");
	if (f) {
		while (n < sizeof(raw) && fscanf(f, "%2x", &byte) == 1)
			raw[n++] = (unsigned char)byte;
		fclose(f);
		other("ClientHello", hello, (struct eg_str){(char *)raw, n});
	}
	for (length = 0; length < 64 << 10; length += sizeof(chunk) - 1)
		memcpy(text + length, chunk, sizeof(chunk) - 1);
	stream = (struct eg_str){text, length};
	other("events of a chat stream", events, stream);
	free(text);
	return 0;
}
