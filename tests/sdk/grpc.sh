#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# gRPC by @grpc/grpc-js on both ends: relayed, passed on with TLS opened (shadow: full) and without TLS (port 80), and refused.
set -u
cd "$(dirname "$0")" || exit 1
T_WORLD=$PWD/grpc/world.json
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
egret_require

# grpc POD NAME=VALUE...: adds the program's own counts to ours.
grpc() {
	local pod=$1 out=$T_RUN/sdk.out; shift
	egret_mark
	pod "$pod" env GRPC_DEFAULT_SSL_ROOTS_FILE_PATH="$T_RUN/pod-roots.crt" "$@" "$T_NODEJS" grpc.test.mjs > "$out" 2>&1
	cat "$out"
	C_PASSED=$((C_PASSED + $(grep -c '^ok ' "$out")))
	C_FAILED=$((C_FAILED + $(grep -c '^FAIL ' "$out")))
	tail -n1 "$out" | grep -qE '^[0-9]+ passed, [0-9]+ failed$' || fail "grpc.test.mjs ended without its count" "$(tail -n 5 "$out")"
}
grpc_log() { jq -s "[.[] | select($1)] | length" "$T_RUN/grpc.jsonl"; }
forget() { : > "$T_RUN/grpc.jsonl"; : > "$E_DIR/access.jsonl"; }

topology_up esgrpc podFull podPass podEnf
t_find_node
"$T_ROOT/tests/mock/make-certs" "$T_RUN/certs" "$T_WORLD" || t_die "cannot make the certificates"
: > "$T_RUN/grpc.jsonl"
spawn dns inet "$T_NODEJS" "$T_ROOT/tests/mock/dns.mjs" --world "$T_WORLD" --log "$T_RUN/dns.jsonl" --admin "$T_RUN/dns.sock"
spawn server inet "$T_NODEJS" grpc/server.mjs "$T_RUN/certs/grpc.example.org.pem" "$T_RUN/grpc.jsonl"
await 20 t_admin dns GET /ready || t_die "the mock DNS server did not start"
await 20 grep -q ready "$T_RUN/grpc.jsonl" || { cat "$T_RUN/server.log" >&2; t_die "the gRPC server did not start"; }
egret_prepare grpc/policy
pod_register "$E_DIR/pods" podFull full '{}'
pod_register "$E_DIR/pods" podPass lenient '{}'
pod_register "$E_DIR/pods" podEnf enforced '{}'
egret_up
TLS=GRPC_TARGET=grpc.example.org:443

# served POD...: all of the program, and what the server saw of it.
served() {
	forget
	grpc "$@"
	at_least "calls arrived" "$(grpc_log '.event == "call"')" 15
	is "as the client made them" "$(grpc_log ".event == \"call\" and ((.host | split(\":\")[0]) != \"$HOST\" or .metadata.authorization != \"Bearer placeholder\" or .deadline != true)")" 0
	await 10 cancelled
	is "the server heard of the deadline" "$(grpc_log '.event == "cancelled" and .path == "/egret.test.Echo/Unary" and .do == "hang"')" 1
	is "and of the cancellation" "$(grpc_log '.event == "cancelled" and .path == "/egret.test.Echo/Many" and .do == "hang"')" 1
}
cancelled() { [ "$(grpc_log '.event == "cancelled" and .do == "hang"')" -ge 2 ]; }

both_ways() {
	at_least "the calls are on record" "$(egret_records '.type == "request"' | jq length)" 15
	is "all of them over HTTP/2 on both sides" \
		"$(egret_records '.type == "request" and (.protocol != "HTTP/2" or .upstream_protocol != "HTTP/2")' | jq length)" 0
}

echo "# relayed: TLS that is not opened"
HOST=grpc.example.org served podPass $TLS
is "with no request on record" "$(egret_records '.type == "request"' | jq length)" 0

echo "# passed on: shadow full, TLS on both sides"
HOST=grpc.example.org served podFull $TLS
both_ways
is "with what the policy would have said" "$(egret_records '.type == "request" and .reason == "unknown_operation" and .shadow' | jq length)" \
	"$(egret_records '.type == "request" and (.reason | IN("client_closed", "upstream_reset") | not)' | jq length)"

echo "# passed on: port 80 by prior knowledge, a name that the policy lets pass"
HOST=grpc.example.org served podPass GRPC_TARGET=grpc.example.org:80 GRPC_PLAIN=1
both_ways

echo "# passed on: port 80 by prior knowledge, a name that nothing governs at a governed address"
pod podEnf getent ahosts grpc.example.org >/dev/null
HOST=grpc.example.net served podEnf GRPC_TARGET=grpc.example.net:80 GRPC_PLAIN=1
both_ways

echo "# refused: a name that a route has"
forget
grpc podEnf $TLS GRPC_REFUSED=PERMISSION_DENIED GRPC_REASON=unknown_operation
grpc podEnf GRPC_TARGET=grpc.example.org:80 GRPC_PLAIN=1 GRPC_REFUSED=PERMISSION_DENIED GRPC_REASON=unknown_operation
echo "# refused: the gateway address"
grpc podEnf GRPC_TARGET=169.254.77.1:80 GRPC_PLAIN=1 GRPC_REFUSED=PERMISSION_DENIED GRPC_REASON=no_route
is "none of them arrived" "$(grpc_log '.event == "call"')" 0
is "each is on record" "$(egret_records '.type == "request" and (.reason | IN("unknown_operation", "no_route")) and .status == 200' | jq length)" 12
checks_done
