#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A worker that can't keep up: the flood of one pod is refused with 503 and Retry-After, another pod's single requests are served, and it ends by
# itself. However fast the machine is, the gateway here runs for 5 ms out of 135.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
CONNECTIONS=${CONNECTIONS:-256}
agent_prepare egover
pod_register "$E_DIR/pods" podB shop '{"app":"assistant"}' assistant-sa
egret_up --workers 1
is "at first all is well" "$(ask podA) $(ask podB)" "200 200"
GATEWAY=$(pid_of gateway)
shed() { metric 'egret_requests_shed_total{gateway="egret"}'; }
is "nothing was shed" "$(shed)" 0
cat > "$T_RUN/slow.py" <<'EOP'
import os, signal, sys, time
gateway, slow = int(sys.argv[1]), sys.argv[2]
try:
    while os.path.exists(slow):
        os.kill(gateway, signal.SIGSTOP)
        time.sleep(0.13)
        os.kill(gateway, signal.SIGCONT)
        time.sleep(0.005)
finally:
    os.kill(gateway, signal.SIGCONT)
EOP
touch "$T_RUN/slow"
load 1 "$CONNECTIONS" --until "$T_RUN/enough" > "$T_RUN/flood.json" &
FLOOD=$!
# Handshakes first: so many in one turn, at that pace, would look like a gateway that hangs.
connected() { [ "$(metric 'egret_client_connections{gateway="egret"}')" -ge "$CONNECTIONS" ]; }
check "the flood stands" await 60 connected
python3 "$T_RUN/slow.py" "$GATEWAY" "$T_RUN/slow" &
SLOW=$!
some_shed() { [ "$(shed)" -gt 0 ]; }
check "the flood is shed" await 60 some_shed
SERVED=0 ANSWERED=0 TRIES=3
for _ in $(seq $TRIES); do
	case $(ask podB --max-time 30 -D "$T_RUN/head") in
	200) SERVED=$((SERVED + 1)) ANSWERED=$((ANSWERED + 1)) ;;
	503) grep -qi '^retry-after: 1' "$T_RUN/head" && ANSWERED=$((ANSWERED + 1)) ;;
	esac
done
is "another pod's requests are answered meanwhile" "$ANSWERED" "$TRIES"
is "served, since it has one at a time" "$SERVED" "$TRIES"
HELD=$(metric 'egret_held_bytes{gateway="egret"}')
check "what is held stays within the pod's budget ($HELD)" test "$HELD" -le $((64 << 20))
rm "$T_RUN/slow"
wait $SLOW
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
