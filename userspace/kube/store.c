/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/store.h"

#include <stdlib.h>

/* One block: the strings and labels lie behind it. */
struct entry {
	struct eg_kube_pod object;
	uint64_t version; /* 0: no number */
	uint64_t list;	  /* the last one that was under way when it came */
};

static struct entry *entry_of(struct eg_kube_pod *p)
{
	return eg_container_of(p, struct entry, object);
}

static const char *key_of(const struct kube_store *s, const struct eg_kube_pod *p)
{
	return s->kind == KUBE_PODS ? p->identity.uid : p->identity.name;
}

void kube_store_init(struct kube_store *s, enum kube_kind kind)
{
	*s = (struct kube_store){.kind = kind};
}

void kube_store_fini(struct kube_store *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(entry_of(s->items[i]));
	free(s->items);
	*s = (struct kube_store){.kind = s->kind};
}

/* Where it is, or has to be. */
static size_t place(const struct kube_store *s, const char *key, bool *found)
{
	size_t low = 0, high = s->count;

	*found = false;
	while (low < high && !*found) {
		size_t middle = low + (high - low) / 2;
		int c = strcmp(key, key_of(s, s->items[middle]));

		if (c > 0)
			low = middle + 1;
		else
			high = middle;
		*found = !c;
	}
	return high;
}

const struct eg_kube_pod *kube_store_find(const struct kube_store *s, const char *key)
{
	bool found;
	size_t i = place(s, key, &found);

	return found ? s->items[i] : NULL;
}

static bool same_mirror(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

const struct eg_kube_pod *kube_store_mirror(const struct kube_store *s, const char *uid,
					    size_t *claims)
{
	const struct eg_kube_pod *found = NULL;

	*claims = 0;
	for (size_t i = 0; i < s->count; i++) {
		if (!s->items[i]->mirror_of || strcmp(s->items[i]->mirror_of, uid) != 0)
			continue;
		found = s->items[i];
		++*claims;
	}
	return *claims == 1 ? found : NULL;
}

static bool same(const struct eg_kube_pod *a, const struct eg_kube_pod *b)
{
	const struct eg_identity *x = &a->identity, *y = &b->identity;

	if (a->host_network != b->host_network || a->finished != b->finished ||
	    !same_mirror(a->mirror_of, b->mirror_of) || x->label_count != y->label_count ||
	    strcmp(x->uid, y->uid) || strcmp(x->name, y->name) ||
	    strcmp(x->namespace_name, y->namespace_name) ||
	    strcmp(x->service_account, y->service_account))
		return false;
	for (size_t i = 0; i < x->label_count; i++)
		if (strcmp(x->labels[i].key, y->labels[i].key) ||
		    strcmp(x->labels[i].value, y->labels[i].value))
			return false;
	return true;
}

static const char *keep(char **at, const char *s)
{
	char *copy = *at;
	size_t n = strlen(s) + 1;

	memcpy(copy, s, n);
	*at += n;
	return copy;
}

static struct entry *copy(const struct eg_kube_pod *p)
{
	const struct eg_identity *id = &p->identity;
	size_t n = sizeof(struct entry) + id->label_count * sizeof(struct eg_label);
	struct eg_label *labels;
	struct entry *e;
	char *at;

	n += strlen(id->uid) + strlen(id->name) + strlen(id->namespace_name) +
	     strlen(id->service_account) + 4 + (p->mirror_of ? strlen(p->mirror_of) + 1 : 0);
	for (size_t i = 0; i < id->label_count; i++)
		n += strlen(id->labels[i].key) + strlen(id->labels[i].value) + 2;
	e = malloc(n);
	if (!e)
		return NULL;
	labels = (struct eg_label *)(e + 1);
	at = (char *)(labels + id->label_count);
	*e = (struct entry){.object = *p};
	e->object.identity = (struct eg_identity){
		.uid = keep(&at, id->uid),
		.name = keep(&at, id->name),
		.namespace_name = keep(&at, id->namespace_name),
		.service_account = keep(&at, id->service_account),
		.labels = labels,
		.label_count = id->label_count,
	};
	if (p->mirror_of)
		e->object.mirror_of = keep(&at, p->mirror_of);
	for (size_t i = 0; i < id->label_count; i++) {
		labels[i].key = keep(&at, id->labels[i].key);
		labels[i].value = keep(&at, id->labels[i].value);
	}
	return e;
}

static int make_room(struct kube_store *s)
{
	size_t room = s->room ? 2 * s->room : 64;
	struct eg_kube_pod **items;

	if (s->count == KUBE_STORE_MOST)
		return -ENOSPC;
	if (s->count < s->room)
		return 0;
	items = realloc(s->items, room * sizeof(struct eg_kube_pod *));
	if (!items)
		return -ENOMEM;
	s->items = items;
	s->room = room;
	return 0;
}

int kube_store_put(struct kube_store *s, const struct kube_event *e, bool *changed)
{
	uint64_t version = kube_version_number(e->version);
	struct entry *known = NULL, *fresh;
	bool found;
	size_t i = place(s, key_of(s, &e->object), &found);
	int r;

	if (found) {
		known = entry_of(s->items[i]);
		/* A number is only held against another of the same object. */
		if (!s->listing && version && version < known->version &&
		    !strcmp(known->object.identity.uid, e->object.identity.uid))
			return 0;
		if (same(&known->object, &e->object)) {
			known->version = version;
			known->list = s->list;
			return 0;
		}
	} else {
		r = make_room(s);
		if (r)
			return r;
	}
	fresh = copy(&e->object);
	if (!fresh)
		return -ENOMEM;
	fresh->version = version;
	fresh->list = s->list;
	if (!found) {
		memmove(s->items + i + 1, s->items + i, (s->count - i) * sizeof(*s->items));
		s->count++;
	}
	free(known);
	s->items[i] = &fresh->object;
	*changed = true;
	return 0;
}

bool kube_store_remove(struct kube_store *s, const char *key, const char *uid)
{
	bool found;
	size_t i = place(s, key, &found);

	if (!found || (*uid && strcmp(uid, s->items[i]->identity.uid) != 0))
		return false;
	free(entry_of(s->items[i]));
	s->count--;
	memmove(s->items + i, s->items + i + 1, (s->count - i) * sizeof(*s->items));
	return true;
}

void kube_store_begin(struct kube_store *s)
{
	s->list++;
	s->listing = true;
}

bool kube_store_end(struct kube_store *s, const char *version)
{
	uint64_t most = kube_version_number(version);
	size_t kept = 0, before = s->count;

	for (size_t i = 0; i < s->count; i++) {
		struct entry *e = entry_of(s->items[i]);

		if (e->list != s->list) {
			free(e);
			continue;
		}
		/* A number that the server has not come to yet (its etcd was set back) would hold
		 * all that follows off. */
		if (most && e->version > most)
			e->version = 0;
		s->items[kept++] = s->items[i];
	}
	s->count = kept;
	s->listing = false;
	return kept != before;
}
