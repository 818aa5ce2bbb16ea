# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# An agent with --kubernetes: its CNI cache and its API server. Source it after agent_lib.sh, topology_up, world_up and egret_prepare.
CNI=$E_DIR/cni API_TOKEN=$T_RUN/kube.token KUBE=$T_RUN/kube
mkdir -p "$CNI" "$KUBE"
echo "$T-token-one" > "$API_TOKEN"

"$T_ROOT/tests/mock/make-kube-certs" "$KUBE" IP:127.0.0.1 > "$T_RUN/kube-certs.log" 2>&1 || t_die "no certificates for the API server"
# API_OBJECTS: a directory of what there is from the beginning.
api_up() {
	rm -f "$KUBE/ready"
	spawn kube-api node "$T_NODEJS" "$T_ROOT/tests/mock/kube-api.mjs" --cert "$KUBE/server.pem" --token-file "$API_TOKEN" --ready "$KUBE/ready" \
		--node node-1 ${API_OBJECTS:+--dir "$API_OBJECTS"} --bookmark-ms 2000 --listen "127.0.0.1:${API_PORT:-0}" --control "127.0.0.1:0"
	API_PID=$SPAWNED
	await 10 test -s "$KUBE/ready" || t_die "the API server did not start"
	API_PORT=$(jq .port "$KUBE/ready") API_CONTROL=$(jq .control "$KUBE/ready")
}
api() { node curl -sS --max-time 5 -X POST -d "$2" "http://127.0.0.1:$API_CONTROL/_test/$1" > "$T_RUN/api.out"; }
# api_pod NAME UID NAMESPACE LABELS [SPEC]
api_pod() { api pods "$(jq -n --arg n "$1" --arg u "$2" --arg s "$3" --argjson l "$4" --argjson spec "${5:-{\}}" '{metadata: {name: $n, uid: $u, namespace: $s, labels: $l}, spec: $spec}')"; }
api_namespace() { api namespaces "$(jq -n --arg n "$1" --argjson l "$2" '{metadata: {name: $n, labels: $l}}')"; }
# cni_pod POD NAMESPACE UID [NAME]: what libcni writes when the pod's network is there.
cni_pod() {
	jq -n --arg ns "$2" --arg name "${4:-$1}" --arg uid "$3" --arg link "$(pod_link "$1")" --arg netns "/run/netns/$T-$1" --arg ip "$(pod_ip "$1")/24" --arg ip6 "$(pod_ip6 "$1")/64" \
		'{kind: "cniCacheV1", containerId: "c-\($uid)", ifName: "eth0", networkName: "podnet",
		cniArgs: [["IgnoreUnknown", "1"], ["K8S_POD_NAMESPACE", $ns], ["K8S_POD_NAME", $name], ["K8S_POD_UID", $uid]],
		result: {cniVersion: "1.0.0", interfaces: [{name: "cni0", mac: "1a:25:8c:7e:56:e0"}, {name: $link}, {name: "eth0", sandbox: $netns}],
		ips: [{address: $ip, interface: 2}, {address: $ip6, interface: 2}]}}' > "$CNI/.new" && mv "$CNI/.new" "$CNI/podnet-c-$3-eth0"
}
cni_gone() { rm -f "$CNI/podnet-c-$1-eth0"; }
# kube_up [OPTION...]
kube_up() { egret_up --kubernetes --node-name node-1 --cni-dir "$CNI" --kube-api "127.0.0.1:$API_PORT" --kube-token "$API_TOKEN" --kube-ca "$KUBE/ca.crt" "$@"; }
status() { ctl status --json | jq -r "$1"; }
# state NAMESPACE/NAME
state() { ctl pods --json | jq -r --arg p "$1" '[.pods[] | select("\(.namespace)/\(.name)" == $p) | .state] | join(",")'; }
is_state() { [ "$(state "$1")" = "$2" ]; }
becomes() { check "$1" await 15 is_state "$2" "$3"; }
has_logged() { has "$1" "$(jq -r .message "$T_RUN/egretd.log" 2> /dev/null)" "$2"; }
synced() { [ "$(status .kubernetes.current)" = true ]; }
doctor() { ctl doctor --json | jq -r --arg c "$1" '.checks[] | select(.check == $c) | "\(.result) \(.text)"'; }
