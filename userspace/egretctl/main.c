/* SPDX-License-Identifier: Apache-2.0 */
#include "egretctl/command.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/standard.h"

/* A command whose file is not part of this build is not listed and not known. */
#pragma weak eg_cmd_ca
#pragma weak eg_cmd_status
#pragma weak eg_cmd_pods
#pragma weak eg_cmd_flows
#pragma weak eg_cmd_inventory
#pragma weak eg_cmd_doctor
#pragma weak eg_cmd_gateway
#pragma weak eg_cmd_trace

struct command {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
	{"check", "check policy files: every error with file, line and JSON path", eg_cmd_check},
	{"explain", "why a request would be allowed or denied; sends nothing", eg_cmd_explain},
	{"status", "the agent at a glance", eg_cmd_status},
	{"pods", "pods of this node, their addresses and policy", eg_cmd_pods},
	{"flows", "flows in the kernel and what was decided of them", eg_cmd_flows},
	{"trace", "requests as they come, or of an access log: each with all decisions",
	 eg_cmd_trace},
	{"inventory", "which pods talk to which AI providers (egretd --observe)", eg_cmd_inventory},
	{"gateway", "replace the gateway process; no request fails", eg_cmd_gateway},
	{"doctor", "test what this node needs, and say what is missing", eg_cmd_doctor},
	{"ca", "create and inspect the certificate authority", eg_cmd_ca},
};

/* A shell's <(command) is a pipe with somebody at its other end; a pipe in the file system, which
 * may have nobody there, would be waited for without end. */
static bool shells_pipe(const char *path)
{
	return !strncmp(path, "/dev/fd/", 8) || !strncmp(path, "/proc/", 6);
}

static int open_to_read(const char *path, struct eg_error *e)
{
	EG_CLEANUP_FD int fd =
		strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : dup(0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return eg_error_set(e, -errno, "%s: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return eg_error_set(e, -EISDIR, "%s: a directory; expected a file", path);
	if (!strcmp(path, "-"))
		return eg_fd_take(&fd);
	if (S_ISFIFO(st.st_mode) && !shells_pipe(path))
		return eg_error_set(e, -EINVAL, "%s: a named pipe; expected a file, or \"-\"",
				    path);
	if (fcntl(fd, F_SETFL, 0) < 0)
		return eg_error_set(e, -errno, "%s: %s", path, strerror(errno));
	return eg_fd_take(&fd);
}

int eg_read_file(const char *path, size_t max_bytes, struct eg_str *out, struct eg_error *e)
{
	EG_CLEANUP_FD int fd = open_to_read(path, e);
	size_t n = 0;
	char *p;

	if (fd < 0)
		return fd;
	p = malloc(max_bytes + 2);
	if (!p)
		return eg_error_set(e, -ENOMEM, "%s: out of memory", path);
	while (n <= max_bytes) {
		ssize_t got = read(fd, p + n, max_bytes + 1 - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			int code = -errno;

			free(p);
			return eg_error_set(e, code, "%s: %s", path, strerror(-code));
		}
		if (!got)
			break;
		n += (size_t)got;
	}
	if (n > max_bytes) {
		free(p);
		return eg_error_set(e, -EFBIG, "%s: larger than %zu bytes", path, max_bytes);
	}
	p[n] = '\0';
	*out = (struct eg_str){p, n};
	return 0;
}

int eg_print(const struct eg_buf *b)
{
	struct eg_str s = eg_buf_str(b);

	if ((s.n && fwrite(s.p, 1, s.n, stdout) != s.n) || fflush(stdout) != 0) {
		eg_complain("", "stdout: %s", strerror(errno));
		return EG_EXIT_USAGE;
	}
	return EG_EXIT_OK;
}

/* What was printed may still lie in stdout's buffer: an answer that nobody got is no success. */
static int printed(int code)
{
	if (code == EG_EXIT_USAGE)
		return code;
	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return code;
	eg_complain("", "stdout: %s", errno ? strerror(errno) : "not all could be written");
	return EG_EXIT_USAGE;
}

static void help(FILE *to)
{
	fprintf(to, "Usage: egretctl COMMAND [OPTION...]\n\nCommands:\n");
	for (size_t i = 0; i < EG_ARRAY_SIZE(commands); i++)
		if (commands[i].run)
			fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].summary);
	fprintf(to, "\n`egretctl COMMAND --help` says more; every command takes --json.\n"
		    "Exit codes: 0 yes (valid, allowed, healthy); 1 no; 2 wrong arguments, or\n"
		    "something named could not be read.\n");
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	eg_standard_complete();
	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		help(stdout);
		return printed(EG_EXIT_OK);
	}
	if (!strcmp(name, "--version")) {
		printf("egretctl %s\n", EG_VERSION);
		return printed(EG_EXIT_OK);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(commands); i++)
		if (commands[i].run && !strcmp(name, commands[i].name)) {
			optind = 0; /* glibc: scan the command's own argv from its start */
			return printed(commands[i].run(argc - 1, argv + 1));
		}
	if (!*name)
		help(stderr);
	else
		eg_usage_error("", "'%s' is not a command", name);
	return EG_EXIT_USAGE;
}
