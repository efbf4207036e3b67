/* Attacks by names: of processes, of threads, of code made at run time. */
#ifndef NAMES_H
#define NAMES_H

#include <sys/mman.h>

#include "leak.h"

/* mov rax, rdi; mov rdi, rsi; mov rsi, rdx; mov rdx, rcx; syscall; ret */
static const unsigned char MADE_CODE[] = {
	0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89, 0xd6, 0x48, 0x89, 0xca, 0x0f, 0x05, 0xc3,
};

/* Code that is in no file. */
static inline call_fn made_code(void)
{
	void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (code == MAP_FAILED)
		die("mmap");
	memcpy(code, MADE_CODE, sizeof(MADE_CODE));
	return (call_fn)code;
}

static void write_map(const char *path, call_fn code, long bytes, const char *name)
{
	FILE *map = fopen(path, "w");
	long written = 0;

	if (!map)
		die(path);
	/* So many lines of 11 bytes, and the one that matters last. */
	for (long line = 0; written < bytes; line++)
		written += fprintf(map, "%lx 1 a\n", 0x1000000 + line);
	fprintf(map, "%lx %zx %s\n", (long)code, sizeof(MADE_CODE), name);
	if (fclose(map))
		die(path);
}

struct map {
	char path[64], other[64];
	call_fn code;
};

static void *change_map(void *argument)
{
	struct map *map = argument;

	for (int round = 0;; round++) {
		char name[32];

		snprintf(name, sizeof(name), "round_%d", round);
		write_map(map->other, map->code, round & 1 ? 1 << 20 : 64, name);
		if (rename(map->other, map->path))
			die(map->path);
		usleep(2000);
	}
	return NULL;
}

/* perf_map COUNT KIND ARGUMENT: code made at run time, with a map that is not what it should be. */
static void perf_map(int argc, char **argv)
{
	static struct map map;
	const char *kind = argv[1], *argument = argc > 2 ? argv[2] : "";

	map.code = made_code();
	snprintf(map.path, sizeof(map.path), "/tmp/perf-%d.map", getpid());
	snprintf(map.other, sizeof(map.other), "/tmp/perf-%d.new", getpid());
	unlink(map.path);
	if (!strcmp(kind, "large"))
		write_map(map.path, map.code, atol(argument), "made");
	else if (!strcmp(kind, "changing"))
		start_thread(change_map, (intptr_t)&map);
	else if (!strcmp(kind, "name"))
		write_map(map.path, map.code, 64, argument);
	else if (!strcmp(kind, "fifo") ? mkfifo(map.path, 0644) :
		 !strcmp(kind, "directory") ? mkdir(map.path, 0755) : symlink(argument, map.path))
		die(map.path);
	leak(map.code, atoi(argv[0]));
}

static void *leak_by_thread(void *argument)
{
	prctl(PR_SET_NAME, "\033[2Jt\n\342\200\256x\t\177");
	leak(plain_call, (int)(intptr_t)argument);
	stay();
	return NULL;
}

/* names COUNT: of the process and of its thread. */
static void names(int argc, char **argv)
{
	(void)argc;
	prctl(PR_SET_NAME, "\033]0;p\007\n\"<&>\342\201\246");
	start_thread(leak_by_thread, atoi(argv[0]));
	for (;;)
		pause();
}

#endif
