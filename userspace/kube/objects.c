/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/objects.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"
#include "proto/json_scan.h"

/* ---- members ---- */

/* One that is asked for; raw.p NULL: it is not there. */
struct member {
	struct eg_str key;
	struct eg_str raw;
	enum eg_json_type type;
};

struct members {
	struct member *of;
	size_t count;
};

static int note(void *ctx, const struct eg_json_member *m)
{
	const struct members *asked = ctx;

	for (size_t i = 0; i < asked->count; i++) {
		if (!eg_str_eq(asked->of[i].key, m->key) || m->type == EG_JSON_NULL)
			continue;
		asked->of[i].raw = m->raw;
		asked->of[i].type = m->type;
	}
	return 0;
}

/* What of these the text has, which is to be one object. 0, -EINVAL, -ENOMEM. */
static int find(struct eg_str object, struct member *of, size_t count)
{
	struct members asked = {of, count};

	return eg_json_members(object, note, &asked, NULL);
}

/* The same within a member: nothing, if it is no object. */
static int find_in(const struct member *object, struct member *of, size_t count)
{
	return object->raw.p && object->type == EG_JSON_OBJECT ? find(object->raw, of, count) : 0;
}

/*
 * A string of at most `most` bytes without NUL; NULL: it is empty or not there. 0, -EINVAL: it is
 * another; -ENOMEM.
 */
static int get_raw(struct eg_arena *a, struct eg_str raw, enum eg_json_type type, size_t most,
		   const char **out)
{
	struct eg_str s;

	*out = NULL;
	if (!raw.p)
		return 0;
	if (type != EG_JSON_STRING || raw.n > 6 * most + 2) /* the longest escape of a byte */
		return -EINVAL;
	s = eg_json_string(a, raw);
	if (!s.p)
		return -ENOMEM;
	if (s.n > most || memchr(s.p, '\0', s.n))
		return -EINVAL;
	*out = s.n ? s.p : NULL;
	return 0;
}

static int get(struct kube_event *e, const struct member *m, size_t most, const char **out)
{
	return get_raw(&e->memory, m->raw, m->type, most, out);
}

/* Of an arena that is all for one answer: what is no string is "". */
static int get_or_empty(struct kube_event *e, const struct member *m, size_t most, const char **out)
{
	int r = get(e, m, most, out);

	if (r || !*out)
		*out = "";
	return r == -ENOMEM ? r : 0;
}

uint64_t kube_version_number(const char *version)
{
	uint64_t v;

	return eg_str_u64(eg_str_from(version), &v) ? 0 : v;
}

/* ---- an object ---- */

static void clear(struct kube_event *e)
{
	memset(e, 0, offsetof(struct kube_event, labels));
	eg_arena_init(&e->memory, 0);
	e->version = e->message = "";
	e->object.identity = (struct eg_identity){
		.namespace_name = "", .name = "", .uid = "", .service_account = ""};
}

void kube_event_fini(struct kube_event *e)
{
	eg_arena_fini(&e->memory);
}

static int refuse(struct kube_event *e, const char *wrong)
{
	e->wrong = wrong;
	return -EINVAL;
}

static int by_key(const void *a, const void *b)
{
	const struct eg_label *x = a, *y = b;

	return strcmp(x->key, y->key);
}

static int add_label(void *ctx, const struct eg_json_member *m)
{
	struct kube_event *e = ctx;
	struct eg_label *l = &e->labels[e->object.identity.label_count];
	int r;

	if (e->object.identity.label_count == KUBE_LABELS)
		return refuse(e, "it has more than 128 labels");
	if (!m->key.n || m->key.n > KUBE_LABEL_KEY_BYTES || memchr(m->key.p, '\0', m->key.n) ||
	    m->type != EG_JSON_STRING)
		return refuse(e, "a label of it is no string, is too long or has a NUL");
	r = get_raw(&e->memory, m->raw, m->type, KUBE_NAME_BYTES, &l->value);
	if (r == -EINVAL)
		return refuse(e, "a label of it is too long or has a NUL");
	if (!l->value)
		l->value = "";
	l->key = r ? NULL : eg_arena_dup(&e->memory, m->key);
	if (!l->key)
		return -ENOMEM;
	e->object.identity.label_count++;
	return 0;
}

