/*
 * A host that leaves serving to a plugin which it loads while it runs.
 *
 * argv: address, path of the plugin
 */
#include <dlfcn.h>

#include "serve.h"

static NOINLINE void run_plugin(const char *path, int listener)
{
	void *library = dlopen(path, RTLD_NOW);
	void (*serve)(int) = library ? (void (*)(int))dlsym(library, "plugin_serve") : NULL;

	if (!serve) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	serve(listener);
	KEEP_FRAME();
}

int main(int argc, char **argv)
{
	int listener = listen_on(argv[1], 512);

	(void)argc;
	say_port(listener);
	run_plugin(argv[2], listener);
	KEEP_FRAME();
	return 0;
}
