/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/spawner.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/channel.h"
#include "agent/privileges.h"

#define CHILDREN 8

static const cap_value_t spawner_keeps[] = {CAP_SETUID, CAP_SETGID, CAP_KILL};

int eg_exec_role(const char *const *argv)
{
	/* What the operator's environment holds is nobody's business further down. */
	static const char *const passed[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS",
					     "TSAN_OPTIONS"};
	char *environment[EG_ARRAY_SIZE(passed) + 1] = {NULL};
	char *arguments[8] = {NULL};
	size_t n = 0;

	for (size_t i = 0; i < EG_ARRAY_SIZE(passed); i++) {
		const char *value = getenv(passed[i]);

		if (value && asprintf(&environment[n], "%s=%s", passed[i], value) > 0)
			n++;
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(arguments) - 1 && argv[i]; i++)
		arguments[i] = strdup(argv[i]);
	execve("/proc/self/exe", arguments, environment);
	return -errno;
}

/* In a child between fork and exec: 0, 1 and 3 as every process of ours has them, no other. */
static int arrange_fds(int control)
{
	EG_CLEANUP_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return -errno;
	/* dup2 onto itself would leave close-on-exec set. */
	if (control == EG_CONTROL_FD) {
		if (fcntl(control, F_SETFD, 0) < 0)
			return -errno;
	} else if (dup2(control, EG_CONTROL_FD) < 0) {
		return -errno;
	}
	if (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		return -errno;
	return 0;
}

static void default_signals(void)
{
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* ---- the supervisor's half ---- */

int eg_spawner_start(struct eg_spawner *s, uid_t gateway_uid, uid_t signer_uid,
		     enum eg_log_level level, struct eg_error *e)
{
	char gateway[16], signer[16], lowest[16];
	const char *const argv[] = {"egretd", "role:spawner", gateway, signer, lowest, NULL};
	pid_t parent = getpid();
	int ends[2], r;

	/* Said here: the child ends before it has a log. */
	r = eg_capabilities_check(spawner_keeps, EG_ARRAY_SIZE(spawner_keeps),
				  "gateway and signer are started, and ended, under uids of their "
				  "own",
				  e);
	if (r)
		return r;
	snprintf(gateway, sizeof(gateway), "%u", gateway_uid);
	snprintf(signer, sizeof(signer), "%u", signer_uid);
	snprintf(lowest, sizeof(lowest), "%d", (int)level);
	r = eg_channel_pair(ends);
	if (r)
		return eg_error_set(e, r, "spawner: socketpair: %s", strerror(-r));
	s->pid = fork();
	if (s->pid < 0) {
		r = -errno;
		eg_fd_close(&ends[0]);
		eg_fd_close(&ends[1]);
		return eg_error_set(e, r, "spawner: fork: %s", strerror(-r));
	}
	if (!s->pid) {
		default_signals();
		if (arrange_fds(ends[1]) ||
		    eg_capabilities_keep(spawner_keeps, EG_ARRAY_SIZE(spawner_keeps), e) ||
		    eg_die_with_parent(parent))
			_exit(126);
		close_range(EG_CONTROL_FD + 1, ~0u, 0);
		(void)!eg_exec_role(argv); /* came back: it failed */
		_exit(127);
	}
	eg_fd_close(&ends[1]);
	s->fd = ends[0];
	s->serial = 0;
	return 0;
}

int eg_spawner_spawn(struct eg_spawner *s, enum eg_role role, int control, uint32_t *serial)
{
	struct eg_message m = {
		.type = EG_WIRE_SPAWN, .number = ++s->serial, .role = (uint32_t)role};

	*serial = s->serial;
	return eg_channel_send(s->fd, &m, &control, 1);
}

int eg_spawner_signal(struct eg_spawner *s, pid_t pid, int signal)
{
	struct eg_message m = {.type = EG_WIRE_SIGNAL, .pid = pid, .value = signal};

	return eg_channel_send(s->fd, &m, NULL, 0);
}

int eg_spawner_ping(struct eg_spawner *s, uint32_t number)
{
	struct eg_message m = {.type = EG_WIRE_PING, .number = number};

	return eg_channel_send(s->fd, &m, NULL, 0);
}

/* ---- the spawner's own half ---- */

struct spawner_process {
	uid_t uid[2]; /* gateway, signer */
	const char *level;
	pid_t child[CHILDREN];
};

/* In the child: an unprivileged uid with no way back, then the same binary anew. */
static int become(const struct spawner_process *p, enum eg_role role, int control, pid_t parent)
{
	const char *const argv[] = {
		"egretd", role == EG_ROLE_GATEWAY ? "role:gateway" : "role:signer", p->level, NULL};
	uid_t uid = p->uid[role == EG_ROLE_SIGNER];
	int r;

	default_signals();
	r = arrange_fds(control);
	if (r)
		return r;
	/* Groups first: without SETGID, which goes with the uid, they could not be left. */
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	if (getuid() != uid || geteuid() != uid || setuid(0) == 0)
		return -EPERM;
	r = eg_die_with_parent(parent);
	return r ? r : eg_exec_role(argv);
}

static void report(uint32_t type, uint32_t number, pid_t pid, int64_t value)
{
	struct eg_message m = {.type = type, .number = number, .pid = pid, .value = value};

	if (eg_channel_send(EG_CONTROL_FD, &m, NULL, 0))
		_exit(1); /* the supervisor is gone, and with us our children */
}

static void spawn(struct spawner_process *p, const struct eg_message *m, int control)
{
	pid_t parent = getpid(), pid = -1;
	int slot = -1, told = 0, pipes[2];

	for (int i = 0; i < CHILDREN; i++)
		if (!p->child[i])
			slot = i;
	if (slot < 0 || (m->role != EG_ROLE_GATEWAY && m->role != EG_ROLE_SIGNER) ||
	    pipe2(pipes, O_CLOEXEC) < 0) {
		report(EG_WIRE_SPAWNED, m->number, 0, -EAGAIN);
		return;
	}
	pid = fork();
	if (!pid) {
		told = become(p, (enum eg_role)m->role, control, parent);
		if (write(pipes[1], &told, sizeof(told)) < 0)
			_exit(126);
		_exit(127);
	}
	if (pid < 0)
		told = -errno;
	close(pipes[1]);
	/* Closed by a successful exec; else the child says why it could not. */
	if (pid > 0 && read(pipes[0], &told, sizeof(told)) != sizeof(told))
		told = 0;
	close(pipes[0]);
	if (pid > 0)
		p->child[slot] = pid;
	report(EG_WIRE_SPAWNED, m->number, pid > 0 ? pid : 0, told);
}

static bool ours(const struct spawner_process *p, pid_t pid)
{
	for (int i = 0; pid > 0 && i < CHILDREN; i++)
		if (p->child[i] == pid)
			return true;
	return false;
}

static void reap(struct spawner_process *p)
{
	int status;

	for (int i = 0; i < CHILDREN; i++) {
		pid_t pid = p->child[i];

		if (pid && waitpid(pid, &status, WNOHANG) == pid) {
			p->child[i] = 0;
			report(EG_WIRE_EXITED, 0, pid, status);
		}
	}
}

static int follow(struct spawner_process *p)
{
	struct eg_message m;
	int fds[EG_WIRE_FDS];
	int r;

	while ((r = eg_channel_receive(EG_CONTROL_FD, &m, fds)) == 1) {
		if (m.type == EG_WIRE_SPAWN)
			spawn(p, &m, fds[0]);
		else if (m.type == EG_WIRE_SIGNAL && ours(p, m.pid) && m.value > 0 &&
			 m.value < NSIG)
			(void)kill(m.pid, (int)m.value);
		else if (m.type == EG_WIRE_PING)
			report(EG_WIRE_PONG, m.number, 0, 0);
		eg_channel_close_fds(fds);
	}
	return r;
}

int eg_spawner_main(int argc, char **argv)
{
	struct spawner_process p = {.level = argc > 4 ? argv[4] : "1"};
	struct eg_error e = {""};
	struct pollfd watched[2] = {{.fd = EG_CONTROL_FD, .events = POLLIN}, {.events = POLLIN}};
	sigset_t mask;

	if (argc < 4)
		return 2;
	p.uid[0] = (uid_t)strtoul(argv[2], NULL, 10);
	p.uid[1] = (uid_t)strtoul(argv[3], NULL, 10);
	eg_log_init("spawner", (enum eg_log_level)atoi(p.level));
	if (!p.uid[0] || !p.uid[1] || eg_harden(&e) ||
	    eg_capabilities_keep(spawner_keeps, EG_ARRAY_SIZE(spawner_keeps), &e)) {
		eg_error("spawner: %s", *e.text ? e.text : "a child may not be uid 0");
		return 1;
	}
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigaddset(&mask, SIGINT); /* ^C goes to the whole group; the supervisor decides */
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGHUP); /* likewise of a terminal that closes, or of pkill */
	sigprocmask(SIG_BLOCK, &mask, NULL);
	watched[1].fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (watched[1].fd < 0)
		return 1;
	for (;;) {
		struct signalfd_siginfo info;

		if (poll(watched, 2, -1) < 0 && errno != EINTR)
			break;
		while (read(watched[1].fd, &info, sizeof(info)) == sizeof(info))
			;
		reap(&p);
		if (follow(&p) != -EAGAIN)
			break; /* the supervisor is gone */
	}
	for (int i = 0; i < CHILDREN; i++)
		if (p.child[i])
			(void)kill(p.child[i], SIGKILL);
	return 0;
}
