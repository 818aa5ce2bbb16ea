#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# egretctl doctor and the clock: whatever the kernel says of it, by an adjtimex() that a preloaded library answers. Needs no agent.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
BUILD=${EGRET_BUILD:-build}
[ -x "$BUILD/egretctl" ] || skip_all "$BUILD/egretctl is not built: run make"
command -v cc > /dev/null || skip_all "no compiler"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cat > "$scratch/clock.c" <<'EOT'
#include <errno.h>
#include <stdlib.h>
#include <sys/timex.h>
int adjtimex(struct timex *t)
{
	const char *s = getenv("CLOCK_STATUS");
	if (t->modes)
		abort(); /* it may only read */
	if (!s) {
		errno = EPERM;
		return -1;
	}
	t->status = atoi(s);
	return t->status & STA_UNSYNC ? TIME_ERROR : TIME_OK;
}
EOT
check "a clock" cc -shared -fPIC -o "$scratch/clock.so" "$scratch/clock.c"
clock() { # STATUS...: env's arguments
	env "$@" LD_PRELOAD="$scratch/clock.so" "$BUILD/egretctl" doctor --json --run-dir "$scratch/none" --pin-dir "/sys/fs/bpf/egclock-$$" |
		jq -r '.checks[] | select(.check == "clock") | .result + " " + .text'
}
OUT=$(clock CLOCK_STATUS=1); is "in step (STA_PLL)" "$OUT" "ok kept in step, by the kernel's word"
OUT=$(clock CLOCK_STATUS=65)
has "not in step (STA_PLL, STA_UNSYNC): a warning" "$OUT" "warning the kernel says that nothing keeps it in step"
has "with what it costs" "$OUT" "providers' certificates seem not valid yet or expired"
has "and what to do" "$OUT" "run an NTP client on the node"
OUT=$(clock -u CLOCK_STATUS); is "what can't be read is said" "$OUT" "warning adjtimex: Operation not permitted: not judged"
checks_done
