/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policies/schema.json says what the parser's tables say: the same keys, types, allowed values,
 * ranges and requirements, both ways round.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "fixture.h"
#include "policy/keys.h"
#include "provider/provider.h"
#include "provider/vendor.h"

static json_t *schema;

static int open_schema(void **state)
{
	char *text = read_file("policies/schema.json");
	json_error_t e;

	schema = json_loads(text, JSON_REJECT_DUPLICATES, &e);
	if (!schema)
		fprintf(stderr, "policies/schema.json:%d:%d: %s\n", e.line, e.column, e.text);
	free(text);
	return schema ? 0 : -1;
}

static int close_schema(void **state)
{
	json_decref(schema);
	return 0;
}

static const char *str(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

#define CHECK(condition)                                                               \
	do {                                                                           \
		if (!(condition)) {                                                    \
			fprintf(stderr, "schema and parser differ at %s: %s\n", where, \
				#condition);                                           \
			fail();                                                        \
		}                                                                      \
	} while (0)

static void same_object(const char *where, const json_t *s, const struct eg_key_object *o);

/* `s` is a $ref to the $defs entry of o, which is compared once by every_object(). */
static void refers_to(const char *where, const json_t *s, const struct eg_key_object *o)
{
	char expected[64];

	snprintf(expected, sizeof(expected), "#/$defs/%s", o->name);
	CHECK(!strcmp(str(s, "$ref"), expected));
}

static bool listed(const json_t *array, const char *name)
{
	for (size_t i = 0; i < json_array_size(array); i++)
		if (!strcmp(json_string_value(json_array_get(array, i)), name))
			return true;
	return false;
}

/* Keys whose values are one of a table of the provider room, not of keys.c. */
static bool ends_in(const char *where, const char *key)
{
	return eg_str_ends(eg_str_from(where), eg_str_from(key));
}

/* Every operation that a route may list, and nothing else. */
static void lists_operations(const char *where, const json_t *list)
{
	static const struct eg_vendor *const vendors[] = {&eg_vendor_openai, &eg_vendor_anthropic};
	bool seen[EG_OPERATION_IDS] = {false};
	size_t n = 0;

	for (size_t v = 0; v < EG_ARRAY_SIZE(vendors); v++)
		for (size_t i = 0; i < vendors[v]->row_count; i++) {
			const struct eg_operation *op = vendors[v]->rows[i].operation;
			bool never =
				op->class == EG_CLASS_CREDENTIAL || op->class == EG_CLASS_ADMIN;

			if (listed(list, op->name) == never)
				fprintf(stderr, "operation %s\n", op->name);
			CHECK(listed(list, op->name) != never);
			n += !never && !seen[op->id];
			seen[op->id] = true;
		}
	CHECK(json_array_size(list) == n);
}

/* Every text of a region; a rule's without those that are no place. */
static void lists_regions(const char *where, const json_t *list, bool rule)
{
	struct eg_region r;
	char text[32];
	size_t n = 0;

	for (size_t i = 0; eg_region_text(i, text); i++) {
		bool wanted;

		CHECK(!eg_region_parse(eg_str_from(text), &r));
		wanted = !rule || strcmp(r.code, "GLOBAL");
		if (listed(list, text) != wanted)
			fprintf(stderr, "region %s\n", text);
		CHECK(listed(list, text) == wanted);
		n += wanted;
	}
	CHECK(json_array_size(list) == n);
}

static void same_string(const char *where, const json_t *s, size_t max_length,
			const char *const *values)
{
	const json_t *list = json_object_get(s, "enum");
	size_t n = 0;

	if (ends_in(where, "match.operations"))
		lists_operations(where, list);
	if (ends_in(where, "regions.allow"))
		lists_regions(where, list, true);
	if (ends_in(where, "provider.region"))
		lists_regions(where, list, false);
	/* No string is free because somebody forgot it; what a pattern takes is compared with the
	 * parser by tests/net/policy_schema.sh. */
	CHECK(list || *str(s, "pattern"));
	CHECK(!strcmp(str(s, "type"), "string"));
	CHECK(json_integer_value(json_object_get(s, "minLength")) == 1);
	CHECK(json_integer_value(json_object_get(s, "maxLength")) ==
	      (json_int_t)(max_length ? max_length : 256));
	for (; values && values[n]; n++) {
		CHECK(n < json_array_size(list));
		CHECK(!strcmp(json_string_value(json_array_get(list, n)), values[n]));
	}
	CHECK(!values || json_array_size(list) == n);
}

static void same_count(const char *where, const json_t *s, const char *least, const char *most,
		       const struct eg_key *k)
{
	CHECK(json_integer_value(json_object_get(s, least)) == (json_int_t)k->min);
	CHECK(json_integer_value(json_object_get(s, most)) == (json_int_t)k->max);
}

static void same_key(const char *object, const json_t *s, const struct eg_key *k)
{
	char where[128];
	const json_t *inner;

	snprintf(where, sizeof(where), "%s.%s", object, k->name);
	CHECK(json_is_object(s));
	switch (k->type) {
	case EG_KEY_STRING:
		same_string(where, s, k->max_length, k->values);
		break;
	case EG_KEY_UINT:
		CHECK(!strcmp(str(s, "type"), "integer"));
		CHECK(json_integer_value(json_object_get(s, "minimum")) == (json_int_t)k->min);
		CHECK(json_integer_value(json_object_get(s, "maximum")) == (json_int_t)k->max);
		break;
	case EG_KEY_BOOL:
		CHECK(!strcmp(str(s, "type"), "boolean"));
		break;
	case EG_KEY_OBJECT:
		refers_to(where, s, k->object);
		break;
	case EG_KEY_ARRAY:
		CHECK(!strcmp(str(s, "type"), "array"));
		same_count(where, s, "minItems", "maxItems", k);
		inner = json_object_get(s, "items");
		if (k->object)
			refers_to(where, inner, k->object);
		else
			same_string(where, inner, k->max_length, NULL);
		CHECK(json_is_true(json_object_get(s, "uniqueItems")) ==
		      (!k->object || k->object == &eg_key_target));
		break;
	case EG_KEY_MAP:
		CHECK(!strcmp(str(s, "type"), "object"));
		same_count(where, s, "minProperties", "maxProperties", k);
		inner = json_object_get(s, "propertyNames");
		CHECK(*str(inner, "pattern"));
		CHECK(json_integer_value(json_object_get(inner, "minLength")) == 1);
		inner = json_object_get(s, "additionalProperties");
		if (k->object)
			refers_to(where, inner, k->object);
		else
			same_string(where, inner, k->max_length, NULL);
		break;
	}
}

static void same_object(const char *where, const json_t *s, const struct eg_key_object *o)
{
	const json_t *properties = json_object_get(s, "properties");
	const json_t *required = json_object_get(s, "required");
	size_t count = 0;

	CHECK(!strcmp(str(s, "type"), "object"));
	CHECK(json_is_false(json_object_get(s, "additionalProperties")));
	CHECK(json_object_size(properties) == o->key_count);
	for (size_t i = 0; i < o->key_count; i++) {
		same_key(where, json_object_get(properties, o->keys[i].name), &o->keys[i]);
		CHECK(listed(required, o->keys[i].name) == o->keys[i].required);
		count += o->keys[i].required;
	}
	CHECK(json_array_size(required) == count);
}

static void every_object(void **state)
{
	static const struct eg_key_object *const objects[] = {
		&eg_key_provider, &eg_key_credential, &eg_key_policy,	   &eg_key_pods,
		&eg_key_regions,  &eg_key_route,      &eg_key_match,	   &eg_key_target,
		&eg_key_timeouts, &eg_key_defaults,   &eg_key_destination,
	};
	const json_t *defs = json_object_get(schema, "$defs");

	assert_string_equal(str(schema, "$schema"), "https://json-schema.org/draft/2020-12/schema");
	same_object("$", schema, &eg_key_top);
	assert_int_equal(json_object_size(defs), EG_ARRAY_SIZE(objects));
	for (size_t i = 0; i < EG_ARRAY_SIZE(objects); i++)
		same_object(objects[i]->name, json_object_get(defs, objects[i]->name), objects[i]);
}

/* A key can't be both there and "not in this version". */
static void later_keys_are_not_there(void **state)
{
	static const struct eg_key_object *const objects[] = {
		&eg_key_top,	&eg_key_provider, &eg_key_credential,  &eg_key_policy,
		&eg_key_pods,	&eg_key_regions,  &eg_key_route,       &eg_key_match,
		&eg_key_target, &eg_key_defaults, &eg_key_destination,
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(objects); i++)
		for (size_t l = 0; objects[i]->later && objects[i]->later[l]; l++)
			for (size_t k = 0; k < objects[i]->key_count; k++)
				assert_string_not_equal(objects[i]->keys[k].name,
							objects[i]->later[l]);
}

/* Every operation that a route may list is in the reference for people, and every key too. */
static void documentation_names_everything(void **state)
{
	static const struct eg_key_object *const objects[] = {
		&eg_key_top,	  &eg_key_provider, &eg_key_credential,	 &eg_key_policy,
		&eg_key_pods,	  &eg_key_regions,  &eg_key_route,	 &eg_key_match,
		&eg_key_timeouts, &eg_key_target,   &eg_key_destination,
	};
	char *text = read_file("docs/policy.md"), needle[96];

	for (size_t i = 0; i < EG_ARRAY_SIZE(objects); i++)
		for (size_t k = 0; k < objects[i]->key_count; k++) {
			snprintf(needle, sizeof(needle), "`%s`", objects[i]->keys[k].name);
			if (!strstr(text, needle))
				fprintf(stderr, "docs/policy.md does not name %s\n", needle);
			assert_non_null(strstr(text, needle));
		}
	free(text);
}

/* And every key of a query that passes. */
static void documentation_names_query_keys(void **state)
{
	static const struct eg_vendor *const vendors[] = {&eg_vendor_openai, &eg_vendor_anthropic};
	char *text = read_file("docs/policy.md"), *end, needle[96];
	char *at = strstr(text, "Of the *query* only keys");

	assert_non_null(at);
	end = strstr(at, "Keys that carry a credential");
	assert_non_null(end);
	*end = '\0';
	for (size_t v = 0; v < EG_ARRAY_SIZE(vendors); v++)
		for (size_t i = 0; i < vendors[v]->query_key_count; i++) {
			snprintf(needle, sizeof(needle), "`%s`", vendors[v]->query_keys[i].p);
			if (!strstr(at, needle))
				fail_msg("docs/policy.md does not name the query key %s", needle);
		}
	free(text);
}

/* The operations that docs/policy.md lists are known, by exactly these names. */
static void documented_operations_exist(void **state)
{
	char *text = read_file("docs/policy.md");
	char *at = strstr(text, "## Operations"), *end = strstr(text, "## Regions");
	size_t known = 0;

	assert_non_null(at);
	assert_non_null(end);
	*end = '\0';
	while ((at = strchr(at, '`'))) {
		char *close = strchr(at + 1, '`');

		assert_non_null(close);
		known += eg_operation_by_name((struct eg_str){at + 1, (size_t)(close - at - 1)}) !=
			 NULL;
		at = close + 1;
	}
	/* 15 of inference, 3 to read, 16 stateful, 4 never; some are named twice. */
	assert_true(known >= 38);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_object),
		cmocka_unit_test(later_keys_are_not_there),
		cmocka_unit_test(documentation_names_everything),
		cmocka_unit_test(documentation_names_query_keys),
		cmocka_unit_test(documented_operations_exist),
	};

	return cmocka_run_group_tests(tests, open_schema, close_schema);
}
