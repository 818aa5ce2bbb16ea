/* SPDX-License-Identifier: Apache-2.0 */
/* Pass-through: bytes, ends and resets, in both directions. */
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "front/relay.h"
#include "plane.h"

struct world {
	struct plane plane;
	struct relay relay;
	struct inbox pod, site; /* the far ends */
	bool over, failed;
	size_t asked;
	bool refuse, crowd;
	size_t held;
};

static void over(void *ctx, bool failed)
{
	struct world *w = ctx;

	w->over = true;
	w->failed = failed;
	relay_fini(&w->relay, failed);
}

static bool may_have(void *ctx, size_t descriptors)
{
	struct world *w = ctx;

	w->asked += descriptors;
	return !w->refuse;
}

static void holds(void *ctx, size_t bytes)
{
	struct world *w = ctx;

	w->held = bytes;
}

static bool crowded(void *ctx)
{
	struct world *w = ctx;

	return w->crowd;
}

static const struct relay_owner owner = {over, may_have, holds, crowded};

/* A connected pair: returns ours, the far end goes into *far. */
static int pair(struct plane *p, struct inbox *far)
{
	struct linger reset = {.l_onoff = 1};
	uint16_t port;
	int listener = plane_listen(&port), ours;

	/* As the agent's listeners are: what they accept resets when its process dies. */
	assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	inbox_init(far, plane_connect(port));
	ours = plane_accept(p, listener);
	close(listener);
	return ours;
}

static struct world *begin(const char *first_text)
{
	struct world *w = calloc(1, sizeof(*w));
	struct eg_buf first;
	int pod, site;

	plane_up(&w->plane, NULL);
	eg_buf_init(&first, 1 << 17);
	assert_int_equal(eg_buf_append(&first, first_text, strlen(first_text)), 0);
	pod = pair(&w->plane, &w->pod);
	site = pair(&w->plane, &w->site);
	assert_int_equal(relay_begin(&w->relay, w->plane.loop, pod, site, &first, &owner, w), 0);
	return w;
}

static void finish(struct world *w)
{
	relay_fini(&w->relay, true);
	inbox_fini(&w->pod);
	inbox_fini(&w->site);
	plane_down(&w->plane);
	free(w);
}

static void test_both_ways(void **state)
{
	struct world *w = begin("hello ");

	inbox_await(&w->plane, &w->site, "hello ");
	plane_send(&w->plane, w->pod.fd, "world");
	inbox_await(&w->plane, &w->site, "hello world");
	plane_send(&w->plane, w->site.fd, "answer");
	inbox_await(&w->plane, &w->pod, "answer");
	assert_int_equal(w->relay.way[0].bytes, 11);
	assert_int_equal(w->relay.way[1].bytes, 6);
	finish(w);
	(void)state;
}

/* Bytes are held while the other side does not take them, and only then is there memory for them: a
 * connection that rests has none. */
static void test_rests_without_buffers(void **state)
{
	struct world *w = begin("hello ");

	inbox_await(&w->plane, &w->site, "hello ");
	plane_send(&w->plane, w->site.fd, "answer");
	inbox_await(&w->plane, &w->pod, "answer");
	plane_turns(&w->plane, 3);
	for (int i = 0; i < 2; i++)
		assert_int_equal(w->relay.way[i].buf.size, 0);
	assert_int_equal(w->held, 0);
	finish(w);
	(void)state;
}

/* One side's end is passed on; the other goes on; then both are over, in order. */
static void test_half_close(void **state)
{
	struct world *w = begin("");

	plane_send(&w->plane, w->pod.fd, "question");
	shutdown(w->pod.fd, SHUT_WR);
	inbox_await_end(&w->plane, &w->site);
	assert_string_equal(w->site.text, "question");
	assert_false(w->over);
	plane_send(&w->plane, w->site.fd, "late answer");
	inbox_await(&w->plane, &w->pod, "late answer");
	shutdown(w->site.fd, SHUT_WR);
	inbox_await_end(&w->plane, &w->pod);
	assert_false(w->pod.reset);
	assert_true(w->over);
	assert_false(w->failed);
	finish(w);
	(void)state;
}

