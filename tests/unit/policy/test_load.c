/* SPDX-License-Identifier: Apache-2.0 */
/* Every kind of mistake in a policy: named with file, JSON path, place, and what was expected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "egret/abi/name_hash.h"
#include "fixture.h"
#include "policy/keys.h"

struct bad {
	const char *text; /* of the whole file */
	const char *path; /* of the report */
	const char *says; /* part of its text */
	int line, column;
};

#define LONG_5 "aaaa.aaaa.aaaa.aaaa.aaaa."
#define LONG_HOST \
	LONG_5 LONG_5 LONG_5 LONG_5 LONG_5 LONG_5 LONG_5 LONG_5 LONG_5 LONG_5 "aaaa.aaaa.aaaaa"
#define PROVIDER(body)	 "{\"version\":\"egret/v1\",\n\"providers\":{\"a\":{" body "}}}"
#define OPENAI		 "\"kind\":\"openai\",\"endpoint\":\"https://x.example.org/v1\""
#define CREDENTIAL(body) "{\"version\":\"egret/v1\",\n\"credentials\":{\"a\":{" body "}}}"
#define POLICY(body)	 "{" BASE ",\n\"policies\":[{\"name\":\"p\",\"pods\":{}," body "}]}"
#define ROUTE(body)	 POLICY("\"routes\":[{\"name\":\"r\"," body "}]")
#define MATCH(body)	 ROUTE("\"targets\":[{\"provider\":\"eu\"}],\"match\":{" body "}")

