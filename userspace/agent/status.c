/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's state in words: for egretctl over the control socket, and figures for metrics.
 */
#include <stdio.h>
#include <unistd.h>

#include "agent/plan.h"
#include "agent/supervisor_impl.h"
#include "base/log.h"
#include "datapath/read.h"

static bool add_counter(void *context, const struct eg_counter_key *k, const struct eg_counter *sum)
{
	struct eg_wire_stats *s = context;

	if (k->hook < EG_WIRE_HOOKS && k->reason < EG_WIRE_REASONS)
		s->packets[k->hook][k->reason] += sum->packets;
	return true;
}

/* One that is being replaced keeps nobody waiting for long; the first one must be there. */
static bool signer_away(const struct eg_supervisor *s)
{
	return s->signer_lost_ms &&
	       (!s->signer_answered || eg_now_ms() - s->signer_lost_ms >= EG_REPLACE_MS);
}

/* An uplink that does not exist carries nothing; one without a guard does, and so does the one that
 * was meant when none of the names is right. */
static void uplink_trouble(const struct eg_supervisor *s, char out[EG_WIRE_TEXT])
{
	struct eg_datapath_uplink uplinks[EG_OPTION_LINKS];
	size_t n = eg_datapath_uplinks(s->datapath, uplinks, EG_ARRAY_SIZE(uplinks)), present = 0;

	for (size_t i = 0; i < n; i++) {
		present += uplinks[i].present;
		if (!uplinks[i].present || uplinks[i].guarded)
			continue;
		snprintf(out, EG_WIRE_TEXT,
			 "no guard on the uplink %s: what a pod that is not governed or not known "
			 "yet sends to a provider leaves there unseen; the log says what keeps it "
			 "from being attached",
			 uplinks[i].name);
		return;
	}
	if (!n)
		snprintf(out, EG_WIRE_TEXT,
			 "no default route leads over any link (--uplink auto), so no guard stands "
			 "anywhere: what a pod that is not known sends to a provider leaves the "
			 "node unseen by whatever other way there is; add the route, or name the "
			 "uplink");
	else if (!present)
		snprintf(
			out, EG_WIRE_TEXT,
			"no uplink that --uplink names (%s%s) exists, so no guard stands anywhere: "
			"what a pod that is not known sends to a provider leaves the node unseen; "
			"correct --uplink, or bring the interface up",
			uplinks[0].name, n > 1 ? ", ..." : "");
}

void eg_trouble(const struct eg_supervisor *s, char out[EG_WIRE_TEXT])
{
	*out = '\0';
	if (s->spawner_hung && s->serving)
		snprintf(out, EG_WIRE_TEXT,
			 "the spawner (pid %d) does not answer: what runs serves on, but a gateway "
			 "or signer that fails can't be replaced; restart egretd",
			 s->spawner.pid);
	else if (s->spawner_hung)
		snprintf(out, EG_WIRE_TEXT,
			 "no gateway serves, and the spawner (pid %d), which would start another, "
			 "does not answer: the kernel applies the fail policy, and egretd ends by "
			 "itself; whatever started it must start it anew",
			 s->spawner.pid);
	else if (signer_away(s))
		snprintf(out, EG_WIRE_TEXT,
			 "no signer answers: a server name that has no certificate yet gets none "
			 "(reason no_leaf); %s signer is being started, and the log says what "
			 "keeps it",
			 s->signer_answered ? "another" : "the first");
	else if (*s->signer_unfit)
		snprintf(out, EG_WIRE_TEXT,
			 "the signer can't sign: %.200s: a server name that has no certificate yet "
			 "gets none (reason no_leaf); a good pair in --ca-dir is taken at once",
			 s->signer_unfit);
	else if (!eg_kube_trouble(s, out))
		uplink_trouble(s, out);
}

static void fill_uplinks(const struct eg_supervisor *s, struct eg_wire_stats *out)
{
	struct eg_datapath_uplink uplinks[EG_WIRE_UPLINKS];

	_Static_assert(EG_WIRE_UPLINKS == EG_OPTION_LINKS, "every uplink has its place");
	out->uplink_count =
		(uint32_t)eg_datapath_uplinks(s->datapath, uplinks, EG_ARRAY_SIZE(uplinks));
	for (size_t i = 0; i < out->uplink_count; i++) {
		struct eg_wire_uplink *u = &out->uplink[i];

		eg_str_copy(u->name, sizeof(u->name), eg_str_from(uplinks[i].name));
		u->present = uplinks[i].present;
		u->guarded = uplinks[i].guarded;
	}
}

