#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Where egretd's own log goes: to a reader that stalls, and nowhere.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
agent_prepare eglog
PIPE=$T_RUN/pipe
mkfifo "$PIPE"
exec 7<>"$PIPE" # somebody has it open, and does not read

start() { # WHERE...: redirections of egretd's own
	# shellcheck disable=SC2294 # words of this test
	egret_start() { spawn egretd bash -c "exec nsenter --net='/run/netns/$T_NODE' '$EGRETD' \"\$@\" $where" egretd --policy-dir "$E_DIR/policy" \
		--pods-dir "$E_DIR/pods" --credentials-dir "$T_RUN/credentials" --ca-dir "$E_DIR/ca" --uplink eth0 --resolver "$(t_dns_address)" \
		--mode "$E_MODE" --run-dir "$E_DIR/run" --upstream-ca "$T_RUN/certs/root.crt" --pin-dir "$E_PIN" --agent-namespace "$T-agent" \
		--access-log "$E_DIR/access.jsonl"; E_PID=$SPAWNED; }
	local where=$*
	egret_up
}
stop_it() { kill -TERM "$E_PID"; await 20 gone "$E_PID"; E_PID=; }
refused() { ctl status | grep -q "is REFUSED"; }

start "2> '$PIPE'"
is "its reader does not stall yet" "$(ask podA)" 200
check "the pipe is full" python3 - "$PIPE" <<'EOP'
import os, sys
pipe = os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK)
for size in (4096, 1):
    try:
        while os.write(pipe, b"x" * size):
            pass
    except BlockingIOError:
        pass
EOP
echo '{' > "$T_RUN/next.json"
mv "$T_RUN/next.json" "$E_DIR/policy/10-all.json"
check "the supervisor has something to say, and goes on" await 10 refused
is "requests are answered" "$(ask podA --max-time 10)" 200
kill -KILL "$(pid_of gateway)"
is "also by another gateway, which is started by then" "$(ask podA --max-time 20)" 200
dd bs=65536 count=1 iflag=nonblock <&7 > "$T_RUN/read" 2>/dev/null
cp policies/agent/10-all.json "$T_RUN/next.json"
mv "$T_RUN/next.json" "$E_DIR/policy/10-all.json"
said() { dd bs=65536 count=1 iflag=nonblock <&7 >> "$T_RUN/read" 2>/dev/null; grep -q "$1" "$T_RUN/read"; }
check "somebody reads: it says what is missing" await 10 said 'entries of this log are lost'
stop_it

for where in '2>&-' '<&- >&- 2>&-'; do
	start "$where"
	is "egretd $where: serves" "$(ask podA)" 200
	for pid in $(ctl status --json | jq '.supervisor.pid, .spawner.pid, .signer.pid, .gateway.pid'); do
		is "and $(cat "/proc/$pid/comm") ($pid) has nothing of its own where it would print" "$(readlink "/proc/$pid/fd/2")" /dev/null
	done
	stop_it
done
checks_done