/* The pod reads slowly: the end of the relay takes nothing away that the kernel still has. */
static void test_end_leaves_nothing_out(void **state)
{
	static char part[300000];
	struct world *w = begin("");
	int small = 4096;
	size_t got = 0;
	ssize_t n;

	setsockopt(w->pod.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	memset(part, 'p', sizeof(part));
	shutdown(w->pod.fd, SHUT_WR);
	plane_send_n(&w->plane, w->site.fd, part, sizeof(part));
	shutdown(w->site.fd, SHUT_WR);
	for (int i = 0; i < 2000 && !w->over; i++)
		plane_turns(&w->plane, 1);
	assert_true(w->over);
	assert_false(w->failed);
	(void)fcntl(w->pod.fd, F_SETFL, 0);
	while ((n = recv(w->pod.fd, part, sizeof(part), 0)) > 0)
		got += (size_t)n;
	assert_int_equal(n, 0);
	assert_int_equal(got, sizeof(part));
	finish(w);
	(void)state;
}

/* Both ends have come and the pod still reads: what the relay holds for it is given to it. The
 * destination's descriptor hangs up meanwhile, for good; the loop is not kept busy with that. Local
 * sockets, which hold what they are told to and hang up as TCP's do. */
static void test_end_waits_for_a_slow_pod(void **state)
{
	static char part[65536];
	struct world *w = calloc(1, sizeof(*w));
	const size_t total = 300000;
	int pod[2], site[2], small = 4096;
	size_t sent = 0, got = 0;
	ssize_t n = -1;
	bool held = false;
	struct eg_buf none;

	plane_up(&w->plane, NULL);
	eg_buf_init(&none, 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pod), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, site), 0);
	setsockopt(pod[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	assert_int_equal(relay_begin(&w->relay, w->plane.loop, pod[0], site[0], &none, &owner, w),
			 0);
	inbox_init(&w->pod, pod[1]);
	inbox_init(&w->site, site[1]);
	shutdown(pod[1], SHUT_WR);
	for (int i = 0; i < 10000 && !w->over && n; i++) {
		size_t left = EG_MIN(total - sent, sizeof(part));

		n = left ? send(site[1], part, left, MSG_NOSIGNAL) : 0;
		sent += n > 0 ? (size_t)n : 0;
		if (left && sent == total)
			shutdown(site[1], SHUT_WR);
		plane_turns(&w->plane, 2);
		if (w->relay.way[1].eof && !w->relay.way[1].shut) {
			held = true;
			assert_true(w->relay.watch[1].fd < 0);
		}
		n = recv(pod[1], part, 2000, 0);
		got += n > 0 ? (size_t)n : 0;
	}
	while ((n = recv(pod[1], part, sizeof(part), 0)) > 0)
		got += (size_t)n;
	assert_true(held);
	assert_true(w->over);
	assert_false(w->failed);
	assert_int_equal(got, total);
	finish(w);
	(void)state;
}

/* Without leave for a pipe it copies, and nothing is lost. */
static void test_no_leave_for_a_pipe(void **state)
{
	static char part[60000];
	struct world *w = begin("");

	w->refuse = true;
	memset(part, 'p', sizeof(part));
	for (int i = 0; i < 5; i++) {
		plane_send_n(&w->plane, w->pod.fd, part, sizeof(part));
		inbox_await_bytes(&w->plane, &w->site, (size_t)(i + 1) * sizeof(part));
	}
	assert_int_equal(w->asked, 2);
	assert_int_equal(w->relay.way[0].pipe[0], -1);
	finish(w);
	(void)state;
}

/* ---- a user whom the kernel gives no whole pipes any more (pipe(7), pipe-user-pages-soft) ---- */

#define NOBODY_ELSE 61234 /* a user who has no pipes; without rights, as the gateway is */

/* Until one is smaller than the first; false: there is no such limit here. */
static bool use_up_pipes(void)
{
	struct rlimit files;
	int whole = 0;

	if (getrlimit(RLIMIT_NOFILE, &files))
		return false;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files))
		return false;
	for (int i = 0; i < 4096; i++) {
		int end[2], n;

		if (pipe2(end, O_CLOEXEC))
			return false;
		n = fcntl(end[0], F_GETPIPE_SZ);
		if (whole && n < whole)
			return true;
		whole = n;
	}
	return false;
}

