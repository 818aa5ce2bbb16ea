/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns_tc: the additional section. Of it only what the asked name leads to, link by link, teaches;
 * the records there are those that BIND and Unbound send (RFC 9460 4.2).
 */
#include <stdio.h>
#include <string.h>

#include "dns_message.h"

#define CNAME 5
#define HTTPS 65

/* An HTTPS record without parameters; `priority` 0 is an alias. */
static void put_https(struct message *m, const char *owner, uint32_t priority, const char *target)
{
	uint32_t at;

	put_record(m, owner, HTTPS, 60, 0);
	at = m->length;
	put_word(m, priority);
	put_name(m, target);
	m->bytes[at - 2] = (uint8_t)((m->length - at) >> 8);
	m->bytes[at - 1] = (uint8_t)(m->length - at);
}

static void put_opt(struct message *m)
{
	put_name(m, "");
	put_word(m, 41);
	put_word(m, 1232);
	put_word(m, 0);
	put_word(m, 0);
	put_word(m, 0);
}

static void put_ns(struct message *m, const char *owner, const char *server)
{
	uint32_t at;

	put_record(m, owner, 2, 60, 0);
	at = m->length;
	put_name(m, server);
	m->bytes[at - 1] = (uint8_t)(m->length - at);
}

static void begin(struct message *m, const char *question, uint32_t type, uint32_t answers,
		  uint32_t authority, uint32_t additional)
{
	dns_watch();
	message_begin(m, question, type, answers);
	m->bytes[9] = (uint8_t)authority;
	m->bytes[11] = (uint8_t)additional;
}

static void taught(const char *what, const struct message *m, const char *address, uint32_t count)
{
	struct eg_learned l = {};

	dns_deliver(m, &dns_plain);
	if (address)
		check(is_learned(POD, address, &l) && l.name_id == 5, "dns chain", "%s: %s", what,
		      address);
	check(quota_used(POD) == count, "dns chain", "%s: %u addresses learned, expected %u", what,
	      quota_used(POD), count);
	check(events_drain(EG_EVENT_DNS_RAW, NULL) == 0, "dns chain", "%s: not handed up", what);
}

static void test_followed(void)
{
	struct message m;
	uint32_t at;
	char text[32];

	begin(&m, "api.openai.com", 1, 1, 1, 3);
	put_cname(&m, "@12", "edge.cdn.example");
	put_ns(&m, "cdn.example", "ns.cdn.example");
	put_address(&m, "ns.cdn.example", "192.0.2.53", 60);
	put_address(&m, "EDGE.cdn.example", "192.0.2.10", 60);
	put_opt(&m);
	taught("a CNAME's target", &m, "192.0.2.10", 1);

	begin(&m, "api.openai.com", HTTPS, 1, 0, 2);
	put_https(&m, "@12", 1, "edge.cdn.example");
	put_address(&m, "edge.cdn.example", "192.0.2.10", 60);
	put_address(&m, "edge.cdn.example", "2001:db8:9::1", 60);
	taught("an HTTPS record's target", &m, "2001:db8:9::1", 2);

	begin(&m, "api.openai.com", HTTPS, 1, 0, 2);
	put_https(&m, "@12", 1, "");
	put_opt(&m);
	put_address(&m, "@12", "192.0.2.10", 60);
	taught("its target is its owner", &m, "192.0.2.10", 1);

	/* An alias to a name whose HTTPS record is in the additional section, behind a CNAME. */
	begin(&m, "api.openai.com", HTTPS, 2, 0, 3);
	at = put_cname(&m, "@12", "svc.cdn.example");
	snprintf(text, sizeof(text), "@%u", at);
	put_https(&m, text, 0, "pool.cdn.example");
	put_https(&m, "pool.cdn.example", 1, "a.pool.cdn.example");
	put_cname(&m, "a.pool.cdn.example", "b.pool.cdn.example");
	put_address(&m, "b.pool.cdn.example", "192.0.2.10", 60);
	taught("four links", &m, "192.0.2.10", 1);
}

