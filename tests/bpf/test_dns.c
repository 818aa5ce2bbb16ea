/* SPDX-License-Identifier: Apache-2.0 */
/* dns_tc: answers on their way to a pod, and what is in `learned` afterwards. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns_message.h"

static void test_basic(void)
{
	struct message m;
	struct eg_learned l;
	struct eg_event e;
	uint64_t before;

	dns_watch();
	message_simple(&m, "api.openai.com", "192.0.2.10");
	before = now_ns();
	dns_deliver(&m, &dns_plain);
	check(is_learned(POD, "192.0.2.10", &l) && l.name_id == 5 && l.from == EG_LEARNED_DNS,
	      "dns", "A");
	check(l.expires_ns > before + 3890 * SECOND && l.expires_ns < now_ns() + 3901 * SECOND,
	      "dns", "TTL of 300 s and the grace of 3600 s");
	check(!is_learned(POD_OTHER, "192.0.2.10", NULL), "dns", "only this pod's");
	check(quota_used(POD) == 1, "dns", "quota counted");
	check(count_of(EG_REASON_OK, EG_HOOK_DNS) == 1, "dns", "counted");
	check(events_drain(EG_EVENT_LEARNED, &e) == 1 && e.name_id == 5 &&
		      e.from == EG_LEARNED_DNS &&
		      e.destination.word_be[3] == address_of("192.0.2.10").word_be[3],
	      "dns", "event");
	/* Again: nothing new. */
	dns_deliver(&m, &dns_plain);
	check(quota_used(POD) == 1, "dns", "known already");
	check(events_drain(EG_EVENT_LEARNED, NULL) == 0, "dns", "no event for what is known");
	/* IPv6 */
	dns_watch();
	message_begin(&m, "api.openai.com", 28, 1);
	put_address(&m, "@12", "2001:db8:9::1", 300);
	dns_deliver(&m, &(struct delivery){.pod = POD6, .resolver = RESOLVER6});
	check(is_learned(POD, "2001:db8:9::1", &l) && l.name_id == 5, "dns", "AAAA over IPv6");
	/* A name whose TTL is none (RFC 2181 8), and one of a year */
	dns_watch();
	message_begin(&m, "api.openai.com", 1, 2);
	put_address(&m, "@12", "192.0.2.10", 0x80000001);
	put_address(&m, "@12", "192.0.2.11", 31536000);
	dns_deliver(&m, &dns_plain);
	check(is_learned(POD, "192.0.2.10", &l) && l.expires_ns < now_ns() + 3601 * SECOND, "dns",
	      "no TTL");
	check(is_learned(POD, "192.0.2.11", &l) &&
		      l.expires_ns < now_ns() + (3600 + 86401) * SECOND,
	      "dns", "TTL capped");
}

static void matches(const char *question, uint32_t name_id)
{
	struct eg_learned l = {};
	struct message m;
	bool found;

	dns_watch();
	message_simple(&m, question, "192.0.2.10");
	dns_deliver(&m, &dns_plain);
	found = is_learned(POD, "192.0.2.10", &l);
	check(found == (name_id != 0) && l.name_id == name_id, question,
	      "dns: name %u, expected %u", l.name_id, name_id);
}

static void test_names(void)
{
	char longest[256] = "", deep[256] = "";
	int i;

	matches("api.openai.com", 5);
	matches("API.OpenAI.Com", 5);
	matches("openai.com", 0);
	matches("x.api.openai.com", 0);
	matches("api.openai.com.evil.example", 0);
	matches("xapi.openai.com", 0);
	matches("apiopenai.com", 0);
	matches("acme.openai.azure.com", 6);
	matches("ACME.OPENAI.AZURE.COM", 6);
	matches("a.b.openai.azure.com", 6);
	matches("openai.azure.com", 0);	 /* a suffix rule is for what is below */
	matches("xopenai.azure.com", 0); /* at a label's boundary */
	matches("azure.com", 7);
	matches("www.azure.com", 0);
	matches("x.deep.azure.com", 8);
	matches("deep.azure.com", 0);
	matches("com", 0);
	matches("", 0);
	matches("*.openai.azure.com", 6); /* as a literal label */
	for (i = 0; i < 60; i++)
		strcat(deep, "a.");
	strcat(deep, "openai.azure.com"); /* 63 labels; the rule's are among the last 16 */
	matches(deep, 6);
	for (i = 0; i < 3; i++)
		strcat(longest, "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg.");
	strcat(longest, "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddde.openai.azure.com"); /* 250 */
	matches(longest, 6);
}

