# SPDX-License-Identifier: Apache-2.0
# The BPF programs by test run. Needs root; makes its own network namespace.
BPF_TEST_SRCS = $(filter-out %.bpf.c,$(wildcard tests/bpf/*.c))
BPF_TEST_PROGS = $(patsubst tests/bpf/%.bpf.c,%,$(wildcard tests/bpf/*.bpf.c))
BPF_TEST_OBJS = $(BPF_TEST_SRCS:%.c=$(O)/obj/%.o)

$(BPF_TEST_PROGS:%=$(O)/bpf/%.bpf.o): $(O)/bpf/%.bpf.o: tests/bpf/%.bpf.c
	@mkdir -p $(@D)
	@echo "  BPF     $<"
	$(Q)$(BPF_CC) $(BPF_CFLAGS) -MMD -MP -MT $@ -c $< -o $@

$(O)/obj/tests/bpf/%.o: tests/bpf/%.c $(SKELS) $(BPF_TEST_PROGS:%=$(O)/skel/%.skel.h)
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CPPFLAGS) -Itests/bpf $(CFLAGS) -Wno-missing-field-initializers -MMD -MP -c $< -o $@

$(O)/tests/bpf/bpf-test: $(BPF_TEST_OBJS) $(O)/obj/datapath/skb_layout.o
	@mkdir -p $(@D)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS) $^ -lbpf -lelf -lz -o $@

.PHONY: bpf-test
bpf-test: $(O)/tests/bpf/bpf-test
	$(Q)$<
