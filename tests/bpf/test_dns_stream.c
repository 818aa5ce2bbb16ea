/* SPDX-License-Identifier: Apache-2.0 */
/* dns_tc: what a resolver sends on one TCP connection, cut into segments as the network likes. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "dns_message.h"

struct stream {
	uint8_t bytes[9000];
	uint32_t length;
	uint16_t port; /* the pod's; 0: 5353 */
};

#define SEQUENCE 0xfffffff0u /* of the SYN: the numbers wrap */

static void stream_byte(struct stream *s, uint32_t v)
{
	s->bytes[s->length++] = (uint8_t)v;
}

static void stream_add(struct stream *s, const struct message *m)
{
	stream_byte(s, m->length >> 8);
	stream_byte(s, m->length);
	memcpy(s->bytes + s->length, m->bytes, m->length);
	s->length += m->length;
}

/* An answer for the watched name with the address 192.0.2.LAST. */
static void stream_answer(struct stream *s, uint32_t last)
{
	struct message m;
	char text[32];

	snprintf(text, sizeof(text), "192.0.2.%u", last);
	message_simple(&m, "api.openai.com", text);
	stream_add(s, &m);
}

static bool taught(uint32_t last)
{
	char text[32];

	snprintf(text, sizeof(text), "192.0.2.%u", last);
	return is_learned(POD, text, NULL);
}

static void segment(const struct stream *s, uint32_t from, uint32_t to)
{
	static uint8_t frame[PACKET_MAX];
	struct run r = {.ifindex = POD};
	struct frame f = {.source = RESOLVER4,
			  .destination = POD4,
			  .sport = 53,
			  .dport = s->port ? s->port : 5353,
			  .tcp_flags = ACK,
			  .sequence = SEQUENCE + 1 + from,
			  .acknowledged = 1,
			  .payload = s->bytes + from,
			  .payload_length = to - from};
	enum verdict v = run_tc(progs.dns, frame, frame_build(&f, frame), &r);

	check(v == NEXT, "dns stream", "a segment must pass: %s", verdict_text(v));
}

/* The pod's SYN and, unless its end was not seen, the resolver's. */
static void stream_open(struct stream *s, bool seen)
{
	struct frame f = {.source = RESOLVER4,
			  .destination = POD4,
			  .sport = 53,
			  .dport = 5353,
			  .tcp_flags = SYN | ACK,
			  .sequence = SEQUENCE,
			  .acknowledged = 1};

	dns_watch();
	s->length = 0;
	dns_ask(&(struct delivery){.tcp = true}, 0);
	if (seen)
		check(run_frame(progs.dns, POD, &f) == NEXT, "dns stream", "SYN ACK");
}

static void test_stream_messages(void)
{
	static struct stream s;
	uint32_t i, end, seen;

	for (seen = 0; seen < 2; seen++) {
		stream_open(&s, seen);
		for (i = 1; i <= 20; i++)
			stream_answer(&s, i);
		segment(&s, 0, s.length);
		for (i = 1; i <= 20; i++)
			check(taught(i), "dns stream", "message %u of 20 in one segment", i);
	}
	/* More than are read of one packet: counted, and the next segment is read again. */
	stream_open(&s, true);
	for (i = 1; i <= 40; i++)
		stream_answer(&s, i);
	end = s.length;
	stream_answer(&s, 50);
	segment(&s, 0, end);
	check(taught(32) && !taught(33), "dns stream", "messages of one packet");
	check(count_of(EG_REASON_DNS_LOST, EG_HOOK_DNS) == 1, "dns stream", "the rest counted");
	segment(&s, end, s.length);
	check(taught(50), "dns stream", "after too many");
}

/* Every place at which two messages can be cut in two. Lost is only, where the beginning of the
 * connection was not seen, what of a message is behind the cut. */
static void test_stream_cuts(void)
{
	static struct stream s;
	uint32_t cut, first, seen;

	for (seen = 0; seen < 2; seen++) {
		stream_open(&s, seen);
		stream_answer(&s, 1);
		first = s.length;
		for (cut = 1; cut < 2 * first; cut++) {
			bool whole1 = seen || cut <= 2 || cut >= first;
			bool whole2 = seen || cut <= first + 2;
			/* Where the stream began was not seen, and no header shows it. */
			bool lost = !seen && cut > 2 && cut < 2 + MESSAGE_HEADER;
			uint64_t counted;

			stream_open(&s, seen);
			stream_answer(&s, 1);
			stream_answer(&s, 2);
			segment(&s, 0, cut);
			segment(&s, cut, s.length);
			counted = count_of(EG_REASON_UNPARSEABLE, EG_HOOK_DNS);
			check(taught(1) == whole1, "dns stream", "first, cut at %u of %u", cut,
			      first);
			check(taught(2) == (whole2 && !lost), "dns stream",
			      "second, cut at %u of %u", cut, 2 * first);
			check(counted == (!lost && !(whole1 && whole2)), "dns stream",
			      "cut at %u: %llu counted", cut, (unsigned long long)counted);
		}
	}
	/* The two bytes of length one by one, and the message in a third segment. */
	stream_open(&s, true);
	stream_answer(&s, 1);
	segment(&s, 0, 1);
	segment(&s, 1, 2);
	segment(&s, 2, s.length);
	check(taught(1), "dns stream", "length in two segments");
}

