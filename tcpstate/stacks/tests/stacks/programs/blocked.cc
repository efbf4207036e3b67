#include <string>
#include <unistd.h>

static volatile int kept;

namespace proxy {

template <typename T> class Pool {
public:
	__attribute__((noinline)) int take(T fd)
	{
		char byte;
		int got = static_cast<int>(read(fd, &byte, 1));
		kept = got;
		return got + 1;
	}
};

__attribute__((noinline)) int serve(const std::string &name, Pool<int> &pool)
{
	auto handle = [&]() __attribute__((noinline)) {
		int got = pool.take(static_cast<int>(name.size()));
		kept = got;
		return got + 1;
	};
	int got = handle();
	kept = got;
	return got + 1;
}

} // namespace proxy

int main()
{
	alarm(120);
	proxy::Pool<int> pool;
	int got = proxy::serve("", pool);
	kept = got;
	return got;
}
