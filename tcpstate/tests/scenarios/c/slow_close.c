/*
 * A thread for each connection that closes late: the client's first eight digits say how many
 * milliseconds after the end of file. Says `CLOSED ms seen before after port` of each: what was
 * asked for, when the FIN was seen, when close() was called and when it was over (nanoseconds of
 * CLOCK_MONOTONIC), and the client's port.
 *
 * argv: address
 */
#include <poll.h>
#include <time.h>

#include "serve.h"

#define NS_PER_MS 1000000LL
#define NS_PER_S 1000000000LL

static long long now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * NS_PER_S + time.tv_nsec;
}

static void sleep_until(long long moment_ns)
{
	struct timespec moment = {
		.tv_sec = moment_ns / NS_PER_S,
		.tv_nsec = moment_ns % NS_PER_S,
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, NULL))
		;
}

static NOINLINE void finish_after(int fd, int ms)
{
	struct pollfd hangup = { .fd = fd, .events = POLLRDHUP };
	int port = peer_port_of(fd);
	long long seen, before, after;
	char byte;
	ssize_t length;

	while (poll(&hangup, 1, -1) < 1 || !(hangup.revents & POLLRDHUP))
		;
	seen = now_ns();
	length = read(fd, &byte, 1);
	KEEP_FRAME();
	if (length != 0)
		abort();
	sleep_until(seen + ms * NS_PER_MS);
	before = now_ns();
	close(fd);
	after = now_ns();
	KEEP_FRAME();
	flockfile(stdout);
	printf("CLOSED %d %lld %lld %lld %d\n", ms, seen, before, after, port);
	fflush(stdout);
	funlockfile(stdout);
}

static NOINLINE void *slow_conn(void *argument)
{
	int fd = (int)(intptr_t)argument;
	char digits[9] = "";

	if (recv(fd, digits, 8, MSG_WAITALL) == 8)
		finish_after(fd, atoi(digits));
	KEEP_FRAME();
	return NULL;
}

static NOINLINE int slow_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	KEEP_FRAME();
	return fd;
}

int main(int argc, char **argv)
{
	int listener = listen_on(argv[1], 512);

	(void)argc;
	say_port(listener);
	for (;;) {
		int fd = slow_accept(listener);

		if (fd >= 0)
			start_thread(slow_conn, fd);
	}
}
