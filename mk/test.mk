# SPDX-License-Identifier: Apache-2.0
# `make check` tests everything, `make demo` tells the story, `make deps` installs what both need.

.PHONY: deps
deps:
	$(Q)tools/deps

# Every unit and fault program, without running it.
.PHONY: test-programs
test-programs: $(UNIT_BINS)

# Needs root. The last line is the total over all suites.
.PHONY: check
check:
	$(Q)tools/deps
	$(Q)$(MAKE) --no-print-directory all test-programs
	$(Q)tests/run --build $(O) --all

# One suite: make check-self, check-unit, check-fault, check-bpf, check-net, check-sdk, check-fuzz.
.PHONY: check-self check-unit check-fault check-bpf check-net check-sdk check-fuzz
check-self check-unit check-fault check-bpf check-net check-sdk check-fuzz: check-%:
	$(Q)tools/deps
	$(Q)$(MAKE) --no-print-directory all test-programs
	$(Q)tests/run --build $(O) $*

.PHONY: demo
demo:
	$(Q)tools/deps --demo
	$(Q)$(MAKE) --no-print-directory all
	$(Q)EGRET_BUILD=$(abspath $(O)) tools/demo

# Half an hour of mixed load, plain or under a sanitizer (make soak SAN=address,undefined O=build-asan).
SOAK_SECONDS ?= 1800
.PHONY: soak
soak:
	$(Q)tools/deps
	$(Q)$(MAKE) --no-print-directory all net-helpers
	$(Q)$(SAN_ENV) SOAK_SECONDS=$(SOAK_SECONDS) tests/run --build $(O) --limit $$(($(SOAK_SECONDS) + 600)) -v tests/net/soak.sh
