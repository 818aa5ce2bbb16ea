/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors 0, 1 and 2, as whoever started this program left them. */
#ifndef EGRET_BASE_STANDARD_H
#define EGRET_BASE_STANDARD_H

#include "base/base.h"

/* First of all in a program: one that was closed is /dev/null, open for the direction that it is
 * not used in, so that what is printed fails as it did. Else what is opened later gets its number,
 * and what is printed. */
void eg_standard_complete(void);

/* Another open file of the same pipe or terminal, to write to, whose writes never wait: O_NONBLOCK
 * on this one is not the other holders' as well. -1: it is neither, or can't be opened (-1 and
 * errno 0, or errno). Close-on-exec. */
int eg_standard_unblocked(int fd);

#endif
