#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# egretd --observe: no CA, no key, no way in. What pods talk to is seen by their DNS answers and ClientHellos, over IPv4 and
# IPv6, and not a byte of it is touched: not with the agent, not without, not when its programs are told nonsense.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
. ../lib/kube_api.sh
topology_up egobs podA podB:routed
OPENAI=$(world_key openai api.openai.com)
ANTHROPIC=$(world_key anthropic api.anthropic.com)
world_up
E_DIR=$T_RUN/egret E_PIN=/sys/fs/bpf/egret-test/$T
mkdir -p "$E_DIR"/{pods,run}
pod_register "$E_DIR/pods" podA shop '{"app":"assistant"}' assistant-sa
pod_register "$E_DIR/pods" podB store '{"app":"search"}' search-sa
OPENAI4=$(jq -r '.hosts["api.openai.com"].addresses | map(select(contains(":") | not))[0]' "$T_WORLD")
OPENAI6=$(jq -r '.hosts["api.openai.com"].addresses | map(select(contains(":")))[0]' "$T_WORLD")
ANTHROPIC4=$(jq -r '.hosts["api.anthropic.com"].addresses | map(select(contains(":") | not))[0]' "$T_WORLD")
ANTHROPIC6=$(jq -r '.hosts["api.anthropic.com"].addresses | map(select(contains(":")))[0]' "$T_WORLD")

observe_start() { # [OPTION...]
	spawn "${E_NAME:-egretd}" node "$EGRETD" --observe --pods-dir "$E_DIR/pods" --run-dir "$E_DIR/run" --pin-dir "$E_PIN" \
		--resolver "$(t_dns_address)" "$@"
	E_PID=$SPAWNED
}
observe_up() {
	observe_start "$@"
	egret_await_ready || { cat "$T_RUN/egretd.log" >&2; t_die "egretd --observe was not ready"; }
}
row() { # POD HOST BY MEMBER
	ctl inventory --json | jq --arg p "$1" --arg h "$2" --arg b "$3" "[.inventory[] | select(.pod == \$p and .host == \$h and .known_by == \$b) | .$4] | add // 0"
}
# ask POD [CURL ARGS]: with the pod's own key, to the provider itself, whose own certificate is all that is trusted.
ask() {
	local pod=$1 host=$2 key=$3; shift 3
	pod "$pod" curl -sS --max-time 10 --cacert "$T_RUN/certs/root.crt" -o "$T_RUN/answer" -w '%{http_code}' -H "authorization: Bearer $key" \
		-H "x-api-key: $key" -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' \
		-d '{"model":"gpt-4o","max_tokens":16,"messages":[{"role":"user","content":"hello"}]}' "$@" "https://$host/v1/$([ "$host" = api.anthropic.com ] && echo messages || echo chat/completions)" 2>/dev/null
}

# What the provider saw of the last request: whose address (the node's, behind its NAT), whose key.
seen() { mock_last '"\(.host) \(.sni) \([.headers[] | select(.[0] | ascii_downcase == "authorization")][0][1])"'; }
source_of() { jq -rs '[.[] | select(.src != null)] | last | .src' "$T_RUN/provider.jsonl"; }
metric() { metrics | grep -v '^#' | grep -F "$1" | awk '{ print $2 }'; }
log() { cat "$T_RUN"/egretd*.log; }
logged() { grep -c "$1" "$T_RUN/egretd.log"; }
links() { find "$E_PIN/links" -type f -printf '%f\n' | sed 's/-[0-9]*\(-tc\)\?$//' | sort -u | tr '\n' ' '; }
rules() { node ip rule; node ip -6 rule; node ip -o link | awk '{ print $2 }' 2> /dev/null; node nft list ruleset 2>/dev/null; }
rules_hash() { rules 2> /dev/null | grep -v counter | sha256sum; }

echo "# as it is without Egret"
is "a pod without any policy has its answer" "$(ask podA api.openai.com "$OPENAI" -4)" 200
SOURCE4=$(source_of)
is "IPv6" "$(ask podA api.openai.com "$OPENAI" -6)" 200
SOURCE6=$(source_of)
RULES=$(rules_hash)
mock_forget

