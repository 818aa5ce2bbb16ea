/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/get.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/files.h"
#include "kube/objects.h"

#define READ_BYTES    (64u * 1024u) /* in a turn; a head has to fit, too */
#define OUT_BYTES     (32u * 1024u)
#define REFUSAL_BYTES (64u * 1024u)
#define TOKEN_BYTES   8192u
#define CA_BYTES      ((size_t)1 << 20)
#define INTERIM_MOST  8u
#define RETRY_MOST_S  300u

const struct kube_times kube_times = {
	.head_ms = 30000,
	.refusal_ms = 5000,
	.silence_ms = 180000, /* a bookmark comes about each minute */
	.list_ms = 60000,
	.first_ms = 500,
	.most_ms = 30000,
	.well_ms = 5000,
	.watch_s = 300,
	.gap_ms = 200,
	.forbidden_ms = 600000,
	.keep_ms = 2000,
};

static const struct eg_h1_limits limits = {
	.head_bytes = READ_BYTES / 2,
	.target_bytes = 1024,
	.header_count = EG_H1_MAX_HEADERS,
};

/* ---- the end ---- */

void kube_get_stop(struct kube_get *g)
{
	eg_timer_cancel(g->api->loop, &g->timer);
	if (g->stream)
		eg_stream_destroy(g->stream);
	g->stream = NULL;
	eg_secret_unref(g->token);
	g->token = NULL;
	eg_buf_fini(&g->out);
	eg_buf_clear(&g->in);
	eg_buf_fini(&g->refusal);
}

static void end(struct kube_get *g)
{
	struct kube_outcome o = g->outcome;

	kube_get_stop(g);
	g->calls->done(g->ctx, &o);
}

static void EG_PRINTF(3, 4)
	fail(struct kube_get *g, enum kube_trouble trouble, const char *format, ...)
{
	va_list v;

	g->outcome.trouble = trouble;
	va_start(v, format);
	vsnprintf(g->outcome.text, sizeof(g->outcome.text), format, v);
	va_end(v);
	end(g);
}

static void timed_out(struct eg_timer *t)
{
	struct kube_get *g = eg_container_of(t, struct kube_get, timer);

	if (g->in_body && g->outcome.trouble)
		end(g); /* a refusal is one without its words, too */
	else if (g->in_body && eg_loop_now_ms(g->api->loop) >= g->deadline_ms)
		fail(g, KUBE_SILENT, "the Kubernetes API at %s took too long for the %s",
		     g->api->where, g->what);
	else if (g->in_body)
		fail(g, KUBE_SILENT,
		     "the Kubernetes API at %s sent nothing about the %s for %llu s", g->api->where,
		     g->what, (unsigned long long)g->api->times.silence_ms / 1000);
	else
		fail(g, KUBE_CONNECT, "the Kubernetes API at %s did not answer within %llu s",
		     g->api->where, (unsigned long long)g->api->times.head_ms / 1000);
}

/* It is armed while a request is under way: this needs no memory. */
static void limit(struct kube_get *g, uint64_t ms)
{
	uint64_t now = eg_loop_now_ms(g->api->loop);
	uint64_t left = g->deadline_ms > now ? g->deadline_ms - now : 0;

	(void)!eg_timer_set(g->api->loop, &g->timer, EG_MIN(ms, left));
}

/* ---- a refusal ---- */

static bool sends(const struct kube_get *g)
{
	return strcmp(g->method, "GET") != 0;
}

static void refusal_text(struct kube_get *g, const char *message)
{
	struct kube_outcome *o = &g->outcome;
	const char *colon = *message ? ": " : "";

	switch (o->status) {
	case 401:
		snprintf(o->text, sizeof(o->text),
			 "the Kubernetes API at %s does not take the token in %s (401%s%s); is it "
			 "this cluster's, and of a service account that exists?",
			 g->api->where, g->api->token_file, colon, message);
		break;
	case 403:
		if (sends(g))
			snprintf(
				o->text, sizeof(o->text),
				"the Kubernetes API refuses to take %s (403%s%s); a ClusterRole "
				"has "
				"to allow the service account the verbs create and patch for %s of "
				"the group events.k8s.io",
				g->what, colon, message, g->what);
		else
			snprintf(o->text, sizeof(o->text),
				 "the Kubernetes API refuses to show %s (403%s%s); a ClusterRole "
				 "has to "
				 "allow the service account the verbs list and watch for %s",
				 g->what, colon, message, g->what);
		break;
	case 429:
		snprintf(o->text, sizeof(o->text),
			 "the Kubernetes API at %s has too much to do for the %s (429%s%s)",
			 g->api->where, g->what, colon, message);
		break;
	default:
		snprintf(o->text, sizeof(o->text),
			 "the Kubernetes API at %s answered with status %u for the %s%s%s%s",
			 g->api->where, o->status, g->what, colon, message,
			 o->status >= 300 && o->status < 400 ? "; redirects are not followed" : "");
		break;
	}
}

