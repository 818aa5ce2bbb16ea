/* SPDX-License-Identifier: Apache-2.0 */
/* egretctl flows: the kernel's tables, read by their pins: works without an agent. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "datapath/datapath.h"
#include "datapath/read.h"
#include "egretctl/ask.h"
#include "egretctl/flows_follow.h"
#include "egretctl/rows.h"

static const char usage[] =
	"Usage: egretctl flows [OPTION...]\n"
	"\n"
	"What the kernel decided of the pods' traffic. It reads the pinned maps, so it works when\n"
	"no agent runs. Without a flag: the flows that are remembered, each with its decision.\n"
	"\n"
	"  --learned       addresses that pods' own DNS answers and ClientHellos taught\n"
	"  --destinations  addresses and ranges that are governed for every pod\n"
	"  --counters      packets by hook, pod, name and outcome since the pins were made\n"
	"  --follow        a line each second for each flow that is new or goes on, until ^C\n"
	"  --pod NS/NAME   that pod's alone\n"
	"  --run-dir DIR   where the agent's control socket is (" ASK_RUN_DIR ")\n"
	"  --pin-dir DIR   where its pins are\n"
	"  --json          one JSON document\n"
	"  -h, --help      this text\n"
	"\n"
	"Exit codes: 0 shown; 1 no pins are there, or they can't be read; 2 wrong arguments.\n";

struct view {
	json_t *pods;  /* "ifindex" -> name, "#id" -> name */
	json_t *names; /* "id" -> text */
	json_t *rows;
	uint64_t now_ns;
	const char *pod; /* that one's alone; NULL: all */
	bool pod_seen;
};

static bool is_wanted(const struct view *v, const char *pod)
{
	return !v->pod || !strcmp(v->pod, pod);
}

static const char *action_name(uint8_t action)
{
	static const char *const names[] = {"drop", "redirect", "pass", "reset"};

	return action < EG_ARRAY_SIZE(names) ? names[action] : "?";
}

static const char *protocol_name(uint8_t protocol, char *number)
{
	if (protocol == IPPROTO_TCP)
		return "tcp";
	if (protocol == IPPROTO_UDP)
		return "udp";
	if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6)
		return "icmp";
	sprintf(number, "%u", protocol);
	return number;
}

