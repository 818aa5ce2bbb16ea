#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a pod's own DNS answers teach: captured before the pod connects; only for that pod; nothing
# that a pod may not teach; gone when it expires, without cutting what is open.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ./datapath_lib.sh

DNS=203.0.113.53 DNS6=2001:db8:53::53 ROGUE=203.0.113.66
LEARN4=203.0.113.20 LEARN6=2001:db8:53::20 SHARED4=203.0.113.21 CNAME4=203.0.113.22 EXCLUDED4=203.0.113.200

topology_up egdn podA podB:routed
for a in $DNS $ROGUE $LEARN4 $SHARED4 $CNAME4 $EXCLUDED4 203.0.113.{23,24,30,31,32,33,34,35,36}; do inet ip addr replace $a/32 dev lo; done
for a in $DNS6 $LEARN6; do inet ip addr replace $a/128 dev lo nodad; done
inet ip addr add 198.18.0.1/16 dev lo
spawn provider inet python3 datapath_provider.py "$T_RUN/provider.bytes" 80 443
ENTRIES=("api.openai.com=$LEARN4,$LEARN6" "eu.anthropic.com=$SHARED4" cdn.example.net=203.0.113.23
	"openai.example.org=cname:api.openai.com,$CNAME4" huge.anthropic.com=pad:3000
	"victim.anthropic.com=$EXCLUDED4" meta.anthropic.com=169.254.169.254 "pod.anthropic.com=$(pod_ip podB)"
	tcp0.anthropic.com=203.0.113.30 tcp1.anthropic.com=203.0.113.31 split.anthropic.com=203.0.113.32
	"parts.anthropic.com=pad:2000,203.0.113.33" number.anthropic.com=203.0.113.34 cut.anthropic.com=203.0.113.35
	fragments.anthropic.com=203.0.113.36
	"held.anthropic.com=hold:$T_RUN/release,203.0.113.23" short.anthropic.com=203.0.113.24 many.anthropic.com=198.18.1.0..600)
spawn dns inet python3 datapath_dns.py serve $DNS "${ENTRIES[@]}"
spawn dns6 inet python3 datapath_dns.py serve $DNS6 "${ENTRIES[@]}"
spawn rogue inet python3 datapath_dns.py serve $ROGUE "cdn.anthropic.com=203.0.113.23"
for l in provider dns dns6 rogue; do await 20 grep -q ready "$T_RUN/$l.log" || fail "$l is ready" "$(cat "$T_RUN/$l.log")"; done

lookup() { pod_user "$1" timeout 8 python3 "$PWD/datapath_dns.py" "${@:2}" 2>&1; }
learned() { bpftool -j map dump pinned "$DP_PINS/learned" | jq '[.[] | select(.formatted.key.ifindex == '"$(ifindex_of "$(pod_link "$1")")"')] | length'; }
ifindex_of() { node ip -j link show dev "$1" | jq '.[0].ifindex'; }

