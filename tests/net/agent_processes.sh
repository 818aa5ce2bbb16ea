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
		--ca-dir "${CA_DIR:-$E_DIR/ca}" --uplink eth0 --resolver 203.0.113.53 --run-dir "${RUN:-$E_DIR/run}" --metrics none \
		--upstream-ca "${ROOTS:-$T_RUN/certs/root.crt}" --pin-dir "${PIN:-$E_PIN}" --agent-namespace "${NAMESPACE:-$T-agent}" \
		--handover-socket none
}
PIN=/tmp/egproc-none/pins refused "no bpffs" "mount -t bpf bpf /sys/fs/bpf" start_by_hand
refused "a read-only bpffs" "is mounted read-only, and nothing can be pinned" start_by_hand unshare -m \
	sh -c 'mount -o remount,ro,bind /sys/fs/bpf && exec "$0" "$@"'
refused "no CAP_BPF" "CAP_BPF is missing" start_by_hand capsh --drop=cap_bpf,cap_sys_admin -- -c 'exec "$0" "$@"'
# SYS_ADMIN, which is dropped after the start, stands in for it no longer than that.
refused "no CAP_BPF, but SYS_ADMIN" "CAP_BPF is missing" start_by_hand capsh --drop=cap_bpf -- -c 'exec "$0" "$@"'
has "nor does doctor take it for enough" "$(node capsh --drop=cap_bpf -- -c 'exec "$0" "$@"' "$EGRETCTL" doctor --run-dir "$E_DIR/run" --pin-dir "$E_PIN" 2>&1)" "BROKEN   cap_bpf"
# Nothing false is said of the kernel, which nobody could ask.
FALSE='the kernel loads no TC program|the kernel takes no BTF|no BPF ring buffer|no sk_lookup programs|no bpf_redirect_peer|no bpf_loop|no TCX'
for missing in cap_bpf,cap_sys_admin:CAP_BPF cap_net_admin,cap_sys_admin:CAP_NET_ADMIN; do
	said=$(start_by_hand capsh "--drop=${missing%:*}" -- -c 'exec "$0" "$@"' 2>&1)
	is "no ${missing#*:}: egretd says nothing false of the kernel" "$(grep -oE "$FALSE" <<< "$said")" ""
	has "but that it was not judged" "$said" "tc_programs could not be judged: trying it needs ${missing#*:}, which is missing"
	said=$(node capsh "--drop=${missing%:*}" -- -c 'exec "$0" "$@"' "$EGRETCTL" doctor --json --run-dir "$E_DIR/run" --pin-dir "$E_PIN")
	is "nor does doctor" "$(grep -oE "$FALSE" <<< "$said")" ""
	is "which counts the right that is missing, not what needs it" "$(jq -r '[.checks[] | select(.result == "broken") | .check] | map(select(IN("cap_bpf", "cap_net_admin", "tc_programs", "btf", "ringbuf", "sk_lookup", "redirect_peer"))) | join(" ")' <<< "$said")" \
		"$(tr 'A-Z' 'a-z' <<< "${missing#*:}")"
done
# The verifier asks for PERFMON, which SYS_ADMIN implies: without both the kernel's own words say nothing.
refused "no CAP_PERFMON and no SYS_ADMIN, in mark mode" "CAP_PERFMON is missing, and no CAP_SYS_ADMIN stands in for it" \
	start_by_hand capsh --drop=cap_perfmon,cap_sys_admin -- -c 'exec "$0" "$@" --mode mark'
has "which doctor says, too" "$(node capsh --drop=cap_perfmon,cap_sys_admin -- -c 'exec "$0" "$@"' "$EGRETCTL" doctor --mark --run-dir "$E_DIR/run" --pin-dir "$E_PIN" 2>&1)" \
	"BROKEN   cap_perfmon"
refused "too few descriptors" "RLIMIT_NOFILE allows 500 descriptors; at least 512 are needed" start_by_hand prlimit --nofile=500
refused "no CAP_NET_ADMIN" "CAP_NET_ADMIN is missing" start_by_hand capsh --drop=cap_net_admin -- -c 'exec "$0" "$@"'
for missing in setuid setgid kill; do
	refused "no CAP_${missing^^}" "CAP_${missing^^} is missing: gateway and signer are started" start_by_hand capsh --drop=cap_$missing -- -c 'exec "$0" "$@"'
done
refused "not root" "must be started as root" start_by_hand setpriv --reuid 65534 --clear-groups
CA_DIR=/tmp/egproc-none refused "no CA" "egretctl ca create" start_by_hand
mkdir "$T_RUN/ca-bad" && cp "$E_DIR/ca/intermediate.crt" "$T_RUN/ca-bad/" && echo "no key" > "$T_RUN/ca-bad/intermediate.key"
CA_DIR=$T_RUN/ca-bad refused "a CA that can't be used" "the CA in $T_RUN/ca-bad can't be used: intermediate key: expected PEM" start_by_hand
ROOTS=/tmp/egproc-none refused "no roots for providers" "--upstream-ca" start_by_hand
echo "no certificate" > "$T_RUN/roots-bad"
ROOTS=$T_RUN/roots-bad refused "roots that are none" "$T_RUN/roots-bad: trust roots: no certificate; expected a PEM bundle" start_by_hand
before=$(pod podA sh -c 'ip rule; ip -6 rule; ip route show table all; sysctl -n net.ipv4.conf.all.rp_filter net.ipv4.icmp_echo_ignore_all')
NAMESPACE=$T-podA refused "a pod's namespace for the agent's" "/run/netns/$T-podA is another's network namespace (it has the link eth0)" start_by_hand
refused "nor is it uninstalled" "/run/netns/$T-podA is another's network namespace (it has the link eth0)" \
	node "$EGRETD" --uninstall --pin-dir "$E_PIN" --agent-namespace "$T-podA" --run-dir "$E_DIR/run"
check "it is there" test -e "/run/netns/$T-podA"
is "and as it was" "$(pod podA sh -c 'ip rule; ip -6 rule; ip route show table all; sysctl -n net.ipv4.conf.all.rp_filter net.ipv4.icmp_echo_ignore_all')" "$before"
refused "no such option" "'--frobnicate' is not an option" node "$EGRETD" --frobnicate
refused "no resolver" "--resolver is missing" node "$EGRETD" --uplink eth0
refused "a metrics page for everybody" "a loopback address" node "$EGRETD" --resolver 203.0.113.53 --uplink eth0 --metrics 0.0.0.0:9909
# As on kernels that lack something: bpf(2) answers as theirs does.
OLD=$EGRET_BUILD/tests/net/datapath_old_kernel
while read -r feature sentence; do
	refused "a kernel without $feature" "$sentence" start_by_hand "$OLD" "$feature"
done <<-EOT
	ringbuf no BPF ring buffer (Linux 5.8): the programs do not load
	sk_lookup no sk_lookup programs (Linux 5.9): captured connections cannot be given to the agent
	redirect_peer no bpf_redirect_peer (Linux 5.10): netns mode is not possible; use mark mode, which costs the node's other traffic more
	btf the kernel takes no BTF (4.18, CONFIG_BPF_SYSCALL): the maps cannot be made with names
	tc_programs the kernel loads no TC program: it needs CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF
EOT
check_not "nothing is pinned by a refused start" test -e "$E_PIN/links"

# --- what is missing and not required is said at the start and by doctor, with what it costs
REAL=$EGRETD
on_old_kernel() { # FEATURE[,FEATURE] [OPTION...]: egretd runs there
	printf '#!/bin/sh\nexec "%s" "%s" "%s" "$@"\n' "$OLD" "$1" "$REAL" > "$T_RUN/egretd-old"
	chmod +x "$T_RUN/egretd-old"; shift
	EGRETD=$T_RUN/egretd-old; egret_up "$@"; EGRETD=$REAL
}
doctor_says() { # TEXT MISSING RESULT SENTENCE
	local found
	found=$(node "$OLD" "$2" "$EGRETCTL" doctor --json --run-dir "$E_DIR/run" | jq -r --arg f "$2" '.checks[] | select(.check == $f) | "\(.result) \(.text)"')
	has "$1" "$found" "$3 $4"
}
no_tcx="no TCX (Linux 6.6): clsact filters are used, which anybody can delete with their qdisc or overtake; they are checked every second and put back first"
no_loop="no bpf_loop (Linux 5.17): DNS answers are read by the agent and not in the kernel, so a pod may connect before the address is known; the guard on the uplinks covers that"
no_peer="no bpf_redirect_peer (Linux 5.10): netns mode is not possible; use mark mode, which costs the node's other traffic more"
warned() { has "$1" "$(jq -r 'select(.level == "warn") | .message' "$T_RUN/egretd.log" 2>/dev/null)" "$2"; }
on_old_kernel tcx,bpf_loop
warned "without TCX: said at the start" "$no_tcx"
warned "without bpf_loop: said at the start" "$no_loop"
is "it serves all the same" "$(ask podA)" 200
has "by clsact" "$(node tc filter show dev veth-podA ingress)" egress_tc
doctor_says "without TCX: doctor warns" tcx warning "$no_tcx"
doctor_says "without bpf_loop: doctor warns" bpf_loop warning "$no_loop"
doctor_says "without the ring buffer: broken, says doctor" ringbuf broken "no BPF ring buffer"
doctor_says "without redirect_peer: broken, says doctor, for this agent is in netns mode" redirect_peer broken "$no_peer"
doctor_says "without sk_lookup: broken, says doctor" sk_lookup broken "no sk_lookup programs"
doctor_says "without BTF: broken, says doctor" btf broken "the kernel takes no BTF"
egret_down
E_MODE=mark on_old_kernel redirect_peer
warned "without redirect_peer, mark mode: said at the start" "$no_peer"
is "it serves all the same" "$(ask podA)" 200
doctor_says "without redirect_peer, mark mode: doctor warns" redirect_peer warning "$no_peer"
egret_down
# CMD without the kernel's own BTF; what it mounts elsewhere is everybody's as ever.
no_btf="no BTF of the kernel (CONFIG_DEBUG_INFO_BTF), or kernel lockdown: a pod with raw sockets can have its checksum written over an IPv6 destination, past every program"
# shellcheck disable=SC2016 # the inner shell's
printf '#!/bin/sh\nexec unshare -m --propagation unchanged sh -c %s "$@"\n' \
	"'mount --make-private /sys && mount -t tmpfs none /sys/kernel/btf && exec \"\$0\" \"\$@\"'" > "$T_RUN/without-btf"
printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$T_RUN/without-btf" "$REAL" > "$T_RUN/egretd-old"
chmod +x "$T_RUN/without-btf" "$T_RUN/egretd-old"
EGRETD=$T_RUN/egretd-old; egret_up; EGRETD=$REAL
warned "without the kernel's BTF: said at the start" "$no_btf"
is "it serves all the same" "$(ask podA)" 200
has "without the kernel's BTF: doctor warns" "$(node "$T_RUN/without-btf" "$EGRETCTL" doctor --json --run-dir "$E_DIR/run" |
	jq -r '.checks[] | select(.check == "skb_layout") | "\(.result) \(.text)"')" "warning $no_btf"
