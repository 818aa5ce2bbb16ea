/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an API server sends, as a watch or as a list (by the first byte), through split, objects and
 * store. Oracles: nothing depends on how it was cut; pieces are what a reader of the whole input
 * finds; an event has what its contract promises; the store is what a plain table of the same
 * events is.
 */
#include <jansson.h>

#include "fuzz.h"
#include "kube/store.h"
#include "kube/split.h"

#define NODE  "n1"
#define KNOWN 512u /* of the plain table */

/* Every piece with its length and whether it was cut. */
struct log {
	char *p;
	size_t n, size, pieces;
};

static void put(struct log *l, const void *p, size_t n)
{
	if (l->n + n > l->size) {
		l->size = 2 * (l->n + n) + 64;
		l->p = realloc(l->p, l->size);
		if (!l->p)
			abort();
	}
	if (n)
		memcpy(l->p + l->n, p, n);
	l->n += n;
}

static int note(void *ctx, struct eg_str text, bool cut)
{
	struct log *l = ctx;

	FUZZ_CHECK(text.n > 0 && text.n <= KUBE_TEXT_BYTES);
	FUZZ_CHECK(!cut || text.n == KUBE_TEXT_BYTES);
	put(l, &text.n, sizeof(text.n));
	put(l, &cut, sizeof(cut));
	put(l, text.p, text.n);
	l->pieces++;
	return 0;
}

/* *rest: of a list, to be freed. */
static int split(bool list, const char *p, size_t size, uint64_t cut, struct log *l, char **rest,
		 size_t *rest_bytes)
{
	struct kube_split s;
	int r = 0;

	*l = (struct log){0};
	kube_split_init(&s, list, note, l);
	for (size_t at = 0; !r && at < size;) {
		size_t n = cut ? fuzz_step(&cut, size - at) : size;
		char *piece = fuzz_copy(p + at, n);

		r = kube_split_feed(&s, (struct eg_str){piece, n});
		free(piece);
		at += n;
	}
	r = r ? r : kube_split_end(&s);
	FUZZ_CHECK(r == 0 || (list && r == -EINVAL));
	*rest_bytes = s.rest.length;
	*rest = fuzz_copy(s.rest.length ? eg_buf_data(&s.rest) : "", s.rest.length);
	kube_split_fini(&s);
	return r;
}

/* ---- what another reader finds ---- */

static void lines_by_hand(const char *p, size_t size, struct log *l)
{
	for (size_t at = 0, end; at < size; at = end + 1) {
		for (end = at; end < size && p[end] != '\n'; end++)
			;
		if (end > at)
			(void)note(l, (struct eg_str){p + at, end - at}, false);
	}
}

