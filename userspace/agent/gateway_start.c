/* SPDX-License-Identifier: Apache-2.0 */
/* What a new gateway or signer is given before anything else. */
#include <fcntl.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/ca_check.h"
#include "agent/channel.h"
#include "agent/memory_room.h"
#include "agent/start_files.h"
#include "agent/supervisor_impl.h"
#include "base/log.h"
#include "net/mint_wire.h"

static unsigned int mapped_bits(const struct eg_cidr *c)
{
	return eg_address_is4(&c->address) ? c->prefix_bits + 96u : c->prefix_bits;
}

/* What the operator forbids, and the node itself. `node_hash` was taken before: an address that
 * comes between is sent again. */
static int send_forbidden(struct eg_supervisor *s, struct eg_child *c, uint64_t node_hash)
{
	struct eg_message m = {.type = EG_WIRE_FORBIDDEN};
	EG_CLEANUP_FREE struct eg_cidr *all = NULL;
	EG_CLEANUP_FREE struct eg_wire_cidr *wire = NULL;
	EG_CLEANUP_FD int memory = -1;
	size_t n = eg_forbidden(s->o, &all);
	int r;

	wire = calloc(n + 1, sizeof(*wire));
	if (!all || !wire)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		wire[i].address = all[i].address;
		wire[i].prefix_bits = mapped_bits(&all[i]);
	}
	m.value = (int64_t)(n * sizeof(*wire));
	r = eg_memory_seal("egret", (struct eg_str){(const char *)wire, n * sizeof(*wire)},
			   &memory);
	if (!r)
		r = eg_channel_send(c->control, &m, &memory, 1);
	if (!r)
		c->node_hash = node_hash;
	return r;
}

void eg_gateways_forbid(struct eg_supervisor *s)
{
	uint64_t node_hash = eg_node_addresses_hash();

	for (size_t i = 0; i < EG_ARRAY_SIZE(s->gateways); i++) {
		struct eg_child *c = &s->gateways[i];
		int r = 0;

		if (c->control >= 0 && !c->killed && c->node_hash != node_hash)
			r = send_forbidden(s, c, node_hash);
		/* It would dial what it was not told of. */
		if (r == -EAGAIN)
			eg_child_kill(c, "it does not read what it is sent");
		else if (r && r != -EPIPE)
			eg_error("gateway (pid %d) was not told that the node's addresses have "
				 "changed: %s; it is told again",
				 c->pid, strerror(-r));
	}
}

static void page_token(const struct eg_supervisor *s, struct eg_message *m)
{
	*m = (struct eg_message){.type = EG_WIRE_PAGE_TOKEN};
	memcpy(m->u.page_token, s->page_token, sizeof(m->u.page_token));
}

void eg_gateways_page_token(struct eg_supervisor *s)
{
	struct eg_message m;
	uint8_t now[EG_PAGE_DIGEST];
	struct eg_error e = {""};

	if (!s->o->metrics_token)
		return;
	if (eg_page_token_read(s->o->metrics_token, now, &e)) {
		if (!s->page_token_lost)
			eg_warn("--metrics-token: %s; the former token stays", e.text);
		s->page_token_lost = true;
		return;
	}
	s->page_token_lost = false;
	if (!memcmp(now, s->page_token, sizeof(now)))
		return;
	memcpy(s->page_token, now, sizeof(now));
	eg_info("--metrics-token: the token has changed");
	page_token(s, &m);
	for (size_t i = 0; i < EG_ARRAY_SIZE(s->gateways); i++)
		if (s->gateways[i].control >= 0 && !s->gateways[i].killed)
			(void)eg_child_send(&s->gateways[i], &m, NULL, 0);
}

static int send_config(struct eg_supervisor *s)
{
	struct eg_message m = {.type = EG_WIRE_CONFIG};
	struct eg_wire_config *c = &m.u.config;
	int fds[EG_WIRE_FDS];
	unsigned int count = 0;
	unsigned char random[16];

	c->worker_count = (uint32_t)s->listener_count;
	c->metrics_port = s->o->metrics_port;
	c->memory_bytes = eg_memory_room("/proc/self");
	if (s->access_fd >= 0) {
		c->flags |= EG_CONFIG_ACCESS_LOG;
		fds[count++] = s->access_fd;
	}
	if (s->metrics_fd >= 0) {
		c->flags |= EG_CONFIG_METRICS;
		fds[count++] = s->metrics_fd;
	}
	if (s->o->metrics_token)
		c->flags |= EG_CONFIG_PAGE_TOKEN;
	if (s->charge == EG_CHARGE_TAKING || s->renewal == EG_RENEWAL_PREPARING)
		c->flags |= EG_CONFIG_SHARED;
	if (s->o->kubernetes && s->o->kube_events)
		c->flags |= EG_CONFIG_DENIALS;
	if (s->o->gateway4_set)
		c->flags |= EG_CONFIG_GATEWAY4;
	if (s->o->gateway6_set)
		c->flags |= EG_CONFIG_GATEWAY6;
	c->gateway4 = s->o->gateway4;
	c->gateway6 = s->o->gateway6;
	eg_str_copy(c->resolvers, sizeof(c->resolvers), eg_str_from(s->o->resolver));
	if (RAND_bytes(random, sizeof(random)) != 1)
		return -EIO;
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(c->tag + 2 * i, 3, "%02x", random[i]);
	return eg_channel_send(s->gateway->control, &m, fds, count);
}

