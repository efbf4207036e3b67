/*
 * A TCP proxy on epoll that takes EPOLLRDHUP for "stop watching": the end of file stays unread,
 * the descriptor open. Its connections to the upstream server are not closed either, but no
 * peer has closed those: they stay ESTABLISHED.
 *
 * argv: address, upstream port on 127.0.0.1
 */
#include <sys/epoll.h>

#include "serve.h"

struct connection {
	int fd;
	struct connection *peer;
};

static int epoll;
static int upstream_port;

static NOINLINE int upstream_open(void)
{
	struct sockaddr_storage upstream;
	socklen_t length = parse_address("127.0.0.1", upstream_port, &upstream);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&upstream, length)) {
		close(fd);
		fd = -1;
	}
	KEEP_FRAME();
	return fd;
}

static NOINLINE void watch(struct connection *connection)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP, .data.ptr = connection };

	epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event);
	KEEP_FRAME();
}

static NOINLINE int proxy_accept(int listener)
{
	struct connection *client, *upstream;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	int up;

	KEEP_FRAME();
	if (fd < 0)
		return -1;
	up = upstream_open();
	if (up < 0) {
		close(fd);
		return -1;
	}
	client = calloc(1, sizeof(*client));
	upstream = calloc(1, sizeof(*upstream));
	*client = (struct connection){ .fd = fd, .peer = upstream };
	*upstream = (struct connection){ .fd = up, .peer = client };
	watch(client);
	watch(upstream);
	KEEP_FRAME();
	return 0;
}

static NOINLINE int forward(struct connection *from)
{
	char buffer[4096];
	ssize_t length = read(from->fd, buffer, sizeof(buffer));

	if (length > 0 && write(from->peer->fd, buffer, length) < 0)
		length = -1;
	KEEP_FRAME();
	return (int)length;
}

static NOINLINE void stop_watching(struct connection *connection)
{
	epoll_ctl(epoll, EPOLL_CTL_DEL, connection->fd, NULL);
	/* BUG: neither read to the end nor closed. */
	KEEP_FRAME();
}

static NOINLINE void event_loop(int listener)
{
	struct epoll_event events[64];

	for (;;) {
		int count = epoll_pwait(epoll, events, 64, -1, NULL);

		for (int i = 0; i < count; i++) {
			struct connection *connection = events[i].data.ptr;

			if (!connection)
				proxy_accept(listener);
			else if (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
				stop_watching(connection);
			else
				forward(connection);
		}
	}
}

int main(int argc, char **argv)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
	int listener = listen_on(argv[1], 512);

	(void)argc;
	signal(SIGPIPE, SIG_IGN);
	upstream_port = atoi(argv[2]);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	say_port(listener);
	event_loop(listener);
	KEEP_FRAME();
	return 0;
}
