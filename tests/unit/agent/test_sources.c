/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's directories: read whole, in one generation, and watched. */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/sources.h"
#include "agent/watch.h"

static char dir[64];

static int set_up(void **state)
{
	strcpy(dir, "/tmp/eg-sources-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static const char *in(const char *name)
{
	static char path[2][128];
	static int turn;

	turn ^= 1;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
	return path[turn];
}

static void put(const char *name, const char *text)
{
	FILE *f = fopen(in(name), "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	fclose(f);
}

static void test_reads_json_in_order(void **state)
{
	struct eg_source s;
	struct eg_error e;

	put("20-b.json", "B");
	put("10-a.json", "A");
	put(".hidden.json", "x");
	put("notes.txt", "x");
	put(".json", "x");
	assert_int_equal(eg_source_read(dir, &s, &e), 0);
	assert_int_equal(s.count, 2);
	assert_true(eg_str_eq(s.files[0].name, EG_STR("10-a.json")));
	assert_true(eg_str_eq(s.files[1].text, EG_STR("B")));
	eg_source_fini(&s);
}

static void test_volume(void **state)
{
	struct eg_source one, two;
	struct eg_error e;

	assert_int_equal(mkdir(in("..1"), 0755) | mkdir(in("..2"), 0755), 0);
	put("..1/p.json", "one");
	put("..2/p.json", "two");
	assert_int_equal(symlink("..1", in("..data")), 0);
	assert_int_equal(symlink("..data/p.json", in("p.json")), 0);
	assert_int_equal(eg_source_read(dir, &one, &e), 0);
	assert_int_equal(one.count, 1);
	assert_true(eg_str_eq(one.files[0].text, EG_STR("one")));
	assert_int_equal(symlink("..2", in("..tmp")), 0);
	assert_int_equal(rename(in("..tmp"), in("..data")), 0);
	assert_int_equal(eg_source_read(dir, &two, &e), 0);
	assert_true(eg_str_eq(two.files[0].text, EG_STR("two")));
	assert_false(eg_source_equal(&one, &two));
	assert_true(eg_source_equal(&one, &one));
	eg_source_fini(&one);
	eg_source_fini(&two);
}

#define PARTS 40

/* As the kubelet does it: the next generation, the swap, and then the former one goes, file by
 * file. */
static void write_generation(unsigned int n)
{
	char name[64], text[32];

	snprintf(name, sizeof(name), "..%u", n);
	assert_int_equal(mkdir(in(name), 0755), 0);
	snprintf(text, sizeof(text), "%u", n);
	for (int i = 0; i < PARTS; i++) {
		snprintf(name, sizeof(name), "..%u/%02d.json", n, i);
		put(name, text);
	}
	snprintf(name, sizeof(name), "..%u", n);
	assert_int_equal(symlink(name, in("..data_tmp")), 0);
	assert_int_equal(rename(in("..data_tmp"), in("..data")), 0);
}

static void remove_generation(unsigned int n)
{
	char name[64];

	for (int i = 0; i < PARTS; i++) {
		snprintf(name, sizeof(name), "..%u/%02d.json", n, i);
		assert_int_equal(unlink(in(name)), 0);
	}
	snprintf(name, sizeof(name), "..%u", n);
	assert_int_equal(rmdir(in(name)), 0);
}

/* Swaps until it is killed. */
static pid_t swap_for_ever(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned int n = 1; !pid; n++) {
		write_generation(n + 1);
		remove_generation(n);
	}
	return pid;
}

static bool of_one_generation(const struct eg_source *s)
{
	for (size_t i = 1; i < s->count; i++)
		if (!eg_str_eq(s->files[i].text, s->files[0].text))
			return false;
	return s->count == PARTS;
}

/* Never a part of a generation, which would be a policy that nobody wrote. */
static void test_volume_that_is_swapped(void **state)
{
	int status, whole = 0;
	char wrong[600] = "";
	pid_t pid;

	write_generation(1);
	pid = swap_for_ever();
	for (int i = 0; i < 3000 && !*wrong; i++) {
		struct eg_error e = {""};
		struct eg_source s;
		int r = eg_source_read(dir, &s, &e);

		if (r == -EAGAIN) /* no generation stayed long enough: said, and nothing is taken */
			continue;
		if (r) {
			snprintf(wrong, sizeof(wrong), "read %d: %s", i, e.text);
			break;
		}
		if (!of_one_generation(&s))
			snprintf(wrong, sizeof(wrong),
				 "read %d: %zu files of %d, or of two generations", i, s.count,
				 PARTS);
		eg_source_fini(&s);
		whole++;
	}
	/* Before anything is judged: it must not write on where all is removed. */
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_string_equal(wrong, "");
	assert_true(whole > 0);
	assert_true(WIFSIGNALED(status)); /* and it has swapped to the end */
}

/* For a moment, when a generation is removed while its link is followed: not a directory without
 * policies, and not the links beside it, each read of another generation. */
static void test_volume_that_leads_nowhere(void **state)
{
	struct eg_error e = {""};
	struct eg_source s;

	assert_int_equal(symlink("..gone", in("..data")), 0);
	put("beside.json", "1");
	assert_int_equal(eg_source_read(dir, &s, &e), -EAGAIN);
	assert_non_null(strstr(e.text, "..data"));
	assert_int_equal(unlink(in("..data")), 0);
	assert_int_equal(eg_source_read(dir, &s, &e), 0);
	assert_int_equal(s.count, 1);
	eg_source_fini(&s);
}

static void test_trouble_is_named(void **state)
{
	struct eg_source s;
	struct eg_error e;

	assert_int_equal(eg_source_read(in("absent"), &s, &e), -ENOENT);
	assert_non_null(strstr(e.text, "absent"));
	assert_int_equal(mkdir(in("dir.json"), 0755), 0);
	assert_int_equal(eg_source_read(dir, &s, &e), -EINVAL);
	assert_non_null(strstr(e.text, "dir.json: a directory; expected a regular file"));
	assert_int_equal(rmdir(in("dir.json")), 0);
	assert_int_equal(mkfifo(in("pipe.json"), 0600), 0); /* must not block */
	assert_int_equal(eg_source_read(dir, &s, &e), -EINVAL);
	assert_non_null(strstr(e.text, "pipe.json: a named pipe; expected a regular file"));
	assert_int_equal(unlink(in("pipe.json")), 0);
	assert_int_equal(symlink("/dev/null", in("out.json")), 0);
	assert_true(eg_source_read(dir, &s, &e) < 0);
	assert_non_null(strstr(e.text, "out.json: leads out of the directory; expected a file in"));
	assert_int_equal(unlink(in("out.json")), 0);
	assert_int_equal(symlink("nothing", in("to.json")), 0);
	assert_true(eg_source_read(dir, &s, &e) < 0);
	assert_non_null(strstr(e.text, "to.json: a link to nothing; expected a regular file"));
	assert_int_equal(unlink(in("to.json")), 0);
	put("big.json", "x");
	assert_int_equal(truncate(in("big.json"), (off_t)EG_POLICY_MAX_FILE_BYTES + 1), 0);
	assert_int_equal(eg_source_read(dir, &s, &e), -EFBIG);
	assert_non_null(strstr(e.text, "big.json: has 8388609 bytes; expected at most 8388608"));
	assert_int_equal(truncate(in("big.json"), (off_t)EG_POLICY_MAX_FILE_BYTES), 0);
	put("big2.json", "x");
	assert_int_equal(truncate(in("big2.json"), (off_t)EG_POLICY_MAX_FILE_BYTES), 0);
	put("last.json", "x");
	assert_int_equal(eg_source_read(dir, &s, &e), -EFBIG);
	assert_non_null(strstr(e.text, "last.json: with it the files have more than 16777216"));
	assert_int_equal(unlink(in("big2.json")) | unlink(in("last.json")), 0);
	/* nothing there is no error: the policy room judges an empty set */
	assert_int_equal(unlink(in("big.json")), 0);
	assert_int_equal(eg_source_read(dir, &s, &e), 0);
	assert_int_equal(s.count, 0);
	eg_source_fini(&s);
}

static void test_never_leaves_the_directory(void **state)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct eg_error e;
	char *bytes;
	size_t n;

	assert_int_equal(symlink("/etc/passwd", in("out")), 0);
	assert_true(eg_file_read(fd, "out", 1 << 20, &bytes, &n, &e) < 0);
	assert_true(eg_file_read(fd, "../../etc/passwd", 1 << 20, &bytes, &n, &e) < 0);
	assert_true(eg_file_read(fd, "/etc/passwd", 1 << 20, &bytes, &n, &e) < 0);
	put("ca.pem", "pem");
	assert_int_equal(eg_file_read(fd, "ca.pem", 1 << 20, &bytes, &n, &e), 0);
	assert_int_equal(n, 3);
	assert_string_equal(bytes, "pem");
	free(bytes);
	close(fd);
}

static void test_marks(void **state)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct eg_file_mark before, after, absent;

	eg_file_mark(fd, "key", &absent);
	assert_int_equal(absent.inode, 0);
	put("key", "one");
	eg_file_mark(fd, "key", &before);
	assert_false(eg_file_mark_equal(&absent, &before));
	eg_file_mark(fd, "key", &after);
	assert_true(eg_file_mark_equal(&before, &after));
	put("new", "two"); /* of the same size, and renamed over it */
	assert_int_equal(rename(in("new"), in("key")), 0);
	eg_file_mark(fd, "key", &after);
	assert_false(eg_file_mark_equal(&before, &after));
	eg_file_mark(fd, "key", &before);
	assert_int_equal(chmod(in("key"), 0644 ^ (after.mode & 0777)), 0);
	eg_file_mark(fd, "key", &after);
	assert_false(eg_file_mark_equal(&before, &after));
	close(fd);
}

