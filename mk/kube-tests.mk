# SPDX-License-Identifier: Apache-2.0
# What tests/net/kube_api.sh and kube_events.sh run.
$(O)/tests/net/kube_driver: tests/net/kube_driver.c $(foreach r,$(UNIT_kube),$(O)/lib$(r).a)
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP $< $(LDFLAGS) -Wl,--start-group $(foreach r,$(UNIT_kube),$(O)/lib$(r).a) -Wl,--end-group $(LDLIBS) -o $@
net-helpers: $(O)/tests/net/kube_driver
