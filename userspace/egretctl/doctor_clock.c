/* SPDX-License-Identifier: Apache-2.0 */
/* Does something keep the node's clock right? The CA's and providers' certificates, made by
 * other clocks, are judged by it; leaves are not concerned, since pods share the node's clock. */
#include <errno.h>
#include <string.h>
#include <sys/timex.h>

#include "egretctl/doctor.h"

void doctor_clock(struct findings *f)
{
	struct timex t = {.modes = 0}; /* reads only: needs no right */

	if (adjtimex(&t) < 0)
		doctor_say(f, DOCTOR_WARNING, "clock", "adjtimex: %s: not judged", strerror(errno));
	else if (t.status & STA_UNSYNC)
		doctor_say(
			f, DOCTOR_WARNING, "clock",
			"the kernel says that nothing keeps it in step: when it is wrong, the CA's "
			"intermediate and providers' certificates seem not valid yet or expired, "
			"and the access log's times are wrong; run an NTP client on the node "
			"(chrony, systemd-timesyncd)");
	else
		doctor_say(f, DOCTOR_OK, "clock", "kept in step, by the kernel's word");
}
