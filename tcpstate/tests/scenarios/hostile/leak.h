/* Sockets that leak, by system calls from whatever code and on whatever stack an attack has made. */
#ifndef LEAK_H
#define LEAK_H

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "../c/serve.h"

/* Attackers end by themselves, in case nobody ends them. */
#define LIFE 80

typedef long (*call_fn)(long number, long a, long b, long c);

static inline long plain_call(long number, long a, long b, long c)
{
	return syscall(number, a, b, c);
}

static int leaked;

static inline int local_listener(struct sockaddr_in *address)
{
	socklen_t length = sizeof(*address);
	int listener = listen_on("127.0.0.1", 4096);

	if (getsockname(listener, (struct sockaddr *)address, &length))
		die("getsockname");
	return listener;
}

/* One socket in CLOSE_WAIT that has been told of its end; every other one is accepted and not connected. */
static NOINLINE void leak_one(call_fn call, int listener, struct sockaddr_in *address)
{
	int client = socket(AF_INET, SOCK_STREAM, 0);
	int accepts = leaked++ & 1, server;
	char byte;

	if (client < 0)
		die("socket");
	if ((accepts ? connect(client, (struct sockaddr *)address, sizeof(*address)) :
		       call(SYS_connect, client, (long)address, sizeof(*address))) < 0)
		die("connect");
	server = accepts ? call(SYS_accept, listener, 0, 0) : accept(listener, NULL, NULL);
	if (server < 0)
		die("accept");
	close(accepts ? client : server);
	if (call(SYS_read, accepts ? server : client, (long)&byte, 1) != 0)
		die("read");
	KEEP_FRAME();
}

static NOINLINE void leak(call_fn call, int count)
{
	static struct sockaddr_in address;
	static int listener;

	if (!listener)
		listener = local_listener(&address);
	while (count-- > 0)
		leak_one(call, listener, &address);
	KEEP_FRAME();
}

/* Says so, and stays; as the command of a run it ends soon. */
static inline void stay(void)
{
	const char *exits = getenv("HOSTILE_EXITS_AFTER_MS");

	printf("LEAKED %d\n", leaked);
	fflush(stdout);
	if (exits) {
		usleep(1000 * atoi(exits));
		_exit(0);
	}
	for (;;)
		pause();
}

#endif