static int changes;

static void count_change(struct eg_dir_watch *w)
{
	changes++;
}

static void turn_until(struct eg_loop *l, int want)
{
	for (int i = 0; i < 200 && changes < want; i++)
		assert_int_equal(eg_loop_turn(l, 20), 0);
	assert_int_equal(changes, want);
}

static void test_watch(void **state)
{
	struct eg_loop *l = eg_loop_create();
	struct eg_dir_watch w;
	struct eg_error e;

	changes = 0;
	assert_int_equal(eg_dir_watch_open(&w, l, 30, count_change, &e), 0);
	assert_true(eg_dir_watch_add(&w, in("absent")) < 0);
	assert_int_equal(eg_dir_watch_add(&w, dir), 0);
	for (int i = 0; i < 10; i++)
		put("burst.json", "x"); /* many events, one call */
	turn_until(l, 1);
	assert_int_equal(rename(in("burst.json"), in("other.json")), 0);
	turn_until(l, 2);
	assert_int_equal(unlink(in("other.json")), 0);
	turn_until(l, 3);
	assert_int_equal(symlink("x", in("..data")), 0);
	turn_until(l, 4);
	eg_dir_watch_close(&w);
	eg_dir_watch_close(&w); /* harmless */
	eg_loop_destroy(l);
}

