#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Processes die and hang under load: what fails, what waits, what passes, what is refused.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
REQUESTS=${REQUESTS:-10000} CONNECTIONS=${CONNECTIONS:-64}
agent_prepare egfault
pod_register "$E_DIR/pods" podB elsewhere '{}' # known, and no policy selects it
egret_up
is "at first all is well" "$(ask podA)" 200

# in_load REQUESTS OPTION... -- CMD...: CMD runs in the middle of a load; the load's result is in $R.
in_load() {
	local options=() total=$1; shift
	while [ "$1" != -- ]; do options+=("$1"); shift; done; shift
	mock_forget
	load "$total" "$CONNECTIONS" "${options[@]}" > "$T_RUN/load" &
	local loader=$!
	await 20 sh -c "[ \$(wc -l < '$T_RUN/provider.jsonl') -gt 300 ]"
	"$@"
	wait $loader
	R=$(cat "$T_RUN/load")
	echo "     $R"
}
signal() { kill "-$1" "$(pid_of "$2")"; }
restarts_of() { ctl status --json | jq ".$1.restarts"; }

# --- the gateway is killed
in_load "$REQUESTS" -- signal KILL gateway
FAILED=$(jq .failed <<<"$R")
check "gateway killed: only what was in flight failed ($FAILED of $CONNECTIONS connections)" test "$FAILED" -le "$CONNECTIONS"
is "all the others were answered" "$(jq '.ok + .failed' <<<"$R")" "$REQUESTS"
is "they failed with a reset, none hung, none got a wrong answer" "$(jq -c '.errors | keys - ["ECONNRESET", "EPIPE", "body cut"]' <<<"$R")" "[]"
is "it is counted" "$(metric egret_gateway_restarts_total)" 1
at_least "and each connection that was reset, with what lay unread in it" "$(metric egret_connections_lost_total)" "$FAILED"
is "each request has one record at most" "$(jq -r .request_id "$E_DIR/access.jsonl" | sort | uniq -d | wc -l)" 0

# --- how that looks on the wire: Node takes a FIN before the head for a reset, and --http1.0 takes one for the end of the answer
# cut KIND...: raw requests, and the gateway killed while they are under way; prints how each ended.
cut() {
	rm -f "$T_RUN/under-way"
	pod podA python3 agent_cut.py "$T_RUN/under-way" "$T_RUN/pod-roots.crt" "$@" > "$T_RUN/cut" &
	local program=$! pid
	await 20 test -e "$T_RUN/under-way"
	sleep 0.5 # the request of `wait` is at the provider, and not a byte of an answer came
	pid=$(pid_of gateway)
	kill -KILL "$pid"
	wait $program
	await 20 sh -c "[ \$('$EGRETCTL' status --json --run-dir '$E_DIR/run' | jq '.ready and .gateway.pid != $pid') = true ]"
	cat "$T_RUN/cut"
}
BEFORE=$(metric egret_requests_lost_total) RESTARTS=$(metric egret_gateway_restarts_total)
is "gateway killed: an answer delimited by the end of the connection ends with a reset" "$(cut 1.0)" "1.0 reset cut"
is "and is counted" "$(metric egret_requests_lost_total)" $((BEFORE + 1))
is "so does a chunked one, one under TLS, and one that has not begun" "$(cut 1.1 tls wait wait)" "$(printf '1.1 reset cut\ntls reset cut\nwait reset cut\nwait reset cut')"
is "each is counted" "$(metric egret_requests_lost_total)" $((BEFORE + 5))
has "and the log has the number" "$(log)" "4 requests were in flight on that gateway, and 4 connections of pods were open"
has "an answer that was whole stays so" "$(cut idle)" "idle reset whole"
is "and is not counted" "$(metric egret_requests_lost_total) $(metric egret_gateway_restarts_total)" "$((BEFORE + 5)) $((RESTARTS + 3))"

# --- an orderly end is none: an answer that is whole ends with a FIN, however slowly it is read
for version in 1.0 1.1; do
	rm -f "$T_RUN/under-way"
	pod podA python3 agent_cut.py "$T_RUN/under-way" "$T_RUN/pod-roots.crt" "$version" > "$T_RUN/cut" &
	READER=$!
	await 20 test -e "$T_RUN/under-way"
	[ $version = 1.0 ] || kill -TERM "$E_PID"
	wait $READER
	is "HTTP/$version: an orderly end is a FIN, also of an agent that drains" "$(cat "$T_RUN/cut")" "$version fin whole"
done
await 20 gone "$E_PID"
egret_up
in_load "$REQUESTS" --retries 2 -- signal KILL gateway
is "gateway killed: with an SDK's retries none fails" "$(jq .failed <<<"$R")" 0
is "the provider only ever saw the real key" "$(mock_requests ".credentials.authorization != \"Bearer $OPENAI\"")" 0

# --- the gateway hangs
in_load "$REQUESTS" --retries 2 -- signal STOP gateway
is "gateway stopped: found and replaced; with retries none fails" "$(jq .failed <<<"$R")" 0
is "it is counted as a hang" "$(metric egret_gateway_hangs_total)" 1
is "the supervisor is the same" "$(pid_of supervisor)" "$E_PID"

