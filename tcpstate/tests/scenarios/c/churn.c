/*
 * A well-behaved echo server on epoll: closes as soon as it reads the end of file. Nothing
 * leaks.
 *
 * argv: address
 */
#include <sys/epoll.h>

#include "serve.h"

static NOINLINE int good_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	KEEP_FRAME();
	return fd;
}

static NOINLINE void good_serve(int fd)
{
	char buffer[4096];
	ssize_t length;

	while ((length = read(fd, buffer, sizeof(buffer))) > 0) {
		if (write(fd, buffer, length) != length)
			break;
	}
	if (length < 0 && errno == EAGAIN)
		return;
	close(fd);
}

static void watch(int epoll, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		die("epoll_ctl");
}

int main(int argc, char **argv)
{
	struct epoll_event events[64];
	int listener = listen_on(argv[1], 1024);
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	(void)argc;
	signal(SIGPIPE, SIG_IGN);
	fcntl(listener, F_SETFL, O_NONBLOCK);
	watch(epoll, listener);
	say_port(listener);
	for (;;) {
		int count = epoll_wait(epoll, events, 64, -1);

		for (int i = 0; i < count; i++) {
			int fd;

			if (events[i].data.fd != listener) {
				good_serve(events[i].data.fd);
				continue;
			}
			while ((fd = good_accept(listener)) >= 0)
				watch(epoll, fd);
		}
	}
}