static int read_labels(struct kube_event *e, const struct member *labels)
{
	int r;

	e->object.identity.labels = e->labels;
	if (!labels->raw.p)
		return 0;
	if (labels->type != EG_JSON_OBJECT)
		return refuse(e, "its labels are no object");
	r = eg_json_members(labels->raw, add_label, e, NULL);
	qsort(e->labels, e->object.identity.label_count, sizeof(*e->labels), by_key);
	return r;
}

/*
 * The kubelet gives a static pod the hash of its manifest for a uid, and writes that to its mirror
 * (pkg/kubelet/config/common.go, pkg/kubelet/pod/mirror_client.go). The API server gives UUIDs, so
 * that no claim of this form names a pod of its own. A mirror has no service account (admission
 * plugin ServiceAccount). What is of another form is no claim, and hides nothing else of the pod.
 */
static int read_mirror(struct kube_event *e, const struct member *annotations)
{
	struct member in[] = {{.key = EG_STR("kubernetes.io/config.mirror")}};
	const char *uid;
	int r = find_in(annotations, in, 1);

	r = r ? r : get_or_empty(e, &in[0], KUBE_NAME_BYTES, &uid);
	if (r)
		return r;
	if (strlen(uid) == KUBE_STATIC_UID && strspn(uid, "0123456789abcdef") == KUBE_STATIC_UID &&
	    !*e->object.identity.service_account)
		e->object.mirror_of = uid;
	return 0;
}

static int read_pod(struct kube_event *e, const char *node, const struct member *namespace,
		    const struct member *spec, const struct member *status)
{
	struct member in_spec[] = {{.key = EG_STR("nodeName")},
				   {.key = EG_STR("serviceAccountName")},
				   {.key = EG_STR("hostNetwork")}};
	struct member in_status[] = {{.key = EG_STR("phase")}};
	struct eg_identity *id = &e->object.identity;
	const char *text;
	int r = find_in(spec, in_spec, EG_ARRAY_SIZE(in_spec));

	r = r ? r : find_in(status, in_status, EG_ARRAY_SIZE(in_status));
	r = r ? r : get_or_empty(e, &in_status[0], KUBE_NAME_BYTES, &text);
	if (r)
		return r;
	e->object.finished = !strcmp(text, "Succeeded") || !strcmp(text, "Failed");
	e->object.host_network = in_spec[2].raw.p && in_spec[2].type == EG_JSON_TRUE;
	r = get_or_empty(e, &in_spec[0], KUBE_NAME_BYTES, &text);
	if (r)
		return r;
	e->elsewhere = strcmp(text, node) != 0;
	r = get(e, namespace, KUBE_NAME_BYTES, &id->namespace_name);
	if (r == -EINVAL || (!r && !id->namespace_name))
		return refuse(e, "its namespace is missing, too long or has a NUL");
	r = r ? r : get(e, &in_spec[1], KUBE_NAME_BYTES, &id->service_account);
	if (r == -EINVAL)
		return refuse(e, "its service account is no string, is too long or has a NUL");
	if (!id->service_account)
		id->service_account = "";
	return r;
}

/* Name and uid, as far as they are fit. */
static int read_names(struct kube_event *e, enum kube_kind kind, const struct member *name,
		      const struct member *uid, const struct member *version)
{
	struct eg_identity *id = &e->object.identity;
	int r = get_or_empty(e, version, KUBE_VERSION_BYTES, &e->version);

	r = r ? r : get_or_empty(e, name, KUBE_NAME_BYTES, &id->name);
	r = r ? r : get_or_empty(e, uid, KUBE_NAME_BYTES, &id->uid);
	if (r)
		return r;
	e->whose = kind == KUBE_PODS ? id->uid : id->name;
	if (*e->whose)
		return 0;
	e->whose = NULL;
	return refuse(e, kind == KUBE_PODS ? "its uid is missing, too long or has a NUL"
					   : "its name is missing, too long or has a NUL");
}

