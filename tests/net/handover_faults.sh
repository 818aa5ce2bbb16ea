#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a hand-over between two egretd must survive: one that may not take over, strangers at the socket, one side that hangs. The one
# that runs goes on each time, with all it had.
set -u
cd "$(dirname "$0")" || exit 1
. ./handover_lib.sh
agent_prepare eghandf
SOCKET=$E_DIR/run/handover.sock

first
next --policy-dir "$T_RUN"
check "a new one without a good policy ends" await 20 gone "$E_PID"
has "with a reason" "$(cat "$T_RUN/$NEW.log")" "there is no good policy in"
back
cp -r "$E_DIR/ca" "$T_RUN/ca-bad" && echo "no key" > "$T_RUN/ca-bad/intermediate.key"
next --ca-dir "$T_RUN/ca-bad"
check "one whose CA can't be used ends" await 20 gone "$E_PID"
has "with a reason" "$(cat "$T_RUN/$NEW.log")" "egretd does not start: the CA in $T_RUN/ca-bad can't be used: intermediate key"
back
next --mode mark
check "one of the other mode ends" await 20 gone "$E_PID"
has "with a reason" "$(cat "$T_RUN/$NEW.log")" "it runs with --mode netns; end it first"
back
next --handover-socket none
check "one that asks nobody ends" await 20 gone "$E_PID"
has "with a reason" "$(cat "$T_RUN/$NEW.log")" "hands nothing over: end it first"
back
is "none of them did harm" "$(state) $(ask podA)" "serving 200"

next_held --uplink eth0,cni0
disown "$E_PID"
kill -KILL "$E_PID"
await 20 gone "$E_PID"
back
check "a new one with another uplink is killed" await 20 logged "$NEW" "pid [0-9]* was to take over and is gone"
guard() { [ -e "$E_PIN/links/guard_tc-$(node ip -j link show dev "$1" | jq ".[0].ifindex")" ]; }
check "the guard stands where the old one wants it" guard eth0
check_not "and nowhere else" guard cni0

next_held
kill -TERM "$E_PID"
check "SIGTERM before it is in charge ends the new one" await 20 gone "$E_PID"
back
check "and the old one goes on" await 10 in_charge "$E_PID"
is "with its pods" "$(ask podA)" 200
next_held
kill -TERM "$OLD_PID"
check "SIGTERM of the old one is heard" await 10 logged "$OLD" "egretd ends when the hand-over is through"
release
check "SIGTERM of the old one waits for the hand-over" await 30 in_charge "$E_PID"
is "a pod is served" "$(ask podA)" 200
check "the old one ends" await 40 gone "$OLD_PID"
next_held
kill -STOP "$OLD_PID"
release
check "an old one that hangs is not waited for" await 40 in_charge "$E_PID"
check "which is said" logged "$NEW" "does not answer; this one is in charge"
kill -CONT "$OLD_PID"
check "it drains once it is awake" await 40 gone "$OLD_PID"
is "and does no harm" "$(state) $(ask podA)" "serving 200"
kill -STOP "$E_PID"
next
check "one that hangs before it is asked: the new one ends" await 30 gone "$E_PID"
has "with a reason" "$(cat "$T_RUN/$NEW.log")" "does not answer at the hand-over socket within 10 s"
back
kill -CONT "$E_PID"
check "and it serves once it is awake" await 20 is_serving
is "a pod is served" "$(ask podA)" 200

