# SPDX-License-Identifier: Apache-2.0
# `make install PREFIX=/usr DESTDIR=/tmp/image`: both programs, man pages, documentation, licences, policy schema and examples,
# and systemd's unit (docs/install-systemd.md), with the paths of PREFIX.
SBINDIR = $(DESTDIR)$(PREFIX)/sbin
BINDIR = $(DESTDIR)$(PREFIX)/bin
MANDIR = $(DESTDIR)$(PREFIX)/share/man
DOCDIR = $(DESTDIR)$(PREFIX)/share/doc/egret
SHAREDIR = $(DESTDIR)$(PREFIX)/share/egret
UNITDIR = $(DESTDIR)$(PREFIX)/lib/systemd/system
# Each at its own path below DOCDIR, so that the links between them hold. The licences of bpf/ are those of what egretd loads.
INSTALL_DOCS = $(wildcard README.md CHANGELOG.md LICENSE bpf/LICENSE.* docs/*.md docs/internals/*.md tests/e2e/README.md) $(shell find manifests -type f)

.PHONY: install uninstall
install: all
	install -d $(SBINDIR) $(BINDIR) $(DOCDIR) $(SHAREDIR) $(UNITDIR)
	install -m 0755 $(O)/egretd $(SBINDIR)/egretd
	install -m 0755 $(O)/egretctl $(BINDIR)/egretctl
	$(Q)for page in $(wildcard docs/man/*.[1-8]); do \
		section=$${page##*.}; \
		install -d $(MANDIR)/man$$section; \
		install -m 0644 $$page $(MANDIR)/man$$section/; \
	done
	$(Q)for f in $(INSTALL_DOCS); do install -D -m 0644 $$f $(DOCDIR)/$$f || exit 1; done
	$(Q)for unit in egretd.service egretd@.service; do \
		sed 's|/usr/local/|$(PREFIX)/|' tools/systemd/egretd.service > $(UNITDIR)/$$unit && chmod 0644 $(UNITDIR)/$$unit || exit 1; \
	done
	sed 's|/usr/local/|$(PREFIX)/|' tools/systemd/egretd.env > $(SHAREDIR)/egretd.env && chmod 0644 $(SHAREDIR)/egretd.env
	$(Q)for f in $$(find policies -type f); do install -D -m 0644 $$f $(SHAREDIR)/$$f || exit 1; done

# What install put there; policies and credentials of the machine are elsewhere and stay. Directories go too when nothing else is in
# them, but for those that every system has.
uninstall:
	rm -f $(SBINDIR)/egretd $(BINDIR)/egretctl $(UNITDIR)/egretd.service $(UNITDIR)/egretd@.service $(patsubst docs/man/%,$(MANDIR)/man?/%,$(wildcard docs/man/*.[1-8]))
	rm -rf $(DOCDIR) $(SHAREDIR)
ifneq ($(DESTDIR)$(filter-out /usr /usr/local,$(PREFIX)),)
	$(Q)cd $(if $(DESTDIR),$(DESTDIR)/,$(dir $(PREFIX))) && top=$(if $(DESTDIR),$(PREFIX:/%=%),$(notdir $(PREFIX))) && \
	for d in $$top/sbin $$top/bin $$top/share/man/man? $$top/share/man $$top/share/doc $$top/share $$top/lib/systemd/system; do \
		[ ! -d $$d ] || rmdir -p --ignore-fail-on-non-empty $$d || exit 1; \
	done
endif
