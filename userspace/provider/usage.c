/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token counts out of an answer that goes by. A stream's events are read one by one; of a plain
 * body only the top-level members "usage", "model" and "error" are kept, whatever its size.
 */
#include "provider/vendor.h"

#include <stdlib.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "proto/json_scan.h"
#include "proto/json_text.h"
#include "proto/sse.h"

/* response.completed carries the whole answer; a larger event's usage is not known. */
#define EVENT_MAX  (2u << 20)
#define VALUE_MAX  8192u
#define NEAR_BYTES 64 /* of a string: looked at before memchr() is called */

struct eg_usage_watch {
	enum eg_dialect dialect;
	bool sse, end, error;
	enum eg_event_class progress; /* PREAMBLE until something was said */
	enum eg_response_class error_class;
	struct eg_usage usage;
	struct eg_sse events;

	/* The plain body: where in it we are. */
	size_t depth;
	bool in_string, escaped, in_key, after_colon, capturing;
	char key[16]; /* of the top level; longer ones are none of ours */
	size_t key_length;
	struct eg_buf value;
};

/* A string value, cut to cap - 1 bytes. What is longer than VALUE_MAX is no name. */
static void take_text(char *out, size_t cap, struct eg_str raw)
{
	char text[VALUE_MAX];
	ssize_t n;

	if (raw.n < 3 || raw.n > sizeof(text) || raw.p[0] != '"')
		return;
	n = eg_json_unescape(text, (struct eg_str){raw.p + 1, raw.n - 2});
	if (n > 0)
		eg_str_copy(out, cap, (struct eg_str){text, (size_t)n});
}

/* Where a count of the usage object goes. `inside`: it is a member of that object's object. */
struct count {
	struct eg_str inside, key;
	size_t offset;
};

#define INTO(member) offsetof(struct eg_usage, member)

/* Chat and embeddings say prompt_ and completion_tokens, responses input_ and output_tokens; cached
 * and reasoning ones are inside these. */
static const struct count openai_counts[] = {
	{{NULL, 0}, EG_STR("prompt_tokens"), INTO(input_tokens)},
	{{NULL, 0}, EG_STR("input_tokens"), INTO(input_tokens)},
	{{NULL, 0}, EG_STR("completion_tokens"), INTO(output_tokens)},
	{{NULL, 0}, EG_STR("output_tokens"), INTO(output_tokens)},
	{{NULL, 0}, EG_STR("prompt_cache_hit_tokens"), INTO(cache_read_tokens)}, /* DeepSeek */
	{EG_STR("prompt_tokens_details"), EG_STR("cached_tokens"), INTO(cache_read_tokens)},
	{EG_STR("input_tokens_details"), EG_STR("cached_tokens"), INTO(cache_read_tokens)},
	{EG_STR("completion_tokens_details"), EG_STR("reasoning_tokens"), INTO(reasoning_tokens)},
	{EG_STR("output_tokens_details"), EG_STR("reasoning_tokens"), INTO(reasoning_tokens)},
};

/* Counts of a stream are cumulative: later ones replace earlier ones. input_tokens are without
 * cached ones here, until the end adds them. */
static const struct count anthropic_counts[] = {
	{{NULL, 0}, EG_STR("input_tokens"), INTO(input_tokens)},
	{{NULL, 0}, EG_STR("output_tokens"), INTO(output_tokens)},
	{{NULL, 0}, EG_STR("cache_read_input_tokens"), INTO(cache_read_tokens)},
	{{NULL, 0}, EG_STR("cache_creation_input_tokens"), INTO(cache_write_tokens)},
	{EG_STR("output_tokens_details"), EG_STR("thinking_tokens"), INTO(reasoning_tokens)},
};

/* One walk over a usage object, and one over each object of counts in it. */
struct walk {
	const struct count *counts;
	size_t n;
	struct eg_str inside; /* .p NULL: the usage object itself */
	bool place;	      /* "inference_geo" says where it ran */
	struct eg_usage *u;
};

static bool is_inside(const struct count *c, struct eg_str inside)
{
	return !c->inside.p == !inside.p && eg_str_eq(inside, c->inside);
}

