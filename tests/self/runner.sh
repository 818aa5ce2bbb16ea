#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The runner itself: what a count can't know is a failure, and never the end of the run.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
dir=$(mktemp -d "/tmp/egself-$$.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT

program() { # NAME LINE...: a program of these lines
	local name=$1; shift
	{ echo '#!/bin/bash'; printf '%s\n' "$@"; } > "$dir/$name"
	chmod 755 "$dir/$name"
}
run() { tests/run "$@" 2>&1; }
last() { tail -n 1 <<<"$OUT"; }

program good 'echo "ok   - a"' 'echo "2 passed, 0 failed"'
OUT=$(run "$dir/good"); is "what passes is counted" "$? $(last)" "0 2 passed, 0 failed"
program bad 'echo "1 passed, 1 failed"' 'exit 1'
OUT=$(run "$dir/bad"); is "what fails is counted" "$? $(last)" "1 1 passed, 1 failed"
program skips 'echo "SKIP - x: no such thing here"' 'echo "0 passed, 0 failed, 1 skipped"'
OUT=$(run "$dir/skips"); is "a skip is counted apart" "$(last)" "0 passed, 0 failed, 1 skipped"
has "and its reason is shown" "$OUT" "no such thing here"
program silent 'echo hello'
OUT=$(run "$dir/silent"); is "no count is a failure" "$? $(last)" "1 0 passed, 1 failed"
program none 'echo "0 passed, 0 failed"'
OUT=$(run "$dir/none"); is "no test at all is a failure" "$(last)" "0 passed, 1 failed"
program lies 'echo "3 passed, 0 failed"' 'exit 3'
OUT=$(run "$dir/lies"); is "a status that contradicts the count is a failure" "$(last)" "3 passed, 1 failed"
program killed 'echo "3 passed, 0 failed"' 'kill -SEGV $$'
OUT=$(run "$dir/killed"); is "a signal is a failure" "$(last)" "3 passed, 1 failed"
has "and named" "$OUT" SIGSEGV
program report 'echo "==1==ERROR: AddressSanitizer: heap-use-after-free"' 'echo "3 passed, 0 failed"'
OUT=$(run "$dir/report"); is "a sanitizer's report is a failure" "$(last)" "3 passed, 1 failed"
program slow 'sleep 60' 'echo "3 passed, 0 failed"'
OUT=$(run --limit 1 "$dir/slow"); is "the time limit is a failure" "$(last)" "0 passed, 1 failed"
has "and said" "$OUT" "time limit"
mkdir -p "$dir/tree/tests/self" "$dir/tree/tools" && cp tests/run "$dir/tree/tests/"
printf '#!/bin/sh\n' > "$dir/tree/tools/deps"; chmod 755 "$dir/tree/tools/deps"
cp "$dir/good" "$dir/tree/tests/self/good.sh"
cp "$dir/good" "$dir/tree/tests/self/forgotten.sh" && chmod 644 "$dir/tree/tests/self/forgotten.sh"
echo '# no program' > "$dir/tree/tests/self/lib.sh"
OUT=$("$dir/tree/tests/run" self 2>&1); is "a program of a suite that is not executable is a failure, a library is none" "$? $(last)" "1 2 passed, 1 failed"
has "and named" "$OUT" "FAIL tests/self/forgotten.sh: not an executable file"
printf 'no program\n' > "$dir/odd"; chmod 755 "$dir/odd"
OUT=$(run "$dir/odd" "$dir/good"); is "what can't be started is a failure, and the rest runs" "$(last)" "2 passed, 1 failed"
OUT=$(run "$dir/absent" "$dir/good"); is "so is what isn't there" "$(last)" "2 passed, 1 failed"
program litter 'touch /tmp/egself-litter-$$.x' 'echo "2 passed, 0 failed"'
OUT=$(run "$dir/litter"); is "what a test leaves behind is a failure" "$(last)" "2 passed, 1 failed"
has "and named" "$OUT" "left behind /tmp/egself-litter-"
rm -f /tmp/egself-litter-*.x
# Suites whose programs wait more than they work run two at once: a tree of its own, with two that need each other.
mkdir -p "$dir/tree/tests/net" "$dir/tree/tools" && cp tests/run "$dir/tree/tests/run"
printf '#!/bin/sh\nexit 1\n' > "$dir/tree/tools/deps" && chmod 755 "$dir/tree/tools/deps"
for one in a b; do
	other=$([ $one = a ] && echo b || echo a)
	program $one "touch $dir/$one.here" "for i in \$(seq 100); do [ -e $dir/$other.here ] && break; sleep 0.1; done" \
		"[ -e $dir/$other.here ] && echo '1 passed, 0 failed' || { echo '0 passed, 1 failed'; exit 1; }"
	mv "$dir/$one" "$dir/tree/tests/net/$one.sh"
done
OUT=$("$dir/tree/tests/run" net 2>&1); is "two programs of net run at once, and both are counted" "$(last)" "2 passed, 0 failed"
rm -f "$dir"/?.here
printf '#!/bin/bash\ntrap "touch %s; exit 143" TERM\ntouch %s\nsleep 60 & wait\n' "$dir/ended" "$dir/begun" > "$dir/tree/tests/net/a.sh"
"$dir/tree/tests/run" net > "$dir/out" 2>&1 & pid=$!
for i in $(seq 100); do [ -e "$dir/begun" ] && break; sleep 0.1; done
kill -TERM $pid; wait $pid
is "and end with the runner" "$? $([ -e "$dir/ended" ] && echo ended) $(tail -n 1 "$dir/out")" "130 ended 0 passed, 1 failed"
OUT=$(run "$dir/bad" "$dir/good"); is "the last line is the sum" "$(last)" "3 passed, 1 failed"
is "every program of the net and sdk suites can be started" \
	"$(for f in tests/net/*.sh tests/sdk/*.sh tests/self/*.sh; do [ -x "$f" ] && ! head -c 2 "$f" | grep -q '^#!' && echo "$f"; done)" ""
checks_done
