/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of ours that wait in nghttp2: at 256 the client is not read. Limits on floods, and
 * acknowledgements that go before data, let a client hardly get there, so the count is the test's
 * to say, in place of nghttp2.
 */
#include <dlfcn.h>

#include "pod2.h"

static size_t waiting; /* 0: as many as there are */

size_t nghttp2_session_get_outbound_queue_size(nghttp2_session *session)
{
	static size_t (*real)(nghttp2_session * session);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "nghttp2_session_get_outbound_queue_size");
	assert_non_null(real);
	return waiting ? waiting : real(session);
}

static void test_frames_that_wait(void **state)
{
	struct plane *p = calloc(1, sizeof(*p));
	struct pod2 *pod = calloc(1, sizeof(*pod));

	plane_up(p, PLANE_POLICY);
	pod2_open(pod, p, "api.openai.com");
	pod2_begin(pod);
	raw_begin(pod);
	(void)raw_await(pod, NGHTTP2_SETTINGS, 0);
	waiting = 255;
	raw_frame(pod, NGHTTP2_PING, 0, 0, "the last", 8);
	assert_memory_equal(raw_await(pod, NGHTTP2_PING, 0), "the last", 8);
	plane_turns(p, 3);
	inbox_forget(&pod->in);
	waiting = 256;
	raw_frame(pod, NGHTTP2_PING, 0, 0, "unread..", 8);
	plane_turns(p, 50);
	assert_null(raw_find(pod, NGHTTP2_PING, 0));
	waiting = 255; /* the client has read: what was written calls for a look */
	h2_server_wake(&pod->server);
	assert_memory_equal(raw_await(pod, NGHTTP2_PING, 0), "unread..", 8);
	waiting = 0;
	pod2_close(pod);
	plane_down(p);
	free(pod);
	free(p);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames_that_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
