#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# HTTP/2 with others' clients and servers on the two sides of a running agent: nghttp2's nghttp, h2load and nghttpd, and Node's http2.
# One worker, so that there is one pool.
set -u
cd "$(dirname "$0")" || exit 1
T_WORLD=$PWD/h2_peers/world.json
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
egret_require
for tool in nghttp nghttpd h2load; do
	command -v $tool >/dev/null || skip_all "there is no $tool: run tools/deps"
done

topology_up egpeer podA
t_find_node
"$T_ROOT/tests/mock/make-certs" "$T_RUN/certs" "$T_WORLD" || t_die "cannot make the certificates"
spawn dns inet "$T_NODEJS" "$T_ROOT/tests/mock/dns.mjs" --world "$T_WORLD" --log "$T_RUN/dns.jsonl" --admin "$T_RUN/dns.sock"

# What nghttpd serves, whatever the method.
ANSWER='{"id":"c1","object":"chat.completion","model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"pong"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
mkdir -p "$T_RUN/www/v1/chat"
printf '%s' "$ANSWER" > "$T_RUN/www/v1/chat/completions"
printf '{"model":"gpt-4o","messages":[{"role":"user","content":"ping"}]}' > "$T_RUN/ask.json"
listens() { inet ss -Hltn "src $1:443" | grep -q .; }
# provider NAME ADDRESS OPTION...: nghttpd for that host.
provider() {
	local name=$1 address=$2; shift 2
	openssl pkey -in "$T_RUN/certs/$name.pem" -out "$T_RUN/$name.key" 2>/dev/null
	spawn "$name" inet nghttpd -v -a "$address" -d "$T_RUN/www" "$@" 443 "$T_RUN/$name.key" "$T_RUN/certs/$name.pem"
	await 20 listens "$address" || { cat "$T_RUN/$name.log" >&2; t_die "nghttpd for $name did not start"; }
}
provider few.example.org 198.51.100.61 -m 9
# Small windows (4 KiB a stream, 64 KiB in all), padding, trailers, a push for who takes one; it answers what it was sent.
provider nghttpd.example.org 198.51.100.62 -w 12 -W 16 -b 255 --trailer 'x-sum: abc' -p /v1/chat/completions=/v1/models --echo-upload
: > "$T_RUN/node.jsonl"
spawn node_server inet "$T_NODEJS" h2_peers/server.mjs 198.51.100.63 "$T_RUN/certs/node.example.org.pem" "$T_RUN/node.jsonl"
await 20 grep -q ready "$T_RUN/node.jsonl" || { cat "$T_RUN/node_server.log" >&2; t_die "Node's server did not start"; }
await 20 t_admin dns GET /ready || t_die "the mock DNS server did not start"
egret_prepare policies/h2_peers
pod_register "$E_DIR/pods" podA shop '{}'
egret_up --workers 1
JSON=(-H 'content-type: application/json' -H 'authorization: Bearer placeholder')
metric() { node curl -s http://127.0.0.1:9909/metrics | awk -v m="$1" 'index($1, m) == 1 { n += $2 } END { print n + 0 }'; }
# load HOST OPTION...: h2load; sets OUT and STATUSES ("2xx, 3xx, 4xx, 5xx" and what failed).
load() {
	local host=$1; shift
	egret_mark
	OUT=$(pod podA timeout 40 h2load "$@" "${JSON[@]}" -d "$T_RUN/ask.json" "https://$host/v1/chat/completions" 2>&1)
	STATUSES=$(sed -n 's/^requests: .* \([0-9]* succeeded, [0-9]* failed\).*/\1/p; s/^status codes: \([0-9]*\) 2xx.*/\1 2xx/p' <<<"$OUT" | tr '\n' ' ')
}

echo "# a provider that allows nine streams on a connection: 200 requests at once"
load few.example.org -n 400 -c 4 -m 50
is "all 400 are answered" "$STATUSES" "400 succeeded, 0 failed 400 2xx "
is "none of them was refused by the provider" "$(metric egret_upstream_streams_refused_total)" 0
is "each has a record that says so" "$(egret_records '.reason == "ok" and .upstream_protocol == "HTTP/2"' | jq length)" 400
load few.example.org -n 400 -c 4 -m 50
is "and again, over the connections that are there" "$STATUSES" "400 succeeded, 0 failed 400 2xx "

echo "# nghttp"
head -c 300000 /dev/zero | tr '\0' 'a' | sed 's/^/{"model":"gpt-4o","messages":[{"role":"user","content":"/; s/$/"}]}/' > "$T_RUN/large.json"
# by_nghttp TEXT HOST BODY OPTION...: the answer is the body, whole.
by_nghttp() {
	local text=$1 host=$2 body=$3; shift 3
	egret_mark
	pod podA timeout 20 nghttp --no-verify-peer "${JSON[@]}" "$@" -d "$body" "https://$host/v1/chat/completions" > "$T_RUN/nghttp.out" 2> "$T_RUN/nghttp.err"
	if [ "$host" = nghttpd.example.org ]; then
		is "$text" "$(sha256sum < "$T_RUN/nghttp.out")" "$(sha256sum < "$body")"
	else
		is "$text" "$(cat "$T_RUN/nghttp.out")" "$ANSWER"
	fi
	is "$text: recorded" "$(egret_last '[.protocol, .upstream_protocol, .reason] | join(" ")')" "HTTP/2 HTTP/2 ok"
}
by_nghttp "a request, through windows of 4 KiB, padding and trailers" nghttpd.example.org "$T_RUN/ask.json"
by_nghttp "300 KB up and down" nghttpd.example.org "$T_RUN/large.json"
by_nghttp "the client's windows are small, too" nghttpd.example.org "$T_RUN/large.json" -w 10 -W 16
by_nghttp "the client pads" nghttpd.example.org "$T_RUN/large.json" -b 255
by_nghttp "a head in CONTINUATION frames" nghttpd.example.org "$T_RUN/ask.json" --continuation
by_nghttp "without a length" nghttpd.example.org "$T_RUN/large.json" --no-content-length
by_nghttp "with trailers of its own" nghttpd.example.org "$T_RUN/ask.json" --trailer 'x-mine: 1'
by_nghttp "waiting for 100" few.example.org "$T_RUN/ask.json" --expect-continue
by_nghttp "host beside :authority, with the port spelt" few.example.org "$T_RUN/ask.json" -H 'host: few.example.org:443'
by_nghttp "without priorities" few.example.org "$T_RUN/ask.json" --no-dep
hasnt "nobody is pushed anything" "$(cat "$T_RUN/nghttpd.example.org.log")" PUSH_PROMISE

echo "# h2load"
load nghttpd.example.org -n 300 -c 3 -m 100
is "3 x 100 streams at once" "$STATUSES" "300 succeeded, 0 failed 300 2xx "
load few.example.org -n 200 -c 2 -m 20 -w 10 -W 16
is "with windows of 1 KiB" "$STATUSES" "200 succeeded, 0 failed 200 2xx "

echo "# Node's client, Node's server"
R=$(pod_sdk podA OPENAI_API_KEY=placeholder h2_peers/client.mjs https://node.example.org); echo "     $R"
expect() { is "$1" "$(jq -r ".$2" <<<"$R")" "$3"; }
server() { jq -s "[.[] | select($1)] | length" "$T_RUN/node.jsonl"; }
expect "HTTP/2 by ALPN" alpn h2
expect "a request" plain "200 0"
expect "trailers of the answer" trailers abc
expect "103 before the answer" hints "200 0"
expect "trailers of the request" own_trailers "200 0"
expect "REFUSED_STREAM: asked again, where replay is never" refused "200 0"
is "twice in all" "$(server '.model == "refuse"')" 2
expect "GOAWAY below the stream: asked again on another connection" goodbye "200 0"
is "twice in all, on two" "$(jq -s '[.[] | select(.model == "goodbye").session] | unique | length' "$T_RUN/node.jsonl")" 2
expect "another RST_STREAM is an error" reset "502 0"
is "and is asked once" "$(server '.model == "reset"')" 1
expect "a RST_STREAM in the answer is one" cut "200 2"
expect "the provider may not push" push false
expect "3 MB up" upload "200 0"
is "byte for byte" "$(server '.bytes > 3145728')" 1
expect "CANCEL of the client's" cancelled 8
await 10 eval '[ "$(server ".event == \"reset\" and .code == 8")" = 1 ]'
is "goes on to the provider" "$(server '.event == "reset" and .code == 8')" 1
expect "PING is answered" ping 12345678
expect "SETTINGS are acknowledged" settings acknowledged
expect "a window of 1 KiB" small_window "200 0"
expect "5 MB down" big "200 0 true"
expect "the provider allows two streams from now on" fewer "200 0"
expect "thirty at once are answered all the same" burst 30
is "never more than two at once on that connection" \
	"$(jq -s '(map(select(.event == "fewer"))[0].session) as $s | map(select(.model == "slow" and .session == $s).open) | max <= 2' "$T_RUN/node.jsonl")" true
expect "a connection that the provider ends" last "200 0"
expect "and what comes after it" after_last "200 0"
expect "GOAWAY of the client's: what is in flight is answered" own_goodbye "200 0"
is "nothing went wrong on the way" "$(jq -c .errors <<<"$R")" '[]'
is "heads as RFC 9113 section 8 has them" "$(server '.event == "request" and (.wrong != [] or .authority != "node.example.org" or .scheme != "https")')" 0
is "Node's server found no fault" "$(server '.event == "error" or (.event == "goaway" and .code != 0)')" 0
for name in few nghttpd; do
	is "nor did $name" "$(grep -c 'error_code=[A-Z_]*(0x0*[1-9a-f]' "$T_RUN/$name.example.org.log")" 0
done
hasnt "no report of a sanitizer" "$(cat "$T_RUN/egretd.log")" "Sanitizer"
checks_done
