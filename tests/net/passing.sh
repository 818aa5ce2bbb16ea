#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What Egret leaves alone, through the real capture: sites that share an address with a provider, pods whose policy only
# watches, and names that a policy lets pass. Each keeps its own certificate, key and bytes.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
egret_require

topology_up egpass podA podNames podFull podPass podPassN podPassF
KEY=$(world_key deepseek api.deepseek.com)
OWN=$(world_key own api.deepseek.com) # a key that a pod has of its own
world_up
egret_prepare policies/passing
pod_register "$E_DIR/pods" podA enforced '{}'
pod_register "$E_DIR/pods" podNames names '{}'
pod_register "$E_DIR/pods" podFull full '{}'
pod_register "$E_DIR/pods" podPass lenient '{}'
pod_register "$E_DIR/pods" podPassN lenient-names '{}'
pod_register "$E_DIR/pods" podPassF lenient-full '{}'
ulimit -n 2000 # so that a few hundred connections reach what thousands do on a node
egret_up
PUBLIC=$T_RUN/certs/root.crt

# untouched POD ARG...: curl that trusts the public root only, so that a minted certificate would fail it
untouched() { local pod=$1; shift; egret_mark; pod "$pod" curl -sS --max-time 20 --cacert "$PUBLIC" "$@"; }
ask='{"model":"deepseek-chat","messages":[{"role":"user","content":"ping"}]}'

