# SPDX-License-Identifier: Apache-2.0
# Programs that tests/net/datapath_*.sh run.
NET_HELPERS = $(patsubst tests/%.c,$(O)/tests/%,$(filter-out %.bpf.c,$(wildcard tests/net/datapath_*.c)))
$(O)/tests/net/datapath_%: tests/net/datapath_%.c $(foreach r,$(UNIT_datapath),$(O)/lib$(r).a)
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -Wno-missing-prototypes -MMD -MP $< $(LDFLAGS) -Wl,--start-group $(foreach r,$(UNIT_datapath),$(O)/lib$(r).a) -Wl,--end-group $(LDLIBS) -o $@
NET_BPF = $(patsubst tests/%.bpf.c,$(O)/tests/%.bpf.o,$(wildcard tests/net/datapath_*.bpf.c))
$(O)/tests/net/datapath_%.bpf.o: tests/net/datapath_%.bpf.c
	@mkdir -p $(@D)
	@echo "  BPF     $<"
	$(Q)$(BPF_CC) $(BPF_CFLAGS) -c $< -o $@
.PHONY: net-helpers
net-helpers: $(NET_HELPERS) $(NET_BPF)
test-programs: net-helpers
