/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervisor knows, in Prometheus text 0.0.4. docs/metrics.md explains each. */
#include "agent/gateway_impl.h"

static const char *const hooks[EG_WIRE_HOOKS] = {
	[EG_HOOK_EGRESS] = "egress", [EG_HOOK_DNS] = "dns",   [EG_HOOK_SNI] = "sni",
	[EG_HOOK_GUARD] = "guard",   [EG_HOOK_XDP] = "xdp",   [EG_HOOK_REPLY] = "reply",
	[EG_HOOK_LOOKUP] = "lookup", [EG_HOOK_HOST] = "host",
};

static int put_packets(struct eg_buf *out, const struct eg_wire_stats *s)
{
	int r = eg_buf_printf(
		out, "# HELP egret_datapath_packets_total Packets judged in the kernel, by hook "
		     "and outcome.\n# TYPE egret_datapath_packets_total counter\n");

	for (unsigned int h = 0; h < EG_WIRE_HOOKS; h++)
		for (unsigned int i = 0; !r && i < EG_WIRE_REASONS; i++)
			if (s->packets[h][i])
				r = eg_buf_printf(out,
						  "egret_datapath_packets_total{hook=\"%s\",reason="
						  "\"%s\"} %llu\n",
						  hooks[h] ? hooks[h] : "other",
						  eg_reason_label((enum eg_reason)i),
						  (unsigned long long)s->packets[h][i]);
	return r;
}

/* A name of an interface is any bytes but '/' and white space. */
static void label_value(char out[2 * sizeof(((struct eg_wire_uplink *)0)->name)], const char *name)
{
	while (*name) {
		if (*name == '"' || *name == '\\')
			*out++ = '\\';
		*out++ = *name++;
	}
	*out = '\0';
}

static int put_uplinks(struct eg_buf *out, const struct eg_wire_stats *s)
{
	int r = eg_buf_printf(out,
			      "# HELP egret_guard_attached 1: the guard stands on this uplink; "
			      "0: it does not, or there is no such interface.\n"
			      "# TYPE egret_guard_attached gauge\n");

	for (uint32_t i = 0; !r && i < s->uplink_count; i++) {
		char link[2 * sizeof(s->uplink[i].name)];

		label_value(link, s->uplink[i].name);
		r = eg_buf_printf(out, "egret_guard_attached{link=\"%s\"} %u\n", link,
				  s->uplink[i].guarded);
	}
	return r;
}

static int put_kube(struct eg_buf *out, const struct eg_wire_stats *s)
{
	int r = eg_buf_printf(
		out,
		"# HELP egret_kubernetes_synced 1: the API has said once what pods and namespaces "
		"there are.\n# TYPE egret_kubernetes_synced gauge\negret_kubernetes_synced %llu\n"
		"# HELP egret_kubernetes_current 1: both watches run.\n"
		"# TYPE egret_kubernetes_current gauge\negret_kubernetes_current %llu\n"
		"# HELP egret_kubernetes_heard_seconds Since the API said anything, by the watch "
		"that heard nothing for longer.\n# TYPE egret_kubernetes_heard_seconds gauge\n"
		"egret_kubernetes_heard_seconds %llu.%03llu\n",
		(unsigned long long)s->kube_synced, (unsigned long long)s->kube_current,
		(unsigned long long)(s->kube_heard_ms / 1000),
		(unsigned long long)(s->kube_heard_ms % 1000));

	return r ? r
		 : eg_buf_printf(
			   out,
			   "# HELP egret_kubernetes_failures_total Requests to the API that "
			   "failed.\n# TYPE egret_kubernetes_failures_total counter\n"
			   "egret_kubernetes_failures_total %llu\n"
			   "# HELP egret_kubernetes_passed_over_total Objects of the API that "
			   "could "
			   "not be understood.\n# TYPE egret_kubernetes_passed_over_total counter\n"
			   "egret_kubernetes_passed_over_total %llu\n"
			   "# HELP egret_pods_out_of_reach Pods that a policy selects and that are "
			   "in the node's own network.\n# TYPE egret_pods_out_of_reach gauge\n"
			   "egret_pods_out_of_reach %llu\n"
			   "# HELP egret_host_pods_guarded Pods that a policy selects in the "
			   "node's own network whose connections are refused.\n"
			   "# TYPE egret_host_pods_guarded gauge\negret_host_pods_guarded %llu\n",
			   (unsigned long long)s->kube_failures,
			   (unsigned long long)s->kube_passed_over,
			   (unsigned long long)s->pods_out_of_reach,
			   (unsigned long long)s->host_pods_guarded);
}

