/* SPDX-License-Identifier: Apache-2.0 */
/* Lines and lists of the API server to events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kube/objects.h"
#include "kube/split.h"
#include "kube_data.h"

static struct kube_event event;

static int read_as(enum kube_kind kind, const char *line)
{
	int r;

	kube_event_fini(&event);
	r = kube_event_read(kind, "n1", eg_str_from(line), &event);
	return r;
}

static int read_pod(const char *line)
{
	return read_as(KUBE_PODS, line);
}

static int teardown(void **state)
{
	kube_event_fini(&event);
	return 0;
}

#define POD(type, metadata, spec, status)                                                  \
	"{\"type\":\"" type "\",\"object\":{\"kind\":\"Pod\",\"metadata\":{" metadata "}," \
	"\"spec\":{" spec "},\"status\":{" status "}}}"
#define META "\"name\":\"a\",\"namespace\":\"shop\",\"uid\":\"u-1\",\"resourceVersion\":\"7\""
#define HERE "\"nodeName\":\"n1\""

static void a_pod_is_read(void **state)
{
	const struct eg_identity *id = &event.object.identity;

	assert_int_equal(
		read_pod(POD("ADDED", META ",\"labels\":{\"z\":\"1\",\"app\":\"x\",\"e\":\"\"}",
			     HERE ",\"serviceAccountName\":\"robot\",\"hostNetwork\":true",
			     "\"phase\":\"Running\"")),
		0);
	assert_int_equal(event.type, KUBE_CHANGED);
	assert_string_equal(id->uid, "u-1");
	assert_string_equal(id->name, "a");
	assert_string_equal(id->namespace_name, "shop");
	assert_string_equal(id->service_account, "robot");
	assert_string_equal(event.version, "7");
	assert_true(event.object.host_network);
	assert_false(event.object.finished);
	assert_false(event.elsewhere);
	assert_int_equal(id->label_count, 3);
	assert_string_equal(id->labels[0].key, "app"); /* in order */
	assert_string_equal(id->labels[0].value, "x");
	assert_string_equal(id->labels[1].key, "e");
	assert_string_equal(id->labels[1].value, "");
	assert_string_equal(id->labels[2].key, "z");
}

static void what_is_missing_is_nothing(void **state)
{
	assert_int_equal(read_pod(POD("MODIFIED", META ",\"labels\":null", HERE, "")), 0);
	assert_string_equal(event.object.identity.service_account, "");
	assert_int_equal(event.object.identity.label_count, 0);
	assert_false(event.object.host_network);
	assert_false(event.object.finished);
}

static void phases(void **state)
{
	assert_int_equal(read_pod(POD("ADDED", META, HERE, "\"phase\":\"Succeeded\"")), 0);
	assert_true(event.object.finished);
	assert_int_equal(read_pod(POD("ADDED", META, HERE, "\"phase\":\"Failed\"")), 0);
	assert_true(event.object.finished);
	assert_int_equal(read_pod(POD("ADDED", META ",\"deletionTimestamp\":\"2026\"", HERE,
				      "\"phase\":\"Running\"")),
			 0);
	assert_false(event.object.finished);
	assert_int_equal(event.type, KUBE_CHANGED);
}

static void pods_of_other_nodes(void **state)
{
	assert_int_equal(read_pod(POD("ADDED", META, "\"nodeName\":\"n10\"", "")), 0);
	assert_true(event.elsewhere);
	assert_int_equal(read_pod(POD("ADDED", META, "", "")), 0);
	assert_true(event.elsewhere);
	assert_int_equal(read_pod(POD("ADDED", META, "\"nodeName\":\"N1\"", "")), 0);
	assert_true(event.elsewhere);
}

#define STATIC	    "0123456789abcdef0123456789abcdef"
#define MIRROR(uid) ",\"annotations\":{\"x\":\"y\",\"kubernetes.io/config.mirror\":" uid "}"

static void a_mirror_is_read(void **state)
{
	assert_int_equal(read_pod(POD("ADDED", META MIRROR("\"" STATIC "\""), HERE, "")), 0);
	assert_string_equal(event.object.mirror_of, STATIC);
	assert_string_equal(event.object.identity.uid, "u-1"); /* its own */
	assert_int_equal(read_pod(POD("ADDED", META, HERE, "")), 0);
	assert_null(event.object.mirror_of);
	(void)state;
}

