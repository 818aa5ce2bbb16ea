/* SPDX-License-Identifier: Apache-2.0 */
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/observe_impl.h"
#include "base/log.h"
#include "provider/provider.h"

#define TOLD_SLOTS 32768u /* a power of two; half of them are used at most */
#define LINES_MAX  64u	  /* of one look */

struct name {
	uint32_t id;
	char text[EG_DNS_NAME];
};

struct looking {
	struct eg_observer *ob;
	struct name *names;
	size_t name_count, name_room;
	unsigned int lines; /* written, or left out */
};

static bool add_name(void *context, const struct eg_name *n)
{
	struct looking *l = context;

	if (l->name_count == l->name_room) {
		size_t room = l->name_room ? l->name_room * 2 : 512;
		struct name *bigger = reallocarray(l->names, room, sizeof(*bigger));

		if (!bigger)
			return false;
		l->names = bigger;
		l->name_room = room;
	}
	l->names[l->name_count].id = n->name_id;
	memcpy(l->names[l->name_count].text, n->text, EG_DNS_NAME);
	l->names[l->name_count++].text[EG_DNS_NAME - 1] = '\0';
	return true;
}

static const char *name_of(const struct looking *l, uint32_t id)
{
	for (size_t i = 0; id && i < l->name_count; i++)
		if (l->names[i].id == id)
			return l->names[i].text;
	return id ? "a name that is not watched any more" : "a range of policy's";
}

/* ---- the log ---- */

static uint64_t mix(uint64_t h, const void *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
	return h;
}

/* False: it is there already, or no more can be remembered. */
static bool remember(struct eg_observer *ob, uint64_t h)
{
	size_t at = h % TOLD_SLOTS;

	h += !h;
	while (ob->told[at] && ob->told[at] != h)
		at = (at + 1) % TOLD_SLOTS;
	if (ob->told[at])
		return false;
	if (ob->told_count >= TOLD_SLOTS / 2) {
		if (!ob->told_full)
			eg_warn("more pods and providers than the log is kept free of repetitions "
				"for; no new ones are logged, `egretctl inventory` has them");
		ob->told_full = true;
		return false;
	}
	ob->told[at] = h;
	ob->told_count++;
	return true;
}

/* Once for each pod and provider, whatever its numbers are after a restart. */
static void tell(struct looking *l, const struct eg_talk_key *k, const struct eg_talk *t,
		 const char *name, const char *provider)
{
	static const char *const by[] = {"?", "DNS", "SNI", "its address"};
	uint64_t h = mix(14695981039346656037u, t->pod, strnlen(t->pod, EG_POD_NAME));
	char link[IF_NAMESIZE] = "?";

	if (!t->pod[0])
		h = mix(h, &k->ifindex, sizeof(k->ifindex));
	/* Those of no provider that is known are told apart by their names. */
	h = mix(h, provider, strlen(provider) + 1);
	if (!strcmp(provider, "other"))
		h = mix(h, name, strlen(name));
	if (!remember(l->ob, h) || !l->ob->looked || ++l->lines > LINES_MAX)
		return;
	if (t->pod[0]) {
		eg_info("pod %.*s talks to %s (%s), known by %s", EG_POD_NAME - 1, t->pod, provider,
			name, by[k->by < EG_ARRAY_SIZE(by) ? k->by : 0]);
		return;
	}
	(void)if_indextoname(k->ifindex, link);
	eg_info("a pod that was not known yet, on link %s, talks to %s (%s), known by %s", link,
		provider, name, by[k->by < EG_ARRAY_SIZE(by) ? k->by : 0]);
}

/* ---- the metrics ---- */

static void namespace_of(const struct eg_observer *ob, const struct eg_talk_key *k,
			 const struct eg_talk *t, char out[64])
{
	const struct eg_table *table = ob->s.table;
	const char *slash = memchr(t->pod, '/', EG_POD_NAME);

	for (size_t i = 0; k->pod_id && table && i < table->count; i++)
		if (table->pods[i].pod.pod_id == k->pod_id) {
			eg_str_copy(out, 64,
				    eg_str_from(table->pods[i].pod.identity.namespace_name));
			return;
		}
	/* Of a long name the middle is left out, and the slash may be in it. */
	if (slash)
		eg_str_copy(out, 64, (struct eg_str){t->pod, (size_t)(slash - t->pod)});
	else
		eg_str_copy(out, 64, EG_STR("unknown"));
}

