/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "credential/credential.h"

static char dir[64];
static int dir_fd = -1;

static int set_up(void **state)
{
	strcpy(dir, "/tmp/eg-credential-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir_fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"key",	  "link",   "out",  "abs",
					    "..data/key", "..data", "fifo", "sub"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++) {
		(void)!unlinkat(dir_fd, names[i], 0);
		(void)!unlinkat(dir_fd, names[i], AT_REMOVEDIR);
	}
	eg_fd_close(&dir_fd);
	return rmdir(dir);
}

static void put(const char *name, const void *bytes, size_t n)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), (ssize_t)n);
	close(fd);
}

static struct eg_credential_spec spec_of(const char *file)
{
	return (struct eg_credential_spec){.name = "c", .type = EG_CREDENTIAL_BEARER, .file = file};
}

static int seal(const char *file, struct eg_error *e)
{
	struct eg_credential_spec spec = spec_of(file);
	int fd = -1, r = eg_credential_seal(dir_fd, &spec, &fd, e);

	assert_int_equal(r == 0, fd >= 0);
	return r ? r : fd;
}

static void sealed_memfd(void **state)
{
	struct eg_error e = {0};
	char got[16];
	int fd;

	put("key", "sk-secret\n", 10);
	fd = seal("key", &e);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, got, sizeof(got), 0), 9);
	assert_memory_equal(got, "sk-secret", 9);
	/* Nobody can change it any more, and no child gets it by accident. */
	assert_int_equal(fcntl(fd, F_GET_SEALS),
			 F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	assert_int_equal(pwrite(fd, "x", 1, 0), -1);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}

static void what_is_not_sealed(void **state)
{
	char big[EG_CREDENTIAL_MAX_BYTES + 2];
	struct eg_credential_spec none = {.name = "n", .type = EG_CREDENTIAL_NONE};
	struct eg_error e = {0};
	int fd = 7;

	assert_int_equal(seal("key", &e), -ENOENT);
	assert_non_null(strstr(e.text, "credential \"c\": key: No such file"));
	put("key", "", 0);
	assert_int_equal(seal("key", &e), -ENODATA);
	assert_non_null(strstr(e.text, "empty"));
	put("key", " \n\t\r\n", 5);
	assert_int_equal(seal("key", &e), -ENODATA);
	put("key", "a\r\nX-Evil: 1", 12);
	assert_int_equal(seal("key", &e), -EINVAL);
	assert_null(strstr(e.text, "Evil"));
	put("key", "a b", 3);
	assert_int_equal(seal("key", &e), -EINVAL);
	put("key", "a\0b", 3);
	assert_int_equal(seal("key", &e), -EINVAL);
	put("key", "\xc3\xa9", 2);
	assert_int_equal(seal("key", &e), -EINVAL);
	memset(big, 'k', sizeof(big));
	put("key", big, sizeof(big));
	assert_int_equal(seal("key", &e), -EFBIG);
	assert_int_equal(mkdirat(dir_fd, "sub", 0700), 0);
	assert_int_equal(seal("sub", &e), -EISDIR);
	assert_int_equal(mkfifoat(dir_fd, "fifo", 0600), 0);
	assert_int_equal(seal("fifo", &e), -EINVAL);
	assert_int_equal(eg_credential_seal(dir_fd, &none, &fd, &e), 0);
	assert_int_equal(fd, -1);
}

static void the_directory_is_never_left(void **state)
{
	struct eg_error e = {0};
	int fd;

	assert_int_equal(seal("../../etc/hostname", &e), -EXDEV);
	assert_int_equal(seal("/etc/hostname", &e), -EXDEV);
	assert_int_equal(symlinkat("/etc/hostname", dir_fd, "abs"), 0);
	assert_int_equal(seal("abs", &e), -EXDEV);
	assert_non_null(strstr(e.text, "leads out of the credentials directory"));
	assert_int_equal(symlinkat("../../etc/hostname", dir_fd, "out"), 0);
	assert_int_equal(seal("out", &e), -EXDEV);
	/* As Kubernetes lays it out: key -> ..data/key. */
	assert_int_equal(mkdirat(dir_fd, "..data", 0700), 0);
	put("..data/key", "k1", 2);
	assert_int_equal(symlinkat("..data/key", dir_fd, "link"), 0);
	fd = seal("link", &e);
	assert_true(fd >= 0);
	close(fd);
}

static int memfd_of(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	return fd;
}

