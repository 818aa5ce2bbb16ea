/* SPDX-License-Identifier: Apache-2.0 */
/* The gateway's half of minting: leaves by name, asked for once however many wait. */
#include "net/mint.h"

#include <ctype.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "base/log.h"
#include "net/mint_wire.h"
#include "net/tls_impl.h"

#define BUCKETS		     1024u
#define ASK_AGAIN_MS	     1000u
#define IDLE_MS		     3600000u
#define GIVE_UP_MS	     8000u /* before the client does, so that the record says why */
#define KEY_SECONDS	     86400
#define LEAST_SECONDS	     60		/* a leaf that ends sooner is not shown to a client */
#define RENEW_SECONDS	     (5 * 3600) /* before the end: in the background */
#define RENEW_FAILED_SECONDS 60		/* before the background tries again */

struct entry {
	struct eg_list bucket;
	struct eg_list used;  /* the newest last */
	struct eg_list asked; /* in m->asked while a request is open */
	struct eg_list waits;
	struct eg_leaf *leaf; /* NULL until the first answer */
	int64_t not_before, not_after, renew_at;
	uint64_t sent_ms, give_up_ms; /* of the open request */
	EVP_PKEY *key;		      /* the key that the open request names */
	uint32_t id;		      /* of the open request; 0: none */
	uint32_t chain;		      /* generation of the intermediate that signed the leaf */
	char name[256];
};

struct eg_mint {
	struct eg_loop *loop;
	struct eg_watch watch;
	struct eg_timer timer;
	int fd;
	EVP_PKEY *key;
	unsigned char *key_der;
	size_t key_bytes;
	int64_t key_until;
	STACK_OF(X509) * chain; /* of the last answer */
	unsigned char *chain_der;
	size_t chain_bytes;
	uint32_t chain_generation;
	uint32_t next_id;
	uint64_t warned_ms;
	struct eg_list bucket[BUCKETS];
	struct eg_list used, asked;
	struct eg_list failed; /* waits that never became a request: told by the timer */
	size_t count, room;
};

/* The timer is armed for good, since only arming it the first time may need memory. */
static void wake_in(struct eg_mint *m, uint64_t delay_ms)
{
	if (eg_timer_set(m->loop, &m->timer, delay_ms))
		eg_error("mint: the timer could not be set");
}

static void warn_sometimes(struct eg_mint *m, const char *what, const char *why)
{
	uint64_t now = eg_loop_now_ms(m->loop);

	if (m->warned_ms && now - m->warned_ms < 10000)
		return;
	m->warned_ms = now;
	eg_warn("mint: %s: %s", what, why);
}

/* ---- the key ---- */

/* 0 with a key that is at most a day old, or -ENOMEM. */
static int fresh_key(struct eg_mint *m)
{
	int64_t now = (int64_t)time(NULL);
	unsigned char *der = NULL;
	EVP_PKEY *key;
	int n;

	if (m->key && now < m->key_until)
		return 0;
	key = EVP_EC_gen("P-256");
	n = key ? i2d_PUBKEY(key, &der) : -1;
	if (n <= 0 || n > (int)EG_MINT_KEY_MAX) {
		EVP_PKEY_free(key);
		OPENSSL_free(der);
		ERR_clear_error();
		return m->key ? 0 : -ENOMEM; /* the old one serves until there is another */
	}
	EVP_PKEY_free(m->key);
	OPENSSL_free(m->key_der);
	m->key = key;
	m->key_der = der;
	m->key_bytes = (size_t)n;
	m->key_until = now + KEY_SECONDS;
	return 0;
}

/* ---- the cache ---- */

static struct eg_list *bucket_of(struct eg_mint *m, const char *name)
{
	uint32_t h = 2166136261u;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619u;
	return &m->bucket[h % BUCKETS];
}

static struct entry *find(struct eg_mint *m, const char *name)
{
	struct eg_list *head = bucket_of(m, name), *i;

	eg_list_for_each (i, head) {
		struct entry *e = eg_container_of(i, struct entry, bucket);

		if (!strcmp(e->name, name))
			return e;
	}
	return NULL;
}

