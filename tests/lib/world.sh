# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The mock internet of a topology: providers and DNS. Sourced by topology.sh.
#
# Files in $T_RUN: certs/root.crt (the "public" root), provider.jsonl (what arrived), dns.jsonl (what was asked),
# keys.json (host: keys it accepts), credentials/NAME/key (the same keys as files for Egret, made by world_key).

# world_up: ready when it returns.
world_up() {
	t_find_node
	"$T_ROOT/tests/mock/make-certs" "$T_RUN/certs" "$T_WORLD" || t_die "cannot make the mock certificates"
	[ -e "$T_RUN/keys.json" ] || echo '{}' > "$T_RUN/keys.json"
	: > "$T_RUN/provider.jsonl"
	: > "$T_RUN/dns.jsonl"
	spawn dns inet "$T_NODEJS" "$T_ROOT/tests/mock/dns.mjs" --world "$T_WORLD" --log "$T_RUN/dns.jsonl" \
		--admin "$T_RUN/dns.sock"
	spawn provider inet "$T_NODEJS" "$T_ROOT/tests/mock/provider.mjs" --world "$T_WORLD" --certs "$T_RUN/certs" \
		--keys "$T_RUN/keys.json" --log "$T_RUN/provider.jsonl" --admin "$T_RUN/provider.sock"
	await 20 t_admin dns GET /ready || { cat "$T_RUN/dns.log" >&2; t_die "the mock DNS server did not start"; }
	await 20 t_admin provider GET /ready || { cat "$T_RUN/provider.log" >&2; t_die "the mock provider did not start"; }
}

# The Node.js to run with: the machine's if it is new enough for the SDKs, else the pinned one of tools/deps.
t_find_node() {
	T_NODEJS=$("$T_ROOT/tools/deps" --node) || t_die "no Node.js of version 20 or later: run tools/deps"
}

# t_admin dns|provider METHOD PATH [JSON]
t_admin() {
	curl -sS --fail-with-body --max-time 10 --unix-socket "$T_RUN/$1.sock" -X "$2" "http://mock$3" ${4:+--data-binary "$4"}
}

# world_key NAME HOST...: a fresh key that these hosts accept; the file is $T_RUN/credentials/NAME/key.
# Before or after world_up. Prints the key.
world_key() {
	local name=$1 host key; shift
	key=sk-real-$name-$(openssl rand -hex 12)
	(umask 077; mkdir -p "$T_RUN/credentials/$name")
	[ -e "$T_RUN/keys.json" ] || echo '{}' > "$T_RUN/keys.json"
	for host in "$@"; do
		jq --arg h "$host" --arg k "$key" '.[$h] = ((.[$h] // []) + [$k])' "$T_RUN/keys.json" > "$T_RUN/keys.json.tmp"
		mv "$T_RUN/keys.json.tmp" "$T_RUN/keys.json"
	done
	# As in life: the provider knows a key before anybody uses it.
	[ ! -S "$T_RUN/provider.sock" ] || t_admin provider POST /reload-keys >/dev/null
	(umask 077; printf '%s\n' "$key" > "$T_RUN/credentials/$name/.key.tmp")
	mv "$T_RUN/credentials/$name/.key.tmp" "$T_RUN/credentials/$name/key"
	echo "$key"
}

# mock_mode HOST MODE [COUNT]: the next COUNT requests (or connections) of HOST misbehave; without COUNT all do.
# Modes: tests/mock/README.md. `mock_mode HOST ok` clears.
mock_mode() {
	t_admin provider POST /mode "$(jq -n --arg h "$1" --arg m "$2" --argjson c "${3:-0}" '{host: $h, mode: $m, count: $c}')" >/dev/null ||
		t_die "mock_mode $1 $2: refused"
}
# mock_hangup HOST: every connection to it is closed, also the idle ones that a gateway keeps.
mock_hangup() { t_admin provider POST /hangup "{\"host\": \"$1\"}" >/dev/null || t_die "mock_hangup $1: refused"; }
# mock_http2 on|off: whether HTTP/2 can be had by ALPN.
mock_http2() { t_admin provider POST /http2 "{\"on\": $([ "$1" = on ] && echo true || echo false)}" >/dev/null || t_die "mock_http2 $1: refused"; }
mock_clear() { t_admin provider POST /clear >/dev/null; }

# mock_log FILTER: a jq filter over the array of everything the providers saw.
mock_log() { jq -s "$1" "$T_RUN/provider.jsonl"; }
# mock_requests [JQ_CONDITION]: how many requests arrived (that fulfil it).
mock_requests() { jq -s "[.[] | select(.event == \"request\") | select(${1:-true})] | length" "$T_RUN/provider.jsonl"; }
# mock_last [JQ]: the last request, or a part of it, raw.
mock_last() { jq -rs "[.[] | select(.event == \"request\")] | last | ${1:-.}" "$T_RUN/provider.jsonl"; }
# mock_forget: empty the log (the programs append, so truncating is safe).
mock_forget() { : > "$T_RUN/provider.jsonl"; : > "$T_RUN/dns.jsonl"; }

# dns_set NAME JSON: {"a": [...], "aaaa": [...], "cname": "...", "ttl": n, "rcode": n, "truncate": true, "delay_ms": n}
dns_set() { t_admin dns POST /set "$(jq -n --arg n "$1" --argjson r "$2" '{name: $n, record: $r}')" >/dev/null || t_die "dns_set $1: refused"; }
dns_clear() { t_admin dns POST /clear >/dev/null; }
