#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# However often and by whatever a test is told to end, its clean-up runs to its end: no namespace, process, pin or key is left.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
dir=$(mktemp -d "/tmp/egself-$$.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
root=$PWD

# The test that is ended. Its first step of cleaning up lasts until it is let go, so that the signals in between come while it cleans up.
cat > "$dir/test" <<'EOT'
#!/bin/bash
root=$1 dir=$2 with_egret=$3
cd "$root" || exit 1
. tests/lib/topology.sh
. tests/lib/egret.sh
held() { touch "$dir/cleaning"; until [ -e "$dir/go" ]; do sleep 0.05; done; }
T_BEFORE_DOWN=(held "${T_BEFORE_DOWN[@]}")
topology_up egclean pod
spawn obedient sleep 1000
spawn stubborn bash -c 'trap "" TERM INT HUP; while :; do sleep 0.1; done'
if [ "$with_egret" = egret ]; then
	world_key openai api.openai.com > /dev/null
	world_up
	egret_prepare policies/demo
	egret_up
fi
echo "${T_PIDS[@]}" > "$dir/pids"
touch "$dir/up"
while :; do sleep 0.05; done
EOT
chmod 755 "$dir/test"

await() { # SECONDS CMD...
	local end=$((SECONDS + $1)); shift
	until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.05; done
}
left() { # PID: what is there of the test's
	local found pid
	for found in /run/netns/egclean-"$1"-* /tmp/egclean-"$1".* /sys/fs/bpf/egret-test/egclean-"$1" /sys/fs/bpf/egclean-"$1"-*; do
		[ ! -e "$found" ] || echo "$found"
	done
	for pid in $(cat "$dir/pids"); do [ ! -e "/proc/$pid/stat" ] || grep -qE '\) Z ' "/proc/$pid/stat" || echo "process $pid"; done
}
ended_by() { # TEXT STATUS FIRST "LATER..." WHOM [egret]: WHOM is the test alone (one) or its process group (all), as a terminal does
	local text=$1 want=$2 first=$3 later=$4 whom=$5 minus="" pid signal
	rm -f "$dir"/{up,cleaning,go,pids}
	# A shell's background child ignores SIGINT, and bash can't take that back.
	env --default-signal=INT setsid "$dir/test" "$root" "$dir" "${6:-}" > "$dir/log" 2>&1 &
	pid=$!
	[ "$whom" = one ] || minus=-
	if ! await 60 test -e "$dir/up"; then fail "$text" "the topology did not come up: $(cat "$dir/log")"; touch "$dir/go"; kill "$pid"; return; fi
	kill -"$first" -- "$minus$pid"
	await 10 test -e "$dir/cleaning" || fail "$text: it begins to clean up" "$(cat "$dir/log")"
	for signal in $later; do
		kill -"$signal" -- "$minus$pid"
		sleep 0.2
	done
	touch "$dir/go"
	wait "$pid"
	is "$text: the status is the first one's" "$?" "$want"
	is "$text: nothing is left" "$(left "$pid")" ""
}

ended_by "TERM twice, then HUP" 143 TERM "TERM HUP" one
ended_by "Ctrl-C three times" 130 INT "INT INT" all
ended_by "HUP, then TERM and Ctrl-C" 143 HUP "TERM INT" all
if [ -x "${EGRET_BUILD:-build}/egretd" ]; then
	ended_by "with Egret on the node" 143 TERM "TERM HUP INT" one egret
else
	skip "with Egret on the node" "egretd is not built: run make"
fi

# A test without a topology, ended while it builds its server: its own traps clean up, and end it.
mkdir "$dir"/{bin,build,tmp}
for lib in net proto loop base; do : > "$dir/build/lib$lib.a"; done
printf '#!/bin/sh\ntouch "%s"; sleep 1000\n' "$dir/compiling" > "$dir/bin/gcc"
chmod 755 "$dir/bin/gcc"
for row in "INT 130" "TERM 143" "HUP 143"; do
	read -r signal want <<<"$row"
	rm -f "$dir/compiling"
	env --default-signal=INT PATH="$dir/bin:$PATH" TMPDIR="$dir/tmp" EGRET_BUILD="$dir/build" setsid tests/net/ca_clients.sh > "$dir/log" 2>&1 &
	pid=$!
	if await 20 test -e "$dir/compiling"; then pass "ca_clients.sh, $signal: it builds"; else fail "ca_clients.sh, $signal: it builds" "$(cat "$dir/log")"; fi
	kill -"$signal" -- "-$pid"
	wait "$pid"
	is "ca_clients.sh, $signal: it ends, with that status" "$?" "$want"
	is "ca_clients.sh, $signal: nothing is left" "$(ls "$dir/tmp")" ""
	hasnt "ca_clients.sh, $signal: and it judged nothing any more" "$(cat "$dir/log")" "failed"
done
checks_done
