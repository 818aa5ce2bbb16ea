# SPDX-License-Identifier: Apache-2.0
# Egret. `make` builds; `make demo` shows it; `make check` tests it. See README.md.
#
#   O=DIR        build directory (default build; asan, tsan and fuzz use their own)
#   SAN=address,undefined | thread    sanitizers
#   PREFIX, DESTDIR   for install
O ?= build
SAN ?=
PREFIX ?= /usr/local
CC = gcc
BPF_CC = clang
BPFTOOL = /usr/sbin/bpftool
V ?= 0
Q = $(if $(filter 1,$(V)),,@)
ARCH_INC = /usr/include/$(shell $(CC) -print-multiarch 2>/dev/null)

WARN = -Wall -Wextra -Wconversion -Wno-sign-conversion -Wshadow -Wstrict-prototypes \
	-Wmissing-prototypes -Wundef -Wvla -Wcast-qual -Wwrite-strings -Wformat=2 -Wswitch-enum \
	-Wimplicit-fallthrough -Wnull-dereference -Werror
VERSION = 0.1.0
CPPFLAGS += -D_GNU_SOURCE -DEG_VERSION='"$(VERSION)"' -Iinclude -Iuserspace -isystem $(O)/skel \
	-isystem /usr/include/libnl3
OPT ?= -O2 -g -fno-omit-frame-pointer -fstack-protector-strong -fPIE
# What is built says nothing of where: the same sources give the same bytes in any directory (tests/self/image.sh).
# The assembler is told by itself: of LTO's objects gcc 12 leaves the directory to it.
ANYWHERE = $(foreach kind,debug macro,-f$(kind)-prefix-map=$(CURDIR)=. -f$(kind)-prefix-map=$(O)=build)
CFLAGS += -std=gnu11 $(OPT) $(ANYWHERE) -Wa,--debug-prefix-map,$(CURDIR)=. $(WARN) $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all,-D_FORTIFY_SOURCE=2)
LDFLAGS += -pie -fno-lto -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN))
# A request passes many rooms, and much of what it calls there is small: egretd is optimized as a whole when it is linked, with the
# warnings of its compilation. Objects hold machine code as well, which is what all else links (-fno-lto; gcc does not take that back
# by a later -flto). LTO= builds without.
LTO ?= $(if $(SAN),,-flto=auto)
LDLIBS = -lbpf -lelf -lz -lssl -lcrypto -lnl-route-3 -lnl-3 -ljansson -lcares -lcap -lseccomp -lnghttp2 -lbrotlidec -lzstd -lpthread

# Rooms, lowest layer first (docs/internals/layers.md; tools/check-layers enforces it).
ROOMS = base loop proto net policy provider credential telemetry upstream datapath kube exchange front agent
# Link order is top down.
ROOM_LIBS = $(foreach r,agent front exchange kube datapath upstream telemetry credential policy provider net proto loop base,$(O)/lib$(r).a)

