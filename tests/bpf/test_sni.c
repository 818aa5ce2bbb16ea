/* SPDX-License-Identifier: Apache-2.0 */
/* The SNI backstop of egress_tc. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"

struct hello {
	uint8_t bytes[3000];
	uint32_t length;
};

static void put(struct hello *h, uint32_t v, int bytes)
{
	while (bytes--)
		h->bytes[h->length++] = (uint8_t)(v >> (8 * bytes));
}

static void set16(struct hello *h, uint32_t at, uint32_t v)
{
	h->bytes[at] = (uint8_t)(v >> 8);
	h->bytes[at + 1] = (uint8_t)v;
}

/* A ClientHello; `empty` extensions and one of `before` bytes come before server_name, if any. */
static void hello_behind(struct hello *h, const char *server, uint32_t session, uint32_t ciphers,
			 uint32_t empty, uint32_t before)
{
	uint32_t record, body, extensions;

	memset(h, 0, sizeof(*h));
	put(h, 22, 1);
	put(h, 0x0301, 2);
	record = h->length;
	put(h, 0, 2);
	put(h, 1, 1);
	put(h, 0, 1);
	body = h->length;
	put(h, 0, 2);
	put(h, 0x0303, 2);
	h->length += 32;
	put(h, session, 1);
	h->length += session;
	put(h, ciphers * 2, 2);
	h->length += ciphers * 2;
	put(h, 1, 1);
	put(h, 0, 1);
	extensions = h->length;
	put(h, 0, 2);
	for (uint32_t i = 0; i < empty; i++) {
		put(h, 1000 + i, 2);
		put(h, 0, 2);
	}
	if (before) {
		put(h, 51, 2);
		put(h, before, 2);
		h->length += before;
	}
	if (server) {
		uint32_t n = (uint32_t)strlen(server);

		put(h, 0, 2);
		put(h, n + 5, 2);
		put(h, n + 3, 2);
		put(h, 0, 1);
		put(h, n, 2);
		memcpy(h->bytes + h->length, server, n);
		h->length += n;
	}
	put(h, 43, 2);
	put(h, 3, 2);
	put(h, 0x020304, 3);
	set16(h, extensions, h->length - extensions - 2);
	set16(h, body, h->length - body - 2);
	set16(h, record, h->length - record - 2);
}

static void hello(struct hello *h, const char *server, uint32_t session, uint32_t ciphers,
		  uint32_t before)
{
	hello_behind(h, server, session, ciphers, 0, before);
}

uint32_t hello_bytes(const char *server, uint8_t out[3000])
{
	struct hello h;

	hello(&h, server, 32, 17, 0);
	memcpy(out, h.bytes, sizeof(h.bytes));
	return h.length;
}

static void watch(void)
{
	world_reset();
	set_watched("api.openai.com", 5);
	set_watched("*.openai.azure.com", 26);
	set_watched("shadowed.example", 16);
	set_verdict(3, 16, 0, 0, EG_ACTION_PASS, EG_REASON_SHADOW);
}

/* A SYN, then the bytes. */
static enum verdict send_bytes(uint32_t ifindex, const char *from, const char *to,
			       const void *bytes, uint32_t length)
{
	struct frame f = {.source = from, .destination = to};

	run_frame(progs.egress, ifindex, &f);
	f.tcp_flags = ACK | PSH;
	f.payload = bytes;
	f.payload_length = length;
	return run_frame(progs.egress, ifindex, &f);
}

static void seen(const char *server, uint32_t name_id)
{
	struct eg_learned l = {};
	struct hello h;
	enum verdict v;

	watch();
	hello(&h, server, 32, 17, 0);
	v = send_bytes(POD, POD4, ELSEWHERE4, h.bytes, h.length);
	check(v == (name_id ? RESET : NEXT), "sni", "%s: %s", server ? server : "none",
	      verdict_text(v));
	check(is_learned(POD, ELSEWHERE4, &l) == (name_id != 0) && l.name_id == name_id, "sni",
	      "%s: learned as %u", server ? server : "none", l.name_id);
	check(count_of(EG_REASON_SNI_LEARNED, EG_HOOK_EGRESS) == (name_id != 0), "sni",
	      "%s: counted", server ? server : "none");
}

static void test_names(void)
{
	seen("api.openai.com", 5);
	seen("API.openai.COM", 5);
	seen("api.openai.com.", 5);
	seen("acme.openai.azure.com", 26);
	seen("openai.azure.com", 0);
	seen("www.example.com", 0);
	seen("", 0);
	seen(NULL, 0);
	seen("shadowed.example", 0); /* the policy lets it pass */
	seen("..", 0);
	seen(".openai.azure.com", 0);
}

