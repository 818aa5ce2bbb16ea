#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A start, a second start and an uninstall that end in the middle, wherever that is: what comes next finds its way. A first start leaves
# nothing that an uninstall does not remove; a second one lets no packet of a governed pod pass; an uninstall is finished by the next one.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ./datapath_lib.sh

GOVERNED4=203.0.113.10
topology_up egcut podA
inet ip addr replace $GOVERNED4/32 dev lo
spawn provider inet python3 datapath_provider.py "$T_RUN/provider.bytes" 443
await 20 grep -q ready "$T_RUN/provider.log"
CAPTURED="agent ::ffff:$(pod_ip podA) ::ffff:$GOVERNED4 443 hi"

COMMANDS=(open "name api.openai.com" "verdict 1 0 6 443 redirect" policy "resolved api.openai.com 60000 $GOVERNED4"
	"pod $(pod_link podA) test/podA governed 1 0 $(pod_ip podA) $(pod_ip6 podA)" attach prune listen "beat on")
start() {
	local c
	dp_start "${OPTIONS[@]}"
	for c in "${COMMANDS[@]}"; do dp "$c" >/dev/null || { fail "$1: $c" "$DP_ANSWER"; return 1; }; done
}
stop() { dp stop >/dev/null; dp_quit; }
# cut N COMMAND...: to the driver, which dies at its N-th call that changes something. Fails when it made fewer.
cut_at() {
	local n=$1
	shift
	printf '%s\n' "$@" quit | node "$DP_BUILD/tests/net/datapath_cut" "$n" "$DP_DRIVER" "${DP_OPTIONS[@]}" "${OPTIONS[@]}" >/dev/null 2>&1
	[ $? -eq 137 ]
}
# uninstall [OPTION...]: those that tell which pins, and no more.
uninstall() { node "$DP_DRIVER" -p "$DP_PINS" "$@" <<< uninstall; }
left() { dp_state > "$T_RUN/now"; diff "$T_RUN/none" "$T_RUN/now"; }
# The first things that are wrong, with where it was cut; none is wanted.
wrong() { [ "$2" = "$3" ] || WRONG+="cut at $n: $1: $2"$'\n'; }
none_wrong() { # TEXT: and it was cut often enough for that to mean something
	is "$1" "$(head -n 5 <<< "${WRONG%$'\n'}")" ""
	at_least "$1: cut so often" "$CUTS" 5
}

for mode in netns mark; do
	dp_names $mode
	OPTIONS=(-m "$mode" -u eth0)
	dp_state > "$T_RUN/none"

	WRONG="" CUTS=0
	for ((n = 1; ; n += 47)); do
		cut_at $n "${COMMANDS[@]}" || break
		CUTS=$((CUTS + 1))
		wrong "the uninstall" "$(uninstall -n "$DP_NETNS")" ok
		wrong "is left" "$(left)" ""
	done
	none_wrong "$mode: a start that is cut leaves nothing to an uninstall"
	dp_clean

	WRONG="" CUTS=0
	for ((n = 5; ; n += 67)); do
		start "$mode" || break
		dp_kill
		cut_at $n "${COMMANDS[@]}" || break
		CUTS=$((CUTS + 1))
		answer=$(DP_TIMEOUT=1 ask podA $GOVERNED4 443 hi)
		wrong "passed" "${answer##provider*}" "$answer"
		start "$mode" || break
		wrong "then" "$(ask podA $GOVERNED4 443 hi)" "$CAPTURED"
		stop
	done
	none_wrong "$mode: a second start that is cut lets nothing pass, and the third captures"
	dp_clean

	# The name of the agent's namespace is told by the pins alone.
	WRONG="" CUTS=0
	for ((n = 1; ; n += 7)); do
		start "$mode" || break
		stop
		cut_at $n uninstall || break
		CUTS=$((CUTS + 1))
		wrong "the next uninstall" "$(uninstall)" ok
		wrong "is left" "$(left)" ""
	done
	none_wrong "$mode: an uninstall that is cut is finished by the next"
	dp_clean
done
checks_done
