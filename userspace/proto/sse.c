/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/sse.h"

void eg_sse_init(struct eg_sse *s, size_t max_event_bytes,
		 void (*on_event)(void *ctx, struct eg_str event, struct eg_str data), void *ctx)
{
	*s = (struct eg_sse){.on_event = on_event, .ctx = ctx};
	eg_buf_init(&s->line, max_event_bytes);
	/* Each line of data is followed by LF until the event is complete. */
	eg_buf_init(&s->data, max_event_bytes + 1);
}

void eg_sse_fini(struct eg_sse *s)
{
	eg_buf_fini(&s->line);
	eg_buf_fini(&s->data);
}

static struct eg_str without_bom(const struct eg_sse *s, struct eg_str line)
{
	if (!s->started && eg_str_starts(line, EG_STR("\xef\xbb\xbf")))
		line = (struct eg_str){line.p + 3, line.n - 3};
	return line;
}

/* This event can't be held: forget it up to the empty line that ends it. */
static int lose_event(struct eg_sse *s, int r)
{
	s->skip_event = true;
	eg_buf_clear(&s->data);
	if (r != -ENOBUFS)
		return r;
	s->overflow = true;
	return 0;
}

static void dispatch(struct eg_sse *s)
{
	struct eg_str data = eg_buf_str(&s->data);

	if (data.n && !s->skip_event) {
		data.n--; /* the last LF */
		s->on_event(s->ctx, eg_str_from(s->event), data);
	}
	eg_buf_clear(&s->data);
	s->event[0] = '\0';
	s->skip_event = false;
}

static int take_field(struct eg_sse *s, struct eg_str name, struct eg_str value)
{
	int r;

	if (eg_str_eq(name, EG_STR("event"))) {
		eg_str_copy(s->event, sizeof(s->event), value);
		return 0;
	}
	if (s->skip_event || !eg_str_eq(name, EG_STR("data")))
		return 0;
	r = eg_buf_append_str(&s->data, value);
	if (!r)
		r = eg_buf_append(&s->data, "\n", 1);
	return r ? lose_event(s, r) : 0;
}

/* A whole line without its end. */
static int take_line(struct eg_sse *s, struct eg_str line)
{
	struct eg_str name, value = {NULL, 0};
	ssize_t colon;

	line = without_bom(s, line);
	s->started = true;
	if (!line.n) {
		dispatch(s);
		return 0;
	}
	colon = eg_str_find(line, ':');
	if (!colon)
		return 0; /* a comment */
	name = line;
	if (colon > 0) {
		name.n = (size_t)colon;
		value = (struct eg_str){line.p + colon + 1, line.n - (size_t)colon - 1};
		if (eg_str_starts(value, EG_STR(" ")))
			value = (struct eg_str){value.p + 1, value.n - 1};
	}
	return take_field(s, name, value);
}

/* A line that is longer than an event may be. */
static int lose_line(struct eg_sse *s, int r)
{
	struct eg_str begin = without_bom(s, eg_buf_str(&s->line));
	bool comment = eg_str_starts(begin, EG_STR(":"));

	s->skip_line = true;
	s->started = true;
	eg_buf_clear(&s->line);
	return comment ? 0 : lose_event(s, r);
}

/* Bytes of the line that is being read; `ended` when they are its last. */
static int take_part(struct eg_sse *s, struct eg_str part, bool ended)
{
	int r = 0;

	if (s->skip_line) {
		s->skip_line = !ended;
		return 0;
	}
	/* The usual line lies whole in the input: no copy. */
	if (ended && !s->line.length && part.n <= s->line.cap)
		return take_line(s, part);
	if (part.n > s->line.cap - s->line.length) {
		/* What the line begins with tells a comment, however the input was cut. */
		size_t room = EG_MIN(s->line.cap - s->line.length, (size_t)4);

		r = eg_buf_append(&s->line, part.p, room);
		r = lose_line(s, r == -ENOMEM ? r : -ENOBUFS);
		s->skip_line = !ended;
		return r;
	}
	r = eg_buf_append_str(&s->line, part);
	if (r) {
		r = lose_line(s, r);
		s->skip_line = !ended;
		return r;
	}
	if (ended) {
		r = take_line(s, eg_buf_str(&s->line));
		eg_buf_clear(&s->line);
	}
	return r;
}

int eg_sse_feed(struct eg_sse *s, struct eg_str bytes)
{
	const char *p = bytes.p, *end = bytes.n ? p + bytes.n : p, *lf = NULL;
	int result = 0;

	while (p < end) {
		const char *cr, *stop;
		int r;

		if (s->skip_lf) {
			s->skip_lf = false;
			if (*p == '\n') {
				p++;
				continue;
			}
		}
		/* The LF found last time is still the next one when lines end in CR. */
		if (!lf || lf < p)
			lf = memchr(p, '\n', (size_t)(end - p));
		if (!lf)
			lf = end;
		cr = memchr(p, '\r', (size_t)(lf - p));
		stop = cr ? cr : lf;
		r = take_part(s, (struct eg_str){p, (size_t)(stop - p)}, stop < end);
		if (r)
			result = r;
		s->skip_lf = stop < end && *stop == '\r';
		p = stop < end ? stop + 1 : end;
	}
	return result;
}