#define X64 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct bad bads[] = {
	/* not JSON, not a policy */
	{"", "$", "not valid JSON: the file is empty; expected an object", 1, 1},
	{" \n ", "$", "not valid JSON: the file is empty; expected an object", 2, 2},
	{"{", "$", "not valid JSON: the file ends here; expected a key in double quotes", 1, 2},
	{"\xef\xbb\xbf{}", "$", "a byte order mark is here; expected an object", 1, 1},
	{"{\"version\":\"egret/v1\"} x", "$", "expected nothing after the object", 1, 24},
	{"{\"version\":\"egret/v1\",\n\"version\":\"egret/v1\"}", "$.version",
	 "this key is in the object twice; expected each key once", 2, 1},
	{"{\"version\":\"egret/v1\",\n\"ver\\u0073ion\":\"egret/v1\"}", "$.version",
	 "this key is in the object twice; expected each key once", 2, 1},
	{PROVIDER(OPENAI ",\n\"kind\":\"openai\""), "$.providers.a.kind",
	 "this key is in the object twice; expected each key once", 3, 1},
	{"{\"version\":\"egret/v1\",\"policies\":[{\"name\":\"p\",\"pods\":{\"labels\":{\"a/"
	 "b\":\"1\","
	 "\n\"a/b\":\"2\"}},\"routes\":[]}]}",
	 "$.policies[0].pods.labels[\"a/b\"]", "expected each key once", 2, 1},
	{PROVIDER(OPENAI ",\"allow_private\": NaN"), "$.providers.a.allow_private",
	 "NaN and Infinity are no JSON; expected an object, an array", 2, 90},
	{PROVIDER(OPENAI ",\"allow_private\": -Infinity"), "$.providers.a.allow_private",
	 "expected digits without a leading zero", 2, 0},
	{PROVIDER(OPENAI ",\"allow_private\": True"), "$.providers.a.allow_private",
	 "something else is here; expected an object, an array", 2, 0},
	{PROVIDER(OPENAI ",\"region\": 'EU'"), "$.providers.a.region",
	 "a single quote is here; expected", 2, 0},
	{PROVIDER(OPENAI ", // why\n\"region\":\"EU\""), "$.providers.a",
	 "a comment is here; expected a key in double quotes", 2, 0},
	{PROVIDER(OPENAI ",\"region\":\"\xff\""), "$.providers.a.region",
	 "a string is not UTF-8; expected UTF-8", 2, 0},
	{PROVIDER(OPENAI ",\"re\xc3gion\":\"EU\""), "$.providers.a",
	 "a string is not UTF-8; expected", 2, 0},
	{PROVIDER(OPENAI ",\"region\":\"E\tU\""), "$.providers.a.region",
	 "a control character is in a string; expected it as an escape", 2, 0},
	{PROVIDER(OPENAI ",\"region\":\"E\\xU\""), "$.providers.a.region",
	 "a backslash that begins no escape, or half a surrogate pair; expected one of", 2, 0},
	{PROVIDER(OPENAI ",\"region\":\"\\ud800\""), "$.providers.a.region",
	 "half a surrogate pair; expected one of", 2, 0},
	{PROVIDER(OPENAI ",\"region\":\"EU\\u0000\""), "$.providers.a.region",
	 "\\u0000 is here; expected text without NUL", 2, 0},
	{PROVIDER(OPENAI ",\"region\":\"EU"), "$.providers.a.region",
	 "the file ends inside a string; expected", 2, 0},
	{"{\"version\":\"egret/v1", "$.version",
	 "the file ends inside a string; expected a closing quote", 1, 21},
	{PROVIDER(OPENAI ",\"region\""), "$.providers.a.region",
	 "a closing bracket is here; expected a colon after the key", 2, 0},
	{PROVIDER(OPENAI ",\"region\":"), "$.providers.a.region",
	 "a closing bracket is here; expected an object, an array", 2, 0},
	{PROVIDER(OPENAI ","), "$.providers.a",
	 "a closing bracket is here; expected a key in double quotes", 2, 0},
	{PROVIDER(OPENAI " \"region\":\"EU\""), "$.providers.a",
	 "a string is here; expected a comma or '}'", 2, 0},
	{"{\"version\":\"egret/v1\",\"policies\":[1 2]}", "$.policies",
	 "something else is here; expected a comma or ']'", 1, 37},
	{"{\"version\":\"egret/v1\",\"policies\":[1,]}", "$.policies[1]",
	 "a closing bracket is here; expected an object", 1, 37},
	{ROUTE("\"max_body_bytes\":01"), "$.policies[0].routes[0].max_body_bytes",
	 "a number is not written as JSON writes it; expected digits", 2, 0},
	{ROUTE("\"max_body_bytes\":1."), "$.policies[0].routes[0].max_body_bytes",
	 "expected digits after the decimal point", 2, 0},
	{ROUTE("\"max_body_bytes\":1e"), "$.policies[0].routes[0].max_body_bytes",
	 "expected digits of the exponent", 2, 0},
	{ROUTE("\"max_body_bytes\":10000000000000000000"), "$.policies[0].routes[0].max_body_bytes",
	 "a number is too large or too exact; expected at most 18 digits", 2, 0},
	{ROUTE("\"max_body_bytes\":1e999"), "$.policies[0].routes[0].max_body_bytes",
	 "a number is too large or too exact; expected", 2, 0},
	{"\"x\"", "$", "is a string; expected an object", 1, 1},
	{"[]", "$", "is an array; expected an object", 1, 1},
	{"{}", "$", "has no \"version\", which is required; expected one of: egret/v1", 1, 1},
	{"{\"version\":\"egret/v2\"}", "$.version", "expected one of: egret/v1", 1, 12},
	{"{\"version\":1}", "$.version", "is a number; expected a string", 1, 12},
	{"{\"version\":\"egret/v1\",\n \"polices\":[]}", "$.polices", "unknown key", 2, 2},
	{"{\"version\":\"egret/v1\",\n \"limits\":[]}", "$.limits", "not supported by this version",
	 2, 2},
	{"{\"version\":\"egret/v1\",\"a\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}",
	 "$.a[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]", "nested too deeply", 1, 42},
	/* providers */
	{PROVIDER(OPENAI ",\"sku\":\"x\""), "$.providers.a.sku", "not supported by this version", 2,
	 0},
	{PROVIDER("\"kind\":\"azure\",\"endpoint\":\"https://x.example.org\""),
	 "$.providers.a.kind",
	 "kind \"azure\" is not supported by this version; expected one of: openai, anthropic", 2,
	 0},
	{PROVIDER("\"kind\":\"openai\""), "$.providers.a", "has no \"endpoint\"", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"\""), "$.providers.a.endpoint", "is empty", 2,
	 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"x.example.org\""), "$.providers.a.endpoint",
	 "is not a base URL; expected https://", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"ftp://x.example.org\""),
	 "$.providers.a.endpoint", "is not a base URL", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"https://u@x.example.org\""),
	 "$.providers.a.endpoint", "has a user, query or fragment", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"https://x.example.org/v1?k=1\""),
	 "$.providers.a.endpoint", "has a user, query or fragment", 2, 0},
	/* What stands there is often a key: it is not repeated in a log. */
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"https://sk-secret@x.example.org\""),
	 "$.providers.a.endpoint", "the URL has a user, query or fragment", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"https://" LONG_HOST "\""),
	 "$.providers.a.endpoint", "the host has 265 bytes; expected at most 253", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"https://X.example.org\""),
	 "$.providers.a.endpoint", "is not a host name", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"https://10.1.2.3/v1\""),
	 "$.providers.a.endpoint", "an address can't be verified by TLS", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"https://[::1]/v1\""),
	 "$.providers.a.endpoint", "IPv6 addresses", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"https://0x7f.1/v1\""),
	 "$.providers.a.endpoint", "is not a host name", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"https://llm.0x1f/v1\""),
	 "$.providers.a.endpoint", "is not a host name", 2, 0},
	{MATCH("\"hosts\":[\"a.example.0xff\"]"), "$.policies[0].routes[0].match.hosts[0]",
	 "is not a host name", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"https://x.example.org:0/v1\""),
	 "$.providers.a.endpoint", "expected 1 to 65535", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"https://x.example.org:65536/v1\""),
	 "$.providers.a.endpoint", "expected 1 to 65535", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"https://x.example.org:/v1\""),
	 "$.providers.a.endpoint", "expected 1 to 65535", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"https://x.example.org/../v1\""),
	 "$.providers.a.endpoint", "has a path that is not plain", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"https://x.example.org/a%2fb\""),
	 "$.providers.a.endpoint", "has a path that is not plain", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"http://x.example.org/v1\""),
	 "$.providers.a.endpoint", "plain http would send prompts and keys in the clear", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"http://127.0.0.1:8000/"
		  "v1\",\"region\":\"cluster\""),
	 "$.providers.a.endpoint", "is the node itself", 2, 0},
	{PROVIDER(OPENAI ",\"region\":\"moon\""), "$.providers.a.region", "is not known", 2, 0},
	{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"https://us.api.openai.com/"
		  "v1\",\"region\":\"EU\""),
	 "$.providers.a.region", "us.api.openai.com is in US", 2, 0},
	{PROVIDER(OPENAI ",\"credential\":\"no\""), "$.providers.a.credential",
	 "credential \"no\" is not defined", 2, 0},
	{PROVIDER(OPENAI ",\"ca_file\":\"/etc/ca.pem\""), "$.providers.a.ca_file", "is absolute", 2,
	 0},
	{PROVIDER(OPENAI ",\"models\":{\"gpt-*\":\"x\"}"), "$.providers.a.models[\"gpt-*\"]",
	 "no wildcards", 2, 0},
	{PROVIDER(OPENAI ",\"models\":{\"m\":\"a b\"}"), "$.providers.a.models.m", "no spaces", 2,
	 0},
	{PROVIDER(OPENAI ",\"models\":{\"m\":1}"), "$.providers.a.models.m", "expected a string", 2,
	 0},
	{PROVIDER(OPENAI ",\"allow_private\":1"), "$.providers.a.allow_private",
	 "expected true or false", 2, 0},
	{PROVIDER(OPENAI ",\"http2\":\"no\""), "$.providers.a.http2", "expected true or false", 2,
	 0},
	{PROVIDER(OPENAI ",\"fronts\":[]"), "$.providers.a.fronts", "expected 1 to 256", 2, 0},
	{PROVIDER(OPENAI ",\"fronts\":[\"*\"]"), "$.providers.a.fronts[0]", "is not a host name", 2,
	 0},
	{PROVIDER(OPENAI ",\"fronts\":[\"a.example\",\"a.example\"]"), "$.providers.a.fronts[1]",
	 "is in the list twice; expected each once", 2, 0},
	{"{\"version\":\"egret/v1\",\"providers\":{\"a b\":{" OPENAI "}}}", "$.providers[\"a b\"]",
	 "is not a name", 1, 0},
	/* credentials */
	{CREDENTIAL("\"type\":\"aws\""), "$.credentials.a.type", "not supported by this version", 2,
	 0},
	{CREDENTIAL("\"type\":\"bearer\""), "$.credentials.a", "has no \"file\"", 2, 0},
	{CREDENTIAL("\"type\":\"bearer\",\"file\":\"/k\""), "$.credentials.a.file", "is absolute",
	 2, 0},
	{CREDENTIAL("\"type\":\"bearer\",\"file\":\"../k\""), "$.credentials.a.file", "\"..\" part",
	 2, 0},
	{CREDENTIAL("\"type\":\"bearer\",\"file\":\"a/../k\""), "$.credentials.a.file",
	 "\"..\" part", 2, 0},
	{CREDENTIAL("\"type\":\"bearer\",\"file\":\"" X64 X64 X64 X64 "\""), "$.credentials.a.file",
	 "has a part of 256 bytes; expected at most 255", 2, 0},
	{CREDENTIAL("\"type\":\"bearer\",\"file\":\"a//k\""), "$.credentials.a.file", "an empty", 2,
	 0},
	{CREDENTIAL("\"type\":\"bearer\",\"file\":\"k\\n\""), "$.credentials.a.file",
	 "control character", 2, 0},
	{CREDENTIAL("\"type\":\"bearer\",\"file\":\"k\",\"header\":\"x\""),
	 "$.credentials.a.header", "always goes into Authorization", 2, 0},
	{CREDENTIAL("\"type\":\"header\",\"file\":\"k\""), "$.credentials.a", "has no \"header\"",
	 2, 0},
	{CREDENTIAL("\"type\":\"header\",\"file\":\"k\",\"header\":\"Content-Length\""),
	 "$.credentials.a.header", "can't carry a credential", 2, 0},
	{CREDENTIAL("\"type\":\"header\",\"file\":\"k\",\"header\":\"X-Egret-Via\""),
	 "$.credentials.a.header", "can't carry a credential", 2, 0},
	{CREDENTIAL("\"type\":\"header\",\"file\":\"k\",\"header\":\"accept-encoding\""),
	 "$.credentials.a.header", "can't carry a credential", 2, 0},
	{CREDENTIAL("\"type\":\"header\",\"file\":\"k\",\"header\":\"Proxy-Authorization\""),
	 "$.credentials.a.header", "can't carry a credential", 2, 0},
	{CREDENTIAL("\"type\":\"header\",\"file\":\"k\",\"header\":\"sec-websocket-key\""),
	 "$.credentials.a.header", "can't carry a credential", 2, 0},
	{CREDENTIAL("\"type\":\"header\",\"file\":\"k\",\"header\":\"Date\""),
	 "$.credentials.a.header", "can't carry a credential", 2, 0},
	{CREDENTIAL("\"type\":\"header\",\"file\":\"k\",\"header\":\"range\""),
	 "$.credentials.a.header", "can't carry a credential", 2, 0},
	{CREDENTIAL("\"type\":\"header\",\"file\":\"k\",\"header\":\"Via\""),
	 "$.credentials.a.header", "can't carry a credential", 2, 0},
	{CREDENTIAL("\"type\":\"header\",\"file\":\"k\",\"header\":\"HTTP2-Settings\""),
	 "$.credentials.a.header", "can't carry a credential", 2, 0},
	{CREDENTIAL("\"type\":\"header\",\"file\":\"k\",\"header\":\"WWW-Authenticate\""),
	 "$.credentials.a.header", "can't carry a credential", 2, 0},
	{CREDENTIAL("\"type\":\"header\",\"file\":\"k\",\"header\":\"x-forwarded-for\""),
	 "$.credentials.a.header", "can't carry a credential", 2, 0},
	{CREDENTIAL("\"type\":\"header\",\"file\":\"k\",\"header\":\"anthropic-version\""),
	 "$.credentials.a.header", "can't carry a credential", 2, 0},
	{CREDENTIAL("\"type\":\"header\",\"file\":\"k\",\"header\":\"x:y\""),
	 "$.credentials.a.header", "can't carry a credential", 2, 0},
	{CREDENTIAL("\"type\":\"none\",\"file\":\"k\""), "$.credentials.a", "is of type none", 2,
	 0},
	{CREDENTIAL("\"type\":\"bearer\",\"file\":\"k\",\"role_arn\":\"x\""),
	 "$.credentials.a.role_arn", "not supported by this version", 2, 0},
	{CREDENTIAL("\"type\":\"bearer\",\"file\":\"k\",\"namespace\":\"A_b\""),
	 "$.credentials.a.namespace", "is not a namespace", 2, 0},
	{"{\"version\":\"egret/v1\",\"credentials\":{\"a\":{\"type\":\"bearer\",\"file\":\"k\"},"
	 "\"b\":{\"type\":\"bearer\",\"file\":\"k\",\"namespace\":\"shop\"}}}",
	 "$.credentials.b", "for another owner", 1, 0},
	/* policies */
	{"{" BASE ",\"policies\":[{\"pods\":{},\"routes\":[]}]}", "$.policies[0]",
	 "has no \"name\"", 1, 0},
	{"{" BASE ",\"policies\":[{\"name\":\"p\",\"routes\":[]}]}", "$.policies[0]",
	 "has no \"pods\"", 1, 0},
	{"{" BASE ",\"policies\":[{\"name\":\"p\",\"pods\":{}}]}", "$.policies[0]",
	 "has no \"routes\"", 1, 0},
	{"{" BASE ",\"policies\":[7]}", "$.policies[0]", "is a number; expected an object", 1, 0},
	{POLICY("\"routes\":[],\"mode\":\"audit\""), "$.policies[0].mode",
	 "is \"audit\"; expected one of: enforce, shadow", 2, 0},
	{POLICY("\"routes\":[],\"shadow\":\"full\""), "$.policies[0].shadow",
	 "only for \"mode\": \"shadow\"; expected", 2, 0},
	{POLICY("\"routes\":[],\"limits\":[]"), "$.policies[0].limits",
	 "not supported by this version", 2, 0},
	{POLICY("\"routes\":[],\"fail\":\"maybe\""), "$.policies[0].fail", "expected one of: open",
	 2, 0},
	{POLICY("\"routes\":[],\"capture\":\"some\""), "$.policies[0].capture", "expected one of",
	 2, 0},
	{POLICY("\"routes\":[],\"otherwise\":\"drop\""), "$.policies[0].otherwise",
	 "expected one of: deny, pass", 2, 0},
	{POLICY("\"routes\":[],\"regions\":{}"), "$.policies[0].regions", "has no \"allow\"", 2, 0},
	{POLICY("\"routes\":[],\"regions\":{\"allow\":[]}"), "$.policies[0].regions.allow",
	 "has 0 elements", 2, 0},
	{POLICY("\"routes\":[],\"regions\":{\"allow\":[\"Europe\"]}"),
	 "$.policies[0].regions.allow[0]", "is not known", 2, 0},
	{POLICY("\"routes\":[],\"regions\":{\"allow\":[\"GLOBAL\"]}"),
	 "$.policies[0].regions.allow[0]", "GLOBAL is no place; expected a region", 2, 0},
	{"{" BASE
	 ",\"policies\":[{\"name\":\"p\",\"routes\":[],\"pods\":{\"namespaces\":[\"a*\"]}}]}",
	 "$.policies[0].pods.namespaces[0]", "no wildcards", 1, 0},
	{"{" BASE
	 ",\"policies\":[{\"name\":\"p\",\"routes\":[],\"pods\":{\"labels\":{\"a b\":\"c\"}}}]}",
	 "$.policies[0].pods.labels[\"a b\"]", "is not a label", 1, 0},
	{"{" BASE ",\"policies\":[{\"name\":\"p\",\"routes\":[],\"pods\":{\"labels\":{}}}]}",
	 "$.policies[0].pods.labels", "has 0 elements", 1, 0},
	{"{" BASE ",\"policies\":[{\"name\":\"p\",\"routes\":[],\"pods\":{\"namespaceLabels\":{\"a "
	 "b\":\"c\"}}}]}",
	 "$.policies[0].pods.namespaceLabels[\"a b\"]", "is not a label", 1, 0},
	{"{" BASE
	 ",\"policies\":[{\"name\":\"p\",\"routes\":[],\"pods\":{\"namespaceLabels\":{}}}]}",
	 "$.policies[0].pods.namespaceLabels", "has 0 elements", 1, 0},
	{"{" BASE ",\"policies\":[{\"name\":\"p\",\"pods\":{},\"routes\":[]},\n"
	 "{\"name\":\"p\",\"pods\":{},\"routes\":[]}]}",
	 "$.policies[1].name", "expected different names", 2, 9},
	{POLICY("\"routes\":[{\"name\":\"r\",\"match\":{},\"targets\":[{\"provider\":\"eu\"}]},"
		"{\"name\":\"r\",\"match\":{},\"targets\":[{\"provider\":\"eu\"}]}]"),
	 "$.policies[0].routes[1].name", "another route of this policy is named", 2, 0},
	/* routes */
	{POLICY("\"routes\":[{}]"), "$.policies[0].routes[0]", "has no \"name\"", 2, 0},
	{ROUTE("\"targets\":[{\"provider\":\"eu\"}]"), "$.policies[0].routes[0]",
	 "has no \"match\"", 2, 0},
	{ROUTE("\"match\":{}"), "$.policies[0].routes[0]", "has no \"targets\"", 2, 0},
	{ROUTE("\"match\":{},\"targets\":[]"), "$.policies[0].routes[0].targets", "has 0 elements",
	 2, 0},
	{ROUTE("\"match\":{},\"targets\":[{\"provider\":\"x\"}]"),
	 "$.policies[0].routes[0].targets[0].provider", "provider \"x\" is not defined", 2, 0},
	{ROUTE("\"match\":{},\"targets\":[{\"provider\":\"eu\"},{\"provider\":\"eu\"}]"),
	 "$.policies[0].routes[0].targets[1].provider",
	 "is a target of this route already; expected each once", 2, 0},
	{ROUTE("\"match\":{},\"targets\":[{\"provider\":\"eu\",\"may_drop\":[]}]"),
	 "$.policies[0].routes[0].targets[0].may_drop", "not supported by this version", 2, 0},
	{ROUTE("\"match\":{},\"targets\":[{\"provider\":\"eu\"}],\"processors\":[]"),
	 "$.policies[0].routes[0].processors", "not supported by this version", 2, 0},
	{ROUTE("\"match\":{},\"targets\":[{\"provider\":\"eu\"}],\"replay\":\"twice\""),
	 "$.policies[0].routes[0].replay", "expected one of: at_least_once, never", 2, 0},
	{ROUTE("\"match\":{},\"targets\":[{\"provider\":\"eu\"}],\"max_body_bytes\":0"),
	 "$.policies[0].routes[0].max_body_bytes", "expected an integer from 1 to 268435456", 2, 0},
	{ROUTE("\"match\":{},\"targets\":[{\"provider\":\"eu\"}],\"timeouts\":{\"total_ms\":0}"),
	 "$.policies[0].routes[0].timeouts.total_ms", "expected an integer from 1 to", 2, 0},
	{ROUTE("\"match\":{},\"targets\":[{\"provider\":\"eu\"}],\"timeouts\":{\"total_ms\":1.5}"),
	 "$.policies[0].routes[0].timeouts.total_ms", "expected an integer", 2, 0},
	{ROUTE("\"match\":{},\"targets\":[{\"provider\":\"eu\"}],\"timeouts\":{\"total_ms\":9,"
	       "\"connect_ms\":10}"),
	 "$.policies[0].routes[0]", "connect_ms 10 is more than total_ms 9", 2, 0},
	{MATCH("\"hosts\":[\"API.openai.com\"]"), "$.policies[0].routes[0].match.hosts[0]",
	 "is not a host name", 2, 0},
	{MATCH("\"hosts\":[\"https://api.openai.com\"]"), "$.policies[0].routes[0].match.hosts[0]",
	 "no scheme, port, path or address", 2, 0},
	{MATCH("\"hosts\":[\"10.0.0.1\"]"), "$.policies[0].routes[0].match.hosts[0]",
	 "is not a host name", 2, 0},
	{MATCH("\"hosts\":[\"*\"]"), "$.policies[0].routes[0].match.hosts[0]", "is not a host name",
	 2, 0},
	{MATCH("\"hosts\":[\"vllm\"]"), "$.policies[0].routes[0].match.hosts[0]", "has one label",
	 2, 0},
	{MATCH("\"hosts\":[\"*.a.b.c.d.e.f.g.h.i.j.k.l.m.n.example.com\"]"),
	 "$.policies[0].routes[0].match.hosts[0]", "expected at most 15 after \"*.\"", 2, 0},
	{"{\"version\":\"egret/v1\",\"destinations\":[{\"cidr\":\"203.0.113.0/24\",\"hosts\":["
	 "\"*.a.b.c.d.e.f.g.h.i.j.k.l.m.n.example.com\"]}]}",
	 "$.destinations[0].hosts[0]", "expected at most 15 after \"*.\"", 1, 0},
	{MATCH("\"hosts\":[\"*.com\"]"), "$.policies[0].routes[0].match.hosts[0]",
	 "whole top-level domain", 2, 0},
	{MATCH("\"hosts\":[\"a.*.com\"]"), "$.policies[0].routes[0].match.hosts[0]",
	 "is not a host name", 2, 0},
	{MATCH("\"hosts\":[\"a.com.\"]"), "$.policies[0].routes[0].match.hosts[0]",
	 "is not a host name", 2, 0},
	{MATCH("\"hosts\":[\"a.example.org\",\"a.example.org\"]"),
	 "$.policies[0].routes[0].match.hosts[1]", "is in the list twice; expected each once", 2,
	 0},
	{MATCH("\"operations\":[\"files\",\"models\",\"files\"]"),
	 "$.policies[0].routes[0].match.operations[2]",
	 "operation \"files\" is in the list twice; expected each once", 2, 0},
	{POLICY("\"routes\":[],\"regions\":{\"allow\":[\"EU\",\"EU\"]}"),
	 "$.policies[0].regions.allow[1]", "region \"EU\" is in the list twice; expected each once",
	 2, 0},
	{POLICY("\"routes\":[],\"regions\":{\"allow\":[\"EU:DE\",\"DE\"]}"),
	 "$.policies[0].regions.allow[1]", "region \"DE\" is in the list twice; expected each once",
	 2, 0},
	{"{" BASE ",\"policies\":[{\"name\":\"p\",\"routes\":[],\"pods\":{\"namespaces\":[\"UPPER "
	 "CASE\"]}}]}",
	 "$.policies[0].pods.namespaces[0]",
	 "\"UPPER CASE\" is not a namespace; expected lower-case", 1, 0},
	{"{" BASE ",\"policies\":[{\"name\":\"p\",\"routes\":[],\"pods\":{\"serviceAccounts\":["
	 "\"a\",\"Default\"]}}]}",
	 "$.policies[0].pods.serviceAccounts[1]",
	 "\"Default\" is not the name of a service account; expected lower-case", 1, 0},
	{"{" BASE ",\"policies\":[{\"name\":\"p\",\"routes\":[],\"pods\":{\"serviceAccounts\":[\"a."
	 ".b\"]}}]}",
	 "$.policies[0].pods.serviceAccounts[0]", "is not the name of a service account; expected",
	 1, 0},
	{MATCH("\"models\":[\"gpt[4]\"]"), "$.policies[0].routes[0].match.models[0]",
	 "is not a model glob", 2, 0},
	{MATCH("\"models\":[\"a**b\"]"), "$.policies[0].routes[0].match.models[0]", "\"**\"", 2, 0},
	{MATCH("\"models\":[\"\"]"), "$.policies[0].routes[0].match.models[0]", "is empty", 2, 0},
	{MATCH("\"models\":[\"*a*a*a*a*a*a*a*a*a\"]"), "$.policies[0].routes[0].match.models[0]",
	 "at most 8", 2, 0},
	{MATCH("\"models\":[]"), "$.policies[0].routes[0].match.models", "has 0 elements", 2, 0},
	{MATCH("\"operations\":[\"chat\"]"), "$.policies[0].routes[0].match.operations[0]",
	 "operation \"chat\" is not known", 2, 0},
	{MATCH("\"operations\":[\"realtime.client_secrets\"]"),
	 "$.policies[0].routes[0].match.operations[0]", "it would put a key into a pod", 2, 0},
	{MATCH("\"operations\":[\"organization\"]"), "$.policies[0].routes[0].match.operations[0]",
	 "administers the provider's account", 2, 0},
	/* the rest */
	{"{\"version\":\"egret/v1\",\"destinations\":[{}]}", "$.destinations[0]", "has no \"cidr\"",
	 1, 0},
	{"{\"version\":\"egret/v1\",\"destinations\":[{\"cidr\":\"10.0.0.0\"}]}",
	 "$.destinations[0].cidr", "is not a network", 1, 0},
	{"{\"version\":\"egret/v1\",\"destinations\":[{\"cidr\":\"10.0.0.0/33\"}]}",
	 "$.destinations[0].cidr", "is not a network", 1, 0},
	{"{\"version\":\"egret/v1\",\"destinations\":[{\"cidr\":\"10.0.0.1/8\"}]}",
	 "$.destinations[0].cidr", "has bits set after its prefix", 1, 0},
	{"{\"version\":\"egret/v1\",\"destinations\":[{\"cidr\":\"1.2.3.0/024\"}]}",
	 "$.destinations[0].cidr", "is not a network; expected address/bits", 1, 0},
	{"{\"version\":\"egret/v1\",\"destinations\":[{\"cidr\":\"::ffff:1.2.3.0/120\"}]}",
	 "$.destinations[0].cidr", "is IPv4 written as IPv6, which no packet has; expected 1.2.3.0",
	 1, 0},
	{"{\"version\":\"egret/v1\",\"destinations\":[{\"cidr\":\"0.0.0.0/0\"}]}",
	 "$.destinations[0].cidr", "governs too much", 1, 0},
	{"{\"version\":\"egret/v1\",\"destinations\":[{\"cidr\":\"127.0.0.0/8\"}]}",
	 "$.destinations[0].cidr", "is loopback", 1, 0},
	{"{\"version\":\"egret/v1\",\"destinations\":[{\"cidr\":\"169.254.0.0/16\"}]}",
	 "$.destinations[0].cidr", "is loopback, link-local", 1, 0},
	{"{\"version\":\"egret/v1\",\"destinations\":[{\"cidr\":\"fe80::/16\"}]}",
	 "$.destinations[0].cidr", "is loopback, link-local", 1, 0},
	{"{\"version\":\"egret/v1\",\"destinations\":[{\"cidr\":\"10.0.0.0/8\"},"
	 "{\"cidr\":\"10.0.0.0/8\"}]}",
	 "$.destinations[1].cidr", "is a destination already; expected each once", 1, 0},
	{"{\"version\":\"egret/v1\",\"defaults\":{\"fail\":\"no\"}}", "$.defaults.fail",
	 "expected one of: open, closed", 1, 0},
};

