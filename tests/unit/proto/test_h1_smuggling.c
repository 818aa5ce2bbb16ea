/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request smuggling: each known way of making two readers see two framings, as a request that must
 * be refused, beside the nearest request that must not be.
 */
#include "proto_test.h"

#include "proto/h1.h"

#define POST	"POST / HTTP/1.1\r\nHost: a.example\r\n"
#define CONNECT "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n"

struct row {
	const char *name;
	struct eg_str text;
	enum eg_reason reason;
};
#define ROW(n, text, reason)                                    \
	{                                                       \
		n, {text, sizeof(text) - 1}, EG_REASON_##reason \
	}

static const struct row refused[] = {
	/* two lengths */
	ROW("CL.TE", POST "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n", SMUGGLING),
	ROW("TE.CL", POST "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n", SMUGGLING),
	ROW("CL.0 TE", POST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", SMUGGLING),
	ROW("CL.CL", POST "Content-Length: 6\r\nContent-Length: 5\r\n\r\n", SMUGGLING),
	ROW("CL.CL equal", POST "Content-Length: 6\r\ncontent-length: 6\r\n\r\n", SMUGGLING),
	ROW("CL list", POST "Content-Length: 6, 6\r\n\r\n", SMUGGLING),
	ROW("CL list of two", POST "Content-Length: 6,5\r\n\r\n", SMUGGLING),
	/* numbers that readers disagree about */
	ROW("CL plus", POST "Content-Length: +6\r\n\r\n", SMUGGLING),
	ROW("CL minus", POST "Content-Length: -6\r\n\r\n", SMUGGLING),
	ROW("CL hex", POST "Content-Length: 0x6\r\n\r\n", SMUGGLING),
	ROW("CL underscore", POST "Content-Length: 6_0\r\n\r\n", SMUGGLING),
	ROW("CL point", POST "Content-Length: 6.0\r\n\r\n", SMUGGLING),
	ROW("CL exponent", POST "Content-Length: 6e0\r\n\r\n", SMUGGLING),
	ROW("CL spaces inside", POST "Content-Length: 1 6\r\n\r\n", SMUGGLING),
	ROW("CL empty", POST "Content-Length:\r\n\r\n", SMUGGLING),
	ROW("CL quoted", POST "Content-Length: \"6\"\r\n\r\n", SMUGGLING),
	ROW("CL 2^63", POST "Content-Length: 9223372036854775808\r\n\r\n", SMUGGLING),
	ROW("CL 2^64 + 6", POST "Content-Length: 18446744073709551622\r\n\r\n", SMUGGLING),
	ROW("CL 20 digits", POST "Content-Length: 00000000000000000006\r\n\r\n", SMUGGLING),
	ROW("CL vertical tab",
	    POST "Content-Length: \x0b"
		 "6\r\n\r\n",
	    BAD_REQUEST),
	ROW("CL NUL", POST "Content-Length: 6\0\r\n\r\n", BAD_REQUEST),
	/* OWS by the RFC; some take it for no number, and some for no coding that they know */
	ROW("CL tab after", POST "Content-Length: 6\t\r\n\r\n", SMUGGLING),
	ROW("CL tab among spaces after", POST "Content-Length: 6 \t \r\n\r\n", SMUGGLING),
	ROW("TE tab after", POST "Transfer-Encoding: chunked\t\r\n\r\n", SMUGGLING),
	ROW("TE tab among spaces after", POST "Transfer-Encoding: chunked \t \r\n\r\n", SMUGGLING),
	/* some read what follows as the tunnel's, some as content */
	ROW("CONNECT with CL", CONNECT "Content-Length: 6\r\n\r\n", SMUGGLING),
	ROW("CONNECT with TE", CONNECT "Transfer-Encoding: chunked\r\n\r\n", SMUGGLING),
	ROW("CL nbsp",
	    POST "Content-Length: \xa0"
		 "6\r\n\r\n",
	    SMUGGLING),
	/* codings that one reader takes for chunked and the other does not */
	ROW("TE.TE", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
	    SMUGGLING),
	ROW("TE.TE other", POST "Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n\r\n",
	    SMUGGLING),
	ROW("TE xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n", SMUGGLING),
	ROW("TE list", POST "Transfer-Encoding: gzip, chunked\r\n\r\n", SMUGGLING),
	ROW("TE twice", POST "Transfer-Encoding: chunked, chunked\r\n\r\n", SMUGGLING),
	ROW("TE not final", POST "Transfer-Encoding: chunked, identity\r\n\r\n", SMUGGLING),
	ROW("TE identity", POST "Transfer-Encoding: identity\r\n\r\n", SMUGGLING),
	ROW("TE comma", POST "Transfer-Encoding: chunked,\r\n\r\n", SMUGGLING),
	ROW("TE comma first", POST "Transfer-Encoding: ,chunked\r\n\r\n", SMUGGLING),
	ROW("TE parameter", POST "Transfer-Encoding: chunked;q=1\r\n\r\n", SMUGGLING),
	ROW("TE quoted", POST "Transfer-Encoding: \"chunked\"\r\n\r\n", SMUGGLING),
	ROW("TE empty", POST "Transfer-Encoding:\r\n\r\n", SMUGGLING),
	ROW("TE vertical tab",
	    POST "Transfer-Encoding: \x0b"
		 "chunked\r\n\r\n",
	    BAD_REQUEST),
	ROW("TE form feed", POST "Transfer-Encoding: chunked\x0c\r\n\r\n", BAD_REQUEST),
	ROW("TE NUL", POST "Transfer-Encoding: chunked\0\r\n\r\n", BAD_REQUEST),
	ROW("TE high byte", POST "Transfer-Encoding: chunked\xa0\r\n\r\n", SMUGGLING),
	ROW("TE dotless i", POST "Transfer-Encod\xc4\xb1ng: chunked\r\n\r\n", BAD_REQUEST),
	ROW("TE in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", SMUGGLING),
	/* names that one reader trims */
	ROW("TE space before colon", POST "Transfer-Encoding : chunked\r\n\r\n", BAD_REQUEST),
	ROW("TE tab before colon", POST "Transfer-Encoding\t: chunked\r\n\r\n", BAD_REQUEST),
	ROW("TE space before name", POST " Transfer-Encoding: chunked\r\n\r\n", BAD_REQUEST),
	ROW("TE folded", POST "Transfer-Encoding:\r\n chunked\r\n\r\n", SMUGGLING),
	ROW("CL folded", POST "Content-Length: 6\r\n\t5\r\n\r\n", BAD_REQUEST),
	ROW("CL space before colon", POST "Content-Length : 6\r\n\r\n", BAD_REQUEST),
	ROW("CL NUL in name", POST "Content-Length\0: 6\r\n\r\n", BAD_REQUEST),
	/* lines that one reader ends elsewhere */
	ROW("bare LF hides TE", POST "X: y\nTransfer-Encoding: chunked\r\n\r\n", BAD_REQUEST),
	ROW("bare CR hides TE", POST "X: y\rTransfer-Encoding: chunked\r\n\r\n", BAD_REQUEST),
	ROW("CR CR LF", POST "X: y\r\r\nTransfer-Encoding: chunked\r\n\r\n", BAD_REQUEST),
	ROW("LF LF ends the head", POST "X: y\n\nGET /b HTTP/1.1\r\n\r\n", BAD_REQUEST),
	ROW("LF CR LF ends the head", POST "X: y\n\r\n", BAD_REQUEST),
	ROW("line without colon", POST "Transfer-Encoding chunked\r\n\r\n", BAD_REQUEST),
	/* two authorities */
	ROW("two Hosts", POST "Host: b.example\r\n\r\n", BAD_REQUEST),
	ROW("Host folded", "GET / HTTP/1.1\r\nHost: a\r\n .example\r\n\r\n", BAD_REQUEST),
	ROW("Host list", "GET / HTTP/1.1\r\nHost: a.example,b.example\r\n\r\n", BAD_REQUEST),
	ROW("Host path", "GET / HTTP/1.1\r\nHost: a.example/b\r\n\r\n", BAD_REQUEST),
	ROW("Host at", "GET / HTTP/1.1\r\nHost: a.example@b.example\r\n\r\n", BAD_REQUEST),
	ROW("Host space before colon", "GET / HTTP/1.1\r\nHost : a.example\r\n\r\n", BAD_REQUEST),
	/* the request line */
	ROW("two targets", "GET / /b HTTP/1.1\r\nHost: a.example\r\n\r\n", BAD_REQUEST),
	ROW("version in target", "GET /HTTP/1.1\r\nHost: a.example\r\n\r\n", BAD_REQUEST),
	ROW("CR in target", "GET /\rX HTTP/1.1\r\nHost: a.example\r\n\r\n", BAD_REQUEST),
	ROW("version 1.1 with tail", "GET / HTTP/1.1x\r\nHost: a.example\r\n\r\n", BAD_REQUEST),
};

static const struct row taken[] = {
	ROW("CL", POST "Content-Length: 6\r\n\r\n", OK),
	ROW("CL with leading zeros", POST "Content-Length: 0006\r\n\r\n", OK),
	ROW("CL with OWS", POST "Content-Length: \t 6  \r\n\r\n", OK),
	ROW("TE", POST "Transfer-Encoding: chunked\r\n\r\n", OK),
	ROW("TE any case", POST "TRANSFER-ENCODING:\tcHUNKED \r\n\r\n", OK),
	ROW("CONNECT", CONNECT "\r\n", OK),
	ROW("CONNECT that says it has nothing", CONNECT "Content-Length: 0\r\n\r\n", OK),
	ROW("a method in lower case is another",
	    "connect / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 6\r\n\r\n", OK),
	ROW("CL in another name", POST "Content-Length: 6\r\nX-Content-Length: 5\r\n\r\n", OK),
	ROW("underscores are another name",
	    POST "Content-Length: 6\r\nTransfer_Encoding: chunked\r\n\r\n", OK),
	ROW("obs-text", POST "X: \xa0\xff\r\n\r\n", OK),
};

static void check(const struct row *r, bool cut)
{
	static struct eg_h1_head head;
	struct eg_str text = exact_copy(r->text);
	struct eg_h1_scan scan = {0};
	enum eg_reason reason = EG_REASON_OK;
	enum eg_io io = EG_IO_AGAIN;

	for (size_t n = cut ? 0 : text.n; n <= text.n && io == EG_IO_AGAIN; n++)
		io = eg_h1_parse_request(&scan, (struct eg_str){text.p, n}, &eg_h1_default_limits,
					 &head, &reason);
	if (reason != r->reason)
		print_message("%s: %s\n", r->name, eg_reason_label(reason));
	assert_int_equal(io, r->reason == EG_REASON_OK ? EG_IO_DONE : EG_IO_FAIL);
	assert_int_equal(reason, r->reason);
	exact_free(text);
}

static void all_refused(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(refused); i++) {
		check(&refused[i], false);
		check(&refused[i], true);
	}
}

static void neighbours_taken(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(taken); i++) {
		check(&taken[i], false);
		check(&taken[i], true);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_refused),
		cmocka_unit_test(neighbours_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
