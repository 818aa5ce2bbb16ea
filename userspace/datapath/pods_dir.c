/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath/pods_dir.h"

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/files.h"
#include "datapath/datapath.h"
#include "datapath/pod_files.h"

#define FILE_BYTES  65536
#define ALL_BYTES   (8u << 20) /* of all files; a gateway is handed all pods at once */
#define LABELS	    128
#define VALUE_BYTES 253

struct eg_pods_dir {
	struct eg_pod_files files;
};

int eg_pods_dir_open(const char *path, struct eg_pods_dir **out, struct eg_error *error)
{
	struct eg_pods_dir *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return eg_error_set(error, -ENOMEM, "out of memory");
	r = eg_pod_files_open(&d->files, "the pods directory", path, false, error);
	if (r) {
		free(d);
		return r;
	}
	*out = d;
	return 0;
}

void eg_pods_dir_close(struct eg_pods_dir *d)
{
	if (!d)
		return;
	eg_pod_files_close(&d->files);
	free(d);
}

int eg_pods_dir_fd(const struct eg_pods_dir *d)
{
	return d->files.notify;
}

bool eg_pods_dir_changed(struct eg_pods_dir *d)
{
	return eg_pod_files_changed(&d->files);
}

/* ---- one file ---- */

/* Where a value is, for the sentence. */
struct place {
	const char *file;
	struct eg_arena *memory;
	struct eg_error *error;
};

static const char *type_name(const json_t *j)
{
	switch (json_typeof(j)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		break;
	}
	return "null";
}

/* A string of 1 to VALUE_BYTES bytes without NUL (or empty, when allowed). NULL when refused. */
static const char *get_string(struct place *p, const json_t *j, const char *path, bool may_be_empty)
{
	const char *copy;
	size_t n;

	if (!json_is_string(j)) {
		eg_error_set(p->error, -EINVAL, "%s: %s: expected a string, found %s", p->file,
			     path, type_name(j));
		return NULL;
	}
	n = json_string_length(j);
	if (n > VALUE_BYTES || (!n && !may_be_empty) || strlen(json_string_value(j)) != n) {
		eg_error_set(p->error, -EINVAL,
			     "%s: %s: expected %s%d bytes without NUL, found %zu", p->file, path,
			     may_be_empty ? "at most " : "1 to ", VALUE_BYTES, n);
		return NULL;
	}
	copy = eg_arena_dup(p->memory, (struct eg_str){json_string_value(j), n});
	if (!copy)
		eg_error_set(p->error, -ENOMEM, "%s: out of memory", p->file);
	return copy;
}

static int get_labels(struct place *p, const char *name, json_t *j, const struct eg_label **out,
		      size_t *count)
{
	struct eg_label *labels;
	const char *key;
	char path[300];
	json_t *value;
	size_t n = 0;

	if (!json_is_object(j))
		return eg_error_set(p->error, -EINVAL,
				    "%s: $.%s: expected an object of strings, found %s", p->file,
				    name, type_name(j));
	if (json_object_size(j) > LABELS)
		return eg_error_set(p->error, -EINVAL,
				    "%s: $.%s: %zu labels, at most %d are possible", p->file, name,
				    json_object_size(j), LABELS);
	labels = eg_arena_zalloc(p->memory, (json_object_size(j) + 1) * sizeof(*labels));
	if (!labels)
		return eg_error_set(p->error, -ENOMEM, "%s: out of memory", p->file);
	json_object_foreach(j, key, value)
	{
		snprintf(path, sizeof(path), "$.%s[\"%.200s\"]", name, key);
		labels[n].key = eg_arena_dup(p->memory, eg_str_from(key));
		labels[n].value = get_string(p, value, path, true);
		if (!labels[n].key || !labels[n].value)
			return -EINVAL;
		n++;
	}
	*out = labels;
	*count = n;
	return 0;
}

static int get_addresses(struct place *p, json_t *j, struct eg_pod_entry *out)
{
	size_t i;
	json_t *value;

	if (!json_is_array(j))
		return eg_error_set(p->error, -EINVAL,
				    "%s: $.ips: expected an array of addresses, "
				    "found %s",
				    p->file, type_name(j));
	if (json_array_size(j) > EG_POD_ADDRESSES)
		return eg_error_set(p->error, -EINVAL,
				    "%s: $.ips: %zu addresses, at most %d are "
				    "possible",
				    p->file, json_array_size(j), EG_POD_ADDRESSES);
	json_array_foreach(j, i, value)
	{
		struct eg_address a;

		if (!json_is_string(value) || eg_address_from_text(json_string_value(value), &a) ||
		    eg_address_never_pod(&a))
			return eg_error_set(
				p->error, -EINVAL,
				"%s: $.ips[%zu]: expected an IPv4 or IPv6 address that a pod "
				"can have, found %s%.60s",
				p->file, i, json_is_string(value) ? "" : type_name(value),
				json_is_string(value) ? json_string_value(value) : "");
		for (size_t k = 0; k < out->address_count; k++)
			if (!memcmp(&out->addresses[k], &a, sizeof(a)))
				return eg_error_set(
					p->error, -EINVAL,
					"%s: $.ips[%zu]: the address is in the list twice", p->file,
					i);
		out->addresses[out->address_count++] = a;
	}
	return 0;
}

