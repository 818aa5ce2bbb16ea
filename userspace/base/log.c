/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/redact.h"
#include "base/standard.h"

#define MESSAGE_MAX    2048u
#define LINE_MAX_BYTES (MESSAGE_MAX * 6 + 256)
#define ROOM_MS	       20

static const char *log_role = "egret";
static enum eg_log_level log_lowest = EG_LOG_INFO;

void eg_log_init(const char *role, enum eg_log_level lowest)
{
	log_role = role;
	log_lowest = lowest;
}

/* Length of the valid UTF-8 sequence at p (RFC 3629 section 4), or 0. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
	unsigned char lo = 0x80, hi = 0xbf;
	size_t want;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		want = 2;
	} else if (p[0] >= 0xe0 && p[0] <= 0xef) {
		want = 3;
		lo = p[0] == 0xe0 ? 0xa0 : lo;
		hi = p[0] == 0xed ? 0x9f : hi;
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		want = 4;
		lo = p[0] == 0xf0 ? 0x90 : lo;
		hi = p[0] == 0xf4 ? 0x8f : hi;
	} else {
		return 0;
	}
	if (n < want || p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < want; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return want;
}

/* Stands for itself in a JSON string, and is all that most of them hold. */
static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* How many of the bytes at p, in steps of eight, stand for themselves; the rest is looked at one by
 * one. A byte with its high bit set ends it, and makes none before it look plain. */
static size_t plain_words(const unsigned char *p, size_t n)
{
	const uint64_t ones = 0x0101010101010101u, high = ones * 0x80;
	size_t i = 0;

	for (; i + 8 <= n; i += 8) {
		uint64_t w, quote, slash;

		memcpy(&w, p + i, sizeof(w));
		quote = w ^ ones * '"';
		slash = w ^ ones * '\\';
		/* Below 0x20, a quote, a backslash, 0x7f and above. */
		if (((w - ones * 0x20) | (quote - ones) | (slash - ones) | (w + ones) | w) & high)
			break;
	}
	return i;
}

bool eg_json_plain(struct eg_str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t i = plain_words(p, s.n);

	if (s.n - i < 8 && s.n >= 8) /* the rest with some of what was seen already */
		return plain_words(p + s.n - 8, 8) == 8;
	while (i < s.n && is_plain(p[i]))
		i++;
	return i == s.n;
}

int eg_json_quote(struct eg_buf *out, struct eg_str s, size_t cap)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = EG_MIN(s.n, cap), from = 0, i = 0;
	int r = eg_buf_append(out, "\"", 1);

	/* Runs of harmless bytes are copied at once. */
	while (!r && i < n) {
		size_t step;
		bool c1;

		i += plain_words(p + i, n - i);
		while (i < n && is_plain(p[i]))
			i++;
		if (i == n)
			break;
		step = p[i] >= 0x80 ? utf8_length(p + i, n - i) : 0;
		c1 = step == 2 && p[i] == 0xc2 && p[i + 1] < 0xa0;
		if (step && !c1) {
			i += step;
			continue;
		}
		r = eg_buf_append(out, p + from, i - from);
		i += c1; /* its second byte is its code point, too */
		if (!r && (p[i] == '"' || p[i] == '\\'))
			r = eg_buf_printf(out, "\\%c", p[i]);
		else if (!r)
			r = eg_buf_printf(out, "\\u%04x", p[i]);
		from = ++i;
	}
	if (!r)
		r = eg_buf_append(out, p ? p + from : NULL, i - from);
	return r ? r : eg_buf_append(out, "\"", 1);
}

static uint32_t utf8_point(const unsigned char *p, size_t length)
{
	static const unsigned char mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
	uint32_t c = p[0] & mask[length];

	for (size_t i = 1; i < length; i++)
		c = c << 6 | (p[i] & 0x3f);
	return c;
}

/* What a terminal acts upon instead of showing it, or what moves or hides its neighbours: C0 and C1
 * controls, line and paragraph separators, bidirectional and other format characters. */