/* An answer of `count` addresses, 198.51.100.1 and on. */
static void stream_large(struct stream *s, uint32_t count)
{
	struct message m;
	char text[32];

	message_begin(&m, "api.openai.com", 1, (uint16_t)count);
	for (uint32_t i = 1; i <= count; i++) {
		snprintf(text, sizeof(text), "198.51.100.%u", i);
		put_address(&m, "@12", text, 300);
	}
	stream_add(s, &m);
}

static uint32_t taught_large(uint32_t count)
{
	uint32_t n = 0;
	char text[32];

	for (uint32_t i = 1; i <= count; i++) {
		snprintf(text, sizeof(text), "198.51.100.%u", i);
		n += is_learned(POD, text, NULL);
	}
	return n;
}

/* Segments of `size` bytes, from `from` on. */
static void segments(const struct stream *s, uint32_t from, uint32_t size)
{
	for (; from < s->length; from += size)
		segment(s, from, from + size < s->length ? from + size : s->length);
}

static uint64_t lost(void)
{
	return count_of(EG_REASON_DNS_LOST, EG_HOOK_DNS);
}

/* A message in as many segments as it likes is read whole with the last one. */
static void test_stream_parts(void)
{
	static const uint32_t sizes[] = {1, 7, 100, 536, 1460};
	static struct stream s;
	uint32_t i, end;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		stream_open(&s, true);
		stream_answer(&s, 1);
		stream_large(&s, 200);
		stream_answer(&s, 2);
		segments(&s, 0, sizes[i]);
		check(taught(1) && taught(2) && taught_large(200) == 200, "dns parts",
		      "segments of %u: %u of 200", sizes[i], taught_large(200));
		check(!lost() && !count_of(EG_REASON_UNPARSEABLE, EG_HOOK_DNS) &&
			      !events_drain(EG_EVENT_DNS_RAW, NULL),
		      "dns parts", "segments of %u: nothing is lost", sizes[i]);
	}
	/* Sent again, also together with what is new. */
	stream_open(&s, true);
	stream_large(&s, 100);
	segment(&s, 0, 500);
	segment(&s, 0, 500);
	segment(&s, 300, 900);
	segment(&s, 600, 700);
	segment(&s, 0, s.length);
	check(taught_large(100) == 100 && !lost(), "dns parts", "sent again");
	/* A gap: the first part has been read, and the messages behind are. */
	stream_open(&s, true);
	stream_large(&s, 100);
	end = s.length;
	stream_answer(&s, 1);
	segment(&s, 0, 500);
	segment(&s, 900, end);
	check(taught_large(100) > 20 && taught_large(100) < 40 && lost() == 1, "dns parts",
	      "a gap: %u of 100, %llu lost", taught_large(100), (unsigned long long)lost());
	segment(&s, 500, 900);
	segment(&s, end, s.length);
	check(taught(1) && taught_large(100) < 40, "dns parts", "behind a gap");
	/* Larger than is read: its first part, and it is counted. */
	stream_open(&s, true);
	stream_large(&s, 254);
	s.bytes[0] = 0x10; /* 4097 */
	s.bytes[1] = 0x01;
	segments(&s, 0, 1460);
	check(taught_large(254) > 80 && taught_large(254) < 100 &&
		      count_of(EG_REASON_UNPARSEABLE, EG_HOOK_DNS) >= 1,
	      "dns parts", "larger than is read: %u", taught_large(254));
	/* As large as is read. */
	stream_open(&s, true);
	stream_large(&s, 254);
	check(s.length == 2 + 4096, "dns parts", "%u bytes, not 4098", s.length);
	segments(&s, 0, 1460);
	check(taught_large(254) == 254 && !lost(), "dns parts", "as large as is read: %u",
	      taught_large(254));
	/* A connection that ended in the midst of a message has none in the next one's. */
	stream_open(&s, true);
	stream_large(&s, 100);
	segment(&s, 0, 500);
	stream_open(&s, true);
	stream_answer(&s, 1);
	segment(&s, 0, s.length);
	check(taught(1) && !lost(), "dns parts", "a new connection of the same ports");
}

