/* SPDX-License-Identifier: Apache-2.0 */
/* Frame, expected verdict, expected counter: the table that docs/verdicts.md describes. */
#include <netinet/in.h>
#include <stdio.h>

#include "harness.h"

struct row {
	const char *name;
	struct frame frame;
	enum verdict verdict;
	int reason;	  /* of the one packet that is counted; -1: none is */
	uint32_t ifindex; /* POD unless set */
};

#define T4(d)	  .source = POD4, .destination = d
#define T6(d)	  .source = POD6, .destination = d
#define REASON(x) EG_REASON_##x

static const struct row rows[] = {
	/* addresses */
	{"v4 CIDR 443", {T4(CIDR4)}, REDIRECT, REASON(REDIRECT), 0},
	{"v6 CIDR 443", {T6(CIDR6)}, REDIRECT, REASON(REDIRECT), 0},
	{"v4 resolved 443", {T4(PROVIDER4)}, REDIRECT, REASON(REDIRECT), 0},
	{"v6 resolved 443", {T6(PROVIDER6)}, REDIRECT, REASON(REDIRECT), 0},
	{"v4 port 80", {T4(PROVIDER4), .dport = 80}, REDIRECT, REASON(REDIRECT), 0},
	{"gateway v4", {T4(GATEWAY4), .dport = 80}, REDIRECT, REASON(REDIRECT), 0},
	{"gateway v6", {T6(GATEWAY6), .dport = 80}, REDIRECT, REASON(REDIRECT), 0},
	{"beside the gateway", {T4("169.254.77.3"), .dport = 80}, NEXT, REASON(PASS_UNGOVERNED), 0},
	{"elsewhere v4", {T4(ELSEWHERE4)}, NEXT, REASON(PASS_UNGOVERNED), 0},
	{"elsewhere v6", {T6(ELSEWHERE6)}, NEXT, REASON(PASS_UNGOVERNED), 0},
	{"excluded inside a CIDR", {T4(EXCLUDED4)}, NEXT, REASON(PASS_UNGOVERNED), 0},
	{"first of the CIDR", {T4("203.0.113.0")}, REDIRECT, REASON(REDIRECT), 0},
	{"before the CIDR", {T4("203.0.112.255")}, NEXT, REASON(PASS_UNGOVERNED), 0},
	{"last before the exclusion", {T4("203.0.113.127")}, REDIRECT, REASON(REDIRECT), 0},
	/* ports and protocols */
	{"other TCP port", {T4(PROVIDER4), .dport = 8443}, DROP, REASON(PORT_DENIED), 0},
	{"other TCP port v6", {T6(PROVIDER6), .dport = 22}, DROP, REASON(PORT_DENIED), 0},
	{"port 0", {T4(PROVIDER4), .dport = 65535}, DROP, REASON(PORT_DENIED), 0},
	{"QUIC v4", {T4(PROVIDER4), .protocol = IPPROTO_UDP}, DROP, REASON(QUIC_REFUSED), 0},
	{"QUIC v6", {T6(CIDR6), .protocol = IPPROTO_UDP}, DROP, REASON(QUIC_REFUSED), 0},
	{"other UDP",
	 {T4(PROVIDER4), .protocol = IPPROTO_UDP, .dport = 53},
	 DROP,
	 REASON(PROTOCOL_DENIED),
	 0},
	{"ICMP", {T4(PROVIDER4), .protocol = IPPROTO_ICMP}, DROP, REASON(PROTOCOL_DENIED), 0},
	{"ICMPv6", {T6(PROVIDER6), .protocol = IPPROTO_ICMPV6}, DROP, REASON(PROTOCOL_DENIED), 0},
	{"SCTP", {T4(PROVIDER4), .protocol = IPPROTO_SCTP}, DROP, REASON(PROTOCOL_DENIED), 0},
	{"UDP-Lite",
	 {T4(PROVIDER4), .protocol = IPPROTO_UDPLITE},
	 DROP,
	 REASON(PROTOCOL_DENIED),
	 0},
	{"GRE", {T4(PROVIDER4), .protocol = IPPROTO_GRE}, DROP, REASON(PROTOCOL_DENIED), 0},
	{"IP in IP", {T4(PROVIDER4), .protocol = IPPROTO_IPIP}, DROP, REASON(PROTOCOL_DENIED), 0},
	{"6in4", {T4(PROVIDER4), .protocol = IPPROTO_IPV6}, DROP, REASON(PROTOCOL_DENIED), 0},
	{"ESP", {T6(PROVIDER6), .protocol = IPPROTO_ESP}, DROP, REASON(PROTOCOL_DENIED), 0},
	{"protocol 255", {T4(PROVIDER4), .protocol = 255}, DROP, REASON(PROTOCOL_DENIED), 0},
	{"QUIC elsewhere", {T4(ELSEWHERE4), .protocol = IPPROTO_UDP}, NEXT, -1, 0},
	{"ICMP elsewhere", {T4(ELSEWHERE4), .protocol = IPPROTO_ICMP}, NEXT, -1, 0},
	{"neighbour solicitation", {T6("ff02::1:ff00:1"), .protocol = IPPROTO_ICMPV6}, NEXT, -1, 0},
	{"ARP", {T4(PROVIDER4), .ethertype = 0x0806}, NEXT, -1, 0},
	{"LLDP", {T4(PROVIDER4), .ethertype = 0x88cc}, NEXT, -1, 0},
	/* verdicts */
	{"shadow 443", {T4(SHADOW4)}, NEXT, REASON(SHADOW), 0},
	{"shadow QUIC", {T4(SHADOW4), .protocol = IPPROTO_UDP}, NEXT, REASON(SHADOW), 0},
	{"shadow ICMP", {T4(SHADOW4), .protocol = IPPROTO_ICMP}, NEXT, REASON(SHADOW), 0},
	{"shadow fragment", {T4(SHADOW4), .fragment = 1}, NEXT, REASON(SHADOW), 0},
	{"reset verdict", {T4(DENIED4)}, RESET, REASON(DENY), 0},
	{"reset verdict, any port", {T4(DENIED4), .dport = 9}, RESET, REASON(DENY), 0},
	{"reset verdict, priority tag",
	 {T4(DENIED4), .vlans = 1, .vlan = {0}},
	 DROP,
	 REASON(DENY),
	 0},
	{"reset verdict, fragment", {T4(DENIED4), .fragment = 1}, DROP, REASON(FRAGMENT), 0},
	/* source address */
	{"spoofed v4",
	 {.source = "10.0.0.9", .destination = PROVIDER4},
	 DROP,
	 REASON(SPOOFED_SOURCE),
	 0},
	{"spoofed v6",
	 {.source = "fd00:1::9", .destination = PROVIDER6},
	 DROP,
	 REASON(SPOOFED_SOURCE),
	 0},
	{"spoofed QUIC",
	 {.source = "10.0.0.9", .destination = PROVIDER4, .protocol = IPPROTO_UDP},
	 DROP,
	 REASON(SPOOFED_SOURCE),
	 0},
	{"unspecified source",
	 {.source = "0.0.0.0", .destination = PROVIDER4},
	 DROP,
	 REASON(SPOOFED_SOURCE),
	 0},
	{"mapped own source in IPv6",
	 {.source = "::ffff:10.0.0.2", .destination = PROVIDER6},
	 DROP,
	 REASON(SPOOFED_SOURCE),
	 0},
	{"spoofed to the gateway",
	 {.source = "10.0.0.9", .destination = GATEWAY4, .dport = 80},
	 DROP,
	 REASON(SPOOFED_SOURCE),
	 0},
	{"spoofed on a held link",
	 {.source = "10.0.0.9", .destination = PROVIDER4},
	 DROP,
	 REASON(SPOOFED_SOURCE),
	 POD_HELD},
	/* another pod's policy and learned addresses are its own */
	{"second pod",
	 {.source = "10.0.0.9", .destination = PROVIDER4},
	 REDIRECT,
	 REASON(REDIRECT),
	 POD_OTHER},
	/* states */
	{"unknown pod",
	 {.source = "10.0.0.77", .destination = PROVIDER4},
	 DROP,
	 REASON(UNKNOWN_POD),
	 POD_UNKNOWN},
	{"unknown pod QUIC",
	 {.source = "10.0.0.77", .destination = PROVIDER4, .protocol = IPPROTO_UDP},
	 DROP,
	 REASON(UNKNOWN_POD),
	 POD_UNKNOWN},
	{"unknown pod elsewhere",
	 {.source = "10.0.0.77", .destination = ELSEWHERE4},
	 NEXT,
	 REASON(PASS_UNGOVERNED),
	 POD_UNKNOWN},
	{"held pod",
	 {.source = "10.0.0.4", .destination = PROVIDER4},
	 DROP,
	 REASON(UNKNOWN_POD),
	 POD_HELD},
	{"link without an entry",
	 {.source = "10.0.0.4", .destination = PROVIDER4},
	 DROP,
	 REASON(UNKNOWN_POD),
	 POD_ABSENT},
	{"ungoverned pod",
	 {.source = "10.0.0.3", .destination = PROVIDER4},
	 NEXT,
	 -1,
	 POD_UNGOVERNED},
	{"ungoverned pod QUIC",
	 {.source = "10.0.0.3", .destination = PROVIDER4, .protocol = IPPROTO_UDP},
	 NEXT,
	 -1,
	 POD_UNGOVERNED},
	{"foreign link", {.source = "10.9.9.9", .destination = PROVIDER4}, NEXT, -1, POD_FOREIGN},
	{"foreign link, fragment",
	 {.source = "10.9.9.9", .destination = PROVIDER4, .fragment = 8},
	 NEXT,
	 -1,
	 POD_FOREIGN},
	/* all_tls and strict */
	{"all_tls elsewhere 443",
	 {.source = "10.0.0.5", .destination = ELSEWHERE4},
	 REDIRECT,
	 REASON(REDIRECT),
	 POD_ALL_TLS},
	{"all_tls elsewhere v6",
	 {.source = "fd00:1::5", .destination = ELSEWHERE6},
	 REDIRECT,
	 REASON(REDIRECT),
	 POD_ALL_TLS},
	{"all_tls QUIC",
	 {.source = "10.0.0.5", .destination = ELSEWHERE4, .protocol = IPPROTO_UDP},
	 DROP,
	 REASON(QUIC_REFUSED),
	 POD_ALL_TLS},
	{"all_tls port 80",
	 {.source = "10.0.0.5", .destination = ELSEWHERE4, .dport = 80},
	 NEXT,
	 REASON(PASS_UNGOVERNED),
	 POD_ALL_TLS},
	{"all_tls excluded",
	 {.source = "10.0.0.5", .destination = "10.96.0.1"},
	 NEXT,
	 REASON(PASS_UNGOVERNED),
	 POD_ALL_TLS},
	{"all_tls link-local",
	 {.source = "10.0.0.5", .destination = "169.254.169.254"},
	 NEXT,
	 REASON(PASS_UNGOVERNED),
	 POD_ALL_TLS},
	{"all_tls loopback",
	 {.source = "10.0.0.5", .destination = "127.0.0.1"},
	 NEXT,
	 REASON(PASS_UNGOVERNED),
	 POD_ALL_TLS},
	{"all_tls multicast",
	 {.source = "10.0.0.5", .destination = "224.0.0.251"},
	 NEXT,
	 REASON(PASS_UNGOVERNED),
	 POD_ALL_TLS},
	{"all_tls before multicast",
	 {.source = "10.0.0.5", .destination = "223.255.255.255"},
	 REDIRECT,
	 REASON(REDIRECT),
	 POD_ALL_TLS},
	{"all_tls link-local v6",
	 {.source = "fd00:1::5", .destination = "fe80::1"},
	 NEXT,
	 REASON(PASS_UNGOVERNED),
	 POD_ALL_TLS},
	{"all_tls last link-local v6",
	 {.source = "fd00:1::5", .destination = "febf:ffff::1"},
	 NEXT,
	 REASON(PASS_UNGOVERNED),
	 POD_ALL_TLS},
	{"all_tls behind link-local v6",
	 {.source = "fd00:1::5", .destination = "fec0::1"},
	 REDIRECT,
	 REASON(REDIRECT),
	 POD_ALL_TLS},
	{"all_tls multicast v6",
	 {.source = "fd00:1::5", .destination = "ff05::2"},
	 NEXT,
	 REASON(PASS_UNGOVERNED),
	 POD_ALL_TLS},
	{"all_tls link-local QUIC v6",
	 {.source = "fd00:1::5", .destination = "fe80::1", .protocol = IPPROTO_UDP},
	 NEXT,
	 -1,
	 POD_ALL_TLS},
	{"all_tls spoofed",
	 {.source = "10.0.0.9", .destination = ELSEWHERE4},
	 DROP,
	 REASON(SPOOFED_SOURCE),
	 POD_ALL_TLS},
	{"all_tls TCP fragment",
	 {.source = "10.0.0.5", .destination = ELSEWHERE4, .fragment = 1},
	 DROP,
	 REASON(FRAGMENT),
	 POD_ALL_TLS},
	{"all_tls later TCP fragment",
	 {.source = "10.0.0.5", .destination = ELSEWHERE4, .fragment = 16},
	 DROP,
	 REASON(FRAGMENT),
	 POD_ALL_TLS},
	{"all_tls later UDP fragment",
	 {.source = "10.0.0.5", .destination = ELSEWHERE4, .protocol = IPPROTO_UDP, .fragment = 16},
	 NEXT,
	 -1,
	 POD_ALL_TLS},
	{"all_tls first QUIC fragment",
	 {.source = "10.0.0.5", .destination = ELSEWHERE4, .protocol = IPPROTO_UDP, .fragment = 1},
	 DROP,
	 REASON(QUIC_REFUSED),
	 POD_ALL_TLS},
	{"all_tls UDP behind seven headers",
	 {.source = "fd00:1::5",
	  .destination = ELSEWHERE6,
	  .protocol = IPPROTO_UDP,
	  .extensions = 7,
	  .extension = {{0}, {60}, {60}, {60}, {60}, {60}, {60}}},
	 DROP,
	 REASON(UNPARSEABLE),
	 POD_ALL_TLS},
	/* all_tls that only watches: TLS is seen, and nothing is lost */
	{"shadow all_tls elsewhere 443",
	 {.source = "10.0.0.10", .destination = ELSEWHERE4},
	 REDIRECT,
	 REASON(REDIRECT),
	 POD_SHADOW},
	{"shadow all_tls QUIC",
	 {.source = "10.0.0.10", .destination = ELSEWHERE4, .protocol = IPPROTO_UDP},
	 NEXT,
	 -1,
	 POD_SHADOW},
	{"shadow all_tls QUIC v6",
	 {.source = "fd00:1::10", .destination = ELSEWHERE6, .protocol = IPPROTO_UDP},
	 NEXT,
	 -1,
	 POD_SHADOW},
	{"shadow all_tls TCP fragment",
	 {.source = "10.0.0.10", .destination = ELSEWHERE4, .fragment = 1},
	 NEXT,
	 -1,
	 POD_SHADOW},
	{"shadow all_tls later TCP fragment",
	 {.source = "10.0.0.10", .destination = ELSEWHERE4, .fragment = 16},
	 NEXT,
	 -1,
	 POD_SHADOW},
	/* what only watches loses no packet, whatever it is */
	{"shadow source route",
	 {.source = "10.0.0.10",
	  .destination = PROVIDER4,
	  .options = {131, 7, 4, 198, 51, 100, 7, 0},
	  .options_length = 8},
	 NEXT,
	 REASON(SHADOW),
	 POD_SHADOW},
	{"shadow source route elsewhere",
	 {.source = "10.0.0.10",
	  .destination = ELSEWHERE4,
	  .options = {131, 7, 4, 198, 51, 100, 7, 0},
	  .options_length = 8},
	 NEXT,
	 REASON(SHADOW),
	 POD_SHADOW},
	{"shadow MPLS",
	 {.source = "10.0.0.10", .destination = PROVIDER4, .ethertype = 0x8847},
	 NEXT,
	 REASON(SHADOW),
	 POD_SHADOW},
	{"shadow, another source",
	 {.source = "10.0.0.77", .destination = PROVIDER4},
	 NEXT,
	 REASON(SHADOW),
	 POD_SHADOW},
	{"shadow, another source v6",
	 {.source = "fd00:1::77", .destination = PROVIDER6},
	 NEXT,
	 REASON(SHADOW),
	 POD_SHADOW},
	{"shadow all_tls, another source",
	 {.source = "10.0.0.77", .destination = ELSEWHERE4},
	 NEXT,
	 REASON(SHADOW),
	 POD_SHADOW},
	{"strict elsewhere 443",
	 {.source = "10.0.0.6", .destination = ELSEWHERE4},
	 RESET,
	 REASON(DENY),
	 POD_STRICT},
	{"strict QUIC",
	 {.source = "10.0.0.6", .destination = ELSEWHERE4, .protocol = IPPROTO_UDP},
	 DROP,
	 REASON(QUIC_REFUSED),
	 POD_STRICT},
	{"strict elsewhere 22",
	 {.source = "10.0.0.6", .destination = ELSEWHERE4, .dport = 22},
	 NEXT,
	 REASON(PASS_UNGOVERNED),
	 POD_STRICT},
	{"strict governed",
	 {.source = "10.0.0.6", .destination = PROVIDER4},
	 REDIRECT,
	 REASON(REDIRECT),
	 POD_STRICT},
	/* VLAN */
	{"priority tag",
	 {T4(PROVIDER4), .vlans = 1, .vlan = {0xe000}},
	 REDIRECT,
	 REASON(REDIRECT),
	 0},
	{"VLAN 5", {T4(PROVIDER4), .vlans = 1, .vlan = {5}}, DROP, REASON(UNPARSEABLE), 0},
	{"VLAN 5 v6", {T6(PROVIDER6), .vlans = 1, .vlan = {5}}, DROP, REASON(UNPARSEABLE), 0},
	{"QinQ", {T4(PROVIDER4), .vlans = 2, .vlan = {5, 6}}, DROP, REASON(UNPARSEABLE), 0},
	{"VLAN 5 fragment",
	 {T4(PROVIDER4), .vlans = 1, .vlan = {5}, .fragment = 1},
	 DROP,
	 REASON(FRAGMENT),
	 0},
	{"QinQ of priority tags",
	 {T4(PROVIDER4), .vlans = 2, .vlan = {0, 0}},
	 DROP,
	 REASON(UNPARSEABLE),
	 0},
	{"VLAN 5 elsewhere",
	 {T4(ELSEWHERE4), .vlans = 1, .vlan = {5}},
	 NEXT,
	 REASON(PASS_UNGOVERNED),
	 0},
	{"QinQ elsewhere",
	 {T4(ELSEWHERE4), .vlans = 2, .vlan = {5, 6}},
	 NEXT,
	 REASON(PASS_UNGOVERNED),
	 0},
	{"three tags",
	 {T4(ELSEWHERE4), .vlans = 3, .vlan = {5, 6, 7}},
	 DROP,
	 REASON(UNPARSEABLE),
	 0},
	{"four tags",
	 {T4(PROVIDER4), .vlans = 4, .vlan = {0, 0, 0, 0}},
	 DROP,
	 REASON(UNPARSEABLE),
	 0},
	{"three tags of an ungoverned pod",
	 {.source = "10.0.0.3", .destination = PROVIDER4, .vlans = 3},
	 NEXT,
	 -1,
	 POD_UNGOVERNED},
	{"MPLS", {T4(ELSEWHERE4), .ethertype = 0x8847}, DROP, REASON(UNPARSEABLE), 0},
	{"PPPoE session", {T4(ELSEWHERE4), .ethertype = 0x8864}, DROP, REASON(UNPARSEABLE), 0},
	/* IPv4 options */
	{"NOP options",
	 {T4(PROVIDER4), .options = {1, 1, 1, 0}, .options_length = 4},
	 REDIRECT,
	 REASON(REDIRECT),
	 0},
	{"16 options",
	 {T4(PROVIDER4), .options = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
	  .options_length = 16},
	 REDIRECT,
	 REASON(REDIRECT),
	 0},
	{"17 options elsewhere",
	 {T4(ELSEWHERE4), .options = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 148, 4, 0, 0},
	  .options_length = 20},
	 DROP,
	 REASON(UNPARSEABLE),
	 0},
	{"security option",
	 {T4(PROVIDER4), .options = {130, 11}, .options_length = 12},
	 REDIRECT,
	 REASON(REDIRECT),
	 0},
	{"40 bytes of options",
	 {T4(PROVIDER4), .options = {148, 4, 0, 0}, .options_length = 40},
	 REDIRECT,
	 REASON(REDIRECT),
	 0},
	{"options elsewhere",
	 {T4(ELSEWHERE4), .options = {148, 4, 0, 0}, .options_length = 4},
	 NEXT,
	 REASON(PASS_UNGOVERNED),
	 0},
	{"loose source route",
	 {T4(ELSEWHERE4), .options = {131, 7, 4, 198, 51, 100, 7, 0}, .options_length = 8},
	 DROP,
	 REASON(UNPARSEABLE),
	 0},
	{"strict source route",
	 {T4(ELSEWHERE4), .options = {1, 137, 7, 4, 198, 51, 100, 7}, .options_length = 8},
	 DROP,
	 REASON(UNPARSEABLE),
	 0},
	{"option past the header",
	 {T4(PROVIDER4), .options = {148, 9, 0, 0}, .options_length = 4},
	 DROP,
	 REASON(UNPARSEABLE),
	 0},
	{"option of length 0",
	 {T4(PROVIDER4), .options = {148, 0, 0, 0}, .options_length = 4},
	 DROP,
	 REASON(UNPARSEABLE),
	 0},
	{"options QUIC",
	 {T4(PROVIDER4), .protocol = IPPROTO_UDP, .options = {1}, .options_length = 4},
	 DROP,
	 REASON(QUIC_REFUSED),
	 0},
	{"ihl 4", {T4(PROVIDER4), .ihl = 4}, DROP, REASON(UNPARSEABLE), 0},
	{"version 5", {T4(PROVIDER4), .version = 5}, DROP, REASON(UNPARSEABLE), 0},
	{"version 6 as IPv4", {T4(PROVIDER4), .version = 6}, DROP, REASON(UNPARSEABLE), 0},
	{"total length short", {T4(PROVIDER4), .total_length = 30}, DROP, REASON(UNPARSEABLE), 0},
	{"total length 20", {T4(PROVIDER4), .total_length = 20}, DROP, REASON(UNPARSEABLE), 0},
	{"BIG TCP v4", {T4(PROVIDER4), .total_length = -1}, REDIRECT, REASON(REDIRECT), 0},
	{"BIG TCP v6", {T6(PROVIDER6), .total_length = -1}, REDIRECT, REASON(REDIRECT), 0},
	/* TCP header */
	{"data offset 16", {T4(PROVIDER4), .tcp_header = 16}, DROP, REASON(UNPARSEABLE), 0},
	{"data offset past the end",
	 {T4(PROVIDER4), .tcp_header = 60},
	 DROP,
	 REASON(UNPARSEABLE),
	 0},
	{"no flags", {T4(PROVIDER4), .tcp_flags = 0xff}, REDIRECT, REASON(REDIRECT), 0},
	{"SYN ACK FIN RST PSH", {T4(PROVIDER4), .tcp_flags = 0x1f}, REDIRECT, REASON(REDIRECT), 0},
	{"ACK without a flow", {T4(PROVIDER4), .tcp_flags = ACK}, REDIRECT, REASON(REDIRECT), 0},
	{"RST to a denied name", {T4(DENIED4), .tcp_flags = RST}, DROP, REASON(DENY), 0},
	/* fragments */
	{"first fragment", {T4(PROVIDER4), .fragment = 1}, DROP, REASON(FRAGMENT), 0},
	{"later fragment", {T4(PROVIDER4), .fragment = 16}, DROP, REASON(FRAGMENT), 0},
	{"middle fragment", {T4(PROVIDER4), .fragment = 17}, DROP, REASON(FRAGMENT), 0},
	{"UDP fragment",
	 {T4(PROVIDER4), .protocol = IPPROTO_UDP, .fragment = 16},
	 DROP,
	 REASON(FRAGMENT),
	 0},
	{"fragment with options",
	 {T4(PROVIDER4), .fragment = 1, .options = {1}, .options_length = 4},
	 DROP,
	 REASON(FRAGMENT),
	 0},
	{"fragment elsewhere", {T4(ELSEWHERE4), .fragment = 16}, NEXT, -1, 0},
	{"first fragment elsewhere", {T4(ELSEWHERE4), .fragment = 1}, NEXT, -1, 0},
	{"data offset 16 elsewhere", {T4(ELSEWHERE4), .tcp_header = 16}, NEXT, -1, 0},
	{"v6 first fragment",
	 {T6(PROVIDER6), .extensions = 1, .extension = {{44, .fragment = 1}}},
	 DROP,
	 REASON(FRAGMENT),
	 0},
	{"v6 later fragment",
	 {T6(PROVIDER6), .extensions = 1, .extension = {{44, .fragment = 16}}},
	 DROP,
	 REASON(FRAGMENT),
	 0},
	{"v6 atomic fragment",
	 {T6(PROVIDER6), .extensions = 1, .extension = {{44, .fragment = 0}}},
	 REDIRECT,
	 REASON(REDIRECT),
	 0},
	{"v6 atomic fragment of QUIC",
	 {T6(PROVIDER6), .protocol = IPPROTO_UDP, .extensions = 1, .extension = {{44}}},
	 DROP,
	 REASON(QUIC_REFUSED),
	 0},
	/* IPv6 extension headers */
	{"hop-by-hop",
	 {T6(PROVIDER6), .extensions = 1, .extension = {{0}}},
	 REDIRECT,
	 REASON(REDIRECT),
	 0},
	{"destination options",
	 {T6(PROVIDER6), .extensions = 1, .extension = {{60, .length = 3}}},
	 REDIRECT,
	 REASON(REDIRECT),
	 0},
	{"longest destination options",
	 {T6(PROVIDER6), .extensions = 1, .extension = {{60, .length = 255}}},
	 REDIRECT,
	 REASON(REDIRECT),
	 0},
	{"authentication header",
	 {T6(PROVIDER6), .extensions = 1, .extension = {{51, .length = 4}}},
	 REDIRECT,
	 REASON(REDIRECT),
	 0},
	{"mobility and HIP",
	 {T6(PROVIDER6), .extensions = 2, .extension = {{135}, {139}}},
	 REDIRECT,
	 REASON(REDIRECT),
	 0},
	{"six headers",
	 {T6(PROVIDER6), .extensions = 6, .extension = {{0}, {60}, {60}, {60}, {60}, {60}}},
	 REDIRECT,
	 REASON(REDIRECT),
	 0},
	{"seven headers",
	 {T6(PROVIDER6), .extensions = 7, .extension = {{0}, {60}, {60}, {60}, {60}, {60}, {60}}},
	 DROP,
	 REASON(UNPARSEABLE),
	 0},
	{"six headers elsewhere",
	 {T6(ELSEWHERE6), .extensions = 6, .extension = {{0}, {60}, {60}, {60}, {60}, {60}}},
	 NEXT,
	 REASON(PASS_UNGOVERNED),
	 0},
	{"seven headers elsewhere, which may hide a route",
	 {T6(ELSEWHERE6), .extensions = 7, .extension = {{0}, {60}, {60}, {60}, {60}, {60}, {60}}},
	 DROP,
	 REASON(UNPARSEABLE),
	 0},
	{"segment routing behind seven headers",
	 {T6(ELSEWHERE6), .extensions = 8,
	  .extension = {{0},
			{60},
			{60},
			{60},
			{60},
			{60},
			{60},
			{43, .length = 4, .routing_type = 4, .segments_left = 1}}},
	 DROP,
	 REASON(UNPARSEABLE),
	 0},
	{"no next header", {T6(PROVIDER6), .protocol = 59}, DROP, REASON(PROTOCOL_DENIED), 0},
	{"routing header, none left",
	 {T6(PROVIDER6), .extensions = 1, .extension = {{43, .length = 2}}},
	 REDIRECT,
	 REASON(REDIRECT),
	 0},
	{"routing header, one left",
	 {T6(ELSEWHERE6), .extensions = 1, .extension = {{43, .length = 2, .segments_left = 1}}},
	 DROP,
	 REASON(UNPARSEABLE),
	 0},
	{"segment routing",
	 {T6(ELSEWHERE6), .extensions = 1,
	  .extension = {{43, .length = 4, .routing_type = 4, .segments_left = 1}}},
	 DROP,
	 REASON(UNPARSEABLE),
	 0},
	{"headers then fragment",
	 {T6(PROVIDER6), .extensions = 3, .extension = {{0}, {60}, {44, .fragment = 8}}},
	 DROP,
	 REASON(FRAGMENT),
	 0},
	{"extension past the payload length",
	 {T6(PROVIDER6), .extensions = 1, .extension = {{60}}, .total_length = 8},
	 DROP,
	 REASON(UNPARSEABLE),
	 0},
	/* IPv4 inside IPv6 addresses */
	{"mapped destination", {T6("::ffff:198.51.100.7")}, DROP, REASON(UNPARSEABLE), 0},
	{"compatible destination", {T6("::198.51.100.7")}, DROP, REASON(UNPARSEABLE), 0},
	{"6to4 destination", {T6("2002:c633:6407::1")}, DROP, REASON(UNPARSEABLE), 0},
	{"mapped QUIC",
	 {T6("::ffff:198.51.100.7"), .protocol = IPPROTO_UDP},
	 DROP,
	 REASON(UNPARSEABLE),
	 0},
	{"mapped elsewhere", {T6("::ffff:192.0.2.1")}, NEXT, REASON(PASS_UNGOVERNED), 0},
	{"NAT64 destination", {T6("64:ff9b::c633:6407")}, REDIRECT, REASON(REDIRECT), 0},
	{"NAT64 QUIC",
	 {T6("64:ff9b::c633:6407"), .protocol = IPPROTO_UDP},
	 DROP,
	 REASON(QUIC_REFUSED),
	 0},
	{"NAT64 elsewhere", {T6("64:ff9b::c000:201")}, NEXT, REASON(PASS_UNGOVERNED), 0},
	{"NAT64 excluded", {T6("64:ff9b::cb00:71c8")}, NEXT, REASON(PASS_UNGOVERNED), 0},
	{"mapped gateway", {T6("::ffff:169.254.77.1"), .dport = 80}, DROP, REASON(UNPARSEABLE), 0},
	/* forms that are not looked into: they need a translator outside (docs/verdicts.md) */
	{"local NAT64", {T6("64:ff9b:1::c633:6407")}, NEXT, REASON(PASS_UNGOVERNED), 0},
	{"IPv4-translated", {T6("::ffff:0:198.51.100.7")}, NEXT, REASON(PASS_UNGOVERNED), 0},
	{"Teredo", {T6("2001::39cc:9bf8")}, NEXT, REASON(PASS_UNGOVERNED), 0},
	{"all_tls, local NAT64",
	 {.source = "fd00:1::5", .destination = "64:ff9b:1::c633:6407"},
	 REDIRECT,
	 REASON(REDIRECT),
	 POD_ALL_TLS},
};