static void close_request(struct entry *e)
{
	eg_list_remove(&e->asked);
	EVP_PKEY_free(e->key);
	e->key = NULL;
	e->id = 0;
}

static void forget(struct eg_mint *m, struct entry *e)
{
	close_request(e);
	eg_list_remove(&e->bucket);
	eg_list_remove(&e->used);
	eg_leaf_unref(e->leaf);
	free(e);
	m->count--;
}

/* Makes room by forgetting the leaf not used for longest; one that is waited for stays. */
static bool make_room(struct eg_mint *m)
{
	struct eg_list *i;

	if (m->count < m->room)
		return true;
	eg_list_for_each (i, &m->used) {
		struct entry *e = eg_container_of(i, struct entry, used);

		if (eg_list_empty(&e->waits)) {
			forget(m, e);
			return true;
		}
	}
	return false;
}

void eg_mint_set_room(struct eg_mint *m, size_t leaves)
{
	m->room = leaves;
}

static struct entry *add(struct eg_mint *m, const char *name)
{
	struct entry *e = make_room(m) ? calloc(1, sizeof(*e)) : NULL;

	if (!e)
		return NULL;
	eg_str_copy(e->name, sizeof(e->name), eg_str_from(name));
	eg_list_append(bucket_of(m, name), &e->bucket);
	eg_list_append(&m->used, &e->used);
	eg_list_init(&e->asked);
	eg_list_init(&e->waits);
	m->count++;
	return e;
}

/* ---- asking ---- */

static void drop_socket(struct eg_mint *m, const char *why)
{
	warn_sometimes(m, "the socket to the signer is broken", why);
	eg_watch_remove(m->loop, &m->watch);
	eg_fd_close(&m->fd);
}

static void send_request(struct eg_mint *m, struct entry *e)
{
	struct eg_mint_request q = {.id = e->id,
				    .name_bytes = (uint16_t)strlen(e->name),
				    .key_bytes = (uint16_t)m->key_bytes};
	struct iovec v[3] = {{&q, sizeof(q)}, {e->name, q.name_bytes}, {m->key_der, m->key_bytes}};
	struct msghdr message = {.msg_iov = v, .msg_iovlen = 3};

	e->sent_ms = eg_loop_now_ms(m->loop);
	if (m->fd < 0)
		return; /* the timer asks again; eg_mint_signer() may have come by then */
	if (sendmsg(m->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN &&
	    errno != EINTR && errno != ENOBUFS)
		drop_socket(m, strerror(errno));
}

/* Opens a request: 0 or -ENOMEM. */
static int ask(struct eg_mint *m, struct entry *e)
{
	if (e->id)
		return 0;
	if (fresh_key(m))
		return -ENOMEM;
	if (eg_list_empty(&m->asked))
		wake_in(m, eg_list_empty(&m->failed) ? ASK_AGAIN_MS : 0);
	EVP_PKEY_up_ref(m->key);
	e->key = m->key;
	e->id = ++m->next_id ? m->next_id : ++m->next_id;
	e->give_up_ms = eg_loop_now_ms(m->loop) + GIVE_UP_MS;
	eg_list_append(&m->asked, &e->asked);
	send_request(m, e);
	return 0;
}

/* Moves all of `from` to the end of `to`. */
static void take_waits(struct eg_list *from, struct eg_list *to)
{
	while (!eg_list_empty(from)) {
		struct eg_list *i = from->next;

		eg_list_remove(i);
		eg_list_append(to, i);
	}
}

/* Everyone who waits is told; any of them may ask again, or cancel another. */
static void tell(struct eg_list *waits, struct eg_leaf *leaf, enum eg_reason reason)
{
	while (!eg_list_empty(waits)) {
		struct eg_mint_wait *w = eg_container_of(waits->next, struct eg_mint_wait, link);

		eg_list_remove(&w->link);
		w->done(w, leaf ? eg_leaf_ref(leaf) : NULL, reason);
	}
}

/*
 * The request came to nothing: who waits for it goes to `waits`, to be told when the entry is done
 * with. A leaf that is there serves on, as long as it lasts.
 */
static void refuse(struct eg_mint *m, struct entry *e, struct eg_list *waits)
{
	close_request(e);
	take_waits(&e->waits, waits);
	e->renew_at = (int64_t)time(NULL) + RENEW_FAILED_SECONDS;
	if (!e->leaf)
		forget(m, e);
}

static void on_timer(struct eg_timer *t)
{
	struct eg_mint *m = eg_container_of(t, struct eg_mint, timer);
	uint64_t now = eg_loop_now_ms(m->loop);
	struct eg_list failed, waits, *i, *next;

	eg_list_init(&failed);
	eg_list_init(&waits);
	take_waits(&m->failed, &failed);
	eg_list_for_each_safe (i, next, &m->asked) {
		struct entry *e = eg_container_of(i, struct entry, asked);

		if (now >= e->give_up_ms) {
			warn_sometimes(m, e->name, "the signer gave no answer");
			refuse(m, e, &waits);
		} else if (now - e->sent_ms >= ASK_AGAIN_MS) {
			send_request(m, e);
		}
	}
	tell(&failed, NULL, EG_REASON_INTERNAL);
	tell(&waits, NULL, EG_REASON_NO_LEAF);
	if (!eg_list_empty(&m->failed))
		wake_in(m, 0);
	else
		wake_in(m, eg_list_empty(&m->asked) ? IDLE_MS : ASK_AGAIN_MS);
}

/* ---- answers ---- */

static STACK_OF(X509) * parse_chain(const unsigned char *der, size_t n)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	const unsigned char *p = der;
	bool good = chain && n;

	while (good && p < der + n) {
		X509 *x = d2i_X509(NULL, &p, der + n - p);

		good = x && sk_X509_push(chain, x);
		if (!good)
			X509_free(x);
	}
	if (good)
		return chain;
	sk_X509_pop_free(chain, X509_free);
	return NULL;
}

