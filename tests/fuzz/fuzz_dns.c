/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS answers through the kernel's parser (bpf/lib/dns.h). Oracle: a second parser, recursive and
 * by text, finds the same name and the same addresses, or the same refusal.
 */
#include "fuzz_bpf.h"
#include "lib/dns.h"

static void *fuzz_lookup(void *map, const void *key)
{
	return map == &watched_names ? fuzz_name(key) : NULL;
}

enum outcome { NOTHING, READ, BAD, SHORT };

struct reference {
	const uint8_t *bytes;
	uint32_t length;
	uint32_t name_id;
	uint32_t count, missed;
	struct eg_dns_answer answer[EG_DNS_ADDRESSES];
	/* The names that the asked one leads to, itself first. */
	struct chain_name {
		char text[256];
		size_t length;
	} chain[EG_DNS_CHAIN];
	uint32_t chain_length;
	bool linked, follows, behind;
};

static uint32_t get16(const struct reference *r, uint32_t at)
{
	return (uint32_t)r->bytes[at] << 8 | r->bytes[at + 1];
}

static uint32_t get32(const struct reference *r, uint32_t at)
{
	return get16(r, at) << 16 | get16(r, at + 2);
}

/* The whole name at *at, in text; *at is moved past it. A dot inside a label becomes a NUL. */
static enum outcome whole_name(const struct reference *r, uint32_t *at, char *text, size_t *length)
{
	uint32_t here = *at, limit = *at;
	bool jumped = false;

	*length = 0;
	for (;;) {
		uint32_t n;

		if (here >= r->length)
			return SHORT;
		n = r->bytes[here];
		if (!n) {
			if (!jumped)
				*at = here + 1;
			return READ;
		}
		if (n >= 0xc0) {
			if (here + 2 > r->length)
				return SHORT;
			n = get16(r, here) & 0x3fff;
			if (n >= limit || n < 12)
				return BAD;
			if (!jumped)
				*at = here + 2;
			jumped = true;
			here = limit = n;
			continue;
		}
		if (n > 63 || *length + n + (*length ? 1 : 0) > 253)
			return BAD;
		if (here + 1 + n > r->length)
			return SHORT;
		if (*length)
			text[(*length)++] = '.';
		for (uint32_t i = 0; i < n; i++) {
			char c = (char)r->bytes[here + 1 + i];

			text[(*length)++] = c == '.' ? 0 : c;
		}
		here += 1 + n;
	}
}

static enum outcome skip_name(const struct reference *r, uint32_t *at)
{
	for (;;) {
		uint32_t n;

		if (*at >= r->length)
			return SHORT;
		n = r->bytes[*at];
		if (n > 63 && n < 0xc0)
			return BAD;
		*at += n >= 0xc0 ? 2 : 1 + n;
		if (!n || n >= 0xc0)
			return READ;
	}
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool same_name(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (lower(a[i]) != lower(b[i]))
			return false;
	return true;
}

static bool in_chain(const struct reference *r, const char *text, size_t length)
{
	for (uint32_t i = 0; i < r->chain_length; i++)
		if (r->chain[i].length == length && same_name(r->chain[i].text, text, length))
			return true;
	return false;
}

static void chain_add(struct reference *r, const char *text, size_t length)
{
	struct chain_name *n;

	if (r->chain_length >= EG_DNS_CHAIN)
		return;
	n = &r->chain[r->chain_length++];
	memcpy(n->text, text, length);
	n->length = length;
}

static void take(struct reference *r, uint32_t at, uint32_t size, uint32_t ttl)
{
	struct eg_dns_answer *a;

	if (r->count >= EG_DNS_ADDRESSES) {
		r->missed++;
		return;
	}
	a = &r->answer[r->count++];
	if (size == 4) {
		a->address = (struct eg_address){{0, 0, bpf_htonl(0xffff), 0}};
		memcpy(&a->address.word_be[3], r->bytes + at, 4);
	} else {
		memcpy(&a->address, r->bytes + at, 16);
	}
	a->ttl = ttl;
}

static enum outcome service(struct reference *r, uint32_t at, uint32_t end, uint32_t ttl,
			    bool known)
{
	char text[256];
	size_t length;
	enum outcome o = whole_name(r, &at, text, &length);

	if (o != READ)
		return o;
	if (known && length)
		chain_add(r, text, length);
	while (at != end) {
		uint32_t key, size, unit;

		if (at > end || at + 4 > end)
			return BAD;
		key = get16(r, at);
		size = get16(r, at + 2);
		at += 4;
		if (at + size > end)
			return BAD;
		unit = key == 4 ? 4 : 16;
		if (key == 4 || key == 6) {
			while (size >= unit) {
				take(r, at, unit, ttl);
				at += unit;
				size -= unit;
			}
			if (size)
				return BAD;
		}
		at += size;
	}
	return READ;
}

static enum outcome one_record(struct reference *r, uint32_t *at, bool authority)
{
	uint32_t owner = *at, type, class, ttl, size, end, target;
	enum outcome o = skip_name(r, at);
	bool known = false, address, leads;
	char text[256];
	size_t length;

