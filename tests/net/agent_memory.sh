#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What abandoned uploads took is the node's again: the gateway does not stay as large as it ever was.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
if ldd "$EGRETD" | grep -qE 'lib[at]san'; then
	echo "SKIP - egretd is built with a sanitizer, whose allocator keeps what was freed"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
fi
UPLOADS=${UPLOADS:-200} UPLOAD_BYTES=${UPLOAD_BYTES:-200000} ROUNDS=${ROUNDS:-3}
agent_prepare egmem
egret_up
is "at first all is well" "$(ask podA)" 200
load 200 64 > /dev/null # what a gateway that works has: sessions, buffers, pooled connections
GATEWAY=$(pid_of gateway)
rss() { awk '/^VmRSS/ { print $2 }' "/proc/$GATEWAY/status"; } # kB
held() { metric 'egret_held_bytes{gateway="egret"}'; }
BEFORE=$(rss)
MOST=0
for round in $(seq "$ROUNDS"); do
	pod podA python3 agent_uploads.py "$UPLOADS" "$UPLOAD_BYTES" "$T_RUN/pod-roots.crt" "$T_RUN/held" &
	PROGRAM=$!
	check "round $round: all uploads stand" await 60 test -e "$T_RUN/held"
	at_least "round $round: they are held and charged" "$(held)" $((UPLOADS * UPLOAD_BYTES / 2))
	R=$(rss); [ "$R" -gt "$MOST" ] && MOST=$R
	rm "$T_RUN/held"
	wait $PROGRAM
done
at_least "they took memory" $((MOST - BEFORE)) 20000
# shellcheck disable=SC2016 # for the inner shell
check "abandoned, most of it is given back" await 30 sh -c '
	[ $(($(sed -n "s/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p" /proc/'"$GATEWAY"'/status) - '"$BEFORE"')) -lt $((('"$MOST - $BEFORE"') / 3)) ]'
echo "     gateway: $BEFORE kB before, $MOST kB with $UPLOADS uploads, $(rss) kB after"
is "nothing is held" "$(held)" 0
is "by the same gateway, which serves" "$(pid_of gateway) $(ask podA)" "$GATEWAY 200"
checks_done
