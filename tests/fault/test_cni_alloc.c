/* SPDX-License-Identifier: Apache-2.0 */
/* The CNI results while memory runs out: an error then, never a pod too few or half of one. */
#include "fault.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "datapath/cni_dir.h"

static char top[64], folder[96];

static void put(const char *name, const char *pod, const char *address)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f,
		"{\"kind\":\"cniCacheV1\",\"cniArgs\":[[\"K8S_POD_NAMESPACE\",\"apps\"],"
		"[\"K8S_POD_NAME\",\"%s\"],[\"K8S_POD_UID\",\"uid-%s\"]],\"result\":{"
		"\"interfaces\":"
		"[{\"name\":\"cni0\"},{\"name\":\"eth0\",\"sandbox\":\"%s/ns\"}],\"ips\":[{"
		"\"address\":\"%s/24\",\"interface\":1}]}}",
		pod, pod, top, address);
	fclose(f);
}

static int read_all(void)
{
	struct eg_cni_dir *d = NULL;
	struct eg_pod_list l = {.count = 77};
	struct eg_error e = {""};
	int r = eg_cni_dir_open(folder, &d, &e);

	for (int i = 0; !r && i < 2; i++) { /* the second time some is known already */
		r = eg_cni_dir_read(d, &l, &e);
		if (r)
			break;
		assert_int_equal(l.count, 1);
		assert_string_equal(l.pods[0].identity.uid, "uid-a");
		assert_int_equal(l.pods[0].address_count, 2);
		assert_int_equal(l.passed_over, 1);
		eg_pod_list_fini(&l);
		l.count = 77;
	}
	if (r) {
		assert_int_equal(r, -ENOMEM);
		assert_non_null(strstr(e.text, "out of memory"));
		assert_int_equal(l.count, 77);
		/* It goes on as if nothing had been. */
		fault_disarm();
		if (d) {
			assert_int_equal(eg_cni_dir_read(d, &l, &e), 0);
			assert_int_equal(l.count, 1);
			eg_pod_list_fini(&l);
		}
	}
	eg_cni_dir_close(d);
	return r;
}

static void test_read(void **state)
{
	char path[128], byte = 'n';
	int ready[2];
	pid_t pid;

	(void)state;
	snprintf(top, sizeof(top), "/tmp/egret-cni-XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(folder, sizeof(folder), "%s/results", top);
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		byte = unshare(CLONE_NEWNET) ? 'n' : 'y';
		(void)!write(ready[1], &byte, 1);
		pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	if (byte == 'y') {
		char process[64];

		snprintf(process, sizeof(process), "/proc/%d/ns/net", pid);
		snprintf(path, sizeof(path), "%s/ns", top);
		assert_int_equal(symlink(process, path), 0);
		put("a-1-eth0", "a", "10.1.0.2");
		put("a-1-net1", "a", "10.2.0.2");
		put("a-2-eth0", "b", "10.1.0.2"); /* of the same sandbox: one is passed over */
		snprintf(path, sizeof(path), "%s/a-2-eth0", folder);
		assert_int_equal(utimensat(AT_FDCWD, path, (struct timespec[2]){{0}, {0}}, 0), 0);
		fault_each(read_all);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	snprintf(path, sizeof(path), "rm -rf %s", top);
	assert_int_equal(system(path), 0);
	if (byte != 'y') {
		print_message("no network namespace can be made\n");
		skip();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_read)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
