/* SPDX-License-Identifier: Apache-2.0 */
#include "egretctl/ask.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "egret/abi/maps.h"

#define ANSWER_BYTES ((size_t)16 << 20)
#define OWN_FLAGS    8u

int ask_connect(const char *run_dir, struct eg_error *e)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 5};
	EG_CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/egretd.sock", run_dir);

	if (fd < 0)
		return eg_error_set(e, -errno, "socket: %s", strerror(errno));
	if (n < 0 || (size_t)n >= sizeof(a.sun_path))
		return eg_error_set(e, -ENAMETOOLONG, "--run-dir %s: too long", run_dir);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
		return eg_error_set(e, -errno, "%s: %s", a.sun_path,
				    errno == ENOENT || errno == ECONNREFUSED ? "no agent runs there"
									     : strerror(errno));
	return eg_fd_take(&fd);
}

json_t *ask_agent(const char *run_dir, const char *command, int *code, struct eg_error *e)
{
	EG_CLEANUP_FD int fd = ask_connect(run_dir, e);
	struct eg_buf in;
	char request[64];
	json_t *answer = NULL;
	json_error_t why;
	ssize_t n;

	*code = fd < 0 ? fd : 0;
	if (fd < 0)
		return NULL;
	snprintf(request, sizeof(request), "{\"command\":\"%s\"}\n", command);
	eg_buf_init(&in, ANSWER_BYTES);
	n = send(fd, request, strlen(request), MSG_NOSIGNAL);
	while (n > 0) {
		size_t room;
		char *to = eg_buf_reserve(&in, 65536, &room);

		n = to ? recv(fd, to, room, 0) : -1;
		if (n > 0)
			eg_buf_commit(&in, (size_t)n);
	}
	if (n < 0)
		*code = eg_error_set(e, -errno, "%s: the agent does not answer: %s", run_dir,
				     strerror(errno));
	else if (!(answer = json_loadb(in.p ? eg_buf_data(&in) : "", in.length, 0, &why)))
		*code = eg_error_set(e, -EPROTO, "%s: the agent's answer is not JSON: %s", run_dir,
				     why.text);
	eg_buf_fini(&in);
	if (answer && json_object_get(answer, "error")) {
		*code = eg_error_set(e, -EINVAL, "%s",
				     json_string_value(json_object_get(answer, "error")));
		json_decref(answer);
		answer = NULL;
	}
	return answer;
}

const char *ask_pin_dir(const char *given, const char *run_dir, char *out, size_t size)
{
	char path[4096];
	FILE *f;

	snprintf(out, size, "%s", given ? given : EG_PIN_DIR);
	if (given)
		return out;
	snprintf(path, sizeof(path), "%s/pin-dir", run_dir);
	f = fopen(path, "re");
	if (!f)
		return out;
	if (fgets(path, sizeof(path), f)) {
		path[strcspn(path, "\n")] = '\0';
		if (*path == '/')
			snprintf(out, size, "%s", path);
	}
	fclose(f);
	return out;
}

int ask_parse(int argc, char **argv, const char *usage, const char *const *own, bool *own_set,
	      struct ask_options *out)
{
	struct option known[OWN_FLAGS + 5] = {
		{"run-dir", required_argument, NULL, 'r'},
		{"pin-dir", required_argument, NULL, 'p'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
	};
	char with_value[32];
	int id;

	for (size_t i = 0; own && own[i] && i < OWN_FLAGS; i++) {
		size_t n = strlen(own[i]);
		bool takes = own[i][n - 1] == '=';

		if (takes)
			eg_str_copy(with_value, sizeof(with_value), (struct eg_str){own[i], n - 1});
		known[4 + i] = (struct option){takes ? with_value : own[i],
					       takes ? required_argument : no_argument, NULL,
					       (int)(256 + i)};
	}
	*out = (struct ask_options){.run_dir = ASK_RUN_DIR};
	opterr = 0;
	while ((id = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		if (id == 'r')
			out->run_dir = optarg;
		else if (id == 'p')
			out->pin_dir = optarg;
		else if (id == 'j')
			out->json = true;
		else if (id == 'h')
			return fputs(usage, stdout) < 0 ? EG_EXIT_USAGE : EG_EXIT_OK;
		else if (id >= 256 && own_set) {
			own_set[id - 256] = true;
			if (optarg)
				out->value = optarg;
		} else
			return eg_bad_option(argv[0], argv);
	}
	if (optind < argc)
		return eg_usage_error(argv[0], "'%s': no argument was expected", argv[optind]);
	return -1;
}
