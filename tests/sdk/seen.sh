# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# SDK programs that print what they saw (seen.mjs), run straight to the mock and through Egret, and compared. Sourced after check.sh,
# topology.sh and egret.sh.

# seen_count FILE: adds the ok and FAIL lines of a program to ours.
seen_count() {
	cat "$1"
	C_PASSED=$((C_PASSED + $(grep -c '^ok ' "$1")))
	C_FAILED=$((C_FAILED + $(grep -c '^FAIL ' "$1")))
	tail -n1 "$1" | grep -qE '^[0-9]+ passed, [0-9]+ failed$' || fail "${1##*/} ended without its count" "$(tail -n 5 "$1")"
}
# seen_all PREFIX POD ROOTS VARIABLE=VALUE... -- SDK... [/STEPS]: SDK.test.mjs of each at once, as an application developer runs them; what they
# print is in $T_RUN/PREFIX-SDK. Their exit status says only whether all was as at the provider itself.
seen_all() {
	local prefix=$1 pod=$2 roots=$3 env=() steps=() sdk pids=(); shift 3
	while [ "$1" != -- ]; do env+=("$1"); shift; done
	shift
	case ${*: -1} in /*) steps=("${*: -1}"); steps=("${steps[0]#/}"); set -- "${@:1:$#-1}" ;; esac
	for sdk in "$@"; do
		pod "$pod" env "${env[@]}" NODE_EXTRA_CA_CERTS="$roots" timeout 120 "$T_NODEJS" "$sdk.test.mjs" "${steps[@]}" > "$T_RUN/$prefix-$sdk" 2>&1 &
		pids+=($!)
	done
	wait "${pids[@]}"
	for sdk in "$@"; do
		tail -n1 "$T_RUN/$prefix-$sdk" | grep -qE '^[0-9]+ passed, [0-9]+ failed$' ||
			fail "$sdk.test.mjs ended without its count" "$(tail -n 5 "$T_RUN/$prefix-$sdk")"
	done
}
# seen_same DIRECT EGRET [DIFFERS] [FROM=TO...]: each line of the one is a line of the other.
seen_same() {
	local direct=$T_RUN/$1 egret=$T_RUN/$2; shift 2
	"$T_NODEJS" same.mjs "$direct" "$egret" "$@" > "$T_RUN/same.out" 2>&1
	seen_count "$T_RUN/same.out"
}
# seen_refused OUT JQ: each line fulfils it.
seen_refused() {
	sed -n 's/^saw - \(.*\) = \(.*\)$/{"name": "\1", "seen": \2}/p' "$T_RUN/$1" > "$T_RUN/refused.json"
	at_least "$1: calls were made" "$(wc -l < "$T_RUN/refused.json")" 1
	is "$1: each is refused as its SDK's own error" "$(jq -c "select((.seen.ended // .seen) | ($2) | not)" "$T_RUN/refused.json")" ""
}
