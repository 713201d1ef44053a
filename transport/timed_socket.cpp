#include "transport/timed_socket.hpp"

#include "engine/error.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <sys/socket.h>

#include <cerrno>

namespace lazypull {

using asio::ip::tcp;

// Closes the socket, which ends the operation, unless the operation ends first.
class TimedSocket::Watch {
 public:
  Watch(std::shared_ptr<State> state, Clock::time_point until) : state_(std::move(state)) {
    state_->waiting = true;
    state_->timer.expires_at(until);
    state_->timer.async_wait([state = state_](const boost::system::error_code& stopped) {
      // A later operation may have moved the deadline after this handler had been queued.
      if (stopped || !state->waiting || state->timer.expiry() > Clock::now()) return;
      state->expired = true;
      boost::system::error_code ignored;
      state->socket.close(ignored);
    });
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() {
    state_->waiting = false;
    state_->timer.cancel();
  }

 private:
  std::shared_ptr<State> state_;
};

TimedSocket::TimedSocket(const asio::any_io_executor& executor) : state_(std::make_shared<State>(executor)) {}

void TimedSocket::check(const boost::system::error_code& failure) {
  if (state_->expired) throw Error(Errc::timed_out, "timed out");
  if (!failure) return;
  close();
  throw_socket_error(failure);
}

Awaitable<> TimedSocket::connect(tcp::endpoint endpoint, Clock::time_point until) {
  boost::system::error_code failure;
  state_->socket.open(endpoint.protocol(), failure);
  if (failure) throw_socket_error(failure);
  {
    const Watch watch(state_, until);
    const auto [connected] =
        co_await state_->socket.async_connect(endpoint, asio::as_tuple(asio::use_awaitable));
    failure = connected;
  }
  check(failure);
  state_->socket.native_non_blocking(true, failure);
  check(failure);
  state_->socket.set_option(tcp::no_delay(true), failure);
  check(failure);
}

Awaitable<> TimedSocket::wait(tcp::socket::wait_type what, Clock::time_point until) {
  boost::system::error_code failure;
  {
    const Watch watch(state_, until);
    const auto [waited] = co_await state_->socket.async_wait(what, asio::as_tuple(asio::use_awaitable));
    failure = waited;
  }
  check(failure);
}

void TimedSocket::close() noexcept {
  if (!state_) return;
  boost::system::error_code ignored;
  state_->socket.close(ignored);
}

bool TimedSocket::quiet() noexcept {
  if (!state_->socket.is_open()) return false;
  char byte = 0;
  const auto got = ::recv(native(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

Awaitable<> yield_turn() {
  const auto executor = co_await asio::this_coro::executor;
  co_await asio::post(executor, asio::use_awaitable);
}

std::string error_text(const boost::system::error_code& error) {
  auto text = error.message();
  if (text.size() > 1 && text[0] >= 'A' && text[0] <= 'Z' && text[1] >= 'a') {
    text[0] = static_cast<char>(text[0] - 'A' + 'a');
  }
  return text;
}

void throw_socket_error(const boost::system::error_code& error) {
  if (error == asio::error::operation_aborted) throw Error(Errc::cancelled, "cancelled");
  throw Error(Errc::unavailable, error_text(error));
}

}  // namespace lazypull