/* Of every error, whatever it is: file, path, and what was expected. */
static void assert_complete(const struct eg_policy_errors *e)
{
	for (size_t i = 0; i < e->count; i++) {
		const struct eg_policy_error *x = &e->item[i];

		if (x->warning)
			continue;
		if (!*x->file || x->path[0] != '$' || !strstr(x->text, "expected"))
			fail_msg("not complete: \"%s\": \"%s\": %s", x->file, x->path, x->text);
	}
}

static void every_mistake_is_named(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(bads); i++) {
		const struct bad *b = &bads[i];
		struct eg_policy_errors e;
		struct eg_policy_set *s;
		bool found = false;
		int r = load_text(b->text, &s, &e);

		for (size_t k = 0; k < e.count; k++) {
			const struct eg_policy_error *x = &e.item[k];

			if (x->warning || strcmp(x->path, b->path) || !strstr(x->text, b->says))
				continue;
			found = !strcmp(x->file, "test.json") && x->line == b->line &&
				(!b->column || x->column == b->column);
		}
		if (r != -EINVAL || !found) {
			fprintf(stderr, "case %zu: %s\nexpected %d:%d %s: %s; got %d\n", i, b->text,
				b->line, b->column, b->path, b->says, r);
			print_errors(&e);
		}
		assert_int_equal(r, -EINVAL);
		assert_true(found);
		assert_null(s);
		assert_complete(&e);
		eg_policy_errors_fini(&e);
	}
}

