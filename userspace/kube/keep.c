/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/keep.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/log.h"
#include "proto/json_scan.h"

#define KEEP_VERSION 1u

/* ---- to text ---- */

static int put(struct eg_buf *out, const char *before, const char *value)
{
	int r = eg_buf_append_str(out, eg_str_from(before));

	return r ? r : eg_json_quote(out, eg_str_from(value), SIZE_MAX);
}

static int put_labels(struct eg_buf *out, const struct eg_identity *id)
{
	int r = eg_buf_append_str(out, EG_STR(",\"labels\":{"));

	for (size_t i = 0; !r && i < id->label_count; i++) {
		r = put(out, i ? "," : "", id->labels[i].key);
		if (!r)
			r = put(out, ":", id->labels[i].value);
	}
	return r ? r : eg_buf_append_str(out, EG_STR("}"));
}

static int put_spec(struct eg_buf *out, const struct eg_kube_pod *p, const char *node)
{
	int r = put(out, ",\"spec\":{\"nodeName\":", node);

	if (!r)
		r = put(out, ",\"serviceAccountName\":", p->identity.service_account);
	return r ? r
		 : eg_buf_printf(out, ",\"hostNetwork\":%s},\"status\":{\"phase\":\"%s\"}",
				 p->host_network ? "true" : "false",
				 p->finished ? "Succeeded" : "Running");
}

