/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/event_text.h"

#include <stdio.h>
#include <time.h>

#include "base/log.h"

#define GROUP	   "/apis/events.k8s.io/v1/namespaces/"
#define TIME_BYTES 32u

/* Of a Node, which is in no namespace, Events are in this one. */
static const char *namespace_of(const struct kube_series *s)
{
	return s->subject->namespace_name ? s->subject->namespace_name : "default";
}

int kube_event_target(struct eg_buf *out, const struct kube_series *s, bool update)
{
	return eg_buf_printf(out, GROUP "%s/events%s%s", namespace_of(s), update ? "/" : "",
			     update ? s->name : "");
}

/* A MicroTime: RFC 3339, microseconds, UTC. */
static const char *when(uint64_t wall_ms, char out[TIME_BYTES])
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm t;
	size_t n;

	gmtime_r(&seconds, &t);
	n = strftime(out, TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &t);
	snprintf(out + n, TIME_BYTES - n, ".%03u000Z", (unsigned int)(wall_ms % 1000));
	return out;
}

static int put_series(struct eg_buf *out, const struct kube_series *s)
{
	char seen[TIME_BYTES];

	/* An int32, which is at least 2. */
	return eg_buf_printf(out, "\"series\":{\"count\":%u,\"lastObservedTime\":\"%s\"}",
			     (unsigned int)EG_MIN(s->taken, (uint64_t)INT32_MAX),
			     when(s->seen_wall_ms, seen));
}

/* The count at first is a part of it; what comes later can only stand in the series. */
static void compose(const struct kube_series *s, char out[KUBE_NOTE_BYTES + 1])
{
	char count[64] = "";
	size_t n;

	if (s->taken > 1)
		snprintf(count, sizeof(count), " (%llu times so far)",
			 (unsigned long long)s->taken);
	n = (size_t)snprintf(out, KUBE_NOTE_BYTES + 1, "%s%s",
			     s->combined ? "(combined from similar events) " : "", s->note);
	n = EG_MIN(n, (size_t)KUBE_NOTE_BYTES - strlen(count));
	memcpy(out + n, count, strlen(count) + 1);
	for (char *c = out; *c; c++) {
		if (*c < 0)
			*c = '?';
		else if (*c < ' ' || *c == 0x7f)
			*c = ' ';
	}
}

static int put_object(struct eg_buf *out, const struct kube_series *s,
		      const struct kube_reporter *r)
{
	const struct kube_subject *o = s->subject;

	/* The kubelet's Events of a node have its name for its uid, too, and `kubectl describe`
	 * looks for both. */
	if (!o->namespace_name)
		return eg_buf_printf(out,
				     "\"regarding\":{\"apiVersion\":\"v1\",\"kind\":\"Node\","
				     "\"name\":\"%s\",\"uid\":\"%s\"},",
				     r->node, r->node);
	return eg_buf_printf(out,
			     "\"regarding\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"namespace\":"
			     "\"%s\",\"name\":\"%s\",\"uid\":\"%s\"},",
			     o->namespace_name, o->name, o->uid);
}

int kube_event_create(struct eg_buf *out, const struct kube_series *s,
		      const struct kube_reporter *r)
{
	char note[KUBE_NOTE_BYTES + 1], began[TIME_BYTES];
	int e;

	compose(s, note);
	e = eg_buf_printf(
		out,
		"{\"apiVersion\":\"events.k8s.io/"
		"v1\",\"kind\":\"Event\",\"metadata\":{\"name\":\"%s\","
		"\"namespace\":\"%s\"},\"eventTime\":\"%s\",\"type\":\"%s\",\"reason\":\"%s\","
		"\"action\":\"%s\",\"reportingController\":\"" KUBE_CONTROLLER
		"\",\"reportingInstance\":\"%.*s\",",
		s->name, namespace_of(s), when(s->began_wall_ms, began),
		s->warning ? "Warning" : "Normal", s->reason, s->action, (int)KUBE_INSTANCE_BYTES,
		r->instance);
	e = e ? e : put_object(out, s, r);
	if (!e && s->taken > 1) {
		e = put_series(out, s);
		e = e ? e : eg_buf_append(out, ",", 1);
	}
	e = e ? e : eg_buf_append_str(out, EG_STR("\"note\":"));
	e = e ? e : eg_json_quote(out, eg_str_from(note), sizeof(note));
	return e ? e : eg_buf_append(out, "}", 1);
}

int kube_event_update(struct eg_buf *out, const struct kube_series *s)
{
	int e = eg_buf_append(out, "{", 1);

	e = e ? e : put_series(out, s);
	return e ? e : eg_buf_append(out, "}", 1);
}