/* The same with an address that only the pod's own answers taught: ELSEWHERE4 (192.0.2.1). */
static const struct row learned_rows[] = {
	{"learned 443", {T4(ELSEWHERE4)}, REDIRECT, REASON(REDIRECT), 0},
	{"learned 8443", {T4(ELSEWHERE4), .dport = 8443}, DROP, REASON(PORT_DENIED), 0},
	{"learned NAT64 443", {T6("64:ff9b::c000:201")}, REDIRECT, REASON(REDIRECT), 0},
	{"learned NAT64 8443",
	 {T6("64:ff9b::c000:201"), .dport = 8443},
	 DROP,
	 REASON(PORT_DENIED),
	 0},
	{"learned NAT64 QUIC",
	 {T6("64:ff9b::c000:201"), .protocol = IPPROTO_UDP},
	 DROP,
	 REASON(QUIC_REFUSED),
	 0},
	{"learned NAT64 ICMPv6",
	 {T6("64:ff9b::c000:201"), .protocol = IPPROTO_ICMPV6},
	 DROP,
	 REASON(PROTOCOL_DENIED),
	 0},
	{"learned NAT64 fragment",
	 {T6("64:ff9b::c000:201"), .extensions = 1, .extension = {{44, .fragment = 16}}},
	 DROP,
	 REASON(FRAGMENT),
	 0},
	{"learned NAT64 spoofed",
	 {.source = "fd00:1::9", .destination = "64:ff9b::c000:201"},
	 DROP,
	 REASON(SPOOFED_SOURCE),
	 0},
	{"learned 6to4 443", {T6("2002:c000:201::1")}, DROP, REASON(UNPARSEABLE), 0},
	{"learned 6to4 22", {T6("2002:c000:201::1"), .dport = 22}, DROP, REASON(UNPARSEABLE), 0},
	{"learned compatible", {T6("::192.0.2.1")}, DROP, REASON(UNPARSEABLE), 0},
	{"learned mapped", {T6("::ffff:192.0.2.1")}, DROP, REASON(UNPARSEABLE), 0},
	{"learned mapped QUIC",
	 {T6("::ffff:192.0.2.1"), .protocol = IPPROTO_UDP},
	 DROP,
	 REASON(UNPARSEABLE),
	 0},
	{"learned, NAT64 of its neighbour",
	 {T6("64:ff9b::c000:202")},
	 NEXT,
	 REASON(PASS_UNGOVERNED),
	 0},
	{"learned by another pod, NAT64",
	 {.source = "fd00:1::5", .destination = "64:ff9b::c000:201", .dport = 80},
	 NEXT,
	 REASON(PASS_UNGOVERNED),
	 POD_ALL_TLS},
};

