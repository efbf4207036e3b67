/*
 * The plugin of plugin_host.c: reads frames until the peer ends, and returns early when the end
 * comes where a frame should begin. `read_frame` is inlined: only debug info knows it.
 */
#include "serve.h"

struct frame {
	char bytes[16];
	ssize_t length;
};

static inline __attribute__((always_inline)) int read_frame(int fd, struct frame *frame)
{
	frame->length = recv(fd, frame->bytes, sizeof(frame->bytes), MSG_WAITALL);
	KEEP_FRAME();
	return frame->length > 0;
}

static NOINLINE int accept_session(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	KEEP_FRAME();
	return fd;
}

static NOINLINE void serve_session(int fd)
{
	struct frame frame;

	for (;;) {
		if (!read_frame(fd, &frame)) {
			/* BUG: this way out does not close. */
			KEEP_FRAME();
			return;
		}
		if (frame.bytes[0] == 'q')
			break;
	}
	close(fd);
}

void plugin_serve(int listener)
{
	for (;;) {
		int fd = accept_session(listener);

		if (fd >= 0)
			serve_session(fd);
		KEEP_FRAME();
	}
}
