/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The byte floor: ends TLS of the client, opens TLS of its own to the provider, copies. No HTTP, so
 * no header is put in (the load sends the real key), no pool: a connection there for each
 * connection here.
 */
#include "floor.h"

#include <stdlib.h>
#include <string.h>

struct side {
	struct bench_conn c;
	struct pair *pair;
	char *early; /* came before the other side was established */
	size_t early_length;
};

struct pair {
	struct side client, upstream;
	bool dialled, dead;
	struct pair *next_dead;
};

static struct pair *dead;

static void drop(struct pair *p)
{
	if (p->dead)
		return;
	p->dead = true;
	if (p->dialled)
		bench_close(&p->upstream.c);
	bench_close(&p->client.c);
	p->next_dead = dead;
	dead = p;
}

static void turn_end(void)
{
	while (dead) {
		struct pair *p = dead;

		dead = p->next_dead;
		free(p->client.early);
		free(p->upstream.early);
		free(p);
	}
}

static void accepted(int fd, SSL_CTX *ctx)
{
	struct pair *p = bench_alloc(sizeof(*p));

	p->client.pair = p->upstream.pair = p;
	bench_accept(&p->client.c, floor_epoll, fd, ctx, &p->client);
}

static void give(struct side *from, struct side *to, const char *bytes, size_t n)
{
	if (to->pair->dialled && to->c.established) {
		bench_write(&to->c, bytes, n);
		return;
	}
	from->early = realloc(from->early, from->early_length + n);
	if (!from->early)
		bench_die("memory", "none left");
	memcpy(from->early + from->early_length, bytes, n);
	from->early_length += n;
}

/* What waited for this side to be established. */
static void give_early(struct side *from, struct side *to)
{
	if (!from->early)
		return;
	bench_write(&to->c, from->early, from->early_length);
	free(from->early);
	from->early = NULL;
	from->early_length = 0;
}

static void event(void *data, uint32_t events)
{
	static char bytes[65536];
	struct side *s = data;
	struct pair *p = s->pair;
	struct side *other = s == &p->client ? &p->upstream : &p->client;
	bool before = s->c.established;
	ssize_t n = BENCH_AGAIN;

	if (p->dead)
		return;
	if (bench_wake(&s->c, events, s) < 0 || bench_handshake(&s->c) < 0) {
		drop(p);
		return;
	}
	if (!before && s->c.established) {
		if (s == &p->client) {
			p->dialled = true;
			if (floor_dial(&p->upstream.c, &p->upstream) < 0) {
				drop(p);
				return;
			}
		} else {
			give_early(other, s);
		}
	}
	while (s->c.established && (n = bench_read(&s->c, bytes, sizeof(bytes))) > 0)
		give(s, other, bytes, (size_t)n);
	if (bench_flush(&s->c, s) < 0 || (p->dialled && bench_flush(&other->c, other) < 0) ||
	    n < 0) {
		drop(p);
		return;
	}
	if (!p->dialled)
		return;
	bench_pause(&s->c, bench_unsent(&other->c) + s->early_length > FLOOR_UNSENT, s);
	bench_pause(&other->c, bench_unsent(&s->c) + other->early_length > FLOOR_UNSENT, other);
}

int main(int argc, char **argv)
{
	floor_main(argc, argv, accepted, event, turn_end);
}