/* A label with a dot in it is not two labels. */
static void test_dot_in_label(void)
{
	struct message m;

	dns_watch();
	message_begin(&m, "", 1, 1);
	m.length = QUESTION;
	put_byte(&m, 10);
	memcpy(m.bytes + m.length, "api.openai", 10);
	m.length += 10;
	put_byte(&m, 3);
	memcpy(m.bytes + m.length, "com", 3);
	m.length += 3;
	put_byte(&m, 0);
	put_word(&m, 1);
	put_word(&m, 1);
	put_address(&m, "@12", "192.0.2.10", 60);
	dns_deliver(&m, &dns_plain);
	check(!is_learned(POD, "192.0.2.10", NULL), "dns", "a dot inside a label");
}

static void test_chains(void)
{
	char text[64];
	struct eg_learned l;
	struct message m;
	uint32_t at;

	/* the question is watched, the addresses belong to the end of a chain */
	dns_watch();
	message_begin(&m, "api.openai.com", 1, 4);
	at = put_cname(&m, "@12", "edge.cdn.example");
	snprintf(text, sizeof(text), "@%u", at);
	at = put_cname(&m, text, "pop.cdn.example");
	snprintf(text, sizeof(text), "@%u", at);
	at = put_cname(&m, text, "x.pop.cdn.example");
	snprintf(text, sizeof(text), "@%u", at);
	put_address(&m, text, "192.0.2.10", 60);
	dns_deliver(&m, &dns_plain);
	check(is_learned(POD, "192.0.2.10", &l) && l.name_id == 5, "dns", "three CNAMEs");
	/* the question is not watched, what it points to is: compressed too */
	dns_watch();
	message_begin(&m, "llm.shop.azure.com", 1, 2);
	at = put_cname(&m, "@12", "acme.openai@21"); /* 12 + llm(4) + shop(5) = azure.com at 21 */
	snprintf(text, sizeof(text), "@%u", at);
	put_address(&m, text, "192.0.2.11", 60);
	dns_deliver(&m, &dns_plain);
	check(is_learned(POD, "192.0.2.11", &l) && l.name_id == 6, "dns", "a watched CNAME target");
	/* one that is not, is not */
	dns_watch();
	message_begin(&m, "llm.shop.example", 1, 2);
	put_cname(&m, "@12", "other.example");
	put_address(&m, "@12", "192.0.2.12", 60);
	dns_deliver(&m, &dns_plain);
	check(!is_learned(POD, "192.0.2.12", NULL), "dns", "an unwatched chain");
}

static void test_many(void)
{
	struct message m;
	char text[32];
	int i, n;

	for (n = 8; n <= 64; n *= 2) {
		dns_watch();
		message_begin(&m, "api.openai.com", 1, (uint32_t)n + 2);
		put_record(&m, "@12", 46, 60, 40); /* RRSIG */
		m.length += 40;
		for (i = 0; i < n; i++) {
			snprintf(text, sizeof(text), "192.0.2.%d", i + 1);
			put_address(&m, "@12", text, 60);
		}
		put_record(&m, "@12", 16, 60, 3); /* TXT */
		m.length += 3;
		put_name(&m, ""); /* OPT, in the additional section */
		put_word(&m, 41);
		put_word(&m, 1232);
		put_word(&m, 0);
		put_word(&m, 0);
		put_word(&m, 0);
		m.bytes[11] = 1;
		dns_deliver(&m, &dns_plain);
		for (i = 0; i < n; i++) {
			snprintf(text, sizeof(text), "192.0.2.%d", i + 1);
			check(is_learned(POD, text, NULL), "dns", "address %d of %d", i + 1, n);
		}
		check(quota_used(POD) == (uint32_t)n, "dns", "quota after %d", n);
	}
	/* As many as a message has room for. */
	dns_watch();
	message_begin(&m, "api.openai.com", 1, 200);
	for (i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "192.0.2.%d", i + 1);
		put_address(&m, "@12", text, 60);
	}
	dns_deliver(&m, &dns_plain);
	check(quota_used(POD) == 200, "dns", "%u of 200 addresses", quota_used(POD));
	check(events_drain(EG_EVENT_DNS_RAW, NULL) == 0, "dns", "200 addresses: not handed up");
	/* More than a pod may teach: the first ones are, and that it was not all is counted. */
	dns_watch();
	message_begin(&m, "api.openai.com", 65, 1);
	put_record(&m, "@12", 65, 60, 2 + 1 + 4 + 4 * 300);
	put_word(&m, 1);
	put_name(&m, "");
	put_word(&m, 4); /* ipv4hint */
	put_word(&m, 4 * 300);
	for (i = 0; i < 300; i++) {
		put_word(&m, 0xc612); /* 198.18.x.y */
		put_word(&m, (uint32_t)i + 1);
	}
	dns_deliver(&m, &dns_plain);
	check(quota_used(POD) == EG_LEARN_QUOTA, "dns", "%u of 300 hints", quota_used(POD));
	check(count_of(EG_REASON_LEARN_QUOTA, EG_HOOK_DNS) == 1, "dns", "300 hints: counted");
}

