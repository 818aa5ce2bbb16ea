/* SPDX-License-Identifier: Apache-2.0 */
/* The names that the kubelet gives pods' cgroups, and a tree of directories of them. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "datapath/cgroup_pods.h"

#define UID "39bc91a8-3bea-4f6f-94ad-48e62c1ddca9"
#define FOR "39bc91a8_3bea_4f6f_94ad_48e62c1ddca9"

static void names(void **state)
{
	static const struct {
		const char *name, *uid; /* NULL: no pod's */
	} rows[] = {
		{"pod" UID, UID},
		{"kubepods-pod" FOR ".slice", UID},
		{"kubepods-burstable-pod" FOR ".slice", UID},
		{"kubelet-kubepods-besteffort-pod" FOR ".slice", UID},
		{"pod0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"},
		{"kubepods-pod0123456789abcdef0123456789abcdef.slice",
		 "0123456789abcdef0123456789abcdef"},
		{"kubepods.slice", NULL},
		{"kubepods", NULL},
		{"kubepods-burstable.slice", NULL},
		{"burstable", NULL},
		{"pod", NULL},
		{"podman-1.scope", NULL},
		{"pod1/2", NULL},
		{"kubepods-pod.slice", NULL},
		{"machine-libpod_pod_12.slice", NULL},
		{"user-pod" FOR ".slice", NULL},
		{".slice", NULL},
		{"", NULL},
	};
	char uid[EG_CGROUP_UID], name[300] = "pod";

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		bool is = eg_cgroup_pod_uid(rows[i].name, uid);

		assert_int_equal(is, rows[i].uid != NULL);
		if (is)
			assert_string_equal(uid, rows[i].uid);
	}
	memset(name + 3, 'a', EG_CGROUP_UID - 1);
	assert_true(eg_cgroup_pod_uid(name, uid));
	name[3 + EG_CGROUP_UID - 1] = 'a';
	assert_false(eg_cgroup_pod_uid(name, uid));
	(void)state;
}

static void where_pods_are(void **state)
{
	assert_true(eg_cgroup_has_pods("kubepods"));
	assert_true(eg_cgroup_has_pods("kubepods.slice"));
	assert_true(eg_cgroup_has_pods("kubelet.slice"));
	assert_true(eg_cgroup_has_pods("besteffort"));
	assert_false(eg_cgroup_has_pods("system.slice"));
	assert_false(eg_cgroup_has_pods("burstable2"));
	(void)state;
}

struct seen {
	char pods[512], parents[512];
	int stop_at;
};

static int see_pod(void *context, const char *uid, int fd)
{
	struct seen *s = context;

	assert_true(fcntl(fd, F_GETFD) >= 0);
	strcat(strcat(s->pods, uid), " ");
	return s->stop_at && !--s->stop_at ? -EIO : 0;
}

static int see_parent(void *context, const char *path)
{
	strcat(strcat(((struct seen *)context)->parents, path), " ");
	return 0;
}

/* Of any file system: what is looked for are names. */
static void a_tree(void **state)
{
	static const char *const dirs[] = {
		"kubepods",	 "kubepods/burstable", "kubepods/burstable/poda",
		"kubepods/podb", "system.slice",       "system.slice/podx",
		"podtop",	 "kubepods/other",     "kubepods/other/pody",
	};
	char root[] = "/tmp/egret-cgroup-XXXXXX";
	struct seen s = {.stop_at = 0};
	int fd;

	assert_non_null(mkdtemp(root));
	fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < EG_ARRAY_SIZE(dirs); i++)
		assert_int_equal(mkdirat(fd, dirs[i], 0700), 0);
	assert_int_equal(symlinkat("podb", fd, "kubepods/podlink"), 0);
	assert_int_equal(eg_cgroup_pods(fd, see_pod, see_parent, &s), 0);
	assert_non_null(strstr(s.pods, "a "));
	assert_non_null(strstr(s.pods, "b "));
	assert_int_equal(strlen(s.pods), 4);
	assert_non_null(strstr(s.parents, ". "));
	assert_non_null(strstr(s.parents, "./kubepods/burstable "));
	assert_null(strstr(s.parents, "system"));
	s = (struct seen){.stop_at = 1};
	assert_int_equal(eg_cgroup_pods(fd, see_pod, NULL, &s), -EIO);
	assert_int_equal(strlen(s.pods), 2);
	assert_int_equal(unlinkat(fd, "kubepods/podlink", 0), 0);
	for (size_t i = EG_ARRAY_SIZE(dirs); i-- > 0;)
		assert_int_equal(unlinkat(fd, dirs[i], AT_REMOVEDIR), 0);
	close(fd);
	assert_int_equal(rmdir(root), 0);
	(void)state;
}

static void another_file_system(void **state)
{
	struct eg_error e = {""};
	int fd = -1;

	assert_int_equal(eg_cgroup_root("/tmp", &fd, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "/tmp is not of cgroup v2"));
	assert_int_equal(eg_cgroup_root("/nonexistent", &fd, &e), -ENOENT);
	assert_int_equal(fd, -1);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(where_pods_are),
		cmocka_unit_test(a_tree),
		cmocka_unit_test(another_file_system),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
