/* SPDX-License-Identifier: Apache-2.0 */
/* What a second lesson does to the first, and who teaches nothing, or asks nothing that counts. */
#include <netinet/in.h>
#include <string.h>

#include "dns_message.h"

#define TAUGHT "192.0.2.10"

static void answer(const char *question, uint32_t ttl)
{
	struct message m;

	message_begin(&m, question, 1, 1);
	put_address(&m, "@12", TAUGHT, ttl);
	dns_deliver(&m, &dns_plain);
}

/* Longer is kept, and the name is the last one's. */
static void test_again(void)
{
	struct eg_learned first = {0}, second = {0};

	dns_watch();
	answer("api.openai.com", 300);
	check(is_learned(POD, TAUGHT, &first), "learn again", "first");
	answer("api.openai.com", 60);
	check(is_learned(POD, TAUGHT, &second) && second.expires_ns == first.expires_ns,
	      "learn again", "a shorter TTL shortens nothing");
	answer("api.openai.com", 900);
	check(is_learned(POD, TAUGHT, &second) &&
		      second.expires_ns >= first.expires_ns + 600 * SECOND,
	      "learn again", "a longer one lengthens");
	check(second.name_id == 5, "learn again", "name %u", second.name_id);
	answer("acme.openai.azure.com", 60);
	check(is_learned(POD, TAUGHT, &second) && second.name_id == 6, "learn again",
	      "another name's: %u", second.name_id);
	check(quota_used(POD) == 1, "learn again", "one address");
}

/* The pod's own, also while its way back is not there. */
static void test_own(void)
{
	struct eg_address own = address_of(POD4);
	struct message m;

	dns_watch();
	bpf_map_delete_elem(map_fd("pod_links"), &own);
	message_simple(&m, "api.openai.com", POD4);
	dns_deliver(&m, &dns_plain);
	check(!is_learned(POD, POD4, NULL) && quota_used(POD) == 0, "learn", "the pod's own");
}

/* The query was asked while all was well; then comes the answer. */
static void test_off(void)
{
	struct eg_pod foreign = pod_of(0, EG_POD_FOREIGN, 0, NULL, NULL);
	struct message m;

	message_simple(&m, "api.openai.com", TAUGHT);
	dns_watch();
	dns_ask(&dns_plain, MESSAGE_ID);
	world_config()->enabled = 0;
	dns_deliver(&m, &(struct delivery){.no_query = true});
	check(!is_learned(POD, TAUGHT, NULL) && !count_of(EG_REASON_OK, EG_HOOK_DNS), "learn",
	      "turned off");
	dns_watch();
	dns_ask(&dns_plain, MESSAGE_ID);
	set_pod(POD, &foreign);
	dns_deliver(&m, &(struct delivery){.no_query = true});
	check(!is_learned(POD, TAUGHT, NULL), "learn", "a foreign link");
}

/* Queries that don't go out as they are, or can't be read, are not on record. */
static void test_asked(void)
{
	struct frame f = {.source = POD4,
			  .destination = RESOLVER4,
			  .protocol = IPPROTO_UDP,
			  .sport = 5353,
			  .dport = 53,
			  .payload = "0123456789abcdef",
			  .payload_length = 16};

	dns_watch();
	check(run_frame(progs.egress, POD, &f) == NEXT && queries_kept() == 1, "asked", "a query");
	dns_watch();
	f.fragment = 1;
	check(run_frame(progs.egress, POD, &f) == NEXT && queries_kept() == 1, "asked",
	      "in fragments");
	dns_watch();
	f.dport = 123;
	check(run_frame(progs.egress, POD, &f) == NEXT && queries_kept() == 0, "asked",
	      "a fragment for another port");
	f.dport = 53;
	f.fragment = 0;
	dns_watch();
	set_destination(RESOLVER4 "/32", 5, EG_DESTINATION_RESOLVED);
	check(run_frame(progs.egress, POD, &f) == DROP && queries_kept() == 0, "asked",
	      "a query that is dropped");
}

void test_learn(void)
{
	test_again();
	test_own();
	test_off();
	test_asked();
}
