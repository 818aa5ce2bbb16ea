#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Signer and spawner hang (SIGSTOP; from outside an endless loop is the same): what is replaced, what is said, what ends.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
agent_prepare eghung
# Names without a certificate, for when one is needed.
jq '.policies[0].routes[0].match.hosts += ["api.groq.com", "api.deepseek.com", "api.mistral.ai"]' policies/agent/10-all.json > "$E_DIR/policy/10-all.json"
ask_name() { # NAME [CURL ARGS]: like ask, to another name of the same route
	local name=$1; shift
	pod_curl podA -o "$T_RUN/answer" -w '%{http_code}' -H 'authorization: Bearer placeholder' -H 'content-type: application/json' \
		-d '{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}' "$@" "https://$name/v1/chat/completions" 2>/dev/null
}
signal() { kill "-$1" "$(pid_of "$2")"; }
status() { ctl status --json | jq -r "$1"; }
readyz() { node curl -s --max-time 5 -w ' %{http_code}' http://127.0.0.1:9909/readyz | tr -d '\n'; }
in_state() { [ "$(status .state)" = "$1" ]; }
end() { # awaits egretd's end by itself; its exit status is in $ENDED
	if await 40 gone "$E_PID"; then wait "$E_PID"; ENDED=$?; else ENDED="none: it runs still"; kill_supervisor; fi
	E_PID=
}
egret_up --workers 1
is "at first all is well" "$(ask podA) $(readyz) $(status '[.state, .trouble, .ready] | join("|")')" "200 ok 200 serving||true"

# --- the signer hangs
GATEWAY=$(pid_of gateway) SIGNER=$(pid_of signer)
signal STOP signer
is "signer stopped: a connection that needs a new certificate waits for the next signer, and is served" "$(ask_name api.groq.com)" 200
check "the one that hung is gone" gone "$SIGNER"
isnt "there is another" "$(pid_of signer)" "$SIGNER"
is "gateway and supervisor are the same" "$(pid_of gateway) $(pid_of supervisor)" "$GATEWAY $E_PID"
is "it is counted as a hang" "$(metric egret_signer_restarts_total) $(metric egret_signer_hangs_total) $(status .signer.hangs)" "1 1 1"
has "and said" "$(log)" "signer (pid $SIGNER) is ended: it does not answer"
is "all is well again" "$(readyz) $(status .state)" "ok 200 serving"

# --- no signer can be started: those who wait fail with a reason, all others are served
mv "$E_DIR/ca/intermediate.key" "$E_DIR/ca/away"
signal KILL signer
is "no signer: a name that has its certificate is served" "$(ask podA)" 200
is "a name that has none is not" "$(ask_name api.deepseek.com)" 000
is "and the record says why" "$(egret_last '[.reason, .server_name] | join(" ")')" "no_leaf api.deepseek.com"
is "status: it serves, and is not well" "$(status '[.state, .ready] | join(" ")')" "degraded false"
check_not "the exit code says so" ctl status
has "in a sentence" "$(ctl status)" "TROUBLE   no signer answers"
has "readyz says it, too" "$(readyz)" "no signer answers"
has "with 503" "$(readyz)" " 503"
has "the log has what keeps it" "$(log)" "signer can't be started: $E_DIR/ca/intermediate.key: No such file"
mv "$E_DIR/ca/away" "$E_DIR/ca/intermediate.key"
check "the key is back: all is well" await 15 in_state serving
is "and new names are served" "$(ask_name api.deepseek.com)" 200

# --- a CA that can't be used: what the signer has stays; a signer that begins with it is of no use, and that is said
cp "$E_DIR/ca/intermediate.key" "$E_DIR/ca/away"
echo "no key" > "$E_DIR/ca/intermediate.key"
kill -HUP "$E_PID"
check "a pair that can't be used: said" await 15 sh -c "grep -q \"has changed and can't be used; the former one, if any, stays: intermediate key\" '$T_RUN/egretd.log'"
is "the former one stays" "$(ask_name api.mistral.ai) $(status '[.state, .ready] | join(" ")')" "200 serving true"
signal KILL signer
cannot_sign() { status .trouble | grep -q "the signer can't sign"; }
check "the next signer has none: not well" await 25 cannot_sign
has "in a sentence" "$(ctl status)" "TROUBLE   the signer can't sign: intermediate key: expected PEM"
has "readyz says it, too" "$(readyz)" "the signer can't sign"
has "with 503" "$(readyz)" " 503"
is "a name that has its certificate is served" "$(ask podA)" 200
mv "$E_DIR/ca/away" "$E_DIR/ca/intermediate.key"
kill -HUP "$E_PID"
check "the key is back: all is well" await 15 in_state serving
is "the log says it once each way" "$(log | grep -c "names that have no certificate yet get none") $(log | grep -c "has a CA to sign with again")" "1 1"

# --- the spawner hangs while nothing needs it
signal STOP spawner
check "spawner stopped: noticed" await 15 in_state degraded
is "what runs serves on" "$(ask podA) $(status .ready)" "200 false"
has "status says what it means" "$(ctl status)" "TROUBLE   the spawner (pid $(pid_of spawner)) does not answer: what runs serves on, but"
has "readyz, too" "$(readyz)" "the spawner (pid $(pid_of spawner)) does not answer"
has "with 503" "$(readyz)" " 503"
has "and the log" "$(log)" "a gateway or signer that fails can't be replaced; restart egretd"
is "and a metric" "$(metric egret_spawner_hung)" 1
signal CONT spawner
check "it goes on: all is well" await 15 in_state serving
is "readyz and metric" "$(readyz) $(metric egret_spawner_hung)" "ok 200 0"
has "the log says so" "$(log)" "answers again"
signal KILL gateway
is "and it replaces what dies" "$(ask podA)" 200

# --- the supervisor hangs: nobody ends it, and it is said
kill -STOP "$E_PID"
has "supervisor stopped: readyz says what that means" "$(readyz)" "the supervisor does not answer: the kernel applies the fail policy; restart egretd 503"
has "and status that it does not answer" "$(ctl status)" "the agent does not answer"
is "fail closed" "$(ask podA --max-time 3)" 000
kill -CONT "$E_PID"
check "it goes on: all is well" await 15 in_state serving
is "readyz" "$(readyz)" "ok 200"

# --- the spawner hangs, and then the gateway dies or hangs: egretd ends with an error, and everything with it
for how in KILL STOP; do
	[ -n "$E_PID" ] || egret_up --workers 1
	check "gateway $how: another start serves" await 15 in_state serving
	GATEWAY=$(pid_of gateway) SIGNER=$(pid_of signer) SPAWNER=$(pid_of spawner)
	kill -STOP "$SPAWNER"
	if [ $how = KILL ]; then kill -KILL "$GATEWAY"; await 5 gone "$GATEWAY"; else await 15 in_state degraded; kill -STOP "$GATEWAY"; fi
	mock_forget
	END=$((SECONDS + 40))
	until gone "$E_PID" || [ $SECONDS -ge $END ]; do status '[.state, .ready] | join(" ")'; sleep 0.1; done > "$T_RUN/states"
	hasnt "gateway $how, spawner stopped: no moment at which it says that it serves" "$(sort -u "$T_RUN/states")" "true"
	hasnt "nor that all is well" "$(sort -u "$T_RUN/states")" "serving"
	has "it says what is wrong" "$(sort -u "$T_RUN/states")" "spawner_hung false"
	end
	is "egretd ends with an error" "$ENDED" 1
	has "the log says why" "$(log)" "the gateway must be replaced, and for 10 s the spawner (pid $SPAWNER) has not answered: it hangs or is stopped; egretd ends"
	for pid in $GATEWAY $SIGNER $SPAWNER; do check "process $pid went with it, stopped or not" await 5 gone "$pid"; done
	is "fail closed holds" "$(ask podA --max-time 3) $(mock_requests)" "000 0"
	hasnt "no report of a sanitizer" "$(log)" "Sanitizer"
done

# --- the kernel takes over while the supervisor still waits for the spawner
egret_up --workers 1 --fail open
is "fail open: governed at first" "$(ask podA)" 200
signal STOP spawner
await 15 in_state degraded
signal KILL gateway
passes() { [ "$(ask podA --max-time 2)" = 401 ]; }
check "fail open: connections pass, since the heartbeat has stopped" await 9 passes
check "while the supervisor is there" kill -0 "$E_PID"
is "status says who is to blame" "$(status .state)" spawner_hung
has "and what the kernel does" "$(ctl status)" "TROUBLE   no gateway serves, and the spawner"
end
is "then egretd ends with an error" "$ENDED" 1

# --- the spawner hangs, and then the signer: in order, since the gateway lives
egret_up --workers 1
SIGNER=$(pid_of signer) SPAWNER=$(pid_of spawner)
signal STOP spawner
signal STOP signer
end
is "signer and spawner stopped: egretd ends with an error" "$ENDED" 1
has "the log says why" "$(log)" "the signer must be replaced, and for 10 s the spawner (pid $SPAWNER) has not answered"
for pid in $SIGNER $SPAWNER; do check "process $pid went with it" await 5 gone "$pid"; done
egret_up --workers 1
is "another start serves" "$(ask podA)" 200
hasnt "no report of a sanitizer" "$(log)" "Sanitizer"
hasnt "no undefined behaviour" "$(log)" "runtime error"
checks_done
