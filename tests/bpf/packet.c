/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packet.h"

static void put16(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static void put32(uint8_t *at, uint32_t v)
{
	put16(at, v >> 16);
	put16(at + 2, v & 0xffff);
}

static uint32_t sum16(const uint8_t *at, size_t length, uint32_t sum)
{
	size_t i;

	for (i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)at[i] << 8 | at[i + 1];
	if (length & 1)
		sum += (uint32_t)at[length - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

struct eg_address address_of(const char *text)
{
	struct eg_address a = {.word_be = {0, 0, htonl(0xffff), 0}};

	if (strchr(text, ':') ? inet_pton(AF_INET6, text, &a) != 1
			      : inet_pton(AF_INET, text, &a.word_be[3]) != 1) {
		fprintf(stderr, "not an address: %s\n", text);
		exit(2);
	}
	return a;
}

static size_t put_transport(const struct frame *f, uint8_t *at, uint8_t protocol)
{
	size_t header = 0;

	if (protocol == IPPROTO_TCP) {
		memset(at, 0, 20);
		put16(at, f->sport ? f->sport : 40000);
		put16(at + 2, f->dport ? f->dport : 443);
		put32(at + 4, f->sequence);
		put32(at + 8, f->acknowledged);
		at[12] = (uint8_t)((f->tcp_header ? f->tcp_header : 20) / 4 << 4);
		at[13] = f->tcp_flags == 0xff ? 0 : f->tcp_flags ? f->tcp_flags : SYN;
		put16(at + 14, 64240);
		header = 20;
	} else if (protocol == IPPROTO_UDP) {
		put16(at, f->sport ? f->sport : 40000);
		put16(at + 2, f->dport ? f->dport : 443);
		put16(at + 4, 8 + f->payload_length);
		put16(at + 6, 0);
		header = 8;
	} else if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
		memset(at, 0, 8);
		at[0] = protocol == IPPROTO_ICMP ? 8 : 128;
		header = 8;
	}
	if (f->payload_length)
		memcpy(at + header, f->payload, f->payload_length);
	return header + f->payload_length;
}

static uint32_t pseudo(const struct eg_address *s, const struct eg_address *d, bool v6, size_t l4)
{
	uint32_t sum = (uint32_t)l4 + IPPROTO_TCP;
	int skip = v6 ? 0 : 12;

	sum = sum16((const uint8_t *)s + skip, 16 - (size_t)skip, sum);
	return sum16((const uint8_t *)d + skip, 16 - (size_t)skip, sum);
}

static size_t put_extensions(const struct frame *f, uint8_t *at, uint8_t protocol, uint8_t *first)
{
	size_t used = 0;
	int i;

	*first = f->extensions ? f->extension[0].type : protocol;
	for (i = 0; i < f->extensions; i++) {
		const struct extension *e = &f->extension[i];
		size_t size = ((size_t)e->length + 1) * 8;

		if (e->type == IPPROTO_AH)
			size = ((size_t)e->length + 2) * 4;
		if (e->type == IPPROTO_FRAGMENT)
			size = 8;
		memset(at + used, 0, size);
		at[used] = i + 1 < f->extensions ? f->extension[i + 1].type : protocol;
		at[used + 1] = e->type == IPPROTO_FRAGMENT ? 0 : e->length;
		at[used + 2] = e->routing_type;
		at[used + 3] = e->segments_left;
		if (e->type == IPPROTO_FRAGMENT)
			put16(at + used + 2, e->fragment);
		used += size;
	}
	return used;
}

size_t frame_build(const struct frame *f, uint8_t *out)
{
	static const uint8_t mac[12] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
	bool v6 = strchr(f->destination, ':') != NULL;
	struct eg_address s = address_of(f->source), d = address_of(f->destination);
	uint8_t protocol = f->protocol ? f->protocol : IPPROTO_TCP, *at = out + 12, *ip, *l4;
	size_t header, l4_length;
	int i;

	memcpy(out, mac, 12);
	for (i = 0; i < f->vlans; i++) {
		put16(at, i + 1 < f->vlans ? 0x88a8 : 0x8100);
		put16(at + 2, f->vlan[i]);
		at += 4;
	}
	put16(at, f->ethertype ? f->ethertype : v6 ? 0x86dd : 0x0800);
	ip = at + 2;
	if (v6) {
		memset(ip, 0, 40);
		ip[0] = (uint8_t)((f->version ? f->version : 6) << 4);
		ip[7] = 64;
		memcpy(ip + 8, &s, 16);
		memcpy(ip + 24, &d, 16);
		header = put_extensions(f, ip + 40, protocol, &ip[6]);
		l4 = ip + 40 + header;
		l4_length = put_transport(f, l4, protocol);
		put16(ip + 4, (uint32_t)(header + l4_length));
		if (f->total_length)
			put16(ip + 4, f->total_length < 0 ? 0 : (uint32_t)f->total_length);
	} else {
		header = 20 + (((size_t)f->options_length + 3) & ~(size_t)3);
		memset(ip, 0, header);
		memcpy(ip + 20, f->options, (size_t)f->options_length);
		ip[0] = (uint8_t)((f->version ? f->version : 4) << 4 |
				  (f->ihl ? f->ihl & 15 : (int)header / 4));
		put16(ip + 6, (uint32_t)(f->fragment >> 3) | (f->fragment & 1 ? 0x2000 : 0));
		ip[8] = 64;
		ip[9] = protocol;
		memcpy(ip + 12, &s.word_be[3], 4);
		memcpy(ip + 16, &d.word_be[3], 4);
		l4 = ip + header;
		l4_length = put_transport(f, l4, protocol);
		put16(ip + 2, (uint32_t)(header + l4_length));
		if (f->total_length)
			put16(ip + 2, f->total_length < 0 ? 0 : (uint32_t)f->total_length);
		put16(ip + 10, ~sum16(ip, header, 0) & 0xffff);
	}
	if (protocol == IPPROTO_TCP) {
		uint32_t sum = pseudo(&s, &d, v6, l4_length);

		put16(l4 + 16, f->partial ? sum : ~sum16(l4, l4_length, sum) & 0xffff);
	}
	return (size_t)(l4 - out) + l4_length;
}

bool frame_checksums_ok(const uint8_t *frame, size_t length, bool partial)
{
	const uint8_t *ip = frame + 14;
	bool v6 = ip[0] >> 4 == 6;
	size_t header = v6 ? 40 : (size_t)(ip[0] & 15) * 4, l4 = length - 14 - header;
	struct eg_address s = {}, d = {};
	uint32_t sum;

	memcpy(v6 ? &s.word_be[0] : &s.word_be[3], ip + (v6 ? 8 : 12), v6 ? 16 : 4);
	memcpy(v6 ? &d.word_be[0] : &d.word_be[3], ip + (v6 ? 24 : 16), v6 ? 16 : 4);
	if (!v6 && sum16(ip, header, 0) != 0xffff)
		return false;
	sum = pseudo(&s, &d, v6, l4);
	if (partial)
		return ((uint32_t)ip[header + 16] << 8 | ip[header + 17]) == sum;
	return sum16(ip + header, l4, sum) == 0xffff;
}
