# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Egret on the node of a topology. Source it after topology.sh (and check.sh if you use its checks).
#
#   egret_prepare POLICY_DIR    directories, CA, credentials; before egret_up
#   egret_up [OPTION...]        starts egretd in the node's namespace; returns when it is ready
#   egret_down                  stops it and takes away all it left behind
#
# Everything of one run lies in $E_DIR: policy/ pods/ credentials/ ca/ run/ access.jsonl; the pins in $E_PIN,
# so that tests never meet. $E_PID is the supervisor.

EGRET_BUILD=${EGRET_BUILD:-$T_ROOT/build}
EGRETD=$EGRET_BUILD/egretd
EGRETCTL=$EGRET_BUILD/egretctl
E_MODE=${E_MODE:-netns}
# 1: the mock providers have HTTP/2 for Egret. Most tests are about what HTTP/1.1's bytes can do wrong.
E_HTTP2=${E_HTTP2:-0}
# Node, pod and service ranges of the topology: what a pod must not make the agent dial.
E_FORBID=$T_POD_NET4.0/24,${T_POD_NET6}:/64,$T_NODE_IP/32,$T_NODE_IP6/128,10.96.0.0/12
E_PID=

# egret_require: skips the whole test, with the reason, where Egret is not built.
egret_require() {
	[ -x "$EGRETD" ] && [ -x "$EGRETCTL" ] && return 0
	echo "SKIP - $EGRETD or egretctl is not built: run make"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
}

# egret_prepare [POLICY_DIR|POLICY_FILE...]: copies the policy, so that a test may change its own copy.
egret_prepare() {
	E_DIR=$T_RUN/egret
	E_PIN=/sys/fs/bpf/egret-test/$T
	mkdir -p "$E_DIR"/{policy,pods,run}
	local source
	for source in "$@"; do
		if [ -d "$source" ]; then cp "$source"/*.json "$E_DIR/policy/"; else cp "$source" "$E_DIR/policy/"; fi
	done
	(umask 077; mkdir -p "$T_RUN/credentials")
	egret_ca "${E_NAMES:-$(jq -r '[.hosts | to_entries[] | select(.value.dialect != "site") | .key] | join(",")' "$T_WORLD")}"
	# What pods trust: the public root of the mock internet, and Egret's.
	cat "$T_RUN/certs/root.crt" "$E_DIR/ca/root.crt" > "$T_RUN/pod-roots.crt"
}

# egret_ca NAMES: both tiers of the CA, for these names (comma-separated).
egret_ca() {
	rm -rf "$E_DIR/ca"
	"$EGRETCTL" ca create --dir "$E_DIR/ca" --names "$1" > "$T_RUN/ca.log" 2>&1 ||
		{ cat "$T_RUN/ca.log" >&2; t_die "egretctl ca create failed"; }
}

# egret_up [OPTION...]: more options, or other values, go to the end of egretd's command line.
egret_up() {
	egret_start "$@"
	if ! egret_await_ready; then
		sed 's/^/egretd: /' "$T_RUN/egretd.log" >&2
		t_die "egretd was not ready within 20 seconds"
	fi
}

# A sanitizer's report in egretd's log is shown, so that tests/run counts it, whatever the test itself looked at.
egret_show_reports() {
	local file
	for file in "$T_RUN"/egretd*.log; do
		[ -e "$file" ] || continue
		grep -qE 'ERROR: [A-Za-z]+Sanitizer|WARNING: ThreadSanitizer|runtime error: ' "$file" || continue
		echo "${file##*/} holds a sanitizer's report:" >&2
		grep -nE -A 30 'ERROR: [A-Za-z]+Sanitizer|WARNING: ThreadSanitizer|runtime error: ' "$file" | head -n 60 >&2
	done
}

# egret_start: like egret_up, without waiting. E_NAME is the name of its log: another one beside the first.
egret_start() {
	egret_show_reports # of the run before, whose log goes now
	[ "$E_HTTP2" = 1 ] || [ ! -S "$T_RUN/provider.sock" ] || mock_http2 off
	spawn "${E_NAME:-egretd}" node "$EGRETD" --policy-dir "$E_DIR/policy" --pods-dir "$E_DIR/pods" \
		--credentials-dir "$T_RUN/credentials" --ca-dir "$E_DIR/ca" --uplink "${E_UPLINK:-eth0}" \
		--resolver "$(t_dns_address)" --mode "$E_MODE" --run-dir "$E_DIR/run" \
		--upstream-ca "$T_RUN/certs/root.crt" --pin-dir "$E_PIN" --agent-namespace "$T-agent" \
		--forbid "$E_FORBID" --access-log "$E_DIR/access.jsonl" "$@"
	E_PID=$SPAWNED
}