/* New memory for each gateway: what the former one left there has been counted. */
static int send_flight(struct eg_supervisor *s)
{
	struct eg_message m = {.type = EG_WIRE_FLIGHT};
	EG_CLEANUP_FD int memory = -1;
	struct eg_flight *made;
	int r = eg_flight_create(&memory, &made);

	if (r)
		return r;
	eg_flight_close(s->gateway->flight);
	s->gateway->flight = made;
	return eg_channel_send(s->gateway->control, &m, &memory, 1);
}

static int send_pem(struct eg_supervisor *s, enum eg_wire_type type, const char *path, size_t most,
		    struct eg_error *e)
{
	struct eg_message m = {.type = type};
	EG_CLEANUP_FREE char *pem = NULL;
	EG_CLEANUP_FD int memory = -1;
	size_t n = 0;
	int r = eg_file_read(AT_FDCWD, path, most, &pem, &n, e);

	if (r)
		return r;
	r = eg_memory_seal("egret-pem", (struct eg_str){pem, n}, &memory);
	m.value = (int64_t)n;
	return r ? r : eg_channel_send(s->gateway->control, &m, &memory, 1);
}

static void ca_path(const struct eg_supervisor *s, const char *file, char *out, size_t size)
{
	snprintf(out, size, "%s/%s", s->o->ca_dir, file);
}