/* RFC 9460: an HTTPS record's hints are addresses like any other. */
static void test_https(void)
{
	struct message m;
	uint32_t at;

	dns_watch();
	message_begin(&m, "api.openai.com", 65, 1);
	put_record(&m, "@12", 65, 60, 0);
	at = m.length;
	put_word(&m, 1);
	put_name(&m, "");
	put_word(&m, 1); /* alpn */
	put_word(&m, 3);
	put_byte(&m, 2);
	put_byte(&m, 'h');
	put_byte(&m, '2');
	put_word(&m, 4); /* ipv4hint */
	put_word(&m, 8);
	put_word(&m, 0xc000);
	put_word(&m, 0x020a);
	put_word(&m, 0xc000);
	put_word(&m, 0x020b);
	put_word(&m, 6); /* ipv6hint */
	put_word(&m, 16);
	put_word(&m, 0x2001);
	put_word(&m, 0xdb8);
	m.length += 10;
	memset(m.bytes + m.length - 10, 0, 10);
	put_word(&m, 9);
	m.bytes[at - 2] = (uint8_t)((m.length - at) >> 8);
	m.bytes[at - 1] = (uint8_t)(m.length - at);
	dns_deliver(&m, &dns_plain);
	check(is_learned(POD, "192.0.2.10", NULL) && is_learned(POD, "192.0.2.11", NULL) &&
		      is_learned(POD, "2001:db8::9", NULL),
	      "dns", "HTTPS hints");
	/* A hint of five bytes is malformed, and so is what follows. */
	dns_watch();
	message_begin(&m, "api.openai.com", 65, 1);
	put_record(&m, "@12", 65, 60, 12);
	put_word(&m, 1);
	put_name(&m, "");
	put_word(&m, 4);
	put_word(&m, 5);
	put_word(&m, 0xc000);
	put_word(&m, 0x020a);
	put_byte(&m, 0);
	dns_deliver(&m, &dns_plain);
	check(quota_used(POD) == 0 && events_drain(EG_EVENT_DNS_RAW, NULL) == 1, "dns", "bad hint");
}

static void test_tcp(void)
{
	struct message m;
	struct eg_event e;

	dns_watch();
	message_simple(&m, "api.openai.com", "192.0.2.10");
	dns_deliver(&m, &(struct delivery){.tcp = true});
	check(is_learned(POD, "192.0.2.10", NULL), "dns", "TCP, one segment");
	/* A message that goes on in the next segment: what is here is learned, the rest told. */
	dns_watch();
	message_begin(&m, "api.openai.com", 1, 2);
	put_address(&m, "@12", "192.0.2.10", 60);
	dns_deliver(&m, &(struct delivery){.tcp = true, .tcp_length = m.length + 16});
	check(is_learned(POD, "192.0.2.10", NULL), "dns", "TCP, first of two segments");
	check(events_drain(EG_EVENT_DNS_RAW, &e) == 1 && e.data_length == m.length, "dns",
	      "TCP, first of two segments: event");
	/* The first of two fragments likewise. */
	dns_watch();
	dns_deliver(&m, &(struct delivery){.fragment = 1});
	check(is_learned(POD, "192.0.2.10", NULL), "dns", "first fragment");
	dns_watch();
	dns_deliver(&m, &(struct delivery){.fragment = 64});
	check(!is_learned(POD, "192.0.2.10", NULL), "dns", "later fragment");
}

