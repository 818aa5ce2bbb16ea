/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames through the kernel's parser and classifier (bpf/lib/pkt.h, classify.h), compiled
 * natively. The first two bytes choose the pod; the rest is the frame. Oracles:
 *  - a frame whose IP header, read the simple way, names the governed address never passes, and
 *    is redirected only as TCP to port 80 or 443 from the pod's own address;
 *  - one that names another address and hides nothing is not stopped;
 *  - bytes after the packet change nothing; a prefix never says something else than the whole,
 *    only less.
 */
#include "fuzz_bpf.h"
#include "lib/classify.h"

/* The fuzzer finds these quickly: 1.1.1.1, 101:101:... */
#define GOVERNED 0x01010101u

static struct eg_config cfg = { .enabled = 1, .hold_grace_ns = 1000, .mode = EG_MODE_NETNS };
static struct eg_destination governed = { .name_id = 5, .origin = EG_DESTINATION_RESOLVED };
static struct eg_verdict redirect = { .action = EG_ACTION_REDIRECT, .reason = EG_REASON_REDIRECT };

static bool is_governed6(const void *address)
{
	static const uint8_t one[16] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };

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
				       (k->port_be == bpf_htons(443) || k->port_be == bpf_htons(80)) ?
			       &redirect :
			       NULL;
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

static void never_passes(const struct eg_scene *s, const struct eg_pod *pod, const uint8_t *ip,
			 int family)
{
	const struct eg_packet *p = &s->packet;

	FUZZ_CHECK(s->decision.action != EG_ACTION_PASS);
	FUZZ_CHECK(!(s->decision.flags & EG_DECISION_SILENT));
	if (s->decision.action != EG_ACTION_REDIRECT)
		return;
	FUZZ_CHECK(pod->state == EG_POD_GOVERNED);
	FUZZ_CHECK(p->protocol == IPPROTO_TCP && !p->defect && !(p->flags & EG_PACKET_TAGGED));
	FUZZ_CHECK(p->destination_port_be == bpf_htons(443) || p->destination_port_be == bpf_htons(80));
	FUZZ_CHECK(!memcmp(family == 4 ? &pod->address[0].word_be[3] : &pod->address[1].word_be[0],
			   ip + (family == 4 ? 12 : 8), family == 4 ? 4 : 16));
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
	struct eg_pod pod = { .pod_id = 1, .policy_id = 3, .address_count = 2 };
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
	at = ip_header(data, size, &family);
	if (at && (family == 4 ? !memcmp(data + at + 16, "\1\1\1\1", 4) : is_governed6(data + at + 24)))
		never_passes(&s, &pod, data + at, family);
	else if (at && s.packet.status == EG_PACKET_IP && !s.packet.defect && !(pod.flags) &&
		 family == 4 && !(s.packet.flags & EG_PACKET_SOURCE_ROUTED))
		FUZZ_CHECK(s.decision.action == EG_ACTION_PASS);
	if (s.packet.status == EG_PACKET_IP)
		FUZZ_CHECK(at && s.packet.l3_offset == at && s.packet.family == family);
	parse(data, size, &whole); /* the classifier adds defects of its own */
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