# Ready is when the agent itself says so, on its loopback page or its control socket.
egret_ready() { kill -0 "$E_PID" 2>/dev/null && { node curl -sf --max-time 2 http://127.0.0.1:9909/readyz || ctl status; }; }
egret_await_ready() {
	local end=$((SECONDS + 40))
	until egret_ready >/dev/null 2>&1; do
		kill -0 "$E_PID" 2>/dev/null || return 1
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

# ctl COMMAND...: egretctl against this egretd.
ctl() { node "$EGRETCTL" "$@" --run-dir "$E_DIR/run"; }
# What is in force, counted; egret_newer N: is it something after N (for await).
egret_generation() { ctl status --json | jq .policy.generation; }
egret_newer() { [ "$(egret_generation)" -gt "$1" ]; }
# egret_settled: whatever was changed on disk is in force, and no reload of it is still to come.
egret_settled() {
	local seen
	while seen=$(egret_generation); sleep 1; [ "$(egret_generation)" != "$seen" ]; do :; done
}
# Before egret_up: providers get a minute to be connected to, where that is not what is looked at.
egret_patient() {
	local file
	for file in "$E_DIR"/policy/*.json; do
		jq '.policies[].routes[]?.timeouts.connect_ms = 60000' "$file" > "$T_RUN/patient.json" && cp "$T_RUN/patient.json" "$file"
	done
}

# Stops egretd and removes programs, pins, links and the agent's namespace. topology_down calls it by itself.
egret_down() {
	[ -n "${E_DIR:-}" ] || return 0
	if [ -n "$E_PID" ]; then
		kill -TERM "$E_PID" 2>/dev/null || true
		t_await_exit "$E_PID"
		E_PID=
	fi
	egret_show_reports
	if [ -d "$E_PIN" ] && [ -x "$EGRETD" ]; then
		node "$EGRETD" --uninstall --pin-dir "$E_PIN" --agent-namespace "$T-agent" > "$T_RUN/uninstall.log" 2>&1 ||
			sed 's/^/egretd --uninstall: /' "$T_RUN/uninstall.log" >&2
		if [ -d "$E_PIN" ]; then
			echo "egret.sh: egretd --uninstall left behind: $(cd "$E_PIN" && find . -type f | tr '\n' ' ')" >&2
			rm -rf "$E_PIN"
		fi
	fi
}
T_BEFORE_DOWN+=(egret_down)

# egret_records [JQ_CONDITION]: access records that fulfil it, as an array.
# egret_last [JQ]: the last one. A record is written when its request is over, which may be after the client has its answer:
# one that is younger than the last egret_mark (pod_curl and pod_sdk make one) is waited for, 10 seconds at most (then it says
# that there is none, and not what an older one has), and a moment for a second one.
egret_records() { jq -s "[.[] | select(${1:-true})]" "$E_DIR/access.jsonl"; }
egret_last() {
	local mark end=$((SECONDS + 10))
	mark=$(cat "$T_RUN/records.mark" 2>/dev/null || echo 0)
	if [ "$mark" != settled ]; then
		until [ "$(t_records)" -gt "$mark" ]; do
			[ $SECONDS -lt $end ] || { echo "no record since the last request"; return 1; }
			sleep 0.05
		done
		sleep 0.15
		echo settled > "$T_RUN/records.mark"
	fi
	jq -rs "last | ${1:-.}" "$E_DIR/access.jsonl"
}
# A pipe in its place would be waited for.
t_records() { if [ -f "$E_DIR/access.jsonl" ]; then wc -l < "$E_DIR/access.jsonl"; else echo 0; fi; }
egret_mark() { [ -z "${E_DIR:-}" ] || t_records > "$T_RUN/records.mark"; }

# pod_sdk POD VARIABLE=KEY FILE [ARG...]: a Node.js program with an SDK, as an application developer runs it:
# a placeholder key and the extra root, nothing else.
pod_sdk() {
	local pod=$1 key=$2; shift 2
	egret_mark
	pod "$pod" env "$key" NODE_EXTRA_CA_CERTS="$T_RUN/pod-roots.crt" "$T_NODEJS" "$@"
}
# pod_curl POD ARG...: curl that trusts what the pods trust.
pod_curl() {
	local pod=$1; shift
	egret_mark
	pod "$pod" curl -sS --max-time 20 --cacert "$T_RUN/pod-roots.crt" "$@"
}
