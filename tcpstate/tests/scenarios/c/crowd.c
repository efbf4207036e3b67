/*
 * Leaks one connection to itself, and has it inherited by as many processes as it is told. They share its memory, which keeps a
 * crowd of thousands small.
 *
 * argv: number of processes
 */
#include <sched.h>
#include <sys/mman.h>

#include "serve.h"

/* Enough for a system call. */
#define STACK 4096

static int hold(void *unused)
{
	(void)unused;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 0;
	int listener = listen_on("127.0.0.1", 1), peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage address;
	socklen_t length = parse_address("127.0.0.1", port_of(listener), &address);
	char *stacks = mmap(NULL, (size_t)count * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (stacks == MAP_FAILED || connect(peer, (struct sockaddr *)&address, length) || accept(listener, NULL, NULL) < 0)
		die("leak");
	close(peer);
	for (int i = 1; i <= count; i++)
		if (clone(hold, stacks + (size_t)i * STACK, CLONE_VM | SIGCHLD, NULL) < 0)
			die("clone");
	say_port(listener);
	pause();
	return 0;
}
