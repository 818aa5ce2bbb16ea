#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A worker that can't keep up: the flood of one pod is refused with 503 and Retry-After, another pod's single requests are served, and it ends by
# itself. However fast the machine is, the gateway here gets a small share of a CPU, as by a container's CPU limit.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
. ../lib/cpu_limit.sh
cpu_limit_require
CONNECTIONS=${CONNECTIONS:-256}
agent_prepare egover
pod_register "$E_DIR/pods" podB shop '{"app":"assistant"}' assistant-sa
# The mock provider is slow to make hundreds of connections; that is not what is looked at here.
egret_patient
egret_up --workers 1
is "at first all is well" "$(ask podA) $(ask podB)" "200 200"
GATEWAY=$(pid_of gateway)
shed() { metric 'egret_requests_shed_total{gateway="egret"}'; }
is "nothing was shed" "$(shed)" 0
load 1 "$CONNECTIONS" --until "$T_RUN/enough" > "$T_RUN/flood.json" &
FLOOD=$!
connected() { [ "$(metric 'egret_client_connections{gateway="egret"}')" -ge "$CONNECTIONS" ]; }
check "the flood stands" await 60 connected
some_shed() { [ "$(shed)" -gt 0 ]; }
# How little is too little depends on how fast this build is beside a client that has the rest of the machine.
for percent in ${PERCENT:-2 1}; do
	cpu_limit "$GATEWAY" "$percent"
	await 20 some_shed && break
done
check "the flood is shed" some_shed
late() { [ "$(metric 'egret_loop_late_milliseconds{gateway="egret",worker="0"}')" -gt 250 ]; }
check "the worker says how late it is" await 60 late
SERVED=0 ANSWERED=0 TRIES=3
for _ in $(seq $TRIES); do
	case $(ask podB --max-time 60 -D "$T_RUN/head") in
	200) SERVED=$((SERVED + 1)) ANSWERED=$((ANSWERED + 1)) ;;
	503) grep -qi '^retry-after: 1' "$T_RUN/head" && ANSWERED=$((ANSWERED + 1)) ;;
	esac
done
is "another pod's requests are answered meanwhile" "$ANSWERED" "$TRIES"
is "served, since it has one at a time" "$SERVED" "$TRIES"
HELD=$(metric 'egret_held_bytes{gateway="egret"}')
check "what is held stays within the pod's budget ($HELD)" test "$HELD" -le $((64 << 20))
cpu_limit_end
touch "$T_RUN/enough"
wait $FLOOD
cat "$T_RUN/flood.json"
at_least "the flood was told so" "$(jq '.statuses["503"]' "$T_RUN/flood.json")" 1
is "and of nothing else" "$(jq -c '.statuses | keys' "$T_RUN/flood.json")" '["200","503"]'
at_least "each has a record" "$(egret_records '.reason == "overloaded" and .status == 503 and .pod.name == "podA"' | jq length)" 1
is "none of podB's" "$(egret_records '.reason == "overloaded" and .pod.name == "podB"' | jq length)" 0
BEFORE=$(shed)
is "afterwards everything is served" "$(load 500 16 | jq -c '[.ok, .failed]')" "[500,0]"
is "and nothing more is shed" "$(shed)" "$BEFORE"
is "by the same gateway" "$(pid_of gateway)" "$GATEWAY"
checks_done