static int take_count(void *ctx, const struct eg_json_member *m)
{
	const struct walk *w = ctx;
	struct walk deeper = *w;

	if (m->type == EG_JSON_OBJECT && !w->inside.p) {
		deeper.inside = m->key;
		for (size_t i = 0; i < w->n; i++)
			if (is_inside(&w->counts[i], m->key))
				return eg_json_members(m->raw, take_count, &deeper, NULL);
	} else if (m->type == EG_JSON_STRING && w->place && !w->inside.p &&
		   eg_str_eq(m->key, EG_STR("inference_geo"))) {
		take_text(w->u->inference_geo, sizeof(w->u->inference_geo), m->raw);
	}
	if (m->type != EG_JSON_NUMBER)
		return 0;
	for (size_t i = 0; i < w->n; i++)
		if (eg_str_eq(m->key, w->counts[i].key) && is_inside(&w->counts[i], w->inside))
			(void)eg_json_u64(m->raw, (uint64_t *)((char *)w->u + w->counts[i].offset));
	return 0;
}

/* Of a malformed object nothing counts. */
static void take_usage(struct eg_usage_watch *w, struct eg_str raw)
{
	struct eg_usage taken = w->usage;
	struct walk walk = {openai_counts, EG_ARRAY_SIZE(openai_counts), .u = &taken};

	if (w->dialect == EG_DIALECT_ANTHROPIC) {
		walk.counts = anthropic_counts;
		walk.n = EG_ARRAY_SIZE(anthropic_counts);
		walk.place = true;
	}
	if (!raw.n || raw.p[0] != '{')
		return;
	taken.known = true;
	if (!eg_json_members(raw, take_count, &walk, NULL))
		w->usage = taken;
}

static void take_model(struct eg_usage *u, struct eg_str raw)
{
	if (!*u->response_model)
		take_text(u->response_model, sizeof(u->response_model), raw);
}

/* ---- streams ---- */
static void openai_data(struct eg_usage_watch *w, struct eg_str data)
{
	struct eg_str response = {0}, usage;

	/* Only events that can say something are read: most are deltas. */
	if (!*w->usage.response_model || eg_bytes_have(data, "\"usage\""))
		response = eg_json_member_of(data, "response"); /* the Responses API */
	if (!response.p)
		response = data;
	if (!*w->usage.response_model)
		take_model(&w->usage, eg_json_member_of(response, "model"));
	if (!eg_bytes_have(data, "\"usage\""))
		return;
	usage = eg_json_member_of(response, "usage");
	if (!usage.p)
		usage = eg_json_member_of2(data, "x_groq", "usage");
	take_usage(w, usage);
}

static void anthropic_data(struct eg_usage_watch *w, struct eg_str data)
{
	struct eg_str message;

	if (!eg_bytes_have(data, "\"usage\""))
		return;
	message = eg_json_member_of(data, "message"); /* message_start */
	take_model(&w->usage, eg_json_member_of(message, "model"));
	take_usage(w, eg_json_member_of(message.p ? message : data, "usage"));
}

/* Could it be the end, or an error? Deltas, nearly all there is, are told by a look. */
static bool may_end(enum eg_dialect d, struct eg_str event, struct eg_str data)
{
	if (d == EG_DIALECT_ANTHROPIC)
		return !eg_str_eq(event, EG_STR("content_block_delta"));
	if (event.n && eg_str_ends(event, EG_STR(".delta")))
		return false;
	return event.n || data.n < 16 || eg_bytes_have(data, "\"error\"") ||
	       eg_bytes_have(data, "\"response.");
}

/*
 * A chunk of (chat.)completions whose choice has ended: some providers send no [DONE] after it.
 * Told by bytes, since every delta has the key: in text the quotes of `"finish_reason":` are
 * escaped.
 */
static bool has_finished(struct eg_str data)
{
	static const char key[] = "\"finish_reason\"";

	while (data.n) {
		const char *at = memmem(data.p, data.n, key, sizeof(key) - 1);
		struct eg_str rest;

		if (!at)
			return false;
		at += sizeof(key) - 1;
		data = (struct eg_str){at, data.n - (size_t)(at - data.p)};
		rest = eg_json_skip_space(data);
		if (!rest.n || rest.p[0] != ':')
			continue;
		rest = eg_json_skip_space((struct eg_str){rest.p + 1, rest.n - 1});
		if (rest.n && rest.p[0] == '"')
			return true;
	}
	return false;
}

