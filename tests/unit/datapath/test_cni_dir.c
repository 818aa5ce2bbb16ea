/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The result cache of CNI: what its files are taken for, in each form that there is, and what
 * becomes of those that are left over, half written, several of one pod, or of two pods with one
 * address.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/files.h"
#include "datapath/cni_dir.h"
#include "datapath/cni_file.h"
#include "datapath/datapath.h"
#include "datapath/netlink.h"

#define ARGS(name, uid)                                                     \
	"\"kind\":\"cniCacheV1\",\"cniArgs\":[[\"IgnoreUnknown\",\"1\"],"   \
	"[\"K8S_POD_NAMESPACE\",\"apps\"],[\"K8S_POD_NAME\",\"" name "\"]," \
	"[\"K8S_POD_INFRA_CONTAINER_ID\",\"c\"],[\"K8S_POD_UID\",\"" uid "\"]]"
#define RESULT(result) "{" ARGS("web", "u1") ",\"result\":{" result "}}"
#define ETH0	       "{\"name\":\"eth0\",\"sandbox\":\"/var/run/netns/a\"}"
#define BRIDGE	       "\"interfaces\":[{\"name\":\"cni0\"},{\"name\":\"veth0\"}," ETH0 "]"

/* ---- one file ---- */

static int parse(const char *text, struct eg_arena *m, struct eg_cni_file *out, struct eg_error *e)
{
	size_t n = strlen(text);
	char *copy = malloc(n ? n : 1); /* exact: the sanitizer sees a read beyond */
	int r;

	memcpy(copy, text, n);
	eg_arena_init(m, 0);
	r = eg_cni_parse("f", copy, n, m, out, e);
	free(copy);
	return r;
}

static const char *addresses(const struct eg_address *a, size_t count)
{
	static char text[512];
	size_t n = 0;

	*text = '\0';
	for (size_t i = 0; i < count; i++) {
		char one[EG_ADDRESS_TEXT];

		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", i ? " " : "",
				      eg_address_format(&a[i], one));
	}
	return text;
}

