#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One pod's flood of handshakes, of large bodies, and of requests that cost nothing to send, while another pod is served: it has its turn, whatever the other one does, by the same gateway.
# How fast all this is depends on the machine: what is counted is how much of the flood is done while a request of the other pod is.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
agent_prepare egfair
pod_register "$E_DIR/pods" podB shop '{"app":"assistant"}' assistant-sa
egret_patient
egret_up --workers 1
is "at first all is well" "$(ask podA) $(ask podB)" "200 200"
GATEWAY=$(pid_of gateway)
attack() { # NAME COMMAND CONNECTIONS [ARG...]: begins; it ends with the file $T_RUN/NAME.enough
	local name=$1 command=$2 connections=$3; shift 3
	spawn "$name" pod podA env ROOTS="$T_RUN/pod-roots.crt" /usr/bin/python3 "$T_ROOT/tests/lib/attacker.py" "$command" api.openai.com "$connections" \
		"$T_RUN/$name.enough" "$@"
	await 60 grep -q '"open"' "$T_RUN/$name.log"
}
ended() { [ "$(wc -l < "$T_RUN/$1.log")" -ge 2 ]; }
attack_end() { touch "$T_RUN/$1.enough"; await 120 ended "$1"; sed 's/^/       /' "$T_RUN/$1.log"; }
served() { is "$1: another pod's request is served" "$(ask podB --max-time 60)" 200; }

HELLOS=1024
attack hellos hellos $HELLOS
begun() { metric 'egret_handshakes_failed_total{gateway="egret"}'; }
flooded() { [ "$(begun)" -gt $((2 * HELLOS)) ]; }
check "handshakes: the flood stands" await 60 flooded
BEFORE=$(begun) TRIES=6
for _ in $(seq $TRIES); do served handshakes; done
EACH=$((($(begun) - BEFORE) / TRIES))
check "handshakes: it waited for a part of those that were there before it ($EACH of $HELLOS)" test "$EACH" -lt $HELLOS
attack_end hellos

# A few kilobytes each that take a second to read.
attack dear dear-bodies 1
read_bodies() { grep -c '"reason":"model_denied"' "$E_DIR/access.jsonl"; }
one_more() { [ "$(read_bodies)" -gt "$1" ]; }
check "dear bodies: one was read" await 60 one_more 0
BEFORE=$(read_bodies) SERVED=0 READ=0
# Ten over one connection: a handshake has many turns to wait for.
ask_ten() { pod_curl podB -w '%{http_code}\n' -o "$T_RUN/ten#1" -H 'authorization: Bearer placeholder' -H 'content-type: application/json' \
	-d '{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}' --max-time 120 'https://api.openai.com/v1/chat/completions#[0-9]' 2>/dev/null; }
while [ "$READ" -lt 3 ] && [ $SERVED -lt 300 ]; do
	SERVED=$((SERVED + $(ask_ten | grep -c '^200$'))) READ=$(($(read_bodies) - BEFORE))
done
check "dear bodies: another pod's requests are served while they are read, more than one for each ($SERVED for $READ)" test "$SERVED" -ge $((2 * READ))
attack_end dear

attack large large-bodies 4
for _ in 1 2 3 4; do served "large bodies"; done
attack_end large
has "large bodies: some were read, or refused for the pod's budget" "$(cat "$T_RUN/large.log")" "403 model_denied"
attack pipelining pipelining 200
sleep 2
for _ in 1 2 3 4; do served "pipelining"; done
attack_end pipelining
at_least "pipelining: there were some" "$(jq -s '.[1].bytes' "$T_RUN/pipelining.log")" 1000
is "no request of the other pod failed" "$(egret_records '.pod.name == "podB" and .reason != "ok"' | jq length)" 0
is "by the same gateway, which never hung" "$(pid_of gateway) $(ctl status --json | jq .gateway.hangs)" "$GATEWAY 0"
checks_done
