# SPDX-License-Identifier: Apache-2.0
# `make lint` runs every check; each is a target of its own and says nothing when all is well.
#
#   lint-layers   tools/check-layers: includes go downwards only, as written and as the last build read them
#   lint-format   clang-format, .clang-format
#   lint-cppcheck cppcheck
#   lint-tidy     clang-tidy, .clang-tidy; TIDY_FILES=... for some files only
#   lint-shell    shellcheck on every script that sh or bash runs
#   lint-text     tools/check-text: no trailing blanks, no missing SPDX line, no dead link in *.md
#
# git says which files are ours (also to root, of a clone that another user owns). Without it nothing would be looked at, and that
# is no success. A file that is deleted and not yet committed is no file.
LINT_FILES = $(wildcard $(shell git -c safe.directory='*' ls-files --cached --others --exclude-standard | grep -v '^tests/fuzz/corpus/'))
LINT_C = $(filter %.c %.h,$(LINT_FILES))
LINT_USER_C = $(filter userspace/%.c,$(LINT_C))
TIDY_FILES ?= $(LINT_USER_C)
LINT_SCRIPTS = $(shell awk 'FNR == 1 { if (/^\#!.*[\/ ](ba)?sh/) print FILENAME; nextfile }' $(LINT_FILES) /dev/null)
LINT_JOBS ?= 2

.PHONY: lint-files format lint lint-layers lint-format lint-cppcheck lint-tidy lint-shell lint-text
lint: lint-layers lint-text lint-format lint-shell lint-cppcheck lint-tidy
	@echo "lint: clean"

lint-files:
	$(Q)[ -n "$(firstword $(LINT_C))" ] || { echo "lint: git names no source file here: is git installed (tools/deps), and is this a clone?"; exit 1; }
lint-format lint-shell lint-cppcheck lint-tidy lint-text: lint-files

lint-layers: check-layers
	$(Q)tools/check-layers --built $(O)

lint-format:
	@echo "  FORMAT  $(words $(LINT_C)) files"
	$(Q)printf '%s\n' $(LINT_C) | xargs -P $(LINT_JOBS) -n 20 clang-format --dry-run -Werror

# Rewrites the files lint-format complains about; FORMAT_FILES=... for some only.
FORMAT_FILES ?= $(LINT_C)
format:
	$(Q)clang-format -i $(FORMAT_FILES)

# SC2034: tests set variables that tests/lib reads; SC1010: "grep done" is no loop.
lint-shell:
	@echo "  SHELL   $(words $(LINT_SCRIPTS)) scripts"
	$(Q)shellcheck -x -S warning -e SC2034,SC1010 $(LINT_SCRIPTS)

# Only what is sure. mk/cppcheck.cfg explains the macros of libraries; what is suppressed are version 2.10's own
# misreadings (compound literals after ?:, output parameters across files, the cleanup attribute; ASan finds leaks).
lint-cppcheck:
	@echo "  CPPCHECK $(words $(LINT_USER_C)) files"
	$(Q)cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability --inline-suppr -j $(LINT_JOBS) \
		--library=posix --library=mk/cppcheck.cfg --suppress=missingIncludeSystem --suppress=internalAstError \
		--suppress=memleak --suppress=nullPointerRedundantCheck --suppress=readdirCalled --suppress=invalidFunctionArg --suppress=resourceLeak --suppress=ctuuninitvar --suppress=uninitStructMember --suppress=unmatchedSuppression -D_GNU_SOURCE -D__linux__ -UEG_MUST \
		-DEG_VERSION='"0"' -Iinclude -Iuserspace $(LINT_USER_C)

# The output is kept apart by file and shown whole: several run at once.
lint-tidy: $(SKELS)
	@echo "  TIDY    $(words $(TIDY_FILES)) files"
	@mkdir -p $(O)/tidy
	$(Q)printf '%s\n' $(TIDY_FILES) | xargs -P $(LINT_JOBS) -I FILE sh -c 'log=$(O)/tidy/$$(echo FILE | tr / _).log; \
		clang-tidy --quiet FILE -- -std=gnu11 -DEG_VERSION=\"0\" $(filter-out -DEG_VERSION=%,$(CPPFLAGS)) >$$log 2>/dev/null \
		|| { cat $$log; exit 1; }'

lint-text:
	@echo "  TEXT    $(words $(LINT_FILES)) files"
	$(Q)tools/check-text $(LINT_FILES)
