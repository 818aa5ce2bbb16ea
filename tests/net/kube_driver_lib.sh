# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# kube_driver and the fake API server (tests/mock/kube-api.mjs) on loopback, for kube_api.sh and kube_events.sh, which source it after check.sh.
# $dir is theirs: token, ca.crt, state (what the driver knows), log (what it says).
driver=${EGRET_BUILD:-build}/tests/net/kube_driver
[ -x "$driver" ] || skip_all "$driver is not built (make net-helpers)"
node=$(tools/deps --node) || skip_all "no Node.js that is new enough (tools/deps)"
dir=$(mktemp -d "/tmp/egkube-$$.XXXXXX") || exit 1
api_pid='' driver_pid=''
stop() { # PID
	[ -z "$1" ] || { kill "$1" 2>/dev/null; wait "$1" 2>/dev/null; }
}
trap 'stop "$driver_pid"; stop "$api_pid"; rm -rf "$dir"' EXIT

umask 077
tests/mock/make-kube-certs "$dir" || exit 1
echo "token-one" > "$dir/token"
wait_for() { # TEXT COMMAND...: passes as soon as it succeeds
	local text=$1 i; shift
	for ((i = 0; i < 400; i++)); do
		if "$@" >/dev/null 2>&1; then pass "$text"; return 0; fi
		sleep 0.05
	done
	fail "$text" "never so: $*"$'\n'"$(cut -c1-600 "$dir/state" 2>/dev/null)"$'\n'"$(tail -n 5 "$dir/log")"
	return 1
}
start_api() { # at the port it had, if it had one
	rm -f "$dir/ready"
	"$node" tests/mock/kube-api.mjs --cert "$dir/server.pem" --token-file "$dir/token" --dir "$dir/objects" --ready "$dir/ready" \
		--listen "127.0.0.1:${port:-0}" --bookmark-ms 300 --history 500 >/dev/null 2>"$dir/api.err" &
	api_pid=$!
	for ((i = 0; i < 200; i++)); do [ -s "$dir/ready" ] && break; sleep 0.05; done
	port=$(jq .port "$dir/ready") control=$(jq .control "$dir/ready")
}
start_driver() { # [SERVER_NAME]; what is written to fd 9 is reported
	rm -f "$dir/state"
	: > "$dir/log"
	[ -p "$dir/reports" ] || { mkfifo "$dir/reports" && exec 9<> "$dir/reports"; }
	"$driver" 127.0.0.1 "$port" n1 "$dir/token" "$dir/ca.crt" "$dir/state" "$@" < "$dir/reports" 2>>"$dir/log" 9>&- &
	driver_pid=$!
}
api() { # NAME [JSON]
	local body=${2:-}
	curl -sf -o "$dir/answer" -d "${body:-null}" "http://127.0.0.1:$control/_test/$1" || fail "control: $1 $body"
}
state() { jq -r "$1" "$dir/state" 2>/dev/null; }
so() { [ "$(state "$1")" = "$2" ]; } # FILTER VALUE
now_current() { so '.current' true; }
requests() { curl -sf "http://127.0.0.1:$control/_test/requests"; }
seen() { [ "$(requests | jq "[.[] | select($1)] | length")" -gt 0 ]; } # FILTER of a request
logged() { grep -q -- "$1" "$dir/log"; }
count_logged() { grep -c -- "$1" "$dir/log"; }
port=''