/* What leaves a flow: TCP that was judged by its destination, and whatever a verdict lets pass. */
static bool leaves_flow(const struct row *row)
{
	switch (row->reason) {
	case EG_REASON_REDIRECT:
	case EG_REASON_PASS_UNGOVERNED:
	case EG_REASON_PORT_DENIED:
		return true;
	case EG_REASON_SHADOW:
		if (row->ifindex == POD_SHADOW) /* no verdict was looked for */
			return false;
		/* fall through */
	case EG_REASON_DENY:
		return !row->frame.protocol || row->frame.protocol == IPPROTO_TCP ||
		       row->frame.protocol == IPPROTO_UDP;
	default:
		return false;
	}
}

static void run_row(const struct row *row, const char *learned)
{
	uint32_t ifindex = row->ifindex ? row->ifindex : POD;
	struct run r = {.ifindex = ifindex};
	uint8_t frame[PACKET_MAX];
	enum verdict v;
	size_t length = frame_build(&row->frame, frame);
	struct eg_flow flow = {0};
	uint64_t all;
	bool found;

	world_reset();
	if (learned)
		set_learned(POD, learned, 5, 0);
	v = run_tc(progs.egress, frame, length, &r);
	check(v == row->verdict, row->name, "verdict %s, expected %s", verdict_text(v),
	      verdict_text(row->verdict));
	if (v == REDIRECT) /* as it is, but for the tag, which the way to the agent has none of */
		check(r.out_length == length - 4 * (size_t)row->frame.vlans, row->name,
		      "%zu bytes became %u", length, r.out_length);
	all = count_all();
	check(all == (row->reason >= 0), row->name, "%llu packets counted, expected %d",
	      (unsigned long long)all, row->reason >= 0);
	if (row->reason >= 0)
		check(count_of((enum eg_reason)row->reason, EG_HOOK_EGRESS) == 1, row->name,
		      "reason %d not counted", row->reason);
	found = find_flow(ifindex, &row->frame, &flow);
	check(found == leaves_flow(row), row->name, found ? "a flow" : "no flow");
	check(!found || flow.reason == row->reason, row->name, "reason %d in the flow",
	      flow.reason);
}

