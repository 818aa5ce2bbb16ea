/* SPDX-License-Identifier: Apache-2.0 */
/* What a gateway claims to have denied: what of it is told, and how. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/denial_note.h"

static const char *const policy =
	"{\"version\":\"egret/v1\",\"providers\":{\"openai\":{\"kind\":\"openai\",\"endpoint\":"
	"\"https://api.openai.com/v1\",\"credential\":\"c\"}},\"credentials\":{\"c\":{\"type\":"
	"\"bearer\",\"file\":\"c/key\"}},\"policies\":[]}";

static struct eg_table_pod pods[2];
static struct eg_table table = {.pods = pods, .count = 2};
static struct eg_policy_set *set;
static char note[EG_NOTE_BYTES];
static struct eg_kube_report r;

static int begin(void **state)
{
	const struct eg_policy_file file = {EG_STR("p.json"), {policy, strlen(policy)}};
	struct eg_policy_errors errors = {0};

	pods[0].pod.identity = (struct eg_identity){
		.namespace_name = "shop", .name = "web", .uid = "u-1", .service_account = ""};
	pods[1].pod.identity = (struct eg_identity){
		.namespace_name = "bank", .name = "db", .uid = "u-2", .service_account = ""};
	assert_int_equal(eg_policy_load(&file, 1, &set, &errors), 0);
	eg_policy_errors_fini(&errors);
	return 0;
}

static int over(void **state)
{
	eg_policy_set_unref(set);
	return 0;
}

static struct eg_wire_denial sample(void)
{
	return (struct eg_wire_denial){.pod_uid = "u-2",
				       .host = "api.openai.com",
				       .provider = "openai",
				       .count = 3,
				       .reason = EG_REASON_REGION_DENIED};
}

static bool told(const struct eg_wire_denial *d)
{
	return eg_denial_note(d, &table, set, note, &r);
}

static void it_is_told(void **state)
{
	struct eg_wire_denial d = sample();

	assert_true(told(&d));
	assert_string_equal(r.namespace_name, "bank");
	assert_string_equal(r.name, "db");
	assert_string_equal(r.uid, "u-2");
	assert_string_equal(r.reason, "PolicyDenied");
	assert_true(r.warning);
	assert_int_equal(r.count, 3);
	assert_string_equal(r.note,
			    "Requests to api.openai.com (provider openai) are refused: "
			    "region_denied. No target of the route lies in the regions that the "
			    "policy allows.");
	d.reason = EG_REASON_NO_SNI;
	d.host[0] = d.provider[0] = '\0';
	assert_true(told(&d));
	assert_string_equal(r.note,
			    "Connections are refused: no_sni. The TLS ClientHello names no server, "
			    "so policy cannot be applied.");
	d = sample();
	d.reason = EG_REASON_CLIENT_REJECTED_CA;
	assert_true(told(&d));
	assert_string_equal(r.reason, "CARejected");
	assert_non_null(strstr(r.note, "the handshake for api.openai.com with an alert"));
	assert_non_null(strstr(r.note, "docs/ca.md"));
}

static void what_cannot_be_is_not(void **state)
{
	static const uint32_t reasons[] = {EG_REASON_OK, EG_REASON_UPSTREAM_STATUS,
					   EG_REASON_INTERNAL, EG_REASON_MAX, UINT32_MAX};
	struct eg_wire_denial d = sample();

	strcpy(d.pod_uid, "u-3");
	assert_false(told(&d));
	d = sample();
	d.count = 0;
	assert_false(told(&d));
	for (size_t i = 0; i < EG_ARRAY_SIZE(reasons); i++) {
		d = sample();
		d.reason = reasons[i];
		assert_false(told(&d));
	}
	d = sample();
	memset(d.pod_uid, 'u', sizeof(d.pod_uid));
	assert_false(told(&d));
	d = sample();
	memset(d.host, 'h', sizeof(d.host));
	assert_false(told(&d));
	d = sample();
	memset(d.provider, 'p', sizeof(d.provider));
	assert_false(told(&d));
}

static void what_it_makes_up_is_left_out(void **state)
{
	static const char *const hosts[] = {
		"a prompt of a pod", "api.openai.com/v1?key=x", "a\nb.example",
		"sk-ant-api03-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example.com", "192.0.2.1"};
	struct eg_wire_denial d = sample();

	d.count = UINT64_MAX;
	assert_true(told(&d));
	assert_int_equal(r.count, EG_DENIAL_COUNT_MOST);
	strcpy(d.provider, "a word of its own");
	assert_true(told(&d));
	assert_null(strstr(r.note, "word"));
	for (size_t i = 0; i < EG_ARRAY_SIZE(hosts); i++) {
		d = sample();
		strcpy(d.host, hosts[i]);
		assert_true(told(&d));
		assert_memory_equal(r.note, "Requests (provider openai) are refused: ", 40);
	}
	assert_true(eg_denial_note(&d, &table, NULL, note, &r)); /* no policy is in force */
	assert_null(strstr(r.note, "provider openai"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_told),
		cmocka_unit_test(what_cannot_be_is_not),
		cmocka_unit_test(what_it_makes_up_is_left_out),
	};

	return cmocka_run_group_tests(tests, begin, over);
}
