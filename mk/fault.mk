# SPDX-License-Identifier: Apache-2.0
# Fault tests (tests/fault/test_*.c): what our code asks of the C library goes through tests/fault/fault.h,
# which can refuse the i-th allocation and cut reads and writes to one byte. Libraries' own calls do not.
FAULT_WRAPPED = malloc calloc realloc strdup strndup mmap read write pread recv send
$(O)/tests/fault/%: LDFLAGS += $(FAULT_WRAPPED:%=-Wl,--wrap=%)
