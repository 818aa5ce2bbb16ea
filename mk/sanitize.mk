# SPDX-License-Identifier: Apache-2.0
# The same tests under sanitizers, each in a build directory of its own.
#
#   make asan   everything `make check` does, under AddressSanitizer and UBSan
#   make tsan   unit and fault tests under ThreadSanitizer, and a whole agent under a mixed load: BPF, SDKs and the
#               rest add no threads to look at. A gateway ends at its first report, and the test with it.
SAN_ENV = ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:allocator_may_return_null=1 \
	UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=second_deadlock_stack=1:halt_on_error=1

.PHONY: asan tsan
asan:
	$(Q)$(SAN_ENV) $(MAKE) --no-print-directory O=build-asan SAN=address,undefined check
TSAN_NET = load agent_reload agent_renew soak
tsan:
	$(Q)$(SAN_ENV) $(MAKE) --no-print-directory O=build-tsan SAN=thread check-unit check-fault
	$(Q)$(SAN_ENV) tests/run --build build-tsan $(TSAN_NET:%=tests/net/%.sh)
