/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTPS server for ca_clients.sh, made of net/ alone: leaves from the real signer, TLS from the
 * real streams. Prints its port, then serves until it is ended.
 *
 *   ca_server mint INTERMEDIATE.crt INTERMEDIATE.key NAME[,NAME...]   a leaf for each server name
 *   ca_server pem CHAIN.pem KEY.pem                                  this certificate for everyone
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/ca.h"
#include "net/stream.h"
#include "net/tls.h"
#include "proto/client_hello.h"

static struct eg_loop *loop;
static struct eg_tls_server *tls;
static struct eg_signer *signer;
static struct eg_leaf *fixed;
static EVP_PKEY *key;
static struct eg_buf key_pem, key_der, chain_pem;

struct connection {
	struct eg_stream *stream;
	struct eg_leaf *leaf;
	struct eg_buf in;
	bool up;
};

static void die(const char *what)
{
	fprintf(stderr, "ca_server: %s\n", what);
	exit(1);
}

static void read_file(const char *path, struct eg_buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char block[4096];
	ssize_t n;

	eg_buf_init(out, 1 << 20);
	while (fd >= 0 && (n = read(fd, block, sizeof(block))) > 0)
		if (eg_buf_append(out, block, (size_t)n))
			die("out of memory");
	if (!out->length)
		die(path);
	close(fd);
}

static struct eg_leaf *leaf_for(const char *name)
{
	struct eg_error e = {""};
	struct eg_buf der, pem;
	struct eg_leaf *l = NULL;
	char *text;
	X509 *x;
	BIO *b;

	if (fixed)
		return eg_leaf_ref(fixed);
	eg_buf_init(&der, 65536);
	eg_buf_init(&pem, 65536);
	if (!eg_signer_sign(signer, eg_str_from(name), eg_buf_str(&key_der), &der, &e)) {
		const unsigned char *p = (const unsigned char *)eg_buf_data(&der);

		x = d2i_X509(NULL, &p, (long)der.length);
		b = BIO_new(BIO_s_mem());
		if (x && b && PEM_write_bio_X509(b, x) &&
		    !eg_buf_append(&pem, (BIO_get_mem_data(b, &text), text),
				   (size_t)BIO_get_mem_data(b, &text)) &&
		    !eg_buf_append_str(&pem, eg_buf_str(&chain_pem)))
			l = eg_leaf_create_pem(name, eg_buf_str(&pem), eg_buf_str(&key_pem), &e);
		X509_free(x);
		BIO_free(b);
	}
	if (!l)
		fprintf(stderr, "ca_server: %s: %s\n", name, e.text);
	eg_buf_fini(&der);
	eg_buf_fini(&pem);
	return l;
}

static void finish(struct connection *c)
{
	eg_stream_destroy(c->stream);
	eg_leaf_unref(c->leaf);
	eg_buf_fini(&c->in);
	free(c);
}

static bool hello(struct connection *c)
{
	struct eg_client_hello h;
	struct eg_str bytes;

	if (eg_stream_peek(c->stream, EG_CLIENT_HELLO_MAX, &bytes) != EG_IO_DONE)
		return false;
	switch (eg_client_hello_parse(bytes, &h)) {
	case EG_IO_AGAIN:
		return true;
	case EG_IO_DONE:
		break;
	case EG_IO_EOF:
	case EG_IO_FAIL:
	default:
		return false;
	}
	c->leaf = leaf_for(h.sni);
	return c->leaf && !eg_stream_tls_accept(c->stream, tls, c->leaf, h.sni);
}

static bool request(struct connection *c)
{
	static char answer[] =
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
	struct iovec v = {answer, sizeof(answer) - 1};
	enum eg_io r = eg_stream_read(c->stream, &c->in, 8192);
	size_t n;

	if (r != EG_IO_DONE)
		return r == EG_IO_AGAIN;
	if (!memmem(eg_buf_data(&c->in), c->in.length, "\r\n\r\n", 4))
		return true;
	eg_buf_clear(&c->in);
	if (eg_stream_write(c->stream, &v, 1, &n) != EG_IO_DONE)
		return false;
	eg_stream_shutdown(c->stream);
	return true;
}

