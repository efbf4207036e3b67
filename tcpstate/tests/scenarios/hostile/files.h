/* Attacks by the files that are mapped. */
#ifndef FILES_H
#define FILES_H

#include <poll.h>
#include <sys/inotify.h>
#include <sys/mman.h>

#include "leak.h"

/* The whole file, to be executed. */
static inline char *map_code(const char *path, size_t *size, int *keep)
{
	int fd = open(path, O_RDONLY);
	struct stat status;
	char *code;

	if (fd < 0 || fstat(fd, &status))
		die(path);
	code = mmap(NULL, status.st_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	if (code == MAP_FAILED)
		die(path);
	if (size)
		*size = status.st_size;
	if (keep)
		*keep = fd;
	else
		close(fd);
	return code;
}

/* mapped COUNT OFFSET PATH…: so many sockets by the code at the offset of each file. */
static void mapped(int argc, char **argv)
{
	const char *stop = getenv("HOSTILE_STOP");
	long offset = strtol(argv[1], NULL, 0);

	for (int i = 2; i < argc; i++)
		leak((call_fn)(map_code(argv[i], NULL, NULL) + offset), atoi(argv[0]));
	/* A name that has the file system of these files stop answering. */
	if (stop)
		access(stop, F_OK);
}

/* copies COUNT OFFSET PATH DIRECTORY PAUSE: the same by so many copies of one file, one every so many microseconds. */
static void copies(int argc, char **argv)
{
	size_t size;
	char *code = map_code(argv[2], &size, NULL), path[4096];
	long offset = strtol(argv[1], NULL, 0);

	(void)argc;
	for (int i = 0; i < atoi(argv[0]); i++) {
		int fd;

		snprintf(path, sizeof(path), "%s/copy-%d-%d.so", argv[3], getpid(), i);
		fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0755);
		if (fd < 0 || write(fd, code, size) != (ssize_t)size)
			die(path);
		close(fd);
		leak((call_fn)(map_code(path, NULL, NULL) + offset), 1);
		usleep(atoi(argv[4]));
	}
}

/* lease COUNT OFFSET PATH: who opens the file waits for this process, which does not give it up. */
static void lease(int argc, char **argv)
{
	int fd;
	char *code = map_code(argv[2], NULL, &fd);

	(void)argc;
	signal(SIGIO, SIG_IGN);
	/* Of an opener of its own it would wait as well. */
	if (fcntl(fd, F_SETLEASE, F_WRLCK))
		die("F_SETLEASE");
	leak((call_fn)(code + strtol(argv[1], NULL, 0)), atoi(argv[0]));
}

struct cut {
	const char *path;
	off_t size;
};

/* Cuts the file off and makes it long again, all the time. */
static void *flap(void *argument)
{
	struct cut *cut = argument;

	for (;;) {
		if (truncate(cut->path, 4096))
			die(cut->path);
		usleep(3000);
		if (truncate(cut->path, cut->size))
			die(cut->path);
		usleep(500);
	}
	return NULL;
}

/* truncated COUNT OFFSET PATH DELAY_US: cut off a moment after it has been opened; with no delay again and again. */
static void truncated(int argc, char **argv)
{
	size_t size;
	char *code = map_code(argv[2], &size, NULL);
	int watch = inotify_init1(IN_CLOEXEC), delay = atoi(argv[3]);

	struct pollfd opened = { .fd = watch, .events = POLLIN };

	(void)argc;
	/* Before the leak: it may be opened at once. */
	if (delay && inotify_add_watch(watch, argv[2], IN_OPEN) < 0)
		die("inotify");
	leak((call_fn)(code + strtol(argv[1], NULL, 0)), atoi(argv[0]));
	printf("LEAKED %d\n", leaked);
	fflush(stdout);
	if (!delay) {
		static struct cut cut;

		cut = (struct cut){ argv[2], size };
		start_thread(flap, (intptr_t)&cut);
		return;
	}
	/* Or never. */
	if (poll(&opened, 1, 5000) < 0)
		die("poll");
	usleep(delay);
	if (truncate(argv[2], 4096))
		die("truncate");
}

struct replaced {
	char path[2][4096];
};

/* Maps, unmaps and replaces libraries, all the time. */
static void *replace(void *argument)
{
	struct replaced *files = argument;
	char other[4110];

	for (unsigned round = 0;; round++) {
		char *path = files->path[round & 1];
		size_t size;
		char *code = map_code(path, &size, NULL);
		int fd;

		snprintf(other, sizeof(other), "%s.new", path);
		fd = open(other, O_RDWR | O_CREAT | O_TRUNC, 0755);
		if (fd < 0 || write(fd, code, size) != (ssize_t)size || rename(other, path))
			die(other);
		close(fd);
		munmap(code, size);
		usleep(200);
	}
	return NULL;
}

/* changing COUNT OFFSET PATH PATH: through a library that has just been replaced by another. */
static void changing(int argc, char **argv)
{
	static struct replaced files;

	(void)argc;
	snprintf(files.path[0], sizeof(files.path[0]), "%s", argv[2]);
	snprintf(files.path[1], sizeof(files.path[1]), "%s", argv[3]);
	start_thread(replace, (intptr_t)&files);
	for (int i = 0; i < atoi(argv[0]); i++) {
		size_t size;
		char *code = map_code(files.path[i & 1], &size, NULL);

		leak((call_fn)(code + strtol(argv[1], NULL, 0)), 1);
		munmap(code, size);
		usleep(5000);
	}
}

#endif
