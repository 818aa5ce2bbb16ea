/* SPDX-License-Identifier: Apache-2.0 */
/* Builds frames for the BPF tests from a description; every field a test may get wrong is one. */
#ifndef EGRET_TESTS_BPF_PACKET_H
#define EGRET_TESTS_BPF_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "egret/abi/maps.h"

#define PACKET_MAX 9000

enum tcp_flag { FIN = 0x01, SYN = 0x02, RST = 0x04, PSH = 0x08, ACK = 0x10 };

struct extension {
	uint8_t type; /* 0 hop-by-hop, 43 routing, 44 fragment, 51 AH, 60 destination options... */
	uint8_t length; /* of the header's own length field; ignored for 44 */
	uint8_t routing_type;
	uint8_t segments_left;
	uint16_t fragment; /* offset in bytes (a multiple of 8) | 1 for more */
};

struct frame {
	const char *source, *destination; /* text; a colon makes the frame IPv6 */
	uint8_t protocol;		  /* IPPROTO_TCP unless set */
	uint16_t sport, dport;		  /* 40000 and 443 unless set */
	uint8_t tcp_flags;		  /* SYN unless set; 0xff for none */
	uint8_t tcp_header;		  /* bytes the data offset claims; 20 unless set */
	uint32_t sequence, acknowledged;
	const void *payload;
	uint32_t payload_length;
	uint16_t vlan[4]; /* tags, outermost first: type in .vlan_type */
	int vlans;
	uint16_t ethertype;  /* instead of the IP version's */
	uint8_t options[40]; /* IPv4, padded to a multiple of four */
	int options_length;
	uint16_t fragment; /* IPv4: offset in bytes | 1 for more fragments */
	uint8_t version;   /* in the IP header, when not the right one */
	uint8_t ihl;	   /* claimed, when not the right one */
	int total_length;  /* claimed; -1: 0 (BIG TCP) */
	struct extension extension[12];
	int extensions;
	bool partial; /* the checksum a local stack leaves to the device: the pseudo header's */
};

/* Writes the frame; returns its length. */
size_t frame_build(const struct frame *f, uint8_t *out);

/* "10.0.0.2" or "fd00::2" as the maps have it. Ends the test program on nonsense. */
struct eg_address address_of(const char *text);

/* Whether the IPv4 header checksum (if IPv4) and the TCP checksum of an untagged frame are right.
 * `partial`: the TCP field must hold the pseudo header's sum instead. */
bool frame_checksums_ok(const uint8_t *frame, size_t length, bool partial);

#endif