/* What a server says besides: the chain begins at the asked name, and at nothing else. */
static void test_not_followed(void)
{
	struct message m;
	char text[64];
	int i;

	begin(&m, "api.openai.com", 1, 1, 0, 2);
	put_address(&m, "@12", "192.0.2.10", 60);
	put_address(&m, "other.example", "192.0.2.66", 60);
	put_address(&m, "@12", "192.0.2.67", 60);
	taught("without a link only the answer", &m, "192.0.2.10", 1);

	begin(&m, "api.openai.com", 1, 1, 0, 2);
	put_cname(&m, "@12", "edge.cdn.example");
	put_address(&m, "cdn.example", "192.0.2.66", 60);
	put_address(&m, "x.edge.cdn.example", "192.0.2.67", 60);
	taught("names beside the target", &m, NULL, 0);

	begin(&m, "api.openai.com", 1, 1, 1, 1);
	put_cname(&m, "@12", "edge.cdn.example");
	put_address(&m, "edge.cdn.example", "192.0.2.66", 60); /* in the authority section */
	put_opt(&m);
	taught("the authority section", &m, NULL, 0);

	begin(&m, "api.openai.com", 1, 1, 0, 1);
	put_cname(&m, "www.example", "edge.cdn.example");
	put_address(&m, "edge.cdn.example", "192.0.2.66", 60);
	taught("a CNAME of another name", &m, NULL, 0);

	/* Another name's CNAME to a watched one says what the answer is about, as ever; it is no
	 * link. */
	begin(&m, "www.example", 1, 2, 0, 2);
	put_cname(&m, "other.example", "api.openai.com");
	put_cname(&m, "@12", "edge.cdn.example");
	put_address(&m, "api.openai.com", "192.0.2.66", 60);
	put_address(&m, "edge.cdn.example", "192.0.2.10", 60);
	taught("a watched name beside the chain", &m, "192.0.2.10", 1);

	begin(&m, "api.openai.com", HTTPS, 1, 0, 2);
	put_https(&m, "@12", 1, "");
	put_address(&m, "", "192.0.2.66", 60);
	put_address(&m, "@12", "192.0.2.10", 60);
	taught("the root", &m, "192.0.2.10", 1);

	begin(&m, "www.example", HTTPS, 1, 0, 1);
	put_https(&m, "@12", 1, "edge.cdn.example");
	put_address(&m, "edge.cdn.example", "192.0.2.66", 60);
	taught("a question that nobody watches", &m, NULL, 0);

	/* A link in the additional section to a watched name makes no question watched. */
	begin(&m, "www.example", 1, 1, 0, 2);
	put_cname(&m, "@12", "edge.cdn.example");
	put_cname(&m, "edge.cdn.example", "api.openai.com");
	put_address(&m, "api.openai.com", "192.0.2.66", 60);
	taught("a watched name behind", &m, NULL, 0);

	/* Eight names are followed. */
	begin(&m, "api.openai.com", 1, 8, 0, 2);
	put_cname(&m, "@12", "a1.example");
	for (i = 1; i < 8; i++) {
		char next[32];

		snprintf(text, sizeof(text), "a%d.example", i);
		snprintf(next, sizeof(next), "a%d.example", i + 1);
		put_cname(&m, text, next);
	}
	put_address(&m, "a7.example", "192.0.2.10", 60);
	put_address(&m, "a8.example", "192.0.2.66", 60);
	taught("eight names", &m, "192.0.2.10", 1);
}

/* What is wrong behind the answer section takes nothing back. */
static void test_defects(void)
{
	struct message m;
	int i;

	begin(&m, "api.openai.com", 1, 2, 0, 2);
	put_cname(&m, "@12", "edge.cdn.example");
	put_address(&m, "edge.cdn.example", "192.0.2.10", 60);
	put_address(&m, "edge.cdn.example", "192.0.2.11", 60);
	put_record(&m, "edge.cdn.example", 1, 60, 3);
	m.length += 3;
	taught("a bad record behind", &m, "192.0.2.11", 2);

	begin(&m, "api.openai.com", 1, 2, 0, 9);
	put_cname(&m, "@12", "edge.cdn.example");
	put_address(&m, "edge.cdn.example", "192.0.2.10", 60);
	put_address(&m, "edge.cdn.example", "192.0.2.11", 60);
	taught("records that are not there", &m, "192.0.2.11", 2);

	/* More steps than there are: 1,000 labels. */
	begin(&m, "api.openai.com", 1, 2, 0, 40);
	put_cname(&m, "@12", "edge.cdn.example");
	put_address(&m, "edge.cdn.example", "192.0.2.10", 60);
	for (i = 0; i < 40; i++) {
		uint32_t j;

		for (j = 0; j < 27; j++) {
			put_byte(&m, 1);
			put_byte(&m, 'a');
		}
		put_address(&m, "", "192.0.2.66", 60);
	}
	taught("a section without an end", &m, "192.0.2.10", 1);
}

void test_dns_chain(void)
{
	test_followed();
	test_not_followed();
	test_defects();
}
