/*
 * Two workers with a listener each on one port (SO_REUSEPORT); both are stuck before their
 * first accept(). Address and port do not tell which of them owns a connection in the backlog.
 * Says `WORKER pid` of each.
 *
 * argv: address
 */
#include <semaphore.h>

#include "serve.h"

#define WORKERS 2

static sem_t config_ready;

static int listen_shared(const struct sockaddr_storage *address, socklen_t length)
{
	int listener = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	if (setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) ||
	    bind(listener, (const struct sockaddr *)address, length) || listen(listener, 64))
		die("listen");
	return listener;
}

static NOINLINE void wait_for_config(void)
{
	/* BUG: nobody ever posts it. */
	sem_wait(&config_ready);
	KEEP_FRAME();
}

static NOINLINE void start_worker(const struct sockaddr_storage *address, socklen_t length)
{
	listen_shared(address, length);
	printf("WORKER %d\n", getpid());
	fflush(stdout);
	wait_for_config();
	KEEP_FRAME();
}

int main(int argc, char **argv)
{
	struct sockaddr_storage address;
	socklen_t length = parse_address(argv[1], 0, &address);
	int reserved = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	(void)argc;
	/* Bound only, which keeps the port for the workers without taking part. */
	if (setsockopt(reserved, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) ||
	    bind(reserved, (struct sockaddr *)&address, length))
		die("bind");
	say_port(reserved);
	parse_address(argv[1], port_of(reserved), &address);
	for (int i = 0; i < WORKERS; i++) {
		if (fork_worker() == 0)
			start_worker(&address, length);
	}
	pause();
	return 0;
}
