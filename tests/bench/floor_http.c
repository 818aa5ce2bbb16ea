/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP floor: as the byte floor, with what any HTTP proxy must do beside it. Heads are read,
 * the Authorization line is replaced, bodies are followed to their end, and connections to the
 * provider come from a pool. No log, no limits, no retries.
 */
#include "floor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "h1.h"

#define HEAD_BYTES 16384
#define POOL_MAX   256

struct upstream;

struct client {
	int type; /* CLIENT */
	struct bench_conn c;
	char *text; /* of a head that is not whole */
	size_t used;
	bool in_body, dead;
	struct bench_framing body;
	struct upstream *upstream; /* while a request is answered */
	struct client *next_dead;
};

struct upstream {
	int type; /* UPSTREAM */
	struct bench_conn c;
	char *text;
	size_t used;
	bool in_body, dead, close;
	struct bench_framing body;
	struct client *client;
	char *early; /* of the request, before the connection is established */
	size_t early_length;
	struct upstream *next; /* of the pool, or of the dead */
};

enum { CLIENT, UPSTREAM };

static struct client *dead_clients;
static struct upstream *dead_upstreams, *pool;
static size_t pooled;

static void drop_upstream(struct upstream *u)
{
	if (u->dead)
		return;
	u->dead = true;
	bench_close(&u->c);
	u->next = dead_upstreams;
	dead_upstreams = u;
}

static void drop_client(struct client *k)
{
	if (k->dead)
		return;
	k->dead = true;
	bench_close(&k->c);
	if (k->upstream)
		drop_upstream(k->upstream);
	k->next_dead = dead_clients;
	dead_clients = k;
}

static void turn_end(void)
{
	while (dead_clients) {
		struct client *k = dead_clients;

		dead_clients = k->next_dead;
		free(k->text);
		free(k);
	}
	while (dead_upstreams) {
		struct upstream *u = dead_upstreams;

		dead_upstreams = u->next;
		free(u->text);
		free(u->early);
		free(u);
	}
}

static void accepted(int fd, SSL_CTX *ctx)
{
	struct client *k = bench_alloc(sizeof(*k));

	k->type = CLIENT;
	bench_accept(&k->c, floor_epoll, fd, ctx, k);
}

/* ---- the pool ---- */

static struct upstream *lease(struct client *k)
{
	struct upstream *u = pool;

	if (u) {
		pool = u->next;
		pooled--;
	} else {
		u = bench_alloc(sizeof(*u));
		u->type = UPSTREAM;
		if (floor_dial(&u->c, u) < 0) {
			u->dead = true;
			free(u);
			return NULL;
		}
	}
	u->client = k;
	k->upstream = u;
	return u;
}

static void give_back(struct upstream *u)
{
	u->client->upstream = NULL;
	u->client = NULL;
	u->in_body = false;
	if (u->close || pooled >= POOL_MAX) {
		drop_upstream(u);
		return;
	}
	u->next = pool;
	pool = u;
	pooled++;
}

static void unpool(struct upstream *u)
{
	for (struct upstream **at = &pool; *at; at = &(*at)->next)
		if (*at == u) {
			*at = u->next;
			pooled--;
			return;
		}
}

/* ---- requests ---- */

static void to_upstream(struct upstream *u, const char *p, size_t n)
{
	if (u->c.established) {
		bench_write(&u->c, p, n);
		return;
	}
	u->early = realloc(u->early, u->early_length + n);
	if (!u->early)
		bench_die("memory", "none left");
	memcpy(u->early + u->early_length, p, n);
	u->early_length += n;
}

/* The head with our key in place of the client's, in one piece. */
static void forward_head(struct upstream *u, const char *p, const struct bench_head *h)
{
	static char out[HEAD_BYTES + 8192];
	size_t before = h->authorization ? (size_t)(h->authorization - p) : h->length - 2;
	size_t after = h->authorization ? before + h->authorization_length : before;
	int n;

	memcpy(out, p, before);
	n = snprintf(out + before, 8192, "Authorization: Bearer %s\r\n", floor_opt.key);
	memcpy(out + before + n, p + after, h->length - after);
	to_upstream(u, out, before + (size_t)n + h->length - after);
}

/* Collects a head in *text. 1: whole, at *head (in p, or in *text); 0: not yet; -1: no. *took:
 * bytes of p. */
static int collect(char **text, size_t *used, const char *p, size_t n, bool response,
		   struct bench_head *h, const char **head, size_t *took)
{
	size_t before = *used;
	int r;

	*head = p;
	*took = n;
	if (!before) {
		r = bench_head_parse(p, n, response, h);
		if (r == 1)
			*took = h->length;
		if (r)
			return r;
	}
	if (!*text)
		*text = bench_alloc(HEAD_BYTES);
	if (n > HEAD_BYTES - before)
		return -1;
	memcpy(*text + before, p, n);
	*used += n;
	*head = *text;
	r = bench_head_parse(*text, *used, response, h);
	if (r == 1) {
		*took = h->length - before;
		*used = 0;
	}
	return r;
}