static int read_object(struct kube_event *e, enum kube_kind kind, const char *node,
		       struct eg_str object)
{
	struct member top[] = {
		{.key = EG_STR("metadata")}, {.key = EG_STR("spec")}, {.key = EG_STR("status")}};
	struct member in[] = {{.key = EG_STR("name")},	 {.key = EG_STR("namespace")},
			      {.key = EG_STR("uid")},	 {.key = EG_STR("resourceVersion")},
			      {.key = EG_STR("labels")}, {.key = EG_STR("annotations")}};
	int r = find(object, top, EG_ARRAY_SIZE(top));

	r = r ? r : find_in(&top[0], in, EG_ARRAY_SIZE(in));
	r = r ? r : read_names(e, kind, &in[0], &in[2], &in[3]);
	if (r || e->type == KUBE_DELETED)
		return r;
	if (!*e->object.identity.name || !*e->object.identity.uid)
		return refuse(e, "its name or its uid is missing, too long or has a NUL");
	if (kind == KUBE_PODS)
		r = read_pod(e, node, &in[1], &top[1], &top[2]);
	if (r || e->elsewhere)
		return r;
	if (kind == KUBE_PODS)
		r = read_mirror(e, &in[5]);
	return r ? r : read_labels(e, &in[4]);
}

/* ---- what can't be read ---- */

/*
 * The servers write the metadata first, and in it the uid before all that can be long. So what has
 * become too long to read, or is malformed behind it, can be named all the same.
 */
static int name_it(struct kube_event *e, enum kube_kind kind, struct eg_str text)
{
	static const char key[] = "\"metadata\":";
	struct member in[] = {{.key = EG_STR("name")},
			      {.key = EG_STR("uid")},
			      {.key = EG_STR("resourceVersion")}};
	const char *at = text.n ? memmem(text.p, text.n, key, sizeof(key) - 1) : NULL;
	const char *why = e->wrong;
	int r;

	if (!at)
		return -EINVAL;
	at += sizeof(key) - 1;
	r = find((struct eg_str){at, (size_t)(text.p + text.n - at)}, in, EG_ARRAY_SIZE(in));
	if (r != -ENOMEM) /* else: of course, something follows or is missing */
		r = read_names(e, kind, &in[0], &in[1], &in[2]);
	e->wrong = why;
	return r == -ENOMEM ? r : -EINVAL;
}

int kube_cut_read(enum kube_kind kind, struct eg_str beginning, struct kube_event *e)
{
	int r;

	clear(e);
	e->wrong = "it is longer than 1 MiB";
	r = name_it(e, kind, beginning);
	return r == -ENOMEM ? r : 0;
}

/* What reading it gave, with a reason; malformed JSON has none yet. */
static int judged(struct kube_event *e, enum kube_kind kind, struct eg_str text, int r)
{
	if (r != -EINVAL)
		return r;
	if (!e->wrong)
		e->wrong = "it is not the JSON that was expected";
	return e->whose ? r : name_it(e, kind, text);
}

/* ---- a line ---- */

static int read_bookmark(struct kube_event *e, struct eg_str object)
{
	struct member top[] = {{.key = EG_STR("metadata")}};
	struct member in[] = {{.key = EG_STR("resourceVersion")}, {.key = EG_STR("annotations")}};
	struct member end[] = {{.key = EG_STR("k8s.io/initial-events-end")}};
	const char *text;
	int r = find(object, top, 1);

	r = r ? r : find_in(&top[0], in, EG_ARRAY_SIZE(in));
	r = r ? r : find_in(&in[1], end, 1);
	r = r ? r : get_or_empty(e, &in[0], KUBE_VERSION_BYTES, &e->version);
	r = r ? r : get_or_empty(e, &end[0], KUBE_NAME_BYTES, &text);
	if (r)
		return r;
	e->initial_end = !strcmp(text, "true");
	return *e->version ? 0 : refuse(e, "a bookmark without a resourceVersion");
}

