#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# 100 policy reloads under load, every second one broken; keys that change; pods that come, change and go.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
RELOADS=${RELOADS:-100} CONNECTIONS=${CONNECTIONS:-8}
agent_prepare egreload
egret_up
is "at first all is well" "$(ask podA)" 200

GOOD=$E_DIR/policy/10-all.json
cp "$GOOD" "$T_RUN/good.json"
good() { # N: another text with the same meaning, so that its version tells it
	jq --arg n "$1" '.policies[0].routes[0].name = "chat-" + $n' "$T_RUN/good.json"
}
broken() { # N: each would let everything through, or nothing, if it were obeyed
	case $(($1 % 5)) in
	0) good "$1" | head -c 700 ;;                                                  # cut
	1) good "$1" | jq '.policies[0].routez = [] | .policies[0].otherwise = "pass"' ;; # unknown key
	2) good "$1" | jq '.policies[0].routes[0].targets[0].provider = "nobody"' ;;      # dangling
	3) good "$1" | sed 's/"otherwise"/"otherwise": "pass", "otherwise"/' ;;           # duplicate
	4) good "$1" | jq '.policies += [.policies[0]]' ;;                                # the same name twice
	esac
}
place() { mv "$T_RUN/next.json" "$GOOD"; }
said() { grep -c "$1" "$T_RUN/egretd.log"; }
more_than() { [ "$(said "$1")" -gt "$2" ]; }
reload_all() {
	local n what before
	for n in $(seq "$RELOADS"); do
		if [ $((n % 2)) = 1 ]; then good "$n"; what="is in force"; else broken "$n"; what="is refused whole"; fi > "$T_RUN/next.json"
		before=$(said "$what")
		place
		await 20 more_than "$what" "$before" || { echo "reload $n: egretd did not say '$what'"; return 1; }
	done
}
ctl status --json | jq -r .policy.version > "$T_RUN/versions"
mock_forget
until [ -e "$T_RUN/enough" ]; do load 300 "$CONNECTIONS"; done > "$T_RUN/load" &
LOADER=$!
await 20 test -s "$T_RUN/provider.jsonl"
check "each of $RELOADS reloads was taken or refused as it deserved" reload_all
touch "$T_RUN/enough"
wait $LOADER
sed -n 's/.*generation [0-9]*: policy \([0-9a-f]*\) is in force.*/\1/p' "$T_RUN/egretd.log" >> "$T_RUN/versions"
R=$(jq -sc '{requests: map(.requests) | add, failed: map(.failed) | add, connections_made: map(.connections_made) | add,
	errors: map(.errors) | add, runs: length}' "$T_RUN/load")
echo "     $R"
at_least "there was load" "$(jq .requests <<<"$R")" 200
is "no request failed" "$(jq .failed <<<"$R")" 0
is "no open connection was reset" "$(jq .connections_made <<<"$R")" $(($(jq .runs <<<"$R") * CONNECTIONS))
is "none was decided by a broken set" "$(jq -r .policy_version "$E_DIR/access.jsonl" | sort -u | grep -vxFf "$T_RUN/versions" | wc -l)" 0
at_least "many sets decided" "$(jq -r .policy_version "$E_DIR/access.jsonl" | sort -u | wc -l)" $((RELOADS / 5))
is "the gateway is still the first one" "$(metric egret_gateway_restarts_total)" 0
is "the broken ones are counted" "$(metric egret_policy_rejected_total)" $((RELOADS / 2))
is "what lies there now is refused, and said so" "$(metric egret_policy_valid) $(ctl status --json | jq .policy.valid)" "0 false"
has "each kind of error is said with file and JSON path" "$(log)" '10-all.json'
has "status shows it to a person" "$(ctl status)" "is REFUSED"
good 1 > "$T_RUN/next.json"; place
await 10 sh -c "'$EGRETCTL' status --json --run-dir '$E_DIR/run' | jq -e .policy.valid"
is "a good set again" "$(ctl status --json | jq .policy.valid)" true