static void refused(struct kube_get *g)
{
	struct eg_str body = eg_buf_str(&g->refusal);
	char message[160];

	kube_status_message(body, message, sizeof(message));
	if (g->token &&
	    (eg_secret_in(g->token, body) || eg_secret_in(g->token, eg_str_from(message))))
		message[0] = '\0'; /* whoever this is, it said the token aloud */
	refusal_text(g, message);
	/* `causes` of the Status (NamespaceTerminatingCause of the API): no right is missing. */
	if (g->outcome.trouble == KUBE_FORBIDDEN && body.n &&
	    memmem(body.p, body.n, "\"NamespaceTerminating\"", 22))
		g->outcome.trouble = KUBE_TERMINATING;
	end(g);
}

static enum kube_trouble trouble_of(unsigned int status)
{
	switch (status) {
	case 401:
		return KUBE_UNAUTHORIZED;
	case 403:
		return KUBE_FORBIDDEN;
	case 410:
		return KUBE_EXPIRED;
	case 429:
		return KUBE_THROTTLED;
	default:
		return status >= 500 ? KUBE_SERVER : KUBE_STATUS;
	}
}

/* Seconds (RFC 9110 section 10.2.3); a date is not read, the servers write none. */
static uint64_t retry_after_ms(const struct eg_h1_head *head)
{
	const struct eg_header *h = eg_h1_find(head, EG_STR("Retry-After"));
	uint64_t s;

	if (!h || eg_str_u64(h->value, &s))
		return 0;
	return EG_MIN(s, (uint64_t)RETRY_MOST_S) * 1000;
}

/* ---- the answer ---- */

static void whole(struct kube_get *g)
{
	if (g->outcome.trouble)
		refused(g);
	else
		end(g);
}

/* True: there may be more. */
static bool deliver(struct kube_get *g, struct eg_str data)
{
	size_t room;

	if (!data.n)
		return true;
	if (!g->outcome.trouble) {
		if (!g->calls->data(g->ctx, data))
			return true;
		g->outcome.trouble = KUBE_STOPPED;
		end(g);
		return false;
	}
	room = REFUSAL_BYTES - g->refusal.length;
	if (!eg_buf_append(&g->refusal, data.p, EG_MIN(data.n, room)) && data.n < room)
		return true;
	refused(g);
	return false;
}

static void take_chunked(struct kube_get *g)
{
	struct eg_str in = eg_buf_str(&g->in);

	for (;;) {
		enum eg_io r;
		struct eg_str data;
		size_t used;

		r = eg_chunked_decode(&g->chunked, in, &used, &data);
		if (r == EG_IO_FAIL) {
			fail(g, KUBE_PROTOCOL,
			     "the Kubernetes API at %s sent what is not HTTP/1.1 for the %s: a "
			     "chunk is malformed",
			     g->api->where, g->what);
			return;
		}
		if (!deliver(g, data))
			return;
		if (r == EG_IO_DONE) {
			whole(g);
			return;
		}
		in.p += used;
		in.n -= used;
		if (!in.n)
			break;
	}
	eg_buf_clear(&g->in);
}

static void take_body(struct kube_get *g)
{
	struct eg_str in = eg_buf_str(&g->in);

	if (g->body == EG_H1_BODY_CHUNKED) {
		take_chunked(g);
		return;
	}
	if (g->body == EG_H1_BODY_LENGTH)
		in.n = EG_MIN(in.n, (size_t)g->left);
	g->left -= g->body == EG_H1_BODY_LENGTH ? in.n : 0;
	if (!deliver(g, in))
		return;
	eg_buf_clear(&g->in);
	if (g->body == EG_H1_BODY_LENGTH && !g->left)
		whole(g);
}

