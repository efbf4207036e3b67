/*
 * Leaks sockets, and nothing is ever the same: the callers (14 calls at random), the code (a piece of
 * it at a new address), the name of the thread, the address and the port of the peer, the process.
 * Each socket stays for a while and is closed then, so there are never more than some thousand.
 *
 * argv: sockets a second, seconds. Ends earlier when its standard input does.
 */
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "serve.h"

/* How long each socket stays, milliseconds. */
#define STAYS_MS 2500
/* Sockets at a time, whatever the rate. */
#define MOST 4096
/* Pieces of code at a time. */
#define PIECES 64
/* So many sockets have one listener. */
#define EACH_LISTENER 32
/* Processes at a time. */
#define CHILDREN 256

typedef int call(unsigned path, int calls);

static call f0, f1, f2, f3;
static call *const next[] = { f0, f1, f2, f3 };
static struct sockaddr_in service;
static int listener = -1;
static unsigned number;

static void listen_anew(void)
{
	socklen_t length = sizeof(service);

	if (listener >= 0)
		close(listener);
	listener = listen_on("127.0.0.1", 128);
	if (getsockname(listener, (struct sockaddr *)&service, &length))
		die("getsockname");
}

/* Leaves one side of a connection in CLOSE_WAIT, and reads to its end. */
static NOINLINE int leak(void)
{
	struct sockaddr_in from = { .sin_family = AF_INET };
	int connected = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), accepted, kept;
	char byte;

	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK | (number % 65000 + 2) << 8);
	if (connected < 0 || bind(connected, (struct sockaddr *)&from, sizeof(from)) ||
	    connect(connected, (struct sockaddr *)&service, sizeof(service)))
		die("connect");
	accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (accepted < 0)
		die("accept");
	kept = number % 2 ? connected : accepted;
	close(kept == connected ? accepted : connected);
	if (number % 3 && read(kept, &byte, 1) != 0)
		die("read");
	return kept;
}

/* As an interpreter of machine code does: a function at an address where none was before. */
static NOINLINE int through_new_code(unsigned path)
{
	/* push %rbp; mov %rsp,%rbp; call *%rdx; pop %rbp; ret */
	static const unsigned char code[] = { 0x55, 0x48, 0x89, 0xe5, 0xff, 0xd2, 0x5d, 0xc3 };
	static void *pieces[PIECES];
	static int piece;
	int (*function)(unsigned, int, call *);
	int kept;
	void **old = &pieces[piece++ % PIECES];
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		die("mmap");
	memcpy(page, code, sizeof(code));
	if (mprotect(page, 4096, PROT_READ | PROT_EXEC))
		die("mprotect");
	memcpy(&function, &page, sizeof(function));
	kept = function(path >> 2, 13, next[path & 3]);
	if (*old)
		munmap(*old, 4096);
	*old = page;
	return kept;
}

#define CALLER(name, n)                                                       \
	static NOINLINE int name(unsigned path, int calls)                    \
	{                                                                     \
		volatile int own = n;                                         \
		int kept = calls ? next[path & 3](path >> 2, calls - 1) : leak(); \
                                                                              \
		return kept + (own - n);                                      \
	}
CALLER(f0, 0)
CALLER(f1, 1)
CALLER(f2, 2)
CALLER(f3, 3)

static void sleep_ms(long ms)
{
	struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&time, NULL);
}

/* In a process of its own, which half of them become another program in. */
static int child(unsigned path)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid > 0)
		return 1;
	/* What the parent connects to must not be accepted here. */
	listen_anew();
	if (number % 10 < 5) {
		fcntl(next[path & 3](path >> 2, 14), F_SETFD, 0);
		execl("/proc/self/exe", "ever_new", NULL);
		die("exec");
	}
	next[path & 3](path >> 2, 14);
	sleep_ms(STAYS_MS);
	_exit(0);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static int kept[MOST];
	double rate, begun, seconds;
	struct rlimit files;
	int room, children = 0;

	if (argc < 3) {
		sleep_ms(STAYS_MS);
		return 0;
	}
	/* More than the usual limit of descriptors. */
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	rate = atof(argv[1]);
	seconds = atof(argv[2]);
	room = rate * STAYS_MS / 1000 < MOST ? rate * STAYS_MS / 1000 + 1 : MOST;
	srand(1);
	printf("READY\n");
	fflush(stdout);
	for (begun = now(); now() < begun + seconds; number++) {
		unsigned path = (unsigned)rand() ^ (unsigned)rand() << 16;
		struct pollfd input = { .fd = 0, .events = POLLIN };
		int *slot = &kept[number % room];
		char name[16];

		if (poll(&input, 1, 0) > 0)
			break;
		if (number % EACH_LISTENER == 0)
			listen_anew();
		snprintf(name, sizeof(name), "n%u", number);
		prctl(PR_SET_NAME, name);
		if (*slot)
			close(*slot);
		*slot = 0;
		if (number % 5 == 0 && children < CHILDREN)
			children += child(path);
		else if (number % 5 == 1)
			*slot = through_new_code(path);
		else
			*slot = next[path & 3](path >> 2, 14);
		while (children && waitpid(-1, NULL, WNOHANG) > 0)
			children--;
		while (now() < begun + (number + 1) / rate)
			sleep_ms(1);
	}
	printf("%u\n", number);
	return 0;
}
