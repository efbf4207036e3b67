/*
 * A thread that accepts, a queue, and worker threads: a worker reads a connection to its end
 * and forgets the descriptor, so opening and end of file happen on different threads.
 *
 * argv: address
 */
#include "serve.h"

#define QUEUE_SIZE 4096
#define WORKERS 4

static int queue[QUEUE_SIZE];
static unsigned int head, tail;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;

static void enqueue(int fd)
{
	pthread_mutex_lock(&lock);
	queue[tail++ % QUEUE_SIZE] = fd;
	pthread_cond_signal(&filled);
	pthread_mutex_unlock(&lock);
}

static int dequeue(void)
{
	int fd;

	pthread_mutex_lock(&lock);
	while (head == tail)
		pthread_cond_wait(&filled, &lock);
	fd = queue[head++ % QUEUE_SIZE];
	pthread_mutex_unlock(&lock);
	return fd;
}

static NOINLINE int take_client(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	KEEP_FRAME();
	return fd;
}

static NOINLINE void *acceptor_main(void *argument)
{
	int listener = (int)(intptr_t)argument;

	prctl(PR_SET_NAME, "acceptor");
	for (;;) {
		int fd = take_client(listener);

		if (fd >= 0)
			enqueue(fd);
	}
	return NULL;
}

static NOINLINE int drain_client(int fd)
{
	/* Most of its pages are never touched, so they are not in memory. */
	char buffer[12 << 10];
	ssize_t length;

	do {
		length = read(fd, buffer, sizeof(buffer));
		KEEP_FRAME();
	} while (length > 0);
	return (int)length;
}

static NOINLINE void *worker_main(void *argument)
{
	(void)argument;
	prctl(PR_SET_NAME, "worker");
	for (;;) {
		drain_client(dequeue());
		/* BUG: no close(). */
		KEEP_FRAME();
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int listener = listen_on(argv[1], 512);

	(void)argc;
	for (int i = 0; i < WORKERS; i++)
		start_thread(worker_main, 0);
	start_thread(acceptor_main, listener);
	say_port(listener);
	pause();
	return 0;
}