# --- the signer is killed: no connection notices
in_load 1500 -- signal KILL signer
is "signer killed: nothing fails" "$(jq .failed <<<"$R")" 0
is "there is another" "$(restarts_of signer)" 1
# A name that was not minted yet: the new signer has CA, names and sockets.
CODE=$(pod_curl podA -o /dev/null -w '%{http_code}' -H 'x-api-key: placeholder' -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' \
	-d '{"model":"claude-sonnet-4","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}' https://api.anthropic.com/v1/messages)
is "the new signer signs" "$CODE" 200

# --- new connections wait while nobody accepts
signal STOP gateway
is "a connection made while the gateway hangs waits, and is answered by its successor" "$(ask podA --max-time 10)" 200

# --- the supervisor is killed, fail closed
GATEWAY=$(pid_of gateway) SIGNER=$(pid_of signer) SPAWNER=$(pid_of spawner)
mock_forget
kill_supervisor
for pid in $GATEWAY $SIGNER $SPAWNER; do check "supervisor killed: process $pid goes with it" await 5 gone "$pid"; done
is "fail closed: a new connection is refused" "$(ask podA --max-time 3)" 000
is "fail closed: not by address either" "$(pod podA curl -sk -o /dev/null -w '%{http_code}' --max-time 3 https://198.51.100.10/)" 000
is "fail closed: the provider heard nothing" "$(mock_requests)" 0
is "an ungoverned pod is untouched" "$(ask podB)" 401
is "an ordinary site is untouched" "$(pod_curl podA -o /dev/null -w '%{http_code}' https://www.example.org/)" 200
egret_up
is "another egretd adopts and serves" "$(ctl status --json | jq -c '[.adopted, .ready]') $(ask podA)" "[true,true] 200"

# --- an old flow while the supervisor is killed (agent_killed.sh has the modes and families)
two closed
kill_supervisor
mock_forget
has "fail closed: an old flow gets no answer from anybody" "$(two_end closed)" "200 "
hasnt "nor a second one" "$(cat "$T_RUN/closed.out")" "$(printf '200\n200')"
is "and not a byte of it reaches the provider" "$(mock_requests)" 0

# --- fail open
egret_up --fail open
is "with --fail open, Egret serves as before" "$(ask podA)" 200
two before
kill_supervisor
await 5 sh -c "! '$EGRETCTL' status --run-dir '$E_DIR/run' >/dev/null 2>&1"
sleep 1.2 # the heartbeat's own age
mock_forget
is "fail open: a new connection passes, with the pod's own credential" "$(ask podA) $(mock_last .credentials.authorization)" "401 Bearer placeholder"
hasnt "fail open: a flow that the agent had is reset, not moved to the provider" "$(two_end before)" "200 401"
two during
is "a flow begun while it was open" "$(cat "$T_RUN/during.out")" 401
egret_up --fail open
is "Egret is back: new connections are governed" "$(ask podA)" 200
is "the flow begun while it was away goes on to its end, untouched" "$(two_end during)" "401 401 "

# --- a policy's own word wins over --fail open
jq '.policies[0].fail = "closed"' policies/agent/10-all.json > "$T_RUN/next.json"; mv "$T_RUN/next.json" "$E_DIR/policy/10-all.json"
await 15 sh -c "[ \$(grep -c 'is in force' '$T_RUN/egretd.log') -ge 2 ]"
kill_supervisor
sleep 1.2
is "--fail open, but the policy says closed: refused" "$(ask podA --max-time 3)" 000
has "status says so" "$(ctl status)" "1 fail closed"
jq '.policies[0].fail = "open"' policies/agent/10-all.json > "$T_RUN/next.json"; mv "$T_RUN/next.json" "$E_DIR/policy/10-all.json"
egret_up
kill_supervisor
sleep 1.2
is "--fail closed, but the policy says open: passed" "$(ask podA)" 401
has "status says that, too" "$(ctl status)" "1 fail OPEN"
cp policies/agent/10-all.json "$E_DIR/policy/"
egret_up --fail open

# --- an orderly end: what is in flight is finished
mock_mode api.openai.com slow-first-byte 1
ask podA > "$T_RUN/slow" &
SLOW=$!
await 10 grep -q slow-first-byte "$T_RUN/provider.jsonl"
stop
wait $SLOW
is "SIGTERM: the request in flight is answered" "$(cat "$T_RUN/slow")" 200

# --- and what is new meanwhile is the fail policy's
egret_up --fail open
mock_mode api.openai.com slow-first-byte-6000 1
mock_forget
ask podA > "$T_RUN/slow" &
SLOW=$!
await 10 grep -q slow-first-byte "$T_RUN/provider.jsonl"
kill -TERM "$E_PID"
sleep 1.5 # the heartbeat's own age
is "SIGTERM, fail open: new connections pass while the old ones are finished" "$(ask podA)" 401
check "it is still draining" kill -0 "$E_PID"
wait $SLOW
is "the old one is answered" "$(cat "$T_RUN/slow")" 200
await 20 gone "$E_PID"
check "then egretd ends" gone "$E_PID"
hasnt "no report of a sanitizer" "$(log)" "Sanitizer"
hasnt "no undefined behaviour" "$(log)" "runtime error"
E_PID=
checks_done
