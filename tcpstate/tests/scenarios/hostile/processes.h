/* Attacks by how many processes there are. */
#ifndef PROCESSES_H
#define PROCESSES_H

#include <sys/wait.h>

#include "files.h"

/* children COUNT OFFSET PATH: so many processes one after the other, each of which leaks a socket by the file and ends at once. */
static void children(int argc, char **argv)
{
	long offset = strtol(argv[1], NULL, 0);

	(void)argc;
	for (int i = 0; i < atoi(argv[0]); i++) {
		if (fork_worker() == 0) {
			leak((call_fn)(map_code(argv[2], NULL, NULL) + offset), 1);
			_exit(0);
		}
		/* Two at a time. */
		if (i > 0 && wait(NULL) > 0)
			leaked++;
	}
	while (wait(NULL) > 0)
		leaked++;
}

#endif
