/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over kept inputs, with any compiler:
 *   replay_<name> FILE|DIR...
 * One process for each input, so that a crash is one failure and names its file. The last line is
 * `N passed, N failed`.
 */
#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

static unsigned int passed, failed;

static int run_file(const char *path)
{
	struct stat st;
	uint8_t *data;
	size_t n;
	FILE *f = fopen(path, "rb");

	if (!f || fstat(fileno(f), &st)) {
		perror(path);
		return 1;
	}
	data = malloc(st.st_size ? (size_t)st.st_size : 1);
	if (!data)
		abort();
	n = fread(data, 1, (size_t)st.st_size, f);
	fclose(f);
	LLVMFuzzerTestOneInput(data, n);
	free(data);
	return 0;
}

static void replay(const char *path)
{
	int status = -1;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid)
		exit(run_file(path)); /* exit handlers: a leak is a failure too */
	if (pid > 0 && waitpid(pid, &status, 0) == pid && !status) {
		passed++;
		return;
	}
	failed++;
	printf("FAIL %s (%s %d)\n", path, WIFSIGNALED(status) ? "signal" : "status",
	       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void replay_all(const char *path)
{
	struct dirent **names = NULL;
	struct stat st;
	int n;

	if (stat(path, &st)) {
		perror(path);
		failed++;
		return;
	}
	if (!S_ISDIR(st.st_mode)) {
		replay(path);
		return;
	}
	n = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		char file[4096];

		if (names[i]->d_name[0] != '.' && snprintf(file, sizeof(file), "%s/%s", path,
							   names[i]->d_name) < (int)sizeof(file))
			replay_all(file);
		free(names[i]);
	}
	free(names);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		replay_all(argv[i]);
	if (!passed && !failed) {
		printf("FAIL no input was given or found\n");
		failed = 1;
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
