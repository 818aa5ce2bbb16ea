/* SPDX-License-Identifier: Apache-2.0 */
/* What a form says that policy needs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "provider/provider.h"

#define TYPE "multipart/form-data; boundary=x"

#define NAMED(params, more, value) \
	"--x\r\nContent-Disposition: form-data; " params "\r\n" more "\r\n" value "\r\n"
#define FIELD(name, value) NAMED("name=\"" name "\"", "", value)
#define SOUND(name) \
	NAMED("name=\"" name "\"; filename=\"a.wav\"", "Content-Type: audio/wav\r\n", "RIFF")
#define END "--x--\r\n"

static const struct eg_operation *find(const char *path)
{
	struct eg_str rest;

	return eg_operation_find(EG_DIALECT_OPENAI, EG_STR("POST"), eg_str_from(path), &rest);
}
#define TRANSCRIPTIONS "/v1/audio/transcriptions"
#define EDITS	       "/v1/images/edits"

static int read_form(struct eg_arena *a, const char *path, const char *body,
		     struct eg_body_facts *f, struct eg_error *e)
{
	size_t n = strlen(body);
	struct eg_form *form;
	struct eg_body_facts parted = {0};
	struct eg_error other = {""};
	int r;

	*e = (struct eg_error){""};
	r = eg_form_read(a, find(path), EG_STR(TYPE), eg_str_from(body), f, e);
	/* As it comes, byte by byte, in a body that moves each time: the same. */
	form = eg_form_create(a, find(path), EG_STR(TYPE));
	assert_non_null(form);
	for (size_t i = 1; i <= n; i++) {
		char *moved = malloc(i);

		assert_non_null(moved);
		memcpy(moved, body, i);
		eg_form_feed(form, (struct eg_str){moved, i});
		free(moved);
	}
	assert_int_equal(eg_form_end(form, eg_str_from(body), &parted, &other), r);
	assert_string_equal(other.text, e->text);
	if (!r) {
		assert_ptr_equal(parted.model_raw.p, f->model_raw.p);
		assert_true(eg_str_eq(parted.model, f->model));
		assert_true(parted.store_or_state == f->store_or_state &&
			    parted.stream == f->stream && parted.model_sized == f->model_sized &&
			    parted.other_models == f->other_models);
	}
	return r;
}

static void facts(void **state)
{
	static const char body[] = SOUND("file") FIELD("model", "whisper-1") FIELD("stream", "true")
		FIELD("timestamp_granularities[]", "word")
			FIELD("timestamp_granularities[]", "segment")
				FIELD("chunking_strategy[type]", "server_vad")
					FIELD("prompt", "[music] {\"file_id\": 1") END;
	struct eg_body_facts f;
	struct eg_error e;
	struct eg_arena a;

	eg_arena_init(&a, 0);
	assert_int_equal(read_form(&a, TRANSCRIPTIONS, body, &f, &e), 0);
	assert_true(eg_str_eq(f.model, EG_STR("whisper-1")));
	assert_ptr_equal(f.model_raw.p, strstr(body, "whisper-1"));
	assert_int_equal(f.model_raw.n, 9);
	assert_true(eg_str_eq(f.form_boundary, EG_STR("x")));
	assert_true(f.stream && !f.model_sized && !f.model_not_string && !f.store_or_state);
	assert_false(f.other_models || f.other_providers);

	assert_int_equal(read_form(&a, TRANSCRIPTIONS, SOUND("file") END, &f, &e), 0);
	assert_null(f.model.p);
	assert_false(f.stream);
	assert_int_equal(read_form(&a, TRANSCRIPTIONS, END, &f, &e), 0);
	assert_int_equal(
		read_form(&a, EDITS, FIELD("stream", "false") FIELD("models[]", "a") END, &f, &e),
		0);
	assert_true(f.other_models && !f.other_providers && !f.stream);
	assert_int_equal(read_form(&a, EDITS, FIELD("provider[order][]", "a") END, &f, &e), 0);
	assert_true(f.other_providers);
	/* What does not stream does not, whatever the form says. */
	assert_int_equal(
		read_form(&a, "/v1/audio/translations", FIELD("stream", "true") END, &f, &e), 0);
	assert_false(f.stream);
	eg_arena_fini(&a);
	(void)state;
}