# --- policy lets go of what has a connection open: it is as if it had never been governed
in_force() { local before; before=$(said "is in force"); cat > "$T_RUN/next.json"; place; await 20 more_than "is in force" "$before"; }
answers() { [ "$(ask podA)" = "$1" ]; }
for what in "no policy selects the pod" "nothing governs the name"; do
	two "kept${what%% *}"
	is "a connection is open" "$(cat "$T_RUN/kept${what%% *}.out")" 200
	case $what in
	no*) good 1 | jq '.policies[0].pods.namespaces = ["nobody"]' ;;
	*) good 1 | jq 'del(.providers.openai, .credentials.openai) | .policies[0].routes |= map(select(.name == "claude"))' ;;
	esac | in_force
	is "$what any more: the connection's next request goes on with the pod's own key" "$(two_end "kept${what%% *}")" "200 401 "
	is "and is its last" "$(egret_mark; egret_records '.detail == "nothing governs this connection any more: passed on, and it ends"' | jq length)" 1
	: > "$E_DIR/access.jsonl"
	check "a new connection is untouched" await 10 answers 401
	good 1 | in_force
	check "governed again" await 10 answers 200
done

# --- a range that takes the pods' resolver along
good 1 | jq '.destinations = [{"cidr": "203.0.113.0/24"}]' | in_force
check "it is said" grep -q "the destination 203.0.113.0/24 holds the resolver 203.0.113.53, so that pods with an enforced policy can ask it no name" "$T_RUN/egretd.log"
is "and so it is" "$(pod podA timeout 10 getent hosts api.openai.com || echo none)" none
good 1 | in_force
check "without it names are found again" await 10 answers 200

# --- the way Kubernetes swaps a ConfigMap: ..data
mkdir -p "$E_DIR/policy/..one" "$E_DIR/policy/..two"
good volume-one > "$E_DIR/policy/..one/10-all.json"
good volume-two > "$E_DIR/policy/..two/10-all.json"
ln -s ..one "$E_DIR/policy/..data"
ln -sf ..data/10-all.json "$T_RUN/next.json"; place
route() { ask podA >/dev/null; egret_last .route; }
await 10 sh -c "grep -q . /dev/null; '$EGRETCTL' status --json --run-dir '$E_DIR/run' | jq -e .policy.valid"
await 10 egret_newer "$(egret_generation)" || true
is "a volume is read" "$(route)" chat-volume-one
BEFORE=$(egret_generation)
ln -s ..two "$E_DIR/policy/..data_tmp"; mv -T "$E_DIR/policy/..data_tmp" "$E_DIR/policy/..data"
await 10 egret_newer "$BEFORE"
is "its swap is noticed" "$(route)" chat-volume-two

# --- a key changes under load
mock_forget
load 3000 "$CONNECTIONS" > "$T_RUN/load" &
LOADER=$!
await 20 sh -c "[ \$(wc -l < '$T_RUN/provider.jsonl') -gt 200 ]"
OLD=$OPENAI OPENAI=$(world_key openai api.openai.com)
wait $LOADER
R=$(cat "$T_RUN/load"); echo "     $R"
is "a key changes: no request fails" "$(jq .failed <<<"$R")" 0
is "each request had one of the two" "$(mock_requests ".credentials.authorization != \"Bearer $OPENAI\" and .credentials.authorization != \"Bearer $OLD\"")" 0
ask podA >/dev/null
is "the new one is used without a restart" "$(mock_last .credentials.authorization)" "Bearer $OPENAI"
is "by the same gateway" "$(metric egret_gateway_restarts_total)" 0

# --- a key is written in place: empty for as long as its writer takes
KEY=$T_RUN/credentials/openai/key
(sleep 3; printf '%s' "$OPENAI") > "$KEY" &
WRITER=$!
sleep 0.3
touch "$GOOD"                                        # whatever else is read anew meanwhile
printf '%s' "$ANTHROPIC" > "$T_RUN/credentials/anthropic/key"
check "a file that is being written: said" await 10 grep -q "openai/key.*the last good key stays in force" "$T_RUN/egretd.log"
check "its writer is still at it" kill -0 $WRITER
is "and requests go on with the last good key" "$(ask podA) $(ask podA)" "200 200"
wait $WRITER
check "written: said" await 10 grep -q "credential 'openai': its file is fit again" "$T_RUN/egretd.log"
is "it is used" "$(ask podA)" 200
(until [ -e "$T_RUN/written" ]; do printf '%s' "$OPENAI" > "$KEY"; sleep 0.02; done) &
WRITER=$!
R=$(load 1500 "$CONNECTIONS"); echo "     $R"
touch "$T_RUN/written"
wait $WRITER
is "rewritten in place again and again: no request fails" "$(jq .failed <<<"$R")" 0
printf 'sk two words' > "$KEY"
check "what no header may have: said" await 10 grep -q "openai/key: has a space.*the last good key \\(still \\)\\?stays in force" "$T_RUN/egretd.log"
is "and requests go on" "$(ask podA)" 200
rm "$KEY" && mkdir "$KEY"
check "a directory instead: said, too" await 10 grep -q "openai/key: a directory; expected a regular file; the last good key still stays in force" "$T_RUN/egretd.log"
is "and requests still go on" "$(ask podA)" 200
rmdir "$KEY" && printf '%s' "$OPENAI" > "$KEY"
is "all that by the same gateway" "$(metric egret_gateway_restarts_total)" 0