static void note_class(struct eg_usage_watch *w, enum eg_event_class class, struct eg_str data)
{
	if (class == EG_EVENT_ERROR) {
		w->error = true;
		w->error_class = eg_event_error_class(data);
	}
	w->end |= class == EG_EVENT_END;
	if (w->progress == EG_EVENT_PREAMBLE)
		w->progress = class;
}

static void on_event(void *ctx, struct eg_str event, struct eg_str data)
{
	struct eg_usage_watch *w = ctx;

	if (w->progress == EG_EVENT_PREAMBLE || may_end(w->dialect, event, data))
		note_class(w, eg_event_class_of(w->dialect, event, data), data);
	if (!w->end && w->dialect == EG_DIALECT_OPENAI && !event.n)
		w->end = has_finished(data);
	if (w->dialect == EG_DIALECT_ANTHROPIC)
		anthropic_data(w, data);
	else
		openai_data(w, data);
}

/* ---- plain bodies ---- */
static bool key_is(const struct eg_usage_watch *w, const char *name)
{
	return w->key_length == strlen(name) && !memcmp(w->key, name, w->key_length);
}

static void value_ends(struct eg_usage_watch *w)
{
	struct eg_str raw = eg_json_skip_space(eg_buf_str(&w->value));

	if (w->capturing) {
		while (raw.n && strchr(" \t\r\n", raw.p[raw.n - 1]))
			raw.n--;
		if (key_is(w, "usage"))
			take_usage(w, raw);
		else if (key_is(w, "model"))
			take_model(&w->usage, raw);
		else if (raw.n && !eg_str_eq(raw, EG_STR("null")))
			w->error = true;
	}
	w->capturing = false;
	w->after_colon = false;
	w->key_length = 0;
	eg_buf_clear(&w->value);
}

static void value_begins(struct eg_usage_watch *w)
{
	w->after_colon = true;
	w->capturing = key_is(w, "usage") || key_is(w, "model") || key_is(w, "error");
}

static void key_bytes(struct eg_usage_watch *w, const char *p, size_t n)
{
	if (w->key_length < sizeof(w->key))
		memcpy(w->key + w->key_length, p, EG_MIN(n, sizeof(w->key) - w->key_length));
	w->key_length += n;
}

static void string_byte(struct eg_usage_watch *w, char c)
{
	if (w->in_key && (c != '"' || w->escaped))
		key_bytes(w, &c, 1);
	if (w->escaped) {
		w->escaped = false;
	} else if (c == '\\') {
		w->escaped = true;
	} else if (c == '"') {
		w->in_string = false;
		w->in_key = false;
		/* A key too long for the buffer is none of ours. */
		w->key_length = EG_MIN(w->key_length, sizeof(w->key));
	}
}

static void plain_byte(struct eg_usage_watch *w, char c)
{
	switch (c) {
	case '"':
		w->in_string = true;
		w->in_key = w->depth == 1 && !w->after_colon;
		if (w->in_key)
			w->key_length = 0;
		break;
	case '{':
	case '[':
		w->depth++;
		break;
	case '}':
	case ']':
		if (w->depth == 1)
			value_ends(w);
		if (w->depth && !--w->depth)
			w->end = true;
		break;
	case ':':
		if (w->depth == 1 && !w->after_colon)
			value_begins(w);
		break;
	case ',':
		if (w->depth == 1)
			value_ends(w);
		break;
	default:
		break;
	}
}

/* Bytes of the value that is being captured; one that is too large is not. */
static void keep(struct eg_usage_watch *w, const char *p, size_t n)
{
	if (eg_buf_append(&w->value, p, n))
		w->capturing = false;
}

static bool ends_member(const struct eg_usage_watch *w, char c)
{
	return w->depth == 1 && (c == ',' || c == '}' || c == ']');
}

/*
 * Where a string ends, or an escape in it begins; or `end`. Most strings are short, and what
 * memchr() takes to be called, for each of the two, is more than they do.
 */