static void forms(void **state)
{
	static const struct {
		const char *text, *sandbox, *addresses, *links;
	} rows[] = {
		/* 1.x, the bridge plugin */
		{RESULT("\"cniVersion\":\"1.0.0\"," BRIDGE
			",\"ips\":[{\"address\":\"10.1.0.2/24\",\"gateway\":\"10.1.0.1\","
			"\"interface\":2},{\"address\":\"fd00::2/64\",\"interface\":2}]"),
		 "/var/run/netns/a", "10.1.0.2 fd00::2", "cni0 veth0"},
		/* 0.3.x and 0.4.0 say the family, too */
		{RESULT("\"cniVersion\":\"0.4.0\"," BRIDGE
			",\"ips\":[{\"version\":\"4\",\"address\":\"10.1.0.2/24\",\"interface\":2}"
			"]"),
		 "/var/run/netns/a", "10.1.0.2", "cni0 veth0"},
		/* 0.2.0 has no interfaces */
		{RESULT("\"cniVersion\":\"0.2.0\",\"ip4\":{\"ip\":\"10.1.0.2/24\",\"gateway\":"
			"\"10.1.0.1\"},\"ip6\":{\"ip\":\"fd00::2/64\"}"),
		 NULL, "10.1.0.2 fd00::2", ""},
		/* A routed link, and an address that is of no interface; libcni names the sandbox
		 */
		{"{" ARGS("web", "u1") ",\"netns\":\"/run/netns/b\",\"result\":{\"interfaces\":["
				       "{\"name\":\"cali0\"}],\"ips\":[{\"address\":"
				       "\"10.1.0.2/32\"}]}}",
		 "/run/netns/b", "10.1.0.2", "cali0"},
		/* IPv6 only; an address of the host's end is none of the pod's */
		{RESULT(BRIDGE ",\"ips\":[{\"address\":\"fd00::2/64\",\"interface\":2},"
			       "{\"address\":\"10.1.0.1/24\",\"interface\":0},"
			       "{\"address\":\"10.1.0.3/24\",\"interface\":3},"
			       "{\"address\":\"10.1.0.4/24\",\"interface\":-1}]"),
		 "/var/run/netns/a", "fd00::2", "cni0 veth0"},
		/* The loopback network, which containerd writes of each pod */
		{RESULT("\"interfaces\":[{\"name\":\"lo\",\"sandbox\":\"/var/run/netns/a\"}],"
			"\"ips\":[{\"address\":\"127.0.0.1/8\",\"interface\":0},"
			"{\"address\":\"::1/128\",\"interface\":0}]"),
		 "/var/run/netns/a", "", ""},
		/* What a pod can't have, or is none, or comes twice */
		{RESULT(BRIDGE ",\"ips\":[{\"address\":\"fe80::1/64\",\"interface\":2},"
			       "{\"address\":\"10.1.0.2\"},{\"address\":\"::ffff:10.1.0.2/96\"},"
			       "{\"address\":\"x\"},{\"address\":1},{},7,{\"address\":null}]"),
		 "/var/run/netns/a", "10.1.0.2", "cni0 veth0"},
		/* No result at all; all of them odd */
		{"{" ARGS("web", "u1") "}", NULL, "", ""},
		{"{" ARGS("web", "u1") ",\"netns\":1,\"result\":[]}", NULL, "", ""},
		{RESULT("\"interfaces\":{},\"ips\":\"10.1.0.2\",\"ip4\":[],\"ip6\":{\"ip\":{}}"),
		 NULL, "", ""},
		{RESULT("\"interfaces\":[null,1,\"a\",{},{\"name\":\"a/b\"},{\"name\":\"..\"},"
			"{\"name\":\"0123456789abcdef\"},{\"name\":\"a b\"},{\"name\":\"ok\"},"
			"{\"name\":\"\",\"sandbox\":\"\"},{\"name\":\"x\",\"sandbox\":\"y\"}]"),
		 NULL, "", "ok"},
		/* Of many links the last ones, the nearest to the pod */
		{RESULT("\"interfaces\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"},"
			"{\"name\":\"d\"},{\"name\":\"e\"},{\"name\":\"f\"},{\"name\":\"g\"},"
			"{\"name\":\"h\"},{\"name\":\"i\"},{\"name\":\"j\"}]"),
		 NULL, "", "c d e f g h i j"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_cni_file f;
		struct eg_error e = {""};
		struct eg_arena m;
		char links[200] = "";

		if (parse(rows[i].text, &m, &f, &e))
			fail_msg("%s: %s", rows[i].text, e.text);
		for (size_t k = 0; k < f.link_count; k++)
			snprintf(links + strlen(links), sizeof(links) - strlen(links), "%s%s",
				 k ? " " : "", f.links[k]);
		assert_string_equal(f.identity.namespace_name, "apps");
		assert_string_equal(f.identity.name, "web");
		assert_string_equal(f.identity.uid, "u1");
		assert_true(f.identity.labels_unknown && f.identity.service_account_unknown &&
			    f.identity.namespace_labels_unknown);
		if (rows[i].sandbox)
			assert_string_equal(f.sandbox, rows[i].sandbox);
		else
			assert_null(f.sandbox);
		assert_string_equal(addresses(f.addresses, f.address_count), rows[i].addresses);
		assert_string_equal(links, rows[i].links);
		eg_arena_fini(&m);
	}
}

