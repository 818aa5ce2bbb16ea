/* SPDX-License-Identifier: Apache-2.0 */
/* Minting end to end: a worker's cache, a signer process of its own, and its death. */
#include "net_lib.h"

#include "certs.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/log.h"
#include "net/ca.h"
#include "net/mint.h"
#include "net/mint_wire.h"

static const char *const names[] = {"api.openai.com", "*.openai.azure.com"};
static const char *const more_names[] = {"api.openai.com", "api.anthropic.com"};
static struct eg_buf root_cert, root_key, cert, key;

static int64_t clock_off; /* seconds: how far the wall clock was set */

/* libc's, for this program: the clock can be set, for what asks in whole seconds. */
time_t time(time_t *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec += clock_off;
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}

struct signer {
	pid_t pid;
	int control;
	uint32_t sequence;
};

static int memfd_of(const struct eg_buf *b)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_int_equal(write(fd, eg_buf_data(b), b->length), b->length);
	return fd;
}

static void signer_start(struct signer *s)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	s->pid = fork();
	assert_true(s->pid >= 0);
	if (!s->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int fd = 3; fd < 200; fd++)
			if (fd != pair[1])
				close(fd);
		_exit(eg_mint_serve(pair[1]));
	}
	close(pair[1]);
	s->control = pair[0];
	s->sequence = 0;
}

static int signer_ca(struct signer *s, const struct eg_buf *c, const struct eg_buf *k,
		     struct eg_error *e)
{
	int a = memfd_of(c), b = memfd_of(k);
	int r = eg_mint_control_ca(s->control, ++s->sequence, a, b);

	close(a);
	close(b);
	assert_int_equal(r, 0);
	return eg_mint_control_wait(s->control, s->sequence, 5000, e);
}

static int signer_names(struct signer *s, const char *const *list, size_t n, struct eg_error *e)
{
	assert_int_equal(eg_mint_control_names(s->control, ++s->sequence, list, n), 0);
	return eg_mint_control_wait(s->control, s->sequence, 5000, e);
}

static void signer_client(struct signer *s, int fd)
{
	struct eg_error e = {""};

	assert_int_equal(eg_mint_control_client(s->control, ++s->sequence, fd), 0);
	assert_int_equal(eg_mint_control_wait(s->control, s->sequence, 5000, &e), 0);
}

static void signer_stop(struct signer *s)
{
	int status;

	kill(s->pid, SIGKILL);
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	eg_fd_close(&s->control);
}

/* A worker with its mint; kept is the signer's end, as the supervisor keeps it. */
struct worker {
	struct eg_loop *loop;
	struct eg_mint *mint;
	int kept;
};

static void worker_start(struct worker *w)
{
	struct eg_error e = {""};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	w->loop = eg_loop_create();
	w->kept = pair[1];
	w->mint = eg_mint_create(w->loop, pair[0], eg_buf_str(&cert), &e);
	assert_string_equal(e.text, "");
}

static void worker_stop(struct worker *w)
{
	eg_mint_destroy(w->mint);
	eg_fd_close(&w->kept);
	assert_int_equal(eg_loop_turn(w->loop, 0), 0);
	eg_loop_destroy(w->loop);
}

struct wait {
	struct eg_mint_wait wait;
	struct eg_leaf *leaf;
	enum eg_reason reason;
	int calls;
};

static void on_done(struct eg_mint_wait *w, struct eg_leaf *leaf, enum eg_reason reason)
{
	struct wait *t = eg_container_of(w, struct wait, wait);

	t->leaf = leaf;
	t->reason = reason;
	t->calls++;
}

#define WAIT                                          \
	{                                             \
		.wait = {.done = on_done}, .calls = 0 \
	}

static void run_until_called(struct worker *w, struct wait *t)
{
	for (int i = 0; !t->calls; i++) {
		assert_true(i < 400);
		assert_int_equal(eg_loop_turn(w->loop, 50), 0);
	}
	assert_int_equal(t->calls, 1);
}