static struct eg_observe_series *series_of(struct eg_observer *ob, const char *namespace_name,
					   const char *provider)
{
	struct eg_observe_series *s;

	for (size_t i = 0; i < ob->series_count; i++) {
		s = &ob->series[i];
		if (!strcmp(s->namespace_name, namespace_name) && !strcmp(s->provider, provider))
			return s;
	}
	if (ob->series_count == EG_OBSERVE_SERIES) /* the last one takes all that come later */
		return &ob->series[EG_OBSERVE_SERIES - 1];
	s = &ob->series[ob->series_count++];
	if (ob->series_count == EG_OBSERVE_SERIES) {
		namespace_name = "other";
		provider = "other";
	}
	eg_str_copy(s->namespace_name, sizeof(s->namespace_name), eg_str_from(namespace_name));
	s->provider = provider;
	return s;
}

static void sum(struct eg_talk *to, const struct eg_talk *t)
{
	to->connections += t->connections;
	to->packets_up += t->packets_up;
	to->bytes_up += t->bytes_up;
	to->packets_down += t->packets_down;
	to->bytes_down += t->bytes_down;
}

/* What came since the last look. Less than before: the map forgot rows, which says nothing. */
static void grow(__u64 *total, __u64 now, __u64 before)
{
	if (now > before)
		*total += now - before;
}

/* ---- both ---- */

static bool add_row(void *context, const struct eg_talk_key *k, const struct eg_talk *t)
{
	struct looking *l = context;
	const char *name = name_of(l, k->name_id);
	const char *provider = eg_known_provider(eg_str_from(name));
	char namespace_name[64];

	l->ob->rows++;
	namespace_of(l->ob, k, t, namespace_name);
	sum(&series_of(l->ob, namespace_name, provider)->seen, t);
	tell(l, k, t, name, provider);
	return true;
}

static int read_all(struct eg_observer *ob, struct looking *l, struct eg_error *e)
{
	int r = ob->s.pins ? 0 : eg_pins_open(ob->s.o->pin_dir, &ob->s.pins, e);

	if (!r)
		r = eg_pins_names(ob->s.pins, add_name, l, e);
	return r ? r : eg_pins_inventory(ob->s.pins, add_row, l, e);
}

void eg_observe_look(struct eg_observer *ob)
{
	EG_CLEANUP_FREE struct eg_talk *before = calloc(EG_OBSERVE_SERIES, sizeof(*before));
	struct looking l = {.ob = ob};
	struct eg_error e = {""};

	if (!ob->told)
		ob->told = calloc(TOLD_SLOTS, sizeof(*ob->told));
	if (!ob->series)
		ob->series = calloc(EG_OBSERVE_SERIES, sizeof(*ob->series));
	if (!ob->told || !ob->series || !before)
		return;
	for (size_t i = 0; i < ob->series_count; i++) {
		before[i] = ob->series[i].seen;
		memset(&ob->series[i].seen, 0, sizeof(ob->series[i].seen));
	}
	ob->rows = 0;
	if (read_all(ob, &l, &e))
		eg_warn("inventory: %s", e.text);
	for (size_t i = 0; i < ob->series_count; i++) {
		struct eg_observe_series *s = &ob->series[i];

		grow(&s->total.connections, s->seen.connections, before[i].connections);
		grow(&s->total.packets_up, s->seen.packets_up, before[i].packets_up);
		grow(&s->total.bytes_up, s->seen.bytes_up, before[i].bytes_up);
		grow(&s->total.packets_down, s->seen.packets_down, before[i].packets_down);
		grow(&s->total.bytes_down, s->seen.bytes_down, before[i].bytes_down);
	}
	if (l.lines > LINES_MAX)
		eg_info("and %u more pods and providers that are new; see `egretctl inventory`",
			l.lines - LINES_MAX);
	if (!ob->looked && ob->rows)
		eg_info("the inventory of an earlier start goes on, with %zu rows", ob->rows);
	ob->looked = true;
	free(l.names);
}

void eg_observe_inventory_fini(struct eg_observer *ob)
{
	free(ob->told);
	free(ob->series);
}