BPF_PROGS = $(patsubst bpf/%.bpf.c,%,$(wildcard bpf/*.bpf.c))
SKELS = $(BPF_PROGS:%=$(O)/skel/%.skel.h)

.PHONY: all
all: $(O)/egretd $(O)/egretctl

# ---- BPF ----
BPF_CFLAGS = -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Wshadow -Werror $(ANYWHERE) -I$(ARCH_INC) -Iinclude -Ibpf
$(O)/bpf/%.bpf.o: bpf/%.bpf.c | check-layers
	@mkdir -p $(@D)
	@echo "  BPF     $<"
	$(Q)$(BPF_CC) $(BPF_CFLAGS) -MMD -MP -MT $@ -c $< -o $@
$(O)/skel/%.skel.h: $(O)/bpf/%.bpf.o
	@mkdir -p $(@D)
	@echo "  SKEL    $@"
	$(Q)$(BPFTOOL) gen skeleton $< name $(subst -,_,$*) > $@.tmp && mv $@.tmp $@
.PRECIOUS: $(O)/bpf/%.bpf.o $(O)/skel/%.skel.h

# ---- user space ----
$(O)/obj/%.o: userspace/%.c | check-layers
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(if $(LTO),$(LTO) -ffat-lto-objects) -MMD -MP -c $< -o $@
# Only datapath sees the skeletons.
$(patsubst userspace/%.c,$(O)/obj/%.o,$(wildcard userspace/datapath/*.c)): $(SKELS)

define ROOM_LIB
$(O)/lib$(1).a: $(patsubst userspace/%.c,$(O)/obj/%.o,$(wildcard userspace/$(1)/*.c))
	$$(Q)rm -f $$@ && ar rcs $$@ $$^
.PHONY: room-$(1)
room-$(1): $(O)/lib$(1).a
endef
$(foreach r,$(ROOMS),$(eval $(call ROOM_LIB,$(r))))

EGRETCTL_OBJS = $(patsubst userspace/%.c,$(O)/obj/%.o,$(wildcard userspace/egretctl/*.c))
$(O)/egretd: $(ROOM_LIBS)
	@echo "  LINK    $@"
	$(Q)$(CC) $(if $(LTO),$(filter-out -fno-lto,$(LDFLAGS)) $(LTO) $(ANYWHERE),$(LDFLAGS)) -Wl,--whole-archive $(O)/libagent.a -Wl,--no-whole-archive -Wl,--start-group $(ROOM_LIBS) -Wl,--end-group $(LDLIBS) -o $@
$(O)/egretctl: $(EGRETCTL_OBJS) $(ROOM_LIBS)
	@echo "  LINK    $@"
	$(Q)$(CC) $(LDFLAGS) $(EGRETCTL_OBJS) -Wl,--start-group $(filter-out $(O)/libagent.a,$(ROOM_LIBS)) -Wl,--end-group $(LDLIBS) -o $@

.PHONY: check-layers
check-layers:
	$(Q)tools/check-layers

# ---- unit tests: tests/unit/<room>/test_*.c, each a cmocka program of its own ----
# A unit test links its own room and those below it (never the agent).
UNIT_SRCS = $(wildcard tests/unit/*/test_*.c) $(wildcard tests/fault/test_*.c)
UNIT_BINS = $(UNIT_SRCS:tests/%.c=$(O)/tests/%)
UNIT_base = base
UNIT_loop = loop base
UNIT_proto = proto base
UNIT_net = net proto loop base
UNIT_policy = policy provider proto base
UNIT_provider = provider proto base
UNIT_credential = credential base
UNIT_telemetry = telemetry base
UNIT_upstream = upstream telemetry credential policy provider net proto loop base
UNIT_datapath = datapath loop base
UNIT_kube = kube net proto loop base
UNIT_exchange = exchange upstream telemetry credential policy provider net proto loop base
UNIT_front = front exchange upstream telemetry credential policy provider net proto loop base
UNIT_agent = agent front exchange kube datapath upstream telemetry credential policy provider net proto loop base
UNIT_fault = front exchange kube datapath upstream telemetry credential policy provider net proto loop base
define UNIT_RULES
$$(filter $$(O)/tests/unit/$(1)/%,$$(UNIT_BINS)): $$(O)/tests/unit/$(1)/%: tests/unit/$(1)/%.c $$(foreach r,$$(UNIT_$(1)),$$(O)/lib$$(r).a)
	@mkdir -p $$(@D)
	@echo "  CC      $$<"
	$$(Q)$$(CC) $$(CPPFLAGS) -Itests/lib $$(CFLAGS) -Wno-missing-prototypes -Wno-unused-parameter -MMD -MP $$< $$(LDFLAGS) -Wl,--start-group $$(foreach r,$$(UNIT_$(1)),$$(O)/lib$$(r).a) -Wl,--end-group $$(LDLIBS) -lbrotlienc -lcmocka -o $$@
.PHONY: unit-$(1)
unit-$(1): $$(filter $$(O)/tests/unit/$(1)/%,$$(UNIT_BINS))
	$$(Q)tests/run --unit $$^
endef
$(foreach r,$(ROOMS),$(eval $(call UNIT_RULES,$(r))))
$(O)/tests/fault/%: tests/fault/%.c $(foreach r,$(UNIT_fault),$(O)/lib$(r).a)
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CPPFLAGS) -Itests/lib $(CFLAGS) -Wno-missing-prototypes -Wno-unused-parameter -MMD -MP $< $(LDFLAGS) -Wl,--start-group $(foreach r,$(UNIT_fault),$(O)/lib$(r).a) -Wl,--end-group $(LDLIBS) -lbrotlienc -lcmocka -o $@

# More targets (install, lint, asan, tsan, fuzz, check, demo, bench) live in mk/, one concern a file.
include $(wildcard mk/*.mk)

.PHONY: clean
clean:
	rm -rf $(O)

-include $(shell find $(O) -name '*.d' 2>/dev/null)
