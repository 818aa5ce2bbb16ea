# SPDX-License-Identifier: Apache-2.0
# `make bench-proto`: what the parsers cost, against jansson. Prints; asserts nothing.
$(O)/tests/bench/proto_bench: tests/bench/proto_bench.c $(O)/libproto.a $(O)/libbase.a
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -Wno-unused-parameter -Wno-format-nonliteral -MMD -MP $< $(LDFLAGS) \
		$(O)/libproto.a $(O)/libbase.a -ljansson -o $@
.PHONY: bench-proto
bench-proto: $(O)/tests/bench/proto_bench
	$(Q)$<
