/*
 * A thread for each connection: reads the request to its end, then sends 64 MiB with a blocking
 * send() and no time-out. A client that has closed its own direction and does not read keeps
 * the thread there for ever.
 *
 * argv: address
 */
#include "serve.h"

#define ANSWER_SIZE (64L << 20)

static char *answer;

static NOINLINE int read_request(int fd)
{
	char buffer[4096];
	ssize_t length;

	do {
		length = recv(fd, buffer, sizeof(buffer), 0);
		KEEP_FRAME();
	} while (length > 0);
	return (int)length;
}

static NOINLINE long push_all(int fd)
{
	long offset = 0;

	while (offset < ANSWER_SIZE) {
		/* BUG: no SO_SNDTIMEO, no poll(). */
		ssize_t length = send(fd, answer + offset, ANSWER_SIZE - offset, MSG_NOSIGNAL);

		KEEP_FRAME();
		if (length <= 0)
			break;
		offset += length;
	}
	return offset;
}

static NOINLINE void *conn_main(void *argument)
{
	int fd = (int)(intptr_t)argument;

	if (read_request(fd) == 0)
		push_all(fd);
	close(fd);
	KEEP_FRAME();
	return NULL;
}

static NOINLINE int take_conn(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	KEEP_FRAME();
	return fd;
}

int main(int argc, char **argv)
{
	int listener = listen_on(argv[1], 512);

	(void)argc;
	answer = calloc(1, ANSWER_SIZE);
	say_port(listener);
	for (;;) {
		int fd = take_conn(listener);

		if (fd >= 0)
			start_thread(conn_main, fd);
	}
}