static void minted_once_for_all_who_wait(void **state)
{
	struct wait a = WAIT, b = WAIT, c = WAIT, again = WAIT;
	struct eg_error e = {""};
	struct signer s;
	struct worker w;
	struct eg_leaf *hit;

	signer_start(&s);
	worker_start(&w);
	assert_int_equal(signer_ca(&s, &cert, &key, &e), 0);
	assert_int_equal(signer_names(&s, names, 2, &e), 0);
	signer_client(&s, w.kept);
	assert_null(eg_mint_get(w.mint, "api.openai.com", &a.wait));
	assert_null(eg_mint_get(w.mint, "API.openai.com", &b.wait));
	assert_null(eg_mint_get(w.mint, "api.openai.com", &c.wait));
	eg_mint_cancel(w.mint, &c.wait);
	eg_mint_cancel(w.mint, &c.wait);
	assert_int_equal(a.calls, 0);
	run_until_called(&w, &a);
	assert_int_equal(b.calls, 1);
	assert_int_equal(c.calls, 0);
	assert_ptr_equal(a.leaf, b.leaf); /* one leaf, two references */
	assert_non_null(a.leaf);
	assert_string_equal(eg_leaf_name(a.leaf), "api.openai.com");
	hit = eg_mint_get(w.mint, "api.openai.com", &again.wait);
	assert_ptr_equal(hit, a.leaf);
	eg_mint_cancel(w.mint, &again.wait);
	eg_leaf_unref(hit);
	eg_leaf_unref(a.leaf);
	eg_leaf_unref(b.leaf);
	worker_stop(&w);
	signer_stop(&s);
}

/* A leaf of before the clock was set back is none for its clients, whose clock that is, too. */
static void the_clock_is_set_back(void **state)
{
	struct wait a = WAIT, hit = WAIT, b = WAIT;
	struct signer s, t;
	struct worker w;
	struct eg_leaf *kept;

	clock_off = 7200;
	signer_start(&s);
	worker_start(&w);
	assert_int_equal(signer_ca(&s, &cert, &key, NULL), 0);
	assert_int_equal(signer_names(&s, names, 2, NULL), 0);
	signer_client(&s, w.kept);
	assert_null(eg_mint_get(w.mint, "api.openai.com", &a.wait));
	run_until_called(&w, &a);
	assert_non_null(a.leaf);
	clock_off -= 1800; /* within the hour that a leaf is older than it is */
	kept = eg_mint_get(w.mint, "api.openai.com", &hit.wait);
	assert_ptr_equal(kept, a.leaf);
	eg_leaf_unref(kept);
	clock_off = 0;
	signer_stop(&s);
	signer_start(&t); /* by that clock, too */
	assert_int_equal(signer_ca(&t, &cert, &key, NULL), 0);
	assert_int_equal(signer_names(&t, names, 2, NULL), 0);
	signer_client(&t, w.kept);
	assert_null(eg_mint_get(w.mint, "api.openai.com", &b.wait));
	run_until_called(&w, &b);
	assert_non_null(b.leaf);
	assert_ptr_not_equal(a.leaf, b.leaf);
	kept = eg_mint_get(w.mint, "api.openai.com", &hit.wait);
	assert_ptr_equal(kept, b.leaf);
	eg_leaf_unref(kept);
	eg_leaf_unref(a.leaf);
	eg_leaf_unref(b.leaf);
	worker_stop(&w);
	signer_stop(&t);
}

/* While a reload is under way: the names in force, and those to come, each as long as may be. */
static void names_of_two_sets(void **state)
{
	enum { COUNT = 2 * 4096, LENGTH = 253 };
	const char **list = calloc(COUNT, sizeof(*list));
	char *text = malloc((size_t)COUNT * (LENGTH + 1)), long_label[61];
	struct eg_error e = {""};
	struct signer s;

	assert_non_null(list);
	assert_non_null(text);
	memset(long_label, 'l', 60);
	long_label[60] = '\0';
	for (int i = 0; i < COUNT; i++) {
		char *at = text + (size_t)i * (LENGTH + 1);

		snprintf(at, LENGTH + 1, "n%06d-%s.%s.%s.%s.example", i, long_label + 8, long_label,
			 long_label, long_label);
		assert_in_range(strlen(at), 250, LENGTH);
		list[i] = at;
	}
	signer_start(&s);
	assert_int_equal(signer_ca(&s, &cert, &key, &e), 0);
	assert_int_equal(signer_names(&s, list, COUNT, &e), 0);
	assert_string_equal(e.text, "");
	signer_stop(&s);
	free(list);
	free(text);
}