static int put_kube_events(struct eg_buf *out, const struct eg_wire_stats *s)
{
	const struct {
		const char *name, *type, *help;
		uint64_t value;
	} rows[] = {
		{"written_total", "counter", "Events that the API took: new ones and changed ones.",
		 s->kube_events_written},
		{"failures_total", "counter", "Events that the API was to take and did not.",
		 s->kube_events_failures},
		{"not_taken_total", "counter",
		 "Of these, those that it will not take: they are not tried again soon.",
		 s->kube_events_not_taken},
		{"dropped_total", "counter",
		 "What happened and is in no Event: too much at once, or of an unknown pod.",
		 s->kube_events_dropped},
		{"waiting", "gauge", "Events with something that the API has not.",
		 s->kube_events_waiting},
		{"forbidden", "gauge", "1: the API refuses Events for want of rights.",
		 s->kube_events_forbidden},
	};
	int r = 0;

	for (size_t i = 0; !r && i < EG_ARRAY_SIZE(rows); i++)
		r = eg_buf_printf(out,
				  "# HELP egret_kubernetes_events_%s %s\n"
				  "# TYPE egret_kubernetes_events_%s %s\n"
				  "egret_kubernetes_events_%s %llu\n",
				  rows[i].name, rows[i].help, rows[i].name, rows[i].type,
				  rows[i].name, (unsigned long long)rows[i].value);
	return r;
}

int eg_metrics_supervisor(struct eg_buf *out, const struct eg_wire_stats *s)
{
	const struct {
		const char *name, *type, *help;
		uint64_t value;
	} rows[] = {
		{"egret_policy_generation", "gauge", "Number of the snapshot in force.",
		 s->policy_generation},
		{"egret_policy_valid", "gauge",
		 "1: what lies in the policy directory is in force; 0: it was refused.",
		 s->policy_valid},
		{"egret_policy_rejected_total", "counter", "Policy sets refused whole.",
		 s->policy_rejected},
		{"egret_gateway_restarts_total", "counter",
		 "Gateway processes replaced; what was in flight on them failed.",
		 s->gateway_restarts},
		{"egret_gateway_renewals_total", "counter",
		 "Gateway processes replaced in order (egretctl gateway restart); nothing failed.",
		 s->gateway_renewals},
		{"egret_requests_lost_total", "counter",
		 "Requests that were in flight on a gateway process when it died.",
		 s->requests_lost},
		{"egret_connections_lost_total", "counter",
		 "Connections of pods that were open on a gateway process when it died.",
		 s->connections_lost},
		{"egret_gateway_hangs_total", "counter",
		 "Gateway processes replaced because they did not answer.", s->gateway_hangs},
		{"egret_signer_restarts_total", "counter", "Signer processes replaced.",
		 s->signer_restarts},
		{"egret_signer_hangs_total", "counter",
		 "Signer processes replaced because they did not answer.", s->signer_hangs},
		{"egret_spawner_hung", "gauge",
		 "1: the spawner does not answer, so gateway and signer can't be replaced.",
		 s->spawner_hung},
		{"egret_pods", "gauge", "Pods known on this node.", s->pods},
		{"egret_pods_governed", "gauge", "Pods that a policy selects.", s->pods_governed},
		{"egret_pods_held", "gauge", "Pods that are known but not governed yet.",
		 s->pods_held},
		{"egret_pods_refused", "gauge", "Pod files that could not be used.",
		 s->pods_refused},
		{"egret_credentials_missing", "gauge",
		 "Credentials of the policy whose file is missing or not usable.",
		 s->credentials_missing},
		{"egret_ca_files_missing", "gauge",
		 "Providers of the policy whose ca_file is missing or has no roots.",
		 s->ca_files_missing},
		{"egret_dns_events_total", "counter",
		 "DNS answers that the kernel handed up because it could not read them.",
		 s->dns_events},
		{"egret_dns_events_lost_total", "counter",
		 "Such answers that could not be handed on.", s->dns_events_lost},
		{"egret_addresses_refused_total", "counter",
		 "Addresses of watched names that are never governed (loopback, node, pod).",
		 s->addresses_refused},
	};
	int r = 0;

	for (size_t i = 0; !r && i < EG_ARRAY_SIZE(rows); i++)
		r = eg_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %llu\n", rows[i].name,
				  rows[i].help, rows[i].name, rows[i].type, rows[i].name,
				  (unsigned long long)rows[i].value);
	if (!r)
		r = eg_buf_printf(out,
				  "# HELP egret_policy_loaded_timestamp_seconds When it came into "
				  "force.\n# TYPE egret_policy_loaded_timestamp_seconds gauge\n"
				  "egret_policy_loaded_timestamp_seconds %llu.%03llu\n",
				  (unsigned long long)(s->policy_loaded_ms / 1000),
				  (unsigned long long)(s->policy_loaded_ms % 1000));
	if (!r)
		r = eg_buf_printf(out,
				  "# HELP egret_build_info Version of egretd and of the policy in "
				  "force.\n# TYPE egret_build_info gauge\n"
				  "egret_build_info{version=\"%s\",policy=\"%s\"} 1\n",
				  EG_VERSION, s->policy_version);
	if (!r && s->kube)
		r = put_kube(out, s);
	if (!r && s->kube_events)
		r = put_kube_events(out, s);
	if (!r)
		r = put_uplinks(out, s);
	return r ? r : put_packets(out, s);
}