/* 0 in a user namespace of the caller's own, and nowhere else. */
static bool limit_to_none(const char *file)
{
	FILE *f;
	bool done;

	if (unshare(CLONE_NEWUSER))
		return false;
	f = fopen(file, "w");
	done = f && fputs("0", f) >= 0;
	return f && !fclose(f) && done;
}

/* A limit of the user's is not said as one of open files. */
static void test_limits_are_named(void **state)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		struct eg_loop *l = eg_loop_create();
		struct eg_dir_watch w;
		struct eg_error e = {""};

		if (!limit_to_none("/proc/sys/user/max_inotify_instances"))
			_exit(2);
		if (eg_dir_watch_open(&w, l, 30, count_change, &e) != -EMFILE)
			_exit(3);
		_exit(!strstr(e.text, "raise the sysctl fs.inotify.max_user_instances"));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WEXITSTATUS(status) == 2)
		skip(); /* no user namespaces here */
	assert_int_equal(status, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_reads_json_in_order),
		TEST(test_volume),
		TEST(test_volume_that_is_swapped),
		TEST(test_volume_that_leads_nowhere),
		TEST(test_trouble_is_named),
		TEST(test_never_leaves_the_directory),
		TEST(test_marks),
		TEST(test_watch),
		TEST(test_limits_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
