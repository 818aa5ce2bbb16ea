#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# egretctl trace, live: one request and all that was decided of it, by several watchers, over failover, denials, a gateway that
# is killed or replaced, and watchers that are slow or killed; no key in it, and nothing that a terminal acts on.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
topology_up egtrace podA podEU podOne
MISTRAL=$(world_key mistral api.mistral.ai)
GROQ=$(world_key groq api.groq.com)
EU=$(world_key openai-eu eu.api.openai.com)
US=$(world_key openai-us us.api.openai.com)
PLANTED=sk-proj-plantedplantedplantedplanted0123456789
world_up
egret_prepare policies/failover
pod_register "$E_DIR/pods" podA shop '{}' assistant-sa
pod_register "$E_DIR/pods" podEU europe '{}'
pod_register "$E_DIR/pods" podOne single '{}'
egret_up

# send POD HOST [PATH] [CURL ARG...]: one request with a planted key; prints the status.
send() {
	local pod=$1 host=$2 path=${3:-/v1/chat/completions}; shift 2; shift
	pod_curl "$pod" -o "$T_RUN/body" -w '%{http_code}' -H "authorization: Bearer $PLANTED" -H 'content-type: application/json' \
		-d '{"model":"gpt-4o","messages":[{"role":"user","content":"planted-prompt"}]}' "$@" "https://$host$path" 2> "$T_RUN/curl.err"
}
# watch NAME [OPTION...]: from when the agent has taken it on; its stdout in NAME.out, its stderr in NAME.log
watch() {
	local name=$1; shift
	spawn "$name" node sh -c 'out=$1; shift; exec "$@" > "$out"' sh "$T_RUN/$name.out" "$EGRETCTL" trace --run-dir "$E_DIR/run" "$@"
	WATCHER=$SPAWNED
	await 10 grep -q "waiting for requests" "$T_RUN/$name.log" || t_die "the trace did not begin"
}
shown() { grep -qE "$1" "$T_RUN/$2.out"; }
count() { grep -c '"type":"request"' "$T_RUN/$1.out"; }
counts() { [ "$(count "$1")" = "$2" ]; }
# steps NAME [JQ of the last record]
last() { jq -rs "[.[] | select(.type == \"request\")] | last | $2" "$T_RUN/$1.out"; }
texts() { last "$1" "[.steps[] | select(.what == \"$2\") | .text] | join(\"; \")"; }

echo "# one request, for a person and as JSON; two watchers"
watch person --pod shop/podA
watch json --json --count 1
JSON=$WATCHER
is "a request" "$(send podA api.mistral.ai)" 200
check "it is shown" await 10 shown "^  answer " person
check "and the watcher of one has ended" await 10 gone "$JSON"
SEEN=$(cat "$T_RUN/person.out")
has "its headline" "$SEEN" "shop/podA  POST api.mistral.ai/v1/chat/completions  ok 200  request $(last json .request_id)"
has "its connection" "$SEEN" "connection  from $(pod_ip podA):"
has "with TLS and protocol" "$SEEN" "server name api.mistral.ai, HTTP/2"
has "its policy" "$SEEN" "policy    shop (enforce)"
has "its operation" "$SEEN" "operation chat.completions"
has "its model" "$SEEN" "model     gpt-4o"
has "its route" "$SEEN" "route     ordered matches"
has "the targets, with credentials by name" "$SEEN" "target    groq (api.groq.com, region GLOBAL), credential groq"
has "who was asked, where" "$SEEN" "connect   mistral: address "
has "by which connection" "$SEEN" "HTTP/1.1, a new connection (connecting took "
has "how that went" "$SEEN" "attempt   mistral"
has "and the answer" "$SEEN" "answer      status 200, ok, first byte after "
has "tokens" "$SEEN" "tokens      "
is "as JSON it is the access record" "$(jq -c 'del(.steps)' "$T_RUN/json.out")" "$(egret_last | jq -c .)"
is "and the steps in their order" "$(last json '[.steps[].what] | join(" ")')" \
	"policy operation model route target target body connect answer attempt"

echo "# denied, of one pod alone, of one host alone"
watch eu --json --pod europe/podEU
watch host --json --host API.GROQ.COM
is "a route that leads to the US only" "$(send podEU us.api.openai.com)" 403
is "of another pod" "$(send podOne api.groq.com /openai/v1/chat/completions)" 200
check "the watcher of the pod has the first" await 10 counts eu 1
check "that of the host the second" await 10 counts host 1
is "why it was refused" "$(last eu '[.reason, .status] | join(" ")')" "region_denied 403"
is "and where that was decided" "$(last eu '[.steps[] | select(.reason == "region_denied") | .what] | join(" ")')" "target answer answer"
is "three targets, one in the region" "$(send podEU api.openai.com)" 200
check "(shown)" await 10 counts eu 2
is "each was considered" "$(last eu '[.steps[] | select(.what == "target") | (.text | split(" ")[0]) + " " + .reason] | join(", ")')" \
	"us region_denied, groq region_denied, eu ok"
