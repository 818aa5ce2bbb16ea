/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a command and ends it by SIGKILL in the middle: datapath_cut N COMMAND...
 * Counted are the calls by which a start or an uninstall changes the node: bpf(2), mounts, files
 * and directories of the bpffs, messages to rtnetlink. The command dies in place of its N-th. Exit
 * status 137: it was cut. Else its own: N is past its last.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LISTENER 100 /* the command's descriptor until it is executed */

static void die(const char *what)
{
	perror(what);
	exit(125);
}

/* Root needs no no-new-privileges for it. */
static void run(char **argv)
{
	static const unsigned int calls[] = {__NR_bpf,	  __NR_mount, __NR_umount2, __NR_mkdir,
					     __NR_unlink, __NR_rmdir, __NR_sendmsg, __NR_sendto};
	struct sock_filter code[2 + 2 * sizeof(calls) / sizeof(*calls)] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
	const struct sock_filter notify = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
	const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog filter = {1, code};
	int fd;

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		code[filter.len++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i], 0, 1);
		code[filter.len++] = notify;
	}
	code[filter.len++] = allow;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = (int)syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
			  &filter);
	if (fd < 0 || dup3(fd, LISTENER, O_CLOEXEC) < 0)
		die("seccomp");
	close(fd);
	raise(SIGSTOP); /* until the listener is taken over */
	execvp(argv[0], argv);
	die(argv[0]);
}

static int take_listener(pid_t command)
{
	int status, pid_fd, fd;

	if (waitpid(command, &status, WUNTRACED) != command || !WIFSTOPPED(status))
		die("the command does not stop");
	pid_fd = (int)syscall(SYS_pidfd_open, command, 0);
	fd = (int)syscall(SYS_pidfd_getfd, pid_fd, LISTENER, 0);
	if (fd < 0)
		die("no seccomp listener");
	close(pid_fd);
	kill(command, SIGCONT);
	return fd;
}

int main(int argc, char **argv)
{
	long made = 0, last = argc > 2 ? atol(argv[1]) : 0;
	pid_t command;
	int listener, status;

	if (last < 1) {
		fprintf(stderr, "usage: datapath_cut N COMMAND...\n");
		return 125;
	}
	command = fork();
	if (command < 0)
		die("fork");
	if (!command)
		run(argv + 2);
	listener = take_listener(command);
	for (;;) {
		struct pollfd p = {listener, POLLIN, 0};
		struct seccomp_notif n = {0};
		struct seccomp_notif_resp r = {.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};

		if (poll(&p, 1, 100) < 0 && errno != EINTR)
			die("poll");
		if (waitpid(command, &status, WNOHANG) == command)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		if (!(p.revents & POLLIN) || ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &n))
			continue;
		if (++made == last)
			kill(command, SIGKILL);
		r.id = n.id;
		if (made < last)
			ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &r);
	}
}