static inline const char *string_stop(const char *p, const char *end)
{
	const char *near = end - p > NEAR_BYTES ? p + NEAR_BYTES : end, *quote, *slash;

#if defined(__SSE2__)
	while (near - p >= 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
					    _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
		unsigned int mask = (unsigned int)_mm_movemask_epi8(stop);

		if (mask)
			return p + __builtin_ctz(mask);
		p += 16;
	}
#endif
	while (p < near && *p != '"' && *p != '\\')
		p++;
	if (p < near || p == end)
		return p;
	quote = memchr(p, '"', (size_t)(end - p));
	quote = quote ? quote : end;
	slash = memchr(p, '\\', (size_t)(quote - p));
	return slash ? slash : quote;
}

/* Inside a string; what follows its part that ends here. */
static const char *string_part(struct eg_usage_watch *w, const char *p, const char *end)
{
	const char *stop = w->escaped ? p : string_stop(p, end);

	if (w->in_key && stop > p)
		key_bytes(w, p, (size_t)(stop - p));
	if (stop == end)
		return end;
	string_byte(w, *stop);
	return stop + 1;
}

/* After a string's opening quote: what follows the closing one; or `end`, and the next piece goes
 * on inside it. */
static const char *skip_string(struct eg_usage_watch *w, const char *p, const char *end)
{
	while ((p = string_stop(p, end)) < end) {
		if (*p == '"')
			return p + 1;
		w->escaped = end - p < 2;
		p = w->escaped ? end : p + 2;
	}
	w->in_string = true;
	return end;
}

/* Below the top level nothing counts but where that goes on, and it is most of a body. What follows
 * the bracket that ends it; or `end`. */
static const char *skip_nested(struct eg_usage_watch *w, const char *p, const char *end)
{
	size_t depth = w->depth;

	while (p < end && depth > 1) {
		char c = *p++;

		if (c == '"')
			p = skip_string(w, p, end);
		else if (c == '{' || c == '[')
			depth++;
		else if (c == '}' || c == ']')
			depth--;
	}
	w->depth = depth;
	return p;
}

static void feed_plain(struct eg_usage_watch *w, struct eg_str bytes)
{
	static const bool structural[256] = {
		['"'] = true, ['{'] = true, ['}'] = true, ['['] = true,
		[']'] = true, [':'] = true, [','] = true,
	};
	const char *p = bytes.p, *end = p + bytes.n, *from = p; /* of what is captured */
	bool was;

	while (p < end) {
		if (w->in_string) {
			p = string_part(w, p, end);
			continue;
		}
		if (w->depth > 1) {
			p = skip_nested(w, p, end);
			continue;
		}
		if (!structural[(unsigned char)*p]) {
			p++;
			continue;
		}
		was = w->capturing;
		if (was && ends_member(w, *p))
			keep(w, from, (size_t)(p - from));
		plain_byte(w, *p++);
		if (!was && w->capturing)
			from = p; /* the colon itself is not part of the value */
	}
	if (w->capturing)
		keep(w, from, (size_t)(end - from));
}

/* ---- the watch ---- */
struct eg_usage_watch *eg_usage_watch_create(enum eg_dialect d, const struct eg_operation *op,
					     bool sse)
{
	struct eg_usage_watch *w;

	(void)op; /* both dialects' answers tell by themselves what they are */
	w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->dialect = d;
	w->sse = sse;
	eg_buf_init(&w->value, VALUE_MAX);
	if (sse)
		eg_sse_init(&w->events, EVENT_MAX, on_event, w);
	return w;
}

void eg_usage_watch_destroy(struct eg_usage_watch *w)
{
	if (!w)
		return;
	if (w->sse)
		eg_sse_fini(&w->events);
	eg_buf_fini(&w->value);
	free(w);
}

void eg_usage_watch_feed(struct eg_usage_watch *w, struct eg_str bytes)
{
	/* Out of memory: that event's counts are lost, the answer goes on. */
	if (w->sse)
		(void)!eg_sse_feed(&w->events, bytes);
	else
		feed_plain(w, bytes);
}

enum eg_event_class eg_usage_watch_progress(const struct eg_usage_watch *w,
					    enum eg_response_class *error)
{
	*error = w->error_class;
	return w->progress;
}

void eg_usage_watch_end(struct eg_usage_watch *w, struct eg_usage *out, bool *saw_end,
			bool *saw_error)
{
	*out = w->usage;
	if (w->dialect == EG_DIALECT_ANTHROPIC)
		out->input_tokens += out->cache_read_tokens + out->cache_write_tokens;
	*saw_end = w->end;
	*saw_error = w->error;
}
