/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gateway process: unprivileged, confined, and the only one that reads bytes of pods and
 * providers. A thread a worker (front/worker.h) and this control thread, which takes snapshots from
 * the supervisor, resolves the watched names, serves the metrics page and answers the heartbeat.
 */
#ifndef EGRET_AGENT_GATEWAY_H
#define EGRET_AGENT_GATEWAY_H

/* argv is {"egretd", "role:gateway", log level}; the control socket is EG_CONTROL_FD. */
int eg_gateway_main(int argc, char **argv);
/* Likewise "role:signer". */
int eg_signer_main(int argc, char **argv);

#endif