/* Events of DNS_RAW do not wait behind others, and what is not sent is counted. */
static void test_raw_rate(void)
{
	struct frame denied = {.source = POD4, .destination = PROVIDER4, .dport = 22};
	struct message m;
	int i, n;

	dns_watch();
	for (i = 0; i < 300; i++)
		run_frame(progs.egress, POD, &denied);
	message_begin(&m, "api.openai.com", 1, 1); /* whose one answer is not there */
	dns_deliver(&m, &dns_plain);
	check(events_drain(EG_EVENT_DNS_RAW, NULL) == 1, "dns raw rate", "behind 300 verdicts");
	dns_watch();
	for (i = 0; i < 300; i++)
		dns_deliver(&m, &dns_plain);
	n = events_drain(EG_EVENT_DNS_RAW, NULL);
	check(n >= 64 && n < 300, "dns raw rate", "%d events of 300", n);
	check(count_of(EG_REASON_DNS_LOST, EG_HOOK_DNS) == 300 - (uint64_t)n, "dns raw rate",
	      "%d sent, %llu counted as lost", n,
	      (unsigned long long)count_of(EG_REASON_DNS_LOST, EG_HOOK_DNS));
	dns_deliver(&m, &(struct delivery){.ifindex = POD_OTHER, .pod = "10.0.0.9"});
	check(events_drain(EG_EVENT_DNS_RAW, NULL) == 1, "dns raw rate", "another pod has its own");
}

static void untaught(const char *what, const struct message *m, const struct delivery *how, int raw)
{
	int n;

	dns_deliver(m, how);
	check(quota_used(how->ifindex ? how->ifindex : POD) == 0, "dns", "%s must teach nothing",
	      what);
	n = events_drain(EG_EVENT_DNS_RAW, NULL);
	check(n == raw, "dns", "%s: %d raw events, expected %d", what, n, raw);
}

static void test_malformed(void)
{
	struct message m;
	uint32_t n;

	dns_watch();
	message_simple(&m, "api.openai.com", "192.0.2.10");
	m.bytes[2] = 0x01;
	untaught("a query", &m, &dns_plain, 0);
	dns_watch();
	message_simple(&m, "api.openai.com", "192.0.2.10");
	m.bytes[3] = 0x83;
	untaught("NXDOMAIN", &m, &dns_plain, 0);
	dns_watch();
	message_begin(&m, "api.openai.com", 1, 0);
	untaught("no answers", &m, &dns_plain, 0);
	dns_watch();
	message_simple(&m, "api.openai.com", "192.0.2.10");
	m.bytes[5] = 2;
	untaught("two questions", &m, &dns_plain, 1);
	dns_watch();
	message_begin(&m, "@12", 1, 1);
	put_address(&m, "@12", "192.0.2.10", 60);
	untaught("a pointer to itself", &m, &dns_plain, 1);
	dns_watch();
	message_begin(&m, "api.openai.com", 1, 2);
	n = put_cname(&m, "@12", "x");
	m.bytes[n + 1] = 0; /* shorten it: the target is now a loop over itself */
	m.length = n;
	put_word(&m, 0xc000 | n);
	m.bytes[n - 1] = 2;
	put_address(&m, "@12", "192.0.2.10", 60);
	dns_deliver(&m, &dns_plain);
	check(is_learned(POD, "192.0.2.10", NULL), "dns",
	      "a target is not read when the question matched");
	dns_watch();
	message_begin(&m, "www.example", 1, 2);
	put_record(&m, "@12", 5, 60, 2);
	put_word(&m, 0xc000 | m.length);
	put_address(&m, "@12", "192.0.2.10", 60);
	untaught("a target that points to itself", &m, &dns_plain, 1);
	dns_watch();
	message_begin(&m, "www.example", 1, 2);
	put_record(&m, "@12", 5, 60, 2);
	put_word(&m, 0xc000 | 11); /* into the header */
	put_address(&m, "@12", "192.0.2.10", 60);
	untaught("a pointer into the header", &m, &dns_plain, 1);
	dns_watch();
	message_simple(&m, "api.openai.com", "192.0.2.10");
	m.bytes[m.length - 5] = 200;
	untaught("rdlength past the end", &m, &dns_plain, 1);
	dns_watch();
	message_begin(&m, "api.openai.com", 1, 1);
	put_record(&m, "@12", 1, 60, 5);
	m.length += 5;
	untaught("an A record of five bytes", &m, &dns_plain, 1);
	dns_watch();
	message_begin(&m, "api.openai.com", 1, 1);
	put_record(&m, "@12", 28, 60, 4);
	m.length += 4;
	untaught("an AAAA record of four bytes", &m, &dns_plain, 1);
	dns_watch();
	message_simple(&m, "api.openai.com", "192.0.2.10");
	m.bytes[QUESTION] = 0x83;
	untaught("a label type that is none", &m, &dns_plain, 1);
	dns_watch();
	message_simple(&m, "api.openai.com", "192.0.2.10");
	m.bytes[7] = 9;
	untaught("fewer answers than it says", &m, &dns_plain, 1);
	dns_watch();
	message_begin(&m, "api.openai.com", 1, 1);
	put_record(&m, "@12", 1, 60, 4);
	m.bytes[m.length - 7] = 3; /* class CHAOS */
	m.length += 4;
	untaught("another class", &m, &dns_plain, 0);
	for (n = 1; n < m.length; n++) {
		dns_watch();
		message_simple(&m, "api.openai.com", "192.0.2.10");
		if (n <= m.length - 12)
			untaught("a message cut short", &m, &(struct delivery){.cut = n}, 1);
		else
			untaught("a header cut short", &m, &(struct delivery){.cut = n}, 0);
	}
}

