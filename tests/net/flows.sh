#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# egretctl flows: of one pod, and live; without an agent, too.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
agent_prepare egflows
pod_register "$E_DIR/pods" podB shop '{"app":"assistant"}' assistant-sa
egret_up
is "at first all is well" "$(ask podA) $(ask podB)" "200 200"

echo "# of one pod"
pods_of() { jq -c "[.$1[].pod] | unique" <<< "$(ctl flows "${@:2}" --json)"; }
is "without --pod, all" "$(pods_of flows)" '["shop/podA","shop/podB"]'
is "flows" "$(pods_of flows --pod shop/podB)" '["shop/podB"]'
is "learned" "$(pods_of learned --learned --pod shop/podB)" '["shop/podB"]'
is "counters" "$(pods_of counters --counters --pod shop/podB)" '["shop/podB"]'
# fails CODE WORDS ARG...
fails() {
	local out code
	out=$(ctl flows "${@:3}" 2>&1); code=$?
	is "flows ${*:3}" "$code" "$1"
	has "is said" "$out" "$2"
}
fails 1 "no pod shop/none is known on this node" --pod shop/none
fails 2 "--pod podB: expected NAMESPACE/NAME" --pod podB
fails 2 "--destinations are every pod's" --pod shop/podB --destinations
fails 2 "expected one of --learned" --follow --counters

echo "# live"
follow() { # NAME OPTION...: from now on
	local name=$1; shift
	spawn "$name" node "$EGRETCTL" flows --run-dir "$E_DIR/run" --pin-dir "$E_PIN" --follow "$@"
}
follow all; ALL=$SPAWNED
follow one --pod shop/podB --json
sleep 1.5
is "what was there is not shown" "$(cat "$T_RUN/all.log" "$T_RUN/one.log")" ""
is "(requests)" "$(ask podA -4) $(ask podB -4)" "200 200"
shown() { grep -qE "$1" "$T_RUN/$2.log"; }
check "a line for a new flow" await 5 shown "^[0-9:]{8} shop/podA new tcp $(pod_ip podA):[0-9]+ > [0-9.]+:443 api.openai.com redirect redirect \+[0-9]+ packets \+[0-9]+ bytes$" all
check "and for the other pod's" await 5 shown " shop/podB new tcp " all
new_one() { jq -se 'map(select(.new and .pod == "shop/podB" and .new_packets == .packets and .new_bytes == .bytes)) | length == 1' "$T_RUN/one.log" > /dev/null; }
check "an object for it, with --json" await 5 new_one
is "of that pod alone" "$(jq -r .pod "$T_RUN/one.log" | sort -u)" shop/podB
# A flow that goes on: a connection that is kept.
spawn slow pod podA python3 -c '
import socket, time
s = socket.create_connection(("api.openai.com", 443))
time.sleep(3); s.sendall(b"\x16\x03\x01"); time.sleep(3)'
check "one that goes on is shown again" await 10 shown " shop/podA on tcp .* \+1 packets " all
stop
check "without an agent it goes on" kill -0 "$ALL"
node "$EGRETD" --uninstall --pin-dir "$E_PIN" --agent-namespace "$T-agent" --run-dir "$E_DIR/run" > /dev/null 2>&1
check "it ends when the pins go" await 10 gone "$ALL"
has "and says why" "$(tail -n 1 "$T_RUN/all.log")" "egretctl flows: "

egret_up
( sleep 2; ask podA -4 > /dev/null; ask podB -4 > /dev/null; sleep 2; ask podA -4 > /dev/null; ask podB -4 > /dev/null ) &
ctl flows --follow | head -n 1 > "$T_RUN/head"
check "it ends when nobody reads" test -s "$T_RUN/head"
wait $!
hasnt "no report of a sanitizer" "$(log)$(cat "$T_RUN/all.log")" "Sanitizer"
checks_done
