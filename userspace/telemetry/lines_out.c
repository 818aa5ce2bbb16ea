/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry/lines_out.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

void eg_lines_out_init(struct eg_lines_out *o, size_t cap_bytes)
{
	o->fd = -1;
	o->pipe = false;
	o->torn_length = o->torn_out = 0;
	eg_buf_init(&o->lines, cap_bytes);
}

void eg_lines_out_fini(struct eg_lines_out *o)
{
	eg_fd_close(&o->fd);
	eg_buf_fini(&o->lines);
}

void eg_lines_out_open(struct eg_lines_out *o, int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	eg_fd_close(&o->fd);
	o->fd = fd;
	o->pipe = false;
	if (fstat(fd, &st))
		return;
	o->pipe = S_ISFIFO(st.st_mode);
	/* So that its end need not be waited for, either. */
	if ((o->pipe || S_ISSOCK(st.st_mode)) && flags >= 0)
		(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	/* The same file, by another name or opened once more: its line is ended. */
	if (st.st_dev != o->torn_file.st_dev || st.st_ino != o->torn_file.st_ino)
		o->torn_out = o->torn_length ? 0 : o->torn_out;
}

static ssize_t put(int fd, const char *data, size_t length)
{
	ssize_t n;

	do
		n = write(fd, data, length);
	while (n < 0 && errno == EINTR);
	return n;
}

/* 1: no line is begun and not ended; 0: it still is; -1: so, with errno. */
static int end_torn(struct eg_lines_out *o)
{
	ssize_t n;

	if (o->torn_out == o->torn_length)
		return 1;
	n = put(o->fd, o->torn + o->torn_out, o->torn_length - o->torn_out);
	if (n <= 0)
		return n < 0 ? -1 : 0;
	o->torn_out += (size_t)n;
	return o->torn_out == o->torn_length;
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

/* Of the lines `out` bytes are out, the last of them inside a line. */
static void keep_torn(struct eg_lines_out *o, size_t out)
{
	struct eg_buf *lines = &o->lines;
	const char *data = eg_buf_data(lines), *last = memrchr(data, '\n', out),
		   *begin = last ? last + 1 : data,
		   *end = memchr(data + out, '\n', lines->length - out);
	size_t length = (size_t)((end ? end + 1 : data + lines->length) - begin);

	if (fstat(o->fd, &o->torn_file))
		memset(&o->torn_file, 0, sizeof(o->torn_file));
	o->torn_length = EG_MIN(length, sizeof(o->torn));
	o->torn_out = (size_t)(data + out - begin);
	memcpy(o->torn, begin, o->torn_length);
	eg_buf_consume(lines, (size_t)(begin - data) + length);
}

int eg_lines_out_write(struct eg_lines_out *o)
{
	int r;

	while ((r = end_torn(o)) > 0 && o->lines.length) {
		ssize_t n = put(o->fd, eg_buf_data(&o->lines), portion(&o->lines, o->pipe));

		if (n <= 0)
			return n < 0 ? -errno : 0;
		if (eg_buf_data(&o->lines)[n - 1] == '\n')
			eg_buf_consume(&o->lines, (size_t)n);
		else
			keep_torn(o, (size_t)n);
	}
	return r < 0 ? -errno : r;
}
