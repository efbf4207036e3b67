/*
 * A server that uses half-close as it is meant: reads the request to its end, works, and sends
 * its answer in pieces for as long as anybody cares to test. No leak.
 *
 * argv: address, pieces of an answer, milliseconds between pieces
 */
#include "serve.h"

static int pieces;
static int pause_ms;

static NOINLINE int legit_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	KEEP_FRAME();
	return fd;
}

static NOINLINE void read_all(int fd)
{
	char buffer[4096];

	while (read(fd, buffer, sizeof(buffer)) > 0)
		KEEP_FRAME();
}

static NOINLINE void *legit_main(void *argument)
{
	static const char piece[] = "piece of the answer\n";
	int fd = (int)(intptr_t)argument;

	read_all(fd);
	for (int i = 0; i < pieces; i++) {
		usleep(pause_ms * 1000);
		if (send(fd, piece, sizeof(piece) - 1, MSG_NOSIGNAL) < 0)
			break;
	}
	close(fd);
	KEEP_FRAME();
	return NULL;
}

int main(int argc, char **argv)
{
	int listener = listen_on(argv[1], 512);

	(void)argc;
	pieces = atoi(argv[2]);
	pause_ms = atoi(argv[3]);
	say_port(listener);
	for (;;) {
		int fd = legit_accept(listener);

		if (fd >= 0)
			start_thread(legit_main, fd);
	}
}
