# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the handover*.sh tests share, on top of agent_lib.sh: several egretd after each other, and beside each other.
. ./agent_lib.sh
RATE=${RATE:-500}
NTH=0 STEADY=() KINDS=()

# next [OPTION...]: another egretd beside the one that runs. OLD and OLD_PID are that one's log and pid, NEW and E_PID the new one's.
OLD='' NEW=egretd
next() {
	OLD=$NEW OLD_PID=$E_PID
	NTH=$((NTH + 1)) NEW=egretd-$((NTH + 1))
	E_NAME=$NEW egret_start --drain 20 "$@"
}
# next_held [OPTION...]: one whose gateway can't start until `release`, so that it stays in the middle of taking over.
next_held() {
	echo "no certificate any more" > "$T_RUN/roots.bad"
	release
	next --upstream-ca "$T_RUN/roots.pem" "$@"
	# Past the look that refuses the start, and before its gateway is to have them.
	when "$NEW" "taking over from" "os.rename('$T_RUN/roots.bad', '$T_RUN/roots.pem')"
	await 20 logged "$NEW" "gateway could not start"
}
release() { cp "$T_RUN/certs/root.crt" "$T_RUN/roots.new" && mv "$T_RUN/roots.new" "$T_RUN/roots.pem"; }
# back: the new one is gone, the old one is the one that counts.
back() { NEW=$OLD E_PID=$OLD_PID; }
first() { NTH=$((NTH + 1)) NEW=egretd-$((NTH + 1)); E_NAME=$NEW egret_start --drain 20 "$@"; egret_await_ready || t_die "egretd was not ready"; }
logged() { grep -q "$2" "$T_RUN/$1.log"; }
times() { grep -c "$2" "$T_RUN/$1.log"; }
in_charge() { [ "$(ctl status --json 2>/dev/null | jq .supervisor.pid)" = "$1" ]; }
state() { ctl status --json | jq -r .state; }
# when LOG TEXT PYTHON: runs it the moment the text is in the log; before all others where it may, so that a busy machine is not late.
REALTIME=(chrt -f 10)
"${REALTIME[@]}" true 2>/dev/null || REALTIME=()
when() { "${REALTIME[@]}" python3 - "$T_RUN/$1.log" "$2" "$3" <<'EOP'
import os, sys, time
path, text = sys.argv[1], sys.argv[2].encode()
end = time.monotonic() + 30
while time.monotonic() < end:
    with open(path, "rb") as f:
        if text in f.read():
            exec(sys.argv[3])
            sys.exit(0)
    time.sleep(0.0002)
sys.exit(1)
EOP
}
at() { when "$1" "$2" "os.kill($3, $4)"; } # LOG TEXT PID SIGNAL
# Requests over connections that are kept, and over new ones, until load_end and 20 of each; over LANES connections of each at a time.
load_begin() { # [OPTION...]
	rm -f "$T_RUN/enough"
	STEADY=() KINDS=(keep fresh)
	load 1 "${LANES:-8}" --rate "$RATE" --until "$T_RUN/enough" --at-least 20 "$@" > "$T_RUN/keep.json" & STEADY+=($!)
	load 1 "${LANES:-8}" --rate "$RATE" --until "$T_RUN/enough" --at-least 20 --fresh "$@" > "$T_RUN/fresh.json" & STEADY+=($!)
}
load_end() { # WHAT
	local kind r
	touch "$T_RUN/enough"
	wait "${STEADY[@]}"
	for kind in "${KINDS[@]}"; do
		r=$(tail -n 1 "$T_RUN/$kind.json")
		echo "       $1, $kind: $r"
		is "$1, $kind: no request failed" "$(jq .failed <<<"$r")" 0
		at_least "$1, $kind: there were some" "$(jq .ok <<<"$r")" 20
	done
	egret_records '.type == "request" and .reason != "ok"' | jq -c '.[:5][]'
}
stream_begin() { # MS between events
	mock_mode api.anthropic.com "slow-stream-$1" 1
	pod_curl podA -N --max-time 60 -H 'x-api-key: placeholder' -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' \
		-d '{"model":"claude-x","max_tokens":64,"stream":true,"messages":[{"role":"user","content":"hello"}]}' \
		https://api.anthropic.com/v1/messages > "$T_RUN/stream" 2> "$T_RUN/stream.err" &
	STREAM=$!
	await 10 test -s "$T_RUN/stream"
}
stream_end() { # WHAT
	wait "$STREAM"
	is "$1: a long stream goes on to its end" "$?" 0
	has "$1: whole" "$(cat "$T_RUN/stream")" message_stop
}
is_serving() { [ "$(state)" = serving ]; }
left() { find "$E_DIR/run" -name '*.sock*' | wc -l; }
# stranger WHAT [ARG...]: handover_stranger.py at the socket.
stranger() { node python3 handover_stranger.py "$E_DIR/run/handover.sock" "$@"; }

