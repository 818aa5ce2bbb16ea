/* SPDX-License-Identifier: Apache-2.0 */
#include "egretctl/trace_show.h"

#include "egretctl/command.h"

#define ROW_BYTES (64u * 1024u)

/* A line that is put together of what is known. */
struct row {
	struct eg_buf text;
};

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static long long number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static bool has(const json_t *o, const char *key)
{
	return json_is_integer(json_object_get(o, key));
}

static bool flag(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

static void begin(struct row *r)
{
	eg_buf_init(&r->text, ROW_BYTES);
}

/* `words` and then the value; nothing at all without a value. */
static void add(struct row *r, const char *words, const char *value)
{
	bool room;

	if (!*value)
		return;
	/* What has no room is cut: ROW_BYTES of one line are more than anybody reads. */
	room = !eg_buf_append_str(&r->text, eg_str_from(r->text.length ? ", " : "")) &&
	       !eg_buf_append_str(&r->text, eg_str_from(words)) &&
	       !eg_buf_append_str(&r->text, eg_str_from(value));
	(void)room;
}

static void add_number(struct row *r, const char *words, long long value, const char *unit)
{
	char digits[64];

	snprintf(digits, sizeof(digits), "%lld%s", value, unit);
	add(r, words, digits);
}

static void add_flag(struct row *r, const json_t *o, const char *key, const char *words)
{
	if (flag(o, key))
		add(r, "", words);
}

static void end(struct row *r, const char *name)
{
	if (r->text.length)
		eg_line("  %-11s %.*s", name, (int)r->text.length, eg_buf_data(&r->text));
	eg_buf_fini(&r->text);
}

static void show_headline(const json_t *record)
{
	const json_t *pod = json_object_get(record, "pod");
	char status[24] = "";

	if (number(record, "status"))
		snprintf(status, sizeof(status), " %lld", number(record, "status"));
	eg_line("%s  %s%s%s  %s%s%s%s  %s%s%s  %s %s", text(record, "time"), text(pod, "namespace"),
		pod ? "/" : "no known pod", text(pod, "name"), text(record, "method"),
		*text(record, "method") ? " " : "", text(record, "server_name"),
		text(record, "path"), text(record, "reason"), status,
		flag(record, "shadow") ? " (shadow: only watched)" : "", text(record, "type"),
		text(record, "request_id"));
}

static void show_connection(const json_t *record)
{
	const json_t *pod = json_object_get(record, "pod");
	struct row r;

	begin(&r);
	add(&r, "from ", text(record, "source"));
	add(&r, "to ", text(record, "destination"));
	add(&r, "server name ", text(record, "server_name"));
	add(&r, "", text(record, "protocol"));
	add_flag(&r, record, "connection_reused", "not its first request");
	end(&r, "connection");
	begin(&r);
	add(&r, "service account ", text(pod, "service_account"));
	add(&r, "uid ", text(pod, "uid"));
	add_flag(&r, record, "client_credential_real",
		 "it sent what looks like a real key, which was removed");
	end(&r, "pod");
	begin(&r);
	add(&r, "", text(record, "user_agent"));
	end(&r, "client");
}

static void show_decision(const json_t *record)
{
	struct row r;

	begin(&r);
	add(&r, "", text(record, "policy"));
	add(&r, "version ", text(record, "policy_version"));
	add(&r, "route ", text(record, "route"));
	end(&r, "policy");
	begin(&r);
	add(&r, "", text(record, "operation"));
	add(&r, "API of ", text(record, "dialect"));
	add(&r, "model ", text(record, "model"));
	end(&r, "operation");
}

static void show_steps(const json_t *record)
{
	const json_t *steps = json_object_get(record, "steps"), *step;
	size_t i;

	json_array_foreach(steps, i, step)
	{
		const char *reason = text(step, "reason");

		eg_line("  %6lld ms   %-9s %s%s%s", number(step, "ms"), text(step, "what"),
			text(step, "text"), *reason && strcmp(reason, "ok") != 0 ? " => " : "",
			strcmp(reason, "ok") != 0 ? reason : "");
	}
	if (flag(record, "steps_cut"))
		eg_line("  %9s   there were more steps than are kept", "");
}

/* For a record without steps, which has them. */
static void show_attempts(const json_t *record)
{
	const json_t *attempts = json_object_get(record, "attempts"), *a;
	char name[32];
	size_t i;

	json_array_foreach(attempts, i, a)
	{
		struct row r;

		begin(&r);
		add(&r, "", text(a, "provider"));
		add(&r, "region ", text(a, "region"));
		add(&r, "", text(a, "reason"));
		if (number(a, "status"))
			add_number(&r, "status ", number(a, "status"), "");
		if (has(a, "duration_ms"))
			add_number(&r, "after ", number(a, "duration_ms"), " ms");
		snprintf(name, sizeof(name), "attempt %zu", i + 1);
		end(&r, name);
	}
}

static void show_provider(const json_t *record)
{
	struct row r;

	begin(&r);
	add(&r, "", text(record, "provider"));
	add(&r, "kind ", text(record, "provider_kind"));
	add(&r, "region ", text(record, "region"));
	add(&r, "the answer says it is from ", text(record, "region_evidence"));
	add_flag(&r, record, "region_violation", "WHERE POLICY DOES NOT ALLOW");
	add(&r, "", text(record, "upstream_protocol"));
	add_flag(&r, record, "upstream_reused", "a kept connection");
	if (has(record, "upstream_connect_ms"))
		add_number(&r, "connecting took ", number(record, "upstream_connect_ms"), " ms");
	if (number(record, "upstream_status"))
		add_number(&r, "status ", number(record, "upstream_status"), "");
	add_flag(&r, record, "replayed", "sent more than once");
	add_flag(&r, record, "possibly_billed_twice", "possibly billed twice");
	end(&r, "provider");
}

static void show_answer(const json_t *record)
{
	const json_t *tokens = json_object_get(record, "tokens");
	struct row r;

	begin(&r);
	if (number(record, "status"))
		add_number(&r, "status ", number(record, "status"), "");
	add(&r, "", text(record, "reason"));
	if (has(record, "first_byte_ms"))
		add_number(&r, "first byte after ", number(record, "first_byte_ms"), " ms");
	if (has(record, "duration_ms"))
		add_number(&r, "over after ", number(record, "duration_ms"), " ms");
	if (has(record, "bytes_in"))
		add_number(&r, "bytes in ", number(record, "bytes_in"), "");
	if (has(record, "bytes_out"))
		add_number(&r, "bytes out ", number(record, "bytes_out"), "");
	add_flag(&r, record, "streamed", "streamed");
	add(&r, "encoding ", text(record, "response_encoding"));
	add(&r, "tokens not read: ", text(record, "response_unread"));
	add(&r, "model ", text(record, "response_model"));
	end(&r, "answer");
	begin(&r);
	add(&r, "", text(record, "detail"));
	end(&r, "detail");
	begin(&r);
	for (void *at = json_object_iter((json_t *)(uintptr_t)tokens); at;
	     at = json_object_iter_next((json_t *)(uintptr_t)tokens, at)) {
		add_number(&r, "", json_integer_value(json_object_iter_value(at)), " ");
		/* The number's own name, behind it. */
		if (eg_buf_append_str(&r.text, eg_str_from(json_object_iter_key(at))))
			break;
	}
	end(&r, "tokens");
}

bool trace_is_record(const json_t *record)
{
	const char *type = text(record, "type");

	return (!strcmp(type, "request") || !strcmp(type, "connection")) &&
	       *text(record, "request_id");
}

void trace_show(const json_t *record)
{
	bool steps = json_array_size(json_object_get(record, "steps")) > 0;

	show_headline(record);
	show_connection(record);
	show_decision(record);
	if (steps)
		show_steps(record);
	else
		show_attempts(record);
	show_provider(record);
	show_answer(record);
	eg_line("%s", "");
}
