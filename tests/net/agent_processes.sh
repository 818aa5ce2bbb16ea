#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What each process of egretd may do, where secrets are and are not, how it refuses to start, and how it goes.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
agent_prepare egproc

# --- it refuses to start, in a sentence
refused() { # TEXT SENTENCE CMD...: fails, and says the sentence
	local text=$1 sentence=$2 out; shift 2
	if out=$("$@" 2>&1); then fail "$text" "it started"; else has "$text" "$out" "$sentence"; fi
}
start_by_hand() { # [CMD...]: egretd with the options of this test, in the foreground, under CMD
	node timeout 20 "$@" "$EGRETD" --policy-dir "$E_DIR/policy" --pods-dir "$E_DIR/pods" --credentials-dir "$T_RUN/credentials" \
		--ca-dir "${CA_DIR:-$E_DIR/ca}" --uplink eth0 --resolver 203.0.113.53 --run-dir "$E_DIR/run" --metrics none \
		--upstream-ca "${ROOTS:-$T_RUN/certs/root.crt}" --pin-dir "${PIN:-$E_PIN}" --agent-namespace "$T-agent"
}
PIN=/tmp/egproc-none/pins refused "no bpffs" "mount -t bpf bpf /sys/fs/bpf" start_by_hand
refused "no CAP_BPF" "CAP_BPF is missing" start_by_hand capsh --drop=cap_bpf,cap_sys_admin -- -c 'exec "$0" "$@"'
refused "no CAP_NET_ADMIN" "CAP_NET_ADMIN is missing" start_by_hand capsh --drop=cap_net_admin -- -c 'exec "$0" "$@"'
refused "not root" "must be started as root" start_by_hand setpriv --reuid 65534 --clear-groups
CA_DIR=/tmp/egproc-none refused "no CA" "egretctl ca create" start_by_hand
ROOTS=/tmp/egproc-none refused "no roots for providers" "--upstream-ca" start_by_hand
refused "no such option" "'--frobnicate' is not an option" node "$EGRETD" --frobnicate
refused "no resolver" "--resolver is missing" node "$EGRETD" --uplink eth0
refused "a metrics page for everybody" "a loopback address" node "$EGRETD" --resolver 203.0.113.53 --uplink eth0 --metrics 0.0.0.0:9909
check_not "nothing is pinned by a refused start" test -e "$E_PIN/links"

# --- it runs
egret_up
SUPERVISOR=$(pid_of supervisor) SPAWNER=$(pid_of spawner) GATEWAY=$(pid_of gateway) SIGNER=$(pid_of signer)
is "a request is answered" "$(ask podA)" 200
is "the provider saw the real key" "$(mock_last .credentials.authorization)" "Bearer $OPENAI"

NONE=0000000000000000
for who in "gateway $GATEWAY 64777" "signer $SIGNER 64778"; do
	read -r name pid uid <<<"$who"
	is "$name: uid" "$(proc "$pid" Uid)" "$(printf '%s\t%s\t%s\t%s' "$uid" "$uid" "$uid" "$uid")"
	is "$name: no group beside its own" "$(proc "$pid" Groups | tr -d ' ')" ""
	for set in CapInh CapPrm CapEff CapAmb; do is "$name: $set is empty" "$(proc "$pid" $set)" $NONE; done
	is "$name: no new privileges" "$(proc "$pid" NoNewPrivs)" 1
	is "$name: system call filter" "$(proc "$pid" Seccomp)" 2
	is "$name: no core" "$(awk '/core file size/ {print $5}' "/proc/$pid/limits")" 0
	is "$name: not dumpable (its /proc belongs to root)" "$(stat -c %u "/proc/$pid/environ")" 0
	is "$name: nothing of ours in its environment" "$(tr '\0' '\n' < "/proc/$pid/environ" | grep -vc '^[A-Z]*SAN_OPTIONS=')" 0
done
for task in /proc/"$GATEWAY"/task/*; do
	is "gateway, thread ${task##*/}: filtered, without capabilities" \
		"$(sed -n 's/^\(Seccomp\|CapEff\):[[:space:]]*//p' "$task/status" | tr '\n' ' ')" "$NONE 2 "
done
is "spawner: SETUID, SETGID, KILL and nothing else" "$(proc "$SPAWNER" CapPrm) $(proc "$SPAWNER" CapEff)" "00000000000000e0 00000000000000e0"
is "spawner: no new privileges" "$(proc "$SPAWNER" NoNewPrivs)" 1
is "supervisor: BPF, NET_ADMIN and nothing else" "$(proc "$SUPERVISOR" CapPrm) $(proc "$SUPERVISOR" CapEff) $(proc "$SUPERVISOR" CapBnd)" \
	"0000008000001000 0000008000001000 0000008000001000"
