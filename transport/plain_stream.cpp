#include "engine/error.hpp"
#include "transport/streams.hpp"

#include <sys/socket.h>

#include <cerrno>

namespace lazypull {

using asio::ip::tcp;

namespace {

class PlainStream : public ByteStream {
 public:
  explicit PlainStream(TimedSocket socket) : socket_(std::move(socket)) {}

  Awaitable<std::size_t> read_some(std::span<std::byte> buffer, Clock::time_point until) override {
    for (bool waited = false;; waited = true) {
      const auto got = ::recv(socket_.native(), buffer.data(), buffer.size(), 0);
      if (got >= 0) {
        if (!waited) co_await yield_turn();
        co_return static_cast<std::size_t>(got);
      }
      check_would_block();
      co_await socket_.wait(tcp::socket::wait_read, until);
    }
  }

  Awaitable<> write(std::span<const std::byte> bytes, Clock::time_point until) override {
    while (!bytes.empty()) {
      const auto sent = ::send(socket_.native(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent >= 0) {
        bytes = bytes.subspan(static_cast<std::size_t>(sent));
        continue;
      }
      check_would_block();
      co_await socket_.wait(tcp::socket::wait_write, until);
    }
  }

  bool idle_and_open() noexcept override { return socket_.quiet(); }

 private:
  void check_would_block() {
    const int failure = errno;
    if (failure == EAGAIN || failure == EWOULDBLOCK || failure == EINTR) return;
    socket_.close();
    throw_socket_error({failure, boost::system::system_category()});
  }

  TimedSocket socket_;
};

}  // namespace

std::unique_ptr<ByteStream> make_plain_stream(TimedSocket socket) {
  return std::make_unique<PlainStream>(std::move(socket));
}

}  // namespace lazypull
