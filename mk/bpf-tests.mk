# SPDX-License-Identifier: Apache-2.0
# The BPF programs by test run. Needs root; makes its own network namespace.
BPF_TEST_SRCS = $(wildcard tests/bpf/*.c)
BPF_TEST_OBJS = $(BPF_TEST_SRCS:%.c=$(O)/obj/%.o)

$(O)/obj/tests/bpf/%.o: tests/bpf/%.c $(SKELS)
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CPPFLAGS) -Itests/bpf $(CFLAGS) -Wno-missing-field-initializers -MMD -MP -c $< -o $@

$(O)/tests/bpf/bpf-test: $(BPF_TEST_OBJS)
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS) $^ -lbpf -lelf -lz -o $@

.PHONY: bpf-test
bpf-test: $(O)/tests/bpf/bpf-test
	$(Q)$<
