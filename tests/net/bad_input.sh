#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Bad input from pods, on the way through the capture: each has its limit, its answer, and leaves the gateway well.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
egret_require

topology_up egbad podA podB
world_key openai api.openai.com >/dev/null
world_key openai-eu eu.api.openai.com >/dev/null
world_key anthropic api.anthropic.com >/dev/null
world_up
egret_prepare policies/attacks
pod_register "$E_DIR/pods" podA shop '{}'
pod_register "$E_DIR/pods" podB shop '{}'
egret_up

attack() { # POD COMMAND...
	local pod=$1; shift
	pod "$pod" env ROOTS="$T_RUN/pod-roots.crt" /usr/bin/python3 "$T_ROOT/tests/lib/attacker.py" "$@" | tail -n 1
}
of() { jq -r "$2 // \"\"" <<<"$1"; }
status() { ctl status --json; }
gateway_pid() { status | jq -r '.gateway.pid // .gateway_pid // empty'; }
rss() { awk '/VmRSS/ {print $2}' "/proc/$(gateway_pid)/status"; }
served() { of "$(attack "$1" tls-request api.openai.com api.openai.com)" .status; }

GATEWAY=$(gateway_pid)
is "at first all is well" "$(served podA)" 200

echo "# heads and bodies over the limit"
r=$(attack podA long-header api.openai.com 1048576)
is "a 1 MiB header: 431" "$(of "$r" .status)" 431
is "a 1 MiB header: reason" "$(of "$r" .reason)" header_too_large
r=$(attack podA raw api.openai.com "GET /$(printf 'a%.0s' $(seq 20000)) HTTP/1.1\r\nHost: api.openai.com\r\n\r\n")
is "a target of 20,000 bytes: 414" "$(of "$r" .status)" 414
head -c 40000000 /dev/zero | tr '\0' 'x' > "$T_RUN/large"
code=$(pod_curl podA -o "$T_RUN/body" -w '%{http_code}' -H 'authorization: Bearer placeholder' -H 'content-type: application/json' \
	-H 'Expect:' --data-binary "@$T_RUN/large" https://api.openai.com/v1/chat/completions 2>/dev/null)
is "a body of 40 MB: 413" "$code" 413
code=$(pod_curl podA -o "$T_RUN/body" -w '%{http_code}' -H 'authorization: Bearer placeholder' -H 'content-type: application/json' \
	-H 'Expect: 100-continue' --expect100-timeout 10 --data-binary "@$T_RUN/large" https://api.openai.com/v1/chat/completions 2>/dev/null)
is "with Expect: 100-continue it is refused before it is sent" "$code" 413
r=$(attack podA raw api.openai.com 'POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nExpect: the-spanish-inquisition\r\nContent-Length: 2\r\n\r\n{}')
is "another expectation: 417" "$(of "$r" .status)" 417
for body in '{"model":"a","model":"b"}' '{"model":"a"' '{"model":7}' '[]' '{"mod\u0065l":"a","model":"b"}' '{"model":"gpt-4o","Model":"o3"}' ''; do
	code=$(pod_curl podA -o "$T_RUN/body" -w '%{http_code}' -H 'authorization: Bearer placeholder' -H 'content-type: application/json' \
		--data-binary "$body" https://api.openai.com/v1/chat/completions)
	is "the body '$body': 400" "$code" 400
	is "the body '$body': in the dialect" "$(jq -r '.error.message | length > 0' "$T_RUN/body")" true
done
code=$(pod_curl podA -o "$T_RUN/body" -w '%{http_code}' -H 'x-api-key: placeholder' -H 'content-type: application/json' \
	--data-binary '{' https://api.anthropic.com/v1/messages)
is "an Anthropic client gets Anthropic's error object" "$code $(jq -r .type "$T_RUN/body")" "400 error"

echo "# clients that stop"
# A sanitizer keeps freed memory back, so its build gets a wider bound.
SLACK=16; ldd "$EGRETD" | grep -q asan && SLACK=150
before=$(rss)
attack podA no-reading api.openai.com mock-big-body-64 > "$T_RUN/no-reading" &
reader=$!
sleep 4
grown=$((($(rss) - before) / 1024))
check "a client that doesn't read 64 MiB makes the gateway hold little ($grown MiB more)" test "$grown" -lt $SLACK
is "and others are served" "$(served podB)" 200
wait $reader
has "(it had asked)" "$(cat "$T_RUN/no-reading")" '"done": true'
at_least "one that pauses and reads on gets the rest" "$(of "$(attack podA pausing api.openai.com mock-big-body-16 16777216)" .bytes)" 16777216
spawn half pod podA /usr/bin/python3 "$T_ROOT/tests/lib/attacker.py" half-open 198.51.100.10 5000 20
await 90 grep -q '"open"' "$T_RUN/half.log"
is "5,000 connections that say nothing" "$(head -n 1 "$T_RUN/half.log" | jq .open)" 5000
is "with 5,000 half-open connections of one pod another pod is served" "$(served podB)" 200
is "five times" "$(for _ in 1 2 3 4 5; do served podB; done | sort | uniq -c | awk '{print $1, $2}')" "5 200"
await 40 grep -q done "$T_RUN/half.log"
is "and afterwards the pod itself is" "$(await 20 test "$(served podA)" = 200; served podA)" 200
is "the gateway is still the same process" "$(gateway_pid)" "$GATEWAY"

echo "# garbage"
for _ in 1 2 3; do attack podA garbage 198.51.100.10 >/dev/null; attack podA garbage 169.254.77.1 80 >/dev/null; done
is "after garbage all is well" "$(served podA) $(gateway_pid)" "200 $GATEWAY"

echo "# as many workers as a large node has"
egret_down
egret_up --workers 16
{ printf '{"model":"gpt-4o","messages":[{"role":"user","content":"'; head -c 30000000 /dev/zero | tr '\0' x; printf '"}]}'; } > "$T_RUN/thirty"
code=$(pod_curl podA -o "$T_RUN/body" -w '%{http_code}' -H 'authorization: Bearer placeholder' -H 'content-type: application/json' \
	-H 'Expect:' --data-binary "@$T_RUN/thirty" https://api.openai.com/v1/chat/completions 2>/dev/null)
is "a body of 30 MB is served: a pod's budget is not divided among workers" "$code" 200
is "and came whole" "$(mock_last .body_bytes)" "$(stat -c %s "$T_RUN/thirty")"
checks_done
