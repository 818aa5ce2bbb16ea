# SPDX-License-Identifier: Apache-2.0
# The program in the tests' container image: static, and never of a sanitizer's.
$(O)/tests/net/container_pod: tests/net/container_pod.c
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) -std=gnu11 -O2 -Wall -Wextra -Werror -static $< -o $@
net-helpers: $(O)/tests/net/container_pod
