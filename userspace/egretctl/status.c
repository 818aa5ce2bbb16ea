/* SPDX-License-Identifier: Apache-2.0 */
/* egretctl status: the agent at a glance, and what the kernel does when there is none. */
#include <stdio.h>

#include "datapath/read.h"
#include "egretctl/ask.h"

static const char usage[] =
	"Usage: egretctl status [OPTION...]\n"
	"\n"
	"Is the agent of this node serving, with which policy, and how has it been? When no\n"
	"agent runs: what the kernel does in its place.\n"
	"\n"
	"  --run-dir DIR   where its control socket is (" ASK_RUN_DIR ")\n"
	"  --pin-dir DIR   where its pins are (asked of the agent, or " EG_PIN_DIR ")\n"
	"  --alive         only whether it answers, whatever it says: a liveness probe\n"
	"  --json          one JSON document\n"
	"  -h, --help      this text\n"
	"\n"
	"Exit codes: 0 the agent serves (--alive: it answers); 1 it does not, or could not go on "
	"serving; 2 wrong\n"
	"arguments.\n";

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static long long number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static void print_uplinks(const json_t *uplinks)
{
	const json_t *one;
	size_t i;

	json_array_foreach(uplinks, i, one)
		eg_line("uplink    %s, %s", text(one, "name"),
			json_is_true(json_object_get(one, "guarded"))	? "guarded"
			: json_is_true(json_object_get(one, "present")) ? "NO GUARD"
									: "NO SUCH INTERFACE");
}

static void print_events(const json_t *e)
{
	const char *error = text(e, "error");

	if (!json_is_true(json_object_get(e, "on")))
		return;
	eg_line("events    %lld written, %lld wait%s%s", number(e, "written"), number(e, "waiting"),
		json_is_true(json_object_get(e, "forbidden")) ? "; REFUSED: "
		: *error				      ? "; the last try: "
							      : "",
		error);
}

static void print_kubernetes(const json_t *k)
{
	const char *error = text(k, "error");

	eg_line("api       %s, %s%s%s; last heard of %lld s ago", text(k, "api"),
		!json_is_true(json_object_get(k, "synced"))    ? "NOT READ YET"
		: !json_is_true(json_object_get(k, "current")) ? "AWAY: what it said last holds"
							       : "current",
		*error ? ": " : "", error, number(k, "heard_ms_ago") / 1000);
	print_events(json_object_get(k, "events"));
	if (number(k, "pods_out_of_reach"))
		eg_line("          %lld pods that policy selects are in the node's own network: "
			"OUT OF REACH (egretctl pods)",
			number(k, "pods_out_of_reach"));
	if (number(k, "host_pods_guarded"))
		eg_line("          %lld pods in the node's own network are refused governed "
			"destinations",
			number(k, "host_pods_guarded"));
	if (*text(k, "host_network_error"))
		eg_line("          --host-network-pods deny: %s", text(k, "host_network_error"));
}

