/*
 * A pool of workers that all wait for a database connection which nobody returns. The acceptor
 * goes on accepting; what it accepts waits in the queue, and nobody reads that the clients have
 * given up.
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

static pthread_mutex_t database_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t database_returned = PTHREAD_COND_INITIALIZER;
static int idle_databases;

static NOINLINE void borrow_database(void)
{
	pthread_mutex_lock(&database_lock);
	/* BUG: a query that failed never returned its connection. */
	while (idle_databases == 0)
		pthread_cond_wait(&database_returned, &database_lock);
	idle_databases--;
	pthread_mutex_unlock(&database_lock);
	KEEP_FRAME();
}

static NOINLINE void serve_query(int fd)
{
	char buffer[4096];

	borrow_database();
	while (read(fd, buffer, sizeof(buffer)) > 0)
		;
	close(fd);
	KEEP_FRAME();
}

static NOINLINE void *pool_main(void *argument)
{
	(void)argument;
	prctl(PR_SET_NAME, "pool");
	for (;;) {
		int fd;

		pthread_mutex_lock(&lock);
		while (head == tail)
			pthread_cond_wait(&filled, &lock);
		fd = queue[head++ % QUEUE_SIZE];
		pthread_mutex_unlock(&lock);
		serve_query(fd);
	}
	return NULL;
}

static NOINLINE int accept_query(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	KEEP_FRAME();
	return fd;
}

int main(int argc, char **argv)
{
	int listener = listen_on(argv[1], 512);

	(void)argc;
	for (int i = 0; i < WORKERS; i++)
		start_thread(pool_main, 0);
	say_port(listener);
	for (;;) {
		int fd = accept_query(listener);

		if (fd < 0)
			continue;
		pthread_mutex_lock(&lock);
		queue[tail++ % QUEUE_SIZE] = fd;
		pthread_cond_signal(&filled);
		pthread_mutex_unlock(&lock);
	}
}
