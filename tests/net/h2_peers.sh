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
checks_done