static void print_agent(const json_t *a)
{
	const json_t *gateway = json_object_get(a, "gateway"),
		     *signer = json_object_get(a, "signer"), *former = json_object_get(a, "former");
	const json_t *pods = json_object_get(a, "pods"), *policy = json_object_get(a, "policy");
	bool ready = json_is_true(json_object_get(a, "ready"));

	if (ready)
		eg_line("agent     serving, version %s", text(a, "version"));
	else if (!strcmp(text(a, "state"), "degraded"))
		eg_line("agent     DEGRADED: it serves, but see TROUBLE; version %s",
			text(a, "version"));
	else
		eg_line("agent     NOT SERVING (%s), version %s", text(a, "state"),
			text(a, "version"));
	if (*text(a, "trouble"))
		eg_line("TROUBLE   %s", text(a, "trouble"));
	if (number(a, "handing_over_to"))
		eg_line("          handing over to pid %lld", number(a, "handing_over_to"));
	else if (!strcmp(text(a, "state"), "handing_over"))
		eg_line("          handing over to an egretd of another pid namespace");
	if (json_is_true(json_object_get(a, "taken_over")) && !number(former, "pid"))
		eg_line("          taken over from an egretd of another pid namespace (version "
			"%s), which %s",
			text(a, "former_version"),
			json_is_true(json_object_get(former, "draining")) ? "drains" : "has ended");
	else if (json_is_true(json_object_get(a, "taken_over")))
		eg_line("          taken over from pid %lld (version %s), which %s",
			number(former, "pid"), text(a, "former_version"),
			json_is_true(json_object_get(former, "draining")) ? "drains" : "has ended");
	eg_line("policy    %s, generation %lld, %lld policies, %lld watched names",
		*text(policy, "version") ? text(policy, "version") : "none in force",
		number(policy, "generation"), number(policy, "policies"),
		number(policy, "watched_names"));
	if (!json_is_true(json_object_get(policy, "valid")))
		eg_line("          what lies in %s is REFUSED: %s", text(policy, "directory"),
			text(policy, "last_error"));
	eg_line("pods      %lld known, %lld governed, %lld held, %lld files refused",
		number(pods, "known"), number(pods, "governed"), number(pods, "held"),
		number(pods, "refused"));
	eg_line("gateway   pid %lld, %lld workers, replaced %lld times (%lld because it hung)",
		number(gateway, "pid"), number(a, "workers"), number(gateway, "restarts"),
		number(gateway, "hangs"));
	eg_line("signer    pid %lld, replaced %lld times (%lld because it hung)",
		number(signer, "pid"), number(signer, "restarts"), number(signer, "hangs"));
	eg_line("kernel    %s mode, fail %s, pins in %s", text(a, "mode"), text(a, "fail"),
		text(a, "pin_dir"));
	print_uplinks(json_object_get(a, "uplinks"));
	if (json_object_get(a, "kubernetes"))
		print_kubernetes(json_object_get(a, "kubernetes"));
	if (number(a, "credentials_missing"))
		eg_line("CREDENTIALS MISSING: %lld; requests that need them are refused",
			number(a, "credentials_missing"));
	if (number(a, "ca_files_missing"))
		eg_line("CA FILES MISSING: %lld; requests to these providers fail (upstream_tls)",
			number(a, "ca_files_missing"));
	if (*text(a, "notes"))
		eg_line("note      %s", text(a, "notes"));
}

/* egretd --observe: there is nothing that could fail closed or open. */
static void print_observer(const json_t *a)
{
	const json_t *pods = json_object_get(a, "pods");

	eg_line("agent     %s, version %s",
		json_is_true(json_object_get(a, "ready")) ? "observing" : "STARTING",
		text(a, "version"));
	eg_line("          OBSERVE ONLY: nothing is enforced; every packet of every pod passes");
	eg_line("pods      %lld known, %lld with a link that is watched, %lld files refused",
		number(pods, "known"), number(pods, "observed"), number(pods, "refused"));
	eg_line("names     %lld watched, %lld of them by policy files alone",
		number(a, "watched_names"), number(a, "watched_by_policy"));
	if (*text(a, "policy_error"))
		eg_line("          POLICY NOT READ: %s", text(a, "policy_error"));
	eg_line("inventory %lld rows: egretctl inventory", number(a, "inventory_rows"));
	eg_line("kernel    observe mode, pins in %s", text(a, "pin_dir"));
	if (json_object_get(a, "kubernetes"))
		print_kubernetes(json_object_get(a, "kubernetes"));
	if (*text(a, "notes"))
		eg_line("note      %s", text(a, "notes"));
}

struct fail {
	size_t open, closed; /* pods, by what the kernel does without an agent */
};

static bool count_pod(void *context, uint32_t ifindex, const struct eg_pod *pod)
{
	struct fail *f = context;

	(void)ifindex;
	if (pod->state == EG_POD_UNGOVERNED || pod->state == EG_POD_FOREIGN)
		return true;
	if (pod->state == EG_POD_GOVERNED && (pod->flags & EG_POD_FAIL_OPEN))
		f->open++;
	else
		f->closed++;
	return true;
}