static void sets(void **state)
{
	int fds[4] = {memfd_of("k0"), -1, memfd_of(""), memfd_of("k\n3")};
	struct eg_credential_set *s;
	const struct eg_secret *secret;
	const char *why = "untouched";

	assert_int_equal(eg_credential_set_create(fds, 4, &s), 0);
	for (size_t i = 0; i < 4; i++)
		eg_fd_close(&fds[i]); /* the set keeps none of them */
	secret = eg_credential_set_get(s, 0, &why);
	assert_non_null(secret);
	assert_true(eg_secret_equal(secret, "k0", 2));
	assert_null(why);
	assert_null(eg_credential_set_get(s, 1, &why));
	assert_non_null(strstr(why, "missing"));
	assert_null(eg_credential_set_get(s, 2, &why));
	assert_non_null(strstr(why, "empty"));
	assert_null(eg_credential_set_get(s, 3, &why));
	assert_non_null(strstr(why, "no header may have"));
	assert_null(eg_credential_set_get(s, 4, &why));
	assert_non_null(strstr(why, "not in this set"));
	assert_null(eg_credential_set_get(s, SIZE_MAX, NULL));
	assert_ptr_equal(eg_credential_set_ref(s), s);
	eg_credential_set_unref(s);
	assert_non_null(eg_credential_set_get(s, 0, NULL));
	eg_credential_set_unref(s);
	eg_credential_set_unref(NULL);
	assert_int_equal(eg_credential_set_create(NULL, 0, &s), 0);
	eg_credential_set_unref(s);
}

/* What the file does not give for a moment, the set before still has; nothing else is touched. */
static void kept(void **state)
{
	int first_fds[3] = {memfd_of("old"), memfd_of("other"), -1};
	int second_fds[3] = {-1, -1, memfd_of("new")};
	struct eg_credential_set *first, *second;
	const char *why = "untouched";

	assert_int_equal(eg_credential_set_create(first_fds, 3, &first), 0);
	assert_int_equal(eg_credential_set_create(second_fds, 3, &second), 0);
	for (size_t i = 0; i < 3; i++) {
		eg_fd_close(&first_fds[i]);
		eg_fd_close(&second_fds[i]);
	}
	assert_true(eg_credential_set_keep(second, 1, first, 0));
	assert_true(eg_credential_set_keep(second, 2, first, 0));  /* it has its own */
	assert_false(eg_credential_set_keep(second, 0, first, 2)); /* nor had it there */
	assert_false(eg_credential_set_keep(second, 0, first, 3));
	assert_false(eg_credential_set_keep(second, 3, first, 0));
	eg_credential_set_unref(first);
	assert_true(eg_secret_equal(eg_credential_set_get(second, 1, &why), "old", 3));
	assert_null(why);
	assert_true(eg_secret_equal(eg_credential_set_get(second, 2, NULL), "new", 3));
	assert_null(eg_credential_set_get(second, 0, &why));
	assert_non_null(strstr(why, "missing"));
	eg_credential_set_unref(second);
}

/* Sets of one, read as they came, become one set. */
static void put_together(void **state)
{
	int fds[] = {memfd_of("key"), memfd_of(""), -1}, none[3] = {-1, -1, -1};
	struct eg_credential_set *one[2], *all;
	const char *why;

	(void)state;
	assert_int_equal(eg_credential_set_create(none, 3, &all), 0);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(eg_credential_set_create(&fds[i], 1, &one[i]), 0);
		eg_fd_close(&fds[i]);
	}
	eg_credential_set_put(all, 2, one[0]);
	eg_credential_set_put(all, 1, one[0]);
	eg_credential_set_put(all, 1, one[1]);
	eg_credential_set_put(all, 3, one[0]); /* there is no such place */
	eg_credential_set_unref(one[0]);
	eg_credential_set_unref(one[1]);
	assert_true(eg_secret_equal(eg_credential_set_get(all, 2, &why), "key", 3));
	assert_null(why);
	assert_null(eg_credential_set_get(all, 1, &why));
	assert_non_null(strstr(why, "empty"));
	assert_null(eg_credential_set_get(all, 0, &why));
	assert_non_null(strstr(why, "missing"));
	eg_credential_set_unref(all);
}

/* What comes anew and is the same stays the very secret; another is another, at whatever address.
 */
static void same_again(void **state)
{
	int first_fds[2] = {memfd_of("old"), memfd_of("other")};
	int second_fds[3] = {memfd_of("old"), memfd_of("older"), -1};
	struct eg_credential_set *first, *second;
	uint64_t old, other;

	(void)state;
	assert_int_equal(eg_credential_set_create(first_fds, 2, &first), 0);
	assert_int_equal(eg_credential_set_create(second_fds, 3, &second), 0);
	for (size_t i = 0; i < 2; i++) {
		eg_fd_close(&first_fds[i]);
		eg_fd_close(&second_fds[i]);
	}
	old = eg_secret_serial(eg_credential_set_get(first, 0, NULL));
	other = eg_secret_serial(eg_credential_set_get(first, 1, NULL));
	assert_true(old && other && old != other);
	assert_int_not_equal(eg_secret_serial(eg_credential_set_get(second, 0, NULL)), old);
	assert_true(eg_credential_set_share(second, 0, first, 0));
	assert_false(eg_credential_set_share(second, 1, first, 1));
	/* What is gone does not come back by it. */
	assert_false(eg_credential_set_share(second, 2, first, 0));
	assert_false(eg_credential_set_share(second, 0, first, 2));
	assert_false(eg_credential_set_share(second, 3, first, 3));
	assert_null(eg_credential_set_get(second, 2, NULL));
	eg_credential_set_unref(first);
	assert_int_equal(eg_secret_serial(eg_credential_set_get(second, 0, NULL)), old);
	assert_int_not_equal(eg_secret_serial(eg_credential_set_get(second, 1, NULL)), other);
	assert_true(eg_secret_equal(eg_credential_set_get(second, 1, NULL), "older", 5));
	eg_credential_set_unref(second);
}

