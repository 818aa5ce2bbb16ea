# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Counting checks for shell tests. Source it, call the functions, end with `checks_done`.
# The last line a test prints is `N passed, N failed`, and its exit status says the same.
C_PASSED=0 C_FAILED=0 C_SKIPPED=0

pass() { C_PASSED=$((C_PASSED + 1)); echo "ok   - $1"; }
fail() { # TEXT [DETAIL]
	C_FAILED=$((C_FAILED + 1))
	echo "FAIL - $1"
	[ -z "${2:-}" ] || printf '%s\n' "$2" | head -n "${C_DETAIL_LINES:-25}" | sed 's/^/       /'
}

# check TEXT CMD...: passes when CMD succeeds; what it printed is shown when it fails.
check() {
	local text=$1 out; shift
	if out=$("$@" 2>&1); then pass "$text"; else fail "$text" "exit $?: $* :: $out"; fi
}
# check_not TEXT CMD...: passes when CMD fails.
check_not() {
	local text=$1 out; shift
	if out=$("$@" 2>&1); then fail "$text" "succeeded, and should not: $* :: $out"; else pass "$text"; fi
}
# is TEXT GOT WANT
is() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "got  $2"$'\n'"want $3"; fi; }
isnt() { if [ "$2" != "$3" ]; then pass "$1"; else fail "$1" "got $2, which it must not be"; fi; }
# has TEXT STRING PART, hasnt TEXT STRING PART
has() { case $2 in *"$3"*) pass "$1" ;; *) fail "$1" "expected to find: $3"$'\n'"in: $2" ;; esac; }
hasnt() { case $2 in *"$3"*) fail "$1" "found, and should not: $3"$'\n'"in: $2" ;; *) pass "$1" ;; esac; }
# at_least TEXT NUMBER MINIMUM
at_least() { if [ "$2" -ge "$3" ] 2>/dev/null; then pass "$1"; else fail "$1" "got $2, want at least $3"; fi; }

# skip TEXT WHY: never silent, and counted apart.
skip() { C_SKIPPED=$((C_SKIPPED + 1)); echo "SKIP - $1: $2"; }
# skip_all WHY: the whole program; the runner shows the reason.
skip_all() { echo "SKIP - $1"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }

checks_done() {
	local skipped=
	[ "$C_SKIPPED" -eq 0 ] || skipped=", $C_SKIPPED skipped"
	echo "$C_PASSED passed, $C_FAILED failed$skipped"
	[ "$C_FAILED" -eq 0 ] && [ $((C_PASSED + C_SKIPPED)) -gt 0 ] && exit 0
	exit 1
}
