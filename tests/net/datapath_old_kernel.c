/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a command as if on an older kernel: datapath_old_kernel FEATURE[,FEATURE...] COMMAND...
 * bpf(2) of the command and its children is looked at from outside (seccomp_unotify(2)), and what
 * the kernel in question does not have is refused with that kernel's own answer; everything else
 * goes on.
 *
 * - tcx: BPF_LINK_CREATE of TCX: EINVAL.
 * - ringbuf, redirect_peer, bpf_loop: a program that consists of one call of the helper: EINVAL,
 * and "invalid func" in the verifier's log. Real programs load.
 * - sk_lookup, tc_programs: a program of that type: EINVAL.
 * - btf: BPF_BTF_LOAD: EINVAL.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum feature { TCX, RINGBUF, REDIRECT_PEER, BPF_LOOP, SK_LOOKUP, TC_PROGRAMS, BTF, FEATURES };
static const char *const names[FEATURES] = {
	"tcx", "ringbuf", "redirect_peer", "bpf_loop", "sk_lookup", "tc_programs", "btf"};
static bool absent[FEATURES];

static void die(const char *what)
{
	perror(what);
	exit(125);
}

static bool peek(pid_t pid, uint64_t at, void *to, size_t n)
{
	char path[64];
	int fd;
	bool ok;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ok = fd >= 0 && pread(fd, to, n, (off_t)at) == (ssize_t)n;
	close(fd);
	return ok;
}

static void poke(pid_t pid, uint64_t at, const char *text)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || pwrite(fd, text, strlen(text) + 1, (off_t)at) < 0)
		die(path);
	close(fd);
}

/* A probe is a call and nothing but the way out. */
static bool lacks_helper(pid_t pid, const union bpf_attr *a)
{
	static const struct {
		enum feature feature;
		int number;
	} helpers[] = {{RINGBUF, 130}, {REDIRECT_PEER, 155}, {BPF_LOOP, 181}};
	struct bpf_insn code[2];

	if (a->insn_cnt != 2 || !peek(pid, a->insns, code, sizeof(code)) ||
	    code[0].code != (BPF_JMP | BPF_CALL))
		return false;
	for (size_t i = 0; i < sizeof(helpers) / sizeof(*helpers); i++)
		if (absent[helpers[i].feature] && code[0].imm == helpers[i].number) {
			if (a->log_level && a->log_buf)
				poke(pid, a->log_buf, "invalid func unknown\n");
			return true;
		}
	return false;
}

static bool refused(const struct seccomp_notif *n)
{
	union bpf_attr a = {0};
	size_t bytes = n->data.args[2] < sizeof(a) ? n->data.args[2] : sizeof(a);
	pid_t pid = (pid_t)n->pid;

	if (!peek(pid, n->data.args[1], &a, bytes))
		return false;
	switch (n->data.args[0]) {
	case BPF_LINK_CREATE:
		return absent[TCX] &&
		       (a.link_create.attach_type == 46 || a.link_create.attach_type == 47);
	case BPF_BTF_LOAD:
		return absent[BTF];
	case BPF_PROG_LOAD:
		return (absent[SK_LOOKUP] && a.prog_type == BPF_PROG_TYPE_SK_LOOKUP) ||
		       (absent[TC_PROGRAMS] && a.prog_type == BPF_PROG_TYPE_SCHED_CLS) ||
		       lacks_helper(pid, &a);
	}
	return false;
}

static void serve(int listener, pid_t child)
{
	for (;;) {
		struct pollfd p = {listener, POLLIN, 0};
		struct seccomp_notif n = {0};
		struct seccomp_notif_resp r = {0};
		int status;

		if (poll(&p, 1, 100) < 0 && errno != EINTR)
			die("poll");
		if (waitpid(child, &status, WNOHANG) == child)
			exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
		if (!(p.revents & POLLIN) || ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &n))
			continue;
		r.id = n.id;
		if (refused(&n))
			r.error = -EINVAL;
		else
			r.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &r);
	}
}

static int send_fd(int socket, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 0;
	struct iovec io = {&byte, 1};
	struct msghdr m = {.msg_iov = &io,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(socket, &m, 0) == 1 ? 0 : -1;
}

static int receive_fd(int socket)
{
	char control[CMSG_SPACE(sizeof(int))] = {0}, byte;
	struct iovec io = {&byte, 1};
	struct msghdr m = {.msg_iov = &io,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	int fd = -1;

	if (recvmsg(socket, &m, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&m))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

/* Root needs no no-new-privileges for it, and the command must be able to do without. */
static void run(int socket, char **argv)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_bpf, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {sizeof(code) / sizeof(*code), code};
	int fd = (int)syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
			      SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);

	if (fd < 0 || send_fd(socket, fd))
		die("seccomp");
	close(fd);
	close(socket);
	prctl(PR_SET_PDEATHSIG, 15);
	execvp(argv[0], argv);
	die(argv[0]);
}

static pid_t child;
static void pass_on(int number)
{
	kill(child, number);
}

int main(int argc, char **argv)
{
	int pair[2], listener;

	if (argc < 3) {
		fprintf(stderr, "usage: datapath_old_kernel FEATURE[,FEATURE...] COMMAND...\n");
		return 125;
	}
	for (char *f = strtok(argv[1], ","); f; f = strtok(NULL, ",")) {
		int i = 0;

		while (i < FEATURES && strcmp(names[i], f))
			i++;
		if (i == FEATURES) {
			fprintf(stderr, "no such feature: %s\n", f);
			return 125;
		}
		absent[i] = true;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		die("socketpair");
	child = fork();
	if (child < 0)
		die("fork");
	if (!child)
		run(pair[1], argv + 2);
	close(pair[1]);
	listener = receive_fd(pair[0]);
	if (listener < 0)
		die("no seccomp listener");
	signal(SIGTERM, pass_on);
	signal(SIGINT, pass_on);
	serve(listener, child);
}