static void writing(void **state)
{
	struct eg_credential_spec bearer = spec_of("k"), none = {.type = EG_CREDENTIAL_NONE};
	struct eg_credential_spec header = {.type = EG_CREDENTIAL_HEADER, .header = "x-api-key"};
	struct eg_secret *good = eg_secret_create("sk-1", 4);
	struct eg_secret *bad = eg_secret_create("sk\r\nA: b", 8);
	struct eg_buf b, plain;

	eg_buf_init_secret(&b, 4096);
	eg_buf_init(&plain, 4096);
	assert_int_equal(eg_credential_write(&b, &bearer, good), 0);
	assert_int_equal(eg_credential_write(&b, &header, good), 0);
	assert_int_equal(eg_credential_write(&b, &none, NULL), 0);
	assert_true(eg_str_eq(eg_buf_str(&b),
			      EG_STR("Authorization: Bearer sk-1\r\nx-api-key: sk-1\r\n")));
	assert_int_equal(eg_credential_write(&b, &bearer, NULL), -ENOKEY);
	assert_int_equal(eg_credential_write(&b, &bearer, bad), -EINVAL);
	/* A buffer that is not wiped never gets one. */
	assert_int_equal(eg_credential_write(&plain, &bearer, good), -EINVAL);
	assert_int_equal(plain.length, 0);
	assert_int_equal(b.length, strlen("Authorization: Bearer sk-1\r\nx-api-key: sk-1\r\n"));
	eg_buf_fini(&b);
	eg_buf_fini(&plain);
	/* Whatever the room, all of the line or nothing. */
	for (size_t cap = 0; cap < 40; cap++) {
		int r;

		eg_buf_init_secret(&b, cap);
		r = eg_credential_write(&b, &bearer, good);
		assert_int_equal(r, cap < 28 ? -ENOBUFS : 0);
		assert_int_equal(b.length, cap < 28 ? 0 : 28);
		eg_buf_fini(&b);
	}
	eg_secret_unref(good);
	eg_secret_unref(bad);
}

static void every_byte(void **state)
{
	for (int c = 0; c < 256; c++) {
		char s[3] = {'a', (char)c, 'b'};

		assert_int_equal(eg_credential_valid((struct eg_str){s, 3}), c > 0x20 && c < 0x7f);
	}
	assert_false(eg_credential_valid((struct eg_str){NULL, 0}));
}

static void quoted(void **state)
{
	static const char key[] = "sk-abab-0123456789";
	struct eg_secret *s = eg_secret_create(key, strlen(key));
	struct eg_secret *tiny = eg_secret_create("sk-abab", 7);

	(void)state;
	assert_non_null(s);
	assert_non_null(tiny);
	assert_true(eg_secret_found_in(s, EG_STR("sk-abab-0123456789")));
	assert_true(eg_secret_found_in(s, EG_STR("{\"k\":\"sk-abab-0123456789\"}")));
	assert_false(eg_secret_found_in(s, EG_STR("sk-abab-012345678")));
	assert_false(eg_secret_found_in(s, EG_STR("sk-abab-012345678 9")));
	assert_false(eg_secret_found_in(s, EG_STR("")));
	assert_false(eg_secret_found_in(s, (struct eg_str){NULL, 0}));
	assert_false(eg_secret_found_in(tiny, EG_STR("sk-abab sk-abab")));
	assert_int_equal(eg_secret_at(s, EG_STR("{sk-abab-0123456789}")), 1);
	assert_int_equal(eg_secret_at(s, EG_STR("sk-abab-012345678 9")), 19);
	assert_int_equal(eg_secret_at(s, (struct eg_str){NULL, 0}), 0);
	assert_int_equal(eg_secret_begun_in(s, EG_STR("x sk-a")), 4);
	assert_int_equal(eg_secret_begun_in(s, EG_STR("sk-absk-ab")), 5);
	assert_int_equal(eg_secret_begun_in(s, EG_STR("s")), 1);
	assert_int_equal(eg_secret_begun_in(s, EG_STR("sk-abab-012345678")), 17);
	assert_int_equal(eg_secret_begun_in(s, EG_STR("sk-abab-0123456789")), 0);
	assert_int_equal(eg_secret_begun_in(s, EG_STR("sk-a ")), 0);
	assert_int_equal(eg_secret_begun_in(s, (struct eg_str){NULL, 0}), 0);
	assert_int_equal(eg_secret_begun_in(tiny, EG_STR("sk-")), 0);
	eg_secret_unref(s);
	eg_secret_unref(tiny);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sealed_memfd, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_sealed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_directory_is_never_left, set_up, tear_down),
		cmocka_unit_test(sets),
		cmocka_unit_test(kept),
		cmocka_unit_test(put_together),
		cmocka_unit_test(same_again),
		cmocka_unit_test(writing),
		cmocka_unit_test(every_byte),
		cmocka_unit_test(quoted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
