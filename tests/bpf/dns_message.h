/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages for the tests of dns_tc, field by field, and their delivery to a pod. */
#ifndef EGRET_TESTS_BPF_DNS_MESSAGE_H
#define EGRET_TESTS_BPF_DNS_MESSAGE_H

#include "harness.h"

#define QUESTION       12 /* where the question's name is, for pointers to it */
#define MESSAGE_HEADER 12
#define MESSAGE_ID     0x1234

struct message {
	uint8_t bytes[4200];
	uint32_t length;
};

void put_byte(struct message *m, uint32_t v);
void put_word(struct message *m, uint32_t v);
/* "api.openai.com"; a trailing "@N" ends the name with a pointer to N. */
void put_name(struct message *m, const char *text);
void put_record(struct message *m, const char *owner, uint32_t type, uint32_t ttl, uint32_t size);
void put_address(struct message *m, const char *owner, const char *text, uint32_t ttl);
/* Returns where the target's name is in the message. */
uint32_t put_cname(struct message *m, const char *owner, const char *target);

/* Header and question of an answer with so many records. */
void message_begin(struct message *m, const char *question, uint32_t type, uint32_t answers);
/* A whole answer with one address. */
void message_simple(struct message *m, const char *question, const char *a);

/* A world in which api.openai.com (name 5) and others are watched. */
void dns_watch(void);

struct delivery {
	uint32_t ifindex;
	const char *pod, *resolver;
	bool tcp, no_query, raw; /* raw: the program that reads no names */
	uint16_t id;		 /* of the query, when not the answer's */
	uint32_t tcp_length;	 /* claimed, when not the right one */
	uint16_t fragment;
	uint32_t cut; /* bytes left off the end of the frame's message */
};
extern const struct delivery dns_plain;

/* A query through egress_tc; over TCP its SYN. dns_ask checks that it passes. */
enum verdict dns_query(const struct delivery *how, uint16_t id);
void dns_ask(const struct delivery *how, uint16_t id);
/* Asks, then answers. */
void dns_deliver(const struct message *m, const struct delivery *how);

uint32_t quota_used(uint32_t ifindex);
uint32_t queries_kept(void);
/* The one query on record was asked by_ns earlier than it was. */
void queries_age(uint64_t by_ns);

#endif
