# SPDX-License-Identifier: Apache-2.0
# `make install PREFIX=/usr DESTDIR=/tmp/image`: both programs, man pages, documentation, policy schema and examples.
SBINDIR = $(DESTDIR)$(PREFIX)/sbin
BINDIR = $(DESTDIR)$(PREFIX)/bin
MANDIR = $(DESTDIR)$(PREFIX)/share/man
DOCDIR = $(DESTDIR)$(PREFIX)/share/doc/egret
SHAREDIR = $(DESTDIR)$(PREFIX)/share/egret
INSTALL_DOCS = $(wildcard README.md CHANGELOG.md LICENSE docs/*.md)

.PHONY: install uninstall
install: all
	install -d $(SBINDIR) $(BINDIR) $(DOCDIR) $(SHAREDIR)
	install -m 0755 $(O)/egretd $(SBINDIR)/egretd
	install -m 0755 $(O)/egretctl $(BINDIR)/egretctl
	$(Q)for page in $(wildcard docs/man/*.[1-8]); do \
		section=$${page##*.}; \
		install -d $(MANDIR)/man$$section; \
		install -m 0644 $$page $(MANDIR)/man$$section/; \
	done
	$(if $(INSTALL_DOCS),install -m 0644 $(INSTALL_DOCS) $(DOCDIR)/)
	$(Q)cd $(CURDIR) && find policies -type f 2>/dev/null | while read -r f; do \
		install -D -m 0644 "$$f" "$(SHAREDIR)/$$f"; \
	done

# What install put there; policies and credentials of the machine are elsewhere and stay.
uninstall:
	rm -f $(SBINDIR)/egretd $(BINDIR)/egretctl $(patsubst docs/man/%,$(MANDIR)/man?/%,$(wildcard docs/man/*.[1-8]))
	rm -rf $(DOCDIR) $(SHAREDIR)