static bool acts_on_terminal(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c ||
	       (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
	       (c >= 0xe0000 && c <= 0xe007f);
}

int eg_text_printable(struct eg_buf *out, struct eg_str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t from = 0, i = 0;
	int r = 0;

	while (!r && i < s.n) {
		size_t step = utf8_length(p + i, s.n - i);
		uint32_t c = step ? utf8_point(p + i, step) : p[i];

		if (step && !acts_on_terminal(c)) {
			i += step;
			continue;
		}
		r = eg_buf_append(out, p + from, i - from);
		if (!r)
			r = eg_buf_printf(out, c > 0xffff ? "\\U%08x" : "\\u%04x", c);
		i += step ? step : 1;
		from = i;
	}
	return r || i == from ? r : eg_buf_append(out, p + from, i - from);
}

/* ---- where it goes ---- */

static struct {
	pthread_mutex_t lock;
	bool stalled; /* the last entry found no room */
	bool torn;    /* half of an entry is out */
	unsigned long lost;
} out = {.lock = PTHREAD_MUTEX_INITIALIZER};

void eg_log_unblock(void)
{
	EG_CLEANUP_FD int fd = eg_standard_unblocked(STDERR_FILENO);

	if (fd >= 0)
		(void)dup2(fd, STDERR_FILENO);
}

/* Room within a moment: a reader may be slower than a burst. One that stalls is not waited for. */
static bool has_room(void)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};

	out.stalled = poll(&p, 1, out.stalled ? 0 : ROOM_MS) == 0;
	return !out.stalled;
}

/* False: not all of it, or nothing, went out. */
static bool put(const char *bytes, size_t n)
{
	ssize_t written = -1;

	if (!has_room())
		return false;
	do {
		written = send(STDERR_FILENO, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (written < 0 && errno == ENOTSOCK)
			written = write(STDERR_FILENO, bytes, n);
	} while (written < 0 && errno == EINTR);
	out.torn |= written > 0 && (size_t)written < n;
	return written >= 0 && (size_t)written == n;
}

static int render(struct eg_buf *line, enum eg_log_level level, const char *message)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};
	char when[40];
	struct timespec ts;
	struct tm tm;
	int r;

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	r = eg_buf_printf(
		line, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"role\":\"%s\",\"message\":", when,
		ts.tv_nsec / 1000000, names[level], log_role);
	if (!r)
		r = eg_json_quote(line, eg_str_from(message), MESSAGE_MAX);
	return r ? r : eg_buf_append(line, "}\n", 2);
}

/* What is missing before this entry; false: it could not be said yet. */
static bool say_lost(void)
{
	char text[120];
	struct eg_buf line;
	bool said;

	if (out.torn && !put("\n", 1))
		return false;
	out.torn = false;
	if (!out.lost)
		return true;
	snprintf(text, sizeof(text),
		 "%lu entries of this log are lost: they could not be written (does its reader "
		 "stall?)",
		 out.lost);
	eg_buf_init(&line, LINE_MAX_BYTES);
	said = !render(&line, EG_LOG_WARN, text) && put(eg_buf_data(&line), line.length);
	eg_buf_fini(&line);
	if (said)
		out.lost = 0;
	return said;
}

static void write_entry(const struct eg_buf *line)
{
	pthread_mutex_lock(&out.lock);
	if (!say_lost() || !put(eg_buf_data(line), line->length))
		out.lost++;
	pthread_mutex_unlock(&out.lock);
}

void eg_log(enum eg_log_level level, const char *format, ...)
{
	char message[MESSAGE_MAX];
	struct eg_buf line;
	int saved = errno, n;
	va_list ap;

	if (level < log_lowest)
		return;
	va_start(ap, format);
	n = vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	if (n < 0)
		return;
	eg_redact_text(message, false);
	eg_buf_init(&line, LINE_MAX_BYTES);
	if (!render(&line, level, message))
		write_entry(&line);
	eg_buf_fini(&line);
	errno = saved;
}
