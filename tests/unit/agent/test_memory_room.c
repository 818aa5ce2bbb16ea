/* SPDX-License-Identifier: Apache-2.0 */
/* What memory a process may use, by its cgroups, and what goes into it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/memory_room.h"
#include "exchange/engine.h"

#define MIB ((uint64_t)1 << 20)

static char dir[64];

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/egret-room-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command); /* NOLINT(cert-env33-c): a directory of our own */
}

/* A file below the directory, and the directories to it; %s in the text is the directory. */
static void put(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (char *p = strchr(path + strlen(dir) + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		(void)mkdir(path, 0700);
		*p = '/';
	}
	f = fopen(path, "we");
	assert_non_null(f);
	for (const char *p; (p = strstr(text, "%s")); text = p + 2)
		fprintf(f, "%.*s%s", (int)(p - text), text, dir);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

#define TMPFS  "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
#define CPU_V1 "32 31 0:29 / /nowhere rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"

/* A container of today: its own cgroup is the root of what it sees. */
static void test_container(void **state)
{
	(void)state;
	put("cgroup", "0::/\n");
	put("mountinfo", "1560 1551 0:28 / %s/v2 ro,nosuid - cgroup2 cgroup rw,nsdelegate\n");
	put("v2/memory.max", "2097152\n");
	assert_int_equal(eg_memory_room(dir), 2 * MIB);
	put("v2/memory.max", "max\n");
	assert_true(eg_memory_room(dir) > 2 * MIB); /* the machine's */
}

/* The least of those around it. */
static void test_nested(void **state)
{
	(void)state;
	put("cgroup", "0::/system.slice/egretd.service\n");
	put("mountinfo", TMPFS "30 23 0:26 / %s/v2 rw - cgroup2 cgroup2 rw\n");
	put("v2/system.slice/egretd.service/memory.max", "8388608\n");
	put("v2/system.slice/memory.max", "4194304\n");
	assert_int_equal(eg_memory_room(dir), 4 * MIB);
	put("v2/system.slice/memory.max", "max\n");
	assert_int_equal(eg_memory_room(dir), 8 * MIB);
}

/* Version 1, beside a version 2 without controllers; a container sees its own part of it, by the
 * node's name or by "/..". */
static void test_version_1(void **state)
{
	static const char *const own[] = {"/kube/pod/one", "/../../two", "/elsewhere"};

	(void)state;
	put("v1/memory.limit_in_bytes", "3145728\n");
	for (size_t i = 0; i < EG_ARRAY_SIZE(own); i++) {
		char text[256];

		snprintf(text, sizeof(text), "9:cpu,cpuacct:/x\n4:hugetlb,memory:%s\n0::/\n",
			 own[i]);
		put("cgroup", text);
		put("mountinfo",
		    TMPFS CPU_V1 "33 31 0:30 /kube/pod/one %s/v1 rw - cgroup cgroup rw,memory\n"
				 "34 31 0:31 / %s/none rw - cgroup2 cgroup2 rw\n");
		assert_int_equal(eg_memory_room(dir), 3 * MIB);
	}
	/* On the node itself: no limit says so by a large number. */
	put("cgroup", "4:memory:/kube\n0::/\n");
	put("mountinfo", CPU_V1 "33 31 0:30 / %s/v1 rw - cgroup cgroup rw,memory\n");
	put("v1/memory.limit_in_bytes", "9223372036854771712\n");
	put("v1/kube/memory.limit_in_bytes", "5242880\n");
	assert_int_equal(eg_memory_room(dir), 5 * MIB);
}

static void test_nothing_to_read(void **state)
{
	uint64_t machine = eg_memory_room(dir);

	(void)state;
	assert_true(machine > MIB && machine < UINT64_MAX);
	put("cgroup", "");
	put("mountinfo", "nonsense - cgroup2\n - \n");
	assert_int_equal(eg_memory_room(dir), machine);
}

static void test_limits(void **state)
{
	struct eg_limits l = eg_default_limits;

	(void)state;
	l.descriptors = 917504;
	l.pod_descriptors = 229376;
	eg_memory_room_limit(&l, 0);
	assert_int_equal(l.descriptors, 917504);
	/* The manifests' limit: all that is held stays as it is. */
	eg_memory_room_limit(&l, 2048 * MIB);
	assert_int_equal(l.descriptors, 1024 * MIB / EG_ROOM_DESCRIPTOR);
	assert_int_equal(l.pod_descriptors, l.descriptors / 4);
	assert_int_equal(l.node_bytes, eg_default_limits.node_bytes);
	assert_int_equal(l.pod_bytes, eg_default_limits.pod_bytes);
	eg_memory_room_limit(&l, 160 * MIB);
	assert_int_equal(l.descriptors, 80 * MIB / EG_ROOM_DESCRIPTOR);
	assert_int_equal(l.node_bytes, 40 * MIB);
	assert_int_equal(l.pod_bytes, 20 * MIB);
	/* Few descriptors stay few. */
	l.descriptors = 100;
	l.pod_descriptors = 10;
	eg_memory_room_limit(&l, 160 * MIB);
	assert_int_equal(l.descriptors, 100);
	assert_int_equal(l.pod_descriptors, 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_container),	    TEST(test_nested), TEST(test_version_1),
		TEST(test_nothing_to_read), TEST(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