static void begin_body(struct kube_get *g, const struct eg_h1_head *head)
{
	const struct eg_header *coding = eg_h1_find(head, EG_STR("Content-Encoding"));

	g->in_body = true;
	g->body = head->body;
	g->left = head->content_length;
	eg_chunked_init(&g->chunked);
	g->outcome.status = head->status;
	if (head->status != 200 && !(head->status == 201 && sends(g))) {
		g->outcome.trouble = trouble_of(head->status);
		g->outcome.retry_after_ms = retry_after_ms(head);
		refusal_text(g, "");
		limit(g, g->api->times.refusal_ms);
	} else if (coding && !eg_str_ieq(coding->value, EG_STR("identity"))) {
		fail(g, KUBE_PROTOCOL,
		     "the Kubernetes API at %s answered in a content coding that was not asked for",
		     g->api->where);
		return;
	} else {
		eg_secret_unref(g->token);
		g->token = NULL;
		limit(g, g->api->times.silence_ms);
		g->calls->begun(g->ctx);
	}
	eg_buf_consume(&g->in, head->head_bytes);
	if (g->body == EG_H1_BODY_NONE || (g->body == EG_H1_BODY_LENGTH && !g->left))
		whole(g);
	else if (g->in.length)
		take_body(g);
}

static void take_head(struct kube_get *g)
{
	enum eg_reason reason;
	struct eg_h1_head head;

	for (;;) {
		enum eg_io r = eg_h1_parse_response(&g->scan, eg_buf_str(&g->in), &limits,
						    eg_str_from(g->method), &head, &reason);

		if (r == EG_IO_AGAIN)
			return;
		if (r != EG_IO_DONE) {
			fail(g, KUBE_PROTOCOL,
			     "the Kubernetes API at %s sent what is not HTTP/1.1 for the %s%s%s",
			     g->api->where, g->what, head.wrong ? ": " : "",
			     head.wrong ? head.wrong : "");
			return;
		}
		if (head.status >= 200)
			break;
		if (head.status == 101 || ++g->interim > INTERIM_MOST) {
			fail(g, KUBE_PROTOCOL,
			     "the Kubernetes API at %s sent 1xx answers that nobody asked for",
			     g->api->where);
			return;
		}
		eg_buf_consume(&g->in, head.head_bytes);
		g->scan = (struct eg_h1_scan){0};
	}
	begin_body(g, &head);
}

static void broken(struct kube_get *g)
{
	const struct eg_stream_failure *f = eg_stream_failure(g->stream);

	if (g->in_body && g->outcome.trouble) {
		refused(g);
		return;
	}
	fail(g, KUBE_BROKEN, "the Kubernetes API at %s broke the connection for the %s off%s%s",
	     g->api->where, g->what, f && f->text[0] ? ": " : "", f ? f->text : "");
}

static void on_read(struct kube_get *g)
{
	enum eg_io r = eg_stream_read(g->stream, &g->in, READ_BYTES);

	switch (r) {
	case EG_IO_AGAIN:
		break;
	case EG_IO_DONE:
		if (g->in_body && !g->outcome.trouble)
			limit(g, g->api->times.silence_ms);
		if (g->in_body)
			take_body(g);
		else
			take_head(g);
		break;
	case EG_IO_EOF:
		if (g->in_body && g->body == EG_H1_BODY_CLOSE)
			whole(g);
		else
			broken(g);
		break;
	case EG_IO_FAIL:
		broken(g);
		break;
	}
}

/* ---- the request ---- */

static void send_request(struct kube_get *g)
{
	while (g->out.length) {
		struct iovec v = {eg_buf_data(&g->out), g->out.length};
		size_t written = 0;
		enum eg_io r = eg_stream_write(g->stream, &v, 1, &written);

		eg_buf_consume(&g->out, written);
		if (r == EG_IO_AGAIN) {
			eg_stream_want(g->stream, true, true);
			return;
		}
		if (r != EG_IO_DONE) {
			broken(g);
			return;
		}
	}
	eg_buf_fini(&g->out); /* wiped */
	eg_stream_want(g->stream, true, false);
}

