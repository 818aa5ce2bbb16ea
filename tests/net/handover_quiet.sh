#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Connections that are kept and quiet while a gateway drains, and requests that begin on them at any time of it, with answers that
# take two seconds: each is answered, whether one egretd hands over to the next or its gateway alone is replaced.
set -u
cd "$(dirname "$0")" || exit 1
. ./handover_lib.sh
agent_prepare eghandq
DELAYS=(0.2 0.5 2 3 4.5 5.5)
quiet_begin() {
	rm -f "$T_RUN/go" "$T_RUN/go.first"
	pod podA python3 "$PWD/handover_quiet.py" "$T_RUN/pod-roots.crt" "$T_RUN/go" mock-slow-first-byte-2000 "${DELAYS[@]}" > "$T_RUN/quiet" 2>&1 &
	QUIET=$!
	await 20 eval "[ \"\$(cat '$T_RUN/go.first' 2>/dev/null)\" = xxxxxx ]" || t_die "$(cat "$T_RUN/quiet")"
}
quiet_end() { # WHAT
	touch "$T_RUN/go"
	wait "$QUIET"
	sort -n "$T_RUN/quiet" | sed 's/^/       /'
	is "$1: each was answered" "$(awk '$2 == 200' "$T_RUN/quiet" | wc -l)" "${#DELAYS[@]}"
	is "$1: in the first moments where it was" "$(awk '$1 < 0.4 { print $3 }' "$T_RUN/quiet")" kept
	is "$1: later on another connection" "$(awk '$1 > 1.9 { print $3 }' "$T_RUN/quiet" | sort | uniq -c | xargs)" "4 anew"
}

NEW=egretd-1 NTH=1
E_NAME=$NEW egret_start --drain 6
egret_await_ready || t_die "egretd was not ready"
quiet_begin
check "another gateway" ctl gateway restart
quiet_end "restart"
idle() { [ "$(ctl status --json | jq -r .gateway.renewal)" = none ]; }
check "the former one ends" await 15 idle
quiet_begin
next --drain 6
check "another egretd" await 30 in_charge "$E_PID"
quiet_end "hand-over"
is "no record but of answers" "$(egret_records '.type == "request" and .reason != "ok"' | jq -c '.[:5][]')" ""
checks_done