/* A query of which its message can't be told; `gso`: of many in one packet, else of fragments. */
static void ask_loosely(const char *resolver, uint16_t fragment, bool gso)
{
	static const uint8_t two[128] = {0x55, 0x55, 1, 0, 0, 1}; /* not MESSAGE_ID */
	static uint8_t frame[PACKET_MAX];
	struct frame f = {.source = POD4,
			  .destination = resolver,
			  .sport = 5353,
			  .dport = 53,
			  .protocol = IPPROTO_UDP,
			  .payload = two,
			  .payload_length = sizeof(two),
			  .fragment = fragment};
	struct run r = {.ifindex = POD};

	if (gso) {
		r.gso_size = sizeof(two) / 2;
		r.gso_segs = 2;
	}
	check(run_tc(progs.egress, frame, frame_build(&f, frame), &r) == NEXT, "dns",
	      "a query that can't be told passes");
}

/* Answers that their packet's query does not tell: believed, or a pod could ask so that nothing is.
 */
static void test_belief_loose(void)
{
	const struct delivery unasked = {.no_query = true};
	struct message m;
	int i;

	dns_watch();
	for (i = 0; i < 3; i++)
		dns_ask(&dns_plain, MESSAGE_ID);
	for (i = 0; i < 4; i++) {
		char address[16];

		snprintf(address, sizeof(address), "192.0.2.%d", 10 + i);
		message_simple(&m, "api.openai.com", address);
		dns_deliver(&m, &unasked);
		check(is_learned(POD, address, NULL) == (i < 3), "dns asked three times",
		      "answer %d", i + 1);
	}
	/* What was asked long ago is not owed an answer for being asked again. */
	dns_watch();
	dns_ask(&dns_plain, MESSAGE_ID);
	queries_age(31 * SECOND);
	dns_ask(&dns_plain, MESSAGE_ID);
	dns_deliver(&m, &unasked);
	message_simple(&m, "api.openai.com", "192.0.2.14");
	dns_deliver(&m, &unasked);
	check(!is_learned(POD, "192.0.2.14", NULL), "dns asked anew", "a second answer");

	message_simple(&m, "api.openai.com", "192.0.2.10");
	for (i = 0; i < 4; i++) {
		static const uint16_t piece[] = {0, 1, 64, 64 | 1};

		dns_watch();
		ask_loosely(RESOLVER4, piece[i], !piece[i]);
		check(queries_kept() == 1, "dns loose", "piece %d is on record", i);
		dns_deliver(&m, &unasked);
		check(is_learned(POD, "192.0.2.10", NULL), "dns loose", "piece %d", i);
	}
	queries_age(31 * SECOND);
	message_simple(&m, "api.openai.com", "192.0.2.11");
	dns_deliver(&m, &unasked);
	check(!is_learned(POD, "192.0.2.11", NULL), "dns loose", "half a minute late");
	dns_watch();
	ask_loosely(ELSEWHERE4, 1, false);
	check(queries_kept() == 0, "dns loose", "of no resolver");
	dns_watch();
	ask_loosely(RESOLVER4, 1, false);
	untaught("loose, another resolver", &m,
		 &(struct delivery){.resolver = "10.96.0.11", .no_query = true}, 0);
}