/* Bytes FROM to TO as the first fragment of a packet. */
static void first_fragment(const struct stream *s, uint32_t from, uint32_t to)
{
	struct frame f = {.source = RESOLVER4,
			  .destination = POD4,
			  .sport = 53,
			  .dport = 5353,
			  .tcp_flags = ACK,
			  .sequence = SEQUENCE + 1 + from,
			  .acknowledged = 1,
			  .fragment = 1,
			  .payload = s->bytes + from,
			  .payload_length = to - from};

	check(run_frame(progs.dns, POD, &f) == NEXT, "dns parts", "a fragment must pass");
}

/* The rest of a fragment comes in no segment: it is not waited for. */
static void test_stream_parts_fragments(void)
{
	static struct stream s;
	struct message m;

	stream_open(&s, true);
	stream_large(&s, 100);
	first_fragment(&s, 0, 500);
	check(taught_large(100) > 20 && events_drain(EG_EVENT_DNS_RAW, NULL) == 1 &&
		      count_of(EG_REASON_UNPARSEABLE, EG_HOOK_DNS) == 1,
	      "dns parts", "begins in a fragment");
	stream_open(&s, true);
	stream_large(&s, 100);
	segment(&s, 0, 500);
	first_fragment(&s, 500, 900);
	segment(&s, 900, s.length);
	check(taught_large(100) > 20 && taught_large(100) < 40 && lost() == 1, "dns parts",
	      "goes on in a fragment: %u of 100, %llu lost", taught_large(100),
	      (unsigned long long)lost());
	/* What was put together and can't be parsed is handed up like any other. */
	stream_open(&s, true);
	message_simple(&m, "api.openai.com", "192.0.2.1");
	m.bytes[5] = 2; /* questions */
	stream_add(&s, &m);
	segment(&s, 0, 20);
	segment(&s, 20, s.length);
	check(events_drain(EG_EVENT_DNS_RAW, NULL) == 1 &&
		      count_of(EG_REASON_UNPARSEABLE, EG_HOOK_DNS) == 1,
	      "dns parts", "two questions");
}

/* A new connection of the same ports whose beginning was not seen has nothing of the old one's. */
static void test_stream_parts_unseen(void)
{
	static struct stream s;
	uint32_t i;

	stream_open(&s, true);
	stream_large(&s, 100);
	segment(&s, 0, 500); /* the rest of it would begin at 500 */
	dns_ask(&(struct delivery){.tcp = true}, 0);
	s.length = 0;
	for (i = 1; i <= 20; i++)
		stream_answer(&s, i);
	segments(&s, 0, s.length / 20);
	for (i = 1; i <= 20; i++)
		check(taught(i), "dns parts", "beginning not seen: message %u", i);
	check(!lost(), "dns parts", "beginning not seen: %llu lost", (unsigned long long)lost());
}

/* The same ports of the pod to two resolvers: each answers for itself. */
static void test_stream_parts_of_resolvers(void)
{
	static struct stream s;
	struct frame f = {.source = "10.96.0.11",
			  .destination = POD4,
			  .sport = 53,
			  .dport = 5353,
			  .tcp_flags = SYN | ACK,
			  .sequence = SEQUENCE,
			  .acknowledged = 1};
	struct frame syn = {
		.source = POD4, .destination = "10.96.0.11", .sport = 5353, .dport = 53};
	struct eg_address second = address_of("10.96.0.11");
	static struct stream other;
	uint32_t one = 1, i;

	stream_open(&s, true);
	map_set("resolvers", &second, &one);
	run_frame(progs.egress, POD, &syn);
	run_frame(progs.dns, POD, &f);
	stream_large(&s, 100);
	segment(&s, 0, 500);
	for (i = 1; i <= 20; i++)
		stream_answer(&other, i);
	f.tcp_flags = ACK;
	f.sequence = SEQUENCE + 1;
	f.payload = other.bytes;
	f.payload_length = other.length;
	run_frame(progs.dns, POD, &f);
	for (i = 1; i <= 20; i++)
		check(taught(i), "dns parts", "another resolver's message %u", i);
	segment(&s, 500, s.length);
	check(taught_large(100) == 100 && !lost(), "dns parts", "beside another resolver's");
}

