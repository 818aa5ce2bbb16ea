#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A second egretd takes over from the first while requests run, in both modes: none fails, long streams included. Nor when the new
# one dies at any step before it is in charge; when the old one dies in the middle, none fails for who sends again as the SDKs do.
set -u
cd "$(dirname "$0")" || exit 1
. ./handover_lib.sh
agent_prepare eghand

for E_MODE in ${MODES:-netns mark}; do
	what=$E_MODE
	first
	load_begin
	stream_begin 500
	for round in 1 2 3; do
		next
		check "$what, $round: the new one takes over" await 30 in_charge "$E_PID"
		check "$what, $round: and says so" logged "$NEW" "taken over from pid $OLD_PID"
		check "$what, $round: so does the old one" logged "$OLD" "handed over to pid $E_PID"
		is "$what, $round: it serves" "$(state)" serving
		has "$what, $round: egretctl tells" "$(ctl status)" "taken over from pid $OLD_PID"
		check "$what, $round: the metrics page answers" await 5 node curl -sf http://127.0.0.1:9909/readyz
	done
	stream_end "$what"
	load_end "$what, three in a row"
	check "$what: the old one ends by itself" await 40 gone "$OLD_PID"
	check "$what: in order" logged "$OLD" "egretd has ended; another one serves"
	is "$what: what is governed still is, after all that" "$(ask podA)" 200
	is "$what: two sockets, and none of those that were" "$(left)" 2

	# The old one goes on as if nothing was, whenever the new one dies.
	load_begin
	# In mark mode the last step, in which most is to be put back, stands for all.
	steps=("is adopted under" "gateway runs as pid" "is ready" "is in force")
	[ "$E_MODE" = netns ] || steps=("is in force")
	for step in "${steps[@]}"; do
		next
		disown "$E_PID"
		if [ "$step" != "is adopted under" ]; then
			at "$NEW" "is adopted under" "$OLD_PID" 19 # so that it can't be too late: nobody lets the new one go
			[ "$step" = "is in force" ] && await 20 logged "$NEW" "$step" && sleep 0.6 # it has said that it is ready
		fi
		check "$what, killed at '$step'" at "$NEW" "$step" "$E_PID" 9
		check "$what, killed at '$step': it is gone" await 20 gone "$E_PID"
		kill -CONT "$OLD_PID"
		check "$what, killed at '$step': the old one says so" await 20 logged "$OLD" "pid $E_PID was to take over and is gone"
		back
		check "$what, killed at '$step': it goes on" await 10 in_charge "$E_PID"
		is "$what, killed at '$step': a pod is served" "$(ask podA)" 200
	done
	load_end "$what, the new one killed"
	# It has the tables again: a change of policy comes into force, for a pod that comes too.
	before=$(ctl status --json | jq .policy.generation)
	pod_register "$E_DIR/pods" podB shop '{}'
	sed -i 's/"name": "shop"/"name": "renamed"/' "$E_DIR"/policy/*.json
	newer() { [ "$(ctl status --json | jq '.policy.generation * 10 + .pods.governed')" -ge $((10 * before + 12)) ]; }
	check "$what: policy and pods are put in force afterwards" await 20 newer
	is "$what: both are served" "$(ask podA) $(ask podB)" "200 200"
	is "$what: nothing is left of the dead ones but their sockets, which the next one takes" "$(left)" "$((2 + $(find "$E_DIR/run" -name '*.new' | wc -l)))"

	# The old one dies in the middle: the new one has all it needs.
	load_begin --retries 4
	next
	disown "$OLD_PID"
	check "$what: the old one is killed in the middle" at "$NEW" "gateway runs as pid" "$OLD_PID" 9
	check "$what: the new one goes on alone" await 30 in_charge "$E_PID"
	check "$what: it serves" await 20 is_serving
	is "$what: both pods are served" "$(ask podA) $(ask podB)" "200 200"
	load_end "$what, the old one killed, requests sent again as the SDKs do"
	stop
	is "$what: an orderly end leaves no socket" "$(left)" 0
	sed -i 's/renamed/shop/' "$E_DIR"/policy/*.json
	rm -f "$E_DIR/pods/"*podB*
done
hasnt "no report of a sanitizer" "$(cat "$T_RUN"/egretd*.log)" "Sanitizer"
E_PID=
checks_done