/* A server that was cut off says no more: without these a watch would wait for ever. */
static void keep_alive(int fd)
{
	static const struct {
		int level, name, value;
	} set[] = {
		{SOL_SOCKET, SO_KEEPALIVE, 1},		{IPPROTO_TCP, TCP_KEEPIDLE, 30},
		{IPPROTO_TCP, TCP_KEEPINTVL, 10},	{IPPROTO_TCP, TCP_KEEPCNT, 3},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, 60000},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(set); i++)
		(void)setsockopt(fd, set[i].level, set[i].name, &set[i].value,
				 sizeof(set[i].value));
}

static void not_connected(struct kube_get *g)
{
	const struct eg_stream_failure *f = eg_stream_failure(g->stream);

	if (f->stage == EG_STAGE_CONNECT)
		fail(g, KUBE_CONNECT, "the Kubernetes API at %s can't be reached: %s",
		     g->api->where, f->text[0] ? f->text : strerror(f->error));
	else if (f->certificate)
		fail(g, KUBE_TLS,
		     "the certificate of the Kubernetes API at %s is not for %s by the CA in %s: "
		     "%s",
		     g->api->where, g->api->tls_name, g->api->ca_file, f->text);
	else
		fail(g, KUBE_TLS, "TLS with the Kubernetes API at %s failed: %s", g->api->where,
		     f->text[0] ? f->text : strerror(f->error));
}

static void on_event(struct eg_stream *s, unsigned int events, void *ctx)
{
	struct kube_get *g = ctx;

	if (events & EG_STREAM_FAILED) {
		if (g->sent)
			broken(g);
		else
			not_connected(g);
		return;
	}
	if (events & EG_STREAM_CONNECTED) {
		g->sent = true;
		keep_alive(eg_stream_fd(s));
	}
	if (g->sent && g->out.length && events & (EG_STREAM_CONNECTED | EG_STREAM_WRITE))
		send_request(g);
	if (g->stream == s && events & EG_STREAM_READ)
		on_read(g);
}

static const struct eg_stream_handler handler = {on_event};

/* Anew each time: it is small, and whether it has changed is told by nothing else as well. */
static int read_ca(struct kube_api *api, struct eg_error *e)
{
	struct eg_tls_client *tls = NULL;
	struct eg_trust *trust;
	char *pem = NULL;
	size_t n = 0;
	int r = eg_file_read(AT_FDCWD, api->ca_file, CA_BYTES, &pem, &n, e);

	if (r)
		return r;
	if (api->tls && n == api->ca_bytes && !memcmp(pem, api->ca, n)) {
		free(pem);
		return 0;
	}
	trust = eg_trust_create((struct eg_str){pem, n}, e);
	if (trust)
		tls = eg_tls_client_create(trust, e);
	eg_trust_unref(trust);
	if (!tls) {
		free(pem);
		return -EINVAL;
	}
	eg_tls_client_destroy(api->tls);
	free(api->ca);
	api->tls = tls;
	api->ca = pem;
	api->ca_bytes = n;
	return 0;
}

static bool fit_for_header(struct eg_str token)
{
	for (size_t i = 0; i < token.n; i++)
		if (token.p[i] <= ' ' || token.p[i] >= 0x7f)
			return false;
	return token.n > 0;
}

static int read_token(struct kube_get *g, struct eg_error *e)
{
	const char *file = g->api->token_file;
	struct eg_str token;
	char *bytes = NULL;
	size_t n = 0;
	int r = eg_file_read(AT_FDCWD, file, TOKEN_BYTES, &bytes, &n, e);

	if (r)
		return r;
	token = (struct eg_str){bytes, n};
	while (token.n && strchr("\r\n\t ", token.p[token.n - 1]))
		token.n--;
	if (!fit_for_header(token))
		r = eg_error_set(e, -EINVAL,
				 token.n ? "%s: has a space, a line break or another byte that no "
					   "header may have"
					 : "%s: the file is empty",
				 file);
	else if (!(g->token = eg_secret_create(token.p, token.n)))
		r = eg_error_set(e, -ENOMEM, "%s: out of memory", file);
	eg_wipe(bytes, n);
	free(bytes);
	return r;
}