	if (o != READ)
		return o;
	if (*at + 10 > r->length)
		return SHORT;
	type = get16(r, *at);
	class = get16(r, *at + 2);
	ttl = get32(r, *at + 4);
	if (ttl >> 31)
		ttl = 0;
	size = get16(r, *at + 8);
	*at += 10;
	end = *at + size;
	if (end > r->length)
		return SHORT;
	target = *at;
	*at = end;
	if (class != 1 || authority)
		return READ;
	address = type == 1 || type == 28;
	leads = type == 5 || type == 64 || type == 65;
	if (address && size != (type == 1 ? 4 : 16))
		return BAD;
	if ((leads && r->follows) || (address && r->behind)) {
		o = whole_name(r, &owner, text, &length);
		if (o != READ)
			return o;
		known = in_chain(r, text, length);
	}
	r->linked |= known && leads;
	if (r->behind && !known)
		return READ;
	if (address) {
		take(r, target, size, ttl);
	} else if (type == 5 && (!r->name_id || known)) {
		o = whole_name(r, &target, text, &length);
		if (o != READ)
			return o;
		if (!r->name_id)
			r->name_id = fuzz_match(text, length);
		if (known && length)
			chain_add(r, text, length);
	} else if ((type == 64 || type == 65) && size >= 3) {
		return service(r, target + 2, end, ttl, known);
	}
	return READ;
}

static enum outcome read_message(struct reference *r)
{
	uint32_t at = 12, records, authority, additional;
	enum outcome o;
	char text[256];
	size_t length;

	if (r->length < 12)
		return NOTHING;
	records = get16(r, 6);
	authority = get16(r, 8);
	additional = get16(r, 10);
	if ((get16(r, 2) & 0xf80f) != 0x8000 || !records)
		return NOTHING;
	if (get16(r, 4) != 1)
		return BAD;
	o = whole_name(r, &at, text, &length);
	if (o != READ)
		return o;
	r->name_id = fuzz_match(text, length);
	chain_add(r, text, length);
	r->follows = additional > 0;
	if (at + 4 > r->length)
		return SHORT;
	at += 4;
	while (records--) {
		o = one_record(r, &at, false);
		if (o != READ)
			return o;
	}
	/* Behind the answers a defect only ends it. */
	r->behind = r->follows && r->linked && r->name_id;
	for (uint32_t i = 0; r->behind && i < authority + additional; i++)
		if (one_record(r, &at, i < authority) != READ)
			break;
	return READ;
}

static void compare(const struct eg_dns *d, const struct reference *r, enum outcome o)
{
	if (o == NOTHING)
		return;
	FUZZ_CHECK((d->phase == EG_DNS_DONE) == (o == READ));
	FUZZ_CHECK((d->phase == EG_DNS_SHORT) == (o == SHORT));
	FUZZ_CHECK(d->name_id == r->name_id);
	FUZZ_CHECK(d->count == r->count && d->missed == r->missed);
	for (uint32_t i = 0; i < d->count; i++)
		FUZZ_CHECK(!memcmp(&d->answer[i], &r->answer[i], sizeof(d->answer[i])));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reference r = {.bytes = data, .length = (uint32_t)size};
	struct eg_dns *d;
	uint32_t steps = 0;
	enum outcome o;
	int nothing;

	if (size > EG_DNS_MESSAGE)
		return 0;
	bpf_map_lookup_elem = fuzz_lookup;
	d = calloc(1, sizeof(*d));
	if (!d)
		abort();
	memset(d->message, 0xa5, sizeof(d->message)); /* what an earlier message left */
	memcpy(d->message, data, size);
	d->length = (uint32_t)size;
	o = read_message(&r);
	nothing = eg_dns_begin(d, FUZZ_BASE);
	FUZZ_CHECK(nothing == (o == NOTHING));
	while (steps < EG_DNS_STEPS && !eg_dns_step(d))
		steps++;
	if (steps <
	    EG_DNS_STEPS) { /* else the kernel refuses what it would take too long to read */
		compare(d, &r, o);
	} else {
		eg_dns_begin(d, FUZZ_BASE);
		eg_dns_read(d);
		FUZZ_CHECK(d->phase == (d->behind ? EG_DNS_DONE : EG_DNS_BAD));
	}
	free(d);
	return 0;
}
