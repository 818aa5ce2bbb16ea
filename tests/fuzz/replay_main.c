/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over kept inputs, with any compiler:
 *   replay_<name> [--cuts] FILE|DIR...
 * With --cuts each input goes in whole and in two pieces, cut at every byte, and with each byte
 * alone: targets that take pieces check that nothing depends on that. A long input is cut at every
 * byte of its beginning and at some behind that, the same ones each time.
 * Many inputs a process, since under a sanitizer a process is dear; when one of them fails, each
 * again in a process of its own, so that a crash is one failure and names its file. The last line
 * is `N passed, N failed`.
 */
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

#define AT_ONCE 64
/* Every byte up to here, as far as any head goes; then this many places, and every byte of the end.
 */
#define CUTS_EACH  2048u
#define CUTS_APART 64u

static unsigned int passed, failed;
static bool cuts;
static size_t *made; /* pieces that inputs were taken in, over all processes */
static char **paths;
static size_t path_count;

/* An abort says where it was cut. */
static void say_cut(int number)
{
	char text[64];
	int n = snprintf(text, sizeof(text),
			 fuzz_cut == FUZZ_CUT_ALONE ? "each byte alone\n"
						    : "cut %zu bytes before the end\n",
			 fuzz_cut);

	(void)!write(STDERR_FILENO, text, (size_t)n);
	signal(number, SIG_DFL);
	raise(number);
}

static void run_cut(const uint8_t *data, size_t n)
{
	size_t step = n / CUTS_APART + 1;

	signal(SIGABRT, say_cut);
	for (size_t at = 1; at < n;
	     at += at < CUTS_EACH || n - at <= CUTS_APART ? 1 : EG_MIN(step, n - at - CUTS_APART)) {
		fuzz_cut = n - at;
		LLVMFuzzerTestOneInput(data, n);
	}
	fuzz_cut = FUZZ_CUT_ALONE;
	LLVMFuzzerTestOneInput(data, n);
}

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
	if (cuts)
		run_cut(data, n);
	else
		LLVMFuzzerTestOneInput(data, n);
	free(data);
	return 0;
}

/* The status of a process that runs these, as waitpid() has it. */
static int run(char *const *path, size_t n)
{
	int status = -1, r = 0;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		for (size_t i = 0; i < n; i++)
			r |= run_file(path[i]);
		*made += fuzz_cuts_made;
		exit(r); /* exit handlers: a leak is a failure too */
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

static void replay(char *const *path, size_t n)
{
	bool together = n > 1 && !run(path, n);

	for (size_t i = 0; i < n; i++) {
		int status = together ? 0 : run(&path[i], 1);

		if (!status) {
			passed++;
			continue;
		}
		failed++;
		printf("FAIL %s (%s %d)\n", path[i], WIFSIGNALED(status) ? "signal" : "status",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	}
}

static void add(const char *path)
{
	char **grown = realloc(paths, (path_count + 1) * sizeof(*paths));

	if (!grown || !(grown[path_count] = strdup(path)))
		abort();
	paths = grown;
	path_count++;
}

static void find(const char *path)
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
		add(path);
		return;
	}
	n = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		char file[4096];

		if (names[i]->d_name[0] != '.' && snprintf(file, sizeof(file), "%s/%s", path,
							   names[i]->d_name) < (int)sizeof(file))
			find(file);
		free(names[i]);
	}
	free(names);
}

int main(int argc, char **argv)
{
	made = mmap(NULL, sizeof(*made), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (made == MAP_FAILED)
		abort();
	cuts = argc > 1 && !strcmp(argv[1], "--cuts");
	for (int i = cuts ? 2 : 1; i < argc; i++)
		find(argv[i]);
	for (size_t i = 0; i < path_count; i += AT_ONCE)
		replay(paths + i, path_count - i < AT_ONCE ? path_count - i : AT_ONCE);
	for (size_t i = 0; i < path_count; i++)
		free(paths[i]);
	free(paths);
	if (!passed && !failed) {
		printf("FAIL no input was given or found\n");
		failed = 1;
	}
	if (cuts && !*made) {
		printf("FAIL the target takes no pieces\n");
		failed++;
	}
	if (cuts)
		printf("%zu pieces\n", *made);
	printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