static void test_belief(void)
{
	struct eg_pod unknown = pod_of(0, EG_POD_UNKNOWN, 0, NULL, NULL);
	struct eg_pod before = pod_of(2, EG_POD_UNGOVERNED, EG_POD_FOLLOW_FLOWS, "10.0.0.3", NULL);
	struct message m;

	message_simple(&m, "api.openai.com", "192.0.2.10");
	dns_watch();
	untaught("an answer nobody asked for", &m, &(struct delivery){.no_query = true}, 0);
	dns_watch();
	untaught("another resolver's answer", &m, &(struct delivery){.resolver = "10.96.0.11"}, 0);
	dns_watch();
	untaught("an answer to another query", &m, &(struct delivery){.id = MESSAGE_ID + 1}, 0);
	dns_watch();
	dns_ask(&(struct delivery){.ifindex = POD_OTHER, .pod = POD4}, MESSAGE_ID);
	untaught("an answer another link asked for", &m, &(struct delivery){.no_query = true}, 0);
	dns_watch();
	dns_ask(&(struct delivery){.tcp = true}, MESSAGE_ID);
	untaught("an answer asked for over TCP", &m, &(struct delivery){.no_query = true}, 0);
	dns_watch();
	dns_ask(&(struct delivery){.ifindex = POD_UNGOVERNED, .pod = "10.0.0.3"}, MESSAGE_ID);
	set_pod(POD_UNGOVERNED, &before);
	dns_ask(&(struct delivery){.ifindex = POD_UNGOVERNED, .pod = "10.0.0.3"}, MESSAGE_ID);
	check(queries_kept() == 0, "dns", "an ungoverned pod's query is not kept");
	dns_ask(&(struct delivery){.resolver = ELSEWHERE4}, MESSAGE_ID);
	check(queries_kept() == 0, "dns", "nor one to another resolver");
	/* Once, and not for ever. */
	dns_watch();
	dns_deliver(&m, &dns_plain);
	check(is_learned(POD, "192.0.2.10", NULL), "dns", "the first answer");
	message_simple(&m, "api.openai.com", "192.0.2.11");
	dns_deliver(&m, &(struct delivery){.no_query = true});
	check(!is_learned(POD, "192.0.2.11", NULL), "dns", "a second answer to one query");
	dns_watch();
	dns_ask(&dns_plain, MESSAGE_ID);
	queries_age(31 * SECOND);
	untaught("an answer half a minute late", &m, &(struct delivery){.no_query = true}, 0);
	dns_watch();
	dns_ask(&dns_plain, MESSAGE_ID);
	queries_age(20 * SECOND);
	dns_deliver(&m, &(struct delivery){.no_query = true});
	check(is_learned(POD, "192.0.2.11", NULL), "dns", "a slow answer");
	message_simple(&m, "api.openai.com", "192.0.2.10");
	dns_watch();
	world_config()->any_resolver = 1;
	dns_deliver(&m, &(struct delivery){.resolver = "10.96.0.11"});
	check(is_learned(POD, "192.0.2.10", NULL), "dns", "any_resolver");
	dns_watch();
	untaught("an ungoverned pod's answer", &m,
		 &(struct delivery){.ifindex = POD_UNGOVERNED, .pod = "10.0.0.3"}, 0);
	dns_watch();
	set_pod(POD_UNKNOWN, &unknown);
	dns_deliver(&m, &(struct delivery){.ifindex = POD_UNKNOWN, .pod = "10.0.0.77"});
	check(is_learned(POD_UNKNOWN, "192.0.2.10", NULL), "dns", "a pod not known yet learns too");
	dns_watch();
	world_config()->enabled = 0;
	untaught("while disabled", &m, &dns_plain, 0);
}

/* More than `queries` has entries. */
static void flood_queries(const struct delivery *how)
{
	uint32_t i;

	for (i = 0; i < 20000; i++)
		dns_query(how, (uint16_t)i);
}

