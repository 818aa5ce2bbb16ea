#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The supervisor is killed: fail closed and open, in netns and mark mode, IPv4 and IPv6, for new flows and for those that
# the agent had, and what another start then finds.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
agent_prepare egkill
pod_register "$E_DIR/pods" podB elsewhere '{}' # known, and no policy selects it
site() { pod_curl podA -"$1" -o /dev/null -w '%{http_code}' https://www.example.org/; }
both() { # WHAT TEXT WANT CMD...: CMD with -4, then with -6, prints WANT
	local family
	for family in 4 6; do is "$1, IPv$family: $2" "$("${@:4}" -$family)" "$3"; done
}

for E_MODE in netns mark; do
	for fail in closed open; do
		what="$E_MODE, fail $fail"
		egret_up --fail $fail
		for family in 4 6; do
			FAMILY=$family two old$family
			is "$what, IPv$family: a flow of the agent's" "$(cat "$T_RUN/old$family.out")" 200
		done
		kill_supervisor
		sleep 1.2 # the heartbeat's own age
		mock_forget
		if [ $fail = closed ]; then
			both "$what" "a new flow is refused" 000 ask podA --max-time 3
			for family in 4 6; do hasnt "$what, IPv$family: an old flow gets no second answer" "$(two_end old$family)" "200 200"; done
			is "$what: the provider heard nothing of all that" "$(mock_requests)" 0
			is "$what: not even a connection" "$(mock_log '[.[] | select(.event == "connection")] | length')" 0
		else
			both "$what" "a new flow passes, with the pod's own credential" 401 ask podA --max-time 5
			is "$what: the provider saw the placeholder, twice" "$(mock_requests '.credentials.authorization == "Bearer placeholder"')" 2
			for family in 4 6; do is "$what, IPv$family: an old flow is not moved to the provider" "$(two_end old$family | grep -c '200 [0-9]')" 0; done
			is "$what: nothing of the old flows arrived there" "$(mock_requests)" 2
			for family in 4 6; do FAMILY=$family two new$family; done
		fi
		both "$what" "an ungoverned pod is untouched" 401 ask podB
		for family in 4 6; do is "$what, IPv$family: an ordinary site is untouched" "$(site $family)" 200; done
		egret_up --fail $fail
		is "$what: another start adopts" "$(ctl status --json | jq .adopted)" true
		both "$what" "and serves new flows" 200 ask podA
		if [ $fail = open ]; then
			for family in 4 6; do
				is "$what, IPv$family: a flow begun without the agent goes on to its end, untouched" "$(two_end new$family)" "401 401 "
			done
		fi
		stop
	done
done
hasnt "no report of a sanitizer" "$(log)" "Sanitizer"
E_PID=
checks_done