static void test_shapes(void)
{
	struct frame syn = {.source = POD4, .destination = ELSEWHERE4}, data = syn, pad = syn;
	struct eg_learned l;
	struct eg_flow flow;
	struct hello h;
	uint32_t n;

	/* long session, many ciphers, a post-quantum key share before the name */
	watch();
	hello(&h, "api.openai.com", 32, 60, 1300);
	check(send_bytes(POD, POD4, ELSEWHERE4, h.bytes, h.length) == RESET, "sni",
	      "a large hello");
	/* as many extensions before the name as there is place for */
	for (n = 40; n <= 480; n += 8) {
		watch();
		hello_behind(&h, "api.openai.com", 0, 1, n, 0);
		check(send_bytes(POD, POD4, ELSEWHERE4, h.bytes, h.length) == RESET, "sni",
		      "%u extensions before the name", n);
	}
	watch();
	hello(&h, "api.openai.com", 0, 1, 0);
	check(send_bytes(POD, POD4, ELSEWHERE4, h.bytes, h.length) == RESET, "sni",
	      "a small hello");
	check(is_learned(POD, ELSEWHERE4, &l) && l.from == EG_LEARNED_SNI, "sni", "from");
	/* the retry is captured, the old connection stays dead */
	syn.sport = 40001;
	check(run_frame(progs.egress, POD, &syn) == REDIRECT, "sni", "the retry is captured");
	syn.sport = 0;
	check(find_flow(POD, &syn, &flow) && flow.action == EG_ACTION_RESET, "sni",
	      "the flow is dead");
	data.tcp_flags = ACK;
	check(run_frame(progs.egress, POD, &data) == RESET, "sni", "and stays dead");
	/* only a connection's first bytes are looked at */
	watch();
	check(send_bytes(POD, POD4, ELSEWHERE4, "GET / HTTP/1.1\r\n", 16) == NEXT, "sni",
	      "HTTP passes");
	data.tcp_flags = ACK | PSH;
	data.payload = h.bytes;
	data.payload_length = h.length;
	check(run_frame(progs.egress, POD, &data) == NEXT, "sni", "later bytes are not a hello");
	/* nor behind first bytes on a connection whose SYN was not seen */
	watch();
	data.payload = "GET / HTTP/1.1\r\n";
	data.payload_length = 16;
	check(run_frame(progs.egress, POD, &data) == NEXT, "sni", "HTTP, no SYN seen");
	data.payload = h.bytes;
	data.payload_length = h.length;
	check(run_frame(progs.egress, POD, &data) == NEXT, "sni",
	      "later bytes are not a hello, no SYN seen");
	/* nor is what pads a frame to the least a link takes any of a connection's bytes */
	watch();
	pad.tcp_flags = ACK;
	pad.payload = "\0\0\0\0\0";
	pad.payload_length = 6;
	pad.total_length = 40;
	check(run_frame(progs.egress, POD, &pad) == NEXT, "sni", "a padded ACK");
	check(run_frame(progs.egress, POD, &data) == RESET, "sni", "a hello behind a padded ACK");
	/* while a frame that tells no length (BIG TCP) has all that is there */
	watch();
	data.total_length = -1;
	check(run_frame(progs.egress, POD, &data) == RESET, "sni", "a hello of BIG TCP");
	data.total_length = 0;
	/* any port */
	watch();
	data.dport = 8443;
	check(run_frame(progs.egress, POD, &data) == RESET, "sni", "another port, no SYN seen");
	/* in the SYN (TCP fast open) */
	watch();
	data.dport = 443;
	data.tcp_flags = SYN;
	check(run_frame(progs.egress, POD, &data) == RESET, "sni", "fast open");
	/* over IPv6 */
	watch();
	check(send_bytes(POD, POD6, ELSEWHERE6, h.bytes, h.length) == RESET &&
		      is_learned(POD, ELSEWHERE6, NULL),
	      "sni", "v6");
	/* cut at every length: never more than a pass, and never learned before the name is whole
	 */
	hello(&h, "api.openai.com", 32, 17, 0);
	for (n = 0; n < h.length - 7 - 14; n++) {
		watch();
		check(send_bytes(POD, POD4, ELSEWHERE4, h.bytes, n) == NEXT, "sni", "cut at %u", n);
		check(!is_learned(POD, ELSEWHERE4, NULL), "sni", "cut at %u learned", n);
	}
}

/* Bytes that look like a name and are none. */
static void test_not_a_name(void)
{
	static const char name[] = "api.openai.com";
	uint32_t at, extensions = 50; /* where their length is, with session 0 and one cipher */
	struct hello h;

	hello(&h, name, 0, 1, 4);
	for (at = 0; memcmp(h.bytes + at, name, strlen(name)) != 0; at++)
		;
	watch();
	h.bytes[at - 3] = 1; /* its type: 0 is host_name (RFC 6066 3), others are not known */
	check(send_bytes(POD, POD4, ELSEWHERE4, h.bytes, h.length) == NEXT &&
		      !is_learned(POD, ELSEWHERE4, NULL),
	      "sni", "another type of name");
	watch();
	h.bytes[at - 3] = 0;
	set16(&h, extensions, 8); /* those before the name */
	check(send_bytes(POD, POD4, ELSEWHERE4, h.bytes, h.length) == NEXT &&
		      !is_learned(POD, ELSEWHERE4, NULL),
	      "sni", "behind the extensions");
	watch();
	set16(&h, extensions, h.length - extensions - 2);
	check(send_bytes(POD, POD4, ELSEWHERE4, h.bytes, h.length) == RESET, "sni",
	      "the same, whole");
}