/* What is no SYN and has no flow is of a connection that no agent has here. */
static bool is_unknown_to_agent(const struct row *row)
{
	uint8_t flags = row->frame.tcp_flags;

	return row->verdict == REDIRECT && flags && (flags == 0xff || (flags & (SYN | ACK)) != SYN);
}

/* The same rows with the mark: what was redirected is marked and passes on, if the agent can have
 * it; nothing else changes. */
static void run_row_mark(const struct row *row, const char *learned)
{
	struct run r = {.ifindex = row->ifindex ? row->ifindex : POD, .mark = 0x1234abcd};
	enum verdict v, expected = row->verdict == REDIRECT ? NEXT : row->verdict;
	uint32_t mark = row->verdict == REDIRECT ? 0x1ee7abcd : 0x1234abcd;
	uint8_t frame[PACKET_MAX];
	char name[96];

	snprintf(name, sizeof(name), "mark: %s", row->name);
	world_reset();
	if (learned)
		set_learned(POD, learned, 5, 0);
	if (is_unknown_to_agent(row)) { /* a reset is not answered with one */
		expected =
			row->frame.tcp_flags != 0xff && (row->frame.tcp_flags & RST) ? DROP : RESET;
		mark = 0x1234abcd;
	}
	world_config()->mode = EG_MODE_MARK;
	v = run_tc(progs.egress, frame, frame_build(&row->frame, frame), &r);
	check(v == expected, name, "verdict %s, expected %s", verdict_text(v),
	      verdict_text(expected));
	check(r.mark_out == mark, name, "mark %#x, expected %#x", r.mark_out, mark);
}