is "the other watchers have not seen them" "$(count host)" 1

echo "# failover, and what is left alone after it"
mock_mode api.mistral.ai 503
watch over --json --pod shop/podA
is "the first target fails" "$(send podA api.mistral.ai)" 200
check "(shown)" await 10 counts over 1
is "both attempts" "$(last over '[.attempts[] | .provider + " " + .reason + " " + (.status | tostring)] | join(", ")')" "mistral upstream_status 503, groq ok 200"
has "the step from one to the other" "$(texts over failover)" "the next target is groq"
is "again" "$(send podA api.mistral.ai)" 200
check "(shown)" await 10 counts over 2
has "the first is passed over, and why" "$(texts over cooldown)" "mistral has failed lately"
is "one attempt" "$(last over '[.attempts[].provider] | join(" ")')" groq
mock_mode api.groq.com 503 1
sleep 0.1
is "the other one fails, too" "$(send podA api.mistral.ai)" 503
check "(shown)" await 10 counts over 3
has "the first is asked all the same" "$(texts over cooldown)" "mistral all the same: no other is left"
mock_clear
sleep 2.2
mock_mode api.groq.com hang 1
is "a provider that hangs" "$(send podOne api.groq.com /openai/v1/chat/completions)" 504
check "is shown to who watches the host" await 10 counts host 2
is "with its timeout" "$(last host '[.attempts[].reason] | join(" ")')" upstream_timeout
mock_clear

echo "# a connection without a request"
pod podA curl -sS --max-time 10 -o /dev/null https://api.mistral.ai/ 2> /dev/null
check "a client that does not trust the CA is shown" await 10 shown "client_rejected_ca.* connection [0-9a-f]{32}$" person

echo "# what a pod makes up"
is "a key in a path" "$(send podOne api.groq.com "/openai/v1/$PLANTED" | cut -c 1)" 4
is "bytes for a terminal in it" "$(send podA api.mistral.ai '/v1/%1b]0;x' -g --http1.1 -A $'\xc2\x9b31mred' | cut -c 1)" 4
check "(shown)" await 10 shown '31mred' person
is "no byte that a terminal acts on" "$(LC_ALL=C tr -d '\n' < "$T_RUN/person.out" | LC_ALL=C grep -c $'[[:cntrl:]]\|\xc2\x9b')" 0
for secret in "$PLANTED" planted-prompt "$MISTRAL" "$GROQ" "$EU" "$US"; do
	is "no secret in what is shown" "$(cat "$T_RUN"/*.out "$T_RUN"/person.log | grep -cF "$secret")" 0
done

echo "# a gateway that is killed, one that is replaced, a reload"
BEFORE=$(pid_of gateway)
mock_mode api.groq.com hang 1
IN_FLIGHT=$(mock_requests) SHOWN=$(count host)
send podOne api.groq.com /openai/v1/chat/completions > "$T_RUN/in_flight" &
CLIENT=$!
arrived() { [ "$(mock_requests)" -gt "$IN_FLIGHT" ]; }
check "a request is in flight" await 10 arrived
kill -KILL "$BEFORE"
other_gateway() { [ "$(pid_of gateway)" != "$BEFORE" ] && egret_ready > /dev/null; }
check "another one serves" await 20 other_gateway
check "its end is said" await 10 grep -q "the gateway process has ended" "$T_RUN/person.log"
wait "$CLIENT"
is "what was in flight has no answer, and is not shown" "$(cat "$T_RUN/in_flight") $(count host)" "000 $SHOWN"
mock_clear
N=$(count over)
is "a request" "$(send podA api.mistral.ai)" 200
check "the trace goes on" await 10 counts over $((N + 1))
check "gateway restart" ctl gateway restart
is "a request" "$(send podA api.mistral.ai)" 200
check "the trace goes on" await 10 counts over $((N + 2))
GENERATION=$(egret_generation)
jq '.policies[0].name = "renamed"' "$E_DIR/policy/policy.json" > "$T_RUN/p.json" && cp "$T_RUN/p.json" "$E_DIR/policy/policy.json"
check "reload" await 20 egret_newer "$GENERATION"
is "a request" "$(send podA api.mistral.ai)" 200
check "the trace goes on" await 10 counts over $((N + 3))
is "by the new policy" "$(last over .policy)" renamed

echo "# at most four at a time; one that is killed makes room"
ctl trace --timeout 2 > "$T_RUN/fifth" 2>&1
is "a fifth" $? 1
has "is refused, with the reason" "$(cat "$T_RUN/fifth")" "four traces are going on"
disown "$WATCHER"; kill -KILL "$WATCHER"; t_await_exit "$WATCHER"
check "the agent notices" await 10 grep -q "a trace has ended (shop/podA)" "$T_RUN/egretd.log"
ctl trace --pod shop/none --timeout 1 > "$T_RUN/none" 2>&1
is "nothing in that time" $? 1
has "is said" "$(cat "$T_RUN/none")" "0 requests in 1 s"

