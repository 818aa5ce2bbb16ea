/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of values: against the tables, and of the forms that strings have. */
#include "policy/source.h"

#include <stdio.h>

#include "base/redact.h"

static const char *type_name(const json_t *v)
{
	switch (json_typeof(v)) {
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

static bool expect(const struct place *at, const json_t *v, bool right, const char *expected)
{
	if (!right)
		source_error(at, "is %s; expected %s", type_name(v), expected);
	return right;
}

static void list_values(char *out, size_t cap, const char *const *values)
{
	size_t n = 0;

	*out = '\0';
	for (size_t i = 0; values[i] && n < cap; i++)
		n += (size_t)snprintf(out + n, cap - n, "%s%s", i ? ", " : "", values[i]);
}

static bool in_list(const char *const *list, const char *text)
{
	for (size_t i = 0; list && list[i]; i++)
		if (!strcmp(list[i], text))
			return true;
	return false;
}

static void check_string(const struct place *at, json_t *v, const struct eg_key *k)
{
	char allowed[160];
	size_t limit = k->max_length ? k->max_length : 256;

	if (!expect(at, v, json_is_string(v), "a string"))
		return;
	if (json_string_length(v) > limit) {
		source_error(at, "has %zu bytes; expected at most %zu", json_string_length(v),
			     limit);
		return;
	}
	if (!json_string_length(v)) {
		source_error(at, "is empty; expected a string of 1 to %zu bytes", limit);
		return;
	}
	if (!k->values || in_list(k->values, json_string_value(v)))
		return;
	list_values(allowed, sizeof(allowed), k->values);
	if (!strcmp(k->name, "kind") || !strcmp(k->name, "type") || !strcmp(k->name, "version"))
		source_error(at,
			     "%s \"%.60s\" is not supported by this version; expected one of: %s",
			     k->name, json_string_value(v), allowed);
	else
		source_error(at, "is \"%.60s\"; expected one of: %s", json_string_value(v),
			     allowed);
}

static void check_elements(const struct place *at, json_t *v, const struct eg_key *k)
{
	struct eg_key element = {.name = "", .max_length = k->max_length};
	size_t count = json_is_array(v) ? json_array_size(v) : json_object_size(v);
	const char *key;
	json_t *e;
	size_t i;

	if (count < k->min || (k->max && count > k->max)) {
		source_error(at, "has %zu elements; expected %llu to %llu", count,
			     (unsigned long long)k->min, (unsigned long long)k->max);
		return;
	}
	if (json_is_array(v)) {
		json_array_foreach(v, i, e)
		{
			struct place p = place_index(at, i);

			if (k->object)
				source_check(&p, e, k->object);
			else
				check_string(&p, e, &element);
		}
		return;
	}
	json_object_foreach(v, key, e)
	{
		struct place p = place_key(at, key);

		if (k->object)
			source_check(&p, e, k->object);
		else
			check_string(&p, e, &element);
	}
}

static void check_value(const struct place *at, json_t *v, const struct eg_key *k)
{
	switch (k->type) {
	case EG_KEY_STRING:
		check_string(at, v, k);
		break;
	case EG_KEY_UINT:
		if (!json_is_integer(v) || json_integer_value(v) < 0 ||
		    (uint64_t)json_integer_value(v) < k->min ||
		    (uint64_t)json_integer_value(v) > k->max)
			source_error(at, "is %s; expected an integer from %llu to %llu",
				     json_is_integer(v)	 ? "not in range"
				     : json_is_number(v) ? "not an integer"
							 : type_name(v),
				     (unsigned long long)k->min, (unsigned long long)k->max);
		break;
	case EG_KEY_BOOL:
		expect(at, v, json_is_boolean(v), "true or false");
		break;
	case EG_KEY_OBJECT:
		source_check(at, v, k->object);
		break;
	case EG_KEY_ARRAY:
		if (expect(at, v, json_is_array(v), "an array"))
			check_elements(at, v, k);
		break;
	case EG_KEY_MAP:
		if (expect(at, v, json_is_object(v), "an object"))
			check_elements(at, v, k);
		break;
	}
}

static const struct eg_key *find_key(const struct eg_key_object *o, const char *name)
{
	for (size_t i = 0; i < o->key_count; i++)
		if (!strcmp(o->keys[i].name, name))
			return &o->keys[i];
	return NULL;
}

static void unknown_key(const struct place *at, const struct eg_key_object *o, const char *name)
{
	char known[220];
	size_t n = 0;

	if (in_list(o->later, name)) {
		source_key_error(at,
				 "\"%s\" is not supported by this version; expected it to be left "
				 "out",
				 name);
		return;
	}
	for (size_t i = 0; i < o->key_count && n < sizeof(known); i++)
		n += (size_t)snprintf(known + n, sizeof(known) - n, "%s%s", i ? ", " : "",
				      o->keys[i].name);
	source_key_error(at, "unknown key \"%.60s\"; expected one of: %s", name, known);
}

static void missing_key(const struct place *at, const struct eg_key *k)
{
	static const char *const types[] = {
		[EG_KEY_STRING] = "a string",	 [EG_KEY_UINT] = "an integer",
		[EG_KEY_BOOL] = "true or false", [EG_KEY_OBJECT] = "an object",
		[EG_KEY_ARRAY] = "an array",	 [EG_KEY_MAP] = "an object",
	};
	char allowed[160] = "";

	if (k->values)
		list_values(allowed, sizeof(allowed), k->values);
	source_error(at, "has no \"%s\", which is required; expected %s%s", k->name,
		     k->values ? "one of: " : types[k->type], allowed);
}

bool source_check(const struct place *at, json_t *v, const struct eg_key_object *o)
{
	const char *name;
	json_t *child;

	set_busy(at->l->set);
	if (!expect(at, v, json_is_object(v), "an object"))
		return false;
	json_object_foreach(v, name, child)
	{
		const struct eg_key *k = find_key(o, name);
		struct place p = place_key(at, name);

		if (k)
			check_value(&p, child, k);
		else
			unknown_key(&p, o, name);
	}
	for (size_t i = 0; i < o->key_count; i++)
		if (o->keys[i].required && !json_object_get(v, o->keys[i].name))
			missing_key(at, &o->keys[i]);
	return true;
}

const char *source_string(json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s && *s ? s : NULL;
}

json_t *source_object(json_t *object, const char *key)
{
	json_t *v = json_object_get(object, key);

	return json_is_object(v) ? v : NULL;
}

json_t *source_array(json_t *object, const char *key)
{
	json_t *v = json_object_get(object, key);

	return json_is_array(v) ? v : NULL;
}

bool source_map_read(const struct loading *l, const char *key)
{
	for (size_t i = 0; i < l->document_count; i++) {
		const json_t *v = json_object_get(l->documents[i].root, key);

		if (!l->documents[i].root || (v && !json_is_object(v)))
			return false;
	}
	return true;
}

uint64_t source_uint(json_t *object, const char *key, uint64_t fallback)
{
	json_t *v = json_object_get(object, key);

	return json_is_integer(v) && json_integer_value(v) > 0 ? (uint64_t)json_integer_value(v)
							       : fallback;
}

bool source_bool(json_t *object, const char *key, bool fallback)
{
	json_t *v = json_object_get(object, key);

	return json_is_boolean(v) ? json_is_true(v) : fallback;
}

static bool alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool source_no_secret(const struct place *at, const char *text, bool unmarked, const char *expected)
{
	if (!eg_redact_found(eg_str_from(text), unmarked))
		return true;
	source_error(at, "looks like a secret; expected %s. If it is one, replace it", expected);
	return false;
}

bool source_name(const struct place *at, const char *text)
{
	size_t n = strlen(text);
	bool good = n && n <= 63 && alnum(text[0]);

	for (size_t i = 0; good && i < n; i++)
		good = alnum(text[i]) || strchr("._-", text[i]);
	if (!good)
		source_error(at,
			     "\"%.60s\" is not a name; expected a letter or digit, then letters, "
			     "digits, '.', '_' or '-', at most 63",
			     text);
	return good && source_no_secret(at, text, false, "a name");
}

/* Lower-case letters, digits and '-', which neither begins nor ends it (RFC 1123). */
static bool rfc1123_label(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') ||
		      (s[i] == '-' && i && i + 1 < n)))
			return false;
	return n && n <= 63;
}

