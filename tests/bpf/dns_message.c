/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "dns_message.h"

void put_byte(struct message *m, uint32_t v)
{
	m->bytes[m->length++] = (uint8_t)v;
}

void put_word(struct message *m, uint32_t v)
{
	put_byte(m, v >> 8);
	put_byte(m, v);
}

void put_name(struct message *m, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, ".@");

		if (n) {
			put_byte(m, (uint32_t)n);
			memcpy(m->bytes + m->length, text, n);
			m->length += (uint32_t)n;
		}
		text += n;
		if (*text == '@') {
			put_word(m, 0xc000u | (uint32_t)atoi(text + 1));
			return;
		}
		if (*text == '.')
			text++;
	}
	put_byte(m, 0);
}

void message_begin(struct message *m, const char *question, uint32_t type, uint32_t answers)
{
	m->length = 0;
	put_word(m, MESSAGE_ID);
	put_word(m, 0x8180);
	put_word(m, 1);
	put_word(m, answers);
	put_word(m, 0);
	put_word(m, 0);
	put_name(m, question);
	put_word(m, type);
	put_word(m, 1);
}

void put_record(struct message *m, const char *owner, uint32_t type, uint32_t ttl, uint32_t size)
{
	put_name(m, owner);
	put_word(m, type);
	put_word(m, 1);
	put_word(m, ttl >> 16);
	put_word(m, ttl);
	put_word(m, size);
}

void put_address(struct message *m, const char *owner, const char *text, uint32_t ttl)
{
	struct eg_address a = address_of(text);
	bool v6 = strchr(text, ':') != NULL;

	put_record(m, owner, v6 ? 28 : 1, ttl, v6 ? 16 : 4);
	memcpy(m->bytes + m->length, v6 ? &a.word_be[0] : &a.word_be[3], v6 ? 16 : 4);
	m->length += v6 ? 16 : 4;
}

uint32_t put_cname(struct message *m, const char *owner, const char *target)
{
	uint32_t at, size;

	put_record(m, owner, 5, 60, 0);
	at = m->length;
	put_name(m, target);
	size = m->length - at;
	m->bytes[at - 2] = (uint8_t)(size >> 8);
	m->bytes[at - 1] = (uint8_t)size;
	return at;
}

void dns_watch(void)
{
	world_reset();
	set_watched("api.openai.com", 5);
	set_watched("*.openai.azure.com", 6);
	set_watched("azure.com", 7);
	set_watched("*.deep.azure.com", 8);
	set_watched("api.anthropic.com", 9);
}

void message_simple(struct message *m, const char *question, const char *a)
{
	message_begin(m, question, 1, 1);
	put_address(m, "@12", a, 300);
}

enum verdict dns_query(const struct delivery *how, uint16_t id)
{
	uint8_t header[MESSAGE_HEADER] = {(uint8_t)(id >> 8), (uint8_t)id, 1, 0, 0, 1};
	struct frame f = {.source = how->pod ? how->pod : POD4,
			  .destination = how->resolver ? how->resolver : RESOLVER4,
			  .sport = 5353,
			  .dport = 53,
			  .protocol = how->tcp ? IPPROTO_TCP : IPPROTO_UDP};

	if (!how->tcp) {
		f.payload = header;
		f.payload_length = sizeof(header);
	}
	return run_frame(progs.egress, how->ifindex ? how->ifindex : POD, &f);
}

void dns_ask(const struct delivery *how, uint16_t id)
{
	enum verdict v = dns_query(how, id);

	check(v == NEXT, "dns", "the query itself must pass: %s", verdict_text(v));
}

void dns_deliver(const struct message *m, const struct delivery *how)
{
	static uint8_t frame[PACKET_MAX], payload[5000];
	uint32_t size = m->length;
	struct run r = {.ifindex = how->ifindex ? how->ifindex : POD};
	struct frame answer = {.source = how->resolver ? how->resolver : RESOLVER4,
			       .destination = how->pod ? how->pod : POD4,
			       .sport = 53,
			       .dport = 5353,
			       .protocol = how->tcp ? IPPROTO_TCP : IPPROTO_UDP,
			       .tcp_flags = ACK | PSH,
			       .acknowledged = 1,
			       .fragment = how->fragment,
			       .payload = payload};
	enum verdict v;

	if (!how->no_query)
		dns_ask(how, how->id ? how->id : MESSAGE_ID);
	if (how->tcp) {
		uint32_t claimed = how->tcp_length ? how->tcp_length : size;

		payload[0] = (uint8_t)(claimed >> 8);
		payload[1] = (uint8_t)claimed;
		memcpy(payload + 2, m->bytes, size);
		size += 2;
	} else {
		memcpy(payload, m->bytes, size);
	}
	answer.payload_length = size - how->cut;
	v = run_tc(how->raw ? progs.dns_raw : progs.dns, frame, frame_build(&answer, frame), &r);
	check(v == NEXT, "dns", "the answer itself must pass: %s", verdict_text(v));
}

uint32_t quota_used(uint32_t ifindex)
{
	uint32_t n = 0;

	bpf_map_lookup_elem(map_fd("learned_count"), &ifindex, &n);
	return n;
}

const struct delivery dns_plain;

/* The queries on record; all of them asked `by_ns` earlier than they were. */
static uint32_t queries_walk(uint64_t by_ns)
{
	struct eg_query_key key, *previous = NULL;
	struct eg_queries set;
	uint32_t n = 0, i;

	while (!bpf_map_get_next_key(map_fd("queries"), previous, &key)) {
		previous = &key;
		if (bpf_map_lookup_elem(map_fd("queries"), &key, &set))
			continue;
		for (i = 0; i < EG_QUERY_WAYS; i++) {
			n += set.query[i].asked_ns != 0;
			if (set.query[i].asked_ns)
				set.query[i].asked_ns -= by_ns;
		}
		if (by_ns) /* of one entry: what is written moves, and a walk would meet it again */
			map_set("queries", &key, &set);
	}
	return n;
}

uint32_t queries_kept(void)
{
	return queries_walk(0);
}

void queries_age(uint64_t by_ns)
{
	check(queries_walk(by_ns) == 1, "dns", "one query on record");
}
