/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/seccomp.h"

#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* Memory, time, threads, and descriptors that are there already. */
static const int common[] = {
	SCMP_SYS(brk),
	SCMP_SYS(mremap),
	SCMP_SYS(munmap),
	SCMP_SYS(madvise),
	SCMP_SYS(mlock),
	SCMP_SYS(munlock),
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(pread64),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(close),
	SCMP_SYS(dup3),
	SCMP_SYS(fcntl),
	SCMP_SYS(fstat),
	SCMP_SYS(lseek),
	SCMP_SYS(newfstatat), /* glibc's fstat */
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(eventfd2),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(recvfrom),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(getrandom),
	SCMP_SYS(futex),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(membarrier),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(seccomp), /* a filter can only be made narrower */
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

/* TCP and UDP, and what pass-through splices with. */
static const int network[] = {
	SCMP_SYS(accept4),     SCMP_SYS(connect),    SCMP_SYS(shutdown),   SCMP_SYS(getsockname),
	SCMP_SYS(getpeername), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(recvmmsg),
	SCMP_SYS(sendmmsg),    SCMP_SYS(ioctl), /* FIONREAD, FIONBIO: argument checked below */
	SCMP_SYS(pipe2),       SCMP_SYS(splice),
};

/* Nobody but an attacker comes here. */
static const int deadly[] = {
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	SCMP_SYS(fork),
	SCMP_SYS(vfork),
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(bpf),
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(setns),
	SCMP_SYS(unshare),
	SCMP_SYS(keyctl),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(pidfd_getfd),
};

#define FIONREAD_REQUEST 0x541bu
#define FIONBIO_REQUEST	 0x5421u

static int allow(scmp_filter_ctx f, const int *calls, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		/* A call that this architecture does not have needs no rule. */
		int r = calls[i] < 0 ? 0 : seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0);

		if (r)
			return r;
	}
	return 0;
}

/* Memory that is executable is made by the loader, before this. */
static int allow_memory(scmp_filter_ctx f)
{
	int r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
				 SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

	if (!r)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* pthread names; nothing else of prctl. */
	if (!r)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
				     SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
	/* glibc names anonymous memory where the kernel can. */
	return r ? r
		 : seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
				    SCMP_A0(SCMP_CMP_EQ, PR_SET_VMA));
}

/* Threads yes, processes no. clone3 hides its flags in memory: told that it does not exist, glibc
 * uses clone, whose flags can be judged. */
static int allow_threads(scmp_filter_ctx f)
{
	int r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				 SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));

	return r ? r : seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

static int allow_sockets(scmp_filter_ctx f)
{
	static const unsigned int families[] = {AF_INET, AF_INET6};
	static const unsigned int types[] = {SOCK_STREAM, SOCK_DGRAM};

	for (size_t i = 0; i < EG_ARRAY_SIZE(families); i++)
		for (size_t k = 0; k < EG_ARRAY_SIZE(types); k++) {
			int r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
						 SCMP_A0(SCMP_CMP_EQ, families[i]),
						 SCMP_A1(SCMP_CMP_MASKED_EQ, 0xfu, types[k]));

			if (r)
				return r;
		}
	return 0;
}

static int allow_network(scmp_filter_ctx f)
{
	int r = 0;

	for (size_t i = 0; !r && i < EG_ARRAY_SIZE(network); i++)
		if (network[i] != SCMP_SYS(ioctl))
			r = allow(f, &network[i], 1);
	if (!r)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				     SCMP_A1(SCMP_CMP_EQ, FIONREAD_REQUEST));
	if (!r)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				     SCMP_A1(SCMP_CMP_EQ, FIONBIO_REQUEST));
	return r ? r : allow_sockets(f);
}

int eg_seccomp_confine(enum eg_role role, struct eg_error *e)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r;

	if (!f)
		return eg_error_set(e, -ENOMEM, "system call filter: out of memory");
	r = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	for (size_t i = 0; !r && i < EG_ARRAY_SIZE(deadly); i++)
		if (deadly[i] >= 0)
			r = seccomp_rule_add(f, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
	if (!r)
		r = allow(f, common, EG_ARRAY_SIZE(common));
	if (!r)
		r = allow_memory(f);
	if (!r && role == EG_ROLE_GATEWAY)
		r = allow_network(f);
	if (!r && role == EG_ROLE_GATEWAY)
		r = allow_threads(f);
	if (!r)
		r = seccomp_load(f);
	seccomp_release(f);
	return r ? eg_error_set(e, r, "system call filter: %s", strerror(-r)) : 0;
}

int eg_seccomp_no_threads(struct eg_error *e)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
	int r;

	if (!f)
		return eg_error_set(e, -ENOMEM, "system call filter: out of memory");
	r = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	/* Set already, and the first filter has no prctl for it. */
	if (!r)
		r = seccomp_attr_set(f, SCMP_FLTATR_CTL_NNP, 0);
	if (!r)
		r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 0);
	if (!r)
		r = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone3), 0);
	if (!r)
		r = seccomp_load(f);
	seccomp_release(f);
	return r ? eg_error_set(e, r, "system call filter: %s", strerror(-r)) : 0;
}