bool source_namespace(const struct place *at, const char *text)
{
	if (rfc1123_label(text, strlen(text)))
		return true;
	source_error(at,
		     "\"%.63s\" is not a namespace; expected lower-case letters, digits and '-', "
		     "at most 63, no wildcards",
		     text);
	return false;
}

bool source_service_account(const struct place *at, const char *text)
{
	const char *s = text;
	bool good = strlen(text) <= 253;

	for (; good; s++) {
		size_t n = strcspn(s, ".");

		good = rfc1123_label(s, n);
		s += n;
		if (!*s)
			break;
	}
	if (!good)
		source_error(at,
			     "\"%.80s\" is not the name of a service account; expected lower-case "
			     "letters, digits, '-' and '.', at most 253, no wildcards",
			     text);
	return good;
}

/* The last label of a name that could be read as an IPv4 address is all digits (or 0x...). */
static bool last_label_is_number(const char *text)
{
	const char *dot = strrchr(text, '.');
	const char *label = dot ? dot + 1 : text;
	const char *digits = "0123456789";

	if (!strncmp(label, "0x", 2)) {
		label += 2;
		digits = "0123456789abcdef";
	}
	return strspn(label, digits) == strlen(label);
}

static bool dns_name(const char *text)
{
	size_t label = 0, n = strlen(text);

	if (!n || n > 253 || last_label_is_number(text))
		return false;
	for (size_t i = 0; i <= n; i++) {
		char c = text[i];

		if (c == '.' || !c) {
			if (!label || label > 63 || text[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
		      (c == '-' && label)))
			return false;
		label++;
	}
	return true;
}

bool source_host(const struct place *at, const char *text, bool wildcard)
{
	const char *name = wildcard && !strncmp(text, "*.", 2) ? text + 2 : text;

	if (!dns_name(name)) {
		source_error(
			at,
			"\"%.80s\" is not a host name; expected lower-case letters, digits and "
			"'-' in labels%s, no scheme, port, path or address",
			text, wildcard ? ", or \"*.\" and a name" : "");
		return false;
	}
	/* "*.com" would make Egret mint for, and watch, half of the internet. */
	if (name != text && !strchr(name, '.')) {
		source_error(at,
			     "\"%.80s\" covers a whole top-level domain; expected at least two "
			     "labels after \"*.\"",
			     text);
		return false;
	}
	return true;
}

static size_t count_dots(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '.';
	return n;
}

bool source_pattern(const struct place *at, const char *text)
{
	if (!source_host(at, text, true))
		return false;
	if (!strncmp(text, "*.", 2) && count_dots(text) > EG_POLICY_SUFFIX_LABELS) {
		source_error(at,
			     "\"%.80s\" has more labels than the kernel compares; expected at most "
			     "%u after \"*.\"",
			     text, EG_POLICY_SUFFIX_LABELS);
		return false;
	}
	/* No certificate is minted for one label, and what it means depends on a search list. */
	if (!strchr(text, '.'))
		source_error(at, "\"%.80s\" has one label; expected the full name that pods call",
			     text);
	return strchr(text, '.') != NULL;
}

bool source_path(const struct place *at, const char *text)
{
	const char *part = text;

	if (text[0] == '/') {
		source_error(at,
			     "\"%.80s\" is absolute; expected a path below the credentials "
			     "directory",
			     text);
		return false;
	}
	for (;;) {
		size_t n = strcspn(part, "/");

		if (n > 255) {
			source_error(at, "has a part of %zu bytes; expected at most 255", n);
			return false;
		}
		if (!n || (n <= 2 && !strncmp(part, "..", n))) {
			source_error(at,
				     "\"%.80s\" has an empty, \".\" or \"..\" part; expected a "
				     "path below the credentials directory",
				     text);
			return false;
		}
		if (!part[n])
			break;
		part += n + 1;
	}
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f) {
			source_error(at, "has a control character; expected a file name");
			return false;
		}
	return source_no_secret(at, text, true,
				"the path of a file below the credentials directory");
}

const char **source_strings(const struct place *at, json_t *array, size_t *count,
			    bool (*valid)(const struct place *at, const char *text))
{
	size_t n = json_array_size(array), used = 0;
	const char **out = n ? source_alloc(at->l, n, sizeof(*out)) : NULL;

	for (size_t i = 0; i < n && out; i++) {
		struct place p = place_index(at, i);
		const char *text = json_string_value(json_array_get(array, i));
		bool twice = false;

		if (!text || !*text || (valid && !valid(&p, text)))
			continue;
		for (size_t k = 0; k < used && !twice; k++)
			twice = !strcmp(out[k], text);
		if (twice)
			source_error(&p, "\"%.80s\" is in the list twice; expected each once",
				     text);
		else
			out[used] = source_dup(at->l, text);
		used += !twice && out[used];
	}
	*count = used;
	return out;
}