/* A client that trusts `roots` accepts what a signer with this pair has minted. */
static void served(const struct eg_buf *c, const struct eg_buf *k, const struct eg_buf *roots)
{
	struct eg_tls_server *server = eg_tls_server_create(NULL);
	struct eg_trust *trust = eg_trust_create(eg_buf_str(roots), NULL);
	struct eg_tls_client *client = eg_tls_client_create(trust, NULL);
	struct wait a = WAIT;
	struct signer s;
	struct worker w;
	struct pair p;

	signer_start(&s);
	worker_start(&w);
	assert_int_equal(signer_ca(&s, c, k, NULL), 0);
	assert_int_equal(signer_names(&s, names, 2, NULL), 0);
	signer_client(&s, w.kept);
	assert_null(eg_mint_get(w.mint, "x.openai.azure.com", &a.wait));
	run_until_called(&w, &a);
	assert_non_null(a.leaf);
	pair_open(&p);
	side_watch(&p.a, p.loop, p.fd[0]);
	side_watch(&p.b, p.loop, p.fd[1]);
	assert_int_equal(eg_stream_tls_connect(p.b.stream, client, "x.openai.azure.com", 443), 0);
	assert_int_equal(eg_stream_tls_accept(p.a.stream, server, a.leaf, "x.openai.azure.com"), 0);
	eg_leaf_unref(a.leaf);
	turn_until(&p, p.a.events && p.b.events);
	assert_int_equal(p.a.events, EG_STREAM_CONNECTED);
	assert_int_equal(p.b.events, EG_STREAM_CONNECTED);
	pair_close(&p);
	eg_tls_server_destroy(server);
	eg_tls_client_destroy(client);
	eg_trust_unref(trust);
	worker_stop(&w);
	signer_stop(&s);
}

static void the_leaf_serves_tls(void **state)
{
	served(&cert, &key, &root_cert);
}

/* The intermediate is from an authority between it and the root, which the file brings along. */
static void an_authority_of_three_tiers(void **state)
{
	struct made root = make_cert("root", NULL, NULL, -7200, 864000);
	struct made issuing = make_cert("issuing", NULL, &root, -7200, 864000);
	struct made other = make_cert("other", NULL, &root, -7200, 864000);
	struct made m =
		make_intermediate(&issuing, "critical,permitted;DNS:openai.azure.com", 86400);
	struct eg_buf roots, c, k;
	struct eg_error e = {""};

	eg_buf_init(&roots, 65536);
	eg_buf_init(&c, 65536);
	eg_buf_init_secret(&k, 65536);
	cert_pem(&roots, root.cert);
	cert_pem(&c, m.cert);
	key_pem(&k, m.key);
	cert_pem(&c, issuing.cert);
	served(&c, &k, &roots);
	cert_pem(&c, root.cert); /* clients have it */
	served(&c, &k, &roots);
	cert_pem(&c, other.cert);
	assert_null(eg_signer_create(eg_buf_str(&c), eg_buf_str(&k), &e));
	assert_non_null(strstr(e.text, "certificate 4: is not of the issuer of the one before"));
	eg_buf_clear(&c);
	cert_pem(&c, m.cert);
	assert_int_equal(eg_buf_append_str(&c, EG_STR("-----BEGIN CERTIFICATE-----\n!\n")), 0);
	assert_null(eg_signer_create(eg_buf_str(&c), eg_buf_str(&k), &e));
	assert_non_null(strstr(e.text, "certificate 2: expected PEM"));
	eg_buf_fini(&roots);
	eg_buf_fini(&c);
	eg_buf_fini(&k);
	unmake(&m);
	unmake(&other);
	unmake(&issuing);
	unmake(&root);
}

/* The one that was not used for longest makes room. */
static void so_many_are_kept(void **state)
{
	struct signer s;
	struct worker w;
	char name[64];

	signer_start(&s);
	worker_start(&w);
	eg_mint_set_room(w.mint, 4);
	assert_int_equal(signer_ca(&s, &cert, &key, NULL), 0);
	assert_int_equal(signer_names(&s, names, 2, NULL), 0);
	signer_client(&s, w.kept);
	for (int i = 0; i < 6; i++) {
		struct wait a = WAIT;

		snprintf(name, sizeof(name), "n%d.openai.azure.com", i);
		assert_null(eg_mint_get(w.mint, name, &a.wait));
		run_until_called(&w, &a);
		assert_non_null(a.leaf);
		eg_leaf_unref(a.leaf);
	}
	for (int i = 5; i >= 0; i--) {
		struct wait a = WAIT;
		struct eg_leaf *leaf;

		snprintf(name, sizeof(name), "n%d.openai.azure.com", i);
		leaf = eg_mint_get(w.mint, name, &a.wait);
		assert_true(i < 2 ? !leaf : leaf != NULL);
		if (!leaf) {
			run_until_called(&w, &a);
			leaf = a.leaf;
		}
		eg_leaf_unref(leaf);
	}
	worker_stop(&w);
	signer_stop(&s);
	(void)state;
}

