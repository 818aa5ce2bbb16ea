/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of the Kubernetes API, in words and figures: a part of status.c. */
#include <stdio.h>

#include "agent/supervisor_impl.h"
#include "base/log.h"

bool eg_kube_trouble(const struct eg_supervisor *s, char out[EG_WIRE_TEXT])
{
	const struct eg_kube *kube = eg_pod_source_kube(s->pods);
	struct eg_kube_status status;

	if (!kube)
		return false;
	eg_kube_status(kube, &status);
	if (status.synced)
		return false;
	snprintf(out, EG_WIRE_TEXT,
		 "the Kubernetes API has not said yet what pods there are%s%s: %sthose that a "
		 "policy "
		 "may select by label or service account are held",
		 *status.error ? ": " : "", status.error,
		 status.kept ? "what it said before the start holds, and of the other pods " : "");
	return true;
}

static const char *guard_name(const struct eg_supervisor *s, const struct eg_kube_pod *p)
{
	static const char *const names[] = {[EG_HOST_NO_CGROUP] = "no_cgroup",
					    [EG_HOST_GUARDED] = "guarded",
					    [EG_HOST_AGENT] = "agent",
					    [EG_HOST_OTHER_AGENT] = "agent",
					    [EG_HOST_FAILED] = "failed"};

	return s->o->host_pods_deny ? names[eg_host_pod_guard(s, p)] : "off";
}

/* A pod in the node's own network has no link: nothing of it is captured, whatever policy says. */
static bool is_out_of_reach(const struct eg_supervisor *s, const struct eg_kube_pod *p,
			    struct eg_identity *id)
{
	if (!p->host_network || p->finished || !s->applied.number)
		return false;
	*id = p->identity;
	id->namespace_labels_unknown =
		!eg_kube_namespace_labels(eg_pod_source_kube(s->pods), id->namespace_name,
					  &id->namespace_labels, &id->namespace_label_count);
	return eg_policy_select(s->applied.policies, id).what == EG_SELECTION_POLICY;
}

void eg_kube_stats(const struct eg_supervisor *s, struct eg_wire_stats *out)
{
	const struct eg_kube *kube = eg_pod_source_kube(s->pods);
	const struct eg_kube_pod *const *pods;
	struct eg_kube_events_status events;
	struct eg_kube_status status;
	struct eg_identity id;
	size_t n;

	if (!kube)
		return;
	eg_kube_events_status(kube, &events);
	out->kube_events = events.on;
	out->kube_events_forbidden = events.forbidden;
	out->kube_events_written = events.written;
	out->kube_events_failures = events.failures;
	out->kube_events_not_taken = events.not_taken;
	out->kube_events_dropped = events.dropped + s->reports.lost;
	out->kube_events_waiting = events.waiting;
	eg_kube_status(kube, &status);
	out->kube = 1;
	out->kube_synced = status.synced;
	out->kube_current = status.current;
	out->kube_heard_ms = status.heard_ms ? eg_now_ms() - status.heard_ms : 0;
	out->kube_failures = status.failures;
	out->kube_passed_over = status.passed_over;
	pods = eg_kube_pods(kube, &n);
	for (size_t i = 0; i < n; i++)
		if (is_out_of_reach(s, pods[i], &id) &&
		    eg_host_pod_guard(s, pods[i]) == EG_HOST_GUARDED)
			out->host_pods_guarded++;
		else
			out->pods_out_of_reach += is_out_of_reach(s, pods[i], &id);
}

static int events_json(const struct eg_kube *kube, const struct eg_wire_stats *stats,
		       struct eg_buf *out)
{
	struct eg_kube_events_status events;
	int r;

	eg_kube_events_status(kube, &events);
	r = eg_buf_printf(
		out,
		"\"events\":{\"on\":%s,\"forbidden\":%s,\"written\":%llu,\"failures\":%llu,"
		"\"not_taken\":%llu,\"dropped\":%llu,\"waiting\":%llu,\"error\":",
		events.on ? "true" : "false", events.forbidden ? "true" : "false",
		(unsigned long long)stats->kube_events_written,
		(unsigned long long)stats->kube_events_failures,
		(unsigned long long)stats->kube_events_not_taken,
		(unsigned long long)stats->kube_events_dropped,
		(unsigned long long)stats->kube_events_waiting);
	if (!r)
		r = eg_json_quote(out, eg_str_from(events.error), sizeof(events.error));
	return r ? r : eg_buf_append(out, "},", 2);
}

int eg_kube_status_json(const struct eg_supervisor *s, const struct eg_wire_stats *stats,
			struct eg_buf *out)
{
	const struct eg_kube *kube = eg_pod_source_kube(s->pods);
	struct eg_kube_status status;
	int r;

	if (!kube)
		return 0;
	eg_kube_status(kube, &status);
	r = eg_buf_printf(out,
			  "\"kubernetes\":{\"api\":\"%s%s%s:%u\",\"synced\":%s,\"current\":%s,"
			  "\"heard_ms_ago\":%llu,\"failures\":%llu,\"passed_over\":%llu,"
			  "\"pods_out_of_reach\":%llu,\"host_pods_guarded\":%llu,"
			  "\"host_network_pods\":\"%s\",",
			  strchr(s->o->kube_host, ':') ? "[" : "", s->o->kube_host,
			  strchr(s->o->kube_host, ':') ? "]" : "", s->o->kube_port,
			  status.synced ? "true" : "false", status.current ? "true" : "false",
			  (unsigned long long)stats->kube_heard_ms,
			  (unsigned long long)status.failures,
			  (unsigned long long)status.passed_over,
			  (unsigned long long)stats->pods_out_of_reach,
			  (unsigned long long)stats->host_pods_guarded,
			  s->o->host_pods_deny ? "deny" : "pass");
	if (!r)
		r = eg_buf_printf(out, "\"host_network_error\":");
	if (!r)
		r = eg_json_quote(out, eg_str_from(s->host.error), sizeof(s->host.error));
	if (!r)
		r = eg_buf_append(out, ",", 1);
	if (!r)
		r = events_json(kube, stats, out);
	if (!r)
		r = eg_buf_printf(out, "\"error\":");
	if (!r)
		r = eg_json_quote(out, eg_str_from(status.error), sizeof(status.error));
	return r ? r : eg_buf_append(out, "},", 2);
}

int eg_kube_out_of_reach_json(const struct eg_supervisor *s, struct eg_buf *out)
{
	const struct eg_kube *kube = eg_pod_source_kube(s->pods);
	const struct eg_kube_pod *const *pods;
	struct eg_identity id;
	const char *comma = "";
	size_t n = 0;
	int r = eg_buf_append(out, ",\"out_of_reach\":[", 17);

	pods = kube ? eg_kube_pods(kube, &n) : NULL;
	for (size_t i = 0; !r && i < n; i++) {
		if (!is_out_of_reach(s, pods[i], &id))
			continue;
		r = eg_buf_printf(out, "%s{\"namespace\":", comma);
		if (!r)
			r = eg_json_quote(out, eg_str_from(id.namespace_name), 256);
		if (!r)
			r = eg_buf_append(out, ",\"name\":", 8);
		if (!r)
			r = eg_json_quote(out, eg_str_from(id.name), 256);
		if (!r)
			r = eg_buf_printf(out, ",\"guard\":\"%s\"}", guard_name(s, pods[i]));
		comma = ",";
	}
	return r ? r : eg_buf_append(out, "]", 1);
}