static int read_error(struct kube_event *e, struct eg_str object)
{
	struct member in[] = {
		{.key = EG_STR("code")}, {.key = EG_STR("reason")}, {.key = EG_STR("message")}};
	uint64_t code;
	const char *reason;
	int r = find(object, in, EG_ARRAY_SIZE(in));

	r = r ? r : get_or_empty(e, &in[1], KUBE_NAME_BYTES, &reason);
	r = r ? r : get_or_empty(e, &in[2], KUBE_TEXT_BYTES, &e->message);
	if (r)
		return r;
	if (in[0].raw.p && eg_json_u64(in[0].raw, &code) && code < 1000)
		e->code = (unsigned int)code;
	if (!strcmp(reason, "Expired") || !strcmp(reason, "Gone"))
		e->code = 410;
	return 0;
}

static int read_line(enum kube_kind kind, const char *node, struct eg_str line,
		     struct kube_event *e)
{
	struct member top[] = {{.key = EG_STR("type")}, {.key = EG_STR("object")}};
	struct eg_str object;
	const char *type;
	int r;

	if (line.n > KUBE_TEXT_BYTES)
		return refuse(e, "it is longer than 1 MiB");
	r = find(line, top, EG_ARRAY_SIZE(top));
	r = r ? r : get_or_empty(e, &top[0], KUBE_NAME_BYTES, &type);
	if (r)
		return r;
	object = top[1].raw;
	if (!object.p || top[1].type != EG_JSON_OBJECT)
		return refuse(e, "it has no object");
	if (!strcmp(type, "BOOKMARK")) {
		e->type = KUBE_BOOKMARK;
		return read_bookmark(e, object);
	}
	if (!strcmp(type, "ERROR")) {
		e->type = KUBE_ERROR;
		return read_error(e, object);
	}
	if (!strcmp(type, "DELETED"))
		e->type = KUBE_DELETED;
	else if (strcmp(type, "ADDED") != 0 && strcmp(type, "MODIFIED") != 0)
		return refuse(e, "its type is none of those that a watch has");
	return read_object(e, kind, node, object);
}

int kube_event_read(enum kube_kind kind, const char *node, struct eg_str line, struct kube_event *e)
{
	clear(e);
	return judged(e, kind, line, read_line(kind, node, line, e));
}

int kube_item_read(enum kube_kind kind, const char *node, struct eg_str item, struct kube_event *e)
{
	clear(e);
	return judged(e, kind, item, read_object(e, kind, node, item));
}

/* ---- lists, statuses ---- */

int kube_list_read(struct eg_str text, struct kube_list *l)
{
	struct member top[] = {{.key = EG_STR("metadata")}};
	struct member in[] = {{.key = EG_STR("resourceVersion")}, {.key = EG_STR("continue")}};
	const char *version = NULL, *go_on = NULL;
	struct eg_arena memory;
	int r = find(text, top, 1);

	eg_arena_init(&memory, 0);
	r = r ? r : find_in(&top[0], in, EG_ARRAY_SIZE(in));
	r = r ? r : get_raw(&memory, in[0].raw, in[0].type, KUBE_VERSION_BYTES, &version);
	r = r ? r : get_raw(&memory, in[1].raw, in[1].type, KUBE_CONTINUE_BYTES, &go_on);
	if (!r && !version)
		r = -EINVAL;
	if (!r) {
		eg_str_copy(l->version, sizeof(l->version), eg_str_from(version));
		eg_str_copy(l->go_on, sizeof(l->go_on), eg_str_from(go_on));
	}
	eg_arena_fini(&memory);
	return r;
}

void kube_printable(struct eg_str bytes, char *out, size_t cap)
{
	struct eg_buf b;

	bytes.n = EG_MIN(bytes.n, cap);
	eg_buf_init(&b, 6 * cap + 1);
	if (eg_text_printable(&b, bytes))
		eg_buf_clear(&b);
	eg_str_copy(out, cap, eg_buf_str(&b));
	eg_buf_fini(&b);
}

void kube_status_message(struct eg_str text, char *out, size_t cap)
{
	struct member in[] = {{.key = EG_STR("message")}};
	struct eg_arena memory;
	struct eg_str message = {0};

	eg_arena_init(&memory, 0);
	if (!find(text, in, 1) && in[0].raw.p && in[0].type == EG_JSON_STRING)
		message = eg_json_string(&memory, in[0].raw);
	kube_printable(message, out, cap);
	eg_arena_fini(&memory);
}