static void refused_names(void **state)
{
	static const char *const asked[] = {"evil.example", "10.0.0.1", "openai.azure.com", ""};
	struct signer s;
	struct worker w;

	signer_start(&s);
	worker_start(&w);
	assert_int_equal(signer_ca(&s, &cert, &key, NULL), 0);
	assert_int_equal(signer_names(&s, names, 2, NULL), 0);
	signer_client(&s, w.kept);
	for (size_t i = 0; i < EG_ARRAY_SIZE(asked); i++) {
		struct wait a = WAIT;

		assert_null(eg_mint_get(w.mint, asked[i], &a.wait));
		run_until_called(&w, &a);
		assert_null(a.leaf);
		assert_int_equal(a.reason, EG_REASON_CA_NAME);
	}
	worker_stop(&w);
	signer_stop(&s);
}

static void too_long_a_name_is_told_later(void **state)
{
	struct wait a = WAIT;
	struct worker w;
	char name[400];

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	worker_start(&w);
	assert_null(eg_mint_get(w.mint, name, &a.wait));
	assert_int_equal(a.calls, 0);
	run_until_called(&w, &a);
	assert_int_equal(a.reason, EG_REASON_INTERNAL);
	worker_stop(&w);
}

static void a_dead_signer_is_replaced(void **state)
{
	struct wait a = WAIT, b = WAIT;
	struct signer s, t;
	struct worker w;

	signer_start(&s);
	worker_start(&w);
	assert_int_equal(signer_ca(&s, &cert, &key, NULL), 0);
	assert_int_equal(signer_names(&s, names, 2, NULL), 0);
	signer_client(&s, w.kept);
	kill(s.pid, SIGSTOP); /* takes nothing from its socket any more */
	assert_null(eg_mint_get(w.mint, "api.openai.com", &a.wait));
	for (int i = 0; i < 3; i++)
		assert_int_equal(eg_loop_turn(w.loop, 10), 0);
	assert_int_equal(a.calls, 0);
	signer_stop(&s);
	assert_null(eg_mint_get(w.mint, "x.openai.azure.com", &b.wait));
	signer_start(&t);
	assert_int_equal(signer_ca(&t, &cert, &key, NULL), 0);
	assert_int_equal(signer_names(&t, names, 2, NULL), 0);
	signer_client(&t, w.kept);
	run_until_called(&w, &a);
	run_until_called(&w, &b);
	assert_non_null(a.leaf);
	assert_non_null(b.leaf);
	eg_leaf_unref(a.leaf);
	eg_leaf_unref(b.leaf);
	worker_stop(&w);
	signer_stop(&t);
}

/* The signer took the request and died with it: it is asked again. */
static void a_lost_request_is_asked_again(void **state)
{
	struct wait a = WAIT;
	char message[4096];
	struct signer s;
	struct worker w;

	worker_start(&w);
	assert_null(eg_mint_get(w.mint, "api.openai.com", &a.wait));
	assert_true(recv(w.kept, message, sizeof(message), 0) > 0); /* taken, and no answer */
	signer_start(&s);
	assert_int_equal(signer_ca(&s, &cert, &key, NULL), 0);
	assert_int_equal(signer_names(&s, names, 2, NULL), 0);
	signer_client(&s, w.kept);
	run_until_called(&w, &a);
	assert_non_null(a.leaf);
	eg_leaf_unref(a.leaf);
	worker_stop(&w);
	signer_stop(&s);
}

static void another_socket_after_the_first_broke(void **state)
{
	struct wait a = WAIT;
	struct signer s;
	struct worker w;
	int pair[2];

	worker_start(&w);
	eg_fd_close(&w.kept);
	assert_null(eg_mint_get(w.mint, "api.openai.com", &a.wait));
	for (int i = 0; i < 3; i++)
		assert_int_equal(eg_loop_turn(w.loop, 0), 0);
	signer_start(&s);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(signer_ca(&s, &cert, &key, NULL), 0);
	assert_int_equal(signer_names(&s, names, 2, NULL), 0);
	w.kept = pair[1];
	signer_client(&s, w.kept);
	assert_int_equal(eg_mint_signer(w.mint, pair[0]), 0);
	run_until_called(&w, &a);
	assert_non_null(a.leaf);
	eg_leaf_unref(a.leaf);
	worker_stop(&w);
	signer_stop(&s);
}

