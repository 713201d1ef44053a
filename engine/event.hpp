#pragma once

#include "engine/awaitable.hpp"
#include "engine/error.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>

namespace lazypull {

/// Something that happens once, for which any number of coroutines of the home thread can wait.
class Event {
 public:
  // The waiters sleep on a timer that never fires; `set` wakes them by cancelling it.
  explicit Event(const asio::any_io_executor& executor)
      : timer_(executor, asio::steady_timer::time_point::max()) {}

  void set() {
    happened_ = true;
    timer_.cancel();
  }
  bool happened() const noexcept { return happened_; }

  /// Returns at once if it has happened. Throws Error{cancelled}.
  Awaitable<> wait() {
    while (!happened_) {
      co_await timer_.async_wait(asio::as_tuple(asio::use_awaitable));
      const auto state = co_await asio::this_coro::cancellation_state;
      if (!happened_ && state.cancelled() != asio::cancellation_type::none) {
        throw Error(Errc::cancelled, "cancelled while waiting");
      }
    }
  }

 private:
  asio::steady_timer timer_;
  bool happened_ = false;
};

}  // namespace lazypull
