/*
 * A server that says goodbye with shutdown() and believes that to be a close: the socket leaves
 * CLOSE_WAIT by LAST_ACK, the descriptor stays, and no list of sockets shows it any more.
 *
 * argv: address
 */
#include "serve.h"

static NOINLINE int greet(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	KEEP_FRAME();
	return fd;
}

static NOINLINE void read_to_end(int fd)
{
	char buffer[4096];

	while (read(fd, buffer, sizeof(buffer)) > 0)
		KEEP_FRAME();
}

static NOINLINE void say_goodbye(int fd)
{
	/* BUG: no close(). */
	shutdown(fd, SHUT_WR);
	KEEP_FRAME();
}

static NOINLINE void serve_guests(int listener)
{
	for (;;) {
		int fd = greet(listener);

		if (fd < 0)
			continue;
		read_to_end(fd);
		say_goodbye(fd);
	}
}

int main(int argc, char **argv)
{
	int listener = listen_on(argv[1], 512);

	(void)argc;
	say_port(listener);
	serve_guests(listener);
	KEEP_FRAME();
	return 0;
}