/* References to what the provider keeps, by the rules of JSON bodies. */
static void references(void **state)
{
	static const struct {
		const char *body;
		bool state;
	} cases[] = {
		{FIELD("file_id", "file-1"), true},
		{FIELD("file_ids[]", "file-1"), true},
		{FIELD("image[file_id]", "file-1"), true},
		{FIELD("image[0][file_id]", "file-1"), true},
		{FIELD("image[][file_id]", "file-1"), true},
		{FIELD("image.file_id", "file-1"), true},
		{FIELD("File_ID", "file-1"), true},
		{NAMED("name=\"file_id\"; filename=\"blob\"", "", "file-1"), true},
		{NAMED("name=\"image[file_id]\"; filename=\"blob\"", "", "file-1"), true},
		{FIELD("images", "[{\"file_id\":\"file-1\"}]"), true},
		{FIELD("images", " \r\n [{\"file_id\":\"file-1\"}]"), true},
		{FIELD("images", "[{\"f\\u0069le_id\":\"file-1\"}]"), true},
		{NAMED("name=\"options\"; filename=\"blob\"", "Content-Type: application/json\r\n",
		       "{\"file_id\":\"file-1\"}"),
		 true},
		{FIELD("voice[id]", "voice-1"), true},
		{FIELD("voice", "{\"id\":\"voice-1\"}"), true},
		{FIELD("x[voice]", "{\"id\":\"voice-1\"}"), true},
		{FIELD("container", "cntr_1"), true},
		{FIELD("previous_response_id", "resp_1"), true},
		{FIELD("x[type]", "item_reference"), true},
		{FIELD("x", "{\"type\":\"item_reference\"}"), true},
		{SOUND("file"), false},
		{SOUND("image[]"), false},
		{FIELD("file", "file-1"), false},
		{FIELD("images", "[]"), false},
		{FIELD("images", "[{\"file_id\":null}]"), false},
		{FIELD("metadata[file_id]", "mine"), false},
		{FIELD("metadata", "{\"file_id\":\"mine\"}"), false},
		{FIELD("x[schema][file_id]", "a"), false},
		{FIELD("type", "item_reference"), false},
		{FIELD("id", "1"), false},
		{FIELD("prompt", "[{\"file_id\":\"file-1\"}]"), false},
		{FIELD("file_id_of_ours_that_is_longer_than_all", "1"), false},
		{NAMED("name=\"image\"; filename=\"a.json\"", "", "{\"file_id\":\"file-1\"}"),
		 false},
	};
	struct eg_arena a;

	eg_arena_init(&a, 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct eg_body_facts f;
		struct eg_error e;
		char body[512];

		snprintf(body, sizeof(body), "%s" END, cases[i].body);
		if (read_form(&a, EDITS, body, &f, &e))
			fail_msg("%s%s", body, e.text);
		if (f.store_or_state != cases[i].state)
			fail_msg("%s: state %d", body, f.store_or_state);
	}
	eg_arena_fini(&a);
	(void)state;
}

/* What a provider could read otherwise. */
static void refused(void **state)
{
	static const struct {
		const char *body, *word;
	} cases[] = {
		{FIELD("model", "a") FIELD("model", "b"), "second \"model\""},
		{FIELD("model", "a") FIELD("model", "a"), "second \"model\""},
		{FIELD("Model", "a"), "another case"},
		{FIELD("model", "a") FIELD("MODEL", "b"), "another case"},
		{FIELD("model[]", "a"), "goes on"},
		{FIELD("model[name]", "a"), "goes on"},
		{FIELD("model.name", "a"), "goes on"},
		{NAMED("name=\"model\"; filename=\"m\"", "", "a"), "is a file"},
		{NAMED("name=\"model\"", "Content-Type: text/plain; charset=utf-16\r\n", "a"),
		 "charset"},
		{NAMED("name=\"prompt\"", "Content-Type: text/plain; charset=utf-7\r\n", "a"),
		 "charset"},
		{FIELD("model", ""), "empty"},
		{FIELD("model", " a"), "spaces"},
		{FIELD("model", "a "), "spaces"},
		{FIELD("model", "a\r\n"), "not text"},
		{FIELD("model", "a\nb"), "not text"},
		{FIELD("model", "a\xff"), "not text"},
		{FIELD("stream", "true") FIELD("stream", "false"), "second \"stream\""},
		{FIELD("Stream", "true"), "another case"},
		{FIELD("stream[]", "true"), "nested"},
		{FIELD("images", "[{\"file_id\":\"a\""), "begins as JSON"},
		{FIELD("images", "{\"a\":1,\"a\":2}"), "a key twice"},
		{FIELD("images", "{a:1}"), "begins as JSON"},
	};
	struct eg_arena a;

	eg_arena_init(&a, 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct eg_body_facts f = {.model_not_string = true};
		struct eg_error e;
		char body[512];

		snprintf(body, sizeof(body), "%s" END, cases[i].body);
		if (read_form(&a, TRANSCRIPTIONS, body, &f, &e) != -EINVAL)
			fail_msg("taken: %s", body);
		if (!strstr(e.text, cases[i].word))
			fail_msg("%s: \"%s\", expected \"%s\"", body, e.text, cases[i].word);
		assert_true(f.model_not_string); /* untouched */
	}
	eg_arena_fini(&a);
	(void)state;
}