static int write_request(struct kube_get *g, struct eg_str target, const struct kube_content *c)
{
	int r = eg_buf_printf(&g->out, "%s ", g->method);

	r = r ? r : eg_buf_append_str(&g->out, target);
	r = r ? r
	      : eg_buf_printf(&g->out,
			      " HTTP/1.1\r\nHost: %s\r\nUser-Agent: egretd/" EG_VERSION
			      "\r\nAccept: application/json\r\nConnection: close\r\n",
			      g->api->where);
	if (!r && c)
		r = eg_buf_printf(&g->out, "Content-Type: %s\r\nContent-Length: %zu\r\n", c->type,
				  c->bytes.n);
	r = r ? r : eg_buf_append_str(&g->out, EG_STR("Authorization: Bearer "));
	r = r ? r : eg_buf_append_str(&g->out, eg_secret_bytes(g->token));
	r = r ? r : eg_buf_append_str(&g->out, EG_STR("\r\n\r\n"));
	return r || !c ? r : eg_buf_append_str(&g->out, c->bytes);
}

static bool refuse(struct kube_get *g, struct kube_outcome *o, enum kube_trouble trouble,
		   const char *before, const char *why)
{
	kube_get_stop(g);
	*o = (struct kube_outcome){.trouble = trouble};
	snprintf(o->text, sizeof(o->text), "%s%.300s", before, why);
	return false;
}

static bool begin(struct kube_get *g, struct eg_str target, const struct kube_content *content,
		  uint64_t limit_ms, struct kube_outcome *o)
{
	struct kube_api *api = g->api;
	struct eg_error e = {{0}};
	int r;

	g->method = content ? content->method : "GET";
	g->sent = g->in_body = false;
	g->scan = (struct eg_h1_scan){0};
	g->interim = 0;
	memset(&g->outcome, 0, sizeof(g->outcome));
	g->deadline_ms = eg_loop_now_ms(api->loop) + limit_ms;
	r = read_ca(api, &e);
	if (r)
		return refuse(g, o, KUBE_CA, "the Kubernetes API's CA can't be used: ", e.text);
	r = read_token(g, &e);
	if (r)
		return refuse(g, o, KUBE_TOKEN,
			      "the token for the Kubernetes API can't be used: ", e.text);
	eg_buf_init_secret(&g->out, OUT_BYTES);
	if (write_request(g, target, content) ||
	    eg_timer_set(api->loop, &g->timer, EG_MIN(api->times.head_ms, limit_ms)))
		return refuse(g, o, KUBE_MEMORY, "the Kubernetes API: ", "out of memory");
	g->stream = eg_stream_connect(api->loop, &api->to, &handler, g);
	if (!g->stream)
		return refuse(g, o, KUBE_CONNECT,
			      "the Kubernetes API can't be reached: ", strerror(errno));
	/* -EINVAL: it has failed already, which is told from the loop. */
	if (eg_stream_tls_connect(g->stream, api->tls, api->tls_name, api->to.port) == -ENOMEM)
		return refuse(g, o, KUBE_MEMORY, "TLS with the Kubernetes API: ", "out of memory");
	return true;
}

bool kube_get_begin(struct kube_get *g, struct eg_str target, uint64_t limit_ms,
		    struct kube_outcome *o)
{
	return begin(g, target, NULL, limit_ms, o);
}

bool kube_send_begin(struct kube_get *g, struct eg_str target, const struct kube_content *content,
		     uint64_t limit_ms, struct kube_outcome *o)
{
	return begin(g, target, content, limit_ms, o);
}

void kube_get_init(struct kube_get *g, struct kube_api *api, const char *what,
		   const struct kube_get_calls *calls, void *ctx)
{
	*g = (struct kube_get){.api = api, .what = what, .calls = calls, .ctx = ctx};
	eg_timer_init(&g->timer, timed_out);
	eg_buf_init(&g->in, READ_BYTES);
	eg_buf_init_secret(&g->out, OUT_BYTES);
	eg_buf_init(&g->refusal, REFUSAL_BYTES);
}

void kube_get_fini(struct kube_get *g)
{
	kube_get_stop(g);
	eg_buf_fini(&g->in);
}
