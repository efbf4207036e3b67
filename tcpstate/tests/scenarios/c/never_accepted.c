/*
 * A server whose main thread locks up before it ever calls accept(): clients connect, give up
 * and close while their connections sit in the backlog. No descriptor refers to these sockets.
 *
 * argv: address
 */
#include "serve.h"

static pthread_mutex_t config_lock = PTHREAD_MUTEX_INITIALIZER;

static NOINLINE void stuck_on_lock(void)
{
	pthread_mutex_lock(&config_lock);
	/* BUG: locked twice by the same thread. */
	pthread_mutex_lock(&config_lock);
	KEEP_FRAME();
}

static NOINLINE void start_server(const char *address)
{
	say_port(listen_on(address, 64));
	stuck_on_lock();
	KEEP_FRAME();
}

int main(int argc, char **argv)
{
	(void)argc;
	start_server(argv[1]);
	KEEP_FRAME();
	return 0;
}
