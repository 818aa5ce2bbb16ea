/* SPDX-License-Identifier: Apache-2.0 */
/* egretctl inventory: what pods talk to, as `egretd --observe` has the kernel count it. */
#include <net/if.h>
#include <stdio.h>
#include <time.h>

#include "datapath/read.h"
#include "egretctl/ask.h"
#include "egretctl/rows.h"
#include "provider/provider.h"

static const char usage[] =
	"Usage: egretctl inventory [OPTION...]\n"
	"\n"
	"Which pods of this node talk to which AI providers, as seen by `egretd --observe` in the\n"
	"pods' DNS answers and ClientHellos. It reads the pinned maps, so it works when no agent\n"
	"runs. Nothing is decrypted, and nothing is enforced.\n"
	"\n"
	"  --run-dir DIR   where the agent's control socket is (" ASK_RUN_DIR ")\n"
	"  --pin-dir DIR   where its pins are\n"
	"  --json          one JSON document\n"
	"  -h, --help      this text\n"
	"\n"
	"Exit codes: 0 shown; 1 nobody observes there, or the pins can't be read; 2 wrong\n"
	"arguments.\n";

struct view {
	json_t *names; /* "id" -> text */
	json_t *rows;
	uint64_t now_ns; /* CLOCK_MONOTONIC */
	time_t now;
};

static const char *text(const json_t *row, const char *key)
{
	const char *s = json_string_value(json_object_get(row, key));

	return s ? s : "";
}

/* The row of the same pod, host and way of knowing: numbers change with each start of the agent,
 * and a pod may have several links. */
static json_t *find_row(const struct view *v, const char *pod, const char *host, const char *by)
{
	json_t *row;
	size_t i;

	json_array_foreach(v->rows, i, row) if (!strcmp(text(row, "pod"), pod) &&
						!strcmp(text(row, "host"), host) &&
						!strcmp(text(row, "known_by"), by)) return row;
	return NULL;
}

static void grow(json_t *row, const char *key, uint64_t by)
{
	json_int_t had = json_integer_value(json_object_get(row, key));

	json_object_set_new(row, key, json_integer(had + (json_int_t)by));
}

/* Seconds since 1970, from CLOCK_MONOTONIC. */
static json_int_t wall(const struct view *v, uint64_t ns)
{
	return (json_int_t)v->now -
	       (json_int_t)((v->now_ns > ns ? v->now_ns - ns : 0) / 1000000000);
}

static void widen(json_t *row, json_int_t first, json_int_t last)
{
	const json_t *f = json_object_get(row, "first_seen"),
		     *l = json_object_get(row, "last_seen");

	if (!f || first < json_integer_value(f))
		json_object_set_new(row, "first_seen", json_integer(first));
	if (!l || last > json_integer_value(l))
		json_object_set_new(row, "last_seen", json_integer(last));
}

/* Whose row it is; of a link that nobody's pod is known to have, the link. */
static void pod_of(const struct eg_talk_key *k, const struct eg_talk *t, char out[EG_POD_NAME + 1])
{
	char link[IF_NAMESIZE] = "?";

	memcpy(out, t->pod, EG_POD_NAME);
	out[EG_POD_NAME] = '\0';
	if (*out)
		return;
	if (!if_indextoname(k->ifindex, link))
		snprintf(link, sizeof(link), "%u", k->ifindex);
	snprintf(out, EG_POD_NAME, "(unknown pod on link %s)", link);
}

static bool add_row(void *context, const struct eg_talk_key *k, const struct eg_talk *t)
{
	static const char *const ways[] = {"?", "dns", "sni", "address"};
	const char *by = ways[k->by < EG_ARRAY_SIZE(ways) ? k->by : 0], *host;
	struct view *v = context;
	char pod[EG_POD_NAME + 1], key[16];
	json_t *row;

	snprintf(key, sizeof(key), "%u", k->name_id);
	host = json_string_value(json_object_get(v->names, key));
	if (!host)
		host = k->name_id ? "(not watched any more)" : "(a range of policy)";
	pod_of(k, t, pod);
	row = find_row(v, pod, host, by);
	if (!row) {
		row = json_object();
		json_object_set_new(row, "pod", eg_json_text(eg_str_from(pod)));
		json_object_set_new(row, "provider",
				    json_string(eg_known_provider(eg_str_from(host))));
		json_object_set_new(row, "host", json_string(host));
		json_object_set_new(row, "known_by", json_string(by));
		json_array_append_new(v->rows, row);
	}
	grow(row, "connections", t->connections);
	grow(row, "packets_up", t->packets_up);
	grow(row, "bytes_up", t->bytes_up);
	grow(row, "packets_down", t->packets_down);
	grow(row, "bytes_down", t->bytes_down);
	widen(row, wall(v, t->first_seen_ns), wall(v, t->last_seen_ns));
	return true;
}

/* For people a time is text, in UTC. */
static void write_times(json_t *rows)
{
	static const char *const keys[] = {"first_seen", "last_seen"};
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) for (size_t k = 0; k < EG_ARRAY_SIZE(keys); k++)
	{
		time_t at = (time_t)json_integer_value(json_object_get(row, keys[k]));
		char stamp[32] = "";
		struct tm tm;

		if (gmtime_r(&at, &tm))
			strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
		json_object_set_new(row, keys[k], json_string(stamp));
	}
}

static int fill(struct eg_pins *pins, struct view *v, struct eg_error *e)
{
	struct eg_config c;
	int r = eg_pins_config(pins, &c, e);

	if (r)
		return r;
	if (c.mode != EG_MODE_OBSERVE)
		return eg_error_set(
			e, -ENOENT,
			"the egretd of these pins governs, and has no inventory: see "
			"`egretctl flows` and the access log; `egretd --observe` is what "
			"makes one");
	r = eg_pins_names(pins, rows_add_name, v->names, e);
	return r ? r : eg_pins_inventory(pins, add_row, v, e);
}

static int show(const struct ask_options *o, const struct view *v)
{
	static const char *const columns[] = {
		"pod",	    "provider",	    "host",	  "known_by",	"connections", "packets_up",
		"bytes_up", "packets_down", "bytes_down", "first_seen", "last_seen",   NULL};
	json_t *document;
	int code;

	if (!o->json) {
		write_times(v->rows);
		rows_print(v->rows, columns);
		return EG_EXIT_OK;
	}
	document = json_pack("{s:s, s:b, s:O}", "mode", "observe", "enforcing", 0, "inventory",
			     v->rows);
	code = eg_print_json(document);
	json_decref(document);
	return code;
}

int eg_cmd_inventory(int argc, char **argv)
{
	struct ask_options o;
	struct view v = {.now_ns = eg_now_ns(), .now = time(NULL)};
	struct eg_pins *pins;
	struct eg_error e = {""};
	char pin_dir[4096];
	int r = ask_parse(argc, argv, usage, NULL, NULL, &o);

	if (r >= 0)
		return r;
	if (eg_pins_open(ask_pin_dir(o.pin_dir, o.run_dir, pin_dir, sizeof(pin_dir)), &pins, &e)) {
		eg_complain("inventory", "%s", e.text);
		return EG_EXIT_NO;
	}
	v.names = json_object();
	v.rows = json_array();
	r = fill(pins, &v, &e);
	eg_pins_close(pins);
	if (r)
		eg_complain("inventory", "%s", e.text);
	r = r ? EG_EXIT_NO : show(&o, &v);
	json_decref(v.names);
	json_decref(v.rows);
	return r;
}
