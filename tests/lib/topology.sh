# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A Kubernetes node in namespaces, for tests and the demo. Source it from bash as root; see README.md beside it.
#
#   topology_up PREFIX POD[:routed] ...   build it; everything is removed when the script ends, however it ends
#   node CMD...   inet CMD...             run in the node's, the internet's namespace
#   pod POD CMD...                        run in a pod, with the pod's own resolv.conf
#   world_up                              start the mock providers and the DNS server in the internet
#
# Namespaces are called PREFIX-PID-node, -inet and -POD, so that tests run beside each other.

T_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
T_WORLD=${T_WORLD:-$T_ROOT/tests/mock/world.json}
T_POD_NET4=10.244.7 T_POD_NET6=fd00:10:244:7:
T_NODE_IP=192.0.2.10 T_NODE_IP6=2001:db8:0:1::10
declare -A T_POD_INDEX=() T_POD_SHAPE=() T_POD_NETNS=() # the last: of pods that somebody else made (containerd.sh)
T_PIDS=()
T_NODE_ENTER=() # what else of the node's than its network is entered, as options of nsenter (containerd.sh has a mount namespace)
T_BEFORE_DOWN=() # functions that topology_down calls first (egret.sh puts one here)

t_die() { echo "topology: $*" >&2; exit 1; }

# What only a real machine can give; each lack is said in a sentence.
t_require() {
	[ "$(id -u)" = 0 ] || t_die "needs root: it makes network namespaces"
	local tool
	for tool in ip nft jq openssl nsenter unshare curl; do
		command -v "$tool" >/dev/null || t_die "needs $tool: run tools/deps"
	done
	if [ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
		modprobe br_netfilter 2>/dev/null || t_die "this kernel has no br_netfilter, and kubeadm nodes do"
	fi
	mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf || t_die "cannot mount bpffs at /sys/fs/bpf"
}

# Namespaces of a test that was killed with SIGKILL: their names hold its pid.
t_sweep_stale() {
	local ns pid
	for ns in $(ip netns list | cut -d' ' -f1 | grep -E "^$1-[0-9]+-" || true); do
		pid=${ns#"$1"-}; pid=${pid%%-*}
		kill -0 "$pid" 2>/dev/null && continue
		t_kill_namespace "$ns"
		ip netns del "$ns" 2>/dev/null || true
		rm -rf "/tmp/$1-$pid".?????? "/sys/fs/bpf/egret-test/$1-$pid"
	done
}

t_kill_namespace() {
	local pids
	pids=$(ip netns pids "$1" 2>/dev/null) || return 0
	# shellcheck disable=SC2086 # one pid a word
	[ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true
}

topology_up() {
	local prefix=${1:?usage: topology_up PREFIX POD...} spec; shift
	t_require
	t_sweep_stale "$prefix"
	T=$prefix-$$ T_NODE=$T-node T_INET=$T-inet
	# Once it ends, nothing interrupts its clean-up: not a second Ctrl-C, not the HUP of a terminal that closes. What the clean-up
	# runs ignores those signals too, and finishes; what spawn started did so before, and ends by SIGTERM.
	trap 'T_STATUS=$?; trap "" INT TERM HUP; trap - EXIT; topology_down; exit $T_STATUS' EXIT
	trap 'trap "" INT TERM HUP; exit 130' INT
	trap 'trap "" INT TERM HUP; exit 143' TERM HUP
	T_RUN=$(mktemp -d "/tmp/$T.XXXXXX") || t_die "cannot make a directory in /tmp"
	chmod 755 "$T_RUN" # pod_user reads certificates there; credentials/ is closed by itself
	t_make_inet
	t_make_node
	printf 'nameserver %s\noptions timeout:2 attempts:2\n' "$(t_dns_address)" > "$T_RUN/resolv.conf"
	for spec in "$@"; do
		case $spec in
		*:routed) pod_add "${spec%:*}" routed ;;
		*:bridge | *:*) pod_add "${spec%:*}" "${spec#*:}" ;;
		*) pod_add "$spec" bridge ;;
		esac
	done
}

# Also called by hand where a test builds several topologies one after the other.
topology_down() {
	local pid ns hook
	for hook in "${T_BEFORE_DOWN[@]}"; do "$hook"; done
	for pid in "${T_PIDS[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
	for pid in "${T_PIDS[@]}"; do t_await_exit "$pid"; done
	T_PIDS=()
	for ns in "$T_NODE" "$T_INET" "${!T_POD_INDEX[@]}"; do
		[ -n "${T_POD_INDEX[$ns]:-}" ] && ns=$T-$ns
		t_kill_namespace "$ns"
		ip netns del "$ns" 2>/dev/null || true
	done
	# Of an egretd that could not take its own namespace away.
	if [ -e "/run/netns/$T-agent" ]; then
		echo "topology: the agent's namespace $T-agent was left behind" >&2
		ip netns del "$T-agent" 2>/dev/null || true
	fi
	T_POD_INDEX=() T_POD_SHAPE=()
	if [ -n "${T_KEEP:-}" ]; then echo "topology: kept $T_RUN" >&2; else rm -rf "${T_RUN:-}"; fi
}

