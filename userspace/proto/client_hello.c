/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/client_hello.h"

#include "proto/uri.h"

/* RFC 8446 sections 4, 4.2 and 5.1; RFC 9849 (ECH). */
#define RECORD_HEAD	     5u
#define RECORD_HANDSHAKE     22u
#define RECORD_BODY_MAX	     16384u
#define MESSAGE_HEAD	     4u
#define MESSAGE_CLIENT_HELLO 1u
#define EXT_SERVER_NAME	     0u
#define EXT_ALPN	     16u
#define EXT_SESSION_TICKET   35u
#define EXT_PRE_SHARED_KEY   41u
#define EXT_VERSIONS	     43u
#define EXT_ECH		     0xfe0du
#define EXT_ESNI	     0xffceu /* the draft before ECH: hides the name just as well */

/* A cursor that can't leave its bytes: after the first overrun it is bad and yields zeros. */
struct reader {
	const unsigned char *p;
	size_t n;
	bool bad;
};

static const unsigned char *take(struct reader *r, size_t n)
{
	const unsigned char *p = r->p;

	if (r->bad || n > r->n) {
		r->bad = true;
		return NULL;
	}
	r->p += n;
	r->n -= n;
	return p;
}

static unsigned int take_u8(struct reader *r)
{
	const unsigned char *p = take(r, 1);

	return p ? p[0] : 0;
}

static unsigned int take_u16(struct reader *r)
{
	const unsigned char *p = take(r, 2);

	return p ? (unsigned int)p[0] << 8 | p[1] : 0;
}

/* A vector with a length of 1 or 2 bytes (RFC 8446 section 3.4). */
static struct reader take_vector(struct reader *r, unsigned int length_bytes)
{
	size_t n = length_bytes == 1 ? take_u8(r) : take_u16(r);
	const unsigned char *p = take(r, n);

	return (struct reader){.p = p, .n = p ? n : 0, .bad = !p};
}

/* ---- extensions ---- */

static void set_name(struct eg_client_hello *out, struct eg_str name)
{
	out->has_sni = true;
	out->sni_is_ip = eg_host_is_ip(name);
	out->sni_invalid = !eg_host_valid(name);
	/* A name that is no name is not repeated: it may hold anything. */
	if ((out->sni_invalid && !out->sni_is_ip) || name.n >= sizeof(out->sni) ||
	    eg_str_find(name, '%') >= 0) /* the zone of an address */
		return;
	if (name.p[name.n - 1] == '.')
		name.n--;
	eg_str_copy(out->sni, sizeof(out->sni), name);
	for (char *c = out->sni; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c + 32);
}

/* RFC 6066 section 3: a list that, for us, holds exactly one host_name. */
static bool read_server_name(struct reader ext, struct eg_client_hello *out)
{
	struct reader list = take_vector(&ext, 2), name;
	unsigned int type = take_u8(&list);

	name = take_vector(&list, 2);
	if (name.bad || list.n || ext.n || type || !name.n)
		return false;
	set_name(out, (struct eg_str){(const char *)name.p, name.n});
	return true;
}

/* RFC 7301 section 3.1. */
static bool read_alpn(struct reader ext, struct eg_client_hello *out)
{
	struct reader list = take_vector(&ext, 2);

	if (list.bad || !list.n || ext.n)
		return false;
	while (list.n) {
		struct reader name = take_vector(&list, 1);
		struct eg_str s = {(const char *)name.p, name.n};

		if (name.bad || !name.n)
			return false;
		out->alpn_h2 |= eg_str_eq(s, EG_STR("h2"));
		out->alpn_http11 |= eg_str_eq(s, EG_STR("http/1.1"));
	}
	return true;
}

static bool read_versions(struct reader ext, struct eg_client_hello *out)
{
	struct reader list = take_vector(&ext, 1);

	if (list.bad || !list.n || list.n % 2 || ext.n)
		return false;
	while (list.n)
		out->tls13 |= take_u16(&list) == 0x0304;
	return true;
}

static bool read_extension(unsigned int type, struct reader body, bool last,
			   struct eg_client_hello *out)
{
	switch (type) {
	case EXT_SERVER_NAME:
		return read_server_name(body, out);
	case EXT_ALPN:
		return read_alpn(body, out);
	case EXT_VERSIONS:
		return read_versions(body, out);
	case EXT_SESSION_TICKET:
		out->resumption |= body.n > 0;
		return true;
	case EXT_PRE_SHARED_KEY: /* RFC 8446 section 4.2.11: the last one */
		out->resumption = true;
		return last;
	case EXT_ECH:
	case EXT_ESNI:
		out->encrypted = true;
		return true;
	default:
		return true;
	}
}

