# SPDX-License-Identifier: Apache-2.0
# `make image`: $(O)/image/ (an OCI image layout), $(O)/egret-VERSION-ARCH.oci.tar, and its SBOM. See docs/install.md.
#   ARCH=amd64|arm64      refuses what is built for another
#   SOURCE_DATE_EPOCH=N   the image's time (default: the commit's); REVISION=TEXT  what it is said to be built from
IMAGE_GIT = git -c safe.directory='*'
SOURCE_DATE_EPOCH ?= $(shell $(IMAGE_GIT) log -1 --format=%ct)
REVISION ?= $(shell $(IMAGE_GIT) describe --exclude '*' --always --dirty --abbrev=40)

.PHONY: image
image: all
	@echo "  IMAGE   $(O)/image"
	$(Q)SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) tools/image --build $(O) --version $(VERSION) --revision '$(REVISION)' --arch '$(ARCH)'
