/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/page_token.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "base/files.h"

#define TOKEN_BYTES 4096u
#define TOKEN_LEAST 16u

static bool digest_of(struct eg_str token, uint8_t digest[EG_PAGE_DIGEST])
{
	unsigned int n = 0;

	return EVP_Digest(token.p, token.n, digest, &n, EVP_sha256(), NULL) == 1 &&
	       n == EG_PAGE_DIGEST;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* b64token (RFC 6750, section 2.1) and what else is visible. */
static bool is_token(struct eg_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~')
			return false;
	return s.n >= TOKEN_LEAST;
}

int eg_page_token_read(const char *file, uint8_t digest[EG_PAGE_DIGEST], struct eg_error *e)
{
	char *bytes = NULL;
	struct eg_str s = {NULL, 0};
	size_t n = 0;
	int r = eg_file_read(AT_FDCWD, file, TOKEN_BYTES, &bytes, &n, e);

	if (r)
		return r;
	s = (struct eg_str){bytes, n};
	while (s.n && is_space(s.p[s.n - 1]))
		s.n--;
	while (s.n && is_space(*s.p))
		s = (struct eg_str){s.p + 1, s.n - 1};
	if (!is_token(s))
		r = eg_error_set(e, -EINVAL,
				 "%s: expected a token of %u visible characters or more, and "
				 "nothing else",
				 file, TOKEN_LEAST);
	else if (!digest_of(s, digest))
		r = eg_error_set(e, -EIO, "%s: SHA-256 failed", file);
	OPENSSL_cleanse(bytes, n);
	free(bytes);
	return r;
}

bool eg_page_token_opens(const uint8_t digest[EG_PAGE_DIGEST], struct eg_str authorization)
{
	static const struct eg_str bearer = {"Bearer ", 7};
	uint8_t given[EG_PAGE_DIGEST];

	if (!eg_str_istarts(authorization, bearer))
		return false;
	authorization.p += bearer.n;
	authorization.n -= bearer.n;
	return digest_of(authorization, given) && !CRYPTO_memcmp(given, digest, EG_PAGE_DIGEST);
}