run_mode() { # NAME OPTION...
	local name=$1 A i; shift
	dp_names "$name"
	dp_start -r $DNS -r $DNS6 -L 1 "$@"
	dp open >/dev/null || fail "$name: open" "$DP_ANSWER"
	dp_policy >/dev/null; dp_pod podA governed >/dev/null; dp_pod podB governed >/dev/null
	dp attach >/dev/null; dp prune >/dev/null; dp listen >/dev/null; dp beat on >/dev/null
	A="agent ::ffff:$(pod_ip podA)"

	is "$name: not known yet: untouched" "$(ask podA $LEARN4 443 x)" "provider 192.0.2.10 $LEARN4 443 x"
	is "$name: looked up, then captured" "$(lookup podA ask $DNS api.openai.com)" "$A ::ffff:$LEARN4 443"
	is "$name: any case, IPv6 answer" "$(lookup podA ask $DNS Api.OpenAI.com AAAA)" "agent $(pod_ip6 podA) $LEARN6 443"
	is "$name: asked over IPv6" "$(lookup podB ask $DNS6 API.openai.com AAAA)" "agent $(pod_ip6 podB) $LEARN6 443"
	is "$name: below a suffix" "$(lookup podA ask $DNS eu.anthropic.com)" "$A ::ffff:$SHARED4 443"
	is "$name: by the target of a CNAME" "$(lookup podA ask $DNS openai.example.org)" "$A ::ffff:$CNAME4 443"
	is "$name: another name is not learned" "$(lookup podA ask $DNS cdn.example.net)" "provider 192.0.2.10 203.0.113.23 443"
	is "$name: over TCP" "$(lookup podA asktcp $DNS tcp0.anthropic.com)" "$A ::ffff:203.0.113.30 443"
	is "$name: the second answer of one segment" "$(lookup podA asktcp $DNS cdn.example.net tcp1.anthropic.com)" "$A ::ffff:203.0.113.31 443"
	is "$name: its length in a segment of its own" "$(lookup podA asktcp $DNS split.anthropic.com)" "$A ::ffff:203.0.113.32 443"
	is "$name: an answer in many segments, the address in the last" "$(lookup podA asktcp $DNS parts.anthropic.com)" "$A ::ffff:203.0.113.33 443"
	is "$name: the second question of one number" "$(lookup podA askodd $DNS number number.anthropic.com)" "$A ::ffff:203.0.113.34 443"
	is "$name: the second of two queries that leave as one packet" "$(lookup podA askodd $DNS cut cut.anthropic.com)" "$A ::ffff:203.0.113.35 443"
	is "$name: a query in fragments" "$(lookup podA askodd $DNS fragments fragments.anthropic.com)" "$A ::ffff:203.0.113.36 443"
	for i in 1 2 3 4 5; do
		dp remove "$(pod_link podA)" >/dev/null; dp_pod podA governed >/dev/null
		is "$name: without a race, try $i" "$(lookup podA ask $DNS api.openai.com)" "$A ::ffff:$LEARN4 443"
	done
	is "$name: what podA learned is not podB's" "$(ask podB $LEARN4 443 x)" "provider 192.0.2.10 $LEARN4 443 x"

	lookup podB query $ROGUE cdn.anthropic.com >/dev/null
	is "$name: an answer of no configured resolver teaches nothing" "$(ask podB 203.0.113.23 443 x)" "provider 192.0.2.10 203.0.113.23 443 x"
	is "$name: an excluded address is not learned" "$(lookup podB ask $DNS victim.anthropic.com)" "provider 192.0.2.10 $EXCLUDED4 443"
	before=$(learned podB)
	lookup podB query $DNS meta.anthropic.com >/dev/null
	lookup podA query $DNS pod.anthropic.com >/dev/null
	is "$name: the metadata address is not learned" "$(learned podB)" "$before"
	is "$name: another pod's address is not" "$(bpftool -j map dump pinned "$DP_PINS/learned" | jq -c '[.[].formatted.key.address.word_be] | map(select(.[3] == '"$(pod_ip podB | tr . ' ' | { read -r a b c d; echo $((d << 24 | c << 16 | b << 8 | a)); })"')) | length')" 0

	for i in $(seq 0 19); do lookup podB query $DNS $i.many.anthropic.com >/dev/null; done
	at_least "$name: a pod may teach up to its quota" "$(learned podB)" 200
	is "$name: and no more" "$([ "$(learned podB)" -le 256 ] && echo yes)" yes
	is "$name: another pod still learns" "$(lookup podA ask $DNS eu.anthropic.com)" "$A ::ffff:$SHARED4 443"

	is "$name: every answer so far was read" "$(dp events | grep -o 'dns_raw=[0-9]*')" "dns_raw=0"
	lookup podA query $DNS huge.anthropic.com >/dev/null
	sleep 0.3
	isnt "$name: one in fragments goes up" "$(dp events | grep -o 'dns_raw=[0-9]*')" "dns_raw=0"
	dp learn "$(pod_link podA)" api.openai.com 60000 203.0.113.24 127.0.0.1 $EXCLUDED4 "$(pod_ip podB)" >/dev/null
	is "$name: what the agent read itself is learned" "$(ask podA 203.0.113.24 443 x)" "$A ::ffff:203.0.113.24 443 x"
	is "$name: but not what must not be" "$(ask podA $EXCLUDED4 443 x)" "provider 192.0.2.10 $EXCLUDED4 443 x"
	has "$name: names and addresses came as events" "$(dp events)" "learned="
	isnt "$name: at least one name was seen" "$(dp events | grep -o 'name_seen=[0-9]*')" "name_seen=0"

	dp stop >/dev/null; dp_quit; dp_clean
}
run_mode netns
run_mode mark -m mark

# Every map that pods share has a bound; a pod that fills one must not take from another what it asked.
echo "# a pod that opens connections by the hundred thousand, while another waits for an answer"
dp_names crowd
dp_start -r $DNS
dp open >/dev/null; dp_policy >/dev/null; dp_pod podA governed >/dev/null; dp_pod podB governed >/dev/null
dp attach >/dev/null; dp listen >/dev/null; dp beat on >/dev/null
pod_user podB /usr/bin/python3 "$PWD/datapath_dns.py" ask $DNS held.anthropic.com A 60 > "$T_RUN/held" 2>&1 &
T_PIDS+=($!); held=$!
without_btf() {
	local pin name
	for pin in "$DP_PINS"/*; do
		name=${pin##*/}
		[ -d "$pin" ] || bpftool -j map show pinned "$pin" | jq -r --arg name "$name" 'select(.btf_id == null) | $name'
	done | xargs
}
is "every pinned map has BTF, but those that can't" "$(without_btf)" "events listeners"
asked() { bpftool -j map dump pinned "$DP_PINS/queries" | jq -e '[.[].formatted.value.query[] | select(.asked_ns > 0)] | length == 1'; }
check "the query is on record" await 5 asked
at_least "podA's connections" "$(pod podA python3 "$PWD/datapath_bypass.py" flood $LEARN4 "$(pod_ip podA)" 140000)" 135000
touch "$T_RUN/release"; wait $held
is "podB's late answer was believed" "$(cat "$T_RUN/held")" "agent ::ffff:$(pod_ip podB) ::ffff:203.0.113.23 443"
check_not "and taken off the record" asked
dp stop >/dev/null; dp_quit; dp_clean

