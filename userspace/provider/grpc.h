/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a refusal says to a client that speaks gRPC (PROTOCOL-HTTP2.md of the gRPC project): its
 * messages are never read here. Pure.
 */
#ifndef EGRET_PROVIDER_GRPC_H
#define EGRET_PROVIDER_GRPC_H

#include "base/base.h"
#include "base/buf.h"

/* Is this Content-Type that of a gRPC request? Not of gRPC-Web, which is none over HTTP/2. */
bool eg_grpc_content(struct eg_str content_type);
/* The status, as text, that a gRPC client makes of an answer of this HTTP status without one
 * (http-grpc-status-mapping.md): so that it reads a refusal as it would from any other proxy. */
const char *eg_grpc_status(unsigned int http_status);
/* Appends `text` as a grpc-message has it: percent-encoded but for what is printable ASCII. 0 or as
 * eg_buf_append(). */
int eg_grpc_message(struct eg_buf *out, struct eg_str text) EG_MUST;

#endif
