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
	is "$1: the link's XDP mode" "$(mode_of "$(pod_link podA)")" "$2"
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
mode_of() { node ip -j link show dev "$1" | jq -r '.[0].xdp.mode // 0'; } # XDP_ATTACHED_DRV 1, _SKB 2
log() { cat "$T_RUN/egretd.log"; }

# restart TEXT WHAT OPTION...: another start on the same pins; podA's link then shows WHAT, and pods are served.
restart() {
	local text=$1 what=$2; shift 2
	kill -TERM "$E_PID"; t_await_exit "$E_PID" 20
	egret_up "$@"
	is "$text: adopted" "$(ctl status --json | jq .adopted)" true
	is "$text: the mode of podA's link" "$(mode_of veth-podA)" "$what"
	is "$text: podA is served in both families" "$(ask podA -4) $(ask podA -6)" "200 200"
}
pins() { find "$E_PIN" -name '*_xdp*' | sed 's/.*\///; s/-.*//' | sort | tr '\n' ' '; }

restarts() {
	topology_up egxdp podA
	world_key openai api.openai.com >/dev/null
	world_key openai-eu eu.api.openai.com >/dev/null
	world_key anthropic api.anthropic.com >/dev/null
	world_up
	egret_prepare policies/attacks
	pod_register "$E_DIR/pods" podA shop '{}'
	egret_up --xdp veth-podA=native
	is "native at first" "$(mode_of veth-podA)" 1
	restart "native, then generic" 2 --xdp veth-podA=generic
	restart "generic, then native" 1 --xdp veth-podA=native
	restart "native once more" 1 --xdp veth-podA=native
	restart "native, then auto" 0 --xdp veth-podA=auto
	has "that it is off there is said, and why" "$(log)" "XDP on link veth-podA: auto was asked for, and it is a virtual link (veth): off"
	is "once" "$(log | grep -c 'XDP on link veth-podA')" 1
	is "nothing of XDP is pinned at the link" "$(pins)" "classify_xdp guard_xdp "
	restart "auto, then generic" 2 --xdp veth-podA=generic
	restart "generic, then off" 0 --xdp veth-podA=off
	restart "off, then native" 1 --xdp veth-podA=native
	restart "native, then no word of XDP" 0
	is "and nothing of XDP is pinned at all" "$(pins)" ""
	restart "guard_xdp on the uplink" 0 --xdp eth0=native+uplink
	is "it is there, natively" "$(mode_of eth0) $(pins)" "1 classify_xdp guard_xdp guard_xdp "
	restart "the other program there" 0 --xdp eth0=generic
	is "it has taken the place" "$(mode_of eth0) $(pins)" "2 classify_xdp classify_xdp guard_xdp "

	echo "# a link that takes no native program"
	restart "native on the bridge" 0 --xdp cni0=native
	is "it is generic there" "$(mode_of cni0)" 2
	has "that is said: link, what was asked, what it is, the cost" "$(log)" "XDP on link cni0: native was asked for, and the link takes no native program"
	has "with what it costs" "$(log)" "generic instead, which drops only after the kernel has made its own packet"
	restart "once more" 0 --xdp cni0=native
	has "that is said at each start" "$(log)" "XDP on link cni0: native was asked for"
	is "still generic" "$(mode_of cni0)" 2
	# A link without a kind is what `auto` takes for a physical one. The register of multicast routing is such a link, and has
	# no native XDP.
	spawn pimreg node python3 -c "import signal, socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP)
s.setsockopt(socket.IPPROTO_IP, 200, struct.pack('i', 1))                    # MRT_INIT
s.setsockopt(socket.IPPROTO_IP, 202, struct.pack('HBBIII', 0, 4, 1, 0, 0, 0)) # MRT_ADD_VIF, VIFF_REGISTER
signal.pause()"
	await 5 node ip link show dev pimreg || skip "auto on a link that it takes" "this kernel has no CONFIG_IP_PIMSM_V2"
	restart "auto on a physical link without native XDP" 0 --xdp pimreg=auto
	has "it was tried, and that it is off is said, with the cost" "$(log)" "XDP on link pimreg: auto was asked for, and the link takes no native program"
	is "it is off" "$(mode_of pimreg) $(mode_of cni0)" "0 0"
	is "said once" "$(log | grep -c 'XDP on link pimreg')" 1
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
restarts
checks_done
