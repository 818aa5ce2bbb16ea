/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry/lines.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/log.h"
#include "telemetry/lines_out.h"

#define NAP_MS	   4u			/* after it wrote: no worker need wake it meanwhile */
#define RETRY_MS   100u			/* what could not be written is tried again */
#define KEPT_BYTES (4 * EG_LINES_WRITE) /* more of a buffer is of a stall, and given back */
#define QUIET_MS   1000u		/* nothing lost for so long: it is over */

enum doing {
	BUSY,	/* looks for lines again before it waits */
	NAPS,	/* wakes up by itself */
	SLEEPS, /* until it is told of lines */
	ENDED,
};

struct eg_lines {
	pthread_mutex_t lock; /* of all down to `doing`; never held over a system call on the log */
	pthread_cond_t news, ended;
	struct eg_buf queued; /* what workers gave */
	size_t writing;	      /* bytes that `out` has taken and may hold still */
	int next_fd;	      /* -1: none */
	bool end;
	uint64_t end_ms; /* no later than this */
	enum doing doing;
	pthread_t thread;
	bool running; /* there is a thread; the owner's */
	atomic_bool said;
	atomic_uint_fast64_t lost;
	/* The writer's own. */
	struct eg_lines_out out;
	uint64_t lost_seen, lost_told, trouble_ms;
};

struct eg_lines *eg_lines_create(int fd)
{
	int given EG_CLEANUP_FD = fd;
	struct eg_lines *l = calloc(1, sizeof(*l));
	pthread_condattr_t clock;

	if (!l)
		return NULL;
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&l->news, &clock);
	pthread_cond_init(&l->ended, &clock);
	pthread_condattr_destroy(&clock);
	eg_buf_init(&l->queued, EG_LINES_WAIT);
	eg_lines_out_init(&l->out, EG_LINES_WAIT);
	l->next_fd = -1;
	eg_lines_out_open(&l->out, eg_fd_take(&given));
	return l;
}

/* ---- what any thread may do ---- */

/* What is held and the memory for it change places; the caps stay. */
static void swap(struct eg_buf *a, struct eg_buf *b)
{
	struct eg_buf was = *a;

	*a = *b;
	a->cap = was.cap;
	was.cap = b->cap;
	*b = was;
}

/* Mostly the queue is empty, and nothing is copied. */
static bool take(struct eg_lines *l, struct eg_buf *lines)
{
	if (l->queued.length + l->writing > EG_LINES_WAIT - lines->length)
		return false;
	if (!l->queued.length) {
		swap(&l->queued, lines);
		return true;
	}
	if (eg_buf_append(&l->queued, eg_buf_data(lines), lines->length))
		return false;
	eg_buf_clear(lines);
	return true;
}

void eg_lines_give(struct eg_lines *l, struct eg_buf *lines)
{
	bool wake = false;

	pthread_mutex_lock(&l->lock);
	if (take(l, lines)) {
		wake = l->doing == SLEEPS ||
		       (l->doing == NAPS && l->queued.length >= EG_LINES_WRITE);
		if (wake)
			l->doing = BUSY;
	}
	pthread_mutex_unlock(&l->lock);
	if (wake)
		pthread_cond_signal(&l->news);
}

void eg_lines_lost(struct eg_lines *l)
{
	atomic_fetch_add(&l->lost, 1);
	if (!atomic_exchange(&l->said, true))
		eg_error("the access log takes nothing, or too little (does its disk or its reader "
			 "stall?); records are lost until it does");
}

void eg_lines_reopen(struct eg_lines *l, int fd)
{
	int former;

	pthread_mutex_lock(&l->lock);
	former = l->next_fd;
	l->next_fd = fd;
	l->doing = l->doing == ENDED ? ENDED : BUSY;
	pthread_mutex_unlock(&l->lock);
	pthread_cond_signal(&l->news);
	eg_fd_close(&former);
}

/* ---- the writer ---- */

static void take_news(struct eg_lines *l)
{
	int fd;

	pthread_mutex_lock(&l->lock);
	fd = l->next_fd;
	l->next_fd = -1;
	if (!l->out.lines.length)
		swap(&l->out.lines, &l->queued);
	l->writing = l->out.lines.length;
	pthread_mutex_unlock(&l->lock);
	if (fd >= 0)
		eg_lines_out_open(&l->out, fd);
}

int eg_lines_turn(struct eg_lines *l)
{
	int r;

	do {
		take_news(l);
		r = eg_lines_out_write(&l->out);
	} while (r > 0 && l->writing);
	if (l->out.lines.size > KEPT_BYTES)
		eg_buf_release(&l->out.lines);
	return r;
}

static struct timespec from_now(uint32_t ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += (long)(ms % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_nsec -= 1000000000;
		t.tv_sec++;
	}
	return t;
}

/* The lock is held. At most so long (0: without an end), or until something changes. */
static void doze(struct eg_lines *l, enum doing what, uint32_t limit_ms)
{
	struct timespec until = from_now(limit_ms);

	l->doing = what;
	if (limit_ms)
		(void)pthread_cond_timedwait(&l->news, &l->lock, &until);
	else
		pthread_cond_wait(&l->news, &l->lock);
	l->doing = BUSY;
}

