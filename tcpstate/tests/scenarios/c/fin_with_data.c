/*
 * A server that reads a request with one recv(), when request and FIN are both there already:
 * the call returns the data and takes the FIN with it, so Recv-Q is 0 although the program was
 * never told of the end. The job then waits for something that never comes.
 *
 * argv: address
 */
#include <poll.h>

#include "serve.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t done = PTHREAD_COND_INITIALIZER;

static NOINLINE int get_request(int fd)
{
	char buffer[4096];
	int length = (int)recv(fd, buffer, sizeof(buffer), 0);

	KEEP_FRAME();
	return length;
}

static NOINLINE int accept_job(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	KEEP_FRAME();
	return fd;
}

static NOINLINE void *job_main(void *argument)
{
	int fd = (int)(intptr_t)argument;
	struct pollfd busy = { .fd = fd, .events = POLLRDHUP };

	/* A program that is busy until after the client's FIN, without leaving that to chance. */
	poll(&busy, 1, -1);
	if (get_request(fd) <= 0)
		abort();
	/* BUG: nobody ever signals. */
	pthread_mutex_lock(&lock);
	for (;;)
		pthread_cond_wait(&done, &lock);
	return NULL;
}

int main(int argc, char **argv)
{
	int listener = listen_on(argv[1], 512);

	(void)argc;
	say_port(listener);
	for (;;) {
		int fd = accept_job(listener);

		if (fd >= 0)
			start_thread(job_main, fd);
	}
}
