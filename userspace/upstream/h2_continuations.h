/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many CONTINUATION frames a head may have, from a client and from a provider. nghttp2 has a
 * limit of its own, but of what it counts: each piece in which a CONTINUATION's frame head comes is
 * one to it, and so is the end of what was read between two frames, so that one frame in small
 * pieces was a flood. It is told to take any number, and they are counted here, where it tells of
 * each frame once (on_begin_frame): however the bytes were cut, the same ones are too many. Pure.
 */
#ifndef EGRET_UPSTREAM_H2_CONTINUATIONS_H
#define EGRET_UPSTREAM_H2_CONTINUATIONS_H

#include <nghttp2/nghttp2.h>

#include "base/base.h"

#define H2_CONTINUATIONS 8u /* of one head */

/* For the session's options. */
static inline void h2_continuations_option(nghttp2_option *option)
{
	nghttp2_option_set_max_continuations(option, SIZE_MAX);
}

/* A frame of this type begins; *count, of those in a row, begins as 0. False: too many. */
static inline bool h2_continuations_allow(unsigned int *count, uint8_t type)
{
	*count = type == NGHTTP2_CONTINUATION ? *count + 1 : 0;
	return *count <= H2_CONTINUATIONS;
}

#endif