has "another uid may not even connect" "$(stranger uid)" "Permission denied"
chmod 0666 "$SOCKET"
check "nor where the mode was changed" grep -qE "closed|Broken pipe|reset" <<<"$(stranger uid)"
check "which is said" logged "$NEW" "hand-over socket: uid 65534"
for thing in garbage short; do has "$thing is refused" "$(stranger $thing)" "refused: it says what is no hand-over"; done
has "so is another version" "$(stranger version)" "refused: it speaks version 7 of the hand-over, this one version 1"
is "READY without HELLO is not heard" "$(stranger ready)" closed
has "other pins are refused" "$(stranger take 1 /elsewhere x die 1)" "refused: it runs with --pin-dir"
workers=$(ctl status --json | jq .workers)
hand=(take 1 "$E_PIN" "/run/netns/$T-agent")
has "one that dies with everything in hand" "$(stranger "${hand[@]}" die "$((workers + 1))")" "got $((workers + 3)) descriptors"
check "is noticed" await 10 logged "$NEW" "was to take over and is gone"
has "one that babbles with everything in hand is told to end" "$(stranger "${hand[@]}" garbage "$((workers + 1))")" "refused: it says what is no hand-over"
stranger "${hand[@]}" wait "$((workers + 1))" > "$T_RUN/hang.out" &
await 10 test -s "$T_RUN/hang.out"
has "egretctl tells of a hand-over that goes on" "$(ctl status)" "handing over to pid"
is "meanwhile pods are served" "$(ask podA)" 200
next
check "a second one at the same time ends" await 20 gone "$E_PID"
has "with a reason" "$(cat "$T_RUN/$NEW.log")" "it hands over to another one already"
back
check "one that hangs is told to end, and then ended" await 60 logged "$NEW" "does not take over (it was not ready in time)"
check "after which the old one goes on" await 20 is_serving
is "with its pods" "$(ask podA)" 200
stop

# What the new gateway accepted would be reset if its supervisor died before it is in charge.
first --metrics none
next_held --metrics none --access-log "$T_RUN/next.jsonl"
kill -STOP "$OLD_PID"
release
check "without metrics: the new gateway is ready" await 20 logged "$NEW" "is ready"
answered=0
for _ in 1 2 3 4 5 6; do [ "$(ask podA)" = 200 ] && answered=$((answered + 1)); done
is "and the former one answers" "$answered" 6
is "all of it" "$(cat "$T_RUN/next.jsonl")" ""
kill -CONT "$OLD_PID"
check "until the new one is in charge" await 40 in_charge "$E_PID"
is "which serves then" "$(ask podA) $(jq -r .reason "$T_RUN/next.jsonl")" "200 ok"
check "the former one ends" await 40 gone "$OLD_PID"
stop

: > "$SOCKET"
NTH=$((NTH + 1)) NEW=egretd-$((NTH + 1))
E_NAME=$NEW egret_start
check "a file in place of the socket: it does not start" await 20 gone "$E_PID"
has "and says why" "$(cat "$T_RUN/$NEW.log")" "is there and is not a socket"
check "the file is not ours to remove" test -f "$SOCKET"
rm -f "$SOCKET"

# The guard of the node's own processes knows both, for as long as both are there.
unified=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)
if [ -z "$unified" ] || ! mkdir "$unified/$T-1" "$unified/$T-2" 2>/dev/null; then
	skip "two cgroups in the guard's set" "no cgroup v2 is mounted where a cgroup can be made"
else
	cgroup_clean() { echo $$ > "$unified/cgroup.procs"; sleep 0.2; rmdir "$unified/$T-1" "$unified/$T-2" 2>/dev/null; }
	T_BEFORE_DOWN+=(cgroup_clean)
	id_of() { stat -c %i "$unified/$T-$1"; }
	set_now() { bpftool map dump pinned "$E_PIN/config" -j | jq -c '[.. | .agent_cgroup? // empty][0]'; }
	set_is() { [ "$(set_now)" = "$1" ]; }
	echo $$ > "$unified/$T-1/cgroup.procs"
	first --guard-host deny
	check "one agent, one cgroup" set_is "[$(id_of 1),0]"
	two drained
	echo $$ > "$unified/$T-2/cgroup.procs"
	next --guard-host deny
	check "the new one takes over" await 30 in_charge "$E_PID"
	check "both are in the set while the old one drains" set_is "[$(id_of 2),$(id_of 1)]"
	is "what was open on the old one is served by it" "$(two_end drained)" "200 200 "
	is "and a new flow by the new one" "$(ask podA)" 200
	check "the old one ends" await 40 gone "$OLD_PID"
	check "and is no longer in the set" await 5 set_is "[$(id_of 2),0]"
	stop
fi
hasnt "no report of a sanitizer" "$(cat "$T_RUN"/egretd*.log)" "Sanitizer"
E_PID=
checks_done