/* prefix: "#" for the number of a pod, "" for a link or a name */
static const char *look_up(const json_t *o, const char *prefix, uint32_t id)
{
	char key[16];
	const char *s;

	snprintf(key, sizeof(key), "%s%u", prefix, id);
	s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

static bool add_pod(void *context, uint32_t ifindex, const struct eg_pod *pod)
{
	struct view *v = context;
	char key[16], name[EG_POD_NAME + 1];

	memcpy(name, pod->name, EG_POD_NAME);
	name[EG_POD_NAME] = '\0';
	v->pod_seen |= v->pod && !strcmp(v->pod, name);
	snprintf(key, sizeof(key), "%u", ifindex);
	json_object_set_new(v->pods, key, eg_json_text(eg_str_from(name)));
	snprintf(key, sizeof(key), "#%u", pod->pod_id);
	json_object_set_new(v->pods, key, eg_json_text(eg_str_from(name)));
	return true;
}

static bool add_host_pod(void *context, const struct eg_pod *pod)
{
	return add_pod(context, EG_HOST_POD_LINK | pod->pod_id, pod);
}

static bool add_flow(void *context, const struct eg_flow_key *k, const struct eg_flow *f)
{
	struct view *v = context;
	char from[EG_ADDRESS_TEXT], to[EG_ADDRESS_TEXT], number[4];
	uint64_t age = v->now_ns > f->last_seen_ns ? v->now_ns - f->last_seen_ns : 0;

	if (!is_wanted(v, look_up(v->pods, "", k->ifindex)))
		return true;
	json_array_append_new(
		v->rows,
		json_pack("{s:s, s:s, s:i, s:s, s:i, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:i}",
			  "pod", look_up(v->pods, "", k->ifindex), "source",
			  eg_address_format(&k->source, from), "source_port",
			  ntohs(k->source_port_be), "destination",
			  eg_address_format(&k->destination, to), "destination_port",
			  ntohs(k->destination_port_be), "protocol",
			  protocol_name(k->protocol, number), "name",
			  look_up(v->names, "", f->name_id), "action", action_name(f->action),
			  "reason", eg_reason_label((enum eg_reason)f->reason), "packets",
			  (json_int_t)f->packets, "bytes", (json_int_t)f->bytes, "idle_ms",
			  (json_int_t)(age / 1000000), "generation", (int)f->generation));
	return true;
}

static bool add_learned(void *context, const struct eg_learned_key *k, const struct eg_learned *l)
{
	static const char *const from[] = {"?", "dns", "sni", "agent"};
	struct view *v = context;
	char address[EG_ADDRESS_TEXT];
	json_int_t left = l->expires_ns > v->now_ns
				  ? (json_int_t)((l->expires_ns - v->now_ns) / 1000000000)
				  : 0;

	if (!is_wanted(v, look_up(v->pods, "", k->ifindex)))
		return true;
	json_array_append_new(v->rows, json_pack("{s:s, s:s, s:s, s:s, s:I}", "pod",
						 look_up(v->pods, "", k->ifindex), "address",
						 eg_address_format(&k->address, address), "name",
						 look_up(v->names, "", l->name_id), "from",
						 from[l->from < EG_ARRAY_SIZE(from) ? l->from : 0],
						 "seconds_left", left));
	return true;
}

static bool add_destination(void *context, const struct eg_address *a, unsigned int bits,
			    const struct eg_destination *d)
{
	static const char *const origins[] = {"?", "policy", "resolved", "gateway", "excluded"};
	struct view *v = context;
	char address[EG_ADDRESS_TEXT], range[EG_ADDRESS_TEXT + 5];

	snprintf(range, sizeof(range), "%s/%u", eg_address_format(a, address), bits);
	json_array_append_new(
		v->rows,
		json_pack(
			"{s:s, s:s, s:s, s:o}", "range", range, "name",
			look_up(v->names, "", d->name_id), "origin",
			origins[d->origin < EG_ARRAY_SIZE(origins) ? d->origin : 0], "seconds_left",
			d->expires_ns
				? json_integer(d->expires_ns > v->now_ns
						       ? (json_int_t)((d->expires_ns - v->now_ns) /
								      1000000000)
						       : 0)
				: json_null()));
	return true;
}

static bool add_counter(void *context, const struct eg_counter_key *k, const struct eg_counter *c)
{
	static const char *const hooks[] = {"?",   "egress", "dns",    "sni", "guard",
					    "xdp", "reply",  "lookup", "host"};
	struct view *v = context;
	bool gone = k->pod_id == EG_POD_GONE;
	const char *pod = gone ? "(gone)" : look_up(v->pods, "#", k->pod_id);

	if (!is_wanted(v, pod))
		return true;
	json_array_append_new(v->rows,
			      json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "hook",
					hooks[k->hook < EG_ARRAY_SIZE(hooks) ? k->hook : 0], "pod",
					pod, "name", look_up(v->names, "", k->name_id), "reason",
					eg_reason_label((enum eg_reason)k->reason), "packets",
					(json_int_t)c->packets, "bytes", (json_int_t)c->bytes));
	return true;
}

enum table { LEARNED, DESTINATIONS, COUNTERS, FOLLOW, POD, FLAGS };

static int fill(struct eg_pins *pins, const bool *own, struct view *v, struct eg_error *e)
{
	int r = eg_pins_pods(pins, add_pod, v, e);

	if (!r)
		r = eg_pins_host_pods(pins, add_host_pod, v, e);
	if (!r)
		r = eg_pins_names(pins, rows_add_name, v->names, e);
	if (r)
		return r;
	if (own[LEARNED])
		return eg_pins_learned(pins, add_learned, v, e);
	if (own[DESTINATIONS])
		return eg_pins_destinations(pins, add_destination, v, e);
	if (own[COUNTERS])
		return eg_pins_counters(pins, add_counter, v, e);
	return eg_pins_flows(pins, add_flow, v, e);
}

