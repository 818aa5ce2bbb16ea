/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/pod_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "agent/join.h"
#include "base/log.h"
#include "datapath/cni_dir.h"
#include "datapath/pods_dir.h"

#define API_WAIT_MS 10000u /* so long a start waits for what the API says; then without */

struct eg_pod_source {
	struct eg_loop *loop;
	eg_pod_source_changed *changed;
	void *context;
	struct eg_watch watch; /* of one of the two directories */
	struct eg_pods_dir *pods_dir;
	struct eg_cni_dir *cni_dir;
	struct eg_kube *kube;
	struct eg_timer patience; /* armed: the API is still waited for */
	bool fresh;		  /* files have changed since they were read */
	size_t passed_over;	  /* of the cache's files, that was said */
	size_t doubts;		  /* mirrors that were not believed in the last reading */
	struct eg_error doubted;  /* about the first of them, as it was said */
};

static bool files_changed(struct eg_pod_source *s)
{
	return s->pods_dir ? eg_pods_dir_changed(s->pods_dir) : eg_cni_dir_changed(s->cni_dir);
}

static void directory_ready(struct eg_watch *w, uint32_t events)
{
	struct eg_pod_source *s = eg_container_of(w, struct eg_pod_source, watch);

	(void)events;
	if (!files_changed(s))
		return;
	s->fresh = true;
	s->changed(s->context);
}

static void api_changed(void *context)
{
	struct eg_pod_source *s = context;
	struct eg_kube_status status;

	eg_kube_status(s->kube, &status);
	if (status.synced)
		eg_timer_cancel(s->loop, &s->patience);
	s->changed(s->context);
}

static void api_said(void *context, bool bad, const char *sentence)
{
	(void)context;
	eg_log(bad ? EG_LOG_WARN : EG_LOG_INFO, "%s", sentence);
}

static void patience_over(struct eg_timer *t)
{
	struct eg_pod_source *s = eg_container_of(t, struct eg_pod_source, patience);
	struct eg_kube_status status;

	eg_kube_status(s->kube, &status);
	eg_warn("the Kubernetes API has not said what pods there are within %u s: %sthose that a "
		"policy may select by label or service account are held until it does",
		API_WAIT_MS / 1000,
		status.kept ? "what it said before this start holds, and of the other pods " : "");
	s->changed(s->context);
}

static int open_kubernetes(struct eg_pod_source *s, const struct eg_options *o, struct eg_error *e)
{
	char keep_file[4096];
	const struct eg_kube_options k = {.host = o->kube_host,
					  .port = (uint16_t)o->kube_port,
					  .node_name = o->node_name,
					  .token_file = o->kube_token,
					  .ca_file = o->kube_ca,
					  .events = o->kube_events,
					  .keep_file = keep_file};
	const struct eg_kube_calls calls = {.changed = api_changed, .said = api_said, .context = s};
	int r = eg_cni_dir_open(o->cni_dir, &s->cni_dir, e);

	if (r)
		return eg_error_prefix(e, r, "--cni-dir");
	snprintf(keep_file, sizeof(keep_file), "%s/" EG_KEEP_FILE, o->run_dir);
	r = eg_timer_set(s->loop, &s->patience, API_WAIT_MS);
	if (r)
		return eg_error_set(e, r, "timer: %s", strerror(-r));
	r = eg_kube_open(s->loop, &k, &calls, &s->kube, e);
	return r ? eg_error_prefix(e, r, "--kubernetes") : 0;
}

int eg_pod_source_open(struct eg_loop *l, const struct eg_options *o,
		       eg_pod_source_changed *changed, void *context, struct eg_pod_source **out,
		       struct eg_error *e)
{
	struct eg_pod_source *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return eg_error_set(e, -ENOMEM, "out of memory");
	*s = (struct eg_pod_source){
		.loop = l, .changed = changed, .context = context, .fresh = true};
	s->watch.fd = -1;
	s->watch.ready = directory_ready;
	eg_timer_init(&s->patience, patience_over);
	if (o->kubernetes) {
		r = open_kubernetes(s, o, e);
	} else {
		r = eg_pods_dir_open(o->pods_dir, &s->pods_dir, e);
		if (r)
			(void)eg_error_prefix(e, r, "--pods-dir");
	}
	if (!r) {
		r = eg_watch_add(l, &s->watch,
				 s->pods_dir ? eg_pods_dir_fd(s->pods_dir)
					     : eg_cni_dir_fd(s->cni_dir),
				 EPOLLIN);
		if (r)
			(void)eg_error_set(e, r, "epoll: %s", strerror(-r));
	}
	if (r) {
		eg_pod_source_close(s);
		return r;
	}
	*out = s;
	return 0;
}