/* Where jansson reads a list with one array of objects for its items, they are the pieces. */
static void items_by_jansson(const char *p, size_t size, int r, const struct log *l)
{
	json_t *root = json_loadb(p, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	json_t *items = json_object_get(root, "items"), *item;
	const char *at = l->p;
	bool objects = json_is_object(root) && json_is_array(items);
	/* A key is found as it is written; one that is spelled by escapes is not. */
	bool plain = size && !memmem(p, size, "\\u", 2);
	size_t i;

	json_array_foreach(items, i, item) objects = objects && json_is_object(item);
	if (!objects || !plain) {
		json_decref(root);
		return;
	}
	FUZZ_CHECK(!r);
	FUZZ_CHECK(l->pieces == json_array_size(items));
	json_array_foreach(items, i, item)
	{
		json_t *piece;
		size_t n;
		bool cut;

		memcpy(&n, at, sizeof(n));
		memcpy(&cut, at + sizeof(n), sizeof(cut));
		at += sizeof(n) + sizeof(cut);
		piece = json_loadb(at, n, JSON_ALLOW_NUL, NULL);
		FUZZ_CHECK(piece && json_equal(piece, item) && !cut);
		json_decref(piece);
		at += n;
	}
	json_decref(root);
}

/* ---- events ---- */

static void check_string(const char *s, size_t most)
{
	FUZZ_CHECK(s && strlen(s) <= most);
}

static void check_event(enum kube_kind kind, int r, const struct kube_event *e)
{
	const struct eg_identity *id = &e->object.identity;

	FUZZ_CHECK(r == 0 || r == -EINVAL);
	check_string(e->version, KUBE_VERSION_BYTES);
	if (e->whose) {
		check_string(e->whose, KUBE_NAME_BYTES);
		FUZZ_CHECK(*e->whose);
	}
	if (r) {
		FUZZ_CHECK(e->wrong);
		return;
	}
	FUZZ_CHECK(e->type != KUBE_BOOKMARK || *e->version);
	FUZZ_CHECK(e->code < 1000 && e->message);
	if (e->type != KUBE_CHANGED && e->type != KUBE_DELETED)
		return;
	check_string(id->uid, KUBE_NAME_BYTES);
	check_string(id->name, KUBE_NAME_BYTES);
	FUZZ_CHECK(e->whose == (kind == KUBE_PODS ? id->uid : id->name));
	if (e->type == KUBE_DELETED || e->elsewhere)
		return;
	FUZZ_CHECK(*id->uid && *id->name);
	check_string(id->namespace_name, KUBE_NAME_BYTES);
	check_string(id->service_account, KUBE_NAME_BYTES);
	FUZZ_CHECK(id->label_count <= KUBE_LABELS);
	for (size_t i = 0; i < id->label_count; i++) {
		check_string(id->labels[i].key, KUBE_LABEL_KEY_BYTES);
		check_string(id->labels[i].value, KUBE_NAME_BYTES);
		FUZZ_CHECK(!i || strcmp(id->labels[i - 1].key, id->labels[i].key) < 0);
	}
}

/* One object as bytes_of() bytes, so that two are compared by another way than the store's own. */
static char *text_of(const struct eg_kube_pod *p)
{
	struct log l = {0};
	const struct eg_identity *id = &p->identity;

	put(&l, id->uid, strlen(id->uid) + 1);
	put(&l, id->name, strlen(id->name) + 1);
	put(&l, id->namespace_name, strlen(id->namespace_name) + 1);
	put(&l, id->service_account, strlen(id->service_account) + 1);
	put(&l, &p->host_network, 1);
	put(&l, &p->finished, 1);
	put(&l, p->mirror_of ? p->mirror_of : "", p->mirror_of ? strlen(p->mirror_of) + 1 : 1);
	for (size_t i = 0; i < id->label_count; i++) {
		put(&l, id->labels[i].key, strlen(id->labels[i].key) + 1);
		put(&l, id->labels[i].value, strlen(id->labels[i].value) + 1);
	}
	return l.p;
}

static size_t bytes_of(const struct eg_kube_pod *p)
{
	const struct eg_identity *id = &p->identity;
	size_t n = strlen(id->uid) + strlen(id->name) + strlen(id->namespace_name) +
		   strlen(id->service_account) + 7 + (p->mirror_of ? strlen(p->mirror_of) : 0);

	for (size_t i = 0; i < id->label_count; i++)
		n += strlen(id->labels[i].key) + strlen(id->labels[i].value) + 2;
	return n;
}

struct plain {
	char *key, *uid, *text;
	size_t bytes;
	uint64_t version;
	bool listed;
};

struct table {
	struct plain item[KNOWN];
	size_t count;
	bool listing;
};

static void drop(struct table *t, size_t i)
{
	free(t->item[i].key);
	free(t->item[i].uid);
	free(t->item[i].text);
	t->item[i] = t->item[--t->count];
}

static size_t seek(const struct table *t, const char *key)
{
	size_t i = 0;

	while (i < t->count && strcmp(t->item[i].key, key) != 0)
		i++;
	return i;
}

static void plain_put(struct table *t, const struct kube_event *e)
{
	uint64_t version = kube_version_number(e->version);
	size_t i = seek(t, e->whose);

	if (i < t->count && !t->listing && version && version < t->item[i].version &&
	    !strcmp(t->item[i].uid, e->object.identity.uid))
		return;
	if (i < t->count)
		drop(t, i);
	i = t->count++; /* listed: only of account while a list is under way */
	t->item[i] = (struct plain){strdup(e->whose),
				    strdup(e->object.identity.uid),
				    text_of(&e->object),
				    bytes_of(&e->object),
				    version,
				    true};
}

static bool plain_end(struct table *t, const char *version)
{
	uint64_t most = kube_version_number(version);
	size_t before = t->count;

	t->listing = false;
	for (size_t i = 0; i < t->count;)
		if (!t->item[i].listed) {
			drop(t, i);
		} else {
			if (most && t->item[i].version > most)
				t->item[i].version = 0;
			i++;
		}
	return t->count != before;
}

static void compare(const struct kube_store *s, const struct table *t)
{
	FUZZ_CHECK(s->count == t->count);
	for (size_t i = 0; i < t->count; i++) {
		const struct eg_kube_pod *p = kube_store_find(s, t->item[i].key);
		char *text;

		FUZZ_CHECK(p);
		text = text_of(p);
		FUZZ_CHECK(bytes_of(p) == t->item[i].bytes &&
			   !memcmp(text, t->item[i].text, t->item[i].bytes));
		free(text);
	}
}

/* As watch.c does: a list is under way until its end mark, or the last item. */
static void run(enum kube_kind kind, bool list, const struct log *l)
{
	struct table *t = calloc(1, sizeof(*t));
	struct kube_event *e = calloc(1, sizeof(*e));
	const char *at = l->p;
	struct kube_store s;

	if (!t || !e)
		abort();
	kube_store_init(&s, kind);
	kube_store_begin(&s);
	t->listing = true;
	for (size_t i = 0; i < l->pieces && t->count < KNOWN - 1; i++) {
		bool cut, changed = false;
		struct eg_str text;
		size_t n, where;
		char *piece;
		int r;

		memcpy(&n, at, sizeof(n));
		memcpy(&cut, at + sizeof(n), sizeof(cut));
		at += sizeof(n) + sizeof(cut);
		piece = fuzz_copy(at, n);
		at += n;
		text = (struct eg_str){piece, n};
		r = list ? kube_item_read(kind, NODE, text, e)
			 : kube_event_read(kind, NODE, text, e);
		check_event(kind, r, e);
		where = e->whose ? seek(t, e->whose) : t->count;
		if (r || e->type == KUBE_DELETED) {
			const char *uid = r ? "" : e->object.identity.uid;
			bool there =
				where < t->count && (!*uid || !strcmp(uid, t->item[where].uid));

			if (e->whose)
				FUZZ_CHECK(kube_store_remove(&s, e->whose, uid) == there);
			if (e->whose && there)
				drop(t, where);
		} else if (e->type == KUBE_CHANGED && !e->elsewhere) {
			FUZZ_CHECK(!kube_store_put(&s, e, &changed));
			plain_put(t, e);
		} else if (e->type == KUBE_BOOKMARK && e->initial_end && t->listing) {
			FUZZ_CHECK(kube_store_end(&s, e->version) == plain_end(t, e->version));
		} else if (e->type == KUBE_ERROR) { /* anew */
			kube_store_begin(&s);
			t->listing = true;
			for (size_t k = 0; k < t->count; k++)
				t->item[k].listed = false;
		}
		kube_event_fini(e);
		FUZZ_CHECK(!kube_cut_read(kind, text, e));
		if (e->whose)
			check_string(e->whose, KUBE_NAME_BYTES);
		kube_event_fini(e);
		free(piece);
	}
	compare(&s, t);
	while (t->count)
		drop(t, 0);
	kube_store_fini(&s);
	free(t);
	free(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct log whole, parted, by_hand = {0};
	char *bytes, *rest, *rest_parted;
	size_t n, n_parted;
	enum kube_kind kind;
	struct kube_list l;
	bool list;
	int r;

	if (!size)
		return 0;
	list = data[0] & 1;
	kind = data[0] & 2 ? KUBE_NAMESPACES : KUBE_PODS;
	data++;
	size--;
	bytes = fuzz_copy(data, size);
	r = split(list, bytes, size, 0, &whole, &rest, &n);
	FUZZ_CHECK(r == split(list, bytes, size, fuzz_seed(data, size), &parted, &rest_parted,
			      &n_parted));
	FUZZ_CHECK(whole.n == parted.n && (!whole.n || !memcmp(whole.p, parted.p, whole.n)));
	FUZZ_CHECK(n == n_parted && !memcmp(rest, rest_parted, n));
	if (list) {
		items_by_jansson(bytes, size, r, &whole);
		if (!r && !kube_list_read((struct eg_str){rest, n}, &l)) {
			check_string(l.version, KUBE_VERSION_BYTES);
			check_string(l.go_on, KUBE_CONTINUE_BYTES);
			FUZZ_CHECK(*l.version);
		}
	} else {
		lines_by_hand(bytes, size, &by_hand);
		FUZZ_CHECK(whole.n == by_hand.n &&
			   (!whole.n || !memcmp(whole.p, by_hand.p, whole.n)));
	}
	run(kind, list, &whole);
	free(whole.p);
	free(parted.p);
	free(by_hand.p);
	free(rest);
	free(rest_parted);
	free(bytes);
	return 0;
}