/* Connections of another pod, more than `flows` has entries: as egress_tc records them. */
static void flood_flows(uint32_t round)
{
	enum { CHUNK = 4096, CHUNKS = 48 };
	struct eg_flow_key *key = calloc(CHUNK, sizeof(*key));
	struct eg_flow *value = calloc(CHUNK, sizeof(*value));
	uint32_t chunk, i, n;

	check(key && value, "dns crowd", "memory");
	for (chunk = 0; key && value && chunk < CHUNKS; chunk++) {
		for (i = 0; i < CHUNK; i++)
			key[i] = (struct eg_flow_key){.source = address_of("10.0.0.9"),
						      .destination = address_of(ELSEWHERE4),
						      .source_port_be = htons((uint16_t)i),
						      .destination_port_be = (__be16)chunk,
						      .ifindex = POD_OTHER + (round << 16),
						      .protocol = IPPROTO_TCP};
		n = CHUNK;
		check(!bpf_map_update_batch(map_fd("flows"), key, value, &n, NULL), "dns crowd",
		      "chunk %u", chunk);
	}
	free(key);
	free(value);
}

/* What another pod does to the maps that all share must not make this pod's answer unasked for. */
static void test_crowd(void)
{
	struct frame open = {.source = POD4, .destination = ELSEWHERE4};
	struct delivery late = {.no_query = true},
			other = {.ifindex = POD_OTHER, .pod = "10.0.0.9"};
	struct delivery late_tcp = {.no_query = true, .tcp = true};
	struct message m;
	uint32_t i;

	message_simple(&m, "api.openai.com", "192.0.2.10");
	dns_watch();
	run_frame(progs.egress, POD, &open);
	dns_ask(&dns_plain, MESSAGE_ID);
	/* Which entry an LRU lets go is the kernel's choice: more than one flood may be needed. */
	for (i = 0; i < 8 && (!i || find_flow(POD, &open, NULL)); i++)
		flood_flows(i);
	check(!find_flow(POD, &open, NULL), "dns crowd", "flows is not full");
	dns_deliver(&m, &late);
	check(is_learned(POD, "192.0.2.10", NULL), "dns crowd", "another pod's connections");
	dns_watch();
	dns_ask(&(struct delivery){.tcp = true}, 0);
	flood_queries(&other);
	dns_deliver(&m, &late_tcp);
	check(is_learned(POD, "192.0.2.10", NULL), "dns crowd", "another pod's queries, TCP");
	dns_watch();
	dns_ask(&dns_plain, MESSAGE_ID);
	flood_queries(&other);
	check(queries_kept() == 1 + EG_QUERY_SETS * EG_QUERY_WAYS, "dns crowd",
	      "%u queries on record", queries_kept());
	dns_deliver(&m, &late);
	check(is_learned(POD, "192.0.2.10", NULL), "dns crowd", "another pod's queries");
	/* Its own, of which so many may be in flight. */
	dns_watch();
	for (i = 0; i < 100; i++)
		dns_ask(&dns_plain, (uint16_t)(MESSAGE_ID + i));
	dns_deliver(&m, &late);
	check(is_learned(POD, "192.0.2.10", NULL), "dns crowd", "a hundred of its own");
}

