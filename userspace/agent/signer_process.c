/* SPDX-License-Identifier: Apache-2.0 */
/* The signer as a process: closed in, then net/mint_serve.c. */
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "agent/gateway.h"
#include "agent/privileges.h"
#include "agent/seccomp.h"
#include "agent/spawner.h"
#include "base/log.h"
#include "net/mint.h"

int eg_signer_main(int argc, char **argv)
{
	struct eg_error e = {""};
	unsigned char byte;

	eg_log_init("signer", argc > 2 ? (enum eg_log_level)atoi(argv[2]) : EG_LOG_INFO);
	prctl(PR_SET_NAME, "egret-signer", 0, 0, 0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	/* What opens files, before files can no longer be opened. */
	OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CRYPTO_STRINGS | OPENSSL_INIT_LOAD_CONFIG, NULL);
	(void)RAND_bytes(&byte, 1);
	tzset();
	if (eg_harden(&e) || eg_capabilities_keep(NULL, 0, &e) ||
	    eg_seccomp_confine(EG_ROLE_SIGNER, &e)) {
		eg_error("signer: %s", e.text);
		return 1;
	}
	/* Not exit(): its handlers were not made to run under the filter (as in the gateway). */
	_exit(eg_mint_serve(EG_CONTROL_FD));
}