echo "# learned from the pod's DNS answers"
observe_up
is "IPv4: the provider itself answers" "$(ask podA api.openai.com "$OPENAI" -4)" 200
is "it saw the pod's own key" "$(seen)" "api.openai.com api.openai.com Bearer $OPENAI"
is "and the source of before" "$(source_of)" "$SOURCE4"
is "IPv6: the provider itself answers" "$(ask podA api.openai.com "$OPENAI" -6)" 200
is "the pod's own key" "$(seen)" "api.openai.com api.openai.com Bearer $OPENAI"
is "the source of before" "$(source_of)" "$SOURCE6"
is "both are one row, known by DNS" "$(row shop/podA api.openai.com dns connections)" 2
at_least "bytes up" "$(row shop/podA api.openai.com dns bytes_up)" 600
at_least "bytes down" "$(row shop/podA api.openai.com dns bytes_down)" 2000
at_least "packets, both ways" "$(ctl inventory --json | jq '.inventory[0] | [.packets_up, .packets_down] | min')" 6
now=$(date +%s)
is "seen just now" "$(ctl inventory --json | jq --argjson n "$now" '.inventory[0] | [.first_seen, .last_seen] | map(. > $n - 60 and . <= $n + 1) | all')" true
is "whose it is" "$(ctl inventory --json | jq -r '.inventory[0].provider')" openai
has "for people" "$(ctl inventory)" "shop/podA  openai    api.openai.com  dns"

