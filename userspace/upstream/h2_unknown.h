/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of types that nghttp2 does not know (RFC 9113 section 5.5): it reads over them and tells
 * nobody, so that a peer could send any number. They are asked for, so that on_begin_frame counts
 * them as it counts others, and then discarded.
 */
#ifndef EGRET_UPSTREAM_H2_UNKNOWN_H
#define EGRET_UPSTREAM_H2_UNKNOWN_H

#include <nghttp2/nghttp2.h>

#define H2_FIRST_UNKNOWN 0x0au /* RFC 9113 section 6 ends with 0x09 */

static inline int h2_unknown_discard(nghttp2_session *session, void **payload,
				     const nghttp2_frame_hd *hd, void *ctx)
{
	(void)session;
	(void)payload;
	(void)hd;
	(void)ctx;
	return NGHTTP2_ERR_CANCEL;
}

/* For the session's options and callbacks. */
static inline void h2_unknown_option(nghttp2_option *option)
{
	for (unsigned int type = H2_FIRST_UNKNOWN; type <= UINT8_MAX; type++)
		nghttp2_option_set_user_recv_extension_type(option, (uint8_t)type);
}

static inline void h2_unknown_callbacks(nghttp2_session_callbacks *c)
{
	nghttp2_session_callbacks_set_unpack_extension_callback(c, h2_unknown_discard);
}

#endif
