/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/start_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/ca_check.h"
#include "agent/page_token.h"
#include "base/files.h"
#include "net/tls.h"

static int check_roots(const char *path, struct eg_error *e)
{
	EG_CLEANUP_FREE char *pem = NULL;
	struct eg_trust *trust = NULL;
	struct eg_error why;
	size_t n = 0;
	int r;

	if (access(path, R_OK) < 0)
		return eg_error_set(e, -errno,
				    "%s: %s; providers' certificates can't be verified: install "
				    "ca-certificates, or name the roots with --upstream-ca",
				    path, strerror(errno));
	r = eg_file_read(AT_FDCWD, path, EG_ROOTS_BYTES, &pem, &n, &why);
	if (!r) {
		trust = eg_trust_create((struct eg_str){pem, n}, &why);
		r = trust ? 0 : -EINVAL;
	}
	eg_trust_unref(trust);
	return r ? eg_error_set(e, r,
				"%s: %s; providers' certificates can't be verified: name a file of "
				"PEM certificates with --upstream-ca",
				path, why.text)
		 : 0;
}

int eg_start_files_check(const struct eg_options *o, struct eg_error *e)
{
	static const char *const files[] = {"intermediate.crt", "intermediate.key"};
	uint8_t digest[EG_PAGE_DIGEST];
	struct eg_error why;
	char path[4096];
	int r;

	for (size_t i = 0; i < EG_ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", o->ca_dir, files[i]);
		if (access(path, R_OK) < 0)
			return eg_error_set(
				e, -errno,
				"%s: %s; make the CA with `egretctl ca create --dir %s "
				"--names HOST,...`, or name its directory with --ca-dir",
				path, strerror(errno), o->ca_dir);
	}
	r = check_roots(o->upstream_ca, e);
	if (!r && o->metrics_token) {
		r = eg_page_token_read(o->metrics_token, digest, &why);
		if (r)
			(void)eg_error_set(e, r, "--metrics-token: %s", why.text);
	}
	return r ? r : eg_ca_check(o->ca_dir, e);
}
