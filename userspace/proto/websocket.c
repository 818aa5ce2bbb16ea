/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/websocket.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#define KEY_TEXT    24u /* 16 bytes in base64 */
#define ACCEPT_TEXT 28u /* a SHA-1 in base64 */

static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/* The field's value; .p NULL when there is none, or more than one. */
static struct eg_str only(const struct eg_h1_head *head, struct eg_str name)
{
	struct eg_str value = {NULL, 0};

	for (size_t i = 0; i < head->header_count; i++) {
		if (!eg_str_ieq(head->headers[i].name, name))
			continue;
		if (value.p)
			return (struct eg_str){NULL, 0};
		value = head->headers[i].value;
	}
	return value;
}

static bool base64_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '+' || c == '/';
}

static bool key_valid(struct eg_str key)
{
	if (key.n != KEY_TEXT || key.p[22] != '=' || key.p[23] != '=')
		return false;
	for (size_t i = 0; i < 22; i++)
		if (!base64_char(key.p[i]))
			return false;
	return true;
}

bool eg_websocket_wanted(const struct eg_h1_head *head)
{
	return head->upgrade && eg_h1_list_has(head, EG_STR("upgrade"), EG_STR("websocket"));
}

const char *eg_websocket_wrong(const struct eg_h1_head *head)
{
	if (!eg_str_eq(head->method, EG_STR("GET")) || !head->minor)
		return "a WebSocket is opened by a GET of HTTP/1.1";
	if (!eg_str_ieq(only(head, EG_STR("upgrade")), EG_STR("websocket")))
		return "the Upgrade field must be \"websocket\" and nothing else";
	if (!eg_str_eq(only(head, EG_STR("sec-websocket-version")), EG_STR("13")))
		return "Sec-WebSocket-Version must be 13";
	if (!key_valid(only(head, EG_STR("sec-websocket-key"))))
		return "Sec-WebSocket-Key must be 16 bytes in base64";
	if (head->body != EG_H1_BODY_NONE)
		return "a request that opens a WebSocket has no body";
	return NULL;
}

bool eg_websocket_granted(const struct eg_h1_head *head, struct eg_str key)
{
	unsigned char text[KEY_TEXT + sizeof(guid)], hash[SHA_DIGEST_LENGTH];
	unsigned char expected[ACCEPT_TEXT + 1];

	if (head->status != 101 || !head->upgrade || !key_valid(key) ||
	    !eg_str_ieq(only(head, EG_STR("upgrade")), EG_STR("websocket")))
		return false;
	memcpy(text, key.p, KEY_TEXT);
	memcpy(text + KEY_TEXT, guid, sizeof(guid) - 1);
	if (!SHA1(text, KEY_TEXT + sizeof(guid) - 1, hash))
		return false;
	EVP_EncodeBlock(expected, hash, sizeof(hash));
	return eg_str_eq(only(head, EG_STR("sec-websocket-accept")),
			 (struct eg_str){(const char *)expected, ACCEPT_TEXT});
}

bool eg_websocket_extended(const struct eg_h1_head *head)
{
	struct eg_str name = EG_STR("sec-websocket-extensions");

	for (size_t i = 0; i < head->header_count; i++)
		if (eg_str_ieq(head->headers[i].name, name) && head->headers[i].value.n)
			return true;
	return false;
}