egret_down
: > "$E_DIR/access.jsonl"

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
	# Doctor's own request ends with the reason no_placeholder, which is a name and no key.
	hasnt "not in access records: ${secret:0:12}..." "$(sed 's/no_placeholder//g' "$E_DIR/access.jsonl")" "$secret"
	hasnt "not in metrics and answers: ${secret:0:12}..." "$(cat "$T_RUN"/out.* "$T_RUN/answer" | sed 's/no_placeholder//g')" "$secret"
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
is "a key that is missing for a moment: the last good one stays in force" "$(ask podA)" 200
check "and that is said" await 5 grep -q "openai/key.*the last good key stays in force for 15 s" "$T_RUN/egretd.log"
await 40 sh -c "[ \"\$(grep -c \"credential 'openai' will be refused\" '$T_RUN/egretd.log')\" -ge 1 ]"
has "a missing key is said, with its file" "$(log)" "openai/key"
await 10 sh -c "[ \"\$('$EGRETCTL' status --json --run-dir '$E_DIR/run' | jq .credentials_missing)\" = 1 ]"
is "its requests are refused" "$(ask podA)" 503
has "with the reason" "$(cat "$T_RUN/answer")" "no_credential"
CODE=$(pod_curl podA -o /dev/null -w '%{http_code}' -H 'x-api-key: placeholder' -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' \
	-d '{"model":"claude-sonnet-4","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}' https://api.anthropic.com/v1/messages)
is "the other credential's requests go on" "$CODE" 200
is "metrics count it" "$(metric egret_credentials_missing)" 1
is "that it was kept is said once" "$(grep -c 'openai/key.*the last good key stays in force' "$T_RUN/egretd.log")" 1
mv "$T_RUN/kept" "$T_RUN/credentials/openai/key"
await 20 sh -c "[ \"\$(curl -s --unix-socket /dev/null x 2>/dev/null; '$EGRETCTL' status --json --run-dir '$E_DIR/run' | jq .credentials_missing)\" = 0 ]"
is "back, it is used without a restart" "$(ask podA)" 200
is "by the same gateway" "$(pid_of gateway)" "$GATEWAY"

# --- a provider's ca_file is borne likewise; each request makes a connection of its own, so that each asks the roots
status_is() { [ "$(ctl status --json | jq "$1")" = "$2" ]; }
ROOTS=$T_RUN/credentials/ca/root.pem
mkdir "$T_RUN/credentials/ca"
cp "$T_RUN/certs/root.crt" "$ROOTS"
generation=$(egret_generation)
for file in "$E_DIR"/policy/*.json; do
	jq '.providers.openai.ca_file = "ca/root.pem"' "$file" > "$T_RUN/with-ca"
	mv "$T_RUN/with-ca" "$file"
done
check "a policy with a ca_file is in force" await 20 egret_newer "$generation"
for _ in $(seq 20); do ask podA >/dev/null; done # of each worker
generation=$(egret_generation)
pod_register "$E_DIR/pods" podB shop '{"again":"with-ca"}'
check "another pod changes" await 20 egret_newer "$generation"
mock_forget
for _ in $(seq 8); do ask podA >/dev/null; done
is "with the same roots the same connections go on" "$(mock_requests) $(mock_log '[.[] | select(.event == "tls")] | length')" "8 0"
mock_mode api.openai.com close-after
is "whose roots vouch for the provider" "$(ask podA)" 200
: > "$ROOTS"
check "an empty ca_file is said, with the provider's name" await 10 grep -q "provider 'openai': ca_file: ca/root.pem.*the last good roots stay in force for 15 s" "$T_RUN/egretd.log"
is "the last good roots stay in force" "$(ask podA)" 200
head -c 300 "$T_RUN/certs/root.crt" > "$ROOTS"
check "half of one is said, too" await 10 grep -q "ca_file: ca/root.pem.*the last good roots still stay in force" "$T_RUN/egretd.log"
is "and is borne" "$(ask podA)" 200
cat "$T_RUN/certs/root.crt" > "$ROOTS"
check "whole, it is fit again" await 10 grep -q "provider 'openai': its ca_file is fit again" "$T_RUN/egretd.log"
is "and is used" "$(ask podA)" 200
is "nothing was missing" "$(ctl status --json | jq .ca_files_missing)" 0
rm "$ROOTS"
check "a ca_file that stays away is gone after its grace" await 40 status_is .ca_files_missing 1
has "which the log says" "$(log)" "provider 'openai' will not be trusted"
is "its requests fail, and no other roots vouch" "$(ask podA)" 502
is "metrics count it" "$(metric egret_ca_files_missing)" 1
has "a person is told" "$(ctl status)" "CA FILES MISSING: 1"
cp "$T_RUN/certs/root.crt" "$ROOTS"
check "back, it is fit" await 20 status_is .ca_files_missing 0
is "and used without a restart" "$(ask podA)" 200
mock_clear

# --- a second one, an end, an adoption
refused "a second egretd on the same pins that takes nothing over is refused" "another egretd uses the pin directory" start_by_hand
is "and the first goes on" "$(ask podA)" 200
stop
check "the end was orderly" grep -q "egretd has ended" "$T_RUN/egretd.log"
for pid in $SUPERVISOR $SPAWNER $GATEWAY $SIGNER; do check "process $pid is gone" await 5 gone "$pid"; done
is "the pins stay, and refuse" "$(ask podA --max-time 3)" 000
check_not "status says that no agent runs" ctl status
has "flows still shows the kernel's tables" "$(ctl flows --counters)" "shop/podA"
has "pods too" "$(ctl pods 2>/dev/null)" "shop/podA"
has "doctor names the heartbeat" "$(ctl doctor)" "no agent feeds it"
egret_up
is "a second start adopts" "$(ctl status --json | jq .adopted)" true
is "and serves" "$(ask podA)" 200

# --- a signal for all of it, as pkill, `systemctl kill` or a terminal that closes sends it
all_of_it() { echo "$E_PID $(pid_of spawner) $(pid_of gateway) $(pid_of signer)"; }
PROCESSES=$(all_of_it)
# shellcheck disable=SC2086 # one pid a word
kill -HUP $PROCESSES
check "SIGHUP to each of its processes: everything is read anew" await 10 grep -q "SIGHUP: everything is read anew" "$T_RUN/egretd.log"
is "it serves" "$(ask podA)" 200
is "by the same processes" "$(all_of_it)" "$PROCESSES"

# --- a second installation on the node, by mistake; in netns mode it finds egret0 taken
RUN=$E_DIR/run-second PIN=$E_PIN-second NAMESPACE=$T-second refused "a second one that names other places" "there is a link named egret0 that does not lead to /run/netns/$T-second" start_by_hand
node "$EGRETD" --uninstall --pin-dir "$E_PIN-second" --agent-namespace "$T-second" --run-dir "$E_DIR/run-second"
RUN=$E_DIR/run-second PIN=$E_PIN-second NAMESPACE=$T-second start_by_hand sh -c 'exec "$0" "$@" --mode mark' > "$T_RUN/second.log" 2>&1 & SECOND=$!
check "the second says that there is a first" await 15 grep -q "uplink eth0: another Egret's guard stands there too" "$T_RUN/second.log"
wait $SECOND # start_by_hand ends it
check "the uninstall that it names" node "$EGRETD" --uninstall --pin-dir "$E_PIN-second" --agent-namespace "$T-second" --run-dir "$E_DIR/run-second"
is "leaves the first as it was" "$(ask podA)" 200

# --- the metrics page for others: who has the token
kill -TERM "$E_PID"; t_await_exit "$E_PID" 20
echo "$T-first-token-0123456789" > "$T_RUN/page.token"
egret_start --metrics 0.0.0.0:9909 --metrics-token "$T_RUN/page.token"
check "it starts" await 20 ctl status
as() { page --max-time 3 -H "Authorization: Bearer $1" http://10.244.7.1:9909/metrics; }
is "nobody without it, not even from here" "$(page http://127.0.0.1:9909/metrics) $(page http://127.0.0.1:9909/readyz)" "401 401"
is "nobody with another one" "$(as "$T-first-token-012345678")" 401
is "who has it, by the node's own address" "$(as "$T-first-token-0123456789")" 200
echo "$T-second-token-0123456789" > "$T_RUN/next.token"; mv "$T_RUN/next.token" "$T_RUN/page.token"
by_second() { [ "$(as "$T-second-token-0123456789")" = 200 ]; }
check "a new one is taken" await 15 by_second
is "and the former opens nothing" "$(as "$T-first-token-0123456789")" 401
: > "$T_RUN/page.token"
check "one that is none is said" await 15 grep -q "page.token: expected a token of 16.*the former token stays" "$T_RUN/egretd.log"
is "and the former stays" "$(as "$T-second-token-0123456789")" 200
hasnt "no token is in the log" "$(cat "$T_RUN/egretd.log")" "token-0123"
refused "nor does it start with such a file" "page.token: expected a token of 16" node "$EGRETD" --resolver 203.0.113.53 --uplink eth0 \
	--run-dir "$E_DIR/run-second" --pin-dir "$E_PIN-second" --agent-namespace "$T-second" --ca-dir "$E_DIR/ca" --upstream-ca "$T_RUN/certs/root.crt" \
	--handover-socket none --metrics 127.0.0.1:9910 --metrics-token "$T_RUN/page.token"

# --- uninstall
kill -TERM "$E_PID"; t_await_exit "$E_PID" 20
check_not "nothing answers: it is not alive" ctl status --alive
check "uninstall" node "$EGRETD" --uninstall --pin-dir "$E_PIN" --agent-namespace "$T-agent" --run-dir "$E_DIR/run"
check_not "no pins" test -e "$E_PIN"
check_not "no namespace" test -e "/run/netns/$T-agent"
is "no link of ours" "$(node ip -o link | grep -c egret)" 0
is "no rule of ours" "$(node ip rule | grep -cE 'fwmark|^(99|100):')" 0
is "no filter on a pod's link" "$(node bpftool net show 2>/dev/null | grep -cE 'egress_tc|guard_tc|dns_tc|sni_tc|reply_tc')" 0
check "uninstall again finds nothing and is content" node "$EGRETD" --uninstall --pin-dir "$E_PIN" --agent-namespace "$T-agent" --run-dir "$E_DIR/run"
has "and says what it could not know" "$(node "$EGRETD" --uninstall --pin-dir "$E_PIN" --run-dir "$E_DIR/run" 2>&1)" "left in this network namespace; there is no $E_PIN"
is "without Egret the pod reaches the provider itself" "$(ask podA)" 401
for how in killed stopped; do
	egret_up --agent-namespace "$T-agent2"
	is "the namespace has another name" "$(ask podA) $(test -e "/run/netns/$T-agent2" && echo there)" "200 there"
	if [ $how = killed ]; then kill_supervisor; else stop; fi
	check "$how: an uninstall that does not know it" node "$EGRETD" --uninstall --pin-dir "$E_PIN" --run-dir "$E_DIR/run"
	check_not "$how: removes it all the same" test -e "/run/netns/$T-agent2"
	is "$how: and the link into it" "$(node ip -o link | grep -c egret)" 0
done
hasnt "no report of a sanitizer" "$(log)" "Sanitizer"
hasnt "no undefined behaviour" "$(log)" "runtime error"
E_PID=
checks_done
