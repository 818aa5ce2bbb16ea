#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What somebody does to the node under a running egretd: uplinks that are not there or lose their guard, the agent's veth,
# its namespace, the rules of mark mode. What is put back, what is said, what ends.
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
end() { # awaits egretd's end by itself; its exit status is in $ENDED
	if await 20 gone "$E_PID"; then wait "$E_PID"; ENDED=$?; else ENDED="none: it runs still"; kill_supervisor; fi
	E_PID=
}
# block PIN: takes a link's program away, and keeps it from being put back. unblock PIN.
block() { rm "$E_PIN/links/$1" && mkdir "$E_PIN/links/$1"; }
unblock() { rmdir "$E_PIN/links/$1"; }

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
check "but it is alive" ctl status --alive
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

echo "# a pod whose link is not there"
pod_file() { jq "$1" "$T_RUN/podA.json" > "$T_RUN/next.json"; mv "$T_RUN/next.json" "$E_DIR/pods/shop-podA.json"; }
pod_is() { [ "$(ctl pods --json | jq -r '[.pods[].state] | join(" ")')" = "$1" ]; }
cp "$E_DIR/pods/shop-podA.json" "$T_RUN/podA.json"
check "(it is there)" await 15 pod_is governed
pod_labels() { [ "$(ctl pods --json | jq -c '[.pods[] | .labels, .namespace_labels]')" = "$1" ]; }
pod_file '.labels = {app: "x"} | .namespaceLabels = {team: "a"}'
check "egretctl pods has its labels and those of its namespace" await 15 pod_labels '[{"app":"x"},{"team":"a"}]'
pod_file '.interface = "nolink"'
check "egretctl pods does not call it governed" await 15 pod_is no_link
warned "the log names pod, file and link" "pod shop/podA: there is no link nolink, which shop-podA.json names: nothing of the pod is captured until there is"
is "doctor: a warning" "$(doctor "pod links" | cut -d, -f1-2)" "warning 1 pods are known whose link is not there (first: shop/podA, by shop-podA.json): nothing of them is captured"
pod_file 'del(.interface) | .netns = "/run/netns/none"'
warned_of_netns() { grep -q "pod shop/podA: cannot open the network namespace /run/netns/none: No such file or directory, which shop-podA.json names" "$T_RUN/egretd.log"; }
check "likewise its namespace" await 15 warned_of_netns
pod_file .
check "the link is there: governed" await 15 pod_is governed
is "doctor: fine" "$(doctor "pod links")" "ok all are there"
is "and served" "$(ask podA)" 200
is "each was said once" "$(grep -c "nothing of the pod is captured" "$T_RUN/egretd.log")" 2

echo "# a pod whose link can't be a pod's"
VM=10.244.7.77
cat > "$T_RUN/vm.py" <<'EOP'
# A machine behind a tun device: a SYN to the provider; prints whether it was answered.
import fcntl, os, select, socket, struct, sys, time
name, source, destination = sys.argv[1], *map(socket.inet_aton, sys.argv[2:4])
def checksum(b):
    n = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    n = (n >> 16) + (n & 0xffff)
    return ~(n + (n >> 16)) & 0xffff
def with_checksum(b, at, extra=b""):
    return b[:at] + struct.pack("!H", checksum(extra + b)) + b[at + 2:]
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH", name.encode(), 0x1001)) # TUNSETIFF: IFF_TUN | IFF_NO_PI
tcp = struct.pack("!HHIIBBHHH", 40000, 443, 1, 0, 0x50, 2, 1000, 0, 0)
tcp = with_checksum(tcp, 16, source + destination + struct.pack("!BBH", 0, 6, len(tcp)))
ip = with_checksum(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, source, destination), 10)
os.write(tun, ip + tcp)
end = time.time() + 2
while time.time() < end:
    if select.select([tun], [], [], 0.2)[0]:
        p = os.read(tun, 2000)
        if p[9] == 6 and p[12:16] == destination:
            sys.exit(print("answered"))