/* Parses the intermediate, and what stands above it, when they are others than the last ones. */
static int take_chain(struct eg_mint *m, const unsigned char *der, size_t n)
{
	STACK_OF(X509) * chain;
	unsigned char *copy;

	if (m->chain && n == m->chain_bytes && !memcmp(der, m->chain_der, n))
		return 0;
	chain = parse_chain(der, n);
	copy = malloc(n ? n : 1);
	if (!chain || !copy) {
		sk_X509_pop_free(chain, X509_free);
		free(copy);
		ERR_clear_error();
		return -EINVAL;
	}
	memcpy(copy, der, n);
	sk_X509_pop_free(m->chain, X509_free);
	free(m->chain_der);
	m->chain = chain;
	m->chain_der = copy;
	m->chain_bytes = n;
	m->chain_generation++;
	return 0;
}

static int take_leaf(struct eg_mint *m, struct entry *e, const unsigned char *der, size_t n)
{
	STACK_OF(X509) *chain = X509_chain_up_ref(m->chain);
	const unsigned char *p = der;
	X509 *x = d2i_X509(NULL, &p, (long)n);
	struct eg_leaf *leaf;
	struct tm begin, end;

	if (!x || !chain || X509_check_private_key(x, e->key) != 1 ||
	    !ASN1_TIME_to_tm(X509_get0_notBefore(x), &begin) ||
	    !ASN1_TIME_to_tm(X509_get0_notAfter(x), &end)) {
		X509_free(x);
		sk_X509_pop_free(chain, X509_free);
		ERR_clear_error();
		return -EINVAL;
	}
	EVP_PKEY_up_ref(e->key);
	e->not_before = (int64_t)timegm(&begin);
	e->not_after = (int64_t)timegm(&end);
	/* An intermediate near its end gives short leaves: half of what is left is early enough. */
	e->renew_at = EG_MAX(e->not_after - RENEW_SECONDS,
			     (int64_t)time(NULL) + (e->not_after - (int64_t)time(NULL)) / 2);
	leaf = tls_leaf_create(e->name, x, chain, e->key, e->renew_at);
	if (!leaf)
		return -ENOMEM;
	eg_leaf_unref(e->leaf);
	e->leaf = leaf;
	e->chain = m->chain_generation;
	return 0;
}