static int put_object(struct eg_buf *out, enum kube_kind kind, const struct eg_kube_pod *p,
		      const char *node)
{
	const struct eg_identity *id = &p->identity;
	int r = put(out, "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":", id->name);

	if (!r && kind == KUBE_PODS)
		r = put(out, ",\"namespace\":", id->namespace_name);
	if (!r)
		r = put(out, ",\"uid\":", id->uid);
	if (!r)
		r = put_labels(out, id);
	if (!r && p->mirror_of) {
		r = put(out, ",\"annotations\":{\"kubernetes.io/config.mirror\":", p->mirror_of);
		r = r ? r : eg_buf_append_str(out, EG_STR("}"));
	}
	if (!r)
		r = eg_buf_append_str(out, EG_STR("}"));
	if (!r && kind == KUBE_PODS)
		r = put_spec(out, p, node);
	return r ? r : eg_buf_append_str(out, EG_STR("}}\n"));
}

int kube_keep_write(const struct kube_store *pods, const struct kube_store *namespaces,
		    const char *node, struct eg_buf *out)
{
	int r = eg_buf_printf(out, "{\"version\":%u,\"pods\":%zu,\"namespaces\":%zu", KEEP_VERSION,
			      pods->count, namespaces->count);

	if (!r)
		r = put(out, ",\"node\":", node);
	if (!r)
		r = eg_buf_append_str(out, EG_STR("}\n"));
	for (size_t i = 0; !r && i < pods->count; i++)
		r = put_object(out, KUBE_PODS, pods->items[i], node);
	for (size_t i = 0; !r && i < namespaces->count; i++)
		r = put_object(out, KUBE_NAMESPACES, namespaces->items[i], node);
	return r;
}

/* ---- from text ---- */

struct header {
	uint64_t version, pods, namespaces;
	char node[KUBE_NAME_BYTES + 1];
};

static int note(void *ctx, const struct eg_json_member *m)
{
	struct header *h = ctx;

	if (m->type == EG_JSON_STRING && eg_str_eq(m->key, EG_STR("node")))
		/* A node's name has nothing that is escaped. */
		eg_str_copy(h->node, sizeof(h->node), (struct eg_str){m->raw.p + 1, m->raw.n - 2});
	else if (eg_str_eq(m->key, EG_STR("version")))
		return eg_json_u64(m->raw, &h->version) ? 0 : -EINVAL;
	else if (eg_str_eq(m->key, EG_STR("pods")))
		return eg_json_u64(m->raw, &h->pods) ? 0 : -EINVAL;
	else if (eg_str_eq(m->key, EG_STR("namespaces")))
		return eg_json_u64(m->raw, &h->namespaces) ? 0 : -EINVAL;
	return 0;
}

/* The next line of *text, without its end. False: none that ends. */
static bool take_line(struct eg_str *text, struct eg_str *line)
{
	const char *end = text->n ? memchr(text->p, '\n', text->n) : NULL;

	if (!end)
		return false;
	*line = (struct eg_str){text->p, (size_t)(end - text->p)};
	text->n -= line->n + 1;
	text->p = end + 1;
	return true;
}

static int take_object(enum kube_kind kind, const char *node, struct eg_str line,
		       struct kube_store *to)
{
	bool changed = false;
	struct kube_event e;
	int r = kube_event_read(kind, node, line, &e);

	if (!r && (e.type != KUBE_CHANGED || e.elsewhere))
		r = -EINVAL;
	if (!r)
		r = kube_store_put(to, &e, &changed);
	kube_event_fini(&e);
	return r;
}

static int damaged(struct eg_error *e, uint64_t line)
{
	return eg_error_set(e, -EINVAL, "line %llu is not what was written",
			    (unsigned long long)line);
}

static int read_objects(struct eg_str text, const struct header *h, const char *node,
			struct kube_store *pods, struct kube_store *namespaces, struct eg_error *e)
{
	for (uint64_t i = 0; i < h->pods + h->namespaces; i++) {
		bool pod = i < h->pods;
		struct eg_str line;
		int r = take_line(&text, &line) ? 0 : -EINVAL;

		if (!r)
			r = take_object(pod ? KUBE_PODS : KUBE_NAMESPACES, node, line,
					pod ? pods : namespaces);
		if (r == -ENOMEM)
			return eg_error_set(e, r, "out of memory");
		if (r)
			return damaged(e, i + 2);
	}
	return text.n ? damaged(e, h->pods + h->namespaces + 2) : 0;
}

int kube_keep_read(struct eg_str text, const char *node, struct kube_store *pods,
		   struct kube_store *namespaces, struct eg_error *e)
{
	struct header h = {.node = ""};
	struct eg_str line;
	int r;

	if (!take_line(&text, &line) || eg_json_members(line, note, &h, NULL))
		return damaged(e, 1);
	if (h.version != KEEP_VERSION)
		return eg_error_set(e, -EINVAL, "it is of version %llu; expected %u",
				    (unsigned long long)h.version, KEEP_VERSION);
	if (strcmp(h.node, node) != 0)
		return eg_error_set(e, -EINVAL, "it is of the node %.64s; expected %s", h.node,
				    node);
	if (h.pods > KUBE_STORE_MOST || h.namespaces > KUBE_STORE_MOST)
		return damaged(e, 1);
	r = read_objects(text, &h, node, pods, namespaces, e);
	if (r) {
		kube_store_fini(pods);
		kube_store_fini(namespaces);
	}
	return r;
}

/* ---- the file ---- */

int kube_keep_load(const char *path, const char *node, struct kube_store *pods,
		   struct kube_store *namespaces, struct eg_error *e)
{
	EG_CLEANUP_FREE char *bytes = NULL;
	size_t n = 0;
	int r = eg_file_read(AT_FDCWD, path, KUBE_KEEP_BYTES, &bytes, &n, e);

	if (r)
		return r;
	r = kube_keep_read((struct eg_str){bytes, n}, node, pods, namespaces, e);
	return r ? eg_error_prefix(e, r, "%s", path) : 0;
}

static int write_all(int fd, struct eg_str text)
{
	while (text.n) {
		ssize_t n = write(fd, text.p, text.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text.p += n;
		text.n -= (size_t)n;
	}
	return 0;
}

static int save(const char *path, struct eg_str text)
{
	char later[4096];
	int n = snprintf(later, sizeof(later), "%s.new", path), r;
	EG_CLEANUP_FD int fd = -1;

	if (n < 0 || (size_t)n >= sizeof(later))
		return -ENAMETOOLONG;
	(void)unlink(later);
	fd = open(later, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text);
	if (!r && rename(later, path) < 0)
		r = -errno;
	if (r)
		(void)unlink(later);
	return r;
}

int kube_keep_save(const char *path, const char *node, const struct kube_store *pods,
		   const struct kube_store *namespaces, struct eg_error *e)
{
	struct eg_buf text;
	int r;

	eg_buf_init(&text, KUBE_KEEP_BYTES);
	r = kube_keep_write(pods, namespaces, node, &text);
	if (!r)
		r = save(path, eg_buf_str(&text));
	eg_buf_fini(&text);
	return r ? eg_error_set(e, r, "%s: %s", path,
				r == -ENOBUFS ? "more than 64 MiB" : strerror(-r))
		 : 0;
}