# --- pods
is "an unknown pod's traffic to a provider is stopped" "$(ask podB --max-time 3)" 000
pod_register "$E_DIR/pods" podB shop '{}' other-sa
await 10 sh -c "'$EGRETCTL' pods --json --run-dir '$E_DIR/run' | jq -e '.pods[] | select(.name == \"podB\") | .state == \"governed\"'"
is "registered, it is governed at once" "$(ask podB)" 200
is "with its own identity" "$(egret_last '.pod.name + " " + .pod.service_account')" "podB other-sa"
echo '{"namespace": "shop", "nam' > "$E_DIR/pods/shop-podB.json"
await 10 grep -q 'shop-podB.json' "$T_RUN/egretd.log"
await 10 sh -c "[ \$('$EGRETCTL' status --json --run-dir '$E_DIR/run' | jq .pods.refused) = 1 ]"
is "a broken file is refused, and leaves the pod as it was" "$(ctl status --json | jq .pods.refused) $(ask podB)" "1 200"
# A pod's file may call its pod anything: a terminal acts on nothing of it.
pod_register "$E_DIR/pods" podB shop '{}'
jq '.name = "podB\u001b[2K\rnothing here\u009b1A"' "$E_DIR/pods/shop-podB.json" > "$E_DIR/pods/.evil" && mv "$E_DIR/pods/.evil" "$E_DIR/pods/shop-podB.json"
await 10 sh -c "'$EGRETCTL' pods --kernel --run-dir '$E_DIR/run' --pin-dir '$E_PIN' | grep -q 'podB.u001b'"
ask podB >/dev/null
for shown in "pods" "pods --kernel" "flows" "flows --counters" "flows --learned" "flows --json" "pods --json"; do
	# shellcheck disable=SC2086 # words
	out=$(ctl $shown)
	has "$shown: a pod's name is shown" "$out" 'podB\u001'
	is "$shown: and acts on no terminal" "$(tr -d '\n' <<<"$out" | LC_ALL=C grep -c -P '[\x00-\x1f\x7f]|\xc2[\x80-\x9f]')" 0
done
pod_register "$E_DIR/pods" podB elsewhere '{}'
rm "$E_DIR/pods/shop-podB.json"
await 10 sh -c "'$EGRETCTL' pods --json --run-dir '$E_DIR/run' | jq -e '.pods[] | select(.name == \"podB\") | .state == \"ungoverned\"'"
is "moved to where no policy is: untouched" "$(ask podB)" 401
echo '{' > "$E_DIR/pods/not-elsewhere-podB.json" # refused; its name ends as that one's
await 10 sh -c "[ \$('$EGRETCTL' status --json --run-dir '$E_DIR/run' | jq .pods.refused) = 1 ]"
rm "$E_DIR/pods/elsewhere-podB.json"
await 10 sh -c "! '$EGRETCTL' pods --json --run-dir '$E_DIR/run' | jq -e '.pods[] | select(.name == \"podB\")'"
is "its file removed: stopped by the guard again" "$(ask podB --max-time 3)" 000
rm "$E_DIR/pods/not-elsewhere-podB.json"
pod_add podC
pod_register "$E_DIR/pods" podC shop '{}'
await 10 sh -c "'$EGRETCTL' pods --json --run-dir '$E_DIR/run' | jq -e '.pods[] | select(.name == \"podC\") | .links | length == 1'"
is "a pod made while Egret runs is governed" "$(ask podC)" 200

