# SPDX-License-Identifier: Apache-2.0
# Frames HTTP/1.1 messages as proto/ does, for tests/net/h1_and_node.sh. Never installed.
$(O)/tests/net/h1_and_node: tests/net/h1_and_node.c $(foreach r,$(UNIT_proto),$(O)/lib$(r).a)
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP $< $(LDFLAGS) -Wl,--start-group $(foreach r,$(UNIT_proto),$(O)/lib$(r).a) -Wl,--end-group -o $@
net-helpers: $(O)/tests/net/h1_and_node
