/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request bodies: the first byte picks the operation. What the reader takes jansson takes too, with
 * the same model; and a planted reference to state is always seen.
 */
#include <jansson.h>

#include "fuzz.h"
#include "provider/provider.h"

static const char *const paths[] = {"/v1/chat/completions", "/v1/responses", "/v1/messages",
				    "/v1/embeddings"};

/* Is there an item that is an id and nothing else, as jansson reads the body? */
static bool has_bare_item(const json_t *body)
{
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(body, "input"), i, item)
	{
		const json_t *id = json_object_get(item, "id");

		if (id && !json_is_null(id) && json_object_size(item) == 1)
			return true;
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct eg_str body, rest, path;
	struct eg_body_facts f;
	struct eg_arena a;
	struct eg_error e = {0};
	const struct eg_operation *op;
	char *text;
	json_t *v;
	int r;

	if (!size)
		return 0;
	path = eg_str_from(paths[data[0] % 4]);
	op = eg_operation_find(eg_dialect_from_path(path), EG_STR("POST"), path, &rest);
	text = fuzz_copy(data + 1, size - 1);
	body = (struct eg_str){text, size - 1};
	eg_arena_init(&a, 64u << 20);
	r = eg_body_read(&a, op, body, &f, &e);
	FUZZ_CHECK(r == 0 || (r == -EINVAL && *e.text));
	v = r ? NULL : json_loadb(text, body.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	/* jansson refuses some numbers that are JSON (too large); then there is nothing to compare.
	 */
	if (v) {
		json_t *model = json_object_get(v, "model");

		FUZZ_CHECK(json_is_object(v));
		FUZZ_CHECK(!f.model.p == !json_is_string(model));
		if (json_is_string(model))
			FUZZ_CHECK(fuzz_same(f.model, (struct eg_str){json_string_value(model),
								      json_string_length(model)}));
		if (op->may_hold_state && json_object_get(v, "previous_response_id") &&
		    json_is_string(json_object_get(v, "previous_response_id")))
			FUZZ_CHECK(f.store_or_state);
		if (data[0] % 4 == 1 && has_bare_item(v))
			FUZZ_CHECK(f.store_or_state);
		json_decref(v);
	}
	eg_arena_fini(&a);
	free(text);
	return 0;
}