static void say_lost(struct eg_lines *l, const char *what, uint64_t lost)
{
	eg_warn("%s; %llu records are lost (egret_access_records_lost_total)", what,
		(unsigned long long)(lost - l->lost_told));
	l->lost_told = lost;
}

/* It could be written for a while, and nobody had to lose anything. */
static void look_whether_over(struct eg_lines *l)
{
	uint64_t lost = atomic_load(&l->lost), now = eg_now_ms();

	if (lost != l->lost_seen)
		l->trouble_ms = now;
	l->lost_seen = lost;
	if (now - l->trouble_ms < QUIET_MS)
		return;
	atomic_store(&l->said, false);
	say_lost(l, "the access log is written again", lost);
}

/* All is out. A nap first: under load what comes is written together, and nobody wakes anybody. */
static void rest(struct eg_lines *l)
{
	bool said = atomic_load(&l->said);

	if (said)
		look_whether_over(l);
	pthread_mutex_lock(&l->lock);
	if (!l->end && l->next_fd < 0)
		doze(l, NAPS, NAP_MS);
	while (!l->queued.length && !l->end && l->next_fd < 0) {
		doze(l, SLEEPS, said ? QUIET_MS : 0);
		if (said)
			break;
	}
	pthread_mutex_unlock(&l->lock);
}

static void wait_for_room(struct eg_lines *l, int error)
{
	struct pollfd p = {.fd = l->out.fd, .events = POLLOUT};

	l->trouble_ms = eg_now_ms();
	if (!error || error == -EAGAIN) {
		(void)poll(&p, 1, RETRY_MS);
		return;
	}
	if (!atomic_exchange(&l->said, true)) /* a disk may be full for hours */
		eg_error("the access log can't be written: %s; records are lost when more than %zu "
			 "MiB wait",
			 strerror(-error), EG_LINES_WAIT >> 20);
	pthread_mutex_lock(&l->lock);
	if (!l->end && l->next_fd < 0)
		doze(l, BUSY, RETRY_MS);
	pthread_mutex_unlock(&l->lock);
}

/* Nothing waits, or what waits can't be written in time. */
static bool is_over(struct eg_lines *l, int r)
{
	bool over;

	pthread_mutex_lock(&l->lock);
	over = l->end &&
	       (r > 0 ? !l->queued.length : (r && r != -EAGAIN) || eg_now_ms() >= l->end_ms);
	pthread_mutex_unlock(&l->lock);
	return over;
}

static void *run(void *argument)
{
	struct eg_lines *l = argument;
	int r;

	prctl(PR_SET_NAME, "access-log", 0, 0, 0);
	while (r = eg_lines_turn(l), !is_over(l, r)) {
		if (r > 0)
			rest(l);
		else
			wait_for_room(l, r);
	}
	pthread_mutex_lock(&l->lock);
	l->doing = ENDED;
	pthread_cond_signal(&l->ended);
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

int eg_lines_start(struct eg_lines *l)
{
	int r = pthread_create(&l->thread, NULL, run, l);

	l->running = !r;
	return -r;
}

/* ---- the end ---- */

/* False: it is inside a write that does not come back. */
static bool end_thread(struct eg_lines *l, uint32_t limit_ms)
{
	/* A little more, in which it sees by itself that its time is over. */
	struct timespec until = from_now(limit_ms + 2 * RETRY_MS);
	bool over;
	int r = 0;

	pthread_mutex_lock(&l->lock);
	l->end = true;
	l->end_ms = eg_now_ms() + limit_ms;
	pthread_cond_signal(&l->news);
	while (l->doing != ENDED && !r)
		r = pthread_cond_timedwait(&l->ended, &l->lock, &until);
	over = l->doing == ENDED;
	pthread_mutex_unlock(&l->lock);
	if (over)
		pthread_join(l->thread, NULL);
	return over;
}

bool eg_lines_destroy(struct eg_lines *l, uint32_t limit_ms)
{
	uint64_t lost;
	size_t left;

	if (!l)
		return true;
	if (l->running && !end_thread(l, limit_ms)) {
		eg_error("the access log takes nothing (does its disk stall?); records that waited "
			 "for it are lost");
		return false;
	}
	if (!l->running && eg_lines_turn(l) <= 0)
		eg_debug("the access log does not take all at its end");
	left = l->out.lines.length + l->queued.length;
	lost = atomic_load(&l->lost);
	if (left)
		eg_error("the access log takes nothing; %zu bytes of records that waited for it "
			 "are lost",
			 left);
	if (lost != l->lost_told)
		say_lost(l, "the access log ends", lost);
	eg_lines_out_fini(&l->out);
	eg_buf_fini(&l->queued);
	eg_fd_close(&l->next_fd);
	pthread_cond_destroy(&l->news);
	pthread_cond_destroy(&l->ended);
	pthread_mutex_destroy(&l->lock);
	free(l);
	return true;
}
