/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <pthread.h>
#include <unistd.h>

#include "telemetry/telemetry_private.h"

/*
 * The rest of a line of which a part is out already (a full disk, a reader that stalls). All
 * workers write to one log: none begins a line behind half of another's, and whoever writes next
 * ends it.
 */
static struct {
	pthread_mutex_t lock;
	int fd;
	size_t length;
	char text[EG_LINES_WRITE];
} torn = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

static ssize_t put(int fd, const char *data, size_t length)
{
	ssize_t n;

	do
		n = write(fd, data, length);
	while (n < 0 && errno == EINTR);
	return n;
}

/* 1: no line is begun and not ended; 0: it still is; -1: so, with errno. */
static int end_torn(int fd)
{
	ssize_t n;

	if (torn.fd != fd || !torn.length)
		return 1;
	n = put(fd, torn.text, torn.length);
	if (n <= 0)
		return n < 0 ? -1 : 0;
	torn.length -= (size_t)n;
	memmove(torn.text, torn.text + n, torn.length);
	return !torn.length;
}

/* What one write(2) gets: all; of a pipe what the kernel takes whole or not at all (pipe(7)), since
 * during a hand-over another process writes there as well. */
static size_t portion(const struct eg_buf *lines, bool pipe)
{
	const char *data = eg_buf_data(lines), *end;

	if (!pipe || lines->length <= PIPE_BUF)
		return lines->length;
	end = memrchr(data, '\n', PIPE_BUF);
	if (!end)
		end = memchr(data, '\n', lines->length);
	return end ? (size_t)(end - data) + 1 : lines->length;
}

static void keep_rest(int fd, struct eg_buf *lines)
{
	const char *end = memchr(eg_buf_data(lines), '\n', lines->length);
	size_t rest = end ? (size_t)(end - eg_buf_data(lines)) + 1 : lines->length;

	torn.fd = fd;
	torn.length = EG_MIN(rest, sizeof(torn.text));
	memcpy(torn.text, eg_buf_data(lines), torn.length);
	eg_buf_consume(lines, rest);
}

static int write_all(int fd, bool pipe, struct eg_buf *lines)
{
	int r;

	while ((r = end_torn(fd)) > 0 && lines->length) {
		size_t asked = portion(lines, pipe);
		ssize_t n = put(fd, eg_buf_data(lines), asked);
		bool ended;

		if (n <= 0)
			return n < 0 ? -errno : 0;
		ended = eg_buf_data(lines)[n - 1] == '\n';
		eg_buf_consume(lines, (size_t)n);
		if (!ended)
			keep_rest(fd, lines);
	}
	return r < 0 ? -errno : r;
}

int eg_lines_write(int fd, bool pipe, struct eg_buf *lines)
{
	int r;

	pthread_mutex_lock(&torn.lock);
	r = write_all(fd, pipe, lines);
	pthread_mutex_unlock(&torn.lock);
	return r;
}
