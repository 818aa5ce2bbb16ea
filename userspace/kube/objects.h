/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the API server writes, a JSON text at a time, to what is kept of it. Lenient: unknown keys
 * are nothing, and of known ones only those are looked at that something here needs. Does no I/O.
 */
#ifndef EGRET_KUBE_OBJECTS_H
#define EGRET_KUBE_OBJECTS_H

#include "base/arena.h"
#include "base/base.h"
#include "kube/kube.h"

/* A text that is longer is not read. */
#define KUBE_TEXT_BYTES	     ((size_t)1 << 20)
#define KUBE_NAME_BYTES	     253u
#define KUBE_LABELS	     128u
#define KUBE_LABEL_KEY_BYTES 317u /* a DNS subdomain, "/", a name of 63 */
#define KUBE_STATIC_UID	     32u  /* hexadecimal digits of a static pod's uid */
/* A resourceVersion: opaque, in fact a number of 64 bits. */
#define KUBE_VERSION_BYTES 64u
/* A continue token, which holds the key of an object. */
#define KUBE_CONTINUE_BYTES 4096u

enum kube_kind { KUBE_PODS, KUBE_NAMESPACES };

enum kube_event_type {
	KUBE_CHANGED, /* ADDED, MODIFIED, an item of a list */
	KUBE_DELETED,
	KUBE_BOOKMARK,
	KUBE_ERROR,
};

/* Strings lie in `memory`, until kube_event_fini(). */
struct kube_event {
	enum kube_event_type type;
	/*
	 * CHANGED: all of it. A namespace is its name, uid and labels, the other strings are "".
	 * DELETED: name and uid ("": not said). The labels are in order of their keys.
	 */
	struct eg_kube_pod object;
	bool elsewhere;	     /* CHANGED: a pod of another node */
	bool initial_end;    /* BOOKMARK: all that was there has been sent */
	const char *version; /* resourceVersion, fit for a query; "": none */
	unsigned int code;   /* ERROR: HTTP's number; 0: not said */
	const char *message; /* ERROR: what the server says; bytes from outside */
	/* -EINVAL: what is wrong with it, a static part of a sentence. Of what it is may be known
	 * all the same: a pod's uid, a namespace's name; else NULL. */
	const char *wrong;
	const char *whose;

	struct eg_arena memory;
	struct eg_label labels[KUBE_LABELS];
};

/*
 * One line of a watch. `node`: pods of others are `elsewhere`. 0; -EINVAL: it can't be understood,
 * see `wrong`; -ENOMEM. Always to be followed by kube_event_fini().
 */
int kube_event_read(enum kube_kind kind, const char *node, struct eg_str line,
		    struct kube_event *e) EG_MUST;
/* The same of an item of a list. */
int kube_item_read(enum kube_kind kind, const char *node, struct eg_str item,
		   struct kube_event *e) EG_MUST;
/*
 * The beginning of a line (or an item) that is too long to be read: `wrong`, `version` and perhaps
 * `whose`. 0 or -ENOMEM.
 */
int kube_cut_read(enum kube_kind kind, struct eg_str beginning, struct kube_event *e) EG_MUST;
void kube_event_fini(struct kube_event *e);

struct kube_list {
	char version[KUBE_VERSION_BYTES + 1];
	char go_on[KUBE_CONTINUE_BYTES + 1]; /* "": this was the last page */
};
/* A list without its items. 0, -EINVAL, -ENOMEM. */
int kube_list_read(struct eg_str text, struct kube_list *l) EG_MUST;

/* The message of a Status object, for a person: one line, cut, NUL-terminated. "": it has none. */
void kube_status_message(struct eg_str text, char *out, size_t cap);
/* The same of any bytes. */
void kube_printable(struct eg_str bytes, char *out, size_t cap);

/* resourceVersion as a number, by which older is told from newer (KEP-5504); 0: it is none. */
uint64_t kube_version_number(const char *version);

#endif