is "supervisor: no new privileges" "$(proc "$SUPERVISOR" NoNewPrivs)" 1
is "gateway lives in the node's own network namespace" "$(readlink "/proc/$GATEWAY/ns/net")" "$(readlink "/proc/$SUPERVISOR/ns/net")"
check_not "the gateway's listeners are not in the node's namespace" node sh -c 'ss -Hltn | grep -qE "[:.]443 "'

# --- the control socket and the metrics page
is "the control socket is for its owner alone" "$(stat -c '%a %u' "$E_DIR/run/egretd.sock")" "600 0"
chmod 666 "$E_DIR/run/egretd.sock"
chmod 755 "$E_DIR" "$E_DIR/run"
OUT=$(printf '{"command":"status"}\n' | setpriv --reuid 65534 --clear-groups socat -t 2 - "UNIX-CONNECT:$E_DIR/run/egretd.sock" 2>/dev/null)
is "another user gets nothing even when its mode is open" "$OUT" ""
chmod 600 "$E_DIR/run/egretd.sock"
has "garbage on the control socket is answered" "$(printf 'x\n' | socat -t 2 - "UNIX-CONNECT:$E_DIR/run/egretd.sock")" '"error"'
page() { node curl -sS -o /dev/null -w '%{http_code}' "$@"; }
is "metrics: served" "$(page http://127.0.0.1:9909/metrics)" 200
is "metrics: not by another name (DNS rebinding)" "$(page -H 'Host: evil.example' http://127.0.0.1:9909/metrics)" 403
is "metrics: not for a web page" "$(page -H 'Origin: https://evil.example' http://127.0.0.1:9909/metrics)" 403
is "metrics: nothing else is there" "$(page http://127.0.0.1:9909/debug)" 404
is "metrics: GET only" "$(page -X POST http://127.0.0.1:9909/metrics)" 405
is "metrics: garbage" "$(printf 'garbage\r\n\r\n' | node socat -t 2 - TCP:127.0.0.1:9909 | head -c 12)" "HTTP/1.1 400"
is "healthz" "$(page http://127.0.0.1:9909/healthz)" 200
is "readyz" "$(page http://127.0.0.1:9909/readyz)" 200
check_not "metrics: not from a pod" pod podA curl -sS --max-time 2 "http://10.244.7.1:9909/metrics"
has "metrics: the labels of the AI gateway working group" "$(metrics)" 'egret_requests_total{gateway="egret",route="chat",backend="openai",namespace="shop",serviceAccount="assistant-sa"'
has "metrics: the kernel's counters" "$(metrics)" 'egret_datapath_packets_total{hook="egress",reason="redirect"}'
for line in $(metrics | grep -v '^#' | grep -vE '^[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^}]*\})? [0-9.e+-]+$' | head -3); do fail "metrics: not the text format" "$line"; done

# --- where the key is, and where it is not
pod_curl podA -o /dev/null https://api.openai.com/v1/nothing -H 'authorization: Bearer placeholder' # an error of ours
mock_mode api.openai.com 401 1; ask podA >/dev/null                                                  # and of the provider's
mock_mode api.openai.com reset 1; ask podA >/dev/null
ctl status --json > "$T_RUN/out.status"; ctl pods --json > "$T_RUN/out.pods"; ctl flows --json > "$T_RUN/out.flows"; ctl doctor > "$T_RUN/out.doctor"
metrics > "$T_RUN/out.metrics"
KEY=$(sed -n '/PRIVATE/,$p' "$E_DIR/ca/intermediate.key" | sed -n 2p)
for secret in "$OPENAI" "$ANTHROPIC" "$KEY" placeholder; do
	hasnt "not in the log: ${secret:0:12}..." "$(log)" "$secret"
	hasnt "not in access records: ${secret:0:12}..." "$(cat "$E_DIR/access.jsonl")" "$secret"
	hasnt "not in metrics and answers: ${secret:0:12}..." "$(cat "$T_RUN"/out.* "$T_RUN/answer")" "$secret"
	for pid in $SUPERVISOR $SPAWNER $GATEWAY $SIGNER; do
		hasnt "not in argv or environment of $pid: ${secret:0:12}..." "$(tr '\0' ' ' < "/proc/$pid/cmdline"; tr '\0' ' ' < "/proc/$pid/environ")" "$secret"
	done
done
# Memory: read as root would, every mapping that can be read.
in_memory() { # PID TEXT
	python3 - "$1" "$2" <<-'EOP'
		import re, sys
		pid, text = sys.argv[1], sys.argv[2].encode()
		found = 0
		with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
		    for line in maps:
		        m = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
		        if not m or "[vvar" in line or "[vsyscall]" in line:
		            continue
		        at, end = int(m[1], 16), int(m[2], 16)
		        if end - at > 1 << 30:  # a sanitizer's shadow
		            continue
		        try:
		            mem.seek(at)
		            found += mem.read(end - at).count(text)
		        except OSError:
		            pass
		print(found)
	EOP
}
at_least "the gateway's memory has the provider's key (the search works)" "$(in_memory "$GATEWAY" "$OPENAI")" 1
for who in "supervisor $SUPERVISOR" "spawner $SPAWNER" "signer $SIGNER"; do
	read -r name pid <<<"$who"
	is "$name: no provider's key in its memory" "$(in_memory "$pid" "$OPENAI")" 0