/* Eight MiB with more errors than are kept: each has its line, or finding them would take long. */
static void places_of_many_errors(void **state)
{
	struct eg_policy_errors e;
	struct eg_policy_set *s;
	struct eg_buf text;
	size_t without = 0;

	eg_buf_init(&text, EG_POLICY_MAX_FILE_BYTES);
	assert_int_equal(eg_buf_printf(&text, "{\"version\":\"egret/v1\",\"policies\":["), 0);
	for (int i = 0; i < 19000; i++)
		assert_int_equal(eg_buf_printf(&text,
					       "%s\n{\"name\":\"p%d\",\"pods\":{},\"routes\":[],"
					       "\"otherwise\":\"%0*d\"}",
					       i ? "," : "", i, 360, 0),
				 0);
	assert_int_equal(eg_buf_append_str(&text, EG_STR("]}")), 0);
	assert_int_equal(load_text(eg_buf_str(&text).p, &s, &e), -EINVAL);
	assert_int_equal(e.count, EG_POLICY_MAX_ERRORS);
	for (size_t i = 0; i < e.count; i++)
		assert_int_equal(e.item[i].line, i + 2);
	eg_policy_errors_fini(&e);
	/* Members of one large object have to be looked for in all of it: the first have a line. */
	eg_buf_fini(&text);
	eg_buf_init(&text, EG_POLICY_MAX_FILE_BYTES);
	assert_int_equal(eg_buf_printf(&text, "{\"version\":\"egret/v1\",\"providers\":{"), 0);
	for (int i = 0; i < 4000; i++)
		assert_int_equal(eg_buf_printf(&text,
					       "%s\n\"p%d\":{" OPENAI ",\"region\":\"%0*d\"}",
					       i ? "," : "", i, 1900, 0),
				 0);
	assert_int_equal(eg_buf_append_str(&text, EG_STR("}}")), 0);
	assert_int_equal(load_text(eg_buf_str(&text).p, &s, &e), -EINVAL);
	assert_int_equal(e.count, EG_POLICY_MAX_ERRORS);
	for (size_t i = 0; i < e.count; i++) {
		assert_non_null(strstr(e.item[i].path, "$.providers.p"));
		without += !e.item[i].line;
	}
	assert_in_range(without, 150, EG_POLICY_MAX_ERRORS - 5);
	eg_policy_errors_fini(&e);
	eg_buf_fini(&text);
}

