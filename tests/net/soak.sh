#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Mixed load for long: requests that must all succeed, beside clients and providers that misbehave in every way the mocks know, policy
# that is reloaded each second, and keys that are written anew. Nothing may grow. `make soak` runs it for half an hour; a `make check`
# for SOAK_SECONDS=20, which shows that it works and that what was opened is closed. The providers that misbehave speak HTTP/1.1
# (`"http2": false`): the HTTP/2 server of Debian 12's Node.js corrupts its heap under so many resets, and aborts after a minute.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
SOAK_SECONDS=${SOAK_SECONDS:-20} RATE=${RATE:-60} LANES=${LANES:-12} SEED=${SEED:-$RANDOM}
topology_up egsoak podA podB
for p in openai:api.openai.com groq:api.groq.com mistral:api.mistral.ai; do world_key "${p%:*}" "${p#*:}" > /dev/null; done
world_up
E_HTTP2=1 egret_prepare policies/soak
pod_register "$E_DIR/pods" podA shop '{}'
pod_register "$E_DIR/pods" podB shop '{}'
# Without this ASan keeps 256 MB of what was freed, which looks like growth.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=8"
E_HTTP2=1 egret_up
is "at first all is well" "$(ask podA)" 200
echo "     $SOAK_SECONDS s, seed $SEED"

GATEWAY=$(pid_of gateway) SIGNER=$(pid_of signer) SPAWNER=$(pid_of spawner)
fds() { find "/proc/$1/fd" -mindepth 1 2>/dev/null | wc -l; }
rss() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; } # kB
gauge() { metric "$1{gateway=\"egret\"}"; }
quiet() { [ "$(gauge egret_requests_active)" = 0 ] && [ "$(gauge egret_held_bytes)" = 0 ] && [ "$(gauge egret_client_connections)" = 0 ]; }
own_fds() { echo $(($(fds "$GATEWAY") - $(gauge egret_upstream_connections))); } # but for the pooled ones
await 40 quiet
FDS=$(own_fds) SUPERVISOR_FDS=$(fds "$E_PID") SIGNER_FDS=$(fds "$SIGNER")

ENOUGH=$T_RUN/enough
load 1 16 --rate "$RATE" --until "$ENOUGH" > "$T_RUN/keep.json" & LANE1=$!
load 1 4 --rate 10 --fresh --until "$ENOUGH" > "$T_RUN/fresh.json" & LANE2=$!
pod_sdk podB X=x "$PWD/soak_chaos.mjs" "$ENOUGH" "$LANES" "$SEED" > "$T_RUN/chaos.json" 2> "$T_RUN/chaos.err" & LANE3=$!
GOOD=$(cat "$E_DIR/policy/10-all.json")
: > "$T_RUN/samples"
END=$((SECONDS + SOAK_SECONDS)) round=0
while [ $SECONDS -lt $END ]; do
	round=$((round + 1))
	case $((round % 4)) in
	0) echo "${GOOD%\}*}" > "$E_DIR/policy/10-all.json" ;; # broken
	1) echo "${GOOD/\"name\": \"shop\"/\"name\": \"shop-$round\"}" > "$T_RUN/policy.new"; mv "$T_RUN/policy.new" "$E_DIR/policy/10-all.json" ;;
	2) KEY=$(cat "$T_RUN/credentials/openai/key"); echo "$KEY" > "$T_RUN/credentials/openai/key" ;;
	3) pod_register "$E_DIR/pods" podB shop "{\"round\":\"$round\"}" ;;
	esac
	echo "$SECONDS $(rss "$GATEWAY") $(rss "$E_PID") $(rss "$SIGNER")" >> "$T_RUN/samples"
	sleep 1
done
echo "$GOOD" > "$E_DIR/policy/10-all.json"
touch "$ENOUGH"
wait $LANE1 $LANE2 $LANE3

for lane in keep fresh; do
	r=$(tail -n 1 "$T_RUN/$lane.json")
	echo "     $lane: $r"
	is "$lane: no request failed" "$(jq .failed <<<"$r")" 0
	at_least "$lane: there were some" "$(jq .ok <<<"$r")" "$SOAK_SECONDS"
done
echo "     chaos: $(cat "$T_RUN/chaos.json")"
for kind in whole reset_in_answer gateway_address websocket slow_reader upload_cut half_hello garbage passed_through http2_streams; do
	at_least "chaos: $kind" "$(jq ".did.$kind // 0" "$T_RUN/chaos.json")" 1
done
is "chaos: a reset is one" "$(jq -r .reset "$T_RUN/chaos.json")" ECONNRESET
at_least "chaos: the gateway address answers" "$(jq '.address["200"] // 0' "$T_RUN/chaos.json")" 1
at_least "chaos: WebSockets open" "$(jq '.upgraded["101"] // 0' "$T_RUN/chaos.json")" 1
is "by the same processes" "$(pid_of gateway) $(pid_of signer) $(pid_of spawner) $(pid_of supervisor)" "$GATEWAY $SIGNER $SPAWNER $E_PID"
is "no gateway was lost or hung" "$(ctl status --json | jq -c '[.gateway.restarts, .gateway.hangs, .signer.restarts, .signer.hangs]')" "[0,0,0,0]"
check "what was opened is closed, what was held is free" await 90 quiet
closed() { [ "$(own_fds)" -le $((FDS + 4)) ]; }
check "descriptors of the gateway are as many as at first ($FDS)" await 30 closed
at_least "of the supervisor: at most two more" $((SUPERVISOR_FDS + 2 - $(fds "$E_PID"))) 0
at_least "of the signer: at most two more" $((SIGNER_FDS + 2 - $(fds "$SIGNER"))) 0
is "it serves" "$(ask podA)" 200

# The median of the last third is not larger than that of the second by more than a tenth and 8 MB: what was warm then is no growth.
third() { # COLUMN WHICH
	local n; n=$(($(wc -l < "$T_RUN/samples") / 3))
	awk -v c="$1" '{ print $c }' "$T_RUN/samples" | tail -n +$((n * $2 + 1)) | head -n "$n" | sort -n | sed -n "$((n / 2 + 1))p"
}
for column in 2:gateway 3:supervisor 4:signer; do
	second=$(third "${column%:*}" 1) last=$(third "${column%:*}" 2)
	echo "     ${column#*:}: $second kB in the second third, $last kB in the last, $(rss "$(pid_of "${column#*:}")") kB now"
	at_least "${column#*:}: memory does not grow" $((second + second / 10 + 8192 - last)) 0
done
hasnt "no report of a sanitizer" "$(log)" "Sanitizer"
hasnt "no key in the log" "$(log)" "$(cat "$T_RUN/credentials/openai/key")"
checks_done
