/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets: their bytes, their file, and that the kernel was told to keep them to itself. */
#include "base_test.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/secret.h"

#define PLANTED "sk-planted-4f1c"

static void bytes_and_counts(void **state)
{
	struct eg_secret *s = eg_secret_create(PLANTED, sizeof(PLANTED) - 1);

	assert_non_null(s);
	assert_str(eg_secret_bytes(s), PLANTED);
	assert_ptr_equal(eg_secret_ref(s), s);
	eg_secret_unref(s);
	assert_str(eg_secret_bytes(s), PLANTED);
	eg_secret_unref(s);
	eg_secret_unref(NULL);
	assert_null(eg_secret_create("", 0));
}

static void comparing(void **state)
{
	struct eg_secret *s = eg_secret_create(PLANTED, sizeof(PLANTED) - 1);

	assert_true(eg_secret_equal(s, PLANTED, sizeof(PLANTED) - 1));
	assert_false(eg_secret_equal(s, PLANTED, sizeof(PLANTED) - 2));
	assert_false(eg_secret_equal(s, PLANTED "x", sizeof(PLANTED)));
	assert_false(eg_secret_equal(s, "xk-planted-4f1c", sizeof(PLANTED) - 1));
	assert_false(eg_secret_equal(s, "sk-planted-4f1d", sizeof(PLANTED) - 1));
	eg_secret_unref(s);
}

static int file(const char *bytes, size_t n)
{
	int fd = memfd_create("secret", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	return fd;
}

static void from_a_file(void **state)
{
	static const struct {
		const char *text;
		int result;
		const char *secret;
	} rows[] = {
		{PLANTED, 0, PLANTED},
		{PLANTED "\n", 0, PLANTED},
		{PLANTED " \t\r\n\n", 0, PLANTED},
		{" a b ", 0, " a b"},
		{"", -ENODATA, NULL},
		{" \n\t\r", -ENODATA, NULL},
		{"1234567890123456789", 0, "1234567890123456789"},
		{"12345678901234567890", 0, "12345678901234567890"},
		{"123456789012345678901", -EFBIG, NULL},
		{"12345678901234567890\r\n", 0, "12345678901234567890"},
		{"                     ", -ENODATA, NULL},
		{"12345678901234567890"
		 "                                "
		 "                                ",
		 -EFBIG, NULL}, /* more than EG_SECRET_TAIL of it */
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		int fd = file(rows[i].text, strlen(rows[i].text));
		struct eg_secret *s = NULL;

		for (int again = 0; again < 2;
		     again++) { /* the descriptor's place does not matter */
			s = NULL;
			assert_int_equal(eg_secret_read_fd(fd, 20, &s), rows[i].result);
			if (rows[i].result) {
				assert_null(s);
				continue;
			}
			assert_true(eg_str_eq(eg_secret_bytes(s), eg_str_from(rows[i].secret)));
			eg_secret_unref(s);
		}
		close(fd);
	}
	struct eg_secret *s = NULL;

	assert_int_equal(eg_secret_read_fd(-1, 20, &s), -EBADF);
	assert_null(s);
}

/* The flags of the mapping that holds p: VmFlags of /proc/self/smaps. */
static bool mapping_has(const void *p, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512];
	bool inside = false, has = false;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		uintptr_t from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = (uintptr_t)p >= from && (uintptr_t)p < to;
		else if (inside && !strncmp(line, "VmFlags:", 8))
			has = strstr(line, flag) != NULL;
	}
	fclose(f);
	return has;
}

static void kept_by_the_kernel(void **state)
{
	struct eg_secret *s = eg_secret_create(PLANTED, sizeof(PLANTED) - 1);
	const char *p = eg_secret_bytes(s).p;
	int status;
	pid_t pid;

	assert_true(mapping_has(p, " dd")); /* not in a core dump */
	assert_true(mapping_has(p, " wf")); /* wiped in a child */
	pid = fork();
	if (!pid) {
		bool clean = true;

		for (size_t i = 0; i < sizeof(PLANTED) - 1; i++)
			clean &= !((const volatile char *)p)[i];
		_exit(!clean);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_str(eg_secret_bytes(s), PLANTED);
	eg_secret_unref(s);
}

/* Against memmem(), few letters, so that much of it nearly matches. */
static void searching(void **state)
{
	static const size_t lengths[] = {1, 2, 3, 7, 16, 51, 164, 250, 251, 260, 1000};
	size_t found = 0, missed = 0;

	srand(1);
	for (size_t round = 0; round < 30000; round++) {
		size_t n = lengths[(size_t)rand() % EG_ARRAY_SIZE(lengths)];
		size_t room = (size_t)rand() % 1500;
		int letters = 1 + rand() % 4;
		char key[1000], *text = malloc(room + 1); /* its own size: ASan sees what is read */
		struct eg_secret *s;
		bool is;

		assert_non_null(text);
		for (size_t i = 0; i < n; i++)
			key[i] = (char)('a' + rand() % letters);
		for (size_t i = 0; i < room; i++)
			text[i] = (char)('a' + rand() % letters);
		if (room >= n && rand() % 2)
			memcpy(text + (size_t)rand() % (room - n + 1), key, n);
		if (room && rand() % 4 == 0)
			text[(size_t)rand() % room] = 'z';
		s = eg_secret_create(key, n);
		assert_non_null(s);
		is = memmem(text, room, key, n) != NULL;
		assert_int_equal(eg_secret_in(s, (struct eg_str){text, room}), is);
		found += is;
		missed += !is;
		eg_secret_unref(s);
		free(text);
	}
	assert_true(found > 5000 && missed > 5000);
	(void)state;
}

static void wiping(void **state)
{
	char bytes[32];

	memset(bytes, 'x', sizeof(bytes));
	eg_wipe(bytes + 8, 16);
	for (size_t i = 0; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], i >= 8 && i < 24 ? 0 : 'x');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_and_counts), cmocka_unit_test(comparing),
		cmocka_unit_test(from_a_file),	    cmocka_unit_test(kept_by_the_kernel),
		cmocka_unit_test(wiping),	    cmocka_unit_test(searching),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
