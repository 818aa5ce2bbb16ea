/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of a SOCK_SEQPACKET pair between two processes of egretd, and sealed memory to pass over
 * it. Any thread, one at a time.
 */
#ifndef EGRET_AGENT_CHANNEL_H
#define EGRET_AGENT_CHANNEL_H

#include "agent/wire.h"

/* A pair, close-on-exec, non-blocking at both ends, with room for a snapshot's messages. */
int eg_channel_pair(int ends[2]) EG_MUST;
/* One message; `fds` are borrowed. 0; -EAGAIN: the other side does not read; -EPIPE: it is gone. */
int eg_channel_send(int channel, const struct eg_message *m, const int *fds,
		    unsigned int count) EG_MUST;
/*
 * 1 and a message whose size and descriptor count are those of its type; 0: the other side is gone;
 * -EAGAIN; -EPROTO: it sent something else; -EMFILE: a message, but this process may have no more
 * descriptors, and those that came with it are lost. Descriptors are the caller's to close
 * (close-on-exec); unused places of fds are -1.
 */
int eg_channel_receive(int channel, struct eg_message *m, int fds[EG_WIRE_FDS]) EG_MUST;
/*
 * The same for messages of another room's making (handover_wire.h), of exactly `size` bytes. What
 * came is in *n, which may differ; all descriptors that came are in fds, `count` of them.
 */
int eg_channel_send_bytes(int channel, const void *bytes, size_t size, const int *fds,
			  unsigned int count) EG_MUST;
int eg_channel_receive_bytes(int channel, void *bytes, size_t size, size_t *n, int fds[EG_WIRE_FDS],
			     unsigned int *count) EG_MUST;
/* Closes what receive gave and was not taken. */
void eg_channel_close_fds(int fds[EG_WIRE_FDS]);

/* A memfd with these bytes, sealed against every change; the caller closes it. */
int eg_memory_seal(const char *name, struct eg_str bytes, int *memfd) EG_MUST;
/* Reads exactly `n` bytes of it, plus a NUL after them. The caller frees. -EPROTO: it holds less or
 * is not sealed. */
int eg_memory_read(int memfd, size_t n, char **bytes) EG_MUST;

#endif
