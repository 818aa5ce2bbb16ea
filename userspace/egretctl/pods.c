/* SPDX-License-Identifier: Apache-2.0 */
/* egretctl pods: who is on this node and what governs it; from the kernel's map when no agent runs.
 */
#include <net/if.h>
#include <stdio.h>

#include "datapath/datapath.h"
#include "datapath/read.h"
#include "egretctl/ask.h"

static const char usage[] =
	"Usage: egretctl pods [OPTION...]\n"
	"\n"
	"The pods of this node: their addresses, their state and the policy that selects them.\n"
	"States: governed; ungoverned (no policy selects it: untouched); held or unknown (traffic\n"
	"to governed destinations waits until the pod is known); foreign (not a pod);\n"
	"no_link (its file names a link or namespace that is not there: nothing is captured).\n"
	"Without a running agent the kernel's own table is shown, which has no policy names.\n"
	"\n"
	"  --kernel        the kernel's table even when an agent runs\n"
	"  --run-dir DIR   where the agent's control socket is (" ASK_RUN_DIR ")\n"
	"  --pin-dir DIR   where its pins are\n"
	"  --json          one JSON document\n"
	"  -h, --help      this text\n"
	"\n"
	"Exit codes: 0 shown; 1 neither an agent nor pins are there; 2 wrong arguments.\n";

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static bool add_pod(void *context, uint32_t ifindex, const struct eg_pod *pod)
{
	json_t *all = context, *addresses = json_array();
	char name[EG_POD_NAME + 1], link[IF_NAMESIZE] = "";
	const char *slash;

	memcpy(name, pod->name, EG_POD_NAME);
	name[EG_POD_NAME] = '\0';
	slash = strchr(name, '/');
	for (uint8_t i = 0; i < pod->address_count && i < EG_POD_ADDRESSES; i++) {
		char a[EG_ADDRESS_TEXT];

		json_array_append_new(addresses,
				      json_string(eg_address_format(&pod->address[i], a)));
	}
	if (!if_indextoname(ifindex, link))
		link[0] = '\0';
	json_array_append_new(
		all,
		json_pack("{s:i, s:o, s:o, s:s, s:i, s:[i], s:o, s:o, s:b, s:b, s:b}", "id",
			  (int)pod->pod_id, "namespace",
			  eg_json_text((struct eg_str){name, slash ? (size_t)(slash - name) : 0}),
			  "name", eg_json_text(eg_str_from(slash ? slash + 1 : name)), "state",
			  eg_pod_state_name(pod->state), "policy_id", (int)pod->policy_id, "links",
			  (int)ifindex, "link", eg_json_text(eg_str_from(link)), "addresses",
			  addresses, "fail_open", pod->flags & EG_POD_FAIL_OPEN, "capture_all_tls",
			  pod->flags & EG_POD_CAPTURE_ALL_TLS, "strict",
			  pod->flags & EG_POD_STRICT));
	return true;
}

static json_t *from_kernel(const char *pin_dir, struct eg_error *e)
{
	struct eg_pins *pins;
	json_t *all = json_array();
	int r = eg_pins_open(pin_dir, &pins, e);

	if (!r) {
		r = eg_pins_pods(pins, add_pod, all, e);
		eg_pins_close(pins);
	}
	if (r) {
		json_decref(all);
		return NULL;
	}
	return json_pack("{s:s, s:o}", "from", "kernel", "pods", all);
}

static void print(const json_t *answer)
{
	const json_t *pod, *address;
	size_t i, k;

	eg_line("%-44s %-11s %-20s %s", "POD", "STATE", "POLICY", "ADDRESSES");
	json_array_foreach(json_object_get(answer, "pods"), i, pod)
	{
		char name[600], addresses[EG_POD_ADDRESSES * EG_ADDRESS_TEXT] = "";
		size_t n = 0;

		snprintf(name, sizeof(name), "%s/%s", text(pod, "namespace"), text(pod, "name"));
		if (!name[1]) /* in the kernel's table: nobody has said whose link it is */
			snprintf(name, sizeof(name), "(link %s)",
				 *text(pod, "link") ? text(pod, "link") : "that is gone");
		json_array_foreach(json_object_get(pod, "addresses"), k,
				   address) if (n < sizeof(addresses)) n +=
			(size_t)snprintf(addresses + n, sizeof(addresses) - n, " %s",
					 json_string_value(address));
		eg_line("%-44s %-11s %-20s%s", name, text(pod, "state"),
			*text(pod, "policy") ? text(pod, "policy") : "-", addresses);
	}
	json_array_foreach(json_object_get(answer, "out_of_reach"), i, pod)
	{
		char name[600];

		snprintf(name, sizeof(name), "%s/%s", text(pod, "namespace"), text(pod, "name"));
		if (!strcmp(text(pod, "guard"), "guarded"))
			eg_line("%-44s %-11s in the node's own network: connections to governed "
				"destinations are refused",
				name, "REFUSED");
		else
			eg_line("%-44s %-11s in the node's own network, where nothing is "
				"captured%s",
				name, "OUT OF REACH",
				!strcmp(text(pod, "guard"), "no_cgroup") ? "; it has no cgroup here"
				: !strcmp(text(pod, "guard"), "agent") ? "; it is the agent itself"
				: !strcmp(text(pod, "guard"), "failed")
					? "; the guard could not be attached"
					: "");
	}
}

int eg_cmd_pods(int argc, char **argv)
{
	static const char *const own[] = {"kernel", NULL};
	struct ask_options o;
	struct eg_error e = {""};
	char pin_dir[4096];
	bool kernel = false;
	json_t *answer = NULL;
	int code = 0, r = ask_parse(argc, argv, usage, own, &kernel, &o);

	if (r >= 0)
		return r;
	if (!kernel) {
		answer = ask_agent(o.run_dir, "pods", &code, &e);
		if (!answer)
			eg_complain("pods", "%s; this is the kernel's table", e.text);
	}
	if (!answer)
		answer = from_kernel(ask_pin_dir(o.pin_dir, o.run_dir, pin_dir, sizeof(pin_dir)),
				     &e);
	if (!answer) {
		eg_complain("pods", "%s", e.text);
		return EG_EXIT_NO;
	}
	if (o.json) {
		r = eg_print_json(answer);
	} else {
		print(answer);
	}
	json_decref(answer);
	return r < 0 ? EG_EXIT_OK : r;
}