/* JSON in a field is read at once, so there is a limit to it; there is none to a prompt. */
static void large_json_field(void **state)
{
	static const char *const heads[] = {NAMED("name=\"images\"", "", "["),
					    NAMED("name=\"prompt\"", "", "[")};
	size_t n = (1u << 20) + 1000;
	char *body = malloc(n + 1000);

	assert_non_null(body);
	for (size_t i = 0; i < 2; i++)
		for (size_t json = 1u << 20; json <= (1u << 20) + 1; json++) {
			struct eg_body_facts f;
			struct eg_error e = {""};
			struct eg_arena a;
			size_t head = strlen(heads[i]) - 2; /* without its line end */
			int r;

			eg_arena_init(&a, 0);
			memcpy(body, heads[i], head);
			memset(body + head, ' ', json - 2);
			strcpy(body + head + json - 2, "]\r\n" END);
			r = eg_form_read(&a, find(TRANSCRIPTIONS), EG_STR(TYPE), eg_str_from(body),
					 &f, &e);
			assert_int_equal(r, i == 0 && json > 1u << 20 ? -EINVAL : 0);
			assert_int_equal(r != 0, strstr(e.text, "more than 1 MiB") != NULL);
			eg_arena_fini(&a);
		}
	free(body);
	(void)state;
}

static void bad_types(void **state)
{
	struct eg_body_facts f;
	struct eg_error e = {""};
	struct eg_arena a;

	eg_arena_init(&a, 0);
	assert_int_equal(
		eg_form_read(&a, find(EDITS), EG_STR("multipart/form-data"), EG_STR(END), &f, &e),
		-EINVAL);
	assert_non_null(strstr(e.text, "no boundary"));
	assert_int_equal(eg_form_read(&a, find(EDITS), EG_STR("text/plain"), EG_STR(END), &f, &e),
			 -EINVAL);
	eg_arena_fini(&a);
	(void)state;
}

/* A model that is longer than any that policy names. */
static void long_model(void **state)
{
	struct eg_body_facts f;
	struct eg_error e;
	struct eg_arena a;

	eg_arena_init(&a, 0);
	for (size_t over = 0; over < 2; over++) {
		char name[1200], body[1400];

		memset(name, 'm', sizeof(name));
		name[1024 + over] = '\0';
		snprintf(body, sizeof(body), FIELD("model", "%s") END, name);
		assert_int_equal(read_form(&a, EDITS, body, &f, &e), over ? -EINVAL : 0);
	}
	eg_arena_fini(&a);
	(void)state;
}

/* Where another name may stand. */
static void another_name(void **state)
{
	struct eg_body_facts f;
	struct eg_error e;
	struct eg_arena a;

	eg_arena_init(&a, 0);
	assert_int_equal(read_form(&a, EDITS, FIELD("model", "abc") END, &f, &e), 0);
	assert_true(eg_form_takes_model(&f, EG_STR("whisper-large")));
	assert_true(eg_form_takes_model(&f, EG_STR("a-x")));
	assert_false(eg_form_takes_model(&f, EG_STR("a--x")));
	assert_false(eg_form_takes_model(&f, EG_STR("--xyz")));
	assert_int_equal(read_form(&a, EDITS,
				   NAMED("name=\"model\"", "Content-Length: 3\r\n", "abc") END, &f,
				   &e),
			 0);
	assert_true(f.model_sized);
	assert_true(eg_form_takes_model(&f, EG_STR("def")));
	assert_false(eg_form_takes_model(&f, EG_STR("whisper-large")));
	/* No model, or JSON: nothing is in the way. */
	assert_int_equal(read_form(&a, EDITS, END, &f, &e), 0);
	assert_true(eg_form_takes_model(&f, EG_STR("--x")));
	f = (struct eg_body_facts){.model_raw = EG_STR("\"a\"")};
	assert_true(eg_form_takes_model(&f, EG_STR("--x")));
	eg_arena_fini(&a);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(facts),
		cmocka_unit_test(references),
		cmocka_unit_test(refused),
		cmocka_unit_test(bad_types),
		cmocka_unit_test(large_json_field),
		cmocka_unit_test(long_model),
		cmocka_unit_test(another_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