/* Two connections at once: each its message, or the later one the place of the other's. */
static void test_stream_parts_of_two(void)
{
	static struct stream s, other;
	uint16_t port;

	for (port = 5354; port <= 5355; port++) {
		bool own = port == 5354; /* ports of one parity share a place */
		struct frame syn = {
			.source = POD4, .destination = RESOLVER4, .sport = port, .dport = 53};
		struct frame answer = {.source = RESOLVER4,
				       .destination = POD4,
				       .sport = 53,
				       .dport = port,
				       .tcp_flags = SYN | ACK,
				       .sequence = SEQUENCE,
				       .acknowledged = 1};

		stream_open(&s, true);
		run_frame(progs.egress, POD, &syn);
		run_frame(progs.dns, POD, &answer);
		stream_large(&s, 100);
		other = s;
		other.port = port;
		segment(&s, 0, 500);
		segment(&other, 0, 200);
		segment(&s, 500, s.length);
		check((taught_large(100) == 100) == own, "dns parts", "port %u: the first", port);
		check(lost() == !own, "dns parts", "port %u: %llu lost", port,
		      (unsigned long long)lost());
		segment(&other, 200, s.length);
		check(taught_large(100) == 100, "dns parts", "port %u: the second", port);
	}
}

/* The pod acknowledges `next`. */
static void pod_ack(uint32_t next)
{
	run_frame(progs.egress, POD,
		  &(struct frame){.source = POD4,
				  .destination = RESOLVER4,
				  .sport = 5353,
				  .dport = 53,
				  .tcp_flags = ACK,
				  .acknowledged = next});
}

static void test_stream_order(void)
{
	static struct stream s;
	struct message m;
	uint32_t first, second, i;

	/* The first of three is lost on its way, and sent again when the others are there. */
	stream_open(&s, true);
	stream_answer(&s, 1);
	first = s.length;
	stream_answer(&s, 2);
	second = s.length;
	stream_answer(&s, 3);
	segment(&s, first, second);
	segment(&s, second, s.length);
	segment(&s, 0, first);
	check(taught(1) && taught(2) && taught(3), "dns stream", "a segment sent again");
	stream_answer(&s, 4);
	segment(&s, second, s.length);
	check(taught(4), "dns stream", "sent again together with what is new");
	/* What is sent again changes nothing of what is known behind it. */
	stream_open(&s, true);
	stream_answer(&s, 1);
	first = s.length;
	stream_answer(&s, 2);
	segment(&s, 0, first + 2);
	segment(&s, 0, first);
	segment(&s, first + 2, s.length);
	check(taught(2), "dns stream", "sent again between a length and its message");
	/* Something in the midst of a message that looks like a length is not taken for one. */
	stream_open(&s, true);
	message_begin(&m, "www.example", 16, 1);
	put_record(&m, "@12", 16, 60, 1000);
	for (i = 0; i < 1000; i++)
		put_byte(&m, i & 1 ? 0x40 : 0x20);
	stream_add(&s, &m);
	first = s.length - 500;
	second = s.length;
	stream_answer(&s, 1);
	segment(&s, 0, first);
	segment(&s, first, second);
	segment(&s, second, s.length);
	check(taught(1), "dns stream", "after a message in two segments");
	/* The pod's own packets keep what is known of the connection; a new one begins anew. */
	stream_open(&s, true);
	stream_answer(&s, 1);
	segment(&s, 0, 2);
	pod_ack(SEQUENCE + 3);
	segment(&s, 2, s.length);
	check(taught(1), "dns stream", "an ACK of the pod between");
	check(queries_kept() == 1, "dns stream", "one record");
	stream_open(&s, true);
	stream_byte(&s, 0x20); /* of a message that never comes */
	stream_byte(&s, 0);
	segment(&s, 0, 2);
	dns_ask(&(struct delivery){.tcp = true}, 0);
	s.length = 0;
	stream_answer(&s, 2);
	stream_answer(&s, 3);
	segment(&s, 0, s.length);
	check(taught(2) && taught(3), "dns stream", "a new connection of the same ports");
	/* From a resolver that is none of ours nothing is learned. */
	stream_open(&s, true);
	stream_answer(&s, 1);
	map_clear("resolvers");
	segment(&s, 0, s.length);
	check(!taught(1), "dns stream", "no resolver of ours");
}

/* An answer for the watched name with the address 192.0.2.LAST, as a segment of these numbers. */
static void forged(uint32_t last, uint8_t flags, uint32_t sequence, uint32_t acknowledged)
{
	static struct stream s;
	struct frame f = {.source = RESOLVER4,
			  .destination = POD4,
			  .sport = 53,
			  .dport = 5353,
			  .tcp_flags = flags,
			  .sequence = sequence,
			  .acknowledged = acknowledged};

	s.length = 0;
	stream_answer(&s, last);
	if (!(flags & SYN)) {
		f.payload = s.bytes;
		f.payload_length = s.length;
	}
	check(run_frame(progs.dns, POD, &f) == NEXT, "dns forged", "a segment must pass");
}

