#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# egretd in a container, with no more than manifests/base/daemonset.yaml gives it, made by containerd on a node whose pods containerd made:
# it governs, gives up what it does not need any more, says what it lacks, hands over to the next container, and leaves nothing.
set -u
cd "$(dirname "$0")" || exit 1
. ./handover_lib.sh
. ../lib/containerd.sh
. ../lib/kube_api.sh
runtime_require
topology_up egcont
world_key openai api.openai.com > /dev/null
world_up
egret_prepare policies/agent
runtime_up
api_up
api_namespace shop '{}'
mkdir -p "$E_DIR/node-run" "$K_DIR/account"
touch "$E_DIR/access.jsonl" # the agents write theirs to standard output
cp "$K_DIR/token" "$K_DIR/ca.crt" "$K_DIR/account/"
node sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1

NETNS_CAPS='["BPF","NET_ADMIN","SETUID","SETGID","KILL","SYS_ADMIN"]'
MARK_CAPS='["BPF","NET_ADMIN","SETUID","SETGID","KILL","PERFMON"]'
POD='' CONTAINER='' AGENT_LOG=''
# agent_up CAPABILITIES [OPTION...]: as the DaemonSet does. CONTAINER, POD and AGENT_LOG are its.
agent_up() {
	local caps=$1 run; shift
	NTH=$((NTH + 1)) run=$E_DIR/run-$NTH
	mkdir -p "$run"
	rm -rf "$E_DIR/run" # egretctl's is the newest one's
	ln -sfn "$run" "$E_DIR/run"
	cri_pod_config "egret-$NTH" egret "u-egret-$NTH" NODE > "$R_DIR/agent-pod.json"
	jq -n --argjson caps "$caps" --arg image "$R_IMAGE" --arg build "$EGRET_BUILD" --arg run "$run" --arg t "$T_RUN" --arg e "$E_DIR" --arg pin "$E_PIN" \
		--arg netns "$T-agent" --arg forbid "$E_FORBID" --arg api "$K_API" --arg mode "$E_MODE" \
		'def mount($at; $from): {container_path: $at, host_path: $from, readonly: true};
		{metadata: {name: "egretd"}, image: {$image}, log_path: "egretd.log", command: ["/egret/egretd"],
		args: (["--kubernetes", "--node-name=node-1", "--uplink=auto", "--resolver=auto", "--mode=\($mode)",
			"--policy-dir=/etc/egret/policies", "--credentials-dir=/etc/egret/credentials", "--ca-dir=/etc/egret/ca", "--run-dir=/run/egret",
			"--handover-socket=/run/egret-node/handover.sock", "--access-log=-", "--drain=10",
			"--upstream-ca=/etc/egret/roots/root.crt", "--pin-dir=\($pin)", "--agent-namespace=\($netns)", "--forbid=\($forbid)"] + $ARGS.positional),
		envs: [{key: "KUBERNETES_SERVICE_HOST", value: ($api | sub(":.*"; ""))}, {key: "KUBERNETES_SERVICE_PORT", value: ($api | sub(".*:"; ""))}],
		mounts: [mount("/usr"; "/usr"), mount("/egret"; $build), mount("/etc/egret/roots"; "\($t)/certs"),
			mount("/etc/egret/policies"; "\($e)/policy"), mount("/etc/egret/credentials"; "\($t)/credentials"), mount("/etc/egret/ca"; "\($e)/ca"),
			mount("/var/run/secrets/kubernetes.io/serviceaccount"; "\($t)/kube/account"),
			mount("/run/egret"; $run) + {readonly: false}, mount("/run/egret-node"; "\($e)/node-run") + {readonly: false},
			mount("/sys/fs/bpf"; "/sys/fs/bpf") + {readonly: false},
			mount("/run/netns"; "/run/netns") + {readonly: false, propagation: "PROPAGATION_HOST_TO_CONTAINER"},
			mount("/var/lib/cni"; "/var/lib/cni")],
		linux: {security_context: {capabilities: {add_capabilities: $caps, drop_capabilities: ["ALL"]}, namespace_options: {network: "NODE"},
			run_as_user: {value: 0}, run_as_group: {value: 0}, readonly_rootfs: true, no_new_privs: true, seccomp: {profile_type: "RuntimeDefault"},
			masked_paths: ["/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
			readonly_paths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]}}}' --args -- "$@" > "$R_DIR/agent.json"
	POD=$(cri pod "$R_DIR/agent-pod.json") || t_die "the agent's pod could not be made"
	AGENT_LOG=$R_DIR/u-egret-$NTH/egretd.log
	CONTAINER=$(cri container "$POD" "$R_DIR/agent-pod.json" "$R_DIR/agent.json") || t_die "the agent's container could not be made"
}
agent_down() { cri stop "$CONTAINER" 30 || fail "the container could not be stopped"; }
agent_pid() { cri status "$CONTAINER" | jq .pid; }
has_ended() { [ "$(cri status "$CONTAINER" | jq -r .state)" = CONTAINER_EXITED ]; }
alive() { cri exec "$CONTAINER" /egret/egretctl status --alive; }
ready() { cri exec "$CONTAINER" /egret/egretctl status; }
inside() { nsenter --net="/proc/$(agent_pid)/root/run/netns/$T-agent" "$@"; }
governed() { [ "$(ctl pods --json | jq -r --arg p "$1" '.pods[] | select(.name == $p) | .state')" = governed ]; }
served() { echo "$(ask podA) $(ask podA -6)"; }
uninstall() { node "$EGRETD" --uninstall --pin-dir "$E_PIN" --agent-namespace "$T-agent" > "$T_RUN/uninstall.log" 2>&1; }
# What an agent makes on the node, but for the pins: names of links, rules, routes of tables of its own, files in /run/netns, programs on links.
traces() {
	node ip -o link | awk -F': ' '{ print "link", $2 }' | grep -vE ' (lo|eth0|cni0|veth[0-9a-f]+)(@|$)'
	node ip rule; node ip -6 rule; node ip route show table all; node ip -6 route show table all
	node ls /run/netns; find "$E_PIN" 2> /dev/null; node bpftool net show
}
# process NAME FIELD: of the agent's process of that role, as the node sees it.
process() {
	local pid
	for pid in $(cat "/sys/fs/cgroup/pids$R_CGROUP/$CONTAINER/cgroup.procs" "/sys/fs/cgroup$R_CGROUP/$CONTAINER/cgroup.procs" 2> /dev/null); do
		case $(tr '\0' ' ' < "/proc/$pid/cmdline") in *role:"$1"* | "/egret/egretd --$1"*) proc "$pid" "$2" ;; esac
	done
}

