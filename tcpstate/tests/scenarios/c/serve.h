/* What every program here needs: a listener, a connection, and functions that stay functions. */
#ifndef SERVE_H
#define SERVE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* The tests look for these functions on the stack, so the compiler must not dissolve them. */
#define NOINLINE __attribute__((noinline))

/* Behind a call: keeps it out of tail position, so that the caller keeps its frame. */
#define KEEP_FRAME() __asm__ volatile("" ::: "memory")

static inline void die(const char *what)
{
	perror(what);
	exit(1);
}

static inline socklen_t parse_address(const char *text, int port, struct sockaddr_storage *address)
{
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;

	memset(address, 0, sizeof(*address));
	if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		return sizeof(*v6);
	}
	if (inet_pton(AF_INET, text, &v4->sin_addr) != 1) {
		fprintf(stderr, "`%s` is no address\n", text);
		exit(1);
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons(port);
	return sizeof(*v4);
}

static inline int port_of(int fd)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &length))
		die("getsockname");
	if (address.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
	return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

static inline int peer_port_of(int fd)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);

	if (getpeername(fd, (struct sockaddr *)&address, &length))
		die("getpeername");
	return ntohs(address.sin_port);
}

/* Says `PORT n` on standard output. */
static inline void say_port(int listener)
{
	printf("PORT %d\n", port_of(listener));
	fflush(stdout);
}

static inline int listen_on(const char *address, int backlog)
{
	struct sockaddr_storage bound;
	socklen_t length = parse_address(address, 0, &bound);
	int listener = socket(bound.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (listener < 0 || bind(listener, (struct sockaddr *)&bound, length) || listen(listener, backlog))
		die("listen");
	return listener;
}

static inline void start_thread(void *(*body)(void *), intptr_t argument)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, body, (void *)argument))
		die("pthread_create");
	pthread_detach(thread);
}

/* fork() whose child ends with its parent. */
static inline pid_t fork_worker(void)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

#endif