static bool read_extensions(struct reader list, struct eg_client_hello *out)
{
	uint64_t seen[65536 / 64] = {0};

	while (list.n) {
		unsigned int type = take_u16(&list);
		struct reader body = take_vector(&list, 2);
		uint64_t bit = 1ull << (type & 63);

		if (body.bad || (seen[type / 64] & bit))
			return false;
		seen[type / 64] |= bit;
		if (!read_extension(type, body, !list.n, out))
			return false;
	}
	return true;
}

/* The body of a whole ClientHello message. */
static bool read_hello(struct reader r, struct eg_client_hello *out)
{
	struct reader session, suites, compression, extensions = {.n = 0};

	out->legacy_version = (uint16_t)take_u16(&r);
	(void)take(&r, 32); /* random */
	session = take_vector(&r, 1);
	suites = take_vector(&r, 2);
	compression = take_vector(&r, 1);
	if (r.bad || out->legacy_version >> 8 != 3 || session.n > 32 || suites.n < 2 ||
	    suites.n % 2 || !compression.n)
		return false;
	out->resumption = session.n > 0;
	if (r.n) { /* an old hello may end here */
		extensions = take_vector(&r, 2);
		if (extensions.bad || r.n)
			return false;
	}
	return read_extensions(extensions, out);
}

/* ---- records ---- */

/* The message as it comes out of the records. */
struct gather {
	const unsigned char *whole; /* it lay in one record: borrowed */
	size_t have, want;	    /* bytes of it, with its head; want 0 until the head is there */
	unsigned char head[MESSAGE_HEAD];
	unsigned char *copy; /* where to put it together, or NULL */
};

static bool add(struct gather *g, const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n && g->have + i < MESSAGE_HEAD; i++)
		g->head[g->have + i] = p[i];
	if (g->copy)
		memcpy(g->copy + g->have, p, n);
	g->have += n;
	if (g->have && g->head[0] != MESSAGE_CLIENT_HELLO)
		return false;
	if (g->have >= MESSAGE_HEAD && !g->want) {
		g->want = ((size_t)g->head[1] << 16 | (size_t)g->head[2] << 8 | g->head[3]) +
			  MESSAGE_HEAD;
		if (g->want > EG_CLIENT_HELLO_MAX - RECORD_HEAD)
			return false;
	}
	return true;
}

/*
 * Walks the records until the message is whole. Whatever it decides it decides from the bytes up to
 * one place, so more bytes never change a refusal.
 */
static enum eg_io walk(struct eg_str bytes, struct gather *g)
{
	const unsigned char *p = (const unsigned char *)bytes.p;
	size_t n = EG_MIN(bytes.n, (size_t)EG_CLIENT_HELLO_MAX), at = 0;

	while (at < n) {
		size_t left = n - at, body, here;

		/* Type and major version are checked as they come: plain HTTP fails at once. */
		if (p[at] != RECORD_HANDSHAKE || (left > 1 && p[at + 1] != 3))
			return EG_IO_FAIL;
		if (left < RECORD_HEAD)
			break;
		body = (size_t)p[at + 3] << 8 | p[at + 4];
		if (p[at + 2] > 4 || !body || body > RECORD_BODY_MAX)
			return EG_IO_FAIL;
		at += RECORD_HEAD;
		here = EG_MIN(body, n - at);
		if (!add(g, p + at, here))
			return EG_IO_FAIL;
		/* The record must not go on past the message. */
		if (g->want && g->have - here + body > g->want)
			return EG_IO_FAIL;
		if (g->want && g->have == g->want) {
			if (here == g->have)
				g->whole = p + at;
			return EG_IO_DONE;
		}
		at += here;
		if (here < body)
			break;
	}
	return bytes.n >= EG_CLIENT_HELLO_MAX ? EG_IO_FAIL : EG_IO_AGAIN;
}

/* The rare hello in several records; apart, for its stack. */
static __attribute__((noinline)) bool read_gathered(struct eg_str bytes,
						    struct eg_client_hello *out)
{
	unsigned char copy[EG_CLIENT_HELLO_MAX];
	struct gather g = {.copy = copy};

	if (walk(bytes, &g) != EG_IO_DONE)
		return false;
	return read_hello((struct reader){.p = copy + MESSAGE_HEAD, .n = g.have - MESSAGE_HEAD},
			  out);
}

enum eg_io eg_client_hello_parse(struct eg_str bytes, struct eg_client_hello *out)
{
	struct gather g = {.whole = NULL};
	enum eg_io io = walk(bytes, &g);
	bool ok;

	*out = (struct eg_client_hello){.has_sni = false};
	if (io != EG_IO_DONE)
		return io;
	if (g.whole)
		ok = read_hello(
			(struct reader){.p = g.whole + MESSAGE_HEAD, .n = g.have - MESSAGE_HEAD},
			out);
	else
		ok = read_gathered(bytes, out);
	if (ok)
		return EG_IO_DONE;
	*out = (struct eg_client_hello){.has_sni = false}; /* half of one is no use to anybody */
	return EG_IO_FAIL;
}
