/*
 * A front process accepts and passes each connection to a back process over a UNIX socket
 * (SCM_RIGHTS), then closes its own descriptor. The back process keeps what it is passed and
 * never looks at it. Says `BACK pid`.
 *
 * argv: address
 */
#include "serve.h"

union fd_message {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

static NOINLINE int front_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	KEEP_FRAME();
	return fd;
}

static NOINLINE void pass_on(int channel, int fd)
{
	char byte = 0;
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	union fd_message control = {
		.header = {
			.cmsg_len = CMSG_LEN(sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		},
	};
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	if (sendmsg(channel, &message, 0) != 1)
		die("sendmsg");
	close(fd);
	KEEP_FRAME();
}

static NOINLINE void front_main(int listener, int channel)
{
	for (;;) {
		int fd = front_accept(listener);

		if (fd >= 0)
			pass_on(channel, fd);
	}
}

static NOINLINE void receive_fd(int channel)
{
	char byte;
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	union fd_message control;
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	if (recvmsg(channel, &message, MSG_CMSG_CLOEXEC) != 1)
		exit(0);
	/* BUG: the descriptor that came with it is never read nor closed. */
	KEEP_FRAME();
}

static NOINLINE void back_main(int channel)
{
	prctl(PR_SET_NAME, "back");
	for (;;)
		receive_fd(channel);
}

int main(int argc, char **argv)
{
	int channel[2];
	int listener;
	pid_t pid;

	(void)argc;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel))
		die("socketpair");
	pid = fork_worker();
	if (pid == 0) {
		close(channel[0]);
		back_main(channel[1]);
	}
	close(channel[1]);
	listener = listen_on(argv[1], 512);
	printf("BACK %d\n", pid);
	say_port(listener);
	front_main(listener, channel[0]);
	return 0;
}