/* New sockets between each worker and the signer; our copies of the signer's ends outlive it. */
static int make_signer_sockets(struct eg_supervisor *s, int *worker_ends)
{
	for (size_t i = 0; i < s->listener_count; i++) {
		int ends[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
			return -errno;
		eg_fd_close(&s->gateway->signer_ends[i]);
		s->gateway->signer_ends[i] = ends[0];
		worker_ends[i] = ends[1];
	}
	return 0;
}

int eg_gateway_configure(struct eg_supervisor *s, struct eg_error *e)
{
	struct eg_message start = {.type = EG_WIRE_START}, token;
	int ends[EG_MAX_WORKERS];
	char chain[4096];
	int r;

	for (size_t i = 0; i < EG_MAX_WORKERS; i++)
		ends[i] = -1;
	ca_path(s, "intermediate.crt", chain, sizeof(chain));
	r = send_config(s);
	if (!r)
		r = send_forbidden(s, s->gateway, eg_node_addresses_hash());
	if (!r && s->o->metrics_token) {
		page_token(s, &token);
		r = eg_channel_send(s->gateway->control, &token, NULL, 0);
	}
	if (!r)
		r = send_flight(s);
	if (!r)
		r = make_signer_sockets(s, ends);
	for (size_t i = 0; !r && i < s->listener_count; i++) {
		struct eg_message m = {.type = EG_WIRE_WORKER, .number = (uint32_t)i};
		int fds[2] = {s->listeners[i], ends[i]};

		r = eg_channel_send(s->gateway->control, &m, fds, 2);
	}
	for (size_t i = 0; i < EG_MAX_WORKERS; i++)
		eg_fd_close(&ends[i]);
	if (!r)
		r = send_pem(s, EG_WIRE_CHAIN, chain, EG_CA_FILE_BYTES, e);
	if (!r)
		r = send_pem(s, EG_WIRE_DEFAULT_TRUST, s->o->upstream_ca, EG_ROOTS_BYTES, e);
	if (!r)
		r = eg_channel_send(s->gateway->control, &start, NULL, 0);
	if (!r && s->signer.control >= 0)
		eg_signer_clients(s, s->gateway);
	return r;
}

/* ---- the signer ---- */

static void signer_said(struct eg_supervisor *s, int r, const char *what)
{
	if (!r)
		return;
	eg_warn("signer does not take %s: %s", what, strerror(-r));
	eg_child_kill(&s->signer, "it does not read what it is sent");
}

void eg_signer_clients(struct eg_supervisor *s, const struct eg_child *gateway)
{
	for (size_t i = 0; i < s->listener_count; i++)
		if (gateway->signer_ends[i] >= 0)
			signer_said(s,
				    eg_mint_control_client(s->signer.control, ++s->signer_sequence,
							   gateway->signer_ends[i]),
				    "a worker's socket");
}

/* The one place where the CA's key passes through the supervisor: from its file into sealed memory,
 * and on; nothing of it stays. */
static int seal_ca_file(const struct eg_supervisor *s, const char *file, int *memfd,
			struct eg_error *e)
{
	struct eg_secret *secret = NULL;
	int r = eg_ca_read(s->o->ca_dir, file, &secret, e);

	if (r)
		return r;
	r = eg_memory_seal("egret-ca", eg_secret_bytes(secret), memfd);
	eg_secret_unref(secret);
	return r ? eg_error_set(e, r, "%s/%s: %s", s->o->ca_dir, file, strerror(-r)) : 0;
}

static void mark_ca(const struct eg_supervisor *s, struct eg_file_mark marks[2])
{
	char path[4096];

	ca_path(s, "intermediate.crt", path, sizeof(path));
	eg_file_mark(AT_FDCWD, path, &marks[0]);
	ca_path(s, "intermediate.key", path, sizeof(path));
	eg_file_mark(AT_FDCWD, path, &marks[1]);
}

int eg_signer_ca(struct eg_supervisor *s, struct eg_error *e)
{
	EG_CLEANUP_FD int cert = -1;
	EG_CLEANUP_FD int key = -1;
	int r;

	mark_ca(s, s->ca_marks);
	r = seal_ca_file(s, "intermediate.crt", &cert, e);
	if (!r)
		r = seal_ca_file(s, "intermediate.key", &key, e);
	if (r)
		return r;
	r = eg_mint_control_ca(s->signer.control, ++s->signer_sequence, cert, key);
	return r ? eg_error_set(e, r, "signer: %s", strerror(-r)) : 0;
}

void eg_signer_ca_changed(struct eg_supervisor *s)
{
	struct eg_file_mark now[2];
	struct eg_error e = {""};
	bool same;

	mark_ca(s, now);
	same = eg_file_mark_equal(&now[0], &s->ca_marks[0]) &&
	       eg_file_mark_equal(&now[1], &s->ca_marks[1]);
	if (s->signer.control < 0 || (same && !s->ca_not_now))
		return;
	s->ca_not_now &= same;
	if (eg_signer_ca(s, &e))
		eg_error("the CA has changed and can't be taken; the former one stays: %s", e.text);
	else
		s->ca_changed = s->signer_sequence;
}

static size_t put_names(const struct eg_policy_set *set, const char **out)
{
	size_t count;
	const struct eg_watched_name *names = eg_watched_names(set, &count);

	for (size_t i = 0; i < count; i++)
		out[i] = names[i].text;
	return count;
}

void eg_signer_names(struct eg_supervisor *s)
{
	const struct eg_generation *const of[] = {&s->offered, &s->applied};
	const char **names;
	size_t room = 1, n = 0, count;

	if (s->signer.control < 0)
		return;
	for (size_t i = 0; i < EG_ARRAY_SIZE(of); i++)
		if (of[i]->policies) {
			eg_watched_names(of[i]->policies, &count);
			room += count;
		}
	names = calloc(room, sizeof(*names));
	if (!names)
		return;
	for (size_t i = 0; i < EG_ARRAY_SIZE(of); i++)
		if (of[i]->policies)
			n += put_names(of[i]->policies, names + n);
	signer_said(s, eg_mint_control_names(s->signer.control, ++s->signer_sequence, names, n),
		    "the governed names");
	free(names);
}

int eg_signer_configure(struct eg_supervisor *s, struct eg_error *e)
{
	int r = eg_signer_ca(s, e);

	if (r)
		return r;
	eg_signer_names(s);
	for (size_t i = 0; i < EG_ARRAY_SIZE(s->gateways); i++)
		eg_signer_clients(s, &s->gateways[i]);
	eg_heartbeat_ask_signer(s);
	return 0;
}

/* What the signer says to a CA that came while it ran; said once. */
static void ca_taken(struct eg_supervisor *s, const struct eg_mint_control_reply *reply)
{
	bool again = s->ca_not_now;

	s->ca_not_now = reply->error == -EKEYEXPIRED;
	if (!reply->error)
		eg_info("the CA in %s has changed; the signer has the new one", s->o->ca_dir);
	else if (!s->ca_not_now || !again)
		eg_error("the CA in %s has changed and can't be used; the former one, if any, "
			 "stays: %s",
			 s->o->ca_dir, reply->text);
}

static void signer_says(struct eg_supervisor *s, const struct eg_mint_control_reply *reply)
{
	bool change = reply->type == EG_MINT_CA && s->ca_changed == reply->sequence;

	if (reply->type == EG_MINT_PING)
		eg_heartbeat_signer_pong(s, reply);
	else if (change)
		ca_taken(s, reply);
	else if (reply->error)
		eg_error("signer: %s", reply->text);
}

bool eg_signer_replies(struct eg_supervisor *s)
{
	struct eg_mint_control_reply reply;
	int r = 0;

	/* Bounded, as with the gateway: one that never stops talking must not stop the heartbeat.
	 */
	for (int i = 0; i < 64 && !r; i++) {
		r = eg_mint_control_receive(s->signer.control, &reply);
		if (r)
			break;
		reply.text[sizeof(reply.text) - 1] = '\0';
		signer_says(s, &reply);
	}
	return !r || r == -EAGAIN;
}
