/*
 * Takes a connection, reads it to its end, and becomes another program at once, which keeps the
 * descriptor. Built twice as a static program, with other names at the same addresses: as what begins
 * (`first_`), and with -DAFTER as what follows (`after_`).
 *
 * argv: path of what follows, or nothing
 */
#include "serve.h"

#ifdef AFTER
#define NAMED(function) after_##function
#else
#define NAMED(function) first_##function
#endif

NOINLINE int NAMED(take)(int listener)
{
	int fd = accept4(listener, NULL, NULL, 0);

	KEEP_FRAME();
	return fd;
}

NOINLINE int NAMED(drain)(int fd)
{
	char buffer[256];
	ssize_t length;

	do {
		length = read(fd, buffer, sizeof(buffer));
		KEEP_FRAME();
	} while (length > 0);
	return (int)length;
}

int main(int argc, char **argv)
{
	int listener;

	if (argc < 2)
		return pause();
	listener = listen_on("127.0.0.1", 16);
	say_port(listener);
	if (NAMED(drain)(NAMED(take)(listener)))
		die("read");
	/* BUG: the descriptor is neither closed nor CLOEXEC. */
	execl(argv[1], argv[1], NULL);
	die("execl");
}