/* A gateway in the wrong hands sends what it likes: refused, and the signer goes on. */
static void requests_that_are_junk(void **state)
{
	struct wait a = WAIT;
	unsigned char message[EG_MINT_MESSAGE_MAX] = {0};
	struct eg_mint_request *q = (void *)message;
	struct eg_mint_reply r;
	static const struct {
		uint16_t name, key;
		size_t n;
		int error;
	} rows[] = {
		{0, 0, 3, -EPROTO},	     /* shorter than a head */
		{16, 91, 20, -EPROTO},	     /* shorter than it says */
		{16, 91, 500, -EPROTO},	     /* longer */
		{300, 91, 8 + 391, -EPROTO}, /* a name past the limit */
		{16, 200, 8 + 216, -EPROTO}, /* a key past the limit */
		{0, 0, 8, -EINVAL},	     /* nothing */
		{16, 91, 8 + 107, -EINVAL},  /* zeros */
		{0, 0, 60000, -EPROTO},
	};
	struct signer s;
	struct worker w;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	signer_start(&s);
	worker_start(&w);
	assert_int_equal(signer_ca(&s, &cert, &key, NULL), 0);
	assert_int_equal(signer_names(&s, names, 2, NULL), 0);
	signer_client(&s, pair[1]);
	signer_client(&s, w.kept);
	assert_true(recv(pair[0], &r, sizeof(r), 0) == sizeof(r) && !r.id && r.chain_bytes);
	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		memset(message, 0, sizeof(message));
		q->id = (uint32_t)i + 1;
		q->name_bytes = rows[i].name;
		q->key_bytes = rows[i].key;
		assert_int_equal(send(pair[0], message, rows[i].n, 0), rows[i].n);
		assert_int_equal(recv(pair[0], &r, sizeof(r), 0), sizeof(r));
		if (r.error != rows[i].error)
			fail_msg("row %zu: %d; expected %d", i, r.error, rows[i].error);
		assert_int_equal(r.leaf_bytes + r.chain_bytes, 0);
	}
	assert_null(eg_mint_get(w.mint, "api.openai.com", &a.wait));
	run_until_called(&w, &a);
	assert_non_null(a.leaf);
	eg_leaf_unref(a.leaf);
	close(pair[0]);
	close(pair[1]);
	worker_stop(&w);
	signer_stop(&s);
}

/* An intermediate that has ended: no leaf, in time, with a reason. */
static void an_ended_intermediate(void **state)
{
	struct made ca = make_cert("root", NULL, NULL, -7200, 86400);
	struct made m = make_intermediate(&ca, "critical,permitted;DNS:api.openai.com", -5);
	struct wait a = WAIT;
	struct eg_buf c, k;
	struct signer s;
	struct worker w;

	eg_buf_init(&c, 65536);
	eg_buf_init_secret(&k, 65536);
	cert_pem(&c, m.cert);
	key_pem(&k, m.key);
	signer_start(&s);
	worker_start(&w);
	assert_int_equal(signer_ca(&s, &c, &k, NULL), 0);
	assert_int_equal(signer_names(&s, names, 2, NULL), 0);
	signer_client(&s, w.kept);
	assert_null(eg_mint_get(w.mint, "api.openai.com", &a.wait));
	run_until_called(&w, &a);
	assert_null(a.leaf);
	assert_int_equal(a.reason, EG_REASON_INTERNAL);
	eg_buf_fini(&c);
	eg_buf_fini(&k);
	unmake(&m);
	unmake(&ca);
	worker_stop(&w);
	signer_stop(&s);
}

/* One that has ended, or has not begun, takes the place of none that is valid; its time may come.
 */
static void an_intermediate_before_its_time(void **state)
{
	struct made ca = make_cert("root", NULL, NULL, -7200, 86400);
	struct made m = make_intermediate(&ca, "critical,permitted;DNS:api.openai.com", -5);
	struct wait a = WAIT;
	struct eg_error e = {""};
	struct eg_buf c, k;
	struct signer s;
	struct worker w;

	eg_buf_init(&c, 65536);
	eg_buf_init_secret(&k, 65536);
	cert_pem(&c, m.cert);
	key_pem(&k, m.key);
	signer_start(&s);
	worker_start(&w);
	assert_int_equal(signer_ca(&s, &cert, &key, &e), 0);
	assert_int_equal(signer_names(&s, names, 2, &e), 0);
	assert_int_equal(signer_ca(&s, &c, &k, &e), -EKEYEXPIRED);
	assert_non_null(strstr(e.text, "not valid now"));
	signer_client(&s, w.kept);
	assert_null(eg_mint_get(w.mint, "api.openai.com", &a.wait));
	run_until_called(&w, &a);
	assert_non_null(a.leaf);
	eg_leaf_unref(a.leaf);
	eg_buf_fini(&c);
	eg_buf_fini(&k);
	unmake(&m);
	unmake(&ca);
	worker_stop(&w);
	signer_stop(&s);
}