/* As a process of its own: 0 copied whole, without a pipe. */
static int relay_without_pipes(void)
{
	static char part[60000], all[300000];
	struct world *w;
	int result = 0;

	if (setresgid(NOBODY_ELSE, NOBODY_ELSE, NOBODY_ELSE) ||
	    setresuid(NOBODY_ELSE, NOBODY_ELSE, NOBODY_ELSE))
		return 2;
	if (!use_up_pipes())
		return 3;
	w = begin("");
	memset(part, 'p', sizeof(part));
	memset(all, 'p', sizeof(all));
	for (size_t n = sizeof(part); n <= sizeof(all); n += sizeof(part)) {
		plane_send_n(&w->plane, w->pod.fd, part, sizeof(part));
		inbox_await_bytes(&w->plane, &w->site, n);
	}
	if (w->relay.way[0].pipe[0] >= 0 || !w->relay.way[0].no_pipe)
		result = 4;
	else if (w->site.n != sizeof(all) || memcmp(w->site.text, all, sizeof(all)))
		result = 5;
	finish(w);
	return result;
}

static void test_a_user_with_many_pipes(void **state)
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		_exit(relay_without_pipes());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 3) {
		print_message("SKIP - this kernel limits nobody's pipes (pipe-user-pages-soft)\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
	(void)state;
}

static void test_reset_is_passed_on(void **state)
{
	struct world *w = begin("");

	plane_send(&w->plane, w->site.fd, "part");
	inbox_await(&w->plane, &w->pod, "part");
	close_reset(w->site.fd);
	w->site.fd = dup(0);
	inbox_await_end(&w->plane, &w->pod);
	assert_true(w->pod.reset);
	assert_true(w->failed);
	finish(w);
	(void)state;
}

/* Megabytes both ways at once, through the pipes: nothing lost, nothing out of order. */
static void test_bulk(void **state)
{
	struct world *w = begin("");
	const size_t total = 8u << 20;
	unsigned char *a = malloc(total), *b = malloc(total);
	size_t sent_a = 0, sent_b = 0;

	for (size_t i = 0; i < total; i++) {
		a[i] = (unsigned char)(i * 31 + (i >> 11));
		b[i] = (unsigned char)(i * 17 + (i >> 9));
	}
	for (int i = 0; i < 200000 && (w->site.n < total || w->pod.n < total); i++) {
		ssize_t n = send(w->pod.fd, a + sent_a, EG_MIN(total - sent_a, (size_t)100000),
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			sent_a += (size_t)n;
		n = send(w->site.fd, b + sent_b, EG_MIN(total - sent_b, (size_t)70000),
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			sent_b += (size_t)n;
		plane_turns(&w->plane, 1);
		inbox_poll(&w->site);
		inbox_poll(&w->pod);
	}
	assert_int_equal(w->site.n, total);
	assert_int_equal(w->pod.n, total);
	assert_memory_equal(w->site.text, a, total);
	assert_memory_equal(w->pod.text, b, total);
	assert_true(w->relay.way[0].pipe[0] >= 0);
	free(a);
	free(b);
	finish(w);
	(void)state;
}

/* Who does not read holds the other back, not the agent's memory. */
static void test_back_pressure(void **state)
{
	struct world *w = begin("");
	static char block[65536];
	size_t stalls = 0;

	while (stalls < 100) {
		if (send(w->site.fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			stalls++;
		else
			stalls = 0;
		plane_turns(&w->plane, 1);
	}
	assert_true(w->relay.way[1].buf.size <= 65536);
	assert_true(w->relay.way[1].in_pipe <= 65536);
	finish(w);
	(void)state;
}

/* The destination sends, and the pod does not read, until nothing moves any more. */
static size_t stall(struct world *w)
{
	static char block[65536];
	size_t sent = 0, stalls = 0;
	ssize_t n;

	while (stalls < 100) {
		n = send(w->site.fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);
		sent += n > 0 ? (size_t)n : 0;
		stalls = n > 0 ? 0 : stalls + 1;
		plane_turns(&w->plane, 1);
	}
	return sent;
}

/* What it holds is told to its owner. Where there is little memory that is a piece of each
 * direction, and all goes through all the same. */
static void test_crowd(void **state)
{
	for (int crowd = 0; crowd < 2; crowd++) {
		struct world *w = begin("");
		size_t sent;

		w->refuse = true; /* no pipes: what is copied is what takes our memory */
		w->crowd = crowd;
		sent = stall(w);
		assert_in_range(w->held, crowd ? 1 : 60000, crowd ? 4096 : 65536);
		assert_int_equal(w->held, w->relay.way[1].buf.size);
		inbox_await_bytes(&w->plane, &w->pod, sent);
		plane_turns(&w->plane, 3);
		assert_int_equal(w->held, 0);
		finish(w);
	}
	(void)state;
}

/* As if nothing had moved for so long. */
static void rest(struct world *w, uint64_t ms)
{
	plane_turns(&w->plane, 3);
	w->relay.activity_ms -= ms;
	assert_int_equal(eg_timer_set(w->plane.loop, &w->relay.timer, 0), 0);
	plane_turns(&w->plane, 3);
}

/* An hour of silence, or five minutes after one side has ended: both sides are reset. A byte of
 * either begins it anew. */
static void test_silence(void **state)
{
	for (int half = 0; half < 2; half++) {
		struct world *w = begin("");
		uint64_t limit = half ? 5 * 60 * 1000 : 60 * 60 * 1000;

		if (half) {
			shutdown(w->pod.fd, SHUT_WR);
			inbox_await_end(&w->plane, &w->site);
		}
		rest(w, limit - 2000);
		assert_false(w->over);
		plane_send(&w->plane, w->site.fd, "x");
		inbox_await(&w->plane, &w->pod, "x");
		rest(w, limit - 2000);
		assert_false(w->over);
		rest(w, 2000);
		assert_true(w->over);
		assert_true(w->failed);
		inbox_await_end(&w->plane, &w->pod);
		assert_true(w->pod.reset);
		finish(w);
	}
	(void)state;
}

/* What a pipe holds is pieces, however small, and of a user with many of them it has few pages: one
 * that is full is not tried again before its reader took something. */
static void test_full_pipe(void **state)
{
	struct world *w = begin("");
	static char block[65536];
	size_t sent = 0, stalls = 0;
	ssize_t n;

	while (w->relay.way[0].pipe[0] < 0) {
		n = send(w->pod.fd, block, 30000, MSG_NOSIGNAL | MSG_DONTWAIT);
		sent += n > 0 ? (size_t)n : 0;
		plane_turns(&w->plane, 1);
		inbox_poll(&w->site);
	}
	assert_true(fcntl(w->relay.way[0].pipe[1], F_SETPIPE_SZ, 4096) >= 0);
	while (stalls < 100) {
		n = send(w->pod.fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);
		sent += n > 0 ? (size_t)n : 0;
		stalls = n > 0 ? 0 : stalls + 1;
		plane_turns(&w->plane, 1);
	}
	assert_true(w->relay.way[0].in_pipe < 65536);
	assert_false(w->relay.watch[0].events & EPOLLIN);
	inbox_await_bytes(&w->plane, &w->site, sent);
	plane_turns(&w->plane, 3);
	assert_true(w->relay.watch[0].events & EPOLLIN);
	finish(w);
	(void)state;
}

/* Both ends have come from the pod's side, as far as it goes, and the site does not read: its
 * descriptor hangs up for good, and the loop is not kept busy with that, nor is it taken for life.
 */
static void test_site_that_does_not_read(void **state)
{
	struct world *w = begin("");
	static char block[65536];
	size_t sent = 0, stalls = 0;
	uint64_t active;
	ssize_t n;

	shutdown(w->site.fd, SHUT_WR);
	inbox_await_end(&w->plane, &w->pod);
	while (stalls < 100) {
		/* Little at a time: what is left of the window takes the end, too. */
		n = w->relay.watch[0].events & EPOLLIN
			    ? send(w->pod.fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT)
			    : -1;
		sent += n > 0 ? (size_t)n : 0;
		stalls = n > 0 ? 0 : stalls + 1;
		plane_turns(&w->plane, 1);
	}
	shutdown(w->pod.fd, SHUT_WR);
	plane_turns(&w->plane, 3);
	assert_false(w->over);
	assert_true(w->relay.watch[0].fd < 0);
	active = w->relay.activity_ms;
	usleep(20000);
	plane_turns(&w->plane, 3);
	assert_int_equal(w->relay.activity_ms, active);
	inbox_await_bytes(&w->plane, &w->site, sent);
	inbox_await_end(&w->plane, &w->site);
	assert_false(w->site.reset);
	assert_int_equal(w->site.n, sent);
	assert_true(w->over);
	assert_false(w->failed);
	finish(w);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_rests_without_buffers),
		cmocka_unit_test(test_half_close),
		cmocka_unit_test(test_end_leaves_nothing_out),
		cmocka_unit_test(test_end_waits_for_a_slow_pod),
		cmocka_unit_test(test_reset_is_passed_on),
		cmocka_unit_test(test_bulk),
		cmocka_unit_test(test_back_pressure),
		cmocka_unit_test(test_no_leave_for_a_pipe),
		cmocka_unit_test(test_a_user_with_many_pipes),
		cmocka_unit_test(test_crowd),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_full_pipe),
		cmocka_unit_test(test_site_that_does_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
