/*
 * A server on io_uring without a library. While it computes, in naps, the kernel completes its accepts and receives:
 * it interrupts the naps for that. What it does then is not what accepts and is told of the end.
 *
 * argv: `waiting`: it waits in io_uring_enter() instead; `multishot`: so, too, with one request for all accepts; `fixed`: so,
 * too, and connections get no descriptors but places among the ring's files, and nobody reads them
 */
#include "serve.h"

#include <linux/io_uring.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#define ENTRIES 64
#define ACCEPT 0

static int ring, listener, waits, multishot, fixed;
static char *sq, *cq, buffer[64];
static struct io_uring_sqe *sqes;
static struct io_uring_params params;

#define FIELD(base, offset) ((unsigned int *)((base) + (offset)))

static void *map(size_t length, off_t at)
{
	void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, at);

	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

static void set_up(void)
{
	ring = syscall(SYS_io_uring_setup, ENTRIES, &params);
	if (ring < 0)
		die("io_uring_setup");
	sq = map(params.sq_off.array + params.sq_entries * sizeof(unsigned int), IORING_OFF_SQ_RING);
	cq = map(params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
	sqes = map(params.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
}

static void submit(struct io_uring_sqe entry)
{
	unsigned int *tail = FIELD(sq, params.sq_off.tail);
	unsigned int index = *tail & *FIELD(sq, params.sq_off.ring_mask);

	sqes[index] = entry;
	FIELD(sq, params.sq_off.array)[index] = index;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 0, 0, NULL, 0) != 1)
		die("io_uring_enter");
}

static NOINLINE void submit_accept(void)
{
	submit((struct io_uring_sqe){.opcode = IORING_OP_ACCEPT, .fd = listener, .user_data = ACCEPT,
				     .ioprio = multishot ? IORING_ACCEPT_MULTISHOT : 0,
				     .file_index = fixed ? IORING_FILE_INDEX_ALLOC : 0});
	KEEP_FRAME();
}

static NOINLINE void submit_receive(int fd)
{
	submit((struct io_uring_sqe){.opcode = IORING_OP_RECV, .fd = fd, .addr = (uintptr_t)buffer,
				     .len = sizeof(buffer), .user_data = fd});
	KEEP_FRAME();
}

/* Has nothing to do with connections. */
static NOINLINE void compute(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
	KEEP_FRAME();
}

static NOINLINE void wait_for_one(void)
{
	if (syscall(SYS_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		die("io_uring_enter");
	KEEP_FRAME();
}

static void make_places(void)
{
	static int none[ENTRIES];

	memset(none, -1, sizeof(none));
	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, none, ENTRIES))
		die("io_uring_register");
}

int main(int argc, char **argv)
{
	unsigned int *head;

	multishot = argc > 1 && !strcmp(argv[1], "multishot");
	fixed = argc > 1 && !strcmp(argv[1], "fixed");
	waits = argc > 1;
	listener = listen_on("127.0.0.1", 64);
	set_up();
	if (fixed)
		make_places();
	head = FIELD(cq, params.cq_off.head);
	submit_accept();
	say_port(listener);
	for (;;) {
		if (waits)
			wait_for_one();
		else
			compute();
		while (*head != __atomic_load_n(FIELD(cq, params.cq_off.tail), __ATOMIC_ACQUIRE)) {
			struct io_uring_cqe *entries = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
			struct io_uring_cqe done = entries[*head & *FIELD(cq, params.cq_off.ring_mask)];

			__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
			if (done.user_data == ACCEPT && done.res >= 0) {
				if (!fixed)
					submit_receive(done.res);
				if (!multishot)
					submit_accept();
			} else if (done.res > 0) {
				submit_receive(done.user_data);
			}
			/* BUG: told of the end (a result of 0), it forgets the descriptor. */
		}
	}
}
