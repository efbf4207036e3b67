/*
 * A gateway, one request at a time: opens a connection to the upstream server for each request
 * and relays the answer. When the upstream server closes first, as it always does, its socket
 * is forgotten. Clients are closed well.
 *
 * argv: address, upstream port on 127.0.0.1
 */
#include "serve.h"

static int upstream_port;

static NOINLINE int upstream_connect(void)
{
	struct sockaddr_storage upstream;
	socklen_t length = parse_address("127.0.0.1", upstream_port, &upstream);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&upstream, length)) {
		close(fd);
		fd = -1;
	}
	KEEP_FRAME();
	return fd;
}

/* Negative: an error, such as the upstream server having closed. */
static NOINLINE int relay_upstream(int up, int client)
{
	char buffer[4096];
	ssize_t length;

	for (;;) {
		length = read(up, buffer, sizeof(buffer));
		KEEP_FRAME();
		if (length <= 0)
			break;
		if (write(client, buffer, length) != length)
			return -2;
	}
	return length == 0 ? -1 : -2;
}

static NOINLINE void serve_one(int client)
{
	char buffer[4096];
	ssize_t length = read(client, buffer, sizeof(buffer));

	if (length > 0) {
		int up = upstream_connect();

		if (up >= 0) {
			if (write(up, buffer, length) == length && relay_upstream(up, client) < 0) {
				/* BUG: `up` stays open. */
				KEEP_FRAME();
				goto out;
			}
			close(up);
		}
	}
out:
	close(client);
	KEEP_FRAME();
}

int main(int argc, char **argv)
{
	int listener = listen_on(argv[1], 512);

	(void)argc;
	signal(SIGPIPE, SIG_IGN);
	upstream_port = atoi(argv[2]);
	say_port(listener);
	for (;;) {
		int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (client >= 0)
			serve_one(client);
	}
}
