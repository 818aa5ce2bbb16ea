/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-sent events; the first byte chooses the limit. Oracles: the events do not depend on cuts;
 * they are those of a plain reader of the whole stream when nothing is over the limit.
 */
#include "fuzz.h"
#include "proto/sse.h"

struct log {
	char *p;
	size_t n, size;
	size_t events;
	size_t max;
};

static void put(struct log *l, const char *p, size_t n)
{
	if (l->n + n > l->size) {
		l->size = 2 * (l->n + n);
		l->p = realloc(l->p, l->size);
		if (!l->p)
			abort();
	}
	if (n)
		memcpy(l->p + l->n, p, n);
	l->n += n;
}

static void note(void *ctx, struct eg_str event, struct eg_str data)
{
	struct log *l = ctx;

	FUZZ_CHECK(event.n < 64);
	FUZZ_CHECK(data.n <= l->max);
	put(l, event.p, event.n);
	put(l, "|", 1);
	put(l, data.p, data.n);
	put(l, "\0", 1);
	l->events++;
}

static struct log feed(const char *p, size_t size, size_t max, uint64_t cut, bool *overflow)
{
	struct log l = {.max = max};
	struct eg_sse s;

	eg_sse_init(&s, max, note, &l);
	for (size_t at = 0; at < size;) {
		size_t n = cut ? fuzz_step(&cut, size - at) : size;
		char *piece = fuzz_copy(p + at, n);

		FUZZ_CHECK(!eg_sse_feed(&s, (struct eg_str){piece, n}));
		free(piece);
		at += n;
	}
	*overflow = s.overflow;
	eg_sse_fini(&s);
	return l;
}

/* WHATWG HTML 9.2.6, to the letter, with the whole stream at hand. */
static struct log reference(const char *p, size_t size, size_t max)
{
	struct log l = {.max = max}, data = {.p = NULL};
	char type[64] = "";
	size_t at = size >= 3 && !memcmp(p, "\xef\xbb\xbf", 3) ? 3 : 0;

	while (at < size) {
		size_t end = at, colon = at, value, next;

		while (end < size && p[end] != '\r' && p[end] != '\n')
			end++;
		if (end == size)
			break; /* a line without its end is no line */
		next = end + 1;
		if (p[end] == '\r' && next < size && p[next] == '\n')
			next++;
		while (colon < end && p[colon] != ':')
			colon++;
		value = EG_MIN(colon + 1, end);
		if (value < end && p[value] == ' ')
			value++;
		if (end == at) {
			if (data.n)
				note(&l, eg_str_from(type), (struct eg_str){data.p, data.n - 1});
			data.n = 0;
			type[0] = '\0';
		} else if (colon - at == 4 && !memcmp(p + at, "data", 4)) {
			put(&data, p + value, end - value);
			put(&data, "\n", 1);
		} else if (colon - at == 5 && !memcmp(p + at, "event", 5)) {
			size_t n = EG_MIN(end - value, sizeof(type) - 1);

			memcpy(type, p + value, n);
			type[n] = '\0';
		}
		at = next;
	}
	free(data.p);
	return l;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t limits[] = {1 << 20, 16, 40, 200};
	bool over, over_parted;
	struct log whole, parted;
	char *bytes;
	size_t max;

	if (!size)
		return 0;
	max = limits[data[0] % 4];
	data++;
	size--;
	bytes = fuzz_copy(data, size);
	whole = feed(bytes, size, max, 0, &over);
	parted = feed(bytes, size, max, fuzz_seed(data, size), &over_parted);
	FUZZ_CHECK(whole.n == parted.n && over == over_parted);
	FUZZ_CHECK(!whole.n || !memcmp(whole.p, parted.p, whole.n));
	if (!over) {
		struct log ref = reference(bytes, size, max);

		FUZZ_CHECK(whole.n == ref.n);
		FUZZ_CHECK(!whole.n || !memcmp(whole.p, ref.p, whole.n));
		free(ref.p);
	}
	free(whole.p);
	free(parted.p);
	free(bytes);
	return 0;
}