/* Turned off, or without config, nothing is touched. */
static void test_disabled(void)
{
	struct frame f = {T4(PROVIDER4)};

	world_reset();
	world_config()->enabled = 0;
	check(run_frame(progs.egress, POD, &f) == NEXT, "disabled", "must pass");
	check(count_all() == 0, "disabled", "must not count");
}

static void test_unknown_choices(void)
{
	struct frame f = {.source = "10.0.0.77", .destination = PROVIDER4};
	struct eg_pod pod = pod_of(0, EG_POD_UNKNOWN, 0, NULL, NULL);

	world_reset();
	world_config()->unknown_pods = 1;
	check(run_frame(progs.egress, POD_UNKNOWN, &f) == NEXT, "unknown: allow", "must pass");
	world_reset();
	world_config()->unknown_pods = 2;
	check(run_frame(progs.egress, POD_UNKNOWN, &f) == RESET, "unknown: deny", "must reset");
	world_reset();
	pod.flags = EG_POD_UNKNOWN_ALLOW;
	set_pod(POD_UNKNOWN, &pod);
	check(run_frame(progs.egress, POD_UNKNOWN, &f) == NEXT, "unknown: flag allow", "must pass");
	world_reset();
	pod.flags = EG_POD_UNKNOWN_DENY;
	set_pod(POD_UNKNOWN, &pod);
	world_config()->unknown_pods = 1;
	check(run_frame(progs.egress, POD_UNKNOWN, &f) == RESET, "unknown: flag deny",
	      "must reset");
	/* The hold ends. */
	world_reset();
	pod.flags = 0;
	pod.since_ns = now_ns() - 61 * SECOND;
	set_pod(POD_UNKNOWN, &pod);
	check(run_frame(progs.egress, POD_UNKNOWN, &f) == RESET, "unknown: after the hold",
	      "must reset");
	check(count_of(EG_REASON_UNKNOWN_POD, EG_HOOK_EGRESS) == 1, "unknown: after the hold",
	      "reason");
	check(!find_flow(POD_UNKNOWN, &f, NULL), "unknown", "a hold must leave no flow");
}

