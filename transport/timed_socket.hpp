#pragma once

#include "transport/byte_stream.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>

namespace lazypull {

/// A non-blocking TCP socket whose waits have a deadline; when it passes, the socket is closed.
class TimedSocket {
 public:
  explicit TimedSocket(const asio::any_io_executor& executor);
  TimedSocket(TimedSocket&&) noexcept = default;
  TimedSocket& operator=(TimedSocket&&) = delete;
  ~TimedSocket() { close(); }

  Awaitable<> connect(asio::ip::tcp::endpoint endpoint, Clock::time_point until);
  /// Until it is readable or writable. Throws Error{timed_out} or Error{cancelled}.
  Awaitable<> wait(asio::ip::tcp::socket::wait_type what, Clock::time_point until);
  int native() noexcept { return state_->socket.native_handle(); }
  void close() noexcept;
  /// False if the peer has closed the connection or sent something.
  bool quiet() noexcept;

 private:
  // Also lives as long as a timer's handler that has yet to run.
  struct State {
    explicit State(const asio::any_io_executor& executor) : socket(executor), timer(executor) {}
    asio::ip::tcp::socket socket;
    asio::steady_timer timer;
    bool waiting = false;
    bool expired = false;
  };
  class Watch;

  void check(const boost::system::error_code& failure);

  std::shared_ptr<State> state_;
};

/// Gives other coroutines of the home thread their turn.
Awaitable<> yield_turn();

/// The system's text for an error, in the style of our messages: "connection refused".
std::string error_text(const boost::system::error_code& error);

/// Throws what a failed socket operation means: Error{cancelled} or Error{unavailable}.
[[noreturn]] void throw_socket_error(const boost::system::error_code& error);

}  // namespace lazypull
