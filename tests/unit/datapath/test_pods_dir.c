/* SPDX-License-Identifier: Apache-2.0 */
/* --pods-dir: what is accepted, what each refusal says, and that a bad file hides no other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "datapath/datapath.h"
#include "datapath/pods_dir.h"

#define GOOD "{\"namespace\":\"shop\",\"name\":\"a\",\"uid\":\"u\",\"interface\":\"veth0\"}"

static void accepts_everything(void **state)
{
	const char *text = "{\"namespace\":\"shop\",\"name\":\"a\",\"uid\":\"u1\","
			   "\"labels\":{\"app\":\"x\",\"empty\":\"\"},\"serviceAccount\":\"sa\","
			   "\"namespaceLabels\":{\"team\":\"y\"},"
			   "\"ips\":[\"10.1.0.2\",\"fd00::2\"],\"netns\":\"/run/netns/a\"}";
	struct eg_pod_entry p;
	struct eg_error e;
	struct eg_arena m;
	char address[EG_ADDRESS_TEXT];

	eg_arena_init(&m, 0);
	assert_int_equal(eg_pods_parse("a.json", text, strlen(text), &m, &p, &e), 0);
	assert_string_equal(p.identity.namespace_name, "shop");
	assert_string_equal(p.identity.name, "a");
	assert_string_equal(p.identity.uid, "u1");
	assert_string_equal(p.identity.service_account, "sa");
	assert_int_equal(p.identity.label_count, 2);
	assert_string_equal(p.identity.labels[0].key, "app");
	assert_string_equal(p.identity.labels[1].value, "");
	assert_int_equal(p.identity.namespace_label_count, 1);
	assert_string_equal(p.identity.namespace_labels[0].key, "team");
	assert_string_equal(p.identity.namespace_labels[0].value, "y");
	/* What a file does not say the pod does not have. */
	assert_false(p.identity.labels_unknown || p.identity.service_account_unknown ||
		     p.identity.namespace_labels_unknown);
	assert_int_equal(p.address_count, 2);
	assert_string_equal(eg_address_format(&p.addresses[0], address), "10.1.0.2");
	assert_string_equal(eg_address_format(&p.addresses[1], address), "fd00::2");
	assert_string_equal(p.netns, "/run/netns/a");
	assert_null(p.interface);
	assert_string_equal(p.file, "a.json");
	eg_arena_fini(&m);
}

static void service_account_may_be_absent(void **state)
{
	struct eg_pod_entry p;
	struct eg_error e;
	struct eg_arena m;

	eg_arena_init(&m, 0);
	assert_int_equal(eg_pods_parse("a.json", GOOD, strlen(GOOD), &m, &p, &e), 0);
	assert_string_equal(p.identity.service_account, "");
	assert_int_equal(p.address_count, 0);
	eg_arena_fini(&m);
}

