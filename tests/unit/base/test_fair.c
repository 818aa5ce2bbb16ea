/* SPDX-License-Identifier: Apache-2.0 */
/* Whose turn it is: by rounds, one of each owner in a round. */
#include "base_test.h"

#include "base/fair.h"

struct world {
	struct eg_list waiting;
	uint64_t round;
	struct eg_fair e[64];
	char order[65];
	size_t n;
};

static const char owners[128];

/* An entry for each letter, whose owner it is. */
static void add(struct world *w, const char *of)
{
	for (; *of; of++) {
		struct eg_fair *e = &w->e[w->n++];

		e->of = &owners[(unsigned char)*of];
		eg_fair_add(&w->waiting, w->round, e);
	}
}

static void take(struct world *w, size_t n)
{
	while (n-- && !eg_list_empty(&w->waiting)) {
		struct eg_fair *e = eg_container_of(w->waiting.next, struct eg_fair, link);

		w->round = e->round;
		eg_list_remove(&e->link);
		w->order[strlen(w->order)] = (char)((const char *)e->of - owners);
	}
}

static void begin(struct world *w)
{
	memset(w, 0, sizeof(*w));
	eg_list_init(&w->waiting);
}

static void turns(void **state)
{
	struct world w;

	begin(&w);
	add(&w, "aaaaaaaab");
	add(&w, "bc");
	take(&w, 64);
	assert_string_equal(w.order, "abcabaaaaaa");
	(void)state;
}

/* Who comes when others have waited long is no better off for that, nor worse. */
static void late_comers(void **state)
{
	struct world w;

	begin(&w);
	add(&w, "aaaaaaaaaa");
	take(&w, 6);
	add(&w, "bbb");
	take(&w, 64);
	assert_string_equal(w.order, "aaaaaaabababa");
	(void)state;
}

/* What its owner took out again counts for nothing. */
static void given_up(void **state)
{
	struct world w;

	begin(&w);
	add(&w, "aaaaaaaa");
	for (size_t i = 1; i < 8; i++)
		eg_list_remove(&w.e[i].link);
	add(&w, "bba");
	take(&w, 64);
	assert_string_equal(w.order, "abba");
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(turns),
		cmocka_unit_test(late_comers),
		cmocka_unit_test(given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
