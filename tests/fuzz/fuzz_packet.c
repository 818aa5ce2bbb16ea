/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames through the kernel's parser and classifier (bpf/lib/pkt.h, classify.h), compiled
 * natively. The first two bytes choose the pod; the rest is the frame. Oracles:
 *  - a frame whose IP header, read the simple way, names the governed address never passes, and
 *    is redirected only as TCP to port 80 or 443 from the pod's own address;
 *  - one that names another address and hides nothing is not stopped;
 *  - a source route (RFC 791) and a VLAN tag are seen, and nothing else is taken for one;
 *  - bytes after the packet change nothing; a prefix never says something else than the whole,
 *    only less.
 */
#include "fuzz_bpf.h"
#include "lib/classify.h"

/* The fuzzer finds these quickly: 1.1.1.1, 101:101:... */
#define GOVERNED 0x01010101u

static struct eg_config cfg = {.enabled = 1, .hold_grace_ns = 1000, .mode = EG_MODE_NETNS};
static struct eg_destination governed = {.name_id = 5, .origin = EG_DESTINATION_RESOLVED};
static struct eg_verdict redirect = {.action = EG_ACTION_REDIRECT, .reason = EG_REASON_REDIRECT};

static bool is_governed6(const void *address)
{
	static const uint8_t one[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

	return !memcmp(address, one, 16);
}

static void *fuzz_lookup(void *map, const void *key)
{
	if (map == &destinations4) {
		const struct eg_lpm4 *k = key;

		return k->address_be == GOVERNED ? &governed : NULL;
	}
	if (map == &destinations6) {
		const struct eg_lpm6 *k = key;

		return is_governed6(k->address_be) ? &governed : NULL;
	}
	if (map == &verdicts) {
		const struct eg_verdict_key *k = key;

		return k->name_id == 0 && k->protocol == IPPROTO_TCP &&
				       (k->port_be == bpf_htons(443) || k->port_be == bpf_htons(80))
			       ? &redirect
			       : NULL;
	}
	return NULL;
}

/* Where the IP header is, behind at most two tags; 0: none can be read. *family is 4 or 6. */
static size_t ip_header(const uint8_t *b, size_t size, int *family)
{
	size_t at = 12;
	int tags;

	for (tags = 0; tags < 2; tags++) {
		unsigned type;

		if (at + 2 > size)
			return 0;
		type = (unsigned)b[at] << 8 | b[at + 1];
		if (type != 0x8100 && type != 0x88a8 && type != 0x9100)
			break;
		at += 4;
	}
	if (at + 2 > size)
		return 0;
	*family = b[at] == 8 && b[at + 1] == 0 ? 4 : b[at] == 0x86 && b[at + 1] == 0xdd ? 6 : 0;
	at += 2;
	if (!*family || at + (*family == 4 ? 20 : 40) > size || b[at] >> 4 != *family)
		return 0;
	return at;
}

/* What an end host would make of it: RFC 791, RFC 8200. */
struct simple {
	int protocol; /* -1: no whole transport header of a whole packet */
	unsigned sport, dport;
	int headers; /* IPv6 extension headers */
	bool honest; /* TCP as an ordinary stack sends it: to be captured, not stopped */
};

static unsigned get16(const uint8_t *b)
{
	return (unsigned)b[0] << 8 | b[1];
}

/* IPv6 extension headers, without a bound on their number; the transport header's place or NULL. */
static const uint8_t *past_extensions(const uint8_t *b, const uint8_t *end, int *protocol,
				      int *headers)
{
	static const uint8_t kinds[] = {0, 43, 44, 51, 60, 135, 139, 140};

	while (memchr(kinds, *protocol, sizeof(kinds))) {
		size_t size;

		if (end - b < 8)
			return NULL;
		size = *protocol == 44 ? 8 : *protocol == 51 ? 8 + 4u * b[1] : 8 + 8u * b[1];
		if (*protocol == 44 && get16(b + 2) & 0xfff9)
			return NULL;
		if (*protocol == 43 && b[3])
			return NULL;
		if ((size_t)(end - b) < size)
			return NULL;
		*protocol = b[0];
		b += size;
		++*headers;
	}
	return b;
}

static struct simple read_simply(const uint8_t *ip, size_t size, int family)
{
	const uint8_t *end = ip + size, *b;
	struct simple s = {.protocol = -1};
	int protocol;
	size_t claimed;

	if (family == 4) {
		if ((ip[0] & 15) < 5 || (size_t)(ip[0] & 15) * 4 > size || get16(ip + 6) & 0x3fff)
			return s;
		protocol = ip[9];
		b = ip + (ip[0] & 15) * 4;
		claimed = get16(ip + 2);
	} else {
		protocol = ip[6];
		b = past_extensions(ip + 40, end, &protocol, &s.headers);
		claimed = get16(ip + 4) ? 40 + get16(ip + 4) : 0;
	}
	if (!b || (claimed && ip + claimed < b))
		return s;
	if (claimed && claimed < size)
		end = ip + claimed;
	if (protocol == IPPROTO_TCP) {
		if (end - b < 20 || b[12] >> 4 < 5)
			return s;
	} else if (protocol == IPPROTO_UDP) {
		if (end - b < 8)
			return s;
	} else {
		return s;
	}
	s.honest = protocol == IPPROTO_TCP && s.headers <= EG_EXT_MAX &&
		   (family == 6 || ip[0] == 0x45) && (!claimed || end - b >= (b[12] >> 4) * 4);
	s.protocol = protocol;
	s.sport = get16(b);
	s.dport = get16(b + 2);
	return s;
}

/* 1: there is a loose or strict source route, 0: there is none, -1: the list is malformed or longer
 * than is read. */
static int source_route(const uint8_t *ip)
{
	size_t end = (size_t)(ip[0] & 15) * 4, at = 20;

	for (int i = 0; i < EG_OPTIONS_MAX; i++) {
		if (at >= end || ip[at] == 0)
			return 0;
		if (ip[at] == 1) {
			at++;
			continue;
		}
		if (at + 2 > end || ip[at + 1] < 2 || at + ip[at + 1] > end)
			return -1;
		if (ip[at] == 131 || ip[at] == 137)
			return 1;
		at += ip[at + 1];
	}
	return at >= end ? 0 : -1;
}

/* Before `at`, where the IP header is: a tag with an id, or a second one (IEEE 802.1Q 9.6). */
static bool has_vlan(const uint8_t *b, size_t at)
{
	return at == 22 || (at == 18 && (get16(b + 14) & 0x0fff));
}

/* Of an option whose length lies behind the frame's end nothing is said: no host takes such a
 * packet. */
static void flags_agree(const struct eg_packet *p, const uint8_t *b, size_t size, size_t at)
{
	FUZZ_CHECK(!(p->flags & EG_PACKET_TAGGED) == !has_vlan(b, at));
	if (p->family == 4 && (b[at] & 15) >= 5 && at + (size_t)(b[at] & 15) * 4 < size &&
	    (!get16(b + at + 2) || get16(b + at + 2) >= (unsigned)(b[at] & 15) * 4))
		FUZZ_CHECK(!(p->flags & EG_PACKET_SOURCE_ROUTED) == !source_route(b + at));
}

static void parse(const uint8_t *bytes, size_t size, struct eg_packet *p)
{
	/* As in an skb: the IP header is aligned (NET_IP_ALIGN), and the end is the end. */
	uint8_t *copy = malloc(size + 2);

	if (!copy)
		abort();
	memcpy(copy + 2, bytes, size);
	eg_packet_parse(copy + 2, copy + 2 + size, 0, p);
	free(copy);
}

static void classify(struct eg_scene *s, struct eg_pod *pod, const uint8_t *bytes, size_t size)
{
	memset(s, 0, sizeof(*s));
	s->config = &cfg;
	s->pod = pod;
	s->ifindex = 10;
	s->length = (uint32_t)size;
	s->now_ns = 5;
	parse(bytes, size, &s->packet);
	eg_classify(s);
}

static bool is_own_source(const struct eg_pod *pod, const uint8_t *ip, int family)
{
	return family == 4 ? !memcmp(&pod->address[0].word_be[3], ip + 12, 4)
			   : !memcmp(&pod->address[1], ip + 8, 16);
}

static void never_passes(const struct eg_scene *s, const struct eg_pod *pod, const uint8_t *ip,
			 size_t size, int family, bool untagged)
{
	struct simple simple = read_simply(ip, size, family);
	const struct eg_packet *p = &s->packet;

	FUZZ_CHECK(s->decision.action != EG_ACTION_PASS);
	FUZZ_CHECK(!(s->decision.flags & EG_DECISION_SILENT));
	if (pod->state == EG_POD_GOVERNED && simple.honest && simple.dport == 443 && untagged &&
	    is_own_source(pod, ip, family))
		FUZZ_CHECK(s->decision.action == EG_ACTION_REDIRECT);
	if (s->decision.action != EG_ACTION_REDIRECT)
		return;
	FUZZ_CHECK(pod->state == EG_POD_GOVERNED);
	FUZZ_CHECK(p->protocol == IPPROTO_TCP && !p->defect && !(p->flags & EG_PACKET_TAGGED));
	FUZZ_CHECK(simple.protocol == IPPROTO_TCP && (simple.dport == 443 || simple.dport == 80));
	FUZZ_CHECK(is_own_source(pod, ip, family));
}

static void prefixes(const uint8_t *bytes, size_t size, const struct eg_packet *whole)
{
	uint64_t seed = fuzz_seed(bytes, size);
	struct eg_packet p;

	for (size_t n = 0; n < size; n += fuzz_step(&seed, size - n)) {
		parse(bytes, n, &p);
		if (p.status == EG_PACKET_HIDDEN) /* 1: cannot tell yet */
			continue;
		FUZZ_CHECK(p.status == whole->status && p.family == whole->family);
		if (p.status != EG_PACKET_IP)
			continue;
		FUZZ_CHECK(eg_address_equal(&p.destination, &whole->destination));
		FUZZ_CHECK(p.defect || !whole->defect); /* less may be known, never less wrong */
		if (!p.defect) {
			FUZZ_CHECK(p.protocol == whole->protocol);
			FUZZ_CHECK(p.source_port_be == whole->source_port_be);
			FUZZ_CHECK(p.destination_port_be == whole->destination_port_be);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct eg_pod pod = {.pod_id = 1, .policy_id = 3, .address_count = 2};
	struct eg_packet whole, longer;
	struct eg_scene s;
	uint8_t *padded;
	int family = 0;
	size_t at;

	if (size < 2 || size > 4096)
		return 0;
	bpf_map_lookup_elem = fuzz_lookup;
	pod.state = data[0] % 3;
	pod.flags = data[0] & 0x80 ? EG_POD_CAPTURE_ALL_TLS : 0;
	eg_address_from4(&pod.address[0], 0x02020202);
	memset(&pod.address[1], 2, 16);
	data += 2;
	size -= 2;
	classify(&s, &pod, data, size);
	parse(data, size, &whole); /* the classifier adds defects of its own */
	at = ip_header(data, size, &family);
	if (at &&
	    (family == 4 ? !memcmp(data + at + 16, "\1\1\1\1", 4) : is_governed6(data + at + 24)))
		never_passes(&s, &pod, data + at, size - at, family, at == 14);
	else if (at && s.packet.status == EG_PACKET_IP && !s.packet.defect && !(pod.flags) &&
		 family == 4 && !(s.packet.flags & EG_PACKET_SOURCE_ROUTED))
		FUZZ_CHECK(s.decision.action == EG_ACTION_PASS);
	if (whole.status == EG_PACKET_IP && !whole.defect && whole.flags & EG_PACKET_PORTS) {
		struct simple simple = read_simply(data + at, size - at, family);

		FUZZ_CHECK(simple.protocol == whole.protocol);
		FUZZ_CHECK(simple.sport == bpf_ntohs(whole.source_port_be));
		FUZZ_CHECK(simple.dport == bpf_ntohs(whole.destination_port_be));
	}
	if (s.packet.status == EG_PACKET_IP) {
		FUZZ_CHECK(at && s.packet.l3_offset == at && s.packet.family == family);
		flags_agree(&whole, data, size, at);
	}
	prefixes(data, size, &whole);
	padded = calloc(1, size + 64);
	if (!padded)
		abort();
	memcpy(padded, data, size);
	parse(padded, size + 64, &longer);
	if (whole.status == EG_PACKET_IP && !whole.defect)
		FUZZ_CHECK(!memcmp(&longer, &whole, sizeof(longer)));
	free(padded);
	return 0;
}
