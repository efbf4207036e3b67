/*
 * Attackers: hostile MODE COUNT …, each leaks so many sockets in CLOSE_WAIT, is told of their end, says `LEAKED n`, and stays.
 *
 * The modes are the functions of the headers here. ../../privileged/hostile has the files that they map.
 */
#include "files.h"
#include "memory.h"
#include "names.h"
#include "processes.h"

int main(int argc, char **argv)
{
	const struct {
		const char *name;
		void (*run)(int argc, char **argv);
		int arguments;
	} modes[] = {
		{ "mapped", mapped, 3 },     { "copies", copies, 5 },	  { "lease", lease, 3 },
		{ "truncated", truncated, 4 }, { "changing", changing, 4 }, { "stack", stack, 2 },
		{ "deep", deep, 2 },	     { "mappings", mappings, 3 }, { "locked", locked, 1 },
		{ "perf_map", perf_map, 2 }, { "names", names, 1 },	  { "children", children, 3 },
	};
	struct rlimit none = { 0, 0 }, files;

	/* Of an attacker that ends by its own attack. */
	setrlimit(RLIMIT_CORE, &none);
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	alarm(LIFE);
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		if (argc > 1 && !strcmp(argv[1], modes[i].name) && argc - 2 >= modes[i].arguments) {
			modes[i].run(argc - 2, argv + 2);
			stay();
		}
	fprintf(stderr, "no such attack\n");
	return 1;
}
