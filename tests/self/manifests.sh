#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# manifests/: what `kubectl kustomize` makes of each, by the types of Kubernetes' API; and what of them must hold for the agent to be
# safe: its rights, its command line, its probes, its policy.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
. tests/lib/kubectl.sh
BUILD=${EGRET_BUILD:-build}
PACKAGES=tests/manifests/node_modules
[ -d $PACKAGES/kubernetes-models ] || skip_all "the types of Kubernetes' API are not installed (tools/deps)"
[ -x "$BUILD/egretd" ] || skip_all "$BUILD/egretd is not built: run make"
node=$(tools/deps --node) || skip_all "no Node.js that is new enough (tools/deps)"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
KUBECTL=$(kubectl_unpack "$scratch")
mkdir "$scratch/out" "$scratch/bad"
judge() { "$node" tests/manifests/check.mjs "$@"; }
name_of() { local n=${1#manifests}; n=${n#/}; echo "${n:-all}" | tr / -; }

echo "# each renders"
rendered=0
while read -r file; do
	dir=${file%/kustomization.yaml}
	name=$(name_of "$dir")
	if [ "$name" = trust-configmap ]; then # it has a place for a file that only a cluster has
		cp -r "$dir" "$scratch/configmap"
		echo "-----BEGIN CERTIFICATE-----" > "$scratch/configmap/ca-certificates.crt"
		dir=$scratch/configmap
	fi
	check "$name" "$KUBECTL" kustomize "$dir" -o "$scratch/out/$name.yaml"
	rendered=$((rendered + 1))
done < <(find manifests -name kustomization.yaml | sort)
at_least "all of them" $rendered 11
check "by the types of the API" judge "$scratch"/out/*.yaml

echo "# the judge refuses what the API would"
of() { "$node" -e '
	const { parseAllDocuments } = await import(process.argv[1]);
	const fs = await import("node:fs");
	for (const d of parseAllDocuments(fs.readFileSync(process.argv[2], "utf8"))) console.log(JSON.stringify(d.toJS()));
' --input-type=module "$PWD/$PACKAGES/yaml/dist/index.js" "$1"; }
of "$scratch/out/all.yaml" > "$scratch/all.jsonl"
daemonset() { jq -c 'select(.kind == "DaemonSet")' "${1:-$scratch/all.jsonl}"; }
while read -r what change; do
	daemonset | jq "$change" > "$scratch/bad/$what.yaml"
	out=$(judge "$scratch/bad/$what.yaml")
	check_not "$what" test $? = 0
	has "$what is named" "$out" "egret-system/egret: "
done <<-'EOT'
	unknown-key .spec.template.spec.containers[0].imagePullPolicyy="Always"
	unknown-key-deep .spec.template.spec.volumes[0].configMap.nam="x"
	missing-key del(.spec.selector)
	wrong-type .spec.template.spec.hostNetwork="yes"
	unknown-kind .kind="DaemonSets"
EOT

echo "# what the agent may"
rules() { jq -c 'select(.kind == "ClusterRole") | .rules' "$scratch/all.jsonl"; }
is "of the API: pods and namespaces, to list and to watch; Events, to create and to patch" "$(rules)" \
	'[{"apiGroups":[""],"resources":["pods","namespaces"],"verbs":["list","watch"]},{"apiGroups":["events.k8s.io"],"resources":["events"],"verbs":["create","patch"]}]'
is "nothing else of rights" "$(jq -r 'select(.kind | test("Role")) | .kind' "$scratch/all.jsonl" | sort | tr '\n' ' ')" "ClusterRole ClusterRoleBinding "
container() { daemonset "$@" | jq -c '.spec.template.spec.containers[0]'; }
is "one container" "$(daemonset | jq '[.spec.template.spec | .containers, .initContainers // []] | flatten | length')" 1
is "its capabilities" "$(container | jq -c '.securityContext.capabilities')" '{"add":["BPF","NET_ADMIN","SETUID","SETGID","KILL","SYS_ADMIN"],"drop":["ALL"]}'
is "nothing written to its root, no way up" "$(container | jq -c '.securityContext | [.readOnlyRootFilesystem, .allowPrivilegeEscalation, .privileged // false, .seccompProfile.type]')" '[true,false,false,"RuntimeDefault"]'
of "$scratch/out/overlays-minimal.yaml" > "$scratch/minimal.jsonl"
is "minimal: without SYS_ADMIN" "$(container "$scratch/minimal.jsonl" | jq -c '.securityContext.capabilities.add')" '["BPF","NET_ADMIN","PERFMON","SETUID","SETGID","KILL"]'
has "minimal: the mark way" "$(container "$scratch/minimal.jsonl" | jq -r '.args[]')" "--mode=mark"
of "$scratch/out/overlays-host-network.yaml" > "$scratch/host.jsonl"
is "host-network: no right is added" "$(container "$scratch/host.jsonl" | jq -c '.securityContext')" "$(container | jq -c '.securityContext')"
is "host-network: the node's cgroups, read only" "$(container "$scratch/host.jsonl" | jq -c '.volumeMounts[] | select(.name == "cgroup") | [.mountPath, .readOnly]')" '["/host/cgroup",true]'
of "$scratch/out/overlays-observe.yaml" > "$scratch/observe.jsonl"
is "observe: BPF, NET_ADMIN, and PERFMON for the start" "$(container "$scratch/observe.jsonl" | jq -c '.securityContext.capabilities')" '{"add":["BPF","NET_ADMIN","PERFMON"],"drop":["ALL"]}'
is "observe: what base says of its confinement holds" "$(container "$scratch/observe.jsonl" | jq -c '.securityContext | [.readOnlyRootFilesystem, .allowPrivilegeEscalation, .privileged // false, .seccompProfile.type, .appArmorProfile]')" '[true,false,false,"RuntimeDefault",null]'
is "observe: no Secret, no CA, no policy" "$(jq -c '.. | objects | (.secretName // .secretKeyRef // (select(.mountPath? // "" | startswith("/etc/egret")) | .mountPath) // (.configMap.name? | select(. == "egret-policies"))) | select(.)' "$scratch/observe.jsonl")$(jq -r 'select(.kind == "Secret" or .kind == "ConfigMap") | .metadata.name' "$scratch/observe.jsonl")" ""
is "observe: one at a time on a node" "$(daemonset "$scratch/observe.jsonl" | jq -c '.spec.updateStrategy.rollingUpdate')" '{"maxSurge":0,"maxUnavailable":"10%"}'
of "$scratch/out/overlays-observe-prometheus.yaml" > "$scratch/watched.jsonl"
is "observe-prometheus: observe's rights" "$(container "$scratch/watched.jsonl" | jq -c '.securityContext')" "$(container "$scratch/observe.jsonl" | jq -c '.securityContext')"
is "observe-prometheus: no Secret but the token of the metrics page" "$(jq -c '.. | objects | .secretName // .secretKeyRef | select(.)' "$scratch/watched.jsonl")" '"egret-metrics"'
is "observe-prometheus: a PodMonitor, rules, a dashboard" "$(jq -r 'select(.kind | test("PodMonitor|PrometheusRule|ConfigMap")) | .kind' "$scratch/watched.jsonl" | sort | tr '\n' ' ')" "ConfigMap PodMonitor PrometheusRule "
is "observe: it only observes" "$(container "$scratch/observe.jsonl" | jq -r '.args[0]')" --observe
is "no port is declared, which two at once on a node would both want" "$(container | jq '.ports // [] | length')" 0
is "an update has both at once" "$(daemonset | jq -c '.spec.updateStrategy.rollingUpdate')" '{"maxSurge":1,"maxUnavailable":0}'
is "the token is the one that is mounted for it alone" "$(daemonset | jq -c '[.spec.template.spec.automountServiceAccountToken, ([.spec.template.spec.volumes[] | select(.projected) | .projected.sources[0].serviceAccountToken.expirationSeconds])]')" '[false,[3600]]'
is "no secret in the environment" "$(container | jq -c '[.env[] | select(.valueFrom.secretKeyRef or (.value // "" | test("[Kk]ey|[Tt]oken")))]')" "[]"
mounted() { daemonset "$1" | jq -r '.spec.template.spec as $s | $s.containers[0].volumeMounts[].name | select(. as $n | $s.volumes | map(.name) | index($n) | not)'; }
for overlay in all overlays-kubeadm overlays-host-network overlays-minimal overlays-observe overlays-observe-prometheus overlays-prometheus overlays-cert-manager; do
	of "$scratch/out/$overlay.yaml" > "$scratch/one.jsonl"
	is "$overlay: each mount has its volume" "$(mounted "$scratch/one.jsonl")" ""
	# The agent's own parser takes the command line (--help ends before it begins).
	container "$scratch/one.jsonl" | jq -r '.args[]' | sed 's/\$(NODE_NAME)/node-1/; s/\$(NODE_ADDRESS)/192.0.2.1/' > "$scratch/args"
	mapfile -t args < "$scratch/args"
	check "$overlay: egretd takes its command line" "$BUILD/egretd" "${args[@]}" --help
	is "$overlay: what it mounts, it names" "$(container "$scratch/one.jsonl" | jq -r '.volumeMounts[] | select(.mountPath | startswith("/etc/egret/")) | .mountPath' |
		while read -r path; do grep -q -- "=$path" "$scratch/args" || echo "$path"; done)" ""
done
check_not "egretd would refuse another one" "$BUILD/egretd" --kubernets --help
while read -r probe; do
	# With no agent here they say no; wrong arguments would be 2.
	mapfile -t command < <(container | jq -r ".${probe}Probe.exec.command[]")
	"$BUILD/egretctl" "${command[@]:1}" --run-dir "$scratch" > /dev/null 2>&1
	is "$probe: egretctl takes its command" $? 1
done <<< $'startup\nliveness\nreadiness'

echo "# the policy that comes with it"
mkdir "$scratch/policies"
jq -r 'select(.kind == "ConfigMap" and .metadata.name == "egret-policies") | .data["governed-namespaces.json"]' "$scratch/all.jsonl" > "$scratch/policies/governed-namespaces.json"
check "egretctl check" "$BUILD/egretctl" check "$scratch/policies"
has "a pod of a labelled namespace is governed" "$("$BUILD/egretctl" explain --policy-dir "$scratch/policies" --namespace shop --namespace-labels egret=governed --host api.openai.com --path /v1/chat/completions --model gpt-4o)" "governed-namespaces"
hasnt "one of another is not" "$("$BUILD/egretctl" explain --policy-dir "$scratch/policies" --namespace shop --host api.openai.com --path /v1/chat/completions --model gpt-4o)" "governed by governed-namespaces"

echo "# alert rules and dashboard"
of "$scratch/out/overlays-prometheus.yaml" > "$scratch/prometheus.jsonl"
known=$(cat docs/metrics.md)
for metric in $({ jq -r 'select(.kind == "PrometheusRule") | .spec.groups[].rules[].expr' "$scratch/prometheus.jsonl"; jq -r '.panels[].targets[].expr' manifests/components/prometheus/dashboard.json; } |
	grep -oE 'egret_[a-z_]+' | sed -E 's/_(sum|count|bucket)$//' | sort -u); do
	has "docs/metrics.md has $metric" "$known" "$metric"
done
checks_done