static bool take_request(struct client *k, const char *p, size_t n)
{
	while (n) {
		size_t took;

		if (!k->in_body) {
			struct bench_head h;
			const char *head;
			int r;

			if (k->upstream) /* pipelining: nobody here does it */
				return false;
			r = collect(&k->text, &k->used, p, n, false, &h, &head, &took);
			if (r <= 0)
				return r == 0;
			if (!lease(k))
				return false;
			k->body = h.body;
			k->in_body = h.body.kind != BENCH_BODY_NONE;
			forward_head(k->upstream, head, &h);
		} else {
			bool done = false;
			long r = bench_body_take(&k->body, p, n, &done, NULL, NULL);

			if (r < 0 || !k->upstream)
				return false;
			took = (size_t)r;
			to_upstream(k->upstream, p, took);
			k->in_body = !done;
		}
		p += took;
		n -= took;
	}
	return true;
}

static bool take_answer(struct upstream *u, const char *p, size_t n)
{
	while (n) {
		bool done = false;
		size_t took;

		if (!u->client)
			return false;
		if (!u->in_body) {
			struct bench_head h;
			const char *head;
			int r = collect(&u->text, &u->used, p, n, true, &h, &head, &took);

			if (r <= 0)
				return r == 0;
			u->body = h.body;
			u->close = h.close;
			u->in_body = true;
			bench_write(&u->client->c, head, h.length);
			done = h.body.kind == BENCH_BODY_NONE;
		} else {
			long r = bench_body_take(&u->body, p, n, &done, NULL, NULL);

			if (r < 0)
				return false;
			took = (size_t)r;
			bench_write(&u->client->c, p, took);
		}
		p += took;
		n -= took;
		if (done) {
			struct client *k = u->client;

			give_back(u);
			if (bench_flush(&k->c, k) < 0)
				drop_client(k);
			return n == 0;
		}
	}
	return true;
}

/* ---- events ---- */

static void client_event(struct client *k, uint32_t events)
{
	static char bytes[65536];
	ssize_t n = BENCH_AGAIN;
	bool ok = true;

	if (k->dead)
		return;
	if (bench_wake(&k->c, events, k) < 0 || bench_handshake(&k->c) < 0) {
		drop_client(k);
		return;
	}
	while (ok && k->c.established && (n = bench_read(&k->c, bytes, sizeof(bytes))) > 0)
		ok = take_request(k, bytes, (size_t)n);
	if (!ok || n < 0 || bench_flush(&k->c, k) < 0 ||
	    (k->upstream && bench_flush(&k->upstream->c, k->upstream) < 0)) {
		drop_client(k);
		return;
	}
	if (!k->upstream)
		return;
	bench_pause(&k->c, bench_unsent(&k->upstream->c) + k->upstream->early_length > FLOOR_UNSENT,
		    k);
	bench_pause(&k->upstream->c, bench_unsent(&k->c) > FLOOR_UNSENT, k->upstream);
}

static void upstream_event(struct upstream *u, uint32_t events)
{
	static char bytes[65536];
	ssize_t n = BENCH_AGAIN;
	bool ok = true;

	if (u->dead)
		return;
	if (bench_wake(&u->c, events, u) >= 0 && bench_handshake(&u->c) >= 0) {
		if (u->c.established && u->early) {
			bench_write(&u->c, u->early, u->early_length);
			free(u->early);
			u->early = NULL;
			u->early_length = 0;
		}
		while (ok && u->c.established && (n = bench_read(&u->c, bytes, sizeof(bytes))) > 0)
			ok = take_answer(u, bytes, (size_t)n);
		ok = ok && n >= 0 && (u->dead || bench_flush(&u->c, u) == 0);
	} else {
		ok = false;
	}
	if (u->dead)
		return;
	if (!ok) {
		if (u->client) {
			drop_client(u->client);
		} else {
			unpool(u);
			drop_upstream(u);
		}
		return;
	}
	if (!u->client) {
		bench_pause(&u->c, false, u);
		return;
	}
	if (bench_flush(&u->client->c, u->client) < 0) {
		drop_client(u->client);
		return;
	}
	bench_pause(&u->c, bench_unsent(&u->client->c) > FLOOR_UNSENT, u);
	bench_pause(&u->client->c, bench_unsent(&u->c) > FLOOR_UNSENT, u->client);
}

static void event(void *data, uint32_t events)
{
	if (*(int *)data == CLIENT)
		client_event(data, events);
	else
		upstream_event(data, events);
}

int main(int argc, char **argv)
{
	floor_main(argc, argv, accepted, event, turn_end);
}
