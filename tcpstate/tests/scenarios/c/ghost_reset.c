/*
 * A publisher that writes to its subscribers and never reads. Subscribers that have gone answer
 * with a reset: CLOSE_WAIT becomes CLOSE, the descriptor stays. Each line on standard input is
 * published; `PUBLISHED` says that it was.
 *
 * argv: address
 */
#include "serve.h"

#define SUBSCRIBERS 4096

struct subscriber {
	int fd;
	int gone;
};

static struct subscriber subscribers[SUBSCRIBERS];
static int count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static NOINLINE int accept_subscriber(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	KEEP_FRAME();
	return fd;
}

static NOINLINE void subscribe(int listener)
{
	int fd = accept_subscriber(listener);

	if (fd < 0)
		return;
	pthread_mutex_lock(&lock);
	if (count < SUBSCRIBERS)
		subscribers[count++] = (struct subscriber){ .fd = fd };
	pthread_mutex_unlock(&lock);
	send(fd, "welcome\n", 8, MSG_NOSIGNAL);
	KEEP_FRAME();
}

static NOINLINE void publish(const char *line)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < count; i++) {
		struct subscriber *subscriber = &subscribers[i];

		/* BUG: one that is gone is skipped from now on, not closed. */
		if (!subscriber->gone && send(subscriber->fd, line, strlen(line), MSG_NOSIGNAL) < 0)
			subscriber->gone = 1;
	}
	pthread_mutex_unlock(&lock);
	KEEP_FRAME();
}

static NOINLINE void *publisher_main(void *argument)
{
	char line[256];

	(void)argument;
	while (fgets(line, sizeof(line), stdin)) {
		publish(line);
		puts("PUBLISHED");
		fflush(stdout);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int listener = listen_on(argv[1], 512);

	(void)argc;
	start_thread(publisher_main, 0);
	say_port(listener);
	for (;;)
		subscribe(listener);
}
