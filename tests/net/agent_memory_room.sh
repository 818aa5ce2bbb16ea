#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An agent in a container with little memory, and a pod that opens connections and leaves them: it gets as many as there is room for, and
# the others are served. Descriptors alone would bound them elsewhere, far behind what fits.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
if ldd "$EGRETD" | grep -qE 'lib[at]san'; then
	skip_all "egretd is built with a sanitizer, which takes more memory than the program"
fi
LIMIT=$((${LIMIT_MIB:-160} << 20)) CONNECTIONS=${CONNECTIONS:-4000}
if [ -d /sys/fs/cgroup/memory ]; then
	MOUNT=/sys/fs/cgroup/memory OWN=$(awk -F: '$2 == "memory" { print $3 }' /proc/self/cgroup) LIMIT_FILE=memory.limit_in_bytes EVENTS=memory.oom_control
elif grep -qw memory /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null; then
	MOUNT=/sys/fs/cgroup OWN=$(sed -n 's/^0:://p' /proc/self/cgroup) LIMIT_FILE=memory.max EVENTS=memory.events
else
	skip_all "there is no cgroup with a memory limit: neither /sys/fs/cgroup/memory (version 1) nor memory in /sys/fs/cgroup/cgroup.subtree_control"
fi
agent_prepare egroom
pod_register "$E_DIR/pods" podB shop '{}'
GROUP=$MOUNT/$T
group_end() {
	local pid
	while read -r pid; do echo "$pid" > "$MOUNT$OWN/cgroup.procs"; done < "$GROUP/cgroup.procs"
	rmdir "$GROUP"
}
mkdir "$GROUP" || t_die "no cgroup can be made"
T_BEFORE_DOWN+=(group_end)
echo "$LIMIT" > "$GROUP/$LIMIT_FILE"
echo $$ > "$GROUP/cgroup.procs"
E_HTTP2=1 egret_up --workers 1
echo $$ > "$MOUNT$OWN/cgroup.procs"
is "at first all is well" "$(ask podA) $(ask podB)" "200 200"
GATEWAY=$(pid_of gateway)
pod podA python3 agent_memory_room.py "$CONNECTIONS" "$T_RUN/pod-roots.crt" "$T_RUN/held" &
HOLDER=$!
check "podA holds what it gets" await 90 test -e "$T_RUN/held"
echo "     $(cat "$T_RUN/held") of $CONNECTIONS connections, $(proc "$GATEWAY" VmRSS)"
at_least "some hundred of them" "$(cat "$T_RUN/held")" 300
is "the gateway lives" "$(pid_of gateway)" "$GATEWAY"
is "nothing was killed for want of memory" "$(awk '$1 == "oom_kill" { print $2 }' "$GROUP/$EVENTS")" 0
is "podB is served" "$(ask podB)" 200
is "podA was told why: a record each" "$(egret_records '.reason == "pod_budget" and .pod.name == "podA"' | jq 'length > 0')" true
rm "$T_RUN/held"
wait $HOLDER
served() { [ "$(ask podA)" = 200 ]; }
check "so is podA, once it has let go" await 20 served
checks_done