/* Answers that a signer would never give: refused or ignored, never a crash or a leaf. */
static void answers_that_are_junk(void **state)
{
	struct wait a = WAIT, b = WAIT;
	struct eg_mint_request q;
	struct worker w;
	unsigned char message[4096] = {0};
	struct eg_mint_reply *r = (void *)message;

	worker_start(&w);
	assert_null(eg_mint_get(w.mint, "api.openai.com", &a.wait));
	assert_true(recv(w.kept, message, sizeof(message), 0) > (ssize_t)sizeof(q));
	memcpy(&q, message, sizeof(q));
	assert_int_equal(q.name_bytes, strlen("api.openai.com"));
	assert_int_equal(send(w.kept, "x", 1, 0), 1); /* too short */
	memset(message, 0, sizeof(message));
	r->id = q.id + 7; /* nobody's */
	assert_int_equal(send(w.kept, message, sizeof(*r), 0), sizeof(*r));
	for (int i = 0; i < 4; i++)
		assert_int_equal(eg_loop_turn(w.loop, 5), 0);
	assert_int_equal(a.calls, 0);
	r->id = q.id;
	r->leaf_bytes = 10; /* no certificate */
	r->chain_bytes = 10;
	assert_int_equal(send(w.kept, message, sizeof(*r) + 20, 0), sizeof(*r) + 20);
	run_until_called(&w, &a);
	assert_null(a.leaf);
	assert_int_equal(a.reason, EG_REASON_INTERNAL);
	assert_null(eg_mint_get(w.mint, "api.openai.com", &b.wait));
	assert_true(recv(w.kept, message, sizeof(message), 0) > 0);
	memcpy(&q, message, sizeof(q));
	memset(message, 0, sizeof(message)); /* another intermediate, of nothing */
	assert_int_equal(send(w.kept, message, sizeof(*r), 0), sizeof(*r));
	r->chain_bytes = 100;
	assert_int_equal(send(w.kept, message, sizeof(*r) + 100, 0), sizeof(*r) + 100);
	memset(message, 0, sizeof(message));
	r->id = q.id;
	r->leaf_bytes = 60000; /* longer than the message */
	assert_int_equal(send(w.kept, message, sizeof(*r), 0), sizeof(*r));
	run_until_called(&w, &b);
	assert_null(b.leaf);
	worker_stop(&w);
}

/* A new intermediate for new names: refused first, then served, nothing restarted. */
static void a_new_intermediate_and_new_names(void **state)
{
	struct wait a = WAIT, b = WAIT, c = WAIT;
	struct eg_buf cert2, key2;
	struct eg_error e = {""};
	struct eg_leaf *old, *hit;
	struct signer s;
	struct worker w;

	eg_buf_init(&cert2, 65536);
	eg_buf_init_secret(&key2, 65536);
	assert_int_equal(eg_ca_create_intermediate(eg_buf_str(&root_cert), eg_buf_str(&root_key),
						   more_names, 2, 90, &cert2, &key2, &e),
			 0);
	signer_start(&s);
	worker_start(&w);
	assert_int_equal(signer_names(&s, names, 2, &e), 0); /* names may come before the CA */
	assert_int_equal(signer_ca(&s, &cert, &key, &e), 0);
	signer_client(&s, w.kept);
	assert_null(eg_mint_get(w.mint, "api.openai.com", &a.wait));
	run_until_called(&w, &a);
	old = a.leaf;
	assert_int_equal(signer_names(&s, more_names, 2, &e), 0);
	assert_null(eg_mint_get(w.mint, "api.anthropic.com", &b.wait));
	run_until_called(&w, &b);
	assert_int_equal(b.reason, EG_REASON_CA_NAME); /* governed, not permitted yet */
	/* A bad pair is refused whole and changes nothing. */
	assert_int_equal(signer_ca(&s, &cert2, &key, &e), -EINVAL);
	assert_non_null(strstr(e.text, "does not belong"));
	assert_int_equal(signer_ca(&s, &cert2, &key2, &e), 0);
	assert_null(eg_mint_get(w.mint, "api.anthropic.com", &c.wait));
	run_until_called(&w, &c);
	assert_non_null(c.leaf);
	/* The old leaf serves on while another is minted in the background. */
	hit = eg_mint_get(w.mint, "api.openai.com", &a.wait);
	assert_ptr_equal(hit, old);
	eg_leaf_unref(hit);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(eg_loop_turn(w.loop, 10), 0);
		hit = eg_mint_get(w.mint, "api.openai.com", &a.wait);
		assert_non_null(hit);
		eg_leaf_unref(hit);
		if (hit != old)
			break;
	}
	assert_ptr_not_equal(hit, old);
	eg_leaf_unref(old);
	eg_leaf_unref(c.leaf);
	eg_buf_fini(&cert2);
	eg_buf_fini(&key2);
	worker_stop(&w);
	signer_stop(&s);
}