static int show(const struct ask_options *o, const bool *own, const struct view *v)
{
	static const char *const flow_columns[] = {
		"pod",	"protocol", "source", "source_port", "destination", "destination_port",
		"name", "action",   "reason", "packets",     "bytes",	    "idle_ms",
		NULL};
	static const char *const learned_columns[] = {"pod",  "address",      "name",
						      "from", "seconds_left", NULL};
	static const char *const destination_columns[] = {"range", "name", "origin", "seconds_left",
							  NULL};
	static const char *const counter_columns[] = {"hook",	 "pod",	  "name", "reason",
						      "packets", "bytes", NULL};
	static const char *const keys[] = {"learned", "destinations", "counters", "flows"};
	static const char *const *const columns[] = {learned_columns, destination_columns,
						     counter_columns, flow_columns};
	int which = own[LEARNED] ? 0 : own[DESTINATIONS] ? 1 : own[COUNTERS] ? 2 : 3;

	if (o->json) {
		json_t *document = json_pack("{s:O}", keys[which], v->rows);
		int code = eg_print_json(document);

		json_decref(document);
		return code;
	}
	rows_print(v->rows, columns[which]);
	return EG_EXIT_OK;
}

struct look {
	const char *pin_dir;
	const bool *own;
	struct view view;
};

/* One of the tables, read anew: pins may have been made anew since. The rows are the view's. */
static int look(struct look *l, struct eg_error *e)
{
	struct view *v = &l->view;
	struct eg_pins *pins;
	int r = eg_pins_open(l->pin_dir, &pins, e);

	if (r)
		return r;
	v->now_ns = eg_now_ns();
	v->pods = json_object();
	v->names = json_object();
	v->rows = json_array();
	r = fill(pins, l->own, v, e);
	eg_pins_close(pins);
	json_decref(v->pods);
	json_decref(v->names);
	if (r)
		json_decref(v->rows);
	return r;
}

static json_t *next_rows(void *context, struct eg_error *e)
{
	struct look *l = context;

	return look(l, e) ? NULL : l->view.rows;
}

static int check_flags(const bool *own, const char *pod)
{
	if (own[LEARNED] + own[DESTINATIONS] + own[COUNTERS] + own[FOLLOW] > 1)
		return eg_usage_error("flows", "expected one of --learned, --destinations, "
					       "--counters and --follow");
	if (own[POD] && own[DESTINATIONS])
		return eg_usage_error("flows", "--destinations are every pod's; --pod says nothing "
					       "of them");
	if (own[POD] && !strchr(pod, '/'))
		return eg_usage_error("flows", "--pod %s: expected NAMESPACE/NAME", pod);
	return -1;
}

int eg_cmd_flows(int argc, char **argv)
{
	static const char *const own_names[] = {"learned", "destinations", "counters",
						"follow",  "pod=",	   NULL};
	bool own[FLAGS] = {false};
	struct look l = {.own = own};
	struct ask_options o;
	struct eg_error e = {""};
	char pin_dir[4096];
	int r = ask_parse(argc, argv, usage, own_names, own, &o);

	if (r < 0)
		r = check_flags(own, o.value);
	if (r >= 0)
		return r;
	l.pin_dir = ask_pin_dir(o.pin_dir, o.run_dir, pin_dir, sizeof(pin_dir));
	l.view.pod = o.value;
	if (own[FOLLOW])
		return flows_follow(next_rows, &l, o.json);
	if (look(&l, &e)) {
		eg_complain("flows", "%s", e.text);
		return EG_EXIT_NO;
	}
	if (own[POD] && !l.view.pod_seen)
		eg_complain("flows",
			    "no pod %s is known on this node; expected NAMESPACE/NAME as egretctl "
			    "pods --kernel shows it",
			    o.value);
	r = own[POD] && !l.view.pod_seen ? EG_EXIT_NO : show(&o, own, &l.view);
	json_decref(l.view.rows);
	return r;
}
