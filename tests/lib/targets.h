/* SPDX-License-Identifier: Apache-2.0 */
/* A pod, and a route with three fake providers behind it: what failover is tested with. */
#ifndef EGRET_TESTS_TARGETS_H
#define EGRET_TESTS_TARGETS_H

#include "pod.h"

#define THREE		  THREE_WITH("")
#define THREE_WITH(match) THREE_OF(match, "")
/* `owner`: more of the credential, as whose it is. */
#define THREE_OF(match, owner)                                                                  \
	"{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER("p0") "," PLANE_PROVIDER( \
		"p1") ",\"p2\": {\"kind\": \"openai\", \"endpoint\": "                          \
		      "\"http://provider.internal:%u/v1\","                                     \
		      "\"region\": \"cluster\", \"credential\": \"key\", \"models\": "          \
		      "{\"gpt-4o\": \"other/4o\"}}"                                             \
		      "},\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": "          \
		      "\"key\"" owner "}},"                                                     \
		      "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", \"pods\": "   \
		      "{\"namespaces\": [\"shop\"]},"                                           \
		      "\"routes\": [{\"name\": \"chat\", \"match\": {\"hosts\": "               \
		      "[\"api.openai.com\"]" match "}, "

#define TARGETS(more)                                                                   \
	"\"targets\": [{\"provider\": \"p0\"}, {\"provider\": \"p1\"}, {\"provider\": " \
	"\"p2\"}]" more "}], \"otherwise\": \"deny\"}]}"

struct world {
	struct plane plane;
	struct pod pod;
	struct inbox up[3];
};

PLANE struct world *begin(const char *policy)
{
	struct world *w = calloc(1, sizeof(*w));

	plane_up(&w->plane, policy);
	pod_open(&w->pod, &w->plane, "api.openai.com");
	return w;
}

PLANE void finish(struct world *w)
{
	pod_close(&w->pod);
	for (int i = 0; i < 3; i++)
		if (w->up[i].text)
			inbox_fini(&w->up[i]);
	plane_down(&w->plane);
	free(w);
}

/* Provider i is called, gets the body, and answers. */
PLANE void called(struct world *w, int i, const char *body, const char *answer)
{
	if (!w->up[i].text)
		inbox_init(&w->up[i], plane_accept(&w->plane, w->plane.provider[i]));
	inbox_await(&w->plane, &w->up[i], body);
	if (answer)
		plane_send(&w->plane, w->up[i].fd, answer);
}

PLANE void hang_up(struct world *w, int i, bool reset)
{
	if (reset)
		close_reset(w->up[i].fd);
	else
		close(w->up[i].fd);
	w->up[i].fd = dup(0);
}

#endif
