/* SPDX-License-Identifier: Apache-2.0 */
/* The ring buffer of events, handed up one by one. */
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "datapath/internal.h"

#define EVENTS_AT_ONCE 1024

static int on_event(void *context, void *data, size_t bytes)
{
	struct eg_datapath *d = context;
	const struct eg_event *e = data;

	/* The program's own length is checked like any other: a short event is dropped. */
	if (bytes >= sizeof(*e) && e->data_length <= bytes - sizeof(*e) && d->o.calls.event)
		d->o.calls.event(d->o.calls.context, e);
	return ++d->ring_count >= EVENTS_AT_ONCE ? -EAGAIN : 0;
}

int eg_events_open(struct eg_datapath *d, struct eg_error *error)
{
	struct epoll_event e = {.events = EPOLLIN};

	d->ring = ring_buffer__new(d->map[EG_MAP_EVENTS], on_event, d, NULL);
	if (!d->ring)
		return eg_error_set(error, -errno, "cannot open the ring buffer of events: %s",
				    strerror(errno));
	/* libbpf's own epoll descriptor is edge-triggered inside; the map itself is polled here. */
	if (epoll_ctl(d->epoll, EPOLL_CTL_ADD, d->map[EG_MAP_EVENTS], &e))
		return eg_error_set(error, -errno, "cannot watch the ring buffer of events: %s",
				    strerror(errno));
	return 0;
}

void eg_events_close(struct eg_datapath *d)
{
	ring_buffer__free(d->ring);
	d->ring = NULL;
}

int eg_datapath_fd(const struct eg_datapath *d)
{
	return d->epoll;
}

int eg_datapath_events(struct eg_datapath *d, struct eg_error *error)
{
	int r;

	d->ring_count = 0;
	r = ring_buffer__consume(d->ring);
	if (r < 0 && r != -EAGAIN)
		return eg_error_set(error, r, "cannot read the ring buffer of events: %s",
				    strerror(-r));
	r = eg_links_events(d, error);
	eg_host_pods_events(d);
	if (d->way_suspect)
		eg_way_check(d);
	return r;
}
