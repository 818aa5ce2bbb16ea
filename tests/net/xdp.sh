#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The classifier at XDP on the links that ask for it: what is denied is dropped there, what is governed still reaches the
# agent (through the packet's metadata), and `auto` leaves a pod's veth alone.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
egret_require

run() { # MODE WHAT: what `ip link` must show on podA's link
	topology_up egxdp podA podB podC
	world_key openai api.openai.com >/dev/null
	world_key openai-eu eu.api.openai.com >/dev/null
	world_key anthropic api.anthropic.com >/dev/null
	world_up
	egret_prepare policies/attacks
	pod_register "$E_DIR/pods" podA shop '{}'
	pod_register "$E_DIR/pods" podB shop '{}'
	pod_register "$E_DIR/pods" podC other '{}'
	egret_up --xdp "$(pod_link podA)=$1"
	local shown
	shown=$(node ip -j link show dev "$(pod_link podA)" | jq -r '.[0].xdp.mode // 0') # XDP_ATTACHED_DRV 1, _SKB 2
	is "$1: the link's XDP mode" "$shown" "$2"
	is "$1: an HTTPS request is captured" "$(ask podA)" 200
	is "$1: over IPv6 too" "$(ask podA -6)" 200
	is "$1: so is the neighbour's without XDP" "$(ask podB)" 200
	is "$1: an ordinary site is untouched" \
		"$(pod_curl podA -o /dev/null -w '%{http_code}' https://www.example.org/)" 200
	is "$1: a large upload arrives whole" "$(upload podA)" 200
	mock_forget
	local hook=egress
	[ "$2" != 0 ] && hook=xdp
	pod podA bash -c 'for i in 1 2 3; do head -c 1000 /dev/zero > /dev/udp/198.51.100.10/443; done'
	await 5 counted "$hook" quic_refused
	at_least "$1: QUIC is refused at $hook" "$(packets "$hook" quic_refused)" 3
	pod podA curl -sk --max-time 2 --interface "$(pod_ip podB)" https://198.51.100.10/ >/dev/null
	pod podA ip address add "$(pod_ip podB)/32" dev lo 2>/dev/null
	pod podA curl -sk --max-time 2 --interface "$(pod_ip podB)" https://198.51.100.10/ >/dev/null
	await 5 counted "$hook" spoofed_source
	at_least "$1: a borrowed address is dropped at $hook" "$(packets "$hook" spoofed_source)" 1
	is "$1: no byte of it arrived" "$(mock_log '[.[] | select(.event == "sink" or .event == "request")] | length')" 0
	topology_down
	E_PID=
}
ask() { # POD [CURL OPTION]
	local pod=$1; shift
	pod_curl "$pod" "$@" -o /dev/null -w '%{http_code}' -H 'authorization: Bearer placeholder' -H 'content-type: application/json' \
		-d '{"model":"gpt-4o","messages":[]}' https://api.openai.com/v1/chat/completions
}
upload() {
	head -c 3000000 /dev/zero | tr '\0' 'x' | { printf '{"model":"gpt-4o","messages":[{"role":"user","content":"'; cat; printf '"}]}'; } |
		pod_curl "$1" -o /dev/null -w '%{http_code}' -H 'authorization: Bearer placeholder' -H 'content-type: application/json' \
			--data-binary @- https://api.openai.com/v1/chat/completions
}
packets() { # HOOK REASON
	node curl -s http://127.0.0.1:9909/metrics |
		awk -v h="hook=\"$1\"" -v r="reason=\"$2\"" 'index($1, "egret_datapath_packets_total") && index($1, h) && index($1, r) {n += $NF} END {print n + 0}'
}
counted() { [ "$(packets "$1" "$2")" -gt 0 ]; }

run native 1
run generic 2
run auto 0
checks_done