void eg_pod_source_close(struct eg_pod_source *s)
{
	if (!s)
		return;
	eg_kube_close(s->kube);
	eg_timer_cancel(s->loop, &s->patience);
	eg_watch_remove(s->loop, &s->watch);
	eg_pods_dir_close(s->pods_dir);
	eg_cni_dir_close(s->cni_dir);
	free(s);
}

static const struct eg_kube_pod *api_pod(void *context, const char *uid)
{
	return eg_kube_pod(((struct eg_pod_source *)context)->kube, uid);
}

static const struct eg_kube_pod *api_mirror(void *context, const char *uid, size_t *claims)
{
	return eg_kube_mirror(((struct eg_pod_source *)context)->kube, uid, claims);
}

static bool api_namespace(void *context, const char *name, const struct eg_label **labels,
			  size_t *count)
{
	return eg_kube_namespace_labels(((struct eg_pod_source *)context)->kube, name, labels,
					count);
}

/* Said when it is other than what was said last: a list is read again and again. */
static void api_doubted(void *context, const struct eg_identity *pod, const char *why)
{
	struct eg_pod_source *s = context;
	struct eg_error sentence;

	(void)eg_error_set(&sentence, 0,
			   "the pod %.253s/%.253s (uid %.64s): %s; its labels are not believed, "
			   "and it is held where a policy may select it by them",
			   pod->namespace_name, pod->name, pod->uid, why);
	s->doubts++;
	if (s->doubts == 1 && strcmp(sentence.text, s->doubted.text) != 0) {
		s->doubted = sentence;
		eg_warn("%s", sentence.text);
	}
}

/* Of the cache's files, which are the runtime's: those that describe no pod are none of ours. */
static void say_passed_over(struct eg_pod_source *s, const struct eg_pod_list *list)
{
	if (list->passed_over > s->passed_over)
		eg_log(list->doubtful ? EG_LOG_WARN : EG_LOG_INFO,
		       "CNI cache: %zu files are passed over (%zu of them may describe a pod of "
		       "this "
		       "node); such as: %s",
		       list->passed_over, list->doubtful, list->passed.text);
	s->passed_over = list->passed_over;
}

static int read_kubernetes(struct eg_pod_source *s, struct eg_pod_list *out, struct eg_error *e)
{
	const struct eg_join_api api = {.pod = api_pod,
					.namespace_labels = api_namespace,
					.mirror = api_mirror,
					.doubted = api_doubted,
					.context = s};
	int r = eg_cni_dir_read(s->cni_dir, out, e);

	if (r)
		return r;
	say_passed_over(s, out);
	s->doubts = 0;
	r = eg_join_pods(out, &api);
	if (!s->doubts)
		s->doubted.text[0] = '\0';
	if (r) {
		eg_pod_list_fini(out);
		return eg_error_set(e, r, "out of memory");
	}
	return 0;
}

int eg_pod_source_read(struct eg_pod_source *s, bool log, struct eg_pod_list *out,
		       struct eg_error *e)
{
	int r;

	log |= files_changed(s) || s->fresh;
	s->fresh = false;
	r = s->kube ? read_kubernetes(s, out, e) : eg_pods_dir_read(s->pods_dir, out, e);
	for (size_t i = 0; !r && log && i < out->error_count; i++)
		eg_error("pods: %s; the file is left out", out->errors[i].text);
	return r;
}

bool eg_pod_source_is_told(const struct eg_pod_source *s)
{
	return !s->kube || !eg_timer_armed(&s->patience);
}

const struct eg_kube *eg_pod_source_kube(const struct eg_pod_source *s)
{
	return s->kube;
}

void eg_pod_source_report(struct eg_pod_source *s, const struct eg_kube_report *r)
{
	if (s->kube)
		eg_kube_report(s->kube, r);
}