static int get_key(struct place *p, const char *key, json_t *value, struct eg_pod_entry *out)
{
	char path[64];
	const char **into = NULL;

	snprintf(path, sizeof(path), "$.%.40s", key);
	if (!strcmp(key, "labels"))
		return get_labels(p, key, value, &out->identity.labels, &out->identity.label_count);
	if (!strcmp(key, "namespaceLabels"))
		return get_labels(p, key, value, &out->identity.namespace_labels,
				  &out->identity.namespace_label_count);
	if (!strcmp(key, "ips"))
		return get_addresses(p, value, out);
	if (!strcmp(key, "namespace"))
		into = &out->identity.namespace_name;
	else if (!strcmp(key, "name"))
		into = &out->identity.name;
	else if (!strcmp(key, "uid"))
		into = &out->identity.uid;
	else if (!strcmp(key, "serviceAccount"))
		into = &out->identity.service_account;
	else if (!strcmp(key, "netns"))
		into = &out->netns;
	else if (!strcmp(key, "interface"))
		into = &out->interface;
	if (!into)
		return eg_error_set(p->error, -EINVAL,
				    "%s: %s: unknown key; expected namespace, name, uid, labels, "
				    "namespaceLabels, serviceAccount, ips, netns or interface",
				    p->file, path);
	*into = get_string(p, value, path, into == &out->identity.service_account);
	return *into ? 0 : -EINVAL;
}

static int get_pod(struct place *p, json_t *root, struct eg_pod_entry *out)
{
	const char *key;
	json_t *value;
	int r;

	if (!json_is_object(root))
		return eg_error_set(p->error, -EINVAL, "%s: $: expected an object, found %s",
				    p->file, type_name(root));
	json_object_foreach(root, key, value)
	{
		r = get_key(p, key, value, out);
		if (r)
			return r;
	}
	if (!out->identity.namespace_name || !out->identity.name || !out->identity.uid)
		return eg_error_set(p->error, -EINVAL, "%s: $.%s: missing", p->file,
				    !out->identity.namespace_name ? "namespace"
				    : !out->identity.name	  ? "name"
								  : "uid");
	if (!out->netns == !out->interface)
		return eg_error_set(p->error, -EINVAL,
				    "%s: $: expected either netns or interface, found %s", p->file,
				    out->netns ? "both" : "neither");
	if (out->netns && out->netns[0] != '/')
		return eg_error_set(p->error, -EINVAL,
				    "%s: $.netns: expected an absolute path, found %s", p->file,
				    out->netns);
	if (out->interface && (strlen(out->interface) > 15 || strchr(out->interface, '/')))
		return eg_error_set(
			p->error, -EINVAL,
			"%s: $.interface: expected a link's name of 1 to 15 bytes, found %s",
			p->file, out->interface);
	if (!out->identity.service_account)
		out->identity.service_account = "";
	return 0;
}

int eg_pods_parse(const char *file, const char *text, size_t bytes, struct eg_arena *memory,
		  struct eg_pod_entry *out, struct eg_error *error)
{
	struct place p = {.file = file, .memory = memory, .error = error};
	struct eg_pod_entry pod = {0};
	json_error_t e;
	json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &e);
	int r;

	if (!root)
		return eg_error_set(error, -EINVAL, "%s: line %d, column %d: %s", file, e.line,
				    e.column, e.text);
	r = get_pod(&p, root, &pod);
	json_decref(root);
	if (r)
		return r;
	pod.file = eg_arena_dup(memory, eg_str_from(file));
	if (!pod.file)
		return eg_error_set(error, -ENOMEM, "%s: out of memory", file);
	*out = pod;
	return 0;
}

/* ---- the directory ---- */

static int read_file(struct eg_pods_dir *d, const char *name, struct eg_arena *memory,
		     struct eg_pod_entry *out, size_t *bytes, struct eg_error *error)
{
	EG_CLEANUP_FREE char *text = NULL;
	size_t n = 0;
	int r = eg_file_read(d->files.dir, name, FILE_BYTES, &text, &n, error);

	if (r)
		return r;
	*bytes += n;
	return eg_pods_parse(name, text, n, memory, out, error);
}

static int is_json(const struct dirent *e)
{
	return e->d_name[0] != '.' && eg_str_ends(eg_str_from(e->d_name), EG_STR(".json"));
}

static int read_names(struct eg_pods_dir *d, struct dirent **names, size_t count,
		      struct eg_pod_list *list, struct eg_error *whole)
{
	size_t bytes = 0;

	for (size_t i = 0; i < count; i++) {
		struct eg_pod_entry *pod = &list->pods[list->count];
		struct eg_error *error = &list->errors[list->error_count];
		int r = read_file(d, names[i]->d_name, list->memory, pod, &bytes, error);

		if (r == -ENOENT)
			continue; /* gone between the listing and now */
		if (bytes > ALL_BYTES)
			return eg_error_set(whole, -E2BIG,
					    "the files of the pods directory %s have more than %u "
					    "bytes together",
					    d->files.path, ALL_BYTES);
		/* Of two that claim one thing the first by name has it: it does not depend on time.
		 */
		for (size_t k = 0; !r && k < list->count; k++)
			r = eg_pods_check_twin(pod, &list->pods[k], error);
		if (r)
			list->error_count++;
		else
			list->count++;
	}
	return 0;
}

int eg_pods_dir_read(struct eg_pods_dir *d, struct eg_pod_list *out, struct eg_error *error)
{
	struct eg_pod_list list;
	struct dirent **names;
	size_t count;
	int r = eg_pod_files_names(&d->files, is_json, &names, &count, error);

	if (r)
		return r;
	r = eg_pod_list_init(&list, count) ? eg_error_set(error, -ENOMEM, "out of memory")
					   : read_names(d, names, count, &list, error);
	eg_pod_files_free(names, count);
	if (r)
		eg_pod_list_fini(&list);
	else
		*out = list;
	return r;
}