echo "# learned from the ClientHello: the pod asks no resolver"
for pair in "4 $ANTHROPIC4" "6 [$ANTHROPIC6]"; do
	is "IPv${pair%% *}: the provider itself answers" "$(ask podB api.anthropic.com "$ANTHROPIC" "-${pair%% *}" --resolve "api.anthropic.com:443:${pair#* }")" 200
	is "the pod's own key" "$(seen)" "api.anthropic.com api.anthropic.com Bearer $ANTHROPIC"
done
is "known by SNI" "$(row store/podB api.anthropic.com sni connections)" 2
is "a pod shows what it did itself" "$(ctl inventory --json | jq -c '[.inventory[] | [.pod, .provider]] | sort')" '[["shop/podA","openai"],["store/podB","anthropic"]]'
is "another host is not in it" "$(pod podB curl -s -o /dev/null -w '%{http_code}' --cacert "$T_RUN/certs/root.crt" https://www.example.org/) $(ctl inventory --json | jq '.inventory | length')" "200 2"

echo "# a name that was poisoned for one pod is poisoned for that one"
SITE=$(jq -r '.hosts["www.example.org"].addresses[0]' "$T_WORLD")
dns_set api.groq.com "{\"a\": [\"$SITE\"], \"aaaa\": [], \"ttl\": 60}"
site() { pod "$1" curl -sk --max-time 5 -o /dev/null -w '%{http_code}' "${@:2}"; }
is "podA is told that the site is a provider" "$(site podA https://api.groq.com/)" 404
is "its own page shows it, by its own words" "$(ctl inventory --json | jq -c '[.inventory[] | select(.host == "api.groq.com") | [.pod, .connections]]')" '[["shop/podA",1]]'
is "podB goes to the same address" "$(site podB --resolve "www.example.org:443:$SITE" https://www.example.org/)" 200
is "nothing of it shows there" "$(ctl inventory --json | jq -c '[.inventory[] | select(.host == "api.groq.com") | .pod]')" '["shop/podA"]'
dns_clear

echo "# nothing but programs that look"
is "on the links" "$(links)" "observe_down_tc observe_up_tc "
is "no rule, no link, no namespace of Egret's" "$(rules_hash)" "$RULES"
check_not "no namespace" test -e "/run/netns/$T-agent"
is "one process" "$(pgrep -P "$E_PID" | wc -l)" 0
is "that may BPF and NET_ADMIN alone" "$(capsh --decode="$(sed -n 's/^CapEff:[[:space:]]*//p' "/proc/$E_PID/status")" | sed 's/.*=//')" cap_net_admin,cap_bpf
is "no new privileges" "$(sed -n 's/^NoNewPrivs:[[:space:]]*//p' "/proc/$E_PID/status")" 1
is "counters: nothing was dropped or redirected" "$(ctl flows --counters --json | jq -c '[.counters[] | select(.reason != "ok") | .reason] | unique')" "[]"
is "no flow was decided" "$(ctl flows --json | jq '.flows | length')" 0

echo "# said clearly"
has "status" "$(ctl status)" "OBSERVE ONLY: nothing is enforced; every packet of every pod passes"
is "as JSON" "$(ctl status --json | jq -c '[.mode, .enforcing, .ready, .pods.observed]')" '["observe",false,true,2]'
has "doctor" "$(ctl doctor)" "observe only: nothing is enforced"
check "nothing is broken" ctl doctor
is "pods: none is governed" "$(ctl pods --json | jq -c '[.pods[].state] | unique')" '["ungoverned"]'
has "a command that needs a gateway" "$(ctl gateway restart 2>&1)" "this egretd only observes"
TRACED=$(ctl trace 2>&1); is "there is nothing to trace" $? 1
has "and that is said" "$TRACED" "no request passes through it, so there is nothing to trace"
is "metric" "$(metric 'egret_observed_connections_total{namespace="shop",provider="openai"}') $(metric 'egret_observed_connections_total{namespace="store",provider="anthropic"}') $(metric egret_observed | wc -l) $(metrics | grep -cx 'egret_observe 1')" "2 2 9 1"
at_least "bytes" "$(metric 'egret_observed_bytes_total{namespace="store",provider="anthropic",direction="down"}')" 2000
is "the page is the node's" "$(node curl -s -o /dev/null -w '%{http_code}' -H 'Host: evil.example' http://127.0.0.1:9909/metrics) $(node curl -s http://127.0.0.1:9909/readyz)" "403 ok: it observes, and enforces nothing"
check "the log says who talks to whom" await 10 grep -q "pod store/podB talks to anthropic (api.anthropic.com), known by SNI" "$T_RUN/egretd.log"
is "once" "$(logged 'pod shop/podA talks to openai') $(logged 'pod store/podB talks to anthropic')" "1 1"

echo "# killed: all goes on, counting too"
disown "$E_PID"; kill -KILL "$E_PID"; t_await_exit "$E_PID"
is "the provider answers" "$(ask podA api.openai.com "$OPENAI" -4)" 200
is "with the pod's own key" "$(seen)" "api.openai.com api.openai.com Bearer $OPENAI"
is "the inventory is read without an agent" "$(row shop/podA api.openai.com dns connections)" 3
has "status: there is none, and nothing is enforced" "$(ctl status)" "OBSERVE ONLY: Egret's programs go on counting"
has "doctor, too" "$(ctl doctor)" "observe only: nothing is enforced"
check_not "which is a trouble" ctl doctor
mv "$T_RUN/egretd.log" "$T_RUN/egretd-first.log"
observe_up
is "another one goes on where it was" "$(row shop/podA api.openai.com dns connections)" 3
is "and is asked again" "$(ask podA api.openai.com "$OPENAI" -4) $(row shop/podA api.openai.com dns connections)" "200 4"
is "each pod and host has one row" "$(ctl inventory --json | jq '.inventory | map([.pod, .host, .known_by]) | length == (unique | length)')" true
sleep 2.5
is "what was logged once is not again" "$(logged 'talks to')" 0
is "a second one beside it is refused" "$(E_NAME=egretd-second; observe_start --metrics none > /dev/null; t_await_exit "$E_PID"; grep -c 'another egretd' "$T_RUN/egretd-second.log")" 1

echo "# names of policy files, which nobody enforces"
stop
mkdir "$E_DIR/names"
jq '.providers.openai.endpoint = "https://www.example.org/v1" | .policies[0].routes[0].match.hosts = ["www.example.org"]' policies/agent/10-all.json > "$E_DIR/names/all.json"
observe_up --policy-dir "$E_DIR/names"
at_least "are watched beside the known ones" "$(ctl status --json | jq .watched_by_policy)" 1
is "seen" "$(site podB https://www.example.org/) $(row store/podB www.example.org dns connections)" "200 1"
echo '{' > "$E_DIR/names/all.json"
refused_policy() { ctl status | grep -q "POLICY NOT READ: "; }
check "a set that can't be used is said" await 15 refused_policy
is "and what was watched is" "$(site podB https://www.example.org/) $(row store/podB www.example.org dns connections)" "200 2"
stop

echo "# what it needs"
by_rights() { # RIGHTS TEXT: refused with it
	E_NAME=egretd-rights
	spawn $E_NAME node setpriv --inh-caps=-all --bounding-set="$1" "$EGRETD" --observe --pods-dir "$E_DIR/pods" --run-dir "$E_DIR/run" --pin-dir "$E_PIN" --metrics none
	E_PID=$SPAWNED
	unset E_NAME
}
for without in bpf net_admin perfmon; do
	by_rights "-all$(for c in bpf net_admin perfmon; do [ $c = $without ] || printf ',+%s' $c; done)"
	await 10 gone "$E_PID"
	has "without $without it does not start, and says so" "$(tr a-z A-Z < "$T_RUN/egretd-rights.log")" "CAP_$(echo $without | tr a-z A-Z)"
done
by_rights -all,+bpf,+net_admin,+perfmon
status_is() { [ "$(ctl status --json 2>/dev/null | jq -r .state)" = "$1" ]; }
check "with these three it does" await 20 status_is observing
is "and sees" "$(ask podB api.openai.com "$OPENAI" -4) $(row store/podB api.openai.com dns connections)" "200 1"
stop
while read -r option; do
	# shellcheck disable=SC2086 # words
	has "--observe with $option" "$("$EGRETD" --observe --$option 2>&1)" "--${option%% *}: with --observe"
done <<< $'ca-dir /etc/egret/ca\ncredentials-dir /x\nmode mark\nfail open\nguard-host deny\nxdp eth0=auto\nunknown-pods deny\ngateway4 none'

echo "# pods of Kubernetes"
uninstall() { node "$EGRETD" --uninstall --pin-dir "$E_PIN" --agent-namespace "$T-agent" > "$T_RUN/uninstall.log" 2>&1; }
uninstall
CNI=$E_DIR/cni
mkdir "$CNI"
cni_pod() { # POD NAMESPACE UID: what libcni writes
	jq -n --arg ns "$2" --arg name "$1" --arg uid "$3" --arg link "$(pod_link "$1")" --arg netns "/run/netns/$T-$1" --arg ip "$(pod_ip "$1")/24" \
		'{kind: "cniCacheV1", containerId: "c-\($uid)", ifName: "eth0", networkName: "podnet",
		cniArgs: [["K8S_POD_NAMESPACE", $ns], ["K8S_POD_NAME", $name], ["K8S_POD_UID", $uid]],
		result: {cniVersion: "1.0.0", interfaces: [{name: $link}, {name: "eth0", sandbox: $netns}], ips: [{address: $ip, interface: 1}]}}' > "$CNI/.new" &&
		mv "$CNI/.new" "$CNI/podnet-c-$3-eth0"
}
api_up
api_namespace shop '{}'
api_pod podA u-a shop '{"app":"assistant"}'
cni_pod podA shop u-a
spawn egretd node "$EGRETD" --observe --kubernetes --node-name node-1 --cni-dir "$CNI" --kube-api "$K_API" --kube-token "$K_DIR/token" --kube-ca "$K_DIR/ca.crt" \
	--resolver "$(t_dns_address)" --run-dir "$E_DIR/run" --pin-dir "$E_PIN"
