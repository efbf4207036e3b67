/*
 * A function that has 24 KiB of buffers on its stack below those who called it, as event loops have. For every line on standard input it
 * opens a connection, which the peer closes at once, and keeps it.
 */
#include "serve.h"

static int listener;

static NOINLINE void open_one(void)
{
	struct sockaddr_storage address;
	socklen_t length = parse_address("127.0.0.1", port_of(listener), &address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, length))
		die("connect");
	close(accept(listener, NULL, NULL));
	KEEP_FRAME();
}

static NOINLINE void with_buffers(void)
{
	volatile char buffers[24 << 10];

	for (size_t i = 0; i < sizeof(buffers); i += 512)
		buffers[i] = 1;
	open_one();
	buffers[0] = 2;
	KEEP_FRAME();
}

static NOINLINE void serve_request(void)
{
	with_buffers();
	KEEP_FRAME();
}

int main(void)
{
	char line[64];

	listener = listen_on("127.0.0.1", 64);
	printf("READY\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		serve_request();
		printf("OPENED\n");
		fflush(stdout);
	}
	KEEP_FRAME();
	return 0;
}
