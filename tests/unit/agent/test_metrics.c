/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's figures in Prometheus text: each family once, described, each sample well
 * formed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "agent/gateway_impl.h"

static void test_text(void **state)
{
	struct eg_wire_stats s = {
		.policy_generation = 7,
		.gateway_restarts = 2,
		.requests_lost = 20,
		.connections_lost = 21,
		.signer_hangs = 3,
		.spawner_hung = 1,
		.policy_loaded_ms = 1500,
		.kube = 1,
		.kube_events = 1,
		.kube_events_written = 31,
		.kube_events_failures = 32,
		.kube_events_not_taken = 33,
		.kube_events_dropped = 34,
		.kube_events_waiting = 35,
		.kube_events_forbidden = 1,
		.uplink_count = 2,
		.uplink = {{.name = "eth0", .present = 1, .guarded = 1}, {.name = "we\"ird\\"}},
		.policy_version = "abc"};
	struct eg_buf b;
	char *text, *line, *save, family[128] = "", seen[4096] = "";
	size_t samples = 0;

	s.packets[EG_HOOK_EGRESS][EG_REASON_REDIRECT] = 5;
	s.packets[EG_HOOK_GUARD][EG_REASON_GUARD_NO_STAMP] = 1;
	eg_buf_init(&b, 1 << 20);
	assert_int_equal(eg_metrics_supervisor(&b, &s), 0);
	assert_int_equal(eg_buf_append(&b, "", 1), 0);
	text = eg_buf_data(&b);
	assert_non_null(strstr(text, "egret_gateway_restarts_total 2\n"));
	assert_non_null(strstr(text, "egret_requests_lost_total 20\n"));
	assert_non_null(strstr(text, "egret_connections_lost_total 21\n"));
	assert_non_null(strstr(text, "egret_signer_hangs_total 3\n"));
	assert_non_null(strstr(text, "egret_spawner_hung 1\n"));
	assert_non_null(strstr(text, "egret_kubernetes_events_written_total 31\n"));
	assert_non_null(strstr(text, "egret_kubernetes_events_failures_total 32\n"));
	assert_non_null(strstr(text, "egret_kubernetes_events_not_taken_total 33\n"));
	assert_non_null(strstr(text, "egret_kubernetes_events_dropped_total 34\n"));
	assert_non_null(strstr(text, "egret_kubernetes_events_waiting 35\n"));
	assert_non_null(strstr(text, "egret_kubernetes_events_forbidden 1\n"));
	assert_non_null(strstr(text, "{hook=\"egress\",reason=\"redirect\"} 5\n"));
	assert_non_null(strstr(text, "{hook=\"guard\",reason=\"guard_no_stamp\"} 1\n"));
	assert_non_null(strstr(text, "egret_policy_loaded_timestamp_seconds 1.500\n"));
	assert_non_null(strstr(text, "policy=\"abc\"} 1\n"));
	assert_non_null(strstr(text, "egret_guard_attached{link=\"eth0\"} 1\n"));
	assert_non_null(strstr(text, "egret_guard_attached{link=\"we\\\"ird\\\\\"} 0\n"));
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char name[128], rest[256];

		if (sscanf(line, "# HELP %127s %255[^\n]", name, rest) == 2) {
			char mark[140];

			snprintf(mark, sizeof(mark), " %s ", name);
			assert_null(strstr(seen, mark)); /* each family once */
			strncat(seen, mark, sizeof(seen) - strlen(seen) - 1);
			strcpy(family, name);
		} else if (sscanf(line, "# TYPE %127s %255s", name, rest) == 2) {
			assert_string_equal(name, family);
		} else {
			assert_int_equal(strncmp(line, family, strlen(family)), 0);
			samples++;
		}
	}
	assert_true(samples > 15);
	eg_buf_fini(&b);
}

static void test_no_room(void **state)
{
	struct eg_wire_stats s = {.policy_generation = 1};
	struct eg_buf b;

	eg_buf_init(&b, 100);
	assert_int_equal(eg_metrics_supervisor(&b, &s), -ENOBUFS);
	eg_buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
