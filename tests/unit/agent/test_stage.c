/* SPDX-License-Identifier: Apache-2.0 */
/* A generation of which a descriptor was cut off is refused, with a reason. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/channel.h"
#include "agent/gateway_impl.h"
#include "agent/spawner.h"

static int supervisor = -1;

static int set_up(void **state)
{
	int ends[2];

	(void)state;
	if (eg_channel_pair(ends))
		return -1;
	/* One of the two may have the number that the gateway's end is to have. */
	supervisor = fcntl(ends[0], F_DUPFD_CLOEXEC, EG_CONTROL_FD + 3);
	return supervisor < 0 || dup2(ends[1], EG_CONTROL_FD) < 0;
}

static int tear_down(void **state)
{
	(void)state;
	eg_fd_close(&supervisor);
	return 0;
}

static void refused(struct eg_gateway *g, uint32_t number, const char *why)
{
	struct eg_message m;
	int fds[EG_WIRE_FDS];

	eg_stage_commit(g, number);
	assert_int_equal(eg_channel_receive(supervisor, &m, fds), 1);
	assert_int_equal(m.type, EG_WIRE_NACK);
	assert_int_equal(m.number, number);
	assert_string_equal(m.u.text, why);
}

static void cut_off(void **state)
{
	static const uint32_t staged[] = {EG_WIRE_POLICY, EG_WIRE_PODS, EG_WIRE_CREDENTIAL,
					  EG_WIRE_PROVIDER_TRUST};
	static const char *const why[] = {
		"policy: Too many open files", "pods: Too many open files",
		"credentials: Too many open files", "ca_file: Too many open files"};
	static struct eg_gateway g;
	struct eg_message m = {.type = EG_WIRE_ACCESS_LOG};

	(void)state;
	for (uint32_t i = 0; i < EG_ARRAY_SIZE(staged); i++) {
		m.type = staged[i];
		assert_true(eg_stage_cut(&g, &m));
		refused(&g, i + 1, why[i]);
		/* The next one is a new one. */
		refused(&g, i + 1, "snapshot: Protocol error");
	}
	m.type = EG_WIRE_WORKER; /* of no generation */
	assert_false(eg_stage_cut(&g, &m));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(cut_off)};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