/* A neighbour may guess the port of a connection; what only the two ends know it can't. */
static void test_forged(void)
{
	static const uint32_t away[] = {1u << 21, 1u << 31, 0u - (1u << 21)};
	static struct stream s;
	uint32_t i;

	for (i = 0; i < sizeof(away) / sizeof(away[0]); i++) {
		/* Until the resolver's SYN came: it and what follows acknowledge the pod's. */
		stream_open(&s, false);
		forged(1, ACK, SEQUENCE + 1, 1 + away[i]);
		forged(1, SYN | ACK, SEQUENCE, 1 + away[i]);
		forged(1, ACK, SEQUENCE + 1, 1 + away[i]);
		check(!taught(1), "dns forged", "acknowledges %x past the pod's SYN", away[i]);
		forged(1, ACK, SEQUENCE + 1, 1);
		check(taught(1), "dns forged", "acknowledges the pod's SYN");
		/* Afterwards: near what is known. */
		stream_open(&s, true);
		forged(2, ACK, SEQUENCE + 1 + away[i], 1);
		forged(2, SYN | ACK, SEQUENCE + away[i], 1);
		forged(2, ACK, SEQUENCE + 1 + away[i], 1);
		check(!taught(2), "dns forged", "%x away from what is known", away[i]);
		stream_answer(&s, 3);
		segment(&s, 0, s.length);
		check(taught(3), "dns forged", "the resolver's own is read all the same");
		/* Of a connection from before Egret: near what the pod acknowledges. */
		dns_watch();
		pod_ack(SEQUENCE + 1);
		forged(4, ACK, SEQUENCE + 1 + away[i], 1);
		check(!taught(4), "dns forged", "%x away from what the pod has", away[i]);
		forged(5, ACK, SEQUENCE + 1, 1);
		check(taught(5), "dns forged", "where the pod is");
		/* Much went by unseen, and the pod says so. */
		pod_ack(SEQUENCE + 1 + away[i]);
		forged(6, ACK, SEQUENCE + 1 + away[i], 1);
		check(taught(6), "dns forged", "where the pod is by now");
	}
}

/* What follows the datagram in its frame is not of it. */
static void test_padding(void)
{
	static uint8_t frame[PACKET_MAX];
	static struct stream s;
	struct run r = {.ifindex = POD};
	struct message m;
	struct frame f = {.source = RESOLVER4,
			  .destination = POD4,
			  .sport = 53,
			  .dport = 5353,
			  .protocol = IPPROTO_UDP,
			  .payload = m.bytes};
	enum verdict v;

	dns_watch();
	message_simple(&m, "api.openai.com", "192.0.2.10");
	dns_ask(&dns_plain, MESSAGE_ID);
	f.payload_length = m.length;
	f.total_length = (int)(20 + 8 + m.length - 4); /* the address is behind the end */
	v = run_tc(progs.dns, frame, frame_build(&f, frame), &r);
	check(v == NEXT && !is_learned(POD, "192.0.2.10", NULL), "dns padding", "UDP");
	check(events_drain(EG_EVENT_DNS_RAW, NULL) == 1, "dns padding", "UDP: handed up");
	/* In a stream padding would shift every message after it. */
	stream_open(&s, true);
	stream_answer(&s, 1);
	f.protocol = IPPROTO_TCP;
	f.tcp_flags = ACK;
	f.sequence = SEQUENCE + 1;
	f.acknowledged = 1;
	f.payload = s.bytes;
	f.payload_length = s.length + 6;
	f.total_length = (int)(20 + 20 + s.length);
	run_tc(progs.dns, frame, frame_build(&f, frame), &r);
	f.sequence += s.length;
	f.payload_length = s.length;
	f.total_length = 0;
	s.bytes[s.length - 1] = 2;
	run_tc(progs.dns, frame, frame_build(&f, frame), &r);
	check(taught(1) && taught(2), "dns padding", "TCP");
}

void test_dns_stream(void)
{
	test_stream_messages();
	test_stream_cuts();
	test_stream_parts();
	test_stream_parts_of_two();
	test_stream_parts_fragments();
	test_stream_parts_unseen();
	test_stream_parts_of_resolvers();
	test_stream_order();
	test_forged();
	test_padding();
}