chmod 755 "$T_RUN" "$E_DIR" "$E_DIR/run"; chmod 666 "$E_DIR/run/egretd.sock"
timeout 20 nsenter "${T_NODE_ENTER[@]}" --net="/run/netns/$T_NODE" setpriv --reuid 65534 --clear-groups "$EGRETCTL" trace --run-dir "$E_DIR/run" --timeout 2 > "$T_RUN/other" 2>&1
is "another user than root, where somebody changed the socket's mode" $? 1
has "gets nothing" "$(cat "$T_RUN/other")" "the agent does not answer"
check "and that is logged" grep -q "uid 65534 .* is refused" "$T_RUN/egretd.log"
chmod 600 "$E_DIR/run/egretd.sock"

echo "# a watcher that stands still"
watch slow --json
SLOW=$WATCHER
kill -STOP "$SLOW"
cat > "$T_RUN/many.py" <<'EOP'
import socket, ssl, sys
roots, n = sys.argv[1], int(sys.argv[2])
context = ssl.create_default_context(cafile=roots)
s = context.wrap_socket(socket.create_connection(("api.mistral.ai", 443)), server_hostname="api.mistral.ai")
request = b"GET /v1/" + b"x" * 400 + b" HTTP/1.1\r\nHost: api.mistral.ai\r\nUser-Agent: " + b"y" * 100 + b"\r\n\r\n"
f = s.makefile("rb")
done = 0
for _ in range(n):
    s.sendall(request)
    length = 0
    while (line := f.readline()) not in (b"\r\n", b""):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    if len(f.read(length)) == length:
        done += 1
print(done)
EOP
is "many requests meanwhile, all answered" "$(pod podA python3 "$T_RUN/many.py" "$T_RUN/pod-roots.crt" 1500)" 1500
is "and others are served" "$(send podA api.mistral.ai)" 200
kill -CONT "$SLOW"
check "what was not shown is said" await 20 grep -qE "[0-9]+ requests were not shown: this terminal is too slow" "$T_RUN/slow.log"
is "(a request)" "$(send podEU api.openai.com)" 200
last_is_eu() { [ "$(last slow '.pod.name')" = podEU ]; }
check "then it goes on" await 10 last_is_eu
MISSED=$(sed -n 's/.* \([0-9]*\) requests* w[a-z]* not shown: .*/\1/p' "$T_RUN/slow.log" | awk '{ n += $1 } END { print n }')
is "none is unaccounted for" "$(($(count slow) + MISSED))" 1502
kill "$SLOW"; t_await_exit "$SLOW"
is "nothing was killed for it" "$(grep -c 'is ended: ' "$T_RUN/egretd.log")" 0
check "egretd answers" ctl status

echo "# the agent ends; another begins"
stop
check "it is said" await 10 grep -q "the agent has ended, or another is in charge" "$T_RUN/host.log"
E_NAME=egretd-2 egret_up
check "the trace goes on there" await 10 grep -q "an agent answers again" "$T_RUN/host.log"
N=$(count host)
is "a request" "$(send podOne api.groq.com /openai/v1/chat/completions)" 200
check "is shown" await 10 counts host $((N + 1))

echo "# another agent takes over"
OLD_PID=$E_PID
E_NAME=egretd-3 egret_start --drain 5
in_charge() { [ "$(ctl status --json 2> /dev/null | jq .supervisor.pid)" = "$E_PID" ]; }
again() { [ "$(grep -c "an agent answers again" "$T_RUN/host.log")" = 2 ]; }
check "it is in charge" await 30 in_charge
check "the trace goes on there" await 10 again
N=$(count host)
is "a request" "$(send podOne api.groq.com /openai/v1/chat/completions)" 200
check "is shown" await 10 counts host $((N + 1))
check "(the former one ends)" await 20 gone "$OLD_PID"
node "$EGRETCTL" trace --run-dir "$T_RUN/nowhere" > "$T_RUN/none" 2>&1
is "where no agent is" $? 1
has "is said" "$(cat "$T_RUN/none")" "no agent runs there"

echo "# of an access log"
ID=$(egret_last .request_id)
{ echo "a line of something else"; cat "$E_DIR/access.jsonl"; } > "$T_RUN/log"
has "one of it" "$(ctl trace --from "$T_RUN/log" "$ID" 2> "$T_RUN/said")" "request $ID"
has "what is no record is counted" "$(cat "$T_RUN/said")" "1 line is no record, and was passed over"
is "all of a pod" "$(ctl trace --from - --pod single/podOne --json < "$T_RUN/log" 2> /dev/null | jq -r .pod.name | sort -u)" podOne
hasnt "no report of a sanitizer" "$(cat "$T_RUN"/egretd*.log "$T_RUN"/*.log)" "Sanitizer"
checks_done