# --- a new intermediate of the same root, as before the old one expires
served() { # NAME: the intermediate that a pod is shown
	pod podA openssl s_client -connect "$1:443" -servername "$1" -showcerts < /dev/null 2>/dev/null |
		awk '/BEGIN CERT/ { n++ } n == 2' | openssl x509 -noout -fingerprint 2>/dev/null
}
is "the chain is the one in the CA's directory" "$(served api.openai.com)" "$(openssl x509 -noout -fingerprint -in "$E_DIR/ca/intermediate.crt")"
"$EGRETCTL" ca intermediate --dir "$E_DIR/ca" --names api.openai.com,api.anthropic.com > "$T_RUN/ca.log" 2>&1 || cat "$T_RUN/ca.log"
kill -HUP "$E_PID"
await 15 grep -q "the signer has the new one" "$T_RUN/egretd.log"
served_new() { [ "$(served "$1")" = "$(openssl x509 -noout -fingerprint -in "$E_DIR/ca/intermediate.crt")" ]; }
# Each worker shows what it has until it has the new one: so many connections in a row are of all workers.
served_by_all() { local _; for _ in {1..12}; do served_new "$1" || return 1; done; }
check "a name that is in use gets it, though no other is asked for" await 20 served_by_all api.openai.com
is "a name that is minted now has the new one, without a restart" "$(served api.anthropic.com)" \
	"$(openssl x509 -noout -fingerprint -in "$E_DIR/ca/intermediate.crt")"
is "and pods accept it" "$(ask podA)" 200

# --- one that is not valid yet: the former one signs on, and once its time has come it is taken, without a word from anybody
FORMER=$(served api.openai.com)
mkdir "$T_RUN/early"
(
	cd "$T_RUN/early" || exit
	touch index.txt
	echo 1001 > serial
	printf '[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' > ca.cnf
	printf '[x]\nbasicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\nnameConstraints=critical,permitted;DNS:api.openai.com,permitted;DNS:api.anthropic.com,excluded;IP:0.0.0.0/0.0.0.0,excluded;IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0\n' > x.ext
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key -out csr -subj "/CN=early" 2>/dev/null
	openssl ca -batch -notext -config ca.cnf -cert "$E_DIR/ca/root.crt" -keyfile "$E_DIR/ca/root.key" -in csr -out crt -extfile x.ext -extensions x \
		-startdate "$(date -u -d '+30 seconds' +%Y%m%d%H%M%SZ)" -enddate "$(date -u -d '+9 days' +%Y%m%d%H%M%SZ)"
) > "$T_RUN/early.log" 2>&1
mv "$T_RUN/early/key" "$E_DIR/ca/intermediate.key"
mv "$T_RUN/early/crt" "$E_DIR/ca/intermediate.crt"
kill -HUP "$E_PID"
check "one that is not valid yet is refused" await 15 grep -q "can't be used; the former one, if any, stays: .*not valid now" "$T_RUN/egretd.log"
is "the former one stays" "$(served api.openai.com)" "$FORMER"
check "and signs: the agent serves" egret_ready
check "valid, it is taken" await 60 served_new api.openai.com
is "it was said once" "$(grep -c "stays: .*not valid now" "$T_RUN/egretd.log")" 1

# --- the access log is moved away, and its name is then a pipe that nobody reads: said, and no record is lost
mv "$E_DIR/access.jsonl" "$T_RUN/access.old"
mkfifo "$E_DIR/access.jsonl"
kill -HUP "$E_PID"
check "a pipe without a reader: said" await 10 grep -q "access.jsonl is a pipe that nobody reads; records go on to where they went" "$T_RUN/egretd.log"
BEFORE=$(jq -s length "$T_RUN/access.old")
is "requests are answered" "$(ask podA)" 200
check "and on record where they were before" await 5 sh -c "[ \$(jq -s length '$T_RUN/access.old') -gt $BEFORE ]"
rm "$E_DIR/access.jsonl"
kill -HUP "$E_PID"
check "a file again: made" await 10 test -f "$E_DIR/access.jsonl"
is "requests are answered" "$(ask podA)" 200
check "and on record there" await 5 test -s "$E_DIR/access.jsonl"