echo "# a site on the address of a provider (a CDN)"
pod_curl podA -o /dev/null https://api.deepseek.com/ # the address is known as governed from here on
has "over TLS, with its own certificate" "$(untouched podA https://www.example.net/page 2>&1)" "This is www.example.net"
is "the record says that it passed" "$(egret_last .reason)" pass_through
is "and its name" "$(egret_last .server_name)" www.example.net
head -c 3000000 /dev/urandom > "$T_RUN/upload"
has "3 MB through the pipes arrive whole" "$(untouched podA --data-binary "@$T_RUN/upload" https://www.example.net/up 2>&1)" "3000000 bytes of body"
at_least "and are counted" "$(egret_last .bytes_in)" 3000000
has "plain on port 80" "$(pod podA curl -sS --max-time 20 -H 'Cookie: a=b' http://www.example.net/plain 2>&1)" "GET /plain"
is "with all its headers" "$(mock_last '.headers | map(select(.[0] | ascii_downcase == "cookie"))[0][1]')" a=b
out=$(pod podA curl -sS --max-time 20 http://www.example.net/one --next -sS --max-time 20 -H 'Host: api.deepseek.com' http://www.example.net/v1/files 2>&1)
has "a second request on that connection" "$out" "GET /one"
has "that names a provider is judged by itself" "$out" stateful_denied

echo "# an enforced pod, for comparison"
check_not "a minted certificate is not the public one" untouched podA https://api.deepseek.com/
is "answered" "$(pod_curl podA -o /dev/null -w '%{http_code}' -H "authorization: Bearer $OWN" -H 'content-type: application/json' -d "$ask" https://api.deepseek.com/v1/chat/completions)" 200
is "with Egret's key, never the pod's" "$(mock_last .credentials.authorization)" "Bearer $KEY"
is "the pod's own key is noticed" "$(egret_last .client_credential_real)" true

echo "# shadow: names only"
is "answered, with the provider's own certificate" "$(untouched podNames -o /dev/null -w '%{http_code}' -H "authorization: Bearer $OWN" -H 'content-type: application/json' -d "$ask" https://api.deepseek.com/v1/chat/completions)" 200
is "with the pod's own key" "$(mock_last .credentials.authorization)" "Bearer $OWN"
is "recorded as shadow" "$(egret_last .shadow)" true

echo "# shadow: full"
is "answered" "$(pod_curl podFull -o /dev/null -w '%{http_code}' -H "authorization: Bearer $OWN" -H 'content-type: application/json' -d "$ask" https://api.deepseek.com/v1/chat/completions)" 200
is "with the pod's own key" "$(mock_last .credentials.authorization)" "Bearer $OWN"
is "the record says what the policy would have said" "$(egret_last '[.shadow, .reason] | @json')" '[true,"ok"]'
status=$(pod_curl podFull -o /dev/null -w '%{http_code}' -H "authorization: Bearer $OWN" https://api.deepseek.com/v1/files)
isnt "what it would have refused goes on" "$status" 403
is "and is recorded with the reason" "$(egret_last '[.shadow, .reason] | @json')" '[true,"stateful_denied"]'
head=$(pod_curl podFull -o /dev/null -D - -H "authorization: Bearer $OWN" -H 'content-type: application/json' -d '{"model":"gpt-4o","messages":[]}' https://api.deepseek.com/v1/chat/completions)
has "a model of no route goes on too" "$head" "x-mock-host: api.deepseek.com"
hasnt "without a header of ours" "$head" x-egret
is "and is recorded" "$(egret_last '[.shadow, .reason] | @json')" '[true,"model_denied"]'

echo "# otherwise: pass"
is "answered, with the provider's own certificate" "$(untouched podPass -o /dev/null -w '%{http_code}' -H "authorization: Bearer $OWN" -H 'content-type: application/json' -d "$ask" https://api.deepseek.com/v1/chat/completions)" 200
is "with the pod's own key" "$(mock_last .credentials.authorization)" "Bearer $OWN"
for pod in podPassN podPassF; do
	is "$pod: a policy that would pass it and only watches leaves it closed, too" "$(untouched $pod -o /dev/null -w '%{http_code}' \
		-H "authorization: Bearer $OWN" -H 'content-type: application/json' -d "$ask" https://api.deepseek.com/v1/chat/completions)" 200
	is "$pod: and says that it would have passed" "$(egret_last '[.type, .shadow, .reason] | @json')" '["connection",true,"pass_through"]'
done
echo "# one pod's connections are not everybody's descriptors"
spawn relays pod podPass /usr/bin/python3 "$T_ROOT/tests/lib/attacker.py" relays www.example.net 600 8
await 60 grep -q '"open"' "$T_RUN/relays.log"
R=$(head -n 1 "$T_RUN/relays.log"); echo "     $R"
at_least "a pod may have many" "$(jq .open <<<"$R")" 100
at_least "and not all there are" "$(jq .refused <<<"$R")" 100
has "it runs into its own limit" "$(cat "$E_DIR/access.jsonl")" '"reason":"pod_budget"'
is "another pod is served meanwhile" "$(for _ in 1 2 3 4 5; do
	pod_curl podA -o /dev/null -w '%{http_code}\n' -H 'authorization: Bearer placeholder' -H 'content-type: application/json' -d "$ask" \
		https://api.deepseek.com/v1/chat/completions; done | sort | uniq -c | awk '{print $1, $2}')" "5 200"
hasnt "the gateway never ran out" "$(cat "$T_RUN/egretd.log")" "Too many open files"
await 30 grep -q done "$T_RUN/relays.log"
has "afterwards the pod itself is served again" "$(await 10 untouched podPass -o /dev/null https://www.example.net/; untouched podPass https://www.example.net/page 2>&1)" \
	"This is www.example.net"

echo "# what a pod does not take of its answers is its own memory, not the gateway's"
held() { node curl -s --max-time 5 http://127.0.0.1:9909/metrics | awk '/^egret_held_bytes/ { print $2 }'; }
something_held() { [ "$(held)" -ge 1000000 ]; }
nothing_held() { [ "$(held)" = 0 ]; }
check "at first nothing is held" await 15 nothing_held
mock_mode www.example.net big-body-8
spawn stalled pod podPass /usr/bin/python3 "$T_ROOT/tests/lib/attacker.py" stalled www.example.net 200 20
await 60 grep -q '"open"' "$T_RUN/stalled.log"
check "it is charged to the pod" await 30 something_held
mock_mode www.example.net ok
await 60 grep -q done "$T_RUN/stalled.log"
check "and given back when the connections end" await 15 nothing_held

echo "# a site that does not answer, and one that refuses"
SITE=$(jq -r '.hosts["www.example.net"].addresses[0]' "$T_ROOT/tests/mock/world.json")
for how in REJECT DROP; do
	more=; [ $how = REJECT ] && more="--reject-with tcp-reset"
	# shellcheck disable=SC2086 # no option, or two words
	inet iptables -I INPUT -p tcp -d "$SITE" --syn -j $how $more
	check_not "$how: the connection is reset" untouched podPass --max-time 15 -o /dev/null https://www.example.net/
	is "$how: with the reason" "$(egret_last .reason)" pass_through_failed
	# shellcheck disable=SC2086
	inet iptables -D INPUT -p tcp -d "$SITE" --syn -j $how $more
done
is "after 10 s" "$(egret_last '.duration_ms >= 10000 and .duration_ms < 15000')" true
has "then the site is reached again" "$(untouched podPass https://www.example.net/page 2>&1)" "This is www.example.net"

echo "# no agent: what only watches closes nothing"
disown "$E_PID" 2>/dev/null; kill -KILL "$E_PID"; t_await_exit "$E_PID"; E_PID=
passes() { [ "$(untouched podNames --max-time 3 -o /dev/null -w '%{http_code}' -H "authorization: Bearer $OWN" -H 'content-type: application/json' -d "$ask" https://api.deepseek.com/v1/chat/completions)" = 200 ]; }
check "shadow: the provider is reached, though --fail is closed" await 15 passes
for pod in podFull podPassN podPassF; do
	is "$pod: so it is" "$(untouched $pod --max-time 5 -o /dev/null -w '%{http_code}' -H "authorization: Bearer $OWN" -H 'content-type: application/json' -d "$ask" https://api.deepseek.com/v1/chat/completions)" 200
done
is "an enforced pod's is closed" "$(untouched podA --max-time 3 -o /dev/null -w '%{http_code}' https://api.deepseek.com/ 2>/dev/null)" 000

checks_done