/* Each refusal names the file, the place and what was expected. */
static void refuses(void **state)
{
	static const struct {
		const char *text, *expect;
	} rows[] = {
		{"", "a.json: line"},
		{"[]", "a.json: $: expected an object, found an array"},
		{"{\"namespace\":1}", "$.namespace: expected a string, found a number"},
		{"{\"namespace\":\"\"}", "$.namespace: expected 1 to 253 bytes"},
		{"{\"name\":\"a\\u0000b\"}", "a.json"},
		{"{\"nmae\":\"a\"}", "$.nmae: unknown key; expected namespace"},
		{"{\"name\":\"a\",\"name\":\"b\"}", "duplicate"},
		{"{}", "$.namespace: missing"},
		{"{\"namespace\":\"n\"}", "$.name: missing"},
		{"{\"namespace\":\"n\",\"name\":\"a\"}", "$.uid: missing"},
		{"{\"namespace\":\"n\",\"name\":\"a\",\"uid\":\"u\"}",
		 "$: expected either netns or interface, found neither"},
		{"{\"namespace\":\"n\",\"name\":\"a\",\"uid\":\"u\",\"netns\":\"/"
		 "n\",\"interface\":\"v\"}",
		 "found both"},
		{"{\"namespace\":\"n\",\"name\":\"a\",\"uid\":\"u\",\"netns\":\"n\"}",
		 "$.netns: expected an absolute path"},
		{"{\"namespace\":\"n\",\"name\":\"a\",\"uid\":\"u\",\"interface\":"
		 "\"0123456789abcdef\"}",
		 "$.interface: expected a link's name"},
		{"{\"labels\":[]}", "$.labels: expected an object of strings, found an array"},
		{"{\"labels\":{\"app\":1}}",
		 "$.labels[\"app\"]: expected a string, found a number"},
		{"{\"namespaceLabels\":{\"team\":null}}",
		 "$.namespaceLabels[\"team\"]: expected a string, found null"},
		{"{\"ips\":\"10.0.0.1\"}", "$.ips: expected an array of addresses, found a string"},
		{"{\"ips\":[\"10.0.0.1\",\"10.0.0.256\"]}",
		 "$.ips[1]: expected an IPv4 or IPv6 address"},
		{"{\"ips\":[\"127.0.0.1\"]}", "$.ips[0]: expected an IPv4 or IPv6 address"},
		{"{\"ips\":[\"fe80::1\"]}", "$.ips[0]"},
		{"{\"ips\":[null]}", "found null"},
		{"{\"ips\":[\"10.0.0.1\",\"::ffff:10.0.0.1\"]}",
		 "$.ips[1]: the address is in the list twice"},
		{"{\"ips\":[\"10.0.0.1\",\"10.0.0.2\",\"10.0.0.3\",\"10.0.0.4\",\"10.0.0.5\",\"10."
		 "0.0.6\","
		 "\"10.0.0.7\",\"10.0.0.8\",\"10.0.0.9\"]}",
		 "$.ips: 9 addresses, at most 8"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct eg_pod_entry p;
		struct eg_error e = {0};
		struct eg_arena m;

		eg_arena_init(&m, 0);
		if (!eg_pods_parse("a.json", rows[i].text, strlen(rows[i].text), &m, &p, &e))
			fail_msg("accepted: %s", rows[i].text);
		if (!strstr(e.text, rows[i].expect) || strncmp(e.text, "a.json", 6))
			fail_msg("%s: said \"%s\", expected \"%s\"", rows[i].text, e.text,
				 rows[i].expect);
		eg_arena_fini(&m);
	}
}

/* ---- directories ---- */

static char folder[64];

static void put(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void drop(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	unlink(path);
}

static int make_folder(void **state)
{
	snprintf(folder, sizeof(folder), "/tmp/egret-pods-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	static const char *const names[] = {"a.json",	 "b.json",  "c.json",	  "d.json",
					    "pipe.json", ".x.json", "readme.txt", "way-out.json"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		drop(names[i]);
	rmdir(folder);
	return 0;
}

static void a_bad_file_hides_no_other(void **state)
{
	struct eg_pods_dir *d;
	struct eg_pod_list l;
	struct eg_error e;
	char path[128];

	put("a.json", "{\"namespace\":\"n\",\"name\":\"a\",\"uid\":\"1\",\"interface\":\"va\"}");
	put("b.json", "{broken");
	put("c.json", "{\"namespace\":\"n\",\"name\":\"c\",\"uid\":\"3\",\"interface\":\"vc\"}");
	put(".x.json", "{broken");
	put("readme.txt", "not a pod");
	snprintf(path, sizeof(path), "%s/pipe.json", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	snprintf(path, sizeof(path), "%s/way-out.json", folder);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(eg_pods_dir_open(folder, &d, &e), 0);
	assert_int_equal(eg_pods_dir_read(d, &l, &e), 0);
	assert_int_equal(l.count, 2);
	assert_string_equal(l.pods[0].file, "a.json");
	assert_string_equal(l.pods[1].file, "c.json");
	assert_int_equal(l.error_count, 3);
	assert_non_null(strstr(l.errors[2].text, "way-out.json: leads out of the directory"));
	assert_non_null(strstr(l.errors[0].text, "b.json: line 1"));
	assert_non_null(
		strstr(l.errors[1].text, "pipe.json: a named pipe; expected a regular file"));
	eg_pod_list_fini(&l);
	eg_pods_dir_close(d);
}

static void two_that_claim_the_same(void **state)
{
	struct eg_pods_dir *d;
	struct eg_pod_list l;
	struct eg_error e;

	put("a.json", "{\"namespace\":\"n\",\"name\":\"a\",\"uid\":\"1\",\"ips\":[\"10.0.0.1\"],"
		      "\"interface\":\"va\"}");
	put("b.json", "{\"namespace\":\"n\",\"name\":\"b\",\"uid\":\"1\",\"interface\":\"vb\"}");
	put("c.json", "{\"namespace\":\"n\",\"name\":\"c\",\"uid\":\"3\",\"interface\":\"va\"}");
	put("d.json", "{\"namespace\":\"n\",\"name\":\"d\",\"uid\":\"4\",\"ips\":[\"10.0.0.1\"],"
		      "\"interface\":\"vd\"}");
	assert_int_equal(eg_pods_dir_open(folder, &d, &e), 0);
	assert_int_equal(eg_pods_dir_read(d, &l, &e), 0);
	assert_int_equal(l.count, 1);
	assert_int_equal(l.error_count, 3);
	assert_non_null(strstr(l.errors[0].text, "b.json: $.uid: a.json has the same uid"));
	assert_non_null(
		strstr(l.errors[1].text, "c.json: $.interface: a.json has the same link va"));
	assert_non_null(strstr(l.errors[2].text, "d.json: $.ips[0]: a.json has the same address"));
	eg_pod_list_fini(&l);
	eg_pods_dir_close(d);
}

static void changes_are_seen(void **state)
{
	struct eg_pods_dir *d;
	struct eg_pod_list l;
	struct eg_error e;

	put("a.json", GOOD);
	assert_int_equal(eg_pods_dir_open(folder, &d, &e), 0);
	assert_false(eg_pods_dir_changed(d));
	put("b.json", "{\"namespace\":\"n\",\"name\":\"b\",\"uid\":\"2\",\"interface\":\"vb\"}");
	assert_true(eg_pods_dir_changed(d));
	assert_false(eg_pods_dir_changed(d));
	drop("a.json");
	assert_true(eg_pods_dir_changed(d));
	assert_int_equal(eg_pods_dir_read(d, &l, &e), 0);
	assert_int_equal(l.count, 1);
	assert_string_equal(l.pods[0].identity.name, "b");
	eg_pod_list_fini(&l);
	eg_pods_dir_close(d);
}

/* Put in place by a rename, as who writes a whole directory anew does: it is read, and watched. */
static void another_directory_in_its_place(void **state)
{
	char former[300], file[320];
	struct eg_pods_dir *d;
	struct eg_pod_list l;
	struct eg_error e;

	put("a.json", GOOD);
	assert_int_equal(eg_pods_dir_open(folder, &d, &e), 0);
	snprintf(former, sizeof(former), "%s.former", folder);
	snprintf(file, sizeof(file), "%s/a.json", former);
	assert_int_equal(rename(folder, former), 0);
	assert_int_equal(eg_pods_dir_read(d, &l, &e), -ENOENT);
	assert_int_equal(mkdir(folder, 0700), 0);
	put("a.json",
	    "{\"namespace\":\"n\",\"name\":\"other\",\"uid\":\"2\",\"interface\":\"vb\"}");
	put("b.json", "{\"namespace\":\"n\",\"name\":\"b\",\"uid\":\"3\",\"interface\":\"vc\"}");
	assert_int_equal(eg_pods_dir_read(d, &l, &e), 0);
	assert_int_equal(l.count, 2);
	assert_string_equal(l.pods[0].identity.name, "other");
	assert_string_equal(l.pods[1].identity.name, "b");
	eg_pod_list_fini(&l);

	(void)eg_pods_dir_changed(d);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(rmdir(former), 0);
	assert_false(eg_pods_dir_changed(d)); /* the former one is nobody's */
	drop("b.json");
	assert_true(eg_pods_dir_changed(d));
	assert_int_equal(eg_pods_dir_read(d, &l, &e), 0);
	assert_int_equal(l.count, 1);
	eg_pod_list_fini(&l);
	eg_pods_dir_close(d);
}

static void a_directory_that_went_is_an_error(void **state)
{
	struct eg_pods_dir *d;
	struct eg_pod_list l;
	struct eg_error e;

	assert_int_equal(eg_pods_dir_open(folder, &d, &e), 0);
	assert_int_equal(rmdir(folder), 0);
	assert_int_equal(eg_pods_dir_read(d, &l, &e), -ENOENT);
	assert_non_null(strstr(e.text, "was removed"));
	eg_pods_dir_close(d);
	assert_int_equal(eg_pods_dir_open(folder, &d, &e), -ENOENT);
	assert_non_null(strstr(e.text, folder));
	assert_int_equal(mkdir(folder, 0700), 0);
}

static void a_large_file_is_refused(void **state)
{
	struct eg_pods_dir *d;
	struct eg_pod_list l;
	struct eg_error e;
	char *text = malloc(70001);

	memset(text, ' ', 70000);
	text[70000] = 0;
	put("a.json", text);
	free(text);
	assert_int_equal(eg_pods_dir_open(folder, &d, &e), 0);
	assert_int_equal(eg_pods_dir_read(d, &l, &e), 0);
	assert_int_equal(l.count, 0);
	assert_int_equal(l.error_count, 1);
	assert_non_null(strstr(l.errors[0].text, "expected at most 65536"));
	eg_pod_list_fini(&l);
	eg_pods_dir_close(d);
}

/* More than a gateway can be handed, though each file is within its own limit: nobody is left out
 * for having a later name. */
static void large_files_are_bounded_together(void **state)
{
	enum { SIZE = 60000, MOST = (8 << 20) / SIZE };
	char *text = malloc(SIZE + 1), name[32];
	struct eg_pod_list list;
	struct eg_pods_dir *d;
	struct eg_error e;

	assert_non_null(text);
	assert_int_equal(eg_pods_dir_open(folder, &d, &e), 0);
	for (int i = 0; i <= MOST; i++) {
		int n = snprintf(text, SIZE,
				 "{\"namespace\":\"shop\",\"name\":\"a\",\"uid\":\"u%d\","
				 "\"interface\":\"veth%d\"}",
				 i, i);

		memset(text + n, ' ', (size_t)(SIZE - n));
		text[SIZE] = '\0';
		if (i == MOST) {
			assert_int_equal(eg_pods_dir_read(d, &list, &e), 0);
			assert_int_equal(list.count, MOST);
			assert_int_equal(list.error_count, 0);
			eg_pod_list_fini(&list);
		}
		snprintf(name, sizeof(name), "%d.json", i);
		put(name, text);
	}
	assert_int_equal(eg_pods_dir_read(d, &list, &e), -E2BIG);
	assert_non_null(strstr(e.text, "more than 8388608 bytes"));
	for (int i = 0; i <= MOST; i++) {
		snprintf(name, sizeof(name), "%d.json", i);
		drop(name);
	}
	eg_pods_dir_close(d);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_everything),
		cmocka_unit_test(service_account_may_be_absent),
		cmocka_unit_test(refuses),
		cmocka_unit_test_setup_teardown(a_bad_file_hides_no_other, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(two_that_claim_the_same, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(changes_are_seen, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(another_directory_in_its_place, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(a_directory_that_went_is_an_error, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(large_files_are_bounded_together, make_folder,
						remove_folder),
		cmocka_unit_test_setup_teardown(a_large_file_is_refused, make_folder,
						remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