/* Addresses that would make the agent the pod's deputy. */
static void test_refused(void)
{
	static const char *const never[] = {
		"127.0.0.1",
		"127.255.255.254",
		"0.0.0.0",
		"0.1.2.3",
		"169.254.169.254",
		GATEWAY4,
		"224.0.0.251",
		"239.1.2.3",
		"240.0.0.1",
		"255.255.255.255",
		POD4,
		"10.0.0.9",
		"10.96.0.1",
		EXCLUDED4,
		"::1",
		"::",
		"fe80::1",
		"febf::1",
		"fec0::1",
		"ff02::1",
		POD6,
		GATEWAY6,
		"::ffff:192.0.2.1",
		"::192.0.2.1",
		"2002:c000:0201::1",
		"64:ff9b::7f00:1",
		"64:ff9b::a9fe:a9fe",
		"64:ff9b::a00:9",      /* POD_OTHER's */
		"64:ff9b::a00:2",      /* POD4 */
		"64:ff9b::a60:1",      /* a service's */
		"64:ff9b:1::c000:20a", /* forms that need a translator outside */
		"0:0:0:0:ffff:0:192.0.2.10",
	};
	struct message m;
	size_t i;

	for (i = 0; i < sizeof(never) / sizeof(*never); i++) {
		dns_watch();
		message_begin(&m, "api.openai.com", 1, 1);
		put_address(&m, "@12", never[i], 60);
		dns_deliver(&m, &dns_plain);
		/* "::ffff:a.b.c.d" in an AAAA is that IPv4 address to every socket: it is learned
		 * as such. */
		if (strncmp(never[i], "::ffff:", 7) == 0)
			continue;
		check(!is_learned(POD, never[i], NULL) && quota_used(POD) == 0, "dns", "%s learned",
		      never[i]);
		check(count_of(EG_REASON_LEARN_REFUSED, EG_HOOK_DNS) == 1, "dns", "%s: counted",
		      never[i]);
	}
	dns_watch();
	message_begin(&m, "api.openai.com", 28, 1);
	put_address(&m, "@12", "64:ff9b::c000:210", 60);
	dns_deliver(&m, &dns_plain);
	check(is_learned(POD, "64:ff9b::c000:210", NULL), "dns", "NAT64 of an ordinary address");
}

static void test_quota(void)
{
	struct message m;
	char text[32];
	int i;

	dns_watch();
	for (i = 0; i < 300; i++) {
		snprintf(text, sizeof(text), "198.18.%d.%d", i / 250, i % 250 + 1);
		message_simple(&m, "api.openai.com", text);
		dns_deliver(&m, &dns_plain);
	}
	check(quota_used(POD) == EG_LEARN_QUOTA, "dns quota", "%u", quota_used(POD));
	check(count_of(EG_REASON_LEARN_QUOTA, EG_HOOK_DNS) == 300 - EG_LEARN_QUOTA, "dns quota",
	      "counted");
	check(!is_learned(POD, "198.18.1.50", NULL), "dns quota", "no more learned");
	message_simple(&m, "api.openai.com", "198.18.0.1");
	dns_deliver(&m, &dns_plain);
	check(quota_used(POD) == EG_LEARN_QUOTA, "dns quota", "what is known stays");
	message_simple(&m, "api.openai.com", "198.18.1.50");
	dns_deliver(&m, &(struct delivery){.ifindex = POD_OTHER, .pod = "10.0.0.9"});
	check(is_learned(POD_OTHER, "198.18.1.50", NULL), "dns quota", "another pod has its own");
}

/* Without in-kernel names every answer that is believed goes to user space, beyond any rate. */
static void test_raw(void)
{
	struct message m;
	struct eg_event e;
	int i;

	dns_watch();
	message_simple(&m, "www.example", "192.0.2.10");
	for (i = 0; i < 200; i++)
		dns_deliver(&m, &(struct delivery){.raw = true});
	check(events_drain(EG_EVENT_DNS_RAW, &e) == 200, "dns raw", "every answer");
	check(e.data_length == m.length && e.ifindex == POD && e.pod_id == 1, "dns raw", "event");
	check(quota_used(POD) == 0, "dns raw", "the kernel learns nothing");
	dns_deliver(&m, &(struct delivery){.raw = true, .no_query = true, .pod = "10.0.0.9"});
	m.bytes[2] = 0x01;
	dns_deliver(&m, &(struct delivery){.raw = true});
	check(events_drain(EG_EVENT_DNS_RAW, NULL) == 0, "dns raw", "no query, nobody asked");
}

/* Learned before the pod has it: the next SYN is captured. */
static void test_race(void)
{
	struct frame syn = {.source = POD4, .destination = "192.0.2.10"};
	struct message m;

	dns_watch();
	message_simple(&m, "api.openai.com", "192.0.2.10");
	dns_deliver(&m, &dns_plain);
	check(run_frame(progs.egress, POD, &syn) == REDIRECT, "dns", "captured at the first SYN");
}

void test_dns(void)
{
	test_basic();
	test_names();
	test_dot_in_label();
	test_chains();
	test_many();
	test_https();
	test_dns_chain();
	test_tcp();
	test_dns_stream();
	test_raw_rate();
	test_malformed();
	test_belief();
	test_belief_loose();
	test_crowd();
	test_refused();
	test_quota();
	test_race();
	test_raw();
}