echo "# the SNI backstop"
dp_names sni
dp_start
dp open >/dev/null; dp_policy >/dev/null; dp_pod podA governed >/dev/null; dp_pod podB governed >/dev/null
dp attach >/dev/null; dp listen >/dev/null; dp beat on >/dev/null
hello() { pod_user "$1" curl -sk -m 4 -o /dev/null --resolve "$2:443:$3" "https://$2/" 2>&1; echo $?; }
is "not known: untouched" "$(ask podA $LEARN4 443 x | cut -d' ' -f1)" provider
is "a ClientHello with a watched name is reset" "$(hello podA api.openai.com $LEARN4)" 35
is "the address is learned: captured" "$(ask podA $LEARN4 443 x | cut -d' ' -f1)" agent
is "another pod's is not" "$(ask podB $LEARN4 443 x | cut -d' ' -f1)" provider
hello podB cdn.example.net 203.0.113.23 >/dev/null
is "another name teaches nothing" "$(ask podB 203.0.113.23 443 x | cut -d' ' -f1)" provider
hello podB api.openai.com $EXCLUDED4 >/dev/null
is "an excluded address is not taught" "$(ask podB $EXCLUDED4 443 x | cut -d' ' -f1)" provider
dp stop >/dev/null; dp_quit; dp_clean

echo "# names read by the agent (as on kernels before 5.17)"
dp_names raw
dp_start -N
dp open >/dev/null; dp_policy >/dev/null; dp_pod podA governed >/dev/null
dp attach >/dev/null; dp listen >/dev/null; dp beat on >/dev/null
is "an answer is not learned in the kernel" "$(lookup podA ask $DNS api.openai.com | cut -d' ' -f1)" provider
sleep 0.3
has "it went up whole" "$(dp events)" "dns_raw=1"
dp stop >/dev/null; dp_quit; dp_clean

# Expiry: a grace of a millisecond and a TTL of a second.
echo "# expiry"
dp_names expiry
dp_start -L 1
dp open >/dev/null; dp_policy >/dev/null; dp_pod podA governed >/dev/null
dp attach >/dev/null; dp listen >/dev/null; dp beat on >/dev/null
dp learn "$(pod_link podA)" api.openai.com 5000 $LEARN4 >/dev/null
dp resolved api.openai.com 5000 $SHARED4 169.254.169.254 ::1 $EXCLUDED4
has "what is never governed is refused" "$DP_ANSWER" "refused=3"
is "learned: captured" "$(ask podA $LEARN4 443 x | cut -d' ' -f1)" agent
is "resolved: captured" "$(ask podA $SHARED4 443 x | cut -d' ' -f1)" agent
mkfifo "$T_RUN/open.in"
pod podA socat -t 2 - TCP:$LEARN4:443 < "$T_RUN/open.in" > "$T_RUN/open.out" 2>/dev/null &
T_PIDS+=($!)
exec 9> "$T_RUN/open.in"
await 5 grep -q agent "$T_RUN/open.out"
sleep 6
check "sweep" dp sweep
is "expired: what was learned is gone" "$(learned podA)" 0
is "expired: what was resolved is gone" "$(bpftool -j map dump pinned "$DP_PINS/destinations4" | jq '[.[] | select(.formatted.value.origin == 2)] | length')" 0
is "the count of the quota goes back" "$(bpftool -j map dump pinned "$DP_PINS/learned_count" | jq -c '[.[].formatted.value]')" "[0]"
is "expired: untouched" "$(ask podA $LEARN4 443 x | cut -d' ' -f1)" provider
echo still >&9
check "expired: what was open goes on" await 3 grep -q still "$T_RUN/open.out"
exec 9>&-

echo "# a policy that no longer has a name"
dp resolved api.openai.com 60000 $SHARED4 >/dev/null
dp learn "$(pod_link podA)" api.openai.com 60000 $LEARN4 >/dev/null
dp new-policy >/dev/null
dp name '*.anthropic.com' >/dev/null; dp verdict 2 0 6 443 redirect >/dev/null
check "the new policy" dp policy
is "until every pod has moved, the old one holds" "$(ask podA $SHARED4 443 x | cut -d' ' -f1)" agent
dp pod "$(pod_link podA)" test/podA governed 2 0 "$(pod_ip podA)" "$(pod_ip6 podA)" >/dev/null
check "prune" dp prune
is "its resolved addresses are gone" "$(ask podA $SHARED4 443 x | cut -d' ' -f1)" provider
is "its learned addresses are gone" "$(ask podA $LEARN4 443 x | cut -d' ' -f1)" provider
is "the old verdicts are gone" "$(bpftool -j map dump pinned "$DP_PINS/verdicts" | jq -c '[.[].formatted.key.policy_id] | unique')" "[2]"
is "the name is no longer watched" "$(bpftool -j map dump pinned "$DP_PINS/watched_names" | jq length)" 1
dp stop >/dev/null; dp_quit
checks_done
