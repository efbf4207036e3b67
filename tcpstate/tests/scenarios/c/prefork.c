/*
 * A master that listens and workers that accept: a worker reads a connection to its end and
 * keeps it "for reuse". Says `WORKER pid` of each worker.
 *
 * argv: address
 */
#include "serve.h"

#define WORKERS 3

static NOINLINE int accept_connection(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	KEEP_FRAME();
	return fd;
}

static NOINLINE void serve_connection(int fd)
{
	char buffer[4096];
	ssize_t length;

	while ((length = read(fd, buffer, sizeof(buffer))) > 0) {
		if (write(fd, buffer, length) != length)
			break;
	}
	/* BUG: no close(). */
	KEEP_FRAME();
}

static NOINLINE void worker_loop(int listener)
{
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int fd = accept_connection(listener);

		if (fd >= 0)
			serve_connection(fd);
	}
}

int main(int argc, char **argv)
{
	int listener = listen_on(argv[1], 512);

	(void)argc;
	for (int i = 0; i < WORKERS; i++) {
		pid_t pid = fork_worker();

		if (pid == 0)
			worker_loop(listener);
		printf("WORKER %d\n", pid);
		fflush(stdout);
	}
	say_port(listener);
	pause();
	return 0;
}
