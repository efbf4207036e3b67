// A gateway whose sessions own a callback that owns the session: the cycle keeps every session,
// and with it the descriptor that its destructor would close, for ever.
//
// argv: address
#include "../c/serve.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace net {

/// A descriptor that is closed with its owner.
class Tcp {
public:
	explicit Tcp(int fd) : fd_(fd) {}
	~Tcp()
	{
		if (fd_ >= 0)
			close(fd_);
	}
	Tcp(Tcp &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
	Tcp(const Tcp &) = delete;
	Tcp &operator=(const Tcp &) = delete;

	NOINLINE std::string receive()
	{
		char buffer[4096];
		ssize_t length = recv(fd_, buffer, sizeof(buffer), 0);

		KEEP_FRAME();
		return std::string(buffer, length > 0 ? length : 0);
	}

private:
	int fd_;
};

class Acceptor {
public:
	explicit Acceptor(int listener) : listener_(listener) {}

	NOINLINE Tcp take_connection()
	{
		int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);

		KEEP_FRAME();
		return Tcp(fd);
	}

private:
	int listener_;
};

} // namespace net

namespace gateway {

template <typename Transport>
class Session : public std::enable_shared_from_this<Session<Transport>> {
public:
	explicit Session(Transport transport) : transport_(std::move(transport)) {}

	NOINLINE void serve()
	{
		// BUG: has to capture a weak_ptr.
		on_idle_ = [self = this->shared_from_this()] { self->received_ = 0; };
		drain();
		KEEP_FRAME();
	}

	NOINLINE void drain()
	{
		for (;;) {
			std::string piece = transport_.receive();

			KEEP_FRAME();
			if (piece.empty())
				return;
			received_ += piece.size();
		}
	}

private:
	Transport transport_;
	std::function<void()> on_idle_;
	size_t received_ = 0;
};

NOINLINE void serve_all(net::Acceptor &acceptor)
{
	for (;;)
		std::make_shared<Session<net::Tcp>>(acceptor.take_connection())->serve();
}

} // namespace gateway

int main(int, char **argv)
{
	int listener = listen_on(argv[1], 512);
	net::Acceptor acceptor(listener);

	say_port(listener);
	gateway::serve_all(acceptor);
	return 0;
}
