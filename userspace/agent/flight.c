/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/flight.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE_SEALS   (F_SEAL_SHRINK | F_SEAL_GROW)
#define WORKER_LIMIT 1000000 /* a worker has fewer descriptors than that */

static int map(int memfd, struct eg_flight **out)
{
	void *p =
		mmap(NULL, sizeof(struct eg_flight), PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*out = p;
	return 0;
}

int eg_flight_create(int *memfd, struct eg_flight **out)
{
	EG_CLEANUP_FD int fd = memfd_create("egret-flight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0 || ftruncate(fd, sizeof(struct eg_flight)) < 0 ||
	    fcntl(fd, F_ADD_SEALS, SIZE_SEALS | F_SEAL_SEAL) < 0)
		return -errno;
	r = map(fd, out);
	if (!r)
		*memfd = eg_fd_take(&fd);
	return r;
}

int eg_flight_map(int memfd, struct eg_flight **out)
{
	int seals = fcntl(memfd, F_GET_SEALS);
	struct stat st;

	if (seals < 0 || (seals & SIZE_SEALS) != SIZE_SEALS || fstat(memfd, &st) < 0 ||
	    st.st_size != (off_t)sizeof(struct eg_flight))
		return -EPROTO;
	return map(memfd, out);
}

void eg_flight_close(struct eg_flight *f)
{
	if (f)
		(void)munmap(f, sizeof(*f));
}

static uint64_t credible(const atomic_int_fast64_t *place)
{
	int64_t n = atomic_load_explicit(place, memory_order_relaxed);

	return n > 0 && n <= WORKER_LIMIT ? (uint64_t)n : 0;
}

uint64_t eg_flight_requests(const struct eg_flight *f)
{
	uint64_t sum = 0;

	for (size_t i = 0; f && i < EG_MAX_WORKERS; i++)
		sum += credible(&f->worker[i].requests);
	return sum;
}

uint64_t eg_flight_connections(const struct eg_flight *f)
{
	uint64_t sum = 0;

	for (size_t i = 0; f && i < EG_MAX_WORKERS; i++)
		sum += credible(&f->worker[i].connections);
	return sum;
}