E_PID=$SPAWNED
check "it observes" await 20 status_is observing
is "a pod of the runtime's cache" "$(ask podA api.openai.com "$OPENAI" -4) $(row shop/podA api.openai.com dns connections)" "200 1"
is "one that nobody has named yet" "$(ask podB api.openai.com "$OPENAI" -4) $(row "(unknown pod on link $(pod_link podB))" api.openai.com dns connections)" "200 1"
hasnt "the uplink, a veth here, is no pod's" "$(ctl inventory)" "link eth0"
cni_pod podB store u-b
named() { ask podB api.openai.com "$OPENAI" -4 > /dev/null; [ "$(row store/podB api.openai.com dns connections)" -ge 1 ]; }
check "once it is named its connections are its own" await 15 named
has "status says how the API is" "$(ctl status)" "api       $K_API, current"
stop
hasnt "no token in the log" "$(log)" "$(cat "$K_DIR/token")"
uninstall

echo "# a start that was to govern, and comes to nothing"
E_NAMES=api.openai.com,api.anthropic.com
egret_prepare policies/agent
observe_up
stop
E_NAME=egretd-bad egret_start --agent-namespace "$T-podA"
await 20 gone "$E_PID"
has "it says why" "$(cat "$T_RUN/egretd-bad.log")" "egretd does not start"
is "the pod is as free as it was" "$(ask podA api.openai.com "$OPENAI" -4)" 200
observe_up
is "one that observes goes on" "$(ask podA api.openai.com "$OPENAI" -4) $(row shop/podA api.openai.com dns connections)" "200 1"
stop
uninstall

