#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What an idle HTTP/1.1 connection keeps: neither the buffers of its requests nor TLS's of its records, at the pod's side and in the pool.
# `make bench` has the figures of thousands, this only tells them from buffers that stay.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
if ldd "$EGRETD" | grep -qE 'lib[at]san'; then
	skip_all "egretd is built with a sanitizer, whose allocator keeps what was freed"
fi
COUNT=${COUNT:-300} BYTES=${BYTES:-60000}
agent_prepare egidle
pod_register "$E_DIR/pods" podB shop '{}'
egret_up --workers 1
is "at first all is well" "$(ask podA)" 200
load 500 64 > /dev/null # what a gateway that works has
GATEWAY=$(pid_of gateway)
rss() { echo $(($(awk '/^VmRSS/ { print $2 }' "/proc/$GATEWAY/status") * 1024)); }
pooled() { metric 'egret_upstream_connections{gateway="egret"}'; }
sleep 8 # what that took is given back
# A node is never quite silent.
(while [ ! -e "$T_RUN/enough" ]; do ask podB; sleep 0.7; done) > /dev/null &
NOW_AND_THEN=$!
idle() { # WHAT URL MOST: bytes a connection
	local before holder
	before=$(rss)
	pod podA python3 agent_idle.py "$2" "$COUNT" "$BYTES" "$T_RUN/pod-roots.crt" "$T_RUN/held" 2> "$T_RUN/held.err" &
	holder=$!
	check "$1: all are asked" await 60 test -e "$T_RUN/held"
	is "$1: and answered" "$(cat "$T_RUN/held" "$T_RUN/held.err")" "$COUNT"
	at_least "$1: they are open" "$(metric 'egret_client_connections{gateway="egret"}')" "$COUNT"
	small() { [ $((($(rss) - before) / COUNT)) -le "$1" ]; }
	check "$1: idle, each keeps $3 bytes at most" await 20 small "$3"
	echo "     $1: $((($(rss) - before) / COUNT)) bytes each, $(pooled) pooled connections"
	rm "$T_RUN/held"
	wait "$holder"
}
idle "by the gateway address" http://169.254.77.1 "${MOST_PLAIN:-15000}"
idle "over TLS" https://api.openai.com "${MOST_TLS:-30000}"
touch "$T_RUN/enough"
wait "$NOW_AND_THEN"
is "by the same gateway, which serves" "$(pid_of gateway) $(ask podA)" "$GATEWAY 200"
checks_done