/* What the pins say: {"installed": ..., "pods_fail_open": ..., ...} */
static json_t *kernel_state(const char *pin_dir)
{
	struct eg_pins *pins;
	struct eg_config c;
	struct eg_error e = {""};
	struct fail fail = {0, 0};
	unsigned int filled = 0;
	json_t *o = json_object();

	json_object_set_new(o, "pin_dir", json_string(pin_dir));
	if (eg_pins_open(pin_dir, &pins, &e) || eg_pins_config(pins, &c, &e)) {
		json_object_set_new(o, "installed", json_false());
		json_object_set_new(o, "why", eg_json_text(eg_str_from(e.text)));
		return o;
	}
	if (eg_pins_listeners(pins, &filled, &e))
		filled = 0;
	json_object_set_new(o, "installed", json_true());
	json_object_set_new(o, "enabled", json_boolean(c.enabled));
	json_object_set_new(o, "mode",
			    json_string(c.mode == EG_MODE_OBSERVE ? "observe"
					: c.mode == EG_MODE_MARK  ? "mark"
								  : "netns"));
	if (eg_pins_pods(pins, count_pod, &fail, &e))
		json_object_set_new(o, "why", eg_json_text(eg_str_from(e.text)));
	json_object_set_new(o, "pods_fail_open", json_integer((json_int_t)fail.open));
	json_object_set_new(o, "pods_fail_closed", json_integer((json_int_t)fail.closed));
	json_object_set_new(o, "generation", json_integer(c.generation));
	json_object_set_new(o, "listeners", json_integer(filled));
	json_object_set_new(
		o, "heartbeat_age_ms",
		c.heartbeat_ns
			? json_integer((json_int_t)((eg_now_ns() - c.heartbeat_ns) / 1000000))
			: json_null());
	eg_pins_close(pins);
	return o;
}

static void print_dead(const struct eg_error *e, const json_t *kernel)
{
	eg_line("agent     NOT RUNNING: %s", e->text);
	if (!json_is_true(json_object_get(kernel, "installed"))) {
		eg_line("kernel    nothing of Egret there: %s", text(kernel, "why"));
		return;
	}
	if (!strcmp(text(kernel, "mode"), "observe")) {
		eg_line("kernel    OBSERVE ONLY: Egret's programs go on counting (%s); nothing is "
			"enforced, with an agent or without",
			text(kernel, "pin_dir"));
		return;
	}
	eg_line("kernel    Egret's programs are in place (%s)", text(kernel, "pin_dir"));
	eg_line("pods      %lld fail closed: their governed connections are refused until an agent "
		"runs",
		number(kernel, "pods_fail_closed"));
	if (number(kernel, "pods_fail_open"))
		eg_line("          %lld fail OPEN: theirs PASS to the providers, ungoverned",
			number(kernel, "pods_fail_open"));
}

int eg_cmd_status(int argc, char **argv)
{
	struct ask_options o;
	struct eg_error e = {""};
	char pin_dir[4096];
	json_t *answer, *kernel = NULL;
	static const char *const own[] = {"alive", NULL};
	bool alive = false, ready;
	int code, r = ask_parse(argc, argv, usage, own, &alive, &o);

	if (r >= 0)
		return r;
	answer = ask_agent(o.run_dir, "status", &code, &e);
	ready = answer && (alive || json_is_true(json_object_get(answer, "ready")));
	if (!answer) {
		kernel = kernel_state(ask_pin_dir(o.pin_dir, o.run_dir, pin_dir, sizeof(pin_dir)));
		if (o.json) {
			answer = json_pack("{s:b, s:s, s:s, s:O}", "ready", 0, "state",
					   "not_running", "why", e.text, "kernel", kernel);
		} else {
			print_dead(&e, kernel);
		}
	}
	if (o.json && answer) {
		r = eg_print_json(answer);
	} else if (answer && !strcmp(text(answer, "mode"), "observe")) {
		print_observer(answer);
	} else if (answer) {
		print_agent(answer);
	}
	json_decref(answer);
	json_decref(kernel);
	if (r > 0)
		return r;
	return ready ? EG_EXIT_OK : EG_EXIT_NO;
}
