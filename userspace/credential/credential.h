/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials at the data plane: a snapshot of secrets by the credential's index in its policy set,
 * and the one function that writes a secret into an upstream head. The supervisor reads each file
 * (eg_credential_seal) into a sealed memfd; the gateway, which cannot open files, makes its set of
 * those descriptors. A set never changes: a new one is made when a file changes, and requests in
 * flight keep a reference to theirs. Sets and secrets may be shared between threads.
 */
#ifndef EGRET_CREDENTIAL_CREDENTIAL_H
#define EGRET_CREDENTIAL_CREDENTIAL_H

#include "base/base.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/secret.h"
#include "provider/credential_spec.h"

/* The longest secret: a header line must fit into what servers accept. */
#define EG_CREDENTIAL_MAX_BYTES 8192u

/*
 * Supervisor: reads <dir_fd>/<spec->file>, never leaving that directory (openat2 RESOLVE_BENEATH;
 * symlinks inside it work, as Kubernetes' ..data), checks it like eg_credential_valid(), and puts
 * the bytes into a memfd sealed against every change; *memfd is the caller's to close. 0; -ENOENT,
 * -ENODATA (empty), -EFBIG, -EINVAL (bytes that no header may have), or another -errno, with *e
 * naming credential and file. For a spec of type NONE: 0 and *memfd -1.
 */
int eg_credential_seal(int dir_fd, const struct eg_credential_spec *spec, int *memfd,
		       struct eg_error *e) EG_MUST;

/* May these bytes be a header value: 1..EG_CREDENTIAL_MAX_BYTES visible ASCII characters. */
bool eg_credential_valid(struct eg_str secret);

struct eg_credential_set;

/*
 * Reads each memfds[i] (borrowed, not closed; -1: there is none) as the secret of credential index
 * i. One that is missing or not valid leaves that index empty, with a reason: the other
 * credentials work. 0 and *out with one reference, or -ENOMEM.
 */
int eg_credential_set_create(const int *memfds, size_t count,
			     struct eg_credential_set **out) EG_MUST;
/*
 * While a set is being made, before anybody else has it: an index that is empty gets the secret
 * that `former` (unchanged) has at former_index. True: it has one now.
 */
bool eg_credential_set_keep(struct eg_credential_set *s, size_t index,
			    const struct eg_credential_set *former, size_t former_index);
/* Likewise, and only where both have the same bytes: the index gets the very secret, with its
 * number. What is empty stays so. True: they had. */
bool eg_credential_set_share(struct eg_credential_set *s, size_t index,
			     const struct eg_credential_set *former, size_t former_index);
/* Likewise: the index has what `one`, a set of one, has, or the reason why that has none. */
void eg_credential_set_put(struct eg_credential_set *s, size_t index,
			   const struct eg_credential_set *one);
struct eg_credential_set *eg_credential_set_ref(struct eg_credential_set *s);
void eg_credential_set_unref(struct eg_credential_set *s);

/*
 * Borrowed; lives as long as the set. NULL when index is out of range or empty: then *why (if not
 * NULL) is a static sentence part such as "its file is missing or could not be read". Not to be
 * asked for type NONE.
 */
const struct eg_secret *eg_credential_set_get(const struct eg_credential_set *s, size_t index,
					      const char **why);

/*
 * Appends the header line with its CRLF to the upstream head being serialised, which must be a
 * secret buffer (eg_buf_init_secret): else -EINVAL. Type NONE appends nothing; secret may be NULL
 * then. 0; -ENOKEY when secret is NULL; -EINVAL when it is not valid; or as eg_buf_append(), the
 * buffer being as before.
 */
int eg_credential_write(struct eg_buf *secret_buf, const struct eg_credential_spec *spec,
			const struct eg_secret *secret) EG_MUST;

/*
 * Does an answer quote the secret? Its own bytes, nowhere copied. A secret of less than
 * EG_CREDENTIAL_SEARCH_MIN bytes is not looked for: it would be found by chance.
 */
#define EG_CREDENTIAL_SEARCH_MIN 8u
bool eg_secret_found_in(const struct eg_secret *secret, struct eg_str bytes);
/* How many bytes are before it; bytes.n: it is not found. */
size_t eg_secret_at(const struct eg_secret *secret, struct eg_str bytes);
/* How many bytes at the end of `bytes` are the beginning of the secret, not all of it: the rest may
 * follow. 0 for a secret that is not looked for. */
size_t eg_secret_begun_in(const struct eg_secret *secret, struct eg_str bytes);

#endif
