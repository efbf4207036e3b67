/*
 * Code that makes system calls, for a file of which nothing else has to be sound: it needs no relocation, so that the file can be
 * mapped as it is, whatever its headers say.
 */

static __attribute__((noinline)) long hostile_inner(long number, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}

__attribute__((noinline)) long hostile_call(long number, long a, long b, long c)
{
	long result = hostile_inner(number, a, b, c);

	/* Not in tail position: this function keeps its frame. */
	__asm__ volatile("" ::: "memory");
	return result;
}