api_pod podA u-a shop '{"app":"assistant"}'
cri_pod podA shop u-a
before=$(traces)
for E_MODE in ${MODES:-netns mark}; do
	what=$E_MODE
	if [ "$E_MODE" = netns ]; then caps=$NETNS_CAPS; else caps=$MARK_CAPS; fi
	echo "# $what: as the DaemonSet runs it"
	agent_up "$caps"
	check "$what: the startup probe succeeds" await 40 alive
	check "$what: so does the readiness probe" await 40 ready
	check "$what: the pod is governed" await 20 governed podA
	is "$what: served, over IPv4 and IPv6" "$(served)" "200 200"
	has "$what: by the agent, with the real key" "$(mock_last .credentials.authorization)" "Bearer $(cat "$T_RUN/credentials/openai/key")"
	is "$what: the supervisor keeps BPF and NET_ADMIN, of all that it was given" "$(process kubernetes CapPrm) $(process kubernetes CapEff)" "0000008000001000 0000008000001000"
	is "$what: the spawner SETUID, SETGID and KILL" "$(process spawner CapPrm)" 00000000000000e0
	is "$what: gateway and signer nothing" "$(process gateway CapPrm) $(process signer CapPrm)" "0000000000000000 0000000000000000"
	is "$what: none gains anything by an exec, each is under the runtime's profile" "$(for p in kubernetes spawner gateway signer; do echo "$(process $p NoNewPrivs)$(process $p Seccomp)"; done | sort -u)" 12
	check_not "$what: the root file system is read-only" touch "/proc/$(agent_pid)/root/new"
	check_not "$what: so is what sysctls are written by" bash -c "echo 1 > /proc/$(agent_pid)/root/proc/sys/net/ipv4/conf/all/log_martians"
	if [ "$E_MODE" = netns ]; then
		is "$what: the agent's namespace has its own sysctls all the same" \
			"$(inside sysctl -n net.ipv4.conf.all.rp_filter net.ipv4.ip_forward net.ipv4.icmp_echo_ignore_all net.ipv6.conf.default.accept_ra | xargs)" "0 0 1 0"
		is "$what: what the host's mounts are is as it was" "$(node findmnt -n "/run/netns/$T-agent")" ""
	fi
	hasnt "$what: nothing could not be set" "$(cat "$AGENT_LOG")" "cannot set"

	echo "# $what: the next container takes over, as a rolling update has it"
	LANES=4 RATE=100 load_begin
	old=$CONTAINER
	agent_up "$caps"
	check "$what: it takes over" await 40 ready
	has "$what: and says so" "$(ctl status)" "taken over from an egretd of another pid namespace"
	check "$what: the first one ends" cri stop "$old" 30
	load_end "$what, from container to container"
	is "$what: served, over IPv4 and IPv6" "$(served)" "200 200"

	echo "# $what: ended, and begun again"
	agent_down
	is "$what: nothing passes while there is none" "$(ask podA --max-time 3)" 000
	agent_up "$caps"
	check "$what: it is ready" await 40 ready
	is "$what: served" "$(served)" "200 200"
	agent_down
	check "$what: uninstalled" uninstall
	is "$what: nothing is left" "$(traces)" "$before"

	echo "# $what: without one capability"
	for cap in $(jq -r '.[]' <<< "$caps"); do
		# The spawner's are looked at alike in both ways.
		case $what-$cap in mark-SETUID | mark-SETGID | mark-KILL) continue ;; esac
		agent_up "$(jq -c --arg c "$cap" 'map(select(. != $c))' <<< "$caps")"
		check "$what, without $cap: it does not start" await 30 has_ended
		has "$what, without $cap: which says what is missing" "$(cat "$AGENT_LOG")" "CAP_$cap is missing"
		is "$what, without $cap: nothing is left of it" "$(traces)" "$before"
	done
done
hasnt "no report of a sanitizer" "$(cat "$R_DIR"/u-egret-*/egretd.log)" "Sanitizer"
checks_done
