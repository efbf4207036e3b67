/*
 * Two functions that open connections by way of a third, one for each of two ports. For every line of
 * letters on standard input it opens one connection a letter, `a` or `b`, and keeps it.
 *
 * argv: `connect` and two ports on 127.0.0.1; or `accept`, and it says its two ports itself
 */
#include "serve.h"

static int accepting;
static struct sockaddr_storage peers[2];
static int listeners[2];

static NOINLINE int open_one(int which)
{
	int fd;

	if (accepting) {
		fd = accept4(listeners[which], NULL, NULL, SOCK_CLOEXEC);
	} else {
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(fd, (struct sockaddr *)&peers[which], sizeof(struct sockaddr_in)))
			die("connect");
	}
	if (fd < 0)
		die("open_one");
	KEEP_FRAME();
	return fd;
}

/* The same but for a number: their frames are of one size. */
static NOINLINE void open_for_a(void)
{
	open_one(0);
	KEEP_FRAME();
}

static NOINLINE void open_for_b(void)
{
	open_one(1);
	KEEP_FRAME();
}

static NOINLINE void open_all(const char *letters)
{
	for (; *letters; letters++) {
		if (*letters == 'a')
			open_for_a();
		else if (*letters == 'b')
			open_for_b();
	}
	KEEP_FRAME();
}

int main(int argc, char **argv)
{
	char letters[512];

	accepting = !strcmp(argv[1], "accept");
	for (int i = 0; i < 2; i++) {
		if (accepting)
			listeners[i] = listen_on("127.0.0.1", 512);
		else if (argc == 4)
			parse_address("127.0.0.1", atoi(argv[2 + i]), &peers[i]);
		if (accepting)
			say_port(listeners[i]);
	}
	printf("READY\n");
	fflush(stdout);
	while (fgets(letters, sizeof(letters), stdin)) {
		open_all(letters);
		printf("OPENED\n");
		fflush(stdout);
	}
	pause();
	return 0;
}
