# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A container runtime on the node of a topology: Debian's containerd, runc and bridge plugin. Source it after topology.sh and egret.sh;
# see README.md beside it.
#
#   runtime_require             skips the whole test, with the reason, where it can't be
#   runtime_up                  after topology_up; returns when pods can be made
#   cri COMMAND...              cri.mjs against it
#   cri_pod POD NAMESPACE UID   a pod whose one container waits; `pod POD CMD` and what rests on it work with it
#
# It runs in the node's network namespace and in a mount namespace with /run/netns, /run/containerd and /var/lib/cni of its own, so that
# nothing of the machine is touched; `node` enters that one, too, from then on. Everything else lies in $T_RUN/runtime.
R_DIR='' R_SOCKET='' R_HOLDER='' R_CGROUP=''
R_IMAGE=egret.test/pod:1

runtime_require() {
	local tool
	for tool in containerd ctr runc containerd-shim-runc-v2 /usr/lib/cni/bridge; do
		command -v "$tool" > /dev/null || skip_all "needs $tool: run tools/deps"
	done
	[ -x "$EGRET_BUILD/tests/net/container_pod" ] || skip_all "container_pod is not built: run make net-helpers"
}

# The image of every container: container_pod, and a root directory over which a container may mount the machine's /usr.
t_make_image() {
	local root=$R_DIR/image.root d
	mkdir -p "$root"/{dev,proc,sys,tmp,usr,etc,run/egret,run/egret-node,run/netns,var/lib/cni,egret}
	for d in bin sbin lib lib64; do ln -s "usr/$d" "$root/$d"; done
	cp "$EGRET_BUILD/tests/net/container_pod" "$root/container_pod"
	mkdir "$R_DIR/image"
	tar -C "$root" -cf "$R_DIR/image/layer.tar" .
	jq -n --arg id "sha256:$(sha256sum "$R_DIR/image/layer.tar" | cut -d' ' -f1)" --arg arch "$(dpkg --print-architecture)" \
		'{architecture: $arch, os: "linux", config: {Entrypoint: ["/container_pod", "pause"]}, rootfs: {type: "layers", diff_ids: [$id]}}' \
		> "$R_DIR/image/config.json"
	jq -n --arg tag "$R_IMAGE" '[{Config: "config.json", RepoTags: [$tag], Layers: ["layer.tar"]}]' > "$R_DIR/image/manifest.json"
	tar -C "$R_DIR/image" -cf "$R_DIR/image.tar" manifest.json config.json layer.tar
}