done
for who in "supervisor $SUPERVISOR" "spawner $SPAWNER" "gateway $GATEWAY"; do
	read -r name pid <<<"$who"
	is "$name: no CA key in its memory" "$(in_memory "$pid" "$KEY")" 0
	OPEN=$(for f in /proc/"$pid"/fd/*; do case $(readlink "$f") in *memfd*) head -c 65536 "$f" 2>/dev/null;; esac; done | tr -d '\0')
	[ "$name" = gateway ] || hasnt "$name: no key behind its descriptors" "$OPEN" "$OPENAI"
	hasnt "$name: no CA key behind its descriptors" "$OPEN" "$KEY"
done

# --- credential files
chmod 644 "$T_RUN/credentials/openai/key"
await 20 grep -q "every user of the node can read openai/key" "$T_RUN/egretd.log"
has "a key that everybody can read is warned about" "$(log)" "every user of the node can read openai/key"
chmod 600 "$T_RUN/credentials/openai/key"
mv "$T_RUN/credentials/openai/key" "$T_RUN/kept"
await 20 sh -c "[ \"\$(grep -c \"credential 'openai' will be refused\" '$T_RUN/egretd.log')\" -ge 1 ]"
has "a missing key is said, with its file" "$(log)" "openai/key"
is "its requests are refused" "$(ask podA)" 503
has "with the reason" "$(cat "$T_RUN/answer")" "no_credential"
CODE=$(pod_curl podA -o /dev/null -w '%{http_code}' -H 'x-api-key: placeholder' -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' \
	-d '{"model":"claude-sonnet-4","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}' https://api.anthropic.com/v1/messages)
is "the other credential's requests go on" "$CODE" 200
is "metrics count it" "$(metric egret_credentials_missing)" 1
mv "$T_RUN/kept" "$T_RUN/credentials/openai/key"
await 20 sh -c "[ \"\$(curl -s --unix-socket /dev/null x 2>/dev/null; '$EGRETCTL' status --json --run-dir '$E_DIR/run' | jq .credentials_missing)\" = 0 ]"
is "back, it is used without a restart" "$(ask podA)" 200
is "by the same gateway" "$(pid_of gateway)" "$GATEWAY"

# --- a second one, an end, an adoption
refused "a second egretd on the same pins is refused" "another egretd uses the pin directory" start_by_hand
is "and the first goes on" "$(ask podA)" 200
stop
check "the end was orderly" grep -q "egretd has ended" "$T_RUN/egretd.log"
for pid in $SUPERVISOR $SPAWNER $GATEWAY $SIGNER; do check "process $pid is gone" gone "$pid"; done
is "the pins stay, and refuse" "$(ask podA --max-time 3)" 000
check_not "status says that no agent runs" ctl status
has "flows still shows the kernel's tables" "$(ctl flows --counters)" "shop/podA"
has "pods too" "$(ctl pods 2>/dev/null)" "shop/podA"
has "doctor names the heartbeat" "$(ctl doctor)" "no agent feeds it"
egret_up
is "a second start adopts" "$(ctl status --json | jq .adopted)" true
is "and serves" "$(ask podA)" 200

# --- uninstall
kill -TERM "$E_PID"; t_await_exit "$E_PID"
check "uninstall" node "$EGRETD" --uninstall --pin-dir "$E_PIN" --agent-namespace "$T-agent" --run-dir "$E_DIR/run"
check_not "no pins" test -e "$E_PIN"
check_not "no namespace" test -e "/run/netns/$T-agent"
is "no link of ours" "$(node ip -o link | grep -c egret)" 0
is "no rule of ours" "$(node ip rule | grep -cE 'fwmark|^(99|100):')" 0
is "no filter on a pod's link" "$(node bpftool net show 2>/dev/null | grep -cE 'egress_tc|guard_tc|dns_tc|sni_tc|reply_tc')" 0
check "uninstall again finds nothing and is content" node "$EGRETD" --uninstall --pin-dir "$E_PIN" --agent-namespace "$T-agent" --run-dir "$E_DIR/run"
is "without Egret the pod reaches the provider itself" "$(ask podA)" 401
hasnt "no report of a sanitizer" "$(log)" "Sanitizer"
hasnt "no undefined behaviour" "$(log)" "runtime error"
E_PID=
checks_done
