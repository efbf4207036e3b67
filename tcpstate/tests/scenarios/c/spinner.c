/*
 * A server whose loop watches for EPOLLRDHUP, level-triggered, and does nothing about it: from the
 * first client that goes on, epoll_wait() never sleeps again.
 *
 * argv: address
 */
#include "serve.h"

#include <sys/epoll.h>

static int loop;

static void watch(int fd, unsigned int events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event))
		die("epoll_ctl");
}

int main(int argc, char **argv)
{
	int listener = listen_on(argv[1], 512);

	(void)argc;
	/* It is to spin on a machine that has other things to do, too. */
	if (nice(-20) == -1)
		errno = 0;
	prctl(PR_SET_NAME, "spinner");
	loop = epoll_create1(EPOLL_CLOEXEC);
	watch(listener, EPOLLIN);
	say_port(listener);
	for (;;) {
		struct epoll_event event;

		if (epoll_wait(loop, &event, 1, -1) < 1)
			continue;
		if (event.data.fd == listener)
			watch(accept4(listener, NULL, NULL, SOCK_CLOEXEC), EPOLLRDHUP);
		/* BUG: EPOLLRDHUP is a case that nobody wrote. */
	}
}
