# SPDX-License-Identifier: Apache-2.0
# `make bench`: Egret beside nginx, HAProxy, Squid and two floors, in one run. See docs/internals/bench.md.
#   BENCH_CASES="keepalive_h1 sse_burst"   only these; `tests/bench/bench --list` names all
#   BENCH_RUNS=N    rounds (default 5);  BENCH_SECONDS=N  of each measurement (default 3)
#   BENCH_RESUME=1  keeps the rounds that build/bench holds already
BENCH_PROGRAMS = $(patsubst %,$(O)/tests/bench/%,load origin floor_bytes floor_http link_watch)
BENCH_COMMON = tests/bench/conn.c tests/bench/h1.c
BENCH_CC = $(CC) $(CPPFLAGS) $(CFLAGS) -Wno-format-nonliteral
$(O)/tests/bench/load $(O)/tests/bench/origin: $(O)/tests/bench/%: tests/bench/%.c $(BENCH_COMMON) tests/bench/conn.h tests/bench/h1.h
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(BENCH_CC) $< $(BENCH_COMMON) $(LDFLAGS) -lssl -lcrypto -o $@
$(O)/tests/bench/floor_bytes $(O)/tests/bench/floor_http: $(O)/tests/bench/%: tests/bench/%.c tests/bench/floor.c tests/bench/floor.h \
		$(BENCH_COMMON) tests/bench/conn.h tests/bench/h1.h
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(BENCH_CC) $< tests/bench/floor.c $(BENCH_COMMON) $(LDFLAGS) -lssl -lcrypto -o $@
$(O)/tests/bench/link_watch: tests/bench/link_watch.c
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(BENCH_CC) $< $(LDFLAGS) -lbpf -o $@

.PHONY: bench bench-programs
bench-programs: $(BENCH_PROGRAMS)
bench:
	$(Q)tools/deps --bench
	$(Q)$(MAKE) --no-print-directory all bench-programs net-helpers $(O)/tests/bpf/bpf-test
	$(Q)EGRET_BUILD=$(abspath $(O)) tests/bench/bench
