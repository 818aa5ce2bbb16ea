/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files the gateway holds something good of (keys; roots of providers), and since when a file
 * is not fit. A file that is rewritten in place is empty for a moment; the gateway is told to keep
 * what it has then, because the supervisor has no key that it could send again. Never a key here,
 * only names of files. Pure: the clock is the caller's.
 */
#ifndef EGRET_AGENT_KEYS_H
#define EGRET_AGENT_KEYS_H

#include "base/base.h"

/* So long the last good key stays in force when its file is empty, unfit or missing. */
#define EG_KEY_GRACE_MS 15000u

enum eg_key_word {
	EG_KEY_SEND,	   /* the file is fit: the gateway gets what it holds */
	EG_KEY_SEND_BACK,  /* likewise, after it was not */
	EG_KEY_KEEP_NEW,   /* not fit since just now: the gateway keeps what it has */
	EG_KEY_KEEP_OTHER, /* likewise, by now for another reason than the one that was said */
	EG_KEY_KEEP,	   /* likewise, said before */
	EG_KEY_GONE,	   /* nothing to keep, or for too long */
};

struct eg_key;

struct eg_keys {
	struct eg_key *first; /* list; few */
};

/* One round: begin, judge for each credential's file, end. What was not asked for is forgotten. */
void eg_keys_begin(struct eg_keys *k);
/* `why` its file is not fit: -errno; 0: it is. Without memory a key that is not fit is gone at
 * once. */
enum eg_key_word eg_keys_judge(struct eg_keys *k, const char *file, int why, uint64_t now_ms);
void eg_keys_end(struct eg_keys *k);
/* Milliseconds until the next one that is kept is gone; UINT64_MAX: none is kept. */
uint64_t eg_keys_due(const struct eg_keys *k, uint64_t now_ms);
/* Whether the gateway has something of that file. */
bool eg_keys_have(const struct eg_keys *k, const char *file);
/* The gateway is gone, and with it what it held. */
void eg_keys_forget(struct eg_keys *k);

#endif
