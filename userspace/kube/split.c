/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/split.h"

#include "kube/objects.h"

#define KEPT_BYTES 65536u /* of the buffer, between pieces */

void kube_split_init(struct kube_split *s, bool list,
		     int (*piece)(void *ctx, struct eg_str text, bool cut), void *ctx)
{
	*s = (struct kube_split){.piece = piece, .ctx = ctx, .list = list};
	eg_buf_init(&s->text, KUBE_TEXT_BYTES);
	eg_buf_init(&s->rest, KUBE_REST_BYTES);
}

void kube_split_fini(struct kube_split *s)
{
	eg_buf_fini(&s->text);
	eg_buf_fini(&s->rest);
}

static int collect(struct kube_split *s, const char *p, size_t n)
{
	size_t room = KUBE_TEXT_BYTES - s->text.length;

	if (n > room)
		s->cut = true;
	return eg_buf_append(&s->text, p, EG_MIN(n, room));
}

static int give(struct kube_split *s)
{
	int r = s->text.length ? s->piece(s->ctx, eg_buf_str(&s->text), s->cut) : 0;

	s->cut = false;
	eg_buf_clear(&s->text);
	if (s->text.size > KEPT_BYTES)
		eg_buf_release(&s->text);
	return r;
}

/* ---- lines ---- */

static int feed_lines(struct kube_split *s, struct eg_str in)
{
	while (in.n) {
		const char *end = memchr(in.p, '\n', in.n);
		size_t n = end ? (size_t)(end - in.p) : in.n;
		int r = collect(s, in.p, n);

		if (!r && end)
			r = give(s);
		if (r)
			return r;
		n += end ? 1 : 0;
		in.p += n;
		in.n -= n;
	}
	return 0;
}

/* ---- lists ---- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Does what there is of the list end with the key of its items? */
static bool at_items(const struct eg_buf *rest)
{
	static const char key[] = "\"items\"";
	struct eg_str s = eg_buf_str(rest);
	size_t colons = 0;

	for (; s.n && (is_space(s.p[s.n - 1]) || s.p[s.n - 1] == ':'); s.n--)
		colons += s.p[s.n - 1] == ':';
	if (colons != 1 || !eg_str_ends(s, EG_STR(key)))
		return false;
	s.n -= sizeof(key) - 1;
	return !s.n || s.p[s.n - 1] != '\\';
}

static bool in_piece(const struct kube_split *s)
{
	return s->items && s->depth > 2;
}

/* One byte outside of strings; what is kept of it goes to the piece or to the rest by the caller.
 */
static int step(struct kube_split *s, char c)
{
	if (s->over)
		return is_space(c) ? 0 : -EINVAL;
	if (s->items && s->depth == 2 && !is_space(c) && c != ',' && c != '{' && c != ']')
		return -EINVAL;
	switch (c) {
	case '"':
		s->string = true;
		return s->depth ? 0 : -EINVAL;
	case '[':
		if (s->depth == 1 && at_items(&s->rest))
			s->items = true;
		s->depth++;
		return s->depth == 1 ? -EINVAL : 0;
	case '{':
		s->depth++;
		return 0;
	case '}':
	case ']':
		if (!s->depth)
			return -EINVAL;
		s->depth--;
		s->over = !s->depth;
		return 0;
	default:
		return s->depth || is_space(c) ? 0 : -EINVAL;
	}
}

static int list_byte(struct kube_split *s, const char *p)
{
	bool was_piece = in_piece(s), was_items = s->items && s->depth == 2;
	bool was_over = s->over;
	int r = 0;

	if (!s->string)
		r = step(s, *p);
	else if (s->escaped)
		s->escaped = false;
	else if (*p == '\\')
		s->escaped = true;
	else if (*p == '"')
		s->string = false;
	if (r || was_over)
		return r;
	if (was_piece || in_piece(s)) {
		r = collect(s, p, 1);
		return r || in_piece(s) ? r : give(s);
	}
	if (was_items && s->depth == 2) /* between two of them */
		return 0;
	if (was_items)
		s->items = false;
	r = eg_buf_append(&s->rest, p, 1);
	return r == -ENOBUFS ? -EINVAL : r;
}

int kube_split_feed(struct kube_split *s, struct eg_str in)
{
	int r = 0;

	if (!s->list)
		return feed_lines(s, in);
	for (size_t i = 0; !r && i < in.n; i++)
		r = list_byte(s, in.p + i);
	return r;
}

int kube_split_end(struct kube_split *s)
{
	if (s->list)
		return s->over ? 0 : -EINVAL;
	return give(s);
}
