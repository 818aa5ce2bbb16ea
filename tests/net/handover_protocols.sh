#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A second egretd takes over, and then a gateway is restarted, while pods use what is not a short request over HTTP/1.1: HTTP/2 with a client
# that sends nothing twice, a WebSocket that is never silent, an upload that passes through. None fails, those that end within the drain's time.
set -u
cd "$(dirname "$0")" || exit 1
. ./handover_lib.sh
agent_prepare eghproto
world_key deepseek api.deepseek.com >/dev/null
jq '.providers.deepseek = {kind: "openai", endpoint: "https://api.deepseek.com/v1", credential: "deepseek"}
	| .credentials.deepseek = {type: "bearer", file: "deepseek/key"}
	| .policies[0].routes += [{name: "realtime", match: {hosts: ["api.openai.com"], operations: ["realtime"]}, targets: [{provider: "openai"}]},
		{name: "cdn", match: {hosts: ["api.deepseek.com"]}, targets: [{provider: "deepseek"}]}]' policies/agent/*.json > "$E_DIR/policy/policy.json"
find "$E_DIR/policy" -name '*.json' ! -name policy.json -delete
egret_patient # how long 64 connections to a mock take is not what is looked at
head -c 3000000 /dev/urandom > "$T_RUN/upload"

begin() { # all of them; when it returns they run
	rm -f "$T_RUN"/{h2,ws}.enough
	pod podA env NODE_EXTRA_CA_CERTS="$T_RUN/pod-roots.crt" "$T_NODEJS" clients/h2_steady.mjs https://api.openai.com "${LANES:-64}" "$((RATE * 2))" "$T_RUN/h2.enough" \
		> "$T_RUN/h2.json" 2> "$T_RUN/h2.err" &
	H2=$!
	pod podA env ROOTS="$T_RUN/pod-roots.crt" python3 clients/ws_steady.py "$T_RUN/ws.enough" > "$T_RUN/ws.json" 2> "$T_RUN/ws.err" &
	WS=$!
	pod podA curl -sS --max-time 60 --cacert "$T_RUN/certs/root.crt" --limit-rate 400k --data-binary "@$T_RUN/upload" https://www.example.net/up \
		> "$T_RUN/relayed" 2>&1 &
	RELAY=$!
	await 20 grep -q open "$T_RUN/ws.json"
	sleep 1
}
end() { # WHAT
	touch "$T_RUN/ws.enough"
	wait "$WS"
	is "$1: the WebSocket goes on to its own end" "$(tail -n 1 "$T_RUN/ws.json" | jq -c '[.close, .error]')" '[1000,null]'
	at_least "$1: it said something all the time" "$(tail -n 1 "$T_RUN/ws.json" | jq .pings)" 5
	wait "$RELAY"
	has "$1: what passes through arrives whole" "$(cat "$T_RUN/relayed")" "3000000 bytes of body"
	sleep 1
	touch "$T_RUN/h2.enough"
	wait "$H2"
	sed 's/^/       /' "$T_RUN/h2.json" "$T_RUN/h2.err"
	is "$1: HTTP/2: no request failed" "$(jq -c '[.failed, .errors]' "$T_RUN/h2.json")" '[0,{}]'
	at_least "$1: HTTP/2: there were some" "$(jq .ok "$T_RUN/h2.json")" 100
	at_least "$1: HTTP/2: over a new connection in the end" "$(jq .sessions "$T_RUN/h2.json")" 2
}

restarted() { [ "$(ctl status --json | jq -r .gateway.renewal)" = none ]; }

first
pod_curl podA -o /dev/null https://api.deepseek.com/ # its address is known as governed from here on
for round in ${ROUNDS:-1 2 3}; do
	begin
	next
	check "$round: the new one takes over" await 30 in_charge "$E_PID"
	end "hand-over $round"
	check "$round: the old one ends by itself" await 60 gone "$OLD_PID"
done
for round in ${RESTARTS:-1 2 3}; do
	begin
	check "$round: a gateway is restarted" ctl gateway restart
	end "restart $round"
	check "$round: the former one ends by itself" await 40 restarted
done
is "nothing else was cut" "$(egret_records '.reason != "ok" and .reason != "pass_through" and .server_name != "api.deepseek.com" and .operation != "realtime"' |
	jq -c '.[:3]')" "[]"
check_not "no report of a sanitizer" grep -l Sanitizer "$T_RUN"/egretd*.log
checks_done