runtime_up() {
	R_DIR=$T_RUN/runtime R_SOCKET=$T_RUN/runtime/containerd.sock R_CGROUP=/egret-test-$T
	mkdir -p "$R_DIR/cni"
	cat > "$R_DIR/config.toml" <<-EOC
		version = 2
		root = "$R_DIR/root"
		state = "$R_DIR/state"
		disabled_plugins = ["io.containerd.internal.v1.opt"]
		[grpc]
		  address = "$R_SOCKET"
		[plugins."io.containerd.grpc.v1.cri"]
		  sandbox_image = "$R_IMAGE"
		  disable_apparmor = true
		  # A machine without SYS_RESOURCE (a container itself) can't be as the kubelet asks: -998.
		  restrict_oom_score_adj = true
		[plugins."io.containerd.grpc.v1.cri".cni]
		  bin_dir = "/usr/lib/cni"
		  conf_dir = "$R_DIR/cni"
	EOC
	# Few addresses, so that they are another pod's again and again.
	jq -n --arg net4 "$T_POD_NET4" --arg net6 "$T_POD_NET6" '{cniVersion: "1.0.0", name: "podnet", plugins: [{type: "bridge", bridge: "cni0", isGateway: true, hairpinMode: true,
		ipam: {type: "host-local", routes: [{dst: "0.0.0.0/0"}, {dst: "::/0"}], ranges: [
			[{subnet: "\($net4).0/24", gateway: "\($net4).1", rangeStart: "\($net4).100", rangeEnd: "\($net4).115"}],
			[{subnet: "\($net6):/64", gateway: "\($net6):1", rangeStart: "\($net6):100", rangeEnd: "\($net6):10f"}]]}}]}' > "$R_DIR/cni/podnet.conflist"
	t_make_image
	spawn runtime-mounts unshare --mount --propagation slave bash -c '
		mkdir -p /run/netns /run/containerd /var/lib/cni
		for d in /run/netns /run/containerd /var/lib/cni; do mount -t tmpfs -o mode=755 tmpfs $d || exit 1; done
		mount --make-shared /run/netns && touch "$0" && exec sleep infinity' "$R_DIR/mounted"
	R_HOLDER=$SPAWNED
	await 10 test -e "$R_DIR/mounted" || t_die "the runtime's mounts could not be made: $(cat "$T_RUN/runtime-mounts.log")"
	T_NODE_ENTER=("--mount=/proc/$R_HOLDER/ns/mnt")
	spawn containerd node containerd --config "$R_DIR/config.toml"
	await 30 node ctr -a "$R_SOCKET" version || { cat "$T_RUN/containerd.log" >&2; t_die "containerd did not start"; }
	node ctr -a "$R_SOCKET" -n k8s.io images import "$R_DIR/image.tar" > "$R_DIR/import.log" 2>&1 || { cat "$R_DIR/import.log" >&2; t_die "the image could not be imported"; }
	await 30 cri ready || { cat "$T_RUN/containerd.log" >&2; t_die "containerd is not ready for pods"; }
}
cri() { "$T_NODEJS" "$T_ROOT/tests/lib/cri.mjs" "$R_SOCKET" "$@"; }
# cri_pod_config NAME NAMESPACE UID [NETWORK]: a PodSandboxConfig; NETWORK is POD or NODE.
cri_pod_config() {
	jq -n --arg name "$1" --arg namespace "$2" --arg uid "$3" --arg network "${4:-POD}" --arg dir "$R_DIR" --arg parent "$R_CGROUP" --arg dns "$(t_dns_address)" \
		'{metadata: {$name, $namespace, $uid}, hostname: (if $network == "NODE" then "" else $name end), log_directory: "\($dir)/\($uid)", dns_config: {servers: [$dns]},
		linux: {cgroup_parent: $parent, security_context: {namespace_options: {$network}, seccomp: {}}}}'
}
cri_pod() {
	local id result
	cri_pod_config "$@" > "$R_DIR/$3.json"
	id=$(cri pod "$R_DIR/$3.json") || t_die "the pod $1 could not be made"
	result=/proc/$R_HOLDER/root/var/lib/cni/results/podnet-$id-eth0
	T_POD_NETNS[$1]=/proc/$R_HOLDER/root$(jq -r '[.result.interfaces[].sandbox | values][0] | sub("^/var"; "")' "$result")
}

# Also of a test that was ended in the middle: what the runtime does not end is found by its control group.
runtime_down() {
	local directory pids
	[ -n "$R_HOLDER" ] || return 0
	timeout 60 "$T_NODEJS" "$T_ROOT/tests/lib/cri.mjs" "$R_SOCKET" clear > "$R_DIR/clear.log" 2>&1 || sed 's/^/containerd.sh: /' "$R_DIR/clear.log" >&2
	for directory in $(find /sys/fs/cgroup -depth -type d -path "*$R_CGROUP*" 2> /dev/null); do
		pids=$(cat "$directory/cgroup.procs")
		# shellcheck disable=SC2086 # one pid a word
		[ -z "$pids" ] || { echo "containerd.sh: left by the runtime: $pids" >&2; kill -KILL $pids; sleep 0.5; }
		rmdir "$directory"
	done
	R_HOLDER=''
}
T_BEFORE_DOWN=(runtime_down "${T_BEFORE_DOWN[@]}")