# t_await_exit PID [SECONDS]: waits (2 seconds, when nothing is said), then SIGKILL: a test never hangs in its clean-up.
t_await_exit() {
	local i end=$((${2:-2} * 10))
	for i in $(seq $((end + 10))); do
		kill -0 "$1" 2>/dev/null || return 0
		[ "$(t_process_state "$1")" = Z ] && return 0
		[ "$i" = "$end" ] && kill -KILL "$1" 2>/dev/null
		sleep 0.1
	done
}
t_process_state() { sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null; }

t_netns_add() {
	ip netns add "$1" || t_die "cannot add namespace $1"
	ip -n "$1" link set lo up
	# Addresses must work at once: no duplicate address detection.
	nsenter --net="/run/netns/$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=0 \
		net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0 \
		net.ipv6.conf.default.accept_ra=0 net.ipv6.conf.default.router_solicitations=0
}

t_dns_address() { jq -r '.dns.addresses[0]' "$T_WORLD"; }

# The internet: every address of the world file on lo, one router address towards the node.
t_make_inet() {
	local address
	t_netns_add "$T_INET"
	while read -r address; do
		case $address in
		*:*) echo "address add $address/128 dev lo nodad" ;;
		*) echo "address add $address/32 dev lo" ;;
		esac
	done < <(jq -r '[.dns.addresses[], .hosts[].addresses[]] | unique[]' "$T_WORLD") |
		ip -n "$T_INET" -batch - || t_die "cannot add the addresses of $T_WORLD"
}

# The node: uplink eth0, bridge cni0, forwarding and masquerade as kubeadm with a bridge CNI sets them. The bridge has an
# address of its own, as the CNI plugin gives it: else it takes the lowest of its ports' and changes when a pod is added,
# and what other pods know of their gateway is wrong for half a minute.
t_make_node() {
	t_netns_add "$T_NODE"
	ip -n "$T_NODE" link add eth0 type veth peer name up0 netns "$T_INET"
	ip -n "$T_INET" -batch - <<-EOB
		link set up0 up
		address add 192.0.2.1/24 dev up0
		address add 2001:db8:0:1::1/64 dev up0 nodad
	EOB
	ip -n "$T_NODE" -batch - <<-EOB
		link set eth0 up
		address add $T_NODE_IP/24 dev eth0
		address add $T_NODE_IP6/64 dev eth0 nodad
		route add default via 192.0.2.1
		route add default via 2001:db8:0:1::1
		link add cni0 address 0a:58:0a:f4:07:01 type bridge forward_delay 0
		link set cni0 up
		address add $T_POD_NET4.1/24 dev cni0
		address add ${T_POD_NET6}:1/64 dev cni0 nodad
	EOB
	node sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
		net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1
	node nft -f - <<-EON || t_die "nft refused the node's rules"
		table inet cni {
			chain forward {
				type filter hook forward priority filter; policy drop;
				ct state established,related accept
				ip saddr $T_POD_NET4.0/24 accept
				ip daddr $T_POD_NET4.0/24 accept
				ip6 saddr ${T_POD_NET6}:/64 accept
				ip6 daddr ${T_POD_NET6}:/64 accept
			}
			chain postrouting {
				type nat hook postrouting priority srcnat; policy accept;
				ip saddr $T_POD_NET4.0/24 ip daddr != $T_POD_NET4.0/24 masquerade
				ip6 saddr ${T_POD_NET6}:/64 ip6 daddr != ${T_POD_NET6}:/64 masquerade
			}
		}
	EON
}

