# SPDX-License-Identifier: Apache-2.0
# `make e2e` runs tests/e2e against the cluster that KUBECONFIG names, and says that it skips where none is given. tests/e2e/README.md.
.PHONY: e2e
e2e: all
	$(Q)EGRET_BUILD=$(abspath $(O)) tests/e2e/run.sh