/* Whoever may annotate must neither name a pod of the API's own nor make the rest unreadable. */
static void what_is_no_mirror(void **state)
{
	static const char *const values[] = {
		"\"\"",
		"7",
		"null",
		"{}",
		"\"39bc91a8-3bea-4f6f-94ad-48e62c1ddca9\"", /* the API server's */
		"\"0123456789abcdef0123456789abcde\"",
		"\"" STATIC "0\"",
		"\"0123456789ABCDEF0123456789ABCDEF\"",
		"\"0123456789abcdef0123456789abcde\\u0000\"",
		"\"" STATIC "\\u0000\"",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(values); i++) {
		char line[1024];

		snprintf(line, sizeof(line),
			 POD("ADDED", META MIRROR("%s") ",\"labels\":{\"app\":\"x\"}", HERE, ""),
			 values[i]);
		assert_int_equal(read_pod(line), 0);
		assert_null(event.object.mirror_of);
		assert_string_equal(event.object.identity.labels[0].value, "x");
	}
	assert_int_equal(read_pod(POD("ADDED", META MIRROR("\"" STATIC "\""),
				      HERE ",\"serviceAccountName\":\"robot\"", "")),
			 0);
	assert_null(event.object.mirror_of);
	assert_int_equal(read_pod(POD("ADDED", META ",\"annotations\":[1]", HERE, "")), 0);
	assert_null(event.object.mirror_of);
	(void)state;
}

/* A NUL where nobody looks must not hide a change of what is looked at. */
static void nul_elsewhere_hides_nothing(void **state)
{
	assert_int_equal(read_pod(POD("MODIFIED",
				      META ",\"annotations\":{\"a\\u0000\":\"x\\u0000y\"},"
					   "\"labels\":{\"app\":\"b\"}",
				      HERE, "")),
			 0);
	assert_string_equal(event.object.identity.labels[0].value, "b");
}

static void namespaces(void **state)
{
	assert_int_equal(read_as(KUBE_NAMESPACES,
				 "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"shop\","
				 "\"uid\":\"n-1\",\"labels\":{\"team\":\"x\"}}}}"),
			 0);
	assert_string_equal(event.object.identity.name, "shop");
	assert_string_equal(event.object.identity.uid, "n-1");
	assert_string_equal(event.object.identity.namespace_name, "");
	assert_string_equal(event.whose, "shop");
	assert_string_equal(event.version, "");
	assert_int_equal(event.object.identity.label_count, 1);
}

static void deletions_need_little(void **state)
{
	assert_int_equal(
		read_pod("{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"uid\":\"u\"}}}"), 0);
	assert_int_equal(event.type, KUBE_DELETED);
	assert_string_equal(event.whose, "u");
	assert_string_equal(event.object.identity.uid, "u");
	assert_int_equal(
		read_pod("{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":\"u\"}}}"),
		-EINVAL);
	assert_int_equal(
		read_as(KUBE_NAMESPACES,
			"{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":\"u\"}}}"),
		0);
	assert_string_equal(event.object.identity.uid, "");
}

static void bookmarks(void **state)
{
	assert_int_equal(read_pod("{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{"
				  "\"resourceVersion\":\"12\"}}}"),
			 0);
	assert_int_equal(event.type, KUBE_BOOKMARK);
	assert_string_equal(event.version, "12");
	assert_false(event.initial_end);
	assert_int_equal(read_pod("{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{"
				  "\"resourceVersion\":\"12\",\"annotations\":{"
				  "\"k8s.io/initial-events-end\":\"true\"}}}}"),
			 0);
	assert_true(event.initial_end);
	assert_int_equal(read_pod("{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{"
				  "\"resourceVersion\":\"12\",\"annotations\":{"
				  "\"k8s.io/initial-events-end\":\"false\"}}}}"),
			 0);
	assert_false(event.initial_end);
	assert_int_equal(read_pod("{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{}}}"), -EINVAL);
}

