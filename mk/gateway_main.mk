# SPDX-License-Identifier: Apache-2.0
# The data plane as a program of its own, for tests: see tests/lib/gateway_main.c. Never installed.
$(O)/tests/gateway_main: tests/lib/gateway_main.c $(foreach r,$(UNIT_front),$(O)/lib$(r).a)
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP $< $(LDFLAGS) -Wl,--wrap=eg_stream_local -Wl,--start-group $(foreach r,$(UNIT_front),$(O)/lib$(r).a) -Wl,--end-group $(LDLIBS) -o $@