static void not_a_pods(void **state)
{
	static const struct {
		const char *text;
		int r;
		const char *says;
	} rows[] = {
		{"", -EINVAL, "f: line"},
		{"{", -EINVAL, "f: line"},
		{"[]", -EINVAL, "f: $.kind: expected \"cniCacheV1\""},
		{"{\"kind\":\"cniCacheV2\"}", -EINVAL, "$.kind"},
		{"{\"kind\":7}", -EINVAL, "$.kind"},
		/* As another tool's container has it */
		{"{\"kind\":\"cniCacheV1\"}", -ENODATA, "f: is of no pod of Kubernetes"},
		{"{\"kind\":\"cniCacheV1\",\"cniArgs\":[[\"IgnoreUnknown\",\"1\"]]}", -ENODATA,
		 "is of no pod"},
		{"{\"kind\":\"cniCacheV1\",\"cniArgs\":{\"K8S_POD_UID\":\"u\"}}", -ENODATA,
		 "is of no pod"},
		/* A pod's, but which? */
		{"{\"kind\":\"cniCacheV1\",\"cniArgs\":[[\"K8S_POD_NAME\",\"a\"],"
		 "[\"K8S_POD_NAMESPACE\",\"b\"]]}",
		 -EINVAL, "expected K8S_POD_NAMESPACE, K8S_POD_NAME and K8S_POD_UID"},
		{"{\"kind\":\"cniCacheV1\",\"cniArgs\":[[\"K8S_POD_UID\",\"a\"]]}", -EINVAL,
		 "expected K8S_POD_NAMESPACE"},
		{"{\"kind\":\"cniCacheV1\",\"cniArgs\":[[\"K8S_POD_UID\",\"a\"],[\"K8S_POD_UID\","
		 "\"b\"]]}",
		 -EINVAL, "names two pods"},
		{"{\"kind\":\"cniCacheV1\",\"cniArgs\":[[\"K8S_POD_UID\",\"\"]]}", -EINVAL,
		 "1 to 253 bytes"},
		{"{\"kind\":\"cniCacheV1\",\"cniArgs\":[[\"K8S_POD_UID\",\"a\\u0000b\"]]}", -EINVAL,
		 "1 to 253 bytes"},
		{"{\"kind\":\"cniCacheV1\",\"cniArgs\":[[\"K8S_POD_UID\"]]}", -EINVAL,
		 "1 to 253 bytes"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_cni_file f = {.link_count = 77};
		struct eg_error e = {""};
		struct eg_arena m;
		int r = parse(rows[i].text, &m, &f, &e);

		if (r != rows[i].r || !strstr(e.text, rows[i].says))
			fail_msg("%s: %d, \"%s\"", rows[i].text, r, e.text);
		assert_int_equal(f.link_count, 77);
		eg_arena_fini(&m);
	}
}

/* An annotation is the pod's author's: nothing in one hides the pod. */
static void annotations_hide_nothing(void **state)
{
	static const char *const values[] = {
		"\"\\u0000\"",
		"\"\\u0001\\u001f\\u007f\\ufffd\\ud83d\\ude00\"",
		"\"{\\\"kind\\\":\\\"x\\\",\\\"cniArgs\\\":[]}\"",
		"1e300",
		"[[[[[[[[{}]]]]]]]]",
		"null",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(values); i++) {
		struct eg_cni_file f;
		struct eg_error e = {""};
		struct eg_arena m;
		char text[1024];

		snprintf(text, sizeof(text),
			 "{\"capabilityArgs\":{\"io.kubernetes.cri.pod-annotations\":{\"a\":%s}},"
			 "\"x\":%s," ARGS("web", "u1") "}",
			 values[i], values[i]);
		if (parse(text, &m, &f, &e))
			fail_msg("%s: %s", text, e.text);
		assert_string_equal(f.identity.uid, "u1");
		eg_arena_fini(&m);
	}
}

/* Half a file is no file, wherever it ends. */
static void half_is_nothing(void **state)
{
	static const char text[] =
		RESULT(BRIDGE ",\"ips\":[{\"address\":\"10.1.0.2/24\",\"interface\":2}]");

	for (size_t n = 0; n + 1 < sizeof(text); n++) {
		char half[sizeof(text)];
		struct eg_cni_file f;
		struct eg_error e = {""};
		struct eg_arena m;

		memcpy(half, text, n);
		half[n] = '\0';
		assert_int_equal(parse(half, &m, &f, &e), -EINVAL);
		eg_arena_fini(&m);
	}
}

static void the_recorded_one(void **state)
{
	EG_CLEANUP_FREE char *text = NULL;
	struct eg_cni_file f;
	struct eg_error e = {""};
	struct eg_arena m;
	size_t n;

	if (eg_file_read(AT_FDCWD, "../shared/data/kubernetes/cni-result-web.json", 1 << 20, &text,
			 &n, &e)) {
		print_message("no recorded result of a real node here: %s\n", e.text);
		skip();
	}
	eg_arena_init(&m, 0);
	assert_int_equal(eg_cni_parse("web", text, n, &m, &f, &e), 0);
	assert_string_equal(f.identity.namespace_name, "apps");
	assert_string_equal(f.identity.name, "web");
	assert_string_equal(f.identity.uid, "1e2a45ee-d764-4a45-8d96-a1f01c93fa55");
	assert_string_equal(f.sandbox, "/var/run/netns/cni-9c160c60-421c-9ecb-2bf4-38c19b6e0629");
	assert_string_equal(addresses(f.addresses, f.address_count), "10.244.0.39");
	assert_int_equal(f.link_count, 2);
	assert_string_equal(f.links[1], "veth957013cf");
	eg_arena_fini(&m);
}

/* ---- the directory ---- */

static char top[64], folder[96];
static pid_t pods[2]; /* processes, each in a network namespace of its own: top/ns0, top/ns1 */

static const char *at(const char *name)
{
	static char path[4][256];
	static unsigned int next;
	char *p = path[next++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
	return p;
}

static const char *sandbox(const char *name)
{
	static char path[4][256];
	static unsigned int next;
	char *p = path[next++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", top, name);
	return p;
}

static void put(const char *name, const char *text)
{
	FILE *f = fopen(at(name), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

/* As if it had been written so many seconds ago. */
static void age(const char *name, time_t seconds)
{
	struct timespec when[2] = {{.tv_sec = time(NULL) - seconds}};

	when[1] = when[0];
	assert_int_equal(utimensat(AT_FDCWD, at(name), when, 0), 0);
}

/* Result of the bridge plugin for a pod: interfaces, and its addresses by commas. */
static void put_pod(const char *name, const char *pod, const char *uid, const char *where,
		    const char *link, const char *ips)
{
	char text[4096], list[2048], *save = NULL;
	int n;

	n = snprintf(text, sizeof(text),
		     "{\"kind\":\"cniCacheV1\",\"cniArgs\":[[\"K8S_POD_NAMESPACE\",\"apps\"],"
		     "[\"K8S_POD_NAME\",\"%s\"],[\"K8S_POD_UID\",\"%s\"]],\"result\":{"
		     "\"interfaces\":[{\"name\":\"cni0\"},{\"name\":\"%s\"},{\"name\":\"eth0\","
		     "\"sandbox\":\"%s\"}],\"ips\":[",
		     pod, uid, link, where);
	snprintf(list, sizeof(list), "%s", ips);
	for (char *one = strtok_r(list, ",", &save); one; one = strtok_r(NULL, ",", &save))
		n += snprintf(text + n, sizeof(text) - (size_t)n,
			      "%s{\"address\":\"%s/24\",\"interface\":2}",
			      text[n - 1] == '[' ? "" : ",", one);
	snprintf(text + n, sizeof(text) - (size_t)n, "]}}");
	put(name, text);
}

static pid_t make_namespace(const char *name)
{
	char path[64], byte;
	int ready[2];
	pid_t pid;

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
	assert_int_equal(byte, 'y');
	close(ready[0]);
	close(ready[1]);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	assert_int_equal(symlink(path, sandbox(name)), 0);
	return pid;
}

static int begin(void **state)
{
	snprintf(top, sizeof(top), "/tmp/egret-cni-XXXXXX");
	if (!mkdtemp(top))
		return -1;
	snprintf(folder, sizeof(folder), "%s/results", top);
	if (mkdir(folder, 0700))
		return -1;
	pods[0] = make_namespace("ns0");
	pods[1] = make_namespace("ns1");
	return 0;
}

static int finish(void **state)
{
	char command[128];

	for (size_t i = 0; i < EG_ARRAY_SIZE(pods); i++) {
		kill(pods[i], SIGKILL);
		waitpid(pods[i], NULL, 0);
	}
	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command);
}

static struct eg_cni_dir *dir_open(void)
{
	struct eg_cni_dir *d;
	struct eg_error e = {""};

	if (eg_cni_dir_open(folder, &d, &e))
		fail_msg("%s", e.text);
	return d;
}

static void dir_read(struct eg_cni_dir *d, struct eg_pod_list *l)
{
	struct eg_error e = {""};

	if (eg_cni_dir_read(d, l, &e))
		fail_msg("%s", e.text);
	assert_int_equal(l->error_count, 0); /* an error would keep a former pod */
}

/* Opens, reads and closes: what one sees who has just been started. */
static void read_once(struct eg_pod_list *l)
{
	struct eg_cni_dir *d = dir_open();

	dir_read(d, l);
	eg_cni_dir_close(d);
}

static void is_pod(const struct eg_pod_entry *p, const char *uid, const char *netns,
		   const char *ips)
{
	assert_string_equal(p->identity.uid, uid);
	if (netns)
		assert_string_equal(p->netns, netns);
	else
		assert_null(p->netns);
	assert_int_equal(p->netns == NULL, p->interface != NULL);
	assert_string_equal(addresses(p->addresses, p->address_count), ips);
}

static void says(const struct eg_pod_list *l, size_t passed_over, size_t doubtful, const char *what)
{
	if (l->passed_over != passed_over || l->doubtful != doubtful ||
	    !strstr(l->passed.text, what))
		fail_msg("%zu passed over, %zu doubtful: %s", l->passed_over, l->doubtful,
			 l->passed.text);
}

static void a_pod(void **state)
{
	struct eg_pod_list l;

	put_pod("net-1-eth0", "web", "u1", sandbox("ns0"), "veth0", "10.1.0.2,fd00::2");
	put(".hidden", "{");
	read_once(&l);
	assert_int_equal(l.count, 1);
	is_pod(&l.pods[0], "u1", sandbox("ns0"), "10.1.0.2 fd00::2");
	assert_string_equal(l.pods[0].file, "net-1-eth0");
	assert_string_equal(l.pods[0].identity.namespace_name, "apps");
	assert_string_equal(l.pods[0].identity.service_account, "");
	assert_true(l.pods[0].identity.labels_unknown);
	assert_false(l.absent);
	assert_int_equal(l.passed_over, 0);
	eg_pod_list_fini(&l);
}

/* Others' files, and what is none, hide no pod; which may be one's is told apart. */
static void passed_over(void **state)
{
	struct eg_pod_list l;

	put_pod("net-1-eth0", "web", "u1", sandbox("ns0"), "veth0", "10.1.0.2");
	put("podman-2-eth0", "{\"kind\":\"cniCacheV1\",\"netns\":\"/run/netns/x\"}");
	read_once(&l);
	assert_int_equal(l.count, 1);
	says(&l, 1, 0, "podman-2-eth0: is of no pod of Kubernetes");
	eg_pod_list_fini(&l);
	put("net-3-eth0", "{\"kind\":\"cniCacheV1\",\"cniAr");
	assert_int_equal(mkdir(at("net-4-eth0"), 0700), 0);
	assert_int_equal(mkfifo(at("net-5-eth0"), 0600), 0);
	assert_int_equal(symlink("/etc/passwd", at("net-6-eth0")), 0);
	read_once(&l);
	assert_int_equal(l.count, 1);
	says(&l, 5, 4, "net-3-eth0: line 1");
	eg_pod_list_fini(&l);
}

/* Written over, not renamed into place: the half is nothing, the whole is found at the next
 * change. */
static void half_written(void **state)
{
	struct eg_cni_dir *d = dir_open();
	struct eg_pod_list l;
	int fd;

	put_pod("net-1-eth0", "web", "u1", sandbox("ns0"), "veth0", "10.1.0.2");
	assert_true(eg_cni_dir_changed(d));
	assert_int_equal(truncate(at("net-1-eth0"), 40), 0);
	dir_read(d, &l);
	assert_int_equal(l.count, 0);
	says(&l, 1, 1, "net-1-eth0: line 1");
	eg_pod_list_fini(&l);
	put_pod("net-1-eth0", "web", "u1", sandbox("ns0"), "veth0", "10.1.0.2");
	assert_true(eg_cni_dir_changed(d));
	dir_read(d, &l);
	is_pod(&l.pods[0], "u1", sandbox("ns0"), "10.1.0.2");
	eg_pod_list_fini(&l);
	/* At once after it was read, with the same size: nothing tells it from before but its
	 * bytes. */
	fd = open(at("net-1-eth0"), O_RDWR);
	for (off_t i = 0; fd >= 0; i++) {
		char c;

		assert_int_equal(pread(fd, &c, 1, i), 1);
		if (c == 'u') {
			assert_int_equal(pread(fd, &c, 1, i + 1), 1);
			if (c == '1')
				c = '9';
			else
				continue;
			assert_int_equal(pwrite(fd, &c, 1, i + 1), 1);
			break;
		}
	}
	close(fd);
	dir_read(d, &l);
	assert_string_equal(l.pods[0].identity.uid, "u9");
	eg_pod_list_fini(&l);
	assert_int_equal(unlink(at("net-1-eth0")), 0);
	assert_true(eg_cni_dir_changed(d));
	dir_read(d, &l);
	assert_int_equal(l.count, 0);
	assert_int_equal(l.passed_over, 0);
	eg_pod_list_fini(&l);
	eg_cni_dir_close(d);
}

/* Several networks of one pod are one pod, whatever the order; more addresses than there is room
 * for are counted. */
static void several_networks(void **state)
{
	struct eg_pod_list l;

	put_pod("main-1-eth0", "web", "u1", sandbox("ns0"), "veth0", "10.1.0.2,fd00::2");
	put_pod("second-1-net1", "web", "u1", sandbox("ns0"), "veth1", "10.2.0.2,10.1.0.2");
	put("loopback-1-lo", RESULT("\"ip4\":{\"ip\":\"127.0.0.1/8\"}"));
	put_pod("main-2-eth0", "db", "u2", sandbox("ns1"), "veth2", "10.1.0.3");
	age("main-1-eth0", 30);
	age("second-1-net1", 20);
	age("loopback-1-lo", 40);
	age("main-2-eth0", 10);
	read_once(&l);
	assert_int_equal(l.count, 2);
	assert_int_equal(l.passed_over, 0);
	is_pod(&l.pods[0], "u2", sandbox("ns1"), "10.1.0.3");
	is_pod(&l.pods[1], "u1", sandbox("ns0"), "10.2.0.2 10.1.0.2 fd00::2");
	assert_int_equal(l.pods[1].addresses_more, 0);
	eg_pod_list_fini(&l);
	/* The one that names no place is the newest now, and would be alone. */
	age("loopback-1-lo", 0);
	put_pod("third-1-net2", "web", "u1", sandbox("ns0"), "veth3",
		"10.3.0.1,10.3.0.2,10.3.0.3,10.3.0.4,10.3.0.5,10.3.0.6,10.3.0.7");
	age("third-1-net2", 50);
	read_once(&l);
	assert_int_equal(l.count, 2);
	assert_int_equal(l.passed_over, 0);
	assert_int_equal(l.pods[1].address_count, EG_POD_ADDRESSES);
	assert_int_equal(l.pods[1].addresses_more, 2);
	eg_pod_list_fini(&l);
}

/* Of a former boot: its addresses are another's, and it has no say in it. */
static void left_over(void **state)
{
	struct eg_pod_list l;

	put_pod("net-1-eth0", "old", "u0", sandbox("gone"), "veth9", "10.1.0.2");
	put_pod("net-2-eth0", "web", "u1", sandbox("ns0"), "veth0", "10.1.0.2");
	age("net-2-eth0", 1000); /* even where its file is the newer one */
	read_once(&l);
	assert_int_equal(l.count, 1);
	is_pod(&l.pods[0], "u1", sandbox("ns0"), "10.1.0.2");
	says(&l, 1, 0, "net-1-eth0: its network namespace is gone");
	eg_pod_list_fini(&l);
}

/* A name that is taken, but by no namespace of a pod's: whose it is can't be said. */
static void another_thing_there(void **state)
{
	char process[64];
	struct eg_pod_list l;
	FILE *f = fopen(sandbox("plain"), "w");

	assert_non_null(f);
	fclose(f);
	assert_int_equal(symlink("/proc/self/ns/net", sandbox("own")), 0);
	assert_int_equal(symlink("/proc/self/ns/mnt", sandbox("mnt")), 0);
	snprintf(process, sizeof(process), "/proc/%d/ns/net", pods[0]);
	put_pod("net-1-eth0", "a", "u1", sandbox("plain"), "none0", "10.1.0.2");
	put_pod("net-2-eth0", "b", "u2", sandbox("own"), "none0", "10.1.0.3");
	put_pod("net-3-eth0", "c", "u3", sandbox("mnt"), "none0", "10.1.0.4");
	age("net-1-eth0", 0);
	age("net-2-eth0", 10);
	age("net-3-eth0", 20);
	read_once(&l);
	assert_int_equal(l.count, 0);
	says(&l, 3, 3, "net-1-eth0: its sandbox is no network namespace of a pod's");
	eg_pod_list_fini(&l);
	/* The number of a process names another one after a while. */
	put_pod("net-1-eth0", "a", "u1", process, "none0", "10.1.0.2");
	age("net-1-eth0", 0);
	read_once(&l);
	assert_int_equal(l.count, 0);
	says(&l, 3, 3, "net-");
	eg_pod_list_fini(&l);
}

/* Two that live: the newer file has what both claim. The other keeps the rest. */
static void twins(void **state)
{
	struct eg_pod_list l;

	put_pod("net-1-eth0", "old", "u0", sandbox("ns0"), "veth0", "10.1.0.2,10.1.0.9");
	put_pod("net-2-eth0", "new", "u1", sandbox("ns1"), "veth1", "10.1.0.2");
	age("net-1-eth0", 10);
	read_once(&l);
	assert_int_equal(l.count, 2);
	is_pod(&l.pods[0], "u1", sandbox("ns1"), "10.1.0.2");
	is_pod(&l.pods[1], "u0", sandbox("ns0"), "10.1.0.9");
	says(&l, 1, 0, "net-1-eth0: a newer file gives an address of it to another pod");
	eg_pod_list_fini(&l);
	/* One sandbox has one pod, and one pod one sandbox. */
	put_pod("net-3-eth0", "last", "u2", sandbox("ns1"), "veth1", "10.1.0.3");
	put_pod("net-4-eth0", "last", "u2", sandbox("ns0"), "veth1", "10.1.0.4");
	age("net-2-eth0", 5);
	age("net-3-eth0", 2);
	age("net-4-eth0", 3);
	read_once(&l);
	assert_int_equal(l.count, 2);
	is_pod(&l.pods[0], "u2", sandbox("ns1"), "10.1.0.3");
	is_pod(&l.pods[1], "u0", sandbox("ns0"), "10.1.0.2 10.1.0.9");
	says(&l, 2, 0, "net-4-eth0: a newer file has another sandbox of its pod");
	eg_pod_list_fini(&l);
	/* A uid of two names is one of them, the newer. */
	put_pod("net-3-eth0", "first", "u2", sandbox("ns1"), "veth1", "10.1.0.3");
	age("net-3-eth0", 2);
	read_once(&l);
	assert_string_equal(l.pods[0].identity.name, "first");
	eg_pod_list_fini(&l);
}

/* Where the sandbox can't be looked at, the link is the one that leads to another namespace. */
static void by_link(void **state)
{
	static const uint8_t mac[2][EG_MAC_BYTES] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}};
	EG_CLEANUP_FD int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	EG_CLEANUP_FD int pod = open(sandbox("ns0"), O_RDONLY | O_CLOEXEC);
	struct nl_sock *s = eg_netlink_open();
	struct eg_pod_list l;
	char process[64];

	assert_non_null(s);
	/* No bridge, but as little a pod's: both its ends are here. */
	assert_int_equal(eg_netlink_add_veth(s, "cni0", mac[0], "cni1", mac[1], own), 0);
	assert_int_equal(eg_netlink_add_veth(s, "veth0", mac[0], "eth0", mac[1], pod), 0);
	put_pod("net-1-eth0", "web", "u1", sandbox("unmounted/a"), "veth0", "10.1.0.2");
	snprintf(process, sizeof(process), "/proc/%d/ns/net", pods[0]);
	read_once(&l);
	assert_int_equal(l.count, 1);
	is_pod(&l.pods[0], "u1", NULL, "10.1.0.2");
	assert_string_equal(l.pods[0].interface, "veth0");
	assert_int_equal(l.passed_over, 0);
	eg_pod_list_fini(&l);
	put_pod("net-1-eth0", "web", "u1", process, "veth0", "10.1.0.2");
	read_once(&l);
	is_pod(&l.pods[0], "u1", NULL, "10.1.0.2");
	eg_pod_list_fini(&l);
	/* A second network of it, and another pod with the same link, which is older. */
	put_pod("net-1-net1", "web", "u1", sandbox("unmounted/a"), "none0", "10.2.0.2");
	put_pod("net-0-eth0", "web", "u0", sandbox("unmounted/b"), "veth0", "10.1.0.3");
	age("net-0-eth0", 10);
	read_once(&l);
	assert_int_equal(l.count, 1);
	is_pod(&l.pods[0], "u1", NULL, "10.1.0.2 10.2.0.2");
	says(&l, 1, 0, "net-0-eth0: a newer file gives its link to another pod");
	eg_pod_list_fini(&l);
	/* Neither is there. */
	put_pod("net-0-eth0", "web", "u0", sandbox("unmounted/b"), "none0", "10.1.0.3");
	read_once(&l);
	assert_int_equal(l.count, 1);
	says(&l, 1, 1, "net-0-eth0: neither its network namespace nor its link can be seen");
	eg_pod_list_fini(&l);
	eg_netlink_close(s);
}

/* The first pod of a node makes it, and what is above. */
static void a_directory_that_comes(void **state)
{
	char keep[96];
	struct eg_cni_dir *d;
	struct eg_pod_list l;
	struct eg_error e = {""};

	snprintf(keep, sizeof(keep), "%s", folder);
	snprintf(folder, sizeof(folder), "%s/cni/results", top);
	d = dir_open();
	dir_read(d, &l);
	assert_true(l.absent);
	assert_int_equal(l.count, 0);
	eg_pod_list_fini(&l);
	assert_false(eg_cni_dir_changed(d));
	assert_int_equal(mkdir(sandbox("cni"), 0700), 0);
	assert_true(eg_cni_dir_changed(d));
	dir_read(d, &l);
	assert_true(l.absent);
	eg_pod_list_fini(&l);
	assert_int_equal(mkdir(folder, 0700), 0);
	assert_true(eg_cni_dir_changed(d));
	dir_read(d, &l);
	assert_false(l.absent);
	eg_pod_list_fini(&l);
	(void)eg_cni_dir_changed(d);
	put_pod("net-1-eth0", "web", "u1", sandbox("ns0"), "veth0", "10.1.0.2");
	assert_true(eg_cni_dir_changed(d));
	dir_read(d, &l);
	assert_int_equal(l.count, 1);
	eg_pod_list_fini(&l);
	/* Once it was there, its absence says nothing of the pods. */
	assert_int_equal(unlink(at("net-1-eth0")), 0);
	assert_int_equal(rmdir(folder), 0);
	assert_int_equal(eg_cni_dir_read(d, &l, &e), -ENOENT);
	assert_non_null(strstr(e.text, "was removed"));
	eg_cni_dir_close(d);
	snprintf(folder, sizeof(folder), "%s", keep);
}

static unsigned long long bytes_read(void)
{
	unsigned long long n = 0;
	FILE *f = fopen("/proc/self/io", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "rchar: %llu", &n), 1);
	fclose(f);
	return n;
}

/* A megabyte of annotations in each: what has not changed is not read again, and what has, is. */
static void large_files(void **state)
{
	enum { SIZE = 1 << 20 };
	char *text = malloc(3 * SIZE);
	struct eg_cni_dir *d = dir_open();
	struct eg_pod_list l;
	unsigned long long before;

	for (int i = 0; i < 2; i++) {
		char name[16];
		int n = sprintf(
			text,
			"{\"kind\":\"cniCacheV1\",\"cniArgs\":[[\"K8S_POD_NAMESPACE\",\"a\"],"
			"[\"K8S_POD_NAME\",\"p%d\"],[\"K8S_POD_UID\",\"u%d\"]],\"netns\":\"%s\","
			"\"capabilityArgs\":{\"a\":\"",
			i, i, sandbox(i ? "ns1" : "ns0"));

		memset(text + n, 'x', SIZE);
		strcpy(text + n + SIZE, "\"}}");
		snprintf(name, sizeof(name), "net-%d-eth0", i);
		put(name, text);
		age(name, i);
	}
	memset(text, ' ', 3 * SIZE);
	text[3 * SIZE - 1] = '\0';
	put("larger", text);
	free(text);
	nanosleep(&(struct timespec){.tv_sec = 2, .tv_nsec = 100000000}, NULL);
	dir_read(d, &l);
	assert_int_equal(l.count, 2);
	says(&l, 1, 1, "larger: has 3145727 bytes; expected at most 2097152");
	eg_pod_list_fini(&l);
	before = bytes_read();
	dir_read(d, &l);
	assert_true(bytes_read() - before < SIZE / 2);
	assert_int_equal(l.count, 2);
	is_pod(&l.pods[0], "u0", sandbox("ns0"), "");
	eg_pod_list_fini(&l);
	put_pod("net-0-eth0", "p", "u9", sandbox("ns0"), "veth0", "10.1.0.2");
	before = bytes_read();
	dir_read(d, &l);
	assert_true(bytes_read() - before < SIZE / 2);
	is_pod(&l.pods[0], "u9", sandbox("ns0"), "10.1.0.2");
	is_pod(&l.pods[1], "u1", sandbox("ns1"), "");
	eg_pod_list_fini(&l);
	/* A name that comes before, one between, one that goes. */
	put_pod("a", "a", "u7", sandbox("gone"), "veth0", "10.1.0.7");
	put_pod("net-0-x", "a", "u8", sandbox("gone"), "veth0", "10.1.0.8");
	assert_int_equal(unlink(at("net-0-eth0")), 0);
	before = bytes_read();
	dir_read(d, &l);
	assert_true(bytes_read() - before < SIZE / 2);
	assert_int_equal(l.count, 1);
	is_pod(&l.pods[0], "u1", sandbox("ns1"), "");
	eg_pod_list_fini(&l);
	eg_cni_dir_close(d);
}

static void too_many(void **state)
{
	struct eg_cni_dir *d = dir_open();
	struct eg_pod_list l;
	struct eg_error e = {""};

	for (int i = 0; i < 4097; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		put(name, "{}");
	}
	assert_int_equal(eg_cni_dir_read(d, &l, &e), -E2BIG);
	assert_non_null(strstr(e.text, "has 4097 files, at most 4096"));
	assert_int_equal(unlink(at("f0")), 0);
	dir_read(d, &l);
	assert_int_equal(l.passed_over, 4096);
	eg_pod_list_fini(&l);
	eg_cni_dir_close(d);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(void)
{
	const struct CMUnitTest parsing[] = {
		cmocka_unit_test(forms),
		cmocka_unit_test(not_a_pods),
		cmocka_unit_test(annotations_hide_nothing),
		cmocka_unit_test(half_is_nothing),
		cmocka_unit_test(the_recorded_one),
	};
	const struct CMUnitTest reading[] = {
		IN_DIR(a_pod),	      IN_DIR(passed_over),
		IN_DIR(half_written), IN_DIR(several_networks),
		IN_DIR(left_over),    IN_DIR(another_thing_there),
		IN_DIR(twins),	      IN_DIR(by_link),
		IN_DIR(large_files),  IN_DIR(a_directory_that_comes),
		IN_DIR(too_many),
	};
	int failed = cmocka_run_group_tests(parsing, NULL, NULL);

	/* Links are made here. */
	if (unshare(CLONE_NEWNET)) {
		print_message("no network namespace can be made: %s\n", strerror(errno));
		return failed;
	}
	return failed + cmocka_run_group_tests(reading, NULL, NULL);
}
