// Blocks in a system call below functions of known names. The first argument says how; the second may be a path.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))
#define INLINE static inline __attribute__((always_inline))

static volatile int kept;

NOINLINE static int accept_one(int listener)
{
	int fd = accept(listener, NULL, NULL); /* accept_one blocks */
	kept = fd;
	return fd + 1;
}

NOINLINE static int serve(int backlog)
{
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	listen(listener, backlog);
	int fd = accept_one(listener); /* serve calls */
	kept = fd;
	return fd + 1;
}

/* Leaves its return addresses below the stack pointer. */
NOINLINE static int leave_words(int depth)
{
	int got = depth ? leave_words(depth - 1) : dup(-1);
	kept = got;
	return got + 1;
}

NOINLINE static int accept_above_old_words(int listener)
{
	volatile char room[512];
	room[0] = 1;
	int fd = accept(listener, NULL, NULL);
	kept = fd;
	return fd + room[0];
}

NOINLINE static int serve_above_old_words(int backlog)
{
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	listen(listener, backlog);
	kept = leave_words(40);
	int fd = accept_above_old_words(listener);
	kept = fd;
	return fd + 1;
}

static int (*volatile by_pointer)(int) = serve;

INLINE int take_byte(int fd)
{
	char byte = 0;
	int got = (int)read(fd, &byte, 1); /* take_byte blocks */
	kept = got;
	return got + byte;
}

INLINE int take_request(int fd)
{
	return take_byte(fd) + kept; /* take_request calls */
}