static void errors(void **state)
{
	assert_int_equal(read_pod("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\","
				  "\"message\":\"too old\",\"reason\":\"Expired\",\"code\":410}}"),
			 0);
	assert_int_equal(event.type, KUBE_ERROR);
	assert_int_equal(event.code, 410);
	assert_string_equal(event.message, "too old");
	assert_int_equal(read_pod("{\"type\":\"ERROR\",\"object\":{\"reason\":\"Gone\"}}"), 0);
	assert_int_equal(event.code, 410);
	assert_int_equal(read_pod("{\"type\":\"ERROR\",\"object\":{\"code\":-5}}"), 0);
	assert_int_equal(event.code, 0);
	assert_string_equal(event.message, "");
	assert_int_equal(read_pod("{\"type\":\"ERROR\",\"object\":{\"code\":1e99}}"), 0);
	assert_int_equal(event.code, 0);
}

/* `n` bytes of 'x' in place of the '#' of a line. */
static int read_with(enum kube_kind kind, const char *line, size_t n)
{
	const char *at = strchr(line, '#');
	char *all = malloc(strlen(line) + n);
	int r;

	memcpy(all, line, (size_t)(at - line));
	memset(all + (at - line), 'x', n);
	strcpy(all + (at - line) + n, at + 1);
	r = read_as(kind, all);
	free(all);
	return r;
}

static void lengths(void **state)
{
	static const struct {
		const char *line;
		size_t most;
	} strings[] = {
		{POD("ADDED", "\"name\":\"#\",\"namespace\":\"s\",\"uid\":\"u\"", HERE, ""), 253},
		{POD("ADDED", "\"name\":\"a\",\"namespace\":\"#\",\"uid\":\"u\"", HERE, ""), 253},
		{POD("ADDED", "\"name\":\"a\",\"namespace\":\"s\",\"uid\":\"#\"", HERE, ""), 253},
		{POD("ADDED", META, HERE ",\"serviceAccountName\":\"#\"", ""), 253},
		{POD("ADDED", META ",\"labels\":{\"a\":\"#\"}", HERE, ""), 253},
		{POD("ADDED", META ",\"labels\":{\"#\":\"a\"}", HERE, ""), 317},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(strings); i++) {
		assert_int_equal(read_with(KUBE_PODS, strings[i].line, strings[i].most), 0);
		assert_int_equal(read_with(KUBE_PODS, strings[i].line, strings[i].most + 1),
				 -EINVAL);
		assert_non_null(event.wrong);
	}
}

static void what_is_refused(void **state)
{
	static const char *const lines[] = {
		"",
		"{",
		"[]",
		"null",
		"\"x\"",
		"{}",
		"{\"type\":\"ADDED\"}",
		"{\"type\":\"ADDED\",\"object\":[]}",
		"{\"type\":7,\"object\":{}}",
		"{\"type\":\"OTHER\",\"object\":{\"metadata\":{\"uid\":\"u\"}}}",
		"{\"type\":\"ADDED\",\"object\":{}}",
		"{\"type\":\"ADDED\",\"object\":{\"metadata\":[]}}",
		POD("ADDED", "\"name\":\"a\",\"namespace\":\"s\"", HERE, ""),
		POD("ADDED", "\"name\":\"a\",\"namespace\":\"s\",\"uid\":\"\"", HERE, ""),
		POD("ADDED", "\"name\":\"a\",\"namespace\":\"s\",\"uid\":7", HERE, ""),
		POD("ADDED", "\"name\":\"a\",\"namespace\":\"s\",\"uid\":\"a\\u0000b\"", HERE, ""),
		POD("ADDED", "\"name\":\"a\\u0000\",\"namespace\":\"s\",\"uid\":\"u\"", HERE, ""),
		POD("ADDED", "\"name\":\"a\",\"uid\":\"u\"", HERE, ""),
		POD("ADDED", "\"namespace\":\"s\",\"uid\":\"u\"", HERE, ""),
		POD("ADDED", META, HERE ",\"serviceAccountName\":7", ""),
		POD("ADDED", META ",\"labels\":[]", HERE, ""),
		POD("ADDED", META ",\"labels\":{\"a\":7}", HERE, ""),
		POD("ADDED", META ",\"labels\":{\"\":\"a\"}", HERE, ""),
		POD("ADDED", META ",\"labels\":{\"a\":\"b\\u0000c\"}", HERE, ""),
		POD("ADDED", META ",\"labels\":{\"a\":\"\xff\"}", HERE, ""),
		POD("ADDED", META, HERE, "") "x",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(lines); i++) {
		if (read_pod(lines[i]) != -EINVAL)
			fail_msg("taken: %s", lines[i]);
		assert_non_null(event.wrong);
	}
}

