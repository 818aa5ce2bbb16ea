/* SPDX-License-Identifier: Apache-2.0 */
/* What the observer knows, as JSON for egretctl and as Prometheus text. docs/metrics.md. */
#include <unistd.h>

#include "agent/observe_impl.h"

static int put_string(struct eg_buf *out, const char *key, const char *value)
{
	int r = eg_buf_printf(out, ",\"%s\":", key);

	return r ? r : eg_json_quote(out, eg_str_from(value ? value : ""), 1024);
}

int eg_observe_status_json(struct eg_observer *ob, struct eg_buf *out)
{
	const struct eg_supervisor *s = &ob->s;
	const struct {
		const char *key, *value;
	} texts[] = {
		{"version", EG_VERSION},
		{"pin_dir", s->o->pin_dir},
		{"resolver", s->o->resolver},
		{"notes", eg_datapath_notes(s->datapath)},
		{"policy_directory", s->o->policy_dir},
		{"policy_error", ob->names_error},
	};
	struct eg_wire_stats stats = {0};
	size_t linked = 0;
	int r;

	eg_kube_stats(s, &stats);
	for (size_t i = 0; s->table && i < s->table->count; i++)
		linked += s->table->pods[i].link_count > 0;
	r = eg_buf_printf(out,
			  "{\"ready\":%s,\"state\":\"%s\",\"mode\":\"observe\","
			  "\"enforcing\":false,\"pid\":%d,\"pods\":{\"known\":%zu,\"observed\":%zu,"
			  "\"refused\":%zu},\"watched_names\":%zu,\"watched_by_policy\":%zu,"
			  "\"inventory_rows\":%zu,",
			  ob->synced ? "true" : "false", ob->synced ? "observing" : "starting",
			  getpid(), s->table ? s->table->count : 0, linked,
			  s->table ? s->table->refused : 0, ob->names, ob->own_names, ob->rows);
	if (!r)
		r = eg_kube_status_json(s, &stats, out);
	if (!r)
		r = eg_buf_printf(out, "\"series\":%zu", ob->series_count);
	for (size_t i = 0; !r && i < EG_ARRAY_SIZE(texts); i++)
		r = put_string(out, texts[i].key, texts[i].value);
	return r ? r : eg_buf_append(out, "}", 1);
}

/* A namespace is a DNS label where Kubernetes made it; a file of --pods-dir may say what it likes.
 */
static int put_labels(struct eg_buf *out, const char *metric, const struct eg_observe_series *s)
{
	int r = eg_buf_printf(out, "%s{namespace=\"", metric);

	for (const char *c = s->namespace_name; !r && *c; c++) {
		if (*c == '"' || *c == '\\')
			r = eg_buf_append(out, "\\", 1);
		if (!r)
			r = eg_buf_append(out, *c == '\n' ? " " : c, 1);
	}
	return r ? r : eg_buf_printf(out, "\",provider=\"%s\"", s->provider);
}

static int put_bytes(struct eg_buf *out, const struct eg_observe_series *s, const char *direction,
		     uint64_t bytes)
{
	int r = put_labels(out, "egret_observed_bytes_total", s);

	return r ? r
		 : eg_buf_printf(out, ",direction=\"%s\"} %llu\n", direction,
				 (unsigned long long)bytes);
}

int eg_observe_metrics(struct eg_observer *ob, struct eg_buf *out)
{
	const struct eg_supervisor *s = &ob->s;
	int r = eg_buf_printf(
		out,
		"# HELP egret_observe 1: this egretd only observes, and nothing is enforced.\n"
		"# TYPE egret_observe gauge\negret_observe 1\n"
		"# HELP egret_pods Pods of this node that are known.\n# TYPE egret_pods gauge\n"
		"egret_pods %zu\n"
		"# HELP egret_build_info 1, with the version.\n# TYPE egret_build_info gauge\n"
		"egret_build_info{version=\"" EG_VERSION "\",policy=\"\"} 1\n"
		"# HELP egret_observed_connections_total Connections of pods to AI providers, by "
		"namespace.\n# TYPE egret_observed_connections_total counter\n",
		s->table ? s->table->count : 0);

	for (size_t i = 0; !r && i < ob->series_count; i++) {
		r = put_labels(out, "egret_observed_connections_total", &ob->series[i]);
		if (!r)
			r = eg_buf_printf(out, "} %llu\n",
					  (unsigned long long)ob->series[i].total.connections);
	}
	if (!r)
		r = eg_buf_printf(out, "# HELP egret_observed_bytes_total Bytes of their frames; "
				       "up: from the pod.\n# TYPE egret_observed_bytes_total "
				       "counter\n");
	for (size_t i = 0; !r && i < ob->series_count; i++) {
		r = put_bytes(out, &ob->series[i], "up", ob->series[i].total.bytes_up);
		if (!r)
			r = put_bytes(out, &ob->series[i], "down", ob->series[i].total.bytes_down);
	}
	return r;
}
