/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "telemetry/telemetry_private.h"

/*
 * A line of which a part is out already (a full disk, a reader that stalls). All workers write to
 * one log: none begins a line behind half of another's, and whoever writes next ends it; in another
 * file (the log was opened anew) it is written whole.
 */
static struct {
	pthread_mutex_t lock;
	int fd;
	struct stat file;
	size_t length, out; /* no such line: both are equal */
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
	struct stat now;
	ssize_t n;

	if (torn.fd != fd || torn.out == torn.length)
		return 1;
	if (!fstat(fd, &now) &&
	    (now.st_dev != torn.file.st_dev || now.st_ino != torn.file.st_ino)) {
		torn.file = now;
		torn.out = 0;
	}
	n = put(fd, torn.text + torn.out, torn.length - torn.out);
	if (n <= 0)
		return n < 0 ? -1 : 0;
	torn.out += (size_t)n;
	return torn.out == torn.length;
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

/* Of the buffer `out` bytes are out, the last of them inside a line. */
static void keep_torn(int fd, struct eg_buf *lines, size_t out)
{
	const char *data = eg_buf_data(lines), *last = memrchr(data, '\n', out),
		   *begin = last ? last + 1 : data,
		   *end = memchr(data + out, '\n', lines->length - out);
	size_t length = (size_t)((end ? end + 1 : data + lines->length) - begin);

	torn.fd = fd;
	if (fstat(fd, &torn.file))
		memset(&torn.file, 0, sizeof(torn.file));
	torn.length = EG_MIN(length, sizeof(torn.text));
	torn.out = (size_t)(data + out - begin);
	memcpy(torn.text, begin, torn.length);
	eg_buf_consume(lines, (size_t)(begin - data) + length);
}

static int write_all(int fd, bool pipe, struct eg_buf *lines)
{
	int r;

	while ((r = end_torn(fd)) > 0 && lines->length) {
		size_t asked = portion(lines, pipe);
		ssize_t n = put(fd, eg_buf_data(lines), asked);

		if (n <= 0)
			return n < 0 ? -errno : 0;
		if (eg_buf_data(lines)[n - 1] == '\n')
			eg_buf_consume(lines, (size_t)n);
		else
			keep_torn(fd, lines, (size_t)n);
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