# --- a DNS answer with more addresses than the kernel reads: the gateway reads it, for that pod alone
dns_set api.anthropic.com "$(jq -nc '{a: [range(1; 75) | "198.51.100.\(. + 100)"], ttl: 60}')"
pod podA getent ahostsv4 api.anthropic.com > "$T_RUN/hosts"
at_least "the pod got them all" "$(sort -u "$T_RUN/hosts" | grep -c STREAM)" 70
# As many as an event of 1,500 bytes holds; the rest is the SNI's to notice.
read_by_agent() { ctl flows --learned --json | jq -e '[.learned[] | select(.from == "agent")] | length >= 40'; }
await 10 read_by_agent
check "they are governed for that pod" read_by_agent
is "and only for it" "$(ctl flows --learned --json | jq -c '[.learned[] | select(.from == "agent") | .pod] | unique')" '["shop/podA"]'
at_least "it is counted" "$(metric egret_dns_events_total)" 1
dns_clear

# --- a pod that goes while no egretd runs
stop
rm "$E_DIR/pods/shop-podC.json"
has "without an agent the kernel still has it" "$(ctl pods --kernel)" podC
egret_up
hasnt "the next one takes it out" "$(ctl pods --kernel)" podC
is "adopted" "$(ctl status --json | jq .adopted) $(ask podA)" "true 200"

# --- a range that --forbid did not have before
in_range() { ctl flows --destinations --json | jq -c '[.destinations[] | select(.origin == "resolved") | .range | select(startswith("198.51.100."))]'; }
isnt "names have addresses in it" "$(in_range)" "[]"
stop
egret_up --forbid "$E_FORBID,198.51.100.0/24"
is "no name governs them any more, though they were adopted" "$(in_range)" "[]"
is "so they are untouched" "$(ask podA -4)" 401

# --- nothing to serve at the start
stop
rm -rf "$E_DIR/policy"/* "$E_DIR/policy"/..*[a-z]; echo '{' > "$GOOD"
node "$EGRETD" --uninstall --pin-dir "$E_PIN" --agent-namespace "$T-agent" --run-dir "$E_DIR/run" >/dev/null 2>&1
egret_start --access-log /nonexistent/access.jsonl
await 20 gone "$E_PID"
has "a first start that fails says why" "$(log)" "egretd does not start: --access-log /nonexistent/access.jsonl: No such file or directory"
is "and leaves nothing: no pin, namespace or link" "$(ls -d "$E_PIN" "/run/netns/$T-agent" 2>/dev/null; node ip -br link show egret0 2>/dev/null)" ""
mock_forget
egret_start --fail open
await 15 grep -q "is refused whole" "$T_RUN/egretd.log"
has "a broken policy at the start: said, and what it means" "$(log)" "there is no earlier one, so no destination is known that could be governed: NOTHING IS STOPPED until a set is good"
is "which is so" "$(ask podA)" 401
check_not "it is not ready" ctl status
is "readyz says so" "$(node curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9909/readyz)" 503
good late > "$T_RUN/next.json"; place
check "a good one arrives: ready" egret_await_ready
is "and served" "$(ask podA)" 200
# --- nothing good at the start, where an earlier one governed
for fail in closed open; do
	stop
	rm -f "$E_DIR"/policy/*.json "$E_DIR"/policy/..*[a-z]; good late > "$T_RUN/next.json"; place
	egret_up --fail $fail
	is "fail: $fail: served" "$(ask podA)" 200
	kill -KILL "$E_PID"; await 20 gone "$E_PID"
	echo '{' > "$T_RUN/next.json"; place
	egret_start --fail $fail
	await 15 grep -q "is refused whole" "$T_RUN/egretd.log"
	has "said, and what it means" "$(log)" "what an earlier egretd governed meets the fail policy, and nothing else is stopped"
	case $fail in
	closed) is "which is so: it is stopped" "$(ask podA --max-time 12)" 000 ;;
	# The first one already: the heartbeat of who was killed is younger than a second, and its successor has listeners and no gateway.
	open) is "which is so: it passes" "$(ask podA --max-time 5)" 401 ;;
	esac
	is "and what is shown is what is" "$(ctl pods --json | jq -r '[.pods[] | select(.name == "podA") | .state] | join(",")')" governed
done
hasnt "no report of a sanitizer" "$(log)" "Sanitizer"
hasnt "no undefined behaviour" "$(log)" "runtime error"
checks_done
