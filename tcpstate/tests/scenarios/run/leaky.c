/* Commands for `tcpstate run`, each with a known number of leaked sockets.
 *
 *   leaky leak N        N sockets are told of the end and stay open until the exit
 *   leaky close N       the same, but closed
 *   leaky late MS       one is closed MS milliseconds after it was told of the end
 *   leaky threads N     the same as leak, in a process whose other threads have names of their own and end last
 *   leaky ghost         one is shut down and stays open until the exit
 *   leaky children N    N processes one after the other, each with one socket; every tenth does not close it
 *   leaky inherit       a child holds the socket last, which the parent has closed
 *   leaky daemon        a daemon stays, with one socket open; says its pid
 *   leaky drop          leaks one as another user
 *   leaky term          leaks one, and exits with 3 at SIGTERM; says `ready`
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int listener;
static struct sockaddr_in address = {.sin_family = AF_INET};

static void start_listening(void) {
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) || listen(listener, 128))
        err(1, "listen");
    if (getsockname(listener, (struct sockaddr *)&address, &length))
        err(1, "getsockname");
}

__attribute__((noinline)) int open_connection(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
        err(1, "connect");
    return fd;
}

static void accept_and_close(void) {
    int peer = accept(listener, NULL, NULL);
    if (peer < 0)
        err(1, "accept");
    close(peer);
}

__attribute__((noinline)) void read_to_the_end(int fd) {
    char byte;
    if (read(fd, &byte, 1) != 0)
        err(1, "read");
}

static int told_of_the_end(void) {
    int fd = open_connection();
    accept_and_close();
    read_to_the_end(fd);
    return fd;
}

static void children(int count) {
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (child < 0)
            err(1, "fork");
        if (child == 0) {
            int fd = open_connection();
            read_to_the_end(fd);
            if (i % 10)
                close(fd);
            _exit(0);
        }
        accept_and_close();
        while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
            ;
    }
}

static void become_daemon(void) {
    fflush(stdout);
    if (fork())
        return;
    setsid();
    alarm(30);
    told_of_the_end();
    printf("DAEMON %d\n", getpid());
    fclose(stdout);
    for (;;)
        pause();
}

static void inherit(void) {
    int fd = told_of_the_end();
    pid_t child = fork();
    if (child == 0) {
        poll(NULL, 0, 50);
        _exit(0);
    }
    close(fd);
    waitpid(child, NULL, 0);
}

static void *wait_for_the_exit(void *name) {
    prctl(PR_SET_NAME, name);
    for (;;)
        pause();
}

static void start_threads(void) {
    static char *names[] = {"idle-0", "idle-1", "idle-2", "idle-3"};
    for (int i = 0; i < 4; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, wait_for_the_exit, names[i]))
            errx(1, "pthread_create");
    }
    poll(NULL, 0, 50);
}

static void terminated(int signal) {
    (void)signal;
    _exit(3);
}

int main(int argc, char **argv) {
    if (argc < 2)
        errx(2, "no mode");
    const char *mode = argv[1];
    int number = argc > 2 ? atoi(argv[2]) : 1;
    start_listening();
    if (!strcmp(mode, "leak")) {
        while (number--)
            told_of_the_end();
    } else if (!strcmp(mode, "threads")) {
        start_threads();
        while (number--)
            told_of_the_end();
    } else if (!strcmp(mode, "close")) {
        while (number--)
            close(told_of_the_end());
    } else if (!strcmp(mode, "late")) {
        int fd = told_of_the_end();
        poll(NULL, 0, number);
        close(fd);
    } else if (!strcmp(mode, "ghost")) {
        shutdown(told_of_the_end(), SHUT_WR);
        poll(NULL, 0, 300);
    } else if (!strcmp(mode, "children")) {
        children(number);
    } else if (!strcmp(mode, "inherit")) {
        inherit();
    } else if (!strcmp(mode, "daemon")) {
        become_daemon();
        poll(NULL, 0, 300);
    } else if (!strcmp(mode, "drop")) {
        if (setgid(65534) || setuid(65534))
            err(1, "setuid");
        told_of_the_end();
    } else if (!strcmp(mode, "term")) {
        signal(SIGTERM, terminated);
        told_of_the_end();
        puts("ready");
        fflush(stdout);
        for (;;)
            pause();
    } else {
        errx(2, "no mode %s", mode);
    }
    _exit(0);
}
