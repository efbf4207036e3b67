#include <unistd.h>

static volatile int kept;

__attribute__((noinline)) static int plugin_wait(int fd)
{
	char byte;
	int got = (int)read(fd, &byte, 1);
	kept = got;
	return got + 1;
}

__attribute__((noinline)) int plugin_enter(int fd)
{
	int got = plugin_wait(fd);
	kept = got;
	return got + 1;
}
