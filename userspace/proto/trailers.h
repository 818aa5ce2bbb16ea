/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trailers: the fields after a message's body (RFC 9110 section 6.5). Pure: bytes in, structures
 * out.
 */
#ifndef EGRET_PROTO_TRAILERS_H
#define EGRET_PROTO_TRAILERS_H

#include "proto/h1.h"

/*
 * Reads whole lines, "name: value\r\n" each, without an empty one after them. out[0..*count) are
 * the fields that may stand there, borrowed from `lines`; what must not (section 6.5.1: framing,
 * routing, authentication, what controls the request, the answer or the reading of its content) is
 * left out. 0; -EINVAL: it is no field section; -ENOBUFS: more than `room` fields, also of those
 * that are left out. *count is set in any case.
 */
int eg_trailers_read(struct eg_str lines, struct eg_header *out, size_t room,
		     size_t *count) EG_MUST;

#endif
