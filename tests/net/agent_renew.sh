#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# egretctl gateway restart: another gateway beside the one that serves, under load. No request fails; what can't be prepared changes
# nothing.
set -u
cd "$(dirname "$0")" || exit 1
. ./handover_lib.sh
agent_prepare egrenew
cp "$T_RUN/certs/root.crt" "$T_RUN/roots.pem"
gateway() { ctl status --json | jq -r ".gateway.$1"; }
renewal_is() { [ "$(gateway renewal)" = "$1" ]; }
log() { cat "$T_RUN/$NEW.log"; }

first --upstream-ca "$T_RUN/roots.pem"
is "it serves" "$(ask podA)" 200
FIRST=$(gateway pid) SUPERVISOR=$(ctl status --json | jq .supervisor.pid)
load_begin
stream_begin 1300 # well within the 20 s that it has
out=$(ctl gateway restart); code=$?
is "restart: done" $code 0
SECOND=$(gateway pid)
isnt "by another process" "$SECOND" "$FIRST"
is "which it says" "$out" "gateway (pid $SECOND) serves; pid $FIRST finishes what it has"
out=$(ctl gateway restart 2>&1); code=$?
is "while the former one drains there is no third" "$code $out" "1 egretctl gateway restart: the last restart is not over: pid $FIRST has not ended"
next
check "nor another egretd beside the two" await 20 gone "$E_PID"
has "with a reason" "$(log)" "its gateway is being replaced"
back
stream_end "restart"
check "the former one ends" await 40 renewal_is none
check_not "it is gone" kill -0 "$FIRST"
for n in 3 4 5; do
	check "restart $n" ctl gateway restart
	check "restart $n is over" await 40 renewal_is none
done
load_end "restart"
is "one supervisor, no gateway lost, no request lost" "$(ctl status --json | jq -c '[.supervisor.pid, .gateway.restarts, .gateway.hangs, .gateway.requests_lost, .gateway.renewals]')" "[$SUPERVISOR,0,0,0,4]"
is "and metrics, of the gateway that serves now" "$(metric egret_gateway_renewals_total) $(metric egret_gateway_restarts_total)" "4 0"
hasnt "no error in the log" "$(log)" '"level":"error"'

# What holds for a gateway holds for the next one: a name that has no certificate, and policy.
is "its signer signs" "$(pod_curl podA -o /dev/null -w '%{http_code}' -H 'content-type: application/json' -d '{"model":"claude-x","max_tokens":8,"messages":[{"role":"user","content":"x"}]}' -H 'x-api-key: placeholder' -H 'anthropic-version: 2023-06-01' https://api.anthropic.com/v1/messages)" 200
kill -KILL "$(pid_of signer)"
isnt "a signer that is started then has its sockets" "$(await 15 is_serving; ask podA)" 000
kill -KILL "$(gateway pid)"
check "one that is killed afterwards is replaced as ever" await 20 sh -c "[ \"\$('$EGRETCTL' status --json --run-dir '$E_DIR/run' | jq .gateway.restarts)\" = 1 ]"
check "and it serves" await 20 is_serving
is "a pod is served" "$(ask podA)" 200

# --- a new one that can't be had: nothing changes
echo "no certificate" > "$T_RUN/roots.pem"
BEFORE=$(gateway pid)
out=$(ctl gateway restart 2>&1); code=$?
is "roots that are none: said" "$code" 1
has "with a reason" "$out" "it ended before it was ready"
has "the log has what kept it" "$(log)" "gateway could not start"
is "the former one serves" "$(gateway pid) $(ask podA)" "$BEFORE 200"
is "status has it" "$(gateway renewal_error)" "it ended before it was ready"
generation=$(egret_generation)
sed -i 's/"name": "shop"/"name": "renamed"/' "$E_DIR"/policy/*.json
newer() { egret_newer "$generation" && [ "$(ctl pods --json | jq -r '.pods[0].policy')" = renamed ]; }
check "a change of policy comes into force there" await 15 newer
is "a pod is served by it" "$(ask podA) $(egret_last .policy)" "200 renamed"
cp "$T_RUN/certs/root.crt" "$T_RUN/roots.pem"
check "with good roots it can be had" ctl gateway restart
check "and is over" await 40 renewal_is none
is "the error is forgotten" "$(gateway renewal_error)" ""

# --- what it would lose it does not begin
KEY=$(find "$T_RUN/credentials" -path '*openai/key' | head -1)
cp -p "$KEY" "$T_RUN/key.away"
: > "$KEY"
check "a key's file is empty for a moment: said" await 10 logged "$NEW" "the last good key stays in force"
out=$(ctl gateway restart 2>&1); code=$?
is "a new gateway would be without that key" "$code" 1
has "said" "$out" "a credential's file is not fit now"
cat "$T_RUN/key.away" > "$KEY"
check "the file is back" await 10 logged "$NEW" "its file is fit again"

# Nor does it go on when that comes later, before the new one serves: the key is with the one that serves alone.
kill -STOP "$(pid_of spawner)"
ctl gateway restart --no-wait >/dev/null
BEFORE=$(gateway former_pid)
: > "$KEY"
kill -CONT "$(pid_of spawner)"
check "a key's file is empty while one is prepared: it is given up" await 20 renewal_is none
is "pods are served with the key" "$(ask podA) $(gateway pid)" "200 $BEFORE"
has "status has the reason" "$(gateway renewal_error)" "a credential's file is not fit now"
is "the grace goes on" "$(ctl status --json | jq .credentials_missing)" 0
cat "$T_RUN/key.away" > "$KEY"
fit_again() { [ "$(grep -c "its file is fit again" "$T_RUN/$NEW.log")" -ge 2 ]; }
check "the file is back" await 10 fit_again

# --- the one that serves dies while the other is prepared; the spawner, which would start that, is held
kill -STOP "$(pid_of spawner)"
ctl gateway restart --no-wait >/dev/null
is "it is being prepared" "$(gateway renewal)" preparing
is "meanwhile pods are served" "$(ask podA)" 200
OLD_GATEWAY=$(gateway former_pid)
kill -KILL "$OLD_GATEWAY"
kill -CONT "$(pid_of spawner)"
check "the other one serves alone" await 20 is_serving
is "a pod is served" "$(ask podA) $(gateway renewal)" "200 none"
isnt "by the new one" "$(gateway pid)" "$OLD_GATEWAY"

# --- the end comes while one is prepared
kill -STOP "$(pid_of spawner)"
ctl gateway restart --no-wait >/dev/null
SPAWNER=$(pid_of spawner)
kill -TERM "$E_PID"
check "SIGTERM: the new one is given up" await 10 logged "$NEW" "goes on: egretd ends"
kill -CONT "$SPAWNER"
check "egretd ends" await 40 gone "$E_PID"
wait "$E_PID"
is "in order" "$?" 0
is "no process is left" "$(pgrep -c -f "$EGRETD role:.*$T" || true)" 0

out=$("$EGRETCTL" gateway 2>&1); code=$?
is "without a word: exit 2" "$code" 2
out=$("$EGRETCTL" gateway restart --run-dir /nowhere 2>&1); code=$?
is "no agent: exit 1" "$code" 1
hasnt "no report of a sanitizer" "$(cat "$T_RUN"/egretd*.log)" "Sanitizer"
E_PID=
checks_done
