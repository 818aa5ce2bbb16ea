/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nghttp2 calls. It keeps the framing, HPACK and the windows; what a request is, is ours to
 * judge (no_http_messaging): a field it would drop in silence must not be dropped.
 */
#include "front/h2_answer.h"
#include "front/h2_stream.h"
#include "upstream/h2_continuations.h"
#include "upstream/h2_mem.h"
#include "upstream/h2_unknown.h"

#define CONNECTION_WINDOW (1 << 20)
#define ANSWER_HEAD_MAX	  (256u * 1024u) /* over the largest that a provider may send */
/* Names and values of one block. A byte of HPACK may stand for 4 KiB, and what is behind the limit
 * of a head is decoded, too, for the sake of the table; but not for ever. */
#define BLOCK_MAX (16u * H2_HEAD_LIST_MAX)
#define EARN_DATA 4u /* for each DATA frame the client got: WINDOW_UPDATEs */

static struct h2_stream *find(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

/* ---- what comes ---- */

/* Every frame costs one. HEADERS that begin a request and DATA that carries something get it back:
 * they are bounded by what they are for. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *ctx)
{
	struct h2_server *s = ctx;

	(void)session;
	if (s->violated || s->state == H2_CLOSED)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	s->frame_paid = hd->type != NGHTTP2_DATA;
	if (hd->type == NGHTTP2_HEADERS && hd->stream_id & 1 &&
	    !h2_number_used(&s->numbers, hd->stream_id)) {
		h2_server_violation(s, NGHTTP2_PROTOCOL_ERROR,
				    "HTTP/2: a stream's number that had been skipped");
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	if (!h2_continuations_allow(&s->continuations, hd->type)) {
		h2_server_violation(s, NGHTTP2_ENHANCE_YOUR_CALM,
				    "HTTP/2: a head in too many CONTINUATION frames");
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	if (h2_bucket_spend(&s->control, 1, h2_server_now(s)))
		return 0;
	h2_server_violation(s, NGHTTP2_ENHANCE_YOUR_CALM, "HTTP/2: a flood of control frames");
	return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static void restart_head(struct h2_server *s)
{
	h2_head_fini(&s->head);
	h2_head_init(&s->head);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct h2_server *s = ctx;

	(void)session;
	s->block_of = frame->hd.stream_id;
	s->block_began_ms = h2_server_now(s);
	s->trailer_wrong = NULL;
	s->block_bytes = 0;
	restart_head(s);
	h2_server_due(s, s->block_began_ms + s->engine->limits.head_ms);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags,
		     void *ctx)
{
	struct eg_str n = {(const char *)name, name_length};
	struct eg_str v = {(const char *)value, value_length};
	struct h2_server *s = ctx;

	(void)session;
	(void)flags;
	s->block_bytes += name_length + value_length + H2_FIELD_OVERHEAD;
	if (s->block_bytes > BLOCK_MAX) {
		h2_server_violation(s, NGHTTP2_ENHANCE_YOUR_CALM,
				    "HTTP/2: a head, or trailers, of more than 1 MiB");
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		h2_head_field(&s->head, n, v);
	else if (!s->trailer_wrong)
		s->trailer_wrong = h2_trailer(&s->head, n, v);
	return 0;
}

static void take_trailers(struct h2_server *s, struct h2_stream *st, bool end)
{
	if (!end)
		h2_stream_malformed(st, EG_REASON_BAD_REQUEST,
				    "trailers that don't end the stream");
	else if (s->trailer_wrong)
		h2_stream_malformed(st, EG_REASON_BAD_REQUEST, s->trailer_wrong);
	else
		h2_stream_ended(st);
}

static void take_pong(struct h2_server *s, const uint8_t payload[8])
{
	struct eg_list *it;
	uint64_t number;

	memcpy(&number, payload, sizeof(number));
	if (number > s->pings || number <= s->pongs)
		return; /* none of ours */
	s->pongs = number;
	eg_list_for_each (it, &s->streams) {
		struct h2_stream *st = eg_container_of(it, struct h2_stream, link);

		if (st->ping && eg_list_empty(&st->todo))
			eg_list_append(&s->todo, &st->todo);
	}
	h2_server_ponged(s);
	h2_server_wake(s);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	struct h2_stream *st = find(session, frame->hd.stream_id);
	struct h2_server *s = ctx;

	switch (frame->hd.type) {
	case NGHTTP2_HEADERS:
		s->block_of = 0;
		if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
			h2_bucket_earn(&s->control, 1);
			h2_stream_open(s, frame->hd.stream_id, end);
			restart_head(s);
		} else if (st) {
			take_trailers(s, st, end);
		}
		break;
	case NGHTTP2_DATA:
		if (st && end)
			h2_stream_ended(st);
		break;
	case NGHTTP2_PING:
		if (frame->hd.flags & NGHTTP2_FLAG_ACK)
			take_pong(s, frame->ping.opaque_data);
		break;
	default:
		break;
	}
	return s->state == H2_CLOSED ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t n, void *ctx)
{
	struct h2_stream *st = find(session, id);
	struct h2_server *s = ctx;

	(void)flags;
	if (!s->frame_paid)
		h2_bucket_earn(&s->control, 1);
	s->frame_paid = true;
	/* The connection's window never waits for one stream: each has its own to be held by. */
	if (h2_server_failed(s, nghttp2_session_consume_connection(session, n)))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (st)
		h2_stream_data(st, (struct eg_str){(const char *)data, n});
	return s->state == H2_CLOSED ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* A request that was work for us and of no use to the client: reset by it, or for its fault. */
static bool wasted(const struct h2_stream *st, uint32_t error)
{
	if (!st)
		return true;
	return st->answer == H2_ANSWER_RESET ? error == NGHTTP2_PROTOCOL_ERROR : !st->end_sent;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *ctx)
{
	struct h2_stream *st = find(session, id);
	struct h2_server *s = ctx;
	bool waste = wasted(st, error);

	if (st)
		h2_stream_closed(st, EG_REASON_CLIENT_CLOSED);
	if (waste && !h2_bucket_spend(&s->resets, 1, h2_server_now(s)))
		h2_server_violation(s, NGHTTP2_ENHANCE_YOUR_CALM,
				    "HTTP/2: a flood of requests that were reset");
	return 0;
}

/* ---- what goes ---- */

static ssize_t read_data(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
			 uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
	struct h2_stream *st = find(session, id);
	int error;
	size_t n;

	(void)to;
	(void)source;
	(void)ctx;
	if (!st)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	n = EG_MIN(room, st->out.length);
	if (st->answer == H2_ANSWER_ENDED && n == st->out.length) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (h2_stream_end_body(st, &error))
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		else if (error)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	} else if (!n) {
		st->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (n)
		*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	return (ssize_t)n;
}

const nghttp2_data_provider h2_data_provider = {.read_callback = read_data};

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t n,
		     nghttp2_data_source *source, void *ctx)
{
	struct h2_stream *st = find(session, frame->hd.stream_id);
	struct h2_server *s = ctx;

	(void)source;
	if (!st || st->out.length < n)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (s->full)
		return NGHTTP2_ERR_WOULDBLOCK;
	if (eg_buf_append(&s->out, head, 9) || eg_buf_append(&s->out, eg_buf_data(&st->out), n))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	s->full = s->out.length >= H2_OUT_HIGH;
	h2_bucket_earn(&s->control, EARN_DATA);
	h2_stream_taken(st, n);
	return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct h2_stream *st = find(session, frame->hd.stream_id);
	struct h2_server *s = ctx;

	if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
		h2_server_violation(s, frame->goaway.error_code,
				    nghttp2_http2_strerror(frame->goaway.error_code));
	if (st && frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
	    (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS))
		h2_stream_end_sent(st);
	return 0;
}