print("no answer")
EOP
node ip tuntap add tun9 mode tun; node ip link set tun9 up; node ip route add "$VM/32" dev tun9
node ip tuntap add tap9 mode tap; node ip link set tap9 up
vm() { node python3 "$T_RUN/vm.py" tun9 "$VM" "$PROVIDER"; }
no_stamp() { ctl flows --counters --json | jq '[.counters[] | select(.reason == "guard_no_stamp") | .packets] | add // 0'; }
jq --arg ip "$VM" '.interface = "tun9" | .ips = [$ip]' "$T_RUN/podA.json" > "$T_RUN/next.json"; mv "$T_RUN/next.json" "$E_DIR/pods/shop-podA.json"
check "one without MAC headers: egretctl pods does not call it governed" await 15 pod_is no_link
warned "the log says why" "pod shop/podA: nothing of it is captured on what shop-podA.json names: the link tun9 is no Ethernet link (its type is 65534)"
guarded() { [ "$(uplinks)" = "eth0 true true" ]; }
check "(the guard is back)" await 20 guarded
BEFORE=$(no_stamp)
is "the provider is not reached from there" "$(vm)" "no answer"
at_least "the guard stops it" "$(no_stamp)" $((BEFORE + 1))
pod_file '.interface = "tap9"'
warned_of_tap() { grep -q "the link tap9 is no veth, and in netns mode a pod gets no answer over another one; --mode mark can do that" "$T_RUN/egretd.log"; }
check "in netns mode, one that is no veth" await 15 warned_of_tap
pod_file '.interface = "eth0"'
warned_of() { grep -qF "pod shop/podA: nothing of it is captured on what shop-podA.json names: the link $1; expected the node's end of the pod's link" "$T_RUN/egretd.log"; }
check "its name inside the pod, which here is the uplink's" await 15 warned_of "eth0 is an uplink of this node"
is "is none, either" "$(pod_is no_link && uplinks)" "eth0 true true"
check_not "the uplink gets no program of pods" test -e "$E_PIN/links/egress_tc-$(ifindex_of eth0)"
pod_file '.interface = "egret0"'
check "the agent's own link" await 15 warned_of "egret0 is the agent's own"
is "is none, either" "$(pod_is no_link && status .state)" serving
pod_file 'del(.interface) | .netns = "/run/netns/'"$T"'-agent"'
check "nor is the agent's namespace a pod's" await 15 grep -q "no link of this namespace leads to /run/netns/$T-agent" "$T_RUN/egretd.log"
pod_file .
check "its own one again: governed" await 15 pod_is governed
is "and served" "$(ask podA)" 200
node ip link del tun9; node ip link del tap9
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

echo "# --uplink auto: the links that default routes lead over"
E_UPLINK=auto egret_up --workers 1
is "found at the start" "$(status .state) $(uplinks)" "serving eth0 true true"
is "an unknown pod does not reach the provider" "$(ask_unknown)" 000
node ip link add eth9 type bridge && node ip addr add 198.18.9.1/24 dev eth9 && node ip link set eth9 up
is "a link that none leads over is none" "$(uplinks)" "eth0 true true"
node ip route add default via 198.18.9.2 dev eth9 metric 5000 table 77
check "one of another table: guarded at once" await 5 eval '[ "$(uplinks)" = "eth0 true true, eth9 true true" ]'
warned "the log says so" "uplink eth9: a default route leads over it; it is guarded from now on"
node ip link add eth8 type bridge && node ip addr add 198.18.8.1/24 dev eth8 && node ip link set eth8 up
node ip route add default table 78 nexthop via 198.18.9.2 dev eth9 nexthop via 198.18.8.2 dev eth8
check "one of several paths, too" await 5 eval '[ "$(uplinks)" = "eth0 true true, eth9 true true, eth8 true true" ]'
node ip link del eth9; node ip link del eth8
stop
WAY4=$(node ip route show default) WAY6=$(node ip -6 route show default)
node ip route del default; node ip -6 route del default
E_UPLINK=auto egret_start --workers 1
check "no default route: it starts" await 15 in_state degraded
has "status says what it costs" "$(ctl status)" "TROUBLE   no default route leads over any link (--uplink auto), so no guard stands anywhere"
has "doctor: broken" "$(doctor guard)" "(\`auto\` found no default route)"
# shellcheck disable=SC2086 # words
node ip route add ${WAY4%% proto*}
# shellcheck disable=SC2086 # words
node ip -6 route add ${WAY6%% proto*}
check "there is one: guarded, all is well" await 10 in_state serving
is "status" "$(uplinks)" "eth0 true true"
stop

echo "# the agent's veth"
for how in deleted down "down inside" "moved away" "without listener_lookup"; do
	egret_up --workers 1
	two flow
	WAS=$(ifindex_of egret0)
	case $how in
	deleted) node ip link del egret0 ;;
	down) node ip link set egret0 down ;;
	"down inside") nsenter --net="/run/netns/$T-agent" ip link set egret1 down ;;
	"moved away") node ip link set egret0 netns "$T-inet" ;;
	*) rm "$E_PIN/links/listener_lookup-0" ;;
	esac
	check "$how: served again" await 15 served
	is "what was open goes on" "$(two_end flow)" "200 200 "
	is "status and doctor" "$(status .state) $(doctor "agent link")" "serving ok up"
	if [ "$how" != "without listener_lookup" ]; then
		isnt "it is another link" "$(ifindex_of egret0)" "$WAS"
		warned "the log says so" "the link egret0 into the agent's namespace had been removed, set down or cut off; it is made again"
		check_not "no dead pin is left" test -e "$E_PIN/links/reply_tc-$WAS"
	fi
	is "IPv6, too" "$(ask podA --max-time 3 -6)" 200
	stop
done

