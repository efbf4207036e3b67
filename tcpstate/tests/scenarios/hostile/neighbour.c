/*
 * neighbour COUNT: a program that is what it seems to be. It leaks so many sockets by functions that a report has to name, and holds
 * the namespaces that the attackers are in.
 */
#include "leak.h"

static NOINLINE void good_inner(int count)
{
	leak(plain_call, count);
	KEEP_FRAME();
}

static NOINLINE void good_outer(int count)
{
	good_inner(count);
	KEEP_FRAME();
}

static NOINLINE void late_inner(int count)
{
	leak(plain_call, count);
	KEEP_FRAME();
}

static NOINLINE void late_outer(int count)
{
	late_inner(count);
	KEEP_FRAME();
}

int main(int argc, char **argv)
{
	char line[64];

	/* However it was executed. */
	prctl(PR_SET_NAME, "neighbour");
	printf("READY\n");
	fflush(stdout);
	/* Leaks when it is told to, at the same place or at another one, of which nobody knows any names yet. */
	while (fgets(line, sizeof(line), stdin)) {
		(strcmp(line, "late\n") ? good_outer : late_outer)(argc > 1 ? atoi(argv[1]) : 3);
		printf("LEAKED %d\n", leaked);
		fflush(stdout);
	}
	return 0;
}