/* What the kernel has of a pod's links; *policy (may be NULL): its policy's, or the first that may
 * be its. */
static enum eg_pod_state state_of(const struct eg_supervisor *s, const struct eg_table_pod *p,
				  const struct eg_policy **policy)
{
	const struct eg_identity *id = &p->pod.identity;
	struct eg_selected selected = {.what = EG_SELECTION_PERHAPS};
	struct eg_pod former;

	/* Until a set is in force, what an earlier egretd said holds. */
	if (!s->applied.number && p->link_count &&
	    !eg_datapath_get_pod(s->datapath, p->ifindex[0], &former)) {
		if (policy)
			*policy = NULL;
		return (enum eg_pod_state)former.state;
	}

	if (s->o->observe) { /* whatever policy there is, it is in force for nobody */
		if (policy)
			*policy = NULL;
		return EG_POD_UNGOVERNED;
	}
	if (s->applied.number)
		selected = eg_policy_select(s->applied.policies, id);
	if (policy)
		*policy = selected.policy;
	return eg_plan_state(&selected);
}

void eg_stats_fill(struct eg_supervisor *s, struct eg_wire_stats *out)
{
	struct eg_error e = {""};

	*out = (struct eg_wire_stats){
		.policy_generation = s->applied.number,
		.policy_rejected = s->rejected,
		.policy_valid = s->policy_valid,
		.policy_loaded_ms = s->loaded_wall_ms,
		.gateway_restarts = s->gateways[0].restarts + s->gateways[1].restarts,
		.gateway_renewals = s->renewals,
		.requests_lost = s->requests_lost,
		.connections_lost = s->connections_lost,
		.gateway_hangs = s->gateways[0].hangs + s->gateways[1].hangs,
		.signer_restarts = s->signer.restarts,
		.signer_hangs = s->signer.hangs,
		.spawner_hung = s->spawner_hung,
		.pods = s->table ? s->table->count : 0,
		.pods_refused = s->table ? s->table->refused : 0,
		.credentials_missing = s->credentials.missing,
		.ca_files_missing = s->credentials.roots_missing,
		.dns_events = s->dns_events,
		.dns_events_lost = s->dns_lost,
		.addresses_refused = s->addresses_refused,
	};
	eg_trouble(s, out->trouble);
	fill_uplinks(s, out);
	eg_kube_stats(s, out);
	for (size_t i = 0; s->table && i < s->table->count; i++) {
		enum eg_pod_state state = state_of(s, &s->table->pods[i], NULL);

		out->pods_held += state == EG_POD_HELD;
		out->pods_governed += state == EG_POD_GOVERNED;
	}
	if (s->applied.policies)
		eg_str_copy(out->policy_version, sizeof(out->policy_version),
			    eg_str_from(eg_policy_version(s->applied.policies)));
	if (!s->pins && eg_pins_open(s->o->pin_dir, &s->pins, &e)) {
		eg_debug("counters: %s", e.text);
		return;
	}
	if (eg_pins_counters(s->pins, add_counter, out, &e))
		eg_debug("counters: %s", e.text);
	out->dns_events_lost += out->packets[EG_HOOK_DNS][EG_REASON_DNS_LOST];
}

static int put_string(struct eg_buf *out, const char *key, const char *value)
{
	int r = eg_buf_printf(out, "\"%s\":", key);

	return r ? r : eg_json_quote(out, eg_str_from(value ? value : ""), 1024);
}

int eg_policy_json(struct eg_supervisor *s, struct eg_buf *out)
{
	size_t policies = 0, names = 0;
	int r;

	if (s->applied.policies) {
		eg_policies(s->applied.policies, &policies);
		eg_watched_names(s->applied.policies, &names);
	}
	r = eg_buf_printf(out,
			  "{\"generation\":%u,\"valid\":%s,\"rejected\":%llu,\"policies\":%zu,"
			  "\"watched_names\":%zu,\"loaded_ms\":%llu,",
			  s->applied.number, s->policy_valid ? "true" : "false",
			  (unsigned long long)s->rejected, policies, names,
			  (unsigned long long)s->loaded_wall_ms);
	if (!r)
		r = put_string(out, "version",
			       s->applied.policies ? eg_policy_version(s->applied.policies) : "");
	if (!r)
		r = eg_buf_append(out, ",", 1);
	if (!r)
		r = put_string(out, "directory", s->o->policy_dir);
	if (!r)
		r = eg_buf_append(out, ",", 1);
	if (!r)
		r = put_string(out, "last_error", s->last_error);
	return r ? r : eg_buf_append(out, "}", 1);
}

