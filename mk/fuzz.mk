# SPDX-License-Identifier: Apache-2.0
# Fuzzing. Targets are tests/fuzz/fuzz_<name>.c, their kept inputs tests/fuzz/corpus/<name>/.
#
#   make fuzz FUZZ_SECONDS=60    builds each with libFuzzer and runs it so long
#   make fuzz-<name>             one of them
#   make fuzz-replay             runs the kept inputs through each, whole and cut at every byte, any compiler, honours SAN
#   make fuzz-minimise           after a run: keeps what adds coverage, drops the rest
#
# A fuzz target uses the rooms that do no I/O and the BPF side's headers compiled natively; fuzz_h2_call, whose frames need a connection
# to come on, those below upstream too, over a socket pair.
FUZZ_SECONDS ?= 60
FUZZ_CC = clang
FUZZ_ROOMS = upstream telemetry policy provider net proto loop base
# Files of other rooms that are as pure.
FUZZ_PURE = front/h2_head.c datapath/cni_file.c datapath/address.c kube/objects.c kube/split.c kube/store.c
FUZZ_SAN = address,undefined
FUZZ_NAMES = $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SRCS = $(foreach r,$(FUZZ_ROOMS),$(wildcard userspace/$(r)/*.c)) $(FUZZ_PURE:%=userspace/%)
FUZZ_OBJS = $(FUZZ_SRCS:userspace/%.c=$(O)/fuzz/obj/%.o)
FUZZ_BINS = $(FUZZ_NAMES:%=$(O)/fuzz/fuzz_%)
FUZZ_LIBS = -ljansson -lnghttp2 -lz -lbrotlidec -lzstd -lssl -lcrypto -lcares -lpthread
# The BPF helpers' headers want linux/ types first, and their warnings are for another target.
FUZZ_CPPFLAGS = $(CPPFLAGS) -Itests/fuzz -Itests/lib -Ibpf
FUZZ_CFLAGS = -std=gnu11 -O1 -g -fno-omit-frame-pointer -Wall -Wextra -Wno-unused-parameter -Werror
FUZZ_OPTIONS = -rss_limit_mb=2048 -timeout=10 -max_len=16384 -print_final_stats=0 -verbosity=1

$(O)/fuzz/obj/%.o: userspace/%.c
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(CPPFLAGS) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link,$(FUZZ_SAN) \
		-fno-sanitize-recover=all -MMD -MP -c $< -o $@
$(O)/fuzz/librooms.a: $(FUZZ_OBJS)
	$(Q)rm -f $@ && ar rcs $@ $^
$(O)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(O)/fuzz/librooms.a
	@echo "  FUZZ    $<"
	$(Q)$(FUZZ_CC) $(FUZZ_CPPFLAGS) $(FUZZ_CFLAGS) -fsanitize=fuzzer,$(FUZZ_SAN) \
		-fno-sanitize-recover=all -MMD -MP $< $(O)/fuzz/librooms.a $(FUZZ_LIBS) -o $@
.PRECIOUS: $(O)/fuzz/fuzz_%

.PHONY: fuzz-build fuzz
fuzz-build: $(FUZZ_BINS)
fuzz: $(FUZZ_NAMES:%=fuzz-%)
	@echo "fuzz: $(words $(FUZZ_NAMES)) targets, $(FUZZ_SECONDS) s each, nothing found"

# New inputs go to $(O)/fuzz/new/<name>; a crash stops with its file's name and how to run it again.
define FUZZ_RUN
.PHONY: fuzz-$(1)
fuzz-$(1): $$(O)/fuzz/fuzz_$(1)
	@mkdir -p $$(O)/fuzz/new/$(1) tests/fuzz/corpus/$(1)
	@echo "  RUN     fuzz_$(1), $$(FUZZ_SECONDS) s"
	$$(Q)ulimit -c 0; $$< $$(FUZZ_OPTIONS) -max_total_time=$$(FUZZ_SECONDS) -artifact_prefix=$$(O)/fuzz/crash-$(1)- \
		$$(O)/fuzz/new/$(1) tests/fuzz/corpus/$(1) $$(wildcard tests/fuzz/$(1).options) >$$(O)/fuzz/$(1).log 2>&1 \
		|| { tail -60 $$(O)/fuzz/$(1).log; echo "fuzz_$(1) failed; again: $$< $$$$(ls -t $$(O)/fuzz/crash-$(1)-* 2>/dev/null | head -n1)"; exit 1; }
	@tail -1 $$(O)/fuzz/$(1).log
.PHONY: fuzz-minimise-$(1)
fuzz-minimise-$(1): $$(O)/fuzz/fuzz_$(1)
	@mkdir -p $$(O)/fuzz/new/$(1) tests/fuzz/corpus/$(1)
	$$(Q)rm -rf $$(O)/fuzz/min/$(1) && mkdir -p $$(O)/fuzz/min/$(1)
	$$(Q)$$< -merge=1 -max_len=2048 $$(O)/fuzz/min/$(1) tests/fuzz/corpus/$(1) $$(O)/fuzz/new/$(1) >$$(O)/fuzz/$(1).merge.log 2>&1
	$$(Q)tests/fuzz/keep $$(O)/fuzz/min/$(1) tests/fuzz/corpus/$(1)
endef
$(foreach n,$(FUZZ_NAMES),$(eval $(call FUZZ_RUN,$(n))))
.PHONY: fuzz-minimise
fuzz-minimise: $(FUZZ_NAMES:%=fuzz-minimise-%)

# ---- replay ----
REPLAY_BINS = $(FUZZ_NAMES:%=$(O)/tests/fuzz/replay_%)
REPLAY_LIBS = $(FUZZ_PURE:%.c=$(O)/obj/%.o) $(foreach r,$(FUZZ_ROOMS),$(O)/lib$(r).a)
REPLAY_CC = $(CC) $(FUZZ_CPPFLAGS) -std=gnu11 $(OPT) -Wall -Wextra -Wno-unused-parameter -Werror \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all) -MMD -MP
# An object of its own: two sources in one command would write one .d file, and the second would have it.
$(O)/tests/fuzz/replay_main.o: tests/fuzz/replay_main.c
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(REPLAY_CC) -c $< -o $@
$(O)/tests/fuzz/replay_%: tests/fuzz/fuzz_%.c $(O)/tests/fuzz/replay_main.o $(REPLAY_LIBS)
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(REPLAY_CC) -MF $@.d -MT $@ $< $(O)/tests/fuzz/replay_main.o \
		$(LDFLAGS) -Wl,--start-group $(REPLAY_LIBS) -Wl,--end-group $(FUZZ_LIBS) -o $@
.PRECIOUS: $(O)/tests/fuzz/replay_%
test-programs: $(REPLAY_BINS)

# Each target prints its own count; the last line is the sum. A target without a corpus is a failure.
.PHONY: fuzz-replay
fuzz-replay: $(REPLAY_BINS)
	$(Q)tests/fuzz/replay $(O)/tests/fuzz $(FUZZ_NAMES)