static void event(struct eg_stream *s, unsigned int events, void *ctx)
{
	struct connection *c = ctx;
	bool fine = true;

	(void)s;
	if (events & EG_STREAM_FAILED) {
		const struct eg_stream_failure *f = eg_stream_failure(c->stream);

		fprintf(stderr, "ca_server: %s%s\n", f->text,
			f->peer_rejected_ca ? " (the client rejects the CA)" : "");
		fine = false;
	}
	if (events & EG_STREAM_CONNECTED)
		c->up = true;
	if (fine && events & EG_STREAM_READ)
		fine = c->up ? request(c) : hello(c);
	if (!fine)
		finish(c);
}

static const struct eg_stream_handler handler = {event};

static void on_accept(struct eg_watch *w, uint32_t events)
{
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct connection *c;

	(void)events;
	if (fd < 0)
		return;
	c = calloc(1, sizeof(*c));
	if (!c)
		die("out of memory");
	eg_buf_init(&c->in, 65536);
	c->stream = eg_stream_accept(loop, fd, &handler, c);
	if (!c->stream)
		die("out of memory");
	eg_stream_want(c->stream, true, false);
}

static void prepare_mint(char **argv)
{
	struct eg_error e = {""};
	struct eg_buf signer_key;
	const char *names[64];
	unsigned char *der = NULL;
	size_t count = 0;
	char *text;
	BIO *b;
	int n;

	read_file(argv[2], &chain_pem);
	read_file(argv[3], &signer_key);
	signer = eg_signer_create(eg_buf_str(&chain_pem), eg_buf_str(&signer_key), &e);
	eg_buf_fini(&signer_key);
	if (!signer)
		die(e.text);
	for (text = strtok(argv[4], ","); text && count < 64; text = strtok(NULL, ","))
		names[count++] = text;
	if (eg_signer_set_names(signer, names, count))
		die("bad names");
	key = EVP_EC_gen("P-256");
	b = BIO_new(BIO_s_mem());
	n = i2d_PUBKEY(key, &der);
	eg_buf_init(&key_der, 4096);
	eg_buf_init_secret(&key_pem, 4096);
	if (n <= 0 || !PEM_write_bio_PKCS8PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) ||
	    eg_buf_append(&key_der, der, (size_t)n) ||
	    eg_buf_append(&key_pem, (BIO_get_mem_data(b, &text), text),
			  (size_t)BIO_get_mem_data(b, &text)))
		die("no key");
	OPENSSL_free(der);
	BIO_free(b);
}

static void prepare_pem(char **argv)
{
	struct eg_error e = {""};

	read_file(argv[2], &chain_pem);
	read_file(argv[3], &key_pem);
	fixed = eg_leaf_create_pem("fixed", eg_buf_str(&chain_pem), eg_buf_str(&key_pem), &e);
	if (!fixed)
		die(e.text);
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct eg_watch w = {.fd = -1, .ready = on_accept};
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (argc == 5 && !strcmp(argv[1], "mint"))
		prepare_mint(argv);
	else if (argc == 4 && !strcmp(argv[1], "pem"))
		prepare_pem(argv);
	else
		die("usage: mint CERT KEY NAMES | pem CHAIN KEY");
	loop = eg_loop_create();
	tls = eg_tls_server_create(NULL);
	if (!loop || !tls || bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 64) ||
	    getsockname(fd, (struct sockaddr *)&at, &n) || eg_watch_add(loop, &w, fd, EPOLLIN))
		die("no listener");
	printf("%u\n", ntohs(at.sin_port));
	fflush(stdout);
	return eg_loop_run(loop) ? 1 : 0;
}
