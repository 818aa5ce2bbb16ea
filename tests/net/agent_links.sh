#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What somebody does to the node under a running egretd: uplinks that are not there or lose their guard.
# What is put back, what is said.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
agent_prepare eglink
status() { ctl status --json | jq -r "$1"; }
in_state() { [ "$(status .state)" = "$1" ]; }
readyz() { node curl -s --max-time 5 -w ' %{http_code}' http://127.0.0.1:9909/readyz | tr -d '\n'; }
warned() { has "$1" "$(jq -r 'select(.level == "warn") | .message' "$T_RUN/egretd.log" 2>/dev/null)" "$2"; }
doctor() { ctl doctor --json | jq -r --arg c "$1" '.checks[] | select(.check == $c) | "\(.result) \(.text)"'; }
uplinks() { status '[.uplinks[]? | "\(.name) \(.present) \(.guarded)"] | join(", ")'; }
ifindex_of() { node ip -j link show dev "$1" 2>/dev/null | jq '.[0].ifindex'; }
guard_metric() { metrics | sed -n "s/^egret_guard_attached{link=\"$1\"} //p"; }
served() { [ "$(ask podA --max-time 3)" = 200 ]; }
# ask_unknown: podB, which no file names, at the provider's address, as a client that has it from elsewhere.
PROVIDER=$(jq -r ".hosts[\"api.openai.com\"].addresses[0]" "$T_WORLD")
ask_unknown() { ask podB --max-time 3 --resolve "api.openai.com:443:$PROVIDER"; }

echo "# all is well"
egret_up --workers 1
is "served" "$(ask podA) $(readyz) $(status .state)" "200 ok 200 serving"
is "status: the uplink has its guard" "$(uplinks)" "eth0 true true"
has "for a person" "$(ctl status)" "uplink    eth0, guarded"
is "doctor, too" "$(doctor guard)" "ok attached to eth0"
is "metric" "$(guard_metric eth0)" 1
is "an unknown pod does not reach the provider" "$(ask_unknown)" 000

echo "# the guard is taken off the uplink, and can't be put back"
GUARD=guard_tc-$(ifindex_of eth0) POD=egress_tc-$(ifindex_of "$(pod_link podA)")
block "$GUARD"
is "(an unknown pod reaches the provider: that is what it costs)" "$(ask_unknown)" 401
is "status asks the kernel" "$(uplinks) $(status '[.state, .ready] | join(" ")')" "eth0 true false degraded false"
has "for a person" "$(ctl status)" "uplink    eth0, NO GUARD"
has "with what it costs" "$(ctl status)" "TROUBLE   no guard on the uplink eth0: what a pod that is not governed or not known yet sends to a provider leaves there unseen"
check_not "the exit code says so" ctl status
has "readyz, too" "$(readyz)" "no guard on the uplink eth0"
has "with 503" "$(readyz)" " 503"
is "metric" "$(guard_metric eth0)" 0
has "doctor: broken" "$(doctor guard)" "broken eth0 has none: what a pod that is not governed or not known yet sends to a provider leaves there unseen"
check_not "its exit code says so" ctl doctor
block "$POD"
has "a governed pod without program, and no guard: doctor does not lean on one" "$(doctor links)" "traffic is stopped by nothing, since the guard is missing, too"
check "the log says what keeps it" await 15 grep -q "link eth0 lacks Egret's programs: .*cannot pin" "$T_RUN/egretd.log"
sleep 11 # one more look at the links
is "and says it once" "$(grep -c "link eth0 lacks Egret's programs" "$T_RUN/egretd.log")" 1
unblock "$GUARD"
check "it can be put back: all is well" await 15 in_state serving
is "an unknown pod does not reach the provider" "$(ask_unknown)" 000
is "metric and readyz" "$(guard_metric eth0) $(readyz)" "1 ok 200"
has "a governed pod without program, and a guard" "$(doctor links)" "traffic is only stopped by the guard on the uplink"
unblock "$POD"
check "put back, too" await 15 served
kill -STOP "$E_PID"; rm "$E_PIN/links/$GUARD"
has "nobody to ask, and no guard: doctor looks at the kernel" "$(doctor guard)" "broken on no uplink"
kill -CONT "$E_PID"
stop

echo "# an uplink that does not exist"
E_UPLINK=eth9 egret_start --workers 1 --xdp eth8=auto
check "it starts" await 15 in_state degraded
is "and serves" "$(ask podA)" 200
has "but is not ready" "$(readyz)" " 503"
warned "the log names it" "uplink eth9: there is no interface of that name, so no guard stands there"
warned "and the link for XDP" "XDP on link eth8: there is no interface of that name"
has "status says what it costs" "$(ctl status)" "TROUBLE   no uplink that --uplink names (eth9) exists, so no guard stands anywhere"
has "and which" "$(ctl status)" "uplink    eth9, NO SUCH INTERFACE"
has "doctor: broken" "$(doctor guard)" "broken --uplink names eth9, and there is no such interface, so that no guard stands anywhere"
is "metric" "$(guard_metric eth9)" 0
node ip link add eth9 type bridge
check "it appears: the guard is attached, all is well" await 10 in_state serving
is "status" "$(uplinks) $(guard_metric eth9)" "eth9 true true 1"
warned "the log says so" "the uplink eth9 is there now; the guard is attached to it"
node ip link del eth9
check "it goes: degraded" await 10 in_state degraded
warned "the log says so" "the uplink eth9 is gone, and its guard with it"
stop
egret_up --workers 1 --uplink eth0,eth9,eth0
is "one of two is there: it is ready" "$(status .state) $(uplinks)" "serving eth0 true true, eth9 false false"
warned "the log names the other" "uplink eth9: there is no interface of that name"
has "doctor warns" "$(doctor guard)" "warning --uplink names eth9, and there is no such interface: correct"
stop
hasnt "no report of a sanitizer" "$(log)" "Sanitizer"
hasnt "no undefined behaviour" "$(log)" "runtime error"
checks_done