static void many_labels(void **state)
{
	for (size_t n = KUBE_LABELS; n <= KUBE_LABELS + 1; n++) {
		struct eg_buf b;

		eg_buf_init(&b, 1 << 20);
		assert_int_equal(eg_buf_printf(&b, "{\"metadata\":{" META ",\"labels\":{"), 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(eg_buf_printf(&b, "%s\"k%zu\":\"v\"", i ? "," : "", i), 0);
		assert_int_equal(eg_buf_printf(&b, "}},\"spec\":{" HERE "}}"), 0);
		kube_event_fini(&event);
		assert_int_equal(kube_item_read(KUBE_PODS, "n1", eg_buf_str(&b), &event),
				 n > KUBE_LABELS ? -EINVAL : 0);
		assert_string_equal(event.whose, "u-1"); /* it is known whose they are */
		eg_buf_fini(&b);
	}
}

/* What can't be read can be named, so that nobody takes it for what it was. */
static void named_though_unread(void **state)
{
	assert_int_equal(read_pod(POD("MODIFIED", META ",\"labels\":{\"a\":7}", HERE, "")),
			 -EINVAL);
	assert_string_equal(event.whose, "u-1");
	assert_string_equal(event.version, "7");
	/* Malformed behind it. */
	assert_int_equal(read_pod(POD("MODIFIED", META, HERE ",\"x\":\"\xff\"", "")), -EINVAL);
	assert_string_equal(event.whose, "u-1");
	assert_string_equal(event.version, "7");
	kube_event_fini(&event);
	assert_int_equal(kube_cut_read(KUBE_PODS,
				       EG_STR("{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Pod\","
					      "\"metadata\":{" META ",\"labels\":{\"a\":\"b"),
				       &event),
			 0);
	assert_string_equal(event.whose, "u-1");
	kube_event_fini(&event);
	assert_int_equal(kube_cut_read(KUBE_NAMESPACES,
				       EG_STR("{\"metadata\":{\"name\":\"shop\",\"x\":["), &event),
			 0);
	assert_string_equal(event.whose, "shop");
	kube_event_fini(&event);
	assert_int_equal(kube_cut_read(KUBE_PODS, EG_STR("\"metadata\":"), &event), 0);
	assert_null(event.whose);
	kube_event_fini(&event);
	assert_int_equal(kube_cut_read(KUBE_PODS, EG_STR(""), &event), 0);
	assert_null(event.whose);
}

static void version_numbers(void **state)
{
	assert_int_equal(kube_version_number("17"), 17);
	assert_int_equal(kube_version_number("18446744073709551615"), UINT64_MAX);
	assert_int_equal(kube_version_number("18446744073709551616"), 0);
	assert_int_equal(kube_version_number("v17"), 0);
	assert_int_equal(kube_version_number(""), 0);
}

static void messages(void **state)
{
	char text[32];

	kube_status_message(EG_STR("{\"message\":\"no\\nway\\u001b[2J\"}"), text, sizeof(text));
	assert_string_equal(text, "no\\u000away\\u001b[2J");
	kube_status_message(EG_STR("{\"message\":\"a\\u0000b\"}"), text, sizeof(text));
	assert_string_equal(text, "a\\u0000b");
	kube_status_message(EG_STR("{\"message\":\"0123456789012345678901234567890123456789\"}"),
			    text, sizeof(text));
	assert_int_equal(strlen(text), sizeof(text) - 1);
	kube_status_message(EG_STR("{\"message\":7}"), text, sizeof(text));
	assert_string_equal(text, "");
	kube_status_message(EG_STR("<html>"), text, sizeof(text));
	assert_string_equal(text, "");
	kube_status_message(EG_STR(""), text, sizeof(text));
	assert_string_equal(text, "");
}

/* ---- pieces ---- */

struct pieces {
	struct eg_buf all; /* each followed by '|', or '!' when it is cut */
	size_t count;
	int result;
};

static int note(void *ctx, struct eg_str text, bool cut)
{
	struct pieces *p = ctx;

	p->count++;
	assert_true(text.n > 0 && text.n <= KUBE_TEXT_BYTES);
	assert_int_equal(eg_buf_append_str(&p->all, text), 0);
	assert_int_equal(eg_buf_append(&p->all, cut ? "!" : "|", 1), 0);
	return p->result;
}

/* Cut once at `at`, or at each byte (SIZE_MAX). */
static int split(bool list, struct eg_str in, size_t at, struct pieces *p, char *rest, size_t cap)
{
	struct kube_split s;
	int r = 0;

	eg_buf_init(&p->all, 8 << 20);
	p->count = 0;
	kube_split_init(&s, list, note, p);
	for (size_t i = 0; !r && i < in.n;) {
		size_t n = at == SIZE_MAX ? 1 : i < at ? EG_MIN(at, in.n) - i : in.n - i;
		char *piece = malloc(n);

		memcpy(piece, in.p + i, n);
		r = kube_split_feed(&s, (struct eg_str){piece, n});
		free(piece);
		i += n;
	}
	r = r ? r : kube_split_end(&s);
	if (rest)
		eg_str_copy(rest, cap, eg_buf_str(&s.rest));
	kube_split_fini(&s);
	return r;
}

static void gives(bool list, const char *in, const char *pieces, const char *rest, int result)
{
	struct eg_str text = eg_str_from(in);
	char got_rest[512];

	for (size_t at = 0; at <= text.n; at++) {
		struct pieces p = {.result = 0};
		int r = split(list, text, at ? at : SIZE_MAX, &p, got_rest, sizeof(got_rest));

		assert_int_equal(r, result);
		if (pieces) {
			assert_int_equal(p.all.length, strlen(pieces));
			assert_memory_equal(p.all.length ? eg_buf_data(&p.all) : "", pieces,
					    p.all.length);
		}
		if (rest)
			assert_string_equal(got_rest, rest);
		eg_buf_fini(&p.all);
	}
}

static void lines(void **state)
{
	gives(false, "a\nbc\n\n\nd", "a|bc|d|", NULL, 0);
	gives(false, "\n", "", NULL, 0);
	gives(false, "", "", NULL, 0);
}

static void items_of_a_list(void **state)
{
	gives(true,
	      "{\"kind\":\"PodList\",\"metadata\":{\"a\":[1]},\"items\":[{\"a\":1}, {\"b\":"
	      "[\"]}\",{}]}\n]}\n",
	      "{\"a\":1}|{\"b\":[\"]}\",{}]}|",
	      "{\"kind\":\"PodList\",\"metadata\":{\"a\":[1]},\"items\":[]}", 0);
	gives(true, " {\"items\" : [ ] , \"x\":{\"items\":[{}]}}", "",
	      " {\"items\" : [] , \"x\":{\"items\":[{}]}}", 0);
	gives(true, "{\"items\":null}", "", "{\"items\":null}", 0);
	gives(true, "{\"a\":\"items\",\"b\":[{}]}", "", "{\"a\":\"items\",\"b\":[{}]}", 0);
	gives(true, "{\"a\\\"items\":[{}]}", "", "{\"a\\\"items\":[{}]}", 0);
	gives(true, "{\"items\":[{\"s\":\"\\\\\"},{\"s\":\"\\\"}\"}]}",
	      "{\"s\":\"\\\\\"}|{\"s\":\"\\\"}\"}|", "{\"items\":[]}", 0);
}

static void what_is_no_list(void **state)
{
	static const char *const texts[] = {
		"",
		"{",
		"[{}]",
		"{\"items\":[{}",
		"{\"items\":[1]}",
		"{}{}",
		"x",
		"{\"items\":[[]]}",
		"{\"items\":[\"\"]}",
		"}",
		"{\"items\":[}",
		"\"items\"",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(texts); i++)
		gives(true, texts[i], NULL, NULL, -EINVAL);
}

static void long_ones_are_cut(void **state)
{
	const size_t most = KUBE_TEXT_BYTES;
	struct pieces p = {.result = 0};
	char *text = malloc(2 * most + 20);
	size_t n = 0;

	memset(text, 'x', 2 * most + 20);
	n = most; /* just so long */
	text[n++] = '\n';
	n += most + 1; /* one more */
	text[n++] = '\n';
	text[n++] = 'y';
	assert_int_equal(split(false, (struct eg_str){text, n}, 1000, &p, NULL, 0), 0);
	assert_int_equal(p.count, 3);
	assert_int_equal(p.all.length, 2 * most + 4);
	assert_int_equal(eg_buf_data(&p.all)[most], '|');
	assert_int_equal(eg_buf_data(&p.all)[2 * most + 1], '!');
	assert_memory_equal(eg_buf_data(&p.all) + 2 * most + 2, "y|", 2);
	eg_buf_fini(&p.all);

	memcpy(text, "{\"items\":[{\"a\":\"", 16);
	memcpy(text + most + 100, "\"},{}]}", 7);
	assert_int_equal(split(true, (struct eg_str){text, most + 107}, 1000, &p, NULL, 0), 0);
	assert_int_equal(p.count, 2);
	assert_int_equal(eg_buf_data(&p.all)[most], '!');
	assert_memory_equal(eg_buf_data(&p.all) + most + 1, "{}|", 3);
	eg_buf_fini(&p.all);

	/* All that is not in its items is bounded likewise. */
	memcpy(text, "{\"a\":\"xxxxxxxxxxxx", 18);
	assert_int_equal(split(true, (struct eg_str){text, most}, 1000, &p, NULL, 0), -EINVAL);
	eg_buf_fini(&p.all);
	free(text);
}

static void a_reader_may_stop(void **state)
{
	struct pieces p = {.result = -ECANCELED};

	assert_int_equal(split(false, EG_STR("a\nb\n"), 100, &p, NULL, 0), -ECANCELED);
	assert_int_equal(p.count, 1);
	eg_buf_fini(&p.all);
	assert_int_equal(split(true, EG_STR("{\"items\":[{},{}]}"), 100, &p, NULL, 0), -ECANCELED);
	assert_int_equal(p.count, 1);
	eg_buf_fini(&p.all);
}

static void pages(void **state)
{
	struct kube_list l;

	assert_int_equal(kube_list_read(EG_STR("{\"metadata\":{\"resourceVersion\":\"8\","
					       "\"continue\":\"abc\"},\"items\":[]}"),
					&l),
			 0);
	assert_string_equal(l.version, "8");
	assert_string_equal(l.go_on, "abc");
	assert_int_equal(kube_list_read(EG_STR("{\"metadata\":{\"resourceVersion\":\"8\"}}"), &l),
			 0);
	assert_string_equal(l.go_on, "");
	assert_int_equal(kube_list_read(EG_STR("{\"metadata\":{}}"), &l), -EINVAL);
	assert_int_equal(kube_list_read(EG_STR("{\"metadata\":{\"resourceVersion\":\"8\","
					       "\"continue\":7}}"),
					&l),
			 -EINVAL);
	assert_int_equal(kube_list_read(EG_STR("[]"), &l), -EINVAL);
}

/* ---- what was recorded ---- */

static int recorded_line(void *ctx, struct eg_str text, bool cut)
{
	struct pieces *p = ctx;
	const struct eg_identity *id = &event.object.identity;

	kube_event_fini(&event);
	assert_false(cut);
	assert_int_equal(kube_event_read(KUBE_PODS, "node1", text, &event), 0);
	p->count++;
	if (event.type == KUBE_BOOKMARK) {
		assert_int_equal(p->count, 3);
		assert_true(event.initial_end);
		assert_string_equal(event.version, "1845");
	} else if (p->count == 1) {
		assert_string_equal(id->name, "web");
		assert_string_equal(id->namespace_name, "apps");
		assert_string_equal(id->uid, "1e2a45ee-d764-4a45-8d96-a1f01c93fa55");
		assert_string_equal(id->service_account, "default");
		assert_int_equal(id->label_count, 1);
	} else if (p->count == 2) {
		assert_true(event.object.host_network);
	} else if (p->count == 9) {
		assert_int_equal(event.type, KUBE_DELETED);
		assert_string_equal(event.whose, "3c95f78f-7505-4c9a-99ed-f24bf78d8e28");
	}
	return 0;
}

static void a_recorded_stream(void **state)
{
	struct pieces p = {.result = 0};
	struct kube_split s;
	char *bytes;
	size_t n;

	RECORDED_OR_SKIP(bytes, "watch-stream.jsonl", &n);
	kube_split_init(&s, false, recorded_line, &p);
	assert_int_equal(kube_split_feed(&s, (struct eg_str){bytes, n}), 0);
	assert_int_equal(kube_split_end(&s), 0);
	assert_int_equal(p.count, 9);
	kube_split_fini(&s);
	free(bytes);
}

static int recorded_item(void *ctx, struct eg_str text, bool cut)
{
	struct pieces *p = ctx;

	kube_event_fini(&event);
	assert_false(cut);
	assert_int_equal(kube_item_read(KUBE_PODS, "node1", text, &event), 0);
	assert_int_equal(event.type, KUBE_CHANGED);
	assert_true(*event.object.identity.service_account);
	p->count++;
	return 0;
}

static void a_recorded_list(void **state)
{
	struct pieces p = {.result = 0};
	struct kube_split s;
	struct kube_list l;
	char *bytes;
	size_t n;

	RECORDED_OR_SKIP(bytes, "list.txt", &n);
	kube_split_init(&s, true, recorded_item, &p);
	assert_int_equal(kube_split_feed(&s, (struct eg_str){bytes, n}), 0);
	assert_int_equal(kube_split_end(&s), 0);
	assert_true(p.count > 0);
	assert_int_equal(kube_list_read(eg_buf_str(&s.rest), &l), 0);
	assert_string_equal(l.version, "1841");
	assert_string_equal(l.go_on, "");
	kube_split_fini(&s);
	free(bytes);
}

static void recorded_refusals(void **state)
{
	char *bytes, text[200];
	size_t n;

	RECORDED_OR_SKIP(bytes, "old.txt", &n);
	kube_event_fini(&event);
	assert_int_equal(kube_event_read(KUBE_PODS, "x", (struct eg_str){bytes, n}, &event), 0);
	assert_int_equal(event.type, KUBE_ERROR);
	assert_int_equal(event.code, 410);
	free(bytes);
	RECORDED_OR_SKIP(bytes, "badtok.txt", &n);
	kube_status_message((struct eg_str){bytes, n}, text, sizeof(text));
	assert_string_equal(text, "Unauthorized");
	free(bytes);
	RECORDED_OR_SKIP(bytes, "forbidden.txt", &n);
	kube_status_message((struct eg_str){bytes, n}, text, sizeof(text));
	assert_non_null(strstr(text, "cannot list resource \"secrets\""));
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pod_is_read),
		cmocka_unit_test(what_is_missing_is_nothing),
		cmocka_unit_test(phases),
		cmocka_unit_test(a_mirror_is_read),
		cmocka_unit_test(what_is_no_mirror),
		cmocka_unit_test(pods_of_other_nodes),
		cmocka_unit_test(nul_elsewhere_hides_nothing),
		cmocka_unit_test(namespaces),
		cmocka_unit_test(deletions_need_little),
		cmocka_unit_test(bookmarks),
		cmocka_unit_test(errors),
		cmocka_unit_test(lengths),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(many_labels),
		cmocka_unit_test(named_though_unread),
		cmocka_unit_test(version_numbers),
		cmocka_unit_test(messages),
		cmocka_unit_test(lines),
		cmocka_unit_test(items_of_a_list),
		cmocka_unit_test(what_is_no_list),
		cmocka_unit_test(long_ones_are_cut),
		cmocka_unit_test(a_reader_may_stop),
		cmocka_unit_test(pages),
		cmocka_unit_test(a_recorded_stream),
		cmocka_unit_test(a_recorded_list),
		cmocka_unit_test(recorded_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
