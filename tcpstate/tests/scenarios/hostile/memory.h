/* Attacks by what is in memory, and by how much there is of it. */
#ifndef MEMORY_H
#define MEMORY_H

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "leak.h"

#define PAGE 4096L
#define STACK (16 * PAGE)

static long hostile_stack;

/* A system call with the stack pointer where the attack wants it. */
static NOINLINE long call_on_stack(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("mov %%rsp, %%rbx\n\t"
			 "mov %[stack], %%rsp\n\t"
			 "syscall\n\t"
			 "mov %%rbx, %%rsp"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), [stack] "r"(hostile_stack)
			 : "rbx", "rcx", "r11", "memory");
	return result;
}

static long memory(int fd, int protection, int flags)
{
	char *start = mmap(NULL, STACK, protection, flags, fd, 0);

	if (start == MAP_FAILED)
		die("mmap");
	return (long)start + STACK / 2;
}

/* Whoever reads it waits for this process, which does not answer. Made before root is given up, as where everybody may. */
static long unanswered(void)
{
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	struct uffdio_api api = { .api = UFFD_API };
	long middle = memory(-1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
	struct uffdio_register range = {
		.range = { .start = middle - STACK / 2, .len = STACK },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range))
		die("userfaultfd");
	return middle;
}

static long stack_of(const char *kind)
{
	const struct {
		const char *kind;
		long address;
	} addresses[] = {
		{ "null", 16 },
		{ "end", 0x7ffffffff000 - 64 },
		{ "non-canonical", 0x800000000000 },
		{ "kernel", 0xffff888000000000 },
		{ "vsyscall", 0xffffffffff600800 },
		{ "wrapping", -8 },
	};

	for (size_t i = 0; i < sizeof(addresses) / sizeof(*addresses); i++)
		if (!strcmp(kind, addresses[i].kind))
			return addresses[i].address;
	if (!strcmp(kind, "guard"))
		return memory(-1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
	if (!strcmp(kind, "device"))
		return memory(open("/dev/zero", O_RDWR), PROT_READ | PROT_WRITE, MAP_SHARED);
	if (!strcmp(kind, "beyond-the-end"))
		return memory(memfd_create("empty", 0), PROT_READ | PROT_WRITE, MAP_SHARED);
	if (!strcmp(kind, "unanswered"))
		return unanswered();
	/* A file. */
	return memory(open(kind, O_RDONLY), PROT_READ | PROT_WRITE, MAP_PRIVATE);
}

static void *sleep_there(void *argument)
{
	(void)argument;
	call_on_stack(SYS_pause, 0, 0, 0);
	return NULL;
}

/* stack COUNT KIND…: sockets and sleeping threads whose stack is no stack. */
static void stack(int argc, char **argv)
{
	const char *user = getenv("HOSTILE_UID"), *stop = getenv("HOSTILE_STOP");
	long stacks[32];

	for (int i = 1; i < argc && i < 32; i++)
		stacks[i] = stack_of(argv[i]);
	if (user && (setresgid(atoi(user), atoi(user), atoi(user)) || setresuid(atoi(user), atoi(user), atoi(user))))
		die("setresuid");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (stop)
		access(stop, F_OK);
	for (int i = 1; i < argc && i < 32; i++) {
		hostile_stack = stacks[i];
		leak(call_on_stack, atoi(argv[0]));
		start_thread(sleep_there, 0);
		/* It has read where its stack is to be. */
		usleep(20000);
	}
}

static NOINLINE void descend(int depth, int count)
{
	volatile char frame[32];

	frame[0] = depth;
	if (depth)
		descend(depth - 1, count);
	else
		leak(plain_call, count);
	frame[1] = frame[0];
	KEEP_FRAME();
}

/* deep COUNT DEPTH: a stack of so many calls. */
static void deep(int argc, char **argv)
{
	(void)argc;
	descend(atoi(argv[1]), atoi(argv[0]));
}

/* mappings COUNT N DIRECTORY: so many mappings to execute, of a file whose path is as long as paths can be. */
static void mappings(int argc, char **argv)
{
	char name[201] = "";
	int fd, mapped = 0;

	(void)argc;
	memset(name, 'm', 200);
	/* Not by an absolute path, which would be too long. */
	if (chdir(argv[2]))
		die(argv[2]);
	for (int depth = 0; depth < 19; depth++)
		if ((mkdir(name, 0755) && errno != EEXIST) || chdir(name))
			die("mkdir");
	fd = open("library.so", O_RDWR | O_CREAT, 0755);
	if (fd < 0 || ftruncate(fd, PAGE))
		die("library.so");
	/* The kernel allows 65,530, and some are the program's own. */
	while (mapped < atoi(argv[1]) && mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) != MAP_FAILED)
		mapped++;
	printf("MAPPED %d\n", mapped);
	leak(plain_call, atoi(argv[0]));
}

/* Populates memory and gives it back, all the time. */
static void *populate(void *argument)
{
	const size_t size = 128 << 20;

	(void)argument;
	for (;;) {
		char *start = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		if (start != MAP_FAILED)
			munmap(start, size);
	}
	return NULL;
}

/* locked COUNT: its mmap_lock is taken nearly all the time. */
static void locked(int argc, char **argv)
{
	(void)argc;
	start_thread(populate, 0);
	start_thread(populate, 0);
	leak(plain_call, atoi(argv[0]));
}

#endif