static int load_two(const char *a, const char *b, struct eg_policy_set **s,
		    struct eg_policy_errors *e)
{
	struct eg_policy_file files[] = {{EG_STR("b.json"), eg_str_from(b)},
					 {EG_STR("a.json"), eg_str_from(a)}};

	*s = NULL;
	return eg_policy_load(files, 2, s, e);
}

/* A type that nobody knows is no "none" with a file too much; what can't be read is not missing
 * too. */
static void one_mistake_one_error(void **state)
{
#define ROUTES                                                                              \
	"\"policies\":[{\"name\":\"p\",\"pods\":{},\"routes\":[{\"name\":\"r\",\"match\":{" \
	"\"hosts\":[\"h.example.org\"]},\"targets\":[{"                                     \
	"\"provider\":\"a\"}]}]}]"
	static const struct {
		const char *text, *path;
	} cases[] = {
		{CREDENTIAL("\"type\":\"oauth\",\"file\":\"k\""), "$.credentials.a.type"},
		{"{\"version\":\"egret/"
		 "v1\",\"credentials\":{\"k\":\"text\"},\"providers\":{\"a\":{" OPENAI
		 ",\"credential\":\"k\"}}}",
		 "$.credentials.k"},
		{"{\"version\":\"egret/v1\",\"credentials\":[],\"providers\":{\"a\":{" OPENAI
		 ",\"credential\":\"k\"}}}",
		 "$.credentials"},
		{"{\"version\":\"egret/v1\",\"providers\":{\"a\":7}," ROUTES "}", "$.providers.a"},
		{"{\"version\":\"egret/v1\",\"providers\":[]," ROUTES "}", "$.providers"},
	};
	struct eg_policy_errors e;
	struct eg_policy_set *s;

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		assert_int_equal(load_text(cases[i].text, &s, &e), -EINVAL);
		if (e.count != 1)
			print_errors(&e);
		assert_int_equal(e.count, 1);
		assert_string_equal(e.item[0].path, cases[i].path);
		eg_policy_errors_fini(&e);
	}
	/* A file that is no JSON may have had what another refers to. */
	assert_int_equal(load_two("{\"version\":\"egret/v1\"," ROUTES "}", "{", &s, &e), -EINVAL);
	assert_int_equal(e.count, 1);
	assert_string_equal(e.item[0].file, "b.json");
	eg_policy_errors_fini(&e);
#undef ROUTES
}

/* A path that does not fit says that it was cut; one that does is whole, however odd its keys. */
static void paths_are_whole(void **state)
{
	char key[700], text[1000];
	struct eg_policy_errors e;
	struct eg_policy_set *s;

	for (size_t n = 200; n <= 600; n += 400) {
		memset(key, 'k', n);
		key[n] = '\0';
		snprintf(text, sizeof(text), "{\"version\":\"egret/v1\",\"%s\":1}", key);
		assert_int_equal(load_text(text, &s, &e), -EINVAL);
		assert_int_equal(strlen(e.item[0].path), EG_MIN(n + 2, sizeof(e.item[0].path) - 1));
		assert_int_equal(!strcmp(e.item[0].path + strlen(e.item[0].path) - 3, "..."),
				 n == 600);
		eg_policy_errors_fini(&e);
	}
	assert_int_equal(
		load_text("{\"version\":\"egret/v1\",\"a\\\"b]\\u001b\\u00e9\":1}", &s, &e),
		-EINVAL);
	assert_string_equal(e.item[0].path, "$[\"a\\\"b]\\u001b\xc3\xa9\"]");
	eg_policy_errors_fini(&e);
}

/* A key pasted into the wrong field: its place is said, the key is not. */
static void keys_are_not_repeated(void **state)
{
#define MARKED "sk-proj-abcdefghij0123456789"
#define HEX    "0123456789abcdef0123456789abcdef"
#define BASE64 "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE12"
#define FIELDS(k)                                                                                \
	{PROVIDER(OPENAI ",\"credential\":\"" k "\""), "$.providers.a.credential"},              \
		{PROVIDER(OPENAI ",\"region\":\"" k "\""), "$.providers.a.region"},              \
		{PROVIDER(OPENAI ",\"" k "\":1"), "$.providers.a"},                              \
		{PROVIDER("\"kind\":\"" k "\",\"endpoint\":\"https://x.example.org\""),          \
		 "$.providers.a.kind"},                                                          \
		{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"" k "\""),                         \
		 "$.providers.a.endpoint"},                                                      \
		{CREDENTIAL("\"type\":\"" k "\""), "$.credentials.a.type"},                      \
		{CREDENTIAL("\"type\":\"bearer\",\"file\":\"" k "\""), "$.credentials.a.file"},  \
		{CREDENTIAL("\"type\":\"bearer\",\"file\":\"/" k "\""), "$.credentials.a.file"}, \
		{CREDENTIAL("\"type\":\"header\",\"file\":\"k\",\"header\":\"" k "=\""),         \
		 "$.credentials.a.header"},                                                      \
		{CREDENTIAL("\"type\":\"bearer\",\"file\":\"k\",\"namespace\":\"" k "=\""),      \
		 "$.credentials.a.namespace"},                                                   \
	{                                                                                        \
		ROUTE("\"targets\":[{\"provider\":\"" k "\"}]"), "$.policies[0].routes[0]"       \
	}
	static const struct {
		const char *text, *path; /* what the path begins with */
	} fields[] = {
		FIELDS(MARKED),
		FIELDS(HEX),
		FIELDS(BASE64),
		{PROVIDER("\"kind\":\"openai\",\"endpoint\":\"https://x.example.org/" MARKED "\""),
		 "$.providers.a.endpoint"},
		{"{\"version\":\"egret/v1\",\"credentials\":{\"" MARKED "\":{\"type\":\"none\"}}}",
		 "$.credentials."},
		{"{\"version\":\"egret/v1\",\"providers\":{\"" MARKED "\":{" OPENAI "}}}",
		 "$.providers."},
		{"{\"version\":\"egret/v1\",\"" MARKED "\":1}", "$."},
	};

	(void)state;
	for (size_t i = 0; i < EG_ARRAY_SIZE(fields); i++) {
		struct eg_policy_errors e;
		struct eg_policy_set *s;

		assert_int_equal(load_text(fields[i].text, &s, &e), -EINVAL);
		assert_true(e.count > 0);
		assert_true(!strncmp(e.item[0].path, fields[i].path, strlen(fields[i].path)));
		for (size_t k = 0; k < e.count; k++) {
			const char *said[] = {e.item[k].path, e.item[k].text};

			for (size_t j = 0; j < 2; j++)
				if (strstr(said[j], "abcdef") || strstr(said[j], "wJalr") ||
				    strstr(said[j], "YEXAM"))
					fail_msg("%zu: %s: %s", i, e.item[k].path, e.item[k].text);
		}
		eg_policy_errors_fini(&e);
	}
