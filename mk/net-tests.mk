# SPDX-License-Identifier: Apache-2.0
# Programs that the tests in tests/net/ run.
NET_HELPERS = $(patsubst tests/%.c,$(O)/tests/%,$(wildcard tests/net/*.c))
$(O)/tests/net/%: tests/net/%.c $(foreach r,$(UNIT_datapath),$(O)/lib$(r).a)
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -Wno-missing-prototypes -MMD -MP $< $(LDFLAGS) -Wl,--start-group $(foreach r,$(UNIT_datapath),$(O)/lib$(r).a) -Wl,--end-group $(LDLIBS) -o $@
.PHONY: net-helpers
net-helpers: $(NET_HELPERS)
test-programs: net-helpers