NOINLINE static int session(int fd)
{
	int got = take_request(fd); /* session calls */
	kept = got;
	return got + 1;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

NOINLINE static int wait_for_lock(void)
{
	int error = pthread_mutex_lock(&lock);
	kept = error;
	return error + 1;
}

NOINLINE static void *worker(void *argument)
{
	kept = wait_for_lock();
	return argument;
}

NOINLINE static int workers(int count)
{
	pthread_mutex_lock(&lock);
	pthread_t thread;
	for (int i = 0; i < count; i++)
		pthread_create(&thread, NULL, worker, NULL);
	int error = pthread_join(thread, NULL);
	kept = error;
	return error + 1;
}

NOINLINE static int recurse(int depth)
{
	int got = depth ? recurse(depth - 1) : session(0);
	kept = got;
	return got + 1;
}

/* Code made at run time that calls its argument, with a frame pointer and without. Some does not say how large its frame is. */
static const unsigned char jit_code[] = {
	0x55,             /* push %rbp */
	0x48, 0x89, 0xe5, /* mov %rsp,%rbp */
	0xff, 0xd7,       /* call *%rdi */
	0x5d,             /* pop %rbp */
	0xc3,             /* ret */
};

static const unsigned char trampoline_code[] = {
	0x48, 0x83, 0xec, 0x08, /* sub $8,%rsp */
	0xff, 0xd7,             /* call *%rdi */
	0x48, 0x83, 0xc4, 0x08, /* add $8,%rsp */
	0xc3,                   /* ret */
};

/* As a compiler of Java makes it. */
static const unsigned char fixed_code[] = {
	0x48, 0x83, 0xec, 0x18,                   /* sub $24,%rsp */
	0x48, 0x89, 0x6c, 0x24, 0x10,             /* mov %rbp,16(%rsp) */
	0xff, 0xd7,                               /* call *%rdi */
	0x85, 0xc0,                               /* test %eax,%eax */
	0x75, 0x02,                               /* jne over the next */
	0x31, 0xed,                               /* xor %ebp,%ebp */
	0x48, 0x83, 0xc4, 0x10,                   /* add $16,%rsp */
	0x5d,                                     /* pop %rbp */
	0x49, 0x89, 0xe2,                         /* mov %rsp,%r10 */
	0xc3,                                     /* ret */
};

static const unsigned char opaque_code[] = {
	0x53,             /* push %rbx */
	0x48, 0x89, 0xe3, /* mov %rsp,%rbx */
	0xff, 0xd7,       /* call *%rdi */
	0x48, 0x89, 0xdc, /* mov %rbx,%rsp */
	0x5b,             /* pop %rbx */
	0xc3,             /* ret */
};

/* Uses the frame pointer otherwise, below code that keeps it. */
static const unsigned char zero_code[] = {
	0x55,                               /* push %rbp */
	0x53,                               /* push %rbx */
	0x52,                               /* push %rdx */
	0x48, 0x89, 0xe3,                   /* mov %rsp,%rbx */
	0x31, 0xed,                         /* xor %ebp,%ebp */
	0xe8, 0x07, 0x00, 0x00, 0x00,       /* call what keeps it */
	0x48, 0x89, 0xdc,                   /* mov %rbx,%rsp */
	0x5a,                               /* pop %rdx */
	0x5b,                               /* pop %rbx */
	0x5d,                               /* pop %rbp */
	0xc3,                               /* ret */
	0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, /* push %rbp; mov %rsp,%rbp; call *%rdi */
	0xc9, 0xc3,                         /* leave; ret */
};

NOINLINE static int called_by_jit(void)
{
	int got = session(0);
	kept = got;
	return got + 1;
}

NOINLINE static int jit(const unsigned char *bytes, size_t size, const char *name)
{
	void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(code, bytes, size);
	if (name) {
		char path[64];
		snprintf(path, sizeof path, "/tmp/perf-%d.map", getpid());
		FILE *map = fopen(path, "w");
		fprintf(map, "%lx %lx %s\n", (unsigned long)code, size, name);
		fclose(map);
	}
	int got = ((int (*)(int (*)(void)))code)(called_by_jit);
	kept = got;
	return got + 1;
}

static void handler(int number)
{
	kept = session(0) + number;
}

NOINLINE static int interrupted(void)
{
	signal(SIGUSR1, handler);
	int error = raise(SIGUSR1);
	kept = error;
	return error + 1;
}

NOINLINE static int plugin(const char *path)
{
	char byte;
	if (read(0, &byte, 1) != 1)
		return 1;
	void *library = dlopen(path, RTLD_NOW);
	int (*enter)(int) = library ? (int (*)(int))dlsym(library, "plugin_enter") : NULL;
	if (!enter)
		return 2;
	int got = enter(0);
	kept = got;
	return got + 1;
}

static void *serve_alone(void *unused)
{
	(void)unused;
	kept = serve(1);
	return NULL;
}

/* The process goes on without its first thread. */
static void leave_to_another(void)
{
	pthread_t other;
	pthread_create(&other, NULL, serve_alone, NULL);
	pthread_exit(NULL);
}

int main(int argc, char **argv)
{
	const char *how = argv[1], *path = argc > 2 ? argv[2] : NULL;
	int result = 3;
	alarm(120);
	if (!strcmp(how, "accept"))
		result = serve(1);
	else if (!strcmp(how, "leave"))
		leave_to_another();
	else if (!strcmp(how, "pointer"))
		result = by_pointer(1);
	else if (!strcmp(how, "words"))
		result = serve_above_old_words(1);
	else if (!strcmp(how, "read"))
		result = session(0);
	else if (!strcmp(how, "lock"))
		result = workers(6);
	else if (!strcmp(how, "recurse"))
		result = recurse(2000);
	else if (!strcmp(how, "jit"))
		result = jit(jit_code, sizeof jit_code, path);
	else if (!strcmp(how, "trampoline"))
		result = jit(trampoline_code, sizeof trampoline_code, path);
	else if (!strcmp(how, "fixed"))
		result = jit(fixed_code, sizeof fixed_code, path);
	else if (!strcmp(how, "opaque"))
		result = jit(opaque_code, sizeof opaque_code, path);
	else if (!strcmp(how, "zero"))
		result = jit(zero_code, sizeof zero_code, path);
	else if (!strcmp(how, "signal"))
		result = interrupted();
	else if (!strcmp(how, "plugin"))
		result = plugin(path);
	else if (!strcmp(how, "exec") && read(0, &result, 1) == 1)
		result = execl(path, path, "accept", NULL);
	kept = result;
	return result;
}