#undef FIELDS
}

static void all_errors_at_once(void **state)
{
	struct eg_policy_errors e;
	struct eg_policy_set *s;

	assert_int_equal(load_text("{\"version\":\"x\",\"a\":1,\"providers\":{\"p\":{}},"
				   "\"credentials\":{\"c\":{\"type\":\"x\"}},\"policies\":[{}]}",
				   &s, &e),
			 -EINVAL);
	/* version, a, kind, endpoint, type, and a policy's name, pods, routes */
	assert_int_equal(e.count, 8);
	eg_policy_errors_fini(&e);
}

static void errors_are_bounded(void **state)
{
	size_t size = 200000, n;
	char *text = malloc(size);
	struct eg_policy_errors e;
	struct eg_policy_set *s;

	assert_non_null(text);
	n = (size_t)snprintf(text, size, "{\"version\":\"egret/v1\"");
	for (int i = 0; i < 1000; i++)
		n += (size_t)snprintf(text + n, size - n, ",\"k%d\":1", i);
	snprintf(text + n, size - n, "}");
	assert_int_equal(load_text(text, &s, &e), -EINVAL);
	assert_int_equal(e.count, EG_POLICY_MAX_ERRORS);
	assert_non_null(strstr(e.item[e.count - 1].text, "801 more errors"));
	eg_policy_errors_fini(&e);
	free(text);
}