static const char *state(const struct eg_supervisor *s, bool trouble)
{
	if (s->stopping)
		return "draining";
	if (s->charge == EG_CHARGE_GIVING && s->serving)
		return "handing_over";
	if (s->serving)
		return trouble ? "degraded" : "serving";
	if (s->spawner_hung)
		return "spawner_hung";
	if (s->ready && !s->applied.number)
		return "no_policy";
	return s->lost_ms ? "replacing_gateway" : "starting";
}

static int put_uplinks(const struct eg_wire_stats *stats, struct eg_buf *out)
{
	int r = eg_buf_append(out, "\"uplinks\":[", 11);

	for (uint32_t i = 0; !r && i < stats->uplink_count; i++) {
		const struct eg_wire_uplink *u = &stats->uplink[i];

		r = eg_buf_append(out, i ? ",{" : "{", i ? 2 : 1);
		if (!r)
			r = put_string(out, "name", u->name);
		if (!r)
			r = eg_buf_printf(out, ",\"present\":%s,\"guarded\":%s}",
					  u->present ? "true" : "false",
					  u->guarded ? "true" : "false");
	}
	return r ? r : eg_buf_append(out, "],", 2);
}

int eg_status_json(struct eg_supervisor *s, struct eg_buf *out)
{
	struct eg_wire_stats stats;
	const struct {
		const char *key, *value;
	} texts[] = {
		{"pin_dir", s->o->pin_dir},
		{"ca_dir", s->o->ca_dir},
		{"agent_namespace", s->o->agent_namespace},
		{"resolver", s->o->resolver},
		{"former_version", s->handover.take.release},
		{"notes", eg_datapath_notes(s->datapath)},
		{"trouble", stats.trouble},
	};
	static const char *const renewals[] = {"none", "preparing", "draining", "dropping"};
	bool trouble;
	int r;

	eg_stats_fill(s, &stats);
	trouble = *stats.trouble;
	r = eg_buf_printf(
		out,
		"{\"handing_over_to\":%d,\"taken_over\":%s,"
		"\"former\":{\"pid\":%d,\"draining\":%s},"
		"\"version\":\"" EG_VERSION "\",\"ready\":%s,\"state\":\"%s\","
		"\"mode\":\"%s\",\"fail\":\"%s\",\"adopted\":%s,\"workers\":%zu,"
		"\"supervisor\":{\"pid\":%d},\"spawner\":{\"pid\":%d,\"hung\":%s},"
		"\"gateway\":{\"pid\":%d,\"restarts\":%llu,\"hangs\":%llu,\"requests_lost\":%llu,"
		"\"connections_lost\":%llu,\"renewals\":%llu,\"renewal\":\"%s\",\"former_pid\":%d,"
		"\"renewal_error\":",
		s->charge == EG_CHARGE_GIVING ? s->handover.give.pid : 0,
		s->handover.take.happened ? "true" : "false", s->handover.take.pid,
		s->handover.take.former >= 0 ? "true" : "false",
		s->serving && !s->stopping && !trouble ? "true" : "false", state(s, trouble),
		s->o->mode == EG_MODE_MARK ? "mark" : "netns",
		s->o->fail == EG_FAIL_OPEN ? "open" : "closed",
		eg_datapath_adopted(s->datapath) ? "true" : "false", s->listener_count, getpid(),
		s->spawner.pid, s->spawner_hung ? "true" : "false", s->gateway->pid,
		(unsigned long long)stats.gateway_restarts, (unsigned long long)stats.gateway_hangs,
		(unsigned long long)s->requests_lost, (unsigned long long)s->connections_lost,
		(unsigned long long)s->renewals, renewals[s->renewal],
		s->former ? s->former->pid : 0);
	if (!r)
		r = eg_json_quote(out, eg_str_from(s->renewal_error), EG_WIRE_TEXT);
	if (!r)
		r = eg_buf_printf(
			out,
			"},\"signer\":{\"pid\":%d,\"restarts\":%llu,\"hangs\":%llu},"
			"\"pods\":{\"known\":%llu,\"governed\":%llu,\"held\":%llu,\"refused\":%llu}"
			","
			"\"credentials_missing\":%llu,\"ca_files_missing\":%llu,",
			s->signer.pid, (unsigned long long)s->signer.restarts,
			(unsigned long long)s->signer.hangs, (unsigned long long)stats.pods,
			(unsigned long long)stats.pods_governed,
			(unsigned long long)stats.pods_held, (unsigned long long)stats.pods_refused,
			(unsigned long long)stats.credentials_missing,
			(unsigned long long)stats.ca_files_missing);
	for (size_t i = 0; !r && i < EG_ARRAY_SIZE(texts); i++) {
		r = put_string(out, texts[i].key, texts[i].value);
		if (!r)
			r = eg_buf_append(out, ",", 1);
	}
	if (!r)
		r = put_uplinks(&stats, out);
	if (!r)
		r = eg_kube_status_json(s, &stats, out);
	if (!r)
		r = eg_buf_append(out, "\"policy\":", 9);
	if (!r)
		r = eg_policy_json(s, out);
	return r ? r : eg_buf_append(out, "}", 1);
}