/* No other name is asked for meanwhile: the signer itself says that there is another intermediate.
 */
static void a_leaf_in_use_is_minted_anew(void **state)
{
	struct wait a = WAIT;
	struct eg_buf cert2, key2;
	struct eg_error e = {""};
	struct eg_leaf *old, *hit = NULL;
	struct signer s;
	struct worker w;

	eg_buf_init(&cert2, 65536);
	eg_buf_init_secret(&key2, 65536);
	assert_int_equal(eg_ca_create_intermediate(eg_buf_str(&root_cert), eg_buf_str(&root_key),
						   names, 2, 90, &cert2, &key2, &e),
			 0);
	signer_start(&s);
	worker_start(&w);
	assert_int_equal(signer_names(&s, names, 2, &e), 0);
	assert_int_equal(signer_ca(&s, &cert, &key, &e), 0);
	signer_client(&s, w.kept);
	assert_null(eg_mint_get(w.mint, "api.openai.com", &a.wait));
	run_until_called(&w, &a);
	old = a.leaf;
	assert_int_equal(signer_ca(&s, &cert2, &key2, &e), 0);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(eg_loop_turn(w.loop, 10), 0);
		hit = eg_mint_get(w.mint, "api.openai.com", &a.wait);
		assert_non_null(hit);
		eg_leaf_unref(hit);
		if (hit != old)
			break;
	}
	assert_ptr_not_equal(hit, old);
	eg_leaf_unref(old);
	eg_buf_fini(&cert2);
	eg_buf_fini(&key2);
	worker_stop(&w);
	signer_stop(&s);
}

static void control_refuses_what_is_bad(void **state)
{
	static const char *const bad[] = {"api.openai.com", "not a name"};
	struct eg_mint_control short_one = {.type = EG_MINT_CA, .sequence = 77};
	struct eg_error e = {""};
	struct eg_buf junk;
	struct signer s;
	int null_fd;

	eg_buf_init(&junk, 100);
	assert_int_equal(eg_buf_append(&junk, "junk", 4), 0);
	signer_start(&s);
	assert_int_equal(signer_ca(&s, &junk, &key, &e), -EINVAL);
	assert_non_null(strstr(e.text, "intermediate certificate: expected PEM"));
	assert_null(strstr(e.text, "PRIVATE"));
	assert_int_equal(signer_ca(&s, &cert, &junk, &e), -EINVAL);
	assert_int_equal(signer_names(&s, bad, 2, &e), -EINVAL);
	assert_non_null(strstr(e.text, "\"not a name\""));
	assert_int_equal(send(s.control, &short_one, sizeof(short_one), 0), sizeof(short_one));
	assert_int_equal(eg_mint_control_wait(s.control, 77, 5000, &e), -EPROTO);
	assert_int_equal(send(s.control, "x", 1, 0), 1); /* logged, and on it goes */
	null_fd = memfd_create("empty", MFD_CLOEXEC);
	assert_int_equal(eg_mint_control_ca(s.control, 78, null_fd, null_fd), 0);
	assert_int_equal(eg_mint_control_wait(s.control, 78, 5000, &e), -ENODATA);
	close(null_fd);
	assert_int_equal(signer_ca(&s, &cert, &key, &e), 0);
	assert_int_equal(eg_mint_control_wait(s.control, 999, 10, &e), -ETIMEDOUT);
	eg_buf_fini(&junk);
	signer_stop(&s);
	assert_int_equal(eg_mint_control_wait(-1, 1, 10, &e), -EBADF);
}