static void on_reply(struct eg_mint *m, const unsigned char *p, size_t n)
{
	struct entry *e = NULL;
	struct eg_mint_reply r;
	struct eg_list waits, *i;
	struct eg_leaf *leaf;

	if (n < sizeof(r))
		return;
	memcpy(&r, p, sizeof(r));
	if (!r.id) {
		if (r.error || r.leaf_bytes || n != sizeof(r) + r.chain_bytes ||
		    take_chain(m, p + sizeof(r), r.chain_bytes))
			warn_sometimes(m, "another intermediate",
				       "the signer's word is unreadable");
		return;
	}
	eg_list_init(&waits);
	eg_list_for_each (i, &m->asked)
		if (eg_container_of(i, struct entry, asked)->id == r.id)
			e = eg_container_of(i, struct entry, asked);
	if (!e)
		return; /* answered before, given up, or forgotten */
	if (r.error == -ENOKEY)
		return; /* the signer is just starting: asked again by the timer */
	if (r.error) {
		bool name = r.error == -EPERM || r.error == -EINVAL;

		warn_sometimes(m, e->name, strerror(-r.error));
		refuse(m, e, &waits);
		tell(&waits, NULL, name ? EG_REASON_CA_NAME : EG_REASON_INTERNAL);
		return;
	}
	if (n != sizeof(r) + r.leaf_bytes + r.chain_bytes ||
	    take_chain(m, p + sizeof(r) + r.leaf_bytes, r.chain_bytes) ||
	    take_leaf(m, e, p + sizeof(r), r.leaf_bytes)) {
		warn_sometimes(m, e->name, "the signer's answer is unreadable");
		refuse(m, e, &waits);
		tell(&waits, NULL, EG_REASON_INTERNAL);
		return;
	}
	close_request(e);
	take_waits(&e->waits, &waits);
	leaf = eg_leaf_ref(e->leaf);
	tell(&waits, leaf, EG_REASON_OK);
	eg_leaf_unref(leaf);
}

static void on_ready(struct eg_watch *w, uint32_t events)
{
	static _Thread_local unsigned char buffer[EG_MINT_MESSAGE_MAX];
	struct eg_mint *m = eg_container_of(w, struct eg_mint, watch);
	ssize_t n;

	(void)events;
	n = recv(m->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
	if (n > 0)
		on_reply(m, buffer, (size_t)n);
	else if (n == 0)
		drop_socket(m, "the signer closed it");
	else if (errno != EAGAIN && errno != EINTR)
		drop_socket(m, strerror(errno));
}

/* ---- the owner's calls ---- */

int eg_mint_signer(struct eg_mint *m, int signer_fd)
{
	int flags = fcntl(signer_fd, F_GETFL), fd = signer_fd, r;
	struct eg_list *i;

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK)) {
		r = -errno;
		eg_fd_close(&fd);
		return r;
	}
	if (m->fd >= 0) {
		eg_watch_remove(m->loop, &m->watch);
		eg_fd_close(&m->fd);
	}
	r = eg_watch_add(m->loop, &m->watch, fd, EPOLLIN);
	if (r) {
		eg_fd_close(&fd);
		return r;
	}
	m->fd = fd;
	eg_list_for_each (i, &m->asked)
		send_request(m, eg_container_of(i, struct entry, asked));
	return 0;
}

static int read_chain_pem(struct eg_mint *m, struct eg_str pem)
{
	BIO *b = BIO_new_mem_buf(pem.p ? pem.p : "", (int)pem.n);
	X509 *x = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
	unsigned char *der = NULL;
	int n = x ? i2d_X509(x, &der) : -1;
	int r = n > 0 ? take_chain(m, der, (size_t)n) : -EINVAL;

	BIO_free(b);
	X509_free(x);
	OPENSSL_free(der);
	ERR_clear_error();
	return r;
}

