/* SPDX-License-Identifier: Apache-2.0 */
/* egretd: one binary, four processes. Which one this is, the first argument tells. */
#include <stdio.h>

#include "agent/gateway.h"
#include "agent/observe.h"
#include "agent/options.h"
#include "agent/spawner.h"
#include "agent/supervisor.h"
#include "base/standard.h"

int main(int argc, char **argv)
{
	struct eg_options o;
	struct eg_error e = {""};
	int code;

	eg_standard_complete();
	if (argc > 1 && !strcmp(argv[1], "role:spawner"))
		return eg_spawner_main(argc, argv);
	if (argc > 1 && !strcmp(argv[1], "role:signer"))
		return eg_signer_main(argc, argv);
	if (argc > 1 && !strcmp(argv[1], "role:gateway"))
		return eg_gateway_main(argc, argv);
	if (eg_options_parse(&o, argc, argv, &e)) {
		fprintf(stderr, "egretd: %s\n", e.text);
		eg_options_fini(&o);
		return 2;
	}
	eg_log_init("supervisor", o.log_level);
	eg_log_unblock();
	if (o.help)
		code = fputs(eg_options_usage(), stdout) < 0;
	else if (o.version)
		code = printf("egretd %s\n", EG_VERSION) < 0;
	else if (o.uninstall)
		code = eg_uninstall(&o);
	else if (o.observe)
		code = eg_observe_main(&o);
	else
		code = eg_supervisor_main(&o);
	eg_options_fini(&o);
	return code;
}
