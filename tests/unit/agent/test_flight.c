/* SPDX-License-Identifier: Apache-2.0 */
/* What was in flight on a gateway can be read when it is gone, and the gateway can't harm who
 * reads. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/flight.h"

static void test_outlives_the_process(void **state)
{
	struct eg_flight *ours, *theirs;
	int memory;
	pid_t pid;

	assert_int_equal(eg_flight_create(&memory, &ours), 0);
	assert_int_equal(eg_flight_requests(ours), 0);
	pid = fork();
	if (!pid) {
		if (eg_flight_map(memory, &theirs))
			_exit(1);
		atomic_store(&theirs->worker[0].requests, 3);
		atomic_store(&theirs->worker[EG_MAX_WORKERS - 1].requests, 4);
		atomic_store(&theirs->worker[1].connections, 64);
		(void)raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(eg_flight_requests(ours), 7);
	assert_int_equal(eg_flight_connections(ours), 64);
	close(memory);
	eg_flight_close(ours);
	assert_int_equal(eg_flight_requests(NULL), 0);
	(void)state;
}

static void test_nonsense_counts_as_none(void **state)
{
	struct eg_flight *f;
	int memory;

	assert_int_equal(eg_flight_create(&memory, &f), 0);
	atomic_store(&f->worker[0].requests, INT64_MAX);
	atomic_store(&f->worker[1].requests, -5);
	atomic_store(&f->worker[2].requests, 2);
	atomic_store(&f->worker[1].connections, -1);
	assert_int_equal(eg_flight_requests(f), 2);
	assert_int_equal(eg_flight_connections(f), 0);
	close(memory);
	eg_flight_close(f);
	(void)state;
}

/* A cut would end the supervisor with SIGBUS. */
static void test_size_is_fixed(void **state)
{
	struct eg_flight *f, *other;
	int memory, foreign = memfd_create("t", MFD_CLOEXEC);

	assert_int_equal(eg_flight_create(&memory, &f), 0);
	assert_int_equal(ftruncate(memory, 0), -1);
	assert_int_equal(ftruncate(memory, 1 << 20), -1);
	assert_int_equal(eg_flight_map(foreign, &other), -EPROTO);
	assert_int_equal(eg_flight_map(-1, &other), -EPROTO);
	close(foreign);
	close(memory);
	eg_flight_close(f);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_outlives_the_process),
		cmocka_unit_test(test_nonsense_counts_as_none),
		cmocka_unit_test(test_size_is_fixed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
