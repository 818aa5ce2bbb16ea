#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Many pods at once on a node that serves: attaching to their links keeps the supervisor busy for seconds, and nobody else's connections may
# be judged meanwhile as if no agent ran.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
PODS=${PODS:-60}
agent_prepare egcrowd
for i in $(seq "$PODS"); do pod_add "x$i"; done
mkdir "$T_RUN/new"
for i in $(seq "$PODS"); do pod_register "$T_RUN/new" "x$i" shop '{}'; done
egret_up --fail open
is "at first all is well" "$(ask podA)" 200

asking_begins
all_there() { [ "$(ctl pods --json | jq '[.pods[] | select(.state == "governed")] | length')" = "$1" ]; }
pods_at_once() { # WORD COUNT CMD...: CMD changes the pods' files; then COUNT are governed
	local word=$1 count=$2; shift 2
	"$@"
	check "$word" await 60 all_there "$count"
	sleep 1
}
pods_at_once "$PODS pods come at once, and are governed" $((PODS + 1)) sh -c "mv '$T_RUN'/new/*.json '$E_DIR/pods/'"
is "such a pod is" "$(ask "x$PODS")" 200
pods_at_once "they go at once" 1 sh -c "mv '$E_DIR'/pods/*-x*.json '$T_RUN/new/'"
asking_ends
checks_done