echo "# what can't be put back"
for fail in closed open; do
	egret_up --workers 1 --fail $fail
	mock_forget
	kill -STOP "$E_PID"
	node ip link del egret0; node ip link add egret0 type bridge
	kill -CONT "$E_PID"
	end
	is "fail $fail: egretd ends with an error" "$ENDED" 1
	has "the log says why, and what to do" "$(log)" "the link egret0 into the agent's namespace was taken away and can't be put back: there is a link named egret0 that does not lead to /run/netns/$T-agent; remove it"
	if [ $fail = closed ]; then is "fail closed holds" "$(ask podA --max-time 3) $(mock_requests)" "000 0"
	else is "fail open holds" "$(ask podA --max-time 3)" 401; fi
	node ip link del egret0
done

echo "# the agent's namespace is unmounted"
egret_up --workers 1
node umount -l "/run/netns/$T-agent"
check "it is noticed" await 10 grep -q "the agent's namespace is not mounted at /run/netns/$T-agent any more: all goes on" "$T_RUN/egretd.log"
is "and all goes on" "$(ask podA) $(status .state)" "200 serving"
has "doctor warns" "$(doctor "agent namespace")" "warning it is not mounted at /run/netns/$T-agent any more"
node ip link del egret0
check "the veth can be put back all the same" await 15 served
stop
egret_up --workers 1
is "the next start makes another" "$(ask podA) $(doctor "agent link") $(doctor "agent namespace")" "200 ok up "
stop

echo "# a pod's file is removed while no egretd runs"
pod_register "$E_DIR/pods" podB shop '{"app":"assistant"}' assistant-sa
egret_up --workers 1
is "served" "$(ask podB)" 200
kill_supervisor
rm "$E_DIR"/pods/*podB*
egret_up --workers 1
programs_of() { find "$E_PIN/links" -name "*-$(ifindex_of "$(pod_link "$1")")" | wc -l; }
is "its link loses the programs" "$(programs_of podB) $(node tc filter show dev "$(pod_link podB)" ingress | wc -l)" "0 0"
is "the other pod's has them" "$(programs_of podA)" 2
is "what it sends is stopped by the guard" "$(ask_unknown)" 000
at_least "which counts it" "$(metrics | sed -n 's/^egret_datapath_packets_total{hook="guard",reason="guard_no_stamp"} //p')" 1
shown_gone() { ctl flows --counters | grep -q "(gone) .* redirect "; }
check "what it was counted is shown as of one that is gone" await 10 shown_gone
stop

echo "# a pod's file is damaged while no egretd runs"
other_port() { pod podB curl -sk --max-time 3 -o /dev/null "https://$PROVIDER:8443/"; mock_log '[.[] | select(.event == "sink") | .bytes] | add // 0'; }
state_of() { ctl pods --kernel --json | jq -r --arg n "shop/$1" '.pods[] | select(.namespace + "/" + .name == $n) | .state'; }
pod_register "$E_DIR/pods" podB shop '{"app":"assistant"}' assistant-sa
egret_up --workers 1
is "served" "$(ask podB)" 200
stop
cp "$E_DIR/pods/shop-podB.json" "$T_RUN/podB.json"
head -c 40 "$T_RUN/podB.json" > "$E_DIR/pods/shop-podB.json"
mock_forget
egret_up --workers 1
is "the other pod is served" "$(ask podA)" 200
is "its own is held" "$(programs_of podB) $(state_of podB)" "2 held"
is "it reaches the provider by no port" "$(ask_unknown) $(other_port)" "000 0"
warned "which is said" "pod shop/podB (link $(pod_link podB)) is held, as no file names it and 1 can't be used"
cp "$T_RUN/podB.json" "$E_DIR/pods/shop-podB.json"
served_again() { [ "$(ask podB --max-time 3)" = 200 ]; }
check "once its file is whole it is served" await 15 served_again
stop
head -c 40 "$T_RUN/podB.json" > "$E_DIR/pods/shop-podB.json"
egret_up --workers 1
is "damaged again: held" "$(state_of podB)" held
rm "$E_DIR/pods/shop-podB.json"
released() { [ "$(programs_of podB)" = 0 ]; }
check "with its file it goes" await 10 released
stop

echo "# mark mode: rules and routes"
E_MODE=mark egret_up --workers 1
is "served" "$(ask podA -4) $(ask podA -6)" "200 200"
for what in "rule del pref 100" "-6 rule del pref 100" "rule del pref 99" "route flush table 17767" "-6 route flush table 17767"; do
	# shellcheck disable=SC2086
	node ip $what
	family=-4; [[ $what == -6* ]] && family=-6
	again() { [ "$(ask podA --max-time 2 $family)" = 200 ]; }
	check "ip $what: put back, and served" await 10 again
done
await 5 test "$(node ip -o rule | grep -c -e '^99:' -e '^100:')" = 2
is "all rules are there, once" "$(node ip -o rule | grep -c -e '^99:' -e '^100:') $(node ip -o -6 rule | grep -c -e '^99:' -e '^100:')" "2 2"
warned "the log says so" "rules or routes of mark mode (\`ip rule\`, table 17767) had been removed; they are put back"
is "status" "$(status .state)" serving
hasnt "no report of a sanitizer" "$(log)" "Sanitizer"
hasnt "no undefined behaviour" "$(log)" "runtime error"
checks_done