echo "# a kernel without TCX, sk_lookup and redirect_peer, which only a way in needs"
filters() { node tc filter show dev "$(pod_link podA)" "$1" 2> /dev/null | grep -o 'observe[a-z_]*\|egress_tc\|dns_tc' | sort -u | tr '\n' ' '; }
spawn egretd node "$EGRET_BUILD/tests/net/datapath_old_kernel" tcx,sk_lookup,redirect_peer "$EGRETD" --observe --pods-dir "$E_DIR/pods" --run-dir "$E_DIR/run" \
	--pin-dir "$E_PIN" --resolver "$(t_dns_address)"
E_PID=$SPAWNED
check "it observes" await 20 status_is observing
is "by filters of clsact" "$(filters ingress)$(filters egress)" "observe_up_tc observe_down_tc "
is "a pod is seen" "$(ask podA api.openai.com "$OPENAI" -4) $(row shop/podA api.openai.com dns connections)" "200 1"
stop

echo "# then one that governs"
two_program | sed "s/placeholder/$OPENAI/" > "$T_RUN/two.py" # with the pod's own key
two open
egret_up --workers 1
is "a connection of before does not go on past it" "$(two_end open)" "200 eof "
is "the pod that policy selects is governed" "$(ctl pods --json | jq -r '.pods[] | select(.name == "podA") | .state')" governed
mock_forget
is "served by Egret, with the key that the pod does not have" "$(pod_curl podA -4 -o /dev/null -w '%{http_code}' -H 'authorization: Bearer placeholder' -H 'content-type: application/json' -d '{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}' https://api.openai.com/v1/chat/completions) $(seen)" "200 api.openai.com api.openai.com Bearer $OPENAI"
is "nor a filter of clsact" "$(filters ingress)$(filters egress)" ""
hasnt "no program that looks is left" "$(links)" observe
check_not "nor the inventory" test -e "$E_PIN/inventory"
has "which is said" "$(ctl inventory 2>&1)" "governs, and has no inventory"
stop
E_NAME=egretd-back observe_start
await 10 gone "$E_PID"
has "back to observing would let the pods go: refused" "$(cat "$T_RUN/egretd-back.log")" "observing would let its pods go free: run \`egretd --uninstall\` first"
is "they are still closed" "$(ask podA api.openai.com "$OPENAI" -4 --max-time 3)" 000
uninstall

echo "# nothing is left"
observe_up
is "it observes again" "$(ask podA api.openai.com "$OPENAI" -4) $(row shop/podA api.openai.com dns connections)" "200 1"
hasnt "no key in logs" "$(log)" sk-real
hasnt "nor in what it tells" "$(ctl inventory --json; ctl status --json; ctl pods --json; node curl -s http://127.0.0.1:9909/metrics)" sk-real
stop
check "uninstall, with the rights of an observer" node setpriv --inh-caps=-all --bounding-set=-all,+bpf,+net_admin,+perfmon "$EGRETD" --uninstall --pin-dir "$E_PIN" --agent-namespace "$T-agent"
check_not "no pins" test -e "$E_PIN"
is "no program on the link" "$(node bpftool net show dev "$(pod_link podA)" 2>/dev/null | grep -c observe)" 0
is "no rule, no link" "$(rules_hash)" "$RULES"
is "the provider answers as before" "$(ask podA api.openai.com "$OPENAI" -4) $(source_of)" "200 $SOURCE4"
checks_done