static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error,
			     void *ctx)
{
	struct h2_stream *st = find(session, frame->hd.stream_id);

	(void)ctx;
	(void)error;
	if (st && frame->hd.type == NGHTTP2_HEADERS)
		h2_stream_lost(st);
	return 0;
}

/* ---- the session ---- */

static void set_callbacks(nghttp2_session_callbacks *c)
{
	nghttp2_session_callbacks_set_on_begin_frame_callback(c, on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(c, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
	nghttp2_session_callbacks_set_send_data_callback(c, send_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_send);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(c, on_frame_not_send);
}

static int create(struct h2_server *s, nghttp2_option *option, nghttp2_session_callbacks *c)
{
	nghttp2_mem mem = h2_mem(); /* HPACK's table has a key of the client's */
	nghttp2_session *session = NULL;
	int r;

	nghttp2_option_set_no_http_messaging(option, 1);
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_max_send_header_block_length(option, ANSWER_HEAD_MAX);
	h2_continuations_option(option);
	h2_unknown_option(option);
	h2_unknown_callbacks(c);
	set_callbacks(c);
	r = nghttp2_session_server_new3(&session, c, s, option, &mem);
	if (!r) /* else it points to what was freed */
		s->session = session;
	return r;
}

int h2_session_create(struct h2_server *s)
{
	/*
	 * Not SETTINGS_NO_RFC7540_PRIORITIES: with it nghttp2 1.52 frees a DATA item twice when it
	 * runs out of memory (session_attach_stream_item() leaves it with the stream).
	 */
	static const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, H2_HEAD_LIST_MAX},
	};
	nghttp2_session_callbacks *c = NULL;
	nghttp2_option *option = NULL;
	int r = -1;

	if (!nghttp2_option_new(&option) && !nghttp2_session_callbacks_new(&c))
		r = create(s, option, c);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(c);
	if (!r)
		r = nghttp2_submit_settings(s->session, NGHTTP2_FLAG_NONE, settings,
					    EG_ARRAY_SIZE(settings));
	if (!r)
		r = nghttp2_session_set_local_window_size(s->session, NGHTTP2_FLAG_NONE, 0,
							  CONNECTION_WINDOW);
	return r ? -ENOMEM : 0;
}
