/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/coding.h"

#include "proto/h1.h"

enum eg_coding eg_coding_parse(struct eg_str value)
{
	static const struct {
		struct eg_str name;
		enum eg_coding coding;
	} known[] = {
		{EG_STR("identity"), EG_CODING_IDENTITY},
		{EG_STR("gzip"), EG_CODING_GZIP},
		{EG_STR("x-gzip"), EG_CODING_GZIP},
		{EG_STR("deflate"), EG_CODING_DEFLATE},
		{EG_STR("br"), EG_CODING_BR},
		{EG_STR("zstd"), EG_CODING_ZSTD},
	};

	value = eg_str_trim(value);
	if (!value.n)
		return EG_CODING_IDENTITY;
	for (size_t i = 0; i < EG_ARRAY_SIZE(known); i++)
		if (eg_str_ieq(value, known[i].name))
			return known[i].coding;
	return EG_CODING_OTHER;
}

enum eg_coding eg_coding_join(enum eg_coding a, enum eg_coding b)
{
	if (a == EG_CODING_IDENTITY)
		return b;
	return b == EG_CODING_IDENTITY ? a : EG_CODING_OTHER;
}

/* ---- what is asked for ---- */

/* Those that are asked for, and identity: also the indices of `struct accepted`. */
static const char *const asked[] = {"gzip", "br", "zstd", "identity"};
#define ELEMENTS_MAX 64u /* of a list that is read: a head has room for thirty thousand */
#define ASKED	     4u
#define IDENTITY     3u
#define ANY	     4u /* "*" */
#define UNSAID	     (-1)

struct accepted {
	int weight[ASKED + 1]; /* thousandths; UNSAID */
	unsigned int order[ASKED + 1];
	unsigned int count;
};

/* RFC 9110 section 12.4.2: "0" or "1", up to three digits after a point. -1: malformed. */
static int weight(struct eg_str s)
{
	int w, unit = 100;

	if (!s.n || (s.p[0] != '0' && s.p[0] != '1') || s.n > 5 || (s.n > 1 && s.p[1] != '.'))
		return -1;
	w = (s.p[0] - '0') * 1000;
	for (size_t i = 2; i < s.n; i++, unit /= 10) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -1;
		w += (s.p[i] - '0') * unit;
	}
	return w > 1000 ? -1 : w;
}

static int index_of(struct eg_str name)
{
	if (eg_str_eq(name, EG_STR("*")))
		return (int)ANY;
	if (eg_str_ieq(name, EG_STR("x-gzip")))
		return 0;
	for (unsigned int i = 0; i < ASKED; i++)
		if (eg_str_ieq(name, eg_str_from(asked[i])))
			return (int)i;
	return -1;
}

/* One element, "name" or "name;q=w". What is malformed counts as not said. */
static void take(struct accepted *a, struct eg_str element)
{
	ssize_t semicolon = eg_str_find(element, ';');
	struct eg_str name = element;
	int w = 1000, i;

	if (semicolon >= 0) {
		struct eg_str q = eg_str_trim((struct eg_str){element.p + semicolon + 1,
							      element.n - (size_t)semicolon - 1});

		name.n = (size_t)semicolon;
		if (q.n < 2 || (q.p[0] != 'q' && q.p[0] != 'Q') || q.p[1] != '=')
			return;
		w = weight((struct eg_str){q.p + 2, q.n - 2});
	}
	i = index_of(eg_str_trim(name));
	if (i < 0 || w < 0 || a->weight[i] != UNSAID)
		return;
	a->weight[i] = w;
	a->order[a->count++] = (unsigned int)i;
}

static int put(struct eg_buf *out, bool *comma, const char *name, int w)
{
	const char *before = *comma ? ", " : "";

	*comma = true;
	if (w == 1000)
		return eg_buf_printf(out, "%s%s", before, name);
	if (!w)
		return eg_buf_printf(out, "%s%s;q=0", before, name);
	return eg_buf_printf(out, "%s%s;q=0.%03d", before, name, w);
}

/* "*" stands for all that are not named. */
static int put_any(struct eg_buf *out, bool *comma, const struct accepted *a)
{
	int r = 0;

	for (unsigned int i = 0; i < IDENTITY && !r; i++)
		if (a->weight[i] == UNSAID && a->weight[ANY])
			r = put(out, comma, asked[i], a->weight[ANY]);
	return r;
}

int eg_coding_write_accept(struct eg_buf *out, struct eg_str accept)
{
	struct accepted a = {.weight = {UNSAID, UNSAID, UNSAID, UNSAID, UNSAID}};
	struct eg_str element;
	bool comma = false;
	int r = 0;

	for (unsigned int i = 0; i < ELEMENTS_MAX && eg_h1_list_next(&accept, &element); i++)
		take(&a, element);
	for (unsigned int i = 0; i < a.count && !r; i++) {
		unsigned int which = a.order[i];

		if (which == ANY)
			r = put_any(out, &comma, &a);
		else if (which != IDENTITY && a.weight[which])
			r = put(out, &comma, asked[which], a.weight[which]);
	}
	if (r || !comma) /* identity is refused, and nothing else can be had: it is asked for */
		return r ? r : eg_buf_append_str(out, EG_STR("identity"));
	/* Acceptable unless it is refused (section 12.5.3), so only a weight says anything. */
	if (a.weight[IDENTITY] != UNSAID)
		return put(out, &comma, "identity", a.weight[IDENTITY]);
	return a.weight[ANY] ? 0 : put(out, &comma, "identity", 0);
}