# pod_add POD [bridge|routed]: also while a test runs (a new pod on a node with Egret).
pod_add() {
	local pod=$1 shape=${2:-bridge} ns=$T-$1 link
	[ ${#pod} -le 10 ] || t_die "pod name '$pod' is longer than 10 characters (it becomes part of a link name)"
	[ -z "${T_POD_INDEX[$pod]:-}" ] || t_die "pod '$pod' is there already"
	T_POD_INDEX[$pod]=$((10 + ${#T_POD_INDEX[@]}))
	T_POD_SHAPE[$pod]=$shape
	link=$(pod_link "$pod")
	t_netns_add "$ns"
	case $shape in
	bridge) t_wire_bridge "$pod" "$ns" "$link" ;;
	routed) t_wire_routed "$pod" "$ns" "$link" ;;
	*) t_die "pod '$pod': shape is '$shape', expected bridge or routed" ;;
	esac
}

t_wire_bridge() {
	ip -n "$T_NODE" link add "$3" type veth peer name eth0 netns "$2"
	ip -n "$T_NODE" link set "$3" master cni0 up
	ip -n "$2" -batch - <<-EOB
		link set eth0 up
		address add $(pod_ip "$1")/24 dev eth0
		address add $(pod_ip6 "$1")/64 dev eth0 nodad
		route add default via $T_POD_NET4.1
		route add default via ${T_POD_NET6}:1
	EOB
}

# Calico's way: /32 and /128 in the pod, gateway 169.254.1.1 answered by proxy ARP, no bridge.
t_wire_routed() {
	ip -n "$T_NODE" link add "$3" address ee:ee:ee:ee:ee:ee type veth peer name eth0 netns "$2"
	ip -n "$T_NODE" -batch - <<-EOB
		link set $3 up
		address add fe80::ecee:eeff:feee:eeee/64 dev $3 nodad
		route add $(pod_ip "$1")/32 dev $3
		route add $(pod_ip6 "$1")/128 dev $3
	EOB
	node sysctl -qw "net.ipv4.conf.$3.proxy_arp=1" "net.ipv4.conf.$3.rp_filter=1" "net.ipv6.conf.$3.proxy_ndp=1"
	ip -n "$2" -batch - <<-EOB
		link set eth0 up
		address add $(pod_ip "$1")/32 dev eth0
		address add $(pod_ip6 "$1")/128 dev eth0 nodad
		route add 169.254.1.1 dev eth0 scope link
		route add default via 169.254.1.1 dev eth0
		route add default via fe80::ecee:eeff:feee:eeee dev eth0
	EOB
}

pod_ip() { echo "$T_POD_NET4.${T_POD_INDEX[$1]}"; }
pod_ip6() { echo "${T_POD_NET6}:${T_POD_INDEX[$1]}"; }
pod_link() { # name of the host side, in the node's namespace
	case ${T_POD_SHAPE[$1]} in routed) echo "cali-$1" ;; *) echo "veth-$1" ;; esac
}

node() { nsenter "${T_NODE_ENTER[@]}" --net="/run/netns/$T_NODE" "$@"; }
inet() { nsenter --net="/run/netns/$T_INET" "$@"; }

# pod POD CMD...: as root of the pod; pod_user POD CMD...: as nobody, with no capability at all.
pod() {
	local netns=${T_POD_NETNS[$1]:-/run/netns/$T-$1}; shift
	# shellcheck disable=SC2016 # expanded by the inner shell
	nsenter --net="$netns" unshare -m sh -c 'f=$0; mount --bind "$f" "$(readlink -f /etc/resolv.conf)" && exec "$@"' \
		"$T_RUN/resolv.conf" "$@"
}
pod_user() {
	local name=$1; shift
	pod "$name" setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
}

# pod_register DIR POD NAMESPACE LABELS_JSON [SERVICE_ACCOUNT]: one pod's file for --pods-dir, written whole.
pod_register() {
	local dir=$1 pod=$2 file
	mkdir -p "$dir"
	file=$dir/$3-$pod.json
	jq -n --arg namespace "$3" --arg name "$pod" --argjson labels "${4:-{\}}" --arg sa "${5:-default}" \
		--arg uid "$(t_uid "$3/$pod")" --arg ip "$(pod_ip "$pod")" --arg ip6 "$(pod_ip6 "$pod")" \
		--arg link "$(pod_link "$pod")" \
		'{namespace: $namespace, name: $name, uid: $uid, labels: $labels, serviceAccount: $sa, ips: [$ip, $ip6], interface: $link}' \
		> "$dir/.$pod.tmp" || t_die "pod_register $pod: labels are not JSON: ${4:-}"
	mv "$dir/.$pod.tmp" "$file"
}
t_uid() { printf '%s' "$1" | md5sum | sed -E 's/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/\1-\2-\3-\4-\5/'; }

# spawn NAME CMD...: in the background, output to $T_RUN/NAME.log, killed by topology_down. Sets SPAWNED.
# CMD is a program or one of node, inet, pod.
spawn() {
	local name=$1; shift
	case $1 in
	node) shift; set -- nsenter "${T_NODE_ENTER[@]}" --net="/run/netns/$T_NODE" "$@" ;;
	inet) shift; set -- nsenter --net="/run/netns/$T_INET" "$@" ;;
	esac
	"$@" > "$T_RUN/$name.log" 2>&1 < /dev/null &
	SPAWNED=$!
	T_PIDS+=("$SPAWNED")
}

# await SECONDS CMD...: until CMD succeeds; for readiness, never as an assertion about speed.
await() {
	local end=$((SECONDS + $1)); shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

# shellcheck source=tests/lib/world.sh
. "$T_ROOT/tests/lib/world.sh"
