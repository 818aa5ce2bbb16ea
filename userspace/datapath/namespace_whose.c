/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a network namespace is the agent's own, by the links that are up in it. */
#include <linux/if.h>
#include <stdio.h>

#include "datapath/internal.h"

struct search {
	const char *agent_link;
	struct eg_netlink_link found;
};

/* Links that the kernel puts into each namespace (lo, tunl0, sit0...) are loopback, or down. */
static bool foreign(void *context, const struct eg_netlink_link *l)
{
	struct search *s = context;

	if (!(l->flags & IFF_UP) || l->flags & IFF_LOOPBACK || !strcmp(l->name, s->agent_link))
		return true;
	s->found = *l;
	return false;
}

int eg_namespace_whose(struct nl_sock *inside, const char *path, const char *agent_link,
		       struct eg_error *error)
{
	struct search s = {.agent_link = agent_link};
	int r = eg_netlink_each_link(inside, foreign, &s);

	if (r)
		return eg_error_set(error, r, "cannot look at the links in %s: %s", path,
				    strerror(-r));
	return *s.found.name ? eg_error_set(error, -EEXIST,
					    "%s is another's network namespace (it has the link "
					    "%s); name Egret's with --agent-namespace",
					    path, s.found.name)
			     : 0;
}

struct call {
	const char *path, *agent_link;
};

static int look(void *context, struct eg_error *error)
{
	const struct call *c = context;
	struct nl_sock *s = eg_netlink_open();
	int r;

	if (!s)
		return eg_error_set(error, -errno, "cannot open netlink in %s: %s", c->path,
				    strerror(errno));
	r = eg_namespace_whose(s, c->path, c->agent_link, error);
	eg_netlink_close(s);
	return r;
}

int eg_namespace_whose_fd(int netns_fd, const char *path, const char *agent_link,
			  struct eg_error *error)
{
	struct call c = {.path = path, .agent_link = agent_link};

	return eg_namespace_call(netns_fd, look, &c, error);
}
