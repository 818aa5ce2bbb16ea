#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/systemd/egretd.service: systemd finds nothing wrong with it, and egretd does all its work under its restrictions, which
# tests/lib/unit_sandbox.py makes of the unit's own lines (systemd itself does not run where this does).
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
command -v systemd-analyze >/dev/null || skip_all "there is no systemd-analyze: run tools/deps"
UNIT=$T_ROOT/tools/systemd/egretd.service
agent_prepare egunit
REAL=$EGRETD
mkdir -p "$T_RUN/units"

# --- systemd's own judgement, of the unit with the paths of programs that are here
for name in egretd egretd@; do sed "s|/usr/local/sbin/egretd|$REAL|" "$UNIT" > "$T_RUN/units/$name.service"; done
for name in egretd egretd@b; do
	is "systemd-analyze verify $name" "$(systemd-analyze verify --man=no "$T_RUN/units/$name.service" 2>&1 | grep egretd)" ""
done
exposure=$(systemd-analyze security --offline=yes --no-pager "$T_RUN/units/egretd.service" 2>&1 | sed -n 's/.*exposure level for egretd.service: \([0-9.]*\).*/\1/p')
is "systemd-analyze security: an exposure of less than 4 ($exposure)" "$(awk -v e="${exposure:-10}" 'BEGIN { print (e < 4) }')" 1

sandboxed() { # UNIT: egretd runs under it from now on
	printf '#!/bin/sh\nexec python3 %q %q --write %q --write /run/netns -- %q "$@"\n' "$T_ROOT/tests/lib/unit_sandbox.py" "$1" "$E_DIR" "$REAL" > "$T_RUN/egretd-sandboxed"
	chmod 755 "$T_RUN/egretd-sandboxed"
	EGRETD=$T_RUN/egretd-sandboxed
}
bare() { EGRETD=$REAL; }
# The sandbox is one: what must not work does not.
in_sandbox() { node python3 "$T_ROOT/tests/lib/unit_sandbox.py" "$UNIT" --write "$E_DIR" -- "$@"; }
check "the sandbox: a program runs" in_sandbox true
check "writes where it may" in_sandbox touch "$E_DIR/x"
check_not "and nowhere else" in_sandbox touch "$T_ROOT/x"
check_not "no mount namespace" in_sandbox unshare -m true
check "a network namespace" in_sandbox unshare -n true
check_not "no packet socket" in_sandbox python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'
check_not "no sysctl of the kernel" in_sandbox sh -c 'echo 1 > /proc/sys/kernel/core_uses_pid'
check_not "no memory that is written and executed" in_sandbox python3 -c 'import mmap; mmap.mmap(-1, 4096, prot=7)'
check_not "no other user's file" in_sandbox sh -c "chown nobody '$E_DIR/x'"

serves() { # TEXT: what egretd does, under the unit that is in force
	local first
	egret_up
	is "$1: a pod is served" "$(ask podA)" 200
	is "with the provider's key" "$(mock_last .credentials.authorization)" "Bearer $OPENAI"
	is "no new privileges, a filter" "$(proc "$E_PID" NoNewPrivs) $(proc "$E_PID" Seccomp)" "1 2"
	# What the bounding set does not have nothing that it executes can have.
	is "rights that it was not given are out of reach" "$(($(printf '%d' "0x$(proc "$E_PID" CapBnd)") & ~$2))" 0
	check "another gateway" ctl gateway restart
	is "which serves" "$(ask podA)" 200
	kill -KILL "$(pid_of signer)"
	check "a signer that is killed has a successor" await 20 sh -c "'$EGRETCTL' status --run-dir '$E_DIR/run' >/dev/null"
	# The instance beside it takes over, as `systemctl start egretd@b` has it.
	first=$E_PID
	E_NAME=egretd-b egret_start
	check "another instance takes over" await 40 gone "$first"
	check "and is well" await 20 egret_ready
	is "it serves" "$(ask podA)" 200
	# But for what systemd would give (a cgroup of its own), what was done to the signer, and the right that mark mode does without.
	is "nothing is amiss in the logs" "$(cat "$T_RUN"/egretd.log "$T_RUN"/egretd-b.log | grep -E '"level":"(warn|error)"' |
		grep -v 'in no cgroup v2 of its own\|signer\|CAP_SYS_ADMIN is missing')" ""
	stop
	bare
	egret_down
}
sandboxed "$UNIT"
serves "mode netns" "$((1 << 5 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 12 | 1 << 21 | 1 << 39))"

# As docs/install-systemd.md says it for --mode mark.
sed 's/^\(CapabilityBoundingSet=.*\)CAP_SYS_ADMIN/\1CAP_PERFMON/' "$UNIT" > "$T_RUN/units/mark.service"
E_MODE=mark
sandboxed "$T_RUN/units/mark.service"
serves "mode mark" "$((1 << 5 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 12 | 1 << 38 | 1 << 39))"
checks_done
