/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for a CPU, and who is silent for another reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/cpu_wait.h"

/* A process on the first CPU that this one may use, which spins there. */
static pid_t spin(void)
{
	pid_t parent = getpid(), pid = fork();
	cpu_set_t all, one;
	int cpu = 0;

	if (pid)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || sched_getaffinity(0, sizeof(all), &all))
		_exit(1);
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		_exit(1);
	for (volatile unsigned int n = 0;; n++)
		;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Two that spin on one CPU wait for each other; one that is stopped waits for nobody. */
static void test_measured(void **state)
{
	pid_t a = spin(), b = spin();
	uint64_t before;
	int i;

	for (i = 0; i < 1000 && eg_cpu_waited_ns(a) < 50000000; i++)
		usleep(10000);
	assert_true(eg_cpu_waited_ns(a) >= 50000000);
	kill(a, SIGSTOP);
	waitpid(a, NULL, WUNTRACED);
	before = eg_cpu_waited_ns(a);
	usleep(200000);
	assert_int_equal(eg_cpu_waited_ns(a), before);
	end(a);
	end(b);
	assert_int_equal(eg_cpu_waited_ns(a), 0); /* nobody */
	(void)state;
}

static void test_judged(void **state)
{
	assert_true(eg_cpu_starved(1000, 500000000));
	assert_true(eg_cpu_starved(1000, 2000000000)); /* of several threads */
	assert_false(eg_cpu_starved(1000, 499000000));
	assert_false(eg_cpu_starved(1000, 0));
	assert_true(eg_cpu_starved(EG_STARVED_MS - 1, UINT64_MAX));
	assert_false(eg_cpu_starved(EG_STARVED_MS, UINT64_MAX));
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_measured),
		cmocka_unit_test(test_judged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