static void names_differ_over_files(void **state)
{
	static const struct {
		const char *text, *path;
	} twice[] = {
		{"{\"version\":\"egret/v1\",\"providers\":{\"x\":{" OPENAI "}}}", "$.providers.x"},
		{"{\"version\":\"egret/v1\",\"credentials\":{\"x\":{\"type\":\"none\"}}}",
		 "$.credentials.x"},
		{"{\"version\":\"egret/"
		 "v1\",\"policies\":[{\"name\":\"x\",\"pods\":{},\"routes\":[]}]}",
		 "$.policies[0].name"},
		{"{\"version\":\"egret/v1\",\"defaults\":{}}", "$.defaults"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(twice); i++) {
		struct eg_policy_errors e;
		struct eg_policy_set *s;

		assert_int_equal(load_two(twice[i].text, twice[i].text, &s, &e), -EINVAL);
		assert_int_equal(e.count, 1);
		/* Reported at the second file in order of name, naming the first. */
		assert_string_equal(e.item[0].file, "b.json");
		assert_string_equal(e.item[0].path, twice[i].path);
		assert_non_null(strstr(e.item[0].text, "a.json"));
		eg_policy_errors_fini(&e);
	}
}

static void files_refer_to_each_other(void **state)
{
	struct eg_policy_errors e;
	struct eg_policy_set *s;
	const struct eg_policy *p;
	size_t n;

	assert_int_equal(
		load_two("{\"version\":\"egret/v1\",\"policies\":[{\"name\":\"p\",\"pods\":{},"
			 "\"routes\":[{\"name\":\"r\",\"match\":{\"hosts\":[\"h.example.org\"]},"
			 "\"targets\":[{\"provider\":\"x\"}]}]}]}",
			 "{\"version\":\"egret/v1\",\"defaults\":{\"fail\":\"open\","
			 "\"timeouts\":{\"idle_ms\":7}},\"providers\":{\"x\":{" OPENAI "}}}",
			 &s, &e),
		0);
	p = eg_policies(s, &n);
	assert_int_equal(n, 1);
	assert_true(p->fail_open);
	assert_int_equal(p->routes[0].timeouts.idle_ms, 7);
	assert_int_equal(p->routes[0].timeouts.connect_ms, 5000);
	assert_string_equal(p->routes[0].targets[0].provider->name, "x");
	eg_policy_set_unref(s);
	eg_policy_errors_fini(&e);
}

static void version_follows_the_bytes(void **state)
{
	struct eg_policy_set *a = must_load("{\"version\":\"egret/v1\"}");
	struct eg_policy_set *b = must_load("{\"version\":\"egret/v1\" }");
	struct eg_policy_set *c = must_load("{\"version\":\"egret/v1\"}");

	assert_int_equal(strlen(eg_policy_version(a)), 16);
	assert_string_equal(eg_policy_version(a), eg_policy_version(c));
	assert_string_not_equal(eg_policy_version(a), eg_policy_version(b));
	eg_policy_set_unref(a);
	eg_policy_set_unref(b);
	eg_policy_set_unref(c);
}

static void limits_hold(void **state)
{
	struct eg_policy_file many[EG_POLICY_MAX_FILES + 1];
	struct eg_policy_file huge = {EG_STR("huge.json"), {NULL, 0}};
	struct eg_policy_errors e;
	struct eg_policy_set *s = NULL;
	char *text = calloc(1, EG_POLICY_MAX_FILE_BYTES + 2);

	assert_non_null(text);
	for (size_t i = 0; i < EG_ARRAY_SIZE(many); i++)
		many[i] = (struct eg_policy_file){EG_STR("x.json"), EG_STR("{}")};
	assert_int_equal(eg_policy_load(many, EG_ARRAY_SIZE(many), &s, &e), -EINVAL);
	assert_int_equal(count_reports(&e, false, "257 files; expected at most 256"), 1);
	eg_policy_errors_fini(&e);
	memset(text, ' ', EG_POLICY_MAX_FILE_BYTES + 1);
	huge.text = (struct eg_str){text, EG_POLICY_MAX_FILE_BYTES + 1};
	assert_int_equal(eg_policy_load(&huge, 1, &s, &e), -EINVAL);
	assert_int_equal(count_reports(&e, false, "expected at most"), 1);
	eg_policy_errors_fini(&e);
	/* A bomb of brackets is refused before the parser recurses. */
	memset(text, '[', EG_POLICY_MAX_FILE_BYTES);
	huge.text.n = EG_POLICY_MAX_FILE_BYTES;
	assert_int_equal(eg_policy_load(&huge, 1, &s, &e), -EINVAL);
	assert_int_equal(count_reports(&e, false, "nested too deeply"), 1);
	eg_policy_errors_fini(&e);
	assert_int_equal(eg_policy_load(NULL, 0, &s, &e), -EINVAL);
	assert_int_equal(count_reports(&e, false, "there is no policy file"), 1);
	eg_policy_errors_fini(&e);
	free(text);
}

/* `routes` routes, each with `hosts` hosts and `models` models that begin with `model`. */
static char *many_rules(int routes, int hosts, int models, const char *model)
{
	size_t size = 8u << 20, n;
	char *text = malloc(size);

	assert_non_null(text);
	n = (size_t)snprintf(text, size,
			     "{" BASE ",\"policies\":[{\"name\":\"p\",\"pods\":{},"
			     "\"routes\":[");
	for (int r = 0; r < routes; r++) {
		n += (size_t)snprintf(text + n, size - n,
				      "%s{\"name\":\"r%d\",\"targets\":"
				      "[{\"provider\":\"eu\"}],\"match\":{\"hosts\":[",
				      r ? "," : "", r);
		for (int h = 0; h < hosts; h++)
			n += (size_t)snprintf(text + n, size - n, "%s\"h%d.example.org\"",
					      h ? "," : "", h);
		n += (size_t)snprintf(text + n, size - n, "],\"models\":[");
		for (int m = 0; m < models; m++)
			n += (size_t)snprintf(text + n, size - n, "%s\"%s%d-%d\"", m ? "," : "",
					      model, r, m);
		n += (size_t)snprintf(text + n, size - n, "]}}");
	}
	snprintf(text + n, size - n, "]}]}");
	return text;
}

static void products_are_bounded(void **state)
{
	static const struct {
		int routes, hosts, models;
		const char *model, *says;
	} cases[] = {
		{20, 256, 256, "m", "make more than 1000000 rules"},
		{5, 1, 256, "a*", "more than 1024 model globs"},
		{4, 1, 256, "a*", NULL},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		char *text = many_rules(cases[i].routes, cases[i].hosts, cases[i].models,
					cases[i].model);
		struct eg_policy_errors e;
		struct eg_policy_set *s;

		assert_int_equal(load_text(text, &s, &e), cases[i].says ? -EINVAL : 0);
		if (cases[i].says)
			assert_int_equal(count_reports(&e, false, cases[i].says), 1);
		eg_policy_set_unref(s);
		eg_policy_errors_fini(&e);
		free(text);
	}
}

/* `count` different hosts, of as many destinations as that takes. */
static char *many_names(int count)
{
	size_t size = 1u << 20, n;
	char *text = malloc(size);

	assert_non_null(text);
	n = (size_t)snprintf(text, size, "{\"version\":\"egret/v1\",\"destinations\":[");
	for (int i = 0; i < count; i++) {
		if (i % 256 == 0)
			n += (size_t)snprintf(text + n, size - n,
					      "%s{\"cidr\":\"203.0.%d.0/24\",\"hosts\":[",
					      i ? "]}," : "", i / 256);
		n += (size_t)snprintf(text + n, size - n, "%s\"h%d.example.org\"",
				      i % 256 ? "," : "", i);
	}
	snprintf(text + n, size - n, "]}]}");
	return text;
}

/* One too many, and many: what has no place is written nowhere. */
static void names_are_bounded(void **state)
{
	static const int counts[] = {4096, 4097, 4098, 12000};

	for (size_t i = 0; i < EG_ARRAY_SIZE(counts); i++) {
		char *text = many_names(counts[i]);
		struct eg_policy_errors e;
		struct eg_policy_set *s;
		size_t n = 0;

		assert_int_equal(load_text(text, &s, &e), counts[i] > 4096 ? -EINVAL : 0);
		assert_int_equal(count_reports(&e, false, "more than 4096 different hosts"),
				 counts[i] > 4096);
		if (s)
			(void)eg_watched_names(s, &n);
		assert_int_equal(n, counts[i] > 4096 ? 0 : 4096);
		eg_policy_set_unref(s);
		eg_policy_errors_fini(&e);
		free(text);
	}
}

#define TWO_ROUTES(first, second)                                                         \
	"{" BASE ",\"policies\":[{\"name\":\"p\",\"pods\":{},\"routes\":["                \
	"{\"name\":\"r1\",\"targets\":[{\"provider\":\"world\"}],\"match\":{" first "}}," \
	"{\"name\":\"r2\",\"targets\":[{\"provider\":\"world\"}],\"match\":{" second "}}]}]}"

#define PODS2(name1, pods1, name2, pods2)                                                      \
	"{" BASE ",\"policies\":[{\"name\":\"" name1 "\",\"pods\":{" pods1 "},\"routes\":[]}," \
	"{\"name\":\"" name2 "\",\"pods\":{" pods2 "},\"routes\":[]}]}"

static void warnings(void **state)
{
	static const struct {
		const char *text, *says;
		size_t count;
	} cases[] = {
		{"{" BASE
		 ",\"policies\":[{\"name\":\"a\",\"pods\":{\"namespaces\":[\"n\"]},\"routes\":[]},"
		 "{\"name\":\"b\",\"pods\":{\"namespaces\":[\"n\",\"m\"]},\"routes\":[]}]}",
		 "\"a\" wins by name", 1},
		/* Once, though they share two namespaces. */
		{"{" BASE ",\"policies\":[{\"name\":\"a\",\"pods\":{\"namespaces\":[\"n\",\"m\"]},"
		 "\"routes\":[]},{\"name\":\"b\",\"pods\":{\"namespaces\":[\"m\",\"n\"]},"
		 "\"routes\":[]}]}",
		 "\"a\" wins by name", 1},
		{"{" BASE ",\"policies\":[{\"name\":\"a\",\"pods\":{\"labels\":{\"x\":\"1\"}},"
		 "\"routes\":[]},"
		 "{\"name\":\"b\",\"pods\":{\"labels\":{\"x\":\"2\"}},\"routes\":[]}]}",
		 "wins by name", 0},
		{"{" BASE
		 ",\"policies\":[{\"name\":\"a\",\"pods\":{\"namespaces\":[\"n\"]},\"routes\":[]},"
		 "{\"name\":\"b\",\"pods\":{},\"routes\":[]}]}",
		 "wins by name", 0},
		/* A namespace may have the labels whatever its name is; once, whichever wins. */
		{PODS2("a", "\"namespaces\":[\"n\",\"m\"]", "b",
		       "\"namespaceLabels\":{\"x\":\"1\"}"),
		 "\"a\" wins by name", 1},
		{PODS2("b", "\"namespaces\":[\"n\",\"m\"]", "a",
		       "\"namespaceLabels\":{\"x\":\"1\"}"),
		 "\"a\" wins by name", 1},
		{PODS2("a", "\"namespaceLabels\":{\"x\":\"1\"}", "b",
		       "\"namespaceLabels\":{\"y\":\"1\"}"),
		 "\"a\" wins by name", 1},
		{PODS2("a", "\"namespaceLabels\":{\"x\":\"1\"}", "b",
		       "\"namespaceLabels\":{\"x\":\"2\"}"),
		 "wins by name", 0},
		/* Not as specific. */
		{PODS2("a", "\"namespaces\":[\"n\"],\"labels\":{\"x\":\"1\"}", "b",
		       "\"namespaceLabels\":{\"x\":\"1\"}"),
		 "wins by name", 0},
		{PODS2("a", "\"labels\":{\"x\":\"1\"}", "b", "\"namespaceLabels\":{\"x\":\"1\"}"),
		 "wins by name", 0},
		{"{" BASE "}", "\"claude\" is used by nothing", 1},
		{"{\"version\":\"egret/v1\",\"credentials\":{\"x\":{\"type\":\"none\"}}}",
		 "\"x\" is used by nothing", 1},
		{TWO_ROUTES("\"hosts\":[\"a.example.org\"]", "\"hosts\":[\"a.example.org\"]"),
		 "route \"r2\" can never match", 1},
		{TWO_ROUTES("\"hosts\":[\"*.example.org\"]",
			    "\"hosts\":[\"a.example.org\"],\"models\":[\"gpt*\"]"),
		 "route \"r2\" can never match", 1},
		{TWO_ROUTES("\"hosts\":[\"a.example.org\"],\"models\":[\"gpt*\"]",
			    "\"hosts\":[\"a.example.org\"],\"models\":[\"gpt-4o\"]"),
		 "route \"r2\" can never match", 1},
		{TWO_ROUTES("\"hosts\":[\"a.example.org\"],\"models\":[\"gpt-4o\"]",
			    "\"hosts\":[\"a.example.org\"],\"models\":[\"gpt*\"]"),
		 "can never match", 0},
		{TWO_ROUTES("\"hosts\":[\"a.example.org\"]",
			    "\"hosts\":[\"a.example.org\"],\"operations\":[\"models\"]"),
		 "can never match", 0},
		{MATCH("\"hosts\":[\"api.anthropic.com\"]"),
		 "host api.anthropic.com speaks anthropic and no target", 1},
		{MATCH("\"hosts\":[\"api.openai.com\"],\"operations\":[\"files\"]"),
		 "lists \"files\", which needs a target whose credential belongs", 1},
		{MATCH("\"operations\":[\"embeddings\"]"), "neither adds nor restricts", 1},
		{ROUTE("\"match\":{},\"targets\":[{\"provider\":\"own\"}]"),
		 "gives pods outside namespace \"shop\" its credential", 1},
		{POLICY("\"regions\":{\"allow\":[\"EU\"]},\"routes\":[{\"name\":\"r\",\"match\":{},"
			"\"targets\":[{\"provider\":\"world\"},{\"provider\":\"claude\"}]}]"),
		 "every request will be refused", 1},
		{POLICY("\"regions\":{\"allow\":[\"US\"]},\"routes\":[{\"name\":\"r\",\"match\":{},"
			"\"targets\":[{\"provider\":\"claude\"}]}]"),
		 "every request will be refused", 0},
		{POLICY("\"routes\":[]"), "has no routes", 1},
		{POLICY("\"mode\":\"shadow\",\"fail\":\"closed\",\"routes\":[]"),
		 "closes nothing: \"mode\": \"shadow\" only watches", 1},
		{POLICY("\"mode\":\"shadow\",\"fail\":\"open\",\"routes\":[]"), "closes nothing",
		 0},
		{POLICY("\"fail\":\"closed\",\"routes\":[]"), "closes nothing", 0},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct eg_policy_errors e;
		struct eg_policy_set *s;
		int r = load_text(cases[i].text, &s, &e);

		if (r || count_reports(&e, true, cases[i].says) != cases[i].count) {
			fprintf(stderr, "case %zu: expected %zu x %s\n", i, cases[i].count,
				cases[i].says);
			print_errors(&e);
		}
		assert_int_equal(r, 0);
		assert_int_equal(count_reports(&e, true, cases[i].says), cases[i].count);
		eg_policy_set_unref(s);
		eg_policy_errors_fini(&e);
	}
}

static void endpoints(void **state)
{
	static const struct {
		const char *kind, *endpoint, *host, *path;
		uint16_t port;
		bool tls;
	} cases[] = {
		{"openai", "https://api.openai.com/v1", "api.openai.com", "/v1", 443, true},
		{"openai", "https://api.openai.com/v1/", "api.openai.com", "/v1", 443, true},
		{"openai", "https://api.openai.com", "api.openai.com", "/v1", 443, true},
		{"openai", "https://api.deepseek.com", "api.deepseek.com", "", 443, true},
		{"openai", "https://api.groq.com", "api.groq.com", "/openai/v1", 443, true},
		{"openai", "https://vllm.example.org/", "vllm.example.org", "", 443, true},
		{"openai", "https://vllm.example.org:8443", "vllm.example.org", "/v1", 8443, true},
		{"openai", "http://vllm.models.svc:8000/v1", "vllm.models.svc", "/v1", 8000, false},
		{"openai", "http://10.1.2.3:8000/v1", "10.1.2.3", "/v1", 8000, false},
		{"anthropic", "https://api.anthropic.com", "api.anthropic.com", "/v1", 443, true},
		{"anthropic", "https://api.anthropic.com/v1", "api.anthropic.com", "/v1", 443,
		 true},
		{"anthropic", "https://api.deepseek.com/anthropic/v1", "api.deepseek.com",
		 "/anthropic/v1", 443, true},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		const struct eg_provider *p;
		struct eg_policy_set *s;
		char text[512];
		size_t n;

		snprintf(text, sizeof(text),
			 "{\"version\":\"egret/v1\",\"providers\":{\"p\":{\"kind\":\"%s\","
			 "\"endpoint\":\"%s\"%s%s}}}",
			 cases[i].kind, cases[i].endpoint,
			 cases[i].tls ? "" : ",\"region\":\"cluster\"",
			 i % 2 ? ",\"http2\":false" : "");
		s = must_load(text);
		p = eg_providers(s, &n);
		assert_int_equal(n, 1);
		assert_string_equal(p->host, cases[i].host);
		assert_string_equal(p->base_path, cases[i].path);
		assert_int_equal(p->port, cases[i].port);
		assert_int_equal(p->tls, cases[i].tls);
		assert_int_equal(p->allow_private, !cases[i].tls);
		assert_int_equal(p->http2, i % 2 == 0);
		eg_policy_set_unref(s);
	}
}

static void examples_are_valid(void **state)
{
	static const char *const names[] = {"first-steps", "eu-only", "failover",
					    "files-of-one-namespace"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++) {
		struct eg_policy_errors e;
		struct eg_policy_set *s;
		char path[128], *text;

		snprintf(path, sizeof(path), "policies/examples/%s.json", names[i]);
		text = read_file(path);
		assert_int_equal(load_text(text, &s, &e), 0);
		print_errors(&e);
		assert_int_equal(e.count, 0);
		eg_policy_set_unref(s);
		eg_policy_errors_fini(&e);
		free(text);
	}
}

/* What is no error here the kernel has to take: else a set that was checked is refused in force. */
static void suffixes_as_the_kernel_has_them(void **state)
{
	char host[64] = "*.example.com", text[1024];
	int taken = 0;

	for (size_t labels = 2; labels < 20; labels++) {
		struct eg_policy_errors e;
		struct eg_policy_set *s = NULL;
		struct eg_policy_file file = {.name = EG_STR("a.json")};
		uint8_t suffix;
		__u64 hash;
		int r;

		snprintf(text, sizeof(text),
			 "{" BASE
			 ",\"destinations\":[{\"cidr\":\"203.0.113.0/24\",\"hosts\":[\"%s\"]}]}",
			 host);
		file.text = eg_str_from(text);
		r = eg_policy_load(&file, 1, &s, &e);
		assert_int_equal(!r, !eg_name_hash(host, 3, &hash, &suffix));
		taken += !r;
		if (s)
			eg_policy_set_unref(s);
		eg_policy_errors_fini(&e);
		memmove(host + 4, host + 2, strlen(host + 2) + 1);
		memcpy(host + 2, "a.", 2);
	}
	assert_int_equal(taken, EG_POLICY_SUFFIX_LABELS - 1);
}

static void names_and_cidrs(void **state)
{
	struct eg_policy_set *s = must_load(
		"{" BASE
		",\"destinations\":[{\"cidr\":\"203.0.113.0/24\",\"hosts\":[\"*.d.example.org\"]},"
		"{\"cidr\":\"2001:DB8::/"
		"32\",\"why\":\"x\"}],\"policies\":[{\"name\":\"p\",\"pods\":{},"
		"\"routes\":[{\"name\":\"r\",\"match\":{\"hosts\":[\"a.example.org\",\"b.example."
		"org\"]},"
		"\"targets\":[{\"provider\":\"eu\"}]},{\"name\":\"r2\",\"match\":{\"hosts\":"
		"[\"b.example.org\"],\"models\":[\"x\"]},\"targets\":[{\"provider\":\"eu\"}]}]}]}");
	const struct eg_watched_name *names;
	const char *const *cidrs;
	size_t n;

	names = eg_watched_names(s, &n);
	/* Hosts of routes, of destinations, then the endpoints: none is a way round the routes. */
	assert_int_equal(n, 7);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(names[i].id, i + 1);
	for (size_t i = 3; i < n; i++)
		assert_non_null(strchr(names[i].text, '.'));
	assert_string_equal(names[0].text, "a.example.org");
	assert_string_equal(names[2].text, "*.d.example.org");
	cidrs = eg_policy_cidrs(s, &n);
	assert_int_equal(n, 2);
	assert_string_equal(cidrs[0], "203.0.113.0/24");
	assert_string_equal(cidrs[1], "2001:db8::/32");
	eg_policy_set_unref(s);
}

static void count_call(void *context)
{
	++*(size_t *)context;
}

/* Who loads is told so for each policy and each error, whether the set is good or not. */
static void busy_meanwhile(void **state)
{
	size_t calls = 0, policies = 500;
	const struct eg_policy_busy busy = {count_call, &calls};

	(void)state;
	for (int broken = 0; broken < 2; broken++) {
		struct eg_policy_errors errors = {NULL, 0};
		struct eg_policy_set *set = NULL;
		struct eg_policy_file file = {.name = EG_STR("p.json")};
		struct eg_buf text;

		eg_buf_init(&text, 1 << 20);
		assert_int_equal(eg_buf_printf(&text, "{\"version\":\"egret/v1\",\"policies\":["),
				 0);
		for (size_t i = 0; i < policies; i++)
			assert_int_equal(eg_buf_printf(&text,
						       "%s{\"name\":\"p%zu\",\"pods\":{"
						       "\"namespaces\":[\"n%zu\"]},\"routes\":[],"
						       "\"otherwise\":\"%s\"}",
						       i ? "," : "", i, i,
						       broken ? "nothing" : "deny"),
					 0);
		assert_int_equal(eg_buf_printf(&text, "]}"), 0);
		file.text = eg_buf_str(&text);
		calls = 0;
		assert_int_equal(eg_policy_load_busy(&file, 1, &busy, &set, &errors),
				 broken ? -EINVAL : 0);
		assert_true(calls >= 2 * policies);
		if (!broken)
			eg_policy_set_unref(set);
		eg_policy_errors_fini(&errors);
		eg_buf_fini(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_mistake_is_named),
		cmocka_unit_test(one_mistake_one_error),
		cmocka_unit_test(paths_are_whole),
		cmocka_unit_test(keys_are_not_repeated),
		cmocka_unit_test(all_errors_at_once),
		cmocka_unit_test(errors_are_bounded),
		cmocka_unit_test(names_differ_over_files),
		cmocka_unit_test(files_refer_to_each_other),
		cmocka_unit_test(version_follows_the_bytes),
		cmocka_unit_test(limits_hold),
		cmocka_unit_test(products_are_bounded),
		cmocka_unit_test(names_are_bounded),
		cmocka_unit_test(warnings),
		cmocka_unit_test(endpoints),
		cmocka_unit_test(examples_are_valid),
		cmocka_unit_test(places_of_many_errors),
		cmocka_unit_test(suffixes_as_the_kernel_has_them),
		cmocka_unit_test(names_and_cidrs),
		cmocka_unit_test(busy_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
