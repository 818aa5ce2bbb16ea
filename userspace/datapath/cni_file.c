/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath/cni_file.h"

#include <jansson.h>

#include "datapath/datapath.h"

#define VALUE_BYTES 253
#define LINK_BYTES  15
#define PATH_BYTES  4095

struct reader {
	const char *file;
	struct eg_arena *memory;
	struct eg_error *error;
	int r; /* the first failure */
};

static int refuse(struct reader *rd, int r, const char *what)
{
	if (!rd->r)
		rd->r = eg_error_set(rd->error, r, "%s: %s", rd->file, what);
	return rd->r;
}

/* The string if it has 1 to `most` bytes and no NUL; NULL for anything else. */
static const char *text_of(const json_t *j, size_t most)
{
	const char *s = json_string_value(j);
	size_t n = json_string_length(j);

	return s && n && n <= most && strlen(s) == n ? s : NULL;
}

static const char *keep(struct reader *rd, const char *s)
{
	const char *copy = eg_arena_dup(rd->memory, eg_str_from(s));

	if (!copy)
		refuse(rd, -ENOMEM, "out of memory");
	return copy;
}

/* ---- for whom ---- */

/* "cniArgs" is a list of pairs. Once each: of two that differ none could be believed. */
static void read_args(struct reader *rd, const json_t *args, struct eg_identity *out)
{
	const struct {
		const char *key, **into;
	} wanted[] = {
		{"K8S_POD_NAMESPACE", &out->namespace_name},
		{"K8S_POD_NAME", &out->name},
		{"K8S_POD_UID", &out->uid},
	};
	const json_t *pair;
	size_t i;

	json_array_foreach(args, i, pair)
	{
		const char *key = text_of(json_array_get(pair, 0), VALUE_BYTES);

		for (size_t k = 0; key && k < EG_ARRAY_SIZE(wanted); k++) {
			const char *value = text_of(json_array_get(pair, 1), VALUE_BYTES);

			if (strcmp(key, wanted[k].key) != 0)
				continue;
			if (!value)
				refuse(rd, -EINVAL,
				       "$.cniArgs: expected names and a uid of 1 to 253 bytes");
			else if (!*wanted[k].into)
				*wanted[k].into = keep(rd, value);
			else if (strcmp(*wanted[k].into, value) != 0)
				refuse(rd, -EINVAL, "$.cniArgs: names two pods");
			if (rd->r)
				return;
		}
	}
}

static void read_identity(struct reader *rd, const json_t *root, struct eg_identity *out)
{
	const char *kind = text_of(json_object_get(root, "kind"), VALUE_BYTES);

	*out = (struct eg_identity){.service_account = "",
				    .labels_unknown = true,
				    .service_account_unknown = true,
				    .namespace_labels_unknown = true};
	if (!kind || strcmp(kind, "cniCacheV1") != 0) {
		refuse(rd, -EINVAL, "$.kind: expected \"cniCacheV1\"");
		return;
	}
	read_args(rd, json_object_get(root, "cniArgs"), out);
	if (rd->r)
		return;
	if (!out->namespace_name && !out->name && !out->uid)
		refuse(rd, -ENODATA, "is of no pod of Kubernetes");
	else if (!out->uid || !out->namespace_name || !out->name)
		refuse(rd, -EINVAL,
		       "$.cniArgs: expected K8S_POD_NAMESPACE, K8S_POD_NAME and K8S_POD_UID");
}

/* ---- what it was given ---- */

void eg_cni_add_address(struct eg_address *list, size_t *count, size_t *more,
			const struct eg_address *a)
{
	for (size_t i = 0; i < *count; i++)
		if (!memcmp(&list[i], a, sizeof(*a)))
			return;
	if (*count < EG_POD_ADDRESSES)
		list[(*count)++] = *a;
	else
		++*more;
}

/* "10.1.0.2/24", or without its prefix. What no pod can have (loopback's) is left out. */
static void add_address(const json_t *j, struct eg_cni_file *out)
{
	const char *s = text_of(j, 64);
	char text[65];
	struct eg_address a;

	if (!s)
		return;
	eg_str_copy(text, sizeof(text), (struct eg_str){s, strcspn(s, "/")});
	if (!eg_address_from_text(text, &a) && !eg_address_never_pod(&a))
		eg_cni_add_address(out->addresses, &out->address_count, &out->addresses_more, &a);
}

static bool is_link_name(const char *s)
{
	for (const char *c = s; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 127 || *c == '/' || *c == ':')
			return false;
	return strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

static void add_link(struct reader *rd, const char *name, struct eg_cni_file *out)
{
	const char *copy = keep(rd, name);

	if (!copy)
		return;
	if (out->link_count == EG_CNI_LINKS) {
		memmove(out->links, out->links + 1, sizeof(out->links) - sizeof(out->links[0]));
		out->link_count--;
	}
	out->links[out->link_count++] = copy;
}

static void read_interfaces(struct reader *rd, const json_t *interfaces, struct eg_cni_file *out)
{
	const json_t *one;
	size_t i;

	json_array_foreach(interfaces, i, one)
	{
		const char *name = text_of(json_object_get(one, "name"), LINK_BYTES);
		const char *sandbox = text_of(json_object_get(one, "sandbox"), PATH_BYTES);

		if (sandbox && !out->sandbox && *sandbox == '/')
			out->sandbox = keep(rd, sandbox);
		else if (!sandbox && name && is_link_name(name))
			add_link(rd, name, out);
	}
}

/* Since 0.3.0 (SPEC, "Add Success"): of which interface an address is may be left out. */
static bool is_pods(const json_t *address, const json_t *interfaces)
{
	const json_t *index = json_object_get(address, "interface");

	return !index || json_is_null(index) ||
	       (json_is_integer(index) && json_integer_value(index) >= 0 &&
		text_of(json_object_get(
				json_array_get(interfaces, (size_t)json_integer_value(index)),
				"sandbox"),
			PATH_BYTES));
}

static void read_result(struct reader *rd, const json_t *root, struct eg_cni_file *out)
{
	const json_t *result = json_object_get(root, "result"), *one;
	const json_t *interfaces = json_object_get(result, "interfaces");
	const char *netns = text_of(json_object_get(root, "netns"), PATH_BYTES);
	size_t i;

	read_interfaces(rd, interfaces, out);
	if (!out->sandbox && netns && *netns == '/') /* libcni writes it since 1.2 */
		out->sandbox = keep(rd, netns);
	json_array_foreach(json_object_get(result, "ips"), i, one) if (is_pods(one, interfaces))
		add_address(json_object_get(one, "address"), out);
	/* 0.2.0 */
	add_address(json_object_get(json_object_get(result, "ip4"), "ip"), out);
	add_address(json_object_get(json_object_get(result, "ip6"), "ip"), out);
}

int eg_cni_parse(const char *file, const char *text, size_t bytes, struct eg_arena *memory,
		 struct eg_cni_file *out, struct eg_error *error)
{
	struct reader rd = {.file = file, .memory = memory, .error = error};
	struct eg_cni_file found = {.sandbox = NULL};
	json_error_t e;
	/* A pod's annotations are in it, too: they may hold NULs, and must not hide the pod. */
	json_t *root = json_loadb(text, bytes, JSON_ALLOW_NUL, &e);

	if (!root)
		return eg_error_set(error, -EINVAL, "%s: line %d, column %d: %s", file, e.line,
				    e.column, e.text);
	read_identity(&rd, root, &found.identity);
	if (!rd.r)
		read_result(&rd, root, &found);
	json_decref(root);
	if (!rd.r)
		*out = found;
	return rd.r;
}