/* null: not known yet. */
static int put_labels(struct eg_buf *out, const char *key, const struct eg_label *labels,
		      size_t count, bool unknown)
{
	int r = eg_buf_printf(out, "\"%s\":%s", key, unknown ? "null" : "{");

	if (unknown)
		return r;
	for (size_t i = 0; !r && i < count; i++) {
		r = i ? eg_buf_append(out, ",", 1) : 0;
		if (!r)
			r = eg_json_quote(out, eg_str_from(labels[i].key), 512);
		if (!r)
			r = eg_buf_append(out, ":", 1);
		if (!r)
			r = eg_json_quote(out, eg_str_from(labels[i].value), 512);
	}
	return r ? r : eg_buf_append(out, "}", 1);
}

static int put_pod(struct eg_supervisor *s, const struct eg_table_pod *p, struct eg_buf *out)
{
	const struct eg_identity *id = &p->pod.identity;
	const struct eg_policy *policy;
	enum eg_pod_state state = state_of(s, p, &policy);
	const struct {
		const char *key, *value;
	} fields[] = {
		{"namespace", id->namespace_name},
		{"name", id->name},
		{"uid", id->uid},
		{"service_account", id->service_account_unknown ? NULL : id->service_account},
		{"policy", policy ? policy->name : ""},
		{"state", !p->link_count ? "no_link" : eg_pod_state_name(state)},
		{"file", p->file},
	};
	int r = eg_buf_printf(out, "{\"id\":%u", p->pod.pod_id);

	for (size_t i = 0; !r && i < EG_ARRAY_SIZE(fields); i++) {
		r = eg_buf_append(out, ",", 1);
		if (!r && fields[i].value)
			r = put_string(out, fields[i].key, fields[i].value);
		else if (!r)
			r = eg_buf_printf(out, "\"%s\":null", fields[i].key);
	}
	if (!r)
		r = eg_buf_append(out, ",\"links\":[", 10);
	for (size_t i = 0; !r && i < p->link_count; i++)
		r = eg_buf_printf(out, "%s%u", i ? "," : "", p->ifindex[i]);
	if (!r)
		r = eg_buf_append(out, "],\"addresses\":[", 15);
	for (uint32_t i = 0; !r && i < p->pod.address_count; i++) {
		char text[EG_ADDRESS_TEXT];

		r = eg_buf_printf(out, "%s\"%s\"", i ? "," : "",
				  eg_address_format(&p->pod.address[i], text));
	}
	if (!r)
		r = eg_buf_append(out, "],", 2);
	if (!r)
		r = put_labels(out, "labels", id->labels, id->label_count, id->labels_unknown);
	if (!r)
		r = eg_buf_append(out, ",", 1);
	if (!r)
		r = put_labels(out, "namespace_labels", id->namespace_labels,
			       id->namespace_label_count, id->namespace_labels_unknown);
	return r ? r : eg_buf_append(out, "}", 1);
}

int eg_pods_json(struct eg_supervisor *s, struct eg_buf *out)
{
	int r = eg_buf_append(out, "{\"pods\":[", 9);

	for (size_t i = 0; !r && s->table && i < s->table->count; i++) {
		r = i ? eg_buf_append(out, ",", 1) : 0;
		if (!r)
			r = put_pod(s, &s->table->pods[i], out);
	}
	if (!r)
		r = eg_buf_append(out, "]", 1);
	if (!r)
		r = eg_kube_out_of_reach_json(s, out);
	return r ? r : eg_buf_append(out, "}", 1);
}
