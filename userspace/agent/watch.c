/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch.h"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/files.h"

#define EVENTS                                                                              \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB | \
	 IN_DELETE_SELF | IN_MOVE_SELF)

static void settled(struct eg_timer *t)
{
	struct eg_dir_watch *w = eg_container_of(t, struct eg_dir_watch, settle);

	w->changed(w);
}

static void ready(struct eg_watch *watch, uint32_t events)
{
	struct eg_dir_watch *w = eg_container_of(watch, struct eg_dir_watch, watch);
	char buffer[4096] __attribute__((aligned(8)));
	bool any = false;

	(void)events;
	while (read(w->fd, buffer, sizeof(buffer)) > 0)
		any = true;
	/* Not re-armed by each event: a file written without end must not put reading off for good.
	 */
	if (any && !eg_timer_armed(&w->settle) && eg_timer_set(w->loop, &w->settle, w->settle_ms))
		w->changed(w);
}

int eg_dir_watch_open(struct eg_dir_watch *w, struct eg_loop *l, uint64_t settle_ms,
		      void (*changed)(struct eg_dir_watch *w), struct eg_error *e)
{
	int r;

	*w = (struct eg_dir_watch){.loop = l, .changed = changed, .settle_ms = settle_ms};
	w->watch.fd = -1;
	w->watch.ready = ready;
	eg_timer_init(&w->settle, settled);
	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (w->fd < 0)
		return eg_error_set(e, -errno, "inotify: %s", eg_watch_failure(errno));
	r = eg_watch_add(l, &w->watch, w->fd, EPOLLIN);
	if (r) {
		eg_fd_close(&w->fd);
		return eg_error_set(e, r, "epoll: %s", strerror(-r));
	}
	return 0;
}

int eg_dir_watch_add(struct eg_dir_watch *w, const char *path)
{
	return inotify_add_watch(w->fd, path, EVENTS) < 0 ? -errno : 0;
}

void eg_dir_watch_close(struct eg_dir_watch *w)
{
	if (!w->loop || w->fd < 0)
		return;
	eg_timer_cancel(w->loop, &w->settle);
	eg_watch_remove(w->loop, &w->watch);
	eg_fd_close(&w->fd);
}
