/* SPDX-License-Identifier: Apache-2.0 */
/* The page of --metrics where there is no gateway to serve it. */
#include <netinet/in.h>
#include <sys/socket.h>

#include "agent/observe_impl.h"
#include "agent/page_server.h"
#include "agent/page_token.h"
#include "base/log.h"

static void metrics(void *ctx, struct eg_page_visitor *v)
{
	struct eg_buf body;

	eg_observe_look(ctx);
	eg_buf_init(&body, EG_PAGE_ANSWER_BYTES - 1024);
	if (eg_observe_metrics(ctx, &body))
		eg_page_say(v, "500 Internal Server Error", "the metrics could not be written\n");
	else
		eg_page_answer(v, "200 OK", "text/plain; version=0.0.4; charset=utf-8",
			       eg_buf_str(&body));
	eg_buf_fini(&body);
}

static void ready(void *ctx, struct eg_page_visitor *v)
{
	if (((const struct eg_observer *)ctx)->synced)
		eg_page_say(v, "200 OK", "ok: it observes, and enforces nothing\n");
	else
		eg_page_say(v, "503 Service Unavailable", "the pods are not known yet\n");
}

static bool wants_token(void *ctx)
{
	return ((const struct eg_observer *)ctx)->s.o->metrics_token;
}

/* The file is read anew for each: it may have been replaced. */
static bool token_opens(void *ctx, struct eg_str authorization)
{
	const struct eg_observer *ob = ctx;
	uint8_t digest[EG_PAGE_DIGEST];
	struct eg_error e = {""};

	if (eg_page_token_read(ob->s.o->metrics_token, digest, &e)) {
		eg_warn("--metrics-token: %s; nobody is let in", e.text);
		return false;
	}
	return eg_page_token_opens(digest, authorization);
}

static const struct eg_page_owner owner = {wants_token, token_opens, metrics, ready};

static int listen_at(const struct eg_options *o, struct eg_error *e)
{
	EG_CLEANUP_FD int fd =
		socket(o->metrics.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1;

	if (fd < 0)
		return eg_error_set(e, -errno, "--metrics: %s", strerror(errno));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&o->metrics, o->metrics_length) < 0 ||
	    listen(fd, 64) < 0)
		return eg_error_set(e, -errno,
				    "--metrics: port %u: %s; choose another with --metrics "
				    "ADDR:PORT, or --metrics none",
				    o->metrics_port, strerror(errno));
	return eg_fd_take(&fd);
}

int eg_observe_page_open(struct eg_observer *ob, struct eg_error *e)
{
	const struct eg_options *o = ob->s.o;
	uint8_t digest[EG_PAGE_DIGEST];
	struct eg_error why = {""};
	int listener, r;

	if (!o->metrics_length)
		return 0;
	if (o->metrics_token && eg_page_token_read(o->metrics_token, digest, &why))
		return eg_error_set(e, -EINVAL, "--metrics-token: %s", why.text);
	listener = listen_at(o, e);
	if (listener < 0)
		return listener;
	ob->page = eg_page_server_create(ob->s.loop, listener, &owner, ob);
	if (!ob->page)
		return eg_error_set(e, -ENOMEM, "metrics page: out of memory");
	r = eg_page_server_begin(ob->page);
	return r ? eg_error_set(e, r, "metrics page: epoll failed") : 0;
}

void eg_observe_page_close(struct eg_observer *ob)
{
	eg_page_server_destroy(ob->page);
	ob->page = NULL;
}