static void test_events(void)
{
	struct frame f = {T4(PROVIDER4), .dport = 22};
	struct eg_event e;
	int i;

	world_reset();
	run_frame(progs.egress, POD, &f);
	check(events_drain(EG_EVENT_VERDICT, &e) == 1, "event", "one expected");
	check(e.ifindex == POD && e.pod_id == 1 && e.name_id == 5 &&
		      e.reason == EG_REASON_PORT_DENIED && e.hook == EG_HOOK_EGRESS &&
		      e.protocol == IPPROTO_TCP && ntohs(e.destination_port_be) == 22,
	      "event", "fields");
	/* A flood is counted whole and reported within a rate; another pod's event still comes. */
	for (i = 0; i < 1000; i++)
		run_frame(progs.egress, POD, &f);
	check(count_of(EG_REASON_PORT_DENIED, EG_HOOK_EGRESS) == 1001, "event rate", "all counted");
	i = events_drain(EG_EVENT_VERDICT, NULL);
	check(i > 0 && i < 200, "event rate", "%d events of 1000", i);
	f.source = "10.0.0.9";
	run_frame(progs.egress, POD_OTHER, &f);
	check(events_drain(EG_EVENT_VERDICT, &e) == 1 && e.pod_id == 9, "event rate",
	      "other pod's");
}

void test_egress(void)
{
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		run_row(&rows[i], NULL);
		run_row_mark(&rows[i], NULL);
	}
	for (i = 0; i < sizeof(learned_rows) / sizeof(*learned_rows); i++) {
		run_row(&learned_rows[i], ELSEWHERE4);
		run_row_mark(&learned_rows[i], ELSEWHERE4);
	}
	test_disabled();
	test_unknown_choices();
	test_events();
}