static void a_ping_is_answered_after_what_came_before(void **state)
{
	struct eg_mint_control_reply r;
	struct eg_error e = {""};
	struct signer s;
	int got = -EAGAIN;

	signer_start(&s);
	assert_int_equal(eg_mint_control_ping(s.control, 41), 0);
	for (int i = 0; i < 500 && got == -EAGAIN; i++) {
		got = eg_mint_control_receive(s.control, &r);
		usleep(10000);
	}
	assert_int_equal(got, 0);
	assert_int_equal(r.type, EG_MINT_PING);
	assert_int_equal(r.sequence, 41);
	assert_int_equal(r.error, -ENOKEY); /* alive, and of no use yet */
	assert_string_equal(r.text, "there is no CA yet");
	assert_int_equal(signer_ca(&s, &cert, &cert, &e), -EINVAL);
	assert_int_equal(eg_mint_control_ping(s.control, 43), 0);
	assert_int_equal(eg_mint_control_wait(s.control, 43, 5000, &e), -ENOKEY);
	assert_non_null(strstr(e.text, "intermediate key: expected PEM"));
	assert_int_equal(signer_ca(&s, &cert, &key, &e), 0);
	assert_int_equal(eg_mint_control_ping(s.control, 42), 0);
	assert_int_equal(eg_mint_control_wait(s.control, 42, 5000, &e), 0);
	signer_stop(&s);
	assert_int_equal(eg_mint_control_ping(-1, 43), -EBADF);
}

/* A signer that is slow to start finds both at once: what is governed, and a request for it. */
static void names_said_before_a_request_hold_for_it(void **state)
{
	int c = memfd_of(&cert), k = memfd_of(&key);
	struct wait a = WAIT;
	struct signer s;
	struct worker w;

	signer_start(&s);
	worker_start(&w);
	assert_int_equal(kill(s.pid, SIGSTOP), 0);
	assert_int_equal(eg_mint_control_ca(s.control, 1, c, k), 0);
	assert_int_equal(eg_mint_control_client(s.control, 2, w.kept), 0);
	assert_int_equal(eg_mint_control_names(s.control, 3, names, 2), 0);
	assert_null(eg_mint_get(w.mint, "api.openai.com", &a.wait));
	assert_int_equal(kill(s.pid, SIGCONT), 0);
	run_until_called(&w, &a);
	assert_int_equal(a.reason, EG_REASON_OK);
	assert_non_null(a.leaf);
	eg_leaf_unref(a.leaf);
	close(c);
	close(k);
	worker_stop(&w);
	signer_stop(&s);
}

static void the_signer_ends_with_its_sockets(void **state)
{
	struct signer s;
	struct worker w;
	int status;

	signer_start(&s);
	worker_start(&w);
	signer_client(&s, w.kept);
	eg_fd_close(&s.control);
	assert_int_equal(waitpid(s.pid, &status, WNOHANG), 0); /* a worker is still there */
	worker_stop(&w);
	assert_int_equal(waitpid(s.pid, &status, 0), s.pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int make_all(void **state)
{
	eg_log_init("test", EG_LOG_ERROR);
	eg_buf_init(&root_cert, 65536);
	eg_buf_init_secret(&root_key, 65536);
	eg_buf_init(&cert, 65536);
	eg_buf_init_secret(&key, 65536);
	return eg_ca_create_root("Egret test root", 3650, &root_cert, &root_key, NULL) ||
	       eg_ca_create_intermediate(eg_buf_str(&root_cert), eg_buf_str(&root_key), names, 2,
					 90, &cert, &key, NULL);
}

static int free_all(void **state)
{
	eg_buf_fini(&root_cert);
	eg_buf_fini(&root_key);
	eg_buf_fini(&cert);
	eg_buf_fini(&key);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(minted_once_for_all_who_wait),
		cmocka_unit_test(the_clock_is_set_back),
		cmocka_unit_test(names_of_two_sets),
		cmocka_unit_test(the_leaf_serves_tls),
		cmocka_unit_test(an_authority_of_three_tiers),
		cmocka_unit_test(so_many_are_kept),
		cmocka_unit_test(refused_names),
		cmocka_unit_test(too_long_a_name_is_told_later),
		cmocka_unit_test(a_dead_signer_is_replaced),
		cmocka_unit_test(a_lost_request_is_asked_again),
		cmocka_unit_test(another_socket_after_the_first_broke),
		cmocka_unit_test(answers_that_are_junk),
		cmocka_unit_test(requests_that_are_junk),
		cmocka_unit_test(an_ended_intermediate),
		cmocka_unit_test(an_intermediate_before_its_time),
		cmocka_unit_test(a_new_intermediate_and_new_names),
		cmocka_unit_test(a_leaf_in_use_is_minted_anew),
		cmocka_unit_test(control_refuses_what_is_bad),
		cmocka_unit_test(a_ping_is_answered_after_what_came_before),
		cmocka_unit_test(names_said_before_a_request_hold_for_it),
		cmocka_unit_test(the_signer_ends_with_its_sockets),
	};

	return cmocka_run_group_tests(tests, make_all, free_all);
}