static void test_who(void)
{
	struct eg_pod before = pod_of(1, EG_POD_UNGOVERNED, EG_POD_FOLLOW_FLOWS, POD4, POD6);
	struct eg_pod allowed = pod_of(0, EG_POD_UNKNOWN, EG_POD_UNKNOWN_ALLOW, NULL, NULL);
	struct eg_pod watched =
		pod_of(1, EG_POD_GOVERNED, EG_POD_SHADOW | EG_POD_FAIL_OPEN, POD4, POD6);
	struct frame syn = {.source = POD4, .destination = ELSEWHERE4},
		     hello_frame = {
			     .source = POD4, .destination = ELSEWHERE4, .tcp_flags = ACK | PSH};
	struct hello h;
	uint32_t quota = EG_LEARN_QUOTA, ifindex = POD;

	hello(&h, "api.openai.com", 32, 17, 0);
	hello_frame.payload = h.bytes;
	hello_frame.payload_length = h.length;
	watch();
	check(send_bytes(POD_UNGOVERNED, "10.0.0.3", ELSEWHERE4, h.bytes, h.length) == NEXT, "sni",
	      "ungoverned");
	/* A policy that only watches learns the address for the next connection; this one goes on.
	 */
	watch();
	set_pod(POD, &watched);
	check(send_bytes(POD, POD4, ELSEWHERE4, h.bytes, h.length) == NEXT &&
		      is_learned(POD, ELSEWHERE4, NULL),
	      "sni", "shadow: goes on, and is learned");
	check(run_frame(progs.egress, POD, &hello_frame) == NEXT, "sni", "shadow: to its end");
	syn.sport = 40001;
	check(run_frame(progs.egress, POD, &syn) == REDIRECT, "sni", "shadow: the next is seen");
	/* nor one that was governed before: of its connections only those that were redirected
	 * matter
	 */
	watch();
	set_pod(POD, &before);
	check(send_bytes(POD, POD4, ELSEWHERE4, h.bytes, h.length) == NEXT &&
		      !is_learned(POD, ELSEWHERE4, NULL),
	      "sni", "ungoverned, flows followed");
	watch();
	check(send_bytes(POD, POD4, ELSEWHERE4, NULL, 0) == NEXT, "sni", "while it is governed");
	set_pod(POD, &before);
	check(run_frame(progs.egress, POD, &hello_frame) == NEXT &&
		      !is_learned(POD, ELSEWHERE4, NULL),
	      "sni", "on a connection from when it was governed");
	watch();
	check(send_bytes(POD_UNKNOWN, "10.0.0.77", ELSEWHERE4, h.bytes, h.length) == RESET, "sni",
	      "a pod not known yet");
	watch();
	world_config()->unknown_pods = 1;
	check(send_bytes(POD_UNKNOWN, "10.0.0.77", ELSEWHERE4, h.bytes, h.length) == NEXT, "sni",
	      "unknown pods allowed");
	watch();
	set_pod(POD_UNKNOWN, &allowed);
	check(send_bytes(POD_UNKNOWN, "10.0.0.77", ELSEWHERE4, h.bytes, h.length) == NEXT, "sni",
	      "this unknown pod allowed");
	/* addresses that are never learned stay what they are */
	watch();
	check(send_bytes(POD, POD4, "10.96.0.1", h.bytes, h.length) == NEXT &&
		      !is_learned(POD, "10.96.0.1", NULL),
	      "sni", "the API server");
	watch();
	check(send_bytes(POD, POD4, "169.254.169.254", h.bytes, h.length) == NEXT &&
		      !is_learned(POD, "169.254.169.254", NULL),
	      "sni", "the metadata address");
	watch();
	check(send_bytes(POD, POD4, "10.0.0.9", h.bytes, h.length) == NEXT &&
		      !is_learned(POD, "10.0.0.9", NULL),
	      "sni", "another pod");
	/* a used-up quota is not a way out */
	watch();
	map_set("learned_count", &ifindex, &quota);
	check(send_bytes(POD, POD4, ELSEWHERE4, h.bytes, h.length) == RESET, "sni",
	      "quota used up");
	check(count_of(EG_REASON_LEARN_QUOTA, EG_HOOK_EGRESS) == 1, "sni", "quota counted");
	/* turned off */
	watch();
	{
		struct frame f = {.source = POD4,
				  .destination = ELSEWHERE4,
				  .tcp_flags = ACK,
				  .payload = h.bytes,
				  .payload_length = h.length};

		check(run_frame(progs.egress_plain, POD, &f) == NEXT &&
			      !is_learned(POD, ELSEWHERE4, NULL),
		      "sni", "turned off");
		check(run_frame(progs.egress, POD, &f) == RESET, "sni", "and on");
	}
	/* redirected flows are the agent's to read */
	watch();

	check(send_bytes(POD, POD4, PROVIDER4, h.bytes, h.length) == REDIRECT, "sni", "redirected");
}

void test_sni(void)
{
	test_names();
	test_shapes();
	test_not_a_name();
	test_who();
}
