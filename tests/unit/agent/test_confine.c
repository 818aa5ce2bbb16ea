/* SPDX-License-Identifier: Apache-2.0 */
/* What a confined process can't do any more, tried in children of this one. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/privileges.h"
#include "agent/seccomp.h"

/* Wait status of a child that is confined as `role` and then does `act`. */
static int confined(enum eg_role role, int (*act)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct eg_error e;

		if (eg_harden(&e) || eg_seccomp_confine(role, &e))
			_exit(99);
		_exit(act());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* 0: refused with EPERM; 1: done; 2: another error. */
static int verdict(long r)
{
	return r >= 0 ? 1 : errno == EPERM ? 0 : 2;
}

static int open_file(void)
{
	return verdict(open("/etc/passwd", O_RDONLY));
}
static int open_directly(void)
{
#ifdef SYS_open
	return verdict(syscall(SYS_open, "/etc/passwd", O_RDONLY));
#else
	return verdict(syscall(SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY, 0));
#endif
}
static int open_two(void)
{
	return verdict(syscall(SYS_openat2, AT_FDCWD, "/etc/passwd", NULL, 0));
}
static int unix_socket(void)
{
	return verdict(socket(AF_UNIX, SOCK_STREAM, 0));
}
static int netlink_socket(void)
{
	return verdict(socket(AF_NETLINK, SOCK_RAW, 0));
}
static int raw_socket(void)
{
	return verdict(socket(AF_INET, SOCK_RAW, 1));
}
static int tcp_socket(void)
{
	return verdict(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}
static int udp_socket(void)
{
	return verdict(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}
static int listen_at_all(void)
{
	return verdict(listen(socket(AF_INET, SOCK_STREAM, 0), 1));
}
static int executable_memory(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return verdict(p == MAP_FAILED ? -1 : 0);
}
static int make_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? 3 : verdict(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}
static int kill_other(void)
{
	return verdict(kill(getppid(), 0));
}
static int dumpable_again(void)
{
	return verdict(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}
static int new_process(void)
{
	return verdict(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}
static int execute(void)
{
	char *const argv[] = {(char *)(uintptr_t) "true", NULL};

	return verdict(execve("/bin/true", argv, NULL));
}
static int trace(void)
{
	return verdict(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}
static int enter_namespace(void)
{
	return verdict(syscall(SYS_unshare, 0x10000000));
}
static int use_bpf(void)
{
	return verdict(syscall(SYS_bpf, 0, NULL, 0));
}

static void *nothing(void *argument)
{
	return argument;
}
static int one_thread_then_none(void)
{
	struct eg_error e;
	pthread_t t;

	if (pthread_create(&t, NULL, nothing, NULL) || pthread_join(t, NULL))
		return 4;
	if (eg_seccomp_no_threads(&e))
		return 5;
	return pthread_create(&t, NULL, nothing, NULL) ? 0 : 1;
}

static void test_refused(void **state)
{
	static const struct {
		const char *what;
		int (*act)(void);
	} rows[] = {
		{"open", open_file},
		{"open itself", open_directly},
		{"openat2", open_two},
		{"a unix socket", unix_socket},
		{"a netlink socket", netlink_socket},
		{"a raw socket", raw_socket},
		{"listen", listen_at_all},
		{"executable memory", executable_memory},
		{"memory made executable", make_executable},
		{"a signal to another", kill_other},
		{"being dumpable again", dumpable_again},
		{"a process", new_process},
		{"threads after the last", one_thread_then_none},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		int status = confined(EG_ROLE_GATEWAY, rows[i].act);

		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			fail_msg("gateway: %s: status 0x%x", rows[i].what, status);
	}
}

static void test_deadly(void **state)
{
	static const struct {
		const char *what;
		int (*act)(void);
	} rows[] = {
		{"execve", execute},
		{"ptrace", trace},
		{"unshare", enter_namespace},
		{"bpf", use_bpf},
	};
	static const enum eg_role roles[] = {EG_ROLE_GATEWAY, EG_ROLE_SIGNER};

	for (size_t k = 0; k < EG_ARRAY_SIZE(roles); k++)
		for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
			int status = confined(roles[k], rows[i].act);

			if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS || WCOREDUMP(status))
				fail_msg("role %d: %s: status 0x%x", roles[k], rows[i].what,
					 status);
		}
}

static void test_needed(void **state)
{
	assert_int_equal(confined(EG_ROLE_GATEWAY, tcp_socket), 1 << 8);
	assert_int_equal(confined(EG_ROLE_GATEWAY, udp_socket), 1 << 8);
	/* the signer has no network at all */
	assert_int_equal(confined(EG_ROLE_SIGNER, tcp_socket), 0);
	assert_int_equal(confined(EG_ROLE_SIGNER, udp_socket), 0);
	assert_int_equal(confined(EG_ROLE_SIGNER, open_file), 0);
}

static int lose_all(void)
{
	struct eg_error e;
	struct rlimit core;

	if (eg_capabilities_keep(NULL, 0, &e))
		return 3;
	if (getrlimit(RLIMIT_CORE, &core) || core.rlim_cur || core.rlim_max)
		return 4;
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 5;
	/*
	 * Root without capabilities may not even become another user. The system call itself: what
	 * the C library calls setuid() asks every thread, and a sanitizer's own still has its
	 * capabilities.
	 */
	return setpriority(PRIO_PROCESS, 0, -5) < 0 && syscall(SYS_setuid, 12345) < 0 ? 0 : 6;
}

static void test_capabilities(void **state)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct eg_error e;

		_exit(eg_harden(&e) ? 99 : lose_all());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_deadly),
		cmocka_unit_test(test_needed),
		cmocka_unit_test(test_capabilities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