struct eg_mint *eg_mint_create(struct eg_loop *l, int signer_fd, struct eg_str chain_pem,
			       struct eg_error *e)
{
	struct eg_mint *m = calloc(1, sizeof(*m));
	int r = -ENOMEM;

	if (!m) {
		eg_fd_close(&signer_fd);
		(void)eg_error_set(e, r, "mint: out of memory");
		return NULL;
	}
	m->loop = l;
	m->fd = m->watch.fd = -1;
	m->watch.ready = on_ready;
	m->room = EG_MINT_LEAVES;
	eg_timer_init(&m->timer, on_timer);
	eg_list_init(&m->used);
	eg_list_init(&m->asked);
	eg_list_init(&m->failed);
	for (size_t i = 0; i < BUCKETS; i++)
		eg_list_init(&m->bucket[i]);
	r = eg_mint_signer(m, signer_fd);
	if (r)
		(void)eg_error_set(e, r, "mint: the signer's socket: %s", strerror(-r));
	else if ((r = read_chain_pem(m, chain_pem)))
		(void)eg_error_set(e, r, "mint: the intermediate certificate: expected PEM");
	else if ((r = fresh_key(m)))
		(void)eg_error_set(e, r, "mint: no key could be made");
	else if ((r = eg_timer_set(l, &m->timer, IDLE_MS)))
		(void)eg_error_set(e, r, "mint: out of memory");
	if (!r)
		return m;
	eg_mint_destroy(m);
	return NULL;
}

void eg_mint_destroy(struct eg_mint *m)
{
	struct eg_list waits, *i, *next;

	if (!m)
		return;
	eg_list_init(&waits);
	take_waits(&m->failed, &waits);
	eg_list_for_each_safe (i, next, &m->used) {
		struct entry *e = eg_container_of(i, struct entry, used);

		take_waits(&e->waits, &waits);
		forget(m, e);
	}
	/* Each is left in no list, so that its owner may still cancel it. */
	eg_list_for_each_safe (i, next, &waits)
		eg_list_remove(i);
	eg_timer_cancel(m->loop, &m->timer);
	eg_watch_remove(m->loop, &m->watch);
	eg_fd_close(&m->fd);
	EVP_PKEY_free(m->key);
	OPENSSL_free(m->key_der);
	sk_X509_pop_free(m->chain, X509_free);
	free(m->chain_der);
	free(m);
}

struct eg_leaf *eg_mint_get(struct eg_mint *m, const char *name, struct eg_mint_wait *w)
{
	int64_t now = (int64_t)time(NULL);
	struct entry *e = NULL;
	char lower[256];
	size_t n = 0;

	eg_list_init(&w->link);
	for (; name[n] && n + 1 < sizeof(lower); n++)
		lower[n] = (char)tolower((unsigned char)name[n]);
	lower[n] = '\0';
	if (!name[n])
		e = find(m, lower);
	if (!e && !name[n])
		e = add(m, lower);
	if (e) {
		eg_list_remove(&e->used);
		eg_list_append(&m->used, &e->used);
	}
	/* Minted by a clock that was ahead, it is not valid yet, and there is no other. */
	if (e && e->leaf && now >= e->not_before && now + LEAST_SECONDS < e->not_after) {
		/* In the background; if it can't be asked now, the next get tries again. */
		if (now >= e->renew_at || e->chain != m->chain_generation)
			(void)!ask(m, e);
		return eg_leaf_ref(e->leaf);
	}
	if (e && !ask(m, e)) {
		eg_list_append(&e->waits, &w->link);
		return NULL;
	}
	if (e && !e->leaf && eg_list_empty(&e->waits))
		forget(m, e);
	eg_list_append(&m->failed, &w->link);
	wake_in(m, 0);
	return NULL;
}

void eg_mint_cancel(struct eg_mint *m, struct eg_mint_wait *w)
{
	(void)m;
	if (w->link.next)
		eg_list_remove(&w->link);
}
