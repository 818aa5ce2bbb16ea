# SPDX-License-Identifier: Apache-2.0
# Judges many policies at once, for tests/net/policy_schema.sh: see tests/lib/policy_judge.c. Never installed.
$(O)/tests/policy_judge: tests/lib/policy_judge.c $(foreach r,$(UNIT_policy),$(O)/lib$(r).a)
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP $< $(LDFLAGS) -Wl,--start-group $(foreach r,$(UNIT_policy),$(O)/lib$(r).a) -Wl,--end-group $(LDLIBS) -o $@
net-helpers: $(O)/tests/policy_judge
